"""
Whatever a client sends, in whatever pieces, a gateway's session answers, or ends with a reason.

It raises nothing, makes about a block at a time, and has nothing to do at some point; what it sends
behind the reply to the key is a stream that `Decoder` reads; no key is in what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from dbnfast import Compression, Decoder, Encoding
from dbnfast.gateway import GatewaySession, Service
from dbnfast.gateway.replay.source import Source
from dbnfast.live.wire.auth import cram_response
from fuzz import mutators
from fuzz.inputs import pack, pieces, unpack
from helpers import builders, gateways, peers

MAX_LEN = 4000
BLOCK = (1 << 20) + (64 << 10)
AUTH = b"auth=" + cram_response(peers.CHALLENGE, gateways.KEY).encode() + b"|dataset=XNAS.ITCH"
REQUEST = b"schema=trades|stype_in=raw_symbol|symbols="
START = b"start_session=0\n"
DICTIONARY = (AUTH, REQUEST, START, b"|ts_out=1", b"|encoding=json", b"|compression=zstd",
              b"|start=0", b"|snapshot=1", b"|is_last=0", b"|id=1", b"ALL_SYMBOLS", b"SYM1",
              b"|start=2023-11-14T22:13:20", gateways.KEY.encode())  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Sessions as they should be, and some that are refused."""
    ask = REQUEST + b"SYM1,SYM2\n"
    scripts = [
        AUTH + b"\n" + ask + START,
        AUTH + b"|encoding=json|pretty_px=1|pretty_ts=1\n" + REQUEST + b"ALL_SYMBOLS\n" + START,
        AUTH + b"|compression=zstd|ts_out=1\n" + ask + START + REQUEST + b"ALL_SYMBOLS\n",
        AUTH + b"|heartbeat_interval_s=5\n" + REQUEST + b"SYM1|start=0|id=3\n" + START + ask,
        AUTH + b"\n" + REQUEST + b"SYM1|is_last=0\n" + REQUEST + b"SYM2|is_last=1\n" + START,
        AUTH + b"\nschema=mbo|stype_in=raw_symbol|symbols=SYM1|snapshot=1\n" + START,
        AUTH + b"\nschema=definition|stype_in=parent|symbols=ES.FUT\n" + START,
        AUTH + b"\nschema=trades|stype_in=instrument_id|symbols=1,2\n" + START,
        AUTH + b"|wrong=1\n",
        b"auth=" + gateways.KEY.encode() + b"|dataset=XNAS.ITCH\n",
        b"\n",
    ]
    for n, script in enumerate(scripts):
        for step in (0, 120):
            yield pack(bytes((step + n * 13 + i * 31) % 256 for i in range(30)), script)


def mutate(rng: mutators.random.Random, data: bytes, native: mutators.Native) -> bytes:
    """Change the lines of a client, or add one that is right."""
    if rng.random() < 0.25:
        found = data.splitlines(keepends=True) or [b""]
        symbols = rng.choice((b"SYM1", b"1", b"ALL_SYMBOLS", b"", b"SYM1," * 40))
        line = rng.choice((REQUEST + symbols + b"\n", START, AUTH + b"\n"))
        for _ in range(rng.randrange(3)):
            line = line.rstrip(b"\n") + rng.choice(DICTIONARY[3:12]) + b"\n"
        found.insert(rng.randrange(len(found) + 1), line)
        return b"".join(found)
    return mutators.lines(rng, data, native, b"|=,\n")


@cache
def source(kind: str) -> Source:
    """What is replayed."""
    if kind == "trades":
        return Source(gateways.trades([0, 1, 1.5, 2, 60], [1, 2, 1, 3, 1]), 3)
    rng = mutators.random.Random(kind)
    made = builders.make_stream(rng, 8, max_run=3)
    header = gateways.header(None, [1, 2, 3]).encode()
    return Source(header + made.body, 3)


class Known(Service):
    """A service whose challenge is always the same, so that inputs can answer it."""

    def challenge(self) -> str:
        return peers.CHALLENGE


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    clock, said = gateways.Clock(), list[str]()
    service = Known(
        source(choices.choice(("trades", "trades", "mixed"))),
        keys=[gateways.OTHER_KEY, gateways.KEY],
        speed=choices.choice(("max", 1.0)),
        at_end=choices.choice(("idle", "close")),
        clock=clock,
    )
    service.timeline.start()

    def trace(number: int, direction: str, text: str) -> None:
        said.append(text)

    session = GatewaySession(service, trace=trace)
    sent = bytearray()
    for piece in pieces(choices, raw):
        if session.wants_data:
            session.receive_data(piece)
        clock.seconds += choices.choice((0, 0, 0, 1, 40))
        sent += pull(session, clock)
    clock.seconds += 100
    sent += pull(session, clock)
    session.eof_received()
    assert session.closed
    assert session.data_to_send() == []
    said += [session.close_reason, bytes(sent).decode("latin-1")]
    for text in said:
        assert gateways.KEY not in text, text
        assert gateways.OTHER_KEY not in text
    check_stream(session, bytes(sent))


def pull(session: GatewaySession, clock: Any) -> bytes:
    """Take all that there is to send now."""
    out = bytearray()
    for _ in range(2000):
        blocks = session.data_to_send()
        assert sum(map(len, blocks)) <= BLOCK
        out += b"".join(blocks)
        if not blocks and session.next_time() > clock.seconds:
            return bytes(out)
    raise AssertionError("the session always has something to do")


def check_stream(session: GatewaySession, sent: bytes) -> None:
    """What was sent behind the reply is a stream."""
    request = session.request
    if request is None or request.encoding != Encoding.DBN:
        return
    at = sent.index(b"\nsuccess=1")
    stream = sent[sent.index(b"\n", at + 1) + 1 :]
    decoder = Decoder(compression=str(request.compression))
    decoder.feed(stream)
    n = 0
    while ready := decoder.read():
        n += sum(map(len, ready))
    assert not stream or decoder.metadata is not None or request.compression == Compression.ZSTD
    assert decoder.pending == 0 or request.compression == Compression.ZSTD
