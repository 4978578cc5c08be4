"""
Compressed bytes, whole or in pieces, sound or damaged, give what the zstd module alone gives.

Sound frames: on every road the records and the error of the plain stream. Damaged or cut ones: a
`DecodeError` or a warning, and never less than the records in the frames before. One step makes no
more plain bytes than it may, however little they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import dbnfast
from dbnfast.codec.compression import detect
from dbnfast.codec.compression import zstd as zstd_module
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, pieces, unpack
from helpers import streams
from helpers.roads import by_decoder, by_iter_decode, by_reference, by_scan, in_a_stream

mutate = mutators.compressed
DICTIONARY = (b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x5f\x2a\x4d\x18")
MAX_LEN = 4096
MAX_PLAIN = 1 << 16
STEP = 17 << 20  # bytes that one read of a Decoder may give


def seeds() -> Iterator[bytes]:
    """The compressed fixtures, and some others compressed."""
    yield from starts.files("zstd")
    plain = [data for _, data in starts.fixtures("none")][::5]
    yield from starts.packed(*(streams.frame(data[:200], data[200:]) for data in plain))


class Told(NamedTuple):
    """What the zstd module makes of bytes."""

    plain: bytes  # of the leading frames that are whole and sound
    sound: bool  # whether these are all
    large: bool  # whether there is more than `MAX_PLAIN`


def by_module(data: bytes) -> Told:
    """Decompress frame by frame, with the zstd module alone."""
    module, plain = zstd_module(), b""
    while data:
        decompressor = module.ZstdDecompressor()
        try:
            part = decompressor.decompress(data, MAX_PLAIN)
            while not decompressor.eof and not decompressor.needs_input:
                part += decompressor.decompress(b"", MAX_PLAIN)
                if len(plain) + len(part) > MAX_PLAIN:
                    return Told(plain, False, True)
        except module.ZstdError:
            return Told(plain, False, False)
        if len(plain) + len(part) > MAX_PLAIN:
            return Told(plain, False, True)
        if not decompressor.eof:
            return Told(plain, False, False)
        plain += part
        data = decompressor.unused_data
    return Told(plain, True, False)


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    if detect(raw[:12]) != "zstd":
        return
    told = by_module(raw)
    if told.large:
        bounded(raw, choices)
        return
    found = [
        by_scan(raw),
        by_iter_decode(raw, choices.choice((1020, 3000, 1 << 16))),
        by_decoder(raw, choices, pieces=pieces(choices, raw)),
    ]
    if told.sound:
        expected = by_reference(told.plain, True, False)
        streamed = in_a_stream(expected, told.plain)
        assert found == [expected, streamed, streamed]
        return
    good = by_reference(told.plain, True, False)
    for outcome in found:
        assert outcome.error is None or issubclass(outcome.error, dbnfast.DecodeError)
        if outcome.error is None or not issubclass(outcome.error, dbnfast.MetadataError):
            assert outcome.records[: len(good.records)] == good.records
    errors = {outcome.error for outcome in found}
    assert len(errors) == 1 or None not in errors


def bounded(raw: bytes, choices: Choices) -> None:
    """Streams give a bounded piece at a time; a few of them are looked at."""
    decoder = dbnfast.Decoder()
    try:
        for piece in pieces(choices, raw):
            decoder.feed(piece)
            assert sum(records.nbytes for records in decoder.read()) <= STEP
    except dbnfast.DecodeError:
        pass
