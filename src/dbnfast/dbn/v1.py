"""The records of DBN version 1."""

from dbnfast.enums import SYMBOL_CSTR_LEN_V1 as SYMBOL_CSTR_LEN
from dbnfast.records.messages import (
    BBO1MMsg,
    BBO1SMsg,
    BBOMsg,
    CBBO1MMsg,
    CBBO1SMsg,
    CBBOMsg,
    CMBP1Msg,
    ImbalanceMsg,
    MBOMsg,
    MBP1Msg,
    MBP10Msg,
    OHLCVMsg,
    StatusMsg,
    TBBOMsg,
    TCBBOMsg,
    TradeMsg,
)
from dbnfast.records.messages import (
    ErrorMsgV1 as ErrorMsg,
)
from dbnfast.records.messages import (
    InstrumentDefMsgV1 as InstrumentDefMsg,
)
from dbnfast.records.messages import (
    StatMsgV1 as StatMsg,
)
from dbnfast.records.messages import (
    SymbolMappingMsgV1 as SymbolMappingMsg,
)
from dbnfast.records.messages import (
    SystemMsgV1 as SystemMsg,
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
