"""The records that are the same in every version of DBN."""

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

__all__ = [
    "BBO1MMsg",
    "BBO1SMsg",
    "BBOMsg",
    "CBBO1MMsg",
    "CBBO1SMsg",
    "CBBOMsg",
    "CMBP1Msg",
    "ImbalanceMsg",
    "MBOMsg",
    "MBP10Msg",
    "MBP1Msg",
    "OHLCVMsg",
    "StatusMsg",
    "TBBOMsg",
    "TCBBOMsg",
    "TradeMsg",
]
