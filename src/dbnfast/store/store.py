"""
Store: one file or a thousand, and everything they become.

The names are those of ``databento.DBNStore``. Nothing is read before it is asked for, and what
streams (batches, text, Parquet, Arrow) stays within a few blocks of memory.
"""

from __future__ import annotations

import datetime
import os
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np

from dbnfast._core.scan import span
from dbnfast._util.atomic import output
from dbnfast._util.extras import require
from dbnfast._util.times import as_datetime64, as_timestamp
from dbnfast._util.trees import folder_output
from dbnfast.codec.compression import Deflater, detect, zstd
from dbnfast.codec.encode import Encoder
from dbnfast.codec.metadata import header_bytes
from dbnfast.codec.options import check_max_bytes
from dbnfast.enums import SCHEMA_RTYPES, Compression, PriceType, RType, Schema, SType
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.store.blocks import BLOCK, Blocks, blocks_of
from dbnfast.store.conditions import conditions
from dbnfast.store.describe import in_line, in_table
from dbnfast.store.parts import Part, parts_of, streams_of
from dbnfast.store.places import sources_of
from dbnfast.store.reading import Reading
from dbnfast.store.sources import FileSource, Source
from dbnfast.symbology.resolver import is_live, symbols_change, with_mappings
from dbnfast.tables.arrow import ArrowOptions, Batches
from dbnfast.tables.arrow import reader as arrow_reader
from dbnfast.tables.chunks import DataFrameIterator, NDArrayIterator, check_count
from dbnfast.tables.options import frame_options
from dbnfast.tables.pandas import to_frame
from dbnfast.tables.parquet import output_on, write_parquet
from dbnfast.tables.partitions import partition_names
from dbnfast.tables.symbols import labels_of
from dbnfast.text.write import write_csv, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Self

    import pandas
    import polars
    import pyarrow
    import pyarrow.dataset

    from dbnfast._typing import Array, OneSource, PathLike, PriceTypeLike, SchemaLike, Schemas
    from dbnfast._util.times import Time
    from dbnfast.codec.metadata import MappingIntervalDict, Metadata
    from dbnfast.codec.options import OnTruncated
    from dbnfast.records.messages import Record
    from dbnfast.records.records import Records
    from dbnfast.symbology.map import JsonData, SymbolMap

    Target = PathLike | IO[bytes]
    Readable: TypeAlias = "OneSource | Store | Sequence[OneSource | Store]"


def read(
    source: Readable,
    *,
    on_truncated: OnTruncated = "warn",
    storage_options: Mapping[str, Any] | None = None,
    filesystem: Any = None,
) -> Store:
    """
    Read DBN data.

    Parameters
    ----------
    source : path, URL, bytes-like, readable, databento.DBNStore, or a sequence of them; or a Store
        A path may be a file, a pattern (``"data/*.dbn.zst"``) or a folder, of which the
        ``.dbn``, ``.dbn.zst`` and ``.dbz`` files are read; so may a URL of what fsspec knows
        (``"s3://bucket/2026/*.dbn.zst"``). Of a ``.zip`` file it is the DBN files in it. The data
        is plain, zstd-compressed or DBZ, detected from its content. Of a store it is what that
        has, its filter included.
    on_truncated : {"warn", "raise", "ignore"}
        As `scan` takes it.
    storage_options : mapping, optional
        What the filesystem of a URL is made with: keys, an endpoint. Paths do not use it.
    filesystem : fsspec.AbstractFileSystem, optional
        The filesystem that the paths are on.

    Returns
    -------
    Store
        Only the metadata is read at first. Bytes are not copied; a readable is read to its
        end, except for a file that was opened and not read yet, local or by fsspec: it is read
        where it is. A single file stays open, so that it may be removed meanwhile; except on
        Windows.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        A filesystem does not give what was asked for; the error names the URL, without what is
        secret in it, and the bytes.
    DecodeError
        A source is empty, or its metadata is not valid.
    MissingExtraError
        fsspec is not installed.
    ValueError
        Several sources differ in dataset, stype_out or ts_out.
    TypeError
        The source is none of these.

    Notes
    -----
    Of a URL ranges of bytes are read, several at the same time; a range of time in a plain or
    seekable file reads little else. When the file is found to be another than at first, reading
    it raises a ValueError.
    """
    if isinstance(source, Store):
        return source.filter()
    sources = sources_of(source, on_truncated, storage_options, filesystem)
    if len(sources) == 1 and isinstance(sources[0], FileSource):
        sources[0].keep()  # many would take all the descriptors that a process has
    return Store(blocks_of(sources))


def read_dbn(
    path: Readable,
    *,
    on_truncated: OnTruncated = "warn",
    storage_options: Mapping[str, Any] | None = None,
    filesystem: Any = None,
) -> Store:
    """
    Read DBN data: `read` under the name and parameter of the official package.

    Parameters
    ----------
    path : path, URL, bytes-like, readable, or a sequence of them
        As `read` takes it.
    on_truncated : {"warn", "raise", "ignore"}
        As `scan` takes it.
    storage_options, filesystem
        As `read` takes them.

    Returns
    -------
    Store
    """
    return read(
        path,
        on_truncated=on_truncated,
        storage_options=storage_options,
        filesystem=filesystem,
    )


class Store:
    """
    DBN data in one file, several files, or memory.

    `read`, `Store.from_file` and `Store.from_bytes` make it. It is immutable, except for
    `insert_symbology_json`. Iterating gives `Record` objects.

    Several files are ordered by the start in their metadata. If their time ranges overlap, their
    records are merged by index timestamp, and equal timestamps keep the order of the files.
    """

    __module__ = "dbnfast"  # where users find it

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    @classmethod
    def from_file(
        cls, path: PathLike | bytes, *, storage_options: Mapping[str, Any] | None = None
    ) -> Self:
        """
        Read a file.

        Parameters
        ----------
        path : path-like, its bytes, or a URL
            Plain, zstd-compressed or DBZ.
        storage_options : mapping, optional
            As `read` takes it.

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
        return cls(read(path, storage_options=storage_options)._blocks)

    @classmethod
    def from_bytes(cls, data: Any) -> Self:
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
        return cls(read(data)._blocks)

    @property
    def metadata(self) -> Metadata:
        """The header; of several files, their common one."""
        return self._blocks.metadata

    @property
    def dataset(self) -> str:
        """The dataset code."""
        return self.metadata.dataset

    @property
    def schema(self) -> Schema | None:
        """The schema of the records; None for mixed or live data."""
        return self.metadata.schema

    @property
    def start(self) -> pandas.Timestamp:
        """Start of the query, a pandas.Timestamp in UTC; NaT behind 2262. The header has the ns."""
        return as_timestamp(self.metadata.start)

    @property
    def end(self) -> pandas.Timestamp | None:
        """End of the query, exclusive, as `start`; None where open."""
        end = self.metadata.end
        return None if end is None else as_timestamp(end)

    def _range(self) -> tuple[np.datetime64, np.datetime64 | None]:
        # the start and the end for what runs without pandas
        end = self.metadata.end
        return as_datetime64(self.metadata.start), None if end is None else as_datetime64(end)

    @property
    def limit(self) -> int | None:
        """Most records asked for; None for no limit."""
        return self.metadata.limit

    @property
    def stype_in(self) -> SType | None:
        """The symbology of `symbols`; None for mixed or live data."""
        return self.metadata.stype_in

    @property
    def stype_out(self) -> SType:
        """The symbology of the mappings' results."""
        return self.metadata.stype_out

    @property
    def symbols(self) -> list[str]:
        """The symbols asked for."""
        return self.metadata.symbols

    @property
    def mappings(self) -> dict[str, list[MappingIntervalDict]]:
        """The intervals of every symbol."""
        return self.metadata.mappings

    @property
    def symbology(self) -> dict[str, Any]:
        """Everything that the metadata says about symbols, with dates as text."""
        start, end = self._range()
        return {
            "symbols": self.symbols,
            "stype_in": str(self.stype_in),
            "stype_out": str(self.stype_out),
            "start_date": str(start.astype("M8[D]")),
            "end_date": None if end is None else str(end.astype("M8[D]")),
            "partial": self.metadata.partial,
            "not_found": self.metadata.not_found,
            "mappings": self.mappings,
        }

    @property
    def compression(self) -> Compression:
        """The compression, as the content tells; ``ZSTD`` where any file has it."""
        kinds = {source.compression for source in self._blocks.sources}
        return Compression.ZSTD if Compression.ZSTD in kinds else Compression.NONE

    @property
    def nbytes(self) -> int:
        """Bytes of the data as it is stored."""
        return sum(source.nbytes for source in self._blocks.sources)

    @property
    def raw(self) -> bytes:
        """The stream as it is stored, compressed or not; of a single source only."""
        with self._single("raw").open() as file:
            return file.read()

    @property
    def reader(self) -> IO[bytes]:
        """A new reader of the stream, decompressed; of a single source only."""
        source = self._single("reader")
        if self.compression != Compression.ZSTD:
            return source.open()
        # what a ZstdFile opened itself, it closes with itself
        file: Any = None
        if isinstance(source, FileSource) and not source.is_kept:
            file = source.path
        reader: IO[bytes] = zstd().ZstdFile(file or source.open())
        return reader

    def _single(self, name: str) -> Source:
        if not self._blocks.is_stream:
            raise ValueError(f"{name} is the stream of one source, as it is; this is no such store")
        return self._blocks.sources[0]

    @property
    def counts(self) -> dict[RType | int, int]:
        """Number of records by rtype; the first use reads all records, in bounded memory."""
        return self._blocks.counts

    @property
    def time_range(self) -> tuple[np.datetime64, np.datetime64] | None:
        """The lowest and the highest index timestamp, datetime64[ns] UTC; None without records."""
        found = [
            ends
            for block in self._blocks.passing()
            if (ends := span(block.data, SIZES, block.ts_out, INDEX_TS_AT)) is not None
        ]
        if not found:
            return None
        first, last = min(a for a, _ in found), max(b for _, b in found)
        return as_datetime64(first), as_datetime64(last)

    def filter(
        self,
        schema: Schemas | None = None,
        *,
        symbols: Iterable[str] | str | None = None,
        instrument_ids: Iterable[int] | int | None = None,
        publishers: Iterable[int] | int | None = None,
        start: Time | None = None,
        end: Time | None = None,
        check_order: bool = False,
    ) -> Self:
        """
        Select records.

        Parameters
        ----------
        schema
            As `Records.filter` takes it.
        symbols : str or iterable of str, optional
            The symbols to keep, as the symbol column of a frame has them.
        instrument_ids, publishers, start, end
            As `Records.filter` takes them.
        check_order : bool
            Whether a file that could be searched for a range of time is read once before, to see
            that its records are in order; if they are not it is read whole. No header is trusted
            to say when its records begin and end.

        Returns
        -------
        Store
            A store of the same sources, which can be filtered again. It reads nothing yet; records
            that do not match are left out whenever it is read.

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value.

        Warns
        -----
        SelectionWarning
            When it is read, and no record is of the schema, or has one of the symbols.

        Notes
        -----
        A range of time leaves out files whose header says that they have none of it, and the frames
        of seekable files that have none. In a plain file of one schema that is not live its records
        are found by a search, which reads a few
        pages and trusts that the records are in the order of their index timestamp, as the vendor
        delivers them. Where one of these pages is not in order, or has records of another size or
        type, the file is read whole.
        """
        more = conditions(
            self.schema,
            schema=schema,
            symbols=symbols,
            instrument_ids=instrument_ids,
            publishers=publishers,
            start=start,
            end=end,
            check_order=check_order,
        )
        return type(self)(self._blocks.where(more))

    def records(self) -> Records:
        """
        Return all records at once.

        Returns
        -------
        Records
            A view if the data is plain and has one source (a file is mapped into memory), else a
            new block. Mixed data is upgraded to version 3; in other data, older layouts are
            upgraded to the version of the header.

        Raises
        ------
        DecodeError
            The data is damaged.
        """
        return self._blocks.records()

    def iter_batches(self, max_bytes: int = 64 << 20) -> Iterator[Records]:
        """
        Iterate over the records in blocks, in bounded memory.

        Parameters
        ----------
        max_bytes : int
            The most bytes of records in one block.

        Yields
        ------
        Records
            Mixed data is upgraded to version 3.

        Raises
        ------
        DecodeError
            The data is damaged; all good records before were given.
        """
        return self._blocks.current(self._blocks.passing(check_max_bytes(max_bytes)))

    def parts(self, max_bytes: int = 256 << 20) -> list[Part]:
        """
        Divide the store into pieces that can be read on their own, elsewhere.

        Parameters
        ----------
        max_bytes : int
            About the most bytes of records in a part of a plain file.

        Returns
        -------
        list of Part
            By file, in the order of the files; a file that a range of time leaves out has none.
            Together they have every record of the store once. A plain file is divided between
            records: where all are of one size by arithmetic, else where a chain of records
            begins, which reading the part before proves. A seekable file is divided between
            frames; another compressed file is one part, and so is one of live data, whose symbols
            are in records that came before. The records of files whose ranges of time overlap are
            not merged.

        Raises
        ------
        TypeError, ValueError
            It is no int, or below 4096.
        """
        return parts_of(self._blocks, max_bytes)

    def __iter__(self) -> Iterator[Record]:
        for block in self._blocks.passing():
            yield from block

    def replay(self, callback: Callable[[Record], object]) -> None:
        """
        Call a function with every record, in order.

        Parameters
        ----------
        callback : callable
            Takes a Record, upgraded to version 3. An exception ends the replay.
        """
        for record in self:
            callback(record)

    # symbols

    def insert_symbology_json(self, json_data: JsonData, clear_existing: bool = True) -> None:
        """
        Add symbol mappings in the form of ``symbology.json``, which override the metadata.

        Parameters
        ----------
        json_data : str, path-like, mapping or readable
            The result of ``symbology.resolve``, or the path of a file that holds it.
        clear_existing : bool
            Whether mappings that were added before are removed.

        Raises
        ------
        TypeError
            It is none of these.
        ValueError
            It is not complete.
        """
        self._blocks.name(json_data, clear_existing)

    def symbol_map(self) -> SymbolMap:
        """
        Return the symbol mappings of the metadata, those of live data and those that were added.

        Returns
        -------
        SymbolMap
            A new one. For live data all mapping records are read; see
            `SymbolMap.insert_symbol_mapping_msg` for when each holds.

        Raises
        ------
        ValueError
            Neither stype_in nor stype_out is ``instrument_id``, or an interval cannot be.
        """
        return self._blocks.names.known(self._blocks.mapping_blocks())

    # outputs

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
        reading = Reading(self._blocks, schema)
        if count is not None:
            return NDArrayIterator(reading.blocks(), reading.schema, check_count(count))
        return reading.records().array(reading.schema)

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
        reading = Reading(self._blocks, schema, options.names_symbols)
        wanted, resolver = reading.schema, reading.resolver
        if count is not None:
            require("pandas", "pandas")
            size = check_count(count)
            return DataFrameIterator(reading.blocks(), wanted, size, options, resolver)
        records = reading.records()
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
        table = self._arrow_reader(schema, options).read_all()
        return table.unify_dictionaries()

    def arrow_schema(
        self,
        schema: SchemaLike | None = None,
        *,
        price_type: PriceTypeLike = PriceType.FLOAT,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        tz: str | None = None,
        columns: Sequence[str] | None = None,
        categorical: bool = True,
    ) -> pyarrow.Schema:
        """
        Return the Arrow schema of the records of one type, which the header tells.

        Parameters
        ----------
        schema, price_type, pretty_ts, map_symbols, tz
            As `to_arrow` takes them.
        columns : sequence of str, optional
            These columns, in this order; None for all.
        categorical : bool
            As `to_arrow` takes it.

        Returns
        -------
        pyarrow.Schema
            That of `arrow_batches` with the same arguments. No record is read.

        Raises
        ------
        MissingExtraError
            pyarrow is not installed.
        TypeError, ValueError
            An option has the wrong type or value; or the data has no schema of its own, and none
            is given.
        """
        options = self._arrow_options(
            price_type, pretty_ts, map_symbols, tz, columns, categorical, alone=True
        )
        reading = Reading(self._blocks, schema)
        if reading.schema is None:
            raise ValueError(
                "the data has no schema of its own: name one, whose columns it is to be"
            )
        maker = Batches(reading.schema, options, None)
        found: pyarrow.Schema = maker.batch(reading.empty).schema
        return found

    def arrow_batches(
        self,
        schema: SchemaLike | None = None,
        *,
        columns: Sequence[str] | None = None,
        max_bytes: int = BLOCK,
        price_type: PriceTypeLike = PriceType.FLOAT,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        tz: str | None = None,
        categorical: bool = True,
    ) -> pyarrow.RecordBatchReader:
        """
        Read the records of one type as Arrow batches, in bounded memory.

        Parameters
        ----------
        schema : Schema, RType or str, optional
            Which records; None for the schema of the store, or the only type in it.
        columns : sequence of str, optional
            The columns to make, in this order, and no others; None for all.
        max_bytes : int
            The most bytes of records in one batch.
        price_type, pretty_ts, map_symbols, tz, categorical
            As `to_arrow` takes them.

        Returns
        -------
        pyarrow.RecordBatchReader
            Its schema is that of `arrow_schema`, and nothing is read before the first batch is
            asked for; where no schema is given or in the header, the first records tell it.
            Batches have dictionaries of their own.

        Raises
        ------
        MissingExtraError
            pyarrow is not installed.
        MixedRecordsError
            No schema is given, and there are several types.
        TypeError, ValueError
            An option has the wrong type or value; a message about a column lists the valid ones.
        """
        options = self._arrow_options(
            price_type, pretty_ts, map_symbols, tz, columns, categorical, alone=True
        )
        return self._arrow_reader(schema, options, check_max_bytes(max_bytes), by_header=True)

    def _arrow_options(
        self,
        price_type: PriceTypeLike,
        pretty_ts: bool,
        map_symbols: bool,
        tz: str | None,
        columns: Sequence[str] | None,
        categorical: bool,
        *,
        alone: bool = False,
    ) -> ArrowOptions:
        checked = frame_options(price_type, pretty_ts, map_symbols, tz, columns, categorical)
        return ArrowOptions(**{**vars(checked), "alone": alone})

    def _arrow_reader(
        self,
        schema: SchemaLike | None,
        options: ArrowOptions,
        max_bytes: int | None = None,
        *,
        by_header: bool = False,
    ) -> Any:
        reading = Reading(self._blocks, schema, options.names_symbols)
        return arrow_reader(
            reading.blocks(max_bytes),
            schema=reading.schema,
            options=options,
            resolver=reading.resolver,
            empty=reading.empty,
            by_header=by_header and reading.schema is not None,
        )

    def arrow_dataset(
        self,
        schema: SchemaLike | None = None,
        *,
        price_type: PriceTypeLike = PriceType.FLOAT,
        pretty_ts: bool = True,
        map_symbols: bool = True,
        tz: str | None = None,
        columns: Sequence[str] | None = None,
        categorical: bool = True,
    ) -> pyarrow.dataset.Dataset:
        """
        Return the records of one type as an Arrow dataset, which DuckDB and others query.

        Parameters
        ----------
        schema : Schema, RType or str, optional
            Which records; None for the schema of the store, which mixed data does not have.
        price_type, pretty_ts, map_symbols, tz, columns, categorical
            As `to_arrow` takes them.

        Returns
        -------
        pyarrow.dataset.Dataset
            Nothing is read before it is scanned; then only the columns that are asked for are
            made. A filter of the index timestamp goes to `filter`, and with it the trust in
            headers and in the order of records, and so do filters of ``instrument_id``,
            ``publisher_id`` and ``symbol``. All of a filter is applied to what was read. A scanner
            of it can be used once. It has no fragments.

        Raises
        ------
        MissingExtraError
            pyarrow is not installed.
        TypeError, ValueError
            An option has the wrong type or value; or the data has no schema of its own, and none
            is given.
        """
        engine = import_module("dbnfast.engines.arrow_dataset")  # it is made of stores
        options = {
            "price_type": price_type,
            "pretty_ts": pretty_ts,
            "map_symbols": map_symbols,
            "tz": tz,
            "categorical": categorical,
        }
        found: pyarrow.dataset.Dataset = engine.dataset_of(self, schema, columns, options)
        return found

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
        stream = self._arrow_reader(None, ArrowOptions())
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
        *,
        storage_options: Mapping[str, Any] | None = None,
        columns: Sequence[str] | None = None,
        partition_by: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        """
        Write the records of one type as a Parquet file, or a folder of them, in bounded memory.

        Parameters
        ----------
        path : path-like, URL or writable
            The target. A file appears under its name only when it is complete. With
            ``partition_by``, the path or URL of a folder.
        price_type : {"float", "fixed"}
            Prices as float64, or as int64 in units of 1e-9.
        pretty_ts : bool
            Whether times are timestamps, else uint64 ns.
        map_symbols : bool
            Whether there is a symbol column.
        schema : Schema, RType or str, optional
            Which records; None for the schema of the store, or the only type in it.
        mode : {"w", "x"}
            "w" replaces an existing file, "x" raises an error. Of a folder, "w" replaces the
            files that an earlier call wrote; with "x" it has to be empty.
        parquet_schema : pyarrow.Schema, optional
            The schema that the columns are cast to.
        storage_options : mapping, optional
            What the filesystem of a URL is made with, as `read` takes it.
        columns : sequence of str, optional
            The columns to make and to write, in this order; None for all. The index timestamp
            always comes first.
        partition_by : str or sequence of str, optional
            What the rows are distributed by, to files in a folder for each value:
            ``"date"``, the UTC date of the index timestamp; ``"symbol"``, ``"publisher_id"``,
            ``"instrument_id"``, ``"schema"``. With several there are folders in folders.
        **kwargs
            Passed to ``pyarrow.parquet.ParquetWriter``. With a ``filesystem``, of pyarrow or
            fsspec, the file is written in place, and removed where that fails.

        Raises
        ------
        MissingExtraError
            pandas or pyarrow is not installed.
        FileExistsError
            The file exists, and `mode` is "x"; or the folder has what is not replaced.
        TypeError, ValueError
            An option has the wrong type or value.

        Notes
        -----
        Folders have the layout of Hive: ``date=2026-01-05/symbol=ESH6/part-0000.parquet``. Values
        are escaped as in URLs, and ``__HIVE_DEFAULT_PARTITION__`` stands for no symbol and no
        time. The files do not have the columns that the folders stand for. Rows keep their order
        within a folder, the files of which are in the order of their names. The files appear
        together at the end, each of them whole.

        At a URL, they are temporary files of the system until all are complete, and are then sent,
        several small ones at the same time; files of an earlier call that they do not replace are
        removed after that. If one cannot be sent, those that were sent are removed again, but for
        those that have replaced a file of the same name: the folder then has files of both calls,
        each whole, until it is written once more.
        """
        where = kwargs.pop("where", path)
        options: dict[str, Any] = dict(kwargs, columns=frame_options(columns=columns).columns)
        target: Any
        filesystem = options.pop("filesystem", None)
        if partition_by is None and filesystem is None:
            target = output(where, mode, storage_options)
        elif partition_by is None:
            target = output_on(filesystem, where, mode)
        elif filesystem is not None:
            raise ValueError("partition_by takes the URL of a folder, and no filesystem")
        else:
            options["partition_by"] = partition_names(partition_by)
            target = folder_output(where, mode, storage_options)
        reading = Reading(self._blocks, schema, map_symbols)
        with target as out:
            write_parquet(
                reading.blocks(),
                out,
                schema=reading.schema,
                price_type=price_type,
                pretty_ts=pretty_ts,
                resolver=reading.resolver,
                empty=reading.empty,
                parquet_schema=parquet_schema,
                **options,
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
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Write the records of one type as CSV, in bounded memory.

        Parameters
        ----------
        path : path-like, URL or writable
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
        storage_options : mapping, optional
            What the filesystem of a URL is made with, as `read` takes it.

        Raises
        ------
        FileExistsError
            The file exists, and `mode` is "x".
        TypeError, ValueError
            An option has the wrong type or value, or mixed data is given no schema.
        """
        self._to_text(
            write_csv, path, mode, compression, map_symbols, schema, storage_options,
            pretty_px=pretty_px, pretty_ts=pretty_ts, upgrade=upgrade,
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
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Write the records as JSON, one per line, in bounded memory.

        Parameters
        ----------
        path : path-like, URL or writable
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
        storage_options : mapping, optional
            What the filesystem of a URL is made with, as `read` takes it.

        Raises
        ------
        FileExistsError
            The file exists, and `mode` is "x".
        TypeError, ValueError
            An option has the wrong type or value, or mixed data is given no schema.
        """
        self._to_text(
            write_json, path, mode, compression, map_symbols, schema, storage_options,
            pretty_px=pretty_px, pretty_ts=pretty_ts, upgrade=upgrade,
        )  # fmt: skip

    def _to_text(
        self,
        write: Callable[..., int],
        path: Target,
        mode: str,
        compression: Compression | str | None,
        map_symbols: bool,
        schema: SchemaLike | None,
        storage_options: Mapping[str, Any] | None,
        **options: Any,
    ) -> None:
        reading = Reading(self._blocks, schema, map_symbols, text=True)
        if reading.schema is None:
            raise ValueError("a schema must be specified for mixed DBN data")
        deflater = Deflater(Compression(compression))
        # JSON has all records, whatever the schema
        blocks, symbols = reading.lines(watched=write is write_csv)
        with output(path, mode, storage_options) as out:
            write(
                blocks,
                _Deflated(out, deflater),
                schema=reading.schema,
                map_symbols=map_symbols,
                resolver=symbols,
                metadata=self.metadata,
                **options,
            )
            last = deflater.finish()
            if last:
                out.write(last)

    def to_file(
        self,
        path: Target,
        mode: str = "w",
        compression: Compression | str | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Write the data as DBN, in bounded memory.

        Parameters
        ----------
        path : path-like, URL or writable
            The target. A file appears under its name only when it is complete.
        mode : {"w", "x"}
            "w" replaces an existing file, "x" raises an error.
        compression : {"none", "zstd"}, optional
            Of the output; None for that of the data, which is then copied unchanged. Whatever it
            is, data of one file that is not filtered stays the same, its header too, but for a
            record that is cut.
        storage_options : mapping, optional
            What the filesystem of a URL is made with, as `read` takes it.

        Raises
        ------
        FileExistsError
            The file exists, and `mode` is "x".
        TypeError, ValueError
            An option has the wrong type or value.

        Notes
        -----
        Of live data, a filter for one schema leaves a file of that schema, whose header has what
        the mapping records say; not so where the records end in a ts_out. Where an instrument's
        symbol changes, which a header tells by days alone, the mapping records are written too,
        and the file is one of live data.
        """
        kind = self.compression if compression is None else Compression(compression)
        as_it_is = self._blocks.is_stream and not self._blocks.sources[0].is_dbz
        with output(path, mode, storage_options) as out:
            if as_it_is and kind == self.compression:
                with self._blocks.sources[0].open() as file:
                    while part := file.read(1 << 20):
                        out.write(part)
                return
            metadata, along = self.metadata, False
            header = header_bytes(metadata) if as_it_is else None
            # a filter, or the order of time, parts records from mappings
            if is_live(metadata) and not as_it_is:
                told = with_mappings(metadata, self._blocks.mapping_blocks())
                along = symbols_change(told)
                metadata = metadata if along else told
            schema = None if along or as_it_is else self._only_schema()
            if schema is not None:
                metadata = metadata.replace(schema=schema)
            with Encoder(out, metadata, compression=kind, _header=header) as encoder:
                for block in self._blocks.passing(mappings=along):
                    encoder.write(block)

    def _only_schema(self) -> Schema | None:
        # What a filter leaves alone, for the header. With ts_out the official package would take
        # the header's word for records without: it reads them rightly as mixed data only.
        asked = self._blocks.conditions.asked
        if not isinstance(asked, str | RType) or self.metadata.ts_out:
            return None
        schema, rtype = as_rtype(asked)
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
        start, last = self._range()
        end = None if last is None or np.isnat(last) else last.astype("M8[D]")
        if end is not None and end != last:
            end += np.timedelta64(1, "D")
        found: dict[str, Any] = client.symbology.resolve(
            dataset=self.dataset,
            symbols=self.symbols,
            stype_in=None if self.stype_in is None else str(self.stype_in),
            stype_out=str(self.stype_out),
            start_date=str(start.astype("M8[D]")),
            end_date=None if end is None else str(end),
        )
        return found

    def __repr__(self) -> str:
        return in_line(self)

    def _repr_html_(self) -> str:
        return in_table(self)


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


def sources_in(store: Store) -> list[Source]:
    """
    Give the sources of a store.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    list of Source
        By the start that they state.
    """
    return list(store._blocks.sources)


def streams_in(store: Store, max_bytes: int, *, named: bool) -> Iterator[Store]:
    """
    Divide a store into streams that can be read at the same time, on threads.

    Parameters
    ----------
    store : Store
        The store.
    max_bytes, named
        As `streams_of` takes them.

    Yields
    ------
    Store
        One after the other they have all records, in order. They warn of nothing that is missing.
    """
    for blocks in streams_of(store._blocks, max_bytes, named=named):
        yield Store(blocks)


def symbols_in(store: Store) -> list[str] | None:
    """
    Give all symbols that records of a store can have.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    list of str or None
        None where records tell them.
    """
    resolver = store._blocks.names.resolver()
    return None if resolver.grows else list(resolver.symbols)


def is_filtered(store: Store) -> bool:
    """
    Tell whether a store gives a part of its sources' records.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    bool
    """
    blocks = store._blocks
    return bool(blocks.conditions) or not all(source.is_whole for source in blocks.sources)


def empty_of(store: Store) -> Records:
    """
    Make what has no record, without reading any.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    Records
        In the layouts of the store's outputs, with its header.
    """
    return store._blocks.nothing()


def schema_of(store: Store, schema: SchemaLike | None = None) -> SchemaLike | None:
    """
    Tell what an output is of.

    Parameters
    ----------
    store : Store
        The store.
    schema : Schema, RType or str, optional
        What the caller asked for.

    Returns
    -------
    Schema, RType, str or None
        The same, else the schema of the store, or the one type that its filter leaves; None where
        only the records tell.
    """
    return Reading(store._blocks, schema).schema


def symbols_of(store: Store) -> list[str] | None:
    """
    Give the symbols that records may have, without reading any.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    list of str or None
        Those of the headers and those that were added; None where records bring them.
    """
    return None if is_live(store.metadata) else list(store._blocks.names.resolver().symbols)
