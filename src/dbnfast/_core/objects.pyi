from collections.abc import Iterable, Sequence
from typing import Any, Final, Self, final

from typing_extensions import Buffer

PLACES: Final[tuple[str, ...]]
USES: Final[tuple[str, ...]]

@final
class ObjectProgram:
    """
    How a JSON object becomes a record of one code.

    Parameters
    ----------
    code : int
        Of the record; -1 for a program that makes no records, to find out the code of a line.
    blank : bytes
        A record in which everything that no value sets is as it should be.
    keys : sequence of tuple
        The names that objects may have, in the order in which they usually come: (name, place,
        use, slot, bits, against, solid, swap). `place` is an index in `PLACES`: the object of the
        line, its header, or one of its levels. `use` is an index in `USES`. A value that is
        written has a slot (kind, at, absent): it is read as `parse.fill_column` reads texts and
        numbers, and written to byte `at`, in levels to that of the level. A swap (number,
        instead) are the bytes of a number without quotes, and what is written for it. A key sets
        `bits`, unless it is solid and its value null or empty, and may not come when bits
        of `against` are set.
    n_levels : int
        How many levels there may be.
    stride : int
        Bytes from one level to the next.
    needs : int
        Bits that must be set at the end of a line.
    """

    def __new__(
        cls,
        code: int,
        blank: bytes,
        keys: Iterable[Sequence[Any]],
        n_levels: int = 0,
        stride: int = 0,
        needs: int = 0,
    ) -> Self: ...

@final
class ObjectPlan:
    """
    How lines of JSON objects become records.

    Parameters
    ----------
    programs : sequence of ObjectProgram
        One for each code that lines may have.
    bare : ObjectProgram
        Finds out the code.
    default : int
        The code of lines that do not say theirs; -1 if all must.
    """

    def __new__(
        cls, programs: Iterable[ObjectProgram], bare: ObjectProgram, default: int = -1
    ) -> Self: ...
    def fill(self, data: Buffer, out: Buffer) -> tuple[int, int, int] | None:
        """
        Make records of lines.

        Parameters
        ----------
        data : bytes-like
            Lines; those that are blank are passed over.
        out : writable bytes-like
            Where the records go, one behind the other.

        Returns
        -------
        n_records, n_breaks, n_bytes : int, or None
            How many records and line breaks there are, and the bytes of the records; -1, 0 and 0
            if they do not fit into `out`. None if a line is nothing usual: no object, an object
            that is not valid JSON or says a thing twice, a value that cannot be read, a code
            without a program. What `out` then has is of no use.
        """
