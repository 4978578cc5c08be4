"""
What a recorder left behind: its files in order, the last one mended, the records in them.

A file of a recorder begins with the mapping records that were in force when it was begun, byte
for byte as they came. They are told from new ones by their place and content: at a file's head,
a mapping record equal to the one in force in the file before is a repetition.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from dbnfast._util.arguments import as_path
from dbnfast._util.atomic import named
from dbnfast._util.locks import FileLock
from dbnfast.codec.compression import Inflater, frame_size, is_skippable
from dbnfast.codec.damage import name_file
from dbnfast.codec.decoder import Decoder
from dbnfast.codec.index import FRAMES_MOST, INDEX_START, NOTHING, Table, checksum_of, contents
from dbnfast.codec.metadata import header_bytes
from dbnfast.codec.reader import iter_decode
from dbnfast.enums import RType
from dbnfast.errors import DecodeError, DecompressionError, TruncatedError
from dbnfast.records.headers import common_size, has_rtype, only_rtype

if TYPE_CHECKING:
    from dbnfast._typing import PathLike
    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records

BLOCK: Final = 16 << 20
PIECE: Final = 1 << 20
SLACK: Final = 60 * 10**9  # ns: clocks differ, and records come in disorder
MAGIC: Final = 4  # bytes that a zstd frame is told by
NAME: Final = re.compile(
    r"(?P<prefix>.+)-(?P<start>\d{8}T\d{6}Z)-(?P<number>\d+)\.dbn(?:\.zst)?", re.DOTALL
)


class Part(NamedTuple):
    """
    A file of a recorder, by its name.

    Attributes
    ----------
    number : int
        Counted up from 1 through all files of a prefix: the order in which they were begun.
    prefix : str
        What its name begins with.
    path : Path
        The file.
    time : str
        The time in it.
    """

    number: int
    prefix: str
    path: Path
    time: str


def name_time(time_ns: int) -> str:
    """
    Write a time as the names of files have it.

    Parameters
    ----------
    time_ns : int
        The time, ns since 1970-01-01 UTC.

    Returns
    -------
    str
        Sorts as the time does.
    """
    time = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=time_ns // 10**9)
    return f"{time:%Y%m%dT%H%M%SZ}"


def file_name(prefix: str, time: str, number: int, packed: bool) -> str:
    """
    Name a file.

    Parameters
    ----------
    prefix : str
        What the name begins with.
    time : str
        As `name_time` writes it.
    number : int
        The file's.
    packed : bool
        Whether it is compressed.

    Returns
    -------
    str
    """
    return f"{prefix}-{time}-{number:06d}.dbn{'.zst' * packed}"


def parts_of(folder: PathLike, prefix: str | None = None) -> list[Part]:
    """
    Find a recorder's files.

    Parameters
    ----------
    folder : path
        Where they are; it need not be there.
    prefix : str, optional
        What their names begin with; None for any.

    Returns
    -------
    list of Part
        In the order in which they were begun.
    """
    folder = as_path("folder", folder)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        match = NAME.fullmatch(name)
        if match is not None and prefix in (None, match["prefix"]):
            found.append(
                Part(int(match["number"]), match["prefix"], Path(folder, name), match["start"])
            )
    return sorted(found)


class Mappings:
    """The mapping records in force: the last one of each instrument and input symbol."""

    def __init__(self) -> None:
        self._records: dict[tuple[int, bytes], bytes] = {}  # the latest come last

    def update(self, records: Records) -> None:
        """
        Take the mapping records of the next batch.

        Parameters
        ----------
        records : Records
            Of any types.
        """
        if not has_rtype(records, RType.SYMBOL_MAPPING):
            return
        for run in records.runs():
            if only_rtype(run) == RType.SYMBOL_MAPPING:
                for key, raw in _mappings_in(run):
                    self._records.pop(key, None)
                    self._records[key] = raw

    def repeated(self, records: Records) -> int:
        """
        Count the records at the head of a file that only repeat what is in force.

        Parameters
        ----------
        records : Records
            As the file has them.

        Returns
        -------
        int
            How many at the beginning.
        """
        n = 0
        for run in records.runs():
            if only_rtype(run) != RType.SYMBOL_MAPPING:
                break
            for key, raw in _mappings_in(run):
                if self._records.get(key) != raw:
                    return n
                n += 1
        return n

    def tobytes(self) -> bytes:
        """
        Give the records in force.

        Returns
        -------
        bytes
            In the order in which they came.
        """
        return b"".join(self._records.values())

    def __len__(self) -> int:
        return len(self._records)


def _mappings_in(run: Records) -> Iterator[tuple[tuple[int, bytes], bytes]]:
    array: Any = run.array()
    data, size = run.data, common_size(run)
    keys = zip(array["instrument_id"].tolist(), array["stype_in_symbol"].tolist(), strict=True)
    for number, key in enumerate(keys):
        yield key, bytes(data[number * size : (number + 1) * size])


@dataclass(frozen=True)
class Recovered:
    """
    What a recorder left behind.

    Attributes
    ----------
    files : tuple of Path
        Its files, in the order in which they were begun.
    n_lost_bytes : int
        Bytes of the last file, as it is on the disk, that were no whole record or frame and are
        cut off now.
    metadata : Metadata or None
        The last file's header; None where there is no file.
    starts : tuple of int
        The start that each file's header states, ns since 1970-01-01 UTC: no market data in it is
        older.
    latest : tuple of int
        A time for each file that none of its records is behind, as far as can be told without
        reading it: a minute after it was last written to, or after the next one's start.
    """

    __module__ = "dbnfast.live"  # where users find it

    files: tuple[Path, ...] = ()
    n_lost_bytes: int = 0
    metadata: Metadata | None = None
    starts: tuple[int, ...] = field(default=(), repr=False)
    latest: tuple[int, ...] = field(default=(), repr=False)

    @property
    def last_path(self) -> Path | None:
        """The last file; None where there is none."""
        return self.files[-1] if self.files else None

    def records(self, since_ns: int | None = None, *, max_bytes: int = BLOCK) -> Iterator[Records]:
        """
        Read the records back.

        Parameters
        ----------
        since_ns : int, optional
            Leaves out the first files, as long as they have nothing from this time on; see
            `latest`. None for all. The records are not filtered: they may begin earlier.
        max_bytes : int
            The most bytes in one block.

        Yields
        ------
        Records
            In the order in which they were recorded, each once: mapping records that a file
            repeats from the one before are left out. Those at the head of the first file read
            are not, so that every instrument has its symbol.

        Raises
        ------
        DecodeError
            A file is damaged; a note names it. A file that only ends too early is no error.
        OSError
            A file cannot be read; the error names it.
        """
        begin = 0
        while since_ns is not None and begin + 1 < len(self.files):
            if self.latest[begin] >= since_ns:
                break
            begin += 1
        in_force = Mappings()
        for path in self.files[begin:]:
            at_head = len(in_force) > 0
            for block in _blocks(path, max_bytes):
                records = block
                if at_head:
                    n = in_force.repeated(block)
                    at_head = n == len(block)
                    records = block[n:]
                if len(records):
                    in_force.update(records)
                    yield records


def _blocks(path: Path, max_bytes: int) -> Iterator[Records]:
    with _blamed(path):
        reader = iter_decode(path, max_bytes=max_bytes, on_truncated="ignore")
    with reader:
        while True:
            with _blamed(path):  # not what a consumer does with the block
                block = next(reader, None)
            if block is None:
                return
            yield block


def recover(folder: PathLike, prefix: str | None = None) -> Recovered:
    """
    Find what a recorder left behind, and mend its last file.

    Parameters
    ----------
    folder : path
        Where it wrote; it need not be there.
    prefix : str, optional
        What its files' names begin with; None where the folder holds those of one recorder.

    Returns
    -------
    Recovered
        What is behind the last whole record, or the last whole zstd frame, is cut off the last
        file, which is synced. A last file that ends before its first record could begin holds
        nothing and is removed.

    Raises
    ------
    ValueError
        There are files of several prefixes and none is given.
    DecodeError
        A file's header is damaged, or its first frame, other than by its end.
    BlockingIOError
        A recorder writes there, in this process or another.
    OSError
        A file cannot be read or mended; the error names it.
    """
    prefixes = sorted({part.prefix for part in parts_of(folder, prefix)})
    if len(prefixes) > 1:
        raise ValueError(
            f"prefix is None and {os.fspath(folder)!r} has files of {', '.join(prefixes)}"
        )
    if not prefixes:
        return Recovered()
    try:
        lock = lock_folder(folder, prefixes[0])
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return mended(folder, prefixes[0])  # whole files may be read where nothing may be written
    try:
        return mended(folder, prefixes[0])
    finally:
        lock.release()


def lock_folder(folder: PathLike, prefix: str) -> FileLock:
    """
    Keep other recorders away from the files of a prefix.

    Parameters
    ----------
    folder : path
        Where they are.
    prefix : str
        What their names begin with.

    Returns
    -------
    FileLock
        To be released; it is gone with the process in any case.

    Raises
    ------
    BlockingIOError
        A recorder writes there, in this process or another; the error names the folder.
    """
    folder = as_path("folder", folder)
    try:
        return FileLock(Path(folder, f".{prefix}.lock"))
    except BlockingIOError as error:
        text = f"another recorder writes files of {prefix!r} in this folder"
        raise BlockingIOError(error.errno, text, os.fspath(folder)) from None


def mended(folder: PathLike, prefix: str) -> Recovered:
    """
    Mend the last file of a recorder, and find all of them; see `recover`.

    Parameters
    ----------
    folder : path
        Where they are, locked.
    prefix : str
        What their names begin with.

    Returns
    -------
    Recovered
    """
    parts = parts_of(folder, prefix)
    lost = 0
    while parts:
        path = parts[-1].path
        with named(path):
            whole, size = _whole(path), path.stat().st_size
            lost += whole.n_lost
            if whole.size:
                if whole.size < size:
                    _cut(path, whole.size)
                if whole.table:
                    _append(path, whole.table)
                break
            path.unlink()
        parts.pop()
    headers = [_header(part.path) for part in parts]
    starts = tuple(header.start for header in headers)
    # replays may go back behind a file's start: two hints are better than one
    written = [part.path.stat().st_mtime_ns for part in parts]
    latest = tuple(
        max(own, following) + SLACK
        for own, following in zip(written, (*starts[1:], 0), strict=False)
    )
    files = tuple(part.path for part in parts)
    return Recovered(files, lost, headers[-1] if headers else None, starts, latest)


def _header(path: Path) -> Metadata:
    with _blamed(path), iter_decode(path) as reader:
        assert reader.metadata is not None
        return reader.metadata


@contextlib.contextmanager
def _blamed(path: Path) -> Iterator[None]:
    # errors name the file
    with named(path):
        try:
            yield
        except DecodeError as error:
            name_file(error, path)
            raise


def _cut(path: Path, size: int) -> None:
    # nothing is copied: where the disk is full, this still works
    with open(path, "r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


class _Whole(NamedTuple):
    size: int = 0  # bytes of the file up to its last whole record, or frame
    n_lost: int = 0  # what is behind; not what is there of an index
    table: bytes = b""  # the index to be written behind


def _append(path: Path, table: bytes) -> None:
    # without it the file is as good
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write(table)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)


def _whole(path: Path) -> _Whole:
    # nothing where its header is not whole
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if path.suffix != ".zst":
            n = _whole_records(file)
            good = _Whole(n, size - n)
        elif size < MAGIC:
            return _Whole(0, size)  # too short to tell a frame; nothing at all cannot be mapped
        else:
            with (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
                memoryview(mapped) as data,
            ):
                good = _whole_frames(data)
    if not good.size and not _is_blank(path):
        _check_worthless(path)
    return good


def _check_worthless(path: Path) -> None:
    # a file that is to be removed: no more than the beginning of what one begins with
    with _blamed(path), contextlib.suppress(TruncatedError):
        with iter_decode(path, on_truncated="ignore") as reader:
            if all(block.counts.keys() <= {RType.SYMBOL_MAPPING} for block in reader):
                return
        raise DecodeError("not a recorder's file, or damaged at its beginning; repair() may help")


class _Gauge:
    # how much of a plain stream is whole: the header, and records up to a cut or damage
    def __init__(self) -> None:
        self._decoder = Decoder(compression="none")
        self.header = b""
        self.good = self.fed = 0
        self.found = NOTHING  # of the records since somebody looked

    def feed(self, piece: bytes) -> bool:
        # False where what follows is of no use
        self.fed += len(piece)
        self._decoder.feed(piece)
        try:
            while ready := self._decoder.read():
                for records in ready:
                    self.good += records.nbytes
                    self.found = self.found.joined(contents(records))
        except DecodeError:
            return False
        finally:
            if not self.header and self._decoder.metadata is not None:
                self.header = header_bytes(self._decoder.metadata)
                self.good += len(self.header)
        return True


def _whole_records(file: IO[bytes]) -> int:
    gauge = _Gauge()
    while piece := file.read(PIECE):
        if not gauge.feed(piece):
            break
    return gauge.good


def _whole_frames(data: memoryview) -> _Whole:
    # a frame counts where it is whole, its checksum is right, and it ends where a record does
    gauge, table = _Gauge(), Table()
    good = at = 0
    indexable = True  # frames end between records, and the header is alone
    while at < len(data):
        with data[at:] as rest:
            size = frame_size(rest)
            if size is None:
                break
            frame = bytes(rest[:size])  # the file may then be unmapped
        if frame[:MAGIC] == INDEX_START:
            break
        if not is_skippable(frame):
            begin, gauge.found = gauge.fed, NOTHING
            if not _fed(gauge, frame):
                break
            is_header = begin < len(gauge.header)
            checksum = int.from_bytes(frame[-4:], "little")
            if not frame[4] & 4:  # as the header's has none, which is written over
                indexable &= is_header
                checksum = checksum_of(gauge.header)
            indexable &= gauge.good == gauge.fed and not (is_header and gauge.found.n_records)
            indexable &= len(table) < FRAMES_MOST
            table.add_size(size, gauge.fed - begin, checksum, None if is_header else gauge.found)
        at += size
        if gauge.good == gauge.fed:
            good = at
    end = table.tobytes() if indexable and table.size == good else b""
    with data[good:] as rest:
        if end and rest == end:
            return _Whole(len(data))
        n_lost = len(rest)
        if bytes(rest[:MAGIC]) == INDEX_START[: len(rest)]:
            n_lost = max(n_lost - len(end), 0)
        return _Whole(good, n_lost, end)


def _fed(gauge: _Gauge, frame: bytes) -> bool:
    # False where the frame is damaged, or what is in it
    inflater = Inflater()
    inflater.push(frame)
    try:
        while piece := inflater.pull(PIECE):
            if not gauge.feed(piece):
                return False
    except DecompressionError:
        return False
    return True


def _is_blank(path: Path) -> bool:
    # a file system may give a file its length and no content
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            if piece.strip(b"\0"):
                return False
    return True
