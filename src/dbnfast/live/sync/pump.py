"""The socket of a blocking session: connects, reads, writes, waits."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.threads import cores
from dbnfast.enums import one_of
from dbnfast.errors import ConnectError
from dbnfast.live.session.retry import SPACING
from dbnfast.live.wire.lines import DOMAIN
from dbnfast.publishers import PUBLISHERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast.live.session.session import Session

CONNECT_TIMEOUT: Final = 10.0  # s for each address
READ_BYTES: Final = 256 << 10  # at once
DONT_WAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)
BLOCKS: Final = bool(DONT_WAIT) and hasattr(socket, "SO_RCVTIMEO")  # else poll and recv
SHORTEST: Final = 1e-4  # s; no time at all would be no limit
LOOK_UP: Final = 0.5  # s: how long a read may wait, for what other threads could not send
ASIDE: Final = 0.005  # s: how long a thread waits while another reads
BUSY_POLL: Final = 150e-6  # s: how long to look for bytes that are expected at once
LONGEST_WAIT: Final = 3600.0  # s; poll takes no more than its int holds
UNDER_WAY: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1))


class Pump:
    """
    Moves the bytes of a session through one socket after another.

    Parameters
    ----------
    session : Session
        What the bytes are for.
    host : str
        Where to connect; every address that it has is tried.
    port : int
        And which port.
    lock : RLock
        Held while the session changes, never while the socket waits.
    busy_poll : float
        How long, in seconds, the socket is looked at again and again before this thread sleeps,
        where the wait before was shorter than that; 0 to sleep at once.

    Notes
    -----
    Any thread may call any method; of several that `step` one does, the others wait for it. The
    sockets are closed by whoever steps, or by `close` where nobody does: a descriptor that is
    closed while it is waited for or read may be another file's by then.
    """

    def __init__(
        self, session: Session, host: str, port: int, lock: Any, busy_poll: float = BUSY_POLL
    ) -> None:
        self._session = session
        self._host = host
        self._port = port
        self._lock = lock
        self._sock: socket.socket | None = None
        self._attempt: _Attempt | None = None  # to connect, over as many steps as it takes
        self._unsent = b""
        self._reset: ConnectionResetError | None = None  # that sending came upon
        self._waiter = _Waiter()
        self._closed = False
        self._stepper: object | None = None  # which call of `step` is under way
        self._busy_poll = busy_poll if cores() > 1 else 0.0  # else the sender may want the one
        self._empty_since: float | None = None  # when the socket was found to hold nothing
        self._dense = False  # bytes came within `busy_poll` the last time
        self._limit = b""  # of waiting in recv, as the socket has it

    def step(self, timeout: float | None) -> None:
        """
        Do one thing: connect, read once, or wait.

        Parameters
        ----------
        timeout : float or None
            Longest wait in seconds; None for as long as it takes.
        """
        me = object()
        try:
            with self._lock:
                if self._stepper is None and not self._closed:
                    self._stepper = me
            if self._stepper is me:
                self._step(timeout)
            elif not self._closed:  # another thread reads, for this one too
                time.sleep(ASIDE if timeout is None else min(timeout, ASIDE))
        finally:
            if self._stepper is me:
                with self._lock:
                    self._stepper = None
                    if self._closed:
                        self._release()

    def _step(self, timeout: float | None) -> None:
        session = self._session
        if session.ended:
            self._drop()
            return
        if session.more:
            with self._lock:
                session.read_more(time.monotonic())
                over = not session.connected
            if over:
                self._drop()
            return
        sock = self._sock
        if sock is None:
            self._stay_away(timeout)
            return
        try:
            if self._unsent or session.wants_to_send:
                self.flush()
            with self._lock:
                if not session.connected:
                    self._drop()
                    return
                buffer = session.get_buffer(READ_BYTES)
            received = self._look(sock, buffer, timeout)
            if received is None:
                received = self._wait(sock, buffer, timeout)
            if received is None:
                return
            n = received
        except OSError as error:
            self._lost(error)
            return
        if n == 0:
            self._lost(self._reset)
            return
        now = time.monotonic()
        if self._empty_since is not None:
            self._dense = now - self._empty_since < self._busy_poll
            self._empty_since = None
        with self._lock:
            session.buffer_updated(n, now)
            over = not session.connected
        if over:
            self._drop()
        elif session.wants_to_send:
            self.flush()

    def _look(self, sock: socket.socket, buffer: memoryview, timeout: float | None) -> int | None:
        # Read what is there, or what is there in a moment where bytes come densely: to sleep and
        # be woken takes as long as waiting for them, and now and then milliseconds.
        try:
            return sock.recv_into(buffer, 0, DONT_WAIT)
        except BlockingIOError:
            if self._empty_since is None:
                self._empty_since = time.monotonic()
        if not self._dense or self._unsent:
            return None
        self._dense = False
        wait = self._busy_poll if timeout is None else min(timeout, self._busy_poll)
        end = self._empty_since + wait
        while time.monotonic() < end:
            with suppress(BlockingIOError):
                return sock.recv_into(buffer, 0, DONT_WAIT)
        return None

    def flush(self) -> None:
        """Send what the session wants sent, as far as the socket takes it now."""
        with self._lock:
            sock = self._sock
            data = self._unsent + self._session.data_to_send()
            self._unsent = b""
            if sock is None or not data:
                return
            try:
                sent = sock.send(data, DONT_WAIT)
            except BlockingIOError:
                sent = 0
            except ConnectionResetError as error:
                self._reset = error.with_traceback(None)  # once told, reading finds a mere end
                return
            except OSError:
                return  # reading tells of the end, after what had arrived before it
            self._unsent = data[sent:]

    def wake(self) -> None:
        """Have a wait end: at once where the session has ended, else before long."""
        self._waiter.wake()
        with self._lock:
            if self._sock is not None and (self._closed or self._session.ended):
                with suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Have a wait end, and the sockets closed; a second call does nothing."""
        with self._lock:
            self._closed = True
            self.wake()
            if self._stepper is None:  # else it is done by who steps, when he has
                self._release()

    def forked(self, lock: Any) -> None:
        """
        Close this process's copies of the sockets.

        Parameters
        ----------
        lock : RLock
            In place of the one that another process may hold.
        """
        self._lock, self._stepper, self._closed = lock, None, True
        self._waiter.forked()
        self._release()

    def _release(self) -> None:
        self._drop()
        self._waiter.close()

    def _stay_away(self, timeout: float | None) -> None:
        # there is no connection: make one, if it is time
        now = time.monotonic()
        with self._lock:
            at, deadline = self._session.retry_at, self._session.deadline
            if deadline is not None and now >= deadline:
                self._session.tick(now)  # silence has its meaning without a connection, too
                return
        wait = LONGEST_WAIT if deadline is None else min(deadline - now, LONGEST_WAIT)
        wait = wait if timeout is None else min(wait, timeout)
        if self._attempt is not None:
            self._go_on(self._attempt, wait)
        elif at is None or at > now:
            self._waiter.wait(None, False, wait if at is None else min(wait, at - now))
        else:
            self._begin()

    def _begin(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
            self._lost(no_connection(self._host, self._port, [("", error)]))
        else:
            self._attempt = _Attempt(found)

    def _go_on(self, attempt: _Attempt, wait: float) -> None:
        # One step of it, and no more: what silence means, and what waits to be taken, are others'.
        if attempt.over:
            self._attempt = None
            self._lost(no_connection(self._host, self._port, attempt.failures))
            return
        now = time.monotonic()
        wait = min(wait, attempt.until - now)
        try:
            if attempt.sock is None:
                if wait > 0:
                    self._waiter.wait(None, False, wait)
                if time.monotonic() < attempt.until or not attempt.connect():
                    return
            elif now >= attempt.until:
                raise TimeoutError(f"timed out after {CONNECT_TIMEOUT:.0f} s")
            elif not self._waiter.wait(attempt.sock, True, wait):
                return
            sock = attempt.connected()
        except OSError as error:
            attempt.failed(error)
            return
        self._attempt = None
        with self._lock:
            if self._session.ended or self._closed:
                sock.close()
            else:
                self._sock, self._unsent, self._limit = sock, b"", b""
                self._reset = None
                self._session.connection_made(time.monotonic())

    def _wait(self, sock: socket.socket, buffer: memoryview, timeout: float | None) -> int | None:
        # everything that had arrived was read; how much came, or None for nothing yet
        now = time.monotonic()
        with self._lock:
            deadline = self._session.deadline
            if deadline is not None and now >= deadline:
                self._session.tick(now)
                if not self._session.connected:
                    self._drop()
                return None
        wait = LONGEST_WAIT if deadline is None else min(deadline - now, LONGEST_WAIT)
        if timeout is not None:
            wait = min(wait, timeout)
        if self._unsent or not BLOCKS:
            self._waiter.wait(sock, bool(self._unsent), wait)
            return None
        limit = _limit(min(max(wait, SHORTEST), LOOK_UP))
        if limit != self._limit:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._limit = limit
        try:
            return _receive(sock, buffer)
        except BlockingIOError:
            return None

    def _lost(self, error: Exception | None) -> None:
        self._drop()
        with self._lock:
            self._session.connection_lost(error, time.monotonic())

    def _drop(self) -> None:
        with self._lock:
            sock, self._sock = self._sock, None
            self._unsent = b""
            if sock is not None:
                sock.close()
            attempt, self._attempt = self._attempt, None
            if attempt is not None:
                attempt.close()


class _Attempt:
    # The addresses of a host, which are tried one after the other.

    def __init__(self, found: Sequence[Any]) -> None:
        self.sock: socket.socket | None = None  # that is being connected
        self.until = 0.0  # when that is given up; without one, when the next address is tried
        self.failures: list[tuple[str, Exception]] = []
        self._left = deque(found)

    @property
    def over(self) -> bool:
        # whether no address is left
        return not self._left

    def connect(self) -> bool:
        # begin with the next address; whether that is decided at once
        family, kind, proto, _, address = self._left[0]
        self.sock = socket.socket(family, kind, proto)
        try:
            self.sock.setblocking(False)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self.sock.connect_ex(address)
        except BaseException:  # such as an interrupt: the next step begins with it anew
            self.close()
            raise
        if code in UNDER_WAY:
            self.until = time.monotonic() + CONNECT_TIMEOUT
            return False
        if code:
            raise OSError(code, os.strerror(code))
        return True

    def connected(self) -> socket.socket:
        # give what is connected, if it is
        assert self.sock is not None
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self.sock.setblocking(BLOCKS)
        sock, self.sock = self.sock, None
        return sock

    def failed(self, error: Exception) -> None:
        # go on to the next address
        self.close()
        address = self._left.popleft()[4]
        self.failures.append((str(address[0]), error))
        self.until = time.monotonic() + SPACING

    def close(self) -> None:
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()


def _dataset_hint(host: str) -> str:
    # a host of the vendor's follows from the dataset, which may be new, or misspelt
    code = host.removesuffix(DOMAIN).replace("-", ".").upper()
    known = sorted({publisher.dataset for publisher in PUBLISHERS.values()})
    if not host.endswith(DOMAIN) or code in known:
        return ""
    return f"; dataset {code!r} is not known{one_of(code, known)}"


def no_connection(host: str, port: int, failures: Sequence[tuple[str, Exception]]) -> ConnectError:
    """
    Make the error that says why no address of a host could be reached.

    Parameters
    ----------
    host : str
        The host.
    port : int
        And the port.
    failures : sequence of (str, Exception)
        Every address that was tried, and why it failed.

    Returns
    -------
    ConnectError
    """
    whys = [
        f"{where}: {error}" if where not in ("", host) else str(error) for where, error in failures
    ]
    text = f"no connection to {host}:{port}: {'; '.join(whys) or 'it has no address'}"
    made = ConnectError(text + _dataset_hint(host))
    made.__cause__ = failures[-1][1] if failures else None
    return made


def _receive(sock: socket.socket, buffer: memoryview) -> int:
    # waits in recv itself, which is back sooner than one that a poll comes before
    return sock.recv_into(buffer)


def _limit(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, int((seconds - whole) * 1e6))


class _Waiter:
    # waits for a socket, and for a call of `wake` from another thread

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._lock = threading.RLock()  # a signal's handler may come in between
        self._closed = False

    def wait(self, sock: socket.socket | None, write: bool, timeout: float) -> bool:
        # whether the socket is ready
        with self._lock:
            if self._closed:
                return False
        ready = _poll(self._reader, sock, write, max(timeout, 0.0))
        if self._reader in ready:
            with suppress(OSError):
                self._reader.recv(1024)
        return sock is not None and sock in ready

    def wake(self) -> None:
        with self._lock:
            if not self._closed:
                with suppress(OSError):  # it is full: the wait will end
                    self._writer.send(b"\0")

    def forked(self) -> None:
        self._lock = threading.RLock()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._reader.close()
            self._writer.close()


def _poll(
    wake: socket.socket, sock: socket.socket | None, write: bool, timeout: float
) -> list[socket.socket]:
    if not hasattr(select, "poll"):
        reading = [wake] if sock is None else [wake, sock]
        writing = [sock] if write and sock is not None else []
        read, wrote, _ = select.select(reading, writing, [], timeout)
        return [*read, *wrote]
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    by_fd = {wake.fileno(): wake}
    if sock is not None:
        poll.register(sock, select.POLLIN | (select.POLLOUT if write else 0))
        by_fd[sock.fileno()] = sock
    return [by_fd[fd] for fd, _ in poll.poll(timeout * 1000)]
