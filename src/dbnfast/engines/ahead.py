"""Streams that are read at the same time, and come one after the other, in bounded memory."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from dbnfast._util.threads import MOST, cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

S = TypeVar("S")
T = TypeVar("T")

ROOM: Final = 12 << 20  # bytes of what was read of later streams, and waits
OWN_ROOM: Final = 4 << 20  # and of the one whose turn it is
PATIENCE: Final = 10.0  # seconds for a thread to end before the interpreter does


class _Lane(Generic[T]):
    # what was read of a stream, and waits
    def __init__(self) -> None:
        self.items: deque[tuple[T, int]] = deque()
        self.n_bytes = 0
        self.is_done = False
        self.error: BaseException | None = None


def in_order(
    streams: Iterable[S],
    read: Callable[[S], Iterator[T]],
    size: Callable[[T], int],
    n_threads: int | None = None,
) -> Iterator[T]:
    """
    Read streams on several threads.

    Parameters
    ----------
    streams : iterable
        The streams; each is taken when a thread begins with it.
    read : callable
        Reads one. Only what releases the GIL runs beside the others.
    size : callable
        Gives the bytes of an item, which count while it waits.
    n_threads : int, optional
        Most streams that are read at the same time; None for one on each processor.

    Yields
    ------
    object
        The items of the first stream, then those of the next.

    Raises
    ------
    BaseException
        What reading raised, behind all items before it.
    """
    work = _Work(streams, read, size)
    try:
        work.start(min(cores(), MOST) if n_threads is None else n_threads)
        yield from work.items()
    finally:
        work.stop()


class _Work(Generic[S, T]):
    def __init__(
        self,
        streams: Iterable[S],
        read: Callable[[S], Iterator[T]],
        size: Callable[[T], int],
    ) -> None:
        self._streams = iter(streams)
        self._read = read
        self._size = size
        self._lanes: deque[_Lane[T]] = deque()  # those that were begun, in order
        self._taking = threading.Lock()  # streams may read to say which is next
        self._changed = threading.Condition()
        self._n_bytes = 0  # in all lanes but the first
        self._has_more = True
        self._is_stopped = False
        self._threads: list[threading.Thread] = []
        _works.add(self)

    def start(self, n: int) -> None:
        for _ in range(n):
            thread = threading.Thread(target=self._run, name="dbnfast scan", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                return
            self._threads.append(thread)

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._lanes.clear()
            self._changed.notify_all()
        # They end on their own. Whoever drops an iterator may be one of them, where the garbage
        # is collected there, or a thread of an engine that holds what they wait for.

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)

    def items(self) -> Iterator[T]:
        if not self._threads:
            for stream in self._streams:
                yield from self._read(stream)
            return
        while True:
            with self._changed:
                self._changed.wait_for(self._is_ready)
                if self._is_stopped:
                    raise RuntimeError("the interpreter ends, and not all was read")
                if not self._lanes:
                    return
                lane = self._lanes[0]
                if not lane.items:
                    if lane.error is not None:
                        self._raise(lane)
                    self._lanes.popleft()
                    if self._lanes:  # its turn: what waits in it no longer keeps others back
                        self._n_bytes -= self._lanes[0].n_bytes
                    self._changed.notify_all()
                    continue
                item, n_bytes = lane.items.popleft()
                lane.n_bytes -= n_bytes
                self._changed.notify_all()
            yield item
            del item

    def _raise(self, lane: _Lane[T]) -> NoReturn:
        error, lane.error = lane.error, None  # whose traceback would lead back to it
        assert error is not None
        try:
            raise error
        finally:
            del error

    def _is_ready(self) -> bool:
        if not self._lanes:
            return self._is_stopped or not self._has_more
        return bool(self._lanes[0].items) or self._lanes[0].is_done

    def _run(self) -> None:
        while (found := self._next()) is not None:
            lane, streams = found
            try:
                for stream in streams:
                    self._fill(lane, stream)
            except BaseException as error:  # it is raised where the items are taken
                lane.error = error
            with self._changed:
                lane.is_done = True
                self._changed.notify_all()
                if lane.error is not None:
                    self._has_more = False

    def _next(self) -> tuple[_Lane[T], list[S]] | None:
        with self._taking:
            if self._is_stopped or not self._has_more:
                return None
            lane: _Lane[T] = _Lane()
            streams: list[S] = []
            try:
                streams = [next(self._streams)]
            except StopIteration:
                with self._changed:
                    self._has_more = False
                    self._changed.notify_all()
                return None
            except BaseException as error:
                lane.error, lane.is_done, self._has_more = error, True, False
            with self._changed:
                self._lanes.append(lane)
                self._changed.notify_all()
            return lane, streams

    def _fill(self, lane: _Lane[T], stream: S) -> None:
        for item in self._read(stream):
            n_bytes = self._size(item)
            with self._changed:
                while not self._has_room(lane, n_bytes):
                    self._changed.wait()
                if self._is_stopped:
                    return
                lane.items.append((item, n_bytes))
                lane.n_bytes += n_bytes
                if lane is not self._lanes[0]:
                    self._n_bytes += n_bytes
                self._changed.notify_all()
            del item

    def _has_room(self, lane: _Lane[T], n_bytes: int) -> bool:
        if self._is_stopped:
            return True
        if lane is self._lanes[0]:
            return not lane.items or lane.n_bytes + n_bytes <= OWN_ROOM
        return self._n_bytes + n_bytes <= ROOM


_works: weakref.WeakSet[_Work[Any, Any]] = weakref.WeakSet()  # that may have threads at work


@atexit.register
def _end() -> None:
    # Threads that come back out of Arrow when the interpreter is gone would end the process.
    works = list(_works)
    for work in works:
        work.stop()
    for work in works:
        work.join()
