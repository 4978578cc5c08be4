"""Resume points, what is asked for again, and what of the answer is dropped: rule by rule."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Records, RType, Schema
from dbnfast.enums import SCHEMA_RTYPES, SystemCode
from dbnfast.layouts.programs import FILTER_TS_AT, INDEX_TS_AT
from dbnfast.live.resume import delivered as kept
from dbnfast.live.resume.plan import Progress, Reach, lost, resume
from dbnfast.live.resume.progress import Replayed
from dbnfast.live.wire.requests import Subscription, subscription
from helpers import streams

S = 10**9
T0 = 1_700_000_000 * S  # a whole minute, not a whole hour
RULED_OUT = 2**64 - 1


def raw(
    schema: str, ts: int, *, id: int = 1, tag: int = 0, n_bytes: int = 0, ts_recv: int = 0
) -> bytes:
    """A record whose filter time is `ts`."""
    rtype = int(SCHEMA_RTYPES[Schema(schema)])
    size = n_bytes or dbnfast.dtype(schema).itemsize
    made = bytearray(streams.record(rtype, size, instrument_id=id, ts_event=ts))
    at = int(INDEX_TS_AT[rtype])
    made[at : at + 8] = struct.pack("<Q", ts_recv)
    at = int(FILTER_TS_AT[rtype])
    made[at : at + 8] = struct.pack("<Q", ts)
    made[-4:] = struct.pack("<I", tag)
    return bytes(made)


def mbo(ts: int, *, id: int = 1, flags: int = 0, ts_recv: int = 0, order: int = 0) -> bytes:
    array = dbnfast.empty("mbo", 1)
    array["instrument_id"], array["ts_event"], array["flags"] = id, ts, flags
    array["ts_recv"], array["order_id"] = ts_recv or ts + 1, order
    return array.tobytes()


def control(rtype: RType, ts: int, id: int = 0, version: int = 3, **fields: Any) -> bytes:
    array = dbnfast.empty(rtype, 1, version=version)
    array["instrument_id"], array["ts_event"] = id, ts
    for name, value in fields.items():
        array[name] = value
    return array.tobytes()


def ack(id: int | str, schema: str, ts: int) -> bytes:
    text = f"Subscription request {id} for {schema} data succeeded".replace("  ", " ").encode()
    return control(RType.SYSTEM, ts, msg=text, code=int(SystemCode.SUBSCRIPTION_ACK))


def finished(schema: str, ts: int = T0) -> bytes:
    text = f"Finished {schema} replay".encode()
    return control(RType.SYSTEM, ts, msg=text, code=int(SystemCode.REPLAY_COMPLETED))


def heartbeat(ts: int) -> bytes:
    return control(RType.SYSTEM, ts, msg=b"Heartbeat", code=0)


def mapped(symbol: str, id: int, ts: int = T0) -> bytes:
    fields = {"stype_in": 255, "stype_out": 255, "stype_in_symbol": symbol.encode()}
    return control(RType.SYMBOL_MAPPING, ts, id, **fields)


def batch(*parts: bytes, ts_out: int = 0, version: int = 3) -> Records:
    return dbnfast.scan(streams.header(version, None, ts_out=ts_out) + b"".join(parts))


class Session:
    """A Progress with its subscriptions."""

    def __init__(self, *subs: Subscription, start: int | None = T0, overlap: int = 2 * S) -> None:
        self.progress = Progress(overlap_ns=overlap)
        self.subs = list(subs)
        for sub in subs:
            self.progress.subscribed(sub)
        if start is not None:
            self.progress.started(start)

    def add(self, sub: Subscription) -> None:
        self.subs.append(sub)
        self.progress.subscribed(sub)

    def push(self, *parts: bytes) -> list[bytes]:
        records = batch(*parts)
        new = self.progress.push(records)
        assert (new is records) == (len(new) == len(records))
        return streams.walk(new.tobytes())

    def asks(self, reach: Reach = Reach.FULL) -> list[int | str | None]:
        """The starts that a new connection is asked for, "snapshot" for a snapshot."""
        subs = resume(self.subs, self.progress, reach)
        assert [sub.id for sub in subs] == [sub.id for sub in self.subs]
        assert not any(sub.snapshot and sub.start is not None for sub in subs)
        return ["snapshot" if sub.snapshot else sub.start for sub in subs]

    def lost(self, reach: Reach = Reach.FULL) -> dict[Schema, int]:
        return lost(self.subs, resume(self.subs, self.progress, reach), self.progress)

    def reconnect(self, reach: Reach = Reach.FULL, start: int | None = None) -> None:
        self.progress.disconnected()
        subs = resume(self.subs, self.progress, reach)
        self.progress.resumed(subs)
        starts = [sub.start for sub in subs if sub.start is not None]
        self.progress.started(min(starts) if start is None else start)


def sub(id: int, schema: str, symbols: Any = "A", start: int | None = None, **more: Any) -> Any:
    return subscription(id, schema, symbols, start=start, **more)


# resume points


@pytest.mark.parametrize(
    ("schema", "own", "received", "point"),
    [
        ("trades", None, [], T0 - 2 * S),  # what is sent then has an earlier time of its own
        ("trades", T0 - 9 * S, [], T0 - 9 * S),
        ("trades", 0, [], 0),
        ("trades", None, [T0 + 1], T0 + 1 - 2 * S),
        ("trades", None, [T0 + 7 * S, T0 + 6 * S], T0 + 5 * S),
        ("trades", T0 - 9 * S, [T0 - 8 * S], T0 - 9 * S),
        ("trades", 0, [T0 - 8 * S], T0 - 10 * S),
        ("trades", 0, [RULED_OUT], 0),
        ("trades", 0, [T0 + 1, RULED_OUT], T0 + 1 - 2 * S),
        ("bbo-1s", None, [T0 + 7 * S], T0 + 5 * S),
        ("cbbo-1m", None, [T0 + 7 * S], T0 + 5 * S),
        ("tcbbo", None, [T0 + 7 * S], T0 + 5 * S),
        ("ohlcv-1s", None, [T0 + 7 * S], T0 + 5 * S),
        (
            "ohlcv-1h",
            None,
            [],
            T0 - T0 % (3600 * S) - 2 * S,
        ),  # the bar that goes on is sent at its end
        ("ohlcv-1d", T0 - S, [], T0 - S),
        ("definition", None, [T0 + 7 * S], T0 - 2 * S),
        ("statistics", None, [T0 + 7 * S], T0 - 2 * S),
        ("status", 5, [T0 + 7 * S], 5),
        ("imbalance", 0, [], 0),
    ],
)
def test_resume_point(schema: str, own: int | None, received: list[int], point: int) -> None:
    session = Session(sub(0, schema, start=own), start=T0 if own is None else own)
    for ts in received:
        session.push(raw(schema, ts))
    assert session.progress.points == {Schema(schema): point}
    session.progress.disconnected()
    assert session.progress.points == {Schema(schema): point}
    assert session.asks() == [point]
    assert session.lost() == {}
    slow = schema in ("definition", "statistics", "status", "imbalance")
    assert session.asks(Reach.RECENT) == [None if slow else point]
    assert session.lost(Reach.RECENT) == ({schema: point} if slow else {})
    assert session.asks(Reach.NONE) == [None]
    assert session.lost(Reach.NONE) == {schema: point}


def test_overlap() -> None:
    session = Session(sub(0, "trades"), overlap=0)
    session.push(raw("trades", T0 + 5))
    assert session.progress.points[Schema.TRADES] == T0 + 5
    with pytest.raises(ValueError, match="overlap_ns is -1, expected 0 or more"):
        Progress(overlap_ns=-1)


def test_nothing_changes_before_the_first_records() -> None:
    subs = (sub(3, "trades", start=7), sub(1, "mbo", snapshot=True))
    session = Session(*subs, start=None)
    session.progress.disconnected()
    assert resume(subs, session.progress) == subs
    assert resume(subs, session.progress, Reach.NONE) == subs
    assert session.lost() == {}
    assert session.progress.points == {}
    session.progress.resumed(subs)
    session.progress.started(7)
    session.push(heartbeat(T0))
    assert session.asks() == [7, "snapshot"]


def test_pure() -> None:
    session = Session(sub(0, "trades"), sub(1, "definition"))
    session.push(raw("trades", T0 + 5 * S), raw("definition", T0))
    session.progress.disconnected()
    before = [session.asks(reach) for reach in Reach]
    assert before == [session.asks(reach) for reach in Reach]
    assert before == [[T0 + 3 * S, T0 - 2 * S], [T0 + 3 * S, None], [None, None]]


def test_an_unknown_subscription_stays_as_it_is() -> None:
    session = Session(sub(0, "trades"))
    session.progress.disconnected()
    other = sub(9, "mbo", start=4)
    assert resume([other], session.progress) == (other,)
    with pytest.raises(ValueError, match="subscription 9 is not there"):
        session.progress.resumed([other])
    with pytest.raises(ValueError, match="subscription 0 is there already"):
        session.progress.subscribed(sub(0, "mbo"))


def test_highest_and_last() -> None:
    session = Session(sub(0, "trades"), sub(1, "bbo-1s"), sub(2, "mbo"))
    progress = session.progress
    assert (progress.highest, progress.last_ns) == ({}, T0)
    session.push(raw("trades", T0 + 3), raw("bbo-1s", T0 + 9), heartbeat(T0 + 50))
    session.push(mbo(T0 + 99, flags=32))
    assert progress.highest == {Schema.TRADES: T0 + 3, Schema.BBO_1S: T0 + 9}
    assert progress.last_ns == T0 + 9
    session.push(raw("imbalance", T0 + 20))  # nobody asked for it
    assert progress.last_ns == T0 + 20
    assert Progress().last_ns == 0


# the beginnings of subscriptions


def test_a_live_one_beside_a_replay_begins_with_the_gateways_time() -> None:
    # the start in the metadata is the lowest that was asked for
    session = Session(sub(0, "trades", start=0), sub(1, "mbp-10", "B"), start=0)
    session.push(ack(0, "trades", T0 + 4), ack(1, "mbp-10", T0 + 5))
    session.progress.disconnected()
    assert session.asks() == [0, T0 + 4 - 2 * S]
    assert session.lost() == {}


def test_where_no_record_tells_the_gateways_time_this_sides_has_to_do() -> None:
    subs = [sub(0, "trades", start=0), sub(1, "mbp-10", "B")]
    session = Session(*subs, start=None)
    session.progress.started(0, T0)
    session.push(raw("trades", T0 - 9000 * S))
    session.progress.disconnected()
    assert session.asks() == [T0 - 9002 * S, T0 - 2 * S]
    assert session.lost() == {}
    assert session.lost(Reach.NONE) == {Schema.TRADES: T0 - 9002 * S, Schema.MBP_10: T0 - 2 * S}


def test_what_was_asked_for_and_never_answered_may_have_begun() -> None:
    session = Session(sub(0, "trades"))
    session.push(raw("trades", T0 + 90 * S))
    late = sub(1, "mbo", "B")
    session.subs.append(late)
    session.progress.subscribed(late, T0 + 91 * S)
    session.progress.disconnected()
    unsent = sub(2, "mbp-10", "B")
    session.subs.append(unsent)
    session.progress.subscribed(unsent)
    assert session.asks() == [T0 + 88 * S, None, None]
    assert session.lost() == {Schema.MBO: T0 + 89 * S}
    session.progress.resumed(resume(session.subs, session.progress), T0 + 95 * S)
    session.progress.started(T0 + 88 * S)
    session.progress.disconnected()
    assert session.lost() == {Schema.MBO: T0 + 89 * S, Schema.MBP_10: T0 + 93 * S}


@pytest.mark.parametrize("told", ["5", ""])
def test_a_late_one_begins_with_its_acknowledgement(told: str) -> None:
    session = Session(sub(0, "trades"))
    session.push(ack(0 if told else "", "trades", T0))
    session.push(raw("trades", T0 + 90 * S))
    session.add(sub(5, "trades", "B"))
    session.add(sub(6, "mbo", "B", snapshot=True))
    assert session.asks() == [T0 + 88 * S, None, "snapshot"]
    assert session.lost() == {}
    session.push(ack(told, "trades", T0 + 95 * S), ack(99, "mbo", T0), ack("", "ohlcv-1d", T0))
    session.progress.disconnected()
    assert session.asks() == [T0 + 88 * S, T0 + 93 * S, "snapshot"]
    assert session.asks(Reach.NONE) == [None, None, "snapshot"]
    assert session.lost(Reach.NONE) == {Schema.TRADES: T0 + 88 * S}


def test_what_was_never_acknowledged_but_came_is_resumed() -> None:
    session = Session(sub(0, "trades"))
    session.add(sub(1, "mbp-1", "B"))
    session.push(raw("mbp-1", T0 + 9 * S))
    assert session.asks() == [T0 - 2 * S, T0 + 7 * S]


def test_a_clock_that_is_not_that_of_the_data() -> None:
    # a gateway may run on today's clock and send another day's records
    session = Session(sub(0, "trades"))
    session.push(raw("trades", 50 * S))
    assert session.asks() == [48 * S]
    session.push(raw("trades", 70 * S))
    assert session.asks() == [68 * S]
    session = Session(sub(0, "trades"))
    session.push(raw("trades", T0 - S))  # it is late, not of another day
    assert session.asks() == [T0 - 2 * S]


def test_a_clock_that_is_not_that_of_the_data_shows_after_a_reconnection_too() -> None:
    session = Session(sub(0, "trades"))
    for _ in range(2):  # nothing came over the first connections
        session.push(heartbeat(T0))
        session.reconnect()
    days_ago = [raw("trades", T0 - 86400 * S + i) for i in range(2)]
    assert session.push(days_ago[0]) == days_ago[:1]
    assert session.push(days_ago[1]) == days_ago[1:]
    session.progress.disconnected()
    assert session.asks() == [T0 - 86402 * S + 1]


# several subscriptions of one schema


def test_each_is_clipped_by_its_own_beginning() -> None:
    session = Session(
        sub(0, "trades", "A", T0 - 9 * S), sub(1, "trades", "B", T0 - S), sub(2, "mbp-1"),
        start=T0 - 9 * S,
    )  # fmt: skip
    session.push(heartbeat(T0), mapped("A", 1), mapped("B", 2))
    assert session.asks() == [T0 - 9 * S, T0 - S, T0 - 2 * S]
    session.push(raw("trades", T0 - 5 * S, id=1), raw("trades", T0 + 20 * S, id=2))
    assert session.asks() == [T0 - 7 * S, T0 - S, T0 - 2 * S]
    session.push(finished("trades"))  # from now on one time holds for both
    assert session.asks() == [T0 + 18 * S, T0 + 18 * S, T0 - 2 * S]


@pytest.mark.parametrize(
    ("symbols", "stype", "mapping", "fed"),
    [
        ("a", "raw_symbol", ("A", 7), True),
        ("A", "raw_symbol", ("B", 7), False),
        ("es.c.0", "continuous", ("ES.c.0", 7), True),
        ("es.c.0", "continuous", ("ES.C.0", 7), True),
        ("ES.FUT", "parent", ("ES.FUT", 7), True),
        ("7", "instrument_id", None, True),
        ("8", "instrument_id", None, False),
    ],
)
def test_a_replay_feeds_those_whose_mappings_name_the_instrument(
    symbols: str, stype: str, mapping: tuple[str, int] | None, fed: bool
) -> None:
    session = Session(
        sub(0, "trades", symbols, T0 - 9 * S, stype_in=stype), sub(1, "trades", "Z", T0 - 9 * S),
        start=T0 - 9 * S,
    )  # fmt: skip
    session.push(mapped("Z", 2), *([mapped(*mapping)] if mapping else []))
    session.push(raw("trades", T0, id=7))
    assert session.asks() == [T0 - 9 * S] * 2  # the other one stays where it began
    session.push(raw("trades", T0 + 9 * S, id=2))
    assert session.asks() == [T0 - 2 * S if fed else T0 - 9 * S] * 2


def test_all_symbols_are_fed_by_what_no_other_names() -> None:
    session = Session(sub(0, "trades", None, 0), sub(1, "trades", "Z", T0), start=0)
    session.push(mapped("Z", 2), raw("trades", T0 - 9 * S, id=7))
    assert session.asks() == [T0 - 11 * S, T0]
    session.push(raw("trades", T0 + 9 * S, id=2))
    assert session.asks() == [T0 - 11 * S, T0]


def test_what_two_name_feeds_neither() -> None:
    # nobody can tell whose replay brought it, and they may be at different times
    session = Session(sub(0, "trades", "A", 0), sub(1, "trades", "A,B", 5), start=0)
    session.push(mapped("A", 1), mapped("B", 2))
    session.push(raw("trades", T0, id=1), raw("trades", T0, id=2))
    assert session.asks() == [0, 5]
    everything = Session(sub(0, "trades", None, 0), sub(1, "trades", "A", 5), start=0)
    everything.push(mapped("A", 1))
    everything.push(raw("trades", T0, id=1))
    assert everything.asks() == [0, 5]
    everything.push(raw("trades", T0, id=3))
    assert everything.asks() == [5, 5]  # all of it came as far as T0
    twice = Session(sub(0, "trades", None, 0), sub(1, "trades", None, 5), start=0)
    twice.push(raw("trades", T0, id=1))
    assert twice.asks() == [0, 5]


def test_tbbo_and_mbp_1_are_one() -> None:
    session = Session(sub(0, "tbbo", "A", 0), sub(1, "mbp-1", "B", 0), start=0)
    progress = session.progress
    session.push(mapped("A", 1), mapped("B", 2))
    session.push(raw("mbp-1", T0, id=1), raw("mbp-1", T0 + 9 * S, id=2))
    assert progress.points == {Schema.TBBO: T0 - 2 * S, Schema.MBP_1: T0 - 2 * S}
    session.push(finished("tbbo"))
    assert progress.replaying == {Schema.MBP_1}
    assert progress.points[Schema.TBBO] == T0 - 2 * S
    session.push(finished("mbp-1"))
    assert progress.points == {Schema.TBBO: T0 + 7 * S, Schema.MBP_1: T0 + 7 * S}
    session.reconnect()
    assert session.push(finished("mbp-1"))
    assert progress.completed() == []
    assert session.push(raw("mbp-1", T0 + 9 * S, id=2)) == []  # still matched
    session.push(finished("tbbo"))
    assert [it.schema for it in progress.completed()] == [Schema.MBP_1, Schema.TBBO]
    assert len(session.push(raw("mbp-1", T0 + 9 * S, id=2))) == 1


def test_a_late_one_during_a_replay() -> None:
    session = Session(sub(0, "trades", "A", 0), start=0)
    session.push(mapped("A", 1), raw("trades", T0 - 90 * S, id=1))
    session.add(sub(1, "trades", "B"))
    session.push(ack(0, "trades", T0), ack(1, "trades", T0), mapped("B", 2))
    session.push(raw("trades", T0 + 50 * S, id=2))
    assert session.asks() == [T0 - 92 * S, T0 - 2 * S]
    session.push(raw("trades", T0 - 80 * S, id=1))
    assert session.asks() == [T0 - 82 * S, T0 - 2 * S]


def test_one_that_comes_while_there_is_no_connection() -> None:
    session = Session(sub(0, "trades"))
    session.push(raw("trades", T0 + 9 * S))
    session.progress.disconnected()
    session.add(sub(1, "trades", "B"))
    assert session.asks() == [T0 + 7 * S, None]
    assert session.lost() == {}
    session.progress.resumed(resume(session.subs, session.progress))
    session.progress.started(T0 + 7 * S)
    session.push(ack(0, "trades", T0 + 20 * S), ack(1, "trades", T0 + 20 * S))
    session.progress.disconnected()
    assert session.asks() == [T0 + 7 * S, T0 + 18 * S]


# what is dropped


def test_each_kept_record_is_dropped_once() -> None:
    session = Session(sub(0, "trades"))
    a, b, c = (raw("trades", T0 + 5 * S, tag=tag) for tag in range(3))
    old = raw("trades", T0)
    assert session.push(old, a, a, b) == [old, a, a, b]
    session.reconnect()
    assert session.progress.replaying == {Schema.TRADES}
    assert session.push(ack(0, "trades", T0 + 9 * S), a) == [ack(0, "trades", T0 + 9 * S)]
    assert session.push(c, b, a, a) == [c, a]
    assert session.push(old) == [old]  # before the point: nobody asked for it
    assert session.push(b, finished("trades")) == [b, finished("trades")]
    assert session.progress.completed() == [Replayed(Schema.TRADES, True, T0 + 3 * S, T0)]
    assert session.progress.completed() == []
    assert session.progress.replaying == frozenset()


def test_what_is_behind_the_end_of_a_replay_is_new() -> None:
    session = Session(sub(0, "trades"), sub(1, "definition"))
    a, b = (raw("trades", T0 + 5 * S, tag=tag) for tag in range(2))
    d = raw("definition", T0)
    session.push(a, b, d)
    session.reconnect()
    end, other = finished("trades"), finished("definition")
    assert session.push(a, end, b, d) == [end, b]
    assert session.push(d, other, d) == [d, other, d]
    session.reconnect()
    assert session.push(d, d, d, d) == [d]  # three were delivered
    session.progress.disconnected()
    over = [(it.schema, it.whole) for it in session.progress.completed()]
    assert over == [(Schema.TRADES, True), (Schema.DEFINITION, True)]


def test_ts_out_does_not_count() -> None:
    progress = Progress()
    progress.subscribed(sub(0, "trades"))
    progress.started(T0)
    first, again, new = (
        streams.trade(i, extra=streams.stamp(j)) for i, j in ((0, 1), (0, 2), (3, 1))
    )
    progress.push(batch(first, ts_out=1))
    progress.disconnected()
    progress.resumed(resume([sub(0, "trades")], progress))
    progress.started(T0)
    assert progress.push(batch(again, new, ts_out=1)).tobytes() == new
    result = progress.push(batch(first, ts_out=1))
    assert (result.ts_out, result.version, len(result)) == (True, 3, 1)


def test_records_without_a_time_are_dropped_too() -> None:
    session = Session(sub(0, "trades"))
    endless = raw("trades", RULED_OUT)
    session.push(raw("trades", T0 + 5 * S), endless)
    assert session.progress.points[Schema.TRADES] == T0 + 3 * S
    session.reconnect()
    assert session.push(endless, endless) == [endless]


def test_a_second_cut_in_the_middle_of_a_replay() -> None:
    session = Session(sub(0, "trades"))
    first = [raw("trades", T0 + i * S, tag=i) for i in range(10)]
    session.push(*first)
    session.reconnect()
    more = [raw("trades", T0 + i * S, tag=i) for i in range(10, 14)]
    assert session.push(*first[7:], more[0], more[1]) == more[:2]
    session.reconnect()
    assert resume(session.subs, session.progress)[0].start == T0 + 9 * S
    assert session.push(first[9], *more, finished("trades")) == [*more[2:], finished("trades")]


def test_a_second_cut_before_the_replay_came_as_far_as_the_first() -> None:
    session = Session(sub(0, "trades"))
    first = [raw("trades", T0 + i * S, tag=i) for i in range(10)]
    session.push(*first)
    session.reconnect()
    assert session.push(first[7]) == []
    session.reconnect()
    assert session.progress.points[Schema.TRADES] == T0 + 7 * S
    assert session.push(*first[7:], raw("trades", T0 + 20 * S)) == [raw("trades", T0 + 20 * S)]


def test_a_connection_that_brings_nothing_changes_nothing() -> None:
    session = Session(sub(0, "trades"), sub(1, "statistics"), sub(2, "mbo", snapshot=True))
    a, d = raw("trades", T0 + 5 * S), raw("statistics", T0)
    session.push(a, d, mbo(T0, flags=168), mbo(T0 + 9 * S))
    session.progress.disconnected()
    asked = [session.asks(reach) for reach in Reach]
    assert asked[2] == [None, None, "snapshot"]
    for reach in Reach:
        session.reconnect(reach, T0 + 60 * S)
        session.push(ack(0, "trades", T0 + 60 * S))
        session.push(control(RType.ERROR, T0 + 60 * S, err=b"Too old", code=8))
        session.progress.disconnected()
        assert [session.asks(reach) for reach in Reach] == asked
    session.progress.disconnected()
    session.reconnect()
    assert session.push(a, d, mbo(T0 + 9 * S)) == []


def test_after_a_gap_a_session_begins_anew() -> None:
    session = Session(sub(0, "trades"), sub(1, "statistics"), sub(2, "bbo-1s"))
    a, d = raw("trades", T0 + 5 * S), raw("statistics", T0)
    session.push(a, d)
    now = T0 + 6 * S
    session.reconnect(Reach.NONE, now)
    assert session.progress.replaying == frozenset()
    assert session.push(a, d) == [a, d]  # live ones that happen to be equal
    session.progress.disconnected()
    assert session.asks() == [now - 2 * S, now - 2 * S, now - 2 * S]
    session.reconnect()
    old, new = raw("bbo-1s", now - S), raw("bbo-1s", now + S)
    assert session.push(old, new, old) == [new, old]  # the second one is late


def test_recent_replay_only() -> None:
    session = Session(sub(0, "trades"), sub(1, "definition"))
    a, d = raw("trades", T0 + 5 * S), raw("definition", T0)
    session.push(a, d)
    session.reconnect(Reach.RECENT)
    now = T0 + 50 * S
    assert session.push(ack(0, "trades", now), ack(1, "definition", now), d, a)[2:] == [d]
    assert session.progress.replaying == {Schema.TRADES}
    session.progress.disconnected()
    assert session.asks() == [T0 + 3 * S, now - 2 * S]
    assert session.asks(Reach.RECENT) == [T0 + 3 * S, None]


def test_points_advance_after_every_kind_of_reconnection() -> None:
    session = Session(sub(0, "trades", "A", 0), sub(1, "trades", "B", 0), start=0)
    session.push(mapped("A", 1), mapped("B", 2))
    session.push(raw("trades", T0, id=1), raw("trades", T0 + 9 * S, id=2))
    session.reconnect()
    assert session.asks() == [T0 - 2 * S] * 2
    session.push(mapped("A", 1), raw("trades", T0 + 3 * S, id=1))
    assert session.asks() == [T0 + S] * 2
    session.push(raw("trades", T0 + 30 * S, id=1))
    assert session.asks() == [T0 + 7 * S] * 2
    session.reconnect(Reach.NONE, T0 + 50 * S)
    assert session.asks() == [T0 + 7 * S] * 2  # nothing came of it yet
    session.push(raw("trades", T0 + 60 * S, id=1))
    assert session.asks() == [T0 + 58 * S] * 2
    assert session.lost() == {}


def test_what_was_never_acknowledged_is_resumed_again_and_again() -> None:
    session = Session(sub(0, "trades"))
    session.add(sub(1, "mbp-1", "B"))
    session.push(raw("mbp-1", T0 + 9 * S))
    session.reconnect()
    session.push(ack(0, "trades", T0 + 90 * S), ack(1, "mbp-1", T0 + 90 * S))
    session.progress.disconnected()
    assert session.asks() == [T0 - 2 * S, T0 + 7 * S]


def test_of_a_replay_nothing_comes_from_before_the_beginning() -> None:
    session = Session(sub(0, "trades"), sub(1, "mbp-1"), sub(2, "bbo-1s"))
    came, quote = raw("trades", T0 + S), raw("mbp-1", T0 + S)
    session.push(came)
    session.reconnect()
    assert session.asks() == [T0 - S, T0 - 2 * S, T0 - 2 * S]
    before, late = raw("trades", T0 - S // 2), raw("trades", T0 - S // 2, tag=1)
    # that the vendor received it after the beginning says that it was sent after it
    stamped = raw("trades", T0 - S // 2, ts_recv=T0 + 5)
    assert session.push(before, raw("mbp-1", T0 - S)) == []
    assert session.push(before, quote, stamped, before, came, late) == [
        quote, stamped, before, late,
    ]  # fmt: skip
    assert session.push(raw("bbo-1s", T0 - S), finished("bbo-1s"), raw("bbo-1s", T0 - S))[1:] == [
        raw("bbo-1s", T0 - S)
    ]


@pytest.mark.parametrize("told", [False, True])
def test_one_whose_names_nothing_maps_may_have_any_instrument(told: bool) -> None:
    # what a replay brings of an instrument is from before the beginning of who has all of them
    session = Session(sub(0, "trades", "A", 0), sub(1, "trades", None), start=0)
    mapping = [mapped("A", 2)] if told else []
    session.push(*mapping, heartbeat(T0), raw("trades", T0 - 9 * S, id=1))
    session.reconnect()
    before = raw("trades", T0 - S, id=1)
    owed = [] if told else [before]  # to the other one, for all that is known
    assert session.push(raw("trades", T0 - 9 * S, id=1), before) == owed


def test_a_record_without_a_time_is_nobodys_to_judge() -> None:
    session = Session(sub(0, "trades"))
    session.push(raw("trades", T0 + 9 * S))
    session.reconnect()
    endless = raw("trades", RULED_OUT, ts_recv=RULED_OUT)
    before = raw("trades", T0 + 7 * S - 1)
    assert session.push(endless, before) == [endless]


@pytest.mark.parametrize("schema", ["trades", "ohlcv-1s", "ohlcv-1h", "ohlcv-1d", "statistics"])
@pytest.mark.parametrize("step", [1, 60, 86400])
@pytest.mark.parametrize("ts_out", [0, 1])
def test_a_gateway_that_takes_no_notice_of_starts(schema: str, step: int, ts_out: int) -> None:
    session = Session(sub(0, schema))
    sent = [raw(schema, T0 + i * step * S, tag=i) for i in range(6)]
    for n, new in enumerate((4, 0, 1, 0, 1)):
        stamp = bytes([n] * 8) if ts_out else b""
        out = [bytes([one[0] + 2 * ts_out]) + one[1:] + stamp for one in sent[: 4 + n // 2]]
        got = session.progress.push(batch(*out, ts_out=ts_out))
        assert streams.walk(got.tobytes()) == out[len(out) - new :], n
        session.reconnect()


def test_a_replay_that_begins_too_early() -> None:
    session = Session(sub(0, "trades"))
    first = [raw("trades", T0 + i * S, tag=i) for i in range(10)]
    session.push(*first)
    session.reconnect()
    new = raw("trades", T0 + 15 * S // 2, tag=99)  # late
    assert session.push(*first[2:8], new, *first[8:]) == [new]


@pytest.mark.parametrize("told", [False, True])
def test_a_gateway_that_makes_no_replay(told: bool) -> None:
    session = Session(sub(0, "trades"), sub(1, "mbo"))
    session.push(raw("trades", T0 + 5 * S))
    session.reconnect()
    now = T0 + 60 * S
    new = raw("trades", now)
    if told:
        end = finished("trades", now)
        assert session.push(end, new) == [end, new]
    else:
        assert session.push(new) == [new]
    assert session.progress.completed() == [Replayed(Schema.TRADES, False, T0 + 3 * S, now)]
    assert session.progress.replaying == {Schema.MBO}  # of that nothing was to come again
    assert session.push(new) == [new]


# snapshots


@pytest.mark.parametrize("ts_recv", [0, T0 - 5, T0 + 5, RULED_OUT])
@pytest.mark.parametrize("n_after", [0, 2])
def test_a_gateway_that_sends_its_snapshot_anyhow(ts_recv: int, n_after: int) -> None:
    session = Session(sub(0, "mbo", snapshot=True))
    shot = [mbo(T0 - 99 * S + i, flags=168 if i == 3 else 40, ts_recv=ts_recv) for i in range(4)]
    after = [mbo(T0 + 3 * S + i, ts_recv=T0 + 3 * S + i) for i in range(n_after)]
    assert session.push(*shot, *after) == [*shot, *after]
    for _ in range(3):
        session.reconnect()
        assert session.push(*shot, *after) == []


def test_a_new_snapshot_comes_whole_whatever_it_equals() -> None:
    session = Session(sub(0, "mbo", "A", snapshot=True), sub(1, "mbo", "B"))
    session.push(mapped("A", 1), mapped("B", 2))
    shot = [mbo(T0 + i, flags=40, ts_recv=T0) for i in range(3)]
    session.push(*shot, mbo(T0 + 9 * S, id=2))  # its end is missing
    session.reconnect()
    assert session.asks() == ["snapshot", T0 + 7 * S]
    end = mbo(T0 + 3, flags=168, ts_recv=T0)
    assert session.push(*shot, end, mbo(T0 + 9 * S, id=2)) == [*shot, end]


def test_snapshots_that_are_asked_for_again_do_not_pile_up() -> None:
    session = Session(sub(0, "mbo", snapshot=True))
    sizes = []
    for n in range(5):
        session.push(mapped("A", 1), *(mbo(T0, flags=40, order=i) for i in range(1000)))
        sizes.append(session.progress.kept_bytes)
        session.reconnect(start=T0 + n)
    assert sizes[0] >= 1000 * 56
    assert max(sizes) == sizes[0]


def test_a_whole_snapshot_is_resumed_by_replay() -> None:
    session = Session(sub(0, "mbo", snapshot=True))
    session.push(mapped("A", 1), mbo(RULED_OUT, flags=40, ts_recv=T0))
    session.push(mbo(T0 - 99 * S, flags=168, ts_recv=T0), mbo(T0 + 9 * S))
    assert session.progress.highest == {Schema.MBO: T0 + 9 * S}
    session.progress.disconnected()
    assert session.asks() == [T0 + 7 * S]
    assert session.lost() == {}
    assert session.asks(Reach.NONE) == ["snapshot"]
    assert session.lost(Reach.NONE) == {Schema.MBO: T0 + 7 * S}
    session.reconnect()
    shot = mbo(T0, flags=168, ts_recv=T0 + 20 * S)
    assert session.push(shot, mbo(T0 + 9 * S), mbo(T0 + 9 * S)) == [shot, mbo(T0 + 9 * S)]
    session.progress.disconnected()
    assert session.asks() == [T0 + 7 * S]


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (mapped("A", 1), mbo(T0, flags=40)),
        (mapped("A", 1), mapped("A", 2), mbo(T0, id=1, flags=168)),
        (mapped("A", 1), mbo(T0, flags=168), mbo(T0, flags=40)),
    ],
    ids=["nothing", "no-end", "one-of-two", "begun-anew"],
)
def test_a_snapshot_that_is_not_whole_is_asked_for_again(parts: tuple[bytes, ...]) -> None:
    session = Session(sub(0, "mbo", snapshot=True), sub(1, "mbo", "B"))
    session.push(ack(0, "mbo", T0), *parts)
    session.progress.disconnected()
    assert session.asks() == ["snapshot", T0 - 2 * S]
    assert session.lost() == {Schema.MBO: T0 - 2 * S}
    assert [sub.snapshot for sub in resume(session.subs, session.progress)] == [True, False]


def test_a_snapshot_of_all_symbols_is_whole_when_every_named_instrument_came() -> None:
    session = Session(sub(0, "mbo", None, snapshot=True))
    session.push(mapped("A", 1), mapped("B", 2), mbo(T0, id=1, flags=168))
    session.reconnect(start=T0 + 9 * S)
    assert session.asks() == ["snapshot"]
    session.push(mapped("A", 1), mapped("B", 2))
    session.push(mbo(T0, id=1, flags=168), mbo(T0, id=2, flags=168))
    session.progress.disconnected()
    assert session.asks() == [T0 + 7 * S]


def test_what_a_snapshot_holds_is_not_replayed() -> None:
    session = Session(sub(0, "mbo", snapshot=True), sub(1, "trades"))
    shot = T0 + S
    session.push(mapped("A", 1), mbo(T0, flags=168, ts_recv=shot), mbo(shot + 5))
    session.reconnect()
    held, late, new = mbo(T0 + 1), mbo(shot - 1, ts_recv=shot + 1), mbo(shot + 9)
    trade = raw("trades", T0 + 1)
    other = mbo(T0 + 1, id=2)  # it had no snapshot
    assert session.push(held, trade, late, held, other, mbo(shot + 5), new) == [
        trade, late, other, new,
    ]  # fmt: skip
    assert session.push(trade) == [trade]
    session.push(finished("mbo"))
    assert session.push(held) == [held]


# memory


def test_about_an_overlap_is_kept() -> None:
    session = Session(sub(0, "trades"), sub(1, "ohlcv-1h"), sub(2, "bbo-1m"))
    bar, quote = raw("ohlcv-1h", T0), raw("bbo-1m", T0)
    session.push(bar, quote, *(raw("trades", T0, tag=tag) for tag in range(1000)))
    most = 0
    for i in range(400):
        session.push(*(raw("trades", T0 + i * S // 4, tag=tag) for tag in range(200)))
        most = max(most, session.progress.kept_bytes)
    assert most < 2 * kept.LOOK_EVERY + 100_000
    session.reconnect()
    # quiet schemas keep what they have
    assert session.push(bar, quote, raw("trades", T0 + 399 * S // 4)) == []


def test_what_is_kept_is_what_a_replay_may_bring() -> None:
    session = Session(sub(0, "trades"), sub(1, "mbp-10"), overlap=0)
    last, endless = raw("trades", T0 + 5), raw("trades", RULED_OUT)
    session.push(endless)
    session.push(raw("trades", T0 + 4), last)
    for i in range(2):
        session.push(*(raw("mbp-10", T0 + i, tag=tag) for tag in range(2000)))  # looks around
    session.reconnect()
    assert session.push(last, endless, raw("trades", T0 + 4)) == [raw("trades", T0 + 4)]


def test_what_exceeds_the_limit_is_kept_as_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SPILL", 10_000)
    monkeypatch.setattr(kept, "LOOK_EVERY", 5_000)
    session = Session(sub(0, "trades", "A", 0), sub(1, "trades", "B", 0), start=0)
    session.push(mapped("A", 1), mapped("B", 2))
    sent = [raw("trades", T0 + i * S, id=1, tag=i) for i in range(2000)]
    for at in range(0, 2000, 50):
        session.push(*sent[at : at + 50])
    assert session.asks() == [0, 0]
    new = raw("trades", T0, id=2)
    session.reconnect()
    assert session.push(*sent[:1000], new, new) == [new, new]
    assert session.push(*sent[500:]) == sent[500:1000]
    session.push(finished("trades"))
    assert session.push(*sent[:10]) == sent[:10]
    for i in range(300):
        session.push(raw("trades", T0 + (3000 + i) * S, tag=i))
    assert session.progress.kept_bytes < 20_000


def test_slow_schemas_are_kept_as_hashes() -> None:
    session = Session(sub(0, "definition"))
    sent = [raw("definition", T0 + i, tag=i) for i in range(1000)]
    session.push(*sent)
    assert 0 < session.progress.kept_bytes < 100 * len(sent)
    session.reconnect()
    new = raw("definition", T0, tag=5000)
    assert session.push(*sent[:500], new, new, *sent[500:]) == [new, new]
    session.reconnect()
    assert session.push(*sent, new, new, new) == [new]


# batches


def test_a_batch_that_is_all_new_is_the_same_object() -> None:
    progress = Session(sub(0, "trades")).progress
    for records in (batch(), batch(raw("trades", T0)), batch(heartbeat(T0), raw("trades", T0))):
        assert progress.push(records) is records


def test_other_than_records() -> None:
    with pytest.raises(TypeError, match="bytes is no Records"):
        Progress().push(b"")  # type: ignore[arg-type]


def test_version_1() -> None:
    progress = Progress()
    progress.subscribed(sub(0, "trades", "A", 0))
    progress.subscribed(sub(1, "trades", "B", 0))
    progress.started(0)
    system = control(RType.SYSTEM, T0, version=1, msg=b"Finished trades replay")
    names = [
        control(RType.SYMBOL_MAPPING, T0, id, version=1, stype_in_symbol=symbol)
        for symbol, id in ((b"A", 1), (b"B", 2))
    ]
    trades = [raw("trades", T0, id=1), raw("trades", T0 + 9 * S, id=2)]
    progress.push(batch(*names, *trades, version=1))
    assert progress.points == {Schema.TRADES: T0 - 2 * S}
    progress.push(batch(system, version=1))
    assert progress.points == {Schema.TRADES: T0 + 7 * S}


def test_texts_that_only_look_like_it() -> None:
    session = Session(sub(0, "trades", start=0), start=0)
    texts = (b"Finished nothing replay", b"Finished", b"\xff", b"", b"x" * 303)
    session.push(*(control(RType.SYSTEM, T0, msg=text, code=3) for text in texts))
    session.push(*(control(RType.SYSTEM, T0, msg=text, code=1) for text in texts))
    session.push(control(RType.SYSTEM, RULED_OUT, msg=b"Finished trades replay", code=4))
    assert session.progress.replaying == {Schema.TRADES}


def test_the_records_given_back_do_not_change() -> None:
    session = Session(sub(0, "trades"))
    data = bytearray(streams.header(3, None) + raw("trades", T0 + 5 * S))
    records = dbnfast.scan(memoryview(data).toreadonly())
    session.progress.push(records)
    session.reconnect()
    result = session.progress.push(batch(raw("trades", T0 + 5 * S), raw("trades", T0 + 6 * S)))
    assert not result.array().flags.writeable
    np.testing.assert_array_equal(result.array()["ts_event"], [T0 + 6 * S])
