"""Random mappings and streams: the official packages, or a slow model, say the same."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dbnfast
from dbnfast import Metadata
from dbnfast._core.metadata import parse_header
from dbnfast.enums import UNDEF_TIMESTAMP
from dbnfast.symbology.map import SymbolMap
from dbnfast.symbology.resolver import resolver
from helpers import streams

dbn = pytest.importorskip("databento_dbn")
symbology = pytest.importorskip("databento.common.symbology")

DAY = 86_400 * 10**9
DAYS = 9
IDS = (0, 1, 7, 2**32 - 1)
EPOCH = datetime.date(1970, 1, 1)

Interval = tuple[int, int, str]  # days since 1970


def numbered(day: int) -> int:
    date = EPOCH + datetime.timedelta(day)
    return date.year * 10000 + date.month * 100 + date.day


def header(
    mappings: list[tuple[str, list[Interval]]],
    schema: str | None,
    stypes: tuple[int, int],
    version: int = 3,
) -> bytes:
    rows = [
        (raw.encode(), [(numbered(a), numbered(b), symbol.encode()) for a, b, symbol in intervals])
        for raw, intervals in mappings
    ]
    lists = bytes(12) + streams.mapping_list(rows, 22 if version == 1 else 71)
    return streams.header(version, schema, lists=lists, stype_in=stypes[0], stype_out=stypes[1])


def trade(instrument_id: int, ts: int) -> bytes:
    body = struct.pack("<qIccBBQiI", 1, 1, b"T", b"A", 0, 0, ts, 0, 0)
    return streams.record(0, 48, instrument_id=instrument_id, ts_event=3, body=body)


def mapping(instrument_id: int, out: bytes, symbol_in: bytes, old: bool, times: Any) -> bytes:
    start, end, ts = times
    if old:
        body = struct.pack("<22s22s4xQQ", symbol_in, out, start, end)
        return streams.record(0x16, 80, instrument_id=instrument_id, ts_event=ts, body=body)
    body = struct.pack("<B71sB71sQQ", 255, symbol_in, 255, out, start, end)
    return streams.record(0x16, 176, instrument_id=instrument_id, ts_event=ts, body=body)


def named(symbols: Any, codes: np.ndarray[Any, Any]) -> list[str | None]:
    return [None if code < 0 else symbols[code] for code in codes.tolist()]


def transcoded(data: bytes) -> list[str | None]:
    out = io.BytesIO()
    with dbn.Transcoder(out, dbn.Encoding.JSON, dbn.Compression.NONE) as transcoder:
        transcoder.write(data)
    return [json.loads(line)["symbol"] for line in out.getvalue().splitlines()]


def csv_symbols(data: bytes) -> list[str | None]:
    out = io.BytesIO()
    with dbn.Transcoder(out, dbn.Encoding.CSV, dbn.Compression.NONE) as transcoder:
        transcoder.write(data)
    return [line.rpartition(",")[2] or None for line in out.getvalue().decode().splitlines()[1:]]


spans = st.tuples(st.integers(0, DAYS), st.integers(0, DAYS)).map(lambda pair: sorted(pair))
symbols = st.sampled_from(["A", "B", "C", ""])


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[tuple[str, list[Interval]]], tuple[int, int]]:
    """Mappings that may overlap, forward or inverse."""
    forward = draw(st.booleans())
    ids = st.sampled_from(IDS).map(str)
    found: list[tuple[str, list[Interval]]] = []
    for raw in draw(st.lists(symbols.filter(bool) if forward else ids, max_size=5)):
        texts = ids | st.just("") if forward else symbols
        rows = draw(st.lists(st.tuples(spans, texts), max_size=4))
        found.append((raw, [(a, b, text) for (a, b), text in rows]))
    return found, (1, 0) if forward else (0, 1)


EDGES = [n * DAY + by for n in range(1, DAYS + 1) for by in (-1, 0)]
PROBES = [(i, ts) for i in (*IDS, 5) for ts in (0, *EDGES, 2**64 - 2, 2**64 - 1)]


@given(tables(), st.sampled_from((1, 2, 3)), st.randoms(use_true_random=False))
@example(([("A", [(1, 5, "7")]), ("B", [(2, 3, "7"), (2, 4, "7")])], (1, 0)), 3, None)
def test_overlaps_are_the_transcoders(
    drawn: tuple[list[tuple[str, list[Interval]]], tuple[int, int]], version: int, rng: Any
) -> None:
    mappings, stypes = drawn
    probes = list(PROBES)
    if rng is not None:
        rng.shuffle(probes)
    data = header(mappings, "trades", stypes, version) + b"".join(trade(*p) for p in probes)
    records = dbnfast.scan(data)
    assert records.metadata is not None
    expected = csv_symbols(data)
    found = resolver(records.metadata)
    assert named(found.symbols, found.codes(records)) == expected
    made = SymbolMap.from_metadata(records.metadata)
    assert [made.resolve(*probe) for probe in probes] == expected
    ids, stamps = np.array(probes, np.uint64).T
    assert made.resolve_many(ids, stamps).tolist() == expected
    rebuilt = records.metadata.replace()  # without a header to read columns from
    assert SymbolMap.from_metadata(rebuilt).resolve_many(ids, stamps).tolist() == expected


@st.composite
def disjoint(draw: st.DrawFn) -> list[tuple[str, list[Interval]]]:
    """Forward mappings, of which no two of an id overlap."""
    found: dict[str, list[Interval]] = {}
    for instrument_id in IDS:
        edges = sorted(draw(st.sets(st.integers(0, 80_000), max_size=8)))
        for a, b in zip(edges[::2], edges[1::2], strict=False):
            found.setdefault(draw(symbols.filter(bool)), []).append((a, b, str(instrument_id)))
    return list(found.items())


@given(disjoint())
def test_disjoint_intervals_are_the_official_maps(
    mappings: list[tuple[str, list[Interval]]],
) -> None:
    data = header(mappings, "trades", (1, 0))
    theirs = symbology.InstrumentMap()
    theirs.insert_metadata(dbn.Metadata.decode(data))
    made = SymbolMap.from_metadata(Metadata.decode(data))
    days = sorted(
        {edge + by for _, rows in mappings for row in rows for edge in row[:2] for by in (-1, 0, 1)}
        | {0, 80_001}
    )
    days = [n for n in days if n >= 0]
    ids = np.repeat(np.array([*IDS, 5], np.uint64), len(days))
    dates = np.tile(np.array(days, "M8[D]"), len(IDS) + 1)
    expected = theirs.resolve_many(ids, dates).tolist()
    assert made.resolve_many(ids, dates).tolist() == expected
    assert made.resolve_many(ids, dates.astype("M8[ns]")).tolist() == expected
    ends = dates.astype("M8[ns]") + np.timedelta64(DAY - 1, "ns")
    assert made.resolve_many(ids, ends).tolist() == expected


OPEN = UNDEF_TIMESTAMP
texts = st.sampled_from([b"A", b"ES.B", b"", b"123", b"\xff", "É".encode(), b"A\0B", b"y" * 21])
ids = st.sampled_from(IDS)
events = st.one_of(
    st.tuples(ids, st.sampled_from((0, DAY, 2 * DAY, OPEN))).map(lambda p: trade(*p)),
    st.tuples(ids, texts, texts, st.booleans(), st.just((OPEN, OPEN, 5))).map(
        lambda p: mapping(*p)
    ),
)


@given(st.lists(events, max_size=30), st.sampled_from((1, 3)), st.lists(st.integers(0, 30)))
def test_live_streams_are_the_transcoders(
    stream: list[bytes], version: int, cuts: list[int]
) -> None:
    if version == 1:
        stream = [record for record in stream if len(record) != 176]
    data = header([], None, (255, 0), version) + b"".join(stream)
    records = dbnfast.scan(data)
    found = resolver(records.metadata, text=True)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    got: list[str | None] = []
    for a, b in itertools.pairwise(edges):
        got += named(found.symbols, found.codes(records[a:b]))
    assert got == transcoded(data)


@given(st.lists(events, max_size=30), tables())
def test_live_frames_are_a_dict_that_falls_back(
    stream: list[bytes], drawn: tuple[list[tuple[str, list[Interval]]], tuple[int, int]]
) -> None:
    records = dbnfast.scan(header(drawn[0], None, drawn[1]) + b"".join(stream))
    assert records.metadata is not None
    known = SymbolMap.from_metadata(records.metadata)
    now: dict[int, str] = {}
    expected = []
    for record in records:
        if record.rtype == 0x16:
            name = record.stype_out_symbol
            name = record.stype_in_symbol if name.isdigit() else name
            if "\\xff" not in name:
                now[record.instrument_id] = name
        past = known.resolve(record.instrument_id, record.ts_index)
        expected.append(now.get(record.instrument_id, past))
    found = resolver(records.metadata)
    assert named(found.symbols, found.codes(records)) == expected


stamps = st.integers(0, 12)
times = st.tuples(stamps | st.just(OPEN), stamps | st.just(OPEN), stamps).filter(
    lambda t: t[0] == OPEN or t[0] <= t[1]
)


@given(st.lists(st.tuples(ids, st.sampled_from("ABC"), times), max_size=12), st.booleans())
def test_mapping_records_paint_over_each_other(
    rows: list[tuple[int, str, tuple[int, int, int]]], at_once: bool
) -> None:
    made = SymbolMap()
    painted: dict[tuple[int, int], str] = {}
    first = set(IDS)
    raws = []
    for instrument_id, symbol, (start, end, ts) in rows:
        begin = start
        if start == OPEN:
            begin = 0 if instrument_id in first else ts
        for at in range(begin, min(end, 14)):
            painted[instrument_id, at] = symbol
        if begin < end:
            first.discard(instrument_id)
        raws.append(mapping(instrument_id, symbol.encode(), b"", False, (start, end, ts)))
    parts = [b"".join(raws)] if at_once else raws
    for part in parts:
        made.insert_symbol_mapping_msg(
            dbnfast.scan(part, has_metadata=False, input_version=3, ts_out=False)
        )
    for instrument_id in IDS:
        for at in range(14):
            assert made.resolve(instrument_id, at) == painted.get((instrument_id, at))


@given(
    st.lists(st.tuples(ids, st.sampled_from(["A", "B"]), st.integers(0, 40), st.booleans())),
    st.integers(0, 12),
)
def test_definitions_follow_each_other(rows: list[tuple[int, str, int, bool]], cut: int) -> None:
    """In the order of their times; a second call goes on where the first one ended."""
    rows = sorted(rows, key=lambda row: row[2])
    made = SymbolMap()
    step = DAY // 8
    now: dict[int, str | None] = {}
    expected: dict[tuple[int, int], str | None] = {}
    for instrument_id, symbol, at, deleted in rows:
        begin = at
        if instrument_id not in now:
            begin = at // 8 * 8
            for moment in range(begin, at):
                expected[instrument_id, moment] = symbol
        now[instrument_id] = None if deleted else symbol
        for moment in range(at, 50):
            expected[instrument_id, moment] = now[instrument_id]
    for part in (rows[:cut], rows[cut:]):
        array = dbnfast.empty("definition", len(part))
        for i, (instrument_id, symbol, at, deleted) in enumerate(part):
            array[i]["instrument_id"], array[i]["raw_symbol"] = instrument_id, symbol.encode()
            array[i]["ts_recv"] = at * step
            array[i]["security_update_action"] = b"D" if deleted else b"M"
        made.insert_definitions(array)
    for instrument_id in IDS:
        for moment in range(50):
            wanted = expected.get((instrument_id, moment))
            assert made.resolve(instrument_id, moment * step) == wanted, (instrument_id, moment)


days = st.one_of(
    st.dates(datetime.date(1, 1, 1)).map(lambda d: d.year * 10000 + d.month * 100 + d.day),
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(0, 10001), st.integers(0, 13), st.integers(0, 32)).map(
        lambda t: t[0] * 10000 + t[1] * 100 + t[2]
    ),
)


@given(st.lists(st.tuples(days, days, st.sampled_from((b"7", b"", b"\xff"))), max_size=3))
def test_intervals_read_what_mappings_read(rows: list[tuple[int, int, bytes]]) -> None:
    lists = bytes(12) + streams.mapping_list([(b"A", rows), (b"B", rows[:1])])
    parsed = parse_header(streams.header(lists=lists))
    try:
        expected = [
            (raw, *(d.year * 10000 + d.month * 100 + d.day for d in (first, last)), symbol)
            for raw, intervals in parsed.mappings()
            for first, last, symbol in intervals
        ]
    except dbnfast.MetadataError as error:
        with pytest.raises(dbnfast.MetadataError, match=f"^{re.escape(str(error))}$"):
            parsed.intervals()
        return
    raw_symbols, index, starts, ends, names = parsed.intervals()
    columns = zip((raw_symbols[i] for i in index), starts, ends, names, strict=True)
    assert list(columns) == expected
