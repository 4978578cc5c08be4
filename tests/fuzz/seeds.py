"""Inputs to begin with, from the fixtures; and what earlier runs found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fuzz.inputs import pack
from helpers.places import FIXTURES

FINDINGS = Path(__file__).with_name("findings")
SAMPLES = (b"", bytes(16), bytes(range(0, 256, 7)), b"\xff" * 24)  # choosing bytes


@cache
def fixtures(kind: str | None = None) -> tuple[tuple[str, bytes], ...]:
    """Every golden file, good and bad, of a kind that `compression.detect` tells; None for all."""
    from dbnfast.codec.compression import detect

    found = []
    for path in sorted([*FIXTURES.glob("*.db*"), *FIXTURES.glob("bad/*.db*")]):
        data = path.read_bytes()
        if kind in (None, detect(data[:12])):
            found.append((path.name, data))
    return tuple(found)


def packed(*payloads: bytes) -> Iterator[bytes]:
    """Every payload once, each with one of the ways to choose."""
    for i, payload in enumerate(payloads):
        yield pack(SAMPLES[i % len(SAMPLES)], payload)


def files(*kinds: str) -> Iterator[bytes]:
    """The golden files of some kinds as inputs."""
    return packed(*(data for kind in kinds for _, data in fixtures(kind)))


def findings(target: str) -> list[Path]:
    """The inputs of earlier findings of a target."""
    return sorted((FINDINGS / target).glob("*"))
