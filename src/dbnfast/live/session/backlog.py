"""What a session received and nobody took yet, bounded by bytes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast.enums import RType
from dbnfast.layouts.table import CONTROL
from dbnfast.live.events import Skipped
from dbnfast.records.deal import dealt
from dbnfast.records.headers import groups, instrument_ids, record_types
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from dbnfast.live.events import Event

BLOCK: Final = "block"
DROP_OLDEST: Final = "drop_oldest"
LATEST: Final = "latest"
POLICIES: Final = (BLOCK, DROP_OLDEST, LATEST)
# what tells of the session itself is never dropped


class Backlog:
    """
    Records and events in the stream's order.

    Parameters
    ----------
    policy : {"block", "drop_oldest", "latest"}
        What happens above the limit: nothing, as the reading is to pause; the oldest records
        go; or only the latest record of each type and instrument stays.
    max_bytes : int
        The limit.

    Attributes
    ----------
    n_bytes, n_records : int
        What is in it.
    skipped_records, skipped_bytes : int
        What was dropped ever.
    """

    def __init__(self, policy: str = BLOCK, max_bytes: int = 64 << 20) -> None:
        self.policy = policy
        self.max_bytes = max_bytes
        self.n_bytes = self.n_records = 0
        self.skipped_records = self.skipped_bytes = 0
        self._items: deque[Records | Event] = deque()
        self._full_again = max_bytes  # where the latest are sought next

    @property
    def full(self) -> bool:
        """Whether the reading is to pause."""
        return self.policy == BLOCK and self.n_bytes >= self.max_bytes

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Records | Event) -> None:
        """
        Add an item.

        Parameters
        ----------
        item : Records or event
            What comes next in the stream.
        """
        self._items.append(item)
        if isinstance(item, Records):
            self.n_bytes += item.nbytes
            self.n_records += len(item)
            if self.n_bytes > self._full_again and self.policy != BLOCK:
                if self.policy == LATEST:
                    self._keep_latest()
                else:
                    self._drop_oldest()

    def take(self) -> list[Records | Event]:
        """
        Take all items.

        Returns
        -------
        list
            In the stream's order.
        """
        items = list(self._items)
        self.clear()
        return items

    def take_next(self) -> Records | Event | None:
        """
        Take the first item.

        Returns
        -------
        Records, event or None
            None where there is none.
        """
        if not self._items:
            return None
        item = self._items.popleft()
        if isinstance(item, Records):
            self.n_bytes -= item.nbytes
            self.n_records -= len(item)
        return item

    def clear(self) -> None:
        """Drop all items, uncounted."""
        self._items.clear()
        self.n_bytes = self.n_records = 0
        self._full_again = self.max_bytes

    def _drop_oldest(self) -> None:
        # as many as make room for a while, so that not every batch has to
        wanted = self.max_bytes * 3 // 4
        kept: deque[Records | Event] = deque()
        dropped: list[Records] = []
        while self._items and self.n_bytes > wanted:
            item = self._items.popleft()
            if not isinstance(item, Records):
                kept.append(item)
                continue
            self.n_bytes -= item.nbytes
            self.n_records -= len(item)
            control, rest = _parted(item)
            if control is not None:
                kept.append(control)
            if rest is not None:
                dropped.append(rest)
        for item in kept:
            if isinstance(item, Records):
                self.n_bytes += item.nbytes
                self.n_records += len(item)
        self._full_again = max(self.max_bytes, self.n_bytes + self.max_bytes // 4)
        self._items.extendleft(reversed(_joined([*kept, *self._note(dropped, DROP_OLDEST)])))

    def _keep_latest(self) -> None:
        everything = [item for item in self._items if isinstance(item, Records)]
        events = [item for item in self._items if not isinstance(item, Records)]
        latest: list[Records] = []
        dropped: list[Records] = []
        seen = np.empty(0, np.uint64)
        for records in reversed(everything):
            keys = record_types(records).astype(np.uint64) << np.uint64(32)
            keys |= instrument_ids(records).astype(np.uint64)
            # the last of each: the first from behind
            found, places = np.unique(keys[::-1], return_index=True)
            wanted = np.zeros(len(records), bool)
            wanted[len(records) - 1 - places[~np.isin(found, seen)]] = True
            wanted |= np.isin(record_types(records), list(CONTROL))
            seen = np.union1d(seen, found)
            old, new = _dealt(records, wanted)
            if new is not None:
                latest.append(new)
            if old is not None:
                dropped.append(old)
        if latest:  # one copy, so that a few records do not hold the blocks that they came in
            latest = [Records.concat(reversed(latest))]
        self._items = deque([*_joined([*events, *self._note(dropped, LATEST)]), *latest])
        self.n_bytes = sum(records.nbytes for records in latest)
        self.n_records = sum(len(records) for records in latest)
        # with very many instruments the latest alone may be more than the limit
        self._full_again = max(self.max_bytes, 2 * self.n_bytes)

    def _note(self, dropped: list[Records], reason: str) -> list[Skipped]:
        if not dropped:
            return []
        counts: dict[RType | int, int] = {}
        for records in dropped:
            for rtype, n in records.counts.items():
                counts[rtype] = counts.get(rtype, 0) + n
        n_records = sum(counts.values())
        n_bytes = sum(records.nbytes for records in dropped)
        self.skipped_records += n_records
        self.skipped_bytes += n_bytes
        return [Skipped(reason, n_records, n_bytes, counts)]


def _joined(items: list[Records | Event]) -> list[Records | Event]:
    # one Skipped in place of neighbours: who takes nothing all night has them all waiting
    found: list[Records | Event] = []
    for item in items:
        last = found[-1] if found else None
        if isinstance(item, Skipped) and isinstance(last, Skipped):
            counts = dict(last.counts)
            for rtype, n in item.counts.items():
                counts[rtype] = counts.get(rtype, 0) + n
            n_records, n_bytes = last.n_records + item.n_records, last.n_bytes + item.n_bytes
            found[-1] = Skipped(item.reason, n_records, n_bytes, counts)
        else:
            found.append(item)
    return found


def _parted(records: Records) -> tuple[Records | None, Records | None]:
    # the records of the session itself, and the others
    if not any(rtype in CONTROL for rtype, _, _ in groups(records)):
        return None, records
    rest, control = _dealt(records, np.isin(record_types(records), list(CONTROL)))
    return control, rest


def _dealt(
    records: Records, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[Records | None, Records | None]:
    # what is not chosen, and what is; copies, so that small rests do not hold large blocks
    if chosen.all():
        return None, records
    if not chosen.any():
        return records, None
    left, right = dealt(records, chosen.astype(np.int32), 2)
    return left, right
