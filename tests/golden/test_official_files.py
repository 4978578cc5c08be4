"""Real files: every value is what the official decoder reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import RType
from helpers import streams
from helpers.places import REAL

pytest.importorskip("databento_dbn")

if not REAL.is_dir():
    pytest.skip(f"there are no real files: {REAL.name} is absent", allow_module_level=True)

NAMES = sorted(str(path.relative_to(REAL)) for path in REAL.rglob("*.dbn.zst"))
SMALL = [name for name in NAMES if (REAL / name).stat().st_size < 2_000]
SAMPLE = 211  # of large files every so many records are compared as objects


def read(name: str) -> bytes:
    return (REAL / name).read_bytes()


def official(name: str, policy: str = "AS_IS") -> tuple[Any, list[Any]]:
    found = streams.official(read(name), policy, compression="zstd")
    return found[0], found[1:]


def raw_value(value: Any) -> Any:
    """An official attribute as the array has it: int, or the bytes of a character or text."""
    if isinstance(value, bool) or value is None:
        return {True: b"Y", False: b"N", None: b"~"}[value]
    if hasattr(value, "value") and not isinstance(value.value, str):
        return value.value
    if type(value).__name__ == "SType":
        return int(value)
    value = getattr(value, "value", value)
    if isinstance(value, str):
        return value.encode("latin-1").rstrip(b"\0")
    return value


def test_there_are_files_of_all_kinds() -> None:
    assert len(NAMES) >= 27
    assert len(SMALL) >= 24


@pytest.mark.parametrize("name", NAMES)
def test_scan_gives_the_official_bytes(name: str) -> None:
    metadata, theirs = official(name)
    ours = dbnfast.scan(read(name))
    assert len(ours) == len(theirs)
    assert ours.tobytes() == b"".join(bytes(record) for record in theirs)
    assert ours.version == metadata.version
    counts: dict[int, int] = {}
    for record in theirs:
        counts[int(record.rtype)] = counts.get(int(record.rtype), 0) + 1
    assert ours.counts == counts


@pytest.mark.parametrize("name", NAMES)
def test_array_columns_are_the_official_attributes(name: str) -> None:
    _, theirs = official(name)
    arrays = dbnfast.split(read(name))
    for rtype, array in arrays.items():
        assert isinstance(rtype, RType)
        own = [record for record in theirs if int(record.rtype) == int(rtype)]
        assert len(array) == len(own)
        for field in array.dtype.names or ():
            if field == "length" or field.startswith("_"):
                continue
            wanted = [raw_value(getattr(record, field)) for record in own]
            assert array[field].tolist() == wanted, field


@pytest.mark.parametrize("name", NAMES)
def test_decode_gives_the_array_of_the_files_schema(name: str) -> None:
    records = dbnfast.scan(read(name))
    assert records.metadata is not None
    if records.metadata.schema is None:
        with pytest.raises(dbnfast.MixedRecordsError) as caught:
            dbnfast.decode(read(name))
        assert caught.value.counts == records.counts
        return
    array = dbnfast.decode(read(name))
    assert array.tobytes() == records.tobytes()
    assert array.dtype == dbnfast.dtype(records.metadata.schema, version=records.version)
    named = dbnfast.decode(read(name), schema=records.metadata.schema)
    np.testing.assert_array_equal(named, array)


@pytest.mark.parametrize("policy", ["AS_IS", "UPGRADE_TO_V3"])
@pytest.mark.parametrize("name", NAMES)
def test_objects_have_every_official_attribute(name: str, policy: str) -> None:
    _, theirs = official(name, policy)
    ours = list(dbnfast.scan(read(name)).objects(upgrade=policy != "AS_IS"))
    assert len(ours) == len(theirs)
    step = 1 if len(ours) < 300 else SAMPLE
    for mine, other in zip(ours[::step], theirs[::step], strict=True):
        assert type(mine).__name__ == type(other).__name__
        assert bytes(mine) == bytes(other)
        streams.assert_same_record(mine, other)


@pytest.mark.parametrize("policy", ["UPGRADE_TO_V2", "UPGRADE_TO_V3"])
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("v1/")])
def test_upgraded_records_are_the_official_bytes(name: str, policy: str) -> None:
    metadata, theirs = official(name, policy)
    to_version = int(policy[-1])
    upgraded = dbnfast.scan(read(name)).upgrade(to_version)
    assert upgraded.tobytes() == b"".join(bytes(record) for record in theirs)
    assert upgraded.metadata is not None
    assert upgraded.metadata.version == to_version == metadata.version
    assert upgraded.metadata.symbol_cstr_len == 71


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_the_official(name: str) -> None:
    theirs, _ = official(name)
    ours = dbnfast.scan(read(name)).metadata
    assert ours is not None
    for field in (
        "version", "dataset", "schema", "start", "end", "limit", "stype_in", "stype_out",
        "ts_out", "symbols", "partial", "not_found", "mappings",
    ):  # fmt: skip
        assert streams.plain(getattr(ours, field)) == streams.plain(getattr(theirs, field)), field
    assert ours.encode() == bytes(theirs)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("name", NAMES)
def test_encode_round_trip(name: str, compression: str) -> None:
    records = dbnfast.scan(read(name))
    assert records.metadata is not None
    encoded = dbnfast.encode(records, records.metadata, compression=compression)
    plain = streams.inflate(encoded) if compression == "zstd" else encoded
    body = streams.inflate(read(name))
    assert plain[-records.nbytes :] == body[-records.nbytes :]
    again = dbnfast.scan(encoded)
    assert again.tobytes() == records.tobytes()
    assert again.metadata == records.metadata


@pytest.mark.parametrize("name", SMALL)
def test_decoder_byte_by_byte(name: str) -> None:
    records = dbnfast.scan(read(name))
    for data in (read(name), streams.inflate(read(name))):
        got = streams.run(streams.byte_by_byte(data), eof=True)
        assert got.error is None
        assert got.records == records.tobytes()
        assert got.decoder.metadata == records.metadata


def test_dbz_holds_the_records_of_the_dbn_file() -> None:
    data = read("v1/test_data.trades.dbz")
    records = dbnfast.scan(data)
    reference = dbnfast.scan(read("v1/test_data.trades.v1.dbn.zst"))
    assert records.tobytes() == reference.tobytes()
    assert records.version == 1
    assert records.metadata is not None
    assert reference.metadata is not None
    assert records.metadata.schema == "trades"
    assert records.metadata.symbols == reference.metadata.symbols
    assert records.metadata.mappings == reference.metadata.mappings
    blocks = list(dbnfast.iter_decode(REAL / "v1/test_data.trades.dbz"))
    assert b"".join(block.tobytes() for block in blocks) == records.tobytes()
