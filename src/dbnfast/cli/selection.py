"""What ``convert`` is told, and the records that it lets pass."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.times import instant
from dbnfast.cli.terminal import explain_watch, talk
from dbnfast.codec.metadata import mapping_rows
from dbnfast.enums import UNDEF_TIMESTAMP, RType, Schema
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.records.deal import dealt
from dbnfast.records.headers import (
    index_times,
    instrument_ids,
    publisher_ids,
    record_types,
    selected_rtypes,
)
from dbnfast.store.watch import Watch
from dbnfast.symbology.resolver import Ahead, resolver

if TYPE_CHECKING:
    from dbnfast._typing import Column
    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records

EPOCH: Final = datetime.datetime(1970, 1, 1)
_TIME: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(?:Z|\+00:00)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Options:
    """
    What ``convert`` is told, as its options name it.

    Attributes
    ----------
    source_format, target_format : str or None
        What the input is and the output becomes; None for what content and suffix say.
    zstd : bool or None
        Whether the output is compressed; None for what its suffix says.
    schema : str or None
        The schema or rtype to keep.
    instrument_ids, publishers : tuple of int
        The ids to keep; empty for all.
    symbols : tuple of str
        The symbols to keep; empty for all.
    start, end : str or None
        Half-open range of the index timestamp.
    limit : int or None
        The most records to keep.
    raw_prices, raw_times : bool
        Whether these stay the integers that they are.
    map_symbols : bool
        Whether text and columnar output has a symbol column.
    upgrade : bool
        Whether records become version 3.
    dataset : str or None
        The dataset for the header of DBN that is made of text or a fragment.
    force : bool
        Whether an existing file is replaced.
    partition_by : tuple of str
        What makes the folders of Parquet; empty for none.
    """

    source_format: str | None = None
    target_format: str | None = None
    zstd: bool | None = None
    schema: str | None = None
    instrument_ids: tuple[int, ...] = ()
    publishers: tuple[int, ...] = ()
    symbols: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    limit: int | None = None
    raw_prices: bool = False
    raw_times: bool = False
    map_symbols: bool = True
    upgrade: bool = True
    dataset: str | None = None
    force: bool = False
    partition_by: tuple[str, ...] = ()


def parse_time(name: str, text: str | None) -> int | None:
    """
    Read a time of the command line.

    Parameters
    ----------
    name : str
        What it is, for the error.
    text : str or None
        A date, an ISO 8601 time, or ns since 1970-01-01 UTC; without a zone it is UTC.

    Returns
    -------
    int or None
        Nanoseconds since 1970-01-01 UTC; None for None.

    Raises
    ------
    ValueError
        It is none of these.
    """
    if text is None:
        return None
    found = _TIME.fullmatch(text)
    if found is not None:
        *fields, part = (group or "0" for group in found.groups())
        year, month, day, hour, minute, second = map(int, fields)
        try:
            at = datetime.datetime(year, month, day, hour, minute, second)
        except ValueError as error:
            raise ValueError(f"{name} is {text!r}: {error}") from None
        return (at - EPOCH) // datetime.timedelta(seconds=1) * 10**9 + int(part.ljust(9, "0"))
    return instant(text, name)


def check(options: Options) -> None:
    """
    Check what can be checked before any file is opened.

    Parameters
    ----------
    options : Options
        What the command line says.

    Raises
    ------
    TypeError, ValueError
        An option cannot be.
    """
    if options.schema is not None:
        as_rtype(options.schema)
    for name, ids, bits in (
        ("--instrument-id", options.instrument_ids, 32),
        ("--publisher", options.publishers, 16),
    ):
        for number in ids:
            if not 0 <= number < 2**bits:
                raise ValueError(f"{name} is {number}, expected 0 to 2**{bits} - 1")
    times = []
    for name, text in (("--start", options.start), ("--end", options.end)):
        time = parse_time(name, text)
        if time is not None and not 0 <= time < 2**64:
            raise ValueError(f"{name} is {text!r}, expected a time of 1970 to 2554")
        times.append(time)
    start, end = times
    if start is not None and end is not None and start >= end:
        raise ValueError(f"--start is {options.start!r}, which is not before --end {options.end!r}")


class Wanted:
    """
    The records that pass the filters, and the symbols of these.

    Parameters
    ----------
    options : Options
        What passes.
    metadata : Metadata or None
        The header of the records.
    is_text : bool
        Whether they come from text, which maps no symbols.
    keep_mappings : bool
        Whether the mapping records of live streams pass with any schema, publisher or time,
        since they tell the symbols.

    Attributes
    ----------
    schema : Schema or None
        The schema that is wanted, where it is one.
    start, end : int or None
        The range of index timestamps that is wanted, ns since 1970-01-01 UTC.
    carries : bool
        Whether mapping records pass only because they tell the symbols of what is selected.

    Raises
    ------
    ValueError
        An option cannot be.
    """

    def __init__(
        self, options: Options, metadata: Metadata | None, is_text: bool, keep_mappings: bool
    ) -> None:
        self._options = options
        self.schema: Schema | None = None
        self._watch: Watch | None = None
        if options.schema is not None:
            self.schema = as_rtype(options.schema)[0]
            self._watch = Watch(options.schema, None if metadata is None else metadata.schema)
        self.start = parse_time("--start", options.start)
        self.end = parse_time("--end", options.end)
        self._keep = keep_mappings and (metadata is None or metadata.schema is None)
        self.carries = self._keep and _selects(options)
        self._ahead: Ahead | None = None
        self._resolver: Any = None
        self._awaited: set[str] = set()  # symbols that only records can name
        if options.symbols:
            if is_text:
                raise ValueError("--symbol needs DBN: records read from text have no symbols")
            self._resolver = _resolver_of(options.symbols, metadata)
            if metadata is None or not mapping_rows(metadata):
                self._awaited = set(options.symbols)

    def symbols_of(self, resolver: Any) -> Ahead:
        """
        Let symbols be found while the records are selected, of those that do not pass too.

        Parameters
        ----------
        resolver : Resolver
            What finds them.

        Returns
        -------
        Ahead
            What gives the symbols of the records that passed.
        """
        self._ahead = Ahead(resolver)
        return self._ahead

    def of(self, blocks: Iterator[Records]) -> Iterator[Records]:
        """
        Select records.

        Parameters
        ----------
        blocks : iterator of Records
            All records.

        Yields
        ------
        Records
            What passes, upgraded where that is wanted.
        """
        left = self._options.limit
        for block in blocks:
            if self._watch is not None:
                self._watch.see(block)
            codes = None if self._ahead is None else self._ahead.resolver.codes(block)
            hits = self._hits(block)
            if left is not None:
                hits &= self._first(block, hits, left)
                left -= int(np.count_nonzero(self._counted(block, hits)))
            if hits.any():
                records = block if hits.all() else dealt(block, (~hits).astype(np.int32), 2)[0]
                if self._ahead is not None and codes is not None:
                    self._ahead.push(codes[hits])
                yield records.upgrade() if self._options.upgrade else records
            if left == 0:
                return
        if self._resolver is not None:
            for symbol in sorted(self._awaited - set(self._resolver.symbols)):
                talk(f"warning: no record maps the symbol {symbol}")

    def explain(self, name: str) -> int:
        """
        Write to stderr what was not as it was asked for.

        Parameters
        ----------
        name : str
            The input.

        Returns
        -------
        int
            The exit code: 1 where no record is of the schema.
        """
        return 0 if self._watch is None else explain_watch(name, self._watch)

    def _hits(self, block: Records) -> Column:
        options = self._options
        hits = np.ones(len(block), bool)
        if options.schema is not None:
            hits &= np.isin(record_types(block), list(selected_rtypes(block, options.schema)))
        if options.publishers:
            hits &= np.isin(publisher_ids(block), options.publishers)
        if self.start is not None or self.end is not None:
            times = index_times(block)
            end = UNDEF_TIMESTAMP if self.end is None else self.end
            hits &= (times >= (self.start or 0)) & (times < end)
        if self._keep:
            hits |= record_types(block) == RType.SYMBOL_MAPPING
        if options.instrument_ids:
            hits &= np.isin(instrument_ids(block), options.instrument_ids)
        if self._resolver is not None:
            codes = self._resolver.codes(block)
            wanted = [n for n, name in enumerate(self._resolver.symbols) if name in options.symbols]
            hits &= np.isin(codes, wanted)
        return hits

    def _counted(self, block: Records, hits: Column) -> Column:
        # mapping records that are only kept do not count for the limit
        return hits & (record_types(block) != RType.SYMBOL_MAPPING) if self._keep else hits

    def _first(self, block: Records, hits: Column, left: int) -> Column:
        return np.cumsum(self._counted(block, hits)) <= left


def _selects(options: Options) -> bool:
    if options.schema is not None and as_rtype(options.schema)[1] == RType.SYMBOL_MAPPING:
        return False
    conditions = (
        options.schema, options.instrument_ids, options.publishers, options.symbols,
        options.start, options.end, options.limit,
    )  # fmt: skip
    return any(conditions)


def _resolver_of(symbols: tuple[str, ...], metadata: Metadata | None) -> Any:
    found = resolver(metadata)
    if metadata is not None and mapping_rows(metadata):
        for symbol in sorted(set(symbols) - set(found.symbols)):
            talk(f"warning: the header maps no symbol {symbol}")
    return found
