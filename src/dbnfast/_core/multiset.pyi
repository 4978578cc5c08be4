from typing import final

from typing_extensions import Buffer

from dbnfast._core.resume import Clock
from dbnfast._core.run import Run

@final
class Bag:
    """
    A multiset of records, equal where all their bytes but for ts_out are.

    Parameters
    ----------
    clock : Clock
    hash_bits : int
        How much of the hash is used, 0 to 64: records are compared byte by byte in any case.
    """

    def __init__(self, clock: Clock, hash_bits: int = 64) -> None: ...
    @property
    def left(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def add(self, run: Run, least: Buffer) -> int:
        """
        Put in what `resume.since` would copy. The bytes are borrowed, and kept alive.

        Returns
        -------
        int
            How many records.
        """

    def sift(self, run: Run, out: Buffer) -> int:
        """
        Leave out each record that is in the bag, and take it out of there.

        Parameters
        ----------
        out : bytes-like
            As long as the run, or longer; the records that pass are written to it.

        Returns
        -------
        int
            Bytes written; -1 where all pass, and nothing was written.
        """

    def forget(self, rtype: int) -> None:
        """Take out all records of an rtype."""

@final
class Counts:
    """
    How often each record was seen, by a hash of 128 bits of all its bytes but for ts_out.

    Parameters
    ----------
    clock : Clock
    hash_bits : int
        How much of the hash finds a place, 0 to 64; all of it is compared in any case.
    """

    def __init__(self, clock: Clock, hash_bits: int = 64) -> None: ...
    @property
    def n(self) -> int: ...
    @property
    def left(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def add(self, run: Run, rtype: int, least: int) -> None:
        """Count the records of an rtype whose time is `least` or more, or undefined."""

    def sift(self, run: Run, rtype: int, learning: bool, out: Buffer) -> int:
        """
        Leave out each record of an rtype that is left of those counted, one for each.

        Parameters
        ----------
        learning : bool
            Whether those that pass are counted.
        out : bytes-like
            As long as the run, or longer; the records that pass are written to it.

        Returns
        -------
        int
            Bytes written; -1 where all pass, and nothing that matters was written.
        """

    def rewind(self) -> None:
        """Expect every record that was counted, as often as it was."""

    def forget(self) -> None:
        """Expect none any more; what was counted stays so."""
