"""When to connect again, and how much to ask for: arithmetic alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbnfast.enums import ErrorCode
from dbnfast.live.resume.plan import Reach

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_RETRY: Final = 1.0  # s
MAX_RETRY: Final = 60.0
SPACING: Final = 0.2  # s between connections: a gateway takes five in a second


class Retry:
    """
    What attempts came to.

    Parameters
    ----------
    jitter : callable
        Gives a number from 0 to 1, which the delays are multiplied by.

    Attributes
    ----------
    attempts : int
        Ends since the last good connection.
    reach : Reach
        How much replay to ask for.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self.attempts = 0
        self.reach = Reach.FULL
        self._jitter = jitter
        self._failed_at: Reach | None = None  # where an internal error came before any data

    def next_delay(self) -> float:
        """
        Count an end.

        Returns
        -------
        float
            Seconds to wait: doubling from the second time on, a random part of that.
        """
        if self.attempts == 0:
            delay = FIRST_RETRY
        else:
            longest = min(MAX_RETRY, FIRST_RETRY * 2.0 ** min(self.attempts, 30))
            delay = max(SPACING, self._jitter() * longest)
        self.attempts += 1
        return delay

    def ended(self, fresh: bool, steady: bool, good: bool) -> None:
        """
        Note how a connection did that is over.

        Parameters
        ----------
        fresh : bool
            Whether it brought no market data.
        steady : bool
            Whether it was good as such: the delays begin anew.
        good : bool
            Whether what it was asked for was no reason for its end: everything is again.
        """
        if steady:
            self.attempts = 0
        if not fresh:
            self._failed_at = None
        if good:
            self.reach = Reach.FULL

    def refused(self, code: int, fresh: bool, asks_other: Callable[[Reach], bool]) -> None:
        """
        Note that a replay was refused.

        Parameters
        ----------
        code : int
            The error's. An internal error may have nothing to do with the replay, which is asked
            for once more.
        fresh : bool
            Whether nothing had come before.
        asks_other : callable
            Tells whether a reach makes another request than the one refused.
        """
        again = fresh and self._failed_at == self.reach
        if code == ErrorCode.INTERNAL_ERROR and not again:
            if fresh:
                self._failed_at = self.reach
            return
        while self.reach < Reach.NONE:
            self.reach = Reach(self.reach + 1)
            if asks_other(self.reach):
                return
