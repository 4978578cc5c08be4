"""What the commands that write share: where output goes, and a bar for what takes long."""

from __future__ import annotations

import errno
import functools
import io
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from dbnfast._util.atomic import check_free, is_special, replacing, writer
from dbnfast._util.buffers import write_all
from dbnfast._util.urls import is_url
from dbnfast.cli.terminal import explain, talk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from dbnfast.cli.terminal import Input

STDOUT: Final = "-"
NAME_OF_STDOUT: Final = "standard output"
PATIENCE: Final = 1.0  # seconds without a bar


@contextmanager
def output(name: str, force: bool) -> Iterator[IO[bytes]]:
    """
    Open what a command writes to.

    Parameters
    ----------
    name : str
        A path, or ``-`` for stdout. A file appears when it is whole.
    force : bool
        Whether an existing file is replaced.

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
    if name != STDOUT:
        with replacing(name, force=force) as file:
            yield file
        return
    file = cast("IO[bytes]", _Stdout())
    yield file
    file.flush()


@contextmanager
def growing(name: str, force: bool) -> Iterator[IO[bytes]]:
    """
    Open what a command writes to as it comes, for hours: what was written stays, come what may.

    Parameters
    ----------
    name : str
        A path, or ``-`` for stdout. A file appears when something is written to it. What is at a
        URL appears when it is whole.
    force : bool
        Whether an existing file is replaced.

    Yields
    ------
    file
        Open for writing, binary, not buffered.

    Raises
    ------
    FileExistsError
        The file is there, and `force` is not given.
    OSError
        It cannot be written.
    """
    target = os.path.expanduser(name)
    if name == STDOUT or is_url(name) or is_special(target):
        with output(name, force) as file:
            yield file
        return
    path = Path(os.path.realpath(target))  # a link stays one, and names the new file
    check_free(path, force, name)
    if not os.access(path.parent, os.W_OK):  # which is told before hours have passed
        number = errno.EACCES if path.parent.exists() else errno.ENOENT
        raise OSError(number, os.strerror(number), name)
    with _Growing(path, "w" if force else "x", name) as file:
        yield cast("IO[bytes]", file)


class _Growing(io.RawIOBase):
    """A file that is opened when something is written to it."""

    def __init__(self, path: Path, mode: str, name: str) -> None:
        self._open = functools.partial(writer, path, mode, name)
        self._file: Any = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._file is None:
            self._file = cast("io.BufferedWriter", self._open()).detach()
        return int(self._file.write(data))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


class _Stdout(io.RawIOBase):
    """Stdout, whose errors say so; it stays open."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        try:
            write_all(sys.stdout.buffer, view)  # is a raw file where Python runs unbuffered
            return len(view)
        except OSError as error:
            error.filename = NAME_OF_STDOUT
            raise

    def flush(self) -> None:
        try:
            sys.stdout.buffer.flush()
        except OSError as error:
            error.filename = NAME_OF_STDOUT
            raise


class Ended(KeyboardInterrupt):
    """
    A signal that ends a command as Ctrl-C does.

    Where KeyboardInterrupt itself leaves code that was made of text, as dataclasses make it, the
    interpreter ends the process by SIGINT in the end, even if it is caught.
    """


@contextmanager
def ended_by_signals() -> Iterator[list[int]]:
    """
    Let SIGTERM and SIGHUP end a command as Ctrl-C does.

    Recordings are closed, and no half of a file stays. A signal that the process was started to
    ignore, as nohup does with SIGHUP, stays ignored.

    Yields
    ------
    list of int
        The signals that came.
    """
    came: list[int] = []

    def end(number: int, frame: object) -> None:
        again = number in came
        came.append(number)
        if number == signal.SIGTERM or not again:  # SIGHUP may come twice for one terminal
            raise Ended

    ours = []
    if threading.current_thread() is threading.main_thread():
        names = ("SIGTERM", "SIGHUP")  # the second one is not everywhere
        known = [getattr(signal, name) for name in names if hasattr(signal, name)]
        # whoever runs the command may have his own way
        ours = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield came
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def blame(name: str | None, error: Exception) -> int:
    """
    Write what went wrong to stderr, under the name of the file where the error knows it.

    Parameters
    ----------
    name : str or None
        The file that is at fault else; None for none.
    error : Exception
        What went wrong.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    OSError
        It is one of stdout, broken pipes among them: these end the command.
    """
    if isinstance(error, BrokenPipeError) or (
        isinstance(error, OSError) and error.filename == NAME_OF_STDOUT
    ):
        raise error
    if isinstance(error, OSError):
        if isinstance(error, FileExistsError) and error.strerror == "exists already":
            error.strerror = "exists already; --force replaces it"  # said where that would help
        if isinstance(error.filename, str):
            name = error.filename
    return explain(name, error)


def plural(n: int, name: str) -> str:
    """
    Write a number of things.

    Parameters
    ----------
    n : int
        How many.
    name : str
        What one of them is called.

    Returns
    -------
    str

    Examples
    --------
    >>> plural(1, "record"), plural(1500, "record")
    ('1 record', '1,500 records')
    """
    return f"{n:,} {name}{'s' * (n != 1)}"


class Progress:
    """
    A bar on stderr for what takes longer than a second; none where that is no terminal.

    Parameters
    ----------
    inputs : iterable of Input
        What is to be read; the bar has no end where the size of one is not known.
    to_stdout : bool
        Whether data goes to stdout: there is no bar where that is the same terminal.
    """

    def __init__(self, inputs: Iterable[Input], to_stdout: bool = False) -> None:
        sizes = [source.size for source in inputs]
        self._total = None if None in sizes else sum(size for size in sizes if size is not None)
        shown = sys.stderr is not None and sys.stderr.isatty()
        self._shown = shown and not (to_stdout and sys.stdout.isatty())
        self._stderr = sys.stderr  # also while somebody else takes what is said
        self._n = 0
        self._start = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def told(self, n: int) -> None:
        """
        Take note of bytes that were read.

        Parameters
        ----------
        n : int
            How many.
        """
        self._n += n
        if not self._shown:
            return
        if self._bar is None and time.monotonic() - self._start > PATIENCE:
            self._begin()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._n)

    def say(self, text: str) -> None:
        """
        Write lines to stderr, above the bar where there is one.

        Parameters
        ----------
        text : str
            The lines, each with its end.
        """
        for line in text.splitlines():
            if self._bar is None:
                talk(line.removeprefix("dbnfast: "))
            else:
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _begin(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(file=self._stderr),
            transient=True,
        )
        self._task = self._bar.add_task("", total=self._total)
        self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class Told:
    """
    What stands for a bar where another process shows it.

    Parameters
    ----------
    told : callable
        Called with the number of bytes of every read.

    Attributes
    ----------
    told : callable
        As given.
    """

    def __init__(self, told: Callable[[int], object]) -> None:
        self.told = told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass
