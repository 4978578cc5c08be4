"""A gateway on a socket: one thread, any number of clients, none of which waits for another."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.arguments import check_port
from dbnfast.gateway.loop import MAX_CONNECTIONS, Loop
from dbnfast.gateway.service import Service
from dbnfast.live.trace import trace_of
from dbnfast.live.wire.lines import MIN_HEARTBEAT_S

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from dbnfast.gateway.faults import Faults
    from dbnfast.live.trace import TextStream

# as many as sessions: a connection for which there is no room is tried again after a second
BACKLOG: Final = MAX_CONNECTIONS

Tracer = Callable[[int, str, str], object]


class Gateway:
    """
    Replay DBN data to any number of clients, over the live protocol.

    A context manager: within its block, clients can connect to `port`.

    Parameters
    ----------
    source : path, bytes-like, list of these, Store or Records
        DBN data; files of several schemas are merged.
    keys : str or iterable of str
        The API keys that are accepted.
    host : str
        The address to listen on.
    port : int
        The port; 0 for any free one.
    speed : float or str
        ``"max"`` sends as fast as each client reads. ``"1x"``, ``"10x"`` or a number sends records
        when their time comes, that many times as fast as they happened, on a timeline that all
        sessions share and that begins with the first one.
    at_end : {"idle", "close"}
        What sessions do at the end of the source: stay open with heartbeats, or close.
    faults : Faults or mapping, optional
        Faults by connection; see `dbnfast.gateway.faults`.
    version : int
        The DBN version to send, 1 to 3.
    clock : callable, optional
        Returns seconds and never goes back; None for the clock of the system. With another one,
        ts_out is the time on the timeline.
    replay_window_s : float
        How far back a replay may begin on a timeline, in seconds.
    auth_timeout_s : float
        How long a client may take to authenticate, in seconds.
    min_heartbeat_s : int
        The shortest heartbeat interval that a client may request, in seconds.
    keep_log : bool
        Whether `log` keeps the lines that clients send.
    trace : bool, text stream, Logger or callable, optional
        Where the lines and sizes of what comes and goes are written, each with the time, ``[recv]``
        or ``[send]`` and the number of the connection; True is standard error. A callable is
        called in the thread of the gateway with the number of a connection, ``"recv"`` or
        ``"send"``, and a text. No text contains a whole key.

    Raises
    ------
    TypeError, ValueError
        An option has the wrong type or value, or there are no keys.
    DecodeError, FileNotFoundError
        The source cannot be read.

    Notes
    -----
    Anyone who can reach the address and knows a key gets the data. Source:
    ``docs/protocol.md``.
    """

    __module__ = "dbnfast.gateway"  # where users find it

    def __init__(
        self,
        source: Any,
        *,
        keys: str | Iterable[str],
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float | str = "max",
        at_end: str = "idle",
        faults: Faults | Mapping[int | None, Any] | None = None,
        version: int = 3,
        clock: Callable[[], float] | None = None,
        replay_window_s: float = 86_400,
        auth_timeout_s: float = 30,
        min_heartbeat_s: int = MIN_HEARTBEAT_S,
        keep_log: bool = False,
        trace: Tracer | bool | TextStream | logging.Logger | None = None,
    ) -> None:
        self._service = Service(
            source,
            keys=keys,
            speed=speed,
            at_end=at_end,
            faults=faults,
            version=version,
            clock=clock,
            replay_window_s=replay_window_s,
            auth_timeout_s=auth_timeout_s,
            min_heartbeat_s=min_heartbeat_s,
        )
        self._host = host
        self._asked_port = check_port(port, 0)
        self._keep_log = keep_log
        self._trace = _tracer(trace)
        self._log: list[tuple[int, str]] = []
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: Loop | None = None

    def start(self) -> Self:
        """
        Start listening, in a thread of its own.

        Returns
        -------
        Gateway
            Itself.

        Raises
        ------
        OSError
            The address is in use or does not exist.
        ValueError
            It is already running.
        """
        if self._thread is not None:
            raise ValueError("the gateway runs already")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server(
            (self._host, self._asked_port), family=family, backlog=BACKLOG
        )
        listener.setblocking(False)
        self._listener = listener
        self._loop = Loop(self._service, listener, self._tell)
        self._thread = threading.Thread(target=self._loop.run, name="dbnfast-gateway", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End all sessions and the thread; a second call does nothing."""
        if self._thread is not None and self._loop is not None:
            self._loop.stop()
            self._thread.join()
            self._thread = self._loop = self._listener = None

    def wait_closed(self, timeout: float | None = None) -> bool:
        """
        Wait until the gateway has stopped.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None to wait for ever.

        Returns
        -------
        bool
            Whether it has stopped.
        """
        thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def start_clock(self) -> None:
        """Start the timeline now instead of with the first session."""
        self._service.timeline.start()

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._listener is None:
            raise ValueError("the gateway does not run: it has no port")
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def sessions(self) -> int:
        """The number of open connections."""
        return 0 if self._loop is None else self._loop.n_sessions

    @property
    def connections(self) -> int:
        """The number of connections so far, open ones included."""
        return self._service.n_connections

    @property
    def log(self) -> list[tuple[int, str]]:
        """The received lines, each with the number of its connection; empty without `keep_log`."""
        return list(self._log)

    @property
    def service(self) -> Service:
        """The settings and state that all sessions share."""
        return self._service

    def _tell(self, number: int, direction: str, text: str) -> None:
        if self._keep_log and direction == "recv":
            self._log.append((number, text))
        if self._trace is not None:
            self._trace(number, direction, text)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "stopped" if self._listener is None else f"at {self._host}:{self.port}"
        return f"<Gateway: {self._service.source.dataset or 'no dataset'}, {state}>"


def _tracer(trace: Any) -> Tracer | None:
    if callable(trace):
        call: Tracer = trace
        return call
    lines = trace_of(trace)
    if lines is None:
        return None
    return lambda number, direction, text: lines.say(direction, f"{number} {text}")
