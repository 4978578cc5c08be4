"""The compiled part of resuming: sizes are checked, collisions are harmless, counts are exact."""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Records, RType
from dbnfast._core.multiset import Bag, Counts
from dbnfast._core.resume import Clock, IdPeaks, peaks, since
from dbnfast._core.scan import SizeTable
from dbnfast.layouts.programs import FILTER_TS_AT, SIZES, SNAPSHOT_AT, SNAPSHOT_BITS
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE
from dbnfast.live.resume.delivered import CLOCK
from helpers import streams

NEVER = 2**64 - 1
BITS = pytest.mark.parametrize("hash_bits", [0, 1, 7, 64])


def records_of(*parts: bytes, ts_out: bool = False) -> Records:
    return dbnfast.scan(streams.header(schema=None, ts_out=int(ts_out)) + b"".join(parts))


def made(seed: int, n: int = 400, ts_out: bool = False) -> list[bytes]:
    """Records of some types and sizes, many of them equal."""
    rng = random.Random(seed)
    kinds = ((0, 48), (0, 52), (33, 56), (0x42, 16), (0x42, 28), (24, 80))
    found = []
    for _ in range(n):
        rtype, size = rng.choice(kinds)
        ts = rng.choice((rng.randint(0, 20), NEVER))
        raw = streams.record(rtype, size, instrument_id=rng.randint(0, 3), ts_event=ts)
        extra = rng.randbytes(8) if ts_out else b""
        found.append(bytes([(size + len(extra)) // 4]) + raw[1:] + extra)
    return found


def least_of(**times: int) -> Any:
    least = np.full(256, NEVER, np.uint64)
    for name, ts in times.items():
        least[int(name[1:])] = ts
    return least


def out_of(records: Records, extra: int = 0) -> Any:
    return np.empty(records.nbytes + extra, np.uint8)


def ts_of(raw: bytes) -> int:
    return int(struct.unpack_from("<Q", raw, 8)[0])


def test_filter_times() -> None:
    by_ts_recv = {RType.BBO_1S, RType.BBO_1M, RType.CBBO_1S, RType.CBBO_1M}
    for rtype, layouts in LAYOUTS_BY_RTYPE.items():
        name = "ts_recv" if rtype in by_ts_recv else "ts_event"
        assert {layout.by_name[name].offset for layout in layouts} == {FILTER_TS_AT[rtype]}
    assert np.flatnonzero(SNAPSHOT_BITS).tolist() == [int(RType.MBO)]
    assert SNAPSHOT_AT[RType.MBO] == LAYOUTS_BY_RTYPE[RType.MBO][0].by_name["flags"].offset
    for table in (FILTER_TS_AT, SNAPSHOT_AT, SNAPSHOT_BITS):
        assert not table.flags.writeable


# wrong arguments


def test_clock_checks_its_tables() -> None:
    good = (SIZES, FILTER_TS_AT, SNAPSHOT_AT, SNAPSHOT_BITS)
    Clock(*good)
    for at in (1, 2, 3):
        short = list(good)
        short[at] = good[at][:255]
        with pytest.raises(ValueError, match="one entry for each rtype"):
            Clock(*short)
    for at, place, text in ((1, 41, "no timestamp at byte 41 of rtype 0"), (2, 48, "no byte 48")):
        wrong = list(good)
        wrong[at] = good[at].copy()
        wrong[at][0] = place
        with pytest.raises(ValueError, match=text):
            Clock(*wrong)
    for at in range(4):
        none = list(good)
        none[at] = None
        with pytest.raises(TypeError):
            Clock(*none)
    with pytest.raises(TypeError, match="a clock is made once"):
        CLOCK.__init__(*good)  # type: ignore[misc]
    small = SizeTable([0] * 256, [0] * 256)  # a record is never shorter than its header
    Clock(small, np.full(256, 8, np.uint16), np.full(256, 15, np.uint16), SNAPSHOT_BITS)


def test_what_was_never_made_is_refused() -> None:
    records = records_of(streams.trade(0))
    clock = Clock.__new__(Clock)
    least = least_of(_0=0)
    for call in (
        lambda: peaks(records, clock),
        lambda: since(records, clock, least, out_of(records)),
        lambda: Bag(clock),
        lambda: Counts(clock),
        lambda: IdPeaks(clock),
        lambda: Bag.__new__(Bag).add(records, least),
        lambda: Bag.__new__(Bag).sift(records, out_of(records)),
        lambda: Bag.__new__(Bag).forget(0),
        lambda: Counts.__new__(Counts).add(records, 0, 0),
        lambda: Counts.__new__(Counts).sift(records, 0, True, out_of(records)),
        lambda: IdPeaks.__new__(IdPeaks).update(records, 0),
    ):
        with pytest.raises(TypeError, match="never made"):
            call()
    empty = Counts.__new__(Counts)
    empty.rewind()
    empty.forget()
    assert (empty.n, empty.left, empty.nbytes, Bag.__new__(Bag).nbytes) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", [Bag, Counts])
def test_hashes_check_what_they_are_given(kind: Any) -> None:
    for bits in (-1, 65):
        with pytest.raises(ValueError, match=f"hash_bits is {bits}, expected 0 to 64"):
            kind(CLOCK, bits)
    with pytest.raises(TypeError):
        kind(None)
    table = kind(CLOCK)
    with pytest.raises(TypeError, match="made once"):
        table.__init__(CLOCK)
    records = records_of(streams.trade(0))
    more = (0, True) if kind is Counts else ()
    with pytest.raises(ValueError, match="room for 47 bytes, 48 may be needed"):
        table.sift(records, *more, out_of(records, -1))
    for arguments in ((None, *more, out_of(records)), (records, *more, None)):
        with pytest.raises(TypeError):
            table.sift(*arguments)
    with pytest.raises(TypeError):
        table.add(None, *((0, 0) if kind is Counts else (least_of(),)))


def test_other_wrong_arguments() -> None:
    records = records_of(streams.trade(0))
    for arguments in ((None, CLOCK), (records, None), (b"", CLOCK)):
        with pytest.raises(TypeError):
            peaks(*arguments)
    with pytest.raises(ValueError, match="room for 47 bytes, 48 may be needed"):
        since(records, CLOCK, least_of(), out_of(records, -1))
    with pytest.raises(ValueError, match="least needs one entry for each rtype"):
        since(records, CLOCK, least_of()[:255], out_of(records))
    with pytest.raises(ValueError, match="least needs one entry for each rtype"):
        Bag(CLOCK).add(records, least_of()[:255])
    for arguments in ((None, out_of(records)), (least_of(), None)):
        with pytest.raises(TypeError):
            since(records, CLOCK, *arguments)
    found = IdPeaks(CLOCK)
    with pytest.raises(TypeError, match="made once"):
        found.__init__(CLOCK)  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.update(None, 0)  # type: ignore[arg-type]
    found.update(records, 0)
    for ids, tops in ((0, 1), (1, 2)):
        with pytest.raises(ValueError, match=f"room for {ids} ids and {tops} times of 1"):
            found.fill(np.empty(ids, np.uint32), np.empty(tops, np.uint64))
    for rtype in (-1, 256):
        with pytest.raises(OverflowError):
            found.update(records, rtype)


# highest times


def test_peaks() -> None:
    assert peaks(records_of(), CLOCK) == ()
    times = [5, 9, NEVER, 7]
    alike = [streams.record(0, 48, ts_event=ts) for ts in times]
    assert peaks(records_of(*alike), CLOCK) == ((0, 9, 3),)
    assert peaks(records_of(alike[2]), CLOCK) == ((0, 0, 2),)
    shot = bytearray(streams.record(160, 56, ts_event=99))
    shot[SNAPSHOT_AT[160]] = 32 | 128
    book = streams.record(160, 56, ts_event=3)
    assert peaks(records_of(bytes(shot)), CLOCK) == ((160, 0, 4),)
    assert peaks(records_of(bytes(shot), book), CLOCK) == ((160, 3, 5),)
    mixed = records_of(*alike, streams.record(0x42, 16, ts_event=4), bytes(shot), *alike)
    assert peaks(mixed, CLOCK) == ((0, 9, 3), (0x42, 4, 1), (160, 0, 4))
    quote = bytearray(streams.record(195, 80, ts_event=99))
    struct.pack_into("<Q", quote, int(FILTER_TS_AT[195]), 12)
    assert peaks(records_of(bytes(quote)), CLOCK) == ((195, 12, 1),)


@pytest.mark.parametrize("ts_out", [False, True])
def test_since(ts_out: bool) -> None:
    parts = made(1, ts_out=ts_out)
    records = records_of(*parts, ts_out=ts_out)
    out = out_of(records)
    n = since(records, CLOCK, least_of(_0=12, _24=0), out)
    wanted = [p for p in parts if (p[1] == 0 and ts_of(p) >= 12) or p[1] == 24]
    assert out[:n].tobytes() == b"".join(wanted)
    assert since(records, CLOCK, least_of(), out) == 0
    assert since(records_of(), CLOCK, least_of(_0=0), out_of(records_of())) == 0


def test_id_peaks() -> None:
    found = IdPeaks(CLOCK)
    rng = random.Random(3)
    tops: dict[int, int] = {}
    for _ in range(30):
        parts = []
        for _ in range(200):
            id, ts = rng.randrange(3000) * 65536, rng.choice((rng.randint(0, 1000), NEVER))
            rtype = rng.choice((0, 0, 33))
            parts.append(streams.record(rtype, 56, instrument_id=id, ts_event=ts))
            if rtype == 0 and ts != NEVER:
                tops[id] = max(ts, tops.get(id, 0))
        found.update(records_of(*parts), 0)
    ids, times = np.empty(found.n, np.uint32), np.empty(found.n, np.uint64)
    found.fill(ids, times)
    assert dict(zip(ids.tolist(), times.tolist(), strict=True)) == tops
    found.update(records_of(), 0)
    assert found.n == len(tops)


# multisets


def bare(raw: bytes, ts_out: bool) -> bytes:
    return raw[:-8] if ts_out else raw


def left_over(parts: list[bytes], kept: Counter[bytes], ts_out: bool) -> list[bytes]:
    """What a plain multiset leaves; it is used up."""
    left = []
    for raw in parts:
        if kept[bare(raw, ts_out)] > 0:
            kept[bare(raw, ts_out)] -= 1
        else:
            left.append(raw)
    return left


@BITS
@pytest.mark.parametrize("ts_out", [False, True])
def test_bag_is_a_multiset(hash_bits: int, ts_out: bool) -> None:
    bag, model = Bag(CLOCK, hash_bits), Counter[bytes]()
    for seed in range(3):
        parts = made(seed, ts_out=ts_out)
        n = bag.add(records_of(*parts, ts_out=ts_out), least_of(_0=5, _24=0, _66=19))
        kept = [
            bare(p, ts_out) for p in parts if ts_of(p) >= {0: 5, 24: 0, 0x42: 19}.get(p[1], 2**65)
        ]
        assert n == len(kept)
        model.update(kept)
    assert bag.left == model.total()
    assert bag.nbytes > 0
    for seed in range(2, 6):
        parts = made(seed, ts_out=ts_out)
        records = records_of(*parts, ts_out=ts_out)
        out = out_of(records)
        wanted = left_over(parts, model, ts_out)
        n = bag.sift(records, out)
        assert (n == -1) == (len(wanted) == len(parts))
        if n >= 0:
            assert out[:n].tobytes() == b"".join(wanted)
        assert bag.left == model.total()
    bag.forget(0)
    left = {raw: n for raw, n in model.items() if raw[1] != 0}
    assert bag.left == sum(left.values())
    assert bag.left > 0
    parts = [raw + bytes(8 if ts_out else 0) for raw in model if raw[1] == 0]
    assert bag.sift(records_of(*parts, ts_out=ts_out), np.empty(10**5, np.uint8)) == -1


def test_bag_keeps_its_bytes_alive() -> None:
    bag = Bag(CLOCK)
    for i in range(100):
        bag.add(records_of(streams.trade(i)), least_of(_0=0))
    garbage = [bytes([i % 256]) * 200 for i in range(1000)]
    records = records_of(*(streams.trade(i) for i in range(100)))
    assert bag.sift(records, out_of(records)) == 0
    assert bag.left == 0
    assert len(garbage) == 1000


def test_bag_tells_records_from_their_beginnings() -> None:
    bag = Bag(CLOCK, 0)
    short = streams.record(0, 48)
    long = bytes([13]) + short[1:] + bytes(4)
    bag.add(records_of(long), least_of(_0=0))
    assert bag.sift(records_of(short), np.empty(48, np.uint8)) == -1
    assert bag.sift(records_of(long), np.empty(52, np.uint8)) == 0


@BITS
@pytest.mark.parametrize("ts_out", [False, True])
@pytest.mark.parametrize("learning", [False, True])
def test_counts_are_a_multiset(hash_bits: int, ts_out: bool, learning: bool) -> None:
    counts, model = Counts(CLOCK, hash_bits), Counter[bytes]()
    for seed in range(2):
        parts = made(seed, ts_out=ts_out)
        counts.add(records_of(*parts, ts_out=ts_out), 0, 7)
        model.update(bare(p, ts_out) for p in parts if p[1] == 0 and ts_of(p) >= 7)
    assert (counts.n, counts.left) == (model.total(), 0)
    for _ in range(3):
        counts.rewind()
        left = model.copy()
        assert counts.left == left.total()
        for seed in range(1, 4):
            parts = made(seed, ts_out=ts_out)
            records = records_of(*parts, ts_out=ts_out)
            out = out_of(records)
            wanted = left_over(parts, left, ts_out)
            n = counts.sift(records, 0, learning, out)
            assert out[:n].tobytes() == b"".join(wanted) if n >= 0 else len(wanted) == len(parts)
            assert counts.left == left.total()
            if learning:
                model.update(bare(p, ts_out) for p in wanted if p[1] == 0)
        assert counts.n == model.total()
        counts.forget()
        assert counts.left == 0
    everything = records_of(*made(1))
    assert Counts(CLOCK).sift(everything, 0, False, out_of(everything)) == -1
    assert counts.sift(records_of(), 0, True, out_of(records_of())) == -1


def test_snapshots_are_neither_kept_nor_dropped() -> None:
    shot = bytearray(streams.record(160, 56, ts_event=99))
    shot[SNAPSHOT_AT[160]] = 32
    records = records_of(bytes(shot))
    bag, counts = Bag(CLOCK), Counts(CLOCK)
    assert bag.add(records, least_of(_160=0)) == 0
    counts.add(records, 160, 0)
    assert counts.n == 0
    assert since(records, CLOCK, least_of(_160=0), out_of(records)) == 0
