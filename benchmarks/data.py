"""Seeded streams for the benchmarks, at the sizes that the targets are stated for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

import dbnfast
from dbnfast import Metadata

if TYPE_CHECKING:
    from typing import Any

SIZES = {"trades": 4_000_000, "tbbo": 2_000_000, "mbo": 2_000_000, "mbp-10": 500_000}
MIXED = 1_500_000
START = 1_767_225_600_000_000_000  # 2026-01-01 UTC
INSTRUMENTS = 40
# of a mixed stream
SHARES = {
    "trades": 0.3, "mbp-1": 0.25, "mbo": 0.3, "mbp-10": 0.05, "ohlcv-1s": 0.05, "statistics": 0.05,
}  # fmt: skip


def shrink(factor: int) -> None:
    """Divide all sizes, for a run that only shows that everything works."""
    global MIXED
    MIXED //= factor
    for schema in SIZES:
        SIZES[schema] //= factor


def metadata(schema: str | None) -> Metadata:
    """Make the header of a stream of one day."""
    names = [f"SYM{i:02}" for i in range(INSTRUMENTS)]
    day = np.datetime64("2026-01-01").astype(object)
    next_day = np.datetime64("2026-01-02").astype(object)
    return Metadata(
        dataset="GLBX.MDP3",
        schema=schema,
        start=START,
        end=START + 86_400_000_000_000,
        stype_in="raw_symbol",
        symbols=names,
        mappings={
            name: [{"start_date": day, "end_date": next_day, "symbol": str(1000 + i)}]
            for i, name in enumerate(names)
        },
    )


def records(schema: str, n: int, seed: int = 1) -> np.ndarray[Any, Any]:
    """Make n records of a schema: ascending times, walking prices, ticks of 0.25."""
    rng = np.random.default_rng(seed)
    array = dbnfast.empty(schema, n)
    steps = rng.integers(10_000, 20_000_000, n).astype(np.uint64)
    array["ts_event"] = START + np.cumsum(steps, dtype=np.uint64) % np.uint64(86_400 * 10**9)
    array["publisher_id"] = 1
    array["instrument_id"] = 1000 + rng.integers(0, INSTRUMENTS, n)
    price = (16_000 + np.cumsum(rng.integers(-1, 2, n))).astype(np.int64) * 250_000_000
    for name in array.dtype.names or ():
        if name in ("price", "open", "high", "low", "close"):
            array[name] = price
        elif name.startswith("bid_px"):
            array[name] = price - int(name[-2:]) * 250_000_000
        elif name.startswith("ask_px"):
            array[name] = price + (1 + int(name[-2:])) * 250_000_000
        elif name.startswith(("bid_sz", "ask_sz", "bid_ct", "ask_ct")) or name == "size":
            array[name] = rng.integers(1, 100, n)
        elif name == "ts_recv":
            array[name] = array["ts_event"] + rng.integers(1_000, 100_000, n).astype(np.uint64)
        elif name == "action":
            array[name] = rng.choice(np.array([b"A", b"C", b"M", b"T"]), n)
        elif name == "side":
            array[name] = rng.choice(np.array([b"A", b"B"]), n)
        elif name in ("sequence", "order_id"):
            array[name] = np.arange(n)
        elif name in ("flags", "ts_in_delta"):
            array[name] = rng.integers(0, 128, n)
        elif name == "volume":
            array[name] = rng.integers(1, 10_000, n)
    if schema == "trades":
        array["action"] = b"T"
    return array


@functools.cache
def stream(schema: str) -> bytes:
    """Make the stream of a schema at its target size."""
    return dbnfast.encode(records(schema, SIZES[schema]), metadata(schema))


@functools.cache
def mixed(n: int) -> bytes:
    """Make a mixed stream: trades, mbp-1, mbo, mbp-10, ohlcv-1s and statistics, shuffled."""
    rng = np.random.default_rng(2)
    order = rng.choice(len(SHARES), n, p=list(SHARES.values()))
    parts: list[bytes] = [b""] * n
    for kind, schema in enumerate(SHARES):
        positions = np.flatnonzero(order == kind)
        raw = records(schema, len(positions)).tobytes()
        size = dbnfast.dtype(schema).itemsize
        for row, position in enumerate(positions):
            parts[position] = raw[row * size : (row + 1) * size]
    return metadata(None).encode() + b"".join(parts)
