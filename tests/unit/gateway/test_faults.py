"""Faults on a schedule."""

from __future__ import annotations

from typing import Any

import pytest

from dbnfast.gateway import (
    Cut,
    Delay,
    DoubleAck,
    Eof,
    FailAuth,
    Faults,
    NoAck,
    OneByteWrites,
    Refuse,
    Reset,
    SendError,
    Silence,
)
from dbnfast.gateway.faults import Outlet


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0:cut@5000", Cut(5000)),
        ("0:cut", Cut(0)),
        ("0:reset@100", Reset(100)),
        ("0:eof@5000", Eof(5000)),
        ("0:silence@300", Silence(300)),
        ("0:delay@300=2.5", Delay(300, 2.5)),
        ("0:one_byte_writes", OneByteWrites()),
        ("0:refuse", Refuse()),
        ("0:fail_auth", FailAuth("Authentication failed.")),
        ("0:fail_auth=No: not @ all=never", FailAuth("No: not @ all=never")),
        ("0:no_ack", NoAck()),
        ("0:double_ack", DoubleAck()),
        ("0:error@300=7,Slow, too slow", SendError(7, "Slow, too slow", 300)),
        ("0:error=6", SendError(6, "Internal error", 0)),
    ],
)
def test_faults_as_text(text: str, fault: Any) -> None:
    assert Faults.parse([text]).of(0) == (fault,)
    assert Faults.parse([text]).of(1) == ()
    assert Faults.parse([f"*{text[1:]}"]).of(17) == (fault,)


def test_several_faults() -> None:
    faults = Faults.parse(["1:cut@9", "*:no_ack", "1:delay@3=1"])
    assert faults.of(0) == (NoAck(),)
    assert faults.of(1) == (NoAck(), Cut(9), Delay(3, 1.0))
    assert "Cut(after_bytes=9)" in repr(faults)
    assert Faults({0: Cut(1), 2: [Cut(2), NoAck()]}).of(2) == (Cut(2), NoAck())


@pytest.mark.parametrize(
    "text",
    ["", "cut@5", "0:", "0:cutt", "x:cut", "0:cut@x", "-1:cut", "0:cut@-1", "0:cut=5", "0:no_ack@5",
     "0:delay@5=soon", "0:error@5=x", "0cut@5"],
)  # fmt: skip
def test_texts_that_are_no_faults(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault is|connection is|negative"):
        Faults.parse([text])


def test_schedules_that_cannot_be() -> None:
    with pytest.raises(TypeError, match="expected a fault"):
        Faults({0: ["cut"]})  # type: ignore[dict-item, list-item]
    with pytest.raises(ValueError, match="expected a number"):
        Faults({"0": Cut(1)})  # type: ignore[dict-item]


def test_what_leaves_is_what_came() -> None:
    outlet = Outlet([NoAck()])
    block = b"abcdef"
    (out,) = outlet.pull(0, [block])
    assert out.obj is block
    assert outlet.n_bytes == 6
    assert not outlet.holds


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_faults_are_met_at_their_bytes_whatever_the_blocks(size: int) -> None:
    outlet = Outlet([Cut(8), Delay(2, 1), Delay(5, 2)])
    data = b"0123456789"
    blocks = [data[at : at + size] for at in range(0, len(data), size)]

    def pull(now: float, blocks: Any = ()) -> bytes:
        return b"".join(outlet.pull(now, blocks))

    assert pull(10, blocks) == b"01"
    assert outlet.until == 11
    assert pull(10.5) == b""
    assert pull(11) == b"234"
    assert pull(12.9) == b""
    assert pull(13) == b"567"
    assert outlet.ended
    assert not outlet.aborted
    assert not outlet.holds
    assert pull(14, [b"more"]) == b""
    assert outlet.n_bytes == 8


def test_resets_and_silence() -> None:
    outlet = Outlet([Reset(1)])
    assert b"".join(outlet.pull(0, [b"ab"])) == b"a"
    assert outlet.ended
    assert outlet.aborted
    outlet = Outlet([Silence(1)])
    assert b"".join(outlet.pull(0, [b"ab"])) == b"a"
    assert outlet.pull(1, [b"c"]) == []
    assert outlet.silent
    assert not outlet.ended
