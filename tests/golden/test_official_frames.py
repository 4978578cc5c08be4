"""Frames, arrays and Parquet files of golden and real data are those of the official DBNStore."""

from __future__ import annotations

import datetime
import io
import json
import struct
import warnings
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast.enums import SCHEMA_RTYPES
from helpers import streams
from helpers.places import FIXTURES, REAL, golden

pd = pytest.importorskip("pandas")
databento = pytest.importorskip("databento")


FILES: dict[str, dict[str, Any]] = {}
if (FIXTURES / "MANIFEST.json").is_file():
    FILES = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
GOLDEN = sorted(
    name
    for name, entry in FILES.items()
    # one type of one layout, which is what the official package reads
    if entry["format"] == "dbn"
    and name == f"{entry['schema']}.v{entry['version']}{'.ts_out' * bool(entry['ts_out'])}.dbn"
)
SHAPES = sorted(name for name in FILES if name.startswith("zstd-") and "expect" not in FILES[name])
SESSIONS = sorted(name for name in FILES if name.startswith(("live.", "mixed.")))
REAL_NAMES = sorted(str(path.relative_to(REAL)) for path in REAL.rglob("*.dbn.zst"))
SMALL = [name for name in REAL_NAMES if (REAL / name).stat().st_size < 100_000]
LIVE = "live/test_data.live.dbn.zst"

NEW_YORK = "America/New_York"
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "fixed": {"price_type": "fixed"},
    "decimal": {"price_type": "decimal"},
    "raw": {"price_type": "fixed", "pretty_ts": False, "map_symbols": False},
    "ints": {"pretty_ts": False},
    "unmapped": {"map_symbols": False},
    "zone": {"tz": NEW_YORK},
    "tzinfo": {"tz": datetime.timezone(datetime.timedelta(hours=5, minutes=30))},
}
TS_OUT_AT = {1: 60, 2: 52, 3: 52}


def read(name: str) -> bytes:
    path = golden(name) if name in FILES else REAL / name
    return path.read_bytes()


def plain(data: bytes) -> bytes:
    return data if data.startswith(b"DBN") else streams.inflate(data)


def readable(data: bytes) -> tuple[bytes, np.ndarray[Any, Any] | None]:
    """
    Give a stream that the official package reads right, and the ts_out of its records.

    It forgets ts_out in files of one schema, and has no bars of days before version 3.
    """
    data = plain(data)
    version, start = data[3], 8 + int.from_bytes(data[4:8], "little")
    header = bytearray(data[:start])
    if struct.unpack_from("<H", header, 24)[0] == int(dbnfast.Schema.OHLCV_EOD):
        struct.pack_into("<H", header, 24, int(dbnfast.Schema.OHLCV_1D))  # the same struct
    if struct.unpack_from("<H", header, 24)[0] == int(dbnfast.Schema.TCBBO):
        struct.pack_into("<H", header, 24, int(dbnfast.Schema.CMBP_1))  # its own struct
    records = streams.walk(data[start:])
    if not header[TS_OUT_AT[version]]:
        return bytes(header) + data[start:], None
    header[TS_OUT_AT[version]] = 0
    stamps = np.frombuffer(b"".join(record[-8:] for record in records), "<u8")
    cut = [bytes([record[0] - 2]) + record[1:-8] for record in records]
    return bytes(header) + b"".join(cut), stamps


def official_frame(data: bytes, **options: Any) -> Any:
    """Give the official frame: its deprecated calls warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return databento.DBNStore.from_bytes(data).to_df(**options)


def stamped(frame: Any, stamps: Any, options: dict[str, Any]) -> Any:
    """Add the column of ts_out, last before the symbol."""
    if stamps is None:
        return frame
    column = stamps
    if options.get("pretty_ts", True):
        column = pd.to_datetime(stamps, utc=True).tz_convert(options.get("tz", "UTC"))
    frame.insert(len(frame.columns) - ("symbol" in frame), "ts_out", column)
    return frame


def test_there_is_data_of_every_schema_and_version() -> None:
    if not FILES:
        pytest.skip("the golden files are not here")
    assert len(GOLDEN) == 20 * 3 * 2
    assert len(SESSIONS) >= 6


def public(dtype: Any) -> list[str]:
    """Name the fields that are not reserved; the official package has text for reserved bytes."""
    return [name for name in dtype.names if not name.startswith("_")]


def parquet(store: Any, **options: Any) -> Any:
    """Write a Parquet file in memory, and read it back with pandas."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(store, dbnfast.Store):
            store.to_parquet(out, **options)
        else:
            store.to_parquet("unused", where=out, **options)
    out.seek(0)
    return pd.read_parquet(out)


def labels_for(name: str) -> list[str]:
    """Which options are compared: all where layouts may differ, fewer where they cannot."""
    if (REAL / name).is_file() and (REAL / name).stat().st_size > 100_000:
        return ["default", "raw", "zone"]  # decimals and the like are slow in the official package
    if name.startswith(("zstd-", *(f"{schema}.v2" for schema in dbnfast.Schema))):
        return ["default", "raw"]
    return list(OPTIONS)


@pytest.mark.parametrize("name", [*GOLDEN, *SHAPES, *[n for n in REAL_NAMES if n != LIVE]])
def test_frame(name: str) -> None:
    data = read(name)
    theirs, stamps = readable(data)
    store = dbnfast.read(data)
    if not len(store.records()):
        assert name == "zstd-no-records.v3.dbn.zst"  # see the test of empty data
        return
    for label in labels_for(name):
        options = OPTIONS[label]
        ours = store.to_df(**options)
        try:
            wanted = official_frame(theirs, **options)
        except pd.errors.OutOfBoundsDatetime:
            assert label == "ints"  # of an undefined index it wants the day
            assert ours.index[-1] == 2**64 - 1
            assert pd.isna(ours.pop("symbol").iloc[-1])
            wanted = official_frame(theirs, **{**options, "map_symbols": False})
        pd.testing.assert_frame_equal(ours, stamped(wanted, stamps, options), obj=label)


@pytest.mark.parametrize("name", [*GOLDEN, *[n for n in SMALL if n != LIVE]])
def test_array(name: str) -> None:
    data = read(name)
    theirs, stamps = readable(data)
    wanted = databento.DBNStore.from_bytes(theirs).to_ndarray()
    ours = dbnfast.read(data).to_ndarray()
    names = public(wanted.dtype)
    assert public(ours.dtype) == names + ["ts_out"] * (stamps is not None)
    assert ours.shape == wanted.shape
    for field in set(names) - {"length"}:
        assert ours.dtype[field] == wanted.dtype[field]
        np.testing.assert_array_equal(ours[field], wanted[field])
    if stamps is not None:
        np.testing.assert_array_equal(ours["ts_out"], stamps)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("name", ["mbo.v3.dbn", "definition.v1.dbn", "ohlcv-1s.v2.dbn"])
def test_frames_and_arrays_of_a_count(name: str, count: int) -> None:
    if name not in FILES:
        pytest.skip("the golden files are not here")
    data = read(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = list(databento.DBNStore.from_bytes(data).to_df(count=count))
    ours = list(dbnfast.read(data).to_df(count=count))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        pd.testing.assert_frame_equal(mine, other)
    arrays = list(dbnfast.read(data).to_ndarray(count=count))
    wanted = list(databento.DBNStore.from_bytes(data).to_ndarray(count=count))
    assert [len(array) for array in arrays] == [len(array) for array in wanted]
    for array, other in zip(arrays, wanted, strict=True):
        assert array.tobytes() == other.tobytes()


def in_stream_order(data: bytes, rtypes: set[int]) -> list[str | None]:
    """Give each record's symbol: what the last mapping record before it says of its id."""
    known: dict[int, str] = {}
    found: list[str | None] = []
    for record in dbnfast.scan(data):
        if isinstance(record, dbnfast.SymbolMappingMsg):
            number = record.stype_out_symbol.isdigit()
            known[record.instrument_id] = (
                record.stype_in_symbol if number else record.stype_out_symbol
            )
        if int(record.rtype) in rtypes:
            found.append(known.get(record.instrument_id))
    return found


@pytest.mark.parametrize("name", [*SESSIONS, *([LIVE] if LIVE in REAL_NAMES else [])])
def test_frames_of_mixed_data(name: str) -> None:
    data = read(name)
    theirs, stamps = readable(data)
    store = dbnfast.read(data)
    assert store.schema is None
    compared = 0
    for schema in dbnfast.Schema:
        rtype = int(SCHEMA_RTYPES[schema])
        if rtype not in store.counts or schema == "tcbbo":
            continue
        for label in ("default", "raw"):
            options = {"schema": str(schema), **OPTIONS[label]}
            ours = store.to_df(**options)
            if stamps is not None:
                assert list(ours.columns)[-2:][label == "raw" :][0] == "ts_out"
                ours = ours.drop(columns="ts_out")
            if schema == "definition" and store.metadata.version < 3:
                continue  # it upgrades the records, and then asks them for what older ones had
            wanted = official_frame(theirs, **options)
            if name.startswith("live.") and label == "default":
                # mappings change within a day, for which the official package has one symbol
                symbols = in_stream_order(data, {rtype})
                assert [None if pd.isna(s) else s for s in ours.pop("symbol")] == symbols
                wanted = wanted.drop(columns="symbol")
            pd.testing.assert_frame_equal(ours, wanted, obj=f"{schema} {label}")
            compared += len(ours)
        array = store.to_ndarray(str(schema))
        other = databento.DBNStore.from_bytes(theirs).to_ndarray(str(schema))
        assert len(array) == len(other)
        for field in set(public(other.dtype)) - {"length"}:
            np.testing.assert_array_equal(array[field], other[field])
    assert compared > 0


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("schema", list(dbnfast.Schema), ids=str)
def test_header_without_records(schema: dbnfast.Schema, version: int) -> None:
    data = streams.header(version, str(schema))
    theirs, _ = readable(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = databento.DBNStore.from_bytes(theirs)
        dtype, raw, wanted = (
            official.to_ndarray().dtype,
            official.to_df(**OPTIONS["raw"]),
            official.to_df(),
        )
    store = dbnfast.read(data)
    array = store.to_ndarray()
    assert array.shape == (0,)  # the official one is of shape (0, 1)
    assert [(n, array.dtype[n]) for n in public(array.dtype)] == [
        (n, dtype[n]) for n in public(dtype)
    ]
    pd.testing.assert_frame_equal(store.to_df(**OPTIONS["raw"]), raw)
    # the official times are of seconds here, and of nanoseconds where there is a record
    assert str(store.to_df().index.dtype) == "datetime64[ns, UTC]"
    assert list(store.to_df().columns) == list(wanted.columns)
    assert store.to_df().index.name == wanted.index.name


PARQUET = [name for name in GOLDEN if name.endswith(".v3.dbn") or name.startswith("definition.")]


@pytest.mark.parametrize("label", ["default", "raw", "fixed"])
@pytest.mark.parametrize("name", [*PARQUET, *[n for n in SMALL if n != LIVE]])
def test_parquet_reads_back_as_the_official_file(name: str, label: str) -> None:
    options = OPTIONS[label]
    theirs, stamps = readable(read(name))
    back = parquet(dbnfast.read(read(name)), **options)
    wanted = parquet(databento.DBNStore.from_bytes(theirs), **options)
    if "symbol" in wanted and wanted["symbol"].isna().all():
        # the official column has then no type; one that is written in pieces may be text
        assert back["symbol"].isna().all()
        wanted["symbol"] = back["symbol"]
    pd.testing.assert_frame_equal(back, stamped(wanted, stamps, options))
