from typing import final

from typing_extensions import Buffer

from dbnfast._core.scan import SizeTable

@final
class Merger:
    """
    Several streams of whole records on their way into one, in the order of time.

    The next record is always that of the lowest timestamp among the heads of the streams; of
    equal ones that of the first stream. For one thread at a time.

    Parameters
    ----------
    n_streams : int
        How many there are.
    sizes : SizeTable
        The smallest legal size of every rtype.
    ts_out : bool
        Whether a ts_out follows every record.
    ts_at : uint16, shape (256,)
        Where each rtype has its timestamp.
    """

    def __init__(self, n_streams: int, sizes: SizeTable, ts_out: bool, ts_at: Buffer) -> None: ...
    def give(self, stream: int, data: Buffer) -> None:
        """
        Give the next records of a stream that has none left; `data` is borrowed until then.

        A stream that is given none has ended.
        """

    def merge(self, out: Buffer, start: int) -> tuple[bool, int, int]:
        """
        Write records to `out` from byte `start` on, until it is full or a stream is used up.

        Returns
        -------
        full : bool
            Whether the next record found no room.
        used : int
            The stream that is used up and waits for more; -1 where none is.
        stop : int
            Behind the last byte written.
        """

def deal(
    data: Buffer, groups: Buffer, places: Buffer, out: Buffer, sizes: SizeTable, ts_out: bool
) -> None:
    """
    Copy every record to its group's part of `out`, in the stream's order.

    Parameters
    ----------
    groups : int32, shape (n_records,)
        The group of each record.
    places : int64, shape (n_groups + 1,)
        Where each group's part begins, and the end of the last.

    Raises
    ------
    ValueError
        The parts were not filled exactly.
    """

def columns(
    data: Buffer,
    n: int,
    sizes: SizeTable,
    ts_out: bool,
    ts_at: Buffer,
    ts: Buffer | None,
    instruments: Buffer | None,
    publishers: Buffer | None,
    rtypes: Buffer | None,
    n_bytes: Buffer | None,
) -> int:
    """
    Write some of what each of the first `n` records says of itself; count them.

    Parameters
    ----------
    ts_at : uint16, shape (256,)
        Where each rtype has the timestamp that is wanted.
    ts, instruments, publishers, rtypes, n_bytes : writable, shape (n,), or None
        The timestamps as uint64, the ids as uint32 and uint16, the rtypes as uint8, and the
        sizes as int64.
    """
