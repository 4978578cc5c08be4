"""``dbnfast serve``."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from helpers.gateways import KEY
from helpers.places import FIXTURES

pytest.importorskip("typer")
pytest.importorskip("rich")

from dbnfast.__main__ import main
from dbnfast.live.wire.auth import cram_response

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)
TRADES = str(FIXTURES / "trades.v3.dbn")
MBO = str(FIXTURES / "mbo.v3.dbn")


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")
@pytest.mark.parametrize("from_environment", [False, True])
def test_it_serves_until_it_is_interrupted(from_environment: bool) -> None:
    told = [] if from_environment else ["--key", KEY]
    command = [sys.executable, "-m", "dbnfast", "serve", TRADES, MBO, "--port", "0", "--trace"]
    process = subprocess.Popen(
        [*command, "--at-end", "close", "--fault", "1:no_ack", *told],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DATABENTO_API_KEY": KEY if from_environment else "another-key"},
    )
    with process:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.fullmatch(
            r"dbnfast: 127\.0\.0\.1:(\d+) serves GLBX\.MDP3: mbo, trades; 10 records; "
            r"\*\*\*\*opqrs\n",
            line,
        )
        try:
            assert match is not None, line
            assert records_of(int(match[1]))
        finally:
            process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert "[recv] 0 start_session" in said
    assert re.search(r"\[send\] 0 \d+ bytes", said)
    assert KEY not in line + said


def records_of(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 60) as sock, sock.makefile("rb") as file:
        file.readline()
        challenge = file.readline().decode().strip().removeprefix("cram=")
        auth = f"auth={cram_response(challenge, KEY)}|dataset=GLBX.MDP3\n"
        sock.sendall(auth.encode())
        assert file.readline().startswith(b"success=1")
        sock.sendall(b"schema=mbo|stype_in=raw_symbol|symbols=ALL_SYMBOLS\nstart_session\n")
        return file.read()


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ([TRADES, "--key", "abc"], 2, "key has 3 characters"),
        ([TRADES], 2, "$DATABENTO_API_KEY is not set"),
        ([TRADES, "--key", KEY, "--speed", "warp"], 2, "speed is 'warp'"),
        ([TRADES, "--key", KEY, "--fault", "0:oops"], 2, "fault is '0:oops'"),
        ([TRADES, "--key", KEY, "--at-end", "never"], 2, "never"),
        (["nothing.dbn", "--key", KEY], 1, "nothing.dbn"),
        ([str(FIXTURES / "bad" / "empty.dbn"), "--key", KEY], 1, "empty"),
        ([TRADES, "--key", KEY, "--host", "256.0.0.1"], 1, ""),
    ],
)
def test_what_cannot_be_served(
    args: list[str],
    code: int,
    text: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DATABENTO_API_KEY", raising=False)
    assert main(["serve", *args]) == code
    error = capfd.readouterr().err
    assert text in error
    assert KEY not in error
    assert "Traceback" not in error


def test_a_port_that_is_taken(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", TRADES, "--key", KEY, "--port", str(port)]) == 1
    assert "in use" in capfd.readouterr().err
