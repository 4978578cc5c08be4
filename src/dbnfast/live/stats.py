"""What a session counts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dbnfast.layouts.dtypes import rtype_key
from dbnfast.records.headers import groups, index_times

if TYPE_CHECKING:
    from dbnfast.enums import RType
    from dbnfast.live.events import Disconnected
    from dbnfast.records.records import Records


@dataclass(frozen=True)
class Stats:
    """
    How a session does.

    Attributes
    ----------
    records, bytes : int
        Delivered or waiting to be taken, control records included.
    wire_bytes : int
        Received, text and compressed bytes as they came.
    counts : dict
        Records by rtype.
    duplicates : int
        Records that a replay brought again, and that were dropped.
    skipped : int
        Records dropped because the consumer was too slow.
    reconnects, gaps, unfilled_gaps : int
        How often the session went on over a new connection, and what was reported of it.
    backlog_records, backlog_bytes : int
        Received and not taken yet.
    lag_ts_out_s, lag_ts_recv_s : float or None
        Seconds from the last market data record's ts_out, and from its index timestamp, to its
        arrival; None where it has none.
    state : str
        ``"open"``, ``"closed"``, ``"quiet"`` or ``"stale"``.
    session_id : str or None
        Of the latest connection.
    disconnected : Disconnected or None
        The latest of these events while there is no connection; None while there is one.
    """

    __module__ = "dbnfast.live"  # where users find it

    records: int = 0
    bytes: int = 0
    wire_bytes: int = 0
    counts: dict[RType | int, int] = field(default_factory=dict)
    duplicates: int = 0
    skipped: int = 0
    reconnects: int = 0
    gaps: int = 0
    unfilled_gaps: int = 0
    backlog_records: int = 0
    backlog_bytes: int = 0
    lag_ts_out_s: float | None = None
    lag_ts_recv_s: float | None = None
    state: str = "open"
    session_id: str | None = None
    disconnected: Disconnected | None = None


class Counts:
    """
    The numbers behind `Stats`, cheap to keep.

    Attributes
    ----------
    wire_bytes, records, bytes, duplicates, reconnects : int
        As in `Stats`.
    """

    def __init__(self) -> None:
        self.wire_bytes = self.records = self.bytes = self.duplicates = self.reconnects = 0
        self._by_rtype: dict[int, int] = {}
        self._last: tuple[Records, int] | None = None

    def received(self, records: Records, new: Records, market: bool) -> None:
        """
        Count a batch.

        Parameters
        ----------
        records, new : Records
            What came, and what of it was not there yet.
        market : bool
            Whether market data was among it.
        """
        self.records += len(new)
        self.bytes += new.nbytes
        if new is not records:
            self.duplicates += len(records) - len(new)
        by_rtype = self._by_rtype
        for rtype, _, n in groups(new):
            by_rtype[rtype] = by_rtype.get(rtype, 0) + n
        if market:
            self._last = records, time.time_ns()

    def counts(self) -> dict[RType | int, int]:
        """
        Give the records by rtype.

        Returns
        -------
        dict
        """
        return {rtype_key(rtype): n for rtype, n in list(self._by_rtype.items())}

    def lags(self) -> dict[str, Any]:
        """
        Tell how old the last batch was when it came.

        Returns
        -------
        dict
            ``lag_ts_out_s`` and ``lag_ts_recv_s``, in seconds or None.
        """
        if self._last is None:
            return {}
        records, arrived = self._last
        out = None
        if records.ts_out:
            last = np.frombuffer(records.data[records.nbytes - 8 :], "<u8")
            out = (arrived - int(last[0])) / 1e9
        times = index_times(records[-1:])
        return {"lag_ts_out_s": out, "lag_ts_recv_s": (arrived - int(times[-1])) / 1e9}
