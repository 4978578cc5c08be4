"""Rows of the benchmark for query engines: many files of trades, in DBN and in Parquet."""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import databento
import duckdb
import numpy as np
import pandas as pd
import polars as pl

import data
import dbnfast
from dbnfast.codec.compression import zstd
from measure import MIB

if TYPE_CHECKING:
    from measure import Bench

DAYS = 16
SHARE = 8  # of the trades of one stream, that a day has
DAY = 86_400 * 10**9
HOUR = 3_600 * 10**9


def write_days(folder: Path) -> list[Path]:
    """Write days of trades: in one zstd frame, as the vendor does; in frames; as Parquet."""
    n = data.SIZES["trades"] // SHARE
    for kind in ("dbn", "seekable", "parquet"):
        (folder / kind).mkdir()
    for number in range(DAYS):
        start = data.START + number * DAY
        array = data.records("trades", n, seed=number + 1).copy()
        steps = np.random.default_rng(number).integers(1, 2 * DAY // n, n).astype(np.uint64)
        array["ts_event"] = start + np.minimum(np.cumsum(steps), np.uint64(DAY - HOUR))
        array["ts_recv"] = array["ts_event"] + np.uint64(5_000)
        date = datetime.date(2026, 1, 1) + datetime.timedelta(number)
        mappings = {
            symbol: [{**one, "start_date": date, "end_date": date + datetime.timedelta(1)}]
            for symbol, (one,) in data.metadata("trades").mappings.items()
        }
        header = data.metadata("trades").replace(start=start, end=start + DAY, mappings=mappings)
        plain = dbnfast.encode(array, header)
        name = f"{number:02}"
        (folder / "dbn" / f"{name}.dbn.zst").write_bytes(zstd().compress(plain))
        store = dbnfast.read(plain)
        store.to_file(folder / "seekable" / f"{name}.dbn.zst", compression="zstd")
        store.to_parquet(folder / "parquet" / f"{name}.parquet")
    return sorted((folder / "dbn").iterdir())


def by_hour(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Group by symbol and hour."""
    hour = pl.col("ts_recv").cast(pl.Int64) // HOUR
    paid = pl.col("price") * pl.col("size")
    return frame.group_by("symbol", hour.alias("hour")).agg(
        pl.col("size").cast(pl.Int64).sum(), paid.sum().alias("paid")
    )


def in_pandas(paths: list[Path]) -> pd.DataFrame:
    """Group by symbol and hour, file by file, with the official package."""
    found = []
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = databento.DBNStore.from_file(path).to_df()
        frame["paid"] = frame["price"] * frame["size"]
        hour = (frame.index.as_unit("ns").asi8 // HOUR).astype("int64")
        found.append(frame.groupby(["symbol", hour])[["size", "paid"]].sum())
    return pd.concat(found)


def engines(bench: Bench) -> None:
    """Days of trades by symbol and hour, and one minute of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_days(folder)
        full_passes(bench, folder, paths)
        minutes(bench, folder)
        memory(bench, paths)


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    """Take the engine whose memory is bounded."""
    return frame.collect(engine="streaming")


def full_passes(bench: Bench, folder: Path, paths: list[Path]) -> None:
    """Measure what reads every record."""
    ours = collected(by_hour(dbnfast.scan_polars(paths))).sort("symbol", "hour")
    theirs = in_pandas(paths[:1]).sort_index()
    first = ours.filter(pl.col("hour") < (data.START + DAY) // HOUR)
    assert first["size"].to_list() == theirs["size"].to_list()
    assert np.allclose(first["paid"].to_numpy(), theirs["paid"].to_numpy())
    work = f"{DAYS} days of trades by symbol and hour"

    def scan() -> Any:
        return collected(by_hour(dbnfast.scan_polars(paths)))

    def arrays() -> None:
        for path in paths:
            databento.DBNStore.from_file(path).to_ndarray()

    few = min(bench.runs, 3)
    bench.pair(f"scan_polars, {work}", "`DBNStore.to_df` of each, pandas", 20,
               scan, lambda: in_pandas(paths), runs=few)  # fmt: skip
    bench.pair(f"scan_polars, {work}", "`DBNStore.to_ndarray` of each, nothing else", None,
               scan, arrays, runs=few)  # fmt: skip
    seekable = by_hour(dbnfast.scan_polars(folder / "seekable"))
    bench.pair(f"scan_polars, {work}, seekable", "one zstd frame for each file", None,
               lambda: collected(seekable), scan, runs=few)  # fmt: skip
    parquet = str(folder / "parquet" / "*.parquet")
    bench.pair(f"scan_polars, {work}", "`polars.scan_parquet`", None,
               scan, lambda: collected(by_hour(pl.scan_parquet(parquet))), runs=few)  # fmt: skip
    query = """select symbol, epoch_ns(ts_recv) // 3600000000000 as hour, sum(size),
               sum(price * size) from {} group by all"""
    store = dbnfast.read(paths)

    def in_duckdb() -> Any:
        trades = store.arrow_dataset()
        found = duckdb.sql(query.format("trades")).fetchall()
        del trades
        return found

    assert len(in_duckdb()) == ours.height
    bench.pair(f"arrow_dataset in DuckDB, {work}", "DuckDB on Parquet", None, in_duckdb,
               lambda: duckdb.sql(query.format(f"'{parquet}'")).fetchall(), runs=few)  # fmt: skip


def minutes(bench: Bench, folder: Path) -> None:
    """Measure one minute of one day."""
    start = datetime.datetime.fromtimestamp(data.START // 10**9, datetime.UTC)
    start += datetime.timedelta(days=DAYS // 2, hours=12)
    minute = pl.col("ts_recv").is_between(
        start, start + datetime.timedelta(minutes=1), closed="left"
    )

    def of(frame: pl.LazyFrame) -> pl.DataFrame:
        return collected(frame.filter(minute).select(pl.col("size").sum(), pl.len()))

    parquet = str(folder / "parquet" / "*.parquet")
    expected = of(pl.scan_parquet(parquet))
    for kind, words in (("dbn", "one zstd frame for each file"), ("seekable", "seekable")):
        assert of(dbnfast.scan_polars(folder / kind)).rows() == expected.rows()
        bench.pair(f"scan_polars, one minute of {DAYS} days, {words}", "`polars.scan_parquet`",
                   None, lambda kind=kind: of(dbnfast.scan_polars(folder / kind)),
                   lambda: of(pl.scan_parquet(parquet)))  # fmt: skip


PROGRAM = """
import re, sys, threading
import dbnfast, polars as pl
done, most = threading.Event(), 0

def watch():
    global most
    while not done.wait(0.005):
        with open("/proc/self/smaps_rollup") as file:
            sizes = re.findall(r"Private_\\w+: +(\\d+) kB", file.read())
        most = max(most, sum(map(int, sizes)))

watcher = threading.Thread(target=watch)
watcher.start()
hour = pl.col("ts_recv").cast(pl.Int64) // 3600000000000
paid = (pl.col("price") * pl.col("size")).sum()
frame = dbnfast.scan_polars(sys.argv[1:])
frame.group_by("symbol", hour.alias("hour")).agg(pl.col("size").sum(), paid.alias("paid")).collect(
    engine="streaming"
)
done.set()
watcher.join()
print(most)
"""


def memory(bench: Bench, paths: list[Path]) -> None:
    """Private memory of a process that groups, of few files and of many."""
    if not Path("/proc/self/smaps_rollup").exists():
        return
    counts, peaks = (len(paths) // 4, len(paths)), []
    for n in counts:
        command = [sys.executable, "-c", PROGRAM, *map(str, paths[:n])]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(round(int(done.stdout) / 1024))
    day = data.SIZES["trades"] // SHARE * dbnfast.dtype("trades").itemsize
    bench.keep("memory", what=f"scan_polars by symbol and hour, private, {counts[0]} and "
               f"{counts[1]} files", seen="process", sizes=[day * n // MIB for n in counts],
               peaks=peaks)  # fmt: skip
