from collections.abc import Iterable, Sequence
from typing import final

from typing_extensions import Buffer

from dbnfast._core.scan import SizeTable

@final
class Program:
    """
    How a record of one layout becomes one of a newer layout.

    Parameters
    ----------
    source_size : int
        Bytes of a record before, without ts_out.
    template : bytes
        The new record before anything is moved in, without ts_out.
    moves : iterable of (to, source, n_bytes)
        What is copied; all lie inside the two records.
    widen : (to, source, undef_from, undef_to), optional
        An int32 that becomes an int64, with its undefined value.
    code : (at, text_at, n_text, rules), optional
        A byte that the text implies: rules are (head, tail, whole, code), tried in order.
    """

    def __init__(
        self,
        source_size: int,
        template: bytes,
        moves: Iterable[tuple[int, int, int]],
        widen: tuple[int, int, int, int] | None = None,
        code: tuple[int, int, int, Sequence[tuple[bytes, bytes, bool, int]]] | None = None,
    ) -> None: ...
    @staticmethod
    def _check(at: int, n_bytes: int, size: int) -> None: ...

@final
class Plan:
    """
    Where the records of a mixed stream go.

    Parameters
    ----------
    routes : iterable of (rtype, size, slot, n_bytes, program)
        Records of this rtype and size go to output `slot` as `n_bytes` bytes, through the
        program where one is given, else their first bytes as they are.
    outputs : sequence of writable bytes-like
        Filled from the start, in the order of the stream.
    ts_out : bool
        Whether a ts_out follows every record.
    """

    def __init__(
        self,
        routes: Iterable[tuple[int, int, int, int, Program | None]],
        outputs: Sequence[Buffer],
        ts_out: bool,
    ) -> None: ...

def upgrade(data: Buffer, stride: int, program: Program, out: Buffer, ts_out: bool) -> None:
    """Upgrade records of one layout that stand `stride` bytes apart, into `out`, packed."""

def fill(data: Buffer, plan: Plan, sizes: SizeTable, ts_out: bool) -> None:
    """
    Send every record of `data` where the plan says; others are passed over.

    Raises
    ------
    ValueError
        An output was not filled exactly.
    """

def select(
    data: Buffer,
    out: Buffer,
    sizes: SizeTable,
    ts_out: bool,
    rtypes: Buffer,
    ts_at: Buffer,
    by_time: bool,
    start: int,
    end: int,
    instruments: Buffer | None,
    publishers: Buffer | None,
) -> tuple[int, int, int, int, int]:
    """
    Copy the records that pass a filter, and check every header on the way.

    Parameters
    ----------
    rtypes : bytes-like, 256 bytes
        0 for every rtype that does not pass, 1 for those that pass where all else does, 2 for
        those that pass in any case.
    ts_at : uint16, shape (256,)
        Where each rtype has its index timestamp.
    by_time : bool
        Whether the index timestamp counts; an undefined one then never passes.
    start, end : int
        Half-open range of the index timestamp, ns.
    instruments, publishers : uint32 or None
        Sorted ids that pass; None passes all.

    Returns
    -------
    n_records, n_bytes : int
        What passed.
    n_seen, stop : int
        The records that were looked at, and the bytes that they cover.
    status : int
        How the walk ended, as `run.survey_run` says it.
    """
