"""Where text comes from, cut into pieces of whole lines, and the iterator over what they hold."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any, Final

from dbnfast._util.arguments import as_int
from dbnfast._util.buffers import as_bytes
from dbnfast._util.urls import is_url, masked
from dbnfast.codec import compression
from dbnfast.codec.damage import interrupted, name_file
from dbnfast.codec.options import open_raw
from dbnfast.codec.sniff import N_SEEN, binary
from dbnfast.errors import DecodeError, DecompressionError, InvalidRecordError, TruncatedError
from dbnfast.text.parse import make_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from typing_extensions import Buffer

    from dbnfast._typing import Bytes, PathLike
    from dbnfast.records.records import Records
    from dbnfast.text.parse import TextParser

    TextInput = PathLike | Buffer | IO[bytes] | IO[str]

PIECE: Final = 128 << 10  # text that is read at a time: what is made of it stays in the cache
MAX_LINE: Final = 16 << 20
NEAR: Final = 4 << 10  # bytes: most lines are shorter


class _Memory:
    """Bytes in memory, read piece by piece without a copy of the whole."""

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def read(self, n: int) -> memoryview:
        """Give the next bytes, up to the end of a line if there is one near the last of them."""
        if n < len(self._view):
            near = max(n - NEAR, 0)
            end = bytes(self._view[near:n]).rfind(b"\n") + 1
            n = near + end if end else n  # whole lines need not be put together
        piece, self._view = self._view[:n], self._view[n:]
        return piece


def _check_text(head: bytes, kind: str = "none") -> None:
    if kind == "dbz" or head[:3] == b"DBN":
        raise DecodeError("this is a DBN stream, no text; scan() decodes it", offset=0)
    found = binary(head)
    if found is not None:
        raise DecodeError(f"expected text at byte 0, found {head[:3]!r}: {found}", offset=0)


class TextSource:
    """
    Where text comes from: a path, memory or a readable, decompressed where it is compressed.

    Parameters
    ----------
    source : path, bytes-like or readable
        As `from_json` takes it.
    piece_size : int
        The most bytes to read at a time.

    Attributes
    ----------
    path : path-like or None
        The file, where it is one.
    """

    def __init__(self, source: TextInput, piece_size: int) -> None:
        self._piece_size = piece_size
        self.path: PathLike | None = None
        self._file: Any = source
        if isinstance(source, str | os.PathLike):
            self._file = open_raw(source)
            self.path = masked(str(source)) if is_url(source) else source
        elif not hasattr(source, "read"):
            try:
                self._file = _Memory(as_bytes(source))
            except TypeError:
                name = type(source).__name__
                raise TypeError(f"{name} is no path, bytes-like or readable") from None
        self._head: bytes | None = None
        self._inflater: compression.Inflater | None = None
        self._ended = False

    def read(self) -> bytes:
        """
        Give the next bytes of text.

        Returns
        -------
        bytes
            Empty at the end.

        Raises
        ------
        TruncatedError
            The end cuts a zstd frame.
        DecompressionError
            The compressed data is damaged.
        OSError
            The source cannot be read.
        """
        if self._head is None:
            self._begin()
        head, self._head = self._head, b""
        return head or (self._raw() if self._inflater is None else self._inflated(self._inflater))

    def _inflated(self, inflater: compression.Inflater) -> bytes:
        while True:
            text = inflater.pull(self._piece_size)
            if text:
                return text
            raw = self._raw()
            if raw:
                inflater.push(raw)
                continue
            if inflater.in_frame:
                at = inflater.frame_at
                raise TruncatedError(f"the zstd frame at compressed byte {at} is cut")
            return b""

    def _begin(self) -> None:
        head = self._raw()
        while len(head) < 12 and (more := self._raw()):
            head += more
        kind = compression.detect(head[:12])
        _check_text(head, kind)
        if kind == "zstd":
            self._inflater = compression.Inflater()
            self._inflater.push(head)
            head = self._inflated(self._inflater)
            while len(head) < N_SEEN and (more := self._inflated(self._inflater)):
                head += more
            _check_text(head)
        self._head = head

    def _raw(self) -> bytes:
        if self._ended:
            return b""
        data = self._file.read(self._piece_size)
        if data is None:
            raise BlockingIOError("the stream is non-blocking and has no bytes ready")
        self._ended = not data
        return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)

    def close(self) -> None:
        """Close the file, where it was opened here."""
        if self.path is not None:
            self._file.close()


class _Cutter:
    """Cuts text into pieces of whole lines; a line break inside quotes ends none."""

    def __init__(self, quotes: bool) -> None:
        self._quotes = quotes
        self._open = False  # whether the bytes held end inside quotes
        self._held: list[bytes] = []
        self.n_held = 0

    def cut(self, text: bytes) -> bytes:
        """Take text; give what is held of whole lines, maybe nothing."""
        end = self._last_end(text)
        if end == 0:
            self._held.append(text)
            self.n_held += len(text)
            return b""
        if end == len(text) and not self.n_held:
            return text
        whole = b"".join((*self._held, memoryview(text)[:end]))
        self._held = [text[end:]]
        self.n_held = len(text) - end
        return whole

    def rest(self) -> bytes:
        """Give what is held when nothing more comes."""
        whole, self._held, self.n_held = b"".join(self._held), [], 0
        return whole

    def _last_end(self, text: bytes) -> int:
        # behind the last line break outside of quotes; a doubled quote counts as none by itself
        at = text.rfind(b"\n")
        if not self._quotes:
            return at + 1
        if b'"' not in text:
            return 0 if self._open else at + 1
        behind = text.count(b'"', at + 1) % 2 == 1
        is_open = self._open ^ (text.count(b'"') % 2 == 1)
        self._open = is_open
        while at >= 0 and is_open != behind:
            before = text.rfind(b"\n", 0, at)
            behind ^= text.count(b'"', before + 1, at) % 2 == 1
            at = before
        return at + 1


class TextReader:
    """
    An iterator of Records over text of any size; a context manager.

    Made by `iter_json` and `iter_csv`.

    Parameters
    ----------
    source : path, bytes-like or readable
        The text.
    parser : TextParser
        What reads it.
    max_bytes : int, optional
        About how much text goes into one step; None for all of it.
    """

    def __init__(self, source: TextInput, parser: TextParser, max_bytes: int | None) -> None:
        if max_bytes is not None and as_int("max_bytes", max_bytes) < 1:
            raise ValueError(f"max_bytes is {max_bytes}, expected 1 or more")
        self._parser = parser
        self._cutter = _Cutter(parser.quotes)
        self._max_bytes = max_bytes
        self._error: Exception | None = None
        self._done = False
        self._source = TextSource(source, PIECE if max_bytes is None else min(max_bytes, PIECE))

    def __iter__(self) -> Iterator[Records]:
        return self

    def __next__(self) -> Records:
        """
        Give the next records.

        Returns
        -------
        Records
            Of about `max_bytes` bytes of text, in a block of their own.

        Raises
        ------
        DecodeError
            A line cannot be read; everything before was given. Every later call raises it again.
        """
        while True:
            if self._error is not None:
                self._source.close()
                raise self._error.with_traceback(None)  # or it would grow with every call
            if self._done:
                raise StopIteration
            records = self.step()
            if len(records):
                return records

    def step(self) -> Records:
        """
        Read on.

        Returns
        -------
        Records
            None of them where an error is waiting, or nothing is left.
        """
        blocks: list[Bytes] = []
        n_text = 0
        while self._error is None and not self._done:
            if self._max_bytes is not None and n_text >= self._max_bytes:
                break
            try:
                piece = self._next_piece()
                if piece:
                    n_text += len(piece)
                    block, self._error = self._parser.parse(piece)
                    blocks.append(block)
            except Exception as error:
                self._error = error  # a line that damage cuts is lost with it
            except BaseException:
                self._error = interrupted()
                raise
        if self._error is not None and self._source.path is not None:
            name_file(self._error, self._source.path)
        return make_records(blocks, self._parser.target)

    def _next_piece(self) -> bytes:
        while True:
            text = self._source.read()
            if not text:
                self._done = True
                self._source.close()
                return self._cutter.rest()
            piece = self._cutter.cut(text)
            if piece:
                return piece
            if self._cutter.n_held > MAX_LINE:
                line, offset = self._parser.line, self._parser.offset
                raise InvalidRecordError(
                    f"line {line} at byte {offset}: does not end within {MAX_LINE} bytes",
                    offset=offset,
                    record_index=self._parser.n,
                )

    def close(self) -> None:
        """Close the file, where it was opened here; the iteration ends."""
        self._done, self._error = True, None
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read_all(self) -> Records:
        """
        Read everything.

        Returns
        -------
        Records

        Raises
        ------
        DecodeError
            A line cannot be read; ``.good`` has the records before it.
        """
        with self:
            records = self.step()
            if self._error is not None:
                error = self._error
                if isinstance(error, InvalidRecordError | TruncatedError | DecompressionError):
                    error.good = records
                raise error
        return records
