"""What a trace shows, what it never shows, and that it ends no session."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from typing import Any

import pytest

import dbnfast
from dbnfast.live.trace import Trace, trace_of
from dbnfast.live.wire.auth import ApiKey, cram_response
from helpers.streams import mixed, record, trades

NS = 1_795_377_662_123_456_789
AT = "2026-11-22T20:01:02.123456Z"
KEY = "db-0123456789abcdefghijklmnopqrs"


def lines(*, hexdump: bool = False, key: str | None = KEY) -> tuple[Trace, list[str]]:
    found: list[str] = []
    own = None if key is None else ApiKey(key)
    return Trace(found.append, hexdump=hexdump, clock=lambda: NS, key=own), found


def test_lines() -> None:
    trace, found = lines()
    trace.received_line(b"lsg_version=0.9.4\n")
    trace.sent_line(b"start_session=0")
    trace.note("connected to 127.0.0.1:13000")
    trace.received_line(b"success=0|error=Gew\xc3\xa4hr \xff\x1b[31m\r\n")
    assert found == [
        f"{AT} [recv] lsg_version=0.9.4",
        f"{AT} [send] start_session=0",
        f"{AT} [note] connected to 127.0.0.1:13000",
        f"{AT} [recv] success=0|error=Gewähr \\xff\\x1b[31m\\r",
    ]


def test_a_long_line_is_shortened_in_the_middle() -> None:
    trace, found = lines()
    symbols = ",".join(f"SYM{i}" for i in range(500))
    trace.sent_line(f"schema=mbo|symbols={symbols}|snapshot=0|id=3|is_last=1\n".encode())
    (text,) = found
    assert len(text) < 500
    assert text.startswith(f"{AT} [send] schema=mbo|symbols=SYM0,SYM1,")
    assert text.endswith(",SYM499|snapshot=0|id=3|is_last=1")
    left_out = int(text.partition(" ... ")[2].partition(" characters ... ")[0])
    whole = len(f"schema=mbo|symbols={symbols}|snapshot=0|id=3|is_last=1")
    assert len(text) - len(f"{AT} [send] ") == whole - left_out + len(
        f" ... {left_out} characters ... "
    )


def test_records_are_one_line() -> None:
    trace, found = lines()
    head = dbnfast.Metadata("GLBX.MDP3", 1).encode()
    some = dbnfast.scan(head + trades(3) + record(23, 320, ts_event=2**64 - 1))
    trace.received_records(some, 400)
    trace.received_records(some[:0], 128)
    trace.received_records(dbnfast.scan(head + mixed(2)), 1000)
    assert found[:2] == [
        f"{AT} [recv] 400 bytes, 3 mbp-0, 1 system; "
        "ts_event 2001-09-09T01:46:40.000000000Z to undefined",
        f"{AT} [recv] 128 bytes, no record",
    ]
    assert "2 of rtype 0x42" in found[2]
    assert "\n" not in "".join(found)


def test_a_hexdump_is_as_xxd_has_it() -> None:
    trace, found = lines(hexdump=True)
    trace.received_bytes(b"DBN\x03x\0\0\0GLBX.MDP3\x7f\x80~")
    assert found == [
        f"{AT} [recv] 20 bytes\n"
        "00000000: 4442 4e03 7800 0000 474c 4258 2e4d 4450  DBN.x...GLBX.MDP\n"
        "00000010: 337f 807e                                3..~"
    ]
    trace.received_bytes(memoryview(bytes(1000)))
    first, *dump = found[1].splitlines()
    assert first == f"{AT} [recv] 1000 bytes"
    assert dump[-2].startswith("000000f0: ")
    assert dump[-1] == "... 744 bytes more"
    assert len(dump) == 17
    trace.received_bytes(b"")
    assert found[2] == f"{AT} [recv] 0 bytes"
    silent, nothing = lines()
    silent.received_bytes(b"abc")
    assert nothing == []


def test_no_more_of_a_key_than_its_last_letters() -> None:
    trace, found = lines(hexdump=True)
    answer = f"auth={cram_response('abc', KEY)}|dataset=GLBX.MDP3"
    trace.sent_line(answer.encode())
    trace.received_line(f"success=0|error=no key {KEY} here".encode())
    trace.note(f"retry with {KEY}")
    trace.received_line(b"x" * 190 + KEY.encode() + b"x" * 500)  # where a long line is cut
    for at in range(220, 260):  # where a dump ends
        trace.received_bytes(b"\0" * at + KEY.encode() + bytes(40))
    trace.received_bytes(KEY.encode())
    assert found[0] == f"{AT} [send] {answer}"
    assert found[1].endswith("no key ****opqrs here")
    assert found[2].endswith("retry with ****opqrs")
    for text in found[1:]:
        seen = text
        for row in text.splitlines()[1:]:
            hexes = row.partition(": ")[2][:39].replace(" ", "")
            seen += bytes.fromhex(hexes).decode("latin-1") if hexes else ""
        assert "nopqrs" not in seen
        assert "db-0" not in seen
        assert "6789a" not in seen
    assert "opqrs" in "".join(row[51:] for row in found[-1].splitlines()[1:])
    assert KEY not in repr(trace)


def test_targets(monkeypatch: Any, caplog: Any) -> None:
    stream = io.StringIO()
    Trace(stream, clock=lambda: NS).note("one")
    assert stream.getvalue() == f"{AT} [note] one\n"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        trace = Trace(True, clock=lambda: NS)
        patch.setattr(sys, "stderr", stream)  # as it is when something is written
        trace.note("two")
        patch.setattr(sys, "stderr", None)
        trace.note("nobody hears")
    assert stream.getvalue().splitlines()[1:] == [f"{AT} [note] two"]
    logger = logging.getLogger("test_trace")
    with caplog.at_level(logging.DEBUG, "test_trace"):
        Trace(logger, clock=lambda: NS).note("100 %s")
    assert [entry.getMessage() for entry in caplog.records] == [f"{AT} [note] 100 %s"]
    for wrong in (3, "trace.txt", b"", object(), None, False):
        with pytest.raises(TypeError, match="trace is"):
            Trace(wrong)  # type: ignore[arg-type]


def test_what_users_give() -> None:
    assert trace_of(None) is trace_of(False) is None
    found: list[str] = []
    trace = trace_of(found.append, ApiKey(KEY))
    assert trace is not None
    trace.note(KEY)
    assert trace_of(trace) is trace
    own = Trace(found.append, hexdump=True)
    assert trace_of(own, ApiKey(KEY)) is own
    own.note(KEY)
    assert [text[-9:] for text in found] == ["****opqrs"] * 2
    for _ in range(3):  # the same one for session after session
        assert trace_of(own, ApiKey(KEY)) is own
    assert len(own._keys) == 1
    with pytest.raises(TypeError, match="trace is 5"):
        trace_of(5)


def test_a_target_that_fails_ends_nothing() -> None:
    calls = []

    def fail(entry: str) -> None:
        calls.append(entry)
        raise OSError(f"disk full, {KEY}")

    trace = Trace(fail, key=ApiKey(KEY), hexdump=True)
    with pytest.warns(RuntimeWarning, match=r"trace cannot be written.*\*\*\*\*opqrs") as caught:
        trace.note("one")
    trace.received_bytes(b"abc")  # warnings are errors here
    assert len(caught) == 1
    assert KEY not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace.note("two")
        Trace(fail).note("three")  # not even where warnings are errors
    assert len(calls) == 4
    closed = io.StringIO()
    closed.close()
    with pytest.warns(RuntimeWarning, match="closed file"):
        Trace(closed).note("x")


def test_a_clock_or_records_that_fail_end_nothing() -> None:
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        Trace(print, clock=lambda: 1 // 0).note("x")
    trace, found = lines()
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        trace.received_records(None, 3)  # type: ignore[arg-type]
    assert found == []
