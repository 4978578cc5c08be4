"""Frames and tables of any values: a slow oracle, and the official package where it reads them."""

from __future__ import annotations

import decimal
import io
import random
import struct
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast._util import threads
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, TIMESTAMP, Field, Layout
from dbnfast.layouts.table import LAYOUTS
from dbnfast.tables import columns
from helpers import builders, streams

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")

UNDEF_PRICE = 2**63 - 1
FORMATS = {"u1": "<B", "i1": "<b", "<u2": "<H", "<i2": "<h", "<u4": "<I", "<i4": "<i",
           "<u8": "<Q", "<i8": "<q"}  # fmt: skip


class Case(NamedTuple):
    """Records of one layout, under a header that makes frames show that layout."""

    layout: Layout
    version: int
    schema: str | None
    ts_out: bool
    records: list[bytes]

    @property
    def data(self) -> bytes:
        head = streams.header(self.version, self.schema, ts_out=int(self.ts_out))
        return head + b"".join(self.records)

    @property
    def wanted(self) -> Any:
        return None if self.schema else self.layout.rtypes[0]

    @property
    def fields(self) -> list[Field]:
        return [*self.layout.ordered, *(self.layout.all_fields(True)[-1:] if self.ts_out else ())]


# without a schema, frames show the newest layout
CHOICES = [
    (layout, version, schema)
    for layout in LAYOUTS
    for version in layout.versions
    for schema in (layout.schemas or (None,))
    if schema is not None or version == 3
]


@st.composite
def cases(draw: st.DrawFn, *, ts_out: bool | None = None) -> Case:
    layout, version, schema = draw(st.sampled_from(CHOICES))
    stamped = draw(st.booleans()) if ts_out is None else ts_out
    wild = draw(st.booleans())
    rtype = layout.rtypes[0]
    if schema is not None:
        rtype = dbnfast.enums.SCHEMA_RTYPES[dbnfast.Schema(schema)]
    kind = builders.Kind(layout, int(rtype))
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), max_size=8))
    records = [
        builders.record_bytes(random.Random(seed), kind, stamped, wild=wild) for seed in seeds
    ]
    repeats = draw(st.sampled_from((1, 1, 3, 40)))
    return Case(layout, version, schema, stamped, records * repeats)


def raw(case: Case, field: Field) -> list[Any]:
    """The values of a field: ints, or bytes without their padding."""
    found: list[Any] = []
    for record in case.records:
        part = record[field.offset : field.offset + field.size]
        if field.kind in (CHAR, CSTR):
            found.append(part.rstrip(b"\0"))
        else:
            found.append(struct.unpack(FORMATS[field.format], part)[0])
    return found


def text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def plain(case: Case, field: Field, price_type: str, pretty_ts: bool) -> list[Any]:
    """What a table holds, None where undefined."""
    values = raw(case, field)
    if field.kind in (CHAR, CSTR):
        return [text(value) for value in values]
    if field.kind == PRICE:
        made: dict[str, Any] = {
            "float": lambda value: value / 1e9,
            "decimal": lambda value: decimal.Decimal(value).scaleb(-9),
            "fixed": lambda value: value,
        }
        return [None if v == UNDEF_PRICE else made[price_type](v) for v in values]
    if field.kind == TIMESTAMP and pretty_ts:
        return [None if v >= 2**63 else v for v in values]
    return values


def shown(column: Any) -> list[Any]:
    """The values of a frame's column or index, None where undefined."""
    if isinstance(getattr(column, "dtype", None), pd.DatetimeTZDtype):
        missing = pd.isna(column)
        numbers = pd.Series(column).astype("int64")
        return [None if gone else n for n, gone in zip(numbers, missing, strict=True)]
    return [
        None if isinstance(v, float | decimal.Decimal) and v != v else v for v in column.tolist()
    ]


PRICE_TYPES = st.sampled_from(("float", "fixed", "decimal"))


@given(cases(), PRICE_TYPES, st.booleans())
def test_frames_hold_what_the_records_hold(case: Case, price_type: str, pretty_ts: bool) -> None:
    store = dbnfast.read(case.data)
    frame = store.to_df(price_type=price_type, pretty_ts=pretty_ts, schema=case.wanted)
    fields = case.fields
    assert frame.index.name == fields[0].name
    assert list(frame.columns) == [*(field.name for field in fields[1:]), "symbol"]
    for field in fields:
        expected = plain(case, field, price_type, pretty_ts)
        if field.kind == PRICE and price_type == "fixed":
            expected = raw(case, field)
        column = frame.index if field is fields[0] else frame[field.name]
        assert shown(column) == expected, field.name
        if field.kind == PRICE:
            kinds = {"float": np.float64, "fixed": np.int64, "decimal": np.object_}
            assert column.dtype == kinds[price_type]
        elif field.kind not in (CHAR, CSTR, TIMESTAMP):
            assert column.dtype == np.dtype(field.format)
    if case.layout.name == "SymbolMappingMsg":
        assert shown(frame["symbol"]) == live_symbols(case)
    else:
        assert frame["symbol"].isna().all()


def live_symbols(case: Case) -> list[str | None]:
    """The symbols that mapping records bring, as a reader of objects would keep them."""
    known: dict[int, str | None] = {}
    found = []
    for record in dbnfast.scan(case.data):
        assert isinstance(record, dbnfast.SymbolMappingMsg)
        texts = [
            _told(bytes(record)[at : at + 71]) for at in (17, 89)
        ]  # stype_in_symbol, stype_out_symbol
        symbol = texts[0] if texts[1] is not None and texts[1].isdigit() else texts[1]
        if symbol is not None:
            known[record.instrument_id] = symbol
        found.append(known.get(record.instrument_id))
    return found


def _told(text: bytes) -> str | None:
    """A text up to its NUL; None where it has none, or is not UTF-8: then it tells nothing."""
    try:
        return text.partition(b"\0")[0].decode() if b"\0" in text else None
    except UnicodeDecodeError:
        return None


@given(cases(), PRICE_TYPES, st.booleans(), st.booleans())
def test_tables_hold_what_the_records_hold(
    case: Case, price_type: str, pretty_ts: bool, categorical: bool
) -> None:
    store = dbnfast.read(case.data)
    table = store.to_arrow(
        case.wanted, price_type=price_type, pretty_ts=pretty_ts, categorical=categorical
    )
    table.validate(full=True)
    fields = case.fields
    assert table.column_names == [*(field.name for field in fields), "symbol"]
    for field in fields:
        expected = plain(case, field, price_type, pretty_ts)
        if field.kind == CHAR:
            expected = [value or None for value in expected]
        elif field.kind != CSTR and field.has_undef:
            values = raw(case, field)
            expected = [
                None if v == field.undef else e for v, e in zip(values, expected, strict=True)
            ]
        column = table[field.name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        assert column.to_pylist() == expected, field.name


def ascii_only(case: Case) -> Case:
    """Clear the highest bit of all text: other bytes make the official package raise."""
    records = []
    for record in case.records:
        raw = bytearray(record)
        for field in case.layout.fields:
            if field.kind in (CHAR, CSTR):
                for at in range(field.offset, field.offset + field.size):
                    raw[at] &= 0x7F
        records.append(bytes(raw))
    return case._replace(records=records)


def official(case: Case, **options: Any) -> Any:
    databento = pytest.importorskip("databento")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return databento.DBNStore.from_bytes(case.data).to_df(**options)


@given(cases(ts_out=False), st.sampled_from(("float", "fixed")), st.booleans())
def test_frames_are_the_official_ones(case: Case, price_type: str, pretty_ts: bool) -> None:
    if case.schema in (None, "tcbbo") or not case.records:
        return  # gateway's records have no official frame; the others are other on purpose
    case = ascii_only(case)
    options = {"price_type": price_type, "pretty_ts": pretty_ts, "map_symbols": pretty_ts}
    try:
        theirs = official(case, **options)
    except KeyError:
        assert case.schema == "ohlcv-eod"  # which it has in version 3 only
        assert case.version < 3
        return
    pd.testing.assert_frame_equal(dbnfast.read(case.data).to_df(**options), theirs)


@given(cases(), st.integers(1, 9), PRICE_TYPES)
@settings(max_examples=30)
def test_frames_in_parts_are_the_frame(case: Case, count: int, price_type: str) -> None:
    store = dbnfast.read(case.data)
    options: dict[str, Any] = {"price_type": price_type, "schema": case.wanted}
    whole = store.to_df(**options)
    parts = list(store.to_df(count=count, **options))
    assert sum(map(len, parts)) == len(whole)
    if parts:
        pd.testing.assert_frame_equal(pd.concat(parts), whole)


@given(cases(), st.integers(1, 4))
@settings(max_examples=30)
def test_threads_make_the_same(case: Case, cores: int) -> None:
    store = dbnfast.read(case.data)
    one, table = store.to_df(schema=case.wanted), store.to_arrow(case.wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "ROWS_PER_THREAD", 10)
        patch.setattr(threads, "cores", lambda: cores)
        pd.testing.assert_frame_equal(store.to_df(schema=case.wanted), one)
        assert store.to_arrow(case.wanted).equals(table)


@given(cases(), st.sampled_from(("float", "fixed")), st.booleans())
@settings(max_examples=30)
def test_parquet_reads_back_as_the_frame(case: Case, price_type: str, pretty_ts: bool) -> None:
    store = dbnfast.read(case.data)
    options: dict[str, Any] = {
        "price_type": price_type, "pretty_ts": pretty_ts, "map_symbols": False,
        "schema": case.wanted,
    }  # fmt: skip
    out = io.BytesIO()
    store.to_parquet(out, **options)
    pd.testing.assert_frame_equal(pd.read_parquet(out), store.to_df(**options))
