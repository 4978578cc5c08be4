"""Sessions into files: rotation, files that need no other, what a kill leaves, resuming."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import dbnfast
import dbnfast.files
from dbnfast import Metadata, MetadataError, Records, RType, SymbolMap
from dbnfast.codec.compression import stored_frame
from dbnfast.codec.index import Index, read_index
from dbnfast.files import verify
from dbnfast.live import recorder as module
from dbnfast.live import recovery
from dbnfast.live.recorder import Recorder, Recovered, recover
from dbnfast.live.recovery import Mappings, parts_of
from dbnfast.symbology.resolver import Resolver
from helpers.places import TESTS
from helpers.streams import frame, walk, zstd

DAY = 86_400 * 10**9
NOON = 20_500 * DAY + DAY // 2  # 2026-02-16 12:00 UTC
NAMES = {101: "ESH6", 102: "ESM6", 103: "NQH6"}
FORMS = ("none", "zstd")


def trade(i: int, ts: int, ts_out: bool = False, id: int = 101) -> bytes:
    stamp = {"ts_out": ts + 5} if ts_out else {}
    return bytes(
        dbnfast.TradeMsg(
            publisher_id=1, instrument_id=id, ts_event=ts - 3, ts_recv=ts, price=i, size=1,
            action="T", side="A", sequence=i % 2**32, **stamp,
        )
    )  # fmt: skip


def mapping(
    id: int, symbol: str, ts: int = NOON, asked: str = "ES.FUT", out: bool = False
) -> bytes:
    stamp = {"ts_out": ts + 5} if out else {}
    return bytes(
        dbnfast.SymbolMappingMsg(
            instrument_id=id, ts_event=ts, stype_in_symbol=asked, stype_out_symbol=symbol, **stamp
        )
    )


def system(text: str, ts: int = NOON, ts_out: bool = False) -> bytes:
    stamp = {"ts_out": ts + 5} if ts_out else {}
    return bytes(dbnfast.SystemMsg(ts_event=ts, msg=text, code=0, **stamp))


def batch(*raw: bytes, ts_out: bool = False, dataset: str = "GLBX.MDP3", start: int = 7) -> Records:
    metadata = Metadata(dataset, start, ts_out=ts_out)
    return dbnfast.scan(metadata.encode() + b"".join(raw))


def opening(ts_out: bool = False) -> list[bytes]:
    names = [mapping(id, name, out=ts_out) for id, name in NAMES.items()]
    return [system("Subscription request 0 for trades data succeeded", ts_out=ts_out), *names]


def records_in(path: Path) -> list[bytes]:
    records = dbnfast.scan(path.read_bytes(), on_truncated="raise")
    return walk(records.tobytes())


def all_records(recovered: Recovered) -> list[bytes]:
    return [raw for records in recovered.records() for raw in walk(records.tobytes())]


def open_files() -> int:
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


def symbols_alone(path: Path) -> set[tuple[int, str]]:
    """What one file alone says that its trades' ids are."""
    records = dbnfast.scan(path.read_bytes())
    resolver = Resolver(SymbolMap(), live=True)
    codes = resolver.codes(records)
    ids = [record.instrument_id for record in records]
    trades = [record.rtype == RType.MBP_0 for record in records]
    return {
        (id, resolver.symbols[code] if code >= 0 else "")
        for id, code, is_trade in zip(ids, codes.tolist(), trades, strict=True)
        if is_trade
    }


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("ts_out", [False, True])
def test_a_session_in_one_file(tmp_path: Path, compression: str, ts_out: bool) -> None:
    raw = opening(ts_out) + [trade(i, NOON + i, ts_out) for i in range(100)]
    with Recorder(tmp_path / "new", compression=compression) as recorder:
        assert recorder.path is None
        assert not (tmp_path / "new").exists()  # no record, no file
        recorder.write(batch(*raw[:10], ts_out=ts_out))
        recorder.write(batch(ts_out=ts_out))
        recorder.write(batch(*raw[10:], ts_out=ts_out))
        assert recorder.path == recorder.files[0]
    suffix = ".zst" if compression == "zstd" else ""
    assert [path.name for path in (tmp_path / "new").iterdir()] == [
        f"GLBX.MDP3-20260216T120000Z-000001.dbn{suffix}"
    ]
    assert recorder.path is None
    assert recorder.n_records == len(raw)
    assert records_in(recorder.files[0]) == raw
    header = dbnfast.scan(recorder.files[0].read_bytes()).metadata
    assert header == Metadata("GLBX.MDP3", NOON - 0, ts_out=ts_out)


def test_a_folder_may_be_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Recorder("~/new") as recorder:
        recorder.write(batch(*opening()))
    assert recorder.files[0].parent == tmp_path / "new"
    assert recover("~/new").files == tuple(recorder.files)


def test_older_versions_become_the_newest(tmp_path: Path) -> None:
    old = dbnfast.SymbolMappingMsgV1(instrument_id=101, ts_event=NOON, stype_out_symbol="ESH6")
    raw = Metadata("GLBX.MDP3", 1, version=1).encode() + bytes(old) + trade(0, NOON)
    with Recorder(tmp_path) as recorder:
        recorder.write(dbnfast.scan(raw))
    found = dbnfast.scan(recorder.files[0].read_bytes())
    assert found.version == 3
    assert [record.stype_out_symbol for record in found if record.rtype == 22] == ["ESH6"]


@pytest.mark.parametrize("compression", FORMS)
def test_rotation_by_size(tmp_path: Path, compression: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "FRAME", 2000)
    rng = random.Random(3)
    raw = opening() + [trade(rng.getrandbits(60), NOON + i) for i in range(4000)]
    limit = 10_000
    with Recorder(tmp_path, compression=compression, rotate_bytes=limit) as recorder:
        for at in range(0, len(raw), 150):
            recorder.write(batch(*raw[at : at + 150]))
    assert len(recorder.files) > 3
    sizes = [path.stat().st_size for path in recorder.files]
    if compression == "none":
        assert max(sizes) <= limit
        assert min(sizes[:-1]) > limit - 100  # full, but for what a record needs
    else:
        assert all(limit <= size < limit + 2100 for size in sizes[:-1])
    head = raw[1:4]
    found = records_in(recorder.files[0])
    for path in recorder.files[1:]:
        records = records_in(path)
        assert records[:3] == head
        assert symbols_alone(path) == {(101, "ESH6")}
        found += records[3:]
    assert found == raw
    assert recorder.n_records == len(raw)


def test_a_record_longer_than_a_file_may_be_has_one(tmp_path: Path) -> None:
    with Recorder(tmp_path, rotate_bytes=1) as recorder:
        recorder.write(batch(*(system(str(i)) for i in range(4))))
    assert [len(records_in(path)) for path in recorder.files] == [1, 1, 1, 1]


def test_many_mappings_do_not_make_a_file_of_every_record(tmp_path: Path) -> None:
    raw = [mapping(i, f"S{i}") for i in range(100)]  # 17,600 bytes
    with Recorder(tmp_path, rotate_bytes=5000) as recorder:
        recorder.write(batch(*raw))
        for i in range(1000):
            recorder.write(batch(trade(i, NOON)))
    n = [len(records_in(path)) - 100 for path in recorder.files[-3:-1]]
    assert min(n) * 48 >= 17_000


@pytest.mark.parametrize("compression", FORMS)
def test_rotation_by_day(tmp_path: Path, compression: str) -> None:
    midnight = NOON + DAY // 2
    times = [
        NOON,
        midnight - 1,
        midnight,  # the next day
        midnight - 7,  # late: stays where it comes
        dbnfast.UNDEF_TIMESTAMP,
        midnight + DAY - 1,
        midnight + 3 * DAY,
        midnight + 3 * DAY + 1,
    ]
    days = [0, 0, 1, 1, 1, 1, 2, 2]
    raw = [trade(i, ts) if ts < 2**63 else trade(i, 3) for i, ts in enumerate(times)]
    raw[4] = raw[4].replace((3).to_bytes(8, "little"), b"\xff" * 8)
    wanted: list[list[bytes]] = [opening(), [], []]
    for day, record in zip(days, raw, strict=True):
        wanted[day].append(record)
    for pieces in (len(raw), 1, 3):
        folder = tmp_path / str(pieces)
        with Recorder(folder, rotate="day", compression=compression) as recorder:
            recorder.write(batch(*opening()))
            for at in range(0, len(raw), pieces):
                recorder.write(batch(*raw[at : at + pieces]))
        assert [path.name[10:18] for path in recorder.files] == ["20260216", "20260217", "20260220"]
        first, *later = (records_in(path) for path in recorder.files)
        assert first == wanted[0]
        assert [records[:3] for records in later] == [opening()[1:]] * 2
        assert [records[3:] for records in later] == wanted[1:]


def test_a_mapping_in_force_is_the_last_one(tmp_path: Path) -> None:
    first, again = mapping(101, "ESH6"), mapping(101, "ESM6", NOON + 5)
    other, by_name = mapping(102, "ESU6"), mapping(101, "ESM6", NOON + 6, "ESM6")
    with Recorder(tmp_path, rotate="day") as recorder:
        recorder.write(batch(first, other, again, by_name, trade(0, NOON)))
        recorder.write(batch(trade(1, NOON + DAY)))
    assert records_in(recorder.files[1]) == [other, again, by_name, trade(1, NOON + DAY)]
    assert symbols_alone(recorder.files[1]) == {(101, "ESM6")}


@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("ts_out", [False, True])
def test_official_packages_read_each_file_alone(
    tmp_path: Path, compression: str, ts_out: bool
) -> None:
    databento = pytest.importorskip("databento")
    from databento.common.symbology import InstrumentMap

    raw = opening(ts_out) + [trade(i, NOON + i * DAY // 3, ts_out) for i in range(9)]
    with Recorder(tmp_path, rotate="day", compression=compression) as recorder:
        recorder.write(batch(*raw, ts_out=ts_out))
    assert len(recorder.files) == 4
    n = 0
    for path in recorder.files:
        store = databento.DBNStore.from_bytes(path.read_bytes())
        assert (store.dataset, store.schema) == ("GLBX.MDP3", None)
        names = InstrumentMap()
        for record in store:
            if isinstance(record, databento.SymbolMappingMsg):
                names.insert_symbol_mapping_msg(record)
            elif isinstance(record, databento.TradeMsg):
                date = record.pretty_ts_recv.date()
                assert names.resolve(record.instrument_id, date) == "ESH6"
                assert bytes(record) == raw[4 + n]
                n += 1
    assert n == 9


def test_numbers_go_on_and_nothing_is_written_over(tmp_path: Path) -> None:
    for i in range(3):
        with Recorder(tmp_path, prefix="night") as recorder:
            recorder.write(batch(trade(i, NOON)))
    with Recorder(tmp_path, prefix="day", compression="zstd") as other:
        other.write(batch(trade(9, NOON)))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "day-20260216T120000Z-000001.dbn.zst",
        *(f"night-20260216T120000Z-{i:06d}.dbn" for i in (1, 2, 3)),
    ]
    assert [part.number for part in parts_of(tmp_path, "night")] == [1, 2, 3]


def test_a_name_that_is_taken_meanwhile(tmp_path: Path) -> None:
    taken = tmp_path / "a-20260217T120000Z-000002.dbn"
    with Recorder(tmp_path, prefix="a", rotate="day") as recorder:
        recorder.write(batch(trade(0, NOON)))
        taken.write_bytes(b"somebody else's")
        recorder.write(batch(trade(1, NOON + DAY)))
    assert [path.name[-10:] for path in recorder.files] == ["000001.dbn", "000003.dbn"]
    assert taken.read_bytes() == b"somebody else's"


def test_a_dataset_that_is_no_name(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.write(batch(trade(0, NOON), dataset="../x/y"))
    assert [path.name for path in tmp_path.iterdir()] == ["..%2Fx%2Fy-20260216T120000Z-000001.dbn"]


# --- what a file says of its time --------------------------------------------------------------


NOW = NOON + 30 * DAY  # of the gateway's clock: what it replays is older


def late_opening() -> list[bytes]:
    return [system("Subscription request 0 for trades data succeeded", NOW), mapping(101, "A", NOW)]


def starts(paths: Iterable[Path]) -> list[int]:
    headers = [dbnfast.scan(path.read_bytes()).metadata for path in paths]
    return [header.start for header in headers if header is not None]


@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("policy", ["close", "interval", "always"])
def test_no_data_is_before_the_start(tmp_path: Path, compression: str, policy: Any) -> None:
    # acknowledged now, replayed from a month ago, one schema after the other
    times = [NOON + 10 + i for i in range(40)] + [NOON + i for i in range(40)]
    raw = late_opening() + [trade(i, ts) for i, ts in enumerate(times)]
    with Recorder(tmp_path, compression=compression, fsync=policy) as recorder:
        for one in raw:
            recorder.write(batch(one, start=0))
    (path,) = recorder.files
    assert starts([path]) == [NOON]
    assert records_in(path) == raw
    report = dbnfast.files.verify(path)
    assert [one for one in report.findings if one.severity != "note"] == []
    if policy != "always":  # else there was no data that the name could have told of
        assert path.name.startswith("GLBX.MDP3-20260216T120000Z-000001.dbn")


@pytest.mark.parametrize("compression", FORMS)
def test_official_packages_read_a_header_that_was_written_over(
    tmp_path: Path, compression: str
) -> None:
    databento = pytest.importorskip("databento")
    with Recorder(tmp_path, compression=compression, fsync="always") as recorder:
        for ts in (NOON + 9, NOON + 5):
            recorder.write(batch(trade(1, ts)))
    store = databento.DBNStore.from_bytes(recorder.files[0].read_bytes())
    assert store.start.value == NOON + 5
    assert [bytes(record) for record in store] == [trade(1, NOON + 9), trade(1, NOON + 5)]


def test_control_records_wait_for_data(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "HELD", 3000)
    late = late_opening()
    with Recorder(tmp_path / "a") as recorder:
        recorder.write(batch(*late))
        assert recorder.path is None
        assert recorder.n_records == 2
        recorder.flush()
        assert recorder.n_records == 2
        assert records_in(recorder.files[0]) == late
        assert starts(recorder.files) == [7]  # the stream's, where a replay begins
    with Recorder(tmp_path / "b") as recorder:
        for _ in range(9):
            recorder.write(batch(late[0], start=0))
        assert recorder.path is None
        recorder.write(batch(late[0], start=0))
        assert records_in(recorder.files[0]) == [late[0]] * 10  # memory is bounded
    assert starts(recorder.files) == [NOW]  # nothing tells more
    with Recorder(tmp_path / "c") as recorder:
        recorder.write(batch(*late))
    assert records_in(recorder.files[0]) == late
    with Recorder(tmp_path / "d", rotate_bytes=1) as recorder:
        recorder.write(batch(*late))
        recorder.write(batch(trade(1, NOON)))
    assert sum(map(len, recover(tmp_path / "d").records())) == 3
    assert recorder.n_records == 3


def test_names_sort_as_the_files_were_begun(tmp_path: Path) -> None:
    days = [3, 4, 1, 2, 5]  # the third recording is a replay of what came earlier
    for day in days:
        with Recorder(tmp_path) as recorder:
            recorder.write(batch(*late_opening(), trade(day, NOON + day * DAY)))
    files = recover(tmp_path).files
    assert sorted(files) == list(files)
    assert [records_in(path)[-1] for path in files] == [trade(d, NOON + d * DAY) for d in days]
    assert starts(files) == [NOON + day * DAY for day in days]
    assert [path.name[16:18] for path in files] == ["19", "20", "20", "20", "21"]


def test_the_gateways_clock_begins_no_day(tmp_path: Path) -> None:
    with Recorder(tmp_path, rotate="day") as recorder:
        recorder.write(batch(*late_opening()))
        for day in range(3):
            recorder.write(batch(trade(day, NOON + day * DAY), system("Heartbeat", NOW)))
    assert [path.name[16:18] for path in recorder.files] == ["16", "17", "18"]


# --- syncing ----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("policy", "synced"),
    [("always", [1, 2, 3, 4]), ("interval", [0, 0, 3, 3]), ("close", [0, 0, 0, 0])],
)
def test_when_records_are_safe(
    tmp_path: Path, policy: Any, synced: list[int], monkeypatch: Any
) -> None:
    clock, sizes = Clock(), []
    real = os.fsync

    def fsync(handle: int) -> None:
        sizes.append(os.fstat(handle).st_size)
        real(handle)

    with Recorder(
        tmp_path, compression="zstd", fsync=policy, fsync_interval_s=2.0, clock=clock
    ) as recorder:
        for i, wanted in enumerate(synced):
            clock.now += 0.9
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fsync)
                recorder.write(batch(trade(i, NOON + i)))
            assert recorder.path is not None
            assert len(records_in(recorder.path)) == wanted
            assert sizes or not wanted
        recorder.flush()
        assert recorder.path is not None
        assert len(records_in(recorder.path)) == 4
    assert len(records_in(recorder.files[0])) == 4


def test_plain_records_are_in_the_file_at_once(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        for i in range(3):
            recorder.write(batch(trade(i, NOON + i)))
            assert len(records_in(recorder.files[0])) == i + 1


def test_frames_are_ended_after_some_records(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "FRAME", 480)
    with Recorder(tmp_path, compression="zstd") as recorder:
        for i in range(25):
            recorder.write(batch(trade(i, NOON + i)))
        assert len(records_in(recorder.files[0])) == 20
    assert len(records_in(recorder.files[0])) == 25


# --- what goes wrong --------------------------------------------------------------------------


class Full(io.FileIO):
    """A disk that takes some bytes more, and then none until it is told that it has room."""

    left: int | None = None

    def write(self, data: Any) -> int:
        if Full.left is None:
            return super().write(data)
        if Full.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = min(Full.left, len(data))
        Full.left -= n
        return super().write(memoryview(data)[:n])


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Full]]:
    monkeypatch.setattr(module.io, "FileIO", Full)
    Full.left = None
    yield Full
    Full.left = None


@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("left", [0, 1, 30, 50, 100])
def test_a_full_disk(tmp_path: Path, full: type[Full], compression: str, left: int) -> None:
    with Recorder(tmp_path, compression=compression, fsync="always") as recorder:
        recorder.write(batch(trade(0, NOON)))
        full.left = left
        many = batch(*(trade(random.Random(i).getrandbits(60), NOON) for i in range(1, 50)))
        with pytest.raises(OSError, match=re.escape(str(tmp_path))) as caught:
            recorder.write(many)
        assert caught.value.errno == errno.ENOSPC
        assert records_in(recorder.files[0]) == [trade(0, NOON)]
        full.left = None
        recorder.flush()  # of zstd: what was taken, and could not be written
        kept = records_in(recorder.files[0])
        assert kept in ([trade(0, NOON)], [trade(0, NOON), *walk(many.tobytes())])
        assert recorder.n_records == len(kept)
        recorder.write(batch(trade(99, NOON)))
    assert records_in(recorder.files[0]) == [*kept, trade(99, NOON)]


def test_a_disk_that_is_full_before_the_header(tmp_path: Path, full: type[Full]) -> None:
    with Recorder(tmp_path) as recorder:
        full.left = 100
        with pytest.raises(OSError, match="No space"):
            recorder.write(batch(trade(0, NOON)))
        assert list(tmp_path.glob("*.dbn")) == recorder.files == []
        full.left = None
        recorder.write(batch(trade(0, NOON)))
    assert records_in(recorder.files[0]) == [trade(0, NOON)]


@pytest.mark.parametrize("compression", FORMS)
def test_a_full_disk_at_the_end(tmp_path: Path, full: type[Full], compression: str) -> None:
    recorder = Recorder(tmp_path, compression=compression, rotate="day")
    recorder.write(batch(trade(0, NOON)))
    recorder.flush()
    recorder.write(batch(trade(1, NOON)))
    full.left = 5
    with pytest.raises(OSError, match="No space"):
        recorder.write(batch(trade(2, NOON + DAY)))
    full.left = None
    recorder.write(batch(trade(2, NOON + DAY)))
    assert [len(records_in(path)) for path in recorder.files[:1]] == [2]
    full.left = 5
    if compression == "zstd":
        with pytest.raises(OSError, match=r"No space.*\.dbn\.zst"):
            recorder.close()
    before = open_files()
    recorder.close()
    assert open_files() <= before
    assert recorder.path is None
    kept = sum(len(records_in(path)) for path in recorder.files)
    assert recorder.n_records == kept == (2 if compression == "zstd" else 3)


def test_a_write_that_cannot_be_taken_back(tmp_path: Path, monkeypatch: Any) -> None:
    class Broken(Full):
        def truncate(self, size: int | None = None) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module.io, "FileIO", Broken)
    with Recorder(tmp_path) as recorder:
        recorder.write(batch(trade(0, NOON)))
        Full.left = 20
        with pytest.raises(OSError, match="No space"):
            recorder.write(batch(trade(1, NOON)))
        Full.left = None
        recorder.write(batch(trade(1, NOON)))
        recorder.write(batch(trade(2, NOON)))
    assert records_in(recorder.files[1]) == [trade(1, NOON), trade(2, NOON)]
    assert all_records(recover(tmp_path)) == [trade(i, NOON) for i in range(3)]


def test_a_frame_that_cannot_be_taken_back(tmp_path: Path, monkeypatch: Any) -> None:
    class Broken(Full):
        def truncate(self, size: int | None = None) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module.io, "FileIO", Broken)
    with Recorder(tmp_path, compression="zstd") as recorder:
        recorder.write(batch(trade(0, NOON + 1)))
        recorder.flush()
        recorder.write(batch(trade(1, NOON)))
        Full.left = 20
        with pytest.raises(OSError, match="No space"):
            recorder.flush()
        assert recorder.n_records == 2
        Full.left = None
        recorder.write(batch(trade(2, NOON + 2)))
        assert recorder.n_records == 3
    found = [dbnfast.scan(path.read_bytes(), on_truncated="ignore") for path in recorder.files]
    assert [walk(one.tobytes()) for one in found] == [
        [trade(0, NOON + 1)],
        [trade(1, NOON), trade(2, NOON + 2)],  # the frame went on into the next file
    ]
    assert starts(recorder.files[1:]) == [NOON]
    assert recorder.n_records == 3


@pytest.mark.parametrize("left", range(0, 400, 23))
def test_the_count_is_what_files_hold(tmp_path: Path, full: type[Full], left: int) -> None:
    for number, compression in enumerate(FORMS):
        for size in (None, 700):
            folder = tmp_path / f"{number} {size}"
            recorder = Recorder(folder, compression=compression, rotate_bytes=size)
            full.left = 500 + left
            with contextlib.suppress(OSError):
                for i in range(0, 40, 4):
                    recorder.write(batch(*(trade(i + k, NOON) for k in range(4))))
                    if i % 3 == 2:
                        recorder.flush()
            with contextlib.suppress(OSError):
                recorder.close()
            full.left = None
            assert recorder.n_records == sum(len(records_in(path)) for path in recorder.files)


deletes = pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted")


@deletes
@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("how", ["write", "flush", "close", "rotate"])
def test_a_file_that_is_deleted(tmp_path: Path, compression: str, what: str, how: str) -> None:
    folder = tmp_path / "rec"
    recorder = Recorder(folder, compression=compression, rotate="day")
    recorder.write(batch(trade(0, NOON), trade(1, NOON)))
    recorder.flush()
    path = recorder.path
    assert path is not None
    if what == "file":
        path.unlink()
    else:
        shutil.rmtree(folder)
    call = {
        "write": lambda: recorder.write(batch(trade(2, NOON))),
        "rotate": lambda: recorder.write(batch(trade(2, NOON + DAY))),
        "flush": recorder.flush,
        "close": recorder.close,
    }[how]
    with pytest.raises(FileNotFoundError, match=r"2 records.*" + re.escape(str(path))):
        call()
    assert (recorder.n_records, recorder.files, recorder.path) == (0, [], None)
    if how != "close":
        recorder.write(batch(trade(2, NOON)))  # into another one
        recorder.close()
        assert records_in(*recorder.files) == [trade(2, NOON)]  # type: ignore[call-arg]
        assert recorder.n_records == 1


@deletes
def test_a_frame_outlives_its_file(tmp_path: Path) -> None:
    with Recorder(tmp_path, compression="zstd") as recorder:
        recorder.write(batch(*opening(), trade(0, NOON)))
        recorder.files[0].unlink()
        with pytest.raises(FileNotFoundError, match="0 records"):
            recorder.flush()
        assert recorder.n_records == 5
    assert records_in(recorder.files[0])[-5:] == [*opening(), trade(0, NOON)]


NO_TWO = "another recorder writes files of 'GLBX.MDP3' in this folder"


def test_one_recorder_in_a_folder(tmp_path: Path) -> None:
    first, second = Recorder(tmp_path), Recorder(tmp_path, prefix="GLBX.MDP3")
    with first, second:
        first.write(batch(trade(0, NOON)))
        for _ in range(2):
            with pytest.raises(BlockingIOError, match=NO_TWO) as caught:
                second.write(batch(trade(1, NOON)))
            assert caught.value.filename == str(tmp_path)
        assert second.n_records == 0
        with Recorder(tmp_path, prefix="other") as other:
            other.write(batch(trade(2, NOON)))
        first.close()
        second.write(batch(trade(1, NOON)))
    names = sorted(path.name[-10:] for path in tmp_path.glob("GLBX*"))
    assert names == ["000001.dbn", "000002.dbn"]
    assert not list(tmp_path.glob(".*"))


def test_nobody_mends_what_is_written(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.write(batch(trade(0, NOON)))
        path = recorder.files[0]
        with open(path, "ab") as file:  # as a write looks that is not done
            file.write(trade(1, NOON)[:20])
        size = path.stat().st_size
        with pytest.raises(BlockingIOError, match=NO_TWO):
            recover(tmp_path)
        other = Recorder(tmp_path, prefix="GLBX.MDP3")
        with pytest.raises(BlockingIOError, match=NO_TWO):
            other.recover()
        assert path.stat().st_size == size
    assert recover(tmp_path).n_lost_bytes == 20
    assert not list(tmp_path.glob(".*"))


def test_a_recorder_mends_and_keeps_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    with Recorder(folder, prefix="a") as recorder:
        assert recorder.recover() == Recovered()
        with pytest.raises(BlockingIOError, match="'a'"):
            Recorder(folder, prefix="a").write(batch(trade(0, NOON)))
        recorder.write(batch(trade(0, NOON)))
        with pytest.raises(ValueError, match="begun a file"):
            recorder.recover()
    with Recorder(folder, prefix="a") as recorder:
        assert all_records(recorder.recover()) == [trade(0, NOON)]
    with pytest.raises(ValueError, match="closed"):
        recorder.recover()
    with Recorder(folder) as recorder, pytest.raises(ValueError, match="prefix is None"):
        recorder.recover()


@deletes
def test_a_lock_that_is_deleted_is_taken_again(tmp_path: Path) -> None:
    with Recorder(tmp_path, rotate="day") as recorder:
        recorder.write(batch(trade(0, NOON)))
        (lock,) = tmp_path.glob(".*.lock")
        lock.unlink()
        recorder.write(batch(trade(1, NOON + DAY)))
        assert lock.exists()
        with Recorder(tmp_path) as other:
            lock.unlink()
            other.write(batch(trade(2, NOON)))
            with pytest.raises(BlockingIOError, match=NO_TWO):
                recorder.write(batch(trade(3, NOON + 2 * DAY)))
        recorder.write(batch(trade(3, NOON + 2 * DAY)))


def test_a_folder_for_nothing_goes_again(tmp_path: Path) -> None:
    for there in (False, True):
        folder = tmp_path / "rec"
        if there:
            folder.mkdir()
        with Recorder(folder, prefix="a") as recorder:
            recorder.recover()
            assert folder.is_dir()
        assert folder.exists() == there


def test_what_only_may_be_read_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    raw = recorded(tmp_path, "none")

    def refuse(path: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("dbnfast.live.recovery.FileLock", refuse)
    assert all_records(recover(tmp_path)) == raw


def broken(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("what", ["os.fsync", "os.fstat", "os.open", "pathlib.Path.mkdir"])
def test_errors_of_a_recorder_name_the_path(tmp_path: Path, monkeypatch: Any, what: str) -> None:
    folder = tmp_path / "rec"
    recorder = Recorder(folder, fsync="always")
    with monkeypatch.context() as patch:
        if what in ("os.open", "pathlib.Path.mkdir"):  # these have it from the system

            def broken_too(path: Any, *_: Any, **__: Any) -> Any:
                raise OSError(errno.EIO, "Input/output error", str(path))

            patch.setattr(what, broken_too)
        else:
            patch.setattr(what, broken)
        with pytest.raises(OSError, match="Input/output error") as caught:
            recorder.write(batch(trade(0, NOON)))
    assert str(caught.value.filename).startswith(str(folder))
    assert recorder.n_records == 0
    recorder.write(batch(trade(0, NOON)))
    with monkeypatch.context() as patch:
        if what in ("os.fsync", "os.fstat"):
            patch.setattr(what, broken)
            with pytest.raises(OSError, match=re.escape(str(recorder.files[0]))):
                recorder.flush()
    recorder.close()


@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("what", ["listdir", "stat", "truncate", "fsync", "unlink", "read"])
def test_errors_of_mending_name_the_path(
    tmp_path: Path, monkeypatch: Any, compression: str, what: str
) -> None:
    recorded(tmp_path, compression)
    *_, last = recover(tmp_path).files
    data = last.read_bytes()
    last.write_bytes(bytes(9) if what == "unlink" else data[:-3])
    if what == "listdir":
        with pytest.raises(NotADirectoryError, match=re.escape(str(last))):
            recover(last)
        return

    class Bad(io.FileIO):
        def truncate(self, size: int | None = None) -> int:
            return broken() if what == "truncate" else super().truncate(size)

        def read(self, size: int | None = -1) -> Any:
            return broken() if what == "read" else super().read(-1 if size is None else size)

    monkeypatch.setattr("dbnfast.live.recovery.open", lambda *a: Bad(*a), raising=False)
    if what == "stat":
        real = Path.stat
        monkeypatch.setattr(Path, "stat", lambda p, **k: broken() if p == last else real(p, **k))
    elif what == "unlink":
        monkeypatch.setattr(Path, "unlink", broken)
    elif what == "fsync":
        monkeypatch.setattr(os, "fsync", broken)
    elif what == "read" and compression == "zstd":
        monkeypatch.setattr("mmap.mmap", broken)
    with pytest.raises(OSError, match=re.escape(str(last))):
        recover(tmp_path)


def test_damage_names_the_file(tmp_path: Path) -> None:
    recorded(tmp_path, "none")
    first = parts_of(tmp_path)[0].path
    data = bytearray(first.read_bytes())
    data[-48] = 1  # a length of 4 bytes
    first.write_bytes(data)
    with pytest.raises(dbnfast.DecodeError) as caught:
        all_records(recover(tmp_path))
    assert caught.value.path == str(first)
    assert str(first) in str(caught.value)


def test_wrong_arguments(tmp_path: Path) -> None:
    wrong: Sequence[tuple[dict[str, Any], type[Exception]]] = (
        ({"rotate": "hour"}, ValueError),
        ({"rotate_bytes": 0}, ValueError),
        ({"rotate_bytes": 1e6}, TypeError),
        ({"rotate_bytes": True}, TypeError),
        ({"fsync": "never"}, ValueError),
        ({"fsync_interval_s": -1.0}, ValueError),
        ({"prefix": "a/b"}, ValueError),
        ({"prefix": ""}, ValueError),
        ({"prefix": 3}, TypeError),
    )
    for options, error in wrong:
        ((name, value),) = options.items()
        with pytest.raises(error, match=f"^{name} is {value!r}, expected"):
            Recorder(tmp_path, **options)
    with pytest.raises(ValueError, match="lz4"):
        Recorder(tmp_path, compression="lz4")
    with Recorder(tmp_path) as recorder:
        with pytest.raises(TypeError, match="list"):
            recorder.write([])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no metadata"):
            recorder.write(dbnfast.scan(trade(0, NOON), has_metadata=False))
        recorder.write(batch(trade(0, NOON)))
        with pytest.raises(ValueError, match=r"dataset.*XNAS.*GLBX"):
            recorder.write(batch(trade(0, NOON), dataset="XNAS.ITCH"))
        with pytest.raises(ValueError, match="ts_out"):
            recorder.write(batch(trade(0, NOON, True), ts_out=True))
        assert "1 records in 1 files" in repr(recorder)
    with pytest.raises(ValueError, match="closed"):
        recorder.write(batch(trade(0, NOON)))
    recorder.close()
    recorder.flush()
    assert repr(recorder).endswith("closed>")


# --- what is left behind ----------------------------------------------------------------------


def test_nothing_is_left(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        recovered = recover(folder)
        assert recovered == Recovered()
        assert recovered.last_path is None
        assert list(recovered.records()) == []


def recorded(folder: Path, compression: str, n_days: int = 3) -> list[bytes]:
    raw = opening() + [trade(i, NOON + i * DAY // 4) for i in range(4 * n_days)]
    with Recorder(folder, rotate="day", compression=compression, fsync="always") as recorder:
        for at in range(0, len(raw), 3):
            recorder.write(batch(*raw[at : at + 3]))
    return raw


def frames_end(data: bytes) -> int:
    """Where the last frame that is not skippable ends."""
    at = 0
    while data[at : at + 4] == b"\x28\xb5\x2f\xfd":
        at += zstd.get_frame_size(data[at:])
    return at


def index_of(path: Path) -> Index | None:
    """The index of a file; None where it has none."""
    data = path.read_bytes()
    return read_index(lambda at, n: data[at : at + n], len(data))


def test_files_end_with_an_index(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "FRAME", 500)
    raw = opening() + [trade(i, NOON + i) for i in range(900)]
    raw.insert(100, trade(7, NOON - 5))  # the header is written over
    with Recorder(tmp_path, compression="zstd", rotate_bytes=2000) as recorder:
        for at in range(0, len(raw), 10):
            recorder.write(batch(*raw[at : at + 10]))
    assert len(recorder.files) > 2
    n = 0
    for path in recorder.files:
        assert verify(path).ok
        index = index_of(path)
        assert index is not None
        assert index.n_frames > 2
        assert index.n_records == len(records_in(path))
        n += index.n_records
        mapped = index.frame(1).contents
        assert mapped.control_lowest <= mapped.control_highest
    assert n >= len(raw)


def test_an_index_that_was_lost_is_made_again(tmp_path: Path) -> None:
    raw = recorded(tmp_path, "zstd")
    *_, last = parts_of(tmp_path)
    data = last.path.read_bytes()
    end = frames_end(data)
    broken = bytearray(data)
    broken[-30] ^= 8
    for left in (data[:end], data[: end + 2], data[: end + 90], data[:-1], bytes(broken)):
        last.path.write_bytes(left)
        recovered = recover(tmp_path)
        assert recovered.n_lost_bytes == 0
        assert last.path.read_bytes() == data
        assert all_records(recovered) == raw
    before = last.path.stat().st_mtime_ns
    recover(tmp_path)
    assert last.path.stat().st_mtime_ns == before  # it is whole: nothing is written


def test_an_index_of_a_file_of_an_earlier_version(tmp_path: Path) -> None:
    head = Metadata("GLBX.MDP3", NOON).encode()
    parts = [stored_frame(head), frame(b""), frame(trade(1, NOON) * 3), frame(trade(2, NOON))]
    path = tmp_path / "a-20260301T000000Z-000001.dbn.zst"
    path.write_bytes(b"".join(parts))
    recovered = recover(tmp_path)
    assert (recovered.n_lost_bytes, len(all_records(recovered))) == (0, 4)
    index = index_of(path)
    assert index is not None
    assert index.columns[:, 0].tolist() == [0, 0, 3, 1]
    assert verify(path).ok


@pytest.mark.parametrize(
    "parts",
    [
        [Metadata("GLBX.MDP3", NOON).encode() + trade(1, NOON), trade(2, NOON)],
        [Metadata("GLBX.MDP3", NOON).encode(), trade(1, NOON)[:30], trade(1, NOON)[30:]],
        [Metadata("GLBX.MDP3", NOON).encode()[:50], Metadata("GLBX.MDP3", NOON).encode()[50:]],
    ],
)
def test_frames_that_cannot_be_indexed_get_no_index(tmp_path: Path, parts: list[bytes]) -> None:
    path = tmp_path / "a-20260301T000000Z-000001.dbn.zst"
    data = b"".join(map(frame, parts))
    path.write_bytes(data)
    assert recover(tmp_path).n_lost_bytes == 0
    assert path.read_bytes() == data


def test_more_frames_than_are_remembered_have_no_index(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "FRAMES_MOST", 5)
    monkeypatch.setattr(recovery, "FRAMES_MOST", 5)
    with Recorder(tmp_path, compression="zstd", fsync="always") as recorder:
        for i in range(10):
            recorder.write(batch(trade(i, NOON + i)))
    (path,) = recorder.files
    data = path.read_bytes()
    assert frames_end(data) == len(data)
    assert len(all_records(recover(tmp_path))) == 10
    assert path.read_bytes() == data


def test_an_index_that_cannot_be_written_is_left_out(tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(self: Any) -> bytes:
        raise OSError("no space left")

    monkeypatch.setattr(module.Table, "tobytes", refuse)
    with Recorder(tmp_path, compression="zstd") as recorder:
        recorder.write(batch(trade(1, NOON)))
    (path,) = recorder.files
    assert index_of(path) is None
    assert [len(records_in(path)), verify(path).ok] == [1, True]


def test_a_sync_that_fails_takes_the_index_back(tmp_path: Path, monkeypatch: Any) -> None:
    midnight = NOON + DAY // 2
    with Recorder(tmp_path, compression="zstd", rotate="day") as recorder:
        recorder.write(batch(trade(1, NOON)))
        with monkeypatch.context() as inside:
            inside.setattr(module.os, "fsync", refused)
            with pytest.raises(OSError, match="no sync"):
                recorder.write(batch(trade(2, midnight)))
        recorder.write(batch(trade(3, midnight)))
    assert [len(records_in(path)) for path in recorder.files] == [1, 1]
    for path in recorder.files:
        assert verify(path).ok
        assert index_of(path) is not None


def refused(number: int) -> None:
    raise OSError(errno.EIO, "no sync")


@pytest.mark.parametrize("compression", FORMS)
def test_every_cut_of_the_last_file(tmp_path: Path, compression: str) -> None:
    raw = recorded(tmp_path, compression)
    *_, last = parts_of(tmp_path)
    data, whole = last.path.read_bytes(), len(records_in(last.path)) - 3
    before, seen = open_files(), set()
    for size in range(len(data), -1, -1):
        last.path.write_bytes(data[:size])
        recovered = recover(tmp_path)
        found = all_records(recovered)
        assert found == raw[: len(found)]
        assert len(found) >= len(raw) - whole
        seen.add(len(found))
        left = last.path.stat().st_size if last.path.exists() else 0
        if left and compression == "zstd":
            assert verify(last.path).ok
            kept = frames_end(last.path.read_bytes())
            assert left > kept  # there is an index behind
            assert recovered.n_lost_bytes == max(size - kept, 0) * (size < frames_end(data))
        else:
            assert recovered.n_lost_bytes == size - left
        if left:
            assert recovered.last_path == last.path
            assert records_in(last.path)[3:] == raw[len(raw) - whole : len(found)]
            assert recovered.metadata == Metadata("GLBX.MDP3", recovered.starts[-1])
        else:
            assert recovered.files[-1] != last.path
        assert recover(tmp_path).n_lost_bytes == 0
    assert len(seen) == (whole + 1 if compression == "none" else 3)
    assert open_files() == before


@pytest.mark.parametrize("compression", FORMS)
def test_damage_at_the_end(tmp_path: Path, compression: str) -> None:
    raw = recorded(tmp_path, compression)
    *_, last = parts_of(tmp_path)
    data = last.path.read_bytes()
    assert len(data) > 200
    last.path.write_bytes(data + bytes(5000))  # a length without content
    recovered = recover(tmp_path)
    assert recovered.n_lost_bytes == 5000
    assert last.path.read_bytes() == data
    assert all_records(recovered) == raw
    end = frames_end(data) if compression == "zstd" else len(data)
    last.path.write_bytes(data[: end - 48] + bytes(48))
    recovered = recover(tmp_path)
    assert recovered.n_lost_bytes >= 48
    found = all_records(recovered)
    assert found == raw[: len(found)]
    assert len(raw) - 4 <= len(found) < len(raw)


@pytest.mark.parametrize("compression", FORMS)
def test_last_files_without_content(tmp_path: Path, compression: str) -> None:
    raw = recorded(tmp_path, compression)
    suffix = ".zst" if compression == "zstd" else ""
    empty = tmp_path / f"GLBX.MDP3-20260301T000000Z-000008.dbn{suffix}"
    blank = tmp_path / f"GLBX.MDP3-20260301T000000Z-000009.dbn{suffix}"
    empty.touch()
    blank.write_bytes(bytes(3000))
    recovered = recover(tmp_path)
    assert recovered.n_lost_bytes == 3000
    assert not empty.exists()
    assert not blank.exists()
    assert all_records(recovered) == raw


@pytest.mark.parametrize("compression", FORMS)
def test_a_file_that_is_something_else_stays(tmp_path: Path, compression: str) -> None:
    recorded(tmp_path, compression)
    suffix = ".zst" if compression == "zstd" else ""
    other = tmp_path / f"GLBX.MDP3-20260301T000000Z-000008.dbn{suffix}"
    content = b"a letter to somebody, of some length" * 10
    other.write_bytes(frame(content) if compression == "zstd" else content)
    with pytest.raises(MetadataError) as caught:
        recover(tmp_path)
    assert str(other) in str(caught.value)
    assert other.exists()


def test_records_without_a_whole_frame_are_not_removed(tmp_path: Path) -> None:
    whole = Metadata("GLBX.MDP3", 7).encode() + b"".join(opening())
    path = tmp_path / "a-20260301T000000Z-000001.dbn.zst"
    one = frame(whole, trade(1, NOON), trade(2, NOON))
    for data in (one[:-8], one[:-8] + frame(trade(3, NOON))):
        path.write_bytes(data)
        with pytest.raises(dbnfast.DecodeError) as caught:
            recover(tmp_path)
        assert str(path.name) in str(caught.value)
        assert path.read_bytes() == data
    head = Metadata("GLBX.MDP3", 7).encode() + b"".join(opening()[1:])
    path.write_bytes(frame(head, b"")[:-3])  # mapping records alone are repetitions
    assert recover(tmp_path).files == ()
    plain = path.with_suffix("")
    plain.write_bytes(one)  # which is no plain file
    with pytest.raises(dbnfast.DecodeError, match="not a recorder's file"):
        recover(tmp_path)
    assert plain.exists()


def test_a_frame_with_a_wrong_checksum_is_cut(tmp_path: Path) -> None:
    raw = recorded(tmp_path, "zstd")
    *_, last = parts_of(tmp_path)
    data = bytearray(last.path.read_bytes())
    data[frames_end(data) - 1] ^= 0xFF
    last.path.write_bytes(data)
    found = all_records(recover(tmp_path))
    assert verify(last.path).ok
    assert found == raw[: len(found)]
    assert len(raw) - 3 <= len(found) < len(raw)


def test_prefixes(tmp_path: Path) -> None:
    for prefix, n in (("a", 1), ("b-c", 2)):
        with Recorder(tmp_path, prefix=prefix) as recorder:
            recorder.write(batch(*(trade(i, NOON) for i in range(n))))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "a-2026.dbn").write_text("x")
    with pytest.raises(ValueError, match=r"prefix is None.*a, b-c"):
        recover(tmp_path)
    assert len(all_records(recover(tmp_path, "b-c"))) == 2
    assert recover(tmp_path, "c") == Recovered()


def test_only_the_last_files_are_read(tmp_path: Path) -> None:
    raw = recorded(tmp_path, "none", n_days=4)
    paths = recover(tmp_path).files
    assert len(paths) == 5
    for path in paths:
        os.utime(path, ns=(0, 0))
    recovered = recover(tmp_path)
    assert recovered.starts[1] % DAY == 0
    heads = opening()[1:]
    for back in (1, 2):
        since = recovered.starts[-back] + 61 * 10**9  # clocks may differ by a minute
        found = [r for records in recovered.records(since) for r in walk(records.tobytes())]
        assert found[:3] == heads  # so that every instrument has its symbol
        assert found[3:] == raw[len(raw) - len(found) + 3 :]
        assert trade_times(found[3:])[0] == recovered.starts[-back]
    assert len([*recovered.records(2**63)]) == 1  # never less than the last one
    assert [r for block in recovered.records(0) for r in walk(block.tobytes())] == raw
    # what was written to later may hold later records, whatever the starts say
    os.utime(paths[1], ns=(0, recovered.starts[-1] + DAY))
    found = list(recover(tmp_path).records(recovered.starts[-1] + DAY))
    assert trade_times(walk(found[0].tobytes())[3:])[0] == recovered.starts[1]


def trade_times(records: list[bytes]) -> list[int]:
    return [record.ts_recv for record in dbnfast.scan(b"".join(records), has_metadata=False)]


def test_small_blocks_change_nothing(tmp_path: Path) -> None:
    names = [mapping(i, f"S{i}") for i in range(40)]
    with Recorder(tmp_path, rotate="day") as recorder:
        recorder.write(batch(*names, trade(0, NOON)))
        recorder.write(batch(trade(1, NOON + DAY), *names[:5]))
    assert len(recorder.files) == 2
    for size in (1024, 4096, 16 << 20):
        found = [
            raw
            for records in recover(tmp_path).records(max_bytes=size)
            for raw in walk(records.tobytes())
        ]
        # what was sent again and is equal at the file's head is a repetition as well
        assert found == [*names, trade(0, NOON), trade(1, NOON + DAY), *names[:5]]


def test_a_mapping_that_changed_is_no_repetition() -> None:
    state = Mappings()
    state.update(batch(mapping(1, "A"), trade(0, NOON), mapping(2, "B")))
    assert len(state) == 2
    assert state.repeated(batch(mapping(2, "B"), mapping(1, "A"), trade(0, NOON))) == 2
    assert state.repeated(batch(mapping(2, "B"), mapping(1, "C"), mapping(1, "A"))) == 1
    assert state.repeated(batch(trade(0, NOON), mapping(1, "A"))) == 0
    assert state.repeated(batch(mapping(1, "A", NOON + 1))) == 0


# --- killed -----------------------------------------------------------------------------------

CHILD = """
import sys
sys.path[:0] = {paths!r}
from test_recorder import batch, opening, trade, NOON
from dbnfast.live.recorder import Recorder
recorder = Recorder({folder!r}, compression={compression!r}, rotate_bytes=40_000, fsync="always")
recorder.write(batch(*opening()))
i = 0
while True:
    n = 1 + i * 7 % 90
    recorder.write(batch(*(trade(k * 2654435761 % 2**62, NOON + k) for k in range(i, i + n))))
    i += n
    print(i, flush=True)  # these are safe
"""


@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("run", range(3))
def test_killed_at_any_moment(tmp_path: Path, compression: str, run: int) -> None:
    paths = [str(Path(__file__).parent), str(TESTS), str(Path(dbnfast.__file__).parents[1])]
    code = CHILD.format(paths=paths, folder=str(tmp_path), compression=compression)
    rng = random.Random(f"{compression} {run}")
    until = rng.randint(200, 6000)
    safe = 0
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            safe = int(line)
            if safe >= until:
                break
        for _ in range(rng.randint(0, 20_000)):
            pass  # somewhere within a write
        child.kill()
        safe = max([safe, *(int(x) for x in child.stdout.read().split(b"\n")[:-1])])
    assert safe >= until
    recovered = recover(tmp_path)
    found = all_records(recovered)
    n = len(found) - 4
    wanted = opening() + [trade(k * 2654435761 % 2**62, NOON + k) for k in range(n)]
    assert found == wanted
    assert n >= safe
    for path in recovered.files:
        assert len(records_in(path)) > 0  # each whole


# --- resuming ---------------------------------------------------------------------------------


class FakeProgress:
    """What a session remembers: the records of the last `overlap` ns, each as often as it came."""

    def __init__(self, overlap: int) -> None:
        self.overlap = overlap
        self.last = 0
        self.kept: Counter[bytes] = Counter()

    def push(self, records: Records) -> Records:
        raw = Metadata("GLBX.MDP3", 7).encode()
        for record in records:
            one = bytes(record)
            if record.rtype != RType.MBP_0:
                raw += one
            elif self.kept[one]:
                self.kept[one] -= 1
            else:
                raw += one
        return dbnfast.scan(raw)

    def seen(self, records: Records) -> None:
        for record in records:
            if record.rtype == RType.MBP_0:
                self.last = max(self.last, record.ts_event)
                self.kept[bytes(record)] += 1

    def resumed(self) -> int:
        point = self.last - self.overlap
        for raw in list(self.kept):
            if int.from_bytes(raw[8:16], "little") < point:
                del self.kept[raw]
        return point


@pytest.mark.parametrize("compression", FORMS)
@pytest.mark.parametrize("cut", [1, 40, 300, 2000])
def test_resuming_closes_the_gap_without_duplicates(
    tmp_path: Path, compression: str, cut: int
) -> None:
    rng = random.Random(cut)
    source = [trade(i // 2, NOON + i // 2 * 1000) for i in range(600)]  # in equal pairs
    with Recorder(
        tmp_path, compression=compression, rotate_bytes=6_000, fsync="always"
    ) as recorder:
        recorder.write(batch(*opening()))
        at = 0
        while at < 400:
            n = rng.randint(1, 30)
            recorder.write(batch(*source[at : at + n]))
            at += n
    last = recorder.files[-1]
    last.write_bytes(last.read_bytes()[:-cut])

    recovered = recover(tmp_path)
    progress = FakeProgress(overlap=20_000)
    for records in recovered.records():
        progress.seen(records)
    assert progress.last > 0
    point = progress.resumed()
    again = [raw for raw in source if int.from_bytes(raw[8:16], "little") >= point]
    assert len(again) < len(source)
    with Recorder(tmp_path, compression=compression, rotate_bytes=6_000, fsync="always") as resumed:
        resumed.write(batch(*(mapping(id, name, NOON + DAY) for id, name in NAMES.items())))
        for i in range(0, len(again), 50):
            resumed.write(progress.push(batch(*again[i : i + 50])))
    assert not set(resumed.files) & set(recovered.files)  # in new files
    found = all_records(recover(tmp_path))
    assert [raw for raw in found if raw[1] == RType.MBP_0] == source


def test_no_file_stays_open(tmp_path: Path) -> None:
    before = open_files()
    for compression in FORMS:
        folder = tmp_path / compression
        recorded(folder, compression)
        blocks = recover(folder).records(max_bytes=1024)
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
        list(recover(folder).records())
    with pytest.raises(ZeroDivisionError):
        fail_while_recording(tmp_path / "x")
    assert records_in(*recover(tmp_path / "x").files) == [trade(0, NOON)]
    assert open_files() == before


def fail_while_recording(folder: Path) -> None:
    with Recorder(folder) as recorder:
        recorder.write(batch(trade(0, NOON)))
        raise ZeroDivisionError
