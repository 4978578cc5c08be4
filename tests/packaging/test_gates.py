"""One list of gates: `make lint` and the hooks run the same, and each can fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.places import ROOT

MAKEFILE = ROOT / "Makefile"
HOOKS = ROOT / ".pre-commit-config.yaml"

pytestmark = pytest.mark.skipif(not HOOKS.exists(), reason="only a part of the tree is here")


def gates() -> list[str]:
    text = MAKEFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    match = re.search(r"^GATES := (.+)$", text, re.MULTILINE)
    assert match
    return match[1].split()


def hooks() -> list[dict[str, Any]]:
    config = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))
    (repo,) = config["repos"]
    assert repo["repo"] == "local"  # nothing is fetched from other hosts
    return list(repo["hooks"])


def test_hooks_are_the_gates_of_make() -> None:
    names = gates()
    assert len(set(names)) == len(names)
    assert sorted(hook["id"] for hook in hooks()) == sorted(names)
    for hook in hooks():
        assert hook["entry"] == f"make lint-{hook['id']}"
        assert hook["pass_filenames"] is False


def test_every_gate_has_a_recipe() -> None:
    text = MAKEFILE.read_text(encoding="utf-8")
    found = re.findall(
        r"^lint-(\w+): \$\(VENV\)/\.lint(?: \$\(VENV\)/\.\w+)*\n\t\S", text, re.MULTILINE
    )
    assert sorted(found) == sorted(gates())
    recipes = text[text.index("lint: ") : text.index("\ndocs: ")]
    assert recipes.count("\nlint-") == len(gates())
    assert "||" not in recipes
    assert not re.search(r"^\t@?-", recipes, re.MULTILINE)  # a dash: make passes over a failure


def test_hooks_look_at_files_that_exist() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git tree")
    files = listed.stdout.splitlines()
    for hook in hooks():
        if not hook.get("always_run", False):
            assert any(re.search(hook["files"], file) for file in files), hook["id"]


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("cdef void f(char* p) noexcept nogil:\n    p[0] = 1\n\nf(NULL)\n", ""),
        # without noexcept each call takes the GIL to look for an exception
        ("cdef void f(char* p) nogil:\n    p[0] = 1\n\nf(NULL)\n", "performance hint"),
        ("cdef int f(\n", "Error compiling"),
    ],
    ids=["clean", "hint", "error"],
)
def test_hints_fail_where_cython_has_one(tmp_path: Path, source: str, wrong: str) -> None:
    pytest.importorskip("Cython")
    path = tmp_path / "probe.pyx"
    path.write_text(source)
    command = [sys.executable, str(ROOT / ".ci" / "hints.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if wrong else 0), done.stdout
    assert wrong in done.stdout
