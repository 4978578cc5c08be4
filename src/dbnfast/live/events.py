"""What a live session tells beside records, in the stream's order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbnfast._util.times import as_datetime64

if TYPE_CHECKING:
    import numpy as np

    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import ErrorCode, RType, Schema
    from dbnfast.records.records import Records


@dataclass(frozen=True)
class Gap:
    """
    A stretch of time whose records may be missing.

    Attributes
    ----------
    schema : Schema
        What is missing.
    start_ns, end_ns : int
        ns since 1970-01-01 UTC, in the timestamp by which the gateway replays. A filled gap begins
        at the latest time received; an unfilled one begins earlier, at the resume point, because
        late records may be missing too.
    filled : bool
        Whether replay recovered the records, so that none is missing.
    reason : str
        What happened.
    """

    __module__ = "dbnfast"  # where users find it

    schema: Schema
    start_ns: int
    end_ns: int
    filled: bool
    reason: str

    @property
    def start(self) -> np.datetime64:
        """The beginning, as datetime64[ns]."""
        return as_datetime64(self.start_ns)

    @property
    def end(self) -> np.datetime64:
        """The end, as datetime64[ns]."""
        return as_datetime64(self.end_ns)


@dataclass(frozen=True)
class Disconnected:
    """
    There is no connection, and the session tries to make one; told at the end of each.

    Attributes
    ----------
    reason : str
        Why the connection ended, or why the latest attempt made none.
    host : str
        The gateway, and its port.
    errno : int or None
        The system's number of the error, where it was one.
    since_ns : int
        Since when there has been none, ns since 1970-01-01 UTC.
    attempt : int
        Number of attempts that have failed since then.
    retry_in_s : float
        Seconds until the next attempt.
    """

    __module__ = "dbnfast"  # where users find it

    reason: str
    host: str
    errno: int | None
    since_ns: int
    attempt: int
    retry_in_s: float

    @property
    def since(self) -> np.datetime64:
        """Since when, as datetime64[ns]."""
        return as_datetime64(self.since_ns)


@dataclass(frozen=True)
class Reconnected:
    """
    The session continues over a new connection.

    Attributes
    ----------
    reason : str
        Why the previous connection ended.
    attempts : int
        Number of connections tried, including the successful one.
    down_s : float
        Seconds from the end of the old connection to the first records of the new one.
    session_id : str
        Of the new connection.
    metadata : Metadata
        The new connection's header.
    last_ns : int
        The latest time received before, ns since 1970-01-01 UTC.
    """

    __module__ = "dbnfast"  # where users find it

    reason: str
    attempts: int
    down_s: float
    session_id: str
    metadata: Metadata
    last_ns: int


@dataclass(frozen=True)
class Skipped:
    """
    Records that were dropped because the consumer was too slow.

    Attributes
    ----------
    reason : str
        ``"drop_oldest"`` or ``"latest"``.
    n_records, n_bytes : int
        How many.
    counts : dict
        Records by rtype.
    """

    __module__ = "dbnfast"  # where users find it

    reason: str
    n_records: int
    n_bytes: int
    counts: dict[RType | int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MarketState:
    """
    What silence means.

    Attributes
    ----------
    state : str
        ``"open"``: records arrive. ``"closed"``: the market is closed. ``"quiet"``: the gateway
        responds and the market is open, but no records arrive. ``"stale"``: nothing arrives.
    since_ns : int
        Since when, ns since 1970-01-01 UTC.
    until_ns : int or None
        When the market opens or closes next; None if that is not known.
    """

    __module__ = "dbnfast"  # where users find it

    state: str
    since_ns: int
    until_ns: int | None = None


@dataclass(frozen=True)
class ErrorEvent:
    """
    An error record from the gateway, which is also delivered as a record.

    Attributes
    ----------
    code : ErrorCode or int
        The code of the error.
    message : str
        The text of the gateway.
    fatal : bool
        Whether the error ends the connection.
    """

    __module__ = "dbnfast"  # where users find it

    code: ErrorCode | int
    message: str
    fatal: bool


Event = Gap | Disconnected | Reconnected | Skipped | MarketState | ErrorEvent

if TYPE_CHECKING:
    Items = list[Records | Event]
