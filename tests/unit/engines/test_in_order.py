"""Streams read on several threads: in order, in bounded memory, and ended with their reader."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbnfast.engines import ahead
from dbnfast.engines.ahead import in_order
from helpers.peers import wait_until


@given(st.lists(st.lists(st.integers(1, 10), max_size=6), max_size=8), st.integers(1, 5))
def test_items_come_in_the_order_of_the_streams(streams: list[list[int]], n: int) -> None:
    tagged = [[(at, size) for size in sizes] for at, sizes in enumerate(streams)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "ROOM", 12)
        patch.setattr(ahead, "OWN_ROOM", 9)
        found = list(in_order(tagged, iter, lambda item: item[1], n))
    assert found == [item for stream in tagged for item in stream]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "ROOM", 20)
    monkeypatch.setattr(ahead, "OWN_ROOM", 10)
    given_out = threading.Semaphore(0)
    n_read = 0
    lock = threading.Lock()

    def read(stream: int) -> Iterator[int]:
        nonlocal n_read
        for at in range(50):
            with lock:
                n_read += 1
            given_out.release()
            yield stream * 50 + at

    items = in_order(range(4), read, lambda _: 5, 3)
    taken = [next(items)]
    for _ in range(2 + 4):  # what fits beside the one that was taken
        assert given_out.acquire(timeout=60)
    most = 0
    for item in items:
        taken.append(item)
        with lock:
            most = max(most, n_read - len(taken))
    assert taken == list(range(200))
    # two of its own, four of others, and one in the hand of each thread
    assert most <= 2 + 4 + 3 + 2


def test_an_error_comes_behind_the_items_before_it() -> None:
    def read(stream: int) -> Iterator[int]:
        yield stream
        if stream == 2:
            raise ValueError("damaged")
        yield stream

    items = in_order(range(6), read, lambda _: 1, 2)
    found = [next(items) for _ in range(5)]
    assert found == [0, 0, 1, 1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_an_error_of_what_gives_the_streams() -> None:
    def streams() -> Iterator[list[int]]:
        yield [1]
        raise OSError("gone")

    items = in_order(streams(), iter, lambda _: 1, 3)
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_threads_end_where_the_reader_stops_early() -> None:
    closed: list[int] = []

    def read(stream: int) -> Iterator[int]:
        try:
            while True:
                yield stream
        finally:
            closed.append(stream)

    items = in_order(range(100), read, lambda _: 2**20, 3)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    wait_until(lambda: len(closed) == 3)
    wait_until(lambda: not [one for one in threading.enumerate() if one.name == "dbnfast scan"])


def test_all_is_read_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert list(in_order([[1, 2], [3]], iter, lambda _: 1, 3)) == [1, 2, 3]


LEFT = """
import dbnfast
from dbnfast.engines import scan
scan.STREAM, scan.BLOCK = 1 << 20, 1020
array = dbnfast.empty("trades", 100_000)
metadata = dbnfast.Metadata(dataset="XNAS.ITCH", schema="trades", start=0)
store = dbnfast.read(dbnfast.encode(array, metadata))
kept = [store.arrow_dataset().to_batches(columns=["size"]) for _ in range(8)]
print(sum(next(one).num_rows for one in kept))
"""


def test_the_interpreter_ends_while_streams_are_read() -> None:
    pytest.importorskip("pyarrow")
    command = [sys.executable, "-c", LEFT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{8 * 21}\n", "")


def test_a_reader_that_is_left_at_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_works", weakref.WeakSet())
    items = in_order(range(3), lambda stream: iter([stream] * 5), lambda _: 2**20, 2)
    assert next(items) == 0
    ahead._end()
    with pytest.raises(RuntimeError, match="not all was read"):
        list(items)
