"""
What an input of a target is: a few bytes that choose, and a payload behind them.

The first byte counts the choosing bytes. They decide how the payload is cut, with what options it
is read, and so on; libFuzzer mutates them like the rest. Targets take all that is random from
them, so that an input does the same every time, with libFuzzer or without.
"""

from __future__ import annotations

import random
import zlib

MAX_CHOICES = 255


class Choices(random.Random):
    """A generator whose numbers are an input's bytes, and seeded by them where those end."""

    def __init__(self, data: bytes) -> None:
        super().__init__(zlib.crc32(data))
        self._left = data

    def getrandbits(self, k: int, /) -> int:
        n = (k + 7) // 8
        if len(self._left) < n:
            return super().getrandbits(k)
        taken, self._left = self._left[:n], self._left[n:]
        return int.from_bytes(taken, "little") >> (8 * n - k)

    def random(self) -> float:
        return self.getrandbits(16) / 2**16


def pieces(choices: Choices, data: bytes) -> list[bytes]:
    """Cut data into some 40 pieces at most, short data byte by byte too; some are empty."""
    longest = choices.choice((1, 7, 40, 200, len(data)))
    longest = max(longest, len(data) // 20, 1)
    found, at = [], 0
    while at < len(data):
        n = choices.randint(0, longest)
        found.append(data[at : at + n])
        at += n
    return found


def pack(choices: bytes, payload: bytes) -> bytes:
    """Make an input."""
    assert len(choices) <= MAX_CHOICES
    return bytes([len(choices)]) + choices + payload


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Give an input's choosing bytes and its payload."""
    n = 1 + data[0] if data else 0
    return data[1:n], data[n:]


def unpack(data: bytes) -> tuple[Choices, bytes]:
    """Give an input's choices and its payload."""
    choices, payload = parts(data)
    return Choices(choices), payload
