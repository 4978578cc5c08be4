"""What the pages show runs as it stands there, in order, and prints what they say."""

from __future__ import annotations

import gc
import io
import re
import sys
import warnings
from pathlib import Path

import pytest

import dbnfast
from dbnfast.symbology.resolver import resolver
from dbnfast.text.write import write_csv, write_json
from helpers import documents
from helpers.documents import (
    DOCS,
    LIBRARIES,
    README,
    blocks,
    check_kind,
    pages,
    run_page,
)
from helpers.places import ROOT, SAMPLE

if not README.is_file() or not DOCS.is_dir():
    pytest.skip("the documents are not here", allow_module_level=True)

FORMAT = DOCS / "format.md"
EVERY = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *pages()]
RUN = [
    page
    for page in EVERY
    if page != README and {"python", "console"} & {block.language for block in blocks(page)}
]
NEEDED = {"migrating": ("databento",), "clusters": ("dask",)}
Capture = pytest.CaptureFixture[str]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("DATABENTO_API_KEY", raising=False)
    return tmp_path


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_page_runs_and_prints_what_it_says(page: Path, here: Path, capfd: Capture) -> None:
    for library in (*LIBRARIES, *NEEDED.get(page.stem, ())):
        pytest.importorskip(library)
    if sys.platform == "win32" and "serve" in page.read_text("utf-8"):
        pytest.skip("a signal is sent")

    def said() -> str:
        printed = capfd.readouterr()
        return printed.out + printed.err

    with warnings.catch_warnings():
        if page.stem == "migrating":  # the official package, beside ours there, is as it is
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="databento")
            warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
        n_compared = run_page(page, here, said).n_compared
        gc.collect()
    assert n_compared or page.stem in ("CONTRIBUTING", "benchmarks")  # whose commands are not run


def test_the_pages_that_must_be_run_are() -> None:
    names = {name_of(page) for page in RUN}
    guides = {name_of(page) for page in pages() if page.parent.name == "guide"}
    assert len(guides) >= 13
    assert names >= guides | {"docs/index.md", "CONTRIBUTING.md"}


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        check_kind(block)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```python\nprint(1 + 1)  # 3\n```", "'3' is '2'"),
        ("```python\nprint(1)\n```", "nothing says what line 1 prints"),
        ("```python\nfor n in (1, 2):\n    print(n)  # 1\n```", r"\['1', '2'\]"),
        ("```python\nprint(1)\n```\n\n```output\n2\n```", "^page.md:5\n1"),
        ("```python\nraise KeyError\n```", None),
        ("```\nprint(1)\n```", "a block of no language"),
        ("```bash\nls\n```", "a block of bash"),
        ("```text\n$ ls\n```", r"\$ ls"),
        ("```json\n{,}\n```", None),
        ("```{eval-js}\n```", "eval-js"),
        ("```python\n", "does not end"),
        ("```console\n$ dbnfast head sample.dbn.zst -n 0\nwrong\n```", "head sample.dbn.zst"),
        ("```console\n$ dbnfast info none.dbn\n```", "ends with 1"),
        ("```console\n$ dbnfast info none.dbn; echo $?\ndbnfast: ...\n2\n```", "none.dbn"),
        ("```console\n$ pip install 'dbnfast[gold]'\n```", "gold"),
        ("```console\n$ make gold\n```", "gold"),
        ("```console\n$ python docs/generate.py --gold\n```", "page.md:1"),
        ("```console\n$ rm -r folder\n```", "what is"),
        ("```console\noutput\n$ dbnfast --version\n```", "no command before"),
    ],
)
def test_a_block_that_is_wrong_fails(
    text: str, wrong: str | None, here: Path, capfd: Capture
) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    page = here / "page.md"
    page.write_text(text)
    with pytest.raises((AssertionError, KeyError, ValueError), match=wrong):
        run_page(page, here, lambda: "".join(capfd.readouterr()))


def test_what_is_right_passes(here: Path, capfd: Capture) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    page = here / "page.md"
    page.write_text(
        "```python\nn = 2\nprint(n, id(n))  # 2 ...\n```\n"
        "* a\n\n  ```python\n  for n in (1, 2):\n      print(n)\n  ```\n"
        "  ```output\n  1\n  2\n  ```\n"
        "```console\n$ dbnfast info none.dbn; echo $?\ndbnfast: none.dbn: ...\n1\n```\n"
    )
    ran = run_page(page, here, lambda: "".join(capfd.readouterr()))
    assert ran.n_compared == 4
    assert ran.names["n"] == 2


def stream_of_dump(text: str) -> bytes:
    """The stream of the worked example, out of its hexdump."""
    rows = re.findall(r"^([0-9a-f]{8})(  [0-9a-f ]{40,49}  |  [0-9a-f ]+)\|", text, re.MULTILINE)
    (size,) = re.findall(r"^([0-9a-f]{8})$", text, re.MULTILINE)
    data = bytearray(int(size, 16))
    for at, row in rows:
        part = bytes.fromhex(row)
        data[int(at, 16) : int(at, 16) + len(part)] = part
    return bytes(data)


def test_the_examples_of_text_are_those_of_the_stream() -> None:
    text = FORMAT.read_text("utf-8")
    records = dbnfast.scan(stream_of_dump(text))
    assert len(records) == 1
    for write, start in ((write_csv, "ts_recv,ts_event,"), (write_json, '{"ts_recv":')):
        out = io.BytesIO()
        write(records, out, resolver=resolver(records.metadata))
        shown = out.getvalue().decode()
        assert shown.startswith(start)
        assert f"\n{shown}```" in text


def test_the_turnover_of_the_guide_is_that_of_the_arrays(here: Path, capfd: Capture) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    ran = run_page(DOCS / "guide" / "frames.md", here, lambda: "".join(capfd.readouterr()))
    trades = dbnfast.decode(SAMPLE.read_bytes(), schema="trades")
    assert len(trades) == ran.names["n"] == 581  # of fixtures/MANIFEST.json
    expected = (trades["price"] / 1e9 * trades["size"]).sum()
    assert ran.names["turnover"].sum() == pytest.approx(expected)


def test_the_commands_write_what_they_name(here: Path, capfd: Capture) -> None:
    for library in LIBRARIES:
        pytest.importorskip(library)
    if sys.platform == "win32":
        pytest.skip("a signal is sent")
    page = DOCS / "guide" / "cli.md"
    run_page(page, here, lambda: "".join(capfd.readouterr()))
    lines = [
        command
        for block in blocks(page)
        if block.language == "console"
        for command, _ in documents.commands(block)
    ]
    named = {name for line in lines for name in re.findall(r"(?<= )[\w-]+(?:\.[a-z]+)+\b", line)}
    assert named >= {"whole.dbn.zst", "es.csv", "mbo.parquet", "all.jsonl.zst", "es.dbn"}
    assert all((here / name).is_file() for name in named)
    stream = dbnfast.scan(SAMPLE.read_bytes())
    assert dbnfast.scan((here / "merged.dbn.zst").read_bytes()).counts == stream.counts
    assert len(list((here / "parts").iterdir())) == 4  # instruments, of fixtures/MANIFEST.json
    assert len(dbnfast.scan((here / "es.dbn").read_bytes())) == 368
    assert dbnfast.read(here / "today.dbn.zst").counts[dbnfast.RType.TRADES] == 581


def test_the_sections_that_docstrings_name_are_there() -> None:
    titles = {
        re.sub(r"^#+ [\d. ]*", "", line)
        for page in pages()
        for line in page.read_text("utf-8").splitlines()
        if line.startswith("#")
    }
    named = [
        " ".join(title.split())
        for path in Path(dbnfast.__file__).parent.rglob("*.py")
        for cited in re.findall(
            r'docs/\w+\.md``,((?:\s+"[^"]+"(?: and)?)+)', path.read_text("utf-8")
        )
        for title in re.findall(r'"([^"]+)"', cited)
    ]
    assert len(named) >= 6
    assert set(named) <= titles
