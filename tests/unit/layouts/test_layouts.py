"""The table of records is that of the format and of the official package."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast.layouts.fields import CSTR, INT, PRICE, RESERVED, TIMESTAMP, F, Layout
from dbnfast.layouts.table import (
    HEADER_DTYPE,
    HEADER_SIZE,
    LAYOUT_BY_NAME,
    LAYOUTS,
    LAYOUTS_BY_RTYPE,
    MAX_RECORD_SIZE,
    layout_by_size,
    layout_for,
    layout_for_schema,
)

SIZES = {
    "MBOMsg": 56,
    "TradeMsg": 48,
    "MBP1Msg": 80,
    "MBP10Msg": 368,
    "BBOMsg": 80,
    "CMBP1Msg": 80,
    "CBBOMsg": 80,
    "OHLCVMsg": 56,
    "StatusMsg": 40,
    "ImbalanceMsg": 112,
    "InstrumentDefMsgV1": 360,
    "InstrumentDefMsgV2": 400,
    "InstrumentDefMsg": 520,
    "StatMsgV1": 64,
    "StatMsg": 80,
    "ErrorMsgV1": 80,
    "ErrorMsg": 320,
    "SymbolMappingMsgV1": 80,
    "SymbolMappingMsg": 176,
    "SystemMsgV1": 80,
    "SystemMsg": 320,
}
by_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


def official(name: str) -> Any:
    """The official class of a layout."""
    dbn = pytest.importorskip("databento_dbn")
    return getattr(dbn, name, None) or getattr(dbn.v2, name.removesuffix("V2"))


def test_there_are_21_layouts() -> None:
    assert len(LAYOUTS) == len(LAYOUT_BY_NAME) == len(SIZES) == 21
    assert set(LAYOUT_BY_NAME) == set(SIZES)


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_struct_size(name: str, size: int) -> None:
    layout = LAYOUT_BY_NAME[name]
    assert layout.size == layout.itemsize(False) == layout.dtype().itemsize == size
    assert layout.itemsize(True) == layout.dtype(True).itemsize == size + 8
    assert repr(layout) == f"<Layout {name}: {size} bytes>"


@by_layout
def test_header_stands_first_in_every_struct(layout: Layout) -> None:
    fields = [(field.name, field.format, field.offset) for field in layout.fields[:5]]
    assert fields == [
        ("length", "u1", 0),
        ("rtype", "u1", 1),
        ("publisher_id", "<u2", 2),
        ("instrument_id", "<u4", 4),
        ("ts_event", "<u8", 8),
    ]
    assert HEADER_SIZE == HEADER_DTYPE.itemsize == 16


@by_layout
def test_fields_leave_no_gap(layout: Layout) -> None:
    at = 0
    for field in layout.fields:
        assert field.offset == at
        assert layout.dtype().fields[field.name][1] == at  # type: ignore[index]
        at += field.size
    assert at == layout.size
    assert layout.size % 8 == 0
    assert layout.size <= MAX_RECORD_SIZE


@by_layout
@pytest.mark.parametrize("ts_out", [False, True], ids=["plain", "ts_out"])
def test_dtype_is_little_endian_and_packed(layout: Layout, ts_out: bool) -> None:
    dtype = layout.dtype(ts_out)
    for field in layout.all_fields(ts_out):
        text = dtype[field.name].str
        assert re.fullmatch(r"<[ui][248]|\|[ui]1|\|S\d+|\|V\d+", text), (field.name, text)
    assert dtype is layout.dtype(ts_out)
    assert not dtype.isalignedstruct
    assert ("ts_out" in (dtype.names or ())) is ts_out
    if ts_out:
        assert dtype.fields["ts_out"] == (np.dtype("<u8"), layout.size)  # type: ignore[index]


@by_layout
def test_names_and_formats_are_the_official(layout: Layout) -> None:
    ours = [(field.name, np.dtype(field.format).str) for field in layout.fields]
    # reserved bytes are void here, so that nobody takes them for text or numbers
    assert ours == [
        (name, f"|V{np.dtype(code).itemsize}" if name[0] == "_" else np.dtype(code).str)
        for name, code in official(layout.name)._dtypes
    ]


@by_layout
def test_order_and_tags_are_the_official(layout: Layout) -> None:
    cls = official(layout.name)
    ours = getattr(dbnfast, layout.name)
    assert [field.name for field in layout.ordered] == list(cls._ordered_fields)
    assert [f.name for f in layout.fields if f.kind == PRICE] == list(cls._price_fields)
    assert [f.name for f in layout.fields if f.kind == TIMESTAMP] == list(cls._timestamp_fields)
    assert [field.name for field in layout.fields if field.hidden] == list(cls._hidden_fields)
    assert list(ours._ordered_fields) == list(cls._ordered_fields)
    assert list(ours._price_fields) == list(cls._price_fields)
    assert list(ours._timestamp_fields) == list(cls._timestamp_fields)
    assert list(ours._hidden_fields) == list(cls._hidden_fields)
    assert ours.size_hint == cls.size_hint == layout.size


@by_layout
def test_hidden_fields_are_the_length_and_reserved_bytes(layout: Layout) -> None:
    for field in layout.fields:
        assert field.hidden is (field.name == "length" or field.kind == RESERVED)
        assert (field.kind == RESERVED) is field.name.startswith("_")


@pytest.mark.parametrize(
    ("schema", "sizes"),
    [
        ("mbo", (56, 56, 56)),
        ("mbp-1", (80, 80, 80)),
        ("mbp-10", (368, 368, 368)),
        ("tbbo", (80, 80, 80)),
        ("trades", (48, 48, 48)),
        ("ohlcv-1s", (56, 56, 56)),
        ("ohlcv-1m", (56, 56, 56)),
        ("ohlcv-1h", (56, 56, 56)),
        ("ohlcv-1d", (56, 56, 56)),
        ("ohlcv-eod", (56, 56, 56)),
        ("definition", (360, 400, 520)),
        ("statistics", (64, 64, 80)),
        ("status", (40, 40, 40)),
        ("imbalance", (112, 112, 112)),
        ("cmbp-1", (80, 80, 80)),
        ("cbbo-1s", (80, 80, 80)),
        ("cbbo-1m", (80, 80, 80)),
        ("tcbbo", (80, 80, 80)),
        ("bbo-1s", (80, 80, 80)),
        ("bbo-1m", (80, 80, 80)),
        (dbnfast.RType.ERROR, (80, 320, 320)),
        (dbnfast.RType.SYMBOL_MAPPING, (80, 176, 176)),
        (dbnfast.RType.SYSTEM, (80, 320, 320)),
    ],
    ids=str,
)
def test_dtype_size_by_schema_and_version(schema: str, sizes: tuple[int, int, int]) -> None:
    for version, size in zip((1, 2, 3), sizes, strict=True):
        assert dbnfast.dtype(schema, version=version).itemsize == size
        assert dbnfast.dtype(schema, version=version, ts_out=True).itemsize == size + 8
    assert dbnfast.dtype(schema) == dbnfast.dtype(schema, version=3)


@pytest.mark.parametrize("version", [0, 4, None, "3"])
def test_dtype_refuses_unknown_versions(version: Any) -> None:
    error = ValueError if isinstance(version, int) else TypeError
    with pytest.raises(error, match="version is"):
        dbnfast.dtype("trades", version=version)


def test_dtype_refuses_what_is_no_schema() -> None:
    with pytest.raises(ValueError, match="'ticks' is neither a schema nor an rtype"):
        dbnfast.dtype("ticks")
    with pytest.raises(TypeError, match="expected a Schema"):
        dbnfast.dtype(160)  # type: ignore[arg-type]


@pytest.mark.parametrize("schema", list(dbnfast.Schema), ids=str)
def test_layout_of_every_schema_names_it(schema: dbnfast.Schema) -> None:
    for version in (1, 2, 3):
        layout = layout_for_schema(schema, version)
        assert version in layout.versions
        assert str(schema) in layout.schemas


@pytest.mark.parametrize("rtype", sorted(set(dbnfast.RType)), ids=str)
def test_every_rtype_has_one_layout_in_every_version(rtype: dbnfast.RType) -> None:
    layouts = LAYOUTS_BY_RTYPE[rtype]
    assert [x.size for x in layouts] == sorted(x.size for x in layouts)
    for version in (1, 2, 3):
        assert sum(version in layout.versions for layout in layouts) == 1
        assert layout_for(rtype, version) in layouts


def test_unknown_rtypes_have_no_layout() -> None:
    assert layout_for(0x42, 3) is None
    assert layout_by_size(0x42, 48, False) is None


def test_future_tbbo_rtype_has_the_layout_of_mbp_1() -> None:
    assert layout_for(0xC5, 3) is LAYOUT_BY_NAME["MBP1Msg"]


@pytest.mark.parametrize(
    ("rtype", "n_bytes", "ts_out", "name"),
    [
        (0x13, 359, False, None),
        (0x13, 360, False, "InstrumentDefMsgV1"),
        (0x13, 399, False, "InstrumentDefMsgV1"),
        (0x13, 400, False, "InstrumentDefMsgV2"),
        (0x13, 519, False, "InstrumentDefMsgV2"),
        (0x13, 520, False, "InstrumentDefMsg"),
        (0x13, 1020, False, "InstrumentDefMsg"),
        (0x13, 360, True, None),
        (0x13, 368, True, "InstrumentDefMsgV1"),
        (0x13, 408, True, "InstrumentDefMsgV2"),
        (0x13, 528, True, "InstrumentDefMsg"),
        (0x18, 64, False, "StatMsgV1"),
        (0x18, 72, True, "StatMsgV1"),
        (0x18, 80, True, "StatMsgV1"),
        (0x18, 80, False, "StatMsg"),
        (0x18, 88, True, "StatMsg"),
        (0x17, 80, False, "SystemMsgV1"),
        (0x17, 320, False, "SystemMsg"),
        (0x16, 176, False, "SymbolMappingMsg"),
        (0x15, 328, True, "ErrorMsg"),
    ],
)
def test_layout_by_size(rtype: int, n_bytes: int, ts_out: bool, name: str | None) -> None:
    found = layout_by_size(rtype, n_bytes, ts_out)
    assert (None if found is None else found.name) == name


@pytest.mark.parametrize(
    ("name", "field", "offset", "width"),
    [
        ("InstrumentDefMsg", "raw_symbol", 238, 71),
        ("InstrumentDefMsg", "leg_side", 502, 1),
        ("InstrumentDefMsgV1", "raw_symbol", 200, 22),
        ("InstrumentDefMsgV1", "strike_price", 328, 8),
        ("StatMsg", "quantity", 40, 8),
        ("StatMsgV1", "quantity", 40, 4),
        ("SystemMsg", "code", 319, 1),
        ("ErrorMsg", "is_last", 319, 1),
        ("MBP10Msg", "ask_ct_09", 364, 4),
        ("CMBP1Msg", "ask_pb_00", 76, 2),
    ],
)
def test_offsets_that_other_readers_got_wrong(
    name: str, field: str, offset: int, width: int
) -> None:
    found = LAYOUT_BY_NAME[name].by_name[field]
    assert (found.offset, found.size) == (offset, width)


@by_layout
def test_index_timestamp_is_ts_recv_where_there_is_one(layout: Layout) -> None:
    names = [field.name for field in layout.fields]
    assert layout.index_ts == ("ts_recv" if "ts_recv" in names else "ts_event")
    assert layout.ordered[0].name == layout.index_ts


@pytest.mark.parametrize(
    ("name", "n"),
    [("TradeMsg", 0), ("MBP1Msg", 1), ("MBP10Msg", 10), ("CBBOMsg", 1), ("SystemMsg", 0)],
)
def test_number_of_levels(name: str, n: int) -> None:
    assert LAYOUT_BY_NAME[name].n_levels == n


def test_level_fields_share_a_base_name() -> None:
    field = LAYOUT_BY_NAME["MBP10Msg"].by_name["bid_px_07"]
    assert (field.base_name, field.level) == ("bid_px", 7)
    assert LAYOUT_BY_NAME["MBP10Msg"].by_name["price"].base_name == "price"


# empty() and undefined values


@by_layout
@pytest.mark.parametrize("ts_out", [False, True], ids=["plain", "ts_out"])
def test_undefined_record_states_its_length_and_rtype(layout: Layout, ts_out: bool) -> None:
    record = layout.undefined(ts_out)
    assert record.shape == (1,)
    assert int(record["length"][0]) * 4 == layout.itemsize(ts_out)
    assert record["rtype"][0] == layout.rtypes[0]
    assert record["publisher_id"][0] == record["instrument_id"][0] == 0
    for field in layout.all_fields(ts_out):
        value = record[field.name][0]
        if field.kind == PRICE:
            assert value == 2**63 - 1
        elif field.kind == TIMESTAMP:
            assert value == 2**64 - 1
        elif field.kind == CSTR:
            assert value == b""
        elif field.kind == RESERVED:
            assert not any(value.tobytes())
    for name, undef in (("side", b"N"), ("action", b"N"), ("is_trading", b"~")):
        if name in layout.by_name and layout.by_name[name].format == "S1":
            assert record[name][0] == undef


@pytest.mark.parametrize(
    ("schema", "version", "field", "value"),
    [
        ("statistics", 1, "quantity", 2**31 - 1),
        ("statistics", 3, "quantity", 2**63 - 1),
        ("imbalance", 3, "paired_qty", 2**32 - 1),
        ("mbo", 3, "channel_id", 255),
        ("definition", 3, "appl_id", 2**15 - 1),
        ("definition", 3, "contract_multiplier_unit", 127),
        ("definition", 3, "match_algorithm", b" "),
        ("definition", 3, "instrument_class", b""),
        ("definition", 3, "leg_count", 0),
        (dbnfast.RType.SYSTEM, 3, "code", 255),
        (dbnfast.RType.SYMBOL_MAPPING, 3, "stype_in", 255),
    ],
    ids=str,
)
def test_empty_has_each_fields_own_undefined_value(
    schema: str, version: int, field: str, value: Any
) -> None:
    assert dbnfast.empty(schema, 2, version=version)[field].tolist() == [value, value]


def test_empty_is_a_new_writable_array_of_the_rtype_asked_for() -> None:
    bars = dbnfast.empty("ohlcv-1d", 3, ts_out=True)
    assert bars.dtype == dbnfast.dtype("ohlcv-1d", ts_out=True)
    assert bars["rtype"].tolist() == [35, 35, 35]
    assert bars["length"].tolist() == [16, 16, 16]
    assert bars["ts_out"].tolist() == [2**64 - 1] * 3
    assert bars.flags.writeable
    assert bars.flags.owndata
    assert dbnfast.empty("mbo", 0).shape == (0,)


@pytest.mark.parametrize("n", [(), (2, 3), "", b"ab", 1.0, None, [1]])
def test_empty_wants_a_number(n: Any) -> None:
    with pytest.raises(TypeError):
        dbnfast.empty("trades", n)


def test_empty_refuses_a_negative_number() -> None:
    with pytest.raises(ValueError, match="negative"):
        dbnfast.empty("mbo", -1)


def test_a_row_without_undefined_value_reads_as_zero() -> None:
    assert F("x", "<u4", INT).at(4).has_undef is False
    assert F("x", "<u4", INT).at(4).undef == 0
    assert F("x", "S4", CSTR).at(0).undef == b""
    assert F("x", "i1", INT, undef="max").at(0).undef == 127
