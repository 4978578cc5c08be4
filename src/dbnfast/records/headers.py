"""
What the other packages may know of Records beyond the public interface.

Their kinds and places, the headers as columns (times, ids, types and sizes), and how Records are
made of blocks. Nothing outside of `dbnfast.records` looks at the run behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast._core.merge import columns
from dbnfast._core.run import survey_run
from dbnfast._util.buffers import sealed
from dbnfast.layouts.programs import FILTER_TS_AT, INDEX_TS_AT, SIZES
from dbnfast.records.parallel import survey
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast._typing import Bytes, Column
    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import RType, Schema
    from dbnfast.layouts.fields import Layout
    from dbnfast.records.filters import Filter
    from dbnfast.records.messages import Record
    from dbnfast.records.records import Group


TS_EVENT_AT: Final = np.full(256, 8, np.uint16)  # the same in every record
TS_EVENT_AT.flags.writeable = False


def groups(records: Records) -> tuple[Group, ...]:
    """
    Give the kinds of records.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    tuple of (rtype, size, n)
        Of each kind the size in bytes, ts_out included, and how many there are; by rtype and size.
    """
    return records._groups


def has_rtype(records: Records, rtype: int) -> bool:
    """
    Tell whether there are records of a type.

    Parameters
    ----------
    records : Records
        Of any types.
    rtype : int
        The type.

    Returns
    -------
    bool
    """
    return any(own == rtype for own, _, _ in records._groups)


def common_size(records: Records) -> int:
    """
    Give the size that all records have.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    int
        Bytes, ts_out included; 0 where the records are of several kinds, or there are none.
    """
    return records._size


def only_rtype(records: Records) -> int:
    """
    Give the rtype of records that are all of one kind.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    int
        -1 where they are of several kinds, or there are none.
    """
    return records._rtype


def selected_rtypes(records: Records, schema: Schema | RType | str) -> frozenset[int]:
    """
    Find the rtypes that a schema selects of records.

    Parameters
    ----------
    records : Records
        Whose metadata may say what schema they are of.
    schema : Schema, RType or str
        As `Records.array` takes it.

    Returns
    -------
    frozenset of int

    Raises
    ------
    TypeError, ValueError
        There is no such schema, or tbbo is asked of mbp-1 data or the reverse.
    """
    return records._selection(schema)[0]


def start_of(records: Records) -> int:
    """
    Tell where in the buffer that they share the first of the records begins.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    int
        Bytes.
    """
    return records._start


def offset_of(records: Records, position: int) -> int:
    """
    Tell where a record begins.

    Parameters
    ----------
    records : Records
        Of any types.
    position : int
        The record's, from 0; their number for the end.

    Returns
    -------
    int
        Bytes behind the beginning of the first.
    """
    return position * records._size if records._size else records._offset_of(position)


def kind_of(record: Record) -> tuple[Layout | None, bool]:
    """
    Tell what a record object is.

    Parameters
    ----------
    record : Record
        The object.

    Returns
    -------
    layout, ts_out
        The layout, None for a record of an unknown type, and whether it ends in a ts_out.
    """
    return record._layout, record._stamped


def of_block(
    block: Bytes | bytes, stop: int, version: int, ts_out: bool, metadata: Metadata | None
) -> Records:
    """
    Make Records of a block that nobody writes to any more.

    Parameters
    ----------
    block : ndarray of uint8 or bytes
        Whole records; sealed here.
    stop : int
        Where they end.
    version : int
        The DBN version.
    ts_out : bool
        Whether every record ends in a ts_out.
    metadata : Metadata or None
        The header that goes with them.

    Returns
    -------
    Records
    """
    owner = block if isinstance(block, bytes) else sealed(block)
    return survey(Records, owner, 0, stop, version, ts_out, metadata)[0]


def restated(records: Records, version: int, metadata: Metadata | None) -> Records:
    """
    See the same bytes as of another version, or with another header.

    Parameters
    ----------
    records : Records
        Of any types.
    version : int
        The DBN version.
    metadata : Metadata or None
        The header that goes with them.

    Returns
    -------
    Records
        Not a copy.
    """
    return records._make(records._owner, records._start, records.nbytes, version, metadata)


def pieces(records: Records, max_bytes: int) -> Iterator[Records]:
    """
    Cut records into pieces, without a copy.

    Parameters
    ----------
    records : Records
        Of any types.
    max_bytes : int
        The most bytes of a piece; no less than the longest record.

    Yields
    ------
    Records
    """
    if records.nbytes <= max_bytes:
        if len(records):
            yield records
        return
    at, end = records._start, records._start + records.nbytes
    while at < end:
        piece, _ = survey_run(
            Records, records._owner, at, min(at + max_bytes, end), SIZES, records.version,
            records.ts_out, records.metadata,
        )  # fmt: skip
        if not len(piece):  # checked once already, so somebody wrote to it: there is no way on
            raise ValueError(f"the records' buffer was changed, at byte {at}")
        yield piece
        at += piece.nbytes


def passing(records: Records, wanted: Filter) -> Records:
    """
    Select records.

    Parameters
    ----------
    records : Records
        Any.
    wanted : Filter
        Which ones.

    Returns
    -------
    Records
        A copy of what passes, in the stream's order; the same object where all passes.
    """
    return records._passing(wanted)


def _column(records: Records, ts_at: Column, which: int, kind: type) -> Column:
    out: Column = np.empty(len(records), kind)
    wanted: list[Column | None] = [None] * 5
    wanted[which] = out
    columns(records.data, len(out), SIZES, records.ts_out, ts_at, *wanted)
    return out


def index_times(records: Records) -> Column:
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


def filter_times(records: Records) -> Column:
    """
    Give the times that a gateway holds the start of a replay against.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of uint64, shape (n_records,)
        A new array: ts_event, or ts_recv of quotes sampled at intervals, ns since 1970-01-01 UTC.
    """
    return _column(records, FILTER_TS_AT, 0, np.uint64)


def event_times(records: Records) -> Column:
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


def instrument_ids(records: Records) -> Column:
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


def publisher_ids(records: Records) -> Column:
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


def record_types(records: Records) -> Column:
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


def record_sizes(records: Records) -> Column:
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
