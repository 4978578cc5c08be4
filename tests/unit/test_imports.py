"""A module imports only from the layers above its own; optional libraries stay unimported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbnfast

ROOT = Path(dbnfast.__file__).parent
LAYERS = (
    ("errors", "enums", "publishers", "version"),
    ("_core",),
    ("_util",),
    ("layouts",),
    ("reference",),
    ("records",),
    ("codec",),
    ("symbology",),
    ("tables", "text"),
    ("store", "files"),
    ("live",),
    ("gateway",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    """The first name below the package: ``_core`` for all that is in it."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


class _Imports(ast.NodeVisitor):
    """What a module imports when it runs; under TYPE_CHECKING it does not."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                self.visit(other)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, "imports are absolute"
        module = node.module or ""
        if module in ("dbnfast", "dbnfast._core", "compression", "backports"):
            self.found += [f"{module}.{alias.name}" for alias in node.names]
        else:
            self.found.append(module)


def imports_of(path: Path) -> Iterator[str]:
    visitor = _Imports()
    visitor.visit(ast.parse(path.read_text()))
    yield from visitor.found


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.name != "__init__.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_module_imports_only_from_above(path: Path) -> None:
    own = module_name(path)
    assert own in LEVEL, f"{own} has no layer"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "dbnfast":
            continue
        other = parts[1] if len(parts) > 1 else "__init__"
        if own == other:  # within a package, see its own order
            continue
        if own in ("cli", "__main__") and other not in LEVEL:
            continue  # the last layer may use the package as its users do
        assert LEVEL[other] < LEVEL[own], f"{own} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "_core").glob("*.pyx")), ids=lambda path: path.name)
def test_compiled_modules_import_only_the_errors(path: Path) -> None:
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] not in (["from"], ["import"], ["cimport"]) or "dbnfast" not in words[1]:
            continue
        if "cimport" in words:
            assert words[1].startswith("dbnfast._core."), line
        else:
            assert words[1] == "dbnfast.errors", line
    assert "cimport numpy" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_compression_imports_zstd(path: Path) -> None:
    found = {name for name in imports_of(path) if "zstd" in name.split(".")}
    found -= {"dbnfast.codec.compression.zstd"}
    if path.name == "compression.py" and path.parent == ROOT / "codec":
        assert found == {"compression.zstd", "backports.zstd"}
    else:
        assert found == set()


def test_importing_the_package_imports_no_optional_library() -> None:
    code = "import sys, dbnfast; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(output.split())
    assert "dbnfast" in loaded
    optional = {
        "pandas", "pyarrow", "polars", "typer", "rich", "msgspec", "databento", "databento_dbn",
        "zstandard",
    }  # fmt: skip
    assert loaded & optional == set()


def test_every_public_name_is_there() -> None:
    assert sorted(set(dbnfast.__all__)) == sorted(dbnfast.__all__)
    for name in dbnfast.__all__:
        assert getattr(dbnfast, name) is not None
