"""Whole buffers: scan, decode, split, upgrade, and the dtypes of the schemas."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import numpy as np

from dbnfast import compression, dbz
from dbnfast._core import copy as core
from dbnfast._core.metadata import parse_header
from dbnfast._core.run import survey_run
from dbnfast.enums import DBN_VERSION, RType, Schema
from dbnfast.errors import InvalidRecordError, TruncatedError, TruncatedWarning
from dbnfast.layouts import HEADER_SIZE, LAYOUTS, LAYOUTS_BY_RTYPE, layout_by_size
from dbnfast.metadata import Metadata
from dbnfast.programs import SIZES, program, upgraded
from dbnfast.records import (
    Records,
    as_rtype,
    empty_records,
    read_only,
    rtype_key,
    schema_dtype,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast.errors import DecompressionError
    from dbnfast.layout_types import Layout
    from dbnfast.records import Array, Bytes

OnTruncated = Literal["warn", "raise", "ignore"]

INVALID: Final = 2  # of bounds.pxd's Status
MORE: Final = 1

_LAYOUT_BY_DTYPE: Final[dict[np.dtype[np.void], tuple[Layout, bool]]] = {
    layout.dtype(ts_out): (layout, ts_out) for layout in LAYOUTS for ts_out in (False, True)
}


def as_bytes(buffer: Buffer) -> memoryview:
    """
    See any contiguous buffer as read-only bytes.

    Parameters
    ----------
    buffer : bytes-like
        bytes, bytearray, memoryview, mmap, array or ndarray, of any item type.

    Returns
    -------
    memoryview
        One-dimensional, of unsigned bytes; keeps `buffer` alive.

    Raises
    ------
    TypeError
        It is no buffer.
    ValueError
        It is not contiguous.
    """
    if isinstance(buffer, str):
        raise TypeError("a str is no bytes-like object; open files with iter_decode()")
    view = memoryview(buffer)
    if not view.c_contiguous:
        raise ValueError("the buffer is not contiguous")
    if view.nbytes == 0:
        return memoryview(b"")
    if view.format != "B" or view.ndim != 1:
        # numpy sees the bytes of items that memoryview.cast does not know
        view = memoryview(np.frombuffer(view, np.uint8))
    return view.toreadonly()


def check_options(
    has_metadata: bool, input_version: int | None, ts_out: bool | None, on_truncated: str
) -> None:
    """
    Check the options that all readers share.

    Parameters
    ----------
    has_metadata, input_version, ts_out, on_truncated
        As `scan` takes them.

    Raises
    ------
    ValueError
        One of them cannot be.
    """
    if input_version not in (None, 1, 2, 3):
        raise ValueError(f"input_version is {input_version!r}, expected 1, 2 or 3")
    if on_truncated not in ("warn", "raise", "ignore"):
        raise ValueError(f"on_truncated is {on_truncated!r}, expected 'warn', 'raise' or 'ignore'")


def check_stated(metadata: Metadata, input_version: int | None, ts_out: bool | None) -> None:
    """
    Check that what the caller says of a stream is what its header says.

    Parameters
    ----------
    metadata : Metadata
        The header.
    input_version, ts_out
        As `scan` takes them.

    Raises
    ------
    ValueError
        They differ.
    """
    for name, said, stated in (
        ("input_version", input_version, metadata.version),
        ("ts_out", ts_out, metadata.ts_out),
    ):
        if said is not None and said != stated:
            raise ValueError(f"{name} is {said!r}, the stream's own header says {stated!r}")


def infer_version(records: Records) -> tuple[int, bool] | None:
    """
    Tell by the records' sizes what version a fragment is of.

    Parameters
    ----------
    records : Records
        Records of the fragment.

    Returns
    -------
    version, certain
        The oldest version that a record points to, and whether later records may not point to
        an older one: statistics are the same in versions 1 and 2. None where no record points
        to a version before 3.
    """
    found = []
    for rtype, size, _ in records._groups:
        layout = layout_by_size(rtype, size, records.ts_out)
        if layout is not None and 3 not in layout.versions:
            found.append((max(layout.versions), len(layout.versions) == 1))
    return min(found, default=None, key=lambda pair: (pair[0], not pair[1]))


def invalid_record(
    offset: int,
    record_index: int,
    length: int,
    rtype: int,
    ts_out: bool,
    good: Records | None,
) -> InvalidRecordError:
    """
    Describe a record whose header cannot be true.

    Parameters
    ----------
    offset, record_index : int
        Where it stands.
    length, rtype : int
        What its header says.
    ts_out : bool
        Whether a ts_out follows every record.
    good : Records or None
        The records before it.

    Returns
    -------
    InvalidRecordError
    """
    expected, of = HEADER_SIZE, ""
    if length >= HEADER_SIZE:
        expected = LAYOUTS_BY_RTYPE[rtype][0].itemsize(ts_out)
        of = f" of rtype {rtype_key(rtype)}" + (" with ts_out" if ts_out else "")
    return InvalidRecordError(
        f"record {record_index} at byte {offset}{of} has a length of {length} bytes, "
        f"expected {expected} or more",
        offset=offset,
        record_index=record_index,
        length=length,
        rtype=rtype,
        good=good,
    )


def report_truncated(error: TruncatedError, on_truncated: str) -> None:
    """
    Warn, raise or keep silent about a cut.

    Parameters
    ----------
    error : TruncatedError
        What to say.
    on_truncated : str
        As `scan` takes it.

    Raises
    ------
    TruncatedError
        Where that is what is wanted.
    """
    if on_truncated == "raise":
        raise error
    if on_truncated == "warn":
        warn_truncated(str(error))


def warn_truncated(text: str) -> None:
    """
    Warn that the input is cut, at the line outside this package that led here.

    Parameters
    ----------
    text : str
        What to say.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("dbnfast."):
        frame = frame.f_back
        level += 1
    warnings.warn(text, TruncatedWarning, stacklevel=level)


def cut_record(offset: int, record_index: int, tail: memoryview) -> TruncatedError:
    """
    Describe a record that the end of the input cuts.

    Parameters
    ----------
    offset, record_index : int
        Where it stands.
    tail : memoryview
        What is there of it.

    Returns
    -------
    TruncatedError
    """
    needed = HEADER_SIZE if len(tail) < HEADER_SIZE else tail[0] * 4
    return TruncatedError(
        f"record {record_index} at byte {offset} needs {needed} bytes, {len(tail)} remain",
        offset=offset,
        record_index=record_index,
        needed=needed,
        available=len(tail),
    )


def cut_frame(text: str, offset: int, record_index: int, available: int) -> TruncatedError:
    """
    Describe a zstd frame that the end of the input cuts.

    Parameters
    ----------
    text : str
        Says which frame.
    offset, record_index : int
        Where the first record that is not whole would stand, in the decompressed stream.
    available : int
        What is there of it.

    Returns
    -------
    TruncatedError
    """
    return TruncatedError(
        f"{text}: record {record_index} at byte {offset} of the content is not whole",
        offset=offset,
        record_index=record_index,
        available=available,
    )


def scan(
    buffer: Buffer,
    *,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
    on_truncated: OnTruncated = "warn",
) -> Records:
    """
    Find the records of a whole DBN stream.

    Parameters
    ----------
    buffer : bytes-like, shape (n_bytes,)
        A plain, zstd-compressed or DBZ stream; its content tells which.
    has_metadata : bool
        False for a fragment: records alone.
    input_version : int, optional
        The DBN version of a fragment; None to tell it by the records' sizes.
    ts_out : bool, optional
        Whether the records of a fragment end in a ts_out; None for no.
    on_truncated : {"warn", "raise", "ignore"}
        What to do where the input ends inside a record or a zstd frame. What is complete is
        delivered all the same.

    Returns
    -------
    Records
        Of plain input a view that keeps `buffer` alive; else one new block of memory.

    Raises
    ------
    TruncatedError
        The input is empty, its metadata is cut, or `on_truncated` is "raise".
    MetadataError, UnsupportedVersionError
        The metadata is not valid.
    InvalidRecordError
        A record's header cannot be true; ``.good`` has the records before it.
    DecompressionError
        The compressed data is damaged; ``.good`` has the records before the damage.
    TypeError, ValueError
        An argument is not what it should be.

    Warns
    -----
    TruncatedWarning
        The input is cut, and `on_truncated` is "warn".

    Notes
    -----
    Source: ``docs/format.md``, "Stream anatomy" and "Compression".
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
    inflated = compression.inflate(view)
    plain = memoryview(inflated.data).toreadonly()
    if inflated.error is not None:
        raise _with_good(inflated.error, plain, metadata, has_metadata, input_version, ts_out)
    cut = inflated.cut is not None
    tail = "ignore" if cut else on_truncated  # one cut is said once
    if metadata is not None:
        records = _scan_records(plain, 0, metadata, 1, False, tail)
    else:
        records = _scan_plain(plain, has_metadata, input_version, ts_out, tail)
    if cut:
        stop = records._start + records.nbytes
        error = cut_frame(f"{inflated.cut}", stop, len(records), len(plain) - stop)
        report_truncated(error, on_truncated)
    return records


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
            return records._make(records._owner, 0, records.nbytes, inferred[0], None)
    return records


def _scan_records(
    view: memoryview,
    start: int,
    metadata: Metadata | None,
    version: int,
    ts_out: bool,
    on_truncated: str,
) -> Records:
    records, status = survey_run(Records, view, start, len(view), SIZES, version, ts_out, metadata)
    stop = start + records.nbytes
    if status == INVALID:
        raise invalid_record(stop, len(records), view[stop] * 4, view[stop + 1], ts_out, records)
    if status == MORE:
        report_truncated(cut_record(stop, len(records), view[stop:]), on_truncated)
    return records


def decode(
    buffer: Buffer,
    *,
    schema: Schema | RType | str | None = None,
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
        What to decode; None for the only type there is.
    has_metadata, input_version, ts_out, on_truncated
        As `scan` takes them.

    Returns
    -------
    ndarray, shape (n_records,)
        Read-only; see `Records.array`. Of plain input with one type and length a view that
        keeps `buffer` alive.

    Raises
    ------
    MixedRecordsError
        No schema is given, and there are several types or one without a layout.
    DecodeError
        As `scan` raises it.
    TypeError, ValueError
        An argument is not what it should be.
    """
    if schema is not None and has_metadata:
        found = _decode_mixed(as_bytes(buffer), schema)
        if found is not None:
            check_options(has_metadata, input_version, ts_out, on_truncated)
            check_stated(found[1], input_version, ts_out)
            return found[0]
    records = scan(
        buffer,
        has_metadata=has_metadata,
        input_version=input_version,
        ts_out=ts_out,
        on_truncated=on_truncated,
    )
    return records.array(schema)


def _decode_mixed(view: memoryview, schema: Schema | RType | str) -> tuple[Array, Metadata] | None:
    # One pass instead of two where a schema is asked of a plain stream of several types, all
    # sound: walking it is what costs. None where it is anything else: `scan` knows what to do.
    if compression.detect(bytes(view[:12])) != "none" or len(view) < HEADER_SIZE:
        return None
    header = parse_header(view)
    metadata = Metadata._from_header(header)
    start = header.size
    if len(view) < start + 2 * HEADER_SIZE or _looks_alike(view, start):
        return None
    nothing = empty_records(metadata.version, metadata.ts_out, metadata)
    rtypes, kind = nothing._selection(schema)
    block = np.empty(len(view) - start, np.uint8)
    wanted = bytes(rtype in rtypes for rtype in range(256))
    n = core.gather(view, start, block, SIZES, metadata.ts_out, wanted, kind.itemsize)
    if n is None:
        return None
    block.resize(n, refcheck=False)  # gives back what was reserved for all
    return read_only(block, kind), metadata


def _looks_alike(view: memoryview, start: int) -> bool:
    # whether the first records are alike: then the array may be a view, and need no copy
    size = view[start] * 4
    ends = range(start, min(len(view) - 1, start + 64 * max(size, 1)), max(size, 1))
    return all(view[at : at + 2] == view[start : start + 2] for at in ends)


def split(
    buffer: Buffer,
    *,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
    on_truncated: OnTruncated = "warn",
) -> dict[RType | int, Array | Bytes]:
    """
    Decode the records of every type.

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
        An argument is not what it should be.
    """
    records = scan(
        buffer,
        has_metadata=has_metadata,
        input_version=input_version,
        ts_out=ts_out,
        on_truncated=on_truncated,
    )
    return records.split()


def dtype(
    schema: Schema | RType | str, *, version: int = DBN_VERSION, ts_out: bool = False
) -> np.dtype[np.void]:
    """
    Give the dtype of a schema's records.

    Parameters
    ----------
    schema : Schema, RType or str
        The schema; an rtype for records that no schema has.
    version : int
        The DBN version, 1 to 3.
    ts_out : bool
        Whether a ts_out follows every record, as its last field.

    Returns
    -------
    numpy.dtype
        Packed, little-endian, under the official field names.

    Raises
    ------
    TypeError, ValueError
        There is no such schema or version.
    """
    return schema_dtype(schema, version, ts_out)[1]


def empty(
    schema: Schema | RType | str, n: int, *, version: int = DBN_VERSION, ts_out: bool = False
) -> Array:
    """
    Make records to be filled in.

    Parameters
    ----------
    schema : Schema, RType or str
        The schema; an rtype for records that no schema has.
    n : int
        Number of records.
    version : int
        The DBN version, 1 to 3.
    ts_out : bool
        Whether a ts_out follows every record.

    Returns
    -------
    ndarray, shape (n,)
        A new, writable array: length and rtype are set, all else is at its undefined value, or
        zero where it has none.

    Raises
    ------
    TypeError, ValueError
        There is no such schema or version, or `n` is negative.
    """
    layout, kind = schema_dtype(schema, version, ts_out)
    record = layout.undefined(ts_out)
    record["rtype"] = as_rtype(schema)[1]
    made = np.empty(n, kind)
    made[:] = record
    return made


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
    if to_version not in (1, 2, 3) or max(layout.versions) < 1:
        raise ValueError(f"to_version is {to_version!r}, expected 1, 2 or 3")
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
    return read_only(block, kind)


def layout_of_dtype(array: np.ndarray[Any, Any]) -> tuple[Layout, bool]:
    """
    Find the layout that an array's dtype is.

    Parameters
    ----------
    array : ndarray
        A structured array.

    Returns
    -------
    layout, ts_out

    Raises
    ------
    TypeError
        It is none of the layouts'.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{type(array).__name__} is no structured array of records")
    found = _LAYOUT_BY_DTYPE.get(array.dtype)
    if found is None:
        raise TypeError(f"dtype {array.dtype} is of no DBN record; dtype() gives those")
    return found


def no_records(metadata: Metadata | None) -> Records:
    """
    Make the Records of a stream that holds none.

    Parameters
    ----------
    metadata : Metadata or None
        The header of the stream.

    Returns
    -------
    Records
    """
    if metadata is None:
        return empty_records(DBN_VERSION, False, None)
    return empty_records(metadata.version, metadata.ts_out, metadata)
