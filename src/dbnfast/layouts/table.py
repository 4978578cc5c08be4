"""
THE table of records: every struct of DBN, field by field.

Everything else follows from it: dtypes, record classes, copy and upgrade programs, text
order, the table in ``docs/records.md``. Nothing else in the package states an offset.

A row is ``F(name, format, kind, text order)``. Offsets are not written: structs have no
implicit padding, so a field begins where the one before it ends. The length of this module
is the table's.

Source: ``docs/format.md``; names, offsets and sizes are compared with the official package
by ``tests/unit/layouts/test_layouts.py``.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dbnfast.enums import (
    SCHEMA_RTYPES,
    Action,
    ErrorCode,
    InstrumentClass,
    MatchAlgorithm,
    RType,
    Schema,
    SecurityUpdateAction,
    Side,
    StatType,
    StatUpdateAction,
    StatusAction,
    StatusReason,
    SType,
    SystemCode,
    TradingEvent,
    TriState,
    UserDefinedInstrument,
)
from dbnfast.layouts.fields import (
    CHAR,
    CSTR,
    ENUM,
    FLAGS,
    INT,
    MAX,
    PRICE,
    RESERVED,
    TIMESTAMP,
    F,
    Layout,
)

HEADER_SIZE: Final = 16
MAX_RECORD_SIZE: Final = 255 * 4  # what the header's length byte can say
# the rtypes of the gateway's own records, which are of no instrument
CONTROL: Final = frozenset((int(RType.ERROR), int(RType.SYMBOL_MAPPING), int(RType.SYSTEM)))


def _header(has_ts_recv: bool) -> tuple[F, ...]:
    first = 1 if has_ts_recv else 0  # text puts ts_recv before the header where there is one
    return (
        F("length", "u1", INT),
        F("rtype", "u1", ENUM, first + 1, enum=RType),
        F("publisher_id", "<u2", INT, first + 2),
        F("instrument_id", "<u4", INT, first + 3),
        F("ts_event", "<u8", TIMESTAMP, first),
    )


_BID_ASK: Final = (
    ("bid_px", "<i8", PRICE),
    ("ask_px", "<i8", PRICE),
    ("bid_sz", "<u4", INT),
    ("ask_sz", "<u4", INT),
    ("bid_ct", "<u4", INT),
    ("ask_ct", "<u4", INT),
)
_CONSOLIDATED: Final = (
    ("bid_px", "<i8", PRICE),
    ("ask_px", "<i8", PRICE),
    ("bid_sz", "<u4", INT),
    ("ask_sz", "<u4", INT),
    ("bid_pb", "<u2", INT),
    ("_reserved1", "V2", RESERVED),
    ("ask_pb", "<u2", INT),
    ("_reserved2", "V2", RESERVED),
)


def _levels(n: int, pair: tuple[tuple[str, str, str], ...], first: int) -> list[F]:
    rows, order = [], first
    for level in range(n):
        for name, format_, kind in pair:
            rows.append(
                F(
                    f"{name}_{level:02}",
                    format_,
                    kind,
                    None if kind == RESERVED else order,
                    level=level,
                )
            )
            order += kind != RESERVED
    return rows


def _layout(
    name: str,
    versions: tuple[int, ...],
    rtypes: tuple[RType, ...],
    schemas: tuple[str, ...],
    *rows: F,
) -> Layout:
    header = _header(any(row.name == "ts_recv" for row in rows))
    return Layout(name, versions, rtypes, schemas, header + rows)


_OHLCV_RTYPES: Final = (
    RType.OHLCV_1S,
    RType.OHLCV_1M,
    RType.OHLCV_1H,
    RType.OHLCV_1D,
    RType.OHLCV_EOD,
    RType.OHLCV_DEPRECATED,
)

# fmt: off
LAYOUTS: Final[tuple[Layout, ...]] = (
    _layout(
        "MBOMsg", (1, 2, 3), (RType.MBO,), ("mbo",),
        F("order_id", "<u8", INT, 10),
        F("price", "<i8", PRICE, 7),
        F("size", "<u4", INT, 8, undef=MAX),
        F("flags", "u1", FLAGS, 11),
        F("channel_id", "u1", INT, 9, undef=MAX),
        F("action", "S1", CHAR, 5, undef=b"N", enum=Action),
        F("side", "S1", CHAR, 6, undef=b"N", enum=Side),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ts_in_delta", "<i4", INT, 12),
        F("sequence", "<u4", INT, 13),
    ),
    _layout(
        "TradeMsg", (1, 2, 3), (RType.MBP_0,), ("trades",),
        F("price", "<i8", PRICE, 8),
        F("size", "<u4", INT, 9, undef=MAX),
        F("action", "S1", CHAR, 5, undef=b"N", enum=Action),
        F("side", "S1", CHAR, 6, undef=b"N", enum=Side),
        F("flags", "u1", FLAGS, 10),
        F("depth", "u1", INT, 7),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ts_in_delta", "<i4", INT, 11),
        F("sequence", "<u4", INT, 12),
    ),
    _layout(
        "MBP1Msg", (1, 2, 3), (RType.MBP_1, RType.TBBO), ("mbp-1", "tbbo"),
        F("price", "<i8", PRICE, 8),
        F("size", "<u4", INT, 9, undef=MAX),
        F("action", "S1", CHAR, 5, undef=b"N", enum=Action),
        F("side", "S1", CHAR, 6, undef=b"N", enum=Side),
        F("flags", "u1", FLAGS, 10),
        F("depth", "u1", INT, 7),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ts_in_delta", "<i4", INT, 11),
        F("sequence", "<u4", INT, 12),
        *_levels(1, _BID_ASK, 13),
    ),
    _layout(
        "MBP10Msg", (1, 2, 3), (RType.MBP_10,), ("mbp-10",),
        F("price", "<i8", PRICE, 8),
        F("size", "<u4", INT, 9, undef=MAX),
        F("action", "S1", CHAR, 5, undef=b"N", enum=Action),
        F("side", "S1", CHAR, 6, undef=b"N", enum=Side),
        F("flags", "u1", FLAGS, 10),
        F("depth", "u1", INT, 7),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ts_in_delta", "<i4", INT, 11),
        F("sequence", "<u4", INT, 12),
        *_levels(10, _BID_ASK, 13),
    ),
    _layout(
        "BBOMsg", (1, 2, 3), (RType.BBO_1S, RType.BBO_1M,), ("bbo-1s", "bbo-1m"),
        F("price", "<i8", PRICE, 6),
        F("size", "<u4", INT, 7, undef=MAX),
        F("_reserved1", "V1", RESERVED),
        F("side", "S1", CHAR, 5, undef=b"N", enum=Side),
        F("flags", "u1", FLAGS, 8),
        F("_reserved2", "V1", RESERVED),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("_reserved3", "V4", RESERVED),
        F("sequence", "<u4", INT, 9),
        *_levels(1, _BID_ASK, 10),
    ),
    _layout(
        "CMBP1Msg", (1, 2, 3), (RType.CMBP_1, RType.TCBBO,), ("cmbp-1", "tcbbo"),
        F("price", "<i8", PRICE, 7),
        F("size", "<u4", INT, 8, undef=MAX),
        F("action", "S1", CHAR, 5, undef=b"N", enum=Action),
        F("side", "S1", CHAR, 6, undef=b"N", enum=Side),
        F("flags", "u1", FLAGS, 9),
        F("_reserved1", "V1", RESERVED),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ts_in_delta", "<i4", INT, 10),
        F("_reserved2", "V4", RESERVED),
        *_levels(1, _CONSOLIDATED, 11),
    ),
    _layout(
        "CBBOMsg", (1, 2, 3), (RType.CBBO_1S, RType.CBBO_1M,), ("cbbo-1s", "cbbo-1m"),
        F("price", "<i8", PRICE, 6),
        F("size", "<u4", INT, 7, undef=MAX),
        F("_reserved1", "V1", RESERVED),
        F("side", "S1", CHAR, 5, undef=b"N", enum=Side),
        F("flags", "u1", FLAGS, 8),
        F("_reserved2", "V1", RESERVED),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("_reserved3", "V8", RESERVED),
        *_levels(1, _CONSOLIDATED, 9),
    ),
    _layout(
        "OHLCVMsg", (1, 2, 3), _OHLCV_RTYPES,
        ("ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d", "ohlcv-eod"),
        F("open", "<i8", PRICE, 4),
        F("high", "<i8", PRICE, 5),
        F("low", "<i8", PRICE, 6),
        F("close", "<i8", PRICE, 7),
        F("volume", "<u8", INT, 8),
    ),
    _layout(
        "StatusMsg", (1, 2, 3), (RType.STATUS,), ("status",),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("action", "<u2", ENUM, 5, enum=StatusAction),
        F("reason", "<u2", ENUM, 6, enum=StatusReason),
        F("trading_event", "<u2", ENUM, 7, enum=TradingEvent),
        F("is_trading", "S1", CHAR, 8, undef=b"~", enum=TriState),
        F("is_quoting", "S1", CHAR, 9, undef=b"~", enum=TriState),
        F("is_short_sell_restricted", "S1", CHAR, 10, undef=b"~", enum=TriState),
        F("_reserved", "V7", RESERVED),
    ),
    _layout(
        "ImbalanceMsg", (1, 2, 3), (RType.IMBALANCE,), ("imbalance",),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ref_price", "<i8", PRICE, 5),
        F("auction_time", "<u8", TIMESTAMP, 6),
        F("cont_book_clr_price", "<i8", PRICE, 7),
        F("auct_interest_clr_price", "<i8", PRICE, 8),
        F("ssr_filling_price", "<i8", PRICE, 9),
        F("ind_match_price", "<i8", PRICE, 10),
        F("upper_collar", "<i8", PRICE, 11),
        F("lower_collar", "<i8", PRICE, 12),
        F("paired_qty", "<u4", INT, 13, undef=MAX),
        F("total_imbalance_qty", "<u4", INT, 14, undef=MAX),
        F("market_imbalance_qty", "<u4", INT, 15, undef=MAX),
        F("unpaired_qty", "<u4", INT, 16, undef=MAX),
        F("auction_type", "S1", CHAR, 17, undef=b"~"),
        F("side", "S1", CHAR, 18, undef=b"N", enum=Side),
        F("auction_status", "u1", INT, 19),
        F("freeze_status", "u1", INT, 20),
        F("num_extensions", "u1", INT, 21),
        F("unpaired_side", "S1", CHAR, 22, undef=b"N", enum=Side),
        F("significant_imbalance", "S1", CHAR, 23, undef=b"~"),
        F("_reserved", "V1", RESERVED),
    ),
    _layout(
        "InstrumentDefMsgV1", (1,), (RType.INSTRUMENT_DEF,), ("definition",),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("min_price_increment", "<i8", PRICE, 8),
        F("display_factor", "<i8", PRICE, 9),
        F("expiration", "<u8", TIMESTAMP, 10),
        F("activation", "<u8", TIMESTAMP, 11),
        F("high_limit_price", "<i8", PRICE, 12),
        F("low_limit_price", "<i8", PRICE, 13),
        F("max_price_variation", "<i8", PRICE, 14),
        F("trading_reference_price", "<i8", PRICE, 15),
        F("unit_of_measure_qty", "<i8", PRICE, 16),
        F("min_price_increment_amount", "<i8", PRICE, 17),
        F("price_ratio", "<i8", PRICE, 18),
        F("inst_attrib_value", "<i4", INT, 19, undef=MAX),
        F("underlying_id", "<u4", INT, 20),
        F("raw_instrument_id", "<u4", INT, 21),
        F("market_depth_implied", "<i4", INT, 22, undef=MAX),
        F("market_depth", "<i4", INT, 23, undef=MAX),
        F("market_segment_id", "<u4", INT, 24, undef=MAX),
        F("max_trade_vol", "<u4", INT, 25, undef=MAX),
        F("min_lot_size", "<i4", INT, 26, undef=MAX),
        F("min_lot_size_block", "<i4", INT, 27, undef=MAX),
        F("min_lot_size_round_lot", "<i4", INT, 28, undef=MAX),
        F("min_trade_vol", "<u4", INT, 29, undef=MAX),
        F("_reserved2", "V4", RESERVED),
        F("contract_multiplier", "<i4", INT, 30, undef=MAX),
        F("decay_quantity", "<i4", INT, 31, undef=MAX),
        F("original_contract_size", "<i4", INT, 32, undef=MAX),
        F("_reserved3", "V4", RESERVED),
        F("trading_reference_date", "<u2", INT, 33, undef=MAX),
        F("appl_id", "<i2", INT, 34, undef=MAX),
        F("maturity_year", "<u2", INT, 35, undef=MAX),
        F("decay_start_date", "<u2", INT, 36, undef=MAX),
        F("channel_id", "<u2", INT, 37, undef=MAX),
        F("currency", "S4", CSTR, 38),
        F("settl_currency", "S4", CSTR, 39),
        F("secsubtype", "S6", CSTR, 40),
        F("raw_symbol", "S22", CSTR, 5),
        F("group", "S21", CSTR, 41),
        F("exchange", "S5", CSTR, 42),
        F("asset", "S7", CSTR, 43),
        F("cfi", "S7", CSTR, 44),
        F("security_type", "S7", CSTR, 45),
        F("unit_of_measure", "S31", CSTR, 46),
        F("underlying", "S21", CSTR, 47),
        F("strike_price_currency", "S4", CSTR, 48),
        F("instrument_class", "S1", CHAR, 7, enum=InstrumentClass),
        F("_reserved4", "V2", RESERVED),
        F("strike_price", "<i8", PRICE, 49),
        F("_reserved5", "V6", RESERVED),
        F("match_algorithm", "S1", CHAR, 50, undef=b" ", enum=MatchAlgorithm),
        F("md_security_trading_status", "u1", INT, 51, undef=MAX),
        F("main_fraction", "u1", INT, 52, undef=MAX),
        F("price_display_format", "u1", INT, 53, undef=MAX),
        F("settl_price_type", "u1", INT, 54, undef=MAX),
        F("sub_fraction", "u1", INT, 55, undef=MAX),
        F("underlying_product", "u1", INT, 56, undef=MAX),
        F("security_update_action", "S1", CHAR, 6, enum=SecurityUpdateAction, raw_byte=True),
        F("maturity_month", "u1", INT, 57, undef=MAX),
        F("maturity_day", "u1", INT, 58, undef=MAX),
        F("maturity_week", "u1", INT, 59, undef=MAX),
        F("user_defined_instrument", "S1", CHAR, 60, enum=UserDefinedInstrument, raw_byte=True),
        F("contract_multiplier_unit", "i1", INT, 61, undef=MAX),
        F("flow_schedule_type", "i1", INT, 62, undef=MAX),
        F("tick_rule", "u1", INT, 63, undef=MAX),
        F("_dummy", "V3", RESERVED),
    ),
    _layout(
        "InstrumentDefMsgV2", (2,), (RType.INSTRUMENT_DEF,), ("definition",),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("min_price_increment", "<i8", PRICE, 8),
        F("display_factor", "<i8", PRICE, 9),
        F("expiration", "<u8", TIMESTAMP, 10),
        F("activation", "<u8", TIMESTAMP, 11),
        F("high_limit_price", "<i8", PRICE, 12),
        F("low_limit_price", "<i8", PRICE, 13),
        F("max_price_variation", "<i8", PRICE, 14),
        F("trading_reference_price", "<i8", PRICE, 15),
        F("unit_of_measure_qty", "<i8", PRICE, 16),
        F("min_price_increment_amount", "<i8", PRICE, 17),
        F("price_ratio", "<i8", PRICE, 18),
        F("strike_price", "<i8", PRICE, 49),
        F("inst_attrib_value", "<i4", INT, 19, undef=MAX),
        F("underlying_id", "<u4", INT, 20),
        F("raw_instrument_id", "<u4", INT, 21),
        F("market_depth_implied", "<i4", INT, 22, undef=MAX),
        F("market_depth", "<i4", INT, 23, undef=MAX),
        F("market_segment_id", "<u4", INT, 24, undef=MAX),
        F("max_trade_vol", "<u4", INT, 25, undef=MAX),
        F("min_lot_size", "<i4", INT, 26, undef=MAX),
        F("min_lot_size_block", "<i4", INT, 27, undef=MAX),
        F("min_lot_size_round_lot", "<i4", INT, 28, undef=MAX),
        F("min_trade_vol", "<u4", INT, 29, undef=MAX),
        F("contract_multiplier", "<i4", INT, 30, undef=MAX),
        F("decay_quantity", "<i4", INT, 31, undef=MAX),
        F("original_contract_size", "<i4", INT, 32, undef=MAX),
        F("trading_reference_date", "<u2", INT, 33, undef=MAX),
        F("appl_id", "<i2", INT, 34, undef=MAX),
        F("maturity_year", "<u2", INT, 35, undef=MAX),
        F("decay_start_date", "<u2", INT, 36, undef=MAX),
        F("channel_id", "<u2", INT, 37, undef=MAX),
        F("currency", "S4", CSTR, 38),
        F("settl_currency", "S4", CSTR, 39),
        F("secsubtype", "S6", CSTR, 40),
        F("raw_symbol", "S71", CSTR, 5),
        F("group", "S21", CSTR, 41),
        F("exchange", "S5", CSTR, 42),
        F("asset", "S7", CSTR, 43),
        F("cfi", "S7", CSTR, 44),
        F("security_type", "S7", CSTR, 45),
        F("unit_of_measure", "S31", CSTR, 46),
        F("underlying", "S21", CSTR, 47),
        F("strike_price_currency", "S4", CSTR, 48),
        F("instrument_class", "S1", CHAR, 7, enum=InstrumentClass),
        F("match_algorithm", "S1", CHAR, 50, undef=b" ", enum=MatchAlgorithm),
        F("md_security_trading_status", "u1", INT, 51, undef=MAX),
        F("main_fraction", "u1", INT, 52, undef=MAX),
        F("price_display_format", "u1", INT, 53, undef=MAX),
        F("settl_price_type", "u1", INT, 54, undef=MAX),
        F("sub_fraction", "u1", INT, 55, undef=MAX),
        F("underlying_product", "u1", INT, 56, undef=MAX),
        F("security_update_action", "S1", CHAR, 6, enum=SecurityUpdateAction),
        F("maturity_month", "u1", INT, 57, undef=MAX),
        F("maturity_day", "u1", INT, 58, undef=MAX),
        F("maturity_week", "u1", INT, 59, undef=MAX),
        F("user_defined_instrument", "S1", CHAR, 60, enum=UserDefinedInstrument, raw_byte=True),
        F("contract_multiplier_unit", "i1", INT, 61, undef=MAX),
        F("flow_schedule_type", "i1", INT, 62, undef=MAX),
        F("tick_rule", "u1", INT, 63, undef=MAX),
        F("_reserved", "V10", RESERVED),
    ),
    _layout(
        "InstrumentDefMsg", (3,), (RType.INSTRUMENT_DEF,), ("definition",),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("min_price_increment", "<i8", PRICE, 8),
        F("display_factor", "<i8", PRICE, 9),
        F("expiration", "<u8", TIMESTAMP, 10),
        F("activation", "<u8", TIMESTAMP, 11),
        F("high_limit_price", "<i8", PRICE, 12),
        F("low_limit_price", "<i8", PRICE, 13),
        F("max_price_variation", "<i8", PRICE, 14),
        F("unit_of_measure_qty", "<i8", PRICE, 15),
        F("min_price_increment_amount", "<i8", PRICE, 16),
        F("price_ratio", "<i8", PRICE, 17),
        F("strike_price", "<i8", PRICE, 47),
        F("raw_instrument_id", "<u8", INT, 20),
        F("leg_price", "<i8", PRICE, 66),
        F("leg_delta", "<i8", PRICE, 67),
        F("inst_attrib_value", "<i4", INT, 18, undef=MAX),
        F("underlying_id", "<u4", INT, 19),
        F("market_depth_implied", "<i4", INT, 21, undef=MAX),
        F("market_depth", "<i4", INT, 22, undef=MAX),
        F("market_segment_id", "<u4", INT, 23, undef=MAX),
        F("max_trade_vol", "<u4", INT, 24, undef=MAX),
        F("min_lot_size", "<i4", INT, 25, undef=MAX),
        F("min_lot_size_block", "<i4", INT, 26, undef=MAX),
        F("min_lot_size_round_lot", "<i4", INT, 27, undef=MAX),
        F("min_trade_vol", "<u4", INT, 28, undef=MAX),
        F("contract_multiplier", "<i4", INT, 29, undef=MAX),
        F("decay_quantity", "<i4", INT, 30, undef=MAX),
        F("original_contract_size", "<i4", INT, 31, undef=MAX),
        F("leg_instrument_id", "<u4", INT, 62),
        F("leg_ratio_price_numerator", "<i4", INT, 68),
        F("leg_ratio_price_denominator", "<i4", INT, 69),
        F("leg_ratio_qty_numerator", "<i4", INT, 70),
        F("leg_ratio_qty_denominator", "<i4", INT, 71),
        F("leg_underlying_id", "<u4", INT, 72),
        F("appl_id", "<i2", INT, 32, undef=MAX),
        F("maturity_year", "<u2", INT, 33, undef=MAX),
        F("decay_start_date", "<u2", INT, 34, undef=MAX),
        F("channel_id", "<u2", INT, 35, undef=MAX),
        F("leg_count", "<u2", INT, 60),
        F("leg_index", "<u2", INT, 61),
        F("currency", "S4", CSTR, 36),
        F("settl_currency", "S4", CSTR, 37),
        F("secsubtype", "S6", CSTR, 38),
        F("raw_symbol", "S71", CSTR, 5),
        F("group", "S21", CSTR, 39),
        F("exchange", "S5", CSTR, 40),
        F("asset", "S11", CSTR, 41),
        F("cfi", "S7", CSTR, 42),
        F("security_type", "S7", CSTR, 43),
        F("unit_of_measure", "S31", CSTR, 44),
        F("underlying", "S21", CSTR, 45),
        F("strike_price_currency", "S4", CSTR, 46),
        F("leg_raw_symbol", "S71", CSTR, 63),
        F("instrument_class", "S1", CHAR, 7, enum=InstrumentClass),
        F("match_algorithm", "S1", CHAR, 48, undef=b" ", enum=MatchAlgorithm),
        F("main_fraction", "u1", INT, 49, undef=MAX),
        F("price_display_format", "u1", INT, 50, undef=MAX),
        F("sub_fraction", "u1", INT, 51, undef=MAX),
        F("underlying_product", "u1", INT, 52, undef=MAX),
        F("security_update_action", "S1", CHAR, 6, enum=SecurityUpdateAction),
        F("maturity_month", "u1", INT, 53, undef=MAX),
        F("maturity_day", "u1", INT, 54, undef=MAX),
        F("maturity_week", "u1", INT, 55, undef=MAX),
        F("user_defined_instrument", "S1", CHAR, 56, enum=UserDefinedInstrument),
        F("contract_multiplier_unit", "i1", INT, 57, undef=MAX),
        F("flow_schedule_type", "i1", INT, 58, undef=MAX),
        F("tick_rule", "u1", INT, 59, undef=MAX),
        F("leg_instrument_class", "S1", CHAR, 64, enum=InstrumentClass),
        F("leg_side", "S1", CHAR, 65, undef=b"N", enum=Side),
        F("_reserved", "V17", RESERVED),
    ),
    _layout(
        "StatMsgV1", (1, 2), (RType.STATISTICS,), ("statistics",),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ts_ref", "<u8", TIMESTAMP, 5),
        F("price", "<i8", PRICE, 6),
        F("quantity", "<i4", INT, 7, undef=MAX),
        F("sequence", "<u4", INT, 8),
        F("ts_in_delta", "<i4", INT, 9),
        F("stat_type", "<u2", ENUM, 10, enum=StatType),
        F("channel_id", "<u2", INT, 11, undef=MAX),
        F("update_action", "u1", ENUM, 12, enum=StatUpdateAction),
        F("stat_flags", "u1", INT, 13),
        F("_reserved", "V6", RESERVED),
    ),
    _layout(
        "StatMsg", (3,), (RType.STATISTICS,), ("statistics",),
        F("ts_recv", "<u8", TIMESTAMP, 0),
        F("ts_ref", "<u8", TIMESTAMP, 5),
        F("price", "<i8", PRICE, 6),
        F("quantity", "<i8", INT, 7, undef=MAX),
        F("sequence", "<u4", INT, 8),
        F("ts_in_delta", "<i4", INT, 9),
        F("stat_type", "<u2", ENUM, 10, enum=StatType),
        F("channel_id", "<u2", INT, 11, undef=MAX),
        F("update_action", "u1", ENUM, 12, enum=StatUpdateAction),
        F("stat_flags", "u1", INT, 13),
        F("_reserved", "V18", RESERVED),
    ),
    _layout(
        "ErrorMsgV1", (1,), (RType.ERROR,), (),
        F("err", "S64", CSTR, 4),
    ),
    _layout(
        "ErrorMsg", (2, 3), (RType.ERROR,), (),
        F("err", "S302", CSTR, 4),
        F("code", "u1", ENUM, 5, undef=MAX, enum=ErrorCode),
        F("is_last", "u1", INT, 6, undef=MAX),
    ),
    _layout(
        "SymbolMappingMsgV1", (1,), (RType.SYMBOL_MAPPING,), (),
        F("stype_in_symbol", "S22", CSTR, 4),
        F("stype_out_symbol", "S22", CSTR, 5),
        F("_dummy", "V4", RESERVED),
        F("start_ts", "<u8", TIMESTAMP, 6),
        F("end_ts", "<u8", TIMESTAMP, 7),
    ),
    _layout(
        "SymbolMappingMsg", (2, 3), (RType.SYMBOL_MAPPING,), (),
        F("stype_in", "u1", ENUM, 4, undef=MAX, enum=SType),
        F("stype_in_symbol", "S71", CSTR, 5),
        F("stype_out", "u1", ENUM, 6, undef=MAX, enum=SType),
        F("stype_out_symbol", "S71", CSTR, 7),
        F("start_ts", "<u8", TIMESTAMP, 8),
        F("end_ts", "<u8", TIMESTAMP, 9),
    ),
    _layout(
        "SystemMsgV1", (1,), (RType.SYSTEM,), (),
        F("msg", "S64", CSTR, 4),
    ),
    _layout(
        "SystemMsg", (2, 3), (RType.SYSTEM,), (),
        F("msg", "S303", CSTR, 4),
        F("code", "u1", ENUM, 5, undef=MAX, enum=SystemCode),
    ),
)
# fmt: on

LAYOUT_BY_NAME: Final[dict[str, Layout]] = {layout.name: layout for layout in LAYOUTS}

# smallest, and so oldest, first
LAYOUTS_BY_RTYPE: Final[dict[int, tuple[Layout, ...]]] = {
    int(rtype): tuple(sorted((x for x in LAYOUTS if rtype in x.rtypes), key=lambda x: x.size))
    for layout in LAYOUTS
    for rtype in layout.rtypes
}

HEADER_DTYPE: Final = np.dtype([(row.name, row.format) for row in _header(False)])


def layout_for(rtype: int, version: int) -> Layout | None:
    """
    Find the layout that streams of a version use for an rtype.

    Parameters
    ----------
    rtype : int
        The record type.
    version : int
        The DBN version, 1 to 3.

    Returns
    -------
    Layout or None
        None where no layout is known.
    """
    for layout in LAYOUTS_BY_RTYPE.get(rtype, ()):
        if version in layout.versions:
            return layout
    return None


def layout_by_size(rtype: int, n_bytes: int, ts_out: bool) -> Layout | None:
    """
    Find the layout of a record by its size, as streams whose header lies need it.

    Parameters
    ----------
    rtype : int
        The record type.
    n_bytes : int
        The record's whole size, ts_out included.
    ts_out : bool
        Whether a ts_out follows every record.

    Returns
    -------
    Layout or None
        The largest layout that fits; None where the rtype has none or none fits.
    """
    found = None
    for layout in LAYOUTS_BY_RTYPE.get(rtype, ()):
        if layout.itemsize(ts_out) <= n_bytes:
            found = layout
    return found


def layout_for_schema(schema: Schema, version: int) -> Layout:
    """
    Find the layout of a schema's records.

    Parameters
    ----------
    schema : Schema
        The schema.
    version : int
        The DBN version, 1 to 3.

    Returns
    -------
    Layout
    """
    layout = layout_for(SCHEMA_RTYPES[schema], version)
    assert layout is not None  # every schema has a layout in every version
    return layout
