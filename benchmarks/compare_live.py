"""Rows of the benchmark for live sessions: records in a second, and latency."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dbnfast
from measure import Road, say, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure import Bench

SIDE = Path(__file__).parent / "live_side.py"
# records that each way takes: enough for a steady rate, not too long for the slow ones
WAYS = (
    ("batches", "batches", "callback", "trades", 8_000_000, 400_000, 50),
    ("iteration", "iteration", "iteration", "trades", 2_000_000, 200_000, 15),
    ("callback", "callback", "callback", "trades", 2_000_000, 400_000, 5),
)
# four values of `levels[0]` of each record are read, as people write it
LOOPS = (
    ("callback", "callback, levels", "mbp-1", 1_000_000, 200_000, 3.5),
    ("callback", "callback, levels", "mbp-10", 400_000, 100_000, 5),
    ("iteration", "iteration, levels", "mbp-1", 1_000_000, 100_000, 3.5),
)
MILLION = 1_000_000
RATES = (1_000, 10_000, 100_000, 300_000, MILLION)
IN_ROWS = {10_000: "10 k", 100_000: "100 k", MILLION: "1 M"}
SECONDS = 3  # of each rate
SECONDS_SLOW = 6  # of those with less than SLOW records in a second
SLOW = 10_000
PERCENTILES = (1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99)
CLIENTS = {
    "dbnfast": "batches-latency", "databento": "callback-latency", "socket": "socket-latency",
}  # fmt: skip


@contextmanager
def gateway(n: int, rate: int, schema: str = "trades") -> Iterator[int]:
    """A gateway in a process of its own; its port."""
    command = [sys.executable, str(SIDE), "gateway", str(n), str(rate), schema]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout is not None
        assert peer.stdin is not None
        try:
            yield int(peer.stdout.readline())
        finally:
            peer.stdin.close()
            try:
                peer.wait(30)
            except subprocess.TimeoutExpired:
                peer.kill()
                raise


def taken(who: str, how: str, port: int, n: int, schema: str = "trades") -> dict[str, Any]:
    """Run a client; what it saw."""
    percentiles = ",".join(map(str, PERCENTILES))
    command = [
        sys.executable,
        str(SIDE),
        "client",
        who,
        how,
        schema,
        str(port),
        str(n),
        percentiles,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["records"] >= n, found
    return found


def live(bench: Bench) -> None:
    """Loopback: records/s of each way to take them."""
    size = MILLION * dbnfast.dtype("trades").itemsize
    for name, ours, theirs, schema, n, n_official, target in WAYS:
        times = rates(bench, (ours, theirs), (n, n_official), schema)
        bench.compared(
            f"live {name}, time of 1 M records", f"`databento.Live` {theirs}", target, *times,
            road=Road(f"live {name}", MILLION, size),
        )  # fmt: skip
    for name, how, schema, n, n_official, target in LOOPS:
        times = rates(bench, (how, how), (n, n_official), schema)
        bench.compared(
            f"live {name}, four values of `levels[0]`, {schema}, time of 1 M records",
            f"`databento.Live` {name}", target, *times,
        )  # fmt: skip


def rates(
    bench: Bench, how: tuple[str, str], wanted: tuple[int, int], schema: str
) -> tuple[list[float], list[float]]:
    """Take records in a way of each side, in turn; the times of a million of them."""
    n, n_official = (count // (50 if bench.smoke else 1) for count in wanted)
    times: tuple[list[float], list[float]] = ([], [])
    with gateway(n, 0, schema) as port:
        for _ in range(min(bench.runs, 3)):
            mine = taken("dbnfast", how[0], port, n, schema)
            his = taken("databento", how[1], port, n_official, schema)
            for side, found in zip(times, (mine, his), strict=True):
                side.append(found["seconds"] / found["records"] * MILLION)
    return times


def latency(bench: Bench) -> None:
    """Loopback: the time from send to consumer, as the rate grows."""
    for rate in (SLOW, 100_000) if bench.smoke else RATES:
        n = round(rate * seconds_of(rate, bench))
        runs: dict[str, list[list[float]]] = {who: [] for who in CLIENTS}
        for _ in range(min(bench.runs, 3)):
            for who, how in CLIENTS.items():
                with gateway(n, rate) as port:
                    runs[who].append(taken(who, how, port, n)["lags"])
        for who, lags in runs.items():
            kept = [shortened(run) for run in lags]
            bench.keep("latency", who=who, rate=rate, records=n, runs=kept)
        p50s = {who: shown(lags, 50) for who, lags in runs.items()}
        say(f"latency at {rate:,} records/s, p50 of each run in us: {p50s}")
        if rate not in IN_ROWS:
            continue
        for p in (50, 99):
            a, b = ([run[PERCENTILES.index(p)] for run in runs[who]] for who in list(CLIENTS)[:2])
            bench.compared(
                f"live latency at {IN_ROWS[rate]} records/s, p{p}", "`databento.Live` callback", 1,
                a, b,
            )  # fmt: skip


def seconds_of(rate: int, bench: Bench) -> float:
    """Tell how long a rate is held."""
    if bench.smoke:
        return 0.2
    return SECONDS_SLOW if rate < SLOW else SECONDS


def shown(lags: list[list[float]], percentile: float) -> list[int]:
    """Take one percentile of each run, in us."""
    return [round(run[PERCENTILES.index(percentile)] * 1e6) for run in lags]
