"""Stores: what they read, what they say of it, and the records in order."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import mmap
import os
import pickle
import struct
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import RType, Schema, SelectionWarning, Store
from dbnfast._util import extras, times
from dbnfast.codec.index import read_index
from dbnfast.store import blocks as store_blocks
from dbnfast.store import sources
from helpers import streams
from helpers.places import FIXTURES

T0 = 10**18  # 2001-09-09
ONE_MAPPING = bytes(12) + streams.mapping_list([(b"AAA", [(20010101, 20300101, b"100")])])


def trade(ts: int, sequence: int = 0, instrument_id: int = 100) -> bytes:
    """A trade whose times are `ts`."""
    return (
        struct.pack("<BBHIQ", 12, 0, 1, instrument_id, ts)
        + struct.pack("<qIccBB", 10**9, 1, b"T", b"A", 0, 0)
        + struct.pack("<QiI", ts, 7, sequence)
    )


def added_symbols(ids: dict[str, str]) -> dict[str, Any]:
    """What a resolution says, for ids that have one symbol all the time."""
    days = {"d0": "2001-01-01", "d1": "2030-01-01"}
    return {
        "result": {symbol: [{**days, "s": number}] for symbol, number in ids.items()},
        "stype_in": "raw_symbol", "stype_out": "instrument_id", "symbols": list(ids),
        "start_date": "2001-01-01", "end_date": "2030-01-01", "partial": [], "not_found": [],
        "message": "OK", "status": 0,
    }  # fmt: skip


def file_of(times: range, number: int = 0, **header: Any) -> bytes:
    """A stream of trades, whose header says the range that they cover."""
    header = {"start": T0 + times.start, "end": T0 + times.stop, **header}
    records = b"".join(trade(T0 + t, number) for t in times)
    return streams.header(**header) + records


def dbz() -> bytes:
    path = FIXTURES / "trades.dbz"
    if not path.is_file():
        pytest.skip("the golden files are not here")
    return path.read_bytes()


PLAIN = streams.header() + streams.trades(20)
ZSTD = streams.frame(PLAIN)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every block hold 21 trades."""
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", 1020)
    monkeypatch.setattr("dbnfast.store.blocks.SMALL_BLOCK", 1020)


# --- sources ----------------------------------------------------------------------------------


class NoSeek(io.RawIOBase):
    """A readable such as a pipe."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int:
        return self._inner.readinto(out)


@pytest.mark.parametrize("data", [PLAIN, ZSTD], ids=["plain", "zstd"])
@pytest.mark.parametrize("kind", [*streams.BUFFERS, "path", "str", "file", "readable", "no seek"])
def test_read_any_source(kind: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with contextlib.ExitStack() as stack:
        sources: dict[str, Any] = {
            "path": path,
            "str": str(path),
            "file": stack.enter_context(path.open("rb")),
            "readable": io.BytesIO(data),
            "no seek": NoSeek(data),
        }
        source = streams.BUFFERS[kind](data) if kind in streams.BUFFERS else sources[kind]
        store = dbnfast.read(source)
        assert store.records().tobytes() == PLAIN[-20 * 48 :]
        assert b"".join(block.tobytes() for block in store.iter_batches()) == PLAIN[-20 * 48 :]
        assert len(list(store)) == 20
        assert len(list(store)) == 20  # again
        assert store.nbytes == len(data)
        assert store.raw == data
        with store.reader as reader:
            assert reader.read() == PLAIN
        assert store.compression == ("zstd" if data is ZSTD else "none")


def test_a_readable_is_read_from_its_beginning() -> None:
    stream = io.BytesIO(PLAIN)
    stream.seek(100)
    assert len(dbnfast.read(stream).records()) == 20


def test_read_of_a_pipe_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(PLAIN), daemon=True)
    writer.start()
    store = dbnfast.read(path)
    writer.join()
    assert len(store.records()) == 20
    assert len(list(store.iter_batches())) == 1


def test_read_dbz() -> None:
    store = dbnfast.read(dbz())
    assert store.compression == "zstd"
    assert store.schema == "trades"
    out = io.BytesIO()
    store.to_file(out)  # as DBN: nobody writes the older container
    again = dbnfast.read(out.getvalue())
    assert again.records().tobytes() == store.records().tobytes()
    assert out.getvalue()[:4] == b"\x28\xb5\x2f\xfd"
    assert dbnfast.read(streams.inflate(out.getvalue())).metadata.version == 1


def test_records_of_a_plain_file_are_a_view_of_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    array = dbnfast.read(path).to_ndarray()
    assert not array.flags.owndata
    assert not array.flags.writeable
    with pytest.raises(ValueError):
        array.flags.writeable = True
    path.unlink()  # the mapping stays
    assert array["sequence"].tolist() == list(range(20))


def test_a_store_of_a_bytearray_sees_its_bytes() -> None:
    data = bytearray(PLAIN)
    store = dbnfast.read(data)
    array = store.to_ndarray()
    with pytest.raises(BufferError):
        data.clear()
    data[-4:] = (99).to_bytes(4, "little")
    assert array["sequence"][-1] == 99
    assert not array.flags.writeable


def test_a_store_of_an_mmap(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        store = dbnfast.read(mapped)
        assert len(store.to_ndarray()) == 20
        del store


def test_read_a_folder_a_pattern_and_a_list(tmp_path: Path) -> None:
    names = ("b.dbn", "a.dbn.zst", "c.dbn")
    for number, name in enumerate(names):
        data = file_of(range(100 * number, 100 * number + 10), number)
        (tmp_path / name).write_bytes(streams.frame(data) if name.endswith("zst") else data)
    (tmp_path / "notes.txt").write_text("no data")
    (tmp_path / ".hidden.dbn").write_bytes(b"no data")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d.dbn").write_bytes(file_of(range(900, 910), 9))
    wanted = [0] * 10 + [1] * 10 + [2] * 10
    for source in (
        tmp_path,
        str(tmp_path / "*.dbn*"),
        [tmp_path / name for name in reversed(names)],
        (str(tmp_path / names[2]), (tmp_path / names[1]).read_bytes(), tmp_path / names[0]),
    ):
        store = dbnfast.read(source)
        assert store.to_ndarray()["sequence"].tolist() == wanted
        assert store.compression == "zstd"
        with pytest.raises(ValueError, match="one source"):
            _ = store.raw
        with pytest.raises(ValueError, match="one source"):
            _ = store.reader
    assert len(dbnfast.read(tmp_path / "**" / "*.dbn").records()) == 30
    odd = tmp_path / "day[1].dbn"  # a name that looks like a pattern
    odd.write_bytes(PLAIN)
    assert len(dbnfast.read(odd).records()) == 20


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("nowhere.dbn", FileNotFoundError, "nowhere.dbn"),
        ("nowhere/*.dbn", FileNotFoundError, "nowhere/"),
        (b"", dbnfast.TruncatedError, "empty"),
        ([b""], dbnfast.TruncatedError, "empty"),
        ([], ValueError, "nothing to read"),
        (b"no DBN at all", dbnfast.MetadataError, "expected b'DBN'"),
        (PLAIN[:40], dbnfast.TruncatedError, "metadata"),
        (None, TypeError, "NoneType"),
        (3.5, TypeError, "float"),
        (io.StringIO("x"), TypeError, "text"),
        (np.zeros((4, 4))[:, :2], ValueError, "contiguous"),
    ],
)
def test_read_refuses(source: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text.replace("*", r"\*")):
        dbnfast.read(source)


def test_read_refuses_an_empty_folder_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no DBN files") as caught:
        dbnfast.read(tmp_path)
    assert caught.value.filename == str(tmp_path)
    (tmp_path / "a.dbn").touch()
    with pytest.raises(dbnfast.TruncatedError, match=r"a\.dbn: the stream is empty"):
        dbnfast.read(tmp_path)


def test_paths_may_begin_with_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.dbn").write_bytes(PLAIN)
    for name in ("~/data/a.dbn", Path("~/data/a.dbn"), "~/data", "~/d*/*.dbn"):
        store = dbnfast.read(name)
        assert store.records().tobytes() == streams.trades(20)
    assert next(dbnfast.iter_decode(Path("~/data/a.dbn"))).tobytes() == streams.trades(20)
    store.to_file("~/b.dbn")
    assert (tmp_path / "b.dbn").read_bytes() == PLAIN
    store.to_csv(Path("~/c.csv"))
    assert dbnfast.from_csv("~/c.csv").tobytes() == streams.trades(20)
    with pytest.raises(FileNotFoundError, match="missing"):
        dbnfast.read("~/missing.dbn")
    (tmp_path / "~x").write_bytes(PLAIN)
    monkeypatch.chdir(tmp_path)
    assert len(dbnfast.read("~x").records()) == 20  # no user of that name


def test_no_compression_may_be_none(tmp_path: Path) -> None:
    store = dbnfast.read(ZSTD)
    for name in ("to_csv", "to_json"):
        getattr(store, name)(tmp_path / name, compression=None)
        getattr(store, name)(tmp_path / f"{name}.plain", compression="none")
        assert (tmp_path / name).read_bytes() == (tmp_path / f"{name}.plain").read_bytes() > b""
    live = dbnfast.Live("db-0123456789abcdefghijklmnopqrs", compression=None)
    assert live.compression is dbnfast.Compression.NONE


def test_from_file_and_from_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    assert len(Store.from_file(path).records()) == 20
    assert len(Store.from_bytes(PLAIN).records()) == 20
    assert len(Store.from_bytes(io.BytesIO(ZSTD)).records()) == 20
    with pytest.raises(TypeError, match="str"):
        Store.from_bytes(str(path))
    assert dbnfast.DBNStore is Store
    assert len(dbnfast.read_dbn(path=path).records()) == 20
    assert len(dbnfast.read_dbn(PLAIN).records()) == 20
    with pytest.raises(dbnfast.TruncatedError):
        dbnfast.read_dbn(PLAIN[:-1], on_truncated="raise").records()


# --- what a store says ------------------------------------------------------------------------


def test_properties_are_the_metadatas() -> None:
    data = streams.header(
        2, "mbo", start=T0, end=T0 + 5, limit=7, stype_in=1, stype_out=0,
        lists=streams.text_list([b"AAA"]) + bytes(8) + ONE_MAPPING[12:],
    )  # fmt: skip
    store = dbnfast.read(data)
    assert store.dataset == "GLBX.MDP3"
    assert store.schema == "mbo"
    assert (store.limit, store.symbols) == (7, ["AAA"])
    assert (store.stype_in, store.stype_out) == ("raw_symbol", "instrument_id")
    assert store.mappings == store.metadata.mappings
    assert store.symbology["mappings"] == store.mappings
    assert store.symbology["start_date"] == "2001-09-09"
    assert store.symbology["not_found"] == []
    assert store.metadata.version == 2
    assert store.time_range is None
    assert store.counts == {}


@pytest.mark.parametrize("start", [0, 1, T0 + 1, 2**63 - 1])
def test_start_and_end_are_the_official(start: int) -> None:
    pandas = pytest.importorskip("pandas")
    official = pytest.importorskip("databento")
    data = streams.header(start=start, end=start + 5 if start < 2**63 - 5 else 2**64 - 1)
    mine, theirs = dbnfast.read(data), official.DBNStore.from_bytes(data)
    assert repr((mine.start, mine.end)) == repr((theirs.start, theirs.end))
    assert type(mine.start) is pandas.Timestamp
    assert mine.symbology["start_date"] == theirs.symbology["start_date"]


def test_start_and_end_behind_what_timestamps_have() -> None:
    pandas = pytest.importorskip("pandas")
    store = dbnfast.read(streams.header(start=2**63, end=2**64 - 2))
    assert store.start is store.end is pandas.NaT


def test_an_open_end() -> None:
    store = dbnfast.read(streams.header(end=2**64 - 1) + trade(T0))
    assert store.end is None
    assert store.symbology["end_date"] is None
    assert "to open" in repr(store)


@pytest.mark.parametrize("data", [PLAIN, ZSTD], ids=["plain", "zstd"])
def test_counts_and_time_range(data: bytes) -> None:
    store = dbnfast.read(data)
    assert store.counts == {RType.TRADES: 20}
    store.counts[RType.MBO] = 5  # type: ignore[index]
    assert store.counts == {RType.TRADES: 20}
    first, last = T0 + 1000, T0 + 1019
    assert store.time_range == (np.datetime64(first, "ns"), np.datetime64(last, "ns"))


def test_counts_of_mixed_data(small_blocks: None) -> None:
    store = dbnfast.read(streams.header(schema=None) + streams.mixed(30))
    assert store.counts == {0: 30, 0x17: 30, 0x21: 30, 0x42: 30}
    assert list(store.counts) == sorted(store.counts)


def test_repr() -> None:
    said = repr(dbnfast.read(streams.header(schema=None, lists=ONE_MAPPING) + streams.mixed(3)))
    for part in ("GLBX.MDP3", "mixed", "3 trades", "3 system", "3 of rtype 0x42", "1970-01-01"):
        assert part in said
    names = [f"S{i}".encode() for i in range(9)]
    lists = streams.text_list(names) + bytes(12)
    store = dbnfast.read([streams.header(lists=lists), file_of(range(5))])
    assert "2 sources" in repr(store)
    assert "S4 and 4 more" in repr(store)


def test_html_is_escaped() -> None:
    store = dbnfast.read(
        streams.header(dataset=b"<b>&", lists=streams.text_list([b"<i>"]) + bytes(12))
    )
    made = store._repr_html_()
    assert "&lt;b&gt;&amp;" in made
    assert "&lt;i&gt;" in made
    assert "<i>" not in made


def test_repr_of_large_data_does_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbnfast.store.describe.COUNT_AT_MOST", 10)
    store = dbnfast.read(PLAIN)
    assert "not counted" in repr(store)
    assert store.counts
    assert "20 trades" in repr(store)


DAMAGED = PLAIN + bytes([1, 0]) + bytes(46)


def test_repr_of_a_filter_by_symbols_that_no_mapping_can_tell() -> None:
    store = dbnfast.read(streams.header(lists=ONE_MAPPING, stype_out=1, stype_in=2) + trade(T0))
    part = store.filter(symbols="AAA")
    with pytest.raises(ValueError, match="is instrument_id"):
        part.records()
    assert "filter=symbols AAA" in repr(part)
    assert "is instrument_id" in part._repr_html_()


def test_counts_follow_the_symbols_that_are_added() -> None:
    store = dbnfast.read(streams.header() + trade(T0) + trade(T0 + 1, 0, 101))
    part = store.filter(symbols="BBB")
    assert part.counts == {}
    part.insert_symbology_json(added_symbols({"BBB": "101"}))
    assert part.counts == {RType.TRADES: 1}


def test_filtered_stores_share_the_symbols_until_some_are_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = dbnfast.read(streams.header(lists=ONE_MAPPING) + trade(T0) + trade(T0 + 1, 0, 101))
    made: list[object] = []
    original = dbnfast.SymbolMap.insert_metadata
    monkeypatch.setattr(
        dbnfast.SymbolMap, "insert_metadata", lambda *given: made.append(original(*given))
    )
    for schema in (None, "trades"):
        assert len(store.filter(schema, symbols="AAA").records()) == 1
    assert len(made) == 1
    part = store.filter(start=T0)
    part.insert_symbology_json(added_symbols({"BBB": "101"}))
    assert len(part.filter(symbols=["AAA", "BBB"]).records()) == 2
    assert len(store.filter(symbols=["AAA"]).filter(symbols="AAA").records()) == 1
    with pytest.warns(SelectionWarning, match="nothing has the symbol 'BBB'"):
        assert len(store.filter(symbols="BBB").records()) == 0
    assert len(made) == 2


def test_repr_of_damaged_data() -> None:
    assert "not readable (record 20 at byte" in repr(dbnfast.read(DAMAGED))
    cut = dbnfast.read(PLAIN[:-1], on_truncated="raise")
    assert "not readable (record 19" in repr(cut)
    assert "not readable" in cut._repr_html_()


# --- records, batches, objects ----------------------------------------------------------------


@pytest.mark.parametrize("data", [PLAIN, ZSTD], ids=["plain", "zstd"])
@pytest.mark.parametrize("max_bytes", [1020, 1100, 4096, 64 << 20])
def test_batches(data: bytes, max_bytes: int) -> None:
    big = streams.header() + streams.trades(200)
    store = dbnfast.read(big if data is PLAIN else streams.frame(big))
    blocks = list(store.iter_batches(max_bytes))
    assert all(0 < block.nbytes <= max_bytes for block in blocks)
    assert b"".join(block.tobytes() for block in blocks) == big[-200 * 48 :]
    assert (len(blocks) > 1) == (max_bytes < 200 * 48)


@pytest.mark.parametrize("max_bytes", [0, -1, 1019])
def test_batches_refuses_blocks_that_hold_no_record(max_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"max_bytes is {max_bytes}"):
        dbnfast.read(PLAIN).iter_batches(max_bytes)


@pytest.mark.parametrize("max_bytes", ["5", 5e6, None, True])
def test_batches_are_of_a_number_of_bytes(max_bytes: Any) -> None:
    with pytest.raises(TypeError, match=f"max_bytes is {max_bytes!r}, expected an int"):
        dbnfast.read(PLAIN).iter_batches(max_bytes)
    with pytest.raises(ValueError, match=f"max_bytes is {10**30}, expected {sys.maxsize} or less"):
        dbnfast.read(PLAIN).iter_batches(10**30)
    assert len(next(dbnfast.read(PLAIN).iter_batches(np.int32(9999)))) == 20  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"instrument_ids": 118.0}, "instrument_ids is 118.0, expected an int"),
        ({"instrument_ids": np.array(1.5)}, r"instrument_ids is array\(1.5\), expected an int"),
        ({"instrument_ids": [118.0]}, "one of instrument_ids is 118.0, expected an int"),
        ({"instrument_ids": ["118"]}, "one of instrument_ids is '118', expected an int"),
        ({"publishers": 1.5}, "publishers is 1.5, expected an int"),
        ({"symbols": [118]}, "one of symbols is 118, expected a str"),
        ({"symbols": 118}, "symbols is 118, expected a str or several"),
        ({"schema": 0}, "schema is 0, expected a Schema, its text, or an RType"),
        ({"symbol": "ESH6"}, r"Store\.filter\(\) got an unexpected keyword argument 'symbol'"),
    ],
)
def test_a_filter_names_what_it_cannot_take(wanted: Any, text: str) -> None:
    with pytest.raises(TypeError, match=f"^{text}"):
        dbnfast.read(PLAIN).filter(**wanted)


def test_files_that_cannot_become_one_are_named(tmp_path: Path) -> None:
    one, two = tmp_path / "one.dbn", tmp_path / "two.dbn"
    one.write_bytes(streams.header())
    two.write_bytes(streams.header(dataset=b"OTHER"))
    with pytest.raises(ValueError, match=r"in .*one\.dbn and OTHER in .*two\.dbn; they cannot"):
        dbnfast.read([one, two])


def test_replay_calls_back_in_order() -> None:
    seen: list[int] = []
    dbnfast.read(PLAIN).replay(lambda record: seen.append(record.sequence))
    assert seen == list(range(20))

    def stop(record: Any) -> None:
        if record.sequence == 3:
            raise KeyError("enough")
        seen.append(record.sequence)

    with pytest.raises(KeyError):
        dbnfast.read(PLAIN).replay(stop)
    assert seen == [*range(20), 0, 1, 2]


def test_arrays_of_a_count_cross_blocks(small_blocks: None) -> None:
    store = dbnfast.read(streams.header() + streams.trades(100))
    arrays = list(store.to_ndarray(count=30))
    assert [len(array) for array in arrays] == [30, 30, 30, 10]
    assert np.concatenate(arrays)["sequence"].tolist() == list(range(100))
    assert [len(array) for array in store.to_ndarray(count=100)] == [100]
    assert list(dbnfast.read(streams.header()).to_ndarray(count=5)) == []


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "3"])
def test_count_is_a_number_of_rows(count: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        dbnfast.read(PLAIN).to_ndarray(count=count)
    pytest.importorskip("pandas")
    with pytest.raises((TypeError, ValueError)):
        dbnfast.read(PLAIN).to_df(count=count)


def test_a_second_call_gives_what_the_first_gave() -> None:
    data = streams.header(schema=None, ts_out=1) + streams.trades(3, ts_out=True)
    store = dbnfast.read(data)
    first = store.to_ndarray("trades")
    assert first.dtype.names is not None
    assert first.dtype.names[-1] == "ts_out"
    second = store.to_ndarray("trades")
    assert second.dtype == first.dtype
    np.testing.assert_array_equal(first, second)


def test_arrays_of_mixed_data() -> None:
    store = dbnfast.read(streams.header(schema=None) + streams.mixed(4))
    with pytest.raises(dbnfast.MixedRecordsError):
        store.to_ndarray()
    with pytest.raises(dbnfast.MixedRecordsError):
        list(store.to_ndarray(count=1))
    assert len(store.to_ndarray(RType.SYSTEM)) == 4
    with pytest.warns(SelectionWarning, match="no record of mbo"):
        none = store.to_ndarray("mbo")
    assert none.shape == (0,)
    assert none.dtype == dbnfast.dtype("mbo")


def test_one_type_after_the_other_is_mixed_too(small_blocks: None) -> None:
    bars = b"".join(streams.record(0x21, 56) for _ in range(60))
    store = dbnfast.read(streams.header(schema=None) + streams.trades(60) + bars)
    with pytest.raises(dbnfast.MixedRecordsError) as caught:
        list(store.to_ndarray(count=30))
    assert set(caught.value.counts) == {RType.TRADES, RType.OHLCV_1M}


def test_older_layouts_become_the_headers(small_blocks: None) -> None:
    def definitions(version: int) -> bytes:
        return dbnfast.empty("definition", 3, version=version).tobytes()

    old_and_new = definitions(1) + definitions(3) + definitions(2)
    store = dbnfast.read(streams.header(schema="definition") + old_and_new)
    whole = store.to_ndarray()
    assert whole.dtype == dbnfast.dtype("definition")
    parts = list(store.to_ndarray(count=2))
    assert {part.dtype for part in parts} == {whole.dtype}
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert {block.array().dtype for block in store.iter_batches(2000)} == {whole.dtype}
    mixed = dbnfast.read(streams.header(1, schema=None) + definitions(1))
    assert mixed.to_ndarray("definition").dtype == dbnfast.dtype("definition")
    assert dbnfast.read(streams.header(1, "definition") + definitions(1)).to_ndarray().dtype == (
        dbnfast.dtype("definition", version=1)
    )


# --- cuts and damage --------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_cut_data(compressed: bool) -> None:
    cut = PLAIN[:-5]
    data = streams.frame(cut) if compressed else cut
    store = dbnfast.read(data)
    with pytest.warns(dbnfast.TruncatedWarning, match="record 19"):
        assert len(store.to_ndarray()) == 19
    with pytest.warns(dbnfast.TruncatedWarning, match="record 19"):
        assert len(list(dbnfast.read(data))) == 19
    assert len(dbnfast.read(data, on_truncated="ignore").to_ndarray()) == 19
    strict = dbnfast.read(data, on_truncated="raise")
    found, error = streams.read_blocks(strict.iter_batches())
    assert found == PLAIN[-20 * 48 : -48]
    assert isinstance(error, dbnfast.TruncatedError)
    with pytest.raises(dbnfast.TruncatedError):
        strict.to_ndarray()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("max_bytes", [1020, 64 << 20])
def test_damaged_data(compressed: bool, max_bytes: int) -> None:
    data = streams.frame(DAMAGED) if compressed else DAMAGED
    store = dbnfast.read(data)
    for _ in range(2):
        found, error = streams.read_blocks(store.iter_batches(max_bytes))
        assert found == PLAIN[-20 * 48 :]
        assert isinstance(error, dbnfast.InvalidRecordError)
        assert error.record_index == 20
    with pytest.raises(dbnfast.InvalidRecordError) as caught:
        store.records()
    assert caught.value.good is not None
    assert len(caught.value.good) == 20


def test_a_damaged_file_among_others() -> None:
    later = file_of(range(500, 510))
    found, error = streams.read_blocks(dbnfast.read([later, DAMAGED_FIRST]).iter_batches())
    assert found == DAMAGED_FIRST[-50 * 48 - 48 : -48]
    assert isinstance(error, dbnfast.InvalidRecordError)


DAMAGED_FIRST = file_of(range(50)) + bytes([1, 0]) + bytes(46)


@pytest.mark.parametrize("road", ["records", "batches"])
@pytest.mark.parametrize("compressed", [False, True])
def test_of_many_files_the_one_at_fault_is_named(
    road: str, compressed: bool, tmp_path: Path
) -> None:
    def read_all(*names: str) -> int:
        store = dbnfast.read([tmp_path / name for name in names])
        if road == "records":
            return len(store.records())
        return sum(map(len, store.iter_batches()))

    good = file_of(range(5))
    pack = streams.frame if compressed else bytes
    (tmp_path / "good.dbn").write_bytes(pack(good))
    (tmp_path / "cut.dbn").write_bytes(pack(good + trade(9)[:20]))
    (tmp_path / "bad.dbn").write_bytes(pack(good + bytes(48)))
    (tmp_path / "none.dbn").write_bytes(b"no DBN at all")
    for names, n in ((["cut.dbn"], 5), (["good.dbn", "cut.dbn"], 10)):
        with pytest.warns(dbnfast.TruncatedWarning, match=r"cut\.dbn: record 5 ") as caught:
            assert read_all(*names) == n
        assert [warning.filename for warning in caught] == [__file__]
    for names in (["bad.dbn"], ["good.dbn", "bad.dbn"]):
        with pytest.raises(dbnfast.InvalidRecordError) as failed:
            read_all(*names)
        assert failed.value.path == str(tmp_path / "bad.dbn")
        assert str(failed.value).startswith(f"{tmp_path / 'bad.dbn'}: record 5 ")
    with pytest.raises(dbnfast.MetadataError) as failed_early:
        read_all("good.dbn", "none.dbn")
    assert failed_early.value.path == str(tmp_path / "none.dbn")
    assert str(failed_early.value).startswith(f"{tmp_path / 'none.dbn'}: expected b'DBN'")


def test_an_unknown_on_truncated() -> None:
    with pytest.raises(ValueError, match="on_truncated"):
        dbnfast.read(PLAIN, on_truncated="loudly").records()  # type: ignore[arg-type]


# --- several sources --------------------------------------------------------------------------


def test_disjoint_files_follow_each_other() -> None:
    parts = [file_of(range(100 * i, 100 * i + 50), i) for i in range(5)]
    store = dbnfast.read([parts[i] for i in (3, 0, 4, 2, 1)])
    array = store.to_ndarray()
    assert array["sequence"].tolist() == [i for i in range(5) for _ in range(50)]
    assert (store.metadata.start, store.metadata.end) == (T0, T0 + 450)
    assert store.schema == "trades"
    assert store.nbytes == sum(map(len, parts))


@pytest.mark.parametrize("n_files", [2, 3, 6])
def test_overlapping_files_merge_by_time(small_blocks: None, n_files: int) -> None:
    files = [file_of(range(i, 300, n_files), i, start=T0 + i, end=T0 + 300) for i in range(n_files)]
    store = dbnfast.read(files[::-1])
    array = store.to_ndarray()
    assert array["ts_recv"].tolist() == list(range(T0, T0 + 300))
    assert array["sequence"].tolist() == [t % n_files for t in range(300)]
    blocks = list(store.iter_batches(2000))
    assert all(block.nbytes <= 2000 for block in blocks)
    assert b"".join(block.tobytes() for block in blocks) == array.tobytes()


def test_equal_times_keep_the_order_of_the_files() -> None:
    same = [streams.header(start=T0, end=T0 + 9) + trade(T0 + 1, i) * 2 for i in range(4)]
    assert dbnfast.read(same).to_ndarray()["sequence"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dbnfast.read(same[::-1]).to_ndarray()["sequence"].tolist() == [3, 3, 2, 2, 1, 1, 0, 0]
    # files are ordered by their start first
    early = streams.header(start=T0 - 1, end=T0 + 9) + trade(T0 + 1, 9)
    assert dbnfast.read([*same, early]).to_ndarray()["sequence"].tolist()[0] == 9


def test_an_open_end_overlaps_all_that_follow() -> None:
    live = streams.header(start=T0, end=2**64 - 1) + trade(T0, 0) + trade(T0 + 500, 0)
    later = [file_of(range(100, 110), 1), file_of(range(400, 410), 2)]
    sequence = dbnfast.read([*later, live]).to_ndarray()["sequence"].tolist()
    assert sequence == [0] + [1] * 10 + [2] * 10 + [0]


def test_range_ends_are_exclusive() -> None:
    def starts(groups: Any) -> list[list[int]]:
        return [[source.metadata.start - T0 for source in group] for group in groups]

    files = [file_of(range(a, b)) for a, b in ((0, 10), (10, 20), (19, 30), (20, 21), (30, 40))]
    sources = dbnfast.read(files)._blocks.sources
    assert starts(store_blocks.overlapping(sources)) == [[0], [10, 19, 20], [30]]


def test_files_of_other_schemas_and_versions() -> None:
    bar = streams.record(0x21, 56, ts_event=T0 + 5)
    files = [
        file_of(range(10)),
        streams.header(1, "ohlcv-1m", start=T0, end=T0 + 10) + bar,
    ]
    store = dbnfast.read(files)
    assert store.schema is None
    assert store.metadata.version == 3
    assert store.counts == {RType.TRADES: 10, RType.OHLCV_1M: 1}
    assert [type(record).__name__ for record in store][5:8] == ["TradeMsg", "OHLCVMsg", "TradeMsg"]
    assert len(store.to_ndarray("trades")) == 10
    same = dbnfast.read([file_of(range(10)), file_of(range(20, 30), version=1)])
    assert same.schema == "trades"
    assert same.metadata.version == 3
    assert len(same.to_ndarray()) == 20


def test_definitions_of_all_versions_merge() -> None:
    files = []
    for version in (1, 2, 3):
        array = dbnfast.empty("definition", 2, version=version)
        array["ts_recv"] = T0 + version, T0 + version + 10
        array["raw_symbol"] = f"V{version}".encode()
        files.append(streams.header(version, "definition", start=T0, end=T0 + 99) + array.tobytes())
    array = dbnfast.read(files).to_ndarray()
    assert array.dtype == dbnfast.dtype("definition")
    assert array["raw_symbol"].tolist() == [b"V1", b"V2", b"V3"] * 2


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"dataset": b"XNAS.ITCH"}, "dataset is GLBX.MDP3.*XNAS.ITCH"),
        ({"ts_out": 1}, "ts_out"),
        ({"stype_out": 1}, "stype_out"),
    ],
)
def test_files_that_cannot_become_one(other: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        dbnfast.read([streams.header(start=1), streams.header(start=2, **other)])


# --- writing DBN ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "none", "zstd"])
@pytest.mark.parametrize("data", [PLAIN, ZSTD], ids=["plain", "zstd"])
def test_to_file(data: bytes, kind: str | None, tmp_path: Path) -> None:
    path = tmp_path / "out.dbn"
    dbnfast.read(data).to_file(path, compression=kind)
    written = path.read_bytes()
    if kind is None or (kind == "zstd") == (data is ZSTD):
        assert written == data  # as it is
    plain = written if written[:3] == b"DBN" else streams.inflate(written)
    assert plain == PLAIN
    if kind == "zstd" and data is PLAIN:
        assert read_index(lambda at, n: written[at : at + n], len(written)) is not None
    assert (written[:3] == b"DBN") == ((kind or dbnfast.read(data).compression) == "none")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.dbn"]


@pytest.mark.parametrize("kind", ["none", "zstd"])
@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.dbn")), ids=lambda path: path.stem)
def test_to_file_changes_the_compression_alone(path: Path, kind: str) -> None:
    data = path.read_bytes()  # of live sessions, with odd headers, of any version
    out = io.BytesIO()
    dbnfast.read(path if kind == "zstd" else streams.frame(data)).to_file(out, compression=kind)
    found = out.getvalue()
    assert (found if kind == "none" else streams.inflate(found)) == data


def test_to_file_of_several_and_of_filtered_sources() -> None:
    files = [file_of(range(i, 100, 2), i, start=T0, end=T0 + 100) for i in range(2)]
    out = io.BytesIO()
    dbnfast.read(files).to_file(out)
    again = dbnfast.read(out.getvalue())
    assert again.to_ndarray()["ts_recv"].tolist() == list(range(T0, T0 + 100))
    assert again.metadata == dbnfast.read(files).metadata
    out = io.BytesIO()
    dbnfast.read(ZSTD).filter(instrument_ids=[101, 105]).to_file(out)
    assert dbnfast.read(out.getvalue()).to_ndarray()["instrument_id"].tolist() == [101, 105]


class Little(io.RawIOBase):
    """A raw file that takes few bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data[:99])
        self.taken += part
        return len(part)


class OnlyWrite:
    """Something of somebody's own that has a write, and nothing else of a file."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: Any) -> int:
        self.taken += data
        return len(data)


@pytest.mark.parametrize("method", ["to_file", "to_csv", "to_json", "to_parquet"])
@pytest.mark.parametrize("zstd", [False, True], ids=["plain", "zstd"])
def test_an_output_may_take_little_at_a_time(method: str, zstd: bool) -> None:
    options: dict[str, Any] = {"compression": "zstd"} if zstd else {}
    if method == "to_parquet":
        options = {}
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")
    write = getattr(dbnfast.read(PLAIN), method)
    whole, little, only = io.BytesIO(), Little(), OnlyWrite()
    for out in (whole, little, only):
        write(out, **options)
    assert little.taken == only.taken == whole.getvalue()
    assert little.taken


def test_to_file_over_its_own_source(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    dbnfast.read(path).to_file(path, compression="zstd")
    assert streams.inflate(path.read_bytes()) == PLAIN


def test_to_file_leaves_nothing_behind_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "out.dbn"
    with pytest.raises(dbnfast.InvalidRecordError):
        dbnfast.read(DAMAGED).to_file(path, compression="zstd")
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"kept")
    with pytest.raises(dbnfast.InvalidRecordError):
        dbnfast.read(DAMAGED).to_file(path, compression="zstd")
    with pytest.raises(FileExistsError):
        dbnfast.read(PLAIN).to_file(path, mode="x")
    with pytest.raises(ValueError, match="brotli"):
        dbnfast.read(PLAIN).to_file(path, compression="brotli")
    assert path.read_bytes() == b"kept"
    assert list(tmp_path.iterdir()) == [path]


# --- symbology --------------------------------------------------------------------------------

RESOLVED = {
    "result": {"BBB": [{"d0": "2001-01-01", "d1": "2030-01-01", "s": "101"}]},
    "symbols": ["BBB"], "stype_in": "raw_symbol", "stype_out": "instrument_id",
    "start_date": "2001-01-01", "end_date": "2030-01-01", "partial": [], "not_found": [],
    "message": "OK", "status": 0,
}  # fmt: skip


def test_inserted_symbology_wins_over_the_metadatas() -> None:
    store = dbnfast.read(streams.header(lists=ONE_MAPPING) + trade(T0) + trade(T0, 0, 101))
    known = store.symbol_map()
    assert [known.resolve(i, T0) for i in (100, 101)] == ["AAA", None]
    store.insert_symbology_json(RESOLVED)
    assert [store.symbol_map().resolve(i, T0) for i in (100, 101)] == ["AAA", "BBB"]
    other = {**RESOLVED, "result": {"CCC": [{"d0": "2001-01-01", "d1": "2030-01-01", "s": "100"}]}}
    store.insert_symbology_json(other, clear_existing=False)
    assert [store.symbol_map().resolve(i, T0) for i in (100, 101)] == ["CCC", "BBB"]
    store.insert_symbology_json(other)
    assert [store.symbol_map().resolve(i, T0) for i in (100, 101)] == ["CCC", None]
    filtered = store.filter(start=0)
    filtered.insert_symbology_json(RESOLVED)
    assert store.symbol_map().resolve(101, T0) is None  # each has its own


def test_insert_symbology_json_refuses_what_is_not_whole() -> None:
    store = dbnfast.read(PLAIN)
    with pytest.raises(ValueError, match="status"):
        store.insert_symbology_json({k: v for k, v in RESOLVED.items() if k != "status"})
    assert not store.symbol_map()


class Client:
    """Stands in for the vendor's client: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.timeseries = self.symbology = self

    def get_range(self, **asked: Any) -> str:
        self.asked = asked
        return "definitions"

    def resolve(self, **asked: Any) -> str:
        self.asked = asked
        return "symbology"


def test_requests_name_what_the_store_is_of() -> None:
    day = 86_400 * 10**9
    midnight = T0 - T0 % day
    lists = streams.text_list([b"AAA"]) + bytes(12)
    data = streams.header(start=T0, end=midnight + day, stype_in=1, lists=lists)
    client = Client()
    assert dbnfast.read(data).request_symbology(client) == "symbology"
    assert client.asked == {
        "dataset": "GLBX.MDP3", "symbols": ["AAA"], "stype_in": "raw_symbol",
        "stype_out": "instrument_id", "start_date": "2001-09-09", "end_date": "2001-09-10",
    }  # fmt: skip
    for begun in (1, 999, 1000, day - 1):
        dbnfast.read(streams.header(start=T0, end=midnight + day + begun)).request_symbology(client)
        assert client.asked["end_date"] == "2001-09-11"  # a day that has begun counts
    assert dbnfast.read(data).request_full_definitions(client, path="x") == "definitions"
    assert client.asked["schema"] == "definition"
    assert client.asked["path"] == "x"
    dbnfast.read(streams.header()).request_symbology(client)
    assert client.asked["end_date"] is None


def test_derived_stores_stay_what_they_are(tmp_path: Path) -> None:
    class Own(dbnfast.Store):
        def count(self) -> int:
            return sum(1 for _ in self)

    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    for store in (Own.from_file(path), Own.from_bytes(PLAIN), Own.from_file(path).filter()):
        assert store.count() == len(dbnfast.read(PLAIN).records())
        assert store.filter(instrument_ids=101).count() == 1


def test_a_file_that_is_emptied_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(PLAIN)
    store = dbnfast.read(path)
    path.write_bytes(b"")
    for use in (store.to_ndarray, store.records, store.to_df, lambda: list(store)):
        with pytest.raises(dbnfast.TruncatedError):
            use()


def test_a_folder_that_is_missing_is_named_alone(tmp_path: Path) -> None:
    path = tmp_path / "no" / "a.csv"
    with pytest.raises(FileNotFoundError) as caught:
        dbnfast.read(PLAIN).to_csv(path)
    assert str(caught.value).endswith(f"{str(path)!r}")


# --- extras -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "extra", "call"),
    [
        ("pandas", "pandas", lambda store: store.to_df()),
        ("pandas", "pandas", lambda store: store.to_df(count=3)),
        ("pyarrow", "pandas", lambda store: store.to_df()),
        ("pyarrow", "arrow", lambda store: store.to_arrow()),
        ("pyarrow", "arrow", lambda store: store.__arrow_c_stream__()),
        ("pyarrow", "arrow", lambda store: store.records().__arrow_c_stream__()),
        ("polars", "polars", lambda store: store.to_polars()),
        ("pyarrow", "polars", lambda store: store.to_polars()),
        ("pandas", "pandas", lambda store: store.start),
        ("pandas", "pandas", lambda _: dbnfast.read(streams.header(end=T0)).end),
        ("pandas", "pandas", lambda store: next(iter(store)).pretty_ts_event),
    ],
)
def test_a_missing_library_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str, call: Any
) -> None:
    if library == "pyarrow" and extra == "polars":
        pytest.importorskip("polars")
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    times._maker.cache_clear()  # what is known of a library that is there is kept
    with pytest.raises(
        dbnfast.MissingExtraError, match=rf"{library}.*dbnfast\[{extra}\]"
    ) as caught:
        call(dbnfast.read(PLAIN))
    assert caught.value.extra == extra
    assert isinstance(caught.value, ImportError)


def test_a_store_is_described_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dbnfast.read(PLAIN)
    told = repr(store), store._repr_html_(), store.symbology, store.time_range
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert told == (repr(store), store._repr_html_(), store.symbology, store.time_range)
    assert repr(next(iter(store))).startswith("TradeMsg(ts_recv=")


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_parquet_without_a_library_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(dbnfast.MissingExtraError, match="extra"):
        dbnfast.read(PLAIN).to_parquet(tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_itself_lacks_something_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "brokenlib.py").write_text("import what_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="what_is_not_there") as caught:
        extras.require("brokenlib", "pandas")
    assert not isinstance(caught.value, dbnfast.MissingExtraError)
    assert extras.require("json", "pandas").loads("1") == 1


def test_what_needs_no_library_works_without() -> None:
    store = dbnfast.read(PLAIN)
    assert Schema(str(store.schema)) == Schema.TRADES
    assert len(store.to_ndarray()) == len(store.records()) == sum(store.counts.values())


def test_names_parameters_and_defaults_are_the_official_ones() -> None:
    official = pytest.importorskip("databento").DBNStore
    for name, theirs in inspect.getmembers(official):
        if name.startswith("_") or name == "DBN_READ_SIZE":
            continue
        ours = getattr(dbnfast.Store, name)
        if not callable(theirs):
            continue
        wanted = list(inspect.signature(theirs).parameters.values())
        given = list(inspect.signature(ours).parameters.values())
        given.sort(key=lambda p: p.kind == p.KEYWORD_ONLY)  # such as are ours alone
        given = given[: len(wanted)]
        assert [p.name for p in given] == [p.name for p in wanted], name
        for own, other in zip(given, wanted, strict=True):
            if own.name != "tz":  # None here, an object that stands for UTC there
                assert own.kind == other.kind or other.kind == other.VAR_KEYWORD, name
                assert str(own.default) == str(other.default), (name, own.name)


def test_json_of_filtered_live_data_has_a_line_for_what_passes_and_its_symbol() -> None:
    data = (FIXTURES / "live.v3.dbn").read_bytes()
    whole = dbnfast.read(data)
    lines = io.BytesIO()
    whole.to_json(lines, schema="trades")
    rows = lines.getvalue().splitlines()
    records = whole.records()
    assert len(rows) == len(records)
    ids = sorted({record.instrument_id for record in records})
    rtypes = sorted({int(rtype) for rtype in records.counts})
    assert len(rtypes) > 2
    cases: list[dict[str, Any]] = [
        {"schema": "trades"},
        {"instrument_ids": ids[:1]},
        {"schema": ["trades", RType.SYMBOL_MAPPING], "instrument_ids": ids[-1:]},
        {"instrument_ids": []},
    ]
    for wanted in cases:
        out = io.BytesIO()
        whole.filter(**wanted).to_json(out, schema="trades")
        passing = [row for at, row in enumerate(rows) if len(records[at : at + 1].filter(**wanted))]
        assert out.getvalue().splitlines() == passing, wanted


@pytest.mark.parametrize("name", ["live.v3", "live.v3.ts_out", "live.v1"])
@pytest.mark.parametrize(
    "wanted",
    [
        {"schema": "mbo"},
        {"schema": "trades"},
        {"schema": "trades", "symbols": "ESH6"},
        {"instrument_ids": [5602]},
    ],
    ids=str,
)
def test_files_of_live_data_keep_the_symbol_of_each_record(
    name: str, wanted: dict[str, Any]
) -> None:
    # an instrument there has a symbol, and later another one
    data, out = (FIXTURES / f"{name}.dbn").read_bytes(), io.BytesIO()
    some = dbnfast.read(data).filter(**wanted)
    some.to_file(out)
    again = dbnfast.read(out.getvalue())
    n_records = 0
    for schema in ("mbo", "trades", "ohlcv-1s"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dbnfast.SelectionWarning)
            expected, found = some.to_df(schema=schema), again.to_df(schema=schema)
        assert found["symbol"].fillna("").tolist() == expected["symbol"].fillna("").tolist()
        assert found.equals(expected)
        n_records += len(found)
    assert n_records
    assert again.schema is None


@pytest.mark.parametrize("wrong", ["[]", "{", '{"result": {"A": null}}'])
def test_symbology_json_that_is_none(wrong: str) -> None:
    store = dbnfast.read(PLAIN)
    for form in (wrong, io.StringIO(wrong)):
        with pytest.raises(ValueError):
            store.insert_symbology_json(form)
    with pytest.raises(TypeError, match="json_data is a int"):
        store.insert_symbology_json(7)  # type: ignore[arg-type]
    assert not store.symbol_map()


def test_times_that_datetime64_does_not_have() -> None:
    late = 2**64 - 2
    data = streams.header(start=2**63, end=late) + trade(5) + trade(late) + trade(2**63 - 1)
    store = dbnfast.read(data)
    assert store.time_range is not None
    assert store.time_range[0] == np.datetime64(5, "ns")
    assert np.isnat(store.time_range[1])
    assert "range=NaT to NaT" in repr(store)
    assert "NaT to NaT" in store._repr_html_()
    known = dbnfast.read(streams.header(start=2**63 - 1) + trade(5))
    assert known.time_range == (np.datetime64(5, "ns"),) * 2


@pytest.mark.usefixtures("small_blocks")
def test_a_filter_hides_mapping_records_and_not_what_they_say() -> None:
    def mapping(instrument_id: int, symbol: bytes) -> bytes:
        body = b"\xff" + bytes(71) + b"\xff" + symbol.ljust(71, b"\0")
        return streams.record(0x16, 176, instrument_id=instrument_id, ts_event=T0, body=body)

    body = mapping(100, b"AAA") + mapping(101, b"BBB")
    body += b"".join(trade(T0 + i, i, 100 + i % 2) for i in range(40)) + mapping(100, b"CCC")
    body += trade(T0 + 40, 40, 100)
    store = dbnfast.read(streams.header(schema=None) + body)

    def rows(store: Store, **options: Any) -> list[tuple[int, int, str]]:
        out = io.BytesIO()
        store.to_json(out, **options)
        found = [json.loads(line) for line in out.getvalue().splitlines()]
        return [(r["hd"]["rtype"], r["hd"]["instrument_id"], r["symbol"]) for r in found]

    whole = rows(store, schema="trades")
    assert [row for row in whole if row[0] == 0x16] == [
        (0x16, 100, "AAA"), (0x16, 101, "BBB"), (0x16, 100, "CCC"),
    ]  # fmt: skip
    assert whole[-1] == (0, 100, "CCC")
    assert rows(store.filter("trades")) == [row for row in whole if row[0] == 0]
    for ids in (100, 101, [100, 101], 7):
        wanted = {ids} if isinstance(ids, int) else set(ids)
        filtered = store.filter(instrument_ids=ids)
        assert rows(filtered, schema="trades") == [row for row in whole if row[1] in wanted]
        assert len(filtered.records()) == len(rows(filtered, schema="trades"))
    late = store.filter(start=T0 + 39)
    assert rows(late, schema="trades") == [(0, 101, "BBB"), (0, 100, "CCC")]
    one, named = io.BytesIO(), io.BytesIO()  # a list of one schema is that schema
    store.filter(["trades"]).to_csv(one)
    store.filter("trades").to_csv(named)
    assert one.getvalue() == named.getvalue() != b""


@pytest.mark.parametrize(
    "wanted",
    [
        (RType.BBO_1S, "bbo-1m"),
        ("bbo-1m", RType.BBO_1S),
        ("bbo-1s", "bbo-1m"),
        ("bbo-1m", "bbo-1m"),
        (["bbo-1s", "trades"], ["trades", "bbo-1m"]),
        ("bbo-1m", ["bbo-1s", "bbo-1m"], "bbo-1m"),
        ("bbo-1m", "trades"),
    ],
)
def test_a_filter_of_a_filtered_store_asks_for_both(wanted: Any) -> None:
    # early files of bbo-1m have records of bbo-1s: what the one name means, the other may not
    body = b"".join(
        streams.record(rtype, 80, instrument_id=i, ts_event=T0 + i)
        for i, rtype in enumerate((0xC3, 0xC4, 0xC3, 0xC4, 0xC4))
    )
    store = dbnfast.read(streams.header(schema="bbo-1m") + body)
    records = store.records()
    for schema in wanted:
        store, records = store.filter(schema), records.filter(schema)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SelectionWarning)
        assert bytes(store.records().data) == bytes(records.data)


@pytest.mark.usefixtures("small_blocks")
def test_a_buffer_that_is_written_to_meanwhile_ends_the_iteration() -> None:
    data = bytearray(streams.header() + b"".join(trade(T0 + i, i) for i in range(200)))
    blocks = dbnfast.read(data).iter_batches(1020)
    first = next(blocks)
    assert len(first)
    data[len(data) - 100 * 48 :] = bytes(100 * 48)  # lengths of 0, where a walk would stand still
    with pytest.raises(ValueError, match="buffer was changed, at byte"):
        list(blocks)


def test_json_of_mixed_data_needs_a_schema(tmp_path: Path) -> None:
    store = dbnfast.read(streams.header(schema=None) + streams.mixed(2))
    for write in (store.to_json, store.to_csv):
        with pytest.raises(ValueError, match="a schema must be specified for mixed DBN data"):
            write(tmp_path / "never")
    assert list(tmp_path.iterdir()) == []


def test_a_buffer_that_changes_under_a_store_is_noticed() -> None:
    data = bytearray(streams.header() + streams.trades(9))
    records = dbnfast.scan(data)
    blocks = sources.pieces(records, 100)
    assert next(blocks).tobytes() == streams.trades(2)
    data[128 + 2 * 48] = 255  # longer than what a block may have
    with pytest.raises(ValueError, match="the records' buffer was changed, at byte 224"):
        next(blocks)


def test_memory_read_as_a_file() -> None:
    data = streams.header() + streams.trades(3)
    reader = dbnfast.read(data).reader
    assert reader.readable()
    assert reader.seekable()
    assert reader.read(8) == data[:8]
    assert reader.seek(-48, io.SEEK_END) == len(data) - 48
    assert reader.read() == data[-48:]
    assert reader.seek(-20, io.SEEK_CUR) == len(data) - 20
    assert reader.read(5) == data[-20:-15]
    assert reader.seek(3) == 3
    assert reader.read(1) == data[3:4]
    assert reader.seek(-5) == 0


# --- files that stay open, and those that do not -----------------------------------------------


@pytest.mark.skipif(not sources.CAN_KEEP, reason="a file that is open cannot be removed here")
@pytest.mark.parametrize("data", [PLAIN, ZSTD], ids=["plain", "zstd"])
def test_a_file_may_be_removed_after_it_was_read(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(data)
    store = dbnfast.read(path)
    path.unlink()
    for _ in range(2):
        assert store.records().tobytes() == PLAIN[-20 * 48 :]
        assert len(list(store)) == 20
    assert (store.nbytes, store.raw) == (len(data), data)
    with store.reader as reader:
        assert reader.read() == PLAIN
    with store.reader as reader:
        assert reader.seek(-48, os.SEEK_END) == len(PLAIN) - 48
        assert reader.read() == PLAIN[-48:]
    iterators = [iter(store) for _ in range(2)]  # each from a place of its own
    assert [bytes(a) for a in iterators[0]] == [bytes(b) for b in iterators[1]]
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(store)).records()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="shows what is open on Linux only")
def test_what_is_kept_open_is_closed_with_the_store(tmp_path: Path) -> None:
    def n_open() -> int:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.path.exists(x) and os.path.realpath(x).startswith(here) for x in links)

    here = str(tmp_path.resolve())
    for name in "ab":
        (tmp_path / f"{name}.dbn").write_bytes(PLAIN)
    one = dbnfast.read(tmp_path / "a.dbn")
    again = dbnfast.read(one)
    assert n_open() == 1
    del one
    assert len(again.records()) == 20
    del again
    assert n_open() == 0
    both = dbnfast.read(tmp_path)
    assert len(both.records()) == 40
    assert n_open() == 0


def test_with_many_descriptors_files_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sources, "MOST_KEPT", 0)
    (tmp_path / "a.dbn").write_bytes(ZSTD)
    store = dbnfast.read(tmp_path / "a.dbn")
    with store.reader as reader:
        assert reader.read() == PLAIN
    (tmp_path / "a.dbn").unlink()
    with pytest.raises(FileNotFoundError):
        store.records()


def test_the_empty_path_is_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.dbn").write_bytes(PLAIN)
    monkeypatch.chdir(tmp_path)
    assert len(dbnfast.read(".").records()) == 20
    for call in (dbnfast.read, Store.from_file):
        with pytest.raises(FileNotFoundError, match="the path is empty"):
            call("")


def test_from_file_takes_bytes_for_a_path(tmp_path: Path) -> None:
    path = tmp_path / "ä.dbn"
    path.write_bytes(PLAIN)
    assert len(Store.from_file(os.fsencode(path)).records()) == 20
    for data in (PLAIN, ZSTD):
        assert len(Store.from_bytes(data).records()) == 20
        with pytest.raises(TypeError, match=r"path is DBN data, .* from_bytes\(\) takes data"):
            Store.from_file(data)
    with pytest.raises(FileNotFoundError):
        Store.from_file(b"nothing")


def test_read_of_a_store() -> None:
    store = dbnfast.read(PLAIN)
    part = dbnfast.read(store.filter(instrument_ids=[100, 101]))
    assert len(dbnfast.read(store).records()) == 20
    assert len(part.records()) == 2
    assert len(dbnfast.read(part).filter(instrument_ids=101).records()) == 1
    again = dbnfast.read(store)
    again.insert_symbology_json(RESOLVED)
    assert len(again.symbol_map()) == 1
    assert len(store.symbol_map()) == 0
