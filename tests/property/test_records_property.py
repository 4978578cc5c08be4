"""Random records of every layout against the official package and the plain-Python reference."""

from __future__ import annotations

import io
import itertools
import random
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dbnfast
from dbnfast import reference
from dbnfast.layouts.fields import CHAR, CSTR, RESERVED
from dbnfast.layouts.table import LAYOUT_BY_NAME, layout_by_size
from helpers import builders
from helpers.builders import Stream

dbn = pytest.importorskip("databento_dbn")


def python_value(value: Any) -> Any:
    # numpy gives the bytes of V fields as np.void
    return value.tobytes() if isinstance(value, np.void) else value.item()


def assert_row_is_record(row: np.void, plain: dict[str, Any]) -> None:
    assert row.dtype.names is not None
    assert set(row.dtype.names) == plain.keys() - {"extra"}
    for name in row.dtype.names:
        assert python_value(row[name]) == plain[name], name


# --- decoding --------------------------------------------------------------------------------


@given(builders.streams())
def test_official_objects_hold_the_same_values(stream: Stream) -> None:
    records = dbnfast.scan(stream.data)
    _, official = builders.official_decode(stream.data)
    _, plain = reference.decode(stream.data)
    objects = list(records.objects(upgrade=False))
    assert len(records) == len(objects) == len(official) == len(plain) == len(stream.records)
    for raw, mine, other, fields in zip(stream.records, objects, official, plain, strict=True):
        assert bytes(mine) == bytes(other) == reference.encode_record(fields) == raw
        assert type(mine).__name__ == type(other).__name__
        layout = LAYOUT_BY_NAME[type(other).__name__]
        for field in layout.fields:
            if field.kind == RESERVED or field.name == "length":
                continue
            holders = (mine, other)
            if field.level is not None:
                holders = (mine.levels[field.level], other.levels[field.level])
            values = [builders.plain_value(getattr(x, field.base_name)) for x in holders]
            if values[1] is None and fields[field.name] not in (b"~", b"Y", b"N"):
                # the official class calls an unknown tri-state None, here it stays what it is
                assert values[0] == chr(raw[field.offset])
                continue
            assert values[0] == values[1], field.name
            assert type(values[0]) is type(values[1]), field.name
            value = builders.official_raw(other, field)
            assert value is None or fields[field.name] == value, field.name
        if stream.ts_out:
            assert mine.ts_out == other.ts_out == fields["ts_out"]


@given(builders.streams())
def test_flat_level_names_are_the_levels(stream: Stream) -> None:
    _, official = builders.official_decode(stream.data)
    for mine, other in zip(dbnfast.scan(stream.data), official, strict=True):
        for field in LAYOUT_BY_NAME[type(mine).__name__].fields:
            if field.level is not None and field.kind != RESERVED:
                pair = other.levels[field.level]
                assert getattr(mine, field.name) == getattr(pair, field.base_name)


def is_same_pretty(mine: Any, other: Any) -> bool:
    if isinstance(other, float):
        return isinstance(mine, float) and (mine == other or (mine != mine and other != other))
    if other is not None and other == other and other.value < 0:
        return bool(mine != mine)  # a time that 63 bits cannot hold: wrapped before pandas 3.1
    return repr(mine) == repr(other)  # NaT is not equal to itself


@given(builders.streams())
def test_pretty_values_are_the_official(stream: Stream) -> None:
    _, official = builders.official_decode(stream.data)
    for mine, other in zip(dbnfast.scan(stream.data).objects(upgrade=False), official, strict=True):
        names = [f"pretty_{name}" for name in (*other._timestamp_fields, "ts_index", "ts_out")]
        names += [f"pretty_{name}" for name in other._price_fields if name[-3:-2] != "_"]
        for name in names:
            if hasattr(other, name):
                assert is_same_pretty(getattr(mine, name), getattr(other, name)), name
        assert mine.ts_index == other.ts_index
        assert mine.record_size() == mine.record_size == other.record_size()
        assert mine._ordered_fields == list(other._ordered_fields)
        for level, pair in zip(
            getattr(mine, "levels", ()), getattr(other, "levels", ()), strict=True
        ):
            assert is_same_pretty(level.pretty_bid_px, pair.pretty_bid_px)
            assert is_same_pretty(level.pretty_ask_px, pair.pretty_ask_px)


@given(builders.streams(wild=True, long=True, unknown=True))
def test_arrays_hold_the_same_values(stream: Stream) -> None:
    records = dbnfast.scan(stream.data)
    metadata, plain = reference.decode(stream.data)
    assert metadata is not None
    assert (records.version, records.ts_out) == (metadata["version"], metadata["ts_out"])
    assert records.tobytes() == stream.body
    assert records.counts == Counter(record["rtype"] for record in plain)
    parts = records.split()
    assert parts.keys() == {record["rtype"] for record in plain}
    for rtype, array in parts.items():
        mine = [record for record in plain if record["rtype"] == rtype]
        if isinstance(rtype, dbnfast.RType):
            assert len(array) == len(mine)
            for row, record in zip(array, mine, strict=True):
                own = layout_by_size(rtype, record["length"] * 4, stream.ts_out)
                assert own is not None
                if row.dtype != own.dtype(stream.ts_out):
                    # an older layout beside a newer one, upgraded: see the tests of that
                    names = ("publisher_id", "instrument_id", "ts_event", "ts_recv", "ts_out")
                    for name in names:
                        assert name not in record or row[name] == record[name]
                    continue
                if row.dtype.names is not None and "extra" in record:
                    record = {**record, "length": int(row["length"])}
                    # a copy is as long as its dtype, a view shows the length on the wire
                    assert record["length"] * 4 in (
                        row.dtype.itemsize,
                        row.dtype.itemsize + len(record["extra"]),
                    )
                assert_row_is_record(row, record)
            assert not array.flags.writeable
            assert np.array_equal(records.array(rtype), array)
        else:
            assert array.tobytes() == b"".join(map(reference.encode_record, mine))


@given(builders.streams(wild=True))
def test_array_of_one_type_is_what_was_encoded(stream: Stream) -> None:
    parts = dbnfast.split(stream.data)
    for rtype, array in parts.items():
        mine = b"".join(raw for raw in stream.records if raw[1] == rtype)
        assert array.tobytes() == mine
        one = dbnfast.decode(stream.header + mine)
        assert one.dtype == array.dtype
        assert one.tobytes() == mine


def fragment(stream: Stream) -> dict[str, Any]:
    """Say of a stream's records what its header would."""
    return {"has_metadata": False, "input_version": stream.version, "ts_out": stream.ts_out}


@given(builders.streams(wild=True, long=True, unknown=True), st.data())
def test_slices_and_runs(stream: Stream, data: st.DataObject) -> None:
    records = dbnfast.scan(stream.data)
    n = len(stream.records)
    index = st.none() | st.integers(-n - 2, n + 2)
    step = st.none() | st.sampled_from((1, 2, 3, 7, -1, -2))
    key = slice(data.draw(index), data.draw(index), data.draw(step))
    assert records[key].tobytes() == b"".join(stream.records[key])
    assert len(records[key]) == len(stream.records[key])
    runs = list(records.runs())
    assert b"".join(run.tobytes() for run in runs) == stream.body
    kinds = [raw[:2] for raw in stream.records]
    changes = sum(a != b for a, b in itertools.pairwise(kinds)) + bool(kinds)
    assert len(runs) == changes
    if n:
        at = data.draw(st.integers(-n, n - 1))
        one = next(records[at : at + 1 or None].objects(upgrade=False))
        assert bytes(one) == stream.records[at]


@given(builders.streams(wild=True, long=True, unknown=True), st.data())
def test_filter_selects_what_the_values_say(stream: Stream, data: st.DataObject) -> None:
    _, plain = reference.decode(stream.data)
    stamps = [record.get("ts_recv", record["ts_event"]) for record in plain]
    some = st.none() | st.sampled_from([*stamps, 0, 2**64 - 1])
    start, end = data.draw(some), data.draw(some)
    ids: dict[str, list[int] | None] = {}
    for argument, name in (("instrument_ids", "instrument_id"), ("publishers", "publisher_id")):
        values = [record[name] for record in plain]
        ids[argument] = data.draw(st.none() | st.lists(st.sampled_from([*values, 7]), max_size=3))
    expected = [
        raw
        for raw, record, stamp in zip(stream.records, plain, stamps, strict=True)
        if (start is None or stamp >= start)
        and (end is None or stamp < end)
        and (ids["instrument_ids"] is None or record["instrument_id"] in ids["instrument_ids"])
        and (ids["publishers"] is None or record["publisher_id"] in ids["publishers"])
    ]
    if start is not None and end is not None and start > end:
        with pytest.raises(ValueError, match="which is after the end"):
            dbnfast.scan(stream.data).filter(start=start, end=end, **ids)
        return
    picked = dbnfast.scan(stream.data).filter(start=start, end=end, **ids)
    assert picked.tobytes() == b"".join(expected)
    assert len(picked) == len(expected)


# --- encoding --------------------------------------------------------------------------------


@given(builders.streams(wild=True, rich_metadata=True))
def test_encoded_records_are_what_the_official_decoder_reads(stream: Stream) -> None:
    records = dbnfast.scan(stream.data)
    assert records.metadata is not None
    arrays = [run.array() for run in records.runs()]
    official_header, official = builders.official_decode(stream.data)
    assert official_header.encode() == stream.header
    body = b"".join(map(bytes, official))
    for given_ in (records, arrays, list(records.objects(upgrade=False))):
        encoded = dbnfast.encode(given_, records.metadata)
        assert encoded == official_header.encode() + body
        frame = dbnfast.encode(given_, records.metadata, compression="zstd")
        _, back = builders.official_decode(frame, compressed=True)
        assert list(map(bytes, back)) == list(map(bytes, official))


@given(builders.streams(wild=True, long=True, unknown=True))
def test_encoder_writes_what_was_read(stream: Stream) -> None:
    records = dbnfast.scan(stream.data)
    sink = io.BytesIO()
    with dbnfast.Encoder(sink, records.metadata) as encoder:
        for run in records.runs():
            encoder.write(run)
    assert sink.getvalue() == stream.data


@given(builders.streams())
def test_records_made_by_field_are_official(stream: Stream) -> None:
    """A class called with the official attributes' values gives the official bytes."""
    _, official = builders.official_decode(stream.data)
    for raw, other in zip(stream.records, official, strict=True):
        layout = LAYOUT_BY_NAME[type(other).__name__]
        values: dict[str, Any] = {}
        for field in layout.fields:
            value = builders.official_raw(other, field)
            if value is not None:
                values[field.name] = value
            elif field.kind == CHAR:
                values[field.name] = raw[field.offset : field.offset + 1]
        if stream.ts_out:
            values["ts_out"] = other.ts_out
        made = getattr(dbnfast, layout.name)(**values)
        expected = bytearray(raw)
        for field in layout.fields:
            if field.kind == RESERVED:
                expected[field.offset : field.offset + field.size] = bytes(field.size)
        assert bytes(made) == bytes(expected)


# --- upgrading -------------------------------------------------------------------------------


def assert_upgrades_like_the_official(stream: Stream, to_version: int) -> None:
    header, official = builders.official_decode(stream.data, upgrade_to=to_version)
    expected = list(map(bytes, official))
    upgraded = dbnfast.scan(stream.data).upgrade(to_version)
    assert upgraded.version == to_version
    assert [bytes(record) for record in upgraded.objects(upgrade=False)] == expected
    assert upgraded.tobytes() == b"".join(expected)
    assert upgraded.metadata is not None
    assert upgraded.metadata.encode() == header.encode()
    for run in dbnfast.scan(stream.data).runs():
        array = dbnfast.upgrade(run.array(), to_version=to_version)
        assert array.tobytes() == run.upgrade(to_version).tobytes()
    if to_version == 3:
        objects = list(dbnfast.scan(stream.data))
        assert list(map(bytes, objects)) == expected
        assert [type(x).__name__ for x in objects] == [type(x).__name__ for x in official]


@given(builders.streams(versions=(1,)))
def test_upgrade_v1_to_v2(stream: Stream) -> None:
    assert_upgrades_like_the_official(stream, 2)


@given(builders.streams(versions=(1, 2)))
def test_upgrade_to_v3(stream: Stream) -> None:
    assert_upgrades_like_the_official(stream, 3)


@given(builders.streams(versions=(1, 2), wild=True))
def test_upgrade_of_wild_bytes(stream: Stream) -> None:
    assert_upgrades_like_the_official(stream, 3)


@given(builders.streams(), builders.seeds())
def test_upgrade_of_a_fragment_without_a_version(stream: Stream, rng: random.Random) -> None:
    """Nothing but the sizes tells what version it is of."""
    decoder = dbn.DBNDecoder(
        has_metadata=False,
        ts_out=stream.ts_out,
        upgrade_policy=dbn.VersionUpgradePolicy.UPGRADE_TO_V3,
    )
    decoder.write(stream.body)
    expected = list(map(bytes, decoder.decode()))
    options: dict[str, Any] = {"has_metadata": False, "ts_out": stream.ts_out}
    records = dbnfast.scan(stream.body, **options)
    assert list(map(bytes, records)) == expected
    assert records.upgrade(3).tobytes() == b"".join(expected)
    found = feed_stream(rng, stream.body, **options)
    assert [bytes(record) for run in found for record in run] == expected
    blocks = dbnfast.iter_decode(io.BytesIO(stream.body), max_bytes=1020, **options)
    assert [bytes(record) for run in blocks for record in run] == expected


CHANGING = {
    version: [
        kind
        for kind in builders.KINDS[version]
        if 3 not in kind.layout.versions or 2 not in kind.layout.versions
    ]
    for version in (1, 2)
}


@given(
    st.sampled_from([(1, 2), (1, 3), (2, 3)]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_upgrade_of_all_that_changes(versions: tuple[int, int], ts_out: bool, seed: int) -> None:
    version, to_version = versions
    rng = random.Random(seed)
    kinds = [kind for kind in CHANGING[version] for _ in range(3)]
    rng.shuffle(kinds)
    records = tuple(builders.record_bytes(rng, kind, ts_out) for kind in kinds)
    header = reference.encode_metadata(builders.plain_metadata(version, ts_out))
    assert_upgrades_like_the_official(Stream(version, ts_out, header, records), to_version)


def text_record(name: str, text: bytes) -> bytes:
    layout = LAYOUT_BY_NAME[name]
    field = layout.fields[-1]
    assert field.kind == CSTR
    raw = bytearray(layout.size)
    raw[0:2] = layout.size // 4, int(layout.rtypes[0])
    raw[field.offset :] = text[: field.size].ljust(field.size, b"\0")
    return bytes(raw)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("ErrorMsgV1", "SystemMsgV1")),
            st.sampled_from(builders.CODE_TEXTS),
            st.one_of(
                st.just(b""),
                st.sampled_from((b" succeeded", b" replay", b"\0", b"\0 replay", b"x")),
                builders.texts(64).map(str.encode),
                st.text(max_size=20).map(str.encode),
                st.binary(max_size=64),
            ),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from((2, 3)),
)
@example([("ErrorMsgV1", b"Failed to resolve symbol", b"\xff")], 3)
@example([("ErrorMsgV1", b"Failed to resolve symbol", b"x" * 64)], 3)
@example([("SystemMsgV1", b"Subscription request ", b"\0 succeeded")], 3)
@example([("SystemMsgV1", b"End of interval for ", b"y" * 64)], 3)
def test_codes_inferred_from_texts(texts: list[tuple[str, bytes, bytes]], to_version: int) -> None:
    records = tuple(text_record(name, head + tail) for name, head, tail in texts)
    header = reference.encode_metadata(builders.plain_metadata(1))
    stream = Stream(1, False, header, records)
    _, official = builders.official_decode(stream.data, upgrade_to=to_version)
    mine = dbnfast.scan(stream.data).upgrade(to_version)
    for other, record, (_, head, tail) in zip(official, mine, texts, strict=True):
        assert bytes(record) == bytes(other), head + tail


# --- the incremental decoder -----------------------------------------------------------------


def read_all(decoder: dbnfast.Decoder, limit: int) -> list[dbnfast.Records]:
    """Read until nothing is left, in a number of calls that is known to be enough."""
    found: list[dbnfast.Records] = []
    for _ in range(limit):
        ready = decoder.read()
        if not ready:
            return found
        found.extend(ready)
    raise AssertionError(f"read() still gives records after {limit} calls")


def feed_stream(rng: random.Random, data: bytes, **options: Any) -> list[dbnfast.Records]:
    """
    Feed data by all ways mixed, in random pieces, reading now and then.

    Asserts that what was read never changes afterwards.
    """
    decoder = dbnfast.Decoder(**options)
    found: list[dbnfast.Records] = []
    kept: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []

    def keep(ready: list[dbnfast.Records]) -> None:
        for records in ready:
            found.append(records)
            raw = np.frombuffer(records.data, np.uint8)
            kept.append((raw, raw.copy()))
            for run in records.runs():
                if isinstance(next(iter(run.counts)), dbnfast.RType):
                    kept.append((run.array(), run.array().copy()))

    often = rng.choice((0.0, 0.1, 1.0))
    for piece in builders.random_pieces(rng, data):
        builders.feed_somehow(decoder, rng, piece)
        if rng.random() < often:
            keep(decoder.read())
    decoder.feed_eof()
    keep(read_all(decoder, len(data) + 2))
    assert decoder.pending == 0
    for view, copy in kept:
        assert view.tolist() == copy.tolist()  # not the bytes: a copy leaves gaps as they are
    return found


def assert_is_stream(found: list[dbnfast.Records], stream: Stream) -> None:
    assert b"".join(records.tobytes() for records in found) == stream.body
    assert sum(map(len, found)) == len(stream.records)
    assert all(len(records) for records in found)
    _, plain = reference.decode(stream.data)
    counts: Counter[int] = Counter()
    for records in found:
        assert (records.version, records.ts_out) == (stream.version, stream.ts_out)
        counts.update({int(key): n for key, n in records.counts.items()})
    assert counts == Counter(record["rtype"] for record in plain)
    scanned = dbnfast.scan(stream.data)
    for records in found:
        assert records.metadata == scanned.metadata
    if found:
        assert dbnfast.Records.concat(found).split().keys() == scanned.split().keys()


@given(builders.streams(wild=True, long=True, unknown=True, rich_metadata=True), builders.seeds())
def test_decoder_in_any_pieces(stream: Stream, rng: random.Random) -> None:
    assert_is_stream(feed_stream(rng, stream.data), stream)


@given(builders.streams(wild=True, long=True, unknown=True), builders.seeds())
def test_decoder_of_a_fragment_in_any_pieces(stream: Stream, rng: random.Random) -> None:
    data = stream.body
    found = feed_stream(rng, data, **fragment(stream))
    assert b"".join(records.tobytes() for records in found) == data
    assert sum(map(len, found)) == len(stream.records)


@given(builders.streams(wild=True, long=True, unknown=True), builders.seeds())
def test_decoder_of_zstd_in_any_pieces(stream: Stream, rng: random.Random) -> None:
    data, _ = builders.zstd_frames(rng, stream.data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_is_stream(feed_stream(rng, data), stream)
    scanned = dbnfast.scan(data)
    assert scanned.tobytes() == stream.body
    max_bytes = rng.choice((1020, 5000, 1 << 20))
    assert_is_stream(list(dbnfast.iter_decode(io.BytesIO(data), max_bytes=max_bytes)), stream)


@given(builders.streams(wild=True, long=True, unknown=True), builders.seeds())
@pytest.mark.parametrize("compression", ["auto", "zstd"])
def test_decoder_of_a_zstd_fragment(compression: str, stream: Stream, rng: random.Random) -> None:
    data, _ = builders.zstd_frames(rng, stream.body)
    found = feed_stream(rng, data, compression=compression, **fragment(stream))
    assert b"".join(records.tobytes() for records in found) == stream.body


@given(builders.streams(), builders.seeds())
def test_official_decoder_reads_the_same_frames(stream: Stream, rng: random.Random) -> None:
    data, _ = builders.zstd_frames(rng, stream.data)
    _, official = builders.official_decode(data, compressed=True)
    assert b"".join(map(bytes, official)) == dbnfast.scan(data).tobytes()


@given(builders.streams(wild=True, long=True, unknown=True), builders.seeds())
def test_iter_decode_in_blocks(stream: Stream, rng: random.Random) -> None:
    max_bytes = rng.choice((1020, 1021, 2000, 5000, len(stream.data) + 1020, 1 << 20))
    found = list(dbnfast.iter_decode(io.BytesIO(stream.data), max_bytes=max_bytes))
    assert all(records.nbytes <= max_bytes for records in found)
    assert_is_stream(found, stream)


@given(builders.streams(max_runs=2), st.booleans())
def test_decoder_with_every_cut_in_two(stream: Stream, lent: bool) -> None:
    for head, tail in builders.splits(stream.data[:600]):
        decoder = dbnfast.Decoder()
        for piece in (head, tail, stream.data[600:]):
            if lent:
                builders.lend(decoder, piece, -1)
            else:
                decoder.feed(piece)
        found = read_all(decoder, 5)
        assert b"".join(records.tobytes() for records in found) == stream.body


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("compressed", [False, True])
def test_decoder_over_many_blocks(seed: int, compressed: bool) -> None:
    """Long enough that the blocks which the decoder lends fill up and are replaced."""
    rng = random.Random(seed)
    stream = builders.make_stream(
        rng, 60, version=1 + seed % 3, ts_out=seed % 2 == 0, unknown=True, long=True, wild=True
    )
    assert len(stream.data) > 400_000
    data = builders.zstd_frames(rng, stream.data)[0] if compressed else stream.data
    assert_is_stream(feed_stream(rng, data), stream)
