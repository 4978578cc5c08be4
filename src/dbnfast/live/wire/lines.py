"""
The text lines that both sides of a live session speak before records flow.

A line is ``key=value|key=value`` and a line break. Nothing is quoted: a value can hold neither
a bar nor a line break. Keys come in any order; unknown ones are kept. Source:
``docs/protocol.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbnfast.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Hide = Callable[[str], str]

MAX_REPLY: Final = 16 << 10  # bytes of a line that a gateway sends
MAX_REQUEST: Final = 128 << 10  # of a line that a client sends: 500 symbols take 36 kB at most
SHOWN: Final = 100  # bytes of a wrong line that an error shows

DOMAIN: Final = ".lsg.databento.com"  # of the vendor's gateways, behind the dataset

# seconds of silence before a gateway sends a heartbeat: unasked, and what may be asked for
HEARTBEAT_S: Final = 30
MIN_HEARTBEAT_S: Final = 5
MAX_HEARTBEAT_S: Final = 1800

Fields = dict[str, str]


def parse_line(line: bytes) -> Fields:
    """
    Read a line.

    Parameters
    ----------
    line : bytes
        With or without its line break; a carriage return before it is dropped too.

    Returns
    -------
    dict
        Values by key. A part without ``=`` belongs to the value before it, bar included, for
        errors are free text; empty parts do not count. Bytes that are no UTF-8 are kept as
        surrogates, so that encoding a value gives its bytes again.

    Raises
    ------
    RemoteProtocolError
        No part has a key.
    """
    text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
    fields: Fields = {}
    last = None
    for part in text.split("|"):
        key, equals, value = part.partition("=")
        if equals and key:
            fields[key] = value
            last = key
        elif part and last is None:
            fields[part] = ""  # "start_session" alone
            last = part
        elif part and last is not None:
            fields[last] += f"|{part}"
    if not fields:
        raise RemoteProtocolError(f"expected a line of key=value, found {shown(line)}")
    return fields


def format_line(fields: Mapping[str, object] | Iterable[tuple[str, object]]) -> bytes:
    """
    Write a line.

    Parameters
    ----------
    fields : mapping or iterable of pairs
        Values by key, in their order; None leaves a key out.

    Returns
    -------
    bytes
        The line and its line break.

    Raises
    ------
    ValueError
        A key or value holds a bar or a line break, which no line can carry.
    """
    pairs = fields.items() if hasattr(fields, "items") else fields
    parts = []
    for key, value in pairs:
        if value is None:
            continue
        part = f"{key}={value}"
        if "|" in part or "\n" in part or "\r" in part:
            raise ValueError(f"{key} is {value!r}: no bar and no line break can be sent")
        parts.append(part)
    return ("|".join(parts) + "\n").encode("utf-8", "surrogateescape")


def printable(value: str) -> str:
    """
    Give a value as text that can be shown.

    Parameters
    ----------
    value : str
        As `parse_line` gave it.

    Returns
    -------
    str
        What was no UTF-8 is replaced.
    """
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def shown(line: bytes, hide: Hide | None = None) -> str:
    """
    Give the beginning of bytes for an error's text.

    Parameters
    ----------
    line : bytes
        What came.
    hide : callable, optional
        Takes out of a text what must not be seen, before the text is cut: half a key would not
        be known for one.

    Returns
    -------
    str
    """
    if hide is not None:
        line = hide(line.decode("latin-1")).encode("latin-1")
    cut = line[:SHOWN]
    return repr(cut) + (f" and {len(line) - SHOWN} bytes more" if len(line) > SHOWN else "")


class LineBuffer:
    """
    A block that lines are read from in place.

    Parameters
    ----------
    max_line : int
        The longest line, in bytes.
    hide : callable, optional
        What must not be seen in errors; as `shown` takes it.
    """

    def __init__(self, max_line: int, hide: Hide | None = None) -> None:
        self._max_line = max_line
        self._hide = hide
        self._block = bytearray(max_line + 1)
        self._begin = self._end = 0
        self._seen = 0  # up to here there is no line break

    def get_buffer(self) -> memoryview:
        """
        Lend the room behind what came.

        Returns
        -------
        memoryview
            Writable, never empty as long as `next_line` was asked until it gave None.
        """
        if self._begin:
            rest = self._block[self._begin : self._end]
            self._block[: len(rest)] = rest
            self._seen -= self._begin
            self._begin, self._end = 0, len(rest)
        return memoryview(self._block)[self._end :]

    def buffer_updated(self, n: int) -> None:
        """
        Take the first bytes of what was lent.

        Parameters
        ----------
        n : int
            How many.
        """
        self._end += n

    def next_line(self) -> bytes | None:
        """
        Take the next line.

        Returns
        -------
        bytes or None
            With its line break; None where more must come.

        Raises
        ------
        RemoteProtocolError
            The line is too long.
        """
        at = self._block.find(b"\n", self._seen, self._end)
        if at < 0:
            self._seen = self._end
            if self._end - self._begin > self._max_line:
                found = shown(bytes(self._block[self._begin : self._end]), self._hide)
                raise RemoteProtocolError(
                    f"a line is longer than {self._max_line} bytes, it begins {found}"
                )
            return None
        line = bytes(self._block[self._begin : at + 1])
        self._begin = self._seen = at + 1
        return line

    def rest(self) -> bytes:
        """
        Take what is behind the last line taken.

        Returns
        -------
        bytes
        """
        rest = bytes(self._block[self._begin : self._end])
        self._begin = self._end = self._seen = 0
        return rest

    @property
    def waiting(self) -> int:
        """Bytes that are not taken yet."""
        return self._end - self._begin
