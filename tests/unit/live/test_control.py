"""Lines of the live protocol."""

from __future__ import annotations

import pytest

from dbnfast import RemoteProtocolError
from dbnfast.live.wire.lines import LineBuffer, format_line, parse_line, printable


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"lsg_version=0.9.4\n", {"lsg_version": "0.9.4"}),
        (b"cram=abc\r\n", {"cram": "abc"}),
        (b"a=1|b=2\n", {"a": "1", "b": "2"}),
        (b"b=2|a=1|\n", {"b": "2", "a": "1"}),
        (b"a=x=y/z w\n", {"a": "x=y/z w"}),
        (b"success=0|error=no|way\n", {"success": "0", "error": "no|way"}),
        (b"start_session\n", {"start_session": ""}),
        (b"start_session=0\n", {"start_session": "0"}),
        (b"a=", {"a": ""}),
    ],
)
def test_parse_line(line: bytes, fields: dict[str, str]) -> None:
    assert parse_line(line) == fields


@pytest.mark.parametrize("line", [b"\n", b"|\n", b""])
def test_parse_refuses_lines_without_a_key(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="key=value"):
        parse_line(line)


def test_other_bytes_come_back_as_they_were() -> None:
    value = parse_line(b"cram=\xff\xfe\n")["cram"]
    assert format_line({"cram": value}) == b"cram=\xff\xfe\n"
    assert printable(value) == "\ufffd\ufffd"


def test_format_line() -> None:
    assert format_line([("a", 1), ("b", None), ("c", "x y")]) == b"a=1|c=x y\n"
    for wrong in ("x|y", "x\ny", "x\ry"):
        with pytest.raises(ValueError, match="can be sent"):
            format_line({"a": wrong})


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_line_buffer_in_any_pieces(step: int) -> None:
    data = b"first=1\nsecond=2\n\nthird=" + b"x" * 50 + b"\n\x00binary\nrest"
    buffer, lines, at = LineBuffer(60), [], 0
    while at < len(data):
        room = buffer.get_buffer()
        n = min(step, len(room), len(data) - at)
        assert n
        room[:n] = data[at : at + n]
        buffer.buffer_updated(n)
        at += n
        while len(lines) < 4 and (line := buffer.next_line()) is not None:
            lines.append(line)
    assert lines == [b"first=1\n", b"second=2\n", b"\n", b"third=" + b"x" * 50 + b"\n"]
    assert buffer.waiting == 12
    assert buffer.rest() == b"\x00binary\nrest"
    assert buffer.waiting == 0


def test_line_buffer_is_capped() -> None:
    buffer = LineBuffer(10)
    buffer.get_buffer()[:10] = b"0123456789"
    buffer.buffer_updated(10)
    assert buffer.next_line() is None
    buffer.get_buffer()[:1] = b"x"
    buffer.buffer_updated(1)
    with pytest.raises(RemoteProtocolError, match="longer than 10 bytes"):
        buffer.next_line()
