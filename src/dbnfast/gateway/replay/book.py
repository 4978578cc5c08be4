"""The orders that rest at some place of a source, for snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast.codec.scan import scan
from dbnfast.enums import F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, F_TOB, UNDEF_PRICE, Schema
from dbnfast.gateway.replay.chunks import Want
from dbnfast.layouts.dtypes import empty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.gateway.replay.source import Source

    Order = list[Any]  # the record as it came, price, size, side

FLAGS: Final = F_SNAPSHOT | F_BAD_TS_RECV
STEP: Final = 4096  # orders of a block
_FIELDS: Final = ("instrument_id", "order_id", "price", "size", "flags", "action", "side")


class Book:
    """
    Orders by instrument, in the order of their priority.

    Fills and trades do not change it: what they take is cancelled by records of its own.
    """

    def __init__(self) -> None:
        self.orders: dict[int, dict[int, Order]] = {}

    def apply(self, array: np.ndarray[Any, np.dtype[np.void]]) -> None:
        """
        Take records in.

        Parameters
        ----------
        array : ndarray of MBO records
            In the order of the stream.
        """
        columns = [array[name].tolist() for name in _FIELDS]
        for row, (instrument, order_id, price, size, flags, action, side) in enumerate(
            zip(*columns, strict=True)
        ):
            orders = self.orders.setdefault(instrument, {})
            if action == b"A":
                if flags & F_TOB:  # the whole side in one record
                    gone = [key for key, order in orders.items() if order[3] == side]
                    for key in gone:
                        del orders[key]
                if price != UNDEF_PRICE:
                    orders[order_id] = [array[row].copy(), price, size, side]
            elif action == b"C":
                self._cancel(orders, order_id, size)
            elif action == b"M":
                self._modify(orders, order_id, [array[row].copy(), price, size, side])
            elif action == b"R":
                orders.clear()

    def _cancel(self, orders: dict[int, Order], order_id: int, size: int) -> None:
        order = orders.get(order_id)
        if order is None:
            return
        order[2] -= size
        if order[2] <= 0:
            del orders[order_id]

    def _modify(self, orders: dict[int, Order], order_id: int, new: Order) -> None:
        old = orders.get(order_id)
        if old is not None and (old[1] != new[1] or old[2] < new[2]):
            del orders[order_id]  # another price or more size: it goes to the end
        orders[order_id] = new


class Snapshot:
    """
    The records that begin a subscription with the state of the book.

    Parameters
    ----------
    source : Source
        What is replayed.
    ids : frozenset of int or None
        The instruments; None for all.
    position : int
        The record of the source that is not part of the book any more.
    """

    def __init__(self, source: Source, ids: frozenset[int] | None, position: int) -> None:
        self._source = source
        self._ids = ids
        self._wants = frozenset((Want(Schema.MBO, ids),))
        self._position = position
        self._number = 0
        self._book = Book()

    def step(self) -> bool:
        """
        Take in another chunk of the source.

        Returns
        -------
        bool
            Whether there is more to take in.
        """
        first = self._source.chunk(self._number).first if self._number < self._last else 0
        if self._number >= self._last or first >= self._position:
            return False
        frames = self._source.frames(self._number, self._wants)
        n = frames.index(self._position - first)
        if n:
            data, version = frames.data[: frames.offset(n)], self._source.version
            records = scan(data, has_metadata=False, input_version=version)
            self._book.apply(records.array(Schema.MBO))
        self._number += 1
        return True

    @property
    def _last(self) -> int:
        return self._source.n_chunks if Schema.MBO in self._source.lanes else 0

    def blocks(self, ts_recv: int) -> Iterator[np.ndarray[Any, np.dtype[np.void]]]:
        """
        Give the records, when everything is taken in.

        Parameters
        ----------
        ts_recv : int
            The time of the snapshot, ns since 1970-01-01 UTC.

        Yields
        ------
        ndarray of MBO records
        """
        there = self._source.ids(Schema.MBO)
        for instrument in sorted(there if self._ids is None else there & self._ids):
            orders = list(self._book.orders.get(instrument, {}).values())
            yield self._clear(instrument, orders, ts_recv)
            for at in range(0, len(orders), STEP):
                yield self._adds(orders[at : at + STEP], at + STEP >= len(orders), ts_recv)

    def _clear(
        self, instrument: int, orders: list[Order], ts_recv: int
    ) -> np.ndarray[Any, np.dtype[np.void]]:
        record = empty(Schema.MBO, 1, version=self._source.version)
        record["instrument_id"] = instrument
        record["publisher_id"] = orders[0][0]["publisher_id"] if orders else 0
        record["ts_event"] = record["ts_recv"] = np.uint64(ts_recv)
        record["action"], record["side"] = b"R", b"N"
        record["order_id"] = record["size"] = record["sequence"] = record["ts_in_delta"] = 0
        record["flags"] = FLAGS if orders else FLAGS | F_LAST
        return record

    def _adds(
        self, orders: list[Order], last: bool, ts_recv: int
    ) -> np.ndarray[Any, np.dtype[np.void]]:
        records = empty(Schema.MBO, len(orders), version=self._source.version)
        for row, (record, price, size, _) in enumerate(orders):
            records[row] = record
            records["price"][row], records["size"][row] = price, size
        records["length"] = records.dtype.itemsize // 4
        records["action"], records["flags"] = b"A", FLAGS
        records["ts_recv"], records["ts_in_delta"] = np.uint64(ts_recv), 0
        if last:
            records["flags"][-1] = FLAGS | F_LAST
        return records
