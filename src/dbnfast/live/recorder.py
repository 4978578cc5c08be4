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
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import quote

import numpy as np

from dbnfast._util.arguments import as_int, as_path
from dbnfast._util.atomic import named
from dbnfast._util.times import DAY
from dbnfast.codec.compression import packed_frame, stored_frame
from dbnfast.codec.index import FRAMES_MOST, Table, checksum_of, contents
from dbnfast.enums import DBN_VERSION, UNDEF_TIMESTAMP, Compression
from dbnfast.layouts.table import CONTROL
from dbnfast.live.recovery import (
    Mappings,
    Recovered,
    file_name,
    lock_folder,
    mended,
    name_time,
    parts_of,
    recover,
)
from dbnfast.records.headers import (
    common_size,
    groups,
    index_times,
    of_block,
    record_sizes,
    record_types,
)
from dbnfast.records.records import Records
from dbnfast.symbology.codes import check_records

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from dbnfast._typing import Column, PathLike
    from dbnfast._util.locks import FileLock
    from dbnfast.codec.metadata import Metadata

    Rotate = Literal["day"]
    Fsync = Literal["close", "interval", "always"]

__all__ = ["Recorder", "Recovered", "recover"]

FRAME: Final = 1 << 20  # bytes of records in a zstd frame, where nothing ends it before
HELD: Final = 1 << 20  # bytes of control records that may wait for the data that begins a file


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
        The files so far, in order; not one that somebody deleted while it was written.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    Notes
    -----
    Files are named ``<prefix>-<time>-<number>.dbn``, followed by ``.zst`` if they are compressed.
    The time is the index timestamp of the first market data, such as 20261122T200102Z, or the time
    in the name before where that is later: names sort in the order of the recording. Numbers
    continue from the highest one present. Existing files are never overwritten.

    Each file begins with a header without schema, whose start is the lowest index timestamp of the
    market data in it so far (it is written over when older data comes), and with the mapping
    records in force, so it does not depend on other files. Records are upgraded to version 3.

    A file begins with its first market data. Up to 1 MiB of control records, which have the time
    of the gateway's clock and not that of the data, wait in memory until then, or until `flush`,
    `close`, or a sync. A file of control records alone states the start of the session.

    If the process is killed, plain files lose nothing that was written to them, and a compressed
    file loses the zstd frame that was not ended. A frame ends with `flush`, with every sync, and
    after 1 MiB of records. `recover` repairs the last file and reads the records back.

    A compressed file that is closed ends with an index, as `Encoder` writes it; `recover` gives one
    to the last file if it has none.

    The day is that of the highest index timestamp of market data so far: late records of the day
    before stay in the order of their arrival. The size counts everything in the file. A plain file
    stays within it, except for a single record that is longer; a compressed one may exceed it by a
    frame. If the mapping records alone take more than half of it, files may grow to twice the size
    of those.

    From its first file until it is closed, a recorder has a lock on its prefix in the folder, which
    ends with the process: another recorder's file, and `recover`, are refused there meanwhile.

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
        if not callable(clock):
            raise TypeError(f"clock is {clock!r}, expected a function that gives seconds")
        self._folder = Path(as_path("folder", folder))
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
        self._held: Records | None = None  # control records that wait for a file
        self._day = 0  # since 1970-01-01; 0 until a record tells it
        self._number = 0
        self._name_time = ""
        self._file: _File | None = None
        self._lock: FileLock | None = None
        self._is_new_folder = False
        self._closed = False
        self._n_before = 0  # records in the files before
        self._left: _Left | None = None  # a frame for the next file
        self.files: list[Path] = []

    @property
    def path(self) -> Path | None:
        """The file being written; None if none is open."""
        return None if self._file is None else self._file.path

    @property
    def n_records(self) -> int:
        """
        Number of records in the files, or to be there with the next `flush`.

        Records that a file repeats do not count, nor do those of a file that somebody deleted
        while it was written.
        """
        n = self._n_before + (0 if self._held is None else len(self._held))
        if self._left is not None:
            n += self._left.n
        if self._file is not None:
            n += self._file.n + self._file.n_waiting
        return n

    def recover(self) -> Recovered:
        """
        Mend what an earlier recorder left in the folder, as `recover` does, before the first write.

        Returns
        -------
        Recovered
            No other recorder can add to it from now on, until this one is closed.

        Raises
        ------
        BlockingIOError
            Another recorder writes there.
        DecodeError, OSError
            As `recover` raises them; a folder that does not exist is created.
        ValueError
            There is no prefix yet, as it is None and nothing was written, or the recorder is
            closed.
        """
        if self._closed:
            raise ValueError("the recorder is closed")
        if self._prefix is None and self._metadata is None:
            raise ValueError("prefix is None, expected what the files' names begin with")
        if self._file is not None:
            raise ValueError("the recorder has begun a file: recover() comes first")
        prefix = self._lock_folder()
        return mended(self._folder, prefix)

    def write(self, records: Records) -> None:
        """
        Write the next records of the session.

        Parameters
        ----------
        records : Records
            Of any types, with their metadata.

        Raises
        ------
        BlockingIOError
            Another recorder writes files of this prefix in the folder.
        OSError
            A file cannot be written, or was deleted (`FileNotFoundError`); the error names it. What
            was written before is whole, and `n_records` tells how far that is. The next call
            begins a new file in place of a deleted one.
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
        self._check(records)
        self._check_file()
        for day, part in self._days(records):
            if day > self._day:
                if self._day:
                    self._end_file()
                self._day = day
            self._write_part(part)
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
            The file cannot be written, or was deleted; the error names it.
        """
        self._check_file()
        self._write_held()
        if self._file is not None:
            self._file.sync()
        self._synced_at = self._clock()

    def close(self) -> None:
        """
        End and sync the file; a second call does nothing.

        Raises
        ------
        OSError
            The file cannot be written, or was deleted; the error names it. It is closed all the
            same, and `n_records` does not count what is lost.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._check_file()
            self._write_held()
            if self._file is not None:
                self._file.finish()
        finally:
            file, self._file, self._held, self._left = self._file, None, None, None
            if file is not None:
                self._n_before += file.n
                file.release()
                _sync_folder(self._folder)
            if self._lock is not None:
                self._lock.release()
            if self._is_new_folder and not self.files:
                with contextlib.suppress(OSError):  # no record, no file, no folder
                    self._folder.rmdir()

    def _check(self, records: Records) -> None:
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

    def _days(self, records: Records) -> Iterator[tuple[int, Records]]:
        # parts with one day each: that of the highest time so far
        if self._by_day:
            times, known = _data_times(records)
            times[~known] = 0
            if int(times.max()) // DAY > self._day:
                days = np.maximum(np.maximum.accumulate(times) // np.uint64(DAY), self._day)
                cuts = (np.flatnonzero(np.diff(days)) + 1).tolist()
                for begin, end in itertools.pairwise([0, *cuts, len(records)]):
                    yield int(days[begin]), records[begin:end]
                return
        yield self._day, records

    def _write_part(self, part: Records) -> None:
        while len(part):
            if self._file is None:
                start = _first_time(part)
                if start is None and self._hold(part):
                    return
                self._write_held(start)
                if self._file is None:
                    self._begin_file(_session_start(part) if start is None else start)
            part = self._store(part)

    def _hold(self, part: Records) -> bool:
        # together they are a copy: what they came in is not kept alive for them
        held = 0 if self._held is None else self._held.nbytes
        if held + part.nbytes > HELD:
            return False
        self._held = part if self._held is None else Records.concat((self._held, part))
        return True

    def _write_held(self, start: int | None = None) -> None:
        # into a file of that start, or else of their own
        if self._left is not None and self._file is None and self._held is None:
            self._begin_file(self._left.start)
        while self._held is not None:
            if self._file is None:
                self._begin_file(_session_start(self._held) if start is None else start)
            rest = self._store(self._held)
            self._held = rest if len(rest) else None

    def _store(self, part: Records) -> Records:
        # as many records as the file takes; gives the rest, and ends a file that takes none
        file = self._file
        assert file is not None
        if file.torn is not None:
            self._leave_file(file)  # what failed there could not be taken back
            self._n_before += file.n
            return part
        n = self._fitting(part, file)
        if n == 0:
            self._end_file()
            return part
        piece = part[:n]
        times, known = _data_times(piece)
        start = int(times.min(initial=UNDEF_TIMESTAMP, where=known))
        if start < file.start:
            file.lower(start)
        file.add(piece.data, n)
        self._mappings.update(piece)
        return part[n:]

    def _check_file(self) -> None:
        # a file without a name would take records and lose them
        file = self._file
        if file is not None and file.is_deleted:
            self._leave_file(file)
            self.files.remove(file.path)
            raise FileNotFoundError(
                errno.ENOENT,
                f"deleted while it was written, with {file.n:,} records",
                os.fspath(file.path),
            )

    def _leave_file(self, file: _File) -> None:
        # the next one takes the frame that was not written
        self._file = None
        if file.n_waiting:
            self._left = _Left(bytes(file.waiting), file.n_waiting, file.start)
        with contextlib.suppress(OSError):
            file.release()

    def _fitting(self, part: Records, file: _File) -> int:
        # how many records go into this file; 0 for none, never where it has none yet
        if self._rotate_bytes is None:
            return len(part)
        # or mapping records that fill a file would be all that ever comes into one
        room = max(self._rotate_bytes, 2 * file.head) - file.size - file.end_size
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

    def _begin_file(self, start: int) -> None:
        metadata = self._metadata
        assert metadata is not None
        header = metadata.replace(schema=None, start=start, end=None, limit=None)
        file = self._new_file(self._lock_folder(), header)
        try:
            file.begin(self._mappings.tobytes())
            if self._left is not None:
                file.lower(min(file.start, self._left.start))
                file.add(memoryview(self._left.data), self._left.n)
            if self._fsync != "close":
                file.sync()
                _sync_folder(self._folder)
        except BaseException:
            file.discard()
            raise
        self._left = None
        self._file = file
        self.files.append(file.path)

    def _lock_folder(self) -> str:
        # made, and nobody else's; gives the prefix
        prefix = self._prefix
        if prefix is None:
            assert self._metadata is not None
            prefix = quote(self._metadata.dataset, safe="+=@,") or "unnamed"
        if self._lock is None or not self._lock.held:  # perhaps the folder was deleted
            self._make_folder()
            if self._lock is not None:
                self._lock.release()
            self._lock = lock_folder(self._folder, prefix)
        return prefix

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True)
        except FileExistsError as error:
            if not self._folder.is_dir():
                text = os.strerror(errno.ENOTDIR)  # it would be said to exist
                raise NotADirectoryError(errno.ENOTDIR, text, error.filename) from None
        else:
            self._is_new_folder = True

    def _new_file(self, prefix: str, header: Metadata) -> _File:
        packed = self._compression == Compression.ZSTD
        while True:
            if not self._number:
                found = parts_of(self._folder, prefix)
                self._number = found[-1].number if found else 0
                self._name_time = max((part.time for part in found), default="")
            self._number += 1
            self._name_time = max(self._name_time, name_time(header.start))
            name = file_name(prefix, self._name_time, self._number, packed)
            try:
                return _File(self._folder / name, self._compression, header)
            except FileExistsError:
                self._number = 0  # somebody else's: look again

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.finish()  # where that fails the file stays, with the frame to be written
            self._n_before += self._file.n
            file, self._file = self._file, None
            file.release()
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


class _Left(NamedTuple):
    data: bytes
    n: int
    start: int


class _File:
    # one file, always whole up to `size`: a write that fails is taken back
    def __init__(self, path: Path, compression: Compression, header: Metadata) -> None:
        self.path = path
        self._header = header
        self.packed = compression == Compression.ZSTD
        self.n = 0  # records on the disk behind the head
        self.n_waiting = 0  # of the frame to be written
        self.head = 0
        self.size = 0  # bytes on the disk
        self._table = Table() if self.packed else None
        self.waiting = bytearray()  # what they are
        self.torn: OSError | None = None  # why a failed write could not be taken back
        with named(path):
            self._raw = io.FileIO(path, "x")
            self._has_links = os.fstat(self._raw.fileno()).st_nlink > 0  # or nobody counts them

    @property
    def start(self) -> int:
        return self._header.start

    def begin(self, mappings: bytes) -> None:
        first = self._first_bytes()
        frame = packed_frame(mappings) if self.packed and mappings else mappings
        self._put(memoryview(first + frame), 0)
        self.head = self.size
        if self._table is not None:
            # of the header, which may be another one in the end, the checksum is told then
            self._table.add_size(len(first), len(self._header.encode()), 0, None)
            if mappings:
                self._note(frame, mappings)

    def lower(self, start: int) -> None:
        # the header has the same length for any start, and is written over before older data comes
        header = self._header.replace(start=start)
        with named(self.path):
            self._raw.seek(0)
            try:
                self._raw.write(self._first_bytes(header))
            finally:
                self._raw.seek(self.size)
        self._header = header

    def _first_bytes(self, header: Metadata | None = None) -> bytes:
        # compressed, the header has a frame of its own, whose length does not depend on it
        raw = (self._header if header is None else header).encode()
        return stored_frame(raw) if self.packed else raw

    def _note(self, frame: bytes, data: bytes | bytearray) -> None:
        if self._table is not None:
            records = of_block(bytes(data), len(data), DBN_VERSION, self._header.ts_out, None)
            self._table.add(frame, len(data), contents(records))
            if len(self._table) > FRAMES_MOST:
                self._table = None

    @property
    def end_size(self) -> int:
        # bytes of the index that the file would end with
        return 0 if self._table is None else self._table.end_size

    @property
    def used(self) -> bool:
        # whether there are records behind the head
        return self.n + self.n_waiting > 0

    @property
    def is_deleted(self) -> bool:
        with named(self.path):
            return self._has_links and os.fstat(self._raw.fileno()).st_nlink == 0

    def add(self, data: memoryview, n: int) -> None:
        if not self.packed:
            self._put(data, n)
            return
        before = len(self.waiting)
        self.waiting += data
        self.n_waiting += n
        if len(self.waiting) >= FRAME:
            try:
                self.end_frame()
            except BaseException:
                if self.waiting:  # the caller is told that these are not written
                    del self.waiting[before:]
                    self.n_waiting -= n
                raise

    def end_frame(self) -> None:
        if self.waiting:
            data = self.waiting
            frame = packed_frame(data)
            self._put(memoryview(frame), self.n_waiting)
            self._note(frame, data)

    def _put(self, data: memoryview, n: int) -> None:
        with named(self.path):
            if self.torn is not None:
                raise self.torn
            size, n, empty = self.size + len(data), self.n + n, bytearray()
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
            # without a call in between, where a signal could come: written is counted, and gone
            self.size, self.n, self.n_waiting, self.waiting = size, n, 0, empty

    def _take_back(self) -> None:
        # shortening a file works on a full disk, too
        try:
            self._raw.truncate(self.size)
            self._raw.seek(self.size)
        except OSError as error:
            self.torn = error

    def sync(self) -> None:
        self.end_frame()
        with named(self.path):
            os.fsync(self._raw.fileno())

    def finish(self) -> None:
        # ends the file: with an index, without which it is as good
        self.end_frame()
        size = self.size
        # an interrupt may have come before a frame was taken note of
        if self._table is not None and self._table.size == size:
            self._table.set_checksum(0, checksum_of(self._header.encode()))
            with contextlib.suppress(OSError):
                self._put(memoryview(self._table.tobytes()), 0)
        try:
            self.sync()
        except BaseException:
            if self.size > size:  # it goes on
                self.size = size
                self._take_back()
            raise

    def release(self) -> None:
        with named(self.path):
            self._raw.close()

    def discard(self) -> None:
        # there is nothing in it yet
        with contextlib.suppress(OSError):
            self._raw.close()
        with contextlib.suppress(OSError):
            self.path.unlink()


def _data_times(records: Records) -> tuple[Column, Column]:
    # index times, and which of them are of market data: a gateway's clock is no time of data
    times = index_times(records)
    known = times != UNDEF_TIMESTAMP
    if any(rtype in CONTROL for rtype, _, _ in groups(records)):
        known &= ~np.isin(record_types(records), list(CONTROL))
    return times, known


def _first_time(records: Records) -> int | None:
    # that of the first market data that has one
    if all(rtype in CONTROL for rtype, _, _ in groups(records)):
        return None
    times, known = _data_times(records)
    return int(times[known.argmax()]) if known.any() else None


def _session_start(records: Records) -> int:
    # for control records: where a replay begins, the header of the stream says it
    metadata = records.metadata
    assert metadata is not None
    times = index_times(records)
    times = times[times != UNDEF_TIMESTAMP]
    first = int(times[0]) if len(times) else metadata.start
    return min(first, metadata.start or first)


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
