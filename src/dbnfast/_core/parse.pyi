from collections.abc import Collection
from typing import Any, Final

from typing_extensions import Buffer

KINDS: Final[tuple[str, ...]]
REASONS: Final[tuple[str, ...]]

def fill_column(
    kind: int,
    values: Collection[Any],
    latin: bool,
    out: Buffer,
    stride: int,
    at: int,
    absent: bytes,
) -> tuple[int, int, int]:
    """
    Write values into one field of records that stand side by side.

    Parameters
    ----------
    kind : int
        Index in `KINDS`: how values are read.
    values : list or tuple
        One for each record: a str, an int of 64 bits, or None. Prices are read in units of
        1e-9: digits alone are such units, digits with a point or an exponent are not. Times are
        ns, or dates and times of UTC.
    latin : bool
        Whether the characters of texts stand for bytes; else texts are written as UTF-8.
    out : writable bytes-like, shape (n * stride,)
        The records.
    stride : int
        Bytes of a record.
    at : int
        Where the field begins in each.
    absent : bytes
        What None and an empty text become; as long as the field.

    Returns
    -------
    index, reason, forms : int
        The first value that cannot be written, and the index in `REASONS` of why; -1 and 0
        where all were. The forms of the prices among those that were: 1 where some have a point
        or an exponent, 2 where some are other digits than 0, 3 where both are there.

    Raises
    ------
    ValueError
        The field lies outside the record, or the sizes do not agree.
    """

def scatter(rows: Buffer, size: int, starts: Buffer, out: Buffer) -> None:
    """
    Copy records of `size` bytes that stand side by side to places of their own.

    Parameters
    ----------
    rows : bytes-like, shape (n * size,)
        The records.
    size : int
        Bytes of each.
    starts : int64, shape (n,)
        Where in `out` each goes.
    out : writable bytes-like
        Written at these places alone.

    Raises
    ------
    ValueError
        A place lies outside `out`, or the sizes do not agree.
    """
