from collections.abc import Sequence
from typing import Any, Self, TypeVar, final

import numpy as np
from typing_extensions import Buffer, disjoint_base

from dbnfast._core.scan import SizeTable
from dbnfast._typing import SchemaLike

@final
class Owner:
    """
    Bytes that any number of threads may look at: whoever takes a view of them has his own.

    Parameters
    ----------
    source : bytes-like
        Contiguous. It is exported once, for as long as this object or a view of it lives.

    Notes
    -----
    A memoryview that threads share is not enough: free-threaded CPythons up to 3.15 count its
    views without a lock.
    """

    def __new__(cls, source: Buffer) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def source(self) -> Any: ...
    @property
    def constant(self) -> bool:
        """Whether nobody may write to the bytes, not even who made them."""

def owned(source: Any) -> bytes | Owner:
    """Give what runs may keep of a buffer: itself where it is bytes or an Owner, else an Owner."""

@disjoint_base
class Run:
    """A run of whole records in one buffer, and what is needed to see them."""

    @property
    def _owner(self) -> Any: ...
    @property
    def _start(self) -> int: ...
    @property
    def _nbytes(self) -> int: ...
    @property
    def _n(self) -> int: ...
    @property
    def _rtype(self) -> int: ...
    @property
    def _size(self) -> int: ...
    @property
    def _version(self) -> int: ...
    @property
    def _ts_out(self) -> bool: ...
    @property
    def _metadata(self) -> Any: ...
    def array(
        self, schema: SchemaLike | None = None
    ) -> np.ndarray[tuple[int], np.dtype[np.void]]: ...
    _offsets: Any
    @property
    def _seams(self) -> tuple[tuple[int, int, tuple[tuple[int, int, int], ...]], ...] | None: ...
    @property
    def _groups(self) -> tuple[tuple[int, int, int], ...]: ...

_R = TypeVar("_R", bound=Run)

def add_view(rtype: int, size: int, ts_out: bool, dtype: Any) -> None:
    """Tell the dtype of records of `size` bytes that fill their struct exactly."""

def survey_run(
    cls: type[_R],
    owner: Any,
    start: int,
    end: int,
    sizes: SizeTable,
    version: int,
    ts_out: bool,
    metadata: object,
) -> tuple[_R, int]:
    """
    Survey bytes `start` to `end` of `owner` and make the run of the whole records in them.

    Parameters
    ----------
    owner : bytes, or a memoryview or array of bytes
        Kept alive by the run. Its memory must not move while it lives.

    Returns
    -------
    run, status : Run, int
        The status: 0 all whole, 1 a record is cut by the end, 2 a header that cannot be true.
    """

@final
class Survey:
    """
    A survey in parts, each of which may be made by another thread.

    Parameters
    ----------
    owner : bytes, or a memoryview or array of bytes
        As for `survey_run`.
    starts : sequence of int
        Where each part begins, ascending. The first is where a record begins; the others need
        only be likely to be: a part that does not end where the next one begins is followed by
        a survey of all that is left.
    end : int
        Where the last part ends.
    """

    def __new__(
        cls, owner: Any, starts: Sequence[int], end: int, sizes: SizeTable, ts_out: bool
    ) -> Self: ...
    def run(self, index: int) -> None:
        """Survey a part, once, without the GIL."""

    def finish(self, cls: type[_R], version: int, metadata: object) -> tuple[_R, int]:
        """Make the run of all parts, and give the status, as `survey_run` does, once."""

def part_of_run(run: _R, first: int, n: int) -> _R:
    """Make the run of `n` records from record `first` on, all records being alike; no copy."""

def stretch_of_run(run: _R, offset: int) -> _R:
    """
    Make the run of the equal records that begin `offset` bytes behind the first; no copy.

    `offset` must be where a record begins.
    """
