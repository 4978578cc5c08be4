"""Folders of files that appear together, when all of them are whole."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from dbnfast._util.arguments import as_path
from dbnfast._util.atomic import is_temporary, put, temporary, writer
from dbnfast._util.urls import asked, filesystem_of, is_local, is_url, named_on

if TYPE_CHECKING:
    from typing import Self

    from dbnfast._typing import PathLike

AT_A_TIME: Final = 8  # files that are sent to object storage, or removed there
SMALL: Final = 8 << 20  # bytes of such a file; of a larger one several pieces are sent at a time


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
        return Path(as_path("path", target))
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
            asked(self.url(name), lambda: put(self._fs, files[name], path))

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
        self._folder = Path(as_path("folder", folder))
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
        done = False
        try:
            if kind is None:
                self._commit()
                done = True
        finally:
            for part, _ in self._parts:
                with contextlib.suppress(OSError):
                    part.unlink()
            if not done and self._mode != "a":  # where others may be about to write
                for folder in reversed(self._made):
                    with contextlib.suppress(OSError):
                        folder.rmdir()

    def _commit(self) -> None:
        # Old files go aside, new ones take their places; after an error all go back.
        new = {part for part, _ in self._parts}
        there = map(self._folder.joinpath, self._replaced() if self._mode == "w" else [])
        old = [path for path in there if path not in new]
        old += {path for _, path in self._parts if path.exists()}.difference(old)
        aside = [(path, temporary(path.parent)) for path in old]
        moved: list[tuple[Path, Path]] = []
        try:
            for before, after in aside + self._parts:
                os.replace(before, after)
                moved.append((before, after))
        except BaseException:
            for before, after in reversed(moved):
                with contextlib.suppress(OSError):  # the error before is the one to tell
                    os.replace(after, before)
            raise
        for _, path in aside:
            with contextlib.suppress(OSError):  # under such a name it is in nobody's way
                path.unlink()
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
        import tempfile  # what it brings along nothing else needs

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
