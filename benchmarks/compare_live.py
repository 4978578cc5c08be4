"""Rows of the benchmark for live sessions: records in a second, and latency."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compare import Bench

SIDE = Path(__file__).parent / "live_side.py"
# records that each way takes: enough for a steady rate, not too long for the slow ones
WAYS = (
    ("batches", "batches", "callback", 8_000_000, 400_000, 50),
    ("iteration", "iteration", "iteration", 2_000_000, 200_000, 15),
    ("callback", "callback", "callback", 2_000_000, 400_000, 5),
)
RATES = ((10_000, "10 k"), (100_000, "100 k"), (1_000_000, "1 M"))
SECONDS = 3


@contextmanager
def gateway(n: int, rate: int) -> Iterator[int]:
    """A gateway in a process of its own; its port."""
    command = [sys.executable, str(SIDE), "gateway", str(n), str(rate)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        assert peer.stdin is not None
        yield int(peer.stdout.readline())
        peer.stdin.close()
        peer.wait(30)


def taken(who: str, how: str, port: int, n: int) -> dict[str, Any]:
    """Run a client; what it saw."""
    command = [sys.executable, str(SIDE), "client", who, how, str(port), str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["records"] >= n, found
    return found


def live(bench: Bench) -> None:
    """Loopback: records/s of each way to take them, and the time from send to consumer."""
    smoke = data.SIZES["trades"] < 1_000_000
    runs = min(bench.runs, 3)
    scale = 50 if smoke else 1
    for name, ours, theirs, n, n_official, target in WAYS:
        n, n_official = n // scale, n_official // scale
        times: tuple[list[float], list[float]] = ([], [])
        with gateway(n, 0) as port:
            for _ in range(runs):
                mine = taken("dbnfast", ours, port, n)
                his = taken("databento", theirs, port, n_official)
                for side, found in zip(times, (mine, his), strict=True):
                    side.append(found["seconds"] / found["records"] * 1e6)
        a, b = map(statistics.median, times)
        bench.compared(
            f"live {name}, time of 1 M records", f"`databento.Live` {theirs}", target, a, b
        )
    for rate, text in RATES[:1] if smoke else RATES:
        n = rate * SECONDS
        lags: dict[str, list[tuple[float, float]]] = {"dbnfast": [], "databento": []}
        for _ in range(runs):
            for who, how in (("dbnfast", "batches-latency"), ("databento", "callback-latency")):
                with gateway(n, rate) as port:
                    found = taken(who, how, port, n)
                lags[who].append((found["p50"], found["p99"]))
        for i, name in enumerate(("p50", "p99")):
            a, b = (statistics.median(pair[i] for pair in lags[who]) for who in lags)
            bench.compared(
                f"live latency at {text} records/s, {name}", "`databento.Live` callback", 1, a, b
            )
