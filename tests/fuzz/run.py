"""
Fuzz targets, two at a time, and print what came of it: ``make fuzz``.

Each target runs in a process of its own, under libFuzzer with AddressSanitizer and
UndefinedBehaviorSanitizer. What it learns stays in ``build/fuzz/corpus``, and the next run goes on
from there. A failed property, an error of memory, a hang or a growth of memory is a finding: it
ends the target, and its input is kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fuzz import seeds, targets

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "fuzz"
SITE = ROOT / "build" / "site-fuzz"
TIMEOUT = 20  # s for one input
RSS_MB = 3000
MALLOC_MB = 800  # of one allocation: a header may be of 512 MiB
# short stacks of allocations and a small quarantine: else this takes three times as long
ASAN = "detect_leaks=0:allocator_may_return_null=1:malloc_context_size=3:quarantine_size_mb=32"
KERNEL = re.compile(r"__pyx_(?:f|pf|pw)_\w*?5_core_\d+(\w+)")


@dataclass
class Outcome:
    """What came of one target."""

    name: str
    executions: int = 0
    speed: int = 0
    edges: int = 0
    corpus: int = 0
    counters: int = 0  # of the compiled core
    found: list[Path] = field(default_factory=list)
    failed: str = ""
    covered: Counter[str] = field(default_factory=Counter)  # functions of the core, by module
    missed: Counter[str] = field(default_factory=Counter)


def preload() -> str:
    """
    The libraries to load before all: libFuzzer with the sanitizers, and the mutations' entry.

    libFuzzer looks for the latter when it is loaded itself, and does without if it comes later.
    """
    spec = importlib.util.find_spec("atheris")
    if spec is None or spec.origin is None:
        raise SystemExit("make fuzz: atheris is not installed; it has no wheel for this Python")
    folder = Path(spec.origin).parent
    (entry,) = folder.glob("custom_mutator.*.so")
    return f"{folder.parent / 'asan_with_fuzzer.so'} {entry}"


def prepare(name: str) -> tuple[Path, Path, Path]:
    """Write the seeds and the dictionary; the folders of a target."""
    corpus, start, artifacts = (WORK / kind / name for kind in ("corpus", "seeds", "findings"))
    for folder in (corpus, start, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    target = targets.load(name)
    for old in start.iterdir():
        old.unlink()
    inputs = [*target.seeds(), *(path.read_bytes() for path in seeds.findings(name))]
    for i, data in enumerate(inputs):
        (start / f"{i:04}").write_bytes(data)
    words = getattr(target, "DICTIONARY", (b"\xff" * 8,))
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in words)
    (WORK / f"{name}.dict").write_text("".join(f'"{word}"\n' for word in quoted))
    return corpus, start, artifacts


def command(name: str, seconds: int, coverage: bool) -> list[str]:
    """What runs a target."""
    corpus, start, artifacts = prepare(name)
    return [
        sys.executable,
        "-m",
        "fuzz.drive",
        name,
        f"-max_total_time={seconds}",
        f"-max_len={targets.load(name).MAX_LEN}",
        f"-timeout={TIMEOUT}",
        f"-rss_limit_mb={RSS_MB}",
        f"-malloc_limit_mb={MALLOC_MB}",
        f"-dict={WORK / f'{name}.dict'}",
        f"-artifact_prefix={artifacts}/",
        f"-print_coverage={int(coverage)}",
        "-print_final_stats=1",
        "-detect_leaks=0",  # what Python keeps is no leak, and looking for it doubles the time
        "-len_control=0",
        "-reload=0",
        str(corpus),
        str(start),
    ]


def environment() -> dict[str, str]:
    """Have the instrumented build be found first, and the runtime before all."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(SITE), str(ROOT / "tests"))),
        "PYTHONMALLOC": "malloc",  # so that AddressSanitizer sees small objects too
        "LD_PRELOAD": preload(),
        "ASAN_OPTIONS": ASAN,
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def run(name: str, seconds: int, coverage: bool) -> Outcome:
    """Run a target to its end."""
    log = WORK / f"{name}.log"
    args = command(name, seconds, coverage)
    before = set((WORK / "findings" / name).iterdir())
    with log.open("wb") as out:
        code = subprocess.run(args, env=environment(), stdout=out, stderr=out, check=False)
    outcome = told(name, log.read_text("utf-8", "replace"))
    outcome.found = sorted(set((WORK / "findings" / name).iterdir()) - before)
    if code.returncode and not outcome.found:
        outcome.failed = f"ended with {code.returncode}, see {log.relative_to(ROOT)}"
    elif not outcome.executions and not outcome.found:
        outcome.failed = f"nothing was run, see {log.relative_to(ROOT)}"
    elif not outcome.counters:
        outcome.failed = "the compiled core was not instrumented"
    return outcome


def told(name: str, text: str) -> Outcome:
    """Read libFuzzer's output."""

    def last(pattern: str) -> int:
        found = re.findall(pattern, text)
        return int(found[-1]) if found else 0

    return Outcome(
        name,
        executions=last(r"stat::number_of_executed_units:\s*(\d+)") or last(r"(?m)^#(\d+)\t"),
        speed=last(r"stat::average_exec_per_sec:\s*(\d+)") or last(r"exec/s: (\d+)"),
        edges=last(r" cov: (\d+) "),
        corpus=last(r" corp: (\d+)/"),
        counters=last(r"INFO: Loaded \d+ modules\s+\((\d+) inline 8-bit counters\)"),
        covered=functions(text, r"(?m)^COVERED_FUNC: .*"),
        missed=functions(text, r"(?m)^UNCOVERED_FUNC: .*"),
    )


def functions(text: str, pattern: str) -> Counter[str]:
    """Count the core's functions by module, of lines that `-print_coverage` prints."""
    found: Counter[str] = Counter()
    for line in re.findall(pattern, text):
        match = KERNEL.search(line)
        path = re.search(r"_core/(\w+)\.c", line)
        if match and path:
            found[path[1]] += 1
    return found


HEADER = f"{'target':<12}{'executions':>11}{'exec/s':>8}{'edges':>8}{'corpus':>8}  findings"


def lines_of(o: Outcome) -> Iterator[str]:
    """An outcome as it is printed: a row, then what was found, then what was reached."""
    row = f"{o.name:<12}{o.executions:>11,}{o.speed:>8,}{o.edges:>8,}{o.corpus:>8,}"
    yield f"{row}  {o.failed or len(o.found)}"
    for path in o.found:
        yield f"    {path}"
    if o.covered:
        reached = (f"{name} {n}/{n + o.missed[name]}" for name, n in sorted(o.covered.items()))
        yield f"    functions of the core: {', '.join(reached)}"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("targets", nargs="*", default=[], help="all where none is named")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--coverage", action="store_true", help="the core's functions reached")
    given = parser.parse_args()
    for name in given.targets:
        targets.load(name)
    return given


def main() -> int:
    """Run what was asked for; 1 where there is a finding."""
    given = arguments()
    names = given.targets or list(targets.NAMES)
    preload()
    WORK.mkdir(parents=True, exist_ok=True)
    print(HEADER, flush=True)
    bad, counters = 0, 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(lambda name: run(name, given.seconds, given.coverage), names):
            print("\n".join(lines_of(outcome)), flush=True)
            bad += bool(outcome.found or outcome.failed)
            counters = max(counters, outcome.counters)
    print(f"{counters:,} counters in the compiled core; the edges reached are Python's too")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
