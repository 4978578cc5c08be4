"""
Any DBZ file is records of version 1, or a `DecodeError`, whole and in blocks the same.

Where the frames are sound, the records are those of `dbnfast.reference` in what the zstd module
makes of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import dbnfast
from dbnfast.codec.compression import detect
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import pieces, unpack
from fuzz.targets.zstd import by_module
from helpers import streams
from helpers.roads import by_decoder, by_iter_decode, by_reference, by_scan

mutate = mutators.dbz
DICTIONARY = (b"DBZ\x01", b"\x51\x2a\x4d\x18", b"\x28\xb5\x2f\xfd")
MAX_LEN = 4096


def seeds() -> Iterator[bytes]:
    """The fixtures, and a small file."""
    lists = bytes(4) + streams.text_list([b"ESH1"], 22) + bytes(12)
    fixed = b"DBZ\x01" + struct.pack("<16sHQQQQ", b"GLBX.MDP3", 4, 5, 9, 0, 2)
    fixed += struct.pack("<BBB39x", 1, 1, 0)
    head = fixed + streams.frame(lists)
    small = struct.pack("<II", 0x184D2A51, len(head)) + head + streams.frame(streams.trades(3))
    yield from starts.packed(small)
    yield from starts.files("dbz")


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    if detect(raw[:12]) != "dbz":
        return
    behind = 8 + int.from_bytes(raw[4:8], "little")
    told = by_module(raw[behind:])
    if told.large or by_module(raw[104:behind]).large:
        return
    found = [by_scan(raw), by_iter_decode(raw, choices.choice((1020, 1 << 16)))]
    for outcome in found:
        assert outcome.error is None or issubclass(outcome.error, dbnfast.DecodeError)
    streamed = by_decoder(raw, choices, pieces=pieces(choices, raw))
    assert streamed.error is dbnfast.MetadataError  # none can be read in pieces
    errors = {outcome.error for outcome in found}
    assert len(errors) == 1 or None not in errors, errors
    header_broke = bool(errors & {dbnfast.MetadataError, dbnfast.DecompressionError})
    if told.sound and not header_broke and dbnfast.TruncatedError not in errors:
        expected = by_reference(told.plain, False, False)
        for outcome in found:
            assert outcome.records == expected.records
            assert outcome.error is expected.error
