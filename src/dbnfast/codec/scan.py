"""Whole buffers: scan, decode, split, upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from dbnfast._core import copy as core
from dbnfast._core.metadata import header_size, parse_header
from dbnfast._util.arguments import check_version
from dbnfast._util.buffers import as_bytes, read_only, sealed
from dbnfast.codec import compression, dbz
from dbnfast.codec.damage import (
    INVALID,
    MORE,
    cut_frame,
    cut_record,
    invalid_record,
    report_truncated,
)
from dbnfast.codec.metadata import Metadata
from dbnfast.codec.options import check_options, check_stated, infer_version
from dbnfast.codec.sniff import check_begin
from dbnfast.enums import DBN_VERSION, RType
from dbnfast.errors import InvalidRecordError, TruncatedError
from dbnfast.layouts.dtypes import layout_of_dtype
from dbnfast.layouts.programs import program, upgraded
from dbnfast.records.headers import restated, start_of
from dbnfast.records.parallel import survey
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast._typing import Array, Bytes, SchemaLike
    from dbnfast.codec.options import OnTruncated, Span
    from dbnfast.errors import DecompressionError


def scan(
    buffer: Buffer,
    *,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
    on_truncated: OnTruncated = "warn",
) -> Records:
    """
    Find the records of a complete DBN stream.

    Parameters
    ----------
    buffer : bytes-like, shape (n_bytes,)
        A plain, zstd-compressed or DBZ stream, detected from its content.
    has_metadata : bool
        False for a fragment: records without a header.
    input_version : int, optional
        The DBN version of a fragment; None to infer it from the sizes of the records.
    ts_out : bool, optional
        Whether each record of a fragment ends with a ts_out; None means no.
    on_truncated : {"warn", "raise", "ignore"}
        What to do if the input ends within a record or a zstd frame. The complete records are
        returned in any case, by the error if there is one.

    Returns
    -------
    Records
        A view that keeps `buffer` alive if the input is plain, else one new block of memory.

    Raises
    ------
    TruncatedError
        The input is empty or ends within its metadata, or it ends within a record and
        `on_truncated` is "raise"; then ``.good`` has the complete records.
    MetadataError, UnsupportedVersionError
        The metadata is not valid.
    InvalidRecordError
        The header of a record is impossible; ``.good`` has the records before it.
    DecompressionError
        The compressed data is damaged; ``.good`` has the records before the damage.
    TypeError, ValueError
        An argument has the wrong type or value.

    Warns
    -----
    TruncatedWarning
        The input is incomplete, and `on_truncated` is "warn".

    Notes
    -----
    Source: ``docs/format.md``, "Anatomy of a stream" and "Compression".
    """
    check_options(has_metadata, input_version, ts_out, on_truncated)
    view = as_bytes(buffer)
    kind = compression.detect(bytes(view[:12]))
    if kind == "none":
        return _scan_plain(view, has_metadata, input_version, ts_out, on_truncated)
    metadata = None
    if kind == "dbz":
        header = dbz.read_header(view)
        metadata = header.metadata
        check_stated(metadata, input_version, ts_out)
        view = view[header.size :]
    elif has_metadata:
        head = compression.first_bytes(view, 8)
        check_begin(head)
        header_size(head)  # before memory is spent on what is no DBN
    inflated = compression.inflate(view)
    plain = sealed(inflated.data)
    if inflated.error is not None:
        raise _with_good(inflated.error, plain, metadata, has_metadata, input_version, ts_out)
    cut = inflated.cut is not None
    tail = "ignore" if cut else on_truncated  # one cut is said once
    if metadata is not None:
        records = _scan_records(plain, 0, metadata, 1, False, tail)
    else:
        records = _scan_plain(plain, has_metadata, input_version, ts_out, tail)
    if cut:
        stop = start_of(records) + records.nbytes
        error = cut_frame(f"{inflated.cut}", stop, len(records), len(plain) - stop)
        error.good = records
        report_truncated(error, on_truncated)
    return records


def scan_span(buffer: Buffer, span: Span, metadata: Metadata, on_truncated: OnTruncated) -> Records:
    """
    Find a part of the records of a plain stream.

    Parameters
    ----------
    buffer : bytes-like, shape (n_bytes,)
        The whole stream.
    span : Span
        Which records.
    metadata : Metadata
        Its header.
    on_truncated : {"warn", "raise", "ignore"}
        As `scan` takes it.

    Returns
    -------
    Records
        A view of `buffer`.

    Raises
    ------
    DecodeError
        As `scan` raises it.
    """
    view = as_bytes(buffer)[: span.end]
    version, ts_out = metadata.version, metadata.ts_out
    begin = min(span.begin, len(view))  # a file may have become shorter
    return _scan_records(view, begin, metadata, version, ts_out, on_truncated, span.first)


def _with_good(
    error: DecompressionError,
    plain: memoryview,
    metadata: Metadata | None,
    has_metadata: bool,
    input_version: int | None,
    ts_out: bool | None,
) -> DecompressionError:
    # the records that were whole before the compressed data broke
    try:
        if metadata is not None:
            error.good = _scan_records(plain, 0, metadata, 1, False, "ignore")
        else:
            error.good = _scan_plain(plain, has_metadata, input_version, ts_out, "ignore")
    except InvalidRecordError as invalid:
        error.good = invalid.good
    except TruncatedError:
        pass  # not even the metadata was whole
    return error


def _scan_plain(
    view: memoryview,
    has_metadata: bool,
    input_version: int | None,
    ts_out: bool | None,
    on_truncated: str,
) -> Records:
    if has_metadata:
        check_begin(view)
        header = parse_header(view)
        metadata = Metadata._from_header(header)
        check_stated(metadata, input_version, ts_out)
        return _scan_records(
            view, header.size, metadata, metadata.version, metadata.ts_out, on_truncated
        )
    version = DBN_VERSION if input_version is None else input_version
    records = _scan_records(view, 0, None, version, bool(ts_out), on_truncated)
    if input_version is None:
        inferred = infer_version(records)
        if inferred is not None:
            return restated(records, inferred[0], None)
    return records


def _scan_records(
    view: memoryview,
    start: int,
    metadata: Metadata | None,
    version: int,
    ts_out: bool,
    on_truncated: str,
    n_before: int = 0,
) -> Records:
    records, status = survey(Records, view, start, len(view), version, ts_out, metadata)
    stop, n = start + records.nbytes, n_before + len(records)
    if status == INVALID:
        raise invalid_record(stop, n, view[stop] * 4, view[stop + 1], ts_out, records)
    if status == MORE:
        error = cut_record(stop, n, view[stop:])
        error.good = records
        report_truncated(error, on_truncated)
    return records


def decode(
    buffer: Buffer,
    *,
    schema: SchemaLike | None = None,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
    on_truncated: OnTruncated = "warn",
) -> Array:
    """
    Decode the records of one type.

    Parameters
    ----------
    buffer : bytes-like, shape (n_bytes,)
        A plain, zstd-compressed or DBZ stream.
    schema : Schema, RType or str, optional
        The records to decode; None if there is only one type.
    has_metadata, input_version, ts_out, on_truncated
        As `scan` takes them.

    Returns
    -------
    ndarray, shape (n_records,)
        Read-only; see `Records.array`. A view that keeps `buffer` alive if the input is plain
        and all records have one type and length, else a copy. Without any record of the schema
        it has the shape (0,), and nothing warns; `Store.to_ndarray` does.

    Raises
    ------
    MixedRecordsError
        No schema is given, and there are several types, or one that has no layout.
    DecodeError
        As `scan` raises it.
    TypeError, ValueError
        An argument has the wrong type or value.
    """
    records = scan(
        buffer,
        has_metadata=has_metadata,
        input_version=input_version,
        ts_out=ts_out,
        on_truncated=on_truncated,
    )
    return records.array(schema)


def split(
    buffer: Buffer,
    *,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
    on_truncated: OnTruncated = "warn",
) -> dict[RType | int, Array | Bytes]:
    """
    Decode the records of all types.

    Parameters
    ----------
    buffer : bytes-like, shape (n_bytes,)
        A plain, zstd-compressed or DBZ stream.
    has_metadata, input_version, ts_out, on_truncated
        As `scan` takes them.

    Returns
    -------
    dict
        Arrays by rtype; see `Records.split`.

    Raises
    ------
    DecodeError
        As `scan` raises it.
    TypeError, ValueError
        An argument has the wrong type or value.
    """
    records = scan(
        buffer,
        has_metadata=has_metadata,
        input_version=input_version,
        ts_out=ts_out,
        on_truncated=on_truncated,
    )
    return records.split()


@overload
def upgrade(array_or_records: Records, *, to_version: int = DBN_VERSION) -> Records: ...
@overload
def upgrade(
    array_or_records: np.ndarray[Any, np.dtype[np.void]], *, to_version: int = DBN_VERSION
) -> Array: ...
def upgrade(
    array_or_records: Records | np.ndarray[Any, np.dtype[np.void]],
    *,
    to_version: int = DBN_VERSION,
) -> Records | Array:
    """
    Bring records to a newer version of their layout.

    Parameters
    ----------
    array_or_records : ndarray or Records
        A structured array of one of the layouts' dtypes, or Records.
    to_version : int
        2 or 3.

    Returns
    -------
    ndarray or Records
        The same object where nothing is older; else a copy, read-only.

    Raises
    ------
    TypeError
        The array's dtype is none of the layouts'.
    ValueError
        The records are newer than that.
    """
    if isinstance(array_or_records, Records):
        return array_or_records.upgrade(to_version)
    layout, ts_out = layout_of_dtype(array_or_records)
    to_version = check_version("to_version", to_version)
    if min(layout.versions) > to_version:
        raise ValueError(f"{layout.name} records cannot become version {to_version}")
    target = upgraded(layout.rtypes[0], layout, to_version)
    if target is layout:
        return array_or_records
    kind = target.dtype(ts_out)
    block = np.empty(array_or_records.size * kind.itemsize, np.uint8)
    source = np.ascontiguousarray(array_or_records)
    if source.size:
        recipe = program(layout, target)
        core.upgrade(as_bytes(source), source.itemsize, recipe, block, ts_out)
    return read_only(block, kind).reshape(array_or_records.shape)
