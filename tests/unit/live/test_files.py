"""Live data that goes on to other files keeps its symbols, and a store what it knows of them."""

from __future__ import annotations

import copy
import datetime
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import RType, SelectionWarning, SymbolMap
from dbnfast.files._split import split
from dbnfast.symbology.resolver import with_mappings
from helpers import streams
from helpers.peers import mapping

DAY = 86_400 * 10**9
NOON = DAY // 2
NOW = 400 * DAY  # of the gateway's clock: what it replays is older
HEAD = streams.header(schema=None, stype_in=255, start=0)


def trade(instrument_id: int, ts: int) -> bytes:
    made = dbnfast.empty("trades", 1)
    made["instrument_id"], made["ts_event"], made["ts_recv"] = instrument_id, ts, ts
    return made.tobytes()


def status(instrument_id: int, ts: int) -> bytes:
    made = dbnfast.empty("status", 1)
    made["instrument_id"], made["ts_event"], made["ts_recv"] = instrument_id, ts, ts
    return made.tobytes()


LIVE = HEAD + b"".join(
    (
        mapping(7, "ES.c.0", "ESH4", NOW),
        mapping(8, "NQ.c.0", "NQH4", NOW + 1),
        trade(7, NOON),
        trade(8, NOON + 1),
        status(7, DAY + NOON),
        mapping(9, "CL.c.0", "CLG4", NOW + 2),
        trade(9, DAY + NOON + 1),
        trade(7, DAY + NOON + 2),
    )
)


def symbols(source: Any, schema: str = "trades") -> list[str | None]:
    table = dbnfast.read(source).to_arrow(schema)
    return [None if value is None else str(value) for value in table["symbol"].to_pylist()]


@pytest.fixture
def live(tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow")
    path = tmp_path / "live.dbn"
    path.write_bytes(LIVE)
    assert symbols(path) == ["ESH4", "NQH4", "CLG4", "ESH4"]
    return path


def test_parts_by_schema(live: Path, tmp_path: Path) -> None:
    parts = split(live, tmp_path / "parts", by="schema")
    assert [part.name for part in parts] == [
        "glbx-mdp3.symbol-mapping.dbn", "glbx-mdp3.trades.dbn", "glbx-mdp3.status.dbn",
    ]  # fmt: skip
    assert symbols(parts[1]) == ["ESH4", "NQH4", "CLG4", "ESH4"]
    assert symbols(parts[2], "status") == ["ESH4"]
    whole = dbnfast.read(tmp_path / "parts")
    assert whole.counts == dbnfast.read(live).counts
    assert symbols(tmp_path / "parts") == ["ESH4", "NQH4", "CLG4", "ESH4"]


def test_parts_by_day(live: Path, tmp_path: Path) -> None:
    parts = split(live, tmp_path / "parts", by="day")
    with pytest.warns(SelectionWarning, match="there is no record of trades"):
        assert symbols(parts[0]) == []
    assert [symbols(part) for part in parts[1:]] == [["ESH4", "NQH4"], ["CLG4", "ESH4"]]
    assert symbols(tmp_path / "parts") == ["ESH4", "NQH4", "CLG4", "ESH4"]


def test_of_a_stream_the_first_block_tells(live: Path, tmp_path: Path) -> None:
    parts = split(io.BytesIO(LIVE), tmp_path / "parts", by="schema")
    assert symbols(parts[1]) == ["ESH4", "NQH4", "CLG4", "ESH4"]


def test_damage_is_found_where_it_is(live: Path, tmp_path: Path) -> None:
    live.write_bytes(LIVE + bytes(16))
    with pytest.raises(dbnfast.InvalidRecordError):
        split(live, tmp_path / "parts", by="schema")
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("compression", [None, "none", "zstd"])
def test_a_filtered_store_as_a_file(live: Path, tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "trades.dbn"
    dbnfast.read(live).filter("trades").to_file(path, compression=compression)
    found = dbnfast.read(path)
    assert found.counts == {RType.MBP_0: 4}
    assert symbols(path) == ["ESH4", "NQH4", "CLG4", "ESH4"]


def test_the_official_package_reads_the_symbols_of_parts(live: Path, tmp_path: Path) -> None:
    official = pytest.importorskip("databento").DBNStore
    parts = split(live, tmp_path / "parts", by="schema")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = official.from_file(parts[1]).to_df()
    assert frame["symbol"].tolist() == ["ESH4", "NQH4", "CLG4", "ESH4"]


def test_header_of_mapping_records() -> None:
    records = dbnfast.scan(
        HEAD
        + mapping(7, "ES.c.0", "ESH4", 5 * DAY)
        + mapping(7, "ES.c.0", "ESH4", 6 * DAY)
        + mapping(8, "NQ.c.0", "", 5 * DAY)
        + mapping(7, "ES.c.0", "ESM4", 7 * DAY + 5)
        + mapping(7, "ES.c.0", "ESU4", 7 * DAY + 6)
    )
    assert records.metadata is not None
    first, change, last = (
        datetime.date(1970, 1, 1), datetime.date(1970, 1, 8), datetime.date(2262, 1, 1),
    )  # fmt: skip
    found = with_mappings(records.metadata, [records])
    assert found.mappings == {
        "ESH4": [{"start_date": first, "end_date": change, "symbol": "7"}],
        "ESU4": [{"start_date": change, "end_date": last, "symbol": "7"}],
    }
    again = found.replace(
        mappings={**found.mappings, "CLG4": [(first, change, "9"), (change, last, "\u00b2")]}
    )
    other = dbnfast.scan(HEAD + mapping(7, "ES.c.0", "ESZ4", 9 * DAY))
    assert with_mappings(again, [other]).mappings == {
        "CLG4": [
            {"start_date": first, "end_date": change, "symbol": "9"},
            {"start_date": change, "end_date": last, "symbol": "\u00b2"},
        ],
        "ESZ4": [{"start_date": first, "end_date": last, "symbol": "7"}],
    }
    assert with_mappings(found, []) is found
    inverse = found.replace(stype_in="instrument_id", stype_out="raw_symbol", mappings={})
    assert with_mappings(inverse, [records]) is inverse


# what a store knows


def test_the_map_of_a_live_store_has_what_records_say(live: Path) -> None:
    store = dbnfast.read(live)
    for one in (store, store.filter("trades")):
        found = one.symbol_map()
        assert isinstance(found, SymbolMap)
        assert sorted(found.symbols) == ["CLG4", "ESH4", "NQH4"]
        assert found.resolve(7, NOON) == "ESH4"
        assert found.resolve(10, NOON) is None


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_store_is_pickled_and_copied_whatever_it_was_used_for(
    live: Path, in_memory: bool
) -> None:
    store = dbnfast.read(LIVE if in_memory else live)
    before = store.to_arrow("trades")
    store.records(), store.counts, store.symbol_map()
    for again in (pickle.loads(pickle.dumps(store)), copy.copy(store), copy.deepcopy(store)):
        assert again.to_arrow("trades") == before
        assert again.counts == store.counts
        assert repr(again) == repr(store)


def test_a_store_whose_file_is_gone_has_a_repr(live: Path) -> None:
    store = dbnfast.read([live, live])  # a store of one file keeps it open
    live.unlink()
    assert "records=not readable ([Errno 2] No such file" in repr(store)
    assert "size unknown" in store._repr_html_()


def test_files_of_tbbo_and_mbp_1_are_of_one_type() -> None:
    one = dbnfast.empty("tbbo", 2)
    one["ts_recv"] = [1, 4]
    other = dbnfast.empty("mbp-1", 3)
    other["ts_recv"] = [2, 3, 5]
    one["action"] = other["action"] = b"T"
    store = dbnfast.read(
        [
            streams.header(schema="tbbo") + one.tobytes(),
            streams.header(schema="mbp-1") + other.tobytes(),
        ]
    )
    assert store.schema is None
    for schema in ("tbbo", "mbp-1", RType.MBP_1, ["trades", "tbbo"]):
        found = store.filter(schema)
        assert found.counts == {RType.MBP_1: 5}
        assert found.records().array()["ts_recv"].tolist() == [1, 2, 3, 4, 5]
    assert len(store.to_ndarray("mbp-1")) == 5
    assert len(store.to_ndarray("tbbo")) == 5
    assert np.array_equal(store.filter("tbbo").to_ndarray(), store.to_ndarray("mbp-1"))
