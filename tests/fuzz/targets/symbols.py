"""
Symbols of any mappings, in a header or in records among the data, are those of a slow model.

Intervals may overlap or be empty: the one inserted last holds. In a stream a
mapping record counts from its place on.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np

import dbnfast
from dbnfast import Metadata, RType
from dbnfast.layouts.table import layout_by_size
from dbnfast.symbology.map import SymbolMap
from dbnfast.symbology.resolver import resolver
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, pack, unpack
from helpers import streams
from helpers.roads import plain_records

mutate = mutators.stream
MAX_LEN = 6000
DAY = 86_400 * 10**9
EPOCH = datetime.date(1970, 1, 1)
IDS = (0, 1, 7, 2**32 - 1)
NAMES = ("A", "B", "C", "")


def seeds() -> Iterator[bytes]:
    """The streams of the fixtures, and mappings made of counted bytes."""
    for n in range(0, 250, 10):
        yield pack(bytes((i * 37 + n) % 256 for i in range(100)), b"")
    yield from starts.files("none")


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    check_table(choices)
    records = plain_records(raw)
    if records is not None:
        check_live(records)


def interval(choices: Choices) -> tuple[int, int]:
    """Two days, mostly in their order and near."""
    first = choices.choice((0, choices.randrange(12), choices.randrange(80_000)))
    return first, (first + choices.randint(0, 6))


def check_table(choices: Choices) -> None:
    """A map of the mappings of a header, probed at the edges."""
    forward = choices.random() < 0.5
    rows: list[tuple[str, int, int, str]] = []
    for _ in range(choices.randrange(12)):
        first, last = interval(choices)
        raw, symbol = choices.choice(NAMES[:3]), str(choices.choice(IDS))
        rows.append((raw, first, last, symbol) if forward else (symbol, first, last, raw))
    mappings: dict[str, list[dict[str, Any]]] = {}
    for name, first, last, symbol in rows:
        mappings.setdefault(name, []).append(
            {
                "start_date": EPOCH + datetime.timedelta(first),
                "end_date": EPOCH + datetime.timedelta(last),
                "symbol": symbol,
            }
        )
    stypes = ("raw_symbol", "instrument_id") if forward else ("instrument_id", "raw_symbol")
    metadata = Metadata(
        "X", schema="trades", stype_in=stypes[0], stype_out=stypes[1], mappings=mappings
    )
    made = SymbolMap.from_metadata(Metadata.decode(metadata.encode()))
    probes = [
        (i, max(0, day * DAY + by))
        for i in (*IDS, 5)
        for day in {edge for _, first, last, _ in rows for edge in (first, last)}
        for by in (-1, 0, 1)
    ]
    if not probes:
        return
    ids, stamps = (np.array(column, np.uint64) for column in zip(*probes, strict=True))
    ordered = [
        (name, (row["start_date"] - EPOCH).days, (row["end_date"] - EPOCH).days, row["symbol"])
        for name, found in mappings.items()
        for row in found
    ]
    assert made.resolve_many(ids, stamps).tolist() == [
        model(ordered, forward, *probe) for probe in probes
    ]


def model(
    rows: list[tuple[str, int, int, str]], forward: bool, instrument: int, time: int
) -> str | None:
    """Look a probe up, row by row."""
    found = None
    for name, first, last, symbol in rows:
        ident, text = (symbol, name) if forward else (name, symbol)
        if int(ident) == instrument and first * DAY <= time < last * DAY:
            found = text
    return found


def check_live(records: dbnfast.Records) -> None:
    """The codes of a stream with mapping records in it."""
    live = Metadata("X", ts_out=records.ts_out, version=records.version)
    found = resolver(live)
    codes = found.codes(records)
    symbols = found.symbols
    now: dict[bytes, str] = {}
    for record, code in zip(streams.walk(records.tobytes()), codes.tolist(), strict=True):
        if record[1] == RType.SYMBOL_MAPPING:
            text = mapped(record, records.ts_out)
            if text is not None:
                now[record[4:8]] = text
        assert (None if code < 0 else symbols[code]) == now.get(record[4:8])


def mapped(record: bytes, ts_out: bool) -> str | None:
    """The symbol that a mapping record sets; None where it cannot be read."""
    layout = layout_by_size(record[1], len(record), ts_out)
    if layout is None:
        return None
    field = layout.by_name["stype_out_symbol"]
    name, nul, _ = record[field.offset : field.offset + field.size].partition(b"\0")
    try:
        return name.decode() if nul else None
    except UnicodeDecodeError:
        return None
