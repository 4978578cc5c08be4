"""Fail where Cython has a performance hint for the compiled core: run by ``make lint``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

CORE = Path(__file__).parents[1] / "src" / "dbnfast" / "_core"


def main() -> int:
    """Translate every module afresh and read what Cython says."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(CORE.glob("*.pyx")):
            directives = "boundscheck=False,wraparound=False,initializedcheck=False,cdivision=True"
            command = [sys.executable, "-m", "cython", "-3", "-I", "src", "-X", directives]
            target = Path(folder) / f"{source.stem}.c"
            done = subprocess.run(
                [*command, "-o", str(target), str(source)],
                capture_output=True,
                text=True,
                cwd=CORE.parents[2],
                check=False,
            )
            said = done.stdout + done.stderr
            if done.returncode or "performance hint" in said or "warning" in said:
                print(said)
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
