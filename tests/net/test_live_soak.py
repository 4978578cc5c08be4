"""Sessions that last, over connections of which every one breaks."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dbnfast import AsyncLive, Live, Reconnected, Records, RType
from dbnfast.gateway import Cut, Delay, Eof, Gateway, OneByteWrites, Reset, Silence
from dbnfast.live import base
from dbnfast.live.session import link, retry
from helpers.gateways import BEGIN, KEY, trades

SECONDS = 15.0
N = 6_000
IDS = 20
LIMIT = 90  # s: so that a mistake ends the test
GROWTH = 8 << 20  # bytes

FAULTS: tuple[Any, ...] = (
    Cut(19_001),
    Reset(23_456),
    Silence(17_777),
    (OneByteWrites(), Cut(18_003)),
    Eof(30_000),
    (Delay(15_000, 0.3), Reset(25_000)),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats, silence and retries in a fraction of their time."""
    monkeypatch.setattr(base, "MIN_HEARTBEAT_S", 1)
    monkeypatch.setattr(link, "MARGIN", 0.2)
    monkeypatch.setattr(retry, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(retry, "MAX_RETRY", 0.2)
    monkeypatch.setattr(retry, "SPACING", 0.02)


class Seen:
    """What one client received, and what the process weighed meanwhile."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.reconnects = 0
        self.weights: list[tuple[int, int]] = []  # records so far, bytes of memory
        self.stats: Any = None

    def take(self, item: Any) -> bool:
        """Note an item; whether everything is there."""
        if isinstance(item, Reconnected):
            self.reconnects += 1
        elif isinstance(item, Records):
            market = item.filter(RType.MBP_0)
            if len(market):
                self.sequences += market.array("trades")["sequence"].tolist()
                self.weights.append((len(self.sequences), resident()))
        return len(self.sequences) >= N

    def check(self) -> None:
        """Nothing is missing, nothing came twice, and time costs no memory."""
        assert sorted(self.sequences) == list(range(N))
        assert self.reconnects >= 3
        assert self.stats.reconnects == self.reconnects
        assert self.stats.unfilled_gaps == 0
        assert self.stats.skipped == 0
        early = max(weight for n, weight in self.weights if n <= N // 3)
        late = max(weight for n, weight in self.weights if n > N // 3)
        if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which keeps what is freed
            assert late - early < GROWTH


def resident() -> int:
    """Bytes of memory that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def files() -> set[str]:
    """What the process has open, by number."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{entry} {os.readlink(f'/proc/self/fd/{entry}')}")
        except OSError:  # the one that lists them
            continue
    return found


def in_thread(port: int, seen: Seen) -> None:
    """Take the records by a loop in this thread."""
    live = Live(KEY, "127.0.0.1", port, heartbeat_interval_s=1, overlap=0.1)
    live.subscribe("XNAS.ITCH", "trades", start=BEGIN)
    for item in live.events(max_wait=1.0):
        if seen.take(item):
            break
    seen.stats = live.stats()


async def on_loop(port: int, seen: Seen) -> None:
    """Take the records on an event loop; no task stays."""
    live = AsyncLive(
        KEY, "127.0.0.1", port, heartbeat_interval_s=1, overlap=0.1, compression="zstd"
    )
    async with asyncio.timeout(LIMIT), live:
        await live.subscribe("XNAS.ITCH", "trades", start=BEGIN)
        async for item in live.events(max_wait=1.0):
            if seen.take(item):
                break
        seen.stats = live.stats()
    for _ in range(100):
        if asyncio.all_tasks() == {asyncio.current_task()}:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(asyncio.all_tasks())


def test_nothing_is_lost_or_left_however_often_connections_break() -> None:
    gc.collect()
    files_before, threads_before = files(), set(threading.enumerate())
    blocking, asynchronous = Seen(), Seen()
    source = trades([SECONDS * i / N for i in range(N)], [1 + i % IDS for i in range(N)])
    faults = dict(enumerate(itertools.islice(itertools.cycle(FAULTS), 400)))
    with Gateway(source, keys=KEY, speed="1x", faults=faults, min_heartbeat_s=1) as gateway:
        thread = threading.Thread(target=in_thread, args=(gateway.port, blocking), daemon=True)
        thread.start()
        asyncio.run(on_loop(gateway.port, asynchronous))
        thread.join(LIMIT)
        assert not thread.is_alive(), blocking.sequences[-1:]
    blocking.check()
    asynchronous.check()
    gc.collect()
    end = time.monotonic() + 10
    while files() != files_before or set(threading.enumerate()) != threads_before:
        assert time.monotonic() < end, (files() - files_before, threading.enumerate())
        time.sleep(0.05)
