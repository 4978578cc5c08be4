"""How values are written: prices, times, text and codes; and records as rows of them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast.layouts.fields import CHAR, CSTR, ENUM, INT, PRICE, TIMESTAMP, TS_OUT, Field, Layout
from dbnfast.layouts.table import HEADER_DTYPE, HEADER_SIZE, layout_by_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbnfast.enums import RType
    from dbnfast.records.records import Records

    Value = str | int | None
    Row = dict[str, Value]

SCALE: Final = 10**9
EPOCH: Final = datetime.datetime(1970, 1, 1)


def printable(text: str) -> str:
    """
    Escape what a terminal would not show as it is.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def format_price(value: int) -> str | None:
    """
    Write a price as a decimal, exactly.

    Parameters
    ----------
    value : int
        The price in 1e-9, any int64.

    Returns
    -------
    str or None
        With two decimals or as many as it needs; None where it is undefined.

    Examples
    --------
    >>> format_price(4769250000000), format_price(-1), format_price(2**63 - 1)
    ('4769.25', '-0.000000001', None)
    """
    if value == 2**63 - 1:
        return None
    whole, part = divmod(abs(value), SCALE)
    return f"{'-' * (value < 0)}{whole}.{f'{part:09}'.rstrip('0'):0<2}"


def format_time(value: int) -> str | None:
    """
    Write a time as UTC, to the nanosecond.

    Parameters
    ----------
    value : int
        Nanoseconds since 1970-01-01 UTC, any uint64.

    Returns
    -------
    str or None
        As ISO 8601; None where it is undefined.

    Examples
    --------
    >>> format_time(1609160400000429831)
    '2020-12-28T13:00:00.000429831Z'
    """
    if value == 2**64 - 1:
        return None
    seconds, part = divmod(value, SCALE)
    return f"{(EPOCH + datetime.timedelta(seconds=seconds)).isoformat()}.{part:09}Z"


def format_text(value: bytes) -> str:
    """
    Read NUL-padded text.

    Parameters
    ----------
    value : bytes
        The field.

    Returns
    -------
    str
    """
    return value.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def format_char(value: bytes) -> str | None:
    """
    Read a one-character field.

    Parameters
    ----------
    value : bytes
        The field, empty for NUL.

    Returns
    -------
    str or None
        None for NUL.
    """
    return value.decode("latin-1") or None


@cache
def enum_names(enum: type[Enum]) -> dict[int, str]:
    """
    Give the names of an enumeration's codes.

    Parameters
    ----------
    enum : type
        One of `dbnfast.enums`.

    Returns
    -------
    dict
        Names by code.
    """
    members: list[Any] = list(enum)
    plain = [str(m) == str(int(m)) for m in members]
    return {
        int(m): m.name.lower() if bare else str(m) for m, bare in zip(members, plain, strict=True)
    }


def converter(field: Field, raw: bool, names: bool) -> Callable[[Any], Value]:
    """
    Find how a field's values are shown.

    Parameters
    ----------
    field : Field
        The field.
    raw : bool
        Whether numbers stay the integers that they are.
    names : bool
        Whether codes become names.

    Returns
    -------
    callable
        From what ``ndarray.tolist`` gives; its result is None where undefined.
    """
    if field.kind == CHAR:
        return format_char
    if field.kind == CSTR:
        return format_text
    if raw:
        return int
    if field.kind == PRICE:
        return format_price
    if field.kind == TIMESTAMP:
        return format_time
    undef = field.undef if field.has_undef and field.kind in (INT, ENUM) else None
    known = enum_names(field.enum) if names and field.enum is not None else {}
    return lambda value: None if value == undef else known.get(value, value)


@dataclass(frozen=True)
class Style:
    """
    How records are written.

    Attributes
    ----------
    raw : bool
        Whether numbers stay the integers that they are.
    names : bool
        Whether codes become names.
    all_levels : bool
        Whether all book levels are shown, or the first alone.
    """

    raw: bool = False
    names: bool = True
    all_levels: bool = False

    def fields(self, layout: Layout, ts_out: bool) -> list[Field]:
        """
        List the fields to show, in the official text order.

        Parameters
        ----------
        layout : Layout
            The records'.
        ts_out : bool
            Whether a ts_out follows every record.

        Returns
        -------
        list of Field
        """
        shown = [f for f in layout.ordered if self.all_levels or not f.level]
        return [*shown, TS_OUT.at(layout.size)] if ts_out else shown


def layout_of(records: Records, key: RType | int) -> Layout | None:
    """
    Find the layout of records that are all alike.

    Parameters
    ----------
    records : Records
        One or more, of one rtype and size.
    key : RType or int
        The rtype.

    Returns
    -------
    Layout or None
        None where the rtype has none.
    """
    return layout_by_size(int(key), records.nbytes // len(records), records.ts_out)


def rows(records: Records, style: Style) -> Iterator[tuple[RType | int, Layout | None, Row]]:
    """
    Iterate over records as rows of shown values.

    Parameters
    ----------
    records : Records
        Of any types.
    style : Style
        How to write them.

    Yields
    ------
    rtype, layout, row
        The row has the values by field name; of an rtype without a layout the header's fields
        and ``data``, the bytes behind them in hexadecimal.
    """
    for run in records.runs():
        key = next(iter(run.counts))
        layout = layout_of(run, key)
        if layout is None:
            for row in _unknown_rows(run, style):
                yield key, None, row
            continue
        array = run.array()
        places = {name: at for at, name in enumerate(array.dtype.names or ())}
        plan = [
            (field.name, places[field.name], converter(field, style.raw, style.names))
            for field in style.fields(layout, run.ts_out)
        ]
        for record in array.tolist():
            yield key, layout, {name: show(record[at]) for name, at, show in plan}


def _unknown_rows(run: Records, style: Style) -> Iterator[Row]:
    data = run.tobytes()
    size = len(data) // len(run)
    for at in range(0, len(data), size):
        header = np.frombuffer(data, HEADER_DTYPE, 1, at).tolist()[0]
        _, rtype, publisher_id, instrument_id, ts_event = header
        yield {
            "ts_event": ts_event if style.raw else format_time(ts_event),
            "rtype": rtype,
            "publisher_id": publisher_id,
            "instrument_id": instrument_id,
            "data": data[at + HEADER_SIZE : at + size].hex(),
        }
