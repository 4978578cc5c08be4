"""Files and streams of any size in bounded memory: iter_decode."""

from __future__ import annotations

import io
import os
import weakref
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.metadata import parse_header
from dbnfast._util.buffers import sealed
from dbnfast._util.urls import is_url, masked
from dbnfast.codec import compression, dbz
from dbnfast.codec.damage import (
    INVALID,
    cut_frame,
    cut_record,
    interrupted,
    invalid_record,
    name_file,
    report_truncated,
)
from dbnfast.codec.metadata import Metadata, stated_size
from dbnfast.codec.options import (
    check_max_bytes,
    check_options,
    check_stated,
    infer_version,
    open_raw,
)
from dbnfast.codec.packed import Packed, read_into
from dbnfast.enums import DBN_VERSION, Compression
from dbnfast.errors import DecompressionError, MetadataError, TruncatedError
from dbnfast.records.filters import Filter
from dbnfast.records.headers import restated
from dbnfast.records.parallel import survey
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from dbnfast._typing import Bytes, PathLike, Schemas
    from dbnfast._util.times import Time
    from dbnfast.codec.options import OnTruncated, Span
    from dbnfast.codec.packed import LoggedFrame
    from dbnfast.records.filters import Selected

    Source = PathLike | IO[bytes]

MAX_DBZ_HEADER: Final = 64 << 20
N_GIVEN: Final = 2  # blocks that are known: the one that a loop holds, and the next one


class _Plain:
    """A stream that is not compressed, with the bytes read to detect that in front; or a part."""

    cut: str | None = None
    error: DecompressionError | None = None
    n_sound: int | None = None  # there is no checksum
    log: list[LoggedFrame] | None = None

    def __init__(self, file: Any, head: bytes, left: int | None = None) -> None:
        self._file = file
        self._head = head
        self._left = left  # bytes to read, where it is not all of them

    def hurry(self, max_bytes: int) -> None:
        """Files are read ahead by the system."""

    def close(self) -> None:
        """Leave the file open."""

    def fill(self, out: memoryview) -> int:
        """Read until `out` is full or the stream ends; give how many bytes came."""
        if self._left is not None:
            out = out[: self._left]
            self._left -= len(out)
        n = min(len(self._head), len(out))
        out[:n] = self._head[:n]
        self._head = self._head[n:]
        while n < len(out):
            got = read_into(self._file, out[n:])
            if not got:
                break
            n += got
        return n


class RecordReader:
    """
    An iterator of Records over a stream of any size; a context manager.

    `iter_decode` makes it and takes the same arguments. The metadata is read at once.

    Attributes
    ----------
    metadata : Metadata or None
        The header; None for a fragment.
    """

    __module__ = "dbnfast"  # where users find it

    def __init__(
        self,
        source: Source,
        *,
        max_bytes: int = 64 << 20,
        has_metadata: bool = True,
        input_version: int | None = None,
        ts_out: bool | None = None,
        on_truncated: OnTruncated = "warn",
        storage_options: Mapping[str, Any] | None = None,
        span: tuple[Metadata, Span] | None = None,
        _log: bool = False,
        **wanted: Any,
    ) -> None:
        check_options(has_metadata, input_version, ts_out, on_truncated)
        self.metadata: Metadata | None = None
        self._max_bytes = check_max_bytes(max_bytes)
        self._on_truncated = on_truncated
        self._version = DBN_VERSION if input_version is None else input_version
        self._infer = not has_metadata and input_version is None
        self._ts_out = bool(ts_out)
        self._offset = 0  # in the stream, of the first byte not handed out
        self._n = 0  # records handed out
        self._tail = b""  # of a record that the last block cut
        self._error: Exception | None = None
        self._done = False
        self._logs = _log  # whether frames are remembered
        self._stream: _Plain | Packed = _Plain(None, b"")
        self._filter: Filter | None = None
        self._block = np.empty(0, np.uint8)  # of a filtered stream, filled again and again
        self._given: list[tuple[Bytes, weakref.ref[Bytes]]] = []  # blocks, and what shows them
        self._path = source if isinstance(source, str | os.PathLike) else None
        if self._path is not None:
            self._file: Any = open_raw(self._path, storage_options)
            if is_url(self._path):
                self._path = masked(str(self._path))  # which only messages show from here on
        elif hasattr(source, "readinto") or hasattr(source, "read"):
            self._file = source
        else:
            hint = "; scan() decodes bytes" if isinstance(source, bytes | bytearray) else ""
            raise TypeError(f"{type(source).__name__} is neither a path nor readable{hint}")
        if isinstance(self._file, io.TextIOBase):
            raise TypeError("the stream is open as text, expected binary")
        try:
            if span is None:
                self._open(has_metadata, input_version, ts_out)
            else:  # the caller knows the header, and which records it wants of a plain file
                self._open_span(*span)
            if any(value is not None for value in wanted.values()):
                own = None if self.metadata is None else self.metadata.schema
                self._filter = Filter(own, **wanted)
        except BaseException as error:
            self._name_file(error)
            self.close()
            raise

    def _name_file(self, error: BaseException) -> None:
        if self._path is not None:
            name_file(error, self._path)

    def _open(self, has_metadata: bool, input_version: int | None, ts_out: bool | None) -> None:
        head = _read_head(self._file, 12)
        kind = compression.detect(head)
        if kind == "dbz":
            head = self._open_dbz(head)
            assert self.metadata is not None
            check_stated(self.metadata, input_version, ts_out)
        self._stream = (
            _Plain(self._file, head) if kind == "none" else Packed(self._file, head, log=self._logs)
        )
        if kind == "dbz" or not has_metadata:
            return
        try:
            self._open_metadata()
        except TruncatedError:
            if self._stream.error is not None:
                raise self._stream.error from None
            if self._stream.cut is not None:
                raise TruncatedError(f"{self._stream.cut}, inside the metadata", offset=0) from None
            raise
        assert self.metadata is not None
        check_stated(self.metadata, input_version, ts_out)
        self._version = self.metadata.version
        self._ts_out = self.metadata.ts_out

    def _open_span(self, metadata: Metadata, span: Span) -> None:
        self.metadata = metadata
        self._version, self._ts_out = metadata.version, metadata.ts_out
        self._offset, self._n = span.begin, span.first
        self._file.seek(span.begin)
        left = None if span.end is None else span.end - span.begin
        self._stream = _Plain(self._file, b"", left)

    def _open_metadata(self) -> None:
        block = bytearray(8)
        n = self._stream.fill(memoryview(block))
        size = stated_size(bytes(block[:n])) if n else None
        header = bytes(block[:n])
        # a header's own word on its length is not trusted with memory: it grows as it comes
        while size is not None and len(header) < size:
            part = bytearray(min(size - len(header), max(1 << 20, len(header))))
            got = self._stream.fill(memoryview(part))
            header += part[:got]
            if got < len(part):
                break
        self.metadata = Metadata._from_header(parse_header(header))
        self._offset = len(header)

    def _open_dbz(self, head: bytes) -> bytes:
        # gives what was read of the records behind the header
        size = int.from_bytes(head[4:8], "little") + dbz.FRAME_PRELUDE
        if size > MAX_DBZ_HEADER:
            raise MetadataError(
                f"DBZ metadata length at byte 4 makes a header of {size} bytes, at most "
                f"{MAX_DBZ_HEADER} are read from a stream",
                offset=4,
            )
        data = head + _read_head(self._file, max(size, 8 + dbz.FIXED_SIZE) - len(head))
        header = dbz.read_header(memoryview(data))
        self.metadata = header.metadata
        self._version = 1
        return data[header.size :]

    @property
    def compression(self) -> Compression:
        """The compression of the stream."""
        packed = isinstance(self._stream, Packed)
        return Compression.ZSTD if packed else Compression.NONE

    def __iter__(self) -> Iterator[Records]:
        return self

    def __next__(self) -> Records:
        """
        Give the next records.

        Returns
        -------
        Records
            Of up to `max_bytes` bytes, in a block of their own. Its memory is filled again once
            nothing refers to it, as `Records` and arrays of them do.

        Raises
        ------
        DecodeError
            The stream is damaged; everything before was given. ``.good`` is None. Every later
            call raises it again.
        """
        while not self._done:
            if self._error is not None:
                self._name_file(self._error)
                self._close_file()
                raise self._error.with_traceback(None)  # or it would grow with every call
            try:
                records = self._next_block()
            except BaseException as error:
                # what was read of the block is lost: there is no way on
                self._error = error if isinstance(error, Exception) else interrupted()
                self._name_file(error)
                self._close_file()
                raise
            if len(records):
                return records
        raise StopIteration

    def _next_block(self) -> Records:
        block = self._unseen() if self._filter is None else self._reused()
        view = memoryview(block)
        n = len(self._tail)
        view[:n] = self._tail
        self._stream.hurry(self._max_bytes)
        n += self._stream.fill(view[n:])
        ended = n < len(view)
        self._error = self._stream.error
        if self._filter is None:
            owner = sealed(block)
            records, status = survey(
                Records, owner, 0, n, self._version, self._ts_out, self.metadata
            )
            n_seen, stop = len(records), records.nbytes
        else:
            owner = view.toreadonly()
            records, found = self._select(self._filter, owner[:n])
            n_seen, stop, status = found.n_seen, found.stop, found.status
        if self._infer and len(records):
            records = self._settle(records)
        self._offset += stop
        self._n += n_seen
        self._tail = bytes(owner[stop:n])
        if status == INVALID:
            self._error = invalid_record(
                self._offset, self._n, owner[stop] * 4, owner[stop + 1], self._ts_out, None
            )
        elif ended and self._error is None:
            self._end()
        return records

    def _unseen(self) -> Bytes:
        # Memory that was given before and that nobody looks at any more costs no new pages.
        # Whoever looks at it holds the view, so that the view's end tells.
        kept = [(memory, view) for memory, view in self._given if view() is not None]
        free = [memory for memory, view in self._given if view() is None]
        memory = free[0] if free else np.empty(self._max_bytes, np.uint8)
        block = memory[:]
        self._given = [*kept, (memory, weakref.ref(block))][-N_GIVEN:]
        return block

    def _reused(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        # what passes a filter is copied, so that the block it is read into is free again
        if not len(self._block):
            self._block = np.empty(self._max_bytes, np.uint8)
        return self._block

    def _select(self, wanted: Filter, data: memoryview) -> tuple[Records, Selected]:
        out = np.empty(len(data), np.uint8)
        found = wanted.select(data, out, self._ts_out)
        if found.n_bytes < len(out) // 2:
            out = out[: found.n_bytes].copy()  # gives back what was reserved for all
        records, _ = survey(
            Records, sealed(out), 0, found.n_bytes, self._version, self._ts_out, self.metadata
        )
        return records, found

    def _end(self) -> None:
        self._finish()
        cut = self._stream.cut
        error = None
        if cut is not None:
            error = cut_frame(cut, self._offset, self._n, len(self._tail))
        elif self._tail:
            error = cut_record(self._offset, self._n, memoryview(self._tail))
        if error is None:
            return
        if self._on_truncated == "raise":
            self._done, self._error = False, error  # after the records of this block
        else:
            self._name_file(error)
            report_truncated(error, self._on_truncated)

    def _settle(self, records: Records) -> Records:
        inferred = infer_version(records)
        if inferred is None:
            return records
        version, certain = inferred
        self._infer = not certain
        self._version = version
        return restated(records, version, None)

    def _finish(self) -> None:
        self._done = True
        self._stream.close()
        self._close_file()

    def close(self) -> None:
        """End the iteration, and close the file if `iter_decode` opened it."""
        self._finish()

    def _close_file(self) -> None:
        self._given.clear()
        if self._path is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _read_head(file: Any, n: int) -> bytes:
    head = bytearray(max(n, 0))
    got = 0
    while got < len(head):
        more = read_into(file, memoryview(head)[got:])
        if not more:
            break
        got += more
    return bytes(head[:got])


def read_span(reader: RecordReader, span: Span) -> None:
    """
    Go on with a part of a plain stream, of which nothing but the header was read.

    Parameters
    ----------
    reader : RecordReader
        Over the stream, which can be sought.
    span : Span
        Which records to read.
    """
    assert reader.metadata is not None
    reader._open_span(reader.metadata, span)


def n_given(reader: RecordReader) -> int:
    """
    Count the bytes that were handed out.

    Parameters
    ----------
    reader : RecordReader
        Over a stream.

    Returns
    -------
    int
        The header's and all records', not compressed.
    """
    return reader._offset


def n_read(reader: RecordReader) -> int:
    """
    Count the bytes that were read, handed out or not.

    Parameters
    ----------
    reader : RecordReader
        Over a stream.

    Returns
    -------
    int
        Not compressed.
    """
    return reader._offset + len(reader._tail)


def n_sound(reader: RecordReader) -> int | None:
    """
    Count the bytes of the zstd frames that have ended, checksums included.

    Parameters
    ----------
    reader : RecordReader
        Over a stream.

    Returns
    -------
    int or None
        Not compressed; None where the stream is not compressed, so that there is no checksum.
    """
    return reader._stream.n_sound


def frame_log(reader: RecordReader) -> list[LoggedFrame] | None:
    """
    Give the zstd frames that were read.

    Parameters
    ----------
    reader : RecordReader
        Over a stream, told to remember them.

    Returns
    -------
    list of LoggedFrame or None
        None where the stream is not compressed, or it was not told to.
    """
    return reader._stream.log


def in_cut_frame(reader: RecordReader) -> bool:
    """
    Tell whether the stream ended inside a zstd frame.

    Parameters
    ----------
    reader : RecordReader
        Over a stream.

    Returns
    -------
    bool
    """
    return reader._stream.cut is not None


def count_rest(reader: RecordReader) -> int | None:
    """
    Read a stream on from where it is damaged or cut, and count what is left of it.

    Parameters
    ----------
    reader : RecordReader
        Over a stream.

    Returns
    -------
    int or None
        Bytes, not compressed; None where nobody can tell.
    """
    # Reads on to the checksum of the frame that holds the last good records, too. What cannot be
    # read any more is not missed: it would be left out anyway.
    stream, n = reader._stream, len(reader._tail)
    block = memoryview(bytearray(compression.PIECE))
    try:
        while stream.error is None and (got := stream.fill(block)):
            n += got
    except OSError:
        return None
    return n if stream.error is None and stream.cut is None else None


def iter_decode(
    source: Source,
    *,
    max_bytes: int = 64 << 20,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
    on_truncated: OnTruncated = "warn",
    schema: Schemas | None = None,
    instrument_ids: Iterable[int] | int | None = None,
    publishers: Iterable[int] | int | None = None,
    start: Time | None = None,
    end: Time | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> RecordReader:
    """
    Decode a file or a stream of any size, block by block, in bounded memory.

    Parameters
    ----------
    source : path, URL or readable
        A file's path, or its URL, which is read ahead, or an object with ``readinto`` or ``read``,
        which is left open. Plain, zstd-compressed or DBZ; its content tells which.
    max_bytes : int
        The most bytes of records in one block. A few blocks are in memory at a time.
    has_metadata, input_version, ts_out, on_truncated
        As `scan` takes them.
    schema, instrument_ids, publishers, start, end
        As `Records.filter` takes them; only matching records are given. Checking and selecting
        happen in one pass.
    storage_options : mapping, optional
        What the filesystem of a URL is made with, as `read` takes it.

    Returns
    -------
    RecordReader
        An iterator of Records, and a context manager, with ``.metadata`` and ``.close()``.

    Raises
    ------
    DecodeError
        The metadata is incomplete or not valid. Later damage raises while iterating, after all
        good records before it.
    OSError
        The file cannot be read.
    MissingExtraError
        The source is a URL, and fsspec is not installed.
    TypeError, ValueError
        An argument has the wrong type or value.

    Warns
    -----
    TruncatedWarning
        The input is incomplete, and `on_truncated` is "warn".
    """
    return RecordReader(
        source,
        max_bytes=max_bytes,
        has_metadata=has_metadata,
        input_version=input_version,
        ts_out=ts_out,
        on_truncated=on_truncated,
        schema=schema,
        instrument_ids=instrument_ids,
        publishers=publishers,
        start=start,
        end=end,
        storage_options=storage_options,
    )
