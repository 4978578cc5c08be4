"""Arrow: tables, the stream that other libraries read, and Polars and DuckDB on top of it."""

from __future__ import annotations

import datetime
import decimal
import io
import struct
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import RType
from dbnfast.layouts.table import LAYOUTS
from dbnfast.tables import columns
from dbnfast.tables.arrow import ArrowOptions, reader, write_ipc, zone_name
from helpers import streams

pa = pytest.importorskip("pyarrow")

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


def store_of(*records: bytes, **header: Any) -> dbnfast.Store:
    return dbnfast.read(streams.header(**header) + b"".join(records))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every block hold 21 trades."""
    monkeypatch.setattr("dbnfast.store.blocks.BLOCK", 1020)


MANY = [
    trade(i, b"TACMF"[i % 5 : i % 5 + 1], 100 + i % 11) for i in range(200)
]  # 11 instruments, of which the last has no symbol


# --- types and nulls --------------------------------------------------------------------------


def test_types() -> None:
    schema = store_of(trade()).to_arrow().schema
    codes = {"action": "int16", "side": "int16", "symbol": "int32"}
    times = ["ts_recv", "ts_event"]
    assert schema.names[:2] == times
    assert schema.names[-1] == "symbol"
    for field in schema:
        if field.name in codes:
            assert str(field.type).startswith(
                f"dictionary<values=string, indices={codes[field.name]}"
            )
        elif field.name in times:
            assert field.type == pa.timestamp("ns", "UTC")
        elif field.name == "price":
            assert field.type == pa.float64()
        else:
            dtype = dbnfast.dtype("trades")[field.name]
            assert field.type == pa.from_numpy_dtype(dtype)


def test_price_types() -> None:
    prices = (0, 1, -1, 2**53 + 1, UNDEF_PRICE - 1, UNDEF_PRICE, -(2**63))
    store = store_of(*(trade(price=price) for price in prices))
    fixed = store.to_arrow(price_type="fixed")["price"]
    assert fixed.type == pa.int64()
    assert fixed.to_pylist() == [None if p == UNDEF_PRICE else p for p in prices]
    exact = store.to_arrow(price_type="decimal")["price"]
    assert exact.type == pa.decimal128(38, 9)
    assert exact.to_pylist() == [
        None if p == UNDEF_PRICE else decimal.Decimal(p).scaleb(-9) for p in prices
    ]
    floats = store.to_arrow()["price"]
    assert floats.to_pylist() == [None if p == UNDEF_PRICE else p / 1e9 for p in prices]
    for column in (fixed, exact, floats):
        column.validate(full=True)
        assert column.null_count == 1


def test_times() -> None:
    store = store_of(trade(ts=UNDEFINED), trade(ts=2**63), trade(ts=2**63 - 1), trade(ts=0))
    column = store.to_arrow()["ts_recv"]
    assert column.cast(pa.int64()).to_pylist() == [None, None, 2**63 - 1, 0]
    raw = store.to_arrow(pretty_ts=False)["ts_recv"]
    assert raw.type == pa.uint64()
    assert raw.to_pylist() == [None, 2**63, 2**63 - 1, 0]


# without a schema, data is upgraded
@pytest.mark.parametrize(
    "layout", [lay for lay in LAYOUTS if lay.schemas or 3 in lay.versions], ids=lambda lay: lay.name
)
@pytest.mark.parametrize("ts_out", [False, True])
def test_every_undefined_value_is_null(layout: Any, ts_out: bool) -> None:
    version, schema = layout.versions[-1], layout.schemas[0] if layout.schemas else None
    record = layout.undefined(ts_out).tobytes()
    store = dbnfast.read(streams.header(version, schema, ts_out=int(ts_out)) + record * 9)
    table = store.to_arrow(layout.rtypes[0])
    table.validate(full=True)
    fields = [*layout.ordered, *(layout.all_fields(True)[-1:] if ts_out else ())]
    assert table.column_names == [*(field.name for field in fields), "symbol"]
    for field in fields:
        column = table[field.name]
        value = column[8].as_py()
        if (field.has_undef and field.format != "S1") or (field.format == "S1" and not field.undef):
            assert column.null_count == 9, field.name
        elif field.kind == "cstr":
            assert value == ""
        else:
            assert column.null_count == 0, field.name


def test_chars_and_texts() -> None:
    store = store_of(trade(action=b"T"), trade(action=b"\0"), trade(action=b"\xe9"))
    assert store.to_arrow()["action"].to_pylist() == ["T", None, "é"]
    plain = store.to_arrow(categorical=False)
    assert plain["action"].type == pa.large_string()
    assert plain["action"].to_pylist() == ["T", None, "é"]
    assert plain["symbol"].to_pylist() == [None] * 3
    plain.validate(full=True)


def test_symbols() -> None:
    store = store_of(*MANY, lists=MAPPINGS)
    wanted = [f"S{i % 11}" if i % 11 < 10 else None for i in range(200)]
    for categorical in (True, False):
        assert store.to_arrow(categorical=categorical)["symbol"].to_pylist() == wanted
    assert "symbol" not in store.to_arrow(map_symbols=False).column_names


# --- options ----------------------------------------------------------------------------------


def test_columns() -> None:
    store = store_of(*MANY, lists=MAPPINGS)
    table = store.to_arrow(columns=["symbol", "price", "ts_recv"])
    assert table.column_names == ["ts_recv", "symbol", "price"]
    assert table == store.to_arrow().select(["ts_recv", "symbol", "price"])
    assert store.to_arrow(columns=[]).column_names == ["ts_recv"]
    with pytest.raises(ValueError, match=r"no column 'prize' \(did you mean 'price'\?\), expected"):
        store.to_arrow(columns=["prize"])


@pytest.mark.parametrize(
    ("tz", "name"),
    [
        ("America/New_York", "America/New_York"),
        (None, "UTC"),
        (datetime.UTC, "UTC"),
        (datetime.timezone(datetime.timedelta(0)), "+00:00"),
        (datetime.timezone(datetime.timedelta(hours=5, minutes=30)), "+05:30"),
        (datetime.timezone(-datetime.timedelta(hours=3, minutes=30)), "-03:30"),
    ],
)
def test_time_zones(tz: Any, name: str) -> None:
    table = store_of(trade()).to_arrow(tz=tz)
    if tz == datetime.UTC:
        name = "UTC"  # however it is written
    assert table.schema.field("ts_recv").type == pa.timestamp("ns", name)
    pandas = pytest.importorskip("pandas")
    stamp = table.to_pandas()["ts_event"][0]
    assert stamp == pandas.Timestamp(T0, tz="UTC")
    if tz is not None:
        assert zone_name(datetime.UTC) == "UTC"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"price_type": "x"}, ValueError),
        ({"tz": "Nowhere"}, ValueError),
        ({"tz": "UTC", "pretty_ts": False}, ValueError),
        ({"schema": "nonsense"}, ValueError),
        ({"columns": "price"}, TypeError),
    ],
)
def test_options_are_checked(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        store_of(trade()).to_arrow(**options)


def test_ts_out_is_the_last_but_the_symbol() -> None:
    data = streams.header(ts_out=1) + streams.trades(3, ts_out=True)
    for source in (dbnfast.read(data), dbnfast.scan(data)):
        table = pa.table(source)
        assert table.column_names[-2:] == ["ts_out", "symbol"]
        assert table["ts_out"].cast(pa.int64()).to_pylist() == [2 * 10**18 + i for i in range(3)]


# --- streams ----------------------------------------------------------------------------------


def test_batches_become_one_table(small_blocks: None) -> None:
    store = store_of(*MANY, lists=MAPPINGS)
    stream = pa.RecordBatchReader.from_stream(store)
    batches = list(stream)
    assert len(batches) == 10
    assert sum(batch.num_rows for batch in batches) == 200
    table = store.to_arrow()
    assert table["sequence"].to_pylist() == list(range(200))
    table.validate(full=True)
    assert pa.Table.from_batches(batches).unify_dictionaries() == table


def test_batches_with_other_dictionaries(small_blocks: None) -> None:
    """Codes that one block has and another has not, at the same place in its dictionary."""
    actions = [bytes([0x61 + i // 21]) for i in range(200)]
    store = store_of(*(trade(i, action) for i, action in enumerate(actions)))
    wanted = [action.decode() for action in actions]
    assert store.to_arrow()["action"].to_pylist() == wanted
    assert pa.table(store)["action"].to_pylist() == wanted


def test_a_stream_is_read_block_by_block(small_blocks: None) -> None:
    data = streams.header() + b"".join(MANY) + bytes([1, 0]) + bytes(46)
    stream = pa.RecordBatchReader.from_stream(dbnfast.read(io.BytesIO(data)))
    assert sum(stream.read_next_batch().num_rows for _ in range(10)) == 200
    with pytest.raises(Exception, match="record 200"):
        stream.read_next_batch()
    with pytest.raises(dbnfast.InvalidRecordError, match="record 200"):
        dbnfast.read(data).to_arrow()


def test_no_records() -> None:
    for schema in dbnfast.Schema:
        table = pa.table(dbnfast.read(streams.header(schema=str(schema))))
        one = pa.table(
            dbnfast.read(streams.header(schema=str(schema)) + dbnfast.empty(schema, 1).tobytes())
        )
        assert table.num_rows == 0
        assert table.schema == one.schema
    with pytest.raises(ValueError, match="no schema"):
        dbnfast.read(streams.header(schema=None)).to_arrow()
    assert dbnfast.read(streams.header(schema=None)).to_arrow("mbo").num_rows == 0


def test_mixed_data(small_blocks: None) -> None:
    store = dbnfast.read(streams.header(schema=None) + streams.mixed(30))
    with pytest.raises(dbnfast.MixedRecordsError):
        store.to_arrow()
    assert store.to_arrow("trades")["sequence"].to_pylist() == list(range(30))
    assert store.to_arrow(RType.SYSTEM).num_rows == 30
    bars = b"".join(streams.record(0x21, 56) for _ in range(60))
    later = dbnfast.read(streams.header(schema=None) + streams.trades(60) + bars)
    with pytest.raises(dbnfast.MixedRecordsError, match="several types"):
        later.to_arrow()
    assert later.filter("ohlcv-1m").to_arrow().num_rows == 60


def test_older_layouts_among_newer_ones(small_blocks: None) -> None:
    parts = [dbnfast.empty("definition", 4, version=version).tobytes() for version in (1, 3, 2)]
    table = dbnfast.read(streams.header(schema="definition") + b"".join(parts)).to_arrow()
    assert table.num_rows == 12
    assert "leg_count" in table.column_names
    newer = dbnfast.read(streams.header(1, "definition") + b"".join(parts))
    with pytest.raises(ValueError, match="InstrumentDefMsg"):
        newer.to_arrow()


# --- Records ----------------------------------------------------------------------------------


def test_records_are_a_stream_too() -> None:
    data = streams.header(lists=MAPPINGS) + b"".join(MANY)
    records = dbnfast.scan(data)
    table = pa.table(records)
    assert table == dbnfast.read(data).to_arrow()
    assert pa.table(records[50:60])["sequence"].to_pylist() == list(range(50, 60))
    assert pa.table(records[:0]).num_rows == 0
    live = dbnfast.scan(streams.header(schema=None) + streams.trades(3))
    assert "symbol" not in pa.table(live).column_names
    fragment = dbnfast.scan(streams.trades(3), has_metadata=False)
    assert pa.table(fragment)["sequence"].to_pylist() == [0, 1, 2]
    with pytest.raises(dbnfast.MixedRecordsError):
        pa.table(dbnfast.scan(streams.header(schema=None) + streams.mixed(2)))


def test_records_without_mappings_have_no_symbols() -> None:
    """Whatever the symbologies: there is nothing that they would have to tell."""
    data = streams.header(stype_in=1, stype_out=1) + streams.trades(3)
    assert pa.table(dbnfast.scan(data))["symbol"].to_pylist() == [None] * 3
    assert pa.table(dbnfast.read(data))["symbol"].to_pylist() == [None] * 3


def test_a_requested_schema_is_passed_on() -> None:
    table = pa.table(store_of(*MANY))
    wanted = table.schema.set(0, pa.field("ts_recv", pa.timestamp("ns", "UTC"), nullable=True))
    again = pa.table(store_of(*MANY), schema=wanted)
    assert again.num_rows == 200
    capsule = store_of(*MANY).__arrow_c_stream__(wanted.__arrow_c_schema__())
    assert "arrow_array_stream" in repr(capsule)


# --- other libraries --------------------------------------------------------------------------


def test_pandas_reads_the_stream() -> None:
    pandas = pytest.importorskip("pandas")
    store = store_of(*MANY, lists=MAPPINGS)
    frame = pandas.DataFrame.from_arrow(store)
    wanted = store.to_df()
    assert frame["price"].tolist() == wanted["price"].tolist()
    assert frame["ts_recv"].tolist() == wanted.index.tolist()
    assert frame["symbol"].astype("str").tolist()[:10] == wanted["symbol"].tolist()[:10]
    assert frame["symbol"].isna().tolist() == wanted["symbol"].isna().tolist()


def test_polars(small_blocks: None) -> None:
    polars = pytest.importorskip("polars")
    store = store_of(*MANY, trade(200, price=UNDEF_PRICE, instrument_id=1), lists=MAPPINGS)
    frame = store.to_polars()
    assert frame.schema["ts_recv"] == polars.Datetime("ns", "UTC")
    assert frame["sequence"].to_list() == list(range(201))
    assert frame["price"].null_count() == 1
    for made in (frame, polars.DataFrame(store)):
        sums = (
            made.filter(polars.col("action") == "T")
            .group_by("symbol")
            .agg(polars.col("size").sum().alias("total"))
            .sort("symbol", nulls_last=True)
        )
        wanted: dict[str | None, int] = {}
        for i in range(201):
            if i % 5 == 0:
                symbol = f"S{i % 11}" if i < 200 and i % 11 < 10 else None
                wanted[symbol] = wanted.get(symbol, 0) + i
        assert dict(sums.iter_rows()) == wanted
    decimals = store.to_polars(price_type="decimal", columns=["price"])
    assert decimals.schema["price"] == polars.Decimal(38, 9)
    assert decimals["price"][3] == decimal.Decimal(3)
    assert store.to_polars(tz="Asia/Tokyo").schema["ts_event"].time_zone == "Asia/Tokyo"


def test_duckdb(small_blocks: None) -> None:
    duckdb = pytest.importorskip("duckdb")
    store = store_of(*MANY, lists=MAPPINGS)
    connection = duckdb.connect()
    connection.register("prints", pa.RecordBatchReader.from_stream(store))
    rows = connection.execute(
        "select symbol, count(*), sum(size), max(price) from prints where action in ('T', 'A') "
        "group by symbol order by symbol nulls last"
    ).fetchall()
    wanted: dict[str | None, list[int]] = {}
    for i in range(200):
        if i % 5 < 2:
            wanted.setdefault(f"S{i % 11}" if i % 11 < 10 else None, []).append(i)
    assert rows == [
        (symbol, len(found), sum(found), float(max(found)))
        for symbol, found in sorted(wanted.items(), key=lambda item: item[0] or "~")
    ]


def test_duckdb_finds_a_store_by_its_name(small_blocks: None) -> None:
    duckdb = pytest.importorskip("duckdb")
    prints = store_of(*(trade(i, bytes([0x61 + i // 21])) for i in range(200)))
    assert prints.schema == "trades"
    rows = duckdb.sql(
        "select action, min(sequence) from prints group by action order by 1"
    ).fetchall()
    assert rows == [(chr(0x61 + i), 21 * i) for i in range(10)]
    # a second query reads it again
    assert duckdb.sql("select count(*) from prints").fetchall() == [(200,)]
    nanos = duckdb.sql("select epoch_ns(min(ts_recv)), epoch_ns(max(ts_recv)) from prints")
    assert nanos.fetchall() == [(T0, T0 + 199)]


# --- IPC --------------------------------------------------------------------------------------


def test_ipc(small_blocks: None) -> None:
    store = store_of(*(trade(i, bytes([0x61 + i // 21])) for i in range(200)))
    out = io.BytesIO()
    blocks = store.iter_batches(1020)
    options = ArrowOptions(map_symbols=False)
    assert write_ipc(blocks, out, schema="trades", options=options) == 200
    out.seek(0)
    table = pa.ipc.open_stream(out).read_all().unify_dictionaries()
    assert table == store.to_arrow(map_symbols=False)


def test_a_stream_of_nothing_needs_a_schema() -> None:
    with pytest.raises(ValueError, match="no records to tell"):
        reader([])
    records = dbnfast.scan(streams.header())
    assert (
        reader([], empty=records, options=ArrowOptions(map_symbols=False)).read_all().num_rows == 0
    )


def test_tables_are_copies() -> None:
    data = bytearray(streams.header() + b"".join(MANY))
    table = dbnfast.read(data).to_arrow()
    before = table["sequence"].to_pylist()
    data[-200 * 48 :] = bytes(200 * 48)
    assert table["sequence"].to_pylist() == before == list(range(200))
    assert np.asarray(table["price"])[7] == 7.0


# --- arrow_schema and arrow_batches -----------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"price_type": "decimal", "tz": "America/New_York"},
        {"pretty_ts": False, "price_type": "fixed", "categorical": False},
        {"map_symbols": False},
    ],
    ids=["defaults", "decimal", "plain", "no symbols"],
)
def test_batches_are_the_table_block_by_block(options: dict[str, Any]) -> None:
    store = store_of(*MANY, lists=MAPPINGS)
    table = store.to_arrow(**options)
    reader = store.arrow_batches(max_bytes=1020, **options)
    batches = list(reader)
    assert [batch.num_rows for batch in batches] == [21] * 9 + [11]
    assert reader.schema == store.arrow_schema(**options) == table.schema
    assert pa.Table.from_batches(batches).to_pylist() == table.to_pylist()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "columns",
    [
        ["symbol"],
        ["price", "symbol", "size"],
        ["instrument_id", "ts_event"],
        ["symbol", "ts_recv"],
        ["ts_event", "price", "ts_event"],
    ],
    ids="-".join,
)
def test_batches_have_the_columns_asked_for_and_no_others(columns: list[str]) -> None:
    store = store_of(*MANY, lists=MAPPINGS)
    once = list(dict.fromkeys(columns))
    table = store.arrow_batches(columns=columns).read_all()
    assert table.schema == store.arrow_schema(columns=columns)
    assert table.column_names == once
    assert table.to_pylist() == store.to_arrow().select(once).to_pylist()


def test_only_the_columns_asked_for_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[set[str]] = []

    def spied(rows: Any, requests: Any) -> Any:
        made.append({request.name.partition(" ")[0] for request in requests})
        return columns.make(rows, requests)

    monkeypatch.setattr("dbnfast.tables.arrow.make", spied)
    store = store_of(*MANY, lists=MAPPINGS)
    for asked, expected in (
        (["size"], {"size"}),
        (["symbol"], {"instrument_id", "ts_recv"}),
        ([], {"ts_recv"}),
    ):
        made.clear()
        assert store.arrow_batches(columns=asked).schema.names == asked
        assert made == [expected]


def test_batches_without_columns_still_have_rows() -> None:
    batches = list(store_of(*MANY).arrow_batches(columns=[], max_bytes=1 << 20))
    assert [(batch.num_rows, batch.num_columns) for batch in batches] == [(200, 0)]


def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    store = store_of(*MANY)
    for call in (store.arrow_schema, store.arrow_batches):
        with pytest.raises(ValueError, match=r"no column 'prise' \(did you mean 'price'\?\), exp"):
            call(columns=["prise"])
        with pytest.raises(ValueError, match=r"expected one of ts_recv, ts_event, rtype, .*flags"):
            call(columns=["symbol"], map_symbols=False)


def test_the_header_tells_the_schema_and_nothing_is_read_for_it() -> None:
    store = store_of(b"\x01" * 100)  # no record
    table = store_of(trade()).to_arrow()
    assert store.arrow_schema() == store.arrow_schema("trades") == table.schema
    reader = store.arrow_batches()
    assert reader.schema == table.schema
    with pytest.raises(dbnfast.DecodeError):
        reader.read_all()
    mixed = store_of(streams.mixed(), schema=None)
    with pytest.raises(ValueError, match="no schema of its own"):
        mixed.arrow_schema()
    with pytest.raises(dbnfast.MixedRecordsError):
        mixed.arrow_batches().read_all()
    assert mixed.filter("trades").arrow_schema() == mixed.to_arrow("trades").schema
    assert mixed.arrow_batches("trades").read_all() == mixed.to_arrow("trades")


def test_records_whose_layout_is_not_that_of_the_header_are_an_error() -> None:
    size = dbnfast.dtype("definition", version=3).itemsize
    newer = streams.record(0x13, size, instrument_id=1, body=bytes(size - 16))
    store = store_of(newer, version=1, schema="definition")
    reader = store.arrow_batches()
    with pytest.raises(ValueError, match=r"layout \w+, and the header that of \w+; upgrade"):
        reader.read_all()


@pytest.mark.parametrize("max_bytes", [0, 10, -1])
def test_batches_of_no_size_are_refused(max_bytes: int) -> None:
    with pytest.raises(ValueError, match="max_bytes is"):
        store_of().arrow_batches(max_bytes=max_bytes)


def test_of_many_symbols_batches_have_those_of_their_rows() -> None:
    names = [(f"S{i:03}".encode(), [(20010101, 20300101, str(i).encode())]) for i in range(500)]
    lists = bytes(12) + streams.mapping_list(names)
    ids = [(37 * i) % 600 for i in range(200)]
    store = store_of(*(trade(i, instrument_id=one) for i, one in enumerate(ids)), lists=lists)
    reader = store.arrow_batches(columns=["symbol"], max_bytes=1020)
    found: list[str | None] = []
    for batch in reader:
        column = batch["symbol"]
        dictionary = column.dictionary.to_pylist()
        assert dictionary == sorted({text for text in column.to_pylist() if text is not None})
        found += column.to_pylist()
    assert found == [f"S{one:03}" if one < 500 else None for one in ids]
    assert found == store.to_arrow()["symbol"].to_pylist()
