"""
What a disturbed session delivers is what an undisturbed one does, or a gap says so.

Client and gateway run without sockets on one clock; hypothesis makes the records, what is
subscribed to, when connections break and in what pieces bytes come.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

import dbnfast
from dbnfast import Gap, Records, RType, Schema
from dbnfast.codec.encode import encode
from dbnfast.gateway import (
    Cut,
    Delay,
    DoubleAck,
    Eof,
    FailAuth,
    Faults,
    GatewaySession,
    NoAck,
    OneByteWrites,
    Refuse,
    Reset,
    SendError,
    Service,
    Silence,
)
from dbnfast.layouts.programs import FILTER_TS_AT
from dbnfast.live.session.session import Session
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.protocol import Options
from dbnfast.live.wire.requests import Subscription, subscription
from helpers.gateways import BEGIN, KEY, SECOND, Clock, header

CONTROL = (RType.ERROR, RType.SYMBOL_MAPPING, RType.SYSTEM)
# without bars: their time is an interval before they are sent, which this gateway does not know
SCHEMAS = (
    Schema.TRADES, Schema.MBP_1, Schema.MBO, Schema.BBO_1S, Schema.STATISTICS, Schema.DEFINITION,
)  # fmt: skip
PATIENCE = 400.0  # s behind the last record: enough for every retry
STEPS = 200_000


@dataclass(frozen=True)
class Plan:
    """What is sent, asked for, and goes wrong."""

    records: list[tuple[Schema, int, int, int]]  # schema, instrument, ns behind BEGIN, variant
    asked: list[tuple[Schema, tuple[int, ...] | None, float | None]]
    faults: dict[int, tuple[Any, ...]]
    begin: float = 5.0  # s of the timeline when the session starts
    window: float = 86_400.0
    ts_out: bool = False
    seed: int = 0
    late: float | None = None  # s of the timeline of one more subscription


@dataclass
class Delivered:
    """What came out of a session."""

    market: dict[tuple[int, int], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    gaps: list[Gap] = field(default_factory=list)
    late_gaps: list[Gap] = field(default_factory=list)  # unfilled, behind the first records
    begun: bool = False
    error: Exception | None = None
    connections: int = 0
    reconnects: int = 0


def source(plan: Plan) -> bytes:
    """The file that is replayed: records in the order of the plan."""
    parts = []
    received = 0  # when the vendor had it: records may be late, and are sent then
    for schema, instrument, at, variant in plan.records:
        received = max(received, at)
        array = dbnfast.empty(schema, 1)
        array["instrument_id"], array["publisher_id"] = instrument, 1
        array["ts_event"] = BEGIN + at
        names = array.dtype.names or ()
        if "ts_recv" in names:
            sampled = schema == Schema.BBO_1S  # at that time, not later
            array["ts_recv"] = BEGIN + (at if sampled else received)
        if "action" in names and schema != Schema.DEFINITION:
            array["action"], array["side"] = b"A" if schema == Schema.MBO else b"T", b"A"
        if "flags" in names:
            array["flags"] = 128
        numbers = ("sequence", "volume", "stat_type", "raw_instrument_id", "size")
        number = next(name for name in numbers if name in names)
        array[number] = variant
        parts.append(array)
    ids = sorted({instrument for _, instrument, _, _ in plan.records})
    schemas = {schema for schema, _, _, _ in plan.records}
    stated = next(iter(schemas)) if len(schemas) == 1 else None
    made: bytes = encode(parts, header(stated, ids))
    return made


def subscriptions(plan: Plan) -> list[Subscription]:
    """What the user asks for."""
    return [
        subscription(
            i,
            schema,
            None if ids is None else [f"SYM{n}" for n in ids],
            start=None if start is None else (0 if start < 0 else BEGIN + round(start * SECOND)),
        )
        for i, (schema, ids, start) in enumerate(plan.asked)
    ]


def play(plan: Plan, data: bytes, faults: dict[int, tuple[Any, ...]]) -> Delivered:
    """Run a session against a gateway, to the end of the records and on."""
    clock, rng, out = Clock(), random.Random(plan.seed), Delivered()
    service = Service(
        data, keys=KEY, speed=1.0, clock=clock, faults=Faults(faults), replay_window_s=plan.window
    )
    service.timeline.start()
    first = clock.seconds
    span = max(at for _, _, at, _ in plan.records) / SECOND
    clock.seconds += plan.begin
    session = Session(
        ApiKey(KEY),
        Options("XNAS.ITCH", ts_out=plan.ts_out),
        jitter=lambda: 0.5,
        wall=lambda: service.timeline.ns(clock.seconds),
    )
    for sub in subscriptions(plan):
        session.subscribe(sub)
    session.connect(clock.seconds)
    session.start(clock.seconds)
    peer: GatewaySession | None = None
    end = first + max(span, plan.begin) + PATIENCE
    late = None if plan.late is None else first + plan.begin + plan.late
    for _ in range(STEPS):
        now = clock.seconds
        if session.ended:
            out.error = session.error
            break
        if late is not None and now >= late:
            late = None
            session.subscribe(subscription(len(plan.asked), Schema.TRADES, None))
        if not session.connected:
            peer = None
            assert session.retry_at is not None
            if now >= session.retry_at:
                peer = GatewaySession(service)
                out.connections += 1
                if peer.closed:
                    session.connection_lost(OSError("refused"), now)
                    peer = None
                else:
                    session.connection_made(now)
                continue
        elif peer is not None:
            if exchange(session, peer, rng, now):
                continue
            if peer.closed:
                session.connection_lost(OSError("reset") if peer.aborted else None, now)
                continue
            if session.deadline is not None and now >= session.deadline:
                session.tick(now)
                continue
        collect(session, out)
        times = [end]
        if late is not None:
            times.append(late)
        if session.connected and peer is not None:
            times += [peer.next_time(), session.deadline or end]
        elif session.retry_at is not None:
            times.append(session.retry_at)
        if now >= end:
            break
        clock.seconds = max(now + 1e-6, min(times))
    else:
        raise AssertionError("the session and the gateway always have something to do")
    collect(session, out)
    out.reconnects = session.counts.reconnects
    return out


def exchange(session: Session, peer: GatewaySession, rng: random.Random, now: float) -> bool:
    """Move what there is, in pieces of any size; whether there was anything."""
    moved = False
    if data := session.data_to_send():
        while data:
            n = rng.choice((1, 7, 100, len(data)))
            peer.receive_data(data[:n])
            data = data[n:]
        moved = True
    for block in peer.data_to_send(now):
        rest = memoryview(block)
        while len(rest) and session.connected:
            room = session.get_buffer()
            n = min(len(room), len(rest), rng.choice((1, 3, 50, 1000, 1 << 20)))
            room[:n] = rest[:n]
            session.buffer_updated(n, now)
            rest = rest[n:]
        moved = True
    if not session.connected:
        peer.eof_received()
    return moved


def collect(session: Session, out: Delivered) -> None:
    """Take what the session has."""
    for item in session.backlog.take():
        if isinstance(item, Records):
            out.begun = True
            cut = 8 if item.ts_out else 0
            for record in item:
                if record.rtype not in CONTROL:
                    raw = bytes(record)
                    out.market[int(record.rtype), record.instrument_id].append(
                        raw[1 : len(raw) - cut]  # the length counts ts_out
                    )
        elif isinstance(item, Gap):
            out.gaps.append(item)
            if out.begun and not item.filled:
                out.late_gaps.append(item)


def time_of(rtype: int, raw: bytes) -> int:
    at = int(FILTER_TS_AT[rtype]) - 1
    return int.from_bytes(raw[at : at + 8], "little")


def unsure(plan: Plan) -> range:
    """
    The times of records that may be too many.

    Nothing tells whether an answer that is held back was given early, or comes from what began
    just before it: what was sent while nothing answered is replayed then. A subscription with a
    start may have any instrument as long as nothing maps its names.
    """
    faults = [fault for each in plan.faults.values() for fault in each]
    held = sum(fault.seconds for fault in faults if isinstance(fault, Delay))
    known = {instrument for _, instrument, _, _ in plan.records}
    low = plan.begin - held - 0.5
    for _, ids, start in plan.asked:
        if ids is not None and start is not None and known.isdisjoint(ids):
            low = min(low, start)
    if low == plan.begin - 0.5:
        return range(0)
    high = plan.begin + (plan.late or 0.0)
    return range(BEGIN + round(low * SECOND), BEGIN + round(high * SECOND) + 1)


def check(disturbed: Delivered, calm: Delivered, early: range = range(0)) -> None:
    """The same records in the same order, but for what a gap covers or began early."""
    unfilled = [gap for gap in disturbed.gaps if not gap.filled]
    for key in calm.market.keys() | disturbed.market.keys():
        rtype, _ = key
        got, wanted = disturbed.market[key], calm.market[key]
        if got == wanted:
            continue
        spans = [
            (gap.start_ns, gap.end_ns)
            for gap in unfilled
            if dbnfast.enums.SCHEMA_RTYPES[gap.schema] == rtype
        ]
        missing, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
        for raw in [raw for raw in extra.elements() if time_of(rtype, raw) in early]:
            got.remove(raw)
            extra -= Counter([raw])
        uncovered = [
            time_of(rtype, raw) - BEGIN
            for raw in missing
            if not any(start <= time_of(rtype, raw) <= end for start, end in spans)
        ]
        assert not uncovered, f"rtype {rtype}: lost {uncovered}, gaps {disturbed.gaps}"
        assert not extra, f"rtype {rtype}: too many {[time_of(rtype, r) - BEGIN for r in extra]}"
        rest = Counter(missing)
        kept = []
        for raw in wanted:  # in order, without what is missing
            if rest[raw]:
                rest[raw] -= 1
            else:
                kept.append(raw)
        assert Counter(kept) == Counter(got)
        if not spans:
            assert got == wanted, f"rtype {rtype}: the order differs"


def check_gaps(plan: Plan, disturbed: Delivered) -> None:
    """A gap is of what was asked for, and where every replay was made nothing is missing."""
    for gap in disturbed.gaps:
        starts = [
            BEGIN + round((plan.begin - 2.0) * SECOND) if start is None
            else 0 if start < 0 else BEGIN + round(start * SECOND)
            for schema, _, start in plan.asked if schema == gap.schema
        ]  # fmt: skip
        if plan.late is not None and gap.schema == Schema.TRADES:
            starts.append(BEGIN + round((plan.begin - 2.0) * SECOND))
        assert gap.start_ns >= min(starts), gap
        assert gap.start_ns <= gap.end_ns, gap
    refusals = (SendError, FailAuth, Refuse)
    kinds = {type(fault) for faults in plan.faults.values() for fault in faults}
    if plan.window > 86_000 and plan.late is None and kinds.isdisjoint(refusals):
        assert not disturbed.late_gaps


after = st.integers(0, 6_000)
fault = st.one_of(
    st.builds(Cut, after),
    st.builds(Reset, after),
    st.builds(Eof, after),
    st.builds(Silence, after),
    st.builds(Delay, after, st.floats(0.1, 60)),
    st.builds(SendError, st.sampled_from((4, 6, 7, 255)), st.just("Oops"), after),
    st.sampled_from((OneByteWrites(), NoAck(), DoubleAck())),
)
later = st.one_of(
    fault,
    st.just(Refuse()),
    st.just(FailAuth("User has reached their open connection limit")),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan: records whose time goes back by up to 500 ms, equal ones among them."""
    schemas = draw(st.lists(st.sampled_from(SCHEMAS), min_size=1, max_size=3, unique=True))
    records: list[tuple[Schema, int, int, int]] = []
    at = 0
    for i in range(draw(st.integers(1, 60))):
        at += draw(st.sampled_from((0, 1, 10**6, 10**8, SECOND, 3 * SECOND)))
        back = draw(st.sampled_from((0, 0, 0, 10**8, SECOND // 2)))
        schema = draw(st.sampled_from(schemas))
        one = (schema, draw(st.integers(1, 3)), max(0, at - back), draw(st.sampled_from((0, 1, i))))
        records += [one] * draw(st.sampled_from((1, 1, 1, 2)))
    begin = round(draw(st.floats(0, 30)), 3)
    while any(abs(begin - ns / SECOND) < 0.11 for _, _, ns, _ in records):
        begin += 0.12  # what is sent about that moment may come or not
    ids = st.one_of(
        st.none(), st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True).map(tuple)
    )
    starts = st.one_of(st.none(), st.just(-1.0), st.floats(0, begin))
    asked = [
        (draw(st.sampled_from(schemas)), draw(ids), draw(starts))
        for _ in range(draw(st.integers(1, 3)))
    ]
    faults: dict[int, tuple[Any, ...]] = {}
    for connection in range(draw(st.integers(1, 4))):
        kinds = fault if connection == 0 else later
        faults[connection] = tuple(draw(st.lists(kinds, max_size=2)))
    late = draw(st.one_of(st.none(), st.none(), st.floats(0.2, 40).map(lambda s: round(s, 3))))
    while late is not None and any(abs(begin + late - r[2] / SECOND) < 0.11 for r in records):
        late += 0.12
    return Plan(
        records,
        asked,
        faults,
        begin=begin,
        late=late,
        window=draw(st.sampled_from((86_400.0, 86_400.0, 20.0))),
        ts_out=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


# what comes late to one subscription, of the time before a start that another was asked for with
LATE_BESIDE_A_START = Plan(
    records=[(Schema.TRADES, 1, 0, 0)] * 9
    + [(Schema.TRADES, 1, 10**8, 0), (Schema.TRADES, 1, 0, 0)],
    asked=[(Schema.TRADES, None, None), (Schema.TRADES, None, 0.0625)],
    faults={0: (Cut(128),)},
    begin=0.24,
)

# the gateway tells its time a second after it began, and what it sent meanwhile breaks off
LATE_TIME_BESIDE_A_START = Plan(
    records=[(Schema.TRADES, 1, 0, 0)] * 12 + [(Schema.TRADES, 2, SECOND, 0)],
    asked=[(Schema.TRADES, (1,), -1.0), (Schema.TRADES, None, None)],
    faults={0: (Cut(448), Delay(0, 1.0))},
    begin=0.12,
)


@given(plans())
@example(LATE_BESIDE_A_START)
@example(LATE_TIME_BESIDE_A_START)
def test_nothing_is_lost_and_nothing_doubled(plan: Plan) -> None:
    data = source(plan)
    calm = play(plan, data, {})
    assume(calm.error is None)  # a start that is too old is the user's own
    disturbed = play(plan, data, plan.faults)
    event(f"connections: {min(disturbed.connections, 5)}")
    event(f"unfilled gaps: {any(not gap.filled for gap in disturbed.gaps)}")
    assert disturbed.error is None, disturbed.error
    check(disturbed, calm, unsure(plan))
    check_gaps(plan, disturbed)


def test_the_oracle_sees_what_is_lost() -> None:
    """The check itself: without resuming, records are lost and it says so."""
    records = [(Schema.TRADES, 1, i * SECOND, i) for i in range(60)]
    plan = Plan(records, [(Schema.TRADES, None, None)], {0: (Cut(1500),)})
    data = source(plan)
    calm, disturbed = play(plan, data, {}), play(plan, data, plan.faults)
    check(disturbed, calm)
    assert disturbed.reconnects == 1
    assert sum(map(len, disturbed.market.values())) > 40
    key = next(iter(disturbed.market))
    for change in ("lost", "doubled", "swapped"):
        broken = Delivered(gaps=[])
        broken.market.update({key: list(disturbed.market[key])})
        if change == "lost":
            del broken.market[key][20]
        elif change == "doubled":
            broken.market[key].insert(20, broken.market[key][20])
        else:
            broken.market[key][20:22] = broken.market[key][21:19:-1]
        try:
            check(broken, calm)
        except AssertionError:
            continue
        raise AssertionError(f"{change}: not seen")


def test_what_is_subscribed_to_before_the_first_good_connection_is_missed_from_then_on() -> None:
    records = [(Schema.TRADES, 1, i * SECOND, i) for i in range(9)]
    asked = [(Schema.MBP_1, None, None)]
    plan = Plan(records, asked, {0: (Cut(0),)}, begin=4.5, late=0.5)
    disturbed = play(plan, source(plan), plan.faults)
    starts = {gap.schema: gap.start_ns - BEGIN for gap in disturbed.gaps}
    overlap = 2 * SECOND
    assert starts == {
        Schema.MBP_1: round(4.5 * SECOND) - overlap,
        Schema.TRADES: round(5.0 * SECOND) - overlap,
    }


def test_a_late_answer_begins_when_it_was_asked_for() -> None:
    records = [(Schema.TRADES, 1, i * SECOND, i) for i in range(20)]
    asked = [(Schema.MBP_1, None, None)]
    # what it answers with is made after 9 s, and cut off behind the answer
    plan = Plan(records, asked, {0: (Delay(150, 9.0), Cut(1000))}, begin=2.5, late=1.0)
    data = source(plan)
    calm, disturbed = play(plan, data, {}), play(plan, data, plan.faults)
    check(disturbed, calm)
    assert disturbed.reconnects == 1


def test_a_disconnect_longer_than_the_window() -> None:
    records = [(Schema.TRADES, 1, i * SECOND, i) for i in range(200)]
    faults = {0: (Cut(2_000),), **{i: (Refuse(),) for i in range(1, 7)}}
    plan = Plan(records, [(Schema.TRADES, None, None)], faults, window=20.0)
    data = source(plan)
    calm, disturbed = play(plan, data, {}), play(plan, data, faults)
    check(disturbed, calm)
    (gap,) = [gap for gap in disturbed.gaps if not gap.filled]
    n_lost = sum(map(len, calm.market.values())) - sum(map(len, disturbed.market.values()))
    assert n_lost > 10
    assert (gap.end_ns - gap.start_ns) / SECOND >= n_lost
    assert np.datetime64(gap.start_ns, "ns") == gap.start
