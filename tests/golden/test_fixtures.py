"""The golden files are what the generator makes, and the official decoder agrees with them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.places import FIXTURES, SAMPLE_NAME, golden

dbn = pytest.importorskip("databento_dbn")

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)

FILES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
SOUND = sorted(name for name, entry in FILES.items() if "expect" not in entry)
DAMAGED = sorted(name for name, entry in FILES.items() if "expect" in entry)
OFFICIAL = [name for name in SOUND if FILES[name]["official"]]


def _load_generator() -> ModuleType:
    path = FIXTURES / "generate.py"
    spec = importlib.util.spec_from_file_location("dbnfast_fixtures_generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Return ``fixtures/generate.py`` as a module."""
    return _load_generator()


def official_records(name: str) -> tuple[Any, list[Any]]:
    """Decode a file with the official decoder, into (metadata or None, records)."""
    entry = FILES[name]
    compressed = entry["compression"] == "zstd"
    fragment = entry["format"] == "fragment"
    decoder = dbn.DBNDecoder(
        has_metadata=not fragment,
        ts_out=bool(fragment and entry["ts_out"]),
        input_version=entry["version"] if fragment else None,
        upgrade_policy=dbn.VersionUpgradePolicy.AS_IS,
        compression=dbn.Compression.ZSTD if compressed else dbn.Compression.NONE,
    )
    decoder.write(golden(name).read_bytes())
    found = decoder.decode()
    assert decoder.buffer() == b""
    if fragment:
        return None, found
    return found[0], found[1:]


def test_generator_makes_the_files(generator: ModuleType) -> None:
    there = (FIXTURES / SAMPLE_NAME).is_file()  # not beside the tests of an installed wheel
    assert list(generator.differences()) == ([] if there else [f"{SAMPLE_NAME}: missing"])


def test_generator_names_a_file_that_differs(generator: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "project" / "fixtures"  # the sample goes to a folder beside it
    generator.write(root)
    assert list(generator.differences(root)) == []
    changed = root / "mbo.v3.dbn"
    changed.write_bytes(changed.read_bytes()[:-1])
    assert list(generator.differences(root)) == ["mbo.v3.dbn: differs"]


def test_generator_accepts_other_compression(generator: ModuleType, tmp_path: Path) -> None:
    """Only what a frame holds is compared, since zstd releases compress differently."""
    root = tmp_path / "project" / "fixtures"
    generator.write(root)
    name = "zstd-one-frame.v3.dbn.zst"
    plain = generator.content_of(name, (root / name).read_bytes())
    frames = sys.modules["fixturegen.frames"]
    recompressed = frames.frame(plain[:50], plain[50:])  # one frame of two blocks
    assert recompressed != (root / name).read_bytes()
    (root / name).write_bytes(recompressed)
    assert list(generator.differences(root)) == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_sha256_is_of_the_content(generator: ModuleType, name: str) -> None:
    content = generator.content_of(name, golden(name).read_bytes())
    assert hashlib.sha256(content).hexdigest() == FILES[name]["sha256"]


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_decoder_agrees(name: str) -> None:
    entry = FILES[name]
    metadata, records = official_records(name)
    counts = Counter(str(int(record.rtype)) for record in records)
    assert counts == entry["counts"]
    assert len(records) == entry["n_records"]
    if metadata is None:
        return
    assert metadata.version == entry["version"]
    assert metadata.ts_out is entry["ts_out"]
    assert (None if metadata.schema is None else str(metadata.schema)) == entry["schema"]


def test_official_decoder_is_asked_for_nearly_all() -> None:
    reasons = {FILES[name].get("official_why_not") for name in SOUND if name not in OFFICIAL}
    assert reasons == {"it raises on a record of unknown type", "it does not read DBZ"}
    assert len(OFFICIAL) > 0.9 * len(SOUND)


# The official decoder panics on these two, which is no exception that a test should catch.
PANICS = {"bad/length-100.v3.dbn", "bad/length-103.v3.dbn"}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in DAMAGED
        if FILES[name]["expect"]["error"] == "MetadataError" and name not in PANICS
    ],
)
def test_official_decoder_refuses_damaged_metadata(name: str) -> None:
    with pytest.raises(dbn.DBNError):
        dbn.Metadata.decode(golden(name).read_bytes())


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in DAMAGED
        # On a record of unknown type (0x42) the official decoder raises.
        if FILES[name]["expect"]["warning"] is not None and "66" not in FILES[name]["counts"]
    ],
)
def test_official_decoder_delivers_what_is_before_a_cut(name: str) -> None:
    entry = FILES[name]
    compressed = entry["compression"] == "zstd"
    decoder = dbn.DBNDecoder(
        upgrade_policy=dbn.VersionUpgradePolicy.AS_IS,
        compression=dbn.Compression.ZSTD if compressed else dbn.Compression.NONE,
    )
    decoder.write(golden(name).read_bytes())
    assert len(decoder.decode()) - 1 == entry["expect"]["good"]


def test_every_schema_in_every_version() -> None:
    plain = {
        (entry["schema"], entry["version"], entry["ts_out"])
        for name, entry in FILES.items()
        if "/" not in name and entry["format"] == "dbn"
    }
    schemas = {str(schema) for schema in dbn.Schema.variants()}
    wanted = {(s, v, t) for s in schemas for v in (1, 2, 3) for t in (False, True)}
    assert len(schemas) == 20
    assert wanted <= plain


def test_folder_is_small() -> None:
    total = sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file())
    assert total < 1_000_000


def test_sample_is_small_ordered_and_mixed() -> None:
    name = next(name for name in FILES if name.endswith("sample.dbn.zst"))
    assert golden(name).stat().st_size < 150_000
    _, records = official_records(name)
    assert 3_000 <= len(records) <= 6_000
    times = [record.ts_index for record in records]
    assert times == sorted(times)
    assert set(FILES[name]["counts"]) == {"0", "1", "18", "19", "24", "32", "160"}
