"""The records of DBN version 3."""

from dbnfast.dbn import unversioned
from dbnfast.dbn.unversioned import *  # noqa: F403 - its __all__ says which
from dbnfast.enums import SYMBOL_CSTR_LEN_V3 as SYMBOL_CSTR_LEN
from dbnfast.records.messages import (
    ErrorMsg,
    InstrumentDefMsg,
    StatMsg,
    SymbolMappingMsg,
    SystemMsg,
)

__all__ = [
    "SYMBOL_CSTR_LEN",
    "ErrorMsg",
    "InstrumentDefMsg",
    "StatMsg",
    "SymbolMappingMsg",
    "SystemMsg",
]
__all__ += unversioned.__all__
