"""The beginning of a replay: records from before what is owed, which nobody is to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbnfast.enums import UNDEF_TIMESTAMP
from dbnfast.layouts.programs import FILTER_TS_AT, SNAPSHOT_AT, SNAPSHOT_BITS
from dbnfast.records.deal import dealt
from dbnfast.records.headers import (
    event_times,
    filter_times,
    index_times,
    instrument_ids,
    record_sizes,
    record_types,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast._typing import Column
    from dbnfast.records.records import Records


class Lead:
    """
    What is left out of a replay until it reaches what is owed.

    A subscription that begins at some moment is owed what is sent from then on. Records that are
    sent just after it have earlier times of their own, so that a replay of them has to begin
    earlier, and brings some from before the subscription. A replay has the order in which records
    were sent: those come first. Of several replays at once each record is judged by the latest
    of its times.

    Some gateways replay more than they are asked for, or send everything again on each connection.
    What is older than the start was delivered before, as long as a start was found at all.

    Parameters
    ----------
    rtype : int
        Of the records.
    start : int
        What the replay was asked to begin with, ns since 1970-01-01 UTC.
    floor : int or callable
        Since when records are owed: one time, or what gives for each of some instrument ids since
        when by the time at which records were sent, since when by what a start is held against,
        and from when they are replayed.
    known : bool
        Whether the start follows from records that were delivered; else what is older than it
        shows that the gateway's clock is not that of its data.

    Attributes
    ----------
    over : bool
        Whether nothing more is to be left out.
    floor : int or callable
        As given; it changes where another subscription comes.
    """

    def __init__(
        self,
        rtype: int,
        start: int,
        floor: int | Callable[[Column], tuple[Column, Column, Column]],
        known: bool,
    ) -> None:
        self.over = False
        self._rtype = rtype
        self._start = start
        self.floor: int | Callable[[Column], tuple[Column, Column, Column]]
        self.floor = floor if callable(floor) else max(floor, start)
        self._known = known
        self._early = False  # whether the replay began before its start

    def leave_out(self, records: Records, shots: bool) -> Records:
        """
        Leave out what comes before what is owed.

        Parameters
        ----------
        records : Records
            The next ones.
        shots : bool
            Whether a snapshot of the book was asked for, which all of is wanted.

        Returns
        -------
        Records
            The same object where nothing is left out, else a copy of the others.
        """
        floor = self.floor
        if not (callable(floor) or shots or self._early) and self._is_owed(records, floor):
            self.over = True  # at once, as nearly always
            return records
        own = record_types(records) == self._rtype
        if shots:
            own &= ~snapshots_in(records)
        places = np.flatnonzero(own)
        if not len(places):
            return records
        times = sent_times(records)[places]
        if not self._known and times.max() < self._start:
            self.over = True
            return records
        # What is older than the start, by the time that a start is held against, was delivered
        # before; where there is any, late ones follow.
        old = np.zeros(len(places), bool)
        held = np.where(snapshots_in(records), sent_times(records), filter_times(records))[places]
        if self._known:
            old = held < self._start
        self._early = self._early or bool(old.any())
        if callable(floor):
            sent, asked, lows = floor(instrument_ids(records)[places])
            early = old | ((times < sent) & (held < asked) & (times >= lows))
        else:
            early = old | (times < floor)
            owed = ~early
            self.over = bool(owed.any()) and not self._early
            if owed.any():
                early[np.argmax(owed) :] &= old[np.argmax(owed) :]
        early &= times > 0  # what has no time is nobody's to judge
        chosen = np.ones(len(records), np.int32)
        chosen[places[early]] = 0
        return records if chosen.all() else dealt(records, chosen, 2)[1]

    def _is_owed(self, records: Records, floor: int) -> bool:
        # whether the first record is: its filter time alone shows that, or nothing does
        data, rtype = records.data, self._rtype
        if data[1] != rtype:
            return False
        at = int(FILTER_TS_AT[rtype])
        held = int.from_bytes(data[at : at + 8], "little")
        return floor <= held < UNDEF_TIMESTAMP


def snapshots_in(records: Records) -> Column:
    """
    Find the records of snapshots of the book.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of bool, shape (n_records,)
    """
    types = record_types(records)
    found = np.zeros(len(records), bool)
    places = np.flatnonzero(SNAPSHOT_BITS[types])
    ends = np.cumsum(record_sizes(records))
    data = np.frombuffer(records.data, np.uint8)
    at = ends[places] - record_sizes(records)[places] + SNAPSHOT_AT[types[places]]
    found[places] = data[at] & SNAPSHOT_BITS[types[places]] != 0
    return found


def sent_times(records: Records) -> Column:
    """
    Give the latest of each record's own times, before which it was not sent.

    Parameters
    ----------
    records : Records
        Of any types.

    Returns
    -------
    ndarray of uint64, shape (n_records,)
        In ns since 1970-01-01 UTC; 0 where a record has none.
    """
    times = [index_times(records), event_times(records)]
    for each in times:
        each[each == UNDEF_TIMESTAMP] = 0
    latest: Column = np.maximum(*times)
    return latest
