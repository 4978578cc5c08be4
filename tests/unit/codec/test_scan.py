"""scan, decode and split of whole buffers: every odd but legal stream, and every option."""

from __future__ import annotations

import array as array_module
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import InvalidRecordError, RType, TruncatedWarning
from helpers import streams

HEADERS = {version: streams.header(version) for version in (1, 2, 3)}
versions = pytest.mark.parametrize("version", [1, 2, 3])


def without_length(array: np.ndarray[Any, Any]) -> list[tuple[Any, ...]]:
    """The rows but for their length byte, which in longer records is as the stream has it."""
    return [row[1:] for row in array.tolist()]


# lengths


@pytest.mark.parametrize("words", [0, 1, 2, 3])
@pytest.mark.parametrize("n_good", [0, 1, 70])
def test_length_below_the_header(words: int, n_good: int) -> None:
    good = streams.trades(n_good)
    data = HEADERS[3] + good + bytes([words]) + bytes(47)
    with pytest.raises(InvalidRecordError) as caught:
        dbnfast.scan(data)
    error = caught.value
    assert (error.offset, error.record_index) == (128 + len(good), n_good)
    assert (error.length, error.rtype) == (words * 4, 0)
    assert error.good is not None
    assert error.good.tobytes() == good


@pytest.mark.parametrize("ts_out", [0, 1], ids=["plain", "ts_out"])
@pytest.mark.parametrize(
    ("rtype", "size"),
    [(rtype, dbnfast.dtype(rtype, version=1).itemsize) for rtype in sorted(set(RType))],
    ids=lambda value: str(value) if isinstance(value, RType) else "",
)
def test_record_shorter_than_its_oldest_struct(rtype: RType, size: int, ts_out: int) -> None:
    size += 8 * ts_out
    head = streams.header(ts_out=ts_out, schema=None)
    assert len(dbnfast.scan(head + streams.record(rtype, size))) == 1
    short = streams.record(rtype, size - 4)
    with pytest.raises(InvalidRecordError) as caught:
        dbnfast.scan(head + streams.record(0x42, 24) + short)
    assert (caught.value.offset, caught.value.record_index) == (152, 1)
    assert (caught.value.length, caught.value.rtype) == (size - 4, rtype)


def test_no_room_for_ts_out() -> None:
    data = streams.header(ts_out=1) + streams.trades(1, ts_out=True) + streams.trade(1)
    with pytest.raises(InvalidRecordError) as caught:
        dbnfast.scan(data)
    assert (caught.value.offset, caught.value.record_index, caught.value.length) == (184, 1, 48)


@pytest.mark.parametrize("n_extra", [4, 8, 972])
def test_longer_records_are_a_strided_view_of_the_prefix(n_extra: int) -> None:
    data = HEADERS[3] + b"".join(streams.trade(i, extra=b"\xee" * n_extra) for i in range(5))
    found = dbnfast.decode(data)
    assert found.dtype == dbnfast.dtype("trades")
    assert found.strides == (48 + n_extra,)
    assert np.shares_memory(found, np.frombuffer(data, np.uint8))
    plain = dbnfast.decode(HEADERS[3] + streams.trades(5))
    assert without_length(found) == without_length(plain)
    assert found["length"].tolist() == [(48 + n_extra) // 4] * 5


def test_longer_records_have_their_ts_out_last() -> None:
    data = streams.header(ts_out=1)
    data += b"".join(streams.trade(i, extra=b"\xee" * 16 + streams.stamp(i)) for i in range(4))
    found = dbnfast.decode(data)
    assert found["ts_out"].tolist() == [2 * 10**18 + i for i in range(4)]
    assert found["sequence"].tolist() == [0, 1, 2, 3]
    assert [record.ts_out for record in dbnfast.scan(data)] == found["ts_out"].tolist()


def test_longer_and_plain_records_of_one_type_come_as_one_array() -> None:
    parts = [streams.trade(i, extra=b"\xee" * (i % 3 * 8)) for i in range(9)]
    found = dbnfast.decode(HEADERS[3] + b"".join(parts))
    plain = dbnfast.decode(HEADERS[3] + streams.trades(9))
    assert without_length(found) == without_length(plain)


def test_records_of_header_size_alone() -> None:
    data = HEADERS[3] + b"".join(streams.record(0x42, 16, instrument_id=i) for i in range(3))
    records = dbnfast.scan(data)
    assert records.counts == {0x42: 3}
    assert [record.instrument_id for record in records] == [0, 1, 2]
    assert records.split()[0x42].tobytes() == data[128:]


def test_largest_record() -> None:
    data = HEADERS[3] + streams.record(0x42, 1020, body=b"\x01" * 1004) * 2
    assert dbnfast.scan(data).nbytes == 2040


# alignment and headers


@versions
@pytest.mark.parametrize("n_extra", range(8))
def test_records_begin_at_any_byte(version: int, n_extra: int) -> None:
    head = streams.header(version, extra=b"\xff" * n_extra)
    found = dbnfast.decode(head + streams.trades(70))
    assert found["sequence"].tolist() == list(range(70))
    assert found["price"].tolist() == [i * 10**9 for i in range(70)]
    assert found["ts_recv"].tolist() == [10**18 + 1000 + i for i in range(70)]


@versions
def test_metadata_alone(version: int) -> None:
    records = dbnfast.scan(HEADERS[version])
    assert len(records) == records.nbytes == 0
    assert records.counts == {}
    assert records.version == version
    assert records.array().shape == (0,)
    assert records.array().dtype == dbnfast.dtype("trades", version=version)


@pytest.mark.parametrize("function", [dbnfast.scan, dbnfast.decode, dbnfast.split])
def test_empty_input_is_truncated(function: Any) -> None:
    with pytest.raises(dbnfast.TruncatedError, match="the stream is empty") as caught:
        function(b"")
    assert caught.value.offset == 0


@pytest.mark.parametrize("version", [0, 4, 200])
def test_other_versions_are_refused(version: int) -> None:
    data = b"DBN" + bytes([version]) + HEADERS[3][4:] + streams.trades(1)
    with pytest.raises(dbnfast.UnsupportedVersionError) as caught:
        dbnfast.scan(data)
    assert caught.value.version == version


def test_a_second_header_passes_for_a_record() -> None:
    # 'D' reads as 272 bytes and 'B' as rtype 0x42
    data = HEADERS[3] + streams.trades(1)
    assert dbnfast.scan(data + HEADERS[3] + streams.trades(5)).counts == {0: 3, 0x42: 1}
    with pytest.warns(TruncatedWarning):
        assert dbnfast.scan(data + data).counts == {0: 1}


# versions that lie


V1_SIZES = {
    "definition": (RType.INSTRUMENT_DEF, 360),
    "statistics": (RType.STATISTICS, 64),
    "error": (RType.ERROR, 80),
    "symbol-mapping": (RType.SYMBOL_MAPPING, 80),
    "system": (RType.SYSTEM, 80),
}


@pytest.mark.parametrize("name", V1_SIZES)
def test_old_records_in_a_version_3_stream(name: str) -> None:
    rtype, size = V1_SIZES[name]
    data = streams.header(3, None) + streams.record(rtype, size, instrument_id=7) * 3
    found = dbnfast.decode(data)
    assert found.dtype == dbnfast.dtype(rtype, version=1)
    assert found["instrument_id"].tolist() == [7, 7, 7]
    assert np.shares_memory(found, np.frombuffer(data, np.uint8))
    newest = dbnfast.dtype(rtype, version=3).itemsize
    assert [record.record_size for record in dbnfast.scan(data)] == [newest] * 3


@pytest.mark.parametrize("name", V1_SIZES)
def test_new_records_in_a_version_1_stream(name: str) -> None:
    rtype, _ = V1_SIZES[name]
    newest = dbnfast.dtype(rtype, version=3)
    data = streams.header(1, None) + streams.record(rtype, newest.itemsize, instrument_id=7) * 2
    found = dbnfast.decode(data)
    assert found.dtype == newest
    assert found["instrument_id"].tolist() == [7, 7]
    assert dbnfast.scan(data).version == 1


def old_system(text: bytes) -> bytes:
    return streams.record(0x17, 80, body=text.ljust(64, b"\0"))


def new_system(text: bytes, code: int) -> bytes:
    return streams.record(0x17, 320, body=text.ljust(303, b"\0") + bytes([code]))


def test_old_and_new_system_records_come_in_the_newest_layout() -> None:
    data = streams.header(2, None)
    data += old_system(b"Heartbeat") + new_system(b"Heartbeat", 0) + streams.trade(1)
    data += old_system(b"End of interval for ohlcv-1s") + old_system(b"Anything")
    records = dbnfast.scan(data)
    found = records.array(RType.SYSTEM)
    assert found.dtype == dbnfast.dtype(RType.SYSTEM)
    assert found["msg"].tolist() == [
        b"Heartbeat", b"Heartbeat", b"End of interval for ohlcv-1s", b"Anything",
    ]  # fmt: skip
    assert found["code"].tolist() == [0, 0, 4, 255]
    assert found["length"].tolist() == [80] * 4
    assert not np.shares_memory(found, np.frombuffer(data, np.uint8))
    np.testing.assert_array_equal(records.split()[RType.SYSTEM], found)
    assert [record.code for record in records if record.rtype == 0x17] == [0, 0, 4, 255]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"Heartbeat", 0),
        (b"Heartbeats", 255),
        (b"Subscription request 1 for trades data succeeded", 1),
        (b"Subscription request 1 failed", 255),
        (b"Warning: slow reading", 2),
        (b"Warning: slow reading detected", 2),
        (b"Finished trades replay", 3),
        (b"Finished", 255),
        (b"End of interval for ohlcv-1s", 4),
        (b"", 255),
        (b"x" * 64, 255),
    ],
)
def test_codes_of_old_system_records_come_from_their_text(text: bytes, code: int) -> None:
    data = streams.header(1, None) + old_system(text)
    upgraded = dbnfast.scan(data).upgrade(3).array()
    assert upgraded["code"].tolist() == [code]
    assert upgraded["msg"].tolist() == [text]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"User or API key deactivated", 2),
        (b"User has reached their open connection limit", 3),
        (b"Failed to resolve symbol X", 4),
        (b"Internal error", 6),
        (b"Internal errors", 255),
        (b"Slow client detected for 1", 7),
        (b"Anything", 255),
    ],
)
def test_codes_of_old_error_records_come_from_their_text(text: bytes, code: int) -> None:
    data = streams.header(1, None) + streams.record(0x15, 80, body=text.ljust(64, b"\0"))
    upgraded = dbnfast.scan(data).upgrade(3).array()
    assert upgraded["code"].tolist() == [code]
    assert upgraded["is_last"].tolist() == [255]
    assert upgraded["err"].tolist() == [text]


def test_three_layouts_of_definitions_with_ts_out() -> None:
    parts = [
        streams.record(0x13, size + 8, instrument_id=i)[:-8] + streams.stamp(i)
        for i, size in enumerate((360, 400, 520))
    ]
    found = dbnfast.decode(streams.header(3, None, ts_out=1) + b"".join(parts))
    assert found.dtype == dbnfast.dtype("definition", ts_out=True)
    assert found["instrument_id"].tolist() == [0, 1, 2]
    assert found["ts_out"].tolist() == [2 * 10**18 + i for i in range(3)]
    assert found["leg_side"].tolist() == [b"N", b"N", b""]


# values


def test_text_fields_without_a_nul_are_whole() -> None:
    body = bytes([1]) + b"A" * 71 + bytes([0]) + b"B" * 71 + bytes(16)
    data = streams.header(3, None) + streams.record(0x16, 176, body=body)
    found = dbnfast.decode(data)
    assert found["stype_in_symbol"].tolist() == [b"A" * 71]
    assert found["stype_out_symbol"].tolist() == [b"B" * 71]


def test_old_text_fields_without_a_nul_are_whole_after_an_upgrade() -> None:
    body = b"A" * 22 + b"B" * 22 + b"\xee" * 4 + bytes(16)
    records = dbnfast.scan(streams.header(1, None) + streams.record(0x16, 80, body=body))
    found = records.upgrade(3).array()
    assert found["stype_in_symbol"].tolist() == [b"A" * 22]
    assert found["stype_out_symbol"].tolist() == [b"B" * 22]
    assert (found["stype_in"][0], found["stype_out"][0]) == (255, 255)


@pytest.mark.parametrize(("version", "size", "at"), [(1, 64, 40), (2, 64, 40), (3, 80, 40)])
def test_undefined_quantities_have_the_width_of_their_version(
    version: int, size: int, at: int
) -> None:
    width = 4 if version < 3 else 8
    undefined = 2 ** (8 * width - 1) - 1
    values = [undefined, undefined - 1, -1, 0]
    parts = [
        streams.record(
            0x18, size, body=bytes(at - 16) + value.to_bytes(width, "little", signed=True)
        )
        for value in values
    ]
    records = dbnfast.scan(streams.header(version, "statistics") + b"".join(parts))
    assert records.array()["quantity"].tolist() == values
    assert records.upgrade(3).array()["quantity"].tolist() == [
        2**63 - 1 if value == undefined else value for value in values
    ]


def test_char_fields_compare_with_bytes() -> None:
    found = dbnfast.decode(HEADERS[3] + streams.trades(2))
    assert (found["action"] == dbnfast.Action.TRADE.code).tolist() == [True, True]
    assert found["side"].tolist() == [b"A", b"A"]


# unknown types


def test_unknown_types_count_and_stop_nothing() -> None:
    records = dbnfast.scan(HEADERS[3] + streams.mixed(6))
    assert records.counts == {0: 6, 0x42: 6, RType.OHLCV_1M: 6, RType.SYSTEM: 6}
    assert [type(key) for key in records.counts] == [RType, RType, RType, int]
    found = records.split()
    raw = [rec for rec in streams.walk(streams.mixed(6)) if rec[1] == 0x42]
    assert found[0x42].dtype == np.uint8
    assert found[0x42].tobytes() == b"".join(raw)
    assert not found[0x42].flags.writeable
    assert found[RType.OHLCV_1M]["instrument_id"].tolist() == list(range(6))


def test_unknown_type_alone_is_no_array() -> None:
    data = HEADERS[3] + streams.record(0x42, 24)
    with pytest.raises(dbnfast.MixedRecordsError) as caught:
        dbnfast.decode(data)
    assert caught.value.counts == {0x42: 1}
    assert dbnfast.decode(data, schema="trades").shape == (0,)


# one schema of a mixed stream: a pass of its own


SHORT_AND_LONG = [("trades", 0), ("ohlcv-1m", 0x21), (RType.SYSTEM, 0x17)]


@pytest.mark.parametrize("ts_out", [False, True], ids=["plain", "ts_out"])
@pytest.mark.parametrize(("schema", "rtype"), SHORT_AND_LONG, ids=str)
@pytest.mark.parametrize("n", [1, 2, 9, 300])
def test_one_schema_of_a_mixed_stream(schema: Any, rtype: int, n: int, ts_out: bool) -> None:
    records = streams.walk(streams.mixed(n))
    if ts_out:
        records = [
            bytes([raw[0] + 2]) + raw[1:] + streams.stamp(i) for i, raw in enumerate(records)
        ]
    data = streams.header(schema=None, ts_out=int(ts_out)) + b"".join(records)
    wanted = [raw for raw in records if raw[1] == rtype]
    found = dbnfast.decode(data, schema=schema)
    assert found.tobytes() == b"".join(wanted)
    assert found.dtype == dbnfast.dtype(schema, ts_out=ts_out)
    assert not found.flags.writeable
    assert not np.shares_memory(found, np.frombuffer(data, np.uint8))


def test_a_schema_that_a_mixed_stream_does_not_have() -> None:
    found = dbnfast.decode(streams.header(schema=None) + streams.mixed(3), schema="mbo")
    assert (found.shape, found.dtype) == ((0,), dbnfast.dtype("mbo"))


@pytest.mark.parametrize("place", [0, 1, 7], ids=["first", "second", "last"])
@pytest.mark.parametrize("schema", ["trades", RType.SYSTEM], ids=str)
def test_one_schema_in_two_sizes_of_a_mixed_stream(schema: Any, place: int) -> None:
    odd = {
        "trades": streams.trade(77, extra=b"more"),
        RType.SYSTEM: streams.record(0x17, 80, instrument_id=77),  # as before version 2
    }[schema]
    records = streams.walk(streams.mixed(2))
    records.insert(place, odd)
    found = dbnfast.decode(streams.header(schema=None) + b"".join(records), schema=schema)
    rtype = odd[1]
    ids = [struct.unpack_from("<I", raw, 4)[0] for raw in records if raw[1] == rtype]
    assert found["instrument_id"].tolist() == ids
    assert len(ids) == 3
    assert found.dtype == dbnfast.dtype(schema)


@pytest.mark.parametrize("n_good", [2, 40])
def test_one_schema_of_a_damaged_mixed_stream(n_good: int) -> None:
    good = streams.mixed(n_good)
    head = streams.header(schema=None)
    for bad in (bytes(16), bytes([3]) + bytes(15)):
        with pytest.raises(InvalidRecordError) as caught:
            dbnfast.decode(head + good + bad, schema="trades")
        assert (caught.value.offset, caught.value.record_index) == (len(head + good), 4 * n_good)
        assert caught.value.length == bad[0] * 4
    cut = head + good + streams.trade(9)[:-1]
    with pytest.warns(TruncatedWarning, match=f"at byte {len(head + good)} needs 48 bytes, 47"):
        found = dbnfast.decode(cut, schema="trades")
    assert found.tobytes() == b"".join(raw for raw in streams.walk(good) if raw[1] == 0)


def test_what_is_stated_of_a_mixed_stream_must_be_so() -> None:
    data = streams.header(2, schema=None) + streams.mixed(2)
    assert len(dbnfast.decode(data, schema="trades", input_version=2, ts_out=False)) == 2
    with pytest.raises(ValueError, match="version"):
        dbnfast.decode(data, schema="trades", input_version=3)
    with pytest.raises(ValueError, match="ts_out"):
        dbnfast.decode(data, schema="trades", ts_out=True)


# compression


PLAIN = HEADERS[3] + streams.trades(40)
CUTS = (PLAIN[:61], PLAIN[61:500], PLAIN[500:])


@pytest.mark.parametrize(
    "data",
    [
        streams.frame(PLAIN),
        streams.frame(*CUTS),
        b"".join(map(streams.frame, CUTS)),
        streams.skippable() + streams.frame(PLAIN),
        streams.skippable(b"") + streams.frame(PLAIN),
        streams.skippable(magic=0x184D2A5F) + streams.frame(PLAIN) + streams.skippable(),
        streams.frame(CUTS[0]) + streams.skippable() + streams.frame(CUTS[1] + CUTS[2]),
        streams.frame(b"") + streams.frame(PLAIN) + streams.frame(b""),
        streams.frame(PLAIN, checksum=False),
    ],
    ids=[
        "one-frame", "flushes", "frames", "skippable-first", "empty-skippable-first",
        "skippable-around", "skippable-between", "empty-frames", "no-checksum",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", streams.BUFFERS)
def test_zstd_in_every_shape(data: bytes, kind: str) -> None:
    records = dbnfast.scan(streams.BUFFERS[kind](data))
    assert records.tobytes() == PLAIN[128:]
    assert records.metadata == dbnfast.scan(PLAIN).metadata
    assert not records.array().flags.writeable


def test_cut_zstd_delivers_what_is_whole() -> None:
    data = streams.frame(*CUTS)[:-20]
    with pytest.warns(TruncatedWarning, match="the zstd frame at compressed byte 0 is cut") as w:
        records = dbnfast.scan(data)
    assert len(w) == 1
    assert PLAIN[128:].startswith(records.tobytes())
    assert len(records) >= 7
    with pytest.raises(dbnfast.TruncatedError):
        dbnfast.scan(data, on_truncated="raise")
    assert len(dbnfast.scan(data, on_truncated="ignore")) == len(records)


def test_cut_zstd_metadata_raises_and_does_not_warn_as_well() -> None:
    with pytest.raises(dbnfast.TruncatedError) as caught:
        dbnfast.scan(streams.frame(PLAIN[:60], PLAIN[60:])[:-60])
    assert caught.value.offset == 0


def test_cut_zstd_metadata_has_an_offset_whatever_is_asked() -> None:
    data = streams.frame(PLAIN[:60], PLAIN[60:])[:-60]
    with pytest.raises(dbnfast.TruncatedError) as caught:
        dbnfast.scan(data, on_truncated="raise")
    assert caught.value.offset == 0


def test_damaged_zstd_has_the_records_before_it() -> None:
    first, second = PLAIN[: 128 + 48 * 10 + 5], PLAIN[128 + 48 * 10 + 5 :]
    damaged = bytearray(streams.frame(second))
    damaged[-1] ^= 1  # its checksum
    data = streams.frame(first) + bytes(damaged)
    with pytest.raises(dbnfast.DecompressionError) as caught:
        dbnfast.scan(data)
    assert caught.value.offset == len(streams.frame(first))
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == PLAIN[128 : 128 + 480]


def test_damaged_zstd_inside_the_metadata_has_no_records() -> None:
    damaged = bytearray(streams.frame(PLAIN[:60]))
    damaged[-1] ^= 1
    with pytest.raises(dbnfast.DecompressionError) as caught:
        dbnfast.scan(bytes(damaged))
    assert caught.value.good is None


def test_bad_record_behind_compression_has_offsets_of_the_plain_stream() -> None:
    with pytest.raises(InvalidRecordError) as caught:
        dbnfast.scan(streams.frame(PLAIN + bytes(48)))
    assert (caught.value.offset, caught.value.record_index) == (len(PLAIN), 40)


# kinds of input


def test_every_kind_of_buffer_gives_views() -> None:
    data = HEADERS[3] + streams.trades(10)
    reference = dbnfast.decode(data)
    pad = data + bytes(-len(data) % 8)
    structured = np.frombuffer(data, np.dtype([("a", "V8"), ("b", "<u8")]))
    kinds: dict[str, Any] = {
        **{name: make(data) for name, make in streams.BUFFERS.items()},
        "array-of-bytes": array_module.array("B", data),
        "array-of-ints": array_module.array("Q", pad),
        "array-of-chars": array_module.array("b", data),
        "numpy-u8": np.frombuffer(pad, "<u8").copy(),
        "numpy-structured": structured,
        "numpy-2d": np.frombuffer(data, np.uint8).reshape(2, -1),
        "memoryview-of-floats": memoryview(array_module.array("d", pad)),
        "slice": memoryview(b"xx" + data)[2:],
    }
    for name, buffer in kinds.items():
        found = dbnfast.decode(buffer)
        assert found.tobytes() == reference.tobytes(), name
        assert not found.flags.writeable, name
        whole = np.frombuffer(memoryview(buffer).cast("B") if name == "slice" else buffer, np.uint8)
        assert np.shares_memory(found, whole), name


@pytest.mark.parametrize(
    ("buffer", "error", "message"),
    [
        (np.zeros(64, np.uint8)[::2], ValueError, "not contiguous"),
        (memoryview(bytes(64))[::2], ValueError, "not contiguous"),
        (np.zeros((8, 8), np.uint8, order="F"), ValueError, "not contiguous"),
        ("DBN", TypeError, "open files with iter_decode"),
        (None, TypeError, "bytes-like"),
        (12, TypeError, "bytes-like"),
        ([1, 2], TypeError, "bytes-like"),
    ],
    ids=["strided-array", "strided-view", "fortran", "str", "none", "int", "list"],
)
@pytest.mark.parametrize("function", [dbnfast.scan, dbnfast.decode, dbnfast.split])
def test_other_inputs_are_refused(
    function: Any, buffer: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        function(buffer)


# options


def test_fragment_of_every_version() -> None:
    for version, size in ((1, 360), (2, 400), (3, 520)):
        raw = streams.record(0x13, size) * 2
        told = dbnfast.scan(raw, has_metadata=False, input_version=version)
        inferred = dbnfast.scan(raw, has_metadata=False)
        for records in (told, inferred):
            assert records.metadata is None
            assert records.version == version
            assert records.ts_out is False
            assert records.array().dtype == dbnfast.dtype("definition", version=version)


def test_fragment_that_tells_nothing_is_of_version_3() -> None:
    assert dbnfast.scan(streams.trades(3), has_metadata=False).version == 3


def test_fragment_takes_the_oldest_version_it_points_to() -> None:
    raw = streams.record(0x13, 520) + streams.record(0x13, 400) + streams.record(0x17, 80)
    assert dbnfast.scan(raw, has_metadata=False).version == 1


def test_fragment_with_ts_out() -> None:
    raw = streams.trades(3, ts_out=True)
    records = dbnfast.scan(raw, has_metadata=False, ts_out=True)
    assert records.ts_out is True
    assert records.array()["ts_out"].tolist() == [2 * 10**18 + i for i in range(3)]


def test_fragment_may_be_compressed_or_empty() -> None:
    assert dbnfast.scan(streams.frame(streams.trades(3)), has_metadata=False).counts == {0: 3}
    empty = dbnfast.scan(b"", has_metadata=False)
    assert len(empty) == 0
    assert empty.array().dtype.names == (
        "length", "rtype", "publisher_id", "instrument_id", "ts_event",
    )  # fmt: skip


def test_metadata_taken_for_a_fragment_is_a_cut_record_of_unknown_type() -> None:
    with pytest.warns(TruncatedWarning):
        assert len(dbnfast.scan(HEADERS[3] + streams.trades(1), has_metadata=False)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_version": 0}, "input_version is 0, expected 1, 2 or 3"),
        ({"input_version": 4}, "input_version is 4"),
        ({"on_truncated": "drop"}, "on_truncated is 'drop', expected 'warn'"),
        ({"on_truncated": None}, "on_truncated is None"),
        ({"input_version": 2}, "input_version is 2, the stream's own header says 3"),
        ({"ts_out": True}, "ts_out is True, the stream's own header says False"),
    ],
    ids=str,
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    for function in (dbnfast.scan, dbnfast.decode, dbnfast.split):
        with pytest.raises(ValueError, match=message):
            function(PLAIN, **options)


def test_options_that_say_what_the_header_says_are_taken() -> None:
    assert len(dbnfast.scan(PLAIN, input_version=3, ts_out=False)) == 40


@pytest.mark.parametrize("n_left", [1, 15, 16, 17, 47])
@pytest.mark.parametrize("n_good", [0, 3])
def test_cut_record(n_left: int, n_good: int) -> None:
    data = HEADERS[3] + streams.trades(n_good + 1)[: 48 * n_good + n_left]
    with pytest.warns(TruncatedWarning) as caught:
        records = dbnfast.scan(data)
    needed = 16 if n_left < 16 else 48
    message = f"record {n_good} at byte {128 + 48 * n_good} needs {needed} bytes, {n_left} remain"
    assert str(caught[0].message) == message
    assert len(records) == n_good
    with pytest.raises(dbnfast.TruncatedError, match=message) as raised:
        dbnfast.scan(data, on_truncated="raise")
    error = raised.value
    assert (error.offset, error.record_index) == (128 + 48 * n_good, n_good)
    assert (error.needed, error.available) == (needed, n_left)
    assert len(dbnfast.scan(data, on_truncated="ignore")) == n_good


def test_cut_record_that_is_short_of_its_struct_is_damage_once_its_header_is_there() -> None:
    with pytest.raises(InvalidRecordError):
        dbnfast.scan(HEADERS[3] + streams.record(0, 40)[:20])
    with pytest.warns(TruncatedWarning):
        dbnfast.scan(HEADERS[3] + streams.record(0, 40)[:15])


CUT_ZSTD = streams.frame(*CUTS)[:-20]


@pytest.mark.parametrize(
    ("function", "data"),
    [
        (dbnfast.scan, PLAIN[:-1]),
        (dbnfast.scan, CUT_ZSTD),
        (dbnfast.decode, PLAIN[:-1]),
        (dbnfast.decode, CUT_ZSTD),
        (dbnfast.split, PLAIN[:-1]),
        (dbnfast.split, CUT_ZSTD),
    ],
    ids=["scan", "scan-zstd", "decode", "decode-zstd", "split", "split-zstd"],
)
def test_warning_points_at_the_caller(function: Any, data: bytes) -> None:
    with pytest.warns(TruncatedWarning) as caught:
        function(data)
    assert [warning.filename for warning in caught] == [__file__]


# memory


@pytest.mark.parametrize("kind", ["bytearray", "mmap"])
def test_records_keep_the_buffer_alive(kind: str) -> None:
    buffer = streams.BUFFERS[kind](PLAIN)
    found = dbnfast.decode(buffer)
    expected = found.tobytes()
    with pytest.raises(BufferError):
        buffer.resize(1) if kind == "mmap" else buffer.clear()
    del buffer
    assert found.tobytes() == expected


def test_view_shows_what_the_owner_of_the_buffer_writes() -> None:
    buffer = bytearray(PLAIN)
    found = dbnfast.decode(buffer)
    struct.pack_into("<I", buffer, 128 + 4, 77)
    assert found["instrument_id"][0] == 77
    assert not found.flags.writeable


def test_another_machine_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(dbnfast.__file__).read_text()
    head = source[: source.index("from dbnfast.")]
    code = compile(head, dbnfast.__file__, "exec")
    for name, value, words in (
        ("byteorder", "big", "dbnfast needs a little-endian machine"),
        ("maxsize", 2**31 - 1, "dbnfast needs a 64-bit Python"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value)
            with pytest.raises(ImportError, match=words):
                exec(code, {"__name__": "dbnfast"})
