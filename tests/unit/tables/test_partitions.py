"""Parquet in folders: every row once, in the folder of its values, whoever reads them."""

from __future__ import annotations

import datetime
import errno
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

import dbnfast
from dbnfast._util.trees import Tree
from dbnfast.tables import partitions
from helpers import streams

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
dataset = pytest.importorskip("pyarrow.dataset")

DAY = 86_400 * 10**9
FIRST = 1_767_571_200 * 10**9  # 2026-01-05
SYMBOLS = ["ES.FUT", "BRK B", "A/B", "ü", "x=y", "100%", "~a-b_c", "it's", "a:b", "+ES"]
NONE = "__HIVE_DEFAULT_PARTITION__"
MAPPINGS = bytes(12) + streams.mapping_list(
    [
        (symbol.encode(), [(20010101, 20300101, str(100 + i).encode())])
        for i, symbol in enumerate(SYMBOLS)
    ]
)


def made(n: int, days: int = 3) -> bytes:
    """Trades of some days; some have no symbol, some no time."""
    rng = np.random.default_rng(n)
    array = dbnfast.empty("trades", n).copy()
    array["ts_recv"] = np.sort(rng.integers(FIRST, FIRST + days * DAY, n).astype(np.uint64))
    array["ts_recv"][:: n // 3] = dbnfast.UNDEF_TIMESTAMP
    array["ts_event"] = array["ts_recv"] - np.uint64(5)
    array["instrument_id"] = 100 + rng.integers(0, 12, n)  # the last two have no symbol
    array["publisher_id"] = rng.integers(1, 3, n)
    array["price"] = rng.integers(1, 100, n) * 10**9
    array["size"] = 1
    array["action"], array["side"] = b"T", b"A"
    array["sequence"] = np.arange(n)
    return streams.header(lists=MAPPINGS) + array.tobytes()


DATA = made(600)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 50 trades, little room, and three open files."""
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", 2400)
    monkeypatch.setattr(partitions, "ROOM", 9000)
    monkeypatch.setattr(partitions, "MOST_OPEN", 3)


def plain(store: Any, folder: Path, **options: Any) -> Any:
    """The rows of one file, in the order of the stream."""
    path = folder / "plain.parquet"
    store.to_parquet(path, **options)
    return parquet.read_table(path)


def rows_of(table: Any) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: row["sequence"])


def date_of(row: dict[str, Any]) -> Any:
    return None if row["ts_recv"] is None else str(row["ts_recv"].date())


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize(
    "by", ["date", "symbol", ("date", "symbol"), ["publisher_id", "date"], "instrument_id"]
)
def test_every_row_is_in_its_folder(by: Any, tmp_path: Path) -> None:
    store = dbnfast.read(DATA)
    wanted = rows_of(plain(store, tmp_path))
    folder = tmp_path / "table"
    store.to_parquet(folder, partition_by=by)
    names = [by] if isinstance(by, str) else list(by)
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        parts = path.relative_to(folder).parts[:-1]
        assert [part.partition("=")[0] for part in parts] == names
        file = parquet.ParquetFile(path)
        assert not set(names) & set(file.schema_arrow.names)
        table = file.read()
        assert table.num_rows
        values = {
            name: None if value == NONE else unquote(value)
            for name, _, value in (part.partition("=") for part in parts)
        }
        for name in ("publisher_id", "instrument_id"):
            if name in values:
                values[name] = int(str(values[name]))  # type: ignore[assignment]
        found += [row | values for row in table.to_pylist()]
    for row in wanted:
        if "date" in names:
            row["date"] = date_of(row)
    assert sorted(found, key=lambda row: row["sequence"]) == wanted
    assert [p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".parquet"] == []


@pytest.mark.usefixtures("tight")
def test_rows_of_a_folder_stay_in_order(tmp_path: Path) -> None:
    dbnfast.read(DATA).to_parquet(tmp_path, partition_by="symbol")
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == len(SYMBOLS) + 1
    assert any(len(list(folder.iterdir())) > 1 for folder in folders)  # a file was ended
    for folder in folders:
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == [f"part-{i:04}.parquet" for i in range(len(files))]
        tables = [parquet.ParquetFile(file).read() for file in files]
        numbers = [n for table in tables for n in table["sequence"].to_pylist()]
        assert numbers == sorted(numbers)


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize("columns", [None, ["price", "sequence", "symbol"], ["sequence"]])
def test_whoever_reads_the_folders(columns: Any, tmp_path: Path) -> None:
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    store = dbnfast.read(DATA)
    whole = None if columns is None else list(dict.fromkeys([*columns, "symbol"]))
    wanted = rows_of(plain(store, tmp_path, columns=whole))
    expected = [(date_of(r), r["symbol"], r["ts_recv"], r["sequence"]) for r in wanted]
    folder = tmp_path / "table"
    store.to_parquet(folder, partition_by=("date", "symbol"), columns=columns)

    table = dataset.dataset(folder, partitioning="hive").to_table()
    assert set(table.column_names) == {*wanted[0], "date"}
    found = [(r["date"], r["symbol"], r["ts_recv"], r["sequence"]) for r in rows_of(table)]
    assert found == expected

    days = [None if day is None else datetime.date.fromisoformat(day) for day, *_ in expected]
    frame = polars.scan_parquet(folder, hive_partitioning=True).sort("sequence").collect()
    assert frame["date"].to_list() == days
    assert frame["symbol"].to_list() == [symbol for _, symbol, *_ in expected]
    assert set(frame.columns) == {*wanted[0], "date"}

    where = f"read_parquet('{folder}/**/*.parquet', hive_partitioning=true)"
    rows = duckdb.sql(f"select date, symbol, sequence from {where} order by sequence").fetchall()
    assert rows == [(day, row[1], row[3]) for day, row in zip(days, expected, strict=True)]


def test_frames_of_a_folder(tmp_path: Path) -> None:
    store = dbnfast.read(DATA)
    store.to_parquet(tmp_path / "a", partition_by="publisher_id")
    (path,) = (tmp_path / "a" / "publisher_id=1").iterdir()
    frame = store.filter(publishers=1).to_df()
    pd.testing.assert_frame_equal(
        parquet.ParquetFile(path).read().to_pandas(), frame.drop(columns="publisher_id")
    )


def test_raw_values_and_the_schema(tmp_path: Path) -> None:
    store = dbnfast.read(DATA)
    store.to_parquet(tmp_path, pretty_ts=False, price_type="fixed", partition_by=["schema", "date"])
    (top,) = tmp_path.iterdir()
    assert top.name == "schema=trades"
    days = {path.name for path in top.iterdir()}
    assert days == {f"date=2026-01-0{day}" for day in (5, 6, 7)} | {f"date={NONE}"}
    table = parquet.ParquetFile(next(top.rglob("date=2026*/*.parquet"))).read()
    assert table.schema.field("ts_recv").type == pa.uint64()
    assert table.schema.field("price").type == pa.int64()


def test_a_given_schema(tmp_path: Path) -> None:
    wanted = pa.schema([("size", pa.int64()), ("symbol", pa.string())])
    dbnfast.read(DATA).to_parquet(tmp_path, partition_by="symbol", parquet_schema=wanted)
    tables = [parquet.ParquetFile(path).read() for path in tmp_path.rglob("*.parquet")]
    assert {str(table.schema) for table in tables} == {"size: int64"}
    assert sum(table.num_rows for table in tables) == 600


@pytest.mark.usefixtures("tight")
def test_symbols_of_live_data(tmp_path: Path) -> None:
    def mapping(symbol: str) -> bytes:
        body = bytes(73) + symbol.encode().ljust(71, b"\0") + bytes(16)
        return streams.record(0x16, 176, instrument_id=100, body=body)

    array = dbnfast.empty("trades", 1).copy()
    array["instrument_id"] = 100
    data = [streams.header(schema=None)]
    for i in range(40):
        array["sequence"], array["ts_recv"] = i, FIRST
        data += [mapping(f"N{i % 5}"), array.tobytes()]
    store = dbnfast.read(b"".join(data))
    store.to_parquet(tmp_path, schema="trades", partition_by="symbol")
    found = dataset.dataset(tmp_path, partitioning="hive").to_table()
    symbols = [row["symbol"] for row in rows_of(found)]
    assert symbols == [f"N{i % 5}" for i in range(40)]


def test_no_records_make_an_empty_folder(tmp_path: Path) -> None:
    dbnfast.read(streams.header()).to_parquet(tmp_path / "a", partition_by="date")
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"partition_by": "day"}, ValueError, "date, symbol, publisher_id, instrument_id, schema"),
        ({"partition_by": []}, ValueError, "one or more"),
        ({"partition_by": ["date", "date"]}, ValueError, "each once"),
        ({"partition_by": ["date", 1]}, TypeError, "expected a str"),
        ({"partition_by": "symbol", "map_symbols": False}, ValueError, "no symbols"),
        ({"partition_by": "date", "columns": ["prise"]}, ValueError, "price"),
        ({"partition_by": "date", "mode": "a"}, ValueError, "'w' or 'x'"),
        ({"columns": ["prise"]}, ValueError, "ts_event.*price.*symbol"),
        ({"columns": "price"}, TypeError, "list of names"),
        ({"columns": ["symbol"], "map_symbols": False}, ValueError, "symbol"),
    ],
)
def test_what_is_refused(
    options: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        dbnfast.read(DATA).to_parquet(tmp_path / "x", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_file_object_is_no_folder(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file, pytest.raises(TypeError, match="folder"):
        dbnfast.read(DATA).to_parquet(file, partition_by="date")
    with pytest.raises(NotADirectoryError):
        dbnfast.read(DATA).to_parquet(tmp_path / "x", partition_by="date")


def left_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_what_is_in_the_folder(tmp_path: Path) -> None:
    store, folder = dbnfast.read(DATA), tmp_path / "table"
    store.to_parquet(folder, partition_by="date", mode="x")
    before = left_in(folder)
    assert len(before) == 4
    with pytest.raises(FileExistsError, match="not empty"):
        store.to_parquet(folder, partition_by="date", mode="x")
    (folder / "date=2026-01-05" / ".dbnfast-0000.part").write_bytes(b"of one that was killed")
    store.to_parquet(folder, partition_by="publisher_id")
    assert left_in(folder) == [f"publisher_id={n}/part-0000.parquet" for n in (1, 2)]
    assert sorted(path.name for path in folder.iterdir()) == ["publisher_id=1", "publisher_id=2"]
    for name in ("notes.txt", "other.parquet"):  # the second is in no folder of a value
        (folder / name).write_bytes(b"")
        with pytest.raises(FileExistsError, match=name):
            store.to_parquet(folder, partition_by="date")
        assert len(left_in(folder)) == 3
        (folder / name).unlink()


@pytest.mark.usefixtures("tight")
def test_damage_leaves_nothing(tmp_path: Path) -> None:
    damaged = DATA + bytes([1, 0]) + bytes(46)
    with pytest.raises(dbnfast.InvalidRecordError):
        dbnfast.read(damaged).to_parquet(tmp_path / "a" / "b", partition_by=("date", "symbol"))
    assert list(tmp_path.iterdir()) == []
    dbnfast.read(DATA).to_parquet(tmp_path / "a", partition_by="date")
    before = {name: (tmp_path / "a" / name).read_bytes() for name in left_in(tmp_path / "a")}
    with pytest.raises(dbnfast.InvalidRecordError):
        dbnfast.read(damaged).to_parquet(tmp_path / "a", partition_by=("date", "symbol"))
    assert {n: (tmp_path / "a" / n).read_bytes() for n in left_in(tmp_path / "a")} == before


@pytest.mark.usefixtures("tight")
def test_an_error_of_the_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = [], Tree.file

    def file(self: Tree, name: str) -> Any:
        made.append(name)
        if len(made) == 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, name)

    monkeypatch.setattr(Tree, "file", file)
    with pytest.raises(OSError, match="space"):
        dbnfast.read(DATA).to_parquet(tmp_path / "a", partition_by="symbol")
    assert list(tmp_path.iterdir()) == []


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in left_in(folder)}


@pytest.mark.parametrize("by", ["date", "publisher_id"])
@pytest.mark.parametrize("kind", [PermissionError, KeyboardInterrupt])
def test_an_error_at_the_end_leaves_the_table_that_was_there(
    by: str, kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dbnfast.read(DATA).to_parquet(tmp_path / "a", partition_by="date")
    before, real, n_moved = contents(tmp_path / "a"), os.replace, 0
    fails = 1

    def replace(*paths: Any) -> None:
        nonlocal n_moved
        n_moved += 1
        if n_moved == fails:
            raise kind("not this one")
        real(*paths)

    monkeypatch.setattr(os, "replace", replace)
    few = dbnfast.read(made(50, days=2))
    while True:
        n_moved = 0
        try:
            few.to_parquet(tmp_path / "a", partition_by=by)
        except kind:
            assert contents(tmp_path / "a") == before
            assert [path.name for path in tmp_path.glob("a/*")] == [
                path.name for path in tmp_path.glob("a/date=*")
            ]
        else:
            break
        fails += 1
    assert fails == len(before) + len(left_in(tmp_path / "a")) + 1  # each move failed once
    assert dataset.dataset(tmp_path / "a", partitioning="hive").count_rows() == 50


@pytest.mark.usefixtures("tight")
def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, most = [0], [0]
    real = parquet.ParquetWriter

    class Counted(real):  # type: ignore[misc,valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            now[0] += 1
            most[0] = max(most[0], now[0])

        def close(self) -> None:
            now[0] -= self.is_open
            super().close()

    monkeypatch.setattr(parquet, "ParquetWriter", Counted)
    dbnfast.read(DATA).to_parquet(tmp_path, partition_by=("date", "symbol"))
    assert (now[0], most[0]) == (0, 3)


@pytest.mark.parametrize("columns", [["price", "symbol"], ["symbol", "size"], ["action"], []])
def test_columns_of_a_file(columns: list[str], tmp_path: Path) -> None:
    store = dbnfast.read(DATA)
    path = tmp_path / "x.parquet"
    store.to_parquet(path, columns=columns)
    assert parquet.read_schema(path).names == ["ts_recv", *columns]
    pd.testing.assert_frame_equal(pd.read_parquet(path), store.to_df(columns=columns))


def test_columns_without_symbols(tmp_path: Path) -> None:
    store = dbnfast.read(streams.header() + streams.trades(3))  # which has no mappings
    for columns in (["symbol", "price"], ["price"]):
        store.to_parquet(tmp_path / "x.parquet", columns=columns)
        back = pd.read_parquet(tmp_path / "x.parquet")
        pd.testing.assert_frame_equal(back, store.to_df(columns=columns))


def test_errors_name_the_folder_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as error:
        dbnfast.read(DATA).to_parquet("~/file", partition_by="symbol")
    assert error.value.filename == "~/file"
