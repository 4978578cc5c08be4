"""Streams in the order of time: several merged into one, one dealt out to several."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.merge import Merger
from dbnfast._util.times import DAY
from dbnfast.codec.metadata import Metadata, mapping_rows
from dbnfast.codec.options import check_max_bytes
from dbnfast.enums import DBN_VERSION
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.records.headers import of_block
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dbnfast._typing import Bytes

    Rows = dict[str, list[Any]]

EPOCH: Final = date(1970, 1, 1).toordinal()


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
    return of_block(block, stop, metadata.version, metadata.ts_out, metadata)


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
        for raw_symbol, intervals in mapping_rows(header):
            found.setdefault(raw_symbol, {}).update(dict.fromkeys(intervals))
    return {raw_symbol: list(intervals) for raw_symbol, intervals in found.items()}


def headers_within(joined: Metadata, headers: Sequence[Metadata]) -> list[Metadata | None]:
    """
    Make headers of single streams that say of their records what the joined header does.

    Parameters
    ----------
    joined : Metadata
        What `joined_metadata` made of them.
    headers : sequence of Metadata
        Two or more, by their start.

    Returns
    -------
    list of Metadata or None
        Of each stream, with all mappings of its days. None where its own header has the same: that
        may have megabytes. The schema is the stream's, but for rtypes that have two in these.
    """
    schemas = {header.schema for header in headers} - {None}
    types = [as_rtype(schema)[1] for schema in schemas if schema is not None]
    made: list[Metadata | None] = []
    for header, rows in zip(headers, _mappings_within(joined, headers), strict=True):
        schema = header.schema
        if schema is not None and types.count(as_rtype(schema)[1]) > 1:
            schema = None
        if schema == header.schema and _alike(rows, mapping_rows(header)):
            made.append(None)
            continue
        lists = {name: getattr(header, name) for name in ("symbols", "partial", "not_found")}
        made.append(
            joined.replace(
                start=header.start, end=header.end, schema=schema, stype_in=header.stype_in,
                mappings=rows, **lists,
            )
        )  # fmt: skip
    return made


def _alike(rows: Rows, own: Iterable[tuple[str, Any]]) -> bool:
    # whether they name records alike: of two symbols that an instrument has, the last one counts
    others = {name: [*intervals] for name, intervals in own}
    if rows != others:
        return False
    ids = [{symbol for _, _, symbol in intervals} for intervals in rows.values()]
    return list(rows) == list(others) or sum(map(len, ids)) == len(set().union(*ids))


def _mappings_within(joined: Metadata, headers: Sequence[Metadata]) -> list[Rows]:
    # of each stream the intervals of its days
    firsts = [_day(header.start) for header in headers]
    lasts = [date.max if header.end is None else _day(header.end - 1) for header in headers]
    until = list(itertools.accumulate(lasts, max))  # the last day of the streams up to each
    found: list[Rows] = [{} for _ in headers]
    for raw_symbol, intervals in mapping_rows(joined):
        for interval in intervals:
            begin, end, _ = interval
            for number in range(bisect_left(until, begin), bisect_left(firsts, end)):
                if begin <= lasts[number]:
                    found[number].setdefault(raw_symbol, []).append(interval)
    return found


def _day(ts: int) -> date:
    return date.fromordinal(EPOCH + ts // DAY)
