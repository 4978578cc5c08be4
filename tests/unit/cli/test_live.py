"""``dbnfast live`` and ``dbnfast record``, against gateways on 127.0.0.1."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dbnfast
from dbnfast import Records, RType
from helpers import peers, streams
from helpers.gateways import CONTROL, KEY
from helpers.places import SAMPLE

pytest.importorskip("typer")
pytest.importorskip("rich")

from dbnfast.__main__ import main
from dbnfast.cli import live_options as sessions
from dbnfast.cli.commands import demo
from dbnfast.cli.commands import live as command
from dbnfast.gateway import Cut, FailAuth, Gateway, SendError, Silence
from dbnfast.live.events import ErrorEvent, Gap, MarketState, Reconnected, Skipped
from dbnfast.live.recorder import Recorder, recover
from dbnfast.live.session import retry

STREAM = dbnfast.scan(SAMPLE.read_bytes())
N_TRADES = 581  # of fixtures/MANIFEST.json
N_TWO = 409  # of them ESH6 and CLG6
N_CONTROL = 5  # an acknowledgement and four mappings
OTHER_KEY = "db-99999999999999999999999999999"
WORDY_KEY = "db-qwertyuiopasdfghjklzxcvbopqrs"  # no number could be part of it
PATIENCE = 60  # s: so that a mistake ends a test
SCHEMAS = ("trades", "mbp-1", "mbo", "definition", "statistics", "status", "ohlcv-1s")
signals = pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without the wait."""
    monkeypatch.setattr(retry, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(retry, "SPACING", 0.01)
    monkeypatch.delenv("DATABENTO_API_KEY", raising=False)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """The sample, as fast as it goes, and then the end."""
    with Gateway(SAMPLE, keys=[KEY], at_end="close", keep_log=True) as found:
        yield found


def told(gateway: Gateway | int, *schemas: str, key: str = KEY) -> list[str]:
    """The options that name a session."""
    port = gateway if isinstance(gateway, int) else gateway.port
    args = ["--dataset", "GLBX.MDP3", "--gateway", "127.0.0.1", "--port", str(port)]
    for schema in schemas or ("trades",):
        args += ["-s", schema]
    return [*args, "--key", key, "--no-reconnect"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def market(records: Records) -> Records:
    """The records that are no control records."""
    return records.filter([key for key in records.counts if key not in CONTROL])


def walk(records: Records) -> list[bytes]:
    return [bytes(record) for record in records]


def by_kind(records: Sequence[bytes]) -> dict[tuple[int, bytes], list[bytes]]:
    """Raw records by type and instrument, in their order."""
    found: dict[tuple[int, bytes], list[bytes]] = {}
    for raw in records:
        found.setdefault((raw[1], raw[4:8]), []).append(raw)
    return found


class Command(subprocess.Popen[str]):
    """A process that ends where a test fails: waiting for it would hide what is wrong."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def spawn(*args: str, **kwargs: Any) -> subprocess.Popen[str]:
    """Run a command as a process of its own."""
    return Command(
        [sys.executable, "-m", "dbnfast", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def wait_for(what: Any, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


# --- live: what is shown ----------------------------------------------------------------------


def test_records_are_lines(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", *told(gateway)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:N_CONTROL]] == ["system"] + 4 * ["symbol-mapping"]
    trades = [line for line in lines if line.startswith("mbp-0")]
    assert len(trades) == N_TRADES == len(lines) - N_CONTROL
    assert "price=57.82 size=" in trades[0]
    assert re.fullmatch(
        r"dbnfast: 586 records in \S+, [\d,]+/s, 0 reconnects, 0 gaps \(0 unfilled\)\n", err
    )


def test_a_session_of_the_command_line_does_without_pandas(gateway: Gateway) -> None:
    code = (
        "import sys\nfrom dbnfast.__main__ import main\ncode = main()\n"
        "print('pandas' in sys.modules)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "live", *told(gateway)],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == N_CONTROL + N_TRADES + 1
    assert lines[-1] == "False"


def test_records_are_lines_of_json(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", *told(gateway, "trades", "mbp-1"), "--show", "json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    trades = [one for one in found if one["hd"]["rtype"] == RType.MBP_0]
    assert len(trades) == N_TRADES
    assert trades[0]["symbol"] == "CLG6"
    assert trades[0]["price"] == "57.820000000"
    assert sum(one["hd"]["rtype"] == RType.MBP_1 for one in found) == STREAM.counts[RType.MBP_1]


def test_the_table_has_the_last_prices(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["live", *told(gateway, "mbp-1", "trades"), "--show", "table"]) == 0
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header[:2] == ["symbol", "time"]
    assert {row[0] for row in rows} == {"ESH6", "NQH6", "CLG6", "GCG6"}
    quotes, trades = STREAM.array("mbp-1"), STREAM.array("trades")
    of = {42140864: "ESH6", 42005804: "NQH6", 42036451: "CLG6", 42008377: "GCG6"}
    for id_, symbol in of.items():
        (row,) = (row for row in rows if row[0] == symbol)
        quote = quotes[quotes["instrument_id"] == id_][-1]
        ours = trades[trades["instrument_id"] == id_]
        assert [float(row[3]), float(row[4])] == [
            quote["bid_px_00"] / 1e9,
            quote["ask_px_00"] / 1e9,
        ]
        assert [int(row[2]), int(row[5])] == [quote["bid_sz_00"], quote["ask_sz_00"]]
        assert float(row[6]) == ours["price"][-1] / 1e9
        n = len(ours) + (quotes["instrument_id"] == id_).sum()
        assert int(row[8].replace(",", "")) == n


def test_the_table_is_drawn_on_a_terminal(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(command, "REDRAW", 0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["live", *told(gateway, "mbp-1"), "--show", "table"]) == 0
    text = terminal.getvalue()
    assert "\x1b[" in text
    assert "0 reconnects" in text
    assert text.splitlines()[-1].split()[0] in {"ESH6", "NQH6", "CLG6", "GCG6"}


def test_the_table_of_nothing_is_empty(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["live", *told(gateway, "tbbo"), "--symbols", "XXXX", "--show", "table"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "dbnfast: error symbol_resolution_failed: Failed to resolve symbol XXXX\n" in err


@pytest.mark.parametrize("show", ["records", "json", "table"])
@pytest.mark.parametrize("reply", [None, f"success=0|error=no {WORDY_KEY}\n".encode()])
def test_a_key_that_the_gateway_repeats_is_not_shown(
    show: str,
    reply: bytes | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = WORDY_KEY
    monkeypatch.setattr(peers, "KEY", own)
    said = peers.system(f"hello {own}") + peers.error(f"no {own} here", 4)
    said += peers.mapping(100, own, own) + streams.trade(0)

    def script(talk: peers.Talk) -> None:
        talk.greet(session_id=own, reply=reply)
        talk.until_start()
        talk.send(peers.live_header() + said)

    with peers.Peer(script) as peer:
        options = [*told(peer.port, key=own), "--show", show, "--trace", "--hexdump"]
        assert main(["live", *options]) == (0 if reply is None else 1)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert [own[at : at + 6] for at in range(len(own) - 5) if own[at : at + 6] in text] == []
    assert "****opqrs" in err
    assert ("****opqrs" in out) == (reply is None)


def test_a_key_with_a_line_break_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABENTO_API_KEY", KEY + "\n")
    args = ["live", "--dataset", "GLBX.MDP3", "--gateway", "127.0.0.1", "-s", "trades"]
    assert main(args) == 2
    assert "key ends with whitespace" in capsys.readouterr().err


def test_nothing_is_shown(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", *told(gateway), "--show", "none"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dbnfast: 586 records in ")


@pytest.mark.parametrize(
    ("more", "n", "line"),
    [
        (["--symbols", "ESH6"], 368, "symbols=ESH6|snapshot=0"),
        (["--symbols", "ESH6,clg6"], N_TWO, "symbols=ESH6,CLG6|"),
        (["--symbols", "ESH6", "--symbols", "CLG6"], N_TWO, "symbols=ESH6,CLG6|"),
        (["--symbols", "es.fut", "--stype-in", "parent"], 368, "stype_in=parent|symbols=ES.FUT|"),
        (["--symbols", "42140864", "--stype-in", "instrument_id"], 368, "symbols=42140864|"),
        ([], N_TRADES, "symbols=ALL_SYMBOLS|"),
        (["--start", "2026-01-05T14:31"], 318, "start=1767623460000000000|"),
        (["--start", "0"], N_TRADES, "start=0|"),
        (["--json-feed"], N_TRADES, "encoding=json|"),
        (["--zstd-feed", "--ts-out", "--heartbeat", "7"], N_TRADES, "heartbeat_interval_s=7|"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_asked_for(
    gateway: Gateway, more: list[str], n: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--json-feed" in more:
        pytest.importorskip("msgspec")
    begin = len(gateway.log)
    assert main(["live", *told(gateway), *more]) == 0
    out = capsys.readouterr().out
    trades = [one for one in out.splitlines() if one.startswith("mbp-0")]
    assert len(trades) == n
    assert any(line in text for _, text in gateway.log[begin:])
    auth = next(text for _, text in gateway.log[begin:] if text.startswith("auth="))
    assert ("ts_out=1" in auth) == ("--ts-out" in more) == all("ts_out=" in one for one in trades)
    assert ("compression=zstd" in auth) == ("--zstd-feed" in more)


def test_send_times_give_the_lag(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", *told(gateway), "--ts-out", "--show", "none"]) == 0
    assert re.search(r", last lag \d+\.\d{3} ms\n", capsys.readouterr().err)


def test_a_snapshot_of_the_book(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    begin = len(gateway.log)
    assert main(["live", *told(gateway, "mbo", "trades"), "--snapshot", "--show", "json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    flags = [one["flags"] for one in found if one["hd"]["rtype"] == RType.MBO]
    assert flags[0] & 40 == 40
    asked = [text for _, text in gateway.log[begin:] if text.startswith("schema=")]
    assert ["snapshot=1" in text for text in asked] == [True, False]  # no other schema has one


def test_so_many_records(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", *told(gateway), "-n", "7"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 7
    assert err.startswith("dbnfast: 7 records in ")


def test_so_long(capsys: pytest.CaptureFixture[str]) -> None:
    with Gateway(SAMPLE, keys=[KEY]) as idle:  # which never ends a session
        assert main(["live", *told(idle), "--for", "2s", "--show", "none"]) == 0
    assert capsys.readouterr().err.startswith("dbnfast: 586 records in 2.")


def test_the_key_of_the_environment(
    gateway: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABENTO_API_KEY", KEY)
    args = told(gateway)
    at = args.index("--key")
    assert main(["live", *args[:at], *args[at + 2 :], "-n", "1"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


# --- live: the trace --------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--trace", "--hexdump"])
def test_the_trace(gateway: Gateway, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", *told(gateway), option, "--show", "none"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert KEY not in err
    assert KEY[3:-5] not in err
    for words in (
        "[recv] lsg_version=", "[recv] cram=", "[send] auth=", "-opqrs|dataset=GLBX.MDP3|",
        "[recv] success=1|", "[send] schema=trades|", "[send] start_session=0", "581 mbp-0",
    ):  # fmt: skip
        assert words in err, words
    dumped = "00000000: 4442 4e03 7800 0000 474c 4258 2e4d 4450  DBN.x...GLBX.MDP" in err
    assert dumped == (option == "--hexdump")


# --- live: into a file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "more", "packed"),
    [
        ("out.dbn", [], False),
        ("out.dbn.zst", [], True),
        ("out.dbn", ["--zstd"], True),
        ("out.dbn", ["--json-feed"], False),
        ("out.dbn", ["--ts-out", "--zstd-feed"], False),
    ],
)
def test_a_file(
    gateway: Gateway,
    name: str,
    more: list[str],
    packed: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    databento = pytest.importorskip("databento")
    path = tmp_path / name
    assert main(["live", *told(gateway, "trades", "mbp-1"), "-o", str(path), *more]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dbnfast: 2,091 records in ")
    data = path.read_bytes()
    assert data.startswith(b"\x28\xb5\x2f\xfd" if packed else b"DBN\x03")
    records = dbnfast.scan(data, on_truncated="raise")
    assert records.metadata is not None
    assert records.metadata.schema is None
    assert records.ts_out == ("--ts-out" in more)
    for schema in ("trades", "mbp-1"):
        ours, theirs = records.array(schema), STREAM.array(schema)
        names = [one for one in theirs.dtype.names or () if one != "length"]
        assert (ours[names] == theirs[names]).all()
    assert len(databento.DBNStore.from_bytes(data).to_ndarray(schema="trades")) == N_TRADES
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_file_and_what_is_shown(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.dbn"
    args = ["live", *told(gateway), "-o", str(path), "--show", "json", "-n", "20"]
    assert main(args) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(dbnfast.scan(path.read_bytes())) == 20


def test_standard_output(
    gateway: Gateway, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["live", *told(gateway), "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert dbnfast.scan(out).counts[RType.MBP_0] == N_TRADES
    assert err.startswith(b"dbnfast: 586 records in ")


def test_a_file_that_is_there(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.dbn"
    path.write_bytes(b"mine")
    before = gateway.connections
    args = ["live", *told(gateway), "-o", str(path)]
    assert main(args) == 1
    assert capsys.readouterr().err == f"dbnfast: {path}: exists already; --force replaces it\n"
    assert gateway.connections == before  # told before anything is asked for
    assert path.read_bytes() == b"mine"
    assert main([*args, "--force"]) == 0
    assert dbnfast.scan(path.read_bytes()).counts[RType.MBP_0] == N_TRADES


def test_a_file_that_cannot_be(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "no folder" / "out.dbn"
    assert main(["live", *told(gateway), "-o", str(path)]) == 1
    assert f"{path}: No such file" in capsys.readouterr().err


def test_a_record_that_was_cut_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.dbn"
    with Gateway(SAMPLE, keys=[KEY], faults={0: Cut(600)}) as cut:  # header, system, and a part
        assert main(["live", *told(cut), "-o", str(path)]) == 0
    records = dbnfast.scan(path.read_bytes(), on_truncated="raise")
    assert records.metadata is not None
    assert records.metadata.dataset == "GLBX.MDP3"
    assert records.counts == {RType.SYSTEM: 1}
    assert capsys.readouterr().err.startswith("dbnfast: 1 record in ")


@pytest.mark.parametrize("command", ["live", "record"])
@pytest.mark.parametrize(
    ("fault", "told_so"),
    [
        (Cut(100), "the gateway closed the connection before anything came"),
        (Silence(100), "the session ended before anything came"),
    ],
)
def test_an_end_before_anything_came(
    command: str, fault: Any, told_so: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [str(tmp_path)] if command == "record" else ["-o", str(tmp_path / "out.dbn")]
    with Gateway(SAMPLE, keys=[KEY], faults={0: fault}) as gateway:
        limit = ["--for", "0.5s"] if isinstance(fault, Silence) else []
        assert main([command, *where, *told(gateway), *limit]) == 1
    assert capsys.readouterr().err.startswith(f"dbnfast: {told_so}\n")
    assert list(tmp_path.iterdir()) == []


def test_what_came_before_an_error_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.dbn.zst"
    faults = {0: SendError(2, "User or API key deactivated", 20_000)}
    with Gateway(SAMPLE, keys=[KEY], faults=faults) as failing:
        assert main(["live", *told(failing), "-o", str(path)]) == 1
    error = capsys.readouterr().err
    assert "dbnfast: error api_key_deactivated: User or API key deactivated\n" in error
    records = dbnfast.scan(path.read_bytes(), on_truncated="raise")
    n = records.counts[RType.MBP_0]
    assert 300 < n < N_TRADES
    assert walk(records.filter("trades")) == walk(STREAM.filter("trades"))[:n]


# --- live: ends -------------------------------------------------------------------------------


def test_a_wrong_key(gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.dbn"
    for more in ([], ["-o", str(path)], ["--show", "table"], ["--show", "json"]):
        assert main(["live", *told(gateway, key=OTHER_KEY), *more]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == "dbnfast: the gateway refused the session: Authentication failed.\n"
    assert not path.exists()


def test_a_key_that_is_refused_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "A live data license is required to access GLBX.MDP3."
    with Gateway(SAMPLE, keys=[KEY], faults={None: FailAuth(reason)}) as refusing:
        args = [one for one in told(refusing) if one != "--no-reconnect"]
        assert main(["live", *args]) == 1
    assert capsys.readouterr().err == f"dbnfast: the gateway refused the session: {reason}\n"


@pytest.mark.parametrize("command", ["live", "record"])
def test_no_gateway(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    folder = [str(tmp_path / "rec")] if command == "record" else []
    assert main([command, *folder, *told(port)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"dbnfast: no connection to 127\.0\.0\.1:{port}: .*\n", err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["live", "record"])
def test_no_gateway_in_all_that_time(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [str(tmp_path)] if command == "record" else ["-o", str(tmp_path / "out.dbn")]
    args = [one for one in told(free_port()) if one != "--no-reconnect"]
    assert main([command, *where, *args, "--for", "0.3s"]) == 1
    *tries, last = capsys.readouterr().err.splitlines()
    assert last == "dbnfast: no connection could be made in all that time"
    for attempt, line in enumerate(tries, 1):
        assert re.fullmatch(
            rf"dbnfast: attempt {attempt} failed: no connection to 127\.0\.0\.1:\d+: .*; "
            r"next attempt in \d+\.\d s",
            line,
        )
    assert tries
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["-s", "nope"], "'nope' is not a valid Schema, expected one of mbo, mbp-1, mbp-10,"),
        (["-s", "tades"], "'tades' is not a valid Schema (did you mean 'trades'?), expected one"),
        (["--for", "3"], "'3' is no duration"),
        (["--start", "yesterday"], "time is 'yesterday'"),
        (["-s", "mbo", "--snapshot", "--start", "0"], "snapshot=True expects start=None"),
        (["--snapshot"], "--snapshot begins mbo"),
        (["--stype-in", "nope"], "'nope' is not a valid SType"),
        (["--heartbeat", "3"], "--heartbeat"),
        (["--heartbeat", "1801"], "--heartbeat"),
        (["--key", "abc"], "key has 3 characters"),
        (["--port", "0"], "--port"),
        (["--port", "70000"], "--port"),
        (["--symbols", "A|B"], "symbol 'A|B'"),
        (["--symbols", ","], "symbol ''"),
        (["--symbols", "ALL_SYMBOLS,ESH6"], "ALL_SYMBOLS beside others"),
        (["--dataset", " "], "dataset is ' '"),
        (["--gateway", ""], "gateway is ''"),
        (["-n", "0"], "--records"),
        (["-n", "many"], "--records"),
        (["--nonsense"], "--nonsense"),
        (["more"], "more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("command", ["live", "record"])
def test_wrong_options(
    command: str,
    more: list[str],
    text: str,
    gateway: Gateway,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = [str(tmp_path / "rec")] if command == "record" else []
    assert main([command, *folder, *told(gateway), *more]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert text in re.sub(r"\s+", " ", err)
    assert KEY not in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["-o", "-", "--show", "json"], "--out - and --show json both write to standard output"),
        (["--show", "all"], "--show"),
    ],
)
def test_wrong_options_of_live(
    more: list[str], text: str, gateway: Gateway, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["live", *told(gateway), *more]) == 2
    assert text in capfd.readouterr().err


def test_no_key(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    args = told(gateway)
    at = args.index("--key")
    assert main(["live", *args[:at]]) == 2
    assert "$DATABENTO_API_KEY is not set" in capsys.readouterr().err


def test_a_closed_pipe_is_quiet() -> None:
    with Gateway(SAMPLE, keys=[KEY]) as idle:  # lines come long after the first
        process = spawn("live", *told(idle, "mbo", "mbp-1", "trades"))
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith("system ")
            process.stdout.close()
            assert process.wait(PATIENCE) == 0
            said = process.stderr.read()
    assert re.fullmatch(r"dbnfast: [\d,]+ records? in .*\n", said)


def test_a_closed_pipe_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.dbn"
    with Gateway(SAMPLE, keys=[KEY]) as idle:
        args = told(idle, "mbo", "mbp-1", "trades")
        process = spawn("live", *args, "-o", str(path), "--show", "records")
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(PATIENCE) == 0
    assert len(dbnfast.scan(path.read_bytes(), on_truncated="raise")) > 0


@signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("to_file", [False, True])
def test_ctrl_c_and_sigterm(to_file: bool, number: int, code: int, tmp_path: Path) -> None:
    path = tmp_path / "out.dbn.zst"
    more = ["-o", str(path), "--show", "records"] if to_file else []
    with Gateway(SAMPLE, keys=[KEY]) as idle:
        process = spawn("live", *told(idle), *more)
        with process:
            assert process.stdout is not None
            for _ in range(N_TRADES + N_CONTROL):
                assert process.stdout.readline()
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("dbnfast: 586 records in ")
    if to_file:
        assert dbnfast.scan(path.read_bytes(), on_truncated="raise").counts[RType.MBP_0] == N_TRADES


@signals
@pytest.mark.parametrize("name", ["out.dbn", "out.dbn.zst"])
def test_a_full_disk_leaves_what_was_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    code = (
        "import resource, sys; from dbnfast.__main__ import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, -1)); sys.exit(main(sys.argv[1:]))"
    )
    with Gateway(SAMPLE, keys=[KEY], speed="50x") as paced:
        args = ["live", *told(paced, *SCHEMAS), "-o", str(path)]
        process = subprocess.run(
            [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=PATIENCE
        )
    assert process.returncode == 1
    assert f"dbnfast: {path}: File too large\n" in process.stderr
    assert "Traceback" not in process.stderr
    assert [one.name for one in tmp_path.iterdir()] == [name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbnfast.TruncatedWarning)
        found = dbnfast.scan(path.read_bytes())
    assert found.metadata is not None
    assert len(found) > 20
    assert path.stat().st_size <= 9000


@signals
@pytest.mark.parametrize("name", ["out.dbn", "out.dbn.zst"])
def test_a_killed_session_leaves_what_was_written(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with Gateway(SAMPLE, keys=[KEY], speed="50x") as paced:
        process = spawn("live", *told(paced, *SCHEMAS), "-o", str(path))
        with process:
            wait_for(lambda: path.exists() and path.stat().st_size > 5000, process)
            process.kill()
    assert [one.name for one in tmp_path.iterdir()] == [name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbnfast.TruncatedWarning)
        assert len(dbnfast.scan(path.read_bytes())) > 20


def test_a_file_that_is_there_stays_until_records_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.dbn"
    path.write_bytes(b"mine")
    with Gateway(SAMPLE, keys=[KEY], faults={0: FailAuth("no")}) as refuses:
        assert main(["live", *told(refuses), "-o", str(path), "--force"]) == 1
    assert path.read_bytes() == b"mine"
    link = tmp_path / "link.dbn"
    link.symlink_to(path)
    with Gateway(SAMPLE, keys=[KEY]) as gateway:
        assert main(["live", *told(gateway), "-o", str(link), "--force", "-n", "9"]) == 0
    assert link.is_symlink()
    assert len(dbnfast.scan(path.read_bytes(), on_truncated="raise")) == 9


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there is no such device")
def test_a_device_is_written_to_as_it_is(gateway: Gateway) -> None:
    args = ["live", *told(gateway), "-o", "/dev/stdout", "-n", "9"]
    with spawn(*args) as process:
        assert process.stdout is not None
        data = process.stdout.buffer.read()  # type: ignore[attr-defined]
        assert process.wait(PATIENCE) == 0
    assert len(dbnfast.scan(data, on_truncated="raise")) == 9


@signals
def test_ctrl_c_before_anything_came(tmp_path: Path) -> None:
    args = [one for one in told(free_port()) if one != "--no-reconnect"]
    process = spawn("live", *args, "-o", str(tmp_path / "out.dbn"))
    with process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("dbnfast: attempt 1 failed: ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.dbn"
    with Gateway(SAMPLE, keys=[KEY], faults={0: Cut(20_000)}) as cut:
        args = [one for one in told(cut, "trades", "mbp-1") if one != "--no-reconnect"]
        assert main(["live", *args, "-o", str(path), "--for", "5s"]) == 0
    err = capsys.readouterr().err
    assert "dbnfast: connected again after " in err
    assert len(re.findall(r"dbnfast: gap of .*: filled by replay", err)) == 2
    assert ", 1 reconnect, 2 gaps (0 unfilled)" in err
    records = dbnfast.scan(path.read_bytes(), on_truncated="raise")
    assert by_kind(walk(market(records))) == by_kind(walk(STREAM.filter(["trades", "mbp-1"])))


def test_events_in_words() -> None:
    found = [
        Gap(dbnfast.Schema.TRADES, 0, 10**9, False, "reset"),
        Reconnected("reset", 3, 2.25, "7", SimpleNamespace(), 0),  # type: ignore[arg-type]
        Skipped("latest", 1, 48),
        MarketState("closed", 0),
        ErrorEvent(77, "what", False),
    ]
    assert [sessions.describe(event) for event in found] == [
        "gap of trades, 1970-01-01T00:00:00.000000000 to 1970-01-01T00:00:01.000000000: "
        "NOT filled (reset)",
        "connected again after 2.2 s and 3 attempts: reset",
        "1 record dropped: latest",
        "the feed is closed",
        "error 77: what",
    ]


# --- record -----------------------------------------------------------------------------------


def check_files(paths: Sequence[Path], schemas: Sequence[str]) -> None:
    """Every file decodes by itself with the official reader; together they are the source."""
    databento = pytest.importorskip("databento")
    for path in paths:
        n = sum(1 for _ in databento.DBNStore.from_bytes(path.read_bytes()))
        assert n == len(dbnfast.scan(path.read_bytes(), on_truncated="raise")) > 0
    got = [raw for path in paths for raw in walk(market(dbnfast.scan(path.read_bytes())))]
    assert by_kind(got) == by_kind(walk(STREAM.filter(schemas)))


@pytest.mark.parametrize("fsync", ["close", "interval", "always"])
@pytest.mark.parametrize("zstd", [False, True])
def test_a_recording(
    gateway: Gateway, fsync: str, zstd: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--fsync", fsync, "--rotate", "20k", *(["--zstd"] if zstd else [])]
    folder = tmp_path / "rec"
    assert main(["record", str(folder), *told(gateway, "trades", "mbp-1"), *more]) == 0
    out, err = capsys.readouterr()
    paths = [Path(line) for line in out.splitlines()]
    assert sorted(folder.glob("*.dbn*")) == sorted(paths)
    suffix = ".dbn.zst" if zstd else ".dbn"
    assert [path.name.partition("Z-")[2] for path in paths] == [
        f"{i + 1:06d}{suffix}" for i in range(len(paths))
    ]
    assert all(path.name.startswith("GLBX.MDP3-20260105T14") for path in paths)
    assert err.startswith("dbnfast: 2,091 records in ")
    check_files(paths, ["trades", "mbp-1"])
    if not zstd:
        assert len(paths) > 5
        assert max(path.stat().st_size for path in paths) <= 20 << 10


def test_a_recording_by_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = 86_400 * 10**9
    array = dbnfast.empty("trades", 6)
    array["ts_event"] = array["ts_recv"] = [20_500 * day + i * day // 2 for i in range(6)]
    array["instrument_id"] = 7
    header = dbnfast.Metadata("XNAS.ITCH", 20_500 * day, schema="trades", stype_in="raw_symbol")
    with Gateway(dbnfast.encode(array, header), keys=[KEY], at_end="close") as days:
        args = ["record", str(tmp_path), *told(days), "--dataset", "XNAS.ITCH", "--by-day"]
        assert main([*args, "--prefix", "mine"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len(paths) == 3
    assert [re.sub(r"T\d+Z", "", path.name) for path in paths] == [
        f"mine-202602{16 + i}-00000{i + 1}.dbn" for i in range(3)
    ]
    counts = [dbnfast.scan(path.read_bytes()).counts[RType.MBP_0] for path in paths]
    assert counts == [2, 2, 2]


@pytest.mark.parametrize("size", ["0", "x", "1.5M", "-1", "10T"])
def test_a_size_that_is_none(
    size: str, gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", str(tmp_path), *told(gateway), f"--rotate={size}"]) == 2
    assert "is no size as" in capsys.readouterr().err


def test_a_folder_that_cannot_be(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    assert main(["record", str(path), *told(gateway)]) == 1
    assert capsys.readouterr().err.startswith(f"dbnfast: {path}: Not a directory\n")
    assert path.read_bytes() == b"mine"


def test_a_recording_goes_on_where_nothing_was(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["record", str(tmp_path), *told(gateway, "trades", "mbp-1"), "--resume"]
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert "going on" not in err
    check_files([Path(line) for line in out.splitlines()], ["trades", "mbp-1"])


def test_a_recording_goes_on_behind_one_that_ended(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["record", str(tmp_path), *told(gateway, "trades", "mbp-1"), "--resume"]
    assert main([*args, "-n", "900"]) == 0
    assert capsys.readouterr().err.startswith("dbnfast: 900 records in ")
    assert main([*args, "--zstd"]) == 0
    assert "dbnfast: going on behind 900 records in 1 file\n" in capsys.readouterr().err
    assert main(args) == 0  # nothing is missing, nothing comes twice
    check_files(recover(tmp_path).files, ["trades", "mbp-1"])


@signals
@pytest.mark.parametrize(
    "more",
    [["--rotate", "60k"], ["--zstd", "--fsync", "always", "--zstd-feed"]],
    ids=["plain", "zstd"],
)
def test_a_recording_that_was_killed(more: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    with Gateway(SAMPLE, keys=[KEY], speed="60x", at_end="close") as paced:
        args = ["record", str(folder), *told(paced, *SCHEMAS), *more]
        first = spawn(*args)
        with first:
            wait_for(lambda: size_of(folder) > (100_000 if "--rotate" in more else 12_000), first)
            first.kill()
        before = sorted(folder.glob("*.dbn*"))
        with open(before[-1], "r+b") as file:  # as if the kill had come inside a write
            file.truncate(before[-1].stat().st_size - 9)
        second = spawn(*args, "--resume")
        out, err = second.communicate(timeout=PATIENCE)
        assert second.returncode == 0, err
    assert re.search(r"dbnfast: [\d,]+ bytes of a record that was cut are removed\n", err)
    assert re.search(r"dbnfast: going on behind [\d,]+ records in \d+ files?\n", err)
    paths = recover(folder).files
    assert set(before) < set(paths)
    assert [Path(line) for line in out.splitlines()] == list(paths[len(before) :])
    check_files(paths, SCHEMAS)


def size_of(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    # hidden ones come and go
    return sum(path.stat().st_size for path in folder.glob("[!.]*.dbn*"))


def len_of(folder: Path) -> int:
    if size_of(folder) < N_TRADES * 48:  # there may be no header yet
        return 0
    return sum(
        len(dbnfast.scan(path.read_bytes(), on_truncated="ignore"))
        for path in folder.glob("[!.]*.dbn*")
    )


def test_a_folder_that_has_a_recording_is_refused(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["record", str(tmp_path), *told(gateway)]
    assert main([*args, "-n", "100"]) == 0
    before = sorted((path, path.read_bytes()) for path in tmp_path.iterdir())
    capsys.readouterr()
    assert main(args) == 1
    assert capsys.readouterr().err == (
        f"dbnfast: {tmp_path}: holds a recording of prefix 'GLBX.MDP3': --resume goes on with it, "
        "another DIR or --prefix begins one\n"
    )
    assert sorted((path, path.read_bytes()) for path in tmp_path.iterdir()) == before
    assert main([*args, "--prefix", "other", "-n", "100"]) == 0
    assert main([*args, "--resume"]) == 0
    check_files(recover(tmp_path, "GLBX.MDP3").files, ["trades"])


@pytest.mark.parametrize(
    ("first", "second", "found", "expected"),
    [
        (
            ["--symbols", "ESH6"],
            ["--symbols", "ESH6,CLG6"],
            "trades of ESH6 (raw_symbol)",
            "trades of CLG6,ESH6 (raw_symbol)",
        ),
        (
            ["-s", "mbo"],
            [],
            "mbo of ALL_SYMBOLS (raw_symbol), trades of ALL_SYMBOLS (raw_symbol)",
            "trades of ALL_SYMBOLS (raw_symbol)",
        ),
        (
            ["--symbols", "ES.FUT", "--stype-in", "parent"],
            ["--symbols", "ESH6"],
            "trades of ES.FUT (parent)",
            "trades of ESH6 (raw_symbol)",
        ),
        ([], ["--ts-out"], "ts_out False", "ts_out True"),
        ([], ["--dataset", "XNAS.ITCH"], "dataset 'GLBX.MDP3'", "dataset 'XNAS.ITCH'"),
    ],
    ids=["symbols", "schemas", "stype", "ts_out", "dataset"],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_recording_goes_on_with_the_same_only(
    gateway: Gateway,
    first: list[str],
    second: list[str],
    found: str,
    expected: str,
    known: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = ["record", str(tmp_path), *told(gateway), "--prefix", "x"]
    assert main([*args, *first, "-n", "100"]) == 0
    if not known:  # as an earlier version left it, or a program
        (tmp_path / "x.session.json").unlink()
    capsys.readouterr()
    code = main([*args, *second, "--resume"])
    err = capsys.readouterr().err
    if known or "trades" not in found:
        assert code == 2
        assert err == (
            f"dbnfast: {tmp_path}: the recording is of {found}, expected {expected}: --resume goes "
            "on with the same, another DIR or --prefix begins a new one\n"
        )
        assert len(recover(tmp_path).files) == 1
    else:
        assert code == 0
        assert (tmp_path / "x.session.json").exists()


def test_what_a_recording_asked_for_is_beside_it(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--symbols", "NQH6,esh6", "-n", "9"]
    args = ["record", str(tmp_path), *told(gateway, "trades", "mbo"), *more]
    assert main(args) == 0
    path = tmp_path / "GLBX.MDP3.session.json"
    assert json.loads(path.read_bytes()) == {
        "dataset": "GLBX.MDP3",
        "ts_out": False,
        "subscriptions": [
            {"schema": schema, "stype_in": "raw_symbol", "symbols": ["ESH6", "NQH6"]}
            for schema in ("mbo", "trades")
        ],
    }
    assert len(dbnfast.read(tmp_path).to_ndarray("mbo")) > 0  # no store takes it for data
    path.write_text("{")
    capsys.readouterr()
    assert main([*args, "--resume"]) == 2
    assert capsys.readouterr().err.startswith(f"dbnfast: {path} is no JSON: ")
    for other in (3, "x", [3], [["mbo"]], [{"schema": "mbo"}], {"symbols": 1}):
        path.write_text(json.dumps({"subscriptions": other}))
        assert main([*args, "--resume"]) == 2
        assert f"the recording is of subscriptions {other!r}, expected" in capsys.readouterr().err


def test_two_commands_in_a_folder(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["record", str(tmp_path), *told(gateway)]
    with Recorder(tmp_path, prefix="GLBX.MDP3") as other:
        other.recover()
        for more in ([], ["--resume"]):
            assert main([*args, *more]) == 1
            said = f"{tmp_path}: another recorder writes files of 'GLBX.MDP3' in this folder"
            assert capsys.readouterr().err == f"dbnfast: {said}\n"
    assert not list(tmp_path.iterdir())
    assert main(args) == 0


def test_a_recording_that_is_damaged_is_named(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "GLBX.MDP3-20260105T142859Z-000001.dbn"
    path.write_bytes(b"a letter to somebody" * 20)
    assert main(["record", str(tmp_path), *told(gateway), "--resume"]) == 1
    assert capsys.readouterr().err.startswith(f"dbnfast: {path}: expected b'DBN'")


@signals
@pytest.mark.parametrize("fsync", ["interval", "close"])
def test_a_folder_that_is_deleted_ends_a_recording(fsync: str, tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    with Gateway(SAMPLE, keys=[KEY], speed="10x") as paced:
        process = spawn("record", str(folder), *told(paced, *SCHEMAS), "--fsync", fsync)
        with process:
            wait_for(lambda: list(folder.glob("*.dbn")), process)
            shutil.rmtree(folder)
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 1
    assert re.match(
        rf"dbnfast: {re.escape(str(folder))}/GLBX\S+: deleted while it was written, with ", err
    )
    assert out == ""


@signals
@pytest.mark.parametrize("number", [1, 2, 15], ids=["SIGHUP", "SIGINT", "SIGTERM"])
def test_signals_end_a_recording(number: int, tmp_path: Path) -> None:
    with Gateway(SAMPLE, keys=[KEY]) as idle:
        process = spawn("record", str(tmp_path), *told(idle))
        with process:
            wait_for(lambda: len_of(tmp_path) == N_TRADES + N_CONTROL, process)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert err.startswith("dbnfast: 586 records in ")
    (path,) = tmp_path.glob("*.dbn*")
    assert out == f"{path}\n"
    check_files([path], ["trades"])


@signals
def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    import pty  # not on Windows

    with Gateway(SAMPLE, keys=[KEY]) as idle:
        args = ["record", str(tmp_path), *told(idle), "--zstd", "--fsync", "close"]
        code = f"import sys; from dbnfast.__main__ import main; sys.exit(main({args!r}))"
        child, terminal = pty.fork()
        if child == 0:
            os.execv(sys.executable, [sys.executable, "-c", code])
        end = time.monotonic() + PATIENCE
        while not list(tmp_path.glob("*.dbn.zst")):
            assert time.monotonic() < end
            time.sleep(0.01)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
    (path,) = tmp_path.glob("*.dbn.zst")
    # whole, though the terminal may have been closed before the first record came
    assert dbnfast.scan(path.read_bytes(), on_truncated="raise").metadata is not None
    assert not list(tmp_path.glob(".*"))  # closed, and the lock with it


@signals
def test_sighup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    with Gateway(SAMPLE, keys=[KEY]) as idle:
        process = spawn(
            "record", str(tmp_path), *told(idle),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
        )  # fmt: skip
        with process:
            wait_for(lambda: len_of(tmp_path) == N_TRADES + N_CONTROL, process)
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
            assert process.returncode == 143


def test_messages_that_nobody_reads_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Closed())
    sessions.tell(MarketState("closed", 0))


# --- serve and live, as a user has them -------------------------------------------------------


@signals
def test_two_processes() -> None:
    env = {**os.environ, "DATABENTO_API_KEY": KEY}
    serve = spawn(
        "serve", str(SAMPLE), "--port", "0", "--speed", "100x", "--at-end", "close",
        "--fault", "0:cut@10000", env=env,
    )  # fmt: skip
    with serve:
        assert serve.stderr is not None
        try:
            line = serve.stderr.readline()
            match = re.match(r"dbnfast: 127\.0\.0\.1:(\d+) serves GLBX\.MDP3: ", line)
            assert match is not None, line
            where = ["--gateway", "127.0.0.1", "--port", match[1], "--dataset", "GLBX.MDP3"]
            more = ["-s", "trades", "--symbols", "ES.FUT", "--stype-in", "parent"]
            live = spawn("live", *where, *more, "--show", "json", "-n", "370", env=env)
            out, err = live.communicate(timeout=PATIENCE)
        finally:
            serve.send_signal(signal.SIGINT)
        assert serve.wait(PATIENCE) == 130
        assert KEY not in serve.stderr.read() + out + err
    assert live.returncode == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    sequences = [one["sequence"] for one in found if one["hd"]["rtype"] == RType.MBP_0]
    source = STREAM.filter("trades", instrument_ids=42140864).array()["sequence"].tolist()
    assert len(sequences) > 300
    assert sequences == source[: len(sequences)]
    assert "dbnfast: connected again after " in err
    assert re.search(r"dbnfast: 370 records in .*, 1 reconnect, \d gaps? \(0 unfilled\)\n", err)


# --- demo -------------------------------------------------------------------------------------


def test_the_feed_of_the_demonstration() -> None:
    assert STREAM.metadata is not None
    feed = demo.make_feed(STREAM, STREAM.metadata)
    assert walk(feed)[1::2] == walk(STREAM.filter("trades"))
    tbbo, trades, quotes = feed.array("tbbo"), feed.array("trades"), STREAM.array("mbp-1")
    for name in ("ts_recv", "instrument_id", "price", "size", "sequence"):
        assert (tbbo[name] == trades[name]).all()
    n = 0
    for one in tbbo:
        same = quotes[quotes["instrument_id"] == one["instrument_id"]]
        before = same[same["ts_recv"] <= one["ts_recv"]]
        if len(before):
            n += 1
            for name in demo.LEVEL:
                assert one[name] == before[-1][name]
    assert n > 500


def test_the_demonstration_tells_of_a_lost_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert STREAM.metadata is not None
    feed = demo.make_feed(STREAM, STREAM.metadata)
    assert demo._compare([feed[:700], feed[700:]], feed)
    assert capsys.readouterr().out.count("581 of 581 received, equal byte for byte") == 2
    assert not demo._compare([feed[1:]], feed)
    lost, whole = capsys.readouterr().out.splitlines()
    assert lost.split() == ["tbbo", "580", "of", "581", "received,", "NOT", "equal"]
    assert "equal byte for byte" in whole
    assert not demo._compare([], feed)
