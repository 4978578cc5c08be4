"""
What gcov counted in the C code of the core, as lines and branches of the Cython files.

The C code is made with marks where each Cython line begins, and compiled with gcov's counters. A
line ran where the first statement behind its mark did. A branch is a way out of a condition that
was written in Cython: `if`, `while`, `for`, `and`, `or`, a conditional expression. What Cython adds
of its own, such as the test behind each call whether an exception was raised, is none.

Line tracing tells lines and no branches, and it takes the GIL at every line of the code that runs
without it: threads that otherwise run side by side then take turns, and tests of them mean less.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coverage import CoverageData, CoveragePlugin, FileReporter

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "src" / "dbnfast" / "_core"
GENERATED = ROOT / "build" / "cython-trace" / "src" / "dbnfast" / "_core"
OBJECTS = ROOT / "build" / "objects-trace"

HEADING = re.compile(r' */\* "dbnfast/_core/(\w+\.p[yx][xd])":(\d+)$')
VALUE = r"__pyx_[tv]_\w+(?:(?:->|\.)\w+)*"
CONDITION = re.compile(
    rf"(?:\}} else )?if \((?:!|unlikely\()?{VALUE}\)+ (?:\{{|break;)$"  # raising is unlikely
    r"|for \(__pyx_t_\d+ = "
    r"|switch \(__pyx_[tv]_"
)
# The end of a list or a tuple. Cython writes a loop for each, and one for other iterables, which
# has no condition; one of them runs.
LIST_END = re.compile(r"if \(__pyx_t_\d+ >= __pyx_temp\) break;$")


@dataclass
class Line:
    """One line of a Cython file: whether it ran, and how often each way out was taken."""

    ran: bool = False
    ways: list[list[int]] = field(default_factory=list)

    def add(self, ran: bool, ways: list[list[int]]) -> None:
        # The same line from another module, or from the copy that `finally` makes.
        self.ran |= ran
        if len(ways) > len(self.ways):
            self.ways, ways = ways, self.ways
        for mine, other in zip(self.ways, ways, strict=False):
            mine[:] = [a + b for a, b in zip(mine, other, strict=True)]


@dataclass
class Segment:
    """The C code behind one mark."""

    name: str
    number: int
    first: int  # C line
    last: int
    function: int  # C line at which the function begins


def segments(code: list[str]) -> Iterator[Segment]:
    """Cut a C file into the code of each Cython line."""
    heading: tuple[str, int] | None = None
    open_: Segment | None = None
    function = 0
    for number, text in enumerate(code, 1):
        found = HEADING.match(text)
        if found or text.startswith("}"):
            if open_ is not None:
                open_.last = number - 1
                yield open_
            open_ = None
            heading = (found[1], int(found[2])) if found else None
        elif text.endswith(" {") and not text.startswith((" ", "#")):
            function = number
        elif "__Pyx_TraceLine(" in text and heading and open_ is None:
            open_ = Segment(*heading, number + 1, 0, function)


def counters(module: str) -> dict[int, dict[str, Any]]:
    """What gcov knows of a module's C code, by C line."""
    notes = [path for path in OBJECTS.rglob(f"{module}.gcno") if path.with_suffix(".gcda").exists()]
    if len(notes) != 1:
        raise SystemExit(f"gcov: {len(notes)} sets of counters of {module}, one is expected")
    command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", str(notes[0])]
    done = subprocess.run(command, cwd=OBJECTS, check=True, capture_output=True, text=True)
    for file in json.loads(done.stdout)["files"]:
        if Path(file["file"]).name == f"{module}.c":
            return {line["line_number"]: line for line in file["lines"]}
    raise SystemExit(f"gcov: nothing of {module}.c")


def ways_of(statements: list[tuple[str, list[dict[str, Any]]]]) -> list[list[int]]:
    """How often each way out of each condition was taken, in statements and their branches."""
    ways = []
    list_ends = []
    for text, branches in statements:
        counts = [branch["count"] for branch in branches]
        if counts and CONDITION.match(text):
            ways.append(counts)
        elif counts and LIST_END.match(text):
            list_ends.append(counts)
    together = [sum(counts) for counts in zip(*list_ends, strict=True)]
    return [*ways, together] if any(together) else ways


def read_module(module: str, files: dict[str, dict[int, Line]]) -> None:
    """Add what one module counted to the lines of each file that it has code of."""
    code = (GENERATED / f"{module}.c").read_text(encoding="utf-8").split("\n")
    counted = counters(module)
    emitted: set[int] = set()  # functions: an inline one that a module does not use is not compiled
    parts = list(segments(code))
    for part in parts:
        if any(number in counted for number in range(part.first, part.last + 1)):
            emitted.add(part.function)
    for part in parts:
        inside = {n: counted[n] for n in range(part.first, part.last + 1) if n in counted}
        if not inside and part.function in emitted:
            continue  # nothing to run: `pass`, or a jump that is not needed
        ran = bool(inside) and next(iter(inside.values()))["count"] > 0
        ways = ways_of([(code[n - 1].strip(), line["branches"]) for n, line in inside.items()])
        files.setdefault(part.name, {}).setdefault(part.number, Line()).add(ran, ways)


def measure() -> dict[str, dict[int, Line]]:
    """Lines of every Cython file, by its name and their number."""
    files: dict[str, dict[int, Line]] = {}
    for path in sorted(GENERATED.glob("*.c")):
        read_module(path.stem, files)
    files = {name: lines for name, lines in files.items() if (CORE / name).exists()}  # not Cython's
    for name, lines in files.items():
        check_conditions((CORE / name).read_text(encoding="utf-8").splitlines(), name, lines)
    return files


def check_conditions(source: list[str], name: str, lines: dict[int, Line]) -> None:
    """End where a condition has no ways out: then Cython writes its code in another way now."""
    for number, line in lines.items():
        text = source[number - 1].strip()
        if line.ran and not line.ways and text.startswith(("if ", "elif ", "while ")):
            raise SystemExit(f"{name}:{number}: no branch was found in the C code of {text!r}")


class CoreReporter(FileReporter):
    """A file of the core, as coverage.py asks for it; a way out is an arc to a negative line."""

    def __init__(self, path: Path, lines: dict[int, Line], excluded: set[int]) -> None:
        super().__init__(str(path))
        self._excluded = excluded & set(lines)
        self._lines = {n: line for n, line in lines.items() if n not in excluded}

    def relative_filename(self) -> str:
        return str(Path(self.filename).relative_to(ROOT))

    def lines(self) -> set[int]:
        return set(self._lines)

    def excluded_lines(self) -> set[int]:
        return self._excluded

    def arcs(self) -> set[tuple[int, int]]:
        return {arc for n, line in self._lines.items() for arc in ways_out(n, line)}

    def exit_counts(self) -> dict[int, int]:
        return {n: sum(map(len, line.ways)) for n, line in self._lines.items() if line.ways}

    def missing_arc_description(
        self, start: int, end: int, executed_arcs: Iterable[tuple[int, int]] | None = None
    ) -> str:
        # All that the line misses, whichever way is asked for: a page shows one text for a line.
        taken, way = set(executed_arcs or ()), 0
        missing = []
        conditions = self._lines[start].ways
        for k, counts in enumerate(conditions, 1):
            names = ("true", "false") if len(counts) == 2 else range(1, len(counts) + 1)
            for name in names:
                way += 1
                if (start, -way) not in taken:
                    missing.append(f"condition {k} of {len(conditions)} was never {name}")
        return f"line {start}: " + ", ".join(missing)

    def source_token_lines(self) -> Iterator[list[tuple[str, str]]]:
        for text in self.source().splitlines():
            yield [("txt", text)]


def ways_out(number: int, line: Line) -> dict[tuple[int, int], int]:
    """Every way out of a line as an arc, and how often it was taken."""
    counts = [count for way in line.ways for count in way]
    return {(number, -k): count for k, count in enumerate(counts, 1)}


class CorePlugin(CoveragePlugin):
    """Tells coverage.py of the core's files, with what gcov counted."""

    NAME = "cython_coverage.CorePlugin"

    def __init__(self) -> None:
        self.files = {str(CORE / name): lines for name, lines in measure().items()}
        self._exclude = re.compile("(?!)")  # nothing, until coverage.py has told

    def configure(self, config: Any) -> None:
        patterns = [*config.get_option("report:exclude_lines")]
        self._exclude = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))

    def file_reporter(self, filename: str) -> FileReporter:
        excluded = self._excluded(Path(filename).read_text(encoding="utf-8").splitlines())
        return CoreReporter(Path(filename), self.files[filename], excluded)

    def _excluded(self, lines: list[str]) -> set[int]:
        # as in Python: a line that ends with a colon takes with it what is indented further
        found: set[int] = set()
        outside: int | None = None
        for number, text in enumerate(lines, 1):
            indent = len(text) - len(text.lstrip())
            if outside is not None and text.strip() and indent <= outside:
                outside = None
            if outside is not None:
                found.add(number)
            elif self._exclude.search(text):
                found.add(number)
                outside = indent if text.split("#")[0].rstrip().endswith(":") else None
        return found

    def fill(self, data: CoverageData) -> None:
        """Put what gcov counted beside what coverage.py did."""
        arcs: dict[str, set[tuple[int, int]]] = {}
        for name, lines in self.files.items():
            arcs[name] = {(-1, n) for n, line in lines.items() if line.ran}
            for n, line in lines.items():
                arcs[name] |= {arc for arc, count in ways_out(n, line).items() if count}
        data.add_arcs(arcs)
        data.add_file_tracers(dict.fromkeys(arcs, self.NAME))
