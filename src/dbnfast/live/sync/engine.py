"""
What runs a blocking session: the consumer's own thread, or threads where they are needed.

The engine knows nothing of the object that users hold, so that this can be collected, and the
session with it, while threads run.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from dbnfast.errors import SessionClosed
from dbnfast.live.log import log
from dbnfast.live.session.backlog import BLOCK
from dbnfast.live.sinks import Sinks
from dbnfast.live.sync.exits import watch
from dbnfast.live.sync.pump import BUSY_POLL, Pump

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast.live.events import Items
    from dbnfast.live.session.session import Session
    from dbnfast.live.wire.requests import Subscription


PAUSE: Final = 0.5  # s: how long the reader waits for room at a time
LAST_READS: Final = 0.1  # s: how long the end of a session takes what has arrived
LOOK_EVERY: Final = 0.05  # s: how often the session of somebody else's iterator is looked at
LOOK: Final = 0.01  # s: how long that reads at a time


class Engine:
    """
    A session, its socket, and whoever takes its records.

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
    busy_poll : float
        How long, in seconds, the socket is looked at before the thread that reads sleeps.

    Attributes
    ----------
    taker : Thread or None
        Who iterates, or did so last: callbacks then run in his thread.
    closed : Event
        Set once the connection is closed and every record was handed on.
    """

    def __init__(
        self, session: Session, host: str, port: int, sinks: Sinks, busy_poll: float = BUSY_POLL
    ) -> None:
        self.session = session
        self.sinks = sinks
        self.lock = threading.RLock()
        self.closed = threading.Event()
        self.taker: threading.Thread | None = None
        self.notify: Callable[[], None] | None = None  # told of new items by the reader
        self.iterator: Callable[[], object] = _no_iterator  # a weak reference to a generator
        self.task: object = None  # whose iterator it is that a reader tells of new items
        self._held: Items = []  # what the iterator is still to give
        self._looked = -1  # how many bytes had been read at the latest look
        self._changed = threading.Condition(self.lock)
        self._pump = Pump(session, host, port, self.lock, busy_poll)
        self._reader: threading.Thread | None = None
        self._dispatcher: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._when_closed: list[Callable[[], None]] = []
        self._handing = threading.RLock()  # held by who takes items and hands them on
        self._finishing = False
        watch(self)

    # --- what users do --------------------------------------------------------------------

    def subscribe(self, subscription: Subscription, *, connect: bool) -> None:
        """
        Ask for records.

        Parameters
        ----------
        subscription : Subscription
            With the next id.
        connect : bool
            Whether it is the first.
        """
        with self.lock:
            self.session.subscribe(subscription)
        if connect:
            self.connect()
        self.flush()

    def connect(self) -> None:
        """Connect and authenticate in this thread; what can be tried again later is."""
        session = self.session
        with self.lock:
            session.connect(time.monotonic())
        tried = session.attempts
        try:
            while not session.ended and not session.authenticated and session.attempts == tried:
                self._pump.step(None)
        except BaseException:  # such as an interrupt: nobody has a session then
            self.terminate()
            raise
        if session.ended:
            self._pump.close()
            session.check()

    def flush(self) -> None:
        """Send what was asked for since."""
        self._pump.flush()
        self._pump.wake()

    def start(self) -> None:
        """Have the records begin."""
        with self.lock:
            self.session.start(time.monotonic())
        self.flush()

    def stop(self) -> None:
        """End the session; what was received, or has arrived, is still handed on."""
        self._read_arrived(LAST_READS)
        with self.lock:
            self.session.stop()
            self._changed.notify_all()
        self._pump.wake()
        if self._reader is None and self._dispatcher is None:
            self._pump.close()
        if self.notify is not None:
            self.notify()

    def _read_arrived(self, seconds: float) -> None:
        # where no thread reads, what has arrived waits in the socket
        session, end = self.session, time.monotonic() + seconds
        came = -1
        while (
            self._reader is None
            and session.authenticated
            and not session.ended
            and not session.backlog.full
            and came < session.counts.wire_bytes
            and time.monotonic() < end
        ):
            came = session.counts.wire_bytes
            self._pump.step(0.0)

    def terminate(self) -> None:
        """End the session and forget what was received."""
        with self.lock:
            self.session.stop()
            self.session.backlog.clear()
            self._held = []
            self.sinks.forget()
        self.stop()
        self._pump.close()
        if self._dispatcher is None:
            self._finish()

    # --- who takes the records ------------------------------------------------------------

    def iterate(self, *, ahead: bool = False) -> None:
        """
        Start, if need be, for somebody who takes the records himself.

        Parameters
        ----------
        ahead : bool
            Whether a thread is to read.

        Raises
        ------
        ValueError
            The session has ended and nothing of it is left, or a thread hands the records on
            already.
        """
        if not len(self.session.backlog):  # what an ended one received is still there to take
            self.session.require_open("iteration")
        if self._dispatcher is not None:
            raise ValueError(
                "the session's records go to its callbacks and streams since start(): "
                "iterate without calling start()"
            )
        self.taker = threading.current_thread()
        if not self.session.started:
            self.start()
        if ahead or self.session.backlog.policy != BLOCK:
            self.read_ahead()

    def run_threads(self) -> None:
        """Start the threads that a session needs whose records nobody iterates over."""
        if self.session.backlog.policy != BLOCK:
            self.read_ahead()
        if self.sinks.consuming:
            self.dispatch()

    def read_ahead(self) -> None:
        """Have a thread read, so that the consumer need not."""
        with self.lock:
            if self._reader is None:
                self._reader = _thread(self._read, "dbnfast-live-reader")

    def dispatch(self) -> bool:
        """
        Have a thread hand the records on, or drop them, unless somebody iterates.

        Returns
        -------
        bool
            Whether one does.
        """
        taken = self._taken or self._unfinished or self.notify is not None
        with self.lock:
            if self._dispatcher is None and not taken:
                self._dispatcher = _thread(self._hand_on, "dbnfast-live")
            return self._dispatcher is not None

    def take(self, timeout: float | None) -> Items | None:
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
        session, end = self.session, None if timeout is None else time.monotonic() + timeout
        looked = False
        while True:
            with self.lock:
                if len(session.backlog):
                    items = session.backlog.take()
                    if self._reader is not None:
                        self._changed.notify_all()
                    return items
                if session.ended:
                    break
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                if looked:
                    return []
                left = 0.0  # the socket is looked at even without time to wait
            looked = True
            if self._reader is None:
                self._pump.step(left)
            else:
                with self._changed:
                    if not len(session.backlog) and not session.ended:
                        self._changed.wait(left)
        self._finish()
        return None

    def pull(self, timeout: float | None) -> tuple[Items | None, bool]:
        """
        Wait for items of an iterator.

        Parameters
        ----------
        timeout : float or None
            Longest wait in seconds; None for as long as it takes.

        Returns
        -------
        items : list of Records and events, or None
            As `take` gives them.
        handed : bool
            Whether callbacks and streams have them already.
        """
        if self._held:
            held, self._held = self._held, []
            return held, True
        return self.take(timeout), False

    def take_ready(self) -> Items | None:
        """
        Take what is there, without waiting.

        Returns
        -------
        list of Records and events, or None
            None once nothing more will come.
        """
        with self.lock:
            items = self.session.backlog.take()
            if items:
                self._changed.notify_all()
                return items
            if not self.session.ended:
                return []
        self._finish()
        return None

    def wait(self, timeout: float | None) -> bool:
        """
        Wait for the end of the session.

        Parameters
        ----------
        timeout : float or None
            Longest wait in seconds; None for as long as it takes.

        Returns
        -------
        bool
            Whether it has ended. Where nobody takes the records, they are dropped; what an
            iterator is to give is kept for it.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self.closed.is_set():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            if self._dispatcher is not None:
                if threading.current_thread() is self._dispatcher:
                    raise RuntimeError("a callback cannot wait for the end of its own session")
                self.closed.wait(left)
            elif self._taken:
                if self.look():
                    break
                self.closed.wait(LOOK_EVERY if left is None else min(left, LOOK_EVERY))
            elif not self._take_and_dispatch(end):
                self.closed.wait(PAUSE if left is None else min(left, PAUSE))
        return True

    def look(self) -> bool:
        """
        Look for the end of a session whose records are those of an iterator elsewhere.

        Returns
        -------
        bool
            Whether it has ended. The rest of the records is left to the iterator.
        """
        session = self.session
        if self._looked == session.counts.wire_bytes:
            self._read_arrived(LOOK)  # nobody else did: he who iterates may never do so again
        self._looked = session.counts.wire_bytes
        if session.ended:
            self._pump.close()
        return session.ended

    @property
    def _taken(self) -> bool:
        # whether another thread iterates, which is to get the records
        taker = self.taker
        return taker is not None and taker is not threading.current_thread() and taker.is_alive()

    @property
    def _unfinished(self) -> bool:
        # whether an iterator is held that has not come to its end
        return getattr(self.iterator(), "gi_frame", None) is not None

    @property
    def iterating(self) -> bool:
        """Whether such an iterator is this thread's, or that of a thread which is no more."""
        return self._unfinished and not self._taken

    def _take_and_dispatch(self, end: float | None) -> bool:
        # whether more may come; one thread at a time, for the records' order
        if not self._handing.acquire(timeout=-1 if end is None else _left(end)):
            return True  # another one waits, and does it for longer
        try:
            items = self.take(None if end is None else _left(end))
            for item in items or ():
                if not self.sinks.forgotten:
                    self.sinks.dispatch(item, self.session.metadata)
            if items and self._unfinished:
                self._held += items
        finally:
            self._handing.release()
        return items is not None

    # --- threads --------------------------------------------------------------------------

    def _read(self) -> None:
        session = self.session
        try:
            while not session.ended:
                with self._changed:
                    if session.backlog.full:
                        self._changed.wait(PAUSE)
                        continue
                self._pump.step(None)
                with self._changed:
                    ready = len(session.backlog) > 0 or session.ended
                    if ready:
                        self._changed.notify_all()
                notify: Any = self.notify
                if ready and notify is not None:
                    notify()
        except BaseException as error:
            self._broke(error)
        finally:
            self._pump.close()
            with self._changed:
                self._changed.notify_all()
            if self.notify is not None:
                self.notify()

    def _hand_on(self) -> None:
        try:
            while self._take_and_dispatch(None):
                pass
        except BaseException as error:
            self._broke(error)
            self._finish()

    def _broke(self, error: BaseException) -> None:
        log(logging.ERROR, "the session's thread ended: %r", error, error=error)
        self._failure = error
        with self.lock:
            self.session.stop()

    def check(self) -> None:
        """
        Raise what ended the session, if that was an error.

        Raises
        ------
        LiveError, DecodeError
            As the session has it.
        """
        self.session.check()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def call_when_closed(self, function: Callable[[], None]) -> None:
        """
        Have a function called at the end, or now if that was.

        Parameters
        ----------
        function : callable
            From whichever thread finishes.
        """
        with self.lock:
            if not self.closed.is_set():
                self._when_closed.append(function)
                return
        function()

    def _finish(self) -> None:
        with self.lock:
            if self._finishing:
                return
            self._finishing = True
        try:
            self._pump.close()
            self.sinks.finish(self.session.metadata)  # without the lock, for that is users' code
        finally:
            with self.lock:
                self.closed.set()
                waiting, self._when_closed = self._when_closed, []
        for function in waiting:
            function()

    def join(self, timeout: float) -> None:
        """
        Wait for the threads.

        Parameters
        ----------
        timeout : float
            Longest wait in seconds, for each.
        """
        for thread in (self._reader, self._dispatcher):
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout)

    def forked(self) -> None:
        """End it in a new process, which has neither its threads nor a say in its connection."""
        self.lock = threading.RLock()  # another thread may have held the one before
        self._changed = threading.Condition(self.lock)
        self._handing = threading.RLock()
        self.closed = threading.Event()
        self._reader = self._dispatcher = None
        if not self.session.ended:
            self.session.stop()
            self.session.error = SessionClosed("a session does not go on in a forked process")
        self.session.backlog.clear()
        self._held = []
        self._finishing = True
        self._pump.forked(self.lock)
        self.sinks.abandon()
        self.closed.set()


def _no_iterator() -> None:
    return None


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())


def _thread(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
