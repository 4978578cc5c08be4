"""
However a stream is cut, what comes out is what the whole of it holds, and no more is kept.

The bytes before the payload choose the pieces and the ways of feeding them. `Decoder` and
`iter_decode` give the records of `dbnfast.reference`, those before an error too, and then the same
error at the same place; records that were handed out never change.
"""

from __future__ import annotations

from collections.abc import Iterator

import dbnfast
from dbnfast.codec.compression import detect
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, pieces, unpack
from fuzz.targets.scan import DICTIONARY as DICTIONARY
from fuzz.targets.scan import options
from helpers.roads import by_decoder, by_iter_decode, by_reference, in_a_stream

mutate = mutators.stream
MAX_LEN = 8192


def seeds() -> Iterator[bytes]:
    """Every plain stream and fragment of the fixtures."""
    return starts.files("none")


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    how = options(choices)
    if detect(raw[:12]) != "none":
        return
    expected = by_reference(raw, not how, bool(how.get("ts_out")))
    expected = expected if how else in_a_stream(expected, raw)
    assert by_iter_decode(raw, choices.choice((1020, 3000, 1 << 16)), **how) == expected
    cut = pieces(choices, raw)
    assert by_decoder(raw, choices, pieces=cut, compression="none", **how) == expected
    held(raw, choices)


def held(raw: bytes, choices: Choices) -> None:
    """What waits in a decoder is never more than what came, and a cut record after a read."""
    decoder, came = dbnfast.Decoder(compression="none"), 0
    for piece in pieces(choices, raw):
        decoder.feed(piece)
        came += len(piece)
        assert decoder.pending <= came
        try:
            while decoder.read():
                pass
        except dbnfast.DecodeError:
            return
        if decoder.metadata is not None:
            assert decoder.pending < 1020
