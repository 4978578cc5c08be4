"""Work that several threads share."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import Thread

T = TypeVar("T")
R = TypeVar("R")

MOST: Final = 16  # threads at one piece of work: memory is busy with fewer


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
    Say over how many threads work is worth spreading.

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
    Do work on several parts, a few at the same time.

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
        What the first of the parts that failed raised. No thread is at work any more then.
    """
    todo = deque(enumerate(parts))
    made: dict[int, R] = {}
    failed: dict[int, BaseException] = {}

    def run() -> None:
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

    threads = _started(run, min(len(todo), cores(), MOST) - 1)
    run()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[min(failed)]
    return [made[index] for index in range(len(made))]


def _started(run: Callable[[], None], n: int) -> list[Thread]:
    if n < 1:
        return []
    import threading  # numpy alone does not

    threads = []
    for _ in range(n):
        thread = threading.Thread(target=run, name="dbnfast-share")
        try:
            thread.start()
        except RuntimeError:  # the interpreter shuts down, or the system has no more threads
            break
        threads.append(thread)
    return threads
