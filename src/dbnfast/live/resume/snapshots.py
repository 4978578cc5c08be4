"""Snapshots of the book: whether they came whole, and what of a replay is in them already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbnfast.enums import F_LAST, F_SNAPSHOT, UNDEF_TIMESTAMP, RType
from dbnfast.records.headers import of_block, record_sizes, record_types

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbnfast._typing import Column
    from dbnfast.records.records import Records


class Snapshot:
    """
    What came of the state of the book that a subscription asked for.

    Attributes
    ----------
    asked : bool
        Whether this connection was asked for it.
    done : bool
        Whether an earlier one brought it whole.
    """

    def __init__(self) -> None:
        self.done = False
        self.ask(True)

    def ask(self, asked: bool) -> None:
        """
        Begin a connection.

        Parameters
        ----------
        asked : bool
            Whether it is asked for a snapshot.
        """
        self.asked = asked
        self._last = False
        self._seen: set[int] = set()
        self._expected: frozenset[int] = frozenset()

    def see(self, ids: Iterable[int], last: bool, mapped: Iterable[int]) -> None:
        """
        Take records of the snapshot.

        Parameters
        ----------
        ids : iterable of int
            Their instruments.
        last : bool
            Whether the latest of them is marked as the last one.
        mapped : iterable of int
            The instruments that the subscription has by now.
        """
        if not self._seen:
            self._expected = frozenset(mapped)
        self._seen.update(ids)
        self._last = last

    @property
    def whole(self) -> bool:
        """Whether the book is known: its snapshot came, and ended, for every instrument."""
        if not self.asked:
            return self.done
        return self._last and self._expected <= self._seen

    def settle(self, accepted: bool) -> None:
        """
        End a connection.

        Parameters
        ----------
        accepted : bool
            Whether it brought anything; if not it is as if it had never been.
        """
        if accepted:
            self.done = self.whole
        self.ask(False)


def snapshot_records(records: Records, shots: dict[int, int]) -> tuple[Column, Column]:
    """
    Find the records of snapshots.

    Parameters
    ----------
    records : Records
        Order book records among others.
    shots : dict of int to int
        The time of each instrument's snapshot, ns since 1970-01-01 UTC; brought up to date.

    Returns
    -------
    ids, last : ndarray of uint32, ndarray of bool, shape (n,)
        Of each the instrument, and whether it is marked as the last one.
    """
    array = records.array(RType.MBO)
    array = array[array["flags"] & F_SNAPSHOT != 0]
    ids, last = array["instrument_id"], array["flags"] & F_LAST != 0
    for id, ts in zip(ids.tolist(), array["ts_recv"].tolist(), strict=True):
        if ts != UNDEF_TIMESTAMP:
            shots[id] = ts
    return ids, last


def without_known(records: Records, shots: Mapping[int, int]) -> Records:
    """
    Leave out the replayed book records that came before the snapshot of their instrument.

    Parameters
    ----------
    records : Records
        Order book records among others.
    shots : mapping of int to int
        The time of each instrument's snapshot, ns since 1970-01-01 UTC.

    Returns
    -------
    Records
        The same object where there are none, else a copy of the others.
    """
    array = records.array(RType.MBO)
    ids, inverse = np.unique(array["instrument_id"], return_inverse=True)
    times = np.array([shots.get(id, 0) for id in ids.tolist()], np.uint64)[inverse]
    known = (array["ts_recv"] <= times) & (array["ts_event"] <= times)
    known &= array["flags"] & F_SNAPSHOT == 0
    if not known.any():
        return records
    wanted = np.ones(len(records), bool)
    wanted[np.flatnonzero(record_types(records) == int(RType.MBO))[known]] = False
    sizes = record_sizes(records)
    ends = np.cumsum(sizes)
    data = records.data
    raw = b"".join(
        data[end - size : end]
        for size, end in zip(sizes[wanted].tolist(), ends[wanted].tolist(), strict=True)
    )
    return of_block(raw, len(raw), records.version, records.ts_out, records.metadata)
