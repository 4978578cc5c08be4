"""What every engine reads: chosen columns of a store, of records that may pass a predicate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dbnfast.engines.ahead import in_order
from dbnfast.store.store import Store, streams_in
from dbnfast.tables.options import ID
from dbnfast.tables.symbols import SYMBOL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbnfast._typing import SchemaLike

STREAM: Final = 16 << 20  # bytes of records that are read at a time on one thread
BLOCK: Final = 2 << 20  # bytes of records in a batch: for one thread, and soon cast away

_LAST: Final = 2**64  # behind the last time that there is


@dataclass(frozen=True)
class Bounds:
    """
    What holds for every record that passes a predicate; others may not pass it all the same.

    Attributes
    ----------
    start, end : int or None
        Half-open range of the index timestamp, ns since 1970-01-01 UTC, of any size.
    instrument_ids, publishers : frozenset of int, or None
        The ids.
    symbols : frozenset of str, or None
        The symbols.
    """

    start: int | None = None
    end: int | None = None
    instrument_ids: frozenset[int] | None = None
    publishers: frozenset[int] | None = None
    symbols: frozenset[str] | None = None

    def __and__(self, other: Bounds) -> Bounds:
        """Give what holds where two predicates pass."""
        return Bounds(
            _both(max, self.start, other.start),
            _both(min, self.end, other.end),
            _both(frozenset.intersection, self.instrument_ids, other.instrument_ids),
            _both(frozenset.intersection, self.publishers, other.publishers),
            _both(frozenset.intersection, self.symbols, other.symbols),
        )

    def __or__(self, other: Bounds) -> Bounds:
        """Give what holds where either of two predicates passes."""
        return Bounds(
            _either(min, self.start, other.start),
            _either(max, self.end, other.end),
            _either(frozenset.union, self.instrument_ids, other.instrument_ids),
            _either(frozenset.union, self.publishers, other.publishers),
            _either(frozenset.union, self.symbols, other.symbols),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing passes."""
        start = 0 if self.start is None else max(self.start, 0)
        end = _LAST if self.end is None else min(self.end, _LAST)
        sets = (self.instrument_ids, self.publishers, self.symbols)
        return start >= end or any(one is not None and not one for one in sets)

    def of(self, store: Store) -> Store:
        """
        Select of a store what may pass.

        Parameters
        ----------
        store : Store
            The store.

        Returns
        -------
        Store
            The same where that is all.
        """
        ids, publishers = self.instrument_ids, self.publishers
        wanted: dict[str, Any] = {}
        if self.start is not None and self.start > 0:
            wanted["start"] = self.start
        if self.end is not None and self.end < _LAST:
            wanted["end"] = self.end
        if ids is not None:
            wanted["instrument_ids"] = sorted(number for number in ids if 0 <= number < 2**32)
        if publishers is not None:
            wanted["publishers"] = sorted(number for number in publishers if 0 <= number < 2**32)
        # of records that tell symbols, the symbols are looked up once, for the column
        if self.symbols is not None and store.schema is not None:
            wanted["symbols"] = sorted(self.symbols)
        return store.filter(**wanted) if wanted else store


def of_ids(name: str, ids: Iterable[int]) -> Bounds:
    """
    Give the bounds of a column of ids.

    Parameters
    ----------
    name : {"instrument_id", "publisher_id"}
        The column.
    ids : iterable of int
        Its values.

    Returns
    -------
    Bounds
    """
    found = frozenset(ids)
    return Bounds(instrument_ids=found) if name == ID else Bounds(publishers=found)


def _both(choose: Any, one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)


def _either(choose: Any, one: Any, other: Any) -> Any:
    return None if one is None or other is None else choose(one, other)


class Scan:
    """
    The records of one type in a store, for engines that say what they want of them.

    Parameters
    ----------
    store : Store
        The store.
    schema : Schema, RType, str or None
        Which records, as `Store.to_arrow` takes it; where the store has none of its own it has
        to be given.
    columns : sequence of str, optional
        The columns that there are, beside the index timestamp; None for all.
    **options
        What else `Store.to_arrow` takes.

    Attributes
    ----------
    store : Store
        The store.
    schema : pyarrow.Schema
        Of all columns; no record is read for it.
    index : str
        The column of the index timestamp.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    TypeError, ValueError
        An option has the wrong type or value.
    """

    def __init__(
        self,
        store: Store,
        schema: SchemaLike | None,
        columns: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        self.store = store
        self._wanted = schema
        self._options = options
        self.schema = store.arrow_schema(schema, **options)
        self.index = str(self.schema.names[0])
        if columns is not None:
            if isinstance(columns, str):
                raise TypeError(f"columns is {columns!r}, expected a list of names")
            named = list(dict.fromkeys((self.index, *columns)))
            self.schema = store.arrow_schema(schema, columns=named, **options)

    def read(self, columns: Sequence[str], bounds: Bounds) -> Iterator[Any]:
        """
        Read batches, several streams at the same time.

        Parameters
        ----------
        columns : sequence of str
            Which columns, in this order.
        bounds : Bounds
            What records have to meet.

        Yields
        ------
        pyarrow.RecordBatch
            In the order of the store.
        """
        if bounds.is_empty:
            return
        store = bounds.of(self.store)

        def batches(one: Store) -> Iterator[Any]:
            yield from one.arrow_batches(
                self._wanted, columns=columns, max_bytes=BLOCK, **self._options
            )

        streams = streams_in(store, STREAM, named=SYMBOL in columns)
        yield from in_order(streams, batches, _nbytes)


def _nbytes(batch: Any) -> int:
    n_bytes: int = batch.nbytes
    return n_bytes
