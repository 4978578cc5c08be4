"""What symbol maps and resolvers share: codes of symbols, and records looked up."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.symbols import SymbolTable, lookup_records, lookup_stream
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.records.headers import common_size, groups, only_rtype
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbnfast._typing import Codes


LEFT: Final = -2  # of a mapping record that says nothing: what was mapped before still is


class Numbers:
    """
    Symbols by code and codes by symbol; a code once given stays.

    Parameters
    ----------
    symbols : iterable of str
        Those known, each once.
    """

    __slots__ = ("codes", "symbols")

    def __init__(self, symbols: Iterable[str] = ()) -> None:
        self.symbols = list(symbols)
        self.codes = {symbol: code for code, symbol in enumerate(self.symbols)}

    def of(self, symbols: Iterable[str | None]) -> Codes:
        """
        Give the codes of symbols.

        Parameters
        ----------
        symbols : iterable of str or None
            New ones get the next codes; None has none.

        Returns
        -------
        ndarray of int32
            LEFT for None.
        """
        codes = self.codes
        found = [
            LEFT if symbol is None else codes.setdefault(symbol, len(codes)) for symbol in symbols
        ]
        new = len(codes) - len(self.symbols)  # the last ones: those before are not walked over
        self.symbols += reversed(list(itertools.islice(reversed(codes), new)))
        return np.array(found, np.int32)


def texts_of(column: np.ndarray[Any, Any]) -> list[str | None]:
    """
    Read NUL-padded texts as text output does.

    Parameters
    ----------
    column : ndarray of bytes
        The field.

    Returns
    -------
    list of str or None
        Up to a NUL; None without one, or where they are not UTF-8.
    """
    found: list[str | None] = []
    width = column.dtype.itemsize
    for raw in column.tolist():
        text, nul, _ = raw.partition(b"\0")  # numpy cut those at the end
        try:
            found.append(text.decode() if nul or len(raw) < width else None)
        except UnicodeDecodeError:
            found.append(None)
    return found


def smart_symbol(symbol_in: str | None, symbol_out: str | None) -> str | None:
    """
    Choose the symbol that says more.

    Parameters
    ----------
    symbol_in, symbol_out : str or None
        Of a mapping record.

    Returns
    -------
    str or None
        The output, or the input where that is a number: smart symbols resolve to an id.
    """
    return symbol_in if symbol_out is not None and symbol_out.isdigit() else symbol_out


def mapping_symbols(array: np.ndarray[Any, Any], text: bool) -> list[str | None]:
    """
    Give the symbols that mapping records bring.

    Parameters
    ----------
    array : ndarray
        Mapping records.
    text : bool
        Whether it is always the output symbol.

    Returns
    -------
    list of str or None
    """
    outs = texts_of(array["stype_out_symbol"])
    if text:
        return outs
    return list(map(smart_symbol, texts_of(array["stype_in_symbol"]), outs))


def check_records(records: Any) -> None:
    """
    Refuse what are no Records.

    Parameters
    ----------
    records : Records
        What a caller gave.

    Raises
    ------
    TypeError
        They are something else.
    """
    if not isinstance(records, Records):
        raise TypeError(f"{type(records).__name__} is no Records")


def wanted_of(
    records: Records, rtypes: frozenset[int] | None
) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint8]], Codes]:
    """
    Make the table of the rtypes wanted, and room for the codes of their records.

    Parameters
    ----------
    records : Records
        The records.
    rtypes : frozenset of int or None
        Which are wanted; None for all.

    Returns
    -------
    table, out
    """
    table = np.full(256, rtypes is None, np.uint8)
    if rtypes:
        table[list(rtypes)] = 1
    n = sum(n for rtype, _, n in groups(records) if table[rtype])
    return table, np.empty(n, np.int32)


def codes_of_table(table: SymbolTable, records: Records, rtypes: frozenset[int] | None) -> Codes:
    """
    Look the records' symbols up.

    Parameters
    ----------
    table : SymbolTable
        What is known.
    records : Records
        The records.
    rtypes : frozenset of int or None
        Which are wanted; None for all.

    Returns
    -------
    ndarray of int32
        In the stream's order.
    """
    wanted, out = wanted_of(records, rtypes)
    if len(out) and common_size(records):
        ts_at = int(INDEX_TS_AT[only_rtype(records)])
        lookup_records(table, records.data, common_size(records), ts_at, out)
    elif len(out):
        lookup_stream(table, records.data, SIZES, records.ts_out, wanted, INDEX_TS_AT, out)
    return out
