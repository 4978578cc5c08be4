"""Files as a whole: told apart, and repaired."""

from __future__ import annotations

import contextlib
import os
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbnfast._util.atomic import is_same_file, output
from dbnfast.codec.metadata import header_bytes
from dbnfast.codec.options import open_raw
from dbnfast.codec.reader import RecordReader, count_rest, iter_decode, n_given, n_sound
from dbnfast.codec.seekable import SeekableDeflater
from dbnfast.errors import DecodeError
from dbnfast.records.headers import record_sizes

if TYPE_CHECKING:
    from dbnfast._typing import PathLike
    from dbnfast.codec.reader import Source
    from dbnfast.records.records import Records

BLOCK: Final = 16 << 20
PIECE: Final = 1 << 20


class Repaired(NamedTuple):
    """
    What `repair` kept.

    Attributes
    ----------
    n_records : int
        Whole records.
    n_bytes : int
        Their bytes and the header's, not compressed.
    lost : str or None
        Why the rest was left out; None where nothing was wrong.
    n_lost_bytes : int or None
        Bytes, not compressed, that were left out; None where a damaged or cut zstd frame hides
        how many there were.
    n_unverified : int
        Of the records, those from a zstd frame that is damaged or cut. A frame's checksum covers
        the whole frame, so that these may have wrong values although their headers are right.
        Data that is not compressed has no checksum, and is not counted here.
    """

    n_records: int
    n_bytes: int
    lost: str | None
    n_lost_bytes: int | None = 0
    n_unverified: int = 0


Repaired.__module__ = "dbnfast.files"  # where users find it


def repair(
    source: Source,
    target: PathLike | IO[bytes],
    *,
    force: bool = False,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
) -> Repaired:
    """
    Copy a stream up to its last whole good record into a new file.

    Parameters
    ----------
    source : path, URL or readable
        As `iter_decode` takes it.
    target : path, URL or writable
        The new file, compressed as the source is. A DBZ file becomes DBN of version 1. An object
        with ``write`` is left open.
    force : bool
        Whether an existing file is replaced.
    has_metadata, input_version, ts_out
        As `scan` takes them.

    Returns
    -------
    Repaired

    Raises
    ------
    DecodeError
        The metadata itself is damaged: then there is nothing to keep.
    FileExistsError
        The target is there, and `force` is not given.
    TypeError
        The target is neither a path nor writable.
    ValueError
        The target is the source.
    OSError
        A file cannot be read or written; then no target is left behind.
    """
    if isinstance(target, str | os.PathLike) and is_same_file(source, target):
        raise ValueError(f"{os.fspath(target)!r} is the source itself; a repair needs a new file")
    with contextlib.ExitStack() as stack:
        if isinstance(source, str | os.PathLike):  # a reader closes what it opened at the damage
            source = stack.enter_context(open_raw(source))
        return _repair(
            source,
            target,
            force,
            has_metadata=has_metadata,
            input_version=input_version,
            ts_out=ts_out,
        )


def _repair(
    source: IO[bytes], target: PathLike | IO[bytes], force: bool, **options: Any
) -> Repaired:
    reader = iter_decode(source, max_bytes=BLOCK, on_truncated="raise", **options)
    with reader, output(target, "w" if force else "x") as file:
        ts_out = bool(options["ts_out"]) if reader.metadata is None else reader.metadata.ts_out
        deflater = SeekableDeflater(reader.compression, ts_out)
        n_records, n_bytes, lost = 0, 0, None
        n_lost: int | None = 0
        verified = _Verified(reader)
        if reader.metadata is not None:
            header = header_bytes(reader.metadata)
            file.write(deflater.header(header))
            n_bytes += len(header)
        blocks = iter(reader)
        while True:
            try:
                records = next(blocks, None)
            except DecodeError as error:
                lost, n_lost = str(error), count_rest(reader)
                break
            if records is None:
                break
            file.write(deflater.push(records.data))
            verified.add(records)
            n_records += len(records)
            n_bytes += records.nbytes
        file.write(deflater.finish())
    return Repaired(n_records, n_bytes, lost, n_lost, verified.n_missing())


class _Verified:
    """Counts the records that come from zstd frames whose ends were reached."""

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader
        self._n = 0  # all records
        self._n_sound = 0

    def add(self, records: Records) -> None:
        sound = n_sound(self._reader)
        behind = n_given(self._reader)
        start = behind - records.nbytes
        if sound is not None and start <= sound < behind:
            ends = start + np.cumsum(record_sizes(records))
            self._n_sound = self._n + int(np.searchsorted(ends, sound, "right"))
        self._n += len(records)
        if sound is not None and sound >= behind:
            self._n_sound = self._n

    def n_missing(self) -> int:
        sound = n_sound(self._reader)
        if sound is None or sound >= n_given(self._reader):
            return 0
        return self._n - self._n_sound
