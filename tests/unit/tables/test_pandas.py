"""Frames: options, odd values, symbols, threads, and where they differ from the official ones."""

from __future__ import annotations

import datetime
import decimal
import struct
import warnings
import zoneinfo
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import RType
from dbnfast._util import threads
from dbnfast.tables import columns
from helpers import streams

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

T0 = 10**18  # 2001-09-09 01:46:40
DAY = 86_400 * 10**9
MIDNIGHT = T0 - T0 % DAY
UNDEFINED = 2**64 - 1
UNDEF_PRICE = 2**63 - 1


def trade(
    ts: int = T0, price: int = 10**9, instrument_id: int = 100, action: bytes = b"T", **more: Any
) -> bytes:
    return (
        struct.pack("<BBHIQ", 12, 0, 1, instrument_id, more.get("ts_event", ts))
        + struct.pack("<qIccBB", price, 1, action, more.get("side", b"A"), 0, 0)
        + struct.pack("<QiI", ts, 7, 3)
    )


def mappings(*rows: tuple[bytes, list[tuple[int, int, bytes]]]) -> bytes:
    return bytes(12) + streams.mapping_list(rows)


def store_of(*records: bytes, **header: Any) -> dbnfast.Store:
    return dbnfast.read(streams.header(**header) + b"".join(records))


def symbols(store: dbnfast.Store, **options: Any) -> list[Any]:
    return [None if pd.isna(s) else s for s in store.to_df(**options)["symbol"]]


def official(store: dbnfast.Store, **options: Any) -> Any:
    databento = pytest.importorskip("databento")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return databento.DBNStore.from_bytes(store.raw).to_df(**options)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every block hold 21 trades."""
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", 1020)


# --- values -----------------------------------------------------------------------------------

PRICES = (0, 1, -1, 10**9, 123_456_789, 2**53 + 1, UNDEF_PRICE - 1, -(2**63), -(2**63) + 1)


def test_prices_are_exact() -> None:
    store = store_of(*(trade(price=price) for price in PRICES))
    assert store.to_df(price_type="fixed")["price"].tolist() == list(PRICES)
    assert store.to_df()["price"].tolist() == [price / 10**9 for price in PRICES]
    made = store.to_df(price_type="decimal")["price"].tolist()
    assert made == [decimal.Decimal(price).scaleb(-9) for price in PRICES]
    pd.testing.assert_frame_equal(
        store.to_df(price_type="decimal"), official(store, price_type="decimal")
    )


def test_decimals_are_exact_beside_undefined_ones() -> None:
    """The official package goes by way of floats here."""
    store = store_of(*(trade(price=price) for price in (2**53 + 1, UNDEF_PRICE, -(2**63))))
    made = store.to_df(price_type="decimal")["price"].tolist()
    assert made[0] == decimal.Decimal("9007199.254740993")
    assert made[1].is_nan()
    assert made[2] == decimal.Decimal("-9223372036.854775808")
    theirs = official(store, price_type="decimal")["price"].tolist()
    assert theirs[0] != made[0]


def test_decimals_do_not_depend_on_the_callers_context() -> None:
    store = store_of(trade(price=123_456_789_012_345_678))
    with decimal.localcontext(decimal.Context(prec=3)):
        made = store.to_df(price_type="decimal")["price"].tolist()
    assert made == [decimal.Decimal("123456789.012345678")]


def test_undefined_values() -> None:
    store = store_of(trade(UNDEFINED, UNDEF_PRICE), trade(2**63), trade(2**63 - 1), trade(0))
    frame = store.to_df()
    assert np.isnan(frame["price"].iloc[0])
    assert frame.index.isna().tolist() == [True, True, False, False]
    assert frame.index[2].value == 2**63 - 1
    assert frame.index[3] == pd.Timestamp(0, tz="UTC")
    raw = store.to_df(price_type="fixed", pretty_ts=False)
    assert raw["price"].iloc[0] == UNDEF_PRICE
    assert raw.index.tolist() == [UNDEFINED, 2**63, 2**63 - 1, 0]
    assert raw.index.dtype == np.uint64
    assert frame["symbol"].isna().all()


def test_chars_above_ascii_are_latin_1() -> None:
    store = store_of(trade(action=b"\xe9", side=b"\x80"), trade(action=b"\0"), trade())
    assert store.to_df()["action"].tolist() == ["é", "", "T"]
    assert store.to_df()["side"].tolist() == ["\x80", "A", "A"]
    with pytest.raises(UnicodeDecodeError):
        official(store)
    assert store.to_df(categorical=True)["action"].tolist() == ["é", "", "T"]


def test_texts() -> None:
    array = dbnfast.empty("definition", 5)
    texts = [b"ESH6", b"a\0b", "é€".encode(), b"\xff\x80", b"x" * 71]
    array["raw_symbol"] = texts
    array["asset"] = [b"", b"\xc3", b"\xa9", b"q", b""]  # no character across two rows
    frame = store_of(array.tobytes(), schema="definition").to_df()
    assert frame["raw_symbol"].tolist() == ["ESH6", "a\0b", "é€", "ÿ\x80", "x" * 71]
    assert frame["asset"].tolist() == ["", "Ã", "©", "q", ""]
    assert frame["currency"].tolist() == [""] * 5
    assert frame["raw_symbol"].dtype == "str"


# --- options ----------------------------------------------------------------------------------

NEW_YORK = zoneinfo.ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    "tz", ["America/New_York", NEW_YORK, datetime.timezone(datetime.timedelta(hours=-3)), "UTC"]
)
def test_time_zones(tz: Any) -> None:
    store = store_of(trade(), trade(UNDEFINED))
    frame = store.to_df(tz=tz)
    pd.testing.assert_frame_equal(frame, official(store, tz=tz))
    assert frame.index[0].value == T0
    wanted = zoneinfo.ZoneInfo(tz) if isinstance(tz, str) else tz
    assert str(frame.index.tz) == str(wanted)
    assert str(frame["ts_event"].dt.tz) == str(wanted)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"price_type": "money"}, ValueError, "money"),
        ({"tz": "UTC", "pretty_ts": False}, ValueError, "pretty_ts"),
        ({"tz": "Mars/Olympus"}, ValueError, "Mars/Olympus"),
        ({"tz": ""}, ValueError, "time zone"),
        ({"tz": "/etc/passwd"}, ValueError, "time zone"),
        ({"tz": 5}, TypeError, "tzinfo"),
        ({"columns": ["price", "nothing"]}, ValueError, "'nothing'.*price"),
        ({"columns": "price"}, TypeError, "list"),
        ({"columns": ["symbol"], "map_symbols": False}, ValueError, "'symbol'"),
        ({"schema": "nonsense"}, ValueError, "nonsense"),
    ],
)
def test_options_are_checked(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        store_of(trade()).to_df(**options)


@pytest.mark.parametrize(
    "names",
    [["price"], ["symbol", "price"], ["side", "ts_event", "action"], [], ["ts_recv", "size"], None],
)
def test_columns_are_those_asked_for(names: list[str] | None) -> None:
    one = mappings((b"AAA", [(20010101, 20300101, b"100")]))
    store = store_of(trade(), trade(price=5), lists=one)
    whole = store.to_df()
    wanted = list(whole.columns) if names is None else [n for n in names if n != "ts_recv"]
    made = store.to_df(columns=names)
    pd.testing.assert_frame_equal(made, whole[wanted], check_column_type=bool(wanted))
    parts = pd.concat(store.to_df(columns=names, count=1))
    pd.testing.assert_frame_equal(parts, made)


def test_columns_make_only_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def make(rows: Any, requests: Any) -> Any:
        asked.extend(request.name for request in requests)
        return columns.make(rows, requests)

    monkeypatch.setattr("dbnfast.tables.pandas.make", make)
    # symbols that nobody asks for are not looked up: these mappings could not be used
    store = store_of(
        trade(), stype_in=1, stype_out=1, lists=mappings((b"A", [(20010101, 20300101, b"B")]))
    )
    store.to_df(columns=["price"])
    assert asked == ["ts_recv", "price"]
    with pytest.raises(ValueError, match="instrument_id"):
        store.to_df()


def test_categories() -> None:
    one = mappings((b"AAA", [(20010101, 20300101, b"100")]))
    store = store_of(trade(action=b"Q"), trade(instrument_id=5), lists=one)
    frame = store.to_df(categorical=True)
    plain = store.to_df()
    for name in ("action", "side", "symbol"):
        assert isinstance(frame[name].dtype, pd.CategoricalDtype)
        assert frame[name].astype("str").fillna("-").tolist() == plain[name].fillna("-").tolist()
    assert {"T", "A", "C", "Q"} <= set(frame["action"].cat.categories)
    pd.testing.assert_frame_equal(
        frame.drop(columns=["action", "side", "symbol"]),
        plain.drop(columns=["action", "side", "symbol"]),
    )


def test_ts_out_is_a_column() -> None:
    data = streams.header(ts_out=1) + streams.trades(3, ts_out=True)
    store = dbnfast.read(data)
    for _ in range(2):
        frame = store.to_df()
        assert list(frame.columns[-2:]) == ["ts_out", "symbol"]
        assert frame["ts_out"].astype("int64").tolist() == [2 * 10**18 + i for i in range(3)]
        assert frame["sequence"].tolist() == [0, 1, 2]
    raw = store.to_df(pretty_ts=False, map_symbols=False)
    assert raw.columns[-1] == "ts_out"
    assert raw["ts_out"].dtype == np.uint64
    assert store.to_df(columns=["ts_out"]).columns.tolist() == ["ts_out"]


def test_ts_out_of_records_longer_than_their_struct() -> None:
    longer = streams.header(ts_out=1) + b"".join(
        streams.trade(i, extra=bytes(8) + streams.stamp(i)) for i in range(3)
    )
    frame = dbnfast.read(longer).to_df(pretty_ts=False)
    assert frame["ts_out"].tolist() == [2 * 10**18 + i for i in range(3)]


def test_tcbbo_has_its_own_struct() -> None:
    array = dbnfast.empty("tcbbo", 2)
    array["action"] = b"T"
    array["ts_in_delta"] = 5
    frame = store_of(array.tobytes(), schema="tcbbo").to_df()
    assert frame["action"].tolist() == ["T", "T"]
    assert frame["ts_in_delta"].tolist() == [5, 5]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_columns_are_those_of_the_version(version: int) -> None:
    raw = dbnfast.empty("definition", 2, version=version).tobytes()
    frame = dbnfast.read(streams.header(version, "definition") + raw).to_df()
    assert ("leg_count" in frame) == (version == 3)
    assert ("trading_reference_price" in frame) == (version < 3)
    mixed = dbnfast.read(streams.header(version, None) + raw).to_df(schema="definition")
    assert "leg_count" in mixed


def test_mixed_data() -> None:
    store = dbnfast.read(streams.header(schema=None) + streams.mixed(5))
    with pytest.raises(dbnfast.MixedRecordsError):
        store.to_df()
    with pytest.raises(dbnfast.MixedRecordsError):
        list(store.to_df(count=1))
    assert store.to_df(schema="trades")["sequence"].tolist() == list(range(5))
    system = store.to_df(schema=RType.SYSTEM)
    assert system["msg"].tolist() == ["Heartbeat"] * 5
    with pytest.warns(dbnfast.SelectionWarning, match="no record of mbo"):
        assert store.to_df(schema="mbo").shape == (0, 14)
    with pytest.warns(dbnfast.SelectionWarning, match="no record of mbo"):
        assert list(store.to_df(schema="mbo", count=3)) == []


def test_one_type_after_the_other_is_mixed_too(small_blocks: None) -> None:
    bars = b"".join(streams.record(0x21, 56) for _ in range(60))
    store = dbnfast.read(streams.header(schema=None) + streams.trades(60) + bars)
    with pytest.raises(dbnfast.MixedRecordsError):
        list(store.to_df(count=20))
    assert [len(frame) for frame in store.to_df(schema="ohlcv-1m", count=25)] == [25, 25, 10]


def test_no_records_and_no_schema() -> None:
    with pytest.raises(ValueError, match="no schema"):
        dbnfast.read(streams.header(schema=None)).to_df()
    assert dbnfast.read(streams.header(schema=None)).to_df(schema="trades").shape == (0, 13)


@pytest.mark.parametrize("schema", list(dbnfast.Schema), ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"pretty_ts": False}, {"categorical": True}, {"price_type": "decimal"}]
)
def test_no_records(schema: str, options: dict[str, Any]) -> None:
    empty = dbnfast.read(streams.header(schema=str(schema))).to_df(**options)
    one = dbnfast.read(streams.header(schema=str(schema)) + dbnfast.empty(schema, 1).tobytes())
    frame = one.to_df(**options)
    assert len(empty) == 0
    assert list(empty.columns) == list(frame.columns)
    for name in set(frame.columns) - {"symbol"}:
        assert empty[name].dtype == frame[name].dtype, name
    assert empty.index.dtype == frame.index.dtype


# --- ownership --------------------------------------------------------------------------------


def test_frames_are_writable_and_independent() -> None:
    data = bytearray(streams.header() + streams.trades(100))
    store = dbnfast.read(data)
    frame, other = store.to_df(), store.to_df()
    before = frame.copy(deep=True)
    data[-48 * 100 :] = bytes(48 * 100)
    pd.testing.assert_frame_equal(frame, before)
    for name in frame.columns:
        frame.loc[frame.index[0], name] = frame[name].iloc[-1]
    frame["price"] *= 2
    frame["price"].to_numpy()
    pd.testing.assert_frame_equal(other, before)
    assert bytes(data[-48:]) == bytes(48)


def test_frames_outlive_their_store(tmp_path: Any) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(streams.header() + streams.trades(1000))
    frame = dbnfast.read(path).to_df()
    path.unlink()
    assert frame["sequence"].sum() == 499_500


# --- threads and blocks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"price_type": "decimal"}, {"categorical": True}, {"pretty_ts": False}]
)
def test_threads_make_the_same_frame(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    one = mappings(
        *((f"S{i}".encode() * 5, [(20010101, 20300101, str(100 + i).encode())]) for i in range(40))
    )
    records = [
        trade(T0 + i if i % 7 else UNDEFINED, i if i % 11 else UNDEF_PRICE, 100 + i % 50,
              b"TAC\0\xe9"[i % 5 : i % 5 + 1])
        for i in range(3000)
    ]  # fmt: skip
    store = store_of(*records, lists=one)
    whole = store.to_df(**options)
    parts = pd.concat(store.to_df(count=700, **options))
    monkeypatch.setattr(columns, "ROWS_PER_THREAD", 100)
    monkeypatch.setattr(threads, "cores", lambda: 7)
    pd.testing.assert_frame_equal(store.to_df(**options), whole)
    pd.testing.assert_frame_equal(parts, whole)
    table = store.to_arrow()
    monkeypatch.setattr(threads, "cores", lambda: 1)
    assert store.to_arrow() == table


@pytest.mark.parametrize("count", [1, 20, 21, 22, 64, 1000])
def test_frames_of_a_count_cross_blocks(small_blocks: None, count: int) -> None:
    one = mappings(
        *((f"S{i}".encode(), [(20010101, 20300101, str(100 + i).encode())]) for i in range(10))
    )
    store = store_of(*(trade(T0 + i, i, 100 + i % 12) for i in range(100)), lists=one)
    frames = list(store.to_df(count=count))
    assert [len(frame) for frame in frames[:-1]] == [count] * (len(frames) - 1)
    assert 0 < len(frames[-1]) <= count
    joined = pd.concat(frames)
    assert [None if pd.isna(s) else s for s in joined.pop("symbol")] == symbols(store)
    pd.testing.assert_frame_equal(joined, store.to_df(map_symbols=False))


def test_good_frames_come_before_the_error(small_blocks: None) -> None:
    data = streams.header() + streams.trades(100) + bytes([1, 0]) + bytes(46)
    store = dbnfast.read(data)
    frames = store.to_df(count=10)
    assert [len(next(frames)) for _ in range(10)] == [10] * 10
    with pytest.raises(dbnfast.InvalidRecordError, match="record 100"):
        next(frames)
    with pytest.raises(dbnfast.InvalidRecordError) as caught:
        store.to_df()
    assert caught.value.good is not None
    assert len(caught.value.good) == 100
    with pytest.warns(dbnfast.TruncatedWarning):
        assert len(dbnfast.read(data[: -48 - 3]).to_df()) == 99


# --- symbols ----------------------------------------------------------------------------------


def test_symbols_change_at_midnight_utc() -> None:
    one = mappings(
        (b"AAA", [(20010909, 20010910, b"100")]), (b"BBB", [(20010910, 20010911, b"100")])
    )
    times = (MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY - 1, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)
    store = store_of(*(trade(ts, ts_event=T0) for ts in times), lists=one)
    assert symbols(store) == [None, "AAA", "AAA", "BBB", None]
    assert symbols(store, pretty_ts=False) == symbols(store)
    assert symbols(store, tz="Asia/Tokyo") == symbols(store)
    pd.testing.assert_frame_equal(store.to_df(), official(store))


def test_symbols_of_undefined_times() -> None:
    one = mappings((b"AAA", [(19700101, 22620101, b"100")]))
    assert symbols(store_of(trade(UNDEFINED), trade(), lists=one)) == [None, "AAA"]


@pytest.mark.parametrize(
    "rows",
    [
        [(b"AAA", [])],
        [(b"AAA", [(20010909, 20010909, b"100")])],
        [(b"AAA", [(20010909, 20010910, b"")])],
        [(b"AAA", [(20010909, 20010910, b"101")])],
        [(b"AAA", [(20010910, 20010911, b"100")])],
    ],
    ids=["no interval", "start is end", "no symbol", "another id", "another day"],
)
def test_mappings_that_map_nothing(rows: Any) -> None:
    store = store_of(trade(), trade(), lists=mappings(*rows))
    assert symbols(store) == [None, None]
    assert store.to_df()["symbol"].dtype == object
    pd.testing.assert_frame_equal(store.to_df(), official(store))


def test_mappings_from_ids_to_symbols() -> None:
    one = mappings((b"100", [(20010101, 20300101, b"AAA")]))
    store = store_of(trade(), stype_in=0, stype_out=1, lists=one)
    assert symbols(store) == ["AAA"]
    pd.testing.assert_frame_equal(store.to_df(), official(store))


def test_mapping_off() -> None:
    one = mappings((b"AAA", [(20010101, 20300101, b"no id")]))  # would raise
    assert "symbol" not in store_of(trade(), lists=one).to_df(map_symbols=False)
    with pytest.raises(ValueError, match="no id"):
        store_of(trade(), lists=one).to_df()


def test_inserted_symbology() -> None:
    store = store_of(trade(), trade(instrument_id=7))
    assert symbols(store) == [None, None]
    store.insert_symbology_json(
        {
            "result": {"ZZZ": [{"d0": "2001-09-09", "d1": "2001-09-10", "s": "7"}]},
            "symbols": ["ZZZ"], "stype_in": "raw_symbol", "stype_out": "instrument_id",
            "start_date": "2001-09-09", "end_date": "2001-09-10", "partial": [], "not_found": [],
            "message": "OK", "status": 0,
        }
    )  # fmt: skip
    assert symbols(store) == [None, "ZZZ"]


def mapping(instrument_id: int, symbol: str, given: str = "ES.c.0", ts: int = T0) -> bytes:
    body = b"\1" + given.encode().ljust(71, b"\0") + b"\1" + symbol.encode().ljust(71, b"\0")
    stamps = struct.pack("<QQ", UNDEFINED, UNDEFINED)
    return streams.record(0x16, 176, instrument_id=instrument_id, ts_event=ts, body=body + stamps)


@pytest.mark.parametrize("block", [1020, 1100, 16 << 20])
def test_live_mappings_hold_from_their_place_on(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", block)
    records, wanted = [trade(T0)], [None]
    for i in range(30):
        records.append(mapping(100, f"S{i % 4}"))
        for j in range(i % 5):
            records.append(trade(T0 + j))  # times say nothing
            wanted.append(f"S{i % 4}")
        records.append(streams.record(0x17, 320))
        records.append(trade(T0, instrument_id=7))
        wanted.append(None)
    store = store_of(*records, schema=None)
    assert symbols(store, schema="trades") == wanted
    assert symbols(store, schema="trades") == wanted  # a second time, from the beginning
    frames = list(store.to_df(schema="trades", count=9))
    assert [None if pd.isna(s) else s for f in frames for s in f["symbol"]] == wanted
    assert store.to_arrow("trades")["symbol"].to_pylist() == wanted
    grouped = [
        None if pd.isna(s) else s
        for frame in store.to_df(schema="trades", count=9, categorical=True)
        for s in frame["symbol"]
    ]
    assert grouped == wanted


def test_smart_symbols_of_live_data() -> None:
    store = store_of(mapping(100, "100", "ES.c.0"), trade(), schema=None)
    assert symbols(store, schema="trades") == ["ES.c.0"]
    assert symbols(store, schema=RType.SYMBOL_MAPPING) == ["ES.c.0"]
