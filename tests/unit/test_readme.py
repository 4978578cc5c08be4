"""What the documents show runs as it stands there, and prints what they say."""

from __future__ import annotations

import glob
import io
import re
import shlex
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast.convert.text import write_csv, write_json
from dbnfast.gateway import Gateway
from dbnfast.resolving import resolver

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide.md"
FORMAT = ROOT / "docs" / "format.md"
FIXTURES = ROOT / "fixtures"
if not all(path.is_file() for path in (README, GUIDE, FORMAT)) or not FIXTURES.is_dir():
    pytest.skip("the documents and the golden files are not here", allow_module_level=True)

TEXT = README.read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
GUIDE_BLOCKS = re.findall(
    r"^```(\w*)\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE
)
LIBRARIES = ("pandas", "pyarrow", "polars", "duckdb", "msgspec", "typer", "rich")
SAMPLE = Path(dbnfast.__file__).parent / "data" / "sample.dbn.zst"


def run(block: str, namespace: dict[str, Any], document: Path = README) -> None:
    exec(compile(block, str(document), "exec"), namespace)


def said(block: str) -> list[str | None]:
    """What the comments behind the calls of print say that they print; None without a comment."""
    found = []
    for line in block.splitlines():
        if line.lstrip().startswith("print("):
            _, mark, comment = line.rpartition("  # ")
            found.append(comment if mark else None)
    return found


def run_shell(line: str) -> int:
    """Run a command of the guide, with its patterns replaced by the files that they name."""
    from dbnfast.cli.app import run as run_cli

    program, *args = shlex.split(line)
    assert program == "dbnfast", line
    return run_cli([path for arg in args for path in sorted(glob.glob(arg)) or [arg]])


def serve(data: bytes) -> tuple[str, int, threading.Thread]:
    """Send `data` in odd pieces to whoever connects first."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def send() -> None:
        with listener, listener.accept()[0] as connection:
            for at in range(0, len(data), 1001):
                connection.sendall(data[at : at + 1001])

    thread = threading.Thread(target=send)
    thread.start()
    host, port = listener.getsockname()
    return host, port, thread


def test_there_are_blocks_for_a_file_and_a_socket() -> None:
    assert len(BLOCKS) >= 4
    assert sum("recv_into" in block for block in BLOCKS) == 1


def test_the_file_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"path": SAMPLE}
    for block in BLOCKS:
        if not any(word in block for word in ("recv_into", "to_df", "Live(")):
            run(block, namespace)
    trades = namespace["trades"]
    assert len(trades) == 581  # of fixtures/MANIFEST.json
    assert namespace["price"][0] == 57.82
    assert str(namespace["when"][0]) == "2026-01-05T14:30:00.075020288"
    assert namespace["volume"] == trades["size"].sum()
    counts, line = capsys.readouterr().out.splitlines()
    assert counts.startswith("{<RType.MBP_0: 0>: 581, ")
    assert line.startswith("2026-01-05T14:30:00.075020288 57.82 ")


def test_the_store_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    (block,) = (block for block in BLOCKS if "to_df" in block)
    monkeypatch.chdir(tmp_path)
    when = dbnfast.scan(SAMPLE.read_bytes()).array("trades")["ts_recv"].view("datetime64[ns]")
    namespace: dict[str, Any] = {"path": SAMPLE, "dbnfast": dbnfast, "when": when}
    run(block, namespace)
    assert len(namespace["frame"]) == namespace["table"].num_rows == 581
    assert len(namespace["again"]) == 481
    assert len(pandas.read_parquet("trades.parquet")) == 581


def test_the_live_block_runs() -> None:
    (block,) = (block for block in BLOCKS if "Live(" in block)
    namespace: dict[str, Any] = {"path": SAMPLE}
    run(block, namespace)
    trades = dbnfast.read(SAMPLE).filter("trades", instrument_ids=42140864).to_ndarray()
    assert namespace["volume"] == trades["size"].sum() == 3855
    assert namespace["live"].symbology_map == {42140864: "ESH6"}
    assert not namespace["live"].is_connected()


@pytest.mark.parametrize("document", [README, GUIDE], ids=lambda path: path.name)
def test_the_live_commands_run(
    document: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    found = re.findall(r"dbnfast (?:live|record) [^`#\n]*", document.read_text("utf-8"))
    lines = [line for line in found if "--dataset" in line]
    assert len(lines) >= 2
    monkeypatch.chdir(tmp_path)
    key = "db-of-these-tests-00000"
    with Gateway(SAMPLE, keys=[key], at_end="close") as gateway:
        for line in lines:
            where = f" --gateway 127.0.0.1 --port {gateway.port} --key {key} --no-reconnect"
            assert run_shell(line + where) == 0, line
            said = capfd.readouterr().err
            assert " records in " in said
            assert "going on" not in said


@pytest.mark.parametrize(
    ("path", "n"),
    [
        (FIXTURES / "mixed.v3.dbn", None),
        (FIXTURES / "zstd-two-frames.v3.dbn.zst", None),
        (SAMPLE, 3878),
    ],
    ids=["plain", "two zstd frames", "sample"],
)
def test_the_socket_block_runs(
    path: Path, n: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = (block for block in BLOCKS if "recv_into" in block)
    data = path.read_bytes()
    host, port, thread = serve(data)
    namespace: dict[str, Any] = {"host": host, "port": port}
    run(block, namespace)
    thread.join(10)
    assert not thread.is_alive()
    lines = capsys.readouterr().out.splitlines()
    expected = len(dbnfast.scan(data)) if n is None else n
    assert sum(int(line.split()[0]) for line in lines) == expected
    assert namespace["decoder"].pending == 0


def test_the_guide_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in LIBRARIES:
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "guide"}
    n_said = 0
    for language, block in GUIDE_BLOCKS:
        assert language in ("python", "sh"), "a block that nothing runs"
        if language == "sh":
            for line in block.splitlines():
                assert run_shell(line) == 0, line
            capsys.readouterr()
            continue
        run(block, namespace, GUIDE)
        expected = said(block)
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == len(expected), block
        for line, words in zip(printed, expected, strict=True):
            assert words in (None, line)
            n_said += words is not None
    assert n_said > 30
    assert namespace["n"] == len(namespace["trades"])
    assert namespace["turnover"].sum() == (
        pytest.approx((namespace["trades"]["price"] / 1e9 * namespace["trades"]["size"]).sum())
    )


def test_the_guides_commands_write_what_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in LIBRARIES:
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLE, "sample.dbn.zst")
    Path("cut.dbn.zst").write_bytes(SAMPLE.read_bytes()[:60_000])
    ((_, block),) = (found for found in GUIDE_BLOCKS if found[0] == "sh")
    named = []
    for line in block.splitlines():
        assert run_shell(line) == 0, line
        named += re.findall(r"(?<= )[\w-]+(?:\.[a-z]+)+(?= |$)", line)
    assert len(set(named)) == 8
    assert all((tmp_path / name).is_file() for name in named)
    merged = dbnfast.scan(Path("merged.dbn.zst").read_bytes())
    assert merged.counts == dbnfast.scan(SAMPLE.read_bytes()).counts
    assert len(list(Path("by-symbol").iterdir())) == 4  # instruments, of fixtures/MANIFEST.json
    assert len(dbnfast.scan(Path("es.dbn").read_bytes())) == 368
    assert "damage" not in capsys.readouterr().out


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


@pytest.mark.parametrize(
    "document", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_the_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
        assert (document.parent / target).is_file(), target


def test_the_table_of_the_benchmarks_has_its_place() -> None:
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    assert TEXT.count(begin) == TEXT.count(end) == 1
    assert TEXT.index(begin) < TEXT.index(end)
