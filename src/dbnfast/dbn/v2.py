"""The records of DBN version 2."""

from dbnfast.enums import SYMBOL_CSTR_LEN_V2 as SYMBOL_CSTR_LEN
from dbnfast.records.messages import (
    BBO1MMsg,
    BBO1SMsg,
    BBOMsg,
    CBBO1MMsg,
    CBBO1SMsg,
    CBBOMsg,
    CMBP1Msg,
    ErrorMsg,
    ImbalanceMsg,
    MBOMsg,
    MBP1Msg,
    MBP10Msg,
    OHLCVMsg,
    StatusMsg,
    SymbolMappingMsg,
    SystemMsg,
    TBBOMsg,
    TCBBOMsg,
    TradeMsg,
)
from dbnfast.records.messages import (
    InstrumentDefMsgV2 as InstrumentDefMsg,
)
from dbnfast.records.messages import (
    StatMsgV1 as StatMsg,
)

__all__ = [
    "SYMBOL_CSTR_LEN",
    "BBO1MMsg",
    "BBO1SMsg",
    "BBOMsg",
    "CBBO1MMsg",
    "CBBO1SMsg",
    "CBBOMsg",
    "CMBP1Msg",
    "ErrorMsg",
    "ImbalanceMsg",
    "InstrumentDefMsg",
    "MBOMsg",
    "MBP10Msg",
    "MBP1Msg",
    "OHLCVMsg",
    "StatMsg",
    "StatusMsg",
    "SymbolMappingMsg",
    "SystemMsg",
    "TBBOMsg",
    "TCBBOMsg",
    "TradeMsg",
]
