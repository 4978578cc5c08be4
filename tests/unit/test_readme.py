"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import dbnfast

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
FIXTURES = ROOT / "fixtures"
if not README.is_file() or not FIXTURES.is_dir():
    pytest.skip("the README and the golden files are not here", allow_module_level=True)

TEXT = README.read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
SAMPLE = Path(dbnfast.__file__).parent / "data" / "sample.dbn.zst"


def run(block: str, namespace: dict[str, Any]) -> None:
    exec(compile(block, str(README), "exec"), namespace)


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
        if "recv_into" not in block:
            run(block, namespace)
    trades = namespace["trades"]
    assert len(trades) == 581  # of fixtures/MANIFEST.json
    assert namespace["price"][0] == 57.82
    assert str(namespace["when"][0]) == "2026-01-05T14:30:00.075020288"
    assert namespace["volume"] == trades["size"].sum()
    counts, line = capsys.readouterr().out.splitlines()
    assert counts.startswith("{<RType.MBP_0: 0>: 581, ")
    assert line.startswith("2026-01-05T14:30:00.075020288 57.82 ")


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


def test_the_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).is_file(), target


def test_the_table_of_the_benchmarks_has_its_place() -> None:
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    assert TEXT.count(begin) == TEXT.count(end) == 1
    assert TEXT.index(begin) < TEXT.index(end)
