"""Rows of the benchmark for stores: frames, Arrow, Parquet, text, symbols, memory."""

from __future__ import annotations

import csv
import datetime
import io
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import databento
import databento_dbn
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
from databento.common.symbology import InstrumentMap

import data
import dbnfast
from dbnfast.live.wire.json_stream import JsonStream
from measure import MIB, PIECE, Road

if TYPE_CHECKING:
    from measure import Bench

PART = 3 << 20  # bytes of a stream whose outputs are compared before they are measured


def quiet_frame(store: Any, **options: Any) -> Any:
    """Make an official frame; it warns of what a later pandas will not have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return store.to_df(**options)


def road_of(name: str, schema: str, stream: bytes) -> Road | None:
    """Give the road of a row; trades stand for all."""
    return Road(name, data.SIZES[schema], len(stream)) if schema == "trades" else None


def frames(bench: Bench) -> None:
    """A frame with all columns and symbols, equal to the official one."""
    for schema, target in (("trades", 80), ("mbo", 80), ("tbbo", 60), ("mbp-10", 25)):
        stream = data.stream(schema)
        ours, theirs = dbnfast.Store.from_bytes(stream), databento.DBNStore.from_bytes(stream)
        pd.testing.assert_frame_equal(ours.to_df(), quiet_frame(theirs))
        bench.pair(f"to_df {schema}", "`DBNStore.to_df`", target, ours.to_df,
                   lambda theirs=theirs: quiet_frame(theirs), runs=min(bench.runs, 3),
                   road=road_of("to_df", schema, stream))  # fmt: skip
    two = dbnfast.Store.from_bytes(data.stream("mbo"))
    bench.pair("to_df mbo, `categorical=True`", "`to_df` with text", None,
               lambda: two.to_df(categorical=True), two.to_df)  # fmt: skip
    bench.pair("to_df mbo, two columns", "`to_df` of all", None,
               lambda: two.to_df(columns=["price", "size"]), two.to_df)  # fmt: skip


def arrow(bench: Bench) -> None:
    """An Arrow table, against the one made of the official frame."""
    for schema in ("trades", "mbp-10"):
        stream = data.stream(schema)
        ours, theirs = dbnfast.Store.from_bytes(stream), databento.DBNStore.from_bytes(stream)
        bench.pair(f"to_arrow {schema}", "`pyarrow.Table.from_pandas(DBNStore.to_df())`", None,
                   ours.to_arrow,
                   lambda theirs=theirs: pa.Table.from_pandas(quiet_frame(theirs)),
                   runs=min(bench.runs, 3),
                   road=road_of("to_arrow", schema, stream))  # fmt: skip


def parquet(bench: Bench) -> None:
    """A Parquet file that reads back as the same frame, and is not larger."""
    with tempfile.TemporaryDirectory() as folder:
        a, b = Path(folder) / "a.parquet", Path(folder) / "b.parquet"
        for schema in ("trades", "mbo", "tbbo", "mbp-10"):
            stream = data.stream(schema)
            ours, theirs = dbnfast.Store.from_bytes(stream), databento.DBNStore.from_bytes(stream)

            def official(theirs: Any = theirs) -> None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    theirs.to_parquet(b)

            ours.to_parquet(a), official()
            pd.testing.assert_frame_equal(pd.read_parquet(a), pd.read_parquet(b))
            size = a.stat().st_size / b.stat().st_size
            assert size <= 1.1, f"{schema}: {size:.3f} times the size"
            bench.pair(f"to_parquet {schema}, {size:.2f}x the size", "`DBNStore.to_parquet`", 6,
                       lambda ours=ours: ours.to_parquet(a), official,
                       runs=min(bench.runs, 3),
                       road=road_of("to_parquet", schema, stream))  # fmt: skip


class Discard(io.RawIOBase):
    """Takes everything and keeps nothing."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, block: Any) -> int:
        """Tell how much came."""
        return len(block)


def transcode(stream: bytes, encoding: Any, out: Any) -> None:
    """Write text as the official package does, pretty and with symbols."""
    coder = databento_dbn.Transcoder(out, encoding, databento_dbn.Compression.NONE)
    for at in range(0, len(stream), PIECE):
        coder.write(stream[at : at + PIECE])
    coder.flush()


def text(bench: Bench) -> None:
    """CSV and JSON with symbols, byte for byte the same, to a sink that discards."""
    targets = {"trades": (25, 12), "mbo": (25, 12), "tbbo": (25, 12), "mbp-10": (10, 8)}
    for schema, wanted in targets.items():
        stream = data.stream(schema)
        store = dbnfast.Store.from_bytes(stream)
        size = dbnfast.dtype(schema).itemsize
        head = len(dbnfast.scan(stream).metadata.encode())  # type: ignore[union-attr]
        part = stream[: head + PART // size * size]
        for name, encoding, target in zip(
            ("csv", "json"),
            (databento_dbn.Encoding.CSV, databento_dbn.Encoding.JSON),
            wanted,
            strict=True,
        ):
            made, official = io.BytesIO(), io.BytesIO()
            getattr(dbnfast.Store.from_bytes(part), f"to_{name}")(made)
            transcode(part, encoding, official)
            assert made.getvalue() == official.getvalue()
            bench.pair(f"{name.upper()} {schema}", "`Transcoder`", target,
                       lambda store=store, name=name: getattr(store, f"to_{name}")(Discard()),
                       lambda stream=stream, encoding=encoding: transcode(
                           stream, encoding, Discard()
                       ),
                       runs=min(bench.runs, 3),
                       road=road_of(f"to_{name}", schema, stream))  # fmt: skip


def shuffled(lines: bytes) -> bytes:
    """Put the keys of every object into an order of its own."""
    rng = random.Random(5)

    def other(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(rng.sample(pairs, len(pairs)))

    read = [json.loads(line, object_pairs_hook=other) for line in lines.splitlines()]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in read).encode()


def streamed(pieces: list[bytes]) -> int:
    """Take the pieces of a live session's JSON, without a socket; count the records."""
    stream, n = JsonStream("GLBX.MDP3"), 0
    for piece in pieces:
        stream.feed(piece)
        n += sum(map(len, stream.read()))
    return n


def text_back(bench: Bench) -> None:
    """CSV and JSON read back into records, against the library that reads the syntax alone."""
    n = min(data.SIZES["trades"], 200_000)
    stream = dbnfast.encode(data.records("trades", n), data.metadata("trades"))
    store, size = dbnfast.Store.from_bytes(stream), len(stream)
    decode, dicts = msgspec.json.Decoder().decode_lines, "`msgspec` to dicts, no values"
    texts = []
    for form, pretty in (("", True), (", numbers alone", False)):
        made, out = io.BytesIO(), io.BytesIO()
        store.to_csv(made, pretty_px=pretty, pretty_ts=pretty)
        store.to_json(out, pretty_px=pretty, pretty_ts=pretty)
        rows, lines = made.getvalue(), out.getvalue()
        bench.pair(f"from_csv, {n:,} trades{form}", "`csv.reader`, no values", 8,
                   lambda rows=rows: dbnfast.from_csv(rows),
                   lambda rows=rows: sum(1 for _ in csv.reader(io.StringIO(rows.decode()))), runs=3,
                   road=Road("from_csv", n, size, official=False) if pretty else None)  # fmt: skip
        bench.pair(f"from_json, {n:,} trades{form}", dicts, 6,
                   lambda lines=lines: dbnfast.from_json(lines),
                   lambda lines=lines: decode(lines), runs=3,
                   road=Road("from_json", n, size, official=False) if pretty else None)  # fmt: skip
        texts.append(lines)
    mixed = shuffled(texts[0])
    assert dbnfast.from_json(mixed).tobytes() == dbnfast.from_json(texts[1]).tobytes()
    bench.pair(f"from_json, {n:,} trades, keys in any order", dicts, 4,
               lambda: dbnfast.from_json(mixed), lambda: decode(mixed), runs=3)  # fmt: skip
    pieces = [texts[0][at : at + PIECE] for at in range(0, len(texts[0]), PIECE)]
    assert streamed(pieces) == n
    whole = texts[0].splitlines(keepends=True)
    step = n // len(pieces) + 1
    parts = [b"".join(whole[at : at + step]) for at in range(0, n, step)]
    bench.pair(f"live JSON, pieces of {PIECE >> 10} KiB, {n:,} trades", dicts, None,
               lambda: streamed(pieces),
               lambda: [len(decode(part)) for part in parts], runs=3)  # fmt: skip


MINUTE = 60 * 10**9
MINUTES = 20  # of which each run takes the mean
PLAIN, PACKED = 14, 2  # how often the trades are repeated, each time later


def time_range(bench: Bench) -> None:
    """One minute of a long file, against a pass over all of it."""
    for kind, compression, n, target in (
        ("plain file", "none", 1 if bench.smoke else PLAIN, 1000),
        ("seekable zstd file", "zstd", PACKED, 50),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trades.dbn"
            first, last = trades_of(path, n, compression)
            store, length = dbnfast.read(path), last - MINUTE - first
            starts = [first + length * i // MINUTES for i in range(MINUTES)]
            ours, theirs = [], []
            for start in starts[:: MINUTES // min(bench.runs, 3)]:
                began = time.perf_counter()
                for one in starts:
                    found = store.filter(start=one, end=one + MINUTE).to_ndarray()
                ours.append((time.perf_counter() - began) / MINUTES)
                found = store.filter(start=start, end=start + MINUTE).to_ndarray()
                began = time.perf_counter()
                blocks = list(dbnfast.iter_decode(path, start=start, end=start + MINUTE))
                theirs.append(time.perf_counter() - began)
                if not len(found) or len(found) != sum(map(len, blocks)):
                    raise ValueError(f"a search finds {len(found)} records")
            size = n * data.SIZES["trades"] * 48 / 1e9
            bench.compared(f"one minute of {size:.3g} GB, {kind}", "a full pass, filtered",
                           target, ours, theirs)  # fmt: skip


def trades_of(path: Path, n: int, compression: str) -> tuple[int, int]:
    """Write a file of trades n times, each time later; its first and its last time."""
    trades = data.records("trades", data.SIZES["trades"]).copy()
    trades.sort(order="ts_recv")
    first, end = int(trades["ts_recv"][0]), int(trades["ts_recv"][-1]) + 1
    last = first + n * (end - first) - 1
    header = data.metadata("trades").replace(end=last + 1)
    with path.open("wb") as file, dbnfast.Encoder(file, header, compression=compression) as out:
        for _ in range(n):
            out.write(trades)
            for name in ("ts_recv", "ts_event"):
                trades[name] += np.uint64(end - first)
    return first, last


def symbols(bench: Bench) -> None:
    """The mappings of an option chain, and the symbols of a million records."""
    n, n_rows = 13_000, 50_000 if bench.smoke else 1_000_000
    first, last = datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)
    header = data.metadata("trades").replace(
        symbols=["ES.OPT"],
        stype_in="parent",
        mappings={
            f"ES{i:05} C{i % 97:04}0": [
                {"start_date": first, "end_date": last, "symbol": str(5_000_000 + 7 * i)}
            ]
            for i in range(n)
        },
    )
    raw = header.encode()
    rng = np.random.default_rng(3)
    ids = (5_000_000 + 7 * rng.integers(0, n, n_rows)).astype(np.uint32)
    stamps = np.full(n_rows, data.START, np.uint64) + np.arange(n_rows, dtype=np.uint64)
    dates = stamps.view("M8[ns]").astype("M8[D]")

    def ours() -> Any:
        mapping = dbnfast.SymbolMap.from_metadata(dbnfast.Metadata.decode(raw))
        return mapping.codes(ids, stamps)

    def theirs() -> Any:
        mapping = InstrumentMap()
        mapping.insert_metadata(databento_dbn.Metadata.decode(raw))
        return mapping.resolve_many(ids.astype(np.uint64), dates)

    names = dbnfast.SymbolMap.from_metadata(dbnfast.Metadata.decode(raw)).symbols
    assert [names[code] for code in ours()[:1000]] == list(theirs()[:1000])
    bench.pair(f"{n:,} mappings, {n_rows:,} records", "`InstrumentMap.resolve_many`", None,
               ours, theirs, runs=3, most=0.050)  # fmt: skip


CONVERSIONS = {
    "to_csv": "store.to_csv(sink)",
    "to_json": "store.to_json(sink)",
    "to_parquet": "store.to_parquet(sys.argv[2])",
    "to_file, zstd": "store.to_file(sink, compression='zstd')",
    "Arrow stream": "[batch for batch in pa.RecordBatchReader.from_stream(store) if 0]",
    "iter_batches": "[batch for batch in store.iter_batches(16 << 20) if 0]",
    "two files merged": "[b for b in dbnfast.read([sys.argv[1]] * 2).iter_batches(16 << 20) if 0]",
}
PROGRAM = """
import re, sys
import pyarrow as pa, pyarrow.parquet, pandas, dbnfast
sink, store = open("/dev/null", "wb"), dbnfast.read(sys.argv[1])
{work}
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def converters_memory(bench: Bench) -> None:
    """Peak memory of whole processes as their input grows."""
    stream = data.stream("mbo")
    head = dbnfast.scan(stream).metadata.encode()  # type: ignore[union-attr]
    size = dbnfast.dtype("mbo").itemsize
    block = stream[len(head) : len(head) + size * 20_000]
    if not Path("/proc/self/status").exists():
        return  # the peak of a process that began as a copy of this one is told there only
    totals = (4, 16) if bench.smoke else (100, 2000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.dbn"
        peaks: dict[str, list[float]] = {name: [] for name in CONVERSIONS}
        for total in totals:
            with path.open("wb") as file:
                file.write(head)
                for _ in range(total * MIB // len(block)):
                    file.write(block)
            for name, work in CONVERSIONS.items():
                program = PROGRAM.format(work=work)
                command = [sys.executable, "-c", program, str(path), str(path) + ".out"]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                peaks[name].append(round(int(done.stdout) / 1024))
    for name, found in peaks.items():
        bench.keep("memory", what=name, seen="process", sizes=list(totals), peaks=found)
