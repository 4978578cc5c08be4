"""What all sessions of a gateway share."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.arguments import as_int
from dbnfast._util.times import to_seconds
from dbnfast.gateway.faults import Faults
from dbnfast.gateway.replay.source import Source
from dbnfast.gateway.replay.timeline import Timeline, parse_speed
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.lines import MAX_HEARTBEAT_S, MIN_HEARTBEAT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AT_END: Final = ("idle", "close")
CHALLENGE: Final = 32  # letters
LONGEST_S: Final = 1e10  # no replay goes back behind 1970
ALPHABET: Final = string.ascii_letters + string.digits


class Service:
    """
    What is replayed, to whom, and how: all but the connections.

    Parameters
    ----------
    source : path, bytes-like, list of these, Store or Records
        DBN data.
    keys : str or iterable of str
        The API keys that are accepted.
    speed : float or str
        ``"max"`` sends as fast as each client reads. ``"1x"``, ``"10x"`` or a number sends records
        when their time comes, that many times as fast as they happened, on a timeline that all
        sessions share.
    at_end : {"idle", "close"}
        What sessions do at the end of the source: stay open with heartbeats, or close.
    faults : Faults or mapping, optional
        What goes wrong.
    version : int
        The DBN version to send, 1 to 3.
    clock : callable, optional
        Returns seconds and never goes back; None for the clock of the system.
    replay_window_s : float
        How far back a replay may begin on a timeline, in seconds.
    auth_timeout_s : float
        How long a client may take to authenticate, in seconds.
    min_heartbeat_s : int
        The shortest heartbeat interval that a client may request, in seconds.

    Raises
    ------
    TypeError, ValueError
        An option has the wrong type or value, or there are no keys.
    DecodeError, FileNotFoundError
        The source cannot be read.
    """

    __module__ = "dbnfast.gateway"  # where users find it

    def __init__(
        self,
        source: Any,
        *,
        keys: str | Iterable[str],
        speed: float | str = "max",
        at_end: str = "idle",
        faults: Faults | Mapping[int | None, Any] | None = None,
        version: int = 3,
        clock: Callable[[], float] | None = None,
        replay_window_s: float = 86_400,
        auth_timeout_s: float = 30,
        min_heartbeat_s: int = MIN_HEARTBEAT_S,
    ) -> None:
        if at_end not in AT_END:
            raise ValueError(f"at_end is {at_end!r}, expected 'idle' or 'close'")
        min_heartbeat_s = as_int("min_heartbeat_s", min_heartbeat_s)
        if not 0 < min_heartbeat_s <= MAX_HEARTBEAT_S:
            raise ValueError(
                f"min_heartbeat_s is {min_heartbeat_s}, expected 1 to {MAX_HEARTBEAT_S}"
            )
        for name, seconds in (("auth_timeout", auth_timeout_s), ("replay_window", replay_window_s)):
            if not to_seconds(f"{name}_s", seconds) > 0:
                raise ValueError(f"{name}_s is {seconds}, expected seconds above 0")
        self.keys = _checked_keys(keys)
        pace = parse_speed(speed)
        self.faults = faults if isinstance(faults, Faults) else Faults(faults)
        self.source = source if isinstance(source, Source) else Source(source, version)
        self.timeline = Timeline(self.source, pace, clock)
        self.closes = at_end == "close"
        self.replay_window_ns = round(min(float(replay_window_s), LONGEST_S) * 1e9)
        self.auth_timeout_s = auth_timeout_s
        self.min_heartbeat_s = min_heartbeat_s
        self._base = time.time_ns() // 10**9
        self._n = 0

    @property
    def clock(self) -> Callable[[], float]:
        """What gives the seconds."""
        return self.timeline.clock

    @property
    def n_connections(self) -> int:
        """How many connections there were."""
        return self._n

    def number(self) -> int:
        """
        Count a connection.

        Returns
        -------
        int
            Its number, from 0.
        """
        self._n += 1
        return self._n - 1

    def session_id(self, number: int) -> str:
        """
        Name a session.

        Parameters
        ----------
        number : int
            Its connection's.

        Returns
        -------
        str
            A decimal number.
        """
        return str(self._base + number)

    def challenge(self) -> str:
        """
        Make a challenge.

        Returns
        -------
        str
            32 random letters and digits.
        """
        return "".join(secrets.choice(ALPHABET) for _ in range(CHALLENGE))

    def hide(self, text: str) -> str:
        """
        Take all keys out of a text.

        Parameters
        ----------
        text : str
            Of whatever origin.

        Returns
        -------
        str
            With the last five letters of a key in place of all of it.
        """
        for key in self.keys:
            text = key.hide(text)
        return text


def _checked_keys(keys: Any) -> tuple[ApiKey, ...]:
    given = [keys] if isinstance(keys, str) else keys
    if not isinstance(given, Iterable):
        raise TypeError(f"keys is of type {type(keys).__name__}, expected API keys")
    found = tuple(ApiKey(key) for key in given)
    if not found:
        raise ValueError("keys is empty, expected at least one API key")
    return found
