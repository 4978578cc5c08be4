"""A session over several connections, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from dbnfast import (
    AuthenticationError,
    ConnectError,
    Disconnected,
    ErrorCode,
    ErrorEvent,
    Gap,
    GatewayError,
    HeartbeatTimeout,
    MarketState,
    MetadataError,
    Reconnected,
    ReconnectPolicy,
    Records,
    Schema,
    SessionClosed,
)
from dbnfast.live.hours import HoursState, MarketHours
from dbnfast.live.session import report as reporting
from dbnfast.live.session.session import Session
from dbnfast.live.session.silence import Silence
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.lines import parse_line
from dbnfast.live.wire.protocol import Options
from dbnfast.live.wire.requests import subscription
from helpers import peers, streams

GREETING = b"lsg_version=0.9.4\ncram=" + peers.CHALLENGE.encode() + b"\n"
WELCOME = b"success=1|session_id=17\n"
T0 = 10**18
SECOND = 10**9


def trade(at_ns: int, n: int = 0) -> bytes:
    """A trade of instrument 100 at a time."""
    raw = bytearray(streams.trade(n))
    raw[4:8] = (100).to_bytes(4, "little")
    raw[8:16] = at_ns.to_bytes(8, "little")
    return bytes(raw)


class Run:
    """A session and a clock."""

    def __init__(self, *schemas: str, **options: Any) -> None:
        self.now = 100.0
        wanted = {"jitter": lambda: 1.0, "policy": ReconnectPolicy.RECONNECT} | options
        self.session = Session(ApiKey(peers.KEY), Options("GLBX.MDP3"), **wanted)
        for i, schema in enumerate(schemas or ("trades",)):
            self.session.subscribe(subscription(i, schema, "A"))
        self.session.connect(self.now)

    def receive(self, data: bytes) -> None:
        room = self.session.get_buffer()
        room[: len(data)] = data
        self.session.buffer_updated(len(data), self.now)

    def connect(self) -> list[dict[str, str]]:
        """Wait for the time to connect and be let in; what was asked for."""
        assert self.session.retry_at is not None
        self.now = max(self.now, self.session.retry_at)
        self.session.connection_made(self.now)
        self.receive(GREETING)
        self.session.data_to_send()
        self.receive(WELCOME)
        return [parse_line(line) for line in self.session.data_to_send().splitlines()]

    def begin(self, *records: bytes, start: int = T0) -> None:
        self.receive(peers.live_header(start=start) + b"".join(records))

    def lost(self, error: Exception | None = None) -> None:
        self.session.connection_lost(error, self.now)

    def take(self) -> list[Any]:
        return self.session.backlog.take()

    def delay(self) -> float:
        assert self.session.retry_at is not None
        return self.session.retry_at - self.now


@pytest.fixture
def run() -> Run:
    """A session that has begun: one trade came."""
    run = Run()
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0 + 10 * SECOND))
    run.take()
    return run


def test_delays_grow_with_full_jitter_to_a_cap() -> None:
    run = Run(retry_first=True)
    delays = []
    run.now = run.session.retry_at or 0.0
    for _ in range(10):
        run.lost(OSError("no"))
        delays.append(run.delay())
        run.now = run.session.retry_at or 0.0
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    low = Run(jitter=lambda: 0.0, retry_first=True)
    low.lost(None)
    assert low.delay() == 1
    for _ in range(5):  # never above five connections a second
        low.now += low.delay()
        low.lost(None)
        assert low.delay() == pytest.approx(0.2)


def test_an_outage_is_told_while_it_lasts() -> None:
    wall = iter(range(T0, T0 + 10**6)).__next__
    run = Run(host="gateway:13000", wall=wall, silence=Silence(30))
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0))
    run.take()
    assert run.session.describe()["disconnected"] is None
    run.lost(ConnectionResetError(104, "reset by peer"))
    (gone,) = run.take()
    assert isinstance(gone, Disconnected)
    assert (gone.host, gone.errno, gone.attempt) == ("gateway:13000", 104, 0)
    assert gone.retry_in_s == run.delay() == 1
    assert "reset by peer" in gone.reason
    assert run.session.describe()["disconnected"] is gone
    for attempt in (1, 2):
        run.now = run.session.retry_at or 0.0
        run.lost(OSError(111, "refused"))
        (again,) = run.take()
        assert (again.errno, again.attempt, again.since_ns) == (111, attempt, gone.since_ns)
    # one that is made and is not let in is an attempt, too
    run.now = run.session.retry_at or 0.0
    run.session.connection_made(run.now)
    run.lost()
    (third,) = run.take()
    assert (third.attempt, third.errno, third.since_ns) == (3, None, gone.since_ns)
    # silence is judged meanwhile
    run.now += 36
    assert run.session.deadline is not None
    assert run.session.deadline <= run.now
    run.session.tick(run.now)
    (state,) = run.take()
    assert isinstance(state, MarketState)
    assert state.state == run.session.describe()["state"] == "stale"
    run.connect()
    assert run.session.describe()["disconnected"] is None
    run.begin(trade(T0 + SECOND))
    run.lost()
    assert run.take()[-1].attempt == 0


def test_a_session_that_was_never_let_in_is_not_tried_again() -> None:
    run = Run(host="gateway:13000")
    run.lost(OSError(111, "refused"))
    assert run.session.ended
    with pytest.raises(ConnectError, match="refused"):
        run.session.check()
    run = Run(host="gateway:13000")
    run.session.connection_made(run.now)
    run.receive(GREETING)
    run.lost()
    with pytest.raises(ConnectError, match="no session with gateway:13000"):
        run.session.check()
    assert run.take() == []


def test_a_good_connection_begins_the_delays_anew(run: Run) -> None:
    for _ in range(3):
        run.lost()
        assert run.delay() == 1
        run.connect()
        run.begin(trade(T0 + 20 * SECOND))
    run.lost()
    run.connect()
    run.begin()  # a header alone is not good enough
    run.lost()
    assert run.delay() == 2


def test_a_heartbeat_that_does_not_come(run: Run) -> None:
    assert run.session.deadline == run.now + 40
    run.now += 39.9
    run.session.tick(run.now)
    assert run.session.connected
    run.receive(peers.system())
    assert run.session.deadline == pytest.approx(run.now + 40)
    run.now += 40
    run.session.tick(run.now)
    assert not run.session.connected
    assert run.delay() == 1


def test_silence_from_the_very_start() -> None:
    run = Run(policy=ReconnectPolicy.NONE)
    run.connect()
    assert run.session.silent_at == float("inf")  # nothing is to come before the start
    run.session.start(run.now)
    run.now += 40
    run.session.tick(run.now)
    assert isinstance(run.session.error, HeartbeatTimeout)


def test_reading_after_a_pause_is_no_silence(run: Run) -> None:
    run.now += 100
    run.session.alive(run.now)
    run.session.tick(run.now)
    assert run.session.connected


def test_resuming_asks_for_what_may_be_missing(run: Run) -> None:
    run.lost()
    (asked, start) = run.connect()
    assert asked["start"] == str(T0 + 8 * SECOND)
    assert asked["id"] == "0"
    assert "start_session" in start
    run.begin(trade(T0 + 10 * SECOND), trade(T0 + 11 * SECOND), start=T0 + 8 * SECOND)
    gone, event, records = run.take()
    assert isinstance(gone, Disconnected)
    assert isinstance(event, Reconnected)
    assert event.last_ns == T0 + 10 * SECOND
    assert bytes(records) == trade(T0 + 11 * SECOND)  # the other one was delivered before
    run.receive(peers.system("Finished trades replay", 3))
    *_, gap = [item for item in run.take() if isinstance(item, Gap)]
    assert (gap.schema, gap.filled) == (Schema.TRADES, True)
    assert (gap.start_ns, gap.end_ns) == (T0 + 10 * SECOND, T0 + 11 * SECOND)
    assert run.session.gaps == [gap]
    assert run.session.counts.duplicates == 1


@pytest.mark.parametrize("code", [5, 8, 255])
@pytest.mark.parametrize("closes", [True, False])
def test_a_replay_that_the_gateway_refuses(run: Run, code: int, closes: bool) -> None:
    run.lost()
    (asked, _) = run.connect()
    assert "start" in asked
    run.begin(peers.error("too old", code, is_last=1))
    if (closes or code == 255) and run.session.connected:
        run.lost()
    assert not run.session.ended
    (asked, _) = run.connect()
    assert "start" not in asked
    later = peers.system(ts_event=T0 + 55 * SECOND)
    run.begin(trade(T0 + 50 * SECOND), later, start=T0 + 45 * SECOND)
    items = run.take()
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert not gap.filled
    assert gap.start_ns <= T0 + 10 * SECOND
    assert gap.end_ns == T0 + 45 * SECOND  # what is told after live records is of a later time
    assert [item.fatal for item in items if isinstance(item, ErrorEvent)] == [False]
    # the next time it is asked for again
    run.lost()
    (asked, _) = run.connect()
    assert asked["start"] == str(T0 + 48 * SECOND)


@pytest.mark.parametrize("apart", [True, False])
def test_the_reason_of_a_refused_replay_is_the_gateways_own(run: Run, apart: bool) -> None:
    ack = peers.system("Subscription request 0 for trades data succeeded", 1)
    refusal = peers.error("too old", 8)
    run.lost()
    run.connect()
    if apart:  # the socket may give them in one read or in two
        run.begin(ack)
        run.receive(refusal)
    else:
        run.begin(ack, refusal)
    run.now += run.delay()
    run.lost(OSError("no route"))  # another end in between is not why the replay is missing
    run.connect()
    run.begin(trade(T0 + 50 * SECOND), start=T0 + 45 * SECOND)
    items = run.take()
    (gap,) = [item for item in items if isinstance(item, Gap)]
    *_, told = [item for item in items if isinstance(item, Reconnected)]
    assert gap.reason == told.reason == str(GatewayError("too old", ErrorCode.REPLAY_DATA_AGED_OUT))
    assert (gap.filled, gap.start_ns) == (False, T0 + 8 * SECOND)


def test_a_replay_that_an_internal_error_ended_is_asked_for_once_more() -> None:
    def asked_after(*records: bytes) -> list[bool]:
        run.begin(*records, peers.error("Internal error", 6))
        assert not run.session.connected
        *asked, _ = run.connect()
        return ["start" in line for line in asked]

    run = Run("trades", "definition")
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0 + 10 * SECOND))
    run.lost()
    run.connect()
    assert asked_after() == [True, True]
    assert asked_after(trade(T0 + 11 * SECOND)) == [True, True]  # it got further: no refusal
    assert asked_after() == [True, True]
    assert asked_after() == [True, False]  # the second one in a row
    assert asked_after() == [True, False]
    assert asked_after() == [False, False]
    run.begin(trade(T0 + 50 * SECOND), start=T0 + 45 * SECOND)
    gaps = [item for item in run.take() if isinstance(item, Gap)]
    assert [(gap.schema, gap.filled) for gap in gaps][-2:] == [
        (Schema.TRADES, False),
        (Schema.DEFINITION, False),
    ]


def test_a_limit_of_connections_is_no_refusal_of_a_replay(run: Run) -> None:
    run.lost()
    run.connect()
    run.begin(peers.error("User has reached their open connection limit", 3))
    assert not run.session.ended
    (asked, _) = run.connect()
    assert asked["start"] == str(T0 + 8 * SECOND)


@pytest.mark.parametrize("code", [1, 2])
def test_a_key_that_is_refused_while_resuming_ends_the_session(run: Run, code: int) -> None:
    run.lost()
    run.connect()
    run.begin(peers.error("User or API key deactivated", code))
    assert run.session.ended
    assert isinstance(run.session.error, GatewayError)
    assert [item.fatal for item in run.take() if isinstance(item, ErrorEvent)] == [True]


@pytest.mark.parametrize("seconds", [20, 40])
def test_a_quiet_connection_that_lasted_is_resumed_by_replay(run: Run, seconds: int) -> None:
    run.lost()
    run.connect()
    run.begin(peers.error("too old", 8))
    (asked, _) = run.connect()
    assert "start" not in asked
    beats = [peers.system(ts_event=T0 + (40 + n) * SECOND) for n in range(2)]
    run.begin(beats[0], start=T0 + 40 * SECOND)
    run.now += seconds
    run.receive(beats[1])
    run.lost()
    for _ in range(5):  # the time without a connection does not count
        run.now += run.delay()
        run.lost(OSError("no route"))
    (asked, _) = run.connect()
    assert asked.get("start") == (str(T0 + 38 * SECOND) if seconds == 40 else None)


def test_an_error_that_the_stream_goes_on_behind_is_no_end() -> None:
    run = Run(policy=ReconnectPolicy.NONE)
    run.connect()
    run.session.start(run.now)
    run.begin(peers.error("something", 255), trade(T0 + 10 * SECOND))  # in one read
    run.lost()
    assert run.session.ended
    assert run.session.error is None
    (told,) = [item for item in run.take() if isinstance(item, ErrorEvent)]
    assert (told.message, told.fatal) == ("something", False)


def test_gaps_do_not_pile_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "GAPS", 3)
    for n in range(1, 11):
        run.lost()
        run.connect()
        again, new = (trade(T0 + (10 + i) * SECOND) for i in (n - 1, n))
        run.begin(again, new, peers.system("Finished trades replay", 3))
        run.take()
        assert len(run.session.gaps) < 6
    latest = [gap.end_ns for gap in run.session.gaps]
    assert len(latest) >= 3
    assert latest == [T0 + (20 - n) * SECOND for n in reversed(range(len(latest)))]
    assert run.session.describe()["gaps"] == 10
    assert run.session.describe()["unfilled_gaps"] == 0


def test_a_start_of_the_users_own_that_is_refused() -> None:
    run = Run()
    run.session.subscriptions[0] = run.session.subscriptions[0].resumed(T0)
    run.connect()
    run.session.start(run.now)
    run.begin(peers.error("too old", 8))
    assert run.session.ended
    assert isinstance(run.session.error, GatewayError)


def test_damage_in_the_same_read_as_the_reply_is_the_end() -> None:
    run = Run("trades")
    run.session.start(run.now)
    run.session.connection_made(run.now)
    run.receive(GREETING)
    run.receive(WELCOME + b"no header, though long enough for one".ljust(200))
    assert not run.session.connected
    assert isinstance(run.session.error, MetadataError)
    assert run.session.session_id == "17"
    with pytest.raises(MetadataError):
        run.session.check()


def test_damage_in_mid_stream_is_an_end_like_others(run: Run) -> None:
    run.receive(bytes(64))
    assert not run.session.ended
    assert run.delay() == 1


def test_a_future_version_is_not_tried_again() -> None:
    run = Run()
    run.connect()
    run.session.start(run.now)
    run.receive(b"DBN\x09" + bytes(60))
    assert run.session.ended
    assert "version" in str(run.session.error)


def test_a_limit_of_connections_passes_when_resuming(run: Run) -> None:
    run.lost()
    assert run.session.retry_at is not None
    run.now = run.session.retry_at
    run.session.connection_made(run.now)
    run.receive(GREETING)
    run.receive(b"success=0|error=User has reached their open connection limit\n")
    assert not run.session.ended
    assert run.delay() == 2


def test_a_key_that_is_refused_later_ends_the_session(run: Run) -> None:
    run.lost()
    run.now = run.session.retry_at or 0.0
    run.session.connection_made(run.now)
    run.receive(GREETING)
    run.receive(b"success=0|error=Authentication failed.\n")
    assert isinstance(run.session.error, AuthenticationError)
    with pytest.raises(AuthenticationError):
        run.session.check()


def test_what_was_missed_is_told_before_the_first_records() -> None:
    run = Run(wall=lambda: T0 + 5 * SECOND)
    run.session.start(run.now)
    run.connect()
    run.lost()  # asked for, and nothing came
    run.connect()
    run.begin(trade(T0 + 7 * SECOND))  # the header and market data alone, in one read
    gone, gap, records = run.take()
    assert isinstance(gone, Disconnected)
    assert isinstance(gap, Gap)
    assert not gap.filled
    assert (gap.start_ns, gap.end_ns) == (T0 + 3 * SECOND, T0 + 5 * SECOND)
    assert bytes(records) == trade(T0 + 7 * SECOND)
    assert run.session.progress.begun


def test_subscriptions_made_while_there_is_no_connection(run: Run) -> None:
    run.lost()
    run.session.subscribe(subscription(1, "mbp-1", "B"))
    with pytest.raises(ValueError, match="has begun"):
        run.session.subscribe(subscription(2, "mbo", "B", start=0))
    first, second, _ = run.connect()
    assert (first["schema"], second["schema"]) == ("trades", "mbp-1")
    assert "start" in first


def test_nothing_is_started_before_the_user_starts() -> None:
    run = Run()
    (asked,) = run.connect()
    assert asked["schema"] == "trades"
    run.lost()
    (again,) = run.connect()
    assert again == asked  # no resuming: nothing was received
    run.session.start(run.now)
    assert b"start_session" in run.session.data_to_send()


@pytest.mark.parametrize("came", ["nothing", "start", "header"])
def test_without_reconnecting_an_end_before_the_header_is_an_error(came: str) -> None:
    run = Run(policy=ReconnectPolicy.NONE)
    run.connect()
    if came != "nothing":
        run.session.start(run.now)
    if came == "header":
        run.begin()
    run.lost()
    assert run.session.ended
    if came == "header":
        run.session.check()
        return
    with pytest.raises(SessionClosed, match="closed the connection before anything came"):
        run.session.check()


def test_an_error_that_nothing_follows_is_forgotten(run: Run) -> None:
    run.receive(peers.error("hm", 255))
    run.receive(trade(T0 + 12 * SECOND))
    run.lost()
    (asked, _) = run.connect()
    assert "start" in asked


def test_names_of_silence() -> None:
    wall = [T0]
    run = Run(silence=Silence(30, wall=lambda: wall[0]))
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0))
    run.take()

    def later(seconds: float) -> list[Any]:
        run.now += seconds
        wall[0] += round(seconds * SECOND)
        run.session.tick(run.now)
        return run.take()

    for _ in range(2):  # heartbeats come, trades do not
        assert later(29) == []
        run.receive(peers.system())
        run.take()
    (state,) = later(3)
    assert isinstance(state, MarketState)
    assert (state.state, state.since_ns) == ("quiet", wall[0])
    run.receive(trade(T0 + 60 * SECOND))
    opened, records = run.take()
    assert opened.state == "open"
    assert isinstance(records, Records)
    assert later(34) == []
    (state,) = later(2)  # a heartbeat is overdue; at 40 s the session gives the connection up
    assert state.state == "stale"
    assert run.session.connected


def test_each_state_has_its_end_where_the_hours_are_known() -> None:
    asked: list[int] = []
    begin = T0 + 20 * SECOND  # the market opens, and closes soon after

    def hours(ns: int) -> HoursState | None:
        asked.append(ns)
        if ns < begin:
            return HoursState(False, 0, begin)
        return HoursState(True, begin, 2**64 - 1 if ns > T0 + 200 * SECOND else begin + 9)

    wall = [T0]
    known = MarketHours("GLBX.MDP3", calendar=hours)
    run = Run(silence=Silence(30, known, wall=lambda: wall[0]))
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0))
    run.take()

    def later(seconds: float) -> list[Any]:
        run.now += seconds
        wall[0] += round(seconds * SECOND)
        run.session.tick(run.now)
        found = run.take()
        return [(one.state, one.until_ns) for one in found if isinstance(one, MarketState)]

    def records() -> list[Any]:
        run.receive(trade(wall[0]))
        found = run.take()
        return [(one.state, one.until_ns) for one in found if isinstance(one, MarketState)]

    assert later(0) == []
    assert later(5) == [("closed", begin)]
    assert records() == [("open", begin)]  # records come before the market opens
    n = len(asked)
    for _ in range(5):
        assert records() == []
    assert len(asked) == n  # a batch that changes nothing does not ask
    assert later(20) == []
    run.receive(peers.system())
    assert later(36) == [("stale", begin + 9)]
    assert records() == [("open", begin + 9)]
    for _ in range(2):
        assert later(29) == []
        run.receive(peers.system())
    assert later(3) == [("quiet", begin + 9)]
    wall[0] = T0 + 201 * SECOND
    assert records() == [("open", None)]  # nobody knows for how long


def test_closed_markets() -> None:
    class Hours:
        def at(self, ns: int) -> Any:
            return type("State", (), {"open": False, "until_ns": 7})

    run = Run(silence=Silence(30, Hours()))  # type: ignore[arg-type]
    run.connect()
    run.session.start(run.now)
    run.begin(peers.system())
    run.take()
    run.session.tick(run.now)
    run.now += 2
    run.session.tick(run.now)
    (state,) = run.take()
    assert (state.state, state.until_ns) == ("closed", 7)
    assert run.session.describe()["state"] == "closed"


def reported(run: Run) -> list[tuple[str, float, float, bool]]:
    """The gaps since the last call: schema, and seconds behind T0."""
    return [
        (str(gap.schema), (gap.start_ns - T0) / SECOND, (gap.end_ns - T0) / SECOND, gap.filled)
        for gap in run.take()
        if isinstance(gap, Gap)
    ]


def timed() -> Run:
    """A session whose wall clock is its own, T0 at first."""
    run = Run(wall=lambda: T0 + round((run.now - 100) * SECOND))
    return run


def test_a_schema_without_a_record_has_no_gap_beside_a_replay() -> None:
    run = Run(wall=lambda: T0 + round((run.now - 100) * SECOND))
    run.session.subscribe(subscription(1, "mbo", "A", start=0))
    run.connect()
    run.session.start(run.now)
    long_ago = streams.record(160, 56, instrument_id=100, ts_event=T0 - 72_000 * SECOND)
    run.begin(long_ago, start=0)
    for _ in range(3):
        run.lost()
        asked = run.connect()
        assert asked[0]["start"] == str(T0 - 2 * SECOND)
        run.begin(long_ago, start=T0 - 72_002 * SECOND)
        assert reported(run) == []


@pytest.mark.parametrize("came", [(), (T0 + SECOND,)])
def test_a_break_in_a_sessions_first_seconds_is_no_gap(came: tuple[int, ...]) -> None:
    run = timed()
    run.connect()
    run.session.start(run.now)
    run.begin(peers.system("Heartbeat", 0, ts_event=T0), *map(trade, came))
    for _ in range(3):
        run.lost()
        assert run.connect()[0]["start"] == str((came or (T0,))[0] - 2 * SECOND)
        run.begin(*map(trade, came), trade(T0 + 9 * SECOND), start=T0 - SECOND)
        came = (T0 + 9 * SECOND,)
        assert [gap for gap in reported(run) if not gap[3]] == []


def test_a_refused_replay_leaves_a_gap_that_late_records_are_in() -> None:
    run = timed()
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0 + SECOND))
    run.lost()
    run.connect()
    run.begin(peers.error("too old", 8))
    run.connect()
    run.begin(trade(T0 + 20 * SECOND), start=T0 + 9 * SECOND)
    assert reported(run) == [("trades", -1.0, 9.0, False)]


def test_a_gap_whose_end_this_sides_clock_tells_reaches_as_far_as_that_may_be_behind() -> None:
    run = timed()
    run.session.subscribe(subscription(1, "definition", "A"))
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0 + SECOND))
    run.lost()
    run.connect()
    run.begin(peers.error("too old", 8))
    asked = run.connect()  # trades by a replay, so that the header does not tell the time
    assert ["start" in one for one in asked] == [True, False, False]
    run.begin(trade(T0 + SECOND), start=T0 - SECOND)
    here = round(run.now - 100, 1)
    assert ("definition", -2.0, here + 0.1, False) in reported(run)


def test_a_gap_begins_where_the_first_connection_did() -> None:
    # it brought the header alone, the second one was refused
    run = Run(wall=lambda: T0 + round((run.now - 100) * SECOND))
    run.session.subscribe(subscription(1, "mbo", "A", start=0))
    run.connect()
    run.session.start(run.now)
    run.begin(start=0)
    run.lost()
    run.now += 5
    run.connect()
    run.begin(peers.error("too old", 8), start=T0 + 6 * SECOND)
    run.connect()
    run.begin(trade(T0 + 20 * SECOND), start=T0 + 9 * SECOND)
    gaps = {schema: (start, end) for schema, start, end, filled in reported(run) if not filled}
    assert gaps["trades"][0] == -2.0
    assert gaps["trades"][1] >= 6.0


def test_a_subscription_whose_acknowledgement_never_came_has_a_gap(run: Run) -> None:
    run.session.subscribe(subscription(1, "mbo", "B"))
    run.lost()
    run.connect()
    run.begin(trade(T0 + 10 * SECOND), start=T0 + 8 * SECOND)
    (gap,) = [gap for gap in run.take() if isinstance(gap, Gap)]
    assert (gap.schema, gap.filled) == (Schema.MBO, False)


def test_a_gateway_that_makes_no_replay_leaves_a_gap(run: Run) -> None:
    run.lost()
    run.connect()
    run.begin(trade(T0 + 60 * SECOND), start=T0 + 59 * SECOND)
    items = run.take()
    (gap,) = [gap for gap in items if isinstance(gap, Gap)]
    assert (gap.start_ns, gap.end_ns, gap.filled) == (T0 + 8 * SECOND, T0 + 60 * SECOND, False)
    assert "took no notice of the start" in gap.reason
    assert isinstance(items[-1], Records)  # told before what comes after it


def test_the_attempts_of_a_reconnection_are_those_since_the_last_one(run: Run) -> None:
    for refused in (2, 0, 1):
        run.lost()
        for _ in range(refused):
            run.now += run.delay()
            run.lost(OSError("no route"))
        run.connect()
        run.begin(peers.system("Heartbeat", 0, ts_event=T0 + 20 * SECOND))
        (again,) = [item for item in run.take() if isinstance(item, Reconnected)]
        assert again.attempts == refused + 1


@pytest.mark.parametrize("policy", list(ReconnectPolicy))
def test_a_session_that_is_not_resumed_keeps_nothing(policy: ReconnectPolicy) -> None:
    run = Run("trades", "definition", policy=policy)
    run.connect()
    run.session.start(run.now)
    run.begin(trade(T0), streams.record(19, 520, instrument_id=100, ts_event=T0))
    for n in range(100):
        run.receive(b"".join(trade(T0 + n, i) for i in range(50)))
        run.session.get_buffer()  # what came is noted before more does
    kept = run.session.progress.kept_bytes
    assert kept == 0 if policy == ReconnectPolicy.NONE else kept > 100 * 50 * 48


def test_a_replay_in_which_nothing_was_missing_reaches_to_its_end() -> None:
    run = timed()
    run.connect()
    run.session.start(run.now)
    run.begin(peers.system("Heartbeat", 0, ts_event=T0))
    run.lost()
    run.connect()
    finished = peers.system("Finished trades replay", 3, ts_event=T0 + 5 * SECOND)
    run.begin(peers.system("Heartbeat", 0, ts_event=T0 + 5 * SECOND), finished)
    assert reported(run) == [("trades", 0.0, 5.0, True)]
