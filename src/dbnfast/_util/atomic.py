"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from dbnfast._util.arguments import as_path
from dbnfast._util.buffers import write_all
from dbnfast._util.urls import asked, filesystem_of, is_local, is_url, named_on

if TYPE_CHECKING:
    from dbnfast._typing import PathLike


@contextlib.contextmanager
def output(
    target: Any, mode: str = "w", storage_options: Mapping[str, Any] | None = None
) -> Iterator[Any]:
    """
    Open something to write to.

    Parameters
    ----------
    target : path-like, URL or writable
        A path or URL is opened as `replacing` does; an object with ``write`` takes all that is
        written, in as many calls as it needs, and is left open.
    mode : {"w", "x"}
        Whether a file that exists is replaced, or is an error.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Yields
    ------
    writable
        Takes bytes-like objects.

    Raises
    ------
    FileExistsError
        The file exists, and `mode` is "x".
    IsADirectoryError
        The path is a directory.
    TypeError, ValueError
        An argument is not what it should be.
    """
    if mode not in ("w", "x"):
        raise ValueError(f"mode is {mode!r}, expected 'w' or 'x'")
    if hasattr(target, "write"):
        if isinstance(target, io.TextIOBase):
            raise TypeError("the output is open as text, expected binary")
        yield _Given(target)
        return
    if not isinstance(target, str | os.PathLike):
        raise TypeError(f"{type(target).__name__} is neither a path nor writable")
    with replacing(target, force=mode == "w", storage_options=storage_options) as file:
        yield file


class _Given(io.RawIOBase):
    """What a caller gave to write to, with all that libraries ask of a file; it stays open."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        write_all(self._target, view)
        return len(view)


@contextlib.contextmanager
def replacing(
    target: PathLike,
    *,
    force: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[IO[bytes]]:
    """
    Write a file that appears whole, or not at all.

    Parameters
    ----------
    target : path or URL
        The file; ``~`` at its beginning is the home folder. What is written has another
        name in the same directory until it is whole; a file that it replaces leaves it its
        permission bits. A device or pipe is written to as it is. What goes to a URL is a
        temporary file of the system until it is whole.
    force : bool
        Whether an existing file is replaced.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Yields
    ------
    file
        Open for writing, binary.

    Raises
    ------
    FileExistsError
        The file is there, and `force` is not given.
    OSError
        It cannot be written.
    """
    if is_url(target):
        with _uploaded(str(target), force, storage_options) as file:
            yield file
        return
    target = as_path("path", target)
    if is_special(target):  # links such as /dev/stdout may lead to what has no path
        with writer(Path(target), "w", target) as file:
            yield file
        return
    path = Path(os.path.realpath(target))  # a link stays one, and names the new file
    check_free(path, force, target)
    part = temporary(path.parent)
    try:
        with writer(part, "x", target) as file:
            keep_mode(path, part, writing=True)
            yield file
        check_free(path, force, target)
        keep_mode(path, part)
        with named(target):
            os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


@contextlib.contextmanager
def _uploaded(
    url: str, force: bool, storage_options: Mapping[str, Any] | None
) -> Iterator[IO[bytes]]:
    fs, path = filesystem_of(url, storage_options)
    if is_local(fs):
        with replacing(path, force=force) as file:
            yield file
        return
    import tempfile  # what it brings along nothing else needs

    name = named_on(fs, path)
    if url.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, "is a folder", name)
    _check_free_there(fs, path, force, name)
    with tempfile.TemporaryDirectory(prefix="dbnfast-") as folder:
        part = Path(folder) / "part"
        with writer(part, "x", part) as file:
            yield file
        _check_free_there(fs, path, force, name)
        asked(name, lambda: put(fs, part, path))


def _check_free_there(fs: Any, path: str, force: bool, name: str) -> None:
    if force:
        return
    fs.invalidate_cache(path)
    if asked(name, lambda: fs.exists(path)):
        raise FileExistsError(errno.EEXIST, "exists already", name)


def put(fs: Any, part: Path, path: str) -> None:
    """
    Send a file to another filesystem, where it appears whole or not at all.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The filesystem.
    part : Path
        The file.
    path : str
        What it is to be called there.

    Raises
    ------
    OSError
        It was not taken.
    """
    # Object storage shows a name when all of it is there; other filesystems as soon as there is
    # something under it, so that this has another name until then.
    if fs.async_impl:
        fs.put_file(os.fspath(part), path)
        return
    if fs.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a folder", path)
    folder, slash, _ = path.rpartition("/")
    beside = f"{folder}{slash}{temporary(Path()).name}"
    if folder:
        fs.makedirs(folder, exist_ok=True)
    try:
        fs.put_file(os.fspath(part), beside)
        _move(fs, beside, path)
    except BaseException:
        with contextlib.suppress(Exception):
            fs.rm_file(beside)
        raise


def _move(fs: Any, before: str, path: str) -> None:
    from fsspec import AbstractFileSystem

    if type(fs).mv is not AbstractFileSystem.mv:
        fs.mv(before, path)
        return
    # that of all others takes names with *, ? or [ for patterns, and finds other files by them
    fs.cp_file(before, path)
    fs.rm_file(before)


def is_special(target: PathLike) -> bool:
    """
    Tell whether a path leads to a device or pipe.

    Parameters
    ----------
    target : path
        The path.

    Returns
    -------
    bool
    """
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def keep_mode(path: Path, part: Path, writing: bool = False) -> None:
    """
    Give a new file the permission bits of the file that it is to replace, if there is one.

    Parameters
    ----------
    path : Path
        What is replaced.
    part : Path
        The new file.
    writing : bool
        Whether the new file is still to be written to, also under its name.

    Raises
    ------
    OSError
        They cannot be changed.
    """
    try:
        mode = os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return
    if writing:
        mode |= stat.S_IWUSR
    if os.stat(part).st_mode & 0o777 != mode:
        os.chmod(part, mode)


@contextlib.contextmanager
def named(name: PathLike) -> Iterator[None]:
    """
    Make errors of the system name a file as the caller does.

    Parameters
    ----------
    name : path
        The file.

    Yields
    ------
    None

    Raises
    ------
    OSError
        That of what is done meanwhile.
    """
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(name)
        del error.filename2  # None would be shown
        raise


class _Named(io.FileIO):
    """A file whose errors say the name that the caller knows, not that of what is not whole."""

    def __init__(self, path: Path, mode: str, shown: PathLike) -> None:
        self.shown = shown
        with named(shown):
            super().__init__(path, mode)

    def write(self, data: Any) -> int:
        with named(self.shown):
            return super().write(data)

    def close(self) -> None:
        with named(self.shown):
            super().close()


@contextlib.contextmanager
def native(file: Any, pyarrow: Any) -> Iterator[Any]:
    """
    Give what pyarrow writes to without the GIL, and without a copy of each piece.

    Parameters
    ----------
    file : writable
        Anything.
    pyarrow : module
        What is to write.

    Yields
    ------
    pyarrow.OSFile or writable
        The same file once more, where `output` or `replacing` opened it and it is no device
        or pipe; else `file` itself.

    Notes
    -----
    Its errors name the file as the caller does if they come out of `naming`.
    """
    raw = getattr(file, "raw", None)
    if not isinstance(raw, _Named) or not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        yield file
        return
    with pyarrow.OSFile(os.fspath(raw.name), "wb") as same:
        yield same


def naming(file: Any) -> contextlib.AbstractContextManager[None]:
    """
    Make errors name a file as the caller does.

    Parameters
    ----------
    file : writable
        What `output` or `replacing` opened; of anything else, errors stay what they are.

    Returns
    -------
    context manager
    """
    raw = getattr(file, "raw", None)
    return named(raw.shown) if isinstance(raw, _Named) else contextlib.nullcontext()


def writer(path: Path, mode: str, name: PathLike) -> IO[bytes]:
    """
    Open a file for writing, whose errors name another.

    Parameters
    ----------
    path : Path
        The file.
    mode : {"w", "x", "a"}
        Whether what is there is replaced, is an error, or goes on.
    name : path
        What errors call it.

    Returns
    -------
    file
        Buffered, binary.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    return cast("IO[bytes]", io.BufferedWriter(_Named(path, mode, name)))


def check_free(path: PathLike, force: bool, name: PathLike | None = None) -> None:
    """
    Refuse to write over what is there.

    Parameters
    ----------
    path : path
        Where a file is to be written.
    force : bool
        Whether an existing file may be replaced.
    name : path, optional
        What the caller calls it.

    Raises
    ------
    FileExistsError, IsADirectoryError
        Something is there.
    """
    shown = os.fspath(path if name is None else name)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a directory", shown)
    if not force and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "exists already", shown)


def temporary(folder: Path) -> Path:
    """
    Name a file that is not whole yet.

    Parameters
    ----------
    folder : Path
        Where it is to be.

    Returns
    -------
    Path
        A new name, short whatever the file's own.
    """
    return folder / f".dbnfast-{os.urandom(8).hex()}.part"


def is_temporary(name: str) -> bool:
    """
    Tell whether a file is one that was not whole when its writer died.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    bool
    """
    return name.startswith(".dbnfast-") and name.endswith(".part")


def is_same_file(source: PathLike | IO[bytes], target: PathLike) -> bool:
    """
    Tell whether a source is the file at a path.

    Parameters
    ----------
    source : path or readable
        What is read.
    target : path
        What is to be written.

    Returns
    -------
    bool
        False where the source has no file or the target is not there.
    """
    try:
        theirs = os.stat(os.path.expanduser(target))
        if isinstance(source, str | os.PathLike):
            own = os.stat(os.path.expanduser(source))
        else:
            own = os.fstat(source.fileno())
    except (OSError, AttributeError, ValueError):
        return False
    return stat.S_ISREG(own.st_mode) and os.path.samestat(own, theirs)
