"""The package as it is installed: its metadata, its files, its command."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath

import pytest

import dbnfast

DISTRIBUTION = importlib.metadata.distribution("dbnfast")
PACKAGE = Path(dbnfast.__file__).parent


def wheel_files() -> list[PurePosixPath]:
    """The files that were installed; skips where the package is not installed from a wheel."""
    origin = json.loads(DISTRIBUTION.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        pytest.skip("the package is installed as editable")
    found = DISTRIBUTION.files
    if found is None or not PACKAGE.is_relative_to(sysconfig.get_path("platlib")):
        pytest.skip("the package that is tested is a build for checking")
    return [PurePosixPath(path.as_posix()) for path in found]


def test_the_metadata_has_the_version() -> None:
    assert DISTRIBUTION.version == dbnfast.__version__


def test_the_entry_point_is_the_command_line() -> None:
    (entry,) = DISTRIBUTION.entry_points.select(group="console_scripts")
    from dbnfast.__main__ import main

    assert (entry.name, entry.load()) == ("dbnfast", main)


def test_the_command_runs(tmp_path: Path) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    scripts = Path(sys.executable).parent
    command = scripts / ("dbnfast.exe" if sys.platform == "win32" else "dbnfast")
    if not command.is_file():
        pytest.skip("the package's command is not beside this Python")
    done = subprocess.run(
        [str(command), "--version"],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert dbnfast.__version__ in done.stdout


def test_every_extra_is_there() -> None:
    extras = set(DISTRIBUTION.metadata.get_all("Provides-Extra") or ())
    assert extras == {
        "all", "arrow", "cli", "dask", "historical", "hours", "json", "pandas", "polars", "remote",
    }  # fmt: skip


def test_compiled_modules_have_stubs() -> None:
    suffix = EXTENSION_SUFFIXES[0]
    compiled = {path.name.removesuffix(suffix) for path in PACKAGE.rglob(f"*{suffix}")}
    stubs = {path.stem for path in (PACKAGE / "_core").glob("*.pyi")}
    assert len(stubs) > 10
    assert compiled == stubs | {"_cyutility"}  # which Cython shares among the others
    assert (PACKAGE / "py.typed").is_file()


def test_the_wheel_has_what_it_needs() -> None:
    names = {str(path) for path in wheel_files()}
    assert {
        "dbnfast/py.typed",
        "dbnfast/records/messages.pyi",
        "dbnfast/data/sample.dbn.zst",
    } <= names
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = {name for name in names if name.endswith(suffix)}
    assert f"dbnfast/_core/_cyutility{suffix}" in compiled
    for name in compiled - {f"dbnfast/_core/_cyutility{suffix}"}:
        assert name.removesuffix(suffix) + ".pyi" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_wheel_has_nothing_else() -> None:
    ours = [path for path in wheel_files() if path.suffix != ".pyc" and path.parts[0] != ".."]
    folders = {path.parts[0] for path in ours}
    assert folders == {"dbnfast", f"dbnfast-{dbnfast.__version__}.dist-info"}
    kinds = {path.suffix for path in ours if path.parts[0] == "dbnfast"}
    assert kinds == {".py", ".pyi", ".typed", ".zst", Path(EXTENSION_SUFFIXES[0]).suffix}


@pytest.mark.skipif(sys.platform != "linux", reason="only ELF files are looked into")
def test_compiled_modules_are_stripped() -> None:
    for path in wheel_files():
        if path.suffix == ".so":
            data = Path(str(DISTRIBUTION.locate_file(path))).read_bytes()
            assert b".debug_info" not in data, path
            assert b".symtab" not in data, path
