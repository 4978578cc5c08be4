"""
A gateway's side of one connection, without I/O.

Whoever moves the bytes does so::

    session = GatewaySession(service)
    while not session.closed:
        send(session.data_to_send())              # again when the peer took that
        session.receive_data(received)            # or eof_received(), as things happen
        wait until session.next_time()            # where nothing happens

Nothing is made before it is asked for, so that a slow peer holds no memory. Source:
``docs/protocol.md``.
"""

from __future__ import annotations

import math
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from dbnfast.enums import ErrorCode
from dbnfast.errors import RemoteProtocolError
from dbnfast.gateway.encoder import Form
from dbnfast.gateway.faults import FailAuth, OneByteWrites, Outlet, Refuse
from dbnfast.gateway.player import Player
from dbnfast.gateway.requests import (
    MAX_SYMBOLS,
    AuthRequest,
    Refused,
    Request,
    read_auth,
    read_request,
)
from dbnfast.live.wire.auth import matching_key
from dbnfast.live.wire.lines import (
    MAX_REQUEST,
    Fields,
    LineBuffer,
    format_line,
    parse_line,
    printable,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast._typing import Piece
    from dbnfast.gateway.service import Service


LSG_VERSION: Final = "0.9.4"
MAX_AUTH_LINE: Final = 8 << 10  # bytes from a peer that nobody knows yet
BUDGET: Final = 1 << 20  # bytes of records that are made at a time
JSON_BUDGET: Final = 128 << 10  # as lines of JSON they become some times as long
MAX_SESSION_SYMBOLS: Final = 100_000  # of all its subscriptions
REFUSED_KEY: Final = "Authentication failed."


class State(IntEnum):
    """How far a session is."""

    AUTH = 0  # the key is awaited
    READY = 1  # the key is right, records do not flow yet
    STREAMING = 2
    CLOSED = 3


class GatewaySession:
    """
    One connection of a gateway.

    Parameters
    ----------
    service : Service
        What all sessions share.
    trace : callable, optional
        Called with the connection's number, ``"recv"`` or ``"send"``, and a text, never with a
        whole key.

    Attributes
    ----------
    number : int
        Of the connection, counted from 0.
    state : State
        How far it is.
    close_reason : str
        Why it ended; empty before.
    request : AuthRequest or None
        What the client asked for, as soon as it is known.
    """

    __module__ = "dbnfast.gateway"  # where users find it

    def __init__(
        self, service: Service, *, trace: Callable[[int, str, str], object] | None = None
    ) -> None:
        self._service = service
        self._trace = trace
        self.number = service.number()
        self._faults = service.faults.of(self.number)
        self._outlet = Outlet(self._faults)
        self._one_byte = any(isinstance(fault, OneByteWrites) for fault in self._faults)
        self._lines = LineBuffer(MAX_AUTH_LINE, service.hide)
        self._text: deque[bytes] = deque()
        self._chunks: dict[tuple[object, ...], list[Request]] = {}
        self._requests: list[Request] = []
        self._challenge = service.challenge()
        self._deadline = service.clock() + service.auth_timeout_s
        self._held = memoryview(b"")  # of one-byte writes
        self._player: Player | None = None
        self._form: Form | None = None
        self._fatal: tuple[ErrorCode, str] | None = None
        self._deaf = False  # what came last is no line: nothing behind it can be read
        self._n_symbols = 0
        self._ending = ""  # the reason, once everything that waits has left
        self.request: AuthRequest | None = None
        self.state = State.AUTH
        self.close_reason = ""
        if any(isinstance(fault, Refuse) for fault in self._faults):
            self._close("refused")
        else:
            self._say(format_line({"lsg_version": LSG_VERSION}), {"cram": self._challenge})

    @property
    def closed(self) -> bool:
        """Whether the connection is over: nothing comes any more, all was handed out."""
        return self.state == State.CLOSED

    @property
    def aborted(self) -> bool:
        """Whether it is to be reset, and not ended."""
        return self._outlet.aborted

    @property
    def wants_data(self) -> bool:
        """Whether bytes should be read: not while answers to earlier ones wait to be sent."""
        return not self.closed and (self._player is None or not self._player.crowded)

    def receive_data(self, data: Piece) -> None:
        """
        Take bytes from the client.

        Parameters
        ----------
        data : bytes-like
            They are copied; once the session ended they are dropped.
        """
        view = memoryview(data)
        while len(view) and not self.closed and not self._ending and not self._deaf:
            room = self._lines.get_buffer()
            n = min(len(room), len(view))
            room[:n] = view[:n]
            del room
            self._lines.buffer_updated(n)
            view = view[n:]
            self._read_lines()

    def eof_received(self) -> None:
        """Take it that the client sends nothing more, which ends the session."""
        if not self.closed:
            self._close("the client ended the connection")

    def _read_lines(self) -> None:
        try:
            while not self.closed and not self._ending and not self._deaf:
                line = self._lines.next_line()
                if line is None:
                    return
                self._told("recv", line)
                self._read_line(line)
        except RemoteProtocolError as error:
            if self.state == State.STREAMING:
                self._fail(ErrorCode.INVALID_SUBSCRIPTION, str(error))
                self._deaf = True
            elif self.state == State.AUTH:
                self._refuse("The request is no line of key=value")
            else:
                self._close(str(error))

    def _read_line(self, line: bytes) -> None:
        if self.state == State.AUTH:
            self._authenticate(parse_line(line))
            return
        try:
            fields = parse_line(line)
            if "start_session" in fields:
                self._start(fields)
            elif "schema" in fields or "symbols" in fields:
                self._subscribe(*read_request(fields))
            else:
                raise Refused(f"Unknown request: {shown(line.rstrip(), self._service.hide)}")
        except (Refused, RemoteProtocolError) as error:
            self._fail(ErrorCode.INVALID_SUBSCRIPTION, str(error))

    def _authenticate(self, fields: Fields) -> None:
        keys = [key.secret for key in self._service.keys]
        found = matching_key(self._challenge, fields.get("auth", ""), keys)
        failure = next((f for f in self._faults if isinstance(f, FailAuth)), None)
        source = self._service.source
        try:
            if failure is not None:
                raise Refused(failure.text)
            if found is None:
                raise Refused(REFUSED_KEY)
            request = read_auth(fields, self._service.min_heartbeat_s)
            if source.dataset and request.dataset.upper() != source.dataset.upper():
                raise Refused(f"Dataset {request.dataset} is not here, {source.dataset} is")
            if request.ts_out and not source.stampable:
                raise Refused("ts_out is not possible: a record is too long for it")
        except Refused as error:
            self._refuse(str(error))
            return
        self.request = request
        self._say(format_line({"success": 1, "session_id": self._service.session_id(self.number)}))
        rest = self._lines.rest()
        self._lines = LineBuffer(MAX_REQUEST, self._service.hide)
        self.state = State.READY
        self.receive_data(rest)

    def _refuse(self, text: str) -> None:
        text = self._service.hide(" ".join(text.replace("|", "/").split()))
        self._say(format_line({"success": 0, "error": text}))
        self._ending = f"refused: {text}"

    def _start(self, fields: Fields) -> None:
        if len(fields) > 1:
            raise Refused("start_session stands alone")
        if self.state == State.STREAMING:
            raise Refused("The session has started already")
        assert self.request is not None
        self._form = Form(self.request, self._service.source.version)
        self._player = Player(self._service, self.request, self._faults)
        self.state = State.STREAMING
        self._player.start(self._requests, self._fatal)

    def _subscribe(self, request: Request, is_last: bool) -> None:
        self._n_symbols += len(request.symbols)
        if self._n_symbols > MAX_SESSION_SYMBOLS:
            raise Refused(f"A session has at most {MAX_SESSION_SYMBOLS} symbols")
        parts = self._chunks.setdefault(request.key, [])
        parts.append(request)
        symbols = tuple(symbol for part in parts for symbol in part.symbols)
        if len(symbols) > MAX_SYMBOLS:
            raise Refused(f"A subscription has at most {MAX_SYMBOLS} symbols")
        if not is_last:
            return
        del self._chunks[request.key]
        request = Request(
            request.schema, request.stype_in, symbols, request.start, request.snapshot, request.id
        )
        if self._player is None:
            self._requests.append(request)
        else:
            if request.start is not None:
                raise Refused("start is possible only before the session starts")
            self._player.subscribe(request)

    def _fail(self, code: ErrorCode, text: str) -> None:
        # The last thing that the client hears. Before records flow it cannot hear anything.
        if self._player is not None:
            self._player.fail(code, text)
        elif self._fatal is None:
            self._fatal = code, text

    def data_to_send(self, now: float | None = None) -> list[Piece]:
        """
        Make the next bytes for the client.

        Parameters
        ----------
        now : float, optional
            Seconds of the clock; None to look at it.

        Returns
        -------
        list of bytes-like
            About 1 MiB at most, each to be written by itself; empty where there is nothing to
            send now. Ask again when they are sent.
        """
        if self.closed:
            return []
        now = self._service.clock() if now is None else now
        if self._held:
            return [self._next_byte()]
        out = self._made(now)
        if out and self._trace is not None and self.state == State.STREAMING:
            self._trace(self.number, "send", f"{sum(map(len, out))} bytes")
        if self._one_byte and out:
            self._held = memoryview(b"".join(out))
            return [self._next_byte()]
        if not out:
            self._settle()
        return out

    def _next_byte(self) -> memoryview:
        byte, self._held = self._held[:1], self._held[1:]
        return byte

    def _made(self, now: float) -> list[Piece]:
        if self._text:
            out: list[Piece] = list(self._text)
            self._text.clear()
            return out
        if self.state == State.AUTH and now >= self._deadline and not self._ending:
            self._close("no key came in time")
            return []
        if self._player is None or self._form is None:
            return []
        if self._outlet.holds or self._outlet.until is not None:
            return list(self._outlet.pull(now))
        if self._outlet.silent:
            return []
        budget = JSON_BUDGET if self._form.json else BUDGET
        blocks = self._player.blocks(now, budget, self._outlet.n_bytes)
        return list(self._outlet.pull(now, self._form(blocks) if blocks else ()))

    def _settle(self) -> None:
        # what ended, when nothing waits to be sent
        if self._outlet.ended:
            self._close("cut" if not self.aborted else "reset")
        elif self._player is not None and self._player.ended and not self._waits():
            self._close(self._player.ended)
        elif self._ending and self._player is None:
            self._close(self._ending)

    def _waits(self) -> bool:
        return self._outlet.holds or self._outlet.silent or self._outlet.until is not None

    def next_time(self) -> float:
        """
        Tell when to ask for bytes again, if nothing else happens.

        Returns
        -------
        float
            Seconds of the clock; maybe past. Infinity for never.
        """
        if self.closed:
            return math.inf
        if self._text or self._held or (self._ending and self._player is None):
            return -math.inf
        if self.state == State.AUTH:
            return self._deadline
        if self._player is None or self._outlet.silent:
            return math.inf
        if self._outlet.ended:
            return -math.inf
        if self._outlet.until is not None:
            return self._outlet.until
        return -math.inf if self._outlet.holds else self._player.next_time()

    def _say(self, line: bytes, fields: dict[str, str] | None = None) -> None:
        # a line, or two of them in one write
        if fields is not None:
            line += format_line(fields)
        self._text.append(line)
        for part in line.splitlines():
            self._told("send", part)

    def _told(self, direction: str, line: bytes) -> None:
        if self._trace is not None:
            text = printable(line.decode("utf-8", "surrogateescape").rstrip("\r\n"))
            self._trace(self.number, direction, self._service.hide(text))

    def _close(self, reason: str) -> None:
        self.state = State.CLOSED
        self.close_reason = self._service.hide(reason)
        self._text.clear()
        self._held = memoryview(b"")
        self._player = None
        self._requests.clear()
        self._chunks.clear()
