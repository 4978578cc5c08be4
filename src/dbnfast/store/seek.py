"""
Where in a plain stream the records of a range of time are, found by a search.

That needs records of one size, in the order of their index timestamps. Both are checked in what
the search reads, a few pages of the file; what lies between these is trusted to be like them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast.codec.options import Span
from dbnfast.enums import UNDEF_TIMESTAMP, RType
from dbnfast.layouts.programs import INDEX_TS_AT
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE
from dbnfast.records.filters import own_rtypes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast._typing import Column
    from dbnfast.codec.metadata import Metadata

PROBE: Final = 4096  # bytes that a probe reads: a page
LAST_PROBE: Final = 128 << 10  # bytes that are read at once when nothing else is left to look at
FAR_PROBES: Final = (64 << 10, 1 << 20)  # the same where a read costs a while
NEAR: Final = 64 << 10  # bytes around a place that is found that are looked at, too
SLACK: Final = 2  # how many times the steps of halving may leave what halving would have left
STEPS: Final = 8  # how many deviations of a random walk are far
HEADER: Final = 16  # bytes of a record's


def reading(file: Any) -> Callable[[int, int], bytes]:
    """
    Read here and there in a file.

    Parameters
    ----------
    file : readable that can be sought
        The file, not buffered.

    Returns
    -------
    callable
        Gives the bytes at a place: ``pread(offset, n)``, fewer at the end.
    """

    def pread(offset: int, n: int) -> bytes:
        file.seek(offset)
        data: bytes = file.read(n)
        while len(data) < n and (more := file.read(n - len(data))):
            data += more
        return data

    return pread


class _Unlike(Exception):
    """The records are not of one size, or not in order."""


class Search:
    """
    A search in a plain stream of records of one size that are in the order of time.

    Parameters
    ----------
    pread : callable
        Gives the bytes at a place: ``pread(offset, n)``, fewer at the end.
    begin : int
        Where the records begin.
    end : int
        The size of the stream; where the last record is cut, it is not looked at.
    metadata : Metadata
        Its header.
    probes : tuple of int, optional
        The bytes that a probe reads, and those that the last one may; None for those of a file.
    """

    def __init__(
        self,
        pread: Callable[[int, int], bytes],
        begin: int,
        end: int,
        metadata: Metadata,
        probes: tuple[int, int] | None = None,
    ) -> None:
        self._pread = pread
        self._begin = begin
        self._metadata = metadata
        self._probe_size, self._last_probe = probes or (PROBE, LAST_PROBE)
        self._n_bytes = end - begin
        self._size = self._rtype = self._ts_at = self._n = 0
        self._places: list[int] = []  # of records that were looked at, in order
        self._times: list[int] = []  # and their times

    def find(self, start: int | None, end: int | None) -> Span | None:
        """
        Find the records of a range of time.

        Parameters
        ----------
        start, end : int or None
            Half-open range of the index timestamp, ns since 1970-01-01 UTC; None for no limit.

        Returns
        -------
        Span or None
            None where the stream cannot be searched: its header has no schema or no end, as that
            of live data, its records are not of one size and type, or some of those that were
            looked at are not in order.
        """
        schema, end_of_all = self._metadata.schema, self._metadata.end
        if schema is None or end_of_all is None or self._n_bytes < HEADER:
            return None
        try:
            self._look()
            first = 0 if start is None else self._first_at(start)
            last = self._n if end is None else self._first_at(end)
        except _Unlike:
            return None
        last = max(first, last)
        stop = None if last == self._n else self._begin + last * self._size
        return Span(self._begin + first * self._size, stop, first)

    def _look(self) -> None:
        # the first and the last records: what all of them should be like
        schema = self._metadata.schema
        assert schema is not None
        head = self._pread(self._begin, self._probe_size)
        if len(head) < HEADER:
            raise _Unlike  # the stream became shorter
        self._size, self._rtype = head[0] * 4, head[1]
        if self._rtype not in own_rtypes(schema):
            raise _Unlike
        if self._size < LAYOUTS_BY_RTYPE[RType(self._rtype)][0].itemsize(self._metadata.ts_out):
            raise _Unlike
        self._ts_at = int(INDEX_TS_AT[self._rtype])
        self._n = self._n_bytes // self._size
        if not self._n:
            raise _Unlike
        self._note(0, head)
        self._probe(max(0, self._n - self._per_probe), self._n)

    @property
    def _per_probe(self) -> int:
        return max(1, self._probe_size // self._size)

    def _probe(self, first: int, stop: int) -> Column:
        raw = self._pread(self._begin + first * self._size, (stop - first) * self._size)
        return self._note(first, raw)

    def _note(self, first: int, raw: bytes) -> Column:
        # checks records, and keeps the times of the outer ones
        n = min(len(raw) // self._size, self._n - first)
        if not n:
            raise _Unlike  # the stream became shorter
        heads: Column = np.ndarray(n, "<u2", raw, 0, self._size)  # length and type
        if (heads != (self._rtype << 8) + self._size // 4).any():
            raise _Unlike
        times: Column = np.ndarray(n, "<u8", raw, self._ts_at, self._size)
        times = times.copy()
        if (times[1:] < times[:-1]).any() or times[-1] == UNDEF_TIMESTAMP:
            raise _Unlike
        self._keep(first, int(times[0]))
        self._keep(first + n - 1, int(times[-1]))
        return times

    def _keep(self, place: int, time: int) -> None:
        at = bisect_left(self._places, place)
        if at and self._times[at - 1] > time:
            raise _Unlike
        if at < len(self._places):
            if self._times[at] < time:
                raise _Unlike
            if self._places[at] == place:
                return
        self._places.insert(at, place)
        self._times.insert(at, time)

    def _first_at(self, time: int) -> int:
        # the first record that is not before a time: interpolated, and halved where that is slow
        at = bisect_left(self._times, time)
        if at in (0, len(self._times)):
            return at and self._n
        low, high = self._places[at - 1 : at + 1]
        before, after = self._times[at - 1 : at + 1]
        per, reach = self._per_probe, SLACK * (high - low)
        near = NEAR // self._size
        while (high - low) * self._size > self._last_probe:
            reach //= 2
            place = low + (high - low) * (time - before) // (after - before)
            first = _moved(place, low, high, reach) - per // 2
            first = min(max(first, low + 1), high - per)
            times = self._probe(first, first + per)
            ends = int(times[0]), int(times[-1])
            if ends[0] >= time:
                high, after = first, ends[0]
            elif ends[1] < time:
                low, before = first + len(times) - 1, ends[1]
            else:  # it is here; but a record nearby may have another place than its time says
                low, high = max(low, first - near), min(high, first + len(times) + near)
                break
        if low + 1 == high:
            return high
        times = self._probe(low + 1, high)
        return low + 1 + int(np.searchsorted(times, np.uint64(time)))


def _moved(place: int, low: int, high: int, reach: int) -> int:
    # Where to look between two records: where interpolation says, a little nearer to the middle,
    # so that both ends come near; and never so far from it that halving alone would have been
    # much quicker, since markets are busy and quiet.
    middle, near = (low + high) // 2, STEPS * math.isqrt(high - low)
    place = min(place + near, middle) if place < middle else max(place - near, middle)
    off = max(reach - (high - low) // 2, 0)
    return min(max(place, middle - off), middle + off)
