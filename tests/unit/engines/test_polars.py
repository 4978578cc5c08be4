"""scan_polars: the rows that a plain pass gives, and little read for them."""

from __future__ import annotations

import datetime
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast.store.sources import Source
from helpers import queries, streams
from helpers.places import SAMPLE

pl = pytest.importorskip("polars")
pytest.importorskip("pyarrow")

COLUMNS = ["ts_recv", "instrument_id", "publisher_id", "symbol", "size", "price", "sequence"]


def scan(store: Any, **options: Any) -> Any:
    return dbnfast.scan_polars(store, "trades", **options)


def rows(frame: Any, engine: str = "streaming") -> list[int]:
    found: list[int] = frame.collect(engine=engine)["sequence"].to_list()
    return found


# --- the same rows ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", queries.KINDS)
def test_a_scan_is_the_frame_of_the_store(stores: Any, kind: str) -> None:
    store = stores(kind)
    frame = scan(store)
    told = queries.told_of(kind)
    expected = store.to_polars("trades")
    assert frame.collect_schema() == expected.schema
    found = frame.collect()
    assert found.equals(expected)
    for name, values in told.columns.items():
        listed = [one if ok else None for one, ok in zip(values, told.known[name], strict=True)]
        column = found[name].cast(pl.Int64) if name == "ts_recv" else found[name]
        assert column.to_list() == listed


@settings(max_examples=150)
@given(
    kind=st.sampled_from(queries.KINDS),
    tree=queries.predicates(),
    engine=st.sampled_from(["streaming", "in-memory"]),
)
@example("frame", ("not", ("cmp", "symbol", "==", "S1")), "in-memory")
@example("mixed", ("or", ("null", "ts_recv"), ("cmp", "instrument_id", "==", 1)), "in-memory")
def test_a_predicate_passes_the_rows_of_a_plain_pass(
    stores: Any, kind: str, tree: Any, engine: str
) -> None:
    told = queries.told_of(kind)
    expected = told.columns["sequence"][queries.hits(tree, told)].tolist()
    filtered = scan(stores(kind)).filter(queries.as_polars(tree))
    assert rows(filtered, engine) == expected


@given(
    kind=st.sampled_from(["plain", "days", "mixed"]),
    tree=queries.predicates(),
    n=st.integers(0, 700),
    columns=st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True),
)
def test_the_first_rows_of_some_columns(
    stores: Any, kind: str, tree: Any, n: int, columns: list[str]
) -> None:
    told = queries.told_of(kind)
    passed = np.flatnonzero(queries.hits(tree, told))
    predicate = queries.as_polars(tree)
    frame = scan(stores(kind))
    wanted = frame.select(columns).collect()
    assert wanted.columns == columns
    found = frame.filter(predicate).head(n).select(columns).collect()
    assert found.equals(wanted[passed[:n].tolist()])
    found = frame.head(n).filter(predicate).select(columns).collect()
    assert found.equals(wanted[passed[passed < n].tolist()])
    assert frame.select(columns).head(n).collect().equals(wanted[:n])
    assert frame.select(columns).tail(n).collect().equals(wanted.tail(n))


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
def test_options_are_those_of_to_polars(stores: Any, options: dict[str, Any]) -> None:
    store = stores("plain")
    expected = store.to_polars(**options)
    frame = dbnfast.scan_polars(store, **options)
    assert frame.collect_schema() == expected.schema
    assert frame.collect().equals(expected)
    time = expected["ts_recv"][200]
    late = pl.col("ts_recv") >= time
    assert frame.filter(late).collect().equals(expected[200:])


@pytest.mark.parametrize("form", ["path", "text", "pattern", "list", "bytes", "folder"])
def test_sources_are_those_of_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.dbn"
    path.write_bytes(streams.header() + streams.trades(20))
    sources: dict[str, Any] = {
        "path": path, "text": str(path), "pattern": str(tmp_path / "*.dbn"), "list": [path],
        "bytes": path.read_bytes(), "folder": tmp_path,
    }  # fmt: skip
    assert dbnfast.scan_polars(sources[form]).select(pl.len()).collect().item() == 20


def test_storage_options_are_handed_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def spied(source: Any, **options: Any) -> Any:
        given.append(options)
        return dbnfast.read(source)

    monkeypatch.setattr("dbnfast.engines.polars.read", spied)
    data = streams.header() + streams.trades(2)
    dbnfast.scan_polars(data, storage_options={"anon": True})
    dbnfast.scan_polars(data)
    assert given == [{"storage_options": {"anon": True}}, {}]


def test_a_filter_and_added_symbols_of_the_store_are_its_own(stores: Any) -> None:
    told = queries.told_of("plain")
    store = stores("plain").filter(instrument_ids=[2, 6])
    date = {"d0": "2026-01-01", "d1": "2026-02-01", "s": "6"}
    store.insert_symbology_json(
        {
            "result": {"SIX": [date]}, "symbols": ["SIX"], "partial": [], "not_found": [],
            "stype_in": "raw_symbol", "stype_out": "instrument_id", "status": 0, "message": "OK",
            "start_date": "2026-01-01", "end_date": "2026-02-01",
        }
    )  # fmt: skip
    six = told.columns["sequence"][told.columns["instrument_id"] == 6]
    assert rows(scan(store).filter(pl.col("symbol") == "SIX")) == six.tolist()
    assert rows(scan(store).filter(pl.col("instrument_id").is_in([1, 6]))) == six.tolist()


def test_files_of_tbbo_and_mbp_1_side_by_side(tmp_path: Path) -> None:
    for day, schema in enumerate(("tbbo", "mbp-1")):
        array = dbnfast.empty(schema, 100).copy()
        array["ts_recv"] = queries.T0 + day * queries.DAY + np.arange(100)
        metadata = dbnfast.Metadata(
            dataset="XNAS.ITCH", schema=schema, start=queries.T0 + day * queries.DAY,
            end=queries.T0 + (day + 1) * queries.DAY,
        )  # fmt: skip
        (tmp_path / f"{day}.dbn").write_bytes(dbnfast.encode(array, metadata))
    frame = dbnfast.scan_polars(tmp_path, "mbp-1", map_symbols=False)
    assert frame.select(pl.len()).collect().item() == 200


# --- what is pushed -----------------------------------------------------------------------------

C = pl.col
AT = queries.time_at


# earlier versions have no such option
NULLS: dict[str, Any] = (
    {"nulls_equal": True} if "nulls_equal" in signature(pl.Expr.is_in).parameters else {}
)


def NS(number: int) -> Any:
    """A time as a literal in ns: Polars holds what is in us for all of that us."""
    return pl.lit(AT(number), dtype=pl.Datetime("ns", "UTC"))


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (C("ts_recv") >= NS(250), {"start": 250}),
        (C("ts_recv") > NS(250), {"start": (250, 1)}),
        (C("ts_recv") < NS(250), {"end": 250}),
        (NS(250) < C("ts_recv"), {"start": (250, 1)}),
        (C("ts_recv") <= NS(250), {"end": (250, 1)}),
        (C("ts_recv") == NS(250), {"start": 250, "end": (250, 1)}),
        (
            C("ts_recv").is_in(pl.Series([AT(3), AT(1)], dtype=pl.Datetime("ns", "UTC")).implode()),
            {"start": 1, "end": (3, 1)},
        ),
        (C("ts_recv").is_between(NS(1), NS(9)), {"start": 1, "end": (9, 1)}),
        (C("ts_recv").is_between(NS(1), NS(9), closed="left"), {"start": 1, "end": 9}),
        (C("ts_recv").is_between(NS(1), NS(9), "right"), {"start": (1, 1), "end": (9, 1)}),
        (C("ts_recv").is_between(NS(1), NS(9), closed="none"), {"start": (1, 1), "end": 9}),
        (C("ts_recv") >= AT(250), {"start": 250}),
        (C("ts_recv") >= pl.lit(AT(250)).cast(pl.Datetime("ns", "UTC")), {"start": 250}),
        (C("ts_recv") >= pl.lit(AT(250), dtype=pl.Datetime("ms", "UTC")), {"start": 250}),
        (C("ts_recv").cast(pl.Datetime("us", "UTC")) < AT(250), {"end": 250}),
        (C("instrument_id").cast(pl.Int64) == 3, {"instrument_ids": [3]}),
        (C("symbol").cast(pl.String) == "S1", {"symbols": ["S1"]}),
        (C("instrument_id") == 3, {"instrument_ids": [3]}),
        (pl.lit(3) == C("instrument_id"), {"instrument_ids": [3]}),
        (C("instrument_id").is_in([5, 3]), {"instrument_ids": [3, 5]}),
        ((C("instrument_id") == 3) | (C("instrument_id") == 4), {"instrument_ids": [3, 4]}),
        (C("publisher_id") == pl.lit(2, pl.UInt16), {"publishers": [2]}),
        (C("symbol") == "S1", {"symbols": ["S1"]}),
        (C("symbol").is_in(["S2", "S1"]), {"symbols": ["S1", "S2"]}),
        (
            (C("ts_recv") >= AT(5)) & (C("size") % 2 == 0) & (C("publisher_id") == 1),
            {"start": 5, "publishers": [1]},
        ),
        (
            ((C("ts_recv") < AT(5)) & (C("size") > 3)) | (C("ts_recv") < AT(7)),
            {"end": 7},
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, pl.Expr) else "",
)
def test_what_is_recognised_goes_to_the_filter(
    stores: Any, asked: list[dict[str, Any]], predicate: Any, expected: dict[str, Any]
) -> None:
    frame = scan(stores("plain"))
    asked.clear()
    found = rows(frame.filter(predicate))
    assert asked
    for name in ("start", "end"):
        if name in expected:
            number, more = np.broadcast_to(expected[name], 2) * (1, np.ndim(expected[name]))
            expected = {**expected, name: queries.T0 + int(number) * queries.STEP + int(more)}
    assert asked[0] == expected
    assert found == rows(frame.collect().lazy().filter(predicate), "in-memory")


@pytest.mark.parametrize(
    "predicate",
    [
        C("price") > 50,
        C("ts_event") > AT(5),
        C("instrument_id") > 3,
        C("instrument_id") != 3,
        ~(C("instrument_id") == 3),
        C("symbol") > "S2",
        C("symbol").is_null(),
        C("instrument_id").cast(pl.UInt8) == 3,
        C("ts_recv").cast(pl.Date) > AT(250).date(),
        C("symbol").cast(pl.String).str.ends_with("2"),
        (C("instrument_id") == 3) | (C("publisher_id") == 1),
        (C("instrument_id") == 3) | (C("size") % 2 == 0),
        (C("instrument_id") == 3) ^ (C("publisher_id") == 1),
        C("instrument_id") == C("publisher_id"),
        C("instrument_id") == C("instrument_id").max(),
        C("instrument_id").is_in([1, None]),
        C("instrument_id").is_in([1, None], **NULLS),
        C("symbol").is_in(["S1", None], **NULLS),
        C("symbol").eq_missing(pl.lit(None)),
        C("instrument_id") == 3.5,
        C("ts_recv").dt.hour() == 3,
        C("ts_recv").cast(pl.Int64) >= queries.T0 + 250 * queries.STEP,
        C("size").is_between(3, 9),
        pl.lit(True),
        pl.lit(False),
    ],
    ids=str,
)
def test_what_is_not_recognised_pushes_nothing_and_is_applied(
    stores: Any, asked: list[dict[str, Any]], predicate: Any
) -> None:
    frame = scan(stores("plain"))
    asked.clear()
    found = rows(frame.filter(predicate))
    assert asked == []
    assert found == rows(frame.collect().lazy().filter(predicate), "in-memory")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        '{"BinaryExpr": {}}',
        '{"BinaryExpr": {"left": 1, "op": [], "right": 2}}',
        '{"Function": {"function": {"Boolean": {"IsIn": 0}}, "input": [1, {"Literal": 3}]}}',
    ],
)
def test_a_form_of_another_version_of_polars_pushes_nothing(
    stores: Any, asked: list[dict[str, Any]], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = type(pl.lit(1).meta)
    monkeypatch.setattr(meta, "serialize", lambda *_, **__: text)
    frame = scan(stores("plain"))
    asked.clear()
    told = queries.told_of("plain")
    expected = told.columns["sequence"][told.columns["instrument_id"] == 3]
    assert rows(frame.filter(C("instrument_id") == 3)) == expected.tolist()
    assert asked == []


def test_only_the_columns_of_the_query_are_made(stores: Any, made: list[set[str]]) -> None:
    frame = scan(stores("seekable"))
    assert made == []
    frame.filter(C("price") > 3).select("size").collect()
    assert made
    assert {frozenset(columns) for columns in made} == {frozenset(("price", "size"))}
    made.clear()
    frame.select(pl.len()).collect()
    assert {len(columns) for columns in made} == {1}


def test_a_time_of_one_day_opens_the_file_of_that_day(stores: Any, opened: list[str]) -> None:
    store = stores("days")
    opened.clear()
    frame = scan(store)
    assert frame.collect_schema().names()[0] == "ts_recv"
    assert opened == []
    day = datetime.datetime(2026, 1, 6, 12, tzinfo=datetime.UTC)
    assert len(rows(frame.filter(C("ts_recv").is_between(day, day + datetime.timedelta(0, 3600)))))
    assert set(opened) == {"1.dbn.zst"}


def test_a_time_reads_the_frames_that_have_it(stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []

    def spied(source: Any, frames: Any, *args: Any) -> Any:
        numbers.extend(frames)
        return plain(source, frames, *args)

    plain = Source.of_frames
    monkeypatch.setattr(Source, "of_frames", spied)
    frame = scan(stores("seekable"))
    assert len(rows(frame)) == queries.N
    n_frames = len(numbers)
    assert n_frames > 3
    numbers.clear()
    assert rows(frame.filter(C("ts_recv") == AT(300))) == [300]
    assert len(numbers) == 1


def test_nothing_is_read_where_nothing_can_pass(stores: Any, opened: list[str]) -> None:
    frame = scan(stores("days"))
    opened.clear()
    for predicate in (
        (C("ts_recv") > AT(50)) & (C("ts_recv") < AT(40)),
        (C("instrument_id") == 3) & (C("instrument_id") == 4),
        C("symbol").is_in(["S1"]) & C("symbol").is_in(["S2"]),
        C("ts_recv") < datetime.datetime(1969, 1, 1, tzinfo=datetime.UTC),
    ):
        assert frame.filter(predicate).collect().shape == (0, 14)
    assert opened == []


def test_the_first_rows_are_not_all_that_is_read(tmp_path: Path, opened: list[str]) -> None:
    array = dbnfast.empty("trades", 1000).copy()
    for day in range(40):
        start = queries.T0 + day * queries.DAY
        array["ts_recv"] = start
        metadata = dbnfast.Metadata(
            dataset="XNAS.ITCH", schema="trades", start=start, end=start + queries.DAY
        )
        (tmp_path / f"{day:02}.dbn").write_bytes(dbnfast.encode(array, metadata))
    frame = dbnfast.scan_polars(tmp_path, columns=["price"])
    opened.clear()
    assert frame.head(10).collect().height == 10
    assert 0 < len(set(opened)) < 40


# --- errors -------------------------------------------------------------------------------------


def test_a_wrong_column_schema_or_option_is_said_at_once() -> None:
    data = streams.header() + streams.trades(2)
    with pytest.raises(ValueError, match=r"no column 'prize'.*expected one of ts_recv"):
        dbnfast.scan_polars(data, columns=["prize"])
    with pytest.raises(TypeError, match="expected a list of names"):
        dbnfast.scan_polars(data, columns="price")
    with pytest.raises(ValueError, match="no schema of its own"):
        dbnfast.scan_polars(SAMPLE)
    with pytest.raises(ValueError, match="tradez"):
        dbnfast.scan_polars(data, "tradez")
    with pytest.raises(FileNotFoundError):
        dbnfast.scan_polars("no such file.dbn")
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="prize"):
        dbnfast.scan_polars(data).select("prize").collect()


def test_damage_is_raised_when_the_frame_is_collected() -> None:
    data = streams.header() + streams.trades(200) + b"\x01" * 100
    frame = dbnfast.scan_polars(data)
    with pytest.raises(Exception, match="record 200 at byte"):
        frame.collect()


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_a_missing_library_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(dbnfast.MissingExtraError, match=r"dbnfast\[polars\]"):
        dbnfast.scan_polars(SAMPLE, "trades")


def test_a_cut_file_is_a_warning_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.dbn"
    path.write_bytes(streams.header() + streams.trades(200)[:-7])
    frame = dbnfast.scan_polars(path)
    with pytest.warns(dbnfast.TruncatedWarning, match=r"cut\.dbn"):
        assert frame.collect().height == 199
    with pytest.warns(dbnfast.TruncatedWarning, match=r"cut\.dbn"):
        assert dbnfast.read(path).arrow_dataset().count_rows() == 199
