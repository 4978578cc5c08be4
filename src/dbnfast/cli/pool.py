"""Work done by several processes, which end in order when the command does."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import deque
from multiprocessing import connection as connections
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Told = Callable[[int], object]

PACE: Final = 0.1  # seconds between what a process tells of its progress
PATIENCE: Final = 30  # seconds that a process has to remove what is not whole


def results(
    work: Callable[[Any, Told], Any],
    jobs: Sequence[Any],
    n_processes: int,
    begun: Callable[[int], object],
    told: Told,
) -> Iterator[tuple[int, Any]]:
    """
    Do jobs, each in a process.

    Parameters
    ----------
    work : callable
        Takes a job, and what to call with the bytes read; can be pickled.
    jobs : sequence
        What to do; can be pickled.
    n_processes : int
        How many at a time; 1 does all of them here.
    begun : callable
        Called here with the number of a job before it begins.
    told : callable
        Called here with the bytes read.

    Yields
    ------
    number, result
        As they are done; the result is a RuntimeError where the process died.
    """
    if n_processes == 1 or len(jobs) < 2:
        for number, job in enumerate(jobs):
            begun(number)
            yield number, work(job, told)
        return
    waiting = deque(range(len(jobs)))
    at_work: dict[Any, tuple[Any, int]] = {}  # by connection: the process, and its job
    idle: list[tuple[Any, Any]] = []
    context = get_context("spawn")

    def give() -> None:
        if idle:
            ours, process = idle.pop()
        else:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, work), daemon=True)
            process.start()
            theirs.close()
        number = waiting.popleft()
        at_work[ours] = (process, number)
        begun(number)
        ours.send(jobs[number])

    try:
        while waiting or at_work:
            while waiting and len(at_work) < n_processes:
                give()
            ready: list[Any] = connections.wait(list(at_work))
            for ours in ready:
                process, number = at_work[ours]
                try:
                    is_done, value = ours.recv()
                except (EOFError, ConnectionError):
                    del at_work[ours]
                    process.join()
                    yield number, RuntimeError(f"its process died, with {process.exitcode}")
                    continue
                if not is_done:
                    told(value)
                    continue
                del at_work[ours]
                idle.append((ours, process))
                yield number, value
    finally:
        _end([process for _, process in idle], [process for process, _ in at_work.values()])


def _end(idle: list[Any], at_work: list[Any]) -> None:
    # those at work remove what is not whole; the others have nothing
    processes = [*idle, *at_work]
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(PATIENCE)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()


def _serve(ours: Any, work: Callable[[Any, Told], Any]) -> None:
    # a process: until its parent ends it, which Ctrl-C in their terminal leaves to the parent
    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    read, last = 0, time.monotonic()

    def told(n: int) -> None:
        nonlocal read, last
        read += n
        if time.monotonic() - last > PACE:
            ours.send((False, read))
            read, last = 0, time.monotonic()

    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):  # nobody waits for more
        while True:
            job = ours.recv()
            result = work(job, told)
            ours.send((False, read))
            read = 0
            ours.send((True, result))
