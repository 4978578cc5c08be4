"""Files verified, repaired and split."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast._util.atomic import replacing
from dbnfast.codec import merge as merging
from dbnfast.codec.index import read_index
from dbnfast.codec.metadata import Metadata
from dbnfast.files import _repair as files
from dbnfast.files import _split as splitting
from dbnfast.files._repair import is_same_file, repair
from dbnfast.files._split import split, split_records
from dbnfast.files._verify import Report, verify
from dbnfast.records import headers as columns_of_headers
from helpers import builders, streams
from helpers.places import FIXTURES, REAL, golden

pytest.importorskip("dbnfast.symbology")

DAY = 86_400 * 10**9
MONDAY = 20_458 * DAY  # 2026-01-05
UNDEF = 2**64 - 1

FILES: dict[str, dict[str, Any]] = {}
if (FIXTURES / "MANIFEST.json").is_file():
    FILES = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
DAMAGED = sorted(name for name, entry in FILES.items() if "expect" in entry)
SOUND = sorted(
    name for name, entry in FILES.items() if "expect" not in entry and entry["format"] == "dbn"
)


def trade(ts: int, instrument_id: int = 1, ts_event: int | None = None) -> bytes:
    record = bytearray(streams.trade(0))
    ts_event = ts if ts_event is None else ts_event
    record[4:16] = struct.pack("<IQ", instrument_id, ts_event)
    record[32:40] = struct.pack("<Q", ts)
    return bytes(record)


def interval(first: int, last: int, symbol: str) -> dict[str, Any]:
    epoch = datetime.date(1970, 1, 1)
    a, b = (epoch + datetime.timedelta(days=n // DAY) for n in (first, last))
    return {"start_date": a, "end_date": b, "symbol": symbol}


def header(**fields: Any) -> Metadata:
    known: dict[str, Any] = {
        "dataset": "GLBX.MDP3",
        "schema": "trades",
        "stype_in": "raw_symbol",
        "start": MONDAY,
        "end": MONDAY + 2 * DAY,
        "symbols": ["A", "B"],
        "mappings": {
            "A": [interval(MONDAY, MONDAY + 2 * DAY, "1")],
            "B": [interval(MONDAY, MONDAY + 2 * DAY, "2")],
        },
    }
    return Metadata(**{**known, **fields})


def check(data: bytes, **options: Any) -> Report:
    return verify(io.BytesIO(data), **options)


def kinds(report: Report) -> list[tuple[str, str, int | None, int | None, int]]:
    return [(f.kind, f.severity, f.offset, f.record_index, f.n_records) for f in report.findings]


# ---------------------------------------------------------------- verify


def test_a_sound_file() -> None:
    data = header().encode() + trade(MONDAY) + trade(MONDAY + 1, 2)
    report = check(data)
    assert report.ok
    assert report.findings == []
    assert (report.records, report.n_bytes) == (2, len(data))
    assert report.counts == {dbnfast.RType.MBP_0: 2}
    assert report.metadata == header()


@pytest.mark.skipif(not DAMAGED, reason="the golden files are not here")
@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_found_where_it_is(name: str) -> None:
    expect = FILES[name]["expect"]
    report = verify(golden(name))
    assert not report.ok
    assert report.records == expect["good"]
    damage = [finding for finding in report.findings if finding.severity == "damage"]
    kind = {
        "MetadataError": "metadata",
        "UnsupportedVersionError": "metadata",
        "TruncatedError": "cut",
        "InvalidRecordError": "invalid-record",
        "DecompressionError": "zstd",
        None: "cut",
    }[expect["error"]]
    assert [finding.kind for finding in damage] == [kind]
    if expect["when"] == "open" and damage[0].kind == "cut":
        assert damage[0].offset == 0  # where the header stands that is cut
    elif expect["offset"] is not None:
        assert damage[0].offset == expect["offset"]
    assert damage[0].record_index == expect["record_index"]


@pytest.mark.skipif(not SOUND, reason="the golden files are not here")
@pytest.mark.parametrize("name", SOUND)
def test_sound_files_have_no_damage(name: str) -> None:
    report = verify(golden(name))
    assert report.ok
    assert report.records == FILES[name]["n_records"]
    assert report.n_bytes == FILES[name]["nbytes"]
    assert {str(int(key)): n for key, n in report.counts.items()} == FILES[name]["counts"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real files is not here")
def test_real_files_are_sound() -> None:
    paths = [path for path in REAL.rglob("*") if path.suffix in (".zst", ".dbz")]
    assert paths
    for path in paths:
        report = verify(path)
        assert report.ok, path
        if path.parent.name != "live":
            assert {finding.severity for finding in report.findings} <= {"note"}, path


def test_times_that_are_not_as_they_should_be() -> None:
    start = header().encode()
    n = len(start)
    data = start + b"".join(
        (
            trade(MONDAY + 100),
            trade(MONDAY + 40),  # 60 back
            trade(MONDAY + 50),
            trade(UNDEF, ts_event=5),
            trade(MONDAY + 20, ts_event=UNDEF),  # 30 back, over the undefined one
            trade(MONDAY - 1),  # 21 back, and too early
            trade(MONDAY + 2 * DAY),  # too late
        )
    )
    report = check(data)
    assert report.ok
    assert kinds(report) == [
        ("backwards", "warning", n + 48, 1, 3),
        ("undefined-index", "warning", n + 3 * 48, 3, 1),
        ("outside", "warning", n + 5 * 48, 5, 1),
        ("unmapped", "warning", n + 5 * 48, 5, 2),
        ("outside", "warning", n + 6 * 48, 6, 1),
        ("undefined-event", "note", n + 4 * 48, 4, 1),
    ]
    assert "by up to 0.000000060 s" in report.findings[0].text


def test_places_count_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbnfast.files._verify.BLOCK", 1020)
    records = [trade(MONDAY + i) for i in range(100)]
    records[70] = trade(MONDAY + 69 - 7)
    records[42] = trade(MONDAY + 42, 9)  # begins a block: 21 records fill one
    report = check(header().encode() + b"".join(records))
    n = len(header().encode())
    assert kinds(report) == [
        ("unmapped", "warning", n + 42 * 48, 42, 1),
        ("backwards", "warning", n + 70 * 48, 70, 1),
    ]
    assert "1 instrument ids without a mapping at their date: 9" in report.findings[0].text
    assert "by up to 0.000000007 s" in report.findings[1].text
    records[42], records[63] = trade(MONDAY + 42), trade(MONDAY + 60)  # back at a block's start
    report = check(header().encode() + b"".join(records))
    assert kinds(report)[0] == ("backwards", "warning", n + 63 * 48, 63, 2)


def test_types_that_are_not_as_they_should_be() -> None:
    start = header().encode()
    n = len(start)
    records = [
        trade(MONDAY),
        streams.record(0x42, 20, ts_event=MONDAY),
        streams.record(0x21, 56, ts_event=MONDAY),
        trade(MONDAY)[:1].replace(b"\x0c", b"\x0e") + trade(MONDAY)[1:] + bytes(8),  # 56 bytes
        streams.record(0x42, 24, ts_event=MONDAY),
    ]
    report = check(start + b"".join(records))
    assert kinds(report) == [
        ("other-rtype", "warning", n + 68, 2, 1),
        ("unknown-rtype", "note", n + 48, 1, 2),
        ("long-record", "note", n + 124, 3, 1),
    ]
    assert [f.text for f in report.findings] == [
        "1 record of rtype ohlcv-1m in a file of schema trades",
        "2 records of unknown rtype 0x42",
        "1 record of rtype mbp-0 and 56 bytes, longer than the struct of 48",
    ]


def test_symbols_by_date() -> None:
    known = header(mappings={"A": [interval(MONDAY, MONDAY + DAY, "1")]})
    start = known.encode()
    data = start + trade(MONDAY + DAY - 1) + trade(MONDAY + DAY) + trade(MONDAY + DAY, 7)
    (finding,) = check(data).findings
    assert (finding.kind, finding.offset, finding.n_records) == ("unmapped", len(start) + 48, 2)
    assert finding.text == "2 records of 2 instrument ids without a mapping at their date: 1, 7"
    assert check(data, check_symbols=False).findings == []
    (finding,) = check(header(mappings={}).encode() + trade(MONDAY)).findings
    assert (finding.kind, finding.text) == ("no-symbols", "the header maps no symbols")
    (finding,) = check(header(stype_out="isin").encode() + trade(MONDAY)).findings
    assert (finding.kind, finding.severity) == ("no-symbols", "note")


def test_fragments_and_options() -> None:
    report = check(trade(5, 1) + trade(4, 1), has_metadata=False)
    assert report.metadata is None
    assert kinds(report) == [("backwards", "note", 48, 1, 1)]
    with pytest.raises(ValueError, match="input_version"):
        check(trade(5), has_metadata=False, input_version=9)
    with pytest.raises(FileNotFoundError):
        verify("nowhere.dbn")


# ---------------------------------------------------------------- safe writing


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Path, data: bytes, error: type[BaseException]) -> None:
    with replacing(target, force=True) as file:
        file.write(data)
        raise error


def write_beside(target: Path) -> None:
    with replacing(target) as file:
        file.write(b"mine")
        target.write_bytes(b"theirs")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with replacing(target) as file:
        file.write(b"one")
        assert not target.exists()
    assert target.read_bytes() == b"one"
    with pytest.raises(FileExistsError, match="exists already"), replacing(target):
        pytest.fail("never reached")
    with pytest.raises(KeyboardInterrupt):
        write(target, b"two", KeyboardInterrupt)
    assert target.read_bytes() == b"one"
    with replacing(target, force=True) as file:
        file.write(b"three")
    assert target.read_bytes() == b"three"
    assert left_in(tmp_path) == ["x"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(FileExistsError):
        write_beside(target)
    assert target.read_bytes() == b"theirs"
    assert left_in(tmp_path) == ["x"]


def test_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), replacing(tmp_path, force=True):
        pytest.fail("never reached")
    missing = tmp_path / "no" / "x"
    with pytest.raises(FileNotFoundError) as caught, replacing(missing):
        pytest.fail("never reached")
    assert caught.value.filename == str(missing)


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="there is no /dev/null")
def test_a_device_is_written_to() -> None:
    with replacing("/dev/null") as file:
        file.write(b"x")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "x")
    with replacing(tmp_path / "link", force=True) as file:
        file.write(b"one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x").read_bytes() == b"one"


def test_targets_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    source = tmp_path / "a.dbn"
    source.write_bytes(streams.header() + streams.trades(3))
    with pytest.raises(ValueError, match="is the source itself"):
        repair(str(source), "~/a.dbn", force=True)
    repair("~/a.dbn", Path("~/b.dbn"))
    assert (tmp_path / "b.dbn").read_bytes() == source.read_bytes()
    (part,) = split("~/b.dbn", "~/parts", by="schema")
    assert part.parent == tmp_path / "parts"
    assert part.is_file()


# ---------------------------------------------------------------- repair


def test_repair_of_every_cut(tmp_path: Path) -> None:
    start = header().encode()
    records = [trade(MONDAY), streams.record(0x42, 20), trade(MONDAY + 1)]
    data = start + b"".join(records)
    ends = [len(start) + sum(map(len, records[:n])) for n in range(4)]
    source, target = tmp_path / "source", tmp_path / "target"
    for cut in range(len(start), len(data) + 1):
        source.write_bytes(data[:cut])
        done = repair(source, target, force=True)
        best = max(end for end in ends if end <= cut)
        assert target.read_bytes() == data[:best]
        assert (done.n_records, done.n_bytes) == (ends.index(best), best)
        assert (done.lost is None) == (cut == best)
        assert dbnfast.scan(target.read_bytes(), on_truncated="raise").metadata == header()
    for cut in (0, 5, len(start) - 1):
        source.write_bytes(data[:cut])
        with pytest.raises(dbnfast.TruncatedError):
            repair(source, tmp_path / "never")
    assert left_in(tmp_path) == ["source", "target"]


def test_repair_of_cut_zstd(tmp_path: Path) -> None:
    start = header().encode()
    rng = random.Random(5)
    whole = b"".join(trade(MONDAY + i, rng.getrandbits(32)) for i in range(200))
    data = streams.frame(start) + streams.frame(whole)
    source, target = tmp_path / "source", tmp_path / "target.zst"
    for cut in range(len(streams.frame(start)), len(data) + 1, 37):
        source.write_bytes(data[:cut])
        done = repair(source, target, force=True)
        got = streams.inflate(target.read_bytes())
        assert got == start + whole[: done.n_records * 48]
        assert got == start + _good_of(data[:cut])
    assert verify(target).ok


@pytest.mark.parametrize("block", [1020, 16 << 20])
@pytest.mark.parametrize("splits", [[0, 100], [0, 100, 150], [0], [0, 21, 42, 63, 100]])
def test_repair_counts_what_no_checksum_vouches_for(
    tmp_path: Path, splits: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", block)
    start, rng = header().encode(), random.Random(9)
    records = [trade(MONDAY + i, rng.getrandbits(32)) for i in range(200)]
    parts = [records[a:b] for a, b in zip(splits, [*splits[1:], None], strict=True)]
    frames = [streams.frame(start)] + [streams.frame(b"".join(part)) for part in parts]
    source, target = tmp_path / "source", tmp_path / "target.zst"
    data = bytearray(b"".join(frames))
    source.write_bytes(data)
    assert repair(source, target) == (200, len(start) + 200 * 48, None, 0, 0)
    data[-1] ^= 1  # of the checksum
    source.write_bytes(data)
    done = repair(source, target, force=True)
    assert done.lost is not None
    assert "the values of its records may be wrong, also of those before" in done.lost
    assert done.n_lost_bytes is None
    assert done.n_unverified == max(done.n_records - splits[-1], 0)
    source.write_bytes(data[:-6])
    done = repair(source, target, force=True)
    assert (done.n_lost_bytes, done.n_unverified) == (None, done.n_records - splits[-1])
    source.write_bytes(bytes(data[:-1]) + bytes([data[-1] ^ 1]) + b"no frame")
    assert repair(source, target, force=True)[3:] == (None, 0)


@pytest.mark.parametrize("compressed", [False, True])
def test_repair_says_how_much_it_leaves_out(tmp_path: Path, compressed: bool) -> None:
    start = header().encode()
    rest = streams.record(0, 40) + trade(MONDAY + 1) * 90_000  # too short to be a trade
    source, target = tmp_path / "source", tmp_path / "target"
    body = start + trade(MONDAY) + rest
    source.write_bytes(streams.frame(body) if compressed else body)
    done = repair(source, target)
    assert (done.n_records, done.n_lost_bytes, done.n_unverified) == (1, len(rest), 0)
    if compressed:
        data = bytearray(streams.frame(body))
        data[-1] ^= 1
        source.write_bytes(data)
        assert repair(source, target, force=True)[3:] == (None, 1)


def test_repair_does_not_need_what_is_behind_the_damage(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def readinto(self, out: Any) -> int:
            if self.tell() > files.BLOCK + 2000:
                raise OSError("a bad sector")
            return super().readinto(out)

    start = header().encode()
    data = start + trade(MONDAY) + streams.record(0, 40) + bytes(files.BLOCK + 5000)
    done = repair(Broken(data), tmp_path / "target")
    assert (done.n_records, done.n_lost_bytes) == (1, None)


def test_verify_says_that_a_frame_is_not_verified(tmp_path: Path) -> None:
    data = bytearray(streams.frame(header().encode() + trade(MONDAY) * 9000))
    source = tmp_path / "source"
    source.write_bytes(data[:-6])
    (found,) = (one for one in verify(source).findings if one.severity == "damage")
    assert found.kind == "cut"
    assert found.text.endswith("without the frame's checksum the values of its records are not "
                               "verified")  # fmt: skip
    data[-1] ^= 1
    source.write_bytes(data)
    (found,) = (one for one in verify(source).findings if one.severity == "damage")
    assert found.kind == "zstd"
    assert "the values of its records may be wrong, also of those before" in found.text


def _good_of(data: bytes) -> bytes:
    return dbnfast.scan(data, on_truncated="ignore").tobytes()


def test_repair_keeps_the_header_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (
        "metadata-reserved.v2.dbn",
        "metadata-extra.v3.dbn",
        "metadata-cstr-len-30.v2.dbn",
    ):
        if name not in FILES:
            pytest.skip("the golden files are not here")
        data = golden(name).read_bytes()
        source.write_bytes(data + b"\0")
        done = repair(source, tmp_path / name)
        assert (tmp_path / name).read_bytes() == data
        assert done.lost is not None
    source.write_bytes((FIXTURES / "bad/date-0.v3.dbn").read_bytes())
    assert repair(source, tmp_path / "date").lost is None  # the records are all good
    done = repair(FIXTURES / "trades.dbz", tmp_path / "dbz")
    found = dbnfast.scan((tmp_path / "dbz").read_bytes())
    assert found.version == 1
    assert found.tobytes() == dbnfast.scan((FIXTURES / "trades.dbz").read_bytes()).tobytes()


def test_repair_of_a_fragment(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(trade(1) + trade(2)[:30])
    assert repair(source, target, has_metadata=False)[:2] == (1, 48)
    assert target.read_bytes() == trade(1)


def test_repair_is_never_in_place(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(header().encode() + trade(1)[:20])
    link = tmp_path / "link"
    os.link(source, link)
    for target in (source, link):
        with pytest.raises(ValueError, match="is the source itself"):
            repair(source, target, force=True)
        with source.open("rb") as file, pytest.raises(ValueError, match="the source itself"):
            repair(file, target, force=True)
    assert not is_same_file(source, tmp_path / "b")
    assert not is_same_file(io.BytesIO(), source)
    other = tmp_path / "b"
    other.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        repair(source, other)
    assert other.read_bytes() == b"mine"


class _Failing:
    """A deflater that fails at its second push."""

    def __init__(self, compression: object, ts_out: bool) -> None:
        self.n = 0

    def header(self, data: bytes) -> bytes:
        return self.push(data)

    def cut(self) -> bytes:
        return b""

    def push(self, data: bytes) -> bytes:
        self.n += 1
        if self.n == 2:
            raise OSError("no space left")
        return data

    def finish(self) -> bytes:
        return b""


def test_a_failing_repair_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a"
    source.write_bytes(header().encode() + trade(1))
    monkeypatch.setattr(files, "SeekableDeflater", _Failing)
    with pytest.raises(OSError, match="no space"):
        repair(source, tmp_path / "b")
    assert left_in(tmp_path) == ["a"]


# ---------------------------------------------------------------- split

RECORDS = [
    trade(MONDAY + 1, 1),
    trade(MONDAY + 2, 2),
    trade(MONDAY + 3, 3),  # unmapped
    trade(MONDAY + DAY - 1, 1),
    trade(MONDAY + DAY, 1),
    trade(MONDAY + DAY + 5, 2),
    trade(UNDEF, 2),
]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space left")])
@pytest.mark.parametrize("there", [False, True])
def test_a_split_that_fails_leaves_no_folder(
    tmp_path: Path, error: BaseException, there: bool
) -> None:
    metadata = header()
    records = dbnfast.scan(metadata.encode() + RECORDS[0])

    def blocks() -> Any:
        yield records
        assert (tmp_path / "new/parts").is_dir()
        raise error

    if there:
        (tmp_path / "new").mkdir()
    with pytest.raises(type(error)):
        split_records(blocks(), metadata, tmp_path / "new/parts")
    assert left_in(tmp_path) == ["new"] * there
    assert not (tmp_path / "new/parts").exists()


def spread(tmp_path: Path, data: bytes, **options: Any) -> dict[str, dbnfast.Records]:
    folder = tmp_path / "parts"
    paths = split(io.BytesIO(data), folder, **options)
    assert sorted(path.name for path in paths) == left_in(folder)
    assert len(set(paths)) == len(paths)
    return {path.name: dbnfast.scan(path.read_bytes(), on_truncated="raise") for path in paths}


def test_split_by_day(tmp_path: Path) -> None:
    parts = spread(tmp_path, header(limit=50).encode() + b"".join(RECORDS))
    assert {name: part.tobytes() for name, part in parts.items()} == {
        "glbx-mdp3-20260105.trades.dbn": b"".join(RECORDS[:4]),
        "glbx-mdp3-20260106.trades.dbn": b"".join(RECORDS[4:6]),
        "glbx-mdp3-undated.trades.dbn": RECORDS[6],
    }
    one, two, undated = (part.metadata for part in parts.values())
    assert one is not None
    assert two is not None
    assert undated == header()
    assert (one.start, one.end, one.limit) == (MONDAY, MONDAY + DAY, None)
    assert (two.start, two.end) == (MONDAY + DAY, MONDAY + 2 * DAY)
    assert one.mappings == header().mappings


def test_split_by_day_narrows_the_header(tmp_path: Path) -> None:
    mappings = {
        "A": [interval(MONDAY, MONDAY + DAY, "1"), interval(MONDAY + DAY, MONDAY + 2 * DAY, "5")],
        "B": [interval(MONDAY + DAY, MONDAY + 2 * DAY, "2")],
    }
    full = header(start=MONDAY + 9, end=MONDAY + DAY + 7, mappings=mappings)
    parts = spread(tmp_path, full.encode() + trade(MONDAY + 10) + trade(MONDAY + DAY, 5))
    one, two = (part.metadata for part in parts.values())
    assert one == full.replace(end=MONDAY + DAY, mappings={"A": mappings["A"][:1]})
    assert two == full.replace(
        start=MONDAY + DAY, mappings={"A": mappings["A"][1:], "B": mappings["B"]}
    )


def test_split_by_symbol(tmp_path: Path) -> None:
    data = header().encode() + b"".join(RECORDS)
    parts = spread(tmp_path, data, by="symbol", compression="zstd")
    assert {name: part.tobytes() for name, part in parts.items()} == {
        "glbx-mdp3.trades.A.dbn.zst": RECORDS[0] + RECORDS[3] + RECORDS[4],
        "glbx-mdp3.trades.B.dbn.zst": RECORDS[1] + RECORDS[5],
        "glbx-mdp3.trades.3.dbn.zst": RECORDS[2],
        "glbx-mdp3.trades.2.dbn.zst": RECORDS[6],  # undefined times have no date
    }
    a = parts["glbx-mdp3.trades.A.dbn.zst"].metadata
    assert a == header(symbols=["A"], mappings={"A": header().mappings["A"]})


def test_symbols_that_file_systems_do_not_like(tmp_path: Path) -> None:
    names = ["../../etc/x", "BRK A", "brk a", "a:b*?", "%", "ES.FUT", "é"[:0] + "-", "S" * 70]
    mappings = {name: [interval(MONDAY, MONDAY + DAY, str(i))] for i, name in enumerate(names, 1)}
    full = header(symbols=names, mappings=mappings)
    records = [trade(MONDAY + i, i) for i in range(1, len(names) + 1)]
    parts = spread(tmp_path, full.encode() + b"".join(records), by="symbol")
    assert [part.tobytes() for part in parts.values()] == records
    assert list(parts) == [
        f"glbx-mdp3.trades.{name}.dbn"
        for name in (
            "..%2F..%2Fetc%2Fx", "BRK%20A", "brk%20a~2", "a%3Ab%2A%3F", "%25", "ES.FUT", "-",
            "S" * 70,
        )
    ]  # fmt: skip
    assert [part.metadata.symbols for part in parts.values() if part.metadata] == [
        [name] for name in names
    ]


def test_split_by_schema(tmp_path: Path) -> None:
    full = header(schema=None)
    bar = streams.record(0x21, 56, ts_event=MONDAY)
    unknown = streams.record(0x42, 20, ts_event=MONDAY)
    system = streams.record(0x17, 320, ts_event=MONDAY)
    data = full.encode() + RECORDS[0] + bar + unknown + RECORDS[1] + system + bar
    parts = spread(tmp_path, data, by="schema")
    assert {name: part.tobytes() for name, part in parts.items()} == {
        "glbx-mdp3.trades.dbn": RECORDS[0] + RECORDS[1],
        "glbx-mdp3.ohlcv-1m.dbn": bar + bar,
        "glbx-mdp3.rtype-42.dbn": unknown,
        "glbx-mdp3.system.dbn": system,
    }
    schemas = [part.metadata.schema for part in parts.values() if part.metadata]
    assert set(schemas) == {dbnfast.Schema.TRADES, dbnfast.Schema.OHLCV_1M, None}


@pytest.mark.parametrize("schema", ["tbbo", "mbp-1"])
def test_schemas_that_share_an_rtype(schema: str, tmp_path: Path) -> None:
    book = streams.record(0x01, 80, ts_event=MONDAY)
    parts = spread(tmp_path, header(schema=schema).encode() + book, by="schema")
    assert list(parts) == [f"glbx-mdp3.{schema}.dbn"]


@pytest.mark.parametrize("by", ["day", "schema", "symbol"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_many_parts_in_little_memory(
    by: Any, compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # every few records parts are written, closed and opened again
    monkeypatch.setattr(splitting, "BLOCK", 1500)
    monkeypatch.setattr(splitting, "BUFFERED", 4000)
    monkeypatch.setattr(splitting, "OPEN_PARTS", 2)
    rng = random.Random(1)
    records = [trade(MONDAY + rng.randrange(30) * DAY, rng.randrange(40)) for _ in range(600)]
    parts = spread(tmp_path, header().encode() + b"".join(records), by=by, compression=compression)
    assert sum(map(len, parts.values())) == 600
    found = [record for part in parts.values() for record in streams.walk(part.tobytes())]
    assert sorted(found) == sorted(records)
    if by != "schema":
        assert len(parts) >= 30
    for part in parts.values():  # the order stays
        own = streams.walk(part.tobytes())
        places = [[i for i, record in enumerate(records) if record == one] for one in own]
        assert all(min(a) <= max(b) for a, b in itertools.pairwise(places))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_split_and_merge_is_what_it_was(version: int, tmp_path: Path) -> None:
    stream = builders.make_stream(random.Random(version), 40, version=version, ts_out=True)
    records = dbnfast.scan(stream.data)
    order = np.argsort(columns_of_headers.index_times(records), kind="stable")
    by_time = b"".join(stream.records[i] for i in order)
    sorted_stream = stream.header + by_time
    paths = split(io.BytesIO(sorted_stream), tmp_path, by="day")
    readers = [dbnfast.iter_decode(path) for path in paths]
    headers = [reader.metadata for reader in readers if reader.metadata is not None]
    assert len(headers) == len(readers)
    joined = merging.joined_metadata(headers)
    upgraded = [(block.upgrade() for block in reader) for reader in readers]
    whole = dbnfast.Records.concat(merging.merged(upgraded, joined))
    assert whole.tobytes() == dbnfast.scan(sorted_stream).upgrade().tobytes()


def test_what_split_refuses(tmp_path: Path) -> None:
    data = header().encode() + b"".join(RECORDS)
    with pytest.raises(ValueError, match="by is 'year'"):
        split(io.BytesIO(data), tmp_path, by="year")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without metadata"):
        split_records([], None, tmp_path)
    split(io.BytesIO(data), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    more = header().encode() + b"".join([trade(MONDAY - DAY), *RECORDS])
    with pytest.raises(FileExistsError):
        split(io.BytesIO(more), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(split(io.BytesIO(more), tmp_path, force=True)) == 4


def test_split_of_damaged_files(tmp_path: Path) -> None:
    data = header().encode() + b"".join(RECORDS)
    with pytest.raises(dbnfast.InvalidRecordError):
        split(io.BytesIO(data + bytes(20)), tmp_path)
    assert left_in(tmp_path) == []
    with pytest.warns(dbnfast.TruncatedWarning):
        assert len(split(io.BytesIO(data + b"\x0c"), tmp_path)) == 3
    with pytest.raises(dbnfast.TruncatedError):
        split(io.BytesIO(data + b"\x0c"), tmp_path, on_truncated="raise", force=True)
    assert len(left_in(tmp_path)) == 3


@pytest.mark.parametrize("by", ["day", "symbol", "schema"])
def test_a_failing_split_leaves_nothing(
    by: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = header().encode() + b"".join(RECORDS)
    monkeypatch.setattr(splitting, "BLOCK", 1020)
    monkeypatch.setattr(splitting, "BUFFERED", 50)
    monkeypatch.setattr(splitting, "SeekableDeflater", _Failing)
    with pytest.raises(OSError, match="no space"):
        split(io.BytesIO(data + RECORDS[0] * 90), tmp_path, by=by)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("buffered", [50, 64 << 20])
def test_compressed_parts_are_seekable(
    buffered: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitting, "BLOCK", 1020)
    monkeypatch.setattr(splitting, "BUFFERED", buffered)
    records = [trade(MONDAY + n, 1 + n % 40) for n in range(400)]  # more parts than stay open
    data = header().encode() + b"".join(records)
    paths = split(io.BytesIO(data), tmp_path, by="symbol", compression="zstd")
    assert len(paths) == 40
    for number, path in enumerate(paths):
        raw = path.read_bytes()
        index = read_index(lambda at, n, raw=raw: raw[at : at + n], len(raw))
        assert index is not None
        assert index.n_records == 10
        assert (index.n_frames > 2) == (buffered == 50)
        body = dbnfast.scan(raw, on_truncated="raise").tobytes()
        assert body == b"".join(records[number::40])


def test_a_repaired_file_is_seekable() -> None:
    raw = header().encode() + trade(MONDAY) * 3
    out = io.BytesIO()
    repair(io.BytesIO(streams.frame(raw)[:-1]), out)
    index = read_index(lambda at, n: out.getvalue()[at : at + n], len(out.getvalue()))
    assert index is not None
    assert index.frame(1).contents[:4] == (3, 0, MONDAY, MONDAY)
    assert streams.inflate(out.getvalue()) == raw


def test_an_empty_file_has_no_parts(tmp_path: Path) -> None:
    assert split(io.BytesIO(header().encode()), tmp_path / "new") == []
    assert left_in(tmp_path / "new") == []


def test_an_id_that_is_a_symbol_too_keeps_its_order(tmp_path: Path) -> None:
    # mapped on Monday alone, and named 3 on other days too
    days = [interval(MONDAY, MONDAY + DAY, "3")]
    records = [trade(MONDAY + i * DAY // 2, 3) for i in (1, 3, 0, 2, 1)]
    full = header(symbols=["3"], mappings={"3": days})
    parts = spread(tmp_path, full.encode() + b"".join(records), by="symbol")
    assert {name: part.tobytes() for name, part in parts.items()} == {
        "glbx-mdp3.trades.3.dbn": b"".join(records)
    }


def test_symbols_too_long_for_a_name(tmp_path: Path) -> None:
    names = ["/" * 70 + "a", "/" * 70 + "b", "/" * 70 + "c"]  # three bytes each, in a name
    mappings = {name: [interval(MONDAY, MONDAY + DAY, str(i))] for i, name in enumerate(names)}
    full = header(symbols=names, mappings=mappings, symbol_cstr_len=80, dataset="#" * 15)
    records = [trade(MONDAY, i) for i in range(3)]
    parts = spread(tmp_path, full.encode() + b"".join(records), by="symbol", compression="zstd")
    assert [part.tobytes() for part in parts.values()] == records
    start = "%23" * 15 + ".trades." + "%2F" * 70
    assert list(parts) == [f"{start[:240]}{end}.dbn.zst" for end in ("", "~2", "~3")]


def test_many_symbols_take_no_quadratic_time(tmp_path: Path) -> None:
    n = 3000  # of which each once took a walk over the mappings of all
    names = [f"S{i}" for i in range(n)]
    mappings = {name: [interval(MONDAY, MONDAY + DAY, str(i))] for i, name in enumerate(names)}
    full = header(symbols=names, partial=names[::-7], mappings=mappings)
    data = full.encode() + b"".join(trade(MONDAY, i) for i in range(n))
    parts = spread(tmp_path, data, by="symbol")
    assert len(parts) == n
    for i in (0, 1, 2, n - 1):
        metadata = parts[f"glbx-mdp3.trades.S{i}.dbn"].metadata
        assert metadata is not None
        assert metadata.symbols == [f"S{i}"]
        assert metadata.partial == [f"S{i}"] * ((n - 1 - i) % 7 == 0)
        assert metadata.mappings == {f"S{i}": full.mappings[f"S{i}"]}


def test_the_last_day_of_timestamps(tmp_path: Path) -> None:
    data = header(end=None).encode() + trade(UNDEF - 1)
    parts = spread(tmp_path, data)
    assert list(parts) == ["glbx-mdp3-25540721.trades.dbn"]
    metadata = parts["glbx-mdp3-25540721.trades.dbn"].metadata
    assert metadata is not None
    assert (metadata.start, metadata.end) == (UNDEF - 1 - (UNDEF - 1) % DAY, None)


def test_parts_need_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    for force in (False, True):
        with pytest.raises(NotADirectoryError) as raised:
            split(io.BytesIO(header().encode()), path, force=force)
        assert raised.value.filename == str(path)
    assert path.read_bytes() == b"kept"
