"""Rows of the benchmark for files elsewhere: an object store with a latency and a bandwidth."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec

import data
import dbnfast
from measure import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure import Bench

LATENCY = 0.025  # seconds before each answer
RATE = 80e6  # bytes of a connection in a second
SHARE = 0.8  # of the trades that other groups have: 63 MiB
STEP = 1 * MIB  # that the peer reads at a time
BLOCK = 16 * MIB  # of records
SIDE = Path(__file__).with_name("storage_side.py")


@contextlib.contextmanager
def served(folder: str) -> Iterator[dict[str, Any]]:
    """Serve a folder; what its filesystem is made with."""
    command = [sys.executable, str(SIDE), folder, str(LATENCY), str(RATE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as server:  # type: ignore[call-overload]
        port = int(server.stdout.readline())
        yield {"anon": True, "endpoint_url": f"http://127.0.0.1:{port}"}
        server.stdin.close()


def object_storage(bench: Bench) -> None:
    """A compressed file decoded, against what the filesystem's own file object needs to read it."""
    with tempfile.TemporaryDirectory() as folder, served(folder) as options:
        n = int(data.SIZES["trades"] * SHARE)
        trades = data.records("trades", n)
        packed = dbnfast.encode(trades, data.metadata("trades"), compression="zstd")
        Path(folder, "trades.dbn.zst").write_bytes(packed)
        url = "s3://bucket/trades.dbn.zst"
        fs = fsspec.filesystem("s3", **options)

        def ours() -> int:
            store = dbnfast.read(url, storage_options=options)
            return sum(len(block) for block in store.iter_batches(BLOCK))

        def theirs() -> int:
            found = 0
            with fs.open(url, "rb") as file:
                while part := file.read(STEP):
                    found += len(part)
            return found

        assert (ours(), theirs()) == (n, len(packed))
        place = f"{LATENCY * 1000:g} ms and {RATE / 1e6:g} MB/s a connection"
        bench.pair(f"zstd of {len(packed) / MIB:.0f} MiB at {place}, decoded in blocks of "
                   f"{BLOCK // MIB} MiB",
                   "the file object of fsspec alone", 2.5, ours, theirs)  # fmt: skip
