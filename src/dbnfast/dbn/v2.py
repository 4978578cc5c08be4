"""The records of DBN version 2."""

from dbnfast.dbn import unversioned
from dbnfast.dbn.unversioned import *  # noqa: F403 - its __all__ says which
from dbnfast.enums import SYMBOL_CSTR_LEN_V2 as SYMBOL_CSTR_LEN
from dbnfast.records.messages import ErrorMsg, SymbolMappingMsg, SystemMsg
from dbnfast.records.messages import InstrumentDefMsgV2 as InstrumentDefMsg
from dbnfast.records.messages import StatMsgV1 as StatMsg

__all__ = [
    "SYMBOL_CSTR_LEN",
    "ErrorMsg",
    "InstrumentDefMsg",
    "StatMsg",
    "SymbolMappingMsg",
    "SystemMsg",
]
__all__ += unversioned.__all__
