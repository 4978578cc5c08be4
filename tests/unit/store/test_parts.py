"""Pieces of a store: together all of it, each on its own."""

from __future__ import annotations

import copy
import datetime
import pickle
import random
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbnfast
from dbnfast.store import parts as dividing
from helpers import streams
from helpers.places import SAMPLE

T0 = 10**18


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few records."""
    monkeypatch.setattr(dividing, "LEAST", 4)


def records_of(schema: str, times: Any, ids: int = 5) -> np.ndarray[Any, Any]:
    array = dbnfast.empty(schema, len(times)).copy()
    index = "ts_recv" if "ts_recv" in (array.dtype.names or ()) else "ts_event"
    array[index] = T0 + np.asarray(times, np.uint64)
    array["instrument_id"] = np.arange(len(times)) % ids
    array["publisher_id"] = 1
    return array


def header(schema: str | None, n: int, version: int = 3) -> dbnfast.Metadata:
    return dbnfast.Metadata(
        dataset="XNAS.ITCH", schema=schema, start=T0, end=T0 + n, stype_in="raw_symbol",
        stype_out="instrument_id", symbols=["A"], version=version,
    )  # fmt: skip


def of_one_size(n: int = 500) -> bytes:
    return dbnfast.encode(records_of("trades", range(n)), header("trades", n))


def of_many_sizes(n: int = 900, seed: int = 1) -> bytes:
    """Stretches of records of several types, none of them live."""
    rng, made, at = random.Random(seed), [], 0
    while at < n:
        length = rng.choice((1, 2, 5, 40, 200))
        schema = rng.choice(("trades", "mbp-1", "ohlcv-1m", "mbp-10"))
        made.append(records_of(schema, range(at, at + length)))
        at += length
    return dbnfast.encode(made, header(None, at))


def joined(parts: list[Any]) -> bytes:
    return b"".join(bytes(part.read().data) for part in parts)


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("data", [of_one_size(), of_many_sizes()], ids=["one size", "many"])
@pytest.mark.parametrize("max_bytes", [4, 100, 4000, 10_000, 10**9])
def test_the_parts_of_a_plain_stream(
    where: str, data: bytes, max_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(data)
    store = dbnfast.read(data if where == "memory" else path)
    parts = store.parts(max_bytes)
    assert joined(parts) == bytes(store.records().data)
    assert [part.number for part in parts] == list(range(len(parts)))
    assert {part.n_parts for part in parts} == {len(parts)}
    if len(parts) > 1:
        assert [part.end for part in parts[:-1]] == [part.begin for part in parts[1:]]
        assert parts[-1].end == len(data)
        if data == of_one_size():
            assert max(part.nbytes for part in parts) <= max(max_bytes, 48)
    else:
        assert max_bytes == 10**9
    again = pickle.loads(pickle.dumps(parts))
    assert joined(again) == bytes(store.records().data)
    assert joined(copy.deepcopy(parts)) == bytes(store.records().data)
    blocks = [bytes(b.data) for part in parts for b in part.store().iter_batches(4096)]
    assert b"".join(blocks) == bytes(store.records().data)


@given(st.integers(1, 400), st.integers(0, 1000), st.integers(4, 9000), st.data())
def test_every_record_is_in_one_part(n: int, seed: int, max_bytes: int, data: Any) -> None:
    stream = of_many_sizes(n, seed) if seed % 2 else of_one_size(n)
    low = data.draw(st.integers(-5, n + 5))
    conditions: dict[str, Any] = data.draw(
        st.sampled_from(
            [{}, {"start": T0 + low}, {"end": T0 + low + 9}, {"instrument_ids": [1, 2]},
             {"start": T0 + low, "end": T0 + low + 50, "instrument_ids": 3}]
        )
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dividing, "LEAST", 4)
        store = dbnfast.read(stream).filter(**conditions)
        assert joined(store.parts(max_bytes)) == bytes(store.records().data)


def test_files_each_have_their_parts(tmp_path: Path) -> None:
    data = [
        dbnfast.encode(
            records_of("trades", range(day * 1000, day * 1000 + 300)),
            header("trades", 0).replace(start=T0 + day * 1000, end=T0 + day * 1000 + 300),
        )
        for day in range(3)
    ]
    data[1] = streams.frame(data[1])
    paths = [tmp_path / f"{day}.dbn" for day in range(3)]
    for path, stream in zip(paths, data, strict=True):
        path.write_bytes(stream)
    store = dbnfast.read(paths)
    parts = store.parts(48 * 100)
    assert [(part.path, part.number, part.n_parts) for part in parts] == [
        *((paths[0], n, 3) for n in range(3)),
        (paths[1], 0, 1),
        *((paths[2], n, 3) for n in range(3)),
    ]  # fmt: skip
    assert parts[3].nbytes == len(data[1])
    assert joined(parts) == bytes(store.records().data)
    late = store.filter(start=T0 + 1250, end=T0 + 2050)
    assert [part.path for part in late.parts(48 * 100)] == paths[1:]
    assert joined(late.parts(48 * 100)) == bytes(late.records().data)
    assert late.filter(start=T0 + 5000).parts() == []
    whole = pickle.loads(pickle.dumps(parts[3]))
    assert len(whole.read()) == 300
    assert whole.store().metadata == store.metadata.replace(
        start=T0 + 1000, end=T0 + 1300, version=3
    )


def test_older_files_beside_others_have_one_layout(tmp_path: Path) -> None:
    old = dbnfast.encode(
        dbnfast.empty("definition", 3, version=1), header("definition", 10, version=1)
    )
    new = dbnfast.encode(dbnfast.empty("definition", 3), header("definition", 10))
    both = dbnfast.read([old, new])
    dtypes = {part.read().array().dtype for part in both.parts()}
    assert dtypes == {both.records().array().dtype}
    (alone,) = dbnfast.read(old).parts()
    assert alone.read().array().dtype == dbnfast.dtype("definition", version=1)


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("data", [of_one_size(), of_many_sizes()], ids=["one size", "many"])
def test_the_parts_of_a_seekable_file(where: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dbn.zst"
    with (
        path.open("wb") as file,
        streams.encoder(file, dbnfast.scan(data).metadata, 1000) as encoder,
    ):
        encoder.write(dbnfast.scan(data))
    store = dbnfast.read(path if where == "file" else path.read_bytes())
    for conditions in ({}, {"start": T0 + 100, "end": T0 + 300}, {"instrument_ids": [1]}):
        part_of = store.filter(**conditions)  # type: ignore[arg-type]
        parts = part_of.parts(5000)
        assert len(parts) > 1
        assert joined(parts) == bytes(part_of.records().data)
        assert joined(pickle.loads(pickle.dumps(parts))) == bytes(part_of.records().data)
        blocks = [bytes(b.data) for part in parts for b in part.store().iter_batches(4096)]
        assert b"".join(blocks) == bytes(part_of.records().data)
        assert sum(part.nbytes for part in parts) < path.stat().st_size
        assert [part.end for part in parts[:-1]] == [part.begin for part in parts[1:]]
    assert store.filter(start=T0 + 10**9).parts() == []


def test_what_a_part_writes_is_the_part(tmp_path: Path) -> None:
    path, out = tmp_path / "a.dbn", tmp_path / "b.dbn"
    path.write_bytes(of_one_size())
    (_, part, *_) = dbnfast.read(path).parts(5000)
    part.store().to_file(out)
    assert bytes(dbnfast.read(out).records().data) == bytes(part.read().data)
    with pytest.raises(ValueError, match="raw"):
        _ = part.store().raw
    assert part.store().nbytes == part.nbytes


def test_live_data_is_one_part(tmp_path: Path) -> None:
    stream = streams.header(schema=None) + streams.trades(500)
    (part,) = dbnfast.read(stream).parts(1000)
    assert len(part.read()) == 500
    (sample,) = dbnfast.read(SAMPLE).parts(1000)  # and so is what is compressed
    assert sample.read().data == dbnfast.read(SAMPLE).records().data


def test_frames_and_tables_of_parts() -> None:
    pandas = pytest.importorskip("pandas")
    pyarrow = pytest.importorskip("pyarrow")
    data = of_many_sizes()
    store = dbnfast.read(data).filter(instrument_ids=[1, 2])
    parts = store.parts(5000)
    assert len(parts) > 5
    frames = [part.to_df(schema="trades", map_symbols=False) for part in parts]  # no warning
    whole = store.to_df(schema="trades", map_symbols=False)
    pandas.testing.assert_frame_equal(pandas.concat(frames), whole)
    tables = [part.to_arrow(schema="mbp-1", columns=["size"]) for part in parts]
    assert pyarrow.concat_tables(tables).equals(store.to_arrow("mbp-1", columns=["size"]))


def test_polars_frames_of_parts() -> None:
    polars = pytest.importorskip("polars")
    store = dbnfast.read(of_one_size())
    frames = [part.to_polars(columns=["size"]) for part in store.parts(5000)]
    assert polars.concat(frames).equals(store.to_polars(columns=["size"]))


def test_symbols_of_parts() -> None:
    rows = [(b"A", [(20010101, 20300101, b"1")]), (b"B", [(20010101, 20300101, b"2")])]
    stream = streams.header(lists=bytes(12) + streams.mapping_list(rows)) + of_one_size()[-24_000:]
    store = dbnfast.read(stream)
    store.insert_symbology_json(
        {
            "result": {"C": [{"d0": "2001-01-01", "d1": "2030-01-01", "s": "3"}]},
            "stype_in": "raw_symbol", "stype_out": "instrument_id", "symbols": ["C"],
            "start_date": "2001-01-01", "end_date": "2030-01-01", "partial": [], "not_found": [],
            "message": "OK", "status": 0,
        }
    )  # fmt: skip
    parts = pickle.loads(pickle.dumps(store.filter(symbols=["C", "B"]).parts(5000)))
    assert len(parts) == 5
    for part in parts:
        resolved = {part.store().symbol_map().resolve(id, T0) for id in (2, 3)}
        assert resolved == {"B", "C"}
        assert set(part.read().array()["instrument_id"].tolist()) == {2, 3}


def test_parts_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(of_one_size())
    parts = dbnfast.read(path).filter(instrument_ids=1).parts(5000)
    code = (
        "import pickle, sys; parts = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(b''.join(bytes(p.read().data) for p in parts))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(parts), capture_output=True, check=True
    )
    assert ran.stdout == joined(parts)


def test_a_part_is_small_when_pickled(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    rows = [(b"S%d" % n, [(20010101, 20300101, b"%d" % n)]) for n in range(5000)]
    lists = bytes(12) + streams.mapping_list(rows)
    path.write_bytes(streams.header(lists=lists) + streams.trades(100))
    (part,) = dbnfast.read(path).parts()
    assert len(pickle.dumps(part)) < 2000
    (inside,) = dbnfast.read(path.read_bytes()).filter(start=1).parts(10**6)
    assert len(pickle.loads(pickle.dumps(inside)).store().symbols) == len(
        dbnfast.read(path).symbols
    )


def test_a_file_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(of_one_size())
    first, second, *_ = pickle.loads(pickle.dumps(dbnfast.read(path).parts(5000)))
    assert len(first.read()) == 104
    path.write_bytes(of_one_size(600))
    for part in (first, second):
        with pytest.raises(ValueError, match=r"a\.dbn has changed since the parts"):
            part.read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        second.read()


@pytest.mark.parametrize("schema", ["trades", None])
def test_where_damage_in_a_part_is(schema: str | None) -> None:
    # 30 records of 80 bytes are as long as 50 of 48: only their number tells them apart
    records = [records_of("trades", range(10))]
    records += [records_of("mbp-1", range(30))] if schema is None else []
    records += [records_of("trades", range(10, 500))]
    data = bytearray(dbnfast.encode(records, header(schema, 500)))
    begin = len(data) - len(dbnfast.scan(data).data)
    data[-47] = 1
    *_, last = dbnfast.read(data).parts(100 * 48)
    with pytest.raises(dbnfast.InvalidRecordError) as caught:
        last.read()
    assert caught.value.offset == len(data) - 48
    wanted = 499 if schema else (len(data) - 48 - last.begin) // 48
    assert last.begin > begin
    assert caught.value.record_index == wanted


def test_a_next_part_that_begins_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = of_many_sizes()
    begin = len(data) - len(dbnfast.scan(data).data)
    path = tmp_path / "a.dbn"
    path.write_bytes(data)
    monkeypatch.setattr(dividing, "likely_start", lambda *_: 20)
    wrong, *_ = dbnfast.read(path).parts(5000)
    for read in (wrong.read, lambda: list(wrong.store().iter_batches())):
        with pytest.raises(dbnfast.DecodeError, match="no record begins where the next part") as e:
            read()
        assert str(path) in str(e.value)
        assert begin < e.value.offset < wrong.end


def test_the_end_is_cut() -> None:
    *whole, last = dbnfast.read(of_one_size()[:-10]).parts(5000)
    assert sum(len(part.read()) for part in whole) == 104 * 4
    with pytest.warns(dbnfast.TruncatedWarning):
        assert len(last.read()) == 83


@pytest.mark.parametrize("wrong", [0, 3, -1])
def test_too_small(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"max_bytes is {wrong}, expected"):
        dbnfast.read(of_one_size()).parts(wrong)
    with pytest.raises(TypeError, match="max_bytes"):
        dbnfast.read(of_one_size()).parts("1")  # type: ignore[arg-type]


def test_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    data = of_one_size()
    path.write_bytes(data)
    begin = len(data) - 24_000
    (_, part, *_) = dbnfast.read(path).parts(4800)
    assert repr(part) == (f"<Part 2 of 5 of {path}: bytes {begin + 4800:,} to {begin + 9600:,}>")
    assert repr(dbnfast.read(data).parts()[0]).startswith("<Part 1 of 1 of memory: bytes 0 to")
    assert dbnfast.read(b"".join([data])).parts()[0].path is None
    assert dbnfast.read(dbnfast.encode([], header("trades", 1))).parts()[0].read().counts == {}


@pytest.mark.parametrize("where", ["memory", "file"])
def test_the_store_of_a_part_is_not_the_whole_stream(where: str, tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(of_one_size())
    part = dbnfast.read(path if where == "file" else of_one_size()).parts(5000)[1]
    wanted, store = bytes(part.read().data), part.store()
    assert len(wanted) == 104 * 48
    store.to_file(tmp_path / "part.dbn")
    assert bytes(dbnfast.read(tmp_path / "part.dbn").records().data) == wanted
    for name in ("raw", "reader"):
        with pytest.raises(ValueError, match=f"{name} is the stream of one source, as it is"):
            getattr(store, name)
    inner = store.parts(1000)
    assert len(inner) == 6
    assert (inner[0].begin, inner[-1].end) == (part.begin, part.end)
    assert joined(inner) == wanted
    assert joined(pickle.loads(pickle.dumps(inner))) == wanted
    late = store.filter(start=T0 + 150)
    assert joined(late.parts(1000)) == bytes(late.records().data) == wanted[46 * 48 :]


def test_a_file_that_took_the_place_of_another(tmp_path: Path) -> None:
    path, new = tmp_path / "a.dbn", tmp_path / "new.dbn"
    path.write_bytes(of_one_size())
    store = dbnfast.read(path)
    new.write_bytes(streams.header(schema="mbp-1", lists=bytes(16)) + bytes(48))
    new.replace(path)
    if not store._blocks.sources[0].is_kept:  # type: ignore[attr-defined]
        return
    assert len(store.records()) == 500  # the store has the file that it opened, its parts do not
    parts = store.parts(5000)
    for part in (*parts, *pickle.loads(pickle.dumps(parts))):
        with pytest.raises(ValueError, match=r"a\.dbn has changed since the parts"):
            part.read()


def test_parts_of_memory_that_are_pickled_keep_their_header_and_their_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = b"F" * 71  # without a zero behind it: a writer would refuse it
    lists = struct.pack("<I", 1) + name + bytes(12)
    stream = streams.header(lists=lists) + of_one_size()[-24_000:]
    store = dbnfast.read(stream)
    parts = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(store.parts(5000)))))
    assert joined(parts) == bytes(store.records().data)
    assert parts[2].store().symbols == store.symbols == ["F" * 71]
    monkeypatch.setattr(dividing, "likely_start", lambda *_: 20)
    wrong = pickle.loads(pickle.dumps(dbnfast.read(of_many_sizes()).parts(5000)[0]))
    for read in (wrong.read, lambda: list(wrong.store().iter_batches())):
        with pytest.raises(dbnfast.DecodeError, match="no record begins where the next part does"):
            read()


# --- symbols of several files -------------------------------------------------------------------

DAY = 86_400 * 10**9
FIRST = 20_600  # days since 1970
Mappings = dict[str, list[dict[str, Any]]]


def day(number: int) -> datetime.date:
    return datetime.date(1970, 1, 1) + datetime.timedelta(FIRST + number)


def of_days(
    first: int, last: int, mappings: Mappings, ids: list[int], schema: str = "trades", **more: Any
) -> bytes:
    """A record of each instrument on each of some days."""
    array = dbnfast.empty(schema, len(ids) * (last - first)).copy()
    n = len(ids)
    array["ts_recv"] = [
        (FIRST + first) * DAY + number // n * DAY + number % n for number in range(len(array))
    ]
    array["instrument_id"] = ids * (last - first)
    metadata = dbnfast.Metadata(
        dataset="GLBX.MDP3", schema=schema, start=(FIRST + first) * DAY,
        end=(FIRST + last) * DAY, stype_in="raw_symbol", mappings=mappings, **more,
    )  # fmt: skip
    return dbnfast.encode(array, metadata)


def interval(first: int, last: int, of: int) -> dict[str, Any]:
    return {"start_date": day(first), "end_date": day(last), "symbol": str(of)}


def rows(frames: list[Any]) -> list[Any]:
    """What is in frames, in any order."""
    import pandas as pd

    whole = pd.concat(frames).reset_index()
    found = whole[["ts_recv", "instrument_id", "symbol"]].fillna("none")
    return sorted(found.itertuples(index=False, name=None))


def test_the_header_of_another_file_names_records_of_a_part(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    (tmp_path / "a.dbn").write_bytes(of_days(0, 1, {"ESH6": [interval(0, 2, 7)]}, [7]))
    (tmp_path / "b.dbn").write_bytes(of_days(1, 2, {"ESM6": [interval(1, 2, 8)]}, [7, 8]))
    store = dbnfast.read([tmp_path / "a.dbn", tmp_path / "b.dbn"])
    for some in (store, store.filter(symbols="ESH6"), store.filter(symbols=["ESM6"])):
        parts = [pickle.loads(pickle.dumps(part)) for part in some.parts()]
        assert rows([part.to_df() for part in parts]) == rows([some.to_df()])
        again = [one for part in parts for one in part.store().parts()]
        assert rows([part.to_df() for part in again]) == rows([some.to_df()])
    assert store.filter(symbols="ESH6").parts()[1].read().array("trades").size == 1


def test_a_file_that_names_its_days_needs_no_other_header(tmp_path: Path) -> None:
    names = {f"S{number}": [interval(0, 1, number)] for number in range(2000)}
    later = {f"S{number}": [interval(1, 2, number + 1)] for number in range(2000)}
    (tmp_path / "a.dbn").write_bytes(of_days(0, 1, names, [7]))
    (tmp_path / "b.dbn").write_bytes(of_days(1, 2, later, [7]))
    store = dbnfast.read([tmp_path / "b.dbn", tmp_path / "a.dbn"])
    assert all(len(pickle.dumps(part)) < 2000 for part in store.parts())
    parts = [pickle.loads(pickle.dumps(part)) for part in store.parts()]
    assert [part.to_df()["symbol"].tolist() for part in parts] == [["S7"], ["S6"]]


def test_parts_of_files_whose_schemas_have_one_rtype(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    names = {"ESH6": [interval(0, 2, 7)]}
    (tmp_path / "a.dbn").write_bytes(of_days(0, 1, names, [7], "tbbo"))
    (tmp_path / "b.dbn").write_bytes(of_days(1, 2, names, [7], "mbp-1"))
    (tmp_path / "c.dbn").write_bytes(of_days(1, 2, names, [7], "trades"))
    store = dbnfast.read([tmp_path / f"{name}.dbn" for name in "abc"])
    for some in (store, store.filter("mbp-1"), store.filter(start=(FIRST + 1) * DAY)):
        frames = [part.to_df(schema="mbp-1") for part in some.parts()]
        assert rows(frames) == rows([some.to_df(schema="mbp-1")])
    assert store.parts()[2].to_df().shape[0] == 1  # whose schema no other one has


@st.composite
def several_files(draw: st.DrawFn) -> list[tuple[int, int, Mappings, list[int]]]:
    """Days of files, their mappings, and the instruments of their records."""
    days = st.integers(0, 4)
    ids = st.integers(1, 3)
    found = []
    for _ in range(draw(st.integers(2, 4))):
        first = draw(days)
        names: Mappings = {}
        for symbol in draw(st.lists(st.sampled_from("ABC"), unique=True)):
            begin = draw(days)
            names[symbol] = [interval(begin, begin + draw(st.integers(0, 3)), draw(ids))]
        instruments = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
        found.append((first, first + draw(st.integers(1, 3)), names, instruments))
    return found


@given(several_files(), st.sampled_from("ABC"))
def test_records_of_parts_are_named_as_in_the_store(
    plan: list[tuple[int, int, Mappings, list[int]]], symbol: str
) -> None:
    pytest.importorskip("pandas")
    store = dbnfast.read([of_days(*one) for one in plan])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dbnfast.SelectionWarning)
        for some in (store, store.filter(symbols=symbol)):
            parts = [pickle.loads(pickle.dumps(part)) for part in some.parts()]
            frames = [part.to_df() for part in parts]
            assert rows([*frames, some.to_df()[:0]]) == rows([some.to_df()])
