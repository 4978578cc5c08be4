"""A range of time of files elsewhere: whatever asks for it, little is fetched."""

from __future__ import annotations

import datetime
import io
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast._util import ranges
from helpers import queries, streams

fsspec = pytest.importorskip("fsspec")
pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
pytest.importorskip("dask.dataframe")

N = 60_000  # trades of a day, more than what is read of a file to know its header
DAYS = ("0.dbn", "1.dbn.zst", "2.dbn")
STEP = queries.DAY // N // 1000 * 1000
SEARCH = 8 * ranges.WINDOW  # bytes that it may take to find where a range begins, or ends
LAST_LOOKS = 1 << 20  # and that are read at once where little is left to look at


class Day(NamedTuple):
    """A file, the numbers of its trades, and its bytes."""

    name: str
    first: int
    size: int


class Far(NamedTuple):
    """A store of three days at URLs, and how many bytes of each file were fetched."""

    store: dbnfast.Store
    days: list[Day]
    fetched: Counter[str]


def encoded(number: int) -> bytes:
    start = queries.T0 + number * queries.DAY
    array = dbnfast.empty("trades", N).copy()
    array["ts_recv"] = np.uint64(start) + np.arange(N, dtype=np.uint64) * np.uint64(STEP)
    array["sequence"] = number * N + np.arange(N)
    array["price"] = np.random.default_rng(number).integers(1, 10**12, N)
    header = dbnfast.Metadata(
        dataset="XNAS.ITCH", schema="trades", start=start, end=start + queries.DAY,
        stype_in="raw_symbol", stype_out="instrument_id", symbols=["A"],
    )  # fmt: skip
    if not DAYS[number].endswith(".zst"):
        return dbnfast.encode(array, header)
    out = io.BytesIO()
    with streams.encoder(out, header, 100_000) as encoder:
        encoder.write(array)
    return out.getvalue()


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    fs = fsspec.filesystem("memory")
    fetched: Counter[str] = Counter()
    plain = ranges.Remote._get

    def counted(self: Any, start: int, stop: int) -> bytes:
        fetched[self.name.rpartition("/")[2]] += stop - start
        return plain(self, start, stop)

    files = [encoded(number) for number in range(len(DAYS))]
    days = [
        Day(name, number * N, len(data))
        for number, (name, data) in enumerate(zip(DAYS, files, strict=True))
    ]
    for day, data in zip(days, files, strict=True):
        fs.pipe_file(f"/fetched/{day.name}", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges.Remote, "_get", counted)
        store = dbnfast.read([f"memory://fetched/{name}" for name in DAYS])
        assert fetched == {name: ranges.HEAD for name in DAYS}
        yield Far(store, days, fetched)
    fs.rm("/fetched", recursive=True)


def ns(number: int) -> int:
    return queries.T0 + number // N * queries.DAY + number % N * STEP


def _in_range(first: int, last: int) -> Any:
    past = (datetime.timedelta(microseconds=ns(number) // 1000) for number in (first, last))
    start, end = (datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + one for one in past)
    return "between", "ts_recv", "left", start, end


def _polars(store: Any, first: int, last: int) -> list[int]:
    frame = dbnfast.scan_polars(store).filter(queries.as_polars(_in_range(first, last)))
    found: list[int] = frame.select("sequence").collect(engine="streaming")["sequence"].to_list()
    return found


def _arrow(store: Any, first: int, last: int) -> list[int]:
    wanted = queries.as_arrow(_in_range(first, last))
    found: list[int] = store.arrow_dataset().to_table(["sequence"], wanted)["sequence"].to_pylist()
    return found


def _duckdb(store: Any, first: int, last: int) -> list[int]:
    trades = store.arrow_dataset(pretty_ts=False)  # of which DuckDB pushes times
    where = f"ts_recv >= {ns(first)} and ts_recv < {ns(last)}"
    query = f"select sequence from trades where {where} order by sequence"
    found = [row[0] for row in duckdb.sql(query).fetchall()]
    del trades
    return found


def _plain(store: Any, first: int, last: int) -> list[int]:
    found: list[int] = store.filter(start=ns(first), end=ns(last)).to_ndarray()["sequence"].tolist()
    return found


def _dask(store: Any, first: int, last: int) -> list[int]:
    frame = dbnfast.dask.read(store.filter(start=ns(first), end=ns(last)))
    found: list[int] = frame["sequence"].compute(scheduler="synchronous").tolist()
    return found


RANGES: dict[str, Callable[[Any, int, int], list[int]]] = {
    "plain": _plain,
    "polars": _polars,
    "arrow": _arrow,
    "duckdb": _duckdb,
    "dask": _dask,
}


def spans() -> st.SearchStrategy[tuple[int, int]]:
    """Ranges of trades: any, few, and those that end where a file does."""
    places = st.integers(0, 3 * N) | st.sampled_from([0, 1, N - 1, N, N + 1, 2 * N, 3 * N - 1])
    whole = st.tuples(places, places).map(lambda pair: (min(pair), max(pair)))
    few = st.tuples(places, st.integers(1, 50)).map(lambda one: (one[0], min(sum(one), 3 * N)))
    return (whole | few).filter(lambda span: span[0] < span[1])


@settings(max_examples=30)
@given(span=spans())
@example((0, 3 * N))
@example((1, 3 * N - 1))
@example((N, 2 * N))
@example((N // 2, N // 2 + 1))
def test_a_range_fetches_of_the_files_that_have_it_what_it_needs(
    far: Far, span: tuple[int, int]
) -> None:
    first, last = span
    for engine, read in RANGES.items():
        far.fetched.clear()
        assert read(far.store, first, last) == list(range(first, last)), engine
        for day in far.days:
            n = min(last, day.first + N) - max(first, day.first)
            fetched = far.fetched[day.name]
            if day.first + N == first:  # by its header, its last record may be of that time
                assert fetched <= SEARCH, (engine, day)
            elif n <= 0:
                assert fetched == 0, (engine, day)
            elif n == N:
                assert fetched <= day.size, (engine, day)
            else:
                edges = (day.first < first) + (last < day.first + N)
                assert fetched <= day.size + edges * SEARCH, (engine, day)
                if day.name.endswith(".dbn"):
                    looks = edges * (SEARCH + LAST_LOOKS)
                    assert fetched <= n * 48 + ranges.HEAD + looks, (engine, day)
