"""What a session delivered lately, so that records of a replay that are not new can be dropped."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbnfast._core.multiset import Bag, Counts
from dbnfast._core.resume import Clock, peaks, since
from dbnfast.layouts.programs import FILTER_TS_AT, SIZES, SNAPSHOT_AT, SNAPSHOT_BITS
from dbnfast.live.resume.lead import sent_times, snapshots_in
from dbnfast.records.deal import dealt
from dbnfast.records.headers import groups, of_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbnfast._typing import Times
    from dbnfast.records.records import Records

    Peaks = tuple[tuple[int, int, int], ...]

CLOCK: Final = Clock(SIZES, FILTER_TS_AT, SNAPSHOT_AT, SNAPSHOT_BITS)
SHOT_CLOCK: Final = Clock(SIZES, FILTER_TS_AT, SNAPSHOT_AT, np.zeros(256, np.uint8))  # all count
NEVER: Final = 2**64 - 1  # the undefined time, and a lowest time that none reaches
TIMED: Final = 1  # the numbers are the core's
UNTIMED: Final = 2
PASSED: Final = 4
# what comes between two looks at what can go: bytes, or batches where these are small
LOOK_EVERY: Final = 1 << 20
BATCHES: Final = 32
# Smaller batches are copied, and joined when they are as much as GATHER: the garbage collector
# looks at every object that lives long, and would stop the session for it.
SMALL: Final = 16 << 10
GATHER: Final = 256 << 10
SPILL: Final = 256 << 20  # bytes: what is kept beyond is kept as hashes


class _Batch(NamedTuple):
    """Delivered records, and the highest time of each rtype that matters."""

    records: Records
    tops: tuple[tuple[int, int], ...]


class Kept:
    """
    Delivered records, for as long as a replay may bring them again.

    Most are kept as references to the `Records` that were delivered: nothing is copied, and
    `trim` lets go what is older than the resume points. Of rtypes that are resumed from the
    session's start everything counts, so a hash of 128 bits and a count stand for each record;
    the same for what exceeds `SPILL` bytes, as it may while the replay of several subscriptions
    of one schema goes on.

    Parameters
    ----------
    hashed : iterable of int
        The rtypes of which everything counts.
    """

    def __init__(self, hashed: Iterable[int]) -> None:
        self._hashed = frozenset(hashed)
        self._batches: deque[_Batch] = deque()  # those looked at last are at the end
        self._nbytes = 0  # of them and the small ones
        self._small: list[bytes] = []
        self._small_tops: dict[int, int] = {}
        self._n_small = 0  # bytes
        self._like: Records | None = None  # what the small ones are like
        self._unseen = 0  # bytes that came since the last look
        self._n_unseen = 0  # batches
        self._bag: Bag | None = None
        self._shots: deque[_Batch] = deque()  # snapshots of the book, each with its time
        self._shot_bag: Bag | None = None
        self._counts: dict[int, Counts] = {}
        self._spilled: dict[int, int] = {}  # the highest time among hashes, by rtype

    def _lowest(self, times: Mapping[int, int]) -> Times:
        # as the core wants them; the hashed rtypes are not among the batches
        least = np.full(256, NEVER, np.uint64)
        for rtype in times.keys() - self._hashed:
            least[rtype] = times[rtype]
        return least

    @property
    def nbytes(self) -> int:
        """Bytes of the records kept, and of the tables."""
        tables = sum(counts.nbytes for counts in self._counts.values())
        bags = sum(bag.nbytes for bag in (self._bag, self._shot_bag) if bag is not None)
        return self._nbytes + tables + bags + sum(shot.records.nbytes for shot in self._shots)

    @property
    def expecting(self) -> bool:
        """Whether there are records that a replay has not brought again."""
        bags = self._bag is not None or self._shot_bag is not None
        return bags or any(counts.left for counts in self._counts.values())

    @property
    def due(self) -> bool:
        """Whether `trim` is worth its while."""
        return self._unseen > LOOK_EVERY or self._n_unseen >= BATCHES

    def keep(self, records: Records, found: Peaks, lanes: Iterable[int]) -> None:
        """
        Keep what was delivered.

        Parameters
        ----------
        records : Records
            Whole batches, or what `sift` left of them. Hashed rtypes are for `sift` to count.
        found : tuple
            Their highest times, as `peaks` gives them.
        lanes : container of int
            The rtypes that matter.
        """
        tops = []
        for rtype, top, state in found:
            if rtype not in lanes or rtype in self._hashed:
                continue
            if state & TIMED:
                tops.append((rtype, top))
            if state & UNTIMED:
                tops.append((rtype, NEVER))  # replays may bring them whatever their start
            if state & PASSED:
                self._keep_snapshot(records, rtype)
        if not tops:
            return
        n = records.nbytes
        self._nbytes += n
        self._unseen += n
        self._n_unseen += 1
        if n >= SMALL:
            self._batches.append(_Batch(records, tuple(tops)))
            return
        like = self._like
        if like is None:
            self._like = records
        elif like.version != records.version or like.ts_out != records.ts_out:
            self._gather()
            self._like = records
        self._small.append(bytes(records.data))
        self._n_small += n
        known = self._small_tops
        for rtype, top in tops:
            if top > known.get(rtype, -1):
                known[rtype] = top
        if self._n_small >= GATHER:
            self._gather()

    def _keep_snapshot(self, records: Records, rtype: int) -> None:
        # the book's state is no replay's, but not every gateway knows that
        shot = dealt(records, snapshots_in(records).astype(np.int32), 2)[1]
        top = int(sent_times(shot).max())  # the snapshot's time: its orders are older
        self._shots.append(_Batch(shot, ((rtype, top),)))

    def _gather(self) -> None:
        # the small batches become one
        if self._like is not None and self._small:
            raw = b"".join(self._small)
            like = self._like
            made = of_block(raw, len(raw), like.version, like.ts_out, like.metadata)
            self._batches.append(_Batch(made, tuple(self._small_tops.items())))
        self._small, self._small_tops, self._n_small, self._like = [], {}, 0, None

    def trim(self, points: Mapping[int, int]) -> None:
        """
        Let go what no replay brings again.

        Parameters
        ----------
        points : mapping of int to int
            The time from which on a replay would bring records, by rtype; of an rtype that is
            not there nothing is kept.
        """
        least = self._lowest(points)
        # A few each time, in turn, so that no look takes long; and twice as many as came since
        # the last one, so that all are looked at again before as many more have come.
        for _ in range(min(2 * self._n_unseen + 2, len(self._batches))):
            batch = self._batches.popleft()
            tops = _needed(batch, points)
            if len(tops) != len(batch.tops):
                self._nbytes -= batch.records.nbytes
                if not tops:
                    continue
                # one rtype may be quiet for long: it must not hold all the others
                batch = _Batch(_cut(batch.records, least), tops)
                self._nbytes += batch.records.nbytes
            self._batches.append(batch)
        while self._shots and not _needed(self._shots[0], points):
            self._shots.popleft()
        for rtype, top in list(self._spilled.items()):
            if top < points.get(rtype, NEVER + 1):
                del self._counts[rtype], self._spilled[rtype]
        if self._nbytes > SPILL:
            self._spill(least)
        self._unseen = self._n_unseen = 0

    def _spill(self, least: Times) -> None:
        # Those looked at longest ago become hashes, twice as many as came, so that it never takes
        # long. While a replay is awaited they take no part in it, as what is there to be dropped
        # was put together before.
        limit = self._nbytes - max(2 * self._unseen, self._nbytes - SPILL)
        while self._batches and self._nbytes > limit:
            records, tops = self._batches.popleft()
            for rtype in sorted({rtype for rtype, _ in tops}):
                top = max(top for other, top in tops if other == rtype)
                self._counts_of(rtype).add(records, rtype, int(least[rtype]))
                self._spilled[rtype] = max(top, self._spilled.get(rtype, 0))
            self._nbytes -= records.nbytes

    def _counts_of(self, rtype: int) -> Counts:
        if rtype not in self._counts:
            self._counts[rtype] = Counts(CLOCK)
        return self._counts[rtype]

    def begin(self, starts: Mapping[int, int], *, new_shots: bool) -> None:
        """
        Expect the records that replays will bring again.

        Parameters
        ----------
        starts : mapping of int to int
            Where the replay of each rtype begins; others have none.
        new_shots : bool
            Whether a snapshot of the book was asked for, which is to come whole.
        """
        self.end()
        self._gather()
        bag = Bag(CLOCK)
        least = self._lowest(starts)
        for batch in self._batches:
            bag.add(batch.records, least)
        for rtype, counts in self._counts.items():
            if rtype in starts:
                counts.rewind()
        self._bag = bag if bag.left else None
        if new_shots:
            self._shots.clear()  # or a gateway that breaks after each would fill the memory
        else:
            shot_bag = Bag(SHOT_CLOCK)
            for shot in self._shots:
                if _needed(shot, starts):
                    shot_bag.add(shot.records, np.zeros(256, np.uint64))
            self._shot_bag = shot_bag if shot_bag.left else None

    def sift(self, records: Records) -> Records:
        """
        Leave out what was delivered before, each record once, and count the hashed rest.

        Parameters
        ----------
        records : Records
            What came.

        Returns
        -------
        Records
            The same object where all is new, else a copy of what is.
        """
        if self._bag is not None:
            out = np.empty(records.nbytes, np.uint8)
            records = _part(records, out, self._bag.sift(records, out))
            if not self._bag.left:
                self._bag = None
        if self._shot_bag is not None:
            out = np.empty(records.nbytes, np.uint8)
            records = _part(records, out, self._shot_bag.sift(records, out))
            if not self._shot_bag.left:
                self._shot_bag = None
        rtypes = {rtype for rtype, _, _ in groups(records)}
        for rtype in rtypes & (self._hashed | self._counts.keys()):
            counts = self._counts_of(rtype)
            if counts.left:
                out = np.empty(records.nbytes, np.uint8)
                n_bytes = counts.sift(records, rtype, rtype in self._hashed, out)
                records = _part(records, out, n_bytes)
            elif rtype in self._hashed:
                counts.add(records, rtype, 0)
        return records

    def forget(self, rtype: int) -> None:
        """
        Expect nothing of an rtype any more: its replay is over.

        Parameters
        ----------
        rtype : int
            Which.
        """
        if self._bag is not None:
            self._bag.forget(rtype)
            if not self._bag.left:
                self._bag = None
        if self._shot_bag is not None:
            self._shot_bag.forget(rtype)
            if not self._shot_bag.left:
                self._shot_bag = None
        if rtype in self._counts:
            self._counts[rtype].forget()

    def restart(self, rtype: int) -> None:
        """
        Count a hashed rtype afresh: what was delivered so far is never asked for again.

        Parameters
        ----------
        rtype : int
            Which.
        """
        self._counts.pop(rtype, None)
        self._spilled.pop(rtype, None)

    def end(self) -> None:
        """Expect nothing any more: the connection is gone."""
        self._bag = self._shot_bag = None
        for counts in self._counts.values():
            counts.forget()


def _needed(batch: _Batch, points: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    # its rtypes that a replay may bring again
    return tuple(item for item in batch.tops if item[1] >= points.get(item[0], NEVER + 1))


def _part(records: Records, out: np.ndarray[tuple[int], np.dtype[np.uint8]], n: int) -> Records:
    # the records whose bytes were written to `out`
    if n < 0:
        return records
    block = out[:n].copy() if n < len(out) // 2 else out[:n]
    return of_block(block, n, records.version, records.ts_out, records.metadata)


def _cut(records: Records, least: Times) -> Records:
    # a copy of the records that are needed where that is much less
    out = np.empty(records.nbytes, np.uint8)
    n = since(records, CLOCK, least, out)
    return _part(records, out, n) if n < records.nbytes // 2 else records


def highest(records: Records) -> Peaks:
    """
    Find the highest filter time of each rtype.

    Parameters
    ----------
    records : Records
        Any.

    Returns
    -------
    tuple of (rtype, top, state)
        As the core's `peaks` gives it.
    """
    return peaks(records, CLOCK)
