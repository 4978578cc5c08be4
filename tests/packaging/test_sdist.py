"""The sdist: what git has and generated metadata, no more and no less; made without git."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from helpers.places import ROOT

GENERATED = {
    "PKG-INFO", "setup.cfg", "src/dbnfast.egg-info/PKG-INFO", "src/dbnfast.egg-info/SOURCES.txt",
    "src/dbnfast.egg-info/dependency_links.txt", "src/dbnfast.egg-info/entry_points.txt",
    "src/dbnfast.egg-info/requires.txt", "src/dbnfast.egg-info/top_level.txt",
}  # fmt: skip
BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_sdist(sys.argv[1]))
"""


def tracked() -> set[str]:
    """Name the files that git has, of those that are there."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("there is no git repository here")
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an sdist of the tracked files, in a folder that is no repository."""
    pytest.importorskip("setuptools", "80")
    names = tracked()
    work = tmp_path_factory.mktemp("sdist")
    for name in names:
        target = work / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    (work / "dist").mkdir()
    subprocess.run(
        [sys.executable, "-c", BUILD, str(work / "dist")],
        cwd=work / "tree", capture_output=True, text=True, check=True, timeout=240,
        env={**os.environ, "PATH": str(work / "dist")},  # where no git is
    )  # fmt: skip
    (made,) = (work / "dist").iterdir()
    return made


def names_of(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    assert {name.partition("/")[0] for name in names} == {sdist.name.removesuffix(".tar.gz")}
    return {name.partition("/")[2] for name in names}


def test_the_sdist_has_what_git_has(sdist: Path) -> None:
    names = names_of(sdist)
    assert sorted(tracked() - names) == []
    assert sorted(names - tracked()) == sorted(GENERATED)


def test_files_are_the_same_in_the_sdist(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (top,) = tmp_path.iterdir()
    for name in sorted(tracked()):
        assert (top / name).read_bytes() == (ROOT / name).read_bytes(), name
        assert os.access(top / name, os.X_OK) == os.access(ROOT / name, os.X_OK), name


def test_the_sdist_names_its_version(sdist: Path) -> None:
    namespace: dict[str, str] = {}
    exec((ROOT / "src" / "dbnfast" / "version.py").read_text(), namespace)
    assert sdist.name == f"dbnfast-{namespace['__version__']}.tar.gz"
