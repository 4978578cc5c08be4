from collections.abc import Sequence
from typing import Self, final

from typing_extensions import Buffer

@final
class LinePlan:
    """
    How a line of comma-separated values becomes a record.

    Parameters
    ----------
    blank : bytes
        A record in which everything that no value sets is as it should be.
    columns : sequence of tuple, bytes or None
        What is done with each value of a line. A tuple (kind, at, absent): it is read as
        `parse.fill_column` reads texts, and written to byte `at` of the record; each value has
        bytes of its own there. Bytes: it must be these. None: it is passed over.
    """

    def __new__(
        cls, blank: bytes, columns: Sequence[tuple[int, int, bytes] | bytes | None]
    ) -> Self: ...
    def fill(self, data: Buffer, out: Buffer) -> tuple[int, int, int] | None:
        """
        Make records of lines.

        Parameters
        ----------
        data : bytes-like
            Lines that end in LF or CRLF, the last one maybe in neither. Nothing in them is
            quoted, and no other CR is there. Lines without a character are passed over.
        out : writable bytes-like
            Where the records go, side by side.

        Returns
        -------
        n_records, n_breaks, forms : int, or None
            How many records and line breaks there are, and the forms of prices, as
            `parse.fill_column` gives them. None where a line is longer than 64 KiB or
            has another number of values, a value cannot be read or is not what is expected, or
            `out` is full; what `out` then has is of no use.
        """
