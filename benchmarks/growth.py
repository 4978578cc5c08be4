"""Cost as the input grows: time and peak memory of whole processes, each with one road."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data
import dbnfast
from growth_side import OUT, ROADS
from measure import say, shortened

if TYPE_CHECKING:
    from measure import Bench

MB = 10**6
SIZES = (MB, 10 * MB, 100 * MB, 500 * MB, 2000 * MB)
SMOKE_SIZES = (MB // 4, MB)
RUNS = 5  # of each, where a run is short
SHORT = 1.0  # s: what is expected to take longer is run once
LONGEST = 20.0  # s: what is expected to take longer is left out
SHARE = 0.4  # of the memory that is free: what is expected to take more is left out
UNIT = 20_000  # records that the file repeats


def growth(bench: Bench) -> None:
    """One file of MBO after the other, each twice or more the one before."""
    part = data.records("mbo", UNIT)
    head, block = data.metadata("mbo").encode(), part.tobytes()
    before: dict[str, dict[str, Any]] = {}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        small, path = Path(folder) / "small.dbn", Path(folder) / "input.dbn"
        for size in SMOKE_SIZES if bench.smoke else SIZES:
            fill(path, head, block, size)
            if not small.exists():
                fill(small, head, block, size)
            for road in ROADS:
                found = measured(road, path, small, before.get(road), bench)
                bench.keep("growth", road=road, size=path.stat().st_size, **found)
                say(f"growth: {road} of {size / MB:g} MB: {found}")
                if "left_out" not in found:
                    before[road] = {**found, "size": path.stat().st_size}
                if "error" in found:
                    failed.append(f"{road} of {size / MB:g} MB: {found['error']}")
    if failed:
        raise RuntimeError("; ".join(failed))


def fill(path: Path, head: bytes, block: bytes, size: int) -> None:
    """Write a file of whole records, of about this size."""
    record = dbnfast.dtype("mbo").itemsize
    left = max(1, (size - len(head)) // record) * record
    with path.open("wb") as file:
        file.write(head)
        while left > 0:
            left -= file.write(block[:left])


def measured(
    road: str, path: Path, small: Path, before: dict[str, Any] | None, bench: Bench
) -> dict[str, Any]:
    """Run a road in a process of its own, or say why not."""
    runs = 1 if bench.smoke else RUNS
    if before is not None:
        if "seconds" not in before:
            return {"left_out": "failed before"}
        factor = path.stat().st_size / before["size"]
        seconds = min(before["seconds"]) * factor
        bytes_ = (before["peak"] - before["base"]) * factor
        if seconds > LONGEST and not bench.smoke:
            return {"left_out": f"time: about {seconds:.0f} s expected"}
        if bytes_ > SHARE * free():
            return {"left_out": f"memory: about {bytes_ / 1e9:.1f} GB expected"}
        runs = runs if seconds < SHORT else 1
    command = [sys.executable, str(Path(__file__).with_name("growth_side.py"))]
    try:
        done = subprocess.run(
            [*command, road, str(path), str(small), str(runs)],
            check=True, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": "took too long"}
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines() or [f"ended with {error.returncode}"]
        return {"error": last[-1][:200]}
    finally:
        Path(str(path) + OUT).unlink(missing_ok=True)
        Path(str(small) + OUT).unlink(missing_ok=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "seconds": shortened(found["seconds"])}


def free() -> float:
    """Tell how much memory is free, or may be freed."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return float("inf")
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024.0
