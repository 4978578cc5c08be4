"""Fail where Cython has a performance hint for the compiled core: run by ``make lint``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = ROOT / "src" / "dbnfast" / "_core"
DIRECTIVES = "boundscheck=False,wraparound=False,initializedcheck=False,cdivision=True"
WORKERS = 2


def complaint(source: Path) -> str:
    """Translate a module afresh and give what Cython says against it; empty if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{source.stem}.c"
        command = [sys.executable, "-m", "cython", "-3", "-I", "src", "-X", DIRECTIVES]
        done = subprocess.run(
            [*command, "-o", str(target), str(source)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    said = done.stdout + done.stderr
    wrong = done.returncode or "performance hint" in said or "warning" in said
    return said or f"{source}: exit status {done.returncode}" if wrong else ""


def main(names: list[str]) -> int:
    """Look at the named modules, or at all of the core."""
    sources = [Path(name).resolve() for name in names] or sorted(CORE.glob("*.pyx"))
    if not sources:
        print(f"no modules in {CORE}")
        return 1
    with ThreadPoolExecutor(WORKERS) as pool:
        said = [text for text in pool.map(complaint, sources) if text]
    print(*said, sep="\n", end="")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
