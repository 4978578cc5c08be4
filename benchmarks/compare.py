"""
Measure dbnfast against its peers, side by side in one process.

``make bench`` prints a table; every row is a ratio of medians over alternating runs, so that a
machine whose speed drifts does not favour a side. ``--smoke`` runs everything once, on little
data, to see that it works; ``--json FILE`` keeps every run. `report.py` writes what is shown of
them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import compare_codec
import compare_dask
import compare_engines
import compare_live
import compare_records
import compare_remote
import compare_store
import data
import growth
import live_side
import tables
from measure import MIB, PIECE, Bench, document, dumped, say

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLER = 50  # times less data in a smoke run
GROUPS: tuple[Callable[[Bench], None], ...] = (
    compare_codec.decode, compare_codec.split, compare_codec.feed, compare_codec.objects,
    compare_records.loops, compare_records.records,
    compare_codec.decompress, compare_codec.encode, compare_codec.roads,
    compare_store.frames, compare_store.arrow, compare_store.parquet, compare_store.text,
    compare_store.text_back, compare_store.time_range, compare_remote.object_storage,
    compare_store.symbols, compare_engines.engines, compare_dask.dask,
    compare_live.live, compare_live.latency,
    compare_codec.import_time, compare_codec.memory, compare_store.converters_memory,
    growth.growth,
)  # fmt: skip


def settings(bench: Bench) -> dict[str, Any]:
    """Say what the method leaves open, for whoever writes of it."""
    return {
        "runs": bench.runs,
        "runs_slow": min(bench.runs, 3),
        "sizes": dict(data.SIZES),
        "mixed": data.MIXED,
        "piece_kib": PIECE >> 10,
        "from_memory_mib": compare_codec.FROM_MEMORY // MIB,
        "step_mib": compare_codec.STEP // MIB,
        "market": live_side.MARKET,
        "unsteady": live_side.UNSTEADY,
        "seconds": compare_live.seconds_of(compare_live.SLOW, bench),
        "seconds_slow": compare_live.seconds_of(compare_live.SLOW - 1, bench),
        "slow": compare_live.SLOW,
        "percentiles": list(compare_live.PERCENTILES),
        "growth_runs": 1 if bench.smoke else growth.RUNS,
        "growth_short": growth.SHORT,
        "growth_longest": growth.LONGEST,
        "growth_share": growth.SHARE,
    }


def measure(
    names: set[str] | None, runs: int, smoke: bool, kept: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run groups, all or those named; `kept` gets what there is, before and after each."""
    if smoke:
        data.shrink(SMALLER)
    bench = Bench(1 if smoke else runs, smoke, lambda row: print(tables.line(row), flush=True))
    kept(document(bench, settings(bench)))  # what cannot be kept is known before it is measured
    print(tables.HEAD)
    for group in GROUPS:
        if names is None or group.__name__ in names:
            if not bench.run(group):
                say(f"{group.__name__} failed: {bench.groups[group.__name__]['error']}")
            data.stream.cache_clear()
            data.mixed.cache_clear()
            kept(document(bench, settings(bench)))
    return document(bench, settings(bench))


def options(parser: argparse.ArgumentParser) -> None:
    """Add what says how to measure."""
    parser.add_argument("--smoke", action="store_true", help="little data, one run")
    parser.add_argument("--runs", type=int, default=7, help="runs of each side")
    parser.add_argument("--only", type=groups_of, help="names of groups, separated by commas")


def groups_of(text: str) -> set[str]:
    """Read names of groups."""
    names = set(text.split(","))
    if unknown := names - {group.__name__ for group in GROUPS}:
        known = ", ".join(group.__name__ for group in GROUPS)
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {known}")
    return names


def main(argv: list[str] | None = None) -> int:
    """Measure and print the table; exit with 0 whatever it says, with 1 where a group failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    options(parser)
    parser.add_argument("--json", type=Path, help="write every run to this file")
    chosen = parser.parse_args(argv)

    def kept(found: dict[str, Any]) -> None:
        if chosen.json:
            chosen.json.write_text(dumped(found))

    found = measure(chosen.only, chosen.runs, chosen.smoke, kept)
    print(f"\n{tables.memory(found)}\n\nMeasured on: {tables.machine(found)}.")
    return int(any("error" in about for about in found["groups"].values()))


if __name__ == "__main__":
    sys.exit(main())
