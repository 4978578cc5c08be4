"""The gateway's thread: sockets and their sessions, none of which waits for another."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from dbnfast.gateway.session import GatewaySession

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast._typing import Piece
    from dbnfast.gateway.service import Service


LOG: Final = logging.getLogger(__name__)
RECEIVE: Final = 64 << 10  # bytes read at a time
WRITE: Final = 256 << 10  # bytes written at a time: larger ones make nothing quicker
LINGER_S: Final = 5.0  # how long a peer may take to hear that a session ended
POLL_S: Final = 0.005  # how often a clock that is not the system's is looked at
LONGEST_S: Final = 60.0
FINE_S: Final = 0.002  # shorter waits are slept, deaf to clients
REST_S: Final = 0.1  # after a connection could not be taken
MAX_CONNECTIONS: Final = 4096
ACCEPT: Final = 64  # connections taken at a time


class _Connection:
    # a socket and its session

    def __init__(self, sock: socket.socket, session: GatewaySession) -> None:
        self.sock = sock
        self.session = session
        self.waiting: deque[Piece] = deque()
        self.due = 0.0  # when the session is to be asked again, in seconds of its clock
        self.full = False  # the socket takes nothing now
        self.events = 0
        self.gone_at: float | None = None  # the session is over; the peer may hear that


class Loop:
    """
    Everything that happens in the gateway's thread.

    Parameters
    ----------
    service : Service
        What the sessions share.
    listener : socket
        Where clients connect; it is closed at the end.
    tell : callable
        Called with a connection's number, a direction and a text.
    """

    def __init__(
        self,
        service: Service,
        listener: socket.socket,
        tell: Callable[[int, str, str], None],
    ) -> None:
        self._service = service
        self._listener = listener
        self._tell = tell
        self._selector = selectors.DefaultSelector()
        self._awake, self._waker = socket.socketpair()
        self._awake.setblocking(False)
        self._connections: dict[int, _Connection] = {}
        self._stopping = False
        self._resting: float | None = None
        self._buffer = bytearray(RECEIVE)

    @property
    def n_sessions(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def stop(self) -> None:
        """Let `run` return soon; any thread may call this."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def run(self) -> None:
        """Serve until `stop` is called, then close everything."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._awake, selectors.EVENT_READ)
        try:
            while not self._stopping:
                self._turn()
        finally:
            for connection in list(self._connections.values()):
                self._drop(connection)
            self._selector.close()
            for sock in (self._listener, self._awake, self._waker):
                sock.close()

    def _turn(self) -> None:
        patience = self._patience()
        if 0 < patience < FINE_S:
            # a selector rounds up to whole ms, and records would come in lumps
            time.sleep(patience)
            patience = 0.0
        for key, events in self._selector.select(patience):
            if key.fileobj is self._listener:
                for _ in range(ACCEPT):
                    if not self._accept():
                        break
            elif key.data is not None:
                self._guarded(key.data, events)
        now = self._service.clock()
        for connection in list(self._connections.values()):
            if connection.gone_at is not None:
                if time.monotonic() >= connection.gone_at:
                    self._drop(connection)
            elif not connection.full and connection.due <= now:
                self._guarded(connection, selectors.EVENT_WRITE)
        if self._resting is not None and time.monotonic() >= self._resting:
            self._resting = None
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _patience(self) -> float:
        # seconds until something is due
        longest = LONGEST_S if self._resting is None else REST_S
        if not self._connections:
            return longest
        now, wall = self._service.clock(), time.monotonic()
        for connection in self._connections.values():
            if connection.gone_at is not None:
                longest = min(longest, connection.gone_at - wall)
            elif not connection.full:
                longest = min(longest, connection.due - now)
        if self._service.timeline.injected:
            longest = min(longest, POLL_S)
        return max(0.0, longest)

    def _accept(self) -> bool:
        # take a connection; whether there may be another one
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return False
        except OSError:  # no descriptors are left: others may close
            self._rest()
            return False
        if len(self._connections) >= MAX_CONNECTIONS:
            sock.close()
            return True
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(sock, GatewaySession(self._service, trace=self._tell))
        except OSError:  # some systems take no option of a socket that was reset
            sock.close()
            return True
        except Exception:
            LOG.exception("a connection ends by an error as it begins")
            sock.close()
            return True
        self._connections[sock.fileno()] = connection
        self._guarded(connection, selectors.EVENT_WRITE)
        return True

    def _rest(self) -> None:
        self._selector.unregister(self._listener)
        self._resting = time.monotonic() + REST_S

    def _guarded(self, connection: _Connection, events: int) -> None:
        # an error of one connection is that connection's end
        try:
            if connection.gone_at is not None:
                self._hear_out(connection)
                return
            if events & selectors.EVENT_READ:
                self._read(connection)
            self._write(connection)
            self._settle(connection)
        except OSError:
            self._drop(connection)
        except Exception:
            LOG.exception("connection %d ends by an error", connection.session.number)
            self._drop(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            n = connection.sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        if n:
            connection.session.receive_data(memoryview(self._buffer)[:n])
        else:
            connection.session.eof_received()

    def _write(self, connection: _Connection) -> None:
        # as much as the socket takes, but no more than a session makes at a time
        session, waiting = connection.session, connection.waiting
        if not waiting:
            waiting.extend(session.data_to_send())
        connection.full = False
        while waiting:
            block = memoryview(waiting[0])
            try:
                n = connection.sock.send(block[:WRITE])
            except (BlockingIOError, InterruptedError):
                connection.full = True
                break
            if n < len(block):
                waiting[0] = block[n:]
            else:
                waiting.popleft()
        connection.due = session.next_time()

    def _settle(self, connection: _Connection) -> None:
        session = connection.session
        if session.closed and not connection.waiting:
            self._end(connection)
            return
        events = selectors.EVENT_READ if session.wants_data else 0
        events |= selectors.EVENT_WRITE if connection.full else 0
        self._watch(connection, events)

    def _watch(self, connection: _Connection, events: int) -> None:
        if events == connection.events:
            return
        if not events:
            self._selector.unregister(connection.sock)
        elif not connection.events:
            self._selector.register(connection.sock, events, connection)
        else:
            self._selector.modify(connection.sock, events, connection)
        connection.events = events

    def _end(self, connection: _Connection) -> None:
        # A socket that is closed with bytes unread resets the connection, and what was sent last
        # is lost: the peer has a while to read and close.
        if connection.session.aborted:
            linger = struct.pack("ii", 1, 0)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._drop(connection)
            return
        connection.sock.shutdown(socket.SHUT_WR)
        connection.gone_at = time.monotonic() + LINGER_S
        self._watch(connection, selectors.EVENT_READ)

    def _hear_out(self, connection: _Connection) -> None:
        try:
            if connection.sock.recv_into(self._buffer):
                return
        except (BlockingIOError, InterruptedError):
            return
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        sock = connection.sock
        if self._connections.pop(sock.fileno(), None) is None:
            return
        if connection.events:
            self._selector.unregister(sock)
        sock.close()
