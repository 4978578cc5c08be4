"""
The documents as programs: their fenced blocks, run in order, and what they print compared.

A block says by its language what it is:

* ``python`` runs; each ``print`` has what it prints in a comment behind it, or the block
  ``output`` that follows has all of it;
* ``console`` has commands behind ``$``, each with what it prints on the lines below it;
* ``json`` must be JSON; ``text`` is for diagrams, lines and bytes, and is not run.

``...`` in what is printed stands for anything. A block without a language is an error.
"""

from __future__ import annotations

import ast
import contextlib
import glob
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dbnfast.gateway import Gateway
from helpers.places import ROOT, SAMPLE

README = ROOT / "README.md"
DOCS = ROOT / "docs"
LIBRARIES = ("pandas", "pyarrow", "polars", "duckdb", "msgspec", "typer", "rich", "fsspec")
KINDS = ("python", "output", "console", "json", "text")
DIRECTIVES = ("{toctree}", "{include}", "{eval-rst}")
FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)")
PATIENCE = 30  # s: so that a mistake ends a test

Said = Callable[[], str]  # what was printed since the last call


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page that it begins behind."""

    language: str
    text: str
    line: int
    page: Path

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def pages() -> list[Path]:
    """The pages of the site, those in folders too."""
    return sorted(DOCS.rglob("*.md"))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    open_at: re.Match[str] | None = None
    begin, held = 0, list[str]()
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        match = FENCE.fullmatch(line)
        if open_at is None:
            if match is not None:
                open_at, begin, held = match, number, []
        elif match is not None and match["fence"] == open_at["fence"] and not match["info"]:
            found.append(Block(open_at["info"].strip(), "\n".join(held), begin, page))
            open_at = None
        else:
            held.append(line.removeprefix(open_at["indent"]))
    assert open_at is None, f"{page.name}:{begin}: a block that does not end"
    return found


def check_kind(block: Block) -> None:
    """Refuse a block that nothing runs and that does not say why."""
    if block.language.startswith("{"):
        assert block.language.split()[0] in DIRECTIVES, f"{block}: {block.language}"
    else:
        assert block.language in KINDS, f"{block}: a block of {block.language or 'no language'}"
    if block.language == "json":
        json.loads(block.text)
    if block.language == "text":  # what looks like commands or code is to be run
        for line in block.text.splitlines():
            assert not line.startswith(("$ ", ">>> ", "import ", "from ")), f"{block}: {line}"


def matches(expected: str, printed: str) -> bool:
    """Tell whether what was printed is what the page says, ``...`` for anything."""
    pattern = ".*".join(map(re.escape, expected.split("...")))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


def comments(text: str) -> dict[int, str]:
    """The comments of a program behind two spaces, by line."""
    tokens = tokenize.generate_tokens(io.StringIO(text + "\n").readline)
    return {
        token.start[0]: token.string.removeprefix("# ")
        for token in tokens
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip()
    }


def told(block: Block) -> list[str]:
    """What the comments behind the calls of print say that these print."""
    behind = comments(block.text)
    found = []
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print":
            assert node.end_lineno in behind, (
                f"{block}: nothing says what line {node.lineno} prints"
            )
            found.append((node.lineno, behind[node.end_lineno]))
    return [comment for _, comment in sorted(found)]


def run_python(block: Block, names: dict[str, Any], said: Said, output: Block | None) -> int:
    """Run a block, compare what it prints, and count the lines compared."""
    code = compile("\n" * block.line + block.text, str(block.page), "exec")
    said()
    exec(code, names)
    printed = said().splitlines()
    if output is not None:
        text = "\n".join(line.rstrip() for line in printed)  # pages have no spaces at ends of lines
        assert matches(output.text, text), f"{output}\n{text}"
        return len(printed)
    expected = told(block)
    assert len(printed) == len(expected), f"{block}: {printed}"
    for line, words in zip(printed, expected, strict=True):
        assert matches(words, line), f"{block}: {words!r} is {line!r}"
    return len(printed)


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it should print."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"{block}: no command before {parts[0]!r}"
    for part in parts[1:]:
        command, _, output = part.replace("\\\n", "").partition("\n")
        yield command, output.rstrip("\n")


class Console:
    """
    A terminal for the console blocks of one page.

    ``dbnfast`` runs in this process; ``dbnfast serve ... &`` in one of its own, at a port that
    is free, which stands for the port of the page from then on.
    """

    def __init__(self, said: Said) -> None:
        self._said = said
        self._servers: list[tuple[subprocess.Popen[str], str, str]] = []
        self._environment: dict[str, str | None] = {}

    def run(self, block: Block) -> int:
        """Run the commands of a block, and count those whose output was compared."""
        n = 0
        for command, expected in commands(block):
            line = command.removesuffix("; echo $?")
            code, printed = self._run(block, line)
            if line != command:
                printed = f"{printed}\n{code}".lstrip("\n")
            else:
                assert code == 0, f"{block}: {line} ends with {code}: {printed}"
            printed = "\n".join(line.rstrip() for line in printed.splitlines())
            for _, port, shown in self._servers:
                printed = printed.replace(f":{port}", f":{shown}")
            assert matches(expected, printed), f"{block}: {line}\n{printed}"
            n += bool(expected)
        return n

    def _run(self, block: Block, line: str) -> tuple[int, str]:
        words = shlex.split(line, comments=True)
        if words[0] == "dbnfast" and words[-1] == "&":
            return 0, self._serve(words[1:-1])
        if words[0] == "dbnfast":
            self._said()
            code = run_cli(self._with_ports(words[1:]))
            return code, self._said().rstrip("\n")
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                self._environment.setdefault(name, os.environ.get(name))
                os.environ[name] = value
            return 0, ""
        if words[0] == "head":
            assert re.fullmatch(r"-\d+", words[1]), f"{block}: {line}"
            lines = Path(words[2]).read_text("utf-8").splitlines()
            return 0, "\n".join(lines[: -int(words[1])])
        if words[0] == "kill":
            self.close()
            return 0, ""
        check_setup(block, words)
        return 0, ""

    def _serve(self, args: list[str]) -> str:
        at = args.index("--port") + 1
        shown, args[at] = args[at], "0"
        process = subprocess.Popen(
            [sys.executable, "-m", "dbnfast", *args], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        line = process.stderr.readline().rstrip("\n")
        match = re.search(r":(\d+) serves", line)
        self._servers.append((process, match[1] if match else "", shown))
        assert match, line
        return line

    def _with_ports(self, words: list[str]) -> list[str]:
        for _, port, shown in self._servers:
            words = [
                port if before == "--port" and word == shown else word
                for before, word in zip(["", *words], words, strict=False)
            ]
        return words

    def close(self) -> None:
        """End what was started, and take back what was set."""
        for process, _, _ in self._servers:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            process.communicate()
        self._servers.clear()
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment.clear()


def run_cli(words: list[str]) -> int:
    """Run a command, with its patterns replaced by the files that they name."""
    from dbnfast.cli.app import run

    return run([path for word in words for path in sorted(glob.glob(word)) or [word]])


def check_setup(block: Block, words: list[str]) -> None:
    """Check a command that sets a machine up: what it names is there, but it is not run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    if words[:2] == ["pip", "install"] or words[:3] == ["uv", "pip", "install"]:
        known = project["project"]["optional-dependencies"]
        for word in words[2:]:
            for extra in re.findall(r"\[(.*)\]", word):
                assert set(extra.split(",")) <= set(known), f"{block}: {word}"
        if "--group" in words:
            assert words[words.index("--group") + 1] in project["dependency-groups"], f"{block}"
        return
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text("utf-8")
        targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
        stamps = re.findall(r"^\$\(VENV\)(/\.\w+):", makefile, re.MULTILINE)
        named = [word for word in words[1:] if "=" not in word]
        assert set(named) <= {*targets, *(f".venv{stamp}" for stamp in stamps)}, f"{block}: {words}"
        return
    if words[0] == "python" and words[1] != "-m":
        assert (ROOT / words[1]).is_file(), f"{block}: {words}"
        text = (ROOT / words[1]).read_text("utf-8")
        assert all(f'"{word}"' in text for word in words[2:] if word[:2] == "--"), f"{block}"
        return
    allowed = (
        ["python", "-m", "venv"],
        [".", ".venv/bin/activate"],
        [".venv/bin/pre-commit", "install"],
    )
    assert any(words[: len(start)] == start for start in allowed), f"{block}: what is {words}?"


class Ran(NamedTuple):
    """What came of a page: the names that its programs made, and how much was compared."""

    names: dict[str, Any]
    n_compared: int


def run_page(page: Path, folder: Path, said: Said, names: dict[str, Any] | None = None) -> Ran:
    """
    Run a page's blocks in order, in `folder`, which is the current one.

    The sample lies there under the name that the start page gives it.
    """
    shutil.copy(SAMPLE, folder / "sample.dbn.zst")
    names = {"__name__": page.stem} if names is None else names
    console = Console(said)
    found = blocks(page)
    n = 0
    try:
        for block, after in zip(found, [*found[1:], None], strict=True):
            output = after if after is not None and after.language == "output" else None
            check_kind(block)
            if block.language == "python":
                n += run_python(block, names, said, output)
            elif block.language == "console":
                n += console.run(block)
    finally:
        console.close()
        for value in names.values():
            if isinstance(value, Gateway):
                value.stop()
    return Ran(names, n)
