"""Records as Parquet, one row group for each block."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.atomic import naming, native
from dbnfast._util.extras import require
from dbnfast.enums import PriceType, RType
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.fields import ENUM, FLAGS, INT, PRICE, TIMESTAMP
from dbnfast.records.headers import groups
from dbnfast.tables.arrow import ArrowOptions, Batches
from dbnfast.tables.columns import Rows, rows_of
from dbnfast.tables.options import FrameOptions
from dbnfast.tables.pandas import to_frame
from dbnfast.tables.partitions import MADE_UP, Spread
from dbnfast.tables.symbols import SYMBOL, Labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbnfast.enums import Schema
    from dbnfast.records.records import Records
    from dbnfast.symbology.resolver import Resolver

# of ParquetWriter: what says how columns are encoded, or needs them to be encoded plainly
OTHERS: Final = frozenset(
    ("use_dictionary", "column_encoding", "use_byte_stream_split", "flavor",
     "use_deprecated_int96_timestamps")
)  # fmt: skip
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
    columns: Sequence[str] | None = None,
    partition_by: Sequence[str] | None = None,
    stem: str = "part",
    **kwargs: Any,
) -> int:
    """
    Write records as a Parquet file that reads back as the frame of them, or as a folder of files.

    Parameters
    ----------
    batches : iterable of Records
        The blocks, in order; each becomes a row group.
    where : path-like, writable or Tree
        Where to; a `Tree` for a folder.
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
    columns : sequence of str, optional
        The columns beside the index timestamp; None for all.
    partition_by : sequence of str, optional
        What makes the folders of a `Tree`, as `partition_names` gives it.
    stem : str
        What the names of the files in a `Tree` begin with.
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
    options = ArrowOptions(
        kind,
        bool(pretty_ts),
        columns=None if columns is None else tuple(columns),
        map_symbols=named,
        null_ints=False,
    )
    known = resolver is None or resolver.grows or bool(resolver.symbols)
    form = _Form(options, known, parquet_schema, kwargs, partition_by or ())
    writer: _Writer | Spread = _Writer(where, form)
    if partition_by is not None:
        writer = Spread(where, form, partition_by, stem)
    maker = Batches(schema, form.made, resolver)
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
                form.learn(rows_of(records[:0], only), only, batch)
                writer.open()
                waiting = pool.submit(writer.write, batch)
                form.describe(records[:0], only)
            if waiting is not None:
                n += waiting.result()
            elif empty is not None:
                batch = maker.batch(empty)
                form.learn(rows_of(empty, schema), schema, batch)
                writer.open()
                form.describe(empty, schema)
                writer.write(batch)
        writer.finish()
    finally:
        writer.close()
    return n


@contextmanager
def output_on(filesystem: Any, path: Any, mode: str) -> Iterator[Any]:
    """
    Open a file to write to on a filesystem.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem
        The filesystem.
    path : path-like
        The file's path there.
    mode : {"w", "x"}
        Whether a file that exists is replaced, or is an error.

    Yields
    ------
    pyarrow.NativeFile
        The file is removed where an error follows.

    Raises
    ------
    FileExistsError
        The file exists, and `mode` is "x".
    TypeError, ValueError
        An argument is not what it should be.
    """
    fs = require("pyarrow.fs", "pandas")
    if mode not in ("w", "x"):
        raise ValueError(f"mode is {mode!r}, expected 'w' or 'x'")
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{type(path).__name__} is no path, which a filesystem needs")
    if not isinstance(filesystem, fs.FileSystem):
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(filesystem))
    name = os.fspath(path)
    if mode == "x" and filesystem.get_file_info(name).type != fs.FileType.NotFound:
        raise FileExistsError(errno.EEXIST, "exists already", name)
    try:
        with filesystem.open_output_stream(name) as out:
            yield out
    except BaseException:
        with suppress(Exception):  # the error stays the one that is told
            filesystem.delete_file(name)
        raise


class _Form:
    """What Parquet files of a stream look like, and what makes pandas read them as frames."""

    def __init__(
        self,
        options: ArrowOptions,
        known: bool,
        parquet_schema: Any,
        kwargs: dict[str, Any],
        partition_by: Sequence[str] = (),
    ) -> None:
        self.by = tuple(partition_by)
        self.schema_name = ""  # of what is written
        self._known = known  # whether there are symbols at all
        self.pyarrow = require("pyarrow", "pandas")
        if not isinstance(parquet_schema, self.pyarrow.Schema | None):
            raise TypeError(f"parquet_schema is {parquet_schema!r}, expected a pyarrow.Schema")
        self._given = parquet_schema
        self._kwargs = dict(kwargs)
        if parquet_schema is None and self._kwargs.get("store_schema"):
            del self._kwargs["store_schema"]  # which makes categories of text
        self._schema: Any = None  # of the tables
        self._chosen: dict[str, Any] = {}  # how the columns are encoded
        self._words: Any = None
        # what makes the folders is made with the columns, and is not in the files
        self.made = self._options = options
        hidden = [name for name in self.by if name not in MADE_UP]
        if SYMBOL in hidden and not options.map_symbols:
            raise ValueError("partition_by has 'symbol', and there are no symbols: map_symbols")
        if options.columns is not None:
            own = tuple(name for name in options.columns if name not in hidden)
            self._options = replace(options, columns=own)
            self.made = replace(options, columns=(*own, *hidden))
        self._hidden = frozenset(hidden)

    def learn(self, rows: Rows, schema: Schema | RType | str | None, batch: Any) -> None:
        # before the first block; `rows` tell what the columns are
        if schema is not None:
            own, rtype = as_rtype(schema)
            self.schema_name = str(rtype if own is None else own)
        if self._given is not None:
            names = [name for name in self._given.names if name not in self._hidden]
            fields = [self._given.field(name) for name in names]
            self._schema = self.pyarrow.schema(fields, metadata=self._given.metadata)
            return
        # The file says nothing of dictionaries: text that is written as codes reads as text.
        found = encodings(rows, [name for name in batch.schema.names if name not in self._hidden])
        self._chosen = {**found, "store_schema": False, **PAGE}
        if self._kwargs.keys() & OTHERS:
            del self._chosen["use_dictionary"], self._chosen["column_encoding"]
        full = _full(rows, self._options)
        made = self.table(batch).schema
        self._schema = self.pyarrow.schema([f.with_nullable(f.name not in full) for f in made])

    def describe(self, nothing: Records, schema: Schema | RType | str | None) -> None:
        # may run while a block is written: what it finds is added at the end
        options = self._options
        columns, named = options.columns, options.map_symbols
        if self._hidden and columns is None:
            columns = tuple(self._schema.names)
            named = named and SYMBOL not in self._hidden
        frame = FrameOptions(
            options.price_type, options.pretty_ts, columns=columns, map_symbols=named
        )
        typed = _typed(nothing, schema, frame, self._known)
        self._words = self.pyarrow.Schema.from_pandas(typed).metadata

    def table(self, batch: Any) -> Any:
        table = self.pyarrow.Table.from_batches([batch])
        if self._options.map_symbols and not self._known and SYMBOL in table.column_names:
            nulls = self.pyarrow.nulls(table.num_rows)  # as the frame has it
            table = table.set_column(table.column_names.index(SYMBOL), SYMBOL, nulls)
        if self._given is not None:
            table = table.select(self._schema.names).cast(self._schema)
        elif self._hidden:
            table = table.drop_columns(
                [name for name in self._hidden if name in table.schema.names]
            )
        if self._given is None and self._schema is not None:
            table = self.pyarrow.Table.from_arrays(table.columns, schema=self._schema)
        return table

    def writer(self, out: Any) -> Any:
        parquet = require("pyarrow.parquet", "pandas")
        return parquet.ParquetWriter(out, self._schema, **{**self._chosen, **self._kwargs})

    def end(self, writer: Any) -> None:
        if self._words is not None and self._given is None:
            writer.add_key_value_metadata(self._words)
        writer.close()


class _Writer:
    """A Parquet file."""

    def __init__(self, where: Any, form: _Form) -> None:
        self._where = where
        self._form = form
        self._open_files = ExitStack()
        self._file: Any = None
        self._written = False

    def open(self) -> None:
        out = self._open_files.enter_context(native(self._where, self._form.pyarrow))
        self._file = self._form.writer(out)

    def write(self, batch: Any) -> int:
        table = self._form.table(batch)
        n = int(table.num_rows)
        if n or not self._written:  # no row group for a block that has no such record
            with naming(self._where):
                self._file.write_table(table)
            self._written = True
        return n

    def finish(self) -> None:
        pass  # closed in any case: whoever gave the file says whether it is kept

    def close(self) -> None:
        with naming(self._where), self._open_files:
            if self._file is not None:
                self._form.end(self._file)


def _full(rows: Rows, options: ArrowOptions) -> set[str]:
    # The columns in which no row is ever null: where the file says so, nothing is written of it
    # for each row, which takes a third of the time.
    may_miss = {
        PRICE: options.price_type == PriceType.FLOAT,
        TIMESTAMP: options.pretty_ts,
    }
    return {field.name for field in rows.fields if not may_miss.get(field.kind, False)}


def encodings(rows: Rows, names: Sequence[str]) -> dict[str, Any]:
    """
    Choose how the columns of a Parquet file are encoded.

    Parameters
    ----------
    rows : Rows
        Records, maybe none.
    names : sequence of str
        The columns.

    Returns
    -------
    dict
        Options of ``pyarrow.parquet.ParquetWriter``. What ascends is written as differences,
        and other numbers byte by byte; both are quicker than a dictionary of nearly as
        many values as there are rows. Text has a dictionary, and the levels of books have no
        statistics.
    """
    chosen: dict[str, str] = {}
    fields = [f for f in rows.fields if f.name in names]
    for f in fields:
        if f.kind == TIMESTAMP or f.name in ASCENDING:
            chosen[f.name] = "DELTA_BINARY_PACKED"
        elif f.kind in (PRICE, INT, ENUM, FLAGS):
            chosen[f.name] = "BYTE_STREAM_SPLIT"
    return {
        "column_encoding": chosen,
        "use_dictionary": [name for name in names if name not in chosen],
        "write_statistics": [*(f.name for f in fields if f.level is None), SYMBOL],
    }


def _typed(
    empty: Records, schema: Schema | RType | str | None, options: FrameOptions, known: bool
) -> Any:
    # a frame without rows, whose columns have the types that those with rows have
    frame = to_frame(empty, schema, options, Labels(np.empty(0, np.int32), []))
    return frame.astype({SYMBOL: "str"}) if SYMBOL in frame and known else frame
