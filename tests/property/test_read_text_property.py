"""Random records through the official package's text and back; text that somebody damaged."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dbnfast
from dbnfast import reference
from dbnfast.codec import sniff
from dbnfast.enums import SCHEMA_RTYPES
from dbnfast.text.csv import from_csv, iter_csv
from dbnfast.text.json import JsonLines, from_json, iter_json
from helpers import builders, streams, texts
from helpers.builders import Kind, Stream

pytest.importorskip("databento_dbn")
pytest.importorskip("msgspec")

READERS = {"json": from_json, "csv": from_csv}
KEEPERS = dbnfast.InvalidRecordError | dbnfast.TruncatedError | dbnfast.DecompressionError
ITERATORS = {"json": iter_json, "csv": iter_csv}


@st.composite
def one_schema(draw: st.DrawFn) -> Stream:
    """Records of one schema, under its metadata: what can become CSV."""
    version = draw(st.sampled_from((1, 2, 3)))
    schema = draw(st.sampled_from(list(dbnfast.Schema)))
    rtype = SCHEMA_RTYPES[schema]
    kind = next(kind for kind in builders.KINDS[version] if kind.rtype == rtype)
    ts_out = draw(st.booleans())
    # what the official package takes for a member of a closed set must be one
    wild = draw(st.booleans()) and not any(field.raw_byte for field in kind.layout.fields)
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), max_size=12))
    records = tuple(
        builders.record_bytes(random.Random(seed), Kind(kind.layout, rtype), ts_out, wild=wild)
        for seed in seeds
    )
    plain = builders.plain_metadata(version, ts_out, schema=schema, stype_in=dbnfast.SType.PARENT)
    return Stream(version, ts_out, reference.encode_metadata(plain), records)


def carried(stream: Stream, pretty: bool) -> bytes:
    return b"".join(texts.carried(record, stream.ts_out, pretty) for record in stream.records)


@given(one_schema(), st.sampled_from(("json", "csv")), st.booleans(), st.booleans())
def test_records_of_a_schema_come_back(
    stream: Stream, encoding: str, pretty: bool, with_metadata: bool
) -> None:
    text = texts.transcode(stream.data, encoding, pretty)
    metadata = dbnfast.scan(stream.data).metadata
    if with_metadata:
        got = READERS[encoding](text, metadata=metadata)
        assert got.version == stream.version
    else:
        got = READERS[encoding](text, version=stream.version)
    assert got.tobytes() == carried(stream, pretty)
    assert got.metadata is (metadata if with_metadata else None)
    assert got.ts_out == stream.ts_out or not stream.records


@given(builders.streams(), st.booleans(), st.integers(1, 3000))
def test_mixed_records_come_back(stream: Stream, pretty: bool, max_bytes: int) -> None:
    text = texts.transcode(stream.data, "json", pretty)
    metadata = dbnfast.scan(stream.data).metadata
    expected = carried(stream, pretty)
    assert from_json(text, metadata=metadata).tobytes() == expected
    blocks = list(iter_json(text, metadata=metadata, max_bytes=max_bytes))
    assert b"".join(block.tobytes() for block in blocks) == expected
    feed = JsonLines(metadata=metadata)
    lines = text.splitlines(keepends=True)
    assert b"".join(feed.push(line).tobytes() for line in lines) == expected
    # the text of records that were read is the text that they were read from
    again = stream.header + expected
    assert texts.transcode(again, "json", pretty) == text


_BYTES = b'"\\{}[]:,\n\r .-+eTZ019xn\0\x80\xff'


def damaged(rng: random.Random, text: bytes) -> bytes:
    """Bytes of a text changed, dropped, added or moved."""
    raw = bytearray(text)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if not raw:
            break
        at = rng.randrange(len(raw))
        way = rng.randrange(5)
        if way == 0:
            raw[at] = rng.choice(_BYTES)
        elif way == 1:
            del raw[at : at + rng.choice((1, 1, 3, 50))]
        elif way == 2:
            raw.insert(at, rng.choice(_BYTES))
        elif way == 3:
            piece = raw[at : at + rng.choice((1, 10, 200))]
            to = rng.randrange(len(raw))
            raw[to:to] = piece
        else:
            raw[at] ^= 1 << rng.randrange(8)
    return bytes(raw)


def read_somehow(
    encoding: str, text: bytes, **options: Any
) -> tuple[dbnfast.Records, dbnfast.DecodeError | None]:
    """
    The good records of a text, and what is wrong after them: every documented answer.

    A line that cannot be read and a damaged or cut frame have the records before them; data of
    another format is told by its first bytes, and has none.
    """
    try:
        return READERS[encoding](text, **options), None
    except dbnfast.DecodeError as raised:
        error = raised
    if isinstance(error, KEEPERS):
        assert error.good is not None
        return error.good, error
    assert error.offset == 0
    assert re.match(r"expected text at byte 0|this is a DBN stream", str(error))
    return dbnfast.scan(b"", has_metadata=False), error


@given(one_schema(), builders.seeds(), st.booleans(), st.integers(1, 3000))
def test_rows_read_by_the_core_alone_are_what_the_general_road_makes_of_them(
    stream: Stream, rng: random.Random, break_it: bool, max_bytes: int
) -> None:
    text = texts.transcode(stream.data, "csv", rng.random() < 0.5)
    text = text.replace(b"\n", b"\r\n") if rng.random() < 0.3 else text
    text = damaged(rng, text) if break_it else text
    options: dict[str, Any] = {"version": stream.version, "max_bytes": max_bytes}
    found, error = streams.read_blocks(iter_csv(text, **options))
    with texts.general_road():
        expected, other = streams.read_blocks(iter_csv(text, **options))
    assert found == expected
    assert str(error) == str(other)


@given(builders.streams(max_runs=6), builders.seeds(), st.booleans(), st.data())
def test_lines_read_by_the_core_alone_are_what_the_general_road_makes_of_them(
    stream: Stream, rng: random.Random, break_it: bool, data: st.DataObject
) -> None:
    text = texts.transcode(stream.data, "json", rng.random() < 0.5)
    text = texts.reworded(rng, text) if rng.random() < 0.7 else text
    text = damaged(rng, text) if break_it else text
    if text[:3] == b"DBN" or sniff.binary(text) is not None:
        return
    metadata = dbnfast.scan(stream.data).metadata
    options: dict[str, Any] = data.draw(
        st.sampled_from(
            (
                {},
                {"metadata": metadata},
                {"version": stream.version},
                {"schema": "mbp-10", "ts_out": False},
                {"schema": "definition", "ts_out": True},
            )
        )
    )
    for reader in (from_json, lambda text, **options: JsonLines(**options).push(text)):
        found = texts.outcome(reader, text, **options)
        with texts.general_road():
            assert found == texts.outcome(reader, text, **options)
    max_bytes = data.draw(st.integers(1, 3000))
    blocks, error = streams.read_blocks(iter_json(text, max_bytes=max_bytes, **options))
    assert blocks == found[0]
    assert str(error) == str(found[3] and found[3][0])


@given(st.sampled_from(("json", "csv")), st.data())
def test_damaged_text_never_does_harm(encoding: str, data: st.DataObject) -> None:
    stream = data.draw(one_schema() if encoding == "csv" else builders.streams(max_runs=4))
    rng = data.draw(builders.seeds())
    text = damaged(rng, texts.transcode(stream.data, encoding, rng.random() < 0.5))
    records, error = read_somehow(encoding, text, version=stream.version)
    if isinstance(error, dbnfast.InvalidRecordError):
        assert error.record_index == len(records)
        assert error.offset is not None
        assert 0 <= error.offset <= len(text)
        line = text.count(b"\n", 0, error.offset) + 1
        assert str(error).startswith(f"line {line} at byte {error.offset}: ")
        # what is before the bad line is sound
        before = READERS[encoding](text[: error.offset], version=stream.version)
        assert before.tobytes() == records.tobytes()
    # in pieces it is the same
    blocks = ITERATORS[encoding](text, version=stream.version, max_bytes=rng.choice((1, 50, 999)))
    found, other = streams.read_blocks(blocks)
    assert found == records.tobytes()
    assert str(other) == str(error)


def given_what_begins_as_other_data(test: Any) -> Any:
    """Add an example for each format that a reader knows by its first bytes, plain and in zstd."""
    line = b'{"rtype":0,"price":"1"}\n'
    whole = streams.frame(line)
    frames = (whole, whole[:-3], whole + b"junk", whole[:4], streams.skippable(b""))
    dbn = (b"DBN", b"DBN\x03", b"DBZ", streams.skippable(b"DBZ\x01"))
    for raw in (*frames, *dbn, *sniff.BEGINNINGS):
        for data in (raw, raw + line, streams.frame(raw)):
            test = example(data)(test)
    return test


@given(st.binary(max_size=300))
@given_what_begins_as_other_data
@example(b'{"rtype":0,"price":"1"}\n{"rtype"\n:0}{"rtype":0}\n')
@example(b'{"hd":\n{"rtype":0}}{"rtype":0}\n')
@example(b'rtype,a\n0,b"c\n0,"d\ne"\n')
def test_any_bytes_are_records_or_an_error(raw: bytes) -> None:
    for encoding in READERS:
        records, error = read_somehow(encoding, raw, schema="trades")
        assert len(records.array("trades")) == len(records)
        found, other = streams.read_blocks(ITERATORS[encoding](raw, schema="trades", max_bytes=1))
        if isinstance(error, dbnfast.DecompressionError):
            # how much of a damaged frame comes out depends on how much of it is asked for at once
            assert found.startswith(records.tobytes())
            assert isinstance(other, dbnfast.DecodeError)
            continue
        assert found == records.tobytes()
        assert str(other) == str(error)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1))
def test_numbers_in_any_form(price: int, time: int) -> None:
    sign, whole, part = "-" if price < 0 else "", *divmod(abs(price), 10**9)
    forms = [f"{price}", f'"{price}"', f'"{sign}{whole}.{part:09}"', f"{sign}{whole}.{part:09}"]
    forms += [f'"{sign}{whole}.{part:09}000"', f'"{price}e-9"', f"{price}E-9"]
    text = "".join(f'{{"rtype":0,"price":{form},"ts_recv":{time}}}\n' for form in forms)
    array = from_json(text.encode()).array()
    assert array["price"].tolist() == [price] * len(forms)
    assert array["ts_recv"].tolist() == [time] * len(forms)
