"""DBZ, the predecessor: read whole and in blocks, with its damage named."""

from __future__ import annotations

import datetime
import io
import struct
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import MetadataError, RType, TruncatedWarning
from dbnfast.codec import dbz
from helpers import streams

LISTS = (
    bytes(4)  # schema definition length
    + streams.text_list([b"ESH1"], 22)
    + streams.text_list([b"P"], 22)
    + streams.text_list([b"N"], 22)
    + streams.mapping_list([(b"ESH1", [(20201228, 20201229, b"5482")])], 22)
)


def dbz_file(
    records: bytes = b"",
    *,
    schema: int = 4,
    lists: bytes = LISTS,
    stype_in: int = 1,
    stype_out: int = 0,
    end: int = 9,
    limit: int = 0,
    magic: int = 0x184D2A51,
) -> bytes:
    """A file as the format describes it; no zstd stream follows where there are no records."""
    fixed = b"DBZ\x01" + struct.pack("<16sHQQQQ", b"GLBX.MDP3", schema, 5, end, limit, 2)
    fixed += struct.pack("<BBB39x", 1, stype_in, stype_out)
    assert len(fixed) == dbz.FIXED_SIZE
    payload = fixed + streams.frame(lists)
    head = struct.pack("<II", magic, len(payload)) + payload
    return head + (streams.frame(records) if records else b"")


FILE = dbz_file(streams.trades(5))


def metadata_of(data: bytes) -> dbnfast.Metadata:
    metadata = dbnfast.scan(data).metadata
    assert metadata is not None
    return metadata


@pytest.mark.parametrize("kind", streams.BUFFERS)
def test_records_are_of_version_1(kind: str) -> None:
    records = dbnfast.scan(streams.BUFFERS[kind](FILE))
    assert records.tobytes() == streams.trades(5)
    assert (records.version, records.ts_out) == (1, False)
    assert records.array()["sequence"].tolist() == [0, 1, 2, 3, 4]
    assert not records.array().flags.writeable
    assert dbnfast.decode(FILE, schema="trades").tobytes() == streams.trades(5)


def test_every_field_of_the_header() -> None:
    assert metadata_of(dbz_file(limit=7)) == dbnfast.Metadata(
        version=1,
        dataset="GLBX.MDP3",
        schema="trades",
        start=5,
        end=9,
        limit=7,
        stype_in="raw_symbol",
        stype_out="instrument_id",
        symbols=["ESH1"],
        partial=["P"],
        not_found=["N"],
        mappings={
            "ESH1": [
                {
                    "start_date": datetime.date(2020, 12, 28),
                    "end_date": datetime.date(2020, 12, 29),
                    "symbol": "5482",
                }
            ]
        },
    )


def test_zero_means_no_end_and_no_limit() -> None:
    metadata = metadata_of(dbz_file(end=0, limit=0))
    assert metadata.end is None
    assert metadata.limit is None


@pytest.mark.parametrize("magic", range(0x184D2A50, 0x184D2A60))
def test_any_skippable_magic(magic: int) -> None:
    assert len(dbnfast.scan(dbz_file(streams.trades(1), magic=magic))) == 1


def test_a_file_without_records() -> None:
    records = dbnfast.scan(dbz_file())
    assert len(records) == 0
    assert records.array().dtype == dbnfast.dtype("trades", version=1)


def test_bars_of_the_old_rtype_answer_to_the_schema() -> None:
    bars = dbnfast.empty("ohlcv-1d", 3, version=1)
    bars["rtype"] = RType.OHLCV_DEPRECATED
    data = dbz_file(bars.tobytes(), schema=int(dbnfast.Schema.OHLCV_1D))
    np.testing.assert_array_equal(dbnfast.decode(data, schema="ohlcv-1d"), bars)


def test_old_definitions_are_upgraded_as_objects() -> None:
    old = dbnfast.empty("definition", 2, version=1)
    records = dbnfast.scan(dbz_file(old.tobytes(), schema=9))
    assert records.array().dtype == dbnfast.dtype("definition", version=1)
    assert {type(record) for record in records} == {dbnfast.InstrumentDefMsg}
    assert dbnfast.scan(dbnfast.encode(records, records.metadata)).tobytes() == old.tobytes()


@pytest.mark.parametrize("max_bytes", [1020, 64 << 20])
def test_iter_decode(max_bytes: int) -> None:
    data = dbz_file(streams.trades(100))
    reader = dbnfast.iter_decode(io.BytesIO(data), max_bytes=max_bytes)
    assert reader.metadata == metadata_of(data)
    blocks = list(reader)
    assert b"".join(block.tobytes() for block in blocks) == streams.trades(100)
    assert {block.version for block in blocks} == {1}
    assert list(dbnfast.iter_decode(io.BytesIO(dbz_file()))) == []


# damage


@pytest.mark.parametrize("n", [12, 50, 103, 110, 150])
def test_cut_header(n: int) -> None:
    for read in (dbnfast.scan, lambda data: dbnfast.iter_decode(io.BytesIO(data))):
        with pytest.raises(dbnfast.TruncatedError) as caught:
            read(FILE[:n])
        assert (caught.value.offset, caught.value.available) == (0, n)


def test_header_length_below_the_fixed_part() -> None:
    data = FILE[:4] + struct.pack("<I", 95) + FILE[8:]
    with pytest.raises(MetadataError, match="at byte 4 is 95 bytes, expected 96") as caught:
        dbnfast.scan(data)
    assert caught.value.offset == 4


@pytest.mark.parametrize(
    ("options", "name", "at"),
    [
        ({"schema": 99}, "schema", 28),
        ({"schema": 0xFFFF}, "schema", 28),
        ({"stype_in": 200}, "stype_in", 63),
        ({"stype_out": 200}, "stype_out", 64),
    ],
    ids=str,
)
def test_unknown_codes(options: dict[str, Any], name: str, at: int) -> None:
    with pytest.raises(MetadataError, match=f"{name} at byte {at} is ") as caught:
        dbnfast.scan(dbz_file(**options))
    assert caught.value.offset == at


@pytest.mark.parametrize("count_at", [4, 30, 56])
def test_counts_that_exceed_the_lists(count_at: int) -> None:
    lists = LISTS[:count_at] + b"\xff\xff\xff\x7f" + LISTS[count_at + 4 :]
    with pytest.raises(MetadataError) as caught:
        dbnfast.scan(dbz_file(lists=lists))
    assert caught.value.offset == count_at  # of the lists' own frame


def test_lists_that_are_no_zstd() -> None:
    at = 8 + dbz.FIXED_SIZE
    with pytest.raises(dbnfast.DecompressionError):
        dbnfast.scan(FILE[:at] + b"\0" * 8 + FILE[at + 8 :])


def test_lists_without_a_byte() -> None:
    with pytest.raises(MetadataError):
        dbnfast.scan(dbz_file(lists=LISTS[:6]))


def test_cut_records() -> None:
    with pytest.warns(TruncatedWarning):
        assert len(dbnfast.scan(dbz_file(streams.trades(5)[:-1]))) == 4
    with pytest.warns(TruncatedWarning, match="is cut"):
        dbnfast.scan(FILE[:-1])
    with pytest.raises(dbnfast.TruncatedError):
        dbnfast.scan(FILE[:-1], on_truncated="raise")


def test_damaged_records() -> None:
    with pytest.raises(dbnfast.InvalidRecordError) as caught:
        dbnfast.scan(dbz_file(streams.trades(2) + bytes(48)))
    assert (caught.value.offset, caught.value.record_index) == (96, 2)
    assert caught.value.good is not None
    assert len(caught.value.good) == 2
    damaged = bytearray(FILE)
    damaged[-1] ^= 1
    with pytest.raises(dbnfast.DecompressionError) as broken:
        dbnfast.scan(bytes(damaged))
    assert broken.value.good is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [({"input_version": 3}, "says 1"), ({"ts_out": True}, "says False")],
    ids=str,
)
def test_options_that_the_file_contradicts(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dbnfast.scan(FILE, **options)
    with pytest.raises(ValueError, match=message):
        dbnfast.iter_decode(io.BytesIO(FILE), **options)
    assert len(dbnfast.scan(FILE, input_version=1, ts_out=False)) == 5


@pytest.mark.parametrize("how", ["whole", "byte-by-byte"])
def test_decoder_says_that_it_cannot(how: str) -> None:
    pieces = [FILE] if how == "whole" else streams.byte_by_byte(FILE)
    got = streams.run(pieces)
    assert type(got.error) is MetadataError
    assert "use scan()" in str(got.error)


def test_lists_in_a_frame_that_is_cut() -> None:
    whole = dbz_file()
    payload = whole[8:-4]
    cut = struct.pack("<II", 0x184D2A51, len(payload)) + payload + streams.frame(b"")
    with pytest.raises(dbnfast.TruncatedError, match="the zstd frame of the DBZ metadata is cut"):
        dbnfast.scan(cut)


def test_lists_that_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbz, "MAX_LISTS", 20)
    with pytest.raises(MetadataError, match="the lists of the DBZ metadata exceed 20 bytes"):
        dbnfast.scan(FILE)
