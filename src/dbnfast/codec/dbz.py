"""DBZ, the format before DBN: one schema, zstd throughout, records laid out as DBN version 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from dbnfast._core.metadata import parse_lists
from dbnfast.codec import compression
from dbnfast.codec.metadata import Metadata
from dbnfast.enums import SYMBOL_CSTR_LEN_V1, Schema, SType
from dbnfast.errors import MetadataError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FRAME_PRELUDE: Final = 8  # the skippable frame's magic and size
FIXED_SIZE: Final = 96
MAX_LISTS: Final = 1 << 28  # what the lists may decompress to


class DbzHeader(NamedTuple):
    """
    The header of a DBZ file.

    Attributes
    ----------
    metadata : Metadata
        As version 1 states it.
    size : int
        Bytes of the header; a zstd stream of the records follows, or nothing.
    """

    metadata: Metadata
    size: int


def read_header(data: memoryview) -> DbzHeader:
    """
    Read the header of a DBZ file.

    Parameters
    ----------
    data : memoryview of bytes
        The file.

    Returns
    -------
    DbzHeader

    Raises
    ------
    TruncatedError
        The header is cut.
    MetadataError
        It is not valid.
    DecompressionError
        Its lists cannot be decompressed.
    """
    size = int.from_bytes(data[4:8], "little")
    needed = FRAME_PRELUDE + max(size, FIXED_SIZE)
    if len(data) < needed:
        raise TruncatedError(
            f"DBZ metadata at byte 0 needs {needed} bytes, {len(data)} are there",
            offset=0, needed=needed, available=len(data),
        )  # fmt: skip
    if size < FIXED_SIZE:
        raise MetadataError(
            f"DBZ metadata length at byte 4 is {size} bytes, expected {FIXED_SIZE} or more",
            offset=4,
        )
    payload = data[FRAME_PRELUDE:needed]
    lists = _lists(payload[FIXED_SIZE:])
    header = parse_lists(lists, lists, SYMBOL_CSTR_LEN_V1)

    def number(at: int, n_bytes: int) -> int:
        return int.from_bytes(payload[at : at + n_bytes], "little")

    dataset = bytes(payload[4:20]).rstrip(b"\0").decode("utf-8", "backslashreplace")
    metadata = Metadata(
        version=1,
        dataset=dataset,
        schema=_member(Schema.from_int, number(20, 2), "schema", 20),
        start=number(22, 8),
        end=number(30, 8) or None,
        limit=number(38, 8) or None,
        stype_in=_member(SType.from_int, number(55, 1), "stype_in", 55),
        stype_out=_member(SType.from_int, number(56, 1), "stype_out", 56),
        ts_out=False,
        symbols=header.texts(0),
        partial=header.texts(1),
        not_found=header.texts(2),
        mappings=[{"raw_symbol": raw, "intervals": rows} for raw, rows in header.mappings()],
    )
    return DbzHeader(metadata, needed)


def _lists(data: memoryview) -> bytes:
    inflater = compression.Inflater()
    inflater.push(data)
    parts, total = [], 0
    while part := inflater.pull(compression.PIECE):
        parts.append(part)
        total += len(part)
        if total > MAX_LISTS:
            raise MetadataError(f"the lists of the DBZ metadata exceed {MAX_LISTS} bytes")
    if inflater.in_frame:
        raise TruncatedError("the zstd frame of the DBZ metadata is cut", offset=FRAME_PRELUDE)
    return b"".join(parts)


def _member(make: Callable[[int], T], code: int, name: str, at: int) -> T:
    try:
        return make(code)
    except ValueError:
        raise MetadataError(
            f"{name} at byte {FRAME_PRELUDE + at} is {code}, an unknown code",
            offset=FRAME_PRELUDE + at,
        ) from None
