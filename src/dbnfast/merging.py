"""Streams in the order of time: several merged into one, one dealt out to several."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.merge import Merger, columns, deal
from dbnfast._core.run import survey_run
from dbnfast.arrays import sealed
from dbnfast.enums import DBN_VERSION
from dbnfast.inputs import check_max_bytes
from dbnfast.metadata import Metadata
from dbnfast.programs import INDEX_TS_AT, SIZES
from dbnfast.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dbnfast.arrays import Bytes

    Numbers = np.ndarray[tuple[int], np.dtype[Any]]
    Rows = dict[str, list[Any]]

TS_EVENT_AT: Final = np.full(256, 8, np.uint16)  # the same in every record
TS_EVENT_AT.flags.writeable = False


def merged(
    readers: Sequence[Iterable[Records]], metadata: Metadata, *, max_bytes: int = 16 << 20
) -> Iterator[Records]:
    """
    Merge streams by their records' index timestamps, in bounded memory.

    The next record is that of the lowest timestamp among the streams' next ones; of equal
    timestamps that of the stream named first. Within a stream the order stays. Streams that are
    sorted give a sorted stream; others are merged by heads, as `heapq.merge` does.

    Parameters
    ----------
    readers : sequence of iterables of Records
        Any number, as `iter_decode` gives them, upgraded to one version. One block of each is
        held at a time. They are not closed.
    metadata : Metadata
        The header of the result; see `joined_metadata`.
    max_bytes : int
        The most bytes of records in one block of the result.

    Yields
    ------
    Records
        In blocks of their own, with `metadata`.

    Raises
    ------
    TypeError
        A stream gives something else, or `metadata` is none.
    ValueError
        A stream's version or ts_out is not the metadata's, or `max_bytes` is too few.
    Exception
        What a stream raises, after every record merged until then.
    """
    if not isinstance(metadata, Metadata):
        raise TypeError(f"metadata is {type(metadata).__name__}, expected Metadata")
    max_bytes = check_max_bytes(max_bytes)
    streams = [_given(number, reader, metadata) for number, reader in enumerate(readers)]
    return _merge(streams, metadata, max_bytes)


def _given(
    number: int, reader: Iterable[Records], metadata: Metadata
) -> Callable[[], memoryview | None]:
    # what gives a stream's next bytes, checked; None at its end
    source = iter(reader)

    def following() -> memoryview | None:
        for records in source:
            if not isinstance(records, Records):
                raise TypeError(f"stream {number} gives {type(records).__name__}, expected Records")
            if (records.version, records.ts_out) != (metadata.version, metadata.ts_out):
                raise ValueError(
                    f"stream {number} is of version {records.version} with ts_out "
                    f"{records.ts_out}, the metadata says version {metadata.version} with ts_out "
                    f"{metadata.ts_out}; upgrade() first"
                )
            if len(records):
                return records.data
        return None

    return following


def _merge(
    streams: Sequence[Callable[[], memoryview | None]], metadata: Metadata, max_bytes: int
) -> Iterator[Records]:
    merger = Merger(len(streams), SIZES, metadata.ts_out, INDEX_TS_AT)
    waiting: Iterable[int] = range(len(streams))
    block, stop = np.empty(max_bytes, np.uint8), 0
    while True:
        try:
            for number in waiting:
                data = streams[number]()
                if data is not None:
                    merger.give(number, data)
        except Exception:
            if stop:
                yield _made(block, stop, metadata)
            raise
        full, used, stop = merger.merge(block, stop)
        if full:
            yield _made(block, stop, metadata)
            block, stop = np.empty(max_bytes, np.uint8), 0
        elif used < 0:
            break
        waiting = () if full else (used,)
    if stop:
        yield _made(block, stop, metadata)


def _made(block: Bytes, stop: int, metadata: Metadata) -> Records:
    made, _ = survey_run(
        Records, sealed(block), 0, stop, SIZES, metadata.version, metadata.ts_out, metadata
    )
    return made


def joined_metadata(headers: Sequence[Metadata], names: Sequence[str] | None = None) -> Metadata:
    """
    Make the header of several streams merged into one.

    Parameters
    ----------
    headers : sequence of Metadata
        One or more, in the streams' order.
    names : sequence of str, optional
        What the streams are called in errors; None for their numbers.

    Returns
    -------
    Metadata
        Of version 3: from the first start to the last end (open where one is open), the schema
        and stype_in that they share, else none, no limit, and the symbols and mappings of all.

    Raises
    ------
    TypeError
        One of them is no Metadata.
    ValueError
        There are none, or they differ in dataset, stype_out or ts_out.
    """
    if not headers:
        raise ValueError("there is no metadata to join")
    for header in headers:
        if not isinstance(header, Metadata):
            raise TypeError(f"{type(header).__name__} is no Metadata")
    first = headers[0]
    for name in ("dataset", "stype_out", "ts_out"):
        for number, other in enumerate(headers):
            if getattr(other, name) != getattr(first, name):
                one, two = (
                    ("stream 0", f"stream {number}") if names is None else (names[0], names[number])
                )
                raise ValueError(
                    f"{name} is {getattr(first, name)!s} in {one} and "
                    f"{getattr(other, name)!s} in {two}; they cannot become one"
                )
    ends = [header.end for header in headers]
    schemas = {header.schema for header in headers}
    stypes = {header.stype_in for header in headers}
    return Metadata(
        version=DBN_VERSION,
        dataset=first.dataset,
        start=min(header.start for header in headers),
        end=None if None in ends else max(end for end in ends if end is not None),
        schema=schemas.pop() if len(schemas) == 1 else None,
        stype_in=stypes.pop() if len(stypes) == 1 else None,
        stype_out=first.stype_out,
        ts_out=first.ts_out,
        symbols=_union(header.symbols for header in headers),
        partial=_union(header.partial for header in headers),
        not_found=_union(header.not_found for header in headers),
        mappings=_joined_mappings(headers),
        symbol_cstr_len=max(header.upgrade().symbol_cstr_len for header in headers),
    )


def _union(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(text for texts in lists for text in texts))


def _joined_mappings(headers: Sequence[Metadata]) -> Rows:
    found: dict[str, dict[Any, None]] = {}  # dicts keep the order, and each interval once
    for header in headers:
        for raw_symbol, intervals in header._mapping_rows():
            found.setdefault(raw_symbol, {}).update(dict.fromkeys(intervals))
    return {raw_symbol: list(intervals) for raw_symbol, intervals in found.items()}


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


def ranked(keys: Numbers) -> tuple[Numbers, Numbers]:
    """
    Find the values that occur, and number them.

    Parameters
    ----------
    keys : ndarray of int, shape (n,)
        Any values of int64.

    Returns
    -------
    values : ndarray, shape (n_values,)
        Each value once, ascending.
    ranks : ndarray of int32, shape (n,)
        Where each key stands in `values`.
    """
    if not len(keys):
        return keys[:0], np.empty(0, np.int32)
    low, high = int(keys.min()), int(keys.max())
    if high - low > 4 * len(keys) + 65536:  # too thinly spread for a table
        values, ranks = np.unique(keys, return_inverse=True)
        return values, ranks.astype(np.int32, copy=False)
    places = (keys - low).astype(np.intp)
    there = np.zeros(high - low + 1, bool)
    there[places] = True
    table = np.cumsum(there, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(there) + low, table[places]


def dealt(records: Records, groups: Numbers, n_groups: int) -> list[Records]:
    """
    Deal records out to groups.

    Parameters
    ----------
    records : Records
        Of any types.
    groups : ndarray of int32, shape (n_records,)
        The group of each record, 0 to ``n_groups - 1``.
    n_groups : int
        How many there are.

    Returns
    -------
    list of Records
        One for each group, in the stream's order; copies that share one block. The same object
        where there is one group alone.

    Raises
    ------
    ValueError
        `groups` does not have a group for each record.
    """
    if len(groups) != len(records):
        raise ValueError(f"groups has {len(groups)} entries for {len(records)} records")
    if n_groups == 1 and not groups.any():
        return [records]
    if records._size:
        sizes = np.bincount(groups, minlength=n_groups) * records._size
    else:  # sums of sizes are exact in floats: they stay far below 2**53
        sizes = np.bincount(groups, record_sizes(records), n_groups).astype(np.int64)
    if len(sizes) != n_groups:
        raise ValueError(f"groups holds {len(sizes) - 1}, expected 0 to {n_groups - 1}")
    places = np.zeros(n_groups + 1, np.int64)
    np.cumsum(sizes, out=places[1:])
    block = np.empty(records.nbytes, np.uint8)
    deal(records.data, groups, places, block, SIZES, records.ts_out)
    owner = sealed(block)
    ends = places.tolist()
    return [
        records._make(owner, start, end - start, records.version, records.metadata)
        for start, end in itertools.pairwise(ends)
    ]
