"""
Records as columns: one array for each field, made in one pass over the records.

Frames and Arrow tables are both made of these. What the compiled core makes (see
``_core/columns``) goes into one allocation, whose rows threads share.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np

from dbnfast._core.columns import (
    ColumnPlan,
    label_bytes,
    label_offsets,
    label_sizes,
    text_bytes,
    text_offsets,
)
from dbnfast._core.run import Owner
from dbnfast._util.buffers import as_bytes
from dbnfast._util.threads import each, shares
from dbnfast.errors import MixedRecordsError
from dbnfast.layouts.dtypes import layout_of_dtype, rtype_key
from dbnfast.layouts.fields import Field
from dbnfast.layouts.table import HEADER_DTYPE, layout_by_size
from dbnfast.records.headers import groups, selected_rtypes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbnfast._typing import Bytes, Codes, Column, Offsets
    from dbnfast.enums import RType, Schema
    from dbnfast.layouts.fields import Layout
    from dbnfast.records.records import Records


# how the core makes a column; the numbers are its own
MOVE: Final = 0
FLOAT: Final = 1
WIDE_INT: Final = 2
TIME: Final = 3
VALID: Final = 4
IN_RANGE: Final = 5
SEEN: Final = 6

T = TypeVar("T")

ALIGNMENT: Final = 64  # bytes: a cache line, and what Arrow asks for
ROWS_PER_THREAD: Final = 100_000  # fewer are not worth a thread
ROW_STEP: Final = 64  # the core takes rows in multiples of this
SPARE: Final = 16  # bytes behind the labels, which the core may read

_DTYPES: Final = {FLOAT: "<f8", WIDE_INT: "V16", TIME: "<i8", SEEN: "u1"}


class Rows(NamedTuple):
    """
    Records of one type, packed.

    Attributes
    ----------
    data : memoryview
        Their bytes.
    n : int
        How many there are.
    layout : Layout
        Of all of them.
    ts_out : bool
        Whether each ends in a ts_out.
    """

    data: memoryview
    n: int
    layout: Layout
    ts_out: bool

    @property
    def size(self) -> int:
        """Bytes of a record."""
        return self.layout.itemsize(self.ts_out)

    @property
    def fields(self) -> list[Field]:
        """What frames show, in the official text order: the index timestamp first."""
        stamp = self.layout.all_fields(True)[-1:] if self.ts_out else ()
        return [*self.layout.ordered, *stamp]


def rows_of(records: Records, schema: Schema | RType | str | None) -> Rows:
    """
    Give the records of one type as packed bytes.

    Parameters
    ----------
    records : Records
        Of any types.
    schema : Schema, RType or str, optional
        What to give; None for the only type there is.

    Returns
    -------
    Rows
        A view of the records where they are all alike, else a copy.
    """
    array = records.array(schema)
    if array.dtype is HEADER_DTYPE:
        raise ValueError("there are no records, and no schema is named that tells the columns")
    packed = np.dtype([(name, array.dtype[name]) for name in array.dtype.names or ()])
    if array.dtype != packed:  # a ts_out behind what a later version of the format added
        array = array.astype(packed)
    layout, ts_out = layout_of_dtype(array)
    return Rows(as_bytes(np.ascontiguousarray(array)), len(array), layout, ts_out)


class Alike:
    """Hold the blocks of a stream against those before: all must be of one type and layout."""

    def __init__(self) -> None:
        self._counts: dict[RType | int, int] = {}
        self._layouts: set[Layout | None] = set()

    def check(self, records: Records, schema: Schema | RType | str | None) -> None:
        """
        Check the next block.

        Parameters
        ----------
        records : Records
            The block.
        schema : Schema, RType or str, optional
            What is made of it; None for the only type there is.

        Raises
        ------
        MixedRecordsError
            No schema is named, and there are several types by now.
        ValueError
            Older blocks have another layout.
        """
        rtypes = None if schema is None else selected_rtypes(records, schema)
        for rtype, size, n in groups(records):
            if rtypes is not None and rtype not in rtypes:
                continue
            key = rtype_key(rtype)
            self._counts[key] = self._counts.get(key, 0) + n
            self._layouts.add(layout_by_size(rtype, size, records.ts_out))
        if schema is None and len(self._counts) > 1:
            raise MixedRecordsError(
                "one table was asked for, the records are of several types; name a schema",
                counts=self._counts,
            )
        if len(self._layouts) > 1:
            names = ", ".join(sorted(layout.name for layout in self._layouts if layout))
            raise ValueError(f"the layouts of the stream's blocks differ: {names}; upgrade first")


@dataclass(frozen=True)
class Request:
    """
    A column that is wanted of the core.

    Attributes
    ----------
    name : str
        What `make` gives it under.
    kind : int
        How the core makes it.
    field : Field
        What it is made of.
    """

    name: str
    kind: int
    field: Field

    def dtype(self) -> np.dtype[Any]:
        """Give the dtype of the column."""
        if self.kind == MOVE:
            return np.dtype("u1" if self.field.format == "S1" else self.field.format)
        return np.dtype(_DTYPES.get(self.kind, "u1"))

    def n_items(self, n_rows: int) -> int:
        """
        Give the length of the column.

        Parameters
        ----------
        n_rows : int
            Records.

        Returns
        -------
        int
        """
        if self.kind == SEEN:
            return 256
        return (n_rows + 7) // 8 if self.kind in (VALID, IN_RANGE) else n_rows

    def undef(self) -> int:
        """Give the field's undefined value as the unsigned integer that has its bits."""
        value = self.field.undef
        if isinstance(value, bytes):
            return value[0] if value else 0
        return int(value) & ((1 << 8 * self.field.size) - 1)


class Made(NamedTuple):
    """
    What the core made.

    Attributes
    ----------
    columns : dict
        Arrays by name: parts of one allocation, writable, each aligned to 64 bytes.
    nulls : dict
        Nulls that a bitmap marks, by its name.
    """

    columns: dict[str, Column]
    nulls: dict[str, int]


def make(rows: Rows, requests: Sequence[Request]) -> Made:
    """
    Make columns of records in one pass.

    Parameters
    ----------
    rows : Rows
        The records.
    requests : sequence of Request
        What to make.

    Returns
    -------
    Made
    """
    places, total = [], 0
    for request in requests:
        n_bytes = request.n_items(rows.n) * request.dtype().itemsize
        places.append((total, n_bytes))
        total += -(-n_bytes // ALIGNMENT) * ALIGNMENT
    block = np.empty(total + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    parts = [block[start + at : start + at + n_bytes] for at, n_bytes in places]
    for request, part in zip(requests, parts, strict=True):
        if request.kind == SEEN:
            part[:] = 0
    plan = ColumnPlan(
        rows.size,
        rows.n,
        [
            (r.kind, r.field.offset, r.field.size, part, r.undef())
            for r, part in zip(requests, parts, strict=True)
        ],
    )
    data: Any = Owner(rows.data)  # threads share no memoryview
    counts = spread(rows.n, lambda first, last: plan.run(data, first, last))
    nulls = [sum(count) for count in zip(*counts, strict=True)]
    return Made(
        {r.name: part.view(r.dtype()) for r, part in zip(requests, parts, strict=True)},
        {r.name: n for r, n in zip(requests, nulls, strict=False)},
    )


def spread(n_rows: int, work: Callable[[int, int], T]) -> list[T]:
    """
    Do work on rows, on several threads where there are many rows.

    Parameters
    ----------
    n_rows : int
        How many there are.
    work : callable
        Takes the first row and the one behind the last.

    Returns
    -------
    list
        What each call gave, in the rows' order.
    """
    n = shares(n_rows, ROWS_PER_THREAD)
    if n < 2:
        return [work(0, n_rows)]
    share = -(-n_rows // n // ROW_STEP) * ROW_STEP
    parts = [(at, min(at + share, n_rows)) for at in range(0, n_rows, share)]
    return each(lambda part: work(*part), parts)


class Texts(NamedTuple):
    """
    A column of text, as Arrow has it.

    Attributes
    ----------
    offsets : ndarray of int64
        Where each row begins and ends, one more than there are rows.
    data : ndarray of uint8
        The text, UTF-8.
    valid : ndarray of uint8, or None
        A bit for each row, 0 where there is no text; None where every row has one.
    n_null : int
        Rows without a text.
    """

    offsets: Offsets
    data: Bytes
    valid: Bytes | None = None
    n_null: int = 0


def char_texts(column: Bytes, seen: Bytes, steps: Offsets | None = None) -> Texts:
    """
    Make text of a column of chars.

    Parameters
    ----------
    column : ndarray of uint8
        The bytes.
    seen : ndarray of uint8, shape (256,)
        Which of them are there.
    steps : ndarray of int64, optional
        0, 1, 2 and so on, one more than there are rows: columns of a table may share it.

    Returns
    -------
    Texts
        NUL is empty text, a byte above 0x7F the latin-1 character.
    """
    n = len(column)
    if not seen[0] and not seen[128:].any():
        return Texts(np.arange(n + 1, dtype=np.int64) if steps is None else steps, column)
    labels = [bytes([byte]).decode("latin-1") if byte else "" for byte in range(256)]
    return label_texts(column.astype(np.int32), labels)


def label_texts(codes: Codes, labels: Sequence[str]) -> Texts:
    """
    Make text of a column of codes.

    Parameters
    ----------
    codes : ndarray of int32
        The label of each row; negative for none.
    labels : sequence of str
        What the codes stand for.

    Returns
    -------
    Texts
    """
    encoded = [label.encode() for label in labels]
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(label) for label in encoded], out=starts[1:])
    packed = np.frombuffer(b"".join(encoded) + bytes(SPARE), np.uint8)
    codes = np.ascontiguousarray(codes, np.int32)
    sizes = spread(
        len(codes), lambda first, last: (first, *label_sizes(codes, starts, first, last))
    )
    places, end, n_null = {}, 0, 0
    for first, n_bytes, nulls in sizes:
        places[first], end, n_null = end, end + n_bytes, n_null + nulls
    offsets = np.empty(len(codes) + 1, np.int64)
    offsets[-1] = end
    data = np.empty(end, np.uint8)

    def fill(first: int, last: int) -> None:
        label_offsets(codes, starts, first, last, places[first], offsets)
        label_bytes(codes, starts, packed, offsets, first, last, data)

    spread(len(codes), fill)
    valid = np.packbits(codes >= 0, bitorder="little") if n_null else None
    return Texts(offsets, data, valid, n_null)


def field_texts(rows: Rows, field: Field) -> Texts:
    """
    Make text of a field of NUL-padded text.

    Parameters
    ----------
    rows : Rows
        The records.
    field : Field
        Their field.

    Returns
    -------
    Texts
        Up to the padding; what is no UTF-8 is read as latin-1.
    """
    offsets = np.empty(rows.n + 1, np.int64)
    high = text_offsets(rows.data, rows.size, field.offset, field.size, offsets)
    data = np.empty(offsets[-1], np.uint8)
    text_bytes(rows.data, rows.size, field.offset, field.size, offsets, data)
    if high and not _is_utf8(data, offsets):
        encoded = [_as_utf8(data[a:b].tobytes()) for a, b in pairwise(offsets)]
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        data = np.frombuffer(b"".join(encoded), np.uint8)
    return Texts(offsets, data)


def _is_utf8(data: Bytes, offsets: Offsets) -> bool:
    # whole, and with no character across two rows
    try:
        data.tobytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    first = offsets[:-1][offsets[:-1] < len(data)]
    return not bool(((data[first] & 0xC0) == 0x80).any())


def _as_utf8(text: bytes) -> bytes:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def char_codes(
    column: Bytes, seen: Bytes, known: Sequence[bytes]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int16]], list[str]]:
    """
    Make codes of a column of chars.

    Parameters
    ----------
    column : ndarray of uint8
        The bytes.
    seen : ndarray of uint8, shape (256,)
        Which of them are there.
    known : sequence of bytes
        What has a code in any case.

    Returns
    -------
    codes, labels
        A new array of int16; the labels begin with the known ones, others follow by their byte.
    """
    order = [code[0] for code in known]
    order += [byte for byte in np.flatnonzero(seen).tolist() if byte not in order]
    table = np.full(256, -1, np.int16)
    table[order] = np.arange(len(order))
    return table[column], [bytes([byte]).decode("latin-1") if byte else "" for byte in order]
