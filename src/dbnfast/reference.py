"""
The DBN format in plain Python: what the rest of the package does fast, done simply.

A stream is a metadata header and records behind it, all little-endian. A record is a plain
dict by field name; its first byte counts its 4-byte words. Field names and formats come from
the table of layouts, everything else is here. It serves as an oracle, and to be read.

Source: ``docs/format.md``.
"""

from __future__ import annotations

import datetime
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dbnfast.enums import Schema, SType
from dbnfast.errors import (
    EncodeError,
    InvalidRecordError,
    MetadataError,
    TruncatedError,
    UnsupportedVersionError,
)
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE, layout_by_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.layouts.fields import Layout

    Record = dict[str, Any]
    Metadata = dict[str, Any]

NONE_U64: Final = 2**64 - 1
LISTS: Final = ("symbols", "partial", "not_found")
PRELUDE: Final = struct.Struct("<3sBI")  # magic, version, bytes that follow
# dataset schema start end limit | record_count stype_in stype_out ts_out | 0
FIXED_V1: Final = struct.Struct("<16sHQQQ QBBB47x I")
# dataset schema start end limit | stype_in stype_out ts_out symbol_cstr_len | 0
FIXED_V2: Final = struct.Struct("<16sHQQQ BBBH53x I")
HEADER: Final = struct.Struct("<BBHIQ")
HEADER_NAMES: Final = ("length", "rtype", "publisher_id", "instrument_id", "ts_event")
CODES: Final = {
    "u1": "B", "i1": "b", "<u2": "H", "<i2": "h", "<u4": "I", "<i4": "i", "<u8": "Q", "<i8": "q",
}  # fmt: skip


@cache
def _struct(layout: Layout) -> tuple[struct.Struct, tuple[str, ...], tuple[str, ...]]:
    # how to unpack a layout, its fields' names, and which of them are text; S5 and V5 are "5s"
    codes = [CODES.get(field.format) or f"{field.format[1:]}s" for field in layout.fields]
    names = tuple(field.name for field in layout.fields)
    texts = tuple(field.name for field in layout.fields if field.format.startswith("S"))
    return struct.Struct("<" + "".join(codes)), names, texts


def _decode_record(data: bytes, offset: int, ts_out: bool) -> Record:
    length, rtype = data[offset] * 4, data[offset + 1]
    end = offset + length
    layout = layout_by_size(rtype, length, ts_out)
    if layout is None:
        header = HEADER.unpack_from(data, offset)
        return {
            **dict(zip(HEADER_NAMES, header, strict=True)),
            "extra": data[offset + HEADER.size : end],
        }
    shape, names, texts = _struct(layout)
    record = dict(zip(names, shape.unpack_from(data, offset), strict=True))
    for name in texts:
        record[name] = record[name].rstrip(b"\0")
    extra = data[offset + layout.size : end - 8 * ts_out]
    if extra:
        record["extra"] = extra
    if ts_out:
        (record["ts_out"],) = struct.unpack_from("<Q", data, end - 8)
    return record


def iter_records(data: bytes, offset: int = 0, *, ts_out: bool = False) -> Iterator[Record]:
    """
    Decode records one after another.

    Parameters
    ----------
    data : bytes
        Where the records are, up to its end.
    offset : int
        The first record's first byte.
    ts_out : bool
        Whether every record ends in a ts_out.

    Yields
    ------
    dict
        Values by field name: ints as on the wire, texts as bytes without NUL padding, reserved
        bytes as they are. ``extra`` is there where the record is longer than its struct, or has
        no layout: what follows the fields, or the header.

    Raises
    ------
    InvalidRecordError
        A record is shorter than its header or its struct.
    TruncatedError
        The data ends inside a record.
    """
    n = 0
    while offset < len(data):
        left = len(data) - offset
        if left < HEADER.size:
            raise TruncatedError(
                f"record {n} at byte {offset} is cut", offset=offset, record_index=n,
                needed=HEADER.size, available=left,
            )  # fmt: skip
        length, rtype = data[offset] * 4, data[offset + 1]
        layouts = LAYOUTS_BY_RTYPE.get(rtype)
        if length < (layouts[0].itemsize(ts_out) if layouts else HEADER.size):
            raise InvalidRecordError(
                f"record {n} at byte {offset} has {length} bytes", offset=offset, record_index=n,
                length=length, rtype=rtype,
            )  # fmt: skip
        if left < length:
            raise TruncatedError(
                f"record {n} at byte {offset} is cut", offset=offset, record_index=n,
                needed=length, available=left,
            )  # fmt: skip
        yield _decode_record(data, offset, ts_out)
        offset += length
        n += 1


def encode_record(record: Record) -> bytes:
    """
    Encode one record.

    Parameters
    ----------
    record : dict
        As `iter_records` gives it; ``rtype`` and ``length`` tell its layout.

    Returns
    -------
    bytes

    Raises
    ------
    EncodeError
        The length is not that of the record.
    """
    extra, ts_out = record.get("extra", b""), "ts_out" in record
    layout = layout_by_size(record["rtype"], record["length"] * 4, ts_out)
    if layout is None:
        encoded: bytes = HEADER.pack(*(record[name] for name in HEADER_NAMES)) + extra
    else:
        shape, names, _ = _struct(layout)
        encoded = shape.pack(*(record[name] for name in names)) + extra
        encoded += struct.pack("<Q", record["ts_out"]) if ts_out else b""
    if len(encoded) != record["length"] * 4:
        raise EncodeError(f"length is {record['length'] * 4} bytes, the record {len(encoded)}")
    return encoded


def decode_metadata(data: bytes) -> tuple[Metadata, int]:
    """
    Decode the metadata header that a stream begins with.

    Parameters
    ----------
    data : bytes
        The stream.

    Returns
    -------
    metadata : dict
        Values by name, None where not stated. ``mappings`` is ``{raw_symbol: [(start_date,
        end_date, symbol)]}``.
    size : int
        Where the records begin.

    Raises
    ------
    TruncatedError
        The data ends inside the header.
    MetadataError, UnsupportedVersionError
        The header is not valid.
    """
    if data[:3] != b"DBN"[: len(data)]:
        raise MetadataError("expected b'DBN'", offset=0)
    if len(data) > 3 and data[3] not in (1, 2, 3):
        raise UnsupportedVersionError(f"version {data[3]}", version=data[3], offset=3)
    if len(data) < PRELUDE.size:
        raise TruncatedError("metadata is cut", offset=0, needed=8, available=len(data))
    _, version, length = PRELUDE.unpack_from(data)
    end = PRELUDE.size + length
    if length < FIXED_V1.size + 16:  # 16: the counts of four empty lists
        raise MetadataError(f"metadata of {length} bytes", offset=4)
    if len(data) < end:
        raise TruncatedError("metadata is cut", offset=0, needed=end, available=len(data))
    fixed = (FIXED_V1 if version == 1 else FIXED_V2).unpack_from(data, PRELUDE.size)
    dataset, schema, start, stop, limit, *rest, schema_definition_length = fixed
    stype_in, stype_out, ts_out = rest[1:] if version == 1 else rest[:3]
    n_text = 22 if version == 1 else rest[3]
    if schema_definition_length != 0 or n_text == 0:
        raise MetadataError("a schema definition, or symbols of no length")
    at = PRELUDE.size + FIXED_V1.size

    def take(n: int) -> bytes:
        nonlocal at
        if at + n > end:
            raise MetadataError("a list does not fit the header", offset=at)
        at += n
        return data[at - n : at]

    def take_int() -> int:
        return int.from_bytes(take(4), "little")

    def take_text() -> str:
        return take(n_text).rstrip(b"\0").decode()

    def take_date() -> datetime.date:
        number = take_int()
        return datetime.date(number // 10000, number // 100 % 100, number % 100)

    try:
        metadata: Metadata = {
            "version": version,
            "dataset": dataset.rstrip(b"\0").decode(),
            "schema": None if schema == 0xFFFF else Schema.from_int(schema),
            "start": start,
            "end": None if stop in (0, NONE_U64) else stop,
            "limit": limit or None,
            "stype_in": None if stype_in == 0xFF else SType.from_int(stype_in),
            "stype_out": SType.from_int(stype_out),
            "ts_out": ts_out != 0,
            "symbol_cstr_len": n_text,
        }
        for name in LISTS:
            metadata[name] = [take_text() for _ in range(take_int())]
        metadata["mappings"] = {}
        for _ in range(take_int()):
            intervals = metadata["mappings"].setdefault(take_text(), [])
            for _ in range(take_int()):
                intervals.append((take_date(), take_date(), take_text()))
    except MetadataError:
        raise
    except ValueError as error:  # an unknown code, no UTF-8, or no date of the calendar
        raise MetadataError(str(error)) from None
    return metadata, end


def encode_metadata(metadata: Metadata) -> bytes:
    """
    Encode a metadata header.

    Parameters
    ----------
    metadata : dict
        As `decode_metadata` gives it.

    Returns
    -------
    bytes

    Raises
    ------
    EncodeError
        A text is not ASCII, or too long.
    """

    def text(value: str, size: int = metadata["symbol_cstr_len"]) -> bytes:
        if not value.isascii() or len(value) >= size:
            raise EncodeError(f"{value!r} is not ASCII, or longer than {size - 1}")
        return value.encode().ljust(size, b"\0")

    def number(value: int) -> bytes:
        return value.to_bytes(4, "little")

    def date(day: datetime.date) -> bytes:
        return number(day.year * 10000 + day.month * 100 + day.day)

    version = metadata["version"]
    schema, end, stype_in = metadata["schema"], metadata["end"], metadata["stype_in"]
    common = (
        text(metadata["dataset"], 16),
        0xFFFF if schema is None else int(schema),
        metadata["start"],
        NONE_U64 if end is None else end,
        metadata["limit"] or 0,
    )
    stypes = (0xFF if stype_in is None else int(stype_in), int(metadata["stype_out"]))
    if version == 1:
        body = FIXED_V1.pack(*common, NONE_U64, *stypes, metadata["ts_out"], 0)
    else:
        n_text = metadata["symbol_cstr_len"]
        body = FIXED_V2.pack(*common, *stypes, metadata["ts_out"], n_text, 0)
    for name in LISTS:
        body += number(len(metadata[name])) + b"".join(map(text, metadata[name]))
    body += number(len(metadata["mappings"]))
    for raw_symbol, intervals in metadata["mappings"].items():
        body += text(raw_symbol) + number(len(intervals))
        for first, last, symbol in intervals:
            body += date(first) + date(last) + text(symbol)
    if version == 3:
        body += bytes(-len(body) % 8)  # so that the records begin at a multiple of 8
    return PRELUDE.pack(b"DBN", version, len(body)) + body


def decode(
    data: bytes, *, has_metadata: bool = True, ts_out: bool = False
) -> tuple[Metadata | None, list[Record]]:
    """
    Decode a whole stream.

    Parameters
    ----------
    data : bytes
        The stream, not compressed.
    has_metadata : bool
        False for a fragment: records alone.
    ts_out : bool
        Whether the records of a fragment end in a ts_out.

    Returns
    -------
    metadata : dict or None
        See `decode_metadata`.
    records : list of dict
        See `iter_records`.

    Raises
    ------
    DecodeError
        The stream is cut or damaged.
    """
    metadata, start = None, 0
    if has_metadata:
        metadata, start = decode_metadata(data)
        ts_out = metadata["ts_out"]
    return metadata, list(iter_records(data, start, ts_out=ts_out))
