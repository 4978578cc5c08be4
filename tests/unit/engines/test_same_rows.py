"""One predicate, whatever asks it and wherever the files are: the same rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dbnfast
from helpers import queries

fsspec = pytest.importorskip("fsspec")
pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
pytest.importorskip("dask.dataframe")

FILES = [kind for kind in queries.KINDS if kind != "memory"]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Any]:
    """What gives a store of each kind at URLs, made once."""
    fs = fsspec.filesystem("memory")
    yield functools.cache(lambda kind: queries.store_of(kind, f"memory://engines/{kind}"))
    fs.rm("/engines", recursive=True)


def by_polars(store: Any, tree: Any) -> list[int]:
    frame = dbnfast.scan_polars(store, "trades").filter(queries.as_polars(tree))
    found: list[int] = frame.select("sequence").collect(engine="streaming")["sequence"].to_list()
    return found


def by_arrow(store: Any, tree: Any) -> list[int]:
    table = store.arrow_dataset("trades").to_table(["sequence"], queries.as_arrow(tree))
    found: list[int] = table["sequence"].to_pylist()
    return found


def by_duckdb(store: Any, tree: Any) -> list[int]:
    trades = store.arrow_dataset("trades")
    query = f"select sequence from trades where {queries.as_sql(tree)} order by sequence"
    found = [row[0] for row in duckdb.sql(query).fetchall()]
    del trades
    return found


def by_dask(store: Any, tree: Any) -> list[int]:
    frame = dbnfast.dask.read(store, "trades", max_bytes=9_000)
    passed = frame[queries.as_dask(tree, frame)]["sequence"].compute(scheduler="synchronous")
    return sorted(passed.tolist())  # files that overlap are not merged


@settings(max_examples=40)
@given(kind=st.sampled_from(FILES), is_here=st.booleans(), tree=queries.predicates())
@example("live", False, ("not", ("cmp", "symbol", "==", "S5b")))
@example("days", False, ("or", ("odd", "size"), ("in", "symbol", ["S1", "none such"])))
def test_all_pass_the_rows_of_a_plain_pass(
    stores: Any, elsewhere: Any, kind: str, is_here: bool, tree: Any
) -> None:
    store = (stores if is_here else elsewhere)(kind)
    told = queries.told_of(kind)
    expected = told.columns["sequence"][queries.hits(tree, told)].tolist()
    for passed in (by_polars, by_arrow, by_duckdb, by_dask):
        assert passed(store, tree) == expected, passed.__name__
