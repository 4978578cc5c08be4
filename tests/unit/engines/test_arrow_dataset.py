"""Store.arrow_dataset: what Arrow and DuckDB ask of it, and what is read for that."""

from __future__ import annotations

import datetime
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast.engines import arrow_dataset
from helpers import queries, streams
from helpers.places import SAMPLE

pa = pytest.importorskip("pyarrow")
pc = pytest.importorskip("pyarrow.compute")
ds = pytest.importorskip("pyarrow.dataset")

F = ds.field
AT = queries.time_at


def ns(number: int) -> Any:
    return pa.scalar(queries.T0 + number * queries.STEP, pa.timestamp("ns", "UTC"))


def sequence(table: Any) -> list[int]:
    found: list[int] = table["sequence"].to_pylist()
    return found


# --- the same rows ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", queries.KINDS)
def test_a_dataset_is_the_table_of_the_store(stores: Any, kind: str) -> None:
    store = stores(kind)
    dataset = store.arrow_dataset("trades")
    told = queries.told_of(kind)
    table = store.to_arrow("trades")
    assert isinstance(dataset, ds.Dataset)
    assert dataset.schema == table.schema
    found = dataset.to_table()
    assert found.schema == table.schema
    assert found.to_pylist() == table.to_pylist()
    assert dataset.count_rows() == queries.N
    for name, values in told.columns.items():
        listed = [one if ok else None for one, ok in zip(values, told.known[name], strict=True)]
        column = found[name].cast(pa.int64()) if name == "ts_recv" else found[name]
        assert column.to_pylist() == listed


@settings(max_examples=100)
@given(kind=st.sampled_from(queries.KINDS), tree=queries.predicates())
def test_a_filter_passes_the_rows_of_a_plain_pass(stores: Any, kind: str, tree: Any) -> None:
    told = queries.told_of(kind)
    expected = told.columns["sequence"][queries.hits(tree, told)].tolist()
    dataset = stores(kind).arrow_dataset("trades")
    condition = queries.as_arrow(tree)
    assert sequence(dataset.to_table(["sequence"], condition)) == expected


@settings(max_examples=100)
@given(kind=st.sampled_from(queries.KINDS), tree=queries.predicates())
def test_duckdb_passes_the_rows_of_a_plain_pass(stores: Any, kind: str, tree: Any) -> None:
    duckdb = pytest.importorskip("duckdb")
    told = queries.told_of(kind)
    expected = told.columns["sequence"][queries.hits(tree, told)].tolist()
    trades = stores(kind).arrow_dataset("trades")
    query = f"select sequence from trades where {queries.as_sql(tree)} order by sequence"
    assert [row[0] for row in duckdb.sql(query).fetchall()] == expected
    del trades


def test_duckdb_finds_a_dataset_by_its_name(stores: Any, made: list[set[str]]) -> None:
    duckdb = pytest.importorskip("duckdb")
    told = queries.told_of("days")
    trades = stores("days").arrow_dataset()
    found = duckdb.sql("select symbol, sum(size) from trades group by symbol").fetchall()
    symbols, sizes = told.columns["symbol"], told.columns["size"]
    assert dict(found) == {one: int(sizes[symbols == one].sum()) for one in {*symbols.tolist()}}
    assert {frozenset(columns) for columns in made} == {frozenset(("symbol", "size"))}
    del trades


def test_what_a_dataset_of_arrow_can_do(stores: Any, tmp_path: Path) -> None:
    store = stores("days")
    dataset, table = store.arrow_dataset(), store.to_arrow()
    late = F("ts_recv") >= ns(400)
    assert dataset.head(7).to_pylist() == table[:7].to_pylist()
    assert sequence(dataset.head(7, filter=late)) == list(range(400, 407))
    assert dataset.head(queries.N * 2, columns=["size"]).num_rows == queries.N
    assert dataset.take([3, 500]).to_pylist() == table.take([3, 500]).to_pylist()
    assert sequence(dataset.take([0, 1], filter=late)) == [400, 401]
    batches = list(dataset.to_batches(columns=["size", "price"]))
    assert len(batches) > 3
    assert pa.Table.from_batches(batches) == table.select(["size", "price"]).combine_chunks()
    scanner = dataset.scanner(columns=["sequence"], filter=late)
    assert scanner.projected_schema.names == ["sequence"]
    assert sequence(scanner.to_reader().read_all()) == list(range(400, queries.N))
    twice = {"twice": F("size") + F("size"), "id": F("instrument_id")}
    found = dataset.to_table(columns=twice, filter=F("price") > 20)
    kept = table.filter(pc.field("price") > 20)
    assert found["twice"].to_pylist() == [2 * size for size in kept["size"].to_pylist()]
    assert found["id"].to_pylist() == kept["instrument_id"].to_pylist()
    assert sequence(dataset.to_table(filter=ds.field(0) >= ns(590))) == list(range(590, 600))
    filtered = dataset.filter(late).filter(F("instrument_id") == 2)
    numbers = sequence(filtered.to_table())
    assert numbers == sequence(dataset.to_table(filter=late & (F("instrument_id") == 2)))
    assert sequence(pickle.loads(pickle.dumps(filtered)).to_table()) == numbers
    assert sequence(dataset.sort_by([("sequence", "descending")]).head(2)) == [599, 598]
    names = pa.table({"instrument_id": pa.array([2], pa.uint32()), "name": ["two"]})
    joined = dataset.join(ds.dataset(names), "instrument_id", join_type="inner")
    assert joined.count_rows() == dataset.count_rows(filter=F("instrument_id") == 2)
    assert dataset.join(dataset, "sequence", right_suffix="_r").count_rows() == queries.N
    ds.write_dataset(dataset, tmp_path, format="parquet")
    assert ds.dataset(tmp_path).count_rows() == queries.N
    assert repr(filtered).startswith(
        "<DbnDataset of <Store(3 sources, dataset=XNAS.ITCH, schema=trades"
    )


def test_polars_scans_a_dataset(stores: Any) -> None:
    polars = pytest.importorskip("polars")
    told = queries.told_of("plain")
    frame = polars.scan_pyarrow_dataset(stores("plain").arrow_dataset())
    found = frame.filter(polars.col("size") > 20).select("sequence").collect()
    assert (
        found["sequence"].to_list() == told.columns["sequence"][told.columns["size"] > 20].tolist()
    )


@pytest.mark.parametrize(
    "options",
    [
        {"price_type": "fixed", "pretty_ts": False, "categorical": False},
        {"price_type": "decimal", "tz": "America/New_York"},
        {"columns": ["symbol", "price"]},
        {"map_symbols": False},
    ],
    ids=["plain", "decimal", "columns", "no symbols"],
)
def test_options_are_those_of_to_arrow(
    stores: Any, options: dict[str, Any], asked: list[dict[str, Any]]
) -> None:
    store = stores("plain")
    table = store.to_arrow(**options)
    dataset = store.arrow_dataset(**options)
    assert dataset.schema == table.schema
    assert dataset.to_table().to_pylist() == table.to_pylist()
    asked.clear()
    late = F("ts_recv") >= table["ts_recv"][400]
    assert dataset.to_table(filter=late).to_pylist() == table[400:].to_pylist()
    assert asked == [{"start": queries.T0 + 400 * queries.STEP}]


# --- what is pushed -----------------------------------------------------------------------------


def stamp(number: int, more: int = 0) -> int:
    return queries.T0 + number * queries.STEP + more


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (F("ts_recv") >= ns(250), {"start": stamp(250)}),
        (F("ts_recv") > ns(250), {"start": stamp(250, 1)}),
        (F("ts_recv") < ns(250), {"end": stamp(250)}),
        (ns(250) < F("ts_recv"), {"start": stamp(250, 1)}),
        (F("ts_recv") <= ns(250), {"end": stamp(250, 1)}),
        (F("ts_recv") == ns(250), {"start": stamp(250), "end": stamp(250, 1)}),
        (F("ts_recv") >= AT(250), {"start": stamp(250)}),
        (
            (F("ts_recv") >= ns(3)) & (F("ts_recv") < ns(9)) & (F("size") > 5),
            {"start": stamp(3), "end": stamp(9)},
        ),
        ((F("ts_recv") < ns(3)) | (F("ts_recv") == ns(9)), {"end": stamp(9, 1)}),
        (~(F("ts_recv") < ns(3)), {"start": stamp(3)}),
        (F("instrument_id") == 3, {"instrument_ids": [3]}),
        (F("instrument_id").isin([5, 3]), {"instrument_ids": [3, 5]}),
        ((F("instrument_id") == 5) | (F("instrument_id") == 3), {"instrument_ids": [3, 5]}),
        (
            (F("instrument_id") >= 7) & (F("instrument_id") < 9) & (F("publisher_id") == 2),
            {"instrument_ids": [7, 8], "publishers": [2]},
        ),
        (F("symbol") == "S1", {"symbols": ["S1"]}),
        (F("symbol").isin(["S2", "S1", "none such"]), {"symbols": ["S1", "S2"]}),
        (F("symbol") != "S1", {"symbols": ["S2", "S3", "S4", "S5a", "S5b"]}),
    ],
    ids=str,
)
def test_what_arrow_can_tell_goes_to_the_filter(
    stores: Any, asked: list[dict[str, Any]], condition: Any, expected: dict[str, Any]
) -> None:
    dataset = stores("plain").arrow_dataset()
    asked.clear()
    found = dataset.to_table(filter=condition)
    assert asked == [expected]
    assert sequence(found) == sequence(stores("plain").to_arrow().filter(condition))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (F("ts_recv") >= stamp(250), {"start": stamp(250)}),
        (F("ts_recv") >= pa.scalar(stamp(250), pa.uint64()), {"start": stamp(250)}),
        (
            (F("ts_recv") > stamp(3)) & (F("ts_recv") <= stamp(9)),
            {"start": stamp(3, 1), "end": stamp(9, 1)},
        ),
        (F("ts_recv").cast(pa.int64()) < stamp(9), {"end": stamp(9)}),
        (F("ts_recv") < 0, None),  # nothing is read
        (F("ts_recv") < stamp(9) + 0.5, None),  # which may be raised
        (F("instrument_id") == 3.0, None),
        (F("instrument_id") == 2**40, None),
    ],
    ids=str,
)
def test_integers_are_asked_for_whatever_their_type(
    stores: Any, asked: list[dict[str, Any]], condition: Any, expected: dict[str, Any] | None
) -> None:
    # Arrow compares as the type that holds both, and raises where it has to name what that cannot
    store = stores("plain")
    dataset = store.arrow_dataset(pretty_ts=False)
    asked.clear()
    try:
        rows = sequence(store.to_arrow(pretty_ts=False).filter(condition))
    except pa.ArrowInvalid as error:
        with pytest.raises(pa.ArrowInvalid, match=str(error)[:30]):
            dataset.to_table(filter=condition)
    else:
        assert sequence(dataset.to_table(filter=condition)) == rows
        assert dataset.count_rows(filter=condition) == len(rows)
    assert asked[:1] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    "condition",
    [
        F("price") > 50,
        F("ts_event") > ns(5),
        F("ts_recv").is_null(),
        F("ts_recv").is_null() | (F("ts_recv") < ns(3)),
        F("instrument_id") > 3,
        F("instrument_id") != 3,
        F("symbol").is_null() | (F("symbol") == "S1"),
        (F("instrument_id") == 3) | (F("publisher_id") == 1),
        F("instrument_id") == F("publisher_id"),
        pc.bit_wise_and(F("instrument_id"), pa.scalar(1, pa.uint32())) == 1,
        pc.hour(F("ts_recv")) == 3,
        ds.scalar(True),
    ],
    ids=str,
)
def test_what_arrow_cannot_tell_pushes_nothing_and_is_applied(
    stores: Any, asked: list[dict[str, Any]], condition: Any
) -> None:
    dataset = stores("frame").arrow_dataset()
    asked.clear()
    found = dataset.to_table(filter=condition)
    assert asked == []
    assert sequence(found) == sequence(stores("frame").to_arrow().filter(condition))


def test_many_symbols_are_not_tried(
    stores: Any, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_dataset, "MOST_SYMBOLS", 5)
    dataset = stores("plain").arrow_dataset()
    asked.clear()
    told = queries.told_of("plain")
    expected = told.columns["sequence"][told.columns["symbol"] == "S1"].tolist()
    assert sequence(dataset.to_table(filter=F("symbol") == "S1")) == expected
    assert asked == []


def test_only_the_columns_of_the_query_are_made(stores: Any, made: list[set[str]]) -> None:
    dataset = stores("seekable").arrow_dataset()
    assert made == []
    for options, expected in (
        ({"columns": ["size"], "filter": F("price") > 3}, {"size", "price"}),
        ({"columns": {"x": F("size")}}, {"size"}),
        ({"columns": []}, {"ts_recv"}),
    ):
        made.clear()
        dataset.to_table(**options)
        assert {frozenset(columns) for columns in made} == {frozenset(expected)}
    made.clear()
    assert dataset.count_rows(filter=F("size") > 3) > 0
    assert {frozenset(columns) for columns in made} == {frozenset(["size"])}


def test_duckdb_pushes_columns_and_ids(
    stores: Any, made: list[set[str]], asked: list[dict[str, Any]]
) -> None:
    duckdb = pytest.importorskip("duckdb")
    trades = stores("plain").arrow_dataset()
    asked.clear()
    told = queries.told_of("plain")
    query = "select sum(size) from trades where instrument_id = 3"
    ((found,),) = duckdb.sql(query).fetchall()
    assert found == told.columns["size"][told.columns["instrument_id"] == 3].sum()
    assert {"instrument_ids": [3]} in asked
    assert all(columns <= {"size", "instrument_id"} for columns in made)
    del trades


def test_a_time_of_one_day_opens_the_file_of_that_day(stores: Any, opened: list[str]) -> None:
    dataset = stores("days").arrow_dataset()
    opened.clear()
    assert dataset.schema.names[0] == "ts_recv"
    day = datetime.datetime(2026, 1, 6, 12, tzinfo=datetime.UTC)
    hour = (F("ts_recv") >= day) & (F("ts_recv") < day + datetime.timedelta(hours=1))
    assert opened == []
    assert dataset.count_rows(filter=hour) > 0
    assert set(opened) == {"1.dbn.zst"}
    opened.clear()
    assert dataset.to_table(filter=F("ts_recv") < ns(-50)).num_rows == 0
    assert dataset.to_table(filter=ds.scalar(False)).num_rows == 0
    assert opened == []


def test_batches_are_not_read_far_ahead(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    n_read = 0

    def spied(store: Any, *args: Any, **options: Any) -> Any:
        nonlocal n_read
        for batch in plain(store, *args, **options):
            n_read += 1
            yield batch

    plain = dbnfast.Store.arrow_batches
    monkeypatch.setattr(dbnfast.Store, "arrow_batches", spied)
    monkeypatch.setattr("dbnfast.engines.scan.BLOCK", 1020)
    for name in ("ROOM", "OWN_ROOM"):
        monkeypatch.setattr(f"dbnfast.engines.ahead.{name}", 100)  # a batch has 84
    n_taken = 0
    for _ in stores("plain").arrow_dataset().to_batches(columns=["size"]):
        n_taken += 1
        time.sleep(0.01)
        assert n_read - n_taken <= 10
    assert n_taken == n_read > 20


# --- errors -------------------------------------------------------------------------------------


def test_a_wrong_column_schema_or_option_is_an_error(stores: Any) -> None:
    store = stores("plain")
    with pytest.raises(ValueError, match=r"no column 'prize'.*expected one of ts_recv"):
        store.arrow_dataset(columns=["prize"])
    with pytest.raises(ValueError, match="no schema of its own"):
        dbnfast.read(SAMPLE).arrow_dataset()
    dataset = store.arrow_dataset()
    for options in (
        {"columns": ["prize"]},
        {"columns": {"x": F("prize")}},
        {"filter": F("prize") == 1},
        {"filter": F("price") == "x"},
    ):
        with pytest.raises((pa.ArrowInvalid, pa.ArrowNotImplementedError)):
            dataset.to_table(**options)


def test_what_it_has_not_is_said_and_is_no_crash(stores: Any) -> None:
    dataset = stores("plain").arrow_dataset()
    with pytest.raises(NotImplementedError, match=r"Store\.parts"):
        dataset.get_fragments()
    with pytest.raises(NotImplementedError, match="schema follows"):
        ds.dataset([dataset, dataset])
    with pytest.raises(TypeError, match=r"use its scanner\(\) or to_table\(\)"):
        ds.Scanner.from_dataset(dataset)
    with pytest.raises(FileNotFoundError, match=r"use its scanner\(\) or to_table\(\)"):
        ds.UnionDataset(dataset.schema, [dataset]).to_table()


def test_damage_is_raised_when_the_dataset_is_scanned() -> None:
    data = streams.header() + streams.trades(200) + b"\x01" * 100
    dataset = dbnfast.read(data).arrow_dataset()
    with pytest.raises(dbnfast.DecodeError, match="record 200 at byte"):
        dataset.to_table()


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(dbnfast.MissingExtraError, match=r"dbnfast\[arrow\]"):
        dbnfast.read(SAMPLE).arrow_dataset("trades")


def test_a_cut_of_the_data_beyond_all_times(stores: Any) -> None:
    dataset = stores("plain").arrow_dataset()
    last = pa.scalar(2**63 - 1, pa.timestamp("ns", "UTC"))
    assert dataset.count_rows(filter=F("ts_recv") <= last) == queries.N
    assert dataset.count_rows(filter=F("ts_recv") == last) == 0
    first = pa.scalar(np.iinfo(np.int64).min, pa.timestamp("ns", "UTC"))
    assert dataset.count_rows(filter=F("ts_recv") >= first) == queries.N
