"""A host that never answers: what silence means is told meanwhile, and the session can be ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dbnfast import AsyncLive, ConnectError, Disconnected, Live, MarketState, Records
from dbnfast.live.asyncio import driver
from dbnfast.live.session import silence
from dbnfast.live.sync import pump
from helpers import peers
from helpers.peers import BODY, KEY, Peer, serving

pytestmark = [
    pytest.mark.usefixtures("quick"),
    pytest.mark.skipif(sys.platform != "linux", reason="a full queue of a listener drops others"),
]
HANGS = 25.0  # s for each address, so that no attempt fails before silence is told
Address = list[tuple[Any, ...]]


@pytest.fixture
def hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    """Gives, as getaddrinfo has it, an address to which connections neither come nor fail."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # of which nobody accepts one
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        monkeypatch.setattr(pump, "CONNECT_TIMEOUT", HANGS)
        monkeypatch.setattr(driver, "CONNECT_TIMEOUT", HANGS)
        monkeypatch.setattr(silence, "OVERDUE", 0.3 - 30)
        monkeypatch.setattr(silence, "LOOK_EVERY", 0.05)
        where = listener.getsockname()
        yield socket.getaddrinfo(*where, type=socket.SOCK_STREAM)


def told(items: list[Any]) -> list[str]:
    """What was told of the session, up to the feed's being stale."""
    found = []
    for item in items:
        if isinstance(item, MarketState):
            found.append(item.state)
        elif isinstance(item, Disconnected):
            found.append(f"attempt {item.attempt}")
    return found


def test_silence_is_told_while_a_connection_hangs(
    hole: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Peer(serving(BODY)) as peer, monkeypatch.context() as patch:
        live = Live(KEY, "127.0.0.1", peer.port)
        live.subscribe("GLBX.MDP3", "trades")
        patch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: hole)
        items: list[Any] = []
        empty = 0
        for item in live.events(max_wait=0.05):
            items.append(item)
            empty += isinstance(item, Records) and not len(item)
            if "stale" in told(items) or "attempt 1" in told(items):
                break
        assert told(items) == ["attempt 0", "stale"]
        assert empty  # a wait is no longer than it may be
        assert live.stats().state == "stale"
        live.terminate()
        live.block_for_close()


@pytest.mark.parametrize("end", [Live.stop, Live.terminate])
def test_a_session_can_be_ended_while_a_connection_hangs(
    end: Any, hole: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "CONNECT_TIMEOUT", 1000.0)
    with Peer(serving(BODY)) as peer, monkeypatch.context() as patch:
        live = Live(KEY, "127.0.0.1", peer.port)
        live.subscribe("GLBX.MDP3", "trades")
        patch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: hole)
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.extend(live.events()), daemon=True)
        thread.start()
        engine: Any = live._engine
        peers.wait_until(lambda: engine._pump._attempt and engine._pump._attempt.sock)
        sock = engine._pump._attempt.sock
        end(live)
        thread.join(peers.TIMEOUT)
        assert not thread.is_alive()
        assert sock.fileno() == -1  # it is closed


def test_an_attempt_that_hangs_is_given_up(hole: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "CONNECT_TIMEOUT", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: hole * 2)
    with pytest.raises(ConnectError, match=r"timed out.*; .*timed out"):
        Live(KEY, "127.0.0.1", 1, reconnect_policy="none").subscribe("GLBX.MDP3", "trades")


def test_silence_is_told_while_a_connection_of_an_event_loop_hangs(
    hole: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(port: int, patch: pytest.MonkeyPatch) -> list[Any]:
        live = AsyncLive(KEY, "127.0.0.1", port)
        await live.subscribe("GLBX.MDP3", "trades")
        patch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: hole)
        items: list[Any] = []
        async for item in live.events():
            items.append(item)
            if "stale" in told(items) or "attempt 1" in told(items):
                break
        live.terminate()
        await live.wait_for_close()
        return items

    with Peer(serving(BODY)) as peer, monkeypatch.context() as patch:
        assert told(asyncio.run(work(peer.port, patch))) == ["attempt 0", "stale"]
