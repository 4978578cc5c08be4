"""Streams merged by time: every record, in the order that a plain merge gives."""

from __future__ import annotations

import datetime
import heapq
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbnfast
from dbnfast._core.merge import Merger, columns, deal
from dbnfast.codec.merge import joined_metadata, merged
from dbnfast.codec.metadata import Metadata
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.records.deal import dealt, ranked
from dbnfast.records.headers import (
    event_times,
    index_times,
    instrument_ids,
    record_sizes,
    record_types,
)
from dbnfast.records.records import Records
from helpers import builders, streams

HEADER = Metadata("GLBX.MDP3")
STAMPED = Metadata("GLBX.MDP3", ts_out=True)
RECV_AT = 32  # where trades have ts_recv


def records_of(data: bytes, header: Metadata = HEADER) -> Records:
    return dbnfast.scan(header.encode() + data)


def index_ts(record: bytes) -> int:
    at = int(INDEX_TS_AT[record[1]])
    return int.from_bytes(record[at : at + 8], "little")


def make(rtype: int, size: int, ts: int, tag: int) -> bytes:
    """A record of a size whose index timestamp is `ts`, told from others by `tag`."""
    record = bytearray(streams.record(rtype, size, instrument_id=tag, ts_event=ts))
    at = int(INDEX_TS_AT[rtype])
    record[at : at + 8] = struct.pack("<Q", ts)
    return bytes(record)


def merge_all(
    blocks: list[list[bytes]], header: Metadata = HEADER, max_bytes: int = 1020
) -> list[Records]:
    readers = [(records_of(block, header) for block in stream) for stream in blocks]
    return list(merged(readers, header, max_bytes=max_bytes))


# ---------------------------------------------------------------- against a plain merge

KINDS = [(0x00, 48), (0xA0, 56), (0x12, 40), (0x42, 16), (0x42, 28), (0x21, 56), (0x0A, 368)]


@st.composite
def many_streams(draw: st.DrawFn, ts_out: bool = False) -> list[list[list[bytes]]]:
    """Streams of blocks of records; times are few, so that ties are common."""
    highest = draw(st.sampled_from((3, 20, 2**64 - 1)))
    is_sorted = draw(st.booleans())
    found, tag = [], 0
    for _ in range(draw(st.integers(0, 9))):
        times = draw(st.lists(st.integers(0, highest), max_size=30))
        if is_sorted:
            times.sort()
        records = []
        for ts in times:
            rtype, size = draw(st.sampled_from(KINDS))
            records.append(make(rtype, size + 8 * ts_out, ts, tag))
            tag += 1
        cuts = sorted(draw(st.lists(st.integers(0, len(records)), max_size=3)))
        found.append([records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)])
    return found


@given(many_streams(), st.sampled_from((1020, 1021, 1500, 4096, 1 << 20)))
def test_merged_is_the_plain_merge(found: list[list[list[bytes]]], max_bytes: int) -> None:
    flat = [[record for block in stream for record in block] for stream in found]
    wanted = list(heapq.merge(*flat, key=index_ts))
    blocks = [[b"".join(block) for block in stream] for stream in found]
    ours = merge_all(blocks, max_bytes=max_bytes)
    assert b"".join(part.tobytes() for part in ours) == b"".join(wanted)
    assert sum(map(len, ours)) == len(wanted)
    assert all(0 < part.nbytes <= max_bytes for part in ours)
    assert all(part.metadata is HEADER for part in ours)
    if max_bytes <= 4096:  # a block ends only where the next record finds no room
        assert all(part.nbytes > max_bytes - 368 for part in ours[:-1])


@given(many_streams(ts_out=True))
def test_merged_with_ts_out(found: list[list[list[bytes]]]) -> None:
    flat = [[record for block in stream for record in block] for stream in found]
    blocks = [[b"".join(block) for block in stream] for stream in found]
    ours = merge_all(blocks, STAMPED)
    assert all(part.ts_out for part in ours)
    wanted = b"".join(heapq.merge(*flat, key=index_ts))
    assert b"".join(part.tobytes() for part in ours) == wanted


def test_a_thousand_streams() -> None:
    rng = np.random.default_rng(3)
    flat = [
        [make(0, 48, ts, 1000 * n + i) for i, ts in enumerate(sorted(times))]
        for n, times in enumerate(rng.integers(0, 500, (1000, 5)).tolist())
    ]
    ours = merge_all([[b"".join(stream)] for stream in flat], max_bytes=1 << 16)
    wanted = b"".join(heapq.merge(*flat, key=index_ts))
    assert b"".join(part.tobytes() for part in ours) == wanted


def test_ties_go_by_the_streams_order() -> None:
    blocks = [[b"".join(make(0, 48, 7, 10 * n + i) for i in range(3))] for n in range(4)]
    (ours,) = merge_all(blocks)
    assert ours.array()["instrument_id"].tolist() == [
        10 * n + i for n in range(4) for i in range(3)
    ]


def test_no_streams_and_empty_streams() -> None:
    assert merge_all([]) == []
    assert merge_all([[], [b""], [b"", b""]]) == []
    (ours,) = merge_all([[], [b"", make(0, 48, 5, 1)], []])
    assert len(ours) == 1


def test_a_result_is_sealed() -> None:
    (ours,) = merge_all([[streams.trades(2)], [streams.trades(1)]])
    assert ours.data.readonly
    with pytest.raises(ValueError):
        ours.array().flags.writeable = True


def test_memory_is_one_block_of_each() -> None:
    alive: list[int] = [0, 0]

    def stream(n: int) -> Iterator[Records]:
        for i in range(5):
            alive[n] += 1
            assert abs(alive[0] - alive[1]) <= 1  # a block is asked for when the last is used up
            yield records_of(make(0, 48, 10 * i, n) + make(0, 48, 10 * i + 5, n))

    assert sum(map(len, merged([stream(0), stream(1)], HEADER))) == 20
    assert alive == [5, 5]


def test_an_error_comes_behind_what_was_merged() -> None:
    def stream() -> Iterator[Records]:
        yield records_of(make(0, 48, 1, 1))
        raise OSError("gone")

    parts = merged([stream(), iter([records_of(make(0, 48, 2, 2))])], HEADER)
    assert next(parts).array()["instrument_id"].tolist() == [1]
    with pytest.raises(OSError, match="gone"):
        next(parts)


# ---------------------------------------------------------------- what is refused


def test_streams_of_another_kind_are_refused() -> None:
    old = dbnfast.scan(Metadata("X", version=1).encode() + streams.trades(1))
    with pytest.raises(ValueError, match=r"stream 1 is of version 1 .* upgrade\(\) first"):
        list(merged([[records_of(streams.trades(1))], [old]], HEADER))
    with pytest.raises(ValueError, match="ts_out False, the metadata says version 3 with ts_out"):
        list(merged([[records_of(streams.trades(1))]], STAMPED))
    with pytest.raises(TypeError, match="stream 0 gives bytes"):
        list(merged([[b""]], HEADER))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="metadata is None"):
        merged([], None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_bytes is 1019"):
        merged([], HEADER, max_bytes=1019)


def test_the_merger_checks_what_it_is_given() -> None:
    merger = Merger(2, SIZES, False, INDEX_TS_AT)
    with pytest.raises(IndexError):
        merger.give(2, streams.trade(0))
    with pytest.raises(ValueError, match="no records"):
        merger.give(0, b"")
    with pytest.raises(ValueError, match="whole record"):
        merger.give(0, streams.trade(0)[:40])
    merger.give(0, streams.trade(0))
    with pytest.raises(ValueError, match="still has"):
        merger.give(0, streams.trade(0))
    with pytest.raises(ValueError, match="lies outside"):
        merger.merge(bytearray(10), 11)
    with pytest.raises(TypeError, match="once"):
        merger.__init__(1, SIZES, False, INDEX_TS_AT)  # type: ignore[misc]
    with pytest.raises(ValueError, match="no timestamp at byte 9"):
        Merger(1, SIZES, False, np.full(256, 9, np.uint16))
    with pytest.raises(ValueError):
        Merger(-1, SIZES, False, INDEX_TS_AT)


def test_the_merger_sees_records_that_are_no_longer_whole() -> None:
    data = bytearray(streams.trades(3))
    merger = Merger(1, SIZES, False, INDEX_TS_AT)
    merger.give(0, data)
    data[48] = 0  # somebody wrote to the borrowed buffer
    with pytest.raises(ValueError, match="not whole"):
        merger.merge(bytearray(1020), 0)


# ---------------------------------------------------------------- metadata


def test_joined_metadata() -> None:
    day = datetime.date(2026, 1, 5)
    next_day = datetime.date(2026, 1, 6)
    one = {"start_date": day, "end_date": next_day, "symbol": "1"}
    two = {"start_date": next_day, "end_date": datetime.date(2026, 1, 7), "symbol": "1"}
    first = Metadata(
        "X", start=5, end=9, schema="trades", stype_in="raw_symbol", symbols=["A", "B"],
        partial=["B"], mappings={"A": [one]}, limit=3, version=1,
    )  # fmt: skip
    second = Metadata(
        "X", start=3, end=12, schema="trades", stype_in="raw_symbol", symbols=["C", "A"],
        not_found=["C"], mappings={"A": [one, two], "B": [two]},
    )  # fmt: skip
    joined = joined_metadata([first, second])
    assert joined == Metadata(
        "X", start=3, end=12, schema="trades", stype_in="raw_symbol", symbols=["A", "B", "C"],
        partial=["B"], not_found=["C"], mappings={"A": [one, two], "B": [two]},
    )  # fmt: skip
    assert joined.version == 3


@pytest.mark.parametrize("wrong", [None, "x", {}, 1])
def test_joined_metadata_of_what_is_none(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is no Metadata"):
        joined_metadata([Metadata("X"), wrong])


def test_joined_metadata_of_unlike_streams() -> None:
    first = Metadata("X", start=5, end=9, schema="trades", stype_in="raw_symbol")
    joined = joined_metadata([first, first.replace(schema="mbo", stype_in="parent", end=None)])
    assert (joined.schema, joined.stype_in, joined.end) == (None, None, None)
    long = first.replace(version=2, symbol_cstr_len=100)
    assert joined_metadata([first, long]).symbol_cstr_len == 100
    for fields, text in (
        ({"dataset": "Y"}, "dataset is X in stream 0 and Y in stream 1"),
        ({"stype_out": "raw_symbol"}, "stype_out is instrument_id in stream 0 and raw_symbol in"),
        ({"ts_out": True}, "ts_out is False in stream 0 and True in stream 1"),
    ):
        with pytest.raises(ValueError, match=text):
            joined_metadata([first, first.replace(**fields)])
    with pytest.raises(ValueError, match="dataset is X in a and Y in b"):
        joined_metadata([first, first.replace(dataset="Y")], ["a", "b"])
    with pytest.raises(ValueError, match="no metadata"):
        joined_metadata([])


# ---------------------------------------------------------------- columns and dealing


@given(builders.streams(unknown=True, long=True))
def test_columns_are_those_of_the_records(stream: builders.Stream) -> None:
    records = dbnfast.scan(stream.data)
    assert index_times(records).tolist() == [index_ts(record) for record in stream.records]
    assert record_sizes(records).tolist() == [len(record) for record in stream.records]
    assert record_types(records).tolist() == [record[1] for record in stream.records]
    for found, at, n in ((instrument_ids(records), 4, 4), (event_times(records), 8, 8)):
        wanted = [int.from_bytes(record[at : at + n], "little") for record in stream.records]
        assert found.tolist() == wanted


@given(builders.streams(unknown=True, long=True), st.integers(1, 6), builders.seeds())
def test_dealt_gives_every_group_its_records(
    stream: builders.Stream, n_groups: int, rng: Any
) -> None:
    records = dbnfast.scan(stream.data)
    groups = np.array([rng.randrange(n_groups) for _ in stream.records], np.int32)
    parts = dealt(records, groups, n_groups)
    assert len(parts) == n_groups
    for group, part in enumerate(parts):
        own = [r for r, g in zip(stream.records, groups.tolist(), strict=True) if g == group]
        assert part.tobytes() == b"".join(own)
        assert len(part) == len(own)
        assert (part.version, part.ts_out) == (records.version, records.ts_out)


def test_dealt_checks_the_groups() -> None:
    records = records_of(streams.trades(3))
    assert dealt(records, np.zeros(3, np.int32), 1) == [records]
    for groups, n in (([0, 1], 2), ([0, 1, 2], 2), ([0, -1, 1], 2)):
        with pytest.raises(ValueError):
            dealt(records, np.array(groups, np.int32), n)
    data = streams.trades(2)
    for places, groups in (
        ([0, 48], [0, 0]),
        ([0, 96], [0]),
        ([0, 40, 96], [0, 1]),
        ([0, 96], [0, 1]),
    ):
        with pytest.raises(ValueError):
            deal(
                data, np.array(groups, np.int32), np.array(places, np.int64), bytearray(96),
                SIZES, False,
            )  # fmt: skip
    with pytest.raises(ValueError, match="not of 2 values"):
        columns(data, 2, SIZES, False, INDEX_TS_AT, np.empty(1, np.uint64), None, None, None, None)


@given(
    st.lists(
        st.one_of(
            st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.integers(10**9, 10**9 + 5)
        ),
        max_size=40,
    )
)
def test_ranked_is_unique(keys: list[int]) -> None:
    values, ranks = ranked(np.array(keys, np.int64))
    assert values.tolist() == sorted(set(keys))
    assert [values[rank] for rank in ranks.tolist()] == keys
    assert ranks.dtype == np.int32
