from collections.abc import Iterable
from typing import final

from typing_extensions import Buffer

@final
class ColumnPlan:
    """
    Which columns are made of records of one layout.

    Parameters
    ----------
    size : int
        Bytes of a record.
    n_rows : int
        Number of records.
    specs : iterable of (kind, offset, width, output, undef)
        A column each: how it is made (see `convert.columns`), the field's place and width in
        the record, a writable block of exactly the bytes it makes, and the undefined value as
        an unsigned integer of that width, 0 where the kind needs none.
    """

    n_rows: int

    def __init__(
        self, size: int, n_rows: int, specs: Iterable[tuple[int, int, int, Buffer, int]]
    ) -> None: ...
    def run(self, data: Buffer, first: int, last: int) -> list[int]:
        """
        Make rows of every column, without the GIL.

        Parameters
        ----------
        data : bytes-like
            All records, `n_rows` of them.
        first, last : int
            The rows; `first` is a multiple of 64, so that threads may share a plan.

        Returns
        -------
        list of int
            For every column how many nulls were marked.
        """

def text_offsets(data: Buffer, size: int, source: int, width: int, out: Buffer) -> bool:
    """
    Write where each row's NUL-padded text begins and ends, one behind the other.

    Parameters
    ----------
    data : bytes-like
        Records of `size` bytes.
    size, source, width : int
        Bytes of a record; the field's place and width.
    out : writable buffer of int64
        One more than there are rows.

    Returns
    -------
    bool
        Whether any byte is not ASCII.
    """

def text_bytes(
    data: Buffer, size: int, source: int, width: int, offsets: Buffer, out: Buffer
) -> None:
    """
    Copy each row's text to its place.

    Parameters
    ----------
    data : bytes-like
        Records of `size` bytes.
    size, source, width : int
        Bytes of a record; the field's place and width.
    offsets : buffer of int64
        As `text_offsets` wrote them.
    out : writable bytes-like
        As long as the last offset says.
    """

def label_sizes(codes: Buffer, starts: Buffer, first: int, last: int) -> tuple[int, int]:
    """
    Add up the labels of rows, without the GIL.

    Parameters
    ----------
    codes : buffer of int32
        The label of each row; negative for none.
    starts : buffer of int64
        Where the labels begin and end in their bytes, one more than there are labels.
    first, last : int
        The rows; threads may have different ones.

    Returns
    -------
    n_bytes, n_null : int
        Bytes of their labels, and rows without one.
    """

def label_offsets(
    codes: Buffer, starts: Buffer, first: int, last: int, at: int, out: Buffer
) -> None:
    """
    Write where the labels of rows begin and end, one behind the other, without the GIL.

    Parameters
    ----------
    codes : buffer of int32
        The label of each row; negative for none.
    starts : buffer of int64
        Where the labels begin and end in their bytes, one more than there are labels.
    first, last : int
        The rows; threads may have different ones.
    at : int
        Where the first of them begins.
    out : writable buffer of int64
        One more than there are rows; `first` to `last` are written, both included.
    """

def label_bytes(
    codes: Buffer,
    starts: Buffer,
    labels: Buffer,
    offsets: Buffer,
    first: int,
    last: int,
    out: Buffer,
) -> None:
    """
    Copy the labels of rows to their places, without the GIL.

    Parameters
    ----------
    codes : buffer of int32
        The label of each row; negative for none.
    starts : buffer of int64
        Where the labels begin and end in their bytes.
    labels : bytes-like
        The labels' bytes, and 16 more that are never used.
    offsets : buffer of int64
        As `label_offsets` wrote them.
    first, last : int
        The rows; threads may have different ones.
    out : writable bytes-like
        As long as the last offset says.
    """
