"""The plain-Python reference against the official package, on the golden files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dbnfast import errors, reference
from dbnfast.codec.compression import inflate
from dbnfast.enums import Schema, SType
from dbnfast.layouts.table import LAYOUT_BY_NAME, layout_by_size
from helpers import builders
from helpers.places import FIXTURES, golden

dbn = pytest.importorskip("databento_dbn")

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)

FILES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
SOUND = sorted(k for k, v in FILES.items() if "expect" not in v and v["format"] != "dbz")
DAMAGED = sorted(k for k, v in FILES.items() if "expect" in v and v["compression"] == "none")


def content(name: str) -> bytes:
    data = golden(name).read_bytes()
    return inflate(memoryview(data)).data.tobytes() if name.endswith(".zst") else data


def decode(name: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    entry = FILES[name]
    fragment = entry["format"] == "fragment"
    return reference.decode(
        content(name), has_metadata=not fragment, ts_out=bool(fragment and entry["ts_out"])
    )


def official(name: str) -> tuple[Any, list[Any]]:
    entry = FILES[name]
    fragment = entry["format"] == "fragment"
    decoder = dbn.DBNDecoder(
        has_metadata=not fragment,
        ts_out=bool(fragment and entry["ts_out"]),
        input_version=entry["version"] if fragment else None,
        upgrade_policy=dbn.VersionUpgradePolicy.AS_IS,
    )
    decoder.write(content(name))
    found = decoder.decode()
    return (None, found) if fragment else (found[0], found[1:])


@pytest.mark.parametrize("name", [name for name in SOUND if FILES[name]["official"]])
def test_records_are_those_of_the_official_decoder(name: str) -> None:
    _, records = decode(name)
    _, expected = official(name)
    assert len(records) == len(expected)
    for record, other in zip(records, expected, strict=True):
        layout = LAYOUT_BY_NAME[type(other).__name__]
        assert layout_by_size(record["rtype"], record["length"] * 4, "ts_out" in record) == layout
        for field in layout.fields:
            value = builders.official_raw(other, field)
            assert value is None or record[field.name] == value, field.name
        if "ts_out" in record:
            assert record["ts_out"] == other.ts_out


@pytest.mark.parametrize("name", SOUND)
def test_counts_are_those_of_the_manifest(name: str) -> None:
    metadata, records = decode(name)
    entry = FILES[name]
    counts: dict[str, int] = {}
    sizes: dict[str, set[int]] = {}
    for record in records:
        counts[str(record["rtype"])] = counts.get(str(record["rtype"]), 0) + 1
        sizes.setdefault(str(record["rtype"]), set()).add(record["length"] * 4)
    assert counts == entry["counts"]
    assert {key: sorted(value) for key, value in sizes.items()} == entry["sizes"]
    if metadata is not None:
        assert (metadata["version"], metadata["ts_out"]) == (entry["version"], entry["ts_out"])
        assert metadata["schema"] == entry["schema"]


@pytest.mark.parametrize("name", SOUND)
def test_records_encode_to_their_bytes(name: str) -> None:
    _, records = decode(name)
    start = FILES[name]["records_offset"] or 0
    encoded = b"".join(map(reference.encode_record, records))
    assert encoded == content(name)[start:]


@pytest.mark.parametrize("name", [name for name in SOUND if FILES[name]["format"] == "dbn"])
def test_metadata_is_that_of_the_official_decoder(name: str) -> None:
    metadata, size = reference.decode_metadata(content(name))
    expected = dbn.Metadata.decode(content(name), dbn.VersionUpgradePolicy.AS_IS)
    assert size == FILES[name]["records_offset"]
    for field in ("version", "dataset", "start", "end", "limit", "ts_out"):
        assert metadata[field] == getattr(expected, field), field
    for field in ("symbols", "partial", "not_found"):
        assert metadata[field] == getattr(expected, field), field
    for field in ("schema", "stype_in", "stype_out"):
        other = getattr(expected, field)
        assert metadata[field] == (None if other is None else str(other)), field
    assert builders.interval_dicts(metadata["mappings"]) == expected.mappings


@pytest.mark.parametrize(
    "name", [k for k in SOUND if FILES[k]["format"] == "dbn" and not FILES[k]["edited"]]
)
def test_metadata_encodes_to_its_bytes(name: str) -> None:
    metadata, size = reference.decode_metadata(content(name))
    assert reference.encode_metadata(metadata) == content(name)[:size]


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_found_where_the_manifest_says(name: str) -> None:
    expect = FILES[name]["expect"]
    data = content(name)
    wanted = getattr(errors, expect["error"] or "TruncatedError")
    good: list[dict[str, Any]] = []

    def read() -> None:
        metadata, start = reference.decode_metadata(data)
        good.extend(reference.iter_records(data, start, ts_out=metadata["ts_out"]))

    with pytest.raises(wanted) as caught:
        read()
    assert type(caught.value) is wanted
    if expect["when"] == "records":
        assert len(good) == expect["good"]
        assert caught.value.offset == expect["offset"]
        assert caught.value.record_index == expect["record_index"]


def test_a_record_that_lies_about_its_length_is_not_encoded() -> None:
    _, records = decode("trades.v3.dbn")
    with pytest.raises(errors.EncodeError, match="length is 60 bytes, the record 48"):
        reference.encode_record({**records[0], "length": 15})


@pytest.mark.parametrize("text", ["x" * 16, "é"])
def test_a_text_that_does_not_fit_is_not_encoded(text: str) -> None:
    with pytest.raises(errors.EncodeError):
        reference.encode_metadata(builders.plain_metadata(dataset=text))


def test_metadata_by_hand() -> None:
    """Every byte of a small header, so that the oracle is not only compared with others."""
    plain = builders.plain_metadata(
        version=1,
        schema=Schema.TRADES,
        start=1,
        end=2,
        limit=3,
        stype_in=SType.RAW_SYMBOL,
        symbols=["A"],
    )
    expected = b"DBN\x01" + (142).to_bytes(4, "little") + b"XNAS.ITCH".ljust(16, b"\0")
    expected += b"\x04\0" + b"".join(n.to_bytes(8, "little") for n in (1, 2, 3, 2**64 - 1))
    expected += b"\x01\x00\x00" + bytes(47) + bytes(4)
    expected += b"\x01\0\0\0" + b"A".ljust(22, b"\0") + bytes(12)
    assert reference.encode_metadata(plain) == expected
    assert reference.decode_metadata(expected) == (plain, 150)


def test_a_trade_by_hand() -> None:
    raw = (
        bytes([14, 0]) + (2).to_bytes(2, "little") + (3).to_bytes(4, "little")
        + (4).to_bytes(8, "little") + (-5).to_bytes(8, "little", signed=True)
        + (6).to_bytes(4, "little") + b"TA" + bytes([7, 8]) + (9).to_bytes(8, "little")
        + (-10).to_bytes(4, "little", signed=True) + (11).to_bytes(4, "little")
        + (12).to_bytes(8, "little")
    )  # fmt: skip
    metadata, records = reference.decode(raw, has_metadata=False, ts_out=True)
    assert metadata is None
    assert records == [
        {
            "length": 14, "rtype": 0, "publisher_id": 2, "instrument_id": 3, "ts_event": 4,
            "price": -5, "size": 6, "action": b"T", "side": b"A", "flags": 7, "depth": 8,
            "ts_recv": 9, "ts_in_delta": -10, "sequence": 11, "ts_out": 12,
        }
    ]  # fmt: skip
    assert reference.encode_record(records[0]) == raw
