"""Records as Parquet, one row group for each block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.atomic import naming, native
from dbnfast._util.extras import require
from dbnfast.enums import PriceType, RType
from dbnfast.layouts.fields import ENUM, FLAGS, INT, PRICE, TIMESTAMP
from dbnfast.records.headers import groups
from dbnfast.tables.arrow import ArrowOptions, Batches
from dbnfast.tables.columns import Rows, rows_of
from dbnfast.tables.options import FrameOptions
from dbnfast.tables.pandas import to_frame
from dbnfast.tables.symbols import SYMBOL, Labels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbnfast.enums import Schema
    from dbnfast.records.records import Records
    from dbnfast.symbology.resolver import Resolver

ASCENDING: Final = ("order_id", "sequence")
PAGE: Final = {
    # a page is encoded and compressed while a core's cache still holds it
    "data_page_size": 80 << 10,  # bytes
    "write_batch_size": 10 << 10,  # rows
    "data_page_version": "2.0",  # what says which rows are null is not compressed again
}


def write_parquet(
    batches: Iterable[Records],
    where: Any,
    *,
    schema: Schema | RType | str | None = None,
    price_type: PriceType | str = PriceType.FLOAT,
    pretty_ts: bool = True,
    resolver: Resolver | None = None,
    empty: Records | None = None,
    parquet_schema: Any = None,
    **kwargs: Any,
) -> int:
    """
    Write records as a Parquet file that reads back as the frame of them.

    Parameters
    ----------
    batches : iterable of Records
        The blocks, in order; each becomes a row group.
    where : path-like or writable
        Where to.
    schema : Schema, RType or str, optional
        Which records; None for the only type there is.
    price_type : PriceType or str
        ``"fixed"`` or ``"float"``.
    pretty_ts : bool
        Whether times are timestamps, or stay uint64 ns.
    resolver : Resolver, optional
        Where symbols come from; None for no symbol column.
    empty : Records, optional
        No records of the stream, which tell the columns where there are none at all.
    parquet_schema : pyarrow.Schema, optional
        What the columns are cast to.
    **kwargs
        For ``pyarrow.parquet.ParquetWriter``.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    MissingExtraError
        pandas or pyarrow is not installed.
    ValueError
        The price type is ``"decimal"``, or what is not there.
    """
    kind = PriceType(price_type)
    if kind == PriceType.DECIMAL:
        raise ValueError("price_type is 'decimal', expected 'float' or 'fixed'")
    require("pandas", "pandas")
    named = resolver is not None
    options = ArrowOptions(kind, bool(pretty_ts), map_symbols=named, null_ints=False)
    maker = Batches(schema, options, resolver)
    known = resolver is None or resolver.grows or bool(resolver.symbols)
    writer = _Writer(where, options, known, parquet_schema, kwargs)
    n, waiting = 0, None
    try:
        with ThreadPoolExecutor(1) as pool:  # one block is written while the next is made
            for records in batches:
                batch = maker.batch(records)
                if waiting is not None:
                    n += waiting.result()
                    waiting = pool.submit(writer.write, batch)
                    continue
                # without a schema there is one type alone, or no batch could be made
                only = RType(groups(records)[0][0]) if schema is None else schema
                writer.open(rows_of(records[:0], only), batch)
                waiting = pool.submit(writer.write, batch)
                writer.describe(records[:0], only)
            if waiting is not None:
                n += waiting.result()
            elif empty is not None:
                batch = maker.batch(empty)
                writer.open(rows_of(empty, schema), batch)
                writer.write(batch)
                writer.describe(empty, schema)
    finally:
        writer.close()
    return n


class _Writer:
    """A Parquet file, with the words that make pandas read it as the frame that it was."""

    def __init__(
        self,
        where: Any,
        options: ArrowOptions,
        known: bool,
        parquet_schema: Any,
        kwargs: dict[str, Any],
    ) -> None:
        self._where = where
        self._options = options
        self._known = known  # whether there are symbols at all
        self._given = parquet_schema
        self._kwargs = dict(kwargs)
        self._pyarrow = require("pyarrow", "pandas")
        self._open_files = ExitStack()
        self._file: Any = None
        self._schema: Any = None  # of the tables, where none is given
        self._words: Any = None
        self._written = False

    def open(self, rows: Rows, batch: Any) -> None:
        # before the first block; `rows` tell what the columns are
        parquet = require("pyarrow.parquet", "pandas")
        out = self._open_files.enter_context(native(self._where, self._pyarrow))
        if self._given is not None:
            self._file = parquet.ParquetWriter(out, self._given, **self._kwargs)
            return
        # The file says nothing of dictionaries: text that is written as codes reads as text.
        chosen = {**encodings(rows), "store_schema": False, **PAGE}
        if self._kwargs.keys() & {"use_dictionary", "column_encoding"}:
            del chosen["use_dictionary"], chosen["column_encoding"]
        full = _full(rows, self._options)
        made = self._table(batch).schema
        self._schema = self._pyarrow.schema([f.with_nullable(f.name not in full) for f in made])
        self._file = parquet.ParquetWriter(out, self._schema, **{**chosen, **self._kwargs})

    def write(self, batch: Any) -> int:
        table = self._table(batch)
        n = int(table.num_rows)
        if n or not self._written:  # no row group for a block that has no such record
            with naming(self._where):
                self._file.write_table(table)
            self._written = True
        return n

    def _table(self, batch: Any) -> Any:
        table = self._pyarrow.Table.from_batches([batch])
        if self._options.map_symbols and not self._known:
            nulls = self._pyarrow.nulls(table.num_rows)  # as the frame has it
            table = table.set_column(table.num_columns - 1, SYMBOL, nulls)
        if self._given is not None:
            table = table.select(self._given.names).cast(self._given)
        elif self._schema is not None:
            table = self._pyarrow.Table.from_arrays(table.columns, schema=self._schema)
        return table

    def describe(self, nothing: Records, schema: Schema | RType | str | None) -> None:
        # may run while a block is written: what it finds is added at the end
        options = self._options
        frame = FrameOptions(options.price_type, options.pretty_ts, map_symbols=options.map_symbols)
        typed = _typed(nothing, schema, frame, self._known)
        self._words = self._pyarrow.Schema.from_pandas(typed).metadata

    def close(self) -> None:
        with naming(self._where), self._open_files:
            if self._file is None:
                return
            if self._words is not None and self._given is None:
                self._file.add_key_value_metadata(self._words)
            self._file.close()


def _full(rows: Rows, options: ArrowOptions) -> set[str]:
    # The columns in which no row is ever null: where the file says so, nothing is written of it
    # for each row, which takes a third of the time.
    may_miss = {
        PRICE: options.price_type == PriceType.FLOAT,
        TIMESTAMP: options.pretty_ts,
    }
    return {field.name for field in rows.fields if not may_miss.get(field.kind, False)}


def encodings(rows: Rows) -> dict[str, Any]:
    """
    Choose how the columns of a Parquet file are encoded.

    Parameters
    ----------
    rows : Rows
        Records, maybe none.

    Returns
    -------
    dict
        Options of ``pyarrow.parquet.ParquetWriter``. What ascends is written as differences,
        and other numbers byte by byte; both are quicker than a dictionary of nearly as
        many values as there are rows. Text has a dictionary, and the levels of books have no
        statistics.
    """
    chosen: dict[str, str] = {}
    for f in rows.fields:
        if f.kind == TIMESTAMP or f.name in ASCENDING:
            chosen[f.name] = "DELTA_BINARY_PACKED"
        elif f.kind in (PRICE, INT, ENUM, FLAGS):
            chosen[f.name] = "BYTE_STREAM_SPLIT"
    names = [f.name for f in rows.fields]
    return {
        "column_encoding": chosen,
        "use_dictionary": [*(name for name in names if name not in chosen), SYMBOL],
        "write_statistics": [*(f.name for f in rows.fields if f.level is None), SYMBOL],
    }


def _typed(
    empty: Records, schema: Schema | RType | str | None, options: FrameOptions, known: bool
) -> Any:
    # a frame without rows, whose columns have the types that those with rows have
    frame = to_frame(empty, schema, options, Labels(np.empty(0, np.int32), []))
    return frame.astype({SYMBOL: "str"}) if SYMBOL in frame and known else frame
