"""
One side of a live measurement, in a process of its own.

``gateway RECORDS RATE SCHEMA`` serves records and prints its port: as fast as they are taken where
the rate is 0, else so many in a second, each with its send time. ``client WHO HOW SCHEMA PORT N
PERCENTILES`` takes N of them and prints what it saw as JSON; WHO is also ``socket``: what reads a
bare socket, which is what the gateway, the kernel and the machine leave to any client. It ends
with its standard input.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

KEY = "db-0123456789abcdefghijklmnopqrs"
DATASET = "GLBX.MDP3"
UNSTEADY = 10  # one in so many lags is dropped: the beginning of a session is no steady state
MARKET = 100_000  # records in a second of the market, where they are sent as fast as they are taken


def gateway(n: int, rate: int, schema: str) -> None:
    """Serve records until standard input ends."""
    dbnfast: Any = import_module("dbnfast")
    serve: Any = import_module("dbnfast.gateway").Gateway
    array = dbnfast.empty(schema, n)
    array["instrument_id"], array["publisher_id"], array["size"] = 1, 1, 1
    array["action"], array["side"], array["price"] = b"T", b"A", 10**9
    begin = 1_700_000_000 * 10**9
    step = 10**9 // (rate or MARKET)
    array["ts_event"] = array["ts_recv"] = begin + np.arange(n, dtype=np.uint64) * np.uint64(step)
    array["sequence"] = np.arange(n)
    for name in array.dtype.names:
        if name.startswith(("bid_", "ask_")):
            array[name] = 10**9 if "px" in name else 7
    day = np.datetime64(begin, "ns").astype("M8[D]").astype(object)
    interval = {"start_date": day, "end_date": (np.datetime64(day) + 1).astype(object)}
    metadata = dbnfast.Metadata(
        DATASET, begin, "raw_symbol", schema=schema,
        mappings={"ESZ4": [{**interval, "symbol": "1"}]},
    )  # fmt: skip
    stream = dbnfast.encode(array, metadata)
    speed = "1x" if rate else "max"
    with serve(stream, keys=[KEY], speed=speed, at_end="idle") as served:
        print(served.port, flush=True)
        sys.stdin.read()


class Taken:
    """Times of what a client took."""

    def __init__(self, n: int, percentiles: list[float] | None) -> None:
        self.n = n
        self.percentiles = percentiles
        self.seen = 0
        self.began = self.ended = 0.0
        self.lags: list[Any] | None = None if percentiles is None else []

    def batch(self, records: Any, now: int = 0) -> bool:
        """Take a batch; whether that is enough."""
        now = now or time.time_ns()
        if not self.began:
            self.began = time.perf_counter()
        if self.lags is not None and 0 in records.counts:
            self.lags.append(now - records.array("trades")["ts_out"].astype(np.int64))
        self.seen += len(records)
        self.ended = time.perf_counter()
        return self.seen >= self.n

    def result(self) -> dict[str, Any]:
        """What to tell."""
        found: dict[str, Any] = {"records": self.seen, "seconds": self.ended - self.began}
        if self.lags is not None:
            lags = np.concatenate([np.atleast_1d(lag) for lag in self.lags])
            lags = lags[len(lags) // UNSTEADY :]
            found["lags"] = (np.percentile(lags, self.percentiles) / 1e9).tolist()
        return found


def bare(port: int, taken: Taken) -> None:
    """Read a socket; decoding comes after the time is taken."""
    auth: Any = import_module("dbnfast.live.wire.auth")
    decoder = import_module("dbnfast").Decoder()
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb", 0) as lines:
        lines.readline()
        answer = auth.cram_response(lines.readline().decode().strip().split("=", 1)[1], KEY)
        sock.sendall(f"auth={answer}|dataset={DATASET}|encoding=dbn|ts_out=1\n".encode())
        lines.readline()
        sock.sendall(b"schema=trades|stype_in=raw_symbol|symbols=ALL_SYMBOLS\nstart_session=0\n")
        while n := sock.recv_into(decoder.get_buffer()):
            now = time.time_ns()
            decoder.buffer_updated(n)
            for records in decoder.read():
                if taken.batch(records, now):
                    return


def client(who: str, how: str, schema: str, port: int, n: int, percentiles: list[float]) -> None:
    """Take records in one of the ways there are."""
    latency = how.endswith("latency")
    taken = Taken(n, percentiles if latency else None)
    live: Any
    if who == "socket":
        bare(port, taken)
        print(json.dumps(taken.result()), flush=True)
        return
    if who == "dbnfast":
        # imported here: each side is to run without the other's threads and memory
        live = import_module("dbnfast").Live(
            KEY, "127.0.0.1", port, ts_out=latency, reconnect_policy="none"
        )
    else:
        live = import_module("databento").Live(KEY, "127.0.0.1", port, ts_out=latency)
    live.subscribe(DATASET, schema)
    if how.startswith("batches"):
        for records in live.batches():
            if taken.batch(records):
                break
    elif how == "iteration, levels":
        iterate_levels(levels_of(class_of(who, schema), taken), live, taken)
    elif how == "callback, levels":
        callback(live, taken, latency, levels_of(class_of(who, schema), taken))
    elif how == "iteration":
        for _ in live:
            if not taken.seen:
                taken.began = time.perf_counter()
            taken.seen += 1
            if taken.seen == n:
                break
        taken.ended = time.perf_counter()
    else:
        callback(live, taken, latency)
    print(json.dumps(taken.result()), flush=True)


def class_of(who: str, schema: str) -> Any:
    """Give a package's class of the records of a book."""
    return getattr(import_module(who), {"mbp-1": "MBP1Msg", "mbp-10": "MBP10Msg"}[schema])


def levels_of(cls: Any, taken: Taken) -> Any:
    """Make a callback as people write it, which reads four values of the best level."""
    total = 0

    def read(record: Any) -> None:
        nonlocal total
        if isinstance(record, cls):
            total += record.levels[0].bid_px + record.levels[0].ask_px
            total += record.levels[0].bid_sz + record.levels[0].ask_sz
        if not taken.seen:
            taken.began = time.perf_counter()
        taken.seen += 1
        if taken.seen == taken.n:
            assert total >= (taken.n - 1000) * 2 * 10**9, total
            taken.ended = time.perf_counter()

    return read


def iterate_levels(read: Any, live: Any, taken: Taken) -> None:
    """Read the same in a loop."""
    for record in live:
        read(record)
        if taken.seen == taken.n:
            break


def callback(live: Any, taken: Taken, latency: bool, read: Any = None) -> None:
    """Take records by a callback."""
    lags = taken.lags

    def count(record: Any) -> None:
        if not taken.seen:
            taken.began = time.perf_counter()
        taken.seen += 1
        if taken.seen == taken.n:
            taken.ended = time.perf_counter()

    def measure(record: Any) -> None:
        if record.rtype == 0 and not taken.ended:
            assert lags is not None
            lags.append(time.time_ns() - record.ts_out)
        count(record)

    live.add_callback(read or (measure if latency else count))
    live.start()
    end = time.monotonic() + 120
    while not taken.ended and time.monotonic() < end:
        time.sleep(0.01)
    live.terminate()


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "gateway":
        gateway(int(rest[0]), int(rest[1]), rest[2])
    else:
        who, how, schema, port, n, percentiles = rest
        client(who, how, schema, int(port), int(n), [*map(float, percentiles.split(","))])
