"""When the blocking pump looks for more, and when it sleeps."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import dbnfast
from dbnfast.live.base import host_of
from dbnfast.live.sync import pump
from dbnfast.live.sync.pump import no_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Parts = tuple[pump.Pump, "Session", "Socket", "Clock"]

TICK = 10e-6  # s between two looks at the clock
KEY = "db-0123456789abcdefghijklmnopqrs"


class Clock:
    """Goes on by a tick whenever it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", self)

    def __call__(self) -> float:
        self.now += TICK
        return self.now


class Socket:
    """Holds bytes from given times on."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.arrivals: list[float] = []
        self.sleeps = 0
        self.looks = 0

    def recv_into(self, buffer: Any, n: int = 0, flags: int | None = None) -> int:
        """Read what has arrived; without flags sleep until something has."""
        if flags is None:
            self.sleeps += 1
            self.clock.now = max(self.clock.now, self.arrivals[0])
        else:
            self.looks += 1
        if self.clock.now < self.arrivals[0]:
            raise BlockingIOError
        self.arrivals.pop(0)
        return 1

    def setsockopt(self, *what: Any) -> None:
        """Take any option."""

    def shutdown(self, how: int) -> None:
        """Have nothing to shut down."""

    def close(self) -> None:
        """Have nothing to close."""


class Session:
    """Counts what is read."""

    ended = more = wants_to_send = False
    connected = True
    deadline = None
    read = 0

    def get_buffer(self, size: int) -> memoryview:
        """Give room."""
        return memoryview(bytearray(8))

    def buffer_updated(self, n: int, now: float) -> None:
        """Count."""
        self.read += n


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Parts]]:
    """Give pumps with sockets of which a test says when they hold bytes."""
    pumps: list[pump.Pump] = []

    def make(*, busy_poll: float = 150e-6, cpus: int = 2) -> Parts:
        monkeypatch.setattr(pump, "BLOCKS", True)
        monkeypatch.setattr(pump, "cores", lambda: cpus)
        clock, session = Clock(monkeypatch), Session()
        sock = Socket(clock)
        driven = pump.Pump(session, "127.0.0.1", 1, threading.RLock(), busy_poll)  # type: ignore[arg-type]
        driven._sock = sock  # type: ignore[assignment]
        pumps.append(driven)
        return driven, session, sock, clock

    yield make
    for driven in pumps:
        driven.close()


def taken(driven: pump.Pump, session: Session, sock: Socket, clock: Clock, gap: float) -> int:
    """Read what arrives after a gap; how often the pump slept for it."""
    before, slept = session.read, sock.sleeps
    sock.arrivals.append(clock.now + gap)
    while session.read == before:
        driven.step(None)
    return sock.sleeps - slept


def test_dense_bytes_are_looked_for(made: Callable[..., Parts]) -> None:
    what = made()
    assert taken(*what, 100e-6) == 1  # nothing was known of how bytes come
    looks = what[2].looks
    assert [taken(*what, 100e-6) for _ in range(5)] == [0] * 5
    assert what[2].looks - looks > 10


def test_thin_bytes_are_slept_for(made: Callable[..., Parts]) -> None:
    what = made()
    assert [taken(*what, 1e-3) for _ in range(5)] == [1] * 5
    assert what[2].looks == 5  # once for each, before it sleeps


def test_a_look_in_vain_is_the_last_until_bytes_come_densely_again(
    made: Callable[..., Parts],
) -> None:
    what = made()
    gaps = [100e-6, 100e-6, 10e-3, 10e-3, 100e-6, 100e-6]
    assert [taken(*what, gap) for gap in gaps] == [1, 0, 1, 1, 1, 0]


def test_bytes_that_are_there_change_nothing(made: Callable[..., Parts]) -> None:
    what = made()
    assert [taken(*what, gap) for gap in (100e-6, 0.0, 0.0, 100e-6)] == [1, 0, 0, 0]


@pytest.mark.parametrize(("busy_poll", "cpus"), [(0.0, 2), (150e-6, 1)])
def test_it_sleeps_where_looking_is_unwanted(
    made: Callable[..., Parts], busy_poll: float, cpus: int
) -> None:
    what = made(busy_poll=busy_poll, cpus=cpus)
    assert [taken(*what, 100e-6) for _ in range(4)] == [1] * 4


def test_a_step_looks_no_longer_than_it_may(made: Callable[..., Parts]) -> None:
    driven, session, sock, clock = made()
    taken(driven, session, sock, clock, 100e-6)
    looks = sock.looks
    sock.arrivals.append(clock.now + 120e-6)
    driven.step(3 * TICK)
    assert sock.looks - looks == 4
    assert sock.sleeps == 2


@pytest.mark.parametrize("wrong", [-1, 100_001, 2**70])
def test_busy_poll_is_checked(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"busy_poll_us is .*, expected microseconds, 0 to 100000"):
        dbnfast.Live(KEY, busy_poll_us=wrong)


@pytest.mark.parametrize("wrong", [1.5, True])
def test_busy_poll_is_whole(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"busy_poll_us is .*, expected an int"):
        dbnfast.Live(KEY, busy_poll_us=wrong)


def test_busy_poll_reaches_the_pump() -> None:
    live = dbnfast.Live(KEY, "127.0.0.1", 1, busy_poll_us=0, reconnect_policy="none")
    with pytest.raises(dbnfast.ConnectError):
        live.subscribe("GLBX.MDP3", "trades")
    assert live._engine is not None
    assert live._engine._pump._busy_poll == 0.0


@pytest.mark.parametrize(
    ("dataset", "hint"),
    [
        ("GLBX.MDP3", ""),
        ("glbx.mdp3", ""),
        (
            "GLBX.MDP",
            r"; dataset 'GLBX\.MDP' is not known \(did you mean 'GLBX\.MDP3'\?\), expect.*",
        ),
        ("QQQQ", r"; dataset 'QQQQ' is not known, expected one of .*XNAS\.ITCH.*"),
    ],
)
def test_a_misspelt_dataset_is_told_where_there_is_no_connection(dataset: str, hint: str) -> None:
    error = no_connection(host_of(dataset), 13000, [("", OSError("no such host"))])
    assert re.fullmatch(rf"no connection to .*\.com:13000: no such host{hint}", str(error))
    assert "dataset" not in str(no_connection("localhost", 1, []))
