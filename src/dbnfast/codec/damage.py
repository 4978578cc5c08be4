"""What can be wrong with a stream, and the words for it."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Final

from dbnfast.errors import DecodeError, InvalidRecordError, TruncatedError, TruncatedWarning
from dbnfast.layouts.dtypes import rtype_key
from dbnfast.layouts.table import HEADER_SIZE, LAYOUTS_BY_RTYPE

if TYPE_CHECKING:
    from dbnfast._typing import PathLike
    from dbnfast.records.records import Records

MORE: Final = 1  # of bounds.pxd's Status: a record is cut
INVALID: Final = 2  # a header cannot be true


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


def name_file(error: BaseException, path: PathLike) -> None:
    """
    Say in an error which file it is about, unless it says so already.

    Parameters
    ----------
    error : BaseException
        Of the kinds of this package, else it stays as it is.
    path : path-like
        The file.
    """
    if isinstance(error, DecodeError) and error.path is None:
        error.path = os.fsdecode(path)
        error.args = (f"{error.path}: {error}",)


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
        warn_caller(str(error))


def warn_caller(text: str, category: type[Warning] = TruncatedWarning) -> None:
    """
    Warn, at the line outside this package that led here.

    Parameters
    ----------
    text : str
        What to say.
    category : type
        Of the warning; else that the input is cut.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("dbnfast."):
        frame = frame.f_back
        level += 1
    warnings.warn(text, category, stacklevel=level)


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


def interrupted() -> RuntimeError:
    """
    Describe a reader whose call was ended in its midst, by Ctrl-C as a rule.

    What it had read for that call is lost, so that whatever it gave next would have a gap.

    Returns
    -------
    RuntimeError
    """
    return RuntimeError("reading was interrupted, and what was read is lost: begin again")
