"""
The names of ``databento_dbn``, for programs that were written for it.

Records, enumerations and constants are those of ``dbnfast``.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Protocol

from dbnfast.codec.metadata import MappingIntervalDict, Metadata
from dbnfast.dbn import v1, v2, v3
from dbnfast.dbn.decoder import DBNDecoder
from dbnfast.dbn.transcoder import Transcoder, update_encoded_metadata
from dbnfast.enums import (
    DBN_VERSION,
    F_BAD_TS_RECV,
    F_LAST,
    F_MAYBE_BAD_BOOK,
    F_MBP,
    F_PUBLISHER_SPECIFIC,
    F_SNAPSHOT,
    F_TOB,
    FIXED_PRICE_SCALE,
    SYMBOL_CSTR_LEN,
    SYMBOL_CSTR_LEN_V1,
    SYMBOL_CSTR_LEN_V2,
    SYMBOL_CSTR_LEN_V3,
    UNDEF_ORDER_SIZE,
    UNDEF_PRICE,
    UNDEF_STAT_QUANTITY,
    UNDEF_TIMESTAMP,
    Action,
    Compression,
    Encoding,
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
    VersionUpgradePolicy,
)
from dbnfast.errors import DbnError as DBNError
from dbnfast.records.messages import (
    BBOMsg,
    BidAskPair,
    CBBOMsg,
    CMBP1Msg,
    ConsolidatedBidAskPair,
    ErrorMsg,
    ErrorMsgV1,
    ImbalanceMsg,
    InstrumentDefMsg,
    InstrumentDefMsgV1,
    InstrumentDefMsgV2,
    MBOMsg,
    MBP1Msg,
    MBP10Msg,
    OHLCVMsg,
    StatMsg,
    StatMsgV1,
    StatusMsg,
    SymbolMappingMsg,
    SymbolMappingMsgV1,
    SystemMsg,
    SystemMsgV1,
    TradeMsg,
)
from dbnfast.records.messages import Record as DBNRecord


class MappingInterval(Protocol):
    """
    What a symbol stands for over some days.

    Attributes
    ----------
    start_date : datetime.date
        The first day.
    end_date : datetime.date
        The day behind the last.
    symbol : str
        What it stands for.
    """

    start_date: datetime.date
    end_date: datetime.date
    symbol: str


class SymbolMapping(Protocol):
    """
    A symbol and all that it stands for.

    Attributes
    ----------
    raw_symbol : str
        The symbol.
    intervals : sequence of MappingInterval
        What it stands for, and when.
    """

    raw_symbol: str
    intervals: Sequence[MappingInterval]


__all__ = [
    "DBNDecoder",
    "DBNError",
    "DBNRecord",
    "MappingInterval",
    "MappingIntervalDict",
    "Metadata",
    "SymbolMapping",
    "Transcoder",
    "update_encoded_metadata",
    "v1",
    "v2",
    "v3",
    # records
    "BBOMsg",
    "BidAskPair",
    "CBBOMsg",
    "CMBP1Msg",
    "ConsolidatedBidAskPair",
    "ErrorMsg",
    "ErrorMsgV1",
    "ImbalanceMsg",
    "InstrumentDefMsg",
    "InstrumentDefMsgV1",
    "InstrumentDefMsgV2",
    "MBOMsg",
    "MBP10Msg",
    "MBP1Msg",
    "OHLCVMsg",
    "StatMsg",
    "StatMsgV1",
    "StatusMsg",
    "SymbolMappingMsg",
    "SymbolMappingMsgV1",
    "SystemMsg",
    "SystemMsgV1",
    "TradeMsg",
    # enumerations and constants
    "Action",
    "Compression",
    "DBN_VERSION",
    "Encoding",
    "ErrorCode",
    "FIXED_PRICE_SCALE",
    "F_BAD_TS_RECV",
    "F_LAST",
    "F_MAYBE_BAD_BOOK",
    "F_MBP",
    "F_PUBLISHER_SPECIFIC",
    "F_SNAPSHOT",
    "F_TOB",
    "InstrumentClass",
    "MatchAlgorithm",
    "RType",
    "SType",
    "SYMBOL_CSTR_LEN",
    "SYMBOL_CSTR_LEN_V1",
    "SYMBOL_CSTR_LEN_V2",
    "SYMBOL_CSTR_LEN_V3",
    "Schema",
    "SecurityUpdateAction",
    "Side",
    "StatType",
    "StatUpdateAction",
    "StatusAction",
    "StatusReason",
    "SystemCode",
    "TradingEvent",
    "TriState",
    "UNDEF_ORDER_SIZE",
    "UNDEF_PRICE",
    "UNDEF_STAT_QUANTITY",
    "UNDEF_TIMESTAMP",
    "UserDefinedInstrument",
    "VersionUpgradePolicy",
]
