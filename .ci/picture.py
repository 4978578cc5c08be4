"""Print the package as it is: what data walks through, long modules, and the layers of imports."""

from __future__ import annotations

import ast
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import dbnfast
from dbnfast.gateway import Gateway

PACKAGE = Path(dbnfast.__file__).parent
TESTS = Path(__file__).parents[1] / "tests"
SAMPLE = PACKAGE / "data" / "sample.dbn.zst"
KEY = "db-any-text-of-more-than-5-chars"
LONG = 400  # lines


def part(path: Path) -> str:
    """Name the folder of the package that a module is in, or the module, of those in its root."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Give what a module imports of the package when it runs, and the names it has there."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dbnfast"):
        for name in node.names:
            yield f"{node.module}.{name.name}", name.asname or name.name
    for child in ast.iter_child_nodes(node):
        yield from imports(child)


@cache
def read(path: Path) -> tuple[list[tuple[str, str]], set[str]]:
    """Give what a file imports, and the names of the classes that its own are made of."""
    tree = ast.parse(path.read_text("utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return list(imports(tree)), {ast.unparse(base) for node in classes for base in node.bases}


def entered(work: Callable[[], Any]) -> tuple[list[Path], set[str]]:
    """Give the files that some work enters, in order, and the compiled modules named there."""
    codes: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            codes[frame.f_code] = None

    threading.setprofile(note)  # of the threads that the work starts
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files: dict[Path, None] = {}
    core = set()
    for code in codes:
        path = Path(code.co_filename)
        if path.suffix == ".py" and path.is_relative_to(PACKAGE):
            files[path] = None
            imported, bases = read(path)
            for source, name in imported:
                if source.startswith("dbnfast._core.") and name in {*code.co_names, *bases}:
                    core.add(source.split(".")[2])
    return list(files), core


def show(title: str, work: Callable[[], Any]) -> None:
    """Print what some work enters: the folders in order, and the files in each."""
    files, core = entered(work)
    found: dict[str, list[str]] = {}
    for path in files:
        folder = PACKAGE if path.parent == PACKAGE else PACKAGE / part(path)
        found.setdefault(part(path), []).append(path.relative_to(folder).as_posix())
    print(f"{title}: {len(found) + 1} folders, {len(files) + len(core)} modules")
    for name, names in {**found, "_core": sorted(core)}.items():
        print(f"  {name:<10} {' '.join(names)}")
    print()


def roads() -> None:
    """Print what a buffer, a file and a batch of a live session pass through."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trades.dbn")
        trades = dbnfast.read(SAMPLE).filter("trades").records()
        header = dbnfast.Metadata(dataset="GLBX.MDP3", schema="trades", start=0)
        path.write_bytes(dbnfast.encode(trades.array(), header))
        data = path.read_bytes()
        dbnfast.read(path).to_df()  # what is imported or made once is not on the road
        show("decode(data)", lambda: dbnfast.decode(data))
        show("read(path).to_df()", lambda: dbnfast.read(path).to_df())
    with Gateway(SAMPLE, keys=[KEY], speed="500x") as gateway:
        live = dbnfast.Live(KEY, gateway.host, gateway.port)
        live.subscribe("GLBX.MDP3", "trades")
        batches = live.batches()
        while dbnfast.RType.MBP_0 not in next(batches).counts:
            pass  # acknowledgements and mappings
        show("a batch of Live.batches()", lambda: next(batches))
        live.terminate()


def long_modules() -> None:
    """Print the modules that are long; the stubs are not counted."""
    paths = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyx", ".pxd")]
    lengths = {path: path.read_text("utf-8").count("\n") for path in paths}
    found = sorted((path for path in paths if lengths[path] > LONG), key=lambda p: -lengths[p])
    print(f"{len(found)} of {len(paths)} modules have more than {LONG} lines")
    for path in found:
        print(f"  {lengths[path]:<10} {path.relative_to(PACKAGE).as_posix()}")


def layers() -> tuple[tuple[str, ...], ...]:
    """Give the layers of the test of imports, which has the only list."""
    path = next(TESTS.rglob("test_imports.py"))
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            return tuple(ast.literal_eval(node.value))
    raise SystemExit(f"{path} has no LAYERS")


def arrows() -> None:
    """Print the layers, the number of modules in each folder, and what these import of others."""
    modules = Counter(part(path) for path in PACKAGE.rglob("*.py*") if path.suffix != ".pyi")
    found = Counter(
        (part(path), source.split(".")[1])
        for path in PACKAGE.rglob("*.py")
        for source, _ in read(path)[0]
        if path != PACKAGE / "__init__.py" and source.split(".")[1] != part(path)
    )
    print(f"\n{len(layers())} layers; {len(found)} arrows, for {found.total()} names imported")
    for number, names in enumerate(layers(), 1):
        for name in names:
            to = " ".join(f"{other}:{n}" for (by, other), n in sorted(found.items()) if by == name)
            print(f"  {number:>2} {name:<10} {modules[name]:>3}  {to}".rstrip())


if __name__ == "__main__":
    roads()
    long_modules()
    arrows()
