"""Arrays and frames of a given number of rows, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dbnfast._util.arguments import as_int
from dbnfast.records.records import Records
from dbnfast.tables.columns import Alike
from dbnfast.tables.options import FrameOptions
from dbnfast.tables.pandas import to_frame
from dbnfast.tables.symbols import Labels, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    import pandas

    from dbnfast._typing import Array, Codes
    from dbnfast.enums import RType, Schema
    from dbnfast.symbology.resolver import Resolver


def check_count(count: int) -> int:
    """
    Check a number of rows.

    Parameters
    ----------
    count : int
        What a caller gave.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        It is no int, or less than 1.
    """
    count = as_int("count", count)
    if count < 1:
        raise ValueError(f"count is {count}, expected 1 or more")
    return count


def chunks(
    blocks: Iterable[Records],
    schema: Schema | RType | str | None,
    count: int,
    resolver: Resolver | None = None,
) -> Iterator[tuple[Records, Codes | None]]:
    """
    Cut a stream into a given number of records of one type.

    Parameters
    ----------
    blocks : iterable of Records
        The stream.
    schema : Schema, RType or str, optional
        Which records; None for the only type there is.
    count : int
        Records in all chunks but the last.
    resolver : Resolver, optional
        Where symbols come from.

    Yields
    ------
    records, codes
        Records of that type alone, a view where they lie together, and the codes of their
        symbols; None without a resolver.
    """
    parts: list[tuple[Records, Codes | None]] = []
    n = 0
    alike = Alike()
    for block in blocks:
        alike.check(block, schema)
        codes = None if resolver is None else labels_of(block, schema, resolver).codes
        wanted = block if schema is None else block.filter(schema)
        at = 0
        while at < len(wanted):
            last = min(len(wanted), at + count - n)
            parts.append((wanted[at:last], None if codes is None else codes[at:last]))
            n += last - at
            at = last
            if n == count:
                yield _joined(parts)
                parts, n = [], 0
    if parts:
        yield _joined(parts)


def _joined(parts: list[tuple[Records, Codes | None]]) -> tuple[Records, Codes | None]:
    if len(parts) == 1:
        return parts[0]
    codes = [codes for _, codes in parts if codes is not None]
    records = Records.concat([records for records, _ in parts])
    return records, np.concatenate(codes) if codes else None


class NDArrayIterator:
    """
    An iterator of structured arrays.

    Parameters
    ----------
    blocks : iterable of Records
        The stream.
    schema : Schema, RType or str, optional
        Which records; None for the only type there is.
    count : int
        Records in all arrays but the last.
    """

    def __init__(
        self, blocks: Iterable[Records], schema: Schema | RType | str | None, count: int
    ) -> None:
        self._schema = schema
        self._chunks = chunks(blocks, schema, count)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Array:
        """Give the next array, as `Records.array` does."""
        records, _ = next(self._chunks)
        array: Array = records.array(self._schema)
        return array


class DataFrameIterator:
    """
    An iterator of frames.

    Parameters
    ----------
    blocks : iterable of Records
        The stream.
    schema : Schema, RType or str, optional
        Which records; None for the only type there is.
    count : int
        Rows in all frames but the last.
    options : FrameOptions
        What they are to look like.
    resolver : Resolver, optional
        Where symbols come from.
    """

    def __init__(
        self,
        blocks: Iterable[Records],
        schema: Schema | RType | str | None,
        count: int,
        options: FrameOptions,
        resolver: Resolver | None,
    ) -> None:
        self._schema = schema
        self._options = options
        self._resolver = resolver
        self._chunks = chunks(blocks, schema, count, resolver)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pandas.DataFrame:
        """Give the next frame, as `to_frame` does."""
        records, codes = next(self._chunks)
        labels = None
        if codes is not None and self._resolver is not None:
            labels = Labels(codes, self._resolver.symbols)
        return to_frame(records, self._schema, self._options, labels)
