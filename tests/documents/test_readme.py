"""What the README shows runs as it stands there, and gives what it says."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast.gateway import Gateway
from helpers.documents import README, Block, blocks, commands, run_cli, run_python
from helpers.places import FIXTURES, SAMPLE

if not README.is_file() or not FIXTURES.is_dir():
    pytest.skip("the README and the golden files are not here", allow_module_level=True)

TEXT = README.read_text("utf-8")
BLOCKS = [block for block in blocks(README) if block.language == "python"]
Capture = pytest.CaptureFixture[str]


def the_block(word: str) -> Block:
    (found,) = (block for block in BLOCKS if word in block.text)
    return found


def run(block: Block, names: dict[str, Any], capture: Capture) -> int:
    return run_python(block, names, lambda: capture.readouterr().out, None)


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
    assert len(BLOCKS) >= 6
    assert sum("recv_into" in block.text for block in BLOCKS) == 1


def test_the_file_blocks_run(capsys: Capture) -> None:
    names: dict[str, Any] = {"path": SAMPLE}
    compared = 0
    for block in BLOCKS:
        if not any(word in block.text for word in ("recv_into", "to_df", "Live(")):
            compared += run(block, names, capsys)
    assert compared == 2
    trades = names["trades"]
    assert len(trades) == 581  # of fixtures/MANIFEST.json
    assert names["price"][0] == 57.82
    assert names["volume"] == trades["size"].sum()


def test_the_store_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    when = dbnfast.scan(SAMPLE.read_bytes()).array("trades")["ts_recv"].view("datetime64[ns]")
    names: dict[str, Any] = {"path": SAMPLE, "dbnfast": dbnfast, "when": when}
    run(the_block("to_df"), names, capsys)
    assert len(names["frame"]) == names["table"].num_rows == 581
    assert len(names["again"]) == 481
    assert len(pandas.read_parquet("trades.parquet")) == 581


def test_the_live_block_runs(capsys: Capture) -> None:
    names: dict[str, Any] = {"path": SAMPLE}
    run(the_block("Live("), names, capsys)
    trades = dbnfast.read(SAMPLE).filter("trades", instrument_ids=42140864).to_ndarray()
    assert names["volume"] == trades["size"].sum() == 3855
    assert names["live"].symbology_map == {42140864: "ESH6"}
    assert not names["live"].is_connected()


def test_the_live_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    found = re.findall(r"dbnfast ((?:live|record) [^`#\n]*)", TEXT)
    lines = [line for line in found if "--dataset" in line]
    assert len(lines) == 2
    monkeypatch.chdir(tmp_path)
    key = "db-of-these-tests-00000"
    with Gateway(SAMPLE, keys=[key], at_end="close") as gateway:
        for line in lines:
            where = ["--gateway", "127.0.0.1", "--port", str(gateway.port), "--key", key]
            assert run_cli([*line.split(), *where, "--no-reconnect"]) == 0, line
            said = capfd.readouterr().err
            assert " records in " in said
            assert "going on" not in said


def test_the_list_of_commands_is_whole() -> None:
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    from dbnfast.cli.app import app

    (listed,) = (b for b in blocks(README) if b.text.startswith("dbnfast demo"))
    names = [line.split()[1] for line in listed.text.splitlines()]
    assert sorted(names) == sorted(str(command.name) for command in app.registered_commands)


def test_what_sets_up_is_there() -> None:
    found = [block for block in blocks(README) if block.language == "console"]
    from helpers.documents import check_setup

    said = [(block, command) for block in found for command, _ in commands(block)]
    assert len(said) >= 5
    for block, command in said:
        check_setup(block, command.partition("  #")[0].replace("'", "").split())


@pytest.mark.parametrize(
    ("path", "n"),
    [
        (FIXTURES / "mixed.v3.dbn", None),
        (FIXTURES / "zstd-two-frames.v3.dbn.zst", None),
        (SAMPLE, 3878),
    ],
    ids=["plain", "two zstd frames", "sample"],
)
def test_the_socket_block_runs(path: Path, n: int | None, capsys: Capture) -> None:
    block = the_block("recv_into")
    data = path.read_bytes()
    host, port, thread = serve(data)
    names: dict[str, Any] = {"host": host, "port": port}
    exec(compile(block.text, str(README), "exec"), names)
    thread.join(10)
    assert not thread.is_alive()
    lines = capsys.readouterr().out.splitlines()
    expected = len(dbnfast.scan(data)) if n is None else n
    assert sum(int(line.split()[0]) for line in lines) == expected
    assert names["decoder"].pending == 0


def test_the_table_of_the_benchmarks_has_its_place() -> None:
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    assert TEXT.count(begin) == TEXT.count(end) == 1
    assert TEXT.index(begin) < TEXT.index(end)
