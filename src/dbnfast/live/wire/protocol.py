"""
One connection to the gateway, without I/O.

Bytes go in by ``get_buffer`` and ``buffer_updated``, in the way of `asyncio.BufferedProtocol`;
what is to be sent comes out of ``data_to_send``, what happened out of ``events``. The lines
before the session are read where they arrived; whatever stands behind the reply to the
authentication goes to the decoder, for it may be records already. From then on the block that
is lent is the decoder's, and records are views of it.

Source: ``docs/protocol.md``.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from dbnfast.codec.decoder import Decoder
from dbnfast.enums import Compression, Encoding, SlowReaderBehavior
from dbnfast.errors import (
    AuthenticationError,
    DecodeError,
    LiveError,
    LocalProtocolError,
    RemoteProtocolError,
)
from dbnfast.live.wire.auth import cram_response
from dbnfast.live.wire.lines import MAX_REPLY, LineBuffer, format_line, parse_line, printable, shown
from dbnfast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast.codec.metadata import Metadata
    from dbnfast.live.trace import Trace
    from dbnfast.live.wire.auth import ApiKey
    from dbnfast.live.wire.json_stream import JsonStream
    from dbnfast.live.wire.requests import Subscription
    from dbnfast.records.records import Records

LIMIT: Final = 16 << 20  # bytes of records that one call of `events` makes of compressed data
CLIENT: Final = f"dbnfast/{__version__} Python/{platform.python_version()}"


class State(Enum):
    """How far a connection is."""

    GREETING = "greeting"
    CHALLENGE = "challenge"
    AUTHENTICATING = "authenticating"
    READY = "ready"
    STARTED = "started"
    CLOSED = "closed"


@dataclass(frozen=True)
class Options:
    """
    What a session asks for when it authenticates; `session_options` checks them.

    Attributes
    ----------
    dataset : str
        The dataset's code.
    ts_out : bool
        Whether every record ends in the gateway's send time.
    compression : Compression
        Of the stream.
    encoding : Encoding
        DBN or JSON.
    heartbeat_interval_s : int or None
        Seconds of silence before the gateway sends a heartbeat; None for its own default.
    slow_reader_behavior : SlowReaderBehavior or None
        What the gateway does when this side falls behind.
    client : str
        What this side calls itself.
    """

    dataset: str
    ts_out: bool = False
    compression: Compression = Compression.NONE
    encoding: Encoding = Encoding.DBN
    heartbeat_interval_s: int | None = None
    slow_reader_behavior: SlowReaderBehavior | None = None
    client: str = CLIENT

    def line(self, auth: str) -> bytes:
        """
        Write the line that authenticates.

        Parameters
        ----------
        auth : str
            The answer to the challenge.

        Returns
        -------
        bytes
        """
        slow = self.slow_reader_behavior
        return format_line(
            {
                "auth": auth,
                "dataset": self.dataset,
                "encoding": self.encoding,
                "ts_out": int(self.ts_out),
                "compression": self.compression,
                "heartbeat_interval_s": self.heartbeat_interval_s,
                "slow_reader_behavior": slow,
                "client": self.client,
            }
        )


@dataclass(frozen=True)
class Authenticated:
    """
    The gateway let this side in.

    Attributes
    ----------
    session_id : str
        As the gateway calls the session; may be empty.
    lsg_version : str
        Of the gateway.
    """

    session_id: str
    lsg_version: str


@dataclass(frozen=True)
class Ended:
    """
    No more will come over this connection.

    Attributes
    ----------
    error : LiveError, DecodeError or None
        What went wrong; None where the gateway closed the connection.
    """

    error: LiveError | DecodeError | None


class _Stream(Decoder):
    # for which the end of a connection, wherever it comes, is no surprise

    def _end(self) -> DecodeError | None:
        return None

    @property
    def drained(self) -> bool:
        # whether one read gives all there is: no damage behind it, nothing compressed
        return self._direct and self._fault is None


class LiveProtocol:
    """
    The client's side of one connection.

    Parameters
    ----------
    key : ApiKey
        What it authenticates with.
    options : Options
        What it asks for.
    trace : Trace, optional
        What is told of every line and batch.
    start : int, optional
        For JSON, which has no header: the beginning that the metadata states.

    Attributes
    ----------
    state : State
        How far it is.
    more : bool
        Whether `events` has more to tell without another byte, as a little that is compressed
        may be very much: ask again before reading on.
    """

    def __init__(
        self, key: ApiKey, options: Options, *, trace: Trace | None = None, start: int = 0
    ) -> None:
        self.state = State.GREETING
        self.more = False
        self._key = key
        self._options = options
        self._trace = trace
        self._start = start
        self._lines: LineBuffer | None = LineBuffer(MAX_REPLY, key.hide)
        self._stream: _Stream | JsonStream | None = None
        self._lsg_version = ""
        self._out = bytearray()
        self._events: list[Authenticated | Records | Ended] = []
        self._failed: LiveError | DecodeError | None = None
        self._eof = False
        self._ended = False

    @property
    def metadata(self) -> Metadata | None:
        """The header of the records; None before it came."""
        return None if self._stream is None else self._stream.metadata

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """
        Lend memory for the next bytes.

        Parameters
        ----------
        sizehint : int
            How much is wanted; may be ignored.

        Returns
        -------
        memoryview
            Writable, not empty, until `buffer_updated`.
        """
        if self._stream is not None:
            return self._stream.get_buffer(sizehint)
        if self._lines is None or self._failed is not None:
            return memoryview(bytearray(MAX_REPLY))  # for what nobody reads any more
        return self._lines.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """
        Take the first bytes of what was lent.

        Parameters
        ----------
        nbytes : int
            How many were received.
        """
        if self._stream is not None:
            if self._trace is not None:
                self._trace_bytes(nbytes)
            self._stream.buffer_updated(nbytes)
            return
        if self._lines is None or self._failed is not None:
            return
        self._lines.buffer_updated(nbytes)
        try:
            self._read_lines(self._lines)
        except LiveError as error:
            self._fail(error.with_traceback(None))

    def eof_received(self) -> None:
        """Tell that the gateway closed the connection; a second call does nothing."""
        if self._eof:
            return
        self._eof = True
        if self._stream is not None:
            self._stream.feed_eof()
        elif self._failed is None:
            waiting = "" if self._lines is None else self._shown(self._lines.rest())
            self._fail(
                RemoteProtocolError(
                    f"the gateway closed the connection while this side waited for the "
                    f"{self.state.value}, {waiting} came"
                )
            )

    def events(self) -> list[Authenticated | Records | Ended]:
        """
        Tell what happened since the last call.

        Returns
        -------
        list
            Records in the stream's order, each batch as it was received, about 16 MiB at most.
            `Ended` comes last and once, behind every good record.
        """
        events, self._events = self._events, []
        if self._stream is not None and not self._ended:
            self._read_stream(self._stream, events)
        if self._failed is not None and not self._ended:
            self._end(self._failed, events)
        return events

    @property
    def wants_to_send(self) -> bool:
        """Whether `data_to_send` would give something."""
        return bool(self._out)

    def data_to_send(self) -> bytes:
        """
        Take what is to be sent.

        Returns
        -------
        bytes
            Empty where there is nothing.
        """
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """
        Ask for records.

        Parameters
        ----------
        subscriptions : sequence of Subscription
            In the order to send them.

        Raises
        ------
        LocalProtocolError
            The gateway has not let this side in, or the connection has ended.
        """
        self._check(State.READY, State.STARTED)
        for subscription in subscriptions:
            for request in subscription.requests:
                self._send(bytes(request))

    def start(self) -> None:
        """
        Have the records begin.

        Raises
        ------
        LocalProtocolError
            Not authenticated, started already, or ended.
        """
        self._check(State.READY)
        self.state = State.STARTED
        self._send(format_line({"start_session": 0}))

    def _check(self, *states: State) -> None:
        if self.state not in states:
            wanted = " or ".join(state.value for state in states)
            raise LocalProtocolError(f"the connection is {self.state.value}, expected {wanted}")

    def _send(self, line: bytes) -> None:
        if self._trace is not None:
            self._trace.sent_line(line)
        self._out += line

    def _fail(self, error: LiveError | DecodeError) -> None:
        self._failed = error

    def _end(
        self,
        error: LiveError | DecodeError | None,
        events: list[Authenticated | Records | Ended],
    ) -> None:
        self._ended = True
        self.state = State.CLOSED
        events.append(Ended(error))

    def _read_lines(self, lines: LineBuffer) -> None:
        while self._stream is None:
            line = lines.next_line()
            if line is None:
                return
            if self._trace is not None:
                self._trace.received_line(line)
            if self.state is State.GREETING:
                self._greeting(line)
            elif self.state is State.CHALLENGE:
                self._challenge(line)
            else:
                self._reply(line)
        rest = lines.rest()
        self._lines = None
        if rest:
            if self._trace is not None:
                self._trace.received_bytes(rest)
            self._stream.feed(rest)

    def _greeting(self, line: bytes) -> None:
        version = parse_line(line).get("lsg_version")
        if version is None:
            raise RemoteProtocolError(
                f"expected the greeting lsg_version=, found {self._shown(line)}"
            )
        self._lsg_version = self._key.hide(printable(version))
        self.state = State.CHALLENGE

    def _challenge(self, line: bytes) -> None:
        challenge = parse_line(line).get("cram")
        if not challenge:
            raise RemoteProtocolError(f"expected the challenge cram=, found {self._shown(line)}")
        self.state = State.AUTHENTICATING
        self._send(self._options.line(cram_response(challenge, self._key.secret)))

    def _reply(self, line: bytes) -> None:
        fields = parse_line(line)
        success = fields.get("success")
        if success != "1":
            if "error" not in fields and success != "0":
                raise RemoteProtocolError(
                    f"expected success=1 or success=0, found {self._shown(line)}"
                )
            text = printable(fields.get("error", "no reason was given"))
            raise AuthenticationError(f"the gateway refused the session: {self._key.hide(text)}")
        self.state = State.READY
        session_id = self._key.hide(printable(fields.get("session_id", "")))
        self._events.append(Authenticated(session_id, self._lsg_version))
        self._stream = self._new_stream()

    def _shown(self, line: bytes) -> str:
        return shown(line, self._key.hide)

    def _new_stream(self) -> _Stream | JsonStream:
        options = self._options
        if options.encoding == Encoding.JSON:
            from dbnfast.live.wire.json_stream import JsonStream  # brings what converts text

            return JsonStream(
                options.dataset,
                ts_out=options.ts_out,
                compression=options.compression,
                start=self._start,
            )
        return _Stream()

    def _read_stream(
        self, stream: _Stream | JsonStream, events: list[Authenticated | Records | Ended]
    ) -> None:
        # until nothing is left, as damage shows behind the good records, or it is enough for once
        made, self.more = 0, False
        while not self._ended:
            try:
                ready: list[Any] = stream.read()
            except DecodeError as error:
                # what is wrong with a line is told with a part of it
                error.args = tuple(self._key.hide(str(part)) for part in error.args)
                self._end(error, events)
                return
            if not ready:
                if self._eof:
                    self._end(None, events)
                return
            events += ready
            if self._trace is not None:
                for records in ready:
                    self._trace.received_records(records, records.nbytes)
            if stream.drained:
                if not self._eof:
                    return
                continue
            made += sum(records.nbytes for records in ready)
            if made >= LIMIT:
                self.more = True
                return

    def _trace_bytes(self, nbytes: int) -> None:
        assert self._stream is not None
        assert self._trace is not None
        if self._trace.hexdump:
            # what was lent is lent again: the bytes are still where they came
            self._trace.received_bytes(self._stream.get_buffer()[:nbytes])
