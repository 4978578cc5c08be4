"""The socket of an asynchronous session: what `engine` and `pump` are to the blocking one."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from dbnfast.errors import LiveError
from dbnfast.live.session.retry import SPACING
from dbnfast.live.sync.pump import CONNECT_TIMEOUT, no_connection

if TYPE_CHECKING:
    from dbnfast.live.events import Items
    from dbnfast.live.session.session import Session
    from dbnfast.live.sinks import Sinks


AGAIN: Final = 0.05  # s: how much later silence is looked at once more


class _Connection(asyncio.BufferedProtocol):
    # one transport's callbacks; those of an old one count no more

    def __init__(self, driver: Driver) -> None:
        self._driver: Driver | None = driver
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):  # some systems take no option of a socket that was reset
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._driver is not None:
            self._driver.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        driver = self._driver
        if driver is None or not driver.session.connected:
            return memoryview(bytearray(1 << 16))  # what nobody wants any more
        return driver.session.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        if self._driver is not None:
            self._driver.received(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._driver is not None:
            self._driver.lost(exc)
        self._driver = None

    def forget(self) -> None:
        # the session is done with this connection
        self._driver = None
        if self.transport is not None:
            self.transport.abort()


class Driver:
    """
    Runs a session on an event loop.

    Parameters
    ----------
    session : Session
        What to run.
    host : str
        The gateway.
    port : int
        And its port.
    sinks : Sinks
        The callbacks and streams.

    Attributes
    ----------
    closed : asyncio.Event
        Set once the connection is closed and every record was handed on.
    dispatching : bool
        Whether records go to the callbacks and streams as they come.
    iterating : bool
        Whether somebody iterates, who is to get them.
    """

    def __init__(self, session: Session, host: str, port: int, sinks: Sinks) -> None:
        self.session = session
        self.sinks = sinks
        self.closed = asyncio.Event()
        self.over = asyncio.Event()  # as soon as nothing more will come
        self.task: asyncio.Task[object] | None = None  # whose iterator it is
        self.dispatching = self.iterating = False
        self._host = host
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._connection: _Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._going_on: asyncio.Handle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._paused = False
        self._suspected = False  # whether silence was seen once, and is looked at again

    async def connect(self) -> None:
        """Connect and authenticate; what can be tried again later is."""
        session = self.session
        session.connect(time.monotonic())
        tried = session.attempts
        self._connecting = self._loop.create_task(self._connect())
        # neither does what ends the session cancel the caller, nor is there a second attempt
        await asyncio.wait([self._connecting])
        while not session.ended and not session.authenticated and session.attempts == tried:
            self._ready.clear()
            await self._ready.wait()
        session.check()

    def start(self) -> None:
        """Have the records begin."""
        self.session.start(time.monotonic())
        self._settle()

    def stop(self) -> None:
        """End the session; what was received is still handed on."""
        self.session.stop()
        self._settle()

    def terminate(self) -> None:
        """End the session and forget what was received."""
        self.session.stop()
        self.session.backlog.clear()
        self.sinks.forget()
        if not self._loop.is_closed():
            self._settle()
        self._finish()

    def collected(self) -> None:
        """End the session as nobody holds the client any more; from any thread."""
        if self.session.ended:
            return
        try:
            self._loop.call_soon_threadsafe(self.terminate)
        except RuntimeError:  # the loop is closed
            self.terminate()

    def check_loop(self) -> None:
        """
        Refuse to go on in another event loop; where the session's own was closed, end it.

        Raises
        ------
        ValueError
            Another loop runs.
        """
        if self._loop.is_closed():
            self.terminate()
        elif self._loop is not asyncio.get_running_loop() and not self.session.ended:
            raise ValueError("the session belongs to another event loop, which is still open")

    def flush(self) -> None:
        """Send what the session wants sent."""
        data = self.session.data_to_send()
        connection = self._connection
        if data and connection is not None and connection.transport is not None:
            connection.transport.write(data)

    def dispatch(self) -> None:
        """Hand records to the callbacks and streams from now on, unless somebody iterates."""
        if not self.iterating:
            self.dispatching = True
            self._settle()

    def dispatch_soon(self) -> None:
        """Do the same in a turn of its own: callbacks do not run while they are added."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.dispatch)

    async def take(self, timeout: float | None) -> Items | None:
        """
        Wait for items.

        Parameters
        ----------
        timeout : float or None
            Longest wait in seconds; None for as long as it takes.

        Returns
        -------
        list of Records and events, or None
            Empty where time is up; None once nothing more will come.
        """
        backlog = self.session.backlog
        try:
            async with asyncio.timeout(timeout):
                while not len(backlog) and not self.session.ended:
                    self._ready.clear()
                    await self._ready.wait()
        except TimeoutError:
            if not len(backlog):
                return []
        items = backlog.take()
        self._resume()
        if items:
            return items
        self._finish()
        return None

    def received(self, nbytes: int) -> None:
        """
        Take bytes from the transport.

        Parameters
        ----------
        nbytes : int
            How many were written to the buffer lent.
        """
        if self.session.connected:
            self._suspected = False
            self.session.buffer_updated(nbytes, time.monotonic())
        self._settle()

    def lost(self, error: Exception | None) -> None:
        """
        Take the end of the transport.

        Parameters
        ----------
        error : Exception or None
            What the system says.
        """
        self._connection = None
        self.session.connection_lost(error, time.monotonic())
        self._settle()

    def _settle(self) -> None:
        # after whatever changed the session
        session = self.session
        if session.wants_to_send:
            self.flush()
        if not session.connected or session.ended:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.forget()
        if session.ended:
            self.over.set()
        backlog = session.backlog
        if self.dispatching:
            while (item := backlog.take_next()) is not None:
                self.sinks.dispatch(item, session.metadata)
            self._resume()  # it may have paused while nobody took anything
            if session.ended:
                self._finish()
        elif backlog.full and not self._paused and self._connection is not None:
            assert self._connection.transport is not None
            self._connection.transport.pause_reading()
            self._paused = True
        self._go_on()
        if len(backlog) or session.ended or session.authenticated or not session.connected:
            self._ready.set()
        self._set_timer()

    def _go_on(self) -> None:
        # read on in what was received, in a turn of its own, unless that is to wait too
        if self.session.more and self._going_on is None and not self.session.backlog.full:
            self._going_on = self._loop.call_soon(self._read_more)

    def _read_more(self) -> None:
        self._going_on = None
        self.session.read_more(time.monotonic())
        self._settle()

    def _resume(self) -> None:
        self._go_on()
        if self._paused and not self.session.backlog.full:
            self._paused = False
            connection = self._connection
            if connection is not None and connection.transport is not None:
                connection.transport.resume_reading()
                self.session.alive(time.monotonic())

    @property
    def _tries(self) -> bool:
        # whether an attempt to connect is under way
        return self._connecting is not None and not self._connecting.done()

    def _set_timer(self) -> None:
        # one timer, which is not moved for every batch: it looks again when it fires
        session = self.session
        if session.ended:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._connecting is not None and self._tries:
                self._connecting.cancel()
            return
        when = session.deadline
        if not session.connected and session.retry_at is not None and not self._tries:
            when = session.retry_at if when is None else min(when, session.retry_at)
        if when is None:
            return
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        # the clock is read anew, for a loop may keep the time at which its turn began
        delay = max(0.0, when - time.monotonic())
        self._timer, self._timer_at = self._loop.call_later(delay, self._on_timer), when

    def _on_timer(self) -> None:
        self._timer = None
        now, session = time.monotonic(), self.session
        if not session.connected:
            if session.retry_at is not None and now >= session.retry_at and not self._tries:
                self._connecting = self._loop.create_task(self._connect())
                self._set_timer()  # an attempt may hang for long
                return
            if session.deadline is not None and now >= session.deadline:
                session.tick(now)  # silence has its meaning without a connection, too
        elif self._paused:
            session.alive(now)
        elif session.deadline is not None and now >= session.deadline:
            if now >= session.silent_at and not self._suspected:
                # a loop that was held up may run timers before it reads what has come meanwhile
                self._suspected, self._timer_at = True, now + AGAIN
                self._timer = self._loop.call_later(AGAIN, self._on_timer)
                return
            session.tick(now)
        self._settle()

    def made(self, connection: _Connection) -> None:
        """
        Take a new connection, before its first bytes.

        Parameters
        ----------
        connection : _Connection
            With a transport.
        """
        if self.session.ended:
            connection.forget()
            return
        self._connection, self._paused, self._suspected = connection, False, False
        self.session.connection_made(time.monotonic())
        self._settle()

    async def _connect(self) -> None:
        failure: Exception | None = None
        try:
            await self._reach()
        except (OSError, LiveError) as error:
            failure = error
        self._connecting = None
        if failure is not None:
            self.session.connection_lost(failure, time.monotonic())
        self._settle()

    async def _reach(self) -> None:
        try:
            found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
            raise no_connection(self._host, self._port, [("", error)]) from error
        failures: list[tuple[str, Exception]] = []
        for i, (family, _, _, _, address) in enumerate(found):
            if i:
                await asyncio.sleep(SPACING)
            connection = _Connection(self)
            try:
                await asyncio.wait_for(
                    self._loop.create_connection(
                        lambda made=connection: made,
                        str(address[0]),
                        cast("int", address[1]),
                        family=family,
                    ),
                    CONNECT_TIMEOUT,
                )
            except (OSError, TimeoutError) as error:
                if connection.transport is not None:  # it was made at the last moment
                    return
                if not str(error):
                    error = TimeoutError(f"timed out after {CONNECT_TIMEOUT:.0f} s")
                failures.append((str(address[0]), error))
            else:
                return
        raise no_connection(self._host, self._port, failures)

    def _finish(self) -> None:
        if not self.closed.is_set():
            self.sinks.finish(self.session.metadata)
            self.closed.set()
