"""Where each subscription of a session stands, grouped by the rtype of its records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast._core.resume import IdPeaks
from dbnfast._util.times import DAY
from dbnfast.enums import SCHEMA_RTYPES, UNDEF_TIMESTAMP, RType, Schema, SType
from dbnfast.live.resume.delivered import CLOCK, NEVER
from dbnfast.live.resume.lead import Lead
from dbnfast.live.resume.snapshots import Snapshot
from dbnfast.live.wire.requests import ALL_SYMBOLS

if TYPE_CHECKING:
    from dbnfast._typing import Column
    from dbnfast.live.wire.requests import Subscription

# resumed from where they began: their times are of what they state, not of when it was sent
SLOW: Final = frozenset({Schema.DEFINITION, Schema.STATISTICS, Schema.STATUS, Schema.IMBALANCE})
SLOW_RTYPES: Final = frozenset(int(SCHEMA_RTYPES[schema]) for schema in SLOW)
# ns: how much a gateway's clock may be ahead of what it sends, when it says that something begins
MARGIN: Final = 1_000_000
OWN_MARGIN: Final = 100_000_000  # ns: the same of this side's clock
NONE_YET: Final = -1  # stands for a time where nothing was received

_SECOND: Final = 10**9
_BARS: Final = {
    Schema.OHLCV_1S: _SECOND,
    Schema.OHLCV_1M: 60 * _SECOND,
    Schema.OHLCV_1H: 3600 * _SECOND,
    Schema.OHLCV_1D: DAY,
    Schema.OHLCV_EOD: DAY,
}


def beginning(schema: Schema, now_ns: int) -> int:
    """
    Find the lowest filter time of records that are sent from some moment on.

    Parameters
    ----------
    schema : Schema
        What is sent.
    now_ns : int
        The moment, ns since 1970-01-01 UTC.

    Returns
    -------
    int
        The moment itself; for bars, which have the time of their beginning and are sent at
        their end, the beginning of the one that goes on.
    """
    return now_ns - now_ns % _BARS.get(schema, 1)


class State:
    """
    Where a subscription stands.

    Parameters
    ----------
    sub : Subscription
        What was asked for.
    late : bool
        Whether the session had been told to start by then.

    Attributes
    ----------
    floor : int or None
        Its beginning, ns since 1970-01-01 UTC: nothing older is owed. None where it is not
        known to have begun.
    clocked : bool
        Whether that is a time of a clock, not a start that was asked for.
    margin : int
        How much earlier a record may have been sent that was sent behind it, in ns.
    high : int
        The highest filter time known to be its own; NONE_YET where its lane knows better, or
        none is.
    ids : set of int
        Its instruments, as far as they are known; none where it has all of them.
    told : set of int
        The instruments that this connection named, where it has all of them and a snapshot.
    acknowledged : bool
        Whether this connection answered.
    fresh : bool
        Whether this connection was asked for it without a start, though it had begun.
    sent_ns : int or None
        This side's time when a late one was sent first, ns since 1970-01-01 UTC: where nothing
        answers it, the gateway may have begun it all the same.
    snapshot : Snapshot or None
        None where it has none.
    """

    def __init__(self, sub: Subscription, late: bool) -> None:
        self.sub = sub
        self.late = late
        self.floor: int | None = None
        self.replayed_from = 0
        self.clocked = False
        self.margin = 0
        self.high = NONE_YET
        self.acknowledged = False
        self.fresh = False
        self.sent_ns: int | None = None
        self.snapshot = Snapshot() if sub.snapshot else None
        self.everything = sub.symbols == (ALL_SYMBOLS,)
        self.ids: set[int] = set()
        self.told: set[int] = set()
        self.names: frozenset[str] = frozenset()
        if sub.stype_in == SType.INSTRUMENT_ID:
            self.ids.update(int(text) for text in sub.symbols if text.isdecimal())
        elif not self.everything:
            self.names = frozenset(symbol.upper() for symbol in sub.symbols)

    def begin(self, now_ns: int, margin: int = MARGIN) -> None:
        """
        Note that it began without a start.

        Parameters
        ----------
        now_ns : int
            The gateway's time then, or this side's.
        margin : int
            How much later that may be, in ns.
        """
        self.floor = beginning(self.sub.schema, now_ns)
        self.clocked, self.margin = True, margin
        self.fresh = False

    @property
    def may_have_any(self) -> bool:
        """Whether any instrument may be its own: all are, or nothing maps its names yet."""
        return self.everything or (bool(self.names) and not self.ids)

    @property
    def begins_with_it(self) -> bool:
        """Whether it begins when the session does, and nobody said yet when that was."""
        return self.floor is None and not self.late

    @property
    def owed_from(self) -> int:
        """The lowest time of a record that was sent since it began."""
        return max(0, (self.floor or 0) - self.margin)

    def lowest(self, overlap_ns: int) -> int | None:
        """
        Find the lowest filter time of a record that is owed.

        Parameters
        ----------
        overlap_ns : int
            How late a record may be, in ns.

        Returns
        -------
        int or None
            A start that was asked for; else before the beginning, since a record that is sent
            then has an earlier time of its own. None where it is not known to have begun.
        """
        if self.floor is None or not self.clocked:
            return self.floor
        return max(0, self.floor - overlap_ns)


class Lane:
    """
    The subscriptions whose records share an rtype, and how far they came.

    A record does not tell which subscription it is of. Once all of them are live one time holds
    for all; while replays go on, each has the highest time of those instruments that it alone
    names: of one that several name nobody knows whose replay brought it.

    Parameters
    ----------
    rtype : int
        Of the records.

    Attributes
    ----------
    states : list of State
        Of the subscriptions, in their order.
    high : int
        The highest filter time received, NONE_YET where nothing was.
    split : bool
        Whether the subscriptions have times of their own.
    times : IdPeaks or None
        The highest times by instrument while a replay goes on that needs them.
    doubt : int
        A first time below this says that the gateway's clock is not that of its data.
    beside : int
        The highest time that came in the same batch as what set the doubt; NONE_YET for nothing.
    lead : Lead or None
        What is left out of a replay that begins.
    awaited : int
        The highest time of what a replay is to bring again, as long as it brought nothing again.
    asked : int
        What the replay was asked to begin with.
    finished : list of Schema
        Replays of a resumed session that were reported complete, the others' still going on.
    """

    def __init__(self, rtype: int) -> None:
        self.rtype = rtype
        self.slow = rtype in SLOW_RTYPES
        self.states: list[State] = []
        self.high = NONE_YET
        self.split = False
        self.times: IdPeaks | None = None
        self.doubt = NONE_YET
        self.beside = NONE_YET
        self.awaited = NONE_YET
        self.asked = 0
        self.lead: Lead | None = None
        self.finished: list[Schema] = []
        self._owners: dict[int, int] | None = None  # of each named instrument: NONE_YET if several

    @property
    def schemas(self) -> list[Schema]:
        """Those of the subscriptions, each once."""
        return list(dict.fromkeys(state.sub.schema for state in self.states))

    @property
    def plain(self) -> bool:
        """Whether its records need nothing but a look, where no replay is beginning."""
        return not self.slow and self.times is None and self.doubt == NONE_YET

    def kept_from(self, overlap_ns: int) -> int | None:
        """
        Tell from when on a replay may bring records again.

        Parameters
        ----------
        overlap_ns : int
            How much is asked for again, in ns.

        Returns
        -------
        int or None
            None where nothing is replayed; 0 as long as no record shows that the gateway's
            clock is that of its data.
        """
        point = self.point(overlap_ns)
        return point if point is None or self.high != NONE_YET else 0

    def add(self, state: State, replaying: bool, connected: bool) -> None:
        """
        Take one more subscription.

        Parameters
        ----------
        state : State
            Of the subscription.
        replaying : bool
            Whether a replay of the lane goes on.
        connected : bool
            Whether a connection is there.
        """
        if self.states and (replaying or not connected):
            self.freeze()
            self.times = IdPeaks(CLOCK) if connected else None
        self.states.append(state)
        self._owners = None
        self.awaited = NONE_YET  # its records come among those of a replay
        if self.lead is not None:
            self.lead.floor = self._owed_of

    def map(self, state: State, instrument_id: int) -> None:
        """
        Note that a subscription has an instrument.

        Parameters
        ----------
        state : State
            Of the subscription.
        instrument_id : int
            The instrument.
        """
        if instrument_id not in state.ids:
            state.ids.add(instrument_id)
            self._owners = None

    def freeze(self) -> None:
        """Give each subscription the time that it has now as its own."""
        for state, high in zip(self.states, self.highs(), strict=True):
            state.high = high
        self.split, self.times = True, None

    def replay(self) -> None:
        """Begin replays: from now on the subscriptions may be at different times."""
        if len(self.states) > 1:
            self.freeze()
            self.times = IdPeaks(CLOCK)

    def replay_again(self, start: int, overlap_ns: int, known: bool) -> None:
        """
        Begin the replays of a session that goes on.

        Parameters
        ----------
        start : int
            The lowest start that is asked for, ns since 1970-01-01 UTC.
        overlap_ns : int
            How late a record may be, in ns.
        known : bool
            Whether the start may be true: none that is still to come is.
        """
        for state in self.states:
            state.replayed_from = max(start, state.lowest(overlap_ns) or 0)
        floor = self.states[0].owed_from if len(self.states) == 1 else self._owed_of
        self.lead = Lead(self.rtype, start, floor, known and self.high != NONE_YET)
        # Of several replays one may have nothing there; and what is older than a beginning may be
        # late, and come after what is later.
        sure = len(self.states) == 1 and not self.slow
        sure = sure and self.high >= max(start, self.states[0].floor or 0)
        self.asked, self.awaited = start, self.high if sure else NONE_YET
        if self.high == NONE_YET and all(state.clocked for state in self.states):
            self.doubt = start  # nothing yet shows that the data has the gateway's clock
        self.replay()

    def go_live(self) -> None:
        """End replays: one time holds for all."""
        self.split, self.times = False, None
        self.end()

    def end(self) -> None:
        """Expect nothing of a replay any more."""
        self.lead, self.awaited = None, NONE_YET

    def skips(self, times: Column) -> bool:
        """
        Tell whether a gateway made no replay, as far as that shows.

        Parameters
        ----------
        times : ndarray of uint64, shape (n,)
            The filter times of the lane's next records.

        Returns
        -------
        bool
            True where something newer comes before the latest record that was delivered comes
            again.
        """
        if self.awaited == NONE_YET:
            return False
        newer = np.flatnonzero((times > self.awaited) & (times != UNDEF_TIMESTAMP))
        end = int(newer[0]) if len(newer) else len(times)
        if (times[:end] == self.awaited).any():
            self.awaited = NONE_YET
            return False
        return len(newer) > 0

    def highs(self) -> list[int]:
        """
        Give the highest filter time of each subscription.

        Returns
        -------
        list of int
            NONE_YET where nothing was received that is surely its own.
        """
        if not self.split or len(self.states) == 1:
            return [self.high] * len(self.states)
        highs = [state.high for state in self.states]
        if self.times is not None and self.times.n:
            ids, tops = np.empty(self.times.n, np.uint32), np.empty(self.times.n, np.uint64)
            self.times.fill(ids, tops)
            owners, rest = self._owned()
            for id, top in zip(ids.tolist(), tops.tolist(), strict=True):
                at = owners.get(id, rest)
                if at != NONE_YET:
                    highs[at] = max(highs[at], top)
        return highs

    def _owed_of(self, ids: Column) -> tuple[Column, Column, Column]:
        # since when records are owed of each of some instruments: by when they were sent, where
        # a subscription began with the clock, and by what a start is held against, where one was
        # asked for; and from when they are replayed
        each, inverse = np.unique(ids, return_inverse=True)
        sent, held = np.full(len(each), NEVER, np.uint64), np.full(len(each), NEVER, np.uint64)
        lows = np.zeros(len(each), np.uint64)
        for at, id in enumerate(each.tolist()):
            # of one that nobody is known to name all is
            own = [s for s in self.states if s.may_have_any or id in s.ids]
            sent[at] = min((s.owed_from for s in own if s.clocked), default=NEVER if own else 0)
            held[at] = min((s.owed_from for s in own if not s.clocked), default=NEVER)
            lows[at] = min((state.replayed_from for state in own), default=0)
        return sent[inverse], held[inverse], lows[inverse]

    def _owned(self) -> tuple[dict[int, int], int]:
        # whose each instrument is, by its place among the subscriptions, and all others
        every = [at for at, state in enumerate(self.states) if state.may_have_any]
        alone = len(every) == 1 and self.states[every[0]].everything
        rest = every[0] if alone else NONE_YET
        if self._owners is None:
            owners: dict[int, int] = {}
            for at, state in enumerate(self.states):
                for id in state.ids:
                    owners[id] = NONE_YET if every or id in owners else at
            self._owners = owners
        return self._owners, rest

    def points(self, overlap_ns: int) -> list[int | None]:
        """
        Give the resume point of each subscription alone.

        Parameters
        ----------
        overlap_ns : int
            How much is asked for again, in ns.

        Returns
        -------
        list of int or None
            None where it is not known to have begun.
        """
        points: list[int | None] = []
        for state, high in zip(self.states, self.highs(), strict=True):
            lowest = state.lowest(overlap_ns)
            if lowest is None and len(self.states) == 1 and high != NONE_YET:
                lowest = 0  # nobody said so, but its records came
            if lowest is None or self.slow or high == NONE_YET:
                points.append(lowest)
            else:
                points.append(max(lowest, high - overlap_ns))
        return points

    def point(self, overlap_ns: int) -> int | None:
        """
        Give the resume point: the lowest of the subscriptions'.

        Parameters
        ----------
        overlap_ns : int
            How much is asked for again, in ns.

        Returns
        -------
        int or None
            None where no subscription is known to have begun.
        """
        return min((point for point in self.points(overlap_ns) if point is not None), default=None)

    def starts(self, overlap_ns: int) -> list[int | None]:
        """
        Give the start that each subscription is sent again with.

        Parameters
        ----------
        overlap_ns : int
            How much is asked for again, in ns.

        Returns
        -------
        list of int or None
            The lane's resume point, but nothing from before a subscription may have; None where
            that is not known to have begun.
        """
        points = self.points(overlap_ns)
        lowest = min((point for point in points if point is not None), default=0)
        return [
            None if point is None else max(lowest, state.lowest(overlap_ns) or 0)
            for state, point in zip(self.states, points, strict=True)
        ]

    def check_clock(self, top: int, overlap_ns: int) -> None:
        """
        Hold the first live time against the beginnings that the gateway's clock gave.

        Parameters
        ----------
        top : int
            The highest filter time of the first live records.
        overlap_ns : int
            How much older than its beginning a subscription's record may be, in ns.
        """
        if top < self.doubt:
            self.lead = None
            for state in self.states:
                if state.clocked and state.floor is not None and top < state.floor - overlap_ns:
                    state.floor = max(0, top - overlap_ns)
        self.doubt = NONE_YET


def lane_rtype(schema: Schema) -> int:
    """
    Give the rtype of a schema's records.

    Parameters
    ----------
    schema : Schema
        The schema; tbbo and mbp-1 share an rtype.

    Returns
    -------
    int
    """
    rtype: RType = SCHEMA_RTYPES[schema]
    return int(rtype)
