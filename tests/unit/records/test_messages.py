"""Record objects: every class against the official one, and what the official ones lack."""

from __future__ import annotations

import copy
import datetime
import inspect
import math
import pickle
import random
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Action, Record, RType, Side
from dbnfast.layouts.table import LAYOUTS
from dbnfast.records import messages
from dbnfast.records.messages import RECORD_CLASSES, record_table
from helpers import streams
from helpers.places import FIXTURES

# the official decoder raises on a record of unknown type
UNKNOWN = ("unknown-rtype", "second-metadata")
FILES = sorted(path.name for path in FIXTURES.glob("*.dbn") if not path.name.startswith(UNKNOWN))
CASES = [
    (name, policy)
    for name in FILES
    for policy in ("AS_IS", "UPGRADE_TO_V3")
    # the official upgrade trusts the version in the header, which lies there
    if policy == "AS_IS" or not name.startswith("mixed-versions")
]
CLASSES = [RECORD_CLASSES[layout.name] for layout in LAYOUTS]
by_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def official_class(name: str) -> Any:
    dbn = pytest.importorskip("databento_dbn")
    return getattr(dbn, name, None) or getattr(dbn.v2, name.removesuffix("V2"))


def undefined(cls: type[Record], ts_out: bool = False) -> bytes:
    assert cls._layout is not None
    return cls._layout.undefined(ts_out).tobytes()


# against the official classes


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_every_attribute_is_the_official(name: str, policy: str) -> None:
    pytest.importorskip("databento_dbn")
    data = (FIXTURES / name).read_bytes()
    theirs = streams.official(data, policy)[1:]
    records = dbnfast.scan(data)
    ours = list(records.objects(upgrade=policy != "AS_IS"))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert type(mine).__name__ == type(other).__name__.removeprefix("v2.")
        if not name.startswith("long-records"):  # theirs is the beginning alone
            assert bytes(mine) == bytes(other)
            streams.assert_same_record(mine, other)


@by_class
@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_read_as_the_official_class_reads_them(cls: type[Record], seed: int) -> None:
    """Codes that no enumeration has among them; texts are kept ASCII."""
    dbn = pytest.importorskip("databento_dbn")
    assert cls._layout is not None
    rng = random.Random(f"{cls.__name__} {seed}")
    raw = bytearray(undefined(cls))
    for field in cls._layout.fields[2:]:
        if field.kind == "cstr":
            text = bytes(rng.choices(b"AZaz09. -", k=rng.randint(0, field.size - 1)))
            raw[field.offset : field.offset + field.size] = text.ljust(field.size, b"\0")
        elif field.raw_byte:  # the official classes make any code one that they know
            raw[field.offset] = ord("N" if field.name == "user_defined_instrument" else "A")
        elif field.kind == "char":
            raw[field.offset] = rng.choice(b"ABCFKMNRSTXYZ~")
        elif field.kind == "timestamp":
            struct.pack_into("<Q", raw, field.offset, rng.randrange(2**62))
        elif field.kind == "enum":
            assert field.enum is not None
            code = rng.choice([int(member) for member in field.enum])  # type: ignore[call-overload]
            raw[field.offset : field.offset + field.size] = code.to_bytes(field.size, "little")
        else:
            raw[field.offset : field.offset + field.size] = rng.randbytes(field.size)
    if cls.__name__ == "StatusMsg":
        raw[30:33] = bytes(rng.choices(b"YN~", k=3))
    version = cls._layout.versions[-1]
    found = streams.official(streams.header(version, None) + bytes(raw))
    assert type(found[1]).__module__.startswith(dbn.__name__)
    mine = Record.from_bytes(raw)
    assert type(mine) is cls
    streams.assert_same_record(mine, found[1])


@by_class
def test_isinstance_asks_the_class_that_cannot_change(cls: type[Record]) -> None:
    record = Record.from_bytes(undefined(cls))
    own = type("Own", (cls,), {})()
    for one, its in ((record, cls), (own, type(own))):
        assert one.__class__ is its
        assert isinstance(one, (dbnfast.Metadata, cls, Record))
        others = set(RECORD_CLASSES.values()) - {cls}
        assert not any(isinstance(one, other) for other in others)
        with pytest.raises(AttributeError):
            one.__class__ = dbnfast.Metadata  # type: ignore[assignment]
        with pytest.raises(AttributeError):
            del one.__class__
    assert cls.__class__ is type


@by_class
def test_class_attributes_are_the_official(cls: type[Record]) -> None:
    theirs = official_class(cls.__name__)
    names = {name for name in dir(theirs) if not name.startswith("__")}
    assert names - set(dir(cls)) == set()
    assert cls.size_hint == theirs.size_hint


def test_names_of_shared_classes() -> None:
    assert dbnfast.TBBOMsg is dbnfast.MBP1Msg
    assert dbnfast.TCBBOMsg is dbnfast.CMBP1Msg
    assert dbnfast.BBO1SMsg is dbnfast.BBO1MMsg is dbnfast.BBOMsg
    assert dbnfast.CBBO1SMsg is dbnfast.CBBO1MMsg is dbnfast.CBBOMsg
    assert {cls.__name__ for cls in CLASSES} == set(RECORD_CLASSES)
    assert record_table() is record_table()


# fields


@by_class
def test_undefined_values(cls: type[Record]) -> None:
    record = Record.from_bytes(undefined(cls, ts_out=True), ts_out=True)
    assert type(record) is cls
    for name in cls._price_fields:
        assert getattr(record, name) == dbnfast.UNDEF_PRICE
        assert math.isnan(getattr(record, f"pretty_{name}"))
    for name in (*cls._timestamp_fields, "ts_out", "ts_index"):
        assert getattr(record, name) == dbnfast.UNDEF_TIMESTAMP
        assert getattr(record, f"pretty_{name}") is None


def test_pretty_values() -> None:
    pandas = pytest.importorskip("pandas")
    trade = dbnfast.TradeMsg(
        price=-1_500_000_001, ts_event=1_609_113_600_246_821_748, ts_recv=0, ts_out=2**63 - 1
    )
    assert trade.pretty_price == -1.500000001
    event = trade.pretty_ts_event
    assert type(event) is pandas.Timestamp
    assert event == pandas.Timestamp("2020-12-28T00:00:00.246821748", tz="UTC")
    assert (event.tz, event.unit, event.value) == (datetime.UTC, "ns", 1_609_113_600_246_821_748)
    assert f"{event:%H:%M}" == "00:00"
    assert event.date() == datetime.date(2020, 12, 28)
    assert event.isoformat() == "2020-12-28T00:00:00.246821748+00:00"
    assert event.tz_convert("America/New_York").strftime("%d %H") == "27 19"
    assert event >= pandas.date_range("2020-12-28", periods=1, tz="UTC")
    assert trade.pretty_ts_recv == trade.pretty_ts_index == pandas.Timestamp(0, tz="UTC")
    assert trade.pretty_ts_out is not None
    assert trade.pretty_ts_out.value == 2**63 - 1


@pytest.mark.parametrize("ns", [0, 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1])
def test_pretty_times_are_the_official(ns: int) -> None:
    pd = pytest.importorskip("pandas")
    dbn = pytest.importorskip("databento_dbn")
    theirs = dbn.TradeMsg(1, 2, ns, 4, 5, dbn.Action.TRADE, dbn.Side.BID, 0, ns, ts_out=ns)
    mine = Record.from_bytes(bytes(theirs), ts_out=len(bytes(theirs)) == 56)
    for name in ("pretty_ts_event", "pretty_ts_recv", "pretty_ts_index", "pretty_ts_out"):
        found, wanted = getattr(mine, name), getattr(theirs, name)
        if wanted is not None and wanted.year == 1969:  # with pandas 3.0, in which it wraps around
            wanted = pd.NaT
        assert (type(found), repr(found)) == (type(wanted), repr(wanted)), name


WITHOUT_PANDAS = """
import sys
sys.modules["pandas"] = None  # as if it were not there
import dbnfast
record = dbnfast.TradeMsg(ts_recv=5, ts_event=2**64 - 1, ts_out=7)
print(record.ts_recv, record.ts_index, record.pretty_ts_event, repr(record)[:58])
for name in ("pretty_ts_recv", "pretty_ts_index", "pretty_ts_out"):
    try:
        getattr(record, name)
    except dbnfast.MissingExtraError as error:
        print(name, error.extra, error)
"""


def test_without_pandas_only_pretty_times_are_missing() -> None:
    output = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, check=True
    ).stdout
    how = "pandas pandas is not installed; it comes with the extra: pip install 'dbnfast[pandas]'"
    assert output.splitlines() == [
        "5 5 None TradeMsg(ts_recv=5, pretty_ts_recv='1970-01-01T00:00:00.00",
        f"pretty_ts_recv {how}",
        f"pretty_ts_index {how}",
        f"pretty_ts_out {how}",
    ]


@pytest.mark.parametrize("ts_out", [False, True], ids=["plain", "ts_out"])
def test_ts_out_is_undefined_where_the_stream_has_none(ts_out: bool) -> None:
    raw = streams.trade(3, extra=streams.stamp(3))
    record = Record.from_bytes(raw, ts_out=ts_out)
    if ts_out:
        pytest.importorskip("pandas")
    assert record.ts_out == (2 * 10**18 + 3 if ts_out else 2**64 - 1)
    assert (record.pretty_ts_out is None) is not ts_out
    assert bytes(record) == raw
    assert record.record_size == 56


def test_record_size_is_an_attribute_and_a_method() -> None:
    record = Record.from_bytes(streams.trade(0))
    assert record.record_size == record.record_size() == 48  # type: ignore[operator]
    assert type(record.record_size()) is int  # type: ignore[operator]


@by_class
def test_ts_index(cls: type[Record]) -> None:
    pandas = pytest.importorskip("pandas")
    record, index = cls(ts_event=5), 5
    if "ts_recv" in cls._ordered_fields:
        record, index = cls(ts_event=5, ts_recv=6), 6
    assert record.ts_index == index
    assert record.pretty_ts_index == pandas.Timestamp(index, tz="UTC")


@pytest.mark.parametrize(
    ("cls", "offset", "raw", "name", "value"),
    [
        ("TradeMsg", 28, b"Z", "action", "Z"),
        ("TradeMsg", 29, b"\x07", "side", "\x07"),
        ("TradeMsg", 29, b"\xff", "side", "\xff"),
        ("StatusMsg", 24, b"\xe8\x03", "action", 1000),
        ("StatusMsg", 30, b"Q", "is_trading", "Q"),
        ("StatMsg", 56, b"\x0f\x27", "stat_type", 9999),
        ("StatMsg", 60, b"\x09", "update_action", 9),
        ("SystemMsg", 319, b"\x63", "code", 99),
        ("ErrorMsg", 318, b"\x63", "code", 99),
        ("SymbolMappingMsg", 16, b"\xc8", "stype_in", 200),
        ("InstrumentDefMsg", 487, b"?", "instrument_class", "?"),
        ("InstrumentDefMsg", 487, b"\x00", "instrument_class", "\x00"),
    ],
)
def test_unknown_codes_are_given_raw(
    cls: str, offset: int, raw: bytes, name: str, value: Any
) -> None:
    data = bytearray(undefined(RECORD_CLASSES[cls]))
    data[offset : offset + len(raw)] = raw
    record = Record.from_bytes(data)
    assert getattr(record, name) == value
    assert type(getattr(record, name)) is type(value)
    assert repr(value) in repr(record)


def test_known_codes_are_members() -> None:
    record = Record.from_bytes(streams.trade(0))
    assert record.action is Action.TRADE
    assert record.side is Side.ASK
    assert record.rtype is RType.MBP_0
    assert record.action == "T"


@pytest.mark.parametrize(
    ("raw", "value"), [(b"Y", True), (b"N", False), (b"~", None)], ids=["yes", "no", "none"]
)
def test_tri_states_are_bools(raw: bytes, value: bool | None) -> None:
    data = bytearray(undefined(dbnfast.StatusMsg))
    data[30:33] = raw * 3
    record = Record.from_bytes(data)
    assert record.is_trading is value
    assert record.is_quoting is value
    assert record.is_short_sell_restricted is value


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"A" * 71, "A" * 71),
        (b"AB\0CD", "AB"),
        (b"", ""),
        ("Ä€".encode(), "Ä€"),
        (b"A\xffB", "A\\xffB"),
        (b"\xe2\x82", "\\xe2\\x82"),
    ],
    ids=["no-nul", "nul-inside", "empty", "utf-8", "invalid", "cut-character"],
)
def test_texts_never_raise(raw: bytes, text: str) -> None:
    data = bytearray(undefined(dbnfast.SymbolMappingMsg))
    data[17 : 17 + 71] = raw.ljust(71, b"\0")
    record = Record.from_bytes(data)
    assert record.stype_in_symbol == text
    assert "stype_in_symbol=" in repr(record)


@pytest.mark.parametrize(
    ("record", "beat"),
    [
        (dbnfast.SystemMsg(code=0), True),
        (dbnfast.SystemMsg(msg="Heartbeat", code=255), False),
        (dbnfast.SystemMsg(code=1), False),
        (dbnfast.SystemMsgV1(msg="Heartbeat"), True),
        (dbnfast.SystemMsgV1(msg="Heartbeats"), False),
        (dbnfast.TradeMsg(), False),
        (Record.from_bytes(streams.record(0x42, 16)), False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else type(value).__name__,
)
def test_is_heartbeat(record: Record, beat: bool) -> None:
    assert record.is_heartbeat() is beat


def test_unknown_type_has_the_header_alone() -> None:
    raw = streams.record(0x42, 24, instrument_id=5, publisher_id=6, ts_event=7, body=b"abcdefgh")
    record = Record.from_bytes(raw)
    assert type(record) is Record
    assert (record.rtype, type(record.rtype)) == (0x42, int)
    assert (record.instrument_id, record.publisher_id, record.ts_event) == (5, 6, 7)
    assert (record.ts_index, record.record_size) == (7, 24)
    assert bytes(record) == raw
    assert repr(record) == (
        "Record(ts_event=7, pretty_ts_event='1970-01-01T00:00:00.000000007', rtype=66, "
        "publisher_id=6, instrument_id=5)"
    )
    with pytest.raises(AttributeError):
        record.price  # type: ignore[attr-defined]  # noqa: B018
    assert pickle.loads(pickle.dumps(record)) == record


# levels


@pytest.mark.parametrize(
    ("cls", "n", "pair"),
    [
        ("MBP1Msg", 1, "BidAskPair"),
        ("MBP10Msg", 10, "BidAskPair"),
        ("BBOMsg", 1, "BidAskPair"),
        ("CMBP1Msg", 1, "ConsolidatedBidAskPair"),
        ("CBBOMsg", 1, "ConsolidatedBidAskPair"),
    ],
)
def test_levels_are_the_flat_fields(cls: str, n: int, pair: str) -> None:
    data = bytearray(undefined(RECORD_CLASSES[cls]))
    data[48:] = random.Random(cls).randbytes(len(data) - 48)
    record: Any = Record.from_bytes(data)
    levels = record.levels
    assert len(levels) == n
    for i, level in enumerate(levels):
        assert type(level).__name__ == pair
        for name in type(level)._ordered_fields:
            assert getattr(level, name) == getattr(record, f"{name}_{i:02}")
        assert streams.plain(level.pretty_bid_px) == streams.plain(
            getattr(record, f"pretty_bid_px_{i:02}")
        )


def test_pairs() -> None:
    pair = dbnfast.BidAskPair(bid_px=10**9, bid_sz=5)
    assert (pair.bid_px, pair.ask_px) == (10**9, dbnfast.UNDEF_PRICE)
    assert (pair.bid_sz, pair.ask_sz, pair.bid_ct, pair.ask_ct) == (5, 0, 0, 0)
    assert pair.pretty_bid_px == 1.0
    assert math.isnan(pair.pretty_ask_px)
    assert len(bytes(pair)) == 32
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert repr(pair) == (
        "BidAskPair(bid_px=1000000000, pretty_bid_px='1.0', ask_px=9223372036854775807, "
        "pretty_ask_px='nan', bid_sz=5, ask_sz=0, bid_ct=0, ask_ct=0)"
    )
    consolidated = dbnfast.ConsolidatedBidAskPair(bid_pb=3, ask_pb=4)
    assert (consolidated.bid_pb, consolidated.ask_pb) == (3, 4)
    assert pair != dbnfast.BidAskPair()
    with pytest.raises(TypeError, match="has no field 'bid_pb'"):
        dbnfast.BidAskPair(bid_pb=1)


def test_levels_may_be_given_as_pairs() -> None:
    pairs = [dbnfast.BidAskPair(bid_px=i, ask_ct=i) for i in range(10)]
    record = dbnfast.MBP10Msg(levels=pairs, bid_px_03=77)
    assert record.levels[4] == pairs[4]
    assert (record.bid_px_09, record.bid_px_03) == (9, 77)
    assert dbnfast.MBP1Msg(levels=pairs[2]).bid_px_00 == 2
    assert dbnfast.MBP10Msg(levels=pairs[:2]).bid_px_02 == dbnfast.UNDEF_PRICE
    with pytest.raises(ValueError, match="MBP1Msg has 1 levels, 2 were given"):
        dbnfast.MBP1Msg(levels=pairs[:2])


# making


DEFAULTS = {"is_last": 1, "update_action": 1, "user_defined_instrument": b"N"}


@by_class
def test_without_arguments_all_is_undefined_or_the_official_default(cls: type[Record]) -> None:
    assert cls._layout is not None
    expected = cls._layout.undefined()
    for name in DEFAULTS.keys() & cls._layout.by_name.keys():
        expected[name] = DEFAULTS[name]
    assert bytes(cls()) == expected.tobytes()
    stamped = cls(ts_out=5)
    assert bytes(stamped)[:1] == bytes([(cls.size_hint + 8) // 4])
    assert bytes(stamped)[1:-8] == expected.tobytes()[1:]
    assert stamped.ts_out == 5


def official_values(cls: type[Record], wanted: Any) -> dict[str, Any]:
    """Something for each parameter of the official constructor that has no default."""
    import databento_dbn as dbn

    assert cls._layout is not None
    enums = {
        "action": dbn.Action.TRADE, "side": dbn.Side.BID, "stat_type": dbn.StatType.CLOSE_PRICE,
        "instrument_class": dbn.InstrumentClass.FUTURE, "stype_in": dbn.SType.PARENT,
        "security_update_action": dbn.SecurityUpdateAction.ADD, "stype_out": dbn.SType.CMS_SYMBOL,
        "match_algorithm": dbn.MatchAlgorithm.FIFO, "is_last": False,
        "user_defined_instrument": dbn.UserDefinedInstrument.YES,
    }  # fmt: skip
    if "rtype" in wanted:
        enums["rtype"] = dbn.RType.from_int(int(cls._layout.rtypes[1]))
    values = {}
    for n, name in enumerate(wanted):
        field = cls._layout.by_name[name]
        values[name] = enums.get(name, "x" if field.kind in ("char", "cstr") else n + 1)
    return values


def as_ours(value: Any) -> Any:
    """A member of an official enumeration as the one of this package."""
    if not hasattr(value, "variants"):
        return value
    found: Any = getattr(dbnfast, type(value).__name__)
    return getattr(found, str(value.name))


@by_class
def test_values_without_a_name_are_taken_in_the_official_order(cls: type[Record]) -> None:
    pytest.importorskip("databento_dbn")
    theirs = official_class(cls.__name__)
    parameters = inspect.signature(theirs).parameters
    required = [name for name in parameters if parameters[name].default is inspect.Parameter.empty]
    values = official_values(cls, required)
    mine = cls(*map(as_ours, values.values()))
    assert bytes(mine) == bytes(theirs(**values))
    if "ts_out" in parameters:
        assert messages.parameters_of(cls._layout) == list(parameters)  # type: ignore[arg-type]
        stamped = cls(*map(as_ours, values.values()), ts_out=77)
        assert bytes(stamped)[1:-8] == bytes(mine)[1:]
    assert all(name in (cls.__doc__ or "") for name in parameters)


def test_all_values_without_a_name() -> None:
    dbn = pytest.importorskip("databento_dbn")
    values = [1, 2, 3, 4, 5, "T", "B", 6, 7, 128, 8, 9]
    official = [
        dbn.Action(value) if value == "T" else dbn.Side(value) if value == "B" else value
        for value in values
    ]
    mine: Any = dbnfast.MBP1Msg(*values, dbnfast.BidAskPair(1, 2, 3, 4, 5, 6))
    theirs = dbn.MBP1Msg(*official, dbn.BidAskPair(1, 2, 3, 4, 5, 6))
    assert bytes(mine) == bytes(theirs)
    assert type(mine.levels) is type(theirs.levels)
    error = dbnfast.ErrorMsg(1, "too late", False, 3)
    assert bytes(error) == bytes(dbn.ErrorMsg(1, "too late", False, dbn.ErrorCode.from_int(3)))


def test_dtypes_are_what_numpy_takes() -> None:
    dbn = pytest.importorskip("databento_dbn")
    for cls in CLASSES:
        assert np.dtype(cls._dtypes).itemsize == cls.size_hint
    assert np.dtype(dbnfast.OHLCVMsg._dtypes) == np.dtype(dbn.OHLCVMsg._dtypes)
    assert dbnfast.MBP1Msg._ordered_fields == dbn.MBP1Msg._ordered_fields


# copies with changes, and rows


@by_class
def test_replace_changes_one_field_and_nothing_else(cls: type[Record]) -> None:
    assert cls._layout is not None
    rng = random.Random(cls.__name__)
    for extra, ts_out in ((b"", False), (streams.stamp(3), True), (b"\xee" * 12, False)):
        raw = bytearray(rng.randbytes(cls.size_hint)) + extra
        raw[:2] = bytes([len(raw) // 4, int(cls._layout.rtypes[0])])
        record = Record.from_bytes(raw, ts_out=ts_out)
        assert type(record) is cls
        for field in cls._layout.fields[2:]:
            if field.kind in ("reserved", "cstr", "char"):
                continue
            changed = record.replace(**{field.name: 7})
            expected = bytearray(raw)
            end = field.offset + field.size
            expected[field.offset : end] = (7).to_bytes(field.size, "little")
            assert (type(changed), bytes(changed)) == (cls, bytes(expected)), field.name
            assert changed.ts_out == record.ts_out
        assert bytes(record) == bytes(raw)  # it is another one
        assert record.replace() == record


def test_replace_of_texts_levels_and_undefined_values() -> None:
    mapping = dbnfast.SymbolMappingMsg(stype_in_symbol="ES.FUT", instrument_id=5)
    assert mapping.replace(stype_in_symbol="NQ").stype_in_symbol == "NQ"
    trade = Record.from_bytes(streams.trade(3))
    assert trade.replace(price=None, side=Side.BID) == trade.replace(
        price=dbnfast.UNDEF_PRICE, side="B"
    )
    book: Any = dbnfast.MBP10Msg(levels=[dbnfast.BidAskPair(i) for i in range(10)])
    changed = book.replace(levels=[dbnfast.BidAskPair(77)], bid_sz_09=5)
    assert [level.bid_px for level in changed.levels] == [77, *range(1, 10)]
    assert changed.bid_sz_09 == 5
    bar = dbnfast.OHLCVMsg(RType.OHLCV_1S, 1, 2, 3).replace(rtype=RType.OHLCV_1M)
    assert (bar.rtype, bar.ts_event) == (RType.OHLCV_1M, 3)


@pytest.mark.parametrize("extra", [b"", b"\xee" * 12], ids=["plain", "long"])
def test_replace_of_ts_out(extra: bytes) -> None:
    raw = streams.trade(3, extra=extra)
    record = Record.from_bytes(raw)
    stamped = record.replace(ts_out=9)
    assert bytes(stamped) == bytes([raw[0] + 2]) + raw[1:] + (9).to_bytes(8, "little")
    assert (stamped.ts_out, stamped.record_size) == (9, len(raw) + 8)
    assert Record.from_bytes(bytes(stamped), ts_out=True) == stamped
    assert stamped.replace(ts_out=11).ts_out == 11
    assert bytes(stamped.replace(ts_out=None))[-8:] == b"\xff" * 8
    assert record.replace(ts_out=None) == record


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"nothing": 1}, TypeError, "TradeMsg has no field 'nothing'"),
        ({"nothing": None}, TypeError, "TradeMsg has no field 'nothing'"),
        ({"levels": []}, TypeError, "TradeMsg has no field 'levels'"),
        ({"length": 12}, TypeError, "has no field 'length'"),
        ({"size": 2**32}, ValueError, "size is 4294967296"),
        ({"rtype": 1}, ValueError, r"rtype is 1, TradeMsg has \[0\]"),
        ({"ts_out": -1}, ValueError, "ts_out is -1"),
        ({"price": 1.5}, TypeError, "price is 1.5"),
    ],
    ids=str,
)
def test_replace_refuses_what_the_class_refuses(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Record.from_bytes(streams.trade(0)).replace(**change)


def test_replace_has_its_limits() -> None:
    with pytest.raises(TypeError, match="Record has no layout"):
        Record.from_bytes(streams.record(0x42, 24)).replace(ts_event=1)
    longest = Record.from_bytes(streams.trade(0, extra=bytes(1020 - 48)))
    with pytest.raises(ValueError, match="1020 bytes has no room for a ts_out"):
        longest.replace(ts_out=1)


def test_to_dict_is_a_row() -> None:
    trade = Record.from_bytes(streams.trade(3, extra=streams.stamp(3)), ts_out=True)
    assert trade.to_dict() == {
        "ts_recv": 10**18 + 1003, "ts_event": 10**18 + 3, "rtype": RType.MBP_0, "publisher_id": 1,
        "instrument_id": 103, "action": "T", "side": "A", "depth": 0, "price": 3 * 10**9,
        "size": 3, "flags": 128, "ts_in_delta": 7, "sequence": 3, "ts_out": 2 * 10**18 + 3,
    }  # fmt: skip
    assert "ts_out" not in Record.from_bytes(streams.trade(3)).to_dict()
    assert dbnfast.BidAskPair(1, 2).to_dict() == {
        "bid_px": 1, "ask_px": 2, "bid_sz": 0, "ask_sz": 0, "bid_ct": 0, "ask_ct": 0,
    }  # fmt: skip
    assert Record.from_bytes(streams.record(0x42, 24, ts_event=7)).to_dict()["ts_event"] == 7


@by_class
def test_to_dict_is_what_the_class_takes(cls: type[Record]) -> None:
    record = cls(ts_event=5, instrument_id=6)
    assert list(record.to_dict()) == cls._ordered_fields
    assert cls(**record.to_dict()) == record


def test_fields_are_set_by_name() -> None:
    trade = dbnfast.TradeMsg(
        publisher_id=1, instrument_id=103, ts_event=10**18 + 3, price=3 * 10**9, size=3,
        action=Action.TRADE, side="A", flags=128, depth=0, ts_recv=10**18 + 1003, ts_in_delta=7,
        sequence=3,
    )  # fmt: skip
    assert bytes(trade) == streams.trade(3)
    assert trade == Record.from_bytes(streams.trade(3))
    status = dbnfast.StatusMsg(is_trading=True, is_quoting=False, is_short_sell_restricted=None)
    assert bytes(status)[30:33] == b"YN~"
    bar = dbnfast.OHLCVMsg(rtype=RType.OHLCV_1D, volume=2**64 - 1)
    assert (bar.rtype, bar.volume) == (35, 2**64 - 1)
    mapping = dbnfast.SymbolMappingMsg(stype_in=dbnfast.SType.RAW_SYMBOL, stype_in_symbol="ESH6")
    assert (mapping.stype_in, mapping.stype_in_symbol) == ("raw_symbol", "ESH6")
    assert dbnfast.MBOMsg(side=b"B").side is Side.BID


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dbnfast.TradeMsg(nothing=1), TypeError, "TradeMsg has no field 'nothing'"),
        (lambda: dbnfast.TradeMsg(length=12), TypeError, "has no field 'length'"),
        (lambda: dbnfast.StatusMsg(_reserved=b""), TypeError, "has no field '_reserved'"),
        (lambda: dbnfast.TradeMsg(size=2**32), ValueError, "size is 4294967296, expected 0 to"),
        (lambda: dbnfast.TradeMsg(size=-1), ValueError, "size is -1"),
        (lambda: dbnfast.TradeMsg(price=2**63), ValueError, "price is"),
        (lambda: dbnfast.TradeMsg(action="TT"), ValueError, "2 bytes; 1 fit"),
        (lambda: dbnfast.TradeMsg(rtype=1), ValueError, r"rtype is 1, TradeMsg has \[0\]"),
        (lambda: dbnfast.TradeMsg(price="x"), TypeError, "price is 'x', expected an int"),
        (lambda: dbnfast.SystemMsg(msg="x" * 303), ValueError, "303 bytes; 302 fit"),
        (lambda: Record(ts_event=1), TypeError, "Record has no layout"),
        (lambda: dbnfast.TradeMsg(*range(14)), TypeError, "takes 13 values without a name, 14"),
        (lambda: dbnfast.TradeMsg(1, publisher_id=1), TypeError, "two values for 'publisher_id'"),
        (lambda: dbnfast.BidAskPair(1, bid_px=1), TypeError, "two values for 'bid_px'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_price_with_a_fraction_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        dbnfast.TradeMsg(price=1.5)  # 1.5 units of 1e-9, not what anybody means


@pytest.mark.parametrize("value", [-1, 2**32, 2**70])
def test_a_pair_refuses_what_does_not_fit_as_records_do(value: int) -> None:
    with pytest.raises(ValueError, match="bid_sz"):
        dbnfast.BidAskPair(bid_sz=value)


@pytest.mark.parametrize("kind", streams.BUFFERS)
def test_from_bytes_takes_every_kind_of_buffer(kind: str) -> None:
    raw = streams.trade(5)
    record = Record.from_bytes(streams.BUFFERS[kind](raw))
    assert bytes(record) == raw
    assert type(bytes(record)) is bytes


def test_from_bytes_knows_the_class_and_checks_it() -> None:
    assert type(Record.from_bytes(streams.record(0x13, 360))) is dbnfast.InstrumentDefMsgV1
    assert type(Record.from_bytes(streams.record(0x13, 400))) is dbnfast.InstrumentDefMsgV2
    upgraded = Record.from_bytes(streams.record(0x13, 360), upgrade=True)
    assert type(upgraded) is dbnfast.InstrumentDefMsg
    assert upgraded.record_size == 520
    with pytest.raises(TypeError, match="the bytes are a TradeMsg, not a MBOMsg"):
        dbnfast.MBOMsg.from_bytes(streams.trade(0))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x0c", streams.trade(0)[:-1], streams.trade(0) + b"\0", bytes(15), bytes(16)],
    ids=["empty", "byte", "cut", "longer", "cut-header", "length-0"],
)
def test_from_bytes_wants_one_whole_record(raw: bytes) -> None:
    with pytest.raises(ValueError, match="are not one record"):
        Record.from_bytes(raw)


def test_too_short_for_any_layout_is_a_plain_record() -> None:
    record = Record.from_bytes(streams.record(0, 40))
    assert type(record) is Record
    assert record.rtype is RType.MBP_0


def test_longer_records_keep_their_bytes() -> None:
    raw = streams.trade(1, extra=b"\xee" * 12)
    record = Record.from_bytes(raw)
    assert type(record) is dbnfast.TradeMsg
    assert (bytes(record), record.record_size, record.sequence) == (raw, 60, 1)


# identity


@by_class
def test_pickle_copy_hash_and_equality(cls: type[Record]) -> None:
    for record in (cls(instrument_id=5), cls(instrument_id=5, ts_out=9)):
        for again in (
            pickle.loads(pickle.dumps(record)),
            copy.copy(record),
            copy.deepcopy(record),
            Record.from_bytes(bytes(record), ts_out=record._stamped),
        ):
            assert type(again) is cls
            assert again == record
            assert hash(again) == hash(record)
            assert again.ts_out == record.ts_out
    assert cls(instrument_id=5) != cls(instrument_id=6)
    assert cls() != bytes(cls())
    assert len({cls(), cls(), cls(instrument_id=1)}) == 2


def test_equal_bytes_of_other_meaning_are_not_equal() -> None:
    raw = streams.trade(0, extra=bytes(8))
    assert Record.from_bytes(raw) != Record.from_bytes(raw, ts_out=True)


@by_class
def test_records_are_immutable(cls: type[Record]) -> None:
    record = cls()
    for name in (*cls._ordered_fields, "ts_out", "ts_index", "record_size", "anything"):
        with pytest.raises(AttributeError):
            setattr(record, name, 1)
    with pytest.raises(AttributeError):
        del record.ts_event


def test_repr_shows_fields_in_text_order_with_pretty_forms() -> None:
    assert repr(Record.from_bytes(streams.trade(1))) == (
        "TradeMsg(ts_recv=1000000000000001001, "
        "pretty_ts_recv='2001-09-09T01:46:40.000001001', ts_event=1000000000000000001, "
        "pretty_ts_event='2001-09-09T01:46:40.000000001', rtype=<RType.MBP_0: 0>, "
        "publisher_id=1, instrument_id=101, action=<Action.TRADE: 'T'>, side=<Side.ASK: 'A'>, "
        "depth=0, price=1000000000, pretty_price='1.0', size=1, flags=128, ts_in_delta=7, "
        "sequence=1)"
    )


@by_class
def test_repr_of_undefined_values(cls: type[Record]) -> None:
    assert repr(cls()).startswith(f"{cls.__name__}(")
    assert "_reserved" not in repr(cls())
