"""`InstrumentMap` and what is made with it give what the official ones give."""

from __future__ import annotations

import datetime
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import InstrumentMap, Metadata, SymbolMap, map_symbols_csv, map_symbols_json
from helpers.places import SAMPLE

UNDEFINED = 2**64 - 1
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(n) for n in range(40)]


def symbology(result: dict[str, Any], stype_in: str = "raw_symbol") -> dict[str, Any]:
    stype_out = "instrument_id" if stype_in == "raw_symbol" else "raw_symbol"
    return {
        "result": result, "symbols": list(result), "stype_in": stype_in, "stype_out": stype_out,
        "start_date": "2020-01-01", "end_date": "2020-03-01", "partial": [], "not_found": [],
        "message": "OK", "status": 0,
    }  # fmt: skip


def random_symbology(seed: int, stype_in: str) -> dict[str, Any]:
    rng = random.Random(seed)
    ids = [str(rng.randrange(1, 6)) for _ in range(4)]
    names = [f"SYM{n}" for n in range(4)]
    keys, values = (names, ids) if stype_in == "raw_symbol" else (sorted(set(ids)), names)
    result = {}
    for key in keys:
        intervals = []
        for _ in range(rng.randrange(4)):
            first, last = sorted(rng.sample(DAYS, 2))
            symbol = rng.choice([*values, ""])
            intervals.append({"d0": str(first), "d1": str(last), "s": symbol})
        result[key] = intervals
    return symbology(result, stype_in)


@pytest.fixture
def official() -> Any:
    return pytest.importorskip("databento")


def assert_equal(mine: InstrumentMap, theirs: Any) -> None:
    assert mine.build_symbol_map() == theirs.build_symbol_map()
    ids = [0, 1, 2, 3, 4, 5, 99]
    for id_ in ids:
        for day in DAYS:
            assert mine.resolve(id_, date=day) == theirs.resolve(id_, date=day)
    pairs = [(id_, day) for id_ in ids for day in DAYS]
    many = np.array([id_ for id_, _ in pairs], np.uint64)
    dates = np.array([day for _, day in pairs], "M8[D]")
    got = mine.resolve_many(many, dates=dates)
    assert got.tolist() == theirs.resolve_many(many, dates=dates).tolist()


@pytest.mark.parametrize("stype_in", ["raw_symbol", "instrument_id"])
@pytest.mark.parametrize("seed", range(12))
def test_json_gives_the_official_symbols(official: Any, seed: int, stype_in: str) -> None:
    mine, theirs = InstrumentMap(), official.InstrumentMap()
    for part in (seed, seed + 1000):
        data = random_symbology(part, stype_in)
        for each in (mine, theirs):
            each.insert_json(data if part == seed else json.dumps(data))
        assert_equal(mine, theirs)
    mine.clear()
    theirs.clear()
    assert_equal(mine, theirs)
    mine.insert_json(io.StringIO(json.dumps(random_symbology(seed, stype_in))))
    assert mine.build_symbol_map() or seed in range(12)


@pytest.mark.parametrize("seed", range(6))
def test_headers_of_both_packages_give_the_official_symbols(official: Any, seed: int) -> None:
    data = random_symbology(seed, "raw_symbol")
    mappings = {
        name: [
            {
                "start_date": datetime.date.fromisoformat(one["d0"]),
                "end_date": datetime.date.fromisoformat(one["d1"]),
                "symbol": one["s"],
            }
            for one in intervals
        ]
        for name, intervals in data["result"].items()
    }
    fields: dict[str, Any] = {"dataset": "X", "start": 0, "schema": "trades"}
    own = Metadata(**fields, stype_in="raw_symbol", stype_out="instrument_id", mappings=mappings)
    other = official.Metadata.decode(own.encode())
    assert other.mappings == mappings
    theirs = official.InstrumentMap()
    theirs.insert_metadata(other)
    for header in (own, other):
        mine = InstrumentMap()
        mine.insert_metadata(header)
        assert_equal(mine, theirs)
    assert repr(SymbolMap.from_metadata(other)) == repr(SymbolMap.from_metadata(own))
    times = np.array(DAYS, "M8[D]")
    for id_ in range(1, 6):
        ids = np.full(len(DAYS), id_, np.uint32)
        found = SymbolMap.from_metadata(other).resolve_many(ids, times)
        assert found.tolist() == SymbolMap.from_metadata(own).resolve_many(ids, times).tolist()


def test_mapping_records_give_the_official_symbols(official: Any) -> None:
    mine, theirs = InstrumentMap(), official.InstrumentMap()
    noon = 1_577_880_000 * 10**9  # 2020-01-01T12:00
    day = 86_400 * 10**9
    cases = [
        (1, "ES.c.0", "ESH0", UNDEFINED, UNDEFINED),
        (1, "ES.c.0", "ESM0", UNDEFINED, UNDEFINED),
        (2, "NQH0", "2", noon, noon + 3 * day),
        (2, "NQM0", "2", noon + 2 * day, noon + 9 * day),
        (3, "CLH0", "3", noon, noon),
        (4, "GCH0", "4", noon, UNDEFINED),
    ]
    for id_, name, out, start, end in cases:
        fields: dict[str, Any] = {
            "publisher_id": 1, "instrument_id": id_, "ts_event": noon, "stype_in_symbol": name,
            "stype_out_symbol": out, "start_ts": start, "end_ts": end,
        }  # fmt: skip
        record = dbnfast.SymbolMappingMsg(
            **fields, stype_in=dbnfast.SType.RAW_SYMBOL, stype_out=dbnfast.SType.INSTRUMENT_ID
        )
        other = official.SymbolMappingMsg(
            **fields, stype_in=official.SType.RAW_SYMBOL, stype_out=official.SType.INSTRUMENT_ID
        )
        assert bytes(record) == bytes(other)
        theirs.insert_symbol_mapping_msg(other)
        mine.insert_symbol_mapping_msg(record)
        assert_equal(mine, theirs)


def test_a_day_may_be_given_in_every_form(official: Any) -> None:
    pandas = pytest.importorskip("pandas")
    data = symbology({"A": [{"d0": "2020-02-01", "d1": "2020-02-02", "s": "1"}]})
    mine, theirs = InstrumentMap(), official.InstrumentMap()
    mine.insert_json(data)
    theirs.insert_json(data)
    for date in (
        datetime.date(2020, 2, 1),
        datetime.datetime(2020, 2, 1, 23, 59),
        np.datetime64("2020-02-01T10:00"),
        "2020-02-01",
        pandas.Timestamp("2020-02-01 10:00"),
        datetime.date(2020, 2, 2),
        pandas.Timestamp("2020-02-02"),
        np.datetime64("NaT", "ns"),
        datetime.date(1960, 1, 1),
    ):
        assert mine.resolve(1, date) == theirs.resolve(1, date)
    assert mine.resolve(1, pandas.NaT) is None
    assert mine.resolve(1, None) is None
    assert mine.resolve("1", datetime.date(2020, 2, 1)) == "A"  # as a row of CSV has it
    zone = datetime.timezone(datetime.timedelta(hours=-5))
    assert mine.resolve(1, datetime.datetime(2020, 1, 31, 20, tzinfo=zone)) == "A"
    with pytest.raises(TypeError, match="date is 5, expected a date"):
        mine.resolve(1, 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape \(1,\) and dates \(2,\)"):
        mine.resolve_many([1], ["2020-01-01", "2020-01-02"])


def test_what_has_no_ids_is_refused() -> None:
    data = symbology({"A": [{"d0": "2020-02-01", "d1": "2020-02-02", "s": "1"}]})
    mine = InstrumentMap()
    with pytest.raises(ValueError, match="instrument_id"):
        mine.insert_json({**data, "stype_out": "raw_symbol"})
    with pytest.raises(ValueError, match="'s1' in the mappings is no instrument id"):
        mine.insert_json(symbology({"A": [{"d0": "2020-02-01", "d1": "2020-02-02", "s": "s1"}]}))
    with pytest.raises(ValueError, match="'result' is missing"):
        mine.insert_json({})
    with pytest.raises(TypeError, match="int is no Metadata"):
        mine.insert_metadata(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int is no Metadata"):
        SymbolMap.from_metadata(3)  # type: ignore[arg-type]
    assert repr(mine) == "<InstrumentMap: 0 intervals of 0 instruments>"


SCHEMAS = ("trades", "ohlcv-1s", "definition", "mbo", "statistics")


def files_of(schema: str, folder: Path, **options: Any) -> tuple[Path, Path, Path]:
    """Files of a batch job: CSV and JSON without symbols, and the mappings beside them."""
    store = dbnfast.read(SAMPLE).filter(schema)
    store.to_csv(folder / "in.csv", map_symbols=False, schema=schema, **options)
    store.to_json(folder / "in.json", map_symbols=False, schema=schema, **options)
    ids = sorted({int(i) for i in store.to_ndarray(schema)["instrument_id"]})
    some = {
        f"SYM{n}": [{"d0": "1970-01-01", "d1": "2100-01-01", "s": str(id_)}]
        for n, id_ in enumerate(ids[::2])
    }
    (folder / "symbology.json").write_text(json.dumps(symbology(some)))
    return folder / "in.csv", folder / "in.json", folder / "symbology.json"


@pytest.mark.parametrize("pretty_ts", [True, False])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_get_the_symbols_that_the_official_functions_write(
    official: Any, tmp_path: Path, schema: str, pretty_ts: bool
) -> None:
    of_csv, of_json, mappings = files_of(schema, tmp_path, pretty_ts=pretty_ts)
    for name, source in (("map_symbols_csv", of_csv), ("map_symbols_json", of_json)):
        theirs = getattr(official, name)(mappings, source, tmp_path / "theirs")
        mine = getattr(dbnfast, name)(mappings, source, tmp_path / "mine")
        assert mine == tmp_path / "mine"
        assert mine.read_bytes() == theirs.read_bytes()
        assert b"SYM0" in mine.read_bytes()


def test_the_file_is_named_as_the_official_functions_name_it(official: Any, tmp_path: Path) -> None:
    of_csv, of_json, mappings = files_of("trades", tmp_path)
    names = [
        package.map_symbols_csv(mappings, of_csv).name
        for package in (official, dbnfast, official, dbnfast)
    ]
    assert names == ["in_mapped.csv", "in_mapped_0.csv", "in_mapped_1.csv", "in_mapped_2.csv"]
    assert map_symbols_json(str(mappings), str(of_json)) == tmp_path / "in_mapped.json"
    before = of_csv.read_bytes()
    for package in (official, dbnfast):
        with pytest.raises(ValueError, match="same"):
            package.map_symbols_csv(mappings, of_csv, of_csv)
        with pytest.raises(ValueError, match="does not exist"):
            package.map_symbols_csv(mappings, tmp_path / "none.csv")
        with pytest.raises(ValueError, match="file"):
            package.map_symbols_csv(mappings, tmp_path)
    assert of_csv.read_bytes() == before


def test_columns_of_symbols_that_are_there_are_filled_too(official: Any, tmp_path: Path) -> None:
    of_csv, _, mappings = files_of("trades", tmp_path)
    lines = of_csv.read_text().splitlines()
    text = "symbol," + "\nX,".join(lines) + "\n\n"
    of_csv.write_text(text)
    theirs = official.map_symbols_csv(mappings, of_csv, tmp_path / "theirs").read_bytes()
    assert map_symbols_csv(mappings, of_csv, tmp_path / "mine").read_bytes() == theirs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,b\n", "has the columns a, b"),
        ("ts_event,x\n", "expected 'instrument_id'"),
        ("ts_event,instrument_id\nyesterday,1\n", "line 2 of .*yesterday"),
    ],
)
def test_a_file_that_is_no_csv_of_records_is_refused_and_nothing_is_written(
    tmp_path: Path, text: str, said: str
) -> None:
    _, _, mappings = files_of("trades", tmp_path)
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        map_symbols_csv(mappings, tmp_path / "bad.csv", tmp_path / "out")
    (tmp_path / "bad.json").write_text('{"hd":{}}\n')
    with pytest.raises(ValueError, match=r"line 1 of .* is no record"):
        map_symbols_json(mappings, tmp_path / "bad.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_without_a_time_has_no_symbol(tmp_path: Path) -> None:
    _, _, mappings = files_of("trades", tmp_path)
    source = tmp_path / "some.csv"
    source.write_text(f"ts_recv,instrument_id\n,1\n{UNDEFINED},1\n0\n")
    out = map_symbols_csv(mappings, source)
    assert out.read_text() == f"ts_recv,instrument_id,symbol\n,1,\n{UNDEFINED},1,\n0,,\n"
