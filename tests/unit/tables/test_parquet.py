"""Parquet files: what they hold, how they are cut, and what is refused."""

from __future__ import annotations

import io
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import RType
from dbnfast._util.atomic import output
from dbnfast.tables.parquet import write_parquet
from helpers import streams

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

T0 = 10**18
UNDEFINED = 2**64 - 1
UNDEF_PRICE = 2**63 - 1
MAPPINGS = bytes(12) + streams.mapping_list(
    [(f"S{i}".encode(), [(20010101, 20300101, str(100 + i).encode())]) for i in range(10)]
)


def trade(i: int = 0, action: bytes = b"T", instrument_id: int = 100, **more: Any) -> bytes:
    ts, price = more.get("ts", T0 + i), more.get("price", i * 10**9)
    return (
        struct.pack("<BBHIQ", 12, 0, 1, instrument_id, ts)
        + struct.pack("<qIccBB", price, i, action, b"B", 0, 0)
        + struct.pack("<QiI", ts, 7, i)
    )


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every block hold 21 trades."""
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", 1020)


DATA = streams.header(lists=MAPPINGS) + b"".join(trade(i % 3, instrument_id=101) for i in range(9))


def written(store: Any, **options: Any) -> io.BytesIO:
    out = io.BytesIO()
    store.to_parquet(out, **options)
    out.seek(0)
    return out


def official(data: bytes, **options: Any) -> Any:
    databento = pytest.importorskip("databento")
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        databento.DBNStore.from_bytes(data).to_parquet("unused", where=out, **options)
    out.seek(0)
    return pd.read_parquet(out)


ODD = streams.header(lists=MAPPINGS) + b"".join(
    trade(i, b"TA\0N"[i % 4 : i % 4 + 1], 100 + i % 12,
          ts=T0 + i if i % 9 else UNDEFINED, price=-i if i % 5 else UNDEF_PRICE)
    for i in range(100)
)  # fmt: skip
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"price_type": "fixed"},
    {"pretty_ts": False, "map_symbols": False},
    {"map_symbols": False},
)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("block", [1020, 16 << 20])
def test_a_file_reads_back_as_the_frame(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], block: int
) -> None:
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", block)
    store = dbnfast.read(ODD)
    back = pd.read_parquet(written(store, **options))
    pd.testing.assert_frame_equal(back, store.to_df(**options))
    pd.testing.assert_frame_equal(back, official(ODD, **options))
    assert parquet.ParquetFile(written(store)).num_row_groups == (5 if block == 1020 else 1)


def test_a_path(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    dbnfast.read(ODD).to_parquet(path)
    dbnfast.read(ODD).to_parquet(str(path), mode="w")
    with pytest.raises(FileExistsError):
        dbnfast.read(ODD).to_parquet(path, mode="x")
    pd.testing.assert_frame_equal(pd.read_parquet(path), dbnfast.read(ODD).to_df())
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.parquet"]


def test_where_as_the_official_method_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "y.parquet"
    dbnfast.read(ODD).to_parquet(tmp_path / "x.parquet", where=path)
    assert len(pd.read_parquet(path)) == 100
    assert [entry.name for entry in tmp_path.iterdir()] == ["y.parquet"]


def test_damage_leaves_no_file(tmp_path: Path, small_blocks: None) -> None:
    data = ODD + bytes([1, 0]) + bytes(46)
    with pytest.raises(dbnfast.InvalidRecordError, match="record 100"):
        dbnfast.read(data).to_parquet(tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []
    with pytest.warns(dbnfast.TruncatedWarning):
        dbnfast.read(data[: -48 - 4]).to_parquet(tmp_path / "x.parquet")
    assert len(pd.read_parquet(tmp_path / "x.parquet")) == 99


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"price_type": "decimal"}, ValueError),
        ({"price_type": "gold"}, ValueError),
        ({"mode": "a"}, ValueError),
        ({"schema": "nonsense"}, ValueError),
        ({"compression": "nonsense"}, Exception),
        ({"no_such_option": 1}, TypeError),
    ],
)
def test_wrong_options_leave_no_file(
    tmp_path: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        dbnfast.read(ODD).to_parquet(tmp_path / "x.parquet", **options)
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_writer_are_passed_on() -> None:
    file = parquet.ParquetFile(written(dbnfast.read(ODD), compression="zstd", version="2.6"))
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize(
    "options",
    [
        {"use_deprecated_int96_timestamps": True}, {"flavor": "spark"},
        {"use_byte_stream_split": ["price"]}, {"store_schema": True}, {"version": "2.6"},
        {"data_page_version": "1.0"}, {"write_statistics": False}, {"write_page_index": True},
        {"compression": "zstd", "compression_level": 3}, {"write_page_checksum": True},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_the_writer_leave_the_frame_as_it_is(options: dict[str, Any]) -> None:
    found = pd.read_parquet(written(dbnfast.read(DATA), **options))
    pd.testing.assert_frame_equal(found, official(DATA, **options))


def test_words_of_a_schema_that_is_given_are_written() -> None:
    schema = pa.Schema.from_pandas(dbnfast.read(DATA).to_df())
    schema = schema.with_metadata({**schema.metadata, b"source": b"mine"})
    mine = written(dbnfast.read(DATA), parquet_schema=schema)
    assert parquet.read_schema(mine).metadata == schema.metadata
    found = pd.read_parquet(mine)
    pd.testing.assert_frame_equal(found, official(DATA, parquet_schema=schema))
    assert found.index.name == "ts_recv"
    with pytest.raises(TypeError, match=r"parquet_schema is 'x', expected a pyarrow\.Schema"):
        written(dbnfast.read(DATA), parquet_schema="x")


def test_a_filesystem_of_arrow_or_fsspec(tmp_path: Path) -> None:
    fs = pytest.importorskip("pyarrow.fs")
    fsspec = pytest.importorskip("fsspec")
    store, path = dbnfast.read(DATA), tmp_path / "a.parquet"
    for filesystem in (fs.LocalFileSystem(), fsspec.filesystem("file")):
        store.to_parquet(str(path), filesystem=filesystem)
        pd.testing.assert_frame_equal(pd.read_parquet(path), store.to_df())
        with pytest.raises(FileExistsError, match=str(path)):
            store.to_parquet(path, filesystem=filesystem, mode="x")
        with pytest.raises(ValueError, match="partition_by"):
            store.to_parquet(tmp_path, filesystem=filesystem, partition_by="date")
        with pytest.raises(TypeError, match="BytesIO is no path"):
            store.to_parquet(io.BytesIO(), filesystem=filesystem)
        with pytest.raises(ValueError, match="mode is 'a'"):
            store.to_parquet(path, filesystem=filesystem, mode="a")
        with pytest.raises(TypeError):
            store.to_parquet(path, filesystem=filesystem, nonsense=1)
        assert not path.exists()


def test_a_schema_that_is_given() -> None:
    wanted = pa.schema(
        [("ts_event", pa.timestamp("us", "UTC")), ("size", pa.int64()), ("symbol", pa.string())]
    )
    data = streams.header(lists=MAPPINGS) + b"".join(trade(1000 * i) for i in range(3))
    table = parquet.read_table(written(dbnfast.read(data), parquet_schema=wanted))
    assert [(f.name, f.type) for f in table.schema] == [(f.name, f.type) for f in wanted]
    assert table["size"].to_pylist() == [0, 1000, 2000]
    assert table["symbol"].to_pylist() == ["S0"] * 3


@pytest.mark.parametrize("schema", list(dbnfast.Schema), ids=str)
def test_no_records(schema: dbnfast.Schema) -> None:
    store = dbnfast.read(streams.header(schema=str(schema)))
    back = pd.read_parquet(written(store))
    frame = store.to_df()
    assert list(back.columns) == list(frame.columns)
    assert (len(back), back.index.name) == (0, frame.index.name)
    for name in set(frame.columns) - {"symbol"}:
        assert back[name].dtype == frame[name].dtype, name


def test_mixed_data(small_blocks: None) -> None:
    store = dbnfast.read(streams.header(schema=None) + streams.mixed(40))
    back = pd.read_parquet(written(store, schema="trades", map_symbols=False))
    assert back["sequence"].tolist() == list(range(40))
    with pytest.warns(dbnfast.SelectionWarning, match="no record of mbo"):
        file = parquet.ParquetFile(written(store, schema="mbo"))
    assert (file.metadata.num_rows, file.num_row_groups) == (0, 1)
    with pytest.raises(dbnfast.MixedRecordsError):
        written(store)
    with pytest.raises(ValueError, match="no schema"):
        written(dbnfast.read(streams.header(schema=None)))
    assert len(pd.read_parquet(written(store, schema=RType.SYSTEM))) == 40
    alone = dbnfast.read(streams.header(schema=None) + streams.trades(3))
    assert len(pd.read_parquet(written(alone, map_symbols=False))) == 3


def test_blocks_without_such_a_record_make_no_row_group(small_blocks: None) -> None:
    bars = b"".join(streams.record(0x21, 56) for _ in range(60))
    store = dbnfast.read(streams.header(schema=None) + streams.trades(21) + bars)
    file = parquet.ParquetFile(written(store, schema="trades"))
    assert (file.metadata.num_rows, file.num_row_groups) == (21, 1)


def test_live_symbols_change_between_row_groups(small_blocks: None) -> None:
    def mapping(symbol: str) -> bytes:
        body = (
            bytes(73) + symbol.encode().ljust(71, b"\0") + struct.pack("<QQ", UNDEFINED, UNDEFINED)
        )
        return streams.record(0x16, 176, instrument_id=100, body=body)

    records, wanted = [], []
    for i in range(40):
        records += [mapping(f"N{i}"), trade(i), trade(i)]
        wanted += [f"N{i}"] * 2
    store = dbnfast.read(streams.header(schema=None) + b"".join(records))
    back = pd.read_parquet(written(store, schema="trades"))
    assert back["symbol"].tolist() == wanted
    pd.testing.assert_frame_equal(back, store.to_df(schema="trades"))


def test_ts_out() -> None:
    store = dbnfast.read(streams.header(ts_out=1) + streams.trades(5, ts_out=True))
    back = pd.read_parquet(written(store, map_symbols=False))
    pd.testing.assert_frame_equal(back, store.to_df(map_symbols=False))
    assert back.columns[-1] == "ts_out"


def test_the_number_of_rows() -> None:
    store = dbnfast.read(ODD)
    assert write_parquet(store.iter_batches(1020), io.BytesIO(), schema="trades") == 100
    assert write_parquet([], io.BytesIO()) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": False},
        {"use_dictionary": ["symbol"]},
        {"use_dictionary": False, "column_encoding": {"price": "PLAIN"}},
    ],
    ids=["none", "one", "encodings"],
)
def test_encodings_that_are_asked_for(options: dict[str, Any]) -> None:
    data = streams.header(lists=MAPPINGS) + b"".join(
        trade(i % 3, instrument_id=101) for i in range(9)
    )
    out = written(dbnfast.read(data), schema="trades", **options)
    group = parquet.ParquetFile(out).metadata.row_group(0)
    used = {}
    for i in range(group.num_columns):
        column = group.column(i)
        used[column.path_in_schema] = set(column.encodings)
    with_dictionary = {name for name, found in used.items() if "RLE_DICTIONARY" in found}
    assert with_dictionary == ({"symbol"} if options["use_dictionary"] else set())
    assert "PLAIN" in used["price"]
    out.seek(0)
    assert parquet.read_table(out).column("symbol").to_pylist() == ["S1"] * 9


def test_a_path_gets_what_a_file_object_gets(tmp_path: Path) -> None:
    store = dbnfast.read(ODD)
    path, held = tmp_path / "x.parquet", io.BytesIO()
    for mode in ("x", "w"):
        store.to_parquet(path, schema="trades", mode=mode)
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.parquet"]
    store.to_parquet(held, schema="trades")
    assert path.read_bytes() == held.getvalue()


def test_a_file_object_is_written_where_it_stands(tmp_path: Path) -> None:
    store = dbnfast.read(ODD)
    with (tmp_path / "x.bin").open("wb") as file:
        file.write(b"before")
        store.to_parquet(file, schema="trades")
        file.write(b"behind")
    made = (tmp_path / "x.bin").read_bytes()
    assert (made[:10], made[-10:]) == (b"beforePAR1", b"PAR1behind")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on the size of files")
def test_a_full_disk_is_told_of_the_output_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "x.parquet"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"[Ff]ile too large") as raised:
            dbnfast.read(ODD).to_parquet(path, schema="trades")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def test_errors_of_the_input_do_not_name_the_output(tmp_path: Path) -> None:
    def blocks() -> Iterator[dbnfast.Records]:
        yield from dbnfast.read(ODD).iter_batches(1020)
        raise OSError(5, "input/output error", "the input")

    with pytest.raises(OSError, match="input/output") as raised, output(tmp_path / "x") as out:
        write_parquet(blocks(), out, schema="trades")
    assert raised.value.filename == "the input"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{}, {"price_type": "fixed", "pretty_ts": False}])
def test_the_file_says_which_columns_have_no_nulls(options: dict[str, Any]) -> None:
    schema = parquet.read_schema(written(dbnfast.read(ODD), **options))
    nullable = {field.name for field in schema if field.nullable}
    assert nullable == ({"symbol"} if options else {"ts_recv", "ts_event", "price", "symbol"})


@pytest.mark.parametrize("options", [{}, {"data_page_version": "1.0"}, {"compression": "zstd"}])
def test_other_readers_see_the_same_rows(options: dict[str, Any], tmp_path: Path) -> None:
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    store = dbnfast.read(ODD)
    path = tmp_path / "odd.parquet"
    store.to_parquet(path, **options)
    rows = store.to_arrow(categorical=False).select(["size", "price", "symbol"])
    assert rows["price"].null_count == 20
    wanted = [tuple(row.values()) for row in rows.to_pylist()]
    frame = polars.read_parquet(path)
    assert frame.select("size", "price", "symbol").rows() == wanted
    found = duckdb.sql(f"select size, price, symbol from '{path}'").fetchall()
    assert found == wanted
