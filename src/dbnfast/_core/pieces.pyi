from typing import Any

from typing_extensions import Buffer, disjoint_base

from dbnfast._core.record import RecordTable
from dbnfast._core.scan import SizeTable

@disjoint_base
class Pieces:
    """
    Small pieces of a plain stream, until somebody wants what is in them.

    Where `_direct` is not set, `_write_other` of the subclass does the work.
    """

    _direct: bool
    def _collect(
        self, table: RecordTable, sizes: SizeTable, ts_out: bool, upgrade: bool, limit: int = 0
    ) -> None:
        """
        Begin to hold pieces, the first of which begins with a record.

        Parameters
        ----------
        upgrade : bool
            Whether objects of older layouts are upgraded to version 3.
        limit : int
            From how many bytes on, or once a header cannot be true, `write` calls
            `_write_other`, with no bytes; 0 for never, and headers are not looked at.
        """
    def write(self, bytes: Buffer) -> None: ...
    @property
    def _rest(self) -> bytes:
        """The bytes that are held and not known to be whole records."""
    @property
    def _fault(self) -> bool:
        """Whether a header that cannot be true was seen."""
    @property
    def _n_bytes(self) -> int:
        """Bytes of the records that became objects."""
    @property
    def _n_records(self) -> int: ...
    def _take(self, whole: bool) -> bytes:
        """Take out the bytes that are held, or of these the whole records."""

class Objects(Pieces):
    """Pieces that become objects; where `_direct` is not set, `_decode_other` does the work."""

    def decode(self) -> list[Any]: ...
