"""The records of a store in order: its sources, and the conditions that records have to meet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast.codec.damage import warn_caller
from dbnfast.codec.merge import joined_metadata, merged
from dbnfast.enums import DBN_VERSION, RType, one_of
from dbnfast.errors import DecodeError, SelectionWarning
from dbnfast.layouts.dtypes import as_rtype
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
from dbnfast.store.conditions import Conditions
from dbnfast.store.naming import Naming
from dbnfast.store.watch import Watch, counted
from dbnfast.symbology.resolver import Ahead, Resolver, is_live

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbnfast._typing import Hits
    from dbnfast.codec.metadata import Metadata
    from dbnfast.store.sources import Source
    from dbnfast.symbology.map import JsonData

BLOCK: Final = 16 << 20  # bytes of records in a step of what streams
SMALL_BLOCK: Final = 1 << 20  # of each of many files that are merged
FEW_SOURCES: Final = 4
SHOWN: Final = 20  # symbols in a warning


class Blocks:
    """
    The records of a store in order, block by block.

    Parameters
    ----------
    sources : sequence of Source
        Where they come from, ordered by their metadata's start; where their ranges overlap,
        records merge by index timestamp, ties in the order given.
    metadata : Metadata
        The header; of several sources, their common one.
    names : Naming
        What has their symbols.
    conditions : Conditions, optional
        What they have to meet.
    version : int, optional
        Of what outputs get; None for 3 of mixed data, as record objects are, and else for the
        header's, so that all blocks have one layout.
    watches : bool
        Whether a warning says that there is nothing of what was asked for.
    joined : bool, optional
        Whether records are made to fit those of other sources; None where there are several.

    Attributes
    ----------
    sources, metadata, names, conditions
        As given.
    schema : Schema or None
        Of the header; None for mixed and live data.
    version : int
        Of what outputs get.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        metadata: Metadata,
        names: Naming,
        conditions: Conditions | None = None,
        version: int | None = None,
        *,
        watches: bool = True,
        joined: bool | None = None,
    ) -> None:
        self.sources = sources
        self.metadata = metadata
        self.names = names
        self.conditions = Conditions() if conditions is None else conditions
        self.schema = metadata.schema
        own = DBN_VERSION if self.schema is None else metadata.version
        self.version = own if version is None else version
        self._watches = watches
        self._joined = len(sources) > 1 if joined is None else joined
        self._counts: dict[RType | int, int] | None = None

    def where(self, more: Conditions) -> Blocks:
        """
        Ask for less.

        Parameters
        ----------
        more : Conditions
            What the records have to meet beside what they have to now.

        Returns
        -------
        Blocks
            New ones, with a copy of the names.
        """
        conditions = self.conditions.joined(more, self.schema)
        names = self.names.copy()
        return Blocks(
            self.sources, self.metadata, names, conditions, self.version,
            watches=self._watches, joined=self._joined,
        )  # fmt: skip

    def some(self, sources: Sequence[Source]) -> Blocks:
        """
        Take some of the sources, or pieces of them.

        Parameters
        ----------
        sources : sequence of Source
            The sources.

        Returns
        -------
        Blocks
            Those of their records that these have, as these have them.
        """
        return Blocks(
            sources, self.metadata, self.names, self.conditions, self.version,
            watches=False, joined=self._joined,
        )  # fmt: skip

    # what everything else is made of

    def passing(self, max_bytes: int | None = None, mappings: bool = False) -> Iterator[Records]:
        """
        Give the records that meet the conditions.

        Parameters
        ----------
        max_bytes : int, optional
            The most bytes of a block; None for what streams.
        mappings : bool
            Whether mapping records come too that do not.

        Yields
        ------
        Records
            Of a single source as they are in it.
        """
        asked = self.conditions.asked
        blocks = self._passing(max_bytes or BLOCK, self.conditions, mappings, warns=self._watches)
        return blocks if asked is None or not self._watches else self._watch(asked).of(blocks)

    def watched(self, blocks: Iterable[Records], schema: Any) -> Iterator[Records]:
        """
        Look at blocks for an output of one schema, for a warning where none is of it.

        Parameters
        ----------
        blocks : iterable of Records
            What `passing` gave.
        schema : Schema, RType, str or None
            The schema.

        Returns
        -------
        iterator of Records
            The same blocks. What a filter asks for is watched anyway.
        """
        asked = self.conditions.asked
        if (
            schema is None
            or not self._watches
            or (isinstance(asked, str | RType) and as_rtype(asked) == as_rtype(schema))
        ):
            return iter(blocks)
        return self._watch(schema).of(blocks)

    def _watch(self, schema: Any) -> Watch:
        return Watch(schema, self.schema, self._all if self.conditions else None)

    def _all(self) -> Iterator[Records]:
        for source in self.sources:
            with contextlib.suppress(DecodeError):  # told where records are read
                yield from source.looked_at()

    def current(self, blocks: Iterable[Records]) -> Iterator[Records]:
        """
        Give blocks in the layouts that outputs have.

        Parameters
        ----------
        blocks : iterable of Records
            The blocks.

        Yields
        ------
        Records
            The same where they are in them.
        """
        for block in blocks:
            yield block.upgrade(self.version)

    def records(self, mappings: bool = False) -> Records:
        """
        Give all at once.

        Parameters
        ----------
        mappings : bool
            Whether mapping records come too that do not meet the conditions.

        Returns
        -------
        Records
            A view of a single plain source, else a new block.
        """
        wanted = self.conditions
        if len(self.sources) == 1 and not wanted:
            return self._fitted(self.sources[0].records())
        if len(self.sources) == 1 and wanted.only_time:
            for source in self.relevant(wanted):
                found = source.records_between(wanted.of_records, not wanted.check_order)
                if found is not None:
                    return self._fitted(found)
        blocks = list(self.current(self.passing(mappings=mappings)))
        return Records.concat(blocks) if blocks else self.nothing()

    def _fitted(self, records: Records) -> Records:
        found = records.upgrade(self.version)
        return restated(found, self.version, self.metadata) if self._joined else found

    def nothing(self) -> Records:
        """
        Make what has no record.

        Returns
        -------
        Records
            With the header.
        """
        metadata = self.metadata.upgrade(self.version)
        return empty_records(metadata.version, metadata.ts_out, metadata)

    def mapping_blocks(self) -> Iterator[Records]:
        """
        Give the mapping records of live data, whatever the conditions; other data has none.

        Yields
        ------
        Records
        """
        if is_live(self.metadata):
            yield from self._passing(BLOCK, Conditions(schema=RType.SYMBOL_MAPPING))

    @property
    def counts(self) -> dict[RType | int, int]:
        """Number of records by rtype; the first use reads them all, in bounded memory."""
        if self._counts is None:
            self._counts = counted(self._passing(BLOCK, self.conditions))
        return dict(self._counts)

    def name(self, json_data: JsonData, clear_existing: bool) -> None:
        """
        Add mappings.

        Parameters
        ----------
        json_data, clear_existing
            As `Store.insert_symbology_json` takes them.
        """
        self.names.add(json_data, clear_existing)
        self._counts = None  # other records may have the symbols of a filter

    @property
    def is_stream(self) -> bool:
        """Whether the records are all of a single source, so that its bytes stand for them."""
        return len(self.sources) == 1 and self.sources[0].is_whole and not self.conditions

    @property
    def n_indexed(self) -> int | None:
        """Number of records, where indexes tell it; None where records have to be read."""
        if self.conditions:
            return None
        indexes = [source.index for source in self.sources]
        known = [index.n_records for index in indexes if index is not None]
        return sum(known) if len(known) == len(indexes) else None

    @property
    def are_counted(self) -> bool:
        """Whether `counts` is known."""
        return self._counts is not None

    def _passing(
        self, max_bytes: int, wanted: Conditions, mappings: bool = False, *, warns: bool = False
    ) -> Iterator[Records]:
        given, symbols = wanted.of_records, wanted.symbols
        if symbols is not None:  # most of what does not pass is left out where it is read
            given.update(self.names.ids(symbols, wanted.instrument_ids))
        # mapping records tell the symbols, whether they pass or not
        if mappings or (symbols is not None and self.schema is None):
            given["also"] = RType.SYMBOL_MAPPING
        if symbols is None:
            yield from self._of_sources(max_bytes, wanted, given)
            return
        resolver = self.names.resolver()
        for block in self._of_sources(max_bytes, wanted, given):
            hits = _has_symbol(resolver, block, symbols)
            if mappings:
                hits |= record_types(block) == RType.SYMBOL_MAPPING
            elif self.schema is None:
                hits &= self._hits(block)
            if hits.any():
                yield _chosen(block, hits)
        known = resolver.symbols
        for symbol in symbols if warns else ():
            if symbol not in resolver.codes_by_symbol:
                hint = one_of(symbol, known, known[:SHOWN]) if known else ""
                warn_caller(f"nothing has the symbol {symbol!r}{hint}", SelectionWarning)

    def _of_sources(
        self, max_bytes: int, wanted: Conditions, given: dict[str, Any]
    ) -> Iterator[Records]:
        sources, trusted = self.relevant(wanted), not wanted.check_order
        if not self._joined:
            for source in sources:
                yield from source.blocks(max_bytes, given, trusted=trusted)
            return
        for group in overlapping(sources):
            size = min(max_bytes, SMALL_BLOCK) if len(group) > FEW_SOURCES else max_bytes
            readers = [
                self._upgraded(source.blocks(size, given, trusted=trusted)) for source in group
            ]
            if len(readers) == 1:
                yield from readers[0]
            else:
                yield from merged(readers, self.metadata, max_bytes=max_bytes)

    def relevant(self, wanted: Conditions) -> Sequence[Source]:
        """
        Find the sources that may have records that meet conditions, as their headers say.

        Parameters
        ----------
        wanted : Conditions
            The conditions.

        Returns
        -------
        sequence of Source
            All of them where no header is to be trusted.
        """
        if wanted.check_order or not wanted.by_time:
            return self.sources
        return [source for source in self.sources if source.may_have(wanted.start, wanted.end)]

    def to_read(self) -> tuple[int, int]:
        """
        Tell what a pass over the records reads.

        Returns
        -------
        n_sources, n_bytes : int
            Those that are opened for records, and their bytes, but for what a search leaves out.
        """
        wanted, n_bytes = self.conditions, 0
        sources = self.relevant(wanted)
        for source in sources:
            size = source.nbytes
            frames = source.frames(wanted.of_records)
            if frames is not None and source.index is not None:
                n_bytes += sum(source.index.frame(number).size for number in frames)
                continue
            span = None if wanted.check_order else source.span(wanted.of_records, trusted=True)
            if span is not None:
                size = (size if span.end is None else span.end) - span.begin
            n_bytes += size
        return len(sources), n_bytes

    def _upgraded(self, blocks: Iterable[Records]) -> Iterator[Records]:
        for block in blocks:
            yield restated(block.upgrade(DBN_VERSION), DBN_VERSION, self.metadata)

    def _hits(self, block: Records) -> Hits:
        # which records of a block pass the filter, whatever their symbols
        return Filter(self.schema, **self.conditions.of_records).passes(
            record_types(block), instrument_ids(block), publisher_ids(block), index_times(block)
        )

    def with_symbols(
        self, blocks: Iterable[Records], resolver: Resolver
    ) -> tuple[Iterator[Records], Ahead]:
        """
        Leave the mapping records out again that do not meet the conditions.

        Parameters
        ----------
        blocks : iterable of Records
            What `passing` gave with mapping records.
        resolver : Resolver
            What finds the symbols.

        Returns
        -------
        iterator of Records, Ahead
            What passes, and its symbols, which were found while those records were still there.
        """
        ahead, symbols = Ahead(resolver), self.conditions.symbols
        # a filter goes by the symbols of frames, whatever text has
        names = None if symbols is None else self.names.resolver()

        def passing() -> Iterator[Records]:
            for block in blocks:
                codes, hits = resolver.codes(block), self._hits(block)
                if names is not None:
                    hits &= _has_symbol(names, block, symbols or ())
                if hits.any():
                    ahead.push(codes[hits])
                    yield _chosen(block, hits)

        return passing(), ahead

    def needs_mappings(self, schema: Any, resolver: Resolver | None) -> bool:
        """
        Tell whether a filter would hide mapping records that tell the symbols of others.

        Parameters
        ----------
        schema : Schema, RType, str or None
            What an output is of: where that is one, it leaves them out again.
        resolver : Resolver or None
            What finds the symbols.

        Returns
        -------
        bool
        """
        if resolver is None or self.schema is not None or not self.conditions:
            return False
        return schema is None or as_rtype(schema)[1] != RType.SYMBOL_MAPPING


def _has_symbol(resolver: Resolver, block: Records, symbols: Iterable[str]) -> Hits:
    codes, known = resolver.codes(block), resolver.codes_by_symbol
    hits: Hits = np.isin(codes, [known[symbol] for symbol in symbols if symbol in known])
    return hits


def _chosen(block: Records, hits: Hits) -> Records:
    return block if hits.all() else dealt(block, (~hits).astype(np.int32), 2)[0]


def blocks_of(sources: Sequence[Source]) -> Blocks:
    """
    Put the records of sources in order.

    Parameters
    ----------
    sources : sequence of Source
        The sources.

    Returns
    -------
    Blocks

    Raises
    ------
    ValueError
        There are none, or they differ in dataset, stype_out or ts_out.
    """
    if not sources:
        raise ValueError("there is nothing to read")
    ordered = sorted(sources, key=lambda source: source.metadata.start)
    metadata = ordered[0].metadata
    if len(ordered) > 1:
        names = [
            source.name if source.is_file else f"stream {number}"
            for number, source in enumerate(ordered)
        ]
        metadata = joined_metadata([source.metadata for source in ordered], names)
    return Blocks(ordered, metadata, Naming(metadata))


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
