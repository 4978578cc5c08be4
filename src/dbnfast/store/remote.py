"""Sources that are read by ranges: what is on a filesystem of fsspec, as object storage is."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeGuard, TypeVar, cast

import numpy as np

from dbnfast._util.buffers import sealed
from dbnfast._util.ranges import HEAD, PIECE, Header, Ranged, Remote, Windows
from dbnfast._util.urls import asked, filesystem_of, is_local, is_url, named_on, protocols
from dbnfast.store.seek import reading
from dbnfast.store.sources import Source, is_dbn_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dbnfast.codec.options import OnTruncated, Span
    from dbnfast.records.records import Records

T = TypeVar("T")
R = TypeVar("R")

LEAST_PIECE: Final = 256 << 10  # bytes of a range, where there are many files to read at a time
AT_ONCE: Final = 16  # files whose headers are read at the same time


class RangeSource(Source):
    """
    A file that is read by ranges.

    Parameters
    ----------
    file : Ranged
        The file.
    on_truncated : str
        As `scan` takes it.

    Attributes
    ----------
    file : Ranged
        As given.
    """

    is_file = True
    is_far = True

    def __init__(self, file: Ranged, on_truncated: OnTruncated = "warn") -> None:
        self.file = file
        super().__init__(file.name, on_truncated)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}

    def _header(self) -> IO[bytes]:
        return cast("IO[bytes]", Header(self.file))

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.file.size

    def open(self) -> IO[bytes]:
        """Open the file, which is then read ahead."""
        self.file.check()
        return cast("IO[bytes]", self.file.open())

    def open_for(self, span: Span | None, max_bytes: int) -> IO[bytes]:
        """
        Open the file for a reader, which gets what it reads and no more.

        Parameters
        ----------
        span, max_bytes
            As `Source.open_for` takes them.

        Returns
        -------
        file
        """
        self.file.check()
        begin, end = (0, None) if span is None else (span.begin, span.end)
        runs = [(begin, self.nbytes if end is None else end)]
        piece = min(PIECE, max(max_bytes // 4, LEAST_PIECE))
        return cast("IO[bytes]", self.file.open(runs, piece=piece))

    def buffer(self) -> Any:
        """Read the whole file."""
        block = np.empty(self.nbytes, np.uint8)
        view, n = memoryview(block), 0
        self.file.check()
        with self.file.open([(0, len(view))]) as file:
            while n < len(view):
                n += file.readinto(view[n:])
        return sealed(block)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[int, int], bytes]]:
        """
        Read here and there in the file.

        Yields
        ------
        callable
            As `Source.reading` gives it.
        """
        self.file.check()
        yield Windows(self.file)

    @contextlib.contextmanager
    def reading_frames(self, numbers: Sequence[int]) -> Iterator[Callable[[int, int], bytes]]:
        """
        Read frames of a seekable file, ahead.

        Parameters
        ----------
        numbers : sequence of int
            As `Source.reading_frames` takes it.

        Yields
        ------
        callable
            As `Source.reading` gives it.
        """
        self.file.check()
        assert self.index is not None
        runs: list[tuple[int, int]] = []
        for number in numbers:
            if not self.index.columns[number, 0]:
                continue  # has no records, and is not read
            start, stop = self.index.starts[number : number + 2].tolist()
            if runs and runs[-1][1] == start:
                start = runs.pop()[0]
            runs.append((start, stop))
        with self.file.open(runs) as file:
            yield reading(file)

    def records_between(self, wanted: dict[str, Any], trusted: bool) -> Records | None:
        """
        Leave a range of time to `blocks`, which reads nothing else.

        Parameters
        ----------
        wanted, trusted
            As `Source.records_between` takes them.

        Returns
        -------
        None
        """
        return None


def files_at(
    source: str,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: Any = None,
) -> list[Path | Remote]:
    """
    Find the files that a URL means.

    Parameters
    ----------
    source : str
        The URL of a file, a pattern, or a folder.
    storage_options : mapping, optional
        What its filesystem is made with.
    filesystem : fsspec.AbstractFileSystem, optional
        The filesystem, where it is there already; `source` is then what it calls the file.

    Returns
    -------
    list of Path or Remote
        Paths where the filesystem is that of the system.

    Raises
    ------
    FileNotFoundError
        There are none.
    OSError
        The filesystem does not say.
    TypeError
        `filesystem` is none.
    """
    if filesystem is None:
        fs, path = filesystem_of(source, storage_options)
    elif hasattr(filesystem, "cat_file") and hasattr(filesystem, "unstrip_protocol"):
        from fsspec.core import strip_protocol

        fs, path = filesystem, str(strip_protocol(source) if is_url(source) else source)
    else:
        raise TypeError(f"filesystem is {type(filesystem).__name__}, expected one of fsspec")
    if is_local(fs):
        return [Path(path)]
    shown = named_on(fs, path)
    found = _found(fs, path, shown)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no such DBN file", shown)
    return list(at_once(lambda one: Remote(fs, *one), found))


def is_zip(place: Path | Remote) -> TypeGuard[Remote]:
    """
    Tell whether a file is on a filesystem that is a zip file.

    Parameters
    ----------
    place : Path or Remote
        The file.

    Returns
    -------
    bool
    """
    return isinstance(place, Remote) and "zip" in protocols(place.fs) and hasattr(place.fs, "fo")


def _found(fs: Any, path: str, shown: str) -> list[tuple[Any, ...]]:
    # the files, and what is known of each
    is_web = "http" in protocols(fs)  # where ? begins a query
    if any(sign in path for sign in ("*[" if is_web else "*?[")):
        found = asked(shown, lambda: fs.glob(path, detail=True))
        files = sorted((name, info) for name, info in found.items() if info["type"] == "file")
        if files:
            return [_known(name, info) for name, info in files]
    head = b""
    if is_web and path.endswith("/"):
        info = {"type": "directory"}
    else:
        info, head = _looked_at(fs, path, shown)
    if info["type"] != "directory":
        return [(*_known(path, info), head)]
    entries = asked(shown, lambda: fs.ls(path, detail=True))
    files = sorted((one["name"], one) for one in entries if one["type"] == "file")
    files = [(name, one) for name, one in files if is_dbn_name(base_name(name))]
    if not files:
        text = "no DBN files (.dbn, .dbn.zst, .dbz) in this folder"
        raise FileNotFoundError(errno.ENOENT, text, shown)
    return [_known(name, one) for name, one in files]


def _looked_at(fs: Any, path: str, shown: str) -> tuple[Any, bytes]:
    # what the filesystem says of a file; and at the same time its beginning, which is wanted next
    def info() -> Any:
        return asked(shown, lambda: fs.info(path))

    def head() -> Any:
        try:
            return bytes(fs.cat_file(path, start=0, end=HEAD))
        except Exception:  # told where the beginning is needed
            return b""

    if not (fs.async_impl and is_dbn_name(base_name(path))):
        return info(), b""
    said, beginning = at_once(lambda look: look(), (info, head))
    return said, beginning


def _known(path: str, info: Any) -> tuple[str, Any]:
    # a list of the web says no sizes
    return path, info if info.get("size") is not None else None


def base_name(path: str) -> str:
    """
    Give the last part of a path on a filesystem, or of a URL.

    Parameters
    ----------
    path : str
        The path.

    Returns
    -------
    str
        Without a query.
    """
    return path.partition("?")[0].rsplit("/", 1)[-1]


def at_once(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """
    Do what waits for a server, for several at the same time.

    Parameters
    ----------
    work : callable
        Takes a part.
    parts : sequence
        What it is done for.

    Returns
    -------
    list
        What each call gave, in order.
    """
    if len(parts) < 2:
        return [work(part) for part in parts]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(AT_ONCE, len(parts)), "dbnfast-look") as pool:
        return list(pool.map(work, parts))
