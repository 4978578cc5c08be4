"""
What a session delivered, as far as resuming it needs that.

A schema's resume point is the highest filter time that was received (ts_event; ts_recv for bbo
and cbbo schemas) minus an overlap; it never lies before what the subscription began with. All
that was missed is at the point or behind it as long as no record is older than one before it by
more than the overlap, which is what the overlap is for. Older ones are lost without notice.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbnfast.enums import RType, Schema
from dbnfast.layouts.table import CONTROL, LAYOUTS_BY_RTYPE
from dbnfast.live.resume.delivered import PASSED, TIMED, Kept, highest
from dbnfast.live.resume.lanes import (
    NONE_YET,
    OWN_MARGIN,
    SLOW_RTYPES,
    Lane,
    State,
    beginning,
    lane_rtype,
)
from dbnfast.live.resume.snapshots import snapshot_records, without_known
from dbnfast.live.wire.control import Ack, Finished, Heard, heard_in, named_in
from dbnfast.records.headers import filter_times, groups, has_rtype, record_types
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dbnfast.live.resume.delivered import Peaks
    from dbnfast.live.wire.requests import Subscription

OVERLAP_NS: Final = 2_000_000_000
_MBO: Final = int(RType.MBO)


class Replayed(NamedTuple):
    """
    A replay that is over.

    Attributes
    ----------
    schema : Schema
        Of its records.
    whole : bool
        Whether it brought again what was delivered last; else the gateway made none.
    start_ns, end_ns : int
        What it was asked to begin with, and when it was over, ns since 1970-01-01 UTC.
    """

    schema: Schema
    whole: bool
    start_ns: int
    end_ns: int


class Progress:
    """
    What a session delivered, as far as resuming it needs that.

    Each subscription of the user goes to `subscribed`, the start in each connection's metadata
    to `started`, every batch of records to `push`. When a connection ends, `disconnected`; then
    `resume` tells what to ask the next one for, and `resumed` is told what it was asked for.
    A connection that ends before it brought anything changes nothing.

    Parameters
    ----------
    overlap_ns : int
        How much of what was delivered is asked for again, in ns. Records may be older than one
        before them by as much.
    keep : bool
        Whether anything is to be resumed; else no record is kept for that.

    Raises
    ------
    ValueError
        The overlap is negative.

    Notes
    -----
    For one thread at a time. About `overlap_ns` of records is kept, as references to the
    Records that `push` gave. For each record of definition, statistics, status and imbalance,
    which are resumed from where they began, a hash of 128 bits with a count is kept all along.
    """

    def __init__(self, *, overlap_ns: int = OVERLAP_NS, keep: bool = True) -> None:
        if overlap_ns < 0:
            raise ValueError(f"overlap_ns is {overlap_ns}, expected 0 or more")
        self.overlap_ns = overlap_ns
        self._states: dict[int, State] = {}
        self._by_name: dict[str, list[State]] = {}
        self._lanes: dict[int, Lane] = {}
        self._plain: dict[int, Lane] = {}  # those whose batches need nothing but a look
        self._kept = Kept(SLOW_RTYPES)
        self._keeps = keep
        self._start_ns: int | None = None  # of the session
        self._asked_ns = 0  # when the connection was asked to begin, by this side's clock
        self._stray = NONE_YET  # the highest time of records that nobody subscribed to
        self._replaying: set[Schema] = set()
        self._completed: list[Replayed] = []
        self._connected = True  # or about to be
        self._accepted = True  # the connection brought what only a good one brings
        self._again = False  # it is not the first one
        self._untold = False  # a first subscription's beginning is not known yet
        self._opened_ns: int | None = None  # the start in its metadata
        self._now_ns: int | None = None  # the gateway's time at its first control record
        self._ahead_ns: int | None = None  # how much its clock is ahead of this side's at least
        self._replayed: set[int] = set()  # the rtypes it was asked to replay
        self._doubted: list[State] = []  # whose beginning the next records are held against
        self._shots: dict[int, int] = {}  # the time of each instrument's snapshot
        self._in_shots = False  # whether a replay reaches back before snapshots
        self._leads = False  # whether a replay begins, of which something is left out

    def subscribed(self, sub: Subscription, sent_ns: int | None = None) -> None:
        """
        Note what the user asks for.

        Parameters
        ----------
        sub : Subscription
            Each one once, in their order, late ones too.
        sent_ns : int, optional
            This side's time, where a connection that was told to begin is asked for it at once.

        Raises
        ------
        ValueError
            There is one with this id.
        """
        if sub.id in self._states:
            raise ValueError(f"subscription {sub.id} is there already")
        late = self._start_ns is not None or sent_ns is not None
        state = self._states[sub.id] = State(sub, late)
        state.sent_ns = sent_ns
        for name in state.names:
            self._by_name.setdefault(name, []).append(state)
        rtype = lane_rtype(sub.schema)
        lane = self._lanes.setdefault(rtype, Lane(rtype))
        if not late and sub.start is not None:
            self._replaying.add(sub.schema)
        lane.add(state, late and self._replays(lane), self._connected)
        self._settle()

    def started(self, start_ns: int, now_ns: int | None = None) -> None:
        """
        Note that a connection's records begin.

        Parameters
        ----------
        start_ns : int
            The start in its metadata, ns since 1970-01-01 UTC. The first one is the session's.
        now_ns : int, optional
            This side's time when it asked for them; `start_ns` where it is not known.
        """
        self._opened_ns = start_ns
        if self._start_ns is not None:
            return
        self._start_ns = start_ns
        self._asked_ns = start_ns if now_ns is None else now_ns
        self._connected = self._accepted = True
        for state in self._states.values():
            if state.sub.start is not None:
                state.floor = state.sub.start
        if not self._replaying:  # else it is the lowest start that was asked for
            self._begin([s for s in self._states.values() if not s.late], start_ns)
        self._untold = any(state.begins_with_it for state in self._states.values())
        for lane in self._lanes.values():
            if self._replays(lane):
                lane.replay()
            else:
                lane.go_live()
        self._settle()

    def takes_all(self, records: Records) -> bool:
        """
        Tell whether `push` would give these very records, and nothing else depends on them.

        Parameters
        ----------
        records : Records
            The next ones.

        Returns
        -------
        bool
            False also where nobody knows without looking. They may be pushed later, but before
            anything else is done here.
        """
        plain = self._plain
        for rtype, _, _ in groups(records):
            if rtype not in plain:
                return False
        return bool(groups(records))

    def push(self, records: Records, now_ns: int | None = None) -> Records:
        """
        Take the next records of the stream.

        Parameters
        ----------
        records : Records
            Every batch, in order, records of all types among them.
        now_ns : int, optional
            This side's time, where a control record is among them: an answer that comes late
            may have been given late, to what had begun before.

        Returns
        -------
        Records
            The same object where all of them are new, as they nearly always are; else a copy of
            those that are.

        Raises
        ------
        TypeError
            They are no Records.
        """
        if not isinstance(records, Records):
            raise TypeError(f"{type(records).__name__} is no Records")
        found = highest(records)
        for rtype, top, state in found:
            lane = self._plain.get(rtype)
            if lane is None or state & PASSED:
                return self._push(records, found, now_ns)
            if top > lane.high and state & TIMED:
                lane.high = top
        self._keep(records, found)
        return records

    def disconnected(self) -> None:
        """Note that the connection ended, or that there was none."""
        if self._untold:  # no record told the gateway's time: this side's is all there is
            for state in self._states.values():
                if state.begins_with_it:
                    state.begin(self._asked(state), OWN_MARGIN)
            self._untold = False
        for state in self._states.values():
            if state.snapshot is not None and self._start_ns is not None:
                state.snapshot.settle(self._connected and self._accepted)
        for lane in self._lanes.values():
            if lane.doubt != NONE_YET and lane.beside != NONE_YET:  # nothing came later
                lane.check_clock(lane.beside, self.overlap_ns)
            lane.doubt = lane.beside = NONE_YET
            lane.end()
            lane.finished.clear()
        self._kept.end()
        self._in_shots = False
        self._connected = False
        self._settle()

    def resumed(self, subs: Sequence[Subscription], now_ns: int | None = None) -> None:
        """
        Note what a new connection is asked for.

        Parameters
        ----------
        subs : sequence of Subscription
            What `resume` gave.
        now_ns : int, optional
            This side's time.

        Raises
        ------
        ValueError
            One of them was never subscribed to.
        """
        unknown = [sub.id for sub in subs if sub.id not in self._states]
        if unknown:
            raise ValueError(f"subscription {unknown[0]} is not there")
        self._connected = True
        self._opened_ns = self._now_ns = self._ahead_ns = None
        self._replaying = {sub.schema for sub in subs if sub.start is not None}
        if self._start_ns is None:
            return
        self._again, self._accepted = True, False
        self._asked_ns = now_ns or 0
        starts: dict[int, int] = {}
        for sub in subs:
            state = self._states[sub.id]
            state.acknowledged = False
            state.told.clear()
            state.fresh = sub.start is None and self._has_begun(state)
            if state.sent_ns is None and not self._has_begun(state):
                state.sent_ns = now_ns
            if state.snapshot is not None:
                state.snapshot.ask(sub.snapshot)
            if sub.start is not None:
                if state.floor is None:
                    state.floor = sub.start
                rtype = lane_rtype(sub.schema)
                starts[rtype] = min(sub.start, starts.get(rtype, sub.start))
        self._replayed = set(starts)
        for rtype, start in starts.items():
            true = now_ns is None or start <= now_ns
            self._lanes[rtype].replay_again(start, self.overlap_ns, true)
        known = {rtype: self._lanes[rtype].high != NONE_YET for rtype in starts}
        since = {rtype: start if known[rtype] else 0 for rtype, start in starts.items()}
        self._kept.begin(since, new_shots=self._new_shots)
        self._in_shots = self._reaches_before_snapshots(starts)
        self._settle()

    @property
    def points(self) -> Mapping[Schema, int]:
        """The resume points, ns since 1970-01-01 UTC, of the schemas that have begun."""
        points: dict[Schema, int] = {}
        for lane in self._lanes.values():
            point = lane.point(self.overlap_ns)
            if point is not None:
                points.update(dict.fromkeys(lane.schemas, point))
        return MappingProxyType(points)

    @property
    def highest(self) -> Mapping[Schema, int]:
        """The highest filter times received, ns since 1970-01-01 UTC, where anything was."""
        return MappingProxyType(
            {
                schema: lane.high
                for lane in self._lanes.values()
                if lane.high != NONE_YET
                for schema in lane.schemas
            }
        )

    def latest(self, schema: Schema) -> int:
        """
        Tell up to when records of a schema came for certain.

        Parameters
        ----------
        schema : Schema
            One that was subscribed to, and has begun.

        Returns
        -------
        int
            The highest filter time received, else the beginning, ns since 1970-01-01 UTC.
        """
        lane = self._lanes[lane_rtype(schema)]
        floors = [state.floor for state in lane.states if state.floor is not None]
        return max(lane.high, min(floors))

    @property
    def last_ns(self) -> int:
        """The highest filter time of any market data, else the session's start, else 0."""
        last = max((lane.high for lane in self._lanes.values()), default=NONE_YET)
        last = max(last, self._stray)
        return last if last != NONE_YET else self._start_ns or 0

    @property
    def replaying(self) -> frozenset[Schema]:
        """The schemas whose replay is not reported complete."""
        return frozenset(self._replaying)

    def completed(self) -> list[Replayed]:
        """
        Give the replays of resumed sessions that were over since the last call.

        Returns
        -------
        list of Replayed
            In the order of the reports. tbbo and mbp-1 share their rtype: where both are
            replayed they come together, when both are complete.
        """
        completed, self._completed = self._completed, []
        return completed

    @property
    def kept_bytes(self) -> int:
        """Bytes of the records that are kept, and of the tables of hashes."""
        return self._kept.nbytes

    def _has_begun(self, state: State) -> bool:
        # whether the gateway owes it records: a late one only once it is acknowledged
        return state.floor is not None or (self._start_ns is not None and not state.late)

    @property
    def begun(self) -> bool:
        """Whether the session's first connection came as far as its records."""
        return self._start_ns is not None

    def starts(self) -> dict[int, int | None]:
        """
        Give what each subscription that has begun would be sent again with.

        Returns
        -------
        dict of int to int or None
            By id: the resume point of its schema, but nothing from before the subscription, ns
            since 1970-01-01 UTC; None where nobody knows since when it goes on.
        """
        found: dict[int, int | None] = {}
        for lane in self._lanes.values():
            for state, start in zip(lane.states, lane.starts(self.overlap_ns), strict=True):
                if start is not None or self._has_begun(state):
                    found[state.sub.id] = start
        return found

    def lacks_snapshot(self, sub: Subscription) -> bool:
        """
        Tell whether a subscription waits for the state of the book.

        Parameters
        ----------
        sub : Subscription
            One that was subscribed to.

        Returns
        -------
        bool
            True where it asked for a snapshot and that did not come whole.
        """
        snapshot = self._states[sub.id].snapshot
        return snapshot is not None and not snapshot.whole

    def owed_since(self, sub: Subscription) -> int | None:
        """
        Tell since when records of a subscription are missing, where none are replayed.

        Parameters
        ----------
        sub : Subscription
            One that was subscribed to.

        Returns
        -------
        int or None
            The resume point of its schema, ns since 1970-01-01 UTC. Where it is not known to have
            begun, but may have, the time at which it was asked for. None where nothing is owed.
        """
        state = self._states[sub.id]
        if self._has_begun(state):
            return max(self.points[sub.schema], state.lowest(self.overlap_ns) or 0)
        if state.sent_ns is None:
            return None
        return max(0, beginning(sub.schema, state.sent_ns) - self.overlap_ns)

    @property
    def _new_shots(self) -> bool:
        # whether a snapshot of the book is on its way, of which all is wanted
        shots = [state.snapshot for state in self._states.values()]
        return any(shot is not None and shot.asked for shot in shots)

    def _replays(self, lane: Lane) -> bool:
        return any(state.sub.schema in self._replaying for state in lane.states)

    def _settle(self, found: Peaks = ()) -> None:
        # which lanes need nothing but a look, after a batch with these times
        for state in self._doubted:  # from the next batch on: all of it came later
            lane = self._lanes[lane_rtype(state.sub.schema)]
            if state.floor is not None:
                lane.doubt = max(lane.doubt, state.floor - self.overlap_ns)
                lane.beside = _top_of(found, lane.rtype)
        if self._doubted:
            self._doubted.clear()
        unsettled = not self._accepted or self._kept.expecting or self._in_shots or self._untold
        self._leads = False
        self._plain = {}
        for rtype, lane in self._lanes.items():
            if lane.lead is not None:
                self._leads = True
            elif not unsettled and lane.awaited == NONE_YET and lane.plain:
                self._plain[rtype] = lane

    def _begin(self, states: Iterable[State], now_ns: int) -> None:
        # the gateway's time says when these began
        for state in states:
            lane = self._lanes[lane_rtype(state.sub.schema)]
            state.begin(now_ns)
            if not lane.slow and not self._replays(lane):
                self._doubted.append(state)

    def _keep(self, records: Records, found: Peaks) -> None:
        if not self._keeps:
            return
        kept = self._kept
        kept.keep(records, found, self._lanes)
        if kept.due:
            points = {r: lane.kept_from(self.overlap_ns) for r, lane in self._lanes.items()}
            kept.trim({rtype: point for rtype, point in points.items() if point is not None})

    def _push(self, records: Records, found: Peaks, now_ns: int | None) -> Records:
        # a batch that needs more than a look
        rtypes = {rtype for rtype, _, _ in found}
        ends: list[Finished] = []
        market = any(rtype not in CONTROL and rtype in LAYOUTS_BY_RTYPE for rtype in rtypes)
        goes_on = market
        control = not rtypes.isdisjoint(CONTROL)
        if control:
            if int(RType.SYMBOL_MAPPING) in rtypes:
                self._map(records)
            heard = heard_in(records)
            self._hear(heard, now_ns)
            goes_on = goes_on or heard.goes_on
            ends = heard.finished
        if goes_on and not self._accepted:
            self._accept()
        parts, at = [], 0
        for place, schema, over_ns in ends:
            if schema in self._replaying:  # what is behind it is new whatever it equals
                end = place + 1
                parts.append((records[at:end], self._take(records[at:end])))
                self._complete(schema, over_ns)
                at = end
        if not parts:
            taken = self._take(records, found)
        else:
            parts.append((records[at:], self._take(records[at:])))
            alike = all(before.nbytes == after.nbytes for before, after in parts)
            taken = records if alike else Records.concat(after for _, after in parts)
        # while a replay brings what is known nothing else changes
        if control or self._leads or self._doubted or not self._kept.expecting:
            self._settle(found)
        return taken

    def _map(self, records: Records) -> None:
        whole = [s for s in self._states.values() if s.everything and s.snapshot is not None]
        if not self._by_name and not whole:
            return
        named = named_in(records)
        for state in whole:
            state.told.update(id for _, id in named)
        for name, instrument_id in named:
            for state in self._by_name.get(name, ()):
                self._lanes[lane_rtype(state.sub.schema)].map(state, instrument_id)

    def _hear(self, heard: Heard, now_ns: int | None) -> None:
        if heard.now_ns is not None and now_ns is not None:
            ahead = heard.now_ns - now_ns  # or more, by the time that the record was on its way
            self._ahead_ns = ahead if self._ahead_ns is None else max(ahead, self._ahead_ns)
        if self._now_ns is None and heard.now_ns is not None:
            self._now_ns = heard.now_ns
            if self._untold and self._start_ns is not None:
                for state in self._states.values():
                    if state.begins_with_it:
                        self._begin([state], self._began(state, heard.now_ns))
                self._untold = False
        for ack in heard.acks:
            self._acknowledge(ack)

    def _acknowledge(self, ack: Ack) -> None:
        # older gateways do not say which one: requests are answered in their order
        waiting = [
            state
            for state in self._states.values()
            if not state.acknowledged
            and state.sub.schema == ack.schema
            and ack.id in (None, state.sub.id)
        ]
        for state in waiting[:1]:
            state.acknowledged = True
            if state.late and state.floor is None:
                self._begin([state], self._began(state, ack.now_ns))

    def _asked(self, state: State) -> int:
        # when the connection was asked for it, by this side's clock
        return max(self._asked_ns, state.sent_ns or 0)

    def _began(self, state: State, told_ns: int) -> int:
        # since when it goes on, by the gateway's clock, which told the time later
        asked_ns = self._asked(state)
        if not asked_ns or self._ahead_ns is None:
            return told_ns
        lowest, own = asked_ns + self._ahead_ns, asked_ns - OWN_MARGIN
        if own <= told_ns:  # the clocks may be alike: then this side may just have read late
            lowest = max(lowest, own)
        return min(told_ns, lowest)

    def _accept(self) -> None:
        # the connection is good: what was asked for without a start begins anew with it
        fresh = [state for state in self._states.values() if state.fresh]
        now_ns = self._now_ns if self._replayed or self._opened_ns is None else self._opened_ns
        if fresh and now_ns is None:
            return
        self._accepted = True
        for rtype, lane in self._lanes.items():
            if rtype not in self._replayed:
                lane.go_live()
                if lane.slow and any(state.fresh for state in lane.states):
                    self._kept.restart(rtype)
        if now_ns is not None:
            self._begin(fresh, now_ns)
            for state in fresh:  # what was sent just before is in a gap
                state.margin = 0

    def _take(self, records: Records, found: Peaks | None = None) -> Records:
        if found is None:
            found = highest(records)
        if self._leads:
            led = self._leave_out(records)
            if led is not records:
                records, found = led, highest(led)
        slow = False
        for rtype, top, state in found:
            lane = self._lanes.get(rtype)
            if lane is not None:
                slow = slow or lane.slow
                if top >= lane.awaited != NONE_YET:
                    self._look_for_skipped(lane, records, top)
                self._rise(lane, records, top if state & TIMED else NONE_YET)
                if state & PASSED:
                    self._see_snapshots(lane, records)
            elif rtype not in CONTROL and rtype in LAYOUTS_BY_RTYPE and state & TIMED:
                self._stray = max(self._stray, top)
        counted = slow and self._keeps
        taken = self._kept.sift(records) if counted or self._kept.expecting else records
        if self._in_shots and has_rtype(taken, _MBO):
            taken = without_known(taken, self._shots)
        self._keep(taken, found if taken is records else highest(taken))
        return taken

    def _leave_out(self, records: Records) -> Records:
        # what a replay brings from before what is owed
        for rtype in {rtype for rtype, _, _ in groups(records)}:
            lane = self._lanes.get(rtype)
            if lane is not None and lane.lead is not None:
                records = lane.lead.leave_out(records, self._new_shots)
                if lane.lead.over:
                    lane.lead = None
        return records

    def _rise(self, lane: Lane, records: Records, top: int) -> None:
        if top == NONE_YET:
            return
        if lane.doubt != NONE_YET:
            lane.check_clock(top, self.overlap_ns)
        lane.high = max(lane.high, top)
        if lane.times is not None:
            lane.times.update(records, lane.rtype)

    def _look_for_skipped(self, lane: Lane, records: Records, top: int) -> None:
        # a gateway may take no notice of a start, and go on with what it has now
        if top == lane.awaited:
            lane.awaited = NONE_YET
        elif lane.skips(filter_times(records)[record_types(records) == lane.rtype]):
            for schema in [s for s in lane.schemas if s in self._replaying]:
                self._complete(schema, top)

    def _complete(self, schema: Schema, now_ns: int) -> None:
        self._replaying.discard(schema)
        lane = self._lanes[lane_rtype(schema)]
        lane.finished.append(schema)
        if self._replays(lane):
            return  # its sibling of the same rtype is not
        if self._again:
            whole = lane.awaited == NONE_YET
            self._completed += [Replayed(s, whole, lane.asked, now_ns) for s in lane.finished]
        lane.finished.clear()
        lane.go_live()
        self._kept.forget(lane.rtype)
        if lane.rtype == _MBO:
            self._in_shots = False

    def _see_snapshots(self, lane: Lane, records: Records) -> None:
        ids, last = snapshot_records(records, self._shots)
        for state in lane.states:
            if state.snapshot is None or not state.snapshot.asked:
                continue
            alone = state.everything or len(lane.states) == 1
            own = np.ones(len(ids), bool) if alone else np.isin(ids, list(state.ids))
            if own.any():
                mapped = state.told if state.everything else state.ids
                state.snapshot.see(ids[own].tolist(), bool(last[own][-1]), mapped)

    def _reaches_before_snapshots(self, starts: Mapping[int, int]) -> bool:
        # what a replay brings of the time before a snapshot is in that already
        lane = self._lanes.get(_MBO)
        if lane is None or _MBO not in starts or not self._shots:
            return False
        return starts[_MBO] <= max(self._shots.values()) and all(
            state.snapshot is not None for state in lane.states
        )


def _top_of(found: Peaks, rtype: int) -> int:
    # the highest time of an rtype in a batch
    tops = [top for other, top, state in found if other == rtype and state & TIMED]
    return tops[0] if tops else NONE_YET
