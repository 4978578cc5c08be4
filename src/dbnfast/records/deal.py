"""Records dealt out to groups: by day, symbol, or whatever numbers them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from dbnfast._core.merge import deal
from dbnfast._util.buffers import sealed
from dbnfast.layouts.programs import SIZES
from dbnfast.records.headers import record_sizes

if TYPE_CHECKING:
    from dbnfast._typing import Column
    from dbnfast.records.records import Records


def ranked(keys: Column) -> tuple[Column, Column]:
    """
    Find the values that occur, and number them.

    Parameters
    ----------
    keys : ndarray of int, shape (n,)
        Any values of int64.

    Returns
    -------
    values : ndarray, shape (n_values,)
        Each value once, ascending.
    ranks : ndarray of int32, shape (n,)
        Where each key stands in `values`.
    """
    if not len(keys):
        return keys[:0], np.empty(0, np.int32)
    low, high = int(keys.min()), int(keys.max())
    if high - low > 4 * len(keys) + 65536:  # too thinly spread for a table
        values, ranks = np.unique(keys, return_inverse=True)
        return values, ranks.astype(np.int32, copy=False)
    places = (keys - low).astype(np.intp)
    there = np.zeros(high - low + 1, bool)
    there[places] = True
    table = np.cumsum(there, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(there) + low, table[places]


def dealt(records: Records, groups: Column, n_groups: int) -> list[Records]:
    """
    Deal records out to groups.

    Parameters
    ----------
    records : Records
        Of any types.
    groups : ndarray of int32, shape (n_records,)
        The group of each record, 0 to ``n_groups - 1``.
    n_groups : int
        How many there are.

    Returns
    -------
    list of Records
        One for each group, in the stream's order; copies that share one block. The same object
        where there is one group alone.

    Raises
    ------
    ValueError
        `groups` does not have a group for each record.
    """
    if len(groups) != len(records):
        raise ValueError(f"groups has {len(groups)} entries for {len(records)} records")
    if n_groups == 1 and not groups.any():
        return [records]
    if records._size:
        sizes = np.bincount(groups, minlength=n_groups) * records._size
    else:  # sums of sizes are exact in floats: they stay far below 2**53
        sizes = np.bincount(groups, record_sizes(records), n_groups).astype(np.int64)
    if len(sizes) != n_groups:
        raise ValueError(f"groups holds {len(sizes) - 1}, expected 0 to {n_groups - 1}")
    places = np.zeros(n_groups + 1, np.int64)
    np.cumsum(sizes, out=places[1:])
    block = np.empty(records.nbytes, np.uint8)
    deal(records.data, groups, places, block, SIZES, records.ts_out)
    owner = sealed(block)
    ends = places.tolist()
    return [
        records._make(owner, start, end - start, records.version, records.metadata)
        for start, end in itertools.pairwise(ends)
    ]
