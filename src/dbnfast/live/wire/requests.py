"""Subscriptions: what a user asks for, checked, and the lines that ask the gateway for it."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from dbnfast._util.times import instant
from dbnfast.enums import Schema, SType
from dbnfast.live.wire.lines import format_line

ALL_SYMBOLS: Final = "ALL_SYMBOLS"
CHUNK: Final = 500  # symbols in a line
PARTS: Final = 3  # of a parent or continuous symbol at most


@dataclass(frozen=True)
class SubscriptionRequest:
    """
    One line that asks for records.

    Attributes
    ----------
    schema : Schema
        What of.
    stype_in : SType
        What the symbols are.
    symbols : str
        With commas between them, or ``ALL_SYMBOLS``.
    start : int or None
        Where replay begins, in ns since 1970-01-01 UTC; 0 for all there is.
    snapshot : int
        1 to begin with the state of the book.
    id : int or None
        Of the subscription.
    is_last : int
        1 on the last line of a subscription.
    """

    schema: Schema
    stype_in: SType
    symbols: str
    start: int | None = None
    snapshot: int = 0
    id: int | None = None
    is_last: int = 1

    def __bytes__(self) -> bytes:
        return format_line(
            {
                "schema": self.schema,
                "stype_in": self.stype_in,
                "symbols": self.symbols,
                "start": self.start,
                "snapshot": self.snapshot,
                "id": self.id,
                "is_last": self.is_last,
            }
        )


@dataclass(frozen=True)
class Subscription:
    """
    What one call of ``subscribe`` asked for.

    Attributes
    ----------
    id : int
        Counted from 0 in a session.
    schema : Schema
        What of.
    stype_in : SType
        What the symbols are.
    symbols : tuple of str
        Them, or ``ALL_SYMBOLS`` alone.
    start : int or None
        Where replay begins, in ns since 1970-01-01 UTC; 0 for all there is.
    snapshot : bool
        Whether to begin with the state of the book.
    """

    id: int
    schema: Schema
    stype_in: SType
    symbols: tuple[str, ...]
    start: int | None = None
    snapshot: bool = False

    @property
    def requests(self) -> tuple[SubscriptionRequest, ...]:
        """The lines that ask for it, of 500 symbols each, the last one marked."""
        chunks = [self.symbols[at : at + CHUNK] for at in range(0, len(self.symbols), CHUNK)]
        return tuple(
            SubscriptionRequest(
                self.schema,
                self.stype_in,
                ",".join(chunk),
                self.start,
                int(self.snapshot),
                self.id,
                int(chunk is chunks[-1]),
            )
            for chunk in chunks
        )

    def resumed(self, start: int | None, *, snapshot: bool = False) -> Subscription:
        """
        Give the same subscription with another beginning.

        Parameters
        ----------
        start : int or None
            Where replay begins; None for now.
        snapshot : bool
            Whether to begin with the state of the book.

        Returns
        -------
        Subscription
        """
        return replace(self, start=start, snapshot=snapshot)


def subscription(
    id: int,
    schema: Schema | str,
    symbols: Iterable[str | int] | str | int | None = ALL_SYMBOLS,
    stype_in: SType | str = SType.RAW_SYMBOL,
    start: Any = None,
    snapshot: bool = False,
) -> Subscription:
    """
    Check what a user asks for.

    Parameters
    ----------
    id : int
        The subscription's number.
    schema : Schema or str
        What of.
    symbols : iterable of str or int, str, int or None
        The symbols; a text may hold several with commas between them. None for all.
    stype_in : SType or str
        What the symbols are.
    start : Timestamp, datetime64, datetime, date, str or int, optional
        Where replay begins; ints are ns since 1970-01-01 UTC, naive times UTC.
    snapshot : bool
        Whether to begin with the state of the book.

    Returns
    -------
    Subscription

    Raises
    ------
    TypeError, ValueError
        It cannot be asked for.
    """
    schema, stype_in = Schema(schema), SType(stype_in)
    begin = None if start is None else instant(start)
    if snapshot and start is not None:
        raise ValueError("snapshot=True expects start=None: a snapshot is of now")
    if snapshot and schema != Schema.MBO:
        raise ValueError(f"snapshot=True expects the schema 'mbo', found {schema.value!r}")
    return Subscription(id, schema, stype_in, symbols_of(symbols, stype_in), begin, bool(snapshot))


def symbols_of(symbols: Iterable[str | int] | str | int | None, stype_in: SType) -> tuple[str, ...]:
    """
    Read a user's symbols.

    Parameters
    ----------
    symbols : iterable of str or int, str, int or None
        As `subscription` takes them.
    stype_in : SType
        What they are.

    Returns
    -------
    tuple of str
        Upper case, but for the middle of a continuous symbol of three parts.

    Raises
    ------
    TypeError, ValueError
        There are none, or one cannot be a symbol.
    """
    if symbols is None:
        return (ALL_SYMBOLS,)
    if isinstance(symbols, str):
        found = [_symbol(part, stype_in) for part in symbols.strip().strip(",").split(",")]
    elif isinstance(symbols, numbers.Integral):
        found = [_symbol(symbols, stype_in)]
    elif isinstance(symbols, Iterable) and not isinstance(symbols, bytes):
        found = [name for item in symbols for name in _symbols_in(item, stype_in)]
    else:
        raise TypeError(f"symbols is {symbols!r}, expected a list of str or int")
    if not found:
        raise ValueError("symbols is empty, expected at least one, or None for all")
    if ALL_SYMBOLS in found and len(found) > 1:
        raise ValueError(f"symbols has {ALL_SYMBOLS} beside others")
    return tuple(found)


def _symbols_in(item: Any, stype_in: SType) -> tuple[str, ...]:
    if isinstance(item, str) and "," in item:
        return symbols_of(item, stype_in)
    return (_symbol(item, stype_in),)


def _symbol(symbol: Any, stype_in: SType) -> str:
    if isinstance(symbol, bool) or not isinstance(symbol, str | numbers.Integral):
        raise TypeError(f"a symbol is {symbol!r}, expected a str or int")
    if not isinstance(symbol, str):
        if stype_in != SType.INSTRUMENT_ID:
            raise ValueError(
                f"symbol {symbol!r} is a number: expected stype_in='instrument_id', "
                f"found {stype_in.value!r}"
            )
        return str(int(symbol))
    text = symbol.strip().upper()
    if not text or not text.isprintable() or "|" in text:
        raise ValueError(f"symbol {symbol!r} is empty, or holds what no symbol can")
    if stype_in in (SType.PARENT, SType.CONTINUOUS) and text != ALL_SYMBOLS:
        parts = text.split(".")
        if len(parts) > PARTS or not all(parts):
            raise ValueError(f"symbol {symbol!r} is no {stype_in.value} symbol, such as ES.FUT")
        if len(parts) == PARTS:
            parts[1] = parts[1].lower()
        return ".".join(parts)
    return text
