"""
Seekable zstd: frames that end between records, with an index of them at the end of the file.

Frames are compressed, and those that are wanted decompressed, on threads and in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbnfast._core.metadata import parse_header
from dbnfast._util.buffers import sealed
from dbnfast._util.threads import Ahead
from dbnfast.codec.compression import FramePacker, inflate_into, zstd
from dbnfast.codec.index import Contents, Index, Table, contents, read_exactly
from dbnfast.codec.metadata import Metadata
from dbnfast.enums import DBN_VERSION, Compression
from dbnfast.errors import DecompressionError
from dbnfast.layouts.table import HEADER_SIZE
from dbnfast.records.parallel import survey
from dbnfast.records.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbnfast._typing import Bytes

    Pread = Callable[[int, int], bytes]
    Array = np.ndarray[Any, np.dtype[Any]]

FRAME: Final = 4 << 20  # plain bytes of records in a frame
LARGEST: Final = 1 << 30  # plain bytes of a frame that the seekable format allows
READ_MOST: Final = 16 << 20  # compressed bytes that are read at once
WORK_MOST: Final = 64 << 20  # plain bytes of frames that are in work at a time


class _Packed(NamedTuple):
    frame: bytes
    n_plain: int
    contents: Contents | None


class SeekableDeflater:
    """
    Plain bytes in, a seekable file out; compresses on threads, in bounded memory.

    Parameters
    ----------
    compression : Compression
        ``NONE`` passes everything through.
    ts_out : bool
        Whether every record ends in a ts_out.
    frame_bytes : int
        Plain bytes of records in a frame; of more only where a single record has more.

    Notes
    -----
    What was given out never ends with a frame before `finish`: a file without its end is seen to
    be cut, as one with a single frame is.
    """

    def __init__(self, compression: Compression, ts_out: bool, frame_bytes: int = FRAME) -> None:
        self._is_plain = compression == Compression.NONE
        if not self._is_plain:
            zstd()  # where it is missing, that is told before anything is written
        self._ts_out = ts_out
        self._frame_bytes = frame_bytes
        self._table = Table()
        self._packer = FramePacker()
        self._jobs: Ahead[tuple[bytes | bytearray, bool], _Packed] = Ahead(self._pack)
        self._waiting = bytearray()  # whole records
        self._held = b""  # the end of the last frame

    def header(self, data: bytes) -> bytes:
        """
        Take the metadata header, before any record.

        Parameters
        ----------
        data : bytes
            The header.

        Returns
        -------
        bytes
            What is to be written.
        """
        if self._is_plain:
            return data
        for at in range(0, len(data), LARGEST):
            self._jobs.put((data[at : at + LARGEST], False))
        return self._out(0)

    def push(self, data: memoryview) -> bytes | memoryview:
        """
        Take records.

        Parameters
        ----------
        data : memoryview of bytes
            Whole records; copied.

        Returns
        -------
        bytes-like
            What is to be written, maybe nothing yet.
        """
        if self._is_plain:
            return data
        at = 0
        while at < len(data):
            room = self._frame_bytes - len(self._waiting)
            stop = len(data)
            if stop - at > room:
                stop = self._whole(data, at, room)
            self._waiting += data[at:stop]
            if len(self._waiting) >= self._frame_bytes or stop < len(data):
                self._end_frame()
            at = stop
        return self._out(self._jobs.limit)

    def cut(self) -> bytes:
        """
        End the frame, and wait for all of them.

        Returns
        -------
        bytes
            What is to be written.
        """
        self._end_frame()
        return self._out(0)

    def finish(self) -> bytes:
        """
        End the file.

        Returns
        -------
        bytes
            What is to be written last.
        """
        if self._is_plain:
            return b""
        last = self.cut() + self._held + self._table.tobytes()
        self._held = b""
        return last

    def close(self) -> None:
        """Let no thread work on any more: what was pushed is lost."""
        self._jobs.close()

    def _whole(self, data: memoryview, at: int, room: int) -> int:
        # where the last record ends that has room; a frame has one at least
        stop = at
        if room >= HEADER_SIZE:
            run, _ = survey(Records, data, at, at + room, DBN_VERSION, self._ts_out, None)
            stop += run.nbytes
        if stop == at and not self._waiting:
            stop += max(data[at] * 4, HEADER_SIZE)
        return stop

    def _end_frame(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            self._jobs.put((waiting, True))

    def _out(self, most: int) -> bytes:
        # what is ready, and what must be waited for so that no more than `most` are in work
        parts = [self._held]
        while len(self._jobs) > most or self._jobs.ready():
            done = self._jobs.get()
            self._table.add(*done)
            parts.append(done.frame)
        if len(parts) > 1:
            self._held = parts[-1][-4:]
            parts[-1] = parts[-1][:-4]
            return b"".join(parts)
        return b""

    def _pack(self, part: tuple[bytes | bytearray, bool]) -> _Packed:
        data, is_records = part
        found = None
        if is_records:
            run, _ = survey(
                Records, memoryview(data), 0, len(data), DBN_VERSION, self._ts_out, None
            )
            found = contents(run)
        return _Packed(self._packer.pack(data), len(data), found)


def read_header(pread: Pread, index: Index) -> Metadata | None:
    """
    Read the metadata header of a seekable file.

    Parameters
    ----------
    pread : callable
        As `read_index` takes it.
    index : Index
        Of the file.

    Returns
    -------
    Metadata or None
        None for a fragment.

    Raises
    ------
    DecodeError
        It is damaged.
    """
    if not index.header_size:
        return None
    numbers = range(index.first)
    plain = b"".join(bytes(block) for block in _blocks(pread, index, numbers, WORK_MOST))
    return Metadata._from_header(parse_header(plain))


def read_frames(
    pread: Pread,
    index: Index,
    numbers: Sequence[int],
    *,
    metadata: Metadata | None = None,
    version: int = DBN_VERSION,
    ts_out: bool = False,
    max_bytes: int = WORK_MOST,
) -> Iterator[Records]:
    """
    Read chosen frames, several at the same time.

    Parameters
    ----------
    pread : callable
        As `read_index` takes it. What stands together is read at once, up to 16 MiB.
    index : Index
        Of the file.
    numbers : sequence of int
        The frames, in the order in which they are wanted.
    metadata : Metadata, optional
        The header, which goes with the records.
    version : int
        The DBN version where there is no header.
    ts_out : bool
        Whether every record ends in a ts_out where there is no header.
    max_bytes : int
        Plain bytes of frames that are in work at a time; a single frame may have more.

    Yields
    ------
    Records
        Of one frame each, in order; none of a frame without records.

    Raises
    ------
    DecompressionError
        A frame is damaged, or is not that of the index.
    """
    if metadata is not None:
        version, ts_out = metadata.version, metadata.ts_out
    numbers = [number for number in numbers if index.columns[number, 0]]
    for number, block in zip(numbers, _blocks(pread, index, numbers, max_bytes), strict=True):
        owner = sealed(block)
        records, _ = survey(Records, owner, 0, len(block), version, ts_out, metadata)
        n = int(index.columns[number, 0])
        if records.nbytes != len(block) or len(records) != n:
            raise _other(
                index,
                number,
                f"{len(records)} records in {records.nbytes} of {len(block)} bytes, expected {n}",
            )
        yield records


def _other(index: Index, number: int, text: str) -> DecompressionError:
    at = int(index.starts[number])
    return DecompressionError(
        f"frame {number} at compressed byte {at} is not that of the index: {text}", offset=at
    )


def _blocks(pread: Pread, index: Index, numbers: Sequence[int], most: int) -> Iterator[Bytes]:
    def inflated(part: tuple[int, bytes]) -> Bytes:
        return _inflated(index, *part)

    jobs: Ahead[tuple[int, bytes], Bytes] = Ahead(inflated)
    sizes: deque[int] = deque()
    try:
        for number, frame in _raw_frames(pread, index, numbers, most):
            size = int(index.plain_starts[number + 1] - index.plain_starts[number])
            while sizes and sum(sizes) + size > most:
                yield jobs.get()
                sizes.popleft()
            jobs.put((number, frame))
            sizes.append(size)
        while sizes:
            yield jobs.get()
            sizes.popleft()
    finally:
        jobs.close()


def _raw_frames(
    pread: Pread, index: Index, numbers: Sequence[int], most: int
) -> Iterator[tuple[int, bytes]]:
    # frames that stand together are read together, as long as that is not too much
    starts = index.starts
    at = 0
    while at < len(numbers):
        stop = at + 1
        first = numbers[at]
        while (
            stop < len(numbers)
            and numbers[stop] == numbers[stop - 1] + 1
            and starts[numbers[stop] + 1] - starts[first] <= min(READ_MOST, most)
        ):
            stop += 1
        begin, end = int(starts[first]), int(starts[numbers[stop - 1] + 1])
        data = read_exactly(pread, begin, end - begin)
        for number in numbers[at:stop]:
            own = data[int(starts[number]) - begin : int(starts[number + 1]) - begin]
            yield number, own
        at = stop


def _inflated(index: Index, number: int, frame: bytes) -> Bytes:
    size = int(index.plain_starts[number + 1] - index.plain_starts[number])
    # a frame without a checksum of its own has the one of the table all the same
    if frame[:4] == b"\x28\xb5\x2f\xfd" and frame[4:5] and frame[4] & 4:
        found = int.from_bytes(frame[-4:], "little")
        if found != int(index.checksums[number]):
            text = f"checksum {found:#010x}, expected {int(index.checksums[number]):#010x}"
            raise _other(index, number, text)
    block = np.empty(size, np.uint8)
    try:
        n = inflate_into(memoryview(frame), memoryview(block))
    except DecompressionError as error:
        raise _other(index, number, str(error)) from None
    if n != size:
        raise _other(index, number, f"{n} bytes of content, expected {size}")
    return block
