"""A module imports only from the layers above its own; optional libraries stay unimported."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbnfast

ROOT = Path(dbnfast.__file__).parent
LAYERS = (
    ("errors", "publishers", "version"),
    ("_core",),
    ("enums",),
    ("_typing", "_util", "datasets"),
    ("layouts",),
    ("reference",),
    ("records",),
    ("codec",),
    ("symbology",),
    ("tables", "text"),
    ("store", "files", "dbn"),
    ("live", "engines"),
    ("gateway", "historical", "dask"),
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
        "zstandard", "requests", "aiohttp", "fsspec", "zipfile", "dask", "distributed",
    }  # fmt: skip
    assert loaded & optional == set()


# the house: who may reach what

STANDARD = {
    "_replace",
    "_asdict",
    "_fields",
    "_value_",
    "_getframe",
}  # public in spite of their names
# what a package builds on the compiled core with is its own
COMPILED = {"records": ("run", "record"), "dbn": ("pieces", "decoder")}


def package_of(module: str) -> str:
    return ([*module.split("."), ""])[1]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in STANDARD


class _Names(ast.NodeVisitor):
    """The private names that a module makes, and those that it reaches for."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.made: set[str] = set()
        self.reached: list[tuple[int, str]] = []
        self.imported: list[tuple[int, str]] = []

    def visit_FunctionDef(
        self, node: ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
    ) -> None:
        self.made.add(node.name)
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.made.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        if own and isinstance(node.ctx, ast.Store):
            self.made.add(node.attr)
        elif not own and is_private(node.attr):
            self.reached.append((node.lineno, node.attr))
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if package_of(module) in ("", self.package) or not module.startswith("dbnfast"):
            return
        inner = module.split(".")[2:]
        for alias in node.names:
            if any(map(is_private, [*inner, alias.name])):
                self.imported.append((node.lineno, f"{module}.{alias.name}"))


def names_of(path: Path) -> _Names:
    found = _Names(module_name(path))
    found.visit(ast.parse(path.read_text()))
    return found


PACKAGES = sorted({module_name(path) for path in MODULES})


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_reaches_into_the_private_names_of_another(package: str) -> None:
    mine = {path: names_of(path) for path in MODULES if module_name(path) == package}
    made = {name for names in mine.values() for name in names.made}
    for compiled in COMPILED.get(package, ()):
        stub = (ROOT / "_core" / f"{compiled}.pyi").read_text()
        made.update(names for names in re.findall(r"\b_\w+", stub))
    for path, names in mine.items():
        where = path.relative_to(ROOT)
        assert not names.imported, f"{where}: {names.imported}"
        reached = [(line, name) for line, name in names.reached if name not in made]
        assert not reached, f"{where}: {reached}"


def test_the_house_has_few_layers_and_each_is_a_folder_or_a_public_file() -> None:
    assert len(LAYERS) <= 15
    there = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix in ("", ".py")}
    assert there - {"__pycache__", "__init__", "data"} == set(LEVEL)


def test_every_public_name_is_there_and_hidden_by_no_module() -> None:
    assert sorted(set(dbnfast.__all__)) == sorted(dbnfast.__all__)
    for name in dbnfast.__all__:
        assert getattr(dbnfast, name) is not None
    # in a process of its own, since this one has imported some of them already
    code = """
import importlib, pkgutil, dbnfast
before = {name: getattr(dbnfast, name) for name in dbnfast.__all__}
for found in pkgutil.walk_packages(dbnfast.__path__, "dbnfast."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
assert len(before) > 100
for name, value in before.items():
    assert getattr(dbnfast, name) is value, name
for face in ("dbn", "files", "gateway", "live", "text"):
    package = getattr(dbnfast, face)
    for name in package.__all__:
        assert type(getattr(package, name)).__name__ != "module" or face == "dbn", (face, name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_classes_say_where_they_are_imported_from() -> None:
    for name in dbnfast.__all__:
        value = getattr(dbnfast, name)
        if isinstance(value, type):
            assert value.__module__ in {
                "dbnfast", "dbnfast.datasets", "dbnfast.enums", "dbnfast.errors",
                "dbnfast.publishers",
            }, name  # fmt: skip
            assert getattr(sys.modules[value.__module__], value.__name__) is value
    for face in ("dbnfast.files", "dbnfast.gateway", "dbnfast.live", "dbnfast.text"):
        package = importlib.import_module(face)
        for name in package.__all__:
            value = getattr(package, name)
            assert getattr(sys.modules[value.__module__], name) is value
            if isinstance(value, type) and face != "dbnfast.gateway":
                assert value.__module__ in ("dbnfast", face), name
