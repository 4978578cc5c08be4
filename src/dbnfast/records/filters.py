"""Filters: which records are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbnfast._core.copy import select
from dbnfast._util.arguments import as_int
from dbnfast._util.times import to_ns
from dbnfast.enums import SCHEMA_RTYPES, RType, Schema
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbnfast._typing import Bytes, Column, Hits, Ids, Schemas
    from dbnfast._util.times import Time


PASSES_ANYHOW: Final = 2  # the number is the core's
SHARED: Final = frozenset((Schema.TBBO, Schema.MBP_1))  # they have one rtype
_OHLCV: Final = frozenset(s for s in Schema if s.startswith("ohlcv"))
_SAMPLED: Final = (  # early files of the one have the rtype of the other
    frozenset((Schema.BBO_1S, Schema.BBO_1M)),
    frozenset((Schema.CBBO_1S, Schema.CBBO_1M)),
)


def own_rtypes(schema: Schema) -> frozenset[int]:
    """
    Give the rtypes of records in files of a schema: its own, and what early files have.

    Parameters
    ----------
    schema : Schema
        The schema of the file.

    Returns
    -------
    frozenset of int
    """
    found = {SCHEMA_RTYPES[schema]}
    if schema in _OHLCV:
        found.add(RType.OHLCV_DEPRECATED)  # bars from before their sizes had rtypes
    for family in _SAMPLED:
        if schema in family:
            found.update(SCHEMA_RTYPES[other] for other in family)
    return frozenset(map(int, found))


def rtypes_of(schema: Schema | RType | str, own: Schema | None) -> frozenset[int]:
    """
    Find the rtypes that a schema selects.

    Parameters
    ----------
    schema : Schema, RType or str
        What is wanted.
    own : Schema or None
        The schema of the stream.

    Returns
    -------
    frozenset of int

    Raises
    ------
    TypeError, ValueError
        There is no such schema, or tbbo is asked of mbp-1 data or the reverse.
    """
    wanted, rtype = as_rtype(schema)
    if wanted in SHARED and own in SHARED and wanted != own:
        raise ValueError(
            f"{wanted} was asked of {own} data; both have rtype {int(rtype)}, ask for {own}"
        )
    if wanted is not None and wanted == own:
        return own_rtypes(wanted)
    return frozenset((int(rtype),))


class Selected(NamedTuple):
    """
    What a filter found in a block.

    Attributes
    ----------
    n, n_bytes : int
        The records that passed, and their bytes.
    n_seen, stop : int
        The records that were looked at, and their bytes.
    status : int
        How the walk ended, as the survey says it.
    """

    n: int
    n_bytes: int
    n_seen: int
    stop: int
    status: int


class Filter:
    """
    Which records are wanted: those that pass every condition that is given.

    Parameters
    ----------
    own : Schema or None
        The schema of the stream.
    schema : Schema, RType or str, or a sequence of them, optional
        The types to keep.
    instrument_ids, publishers : int or iterable of int, optional
        The ids to keep.
    start, end : int, str, datetime64, datetime, date or pandas.Timestamp, optional
        Half-open range of the index timestamp; an int is ns since 1970-01-01 UTC, text ISO 8601,
        a time without a zone UTC, a date its midnight. Where either is given, records whose
        timestamp is undefined do not pass.
    also : RType, optional
        A type that passes in any case.

    Raises
    ------
    TypeError, ValueError
        An argument is not what it should be.
    """

    def __init__(
        self,
        own: Schema | None,
        schema: Schemas | None = None,
        instrument_ids: Iterable[int] | int | None = None,
        publishers: Iterable[int] | int | None = None,
        start: Time | None = None,
        end: Time | None = None,
        also: RType | None = None,
    ) -> None:
        self._rtypes = np.ones(256, np.uint8)
        if schema is not None:
            several = isinstance(schema, list | tuple | set | frozenset)
            names: Iterable[Any] = schema if several else (schema,)  # type: ignore[assignment]
            self._rtypes[:] = 0
            for name in names:
                self._rtypes[list(rtypes_of(name, own))] = 1
        if also is not None:
            self._rtypes[int(also)] = PASSES_ANYHOW
        self._by_time = start is not None or end is not None
        self._start = 0 if start is None else to_ns("start", start)
        self._end = 2**64 - 1 if end is None else to_ns("end", end)
        if self._start > self._end:
            raise ValueError(f"start is {start}, which is after the end, {end}")
        self._ids = ids_of("instrument_ids", instrument_ids)
        self._publishers = ids_of("publishers", publishers)

    def select(self, data: memoryview, out: Bytes, ts_out: bool) -> Selected:
        """
        Copy what passes, in one walk that also checks every header.

        Parameters
        ----------
        data : memoryview
            Bytes that begin with a record.
        out : ndarray of uint8
            Where to; as long as `data`, or longer.
        ts_out : bool
            Whether every record ends in a ts_out.

        Returns
        -------
        Selected
        """
        return Selected(
            *select(
                data,
                out,
                SIZES,
                ts_out,
                self._rtypes,
                INDEX_TS_AT,
                self._by_time,
                self._start,
                self._end,
                self._ids,
                self._publishers,
            )
        )

    def passes(self, rtypes: Column, ids: Column, publishers: Column, times: Column) -> Hits:
        """
        Tell which records pass, where nothing is to pass `also`.

        Parameters
        ----------
        rtypes, ids, publishers, times : ndarray of int, shape (n,)
            What the records say: of times the index timestamp, ns since 1970-01-01 UTC.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        hits: Hits = self._rtypes[rtypes] == 1
        if self._by_time:
            hits &= (times >= np.uint64(self._start)) & (times < np.uint64(self._end))
        if self._ids is not None:
            hits &= np.isin(ids, self._ids)
        if self._publishers is not None:
            hits &= np.isin(publishers, self._publishers)
        return hits


def ids_of(name: str, values: Iterable[int] | int | None) -> Ids | None:
    """
    Check ids.

    Parameters
    ----------
    name : str
        What they are, for errors.
    values : int, iterable of int or None
        The ids.

    Returns
    -------
    ndarray of uint32 or None
        In order, each once; None for None.

    Raises
    ------
    TypeError, ValueError
        One is no int of 32 bits.
    """
    if values is None:
        return None
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} is {values!r}, expected ints")
    if hasattr(values, "__iter__") and getattr(values, "ndim", None) != 0:  # of an array
        wide = sorted({as_int(f"one of {name}", number) for number in values})
    else:
        wide = [as_int(name, values)]
    if wide and not (wide[0] >= 0 and wide[-1] < 2**32):
        raise ValueError(f"{name} holds {wide[0]} to {wide[-1]}, expected 0 to 2**32 - 1")
    return np.array(wide, np.uint32)
