"""Work that several threads share."""

from __future__ import annotations

import os
import sys
from _thread import _local, allocate_lock, start_new_thread
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

MOST: Final = 16  # threads that read or write memory: fewer keep it busy


_here = _local()


@contextmanager
def alone() -> Iterator[None]:
    """Have this thread do all its work itself: others like it keep the processors busy."""
    before, _here.is_alone = getattr(_here, "is_alone", False), True
    try:
        yield
    finally:
        _here.is_alone = before


def cores() -> int:
    """
    Count the processors that this thread may use.

    Returns
    -------
    int
        At least 1.
    """
    if getattr(_here, "is_alone", False):
        return 1
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


def _start(take: Callable[[], object], n: int, ends: list[LockType]) -> None:
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


class _Job(Generic[T, R]):
    # a part, and what became of it
    def __init__(self, part: T) -> None:
        self.part = part
        self.made: R | None = None
        self.error: BaseException | None = None
        self.ended = allocate_lock()  # held until there is either
        self.ended.acquire()


class Ahead(Generic[T, R]):
    """
    Work that goes on while the caller does something else, and comes back in order.

    Parameters
    ----------
    work : callable
        Takes a part. Only what releases the GIL runs beside the caller.

    Notes
    -----
    There is one thread less than processors: a caller that waits works too, so that all is done
    even where no thread can be started. Threads end when there is nothing to do. Only one thread
    at a time may call the methods.
    """

    def __init__(self, work: Callable[[T], R]) -> None:
        self._work = work
        self._jobs: deque[_Job[T, R]] = deque()  # all that were not given back, in order
        self._todo: deque[_Job[T, R]] = deque()  # those of them that nobody has begun
        self._ends: list[LockType] = []  # of the threads
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def limit(self) -> int:
        """As many parts as keep all threads busy while the caller does something else."""
        return 2 * min(cores(), MOST)

    def put(self, part: T, *, now: bool = True) -> None:
        """
        Have a part worked on.

        Parameters
        ----------
        part : object
            What the work takes.
        now : bool
            Whether a thread is started for it where one is free; else the caller does it in `get`,
            for what is wanted at once.
        """
        job: _Job[T, R] = _Job(part)
        self._jobs.append(job)
        self._todo.append(job)
        self._ends = [end for end in self._ends if end.locked()]
        if now and len(self._ends) < min(cores(), MOST) - 1:
            _start(self._run, 1, self._ends)

    def ready(self) -> bool:
        """
        Tell whether the next part is done.

        Returns
        -------
        bool
            False where there is none.
        """
        return bool(self._jobs) and not self._jobs[0].ended.locked()

    def get(self) -> R:
        """
        Give what became of the next part, in the order of `put`.

        Returns
        -------
        object
            What the work gave.

        Raises
        ------
        BaseException
            What the work raised.
        IndexError
            There is no part.
        """
        job = self._jobs[0]
        if self._pid != os.getpid():  # the threads stayed in the process this one was forked from
            self._jobs.popleft()
            return self._work(job.part)
        while job.ended.locked():
            if not self._take():
                with job.ended:
                    break
        self._jobs.popleft()
        if job.error is not None:
            try:
                raise job.error
            finally:
                job.error = None  # its traceback leads here
        return job.made  # type: ignore[return-value]  # None only where the work gives that

    def close(self) -> None:
        """Forget all parts, and wait for those that are being worked on."""
        self._todo.clear()
        self._jobs.clear()
        if self._pid == os.getpid():
            _outlast(self._ends)

    def _run(self) -> None:
        while self._take():
            pass

    def _take(self) -> bool:
        # work on the next part that nobody has begun; False where there is none
        job = None
        try:
            job = self._todo.popleft()
            job.made = self._work(job.part)
        except BaseException as error:
            if job is None:
                if isinstance(error, IndexError):
                    return False
                raise
            job.error = error.with_traceback(None)
            if not isinstance(error, Exception):  # an interrupt, which waits for no order
                raise
        finally:
            if job is not None:
                job.ended.release()
        return True
