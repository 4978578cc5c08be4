"""
The enumerations of DBN, under the official packages' member names and values.

Values on the wire are open sets: a code that no enumeration lists stays a plain ``int`` or
``str`` wherever records are read.

Source: ``docs/format.md``, checked against the official package by ``tests/unit/test_enums.py``.
"""

from __future__ import annotations

from enum import EnumType, IntEnum, IntFlag, StrEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from dbnfast._core.codes import Held, Shown, found_in, kept_in, numbered, quicken
from dbnfast.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

API_VERSION: Final = 0  # of the vendor's server of historical data
DBN_VERSION: Final = 3
FIXED_PRICE_SCALE: Final = 1_000_000_000
UNDEF_PRICE: Final = 2**63 - 1
UNDEF_ORDER_SIZE: Final = 2**32 - 1
UNDEF_STAT_QUANTITY: Final = 2**63 - 1
UNDEF_TIMESTAMP: Final = 2**64 - 1
SYMBOL_CSTR_LEN_V1: Final = 22
SYMBOL_CSTR_LEN_V2: Final = 71
SYMBOL_CSTR_LEN_V3: Final = 71
SYMBOL_CSTR_LEN: Final = SYMBOL_CSTR_LEN_V3


@quicken
class _Quick(EnumType):
    """Finds members without Python code, on every Python; otherwise as any other."""


class _Variants:
    """What every enumeration offers under the official packages' names."""

    _shown: str

    if not TYPE_CHECKING:  # as those of Enum, which are Python code
        name = Held("_name_", "name", "The name of the member.")
        value = Held("_value_", "value", "The value of the member.")
        __repr__ = Shown(
            "_shown",
            "__repr__",
            "Give the class, the name and the value.",
            lambda member: f"<{type(member).__name__}.{member.name}: {member.value!r}>",
        )

    @classmethod
    def variants(cls) -> list[Self]:
        """
        List the members in their defined order.

        Returns
        -------
        list
        """
        return list(cls._value2member_map_.values())  # type: ignore[attr-defined]

    @classmethod
    def _missing_(cls, value: object) -> Any:
        cls._unknown(value)

    @classmethod
    def _unknown(cls, value: object, what_there_is: str = "") -> NoReturn:
        raise UnknownNameError(f"{value!r} is not a valid {cls.__name__}{what_there_is}")


class OpenIntEnum(_Variants, IntEnum, metaclass=_Quick):
    """An integer code; equal to its ``int``."""

    @classmethod
    @found_in("_value2member_map_")
    def from_int(cls, value: int) -> Self:
        """
        Give the member of a code.

        Parameters
        ----------
        value : int
            The code on the wire.

        Returns
        -------
        OpenIntEnum

        Raises
        ------
        UnknownNameError
            No member has this code.
        """
        return cls(value)


class TextIntEnum(OpenIntEnum):
    """An integer code that also has a text name; ``str()`` gives the name."""

    _text: str

    def __new__(cls, *definition: Any) -> Self:
        """Make a member of its code and text; callers give either one."""
        value, text = definition
        member = int.__new__(cls, value)
        member._value_ = value
        member._text = text
        return member

    if not TYPE_CHECKING:
        __str__ = Shown("_text", "__str__", "Give the text name.")
        __format__ = Shown("_text", "__format__", "Write the text name.")

    @classmethod
    @found_in("_by_text")
    def from_str(cls, value: str) -> Self:
        """
        Give the member of a text name.

        Parameters
        ----------
        value : str
            The text, as ``str()`` of the member gives it.

        Returns
        -------
        TextIntEnum

        Raises
        ------
        UnknownNameError
            No member has this name.
        """
        wanted = _normal(value)
        for member in cls:
            if member._text.replace("_", "-") == wanted:
                kept_in(cls, "_by_text", value, member)
                return member
        known = [member._text for member in cls]
        cls._unknown(value, one_of(value, known))

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.from_str(value) if isinstance(value, str) else super()._missing_(value)


class NamedEnum(_Variants, StrEnum, metaclass=_Quick):
    """A text value with an integer code; equal to its text, ``int()`` gives the code."""

    _code: int
    _aliases: tuple[str, ...]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        numbered(cls)

    def __new__(cls, *definition: Any) -> Self:
        """Make a member of its code, text and aliases; callers give the code or a text."""
        code, text, *aliases = definition
        member = str.__new__(cls, text)
        member._value_ = text
        member._code = code
        member._aliases = tuple(aliases)
        return member

    if TYPE_CHECKING:

        def __int__(self) -> int: ...
        def __index__(self) -> int: ...
    else:
        __int__ = Shown("_code", "__int__", "Give the integer code.")
        __index__ = Shown("_code", "__index__", "Give the integer code.")

    @classmethod
    @found_in("_by_code")
    def from_int(cls, value: int) -> Self:
        """
        Give the member of an integer code.

        Parameters
        ----------
        value : int
            The code on the wire.

        Returns
        -------
        NamedEnum

        Raises
        ------
        UnknownNameError
            No member has this code.
        """
        for member in cls:
            if member._code == value:
                kept_in(cls, "_by_code", value, member)
                return member
        cls._unknown(value)

    @classmethod
    @found_in("_value2member_map_")
    def from_str(cls, value: str) -> Self:
        """
        Give the member of a text; case and ``_`` for ``-`` do not matter.

        Parameters
        ----------
        value : str
            The text.

        Returns
        -------
        NamedEnum

        Raises
        ------
        UnknownNameError
            No member has this text.
        """
        return cls(value)

    @classmethod
    def _missing_(cls, value: object) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return cls.from_int(value)
        if isinstance(value, str):
            wanted = _normal(value)
            for member in cls:
                if wanted in map(_normal, (member.value, *member._aliases)):
                    return member
            known = [str(member.value) for member in cls]
            cls._unknown(value, one_of(value, known))
        return super()._missing_(value)


class CharEnum(_Variants, StrEnum, metaclass=_Quick):
    """
    A one-character code; equal to its ``str``.

    Arrays hold such fields as ``S1``, which numpy compares with ``bytes`` only:
    ``array["action"] == "T"`` is False everywhere. Compare with `code`.
    """

    _code: int

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        numbered(cls)

    def __new__(cls, value: str) -> Self:
        """Make a member of its character."""
        member = str.__new__(cls, value)
        member._value_ = value
        member._code = ord(value)
        return member

    @property
    def code(self) -> bytes:
        """The code as it stands in arrays: one byte."""
        return str(self.value).encode("ascii")

    if TYPE_CHECKING:

        def __int__(self) -> int: ...
        def __index__(self) -> int: ...
    else:
        __int__ = Shown("_code", "__int__", "Give the character's number.")
        __index__ = Shown("_code", "__index__", "Give the character's number.")

    @classmethod
    @found_in("_by_code")
    def from_int(cls, value: int) -> Self:
        """
        Give the member of a character's number.

        Parameters
        ----------
        value : int
            The byte on the wire.

        Returns
        -------
        CharEnum

        Raises
        ------
        UnknownNameError
            No member has this character.
        """
        if not 0 <= value < 256:
            cls._unknown(value)
        member = cls(chr(value))
        kept_in(cls, "_by_code", value, member)
        return member

    @classmethod
    @found_in("_value2member_map_")
    def from_str(cls, value: str) -> Self:
        """
        Give the member of a character.

        Parameters
        ----------
        value : str
            The character.

        Returns
        -------
        CharEnum

        Raises
        ------
        UnknownNameError
            No member has this character.
        """
        return cls(value)


def one_of(wrong: str, known: Sequence[str], listed: Sequence[str] | None = None) -> str:
    """
    Say what a text could have been, for the end of an error.

    Parameters
    ----------
    wrong : str
        The text.
    known : sequence of str
        What is valid.
    listed : sequence of str, optional
        What of that is listed; None for all of it.

    Returns
    -------
    str
        The closest one, where one is close, and the list.
    """
    import difflib  # takes longer to import than errors are worth

    by_normal = {_normal(text): text for text in known}
    close = difflib.get_close_matches(_normal(wrong), by_normal, 1)
    hint = f" (did you mean {by_normal[close[0]]!r}?)" if close else ""
    return f"{hint}, expected one of {', '.join(known if listed is None else listed)}"


def _normal(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is {type(text).__name__}, expected a str")
    return text.lower().replace("_", "-")


class RType(TextIntEnum):
    """What a record is: byte 1 of its header."""

    MBP_0 = (0, "mbp-0")
    MBP_1 = (1, "mbp-1")
    MBP_10 = (10, "mbp-10")
    OHLCV_DEPRECATED = (17, "ohlcv-deprecated")  # deprecated
    OHLCV_1S = (32, "ohlcv-1s")
    OHLCV_1M = (33, "ohlcv-1m")
    OHLCV_1H = (34, "ohlcv-1h")
    OHLCV_1D = (35, "ohlcv-1d")
    OHLCV_EOD = (36, "ohlcv-eod")
    STATUS = (18, "status")
    INSTRUMENT_DEF = (19, "instrument-def")
    IMBALANCE = (20, "imbalance")
    ERROR = (21, "error")
    SYMBOL_MAPPING = (22, "symbol-mapping")
    SYSTEM = (23, "system")
    STATISTICS = (24, "statistics")
    MBO = (160, "mbo")
    CMBP_1 = (177, "cmbp-1")
    CBBO_1S = (192, "cbbo-1s")
    CBBO_1M = (193, "cbbo-1m")
    TCBBO = (194, "tcbbo")
    BBO_1S = (195, "bbo-1s")
    BBO_1M = (196, "bbo-1m")
    TBBO = (197, "tbbo")  # reserved: versions 1 to 3 write TBBO as MBP_1
    TRADES = (0, "mbp-0")  # alias of MBP_0

    @classmethod
    def from_schema(cls, value: Schema | str) -> RType:
        """
        Give the rtype that records of a schema carry.

        Parameters
        ----------
        value : Schema or str
            The schema; tbbo and mbp-1 share one rtype.

        Returns
        -------
        RType
        """
        return SCHEMA_RTYPES[Schema(value)]


class Schema(NamedEnum):
    """The record schema of a file or subscription (``metadata.schema``)."""

    MBO = (0, "mbo")
    MBP_1 = (1, "mbp-1")
    MBP_10 = (2, "mbp-10")
    TBBO = (3, "tbbo")
    TRADES = (4, "trades")
    OHLCV_1S = (5, "ohlcv-1s")
    OHLCV_1M = (6, "ohlcv-1m")
    OHLCV_1H = (7, "ohlcv-1h")
    OHLCV_1D = (8, "ohlcv-1d")
    DEFINITION = (9, "definition")
    STATISTICS = (10, "statistics")
    STATUS = (11, "status")
    IMBALANCE = (12, "imbalance")
    OHLCV_EOD = (13, "ohlcv-eod")
    CMBP_1 = (14, "cmbp-1")
    CBBO_1S = (15, "cbbo-1s")
    CBBO_1M = (16, "cbbo-1m")
    TCBBO = (17, "tcbbo")
    BBO_1S = (18, "bbo-1s")
    BBO_1M = (19, "bbo-1m")


class SType(NamedEnum):
    """A symbology type (``metadata.stype_in``, ``stype_out`` and symbol-mapping records)."""

    INSTRUMENT_ID = (0, "instrument_id", "product_id")
    RAW_SYMBOL = (1, "raw_symbol", "native")
    SMART = (2, "smart")  # deprecated
    CONTINUOUS = (3, "continuous")
    PARENT = (4, "parent")
    NASDAQ_SYMBOL = (5, "nasdaq_symbol", "nasdaq")
    CMS_SYMBOL = (6, "cms_symbol", "cms")
    ISIN = (7, "isin")
    US_CODE = (8, "us_code")
    BBG_COMP_ID = (9, "bbg_comp_id")
    BBG_COMP_TICKER = (10, "bbg_comp_ticker")
    FIGI = (11, "figi")
    FIGI_TICKER = (12, "figi_ticker")
    LISTING_ID = (13, "listing_id")
    ISSUER_ID = (14, "issuer_id")
    SECURITY_ID = (15, "security_id")


class Encoding(NamedEnum):
    """A data encoding."""

    DBN = (0, "dbn", "dbz")
    CSV = (1, "csv")
    JSON = (2, "json")


class Compression(NamedEnum):
    """A compression of a whole stream; None means ``NONE`` too."""

    NONE = (0, "none")
    ZSTD = (1, "zstd")

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.NONE if value is None else super()._missing_(value)


class ReconnectPolicy(NamedEnum):
    """What a live session does when its connection ends unexpectedly."""

    NONE = (0, "none")
    RECONNECT = (1, "reconnect")


class SlowReaderBehavior(NamedEnum):
    """What the live gateway does for a session that falls behind."""

    SKIP = (0, "skip")
    WARN = (1, "warn")


class PriceType(NamedEnum):
    """What prices become in frames and tables."""

    FIXED = (0, "fixed")
    FLOAT = (1, "float")
    DECIMAL = (2, "decimal")


class FeedMode(NamedEnum):
    """How a feed gives its data."""

    HISTORICAL = (0, "historical")
    HISTORICAL_STREAMING = (1, "historical-streaming")
    LIVE = (2, "live")


class SymbologyResolution(NamedEnum):
    """Whether all symbols of a request were resolved."""

    OK = (0, "ok")
    PARTIAL = (1, "partial")
    NOT_FOUND = (2, "not_found")


class HistoricalGateway(NamedEnum):
    """Where the vendor's server of historical data is."""

    BO1 = (0, "https://hist.databento.com", "bo1")


class SplitDuration(NamedEnum):
    """After how long a batch job begins another file."""

    DAY = (0, "day")
    WEEK = (1, "week")
    MONTH = (2, "month")
    YEAR = (3, "year")
    NONE = (4, "none")


class Packaging(NamedEnum):
    """How the files of a batch job are packed."""

    NONE = (0, "none")
    ZIP = (1, "zip")
    TAR = (2, "tar")


class Delivery(NamedEnum):
    """How the files of a batch job are delivered."""

    DOWNLOAD = (0, "download")


class JobState(NamedEnum):
    """How far a batch job is."""

    QUEUED = (0, "queued")
    PROCESSING = (1, "processing")
    DONE = (2, "done")
    EXPIRED = (3, "expired")


class RollRule(NamedEnum):
    """When a continuous contract goes on to the next one."""

    VOLUME = (0, "volume")
    OPEN_INTEREST = (1, "open_interest")
    CALENDAR = (2, "calendar")


class Action(CharEnum):
    """What happened to an order or the book (``action``)."""

    MODIFY = "M"
    TRADE = "T"
    FILL = "F"
    CANCEL = "C"
    ADD = "A"
    CLEAR = "R"
    NONE = "N"


class Side(CharEnum):
    """The side of an order, aggressor or imbalance (``side``)."""

    ASK = "A"
    BID = "B"
    NONE = "N"


class InstrumentClass(CharEnum):
    """The kind of instrument (definition records)."""

    BOND = "B"
    CALL = "C"
    FUTURE = "F"
    INDEX = "I"
    STOCK = "K"
    MIXED_SPREAD = "M"
    PUT = "P"
    FUTURE_SPREAD = "S"
    OPTION_SPREAD = "T"
    FX_SPOT = "X"
    COMMODITY_SPOT = "Y"


class MatchAlgorithm(CharEnum):
    """The matching algorithm of an instrument (definition records)."""

    UNDEFINED = " "
    FIFO = "F"
    CONFIGURABLE = "K"
    PRO_RATA = "C"
    FIFO_LMM = "T"
    THRESHOLD_PRO_RATA = "O"
    FIFO_TOP_LMM = "S"
    THRESHOLD_PRO_RATA_LMM = "Q"
    EURODOLLAR_FUTURES = "Y"
    TIME_PRO_RATA = "P"
    INSTITUTIONAL_PRIORITIZATION = "V"
    ALLOCATION = "A"


class UserDefinedInstrument(CharEnum):
    """Whether an instrument was defined by a user (definition records)."""

    NO = "N"
    YES = "Y"


class SecurityUpdateAction(CharEnum):
    """What a definition record does to the instrument."""

    ADD = "A"
    MODIFY = "M"
    DELETE = "D"
    INVALID = "~"  # deprecated


class StatType(OpenIntEnum):
    """What a statistics record states."""

    OPENING_PRICE = 1
    INDICATIVE_OPENING_PRICE = 2
    SETTLEMENT_PRICE = 3
    TRADING_SESSION_LOW_PRICE = 4
    TRADING_SESSION_HIGH_PRICE = 5
    CLEARED_VOLUME = 6
    LOWEST_OFFER = 7
    HIGHEST_BID = 8
    OPEN_INTEREST = 9
    FIXING_PRICE = 10
    CLOSE_PRICE = 11
    NET_CHANGE = 12
    VWAP = 13
    VOLATILITY = 14
    DELTA = 15
    UNCROSSING_PRICE = 16
    UPPER_PRICE_LIMIT = 17
    LOWER_PRICE_LIMIT = 18
    BLOCK_VOLUME = 19
    INDICATIVE_CLOSE_PRICE = 20
    MWCB_LEVEL_1 = 21
    MWCB_LEVEL_2 = 22
    MWCB_LEVEL_3 = 23
    AUCTION_COLLAR_REFERENCE_PRICE = 24
    AUCTION_COLLAR_UPPER_PRICE = 25
    AUCTION_COLLAR_LOWER_PRICE = 26
    VENUE_SPECIFIC_VOLUME_1 = 10001
    VENUE_SPECIFIC_PRICE_1 = 10002


class StatUpdateAction(OpenIntEnum):
    """Whether a statistic is new or withdrawn."""

    NEW = 1
    DELETE = 2


class StatusAction(OpenIntEnum):
    """The change a status record announces."""

    NONE = 0
    PRE_OPEN = 1
    PRE_CROSS = 2
    QUOTING = 3
    CROSS = 4
    ROTATION = 5
    NEW_PRICE_INDICATION = 6
    TRADING = 7
    HALT = 8
    PAUSE = 9
    SUSPEND = 10
    PRE_CLOSE = 11
    CLOSE = 12
    POST_CLOSE = 13
    SSR_CHANGE = 14
    NOT_AVAILABLE_FOR_TRADING = 15


class StatusReason(OpenIntEnum):
    """Why a status changed."""

    NONE = 0
    SCHEDULED = 1
    SURVEILLANCE_INTERVENTION = 2
    MARKET_EVENT = 3
    INSTRUMENT_ACTIVATION = 4
    INSTRUMENT_EXPIRATION = 5
    RECOVERY_IN_PROCESS = 6
    REGULATORY = 10
    ADMINISTRATIVE = 11
    NON_COMPLIANCE = 12
    FILINGS_NOT_CURRENT = 13
    SEC_TRADING_SUSPENSION = 14
    NEW_ISSUE = 15
    ISSUE_AVAILABLE = 16
    ISSUES_REVIEWED = 17
    FILING_REQS_SATISFIED = 18
    NEWS_PENDING = 30
    NEWS_RELEASED = 31
    NEWS_AND_RESUMPTION_TIMES = 32
    NEWS_NOT_FORTHCOMING = 33
    ORDER_IMBALANCE = 40
    LULD_PAUSE = 50
    OPERATIONAL = 60
    ADDITIONAL_INFORMATION_REQUESTED = 70
    MERGER_EFFECTIVE = 80
    ETF = 90
    CORPORATE_ACTION = 100
    NEW_SECURITY_OFFERING = 110
    MARKET_WIDE_HALT_LEVEL1 = 120
    MARKET_WIDE_HALT_LEVEL2 = 121
    MARKET_WIDE_HALT_LEVEL3 = 122
    MARKET_WIDE_HALT_CARRYOVER = 123
    MARKET_WIDE_HALT_RESUMPTION = 124
    QUOTATION_NOT_AVAILABLE = 130


class TradingEvent(OpenIntEnum):
    """Further information on a status change."""

    NONE = 0
    NO_CANCEL = 1
    CHANGE_TRADING_SESSION = 2
    IMPLIED_MATCHING_ON = 3
    IMPLIED_MATCHING_OFF = 4


class TriState(CharEnum):
    """Yes, no, or not available (status records)."""

    NOT_AVAILABLE = "~"
    NO = "N"
    YES = "Y"

    def opt_bool(self) -> bool | None:
        """
        Give the state as a bool.

        Returns
        -------
        bool or None
            True, False, or None where the state is not available.
        """
        return {"Y": True, "N": False}.get(self.value)


class ErrorCode(TextIntEnum):
    """What an error record reports."""

    AUTH_FAILED = (1, "auth_failed")
    API_KEY_DEACTIVATED = (2, "api_key_deactivated")
    CONNECTION_LIMIT_EXCEEDED = (3, "connection_limit_exceeded")
    SYMBOL_RESOLUTION_FAILED = (4, "symbol_resolution_failed")
    INVALID_SUBSCRIPTION = (5, "invalid_subscription")
    INTERNAL_ERROR = (6, "internal_error")
    SKIPPED_RECORDS_AFTER_SLOW_READING = (7, "skipped_records_after_slow_reading")
    REPLAY_DATA_AGED_OUT = (8, "replay_data_aged_out")
    UNSET = (255, "unset")


class SystemCode(TextIntEnum):
    """What a system record reports."""

    HEARTBEAT = (0, "heartbeat")
    SUBSCRIPTION_ACK = (1, "subscription_ack")
    SLOW_READER_WARNING = (2, "slow_reader_warning")
    REPLAY_COMPLETED = (3, "replay_completed")
    END_OF_INTERVAL = (4, "end_of_interval")
    UNSUBSCRIBE_ACK = (5, "unsubscribe_ack")
    UNSET = (255, "unset")


class VersionUpgradePolicy(OpenIntEnum):
    """What to do with records of older versions."""

    AS_IS = 1
    UPGRADE_TO_V2 = 2
    UPGRADE_TO_V3 = 3


class RecordFlags(IntFlag):
    """The bits of ``flags``; ``str()`` gives the names of those that are set."""

    F_LAST = 128
    F_TOB = 64
    F_SNAPSHOT = 32
    F_MBP = 16
    F_BAD_TS_RECV = 8
    F_MAYBE_BAD_BOOK = 4
    F_PUBLISHER_SPECIFIC = 2

    def __str__(self) -> str:
        """Give the names of the bits that are set, in lower case."""
        return ", ".join(str(bit.name).lower() for bit in type(self) if bit in self)

    @classmethod
    def _missing_(cls, value: object) -> Any:
        if isinstance(value, int):
            return super()._missing_(value)
        found = cls.__members__.get(value.upper()) if isinstance(value, str) else None
        if found is None:
            raise UnknownNameError(f"{value!r} is not a valid RecordFlags")
        return found


F_LAST: Final = 128
F_TOB: Final = 64
F_SNAPSHOT: Final = 32
F_MBP: Final = 16
F_BAD_TS_RECV: Final = 8
F_MAYBE_BAD_BOOK: Final = 4
F_PUBLISHER_SPECIFIC: Final = 2

SCHEMA_RTYPES: Final[dict[Schema, RType]] = {
    Schema.MBO: RType.MBO,
    Schema.MBP_1: RType.MBP_1,
    Schema.MBP_10: RType.MBP_10,
    Schema.TBBO: RType.MBP_1,
    Schema.TRADES: RType.MBP_0,
    Schema.OHLCV_1S: RType.OHLCV_1S,
    Schema.OHLCV_1M: RType.OHLCV_1M,
    Schema.OHLCV_1H: RType.OHLCV_1H,
    Schema.OHLCV_1D: RType.OHLCV_1D,
    Schema.DEFINITION: RType.INSTRUMENT_DEF,
    Schema.STATISTICS: RType.STATISTICS,
    Schema.STATUS: RType.STATUS,
    Schema.IMBALANCE: RType.IMBALANCE,
    Schema.OHLCV_EOD: RType.OHLCV_EOD,
    Schema.CMBP_1: RType.CMBP_1,
    Schema.CBBO_1S: RType.CBBO_1S,
    Schema.CBBO_1M: RType.CBBO_1M,
    Schema.TCBBO: RType.TCBBO,
    Schema.BBO_1S: RType.BBO_1S,
    Schema.BBO_1M: RType.BBO_1M,
}
