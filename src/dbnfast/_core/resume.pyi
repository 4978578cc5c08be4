from typing import final

from typing_extensions import Buffer

from dbnfast._core.run import Run
from dbnfast._core.scan import SizeTable

@final
class Clock:
    """
    Where the records of each rtype have their time, and which do not count.

    Parameters
    ----------
    sizes : SizeTable
        The smallest legal size of every rtype.
    ts_at : uint16, shape (256,)
        Where each rtype has its time, in ns since 1970-01-01 UTC; 2**64 - 1 is undefined.
    pass_at : uint16, shape (256,)
        Where each rtype has a byte of flags.
    pass_bits : uint8, shape (256,)
        A record that has one of these flags does not count.

    Raises
    ------
    ValueError
        A table is not of 256 entries, or a place is not in every legal record.
    """

    def __init__(
        self, sizes: SizeTable, ts_at: Buffer, pass_at: Buffer, pass_bits: Buffer
    ) -> None: ...

def peaks(run: Run, clock: Clock) -> tuple[tuple[int, int, int], ...]:
    """
    Find the highest time of each rtype.

    Returns
    -------
    tuple of (rtype, top, state)
        In the order in which the rtypes come. `top` is 0 where no record that counts has a
        time; `state` has bit 1 where some have, 2 where some that count have none, 4 where some
        do not count.
    """

def since(run: Run, clock: Clock, least: Buffer, out: Buffer) -> int:
    """
    Copy the records that count and whose time is not below that of their rtype.

    Parameters
    ----------
    least : uint64, shape (256,)
        The lowest time by rtype; 2**64 - 1 for none at all. An undefined time is the highest.
    out : bytes-like
        As long as the run, or longer.

    Returns
    -------
    int
        Bytes written.
    """

@final
class IdPeaks:
    """
    The highest time of each instrument.

    Parameters
    ----------
    clock : Clock
    """

    def __init__(self, clock: Clock) -> None: ...
    @property
    def n(self) -> int: ...
    def update(self, run: Run, rtype: int) -> None:
        """Look at the records of an rtype."""

    def fill(self, ids: Buffer, tops: Buffer) -> None:
        """Write the `n` instruments' ids, uint32, and highest times, uint64, in any order."""
