"""The enumerations have the official members, values and texts."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any, get_args

import pytest

import dbnfast
from dbnfast import Action, RType, Schema, Side, SType, SystemCode, TriState

NAMES = (
    "Action", "Compression", "Encoding", "ErrorCode", "InstrumentClass", "MatchAlgorithm",
    "RType", "SType", "Schema", "SecurityUpdateAction", "Side", "StatType", "StatUpdateAction",
    "StatusAction", "StatusReason", "SystemCode", "TradingEvent", "TriState",
    "UserDefinedInstrument", "VersionUpgradePolicy",
)  # fmt: skip
# the package knows what the official release at hand may not have yet
NEWER = {"RType": {"TBBO"}}
by_name = pytest.mark.parametrize("name", NAMES)


def official(name: str) -> Any:
    return getattr(pytest.importorskip("databento_dbn"), name)


# enumerations of the client, which are not on the wire
CLIENT = (
    "Dataset", "Delivery", "FeedMode", "HistoricalGateway", "JobState", "Packaging", "RollRule",
    "SplitDuration", "SymbologyResolution", "Venue",
)  # fmt: skip


@pytest.mark.parametrize("name", CLIENT)
def test_the_clients_members_are_the_official(name: str) -> None:
    client = pytest.importorskip("databento")
    ours, theirs = getattr(dbnfast, name), getattr(client, name)
    # a release of either may be ahead of the other in what there is
    shared = ours.__members__.keys() & theirs.__members__.keys()
    assert len(shared) >= 0.9 * max(len(ours), len(theirs)), shared
    for member in (ours[one] for one in shared):
        other = theirs[member.name]
        assert (member.value, str(member), repr(member)) == (other.value, str(other), repr(other))
        assert member == other.value
        for text in (other.value, other.value.upper(), other.name, other.name.lower()):
            assert ours(text) is member
            if other.name != "_24EQ":  # which the official class finds by name only
                assert theirs(text) is other
    with pytest.raises(ValueError, match="no such"):
        ours("no such member")


@pytest.mark.parametrize("name", ["Dataset", "Venue"])
def test_datasets_and_venues_have_the_official_numbers(name: str) -> None:
    client = pytest.importorskip("databento")
    ours, theirs = getattr(dbnfast, name), getattr(client, name)
    for number in range(1, 50):
        assert ours.from_int(number).value == theirs.from_int(number).value
        assert ours.from_int(number).to_int() == number
    with pytest.raises(ValueError, match="10000"):
        ours.from_int(10000)


def test_datasets_and_venues_are_those_of_the_publishers() -> None:
    publishers = dbnfast.PUBLISHERS.values()
    assert {one.dataset for one in publishers} <= {str(one) for one in dbnfast.Dataset}
    assert {one.venue for one in publishers} <= {str(one) for one in dbnfast.Venue}


@by_name
def test_members_are_the_official(name: str) -> None:
    ours, theirs = getattr(dbnfast, name), official(name)
    names = {member.name for member in ours}
    assert names - NEWER.get(name, set()) == {
        member.name for member in theirs.variants()
    } - NEWER.get(name, set())


@by_name
def test_values_codes_and_texts_are_the_official(name: str) -> None:
    ours, theirs = getattr(dbnfast, name), official(name)
    for other in theirs.variants():
        member = ours[other.name]
        assert member.value == other.value
        assert int(member) == int(other)
        assert ours(other.value) is member
        assert ours.from_int(int(other)) is member
        if str(other).startswith("<"):  # the official enumeration has no text
            continue
        assert str(member) == str(other)
        assert ours.from_str(str(other)) is member


@by_name
def test_variants_are_all_members_in_order(name: str) -> None:
    cls = getattr(dbnfast, name)
    assert cls.variants() == list(cls)


@by_name
def test_unknown_codes_are_refused(name: str) -> None:
    cls = getattr(dbnfast, name)
    for call, wrong in ((cls.from_int, 254), (cls, "no such member"), (cls, 1.5), (cls, b"x")):
        with pytest.raises(ValueError, match=f"is not a valid {name}") as caught:
            call(wrong)
        assert type(caught.value) is dbnfast.UnknownNameError
        assert isinstance(caught.value, dbnfast.DbnError)  # what the official classes raise is
    if name != "Compression":
        with pytest.raises(dbnfast.UnknownNameError):
            cls(None)


def test_no_compression_may_be_none() -> None:
    dbn = pytest.importorskip("databento_dbn")
    assert dbnfast.Compression(None) is dbnfast.Compression.NONE
    assert dbn.Compression(None) == dbn.Compression.NONE


def test_flags_are_shown_as_the_official() -> None:
    theirs = pytest.importorskip("databento").RecordFlags
    ours = dbnfast.RecordFlags
    for number in range(256):
        mine, other = ours(number), theirs(number)
        assert (str(mine), repr(mine), f"{mine}") == (str(other), repr(other), f"{other}")
        assert (f"{mine:02x}", mine | 1, ~mine) == (f"{other:02x}", other | 1, ~other)
    record = dbnfast.TradeMsg(flags=130)
    assert f"{record.flags & ours.F_LAST}" == "f_last"
    assert str(ours.F_LAST | ours.F_MBP) == "f_last, f_mbp"
    for name in ("F_LAST", "f_last", "F_MAYBE_BAD_BOOK"):
        assert ours(name) == theirs(name)
    with pytest.raises(dbnfast.UnknownNameError, match="'F_NONE' is not a valid RecordFlags"):
        ours("F_NONE")


@pytest.mark.parametrize(
    ("cls", "text", "member"),
    [
        (Schema, "MBP_1", Schema.MBP_1),
        (Schema, "Mbp-1", Schema.MBP_1),
        (Schema, "ohlcv_eod", Schema.OHLCV_EOD),
        (SType, "product_id", SType.INSTRUMENT_ID),
        (SType, "native", SType.RAW_SYMBOL),
        (SType, "raw-symbol", SType.RAW_SYMBOL),
        (SType, "nasdaq", SType.NASDAQ_SYMBOL),
        (SType, "cms", SType.CMS_SYMBOL),
        (dbnfast.Encoding, "dbz", dbnfast.Encoding.DBN),
        (RType, "mbp_0", RType.MBP_0),
        (RType, "SYMBOL-MAPPING", RType.SYMBOL_MAPPING),
        (dbnfast.ErrorCode, "auth-failed", dbnfast.ErrorCode.AUTH_FAILED),
    ],
)
def test_texts_are_read_leniently(cls: Any, text: str, member: Any) -> None:
    assert cls.from_str(text) is member
    assert cls(text) is member


SCHEMAS = (
    "mbo, mbp-1, mbp-10, tbbo, trades, ohlcv-1s, ohlcv-1m, ohlcv-1h, ohlcv-1d, definition, "
    "statistics, status, imbalance, ohlcv-eod, cmbp-1, cbbo-1s, cbbo-1m, tcbbo, bbo-1s, bbo-1m"
)
MISSPELT = [
    ("tades", " (did you mean 'trades'?)"),
    ("TRADE", " (did you mean 'trades'?)"),
    ("mbp_01", " (did you mean 'mbp-1'?)"),
    ("ohlcv-1min", " (did you mean 'ohlcv-1m'?)"),
    ("quotes", ""),
    ("", ""),
]


def calls(wrong: str) -> dict[str, Callable[[], object]]:
    """Every public call that takes a schema."""
    array = dbnfast.empty("trades", 1)
    data = dbnfast.encode(array, dbnfast.Metadata("GLBX.MDP3", 1, schema="trades"))
    records, store = dbnfast.scan(data), dbnfast.read(data)
    live = dbnfast.Live("db-0123456789", "127.0.0.1", 1)
    return {
        "dtype": lambda: dbnfast.dtype(wrong),
        "empty": lambda: dbnfast.empty(wrong, 1),
        "decode": lambda: dbnfast.decode(data, schema=wrong),
        "array": lambda: records.array(wrong),
        "Records.filter": lambda: records.filter(wrong),
        "Store.filter": lambda: store.filter(schema=wrong),
        "to_ndarray": lambda: store.to_ndarray(schema=wrong),
        "to_df": lambda: store.to_df(schema=wrong),
        "to_csv": lambda: store.to_csv(io.BytesIO(), schema=wrong),
        "to_json": lambda: store.to_json(io.BytesIO(), schema=wrong),
        "to_parquet": lambda: store.to_parquet("nowhere.parquet", schema=wrong),
        "to_arrow": lambda: store.to_arrow(schema=wrong),
        "to_polars": lambda: store.to_polars(schema=wrong),
        "from_csv": lambda: dbnfast.from_csv(b"", schema=wrong),
        "from_json": lambda: dbnfast.from_json(b"", schema=wrong),
        "Metadata": lambda: dbnfast.Metadata("GLBX.MDP3", 1, schema=wrong),
        "Live.subscribe": lambda: live.subscribe("GLBX.MDP3", wrong),
        "AsyncLive.subscribe": lambda: asyncio.run(
            dbnfast.AsyncLive("db-0123456789", "127.0.0.1", 1).subscribe("GLBX.MDP3", wrong)
        ),
    }


@pytest.mark.parametrize("call", calls(""))
@pytest.mark.parametrize(("wrong", "hint"), MISSPELT)
def test_a_misspelt_schema_is_told_with_those_that_there_are(
    wrong: str, hint: str, call: str
) -> None:
    with pytest.raises(dbnfast.UnknownNameError) as caught:
        calls(wrong)[call]()
    kinds = ("is not a valid Schema", "is neither a schema nor an rtype")
    texts = [f"{wrong!r} {kind}{hint}, expected one of {SCHEMAS}" for kind in kinds]
    assert str(caught.value) in texts


def test_a_misspelt_text_of_another_kind_is_told_alike() -> None:
    with pytest.raises(ValueError, match=r"'raw_symbl' .* \(did you mean 'raw_symbol'\?\), exp"):
        SType("raw_symbl")
    with pytest.raises(ValueError, match=r"'zst' is not a valid Compression .*'zstd'.* none, zstd"):
        dbnfast.Compression("zst")
    with pytest.raises(ValueError, match=r"\(did you mean 'symbol-mapping'\?\)"):
        dbnfast.dtype("symbol-maping")
    with pytest.raises(ValueError, match=r"valid RType \(did you mean 'ohlcv-1m'\?\), expected"):
        RType.from_str("OHLCV_1MN")


@pytest.mark.parametrize("cls", [RType, Schema, SystemCode, TriState], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("wrong", [None, 1.5, b"trades", ["trades"]])
def test_texts_that_are_none(cls: Any, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        cls.from_str(wrong)


@pytest.mark.parametrize("code", [-1, 256, 2**31, 2**64, -(2**63)])
def test_codes_that_no_byte_is(code: int) -> None:
    for cls in (Action, Side, TriState):
        with pytest.raises(ValueError):
            cls.from_int(code)


def test_named_members_equal_their_text_and_index_by_code() -> None:
    assert Schema.TRADES == "trades"
    assert int(Schema.TRADES) == 4
    assert [*range(20)][Schema.TRADES] == 4  # __index__
    assert Schema(4) is Schema.TRADES
    assert hash(Schema.TRADES) == hash("trades")
    with pytest.raises(ValueError, match="is not a valid"):
        Schema(True)  # a bool is no code


def test_integer_members_equal_their_code() -> None:
    assert RType.MBO == 160
    assert hash(RType.MBO) == hash(160)
    assert {RType.MBO: 1}[160] == 1  # type: ignore[index]


def test_character_members_equal_their_character() -> None:
    assert Action.TRADE == "T"
    assert Action.TRADE.code == b"T"
    assert int(Action.TRADE) == ord("T")
    assert Action.from_int(84) is Action.TRADE
    assert Side.from_str("A") is Side.ASK


def test_rtype_of_trades_is_an_alias() -> None:
    assert RType.TRADES is RType.MBP_0
    assert RType.MBP_0.name == "MBP_0"
    assert str(RType.TRADES) == "mbp-0"
    assert sum(member.value == 0 for member in RType) == 1


def test_rtype_of_a_future_tbbo_is_reserved() -> None:
    assert RType.TBBO == 0xC5
    assert RType.from_schema("tbbo") is RType.MBP_1  # what files of today hold


@pytest.mark.parametrize("schema", list(Schema), ids=str)
def test_rtype_from_schema_is_the_official(schema: Schema) -> None:
    theirs = official("RType").from_schema(official("Schema").from_str(str(schema)))
    assert RType.from_schema(schema) == int(theirs)
    assert RType.from_schema(str(schema)) == int(theirs)


@pytest.mark.parametrize(
    ("state", "value"),
    [(TriState.YES, True), (TriState.NO, False), (TriState.NOT_AVAILABLE, None)],
)
def test_tri_state_as_bool(state: TriState, value: bool | None) -> None:
    assert state.opt_bool() is value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DBN_VERSION", 3),
        ("FIXED_PRICE_SCALE", 1_000_000_000),
        ("UNDEF_PRICE", 9223372036854775807),
        ("UNDEF_ORDER_SIZE", 4294967295),
        ("UNDEF_STAT_QUANTITY", 9223372036854775807),
        ("UNDEF_TIMESTAMP", 18446744073709551615),
        ("SYMBOL_CSTR_LEN", 71),
        ("SYMBOL_CSTR_LEN_V1", 22),
        ("SYMBOL_CSTR_LEN_V2", 71),
        ("SYMBOL_CSTR_LEN_V3", 71),
        ("F_LAST", 128),
        ("F_TOB", 64),
        ("F_SNAPSHOT", 32),
        ("F_MBP", 16),
        ("F_BAD_TS_RECV", 8),
        ("F_MAYBE_BAD_BOOK", 4),
        ("F_PUBLISHER_SPECIFIC", 2),
    ],
)
def test_constants_are_the_official(name: str, value: int) -> None:
    assert getattr(dbnfast, name) == value == official(name)


def test_flags_combine() -> None:
    flags = dbnfast.RecordFlags(130)
    assert flags == dbnfast.RecordFlags.F_LAST | dbnfast.RecordFlags.F_PUBLISHER_SPECIFIC
    for flag in dbnfast.RecordFlags:
        assert getattr(dbnfast, flag.name or "") == flag


def test_checkers_know_the_texts_of_schemas_symbology_and_prices() -> None:
    pytest.importorskip("typing_extensions")
    from dbnfast import _typing

    assert get_args(_typing.SchemaName) == tuple(map(str, dbnfast.Schema))
    assert get_args(_typing.STypeName) == tuple(map(str, dbnfast.SType))
    kinds = [kind for kind in get_args(_typing.PriceTypeLike) if kind is not dbnfast.PriceType]
    assert [text for kind in kinds for text in get_args(kind)] == list(map(str, dbnfast.PriceType))
