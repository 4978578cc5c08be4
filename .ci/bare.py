"""
Use an installed wheel where nothing but its own dependencies is there: run by ``make wheels``.

It has to be run with ``-I``: nothing else may be found.
"""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dbnfast
from dbnfast.live.hours import MarketHours

OPTIONAL = (
    "pandas", "pyarrow", "polars", "dask", "msgspec", "pandas_market_calendars", "fsspec", "typer",
    "rich",
)  # fmt: skip


def check(holds: object, what: str) -> None:
    """Fail in an optimized interpreter too."""
    if not holds:
        raise SystemExit(f"not so: {what}")


def missing(extra: str, call: Callable[[], Any]) -> None:
    """Expect the error that names the extra."""
    try:
        call()
    except dbnfast.MissingExtraError as error:
        check(error.extra == extra, f"{error.extra!r} is {extra!r}")
        check(f"dbnfast[{extra}]" in str(error), f"{error} says how to install it")
    else:
        raise SystemExit(f"{extra}: there was no error")


def main() -> None:
    """Import, decode, write; then ask for each extra."""
    site = Path(sysconfig.get_path("platlib")).resolve()
    check(Path(dbnfast.__file__).resolve().is_relative_to(site), "the installed package is used")
    for name in OPTIONAL:
        check(find_spec(name) is None, f"{name} is not installed")
    data = (files("dbnfast.data") / "sample.dbn.zst").read_bytes()
    store = dbnfast.read(data)
    trades = store.filter("trades").to_ndarray("trades")
    check(len(trades) == 581, "all trades of the sample are read")  # of fixtures/MANIFEST.json
    packed = dbnfast.encode(trades, dbnfast.Metadata("X", schema="trades"), compression="zstd")
    check((dbnfast.decode(packed) == trades).all(), "what is written is read again")
    store.to_csv(io.BytesIO(), schema="trades")
    missing("pandas", lambda: store.start)
    missing("pandas", lambda: next(iter(store)).pretty_ts_event)
    check("2026-01-05T00:00" in repr(store), "a store is described")
    missing("pandas", lambda: store.to_df(schema="trades"))
    missing("pandas", lambda: store.to_parquet("trades.parquet", schema="trades"))
    missing("arrow", lambda: store.to_arrow("trades"))
    missing("polars", lambda: store.to_polars("trades"))
    missing("dask", lambda: dbnfast.dask.read(store, "trades"))
    missing("json", lambda: dbnfast.from_json(io.BytesIO(b"{}\n"), schema="trades"))
    missing("hours", lambda: MarketHours("GLBX.MDP3"))
    missing("remote", lambda: dbnfast.read("s3://bucket/trades.dbn.zst"))
    missing("historical", lambda: dbnfast.Historical("db-0123456789abcdefghijklmnopqrs"))
    done = subprocess.run(
        [sys.executable, "-I", "-m", "dbnfast", "demo"], capture_output=True, text=True, check=False
    )
    check(done.returncode == 2, "the command line needs its extra")
    check("dbnfast[cli]" in done.stderr, "and says so")


if __name__ == "__main__":
    main()
