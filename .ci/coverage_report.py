"""
One report on the Python and the Cython code, after the tests ran on the build for coverage.

It ends with an error where all together, or one of the languages, has less than it must.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from coverage import Coverage
from coverage.plugin_support import Plugins
from cython_coverage import ROOT, CorePlugin

LANGUAGES = {"Python": {".py"}, "Cython": {".pyx", ".pxd"}}
JSON = "build/coverage/coverage.json"


def collect() -> Coverage:
    """Combine what all processes wrote, and add what gcov counted."""
    plugin = CorePlugin()

    def register(plugins: Plugins) -> None:
        plugins.current_module = "cython_coverage"  # the data names who can report on a file
        plugins.add_configurer(plugin)
        plugins.add_file_tracer(plugin)

    coverage = Coverage(plugins=[register])
    coverage.combine()
    plugin.fill(coverage.get_data())
    coverage.save()
    return coverage


def shares(suffixes: set[str]) -> dict[str, tuple[int, int]]:
    """Covered and all lines, and branches, of one language."""
    files = json.loads((ROOT / JSON).read_text())["files"]
    found = [file["summary"] for name, file in files.items() if Path(name).suffix in suffixes]
    return {
        "lines": (sum(f["covered_lines"] for f in found), sum(f["num_statements"] for f in found)),
        "branches": (
            sum(f["covered_branches"] for f in found),
            sum(f["num_branches"] for f in found),
        ),
    }


def main() -> int:
    """Write the reports; 1 where too little is covered."""
    coverage = collect()
    least = float(coverage.get_option("report:fail_under"))
    coverage.html_report()
    coverage.json_report(outfile=JSON)
    total = coverage.report()
    short = [f"all together: {total:.2f} %"] if total < least else []
    for language, suffixes in LANGUAGES.items():
        for what, (covered, n) in shares(suffixes).items():
            share = 100 * covered / max(n, 1)  # nothing found is nothing covered
            print(f"{language}: {covered} of {n} {what}, {share:.2f} %")
            if share < least:
                short.append(f"{language} {what}: {share:.2f} %")
    for text in short:
        print(f"{text} covered, {least:.0f} % must be", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
