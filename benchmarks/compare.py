"""
Measure dbnfast against its peers, side by side in one process.

``make bench`` prints a table; every row is a ratio of medians over alternating runs, so that a
machine whose speed drifts does not favour a side. ``--smoke`` runs everything once, on little
data, to see that it works; ``--json FILE`` keeps the numbers; ``--readme`` writes the table into
README.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import databento
import databento_dbn
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import compare_live
import compare_store
import data
import dbnfast
from dbnfast import reference
from dbnfast.compression import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 64 << 10
README = Path(__file__).parents[1] / "README.md"


@dataclass
class Row:
    """One line of the table: times in seconds; `ratio` is peer / dbnfast; None: no target."""

    work: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    target: float | None


class Bench:
    """Run pairs in turn and keep the rows."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.rows: list[Row] = []

    def pair(
        self,
        work: str,
        peer: str,
        target: float | None,
        ours: Callable[[], Any],
        theirs: Callable[[], Any],
        runs: int | None = None,
    ) -> None:
        """Measure both sides in turn, after one run of each that does not count."""
        times: tuple[list[float], list[float]] = ([], [])
        ours(), theirs()
        for _ in range(runs or self.runs):
            for side, call in zip(times, (ours, theirs), strict=True):
                gc.collect()
                start = time.perf_counter()
                call()
                side.append(time.perf_counter() - start)
        a, b = map(statistics.median, times)
        self.add(Row(work, peer, a, b, b / a, target))

    def compared(
        self, work: str, peer: str, target: float | None, ours: float, theirs: float
    ) -> None:
        """Keep times that were measured elsewhere."""
        self.add(Row(work, peer, ours, theirs, theirs / ours, target))

    def add(self, row: Row) -> None:
        """Keep a row and show it."""
        self.rows.append(row)
        print(show(row), flush=True)


def show(row: Row) -> str:
    """Format a row as Markdown."""
    target = "reported" if row.target is None else f"{row.target:g}x"
    return (
        f"| {row.work} | {row.peer} | {span(row.ours)} | {span(row.theirs)} | "
        f"**{row.ratio:.3g}x** | {target} |"
    )


def span(seconds: float) -> str:
    """Format a time."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def aligned(stream: bytes) -> np.ndarray[Any, Any]:
    """Copy a stream to where its records begin at an 8-byte boundary."""
    at = len(dbnfast.scan(stream).metadata.encode())  # type: ignore[union-attr]
    block = np.empty(len(stream) + 64, np.uint8)
    start = -(block.ctypes.data + at) % 64
    block[start : start + len(stream)] = np.frombuffer(stream, np.uint8)
    return block[start : start + len(stream)]


def decode(bench: Bench) -> None:
    """One type, every header checked, against one pass over the bytes."""
    for schema, target in (("trades", 0.9), ("tbbo", 0.9), ("mbo", 0.9), ("mbp-10", 1.3)):
        stream = aligned(data.stream(schema))
        body = np.frombuffer(dbnfast.scan(stream).data, "u8")
        bench.pair(
            f"decode {schema}",
            "`np.frombuffer(body, 'u8').max()`",
            target,
            lambda stream=stream: dbnfast.decode(stream),
            lambda body=body: body.max(),
        )
    metadata = data.metadata("trades")
    n = min(40_000, data.SIZES["trades"])
    part = dbnfast.encode(data.records("trades", n), metadata)
    bench.pair(
        f"decode {n:,} trades",
        "`dbnfast.reference`, plain Python",
        None,
        lambda: dbnfast.decode(part),
        lambda: reference.decode(part),
        runs=3,
    )


def split(bench: Bench) -> None:
    """A mixed stream to new arrays, and one schema of a mixed file."""
    stream = data.mixed(data.MIXED)
    body = np.frombuffer(dbnfast.scan(stream).data, np.uint8)
    bench.pair(
        "split a mixed stream", "`body.copy()`", 0.5, lambda: dbnfast.split(stream), body.copy
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixed.dbn"
        path.write_bytes(stream)

        def ours() -> Any:
            return dbnfast.decode(np.memmap(path, np.uint8, "r"), schema="trades")

        def theirs() -> Any:
            return databento.DBNStore.from_file(path).to_ndarray(schema="trades")

        assert len(ours()) == len(theirs())
        bench.pair("mixed file -> trades array", "`DBNStore.to_ndarray(schema=)`", 30, ours, theirs,
                   runs=3)  # fmt: skip


def pieces_of(schema: str, from_memory: bool) -> tuple[bytes, list[bytes]]:
    """Give the header and 64 KiB pieces: a few that stay in cache again and again, or many."""
    stream = data.stream(schema)
    head = dbnfast.scan(stream).metadata.encode()  # type: ignore[union-attr]
    size = dbnfast.dtype(schema).itemsize
    cycle = math.lcm(PIECE, size)  # after which a piece begins with a record again
    if not from_memory:
        body = stream[len(head) : len(head) + cycle]
        few = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
        return head, few * max(1, 2048 // len(few))
    body = stream[len(head) : len(head) + (96 << 20)]
    return head, [body[at : at + PIECE] for at in range(0, len(body), PIECE)]


def arrays(head: bytes, pieces: list[bytes], keep: list[Any] | None = None) -> None:
    """Feed pieces and make the arrays of each."""
    decoder = dbnfast.Decoder()
    decoder.feed(head)
    for piece in pieces:
        decoder.feed(piece)
        for records in decoder.read():
            array = records.array()
            if keep is not None:
                keep.append(array)


def lists(head: bytes, pieces: list[bytes], keep: list[Any] | None = None) -> None:
    """Feed pieces and make the official objects of each."""
    decoder = databento_dbn.DBNDecoder()
    decoder.write(head)
    decoder.decode()
    for piece in pieces:
        decoder.write(piece)
        made = decoder.decode()
        if keep is not None:
            keep.append(made)


def count(drive: Callable[[bytes, list[bytes], list[Any]], None], *what: Any) -> int:
    """Count the records that a drive makes."""
    made: list[Any] = []
    drive(*what, made)
    return sum(map(len, made))


def feed(bench: Bench) -> None:
    """Pieces of 64 KiB as bytes objects to arrays, against lists of objects."""
    targets = {"trades": (20, 12), "tbbo": (20, 6), "mbo": (20, 12), "mbp-10": (10, 4)}
    for schema, wanted in targets.items():
        for from_memory in (False, True):
            head, pieces = pieces_of(schema, from_memory)
            assert count(arrays, head, pieces) == count(lists, head, pieces)
            bench.pair(
                f"feed {schema}, pieces {'from memory' if from_memory else 'in cache'}",
                "`DBNDecoder` -> list of objects",
                wanted[from_memory],
                lambda head=head, pieces=pieces: arrays(head, pieces),
                lambda head=head, pieces=pieces: lists(head, pieces),
            )
        bench.pair(
            f"feed {schema}, pieces from memory",
            "`np.frombuffer(piece, 'u8').max()` of each: what memory allows",
            None,
            lambda head=head, pieces=pieces: arrays(head, pieces),
            lambda pieces=pieces: [np.frombuffer(piece, "u8").max() for piece in pieces],
        )


def objects(bench: Bench) -> None:
    """Record objects, three integer fields of each read; and a pretty timestamp."""
    stream = data.stream("mbo")[: 4 << 20]
    records = dbnfast.scan(stream, on_truncated="ignore")

    def official() -> list[Any]:
        decoder = databento_dbn.DBNDecoder()
        decoder.write(stream)
        return list(decoder.decode())[1:]

    def read(items: Any) -> int:
        total = 0
        for item in items:
            total += item.price + item.size + item.sequence
        return total

    assert read(records) == read(official())
    bench.pair("Record made, three fields read", "the same with `DBNDecoder`", 1.0,
               lambda: read(records), lambda: read(official()))  # fmt: skip
    few, theirs = list(records[:2000]), official()[:2000]
    bench.pair("`pretty_ts_event`", "the same with `DBNDecoder`", 50,
               lambda: [item.pretty_ts_event for item in few],
               lambda: [item.pretty_ts_event for item in theirs])  # fmt: skip


def decompress(bench: Bench) -> None:
    """A zstd file to an array, against decompression alone."""
    module = zstd()
    for schema in ("trades", "mbp-10"):
        stream = data.stream(schema)
        half = len(stream) // 2

        def frame(part: bytes) -> bytes:
            compressor = module.ZstdCompressor()  # content size is not known, so not stated
            return bytes(compressor.compress(part) + compressor.flush())

        one, two = frame(stream), frame(stream[:half]) + frame(stream[half:])
        for name, packed, target in (("one frame", one, 1.1), ("two frames", two, 1.8)):
            bench.pair(f"zstd {schema}, {name}", "`zstd.decompress(data)`", target,
                       lambda packed=packed: dbnfast.decode(packed),
                       lambda packed=packed: module.decompress(packed))  # fmt: skip


def encode(bench: Bench) -> None:
    """Arrays to bytes, headers checked."""
    for schema in ("trades", "mbo", "mbp-10"):
        array = data.records(schema, data.SIZES[schema])
        metadata = data.metadata(schema)
        bench.pair(f"encode {schema}", "`bytes(memoryview(array))`", 0.75,
                   lambda array=array, metadata=metadata: dbnfast.encode(array, metadata),
                   lambda array=array: bytes(memoryview(array)))  # fmt: skip


def import_time(bench: Bench) -> None:
    """Whole processes, byte code cached: import dbnfast against import numpy."""
    with tempfile.TemporaryDirectory() as cache:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment = {**kept, "PYTHONPYCACHEPREFIX": cache}

        def run(name: str) -> Callable[[], Any]:
            command = [sys.executable, "-c", f"import {name}"]
            return lambda: subprocess.run(command, check=True, env=environment)

        bench.pair("import dbnfast (target: numpy + 30 ms)", "`import numpy`", None,
                   run("dbnfast"), run("numpy"), runs=max(7, bench.runs))  # fmt: skip
        row = bench.rows[-1]
        print(f"import: numpy + {(row.ours - row.theirs) * 1e3:.1f} ms", file=sys.stderr)


class Endless:
    """A readable of a given size that holds one block of records only."""

    def __init__(self, head: bytes, block: bytes, size: int) -> None:
        self._parts = self._stream(head, block, size)
        self._left = memoryview(b"")

    def _stream(self, head: bytes, block: bytes, size: int) -> Iterator[bytes]:
        yield head
        for _ in range(size // len(block)):
            yield block

    def readinto(self, out: memoryview) -> int:
        """Fill as much of `out` as the current part holds."""
        if not len(self._left):
            self._left = memoryview(next(self._parts, b""))
        n = min(len(out), len(self._left))
        out[:n] = self._left[:n]
        self._left = self._left[n:]
        return n


def memory(smoke: bool) -> list[str]:
    """Peak memory of iter_decode as its input grows."""
    stream = data.stream("mbo")
    head = dbnfast.scan(stream).metadata.encode()  # type: ignore[union-attr]
    size = dbnfast.dtype("mbo").itemsize
    block = stream[len(head) : len(head) + size * 20_000]
    lines = []
    for total in (10 << 20, 100 << 20) if smoke else (100 << 20, 500 << 20, 2000 << 20):
        tracemalloc.start()
        n = sum(
            len(records)
            for records in dbnfast.iter_decode(Endless(head, block, total), max_bytes=16 << 20)  # type: ignore[arg-type]
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        lines.append(
            f"| iter_decode of {total >> 20} MiB ({n:,} records), peak "
            f"| {peak / (1 << 20):.1f} MiB |"
        )
    return lines


def machine() -> str:
    """Say what the numbers were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    packages = ("numpy", "pandas", "pyarrow", "databento-dbn", "databento")
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + f", dbnfast {dbnfast.__version__}"
    )


def write_readme(table: str) -> None:
    """Put the table between README.md's markers."""
    text = README.read_text()
    before, rest = text.split("<!-- bench:begin -->")
    after = rest.split("<!-- bench:end -->")[1]
    README.write_text(f"{before}<!-- bench:begin -->\n{table}\n<!-- bench:end -->{after}")


def main(argv: list[str] | None = None) -> int:
    """Run all rows and print the table; exit with 0 whatever they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="little data, one run")
    parser.add_argument("--runs", type=int, default=7, help="runs of each side")
    parser.add_argument("--only", help="names of groups, separated by commas")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args(argv)
    if options.smoke:
        data.shrink(50)
    groups = (
        decode, split, feed, objects, decompress, encode,
        compare_store.frames, compare_store.arrow, compare_store.parquet, compare_store.text,
        compare_store.text_back, compare_store.symbols, compare_live.live, import_time,
    )  # fmt: skip
    names = None if options.only is None else set(options.only.split(","))
    bench = Bench(1 if options.smoke else options.runs)
    head = "| work | against | dbnfast | peer | ratio | target |\n|---|---|---|---|---|---|"
    print(f"{machine()}\n\n{head}")
    for group in groups:
        if names is None or group.__name__ in names:
            group(bench)
            data.stream.cache_clear()
            data.mixed.cache_clear()
    lines = []
    if names is None or "memory" in names:
        lines = memory(options.smoke) + compare_store.converters_memory(options.smoke)
    notes = "\n".join(["| memory | |", "|---|---|", *lines]) if lines else ""
    print(f"\n{notes}")
    table = "\n".join([head, *map(show, bench.rows)])
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in bench.rows], indent=1))
    if options.readme:
        write_readme(f"{table}\n\n{notes}\n\nMeasured on: {machine()}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
