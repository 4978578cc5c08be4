"""The index of a seekable file, proved by `verify` and shown by ``dbnfast info``."""

from __future__ import annotations

import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast.codec.index import Contents, Table
from dbnfast.files import Report, repair, verify
from helpers import streams

HEAD = streams.header(schema="ohlcv-1m", start=0)
U64_MAX = 2**64 - 1
TIMES = [[1000, 1200, 1300], [1400, 1500], [1600], [1700, 1800, 1900, 2000]]


def bar(time: int) -> bytes:
    return streams.record(0x21, 56, ts_event=time)


BODIES = [b"".join(map(bar, times)) for times in TIMES]
TEXTS = [HEAD, *BODIES]
FRAMES = [streams.frame(text) for text in TEXTS]
FOUND = [None, *(Contents(len(times), 0, times[0], times[-1]) for times in TIMES)]


def table(**wrong: Any) -> bytes:
    """Index and table of the frames; what is wrong of frame 2 may be said."""
    made = Table()
    for number, (frame, text, found) in enumerate(zip(FRAMES, TEXTS, FOUND, strict=True)):
        entry = {"size": len(frame), "plain": len(text), "checksum": frame[-4:], "found": found}
        if number == 2:
            entry |= wrong
        made.add_size(
            entry["size"],
            entry["plain"],
            int.from_bytes(entry["checksum"], "little"),
            entry["found"],
        )
    return made.tobytes()


def written() -> bytes:
    return b"".join(FRAMES) + table()


def check(data: bytes) -> Report:
    return verify(io.BytesIO(data), check_symbols=False)


def texts(report: Report) -> list[str]:
    found = [finding for finding in report.findings if finding.severity != "warning"]
    assert {(finding.kind, finding.severity) for finding in found} <= {("index", "damage")}
    return [finding.text for finding in found]


def test_sound() -> None:
    report = check(written())
    assert (report.ok, report.findings, report.records) == (True, [], 10)


@pytest.mark.parametrize("frame_bytes", [1, 100, 5000, 4 << 20])
@pytest.mark.parametrize("block", [1020, 4096, 16 << 20])
def test_what_is_written_is_sound(
    frame_bytes: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbnfast.files._verify.BLOCK", block)
    out = io.BytesIO()
    records = dbnfast.scan(streams.header(schema=None, start=0) + streams.mixed(60))
    with streams.encoder(out, records.metadata, frame_bytes) as encoder:
        encoder.write(records)
    report = check(out.getvalue())
    assert [finding for finding in report.findings if finding.kind == "index"] == []
    assert (report.ok, report.records) == (True, 240)


FOUND_2: Any = FOUND[2]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"found": FOUND_2._replace(n_records=3)}, "n_records is 2, the index says 3"),
        ({"found": FOUND_2._replace(n_untimed=1)}, "n_untimed is 0, the index says 1"),
        ({"found": FOUND_2._replace(lowest=1401)}, "lowest is 1400, the index says 1401"),
        ({"found": FOUND_2._replace(highest=1499)}, "highest is 1500, the index says 1499"),
        (
            {"found": FOUND_2._replace(control_lowest=5, control_highest=6)},
            f"control_lowest is {U64_MAX}, the index says 5; control_highest is 0, the index says "
            "6",
        ),
        ({"checksum": bytes(4)}, f"its checksum is {FRAMES[2][-4:][::-1].hex()}, the table says 0"),
    ],
)
def test_what_is_wrong_of_a_frame(wrong: dict[str, Any], text: str) -> None:
    report = check(b"".join(FRAMES) + table(**wrong))
    at = len(FRAMES[0]) + len(FRAMES[1])
    (found,) = texts(report)
    assert found.startswith(f"frame 2 at byte {at}: {text}")
    assert report.findings[0].offset == at
    assert (report.ok, report.records) == (False, 10)


def test_sizes_that_are_wrong() -> None:
    (first, *_) = texts(check(b"".join(FRAMES) + table(plain=111)))
    assert "with 112 of content, the table says" in first
    assert "with 111" in first
    (found,) = texts(check(b"".join(FRAMES) + table(size=1000)))
    assert "that of another file: its frames end at byte" in found


def test_a_header_of_another_size() -> None:
    made = Table()
    for frame, text, found in zip(FRAMES, TEXTS, [Contents(), *FOUND[1:]], strict=True):
        made.add(frame, len(text), found)
    (found,) = texts(check(b"".join(FRAMES) + made.tobytes()))
    assert found == f"the index says that the header has 0 bytes, it has {len(HEAD)}"


def test_many_frames_are_counted() -> None:
    made = Table()
    frames = [streams.frame(bar(time)) for time in range(20)]
    made.add(FRAMES[0], len(HEAD), None)
    for time, frame in enumerate(frames):
        made.add(frame, 56, Contents(1, 0, time + 1, time + 1))
    found = texts(check(FRAMES[0] + b"".join(frames) + made.tobytes()))
    assert len(found) == 6
    assert found[-1] == "15 more frames are not as the index says"


def test_frames_that_end_inside_records() -> None:
    made = Table()
    pieces = [HEAD, BODIES[0][:60], BODIES[0][60:]]
    frames = [streams.frame(piece) for piece in pieces]
    for frame, piece, found in zip(
        frames,
        pieces,
        [None, Contents(1, 0, 1000, 1000), Contents(2, 0, 1200, 1300)],
        strict=True,
    ):
        made.add(frame, len(piece), found)
    (found_text,) = texts(check(b"".join(frames) + made.tobytes()))
    assert found_text.endswith("it ends inside a record")


def test_a_missing_frame() -> None:
    made = Table()
    made.add(FRAMES[0], len(HEAD), None)
    made.add_size(len(FRAMES[1]) + len(FRAMES[2]), len(BODIES[0]) + len(BODIES[1]), 0, FOUND[1])
    data = b"".join(FRAMES[:3]) + made.tobytes()
    assert texts(check(data)) == ["the index has 2 frames, the file 3"]


def test_any_bit_of_index_and_table() -> None:
    data = written()
    begin = len(b"".join(FRAMES))
    for at in range(begin, len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << at % 8
        report = check(bytes(broken))
        assert not report.ok, at
        assert report.records == 10


@pytest.mark.parametrize("cut", range(1, len(table())))
def test_any_cut_of_index_and_table(cut: int) -> None:
    report = check(written()[:-cut])
    assert not report.ok
    assert report.records == 10


def test_what_stands_at_the_wrong_place() -> None:
    n = len(written())
    (found,) = texts(check(written() + streams.skippable(b"more")))
    assert found.startswith(f"the seek table at byte {n - 12 * 6 - 17} is not at the end")
    (found,) = texts(check(b"".join(FRAMES) + table() + FRAMES[4]))
    assert f"{len(FRAMES[4])} bytes follow" in found
    (found,) = texts(check(FRAMES[0] + table() + b"".join(FRAMES[1:]) + table()))
    assert "another file" in found


def test_other_files_have_no_index() -> None:
    for data in (
        b"".join(TEXTS),
        b"".join(FRAMES),
        b"".join(FRAMES) + streams.skippable(b"DBNINDEX", 0x184D2A50),
        b"".join(FRAMES) + streams.skippable(struct.pack("<IBI", 0, 0, 0x8F92EAB1), 0x184D2A5E),
    ):
        report = check(data)
        assert (report.findings, report.records) == ([], 10)


def test_a_pipe_is_checked_too() -> None:
    class Pipe:
        def __init__(self, data: bytes) -> None:
            self.file = io.BytesIO(data)

        def readinto(self, out: memoryview) -> int:
            return self.file.readinto(out[:100])

    source: Any = Pipe(b"".join(FRAMES) + table(checksum=bytes(4)))
    assert len(texts(verify(source, check_symbols=False))) == 1
    source = Pipe(written())
    assert verify(source, check_symbols=False).findings == []


def test_damage_of_a_frame_is_told_alone() -> None:
    data = bytearray(written())
    data[len(FRAMES[0]) + 12] ^= 1
    (finding,) = check(bytes(data)).findings
    assert finding.kind == "zstd"


def test_repair_makes_a_new_index() -> None:
    out = io.BytesIO()
    repair(io.BytesIO(b"".join(FRAMES) + table(size=1000)), out)
    assert check(out.getvalue()).findings == []


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line", "index"),
    [
        (written(), "5, with an index", "there"),
        (b"".join(FRAMES), "5, without an index", "none"),
        (streams.frame(b"".join(TEXTS)), "1, without an index", "none"),
        (
            b"".join(FRAMES) + table(size=1000),
            r"5, index damaged: the seek table is that",
            "damaged",
        ),
    ],
)
def test_info_shows_frames_and_index(
    data: bytes, line: str, index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typer")
    from dbnfast.__main__ import main

    path = tmp_path / "a.dbn.zst"
    path.write_bytes(data)
    assert main(["info", str(path)]) == 0
    assert re.search(rf"\n  frames      {line}", capsys.readouterr().out)
    assert main(["info", "--json", str(path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["frames"] == int(line[0])
    assert shown["index"].startswith(index)


def test_info_of_a_plain_file_has_no_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typer")
    from dbnfast.__main__ import main

    path = tmp_path / "a.dbn"
    path.write_bytes(b"".join(TEXTS))
    assert main(["info", str(path)]) == 0
    assert "frames" not in capsys.readouterr().out
