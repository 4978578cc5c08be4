"""Filters: of Records, of stores, and while a stream is read."""

from __future__ import annotations

import datetime
import io
import random
import struct
import warnings
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import RType
from dbnfast.layouts.programs import INDEX_TS_AT
from dbnfast.records import headers
from dbnfast.records.filters import Filter
from helpers import streams

T0 = 10**18
UNDEFINED = 2**64 - 1


def a_record(rng: random.Random, i: int) -> bytes:
    """A trade, a bar, a definition or a record nobody knows."""
    ts = rng.choice((T0 + i, T0 + i, UNDEFINED, 0))
    keys: dict[str, Any] = {"instrument_id": rng.randrange(4), "publisher_id": rng.randrange(3)}
    kind = rng.choice((0, 0, 0x21, 0x42))
    if kind == 0:
        body = bytes(16) + struct.pack("<Q", ts) + bytes(8)
        return streams.record(0, 48, ts_event=5, body=body, **keys)
    return streams.record(kind, 56, ts_event=ts, **keys)


def stream(n: int = 300, seed: int = 1) -> bytes:
    rng = random.Random(seed)
    return b"".join(a_record(rng, i) for i in range(n))


BODY = stream()
DATA = streams.header(schema=None) + BODY


def kept(body: bytes, **wanted: Any) -> bytes:
    """What passes, by a slow walk."""
    out = b""
    for record in streams.walk(body):
        rtype, publisher, instrument = struct.unpack_from("<xBHI", record)
        (ts,) = struct.unpack_from("<Q", record, int(INDEX_TS_AT[rtype]))
        low, high = wanted.get("start"), wanted.get("end")
        if "rtypes" in wanted and rtype not in wanted["rtypes"]:
            continue
        if "instrument_ids" in wanted and instrument not in wanted["instrument_ids"]:
            continue
        if "publishers" in wanted and publisher not in wanted["publishers"]:
            continue
        if low is not None and not (ts != UNDEFINED and ts >= low):
            continue
        if high is not None and not (ts != UNDEFINED and ts < high):
            continue
        out += record
    return out


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "schema": ({"schema": "trades"}, {"rtypes": {0}}),
    "rtype": ({"schema": RType.OHLCV_1M}, {"rtypes": {0x21}}),
    "schemas": ({"schema": ["trades", "ohlcv-1m"]}, {"rtypes": {0, 0x21}}),
    "a set of schemas": ({"schema": {"trades", "mbo"}}, {"rtypes": {0}}),
    "nothing of it": ({"schema": "mbo"}, {"rtypes": set()}),
    "one id": ({"instrument_ids": 2}, {"instrument_ids": {2}}),
    "ids": ({"instrument_ids": [3, 1, 1, 2**32 - 1]}, {"instrument_ids": {1, 3}}),
    "an array": ({"instrument_ids": np.array([1, 2], np.uint32)}, {"instrument_ids": {1, 2}}),
    "a numpy id": ({"instrument_ids": np.uint32(1)}, {"instrument_ids": {1}}),
    "no ids": ({"instrument_ids": []}, {"instrument_ids": set()}),
    "publisher": ({"publishers": 0}, {"publishers": {0}}),
    "publishers": ({"publishers": range(1, 3)}, {"publishers": {1, 2}}),
    "start": ({"start": T0 + 100}, {"start": T0 + 100}),
    "end": ({"end": T0 + 100}, {"end": T0 + 100}),
    "range": ({"start": T0 + 50, "end": T0 + 60}, {"start": T0 + 50, "end": T0 + 60}),
    "datetime": (
        {"start": np.datetime64(T0 + 50, "ns"), "end": np.datetime64("2001-09-10")},
        {"start": T0 + 50, "end": UNDEFINED},
    ),
    "an empty range": ({"start": T0 + 50, "end": T0 + 50}, {"start": T0 + 50, "end": T0 + 50}),
    "start of time": ({"start": 0}, {"start": 0}),
    "end of time": ({"end": UNDEFINED}, {"end": UNDEFINED}),
    "all at once": (
        {"schema": "trades", "instrument_ids": [1, 2], "publishers": [0, 1], "start": T0 + 20},
        {"rtypes": {0}, "instrument_ids": {1, 2}, "publishers": {0, 1}, "start": T0 + 20},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("compressed", [False, True])
def test_filters_keep_what_they_should(case: str, compressed: bool) -> None:
    wanted, plain = CASES[case]
    expected = kept(BODY, **plain)
    assert dbnfast.scan(DATA).filter(**wanted).tobytes() == expected
    data = streams.frame(DATA) if compressed else DATA
    for max_bytes in (1020, 1 << 20):
        blocks = list(dbnfast.iter_decode(io.BytesIO(data), max_bytes=max_bytes, **wanted))
        assert b"".join(block.tobytes() for block in blocks) == expected
        assert all(len(block) for block in blocks)
    store = dbnfast.read(data).filter(**wanted)
    with warnings.catch_warnings():  # that there is no record of a schema
        warnings.simplefilter("ignore", dbnfast.SelectionWarning)
        assert store.records().tobytes() == expected
        assert b"".join(bytes(record) for record in store) == expected
        assert sum(store.counts.values()) == len(streams.walk(expected))


def test_filtered_blocks_are_not_written_again() -> None:
    blocks = list(dbnfast.iter_decode(io.BytesIO(DATA), max_bytes=2000, instrument_ids=[0, 1]))
    before = [block.tobytes() for block in blocks]
    assert len(blocks) > 3
    assert b"".join(before) == kept(BODY, instrument_ids={0, 1})
    assert all(not block.split()[RType.TRADES].flags.writeable for block in blocks)


def test_records_filter_gives_itself_where_all_passes() -> None:
    records = dbnfast.scan(DATA)
    assert records.filter() is records
    assert records.filter(instrument_ids=range(4)) is records
    assert len(records.filter(schema="mbo")) == 0


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"schema": "nonsense"}, ValueError),
        ({"schema": 5.5}, (TypeError, ValueError)),
        ({"schema": ["trades", None]}, (TypeError, ValueError)),
        ({"instrument_ids": "12"}, TypeError),
        ({"instrument_ids": b"12"}, TypeError),
        ({"instrument_ids": [1.5]}, TypeError),
        ({"instrument_ids": [-1]}, ValueError),
        ({"instrument_ids": 2**32}, ValueError),
        ({"publishers": {"a"}}, TypeError),
        ({"start": -1}, ValueError),
        ({"start": 2**64}, ValueError),
        ({"start": 1.5}, TypeError),
        ({"end": "tomorrow"}, ValueError),
        ({"start": T0 + 1, "end": T0}, ValueError),
        ({"end": np.datetime64("NaT", "ns")}, ValueError),
        ({"end": True}, TypeError),
        ({"start": np.datetime64("1969-12-31")}, ValueError),
    ],
)
def test_filters_refuse(wanted: dict[str, Any], error: Any) -> None:
    with pytest.raises(error):
        dbnfast.scan(DATA).filter(**wanted)
    with pytest.raises(error):
        dbnfast.iter_decode(io.BytesIO(DATA), **wanted)
    with pytest.raises(error):
        dbnfast.read(DATA).filter(**wanted)


def test_iter_decode_closes_the_file_of_a_wrong_filter(tmp_path: Any) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(DATA)
    with pytest.raises(ValueError):
        dbnfast.iter_decode(path, schema="nonsense")  # an open file would warn


def test_tbbo_is_not_mbp_1() -> None:
    tbbo = streams.header(schema="tbbo") + streams.record(1, 80)
    assert len(dbnfast.scan(tbbo).filter("tbbo")) == 1
    for ask in (
        lambda: dbnfast.scan(tbbo).filter("mbp-1"),
        lambda: dbnfast.iter_decode(io.BytesIO(tbbo), schema="mbp-1"),
        lambda: dbnfast.read(tbbo).filter("mbp-1"),
    ):
        with pytest.raises(ValueError, match="mbp-1 was asked of tbbo"):
            ask()


def test_old_bars_answer_to_the_files_own_schema() -> None:
    data = streams.header(schema="ohlcv-1d") + streams.record(0x11, 56) + streams.record(0x23, 56)
    assert len(dbnfast.read(data).filter("ohlcv-1d").to_ndarray()) == 2
    assert len(dbnfast.scan(data).filter("ohlcv-1h")) == 0


@pytest.mark.parametrize("max_bytes", [1020, 1 << 20])
def test_damage_is_found_where_nothing_passes(max_bytes: int) -> None:
    n = len(streams.walk(BODY))
    reader = dbnfast.iter_decode(
        io.BytesIO(DATA + bytes([2, 0]) + bytes(40)), max_bytes=max_bytes, schema="mbo"
    )
    with pytest.raises(dbnfast.InvalidRecordError) as caught:
        list(reader)
    assert caught.value.record_index == n
    assert caught.value.offset == len(DATA)
    cut = dbnfast.iter_decode(io.BytesIO(DATA[:-3]), max_bytes=max_bytes, schema="mbo")
    with pytest.warns(dbnfast.TruncatedWarning, match=f"record {n - 1} "):
        assert list(cut) == []


def test_a_filter_of_a_fragment() -> None:
    reader = dbnfast.iter_decode(io.BytesIO(BODY), has_metadata=False, schema="trades")
    assert b"".join(block.tobytes() for block in reader) == kept(BODY, rtypes={0})


def test_ts_out_stays_with_its_record() -> None:
    data = streams.header(ts_out=1) + streams.trades(9, ts_out=True)
    wanted = dbnfast.read(data).filter(instrument_ids=[103, 107])
    assert wanted.to_ndarray()["ts_out"].tolist() == [2 * 10**18 + 3, 2 * 10**18 + 7]


def test_also_passes_in_any_case() -> None:
    def found(wanted: Filter) -> bytes:
        out = np.empty(len(BODY), np.uint8)
        got = wanted.select(memoryview(BODY), out, False)
        assert (got.n_seen, got.stop) == (len(streams.walk(BODY)), len(BODY))
        return out[: got.n_bytes].tobytes()

    wanted = {"instrument_ids": [1], "publishers": [2], "start": T0 + 100}
    narrow = Filter(None, "trades", **wanted)
    wide = Filter(None, "trades", **wanted, also=RType.OHLCV_1M)
    bars = [record for record in streams.walk(BODY) if record[1] == 0x21]
    assert [r for r in streams.walk(found(wide)) if r[1] == 0x21] == bars
    assert b"".join(r for r in streams.walk(found(wide)) if r[1] != 0x21) == found(narrow)


# --- stores -----------------------------------------------------------------------------------


def test_a_filtered_store() -> None:
    store = dbnfast.read(DATA)
    one = store.filter("trades", instrument_ids=iter([1, 2]))
    for _ in range(2):  # an iterator is not used up
        assert set(one.to_ndarray()["instrument_id"]) == {1, 2}
    assert one.counts == {0: len(one.to_ndarray())}
    assert sum(store.counts.values()) == 300  # the store itself is as it was
    assert one.metadata == store.metadata
    assert one.filter().records().tobytes() == one.records().tobytes()
    with pytest.raises(ValueError, match="raw"):
        _ = one.raw
    first, last = one.time_range or (None, None)
    assert first is not None
    assert first <= last


@pytest.mark.parametrize(
    "parts",
    [
        ({"schema": "trades"}, {"instrument_ids": 1}, {"start": T0 + 20}, {"end": T0 + 60}),
        ({"start": T0 + 10, "end": T0 + 90}, {"start": T0 + 30}, {"end": T0 + 50}),
        ({"instrument_ids": [1, 2]}, {"instrument_ids": [2, 3]}, {"publishers": 1}),
        ({"schema": ["trades", "ohlcv-1m"]}, {"schema": ["ohlcv-1m", "status"]}),
        ({"schema": ["trades", "status"]}, {"schema": "ohlcv-1m"}),
        ({"start": T0 + 50}, {"end": T0 + 20}),
        ({"instrument_ids": [1]}, {"instrument_ids": [2]}),
    ],
)
def test_filters_in_a_row(parts: tuple[dict[str, Any], ...]) -> None:
    store = dbnfast.read(DATA)
    chained, records = store, store.records()
    for part in parts:
        chained = chained.filter(**part)
        records = records.filter(**part)
    assert chained.records().tobytes() == records.tobytes()
    assert chained.counts == records.counts
    assert store.records().tobytes() == dbnfast.scan(DATA).tobytes()


def test_a_filter_that_leaves_nothing() -> None:
    store = dbnfast.read(streams.header() + streams.trades(4)).filter(instrument_ids=[7])
    assert store.to_ndarray().shape == (0,)
    assert store.to_ndarray().dtype == dbnfast.dtype("trades")
    assert store.records().metadata == store.metadata
    assert list(store.iter_batches()) == []
    assert (store.counts, store.time_range) == ({}, None)
    assert "records=none" in repr(store)


def test_filters_reach_every_file(tmp_path: Any) -> None:
    for i in range(3):
        (tmp_path / f"{i}.dbn").write_bytes(
            streams.header(start=i, end=50) + streams.trades(10) + streams.trades(10)
        )
    array = dbnfast.read(tmp_path).filter(instrument_ids=104).to_ndarray()
    assert array["instrument_id"].tolist() == [104] * 6


# --- symbols of live data ---------------------------------------------------------------------


def mapping(instrument_id: int, symbol: str) -> bytes:
    texts = bytes(72) + bytes(1) + symbol.encode().ljust(71, b"\0")
    stamps = struct.pack("<QQ", UNDEFINED, UNDEFINED)
    return streams.record(0x16, 176, instrument_id=instrument_id, body=texts + stamps)


def live() -> bytes:
    """Trades 0 to 5 of instruments 100 to 105, renamed between 2 and 3."""
    names = b"".join(mapping(100 + i, f"OLD{i}") for i in range(6))
    again = b"".join(mapping(100 + i, f"NEW{i}") for i in range(6))
    trades = streams.walk(streams.trades(6))
    return streams.header(schema=None) + names + b"".join(trades[:3]) + again + b"".join(trades[3:])


SYMBOLS = ["OLD0", "OLD1", "OLD2", "NEW3", "NEW4", "NEW5"]


@pytest.mark.parametrize("block", [1020, 16 << 20])
def test_a_filter_does_not_hide_mappings(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", block)
    store = dbnfast.read(live())
    assert store.to_df(schema="trades")["symbol"].tolist() == SYMBOLS
    by_type = store.filter("trades")
    assert by_type.to_df()["symbol"].tolist() == SYMBOLS
    assert by_type.to_arrow()["symbol"].to_pylist() == SYMBOLS
    assert [s for f in by_type.to_df(count=2) for s in f["symbol"]] == SYMBOLS
    out = io.BytesIO()
    by_type.to_parquet(out)
    assert pandas.read_parquet(out)["symbol"].tolist() == SYMBOLS
    late = store.filter(start=10**18 + 1000 + 4)
    assert late.to_df(schema="trades")["symbol"].tolist() == SYMBOLS[4:]
    assert store.filter(publishers=[9]).to_df(schema="trades").empty
    assert by_type.counts == {0: 6}  # they are seen, and not given out
    assert len(by_type.records()) == 6


def test_mappings_themselves_can_be_filtered() -> None:
    pytest.importorskip("pandas")
    frame = dbnfast.read(live()).filter(RType.SYMBOL_MAPPING, instrument_ids=[101]).to_df()
    assert frame["symbol"].tolist() == ["OLD1", "NEW1"]


@pytest.mark.parametrize("seed", range(20))
def test_passes_is_select(seed: int) -> None:
    rng = random.Random(seed)
    wanted: dict[str, Any] = {
        "schema": rng.choice((None, "trades", "ohlcv-1m", [RType.TRADES, RType.OHLCV_1M])),
        "instrument_ids": rng.choice((None, 1, [0, 2])),
        "publishers": rng.choice((None, [1, 2])),
        "start": rng.choice((None, T0 + 50)),
        "end": rng.choice((None, T0 + 200)),
    }
    records = dbnfast.scan(DATA)
    hits = Filter(None, **wanted).passes(
        headers.record_types(records), headers.instrument_ids(records),
        headers.publisher_ids(records), headers.index_times(records),
    )  # fmt: skip
    found = b"".join(r for r, hit in zip(streams.walk(BODY), hits, strict=True) if hit)
    assert found == records.filter(**wanted).tobytes()


HALF = datetime.datetime(2001, 9, 9, 1, 46, 40, 1)  # T0 and a microsecond
BERLIN = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    "time",
    [
        HALF,
        HALF.replace(tzinfo=datetime.UTC),
        HALF.replace(tzinfo=datetime.UTC).astimezone(BERLIN),
        np.datetime64(T0 + 1000, "ns"),
        np.uint64(T0 + 1000),
        "pandas",
        "pandas in Berlin",
        "2001-09-09T01:46:40.000001",
        "2001-09-09 01:46:40.000001000Z",
        "2001-09-09T03:46:40.000001+02:00",
    ],
    ids=str,
)
def test_times_of_every_kind(time: Any) -> None:
    if isinstance(time, str) and time.startswith("pandas"):
        pandas = pytest.importorskip("pandas")
        zone = "Europe/Berlin" if "Berlin" in time else None
        time = pandas.Timestamp(T0 + 1000, tz="UTC").tz_convert(zone)
    records = dbnfast.scan(streams.header(schema=None) + stream(3000))
    before, after = records.filter(end=time), records.filter(start=time)
    assert before.tobytes() == records.filter(end=T0 + 1000).tobytes()
    assert after.tobytes() == records.filter(start=T0 + 1000).tobytes()
    assert 0 < len(before) < len(records)
    assert 0 < len(after) < len(records)
    today, tomorrow = datetime.date(2001, 9, 9), datetime.date(2001, 9, 10)
    assert records.filter(start=today, end=tomorrow).tobytes() == kept(
        records.tobytes(), start=1, end=UNDEFINED
    )


def test_a_filter_that_ends_before_it_starts() -> None:
    said = "start is 2001-09-10, which is after the end, 2001-09-09"
    with pytest.raises(ValueError, match=said):
        dbnfast.read(DATA).filter(start="2001-09-10", end=datetime.date(2001, 9, 9))


@pytest.mark.parametrize(
    "time",
    [
        datetime.date(1969, 12, 31),
        datetime.datetime(2262, 4, 12),
        np.datetime64("NaT", "ns"),
        "2001-02-30",
        "1969-12-31",
        "nat",
    ],
    ids=str,
)
def test_times_that_no_filter_has(time: Any) -> None:
    if isinstance(time, str) and time == "nat":
        time = pytest.importorskip("pandas").NaT
    with pytest.raises(ValueError, match="start is"):
        dbnfast.scan(DATA).filter(start=time)


# --- filters by symbol ------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1020, 16 << 20])
def test_a_filter_by_symbol(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", block)
    named = dbnfast.read(live()).filter(symbols=["NEW4", "OLD1", "NEW1"])
    assert named.counts == {0: 2, 0x16: 3}  # the mapping records of these too
    assert named.to_df(schema="trades")["symbol"].tolist() == ["OLD1", "NEW4"]
    trades = dbnfast.read(live()).filter("trades", symbols=["NEW4", "OLD1", "NEW1"])
    assert trades.counts == {0: 2}
    assert [record.instrument_id for record in trades] == [101, 104]
    assert trades.to_df()["symbol"].tolist() == ["OLD1", "NEW4"]
    assert trades.to_arrow()["symbol"].to_pylist() == ["OLD1", "NEW4"]
    assert [s for f in trades.to_df(count=1) for s in f["symbol"]] == ["OLD1", "NEW4"]
    assert trades.to_ndarray()["instrument_id"].tolist() == [101, 104]
    for store, schema in ((named, "trades"), (trades, None)):
        csv, json = io.BytesIO(), io.BytesIO()
        store.to_csv(csv, schema=schema)
        rows = csv.getvalue().decode().splitlines()[1:]
        assert [row.rsplit(",")[-1] for row in rows] == ["OLD1", "NEW4"]
        store.to_json(json, schema="trades")
        assert json.getvalue().count(b"\n") == sum(store.counts.values())
    out = io.BytesIO()
    trades.to_file(out)
    again = dbnfast.read(out.getvalue())
    assert [record.instrument_id for record in again] == [101, 104]


def test_a_filter_by_one_symbol_and_more() -> None:
    one = dbnfast.read(live()).filter("trades", symbols="NEW4", instrument_ids=range(100, 104))
    assert one.counts == {}
    assert dbnfast.read(live()).filter("trades", symbols=[]).counts == {}
    late = dbnfast.read(live()).filter("trades", symbols={"OLD0", "OLD1"}, start=10**18 + 1001)
    assert [record.instrument_id for record in late] == [101]


def test_a_filter_by_symbols_of_the_header() -> None:
    days = [(20010909, 20010910, b"100"), (20010910, 20300101, b"101")]
    lists = bytes(12) + streams.mapping_list([(b"AAA", days)])
    data = streams.header(lists=lists, stype_in=1) + streams.trades(3)
    store = dbnfast.read(data)
    assert [record.instrument_id for record in store.filter(symbols="AAA")] == [100]
    other = store.filter(symbols="BBB")
    other.insert_symbology_json(
        {
            "result": {"BBB": [{"d0": "2001-09-09", "d1": "2001-09-10", "s": 102}]},
            "symbols": ["BBB"], "stype_in": "raw_symbol", "stype_out": "instrument_id",
            "start_date": "2001-09-09", "end_date": "2001-09-10", "partial": [],
            "not_found": [], "message": "OK", "status": 0,
        }
    )  # fmt: skip
    assert [record.instrument_id for record in other] == [102]


@pytest.mark.parametrize("text", ["csv", "json"])
def test_smart_symbols_of_a_filter_are_those_of_frames(text: str) -> None:
    # text has the number, frames have the name that was asked for
    body = b"\1" + b"ES.c.0".ljust(71, b"\0") + b"\1" + b"100".ljust(71, b"\0")
    stamps = struct.pack("<QQ", UNDEFINED, UNDEFINED)
    given = streams.record(0x16, 176, instrument_id=100, body=body + stamps)
    store = dbnfast.read(streams.header(schema=None) + given + streams.trades(3))
    out = io.BytesIO()
    trades = store.filter("trades", symbols="ES.c.0")
    getattr(trades, f"to_{text}")(out, schema="trades")
    lines = out.getvalue().splitlines()[text == "csv" :]
    assert len(lines) == 1
    assert b"100" in lines[0]


def test_a_symbol_that_nothing_has() -> None:
    store = dbnfast.read(live()).filter(symbols=["OLD1", "NEW9"])
    said = r"nothing has the symbol 'NEW9' \(did you mean 'NEW\d'\?\), expected one of OLD0, "
    with pytest.warns(dbnfast.SelectionWarning, match=said) as caught:
        assert len(store.records()) == 2
    assert [warning.filename for warning in caught] == [__file__]
    assert "symbol-mapping" in repr(store)  # without a warning
    empty = dbnfast.read(streams.header() + streams.trades(2)).filter(symbols="A")
    with pytest.warns(dbnfast.SelectionWarning, match="nothing has the symbol 'A'$"):
        assert len(empty.records()) == 0
