"""CSV and JSON of random records, against the official package and against plain Python."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbnfast
from dbnfast import RType
from dbnfast.enums import SCHEMA_RTYPES, Schema
from dbnfast.layouts.table import layout_by_size
from dbnfast.text import write as text
from dbnfast.text.write import write_csv, write_json
from helpers import builders, streams

dbn = pytest.importorskip("databento_dbn")

PRETTY = st.fixed_dictionaries(
    {"pretty_px": st.booleans(), "pretty_ts": st.booleans(), "map_symbols": st.booleans()}
)


def official(data: bytes, json_lines: bool, upgrade: bool, **options: Any) -> bytes:
    """What the official package writes, with its invalid escapes and lowest price put right."""
    out = io.BytesIO()
    if not upgrade:
        options["upgrade_policy"] = dbn.VersionUpgradePolicy.AS_IS
    encoding = dbn.Encoding.JSON if json_lines else dbn.Encoding.CSV
    transcoder = dbn.Transcoder(out, encoding, dbn.Compression.NONE, **options)
    transcoder.write(data)
    transcoder.flush()
    written = out.getvalue().replace(b"--9223372036.-854775808", b"-9223372036.854775808")
    return re.sub(rb"\\(x[0-9a-f]{2}|.)", escape, written) if json_lines else written


def escape(found: re.Match[bytes]) -> bytes:
    if found[1] == b"'":
        return b"'"
    if found[1][:1] == b"x":
        code = int(found[1][1:], 16)
        return f"\\u{code:04X}".encode() if code < 32 or code == 127 else chr(code).encode()
    return found[0]


class Live:
    """Symbols of the mapping records so far; a text that cannot be read changes nothing."""

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.now: dict[bytes, int] = {}

    def codes(self, records: dbnfast.Records) -> np.ndarray[Any, np.dtype[np.int32]]:
        found = []
        for record in streams.walk(records.tobytes()):
            if record[1] == RType.SYMBOL_MAPPING:
                layout = layout_by_size(record[1], len(record), records.ts_out)
                assert layout is not None
                field = layout.by_name["stype_out_symbol"]
                name, nul, _ = record[field.offset : field.offset + field.size].partition(b"\0")
                with contextlib.suppress(UnicodeDecodeError):
                    symbol = name.decode()
                    if nul:
                        self.symbols.append(symbol)
                        self.now[record[4:8]] = len(self.symbols) - 1
            found.append(self.now.get(record[4:8], -1))
        return np.array(found, np.int32)


def ours(records: Any, json_lines: bool, **options: Any) -> bytes:
    out = io.BytesIO()
    (write_json if json_lines else write_csv)(records, out, resolver=Live(), **options)
    return out.getvalue()


def tame(stream: builders.Stream) -> bytes:
    """The records, without codes that the official package reads at random."""
    made = bytearray()
    for raw in stream.records:
        record = bytearray(raw)
        layout = layout_by_size(record[1], len(record), stream.ts_out)
        assert layout is not None
        for field in layout.fields:
            if field.raw_byte:
                record[field.offset] = ord("N") if field.name.startswith("user") else ord("A")
        made += record
    return bytes(made)


@given(builders.streams(wild=True), PRETTY, st.booleans())
def test_any_records_as_json(
    stream: builders.Stream, options: dict[str, bool], upgrade: bool
) -> None:
    data = stream.header + tame(stream)
    mine = ours(dbnfast.scan(data), True, upgrade=upgrade, **options)
    assert mine == official(data, True, upgrade, **options)
    rows = [json.loads(line) for line in mine.splitlines()]
    assert len(rows) == len(stream.records)
    assert all(("symbol" in row) == options["map_symbols"] for row in rows)


@given(builders.streams(wild=True), st.sampled_from(list(Schema)), PRETTY, st.booleans())
def test_any_records_as_csv(
    stream: builders.Stream, schema: Schema, options: dict[str, bool], upgrade: bool
) -> None:
    rtypes = [record[1] for record in stream.records]
    known = [schema for schema in Schema if SCHEMA_RTYPES[schema] in rtypes]
    if known and SCHEMA_RTYPES[schema] not in rtypes:
        schema = known[int(schema) % len(known)]  # mostly one that is there
    data = stream.header + tame(stream)
    mine = ours(dbnfast.scan(data), False, upgrade=upgrade, schema=schema, **options)
    theirs = official(data, False, upgrade, schema=dbn.Schema(str(schema)), **options)
    assert mine == theirs
    rows = list(csv.reader(io.StringIO(mine.decode(), newline="")))
    assert len(rows) == 1 + rtypes.count(SCHEMA_RTYPES[schema])
    assert {len(row) for row in rows} == {len(rows[0])}


# without ts_out, which the official package looks for in the wrong place, and of version 3 alone,
# since it takes long old records for new ones
@given(
    st.lists(
        st.tuples(
            st.sampled_from(builders.KINDS[3]), builders.seeds(), st.sampled_from((0, 4, 40))
        ),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_records_longer_than_their_struct(
    parts: list[tuple[builders.Kind, random.Random, int]], json_lines: bool
) -> None:
    records = tuple(
        builders.record_bytes(rng, kind, wild=True, extra=extra) for kind, rng, extra in parts
    )
    data = streams.header(schema=None) + b"".join(records)
    options = {} if json_lines else {"schema": "mbp-1"}
    theirs = {} if json_lines else {"schema": dbn.Schema.MBP_1}
    mine = ours(dbnfast.scan(data), json_lines, **options)
    assert mine == official(data, json_lines, True, **theirs)
    assert mine.count(b"\n") >= (len(parts) if json_lines else 1)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_prices_are_exact(prices: list[int]) -> None:
    array = dbnfast.empty("trades", len(prices))
    array["price"] = prices
    records = dbnfast.scan(streams.header() + array.tobytes())
    rows = [json.loads(line)["price"] for line in ours(records, True).splitlines()]
    for price, row in zip(prices, rows, strict=True):
        if price == 2**63 - 1:
            assert row is None
        else:
            assert Decimal(row).scaleb(9) == price
            assert len(row.partition(".")[2]) == 9


@given(st.lists(st.integers(1, 2**64 - 2), min_size=1, max_size=50))
def test_times_are_exact(times: list[int]) -> None:
    array = dbnfast.empty("trades", len(times))
    array["ts_event"] = times
    array["ts_recv"] = times[::-1]
    records = dbnfast.scan(streams.header() + array.tobytes())
    rows = [json.loads(line) for line in ours(records, True).splitlines()]
    wanted = []
    for time in times:
        second = np.datetime64(time // 10**9, "s")
        wanted.append(f"{second}.{time % 10**9:09}Z")
    assert [row["hd"]["ts_event"] for row in rows] == wanted
    assert [row["ts_recv"] for row in rows] == wanted[::-1]


@given(
    builders.streams(unknown=True, long=True, wild=True),
    st.booleans(),
    st.integers(16, 3000),
    st.integers(1, 3000),
    st.integers(1, 3),
)
def test_pieces_make_no_difference(
    stream: builders.Stream, json_lines: bool, piece: int, block: int, threads: int
) -> None:
    records = dbnfast.scan(stream.data)
    options = {} if json_lines else {"schema": "trades"}
    whole = ours(records, json_lines, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "PIECE", piece)
        patch.setattr(text, "BLOCK", block)
        assert ours(records, json_lines, threads=threads, **options) == whole
