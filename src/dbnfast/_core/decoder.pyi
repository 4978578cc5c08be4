from typing import Any

from typing_extensions import Buffer, disjoint_base

from dbnfast._core.run import Run
from dbnfast._core.scan import SizeTable
from dbnfast.records.records import Records

@disjoint_base
class Feed:
    """
    Bytes in, runs of whole records out: the buffers and the hot path of the Decoder.

    Until `_start` bytes are only held, for whoever reads the metadata. A header that cannot be
    true ends the feed: `_fault` says so, and what is fed later is ignored.
    """

    _direct: bool
    def _set_up(self, cls: type[Run], sizes: SizeTable) -> None:
        """Tell the class of the runs and the sizes of records, once."""
    def _take_back(self) -> None:
        """Take back what was lent: what was written there was taken elsewhere."""
    def _forget(self) -> None:
        """Drop what is held: it was taken elsewhere."""
    def feed(self, data: Buffer) -> None: ...
    def read(self) -> list[Records]: ...
    @property
    def _offset(self) -> int: ...
    @property
    def _n_records(self) -> int: ...
    @property
    def _fault(self) -> tuple[int, int] | None: ...
    @property
    def _held(self) -> memoryview | None: ...
    @property
    def _tail(self) -> memoryview: ...
    @property
    def _waiting(self) -> int: ...
    def _start(self, version: int, ts_out: bool, metadata: Any, consumed: int) -> None: ...
    def _settle_version(self, version: int) -> None: ...
    def _advance(self, n_bytes: int, n_records: int = 0) -> None: ...
    def _borrow(self, data: bytes, start: int = 0) -> None:
        """Take records from `data`, which is borrowed; a record cut by its end is joined."""
    def _write(self, data: Buffer) -> None:
        """Take bytes by copying them into the block."""
    def _lend(self, size_hint: int) -> memoryview:
        """
        Give the free space of the block to write to; never empty.

        The block is not replaced before `_commit`.
        """
    def _commit(self, n_bytes: int) -> None:
        """
        Take the first `n_bytes` bytes of what was lent.

        Raises
        ------
        ValueError
            Nothing was lent, or less than `n_bytes`.
        """
    def _drain(self) -> list[Records]:
        """Hand out the runs that are whole, in the stream's order."""
