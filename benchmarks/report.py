"""
Write the report of the benchmarks: docs/benchmarks.md, its plots, README.md's table.

``make bench-report`` measures everything and writes it. ``REPORT="--from FILE"`` writes it again
from what was measured; with ``--only GROUPS`` these are measured again first. ``REPORT=--smoke``
does all of it on little data, into build/. It ends with 1 where a group failed; what was found
is written all the same.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import measure
import tables
from measure import Row

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_name("report.md")
RESULTS = Path(__file__).with_name("results.json")
BUILD = ROOT / "build"
# headings of the template, and what is measured for them
SECTIONS = {
    "decode": ("decode", "split"),
    "feed": ("feed",),
    "objects": ("objects", "loops"),
    "zstd": ("decompress",),
    "encode": ("encode",),
    "roads": ("roads",),
    "frames": ("frames", "arrow"),
    "parquet": ("parquet",),
    "text": ("text", "text_back"),
    "range": ("time_range",),
    "clusters": ("dask",),
    "remote": ("object_storage",),
    "symbols": ("symbols",),
    "engines": ("engines",),
    "live": ("live",),
    "latency": ("latency",),
    "imports": ("import_time",),
}
OTHERS = ("records", "memory", "converters_memory", "growth")  # groups that have no rows


def page(found: dict[str, Any], alts: dict[str, str]) -> str:
    """Write the whole page."""
    words = {
        **settings(found),
        **{f"rows_{name}": tables.of_groups(found, *of) for name, of in SECTIONS.items()},
        "smoke": f"\n{tables.SMOKE}\n" if found["smoke"] else "",
        "machine": tables.machine(found),
        "dates": dates(found),
        "failures": failures(found),
        "targets": targets(found),
        "throughput": tables.throughput(found),
        "growth_time": tables.growth_time(found),
        "growth_memory": tables.growth_memory(found),
        "latency": tables.latency(found),
        "memory": tables.memory(found),
        "objects": tables.objects(found),
        "objects_short": tables.objects_short(found),
        **{f"plot_{name}": shown(name, alts) for name in PLOTS},
    }
    return string.Template(TEMPLATE.read_text("utf-8")).substitute(words)


PLOTS = ("throughput", "ratios", "growth", "latency", "percentiles")


def shown(name: str, alts: dict[str, str]) -> str:
    """Write the link to a plot, or why there is none."""
    return tables.plot(name, alts[name], "plots") if name in alts else tables.MISSING


def settings(found: dict[str, Any]) -> dict[str, str]:
    """Give the numbers of the method as text."""
    given = found["settings"]
    sizes = {f"n_{name.replace('-', '')}": n for name, n in given["sizes"].items()}
    numbers = {k: v for k, v in given.items() if isinstance(v, int | float)}
    share = f"{given['growth_share']:.0%}"
    written = {k: f"{v:,}" if isinstance(v, int) else f"{v:g}" for k, v in numbers.items()}
    return {**written, **{k: f"{n:,}" for k, n in sizes.items()}, "growth_share": share}


def dates(found: dict[str, Any]) -> str:
    """Say when it was measured, how long it took and how busy the machine was."""
    groups = found["groups"].values()
    if not groups:
        return "no group was run"
    days = sorted({about["date"] for about in groups})
    loads = [about["load"] for about in groups if about["load"] is not None]
    minutes = sum(about["seconds"] for about in groups) / 60
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    busy = (
        f", while the system's load was {min(loads):g} to {max(loads):g} at the groups' beginnings"
        if loads
        else ""
    )
    return f"{when}, in {minutes:.1f} minutes{busy}"


def failures(found: dict[str, Any]) -> str:
    """Say which groups failed, and which were not run."""
    known = [group for groups in SECTIONS.values() for group in groups] + list(OTHERS)
    lines = [
        f"* **`{name}` failed**: {escaped(found['groups'][name]['error'])}"
        for name in known
        if "error" in found["groups"].get(name, {})
    ]
    lines += [f"* `{name}` was not run" for name in known if name not in found["groups"]]
    return "\n".join(lines) or "No group failed, none was left out."


def escaped(text: str) -> str:
    """Write a text of others so that Markdown shows it as it is."""
    return f"`{text.replace('`', chr(39))}`"


def targets(found: dict[str, Any]) -> str:
    """Say how many targets are met, and name those that are not."""
    with_target = [row for row in tables.rows(found) if row.met is not None]
    missed = [row for row in with_target if not row.met]
    if not with_target:
        return tables.MISSING
    lines = [
        f"{len(with_target)} rows have a target; {len(with_target) - len(missed)} meet it, "
        f"{len(missed)} {'does' if len(missed) == 1 else 'do'} not{':' if missed else '.'}"
    ]
    return "\n".join([*lines, "", *map(miss, missed)]) if missed else lines[0]


def miss(row: Row) -> str:
    """Say by how much a row misses its target."""
    said = f"* {row.work}, against {row.peer}: {tables.times(row.ratio)}"
    wanted = f"the target is {tables.target(row)}"
    if row.target is None:
        return f"{said}; dbnfast takes {tables.spread(row.ours)}, {wanted}"
    low, high = row.spread
    inside = "some runs reach it" if high >= row.target else "no run reaches it"
    return f"{said} ({tables.times(low)} to {tables.times(high)}), {wanted}; {inside}"


def write(found: dict[str, Any], out: Path | None) -> list[Path]:
    """Write everything: into the tree, or into a folder."""
    docs = ROOT / "docs" if out is None else out
    alts = import_module("plots").draw(found, docs / "plots")
    docs.mkdir(parents=True, exist_ok=True)
    # the lines are those of Linux everywhere, for they are compared
    readme = tables.in_readme((ROOT / "README.md").read_text("utf-8"), found)
    files = {
        docs / "benchmarks.md": page(found, alts),
        (ROOT if out is None else out) / "README.md": readme,
        (RESULTS if out is None else out / RESULTS.name): measure.dumped(found),
    }
    for path, text in files.items():
        path.write_text(text, "utf-8", newline="\n")
    return [*files, *(docs / "plots" / f"{name}.svg" for name in alts)]


def load(path: Path) -> dict[str, Any]:
    """Read a document."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if found.get("format") != measure.FORMAT:
        raise SystemExit(f"{path}: format {found.get('format')}, expected {measure.FORMAT}")
    return found


def measured(chosen: argparse.Namespace, compare: Any) -> dict[str, Any]:
    """Measure, and keep what there is after each group."""
    path = BUILD / ("bench-smoke.json" if chosen.smoke else "bench.json")
    older = load(chosen.given) if chosen.given else None
    path.parent.mkdir(exist_ok=True)

    def whole(found: dict[str, Any]) -> dict[str, Any]:
        return found if older is None else measure.merged(older, found)

    def kept(found: dict[str, Any]) -> None:
        path.write_text(measure.dumped(whole(found)), "utf-8", newline="\n")

    return whole(compare.measure(chosen.only, chosen.runs, chosen.smoke, kept))


def main(argv: list[str] | None = None) -> int:
    """Measure or read, then write; exit with 1 where a group failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="given", type=Path, help="what was measured before")
    parser.add_argument("--out", type=Path, help="folder to write to, instead of into the tree")
    given, rest = parser.parse_known_args(argv)
    start = time.monotonic()
    if given.given and not rest:
        found, out = load(given.given), given.out
    else:
        compare: Any = import_module("compare")
        compare.options(parser)
        chosen = parser.parse_args(argv)
        if chosen.only and not (chosen.given or chosen.out or chosen.smoke):
            parser.error("--only would leave the rest out of the report: add --from or --out")
        out = chosen.out or (BUILD / "bench-smoke" if chosen.smoke else None)
        try:
            found = measured(chosen, compare)
        except measure.NotAlikeError as error:
            parser.error(str(error))
    for path in write(found, out):
        print(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    measure.say(f"took {time.monotonic() - start:.0f} s")
    failed = [name for name, about in found["groups"].items() if "error" in about]
    if failed:
        measure.say(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
