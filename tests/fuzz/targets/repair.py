"""
`verify` reports on any file and raises nothing; what `repair` makes of it verifies.

The repaired file has the records that `dbnfast.reference` finds before the damage, and the header's
bytes as they were.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dbnfast
from dbnfast.codec.compression import detect
from dbnfast.files._repair import repair
from dbnfast.files._verify import verify
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import unpack
from fuzz.targets.zstd import by_module
from helpers.roads import by_reference

MAX_LEN = 6000


def mutate(rng: mutators.random.Random, data: bytes, native: mutators.Native) -> bytes:
    """Change a file as what it is."""
    kind = detect(data[:12])
    change = {"none": mutators.stream, "zstd": mutators.compressed, "dbz": mutators.dbz}[kind]
    return change(rng, data, native)


def seeds() -> Iterator[bytes]:
    """Every fixture."""
    return starts.files("none", "zstd", "dbz")


def check(data: bytes) -> None:
    """See above."""
    with tempfile.TemporaryDirectory() as folder:
        check_in(Path(folder), data)


def check_in(folder: Path, data: bytes) -> None:
    """See above; the repaired file goes to a folder."""
    choices, raw = unpack(data)
    if detect(raw[:12]) == "dbz" or (detect(raw[:12]) == "zstd" and by_module(raw).large):
        return
    report = verify(io.BytesIO(raw), check_symbols=choices.random() < 0.5)
    target = folder / "repaired"
    try:
        kept = repair(io.BytesIO(raw), target)
    except dbnfast.DecodeError:
        assert not report.ok
        return
    assert kept.lost is not None or report.ok or report.findings[0].kind == "metadata"
    made = target.read_bytes()
    after = verify(io.BytesIO(made))
    # texts and dates of the header are kept as they are, with what is wrong in them
    assert all(finding.kind == "metadata" for finding in after.findings[:1] if not after.ok)
    assert after.records == kept.n_records == report.records
    if detect(raw[:12]) == "none":
        expected = by_reference(raw, True, False)
        if expected.error is not dbnfast.MetadataError:
            start = mutators.header_size(raw)
            assert made == raw[:start] + b"".join(expected.records)
            assert (kept.lost is None) == report.ok
