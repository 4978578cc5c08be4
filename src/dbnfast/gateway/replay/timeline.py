"""When records are sent: a timeline that runs with a clock, or none."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from dbnfast.enums import UNDEF_TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast._typing import Column
    from dbnfast.gateway.replay.source import Source

    Clock = Callable[[], float]

MAX: Final = "max"
NS: Final = 1e9


def parse_speed(speed: float | str) -> float | None:
    """
    Read a speed.

    Parameters
    ----------
    speed : float or str
        ``"max"``, a number, or one with an ``x`` behind it.

    Returns
    -------
    float or None
        None for as fast as it goes.

    Raises
    ------
    ValueError
        It is no speed.
    """
    if speed == MAX:
        return None
    try:
        found = float(speed[:-1] if isinstance(speed, str) and speed.endswith("x") else speed)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(speed, bool) or not 0 < found < math.inf:
        raise ValueError(f"speed is {speed!r}, expected 'max', or one such as '1x', '10x' or 2.5")
    return found


class Timeline:
    """
    The time of a replay, which all sessions share.

    A record is sent when the highest filter time up to it is reached. Without a speed there is
    no time: everything is past.

    Parameters
    ----------
    source : Source
        What is replayed.
    speed : float or None
        Seconds of the source in a second of the clock; None for no time.
    clock : callable, optional
        Gives seconds and never goes back; None for the system's.

    Attributes
    ----------
    clock : callable
        The same.
    paced : bool
        Whether there is a time.
    """

    def __init__(self, source: Source, speed: float | None, clock: Clock | None = None) -> None:
        self._source = source
        self._speed = speed or 1.0
        self.paced = speed is not None
        self.clock = time.monotonic if clock is None else clock
        self._wall = clock is None
        self._began: float | None = None
        self._first = source.first_time
        self._lasts: Column = np.empty(0, np.uint64)
        self._sends: tuple[int, Column] | None = None
        if self.paced:
            self._survey()

    def _survey(self) -> None:
        # the highest time up to the end of each chunk
        highest = [_known(self._source.chunk(n).times).max() for n in range(self._source.n_chunks)]
        self._lasts = np.maximum.accumulate(np.array(highest, np.uint64))

    @property
    def injected(self) -> bool:
        """Whether the clock is the caller's."""
        return not self._wall

    def start(self) -> None:
        """Let the time run from the first record on; a second call does nothing."""
        if self._began is None:
            self._began = self.clock()

    def ns(self, now: float) -> int:
        """
        Tell the time.

        Parameters
        ----------
        now : float
            Seconds of the clock.

        Returns
        -------
        int
            In ns since 1970-01-01 UTC.
        """
        if self._began is None:
            return self._first
        passed = max(0, round((now - self._began) * self._speed * NS))
        return min(self._first + passed, UNDEF_TIMESTAMP - 1)

    def when(self, ns: int) -> float:
        """
        Tell when a time is reached.

        Parameters
        ----------
        ns : int
            In ns since 1970-01-01 UTC.

        Returns
        -------
        float
            Seconds of the clock, at most 1 ns too late; infinity while the time does not run.
        """
        if self._began is None:
            return math.inf
        return self._began + (ns - self._first) / NS / self._speed + 1 / NS

    def ts_out(self, now: float, ns: int) -> int:
        """
        Give the time of sending.

        Parameters
        ----------
        now : float
            Seconds of the clock.
        ns : int
            The session's time, for want of another.

        Returns
        -------
        int
            By the wall clock, unless the clock is the caller's; ns since 1970-01-01 UTC.
        """
        if self._wall:
            return time.time_ns()
        return self.ns(now) if self.paced else ns

    def sends(self, number: int) -> Column:
        """
        Give the times at which a chunk's records are sent.

        Parameters
        ----------
        number : int
            Which chunk.

        Returns
        -------
        ndarray of uint64
            Ascending, ns since 1970-01-01 UTC.
        """
        kept = self._sends
        if kept is not None and kept[0] == number:
            return kept[1]
        times = _known(self._source.chunk(number).times)
        before = self._lasts[number - 1] if number else np.uint64(0)
        made: Column = np.maximum.accumulate(np.maximum(times, before))
        self._sends = number, made
        return made

    def position(self, ns: int, *, behind: bool) -> int:
        """
        Find how far a time is.

        Parameters
        ----------
        ns : int
            In ns since 1970-01-01 UTC.
        behind : bool
            Whether records that are sent at this very time are past.

        Returns
        -------
        int
            The first record that is not past.
        """
        side: Literal["left", "right"] = "right" if behind else "left"
        number = int(np.searchsorted(self._lasts, np.uint64(ns), side))
        if number >= self._source.n_chunks:
            return len(self._source)
        chunk = self._source.chunk(number)
        return chunk.first + int(np.searchsorted(self.sends(number), np.uint64(ns), side))

    def send_time(self, position: int) -> int:
        """
        Tell when a record is sent.

        Parameters
        ----------
        position : int
            Which.

        Returns
        -------
        int
            In ns since 1970-01-01 UTC.
        """
        number = self._source.number_of(position)
        return int(self.sends(number)[position - self._source.chunk(number).first])


def _known(times: Column) -> Column:
    # what has no time is sent with what is before it
    return np.where(times == UNDEF_TIMESTAMP, np.uint64(0), times)
