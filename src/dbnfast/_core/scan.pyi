from collections.abc import Sequence
from typing import final

from typing_extensions import Buffer

@final
class SizeTable:
    """
    The smallest legal size of every rtype's records.

    Parameters
    ----------
    plain, stamped : sequence of int
        256 sizes in bytes, without and with ts_out.
    """

    def __init__(self, plain: Sequence[int], stamped: Sequence[int]) -> None: ...

def likely_start(data: Buffer, start: int, at: int, sizes: SizeTable, ts_out: bool) -> int:
    """
    Find a place behind `at` where a record seems to begin.

    Parameters
    ----------
    data : bytes-like
        Records of known types, from byte `start` on.
    start, at : int
        Offsets.
    sizes : SizeTable
        The smallest legal sizes.
    ts_out : bool
        Whether every record ends in a ts_out.

    Returns
    -------
    int
        Its offset, -1 where none is found. That a walk from `start` comes by is likely, not
        certain: whoever relies on it has to see it happen.
    """

def check_headers(data: Buffer, size: int, allowed: Buffer) -> int:
    """
    Find the first record of `size` bytes whose length or rtype is not as it should be.

    Parameters
    ----------
    allowed : bytes-like, 256 bytes
        Non-zero for every rtype that may stand there.

    Returns
    -------
    int
        The record's index, -1 where all are right.
    """

def skip(data: Buffer, start: int, n_records: int, sizes: SizeTable, ts_out: bool) -> int:
    """Give the offset behind `n_records` records from byte `start` on."""

def index(data: Buffer, start: int, every: int, out: Buffer, sizes: SizeTable, ts_out: bool) -> int:
    """Write the offsets of records 0, `every`, 2 x `every` and on to int64 `out`; count them."""

def span(data: Buffer, sizes: SizeTable, ts_out: bool, ts_at: Buffer) -> tuple[int, int] | None:
    """
    Find the first and the last index timestamp.

    Parameters
    ----------
    data : bytes-like
        Records.
    sizes : SizeTable
        The smallest legal sizes.
    ts_out : bool
        Whether every record ends in a ts_out.
    ts_at : uint16, shape (256,)
        Where each rtype has its index timestamp.

    Returns
    -------
    first, last : int
        ns since 1970-01-01 UTC, whatever the order; None where no record has one.
    """
