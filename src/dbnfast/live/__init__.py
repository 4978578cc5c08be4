"""
A live session: the protocol without I/O, two pumps, and what a process needs all night.

`Live` and `AsyncLive` are the clients, `Recorder` writes a session to files that survive a crash,
`recover` reads them, `MarketHours` knows when silence is due.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbnfast.live.asyncio.client import AsyncLive
    from dbnfast.live.events import Disconnected, ErrorEvent, Gap, MarketState, Reconnected, Skipped
    from dbnfast.live.hours import HoursState, MarketHours
    from dbnfast.live.recorder import Recorder
    from dbnfast.live.recovery import Recovered, recover
    from dbnfast.live.stats import Stats
    from dbnfast.live.sync.client import Live

# resolved on first use: who wants an event needs no socket
_LAZY = {
    "AsyncLive": "asyncio.client",
    "Disconnected": "events",
    "ErrorEvent": "events",
    "Gap": "events",
    "HoursState": "hours",
    "Live": "sync.client",
    "MarketHours": "hours",
    "MarketState": "events",
    "Reconnected": "events",
    "Recorder": "recorder",
    "Recovered": "recovery",
    "Skipped": "events",
    "Stats": "stats",
    "recover": "recovery",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = [
    "AsyncLive",
    "Disconnected",
    "ErrorEvent",
    "Gap",
    "HoursState",
    "Live",
    "MarketHours",
    "MarketState",
    "Reconnected",
    "Recorder",
    "Recovered",
    "Skipped",
    "Stats",
    "recover",
]
