"""Records: arrays as views or copies, slices, filters, and all that makes new Records."""

from __future__ import annotations

import copy
import gc
import itertools
import operator
import pickle
import random
import struct
import weakref
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import MixedRecordsError, Records, RType, Schema
from helpers import streams

HEAD = streams.header()
NO_SCHEMA = streams.header(schema=None)
MIXED = streams.mixed(5)
PLAIN = streams.trades(20)


def homogeneous() -> Records:
    return dbnfast.scan(HEAD + PLAIN)


def mixture() -> Records:
    return dbnfast.scan(NO_SCHEMA + MIXED)


def bar(rtype: int, index: int) -> bytes:
    return streams.record(rtype, 56, instrument_id=index, body=struct.pack("<qqqqQ", *[index] * 5))


def mbp1(index: int) -> bytes:
    return streams.record(1, 80, instrument_id=index)


# rule 1: views and copies


@pytest.mark.parametrize("schema", [None, "trades", Schema.TRADES, RType.MBP_0, RType.TRADES])
@pytest.mark.parametrize("kind", streams.BUFFERS)
def test_one_type_and_length_is_a_view(schema: Any, kind: str) -> None:
    buffer = streams.BUFFERS[kind](HEAD + PLAIN)
    found = dbnfast.scan(buffer).array(schema)
    assert np.shares_memory(found, np.frombuffer(buffer, np.uint8))
    assert found.tobytes() == PLAIN
    assert found.dtype == dbnfast.dtype("trades")


@pytest.mark.parametrize("schema", ["trades", "ohlcv-1m", RType.SYSTEM])
def test_several_types_are_copied(schema: Any) -> None:
    buffer = bytearray(NO_SCHEMA + MIXED)
    found = dbnfast.scan(buffer).array(schema)
    assert not np.shares_memory(found, np.frombuffer(buffer, np.uint8))
    assert len(found) == 5


def arrays(kind: str) -> list[np.ndarray[Any, Any]]:
    if kind == "view":
        return [homogeneous().array(), homogeneous().split()[RType.MBP_0]]
    if kind == "strided":
        return [dbnfast.decode(HEAD + streams.trade(0, extra=bytes(8)) * 3)]
    if kind == "copy":
        return [mixture().array("trades"), *mixture().split().values()]
    if kind == "numpy-buffer":
        return [dbnfast.decode(np.frombuffer(bytearray(HEAD + PLAIN), np.uint8))]
    if kind == "mmap":
        return [dbnfast.decode(streams.as_mmap(HEAD + PLAIN))]
    if kind == "zstd":
        return [dbnfast.decode(streams.frame(HEAD + PLAIN))]
    if kind == "empty":
        return [dbnfast.decode(HEAD), homogeneous().array("mbo")]
    if kind == "upgraded":
        old = dbnfast.empty("definition", 2, version=1)
        return [dbnfast.upgrade(old), mixture().upgrade(3).array("trades")]
    if kind == "decoder":
        decoder = dbnfast.Decoder()
        decoder.feed(bytearray(HEAD + PLAIN))
        return [records.array() for records in decoder.read()]
    if kind == "sliced":
        return [homogeneous()[3:9].array(), homogeneous()[::3].array()]
    assert kind == "filtered"
    return [homogeneous().filter(instrument_ids=[101]).array()]


@pytest.mark.parametrize(
    "kind",
    [
        "view", "strided", "copy", "numpy-buffer", "mmap", "zstd", "empty", "upgraded", "decoder",
        "sliced", "filtered",
    ],
)  # fmt: skip
def test_arrays_are_read_only_for_ever(kind: str) -> None:
    for found in arrays(kind):
        assert not found.flags.writeable
        if len(found):
            with pytest.raises(ValueError, match="read-only"):
                found[0] = found[0]
        base: Any = found
        while isinstance(base, np.ndarray):
            with pytest.raises(ValueError, match="WRITEABLE"):
                base.flags.writeable = True
            base = base.base
            if isinstance(base, np.ndarray) and base.flags.writeable:
                pytest.fail("the array's base is writable")


def test_a_copy_may_be_changed() -> None:
    changed = homogeneous().array().copy()
    changed["size"] = 5
    assert changed["size"].tolist() == [5] * 20


def test_data_is_a_read_only_view() -> None:
    buffer = bytearray(HEAD + PLAIN)
    data = dbnfast.scan(buffer).data
    assert data.readonly
    assert data.nbytes == len(PLAIN)
    assert data == PLAIN
    assert np.shares_memory(np.frombuffer(data, np.uint8), np.frombuffer(buffer, np.uint8))


# rule 2: schemas


@pytest.mark.parametrize("schema", [*Schema, *sorted(set(RType))], ids=repr)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_type_that_is_not_there_is_an_empty_array(schema: Any, version: int) -> None:
    records = dbnfast.scan(streams.header(version, None) + streams.record(0x42, 24))
    found = records.array(schema)
    assert found.shape == (0,)
    assert found.dtype == dbnfast.dtype(schema, version=version)


def test_nothing_asked_and_nothing_there() -> None:
    assert dbnfast.decode(streams.header(2, "definition")).dtype == dbnfast.dtype(
        "definition", version=2
    )
    stamped = dbnfast.decode(streams.header(3, "mbo", ts_out=1))
    assert stamped.dtype == dbnfast.dtype("mbo", ts_out=True)
    header = dbnfast.decode(streams.header(schema=None))
    assert header.dtype.itemsize == 16
    assert header.shape == (0,)


@pytest.mark.parametrize("schema", ["ticks", "", "MBP_99"])
def test_unknown_schema_is_refused(schema: str) -> None:
    with pytest.raises(ValueError, match="is neither a schema nor an rtype"):
        homogeneous().array(schema)


@pytest.mark.parametrize("schema", [0, 4, b"trades", 1.5, ["trades"], True])
def test_what_names_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(TypeError, match="expected a Schema, its text, or an RType"):
        homogeneous().array(schema)


@pytest.mark.parametrize("text", ["trades", "TRADES", "mbp-0", "MBP_0"])
def test_schema_may_be_text(text: str) -> None:
    assert len(mixture().array(text)) == 5


# rule 3: types that share


@pytest.mark.parametrize(("own", "other"), [("tbbo", "mbp-1"), ("mbp-1", "tbbo")])
def test_tbbo_and_mbp_1_are_not_taken_for_each_other(own: str, other: str) -> None:
    records = dbnfast.scan(streams.header(schema=own) + mbp1(0) * 2)
    assert len(records.array(own)) == len(records.array()) == len(records.array(RType.MBP_1)) == 2
    with pytest.raises(ValueError, match=f"{other} was asked of {own} data"):
        records.array(other)
    with pytest.raises(ValueError, match="rtype 1"):
        records.filter(other)
    with pytest.raises(ValueError, match="rtype 1"):
        dbnfast.scan(streams.header(schema=own)).array(other)


@pytest.mark.parametrize("own", [None, "trades"])
def test_both_names_select_rtype_1_elsewhere(own: str | None) -> None:
    records = dbnfast.scan(streams.header(schema=own) + mbp1(0) + streams.trade(0))
    assert len(records.array("tbbo")) == len(records.array("mbp-1")) == 1


def test_deprecated_bars_answer_to_the_files_own_schema() -> None:
    records = dbnfast.scan(streams.header(schema="ohlcv-1d") + bar(0x11, 1) + bar(35, 2))
    assert records.array("ohlcv-1d")["volume"].tolist() == [1, 2]
    assert records.array(RType.OHLCV_1D)["volume"].tolist() == [2]
    assert records.array(RType.OHLCV_DEPRECATED)["volume"].tolist() == [1]
    assert records.array("ohlcv-1m").shape == (0,)
    assert {key: len(value) for key, value in records.split().items()} == {0x11: 1, 35: 1}
    assert len(records.filter("ohlcv-1d")) == 2


def test_deprecated_bars_alone_are_a_view() -> None:
    data = streams.header(schema="ohlcv-1h") + bar(0x11, 1) * 3
    for schema in (None, "ohlcv-1h"):
        found = dbnfast.decode(data, schema=schema)
        assert np.shares_memory(found, np.frombuffer(data, np.uint8))
        assert found["rtype"].tolist() == [0x11] * 3


def test_deprecated_bars_of_a_file_without_schema_need_their_rtype() -> None:
    records = dbnfast.scan(NO_SCHEMA + bar(0x11, 1) + streams.trade(0))
    assert records.array("ohlcv-1d").shape == (0,)
    assert len(records.array(RType.OHLCV_DEPRECATED)) == 1


@pytest.mark.parametrize(
    ("schema", "rtype"),
    [("bbo-1m", 0xC3), ("bbo-1s", 0xC4), ("cbbo-1m", 0xC0), ("cbbo-1s", 0xC1)],
)
def test_early_quotes_of_the_other_interval_are_of_the_files_schema(
    schema: str, rtype: int
) -> None:
    early = streams.record(rtype, 80, instrument_id=3)
    data = streams.header(schema=schema) + early
    records, store = dbnfast.scan(data), dbnfast.read(data)
    for found in (records.array(), records.array(schema), store.to_ndarray(schema)):
        assert found["rtype"].tolist() == [rtype]
        assert found.dtype == dbnfast.dtype(schema)
    assert len(records.filter(schema)) == 1
    # a file that does not say so itself has what its records say
    assert dbnfast.scan(NO_SCHEMA + early).array(schema).shape == (0,)


def test_future_tbbo_has_the_layout_of_mbp_1() -> None:
    records = dbnfast.scan(NO_SCHEMA + streams.record(0xC5, 80, instrument_id=3))
    assert records.counts == {RType.TBBO: 1}
    assert records.array().dtype == dbnfast.dtype("mbp-1")
    assert records.array(RType.TBBO)["instrument_id"].tolist() == [3]
    assert records.array("tbbo").shape == (0,)  # the schema means rtype 1
    assert type(records[0]) is dbnfast.MBP1Msg


# rule 4: mixtures


def test_one_array_of_several_types_is_refused_with_their_counts() -> None:
    records = mixture()
    with pytest.raises(MixedRecordsError) as caught:
        records.array()
    assert caught.value.counts == records.counts
    assert caught.value.counts == {0: 5, 0x42: 5, 0x21: 5, 0x17: 5}
    with pytest.raises(MixedRecordsError) as caught:
        dbnfast.decode(NO_SCHEMA + MIXED)
    assert caught.value.counts[0x42] == 5


def test_counts_are_new_at_every_call() -> None:
    records = mixture()
    records.counts.clear()
    assert sum(records.counts.values()) == len(records) == 20


def test_split_arrays_are_those_of_array() -> None:
    records = mixture()
    found = records.split()
    assert list(found) == [RType.MBP_0, RType.SYSTEM, RType.OHLCV_1M, 0x42]
    for rtype in (RType.MBP_0, RType.SYSTEM, RType.OHLCV_1M):
        np.testing.assert_array_equal(found[rtype], records.array(rtype))


def test_split_of_one_type_is_a_view() -> None:
    data = HEAD + PLAIN
    (found,) = dbnfast.split(data).values()
    assert np.shares_memory(found, np.frombuffer(data, np.uint8))
    unknown = HEAD + streams.record(0x42, 24, body=b"abc") * 2
    (raw,) = dbnfast.split(unknown).values()
    assert np.shares_memory(raw, np.frombuffer(unknown, np.uint8))
    assert dbnfast.split(HEAD) == {}


# rule 5: layouts


def test_old_layouts_come_as_they_are_in_arrays_and_upgraded_as_objects() -> None:
    data = streams.header(1, "statistics") + streams.record(0x18, 64) * 2
    records = dbnfast.scan(data)
    assert records.array().dtype == dbnfast.dtype("statistics", version=1)
    assert {type(record) for record in records} == {dbnfast.StatMsg}
    assert {type(record) for record in records.objects(upgrade=False)} == {dbnfast.StatMsgV1}
    assert [record.record_size for record in records] == [80, 80]


def test_objects_own_their_bytes() -> None:
    buffer = bytearray(HEAD + PLAIN)
    first = dbnfast.scan(buffer)[0]
    buffer[128:176] = bytes(48)
    assert bytes(first) == streams.trade(0)


# slicing and indexing


SLICES = [
    slice(start, stop, step)
    for start, stop, step in itertools.product(
        (None, 0, 1, 7, 19, 20, 25, -1, -7, -20, -30),
        (None, 0, 3, 19, 20, 40, -1, -6, -20, -21),
        (None, 1, 2, 7, 30, -1, -3),
    )
]


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        (homogeneous(), streams.walk(PLAIN)),
        (mixture(), streams.walk(MIXED)),
        (dbnfast.scan(HEAD), []),
        (dbnfast.scan(HEAD + streams.trade(0)), [streams.trade(0)]),
    ],
    ids=["homogeneous", "mixed", "empty", "single"],
)
def test_every_slice_is_that_of_a_list(records: Records, wanted: list[bytes]) -> None:
    for key in SLICES:
        part = records[key]
        assert part.tobytes() == b"".join(wanted[key]), key
        assert len(part) == len(wanted[key]), key
        assert part.metadata is records.metadata
        assert sum(part.counts.values()) == len(part)


def test_slices_of_slices() -> None:
    records, wanted = mixture(), streams.walk(MIXED)
    rng = random.Random(7)
    for _ in range(200):
        part, reference = records, wanted
        for _ in range(3):
            key = slice(rng.randint(-25, 25), rng.randint(-25, 25), rng.choice([1, 1, 2, -1]))
            part, reference = part[key], reference[key]
        assert part.tobytes() == b"".join(reference)


@pytest.mark.parametrize("records", [homogeneous(), mixture()], ids=["homogeneous", "mixed"])
def test_slices_of_step_1_are_views(records: Records) -> None:
    part = records[4:17]
    assert np.shares_memory(
        np.frombuffer(part.data, np.uint8), np.frombuffer(records.data, np.uint8)
    )
    assert records[:] is records
    assert records[0:100] is records


def test_slices_far_into_a_long_mixture() -> None:
    raw = streams.mixed(700)  # more than the index's spacing
    wanted = streams.walk(raw)
    records = dbnfast.scan(NO_SCHEMA + raw)
    for at in (0, 1, 511, 512, 513, 1024, 1535, 2000, 2799, -1, -513):
        assert bytes(next(records[at:][:1].objects(upgrade=False))) == wanted[at]
        assert records[at:].tobytes() == b"".join(wanted[at:])
        assert records[:at].tobytes() == b"".join(wanted[:at])


@pytest.mark.parametrize(
    ("records", "raw"), [(homogeneous(), PLAIN), (mixture(), MIXED)], ids=["homogeneous", "mixed"]
)
def test_index_gives_a_record_object(records: Records, raw: bytes) -> None:
    wanted = streams.walk(raw)
    for i in (0, 3, len(wanted) - 1, -1, -len(wanted), np.int64(2)):
        assert bytes(records[i]) == wanted[i]
    for i in (len(wanted), -len(wanted) - 1, 10**12):
        with pytest.raises(IndexError, match=f"record {i} of {len(wanted)}"):
            records[i]
    with pytest.raises(TypeError):
        records["trades"]  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        records[1.0]  # type: ignore[call-overload]


def test_iteration_gives_every_record() -> None:
    assert [bytes(record) for record in mixture()] == streams.walk(MIXED)
    assert len(list(dbnfast.scan(HEAD))) == 0
    records = homogeneous()
    assert list(records) == list(records)  # a new iterator each time
    assert list(reversed(records)) == list(records)[::-1]


def test_runs_are_the_stretches_of_one_type_and_length() -> None:
    raw = streams.trades(3) + bar(33, 1) + streams.trade(0, extra=bytes(8)) + streams.trades(70)
    records = dbnfast.scan(NO_SCHEMA + raw)
    runs = list(records.runs())
    assert [(len(run), run.counts) for run in runs] == [
        (3, {0: 3}),
        (1, {33: 1}),
        (1, {0: 1}),
        (70, {0: 70}),
    ]
    assert b"".join(run.tobytes() for run in runs) == raw
    for run in runs:
        assert np.shares_memory(run.array(), np.frombuffer(records.data, np.uint8))
        assert run.metadata is records.metadata
    assert list(dbnfast.scan(HEAD).runs()) == []


# joining


def test_concat_is_the_records_in_their_order() -> None:
    joined = Records.concat([homogeneous(), mixture(), dbnfast.scan(HEAD), homogeneous()[5:6]])
    assert joined.tobytes() == PLAIN + MIXED + streams.trade(5)
    assert joined.metadata == homogeneous().metadata
    assert (homogeneous() + mixture()).tobytes() == PLAIN + MIXED
    first = homogeneous()
    assert Records.concat([first]) is first
    assert Records.concat(iter([first, first])).counts == {0: 40}
    assert len(dbnfast.scan(HEAD) + dbnfast.scan(HEAD)) == 0


def test_concat_refuses_what_does_not_go_together() -> None:
    with pytest.raises(ValueError, match="no records to join"):
        Records.concat([])
    with pytest.raises(ValueError, match=r"version 3 .* version 1"):
        homogeneous() + dbnfast.scan(streams.header(1) + PLAIN)
    with pytest.raises(ValueError, match=r"ts_out False .* ts_out True"):
        homogeneous() + dbnfast.scan(streams.header(ts_out=1) + streams.trades(1, ts_out=True))
    with pytest.raises(TypeError):
        operator.add(homogeneous(), [1])


# pickle and copies


@pytest.mark.parametrize(
    "records",
    [
        homogeneous(),
        mixture(),
        dbnfast.scan(HEAD),
        homogeneous()[4:6],
        dbnfast.scan(streams.header(1, None) + streams.record(0x17, 80)),
        dbnfast.scan(streams.trades(2, ts_out=True), has_metadata=False, ts_out=True),
    ],
    ids=["homogeneous", "mixed", "empty", "slice", "old", "fragment"],
)
def test_pickle_and_copy(records: Records) -> None:
    for again in (pickle.loads(pickle.dumps(records)), copy.copy(records), copy.deepcopy(records)):
        assert type(again) is Records
        assert again.tobytes() == bytes(again) == records.tobytes()
        assert again.metadata == records.metadata
        assert (again.version, again.ts_out) == (records.version, records.ts_out)
        assert again.counts == records.counts


def test_pickle_of_a_slice_holds_the_slice_alone() -> None:
    records = dbnfast.scan(HEAD + streams.trades(10_000))
    assert len(pickle.dumps(records[:1])) < 2_000


# filter


def rows(raw: bytes) -> list[bytes]:
    return streams.walk(raw)


def test_filter_by_schema() -> None:
    records = mixture()
    trades = [rec for rec in rows(MIXED) if rec[1] == 0]
    assert records.filter("trades").tobytes() == b"".join(trades)
    assert records.filter(schema=RType.MBP_0).counts == {0: 5}
    both = records.filter(["trades", Schema.OHLCV_1M])
    assert both.tobytes() == b"".join(rec for rec in rows(MIXED) if rec[1] in (0, 0x21))
    assert len(records.filter("mbo")) == 0
    assert len(records.filter([])) == 0
    with pytest.raises(ValueError, match="neither a schema"):
        records.filter("ticks")


def test_filter_by_ids() -> None:
    records = mixture()
    ids = {100, 102, 3}
    wanted = [rec for rec in rows(MIXED) if int.from_bytes(rec[4:8], "little") in ids]
    for form in (ids, sorted(ids), tuple(ids), (np.uint32(i) for i in ids), [*ids, *ids]):
        assert records.filter(instrument_ids=form).tobytes() == b"".join(wanted)
    assert records.filter(instrument_ids=101).tobytes() == streams.trade(1)
    assert records.filter(instrument_ids=np.int64(101)).tobytes() == streams.trade(1)
    assert records.filter(instrument_ids=np.array(101)).tobytes() == streams.trade(1)
    assert len(records.filter(instrument_ids=[])) == 0
    assert records.filter(publishers=1) is records
    assert len(records.filter(publishers=[2, 3])) == 0


@pytest.mark.parametrize("ids", [[101, 102], [101]])
def test_filter_by_an_array_of_ids(ids: list[int]) -> None:
    found = mixture().filter(instrument_ids=np.array(ids))
    assert len(found) == len(ids)


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (5, None), (None, 5), (5, 8), (0, 2**64 - 1), (7, 7)],
)
def test_filter_by_index_timestamp(start: int | None, end: int | None) -> None:
    records = homogeneous()
    base = 10**18 + 1000  # of ts_recv, which goes before ts_event
    ts = records.array()["ts_recv"]
    keep = np.ones(len(ts), bool)
    options: dict[str, int] = {}
    if start is not None:
        options["start"] = start if start == 0 else base + start
        keep &= ts >= options["start"]
    if end is not None:
        options["end"] = end if end > 100 else base + end
        keep &= ts < options["end"]
    found = records.filter(**options)  # type: ignore[arg-type]
    assert found.tobytes() == records.array()[keep].tobytes()
    as_times = {name: np.uint64(value).astype("M8[ns]") for name, value in options.items()}
    if end != 2**64 - 1:
        assert records.filter(**as_times).tobytes() == found.tobytes()  # type: ignore[arg-type]


def test_filter_by_ts_event_where_there_is_no_ts_recv() -> None:
    raw = b"".join(streams.record(33, 56, ts_event=i) for i in range(10))
    found = dbnfast.scan(NO_SCHEMA + raw).filter(start=3, end=6)
    assert found.array()["ts_event"].tolist() == [3, 4, 5]


def test_filter_by_all_at_once_agrees_with_numpy() -> None:
    rng = np.random.default_rng(3)
    n = 2000
    trades = dbnfast.empty("trades", n)
    trades["instrument_id"] = rng.integers(0, 6, n)
    trades["publisher_id"] = rng.integers(1, 4, n)
    trades["ts_recv"] = rng.integers(0, 1000, n)
    metadata = dbnfast.Metadata(dataset="X", schema="trades")
    records = dbnfast.scan(dbnfast.encode(trades, metadata))
    for _ in range(20):
        ids, publishers = rng.integers(0, 8, 3), rng.integers(0, 5, 2)
        start, end = (int(value) for value in np.sort(rng.integers(0, 1001, 2)))
        keep = np.isin(trades["instrument_id"], ids) & np.isin(trades["publisher_id"], publishers)
        keep &= (trades["ts_recv"] >= start) & (trades["ts_recv"] < end)
        found = records.filter(
            "trades",
            instrument_ids=ids.tolist(),
            publishers=publishers.tolist(),
            start=start,
            end=end,
        )
        assert found.tobytes() == trades[keep].tobytes()


def test_filter_that_passes_all_is_the_same_object() -> None:
    records = mixture()
    assert records.filter() is records
    assert records.filter(start=0) is records
    assert dbnfast.scan(HEAD).filter("trades").counts == {}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"instrument_ids": "101"}, TypeError),
        ({"instrument_ids": b"101"}, TypeError),
        ({"instrument_ids": 1.5}, TypeError),
        ({"instrument_ids": [1.5]}, TypeError),
        ({"instrument_ids": ["101"]}, TypeError),
        ({"instrument_ids": -1}, ValueError),
        ({"publishers": [2**32]}, ValueError),
        ({"start": -1}, ValueError),
        ({"end": 2**64}, ValueError),
        ({"start": "today"}, ValueError),
        ({"start": 2, "end": 1}, ValueError),
        ({"start": 1.0}, TypeError),
        ({"schema": 4}, TypeError),
    ],
    ids=str,
)
def test_filter_refuses_wrong_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        mixture().filter(**options)


# upgrade


def test_upgrade_of_a_mixture() -> None:
    raw = streams.record(0x13, 360, instrument_id=1) + streams.trade(0)
    raw += streams.record(0x42, 20, body=b"abc") + streams.record(0x18, 64, instrument_id=2)
    records = dbnfast.scan(streams.header(1, None) + raw)
    assert records.upgrade(1) is records
    for to_version, sizes in ((2, [400, 48, 20, 64]), (3, [520, 48, 20, 80])):
        upgraded = records.upgrade(to_version)
        assert upgraded.version == to_version
        assert upgraded.metadata is not None
        assert upgraded.metadata.version == to_version
        parts = streams.walk(upgraded.tobytes())
        assert [len(part) for part in parts] == sizes
        assert parts[1:3] == streams.walk(raw)[1:3]
    assert dbnfast.upgrade(records).tobytes() == records.upgrade(3).tobytes()
    assert records.upgrade(2).upgrade(3).tobytes() == records.upgrade(3).tobytes()


def test_upgrade_where_nothing_changes_copies_nothing() -> None:
    records = homogeneous()
    assert records.upgrade() is records
    old = dbnfast.scan(streams.header(1) + PLAIN)
    upgraded = old.upgrade(3)
    assert upgraded.version == 3
    assert np.shares_memory(upgraded.array(), old.array())


def test_upgrade_of_old_records_in_a_stream_marked_3() -> None:
    records = dbnfast.scan(NO_SCHEMA + streams.record(0x17, 80))
    upgraded = records.upgrade()
    assert upgraded is not records
    assert upgraded.array().dtype == dbnfast.dtype(RType.SYSTEM)


@pytest.mark.parametrize("to_version", [1, 2, 0, 4])
def test_no_downgrade(to_version: int) -> None:
    with pytest.raises(ValueError, match="version 3 cannot become version"):
        homogeneous().upgrade(to_version)


@pytest.mark.parametrize("ts_out", [False, True], ids=["plain", "ts_out"])
@pytest.mark.parametrize("schema", ["definition", "statistics", RType.SYSTEM, RType.ERROR])
def test_upgrade_of_an_array_is_that_of_its_records(schema: Any, ts_out: bool) -> None:
    old = dbnfast.empty(schema, 5, version=1, ts_out=ts_out)
    old["instrument_id"] = range(5)
    if ts_out:
        old["ts_out"] = range(5)
    metadata = dbnfast.Metadata(dataset="X", version=1, ts_out=ts_out)
    records = dbnfast.scan(dbnfast.encode(old, metadata))
    upgraded = dbnfast.upgrade(old)
    np.testing.assert_array_equal(upgraded, records.upgrade(3).array())
    assert upgraded.dtype == dbnfast.dtype(schema, ts_out=ts_out)
    np.testing.assert_array_equal(dbnfast.upgrade(old[::2]), upgraded[::2])
    assert dbnfast.upgrade(old[:0]).dtype == upgraded.dtype
    assert dbnfast.upgrade(upgraded) is upgraded


def test_upgrade_refuses_what_it_cannot_do() -> None:
    with pytest.raises(TypeError, match="is of no DBN record"):
        dbnfast.upgrade(np.zeros(3, "u1"))
    with pytest.raises(TypeError, match="list is no structured array"):
        dbnfast.upgrade([1])  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="cannot become version 2"):
        dbnfast.upgrade(dbnfast.empty("definition", 1), to_version=2)
    with pytest.raises(ValueError, match="expected 1, 2 or 3"):
        dbnfast.upgrade(dbnfast.empty("definition", 1), to_version=4)


# the object itself


@pytest.mark.parametrize(
    ("records", "text"),
    [
        (homogeneous(), "<Records: 20 records, 960 bytes, DBN version 3: 20 mbp-0>"),
        (dbnfast.scan(HEAD), "<Records: 0 records, 0 bytes, DBN version 3>"),
        (
            dbnfast.scan(streams.header(2, ts_out=1) + streams.trades(1, ts_out=True)),
            "<Records: 1 records, 56 bytes, DBN version 2, ts_out: 1 mbp-0>",
        ),
        (
            dbnfast.scan(NO_SCHEMA + streams.trade(0) + streams.record(0x42, 16)),
            "<Records: 2 records, 64 bytes, DBN version 3: 1 mbp-0, 1 of rtype 0x42>",
        ),
    ],
    ids=["trades", "empty", "ts_out", "mixed"],
)
def test_repr(records: Records, text: str) -> None:
    assert repr(records) == text


def test_records_are_not_made_by_hand() -> None:
    with pytest.raises(TypeError, match="Records come from scan"):
        Records()


def test_records_are_immutable() -> None:
    records = homogeneous()
    for name in ("metadata", "version", "ts_out", "nbytes", "anything"):
        with pytest.raises(AttributeError):
            setattr(records, name, 1)


def test_arrays_keep_the_buffer_alive_and_let_it_go() -> None:
    class Block(np.ndarray):  # type: ignore[type-arg]
        """An array that can be referred to weakly."""

    block = np.frombuffer(bytearray(HEAD + PLAIN), np.uint8).view(Block)
    alive = weakref.ref(block)
    found = dbnfast.scan(block)[2:5].array()
    del block
    gc.collect()
    assert alive() is not None
    assert found.tobytes() == PLAIN[96:240]
    del found
    gc.collect()
    assert alive() is None


def test_iterators_keep_the_records_alive() -> None:
    iterator = iter(dbnfast.scan(bytearray(HEAD + PLAIN)))
    gc.collect()
    assert [bytes(record) for record in iterator] == streams.walk(PLAIN)


# what else a type may be named by, and what is refused


def test_types_as_the_official_enumerations_name_them() -> None:
    official = pytest.importorskip("databento_dbn")
    data = streams.header(schema=None) + streams.mixed(3)
    for name in (official.Schema.TRADES, official.RType.MBP_0):
        assert dbnfast.decode(data, schema=name)["sequence"].tolist() == [0, 1, 2]
    assert dbnfast.dtype(official.RType.MBO) == dbnfast.dtype("mbo")


def test_only_records_are_joined() -> None:
    with pytest.raises(TypeError, match="int is no Records"):
        Records.concat([homogeneous(), 3])  # type: ignore[list-item]


def test_a_damaged_pickle_is_no_run() -> None:
    make, (raw, *rest) = homogeneous().__reduce__()
    assert make(raw, *rest).tobytes() == PLAIN
    with pytest.raises(ValueError, match="959 bytes are no whole number of records"):
        make(raw[:-1], *rest)


def test_levels_of_a_record_that_is_made_are_pairs() -> None:
    with pytest.raises(TypeError, match="levels hold 3, expected pairs of bid and ask"):
        dbnfast.MBP1Msg(levels=[3])


def test_names_of_the_lazy_half_are_listed() -> None:
    assert {"Store", "Live", "read", "from_csv", "scan"} <= set(dir(dbnfast))
