"""Dask frames: the same rows in any number of partitions, on threads, processes and a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from helpers import streams
from helpers.places import FIXTURES, SAMPLE

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")

DAY = 86_400 * 10**9
FIRST = 1_767_571_200 * 10**9  # 2026-01-05
N = 3000  # of a day
KINDS = {"symbol": "str", "action": "str", "side": "str"}


def day(number: int, symbols: dict[str, int]) -> bytes:
    rng = np.random.default_rng(number)
    start = FIRST + number * DAY
    array = dbnfast.empty("trades", N).copy()
    array["ts_recv"] = np.sort(rng.integers(start, start + DAY, N).astype(np.uint64))
    array["ts_event"] = array["ts_recv"] - np.uint64(1000)
    array["instrument_id"] = rng.choice([*symbols.values(), 999], N)  # 999 has no symbol
    array["price"] = rng.integers(1, 100, N) * 10**9
    array["price"][::50] = dbnfast.UNDEF_PRICE
    array["size"] = rng.integers(1, 10, N)
    array["action"], array["side"] = b"T", rng.choice([b"A", b"B", b"N"], N)
    array["action"][0] = b"" if number else b"T"
    mappings = bytes(12) + streams.mapping_list(
        [
            (name.encode(), [(20010101, 20300101, str(id_).encode())])
            for name, id_ in symbols.items()
        ]
    )
    header = streams.header(start=start, end=start + DAY, lists=mappings)
    return header + array.tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days, each with symbols of its own; the second is compressed."""
    made: Path = tmp_path_factory.mktemp("days")
    for number, symbols in enumerate(({"B": 1, "A": 2}, {"A": 2, "D": 4}, {"C": 3, "B": 1})):
        data = day(number, symbols)
        if number == 1:
            (made / "1.dbn.zst").write_bytes(streams.frame(data))
        else:
            (made / f"{number}.dbn").write_bytes(data)
    return made


def expected(store: Any, schema: str | None = None, **options: Any) -> Any:
    """What pandas makes of it all at once."""
    return store.to_df(schema=schema, **options).reset_index()


def computed(frame: Any) -> Any:
    return frame.compute(scheduler="synchronous").reset_index(drop=True)


@pytest.mark.parametrize("max_bytes", [256 << 20, 40_000])
def test_the_rows_of_all_files(folder: Path, max_bytes: int) -> None:
    store = dbnfast.read(folder)
    frame = dbnfast.dask.read(folder, max_bytes=max_bytes)
    assert frame.npartitions == (3 if max_bytes > 10**6 else 9)
    assert not frame.known_divisions
    found = computed(frame)
    pd.testing.assert_frame_equal(found.astype(KINDS), expected(store))
    assert list(found["symbol"].cat.categories) == ["A", "B", "C", "D"]
    # the official package, which reads a file at a time
    databento = pytest.importorskip("databento")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = [
            databento.DBNStore.from_file(path).to_df().reset_index()
            for path in sorted(folder.iterdir())
        ]
    pd.testing.assert_frame_equal(found.astype(KINDS), pd.concat(official, ignore_index=True))


def test_types_are_those_of_the_frame_in_every_partition(folder: Path) -> None:
    frame = dbnfast.dask.read(folder, max_bytes=40_000)
    meta = frame.dtypes.to_dict()
    for part in frame.to_delayed():
        (piece,) = dask.compute(part, scheduler="synchronous")
        assert piece.dtypes.to_dict() == meta
        for name in ("symbol", "action", "side"):
            assert piece[name].cat.categories.equals(frame._meta[name].cat.categories)


@pytest.mark.parametrize(
    "options",
    [
        {"categorical": False},
        {"price_type": "fixed", "pretty_ts": False},
        {"tz": "America/New_York", "map_symbols": False},
        {"price_type": "decimal", "columns": ["price", "symbol"]},
        {"columns": ["size", "ts_recv", "symbol"], "categorical": False},
    ],
)
def test_options_are_those_of_to_df(folder: Path, options: dict[str, Any]) -> None:
    frame = dbnfast.dask.read(folder, **options)
    wanted = expected(dbnfast.read(folder), **options)
    wanted = wanted[list(options.get("columns", wanted.columns))]
    found = computed(frame)
    assert found.dtypes.to_dict() == frame.dtypes.to_dict()
    kinds = {name: kind for name, kind in KINDS.items() if name in found}
    pd.testing.assert_frame_equal(found.astype(kinds), wanted.astype(kinds))


def test_only_the_columns_that_are_needed_are_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbnfast.store.parts import Part

    asked = []
    real = Part.to_df

    def to_df(self: Any, **options: Any) -> Any:
        asked.append(options["columns"])
        return real(self, **options)

    monkeypatch.setattr(Part, "to_df", to_df)
    frame = dbnfast.dask.read(folder)
    assert not asked  # nothing is read to know the types
    total = frame.groupby("symbol", observed=False)["size"].sum().compute(scheduler="synchronous")
    assert {frozenset(names) for names in asked} == {frozenset({"symbol", "size"})}
    wanted = dbnfast.read(folder).to_df().groupby("symbol")["size"].sum()
    assert total.to_dict() == wanted.to_dict()
    asked.clear()
    assert len(frame) == 3 * N


def test_what_frames_do(folder: Path) -> None:
    frame, whole = dbnfast.dask.read(folder, max_bytes=40_000), expected(dbnfast.read(folder))
    time = pd.Timestamp("2026-01-06T12:00", tz="UTC")
    frame["hour"] = frame.ts_recv.dt.floor("h")
    whole["hour"] = whole.ts_recv.dt.floor("h")
    late, wanted = frame[frame.ts_event >= time], whole[whole.ts_event >= time]
    found = late.groupby(["symbol", "hour"], observed=True).agg({"size": "sum", "price": "mean"})
    with dask.config.set(scheduler="threads"):
        found = found.compute().sort_index()
    wanted = wanted.groupby(["symbol", "hour"]).agg({"size": "sum", "price": "mean"})
    found.index = found.index.set_levels(found.index.levels[0].astype("str"), level=0)
    pd.testing.assert_frame_equal(found, wanted, check_index_type=False)


def test_a_filtered_store(folder: Path) -> None:
    store = dbnfast.read(folder)
    chosen = store.filter(start="2026-01-06T12:00", end="2026-01-07", symbols=["A", "D"])
    frame = dbnfast.dask.read(chosen)
    assert frame.npartitions == 1  # the headers leave out the other files
    pd.testing.assert_frame_equal(computed(frame).astype(KINDS), expected(chosen))
    none = dbnfast.dask.read(store.filter(end="2020-01-01"))
    assert len(none) == 0
    assert none.dtypes.to_dict() == frame.dtypes.to_dict()


def test_mixed_and_live_data() -> None:
    frame = dbnfast.dask.read(SAMPLE, "trades")
    wanted = expected(dbnfast.read(SAMPLE), "trades")
    pd.testing.assert_frame_equal(computed(frame).astype(KINDS), wanted)
    with pytest.raises(ValueError, match="schema"):
        dbnfast.dask.read(SAMPLE)
    assert len(dbnfast.dask.read(dbnfast.read(SAMPLE).filter("mbo"))) == 1500

    body = bytes(73) + b"LIVE".ljust(71, b"\0") + bytes(16)
    mapping = streams.record(0x16, 176, instrument_id=100, body=body)
    array = dbnfast.empty("trades", 2).copy()
    array["instrument_id"] = 100, 101
    array["ts_recv"] = FIRST
    live = dbnfast.read(streams.header(schema=None) + mapping + array.tobytes())
    frame = dbnfast.dask.read(live, "trades")
    assert frame["symbol"].dtype == "str"
    assert computed(frame)["symbol"].fillna("none").tolist() == ["LIVE", "none"]


@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize("schema", ["definition", "status", "statistics", "imbalance", "mbp-10"])
def test_other_schemas(schema: str, version: int) -> None:
    path = FIXTURES / f"{schema}.v{version}.dbn"
    frame = dbnfast.dask.read(path, max_bytes=4096)
    wanted = expected(dbnfast.read(path))
    found = computed(frame)
    kinds = {name: wanted[name].dtype for name in KINDS if name in found}
    pd.testing.assert_frame_equal(found.astype(kinds), wanted)


def test_symbols_that_were_added(folder: Path) -> None:
    store = dbnfast.read(folder)
    day = {"d0": "2020-01-01", "d1": "2030-01-01", "s": "999"}
    store.insert_symbology_json(
        {"result": {"Z": [day]}, "symbols": ["Z"], "stype_in": "raw_symbol",
         "stype_out": "instrument_id", "start_date": "2020-01-01", "end_date": "2030-01-01",
         "partial": [], "not_found": [], "message": "OK", "status": 0}
    )  # fmt: skip
    found = computed(dbnfast.dask.read(store))
    assert list(found["symbol"].cat.categories) == ["A", "B", "C", "D", "Z"]
    pd.testing.assert_frame_equal(found.astype(KINDS), expected(store))


def test_no_symbols_at_all() -> None:
    store = dbnfast.read(streams.header() + streams.trades(5))
    for categorical in (True, False):
        frame = dbnfast.dask.read(store, categorical=categorical)
        found = computed(frame)
        assert found["symbol"].isna().all()
        assert found.dtypes.to_dict() == frame.dtypes.to_dict()


def test_a_character_that_is_none() -> None:
    array = dbnfast.empty("trades", 2).copy()
    array["action"], array["side"] = b"T", b"Z"
    frame = dbnfast.dask.read(dbnfast.read(streams.header() + array.tobytes()))
    with pytest.raises(ValueError, match=r"side has 'Z'.*categorical=False"):
        computed(frame)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"columns": ["prise"]}, ValueError, "price"),
        ({"columns": "price"}, TypeError, "list of names"),
        ({"count": 5}, TypeError, "'count'"),
        ({"kolumns": ["price"]}, TypeError, "'kolumns'"),
        ({"price_type": "gold"}, ValueError, "gold"),
        ({"schema": "nonsense"}, ValueError, "nonsense"),
        ({"max_bytes": 10}, ValueError, "4096"),
    ],
)
def test_what_is_refused(
    folder: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        dbnfast.dask.read(folder, **options)


def test_a_missing_library_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "dask"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(dbnfast.MissingExtraError, match=r"dbnfast\[dask\]"):
        dbnfast.dask.read(folder)


def test_the_module_is_there_without_an_import() -> None:
    code = (
        "import sys, dbnfast; assert 'dask' not in sys.modules; dbnfast.dask.read; "
        "assert 'dask' not in sys.modules; import dask; assert dask is not dbnfast.dask"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- a cluster


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two worker processes, which are started again when they die."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = distributed.LocalCluster(
            host="127.0.0.1", n_workers=2, threads_per_worker=1, processes=True,
            dashboard_address=None, worker_dashboard_address=None, silence_logs=50,
        )  # fmt: skip
        client = distributed.Client(cluster)
        yield client
        client.close()
        cluster.close()


@pytest.mark.filterwarnings("default")
def test_a_cluster_of_which_a_process_is_killed(client: Any, folder: Path, tmp_path: Path) -> None:
    store = dbnfast.read(folder)
    frame = dbnfast.dask.read(store, max_bytes=40_000)
    mark = tmp_path / "killed"

    def once(piece: Any) -> Any:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return piece
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return piece

    time = pd.Timestamp("2026-01-06", tz="UTC")
    frame = frame[frame.ts_event >= time].map_partitions(once, meta=frame._meta)
    found = frame.groupby("symbol", observed=False)["size"].sum().compute()
    assert mark.exists()
    whole = expected(store)
    wanted = whole[whole.ts_event >= time].groupby("symbol")["size"].sum()
    assert found.to_dict() == wanted.to_dict()


@pytest.mark.filterwarnings("default")
def test_a_cluster_writes_parquet(client: Any, folder: Path, tmp_path: Path) -> None:
    dbnfast.dask.read(folder, max_bytes=40_000).to_parquet(tmp_path / "out")
    back = pd.read_parquet(tmp_path / "out").sort_values("ts_recv").reset_index(drop=True)
    wanted = expected(dbnfast.read(folder)).sort_values("ts_recv").reset_index(drop=True)
    pd.testing.assert_frame_equal(back.astype(KINDS), wanted)
