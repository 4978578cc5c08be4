"""A range of time in a plain file, found by a search."""

from __future__ import annotations

import io
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dbnfast
from dbnfast import Store
from dbnfast.codec.index import Index, read_index
from dbnfast.codec.options import Span
from dbnfast.store import seek, sources
from helpers import streams
from helpers.places import SAMPLE

T0 = 10**18
SIZES = {"trades": 48, "mbp-1": 80, "mbp-10": 368, "ohlcv-1m": 56, "mbo": 56}


@pytest.fixture
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at a few records at a time, so that few records are many."""
    monkeypatch.setattr(seek, "PROBE", 120)
    monkeypatch.setattr(seek, "LAST_PROBE", 400)
    monkeypatch.setattr(seek, "STEPS", 1)
    monkeypatch.setattr(seek, "NEAR", 100)


def array_of(times: Any, schema: str = "trades") -> np.ndarray[Any, Any]:
    """Records at times after T0; None for an undefined one."""
    array = dbnfast.empty(schema, len(times)).copy()
    index = "ts_recv" if "ts_recv" in (array.dtype.names or ()) else "ts_event"
    undefined = 2**64 - 1
    array[index] = np.array([undefined if t is None else T0 + t for t in times], np.uint64)
    array["instrument_id"] = np.arange(len(times)) % 7
    array["publisher_id"] = 1
    return array


def file_of(times: Any, schema: str = "trades", **fields: Any) -> bytes:
    """A stream of these records, whose header has their range."""
    known = [t for t in times if t is not None]
    start = T0 + min(known, default=0)
    end = T0 + max(known, default=0) + 1
    header = dbnfast.Metadata(
        dataset="XNAS.ITCH", schema=schema, start=start, end=end, stype_in="raw_symbol",
        stype_out="instrument_id", symbols=["A"],
    ).replace(**fields)  # fmt: skip
    return dbnfast.encode(array_of(times, schema), header)


def expected(data: bytes, start: int | None, end: int | None) -> bytes:
    """What a pass over all records leaves."""
    return bytes(dbnfast.scan(data).filter(start=start, end=end).data)


def times_of(n: int, seed: int = 0) -> list[int]:
    """Times in order, in bursts and with pauses."""
    rng = np.random.default_rng(seed)
    return np.cumsum(1 + rng.lognormal(3, 3, n).astype(np.int64)).tolist()


class Reads:
    """Counts what is read of files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.opened: list[str] = []
        original, keep = sources._KeptFile.readinto, sources.FileSource.open

        def readinto(file: Any, out: Any) -> int:
            n = original(file, out)
            self.sizes.append(n)
            return n

        def opened(source: Any) -> Any:
            self.opened.append(source.path.name)
            return keep(source)

        monkeypatch.setattr(sources._KeptFile, "readinto", readinto)
        monkeypatch.setattr(sources.FileSource, "open", opened)


RANGES = [(0, None), (None, None), (100, 101), (5000, 9000), (-10, 0), (10**9, None), (None, 7)]


@pytest.mark.usefixtures("small_probes")
@pytest.mark.parametrize("schema", SIZES)
@pytest.mark.parametrize("n", [0, 1, 2, 9, 500])
def test_a_search_finds_what_a_full_pass_does(schema: str, n: int) -> None:
    times = times_of(n, n)
    data = file_of(times, schema)
    store = dbnfast.read(data)
    ends = [*RANGES, *((t, t + 50) for t in times[:: max(1, n // 20)])]
    for low, high in ends:
        start = None if low is None else T0 + low
        end = None if high is None else T0 + high
        if start is None and end is None:
            continue
        wanted = expected(data, start, end)
        part = store.filter(start=start, end=end)
        assert bytes(part.records().data) == wanted
        assert b"".join(bytes(block.data) for block in part.iter_batches(4096)) == wanted
        both = store.filter(start=start, end=end, instrument_ids=[1, 2])
        only = dbnfast.scan(data).filter(start=start, end=end, instrument_ids=[1, 2])
        assert bytes(both.records().data) == bytes(only.data)


lists = st.lists(st.one_of(st.integers(0, 300), st.none()), max_size=60)


@given(lists, st.booleans(), st.integers(-5, 305), st.integers(0, 100), st.integers(1, 4))
@example([1, 2, None, 3, 4], False, 2, 2, 1)
@example([5, 5, 5, 5], True, 5, 1, 2)
def test_records_in_any_order_when_the_order_is_checked(
    times: list[int | None], in_order: bool, low: int, width: int, page: int
) -> None:
    if in_order:
        times = sorted(t for t in times if t is not None)
    data = file_of(times)
    start, end = max(0, T0 + low), T0 + low + width
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seek, "PROBE", 48 * page)
        patch.setattr(seek, "LAST_PROBE", 96)
        patch.setattr(seek, "NEAR", 48)
        wanted = expected(data, start, end)
        checked = dbnfast.read(data).filter(start=start, end=end, check_order=True)
        assert bytes(checked.records().data) == wanted
        trusted = dbnfast.read(data).filter(start=start, end=end)
        if in_order:
            assert bytes(trusted.records().data) == wanted


@pytest.mark.usefixtures("small_probes")
def test_disorder_that_shows_means_a_full_pass() -> None:
    times = times_of(400)
    swapped = [*times[:100], *times[300:], *times[100:300]]
    for wrong in (swapped, times[::-1], [*times[:399], None], [None, *times]):
        data = file_of(wrong)
        source = dbnfast.read(data)._blocks.sources[0]
        bounds = {"start": T0 + times[150], "end": T0 + times[160]}
        assert source.span(bounds, trusted=True) is None
        found = dbnfast.read(data).filter(**bounds).records()
        assert bytes(found.data) == expected(data, bounds["start"], bounds["end"])


def test_disorder_beside_the_place_that_is_found_shows() -> None:
    # as live data has it that was written as one schema: neighbours whose times are swapped
    times = times_of(60_000)
    for at in range(0, 60_000, 500):
        times[at], times[at + 3] = times[at + 3], times[at]
    data = file_of(times)
    store = dbnfast.read(data)
    for low in times[1000:60_000:1777]:
        part = store.filter(start=T0 + low, end=T0 + low + 10**6)
        assert bytes(part.records().data) == expected(data, T0 + low, T0 + low + 10**6)


def test_what_cannot_be_searched() -> None:
    times = times_of(50)
    bounds = {"start": T0 + times[10], "end": T0 + times[20]}
    header = dbnfast.Metadata(dataset="XNAS.ITCH", schema=None, start=T0)
    live = dbnfast.encode(array_of(times), header)
    bars, trades = array_of(times, "ohlcv-1m"), array_of(times)
    mixed = dbnfast.encode([trades, bars], header.replace(schema="trades", stype_in="raw_symbol"))
    no_end = file_of(times, end=None)  # of live data that became one of a schema
    for data in (live, mixed, no_end, streams.frame(file_of(times))):
        source = dbnfast.read(data)._blocks.sources[0]
        assert source.span(bounds, trusted=True) is None
        found = dbnfast.read(data).filter(**bounds).records()
        assert bytes(found.data) == expected(data, bounds["start"], bounds["end"])


def test_the_last_record_is_cut() -> None:
    times = times_of(300)
    data = file_of(times)[:-5]
    store = dbnfast.read(data)
    middle = store.filter(start=T0 + times[10], end=T0 + times[20])
    assert len(middle.records()) == 10  # nothing of it is cut, and nothing else is read
    with pytest.warns(dbnfast.TruncatedWarning, match="record 299 .* 48 bytes, 43 remain"):
        assert len(store.filter(start=T0 + times[290]).records()) == 9


@pytest.mark.parametrize("check_order", [False, True])
def test_the_order_is_checked_in_silence(
    check_order: bool, recwarn: pytest.WarningsRecorder
) -> None:
    times = times_of(300)
    data = file_of(times)[:-5]
    bounds = {"start": T0 + times[10], "end": T0 + times[20]}
    strict = dbnfast.read(data, on_truncated="raise").filter(**bounds, check_order=check_order)
    assert sum(len(block) for block in strict.iter_batches()) == 10
    assert not recwarn.list
    late = dbnfast.read(data).filter(start=T0 + times[290], check_order=check_order)
    assert sum(len(block) for block in late.iter_batches()) == 9
    assert [warning.category for warning in recwarn.list] == [dbnfast.TruncatedWarning]


def test_a_look_for_what_else_there_is_tells_no_cut(recwarn: pytest.WarningsRecorder) -> None:
    times = times_of(300)
    data = bytearray(file_of(times)[:-5])
    assert len(dbnfast.read(data).filter("mbp-1").to_ndarray()) == 0
    assert [str(warning.message) for warning in recwarn.list] == [
        f"record 299 at byte {len(data) - 43} needs 48 bytes, 43 remain",
        "there is no record of mbp-1; there are 299 trades",
    ]
    data[len(data) - 43 - 299 * 48 + 1] = 1  # before the range, and before all
    before = dbnfast.read(data).filter(end=T0)
    assert before.to_ndarray().shape == (0,)


def test_what_comes_before_damage_is_given_when_the_order_is_checked() -> None:
    times = times_of(300)
    data = bytearray(file_of(times))
    data[len(data) - 100 * 48 + 1] = 1
    part = dbnfast.read(data).filter(start=T0 + times[50], check_order=True)
    blocks = part.iter_batches()
    assert len(next(blocks)) == 150
    with pytest.raises(dbnfast.InvalidRecordError, match="record 200 "):
        next(blocks)


@pytest.mark.usefixtures("small_probes")
def test_the_order_is_checked_again_when_the_file_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    data, times = file_of(times_of(300)), times_of(300)
    path.write_bytes(data)
    part = dbnfast.read(path).filter(start=T0 + times[200], end=T0 + times[210], check_order=True)
    assert len(part.records()) == 10
    late = [*range(times[-1] + 1, times[-1] + 200), *times[200:205]]
    last = array_of([*late, *range(times[-1] + 200, times[-1] + 900)])
    with path.open("ab") as file:
        file.write(last.tobytes())
    assert len(part.records()) == 15


def test_damage_says_where_in_the_file_it_is(tmp_path: Path) -> None:
    times = times_of(3000)
    data = bytearray(file_of(times))
    begin = len(data) - 3000 * 48
    data[begin + 1500 * 48] = 1
    path = tmp_path / "a.dbn"
    path.write_bytes(data)
    part = dbnfast.read(path).filter(start=T0 + times[1400], end=T0 + times[1600])
    for read in (part.records, lambda: list(part.iter_batches())):
        with pytest.raises(dbnfast.InvalidRecordError) as caught:
            read()
        assert (caught.value.record_index, caught.value.offset) == (1500, begin + 1500 * 48)
        assert str(path) in str(caught.value)


def test_a_minute_of_a_day_is_few_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.sort(np.random.default_rng(1).integers(0, 86_400 * 10**9, 400_000))
    path = tmp_path / "day.dbn"
    path.write_bytes(file_of(times.tolist()))
    store = dbnfast.read(path)
    whole = store.filter(start=T0 + 3600 * 10**9, end=T0 + 3660 * 10**9)
    assert isinstance(whole, Store)
    reads = Reads(monkeypatch)
    found = sum(len(block) for block in whole.iter_batches())
    assert found == np.count_nonzero((times >= 3600 * 10**9) & (times < 3660 * 10**9))
    if store._blocks.sources[0].is_kept:  # type: ignore[attr-defined]
        assert 0 < len(reads.sizes) <= 16
        assert sum(reads.sizes) < 400 << 10
    assert f"of {path.stat().st_size:,} bytes" in repr(whole)


def test_records_of_a_range_are_a_view(tmp_path: Path) -> None:
    data = file_of(times_of(1000))
    path = tmp_path / "a.dbn"
    path.write_bytes(data)
    times = times_of(1000)
    for source in (data, path):
        array = dbnfast.read(source).filter(start=T0 + times[5], end=T0 + times[9]).to_ndarray()
        assert len(array) == 4
        assert not array.flags.owndata
        assert not array.flags.writeable


# --- seekable files ---------------------------------------------------------------------------


def seekable(data: bytes, frame_bytes: int = 1000) -> bytes:
    """A stream in small frames, with an index."""
    records, out = dbnfast.scan(data, on_truncated="ignore"), io.BytesIO()
    with streams.encoder(out, records.metadata, frame_bytes) as encoder:
        encoder.write(records)
    return out.getvalue()


def index_of(data: bytes) -> Index:
    found = read_index(lambda at, n: data[at : at + n], len(data))
    assert found is not None
    return found


@pytest.mark.parametrize("schema", SIZES)
@pytest.mark.parametrize("frame_bytes", [1, 1000, 10**6])
def test_a_range_of_a_seekable_file(schema: str, frame_bytes: int) -> None:
    times = times_of(200, 3)
    plain = file_of([*times[:50], None, *times[100:], *times[50:100]], schema)  # in any order
    store = dbnfast.read(seekable(plain, frame_bytes))
    for low in times[::13]:
        bounds = {"start": T0 + low, "end": T0 + low + 5000}
        wanted = expected(plain, bounds["start"], bounds["end"])
        part = store.filter(**bounds)
        assert bytes(part.records().data) == wanted
        assert b"".join(bytes(block.data) for block in part.iter_batches(4096)) == wanted
        both = part.filter(instrument_ids=[1, 2])
        only = dbnfast.scan(plain).filter(**bounds, instrument_ids=[1, 2])
        assert bytes(both.records().data) == bytes(only.data)
        assert both.counts == only.counts


def test_a_minute_of_a_seekable_day_is_few_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = np.sort(np.random.default_rng(1).integers(0, 86_400 * 10**9, 200_000))
    path = tmp_path / "day.dbn.zst"
    path.write_bytes(seekable(file_of(times.tolist()), 100_000))
    store = dbnfast.read(path)
    part = store.filter(start=T0 + 3600 * 10**9, end=T0 + 3660 * 10**9)
    reads = Reads(monkeypatch)
    found = sum(len(block) for block in part.iter_batches())
    assert found == np.count_nonzero((times >= 3600 * 10**9) & (times < 3660 * 10**9))
    if store._blocks.sources[0].is_kept:  # type: ignore[attr-defined]
        assert 0 < len(reads.sizes) <= 4
        assert sum(reads.sizes) < path.stat().st_size // 10
    said = repr(part)
    assert f" of {path.stat().st_size:,} bytes" in said
    n_bytes = int(said.split("reads=")[1].split(" of")[0].replace(",", ""))
    assert n_bytes < path.stat().st_size // 20


def test_a_wrong_index_means_a_full_pass(tmp_path: Path) -> None:
    times = times_of(500)
    plain = file_of(times)
    good = seekable(plain)
    start, end = T0 + times[100], T0 + times[200]
    other = seekable(file_of(times[:400]))
    ends = [int(index_of(data).starts[-1]) for data in (good, other)]
    tail = len(good) - 60
    for data in (
        bytes([*good[:tail], good[tail] ^ 1, *good[tail + 1 :]]),  # the table
        good[:-1],
        good[: ends[0]] + other[ends[1] :],  # that of another file
        streams.frame(plain),
    ):
        source = dbnfast.read(data)._blocks.sources[0]
        assert source.frames({"start": start, "end": end}) is None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dbnfast.TruncatedWarning)
            found = dbnfast.read(data).filter(start=start, end=end).records()
        assert bytes(found.data) == expected(plain, start, end)


def test_symbols_of_a_range_of_a_seekable_live_file() -> None:
    # the mapping records are read whatever their frame
    live = dbnfast.scan(SAMPLE.read_bytes())
    store, whole = dbnfast.read(seekable(bytes(live_bytes(live)), 2000)), dbnfast.read(SAMPLE)
    times = whole.filter("trades").to_ndarray()["ts_recv"]
    bounds = {"start": int(times[200]), "end": int(times[300])}
    pandas = pytest.importorskip("pandas")
    pandas.testing.assert_frame_equal(
        store.filter(**bounds).to_df(schema="trades"), whole.filter(**bounds).to_df(schema="trades")
    )
    named = store.filter(**bounds, symbols="ESH6").records()
    assert bytes(named.data) == bytes(whole.filter(**bounds, symbols="ESH6").records().data)
    assert 0 < len(named) < len(store.filter(**bounds).records())


def live_bytes(records: dbnfast.Records) -> bytes:
    return dbnfast.encode(records, records.metadata)


NAMED = {"A": 1, "B": 2, "C": 3}
MAPPED = bytes(12) + streams.mapping_list(
    [(name.encode(), [(20010101, 20300101, b"%d" % id)]) for name, id in NAMED.items()]
)


def forms_of(plain: bytes, begin: int, frame_bytes: int) -> dict[str, bytes]:
    """The same stream in each form that files have."""
    cut = begin + (len(plain) - begin) // 96 * 48
    parts = (plain[:begin], plain[begin:cut], plain[cut:])
    return {
        "plain": plain,
        "one frame": streams.frame(plain),
        "many frames": b"".join(streams.frame(part) for part in parts if part),
        "seekable": seekable(plain, frame_bytes),
    }


@given(
    st.lists(st.integers(0, 300), max_size=50).map(sorted),
    st.one_of(st.none(), st.integers(-5, 305)),
    st.one_of(st.none(), st.integers(-5, 305)),
    st.one_of(st.none(), st.sets(st.integers(0, 7), max_size=4)),
    st.one_of(st.none(), st.lists(st.sampled_from([*NAMED, "D"]), min_size=1, max_size=3)),
    st.integers(1, 500),
    st.booleans(),
)
def test_every_form_gives_what_a_full_pass_does(
    times: list[int], low: int | None, high: int | None, ids: set[int] | None,
    symbols: list[str] | None, frame_bytes: int, check_order: bool,
) -> None:  # fmt: skip
    head = streams.header(lists=MAPPED, start=T0, end=T0 + 301)
    plain = head + array_of(times).tobytes()
    bounds = {name: max(0, T0 + x) for name, x in (("start", low), ("end", high)) if x is not None}
    if len(bounds) == 2 and bounds["start"] > bounds["end"]:
        bounds["end"] = bounds["start"]
    owned = None if symbols is None else {NAMED[name] for name in symbols if name in NAMED}
    wanted = dbnfast.scan(plain).filter(**bounds, instrument_ids=ids)
    if owned is not None:
        wanted = wanted.filter(instrument_ids=owned)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", dbnfast.SelectionWarning)  # of the symbol D
        for name, size in (("PROBE", 96), ("LAST_PROBE", 200), ("NEAR", 96)):
            patch.setattr(seek, name, size)
        for form, data in forms_of(plain, len(head), frame_bytes).items():
            store = dbnfast.read(data).filter(check_order=check_order, **bounds)
            store = store.filter(instrument_ids=ids).filter(symbols=symbols)
            assert bytes(store.records().data) == bytes(wanted.data), form
            assert store.counts == wanted.counts, form
            parts = [bytes(part.read().data) for part in store.parts(4096)]
            assert b"".join(parts) == bytes(wanted.data), form


# --- files that are left out ------------------------------------------------------------------


@pytest.fixture
def days(tmp_path: Path) -> list[Path]:
    """Four files of a hundred records, one after the other."""
    paths = []
    for day in range(4):
        path = tmp_path / f"{day}.dbn"
        data = file_of(range(day * 1000, day * 1000 + 500, 5))
        path.write_bytes(data if day % 2 else streams.frame(data))
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("low", "high", "files"),
    [
        (1100, 1200, ["1.dbn"]),
        (1100, 2001, ["1.dbn", "2.dbn"]),
        (None, 5, ["0.dbn"]),
        (3495, None, ["3.dbn"]),
        (3496, None, ["3.dbn"]),  # an end may be the time of the last record
        (3600, None, []),
        (600, 900, []),
    ],
)
def test_files_of_other_times_are_not_opened(
    days: list[Path], low: int | None, high: int | None, files: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bounds = {
        name: T0 + value for name, value in (("start", low), ("end", high)) if value is not None
    }
    store = dbnfast.read(days)
    part, proven = store.filter(**bounds), store.filter(**bounds, check_order=True)
    whole = store.records().filter(**bounds)
    reads = Reads(monkeypatch)
    assert bytes(part.records().data) == bytes(whole.data)
    assert sorted(set(reads.opened)) == files
    assert f"reads={len(files)} of 4 sources, " in repr(part)
    assert bytes(proven.records().data) == bytes(whole.data)
    assert set(reads.opened) == {path.name for path in days}


def test_an_empty_range_reads_nothing_else(
    days: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = dbnfast.read(days).filter(start=T0 + 600, end=T0 + 900)
    reads = Reads(monkeypatch)
    assert part.to_ndarray().shape == (0,)  # no warning: the schema is the store's own
    assert part.time_range is None
    assert len(reads.opened) <= 1  # one look at whether there are any trades at all


def test_live_files_are_not_left_out(tmp_path: Path) -> None:
    # their header says when the session began, and a replay may begin before that
    path = tmp_path / "live.dbn"
    header = dbnfast.Metadata(dataset="XNAS.ITCH", schema=None, start=T0 + 50)
    path.write_bytes(dbnfast.encode(array_of([10, 60]), header))
    assert len(dbnfast.read(path).filter(end=T0 + 20).records()) == 1


def test_a_filter_by_symbol_reads_their_instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(b"A", [(20010101, 20300101, b"1")]), (b"B", [(20010101, 20300101, b"2")])]
    mappings = bytes(12) + streams.mapping_list(rows)
    data = streams.header(lists=mappings) + file_of(range(70))[-70 * 48 :]
    store = dbnfast.read(data)
    given: list[Any] = []
    original = sources.MemorySource.blocks

    def blocks(source: Any, max_bytes: int, wanted: dict[str, Any], **options: Any) -> Any:
        given.append(wanted.get("instrument_ids"))
        return original(source, max_bytes, wanted, **options)

    monkeypatch.setattr(sources.MemorySource, "blocks", blocks)
    assert set(store.filter(symbols="B").to_ndarray()["instrument_id"].tolist()) == {2}
    assert set(store.filter(symbols=["A", "B"], instrument_ids=[2, 3]).to_ndarray()[
        "instrument_id"].tolist()) == {2}  # fmt: skip
    assert given[:1] == [{2}]
    assert {2} in given[1:]
    added = dbnfast.read(data)
    added.insert_symbology_json(
        {
            "result": {"C": [{"d0": "2001-01-01", "d1": "2030-01-01", "s": "5"}]},
            "stype_in": "raw_symbol", "stype_out": "instrument_id", "symbols": ["C"],
            "start_date": "2001-01-01", "end_date": "2030-01-01", "partial": [], "not_found": [],
            "message": "OK", "status": 0,
        }
    )  # fmt: skip
    assert set(added.filter(symbols="C").to_ndarray()["instrument_id"].tolist()) == {5}


def test_a_filtered_store_says_what_it_reads() -> None:
    data = file_of(times_of(100))
    part = dbnfast.read(data).filter("trades", instrument_ids=range(9), start=T0)
    said = repr(part)
    assert "filter=schema trades; instrument_ids 0, 1, 2, 3, 4 and 4 more; from 2001-09-09" in said
    assert f"reads={100 * 48:,} of {len(data):,} bytes" in said
    assert "reads" in part._repr_html_()
    late = repr(dbnfast.read(data).filter(start=2**64 - 2, end=2**64 - 1))
    assert f"filter=from {2**64 - 2} ns; to {2**64 - 1} ns, reads=0 of" in late
    with pytest.raises(TypeError, match="check_order is of type int, expected bool"):
        dbnfast.read(data).filter(start=T0, check_order=1)  # type: ignore[arg-type]


def test_a_file_that_shrinks_while_it_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    data = file_of(times_of(30_000))
    path.write_bytes(data)
    store = dbnfast.read(path)
    part = store.filter(start=T0 + times_of(30_000)[20_000])
    for n_left in (1000, 1, 0):
        os.truncate(path, len(data) - 48 * (30_000 - n_left))
        with pytest.MonkeyPatch.context() as patch:  # the size was looked at before
            patch.setattr(sources.FileSource, "nbytes", property(lambda _: len(data)))
            assert sum(len(block) for block in part.iter_batches()) == 0
            assert len(part.records()) == 0
            assert len(store.parts(10**6)) == 1
            patch.setattr(sources.FileSource, "span", lambda *_, **__: Span(10**6, None, 20_000))
            assert len(part.records()) == 0
            assert sum(len(block) for block in part.iter_batches()) == 0


def test_helpers() -> None:
    """What these tests build is what they say."""
    data = file_of([1, 2, None])
    assert [struct.unpack_from("<Q", raw, 32)[0] for raw in streams.walk(data[-3 * 48 :])] == [
        T0 + 1, T0 + 2, 2**64 - 1,
    ]  # fmt: skip
