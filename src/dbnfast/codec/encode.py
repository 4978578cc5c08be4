"""Records and a header to DBN bytes: encode and Encoder. What does not fit is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dbnfast._core.scan import check_headers
from dbnfast._util.buffers import as_bytes, write_all
from dbnfast.codec.compression import Deflater
from dbnfast.codec.metadata import Metadata
from dbnfast.codec.seekable import FRAME, SeekableDeflater
from dbnfast.enums import Compression
from dbnfast.errors import EncodeError
from dbnfast.layouts.dtypes import layout_of_dtype, rtype_key
from dbnfast.layouts.table import layout_for
from dbnfast.records.headers import kind_of
from dbnfast.records.messages import Record
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO, Self

    from dbnfast.layouts.fields import Layout

    Encodable = Records | Record | np.ndarray[Any, np.dtype[np.void]] | Iterable[Any]


def _pieces(
    records: Encodable, metadata: Metadata | None, first: int = 0
) -> Iterator[tuple[memoryview, int]]:
    # the bytes of what was given, in its order and checked, each with its number of records;
    # `first` records came before
    if isinstance(records, Records):
        yield _of_records(records, metadata), len(records)
    elif isinstance(records, np.ndarray):
        yield _of_array(records, metadata, first), records.size
    elif isinstance(records, np.void):  # a row of an array
        yield _of_array(np.asarray(records), metadata, first), 1
    elif isinstance(records, Record):
        yield _of_record(records, metadata, first), 1
    elif isinstance(records, Iterable) and not isinstance(records, _NO_RECORDS):
        for part in records:
            for piece, n in _pieces(part, metadata, first):
                yield piece, n
                first += n
    else:
        raise TypeError(
            f"records is of type {type(records).__name__}, expected Records, a structured array, "
            "Record objects, or a sequence of these"
        )


def _of_records(records: Records, metadata: Metadata | None) -> memoryview:
    if metadata is not None and (records.version, records.ts_out) != (
        metadata.version,
        metadata.ts_out,
    ):
        raise EncodeError(
            f"records are of version {records.version} with ts_out {records.ts_out}, the metadata "
            f"says version {metadata.version} with ts_out {metadata.ts_out}; upgrade() first"
        )
    return records.data


def _of_array(
    array: np.ndarray[Any, np.dtype[np.void]], metadata: Metadata | None, first: int
) -> memoryview:
    layout, ts_out = layout_of_dtype(array)
    if metadata is not None:
        _check_kind(layout, ts_out, metadata, first)
    data = as_bytes(array if array.flags.c_contiguous else np.ascontiguousarray(array))
    wrong = check_headers(data, array.itemsize, _allowed(layout))
    if wrong >= 0:
        row = array.reshape(-1)[wrong]
        raise EncodeError(
            f"record {first + wrong} has length {int(row['length']) * 4} bytes and rtype "
            f"{row['rtype']}, its dtype is {layout.name} with {array.itemsize} bytes and rtype "
            f"{' or '.join(str(int(rtype)) for rtype in layout.rtypes)}",
            record_index=first + wrong,
        )
    return data


def _of_record(record: Record, metadata: Metadata | None, first: int) -> memoryview:
    layout, ts_out = kind_of(record)
    if metadata is not None:
        if layout is not None:
            _check_kind(layout, ts_out, metadata, first)
        elif ts_out != metadata.ts_out:
            _refuse_ts_out(ts_out, metadata, first)
    return memoryview(bytes(record))


def _check_kind(layout: Layout, ts_out: bool, metadata: Metadata, first: int) -> None:
    if ts_out != metadata.ts_out:
        _refuse_ts_out(ts_out, metadata, first)
    if metadata.version not in layout.versions:
        newer = layout_for(layout.rtypes[0], metadata.version)
        raise EncodeError(
            f"record {first} is a {layout.name} of version "
            f"{' or '.join(map(str, layout.versions))}, the metadata says version "
            f"{metadata.version}, whose {rtype_key(layout.rtypes[0])} records are "
            f"{'none' if newer is None else newer.name}",
            record_index=first,
        )


def _refuse_ts_out(ts_out: bool, metadata: Metadata, first: int) -> None:
    raise EncodeError(
        f"record {first} has {'a' if ts_out else 'no'} ts_out, the metadata says {metadata.ts_out}",
        record_index=first,
    )


_ALLOWED: dict[str, bytes] = {}
_NO_RECORDS = (str, bytes, bytearray, memoryview, dict)


def _allowed(layout: Layout) -> bytes:
    allowed = _ALLOWED.get(layout.name)
    if allowed is None:
        allowed = bytes(rtype in layout.rtypes for rtype in range(256))
        _ALLOWED[layout.name] = allowed
    return allowed


def _checked(metadata: object) -> Metadata | None:
    if metadata is not None and not isinstance(metadata, Metadata):
        raise TypeError(f"metadata is {type(metadata).__name__}, expected Metadata or None")
    return metadata


def encode(
    records: Encodable, metadata: Metadata | None, *, compression: Compression | str = "none"
) -> bytes:
    """
    Encode a complete DBN stream.

    Parameters
    ----------
    records : ndarray, Records, Record, or a sequence of these
        What to write, in the given order. The dtype of an array must be that of a record layout.
    metadata : Metadata or None
        The header; None for a fragment.
    compression : {"none", "zstd"}
        With "zstd" the output is one frame with a checksum.

    Returns
    -------
    bytes

    Raises
    ------
    EncodeError
        The header of a record does not fit its dtype, or the records differ from the metadata in
        version or ts_out. Headers are never changed to fit.
    TypeError, ValueError
        An argument has the wrong type or value.
    """
    metadata = _checked(metadata)
    deflater = Deflater(Compression(compression))
    parts: list[bytes | memoryview] = [b"" if metadata is None else metadata.encode()]
    parts += (piece for piece, _ in _pieces(records, metadata))
    if Compression(compression) == Compression.NONE:
        return b"".join(parts)
    return b"".join([*(deflater.push(part) for part in parts), deflater.finish()])


class Encoder:  # numpydoc ignore=PR01
    """
    Write a DBN stream piece by piece; a context manager.

    Parameters
    ----------
    writable : file-like
        A binary file, or an object with its ``write`` method. The header is written at once.
    metadata : Metadata or None
        The header; None for a fragment.
    compression : {"none", "zstd"}
        With "zstd" the output is seekable: frames of about 4 MiB of records, each with a checksum,
        and an index of them at the end. They are compressed on several threads.

    Notes
    -----
    `close` ends the stream and leaves `writable` open. If an error leaves the ``with`` block, the
    last zstd frame is not ended, so readers will see that the output is incomplete. Records are
    written when their frame is full.
    """

    __module__ = "dbnfast"  # where users find it

    _frame_bytes = FRAME  # of records in a frame

    def __init__(
        self,
        writable: IO[bytes],
        metadata: Metadata | None,
        *,
        compression: Compression | str = "none",
        _header: bytes | None = None,  # of the metadata, where it is not to be written anew
    ) -> None:
        if not hasattr(writable, "write"):
            raise TypeError(f"{type(writable).__name__} has no write()")
        self._metadata = _checked(metadata)
        ts_out = metadata is not None and metadata.ts_out
        self._deflater = SeekableDeflater(Compression(compression), ts_out, self._frame_bytes)
        self._writable = writable
        self._n = 0
        self._closed = False
        self._is_torn = False  # whether records were taken and not written
        if metadata is not None:
            self._put(self._deflater.header(metadata.encode() if _header is None else _header))

    def write(self, records: Encodable) -> None:
        """
        Write records.

        Parameters
        ----------
        records : ndarray, Records, Record, or a sequence of these
            What to write, in the order given.

        Raises
        ------
        EncodeError
            As in `encode`; the items before it in a sequence have been written.
        ValueError
            The encoder is closed.
        """
        if self._closed:
            raise ValueError("the encoder is closed")
        for piece, n in _pieces(records, self._metadata, self._n):
            self._is_torn = True
            self._put(self._deflater.push(piece))
            self._is_torn = False
            self._n += n

    def flush(self) -> None:
        """
        End a zstd frame, so that all that was written can be read; the output may be cut here.

        Raises
        ------
        ValueError
            The encoder is closed.
        """
        if self._closed:
            raise ValueError("the encoder is closed")
        self._put(self._deflater.cut())

    def close(self) -> None:
        """End the stream; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._put(self._deflater.finish())

    def _put(self, piece: bytes | memoryview) -> None:
        write_all(self._writable, memoryview(piece))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            # the error stays the one that is told
            with contextlib.suppress(Exception, KeyboardInterrupt):
                if not self._is_torn:
                    self._put(self._deflater.cut())
            self._deflater.close()
        self._closed = True
