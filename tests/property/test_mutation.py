"""
Damage anywhere: it decodes, or raises what is documented, and spares the records before it.

Every stream is damaged by a few random edits and read on every road. The plain-Python reference
says which records are still whole and which error is due; the stream as it was made says which
records lie before the first edit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dbnfast
from helpers import builders
from helpers.builders import Stream
from helpers.roads import (
    by_decoder,
    by_iter_decode,
    by_reference,
    by_scan,
    in_a_stream,
)


@dataclass(frozen=True)
class Damage:
    """Damaged data, and the first byte that differs from what it was."""

    data: bytes
    at: int


@st.composite
def damages(draw: st.DrawFn, data: bytes, first: int = 0) -> Damage:
    """Flip, overwrite, cut, insert, remove or repeat a few bytes from `first` on."""
    out = bytearray(data)
    at = len(out)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
        if first >= len(out):
            break
        here = draw(st.integers(first, len(out) - 1))
        n = draw(st.sampled_from((1, 1, 2, 4, 8, 16, 48, 200)))
        what = draw(st.sampled_from(("flip", "set", "cut", "insert", "remove", "repeat", "zero")))
        if what == "flip":
            out[here] ^= 1 << draw(st.integers(0, 7))
        elif what == "set":
            out[here] = draw(st.sampled_from((0, 1, 3, 4, 5, 127, 128, 254, 255)))
        elif what == "cut":
            del out[here:]
        elif what == "insert":
            out[here:here] = draw(st.binary(min_size=1, max_size=n))
        elif what == "remove":
            del out[here : here + n]
        elif what == "repeat":
            out[here:here] = out[here : here + n]
        else:
            out[here : here + n] = bytes(len(out[here : here + n]))
        at = min(at, here)
    return Damage(bytes(out), at)


def whole_before(stream: Stream, at: int, start: int) -> list[bytes]:
    """Give the records that lie before a byte of the plain stream."""
    found = []
    for record in stream.records:
        start += len(record)
        if start > at:
            break
        found.append(record)
    return found


SMALL = builders.streams(max_runs=4, wild=True, long=True, unknown=True)


def assert_all_roads_agree(
    stream: Stream, damage: Damage, rng: random.Random, has_metadata: bool = True
) -> None:
    options: dict[str, Any] = {}
    if not has_metadata:
        options = {"has_metadata": False, "input_version": 3, "ts_out": stream.ts_out}
    expected = by_reference(damage.data, has_metadata, stream.ts_out)
    start = len(stream.header) if has_metadata else 0
    if damage.at >= start:
        good = whole_before(stream, damage.at, start)
        assert expected.records[: len(good)] == good
    looks_compressed = dbnfast.codec.compression.detect(damage.data[:12]) != "none"
    if looks_compressed:
        return  # four bytes by chance
    assert by_scan(damage.data, **options) == expected
    expected = in_a_stream(expected, damage.data)
    max_bytes = rng.choice((1020, 3000, 1 << 16))
    assert by_iter_decode(damage.data, max_bytes, **options) == expected
    assert by_decoder(damage.data, rng, compression="none", **options) == expected
    assert by_decoder(damage.data, rng, **options) == expected


@pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")
@given(SMALL, st.data(), builders.seeds())
def test_damage_among_the_records(stream: Stream, data: st.DataObject, rng: random.Random) -> None:
    damage = data.draw(damages(stream.data, len(stream.header)))
    assert_all_roads_agree(stream, damage, rng)


@pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")
@given(SMALL, st.data(), builders.seeds())
def test_damage_to_a_fragment(stream: Stream, data: st.DataObject, rng: random.Random) -> None:
    damage = data.draw(damages(stream.body))
    assert_all_roads_agree(stream, damage, rng, has_metadata=False)


@pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")
@given(builders.streams(max_runs=2, rich_metadata=True), st.data(), builders.seeds())
def test_damage_anywhere(stream: Stream, data: st.DataObject, rng: random.Random) -> None:
    assert_all_roads_agree(stream, data.draw(damages(stream.data)), rng)


@pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")
@given(builders.streams(max_runs=1, rich_metadata=True), st.data(), builders.seeds())
def test_damage_to_the_header(stream: Stream, data: st.DataObject, rng: random.Random) -> None:
    damage = data.draw(damages(stream.header))
    whole = Damage(damage.data + stream.body, damage.at)
    assert_all_roads_agree(stream, whole, rng)


@pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")
@given(SMALL, st.data(), builders.seeds())
def test_damage_to_zstd(stream: Stream, data: st.DataObject, rng: random.Random) -> None:
    """Frames have checksums, so that what is in those before the damage is beyond doubt."""
    compressed, frames = builders.zstd_frames(rng, stream.data)
    damage = data.draw(damages(compressed))
    sound = max((frame.plain_end for frame in frames if frame.end <= damage.at), default=0)
    good = whole_before(stream, sound, len(stream.header))
    limit = (len(damage.data) + len(stream.data)) * 200
    outcomes = [
        by_scan(damage.data),
        by_iter_decode(damage.data, rng.choice((1020, 3000, 1 << 16))),
        by_decoder(damage.data, rng),
    ]
    for found in outcomes:
        assert found.error is None or issubclass(found.error, dbnfast.DecodeError)
        assert sum(map(len, found.records)) < limit
        if found.error is None or not issubclass(found.error, dbnfast.MetadataError):
            assert found.records[: len(good)] == good
    if damage.data == compressed:
        assert all(found.records == list(stream.records) for found in outcomes)
    errors = {found.error for found in outcomes}
    if len(damage.data) >= 4:  # else nobody can tell that it was compressed
        # damaged frames may come out as a damaged header or record: which is met first differs
        assert len(errors) == 1 or None not in errors


@pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")
@given(st.binary(max_size=400), builders.seeds())
@example(b"", random.Random(0))
@example(b"DBN\x03", random.Random(0))
@example(b"\x28\xb5\x2f\xfd", random.Random(0))
@example(b"\x50\x2a\x4d\x18", random.Random(0))
@example(b"\x50\x2a\x4d\x18\x00\x00\x00\x00", random.Random(0))
@example(b"\x50\x2a\x4d\x18\xff\xff\xff\xffDBZ\x01", random.Random(0))
@example(b"\x04" * 64, random.Random(0))
def test_bytes_that_are_no_dbn(data: bytes, rng: random.Random) -> None:
    for options in ({}, {"has_metadata": False}, {"has_metadata": False, "ts_out": True}):
        outcomes = [
            by_scan(data, **options),
            by_iter_decode(data, 1020, **options),
            by_decoder(data, rng, **options),
        ]
        for found in outcomes:
            assert found.error is None or issubclass(found.error, dbnfast.DecodeError)
        if dbnfast.codec.compression.detect(data[:12]) == "none":
            plain = by_reference(data, not options, bool(options.get("ts_out")))
            if data[:1] == b"\x28" or data[:1] == b"\x50":
                continue  # may be the beginning of a zstd frame
            assert all(found == plain for found in outcomes), options


@pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")
@pytest.mark.parametrize("seed", range(2))
def test_every_cut(seed: int) -> None:
    rng = random.Random(seed)
    stream = builders.make_stream(rng, 3, max_run=2, unknown=True, long=True, version=1 + seed)
    for n in range(0, len(stream.data), 1 if len(stream.data) < 1500 else 3):
        assert_all_roads_agree(stream, Damage(stream.data[:n], n), rng)
