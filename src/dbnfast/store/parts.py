"""Pieces of a store that can be read on their own, in other threads, processes and machines."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbnfast._core.scan import likely_start
from dbnfast._util.arguments import as_int
from dbnfast.codec.merge import headers_within
from dbnfast.codec.options import Span
from dbnfast.enums import Compression
from dbnfast.errors import DecodeError, TruncatedError
from dbnfast.layouts.programs import SIZES
from dbnfast.records.records import Records, empty_records
from dbnfast.store.blocks import BLOCK, Blocks, overlapping
from dbnfast.store.naming import Naming
from dbnfast.store.places import source_at
from dbnfast.store.remote import RangeSource
from dbnfast.store.sources import FileSource, MemorySource, Source
from dbnfast.store.zipped import Deflated, DeflatedSource
from dbnfast.symbology.resolver import is_live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from dbnfast._util.ranges import Ranged
    from dbnfast.codec.metadata import Metadata
    from dbnfast.codec.options import OnTruncated
    from dbnfast.store.conditions import Conditions
    from dbnfast.store.store import Store

    Place = Span | Sequence[int] | None  # bytes of a plain stream, frames, or all of it

LEAST: Final = 4096  # bytes of a part
WINDOW: Final = 256 << 10  # bytes in which the beginning of a record is looked for
CHAIN: Final = 64  # records of one size in a row that are no coincidence
KEPT: Final = 32  # files whose headers a process keeps for the parts that it reads


class Piece(Source):
    """
    Some records of a plain source, one after the other.

    Parameters
    ----------
    whole : Source
        The source.
    span : Span
        Which records.

    Attributes
    ----------
    whole, part
        As given.
    """

    is_whole = False

    def __init__(self, whole: Source, span: Span) -> None:
        self.whole = whole
        self.part = span
        self.name, self.is_file, self.is_far = whole.name, whole.is_file, whole.is_far
        self.metadata = whole.metadata
        self.compression, self.is_dbz = Compression.NONE, False
        self._on_truncated = whole._on_truncated
        self._ordered, self._index = None, (None,)

    @property
    def nbytes(self) -> int:
        """Bytes of the records."""
        end = self.whole.nbytes if self.part.end is None else self.part.end
        return end - self.part.begin

    def open(self) -> Any:
        """Open the whole stream."""
        return self.whole.open()

    def open_for(self, span: Span | None, max_bytes: int) -> Any:
        """
        Open the whole stream for a reader of some of its records.

        Parameters
        ----------
        span, max_bytes
            As `Source.open_for` takes them.

        Returns
        -------
        file
        """
        return self.whole.open_for(span, max_bytes)

    def buffer(self) -> Any:
        """Give the whole stream as one buffer."""
        return self.whole.buffer()

    def span(self, wanted: dict[str, Any], trusted: bool) -> Span:
        """
        Give the part, and leave a range of time in it to the reader: it is little that is read.

        Parameters
        ----------
        wanted, trusted
            As `Source.span` takes them.

        Returns
        -------
        Span
        """
        return self.part

    def records(self) -> Records:
        """
        Give all records at once.

        Returns
        -------
        Records
            A view.
        """
        return self._of_span(self.part)

    @property
    def _on_cut(self) -> OnTruncated:
        # where the part after this one begins in the middle of a record has to be told
        return super()._on_cut if self.part.end is None else "raise"

    def _warn(self, error: TruncatedError) -> None:
        if self.part.end is None:
            super()._warn(error)
            return
        raise DecodeError(
            f"the part of bytes {self.part.begin} to {self.part.end} ends inside the record at "
            f"byte {error.offset}: no record begins where the next part does",
            offset=error.offset,
        ) from None


class FramePiece(Source):
    """
    Some frames of a seekable file.

    Parameters
    ----------
    whole : Source
        The file.
    numbers : sequence of int
        Which frames.

    Attributes
    ----------
    whole, part
        As given.
    """

    is_whole = False

    def __init__(self, whole: Source, numbers: Sequence[int]) -> None:
        self.whole = whole
        self.part = numbers
        self.name, self.is_file, self.is_far = whole.name, whole.is_file, whole.is_far
        self.metadata = whole.metadata
        self.compression, self.is_dbz = whole.compression, False
        self._on_truncated = whole._on_truncated
        self._index = (whole.index,)

    @property
    def nbytes(self) -> int:
        """Bytes of the frames."""
        assert self.index is not None
        return sum(self.index.frame(number).size for number in self.part)

    def open(self) -> Any:
        """Open the whole file."""
        return self.whole.open()

    def reading_frames(
        self, numbers: Sequence[int]
    ) -> AbstractContextManager[Callable[[int, int], bytes]]:
        """
        Read frames of the whole file.

        Parameters
        ----------
        numbers : sequence of int
            As `Source.reading_frames` takes it.

        Returns
        -------
        context manager
            As `Source.reading_frames` gives it.
        """
        return self.whole.reading_frames(numbers)

    def buffer(self) -> Any:
        """Give the whole file as one buffer."""
        return self.whole.buffer()

    def frames(self, wanted: dict[str, Any]) -> list[int]:
        """
        Give the frames, whatever is wanted of them.

        Parameters
        ----------
        wanted
            As `Source.frames` takes it.

        Returns
        -------
        list of int
        """
        return list(self.part)

    def records(self) -> Records:
        """
        Give all records at once.

        Returns
        -------
        Records
        """
        blocks = list(self.of_frames(self.part, BLOCK, {}))
        header = self.metadata
        return Records.concat(blocks) if blocks else empty_records(
            header.version, header.ts_out, header
        )  # fmt: skip


class Part:
    """
    A piece of a store that can be read on its own; `Store.parts` makes it.

    It can be pickled, and read in another process, or on another machine that has the file under
    the same path, or reaches the same filesystem: its storage options are pickled, too. What the
    store's filter asks for, and the symbols that were added to the store, come along. Reading it
    gives the same records each time.

    Attributes
    ----------
    path : Path, str or None
        Of the file; its URL, without what is secret in it, where it is elsewhere or in a zip file;
        None where the data is in memory.
    number, n_parts : int
        Which part of that file it is, from 0, and how many it has.
    begin, end : int
        The bytes of the file that it reads, from 0 for a file as a whole.
    """

    __module__ = "dbnfast"  # where users find it

    def __init__(
        self,
        source: Source,
        piece: Place,
        place: tuple[int, int],
        blocks: Blocks,
        header: Metadata | None,
    ) -> None:
        self.path: Path | str | None = None
        self._state: tuple[int, int] | None = None
        self._far: Ranged | Deflated | None = None
        if isinstance(source, FileSource):  # of what was looked at, whatever the path names now
            self.path, self._state = source.path.absolute(), source.state
        elif isinstance(source, RangeSource | DeflatedSource):
            self.path, self._far = source.name, source.file
        self.number, self.n_parts = place
        self.begin, self.end = _bounds(source, piece)
        self._source: Source | None = source
        self._piece = piece
        self._on_truncated = source._on_truncated
        self._conditions: Conditions = blocks.conditions
        self._added = blocks.names.added
        self._header = header  # what the store's says of these records; None: the file's own
        # of several files, all have the layouts of one version
        self._version = blocks.version if len(blocks.sources) == 1 else None

    @property
    def nbytes(self) -> int:
        """Bytes that it reads, compressed or not."""
        return self.end - self.begin

    def __getstate__(self) -> dict[str, Any]:
        # a header may have megabytes: files are opened again, and of memory only the part goes
        state = {**self.__dict__, "_source": None}
        if self.path is None:
            assert self._source is not None
            data, piece = memoryview(self._source.buffer()), self._piece
            if isinstance(piece, Span):
                header = bytes(data[: self._source.all_of_it.begin])
                data = memoryview(header + data[piece.begin : piece.end])
                end = None if piece.end is None else len(data)
                state["_piece"] = Span(len(header), end, piece.first)
            elif piece is not None:
                index = self._source.index
                assert index is not None
                frames = [index.frame(number) for number in (*range(index.first), *piece)]
                data = memoryview(
                    b"".join(data[one.start : one.start + one.size] for one in frames)
                )
                state["_piece"] = None
            state["_source"] = MemorySource(bytes(data), self._on_truncated)
        return state

    def store(self) -> Store:
        """
        Make a store of this part alone.

        Returns
        -------
        Store
            With the filter of the store that it is a part of. `Store.raw` and `Store.reader` of it
            raise ValueError, as those of a filtered store do.

        Raises
        ------
        FileNotFoundError
            The file is not there.
        ValueError
            The file has changed since the part was made.
        """
        from dbnfast.store.store import Store  # it makes the parts

        source = self._opened()
        piece = source
        if isinstance(self._piece, Span):
            piece = Piece(source, self._piece)
        elif self._piece is not None:
            piece = FramePiece(source, self._piece)
        header = source.metadata if self._header is None else self._header
        names = Naming(header, self._added)
        version = 3 if self._version is None else self._version
        blocks = Blocks(
            [piece], header, names, self._conditions, version,
            watches=False, joined=self._header is not None,
        )  # fmt: skip
        return Store(blocks)

    def _opened(self) -> Source:
        if self._far is not None:
            try:
                self._far.check(fresh=0)
            except ValueError as error:
                raise ValueError(f"{self.path} has changed since the parts were made") from error
            if self._source is None:
                self._source = _far(self._far, self._on_truncated)
            return self._source
        if not isinstance(self.path, Path):
            assert self._source is not None
            return self._source
        state = _state_of(self.path)
        if state != self._state:
            raise ValueError(f"{self.path} has changed since the parts of it were made")
        if self._source is None:
            self._source = _file(self.path, state, self._on_truncated)
        return self._source

    def read(self) -> Records:
        """
        Return all records of the part.

        Returns
        -------
        Records
            As `Store.records` gives them: without a filter, of a plain file a view.

        Raises
        ------
        DecodeError
            The data is damaged, or the next part does not begin where a record does. Where records
            are not all of one size, ``.record_index`` counts from the beginning of the part.
        FileNotFoundError, ValueError
            As `store` raises them.
        """
        return self.store().records()

    def to_df(self, **options: Any) -> Any:
        """
        Return the records of one type as a pandas frame.

        Parameters
        ----------
        **options
            As `Store.to_df` takes them.

        Returns
        -------
        pandas.DataFrame
            Maybe without rows. No warning says that there is no record of a schema: another part
            may have them.
        """
        return self.store().to_df(**options)

    def to_arrow(self, **options: Any) -> Any:
        """
        Return the records of one type as an Arrow table.

        Parameters
        ----------
        **options
            As `Store.to_arrow` takes them.

        Returns
        -------
        pyarrow.Table
            As `to_df` says.
        """
        return self.store().to_arrow(**options)

    def to_polars(self, **options: Any) -> Any:
        """
        Return the records of one type as a Polars frame.

        Parameters
        ----------
        **options
            As `Store.to_polars` takes them.

        Returns
        -------
        polars.DataFrame
            As `to_df` says.
        """
        return self.store().to_polars(**options)

    def __repr__(self) -> str:
        where = "memory" if self.path is None else str(self.path)
        place = f"{self.number + 1} of {self.n_parts} of {where}"
        return f"<Part {place}: bytes {self.begin:,} to {self.end:,}>"


def parts_of(blocks: Blocks, max_bytes: int) -> list[Part]:
    """
    Divide a store.

    Parameters
    ----------
    blocks : Blocks
        Its records.
    max_bytes : int
        About the most bytes of a part.

    Returns
    -------
    list of Part
        By source, in order.

    Raises
    ------
    TypeError, ValueError
        `max_bytes` is no int, or too small.
    """
    if as_int("max_bytes", max_bytes) < LEAST:
        raise ValueError(f"max_bytes is {max_bytes}, expected {LEAST} or more")
    parts = []
    headers = _headers(blocks)
    for source in blocks.relevant(blocks.conditions):
        whole, within = source, None
        if isinstance(source, Piece | FramePiece):  # which may be divided again
            whole, within = source.whole, source.part
        pieces = _pieces(whole, within, blocks.conditions, max_bytes)
        parts += [
            Part(whole, piece, (number, len(pieces)), blocks, headers[id(source)])
            for number, piece in enumerate(pieces)
        ]
    return parts


def _headers(blocks: Blocks) -> dict[int, Metadata | None]:
    # by source: what the store's header says of its records, where its own does not
    sources = blocks.sources
    if len(sources) > 1:
        found = headers_within(blocks.metadata, [source.metadata for source in sources])
    else:  # which may be a part itself
        found = [None if blocks.metadata is sources[0].metadata else blocks.metadata]
    return {id(source): header for source, header in zip(sources, found, strict=True)}


def streams_of(blocks: Blocks, max_bytes: int, *, named: bool) -> Iterator[Blocks]:
    """
    Divide a store into streams that can be read at the same time.

    Parameters
    ----------
    blocks : Blocks
        Its records.
    max_bytes : int
        About the most bytes of a stream, where a source can be divided.
    named : bool
        Whether the symbols of the records are wanted.

    Yields
    ------
    Blocks
        One after the other they have all records in the order of the store: sources that overlap
        are one stream, and so are all where records say what the symbols of later ones are.
    """
    wanted = blocks.conditions
    if blocks.schema is None and (named or wanted.symbols is not None):
        yield blocks.some(blocks.sources)
        return
    for group in overlapping(blocks.relevant(wanted)):
        (source, *others) = group
        whole, within = source, None
        if isinstance(source, Piece | FramePiece):
            whole, within = source.whole, source.part
        pieces = [None] if others else _pieces(whole, within, wanted, max_bytes)
        for piece in pieces:
            if isinstance(piece, Span):
                yield blocks.some([Piece(whole, piece)])
            elif piece is not None:
                yield blocks.some([FramePiece(whole, piece)])
            else:
                yield blocks.some(group)


def _bounds(source: Source, piece: Place) -> tuple[int, int]:
    if piece is None:
        return 0, source.nbytes
    if isinstance(piece, Span):
        return piece.begin, source.nbytes if piece.end is None else piece.end
    assert source.index is not None
    last = source.index.frame(piece[-1])
    return source.index.frame(piece[0]).start, last.start + last.size


def _pieces(source: Source, within: Place, wanted: Conditions, max_bytes: int) -> Sequence[Place]:
    # what the parts of a source are; one that is read whole is one
    if is_live(source.metadata) or not source.is_sought:
        return [None]  # symbols of live data are in records that came before
    if source.compression != Compression.NONE:
        return _runs(source, within, wanted, max_bytes)
    found = within if isinstance(within, Span) else None
    if found is None:
        found = source.span(wanted.of_records, not wanted.check_order)
    span = source.all_of_it if found is None else found
    size = source.nbytes
    end = size if span.end is None else span.end
    if end == span.begin:
        return [None] if found is None else []
    if found is None and end - span.begin <= max_bytes:
        return [None]
    cuts = list(_cuts(source, span.begin, end, max_bytes))
    ends: list[int | None] = [*(cut for cut, _ in cuts), span.end]
    firsts = [(span.begin, 0), *cuts]
    return [
        Span(begin, end, span.first + first)
        for (begin, first), end in zip(firsts, ends, strict=True)
    ]


def _runs(source: Source, within: Place, wanted: Conditions, max_bytes: int) -> Sequence[Place]:
    # the frames of a seekable file, as many at a time as hold `max_bytes`
    index = source.index
    if index is None:
        return [None]
    runs: list[list[int]] = []
    room = 0
    for number in index.overlapping(wanted.start, wanted.end):
        if within is not None and number not in within:
            continue
        size = index.frame(number).plain_size
        if not runs or size > room:
            runs.append([])
            room = max_bytes
        runs[-1].append(number)
        room -= size
    return runs or ([] if wanted.by_time else [None])


def _cuts(source: Source, begin: int, end: int, max_bytes: int) -> Iterator[tuple[int, int]]:
    # where parts begin, and after how many records where that is known, else 0: by arithmetic
    # where all records seem to be of one size, else where a chain of records does
    counts = source.metadata.schema is not None
    with source.reading() as pread:
        head = pread(begin, 2)
        if len(head) < 2:
            return  # the file became shorter
        stride = head[0] * 4
        unit = max(stride, 4)  # all records have a multiple of four bytes
        step = max(max_bytes - max_bytes % unit, unit)
        last = begin
        for place in range(begin + step, end, step):
            data = pread(place, min(WINDOW, end - place))
            looked_at = range(0, min(len(data), CHAIN * stride), stride) if stride else ()
            if place <= last:
                continue
            if looked_at and all(data[at : at + 2] == head for at in looked_at):
                yield place, (place - begin) // stride if counts else 0
                last = place
                continue
            found = likely_start(data, 0, 0, SIZES, source.metadata.ts_out)
            if found >= 0 and last < place + found < end:
                last, counts = place + found, False
                yield last, 0


def _state_of(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


@functools.lru_cache(maxsize=KEPT)
def _far(file: Ranged | Deflated, on_truncated: OnTruncated) -> Source:
    return source_at(file, on_truncated)


@functools.lru_cache(maxsize=KEPT)
def _file(path: Path, state: tuple[int, int], on_truncated: OnTruncated) -> FileSource:
    # many parts of a file are read one after the other: its header is read once
    return FileSource(path, on_truncated)
