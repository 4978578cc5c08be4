"""
Whatever a gateway sends, in whatever pieces, the client ends or goes on as it says.

A connection's errors are `LiveError` or `DecodeError`, told once and last; how bytes were cut
changes nothing; the records are those of `Decoder` in the bytes behind the reply. A session on top
never raises, and asks for a buffer that is not empty. The key is in nothing that is said, written
down or raised, but for the answer to the challenge, which has only its last letters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from dbnfast import (
    Compression,
    DecodeError,
    Decoder,
    Encoding,
    LiveError,
    ReconnectPolicy,
    Records,
    Schema,
)
from dbnfast.live.session.session import Session
from dbnfast.live.session.silence import Silence
from dbnfast.live.trace import Trace
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.protocol import Authenticated, Ended, LiveProtocol, Options, State
from dbnfast.live.wire.requests import subscription
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, pack, pieces, unpack
from helpers import peers, streams

LINES = b"lsg_version=0.9.4\ncram=" + peers.CHALLENGE.encode() + b"\nsuccess=1|session_id=17\n"
BREAK = b"\0<a new connection>\0"  # what parts a payload into connections
MAX_LEN = 6000
DICTIONARY = (b"lsg_version=", b"cram=", b"success=1|session_id=1\n", b"success=0|error=", BREAK,
              peers.KEY.encode(), b"\n", b"DBN\x03", b"\x28\xb5\x2f\xfd")  # fmt: skip
T0 = 10**18


def seeds() -> Iterator[bytes]:
    """Sessions as they should be, of several connections, and refusals."""
    trades = b"".join(streams.trade(i) for i in range(5))
    control = peers.system() + peers.mapping(100, "A", "A") + peers.system("Subscription", 1)
    stream = LINES + peers.live_header() + control + trades
    finished = peers.system("Finished trades replay", 5)
    payloads = [
        stream,
        stream + BREAK + LINES + peers.live_header() + trades + finished + trades,
        stream + peers.error("no " + peers.KEY, 1),
        stream + peers.error("gone", 7) + BREAK + stream,
        LINES[: LINES.index(b"success")] + b"success=0|error=no " + peers.KEY.encode() + b"\n",
        LINES + streams.frame(peers.live_header() + control + trades),
        LINES + b'{"hd":{"rtype":0,"ts_event":"1"},"price":"1"}\n' * 3,
        peers.KEY.encode() + b"\n",
    ]
    for name, data in starts.fixtures("none"):
        if name.startswith(("live", "mixed", "record-")):
            payloads.append(LINES + data)
    for n, payload in enumerate(payloads):
        for step in (0, 85, 170):
            yield pack(bytes((step + n * 11 + i * 29) % 256 for i in range(40)), payload[:MAX_LEN])


def mutate(rng: mutators.random.Random, data: bytes, native: mutators.Native) -> bytes:
    """Change one connection of a script: its lines or its stream; or how many there are."""
    found = data.split(BREAK)
    at = rng.randrange(len(found))
    roll = rng.random()
    if roll < 0.1:
        found.insert(at, LINES + peers.live_header() + mutators.new_record(rng))
    elif roll < 0.15:
        del found[at]
    else:
        head, tail = split(found[at])
        if roll < 0.35:
            head = mutators.lines(rng, head, native)
        elif roll < 0.5:
            tail += spoken(rng)
        else:
            tail = mutators.stream(rng, tail, native)
        found[at] = head + tail
    return BREAK.join(found)


def spoken(rng: mutators.random.Random) -> bytes:
    """A control record, of this or that text and code."""
    texts = ("Heartbeat", "Finished trades replay", "Slow", "Subscription request 0 succeeded", "")
    time = rng.choice((0, 1_000, T0, 2**64 - 1))
    way = rng.randrange(3)
    if way == 0:
        return peers.system(rng.choice(texts), rng.randrange(8), time)
    if way == 1:
        return peers.error(rng.choice(texts), rng.randrange(10), time, rng.randrange(2))
    return peers.mapping(rng.choice((0, 100, 2**32 - 1)), "A", rng.choice(("A", "")), time)


def split(data: bytes) -> tuple[bytes, bytes]:
    """Give the three lines of a connection, and what is behind them."""
    at = 0
    for _ in range(3):
        at = data.find(b"\n", at) + 1
        if at == 0:
            return data, b""
    return data[:at], data[at:]


def options_of(choices: Choices) -> Options:
    """What the session asks for."""
    return Options(
        "GLBX.MDP3",
        ts_out=choices.random() < 0.2,
        compression=choices.choice((Compression.NONE, Compression.NONE, Compression.ZSTD)),
        encoding=Encoding.JSON if choices.random() < 0.15 else Encoding.DBN,
        heartbeat_interval_s=choices.choice((None, 5)),
    )


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    options = options_of(choices)
    if choices.random() < 0.5:
        check_protocol(raw.split(BREAK)[0], options, choices)
    else:
        check_session(raw.split(BREAK)[:6], options, choices)


def keyless(*said: Any) -> None:
    """Nothing that was said holds the key."""
    for text in said:
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        assert peers.KEY not in shown, shown


# --- one connection ---------------------------------------------------------------------------


def run(raw: bytes, options: Options, parts: list[bytes]) -> tuple[bytes, list[Any]]:
    """Give a protocol bytes in pieces; its records, and what else happened."""
    said: list[str] = []
    key = ApiKey(peers.KEY)
    live = LiveProtocol(key, options, trace=Trace(said.append, key=key))
    events: list[Any] = []
    for piece in parts:
        give(live, piece)
        events += live.events()
        while live.more:
            events += live.events()
        if live.state is State.READY:
            live.subscribe([subscription(0, "trades", "A")])
            live.start()
        keyless(live.data_to_send())
    live.eof_received()
    while got := live.events():
        events += got
    keyless(*said)
    records = b"".join(bytes(event) for event in events if isinstance(event, Records))
    return records, [event for event in events if not isinstance(event, Records)]


def give(live: LiveProtocol, piece: bytes) -> None:
    """Write a piece to what is lent."""
    while piece:
        room = live.get_buffer()
        n = min(len(room), len(piece))
        assert n
        room[:n] = piece[:n]
        del room
        live.buffer_updated(n)
        piece = piece[n:]


def check_protocol(raw: bytes, options: Options, choices: Choices) -> None:
    """One connection, whole and in pieces."""
    records, events = run(raw, options, [raw] if raw else [])
    cut_records, cut_events = run(raw, options, pieces(choices, raw))
    assert isinstance(events[-1], Ended)
    assert sum(isinstance(event, Ended) for event in events) == 1
    error = events[-1].error
    assert error is None or isinstance(error, LiveError | DecodeError)
    keyless(error, repr(error))
    assert cut_records == records
    assert [shape(event) for event in cut_events] == [shape(event) for event in events]
    if isinstance(events[0], Authenticated) and options.encoding == Encoding.DBN:
        decoder, found = Decoder(), b""
        decoder.feed(behind(raw))
        with contextlib.suppress(DecodeError):
            while ready := decoder.read():
                found += b"".join(map(bytes, ready))
        assert records == found


def shape(event: Any) -> Any:
    """An event, so that those of two runs can be compared."""
    if isinstance(event, Ended):
        error = event.error
        return type(error), str(error) if isinstance(error, DecodeError) else None
    return event


def behind(raw: bytes) -> bytes:
    """What stands behind the third line."""
    return split(raw)[1]


# --- a session ----------------------------------------------------------------------------------


def check_session(scripts: list[bytes], options: Options, choices: Choices) -> None:
    """A session that goes through connections, one script for each."""
    said: list[str] = []
    key = ApiKey(peers.KEY)
    now = 100.0
    session = Session(
        key,
        options,
        policy=ReconnectPolicy.NONE if choices.random() < 0.2 else ReconnectPolicy.RECONNECT,
        overlap=choices.choice((0.0, 2.0)),
        silence=Silence(5, wall=lambda: T0) if choices.random() < 0.5 else None,
        trace=Trace(said.append, key=key),
        upgrade=choices.random() < 0.8,
        jitter=lambda: 0.5,
        wall=lambda: T0,
    )
    for i in range(choices.randint(1, 3)):
        schema = choices.choice((Schema.TRADES, Schema.MBO, Schema.DEFINITION, Schema.OHLCV_1S))
        start = choices.choice((None, None, 0, 900))
        session.subscribe(subscription(i, schema, "A", start=start))
    session.connect(now)
    session.start(now)
    for script in scripts:
        if session.ended:
            break
        now = connection(session, script, choices, now)
    items = session.backlog.take()
    keyless(*said, *(item for item in items if not isinstance(item, Records)))
    keyless(session.error, repr(session.error), session.describe(), session.gaps)
    assert session.error is None or isinstance(session.error, LiveError | DecodeError)
    if session.ended and session.error is not None:
        with contextlib.suppress(LiveError, DecodeError):
            session.check()
            raise AssertionError("an error that is not raised")


def connection(session: Session, script: bytes, choices: Choices, now: float) -> float:
    """Play one connection to its end."""
    assert session.retry_at is not None
    now = max(now, session.retry_at)
    if choices.random() < 0.1:
        session.connection_lost(OSError("refused"), now)
        return now
    session.connection_made(now)
    for piece in pieces(choices, script):
        while piece and session.connected and not session.ended:
            room = session.get_buffer()
            n = min(len(room), len(piece))
            assert n
            room[:n] = piece[:n]
            del room
            session.buffer_updated(n, now)
            while session.more:
                session.read_more(now)
            piece = piece[n:]
        keyless(session.data_to_send())
        now += choices.choice((0.0, 0.0, 0.5, 50.0))
        if session.deadline is not None and now >= session.deadline:
            session.tick(now)
        if not session.connected or session.ended:
            return now
    session.connection_lost(OSError("reset") if choices.random() < 0.3 else None, now)
    while session.more:
        session.read_more(now)
    assert session.ended or session.retry_at is not None
    return now
