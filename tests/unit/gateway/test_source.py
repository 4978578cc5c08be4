"""What a gateway replays: chunks, frames, symbols, times, and the book."""

from __future__ import annotations

import math
import random
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
import dbnfast.gateway.replay.source as module
from dbnfast import Schema, SType
from dbnfast.gateway.replay.book import Book, Snapshot
from dbnfast.gateway.replay.chunks import Want
from dbnfast.gateway.replay.source import Source
from dbnfast.gateway.replay.stream import Stream, Wish
from dbnfast.gateway.replay.timeline import Timeline, parse_speed
from helpers.gateways import BEGIN, SECOND, Clock, header, trades
from helpers.places import FIXTURES

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)
ALL = Schema.TRADES


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 500)


def mixed(n: int, seed: int = 1) -> tuple[bytes, list[bytes]]:
    """A stream of trades, quotes and bars in disorder; and its records."""
    rng = random.Random(seed)
    records = []
    for i in range(n):
        array = dbnfast.empty(rng.choice(("trades", "mbp-1", "ohlcv-1s")), 1)
        array["ts_event"] = BEGIN + i * SECOND + rng.randint(-SECOND, SECOND)
        array["instrument_id"] = rng.randint(1, 4)
        records.append(array.tobytes())
    return header(None, [1, 2, 3, 4]).encode() + b"".join(records), records


def cut(source: Source, wants: Any, ts_out: bool = False, stamp: int = 0) -> list[bytes]:
    """All records that are wanted, one by one."""
    found = []
    for number in range(source.n_chunks):
        frames = source.frames(number, frozenset(wants), ts_out)
        for k in range(frames.n):
            found.append(bytes(frames.block(k, k + 1, stamp)))
    return found


def time_of(record: bytes) -> int:
    return int.from_bytes(record[8:16], "little")


def id_of(record: bytes) -> int:
    return int.from_bytes(record[4:8], "little")


RTYPES = {Schema.TRADES: 0, Schema.MBP_1: 1, Schema.OHLCV_1S: 32}


def passes(record: bytes, position: int, want: Want) -> bool:
    late = want.start is not None or want.live_from is not None
    return (
        record[1] == RTYPES.get(want.schema)
        and (want.ids is None or id_of(record) in want.ids)
        and (
            not late
            or (want.start is not None and time_of(record) >= want.start)
            or (want.live_from is not None and position >= want.live_from)
        )
    )


def test_frames_are_what_is_wanted(small_chunks: None) -> None:
    data, records = mixed(60)
    source = Source(data)
    assert source.n_chunks > 5
    middle = BEGIN + 30 * SECOND
    sets: list[list[Want]] = [
        [],
        [Want(Schema.TRADES, None)],
        [Want(Schema.MBO, None)],
        [Want(schema, None) for schema in RTYPES],
        [Want(Schema.TRADES, frozenset((1, 3))), Want(Schema.MBP_1, frozenset((2,)))],
        [Want(Schema.TRADES, frozenset())],
        [Want(Schema.MBP_1, None, middle), Want(Schema.TRADES, frozenset((2,)), None, 41)],
        [Want(Schema.OHLCV_1S, None, middle, 20), Want(Schema.OHLCV_1S, frozenset((1,)))],
        [Want(Schema.TRADES, None, 2**64 - 1)],
    ]
    for wants in sets:
        expected = [
            record
            for position, record in enumerate(records)
            if any(passes(record, position, want) for want in wants)
        ]
        assert cut(source, wants) == expected
        stamped = cut(source, wants, True, 77)
        assert [raw[1:-8] for raw in stamped] == [raw[1:] for raw in expected]
        assert [raw[0] - 2 for raw in stamped] == [raw[0] for raw in expected]
        assert all(raw[-8:] == (77).to_bytes(8, "little") for raw in stamped)


def test_blocks_of_frames_are_views_and_hold_what_fits() -> None:
    source = Source(trades([0, 1, 2, 3], [1, 2, 1, 2]))
    whole = source.frames(0, frozenset([Want(ALL, None)]))
    assert whole.n_owned == 0
    assert whole.block(1, 3, 0).obj is source.records.data.obj
    later = source.frames(0, frozenset([Want(ALL, None, BEGIN + SECOND)]))
    assert (later.n, later.n_owned) == (3, 0)
    some = source.frames(0, frozenset([Want(ALL, frozenset((2,)))]))
    assert (some.n, some.n_owned) == (2, 96)
    assert some is source.frames(0, frozenset([Want(ALL, frozenset((2,)))]))
    assert [whole.fit(0, 4, n) for n in (0, 47, 48, 95, 96, 1000)] == [1, 1, 1, 1, 2, 4]
    assert [some.index(place) for place in range(5)] == [0, 0, 1, 1, 2]
    assert whole.last_time(3) == BEGIN + 2 * SECOND


def test_copies_that_are_kept_are_bounded(
    small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES", 5000)
    data, _ = mixed(300)
    source = Source(data)
    for n in range(1, 5):
        cut(source, [Want(Schema.TRADES, frozenset((n,)))])
    assert source._n_cached <= 5000
    assert source._n_cached == sum(frames.cost for frames in source._frames.values())
    assert len(source._frames) < source.n_chunks
    assert len(source._chunks) <= module.CACHED_CHUNKS


def test_sources_of_every_kind() -> None:
    path = FIXTURES / "trades.v3.dbn"
    data = path.read_bytes()
    wanted = dbnfast.scan(data).tobytes()
    for given in (path, str(path), [path], data, dbnfast.read(path), dbnfast.scan(data)):
        source = Source(given)
        assert source.records.tobytes() == wanted
        assert source.dataset == "GLBX.MDP3"
        assert source.lanes == {Schema.TRADES: frozenset((0,))}
    fragment = dbnfast.scan(wanted, has_metadata=False)
    assert Source(fragment).dataset == ""
    with pytest.raises(TypeError, match="no path"):
        Source(7)
    with pytest.raises(FileNotFoundError):
        Source(FIXTURES / "nothing.dbn")


@pytest.mark.parametrize("name", ["mixed", "live", "mbo", "definition"])
def test_a_ts_out_of_the_source_is_taken_away(name: str) -> None:
    plain = Source(FIXTURES / f"{name}.v3.dbn")
    stamped = Source(FIXTURES / f"{name}.v3.ts_out.dbn")
    wants = [Want(schema, None) for schema in plain.lanes]
    assert cut(stamped, wants) == cut(plain, wants) != []
    assert not stamped.records.ts_out


def test_tbbo_and_mbp_1_stay_apart() -> None:
    paths = [FIXTURES / "tbbo.v3.dbn", FIXTURES / "mbp-1.v3.dbn"]
    source = Source(paths)
    for path in paths:
        store = dbnfast.read(path)
        assert store.schema is not None
        found = cut(source, [Want(store.schema, None)])
        assert sorted(found) == sorted(bytes(record) for record in store)


def test_instruments_of_a_schema(small_chunks: None) -> None:
    data, records = mixed(40)
    source = Source(data)
    for schema, rtype in RTYPES.items():
        assert source.ids(schema) == {id_of(raw) for raw in records if raw[1] == rtype}
    assert source.ids(Schema.MBO) == frozenset()


def test_streams_take_everything_once_whatever_the_bounds(small_chunks: None) -> None:
    data, records = mixed(80)
    rng = random.Random(3)
    for trial in range(40):
        source = Source(data)
        begin = rng.randint(0, 20)
        stream = Stream(source, begin, False)
        wishes = [
            Wish(
                rng.choice(list(RTYPES)),
                rng.choice([None, frozenset(rng.sample(range(1, 5), 2))]),
                rng.choice([None, 0, BEGIN + rng.randint(0, 80) * SECOND]),
                rng.randint(0, 90),
            )
            for _ in range(rng.randint(1, 4))
        ]
        for wish in wishes:
            stream.add(wish)
        expected = [
            raw
            for position, raw in enumerate(records)
            if position >= begin
            and any(passes(raw, position, Want(*astuple(wish))) for wish in wishes)
        ]  # fmt: skip
        found, limit = b"", begin
        while limit < len(records):
            limit = min(limit + rng.randint(1, 30), len(records))
            while stream.position < limit:
                taken = stream.take(limit, rng.choice((1, 100, 10_000)))
                if taken is not None:
                    found += taken.frames.block(taken.first, taken.last, 0)
            assert stream.position == limit
        assert found == b"".join(expected), trial


# ---------------------------------------------------------------- symbols


def test_symbols_of_a_header() -> None:
    symbols = Source(trades([0], [3])).symbols
    assert symbols.known == {3}
    assert symbols.resolve(SType.RAW_SYMBOL, "SYM3") == {3}
    assert symbols.resolve(SType.RAW_SYMBOL, " sym3 ") == {3}
    assert symbols.resolve(SType.RAW_SYMBOL, "SYM4") == frozenset()
    assert symbols.resolve(SType.INSTRUMENT_ID, "3") == {3}
    assert symbols.resolve(SType.INSTRUMENT_ID, "9") == frozenset()
    assert symbols.resolve(SType.INSTRUMENT_ID, "9", {9}) == {9}
    for text in ("-3", "3.0", "³", "", "9" * 5000):
        assert symbols.resolve(SType.INSTRUMENT_ID, text) == frozenset()
    assert symbols.resolve(SType.ISIN, "SYM3") == frozenset()
    assert symbols.names([3, 4], BEGIN) == ["SYM3", None]
    assert symbols.names([3], 0) == ["SYM3"]  # of another day


@pytest.mark.parametrize(
    ("parent", "ids"),
    [
        ("ES.FUT", {1, 2, 3}),
        ("es.fut", {1, 2, 3}),
        ("ES.OPT", {4}),
        ("AAPL.OPT", {5}),
        ("E.FUT", set()),
        ("ESX.FUT", {6}),
        ("ES.SPOT", set()),
        ("ES", set()),
        (".*.FUT", set()),
    ],
)
def test_parents_by_the_names_of_their_instruments(parent: str, ids: set[int]) -> None:
    names = ["ESH4", "ESM24", "ESH4-ESM4", "ESH4 C5000", "AAPL  240119C00150000", "ESXZ4", "ES"]
    day = header(ALL, [1]).mappings["SYM1"][0]
    mappings = {name: [{**day, "symbol": str(n)}] for n, name in enumerate(names, 1)}
    file = dbnfast.encode(dbnfast.empty("trades", 1), header(ALL, [1], mappings=mappings))
    assert Source(file).symbols.resolve(SType.PARENT, parent) == ids


def test_the_one_parent_of_a_header() -> None:
    day = header(ALL, [1]).mappings["SYM1"][0]
    fields: dict[str, Any] = {
        "stype_in": "parent", "symbols": ["BRN.FUT"],
        "mappings": {"BRN  FMZ0024!": [{**day, "symbol": "5"}]},
    }  # fmt: skip
    file = dbnfast.encode(dbnfast.empty("trades", 1), header(ALL, [1], **fields))
    assert Source(file).symbols.resolve(SType.PARENT, "BRN.FUT") == {5}


def test_symbols_of_mapping_records() -> None:
    symbols = Source(FIXTURES / "live.v3.dbn").symbols
    store = dbnfast.read(FIXTURES / "live.v3.dbn")
    messages = [record for record in store if hasattr(record, "stype_out_symbol")]
    assert messages
    for message in messages:
        name = dbnfast.symbology.codes.smart_symbol(
            message.stype_in_symbol, message.stype_out_symbol
        )
        assert message.instrument_id in symbols.resolve(SType.RAW_SYMBOL, str(name))


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(("speed", "found"), [("max", None), ("1x", 1.0), ("0.5x", 0.5), (3, 3.0)])
def test_speeds(speed: Any, found: float | None) -> None:
    assert parse_speed(speed) == found


@pytest.mark.parametrize("speed", ["", "x", "nan", "inf", "-1x", 0, None, True])
def test_no_speeds(speed: Any) -> None:
    with pytest.raises(ValueError, match="speed is"):
        parse_speed(speed)


def test_the_timeline(small_chunks: None) -> None:
    rng = random.Random(5)
    times = [0.0] + [n + rng.uniform(-3, 3) for n in range(1, 60)]
    source = Source(trades(times))
    assert source.n_chunks > 3
    clock = Clock()
    timeline = Timeline(source, 2.0, clock)
    sends = [max(round(t * SECOND) for t in times[: n + 1]) for n in range(len(times))]
    assert [timeline.send_time(n) - BEGIN for n in range(60)] == sends
    for ns in sorted({*sends, *(n - 1 for n in sends), *(n + 1 for n in sends)}):
        assert timeline.position(BEGIN + ns, behind=True) == sum(s <= ns for s in sends)
        assert timeline.position(BEGIN + ns, behind=False) == sum(s < ns for s in sends)
    assert timeline.ns(clock.seconds + 9) == BEGIN
    assert timeline.when(BEGIN) == math.inf
    timeline.start()
    clock.seconds += 2.5
    timeline.start()
    assert timeline.ns(clock.seconds) == BEGIN + 5 * SECOND
    assert timeline.when(BEGIN + 5 * SECOND) == pytest.approx(clock.seconds, abs=1e-6)


def test_what_has_no_time_is_sent_with_what_is_before_it() -> None:
    array = dbnfast.empty("ohlcv-1s", 3)
    array["ts_event"][:2] = BEGIN, BEGIN + SECOND
    source = Source(dbnfast.encode(array, header(Schema.OHLCV_1S, [])))
    timeline = Timeline(source, 1.0, Clock())
    assert [timeline.send_time(n) - BEGIN for n in range(3)] == [0, SECOND, SECOND]


def test_the_timeline_of_nothing() -> None:
    source = Source(FIXTURES / "empty.v3.dbn")
    timeline = Timeline(source, 1.0, Clock())
    assert timeline.position(2**63, behind=True) == 0
    assert source.first_time == source._metadata.start


# ---------------------------------------------------------------- the book


def mbo(*rows: tuple[str, int, int, int]) -> Any:
    array = dbnfast.empty(Schema.MBO, len(rows))
    for row, (action, order_id, price, size) in enumerate(rows):
        array["action"][row], array["order_id"][row] = action.encode(), order_id
        array["price"][row], array["size"][row] = price, size
    array["instrument_id"], array["side"], array["flags"] = 1, b"B", 0
    array["ts_event"] = array["ts_recv"] = BEGIN + np.arange(len(rows))
    return array


def resting(*rows: tuple[str, int, int, int]) -> list[tuple[int, int, int]]:
    book = Book()
    book.apply(mbo(*rows))
    return [(key, order[1], order[2]) for key, order in book.orders.get(1, {}).items()]


def test_orders() -> None:
    a, b = ("A", 1, 100, 5), ("A", 2, 100, 6)
    assert resting(a, b) == [(1, 100, 5), (2, 100, 6)]
    assert resting(a, b, ("C", 1, 100, 2)) == [(1, 100, 3), (2, 100, 6)]
    assert resting(a, b, ("C", 1, 100, 5), ("C", 9, 1, 1)) == [(2, 100, 6)]
    assert resting(a, b, ("M", 1, 100, 4)) == [(1, 100, 4), (2, 100, 6)]
    assert resting(a, b, ("M", 1, 100, 7)) == [(2, 100, 6), (1, 100, 7)]
    assert resting(a, b, ("M", 1, 101, 5)) == [(2, 100, 6), (1, 101, 5)]
    assert resting(a, ("M", 3, 99, 1)) == [(1, 100, 5), (3, 99, 1)]
    assert resting(a, ("F", 1, 100, 5), ("T", 0, 100, 5), ("N", 1, 1, 1)) == [(1, 100, 5)]
    assert resting(a, b, ("R", 0, 0, 0)) == []


def test_one_record_that_is_a_whole_side() -> None:
    book = Book()
    array = mbo(("A", 1, 100, 5), ("A", 0, 101, 9), ("A", 0, dbnfast.UNDEF_PRICE, 0))
    array["flags"][1:] = 64
    book.apply(array[:2])
    assert [order[1:3] for order in book.orders[1].values()] == [[101, 9]]
    book.apply(array[2:])
    assert book.orders[1] == {}


def test_a_snapshot_is_of_its_position(small_chunks: None) -> None:
    array = mbo(*(("A", n, 100 + n, 1) for n in range(50)))
    source = Source(dbnfast.encode(array, header(Schema.MBO, [1])))
    for position in (0, 1, 7, 8, 9, 49, 50):
        snapshot = Snapshot(source, None, position)
        while snapshot.step():
            pass
        blocks = list(snapshot.blocks(BEGIN))
        assert sum(map(len, blocks)) == 1 + position
        found = np.concatenate(blocks)
        assert found["order_id"].tolist() == [0, *range(position)]
        assert found["flags"].tolist() == [40] * position + [168]
    assert list(Snapshot(Source(trades([0])), None, 1).blocks(BEGIN)) == []


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_alike_in_all_versions_is_given_in_an_older_one(version: int) -> None:
    newest = trades([0, 1, 2])
    source = Source(newest, version)
    plain = dbnfast.scan(newest).tobytes()
    assert b"".join(cut(source, [Want(ALL, None, None, None)])) == plain


def test_tbbo_and_mbp_1_stay_apart_beside_a_file_of_any_schema(tmp_path: Path) -> None:
    paths = []
    for k, schema in enumerate((Schema.TBBO, Schema.MBP_1, None)):
        array = dbnfast.empty("mbp-1", 3)
        array["ts_event"] = array["ts_recv"] = BEGIN + np.arange(3) * 10 + k
        array["instrument_id"], array["sequence"] = 1, np.arange(3) + 10 * k
        path = tmp_path / f"{k}.dbn"
        path.write_bytes(dbnfast.encode(array, header(schema, [1])))
        paths.append(path)
    source = Source(dbnfast.read(paths))
    for schema, numbers in ((Schema.TBBO, {0, 1, 2}), (Schema.MBP_1, {10, 11, 12, 20, 21, 22})):
        records = b"".join(cut(source, [Want(schema, None, None, None)]))
        found = dbnfast.scan(header(None, [1]).encode() + records).array("mbp-1")
        assert set(found["sequence"].tolist()) == numbers
        assert len(found) == len(numbers)


def test_a_header_without_instrument_ids_names_none() -> None:
    array = dbnfast.empty("trades", 1)
    metadata = header(Schema.TRADES, [1], stype_out="raw_symbol")
    data = dbnfast.encode(array, metadata)
    assert Source(data).symbols._names == {}
    assert Source(trades([0])).symbols._names == {1: "SYM1"}
