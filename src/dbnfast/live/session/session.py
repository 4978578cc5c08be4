"""
A session over as many connections as it takes, without I/O.

A pump gives it bytes and the time, sends what it wants sent, connects when it says so, and
hands on what it received. All times are seconds of a clock that never goes back, which the
pump reads.
"""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any, Final

from dbnfast.enums import DBN_VERSION, UNDEF_TIMESTAMP, Encoding, ErrorCode, ReconnectPolicy, RType
from dbnfast.errors import (
    AuthenticationError,
    ConnectError,
    DecodeError,
    GatewayError,
    HeartbeatTimeout,
    LiveError,
    SessionClosed,
)
from dbnfast.layouts.table import CONTROL
from dbnfast.live.events import Disconnected, ErrorEvent
from dbnfast.live.log import log
from dbnfast.live.resume.plan import Progress, Reach, resume
from dbnfast.live.session.backlog import Backlog
from dbnfast.live.session.report import Report
from dbnfast.live.stats import Counts
from dbnfast.live.wire.control import (
    ENDING,
    FATAL,
    HARMLESS,
    OF_THE_KEY,
    errors_in,
    kinds_in,
    mappings_in,
    warnings_in,
)
from dbnfast.live.wire.lines import HEARTBEAT_S
from dbnfast.live.wire.protocol import Authenticated, LiveProtocol, Options, State
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbnfast.codec.metadata import Metadata
    from dbnfast.live.events import Gap
    from dbnfast.live.session.silence import Silence
    from dbnfast.live.trace import Trace
    from dbnfast.live.wire.auth import ApiKey
    from dbnfast.live.wire.requests import Subscription

AUTH_TIMEOUT: Final = 30.0  # s from the connection to the gateway's reply
MARGIN: Final = 10.0  # s of silence beyond the interval of heartbeats
FIRST_RETRY: Final = 1.0  # s
MAX_RETRY: Final = 60.0
SPACING: Final = 0.2  # s between connections: a gateway takes five in a second
STEADY: Final = 30.0  # s of a connection after which the retries begin anew
LIMIT: Final = "connection limit"  # in the words of a refusal that a closing connection causes


class Session:
    """
    What was subscribed, what was received, and what is to be done about an end.

    Parameters
    ----------
    key : ApiKey
        What it authenticates with.
    options : Options
        What it asks for.
    host : str
        The gateway and its port, for what is told.
    policy : ReconnectPolicy
        Whether an unexpected end is one.
    retry_first : bool
        Whether it is tried again where no gateway has let this side in yet.
    overlap : float
        Seconds that a replay goes back behind what was received.
    backlog : Backlog
        Where what was received goes.
    silence : Silence, optional
        What names silence.
    trace : Trace, optional
        What is told of lines and batches.
    progress : Progress, optional
        Of a session before, which this one goes on with.
    known : int
        Subscriptions that the progress has been told of: they are made again, in their order.
    upgrade : bool
        Whether records of older versions become version 3.
    jitter : callable
        Gives a number from 0 to 1, which the delays are multiplied by.
    wall : callable
        Gives the time in ns since 1970-01-01 UTC.

    Attributes
    ----------
    subscriptions : list of Subscription
        In their order; the index is the id.
    metadata : Metadata or None
        The first connection's header.
    session_id : str or None
        Of the latest connection.
    ended : bool
        Whether nothing more will come.
    error : LiveError, DecodeError or None
        Why it ended, where that is an error.
    """

    def __init__(
        self,
        key: ApiKey,
        options: Options,
        *,
        host: str = "",
        policy: ReconnectPolicy = ReconnectPolicy.RECONNECT,
        retry_first: bool = False,
        overlap: float = 2.0,
        backlog: Backlog | None = None,
        silence: Silence | None = None,
        trace: Trace | None = None,
        progress: Progress | None = None,
        known: int = 0,
        upgrade: bool = True,
        jitter: Callable[[], float] = random.random,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.options = options
        self.host = host
        self.policy = policy
        self.outage: Disconnected | None = None  # while there is no connection that was let in
        self.backlog = Backlog() if backlog is None else backlog
        self.trace = trace
        self.subscriptions: list[Subscription] = []
        self.symbology_map: dict[int, str | int] = {}
        self.metadata: Metadata | None = None
        self.session_id: str | None = None
        self.lsg_version = ""
        self.ended = False
        self.stopping = False
        self.error: LiveError | DecodeError | None = None
        self.counts = Counts()
        self.attempts = 0  # since the last good connection
        self.retry_at: float | None = None  # when to connect; None while connected
        self.started = False  # whether records are wanted
        self._key = key
        self._retry_first = retry_first
        self._was_in = False  # whether a gateway ever let this side in
        self._silence = silence
        self._known = known
        self._upgrade = upgrade
        self._jitter = jitter
        self._wall = wall
        self._resuming = progress is not None  # whether the next connection goes on with another
        self.progress = Progress(overlap_ns=round(overlap * 1e9)) if progress is None else progress
        self._protocol: LiveProtocol | None = None
        self._deadline: float | None = None
        self._reach = Reach.FULL
        self._failed_at: Reach | None = None  # where an internal error came before any data
        self._resumed: tuple[Subscription, ...] = ()
        self._fresh = True  # whether no market data came over this connection yet
        self._report = Report(self.backlog, self.progress, wall)
        if self._resuming:
            self._report.announce = ("an earlier session ended", None)
        self._unnoted: list[Records] = []
        self._refusal: GatewayError | None = None  # the error record that ends the connection
        self._failure: LiveError | None = None  # how the connection ended that is still read from
        self._connected_at = 0.0
        self._began_at: float | None = None  # when this connection was told to begin
        self._last_byte = 0.0

    @property
    def gaps(self) -> list[Gap]:
        """The latest gaps reported, filled ones too; the same list."""
        return self._report.gaps

    # --- what the user wants --------------------------------------------------------------

    def subscribe(self, subscription: Subscription) -> None:
        """
        Ask for records, now or as soon as the gateway lets this side in.

        Parameters
        ----------
        subscription : Subscription
            With the next id.

        Raises
        ------
        ValueError
            It has a start though the session has begun: the gateway would ignore that.
        """
        if self.started and subscription.start is not None:
            raise ValueError(
                f"start is {subscription.start}, expected None: the session has begun, and the "
                "gateway replays for earlier subscriptions only"
            )
        self._note()
        self.subscriptions.append(subscription)
        if subscription.id >= self._known:
            sent = self.started and self.authenticated
            self.progress.subscribed(subscription, self._wall() if sent else None)
        if self._protocol is None or not self._is_in(self._protocol):
            return
        asked: tuple[Subscription, ...] = (subscription,)
        if not self.started:
            asked = self._asked(asked)
            self._resumed += asked
        self._protocol.subscribe(asked)

    def start(self, now: float) -> None:
        """
        Have the records begin.

        Parameters
        ----------
        now : float
            The time.
        """
        self.started = True
        self._report.wanted_ns = self._wall()
        if self._protocol is not None and self._protocol.state is State.READY:
            self._begin(self._protocol, now)

    def stop(self) -> None:
        """End the session; what was received can still be taken."""
        self.stopping = self.ended = True
        self.retry_at = self._deadline = None

    # --- what the pump does ---------------------------------------------------------------

    def connect(self, now: float) -> None:
        """
        Want a connection, if there is none.

        Parameters
        ----------
        now : float
            The time.
        """
        if self._protocol is None and self.retry_at is None and not self.ended:
            self.retry_at = now

    @property
    def connected(self) -> bool:
        """Whether there is a connection, authenticated or not."""
        return self._protocol is not None

    @property
    def authenticated(self) -> bool:
        """Whether the gateway let this side in."""
        return self._protocol is not None and self._is_in(self._protocol)

    def connection_made(self, now: float) -> None:
        """
        Begin with a new connection.

        Parameters
        ----------
        now : float
            The time.
        """
        start = min((s.start for s in self.subscriptions if s.start is not None), default=None)
        self._protocol = LiveProtocol(
            self._key,
            self.options,
            trace=self.trace,
            start=self._wall() if start is None else start,
        )
        self.retry_at = None
        self._connected_at = self._last_byte = now
        self._deadline = now + AUTH_TIMEOUT
        self._fresh, self._refusal, self._failure = True, None, None
        self._began_at = None

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """
        Lend memory for the next bytes.

        Parameters
        ----------
        sizehint : int
            How much is wanted.

        Returns
        -------
        memoryview
        """
        if self._unnoted:
            self._note()
        assert self._protocol is not None
        return self._protocol.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int, now: float) -> None:
        """
        Take the first bytes of what was lent.

        Parameters
        ----------
        nbytes : int
            How many were received.
        now : float
            The time.
        """
        protocol = self._protocol
        if protocol is None or self.stopping:  # while these bytes were read
            return
        self._last_byte = now
        self.counts.wire_bytes += nbytes
        protocol.buffer_updated(nbytes)
        if not protocol.more:  # else `read_more` is called anyhow
            self._read(protocol, now)

    @property
    def more(self) -> bool:
        """Whether `read_more` would give something: to be called before anything else is read."""
        return self._protocol is not None and self._protocol.more and not self.stopping

    def read_more(self, now: float) -> None:
        """
        Read on in what was received, where that was too much for once.

        Parameters
        ----------
        now : float
            The time.
        """
        protocol = self._protocol
        if protocol is not None and not self.stopping:
            if self._unnoted:
                self._note()
            self._read(protocol, now)

    @property
    def wants_to_send(self) -> bool:
        """Whether `data_to_send` would give something."""
        return self._protocol is not None and self._protocol.wants_to_send

    def data_to_send(self) -> bytes:
        """
        Take what is to be sent.

        Returns
        -------
        bytes
        """
        return b"" if self._protocol is None else self._protocol.data_to_send()

    def connection_lost(self, error: Exception | None, now: float) -> None:
        """
        Tell that the connection ended, or that none could be made.

        Parameters
        ----------
        error : Exception or None
            What the system says; None for an end of file.
        now : float
            The time.
        """
        protocol = self._protocol
        failure: LiveError
        if error is None:
            failure = SessionClosed("the gateway closed the connection")
        elif isinstance(error, LiveError):
            failure = error
        elif protocol is None:
            failure = ConnectError(f"no connection to the gateway: {error}")
            failure.__cause__ = error
        else:
            failure = SessionClosed(f"the connection to the gateway broke: {error}")
            failure.__cause__ = error
        if protocol is None:
            self._end(failure, now)
            return
        self._failure = failure
        protocol.eof_received()
        if not protocol.more:
            self._read(protocol, now)

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called, should nothing come before; None for never."""
        deadline = self._deadline
        if self._silence is not None and self.started and not self.ended:
            look = self._silence.next_look
            return look if deadline is None else min(look, deadline)
        return deadline

    def tick(self, now: float) -> None:
        """
        Look at the time, once all that had arrived was read.

        Parameters
        ----------
        now : float
            The time.
        """
        protocol = self._protocol
        if self._silence is not None and self.started and not self.ended:
            self._label(now)
        if protocol is None:
            return
        if self._deadline is None or now < self.silent_at:
            return
        silent = now - self._last_byte
        failure: LiveError
        if self._is_in(protocol):
            failure = HeartbeatTimeout(
                f"nothing came for {silent:.1f} s, expected a heartbeat every {self.interval} s"
            )
        else:
            failure = ConnectError(
                f"authentication took longer than {AUTH_TIMEOUT:.0f} s; this side waits for the "
                f"{protocol.state.value}"
            )
        self._end(failure, now)

    def alive(self, now: float) -> None:
        """
        Begin silence anew: the pump has not read for a while.

        Parameters
        ----------
        now : float
            The time.
        """
        self._last_byte = max(self._last_byte, now)
        self._deadline = self.silent_at if self._protocol is not None else None

    @property
    def interval(self) -> int:
        """Seconds between heartbeats."""
        return self.options.heartbeat_interval_s or HEARTBEAT_S

    @property
    def silent_at(self) -> float:
        """When silence has lasted too long; never before records were asked for."""
        protocol = self._protocol
        if protocol is None or protocol.more or protocol.state is State.READY:
            return float("inf")
        if protocol.state is State.STARTED:
            return self._last_byte + self.interval + MARGIN
        return self._connected_at + AUTH_TIMEOUT

    # --- what happens ---------------------------------------------------------------------

    def _is_in(self, protocol: LiveProtocol) -> bool:
        return protocol.state in (State.READY, State.STARTED)

    def _read(self, protocol: LiveProtocol, now: float) -> None:
        for event in protocol.events():
            if isinstance(event, Records):
                self._received(event, now)
                if self._protocol is not protocol:
                    return
            elif isinstance(event, Authenticated):
                self._authenticated(protocol, event, now)
            else:
                self._finished(event.error or self._failure, now)
                return
        begun = protocol.state is State.STARTED  # one that comes before that changes nothing yet
        if begun and self.metadata is None and self.options.encoding == Encoding.DBN:
            self._header(protocol.metadata, None)  # it came before any record
        self._deadline = self.silent_at if self._protocol is protocol else None

    def _authenticated(self, protocol: LiveProtocol, event: Authenticated, now: float) -> None:
        self.session_id, self.lsg_version = event.session_id, event.lsg_version
        self._was_in, self.outage = True, None
        log(logging.INFO, "authenticated, session_id=%r", event.session_id)
        self._resumed = self._asked(self.subscriptions)
        if not self._is_in(protocol):
            return  # damage came in the same read as the reply: the end is the next event
        protocol.subscribe(self._resumed)
        if self.started:
            self._begin(protocol, now)

    def _asked(self, subscriptions: Sequence[Subscription]) -> tuple[Subscription, ...]:
        # what to send for these subscriptions over the present connection
        if self._resuming:
            return resume(subscriptions, self.progress, self._reach)
        if self._reach == Reach.NONE:  # the users' own starts have aged out meanwhile
            return tuple(sub.resumed(None, snapshot=sub.snapshot) for sub in subscriptions)
        return tuple(subscriptions)

    def _begin(self, protocol: LiveProtocol, now: float) -> None:
        protocol.start()
        self._last_byte = self._began_at = now
        self._deadline = self.silent_at
        if self._again:
            self.progress.resumed(self._resumed, self._wall())

    def _received(self, records: Records, now: float) -> None:
        if self._unnoted:
            self._note()
        begun = self.metadata is not None and self._report.announce is None
        current = records.version == DBN_VERSION or not self._upgrade
        if begun and current and self.progress.takes_all(records):
            # The usual case, on the shortest way: nothing of it can be dropped, nor can it tell
            # anything, so that what it means for resuming is noted once it was handed on.
            self._refusal, self._fresh = None, False
            self.counts.received(records, records, True)
            if self._silence is not None:
                opened = self._silence.received(now, True)
                if opened is not None:
                    self.backlog.put(opened)
            self.backlog.put(records)
            self._unnoted.append(records)
            return
        protocol = self._protocol
        assert protocol is not None
        if self.metadata is None or self._report.announce is not None:
            self._header(protocol.metadata, records)
        if self._upgrade and records.version != DBN_VERSION:
            records = records.upgrade()
        control, market = kinds_in(records)
        self._refusal = None  # one that no end of the connection followed was none
        if control:
            self._read_control(records)
        refusal: GatewayError | None = self._refusal
        refused = refusal is not None and not market and self._refused_replay(refusal.code)
        if self._report.announce is not None and not refused:
            self._tell_reconnected(records, now)
        if market:
            self._fresh = False
        new = self.progress.push(records)
        over = self.progress.completed()
        for replay in over:
            if not replay.whole:
                self._report.replayed(replay)
        self.counts.received(records, new, market)
        if self._silence is not None:
            state = self._silence.received(now, market)
            if state is not None:
                self.backlog.put(state)
        if len(new):
            self.backlog.put(new)
        if control:
            self._tell_control(records)
        for replay in over:
            if replay.whole:
                self._report.replayed(replay)
        if refusal is not None and refusal.code in ENDING:
            self._refused(refusal, now)  # not every gateway closes the connection then

    def _note(self) -> None:
        # what was handed on before it was noted for resuming
        unnoted, self._unnoted = self._unnoted, []
        for records in unnoted:
            self.progress.push(records)

    def _header(self, header: Metadata | None, first: Records | None) -> None:
        if header is None:
            return
        header = header.upgrade() if self._upgrade else header
        start = header.start
        if self.options.encoding == Encoding.JSON and first is not None:
            # no header came; the gateway's own records have its time
            own = [
                r.ts_event for r in first if r.rtype in CONTROL and r.ts_event != UNDEF_TIMESTAMP
            ]
            start = min(own, default=start)
        self.progress.started(start, self._report.wanted_ns)
        if self.metadata is None:
            self.metadata = header
            self._report.begun(self.subscriptions, self._resumed)

    def _read_control(self, records: Records) -> None:
        # before the records are handed on: what they change of the session itself
        for mapping in mappings_in(records):
            self.symbology_map[mapping.instrument_id] = mapping.stype_out_symbol
        for error in errors_in(records):
            if error.code not in HARMLESS:
                self._refusal = GatewayError(self._key.hide(error.err), error.code)
        refusal: GatewayError | None = self._refusal
        if refusal is not None and refusal.code not in ENDING and records[-1].rtype != RType.ERROR:
            self._refusal = None  # the stream went on behind it

    def _tell_control(self, records: Records) -> None:
        for error in errors_in(records):
            fatal = error.code in ENDING and not self._refused_replay(error.code)
            text = self._key.hide(error.err)
            log(logging.WARNING, "the gateway reports error %s: %s", error.code, text)
            self.backlog.put(ErrorEvent(error.code, text, fatal))
        for warning in warnings_in(records):
            log(logging.WARNING, "the gateway warns: %s", self._key.hide(warning))

    def _tell_reconnected(self, first: Records, now: float) -> None:
        protocol = self._protocol
        assert protocol is not None
        if protocol.metadata is None:
            return
        self.counts.reconnects += 1
        self._report.reconnected(
            self.subscriptions, self._resumed,
            attempts=self.attempts, session_id=self.session_id, metadata=protocol.metadata,
            first=first, now=now,
        )  # fmt: skip

    @property
    def _again(self) -> bool:
        # whether records were asked for over a connection before
        return self._resuming or self._report.missed is not None

    def _refused_replay(self, code: int) -> bool:
        # whether the gateway may have refused what only resuming asked for
        return (
            code not in OF_THE_KEY
            and self._again
            and (self._fresh or bool(self.progress.replaying))
            and any(subscription.start is not None for subscription in self._resumed)
        )

    def _finished(self, error: LiveError | DecodeError | None, now: float) -> None:
        if self._refusal is not None:
            self._refused(self._refusal, now)
        elif isinstance(error, AuthenticationError):
            self._end(error, now, retry=self._again and LIMIT in str(error))
        elif isinstance(error, DecodeError):
            # damage: another connection may bring what this one did not, if it ever worked
            self._end(error, now, retry=not self._fresh or self._again)
        else:
            self._end(error or SessionClosed("the gateway closed the connection"), now)

    def _refused(self, refusal: GatewayError, now: float) -> None:
        if self._refused_replay(refusal.code):
            # an internal error may have nothing to do with it: it is asked for once more
            again = self._fresh and self._failed_at == self._reach
            if refusal.code != ErrorCode.INTERNAL_ERROR or again:
                self._ask_less()
            elif self._fresh:
                self._failed_at = self._reach
            self._end(refusal, now, reach=self._reach)
            return
        limit = refusal.code == ErrorCode.CONNECTION_LIMIT_EXCEEDED
        again = refusal.code not in FATAL or (limit and self._again)
        self._end(refusal, now, retry=again)

    def _ask_less(self) -> None:
        asked = self._resumed
        while self._reach < Reach.NONE:
            self._reach = Reach(self._reach + 1)
            if self._asked(self.subscriptions) != asked:
                return

    def _end(
        self,
        error: LiveError | DecodeError,
        now: float,
        *,
        retry: bool = True,
        reach: Reach | None = None,
    ) -> None:
        # the connection is over; the session too, or there will be another one
        protocol, self._protocol = self._protocol, None
        self._deadline = None
        self._note()
        if self.ended:
            return
        if self.trace is not None:
            self.trace.note(f"ended: {error}")
        if self.started and self.metadata is None and self._report.missed is None:
            self._report.missed = str(error)
        if protocol is not None and self.started:
            self.progress.disconnected()
            self._resuming = self._resuming or self.metadata is not None
            self._report.disconnected()
        if not self._was_in and self._failure is not None:  # it ended before this side was let in
            error = ConnectError(f"no session with {self.host}: {error}")
            error.__cause__ = self._failure.__cause__
        retry = retry and (self._was_in or self._retry_first)
        if self.policy == ReconnectPolicy.NONE or not retry:
            self.ended = True
            # with this policy an end of file is an end like any other
            clean = isinstance(error, SessionClosed) and error.__cause__ is None and self.started
            self.error = None if clean else error
            return
        if protocol is not None and (not self._fresh or now - self._connected_at > STEADY):
            self.attempts = 0
        if not self._fresh:
            self._failed_at = None
        if reach is not None:
            self._reach = reach
        elif not self._fresh or self._lasted(now):
            self._reach = Reach.FULL
        self._began_at = None
        delay = self._delay()
        self._tell_outage(error, delay, tried=protocol is None)
        self.attempts += 1
        self.retry_at = now + delay
        self._report.lost(error, now, told=self.metadata is not None)
        log(logging.WARNING, "%s; connecting again in %.1f s", error, delay)
        if self.trace is not None:
            self.trace.note(f"connecting again in {delay:.1f} s")

    def _tell_outage(self, error: Exception, delay: float, *, tried: bool) -> None:
        # since the first end; an attempt is one that found the session without a connection
        before = self.outage
        since = self._wall() if before is None else before.since_ns
        attempt = (0 if before is None else before.attempt) + (tried or before is not None)
        self.outage = Disconnected(
            self._key.hide(str(error)), self.host, _errno_of(error), since, attempt, delay
        )
        self.backlog.put(self.outage)

    def _lasted(self, now: float) -> bool:
        # whether this connection was good, though it brought no market data
        return self._began_at is not None and now - self._began_at > STEADY

    def _delay(self) -> float:
        if self.attempts == 0:
            return FIRST_RETRY
        longest = min(MAX_RETRY, FIRST_RETRY * 2.0 ** min(self.attempts, 30))
        return max(SPACING, self._jitter() * longest)

    def _label(self, now: float) -> None:
        assert self._silence is not None
        state = self._silence.look(now)
        if state is not None:
            self.backlog.put(state)

    def check(self) -> None:
        """
        Raise what ended the session, if that was an error.

        Raises
        ------
        LiveError, DecodeError
            The same object every time.
        """
        if self.error is not None:
            raise self.error.with_traceback(None)

    def require_open(self, what: str) -> None:
        """
        Refuse what needs a session that goes on.

        Parameters
        ----------
        what : str
            What is asked, for the error.

        Raises
        ------
        LiveError, DecodeError
            What ended it.
        ValueError
            It has ended without an error.
        """
        if self.ended:
            self.check()
            raise ValueError(f"{what} needs a session that has not ended: call subscribe() again")

    def describe(self) -> dict[str, Any]:
        """
        Give what `stats` shows of the session.

        Returns
        -------
        dict
        """
        return {
            "gaps": self._report.n_gaps,
            "unfilled_gaps": self._report.n_unfilled,
            "session_id": self.session_id,
            "state": "open" if self._silence is None else self._silence.state,
            "disconnected": None if self.ended else self.outage,
        }


def _errno_of(error: BaseException | None) -> int | None:
    # the system's number, of the error itself or of what it was raised for
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__
    return None
