"""Mapping intervals as columns: read from where they stand, and made disjoint."""

from __future__ import annotations

import datetime
import heapq
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbnfast._core.symbols import SymbolTable, decimals
from dbnfast._util.times import DAY
from dbnfast.codec.metadata import header_of, mapping_rows
from dbnfast.enums import UNDEF_TIMESTAMP, SType

if TYPE_CHECKING:
    from dbnfast._typing import Column
    from dbnfast.codec.metadata import Metadata

    Rows = tuple[Column, Column, Column, Column]  # ids, begins, ends, codes

LAST_DAY: Final = (2**64 - 1) // DAY  # since 1970; a timestamp reaches no midnight behind it
UNMAPPED: Final = -1  # as a code; of an interval: what was mapped before is so no longer


class Columns(NamedTuple):
    """
    Mappings, one entry of `rows` and what is behind it for each interval.

    Attributes
    ----------
    raw_symbols : list of str
        The names that have intervals.
    rows : ndarray of int64
        Which of the names an interval is of.
    starts, ends : ndarray of int64
        Half-open, days since 1970.
    symbols : list of str
        What the name stands for.
    """

    raw_symbols: list[str]
    rows: Column  # indexes of raw_symbols
    starts: Column  # days since 1970
    ends: Column
    symbols: list[str]


def is_forward(stype_in: SType | None, stype_out: SType) -> bool:
    """
    Tell whether intervals hold ids and names are symbols, or the reverse.

    Parameters
    ----------
    stype_in, stype_out : SType or None
        As the metadata has them.

    Returns
    -------
    bool

    Raises
    ------
    ValueError
        Neither is ``instrument_id``.
    """
    if stype_out != SType.INSTRUMENT_ID and stype_in != SType.INSTRUMENT_ID:
        raise ValueError(
            "mappings tell symbols only where stype_out or stype_in is instrument_id; they are "
            f"{stype_out} and {stype_in}"
        )
    return stype_out == SType.INSTRUMENT_ID


def columns_of(metadata: Metadata) -> Columns:
    """
    Read the mappings of a header.

    Parameters
    ----------
    metadata : Metadata
        The header.

    Returns
    -------
    Columns
    """
    header = header_of(metadata)
    if header is not None:
        raw_symbols, rows, starts, ends, symbols = header.intervals()
        return Columns(raw_symbols, np.array(rows, np.int64), _days(starts), _days(ends), symbols)
    named = mapping_rows(metadata)
    flat = [(row, *interval) for row, (_, rows) in enumerate(named) for interval in rows]
    return _columns([raw for raw, _ in named], flat)


def _columns(
    raw_symbols: list[str], flat: list[tuple[int, datetime.date, datetime.date, str]]
) -> Columns:
    rows = np.array([row for row, _, _, _ in flat], np.int64)
    epoch = datetime.date(1970, 1, 1).toordinal()
    starts = np.array([day.toordinal() - epoch for _, day, _, _ in flat], np.int64)
    ends = np.array([day.toordinal() - epoch for _, _, day, _ in flat], np.int64)
    return Columns(raw_symbols, rows, starts, ends, [symbol for _, _, _, symbol in flat])


def columns_of_json(result: Mapping[str, Any]) -> Columns:
    """
    Read the mappings of a ``symbology.resolve`` result.

    Parameters
    ----------
    result : mapping
        Intervals by name.

    Returns
    -------
    Columns

    Raises
    ------
    ValueError
        An interval is not what it should be.
    """
    flat = []
    for row, (raw_symbol, entries) in enumerate(result.items()):
        if not isinstance(entries, list | tuple):
            raise ValueError(f"the intervals of {raw_symbol!r} are {entries!r}, expected a list")
        for entry in entries:
            if not isinstance(entry, Mapping) or not {"d0", "d1", "s"} <= entry.keys():
                raise ValueError(
                    f"an interval of {raw_symbol!r} is {entry!r}, expected keys 'd0', 'd1' and 's'"
                )
            symbol = entry["s"]
            if isinstance(symbol, bool) or not isinstance(symbol, str | int | np.integer):
                raise ValueError(f"'s' of {raw_symbol!r} is {symbol!r}, expected a str or an id")
            days = [_date(raw_symbol, name, entry[name]) for name in ("d0", "d1")]
            flat.append((row, days[0], days[1], str(symbol)))
    return _columns([str(raw_symbol) for raw_symbol in result], flat)


def _date(raw_symbol: str, name: str, value: Any) -> datetime.date:
    # of a time the day in UTC
    try:
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime):
            return (value if value.tzinfo is None else value.astimezone(datetime.UTC)).date()
    except (ValueError, OverflowError):
        pass
    if isinstance(value, datetime.date):
        return value
    raise ValueError(f"{name!r} of {raw_symbol!r} is {value!r}, expected a date as YYYY-MM-DD")


def _days(numbers: Any) -> Column:
    # YYYYMMDD as days since 1970
    number = np.array(numbers, np.int64)
    months = (number // 10000 - 1970).astype("M8[Y]").astype("M8[M]")
    months = months + (number // 100 % 100 - 1).astype("m8[M]")
    days: Column = months.astype("M8[D]") + (number % 100 - 1).astype("m8[D]")
    return days.astype(np.int64)


def midnights(days: Column) -> Column:
    """
    Give the midnights of days.

    Parameters
    ----------
    days : ndarray of int64
        Since 1970.

    Returns
    -------
    ndarray of uint64
        In ns since 1970-01-01 UTC, clamped to what a timestamp can be.
    """
    ns = np.clip(days, 0, LAST_DAY).astype(np.uint64) * np.uint64(DAY)
    ns[days > LAST_DAY] = UNDEF_TIMESTAMP
    return ns


def parsed_ids(texts: list[str]) -> Column:
    """
    Read instrument ids that are text.

    Parameters
    ----------
    texts : list of str
        Decimal.

    Returns
    -------
    ndarray of uint32

    Raises
    ------
    ValueError
        One is no id.
    """
    ids = np.empty(len(texts), np.uint32)
    wrong = decimals(texts, ids)
    if wrong >= 0:
        raise ValueError(
            f"{texts[wrong]!r} in the mappings is no instrument id, expected 0 to 4294967295"
        )
    return ids


def is_first(ids: Column) -> Column:
    """
    Tell of sorted ids whether the one before is another.

    Parameters
    ----------
    ids : ndarray
        Sorted.

    Returns
    -------
    ndarray of bool
    """
    first = np.ones(len(ids), bool)
    first[1:] = ids[1:] != ids[:-1]
    return first


def joined(parts: list[Rows]) -> Rows:
    """
    Put columns of intervals behind one another.

    Parameters
    ----------
    parts : list of Rows
        One or more.

    Returns
    -------
    Rows
    """
    ids, begins, ends, codes = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return ids, begins, ends, codes


def disjoint(rows: Rows) -> Rows:
    """
    Sort intervals by id and time, and cut those that overlap.

    Parameters
    ----------
    rows : Rows
        In the order of the input.

    Returns
    -------
    Rows
        Where intervals overlapped, the last of the input holds.
    """
    order = np.lexsort((rows[2], rows[1], rows[0]))
    ids, begins, ends, codes = (column[order] for column in rows)
    again = ~is_first(ids)
    clash = again.copy()
    again[1:] &= (begins[1:] == begins[:-1]) & (ends[1:] == ends[:-1])
    if again.any():  # a header is often inserted twice: of equal intervals the last stays
        stays = ~np.roll(again, -1)
        order = order[stays]
        ids, begins, ends, codes = (column[order] for column in rows)
        clash = ~is_first(ids)
    clash[1:] &= begins[1:] < ends[:-1]
    if not clash.any():
        return ids, begins, ends, codes
    where = np.isin(ids, ids[clash])
    painted = _painted(*(column[where].tolist() for column in (ids, begins, ends, order, codes)))
    dtypes = (np.uint32, np.uint64, np.uint64, np.int32)
    made = [np.array(column, kind) for column, kind in zip(painted, dtypes, strict=True)]
    rest = (ids[~where], begins[~where], ends[~where], codes[~where])
    ids, begins, ends, codes = joined([rest, (made[0], made[1], made[2], made[3])])
    order = np.lexsort((begins, ids))
    return ids[order], begins[order], ends[order], codes[order]


def _painted(
    ids: list[int], begins: list[int], ends: list[int], ranks: list[int], codes: list[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    # of rows sorted by id and begin: what the highest rank says between any two edges
    painted: list[tuple[int, int, int, int]] = []
    at = 0
    for id_, group in itertools.groupby(ids):
        stop = at + sum(1 for _ in group)
        heap: list[tuple[int, int, int]] = []
        edges = sorted({*begins[at:stop], *ends[at:stop]})
        for left, right in itertools.pairwise(edges):
            while at < stop and begins[at] == left:
                heapq.heappush(heap, (-ranks[at], ends[at], codes[at]))
                at += 1
            while heap and heap[0][1] <= left:
                heapq.heappop(heap)
            if not heap:
                continue
            code = heap[0][2]
            if painted and painted[-1][::2] == (id_, left) and painted[-1][3] == code:
                painted[-1] = (id_, painted[-1][1], right, code)
            else:
                painted.append((id_, left, right, code))
    columns = zip(*painted, strict=True)
    made = [list(column) for column in columns]
    return made[0], made[1], made[2], made[3]


def table_of(rows: Rows | None) -> SymbolTable:
    """
    Make the table that the core looks symbols up in.

    Parameters
    ----------
    rows : Rows or None
        Sorted and disjoint; None for none.

    Returns
    -------
    SymbolTable
    """
    if rows is None:
        none = np.empty(0, np.uint64)
        return SymbolTable(
            none.astype(np.uint32), np.zeros(1, np.int64), none, none, none.astype(np.int32)
        )
    mapped = rows[3] != UNMAPPED
    ids, begins, ends, codes = (column[mapped] for column in rows)
    first = np.flatnonzero(is_first(ids))
    return SymbolTable(ids[first], np.append(first, len(ids)), begins, ends, codes)
