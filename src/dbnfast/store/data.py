"""What a store holds: metadata, and records in order, of one source or of many."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.scan import span
from dbnfast._util.times import as_datetime64, as_timestamp
from dbnfast.codec.compression import zstd
from dbnfast.codec.damage import warn_caller
from dbnfast.codec.merge import joined_metadata, merged
from dbnfast.codec.metadata import n_mappings
from dbnfast.codec.options import check_max_bytes
from dbnfast.enums import DBN_VERSION, Compression, RType, Schema, SType, one_of
from dbnfast.errors import SelectionWarning
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.records.deal import dealt
from dbnfast.records.filters import Filter
from dbnfast.records.headers import (
    index_times,
    instrument_ids,
    publisher_ids,
    record_types,
    restated,
)
from dbnfast.records.records import Records, empty_records
from dbnfast.store.sources import FileSource
from dbnfast.store.watch import Watch, counted
from dbnfast.symbology.map import SymbolMap, resolved
from dbnfast.symbology.resolver import Ahead, Resolver, is_live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Self

    import pandas

    from dbnfast._typing import Hits, Schemas
    from dbnfast._util.times import Time
    from dbnfast.codec.metadata import MappingIntervalDict, Metadata
    from dbnfast.records.messages import Record
    from dbnfast.store.sources import Source
    from dbnfast.symbology.map import JsonData

BLOCK: Final = 16 << 20  # bytes of records in a step of what streams
SMALL_BLOCK: Final = 1 << 20  # of each of many files that are merged
FEW_SOURCES: Final = 4
SHOWN: Final = 20  # symbols in a warning


def overlapping(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """
    Group sources whose time ranges overlap.

    Parameters
    ----------
    sources : sequence of Source
        By their start.

    Yields
    ------
    list of Source
        What must be merged; a source whose end is open overlaps all that follow.
    """
    group: list[Source] = []
    last: int | None = 0
    for source in sources:
        start, end = source.metadata.start, source.metadata.end
        if group and last is not None and start >= last:
            yield group
            group, last = [], 0
        group.append(source)
        last = None if last is None or end is None else max(last, end)
    if group:
        yield group


def _as_shared(schema: Any) -> Any:
    # Where no schema is the store's own, each of tbbo and mbp-1 means the rtype that both have,
    # whatever a single file's own schema is.
    if isinstance(schema, list):
        return [_as_shared(one) for one in schema]
    return RType.MBP_1 if as_rtype(schema)[1] == RType.MBP_1 else schema


def _names(symbols: Any) -> list[str]:
    found = [symbols] if isinstance(symbols, str) else list(symbols)
    for symbol in found:
        if not isinstance(symbol, str):
            raise TypeError(f"one of symbols is {symbol!r}, expected a str")
    return list(dict.fromkeys(found))


def _without_symbols(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name != "symbols"}


def _has_symbol(resolver: Resolver, block: Records, symbols: Iterable[str]) -> Hits:
    codes, known = resolver.codes(block), resolver.codes_by_symbol
    hits: Hits = np.isin(codes, [known[symbol] for symbol in symbols if symbol in known])
    return hits


class StoreData:
    """
    What a store holds: its metadata, and its records in order.

    Parameters
    ----------
    sources : sequence of Source
        Where the data comes from. Several are ordered by their metadata's start; where their
        ranges overlap, records merge by index timestamp, ties in the order given.

    Raises
    ------
    ValueError
        There are none, or they differ in dataset, stype_out or ts_out.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        if not sources:
            raise ValueError("there is nothing to read")
        self._sources = sorted(sources, key=lambda source: source.metadata.start)
        if len(sources) == 1:
            self._metadata = sources[0].metadata
        else:
            names = [
                source.name if source.is_file else f"stream {number}"
                for number, source in enumerate(self._sources)
            ]
            self._metadata = joined_metadata([source.metadata for source in self._sources], names)
        self._wanted: dict[str, Any] = {}
        self._asked: Any = None  # the schemas of the filter, as its caller named them
        self._json: list[Mapping[str, Any]] = []
        self._map: SymbolMap | None = None
        self._counts: dict[RType | int, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}  # made again where it is needed

    @property
    def metadata(self) -> Metadata:
        """The header; of several files, their common one."""
        return self._metadata

    @property
    def dataset(self) -> str:
        """The dataset code."""
        return self._metadata.dataset

    @property
    def schema(self) -> Schema | None:
        """The schema of the records; None for mixed or live data."""
        return self._metadata.schema

    @property
    def start(self) -> pandas.Timestamp:
        """Start of the query, a pandas.Timestamp in UTC; NaT behind 2262. The header has the ns."""
        return as_timestamp(self._metadata.start)

    @property
    def end(self) -> pandas.Timestamp | None:
        """End of the query, exclusive, as `start`; None where open."""
        end = self._metadata.end
        return None if end is None else as_timestamp(end)

    def _range(self) -> tuple[np.datetime64, np.datetime64 | None]:
        # the start and the end for what runs without pandas
        end = self._metadata.end
        return as_datetime64(self._metadata.start), None if end is None else as_datetime64(end)

    @property
    def limit(self) -> int | None:
        """Most records asked for; None for no limit."""
        return self._metadata.limit

    @property
    def stype_in(self) -> SType | None:
        """The symbology of `symbols`; None for mixed or live data."""
        return self._metadata.stype_in

    @property
    def stype_out(self) -> SType:
        """The symbology of the mappings' results."""
        return self._metadata.stype_out

    @property
    def symbols(self) -> list[str]:
        """The symbols asked for."""
        return self._metadata.symbols

    @property
    def mappings(self) -> dict[str, list[MappingIntervalDict]]:
        """The intervals of every symbol."""
        return self._metadata.mappings

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
            "partial": self._metadata.partial,
            "not_found": self._metadata.not_found,
            "mappings": self.mappings,
        }

    @property
    def compression(self) -> Compression:
        """The compression, as the content tells; ``ZSTD`` where any file has it."""
        kinds = {source.compression for source in self._sources}
        return Compression.ZSTD if Compression.ZSTD in kinds else Compression.NONE

    @property
    def nbytes(self) -> int:
        """Bytes of the data as it is stored."""
        return sum(source.nbytes for source in self._sources)

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
        if len(self._sources) > 1 or self._wanted:
            raise ValueError(f"{name} is the stream of one source, as it is; this is no such store")
        return self._sources[0]

    @property
    def counts(self) -> dict[RType | int, int]:
        """Number of records by rtype; the first use reads all records, in bounded memory."""
        if self._counts is None:
            self._counts = counted(self._passing_blocks(BLOCK, self._wanted))
        return dict(self._counts)

    @property
    def time_range(self) -> tuple[np.datetime64, np.datetime64] | None:
        """The lowest and the highest index timestamp, datetime64[ns] UTC; None without records."""
        found = [
            ends
            for block in self._blocks(BLOCK)
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

        Returns
        -------
        Store
            A store of the same sources. It reads nothing yet; records that do not match are left
            out whenever it is read.

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value, or the store is already filtered.

        Warns
        -----
        SelectionWarning
            When it is read, and no record is of the schema, or has one of the symbols.
        """
        given = {
            "schema": schema,
            "symbols": None if symbols is None else _names(symbols),
            "instrument_ids": instrument_ids,
            "publishers": publishers,
            "start": start,
            "end": end,
        }
        wanted: dict[str, Any] = {n: value for n, value in given.items() if value is not None}
        for name in ("schema", "instrument_ids", "publishers"):
            value = wanted.get(name, "")
            if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
                wanted[name] = list(value)  # it is read more than once
        asked = wanted.get("schema")
        if self.schema is None and "schema" in wanted:
            wanted["schema"] = _as_shared(wanted["schema"])
        if wanted and self._wanted:
            raise ValueError("the store is filtered already; filter the one it was made of")
        Filter(self.schema, **_without_symbols(wanted))  # says now what is wrong
        made = type(self).__new__(type(self))
        made._sources, made._metadata, made._json = self._sources, self._metadata, list(self._json)
        made._wanted, made._counts, made._map = wanted or self._wanted, None, None
        made._asked = asked if wanted else self._asked
        return made

    filter.__qualname__ = "Store.filter"  # the class that callers know, where Python names it

    # what everything else is made of

    def _blocks(self, max_bytes: int, mappings: bool = False) -> Iterator[Records]:
        # the records in order, in blocks, as they are in a single source; with `mappings` the
        # mapping records too that a filter leaves out
        also = {"also": RType.SYMBOL_MAPPING} if mappings else {}
        blocks = self._passing_blocks(max_bytes, {**self._wanted, **also}, warns=True)
        return blocks if self._asked is None else self._watch(self._asked).of(blocks)

    def _watch(self, schema: Any) -> Watch:
        # for a warning where records are not there, or not what was asked for
        return Watch(schema, self.schema, self._counts_of_all if self._wanted else None)

    def _watched(self, blocks: Iterator[Records], schema: Any) -> Iterator[Records]:
        # blocks for an output of this schema; what the filter asks for is watched anyway
        asked = self._asked
        if schema is None or (
            isinstance(asked, str | RType) and as_rtype(asked) == as_rtype(schema)
        ):
            return blocks
        return self._watch(schema).of(blocks)

    def _counts_of_all(self) -> dict[RType | int, int]:
        return counted(block for source in self._sources for block in source.blocks(BLOCK, {}))

    def _mapping_blocks(self) -> Iterator[Records]:
        # the mapping records of live data, whatever the filter; of other data there are none
        if is_live(self._metadata):
            yield from self._passing_blocks(BLOCK, {"schema": RType.SYMBOL_MAPPING})

    def _passing_blocks(
        self, max_bytes: int, wanted: dict[str, Any], *, warns: bool = False
    ) -> Iterator[Records]:
        conditions = _without_symbols(wanted)
        if "symbols" not in wanted:
            yield from self._source_blocks(max_bytes, conditions)
            return
        symbols, resolver = wanted["symbols"], self._resolver(True)
        assert resolver is not None
        keeps_mappings = "also" in conditions
        if self.schema is None:  # mapping records tell the symbols, whether they pass or not
            conditions["also"] = RType.SYMBOL_MAPPING
        for block in self._source_blocks(max_bytes, conditions):
            hits = _has_symbol(resolver, block, symbols)
            if keeps_mappings:
                hits |= record_types(block) == RType.SYMBOL_MAPPING
            elif self.schema is None:
                hits &= self._hits(block)
            if hits.any():
                yield block if hits.all() else dealt(block, (~hits).astype(np.int32), 2)[0]
        known = resolver.symbols
        for symbol in symbols if warns else ():
            if symbol not in resolver.codes_by_symbol:
                hint = one_of(symbol, known, known[:SHOWN]) if known else ""
                warn_caller(f"nothing has the symbol {symbol!r}{hint}", SelectionWarning)

    def _source_blocks(self, max_bytes: int, wanted: dict[str, Any]) -> Iterator[Records]:
        if len(self._sources) == 1:
            yield from self._sources[0].blocks(max_bytes, wanted)
            return
        for group in overlapping(self._sources):
            size = min(max_bytes, SMALL_BLOCK) if len(group) > FEW_SOURCES else max_bytes
            readers = [self._upgraded(source.blocks(size, wanted)) for source in group]
            if len(readers) == 1:
                yield from readers[0]
            else:
                yield from merged(readers, self._metadata, max_bytes=max_bytes)

    def _upgraded(self, blocks: Iterable[Records]) -> Iterator[Records]:
        for block in blocks:
            yield restated(block.upgrade(DBN_VERSION), DBN_VERSION, self._metadata)

    def _current(self, blocks: Iterable[Records]) -> Iterator[Records]:
        # mixed data is of version 3, as record objects are; other data of the header's, so that
        # all blocks have one layout
        for block in blocks:
            yield block.upgrade(self._version)

    @property
    def _version(self) -> int:
        return DBN_VERSION if self.schema is None else self._metadata.version

    def _needs_mappings(self, schema: Any, resolver: Resolver | None) -> bool:
        # Symbols of live data come from mapping records: a filter must not hide them from the
        # resolver. Whoever asks for a schema leaves them out again.
        if resolver is None or self.schema is not None or not self._wanted:
            return False
        return schema is None or as_rtype(schema)[1] != RType.SYMBOL_MAPPING

    def _passing(
        self, blocks: Iterable[Records], resolver: Resolver
    ) -> tuple[Iterator[Records], Ahead]:
        # Of blocks with mapping records that a filter leaves out: what passes, and its symbols,
        # which were found while those were still there.
        ahead, symbols = Ahead(resolver), self._wanted.get("symbols", ())
        # a filter goes by the symbols of frames, whatever text has
        names = self._resolver(True) if "symbols" in self._wanted else None

        def passing() -> Iterator[Records]:
            for block in blocks:
                codes, hits = resolver.codes(block), self._hits(block)
                if names is not None:
                    hits &= _has_symbol(names, block, symbols)
                if hits.any():
                    ahead.push(codes[hits])
                    yield dealt(block, (~hits).astype(np.int32), 2)[0]

        return passing(), ahead

    def _hits(self, block: Records) -> Hits:
        # which records of a block pass the filter, whatever their symbols
        return Filter(self.schema, **_without_symbols(self._wanted)).passes(
            record_types(block), instrument_ids(block), publisher_ids(block), index_times(block)
        )

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
        return self._records(mappings=False)

    def _records(self, mappings: bool) -> Records:
        if len(self._sources) == 1 and not self._wanted:
            return self._sources[0].records().upgrade(self._version)
        blocks = list(self._current(self._blocks(BLOCK, mappings)))
        return Records.concat(blocks) if blocks else self._nothing()

    def _nothing(self) -> Records:
        metadata = self._metadata.upgrade(self._version)
        return empty_records(metadata.version, metadata.ts_out, metadata)

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
        return self._current(self._blocks(check_max_bytes(max_bytes)))

    def __iter__(self) -> Iterator[Record]:
        for block in self._blocks(BLOCK):
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
        data = resolved(json_data)
        SymbolMap().insert_json(data)  # says now what is wrong
        self._map = None
        self._json = [data] if clear_existing else [*self._json, data]

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
        return self._known_map(self._mapping_blocks())

    def _known_map(self, mapping_records: Iterable[Records]) -> SymbolMap:
        made = SymbolMap()
        if n_mappings(self._metadata):
            made.insert_metadata(self._metadata)
        for block in mapping_records:
            made.insert_symbol_mapping_msg(block)
        for added in self._json:
            made.insert_json(added)
        return made

    def _resolver(self, map_symbols: bool, text: bool = False) -> Resolver | None:
        if not map_symbols:
            return None
        known = self._map
        if known is None:
            known = self._map = self._known_map(())  # what records say is followed as it comes
        if self.schema is not None:
            return Resolver(known, live=False)  # without mappings, nothing has a symbol
        return Resolver(known, live=True, text=text)


def sources_of(store: StoreData) -> list[Source]:
    """
    Give the sources of a store.

    Parameters
    ----------
    store : StoreData
        The store.

    Returns
    -------
    list of Source
        By the start that they state; not to be changed.
    """
    return store._sources


def is_filtered(store: StoreData) -> bool:
    """
    Tell whether a store gives a part of its sources' records.

    Parameters
    ----------
    store : StoreData
        The store.

    Returns
    -------
    bool
    """
    return bool(store._wanted)
