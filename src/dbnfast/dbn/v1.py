"""The records of DBN version 1."""

from dbnfast.dbn import unversioned
from dbnfast.dbn.unversioned import *  # noqa: F403 - its __all__ says which
from dbnfast.enums import SYMBOL_CSTR_LEN_V1 as SYMBOL_CSTR_LEN
from dbnfast.records.messages import ErrorMsgV1 as ErrorMsg
from dbnfast.records.messages import InstrumentDefMsgV1 as InstrumentDefMsg
from dbnfast.records.messages import StatMsgV1 as StatMsg
from dbnfast.records.messages import SymbolMappingMsgV1 as SymbolMappingMsg
from dbnfast.records.messages import SystemMsgV1 as SystemMsg

__all__ = [
    "SYMBOL_CSTR_LEN",
    "ErrorMsg",
    "InstrumentDefMsg",
    "StatMsg",
    "SymbolMappingMsg",
    "SystemMsg",
]
__all__ += unversioned.__all__
