"""Work that several threads share."""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock, start_new_thread
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")

MOST: Final = 16  # threads that read or write memory: fewer keep it busy


def cores() -> int:
    """
    Count the processors that this process may run on.

    Returns
    -------
    int
        At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares(amount: int, least: int) -> int:
    """
    Say over how many threads work that moves memory is worth spreading.

    Parameters
    ----------
    amount : int
        How much there is to do.
    least : int
        How much of it makes up for a thread.

    Returns
    -------
    int
        At least 1.
    """
    most = min(amount // least, MOST)
    return min(most, cores()) if most > 1 else 1


def each(work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """
    Do work on several parts, as many at the same time as there are processors.

    Parameters
    ----------
    work : callable
        Takes a part. Only what releases the GIL runs beside the others.
    parts : iterable
        The calling thread and others take one after the other, in order; the calling one does
        all where no other can be started.

    Returns
    -------
    list
        What each call gave, in the parts' order.

    Raises
    ------
    BaseException
        An interrupt, or what the first of the parts that failed raised. No thread is at work any
        more then.
    """
    todo = deque(enumerate(parts))
    n = len(todo)
    made: dict[int, R] = {}
    failed: dict[int, BaseException] = {}

    def take() -> None:
        while todo:
            try:
                index, part = todo.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                made[index] = work(part)
            except BaseException as error:  # it is raised where all have ended
                failed[index] = error
                todo.clear()

    ends: list[LockType] = []  # one for each thread, held until it has ended
    try:
        _start(take, min(n, cores()) - 1, ends)
        take()
        for end in ends:
            with end:
                pass
    except BaseException:
        todo.clear()
        _outlast(ends)
        raise
    if failed:
        _raise(failed)
    return [made[index] for index in range(n)]


def _start(take: Callable[[], None], n: int, ends: list[LockType]) -> None:
    # Threads as the interpreter has them: threading would wait until each has begun, and with
    # that for the GIL; and where the interpreter ends it can neither be imported nor start any.
    def run(end: LockType) -> None:
        try:
            take()
        finally:
            end.release()

    for _ in range(0 if sys.is_finalizing() else n):
        end = allocate_lock()
        end.acquire()
        try:
            start_new_thread(run, (end,))
        except RuntimeError:  # the interpreter ends, or the system has no more threads
            return
        ends.append(end)


def _outlast(ends: list[LockType]) -> None:
    # wait for all threads, whatever interrupts come meanwhile
    for end in ends:
        while True:
            try:
                with end:
                    break
            except KeyboardInterrupt:
                continue


def _raise(failed: dict[int, BaseException]) -> None:
    interrupts = [error for error in failed.values() if not isinstance(error, Exception)]
    try:
        raise interrupts[0] if interrupts else failed[min(failed)]
    finally:
        # the error's traceback leads to what holds it: without this it would live on, and with it
        # all that the work held
        failed.clear()
        interrupts.clear()
