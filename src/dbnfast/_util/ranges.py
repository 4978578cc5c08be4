"""Files that are read by ranges, each of which costs a while: object storage, archives."""

from __future__ import annotations

import copy
import errno
import io
import os
import pickle
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.urls import asked, failed, filesystem_of, hidden, named_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import Self

    from dbnfast._typing import PathLike

    State = dict[str, Any]

HEAD: Final = 128 << 10  # bytes that are read at first, and kept: the first block of zstd, too
PIECE: Final = 4 << 20  # bytes of a range of what is read from one end to the other
SHORT: Final = 4  # ranges at first that are shorter, so that there is something to do early
AHEAD: Final = 8  # ranges that are on their way behind the one that is wanted
FIRST_AHEAD: Final = 2  # the same at first, where nobody said how much will be wanted
WINDOW: Final = 64 << 10  # bytes that a look somewhere in a file reads at least
WINDOWS: Final = 8  # looks that are kept
FRESH: Final = 2.0  # seconds in which a file is not looked at again

# By what a file is told from another of its size: only one that both looks gave is compared.
_ETAGS: Final = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "CRC")
_TIMES: Final = ("LastModified", "Last-Modified", "last_modified", "mtime", "updated", "created")


class Ranged(ABC):
    """
    A file that is read by ranges, or a part of one.

    Parameters
    ----------
    name : str
        For messages.
    state : dict
        What is known of the file: its ``size``, and maybe an ETag and a time of change.

    Attributes
    ----------
    name : str
        As given.
    size : int
        Bytes.
    """

    def __init__(self, name: str, state: State) -> None:
        self.name = name
        self.state = state
        self.size: int = state["size"]
        self.begin = 0  # of the part, in the file
        self._head = b""  # what was read of the beginning
        self._looked = time.monotonic()

    @abstractmethod
    def _get(self, start: int, stop: int) -> bytes:
        # bytes of the file, whatever part of it this is
        ...

    @abstractmethod
    def _look(self) -> State:
        # the file as it is now
        ...

    @abstractmethod
    def _key(self) -> tuple[Any, ...]:
        # what is the same of two that read the same
        ...

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_head": b"", "_looked": 0.0}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _all(self) -> tuple[Any, ...]:
        return (*self._key(), self.begin, self.size, *sorted(self.state.items()))

    @property
    def version(self) -> str | float | None:
        """What the file is told from others of its size by: an ETag, or a time of change."""
        return next((self.state[name] for name in (*_ETAGS, *_TIMES) if name in self.state), None)

    def part(self, name: str, begin: int, size: int, head: bytes = b"") -> Self:
        """
        Make a file of a part.

        Parameters
        ----------
        name : str
            For messages.
        begin, size : int
            Where it is.
        head : bytes
            What is known of its beginning.

        Returns
        -------
        Ranged
        """
        made = copy.copy(self)
        made.name, made.size, made.begin = name, size, self.begin + begin
        made._head = head[:size]
        return made

    def fetch(self, start: int, stop: int) -> bytes:
        """
        Read bytes.

        Parameters
        ----------
        start, stop : int
            Which; what is behind the end is not there.

        Returns
        -------
        bytes

        Raises
        ------
        OSError
            They cannot be read, or are not all of them there.
        ValueError
            The file has changed since it was looked at.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if stop <= len(self._head):
            return self._head[start:stop]
        what = f"reading bytes {start:,} to {stop:,} failed"
        try:
            data = self._get(self.begin + start, self.begin + stop)
        except Exception as error:
            self._blame()
            raise failed(self.name, error, what) from hidden(error)
        if len(data) != stop - start:
            self._blame()
            text = f"{what}: {len(data):,} came, expected {stop - start:,}"
            raise OSError(errno.EIO, text, self.name)
        return data

    @property
    def head(self) -> bytes:
        """The beginning of the file, read once."""
        if not self._head:
            self._head = self.fetch(0, HEAD)
        return self._head

    def check(self, *, fresh: float = FRESH) -> None:
        """
        See that the file is what it was.

        Parameters
        ----------
        fresh : float
            Seconds in which a look is good enough.

        Raises
        ------
        ValueError
            It has changed.
        OSError
            It cannot be looked at.
        """
        now = time.monotonic()
        if now - self._looked < fresh:
            return
        if _is_other(self.state, self._look()):
            raise ValueError(f"{self.name} has changed since it was looked at")
        self._looked = now

    def _blame(self) -> None:
        # where a read went wrong, since the file is another now
        try:
            found = self._look()
        except Exception:  # then the read says what is wrong
            return
        if _is_other(self.state, found):
            raise ValueError(f"{self.name} has changed since it was looked at") from None

    def open(
        self,
        runs: Sequence[tuple[int, int]] | None = None,
        *,
        ahead: bool = True,
        piece: int = PIECE,
    ) -> Ranges:
        """
        Open the file.

        Parameters
        ----------
        runs : sequence of (start, stop), optional
            What will be read, in order; None for all of it, or a beginning.
        ahead : bool
            Whether it is read ahead.
        piece : int
            The most bytes of a range.

        Returns
        -------
        Ranges
        """
        return Ranges(self, runs, ahead=ahead, piece=piece)


def _is_other(before: State, now: State) -> bool:
    if before["size"] != now.get("size", before["size"]):
        return True
    for names in (_ETAGS, _TIMES):  # a time says nothing where there is better
        both = [
            name
            for name in names
            if name in before and name in now and type(before[name]) is type(now[name])
        ]
        if both:
            return any(before[name] != now[name] for name in both)
    return False


class Remote(Ranged):
    """
    A file on a filesystem of fsspec.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The filesystem.
    path : str
        What it calls the file.
    info : dict, optional
        What it says of the file, where that is known.
    head : bytes
        What it gave for the first `HEAD` bytes, if it was asked: of a server that knows no ranges
        that is the file.
    """

    def __init__(
        self, fs: Any, path: str, info: Mapping[str, Any] | None = None, head: bytes = b""
    ) -> None:
        self._fs, self._pid = fs, os.getpid()
        self.path = path
        self._whole: bytes | None = None  # of a server that knows no ranges
        name = named_on(fs, path)
        if info is None:
            info = asked(name, lambda: fs.info(path))
        state = _state(info)
        if state["size"] is None:  # a server does not say
            self._whole = asked(name, lambda: bytes(fs.cat_file(path)))
            state["size"] = len(self._whole)
        super().__init__(name, state)
        if len(head) == self.size > HEAD:
            self._whole = head
        elif len(head) == min(HEAD, self.size):
            self._head = head

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_whole": None}

    @property
    def fs(self) -> Any:
        """The filesystem; in a process that was forked another like it, which works there."""
        if self._pid != os.getpid():
            self._fs, self._pid = pickle.loads(pickle.dumps(self._fs)), os.getpid()
        return self._fs

    def _key(self) -> tuple[Any, ...]:
        return self._fs, self.path

    def _get(self, start: int, stop: int) -> bytes:
        if self._whole is None:
            data = self.fs.cat_file(self.path, start=start, end=stop)
            # a server that knows no ranges sends all of it each time
            if len(data) <= stop - start or len(data) != self.state["size"]:
                return bytes(data)
            self._whole = bytes(data)
        return self._whole[start:stop]

    def _look(self) -> State:
        self.fs.invalidate_cache(self.path)
        found = _state(asked(self.name, lambda: self.fs.info(self.path)))
        if found["size"] is None:
            del found["size"]
        return found


def _state(info: Mapping[str, Any]) -> State:
    state: State = {"size": info.get("size")}
    for name in _ETAGS:
        if info.get(name):
            state[name] = str(info[name]).removeprefix("W/").strip('"')
    for name in _TIMES:
        if info.get(name):
            state[name] = _plain_time(info[name])
    return state


def _plain_time(time: Any) -> float | str:
    # a list may have a number where a look at the file alone has a datetime
    if hasattr(time, "timestamp"):
        time = time.timestamp()
    return round(float(time), 3) if isinstance(time, int | float) else str(time)


class Local(Ranged):
    """
    A file of the system, read as others are.

    Parameters
    ----------
    path : path
        Where it is.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = os.path.abspath(path)
        super().__init__(os.fspath(path), self._look())

    def _key(self) -> tuple[Any, ...]:
        return (self.path,)

    def _get(self, start: int, stop: int) -> bytes:
        with io.FileIO(self.path) as file:
            file.seek(start)
            return file.read(stop - start)

    def _look(self) -> State:
        found = os.stat(self.path)
        return {"size": found.st_size, "mtime": found.st_mtime_ns}


class Windows:
    """
    A few looks into a file, of which the last ones are kept.

    Parameters
    ----------
    file : Ranged
        The file.
    """

    def __init__(self, file: Ranged) -> None:
        self._file = file
        self._kept: OrderedDict[int, bytes] = OrderedDict()  # by where they begin
        self._size = WINDOW  # of the next one

    def __call__(self, at: int, n: int) -> bytes:
        """
        Read bytes.

        Parameters
        ----------
        at, n : int
            Where, and how many.

        Returns
        -------
        bytes
            Fewer at the end.
        """
        stop = min(at + n, self._file.size)
        head = self._file.head if stop <= HEAD else b""
        if stop <= len(head):
            return head[at:stop]
        for begin, data in self._kept.items():
            if begin <= at and stop <= begin + len(data):
                return data[at - begin : stop - begin]
        begin, end = self._around(at, stop)
        data = self._file.fetch(begin, end)
        self._kept[begin] = data
        if len(self._kept) > WINDOWS:
            self._kept.popitem(last=False)
        return data[at - begin : stop - begin]

    def _around(self, at: int, stop: int) -> tuple[int, int]:
        # more than was asked for, on both sides; behind what was read last, all of it ahead
        n = stop - at
        ends = [begin + len(data) for begin, data in self._kept.items()]
        if at in ends or at == HEAD:
            self._size = min(2 * self._size, PIECE)
            return at, min(at + max(n, self._size), self._file.size)
        room = max(WINDOW - n, 0)
        end = min(stop + room // 2, self._file.size)
        begin = max(end - max(WINDOW, n), 0)
        return min(begin, at), end


class Ranges(io.RawIOBase):
    """
    A file that is read by ranges, some of which are on their way while others are used.

    Parameters
    ----------
    file : Ranged
        The file.
    runs : sequence of (start, stop) or None
        What will be read, in order; None for all of it, or a beginning.
    ahead : bool
        Whether it is read ahead; else as little as possible is read.
    piece : int
        The most bytes of a range.

    Notes
    -----
    Of all ranges at most `AHEAD` and the one in use are in memory, or on their way; where nobody
    said how much will be wanted, one more with each that is used. Reading at another place is
    right, and begins anew.
    """

    def __init__(
        self,
        file: Ranged,
        runs: Sequence[tuple[int, int]] | None = None,
        *,
        ahead: bool = True,
        piece: int = PIECE,
    ) -> None:
        self._file = file
        self._runs = [(0, file.size)] if runs is None else list(runs)
        self._ahead = FIRST_AHEAD if runs is None else AHEAD
        self._piece, self._short = piece, SHORT
        self._at = 0
        self._windows = None if ahead else Windows(file)
        self._now, self._begin = b"", 0  # the range in use, and where it is
        self._todo: Iterator[tuple[int, int]] = iter(())
        self._coming: deque[tuple[int, int, Future[bytes]]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that one can go to another place."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """
        Go to another place.

        Parameters
        ----------
        offset, whence : int
            As `io.IOBase.seek` takes them.

        Returns
        -------
        int
            Where that is.
        """
        start = (0, self._at, self._file.size)[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, out: Any) -> int:
        """
        Read some bytes.

        Parameters
        ----------
        out : writable buffer
            Where to.

        Returns
        -------
        int
            How many came; 0 at the end.
        """
        if self.closed:
            raise ValueError("I/O operation on a closed file")
        view = memoryview(out).cast("B")
        at, size = self._at, self._file.size
        if at >= size or not len(view):
            return 0
        data: bytes | memoryview
        head = memoryview(self._file.head if at < HEAD else b"")
        if at < len(head):
            data = head[at : at + len(view)]
        elif self._windows is not None:
            data = self._windows(at, len(view))
        else:
            if not self._begin <= at < self._begin + len(self._now):
                self._move(at)
            start = at - self._begin
            data = memoryview(self._now)[start : start + len(view)]
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _move(self, at: int) -> None:
        # make the range that holds a place the one in use
        self._now = b""
        while self._coming and not self._coming[0][0] <= at < self._coming[0][1]:
            self._coming.popleft()[2].cancel()
        if not self._coming:
            self._todo = self._pieces(at)
            self._fill()
        begin, _, job = self._coming.popleft()
        self._ahead = min(self._ahead + 1, AHEAD)
        self._fill()
        self._begin, self._now = begin, job.result()

    def _pieces(self, at: int) -> Iterator[tuple[int, int]]:
        number = bisect_right(self._runs, at, key=lambda run: run[0]) - 1
        runs = self._runs[max(number, 0) :]
        if number < 0 or at >= runs[0][1]:  # nobody said that this would be read
            later = [start for start, _ in runs if start > at]
            runs = [(at, min(later, default=self._file.size)), *(r for r in runs if r[0] > at)]
        for start, stop in runs:
            begin = max(start, at)
            while begin < stop:
                size = self._piece >> (self._short + 1) // 2  # two of a quarter, two of a half
                self._short = max(self._short - 1, 0)
                yield begin, min(begin + size, stop)
                begin += size

    def _fill(self) -> None:
        while len(self._coming) < self._ahead and (piece := next(self._todo, None)):
            self._coming.append((*piece, self._started(*piece)))

    def _started(self, start: int, stop: int) -> Future[bytes]:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(AHEAD + 1, "dbnfast-ranges")
        return self._pool.submit(self._file.fetch, start, stop)

    def close(self) -> None:
        """Let go of what is on its way."""
        pool, self._pool = getattr(self, "_pool", None), None
        if pool is not None:
            self._coming.clear()
            pool.shutdown(wait=False, cancel_futures=True)
        super().close()


class Header(Ranges):
    """
    The beginning of a file, of which no more is to be read than is needed.

    Parameters
    ----------
    file : Ranged
        The file.
    """

    def __init__(self, file: Ranged) -> None:
        super().__init__(file, ahead=False)

    def seekable(self) -> bool:
        """Tell readers that what is not asked for costs a request."""
        return False


def open_url(url: str, storage_options: Mapping[str, Any] | None = None) -> Ranges:
    """
    Open the file at a URL for reading.

    Parameters
    ----------
    url : str
        The URL.
    storage_options : mapping, optional
        What its filesystem is made with.

    Returns
    -------
    Ranges

    Raises
    ------
    MissingExtraError
        fsspec is not installed.
    OSError, ValueError
        There is no such file, or kind of URL.
    """
    return Remote(*filesystem_of(url, storage_options)).open()
