"""Which symbol a record is of: maps made of intervals, and symbols in the order of a stream."""

from __future__ import annotations

import itertools
import json
import operator
import os
from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.symbols import SymbolTable, lookup
from dbnfast._util.times import DAY, as_stamps, moment
from dbnfast.codec.metadata import as_metadata
from dbnfast.enums import UNDEF_TIMESTAMP, RType, SType
from dbnfast.records.headers import selected_rtypes
from dbnfast.records.records import Records
from dbnfast.symbology.codes import (
    Numbers,
    check_records,
    codes_of_table,
    mapping_symbols,
    smart_symbol,
    texts_of,
)
from dbnfast.symbology.intervals import (
    UNMAPPED,
    Columns,
    columns_of,
    columns_of_json,
    disjoint,
    is_first,
    is_forward,
    joined,
    midnights,
    parsed_ids,
    table_of,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dbnfast._typing import Codes, Column
    from dbnfast._util.times import Time
    from dbnfast.codec.metadata import Metadata
    from dbnfast.symbology.intervals import Rows

    JsonData = str | bytes | os.PathLike[str] | Mapping[str, Any] | IO[str] | IO[bytes]


RESOLVE_KEYS: Final = (
    "result", "symbols", "stype_in", "stype_out", "start_date", "end_date", "partial",
    "not_found", "message", "status",
)  # fmt: skip


class SymbolMap:
    """
    The symbols of instruments over time.

    Intervals are half-open, in ns; days begin at midnight UTC. If intervals overlap, the one that
    was inserted later applies.

    Notes
    -----
    ``len()`` is the number of intervals, none of which overlap. Any number of threads may read a
    map; whoever inserts must be alone with it. The first look-up after an insertion sorts all
    intervals: it is better to insert many, then look many up. Timestamps are index timestamps:
    ``ts_recv``, or ``ts_event`` of records that have none. Source: ``docs/format.md``, "Symbol
    mapping".
    """

    __module__ = "dbnfast"  # where users find it

    __slots__ = ("_ids", "_numbers", "_parts", "_table")

    _numbers: Numbers
    _parts: list[Rows]
    _table: SymbolTable | None
    _ids: set[int] | None

    def __init__(self) -> None:
        self.clear()

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> SymbolMap:
        """
        Make a map from the mappings of a header.

        Parameters
        ----------
        metadata : Metadata
            Of this package, or of databento_dbn. Its stype_out or stype_in is ``instrument_id``.

        Returns
        -------
        SymbolMap

        Raises
        ------
        TypeError, ValueError
            As `insert_metadata` raises them.
        """
        made = cls()
        made.insert_metadata(metadata)
        return made

    def clear(self) -> None:
        """Forget all intervals and symbols."""
        self._numbers = Numbers()
        self._parts = []
        self._table = None
        self._ids = None  # made when it is asked for

    def __len__(self) -> int:
        return self._built().n_intervals

    def __bool__(self) -> bool:
        return len(self) > 0

    def __repr__(self) -> str:
        table = self._built()
        return f"<SymbolMap: {table.n_intervals} intervals of {table.n_ids} instruments>"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, indexed by code; a code keeps its symbol until `clear`."""
        return tuple(self._numbers.symbols)

    def insert_metadata(self, metadata: Metadata) -> None:
        """
        Insert the mappings of a header.

        Parameters
        ----------
        metadata : Metadata
            Of this package, or of databento_dbn. Where its stype_out is ``instrument_id``,
            intervals hold ids and the mapping's name is the symbol; else, where its stype_in is,
            the reverse.

        Raises
        ------
        TypeError
            `metadata` is not Metadata.
        ValueError
            Neither is ``instrument_id``, an id is not 0 to 2**32 - 1, or an interval ends before
            it starts.
        MetadataError
            A date is none in the calendar, or a text not UTF-8.
        """
        metadata = as_metadata(metadata)
        forward = is_forward(metadata.stype_in, metadata.stype_out)
        self._insert(forward, columns_of(metadata))

    def insert_json(self, json_data: JsonData) -> None:
        """
        Insert the result of a ``symbology.resolve`` request, or a ``symbology.json`` file.

        Parameters
        ----------
        json_data : str, path-like, mapping or readable
            JSON, the path of such a file, or what was read from it. Dates may have a time, which
            then does not count.

        Raises
        ------
        TypeError
            It is none of these.
        ValueError
            It is no JSON, a key is missing, or as `insert_metadata`.
        """
        data = resolved(json_data)
        forward = is_forward(SType(data["stype_in"]), SType(data["stype_out"]))
        self._insert(forward, columns_of_json(data["result"]))

    def insert_symbol_mapping_msg(self, msg: Any) -> None:
        """
        Insert symbol mapping records.

        Parameters
        ----------
        msg : Records, or a symbol mapping record of any version
            Of Records those that are symbol mappings. The symbol is ``stype_out_symbol``, or
            ``stype_in_symbol`` where that is a number. It holds from start_ts to end_ts. Without
            start_ts, an id's first mapping holds from the beginning of time, later ones from their
            ts_event; without end_ts, they hold for ever.

        Raises
        ------
        TypeError
            It is neither.
        ValueError
            A mapping ends before it starts.
        """
        names = ("instrument_id", "start_ts", "end_ts", "ts_event")
        if isinstance(msg, Records):
            array = msg.array(RType.SYMBOL_MAPPING)
            columns = [array[name].tolist() for name in names]
            symbols = mapping_symbols(array, text=False)
        elif hasattr(msg, "stype_out_symbol"):
            columns = [[int(getattr(msg, name))] for name in names]
            symbols = [smart_symbol(msg.stype_in_symbol, msg.stype_out_symbol)]
        else:
            raise TypeError(f"{type(msg).__name__} is no symbol mapping record, and no Records")
        known, new = self._known_ids(), set[int]()
        rows = []
        for id_, start, end, ts, symbol in zip(*columns, symbols, strict=True):
            if symbol is None:
                continue
            if UNDEF_TIMESTAMP != start > end:
                raise ValueError(
                    f"the mapping of instrument {id_} to {symbol!r} starts at {start} ns and ends "
                    f"at {end} ns, before that"
                )
            if start == UNDEF_TIMESTAMP:
                start = ts if id_ in known or id_ in new else 0
            if start < end:
                new.add(id_)
                rows.append((id_, start, end, symbol))
        codes = self._numbers.of(symbol for _, _, _, symbol in rows)
        ids = np.array([row[0] for row in rows], np.uint32)
        begins = np.array([row[1] for row in rows], np.uint64)
        ends = np.array([row[2] for row in rows], np.uint64)
        self._add(ids, begins, ends, codes)

    def insert_definitions(self, records: Records | np.ndarray[Any, Any]) -> None:
        """
        Insert the raw symbols of definitions.

        Parameters
        ----------
        records : Records or structured array
            Of Records those that are definitions. An id's first one holds from midnight UTC before
            it, a later one with another symbol from its ts_recv. A definition that is deleted ends
            what holds at its ts_recv.

        Raises
        ------
        TypeError
            `records` are not definitions.
        """
        array: Any = records
        if isinstance(records, Records):
            array = records.array(RType.INSTRUMENT_DEF)
        if "raw_symbol" not in (getattr(getattr(array, "dtype", None), "names", None) or ()):
            raise TypeError(f"{type(records).__name__} is no Records, and no array of definitions")
        texts = texts_of(array["raw_symbol"])
        usable = np.fromiter(map(bool, texts), bool, len(texts))
        usable &= array["ts_recv"] != UNDEF_TIMESTAMP
        order = np.lexsort((array["ts_recv"], array["instrument_id"]))
        order = order[usable[order]]
        codes = self._numbers.of(texts[i] for i in order.tolist())
        deleted = array["security_update_action"][order] == b"D"
        self._add_changes(array["instrument_id"][order], array["ts_recv"][order], codes, deleted)

    def _add_changes(self, ids: Column, stamps: Column, codes: Column, deleted: Column) -> None:
        # what definitions sorted by id and time say, where that is something new
        first = is_first(ids)
        known = self._known_ids()
        new = first.copy()
        new[first] = [id_ not in known for id_ in ids[first].tolist()]
        after = np.where(deleted, np.int32(UNMAPPED), codes)
        before = np.roll(after, 1)
        before[first] = self.codes(ids[first], stamps[first])
        days = stamps - stamps % np.uint64(DAY)
        gone = new & deleted  # all that is known of it is its end
        self._add(ids[gone], days[gone], stamps[gone], codes[gone])
        begins = np.where(new & ~deleted, days, stamps)
        changed = (after != before) | gone
        ids, begins, after = ids[changed], begins[changed], after[changed]
        ends = np.full(len(ids), UNDEF_TIMESTAMP, np.uint64)
        follows = np.flatnonzero(~is_first(ids))
        ends[follows - 1] = begins[follows]
        self._add(ids, begins, ends, after)

    def resolve(self, instrument_id: int, time: Time) -> str | None:
        """
        Return the symbol of an instrument at a given time.

        Parameters
        ----------
        instrument_id : int
            The id, 0 to 2**32 - 1.
        time : date, datetime64, str or int
            A date is its midnight UTC, a time without a zone UTC, an int ns since 1970-01-01 UTC,
            text ISO 8601.

        Returns
        -------
        str or None
            None where it is unmapped, as at times before 1970 or behind July 2554.

        Raises
        ------
        TypeError, ValueError
            The id or the time has the wrong type or value.
        """
        number = operator.index(instrument_id)
        if not 0 <= number < 2**32:
            raise ValueError(f"instrument_id is {number}, expected 0 to 2**32 - 1")
        code = self._built().code(number, moment(time))
        return None if code < 0 else self._numbers.symbols[code]

    def resolve_many(
        self, instrument_ids: ArrayLike, times: ArrayLike
    ) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        """
        Return the symbols of instruments at given times.

        Parameters
        ----------
        instrument_ids, times
            As `codes` takes them.

        Returns
        -------
        ndarray of object, shape (n,)
            Texts, None where unmapped; a new array.

        Raises
        ------
        TypeError, ValueError
            As `codes` raises them.
        """
        codes = self.codes(instrument_ids, times)
        symbols = np.empty(len(self._numbers.symbols) + 1, object)
        symbols[:-1] = self._numbers.symbols
        return symbols[codes]  # -1 is the last one, None

    def codes(self, instrument_ids: ArrayLike, index_ts: ArrayLike) -> Codes:
        """
        Return the codes of instruments at given times.

        Parameters
        ----------
        instrument_ids : array of int, shape (n,)
            Ids, 0 to 2**32 - 1.
        index_ts : array of int, datetime64 or str, shape (n,)
            Times; ints are ns since 1970-01-01 UTC, a date is its midnight UTC, text is ISO 8601.

        Returns
        -------
        ndarray of int32, shape (n,)
            Indexes of `symbols`, -1 where unmapped; a new array. 2**64 - 1, NaT, and times before
            1970 or behind July 2554 are unmapped.

        Raises
        ------
        TypeError, ValueError
            The ids or times have a wrong type or value, or differ in number.
        """
        ids, stamps = _id_array(instrument_ids), as_stamps(index_ts)
        if ids.shape != stamps.shape or ids.ndim != 1:
            raise ValueError(
                f"instrument_ids have shape {ids.shape} and times {stamps.shape}, expected (n,)"
            )
        out = np.empty(len(ids), np.int32)
        lookup(self._built(), ids, stamps, out)
        return out

    def codes_of(self, records: Records, schema: Any = None) -> Codes:
        """
        Return the codes of records, by their index timestamps.

        Parameters
        ----------
        records : Records
            The records.
        schema : Schema, RType or str, optional
            Which of them, as `Records.array` takes it; None for all.

        Returns
        -------
        ndarray of int32, shape (n,)
            Indexes of `symbols` in the stream's order, -1 where unmapped; a new array.

        Raises
        ------
        TypeError, ValueError
            `records` is not Records, or there is no such schema.
        """
        check_records(records)
        rtypes = None if schema is None else selected_rtypes(records, schema)
        return codes_of_table(self._built(), records, rtypes)

    def _insert(self, forward: bool, columns: Columns) -> None:
        raw_symbols, rows, starts, ends, symbols = columns
        if not all(symbols):  # an empty one says that there was none
            mapped = np.fromiter(map(bool, symbols), bool, len(symbols))
            rows, starts, ends = rows[mapped], starts[mapped], ends[mapped]
            symbols = list(filter(None, symbols))
        ids = parsed_ids(symbols) if forward else parsed_ids(raw_symbols)[rows]
        wrong = np.flatnonzero(starts > ends)
        if wrong.size:
            at = wrong[0]
            raise ValueError(
                f"the mapping of {raw_symbols[rows[at]]!r} to {symbols[at]!r} starts on "
                f"{starts[at].astype('M8[D]')} and ends on {ends[at].astype('M8[D]')}, before that"
            )
        if forward:
            used = np.zeros(len(raw_symbols), bool)
            used[rows] = True
            by_row = np.empty(len(raw_symbols), np.int32)
            by_row[used] = self._numbers.of(itertools.compress(raw_symbols, used.tolist()))
            codes = by_row[rows]
        else:
            codes = self._numbers.of(symbols)
        self._add(ids, midnights(starts), midnights(ends), codes)

    def _add(self, ids: Column, begins: Column, ends: Column, codes: Column) -> None:
        some = begins < ends
        ids, begins, ends, codes = ids[some], begins[some], ends[some], codes[some]
        if len(ids):
            self._parts.append((ids, begins, ends, codes))
            self._table = None
            if self._ids is not None:
                self._ids.update(ids.tolist())

    def _known_ids(self) -> set[int]:
        if self._ids is None:
            self._ids = {id_ for part in self._parts for id_ in part[0].tolist()}
        return self._ids

    def _built(self) -> SymbolTable:
        # Threads that come at once make the same table each.
        table = self._table
        if table is None:
            parts = self._parts
            rows = disjoint(joined(parts)) if parts else None
            table = self._table = table_of(rows)
            self._parts = [] if rows is None else [rows]
        return table


def ids_of_symbols(symbol_map: SymbolMap, symbols: Iterable[str]) -> set[int]:
    """
    Find the instruments that have symbols at any time.

    Parameters
    ----------
    symbol_map : SymbolMap
        What has the symbols.
    symbols : iterable of str
        The symbols.

    Returns
    -------
    set of int
        Their ids, also where a later mapping took the place of one.
    """
    known = symbol_map._numbers.codes
    wanted = [known[symbol] for symbol in symbols if symbol in known]
    found: set[int] = set()
    for ids, _, _, codes in symbol_map._parts:
        found.update(ids[np.isin(codes, wanted)].tolist())
    return found


def resolved(json_data: JsonData) -> Mapping[str, Any]:
    """
    Read the result of a ``symbology.resolve`` request.

    Parameters
    ----------
    json_data : str, mapping or text file
        As `SymbolMap.insert_json` takes it.

    Returns
    -------
    mapping
        Whole, but its intervals are not looked at.

    Raises
    ------
    TypeError
        It is none of these.
    ValueError
        It is no JSON, or a key is missing.
    """
    data: Any = json_data
    if isinstance(data, os.PathLike) or (isinstance(data, str) and _is_path(data)):
        with open(os.path.expanduser(data), encoding="utf-8") as file:
            data = json.load(file)
    elif isinstance(data, str | bytes):
        try:
            data = json.loads(data)
        except json.JSONDecodeError as error:
            said = f"json_data is {data[:60]!r}, neither JSON nor a file: {error}"
            raise ValueError(said) from None
    elif hasattr(data, "read"):
        data = json.load(data)
    elif not isinstance(data, Mapping):
        raise TypeError(f"json_data is a {type(data).__name__}, expected JSON, a path or a mapping")
    missing = [key for key in RESOLVE_KEYS if not isinstance(data, Mapping) or key not in data]
    if missing:
        raise ValueError(f"no whole result of symbology.resolve: {missing[0]!r} is missing")
    if not isinstance(data["result"], Mapping):
        raise ValueError(f"'result' is a {type(data['result']).__name__}, expected a mapping")
    found: Mapping[str, Any] = data
    return found


def _is_path(text: str) -> bool:
    # JSON that is meant here begins with a brace, and no name does that is not there
    return not text.lstrip().startswith("{") and os.path.isfile(os.path.expanduser(text))


def _id_array(values: ArrayLike) -> Column:
    ids = np.asarray(values)
    if not ids.size:
        return ids.astype(np.uint32)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"instrument_ids are {ids.dtype}, expected integers")
    if ids.dtype != np.uint32 and (ids.min() < 0 or ids.max() >= 2**32):
        raise ValueError(f"instrument_ids are {ids.min()} to {ids.max()}, expected 0 to 2**32 - 1")
    return ids.astype(np.uint32, "C", copy=False)
