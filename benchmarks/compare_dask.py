"""Rows of the benchmark for clusters: many files, on processes that are there already."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import databento
import numpy as np
import pandas as pd

import data
import dbnfast
from measure import say

if TYPE_CHECKING:
    from measure import Bench

DAYS = 16
DAY = 86_400 * 10**9  # ns
WORKERS = 2
SHARE = 8  # of the trades of other rows, a day's


def dask(bench: Bench) -> None:
    """Files of a day each, grouped by symbol and hour."""
    try:
        import distributed  # noqa: PLC0415
    except ImportError:
        say("dask: left out, since dask and distributed are not installed")
        return
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cluster, and of the official frames
        paths = days(Path(folder), DAYS)
        cluster = distributed.LocalCluster(
            host="127.0.0.1", n_workers=WORKERS, threads_per_worker=1, dashboard_address=None,
            worker_dashboard_address=None, silence_logs=50,
        )  # fmt: skip
        with cluster, distributed.Client(cluster):
            found, wanted = ours(paths), theirs(paths)
            if not found.sort_index().equals(wanted.sort_index()):
                raise ValueError("the sums are not those of the official frames")
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(min(bench.runs, 5)):
                for side, call in zip(times, (ours, theirs), strict=True):
                    began = time.perf_counter()
                    call(paths)
                    side.append(time.perf_counter() - began)
            bench.compared(
                f"{DAYS} days of {data.SIZES['trades'] // SHARE:,} trades as .dbn.zst, by symbol "
                f"and hour: `dask.read`, {WORKERS} workers",
                "`DBNStore.to_df` for each file, then pandas", 15, *times,
            )  # fmt: skip


def days(folder: Path, n: int) -> list[Path]:
    """Write a file of one zstd frame for each day; all have the trades of one stream."""
    paths = []
    size = data.SIZES["trades"] // SHARE
    for number in range(n):
        trades = data.records("trades", size, seed=number).copy()
        for name in ("ts_recv", "ts_event"):
            # spread over the day, in order
            trades[name] = data.START + number * DAY + np.arange(size) * (DAY // size)
        header = data.metadata("trades")
        first = np.datetime64("2026-01-01").astype(object)
        last = np.datetime64("2026-02-01").astype(object)
        mappings = {
            name: [{"start_date": first, "end_date": last, "symbol": rows[0]["symbol"]}]
            for name, rows in header.mappings.items()
        }
        start = data.START + number * DAY
        header = header.replace(start=start, end=start + DAY, mappings=mappings)
        path = folder / f"{number:02}.dbn.zst"
        path.write_bytes(dbnfast.encode(trades, header, compression="zstd"))
        paths.append(path)
    return paths


def ours(paths: list[Path]) -> Any:
    """Group on the workers; there are few groups, so nothing is shuffled."""
    frame = dbnfast.dask.read(paths)
    keys = [frame.symbol, frame.ts_recv.dt.floor("h")]
    sums = frame.groupby(keys, observed=True)["size"].sum(split_out=1)
    return plain(sums.optimize().compute())  # as one task for each part


def theirs(paths: list[Path]) -> Any:
    """Group a file after the other."""
    sums = []
    for path in paths:
        frame = databento.DBNStore.from_file(path).to_df()
        sums.append(frame.groupby(["symbol", frame.index.floor("h")])["size"].sum())
    return plain(pd.concat(sums).groupby(level=[0, 1]).sum())


def plain(sums: Any) -> Any:
    """Give sums by symbol and hour, whatever the types of these."""
    names = [str(symbol) for symbol in sums.index.get_level_values(0)]
    hours = sums.index.get_level_values(1).asi8
    return pd.Series(sums.to_numpy(np.uint64), index=[names, hours])
