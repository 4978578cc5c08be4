"""Work in parts gives what it gives in one piece, on any number of threads."""

from __future__ import annotations

import gc
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast import RType
from dbnfast._core.run import Survey, survey_run
from dbnfast._core.scan import likely_start
from dbnfast._util import threads
from dbnfast.layouts.programs import SIZES
from dbnfast.records import parallel as passes
from dbnfast.records.records import Records
from helpers import builders, streams

KINDS = {
    version: {kind.rtype: kind.layout for kind in builders.KINDS[version]} for version in (1, 3)
}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def choose(n_bytes: int, cores: int) -> None:
        monkeypatch.setattr(passes, "PART", n_bytes)
        monkeypatch.setattr(threads, "cores", lambda: cores)

    return choose


def record(rtype: int, size: int, seed: int = 0, fill: int | None = None) -> bytes:
    body = random.Random(seed).randbytes(size - 16) if fill is None else bytes([fill]) * (size - 16)
    return struct.pack("<BBHIQ", size // 4, rtype, 1, seed % 50, 10**18 + seed) + body


def mixture(n: int, seed: int = 1, version: int = 3, ts_out: bool = False) -> bytes:
    """Records of all types of a version in no order."""
    drawn = random.Random(seed)
    kinds = list(KINDS[version].items())
    return b"".join(
        record(rtype, layout.itemsize(ts_out), seed + i)
        for i, (rtype, layout) in enumerate(drawn.choices(kinds, k=n))
    )


def outcome(data: bytes, version: int = 3, ts_out: bool = False) -> tuple[Any, ...]:
    made, status = passes.survey(Records, data, 0, len(data), version, ts_out, None)
    return len(made), made.nbytes, made._groups, made._rtype, made._size, status


def plain(data: bytes, version: int = 3, ts_out: bool = False) -> tuple[Any, ...]:
    made, status = survey_run(Records, data, 0, len(data), SIZES, version, ts_out, None)
    return len(made), made.nbytes, made._groups, made._rtype, made._size, status


# --- threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "least", "cores", "n"),
    [
        (0, 10, 4, 1),
        (19, 10, 4, 1),
        (20, 10, 4, 2),
        (99, 10, 4, 4),
        (99, 10, 1, 1),
        (999, 1, 64, 16),
    ],
)
def test_shares(
    monkeypatch: pytest.MonkeyPatch, amount: int, least: int, cores: int, n: int
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    assert threads.shares(amount, least) == n


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity to set here")
def test_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert threads.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert threads.cores() == len(before)


def test_alone_a_thread_starts_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    ahead: threads.Ahead[int, int] = threads.Ahead(lambda _: threading.get_ident())
    with threads.alone():
        with threads.alone():
            pass
        assert (threads.cores(), threads.shares(10**6, 1)) == (1, 1)
        ahead.put(1)
        assert ahead.get() == threading.get_ident()
        elsewhere = threading.Thread(target=lambda: seen.append(threads.cores()))
        seen: list[int] = []
        elsewhere.start()
        elsewhere.join()
    assert (seen, threads.cores()) == ([4], 4)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("cores", [1, 2, 7])
def test_each_part_is_done_once_and_comes_in_order(
    monkeypatch: pytest.MonkeyPatch, n: int, cores: int
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    done: list[int] = []

    def work(part: int) -> int:
        done.append(part)
        return 2 * part

    assert threads.each(work, range(n)) == [2 * part for part in range(n)]
    assert sorted(done) == list(range(n))


def test_parts_are_done_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    meeting = threading.Barrier(3, timeout=30)
    assert (
        len(set(threads.each(lambda _: (meeting.wait(), threading.get_ident())[1], range(3)))) == 3
    )


@pytest.mark.parametrize("bad", [{0}, {1}, {4}, {2, 3}, {0, 1, 2, 3, 4}])
def test_what_fails_first_in_order_is_raised_and_no_thread_is_left(
    monkeypatch: pytest.MonkeyPatch, bad: set[int]
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    before = threading.active_count()

    def work(part: int) -> None:
        if part in bad:
            raise KeyError(part)

    with pytest.raises(KeyError) as caught:
        threads.each(work, range(5))
    assert caught.value.args[0] in bad
    if len(bad) == 1 or 0 in bad:
        assert caught.value.args[0] == min(bad)
    assert threading.active_count() == before


def test_without_threads_to_start_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.setattr(threads, "start_new_thread", refused)
    assert threads.each(lambda part: (part, threading.get_ident()), range(6)) == [
        (part, threading.get_ident()) for part in range(6)
    ]


@pytest.mark.parametrize("part", [0, 1, 2])
def test_an_error_keeps_nothing_alive(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)

    class Block:
        pass

    block = Block()
    alive = weakref.ref(block)

    def work(index: int, held: Block = block) -> None:
        meeting.wait()
        if index == part:
            raise KeyError(index)

    del block
    meeting = threading.Barrier(3, timeout=30)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(KeyError):
            threads.each(work, range(3))
        del work
        assert alive() is None
    finally:
        gc.enable()


def test_an_interrupt_comes_out_when_all_threads_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    began, go_on, done = threading.Event(), threading.Event(), []

    def work(part: int) -> None:
        if part:
            began.set()
            go_on.wait(30)
            done.append(part)
            return
        began.wait(30)
        threading.Timer(0.2, go_on.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.each(work, range(9))
    assert 1 <= len(done) <= 2  # those that were under way have ended, no other was begun
    n = len(done)
    time.sleep(0.05)
    assert len(done) == n


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent")
def test_an_interrupt_while_waiting_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    ended: list[int] = []

    def work(part: int) -> None:
        if threading.current_thread() is threading.main_thread():
            other.wait(30)  # the other thread has the other part
            return
        other.set()
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        ended.append(part)

    other = threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.each(work, range(2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(ended) == 1


def test_an_interrupt_is_told_before_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    meeting = threading.Barrier(2, timeout=30)

    def work(part: int) -> None:
        meeting.wait()
        raise KeyboardInterrupt if part else ValueError

    with pytest.raises(KeyboardInterrupt):
        threads.each(work, range(2))


@pytest.mark.parametrize("cyclic", [False, True])
def test_buffers_are_read_while_the_interpreter_ends(cyclic: bool) -> None:
    # nothing can be imported any more, and a thread would never run
    program = f"""
import dbnfast, os
from dbnfast._util import threads
from dbnfast.records import parallel as passes
passes.PART = 4800
threads.cores = (4).__int__
class Last:
    def __init__(self):
        self.scan, self.write = dbnfast.scan, os.write
        self.data = dbnfast.empty("trades", 1000).tobytes()
    def __del__(self):
        self.write(1, b"%d" % len(self.scan(self.data, has_metadata=False)))
last = Last()
if {cyclic}:
    last.itself = last
"""
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=False
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, b"1000", b"")


# --- the survey -------------------------------------------------------------------------------


@pytest.mark.parametrize("cores", [2, 3, 16])
@pytest.mark.parametrize(("version", "ts_out"), [(1, False), (3, False), (3, True)])
def test_a_survey_in_parts_finds_the_same(
    parts: Callable[[int, int], None], cores: int, version: int, ts_out: bool
) -> None:
    data = mixture(3000, version=version, ts_out=ts_out)
    parts(10_000, cores)
    assert outcome(data, version, ts_out) == plain(data, version, ts_out)
    made, _ = passes.survey(Records, data, 0, len(data), version, ts_out, None)
    assert made._seams is not None
    assert len(made._seams) == cores  # it was in parts
    assert made._seams[0][0] == 0
    assert made._seams[-1][1] == len(data)


@pytest.mark.parametrize("n_cut", [1, 15, 16, 39])
def test_what_the_end_cuts_is_found_in_parts_too(
    parts: Callable[[int, int], None], n_cut: int
) -> None:
    data = mixture(2000) + record(int(RType.STATUS), 40)[:-n_cut]
    parts(10_000, 4)
    assert outcome(data) == plain(data)
    assert outcome(data)[-1] == 1


def test_damage_anywhere_ends_it_where_it_is(parts: Callable[[int, int], None]) -> None:
    data = mixture(1200)
    parts(len(data) // 4, 4)
    at, places = 0, []
    while at < len(data):
        places.append(at)
        at += data[at] * 4
    for place in places[::7]:
        for value in (0, 3, 5, 255):  # no length, too short for a header, for its type, too long
            damaged = bytearray(data)
            damaged[place] = value
            found = outcome(bytes(damaged))
            assert found == plain(bytes(damaged)), (place, value)


def test_a_place_that_only_looks_like_a_record_is_found_out(
    parts: Callable[[int, int], None],
) -> None:
    # records of an unknown type hold what looks like records one behind the other: a chain that
    # never meets the true one
    inside = struct.pack("<BBHIQ", 255, 0, 1, 1, 1)
    lure = record(0xE0, 1020, fill=0)
    lure = lure[:16] + inside + lure[32:]
    data = mixture(600) + 400 * lure + mixture(600, seed=2)
    start = len(mixture(600)) + 16 + 100 * 1020
    assert likely_start(data, 0, start, SIZES, False) % 1020 == start % 1020
    parts(len(data) // 3, 3)
    assert outcome(data) == plain(data)
    made, _ = passes.survey(Records, data, 0, len(data), 3, False, None)
    assert made._seams is not None
    assert [seam[1] for seam in made._seams[:-1]] == [seam[0] for seam in made._seams[1:]]
    split = made.split()
    assert sum(array.nbytes for array in split.values()) == len(data)
    assert (split[0xE0] == np.frombuffer(400 * lure, np.uint8)).all()


def test_unknown_types_alone_are_one_part(parts: Callable[[int, int], None]) -> None:
    data = 500 * record(0xE0, 400)
    parts(1000, 4)
    assert likely_start(data, 0, 400, SIZES, False) == -1
    assert outcome(data) == plain(data) == (500, len(data), ((0xE0, 400, 500),), 0xE0, 400, 0)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 200])
def test_few_records_are_one_part(parts: Callable[[int, int], None], n: int) -> None:
    data = n * record(0, 48)
    parts(16, 4)
    assert outcome(data) == plain(data)


def test_equal_records_in_parts_are_a_view(parts: Callable[[int, int], None]) -> None:
    data = streams.header() + streams.trades(1000)
    whole = dbnfast.decode(data)
    parts(4800, 4)
    records = dbnfast.scan(data)
    assert records._seams is not None
    array = records.array()
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert array.dtype == whole.dtype
    assert (array == whole).all()
    assert [len(run) for run in records.runs()] == [1000]


def test_slices_keep_the_owner_itself(parts: Callable[[int, int], None]) -> None:
    parts(10_000, 2)
    records = dbnfast.scan(bytearray(streams.header(schema=None) + mixture(1000)))
    assert records[1:]._owner is records._owner
    assert records[1:][1:]._owner is records._owner


def test_a_length_that_is_a_lie_is_not_believed() -> None:
    class Liar(bytearray):
        def __len__(self) -> int:
            return 10**10

    with pytest.raises(ValueError, match="no parts of 48 bytes"):
        Survey(Liar(48), [0, 10**9 - 48], 10**9, SIZES, False)


def test_a_survey_holds_what_it_looks_at_and_runs_keep_it() -> None:
    block = bytearray(mixture(300))
    survey = Survey(block, [0], len(block), SIZES, False)
    survey.run(0)
    with pytest.raises(BufferError):
        block.clear()
    made, _ = survey.finish(Records, 3, None)
    del survey
    with pytest.raises(BufferError):
        block.clear()
    assert len(made) == 300


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.frombuffer])
def test_any_buffer_is_surveyed_in_parts(parts: Callable[[int, int], None], kind: Any) -> None:
    data = streams.header(schema=None) + mixture(1000)
    source = kind(data, np.uint8) if kind is np.frombuffer else kind(data)
    parts(10_000, 2)
    records = dbnfast.scan(source)
    assert records._seams is not None
    assert records.tobytes() == mixture(1000)


# --- what is made of it -----------------------------------------------------------------------


def same(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and a[key].tobytes() == b[key].tobytes() for key in a
    )


@pytest.mark.parametrize(("version", "ts_out"), [(1, False), (3, True)])
def test_arrays_of_parts_are_those_of_the_whole(
    parts: Callable[[int, int], None], version: int, ts_out: bool
) -> None:
    data = streams.header(version, None, ts_out=ts_out) + mixture(3000, 5, version, ts_out)
    whole = dbnfast.scan(data)
    split, newest = whole.split(), whole.upgrade()
    trades = dbnfast.decode(data, schema="trades")
    parts(10_000, 3)
    records = dbnfast.scan(data)
    assert records._seams is not None
    assert same(records.split(), split)
    assert dbnfast.decode(data, schema="trades").tobytes() == trades.tobytes()
    assert records.upgrade().tobytes() == newest.tobytes()
    assert records.upgrade().counts == newest.counts
    assert not records.array("trades").flags.writeable


def test_slices_and_filters_of_parts(parts: Callable[[int, int], None]) -> None:
    data = streams.header(schema=None) + mixture(3000)
    whole = dbnfast.scan(data)
    expected = [whole[700:2500].split(), whole.filter(instrument_ids=range(25)).split()]
    parts(10_000, 3)
    records = dbnfast.scan(data)
    assert same(records[700:2500].split(), expected[0])
    assert same(records.filter(instrument_ids=range(25)).split(), expected[1])
    assert bytes(records[1234]) == bytes(whole[1234])


def test_blocks_of_a_reader_in_parts(parts: Callable[[int, int], None], tmp_path: Any) -> None:
    path = tmp_path / "mixed.dbn"
    path.write_bytes(streams.header(schema=None) + mixture(3000))
    with dbnfast.iter_decode(path, max_bytes=100_000) as blocks:
        expected = [block.tobytes() for block in blocks]
    parts(10_000, 2)
    with dbnfast.iter_decode(path, max_bytes=100_000) as blocks:
        found = list(blocks)
    assert [block.tobytes() for block in found] == expected
    assert found[0]._seams is not None


def test_damage_behind_good_parts_keeps_them(parts: Callable[[int, int], None]) -> None:
    good = mixture(2000)
    parts(10_000, 4)
    with pytest.raises(dbnfast.InvalidRecordError) as caught:
        dbnfast.scan(streams.header(schema=None) + good + bytes(16) + mixture(2000))
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == good
    assert caught.value.record_index == 2000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(KINDS[3])), st.integers(0, 2**32 - 1), st.integers(1, 120)
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(64, 20_000),
    st.integers(1, 8),
    st.integers(0, 60),
    st.data(),
)
@settings(max_examples=150)
def test_any_stream_in_any_parts(
    stretches: list[tuple[int, int, int]], part: int, cores: int, cut: int, drawn: st.DataObject
) -> None:
    data = bytearray(
        b"".join(record(rtype, KINDS[3][rtype].size, seed) * n for rtype, seed, n in stretches)
    )
    if drawn.draw(st.booleans()):
        data[drawn.draw(st.integers(0, len(data) - 1))] ^= drawn.draw(st.integers(1, 255))
    stream = bytes(data[: len(data) - cut])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "PART", part)
        patch.setattr(threads, "cores", lambda: cores)
        assert outcome(stream) == plain(stream)
        made, _ = passes.survey(Records, stream, 0, len(stream), 3, False, None)
        split = made.split()
    again, _ = survey_run(Records, stream, 0, len(stream), SIZES, 3, False, None)
    assert same(split, again.split())
