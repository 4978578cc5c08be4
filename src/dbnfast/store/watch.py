"""Warnings where records are not there, or are not what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dbnfast.codec.damage import warn_caller
from dbnfast.enums import RType, Schema
from dbnfast.errors import SelectionWarning
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.records.filters import rtypes_of
from dbnfast.records.headers import has_rtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dbnfast.records.records import Records

    Counts = Mapping[RType | int, int]


def counted(blocks: Iterable[Records]) -> dict[RType | int, int]:
    """
    Count records by rtype.

    Parameters
    ----------
    blocks : iterable of Records
        The records.

    Returns
    -------
    dict
        By rtype, in the order of these.
    """
    counts: dict[RType | int, int] = {}
    for block in blocks:
        add_counts(counts, block)
    return dict(sorted(counts.items()))


def add_counts(counts: dict[RType | int, int], block: Records) -> None:
    """
    Add the records of a block.

    Parameters
    ----------
    counts : dict
        By rtype, what there was before.
    block : Records
        The block.
    """
    for rtype, n in block.counts.items():
        counts[rtype] = counts.get(rtype, 0) + n


def told(counts: Counts) -> str:
    """
    Say how many records of which types there are.

    Parameters
    ----------
    counts : mapping
        By rtype.

    Returns
    -------
    str
    """
    return ", ".join(f"{n:,} {name_of(rtype)}" for rtype, n in sorted(counts.items()))


def name_of(rtype: RType | int) -> str:
    """
    Give the name of an rtype, that of its schema where that says more.

    Parameters
    ----------
    rtype : RType or int
        The rtype.

    Returns
    -------
    str
    """
    if rtype == RType.TRADES:
        return str(Schema.TRADES)  # a better name than that of an empty book
    return str(rtype) if isinstance(rtype, RType) else f"of rtype {rtype:#04x}"


class Watch:
    """
    What passes by on its way to an output, and a warning where that is not what was asked for.

    Parameters
    ----------
    schema : Schema, RType or str, or a list of them
        What was asked for; any of a list will do.
    own : Schema or None
        The schema of the stream.
    everything : callable, optional
        Gives the records of the stream, where a filter may have left some out.
    """

    def __init__(
        self,
        schema: Any,
        own: Schema | None,
        everything: Callable[[], Iterable[Records]] | None = None,
    ) -> None:
        schemas = schema if isinstance(schema, list) else [schema]
        self._names = ", ".join(
            str(as_rtype(one)[0] or name_of(as_rtype(one)[1])) for one in schemas
        )
        self._rtypes = frozenset[int]().union(*(rtypes_of(one, own) for one in schemas))
        # the rtype alone does not tell tbbo from mbp-1; that each of tbbo is a trade does
        self._is_tbbo = own is None and any(as_rtype(one)[0] == Schema.TBBO for one in schemas)
        self._is_tbbo &= all(as_rtype(one)[0] != Schema.MBP_1 for one in schemas)
        self._n_others = 0
        self._counts: dict[RType | int, int] = {}
        self._everything = everything

    def of(self, blocks: Iterable[Records]) -> Iterator[Records]:
        """
        Look at blocks that pass by.

        Parameters
        ----------
        blocks : iterable of Records
            The blocks.

        Yields
        ------
        Records
            The same.

        Warns
        -----
        SelectionWarning
            At the end.
        """
        for block in blocks:
            self.see(block)
            yield block
        for text in self.said():
            warn_caller(text, SelectionWarning)

    def see(self, block: Records) -> None:
        """
        Look at a block.

        Parameters
        ----------
        block : Records
            The block.
        """
        add_counts(self._counts, block)
        if self._is_tbbo and has_rtype(block, RType.MBP_1):
            actions = block.array(RType.MBP_1)["action"]
            self._n_others += int(np.count_nonzero(actions != b"T"))

    @property
    def is_missing(self) -> bool:
        """Whether there were records, and none of what was asked for."""
        return bool(self._counts) and not self._rtypes & self._counts.keys()

    def said(self) -> list[str]:
        """
        Say at the end what was not as it was asked for.

        Returns
        -------
        list of str
            Empty where all was.
        """
        if self._n_others:
            n = self._counts[RType.MBP_1]
            return [
                f"tbbo was asked for, but {self._n_others:,} of the {n:,} records are no trades: "
                "they are of mbp-1, which has the same rtype"
            ]
        if self._rtypes & self._counts.keys():
            return []
        there = self._counts
        if self._everything is not None:
            there = {}
            for block in self._everything():
                add_counts(there, block)
                if self._rtypes & there.keys():  # other conditions left them out
                    return []
        if not there:
            return []
        return [f"there is no record of {self._names}; there are {told(there)}"]
