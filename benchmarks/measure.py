"""Pairs of measurements: run in turn, every run kept, gathered into one document."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FORMAT = 1  # of the document; report.py reads this one only
MIB = 1 << 20
PIECE = 64 << 10
DIGITS = 4  # that a time is kept with; fewer than its noise hides
PACKAGES = ("dbnfast", "databento", "databento-dbn", "numpy", "pandas", "pyarrow", "msgspec")
KINDS = ("rows", "memory", "growth", "latency", "objects", "kinds")


@dataclass(frozen=True)
class Road:
    """A way that records take, and how much takes it in one run."""

    name: str
    records: int
    size: int  # bytes of DBN, decompressed
    official: bool = True  # whether the peer of the row is the official package


@dataclass
class Row:
    """
    Two sides of one work: a time in seconds for each run.

    At most one of `target`, `most` and `more` is given: the least that the ratio peer / dbnfast
    may be, the longest that dbnfast may take, how much longer than its peer it may take.
    """

    group: str
    work: str
    peer: str
    ours: list[float]
    theirs: list[float]
    target: float | None = None
    most: float | None = None
    more: float | None = None
    road: Road | None = None

    @property
    def ratio(self) -> float:
        """The ratio of medians: above 1, dbnfast is faster."""
        return statistics.median(self.theirs) / statistics.median(self.ours)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of two runs that followed each other."""
        ratios = [b / a for a, b in zip(self.ours, self.theirs, strict=True)]
        return min(ratios), max(ratios)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        ours, theirs = map(statistics.median, (self.ours, self.theirs))
        if self.target is not None:
            return self.ratio >= self.target
        if self.most is not None:
            return ours <= self.most
        return None if self.more is None else ours - theirs <= self.more

    @classmethod
    def of(cls, found: dict[str, Any]) -> Row:
        """Read what `document` wrote."""
        road = found.get("road")
        return cls(**{**found, "road": None if road is None else Road(**road)})


class NotAlikeError(ValueError):
    """Measurements that do not belong into one document."""


class Bench:
    """Run groups of measurements and keep what they find."""

    def __init__(self, runs: int, smoke: bool = False, show: Callable[[Row], None] = print) -> None:
        self.runs = runs
        self.smoke = smoke
        self.group = ""
        self.groups: dict[str, dict[str, Any]] = {}
        self.found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        self._show = show

    def run(self, group: Callable[[Bench], None]) -> bool:
        """Run a group; whether nothing was raised. What it found before that is kept."""
        self.group = group.__name__
        about = self.groups[self.group] = {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        }
        start = time.perf_counter()
        try:
            group(self)
        except Exception as error:
            traceback.print_exc()
            text = " ".join(str(error).split())[:200]
            about["error"] = f"{type(error).__name__}: {text}"
        about["seconds"] = round(time.perf_counter() - start, 1)
        return "error" not in about

    def pair(
        self,
        work: str,
        peer: str,
        target: float | None,
        ours: Callable[[], Any],
        theirs: Callable[[], Any],
        runs: int | None = None,
        **about: Any,
    ) -> Row:
        """Measure both sides in turn, after one run of each that does not count."""
        times: tuple[list[float], list[float]] = ([], [])
        ours(), theirs()
        for _ in range(min(runs or self.runs, self.runs) if self.smoke else runs or self.runs):
            for side, call in zip(times, (ours, theirs), strict=True):
                gc.collect()
                start = time.perf_counter()
                call()
                side.append(time.perf_counter() - start)
        return self.compared(work, peer, target, *times, **about)

    def compared(
        self,
        work: str,
        peer: str,
        target: float | None,
        ours: list[float],
        theirs: list[float],
        **about: Any,
    ) -> Row:
        """Keep the times of both sides, and show them."""
        row = Row(self.group, work, peer, shortened(ours), shortened(theirs), target, **about)
        self.keep("rows", **{k: v for k, v in asdict(row).items() if v is not None})
        self._show(row)
        return row

    def keep(self, kind: str, **what: Any) -> None:
        """Keep something else that was found."""
        self.found[kind].append({"group": self.group, **what})


def shortened(values: Iterable[float]) -> list[float]:
    """Round to as many digits as are kept."""
    return [float(f"{value:.{DIGITS}g}") for value in values]


def document(bench: Bench, settings: dict[str, Any]) -> dict[str, Any]:
    """Put everything into one document."""
    return {
        "format": FORMAT,
        "smoke": bench.smoke,
        "machine": machine(),
        "settings": settings,
        "groups": bench.groups,
        **bench.found,
    }


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Put groups that were measured again in the place of their older selves."""
    if any(old[name] != new[name] for name in ("format", "smoke", "machine", "settings")):
        raise NotAlikeError("the older measurements are of another machine, or of other settings")
    lists = {}
    for kind in KINDS:
        before, after = old.get(kind, []), new.get(kind, [])
        again = {group: [x for x in after if x["group"] == group] for group in new["groups"]}
        order = list(dict.fromkeys([x["group"] for x in before] + list(again)))
        kept = {group: [x for x in before if x["group"] == group] for group in order}
        lists[kind] = [x for group in order for x in again.get(group, kept[group])]
    return {**old, "groups": {**old["groups"], **new["groups"]}, **lists}


def dumped(found: dict[str, Any]) -> str:
    """Write a document as JSON, each measurement on a line of its own."""
    parts = []
    for name, value in found.items():
        if name in KINDS:
            lines = ",\n".join("  " + json.dumps(one) for one in value)
            parts.append(f' "{name}": [\n{lines}\n ]' if value else f' "{name}": []')
        else:
            parts.append(f' "{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def machine() -> dict[str, Any]:
    """Say what the numbers are measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": memory,
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": dict(filter(None, map(_version, PACKAGES))),
    }


def _version(name: str) -> tuple[str, str] | None:
    try:
        return name, version(name)
    except PackageNotFoundError:
        return None


def say(text: str) -> None:
    """Tell whoever waits what is under way."""
    print(text, file=sys.stderr, flush=True)
