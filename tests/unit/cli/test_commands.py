"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import ast
import csv
import errno
import importlib
import io
import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dbnfast
from helpers.places import FIXTURES, REAL, ROOT, SAMPLE, SAMPLE_NAME, golden

pytest.importorskip("typer")
pytest.importorskip("rich")

import typer

from dbnfast.__main__ import main
from dbnfast.cli import app, outputs
from dbnfast.cli.format import format_price, format_time
from dbnfast.cli.terminal import Counted, put, put_table

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)

FILES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
SOUND = sorted(name for name, entry in FILES.items() if "expect" not in entry)
DAMAGED = sorted(name for name, entry in FILES.items() if "expect" in entry)


def options(name: str) -> list[str]:
    """What the command line must be told of a fragment."""
    entry = FILES[name]
    if entry["format"] != "fragment":
        return []
    told = ["--fragment", "--input-version", str(entry["version"])]
    return [*told, "--ts-out"] if entry["ts_out"] else told


def spawn(*args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dbnfast", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        **kwargs,
    )


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (-1, "-0.000000001"),
        (500_000_000, "0.50"),
        (4769_250_000_000, "4769.25"),
        (4769_125_000_000, "4769.125"),
        (-1_000_000_000, "-1.00"),
        (2**63 - 2, "9223372036.854775806"),
        (-(2**63), "-9223372036.854775808"),
        (2**63 - 1, None),
    ],
)
def test_prices_are_exact(value: int, text: str | None) -> None:
    assert format_price(value) == text


def test_prices_are_exact_for_any_int64() -> None:
    drawn = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 2000, dtype=np.int64)
    for value in drawn.tolist():
        text = format_price(value)
        assert text is not None
        assert Decimal(text) == Decimal(value).scaleb(-9)


def test_times_are_exact() -> None:
    assert format_time(0) == "1970-01-01T00:00:00.000000000Z"
    assert format_time(1) == "1970-01-01T00:00:00.000000001Z"
    assert format_time(2**64 - 1) is None
    assert format_time(2**64 - 2) == "2554-07-21T23:34:33.709551614Z"
    drawn = np.random.default_rng(2).integers(0, 2**63 - 1, 2000, dtype=np.int64)
    for value in [*drawn.tolist(), 2**63 - 1]:
        assert format_time(value) == f"{np.datetime64(value, 'ns')}Z"


# ---------------------------------------------------------------- every fixture


@pytest.mark.parametrize("name", SOUND)
def test_info_counts_are_those_of_the_manifest(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, entry = str(golden(name)), FILES[name]
    assert main(["info", "--json", path, *options(name)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["format"] == entry["format"]
    assert found["compression"] == ("zstd" if entry["format"] == "dbz" else entry["compression"])
    assert found["records"] == entry["n_records"]
    assert {key: one["count"] for key, one in found["types"].items()} == entry["counts"]
    assert {key: one["sizes"] for key, one in found["types"].items()} == entry["sizes"]
    assert found["file_bytes"] == golden(name).stat().st_size
    if entry["format"] != "dbz":
        assert found["stream_bytes"] == entry["nbytes"]
    if entry["format"] == "dbn":
        assert [found[key] for key in ("version", "schema", "ts_out")] == [
            entry[key] for key in ("version", "schema", "ts_out")
        ]


@pytest.mark.parametrize("name", SOUND)
def test_every_sound_file_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, n = str(golden(name)), FILES[name]["n_records"]
    for command in (["info"], ["head"], ["head", "--raw"], ["head", "--json", "-n", str(n + 1)]):
        assert main([*command, path, *options(name)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "\x1b" not in out
        assert "\0" not in out
    assert len([json.loads(line) for line in out.splitlines()]) == n


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, expect = str(golden(name)), FILES[name]["expect"]
    for command in ("info", "head"):
        lazy = expect["when"] in ("symbols", "mappings") and command == "head"
        code = 1 if expect["error"] and not lazy else 0
        assert main([command, path]) == code
        out, err = capsys.readouterr()
        if lazy:
            assert err == ""
            continue
        assert err.count("\n") == 1
        assert err.startswith(f"dbnfast: {'' if code else 'warning: '}{path}: ")
        if command == "head":  # what came before is shown, under a line of names
            assert len(out.splitlines()) in (expect["good"], expect["good"] + 1)
        elif code:
            assert out == ""


def test_the_error_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(FIXTURES / "bad/record-short-mbp-1.v3.dbn")
    assert main(["info", path]) == 1
    assert capsys.readouterr().err == (
        f"dbnfast: {path}: record 1 at byte 1416 of rtype mbp-1 has a length of 72 bytes, "
        "expected 80 or more\n"
    )


def test_the_input_is_counted() -> None:
    source = Counted(io.BytesIO(bytes(range(100))))
    assert source.readinto(memoryview(bytearray(5))) == 5
    assert source.readinto(memoryview(bytearray(50))) == 50
    assert source.readinto(memoryview(bytearray(50))) == 45
    assert source.readinto(memoryview(bytearray(50))) == 0
    assert (source.n_bytes, source.head) == (100, bytes(range(12)))


def test_head_stops_reading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (FIXTURES / "trades.v3.dbn").read_bytes()
    stream = io.BytesIO(data + data[-48:] * 100_000)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert main(["head", "-n", "3", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert stream.tell() < 20_000


# ---------------------------------------------------------------- head, against the official CSV

OFFICIAL = [
    "mbo.v3.dbn",
    "trades.v1.dbn",
    "tbbo.v2.ts_out.dbn",
    "mbp-10.v3.dbn",
    "bbo-1s.v3.dbn",
    "cmbp-1.v3.dbn",
    "ohlcv-1d.v1.dbn",
    "status.v3.dbn",
    "imbalance.v2.dbn",
    "definition.v1.dbn",
    "definition.v2.dbn",
    "definition.v3.dbn",
    "statistics.v2.dbn",
    "statistics.v3.dbn",
    "zstd-two-frames.v3.dbn.zst",
]


def official_rows(path: Path, pretty: bool) -> list[dict[str, str]]:
    """Give a file's rows as the official package writes them."""
    dbn = pytest.importorskip("databento_dbn")
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = bytes(dbnfast.codec.compression.inflate(memoryview(data)).data)
    out = io.BytesIO()
    transcoder = dbn.Transcoder(
        out,
        dbn.Encoding.CSV,
        dbn.Compression.NONE,
        pretty_px=pretty,
        pretty_ts=pretty,
        upgrade_policy=dbn.VersionUpgradePolicy.AS_IS,
    )
    transcoder.write(data)
    transcoder.flush()
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    return [{key: text for key, text in row.items() if key != "symbol"} for row in rows]


def shown_rows(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    assert main(["head", "--json", "-n", "50", str(path), *more]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", OFFICIAL)
def test_head_shows_the_official_values(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    compare_with_official(golden(name), capsys)


def compare_with_official(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = official_rows(path, pretty=False)
    ours = shown_rows(path, capsys, "--raw")
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert {k: "" if v is None else str(v) for k, v in mine.items()} == other
    pretty = official_rows(path, pretty=True)
    for mine, other, exact in zip(shown_rows(path, capsys), pretty, ours, strict=True):
        for key, value in mine.items():
            if value is None and exact[key] is not None:  # undefined: empty, or the number for it
                assert other[key] in ("", str(exact[key]))
                assert exact[key] in {2**bits - 1 for bits in (7, 8, 15, 16, 31, 32, 63, 64)}
            elif re.fullmatch(r"-?\d+\.\d{9}", other[key]):
                assert Decimal(value) == Decimal(other[key])
            else:
                assert ("" if value is None else str(value)) == other[key]


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real files is not here")
@pytest.mark.parametrize(
    "name",
    [
        "glbx-mdp3/test_data.mbo.dbn.zst",
        "glbx-mdp3/test_data.mbp-10.dbn.zst",
        "glbx-mdp3/test_data.definition.dbn.zst",
        "xnas-itch/test_data.imbalance.dbn.zst",
        "v1/test_data.statistics.v1.dbn.zst",
        "es-futures/futures_trades_2024-07-01T23-58_2024-07-02T00-02.dbn.zst",
    ],
)
def test_head_shows_the_official_values_of_real_files(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = official_rows(REAL / name, pretty=False)[:50]
    ours = shown_rows(REAL / name, capsys, "--raw")
    texts = [{k: "" if v is None else str(v) for k, v in row.items()} for row in ours]
    assert texts == theirs


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real files is not here")
def test_real_files_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(map(str, [*REAL.rglob("*.zst"), *REAL.rglob("*.dbz")]))
    assert files
    assert main(["info", *files]) == 0
    assert all(main(["head", file]) == 0 for file in files)
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- head, its forms


@pytest.mark.parametrize(
    "command",
    [
        ["info"],
        ["head"],
        ["head", "--schema", "definition"],
        ["stats"],
        ["verify"],
        ["info", "--json"],
    ],
    ids=" ".join,
)
def test_times_are_shown_without_pandas(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [*command[:1], str(SAMPLE), *command[1:]]
    assert main(told) == 0
    shown = re.sub(r"[\d.]+ (s|ms)\b", "", capsys.readouterr().out)  # how long it took
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert main(told) == 0
    assert re.sub(r"[\d.]+ (s|ms)\b", "", capsys.readouterr().out) == shown
    assert shown


def test_head_of_one_type_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["head", "-n", "2", str(FIXTURES / "trades.v3.dbn")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(" {2,}", line.strip()) for line in lines] == [
        ["ts_recv", "ts_event", "rtype", "publisher_id", "instrument_id", "action", "side",
         "depth", "price", "size", "flags", "ts_in_delta", "sequence"],
        ["2026-01-05T14:30:00.000013371Z", "2026-01-05T14:30:00.000000000Z", "mbp-0", "1", "5602",
         "T", "B", "0", "6912.25", "3", "128", "15021", "4000000000"],
        ["2026-01-05T14:30:01.000013379Z", "2026-01-05T14:30:01.000000007Z", "mbp-0", "1", "4916",
         "T", "A", "1", "6912.50", "10", "72", "-4979", "4000000001"],
    ]  # fmt: skip


def test_head_shows_one_level_and_json_all(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(FIXTURES / "mbp-10.v3.ts_out.dbn")
    assert main(["head", path]) == 0
    names = capsys.readouterr().out.splitlines()[0].split()
    assert [name for name in names if name[-2:].isdigit()] == [
        "bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00", "bid_ct_00", "ask_ct_00",
    ]  # fmt: skip
    assert names[-1] == "ts_out"
    assert main(["head", "--json", path]) == 0
    assert "ask_ct_09" in json.loads(capsys.readouterr().out.splitlines()[0])


def test_head_of_several_types_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["head", str(FIXTURES / "live.v3.dbn"), "-n", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("symbol-mapping  2026-01-05T14:30:00.000000000Z        5602  stype")
    assert 'msg="Subscription request 0 for trades data succeeded"' in lines[2]
    assert lines[3].split()[-2:] == ["code=heartbeat", "publisher_id=0"]


def test_head_shows_an_unknown_rtype_as_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["head", str(FIXTURES / "unknown-rtype.v3.dbn")]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("rtype 0x42  2026-01-05T14:30:01.000000007Z")
    assert "data=00651b7149" in line


def test_head_of_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SAMPLE)
    assert main(["head", path, "--schema", "status", "-n", "100"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + FILES[SAMPLE_NAME]["counts"]["18"]
    assert main(["head", path, "--schema", "imbalance"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"dbnfast: {path}: there is no record of imbalance; there are 581 trades")
    assert main(["head", path, "--schema", "imbalance", "-n", "0"]) == 0
    assert main(["head", path, "--schema", "tbbo", "-n", "1"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.startswith(f"dbnfast: warning: {path}: tbbo was asked for, but ")
    assert main(["head", path, "--schema", "instrument-def", "-n", "1"]) == 0
    assert capsys.readouterr().out.startswith("instrument-def  2026-01-05T14:29:00.000000000Z")


def test_tables_keep_their_columns_beyond_a_chunk(capsys: pytest.CaptureFixture[str]) -> None:
    put_table(("a", "b"), iter([(n, "x\n") for n in range(2500)]), {"b"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2501
    assert lines[0] == "  a  b"
    assert lines[-1] == r"2499  x\n"


# ---------------------------------------------------------------- info


def test_info_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(SAMPLE)
    assert main(["info", path]) == 0
    out = capsys.readouterr().out
    size = SAMPLE.stat().st_size
    assert out.splitlines()[0] == path
    for line in (
        "format      DBN version 3, zstd",
        f"size        {size:,} bytes, 251,664 decompressed",
        "dataset     GLBX.MDP3",
        "symbols     4: ESH6, NQH6, CLG6, GCG6",
        "records     3,878",
    ):
        assert f"\n  {line}\n" in out


def test_info_of_several_files_goes_on_behind_a_bad_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = str(FIXTURES / "mbo.v3.dbn")
    bad = str(FIXTURES / "bad/magic.v3.dbn")
    assert main(["info", "--json", good, bad, "nowhere.dbn", good]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == [good, good]
    assert len(err.splitlines()) == 2
    assert main(["info", good, good]) == 0
    assert capsys.readouterr().out.count("\n\n") == 1


# ---------------------------------------------------------------- how it is called


def test_demo_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    for rtype, n in FILES[SAMPLE_NAME]["counts"].items():
        assert re.search(rf"\b{dbnfast.RType(int(rtype))} +{n:,} ", out)
    assert "ESH6" in out
    assert "again there after" in out
    assert out.count("filled by replay") == 2
    assert out.count("581 of 581 received, equal byte for byte: nothing was lost") == 2
    assert out.count("M records/s") == 3
    assert "dbnfast info FILE" in out


@pytest.mark.parametrize("command", [["demo"], ["info", "--json", "-"], ["head", "-n", "1", "-"]])
def test_each_command_as_a_process(command: list[str]) -> None:
    data = FIXTURES / "trades.v3.dbn"
    with data.open("rb") as stdin:
        done = spawn(*command, stdin=stdin)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mbo.v3.dbn", "zstd-two-frames.v3.dbn.zst", "trades.dbz"):
        shown = []
        for file in ("-", str(golden(name))):
            data = golden(name).read_bytes()
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
            assert main(["head", file]) == 0
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1] != ""
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["info", "-"]) == 1
    assert capsys.readouterr().err == "dbnfast: -: standard input is closed\n"


@pytest.mark.parametrize("command", ["info", "head"])
def test_a_missing_file_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "nowhere.dbn"]) == 1
    assert capsys.readouterr().err == f"dbnfast: nowhere.dbn: {os.strerror(2)}\n"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["head"],
        ["info"],
        ["head", "-n", "x", "f"],
        ["head", "-n", "-1", "f"],
        ["head", "--schema", "nonsense", "f"],
        ["info", "--input-version", "4", "f"],
        ["head", "--schema", "mbp-1", str(FIXTURES / "tbbo.v3.dbn")],
        ["head", "--ts-out", str(FIXTURES / "tbbo.v3.dbn")],
    ],
)
def test_wrong_calls(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert out == ""
    assert err


@pytest.mark.parametrize("command", ["head", "convert"])
def test_a_misspelt_schema_is_told_with_those_that_there_are(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["nowhere.csv"] if command == "convert" else []
    assert main([command, "--schema", "tades", str(FIXTURES / "trades.v3.dbn"), *more]) == 2
    assert capsys.readouterr().err.startswith(
        "dbnfast: 'tades' is neither a schema nor an rtype (did you mean 'trades'?), expected one "
        "of mbo, mbp-1, mbp-10, tbbo, trades,"
    )


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dbnfast {dbnfast.__version__}\n"
    for args in (["--help"], ["demo", "--help"], ["info", "--help"], ["head", "--help"]):
        assert main(args) == 0
        assert capsys.readouterr().out.lstrip().startswith("Usage: dbnfast")


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_a_missing_library_names_the_extra(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("dbnfast.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["demo"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"dbnfast: {library} is not installed; it comes with the extra: "
        "pip install 'dbnfast[cli]'\n"
    )


def test_another_missing_module_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dbnfast.cli.app", None)
    with pytest.raises(ImportError):
        main(["demo"])


def test_importing_the_package_imports_no_command_line() -> None:
    code = "import sys, dbnfast, dbnfast.__main__; print({'typer', 'rich'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
@pytest.mark.parametrize("command", [["head", "-n", "100000", "--json"], ["info"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_broken_pipe_is_quiet(command: list[str], unbuffered: str) -> None:
    files = [str(SAMPLE)] * (200 if command == ["info"] else 1)
    with subprocess.Popen(
        [sys.executable, "-m", "dbnfast", *command, *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dbnfast", "info", str(FIXTURES / "mbo.v3.dbn")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == f"dbnfast: standard output: {os.strerror(28)}\n"


def test_a_closed_stdout_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "dbnfast: standard output is closed\n"


def test_an_interrupt_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("dbnfast.cli.commands.demo"), "run", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == ""


def test_what_stdout_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    put("ESH6 \xe9")
    stdout.flush()
    assert raw.getvalue() == b"ESH6 \\xe9\n"


def test_messages_advise_options_that_the_command_has() -> None:
    sources = Path(app.__file__).parent
    commands = typer.main.get_command(app.app).commands  # type: ignore[attr-defined]
    options = {
        name: {text for one in command.params for text in (*one.opts, *one.secondary_opts)}
        for name, command in commands.items()
    }
    n = 0
    for name, own in options.items():
        imported, todo = set(), [sources / "commands" / f"{name}.py"]
        while todo:  # with the modules that it says things by
            path = todo.pop()
            imported.add(path)
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dbnfast.cli."):
                    below = str(node.module).split(".")[2:]
                    other = sources.joinpath(*below).with_suffix(".py")
                    if "commands" not in below and other not in imported:
                        todo.append(other)
        for path in imported:
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                    continue
                if "dbnfast" in node.value or node.value == FORCE:  # another command; see below
                    continue
                for option in re.findall(r"--[a-z][a-z-]+", node.value):
                    n += 1
                    assert option in own, f"{path.name} for {name}: {node.value!r}"
    assert n > 10


FORCE = "exists already; --force replaces it"


def test_force_is_advised_where_a_file_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    for text, shown in (("exists already", FORCE), ("File exists", "File exists")):
        assert outputs.blame(None, FileExistsError(errno.EEXIST, text, "x")) == 1
        assert capsys.readouterr().err == f"dbnfast: x: {shown}\n"


def test_ctrl_c_while_the_command_line_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupts:
        def find_spec(self, name: str, path: Any, target: Any = None) -> None:
            if name == "dbnfast.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "dbnfast.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    assert main(["info", "x"]) == 130


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_inside_code_of_text_is_no_sigint(name: str) -> None:
    code = f"""
import os, signal, sys
from dbnfast.cli.outputs import ended_by_signals
with ended_by_signals() as came:
    try:
        exec("os.kill(os.getpid(), signal.{name})")
    except KeyboardInterrupt:
        pass
sys.exit(0 if came == [signal.{name}] else 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
