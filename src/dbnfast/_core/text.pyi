from collections.abc import Iterable, Sequence
from typing import final

from typing_extensions import Buffer

from dbnfast._core.scan import SizeTable

@final
class TextStyle:
    """
    How values are written in one format.

    Parameters
    ----------
    null : bytes
        What stands for undefined prices and times, up to 8 bytes.
    quote : bool
        Whether prices and times stand in quotes.
    wrap : bool
        Whether every text stands in quotes; else only one with a special byte.
    chars, raws : sequence of bytes
        What each of the 256 bytes is as a "char" or "raw" field, up to 8 bytes.
    escapes : sequence of bytes
        What each of the 256 bytes is inside a text with a special byte, up to 8 bytes.
    special : bytes-like, 256 bytes
        Non-zero for bytes that make a text need its escapes.
    """

    def __init__(
        self,
        null: bytes,
        quote: bool,
        wrap: bool,
        chars: Iterable[bytes],
        raws: Iterable[bytes],
        escapes: Iterable[bytes],
        special: Buffer,
    ) -> None: ...

@final
class TextProgram:
    """
    How a record of one layout and size becomes a row.

    Parameters
    ----------
    size : int
        Bytes of a record, ts_out included.
    ops : iterable of (literal, kind, offset, n_bytes)
        Each writes its literal, of up to 56 bytes, and then the value of `n_bytes` bytes at
        `offset`. Kinds are "u1" to "u8" and "i1" to "i8" (integers), "price" (int64 in 1e-9,
        undefined at its maximum), "time" (uint64 ns since 1970-01-01 UTC, undefined at 0 and
        its maximum), "char" and "raw" (one byte), "text" (NUL-padded), "symbol" (0 bytes, at
        most once) and "" (the literal alone).
    style : TextStyle
        How values are written.
    """

    def __init__(
        self, size: int, ops: Iterable[tuple[bytes, str, int, int]], style: TextStyle
    ) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def longest(self) -> int: ...

@final
class TextPlan:
    """
    Which program writes the records of which rtype and size.

    Parameters
    ----------
    routes : iterable of (rtype, program)
        Records of this rtype and of the program's size; others are passed over.
    """

    def __init__(self, routes: Iterable[tuple[int, TextProgram]]) -> None: ...
    @property
    def longest(self) -> int: ...

@final
class Symbols:
    """
    The texts of symbol codes, ready to be copied.

    Parameters
    ----------
    texts : sequence of bytes
        The first is for code -1, the next for code 0 and so on; as the format has them.
    """

    def __init__(self, texts: Sequence[bytes]) -> None: ...
    @property
    def n(self) -> int: ...
    @property
    def longest(self) -> int: ...

def write_rows(
    data: Buffer,
    start: int,
    end: int,
    plan: TextPlan,
    sizes: SizeTable,
    ts_out: bool,
    codes: Buffer | None,
    first: int,
    symbols: Symbols,
    out: Buffer,
) -> tuple[int, int, int, int, int]:
    """
    Write the records of bytes `start` to `end` as rows.

    Parameters
    ----------
    codes : int32, shape (n,), or None
        The symbol code of each record of `data`; None for -1 everywhere.
    first : int
        Which record begins at `start`.
    out : writable bytes-like
        Written from its beginning. Bytes behind what is said to be written may change too.

    Returns
    -------
    status : int
        0 all is written, 1 a record is cut by `end`, 2 a header that cannot be true, 4 `out`
        may not hold one more row, 5 a record has no symbol code, or one without a text.
    stop : int
        The offset in `data` behind the last record that was walked.
    n_bytes : int
        Bytes written to `out`.
    n_records, n_rows : int
        Records walked, and rows written.
    """
