"""What callers say of a stream, checked; and what a fragment does not say of itself."""

from __future__ import annotations

import io
import sys
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, cast

from dbnfast._util.arguments import as_int, as_path, check_version
from dbnfast._util.urls import is_url
from dbnfast.layouts.table import MAX_RECORD_SIZE, layout_by_size
from dbnfast.records.headers import groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbnfast._typing import PathLike
    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records

OnTruncated = Literal["warn", "raise", "ignore"]


class Span(NamedTuple):
    """
    Whole records of a plain stream.

    Attributes
    ----------
    begin : int
        The byte at which the first of them begins.
    end : int or None
        The byte behind the last one; None for all to the end of the stream.
    first : int
        How many records there are before them.
    """

    begin: int
    end: int | None
    first: int


def open_raw(path: PathLike, storage_options: Mapping[str, Any] | None = None) -> IO[bytes]:
    """
    Open a file for reading, unbuffered.

    Parameters
    ----------
    path : path or URL
        Where it is; ``~`` at its beginning is the home folder.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Returns
    -------
    file
        Raw: it may give less than is asked for.

    Raises
    ------
    OSError
        It cannot be opened.
    MissingExtraError
        It is at a URL, and fsspec is not installed.
    """
    if is_url(path):
        from dbnfast._util.ranges import open_url

        return cast("IO[bytes]", open_url(str(path), storage_options))
    # a member of an enumeration is text and a number at once: FileIO would take that for a
    # descriptor, and close it
    return io.FileIO(as_path("path", path))


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
    if input_version is not None:
        check_version("input_version", input_version)
    if on_truncated not in ("warn", "raise", "ignore"):
        raise ValueError(f"on_truncated is {on_truncated!r}, expected 'warn', 'raise' or 'ignore'")


def check_max_bytes(max_bytes: int) -> int:
    """
    Check the most bytes of records in one block.

    Parameters
    ----------
    max_bytes : int
        What a caller gave.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        It is no int, too few for a record, or more than there can be.
    """
    number = as_int("max_bytes", max_bytes)
    if number < MAX_RECORD_SIZE:
        raise ValueError(f"max_bytes is {number}, expected {MAX_RECORD_SIZE} or more")
    if number > sys.maxsize:  # bytes of an array
        raise ValueError(f"max_bytes is {number}, expected {sys.maxsize} or less")
    return number


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
    for rtype, size, _ in groups(records):
        layout = layout_by_size(rtype, size, records.ts_out)
        if layout is not None and 3 not in layout.versions:
            found.append((max(layout.versions), len(layout.versions) == 1))
    return min(found, default=None, key=lambda pair: (pair[0], not pair[1]))
