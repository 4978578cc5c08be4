"""Warnings of stores where records are not there, or are not what was asked for."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import RType, Schema, SelectionWarning, Store
from helpers import streams

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

TRADES = streams.header(stype_in=1) + streams.trades(5)
MIXED = streams.header(schema=None) + streams.mixed(4)
NOTHING = streams.header(stype_in=1)
TOLD = {"trades": "there are 5 trades", "mixed": "there are 4 trades, 4 system, 4 ohlcv-1m, 4 of"}


def polars(store: Store, schema: Any) -> int:
    pytest.importorskip("polars")
    return len(store.to_polars(schema))


def csv(store: Store, schema: Any) -> int:
    out = io.BytesIO()
    store.to_csv(out, schema=schema)
    return out.getvalue().count(b"\n") - 1


def parquet(store: Store, schema: Any) -> int:
    import pyarrow.parquet as pq

    out = io.BytesIO()
    store.to_parquet(out, schema=schema)
    return pq.ParquetFile(out).metadata.num_rows  # type: ignore[no-any-return]


ROADS: dict[str, Callable[[Store, Any], int]] = {
    "df": lambda store, schema: len(store.to_df(schema=schema)),
    "dfs": lambda store, schema: sum(map(len, store.to_df(schema=schema, count=2))),
    "ndarray": lambda store, schema: len(store.to_ndarray(schema)),
    "ndarrays": lambda store, schema: sum(map(len, store.to_ndarray(schema, count=2))),
    "arrow": lambda store, schema: len(store.to_arrow(schema)),
    "polars": polars,
    "csv": csv,
    "parquet": parquet,
}
FILTERED: dict[str, Callable[[Store], object]] = {
    "records": lambda store: store.records(),
    "iteration": list,
    "batches": lambda store: list(store.iter_batches()),
    "file": lambda store: store.to_file(io.BytesIO()),
    "json": lambda store: store.to_json(io.BytesIO(), schema="trades"),
    "df": lambda store: store.to_df(schema="trades"),
    "ndarray": lambda store: store.to_ndarray("trades"),
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("schema", ["mbo", Schema.MBO, RType.MBO])
@pytest.mark.parametrize("kind", ["trades", "mixed"])
def test_a_schema_that_is_not_there(kind: str, schema: Any, road: str) -> None:
    store = dbnfast.read(TRADES if kind == "trades" else MIXED)
    with pytest.warns(SelectionWarning) as caught:
        assert ROADS[road](store, schema) == 0
    assert len(caught) == 1
    assert str(caught[0].message).startswith(f"there is no record of mbo; {TOLD[kind]}")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("road", ROADS)
def test_no_warning_where_it_is_there_or_nothing_is(road: str) -> None:
    assert ROADS[road](dbnfast.read(TRADES), "trades") == 5
    assert ROADS[road](dbnfast.read(MIXED), "trades") == 4
    assert ROADS[road](dbnfast.read(NOTHING), "trades") == 0
    assert ROADS[road](dbnfast.read(NOTHING), "mbo") == 0
    late = dbnfast.read(MIXED).filter(start=2 * 10**18)  # a range without records is no mistake
    assert ROADS[road](late, "trades") == 0


def test_the_files_own_schema_may_be_wrong() -> None:
    store = dbnfast.read(streams.header(schema="mbo", stype_in=1) + streams.trades(5))
    with pytest.warns(SelectionWarning, match="no record of mbo; there are 5 trades"):
        assert len(store.to_ndarray()) == 0


@pytest.mark.parametrize("road", FILTERED)
@pytest.mark.parametrize("data", [TRADES, MIXED], ids=["trades", "mixed"])
def test_a_filter_for_a_schema_that_is_not_there(data: bytes, road: str) -> None:
    store = dbnfast.read(data).filter(["mbo", "definition"], start=1)
    with pytest.warns(SelectionWarning, match="no record of mbo, definition; there are ") as caught:
        FILTERED[road](store)
    assert len(caught) == 1
    assert "records=none" in repr(store)  # without a warning
    assert store.counts == {}


def test_a_filter_and_an_output_warn_once() -> None:
    store = dbnfast.read(MIXED).filter("mbo")
    for schema in (None, "mbo", Schema.MBO):
        with pytest.warns(SelectionWarning) as caught:
            assert len(store.to_df(schema=schema)) == 0
        assert len(caught) == 1
    some = dbnfast.read(MIXED).filter(["mbo", "trades"])
    assert len(some.to_df(schema="trades")) == 4
    with pytest.warns(SelectionWarning, match="no record of mbo; there are 4 trades, 4 system"):
        some.to_df(schema="mbo")


# --- tbbo and mbp-1, which have one rtype ------------------------------------------------------


def quotes(actions: bytes, schema: str | None = None) -> bytes:
    array = dbnfast.empty("mbp-1", len(actions))
    array["ts_recv"] = array["ts_event"] = 10**18 + np.arange(len(actions))
    array["action"] = [actions[i : i + 1] for i in range(len(actions))]
    return streams.header(schema=schema) + array.tobytes()


@pytest.mark.parametrize("road", ROADS)
def test_tbbo_asked_of_mbp_1_in_mixed_data(road: str) -> None:
    store = dbnfast.read(quotes(b"TATCT"))
    said = r"tbbo was asked for, but 2 of the 5 records are no trades: they are of mbp-1"
    for one, schema in ((store, "tbbo"), (store.filter("tbbo"), None)):
        with pytest.warns(SelectionWarning, match=said) as caught:
            assert ROADS[road](one, schema or "tbbo") == 5
        assert len(caught) == 1
    assert ROADS[road](store, "mbp-1") == 5
    assert ROADS[road](store.filter(["tbbo", "mbp-1"]), RType.MBP_1) == 5
    assert ROADS[road](dbnfast.read(quotes(b"TTTT")), "tbbo") == 4
    assert ROADS[road](dbnfast.read(quotes(b"TTTA", "tbbo")), "tbbo") == 4  # the header says so


def test_tbbo_of_several_files() -> None:
    store = dbnfast.read([quotes(b"TT", "tbbo"), quotes(b"AC", "mbp-1")])
    assert store.schema is None
    with pytest.warns(SelectionWarning, match="2 of the 4 records are no trades"):
        assert len(store.to_ndarray("tbbo")) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(store.to_ndarray("mbp-1")) == 4
