"""The metadata header: read with every error named, written as the official writer does."""

from __future__ import annotations

import datetime
import pickle
import struct
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dbnfast
from dbnfast import Metadata, MetadataError, Schema, SType
from helpers import streams

DAY = datetime.date
MAPPINGS = {
    "ESH6": [
        {"start_date": DAY(2026, 1, 4), "end_date": DAY(2026, 1, 5), "symbol": "4911"},
        {"start_date": DAY(2026, 1, 5), "end_date": DAY(2026, 1, 6), "symbol": ""},
    ],
    "NQH6": [],
}
FULL: dict[str, Any] = {
    "dataset": "GLBX.MDP3",
    "schema": "mbo",
    "start": 1_700_000_000_000_000_000,
    "end": 1_700_000_100_000_000_000,
    "limit": 1000,
    "stype_in": "raw_symbol",
    "stype_out": "instrument_id",
    "ts_out": True,
    "symbols": ["ESH6", "NQH6"],
    "partial": ["NQH6"],
    "not_found": ["XX"],
    "mappings": MAPPINGS,
}
versions = pytest.mark.parametrize("version", [1, 2, 3])


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def sample(version: int = 3) -> bytes:
    """A header with every list in use."""
    n_text = 22 if version == 1 else 71
    lists = (
        streams.text_list([b"AAA", b"BBB"], n_text)
        + streams.text_list([b"CCC"], n_text)
        + streams.text_list([b"DDD"], n_text)
        + streams.mapping_list(
            [
                (b"AAA", [(20260104, 20260105, b"1"), (20260105, 20260106, b"")]),
                (b"BBB", [(20260104, 20260106, b"2")]),
            ],
            n_text,
        )
    )
    return streams.header(version, "mbo", lists=lists, stype_in=1, end=2, limit=3)


# reading


@versions
def test_every_field_is_read(version: int) -> None:
    metadata = Metadata.decode(sample(version))
    assert metadata.version == version
    assert metadata.dataset == "GLBX.MDP3"
    assert metadata.schema is Schema.MBO
    assert (metadata.start, metadata.end, metadata.limit) == (1, 2, 3)
    assert metadata.stype_in is SType.RAW_SYMBOL
    assert metadata.stype_out is SType.INSTRUMENT_ID
    assert metadata.ts_out is False
    assert metadata.symbol_cstr_len == (22 if version == 1 else 71)
    assert metadata.symbols == ["AAA", "BBB"]
    assert metadata.partial == ["CCC"]
    assert metadata.not_found == ["DDD"]
    assert metadata.mappings == {
        "AAA": [
            {"start_date": DAY(2026, 1, 4), "end_date": DAY(2026, 1, 5), "symbol": "1"},
            {"start_date": DAY(2026, 1, 5), "end_date": DAY(2026, 1, 6), "symbol": ""},
        ],
        "BBB": [{"start_date": DAY(2026, 1, 4), "end_date": DAY(2026, 1, 6), "symbol": "2"}],
    }


@versions
def test_values_for_none_are_read_as_none(version: int) -> None:
    metadata = Metadata.decode(streams.header(version, None))
    assert metadata.schema is None
    assert metadata.stype_in is None
    assert metadata.end is None
    assert metadata.limit is None
    assert metadata.symbols == metadata.partial == metadata.not_found == []
    assert metadata.mappings == {}


@pytest.mark.parametrize("end", [0, 2**64 - 1])
def test_no_end_has_two_forms(end: int) -> None:
    assert Metadata.decode(streams.header(end=end)).end is None


def test_largest_limit_is_a_real_limit() -> None:
    assert Metadata.decode(streams.header(limit=2**64 - 1)).limit == 2**64 - 1


@versions
@pytest.mark.parametrize(("byte", "value"), [(0, False), (1, True), (2, True), (255, True)])
def test_any_byte_but_zero_means_ts_out(version: int, byte: int, value: bool) -> None:
    assert Metadata.decode(streams.header(version, ts_out=byte)).ts_out is value


@pytest.mark.parametrize("n_text", [1, 22, 30, 71, 300])
def test_symbol_length_is_that_of_the_field(n_text: int) -> None:
    lists = streams.text_list([b"A" * (n_text - 1)], n_text) + bytes(12)
    metadata = Metadata.decode(streams.header(2, lists=lists, n_text=n_text))
    assert metadata.symbol_cstr_len == n_text
    assert metadata.symbols == ["A" * (n_text - 1)]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"AB", "AB"),
        (b"A" * 71, "A" * 71),  # no room for a NUL
        (b"A\0B", "A\0B"),
        (b"AB  ", "AB  "),
        ("ÄÖ€".encode(), "ÄÖ€"),
        (b"", ""),
    ],
)
def test_texts_lose_their_padding_only(raw: bytes, text: str) -> None:
    lists = streams.text_list([raw]) + bytes(12)
    assert Metadata.decode(streams.header(lists=lists)).symbols == [text]


@versions
def test_bytes_between_the_lists_and_the_length_are_skipped(version: int) -> None:
    data = streams.header(version, extra=b"\xff" * 24) + streams.trades(2)
    assert len(dbnfast.scan(data)) == 2


@versions
def test_reserved_bytes_are_ignored(version: int) -> None:
    data = bytearray(sample(version))
    first = 61 if version == 1 else 55
    data[first:108] = b"\xaa" * (108 - first)
    assert Metadata.decode(data) == Metadata.decode(sample(version))


def test_a_symbol_named_twice_has_both_intervals() -> None:
    lists = bytes(12) + streams.mapping_list(
        [(b"A", [(20260104, 20260105, b"1")]), (b"A", [(20260105, 20260106, b"2")])]
    )
    found = Metadata.decode(streams.header(lists=lists)).mappings
    assert [interval["symbol"] for interval in found["A"]] == ["1", "2"]


def test_equal_dates_are_read() -> None:
    lists = bytes(12) + streams.mapping_list([(b"A", [(20260104, 20260104, b"1")])])
    (interval,) = Metadata.decode(streams.header(lists=lists)).mappings["A"]
    assert interval["start_date"] == interval["end_date"] == DAY(2026, 1, 4)


def test_lists_are_new_at_every_call() -> None:
    metadata = Metadata.decode(sample())
    metadata.symbols.append("X")
    metadata.mappings.clear()
    assert metadata.symbols == ["AAA", "BBB"]
    assert list(metadata.mappings) == ["AAA", "BBB"]


@pytest.mark.parametrize("kind", streams.BUFFERS)
def test_decode_takes_every_kind_of_buffer(kind: str) -> None:
    buffer = streams.BUFFERS[kind](sample() + streams.trades(1))
    assert Metadata.decode(buffer) == Metadata.decode(sample())


def test_short_headers_are_copied() -> None:
    buffer = bytearray(sample())
    metadata = Metadata.decode(buffer)
    buffer[:] = bytes(len(buffer))
    assert metadata.symbols == ["AAA", "BBB"]


# reading: errors


@versions
@pytest.mark.parametrize("length", [0, 99, 100, 103, 104, 119])
def test_length_below_four_empty_lists(version: int, length: int) -> None:
    data = patched(streams.header(version), 4, struct.pack("<I", length))
    with pytest.raises(MetadataError, match=rf"at byte 4 is {length} bytes, expected 120") as e:
        Metadata.decode(data)
    assert e.value.offset == 4


@versions
@pytest.mark.parametrize("n", [*range(1, 9), 100, 127])
def test_cut_metadata(version: int, n: int) -> None:
    data = streams.header(version)
    with pytest.raises(dbnfast.TruncatedError) as caught:
        Metadata.decode(data[:n])
    assert caught.value.offset == 0
    assert caught.value.available == n
    assert caught.value.needed == (8 if n < 8 else len(data))


def test_empty_input() -> None:
    with pytest.raises(dbnfast.TruncatedError, match="the stream is empty") as caught:
        Metadata.decode(b"")
    assert (caught.value.offset, caught.value.needed, caught.value.available) == (0, 8, 0)


@pytest.mark.parametrize("magic", [b"DBX", b"dbn", b"\x00\x00\x00", b"D\x00N"])
def test_wrong_magic(magic: bytes) -> None:
    with pytest.raises(MetadataError, match="expected b'DBN' at byte 0") as caught:
        Metadata.decode(magic + sample()[3:])
    assert caught.value.offset == 0


@versions
@pytest.mark.parametrize("policy", list(dbnfast.VersionUpgradePolicy), ids=lambda p: p.name)
def test_decode_upgrades_as_the_official(
    version: int, policy: dbnfast.VersionUpgradePolicy
) -> None:
    dbn = pytest.importorskip("databento_dbn")
    data, wanted = sample(version), getattr(dbn.VersionUpgradePolicy, policy.name)
    if version == 3 and policy == dbnfast.VersionUpgradePolicy.UPGRADE_TO_V2:
        with pytest.raises(dbn.DBNError):
            dbn.Metadata.decode(data=data, upgrade_policy=wanted)
        with pytest.raises(ValueError, match="2"):
            Metadata.decode(data=data, upgrade_policy=policy)
        return
    theirs = dbn.Metadata.decode(data=data, upgrade_policy=wanted)
    mine = Metadata.decode(data=data, upgrade_policy=policy)
    assert mine.version == theirs.version
    assert mine.encode() == bytes(theirs)
    assert Metadata.decode(data) == Metadata.decode(data, dbnfast.VersionUpgradePolicy.AS_IS)
    with pytest.raises(dbnfast.UnknownNameError, match="9 is not a valid VersionUpgradePolicy"):
        Metadata.decode(data, 9)


@pytest.mark.parametrize("version", [0, 4, 255])
def test_unsupported_version(version: int) -> None:
    with pytest.raises(dbnfast.UnsupportedVersionError) as caught:
        Metadata.decode(patched(sample(), 3, bytes([version])))
    assert (caught.value.offset, caught.value.version) == (3, version)
    assert ("newer release" in str(caught.value)) is (version > 3)


def stype_at(version: int) -> int:
    return 58 if version == 1 else 50


@versions
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", struct.pack("<H", 20)),
        ("schema", struct.pack("<H", 0xFFFE)),
        ("stype_in", b"\xc8"),
        ("stype_in", b"\xfe"),
        ("stype_out", b"\xc8"),
        ("stype_out", b"\xff"),
        ("schema definition length", struct.pack("<I", 1)),
    ],
)
def test_unknown_codes(version: int, name: str, value: bytes) -> None:
    at = {
        "schema": 24,
        "stype_in": stype_at(version),
        "stype_out": stype_at(version) + 1,
        "schema definition length": 108,
    }[name]
    with pytest.raises(MetadataError, match=rf"{name} at byte {at} is ") as caught:
        Metadata.decode(patched(sample(version), at, value))
    assert caught.value.offset == at


def test_symbol_length_of_zero() -> None:
    with pytest.raises(MetadataError, match="symbol length at byte 53 is 0") as caught:
        Metadata.decode(patched(sample(), 53, b"\0\0"))
    assert caught.value.offset == 53


def counts_at(version: int) -> dict[str, int]:
    """Where the counts of `sample` stand."""
    n = 22 if version == 1 else 71
    symbols = 112
    partial = symbols + 4 + 2 * n
    not_found = partial + 4 + n
    mappings = not_found + 4 + n
    return {
        "symbols": symbols,
        "partial": partial,
        "not_found": not_found,
        "mappings": mappings,
        "intervals": mappings + 4 + n,
    }


@versions
@pytest.mark.parametrize("name", ["symbols", "partial", "not_found", "mappings", "intervals"])
@pytest.mark.parametrize("count", [1000, 60_492_498, 2**32 - 1])
def test_counts_that_exceed_the_header(version: int, name: str, count: int) -> None:
    at = counts_at(version)[name]
    with pytest.raises(MetadataError, match=f"at byte {at}: {count} entries do not fit") as e:
        Metadata.decode(patched(sample(version), at, struct.pack("<I", count)))
    assert e.value.offset == at


def test_lists_end_with_the_header_not_with_the_input() -> None:
    data = streams.header(1, lists=streams.text_list([b"A"], 22) + bytes(12))
    data = patched(data, 112, struct.pack("<I", 5)) + bytes(1000)
    with pytest.raises(MetadataError) as caught:
        Metadata.decode(data)
    assert caught.value.offset == 112


def test_dataset_that_is_no_utf8() -> None:
    with pytest.raises(MetadataError, match="dataset at byte 8 is not UTF-8") as caught:
        Metadata.decode(patched(sample(), 8, b"\xff\xfe"))
    assert caught.value.offset == 8


@pytest.mark.parametrize("name", ["symbols", "partial", "not_found", "mappings"])
def test_text_that_is_no_utf8_raises_when_asked_for(name: str) -> None:
    at = counts_at(3)[name] + 4
    metadata = Metadata.decode(patched(sample(), at, b"\xff"))
    with pytest.raises(MetadataError, match=f"at byte {at} is not UTF-8: byte 0xff") as caught:
        getattr(metadata, name)
    assert caught.value.offset == at
    with pytest.raises(MetadataError):
        metadata.encode()
    with pytest.raises(MetadataError):
        assert metadata == Metadata.decode(sample())
    assert name in repr(metadata)  # counts alone are shown


@pytest.mark.parametrize(
    "number", [0, 1, 20260005, 20261305, 20260230, 20250229, 20260100, 20260132, 2**32 - 1]
)
@pytest.mark.parametrize("which", [0, 1], ids=["start", "end"])
def test_a_day_that_is_none(number: int, which: int) -> None:
    at = counts_at(3)["intervals"] + 4 + 4 * which
    metadata = Metadata.decode(patched(sample(), at, struct.pack("<I", number)))
    assert metadata.symbols == ["AAA", "BBB"]
    with pytest.raises(MetadataError, match=f"date at byte {at} is {number}") as caught:
        metadata.mappings  # noqa: B018
    assert caught.value.offset == at


def test_leap_day_is_a_day() -> None:
    at = counts_at(3)["intervals"] + 4
    metadata = Metadata.decode(patched(sample(), at, struct.pack("<I", 20240229)))
    assert metadata.mappings["AAA"][0]["start_date"] == DAY(2024, 2, 29)


@pytest.mark.parametrize("kind", [datetime.datetime, pd.Timestamp])
def test_days_of_mappings_may_have_a_time(kind: Any) -> None:
    days = [datetime.date(2024, 2, 29), datetime.date(2024, 3, 1)]
    first, last = (kind(day.year, day.month, day.day, 5) for day in days)
    rows = [
        {"A": [{"start_date": first, "end_date": last, "symbol": "1"}]},
        {"A": [(first, last, "1")]},
    ]
    for mappings in rows:
        metadata = Metadata("X", mappings=mappings)
        (interval,) = metadata.mappings["A"]
        assert [interval["start_date"], interval["end_date"]] == days
        assert {type(interval["start_date"]), type(interval["end_date"])} == {datetime.date}
        assert Metadata.decode(metadata.encode()) == metadata


# a header of a million mappings


@pytest.fixture(scope="module")
def large_header() -> bytes:
    """A million mappings without intervals; a text deep inside is no UTF-8, a date no day."""
    row = b"SYMBOL".ljust(71, b"\0") + struct.pack("<I", 0)
    bad_text = b"\xff" * 71 + struct.pack("<I", 0)
    bad_date = (
        b"A".ljust(71, b"\0") + struct.pack("<III", 1, 20260230, 20260301) + b"1".ljust(71, b"\0")
    )
    rows = row * 499_999 + bad_date + row * 499_999 + bad_text
    symbols = streams.text_list([b"A"] * 1000)[:-71] + b"\xff" * 71
    return streams.header(lists=symbols + bytes(8) + struct.pack("<I", 1_000_000) + rows)


def test_a_large_header_opens_without_reading_its_texts(large_header: bytes) -> None:
    data = large_header + streams.trades(2)
    tracemalloc.start()
    records = dbnfast.scan(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000  # no text, no list, and no copy of the 75 MB
    assert len(records) == 2
    assert records.metadata is not None
    assert "mappings: 1000000" in repr(records.metadata)
    with pytest.raises(MetadataError, match="symbols at byte 71045 is not UTF-8"):
        records.metadata.symbols  # noqa: B018
    with pytest.raises(MetadataError, match="is 20260230, expected a calendar date") as caught:
        records.metadata.mappings  # noqa: B018
    first = 112 + 4 + 1000 * 71 + 4 + 4 + 4
    assert caught.value.offset == first + 499_999 * 75 + 75


# making and writing


class Interval:
    """An interval as the official package's objects have it."""

    def __init__(self, start_date: DAY, end_date: DAY, symbol: str) -> None:
        self.start_date, self.end_date, self.symbol = start_date, end_date, symbol


class Mapping:
    """A mapping as the official package's objects have it."""

    def __init__(self, raw_symbol: str, intervals: list[Any]) -> None:
        self.raw_symbol, self.intervals = raw_symbol, intervals


@versions
def test_encode_is_what_the_official_writer_makes(version: int) -> None:
    dbn = pytest.importorskip("databento_dbn")
    theirs = dbn.Metadata(
        version=version,
        dataset="GLBX.MDP3",
        schema=dbn.Schema.MBO,
        start=FULL["start"],
        end=FULL["end"],
        limit=1000,
        stype_in=dbn.SType.RAW_SYMBOL,
        stype_out=dbn.SType.INSTRUMENT_ID,
        ts_out=True,
        symbols=FULL["symbols"],
        partial=FULL["partial"],
        not_found=FULL["not_found"],
        mappings=[
            Mapping(raw, [Interval(**row) for row in rows]) for raw, rows in MAPPINGS.items()
        ],
    )
    assert Metadata(version=version, **FULL).encode() == theirs.encode()


@versions
def test_encode_and_decode_are_inverse(version: int) -> None:
    metadata = Metadata(version=version, **FULL)
    again = Metadata.decode(metadata.encode())
    assert again == metadata
    assert hash(again) == hash(metadata)
    assert bytes(metadata) == metadata.encode() == again.encode()
    assert again.mappings == MAPPINGS
    assert Metadata.decode(sample(version)).encode()[8:] == sample(version)[8:]


def test_version_3_is_padded_to_8_bytes() -> None:
    for n in range(8):
        encoded = Metadata(dataset="X", symbols=["A"] * n).encode()
        assert len(encoded) % 8 == 0
        assert int.from_bytes(encoded[4:8], "little") == len(encoded) - 8
    assert len(Metadata(dataset="X", symbols=["A"], version=2).encode()) == 128 + 71


def test_defaults() -> None:
    metadata = Metadata(dataset="X")
    assert (metadata.version, metadata.start, metadata.end, metadata.limit) == (3, 0, None, None)
    assert metadata.schema is metadata.stype_in is None
    assert metadata.stype_out is SType.INSTRUMENT_ID
    assert metadata.ts_out is False
    assert metadata.symbols == []


def test_times_may_be_datetime64() -> None:
    metadata = Metadata(dataset="X", start=np.datetime64("2026-01-05"), end=np.int64(5))  # type: ignore[arg-type]
    assert metadata.start == 1_767_571_200_000_000_000
    assert (metadata.end, type(metadata.end)) == (5, int)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"dataset": b"X"}, TypeError),
        ({"dataset": None}, TypeError),
        ({"version": 0}, ValueError),
        ({"version": 4}, ValueError),
        ({"schema": "ticks"}, ValueError),
        ({"stype_in": "nothing"}, ValueError),
        ({"stype_out": None}, ValueError),
        ({"start": -1}, ValueError),
        ({"start": 2**64}, ValueError),
        ({"start": 1.0}, TypeError),
        ({"start": "today"}, ValueError),
        ({"start": True}, TypeError),
        ({"end": datetime.time(12)}, TypeError),
        ({"start": datetime.date(1969, 12, 31)}, ValueError),
        ({"limit": -1}, ValueError),
        ({"symbols": "ESH6"}, TypeError),
        ({"symbols": [1]}, TypeError),
        ({"partial": [b"A"]}, TypeError),
        ({"symbol_cstr_len": 0}, ValueError),
        ({"symbol_cstr_len": 65536}, ValueError),
        ({"version": 1, "symbol_cstr_len": 71}, ValueError),
        ({"nothing": 1}, TypeError),
    ],
    ids=str,
)
def test_wrong_arguments(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Metadata(**{"dataset": "X", **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "X" * 16}, "dataset .* has 16 characters, at most 15 fit"),
        ({"dataset": "Ä"}, "dataset 'Ä' is not ASCII"),
        ({"symbols": ["A" * 71]}, "symbols .* has 71 characters, at most 70 fit"),
        ({"partial": ["€"]}, "partial '€' is not ASCII"),
        ({"not_found": ["A" * 22], "version": 1}, "at most 21 fit"),
        ({"mappings": {"A" * 71: []}}, "raw_symbol"),
        (
            {
                "mappings": {
                    "A": [
                        {
                            "start_date": DAY(2026, 1, 1),
                            "end_date": DAY(2026, 1, 2),
                            "symbol": "1" * 71,
                        }
                    ]
                }
            },
            "symbol .* has 71 characters",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_texts_that_cannot_be_written(fields: dict[str, Any], message: str) -> None:
    metadata = Metadata(**{"dataset": "X", **fields})
    with pytest.raises(dbnfast.EncodeError, match=message):
        metadata.encode()


def test_mappings_may_be_objects() -> None:
    rows = [Mapping("A", [Interval(DAY(2026, 1, 1), DAY(2026, 1, 2), "1")])]
    assert Metadata(dataset="X", mappings=rows).mappings == {
        "A": [{"start_date": DAY(2026, 1, 1), "end_date": DAY(2026, 1, 2), "symbol": "1"}]
    }


# copies


def test_replace_changes_what_is_named() -> None:
    metadata = Metadata(**FULL)
    changed = metadata.replace(schema=None, limit=None, symbols=["A"])
    assert changed == Metadata(**{**FULL, "schema": None, "limit": None, "symbols": ["A"]})
    assert metadata.schema == "mbo"
    assert metadata.replace() == metadata
    with pytest.raises(TypeError, match="nothing"):
        metadata.replace(nothing=1)


def test_replace_of_the_version_brings_its_symbol_length() -> None:
    metadata = Metadata(**FULL)
    assert metadata.replace(version=1).symbol_cstr_len == 22
    assert metadata.replace(version=1).replace(version=3) == metadata
    assert metadata.replace(version=2, symbol_cstr_len=30).symbol_cstr_len == 30


@pytest.mark.parametrize("to_version", [2, 3])
def test_upgrade_from_version_1(to_version: int) -> None:
    dbn = pytest.importorskip("databento_dbn")
    metadata = Metadata.decode(sample(1))
    upgraded = metadata.upgrade(to_version)
    assert (upgraded.version, upgraded.symbol_cstr_len) == (to_version, 71)
    assert upgraded.mappings == metadata.mappings
    assert upgraded.symbols == ["AAA", "BBB"]
    policy = getattr(dbn.VersionUpgradePolicy, f"UPGRADE_TO_V{to_version}")
    assert upgraded.encode() == bytes(dbn.Metadata.decode(sample(1), upgrade_policy=policy))


def test_upgrade_from_version_2_keeps_an_odd_symbol_length() -> None:
    lists = streams.text_list([b"A"], 30) + bytes(12)
    metadata = Metadata.decode(streams.header(2, lists=lists, n_text=30))
    upgraded = metadata.upgrade()
    assert (upgraded.version, upgraded.symbol_cstr_len) == (3, 30)
    assert upgraded.symbols == ["A"]
    assert Metadata(dataset="X", version=2, symbol_cstr_len=30).upgrade().symbol_cstr_len == 30


def test_upgrade_leaves_the_lists_unread() -> None:
    at = counts_at(1)["symbols"] + 4
    upgraded = Metadata.decode(patched(sample(1), at, b"\xff")).upgrade()
    with pytest.raises(MetadataError):
        upgraded.symbols  # noqa: B018


def test_upgrade_to_the_own_version_is_the_same_object() -> None:
    metadata = Metadata.decode(sample())
    assert metadata.upgrade() is metadata


@pytest.mark.parametrize(("version", "to_version"), [(3, 2), (2, 1), (3, 4), (1, 0)])
def test_no_downgrade(version: int, to_version: int) -> None:
    metadata = Metadata(dataset="X", version=version)
    with pytest.raises(ValueError, match="cannot become"):
        metadata.upgrade(to_version)


def test_equality_is_by_content() -> None:
    metadata = Metadata(**FULL)
    assert metadata == Metadata(**FULL)
    assert metadata != metadata.replace(limit=1)
    assert metadata != metadata.replace(symbols=[])
    assert metadata != metadata.replace(mappings={})
    assert metadata != "metadata"
    assert {metadata, Metadata(**FULL)} == {metadata}


@versions
def test_pickle(version: int) -> None:
    metadata = Metadata.decode(sample(version))
    again = pickle.loads(pickle.dumps(metadata))
    assert again == metadata
    assert again.encode() == metadata.encode()


def test_repr_has_the_fields_and_the_counts() -> None:
    text = (
        "Metadata(version=3, dataset='GLBX.MDP3', schema='mbo', start=1, end=2, limit=3, "
        "stype_in='raw_symbol', stype_out='instrument_id', ts_out=False, symbol_cstr_len=71; "
        "symbols: 2, partial: 1, not_found: 1, mappings: 2)"
    )
    metadata = Metadata.decode(sample())
    assert repr(metadata) == text
    assert repr(metadata.replace()) == text


def test_it_is_immutable() -> None:
    metadata = Metadata(dataset="X")
    with pytest.raises(AttributeError):
        metadata.dataset = "Y"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        metadata.anything = 1  # type: ignore[attr-defined]


def test_symbols_may_be_an_array() -> None:
    assert Metadata(dataset="X", symbols=np.array(["A", "B"])).symbols == ["A", "B"]


@pytest.mark.parametrize("field", ["limit", "end"])
def test_zero_means_none_as_it_does_when_read(field: str) -> None:
    metadata = Metadata(**{"dataset": "X", field: 0})
    assert Metadata.decode(metadata.encode()) == metadata


@pytest.mark.parametrize(
    "interval",
    [
        {"start_date": "2026-01-01", "end_date": DAY(2026, 1, 2), "symbol": "1"},
        {"start_date": DAY(2026, 1, 1), "end_date": None, "symbol": "1"},
        {"start_date": DAY(2026, 1, 1), "end_date": DAY(2026, 1, 2), "symbol": 1},
    ],
    ids=["text", "none", "number"],
)
def test_wrong_intervals_are_refused_when_given(interval: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Metadata(dataset="X", mappings={"A": [interval]})


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_made_header_survives_pickling(version: int) -> None:
    metadata = Metadata(
        "GLBX.MDP3", schema="trades", start=5, end=9, limit=3, stype_in="raw_symbol",
        symbols=["ESH1"], partial=["P"], not_found=["N"], mappings=MAPPINGS, version=version,
    )  # fmt: skip
    again = pickle.loads(pickle.dumps(metadata))
    assert again == metadata
    assert again.encode() == metadata.encode()
    assert (again.symbols, again.partial, again.not_found) == (["ESH1"], ["P"], ["N"])
    assert again.mappings == MAPPINGS
    assert (again.start, again.end, again.limit, again.stype_in) == (5, 9, 3, SType.RAW_SYMBOL)


def test_an_upgraded_header_survives_pickling() -> None:
    old = dbnfast.scan(sample(1))
    assert old.metadata is not None
    metadata = old.upgrade().metadata
    assert metadata is not None
    again = pickle.loads(pickle.dumps(metadata))
    assert (again, again.version) == (metadata, 3)
    assert again.mappings == old.metadata.mappings


def test_the_symbol_of_a_mapping_is_a_text() -> None:
    with pytest.raises(TypeError, match="raw_symbol of a mapping is 3, expected a str"):
        Metadata("X", mappings=[{"raw_symbol": 3, "intervals": []}])


@pytest.mark.parametrize("mappings", ["ab", b"ab", [None], [1], ["ab"], {"A": [1]}, {"A": ["x"]}])
def test_mappings_that_are_none(mappings: Any) -> None:
    with pytest.raises(TypeError, match="a mapping holds"):
        Metadata("X", mappings=mappings)


def test_times_as_text() -> None:
    end = "2020-12-28T00:00:00.000000001"
    made = Metadata("GLBX.MDP3", start="2020-12-27T19:00-05:00", end=end)
    assert (made.start, made.end) == (1609113600000000000, 1609113600000000001)


@pytest.mark.parametrize("end", [np.bool_(True), np.timedelta64(5, "s"), 1.5, b"2026-01-01"])
def test_an_end_that_is_no_time(end: Any) -> None:
    with pytest.raises(TypeError, match="end is"):
        Metadata("X", end=end)


@pytest.mark.parametrize("end", [None, 0, 2**64 - 1, np.uint64(2**64 - 1), np.int64(0)])
def test_an_end_that_is_open(end: Any) -> None:
    assert Metadata("X", end=end).end is None


@pytest.mark.parametrize(
    "time",
    [
        datetime.date(2026, 1, 5),
        datetime.datetime(2026, 1, 5),
        datetime.datetime(2026, 1, 5, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        np.datetime64("2026-01-05"),
    ],
)
def test_times_of_every_kind(time: Any) -> None:
    metadata = Metadata("X", start=time, end=time)
    assert metadata.start == metadata.end == 1_767_571_200 * 10**9
