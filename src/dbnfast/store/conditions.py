"""What a filter asks for, and several filters in one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.times import as_datetime64, to_ns
from dbnfast.enums import RType, Schema
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.records.filters import Filter, ids_of, rtypes_of

if TYPE_CHECKING:
    from dbnfast._typing import Schemas
    from dbnfast._util.times import Time

SHOWN: Final = 5  # of each that a text shows
_NAMES: Final = ("schema", "instrument_ids", "publishers", "start", "end")


@dataclass(frozen=True)
class Conditions:
    """
    What a filter asks for: every condition that is not None has to be met.

    Attributes
    ----------
    asked : Schema, RType, str, list of these or None
        The schemas, as the caller named them.
    schema : RType, str, list or None
        The same, as each source takes them.
    symbols : tuple of str or None
        The symbols, as frames have them.
    instrument_ids, publishers : tuple of int or None
        The ids.
    start, end : int or None
        Half-open range of the index timestamp, ns since 1970-01-01 UTC.
    check_order : bool
        Whether a file is read whole where its order would tell what to read of it.
    """

    asked: Any = None
    schema: Any = None
    symbols: tuple[str, ...] | None = None
    instrument_ids: tuple[int, ...] | None = None
    publishers: tuple[int, ...] | None = None
    start: int | None = None
    end: int | None = None
    check_order: bool = False

    def __bool__(self) -> bool:
        others = (self.schema, self.symbols, self.instrument_ids, self.publishers)
        return self.by_time or any(value is not None for value in others)

    @property
    def by_time(self) -> bool:
        """Whether there is a range of time."""
        return self.start is not None or self.end is not None

    @property
    def of_records(self) -> dict[str, Any]:
        """What `Filter` takes: all that a record's header and times tell."""
        given = {name: getattr(self, name) for name in _NAMES}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def only_time(self) -> bool:
        """Whether the range of time is all there is."""
        return self.symbols is None and self.of_records.keys() <= {"start", "end"}

    def told(self) -> str:
        """
        Say what they are.

        Returns
        -------
        str
            As the arguments of a filter; many ids and symbols as their number.
        """
        said = []
        for name in ("asked", "symbols", "instrument_ids", "publishers"):
            value = getattr(self, name)
            if value is None:
                continue
            values = _listed(value) if name == "asked" else list(value)
            few = ", ".join(str(one) for one in values[:SHOWN])
            more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
            said.append(f"{'schema' if name == 'asked' else name} {few or 'none'}{more}")
        for name, word in (("start", "from"), ("end", "to")):
            time = getattr(self, name)
            if time is not None:
                shown = as_datetime64(time)
                said.append(f"{word} {f'{time} ns' if np.isnat(shown) else shown}")
        return "; ".join(said)

    def joined(self, other: Conditions, own: Schema | None) -> Conditions:
        """
        Ask for what both ask for.

        Parameters
        ----------
        other : Conditions
            The later ones.
        own : Schema or None
            The schema of the stream.

        Returns
        -------
        Conditions
        """
        start = _of_both(max, self.start, other.start)
        end = _of_both(min, self.end, other.end)
        if start is not None and end is not None:
            end = max(start, end)  # ranges that do not meet leave nothing
        return Conditions(
            _both_schemas(self.asked, other.asked, own) or other.asked,
            _both_schemas(self.schema, other.schema, own),
            _in_both(self.symbols, other.symbols),
            _in_both(self.instrument_ids, other.instrument_ids),
            _in_both(self.publishers, other.publishers),
            start,
            end,
            self.check_order or other.check_order,
        )


def conditions(
    own: Schema | None,
    *,
    schema: Schemas | None,
    symbols: Iterable[str] | str | None,
    instrument_ids: Iterable[int] | int | None,
    publishers: Iterable[int] | int | None,
    start: Time | None,
    end: Time | None,
    check_order: bool,
) -> Conditions:
    """
    Read the arguments of a filter.

    Parameters
    ----------
    own : Schema or None
        The schema of the stream.
    schema, symbols, instrument_ids, publishers, start, end, check_order
        As `Store.filter` takes them.

    Returns
    -------
    Conditions

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.
    """
    if not isinstance(check_order, bool):
        raise TypeError(f"check_order is of type {type(check_order).__name__}, expected bool")
    asked: Any = schema
    if schema is not None and not isinstance(schema, str | RType) and hasattr(schema, "__iter__"):
        asked = list(schema)
        if len(asked) == 1:
            (asked,) = asked
    ids, ids_of_publishers = (
        ids_of("instrument_ids", instrument_ids), ids_of("publishers", publishers)
    )  # fmt: skip
    shared = asked if asked is None or own is not None else _as_shared(asked)
    Filter(own, shared, None, None, start, end)  # says now what is wrong
    return Conditions(
        asked,
        shared,
        None if symbols is None else _symbols(symbols),
        None if ids is None else tuple(ids.tolist()),
        None if ids_of_publishers is None else tuple(ids_of_publishers.tolist()),
        None if start is None else to_ns("start", start),
        None if end is None else to_ns("end", end),
        check_order,
    )


def _as_shared(schema: Any) -> Any:
    # Where no schema is the store's own, each of tbbo and mbp-1 means the rtype that both have,
    # whatever a single file's own schema is.
    if isinstance(schema, list):
        return [_as_shared(one) for one in schema]
    return RType.MBP_1 if as_rtype(schema)[1] == RType.MBP_1 else schema


def _symbols(symbols: Iterable[str] | str) -> tuple[str, ...]:
    if not isinstance(symbols, Iterable):
        raise TypeError(f"symbols is {symbols!r}, expected a str or several")
    found = [symbols] if isinstance(symbols, str) else list(symbols)
    for symbol in found:
        if not isinstance(symbol, str):
            raise TypeError(f"one of symbols is {symbol!r}, expected a str")
    return tuple(dict.fromkeys(found))


def _of_both(choose: Any, one: int | None, other: int | None) -> int | None:
    given = [value for value in (one, other) if value is not None]
    return choose(given) if given else None


def _in_both(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    known = set(one)
    return tuple(value for value in other if value in known)


def _both_schemas(one: Any, other: Any, own: Schema | None) -> Any:
    if one is None or other is None:
        return other if one is None else one
    known = frozenset[int]().union(*(rtypes_of(name, own) for name in _listed(one)))
    both: list[Any] = []
    for name in _listed(other):
        rtypes = rtypes_of(name, own)  # of some schemas several
        both += [name] if rtypes <= known else map(RType, sorted(rtypes & known))
    return both[0] if len(both) == 1 else both


def _listed(schema: Any) -> list[Any]:
    return schema if isinstance(schema, list) else [schema]
