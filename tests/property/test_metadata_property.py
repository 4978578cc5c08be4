"""Random metadata headers against the official package and the plain-Python reference."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbnfast
from dbnfast import Metadata, reference
from helpers import builders

dbn = pytest.importorskip("databento_dbn")

FIXED = ("version", "dataset", "schema", "start", "end", "limit", "stype_in", "stype_out", "ts_out")
LISTS = ("symbols", "partial", "not_found", "mappings")


def made(plain: dict[str, Any], mappings: Any = None) -> Metadata:
    mappings = builders.interval_dicts(plain["mappings"]) if mappings is None else mappings
    return Metadata(**{**plain, "mappings": mappings})


def assert_same_attributes(mine: Metadata, official: Any) -> None:
    for name in (*FIXED, *LISTS):
        value, other = getattr(mine, name), getattr(official, name)
        if name in ("schema", "stype_in", "stype_out") and other is not None:
            assert (str(value), int(value)) == (str(other), int(other)), name
        else:
            assert value == other, name
            assert type(value) is type(other), name


@given(builders.metadata())
def test_encodes_as_the_official_package_does(plain: dict[str, Any]) -> None:
    official = builders.official_metadata(plain).encode()
    assert made(plain).encode() == official
    assert bytes(made(plain)) == official
    assert reference.encode_metadata(plain) == official


@given(builders.metadata())
def test_mappings_in_every_form(plain: dict[str, Any]) -> None:
    """A dict of dicts, a dict of tuples, and a list of objects mean the same."""
    official = builders.official_metadata(plain).encode()
    rows = [
        {"raw_symbol": raw, "intervals": intervals}
        for raw, intervals in builders.interval_dicts(plain["mappings"]).items()
    ]
    assert made(plain, plain["mappings"]).encode() == official
    assert made(plain, rows).encode() == official


@given(builders.metadata(), st.binary(max_size=40))
def test_decodes_to_the_official_attributes(plain: dict[str, Any], behind: bytes) -> None:
    data = builders.official_metadata(plain).encode()
    as_is = dbn.VersionUpgradePolicy.AS_IS
    mine = Metadata.decode(data + behind)
    assert_same_attributes(mine, dbn.Metadata.decode(data, as_is))
    assert mine.symbol_cstr_len == (22 if plain["version"] == 1 else 71)
    assert reference.decode_metadata(data + behind) == (plain, len(data))
    assert mine.encode() == data
    assert mine == made(plain)
    assert hash(mine) == hash(made(plain))
    assert pickle.loads(pickle.dumps(mine)) == mine


@given(builders.metadata(), st.sampled_from((2, 3)), st.booleans())
def test_upgrades_as_the_official_package_does(
    plain: dict[str, Any], to_version: int, from_bytes: bool
) -> None:
    data = builders.official_metadata(plain).encode()
    mine = Metadata.decode(data) if from_bytes else made(plain)
    policies = {
        2: dbn.VersionUpgradePolicy.UPGRADE_TO_V2,
        3: dbn.VersionUpgradePolicy.UPGRADE_TO_V3,
    }
    if plain["version"] > to_version:
        with pytest.raises(ValueError, match="cannot become version 2"):
            mine.upgrade(to_version)
        return
    official = dbn.Metadata.decode(data, policies[to_version])
    upgraded = mine.upgrade(to_version)
    assert_same_attributes(upgraded, official)
    assert upgraded.encode() == official.encode()
    assert mine.encode() == data  # the old one is as it was


@given(builders.metadata(), builders.metadata())
def test_replace_makes_the_other(plain: dict[str, Any], other: dict[str, Any]) -> None:
    data = builders.official_metadata(plain).encode()
    fields = {**other, "mappings": builders.interval_dicts(other["mappings"])}
    for mine in (Metadata.decode(data), made(plain)):
        assert mine.replace(**fields).encode() == builders.official_metadata(other).encode()
        assert mine.replace().encode() == data


@given(builders.metadata(), st.sampled_from(("dataset", "symbols", "partial", "not_found")))
def test_texts_that_do_not_fit_are_refused_by_both(plain: dict[str, Any], name: str) -> None:
    long = "x" * (16 if name == "dataset" else plain["symbol_cstr_len"])
    for text in (long, "é", "\x80"):
        broken = {**plain, name: text if name == "dataset" else [*plain[name], text]}
        with pytest.raises(dbn.DBNError):
            builders.official_metadata(broken).encode()
        with pytest.raises(dbnfast.EncodeError):
            made(broken).encode()
        with pytest.raises(dbnfast.EncodeError):
            reference.encode_metadata(broken)


@given(builders.metadata(), st.integers(1, 90), st.binary(max_size=20))
def test_symbol_length_of_the_field_and_bytes_to_skip(
    plain: dict[str, Any], symbol_cstr_len: int, skipped: bytes
) -> None:
    """The header's own word on its symbols' length counts, and what lies behind its lists not."""
    if plain["version"] == 1:
        symbol_cstr_len = 22
    room = symbol_cstr_len - 1

    def short(texts: list[str]) -> list[str]:
        return [text[:room] for text in texts]

    fields = {
        **plain,
        "symbol_cstr_len": symbol_cstr_len,
        **{name: short(plain[name]) for name in LISTS[:3]},
        "mappings": {
            raw[:room]: [(a, b, symbol[:room]) for a, b, symbol in intervals]
            for raw, intervals in plain["mappings"].items()
        },
    }
    header = reference.encode_metadata(fields)
    assert made(fields).encode() == header
    data = header + skipped
    data = data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]
    official = dbn.Metadata.decode(data, dbn.VersionUpgradePolicy.AS_IS)
    mine = Metadata.decode(data)
    assert_same_attributes(mine, official)
    assert mine.symbol_cstr_len == symbol_cstr_len
    assert mine == made(fields)
    assert reference.decode_metadata(data) == (fields, len(data))
    if plain["version"] > 1:
        assert mine.upgrade(3).encode() == dbn.Metadata.decode(data).encode()


@given(builders.metadata(), builders.seeds())
def test_a_cut_header_is_truncated(plain: dict[str, Any], rng: Any) -> None:
    data = builders.official_metadata(plain).encode()
    for n in {0, 1, 3, 4, 7, 8, len(data) - 1, *(rng.randrange(len(data)) for _ in range(5))}:
        with pytest.raises(dbnfast.TruncatedError):
            Metadata.decode(data[:n])
        with pytest.raises(dbnfast.TruncatedError):
            reference.decode_metadata(data[:n])
        with pytest.raises(dbnfast.TruncatedError):
            dbnfast.scan(data[:n])


@given(builders.metadata(), st.data())
def test_any_bytes_of_the_header_are_read_as_by_the_reference(
    plain: dict[str, Any], draw: st.DataObject
) -> None:
    """What is one in both is the same in both; what one refuses, the other refuses."""
    data = bytearray(builders.official_metadata(plain).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    raw = bytes(data)
    try:
        expected, size = reference.decode_metadata(raw)
    except dbnfast.DecodeError as error:
        with pytest.raises(type(error)):
            _read_all(raw)
        return
    mine = _read_all(raw)
    for name in (*FIXED, "symbols", "partial", "not_found", "symbol_cstr_len"):
        assert getattr(mine, name) == expected[name], name
    assert mine.mappings == builders.interval_dicts(expected["mappings"])
    assert mine.ts_out is expected["ts_out"]
    assert size <= len(raw)


def _read_all(raw: bytes) -> Metadata:
    # texts and dates are checked when they are asked for
    mine = Metadata.decode(raw)
    for name in LISTS:
        getattr(mine, name)
    return mine
