"""Names for silence: closed, quiet or stale. Nothing is ever dropped for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from dbnfast.enums import UNDEF_TIMESTAMP
from dbnfast.live.events import MarketState

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast.live.hours import HoursState, MarketHours

OPEN: Final = "open"
CLOSED: Final = "closed"
QUIET: Final = "quiet"
STALE: Final = "stale"
QUIET_AFTER: Final = 60.0  # s without market data
OVERDUE: Final = 5.0  # s that a heartbeat may come late
LOOK_EVERY: Final = 1.0  # s


class Silence:
    """
    What the present silence of a session means.

    Parameters
    ----------
    interval_s : float
        Seconds between heartbeats; 5 s more of silence are stale.
    hours : MarketHours, optional
        When the market is open; without it no silence is "closed".
    wall : callable
        Gives the time in ns since 1970-01-01 UTC.

    Attributes
    ----------
    state : str
        ``"open"``, ``"closed"``, ``"quiet"`` or ``"stale"``.
    next_look : float
        When `look` wants to be called.
    """

    def __init__(
        self,
        interval_s: float,
        hours: MarketHours | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.state = OPEN
        self.next_look = 0.0
        self._stale_after = interval_s + OVERDUE
        self._hours = hours
        self._wall = wall
        self._last_byte = self._last_market = -1.0

    def received(self, now: float, market: bool) -> MarketState | None:
        """
        Take note of records.

        Parameters
        ----------
        now : float
            When they came, in seconds of the pump's clock.
        market : bool
            Whether market data was among them.

        Returns
        -------
        MarketState or None
            What is new.
        """
        self._last_byte = now
        if market:
            self._last_market = now
            if self.state != OPEN:
                return self._change(OPEN, self._present())
        return None

    def look(self, now: float) -> MarketState | None:
        """
        Look at the time.

        Parameters
        ----------
        now : float
            In seconds of the pump's clock.

        Returns
        -------
        MarketState or None
            What is new.
        """
        self.next_look = now + LOOK_EVERY
        if self._last_byte < 0:
            self._last_byte = now
        if self._last_market < 0:
            self._last_market = now
        hours = self._present()
        if now - self._last_byte > self._stale_after:
            state = STALE
        elif hours is not None and not hours.open and now - self._last_market > LOOK_EVERY:
            state = CLOSED
        elif now - self._last_market > QUIET_AFTER:
            state = QUIET
        else:
            state = OPEN
        return None if state == self.state else self._change(state, hours)

    def _present(self) -> HoursState | None:
        # what the market's hours are now; None where nobody knows
        return None if self._hours is None else self._hours.at(self._wall())

    def _change(self, state: str, hours: HoursState | None) -> MarketState:
        self.state = state
        # a stretch whose end is not known ends at what is no time
        until = None if hours is None or hours.until_ns == UNDEF_TIMESTAMP else hours.until_ns
        return MarketState(state, self._wall(), until)
