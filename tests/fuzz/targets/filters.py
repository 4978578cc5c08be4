"""
A filter passes the records that pass every condition, and no other, on every road.

Which pass is said by `dbnfast.reference` and comparisons in plain Python.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import dbnfast
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, unpack
from helpers import streams
from helpers.roads import plain_records

mutate = mutators.stream
MAX_LEN = 6000
UNDEF = 2**64 - 1


def seeds() -> Iterator[bytes]:
    """Every plain stream of the fixtures."""
    return starts.files("none")


def header_of(raw: bytes) -> tuple[int, int, int, int]:
    """The rtype, publisher, instrument and index timestamp of a record."""
    layouts = LAYOUTS_BY_RTYPE.get(raw[1])
    at = 8
    if layouts:
        at = layouts[0].by_name[layouts[0].index_ts].offset
    return (
        raw[1],
        int.from_bytes(raw[2:4], "little"),
        int.from_bytes(raw[4:8], "little"),
        int.from_bytes(raw[at : at + 8], "little"),
    )


def conditions(choices: Choices, told: list[tuple[int, int, int, int]]) -> dict[str, Any]:
    """Some conditions, mostly such as some of the records meet."""
    found: dict[str, Any] = {}
    rtypes, publishers, ids, times = ([record[i] for record in told] or [0] for i in range(4))
    known = [rtype for rtype in rtypes if rtype in LAYOUTS_BY_RTYPE] or [0]
    if choices.random() < 0.4:
        named = choices.choices(known, k=choices.randint(1, 2))
        found["schema"] = [dbnfast.RType(rtype) for rtype in named]
    if choices.random() < 0.4:
        found["instrument_ids"] = choices.choices(ids, k=choices.randint(0, 3))
    if choices.random() < 0.4:
        found["publishers"] = choices.choices(publishers, k=choices.randint(0, 2))
    for name in ("start", "end"):
        if choices.random() < 0.4:
            found[name] = min(UNDEF, choices.choice(times) + choices.randint(0, 1))
    return found


def passes(record: tuple[int, int, int, int], wanted: dict[str, Any]) -> bool:
    """Whether a record passes."""
    rtype, publisher, instrument, time = record
    by_time = "start" in wanted or "end" in wanted
    return (
        ("schema" not in wanted or rtype in wanted["schema"])
        and ("instrument_ids" not in wanted or instrument in wanted["instrument_ids"])
        and ("publishers" not in wanted or publisher in wanted["publishers"])
        and (not by_time or wanted.get("start", 0) <= time < wanted.get("end", UNDEF))
    )


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    records = plain_records(raw)
    if records is None:
        return
    walked = streams.walk(records.tobytes())
    told = [header_of(record) for record in walked]
    wanted = conditions(choices, told)
    expected = b"".join(record for record, t in zip(walked, told, strict=True) if passes(t, wanted))
    assert records.filter(**wanted).tobytes() == expected
    size = choices.choice((1020, 5000))
    with dbnfast.iter_decode(
        io.BytesIO(raw), max_bytes=size, on_truncated="ignore", **wanted
    ) as reader:
        assert b"".join(block.tobytes() for block in reader) == expected
