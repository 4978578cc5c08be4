"""A session into files: rotating, each valid on its own, none of them torn for long."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import numpy as np

from dbnfast._util.arguments import as_int
from dbnfast._util.times import DAY
from dbnfast.codec.compression import Deflater
from dbnfast.enums import UNDEF_TIMESTAMP, Compression
from dbnfast.live.recovery import Mappings, Recovered, file_name, parts_of, recover
from dbnfast.records.headers import common_size, index_times, record_sizes
from dbnfast.symbology.codes import check_records

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from dbnfast._typing import PathLike
    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records

    Rotate = Literal["day"]
    Fsync = Literal["close", "interval", "always"]

__all__ = ["Recorder", "Recovered", "recover"]

FRAME: Final = 1 << 20  # bytes of records in a zstd frame, where nothing ends it before


class Recorder:
    """
    Write the records of a live session to files; a context manager.

    Parameters
    ----------
    folder : path
        The folder for the files; created if it does not exist.
    prefix : str, optional
        Beginning of the file names; None for the dataset.
    compression : {"none", "zstd"}
        Of the files.
    rotate_bytes : int, optional
        Largest size of a file on disk, in bytes; then the next file begins.
    rotate : "day", optional
        "day" begins a new file at midnight UTC.
    fsync : {"close", "interval", "always"}
        When data is made safe against a power failure: when a file is closed; also with the first
        records that come at least `fsync_interval_s` after the last time; or with every `write`.
    fsync_interval_s : float
        The time between syncs with "interval", in seconds.
    clock : callable
        Returns seconds, for the interval.

    Attributes
    ----------
    files : list of Path
        The files so far, in order.
    n_records : int
        Number of records written, without those that a file repeats.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    Notes
    -----
    Files are named ``<prefix>-<start>-<number>.dbn``, followed by ``.zst`` if they are compressed.
    The start is that of the header, such as 20261122T200102Z, and numbers continue from the highest
    one present. Existing files are never overwritten, and a file begins only with its first record.

    Each file begins with a header without schema, whose start is the index timestamp of the first
    new record, and with the mapping records in force, so it does not depend on other files. Records
    are upgraded to version 3.

    If the process is killed, plain files lose nothing that was written, and a compressed file loses
    the zstd frame that was not ended. A frame ends with `flush`, with every sync, and after 1 MiB
    of records. `recover` repairs the last file and reads the records back.

    The day is that of the highest index timestamp so far: late records of the day before stay in
    the order of their arrival. The size counts everything in the file. A plain file stays within
    it, except for a single record that is longer; a compressed one may exceed it by a frame. If the
    mapping records alone take more than half of it, files may grow to twice the size of those.

    Only one thread at a time may use it.
    """

    __module__ = "dbnfast.live"  # where users find it

    def __init__(
        self,
        folder: PathLike,
        *,
        prefix: str | None = None,
        compression: Compression | str = "none",
        rotate_bytes: int | None = None,
        rotate: Rotate | None = None,
        fsync: Fsync = "close",
        fsync_interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rotate not in (None, "day"):
            raise ValueError(f"rotate is {rotate!r}, expected 'day' or None")
        if fsync not in ("close", "interval", "always"):
            raise ValueError(f"fsync is {fsync!r}, expected 'close', 'interval' or 'always'")
        if not fsync_interval_s >= 0:
            raise ValueError(f"fsync_interval_s is {fsync_interval_s!r}, expected 0 or more")
        if rotate_bytes is not None:
            rotate_bytes = as_int("rotate_bytes", rotate_bytes)
            if rotate_bytes <= 0:
                raise ValueError(f"rotate_bytes is {rotate_bytes}, expected 1 or more")
        self._folder = Path(os.path.expanduser(folder))
        self._prefix = None if prefix is None else _checked_prefix(prefix)
        self._compression = Compression(compression)
        self._rotate_bytes = rotate_bytes
        self._by_day = rotate == "day"
        self._fsync = fsync
        self._interval = fsync_interval_s
        self._clock = clock
        self._synced_at = clock()
        self._metadata: Metadata | None = None  # of the first records: all are of its kind
        self._mappings = Mappings()
        self._day = 0  # since 1970-01-01; 0 until a record tells it
        self._number = 0
        self._file: _File | None = None
        self._closed = False
        self.files: list[Path] = []
        self.n_records = 0

    @property
    def path(self) -> Path | None:
        """The file being written; None if none is open."""
        return None if self._file is None else self._file.path

    def write(self, records: Records) -> None:
        """
        Write the next records of the session.

        Parameters
        ----------
        records : Records
            Of any types, with their metadata.

        Raises
        ------
        OSError
            A file cannot be written; the error names it. What was written before is whole, and
            `n_records` tells how far that is.
        TypeError
            `records` is not Records.
        ValueError
            They have no metadata, are of another dataset or ts_out than those before, or the
            recorder is closed.
        """
        if self._closed:
            raise ValueError("the recorder is closed")
        check_records(records)
        if not len(records):
            return
        records = records.upgrade()
        metadata = self._check(records)
        for day, part in self._days(records):
            if day > self._day:
                if self._day:
                    self._end_file()
                self._day = day
            self._write_part(part, metadata)
        if self._fsync == "always" or (
            self._fsync == "interval" and self._clock() - self._synced_at >= self._interval
        ):
            self.flush()

    def flush(self) -> None:
        """
        End the zstd frame and sync the file, so that what was written is safe.

        Raises
        ------
        OSError
            The file cannot be written; the error names it.
        """
        if self._file is not None:
            self._file.sync()
        self._synced_at = self._clock()

    def close(self) -> None:
        """
        End and sync the file; a second call does nothing.

        Raises
        ------
        OSError
            The file cannot be written; the error names it. It is closed all the same.
        """
        self._closed = True
        file, self._file = self._file, None
        if file is not None:
            try:
                file.sync()
            finally:
                file.release()
            _sync_folder(self._folder)

    def _check(self, records: Records) -> Metadata:
        metadata = records.metadata
        if metadata is None:
            raise ValueError("the records have no metadata, which the files must begin with")
        if self._metadata is None:
            self._metadata = metadata
        first = self._metadata
        for name in ("dataset", "ts_out"):
            if getattr(metadata, name) != getattr(first, name):
                raise ValueError(
                    f"the records' {name} is {getattr(metadata, name)!r}, that of those before "
                    f"is {getattr(first, name)!r}"
                )
        return metadata

    def _days(self, records: Records) -> Iterator[tuple[int, Records]]:
        # parts with one day each: that of the highest time so far
        if self._by_day:
            times = index_times(records)
            times[times == UNDEF_TIMESTAMP] = 0
            if int(times.max()) // DAY > self._day:
                days = np.maximum(np.maximum.accumulate(times) // np.uint64(DAY), self._day)
                cuts = (np.flatnonzero(np.diff(days)) + 1).tolist()
                for begin, end in itertools.pairwise([0, *cuts, len(records)]):
                    yield int(days[begin]), records[begin:end]
                return
        yield self._day, records

    def _write_part(self, part: Records, metadata: Metadata) -> None:
        while len(part):
            if self._file is not None and self._file.torn is not None:
                self._file.release()  # what failed there could not be taken back
                self._file = None
            file = self._file
            if file is None:
                file = self._file = self._begin_file(part, metadata)
            n = self._fitting(part, file)
            if n == 0:
                self._end_file()
                continue
            piece = part[:n]
            file.add(piece.data)
            self._mappings.update(piece)
            self.n_records += n
            part = part[n:]

    def _fitting(self, part: Records, file: _File) -> int:
        # how many records go into this file; 0 for none, never where it has none yet
        if self._rotate_bytes is None:
            return len(part)
        # or mapping records that fill a file would be all that ever comes into one
        room = max(self._rotate_bytes, 2 * file.head) - file.size
        if file.packed:
            if room <= 0 and file.used:
                return 0
            room = FRAME
        if part.nbytes <= room:
            return len(part)
        if common_size(part):
            n = max(room, 0) // common_size(part)
        else:
            n = int(np.searchsorted(np.cumsum(record_sizes(part)), room, "right"))
        return n if n or file.used else 1

    def _begin_file(self, part: Records, metadata: Metadata) -> _File:
        times = index_times(part)
        times = times[times != UNDEF_TIMESTAMP]
        start = int(times[0]) if len(times) else metadata.start
        header = metadata.replace(schema=None, start=start, end=None, limit=None)
        head = header.encode() + self._mappings.tobytes()
        prefix = self._prefix
        if prefix is None:
            prefix = quote(metadata.dataset, safe="+=@,") or "unnamed"
        file = self._new_file(prefix, start)
        try:
            file.begin(head)
            if self._fsync != "close":
                file.sync()
                _sync_folder(self._folder)
        except BaseException:
            file.discard()
            raise
        self.files.append(file.path)
        return file

    def _new_file(self, prefix: str, start: int) -> _File:
        self._folder.mkdir(parents=True, exist_ok=True)
        packed = self._compression == Compression.ZSTD
        while True:
            if not self._number:
                found = parts_of(self._folder, prefix)
                self._number = found[-1].number if found else 0
            self._number += 1
            name = file_name(prefix, start, self._number, packed)
            try:
                return _File(self._folder / name, self._compression)
            except FileExistsError:
                self._number = 0  # somebody else's: look again

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.sync()  # where that fails the file stays, with the frame to be written
            self._file.release()
            self._file = None
            _sync_folder(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.path}"
        return f"<Recorder: {self.n_records} records in {len(self.files)} files, {state}>"


class _File:
    # one file, always whole up to `size`: a write that fails is taken back
    def __init__(self, path: Path, compression: Compression) -> None:
        self.path = path
        self.packed = compression == Compression.ZSTD
        self.used = False  # whether there are records behind the head
        self.head = 0
        self.size = 0  # bytes on the disk
        self._deflater = Deflater(compression)
        self._waiting = bytearray()  # records of the frame to be written
        self.torn: OSError | None = None  # why a failed write could not be taken back
        self._raw = io.FileIO(path, "x")

    def begin(self, head: bytes) -> None:
        self.add(memoryview(head))
        self.end_frame()
        self.head, self.used = self.size, False

    def add(self, data: memoryview) -> None:
        if self.packed:
            before = len(self._waiting)
            self._waiting += data
            if len(self._waiting) >= FRAME:
                try:
                    self.end_frame()
                except BaseException:
                    del self._waiting[before:]  # the caller is told that these are not written
                    raise
        else:
            self._put(data)
        self.used = True

    def end_frame(self) -> None:
        if self._waiting:
            packed = bytes(self._deflater.push(self._waiting)) + self._deflater.finish()
            self._put(memoryview(packed))
            self._waiting.clear()

    def _put(self, data: memoryview) -> None:
        with self._named():
            if self.torn is not None:
                raise self.torn
            at = 0
            try:
                while at < len(data):
                    written = self._raw.write(data[at:])
                    if not written:
                        raise OSError(errno.EIO, "the file takes no bytes")
                    at += written
            except BaseException:
                self._take_back()
                raise
            self.size += len(data)

    def _take_back(self) -> None:
        # shortening a file works on a full disk, too
        try:
            self._raw.truncate(self.size)
            self._raw.seek(self.size)
        except OSError as error:
            self.torn = error

    def sync(self) -> None:
        self.end_frame()
        with self._named():
            os.fsync(self._raw.fileno())

    def release(self) -> None:
        with self._named():
            self._raw.close()

    def discard(self) -> None:
        # there is nothing in it yet
        with contextlib.suppress(OSError):
            self._raw.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = os.fspath(self.path)
            raise


def _checked_prefix(prefix: Any) -> str:
    if not isinstance(prefix, str):
        raise TypeError(f"prefix is {prefix!r}, expected a str")
    if not prefix or not prefix.isprintable() or set(prefix) & set('/\\:*?"<>|'):
        raise ValueError(f"prefix is {prefix!r}, expected what a file's name may begin with")
    return prefix


def _sync_folder(folder: Path) -> None:
    # a new file's name is safe only when its folder is; not every system has that
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
