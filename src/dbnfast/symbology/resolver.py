"""Symbols for a stream that comes in batches."""

from __future__ import annotations

import datetime
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast._core.symbols import LiveMap, lookup, track
from dbnfast._util.times import DAY
from dbnfast.codec.metadata import mapping_rows
from dbnfast.enums import RType, SType
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.records.headers import has_rtype, record_types
from dbnfast.symbology.codes import (
    Numbers,
    check_records,
    codes_of_table,
    mapping_symbols,
    wanted_of,
)
from dbnfast.symbology.map import SymbolMap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbnfast._typing import Codes, Column
    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records


EPOCH: Final = datetime.date(1970, 1, 1)
LAST: Final = (datetime.date(2262, 1, 1) - EPOCH).days  # what pandas has a time for


class Resolver:
    """
    Symbols for a stream that comes in batches.

    Parameters
    ----------
    symbol_map : SymbolMap or None
        What is known beforehand; as it is now, later insertions do not count.
    live : bool
        Whether mapping records tell the symbols, each from its place in the stream on, whatever
        the time. The map is then asked for ids that have none.
    text : bool
        Whether the symbol of a mapping record is always its ``stype_out_symbol``, as in text;
        else ``stype_in_symbol`` stands in where that is a number.

    Notes
    -----
    For one thread at a time where it is live. `resolver` makes the right one for a stream.
    """

    __slots__ = ("_live", "_numbers", "_table", "_text")

    def __init__(self, symbol_map: SymbolMap | None, *, live: bool, text: bool = False) -> None:
        symbol_map = SymbolMap() if symbol_map is None else symbol_map
        self._table = symbol_map._built()
        self._numbers = Numbers(symbol_map._numbers.symbols)
        self._live = LiveMap() if live else None
        self._text = text

    @property
    def symbols(self) -> list[str]:
        """The symbols, indexed by code; always the same list, which grows in live streams."""
        return self._numbers.symbols

    @property
    def codes_by_symbol(self) -> dict[str, int]:
        """The codes, by symbol; always the same dict, not to be changed."""
        return self._numbers.codes

    @property
    def grows(self) -> bool:
        """Whether the stream may bring symbols that are not known yet."""
        return self._live is not None

    def look_up(self, ids: Column, stamps: Column, out: Codes) -> None:
        """
        Find the codes of ids at times, where the stream is not live.

        Parameters
        ----------
        ids : ndarray of uint32, shape (n,)
            Instrument ids.
        stamps : ndarray of uint64, shape (n,)
            Index timestamps.
        out : ndarray of int32, shape (n,)
            Filled with indexes of `symbols`, -1 where unmapped, without the GIL.
        """
        assert self._live is None
        lookup(self._table, ids, stamps, out)

    def codes(self, records: Records, rtypes: frozenset[int] | None = None) -> Codes:
        """
        Give the codes of the next batch of a stream.

        Parameters
        ----------
        records : Records
            The batch; every record of a live stream must come by here, once and in order.
        rtypes : frozenset of int, optional
            The rtypes of the records wanted; None for all.

        Returns
        -------
        ndarray of int32, shape (n_wanted,)
            Indexes of `symbols` in the stream's order, -1 where unmapped; a new array. A mapping
            record has the symbol that it brings.

        Raises
        ------
        TypeError
            They are no Records.
        """
        check_records(records)
        if self._live is None:
            return codes_of_table(self._table, records, rtypes)
        symbols: list[str | None] = []
        if has_rtype(records, RType.SYMBOL_MAPPING):
            symbols = mapping_symbols(records.array(RType.SYMBOL_MAPPING), self._text)
        wanted, out = wanted_of(records, rtypes)
        track(
            self._live,
            self._table if self._table.n_ids else None,
            records.data,
            SIZES,
            records.ts_out,
            int(RType.SYMBOL_MAPPING),
            self._numbers.of(symbols),
            wanted,
            INDEX_TS_AT,
            out,
        )
        return out


class Ahead:
    """
    The symbols of records that passed, found when they were among all others.

    Parameters
    ----------
    resolver : Resolver
        What finds them.

    Attributes
    ----------
    resolver : Resolver
        The same.
    """

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._waiting: deque[Codes] = deque()

    @property
    def grows(self) -> bool:
        """Whether records tell symbols in order: these do, they were found among all others."""
        return True

    @property
    def symbols(self) -> list[str]:
        """The symbols by code."""
        return self.resolver.symbols

    def push(self, codes: Codes) -> None:
        """
        Put the next records' codes in the queue.

        Parameters
        ----------
        codes : ndarray of int32, shape (n_records,)
            As the resolver gave them.
        """
        self._waiting.append(codes)

    def codes(self, records: Records, rtypes: frozenset[int] | None = None) -> Codes:
        """
        Give the codes of the next records.

        Parameters
        ----------
        records : Records
            The next ones, all or a part of what was selected at a time.
        rtypes : frozenset of int, optional
            The types that are wanted; None for all.

        Returns
        -------
        ndarray of int32
            One for each record that is wanted.
        """
        found, n = [], len(records)
        while n:
            codes = self._waiting.popleft()
            if len(codes) > n:
                self._waiting.appendleft(codes[n:])
                codes = codes[:n]
            found.append(codes)
            n -= len(codes)
        together = np.concatenate([np.empty(0, np.int32), *found])
        if rtypes is not None:
            together = together[np.isin(record_types(records), list(rtypes))]
        return together


def resolver(
    metadata: Metadata | None, symbol_map: SymbolMap | None = None, *, text: bool = False
) -> Resolver:
    """
    Make the Resolver for a stream.

    Parameters
    ----------
    metadata : Metadata or None
        The stream's header. Without one, or without a schema in it, the stream counts as live.
    symbol_map : SymbolMap, optional
        Used instead of the header's mappings, unless it is empty.
    text : bool
        As `Resolver` takes it.

    Returns
    -------
    Resolver

    Raises
    ------
    ValueError
        The header has a schema and its mappings are needed, but `SymbolMap.insert_metadata`
        cannot use them.
    """
    live = metadata is None or metadata.schema is None
    if not symbol_map:
        symbol_map = None
        if metadata is not None and not (live and not _names_ids(metadata)):
            symbol_map = SymbolMap.from_metadata(metadata)
    return Resolver(symbol_map, live=live, text=text)


def _names_ids(metadata: Metadata) -> bool:
    return SType.INSTRUMENT_ID in (metadata.stype_in, metadata.stype_out)


def is_live(metadata: Metadata) -> bool:
    """
    Tell whether a header is one of a live stream, whose symbols come in mapping records.

    Parameters
    ----------
    metadata : Metadata
        The header.

    Returns
    -------
    bool
    """
    return metadata.schema is None and metadata.stype_in is None


def symbols_change(metadata: Metadata) -> bool:
    """
    Tell whether a header names an instrument more than once.

    Parameters
    ----------
    metadata : Metadata
        As `with_mappings` gives it: symbols of a live stream change at a place in it, which a
        header, that knows days, cannot tell.

    Returns
    -------
    bool
    """
    ids = [symbol for _, intervals in mapping_rows(metadata) for _, _, symbol in intervals]
    return len(set(ids)) < len(ids)


def with_mappings(metadata: Metadata, blocks: Iterable[Records]) -> Metadata:
    """
    Put into a header what mapping records say, for records that go on without these.

    Parameters
    ----------
    metadata : Metadata
        The header of a live stream.
    blocks : iterable of Records
        The stream, or its mapping records.

    Returns
    -------
    Metadata
        With intervals of whole days: an id's first symbol holds from the beginning of time, a
        later one from the day of its ts_event. Ids that no record names keep what the header
        says of them.
    """
    changes: dict[int, list[tuple[int, str]]] = {}
    for block in blocks:
        if not has_rtype(block, RType.SYMBOL_MAPPING):
            continue
        array = block.array(RType.SYMBOL_MAPPING)
        symbols = mapping_symbols(array, text=False)
        days = (array["ts_event"] // np.uint64(DAY)).tolist()
        for id_, day, symbol in zip(array["instrument_id"].tolist(), days, symbols, strict=True):
            known = changes.setdefault(id_, [])
            if symbol and (not known or known[-1][1] != symbol):
                known.append((day if known else 0, symbol))
    if metadata.stype_out != SType.INSTRUMENT_ID or not changes:
        return metadata
    named = set(map(str, changes))
    rows: dict[str, list[tuple[datetime.date, datetime.date, str]]] = {}
    for raw, intervals in mapping_rows(metadata):
        rows[raw] = [own for own in intervals if own[2] not in named]
    for id_, known in changes.items():
        for (first, symbol), (last, _) in pairwise([*known, (LAST, "")]):
            if first < last:
                days_of = (EPOCH + datetime.timedelta(first), EPOCH + datetime.timedelta(last))
                rows.setdefault(symbol, []).append((*days_of, str(id_)))
    return metadata.replace(
        mappings=[{"raw_symbol": raw, "intervals": own} for raw, own in rows.items() if own]
    )
