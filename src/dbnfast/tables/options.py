"""What a table is to look like: its options, checked, and the columns chosen."""

from __future__ import annotations

import datetime
import zoneinfo
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbnfast.enums import PriceType, one_of
from dbnfast.layouts.fields import Field
from dbnfast.tables.columns import MOVE, Request, Rows
from dbnfast.tables.symbols import SYMBOL

if TYPE_CHECKING:
    from collections.abc import Sequence


CATEGORIES: Final = ("action", "side")


ID: Final = "instrument_id"
PUBLISHER: Final = "publisher_id"


@dataclass(frozen=True)
class FrameOptions:
    """
    What a frame is to look like.

    Attributes
    ----------
    price_type : PriceType
        What prices become.
    pretty_ts : bool
        Whether times become timestamps, or stay uint64 ns.
    tz : tzinfo
        The zone of the timestamps.
    columns : tuple of str or None
        The columns wanted, in their order; None for all.
    categorical : bool
        Whether action, side and symbol become categories.
    map_symbols : bool
        Whether there is a symbol column.
    """

    price_type: PriceType = PriceType.FLOAT
    pretty_ts: bool = True
    tz: datetime.tzinfo = field(default=datetime.UTC)
    columns: tuple[str, ...] | None = None
    categorical: bool = False
    map_symbols: bool = True

    @property
    def names_symbols(self) -> bool:
        """Whether the symbol column is among those wanted."""
        return self.map_symbols and (self.columns is None or SYMBOL in self.columns)


def frame_options(
    price_type: PriceType | str = PriceType.FLOAT,
    pretty_ts: bool = True,
    map_symbols: bool = True,
    tz: datetime.tzinfo | str | None = None,
    columns: Sequence[str] | None = None,
    categorical: bool = False,
) -> FrameOptions:
    """
    Check the options of a frame.

    Parameters
    ----------
    price_type : PriceType or str
        ``"fixed"``, ``"float"`` or ``"decimal"``.
    pretty_ts : bool
        Whether times become timestamps.
    map_symbols : bool
        Whether there is a symbol column.
    tz : tzinfo or str, optional
        The zone of the timestamps; None for UTC.
    columns : sequence of str, optional
        The columns wanted.
    categorical : bool
        Whether action, side and symbol become categories.

    Returns
    -------
    FrameOptions

    Raises
    ------
    TypeError, ValueError
        An option is not what it should be.
    """
    if tz is not None and not pretty_ts:
        raise ValueError("tz needs pretty_ts=True: times that stay integers have no zone")
    if isinstance(tz, str):
        try:
            tz = zoneinfo.ZoneInfo(tz)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"tz is {tz!r}, expected the name of a time zone") from None
    elif tz is not None and not isinstance(tz, datetime.tzinfo):
        raise TypeError(f"tz is {tz!r}, expected a tzinfo or the name of a time zone")
    if isinstance(columns, str):
        raise TypeError(f"columns is {columns!r}, expected a list of names")
    return FrameOptions(
        PriceType(price_type),
        bool(pretty_ts),
        datetime.UTC if tz is None else tz,
        None if columns is None else tuple(columns),
        bool(categorical),
        bool(map_symbols),
    )


def wanted_fields(
    rows: Rows, columns: Sequence[str] | None, map_symbols: bool
) -> tuple[list[Field], list[str]]:
    """
    Choose the fields of a table.

    Parameters
    ----------
    rows : Rows
        The records.
    columns : sequence of str or None
        The names wanted; None for all.
    map_symbols : bool
        Whether there is a symbol column.

    Returns
    -------
    fields, order
        The fields to make, the index timestamp first in any case; and the names of the
        columns beside it, in their order.

    Raises
    ------
    ValueError
        There is no such column.
    """
    fields = rows.fields
    by_name = {f.name: f for f in fields}
    index = fields[0]
    if columns is None:
        return fields, [*list(by_name)[1:], *([SYMBOL] if map_symbols else [])]
    known = [*by_name, SYMBOL] if map_symbols else [*by_name]
    for name in columns:
        if name not in known:
            raise ValueError(f"there is no column {name!r}{one_of(name, known)}")
    order = [name for name in dict.fromkeys(columns) if name != index.name]
    return [index, *(by_name[name] for name in order if name in by_name)], order


def hidden_requests(rows: Rows, requests: Sequence[Request]) -> list[Request]:
    """
    List what symbols are found by and nobody asked for.

    Parameters
    ----------
    rows : Rows
        The records.
    requests : sequence of Request
        What is made in any case.

    Returns
    -------
    list of Request
    """
    made = {request.name for request in requests}
    index = rows.fields[0]
    needed = {ID: rows.layout.by_name[ID], index.name: index}
    return [Request(name, MOVE, f) for name, f in needed.items() if name not in made]
