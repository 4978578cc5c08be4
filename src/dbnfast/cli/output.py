"""What the commands share: where input comes from, how values are written, how to complain."""

from __future__ import annotations

import io
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dbnfast.cli.values import printable
from dbnfast.errors import DbnError, TruncatedError
from dbnfast.reader import RecordReader, iter_decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbnfast.cli.values import Value
    from dbnfast.records import Records


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
        What to say; line breaks in it are escaped.
    """
    print(f"dbnfast: {printable(message)}", file=sys.stderr)


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
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    talk(text if name is None else f"{name}: {text}")
    return 1 if isinstance(error, DbnError | OSError) else 2


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
    """

    name: str
    fragment: bool = False
    version: int | None = None
    ts_out: bool = False

    @contextmanager
    def open(self, max_bytes: int) -> Iterator[Opened]:
        """
        Open the input and read its metadata.

        Parameters
        ----------
        max_bytes : int
            The most bytes of records in one block.

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
        if self.name == STDIN:
            if sys.stdin is None:
                raise OSError("standard input is closed")
            yield self._opened(Counted(sys.stdin.buffer), max_bytes)
            return
        with io.FileIO(self.name) as file:
            yield self._opened(Counted(file), max_bytes)

    def _opened(self, source: Counted, max_bytes: int) -> Opened:
        reader = iter_decode(
            source,  # type: ignore[arg-type]  # has readinto, which is all that is asked
            max_bytes=max_bytes,
            has_metadata=not self.fragment,
            input_version=self.version,
            ts_out=self.ts_out or None,
            on_truncated="raise",
        )
        return Opened(self.name, source, reader)


class Counted:
    """
    A readable that counts what is read and keeps its beginning.

    Parameters
    ----------
    file : readable
        Has ``readinto``.

    Attributes
    ----------
    n_bytes : int
        Bytes read so far.
    head : bytes
        The first of them.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
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
        n: int | None = self._file.readinto(out)
        if n:
            self.n_bytes += n
            self.head += bytes(out[: min(n, HEAD_BYTES - len(self.head))])
        return n


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
