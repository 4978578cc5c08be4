"""Frames: the records of a stretch of the source that are wanted, as they are sent."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbnfast._core.merge import columns
from dbnfast.layouts.programs import FILTER_TS_AT, SIZES
from dbnfast.records.headers import common_size, instrument_ids, record_sizes, record_types

if TYPE_CHECKING:
    from dbnfast._typing import Column
    from dbnfast.enums import Schema
    from dbnfast.records.records import Records


STAMP: Final = 8  # bytes of a ts_out
OVERHEAD: Final = 1024  # bytes of what is there beside the arrays


class Want(NamedTuple):
    """
    Records that a subscription wants.

    Attributes
    ----------
    schema : Schema
        What of.
    ids : frozenset of int or None
        The instruments; None for all.
    start : int or None
        Those whose filter time is this or later, ns since 1970-01-01 UTC.
    live_from : int or None
        And those from this position on, whatever their time. With neither, all.
    """

    schema: Schema
    ids: frozenset[int] | None
    start: int | None = None
    live_from: int | None = None


class Chunk:
    """
    A stretch of the source; its columns are made as they are asked for.

    Parameters
    ----------
    first : int
        The position of its first record.
    records : Records
        Them.
    kinds : ndarray of uint8, or None
        Their rtypes, where the records do not say them.
    """

    def __init__(self, first: int, records: Records, kinds: Column | None) -> None:
        self.first = first
        self.records = records
        self._kinds = kinds

    @property
    def last(self) -> int:
        """The position behind the last record."""
        return self.first + len(self.records)

    @cached_property
    def rtypes(self) -> Column:
        """The rtype of each record, tbbo as such where that is known."""
        return record_types(self.records) if self._kinds is None else self._kinds

    @cached_property
    def ids(self) -> Column:
        """The instrument of each record."""
        return instrument_ids(self.records)

    @cached_property
    def times(self) -> Column:
        """The filter time of each record, ns since 1970-01-01 UTC."""
        out: Column = np.empty(len(self.records), np.uint64)
        columns(
            self.records.data, len(out), SIZES, False, FILTER_TS_AT, out, None, None, None, None
        )
        return out

    @cached_property
    def ends(self) -> Column:
        """Where each record ends in the chunk's bytes."""
        return np.cumsum(record_sizes(self.records))


class Frames:
    """
    The records of a chunk that are wanted, one behind the other, as they are sent.

    Parameters
    ----------
    data : memoryview
        Their bytes.
    n : int
        How many they are.
    size : int
        Bytes of each; 0 where they differ.
    ends : ndarray of int64, or None
        Where each ends, where they differ.
    positions : ndarray of int64, or None
        Where each stands in its chunk; None for all of it.
    n_owned : int
        Bytes that nothing else holds.
    stamped : bool
        Whether each ends in room for a ts_out.

    Attributes
    ----------
    data, n, positions, n_owned
        The same.
    """

    def __init__(
        self,
        data: memoryview,
        n: int,
        size: int,
        ends: Column | None,
        positions: Column | None,
        n_owned: int,
        stamped: bool,
    ) -> None:
        self.data, self.n, self.positions, self.n_owned = data, n, positions, n_owned
        self._size, self._ends, self._stamped = size, ends, stamped

    @property
    def cost(self) -> int:
        """About how much memory it takes."""
        arrays = [array for array in (self._ends, self.positions) if array is not None]
        return OVERHEAD + self.n_owned + sum(array.nbytes for array in arrays)

    def index(self, place: int) -> int:
        """
        Find the first record at or behind a place in the chunk.

        Parameters
        ----------
        place : int
            Counted from the chunk's first record.

        Returns
        -------
        int
        """
        if self.positions is None:
            return min(place, self.n)
        return int(np.searchsorted(self.positions, place))

    def place(self, k: int) -> int:
        """
        Tell where a record stands in the chunk.

        Parameters
        ----------
        k : int
            Which of the frames.

        Returns
        -------
        int
        """
        return k if self.positions is None else int(self.positions[k])

    def offset(self, k: int) -> int:
        """
        Tell where a record begins.

        Parameters
        ----------
        k : int
            Which; `n` gives the end.

        Returns
        -------
        int
        """
        if self._ends is None:
            return k * self._size
        return int(self._ends[k - 1]) if k else 0

    def fit(self, k: int, last: int, max_bytes: int) -> int:
        """
        Find how many records make up so many bytes.

        Parameters
        ----------
        k, last : int
            The first of them, and the one that must not be among them.
        max_bytes : int
            The most bytes; one record is given in any case.

        Returns
        -------
        int
            The record behind the last one that fits.
        """
        if self._ends is None:
            found = k + max_bytes // self._size
        else:
            found = int(np.searchsorted(self._ends, self.offset(k) + max_bytes, "right"))
        return min(max(found, k + 1), last)

    def block(self, k: int, last: int, ts_out: int) -> memoryview:
        """
        Give records as they are sent.

        Parameters
        ----------
        k, last : int
            The first of them, and the one behind.
        ts_out : int
            The time of sending, ns since 1970-01-01 UTC, where they have one.

        Returns
        -------
        memoryview
            Without a ts_out no copy.
        """
        start, end = self.offset(k), self.offset(last)
        if not self._stamped:
            return self.data[start:end]
        block = np.frombuffer(self.data[start:end], np.uint8).copy()
        stamp = np.frombuffer(ts_out.to_bytes(STAMP, "little"), np.uint8)
        if self._ends is None:
            block.reshape(-1, self._size)[:, -STAMP:] = stamp
        else:
            words = block.view("<u4")
            behind = (self._ends[k:last] - start) // 4
            words[behind - 2], words[behind - 1] = stamp.view("<u4")
        return memoryview(block)

    def last_time(self, last: int) -> int:
        """
        Tell the filter time of a record.

        Parameters
        ----------
        last : int
            The one behind it.

        Returns
        -------
        int
            In ns since 1970-01-01 UTC.
        """
        at = self.offset(last - 1)
        at += int(FILTER_TS_AT[self.data[at + 1]])
        return int.from_bytes(self.data[at : at + 8], "little")


def cut(chunk: Chunk, mask: Column | None, ts_out: bool) -> Frames:
    """
    Cut frames of a chunk.

    Parameters
    ----------
    chunk : Chunk
        What of.
    mask : ndarray of bool, shape (n,), or None
        Which records are wanted; None for all.
    ts_out : bool
        Whether every record ends in a ts_out.

    Returns
    -------
    Frames
        Of neighbours without a ts_out a view of the chunk, else a copy.
    """
    records = chunk.records
    positions = None if mask is None else np.flatnonzero(mask)
    n = len(records) if positions is None else len(positions)
    if n == 0:
        return Frames(memoryview(b""), 0, 1, None, positions, 0, False)
    size, ends = common_size(records), None
    data = records.data
    if positions is not None and positions[-1] - positions[0] == n - 1:
        # neighbours: a part of the chunk as it is
        part = records[int(positions[0]) : int(positions[-1]) + 1]
        data, size = part.data, common_size(part)
        ends = None if size else np.cumsum(record_sizes(part))
    elif mask is not None and size:
        data = memoryview(np.frombuffer(data, (np.void, size))[mask].view(np.uint8))
    elif mask is not None:
        sizes = record_sizes(records)
        words = np.frombuffer(data, "<u4")[np.repeat(mask, sizes // 4)]
        data, ends = memoryview(words.view(np.uint8)), np.cumsum(sizes[mask])
    elif not size:
        ends = chunk.ends
    n_owned = 0 if data.obj is records.data.obj else len(data)
    if not ts_out:
        return Frames(data, n, size, ends, positions, n_owned, False)
    data, size, ends = _stretched(data, n, size, ends)
    return Frames(data, n, size, ends, positions, len(data), True)


def _stretched(
    data: memoryview, n: int, size: int, ends: Column | None
) -> tuple[memoryview, int, Column | None]:
    # the same records with room for a ts_out, which their headers count
    extra = STAMP // 4
    if ends is None:
        block = np.zeros((n, size + STAMP), np.uint8)
        block[:, :size] = np.frombuffer(data, np.uint8).reshape(n, size)
        block[:, 0] += extra
        return memoryview(block.reshape(-1)), size + STAMP, None
    sizes = np.diff(ends, prepend=0)
    words = np.zeros(len(data) // 4 + n * extra, "<u4")
    shift = np.repeat(np.arange(n) * extra, sizes // 4)
    words[np.arange(len(data) // 4) + shift] = np.frombuffer(data, "<u4")
    stretched = words.view(np.uint8)
    ends = ends + STAMP * np.arange(1, n + 1)
    stretched[ends - sizes - STAMP] += extra
    return memoryview(stretched), 0, ends
