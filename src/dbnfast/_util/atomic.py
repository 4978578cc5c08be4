"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from dbnfast._util.buffers import write_all
from dbnfast._util.urls import asked, filesystem_of, is_local, is_url, named_on

if TYPE_CHECKING:
    from typing import Self

    from dbnfast._typing import PathLike

AT_A_TIME: Final = 8  # files that are sent to object storage, or removed there
SMALL: Final = 8 << 20  # bytes of such a file; of a larger one several pieces are sent at a time


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
    target = os.path.expanduser(target)
    if _is_special(target):  # links such as /dev/stdout may lead to what has no path
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
        asked(name, lambda: _put(fs, part, path))


def _check_free_there(fs: Any, path: str, force: bool, name: str) -> None:
    if force:
        return
    fs.invalidate_cache(path)
    if asked(name, lambda: fs.exists(path)):
        raise FileExistsError(errno.EEXIST, "exists already", name)


def _put(fs: Any, part: Path, path: str) -> None:
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


def _is_special(target: PathLike) -> bool:
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def folder_output(
    target: Any, mode: str = "w", storage_options: Mapping[str, Any] | None = None
) -> Tree:
    """
    Prepare a folder to write files to.

    Parameters
    ----------
    target : path-like or URL
        The folder.
    mode : {"w", "x"}
        Whether what an earlier call wrote there is replaced, or is an error.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Returns
    -------
    Tree
        To be entered.

    Raises
    ------
    FileExistsError, NotADirectoryError
        As `Tree` raises them.
    OSError
        What is at the URL cannot be told.
    TypeError, ValueError
        An argument is not what it should be.
    """
    if mode not in ("w", "x"):
        raise ValueError(f"mode is {mode!r}, expected 'w' or 'x'")
    if not isinstance(target, str | os.PathLike):
        raise TypeError(f"{type(target).__name__} is no path, expected that of a folder")
    return tree_at(target, mode, storage_options=storage_options)


def tree_at(
    target: PathLike,
    mode: str = "w",
    suffix: str = ".parquet",
    storage_options: Mapping[str, Any] | None = None,
) -> Tree:
    """
    Make a tree, wherever it is.

    Parameters
    ----------
    target : path or URL
        The folder.
    mode, suffix
        As `Tree` takes them.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Returns
    -------
    Tree

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As `Tree` and `filesystem_of` raise them.
    """
    folder = folder_at(target, storage_options)
    if isinstance(folder, Elsewhere):
        return _SentTree(folder, mode, suffix)
    return Tree(folder if is_url(target) else target, mode, suffix)  # errors name it as given


def folder_at(
    target: PathLike, storage_options: Mapping[str, Any] | None = None
) -> Path | Elsewhere:
    """
    Tell where a folder is.

    Parameters
    ----------
    target : path or URL
        The folder; ``~`` at its beginning is the home folder.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Returns
    -------
    Path or Elsewhere
        A path for the URLs of the system's own files too.

    Raises
    ------
    ImportError, OSError, TypeError, ValueError
        As `filesystem_of` raises them.
    """
    if not is_url(target):
        return Path(os.path.expanduser(target))
    fs, path = filesystem_of(str(target), storage_options)
    return Path(path) if is_local(fs) else Elsewhere(fs, path)


class Elsewhere:
    """
    A folder of another filesystem, to which whole files are sent.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The filesystem.
    path : str
        What it calls the folder.
    """

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path.rstrip("/")

    def url(self, name: str = "") -> str:
        """
        Name a file for messages.

        Parameters
        ----------
        name : str
            Its path in the folder; "" for the folder.

        Returns
        -------
        str
            A URL without what is secret.
        """
        return named_on(self._fs, f"{self._path}/{name}" if name else self._path)

    def names(self, depth: int | None = None) -> list[str]:
        """
        Find the files that are there.

        Parameters
        ----------
        depth : int, optional
            In how many folders, this one counted; None for all.

        Returns
        -------
        list of str
            Their paths in the folder. Nothing there is no error: object storage has no folders.

        Raises
        ------
        NotADirectoryError
            It is a file.
        OSError
            The filesystem does not say.
        """
        fs, path, prefix = self._fs, self._path, f"{self._path}/"
        fs.invalidate_cache()
        if asked(self.url(), lambda: fs.isfile(path)):
            raise NotADirectoryError(errno.ENOTDIR, "is a file, expected a folder", self.url())

        def find() -> list[str]:
            try:
                return list(fs.find(path, maxdepth=depth))
            except FileNotFoundError:
                return []

        found = (str(one) for one in asked(self.url(), find))
        inside = (one[len(prefix) :] for one in found if one.startswith(prefix))
        return [name for name in inside if name and not name.endswith("/")]

    def send(self, files: Mapping[str, Path], old: Container[str] = ()) -> None:
        """
        Send files, several small ones at the same time; each appears when all of it is there.

        Parameters
        ----------
        files : mapping of str to Path
            The files of this machine, by what their paths in the folder are to be.
        old : container of str
            What was there. After an error, files that are not among them are removed again.

        Raises
        ------
        OSError
            One was not taken; the error names its URL.
        """
        begun: list[str] = []

        def send(name: str) -> None:
            begun.append(name)
            path = f"{self._path}/{name}"
            asked(self.url(name), lambda: _put(self._fs, files[name], path))

        large = {name for name, path in files.items() if path.stat().st_size > SMALL}
        try:
            self._each(send, [name for name in files if name not in large])
            for name in files:
                if name in large:
                    send(name)
        except BaseException:

            def take_back(name: str) -> None:
                with contextlib.suppress(Exception):  # the error before is the one to tell
                    self._fs.rm_file(f"{self._path}/{name}")

            self._each(take_back, [name for name in begun if name not in old])
            raise

    def remove(self, names: Iterable[str]) -> None:
        """
        Remove files.

        Parameters
        ----------
        names : iterable of str
            Their paths in the folder.

        Raises
        ------
        OSError
            One cannot be removed; the error names its URL.
        """

        def remove(name: str) -> None:
            path = f"{self._path}/{name}"
            with contextlib.suppress(FileNotFoundError):
                asked(self.url(name), lambda: self._fs.rm_file(path))

        self._each(remove, names)

    def _each(self, work: Callable[[str], object], names: Iterable[str]) -> None:
        if not self._fs.async_impl:  # such need not stand several threads
            for name in names:
                work(name)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(AT_A_TIME, "dbnfast send") as pool:
            try:
                for done in [pool.submit(work, name) for name in names]:
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class Tree:
    """
    Files in the folders of a folder, which appear when all of them are whole.

    As a context manager it has them appear at its end, and after an error none of them.

    Parameters
    ----------
    folder : path
        Where they go; made where it is not there.
    mode : {"w", "x", "a"}
        Whether what is in the folder is replaced, is an error, or stays, but for files of the
        same names.
    suffix : str
        What the files' names end in.

    Attributes
    ----------
    names : list of str
        The files that were begun, by their path in the folder, with ``/``.

    Raises
    ------
    FileExistsError
        The folder is not empty, and `mode` is "x"; or it is "w", and in the folder is what is no
        file of such a tree.
    NotADirectoryError
        It is a file.
    """

    def __init__(self, folder: PathLike, mode: str = "w", suffix: str = ".parquet") -> None:
        self.names: list[str] = []
        self._shown = os.fspath(folder)
        self._folder = Path(os.path.expanduser(folder))
        self._mode = mode
        self._suffix = suffix
        self._parts: list[tuple[Path, Path]] = []  # the names before, and those of whole files
        self._made: list[Path] = []  # folders
        self._replaced()

    def _replaced(self) -> list[str]:
        # the files that go when the new ones come
        found = list(self._there())
        if self._mode == "a":
            return []
        if self._mode == "x" and found:
            raise FileExistsError(errno.EEXIST, "exists already and is not empty", self._shown)
        for one in found:
            *folders, name = one.split("/")
            own = name.endswith(self._suffix) and folders
            if not (is_temporary(name) or (own and all("=" in folder for folder in folders))):
                raise FileExistsError(
                    errno.EEXIST,
                    f"exists already, and {one} in it is no part of a table in folders: it is not "
                    "replaced",
                    self._shown,
                )
        return found

    def _there(self) -> Iterator[str]:
        # what is in the folder
        if self._folder.exists() and not self._folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file, expected a folder", self._shown)
        if self._mode == "a":
            return
        for root, folders, files in os.walk(self._folder):
            place = Path(root).relative_to(self._folder)
            if self._mode == "x":  # folders without files count too
                files = [*folders, *files]
            yield from ((place / name).as_posix() for name in files)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[IO[bytes]]:
        """
        Write a file.

        Parameters
        ----------
        name : str
            Its path in the folder, with ``/``.

        Yields
        ------
        file
            Open for writing, binary.

        Raises
        ------
        OSError
            It cannot be written.
        """
        path = self._folder / name
        self._make(path.parent)
        part = temporary(path.parent)
        self._parts.append((part, path))
        self.names.append(name)
        with writer(part, "x", path) as file:
            yield file

    def _make(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            one.mkdir(exist_ok=True)
            self._made.append(one)

    def __enter__(self) -> Self:
        self._make(self._folder)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            for part, _ in self._parts:
                with contextlib.suppress(OSError):
                    part.unlink()
            if kind is not None and self._mode != "a":  # where others may be about to write
                for folder in reversed(self._made):
                    with contextlib.suppress(OSError):
                        folder.rmdir()

    def _commit(self) -> None:
        new = {part for part, _ in self._parts}
        there = self._replaced() if self._mode == "w" else []
        old = [path for path in map(self._folder.joinpath, there) if path not in new]
        for path in old:
            path.unlink()
        for part, path in self._parts:
            os.replace(part, path)
        for folder in sorted({path.parent for path in old}, reverse=True):
            while folder != self._folder:
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent


class _SentTree(Tree):
    """A tree elsewhere: temporary files of the system, which are sent when all are whole."""

    def __init__(self, elsewhere: Elsewhere, mode: str, suffix: str) -> None:
        self._elsewhere = elsewhere
        super().__init__(elsewhere.url(), mode, suffix)

    def _there(self) -> Iterator[str]:
        if self._mode != "a":  # which replaces nothing but files of the same names
            yield from self._elsewhere.names()

    def __enter__(self) -> Self:
        import tempfile  # as in _uploaded

        self._temporary = tempfile.TemporaryDirectory(prefix="dbnfast-")
        self._folder = Path(self._temporary.name)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._temporary:
            if kind is None:
                old = self._replaced()
                files = {
                    name: part for name, (part, _) in zip(self.names, self._parts, strict=True)
                }
                self._elsewhere.send(files, set(old))
                self._elsewhere.remove(name for name in old if name not in files)


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
        error.filename, error.filename2 = os.fspath(name), None
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
