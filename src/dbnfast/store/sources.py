"""Where a store's bytes come from: files that stay on disk, and memory."""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import mmap
import os
import stat
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import numpy as np

from dbnfast._core.run import Owner
from dbnfast._util.buffers import as_bytes
from dbnfast.codec import compression
from dbnfast.codec.damage import name_file, warn_caller
from dbnfast.codec.index import read_index
from dbnfast.codec.options import Span
from dbnfast.codec.reader import RecordReader, iter_decode, n_given
from dbnfast.codec.scan import scan, scan_span
from dbnfast.codec.seekable import read_frames
from dbnfast.enums import Compression
from dbnfast.errors import DecodeError, InvalidRecordError, TruncatedError
from dbnfast.records.filters import Filter
from dbnfast.records.headers import index_times, passing, pieces
from dbnfast.records.records import Records, empty_records
from dbnfast.store.seek import FAR_PROBES, Search, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbnfast._typing import PathLike
    from dbnfast.codec.index import Index
    from dbnfast.codec.metadata import Metadata
    from dbnfast.codec.options import OnTruncated


BLOCK: Final = 16 << 20  # bytes of records that are looked at in a step
PAGE: Final = 4096
# Whether a file that is open can be removed, and be read by several at once.
CAN_KEEP: Final = hasattr(os, "preadv")
MOST_KEPT: Final = 128  # the lowest descriptor that is needed for other things: some have 256


class Source(ABC):
    """
    One DBN stream that can be read again and again.

    Parameters
    ----------
    name : str
        For messages.
    on_truncated : str
        As `scan` takes it.

    Attributes
    ----------
    metadata : Metadata
        The header.
    compression : Compression
        Of the stream.
    is_dbz : bool
        Whether it is of the format before DBN.
    is_file : bool
        Whether it is a file, which errors and warnings then name.
    is_whole : bool
        Whether its records are all of the stream that it opens.
    is_far : bool
        Whether it costs a while to read some of it, so that it is not mapped, nor read for nothing.
    is_sought : bool
        Whether it can be read from any place as well as from the beginning.
    """

    metadata: Metadata
    is_file = False
    is_whole = True
    is_far = False
    is_sought = True

    def __init__(self, name: str, on_truncated: OnTruncated) -> None:
        self.name = name
        self._on_truncated = on_truncated
        self._ordered: tuple[int, bool] | None = None  # of so many bytes, whether records are
        self._index: tuple[Index | None] | None = None  # as far as it was looked for
        with self._named():
            self._look()

    def _look(self) -> None:
        with self._header() as file:
            head = file.read(12)
            if head:
                file.seek(0)
                reader = iter_decode(file, on_truncated="ignore")
        if not head:
            what = "the stream" if self.is_file else self.name
            raise TruncatedError(
                f"{what} is empty: expected a metadata header at byte 0", offset=0, available=0
            )
        self.compression = reader.compression
        self.is_dbz = compression.detect(head) == "dbz"
        assert reader.metadata is not None
        self.metadata = reader.metadata
        self._begin = n_given(reader)  # of the header

    def _header(self) -> IO[bytes]:
        # the stream, of which only the header is to be read
        return self.open()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        # of many sources, the one at fault; memory has no name that would help
        try:
            yield
        except DecodeError as error:
            if self.is_file:
                name_file(error, self.name)
            raise

    def _warn(self, error: TruncatedError) -> None:
        if self._on_truncated != "warn":
            raise error
        if self.is_file:
            name_file(error, self.name)
        warn_caller(str(error))

    @property
    def _on_cut(self) -> OnTruncated:
        # what is a warning is raised first, to say the name
        return "raise" if self._on_truncated == "warn" else self._on_truncated

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the stream as it is, compressed or not."""

    @abstractmethod
    def open(self) -> IO[bytes]:
        """Open the stream as it is, at its first byte."""

    def open_for(self, span: Span | None, max_bytes: int) -> IO[bytes]:
        """
        Open the stream for a reader of some of its records.

        Parameters
        ----------
        span : Span or None
            Which; None for all.
        max_bytes : int
            The most bytes of a block.

        Returns
        -------
        file
            At its first byte all the same.
        """
        return self.open()

    @abstractmethod
    def buffer(self) -> Any:
        """Give the stream as it is, as one buffer."""

    def records(self) -> Records:
        """
        Give all records at once.

        Returns
        -------
        Records
            Of a plain stream a view, else a new block.
        """
        with self._named():
            try:
                return scan(self.buffer(), on_truncated=self._on_cut)
            except TruncatedError as error:
                if error.good is None:
                    raise
                self._warn(error)
                return error.good

    def blocks(
        self, max_bytes: int, wanted: dict[str, Any], *, trusted: bool = True
    ) -> Iterator[Records]:
        """
        Give the records in blocks.

        Parameters
        ----------
        max_bytes : int
            The most bytes of a block.
        wanted : dict
            A filter's conditions, as `Filter` takes them.
        trusted : bool
            Whether the records' order is, which a search for a range of time needs; else it is
            proven first.

        Yields
        ------
        Records
        """
        frames = self.frames(wanted)
        if frames is not None:
            yield from self.of_frames(frames, max_bytes, wanted)
            return
        yield from self._read(self.span(wanted, trusted), max_bytes, wanted)

    def _read(self, span: Span | None, max_bytes: int, wanted: dict[str, Any]) -> Iterator[Records]:
        part = None if span is None else (self.metadata, span)
        options: dict[str, Any] = {"max_bytes": max_bytes, "on_truncated": self._on_cut, **wanted}
        with (
            self._named(),
            self.open_for(span, max_bytes) as file,
            RecordReader(file, span=part, **options) as reader,
        ):
            try:
                yield from reader
            except TruncatedError as error:
                self._warn(error)

    def records_between(self, wanted: dict[str, Any], trusted: bool) -> Records | None:
        """
        Give the records of a range of time at once, where they are found by a search.

        Parameters
        ----------
        wanted, trusted
            As `blocks` takes them; only the range of time counts.

        Returns
        -------
        Records or None
            A view; None where the stream has to be read.
        """
        span = self.span(wanted, trusted)
        if span is None:
            return None
        return self._of_span(span).filter(start=wanted.get("start"), end=wanted.get("end"))

    def _of_span(self, span: Span) -> Records:
        if self.is_far:  # into one block, which has room for all
            room = self.nbytes if span.end is None else span.end - span.begin
            found = list(self._read(span, room + PAGE, {}))
            header = self.metadata
            if not found:
                return empty_records(header.version, header.ts_out, header)
            return found[0] if len(found) == 1 else Records.concat(found)
        with self._named():
            try:
                return scan_span(self.buffer(), span, self.metadata, self._on_cut)
            except TruncatedError as error:
                if error.good is None:
                    raise
                self._warn(error)
                return error.good

    def may_have(self, start: int | None, end: int | None) -> bool:
        """
        Tell by the header whether there may be records of a range of time.

        Parameters
        ----------
        start, end : int or None
            Half-open range of the index timestamp, ns since 1970-01-01 UTC.

        Returns
        -------
        bool
            True for live data: its header has no end, and says when it began to be received.
        """
        header = self.metadata
        if header.end is None:
            return True
        if end is not None and header.start >= end:
            return False
        # of a file that was split the end may be the time of its last record
        return start is None or header.end >= start

    def span(self, wanted: dict[str, Any], trusted: bool) -> Span | None:
        """
        Find where a range of time is, without reading all.

        Parameters
        ----------
        wanted, trusted
            As `blocks` takes them; only the range of time counts.

        Returns
        -------
        Span or None
            None where there is none, or the stream has to be read.
        """
        start, end = wanted.get("start"), wanted.get("end")
        if (start is None and end is None) or self.compression != Compression.NONE:
            return None
        if not (trusted or self._is_ordered()):
            return None
        probes = FAR_PROBES if self.is_far else None
        with self.reading() as pread:
            search = Search(pread, self._begin, self.nbytes, self.metadata, probes)
            return search.find(start, end)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[int, int], bytes]]:
        """
        Read here and there in the stream as it is.

        Yields
        ------
        callable
            Gives the bytes at a place: ``pread(offset, n)``, fewer at the end.
        """
        with self.open() as file:
            yield reading(file)

    def reading_frames(
        self, numbers: Sequence[int]
    ) -> contextlib.AbstractContextManager[Callable[[int, int], bytes]]:
        """
        Read frames of a seekable file.

        Parameters
        ----------
        numbers : sequence of int
            Which, in the order in which they are read.

        Returns
        -------
        context manager
            As `reading` gives it.
        """
        return self.reading()

    @property
    def all_of_it(self) -> Span:
        """All records of a plain stream."""
        return Span(self._begin, None, 0)

    @property
    def index(self) -> Index | None:
        """The frames of a seekable file; None of any other, and where `verify` finds it wrong."""
        if self._index is None:
            self._index = (self._read_index(),)
        return self._index[0]

    def _read_index(self) -> Index | None:
        if self.compression != Compression.ZSTD or self.is_dbz:
            return None
        with self.reading() as pread:
            try:
                return read_index(pread, self.nbytes)
            except DecodeError:
                return None

    def frames(self, wanted: dict[str, Any]) -> list[int] | None:
        """
        Find the frames of a seekable file that have to be read.

        Parameters
        ----------
        wanted : dict
            As `blocks` takes it.

        Returns
        -------
        list of int or None
            None where there is no range of time, or no index.
        """
        start, end = wanted.get("start"), wanted.get("end")
        index = None if start is None and end is None else self.index
        if index is None:
            return None
        found = index.overlapping(start, end)
        if "also" in wanted:  # records that tell symbols are control records, of whatever time
            _, n_untimed, _, _, lowest, highest = index.columns.T
            found = sorted(
                {*found, *np.flatnonzero((lowest <= highest) | (n_untimed > 0)).tolist()}
            )
        return found

    def of_frames(
        self, numbers: Sequence[int], max_bytes: int, wanted: dict[str, Any]
    ) -> Iterator[Records]:
        """
        Give the records of some frames of a seekable file, in blocks.

        Parameters
        ----------
        numbers : sequence of int
            The frames.
        max_bytes, wanted
            As `blocks` takes them.

        Yields
        ------
        Records
        """
        selected = Filter(self.metadata.schema, **wanted) if wanted else None
        assert self.index is not None
        with self._named(), self.reading_frames(numbers) as pread:
            for records in read_frames(pread, self.index, numbers, metadata=self.metadata):
                found = records if selected is None else passing(records, selected)
                if len(found):
                    yield from pieces(found, max_bytes)

    def _is_ordered(self) -> bool:
        # Whether no record is of a time before that of another before it; read once, and again
        # where the file grew. What is wrong otherwise is said where the records are read.
        size = self.nbytes
        if self._ordered is None or self._ordered[0] != size:
            self._ordered = size, self._look_at_order()
        return self._ordered[1]

    def _look_at_order(self) -> bool:
        last = 0
        try:
            for block in self.looked_at():
                times = index_times(block)
                if times[0] < last or (times[1:] < times[:-1]).any():
                    return False
                last = int(times[-1])
        except DecodeError:
            return False
        return True

    def looked_at(self) -> Iterator[Records]:
        """
        Give all records for a look at them, whose caller reads them otherwise: no cut is told.

        Yields
        ------
        Records
        """
        with self.open() as file:
            yield from iter_decode(file, max_bytes=BLOCK, on_truncated="ignore")


class FileSource(Source):
    """
    A file.

    Parameters
    ----------
    path : Path
        Where it is.
    on_truncated : str
        As `scan` takes it.
    """

    is_file = True

    def __init__(self, path: Path, on_truncated: OnTruncated = "warn") -> None:
        self.path = path
        self._kept: _Kept | None = None
        super().__init__(str(path), on_truncated)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None, "_index": None}

    def keep(self) -> None:
        """Keep the file open, where the system lets it be removed nevertheless."""
        if CAN_KEEP:
            with contextlib.suppress(OSError):  # then it is opened whenever it is read
                kept = _Kept(os.open(self.path, os.O_RDONLY))
                regular = stat.S_ISREG(os.fstat(kept.number).st_mode)
                self._kept = kept if regular and kept.number < MOST_KEPT else None

    @property
    def is_kept(self) -> bool:
        """Whether the file is open all the time."""
        return self._kept is not None

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._stat().st_size

    @property
    def state(self) -> tuple[int, int]:
        """What changes when the file does: its bytes, and the time of change."""
        found = self._stat()
        return found.st_size, found.st_mtime_ns

    def _stat(self) -> os.stat_result:
        return os.stat(self.path if self._kept is None else self._kept.number)

    def open(self) -> IO[bytes]:
        """Open the file."""
        if self._kept is not None:
            return cast("IO[bytes]", _KeptFile(self._kept))
        return io.FileIO(self.path)  # large blocks are read as they are

    def buffer(self) -> Any:
        """Map the file into memory, read-only; the mapping lives as long as its views."""
        if not self.nbytes:  # by now: there is no mapping of nothing
            return b""
        if self._kept is not None:
            return mmap.mmap(self._kept.number, 0, access=mmap.ACCESS_READ)
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Kept:
    """A descriptor, closed when nobody holds it any more."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)


class _KeptFile(io.RawIOBase):
    """A file that stays open, read from a place of its own."""

    def __init__(self, kept: _Kept) -> None:
        self._kept = kept
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        size = os.stat(self._kept.number).st_size if whence == 2 else 0
        self._at = max((0, self._at, size)[whence] + offset, 0)
        return self._at

    def readinto(self, out: Any) -> int:
        n = os.preadv(self._kept.number, [out], self._at)
        self._at += n
        return n


class MemorySource(Source):
    """
    Bytes.

    Parameters
    ----------
    data : bytes-like
        The stream; borrowed.
    on_truncated : str
        As `scan` takes it.
    """

    def __init__(self, data: Any, on_truncated: OnTruncated = "warn") -> None:
        self._data: Any = Owner(as_bytes(data))  # threads may read it at once
        self._records: Records | None = None
        super().__init__(type(data).__name__, on_truncated)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_data": bytes(memoryview(self._data)), "_records": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _data=Owner(state["_data"]))

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer."""
        return len(self._data)

    def open(self) -> IO[bytes]:
        """Read the buffer, without a copy of it."""
        return cast("IO[bytes]", _View(memoryview(self._data)))

    def buffer(self) -> Any:
        """Give the buffer itself."""
        return self._data

    def records(self) -> Records:
        """
        Give all records at once.

        Returns
        -------
        Records
            Of a plain stream a view, found once; else a new block.
        """
        if self.compression != Compression.NONE:
            return super().records()
        if self._records is None:
            self._records = super().records()
        return self._records

    def blocks(
        self, max_bytes: int, wanted: dict[str, Any], *, trusted: bool = True
    ) -> Iterator[Records]:
        """
        Give the records in blocks, of a plain stream without a copy.

        Parameters
        ----------
        max_bytes, wanted, trusted
            As `Source.blocks` takes them.

        Yields
        ------
        Records
        """
        if self.compression != Compression.NONE or wanted:
            yield from super().blocks(max_bytes, wanted, trusted=trusted)
            return
        try:
            records = self.records()
        except (InvalidRecordError, TruncatedError) as error:
            if error.good is not None:
                yield from pieces(error.good, max_bytes)
            raise
        yield from pieces(records, max_bytes)


class _View(io.RawIOBase):
    """A buffer as a file that is read without taking a copy of it all."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._at, len(self._data))[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, out: Any) -> int:
        part = self._data[self._at : self._at + len(out)]
        out[: len(part)] = part
        self._at += len(part)
        return len(part)


def paths_of(source: PathLike) -> Sequence[Path]:
    """
    Find the files that a path means.

    Parameters
    ----------
    source : path-like
        A file, a pattern, or a folder; ``~`` at its beginning is the home folder.

    Returns
    -------
    sequence of Path

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    name = os.path.expanduser(os.fsdecode(source))
    if not name:  # for Path, the current folder
        raise FileNotFoundError(errno.ENOENT, "the path is empty", name)
    path = Path(name)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if is_dbn_name(p.name))
        if not found:
            text = "no DBN files (.dbn, .dbn.zst, .dbz) in this folder"
            raise FileNotFoundError(errno.ENOENT, text, str(path))
    elif path.exists() or not glob.has_magic(str(path)):
        found = [path]
    else:
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not found or not found[0].exists():
        raise FileNotFoundError(errno.ENOENT, "no such DBN file", str(path))
    return found


def is_dbn_name(name: str) -> bool:
    """
    Tell whether a folder's file is meant when the folder is read.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    bool
    """
    return name.removesuffix(".zst").endswith((".dbn", ".dbz")) and not name.startswith(".")
