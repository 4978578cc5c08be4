"""A gateway that repeats the key in whatever it sends: no more than five letters are seen."""

from __future__ import annotations

import json
import logging
import re
import traceback
from typing import Any

import pytest

from dbnfast import Encoding, Records, Schema
from dbnfast.live.session.session import Session
from dbnfast.live.session.silence import Silence
from dbnfast.live.trace import Trace
from dbnfast.live.wire.auth import ApiKey
from dbnfast.live.wire.protocol import Options
from dbnfast.live.wire.requests import subscription
from helpers import peers, streams

KEY = peers.KEY
SECRET = KEY.encode()
GREETING = b"lsg_version=0.9.4\n"
CHALLENGE = b"cram=" + peers.CHALLENGE.encode() + b"\n"
WELCOME = b"success=1|session_id=17\n"
LET_IN = GREETING + CHALLENGE + WELCOME
BEGUN = LET_IN + peers.live_header()
SLOW = 2  # the code of a slow reader's warning
ROW = re.compile(r"^[0-9a-f]{8}: (.{39})  (.*)$", re.MULTILINE)


def json_line(**fields: Any) -> bytes:
    """A trade as a line of JSON."""
    head = {"ts_event": "1000", "rtype": 0, "publisher_id": 1, "instrument_id": 5}
    trade = {
        "ts_recv": "1000", "hd": head, "action": "T", "side": "A", "depth": 0, "price": "1",
        "size": 1, "flags": 0, "ts_in_delta": 0, "sequence": 0, **fields,
    }  # fmt: skip
    return json.dumps(trade).encode() + b"\n"


# what comes, and in which encoding
SENT = {
    "the greeting": (b"lsg_version=" + SECRET + b"\n" + CHALLENGE + WELCOME, "dbn"),
    "no greeting": (SECRET + b"\n", "dbn"),
    "a key of the greeting": (SECRET + b"=1\n", "dbn"),
    "the challenge": (GREETING + b"cram=" + SECRET + b"\n" + WELCOME, "dbn"),
    "no challenge": (GREETING + b"cramp=" + SECRET + b"\n", "dbn"),
    "a challenge of no UTF-8": (GREETING + b"\xff" + SECRET + b"\xff\n", "dbn"),
    "a line that is too long": (GREETING + SECRET * 1000, "dbn"),
    "a line that is cut": (GREETING + b"cram=" + SECRET[:-1], "dbn"),
    "a reply that is none": (GREETING + CHALLENGE + b"ok=" + SECRET + b"\n", "dbn"),
    "a refusal": (GREETING + CHALLENGE + b"success=0|error=no " + SECRET + b"\n", "dbn"),
    "a refusal with bars": (
        GREETING + CHALLENGE + b"success=0|error=no|" + SECRET + b"|" + SECRET + b"\n", "dbn",
    ),
    "the session's id": (GREETING + CHALLENGE + b"success=1|session_id=" + SECRET + b"\n", "dbn"),
    "another field": (GREETING + CHALLENGE + b"success=1|" + SECRET + b"=" + SECRET + b"\n", "dbn"),
    "no header": (LET_IN + SECRET * 20, "dbn"),
    "a warning": (BEGUN + peers.system(f"slow {KEY} reader", SLOW), "dbn"),
    "a warning that is cut": (BEGUN + peers.system("slow " + "." * 270 + KEY[:27], SLOW), "dbn"),
    "a heartbeat": (BEGUN + peers.system(f"Heartbeat {KEY}"), "dbn"),
    "an error": (BEGUN + peers.error(f"of {KEY} or {KEY}", 6), "dbn"),
    "an error that ends it": (BEGUN + peers.error(f"key {KEY}", 3), "dbn"),
    "an error of replay": (BEGUN + peers.error(f"{KEY}", 1), "dbn"),
    "a mapping": (BEGUN + peers.mapping(5, KEY, KEY), "dbn"),
    "damage": (BEGUN + streams.trade(0) + b"\0" + SECRET, "dbn"),
    "JSON": (LET_IN + json_line(action=KEY), "json"),
    "JSON, a number": (LET_IN + json_line(size=KEY), "json"),
    "JSON, a name": (LET_IN + json_line(**{KEY: 1}), "json"),
    "JSON, a price": (LET_IN + json_line(price=KEY), "json"),
    "JSON, a time": (LET_IN + json_line(ts_recv=KEY), "json"),
    "no JSON": (LET_IN + SECRET + b"\n", "json"),
    "JSON without end": (LET_IN + SECRET * 40_000, "json"),
}  # fmt: skip


def seen(text: str) -> str:
    """A text, with what its hexdumps say added."""
    rows = ROW.findall(text)
    hexes = bytes.fromhex("".join(row for row, _ in rows).replace(" ", "")).decode("latin-1")
    return "\n".join([text, hexes, "".join(shown for _, shown in rows)])


def letters(text: str) -> list[str]:
    """Every six letters of the key in a row that a text shows."""
    return [KEY[at : at + 6] for at in range(len(KEY) - 5) if KEY[at : at + 6] in text]


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
@pytest.mark.parametrize("what", SENT)
def test_no_text_of_the_gateway_shows_the_key(
    what: str, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    data, encoding = SENT[what]
    if len(data) > 1 << 20:
        step = max(step, 4001)
    traced: list[str] = []
    trace = Trace(traced.append, hexdump=True, clock=lambda: 0, key=ApiKey(KEY))
    options = Options("GLBX.MDP3", encoding=Encoding(encoding))
    session = Session(ApiKey(KEY), options, trace=trace, silence=Silence(30), host="here:1")
    session.subscribe(subscription(0, Schema.TRADES, "A"))
    with caplog.at_level(logging.DEBUG, "dbnfast"):
        session.connect(1.0)
        session.connection_made(1.0)
        session.start(1.0)
        for at in range(0, len(data), step):
            if not session.connected:
                break
            piece = data[at : at + step]
            while piece and session.connected:
                room = session.get_buffer()
                n = min(len(room), len(piece))
                room[:n] = piece[:n]
                del room
                session.buffer_updated(n, 1.0)
                piece = piece[n:]
        if session.connected:
            session.connection_lost(None, 1.0)
    told = [item for item in session.backlog.take() if not isinstance(item, Records)]
    found = [*traced, *map(repr, told), repr(session.describe()), session.lsg_version]
    found += [entry.getMessage() for entry in caplog.records]
    found += list(map(repr, session.gaps))
    if session.error is not None:
        found += ["".join(traceback.format_exception(session.error)), repr(vars(session.error))]
    text = "\n".join(found)
    assert letters(seen(text)) == []
    assert len(found) > 3  # what came was told at all


def test_a_warning_is_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    session = Session(ApiKey(KEY), Options("GLBX.MDP3"))
    session.subscribe(subscription(0, Schema.TRADES, "A"))
    session.connect(1.0)
    session.connection_made(1.0)
    session.start(1.0)
    data = BEGUN + peers.system(f"slow reader {KEY}!", SLOW)
    with caplog.at_level(logging.WARNING, "dbnfast"):
        for at in range(len(data)):
            session.get_buffer()[:1] = data[at : at + 1]
            session.buffer_updated(1, 1.0)
    texts = [entry.getMessage() for entry in caplog.records]
    assert texts == ["the gateway warns: slow reader ****opqrs!"]


@pytest.mark.parametrize("n", range(len(KEY) + 1))
def test_what_a_key_was_cut_to(n: int) -> None:
    key = ApiKey(KEY)
    shown = key.hide(f"<{KEY[:n]}>{KEY[:n]}")
    part = KEY[:n] if n <= 5 else "****opqrs" if n == len(KEY) else "****"
    assert shown == f"<{part}>{part}"
    assert key.hide_bytes(b"\xff" + KEY[:n].encode()) == b"\xff" + part.encode()
