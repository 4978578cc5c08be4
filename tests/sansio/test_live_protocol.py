"""The client's side of one connection: bytes in, events and bytes out."""

from __future__ import annotations

import io
import itertools
import random
import sys
from typing import Any

import pytest

import dbnfast
from dbnfast import (
    AuthenticationError,
    Compression,
    Encoding,
    InvalidRecordError,
    LocalProtocolError,
    Records,
    RemoteProtocolError,
    RType,
    SlowReaderBehavior,
)
from dbnfast.live.trace import Trace
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.lines import MAX_REPLY, parse_line
from dbnfast.live.wire.protocol import Authenticated, Ended, LiveProtocol, Options, State
from dbnfast.live.wire.requests import subscription
from dbnfast.text.write import write_json
from helpers import peers, streams

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GREETING = b"lsg_version=0.9.4\ncram=" + peers.CHALLENGE.encode() + b"\n"
WELCOME = b"success=1|session_id=17\n"
TRADES = [streams.trade(i) for i in range(40)]
STREAM = peers.live_header() + peers.system() + b"".join(TRADES)


def protocol(**options: Any) -> LiveProtocol:
    return LiveProtocol(ApiKey(peers.KEY), Options("GLBX.MDP3", **options))


def feed(live: LiveProtocol, data: bytes, step: int = 1 << 20) -> list[Any]:
    """Give bytes in pieces, as a socket would; everything that happened."""
    events, at = [], 0
    while at < len(data):
        room = live.get_buffer()
        n = min(step, len(room), len(data) - at)
        assert n > 0
        room[:n] = data[at : at + n]
        live.buffer_updated(n)
        at += n
        events += live.events()
    return events


def joined(events: list[Any]) -> bytes:
    return b"".join(bytes(event) for event in events if isinstance(event, Records))


@pytest.mark.parametrize("step", [1, 2, 7, 64, 1000, 1 << 20])
def test_a_session_in_any_pieces(step: int) -> None:
    live = protocol(ts_out=False, heartbeat_interval_s=30)
    assert feed(live, GREETING, step) == []
    sent = parse_line(live.data_to_send())
    assert sent["auth"] == peers_response()
    assert (sent["dataset"], sent["encoding"], sent["ts_out"]) == ("GLBX.MDP3", "dbn", "0")
    assert (sent["compression"], sent["heartbeat_interval_s"]) == ("none", "30")
    assert sent["client"].startswith("dbnfast/")
    assert feed(live, WELCOME, step) == [Authenticated("17", "0.9.4")]
    assert live.state is State.READY
    live.subscribe([subscription(0, "trades", [f"S{i}" for i in range(501)])])
    live.start()
    lines = live.data_to_send().splitlines(keepends=True)
    assert [line[:7] for line in lines] == [b"schema=", b"schema=", b"start_s"]
    assert live.data_to_send() == b""
    events = feed(live, STREAM, step)
    assert joined(events) == peers.system() + b"".join(TRADES)
    assert live.metadata is not None
    assert live.metadata.start == 1_000
    live.eof_received()
    live.eof_received()
    assert live.events() == [Ended(None)]
    assert live.events() == []
    assert live.state is State.CLOSED


def peers_response() -> str:
    return "ab74012b285badbb76e963df0bcc6f88606e1bbb6a4cf3d8623656713f7df357-opqrs"


@pytest.mark.parametrize("cut", [0, 1, 5, 127, 128, 129, len(STREAM)])
def test_records_in_the_same_read_as_the_reply(cut: int) -> None:
    live = protocol()
    events = feed(live, GREETING + WELCOME + STREAM[:cut])
    assert isinstance(events[0], Authenticated)
    events += feed(live, STREAM[cut:])
    assert joined(events) == peers.system() + b"".join(TRADES)


def cases() -> list[Any]:
    """What may stand right behind the reply: session options, bytes, records, and the start."""
    shown = io.BytesIO()
    plain = dbnfast.scan(STREAM)
    write_json(plain, shown, map_symbols=False)
    lines, records = shown.getvalue(), STREAM[128:]
    some = streams.header(3, None, ts_out=0, start=2**64 - 1)  # a start that is none
    breaks = streams.header(3, None, ts_out=0, start=0x0A0A0A0A)  # line breaks, in the header
    packed = {"compression": Compression.ZSTD}
    text: dict[str, Any] = {"encoding": Encoding.JSON}
    return [
        pytest.param({}, STREAM, records, 1_000, id="dbn"),
        pytest.param({}, some + records, records, 2**64 - 1, id="dbn, no start"),
        pytest.param({}, breaks + records, records, 0x0A0A0A0A, id="dbn, line breaks"),
        pytest.param({}, STREAM[:128], b"", 1_000, id="dbn, the header alone"),
        pytest.param(packed, zstd.compress(STREAM), records, 1_000, id="zstd"),
        pytest.param(
            packed, zstd.compress(STREAM[:128]) + zstd.compress(records), records, 1_000,
            id="zstd, a frame for the header",
        ),
        pytest.param(packed, STREAM, records, 1_000, id="zstd was asked for, and not sent"),
        pytest.param(text, lines, records, 0, id="json"),
        pytest.param(text | packed, zstd.compress(lines), records, 0, id="json, zstd"),
    ]  # fmt: skip


@pytest.mark.parametrize(("options", "body", "records", "start"), cases())
def test_a_header_behind_the_reply_is_a_header_wherever_it_is_cut(
    options: dict[str, Any], body: bytes, records: bytes, start: int
) -> None:
    whole = GREETING + WELCOME + body
    cuts: list[tuple[int, ...]] = [(at,) for at in range(len(GREETING), len(whole) + 1)]
    cuts.append(tuple(range(len(whole))))  # every byte by itself
    for cut in cuts:
        live = protocol(**options)
        events: list[Any] = []
        for begin, end in itertools.pairwise((0, *cut, len(whole))):
            events += feed(live, whole[begin:end])
        live.eof_received()
        events += live.events()
        assert events.pop(0) == Authenticated("17", "0.9.4"), cut
        assert events.pop() == Ended(None), cut
        assert all(isinstance(event, Records) for event in events)
        assert joined(events) == records, cut
        assert live.metadata is not None
        assert live.metadata.start == start


@pytest.mark.parametrize("packed", [False, True])
def test_dbn_in_a_session_of_json_is_an_error(packed: bool) -> None:
    body = zstd.compress(STREAM) if packed else STREAM
    for cut in range(len(body)):
        how = Compression.ZSTD if packed else Compression.NONE
        live = protocol(encoding=Encoding.JSON, compression=how)
        events = feed(live, GREETING + WELCOME + body[:cut]) + feed(live, body[cut:])
        live.eof_received()
        events += live.events()
        assert joined(events) == b"", cut
        assert isinstance(events[-1], Ended)
        assert isinstance(events[-1].error, InvalidRecordError), cut
        assert str(events[-1].error) == "DBN came, expected lines of JSON"


def test_bytes_that_look_like_lines_are_records() -> None:
    body = streams.trade(10) * 3  # 0x0A is a line break
    live = protocol()
    events = feed(live, GREETING + WELCOME + peers.live_header() + body, 3)
    assert joined(events) == body


def test_records_are_views_of_what_was_received() -> None:
    live = protocol()
    feed(live, GREETING + WELCOME + peers.live_header())
    room = live.get_buffer()
    data = b"".join(TRADES)
    room[: len(data)] = data
    live.buffer_updated(len(data))
    (records,) = live.events()
    array = records.array("trades")
    assert not array.flags.owndata
    assert not array.flags.writeable
    again = live.get_buffer()
    again[:48] = bytes(48)
    assert bytes(records) == data  # what was handed out is never written again


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("ts_out", [0, 1])
def test_versions(version: int, ts_out: int) -> None:
    body = streams.trades(3, ts_out=bool(ts_out))
    live = protocol(ts_out=bool(ts_out))
    header = peers.live_header(version, ts_out=ts_out)
    events = feed(live, GREETING + WELCOME + header + body)
    assert joined(events) == body
    records = events[-1]
    assert (records.version, records.ts_out) == (version, bool(ts_out))


@pytest.mark.parametrize("frames", ["one", "flushed", "many", "skippable"])
@pytest.mark.parametrize("step", [1, 11, 1 << 20])
def test_zstd(frames: str, step: int) -> None:
    parts = [peers.live_header(), peers.system(), *TRADES]
    if frames == "one":
        packed = zstd.compress(b"".join(parts))
    elif frames == "flushed":
        coder = zstd.ZstdCompressor()
        packed = b"".join(coder.compress(part, zstd.ZstdCompressor.FLUSH_BLOCK) for part in parts)
    elif frames == "many":
        packed = b"".join(zstd.compress(part) for part in parts)
    else:
        skip = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
        packed = (
            skip + zstd.compress(b"".join(parts[:3])) + skip + zstd.compress(b"".join(parts[3:]))
        )
    live = protocol(compression=Compression.ZSTD)
    feed(live, GREETING)
    assert parse_line(live.data_to_send())["compression"] == "zstd"
    events = feed(live, WELCOME + packed, step)
    assert joined(events) == peers.system() + b"".join(TRADES)


def test_options_on_the_wire() -> None:
    live = protocol(
        encoding=Encoding.JSON,
        ts_out=True,
        slow_reader_behavior=SlowReaderBehavior.SKIP,
    )
    feed(live, GREETING)
    sent = parse_line(live.data_to_send())
    assert (sent["encoding"], sent["ts_out"], sent["slow_reader_behavior"]) == ("json", "1", "skip")
    assert "heartbeat_interval_s" not in sent


@pytest.mark.parametrize(
    "reply",
    [
        b"success=1|session_id=17\n",
        b"session_id=17|success=1|\n",
        b"success=1|session_id=17|more=x|error=\n",
        b"success=1|session_id=17\r\n",
    ],
)
def test_replies_that_are_tolerated(reply: bytes) -> None:
    assert feed(protocol(), GREETING + reply) == [Authenticated("17", "0.9.4")]


def test_a_session_id_may_be_any_text_or_absent() -> None:
    assert feed(protocol(), GREETING + b"success=1\n") == [Authenticated("", "0.9.4")]
    assert feed(protocol(), GREETING + b"success=1|session_id=mock-7\n") == [
        Authenticated("mock-7", "0.9.4")
    ]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"success=0|error=Authentication failed.\n", "Authentication failed."),
        (b"error=no|way|success=0\n", "no|way"),
        (b"success=0\n", "no reason"),
        (b"error=nothing else\n", "nothing else"),
        (b"success=2|error=x\n", "x"),
        (b"success=0|error=bad key " + peers.KEY.encode() + b"\n", "bad key ****opqrs"),
    ],
)
def test_refusals(reply: bytes, text: str) -> None:
    live = protocol()
    (event,) = feed(live, GREETING + reply)
    assert isinstance(event.error, AuthenticationError)
    assert text in str(event.error)
    assert peers.KEY not in str(event.error)
    assert live.state is State.CLOSED


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "greeting"),
        (b"cram=abc\n", "greeting"),
        (b"\n", "key=value"),
        (b"lsg_version=1\nnothing=1\n", "challenge"),
        (b"lsg_version=1\ncram=\n", "challenge"),
        (GREETING + b"what=1\n", "success"),
        (GREETING + b"what=" + peers.KEY.encode() + b"\n", "****opqrs"),
        (b"x" * (MAX_REPLY + 1), "longer than"),
        (b"lsg_version=1\ncram=" + b"x" * MAX_REPLY, "longer than"),
    ],
)
def test_what_is_no_gateway(data: bytes, text: str) -> None:
    (event,) = feed(protocol(), data)
    assert isinstance(event.error, RemoteProtocolError)
    assert text in str(event.error)
    assert peers.KEY not in str(event.error)


@pytest.mark.parametrize("n", [0, 5, len(GREETING), len(GREETING) + 4])
def test_an_end_before_the_reply(n: int) -> None:
    live = protocol()
    events = feed(live, (GREETING + WELCOME)[:n])
    live.eof_received()
    (event,) = events + live.events()
    assert isinstance(event, Ended)
    assert isinstance(event.error, RemoteProtocolError)
    assert "closed" in str(event.error)


@pytest.mark.parametrize("n", [0, 3, 50, 128, 150, len(STREAM) - 1])
def test_an_end_anywhere_in_the_stream_is_no_error_here(n: int) -> None:
    live = protocol()
    events = feed(live, GREETING + WELCOME + STREAM[:n])
    live.eof_received()
    events += live.events()
    assert events[-1] == Ended(None)
    whole = peers.system() + b"".join(TRADES)
    assert whole.startswith(joined(events))


def test_damage_comes_after_the_good_records() -> None:
    live = protocol()
    data = peers.live_header() + TRADES[0] + bytes(48)
    events = feed(live, GREETING + WELCOME + data)
    assert joined(events) == TRADES[0]
    assert isinstance(events[-1], Ended)
    assert "record 1" in str(events[-1].error)
    assert feed(live, b"more") == []


def test_a_stream_that_is_no_dbn() -> None:
    events = feed(protocol(), GREETING + WELCOME + b"<html>" + bytes(300))
    assert isinstance(events[-1], Ended)
    assert "DBN" in str(events[-1].error)


def test_what_this_side_may_not_do() -> None:
    live = protocol()
    wanted = subscription(0, "trades", "A")
    for call in (live.start, lambda: live.subscribe([wanted])):
        with pytest.raises(LocalProtocolError, match="greeting"):
            call()
    feed(live, GREETING + WELCOME)
    live.start()
    with pytest.raises(LocalProtocolError, match="started"):
        live.start()
    live.subscribe([wanted])
    live.eof_received()
    live.events()
    with pytest.raises(LocalProtocolError, match="closed"):
        live.subscribe([wanted])


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("step", [1, 13, 1 << 20])
def test_json_becomes_the_same_records(step: int, compression: str) -> None:
    pytest.importorskip("msgspec")
    lines = (
        b'{"hd":{"ts_event":"1769176693139629181","rtype":23,"publisher_id":0,"instrument_id":0},'
        b'"msg":"Heartbeat"}\n'
        b'{"ts_recv":"1700000000000000500","hd":{"ts_event":"1700000000000000000","rtype":0,'
        b'"publisher_id":1,"instrument_id":183748},"action":"T","side":"B","depth":0,'
        b'"price":"5000.250000000","size":3,"flags":0,"ts_in_delta":100,"sequence":7}\n'
    )
    data = zstd.compress(lines) if compression == "zstd" else lines
    live = protocol(encoding=Encoding.JSON, compression=Compression(compression))
    events = feed(live, GREETING + WELCOME + data, step)
    records = [record for event in events[1:] for record in event]
    assert [record.rtype for record in records] == [RType.SYSTEM, RType.MBP_0]
    assert records[0].is_heartbeat()
    assert (records[1].price, records[1].size) == (5_000_250_000_000, 3)
    assert live.metadata is not None
    assert (live.metadata.dataset, live.metadata.schema) == ("GLBX.MDP3", None)


def test_json_that_is_none() -> None:
    pytest.importorskip("msgspec")
    live = protocol(encoding=Encoding.JSON)
    good = b'{"hd":{"ts_event":"1","rtype":23,"publisher_id":0,"instrument_id":0},"msg":"x"}\n'
    events = feed(live, GREETING + WELCOME + good + b"nonsense\n")
    assert len(events[1]) == 1
    assert isinstance(events[-1], Ended)
    assert "line 2" in str(events[-1].error)
    live = protocol(encoding=Encoding.JSON)
    events = feed(live, GREETING + WELCOME + b"{" * (2 << 20))
    assert "longer than" in str(events[-1].error)


def test_the_trace_shows_lines_and_no_key() -> None:
    out = io.StringIO()
    key = ApiKey(peers.KEY)
    live = LiveProtocol(key, Options("GLBX.MDP3"), trace=Trace(out, key=key))
    feed(live, GREETING + WELCOME)
    live.subscribe([subscription(0, "trades", "ES.FUT", "parent")])
    live.start()
    feed(live, STREAM)
    text = out.getvalue()
    assert "[recv] lsg_version=0.9.4" in text
    assert "[send] auth=" in text
    assert "[send] schema=trades|stype_in=parent" in text
    assert "[send] start_session=0" in text
    assert "40 mbp-0" in text
    assert peers.KEY not in text


def test_a_hexdump_does_not_disturb() -> None:
    out = io.StringIO()
    live = LiveProtocol(ApiKey(peers.KEY), Options("X"), trace=Trace(out, hexdump=True))
    rng = random.Random(5)
    events = feed(live, GREETING + WELCOME)
    at = 0
    while at < len(STREAM):
        n = rng.randint(1, 300)
        events += feed(live, STREAM[at : at + n])
        at += n
    assert joined(events) == peers.system() + b"".join(TRADES)
    assert "44424e" in out.getvalue().replace(" ", "")


@pytest.mark.parametrize("encoding", ["dbn", "json"])
def test_a_little_that_is_very_much_comes_a_bit_at_a_time(encoding: str) -> None:
    if encoding == "json":
        pytest.importorskip("msgspec")
    n = 1_500_000
    line = b'{"hd":{"ts_event":"1","rtype":23,"publisher_id":0,"instrument_id":0},"msg":"x"}\n'
    if encoding == "dbn":
        packed = zstd.compress(peers.live_header() + TRADES[0] * n)
    else:
        n //= 10
        packed = zstd.compress(line * n)
    assert len(packed) < 100_000
    live = protocol(encoding=Encoding(encoding), compression=Compression.ZSTD)
    feed(live, GREETING + WELCOME)
    events = feed(live, packed)
    live.eof_received()
    found = rounds = 0
    while not (events and isinstance(events[-1], Ended)):
        made = sum(event.nbytes for event in events if isinstance(event, Records))
        assert made < 40 << 20
        found += sum(len(event) for event in events if isinstance(event, Records))
        events = live.events()
        rounds += 1
    found += sum(len(event) for event in events if isinstance(event, Records))
    assert found == n
    assert rounds > 1
    assert not live.more
    assert events[-1] == Ended(None)


@pytest.mark.parametrize("key", [peers.KEY, "db-it's-\\-a-key-with-signs-opqrs"])
@pytest.mark.parametrize("before", [b"", GREETING, GREETING + b"success="])
def test_no_part_of_a_key_shows_where_a_line_is_cut(key: str, before: bytes) -> None:
    for n in range(60, 110, 7):
        live = LiveProtocol(ApiKey(key), Options("GLBX.MDP3"))
        *_, end = feed(live, before + b"x" * n + key.encode() + b"\n")
        assert isinstance(end, Ended)
        assert isinstance(end.error, RemoteProtocolError)
        assert "xxx" in str(end.error)
        assert key[:8] not in str(end.error)


@pytest.mark.parametrize("ends", [True, False])
def test_no_part_of_a_key_shows_of_a_line_without_end(ends: bool) -> None:
    live = protocol()
    events = feed(live, b"x" * 85 + peers.KEY.encode() + b"x" * (0 if ends else MAX_REPLY))
    if ends:
        live.eof_received()
        events += live.events()
    (end,) = events
    assert "xxx" in str(end.error)
    assert peers.KEY[:8] not in str(end.error)


def test_a_key_that_the_gateway_sends_back_is_hidden() -> None:
    key = peers.KEY.encode()
    (told,) = feed(
        protocol(),
        GREETING.replace(b"0.9.4", b"0.9.4 " + key) + b"success=1|session_id=17 " + key + b"\n",
    )
    assert told == Authenticated("17 ****opqrs", "0.9.4 ****opqrs")
