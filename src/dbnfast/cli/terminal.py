"""What the commands share: where input comes from, how values are written, how to complain."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.ranges import Ranged, Windows
from dbnfast._util.urls import masked
from dbnfast.cli.format import printable
from dbnfast.codec.reader import RecordReader
from dbnfast.errors import DbnError, TruncatedError, UnknownNameError
from dbnfast.store.seek import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbnfast.cli.format import Value
    from dbnfast.records.records import Records
    from dbnfast.store.watch import Watch
    from dbnfast.store.zipped import Deflated


STDIN: Final = "-"
HEAD_BYTES: Final = 12  # what tells the kind of a stream
TABLE_CHUNK: Final = 1000  # rows whose widths are found together


def put(line: str) -> None:
    """
    Write a line of data to stdout.

    Parameters
    ----------
    line : str
        Without its line end. What stdout's encoding lacks is escaped.
    """
    try:
        sys.stdout.write(line + "\n")
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def put_heading(text: str) -> None:
    """
    Write a heading to stdout, bold where that is a terminal.

    Parameters
    ----------
    text : str
        The heading.
    """
    if not sys.stdout.isatty():
        put(text)  # rich would end the process where a pipe is closed
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
    console.print(Text(text, style="bold"))


def talk(message: str) -> None:
    """
    Write a line to stderr.

    Parameters
    ----------
    message : str
        What to say; line breaks in it are escaped, and what is secret in URLs is hidden.
    """
    if sys.stderr is not None:  # print would take stdout for it
        with suppress(OSError):  # nobody listens: that is no reason to end what goes on
            print(f"dbnfast: {printable(masked(message))}", file=sys.stderr)


def explain(name: str | None, error: Exception) -> int:
    """
    Write what went wrong to stderr, in one line.

    Parameters
    ----------
    name : str or None
        The input at fault.
    error : Exception
        What went wrong.

    Returns
    -------
    int
        The exit code: 1 for data and files that cannot be read, 2 for a wrong call.
    """
    text = str(error)
    if isinstance(error, UnknownNameError):  # whatever the input is
        talk(text)
        return 2
    if getattr(error, "path", None) is not None:  # says the name
        name = None
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    text = "; ".join([text, *getattr(error, "__notes__", ())])
    talk(text if name is None else f"{name}: {text}")
    return 1 if isinstance(error, DbnError | OSError) else 2


def explain_watch(name: str, watch: Watch) -> int:
    """
    Write to stderr what was not as it was asked for.

    Parameters
    ----------
    name : str
        The input.
    watch : Watch
        What saw its records.

    Returns
    -------
    int
        The exit code: 1 where no record is of the schema.
    """
    for text in watch.said():
        talk(f"{name}: {text}" if watch.is_missing else f"warning: {name}: {text}")
    return int(watch.is_missing)


@dataclass(frozen=True)
class Input:
    """
    An input as the command line names it.

    Attributes
    ----------
    name : str
        A path, or ``-`` for stdin.
    fragment : bool
        Whether it has no metadata.
    version : int or None
        The DBN version, where the caller says it.
    ts_out : bool
        Whether the caller says that records end in a ts_out.
    place : Ranged or Deflated or None
        Where the file is, if it is not at a path.
    error : Exception or None
        Why it cannot be opened, where that is known.
    """

    name: str
    fragment: bool = False
    version: int | None = None
    ts_out: bool = False
    place: Ranged | Deflated | None = None
    error: Exception | None = None

    @property
    def size(self) -> int | None:
        """Bytes of the file; None for stdin, and what is no plain file."""
        if self.place is not None:
            return self.place.size
        try:
            found = os.stat(self.name)
        except OSError:
            return None
        return found.st_size if self.name != STDIN and stat.S_ISREG(found.st_mode) else None

    @contextmanager
    def raw(self, told: Callable[[int], object] | None = None) -> Iterator[Counted]:
        """
        Open the input as it is.

        Parameters
        ----------
        told : callable, optional
            Called with the number of bytes of every read.

        Yields
        ------
        Counted

        Raises
        ------
        OSError
            The input cannot be read.
        """
        if self.name == STDIN:
            if sys.stdin is None:
                raise OSError("standard input is closed")
            yield Counted(sys.stdin.buffer, told)
            return
        if self.error is not None:
            raise self.error
        with io.FileIO(self.name) if self.place is None else self.place.open() as file:
            yield Counted(file, told)

    @contextmanager
    def reading(self) -> Iterator[Callable[[int, int], bytes]]:
        """
        Read here and there in the file.

        Yields
        ------
        callable
            Gives the bytes at a place: ``pread(offset, n)``, fewer at the end.

        Raises
        ------
        OSError
            The input cannot be read.
        """
        if isinstance(self.place, Ranged):
            yield Windows(self.place)
            return
        with io.FileIO(self.name) as file:
            yield reading(file)

    @contextmanager
    def open(
        self, max_bytes: int, told: Callable[[int], object] | None = None, *, log: bool = False
    ) -> Iterator[Opened]:
        """
        Open the input and read its metadata.

        Parameters
        ----------
        max_bytes : int
            The most bytes of records in one block.
        told : callable, optional
            Called with the number of bytes of every read.
        log : bool
            Whether the zstd frames are remembered.

        Yields
        ------
        Opened

        Raises
        ------
        DecodeError
            The metadata is cut or not valid.
        OSError
            The input cannot be read.
        """
        with self.raw(told) as source:
            yield self.decoded(source, max_bytes, log=log)

    def decoded(self, source: Counted, max_bytes: int, *, log: bool = False) -> Opened:
        """
        Read the metadata of an input that is open.

        Parameters
        ----------
        source : Counted
            As `raw` gives it.
        max_bytes : int
            The most bytes of records in one block.
        log : bool
            Whether the zstd frames are remembered.

        Returns
        -------
        Opened

        Raises
        ------
        DecodeError
            The metadata is cut or not valid.
        OSError
            The input cannot be read.
        """
        reader = RecordReader(
            source,  # type: ignore[arg-type]  # has readinto, which is all that is asked
            max_bytes=max_bytes,
            has_metadata=not self.fragment,
            input_version=self.version,
            ts_out=self.ts_out or None,
            on_truncated="raise",
            _log=log,
        )
        return Opened(self.name, source, reader)


class Counted:
    """
    A readable that counts what is read and keeps its beginning.

    Parameters
    ----------
    file : readable
        Has ``readinto``.
    told : callable, optional
        Called with the number of bytes of every read.

    Attributes
    ----------
    n_bytes : int
        Bytes read so far.
    head : bytes
        The first of them.
    """

    def __init__(self, file: Any, told: Callable[[int], object] | None = None) -> None:
        self._file = file
        self._told = told
        self._back = b""
        self.n_bytes = 0
        self.head = b""

    def readinto(self, out: memoryview) -> int | None:
        """
        Read into a buffer.

        Parameters
        ----------
        out : memoryview
            Where to.

        Returns
        -------
        int or None
            How many bytes came.
        """
        if self._back:
            given = min(len(self._back), len(out))
            out[:given] = self._back[:given]
            self._back = self._back[given:]
            return given
        n: int | None = self._file.readinto(out)
        if n:
            self.n_bytes += n
            self.head += bytes(out[: min(n, HEAD_BYTES - len(self.head))])
            if self._told is not None:
                self._told(n)
        return n

    def peek(self, n: int) -> bytes:
        """
        Look at what comes first, without using it up.

        Parameters
        ----------
        n : int
            How many bytes.

        Returns
        -------
        bytes
            Fewer where the input has no more.
        """
        found = bytearray()
        while len(found) < n:
            part = bytearray(n - len(found))
            got = self.readinto(memoryview(part))
            if not got:
                break
            found += part[:got]
        self._back = bytes(found) + self._back
        return bytes(found)

    def seek(self, offset: int) -> None:
        """
        Go on elsewhere.

        Parameters
        ----------
        offset : int
            The byte to read next.
        """
        self._back = b""
        self._file.seek(offset)

    def seekable(self) -> bool:
        """
        Tell whether bytes are there without waiting for somebody to send them.

        Returns
        -------
        bool
        """
        found: bool = self._file.seekable()
        return found

    def fileno(self) -> int:
        """
        Give the file's descriptor.

        Returns
        -------
        int

        Raises
        ------
        OSError
            There is none.
        """
        descriptor: int = self._file.fileno()
        return descriptor


@dataclass(frozen=True)
class Opened:
    """
    An input that is open.

    Attributes
    ----------
    name : str
        As the command line names it.
    source : Counted
        Where its bytes come from.
    reader : RecordReader
        Where its records come from.
    """

    name: str
    source: Counted
    reader: RecordReader

    def blocks(self) -> Iterator[Records]:
        """
        Iterate over the records; a cut at the end is said on stderr.

        Yields
        ------
        Records

        Raises
        ------
        DecodeError
            The stream is damaged.
        """
        try:
            yield from self.reader
        except TruncatedError as error:
            talk(f"warning: {self.name}: {error}")


def cell(value: Value) -> str:
    """
    Write a value for people.

    Parameters
    ----------
    value : str or int or None
        The value.

    Returns
    -------
    str
        Empty for None.
    """
    return "" if value is None else printable(str(value))


def put_table(
    names: Sequence[str], lines: Iterator[Sequence[Value]], left: set[str], indent: str = ""
) -> None:
    """
    Write an aligned table.

    Parameters
    ----------
    names : sequence of str
        The columns.
    lines : iterator of sequences
        The rows.
    left : set of str
        The columns that are aligned to the left.
    indent : str
        What every line begins with.
    """
    widths = [len(name) for name in names]
    chunk: list[list[str]] = [list(names)]

    def flush() -> None:
        for row in chunk:
            widths[:] = map(max, widths, map(len, row))
        for row in chunk:
            texts = (
                text.ljust(width) if name in left else text.rjust(width)
                for name, text, width in zip(names, row, widths, strict=True)
            )
            put((indent + "  ".join(texts)).rstrip())
        chunk.clear()

    for line in lines:
        chunk.append([cell(value) for value in line])
        if len(chunk) == TABLE_CHUNK:
            flush()
    flush()


def put_json(value: object) -> None:
    """
    Write a JSON value as one line.

    Parameters
    ----------
    value : object
        What to write.
    """
    put(json.dumps(value, ensure_ascii=False))
