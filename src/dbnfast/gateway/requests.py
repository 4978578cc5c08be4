"""What a client's lines ask for, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dbnfast._util.times import instant
from dbnfast.enums import Compression, Encoding, Schema, SType
from dbnfast.live.wire.lines import HEARTBEAT_S, MAX_HEARTBEAT_S, MIN_HEARTBEAT_S, printable
from dbnfast.live.wire.requests import ALL_SYMBOLS

if TYPE_CHECKING:
    from dbnfast.live.wire.lines import Fields

MAX_DATASET: Final = 15  # characters: what a header holds
MAX_SYMBOLS: Final = 2000  # of one subscription

_AUTH_KEYS: Final = frozenset((
    "auth", "dataset", "encoding", "compression", "ts_out", "client", "heartbeat_interval_s",
    "slow_reader_behavior", "details", "pretty_px", "pretty_ts",
))  # fmt: skip
_REQUEST_KEYS: Final = frozenset((
    "schema", "stype_in", "symbols", "start", "snapshot", "id", "is_last",
))  # fmt: skip


class Refused(Exception):
    """A line that cannot be; its text is for the client."""


@dataclass(frozen=True)
class AuthRequest:
    """
    What the first line asks for.

    Attributes
    ----------
    dataset : str
        The dataset code.
    encoding : Encoding
        ``DBN`` or ``JSON``.
    compression : Compression
        Of the stream.
    ts_out : bool
        Whether records end in a ts_out.
    heartbeat_s : int
        Seconds of silence before a heartbeat.
    pretty_px, pretty_ts : bool
        The form of prices and times in JSON.
    client : str
        Who asks.
    """

    dataset: str
    encoding: Encoding = Encoding.DBN
    compression: Compression = Compression.NONE
    ts_out: bool = False
    heartbeat_s: int = HEARTBEAT_S
    pretty_px: bool = False
    pretty_ts: bool = False
    client: str = ""


def read_auth(fields: Fields, min_heartbeat_s: int = MIN_HEARTBEAT_S) -> AuthRequest:
    """
    Read the first line; whether its key is right is not looked at.

    Parameters
    ----------
    fields : dict
        The line's.
    min_heartbeat_s : int
        The shortest interval that may be asked for.

    Returns
    -------
    AuthRequest

    Raises
    ------
    Refused
        It cannot be.
    """
    for key in fields:
        if key not in _AUTH_KEYS:
            raise Refused(f"Unknown subscription param '{printable(key)}'")
    if not fields.get("dataset"):
        raise Refused("Missing param 'dataset'")
    if not fields["dataset"].isascii() or len(fields["dataset"]) > MAX_DATASET:
        raise Refused(f"dataset must be at most {MAX_DATASET} ASCII characters")
    if fields.get("slow_reader_behavior", "warn") not in ("warn", "skip", "drop"):
        raise Refused("slow_reader_behavior must be warn or skip")
    encoding = fields.get("encoding", "dbn")
    if encoding not in ("dbn", "json"):
        raise Refused(f"encoding must be dbn or json, not '{printable(encoding)}'")
    compression = fields.get("compression", "none")
    if compression not in ("none", "zstd"):
        raise Refused(f"compression must be none or zstd, not '{printable(compression)}'")
    text = fields.get("heartbeat_interval_s", str(HEARTBEAT_S))
    heartbeat_s = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else -1
    if not min_heartbeat_s <= heartbeat_s <= MAX_HEARTBEAT_S:
        raise Refused(
            f"heartbeat_interval_s must be between {min_heartbeat_s} and {MAX_HEARTBEAT_S}"
        )
    return AuthRequest(
        dataset=printable(fields["dataset"]),
        encoding=Encoding(encoding),
        compression=Compression(compression),
        ts_out=_flag(fields, "ts_out"),
        heartbeat_s=heartbeat_s,
        pretty_px=_flag(fields, "pretty_px"),
        pretty_ts=_flag(fields, "pretty_ts"),
        client=printable(fields.get("client", "")),
    )


def _flag(fields: Fields, key: str, default: str = "0") -> bool:
    value = fields.get(key, default)
    if value not in ("0", "1"):
        raise Refused(f"{key} must be 0 or 1, not '{printable(value)}'")
    return value == "1"


@dataclass(frozen=True)
class Request:
    """
    What one or more lines subscribe to.

    Attributes
    ----------
    schema : Schema
        What of.
    stype_in : SType
        What the symbols are.
    symbols : tuple of str
        Them, or ``ALL_SYMBOLS`` alone.
    start : int or None
        Where replay begins, ns since 1970-01-01 UTC; 0 for all there is.
    snapshot : bool
        Whether to begin with the state of the book.
    id : int or None
        The client's number for it.
    """

    schema: Schema
    stype_in: SType
    symbols: tuple[str, ...]
    start: int | None = None
    snapshot: bool = False
    id: int | None = None

    @property
    def all(self) -> bool:
        """Whether all symbols are meant."""
        return ALL_SYMBOLS in self.symbols

    @property
    def key(self) -> tuple[object, ...]:
        """What the lines of one subscription have in common."""
        return self.schema, self.stype_in, self.start, self.snapshot, self.id


def read_request(fields: Fields) -> tuple[Request, bool]:
    """
    Read a line that subscribes.

    Parameters
    ----------
    fields : dict
        The line's.

    Returns
    -------
    request, is_last
        What is asked for, and whether that is all of it.

    Raises
    ------
    Refused
        It cannot be.
    """
    for key in fields:
        if key not in _REQUEST_KEYS:
            raise Refused(f"Unknown subscription param '{printable(key)}'")
    for key in ("schema", "stype_in", "symbols"):
        if not fields.get(key):
            raise Refused(f"Missing param '{key}'")
    try:
        schema, stype_in = Schema(fields["schema"]), SType(fields["stype_in"])
    except ValueError as error:
        raise Refused(printable(str(error))) from None
    start = None
    if "start" in fields:
        try:
            start = instant(fields["start"])
        except ValueError:
            text = printable(fields["start"])
            raise Refused(f"Invalid start time '{text}'. Must be ns or ISO 8601, or 0") from None
    snapshot = _flag(fields, "snapshot")
    if snapshot and (start is not None or schema != Schema.MBO):
        raise Refused("snapshot is possible with the schema mbo and without a start")
    symbols = tuple(filter(None, map(str.strip, printable(fields["symbols"]).split(","))))
    if not symbols:
        raise Refused("Missing param 'symbols'")
    request = Request(schema, stype_in, symbols, start, snapshot, _id(fields.get("id")))
    return request, _flag(fields, "is_last", "1")


def _id(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 2**32):
        raise Refused(f"id must be 0 to {2**32 - 1}, not '{printable(text)}'")
    return int(text)
