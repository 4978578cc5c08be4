"""
Build and test with the lowest versions of everything that pyproject.toml names.

Run by ``make minimum``, on PYTHON or the lowest Python that wheels are built for.
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from pathlib import Path

from wheels import ROOT, TOOLS, build_sdist, environment, pythons, run, run_suite, unpack

LOWEST = ("--resolution", "lowest-direct")


def main() -> int:
    """Do it; 1 where a test failed."""
    python = pythons()[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    env = environment()
    with tempfile.TemporaryDirectory(prefix="dbnfast-minimum-") as name:
        work = Path(name)
        sdist = build_sdist(work / "dist")
        sources = unpack(sdist, work / "sources")
        run(TOOLS / "uv", "venv", "-q", "--python", python.path, work / "env", env=env)
        inner = work / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        install = [TOOLS / "uv", "pip", "install", "-q", "--python", inner]
        direct = ["-r", sources / "pyproject.toml", "--extra", "all", "--group"]
        direct += [f"{sources / 'pyproject.toml'}:test", *project["build-system"]["requires"]]
        run(*install, *LOWEST, *direct, env=env)
        run(*install, "--no-build-isolation", "--no-deps", sdist, env=env)
        print(run(TOOLS / "uv", "pip", "list", "--python", inner, env=env), flush=True)
        found = run_suite(inner, sources, work / "suite", "test")
    print(
        f"{python.tag}, lowest versions: {found.passed} passed, {found.skipped} skipped, "
        f"{found.failed} failed in {found.seconds:.0f} s"
    )
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
