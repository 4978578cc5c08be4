"""
Store: one file or a thousand, and everything they become.

The names are those of ``databento.DBNStore``. Nothing is read before it is asked for, and what
streams (batches, text, Parquet, Arrow) stays within a few blocks of memory.
"""

from __future__ import annotations

import datetime
import html
import os
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias, overload

from dbnfast._util.atomic import output
from dbnfast._util.extras import require
from dbnfast.codec.compression import Deflater, detect
from dbnfast.codec.encode import Encoder
from dbnfast.enums import SCHEMA_RTYPES, Compression, PriceType, RType, Schema
from dbnfast.errors import DecodeError
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.store.data import BLOCK, StoreData
from dbnfast.store.sources import FileSource, sources_of
from dbnfast.store.watch import told
from dbnfast.symbology.resolver import is_live, with_mappings
from dbnfast.tables.arrow import ArrowOptions
from dbnfast.tables.arrow import reader as arrow_reader
from dbnfast.tables.chunks import DataFrameIterator, NDArrayIterator, check_count
from dbnfast.tables.options import frame_options
from dbnfast.tables.pandas import to_frame
from dbnfast.tables.parquet import write_parquet
from dbnfast.tables.symbols import labels_of
from dbnfast.text.write import write_csv, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas
    import polars
    import pyarrow

    from dbnfast._typing import Array, OneSource, PathLike, PriceTypeLike, SchemaLike
    from dbnfast.codec.options import OnTruncated
    from dbnfast.records.records import Records
    from dbnfast.symbology.resolver import Ahead, Resolver

    Target = PathLike | IO[bytes]
    Source: TypeAlias = "OneSource | Store | Sequence[OneSource | Store]"

COUNT_AT_MOST: Final = 256 << 20  # bytes of a store whose records its repr counts
SHOWN_SYMBOLS: Final = 5


def read(source: Source, *, on_truncated: OnTruncated = "warn") -> Store:
    """
    Read DBN data.

    Parameters
    ----------
    source : path, bytes-like, readable, databento.DBNStore, or a sequence of them; or a Store
        A path may be a file, a pattern (``"data/*.dbn.zst"``) or a folder, of which the
        ``.dbn``, ``.dbn.zst`` and ``.dbz`` files are read. The data is plain, zstd-compressed or
        DBZ, detected from its content. Of a store it is what that has, its filter included.
    on_truncated : {"warn", "raise", "ignore"}
        As `scan` takes it.

    Returns
    -------
    Store
        Only the metadata is read at first. Bytes are not copied; a readable is read to its
        end. A single file stays open, so that it may be removed meanwhile; except on Windows.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DecodeError
        A source is empty, or its metadata is not valid.
    ValueError
        Several sources differ in dataset, stype_out or ts_out.
    TypeError
        The source is none of these.
    """
    if isinstance(source, Store):
        return source.filter()
    sources = sources_of(source, on_truncated)
    if len(sources) == 1 and isinstance(sources[0], FileSource):
        sources[0].keep()  # many would take all the descriptors that a process has
    return Store(sources)


def read_dbn(path: Source, *, on_truncated: OnTruncated = "warn") -> Store:
    """
    Read DBN data: `read` under the name and parameter of the official package.

    Parameters
    ----------
    path : path, bytes-like, readable, or a sequence of them
        As `read` takes it.
    on_truncated : {"warn", "raise", "ignore"}
        As `scan` takes it.

    Returns
    -------
    Store
    """
    return read(path, on_truncated=on_truncated)


class Store(StoreData):
    """
    DBN data in one file, several files, or memory.

    `read`, `Store.from_file` and `Store.from_bytes` make it. It is immutable, except for
    `insert_symbology_json`. Iterating gives `Record` objects.

    Several files are ordered by the start in their metadata. If their time ranges overlap, their
    records are merged by index timestamp, and equal timestamps keep the order of the files.
    """

    __module__ = "dbnfast"  # where users find it

    @classmethod
    def from_file(cls, path: PathLike | bytes) -> Store:
        """
        Read a file.

        Parameters
        ----------
        path : path-like, or its bytes
            Plain, zstd-compressed or DBZ.

        Returns
        -------
        Store

        Raises
        ------
        FileNotFoundError
            There is no such file.
        DecodeError
            It is empty, or its metadata is not valid.
        TypeError
            It is data.
        """
        if isinstance(path, bytes):  # as the system has it; read() takes bytes for data
            if path[:3] == b"DBN" or detect(path[:12]) != "none":
                raise TypeError("path is DBN data, expected a path; from_bytes() takes data")
            path = os.fsdecode(path)
        return read(path)

    @classmethod
    def from_bytes(cls, data: Any) -> Store:
        """
        Read bytes.

        Parameters
        ----------
        data : bytes-like or readable
            A whole stream. Bytes are borrowed, a readable is read to its end.

        Returns
        -------
        Store

        Raises
        ------
        DecodeError
            It is empty, or its metadata is not valid.
        """
        if isinstance(data, str):
            raise TypeError("a str is no bytes-like object; open files with read()")
        return read(data)

    def _schema(self, schema: SchemaLike | None) -> SchemaLike | None:
        if schema is not None:
            return schema
        asked: SchemaLike | None = self._asked
        if self.schema is None and isinstance(asked, str | RType):
            return asked  # of mixed data the one type that a filter leaves
        return self.schema

    def _watched_whole(self, records: Records, schema: SchemaLike | None) -> Records:
        for _ in self._watched(iter((records,)), schema):
            pass
        return records

    @overload
    def to_ndarray(self, schema: SchemaLike | None = ..., count: None = ...) -> Array: ...
    @overload
    def to_ndarray(self, schema: SchemaLike | None = ..., *, count: int) -> NDArrayIterator: ...
    @overload
    def to_ndarray(self, schema: SchemaLike | None, count: int) -> NDArrayIterator: ...
    def to_ndarray(
        self, schema: SchemaLike | None = None, count: int | None = None
    ) -> Array | NDArrayIterator:
        """
        Return the records of one type as a structured array.

        Parameters
        ----------
        schema : Schema, RType or str, optional
            Which records; None for the schema of the store, or the only type in it.
        count : int, optional
            If given, the result is an iterator of arrays with at most this many records.

        Returns
        -------
        ndarray or iterator of ndarray
            See `Records.array`. Of plain data a view; a file is mapped into memory.

        Raises
        ------
        MixedRecordsError
            No schema is given, and there are several types.
        """
        wanted = self._schema(schema)
        if count is not None:
            blocks = self._watched(self._current(self._blocks(BLOCK)), wanted)
            return NDArrayIterator(blocks, wanted, check_count(count))
        return self._watched_whole(self.records(), wanted).array(wanted)

    @overload
    def to_df(
        self,
        price_type: PriceTypeLike = ...,
        pretty_ts: bool = ...,
        map_symbols: bool = ...,
        schema: SchemaLike | None = ...,
        tz: datetime.tzinfo | str | None = ...,
        count: None = ...,
        *,
        columns: Sequence[str] | None = ...,
        categorical: bool = ...,
    ) -> pandas.DataFrame: ...
    @overload
    def to_df(
        self,
        price_type: PriceTypeLike = ...,
        pretty_ts: bool = ...,
        map_symbols: bool = ...,
        schema: SchemaLike | None = ...,
        tz: datetime.tzinfo | str | None = ...,
        *,
        count: int,
        columns: Sequence[str] | None = ...,
        categorical: bool = ...,
    ) -> DataFrameIterator: ...
    @overload
    def to_df(
        self,
        price_type: PriceTypeLike,
        pretty_ts: bool,
        map_symbols: bool,
        schema: SchemaLike | None,
        tz: datetime.tzinfo | str | None,
        count: int,
        *,
        columns: Sequence[str] | None = ...,
        categorical: bool = ...,
    ) -> DataFrameIterator: ...
    def to_df(
        self,
        price_type: PriceTypeLike = PriceType.FLOAT,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        schema: SchemaLike | None = None,
        tz: datetime.tzinfo | str | None = None,
        count: int | None = None,
        *,
        columns: Sequence[str] | None = None,
        categorical: bool = False,
    ) -> pandas.DataFrame | DataFrameIterator:
        """
        Return the records of one type as a pandas frame.

        Parameters
        ----------
        price_type : {"float", "fixed", "decimal"}
            Prices as float64 (undefined is NaN), as int64 in units of 1e-9, or as exact
            ``decimal.Decimal``.
        pretty_ts : bool
            Whether times are timestamps (undefined is NaT), else uint64 ns.
        map_symbols : bool
            Whether there is a symbol column.
        schema : Schema, RType or str, optional
            Which records; None for the schema of the store, or the only type in it.
        tz : tzinfo or str, optional
            The time zone of the timestamps; None for UTC.
        count : int, optional
            If given, the result is an iterator of frames with at most this many rows.
        columns : sequence of str, optional
            The columns to make, in this order; None for all. The index is always made.
        categorical : bool
            Whether action, side and symbol become categories.

        Returns
        -------
        pandas.DataFrame or iterator of pandas.DataFrame
            Writable copies. The index is ts_recv if the records have it, else ts_event.

        Raises
        ------
        MissingExtraError
            pandas or pyarrow is not installed.
        MixedRecordsError
            No schema is given, and there are several types.
        TypeError, ValueError
            An option has the wrong type or value.
        """
        options = frame_options(price_type, pretty_ts, map_symbols, tz, columns, categorical)
        wanted, resolver = self._schema(schema), self._resolver(options.names_symbols)
        mappings = self._needs_mappings(wanted, resolver)
        if count is not None:
            require("pandas", "pandas")
            blocks = self._watched(self._current(self._blocks(BLOCK, mappings)), wanted)
            return DataFrameIterator(blocks, wanted, check_count(count), options, resolver)
        records = self._watched_whole(self._records(mappings), wanted)
        if resolver is not None and resolver.grows:  # a live stream: what its records say, in order
            return to_frame(records, wanted, options, labels_of(records, wanted, resolver))
        return to_frame(records, wanted, options, resolver)

    def to_arrow(
        self,
        schema: SchemaLike | None = None,
        *,
        price_type: PriceTypeLike = PriceType.FLOAT,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        tz: str | None = None,
        columns: Sequence[str] | None = None,
        categorical: bool = True,
    ) -> pyarrow.Table:
        """
        Return the records of one type as an Arrow table.

        Parameters
        ----------
        schema : Schema, RType or str, optional
            Which records; None for the schema of the store, or the only type in it.
        price_type : {"float", "fixed", "decimal"}
            Prices as float64, as int64 in units of 1e-9, or as ``decimal128(38, 9)``.
        pretty_ts : bool
            Whether times are ``timestamp[ns]``, else uint64 ns.
        map_symbols : bool
            Whether there is a symbol column.
        tz : str, optional
            The time zone of the timestamps; None for UTC.
        columns : sequence of str, optional
            The columns to make, in this order; None for all. The index timestamp always comes
            first.
        categorical : bool
            Whether action, side and symbol are dictionary-encoded.

        Returns
        -------
        pyarrow.Table
            A copy. Undefined values are null.

        Raises
        ------
        MissingExtraError
            pyarrow is not installed.
        MixedRecordsError
            No schema is given, and there are several types.
        TypeError, ValueError
            An option has the wrong type or value.
        """
        options = self._arrow_options(price_type, pretty_ts, map_symbols, tz, columns, categorical)
        table = self._arrow_reader(self._schema(schema), options).read_all()
        return table.unify_dictionaries()

    def _arrow_options(
        self,
        price_type: PriceTypeLike,
        pretty_ts: bool,
        map_symbols: bool,
        tz: str | None,
        columns: Sequence[str] | None,
        categorical: bool,
    ) -> ArrowOptions:
        checked = frame_options(price_type, pretty_ts, map_symbols, tz, columns, categorical)
        return ArrowOptions(**vars(checked))

    def _arrow_reader(self, schema: SchemaLike | None, options: ArrowOptions) -> Any:
        resolver = self._resolver(options.names_symbols)
        mappings = self._needs_mappings(schema, resolver)
        return arrow_reader(
            self._watched(self._current(self._blocks(BLOCK, mappings)), schema),
            schema=schema,
            options=options,
            resolver=resolver,
            empty=self._nothing(),
        )

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """
        Export the records through the Arrow C stream interface, a block at a time.

        Parameters
        ----------
        requested_schema : capsule, optional
            The Arrow schema that the consumer would like.

        Returns
        -------
        capsule
            What `to_arrow` returns with its defaults, block by block.
        """
        stream = self._arrow_reader(self._schema(None), ArrowOptions())
        capsule: object = stream.__arrow_c_stream__(requested_schema)
        return capsule

    def to_polars(
        self,
        schema: SchemaLike | None = None,
        *,
        price_type: PriceTypeLike = PriceType.FLOAT,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        tz: str | None = None,
        columns: Sequence[str] | None = None,
        categorical: bool = True,
    ) -> polars.DataFrame:
        """
        Return the records of one type as a Polars frame.

        Parameters
        ----------
        schema, price_type, pretty_ts, map_symbols, tz, columns, categorical
            As `to_arrow` takes them.

        Returns
        -------
        polars.DataFrame
            Undefined values are null.

        Raises
        ------
        MissingExtraError
            polars or pyarrow is not installed.
        """
        library = require("polars", "polars")
        require("pyarrow", "polars")
        table = self.to_arrow(
            schema,
            price_type=price_type,
            pretty_ts=pretty_ts,
            map_symbols=map_symbols,
            tz=tz,
            columns=columns,
            categorical=categorical,
        )
        frame: polars.DataFrame = library.from_arrow(table)
        return frame

    def to_parquet(
        self,
        path: Target,
        price_type: PriceTypeLike = PriceType.FLOAT,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        schema: SchemaLike | None = None,
        mode: str = "w",
        parquet_schema: Any = None,
        **kwargs: Any,
    ) -> None:
        """
        Write the records of one type as a Parquet file, in bounded memory.

        Parameters
        ----------
        path : path-like or writable
            The target. A file appears under its name only when it is complete.
        price_type : {"float", "fixed"}
            Prices as float64, or as int64 in units of 1e-9.
        pretty_ts : bool
            Whether times are timestamps, else uint64 ns.
        map_symbols : bool
            Whether there is a symbol column.
        schema : Schema, RType or str, optional
            Which records; None for the schema of the store, or the only type in it.
        mode : {"w", "x"}
            "w" replaces an existing file, "x" raises an error.
        parquet_schema : pyarrow.Schema, optional
            The schema that the columns are cast to.
        **kwargs
            Passed to ``pyarrow.parquet.ParquetWriter``.

        Raises
        ------
        MissingExtraError
            pandas or pyarrow is not installed.
        FileExistsError
            The file exists, and `mode` is "x".
        TypeError, ValueError
            An option has the wrong type or value.
        """
        wanted, resolver = self._schema(schema), self._resolver(map_symbols)
        mappings = self._needs_mappings(wanted, resolver)
        with output(kwargs.pop("where", path), mode) as out:
            write_parquet(
                self._watched(self._current(self._blocks(BLOCK, mappings)), wanted),
                out,
                schema=wanted,
                price_type=price_type,
                pretty_ts=pretty_ts,
                resolver=resolver,
                empty=self._nothing(),
                parquet_schema=parquet_schema,
                **kwargs,
            )

    def to_csv(
        self,
        path: Target,
        pretty_px: bool = True,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        compression: Compression | str | None = Compression.NONE,
        schema: SchemaLike | None = None,
        mode: str = "w",
        *,
        upgrade: bool = True,
    ) -> None:
        """
        Write the records of one type as CSV, in bounded memory.

        Parameters
        ----------
        path : path-like or writable
            The target. A file appears under its name only when it is complete.
        pretty_px : bool
            Whether prices are decimals (undefined is empty), else integers in units of 1e-9.
        pretty_ts : bool
            Whether times are ISO 8601 (undefined is empty), else integer ns.
        map_symbols : bool
            Whether there is a symbol column.
        compression : {"none", "zstd"}
            Of the output.
        schema : Schema or str, optional
            Which records; None for the schema of the store.
        mode : {"w", "x"}
            "w" replaces an existing file, "x" raises an error.
        upgrade : bool
            Whether older layouts are upgraded to version 3.

        Raises
        ------
        FileExistsError
            The file exists, and `mode` is "x".
        TypeError, ValueError
            An option has the wrong type or value, or mixed data is given no schema.
        """
        self._to_text(
            write_csv, path, mode, compression, map_symbols,
            schema=self._text_schema(schema), pretty_px=pretty_px, pretty_ts=pretty_ts,
            upgrade=upgrade,
        )  # fmt: skip

    def to_json(
        self,
        path: Target,
        pretty_px: bool = True,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        compression: Compression | str | None = Compression.NONE,
        schema: SchemaLike | None = None,
        mode: str = "w",
        *,
        upgrade: bool = True,
    ) -> None:
        """
        Write the records as JSON, one per line, in bounded memory.

        Parameters
        ----------
        path : path-like or writable
            The target. A file appears under its name only when it is complete.
        pretty_px : bool
            Whether prices are decimals (undefined is null), else integers in units of 1e-9; both
            in quotes.
        pretty_ts : bool
            Whether times are ISO 8601 (undefined is null), else integer ns; both in quotes.
        map_symbols : bool
            Whether each line has a symbol.
        compression : {"none", "zstd"}
            Of the output.
        schema : Schema or str, optional
            Required for mixed data, and otherwise without effect, as in the official package: all
            records are written, whatever their type. `filter` selects records.
        mode : {"w", "x"}
            "w" replaces an existing file, "x" raises an error.
        upgrade : bool
            Whether older layouts are upgraded to version 3.

        Raises
        ------
        FileExistsError
            The file exists, and `mode` is "x".
        TypeError, ValueError
            An option has the wrong type or value, or mixed data is given no schema.
        """
        self._to_text(
            write_json, path, mode, compression, map_symbols,
            schema=self._text_schema(schema), pretty_px=pretty_px, pretty_ts=pretty_ts,
            upgrade=upgrade,
        )  # fmt: skip

    def _text_schema(self, schema: SchemaLike | None) -> SchemaLike:
        wanted = self._schema(schema)
        if wanted is None:
            raise ValueError("a schema must be specified for mixed DBN data")
        return wanted

    def _to_text(
        self,
        write: Callable[..., int],
        path: Target,
        mode: str,
        compression: Compression | str | None,
        map_symbols: bool,
        **options: Any,
    ) -> None:
        deflater = Deflater(Compression(compression))
        resolver = self._resolver(map_symbols, text=True)
        mappings = self._needs_mappings(options["schema"], resolver)
        blocks: Iterator[Records] = self._blocks(BLOCK, mappings)
        if write is write_csv:  # JSON has all records, whatever the schema
            blocks = self._watched(blocks, options["schema"])
        symbols: Resolver | Ahead | None = resolver
        if mappings and resolver is not None:
            blocks, symbols = self._passing(blocks, resolver)
        with output(path, mode) as out:
            write(
                blocks,
                _Deflated(out, deflater),
                map_symbols=map_symbols,
                resolver=symbols,
                metadata=self._metadata,
                **options,
            )
            last = deflater.finish()
            if last:
                out.write(last)

    def to_file(
        self, path: Target, mode: str = "w", compression: Compression | str | None = None
    ) -> None:
        """
        Write the data as DBN, in bounded memory.

        Parameters
        ----------
        path : path-like or writable
            The target. A file appears under its name only when it is complete.
        mode : {"w", "x"}
            "w" replaces an existing file, "x" raises an error.
        compression : {"none", "zstd"}, optional
            Of the output; None for that of the data, which is then copied unchanged.

        Raises
        ------
        FileExistsError
            The file exists, and `mode` is "x".
        TypeError, ValueError
            An option has the wrong type or value.

        Notes
        -----
        Of live data, a filter for one schema leaves a file of that schema, whose header has what
        the mapping records say; not so where the records end in a ts_out.
        """
        kind = self.compression if compression is None else Compression(compression)
        plain = len(self._sources) == 1 and not self._wanted
        with output(path, mode) as out:
            if plain and kind == self.compression and not self._sources[0].is_dbz:
                with self._sources[0].open() as file:
                    while part := file.read(1 << 20):
                        out.write(part)
                return
            metadata = self._metadata
            if is_live(metadata):  # a filter, or the order of time, parts records from mappings
                metadata = with_mappings(metadata, self._mapping_blocks())
            schema = self._only_schema()
            if schema is not None:
                metadata = metadata.replace(schema=schema)
            with Encoder(out, metadata, compression=kind) as encoder:
                for block in self._blocks(BLOCK):
                    encoder.write(block)

    def _only_schema(self) -> Schema | None:
        # What a filter leaves alone, for the header. With ts_out the official package would take
        # the header's word for records without: it reads them rightly as mixed data only.
        if not isinstance(self._asked, str | RType) or self._metadata.ts_out:
            return None
        schema, rtype = as_rtype(self._asked)
        if schema is None:
            named = [one for one, code in SCHEMA_RTYPES.items() if code == rtype]
            schema = Schema.MBP_1 if rtype == RType.MBP_1 else next(iter(named), None)
        return schema

    def request_full_definitions(self, client: Any, path: Any = None) -> Any:
        """
        Request the definitions of these instruments from the vendor.

        Parameters
        ----------
        client : Historical
            Makes the request, which costs money; may be that of databento.
        path : path-like, optional
            Where the client stores the data.

        Returns
        -------
        Store
            Or what the client returns.
        """
        start, end = self._range()
        return client.timeseries.get_range(
            dataset=self.dataset,
            symbols=self.symbols,
            schema="definition",
            start=str(start),
            end=None if end is None else str(end),
            stype_in=None if self.stype_in is None else str(self.stype_in),
            stype_out=str(self.stype_out),
            path=path,
        )

    def request_symbology(self, client: Any) -> dict[str, Any]:
        """
        Request the symbol mappings of these instruments from the vendor.

        Parameters
        ----------
        client : Historical
            Makes the request; may be that of databento.

        Returns
        -------
        dict
            What `insert_symbology_json` takes.
        """
        day = datetime.timedelta(days=1)
        start, last = self._range()
        end = None if last is None else last.astype("M8[us]").astype(datetime.datetime)
        if end is not None and end != end.replace(hour=0, minute=0, second=0, microsecond=0):
            end += day
        found: dict[str, Any] = client.symbology.resolve(
            dataset=self.dataset,
            symbols=self.symbols,
            stype_in=None if self.stype_in is None else str(self.stype_in),
            stype_out=str(self.stype_out),
            start_date=str(start.astype("M8[D]")),
            end_date=None if end is None else str(end.date()),
        )
        return found

    def _described(self) -> list[tuple[str, str]]:
        # what repr says, in the order that it says it
        metadata, symbols = self._metadata, self.symbols
        shown = ", ".join(symbols[:SHOWN_SYMBOLS])
        if len(symbols) > SHOWN_SYMBOLS:
            shown += f" and {len(symbols) - SHOWN_SYMBOLS:,} more"
        counts, size = self._counted()
        start, end = self._range()
        return [
            ("dataset", self.dataset),
            ("schema", "mixed" if self.schema is None else str(self.schema)),
            ("range", f"{start} to {'open' if end is None else end}"),
            ("records", counts or "none"),
            ("symbols", shown or "none"),
            ("size", f"{size}, {self.compression}"),
            ("version", f"{metadata.version}{', ts_out' if metadata.ts_out else ''}"),
        ]

    def _counted(self) -> tuple[str, str]:
        size = "size unknown"
        try:
            size = f"{self.nbytes:,} bytes"
            if self._counts is None and self.nbytes > COUNT_AT_MOST:
                return "not counted", size
            counts = self.counts
        except (DecodeError, OSError) as error:  # a repr never raises
            return f"not readable ({error})", size
        return told(counts), size

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value}" for name, value in self._described()[:5])
        files = f"{len(self._sources)} sources, " if len(self._sources) > 1 else ""
        return f"<Store({files}{said})>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._described()
        )
        return f"<table><caption>dbnfast.Store</caption><tbody>{rows}</tbody></table>"


class _Deflated:
    """A writable that compresses on the way."""

    def __init__(self, out: Any, deflater: Deflater) -> None:
        self._out = out
        self._deflater = deflater

    def write(self, data: Any) -> int:
        made = self._deflater.push(data)
        if len(memoryview(made)):
            self._out.write(made)
        return len(memoryview(data))
