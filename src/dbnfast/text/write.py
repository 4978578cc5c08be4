"""Records as CSV or JSON lines, formatted by the core on several threads."""

from __future__ import annotations

import io
import operator
import weakref
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from dbnfast._core.text import Symbols, TextPlan, TextProgram, write_rows
from dbnfast._util.buffers import write_all
from dbnfast._util.threads import cores
from dbnfast.enums import DBN_VERSION
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.programs import SIZES
from dbnfast.layouts.table import layout_by_size, layout_for
from dbnfast.records.headers import groups, offset_of, selected_rtypes
from dbnfast.records.records import Records, empty_records
from dbnfast.text.programs import TextOptions, columns, csv_text, json_text, text_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbnfast._typing import Bytes, Codes
    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import RType, Schema

    Result = tuple[int, int, int, int, int]

BATCH: Final = 16 << 20  # bytes of records that get their symbol codes at once
PIECE: Final = 512 << 10  # bytes of records that one thread formats at a time
BLOCK: Final = 8 << 20  # most bytes of text in one block; only what is written takes memory
MAX_THREADS: Final = 8
_DONE, _FULL, _NO_CODE = 0, 4, 5  # as `write_rows` says


class Writable(Protocol):
    """What rows are written to."""

    def write(self, data: memoryview, /) -> object:
        """
        Take bytes.

        Parameters
        ----------
        data : memoryview
            Read-only, and not changed later.

        Returns
        -------
        int or None
            How many bytes were taken; None for all.
        """


class SymbolResolver(Protocol):
    """What finds the symbols of records."""

    @property
    def symbols(self) -> Sequence[str]:
        """The symbols by their code; it may grow, but does not change otherwise."""

    def codes(self, records: Records, /) -> Codes:
        """
        Give the symbol code of each record.

        Parameters
        ----------
        records : Records
            The next records of the stream.

        Returns
        -------
        ndarray of int32, shape (n,)
            A new array; -1 where a record has no symbol.
        """


class _Piece(NamedTuple):
    # bytes `start` to `end` of a batch, its record `first` and those behind it
    data: memoryview
    start: int
    end: int
    first: int
    n_records: int
    ts_out: bool
    plan: TextPlan
    symbols: Symbols
    codes: Codes | None


def write_csv(
    batches: Iterable[Records] | Records,
    out: Writable,
    *,
    schema: Schema | RType | str | None = None,
    pretty_px: bool = True,
    pretty_ts: bool = True,
    map_symbols: bool = True,
    resolver: SymbolResolver | None = None,
    metadata: Metadata | None = None,
    upgrade: bool = True,
    threads: int | None = None,
    header: bool = True,
) -> int:
    """
    Write the records of one schema as CSV.

    Parameters
    ----------
    batches : iterable of Records, or Records
        The records in their order, all of one stream.
    out : writable
        An object with ``write``. It may keep the memoryviews that it is given.
    schema : Schema, RType or str, optional
        What to write; None for the stream's own schema. Other records are passed over.
    pretty_px : bool
        Prices as decimals, empty where undefined; else as integers in 1e-9.
    pretty_ts : bool
        Times as ISO 8601 in UTC, empty where undefined or 0; else as integers, ns since
        1970-01-01 UTC.
    map_symbols : bool
        Whether the last column is the symbol.
    resolver : SymbolResolver, optional
        What finds the symbols; None leaves the column empty.
    metadata : Metadata, optional
        Says schema, version and ts_out where the batches do not.
    upgrade : bool
        Whether older layouts are upgraded to version 3.
    threads : int, optional
        Threads that format; None for one on each processor, up to 8.
    header : bool
        Whether the first line names the columns.

    Returns
    -------
    int
        The rows written, without the header.

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be; there is no schema; a record's columns are not
        those of the header; the resolver's codes do not fit.
    OSError
        The output takes no bytes.

    Notes
    -----
    Lines end in a line feed. A header is written even if no record is. What was formatted
    before `batches` raises is written.
    """
    options = TextOptions(False, bool(pretty_px), bool(pretty_ts), bool(map_symbols))
    rows = RowWriter(out, options, resolver, threads)
    stream, first = _peek(batches, metadata, upgrade)
    rows.begin_csv(first, schema, metadata, header=header)
    return rows.write(stream)


def write_json(
    batches: Iterable[Records] | Records,
    out: Writable,
    *,
    schema: Schema | RType | str | None = None,
    pretty_px: bool = True,
    pretty_ts: bool = True,
    map_symbols: bool = True,
    resolver: SymbolResolver | None = None,
    metadata: Metadata | None = None,
    upgrade: bool = True,
    threads: int | None = None,
) -> int:
    """
    Write records as JSON lines: an object for each, of whatever type.

    Parameters
    ----------
    batches : iterable of Records, or Records
        The records in their order.
    out : writable
        An object with ``write``. It may keep the memoryviews that it is given.
    schema : Schema, RType or str, optional
        Checked, and otherwise without effect, as in the official packages: lines of JSON need
        no common columns. `Records.filter` selects records.
    pretty_px : bool
        Prices as decimals, null where undefined; else as integers in 1e-9. Strings in both.
    pretty_ts : bool
        Times as ISO 8601 in UTC, null where undefined or 0; else as integers, ns since
        1970-01-01 UTC. Strings in both.
    map_symbols : bool
        Whether the last member is the symbol.
    resolver : SymbolResolver, optional
        What finds the symbols; None makes all of them null.
    metadata : Metadata, optional
        Without effect; `write_csv` needs it.
    upgrade : bool
        Whether older layouts are upgraded to version 3.
    threads : int, optional
        Threads that format; None for one on each processor, up to 8.

    Returns
    -------
    int
        The lines written.

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be; the resolver's codes do not fit.
    OSError
        The output takes no bytes.

    Notes
    -----
    Records of an unknown rtype have no fields and are passed over. What was formatted before
    `batches` raises is written.
    """
    options = TextOptions(True, bool(pretty_px), bool(pretty_ts), bool(map_symbols))
    rows = RowWriter(out, options, resolver, threads)
    if schema is not None:
        as_rtype(schema)
    return rows.write(_bounded(batches, upgrade))


class RowWriter:
    """
    Write records as CSV or JSON lines, in as many calls as one likes.

    Parameters
    ----------
    out : writable
        An object with ``write``. It may keep the memoryviews that it is given.
    options : TextOptions
        What the rows look like.
    resolver : SymbolResolver, optional
        What finds the symbols.
    threads : int, optional
        Threads that format; None for one on each processor, up to 8.

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be.
    """

    def __init__(
        self,
        out: Writable,
        options: TextOptions,
        resolver: SymbolResolver | None,
        threads: int | None = None,
    ) -> None:
        self._out = out
        self._options = options
        self._output = _Output(out, threads)
        self._format = _Format(options, resolver)

    def begin_csv(
        self,
        first: Records,
        schema: Schema | RType | str | None,
        metadata: Metadata | None,
        *,
        header: bool = True,
    ) -> None:
        """
        Say which records become CSV, and write its header.

        Parameters
        ----------
        first : Records
            The first of the stream, or none of it: they say what the columns are.
        schema : Schema, RType or str, optional
            What to write; None for the stream's own schema.
        metadata : Metadata, optional
            Says the schema where the records do not.
        header : bool
            Whether the first line names the columns.

        Raises
        ------
        TypeError, ValueError
            There is no schema.
        OSError
            The output takes no bytes.
        """
        if schema is None:
            said = metadata if first.metadata is None else first.metadata
            schema = None if said is None else said.schema
            if schema is None:
                raise ValueError("the records have no schema of their own; CSV needs one: name it")
        rtypes = selected_rtypes(first, schema)
        layout = layout_for(as_rtype(schema)[1], first.version)
        assert layout is not None  # every RType has a layout in every version
        names = columns(layout, first.ts_out, self._options.map_symbols)
        self._format.select(rtypes, names)
        if header:
            write_all(self._out, memoryview((",".join(names) + "\n").encode()))

    def write(self, batches: Iterable[Records]) -> int:
        """
        Write records.

        Parameters
        ----------
        batches : iterable of Records
            The next ones of the stream, in their order.

        Returns
        -------
        int
            The rows written so far, without the header.

        Raises
        ------
        ValueError
            A record's columns are not those of the header; the resolver's codes do not fit.
        OSError
            The output takes no bytes.
        """
        output, stream = self._output, iter(batches)
        try:
            while True:
                try:
                    records = next(stream, None)
                except BaseException:
                    output.drain()  # what came before is good
                    raise
                if records is None:
                    break
                for piece in self._format.pieces(records):
                    output.add(piece)
            output.drain()
        finally:
            output.close()
        return output.n_rows


def _bounded(batches: Iterable[Records] | Records, upgrade: bool) -> Iterator[Records]:
    if isinstance(batches, Records):
        batches = (batches,)
    for records in batches:
        if not isinstance(records, Records):
            raise TypeError(f"batches hold {type(records).__name__}, expected Records")
        n = len(records)
        step = n if records.nbytes <= 2 * BATCH else max(1, BATCH * n // records.nbytes)
        for at in range(0, n, step) if n else (0,):
            part = records[at : at + step] if n > step else records
            yield part.upgrade(DBN_VERSION) if upgrade else part


def _peek(
    batches: Iterable[Records] | Records, metadata: Metadata | None, upgrade: bool
) -> tuple[Iterator[Records], Records]:
    # the first batch, or one without records, says what the header is
    stream = _bounded(batches, upgrade)
    first = next(stream, None)
    if first is None:
        version, ts_out = DBN_VERSION, False
        if metadata is not None:
            version, ts_out = metadata.version, metadata.ts_out
        first = empty_records(version, ts_out, metadata)
        first = first.upgrade(DBN_VERSION) if upgrade else first
    return chain((first,), stream), first


class _Format:
    # what a batch needs to become rows: programs by rtype and size, symbols by code

    def __init__(self, options: TextOptions, resolver: SymbolResolver | None) -> None:
        self._options = options
        self._resolver = resolver if options.map_symbols else None
        self._rtypes: frozenset[int] | None = None  # all
        self._header: list[str] | None = None
        self._programs: dict[tuple[int, int, bool], TextProgram] = {}
        self._render: Callable[[str], bytes] = json_text if options.json else csv_text
        self._texts = [b"null" if options.json else b""]
        self._symbols = Symbols(self._texts)

    def select(self, rtypes: frozenset[int], header: list[str]) -> None:
        self._rtypes, self._header = rtypes, header

    def pieces(self, records: Records) -> Iterator[_Piece]:
        # the resolver sees all records: mappings may be among those that make no rows
        codes = self._codes(records)
        if self._header is not None and not self._fits(records):
            records = records.upgrade(records.version)
            if not self._fits(records):
                raise ValueError(
                    f"records of version {records.version} with ts_out {records.ts_out} do not "
                    "have the columns of the header"
                )
        routes = list(self._routes(records))
        if not routes:
            return
        n, data = len(records), records.data
        plan = TextPlan(routes)
        step = max(1, PIECE * n // records.nbytes)
        start = 0
        for first in range(0, n, step):
            last = min(first + step, n)
            end = offset_of(records, last)
            yield _Piece(
                data, start, end, first, last - first, records.ts_out, plan, self._symbols, codes
            )
            start = end

    def _codes(self, records: Records) -> Codes | None:
        if self._resolver is None:
            return None
        codes = np.ascontiguousarray(self._resolver.codes(records))
        if codes.dtype != np.int32 or codes.shape != (len(records),):
            raise ValueError(
                f"the resolver gave codes of {codes.dtype} and shape {codes.shape}, expected "
                f"int32 and {(len(records),)}"
            )
        symbols = self._resolver.symbols
        if len(symbols) >= len(self._texts):
            self._texts += map(self._render, symbols[len(self._texts) - 1 :])
            self._symbols = Symbols(self._texts)
        return codes

    def _fits(self, records: Records) -> bool:
        for rtype, size, _ in groups(records):
            layout = layout_by_size(rtype, size, records.ts_out)
            if self._rtypes is None or rtype not in self._rtypes or layout is None:
                continue
            if columns(layout, records.ts_out, self._options.map_symbols) != self._header:
                return False
        return True

    def _routes(self, records: Records) -> Iterator[tuple[int, TextProgram]]:
        ts_out = records.ts_out
        for rtype, size, _ in groups(records):
            layout = layout_by_size(rtype, size, ts_out)
            if layout is None or (self._rtypes is not None and rtype not in self._rtypes):
                continue
            program = self._programs.get((rtype, size, ts_out))
            if program is None:
                program = text_program(rtype, layout, size, ts_out, self._options)
                self._programs[rtype, size, ts_out] = program
            yield rtype, program


def _format(piece: _Piece, block: Bytes) -> Result:
    return write_rows(
        piece.data, piece.start, piece.end, piece.plan, SIZES, piece.ts_out, piece.codes,
        piece.first, piece.symbols, block,
    )  # fmt: skip


class _Output:
    # pieces in, text out in the same order; a few pieces are under way at once

    def __init__(self, out: Writable, threads: int | None) -> None:
        if not hasattr(out, "write"):
            raise TypeError(f"{type(out).__name__} has no write()")
        if isinstance(out, io.TextIOBase):
            raise TypeError(f"{type(out).__name__} takes text; open the file in binary mode")
        if threads is None:
            threads = min(cores(), MAX_THREADS)
        self._threads = operator.index(threads)
        if self._threads < 1:
            raise ValueError(f"threads is {threads}, expected 1 or more")
        self._out = out
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[tuple[_Piece, Future[Result], Bytes]] = deque()
        self._free: list[Bytes] = []
        self._small = True  # until there was more than one piece
        self.n_rows = 0

    def add(self, piece: _Piece) -> None:
        block = self._block(piece)
        if self._threads == 1 or self._small:
            self._small = False
            self._finish(piece, _format(piece, block), block)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "dbnfast-text")
        while len(self._pending) >= 2 * self._threads:
            self.take()
        self._pending.append((piece, self._pool.submit(_format, piece, block), block))

    def take(self) -> None:
        piece, future, block = self._pending.popleft()
        self._finish(piece, future.result(), block)

    def drain(self) -> None:
        while self._pending:
            self.take()

    def close(self) -> None:
        self._pending.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._small = True

    def _block(self, piece: _Piece) -> Bytes:
        longest = piece.plan.longest + piece.symbols.longest
        needed = max(longest, min(longest * piece.n_records, BLOCK))
        block = self._free.pop() if self._free else None
        if block is None or len(block) < needed:
            block = np.empty(needed, np.uint8)
        return block

    def _finish(self, piece: _Piece, result: Result, block: Bytes) -> None:
        while True:
            status, stop, n_bytes, n_records, n_rows = result
            self.n_rows += n_rows
            kept = self._put_part(block, n_bytes)
            if status != _FULL:
                break
            piece = piece._replace(start=stop, first=piece.first + n_records)
            block = np.empty(len(block), np.uint8) if kept else block
            result = _format(piece, block)
        if status == _NO_CODE:
            at = piece.first + n_records
            raise ValueError(f"record {at} of its batch has no symbol code, or one out of range")
        if status != _DONE:
            raise ValueError(f"the records' buffer was changed, at byte {stop} of the batch")
        if not kept:
            self._free.append(block)

    def _put_part(self, block: Bytes, n_bytes: int) -> bool:
        # Whether somebody keeps a view of what was written: then the block is not used again.
        part = block[:n_bytes]
        part.flags.writeable = False
        alive = weakref.ref(part)
        write_all(self._out, memoryview(part))
        del part
        return alive() is not None
