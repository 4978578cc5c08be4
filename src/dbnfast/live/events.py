"""What a live session tells beside records, in the stream's order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbnfast.times import as_datetime64

if TYPE_CHECKING:
    import numpy as np

    from dbnfast.enums import ErrorCode, RType, Schema
    from dbnfast.metadata import Metadata


@dataclass(frozen=True)
class Gap:
    """
    A stretch of time whose records may be missing.

    Attributes
    ----------
    schema : Schema
        What is missing.
    start_ns, end_ns : int
        ns since 1970-01-01 UTC, of the times that replay goes by. A filled one begins with the
        latest time received; one that is not, at the resume point before that, as records that
        were late may be missing too.
    filled : bool
        Whether replay brought the records, so that none is missing.
    reason : str
        What happened.
    """

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
class Reconnected:
    """
    A session that goes on over a new connection.

    Attributes
    ----------
    reason : str
        Why the connection before ended.
    attempts : int
        Connections tried, the good one included.
    down_s : float
        Seconds from the end of one to the first records of the other.
    session_id : str
        Of the new connection.
    metadata : Metadata
        The new connection's header.
    last_ns : int
        The latest time received before, ns since 1970-01-01 UTC.
    """

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
        ``"open"``: records come. ``"closed"``: the market is. ``"quiet"``: the gateway is there,
        the market is open, no record comes. ``"stale"``: nothing comes at all.
    since_ns : int
        Since when, ns since 1970-01-01 UTC.
    until_ns : int or None
        When the market opens or closes next, where that is known.
    """

    state: str
    since_ns: int
    until_ns: int | None = None


@dataclass(frozen=True)
class ErrorEvent:
    """
    An error record, which is also among the records.

    Attributes
    ----------
    code : ErrorCode or int
        What it reports.
    message : str
        In the gateway's words.
    fatal : bool
        Whether it ends the connection.
    """

    code: ErrorCode | int
    message: str
    fatal: bool


Event = Gap | Reconnected | Skipped | MarketState | ErrorEvent
