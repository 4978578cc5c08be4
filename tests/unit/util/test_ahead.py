"""Work that goes on ahead: in order, with threads and without, and never lost or waited for."""

from __future__ import annotations

import os
import threading

import pytest

from dbnfast._util import threads
from dbnfast._util.threads import Ahead

PATIENCE = 60  # seconds


@pytest.fixture(params=[1, 2, 5])
def n_cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    n: int = request.param
    return n


def test_results_come_in_the_order_of_the_parts(n_cores: int) -> None:
    ahead = Ahead(lambda part: part * 10)
    found = []
    for part in range(200):
        ahead.put(part)
        if len(ahead) > 7:
            found.append(ahead.get())
    while len(ahead):
        found.append(ahead.get())
    assert found == [part * 10 for part in range(200)]
    with pytest.raises(IndexError):
        ahead.get()


def test_none_is_a_result(n_cores: int) -> None:
    ahead: Ahead[int, None] = Ahead(lambda part: None)
    ahead.put(1)
    assert ahead.get() is None
    assert len(ahead) == 0


def test_an_error_comes_where_its_part_is(n_cores: int) -> None:
    def work(part: int) -> int:
        if part == 2:
            raise ValueError("part 2")
        if part == 3:
            raise IndexError("part 3")
        return part

    ahead = Ahead(work)
    for part in range(5):
        ahead.put(part)
    assert [ahead.get(), ahead.get()] == [0, 1]
    with pytest.raises(ValueError, match="part 2"):
        ahead.get()
    with pytest.raises(IndexError, match="part 3"):
        ahead.get()
    assert ahead.get() == 4


def test_parts_are_worked_on_while_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    both = threading.Barrier(2)  # passes only where two are in it at once
    ahead = Ahead(lambda part: both.wait(PATIENCE))
    for part in range(2):
        ahead.put(part)
    assert sorted([ahead.get(), ahead.get()]) == [0, 1]


def test_the_caller_works_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.setattr(threads, "start_new_thread", refuse)
    found = []
    ahead = Ahead(lambda part: found.append((part, threading.get_ident())))
    for part in range(3):
        ahead.put(part)
    for _ in range(3):
        ahead.get()
    assert found == [(part, threading.get_ident()) for part in range(3)]


def test_an_interrupt_of_the_caller_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 1)

    def work(part: int) -> int:
        if part == 0:
            raise KeyboardInterrupt
        return part

    ahead = Ahead(work)
    ahead.put(0)
    ahead.put(1)
    for _ in range(2):  # whoever goes on has it again, and does not wait for ever
        with pytest.raises(KeyboardInterrupt):
            ahead.get()
    assert ahead.get() == 1


def test_close_waits_for_what_is_in_work_and_forgets_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    begun, go, done = threading.Event(), threading.Event(), []

    def work(part: int) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        done.append(part)

    ahead = Ahead(work)
    for part in range(10):
        ahead.put(part)
    assert begun.wait(PATIENCE)
    threading.Timer(0.05, go.set).start()
    ahead.close()
    assert done == [0]
    assert len(ahead) == 0
    ahead.put(11)
    ahead.get()
    assert done == [0, 11]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_process_works_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    go = threading.Event()
    parent = os.getpid()
    ahead = Ahead(lambda part: part if os.getpid() != parent else go.wait(PATIENCE) and part)
    ahead.put(7)
    child = os.fork()
    if child == 0:
        os._exit(0 if ahead.get() == 7 else 1)
    go.set()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert ahead.get() == 7
