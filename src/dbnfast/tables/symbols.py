"""The symbols of some records, as codes and what the codes stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast.records.headers import selected_rtypes
from dbnfast.tables.columns import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast._typing import Codes, Column
    from dbnfast.enums import RType, Schema
    from dbnfast.records.records import Records
    from dbnfast.symbology.resolver import Resolver

SYMBOL: Final = "symbol"  # the name of the column
NAT: Final = -(2**63)  # what numpy has for no time


@dataclass(frozen=True)
class Labels:
    """
    The symbols of some records.

    Attributes
    ----------
    codes : ndarray of int32
        For each record the place of its symbol in `labels`; negative for none.
    labels : sequence of str
        The symbols, each once.
    """

    codes: Codes
    labels: Sequence[str]


def labels_at(resolver: Resolver, ids: Column, stamps: Column) -> Labels:
    """
    Find the symbols of records whose columns are there already.

    Parameters
    ----------
    resolver : Resolver
        Where symbols come from, of a stream that is not live.
    ids : ndarray of uint32
        Their instrument ids.
    stamps : ndarray of uint64 or int64
        Their index timestamps; NaT is of no day.

    Returns
    -------
    Labels
    """
    codes = np.empty(len(ids), np.int32)
    times = stamps.view(np.uint64)

    def look_up(first: int, last: int) -> None:
        part, out = stamps[first:last], codes[first:last]
        resolver.look_up(ids[first:last], times[first:last], out)
        if part.dtype == np.int64 and len(part) and part.min() == NAT:
            out[part == NAT] = -1

    spread(len(ids), look_up)
    return Labels(codes, resolver.symbols)


def labels_of(
    records: Records, schema: Schema | RType | str | None, resolver: Resolver | None
) -> Labels:
    """
    Find the symbols of the records of one type.

    Parameters
    ----------
    records : Records
        The next block of a stream.
    schema : Schema, RType or str or None
        Which records; None for all.
    resolver : Resolver or None
        Where symbols come from.

    Returns
    -------
    Labels
    """
    if resolver is None:
        n = len(records) if schema is None else len(records.array(schema))
        return Labels(np.full(n, -1, np.int32), [])
    rtypes = None if schema is None else selected_rtypes(records, schema)
    return Labels(resolver.codes(records, rtypes), resolver.symbols)
