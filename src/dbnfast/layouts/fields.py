"""What a layout is: the fields of one fixed-width struct, and what follows from them."""

from __future__ import annotations

from enum import Enum
from functools import cache, cached_property
from typing import Final, NamedTuple

import numpy as np

from dbnfast.enums import UNDEF_PRICE, UNDEF_TIMESTAMP, RType

INT: Final = "int"
PRICE: Final = "price"  # 1 unit = 1e-9
TIMESTAMP: Final = "timestamp"  # ns since 1970-01-01 UTC
CHAR: Final = "char"
CSTR: Final = "cstr"  # NUL-padded text
ENUM: Final = "enum"
FLAGS: Final = "flags"
RESERVED: Final = "reserved"
KINDS: Final = (INT, PRICE, TIMESTAMP, CHAR, CSTR, ENUM, FLAGS, RESERVED)

MAX: Final = "max"  # stands in the table for the maximum of the field's own type


def width(format_: str) -> int:
    """
    Give the bytes of a numpy format.

    Parameters
    ----------
    format_ : str
        As the table has it: ``"<i8"``, ``"u1"``, ``"S71"``, ``"V4"``.

    Returns
    -------
    int
    """
    return int(format_.lstrip("<")[1:])  # numpy would tell too, but slower at every import


def is_integer(format_: str) -> bool:
    """
    Tell whether a numpy format is an integer.

    Parameters
    ----------
    format_ : str
        As the table has it.

    Returns
    -------
    bool
    """
    return format_.lstrip("<")[0] in "iu"


def highest(format_: str) -> int:
    """
    Give the highest value of an integer format.

    Parameters
    ----------
    format_ : str
        As the table has it.

    Returns
    -------
    int
    """
    signed = format_.lstrip("<")[0] == "i"
    return int(2 ** (8 * width(format_) - signed) - 1)


class Field(NamedTuple):
    """
    One field of a layout.

    Attributes
    ----------
    name : str
        The official packages' name.
    format : str
        The little-endian numpy format, e.g. ``"<i8"``.
    kind : str
        One of `KINDS`.
    order : int or None
        The place in text output; None for fields that text never shows.
    undef : int or bytes
        What stands for "undefined", zero where the format knows nothing of the kind.
    has_undef : bool
        Whether the format states an undefined value.
    enum : type or None
        The enumeration of the field's codes.
    level : int or None
        The book level a ``bid_``/``ask_`` field belongs to.
    raw_byte : bool
        Whether text output shows the byte as it is, without escaping.
    offset : int
        Bytes from the start of the record.
    """

    name: str
    format: str
    kind: str
    order: int | None
    undef: int | bytes
    has_undef: bool
    enum: type[Enum] | None
    level: int | None
    raw_byte: bool
    offset: int

    @property
    def size(self) -> int:
        """The width in bytes."""
        return width(self.format)

    @property
    def hidden(self) -> bool:
        """Whether text output and frames leave the field out."""
        return self.order is None

    @property
    def base_name(self) -> str:
        """The name without its level's suffix: ``bid_px`` for ``bid_px_00``."""
        return self.name if self.level is None else self.name[:-3]


class F(NamedTuple):
    """A row of the table: a field before its offset is known."""

    name: str
    format: str
    kind: str
    order: int | None = None
    undef: int | bytes | str | None = None
    enum: type[Enum] | None = None
    level: int | None = None
    raw_byte: bool = False

    def at(self, offset: int) -> Field:
        """Give the field at `offset`, with its kind's undefined value where none is named."""
        undef: int | bytes | str | None = self.undef
        if undef == MAX:
            undef = highest(self.format)
        elif undef is None:
            undef = {PRICE: UNDEF_PRICE, TIMESTAMP: UNDEF_TIMESTAMP}.get(self.kind)
        has_undef = undef is not None
        if undef is None:
            undef = 0 if is_integer(self.format) else b""
        assert not isinstance(undef, str)
        return Field(
            self.name, self.format, self.kind, self.order, undef, has_undef,
            self.enum, self.level, self.raw_byte, offset,
        )  # fmt: skip


TS_OUT: Final = F("ts_out", "<u8", TIMESTAMP)


class Layout:
    """
    The layout of one struct.

    Attributes
    ----------
    name : str
        The official packages' class name.
    versions : tuple of int
        The DBN versions whose streams carry it.
    rtypes : tuple of RType
        The record types that use it.
    schemas : tuple of str
        The schemas whose files hold it; empty for the gateway's own records.
    fields : tuple of Field
        All fields in the order of their offsets, header first, without ts_out.
    size : int
        Bytes of a record without ts_out.
    """

    def __init__(
        self,
        name: str,
        versions: tuple[int, ...],
        rtypes: tuple[RType, ...],
        schemas: tuple[str, ...],
        rows: tuple[F, ...],
    ) -> None:
        self.name = name
        self.versions = versions
        self.rtypes = rtypes
        self.schemas = schemas
        fields, offset = [], 0
        for row in rows:
            fields.append(row.at(offset))
            offset += fields[-1].size
        self.fields: tuple[Field, ...] = tuple(fields)
        self.size = offset

    def __repr__(self) -> str:
        """Name and size."""
        return f"<Layout {self.name}: {self.size} bytes>"

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields by name, without ts_out."""
        return {field.name: field for field in self.fields}

    @cached_property
    def ordered(self) -> tuple[Field, ...]:
        """The fields that text output shows, in its order, without ts_out."""
        shown = [field for field in self.fields if field.order is not None]
        return tuple(sorted(shown, key=lambda field: field.order or 0))

    @property
    def index_ts(self) -> str:
        """The name of the index timestamp: ``ts_recv`` where there is one, else ``ts_event``."""
        return "ts_recv" if "ts_recv" in self.by_name else "ts_event"

    @property
    def n_levels(self) -> int:
        """The number of book levels."""
        return 1 + max((f.level for f in self.fields if f.level is not None), default=-1)

    def itemsize(self, ts_out: bool) -> int:
        """
        Give the bytes of a record.

        Parameters
        ----------
        ts_out : bool
            Whether a ts_out follows every record.

        Returns
        -------
        int
        """
        return self.size + 8 * ts_out

    def all_fields(self, ts_out: bool) -> tuple[Field, ...]:
        """
        Give the fields, with ts_out as a normal last one where it is there.

        Parameters
        ----------
        ts_out : bool
            Whether a ts_out follows every record.

        Returns
        -------
        tuple of Field
        """
        return (*self.fields, TS_OUT.at(self.size)) if ts_out else self.fields

    def dtype(self, ts_out: bool = False) -> np.dtype[np.void]:
        """
        Give the numpy dtype.

        Parameters
        ----------
        ts_out : bool
            Whether a ts_out follows every record.

        Returns
        -------
        numpy.dtype
            Packed, little-endian; the same object at every call.
        """
        return _dtype(self, bool(ts_out))

    def undefined(self, ts_out: bool = False) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """
        Make one record with its header's length and rtype set and all else undefined.

        Parameters
        ----------
        ts_out : bool
            Whether a ts_out follows the record.

        Returns
        -------
        ndarray, shape (1,)
            A new array. publisher_id and instrument_id are 0; the rtype is the first of `rtypes`.
        """
        record = np.zeros(1, self.dtype(ts_out))
        for field in self.all_fields(ts_out):
            if field.has_undef:
                record[field.name] = field.undef
        record["length"] = self.itemsize(ts_out) // 4
        record["rtype"] = self.rtypes[0]
        return record


@cache
def _dtype(layout: Layout, ts_out: bool) -> np.dtype[np.void]:
    return np.dtype([(field.name, field.format) for field in layout.all_fields(ts_out)])
