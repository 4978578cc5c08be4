"""The commands that check, count and write files."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dbnfast
from helpers import streams
from helpers.places import FIXTURES, REAL, SAMPLE

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("dbnfast.symbology")

from dbnfast.__main__ import main
from dbnfast.cli.commands.stats import format_duration, parse_duration
from dbnfast.cli.outputs import Progress
from dbnfast.cli.selection import parse_time
from dbnfast.cli.terminal import Counted, Input
from dbnfast.codec.index import Index, read_index

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)

TRADES = str(FIXTURES / "trades.v3.dbn")
MIXED = str(FIXTURES / "mixed.v3.dbn")
REAL_FILES = sorted(map(str, [*REAL.rglob("*.zst"), *REAL.rglob("*.dbz")]))
DAY = 86_400 * 10**9
Out = pytest.CaptureFixture[str]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines_of(text: str) -> list[list[str]]:
    return [re.split(" {2,}", line.strip()) for line in text.splitlines()]


# ---------------------------------------------------------------- durations and times


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1h", 3600 * 10**9),
        ("90s", 90 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("2.5s", 2_500_000_000),
        ("0.000000001s", 1),
        ("250ms", 250_000_000),
        ("5us", 5000),
        ("7ns", 7),
        ("2d", 2 * DAY),
        ("0s", 0),
    ],
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns
    assert parse_duration(format_duration(ns).replace(" ", "")) == ns


@pytest.mark.parametrize("text", ["", "h", "1", "1 h", "-1h", "1hour", "1h x", "1.s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_times_of_the_command_line() -> None:
    for text in ("2024-07-02", "20240702", "2024-07-02T00:00", "2024-07-02 00:00:00Z",
                 "2024-07-02T00:00:00.0+00:00", "1719878400000000000"):  # fmt: skip
        assert parse_time("--start", text) == 1719878400 * 10**9
    assert parse_time("--start", "1970-01-01T00:00:01.000000005Z") == 10**9 + 5
    assert parse_time("--start", "2262-04-12") == int(np.datetime64("2262-04-12").astype(int)) * DAY
    assert parse_time("--start", "2020-12-27T19:00-05:00") == 1609113600 * 10**9
    assert parse_time("--start", None) is None
    for text in (
        "yesterday",
        "2024-13-01",
        "2024-07-02T25:00",
        "-5",
        "\u0662\u0660\u0662\u0664-01-01",
        "",
    ):
        with pytest.raises(ValueError, match="--start is"):
            parse_time("--start", text)


# ---------------------------------------------------------------- stats


def test_stats_counts(capsys: Out) -> None:
    assert main(["stats", "--json", "--top", "2", str(SAMPLE)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    records = dbnfast.scan(SAMPLE.read_bytes())
    assert found["records"] == len(records)
    assert found["bytes"] == records.nbytes
    assert {one["rtype"]: one["records"] for one in found["types"]} == records.counts
    ids: dict[int, int] = {}
    for array in records.split().values():
        for key, n in zip(*np.unique(array["instrument_id"], return_counts=True), strict=True):
            ids[int(key)] = ids.get(int(key), 0) + int(n)
    best = sorted(ids.items(), key=lambda item: -item[1])[:2]
    assert [(one["instrument_id"], one["records"]) for one in found["instruments"]] == best
    assert all(one["symbol"] in ("ESH6", "NQH6", "CLG6", "GCG6") for one in found["instruments"])
    assert found["n_instruments"] == len(ids)


def test_stats_gaps(tmp_path: Path, capsys: Out) -> None:
    seconds = [10, 11, 5, 12, 30, 31, 92, 93]
    data = dbnfast.Metadata("X", schema="ohlcv-1s").encode() + b"".join(
        streams.record(0x20, 56, ts_event=n * 10**9) for n in seconds
    )
    path = tmp_path / "a.dbn"
    path.write_bytes(data)
    assert main(["stats", "--json", "--gap", "17s", str(path)]) == 0
    gaps = json.loads(capsys.readouterr().out)["gaps"]
    assert [(one["from"][-13:], one["ns"]) for one in gaps] == [
        ("12.000000000Z", 18 * 10**9),
        ("31.000000000Z", 61 * 10**9),
    ]
    assert main(["stats", "--gap", "18s", str(path)]) == 0
    out = capsys.readouterr().out
    assert "  1 gap of more than 18s\n" in out
    moments = ["1970-01-01T00:00:31.000000000Z", "1970-01-01T00:01:32.000000000Z"]
    assert [*moments, "1m 1s"] in lines_of(out)
    assert main(["stats", "--gap", "1h", str(path)]) == 0
    assert "  no gaps of more than 1h\n" in capsys.readouterr().out


@pytest.mark.parametrize("rtype", [0x15, 0x16, 0x17])
def test_stats_find_gaps_behind_what_the_gateway_says_of_now(
    rtype: int, tmp_path: Path, capsys: Out
) -> None:
    bars = [streams.record(0x20, 56, ts_event=n * 10**9) for n in (10, 11, 75)]
    said = streams.record(rtype, 320 if rtype != 0x16 else 176, ts_event=9000 * 10**9)
    path = tmp_path / "a.dbn"
    path.write_bytes(streams.header(schema=None) + said + bars[0] + bars[1] + said + bars[2])
    assert main(["stats", "--json", "--gap", "1m", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["ns"] for one in found["gaps"]] == [64 * 10**9]
    assert found["last"] == "1970-01-01T02:30:00.000000000Z"


def test_stats_is_readable(capsys: Out) -> None:
    assert main(["stats", str(SAMPLE), "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert ["type", "records", "bytes", "share"] in lines_of(out)
    assert ["symbol", "instrument_id", "records", "share"] in lines_of(out)
    assert "  and 3 instruments more\n" in out
    assert main(["stats", str(SAMPLE), "--top", "3"]) == 0
    assert "  and 1 instrument more\n" in capsys.readouterr().out
    assert main(["stats", str(FIXTURES / "metadata-only.v3.dbn")]) == 0
    assert "  records   0\n" in capsys.readouterr().out


# ---------------------------------------------------------------- verify


def test_verify_says_where(capsys: Out) -> None:
    bad = str(FIXTURES / "bad/record-short-mbp-1.v3.dbn")
    assert main(["verify", "--no-symbols", TRADES, bad]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert ["damage", "invalid-record", "1,416", "1"] in [line[:4] for line in lines_of(out)]
    assert "  damaged: 1 damage\n" in out
    assert main(["verify", "--json", bad]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["records"], found["bytes"]) == (False, 1, 1568)
    assert found["findings"][0]["offset"] == 1416


def test_verify_exit_codes(tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "a.dbn"
    trades = streams.record(0, 48, ts_event=5) + streams.record(0, 48, ts_event=4)
    path.write_bytes(dbnfast.Metadata("X", schema="trades", start=9).encode() + trades)
    assert main(["verify", str(path)]) == 0  # warnings are no damage
    assert "  sound: 1 warning, 1 note\n" in capsys.readouterr().out
    assert main(["verify", "--strict", str(path)]) == 1
    assert main(["verify", "nowhere.dbn", str(path)]) == 1
    out, err = capsys.readouterr()
    assert err == f"dbnfast: nowhere.dbn: {os.strerror(2)}\n"
    assert str(path) in out


# ---------------------------------------------------------------- repair, merge, split


def test_repair(tmp_path: Path, capsys: Out) -> None:
    source = FIXTURES / "bad/record-cut-24.v3.dbn"
    target = tmp_path / "a.dbn"
    assert main(["repair", str(source), str(target)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"dbnfast: {target}: 4 records, 1,528 bytes decompressed; left out 24 bytes: record 4 at "
        "byte 1528 needs 48 bytes, 24 remain\n"
    )
    assert main(["verify", "--no-symbols", str(target)]) == 0
    assert main(["repair", str(source), str(target)]) == 1
    assert capsys.readouterr().err == f"dbnfast: {target}: exists already; --force replaces it\n"
    assert main(["repair", "--force", str(source), str(target)]) == 0
    assert main(["repair", "--force", str(target), str(target)]) == 2
    assert main(["repair", str(FIXTURES / "bad/magic.v3.dbn"), str(tmp_path / "b")]) == 1
    assert left_in(tmp_path) == ["a.dbn"]


def test_repair_tells_of_records_that_may_be_wrong(tmp_path: Path, capsys: Out) -> None:
    target = tmp_path / "a.dbn.zst"
    assert main(["repair", str(FIXTURES / "bad/zstd-checksum.v3.dbn.zst"), str(target)]) == 0
    err = capsys.readouterr().err
    assert ": 3 records, 1,480 bytes decompressed; left out: zstd frame at compressed byte" in err
    assert "warning" not in err  # they are from the frame before the damaged one
    assert main(["repair", str(FIXTURES / "bad/zstd-cut.v3.dbn.zst"), str(target), "--force"]) == 0
    assert (
        f"dbnfast: warning: {target}: 3 of 3 records are from a zstd frame that is damaged or cut; "
        "their values could not be verified\n"
    ) in capsys.readouterr().err


def test_repair_to_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    source = FIXTURES / "bad/record-cut-24.v3.dbn"
    assert main(["repair", str(source), "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == source.read_bytes()[:1528]
    assert err.startswith(b"dbnfast: standard output: 4 records")
    assert left_in(tmp_path) == []


def test_split_and_merge_round_trip(tmp_path: Path, capsys: Out) -> None:
    records = dbnfast.scan(SAMPLE.read_bytes())
    for by in ("symbol", "schema", "day"):
        folder = tmp_path / by
        assert main(["split", str(SAMPLE), str(folder), "--by", by]) == 0
        out, err = capsys.readouterr()
        names = out.splitlines()
        assert sorted(Path(name).name for name in names) == left_in(folder)
        assert all(name.endswith(".dbn.zst") for name in names)
        assert err.startswith(f"dbnfast: {SAMPLE}: {len(names)} part")
        assert main(["split", str(SAMPLE), str(folder), "--by", by]) == 1
        assert "--force" in capsys.readouterr().err
        Path(names[0]).chmod(0o600)
        assert main(["split", str(SAMPLE), str(folder), "--by", by, "--force"]) == 0
        assert capsys.readouterr().out.splitlines() == names
        assert Path(names[0]).stat().st_mode & 0o777 == 0o600
        target = tmp_path / f"{by}.dbn"
        assert main(["merge", *names, "-o", str(target)]) == 0
        merged = dbnfast.scan(target.read_bytes())
        assert merged.counts == records.counts
        for key, array in records.split().items():
            own = merged.split()[key]
            assert sorted(map(bytes, own)) == sorted(map(bytes, array))
        assert main(["merge", *names, "-o", str(target)]) == 1
        assert main(["merge", *names, "-o", str(target), "--force", "--zstd"]) == 0
        assert index_of(target).n_records == len(merged)
        capsys.readouterr()


def index_of(path: Path) -> Index:
    """The index of a seekable file."""
    data = path.read_bytes()
    index = read_index(lambda at, n: data[at : at + n], len(data))
    assert index is not None
    return index


def test_what_convert_compresses_is_seekable(tmp_path: Path, capsys: Out) -> None:
    records = dbnfast.scan(SAMPLE.read_bytes())
    for name, options in (("a.dbn.zst", []), ("b.dbn", ["--zstd"])):
        assert main(["convert", str(SAMPLE), str(tmp_path / name), *options]) == 0
        assert index_of(tmp_path / name).n_records == len(records)
        assert dbnfast.scan((tmp_path / name).read_bytes()).tobytes() == records.tobytes()
    text = tmp_path / "c.csv.zst"
    assert main(["convert", str(SAMPLE), str(text), "--schema", "trades"]) == 0
    made = text.read_bytes()
    assert streams.zstd.get_frame_size(made) == len(made)
    assert streams.inflate(made).startswith(b"ts_recv,")
    capsys.readouterr()


def test_merge_of_unlike_files(tmp_path: Path, capsys: Out) -> None:
    other = tmp_path / "other.dbn"
    other.write_bytes(dbnfast.Metadata("OTHER").encode())
    target = str(tmp_path / "out.dbn")
    assert main(["merge", TRADES, str(other), "-o", target]) == 2
    assert f"in {TRADES} and OTHER in {other}; they cannot" in capsys.readouterr().err
    bad = str(FIXTURES / "bad/record-length-0.v3.dbn")
    assert main(["merge", TRADES, bad, "-o", target]) == 1
    assert capsys.readouterr().err.startswith(f"dbnfast: {bad}: record 2 at byte 1432 ")
    assert main(["merge", TRADES, "nowhere", "-o", target]) == 1
    assert capsys.readouterr().err == "dbnfast: nowhere: no such DBN file\n"
    assert left_in(tmp_path) == ["other.dbn"]


def test_merge_of_folders_and_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parts").mkdir()
    for n in range(3):
        bars_at(Path("parts", f"{n}.dbn"), [n, n + 10])
    Path("parts/notes.txt").write_text("no data")
    bars_at(Path("day[1].dbn"), [7])
    for names in (["parts"], ["parts/*.dbn"], ["parts/0.dbn", "parts/[12].dbn"]):
        assert main(["merge", *names, "-o", "all.dbn", "--force"]) == 0
        assert capsys.readouterr().err == "dbnfast: all.dbn: 6 records of 3 files\n"
        times = dbnfast.decode(Path("all.dbn").read_bytes())["ts_event"] // 10**9
        assert times.tolist() == [0, 1, 2, 10, 11, 12]
    assert main(["merge", "day[1].dbn", "parts", "-o", "all.dbn", "--force"]) == 0
    assert "7 records of 4 files" in capsys.readouterr().err
    assert main(["merge", "parts", "-o", "parts/1.dbn", "--force"]) == 2
    assert "'parts/1.dbn' is one of the files that 'parts' stands" in capsys.readouterr().err
    Path("empty").mkdir()
    assert main(["merge", "empty", "-o", "b.dbn"]) == 1
    assert capsys.readouterr().err == (
        "dbnfast: empty: no DBN files (.dbn, .dbn.zst, .dbz) in this folder\n"
    )


def test_merge_of_many_files(tmp_path: Path, capsys: Out) -> None:
    header = dbnfast.Metadata("X", schema="ohlcv-1s").encode()
    for n in range(300):
        path = tmp_path / f"{n:03}.dbn"
        path.write_bytes(header + streams.record(0x20, 56, ts_event=1000 - n))
    names = [str(tmp_path / name) for name in left_in(tmp_path)]
    assert main(["merge", *names, "-o", str(tmp_path / "all")]) == 0
    times = dbnfast.decode((tmp_path / "all").read_bytes())["ts_event"]
    assert times.tolist() == list(range(701, 1001))
    assert "300 records of 300 files" in capsys.readouterr().err


def test_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(dbnfast.Encoder, "close", fail)
    for command in (
        ["merge", TRADES, "-o", str(tmp_path / "a")],
        ["convert", TRADES, str(tmp_path / "a.dbn")],
    ):
        assert main(command) == 1
        assert os.strerror(28) in capsys.readouterr().err
        assert left_in(tmp_path) == []


# ---------------------------------------------------------------- convert


def convert(*args: str) -> int:
    return main(["convert", *args])


def test_convert_to_dbn(tmp_path: Path, capsys: Out) -> None:
    for name in ("trades.v1.dbn", "definition.v2.dbn", "zstd-two-frames.v3.dbn.zst", "mbo.dbz"):
        data = (FIXTURES / name).read_bytes()
        for suffix, magic in ((".dbn", b"DBN\x03"), (".dbn.zst", b"\x28\xb5\x2f\xfd")):
            target = tmp_path / f"x{suffix}"
            assert convert(str(FIXTURES / name), str(target), "--force") == 0
            found = target.read_bytes()
            assert found[:4] == magic
            assert dbnfast.scan(found).tobytes() == dbnfast.scan(data).upgrade().tobytes()
    target = tmp_path / "old.dbn"
    assert convert(str(FIXTURES / "trades.v1.dbn"), str(target), "--as-is") == 0
    assert dbnfast.scan(target.read_bytes()).version == 1
    capsys.readouterr()
    assert convert(TRADES, str(target)) == 1
    assert capsys.readouterr().err == f"dbnfast: {target}: exists already; --force replaces it\n"


def test_convert_filters(tmp_path: Path, capsys: Out) -> None:
    records = dbnfast.scan(SAMPLE.read_bytes())
    ids = [key for key, _ in _symbols(records)]
    names = dict(_symbols(records))
    middle = "2026-01-05T14:30:30"
    ns = parse_time("--start", middle)
    target = tmp_path / "x.dbn"
    for args, wanted in (
        (["--schema", "mbo"], records.filter("mbo")),
        (["--instrument-id", str(ids[0])], records.filter(instrument_ids=ids[0])),
        (
            ["--symbol", names[ids[0]], "--symbol", names[ids[1]]],
            records.filter(instrument_ids=ids[:2]),
        ),
        (["--publisher", "1", "--publisher", "2"], records.filter(publishers=[1, 2])),
        (["--start", middle], records.filter(start=ns)),
        (["--end", middle, "--schema", "mbo"], records.filter("mbo", end=ns)),
        (["--limit", "7"], records[:7]),
    ):
        assert convert(str(SAMPLE), str(target), "--force", *args) == 0
        found = dbnfast.scan(target.read_bytes())
        assert len(wanted), args
        assert found.tobytes() == wanted.tobytes(), args
        assert capsys.readouterr().err == f"dbnfast: {target}: {len(found):,} records\n"
    metadata = found.metadata
    assert metadata is not None
    assert metadata.limit == 7


@pytest.mark.parametrize("form", ["dbn", "csv"])
def test_convert_of_a_range_of_time_reads_little_else(
    form: str, tmp_path: Path, capsys: Out
) -> None:
    n, t0 = 100_000, 10**18
    array = dbnfast.empty("trades", n).copy()
    array["ts_recv"] = array["ts_event"] = t0 + np.arange(n) * 10**9
    header = dbnfast.Metadata(
        dataset="XNAS.ITCH", schema="trades", start=t0, end=t0 + n * 10**9, stype_in="raw_symbol",
        stype_out="instrument_id", symbols=["A"],
    )  # fmt: skip
    data = bytearray(dbnfast.encode(array, header))
    data[len(data) - n * 48 + 20_000 * 48] = 1  # damage, far from what is wanted
    path, out = tmp_path / "a.dbn", tmp_path / f"out.{form}"
    path.write_bytes(data)
    start, end = t0 + 70_000 * 10**9, t0 + 70_005 * 10**9
    assert convert(str(path), str(out), "--start", str(start), "--end", str(end)) == 0
    assert capsys.readouterr().err.startswith(f"dbnfast: {out}: 5 records")
    found = dbnfast.read(out) if form == "dbn" else dbnfast.from_csv(out, schema="trades")
    times = (found.to_ndarray() if form == "dbn" else found.array())["ts_recv"]
    assert times.tolist() == [start + i * 10**9 for i in range(5)]
    assert convert(str(path), str(out), "--force") == 1
    assert "record 20000" in capsys.readouterr().err


def _symbols(records: dbnfast.Records) -> list[tuple[int, str]]:
    assert records.metadata is not None
    rows = records.metadata.mappings.items()
    return [(int(one["symbol"]), raw) for raw, intervals in rows for one in intervals]


def test_convert_limit_stops_reading(monkeypatch: pytest.MonkeyPatch, capsysbinary: Any) -> None:
    monkeypatch.setattr(import_module("dbnfast.cli.commands.convert"), "BLOCK", 4096)
    data = Path(TRADES).read_bytes()
    stream = io.BytesIO(data + data[-48:] * 100_000)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert convert("-", "-", "--to", "dbn", "--limit", "3") == 0
    out = capsysbinary.readouterr().out
    assert dbnfast.scan(out).tobytes() == dbnfast.scan(data)[:3].tobytes()
    assert stream.tell() < 20_000


def test_convert_of_a_live_stream_keeps_its_mappings(tmp_path: Path, capsys: Out) -> None:
    live = FIXTURES / "live.v3.dbn"
    target = tmp_path / "x.dbn"
    assert convert(str(live), str(target), "--limit", "1") == 0
    counts = dbnfast.scan(target.read_bytes()).counts
    assert counts[dbnfast.RType.SYMBOL_MAPPING] >= 1
    assert convert(str(live), str(target), "--limit", "1", "--no-symbols", "--force") == 0
    capsys.readouterr()


@pytest.mark.parametrize("schema", ["trades", "mbp-1", "statistics"])
def test_one_schema_of_mixed_data_is_a_file_of_that_schema(
    schema: str, tmp_path: Path, capsys: Out
) -> None:
    target, other = tmp_path / "x.dbn", tmp_path / "y.dbn"
    assert convert(str(SAMPLE), str(target), "--schema", schema) == 0
    dbnfast.read(SAMPLE).filter(schema).to_file(other, compression="none")
    assert target.read_bytes() == other.read_bytes()
    store = dbnfast.read(target)
    assert store.schema == schema
    assert len(store.to_df()) == len(dbnfast.read(SAMPLE).to_df(schema=schema))
    databento = pytest.importorskip("databento")
    theirs = databento.DBNStore.from_bytes(target.read_bytes())
    assert len(theirs.to_ndarray()) == len(store.to_ndarray())
    capsys.readouterr()


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("road", ["convert", "no symbols", "a pipe", "filter"])
def test_one_schema_of_a_live_stream_is_a_file_of_that_schema(
    road: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def mapping(instrument_id: int, symbol: bytes) -> bytes:
        texts = bytes(72) + bytes(1) + symbol.ljust(71, b"\0") + b"\xff" * 16
        return streams.record(0x16, 176, instrument_id=instrument_id, body=texts)

    live, target = tmp_path / "live.dbn", tmp_path / "x.dbn"
    names = b"".join(mapping(100 + i, b"S%d" % i) for i in range(3))
    again = mapping(101, b"S1")  # as files repeat them
    live.write_bytes(streams.header(schema=None) + names + streams.mixed(3) + again)
    if road == "filter":
        dbnfast.read(live).filter("trades").to_file(target)
    else:
        more = ["--no-symbols"] if road == "no symbols" else []
        if road == "a pipe":
            stream = io.BytesIO(live.read_bytes())
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
        source = "-" if road == "a pipe" else str(live)
        assert convert(source, str(target), "--schema", "trades", *more) == 0
    capsys.readouterr()
    made = dbnfast.read(target)
    if road == "a pipe":  # is read once: what tells the symbols is carried along
        assert made.schema is None
        assert made.counts == {dbnfast.RType.MBP_0: 3, dbnfast.RType.SYMBOL_MAPPING: 4}
        return
    assert made.schema == "trades"
    assert made.counts == {dbnfast.RType.MBP_0: 3}
    databento = pytest.importorskip("databento")
    theirs = databento.DBNStore.from_bytes(target.read_bytes())
    assert theirs.to_ndarray().tobytes() == made.to_ndarray().tobytes()
    frame = theirs.to_df()
    assert len(frame) == 3
    if road != "no symbols":
        assert frame["symbol"].tolist() == made.to_df()["symbol"].tolist() == ["S0", "S1", "S2"]


def test_one_schema_with_ts_out_stays_mixed(tmp_path: Path, capsys: Out) -> None:
    live, target = FIXTURES / "live.v3.ts_out.dbn", tmp_path / "x.dbn"
    dbnfast.read(live).filter("trades").to_file(target)
    assert dbnfast.read(target).schema is None
    assert convert(str(live), str(target), "--schema", "trades", "--force") == 0
    assert dbnfast.read(target).schema is None
    capsys.readouterr()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "16 records"),
        (["--start", "1970-01-02"], "13 records and 3 symbol mappings"),
        (["--schema", "trades"], "3 records and 3 symbol mappings"),
        (["--schema", "trades", "--limit", "1"], "1 record and 2 symbol mappings"),
        (["--schema", "trades", "--no-symbols"], "3 records"),
        (["--schema", "symbol-mapping"], "3 records"),
        (["--symbol", "NQH6", "--schema", "trades"], "1 record and 1 symbol mapping"),
        (["--symbol", "NQH6", "--publisher", "1"], "4 records and 1 symbol mapping"),
    ],
)
def test_convert_of_a_live_stream_tells_records_from_mappings(
    args: list[str], said: str, tmp_path: Path, capsys: Out
) -> None:
    target = tmp_path / "x.dbn"
    assert convert(str(FIXTURES / "live.v3.dbn"), str(target), *args) == 0
    assert capsys.readouterr().err == f"dbnfast: {target}: {said}\n"
    counts = dbnfast.scan(target.read_bytes()).counts
    assert sum(counts.values()) == sum(int(part.split()[0]) for part in said.split(" and "))


def test_a_symbol_that_no_record_maps_is_told(tmp_path: Path, capsys: Out) -> None:
    live, target = str(FIXTURES / "live.v3.dbn"), tmp_path / "x.dbn"
    assert convert(live, str(target), "--symbol", "NOPE", "--symbol", "ESH6") == 0
    err = capsys.readouterr().err
    assert "dbnfast: warning: no record maps the symbol NOPE\n" in err
    assert err.count("warning") == 1


def test_convert_of_fragments(tmp_path: Path, capsys: Out) -> None:
    source = str(FIXTURES / "definition.v1.dbn.frag")
    target = tmp_path / "x.dbn"
    assert convert(source, str(target), "--fragment") == 2
    assert "--dataset" in capsys.readouterr().err
    assert left_in(tmp_path) == []
    assert convert(source, str(target), "--fragment", "--dataset", "GLBX.MDP3") == 0
    found = dbnfast.scan(target.read_bytes())
    assert found.metadata is not None
    assert (found.version, found.metadata.dataset) == (3, "GLBX.MDP3")
    assert found.metadata.schema == dbnfast.Schema.DEFINITION
    whole = dbnfast.scan((FIXTURES / "definition.v1.dbn").read_bytes()).upgrade()
    assert found.tobytes() == whole.tobytes()


def test_an_unknown_symbol_is_told(tmp_path: Path, capsys: Out) -> None:
    assert convert(str(SAMPLE), str(tmp_path / "x.dbn"), "--symbol", "NOPE") == 0
    err = capsys.readouterr().err
    assert "dbnfast: warning: the header maps no symbol NOPE\n" in err
    assert "0 records" in err


def test_text_of_a_live_stream_has_its_symbols(capsys: Out) -> None:
    # the mapping records are not written, and still tell the symbols
    pytest.importorskip("dbnfast.text.write")
    live = str(FIXTURES / "live.v3.dbn")
    assert convert(live, "-", "--to", "json", "--schema", "trades") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["hd"]["rtype"] for row in rows} == {0}
    assert convert(live, "-", "--to", "json") == 0
    full = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [row for row in full if row["hd"]["rtype"] == 0]
    assert any(row["symbol"] for row in rows)
    assert convert(live, "-", "--to", "csv") == 2
    assert "--schema takes one of them" in capsys.readouterr().err


def test_convert_sees_a_type_that_comes_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setattr(import_module("dbnfast.cli.commands.convert"), "BLOCK", 1020)
    mapping = streams.record(0x16, 176)
    body = streams.trades(50) + mapping + streams.trades(5)
    source, target = tmp_path / "a.dbn", tmp_path / "a.csv"
    source.write_bytes(streams.header(schema=None) + body)
    assert convert(str(source), str(target)) == 0  # what symbols are told by may be anywhere
    assert len(target.read_bytes().splitlines()) == 56
    source.write_bytes(streams.header(schema=None) + body + streams.record(0x21, 56))
    capsys.readouterr()
    assert convert(str(source), str(target), "--force") == 2
    assert "the records are mbp-0, ohlcv-1m; --schema takes one" in capsys.readouterr().err
    assert left_in(tmp_path) == ["a.csv", "a.dbn"]
    assert len(target.read_bytes().splitlines()) == 56
    source.write_bytes(streams.header(schema=None) + mapping * 20 + streams.trades(1))
    assert convert(str(source), str(target), "--force") == 2
    assert "the records are symbol-mapping, mbp-0;" in capsys.readouterr().err


def test_large_compressed_text_is_known(tmp_path: Path, capsys: Out) -> None:
    pytest.importorskip("msgspec")
    pytest.importorskip("dbnfast.text.write")
    pytest.importorskip("dbnfast.text.csv")
    array = dbnfast.decode(SAMPLE.read_bytes(), schema="mbo")
    for form in ("json", "csv"):
        packed = tmp_path / f"x.{form}.zst"
        assert convert(str(SAMPLE), str(packed), "--schema", "mbo") == 0
        assert packed.stat().st_size > 10_000
        back = tmp_path / f"{form}.dbn"
        assert convert(str(packed), str(back), "--dataset", "X") == 0
        assert dbnfast.decode(back.read_bytes()).tobytes() == array.tobytes()
    capsys.readouterr()


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("zstd", [False, True])
def test_convert_to_text_and_back(form: str, zstd: bool, tmp_path: Path, capsys: Out) -> None:
    pytest.importorskip("dbnfast.text.write")
    pytest.importorskip("dbnfast.text.csv")
    official = pytest.importorskip("databento_dbn")
    for name in ("trades.v3.dbn", "mbp-10.v3.dbn", "definition.v3.dbn"):
        data = (FIXTURES / name).read_bytes()
        target = tmp_path / f"x.{form}{'.zst' * zstd}"
        assert convert(str(FIXTURES / name), str(target), "--force") == 0
        text = streams.inflate(target.read_bytes()) if zstd else target.read_bytes()
        out = io.BytesIO()
        coder = official.Transcoder(
            out, getattr(official.Encoding, form.upper()), official.Compression.NONE
        )
        coder.write(data)
        coder.flush()
        assert text == out.getvalue()
        back = tmp_path / "back.dbn"
        assert convert(str(target), str(back), "--dataset", "X", "--force") == 0
        assert dbnfast.scan(back.read_bytes()).tobytes() == dbnfast.scan(data).tobytes()
    capsys.readouterr()


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_convert_to_columns(suffix: str, tmp_path: Path, capsys: Out) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip(f"dbnfast.tables.{suffix}")
    target = tmp_path / f"x.{suffix}"
    array = dbnfast.decode(SAMPLE.read_bytes(), schema="trades")
    for more in ([], ["--raw-prices", "--raw-times", "--no-symbols"]):
        assert convert(str(SAMPLE), str(target), "--force", "--schema", "trades", *more) == 0
        assert capsys.readouterr().err == f"dbnfast: {target}: {len(array)} records\n"
        if suffix == "parquet":
            table = importlib.import_module("pyarrow.parquet").read_table(target)
        else:
            table = (
                importlib.import_module("pyarrow.ipc").open_stream(target.read_bytes()).read_all()
            )
        assert table.num_rows == len(array)
        assert table["size"].to_pylist() == array["size"].tolist()
        assert ("symbol" in table.column_names) == (not more)
        prices = array["price"].tolist() if more else (array["price"] / 1e9).tolist()
        assert table["price"].to_pylist() == pytest.approx(prices)
    empty = str(FIXTURES / "metadata-only.v3.dbn")
    assert convert(empty, str(target), "--force") == 0
    assert "0 records" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        [TRADES, "x"],
        [TRADES, "-"],
        [TRADES, "x.parquet", "--zstd"],
        [TRADES, "x.parquet.zst"],
        [TRADES, "x.dbn", "--to", "xml"],
        [TRADES, "x.dbn", "--from", "xml"],
        [TRADES, "x.dbn", "--schema", "nonsense"],
        [TRADES, "x.dbn", "--start", "yesterday"],
        [TRADES, "x.dbn", "--limit", "0"],
        [TRADES, "x.dbn", "--instrument-id", "-1"],
        [TRADES, "x.dbn", "--publisher", "65536"],
        [TRADES, "x.dbn", "--end", "9999-01-01"],
        [TRADES, "x.dbn", "--start", "2026-01-05", "--end", "2026-01-05"],
        [TRADES, "x.dbn", "--start", "2026-01-06", "--end", "2026-01-05"],
        [MIXED, "x.csv"],
    ],
)
def test_wrong_calls_of_convert(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    assert convert(*args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err
    assert "Traceback" not in err
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "args",
    [
        ["stats", "--gap", "x", TRADES],
        ["stats"],
        ["verify"],
        ["repair", TRADES],
        ["merge", TRADES],
        ["merge", TRADES, "-o", "x.csv"],
        ["merge", TRADES, "-o", "x.parquet.zst"],
        ["merge", "-", TRADES, "-", "-o", "x.dbn"],
        ["info", "-", "-"],
        ["split", TRADES, "d", "--by", "year"],
        ["split", TRADES, "-"],
    ],
)
def test_wrong_calls(args: list[str], capsys: Out) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["stats", "verify", "repair", "merge", "split", "convert"])
def test_help(command: str, capsys: Out) -> None:
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.lstrip().startswith(f"Usage: dbnfast {command}")


# ---------------------------------------------------------------- progress, pipes, processes


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_and_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Input(TRADES)
    with Progress([source]) as progress:
        progress.told(5)
        assert progress._bar is None
    monkeypatch.setattr(sys, "stderr", _Terminal())
    with Progress([source]) as progress:
        progress.told(5)
        assert progress._bar is None  # it is quick until now
        monkeypatch.setattr(import_module("dbnfast.cli.outputs"), "PATIENCE", -1.0)
        progress.told(5)
        assert progress._bar.tasks[0].completed == 10
        assert progress._bar.tasks[0].total == Path(TRADES).stat().st_size
    with Progress([source, Input("-")]) as progress:
        progress.told(1)
        assert progress._bar.tasks[0].total is None
    monkeypatch.setattr(sys, "stdout", _Terminal())
    with Progress([source], to_stdout=True) as progress:
        progress.told(1)
        assert progress._bar is None


def test_a_look_ahead_uses_nothing_up() -> None:
    told: list[int] = []
    source = Counted(io.BytesIO(bytes(range(100))), told.append)
    assert source.peek(30) == bytes(range(30))
    assert source.peek(10) == bytes(range(10))
    block = bytearray(100)
    n = 0
    while got := source.readinto(memoryview(block)[n:]):
        n += got
    assert (n, bytes(block)) == (100, bytes(range(100)))
    assert sum(told) == 100
    assert source.peek(5) == b""
    assert source.head == bytes(range(12))


@pytest.mark.skipif(not REAL_FILES, reason="the folder of real files is not here")
def test_real_files(tmp_path: Path, capsys: Out) -> None:
    assert main(["verify", *REAL_FILES]) == 0
    assert main(["stats", *REAL_FILES]) == 0
    for number, name in enumerate(REAL_FILES):
        for by in ("day", "symbol", "schema"):
            assert main(["split", name, str(tmp_path / f"{number}-{by}"), "--by", by]) == 0
        target = str(tmp_path / f"{number}.dbn")
        assert main(["repair", name, target]) == 0
        assert main(["verify", target]) == 0
        assert convert(name, str(tmp_path / f"{number}.again.dbn.zst")) == 0
    assert "Traceback" not in capsys.readouterr().err


def spawn(*args: str, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "dbnfast", *args],
        capture_output=True,
        timeout=60,
        check=False,
        **kwargs,
    )


def test_each_command_as_a_process(tmp_path: Path) -> None:
    data = Path(TRADES).read_bytes()
    parts = str(tmp_path / "parts")
    for command in (
        ["stats", "-"],
        ["verify", "--no-symbols", "-"],
        ["split", "-", parts],
        ["merge", "-", "-o", "-"],
        ["convert", "-", "-", "--to", "dbn"],
        ["convert", "--as-is", "-", "-", "--to", "dbn", "--zstd"],
        ["repair", "-", str(tmp_path / "r")],
    ):
        done = spawn(*command, input=data)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        if "dbn" in command or "merge" in command:
            assert dbnfast.scan(done.stdout).tobytes() == dbnfast.scan(data).tobytes()
        else:
            assert bool(done.stdout) == (command[0] != "repair")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
@pytest.mark.parametrize(
    "command", [["stats"], ["verify", "--json"], ["merge", "-o", "-"], ["convert", "--to", "dbn"]]
)
def test_a_broken_pipe_is_quiet(command: list[str], tmp_path: Path) -> None:
    big = tmp_path / "big.dbn"
    data = Path(TRADES).read_bytes()
    big.write_bytes(data + data[-48:] * 50_000)
    files = [str(big), "-"] if command[0] == "convert" else [str(big)] * 2
    if command[0] in ("stats", "verify"):
        files = [TRADES] * 300
    with subprocess.Popen(
        [sys.executable, "-m", "dbnfast", *command, *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dbnfast", "convert", TRADES, "-", "--to", "dbn"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == f"dbnfast: standard output: {os.strerror(28)}\n"


def test_commands_import_no_library_that_is_not_asked_for() -> None:
    code = (
        "import sys\nfrom dbnfast.__main__ import main\n"
        f"main(['convert', {TRADES!r}, '-', '--to', 'dbn'])\n"
        "print(sorted({'pyarrow', 'pandas', 'msgspec'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stderr.strip() == b"[]"
    assert importlib.util.find_spec("dbnfast.cli.commands.convert") is not None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "command",
    [
        ["convert", TRADES, "/dev/full", "--to", "csv"],
        ["convert", TRADES, "/dev/full", "--to", "dbn", "--zstd"],
        ["merge", TRADES, "-o", "/dev/full"],
        ["repair", TRADES, "/dev/full"],
    ],
    ids=lambda command: command[0],
)
def test_a_full_disk_is_the_outputs(command: list[str], capsys: Out) -> None:
    assert main(command) == 1
    assert capsys.readouterr().err == f"dbnfast: /dev/full: {os.strerror(28)}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="files are handed on otherwise there")
@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there is no /dev/stdout")
def test_a_pipe_may_have_a_name(capsysbinary: Any) -> None:
    assert convert(TRADES, "-", "--to", "csv") == 0
    rows = capsysbinary.readouterr().out
    command = [sys.executable, "-m", "dbnfast", "convert", TRADES, "/dev/stdout", "--to", "csv"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == rows
    assert b"/dev/stdout: " in done.stderr


def test_without_stderr_stdout_is_data_alone(tmp_path: Path) -> None:
    cut = tmp_path / "cut.dbn"
    cut.write_bytes(Path(TRADES).read_bytes()[:-1])
    for command in (["merge", TRADES, "-o", "-"], ["convert", str(cut), "-", "--to", "dbn"]):
        full = spawn(*command)
        assert full.stderr.startswith(b"dbnfast: ")
        closed = subprocess.run(
            ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-m", "dbnfast", *command],
            stdout=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        assert closed.returncode == 0
        assert closed.stdout == full.stdout


def test_parts_need_a_folder(tmp_path: Path, capsys: Out) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert main(["split", TRADES, str(path), "--force"]) == 1
    assert capsys.readouterr().err == f"dbnfast: {path}: is no directory\n"


# ---------------------------------------------------------------- blocks, and what is nowhere


def bars_at(path: Path, seconds: list[int | None], **header: Any) -> Path:
    """A file of bars at so many seconds since 1970; None has no time."""
    metadata = dbnfast.Metadata("X", schema="ohlcv-1s", **header)
    records = b"".join(
        streams.record(0x20, 56, ts_event=2**64 - 1 if n is None else n * 10**9) for n in seconds
    )
    path.write_bytes(metadata.encode() + records)
    return path


def test_stats_are_the_same_in_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    seconds = [None, None, 10, 11, 5, 12, 30, None, 31, 29, 92, 93]
    path = bars_at(tmp_path / "a.dbn", [second for second in seconds for _ in range(10)])
    found = []
    for block in (1 << 20, 1020):
        monkeypatch.setattr(import_module("dbnfast.cli.commands.stats"), "BLOCK", block)
        assert main(["stats", "--json", "--gap", "17s", str(path)]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert [one["ns"] for one in found[0]["gaps"]] == [18 * 10**9, 61 * 10**9]
    assert (found[0]["first"], found[0]["last"]) == (
        "1970-01-01T00:00:05.000000000Z",
        "1970-01-01T00:01:33.000000000Z",
    )


def test_stats_name_the_longest_of_many_gaps(tmp_path: Path, capsys: Out) -> None:
    path = bars_at(tmp_path / "a.dbn", [n * (n + 1) // 2 * 10 for n in range(1, 30)])
    assert main(["stats", "--gap", "1s", str(path)]) == 0
    out = capsys.readouterr().out
    assert "  28 gaps of more than 1s\n  the longest 10:\n" in out
    shown = [line[-1] for line in lines_of(out) if line[0].startswith("1970") and len(line) == 3]
    assert shown == [format_duration(10 * n * 10**9) for n in range(20, 30)]


def test_stats_of_a_damaged_file_do_not_stop_the_rest(capsys: Out) -> None:
    bad = str(FIXTURES / "bad/record-short-mbp-1.v3.dbn")
    assert main(["stats", bad, TRADES]) == 1
    out, err = capsys.readouterr()
    assert "record-short-mbp-1" in err
    assert "byte 1416" in err
    n = len(dbnfast.scan(Path(TRADES).read_bytes()))
    assert f"  records   {n}\n" in out


def test_convert_in_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("dbnfast.cli.commands.convert"), "BLOCK", 1020)
    source = dbnfast.scan(SAMPLE.read_bytes())
    for name in ("all.dbn", "all.dbn.zst"):
        assert main(["convert", str(SAMPLE), str(tmp_path / name)]) == 0
        made = dbnfast.scan((tmp_path / name).read_bytes())
        assert (made.tobytes(), made.metadata) == (source.tobytes(), source.metadata)


def test_convert_to_a_schema_that_is_not_there(tmp_path: Path, capsys: Out) -> None:
    path = bars_at(tmp_path / "a.dbn", [1, 2, 3])
    assert main(["convert", str(path), str(tmp_path / "b.csv"), "--schema", "trades"]) == 1
    said = f"dbnfast: {path}: there is no record of trades; there are 3 ohlcv-1s\n"
    assert capsys.readouterr().err.endswith(said)
    assert main(["convert", str(path), str(tmp_path / "b.dbn"), "--schema", "trades"]) == 1
    made = dbnfast.scan((tmp_path / "b.dbn").read_bytes())
    assert made.metadata is not None
    assert (made.metadata.schema, len(made)) == ("trades", 0)


def test_convert_text_without_records(tmp_path: Path, capsys: Out) -> None:
    pytest.importorskip("msgspec")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    out = tmp_path / "out.dbn"
    args = ["convert", str(empty), str(out), "--from", "json", "--dataset", "XNAS.ITCH"]
    assert main(args) == 0
    made = dbnfast.scan(out.read_bytes())
    assert made.metadata is not None
    assert (made.metadata.dataset, made.metadata.schema, len(made)) == ("XNAS.ITCH", None, 0)


@pytest.mark.parametrize("schema", ["trades", "status"])
def test_a_header_of_text_begins_with_a_time(schema: str, tmp_path: Path, capsys: Out) -> None:
    array = dbnfast.empty(schema, 3)  # all their times are undefined
    records = dbnfast.scan(dbnfast.encode(array, dbnfast.Metadata("X", schema=schema)))
    text = tmp_path / "a.csv"
    dbnfast.Store.from_bytes(dbnfast.encode(records, records.metadata)).to_csv(text)
    out = tmp_path / "b.dbn"
    assert main(["convert", str(text), str(out), "--dataset", "X"]) == 0
    made = dbnfast.scan(out.read_bytes())
    assert made.metadata is not None
    assert (made.metadata.start, len(made)) == (0, 3)


@pytest.mark.parametrize(
    ("options", "start", "end"),
    [
        ([], 100000, 200000),
        (["--start", "150000"], 150000, 200000),
        (["--end", "150000"], 100000, 150000),
        (["--start", "1", "--end", "500000"], 100000, 200000),
        (["--start", "300000"], 200000, 200000),
        (["--end", "50000"], 100000, 100000),
        (["--start", "300000", "--end", "400000"], 200000, 200000),
    ],
)
def test_a_narrowed_header_does_not_end_before_it_begins(
    options: list[str], start: int, end: int, tmp_path: Path
) -> None:
    header = dbnfast.Metadata("X", schema="trades", start=100000, end=200000)
    source, out = tmp_path / "a.dbn", tmp_path / "b.dbn"
    source.write_bytes(dbnfast.encode(dbnfast.empty("trades", 0), header))
    assert main(["convert", str(source), str(out), *options]) == 0
    metadata = dbnfast.scan(out.read_bytes()).metadata
    assert metadata is not None
    assert (metadata.start, metadata.end) == (start, end)


def test_stdout_may_be_a_raw_file(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    class Raw(io.RawIOBase):
        taken = b""

        def write(self, data: Any) -> int:
            self.taken += bytes(data[:5])
            return len(data[:5])

    for form in ("csv", "dbn", "arrow"):
        for zstd in ([], ["--zstd"])[: 1 + (form != "arrow")]:
            raw, whole = Raw(), io.BytesIO()
            for buffer in (raw, whole):
                out = SimpleNamespace(buffer=buffer, flush=buffer.flush, isatty=buffer.isatty)
                monkeypatch.setattr(sys, "stdout", out)
                assert convert(TRADES, "-", "--to", form, *zstd) == 0
            assert raw.taken == whole.getvalue() != b""


@pytest.mark.parametrize("zstd", ["", ".zst"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_convert_says_that_symbols_of_text_are_left_behind(
    form: str, zstd: str, tmp_path: Path, capsys: Out
) -> None:
    pytest.importorskip("msgspec")
    text, out = tmp_path / f"a.{form}{zstd}", tmp_path / "b"
    said = f"dbnfast: warning: {text}: its symbols are not carried over: "
    for more in ([], ["--no-symbols"]):
        assert convert(str(SAMPLE), str(text), "--schema", "trades", "--force", *more) == 0
        capsys.readouterr()
        for to in ("csv", "json", "arrow"):
            assert convert(str(text), str(out), "--to", to, "--force") == 0
            assert (said in capsys.readouterr().err) == (not more)
        assert convert(str(text), str(out), "--to", "json", "--force", "--no-symbols") == 0
        assert convert(str(text), str(out), "--to", "dbn", "--force", "--dataset", "X") == 0
        assert "warning" not in capsys.readouterr().err
    # other names that have the word in them are no symbols
    definitions = str(FIXTURES / "definition.v3.dbn")
    assert convert(definitions, str(text), "--force", "--no-symbols") == 0
    assert convert(str(text), str(out), "--to", "json", "--force", "--from", form) == 0
    assert "warning" not in capsys.readouterr().err


def test_convert_text_knows_no_symbols(tmp_path: Path, capsys: Out) -> None:
    text = tmp_path / "a.csv"
    assert main(["convert", TRADES, str(text)]) == 0
    out = tmp_path / "b.dbn"
    assert main(["convert", str(text), str(out), "--dataset", "X", "--symbol", "ESH1"]) != 0
    assert "--symbol needs DBN: records read from text have no symbols" in capsys.readouterr().err
    assert not out.exists()


def test_serve_needs_an_input_that_is_open(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["serve", "-", "--key", "db-" + "x" * 29]) == 1
    assert "standard input is closed" in capsys.readouterr().err


def test_headings_stand_out_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["info", TRADES]) == 0
    assert "\x1b[1m" in capsys.readouterr().out
