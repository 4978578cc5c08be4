"""What the commands with a live session share: its options, and what they say of it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dbnfast.cli.commands.stats import format_duration, parse_duration
from dbnfast.cli.outputs import plural
from dbnfast.cli.terminal import talk
from dbnfast.enums import Schema
from dbnfast.errors import ConnectError, SessionClosed
from dbnfast.live.events import Disconnected, Gap, MarketState, Reconnected, Skipped
from dbnfast.live.sync.client import Live
from dbnfast.live.trace import Trace
from dbnfast.live.wire.requests import subscription
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.live.events import Event
    from dbnfast.live.wire.requests import Subscription

WAKE_UP: Final = 0.2  # s: how long a wait may be before the time is looked at


class _Live(Live):
    _gives_objects = False


@dataclass(frozen=True)
class SessionOptions:
    """
    A session as the command line describes it.

    Attributes
    ----------
    dataset : str
        Its dataset.
    schemas : tuple of str
        What to subscribe to, each with the same symbols.
    symbols : tuple of str
        The symbols; none for all.
    stype_in : str
        What they are.
    start : str or None
        Where replay begins.
    snapshot : bool
        Whether to begin with the state of the book.
    key : str or None
        The API key; None for the environment's.
    gateway : str or None
        The gateway's host; None for the dataset's.
    port : int
        Its port.
    ts_out : bool
        Whether records end in the gateway's send time.
    heartbeat : int or None
        Seconds between heartbeats.
    compression, encoding : str
        Of the stream.
    reconnect : bool
        Whether to go on over new connections.
    hours : bool
        Whether to name silence of closed markets.
    trace, hexdump : bool
        Whether to show the lines, and the bytes.
    lasts : str or None
        How long, as 20s.
    limit : int or None
        At most so many records.
    """

    dataset: str
    schemas: tuple[str, ...]
    symbols: tuple[str, ...] = ()
    stype_in: str = "raw_symbol"
    start: str | None = None
    snapshot: bool = False
    key: str | None = None
    gateway: str | None = None
    port: int = 13000
    ts_out: bool = False
    heartbeat: int | None = None
    compression: str = "none"
    encoding: str = "dbn"
    reconnect: bool = True
    hours: bool = False
    trace: bool = False
    hexdump: bool = False
    lasts: str | None = None
    limit: int | None = None

    @property
    def seconds(self) -> float | None:
        """How long the session lasts; None for as long as nobody ends it."""
        return None if self.lasts is None else parse_duration(self.lasts) / 1e9

    def open(self, **more: Any) -> Live:
        """
        Make the client, which is not connected yet.

        Parameters
        ----------
        **more
            Further parameters of `Live`.

        Returns
        -------
        Live

        Raises
        ------
        TypeError, ValueError
            An option is not what it should be.
        """
        self.seconds  # a wrong duration is told before anything is opened  # noqa: B018
        if self.snapshot and Schema.MBO not in self.schemas:
            raise ValueError("--snapshot begins mbo with the book's state: it expects -s mbo")
        trace = Trace(True, hexdump=self.hexdump) if self.trace or self.hexdump else None
        return _Live(
            self.key,
            self.gateway,
            self.port,
            self.ts_out,
            self.heartbeat,
            "reconnect" if self.reconnect else "none",
            compression=self.compression,
            dataset=self.dataset,
            encoding=self.encoding,
            trace=trace,
            hours=self.hours or None,
            **more,
        )

    @property
    def subscriptions(self) -> list[Subscription]:
        """What `subscribe` asks for."""
        return [
            subscription(
                i, schema, self.symbols or None, self.stype_in, self.start,
                self.snapshot and schema == Schema.MBO,
            )
            for i, schema in enumerate(self.schemas)
        ]  # fmt: skip

    def subscribe(self, live: Live) -> None:
        """
        Connect and subscribe; say so where there is no connection yet.

        Parameters
        ----------
        live : Live
            As `open` made it.
        """
        for schema in self.schemas:
            live.subscribe(
                schema=schema,
                symbols=self.symbols or None,
                stype_in=self.stype_in,
                start=self.start,
                snapshot=self.snapshot and schema == Schema.MBO,
            )

    def check(self, live: Live) -> None:
        """
        Make sure that something came, be it no more than a header.

        Parameters
        ----------
        live : Live
            At its end.

        Raises
        ------
        ConnectError
            There was no session.
        SessionClosed
            There was, and nothing came.
        """
        if live.session_id is None:
            raise ConnectError("no connection could be made in all that time")
        if live.metadata is None:
            raise SessionClosed("the session ended before anything came")


def events_of(live: Live, options: SessionOptions) -> Iterator[Records | Event]:
    """
    Iterate over a session until its time is up or it has brought enough.

    Parameters
    ----------
    live : Live
        Subscribed.
    options : SessionOptions
        Says how long and how many.

    Yields
    ------
    Records or event
        Empty Records now and then, so that the caller can look at the time too.
    """
    seconds = options.seconds
    end = None if seconds is None else time.monotonic() + seconds
    left = options.limit
    for item in live.events(max_wait=WAKE_UP):
        if left is not None and isinstance(item, Records):
            part = item[:left]
            left -= len(part)
            yield part
        else:
            yield item
        if left == 0 or (end is not None and time.monotonic() >= end):
            return


def describe(event: Event) -> str:
    """
    Say what happened to a session.

    Parameters
    ----------
    event : event
        What happened.

    Returns
    -------
    str
    """
    if isinstance(event, Gap):
        state = "filled by replay" if event.filled else "NOT filled"
        return f"gap of {event.schema}, {event.start} to {event.end}: {state} ({event.reason})"
    if isinstance(event, Disconnected):
        what = f"attempt {event.attempt} failed" if event.attempt else f"{event.host} is gone"
        return f"{what}: {event.reason}; next attempt in {event.retry_in_s:.1f} s"
    if isinstance(event, Reconnected) and not event.attempts:
        return f"going on: {event.reason}"
    if isinstance(event, Reconnected):
        tries = plural(event.attempts, "attempt")
        return f"connected again after {event.down_s:.1f} s and {tries}: {event.reason}"
    if isinstance(event, Skipped):
        return f"{plural(event.n_records, 'record')} dropped: {event.reason}"
    if isinstance(event, MarketState):
        return f"the feed is {event.state}"
    return f"error {event.code}: {event.message}"


def tell(event: Event) -> None:
    """
    Say what happened to a session, on stderr.

    Parameters
    ----------
    event : event
        What happened.
    """
    talk(describe(event))


def summarise(live: Live, began: float, n_records: int) -> None:
    """
    Say how a session went, on stderr.

    Parameters
    ----------
    live : Live
        The client.
    began : float
        When, in seconds of the monotonic clock.
    n_records : int
        Records that were shown or written: of what was received, no more than were asked for.
    """
    if live.session_id is None:
        return
    stats = live.stats()
    took = max(time.monotonic() - began, 1e-9)
    parts = [
        f"{plural(n_records, 'record')} in {format_duration(round(took * 1e9))}",
        f"{n_records / took:,.0f}/s",
        plural(stats.reconnects, "reconnect"),
        f"{plural(stats.gaps, 'gap')} ({stats.unfilled_gaps} unfilled)",
    ]
    if stats.lag_ts_out_s is not None and stats.lag_ts_out_s >= 0:
        parts.append(f"last lag {stats.lag_ts_out_s * 1e3:.3f} ms")
    talk(", ".join(parts))
    if sys.stdout is not None:
        sys.stdout.flush()
