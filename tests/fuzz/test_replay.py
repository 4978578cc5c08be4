"""Every seed, and every input that once was a finding, through its target, in plain Python."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz import inputs, seeds, targets

pytest.importorskip("databento_dbn")
pytest.importorskip("msgspec")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

pytestmark = pytest.mark.filterwarnings("ignore::dbnfast.TruncatedWarning")

FINDINGS = [(name, path) for name in targets.NAMES for path in seeds.findings(name)]
MUTATIONS = 3


def bits(rng: random.Random, data: bytes) -> bytes:
    """Stand in for libFuzzer's mutation: a few bits."""
    out = bytearray(data)
    for _ in range(3 if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


@pytest.mark.parametrize("name", targets.NAMES)
def test_seeds(name: str) -> None:
    target = targets.load(name)
    assert target.__doc__
    found = list(target.seeds())
    assert len(found) >= 10 or name == "dbz"
    for data in found:
        target.check(data)


@pytest.mark.parametrize("name", targets.NAMES)
def test_mutations_of_seeds(name: str) -> None:
    target = targets.load(name)
    rng = random.Random(name)
    found = list(target.seeds())
    changed = 0
    for data in rng.choices(found, k=60):
        choices, payload = inputs.parts(data)
        for _ in range(MUTATIONS):
            mutated = target.mutate(rng, payload, lambda raw: bits(rng, raw))
            changed += mutated != payload
            payload = mutated[: target.MAX_LEN]
            target.check(inputs.pack(choices, payload))
    assert changed > 60


@pytest.mark.parametrize(
    ("name", "path"), FINDINGS, ids=[f"{name}-{path.name}" for name, path in FINDINGS]
)
def test_findings(name: str, path: Path) -> None:
    targets.load(name).check(path.read_bytes())


def test_an_input_does_the_same_every_time() -> None:
    data = inputs.pack(bytes(range(20)), b"payload")
    first, second = inputs.unpack(data)[0], inputs.unpack(data)[0]
    drawn = [first.randint(0, 10**6) for _ in range(30)]
    assert drawn == [second.randint(0, 10**6) for _ in range(30)]
    assert len(set(drawn)) > 10
    assert inputs.parts(data) == (bytes(range(20)), b"payload")
    assert inputs.parts(b"") == (b"", b"")
