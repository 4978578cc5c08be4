"""A session of the gateway without a socket: what it says, when, and to whom."""

from __future__ import annotations

import io
import itertools
import json
import math
import random
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import ErrorCode, RType, Schema, SystemCode
from dbnfast.codec.compression import Inflater
from dbnfast.codec.compression import zstd as load_zstd
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
from dbnfast.gateway import (
    session as protocol,
)
from dbnfast.gateway.session import BUDGET, State
from dbnfast.live.wire.auth import cram_response
from dbnfast.live.wire.lines import parse_line
from helpers.builders import random_pieces
from helpers.gateways import (
    BEGIN,
    CONTROL,
    KEY,
    OTHER_KEY,
    SECOND,
    Clock,
    Peer,
    connected,
    header,
    trades,
)
from helpers.places import FIXTURES

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)


zstd = load_zstd()


def fixture(name: str) -> str:
    return str(FIXTURES / name)


# ---------------------------------------------------------------- the text phase


def test_greeting_and_challenge_come_at_once() -> None:
    session = GatewaySession(Service(trades([0]), keys=KEY))
    assert len(session.data_to_send()) == 1
    assert session.data_to_send() == []
    assert session.state == State.AUTH


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
def test_any_of_the_keys_will_do(key: str) -> None:
    peer = Peer(Service(trades([0]), keys=[OTHER_KEY, KEY]))
    reply = peer.log_in(key)
    assert reply.keys() == {"success", "session_id"}
    assert reply["success"] == "1"
    assert reply["session_id"].isdecimal()
    assert peer.session.state == State.READY


def test_challenges_and_ids_differ() -> None:
    service = Service(trades([0]), keys=KEY)
    peers = [Peer(service) for _ in range(5)]
    assert len({peer.pull() for peer in peers}) == 5
    peers = [Peer(service) for _ in range(5)]
    assert len({peer.log_in()["session_id"] for peer in peers}) == 5


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"auth": "x"}, "Authentication failed."),
        ({"auth": ""}, "Authentication failed."),
        ({"dataset": "GLBX.MDP3"}, "Dataset GLBX.MDP3 is not here, XNAS.ITCH is"),
        ({"dataset": ""}, "Missing param 'dataset'"),
        ({"dataset": "X" * 16}, "dataset must be at most 15 ASCII characters"),
        ({"colour": "red"}, "Unknown subscription param 'colour'"),
        ({"encoding": "csv"}, "encoding must be dbn or json, not 'csv'"),
        ({"compression": "gzip"}, "compression must be none or zstd, not 'gzip'"),
        ({"ts_out": "yes"}, "ts_out must be 0 or 1, not 'yes'"),
        ({"pretty_px": "2"}, "pretty_px must be 0 or 1, not '2'"),
        ({"slow_reader_behavior": "hurry"}, "slow_reader_behavior must be warn or skip"),
        ({"heartbeat_interval_s": "4"}, "heartbeat_interval_s must be between 5 and 1800"),
        ({"heartbeat_interval_s": "1801"}, "heartbeat_interval_s must be between 5 and 1800"),
        ({"heartbeat_interval_s": "5.5"}, "heartbeat_interval_s must be between 5 and 1800"),
        ({"heartbeat_interval_s": "9" * 5000}, "heartbeat_interval_s must be between 5 and 1800"),
    ],
)
def test_a_request_that_cannot_be_is_refused(fields: dict[str, str], error: str) -> None:
    peer = Peer(Service(trades([0]), keys=KEY))
    assert peer.log_in(**fields) == {"success": "0", "error": error}
    assert peer.pull() == b""
    assert peer.session.closed
    assert error in peer.session.close_reason


def test_a_refusal_has_no_bar() -> None:
    peer = Peer(Service(trades([0]), keys=KEY))
    peer.log_in(dataset="A|B")
    line = bytes(peer.sent).splitlines()[-1]
    assert line == b"success=0|error=Dataset A/B is not here, XNAS.ITCH is"


@pytest.mark.parametrize(
    "fields",
    [
        {"client": "Databento/0.87.0 Python/3.11.7 Linux/6.1"},
        {"slow_reader_behavior": "drop", "details": "a=b"},
        {"dataset": "xnas.itch", "encoding": "dbn", "heartbeat_interval_s": "5"},
    ],
)
def test_a_request_that_can_be(fields: dict[str, str]) -> None:
    assert Peer(Service(trades([0]), keys=KEY)).log_in(**fields)["success"] == "1"


def test_keys_may_come_in_any_order_and_pieces() -> None:
    peer = Peer(Service(trades([0]), keys=KEY))
    challenge = parse_line(peer.pull().splitlines()[1])["cram"]
    answer = cram_response(challenge, KEY)
    for byte in f"client=x y|dataset=XNAS.ITCH|auth={answer}\r\n".encode():
        peer.session.receive_data(bytes((byte,)))
    assert parse_line(peer.pull())["success"] == "1"


@pytest.mark.parametrize("line", [b"\n", b"|||\n", b"\xff\xfe\n", b"GET / HTTP/1.1\r\n"])
def test_an_unknown_peer_that_speaks_otherwise_is_refused(line: bytes) -> None:
    peer = Peer(Service(trades([0]), keys=KEY))
    peer.pull()
    peer.session.receive_data(line)
    assert parse_line(peer.pull())["success"] == "0"
    assert peer.session.closed


def test_what_an_unknown_peer_may_send_is_bounded() -> None:
    peer = Peer(Service(trades([0]), keys=KEY))
    peer.pull()
    for _ in range(1000):
        peer.session.receive_data(b"x" * 1000)
    assert peer.session._lines._block.__sizeof__() < 20_000
    assert parse_line(peer.pull())["success"] == "0"
    assert peer.session.closed


def test_an_unknown_peer_has_so_much_time() -> None:
    clock = Clock()
    peer = Peer(Service(trades([0]), keys=KEY, clock=clock, auth_timeout_s=7))
    peer.pull()
    assert peer.session.next_time() == 1007
    clock.seconds = 1006.9
    assert peer.pull() == b""
    assert not peer.session.closed
    clock.seconds = 1007
    assert peer.pull() == b""
    assert peer.session.closed
    assert peer.session.next_time() == math.inf


def test_the_end_of_the_clients_bytes_ends_the_session() -> None:
    peer = connected(trades([0]))
    peer.session.eof_received()
    peer.session.eof_received()
    assert peer.session.closed
    peer.session.receive_data(b"start_session\n")
    assert peer.session.data_to_send() == []


# ---------------------------------------------------------------- the stream


@pytest.mark.parametrize("line", ["start_session", "start_session=0", "start_session=1"])
def test_nothing_comes_before_the_start(line: str) -> None:
    peer = connected(trades([0, 1]))
    peer.subscribe(id=3)
    assert peer.pull() == b""
    peer.send(line)
    peer.take()
    metadata, records = peer.decoded()
    assert metadata == dbnfast.Metadata("XNAS.ITCH", start=BEGIN)
    assert peer.after[:8] == b"DBN\x03\x78\0\0\0"
    assert [record.rtype for record in records[:2]] == [RType.SYSTEM, RType.SYMBOL_MAPPING]
    assert peer.said == ["Subscription request 3 for trades data succeeded", "SYM1 is 1"]
    assert records[0].code == SystemCode.SUBSCRIPTION_ACK
    assert records[1].stype_out_symbol == "SYM1"
    assert peer.sequences == [0, 1]
    assert {record.ts_event for record in records[:2]} == {BEGIN}


def test_records_are_those_of_the_file() -> None:
    for path in sorted(FIXTURES.glob("*.v3.dbn")):
        store = dbnfast.read(path)
        if store.schema is None:
            continue
        wanted = [bytes(record) for record in store.records().upgrade()]
        kinds = dbnfast.records.filters.rtypes_of(store.schema, store.schema)
        wanted = [raw for raw in wanted if raw[1] in kinds]
        peer = connected(str(path))
        peer.subscribe(str(store.schema))
        peer.start()
        assert [bytes(record) for record in peer.records] == wanted, path.name


def test_subscriptions_select() -> None:
    times, ids = [0, 1, 2, 3, 4, 5], [1, 2, 3, 1, 2, 3]
    for stype, symbols, expected in [
        ("raw_symbol", "SYM2", [1, 4]),
        ("raw_symbol", "sym2,SYM3", [1, 2, 4, 5]),
        ("instrument_id", "1,3", [0, 2, 3, 5]),
        ("raw_symbol", "ALL_SYMBOLS", [0, 1, 2, 3, 4, 5]),
    ]:
        peer = connected(trades(times, ids))
        peer.subscribe(symbols=symbols, stype_in=stype)
        peer.start()
        assert peer.sequences == expected


def test_a_record_comes_once_however_many_subscriptions_match() -> None:
    peer = connected(trades([0, 1, 2], [1, 2, 3]))
    peer.subscribe(symbols="SYM1,SYM2")
    peer.subscribe(symbols="2,3", stype_in="instrument_id")
    peer.subscribe()
    peer.subscribe(start=0)
    peer.start()
    assert peer.sequences == [0, 1, 2]
    assert sum(text.startswith("Subscription request") for text in peer.said) == 4


def test_lines_of_one_subscription_are_answered_together() -> None:
    ids = list(range(1, 1002))
    peer = connected(trades([float(n) for n in ids], ids))
    names = [f"SYM{n}" for n in ids]
    for at in (0, 500, 1000):
        last = int(at == 1000)
        peer.subscribe(symbols=",".join(names[at : at + 500]), id=0, is_last=last, snapshot=0)
    peer.start()
    assert [text for text in peer.said if "request" in text] == [
        "Subscription request 0 for trades data succeeded"
    ]
    assert len(peer.records) == 1001
    assert sum(" is " in text for text in peer.said) == 1001


def test_what_does_not_resolve_is_an_error_each() -> None:
    peer = connected(trades([0]))
    peer.subscribe(symbols="SYM1,NO,NEITHER")
    peer.subscribe(symbols="77", stype_in="instrument_id")
    peer.subscribe(symbols="ES.c.0", stype_in="continuous")
    peer.subscribe(symbols="US0378331005", stype_in="isin")
    peer.start()
    errors = [record for record in peer.decoded()[1] if record.rtype == RType.ERROR]
    assert [(record.err, record.is_last) for record in errors] == [
        ("Failed to resolve symbol NO", 0),
        ("Failed to resolve symbol NEITHER", 1),
        ("Failed to resolve symbol 77", 1),
        ("Failed to resolve symbol ES.c.0", 1),
        ("Failed to resolve symbol US0378331005", 1),
    ]
    assert {record.code for record in errors} == {ErrorCode.SYMBOL_RESOLUTION_FAILED}
    assert peer.sequences == [0]
    assert not peer.session.closed


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("hello", "Unknown request"),
        ("schema=trades|stype_in=raw_symbol", "Missing param 'symbols'"),
        ("schema=trades|stype_in=raw_symbol|symbols=,", "Missing param 'symbols'"),
        ("schema=candles|stype_in=raw_symbol|symbols=A", "candles"),
        ("schema=trades|stype_in=name|symbols=A", "name"),
        ("schema=trades|stype_in=raw_symbol|symbols=A|colour=red", "Unknown subscription param"),
        ("schema=trades|stype_in=raw_symbol|symbols=A|start=soon", "Invalid start time 'soon'"),
        ("schema=trades|stype_in=raw_symbol|symbols=A|snapshot=1", "snapshot is possible"),
        ("schema=mbo|stype_in=raw_symbol|symbols=A|snapshot=1|start=0", "snapshot is possible"),
        ("schema=trades|stype_in=raw_symbol|symbols=A|id=-1", "id must be"),
        ("schema=trades|stype_in=raw_symbol|symbols=A|is_last=2", "is_last must be"),
        ("start_session=0|schema=trades", "start_session stands alone"),
        ("schema=trades|stype_in=raw_symbol|symbols=" + "A," * 2001, "at most 2000 symbols"),
        ("|", "expected a line of key=value"),
    ],
)
@pytest.mark.parametrize("started", [False, True])
def test_a_line_that_cannot_be_ends_the_session(line: str, text: str, started: bool) -> None:
    peer = connected(trades([0]))
    if started:
        peer.start()
    peer.send(line)
    if not started:
        assert peer.pull() == b""
        peer.start()
    peer.take()
    assert peer.said[-1].startswith(f"{int(ErrorCode.INVALID_SUBSCRIPTION)} ")
    assert text in peer.said[-1]
    assert peer.session.closed
    assert text in peer.session.close_reason


def test_a_second_start_and_a_late_replay_are_errors() -> None:
    for line in ("start_session", "schema=trades|stype_in=raw_symbol|symbols=SYM1|start=0"):
        peer = connected(trades([0]))
        peer.start()
        peer.send(line)
        peer.take()
        assert peer.said[-1].startswith("5 ")
        assert peer.session.closed


def test_a_line_without_end_is_bounded() -> None:
    peer = connected(trades([0]))
    peer.start()
    for _ in range(300):
        peer.session.receive_data(b"x" * 1000)
    peer.take()
    assert peer.said[-1].startswith("5 a line is longer than")
    assert peer.session.closed


def test_symbols_of_a_session_are_bounded() -> None:
    peer = connected(trades([0]))
    for n in range(200):
        symbols = ",".join(f"S{n}X{k}" for k in range(1000))
        peer.subscribe(symbols=symbols, id=n, is_last=0)
    peer.start()
    assert "at most 100000 symbols" in peer.said[-1]
    assert peer.session.closed


def test_a_client_that_asks_much_and_reads_nothing_is_not_heard() -> None:
    peer = connected(trades([0]))
    peer.send("start_session")
    while peer.session.wants_data:
        peer.subscribe(symbols="SYM1")
    assert len(peer.session._player._queue) < 1000  # type: ignore[union-attr]
    peer.take()
    assert peer.session.wants_data


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize("name", ["mixed.v3.dbn", "trades.v3.dbn", "long-records.v3.dbn"])
def test_ts_out(name: str) -> None:
    schemas = [str(s) for s in Service(fixture(name), keys=KEY).source.lanes if s != Schema.TBBO]
    plain, stamped = connected(fixture(name)), connected(fixture(name), auth={"ts_out": 1})
    for peer in (plain, stamped):
        for schema in schemas:
            peer.subscribe(schema)
        peer.start()
    metadata, records = stamped.decoded()
    assert metadata is not None
    assert metadata.ts_out
    assert len(records) == len(plain.decoded()[1])
    now = np.datetime64("now", "ns").astype(int)
    # a machine's clock may be put back in between
    assert all(abs(int(now) - record.ts_out) < 600 * SECOND for record in records)
    for one, other in zip(plain.records, stamped.records, strict=True):
        assert bytes(one)[1:] == bytes(other)[1:-8]
        assert bytes(one)[0] + 2 == bytes(other)[0]


def test_a_record_without_room_for_ts_out_is_refused() -> None:
    peer = Peer(Service(fixture("long-records-uneven.v3.dbn"), keys=KEY))
    assert "ts_out" in peer.log_in(ts_out=1)["error"]


def test_zstd_is_flushed_and_something_follows_the_header() -> None:
    peer = connected(trades([0, 1]), auth={"compression": "zstd"})
    peer.send("start_session")
    pieces = []
    for _ in range(5):
        pieces.append(b"".join(peer.session.data_to_send()))
    inflater = Inflater()
    inflater.push(pieces[0])
    assert len(inflater.pull(10_000)) == 128
    inflater.push(pieces[1])
    assert len(inflater.pull(10_000)) == 320  # a heartbeat
    assert not any(pieces[2:])
    peer.subscribe()
    inflater.push(peer.pull())
    assert len(inflater.pull(10_000)) == 320 + 176 + 2 * 48


def blocks_of(data: bytes) -> list[int]:
    """Where the blocks of a zstd frame without an end begin, and where the last one ends."""
    assert data[:4] == b"\x28\xb5\x2f\xfd"
    descriptor = data[4]
    single, has_size = descriptor >> 5 & 1, descriptor >> 6
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    at += (single, 2, 4, 8)[has_size]
    found = [at]
    while at < len(data):
        head = int.from_bytes(data[at : at + 3], "little")
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)  # one byte that is repeated, or all
        found.append(at)
    assert found[-1] == len(data)  # a burst ends with a block
    return found


def test_zstd_keeps_nothing_back_in_decoders_with_little_room() -> None:
    # a client may read block by block, and ask its decoder once for each
    source = fixture("mbp-1.v3.dbn")
    some = dbnfast.read(source).to_ndarray()
    array = np.tile(some, 1 + 300_000 // some.nbytes)
    array["ts_event"] = array["ts_recv"] = BEGIN + np.arange(len(array))
    file = dbnfast.encode(array, header(Schema.MBP_1, [int(some["instrument_id"][0])]))
    plain, packed = connected(file), connected(file, auth={"compression": "zstd"})
    for peer in (plain, packed):
        peer.subscribe("mbp-1")
        peer.start()
    assert len(plain.after) > 300_000
    data = bytes(packed.after)
    assert len(data) < len(plain.after) / 2
    careful, hasty = zstd.ZstdDecompressor(), zstd.ZstdDecompressor()
    found = bytearray()
    starts = blocks_of(data)
    found += careful.decompress(data[: starts[0]], 60 << 10)
    for start, end in itertools.pairwise(starts):
        found += careful.decompress(data[start:end], 60 << 10)  # a partial record is there, too
    assert found == plain.after
    found.clear()
    for byte in range(len(data)):
        found += hasty.decompress(data[byte : byte + 1], 60 << 10)
    assert found == plain.after


def test_zstd_is_whole_after_each_burst() -> None:
    clock = Clock()
    times = [n / 10 for n in range(100)]
    peers = [
        connected(trades(times), auth={"compression": how}, speed=1, clock=clock)
        for how in ("none", "zstd")
    ]
    for peer in peers:
        peer.subscribe()
        peer.send("start_session")
    decoder, found, n_bursts = zstd.ZstdDecompressor(), bytearray(), 0
    for _ in range(30):
        plain, packed = (peer.take() for peer in peers)
        found += decoder.decompress(packed)
        assert bytes(found) == bytes(peers[0].after)
        n_bursts += len(plain) > 0
        clock.seconds += 0.37
    assert n_bursts > 20
    assert len(found) > 100 * 48


def test_json() -> None:
    peer = connected(trades([0.5]), auth={"encoding": "json", "ts_out": 1})
    peer.subscribe(symbols="SYM1,NO", start=0)
    peer.start()
    lines = [json.loads(line) for line in bytes(peer.after).decode().splitlines()]
    assert [line["hd"]["rtype"] for line in lines] == [23, 22, 21, 0, 23]
    assert all(line.keys() >= {"hd", "ts_out"} for line in lines)
    assert lines[0]["code"] == 1
    assert lines[3]["hd"]["ts_event"] == str(BEGIN + SECOND // 2)
    assert "symbol" not in lines[3]


def test_json_is_what_the_projects_writer_makes() -> None:
    out = io.BytesIO()
    store = dbnfast.read(fixture("mbp-1.v3.dbn"))
    store.to_json(out, map_symbols=False)
    auth: dict[str, object] = {
        "encoding": "json", "pretty_px": 1, "pretty_ts": 1, "compression": "zstd",
    }  # fmt: skip
    peer = connected(fixture("mbp-1.v3.dbn"), auth=auth)
    peer.subscribe("mbp-1")
    peer.start()
    inflater = Inflater()
    inflater.push(bytes(peer.after))
    lines = inflater.pull(1 << 20).splitlines(keepends=True)
    assert b"".join(line for line in lines if b'"rtype":1,' in line) == out.getvalue()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions(version: int) -> None:
    store = dbnfast.read(fixture("trades.v1.dbn"))
    peer = connected(fixture("trades.v1.dbn"), version=version)
    peer.subscribe(symbols="ALL_SYMBOLS,NO")
    peer.subscribe(symbols="NO")
    peer.start()
    metadata, records = peer.decoded()
    assert metadata is not None
    assert metadata.version == version
    assert len(peer.after) - len(metadata.encode()) == sum(len(bytes(r)) for r in records) or (
        version == 1  # what came as version 1 was upgraded
    )
    assert [bytes(record) for record in peer.records] == [bytes(r) for r in store]
    codes = [record.code for record in records if record.rtype in (RType.SYSTEM, RType.ERROR)]
    assert codes == [1, 1, 4]


def test_a_version_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="version 1 cannot give the source's instrument-def"):
        Service(fixture("definition.v3.dbn"), keys=KEY, version=1)
    peer = connected(fixture("definition.v1.dbn"), version=1)
    peer.subscribe("definition")
    peer.start()
    assert len(peer.records) == 3


def test_an_older_version_has_the_names_of_the_sources_header() -> None:
    for version in (1, 2, 3):
        peer = connected(fixture("trades.v3.dbn"), version=version)
        peer.subscribe(symbols="ALL_SYMBOLS")
        peer.start()
        _, records = peer.decoded()
        names = {r.stype_out_symbol for r in records if r.rtype == RType.SYMBOL_MAPPING}
        assert names == set(dbnfast.read(fixture("trades.v3.dbn")).metadata.mappings)


# ---------------------------------------------------------------- replay, as fast as it goes


def test_replay_begins_where_it_is_asked_to() -> None:
    file = trades([0, 1, 0.5, 2, 3])
    for start, expected, first in [
        ("0", [0, 1, 2, 3, 4], 0),
        (str(BEGIN + SECOND), [1, 3, 4], BEGIN + SECOND),
        ("2023-11-14T22:13:22", [3, 4], BEGIN + 2 * SECOND),
        (str(BEGIN + 99 * SECOND), [], BEGIN + 99 * SECOND),
    ]:
        peer = connected(file)
        peer.subscribe(start=start)
        peer.start()
        metadata, records = peer.decoded()
        assert peer.sequences == expected
        assert metadata is not None
        assert metadata.start == first
        assert peer.said[-1] == "Finished trades replay"
        assert records[-1].code == SystemCode.REPLAY_COMPLETED


def test_starts_differ_by_subscription() -> None:
    peer = connected(trades([0, 1, 2, 3, 4, 5], [1, 2, 1, 2, 1, 2]))
    peer.subscribe(symbols="SYM1", start=BEGIN + 2 * SECOND)
    peer.subscribe(symbols="SYM1,SYM2", start=BEGIN + 4 * SECOND)
    peer.start()
    assert peer.sequences == [2, 4, 5]
    assert peer.decoded()[0].start == BEGIN + 2 * SECOND  # type: ignore[union-attr]
    assert peer.said.count("Finished trades replay") == 1


def test_sampled_quotes_are_replayed_by_ts_recv() -> None:
    array = dbnfast.empty("bbo-1s", 3)
    array["ts_recv"] = [BEGIN + SECOND, BEGIN + 2 * SECOND, BEGIN + 3 * SECOND]
    array["ts_event"], array["instrument_id"] = BEGIN, 1
    array["sequence"] = [0, 1, 2]
    peer = connected(dbnfast.encode(array, header(Schema.BBO_1S, [1])))
    peer.subscribe("bbo-1s", start=BEGIN + 2 * SECOND)
    peer.start()
    assert peer.sequences == [1, 2]


def test_the_end_of_the_source() -> None:
    peer = connected(trades([0]), at_end="close")
    peer.subscribe()
    peer.start()
    assert peer.session.closed
    assert peer.session.close_reason == "the source ended"
    assert peer.sequences == [0]
    empty = connected(fixture("empty.v3.dbn"), at_end="close")
    empty.subscribe(start=0)
    empty.start()
    assert empty.said[-1] == "Finished trades replay"
    assert empty.session.closed


def test_heartbeats_come_when_nothing_else_does() -> None:
    clock = Clock()
    peer = connected(trades([0, 1]), clock=clock, auth={"heartbeat_interval_s": 5})
    peer.subscribe()
    peer.start()
    n = len(peer.said)
    assert peer.session.next_time() == clock.seconds + 5
    clock.seconds += 4.9
    assert peer.take() == b""
    clock.seconds += 0.1
    peer.take()
    assert peer.said[n:] == ["Heartbeat"]
    clock.seconds += 3
    peer.subscribe()
    peer.take()
    clock.seconds += 4
    assert peer.take() == b""  # the answer was something too
    clock.seconds += 1
    peer.take()
    assert peer.said[-1] == "Heartbeat"
    assert peer.decoded()[1][-1].ts_event == BEGIN + SECOND  # where the source is
    assert peer.decoded()[1][-1].is_heartbeat()


def test_a_block_is_bounded_and_frames_are_shared() -> None:
    file = trades([n / 1000 for n in range(60_000)], [1, 2] * 30_000)
    service = Service(file, keys=KEY)
    peers = [Peer(service) for _ in range(2)]
    for peer in peers:
        peer.log_in()
        peer.subscribe(symbols="SYM2")
        peer.send("start_session")
        peer.session.data_to_send()
    held = []
    for peer in peers:
        blocks: list[Any] = []
        while not blocks or len(blocks[-1]) > 1000:
            got = peer.session.data_to_send()
            assert sum(map(len, got)) <= BUDGET + 1000
            blocks += got or [b""]
        held.append([block for block in blocks if len(block) > 1000])
    assert [len(block) for block in held[0]] == [len(block) for block in held[1]]
    assert sum(map(len, held[0])) == 30_000 * 48
    assert all(a.obj is b.obj for a, b in zip(*held, strict=True))  # no copy for each


# ---------------------------------------------------------------- a timeline


def paced(times: list[float], clock: Clock, speed: float | str = "1x", **options: Any) -> Service:
    return Service(trades(times), keys=KEY, clock=clock, speed=speed, **options)


def joined(service: Service, *starts: object) -> Peer:
    peer = Peer(service)
    peer.log_in()
    for start in starts or (None,):
        peer.subscribe(**({} if start is None else {"start": start}))
    peer.start()
    return peer


def test_records_are_sent_when_their_time_is_reached() -> None:
    clock = Clock()
    peer = joined(paced([0, 1, 0.7, 2], clock))
    assert peer.sequences == [0]
    assert peer.decoded()[0].start == BEGIN  # type: ignore[union-attr]
    assert peer.session.next_time() == pytest.approx(1001)
    clock.seconds = 1000.9
    assert peer.take() == b""  # what went back in time waits for what is before it
    clock.seconds = 1001
    peer.take()
    assert peer.sequences == [0, 1, 2]
    clock.seconds = 1010
    peer.take()
    assert peer.sequences == [0, 1, 2, 3]


def test_speed() -> None:
    for speed in ("10x", 10, 10.0):
        clock = Clock()
        peer = joined(paced([0, 9.9, 10, 11], clock, speed))
        clock.seconds += 1
        peer.take()
        assert peer.sequences == [0, 1, 2]


def test_the_timeline_begins_with_the_first_session_and_is_shared() -> None:
    clock = Clock()
    service = paced([0, 1, 2, 3, 4], clock)
    clock.seconds += 500
    first = joined(service)
    assert first.sequences == [0]
    clock.seconds += 1.5
    second = joined(service)
    assert second.sequences == []
    assert second.decoded()[0].start == BEGIN + 3 * SECOND // 2  # type: ignore[union-attr]
    assert second.decoded()[1][0].ts_event == BEGIN + 3 * SECOND // 2
    clock.seconds += 2
    for peer in (first, second):
        peer.take()
    assert first.sequences == [0, 1, 2, 3]
    assert second.sequences == [2, 3]


@pytest.mark.parametrize("at", [0.0, 0.5, 1.0, 2.0, 2.2, 3.7, 9.0])
@pytest.mark.parametrize("start", ["0", str(BEGIN + SECOND)])
def test_nothing_is_lost_or_doubled_between_replay_and_live(at: float, start: str) -> None:
    times = [0, 1, 0.9, 1, 2, 1.8, 2.2, 3]
    clock = Clock()
    service = paced(times, clock)
    service.timeline.start()
    clock.seconds += at
    peer = joined(service, start)
    past = [n for n in range(8) if max(times[: n + 1]) <= at]
    wanted = [
        n
        for n in range(8)
        if start == "0" or times[n] >= 1 or max(times[: n + 1]) >= at  # what is live has no start
    ]
    assert peer.sequences == [n for n in wanted if n in past]
    assert peer.said[-1] == "Finished trades replay"
    for _ in range(40):
        clock.seconds += 0.1
        peer.take()
    assert peer.sequences == wanted
    assert peer.said.count("Finished trades replay") == 1


def test_live_records_do_not_wait_for_the_replay_of_others() -> None:
    clock = Clock()
    quotes = dbnfast.empty("mbp-1", 60_000)
    quotes["ts_event"] = quotes["ts_recv"] = BEGIN + np.arange(60_000) * 1_000_000
    quotes["instrument_id"] = 1
    service = Service(
        [trades([0, 70, 71]), dbnfast.encode(quotes, header(Schema.MBP_1, [1]))],
        keys=KEY, clock=clock, speed=1,
    )  # fmt: skip
    service.timeline.start()
    clock.seconds += 69
    peer = Peer(service)
    peer.log_in()
    peer.subscribe("mbp-1", start=0)
    peer.subscribe("trades")
    peer.send("start_session")
    for _ in range(3):
        peer.after += b"".join(peer.session.data_to_send())
    assert 0 < len(peer.records) < 60_000
    clock.seconds += 1.5
    peer.after += b"".join(peer.session.data_to_send())
    kinds = [record.rtype for record in peer.records]
    assert kinds.count(RType.TRADES) == 1
    assert kinds.count(RType.MBP_1) < 60_000
    peer.take()
    assert "Finished mbp-1 replay" in peer.said
    clock.seconds += 5
    peer.take()
    kinds = [record.rtype for record in peer.records]
    assert (kinds.count(RType.TRADES), kinds.count(RType.MBP_1)) == (2, 60_000)


def test_a_late_subscription_begins_now() -> None:
    clock = Clock()
    service = Service(trades([0, 1, 2, 3], [1, 2, 1, 2]), keys=KEY, clock=clock, speed=1)
    peer = Peer(service)
    peer.log_in()
    peer.subscribe(symbols="SYM1", id=0)
    peer.start()
    clock.seconds += 1.5
    peer.take()
    peer.subscribe(symbols="SYM2", id=1)
    peer.take()
    assert peer.sequences == [0]
    assert peer.said[-2:] == ["Subscription request 1 for trades data succeeded", "SYM2 is 2"]
    clock.seconds += 5
    peer.take()
    assert peer.sequences == [0, 2, 3]


def test_a_replay_that_is_too_old() -> None:
    clock = Clock()
    service = paced([0, 100], clock, replay_window_s=60)
    service.timeline.start()
    clock.seconds += 90
    peer = joined(service, BEGIN + SECOND)
    assert peer.said[-1].startswith("8 Replay data aged out")
    assert peer.session.closed
    assert peer.sequences == []
    for start in (0, BEGIN + 31 * SECOND):
        assert not joined(service, start).session.closed


def test_ts_out_of_another_clock_is_the_timelines() -> None:
    clock = Clock()
    peer = connected(trades([0, 1]), auth={"ts_out": 1}, clock=clock, speed=2)
    peer.subscribe()
    peer.start()
    clock.seconds += 2
    peer.take()
    assert [record.ts_out for record in peer.records] == [BEGIN, BEGIN + 4 * SECOND]


def test_at_end_close_waits_for_the_last_record() -> None:
    clock = Clock()
    peer = joined(paced([0, 1], clock, at_end="close"))
    assert not peer.session.closed
    clock.seconds += 1
    peer.take()
    assert peer.session.closed
    assert peer.sequences == [0, 1]


# ---------------------------------------------------------------- snapshots


def orders(*rows: tuple[float, str, int, int, int]) -> bytes:
    array = dbnfast.empty(Schema.MBO, len(rows))
    for row, (t, action, order_id, price, size) in enumerate(rows):
        array["ts_event"][row] = array["ts_recv"][row] = BEGIN + round(t * SECOND)
        array["action"][row], array["order_id"][row] = action.encode(), order_id
        array["price"][row], array["size"][row], array["side"][row] = price, size, b"B"
        array["sequence"][row] = row
    array["instrument_id"], array["publisher_id"] = 1, 2
    return dbnfast.encode(array, header(Schema.MBO, [1]))


@pytest.mark.parametrize("ts_out", [0, 1])
def test_a_snapshot_gives_the_resting_orders_then_live(ts_out: int) -> None:
    clock = Clock()
    file = orders(
        (0, "A", 10, 100, 5), (1, "A", 11, 100, 7), (2, "A", 12, 99, 1), (3, "C", 12, 99, 1),
        (4, "M", 10, 100, 6), (5, "F", 11, 100, 2), (6, "C", 11, 100, 2), (9, "A", 13, 98, 1),
    )  # fmt: skip
    service = Service(file, keys=KEY, clock=clock, speed=1)
    service.timeline.start()
    clock.seconds += 7
    peer = Peer(service, ts_out=ts_out)
    peer.log_in()
    peer.subscribe("mbo", snapshot=1)
    peer.start()
    clock.seconds += 3
    peer.take()
    found = [
        (str(r.action), r.order_id, r.size, int(r.flags), (r.ts_event - BEGIN) / SECOND)
        for r in peer.records
    ]
    assert found == [
        ("R", 0, 0, 40, 7),
        ("A", 11, 5, 40, 1),
        ("A", 10, 6, 168, 4),  # it lost its priority when it grew
        ("A", 13, 1, 0, 9),
    ]
    clear, *adds, live = peer.records
    assert (clear.price, str(clear.side), clear.sequence) == (dbnfast.UNDEF_PRICE, "N", 0)
    assert {record.ts_recv for record in (clear, *adds)} == {BEGIN + 7 * SECOND}
    assert {record.publisher_id for record in peer.records} == {2}
    assert live.ts_recv == BEGIN + 9 * SECOND


def test_a_snapshot_of_an_empty_book() -> None:
    peer = connected(orders((0, "A", 10, 100, 5)))
    peer.subscribe("mbo", symbols="SYM1", snapshot=1)
    peer.start()
    assert [(str(r.action), int(r.flags)) for r in peer.records] == [("R", 168), ("A", 0)]


# ---------------------------------------------------------------- faults


def whole(**options: Any) -> bytes:
    peer = connected(trades([0, 1, 2]), clock=Clock(), **options)
    peer.subscribe()
    peer.start()
    return bytes(peer.after)


def faulty(*faults: Any, **options: Any) -> tuple[Peer, Clock]:
    clock = Clock()
    peer = connected(trades([0, 1, 2]), clock=clock, faults={0: faults}, **options)
    peer.subscribe()
    peer.start()
    return peer, clock


def test_a_cut_is_at_its_byte() -> None:
    wanted = whole()
    for at in range(len(wanted) + 1):
        peer, _ = faulty(Cut(at))
        assert peer.after == wanted[:at]
        assert peer.session.closed
        assert not peer.session.aborted


def test_reset_eof_and_silence() -> None:
    wanted = whole()
    peer, _ = faulty(Reset(300))
    assert peer.after == wanted[:300]
    assert peer.session.closed
    assert peer.session.aborted
    peer, _ = faulty(Eof(660))
    assert peer.after == wanted[: 128 + 320 + 176 + 48]
    assert peer.session.closed
    assert not peer.session.aborted
    peer, clock = faulty(Silence(300))
    clock.seconds += 1000
    assert peer.take() == b""
    assert peer.after == wanted[:300]
    assert not peer.session.closed
    assert peer.session.next_time() == math.inf


def test_a_delay() -> None:
    wanted = whole()
    peer, clock = faulty(Delay(300, 2.5), Cut(500))
    assert peer.after == wanted[:300]
    assert peer.session.next_time() == clock.seconds + 2.5
    clock.seconds += 2.4
    assert peer.take() == b""
    clock.seconds += 0.1
    peer.take()
    assert peer.after == wanted[:500]
    assert peer.session.closed


def test_lines_above_the_limit_of_symbols_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_SESSION_SYMBOLS", 100)
    peer = connected(trades([0]))
    for n in range(300):  # each begins a subscription that is never finished
        peer.subscribe(id=n, is_last=0)
    assert len(peer.session._chunks) == 100
    peer.start()
    assert peer.said == ["5 A session has at most 100 symbols"]


def test_no_part_of_a_key_shows_where_a_request_is_cut() -> None:
    peer = connected(trades([0]))
    peer.start()
    peer.send("x" * 85 + KEY + "x" * 100)
    peer.take()
    (text,) = [text for text in peer.said if "Unknown request" in text]
    assert KEY[:8] not in text
    assert "****" in text


def test_one_byte_writes() -> None:
    peer, _ = faulty(OneByteWrites())
    assert peer.after == whole()
    assert set(peer.pieces) <= {0, 1}


def test_refused_and_failed() -> None:
    session = GatewaySession(Service(trades([0]), keys=KEY, faults={0: Refuse()}))
    assert session.data_to_send() == []
    assert session.closed
    peer = Peer(Service(trades([0]), keys=KEY, faults={None: [FailAuth("No | way")]}))
    assert peer.log_in() == {"success": "0", "error": "No / way"}


def test_acks() -> None:
    assert faulty(NoAck())[0].said == ["SYM1 is 1"]
    ack = "Subscription request for trades data succeeded"
    assert faulty(DoubleAck())[0].said == [ack, ack, "SYM1 is 1"]


def test_errors_come_between_whole_records() -> None:
    for at in range(0, 800, 7):
        peer, _ = faulty(SendError(7, "Slow client detected", at))
        assert not peer.session.closed
        assert peer.sequences == [0, 1, 2]
        if at <= len(whole()):
            assert "7 Slow client detected" in peer.said
    peer, _ = faulty(SendError(6, "Internal error", 640))
    assert peer.said[-1] == "6 Internal error"
    assert peer.sequences == [0]
    assert peer.session.closed


def test_faults_are_of_their_connection() -> None:
    service = Service(trades([0]), keys=KEY, faults=Faults({1: [Cut(10)]}))
    for wanted in (False, True, False):
        peer = Peer(service)
        peer.log_in()
        peer.subscribe()
        peer.start()
        assert peer.session.closed == wanted


def test_faults_of_compressed_bytes() -> None:
    peer, _ = faulty(Cut(50), auth={"compression": "zstd"})
    assert len(peer.after) == 50


# ---------------------------------------------------------------- any bytes, any pieces


def test_pieces_make_no_difference() -> None:
    rng = random.Random(7)
    lines = b"".join(
        f"schema=trades|stype_in=raw_symbol|symbols=SYM{n}|id={n}\n".encode() for n in range(1, 30)
    )
    found = set()
    for _ in range(20):
        peer = connected(trades([0, 1], [1, 2]), clock=Clock())
        for piece in random_pieces(rng, lines + b"start_session\n"):
            peer.session.receive_data(piece)
        peer.take()
        found.add(bytes(peer.after))
    assert len(found) == 1


def test_any_bytes_are_survived() -> None:
    rng = random.Random(11)
    words = [
        b"schema=", b"trades", b"|", b"=", b"\n", b"symbols=", b"stype_in=raw_symbol", b",",
        b"start_session", b"start=", b"\xff", b"\0", b"snapshot=1", b"mbo", b"SYM1",
    ]  # fmt: skip
    for n in range(300):
        service = Service(trades([0, 1]), keys=KEY, clock=Clock())
        peer = Peer(service)
        if n % 3:
            peer.log_in()
        if n % 3 == 2:
            peer.start()
        peer.session.receive_data(b"".join(rng.choices(words, k=rng.randint(1, 60))) + b"\n")
        peer.pull()
        assert peer.session.closed or peer.session.wants_data


@pytest.mark.parametrize(
    "line", [f"hello {KEY}", f"{KEY}=1", f"schema=trades|stype_in=raw_symbol|symbols={KEY}"]
)
def test_no_error_repeats_a_key_that_is_in_the_wrong_place(line: str) -> None:
    peer = connected(trades([0]))
    peer.send(line)
    peer.start()
    assert any("opqrs" in text for text in peer.said)
    assert KEY.encode() not in peer.sent
    refused = Peer(Service(trades([0]), keys=KEY), **{KEY: 1})
    assert "opqrs" in refused.log_in()["error"]
    assert KEY.encode() not in refused.sent


def test_no_key_is_ever_shown() -> None:
    said: list[str] = []
    service = Service(trades([0]), keys=KEY)
    session = GatewaySession(service, trace=lambda *args: said.append(repr(args)))
    session.data_to_send()
    session.receive_data(f"auth={KEY}|dataset={KEY}\n".encode())
    session.data_to_send()
    session.data_to_send()
    assert any("opqrs" in text for text in said)
    assert not any(KEY in text for text in [*said, session.close_reason, repr(vars(service))])


def test_a_source_without_a_header_is_of_any_dataset() -> None:
    records = dbnfast.scan(dbnfast.scan(trades([0, 1])).tobytes(), has_metadata=False)
    peer = connected(records, auth={"dataset": "ANY.THING"})
    peer.subscribe(symbols="1", stype_in="instrument_id")
    peer.start()
    metadata, _ = peer.decoded()
    assert metadata is not None
    assert metadata.dataset == "ANY.THING"
    assert peer.said[1:] == ["1 is 1"]
    assert peer.sequences == [0, 1]


def test_control_records_are_not_replayed() -> None:
    peer = connected(fixture("live.v3.dbn"))
    for schema in peer.service.source.lanes:
        peer.subscribe(str(schema), start=0)
    peer.start()
    store = dbnfast.read(fixture("live.v3.dbn"))
    wanted = [bytes(record) for record in store if record.rtype not in CONTROL]
    assert [bytes(record) for record in peer.records] == wanted


def test_a_line_without_end_ends_a_session_that_has_not_started() -> None:
    peer = connected(trades([0]))
    peer.session.receive_data(b"schema=" + b"x" * (4 << 20))
    peer.pull()
    assert peer.session.closed
    assert "a line is longer than" in peer.session.close_reason
    assert peer.said == []  # before records flow it can hear nothing
