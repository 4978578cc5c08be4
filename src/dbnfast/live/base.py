"""What the blocking and the asynchronous client have in common: parameters and properties."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from dbnfast._util.arguments import as_int, check_port
from dbnfast._util.times import timestamps, to_seconds
from dbnfast.enums import Compression, Encoding, ReconnectPolicy, SlowReaderBehavior
from dbnfast.errors import MissingExtraError
from dbnfast.live.session.backlog import BLOCK, POLICIES, Backlog
from dbnfast.live.session.session import Session
from dbnfast.live.session.silence import Silence
from dbnfast.live.sinks import CallbackSink, ReconnectSink, Sinks, StreamSink
from dbnfast.live.stats import Stats
from dbnfast.live.trace import trace_of
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.lines import DOMAIN, HEARTBEAT_S, MAX_HEARTBEAT_S, MIN_HEARTBEAT_S
from dbnfast.live.wire.protocol import Options
from dbnfast.live.wire.requests import subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import Schema, SType
    from dbnfast.live.events import Gap
    from dbnfast.live.resume.plan import Progress
    from dbnfast.live.wire.requests import Subscription, SubscriptionRequest

DEFAULT_PORT: Final = 13000
LONGEST_POLL: Final = 100_000  # us
LONGEST_OVERLAP: Final = 604_800  # s: no gateway replays more than a week


def host_of(dataset: str) -> str:
    """
    Give the gateway of a dataset.

    Parameters
    ----------
    dataset : str
        Its code.

    Returns
    -------
    str
    """
    return f"{dataset.lower().replace('.', '-')}{DOMAIN}"


class LiveBase:  # numpydoc ignore=PR01
    """What `Live` and `AsyncLive` share: the parameters, which `Live` documents, and properties."""

    _gives_objects = True  # the command line takes arrays alone

    def __init__(
        self,
        key: str | None = None,
        gateway: str | None = None,
        port: int = DEFAULT_PORT,
        ts_out: bool = False,
        heartbeat_interval_s: int | None = None,
        reconnect_policy: ReconnectPolicy | str = ReconnectPolicy.RECONNECT,
        slow_reader_behavior: SlowReaderBehavior | str | None = None,
        compression: Compression | str | None = Compression.NONE,
        loop: Any = None,
        *,
        dataset: str | None = None,
        encoding: Encoding | str = Encoding.DBN,
        overlap: float = 2.0,
        retry_first: bool = False,
        on_slow: str = BLOCK,
        max_buffer: int = 64 << 20,
        trace: Any = None,
        hours: Any = None,
        upgrade: bool = True,
        busy_poll_us: int = 150,
    ) -> None:
        del loop
        self._session: Session | None = None
        self._earlier: tuple[Progress, int] | None = None  # a session to go on with
        self._sinks = Sinks()
        self._sinks_of: Session | None = None  # whose they are
        self._asking = threading.RLock()  # one subscription after the other
        self._key = ApiKey(key)
        if gateway is not None and (not isinstance(gateway, str) or not gateway.strip()):
            raise ValueError(f"gateway is {gateway!r}, expected the name of a host")
        self._gateway = gateway
        self._port = check_port(port, 1)
        if heartbeat_interval_s is not None:
            heartbeat_interval_s = as_int("heartbeat_interval_s", heartbeat_interval_s)
            if not MIN_HEARTBEAT_S <= heartbeat_interval_s <= MAX_HEARTBEAT_S:
                raise ValueError(
                    f"heartbeat_interval_s is {heartbeat_interval_s}, expected "
                    f"{MIN_HEARTBEAT_S} to {MAX_HEARTBEAT_S} seconds"
                )
        encoding = Encoding(encoding)
        if encoding == Encoding.CSV:
            raise ValueError(
                "encoding is 'csv': a live session mixes records of several types, which no one "
                "CSV table holds; use 'dbn' or 'json'"
            )
        if not 0 <= to_seconds("overlap", overlap) <= LONGEST_OVERLAP:
            raise ValueError(f"overlap is {overlap!r}, expected seconds, 0 to {LONGEST_OVERLAP}")
        if on_slow not in POLICIES:
            raise ValueError(f"on_slow is {on_slow!r}, expected one of {', '.join(POLICIES)}")
        if as_int("max_buffer", max_buffer) < 1:
            raise ValueError(f"max_buffer is {max_buffer!r}, expected bytes, 1 or more")
        poll = as_int("busy_poll_us", busy_poll_us)
        if not 0 <= poll <= LONGEST_POLL:
            raise ValueError(
                f"busy_poll_us is {busy_poll_us!r}, expected microseconds, 0 to {LONGEST_POLL}"
            )
        self._poll = poll / 1e6
        self._policy = ReconnectPolicy(reconnect_policy)
        self._overlap = float(overlap)
        self._retry_first = bool(retry_first)
        self._on_slow = on_slow
        self._max_buffer = max_buffer
        self._upgrade = bool(upgrade)
        self._trace = trace_of(trace, self._key)
        self._hours = hours
        self._default_dataset = "" if dataset is None else _checked_dataset(dataset)
        slow = None if slow_reader_behavior is None else SlowReaderBehavior(slow_reader_behavior)
        self._options = Options(
            self._default_dataset, bool(ts_out), Compression(compression), encoding,
            heartbeat_interval_s, slow,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(dataset={self.dataset!r}, key={self._key!r})>"

    @property
    def dataset(self) -> str:
        """The dataset of the session; empty before the first subscription."""
        if self._session is None:
            return self._default_dataset
        return self._session.options.dataset

    @property
    def gateway(self) -> str | None:
        """The host that was given; None if it follows from the dataset."""
        return self._gateway

    @property
    def port(self) -> int:
        """The port of the gateway."""
        return self._port

    @property
    def key(self) -> str:
        """The whole API key."""
        return self._key.secret

    @property
    def ts_out(self) -> bool:
        """Whether records end in the gateway's send time."""
        return self._options.ts_out

    @property
    def compression(self) -> Compression:
        """The compression of the stream."""
        return self._options.compression

    @property
    def metadata(self) -> Metadata | None:
        """The header of the first connection; None until it arrives."""
        return None if self._session is None else self._session.metadata

    @property
    def session_id(self) -> str | None:
        """The id that the gateway gave the session; None before there is one."""
        return None if self._session is None else self._session.session_id

    @property
    def subscription_requests(self) -> list[tuple[SubscriptionRequest, ...]]:
        """The request lines of each subscription, by its id."""
        made = [] if self._session is None else self._session.subscriptions
        return [subscription.requests for subscription in made]

    @property
    def symbology_map(self) -> dict[int, str | int]:
        """The latest symbol of each instrument id; a dict that mapping records update."""
        known: dict[int, str | int] = {}
        return known if self._session is None else self._session.symbology_map

    @property
    def gaps(self) -> list[Gap]:
        """The latest gaps reported, filled ones too: 10,000 of them at least."""
        return [] if self._session is None else list(self._session.gaps)

    def is_connected(self) -> bool:
        """
        Return whether there is a connection, and the gateway let this side in.

        Returns
        -------
        bool
            False between two connections of one session, and once it has ended.
        """
        session = self._session
        return session is not None and not session.ended and session.authenticated

    def stats(self) -> Stats:
        """
        Return the statistics of the session.

        Returns
        -------
        Stats
            The current values. Any thread may call this.
        """
        session = self._session
        if session is None:
            return Stats()
        counts, backlog = session.counts, session.backlog
        return Stats(
            records=counts.records,
            bytes=counts.bytes,
            wire_bytes=counts.wire_bytes,
            counts=counts.counts(),
            duplicates=counts.duplicates,
            skipped=backlog.skipped_records,
            reconnects=counts.reconnects,
            backlog_records=backlog.n_records,
            backlog_bytes=backlog.n_bytes,
            **counts.lags(),
            **session.describe(),
        )

    def add_callback(
        self,
        record_callback: Callable[[Any], object],
        exception_callback: Callable[[Exception], object] | None = None,
    ) -> None:
        """
        Add a function to be called with every record.

        Parameters
        ----------
        record_callback : callable
            Takes a Record.
        exception_callback : callable, optional
            Called with an exception that it raises. Without one, the exception is logged and a
            warning given. The session continues in either case.

        Raises
        ------
        ValueError
            One of them is not callable.
        """
        self._own_sinks().add_callback(CallbackSink(record_callback, exception_callback))
        self._sinks_changed()

    def add_stream(
        self,
        stream: IO[bytes] | os.PathLike[str] | str,
        exception_callback: Callable[[Exception], object] | None = None,
    ) -> None:
        """
        Add a file to which the session is written as DBN.

        Parameters
        ----------
        stream : writable or path-like
            A path must not exist yet; the file is closed at the end of the session.
        exception_callback : callable, optional
            Called with an exception that writing raises.

        Raises
        ------
        ValueError
            `stream` cannot be written to.
        OSError
            The path exists, or cannot be opened.
        """
        self._own_sinks().streams.append(StreamSink(stream, exception_callback))
        self._sinks_changed()

    def add_reconnect_callback(
        self,
        reconnect_callback: Callable[[Any, Any], object],
        exception_callback: Callable[[Exception], object] | None = None,
    ) -> None:
        """
        Add a function to be called when the session continues over a new connection.

        Parameters
        ----------
        reconnect_callback : callable
            Takes the latest time received before, and the start in the header of the new
            connection, both pandas.Timestamp in UTC.
        exception_callback : callable, optional
            Called with an exception that it raises.

        Raises
        ------
        ValueError
            One of them is not callable.
        MissingExtraError
            pandas is not installed.
        """
        self._own_sinks().reconnects.append(ReconnectSink(reconnect_callback, exception_callback))

    def go_on_with(self, progress: Progress, n_subscriptions: int) -> None:
        """
        Have the next session close the gap behind an earlier one, as a recorder's.

        Parameters
        ----------
        progress : Progress
            What the earlier one delivered.
        n_subscriptions : int
            How many it had: they are to be made again, in the same order.
        """
        self._earlier = (progress, n_subscriptions)

    def _own_sinks(self) -> Sinks:
        # the session before may still hand records on to its own, and then clears them
        session = self._sinks_of
        over = session is not None and session.ended
        if over and (self._sinks.forgotten or (session is not None and session.started)):
            self._sinks, self._sinks_of = Sinks(), None
        return self._sinks

    def _sinks_changed(self) -> None:
        # a callback or stream was added, perhaps while the session runs
        return

    def _subscription(
        self,
        schema: Schema | str | None,
        symbols: Iterable[str | int] | str | int | None,
        stype_in: SType | str,
        start: Any,
        snapshot: bool,
    ) -> Subscription:
        if schema is None:
            raise TypeError("schema is missing")
        session = self._session
        n = 0 if session is None or session.ended else len(session.subscriptions)
        return subscription(n, schema, symbols, stype_in, start, snapshot)

    def _session_for(self, dataset: str | None) -> tuple[Session, bool]:
        # the session that a subscription belongs to, and whether it is new
        wanted = self._default_dataset if dataset is None else _checked_dataset(dataset)
        if not wanted:
            raise ValueError("dataset is missing: give it here or to the constructor")
        session = self._session
        # one without a subscription was being made when an interrupt came
        if session is not None and not session.ended and session.subscriptions:
            if session.options.dataset != wanted:
                raise ValueError(
                    f"dataset is {wanted!r}, the session is of {session.options.dataset!r}: "
                    "one session has one dataset"
                )
            return session, False
        options = Options(**{**vars(self._options), "dataset": wanted})
        if self._gives_objects:
            with suppress(MissingExtraError):
                timestamps()  # takes long to import: not when the first record's time is read
        hours = self._market_hours(wanted)
        self._session = Session(
            self._key,
            options,
            host=f"{self._gateway or host_of(wanted)}:{self._port}",
            policy=self._policy,
            retry_first=self._retry_first,
            overlap=self._overlap,
            backlog=Backlog(self._on_slow, self._max_buffer),
            silence=Silence(options.heartbeat_interval_s or HEARTBEAT_S, hours),
            trace=self._trace,
            progress=None if self._earlier is None else self._earlier[0],
            known=0 if self._earlier is None else self._earlier[1],
            upgrade=self._upgrade,
        )
        self._earlier = None
        self._own_sinks()
        self._sinks_of = self._session
        return self._session, True

    def _market_hours(self, dataset: str) -> Any:
        if self._hours is None or self._hours is False:
            return None
        from dbnfast.live.hours import MarketHours  # its library is an extra

        if isinstance(self._hours, MarketHours):
            return self._hours
        calendar = None if self._hours is True else self._hours
        return MarketHours(dataset, calendar=calendar)

    @property
    def _host(self) -> str:
        return self._gateway or host_of(self.dataset)


def _checked_dataset(dataset: Any) -> str:
    wrong = not isinstance(dataset, str) or not dataset.strip() or not dataset.isprintable()
    if wrong or "|" in dataset:
        raise ValueError(f"dataset is {dataset!r}, expected its code, such as 'GLBX.MDP3'")
    return str(dataset).strip()
