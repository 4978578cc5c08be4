"""
Any bytes are records, or a `DecodeError` at a place within them.

The records before it, and the error, are those of `dbnfast.reference`; counts, arrays and split
agree with them. In parts, on several threads, it is all the same.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import dbnfast
from dbnfast._util import threads
from dbnfast.codec.compression import detect
from dbnfast.records import parallel as passes
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, unpack
from helpers.roads import by_reference, by_scan

mutate = mutators.stream
DICTIONARY = (b"DBN\x03", b"\x0c\x00", b"\x0e\xa0", b"\x14\x01", b"\xff\xff\xff\xff")
MAX_LEN = 8192


def seeds() -> Iterator[bytes]:
    """Every plain stream and fragment of the fixtures."""
    return starts.files("none")


def options(choices: Choices) -> dict[str, Any]:
    """How to read: as a stream, or as a fragment of some version."""
    if choices.random() < 0.7:
        return {}
    version, ts_out = choices.choice((1, 2, 3)), choices.random() < 0.5
    return {"has_metadata": False, "input_version": version, "ts_out": ts_out}


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    how = options(choices)
    if detect(raw[:12]) != "none":
        return  # other targets' work
    expected = by_reference(raw, not how, bool(how.get("ts_out")))
    found = by_scan(raw, **how)
    assert found == expected
    assert found.offset is None or 0 <= found.offset <= len(raw)
    with in_parts(len(raw) // choices.choice((2, 3, 5)) + 1):
        assert by_scan(raw, **how) == found
    if found.error is None:
        derived(raw, dbnfast.scan(raw, on_truncated="ignore", **how), found.records, choices)


@contextlib.contextmanager
def in_parts(n_bytes: int) -> Iterator[None]:
    """Survey in parts of so many bytes."""
    before = passes.PART, threads.cores
    passes.PART, threads.cores = n_bytes, lambda: 8
    try:
        yield
    finally:
        passes.PART, threads.cores = before


def derived(raw: bytes, records: dbnfast.Records, wanted: list[bytes], choices: Choices) -> None:
    """What is derived from records says the same as they do."""
    assert len(records) == len(wanted)
    assert {int(key): n for key, n in records.counts.items()} == Counter(r[1] for r in wanted)
    for key, array in records.split().items():
        assert array.dtype.itemsize == 1 or len(array) == records.counts[key]
    for rtype, same in by_type(wanted).items():
        if len({len(record) for record in same}) == 1 and rtype in records.counts:
            check_array(records, dbnfast.RType, rtype, same)
    if wanted:
        first = choices.randrange(len(wanted))
        last = choices.randrange(first, len(wanted) + 1)
        assert records[first:last].tobytes() == b"".join(wanted[first:last])
        assert b"".join(run.tobytes() for run in records.runs()) == b"".join(wanted)


def by_type(wanted: list[bytes]) -> dict[int, list[bytes]]:
    """The records of each rtype."""
    found: dict[int, list[bytes]] = {}
    for record in wanted:
        found.setdefault(record[1], []).append(record)
    return found


def check_array(records: dbnfast.Records, rtypes: Any, rtype: int, same: list[bytes]) -> None:
    """The array of a type has its records' bytes, as far as the dtype shows them."""
    try:
        named = rtypes(rtype)
    except ValueError:
        return  # nobody knows its fields
    array = records.array(named)
    assert len(array) == len(same)
    size = array.dtype.itemsize
    if size == len(same[0]):
        assert array.tobytes() == b"".join(same)
