"""
Databento Binary Encoding (DBN) to numpy arrays, without a copy.

>>> import dbnfast
>>> trades = dbnfast.empty("trades", 2)
>>> metadata = dbnfast.Metadata(dataset="GLBX.MDP3", schema="trades", start=0)
>>> dbnfast.decode(dbnfast.encode(trades, metadata)).shape
(2,)
"""

import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _sys.byteorder != "little":  # arrays are views of little-endian bytes
    raise ImportError("dbnfast needs a little-endian machine")
if _sys.maxsize < 2**32:  # sizes from the wire are multiplied without a check for overflow
    raise ImportError("dbnfast needs a 64-bit Python")

from dbnfast.codec.decoder import Decoder
from dbnfast.codec.encode import Encoder, encode
from dbnfast.codec.metadata import Metadata
from dbnfast.codec.reader import RecordReader, iter_decode
from dbnfast.codec.scan import decode, scan, split, upgrade
from dbnfast.enums import (
    API_VERSION,
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
    Delivery,
    Encoding,
    ErrorCode,
    FeedMode,
    HistoricalGateway,
    InstrumentClass,
    JobState,
    MatchAlgorithm,
    Packaging,
    PriceType,
    ReconnectPolicy,
    RecordFlags,
    RollRule,
    RType,
    Schema,
    SecurityUpdateAction,
    Side,
    SlowReaderBehavior,
    SplitDuration,
    StatType,
    StatUpdateAction,
    StatusAction,
    StatusReason,
    SType,
    SymbologyResolution,
    SystemCode,
    TradingEvent,
    TriState,
    UserDefinedInstrument,
    VersionUpgradePolicy,
)
from dbnfast.errors import (
    AuthenticationError,
    BentoClientError,
    BentoError,
    BentoHttpError,
    BentoServerError,
    BentoWarning,
    ConnectError,
    DbnError,
    DecodeError,
    DecompressionError,
    EncodeError,
    GatewayError,
    HeartbeatTimeout,
    InvalidRecordError,
    LiveError,
    LocalProtocolError,
    MetadataError,
    MissingExtraError,
    MixedRecordsError,
    RemoteProtocolError,
    SelectionWarning,
    SessionClosed,
    TruncatedError,
    TruncatedWarning,
    UnknownNameError,
    UnsupportedVersionError,
)
from dbnfast.layouts.dtypes import dtype, empty
from dbnfast.records.messages import (
    BBO1MMsg,
    BBO1SMsg,
    BBOMsg,
    BidAskPair,
    CBBO1MMsg,
    CBBO1SMsg,
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
    Record,
    StatMsg,
    StatMsgV1,
    StatusMsg,
    SymbolMappingMsg,
    SymbolMappingMsgV1,
    SystemMsg,
    SystemMsgV1,
    TBBOMsg,
    TCBBOMsg,
    TradeMsg,
)
from dbnfast.records.records import Records
from dbnfast.version import __version__

DBNRecord = Record  # its name in annotations of programs for databento, which has a union

if _TYPE_CHECKING:
    from dbnfast.datasets import Dataset, Venue
    from dbnfast.engines import scan_polars
    from dbnfast.historical import Historical
    from dbnfast.live.asyncio.client import AsyncLive
    from dbnfast.live.events import Disconnected, ErrorEvent, Gap, MarketState, Reconnected, Skipped
    from dbnfast.live.log import enable_logging
    from dbnfast.live.sync.client import Live
    from dbnfast.publishers import PUBLISHERS, Publisher
    from dbnfast.store.parts import Part
    from dbnfast.store.store import Store, read, read_dbn
    from dbnfast.store.store import Store as DBNStore
    from dbnfast.symbology.instruments import InstrumentMap, map_symbols_csv, map_symbols_json
    from dbnfast.symbology.map import SymbolMap
    from dbnfast.text import from_csv, from_json

# what is resolved on first use, so that importing the codec stays fast: name -> module, its name
_LAZY = {
    "AsyncLive": ("dbnfast.live.asyncio.client", "AsyncLive"),
    "DBNStore": ("dbnfast.store.store", "Store"),
    "Dataset": ("dbnfast.datasets", "Dataset"),
    "Disconnected": ("dbnfast.live.events", "Disconnected"),
    "ErrorEvent": ("dbnfast.live.events", "ErrorEvent"),
    "Gap": ("dbnfast.live.events", "Gap"),
    "Historical": ("dbnfast.historical", "Historical"),
    "InstrumentMap": ("dbnfast.symbology.instruments", "InstrumentMap"),
    "Live": ("dbnfast.live.sync.client", "Live"),
    "MarketState": ("dbnfast.live.events", "MarketState"),
    "PUBLISHERS": ("dbnfast.publishers", "PUBLISHERS"),
    "Part": ("dbnfast.store.parts", "Part"),
    "Publisher": ("dbnfast.publishers", "Publisher"),
    "Reconnected": ("dbnfast.live.events", "Reconnected"),
    "Skipped": ("dbnfast.live.events", "Skipped"),
    "Store": ("dbnfast.store.store", "Store"),
    "SymbolMap": ("dbnfast.symbology.map", "SymbolMap"),
    "Venue": ("dbnfast.datasets", "Venue"),
    "enable_logging": ("dbnfast.live.log", "enable_logging"),
    "from_csv": ("dbnfast.text", "from_csv"),
    "from_json": ("dbnfast.text", "from_json"),
    "map_symbols_csv": ("dbnfast.symbology.instruments", "map_symbols_csv"),
    "map_symbols_json": ("dbnfast.symbology.instruments", "map_symbols_json"),
    "read": ("dbnfast.store.store", "read"),
    "read_dbn": ("dbnfast.store.store", "read_dbn"),
    "scan_polars": ("dbnfast.engines", "scan_polars"),
}
# modules with names of their own, which need no import before they are used
_FACES = ("dask", "dbn", "files", "gateway", "live", "reference", "text")
# whether all names are resolved; on other Pythons, and without a GIL, they are one by one
_settled = _sys.version_info >= (3, 14) or not getattr(_sys, "_is_gil_enabled", lambda: True)()


class _Later(_ModuleType):
    """A package that is imported when something of it is used: it then takes this one's place."""

    def __getattr__(self, name: str) -> object:
        return getattr(_import_module(self.__name__), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_import_module(self.__name__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(_import_module(self.__name__))


def __getattr__(name: str) -> object:
    if name in _FACES:
        return _import_module(f"dbnfast.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    found = _found(name)
    _settle()
    return found


def _found(name: str) -> object:
    module, attribute = _LAZY[name]
    found: object = getattr(_import_module(module), attribute)
    globals()[name] = found
    return found


def _settle() -> None:
    # Up to 3.13, every name of a module that has a __getattr__ is looked up slowly, and programs
    # ask for dbnfast.TradeMsg or dbnfast.Side with every record. So as soon as one of the names is
    # asked for, all are resolved, and the function goes.
    global _settled
    if _settled:
        return
    _settled = True
    try:
        for name in _LAZY.keys() - globals().keys():
            _found(name)
    except ImportError:  # it says so to whoever asks for that name
        return
    for name in _FACES:
        globals().setdefault(name, _Later(f"{__name__}.{name}"))
    del globals()["__getattr__"]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_FACES})


__all__ = [
    # codec
    "scan",
    "decode",
    "split",
    "iter_decode",
    "encode",
    "upgrade",
    "dtype",
    "empty",
    "Decoder",
    "Encoder",
    "Metadata",
    "RecordReader",
    "Records",
    # stores
    "read",
    "Store",
    "Part",
    "DBNStore",
    "read_dbn",
    "scan_polars",
    "from_csv",
    "from_json",
    "SymbolMap",
    "InstrumentMap",
    "map_symbols_csv",
    "map_symbols_json",
    # historical data
    "Historical",
    # live sessions
    "Live",
    "AsyncLive",
    "ErrorEvent",
    "Gap",
    "MarketState",
    "Disconnected",
    "Reconnected",
    "Skipped",
    "enable_logging",
    # records
    "DBNRecord",
    "BBO1MMsg",
    "BBO1SMsg",
    "BBOMsg",
    "BidAskPair",
    "CBBO1MMsg",
    "CBBO1SMsg",
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
    "MBP1Msg",
    "MBP10Msg",
    "OHLCVMsg",
    "Record",
    "StatMsg",
    "StatMsgV1",
    "StatusMsg",
    "SymbolMappingMsg",
    "SymbolMappingMsgV1",
    "SystemMsg",
    "SystemMsgV1",
    "TBBOMsg",
    "TCBBOMsg",
    "TradeMsg",
    # enumerations and constants
    "API_VERSION",
    "DBN_VERSION",
    "F_BAD_TS_RECV",
    "F_LAST",
    "F_MAYBE_BAD_BOOK",
    "F_MBP",
    "F_PUBLISHER_SPECIFIC",
    "F_SNAPSHOT",
    "F_TOB",
    "FIXED_PRICE_SCALE",
    "SYMBOL_CSTR_LEN",
    "SYMBOL_CSTR_LEN_V1",
    "SYMBOL_CSTR_LEN_V2",
    "SYMBOL_CSTR_LEN_V3",
    "UNDEF_ORDER_SIZE",
    "UNDEF_PRICE",
    "UNDEF_STAT_QUANTITY",
    "UNDEF_TIMESTAMP",
    "Action",
    "Compression",
    "Delivery",
    "Encoding",
    "ErrorCode",
    "FeedMode",
    "HistoricalGateway",
    "InstrumentClass",
    "JobState",
    "MatchAlgorithm",
    "Packaging",
    "PriceType",
    "ReconnectPolicy",
    "SlowReaderBehavior",
    "RecordFlags",
    "RollRule",
    "RType",
    "Schema",
    "SecurityUpdateAction",
    "SelectionWarning",
    "Side",
    "SplitDuration",
    "SType",
    "StatType",
    "StatUpdateAction",
    "StatusAction",
    "StatusReason",
    "SymbologyResolution",
    "SystemCode",
    "TradingEvent",
    "TriState",
    "UserDefinedInstrument",
    "VersionUpgradePolicy",
    # publishers
    "PUBLISHERS",
    "Dataset",
    "Publisher",
    "Venue",
    # errors
    "AuthenticationError",
    "BentoClientError",
    "BentoError",
    "BentoHttpError",
    "BentoServerError",
    "BentoWarning",
    "ConnectError",
    "DbnError",
    "DecodeError",
    "DecompressionError",
    "EncodeError",
    "GatewayError",
    "HeartbeatTimeout",
    "InvalidRecordError",
    "LiveError",
    "LocalProtocolError",
    "MetadataError",
    "MissingExtraError",
    "MixedRecordsError",
    "RemoteProtocolError",
    "SessionClosed",
    "TruncatedError",
    "TruncatedWarning",
    "UnknownNameError",
    "UnsupportedVersionError",
    "__version__",
]
