"""The headers of records as columns: times, ids, types and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.merge import columns
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES

if TYPE_CHECKING:
    from dbnfast.records.records import Records

    Numbers = np.ndarray[tuple[int], np.dtype[Any]]


TS_EVENT_AT: Final = np.full(256, 8, np.uint16)  # the same in every record


TS_EVENT_AT.flags.writeable = False


def _column(records: Records, ts_at: Numbers, which: int, kind: type) -> Numbers:
    out: Numbers = np.empty(len(records), kind)
    wanted: list[Numbers | None] = [None] * 5
    wanted[which] = out
    columns(records.data, len(out), SIZES, records.ts_out, ts_at, *wanted)
    return out


def index_times(records: Records) -> Numbers:
    """
    Give the records' index timestamps.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of uint64, shape (n_records,)
        A new array: ts_recv, or ts_event where a type has none, ns since 1970-01-01 UTC.
    """
    return _column(records, INDEX_TS_AT, 0, np.uint64)


def event_times(records: Records) -> Numbers:
    """
    Give the records' event timestamps.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of uint64, shape (n_records,)
        A new array, ns since 1970-01-01 UTC.
    """
    return _column(records, TS_EVENT_AT, 0, np.uint64)


def instrument_ids(records: Records) -> Numbers:
    """
    Give the records' instrument ids.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of uint32, shape (n_records,)
        A new array.
    """
    return _column(records, TS_EVENT_AT, 1, np.uint32)


def publisher_ids(records: Records) -> Numbers:
    """
    Give the records' publisher ids.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of uint16, shape (n_records,)
        A new array.
    """
    return _column(records, TS_EVENT_AT, 2, np.uint16)


def record_types(records: Records) -> Numbers:
    """
    Give the records' rtypes.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of uint8, shape (n_records,)
        A new array.
    """
    if records._size:
        return np.full(len(records), records._rtype, np.uint8)
    return _column(records, TS_EVENT_AT, 3, np.uint8)


def record_sizes(records: Records) -> Numbers:
    """
    Give the records' sizes.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of int64, shape (n_records,)
        A new array of bytes, ts_out included.
    """
    if records._size:
        return np.full(len(records), records._size, np.int64)
    return _column(records, TS_EVENT_AT, 4, np.int64)
