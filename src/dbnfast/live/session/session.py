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
from dbnfast.live.session.link import AUTH_TIMEOUT, Link
from dbnfast.live.session.report import Report
from dbnfast.live.session.retry import Retry
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
        self.retry = Retry(jitter)
        self.retry_at: float | None = None  # when to connect; None while connected
        self.started = False  # whether records are wanted
        self._key = key
        self._retry_first = retry_first
        self._was_in = False  # whether a gateway ever let this side in
        self._silence = silence
        self._known = known
        self._upgrade = upgrade
        self._wall = wall
        self._begun_ns: int | None = None  # this side's time when it asked for the records
        self._resuming = progress is not None  # whether the next connection goes on with another
        if progress is None:
            keep = policy != ReconnectPolicy.NONE
            progress = Progress(overlap_ns=round(overlap * 1e9), keep=keep)
        self.progress = progress
        self._link: Link | None = None
        self._tried = 0  # connections since the last one that went on with another
        own_header = options.encoding == Encoding.JSON
        self._report = Report(self.backlog, self.progress, wall, own_header)
        if self._resuming:
            self._report.announce = ("an earlier session ended", None)
            self._report.due = True
        self._unnoted: list[Records] = []

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
            now_ns = self._wall() if self.started else None
            self.progress.subscribed(subscription, now_ns if self.authenticated else None)
            if now_ns is not None and self.metadata is None:
                self._report.late_ns[subscription.id] = now_ns
        link = self._link
        if link is None or not link.authenticated:
            return
        asked: tuple[Subscription, ...] = (subscription,)
        if not self.started:
            asked = self._asked(asked)
            link.asked += asked
        link.protocol.subscribe(asked)

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
        if self._link is not None and self._link.protocol.state is State.READY:
            self._begin(self._link, now)

    def stop(self) -> None:
        """End the session; what was received can still be taken."""
        self.stopping = self.ended = True
        self.retry_at = None
        if self._link is not None:
            self._link.deadline = None

    # --- what the pump does ---------------------------------------------------------------

    def connect(self, now: float) -> None:
        """
        Want a connection, if there is none.

        Parameters
        ----------
        now : float
            The time.
        """
        if self._link is None and self.retry_at is None and not self.ended:
            self.retry_at = now

    @property
    def connected(self) -> bool:
        """Whether there is a connection, authenticated or not."""
        return self._link is not None

    @property
    def authenticated(self) -> bool:
        """Whether the gateway let this side in."""
        return self._link is not None and self._link.authenticated

    def connection_made(self, now: float) -> None:
        """
        Begin with a new connection.

        Parameters
        ----------
        now : float
            The time.
        """
        start = min((s.start for s in self.subscriptions if s.start is not None), default=None)
        protocol = LiveProtocol(
            self._key,
            self.options,
            trace=self.trace,
            start=self._wall() if start is None else start,
        )
        self._link = Link(protocol, now, self.interval)
        self.retry_at = None

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
        assert self._link is not None
        return self._link.protocol.get_buffer(sizehint)

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
        link = self._link
        if link is None or self.stopping:  # while these bytes were read
            return
        link.last_byte = now
        self.counts.wire_bytes += nbytes
        link.protocol.buffer_updated(nbytes)
        if not link.protocol.more:  # else `read_more` is called anyhow
            self._read(link, now)

    @property
    def more(self) -> bool:
        """Whether `read_more` would give something: to be called before anything else is read."""
        return self._link is not None and self._link.protocol.more and not self.stopping

    def read_more(self, now: float) -> None:
        """
        Read on in what was received, where that was too much for once.

        Parameters
        ----------
        now : float
            The time.
        """
        link = self._link
        if link is not None and not self.stopping:
            if self._unnoted:
                self._note()
            self._read(link, now)

    @property
    def wants_to_send(self) -> bool:
        """Whether `data_to_send` would give something."""
        return self._link is not None and self._link.protocol.wants_to_send

    def data_to_send(self) -> bytes:
        """
        Take what is to be sent.

        Returns
        -------
        bytes
        """
        return b"" if self._link is None else self._link.protocol.data_to_send()

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
        link = self._link
        failure: LiveError
        if error is None:
            failure = SessionClosed("the gateway closed the connection")
        elif isinstance(error, LiveError):
            failure = error
        elif link is None:
            failure = ConnectError(f"no connection to the gateway: {error}")
            failure.__cause__ = error
        else:
            failure = SessionClosed(f"the connection to the gateway broke: {error}")
            failure.__cause__ = error
        if link is None:
            self._end(failure, now)
            return
        link.failure = failure
        link.protocol.eof_received()
        if not link.protocol.more:
            self._read(link, now)

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called, should nothing come before; None for never."""
        deadline = None if self._link is None else self._link.deadline
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
        link = self._link
        if self._silence is not None and self.started and not self.ended:
            self._label(now)
        if link is None or link.deadline is None or now < link.silent_at:
            return
        silent = now - link.last_byte
        failure: LiveError
        if link.authenticated:
            failure = HeartbeatTimeout(
                f"nothing came for {silent:.1f} s, expected a heartbeat every {self.interval} s"
            )
        else:
            failure = ConnectError(
                f"authentication took longer than {AUTH_TIMEOUT:.0f} s; this side waits for the "
                f"{link.protocol.state.value}"
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
        if self._link is not None:
            self._link.last_byte = max(self._link.last_byte, now)
            self._link.deadline = self._link.silent_at

    @property
    def attempts(self) -> int:
        """Ends since the last good connection."""
        return self.retry.attempts

    @property
    def silent_at(self) -> float:
        """When silence has lasted too long."""
        return float("inf") if self._link is None else self._link.silent_at

    @property
    def interval(self) -> int:
        """Seconds between heartbeats."""
        return self.options.heartbeat_interval_s or HEARTBEAT_S

    # --- what happens ---------------------------------------------------------------------

    def _read(self, link: Link, now: float) -> None:
        protocol = link.protocol
        for event in protocol.events():
            if isinstance(event, Records):
                self._received(link, event, now)
                if self._link is not link:
                    return
            elif isinstance(event, Authenticated):
                self._authenticated(link, event, now)
            else:
                self._finished(link, event.error or link.failure, now)
                return
        if (
            self.metadata is None
            and self.options.encoding == Encoding.DBN
            and protocol.state is State.STARTED  # before that it changes nothing yet
        ):
            self._header(link, None)  # it came before any record
        link.deadline = link.silent_at

    def _authenticated(self, link: Link, event: Authenticated, now: float) -> None:
        self.session_id, self.lsg_version = event.session_id, event.lsg_version
        self._was_in, self.outage = True, None
        log(logging.INFO, "authenticated, session_id=%r", event.session_id)
        link.asked = self._asked(self.subscriptions)
        if not link.authenticated:
            return  # damage came in the same read as the reply: the end is the next event
        link.protocol.subscribe(link.asked)
        if self.started:
            self._begin(link, now)

    def _asked(self, subscriptions: Sequence[Subscription]) -> tuple[Subscription, ...]:
        # what to send for these subscriptions over the present connection
        if self._resuming:
            return resume(subscriptions, self.progress, self.retry.reach)
        if self.retry.reach == Reach.NONE:  # the users' own starts have aged out meanwhile
            return tuple(sub.resumed(None, snapshot=sub.snapshot) for sub in subscriptions)
        return tuple(subscriptions)

    def _begin(self, link: Link, now: float) -> None:
        link.begin(now)
        self._begun_ns = self._wall()
        if self._again:
            self.progress.resumed(link.asked, self._begun_ns)

    def _received(self, link: Link, records: Records, now: float) -> None:
        if self._unnoted:
            self._note()
        begun = self.metadata is not None and not self._report.due
        current = records.version == DBN_VERSION or not self._upgrade
        if begun and current and self.progress.takes_all(records):
            # The usual case, on the shortest way: nothing of it can be dropped, nor can it tell
            # anything, so that what it means for resuming is noted once it was handed on.
            link.refusal, link.fresh = None, False
            self.counts.received(records, records, True)
            if self._silence is not None:
                opened = self._silence.received(now, True)
                if opened is not None:
                    self.backlog.put(opened)
            self.backlog.put(records)
            self._unnoted.append(records)
            return
        if self.metadata is None or self._report.announce is not None:
            self._header(link, records)
        if self._upgrade and records.version != DBN_VERSION:
            records = records.upgrade()
        control, market = kinds_in(records)
        link.refusal = None  # one that no end of the connection followed was none
        if control:
            self._read_control(link, records)
        refusal: GatewayError | None = link.refusal
        refused = refusal is not None and not market and self._refused_replay(link, refusal.code)
        if self._report.due and not refused:
            header = link.protocol.metadata
            if header is not None:
                self._report.began(link.asked, header, records)
        if self._report.announce is not None and not refused:
            self._tell_reconnected(link, records, now)
        if market:
            link.fresh = False
        new = self.progress.push(records, self._wall() if control else None)
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
            self._tell_control(link, records)
        for replay in over:
            if replay.whole:
                self._report.replayed(replay)
        if refusal is not None and refusal.code in ENDING:
            self._refused(link, refusal, now)  # not every gateway closes the connection then

    def _note(self) -> None:
        # what was handed on before it was noted for resuming
        unnoted, self._unnoted = self._unnoted, []
        for records in unnoted:
            self.progress.push(records)

    def _header(self, link: Link, first: Records | None) -> None:
        header = link.protocol.metadata
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
        self.progress.started(start, self._begun_ns)
        if self.metadata is None:
            self.metadata = header
            self._report.begun(self.subscriptions, link.asked)

    def _read_control(self, link: Link, records: Records) -> None:
        # before the records are handed on: what they change of the session itself
        for mapping in mappings_in(records):
            self.symbology_map[mapping.instrument_id] = mapping.stype_out_symbol
        for error in errors_in(records):
            if error.code not in HARMLESS:
                link.refusal = GatewayError(self._key.hide(error.err), error.code)
        refusal: GatewayError | None = link.refusal
        if refusal is not None and refusal.code not in ENDING and records[-1].rtype != RType.ERROR:
            link.refusal = None  # the stream went on behind it

    def _tell_control(self, link: Link, records: Records) -> None:
        for error in errors_in(records):
            fatal = error.code in ENDING and not self._refused_replay(link, error.code)
            text = self._key.hide(error.err)
            log(logging.WARNING, "the gateway reports error %s: %s", error.code, text)
            self.backlog.put(ErrorEvent(error.code, text, fatal))
        for warning in warnings_in(records):
            log(logging.WARNING, "the gateway warns: %s", self._key.hide(warning))

    def _tell_reconnected(self, link: Link, first: Records, now: float) -> None:
        metadata = link.protocol.metadata
        if metadata is None:
            return
        self.counts.reconnects += 1
        tried, self._tried = self._tried, 0
        self._report.reconnected(
            self.subscriptions, link.asked,
            attempts=tried, session_id=self.session_id, metadata=metadata, first=first, now=now,
        )  # fmt: skip

    @property
    def _again(self) -> bool:
        # whether records were asked for over a connection before
        return self._resuming or self._report.missed is not None

    def _refused_replay(self, link: Link, code: int) -> bool:
        # whether the gateway may have refused what only resuming asked for
        return (
            code not in OF_THE_KEY
            and self._again
            and (link.fresh or bool(self.progress.replaying))
            and any(subscription.start is not None for subscription in link.asked)
        )

    def _finished(self, link: Link, error: LiveError | DecodeError | None, now: float) -> None:
        if link.refusal is not None:
            self._refused(link, link.refusal, now)
        elif isinstance(error, AuthenticationError):
            self._end(error, now, retry=self._again and LIMIT in str(error))
        elif isinstance(error, DecodeError):
            # damage: another connection may bring what this one did not, if it ever worked
            self._end(error, now, retry=not link.fresh or self._again)
        else:
            self._end(error or SessionClosed("the gateway closed the connection"), now)

    def _refused(self, link: Link, refusal: GatewayError, now: float) -> None:
        if self._refused_replay(link, refusal.code):
            self.retry.refused(
                refusal.code, link.fresh, lambda _: self._asked(self.subscriptions) != link.asked
            )
            self._end(refusal, now, refused=True)
            return
        limit = refusal.code == ErrorCode.CONNECTION_LIMIT_EXCEEDED
        again = refusal.code not in FATAL or (limit and self._again)
        self._end(refusal, now, retry=again)

    def _end(
        self,
        error: LiveError | DecodeError,
        now: float,
        *,
        retry: bool = True,
        refused: bool = False,
    ) -> None:
        # the connection is over; the session too, or there will be another one
        link, self._link = self._link, None
        self._note()
        if self.ended:
            return
        if self.trace is not None:
            self.trace.note(f"ended: {error}")
        if self.started and self.metadata is None and self._report.missed is None:
            self._report.missed = str(error)
        if link is not None and self.started:
            self.progress.disconnected()
            self._resuming = self._resuming or self.metadata is not None
            self._report.disconnected()
        if not self._was_in and link is not None and link.failure is not None:
            error = ConnectError(f"no session with {self.host}: {error}")
            error.__cause__ = link.failure.__cause__
        retry = retry and (self._was_in or self._retry_first)
        if self.policy == ReconnectPolicy.NONE or not retry:
            self.ended = True
            # with this policy an end of file is an end like any other, once the stream has begun
            closed = isinstance(error, SessionClosed) and error.__cause__ is None
            if closed and self.metadata is None:
                error, closed = SessionClosed(f"{error} before anything came"), False
            self.error = None if closed else error
            return
        if link is not None:
            self.retry.ended(link.fresh, link.steady(now), link.good(now) and not refused)
        self._tried += 1
        delay = self.retry.next_delay()
        self._tell_outage(error, delay, tried=link is None)
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
