"""The site is whole: every name, page, command and link is in it."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dbnfast
import dbnfast.gateway
from helpers.documents import DOCS, README, blocks, pages
from helpers.places import ROOT

if not DOCS.is_dir():
    pytest.skip("the documents are not here", allow_module_level=True)

API = DOCS / "api"
CLI = DOCS / "guide" / "cli.md"
LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
DOCUMENTED = (
    dbnfast.AsyncLive,
    dbnfast.Decoder,
    dbnfast.Encoder,
    dbnfast.Live,
    dbnfast.Metadata,
    dbnfast.RecordReader,
    dbnfast.Records,
    dbnfast.Store,
    dbnfast.SymbolMap,
)
LINKED = [README, ROOT / "CONTRIBUTING.md", ROOT / "fixtures" / "README.md", *pages()]


def documented() -> set[str]:
    """What the pages of the API document, by the names there."""
    found = set()
    for page in sorted(API.glob("*.md")):
        module = "dbnfast"
        for block in blocks(page):
            for line in block.text.splitlines():
                match = re.match(r"\.\. (?:auto|py:)(\w+):: ([\w.]+)", line)
                if match and match[1] in ("currentmodule", "module"):
                    module = match[2]
                elif match and match[2].startswith("dbnfast."):
                    found.add(match[2])
                elif match:
                    found.add(f"{module}.{match[2]}")
    return found


def test_every_public_name_is_in_the_reference() -> None:
    names = documented()
    wanted = {f"dbnfast.{name}" for name in dbnfast.__all__}
    wanted |= {f"dbnfast.gateway.{name}" for name in dbnfast.gateway.__all__}
    assert wanted - names == set()


def test_the_reference_names_what_is_there() -> None:
    names = documented()
    assert len(names) > 150
    for name in sorted(names):
        found: Any = dbnfast
        for part in name.split(".")[1:]:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)


def test_the_constants_have_the_values_that_the_reference_says() -> None:
    text = (API / "enums.md").read_text("utf-8")
    said = dict(re.findall(r"^\.\. py:data:: (\w+)\n   :value: (.+)$", text, re.MULTILINE))
    constants = {
        name
        for name in dbnfast.__all__
        if isinstance(getattr(dbnfast, name), int) and name.isupper()
    }
    assert set(said) == constants
    for name, value in said.items():
        assert getattr(dbnfast, name) == ast.literal_eval(value)


def test_every_member_has_its_code_on_the_page() -> None:
    text = (DOCS / "codes.md").read_text("utf-8")
    kinds = [
        found for name in dbnfast.__all__
        if inspect.isclass(found := getattr(dbnfast, name)) and issubclass(found, enum.Enum)
    ]  # fmt: skip
    assert len(kinds) == 34
    for kind in kinds:
        _, _, section = text.partition(f"\n## {kind.__name__}\n")
        section = section.partition("\n## ")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))
        assert set(rows) == set(kind.__members__)
        for name, member in kind.__members__.items():
            if rows[name].startswith("`"):
                assert rows[name] == f"`{member.value}`"
            else:
                assert rows[name] == ("a space" if member.value == " " else str(int(member)))


def test_every_page_is_in_a_toctree() -> None:
    listed = set()
    for page in pages():
        for block in blocks(page):
            if block.language == "{toctree}":
                for line in block.text.splitlines():
                    if line and not line.startswith(":"):
                        name = "index" if line == "self" else line
                        listed.add((page.parent / f"{name}.md").resolve())
    assert listed == {page.resolve() for page in pages()}


def anchors(page: Path) -> set[str]:
    """The anchors of a page: its headings in the way of GitHub, and what it names."""
    fences = {line for b in blocks(page) for line in range(b.line, b.line + b.text.count("\n") + 2)}
    found = set()
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if number not in fences and (match := re.match(r"#{1,4} (.+)", line)):
            text = re.sub(r"[^\w\- ]", "", match[1].lower())
            found.add(text.replace(" ", "-"))
        if match := re.fullmatch(r"\(([\w-]+)\)=", line):
            found.add(match[1])
    return found


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_links_lead_somewhere(page: Path) -> None:
    if not page.is_file():
        pytest.skip("not here")
    for target in LINK.findall(page.read_text("utf-8")):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.is_file(), target
        assert not anchor or anchor in anchors(to), target


def sections() -> dict[str, str]:
    """The sections of the page of the command line, by their headings."""
    parts = re.split(r"^## (\w+)$", CLI.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def help_of(words: list[str], capture: pytest.CaptureFixture[str]) -> str:
    from dbnfast.cli.app import run

    capture.readouterr()
    assert run([*words, "--help"]) == 0
    return capture.readouterr().out


def test_every_command_has_its_section(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "200")
    _, _, listed = help_of([], capsys).partition("Commands:")
    names = re.findall(r"^ +([a-z]+) ", listed, re.MULTILINE)
    assert len(names) == 12
    assert sorted(sections()) == sorted(names)
    for name, section in sections().items():
        shown = re.findall(rf"^(?:\$ )?dbnfast {name}\b", section, re.MULTILINE)
        assert shown, f"{name} has no example"


def test_the_options_are_those_of_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "200")
    for name, section in sections().items():
        _, _, options = help_of([name], capsys).partition("Options:")
        asked = set()
        for line in options.splitlines():
            asked |= set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line.strip().partition("  ")[0]))
        rows = re.findall(r"^\| (`-.*?) \| (.*?) \|", section, re.MULTILINE)
        listed = {word for row, _ in rows for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row)}
        assert listed == asked - {"--help"}, name
        for _, words in rows:
            assert words.partition(" One of ")[0] in " ".join(options.split()), words


def test_the_table_for_movers_has_right_names() -> None:
    pytest.importorskip("databento")
    page = (DOCS / "guide" / "migrating.md").read_text("utf-8")
    table = page.partition("## Names")[2].partition("## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \| .*\|$", table, re.MULTILINE)
    n = 0
    for official, ours in rows:
        for package, cell in (("databento", official), ("dbnfast", ours)):
            for name in re.findall(r"`([\w.]+)`", cell):
                found: Any = importlib.import_module(package)
                for part in name.split("."):
                    if part == "databento_dbn":
                        found = importlib.import_module(part)
                    else:
                        found = getattr(found, part)
                n += 1
    assert n > 60


def test_the_tables_are_those_of_the_code() -> None:
    pytest.importorskip("typer")
    if not (ROOT / "src").is_dir():
        pytest.skip("the stub of the messages lies in src, which is not here")
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def build(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `make docs` does, into ``folder / "site"``."""
    for library in ("sphinx", "furo", "myst_parser", "numpydoc", "sphinx_copybutton"):
        pytest.importorskip(library)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    command += ["-d", str(folder / "trees"), str(source), str(folder / "site")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_builds_and_is_whole(tmp_path: Path) -> None:
    done = build(DOCS, tmp_path)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    built = sorted(site.rglob("*.html"))
    assert {page.relative_to(site) for page in built} >= {
        page.relative_to(DOCS).with_suffix(".html") for page in pages()
    }
    html = "".join(page.read_text("utf-8") for page in built)
    loaded = re.findall(r"<(?:script|img|source|iframe)\b[^>]*\bsrc=\"(https?:[^\"]*)", html)
    loaded += re.findall(r"<link\b[^>]*\bhref=\"(https?:[^\"]*)", html)
    assert loaded == []  # nothing comes from elsewhere when it is read

    shown = set(re.findall(r' id="(dbnfast\.[\w.]+)"', html))
    assert {f"dbnfast.{name}" for name in dbnfast.__all__} <= shown
    for cls in (*DOCUMENTED, dbnfast.gateway.Gateway):
        prefix = "dbnfast.gateway" if cls.__name__ == "Gateway" else "dbnfast"
        methods = {f"{prefix}.{cls.__name__}.{name}" for name in dir(cls) if name[0] != "_"}
        assert methods - shown == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](#nowhere)", "nowhere"),
        ("[a](nowhere.md)", "nowhere"),
        ("```{eval-rst}\n.. py:currentmodule:: dbnfast\n\n`nowhere`\n```", "nowhere"),
        ("```{eval-rst}\n.. autofunction:: dbnfast.nowhere\n```", "nowhere"),
        ("[a](https://example.org)", None),
    ],
)
def test_what_leads_nowhere_stops_the_build(tmp_path: Path, text: str, said: str | None) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    shutil.copy(DOCS / "conf.py", source)
    shutil.copytree(DOCS / "_static", source / "_static")
    (source / "index.md").write_text(f"# Title\n\n{text}\n")
    done = build(source, tmp_path)
    assert (done.returncode != 0) == (said is not None), done.stderr
    assert said is None or said in done.stderr
