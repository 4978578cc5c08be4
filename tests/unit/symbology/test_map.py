"""Symbols of records: every rule, against the official packages where they have one."""

from __future__ import annotations

import datetime
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Metadata, Records, RType, SType
from dbnfast._core import symbols as core
from dbnfast._core.metadata import parse_header
from dbnfast.enums import UNDEF_TIMESTAMP
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.symbology.map import SymbolMap
from dbnfast.symbology.resolver import Resolver, resolver
from helpers import streams
from helpers.places import REAL

DAY = 86_400 * 10**9
NAMES = sorted(str(path.relative_to(REAL)) for path in REAL.rglob("*.dbn.zst") if path.is_file())
real_files = pytest.mark.skipif(not NAMES, reason="there are no real files: testdata is absent")
JAN = datetime.date(1970, 1, 1)

Mappings = list[tuple[bytes, list[tuple[int, int, bytes]]]]


def day(n: int) -> int:
    """Day n of January 1970, from 0, as headers have it."""
    return 19700101 + n


def head(
    mappings: Mappings,
    schema: str | None = "trades",
    *,
    version: int = 3,
    stype_in: int = 1,
    stype_out: int = 0,
    ts_out: int = 0,
) -> bytes:
    lists = bytes(12) + streams.mapping_list(mappings, 22 if version == 1 else 71)
    return streams.header(
        version, schema, lists=lists, stype_in=stype_in, stype_out=stype_out, ts_out=ts_out
    )


def metadata(mappings: Mappings, schema: str | None = "trades", **fields: Any) -> Metadata:
    return Metadata.decode(head(mappings, schema, **fields))


def trade(instrument_id: int, ts: int, extra: bytes = b"") -> bytes:
    body = struct.pack("<qIccBBQiI", 1, 1, b"T", b"A", 0, 0, ts, 0, 0) + extra
    return streams.record(0, 48 + len(extra), instrument_id=instrument_id, ts_event=3, body=body)


def bar(instrument_id: int, ts: int) -> bytes:
    return streams.record(0x21, 56, instrument_id=instrument_id, ts_event=ts)


def mapping(
    instrument_id: int,
    symbol_out: bytes,
    symbol_in: bytes = b"IN",
    *,
    start: int = UNDEF_TIMESTAMP,
    end: int = UNDEF_TIMESTAMP,
    ts: int = 5,
    old: bool = False,
) -> bytes:
    if old:
        body = struct.pack("<22s22s4xQQ", symbol_in, symbol_out, start, end)
        return streams.record(0x16, 80, instrument_id=instrument_id, ts_event=ts, body=body)
    body = struct.pack("<B71sB71sQQ", 255, symbol_in, 255, symbol_out, start, end)
    return streams.record(0x16, 176, instrument_id=instrument_id, ts_event=ts, body=body)


def fragment(*records: bytes, version: int = 3) -> Records:
    return dbnfast.scan(b"".join(records), has_metadata=False, input_version=version, ts_out=False)


def names(symbols: Any, codes: np.ndarray[Any, Any]) -> list[str | None]:
    assert codes.dtype == np.int32
    assert codes.min(initial=-1) >= -1
    return [None if code < 0 else symbols[code] for code in codes.tolist()]


def resolved(data: bytes, *, text: bool = False) -> list[str | None]:
    records = dbnfast.scan(data)
    found = resolver(records.metadata, text=text)
    codes = found.codes(records)
    assert len(codes) == len(records)
    return names(found.symbols, codes)


def transcoded(data: bytes) -> list[str | None]:
    """The symbols that the official Transcoder writes for every record."""
    dbn = pytest.importorskip("databento_dbn")
    out = io.BytesIO()
    with dbn.Transcoder(out, dbn.Encoding.JSON, dbn.Compression.NONE) as transcoder:
        transcoder.write(data)
    return [json.loads(line)["symbol"] for line in out.getvalue().splitlines()]


def table(rows: list[tuple[int, int, int, int]]) -> core.SymbolTable:
    """A table of (id, begin, end, code), sorted."""
    ids = np.array([row[0] for row in rows], np.uint32)
    unique, first = np.unique(ids, return_index=True)
    columns = [np.array([row[i] for row in rows], np.uint64) for i in (1, 2)]
    codes = np.array([row[3] for row in rows], np.int32)
    return core.SymbolTable(unique, np.append(first, len(ids)), *columns, codes)


# --- Header.intervals -------------------------------------------------------------------------


def numbered(date: datetime.date) -> int:
    return date.year * 10000 + date.month * 100 + date.day


def columns(data: bytes) -> list[tuple[str, int, int, str]]:
    raw_symbols, rows, starts, ends, symbols = parse_header(data).intervals()
    assert (rows.typecode, starts.typecode, ends.typecode) == ("q", "I", "I")
    return [
        (raw_symbols[row], start, end, symbol)
        for row, start, end, symbol in zip(rows, starts, ends, symbols, strict=True)
    ]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_intervals_are_the_mappings(version: int) -> None:
    data = head(
        [
            (b"A", [(day(1), day(2), b"7"), (day(2), 99991231, b"")]),
            (b"NONE", []),
            ("É".encode(), [(10101, 20000229, b"8 ")]),
        ],
        version=version,
    )
    flat = [
        (raw, numbered(start), numbered(end), symbol)
        for raw, intervals in parse_header(data).mappings()
        for start, end, symbol in intervals
    ]
    assert columns(data) == flat
    assert len(flat) == 3
    assert parse_header(data).intervals()[0] == ["A", "NONE", "É"]


def test_intervals_of_no_mappings() -> None:
    assert columns(head([])) == []


@pytest.mark.parametrize(
    "wrong", [0, 1, 20240000, 20241301, 20240100, 20240132, 20240230, 19000229, 20230229, 20240431,
              101, 2**32 - 1, 100000101]
)  # fmt: skip
def test_intervals_refuse_dates_as_mappings_do(wrong: int) -> None:
    for pair in ((wrong, day(2)), (day(1), wrong)):
        header = parse_header(head([(b"A", [(day(1), day(2), b"7"), (*pair, b"8")])]))
        with pytest.raises(dbnfast.MetadataError) as expected:
            header.mappings()
        with pytest.raises(dbnfast.MetadataError) as caught:
            header.intervals()
        assert str(caught.value) == str(expected.value)
        assert caught.value.offset == expected.value.offset


@pytest.mark.parametrize("right", [10101, 20240229, 20000229, 20240430, 20241231, 99991231])
def test_intervals_take_every_calendar_day(right: int) -> None:
    assert columns(head([(b"A", [(right, right, b"7")])])) == [("A", right, right, "7")]


@pytest.mark.parametrize("texts", [(b"A\xff", b"7"), (b"A", b"7\xff")])
def test_intervals_refuse_texts_as_mappings_do(texts: tuple[bytes, bytes]) -> None:
    header = parse_header(head([(texts[0], [(day(1), day(2), texts[1])])]))
    with pytest.raises(dbnfast.MetadataError, match="is not UTF-8") as expected:
        header.mappings()
    with pytest.raises(dbnfast.MetadataError) as caught:
        header.intervals()
    assert str(caught.value) == str(expected.value)


# --- the compiled tables ----------------------------------------------------------------------


def test_table_code_at_every_edge() -> None:
    made = table([(0, 10, 20, 3), (0, 20, 30, 4), (0, 40, 50, 5), (2**32 - 1, 0, 2**64 - 1, 6)])
    assert (made.n_ids, made.n_intervals) == (2, 4)
    codes = {ts: made.code(0, ts) for ts in (0, 9, 10, 19, 20, 29, 30, 39, 40, 49, 50, 2**64 - 1)}
    assert codes == {
        0: -1, 9: -1, 10: 3, 19: 3, 20: 4, 29: 4, 30: -1, 39: -1, 40: 5, 49: 5, 50: -1,
        2**64 - 1: -1,
    }  # fmt: skip
    assert made.code(2**32 - 1, 0) == made.code(2**32 - 1, 2**64 - 2) == 6
    assert made.code(2**32 - 1, 2**64 - 1) == -1
    assert made.code(1, 15) == -1


def test_lookup_remembers_nothing_wrong() -> None:
    """Each answer is what a fresh look-up gives, whatever came before it."""
    made = table([(1, 10, 20, 0), (1, 30, 40, 1), (1, 40, 45, 2), (2, 0, 15, 3), (9, 5, 6, 4)])
    rng = np.random.default_rng(7)
    ids = rng.choice(np.array([1, 2, 3, 9], np.uint32), 5000)
    stamps = rng.choice(np.array([*range(50), 2**64 - 1], np.uint64), 5000)
    out = np.empty(5000, np.int32)
    core.lookup(made, ids, stamps, out)
    fresh = [made.code(*pair) for pair in zip(ids.tolist(), stamps.tolist(), strict=True)]
    assert out.tolist() == fresh
    assert set(fresh) == {-1, 0, 1, 2, 3, 4}


def test_table_with_many_ids() -> None:
    ids = np.arange(0, 300_000, 3, dtype=np.uint32)
    n = len(ids)
    made = core.SymbolTable(
        ids, np.arange(n + 1), np.zeros(n, np.uint64), np.full(n, 9, np.uint64),
        np.arange(n, dtype=np.int32),
    )  # fmt: skip
    asked = np.arange(300_000, dtype=np.uint32)
    out = np.empty(len(asked), np.int32)
    core.lookup(made, asked, np.full(len(asked), 8, np.uint64), out)
    np.testing.assert_array_equal(out, np.where(asked % 3 == 0, asked.astype(np.int32) // 3, -1))


def test_table_copies_its_columns() -> None:
    begins = np.array([1], np.uint64)
    made = core.SymbolTable(
        np.array([7], np.uint32), np.array([0, 1]), begins, np.array([9], np.uint64),
        np.array([0], np.int32),
    )  # fmt: skip
    begins[0] = 5
    assert made.code(7, 1) == 0


@pytest.mark.parametrize(
    ("ids", "first", "begins", "ends", "codes"),
    [
        ([1], [0], [1], [2], [0]),
        ([1], [0, 1], [1], [2, 3], [0]),
        ([1], [0, 1], [1], [2], []),
        ([1], [0, 2], [1], [2], [0]),
        ([1], [1, 1], [1], [2], [0]),
        ([1, 2], [0, 1, 1], [1], [2], [0]),
        ([1, 2, 3], [0, 2, 1, 2], [1, 3], [2, 4], [0, 0]),
        ([1, 2], [0, -1, 1], [1], [2], [0]),
        ([1, 2], [0, 5, 1], [1], [2], [0]),
        ([2, 1], [0, 1, 2], [1, 1], [2, 2], [0, 0]),
        ([1, 1], [0, 1, 2], [1, 1], [2, 2], [0, 0]),
        ([1], [0, 1], [2], [2], [0]),
        ([1], [0, 2], [1, 2], [3, 4], [0, 0]),
        ([1], [0, 2], [3, 1], [4, 2], [0, 0]),
        ([1], [0, 1], [1], [2], [-1]),
    ],
)
def test_table_refuses_columns_that_do_not_fit(
    ids: list[int], first: list[int], begins: list[int], ends: list[int], codes: list[int]
) -> None:
    with pytest.raises(ValueError):
        core.SymbolTable(
            np.array(ids, np.uint32),
            np.array(first, np.int64),
            np.array(begins, np.uint64),
            np.array(ends, np.uint64),
            np.array(codes, np.int32),
        )


def test_table_is_made_once_and_empty_before() -> None:
    made = core.SymbolTable.__new__(core.SymbolTable)
    assert made.code(1, 1) == -1
    none = np.empty(0, np.uint64)
    rest = (np.zeros(1, np.int64), none, none, none.astype(np.int32))
    made.__init__(none.astype(np.uint32), *rest)  # type: ignore[misc]
    assert made.code(1, 1) == -1
    with pytest.raises(TypeError, match="made once"):
        made.__init__(none.astype(np.uint32), *rest)  # type: ignore[misc]


def test_kernels_check_every_size() -> None:
    made = table([(1, 0, 9, 0)])
    out = np.empty(2, np.int32)
    ids, stamps = np.ones(2, np.uint32), np.ones(3, np.uint64)
    with pytest.raises(ValueError, match="2 ids, 3 times"):
        core.lookup(made, ids, stamps, out)
    with pytest.raises(ValueError, match="room for 2"):
        core.lookup(made, np.ones(3, np.uint32), stamps, out)
    data = trade(1, 1) * 2
    for size, ts_at in ((0, 8), (15, 8), (47, 8), (-48, 8), (48, 41), (48, -1)):
        with pytest.raises(ValueError):
            core.lookup_records(made, data, size, ts_at, np.empty(3, np.int32))
    with pytest.raises(ValueError, match="room for 3"):
        core.lookup_records(made, data, 48, 32, np.empty(3, np.int32))
    wanted = np.ones(256, np.uint8)
    for n in (0, 1, 3):
        with pytest.raises(ValueError, match=f"room for {n} codes"):
            core.lookup_stream(made, data, SIZES, False, wanted, INDEX_TS_AT, np.empty(n, np.int32))
        with pytest.raises(ValueError, match=f"room for {n} codes"):
            core.track(
                core.LiveMap(), None, data, SIZES, False, 0x16, np.empty(0, np.int32), wanted,
                INDEX_TS_AT, np.empty(n, np.int32),
            )  # fmt: skip
    with pytest.raises(ValueError, match="one entry for each rtype"):
        core.lookup_stream(made, data, SIZES, False, wanted[:255], INDEX_TS_AT, out)
    far = INDEX_TS_AT.copy()
    far[0] = 41
    with pytest.raises(ValueError, match="no timestamp at byte 41 of rtype 0"):
        core.lookup_stream(made, data, SIZES, False, wanted, far, out)


@pytest.mark.parametrize("n", [0, 2])
def test_track_needs_a_code_for_every_mapping(n: int) -> None:
    wanted = np.zeros(256, np.uint8)
    with pytest.raises(ValueError, match=f"{n} codes of mappings"):
        core.track(
            core.LiveMap(), None, mapping(1, b"A"), SIZES, False, 0x16, np.zeros(n, np.int32),
            wanted, INDEX_TS_AT, np.empty(0, np.int32),
        )  # fmt: skip


def test_live_map_grows_and_forgets() -> None:
    live = core.LiveMap()
    assert live.code(0) == -1
    ids = [0, 2**32 - 1, *range(5, 5000)]
    data = b"".join(mapping(i, b"", old=True) for i in ids)
    nothing, none = np.zeros(256, np.uint8), np.empty(0, np.int32)
    for first in range(0, len(ids), 1000):  # in batches, so that it grows with what is in it
        part = ids[first : first + 1000]
        codes = np.arange(first, first + len(part), dtype=np.int32)
        core.track(
            live, None, data[first * 80 : (first + len(part)) * 80], SIZES, False, 0x16, codes,
            nothing, INDEX_TS_AT, none,
        )  # fmt: skip
    assert [live.code(i) for i in ids] == list(range(len(ids)))
    assert live.code(1) == -1
    codes = np.array([-1, -2, 9], np.int32)
    core.track(live, None, data[:240], SIZES, False, 0x16, codes, nothing, INDEX_TS_AT, none)
    assert [live.code(i) for i in ids[:4]] == [-1, 1, 9, 3]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("7", 7), ("+7", 7), ("007", 7), ("+" + "0" * 30 + "9", 9),
        ("4294967295", 2**32 - 1),
    ],
)  # fmt: skip
def test_ids_that_are_numbers(text: str, number: int) -> None:
    out = np.empty(1, np.uint32)
    assert core.decimals([text], out) == -1
    assert out[0] == number


@pytest.mark.parametrize(
    "text",
    ["", "+", "-7", "-0", "++7", "1_000", " 7", "7 ", "7\n", "0x7", "7.0", "4294967296",
     "\u0667", "\u2077", "9" * 40, "7\0", "\ud800"],
)  # fmt: skip
def test_ids_that_are_no_numbers(text: str) -> None:
    assert core.decimals(["1", text, "2"], np.empty(3, np.uint32)) == 1
    with pytest.raises(ValueError, match="is no instrument id, expected 0 to 4294967295"):
        SymbolMap().insert_json(resolve_result({"A": [("1970-01-02", "1970-01-03", text or "x")]}))


def test_decimals_needs_room_for_all() -> None:
    with pytest.raises(ValueError, match="2 texts and room for 1"):
        core.decimals(["1", "2"], np.empty(1, np.uint32))


# --- metadata ---------------------------------------------------------------------------------


def test_a_day_begins_at_midnight_and_ends_one_ns_before_the_next() -> None:
    made = SymbolMap.from_metadata(metadata([(b"A", [(day(1), day(3), b"7")])]))
    assert made.symbols == ("A",)
    assert (len(made), bool(made)) == (1, True)
    at = {DAY - 1: None, DAY: "A", 3 * DAY - 1: "A", 3 * DAY: None, 0: None, 2**64 - 1: None}
    assert {ts: made.resolve(7, ts) for ts in at} == at
    assert made.resolve(8, DAY) is None
    dates = {n: made.resolve(7, JAN + datetime.timedelta(n)) for n in range(4)}
    assert dates == {0: None, 1: "A", 2: "A", 3: None}


def test_clamping_to_what_a_timestamp_can_be() -> None:
    whole = SymbolMap.from_metadata(metadata([(b"A", [(10101, 99991231, b"7")])]))
    assert [whole.resolve(7, ts) for ts in (0, 2**63, 2**64 - 2)] == ["A"] * 3
    assert whole.resolve(7, 2**64 - 1) is None
    last = SymbolMap.from_metadata(metadata([(b"A", [(25540721, 25540722, b"7")])]))
    midnight = (2**64 - 1) // DAY * DAY
    assert [last.resolve(7, ts) for ts in (midnight - 1, midnight, 2**64 - 2)] == [None, "A", "A"]
    behind = SymbolMap.from_metadata(
        metadata([(b"A", [(25540722, 99991231, b"7"), (10101, 19700101, b"8")])])
    )
    assert not behind
    assert behind.resolve(7, 2**64 - 2) is None
    before = SymbolMap.from_metadata(metadata([(b"A", [(19691231, 19700102, b"7")])]))
    assert [before.resolve(7, ts) for ts in (0, DAY - 1, DAY)] == ["A", "A", None]


def test_far_dates_are_the_transcoders() -> None:
    stamps = (0, 2**63, (2**64 - 1) // DAY * DAY, 2**64 - 2, 2**64 - 1)
    for first, last in ((10101, 99991231), (25540721, 25540722), (19691231, 19700102)):
        data = head([(b"A", [(first, last, b"7")])]) + b"".join(trade(7, ts) for ts in stamps)
        assert resolved(data) == transcoded(data)


def test_inverse_mappings() -> None:
    intervals = [(day(1), day(2), b"AA"), (day(2), day(3), b""), (day(3), day(4), b"BB")]
    found = metadata([(b"+007", intervals)], stype_in=0, stype_out=1)
    made = SymbolMap.from_metadata(found)
    assert [made.resolve(7, n * DAY) for n in range(5)] == [None, "AA", None, "BB", None]
    assert made.symbols == ("AA", "BB")


def test_forward_wins_where_both_are_ids() -> None:
    found = metadata([(b"8", [(day(1), day(2), b"7")])], stype_in=0, stype_out=0)
    made = SymbolMap.from_metadata(found)
    assert made.resolve(7, DAY) == "8"
    assert made.resolve(8, DAY) is None


@pytest.mark.parametrize("mappings", [[], [(b"A", [(day(1), day(2), b"7")])]])
@pytest.mark.parametrize("stype_in", [1, 255])
def test_neither_is_an_id(mappings: Mappings, stype_in: int) -> None:
    found = metadata(mappings, stype_in=stype_in, stype_out=1)
    with pytest.raises(ValueError, match="only where stype_out or stype_in is instrument_id"):
        SymbolMap.from_metadata(found)
    with pytest.raises(ValueError, match="raw_symbol"):
        resolver(found)


def test_intervals_of_no_day_and_without_a_symbol_are_ignored() -> None:
    intervals = [(day(1), day(1), b"7"), (day(1), day(3), b""), (day(3), day(1), b"")]
    made = SymbolMap.from_metadata(metadata([(b"A", intervals)]))
    assert (len(made), bool(made)) == (0, False)
    assert made.resolve(7, DAY) is None


def test_an_interval_that_ends_before_it_starts() -> None:
    found = metadata([(b"A", [(day(1), day(2), b"7"), (day(4), day(3), b"8")])])
    made = SymbolMap()
    with pytest.raises(ValueError) as caught:
        made.insert_metadata(found)
    assert str(caught.value) == (
        "the mapping of 'A' to '8' starts on 1970-01-05 and ends on 1970-01-04, before that"
    )
    assert not made  # nothing of it went in
    assert made.symbols == ()


def test_ids_are_checked_even_where_they_map_nothing() -> None:
    for mappings in ([(b"A", [(day(1), day(1), b"x")])], [(b"A", [(day(3), day(1), b"x")])]):
        with pytest.raises(ValueError, match="'x' in the mappings is no instrument id"):
            SymbolMap.from_metadata(metadata(mappings))
    for intervals in ([], [(day(1), day(3), b"")]):
        with pytest.raises(ValueError, match="'x' in the mappings is no instrument id"):
            SymbolMap.from_metadata(metadata([(b"x", intervals)], stype_in=0, stype_out=1))


def test_the_later_of_overlapping_intervals_holds() -> None:
    whole, part = (b"A", [(day(1), day(5), b"7")]), (b"B", [(day(2), day(3), b"7")])
    first = SymbolMap.from_metadata(metadata([whole, part]))
    assert [first.resolve(7, n * DAY) for n in range(6)] == [None, "A", "B", "A", "A", None]
    assert len(first) == 3
    second = SymbolMap.from_metadata(metadata([part, whole]))
    assert [second.resolve(7, n * DAY) for n in range(6)] == [None, *"AAAA", None]
    assert len(second) == 1
    # insertions count as file order does, other ids are not touched
    third = SymbolMap.from_metadata(metadata([whole, (b"C", [(day(0), day(9), b"6")])]))
    assert third.resolve(7, 2 * DAY) == "A"
    third.insert_metadata(metadata([part]))
    assert [third.resolve(7, n * DAY) for n in range(6)] == [None, "A", "B", "A", "A", None]
    assert third.resolve(6, 8 * DAY) == "C"
    assert third.symbols == ("A", "C", "B")


def test_the_same_metadata_twice_changes_nothing() -> None:
    found = metadata([(b"A", [(day(1), day(3), b"7")]), (b"B", [(day(1), day(3), b"8")])])
    made = SymbolMap.from_metadata(found)
    made.insert_metadata(found)
    assert len(made) == 2
    made.insert_metadata(metadata([(b"C", [(day(1), day(3), b"7")])]))
    assert len(made) == 2
    assert [made.resolve(i, DAY) for i in (7, 8)] == ["C", "B"]


def test_many_overlaps_of_one_id_take_no_quadratic_time() -> None:
    n = 20_000
    made = SymbolMap()
    data = b"".join(mapping(7, b"S%d" % i, start=i, end=10 * n - i, old=True) for i in range(n))
    made.insert_symbol_mapping_msg(fragment(data))
    assert len(made) == 2 * n - 1
    assert [made.resolve(7, ts) for ts in (0, n // 2, 2 * n, 10 * n - 1)] == [
        "S0", f"S{n // 2}", f"S{n - 1}", "S0",
    ]  # fmt: skip


def test_metadata_made_in_python_means_the_same() -> None:
    date = datetime.date
    fields: dict[str, Any] = {"dataset": "XNAS.ITCH", "schema": "trades", "stype_in": "raw_symbol"}
    made = Metadata(
        **fields,
        mappings={
            "A": [
                {"start_date": date(1970, 1, 2), "end_date": date(1970, 1, 3), "symbol": "7"},
                {"start_date": date(1, 1, 1), "end_date": date(9999, 12, 31), "symbol": "8"},
            ]
        },
    )
    for found in (made, Metadata.decode(made.encode()), made.replace(version=1).upgrade(3)):
        symbols = SymbolMap.from_metadata(found)
        assert [symbols.resolve(7, n * DAY) for n in range(3)] == [None, "A", None]
        assert symbols.resolve(8, 2**64 - 2) == "A"


def test_version_1_metadata() -> None:
    data = head([(b"A", [(day(1), day(2), b"7")])], version=1)
    data += trade(7, DAY) + trade(7, 2 * DAY)
    assert resolved(data) == ["A", None] == transcoded(data)


def test_metadata_of_another_kind() -> None:
    with pytest.raises(TypeError, match="str is no Metadata"):
        SymbolMap().insert_metadata("GLBX.MDP3")  # type: ignore[arg-type]


def test_clear() -> None:
    made = SymbolMap.from_metadata(metadata([(b"A", [(day(1), day(3), b"7")])]))
    assert repr(made) == "<SymbolMap: 1 intervals of 1 instruments>"
    made.clear()
    assert (len(made), made.symbols, made.resolve(7, DAY)) == (0, (), None)
    assert repr(SymbolMap()) == "<SymbolMap: 0 intervals of 0 instruments>"


# --- ids and times of callers -----------------------------------------------------------------


@pytest.fixture
def one_day() -> SymbolMap:
    """Id 7 is A on the second day of 1970."""
    return SymbolMap.from_metadata(metadata([(b"A", [(day(1), day(2), b"7")])]))


def test_times_of_all_kinds(one_day: SymbolMap) -> None:
    pandas = pytest.importorskip("pandas")
    datetime_ = datetime.datetime
    east = datetime.timezone(datetime.timedelta(hours=3))
    inside: list[Any] = [
        DAY, np.uint64(DAY), np.int64(2 * DAY - 1), datetime.date(1970, 1, 2),
        datetime_(1970, 1, 2, 23, 59, 59, 999_999), datetime_(1970, 1, 2, tzinfo=datetime.UTC),
        datetime_(1970, 1, 3, 2, 59, tzinfo=east), np.datetime64("1970-01-02"),
        np.datetime64("1970-01-02T23:59:59.999999999"), np.datetime64(25, "h"),
        np.datetime64(1000 * DAY, "ps"),
        pandas.Timestamp(2 * DAY - 1), pandas.Timestamp("1970-01-03T02:59", tz=east),
    ]  # fmt: skip
    assert [one_day.resolve(7, time) for time in inside] == ["A"] * len(inside)
    outside: list[Any] = [
        0, 2 * DAY, 2**64 - 1, datetime.date(1970, 1, 3), datetime.date(9999, 12, 31),
        datetime.date(1, 1, 1), datetime_(1970, 1, 3, 3, 0, tzinfo=east),
        np.datetime64("NaT", "ns"), np.datetime64("1969-12-31"),
        np.datetime64("3000-01-01"), np.datetime64("1970"),
        pandas.Timestamp(2 * DAY), pandas.NaT,
    ]  # fmt: skip
    assert [one_day.resolve(7, time) for time in outside] == [None] * len(outside)


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "12h", "h", "m", "s", "ms", "us", "ns"])
def test_times_of_every_unit(unit: str) -> None:
    made = SymbolMap.from_metadata(metadata([(b"A", [(19700101, 19980101, b"7")])]))
    times = np.array(["1969-12-01", "1970-01-01", "1997-12-31", "1998-01-15", "NaT"], "M8[ms]")
    times = times.astype(f"M8[{unit}]")
    if unit == "ps":
        times[2:4] = np.array([10**18, 2**63 - 1]).view("M8[ps]")  # 11 and 106 days
        expected = [0, 0, 0]
    else:
        expected = [0, 0, -1]
    assert made.codes([7] * 5, times).tolist() == [-1, *expected, -1]


def test_codes_take_arrays_of_many_kinds(one_day: SymbolMap) -> None:
    stamps = [0, DAY, 2 * DAY]
    dates = [datetime.date(1970, 1, 1 + n) for n in range(3)]
    times: list[Any] = [
        stamps, np.array(stamps, np.uint64), np.array(stamps), np.array(stamps, "M8[ns]"),
        np.repeat(np.array(stamps, np.uint64), 2)[::2], dates, np.array(dates, "M8[D]"),
        np.array(dates, object),
    ]  # fmt: skip
    for kind in (np.uint32, np.int64, np.uint64, np.uint8):
        ids = np.array([7, 7, 7], kind)
        for index_ts in times:
            found = one_day.codes(ids, index_ts)
            assert found.dtype == np.int32
            assert found.tolist() == [-1, 0, -1]
    assert one_day.codes([], []).tolist() == []
    assert one_day.resolve_many([], []).tolist() == []
    assert one_day.resolve_many([7, 8, 7], [DAY, DAY, 0]).tolist() == ["A", None, None]
    assert SymbolMap().resolve_many([7], [DAY]).tolist() == [None]


@pytest.mark.parametrize(
    ("ids", "times", "error", "words"),
    [
        ([7], [1, 2], ValueError, r"shape \(1,\) and times \(2,\)"),
        ([[7]], [[1]], ValueError, r"expected \(n,\)"),
        (7, 1, ValueError, r"expected \(n,\)"),
        ([7.0], [1], TypeError, "instrument_ids are float64"),
        (["7"], [1], TypeError, "instrument_ids are"),
        ([-1], [1], ValueError, "expected 0 to 2"),
        ([2**32], [1], ValueError, "expected 0 to 2"),
        ([7], [1.5], TypeError, "times are float64"),
        ([7], [-1], ValueError, "times begin at -1"),
        ([7], [None], TypeError, "time is None"),
    ],
)
def test_codes_refuse(
    one_day: SymbolMap, ids: Any, times: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        one_day.codes(ids, times)
    with pytest.raises(error, match=words):
        one_day.resolve_many(ids, times)


def test_resolve_refuses(one_day: SymbolMap) -> None:
    for wrong in (-1, 2**32):
        with pytest.raises(ValueError, match=f"instrument_id is {wrong}"):
            one_day.resolve(wrong, DAY)
    with pytest.raises(TypeError):
        one_day.resolve("7", DAY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time is 'today'"):
        one_day.resolve(7, "today")
    with pytest.raises(ValueError, match="time is -1"):
        one_day.resolve(7, -1)


def test_times_as_text(one_day: SymbolMap) -> None:
    text = str(np.datetime64(DAY, "ns"))
    assert one_day.resolve(7, text) == one_day.resolve(7, DAY) is not None
    assert one_day.resolve(7, "1969-12-31T23:59:59-10:00") == one_day.resolve(7, 36 * 10**12 - 1)
    times = [DAY, 2 * DAY]
    texts = [str(np.datetime64(time, "ns")) for time in times]
    assert one_day.codes([7, 7], texts).tolist() == one_day.codes([7, 7], times).tolist()


# --- records ----------------------------------------------------------------------------------


def test_codes_of_records_go_by_their_index_timestamps() -> None:
    """ts_recv where there is one, else ts_event."""
    data = head([(b"A", [(day(1), day(2), b"7")])], None)
    late = streams.record(0x18, 80, instrument_id=7, ts_event=DAY)  # its ts_recv is 0
    unknown = streams.record(0x42, 16, instrument_id=7, ts_event=DAY)
    body = [trade(7, DAY), bar(7, DAY), late, unknown, trade(8, DAY), bar(7, 2 * DAY), trade(7, 0)]
    records = dbnfast.scan(data + b"".join(body))
    assert records.metadata is not None
    made = SymbolMap.from_metadata(records.metadata)
    assert made.codes_of(records).tolist() == [0, 0, -1, 0, -1, -1, -1]
    for schema in ("trades", "ohlcv-1m", "statistics", RType.MBP_0, "mbo"):
        array = records.array(schema)
        own = "ts_event" if "ohlcv" in str(schema) else "ts_recv"
        expected = made.codes(array["instrument_id"], array[own])
        np.testing.assert_array_equal(made.codes_of(records, schema), expected)
    assert made.codes_of(records, "trades").tolist() == [0, -1, -1]
    assert made.codes_of(records[:0]).tolist() == []
    assert made.codes_of(records[1:2]).tolist() == [0]
    assert made.codes_of(records[1:2], "trades").tolist() == []


@pytest.mark.parametrize("extra", [b"", bytes(8)])
def test_codes_of_records_with_ts_out_and_longer_ones(extra: bytes) -> None:
    data = head([(b"A", [(day(1), day(2), b"7")])], ts_out=1)
    tail = extra + bytes(8)
    data += trade(7, DAY, tail) * 3 + trade(7, 0, tail)
    records = dbnfast.scan(data)
    assert records.metadata is not None
    assert SymbolMap.from_metadata(records.metadata).codes_of(records).tolist() == [0, 0, 0, -1]


def test_codes_of_something_else(one_day: SymbolMap) -> None:
    array = dbnfast.empty("trades", 1)
    with pytest.raises(TypeError, match="ndarray is no Records"):
        one_day.codes_of(array)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ndarray is no Records"):
        Resolver(one_day, live=False).codes(array)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="neither a schema nor an rtype"):
        one_day.codes_of(fragment(trade(7, DAY)), "mbp-2")


# --- symbol mapping records -------------------------------------------------------------------


def moments(made: SymbolMap, instrument_id: int, *stamps: int) -> list[str | None]:
    return [made.resolve(instrument_id, ts) for ts in stamps]


@pytest.mark.parametrize("old", [False, True])
def test_mapping_records_hold_from_start_to_end(old: bool) -> None:
    made = SymbolMap()
    version = 1 if old else 3
    made.insert_symbol_mapping_msg(
        fragment(
            mapping(7, b"A", start=100, end=200, old=old),
            trade(7, 1),
            mapping(7, b"B", start=150, end=160, old=old),
            mapping(8, b"123", b"ES.c.0", start=1, end=2, old=old),
            mapping(9, b"", b"IN", start=1, end=2, old=old),
            version=version,
        )
    )
    stamps = (99, 100, 149, 150, 159, 160, 199, 200)
    assert moments(made, 7, *stamps) == [None, "A", "A", "B", "B", "A", "A", None]
    assert moments(made, 8, 0, 1, 2) == [None, "ES.c.0", None]
    assert moments(made, 9, 1, 2) == ["", None]


def test_mapping_records_without_times() -> None:
    made = SymbolMap()
    made.insert_symbol_mapping_msg(
        fragment(mapping(7, b"A", ts=100), mapping(7, b"B", ts=200), mapping(8, b"C", ts=300))
    )
    assert moments(made, 7, 0, 100, 199, 200, 2**64 - 2) == ["A", "A", "A", "B", "B"]
    assert moments(made, 8, 0, 2**64 - 2) == ["C", "C"]
    # a call of its own knows what came before; an end cuts what is open
    made.insert_symbol_mapping_msg(fragment(mapping(8, b"D", ts=400, end=500)))
    assert moments(made, 8, 399, 400, 499, 500) == ["C", "D", "D", "C"]
    made.insert_symbol_mapping_msg(fragment(mapping(8, b"E", ts=UNDEF_TIMESTAMP)))
    assert moments(made, 8, 0, 2**64 - 2) == ["C", "C"]


def test_an_id_of_the_metadata_is_known_to_mapping_records(one_day: SymbolMap) -> None:
    one_day.insert_symbol_mapping_msg(fragment(mapping(7, b"B", ts=DAY + 10)))
    assert moments(one_day, 7, 0, DAY, DAY + 9, DAY + 10, 3 * DAY) == [None, "A", "A", "B", "B"]


def test_single_mapping_records_of_both_packages() -> None:
    pytest.importorskip("databento_dbn")
    raws = [
        mapping(7, b"A", start=100, end=200),
        mapping(8, b"123", b"ES.c.0", old=True),
        mapping(7, b"B", ts=150),
    ]
    ours, theirs, together = SymbolMap(), SymbolMap(), SymbolMap()
    for raw in raws:
        ours.insert_symbol_mapping_msg(fragment(raw)[0])
        for message in streams.official(raw, has_metadata=False, input_version=3):
            theirs.insert_symbol_mapping_msg(message)
    together.insert_symbol_mapping_msg(fragment(*raws))
    for made in (ours, theirs, together):
        assert moments(made, 7, 99, 100, 149, 150, 250) == [None, "A", "A", "B", "B"]
        assert moments(made, 8, 0, 250) == ["ES.c.0", "ES.c.0"]


def test_mapping_records_one_by_one_take_no_quadratic_time() -> None:
    n = 50_000
    made = SymbolMap()
    for message in fragment(*(mapping(i, b"S%d" % i) for i in range(n))):
        made.insert_symbol_mapping_msg(message)
    assert len(made) == n
    assert made.symbols == tuple(f"S{i}" for i in range(n))
    assert [made.resolve(i, 0) for i in (0, n - 1)] == ["S0", f"S{n - 1}"]


@pytest.mark.parametrize("bad", [b"\xff", b"x" * 71])
def test_mapping_records_whose_symbol_cannot_be_read_say_nothing(bad: bytes) -> None:
    made = SymbolMap()
    made.insert_symbol_mapping_msg(fragment(mapping(7, bad), mapping(7, b"A"), mapping(7, bad)))
    assert moments(made, 7, 0, 100) == ["A", "A"]  # of which A is the first
    assert made.symbols == ("A",)


def test_mapping_records_that_are_wrong() -> None:
    made = SymbolMap()
    with pytest.raises(ValueError, match="instrument 7 to 'A' starts at 20 ns and ends at 10 ns"):
        made.insert_symbol_mapping_msg(fragment(mapping(7, b"A", start=20, end=10)))
    made.insert_symbol_mapping_msg(fragment(mapping(7, b"A", start=20, end=20)))
    made.insert_symbol_mapping_msg(fragment(trade(7, 1)))
    assert not made
    for wrong in (fragment(trade(7, 1))[0], 7, b"", None):
        with pytest.raises(TypeError, match="is no symbol mapping record, and no Records"):
            made.insert_symbol_mapping_msg(wrong)


def test_mapping_records_of_whole_days_are_the_official_maps() -> None:
    symbology = pytest.importorskip("databento.common.symbology")
    raws = [
        mapping(7, b"A", start=DAY, end=3 * DAY),
        mapping(7, b"123", b"B", start=3 * DAY, end=4 * DAY, old=True),
        mapping(8, b"C", start=DAY, end=2 * DAY),
    ]
    theirs = symbology.InstrumentMap()
    for message in streams.official(b"".join(raws), has_metadata=False, input_version=3):
        theirs.insert_symbol_mapping_msg(message)
    made = SymbolMap()
    made.insert_symbol_mapping_msg(fragment(*raws))
    for instrument_id in (7, 8, 9):
        for n in range(6):
            date = JAN + datetime.timedelta(n)
            assert made.resolve(instrument_id, date) == theirs.resolve(instrument_id, date)


# --- definitions ------------------------------------------------------------------------------


def definitions(
    *rows: tuple[int, bytes, int] | tuple[int, bytes, int, bytes], version: int = 3
) -> Any:
    array = dbnfast.empty("definition", len(rows), version=version)
    for record, (instrument_id, symbol, ts, *action) in zip(array, rows, strict=True):
        record["instrument_id"], record["raw_symbol"], record["ts_recv"] = instrument_id, symbol, ts
        record["security_update_action"] = action[0] if action else b"A"
    return array


@pytest.mark.parametrize("version", [1, 2, 3])
def test_definitions(version: int) -> None:
    rows = definitions(
        (7, b"A", DAY + 50),
        (8, b"Z", 10),
        (7, b"A", 2 * DAY + 50),
        (7, b"B", 3 * DAY + 50),
        (7, b"B", 3 * DAY + 90, b"D"),
        (7, b"B", 4 * DAY + 50),
        version=version,
    )
    mixed = fragment(trade(7, 1), rows.tobytes(), bar(7, 1), version=version)
    stamps = [
        DAY - 1, DAY, 3 * DAY + 49, 3 * DAY + 50, 3 * DAY + 89, 3 * DAY + 90, 4 * DAY + 49,
        4 * DAY + 50, 2**64 - 2,
    ]  # fmt: skip
    for records in (rows, fragment(rows.tobytes(), version=version), mixed):
        made = SymbolMap()
        made.insert_definitions(records)
        expected = [None, "A", "A", "B", "B", None, None, "B", "B"]
        assert moments(made, 7, *stamps) == expected
        assert moments(made, 8, 0, 10, 2**64 - 2) == ["Z"] * 3


def test_definitions_of_several_calls() -> None:
    made = SymbolMap()
    made.insert_definitions(definitions((7, b"A", DAY + 50)))
    made.insert_definitions(definitions((7, b"A", 2 * DAY + 5), (7, b"B", 2 * DAY + 50)))
    assert moments(made, 7, DAY, 2 * DAY + 49, 2 * DAY + 50) == ["A", "A", "B"]
    made.insert_definitions(definitions((7, b"B", 3 * DAY, b"D")))
    assert moments(made, 7, 3 * DAY - 1, 3 * DAY, 2**64 - 2) == ["B", None, None]
    assert len(made) == 2


def test_definitions_of_an_id_that_the_metadata_maps(one_day: SymbolMap) -> None:
    one_day.insert_definitions(definitions((7, b"B", DAY + 50)))
    assert moments(one_day, 7, 0, DAY + 49, DAY + 50, 9 * DAY) == [None, "A", "B", "B"]


def test_a_definition_that_is_only_deleted_held_on_that_day() -> None:
    made = SymbolMap()
    made.insert_definitions(definitions((7, b"A", DAY + 50, b"D")))
    assert moments(made, 7, DAY - 1, DAY, DAY + 49, DAY + 50) == [None, "A", "A", None]


def test_definitions_that_say_nothing() -> None:
    made = SymbolMap()
    made.insert_definitions(
        definitions((7, b"", 5), (7, b"\xff", 6), (7, b"x" * 71, 7), (7, b"A", UNDEF_TIMESTAMP))
    )
    made.insert_definitions(definitions())
    made.insert_definitions(fragment(trade(7, 1)))
    assert not made
    assert made.symbols == ()
    for wrong in (None, b"", dbnfast.empty("trades", 1), np.zeros(3)):
        with pytest.raises(TypeError, match="no array of definitions"):
            made.insert_definitions(wrong)  # type: ignore[arg-type]


# --- JSON -------------------------------------------------------------------------------------


def resolve_result(
    result: dict[str, list[tuple[Any, Any, Any]]],
    stype_in: str = "raw_symbol",
    stype_out: str = "instrument_id",
) -> dict[str, Any]:
    return {
        "result": {
            raw: [{"d0": d0, "d1": d1, "s": s} for d0, d1, s in rows]
            for raw, rows in result.items()
        },
        "symbols": list(result),
        "stype_in": stype_in,
        "stype_out": stype_out,
        "start_date": "1970-01-01",
        "end_date": "1970-01-09",
        "partial": [],
        "not_found": [],
        "message": "OK",
        "status": 0,
    }


RESULT = resolve_result(
    {
        "A": [("1970-01-02", "1970-01-04", "7"), ("1970-01-04", "1970-01-05", "")],
        "B": [("1970-01-04", "1970-01-06", "7"), ("1970-01-04", "1970-01-06", "8")],
        "C": [],
    }
)


def test_json_in_every_form_is_what_the_official_map_makes_of_it() -> None:
    symbology = pytest.importorskip("databento.common.symbology")
    theirs = symbology.InstrumentMap()
    theirs.insert_json(RESULT)
    text = json.dumps(RESULT)
    for form in (RESULT, text, io.StringIO(text), io.BytesIO(text.encode())):
        made = SymbolMap()
        made.insert_json(form)  # type: ignore[arg-type]
        for instrument_id in (7, 8, 9):
            for n in range(8):
                date = JAN + datetime.timedelta(n)
                assert made.resolve(instrument_id, date) == theirs.resolve(instrument_id, date)
        assert made.symbols == ("A", "B")


def test_json_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "symbology.json"
    path.write_text(json.dumps(RESULT))
    made = SymbolMap()
    with path.open() as file:
        made.insert_json(file)
    assert made.resolve(8, 4 * DAY) == "B"
    for form in (path, str(path), path.read_bytes()):
        made = SymbolMap()
        made.insert_json(form)
        assert made.resolve(8, 4 * DAY) == "B"
    with pytest.raises(FileNotFoundError):
        made.insert_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match=r"json_data is 'none\.json', neither JSON nor a file"):
        made.insert_json("none.json")


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("1970-01-02T00:00:00.000000000Z", "1970-01-04 00:00:00+00:00"),
        ("1970-01-02T23:59:59", "1970-01-04T12:00"),
        ("1970-01-01T22:00-05:00", datetime.datetime(1970, 1, 4, 5)),
        (datetime.datetime(1970, 1, 2, 1, tzinfo=datetime.UTC), datetime.date(1970, 1, 4)),
    ],
)
@pytest.mark.parametrize("symbol", ["7", 7, np.uint32(7)])
def test_json_with_times_and_numbers(first: Any, last: Any, symbol: Any) -> None:
    made = SymbolMap()
    made.insert_json(resolve_result({"A": [(first, last, symbol)]}))
    assert moments(made, 7, DAY - 1, DAY, 3 * DAY - 1, 3 * DAY) == [None, "A", "A", None]
    symbology = pytest.importorskip("databento.common.symbology")
    theirs = symbology.InstrumentMap()
    if isinstance(first, str) and isinstance(last, str):  # all that it takes
        theirs.insert_json(resolve_result({"A": [(first, last, symbol)]}))
        days = [JAN + datetime.timedelta(n) for n in range(4)]
        assert [theirs.resolve(7, day) for day in days] == [None, "A", "A", None]


def test_json_the_other_way_round() -> None:
    made = SymbolMap()
    result = {"7": [("1970-01-02", datetime.date(1970, 1, 3), "A")]}
    made.insert_json(resolve_result(result, "instrument_id", "raw_symbol"))
    assert moments(made, 7, DAY - 1, DAY, 2 * DAY) == [None, "A", None]


@pytest.mark.parametrize("key", sorted(RESULT))
def test_json_without_a_key(key: str) -> None:
    data = {name: value for name, value in RESULT.items() if name != key}
    with pytest.raises(ValueError, match=f"'{key}' is missing"):
        SymbolMap().insert_json(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"result": [1]}, "'result' is a list"),
        ({"result": {"A": [{"d0": "1970-01-02", "d1": "1970-01-03"}]}}, "expected keys 'd0'"),
        ({"result": {"A": [7]}}, "an interval of 'A' is 7"),
        ({"result": {"A": None}}, "the intervals of 'A' are None, expected a list"),
        ({"result": {"A": [{"d0": None, "d1": "1970-01-03", "s": "7"}]}}, "'d0' of 'A' is None"),
        ({"result": {"A": [{"d0": "1970-01-02", "d1": "soon", "s": "7"}]}}, "'d1' of 'A' is 'soo"),
        ({"result": {"A": [{"d0": "1970-01-02", "d1": "1970-01-03", "s": 7.5}]}}, "expected a str"),
        ({"result": {"A": [{"d0": "1970-01-02", "d1": "1970-01-03", "s": True}]}}, "a str or an"),
        ({"result": {"A": [{"d0": "1970-01-03", "d1": "1970-01-02", "s": "7"}]}}, "before that"),
        ({"stype_in": "raw", "stype_out": "instrument_id"}, "raw"),
        ({"stype_out": "raw_symbol"}, "only where stype_out or stype_in is instrument_id"),
    ],
)
def test_json_that_is_wrong(change: dict[str, Any], words: str) -> None:
    made = SymbolMap()
    with pytest.raises(ValueError, match=words):
        made.insert_json({**RESULT, **change})
    assert not made


def test_json_that_is_none() -> None:
    with pytest.raises(ValueError):
        SymbolMap().insert_json("{")
    with pytest.raises(ValueError, match="'result' is missing"):
        SymbolMap().insert_json("[1]")
    with pytest.raises(TypeError, match="json_data is a int"):
        SymbolMap().insert_json(7)  # type: ignore[arg-type]


# --- streams ----------------------------------------------------------------------------------


def test_a_stream_with_a_schema_goes_by_its_metadata() -> None:
    data = head([(b"A", [(day(1), day(2), b"7")])])
    data += trade(7, DAY) + mapping(7, b"B") + trade(7, DAY) + trade(7, 2**64 - 1)
    assert resolved(data) == ["A", None, "A", None] == transcoded(data)


def test_a_map_that_is_given_replaces_the_metadata(one_day: SymbolMap) -> None:
    records = dbnfast.scan(head([(b"B", [(day(1), day(3), b"7")])]) + trade(7, DAY))
    given = resolver(records.metadata, one_day)
    assert names(given.symbols, given.codes(records)) == ["A"]
    for nothing in (None, SymbolMap()):
        own = resolver(records.metadata, nothing)
        assert names(own.symbols, own.codes(records)) == ["B"]


def test_a_map_that_is_given_makes_up_for_useless_metadata(one_day: SymbolMap) -> None:
    records = dbnfast.scan(head([], stype_out=1) + trade(7, DAY))
    given = resolver(records.metadata, one_day)
    assert names(given.symbols, given.codes(records)) == ["A"]


def test_live_mappings_in_the_order_of_the_stream() -> None:
    """A mapping record has its own symbol, and time does not matter."""
    data = head([], None, stype_in=255)
    data += trade(7, 100) + mapping(7, b"ES.A") + trade(7, 1) + trade(7, 2**64 - 1) + trade(8, 1)
    data += mapping(8, b"123", b"SPY") + trade(8, 1) + mapping(7, b"ES.B") + trade(7, 1)
    data += mapping(7, b"", b"IN") + trade(7, 1)
    frames = [None, "ES.A", "ES.A", "ES.A", None, "SPY", "SPY", "ES.B", "ES.B", "", ""]
    assert resolved(data) == frames
    texts = [None, "ES.A", "ES.A", "ES.A", None, "123", "123", "ES.B", "ES.B", "", ""]
    assert resolved(data, text=True) == texts == transcoded(data)


def test_live_mappings_of_version_1() -> None:
    data = head([], None, stype_in=255, version=1)
    data += mapping(7, b"A", old=True) + trade(7, 1) + mapping(7, b"B", old=True) + trade(7, 1)
    assert resolved(data, text=True) == ["A", "A", "B", "B"] == transcoded(data)


def test_live_mappings_of_both_sizes_in_one_stream() -> None:
    data = head([], None, stype_in=255)
    data += mapping(7, b"A", old=True) + mapping(8, b"B") + mapping(9, b"C", old=True)
    data += trade(9, 1) + trade(8, 1) + trade(7, 1)
    assert resolved(data, text=True) == ["A", "B", "C", "C", "B", "A"] == transcoded(data)


@pytest.mark.parametrize("bad", [b"\xff", b"x" * 71])
def test_live_mappings_that_cannot_be_read_change_nothing(bad: bytes) -> None:
    data = head([], None, stype_in=255)
    data += mapping(8, bad) + mapping(7, b"A") + mapping(7, bad) + trade(7, 1)
    assert resolved(data, text=True) == [None, "A", "A", "A"] == transcoded(data)


def test_live_text_ends_at_the_first_nul() -> None:
    data = head([], None, stype_in=255) + mapping(7, b"A\0B") + mapping(8, b"A\0" + b"x" * 69)
    assert resolved(data, text=True) == ["A", "A"] == transcoded(data)


def test_live_state_is_kept_over_batches() -> None:
    data = head([], None, stype_in=255)
    records = dbnfast.scan(
        data + mapping(7, b"A") + trade(7, 1) + trade(8, 1) + mapping(7, b"B") + trade(7, 1)
    )
    for cut in range(len(records) + 1):
        found = resolver(records.metadata)
        symbols = found.symbols
        codes = [found.codes(part) for part in (records[:cut], records[cut:])]
        assert names(symbols, np.concatenate(codes)) == ["A", "A", None, "B", "B"]
        assert found.symbols is symbols
        assert symbols == ["A", "B"]


def test_live_codes_of_wanted_records_only() -> None:
    records = fragment(mapping(7, b"A"), trade(7, 1), bar(7, 1), mapping(7, b"B"), trade(7, 1))
    found = resolver(None)
    codes = found.codes(records, frozenset((int(RType.MBP_0),)))
    assert names(found.symbols, codes) == ["A", "B"]
    assert found.codes(records, frozenset()).tolist() == []
    assert names(found.symbols, found.codes(fragment(bar(7, 1)))) == ["B"]
    wanted = frozenset((int(RType.MBP_0), int(RType.OHLCV_1M)))
    assert names(found.symbols, found.codes(records, wanted)) == ["A", "A", "B"]


def test_live_falls_back_to_what_is_known(one_day: SymbolMap) -> None:
    body = trade(7, DAY) + trade(7, 0) + mapping(7, b"B") + trade(7, 0) + trade(7, DAY)
    live = dbnfast.scan(head([(b"C", [(day(1), day(2), b"7")])], None, stype_in=255) + body)
    fallbacks: list[tuple[Resolver, str | None]] = [
        (resolver(live.metadata), "C"),
        (resolver(live.metadata, one_day), "A"),
        (resolver(None, one_day), "A"),
        (resolver(None), None),
        (Resolver(one_day, live=True, text=True), "A"),
    ]
    for found, first in fallbacks:
        assert names(found.symbols, found.codes(live)) == [first, None, "B", "B", "B"]


@pytest.mark.parametrize("stypes", [(255, 0), (255, 1), (1, 2)])
def test_live_metadata_makes_an_empty_map(stypes: tuple[int, int]) -> None:
    found = resolver(metadata([], None, stype_in=stypes[0], stype_out=stypes[1]))
    assert found.symbols == []
    assert found.codes(fragment(trade(7, 1))).tolist() == [-1]


def test_a_resolver_does_not_see_what_is_inserted_later(one_day: SymbolMap) -> None:
    found = Resolver(one_day, live=False)
    one_day.insert_metadata(metadata([(b"B", [(day(1), day(2), b"7")])]))
    assert names(found.symbols, found.codes(fragment(trade(7, DAY)))) == ["A"]
    assert one_day.resolve(7, DAY) == "B"
    nothing = Resolver(None, live=False)
    assert nothing.codes(fragment(trade(7, DAY))).tolist() == [-1]


def test_live_symbols_do_not_change_the_map(one_day: SymbolMap) -> None:
    found = Resolver(one_day, live=True)
    found.codes(fragment(mapping(7, b"B")))
    assert found.symbols == ["A", "B"]
    assert one_day.symbols == ("A",)


# --- real files -------------------------------------------------------------------------------


@real_files
@pytest.mark.parametrize("name", NAMES)
def test_real_files_have_the_transcoders_symbols(name: str) -> None:
    data = streams.inflate((REAL / name).read_bytes())
    expected = transcoded(data)
    assert resolved(data, text=True) == expected
    unmapped = ("v1/test_data.statistics.v1.dbn.zst",)  # it has no mappings
    assert any(expected) != (name in unmapped)


@real_files
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("live/")])
def test_real_files_resolve_as_the_official_map_does(name: str) -> None:
    symbology = pytest.importorskip("databento.common.symbology")
    import databento_dbn as dbn

    data = (REAL / name).read_bytes()
    theirs = symbology.InstrumentMap()
    theirs.insert_metadata(
        dbn.Metadata.decode(streams.inflate(data), dbn.VersionUpgradePolicy.AS_IS)
    )
    records = dbnfast.scan(data)
    assert records.metadata is not None
    made = SymbolMap.from_metadata(records.metadata)
    array = records.array()
    stamps = array["ts_recv" if "ts_recv" in (array.dtype.names or ()) else "ts_event"]
    dates = stamps.view("M8[ns]").astype("M8[D]")
    ids = array["instrument_id"].astype(np.uint64)
    expected = theirs.resolve_many(ids, dates)
    assert made.resolve_many(ids, dates).tolist() == expected.tolist()
    assert names(made.symbols, made.codes_of(records)) == expected.tolist()
    days = [(int(i), JAN + datetime.timedelta(19_000 + 7 * n)) for i in {*ids.tolist()} for n in
            range(200)]  # fmt: skip
    assert [made.resolve(*pair) for pair in days] == [theirs.resolve(*pair) for pair in days]


def test_stypes_are_those_of_the_metadata() -> None:
    found = metadata([(b"7", [(day(1), day(2), b"A")])], stype_in=0, stype_out=1)
    assert (found.stype_in, found.stype_out) == (SType.INSTRUMENT_ID, SType.RAW_SYMBOL)
    assert SymbolMap.from_metadata(found).resolve(7, DAY) == "A"
