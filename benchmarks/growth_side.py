"""
One road of a file that grows, in a process of its own.

``ROAD PATH SMALL RUNS`` takes a small file first, so that what is imported on the way counts as
no time, then PATH, and prints as JSON: the seconds of each run, and the peak memory of the
process in bytes, `base` before PATH and `peak` after.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

OUT = ".out"  # behind the name of the input
Take = Callable[[str], Any]


def peak() -> int:
    """Peak memory of this process; getrusage tells, of a child on Linux, also the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        assert found is not None
        return int(found[1]) * 1024
    resource: Any = import_module("resource")
    used = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return used if sys.platform == "darwin" else used * 1024


def decode(path: str) -> int:
    """Map the file and decode it."""
    numpy, dbnfast = import_module("numpy"), import_module("dbnfast")
    return len(dbnfast.decode(numpy.memmap(path, numpy.uint8, "r")))


def iter_decode(path: str) -> int:
    """Read the file in blocks."""
    dbnfast = import_module("dbnfast")
    n = 0
    with dbnfast.iter_decode(path) as blocks:
        for records in blocks:
            n += len(records.array())
    return n


def to_csv(path: str) -> None:
    """Write text that nobody keeps; a path would be replaced by a file."""
    with open(os.devnull, "wb") as sink:
        import_module("dbnfast").read(path).to_csv(sink)


def store(name: str, *, file: bool = False) -> Take:
    """Give an output of our store, to a file that replaces the one before or to memory."""

    def take(path: str) -> Any:
        made = getattr(import_module("dbnfast").read(path), name)
        return made(path + OUT) if file else made()

    return take


def official(name: str, *, file: bool = False, sink: bool = False) -> Take:
    """Give the same output of the official store; `sink`: to where nobody keeps it."""

    def take(path: str) -> Any:
        made = getattr(import_module("databento").DBNStore.from_file(path), name)
        if sink:
            return made(os.devnull)
        return made(path + OUT) if file else made()

    return take


ROADS: dict[str, Take] = {
    "decode, mapped": decode,
    "iter_decode": iter_decode,
    "to_df": store("to_df"),
    "to_parquet": store("to_parquet", file=True),
    "to_csv": to_csv,
    "databento to_ndarray": official("to_ndarray"),
    "databento to_df": official("to_df"),
    "databento to_parquet": official("to_parquet", file=True),
    "databento to_csv": official("to_csv", sink=True),
}


def main(road: str, path: str, small: str, n_runs: str) -> None:
    """Take the road and tell."""
    warnings.simplefilter("ignore")  # the official package's, of what a later pandas will not have
    take = ROADS[road]
    take(small)
    base, seconds = peak(), []
    for _ in range(int(n_runs)):
        gc.collect()
        start = time.perf_counter()
        made = take(path)
        seconds.append(time.perf_counter() - start)
        del made
    print(json.dumps({"seconds": seconds, "base": base, "peak": peak()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
