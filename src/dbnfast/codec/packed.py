"""A zstd stream that is read piece by piece, frames that fit into memory ahead on threads."""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbnfast._util.threads import Ahead, cores
from dbnfast.codec.compression import (
    BLOCK_MAX,
    INPUT_PIECE,
    PIECE,
    Inflater,
    inflate_into,
    is_skippable,
)
from dbnfast.errors import DecompressionError

if TYPE_CHECKING:
    from dbnfast._typing import Bytes

READ_SIZE: Final = 256 << 10  # of compressed input
BATCH: Final = 1 << 20  # plain bytes of small frames that are decompressed in one go
AHEAD: Final = 2  # batches in work for each processor: more would not stay in its cache
SMALL: Final = 128 << 10  # plain bytes of what is decompressed whole before anybody hurries
SKIPPED_MOST: Final = 64 << 20  # bytes of a skippable frame that is kept
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_NOTHING: Final = memoryview(b"")
_NO_BLOCK: Final = np.empty(0, np.uint8)


class LoggedFrame(NamedTuple):
    """
    A frame that came by.

    Attributes
    ----------
    start, end : int
        Where it stands in the compressed stream.
    plain_end : int
        Where its content ends in the plain stream.
    raw : bytes
        The checksum of its content; of a skippable frame all of it. Empty where there is none, or
        the frame was too large to be in memory.
    skippable : bool
        Whether it is one to be skipped.
    """

    start: int
    end: int
    plain_end: int
    raw: bytes
    skippable: bool


class _Batch(NamedTuple):
    # whole frames, the most that their content can be, and memory for it
    at: int
    data: bytes
    bound: int
    block: Bytes
    ends: list[tuple[int, int]] | None  # of the frames, where these are remembered

    @property
    def weight(self) -> int:
        return max(len(self.data), self.bound)


def _inflate(batch: _Batch) -> int:
    return inflate_into(memoryview(batch.data), memoryview(batch.block), batch.ends)


def read_into(file: Any, out: memoryview) -> int:
    """
    Read from a readable into memory.

    Parameters
    ----------
    file : readable
        Has ``readinto`` or ``read``.
    out : memoryview
        Where to.

    Returns
    -------
    int
        How many bytes came; 0 at the end.

    Raises
    ------
    OSError
        It cannot be read, or gives none or too many.
    """
    got: int | None
    if hasattr(file, "readinto"):
        got = file.readinto(out)
    else:
        data = file.read(len(out))
        got = None if data is None else len(data)
        if data is not None and len(data) <= len(out):
            out[: len(data)] = data
    if got is None:
        raise BlockingIOError("the stream is non-blocking and has no bytes ready")
    if not 0 <= got <= len(out):
        raise OSError(f"the stream gave {got} bytes where {len(out)} were asked for")
    return got


def _is_patient(file: Any) -> bool:
    # whether bytes are there without waiting for somebody to send them
    try:
        if hasattr(file, "seekable"):
            return bool(file.seekable())
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):
        return False


class Packed:
    """
    A zstd stream; `cut` or `error` says so where it ended inside a frame, or in damage.

    Parameters
    ----------
    file : readable
        The stream.
    head : bytes
        What was read of it.
    log : bool
        Whether to remember the frames.

    Attributes
    ----------
    cut : str or None
        Where the input ended inside a frame, the words that say so.
    error : DecompressionError or None
        What is damaged.
    n_sound : int
        Plain bytes of the frames that have ended, checksums included.
    log : list of LoggedFrame or None
        The frames that have ended.

    Notes
    -----
    A frame whose content is small enough is read whole and decompressed on a thread, while those
    before it are used. What is too large, cut or damaged goes through an `Inflater`, which gives
    what can be given of it, and is the one that says what is wrong.
    """

    def __init__(self, file: Any, head: bytes, *, log: bool = False) -> None:
        self._file = file
        self._input = bytearray(head)  # read, and given to nobody yet
        self._at = 0  # where that stands in the stream
        self._base = len(head)  # where reading goes on
        self._block = bytearray(READ_SIZE)
        self._ended = False  # the file has
        self._is_patient = log or _is_patient(file)  # who remembers frames wants them all whole
        self._is_hurried = False
        self._most = SMALL  # bytes in work at a time
        self._jobs = Ahead(_inflate)
        self._batches: deque[_Batch] = deque()  # that the jobs are about
        self._free: list[Bytes] = []  # blocks whose content was given
        self._n_waiting = 0  # bytes that they are or may become
        self._plain = _NOTHING  # what came out last, and was not given
        self._used: Bytes | None = None  # the block that it is in
        self._inflater: Inflater | None = None  # of a frame that is given as it comes
        self._first = b""  # the bytes it begins with
        self._damaged = False  # somewhere behind: no frame is decompressed whole any more
        self.cut: str | None = None
        self.error: DecompressionError | None = None
        self.n_sound = 0
        self.log: list[LoggedFrame] | None = [] if log else None

    def hurry(self, max_bytes: int) -> None:
        """
        Decompress ahead from now on.

        Parameters
        ----------
        max_bytes : int
            The most plain bytes that are in work at a time.
        """
        if not self._is_hurried:
            self._is_hurried = True
            self._most = max(self._most, max_bytes)

    def fill(self, out: memoryview) -> int:
        """
        Decompress until memory is full or the stream ends.

        Parameters
        ----------
        out : memoryview of bytes
            Where to.

        Returns
        -------
        int
            How many bytes came.
        """
        n = 0
        while n < len(out):
            got = self._some(out[n:])
            if not got:
                break
            n += got
        return n

    def close(self) -> None:
        """Let no thread work on any more."""
        self._jobs.close()
        self._batches.clear()
        self._free.clear()

    def _some(self, out: memoryview) -> int:
        # the next bytes, at least one; 0 where there are no more
        while self.error is None and self.cut is None:
            if len(self._plain):
                n = min(len(self._plain), len(out))
                out[:n] = self._plain[:n]
                self._plain = self._plain[n:]
                return n
            if self._used is not None:
                self._free.append(self._used)
                self._plain, self._used = _NOTHING, None
            if self._inflater is not None:
                n = self._pull(self._inflater, out)
                if n:
                    return n
                continue
            if not self._damaged:
                self._top_up()
            if self._batches:
                self._take()
            elif self._input or self._read():
                self._begin_frame()
            else:
                return 0
        return 0

    # --- frames that are decompressed whole -----------------------------------------------------

    def _top_up(self) -> None:
        n_most = AHEAD * cores() if self._is_hurried else 1
        while self._n_waiting < self._most and len(self._batches) < n_most:
            batch = self._next_batch()
            if batch is None:
                return
            self._batches.append(batch)
            self._n_waiting += batch.weight
            self._jobs.put(batch, now=self._is_hurried)

    def _next_batch(self) -> _Batch | None:
        # the next frames, small ones together; None where there are none, or not now
        end = bound = 0
        while max(end, bound) < BATCH:
            found = self._measure(end)
            if found is None:
                break
            weight = max(end + found[0], bound + found[1])
            if (end or self._batches) and self._n_waiting + weight > self._most:
                break
            end += found[0]
            bound += found[1]
            if not self._is_hurried:
                break
        if not end:
            return None
        with memoryview(self._input) as view:
            data = bytes(view[:end])
        # memory that was written to already costs no new pages
        block = self._free.pop() if self._free else _NO_BLOCK
        if len(block) < bound:
            block = np.empty(max(bound, BATCH if self._is_hurried else 0), np.uint8)
        batch = _Batch(self._at, data, bound, block, None if self.log is None else [])
        del self._input[:end]
        self._at += end
        return batch

    def _measure(self, at: int) -> tuple[int, int] | None:
        # the size of the frame that begins there and the most that its content can be; None where
        # it is not whole, no frame or too large
        data, most = self._input, self._most
        if not self._have(at + 8):
            return None
        if is_skippable(bytes(data[at : at + 4])):
            size = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            return (size, 0) if size <= SKIPPED_MOST and self._have(at + size) else None
        if data[at : at + 4] != _MAGIC:
            return None
        descriptor = data[at + 4]
        is_single = descriptor >> 5 & 1
        n_stated = (is_single, 2, 4, 8)[descriptor >> 6]
        place = at + 5 + (not is_single) + (0, 1, 2, 4)[descriptor & 3]
        stated = None
        if n_stated:
            if not self._have(place + n_stated):
                return None
            stated = int.from_bytes(data[place : place + n_stated], "little")
            stated += 256 if n_stated == 2 else 0
            if stated > most:
                return None
        place += n_stated
        bound, last = 0, False
        while not last:
            if not self._have(place + 3):
                return None
            header = int.from_bytes(data[place : place + 3], "little")
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            bound += size if kind < 2 else BLOCK_MAX
            if kind == 3 or (stated is None and bound > most) or place - at > 2 * most:
                return None
            place += 3 + (1 if kind == 1 else size)
        place += 4 * (descriptor >> 2 & 1)
        if not self._have(place):
            return None
        return place - at, bound if stated is None else min(bound, stated)

    def _have(self, n: int) -> bool:
        # what is read ahead must not make anybody wait for bytes that nobody has sent
        while len(self._input) < n:
            if not self._is_patient or not self._read():
                return False
        return True

    def _read(self) -> bool:
        if self._ended:
            return False
        got = read_into(self._file, memoryview(self._block))
        self._ended = not got
        with memoryview(self._block) as block:
            self._input += block[:got]
        return bool(got)

    def _take(self) -> None:
        batch = self._batches.popleft()
        self._n_waiting -= batch.weight
        try:
            n = self._jobs.get()
        except DecompressionError:
            self._jobs.close()
            data = b"".join([batch.data, *(other.data for other in self._batches)])
            self._batches.clear()
            self._n_waiting = 0
            self._input[:0] = data
            self._at = batch.at
            self._damaged = True
            return
        if self.log is not None:
            at = 0
            for end, plain_end in batch.ends or ():
                skippable = is_skippable(batch.data[at : at + 4])
                raw = batch.data[at:end] if skippable else b""
                if not skippable and batch.data[at + 4] & 4:
                    raw = batch.data[end - 4 : end]
                self.log.append(
                    LoggedFrame(
                        batch.at + at, batch.at + end, self.n_sound + plain_end, raw, skippable
                    )
                )
                at = end
        self.n_sound += n
        self._plain, self._used = memoryview(batch.block)[:n], batch.block

    # --- a frame that is given as it comes ------------------------------------------------------

    def _begin_frame(self) -> None:
        self._inflater = Inflater(self._at, self.n_sound, single=not self._damaged)
        self._first = bytes(self._input[:4])

    def _pull(self, inflater: Inflater, out: memoryview) -> int:
        if inflater.frame_at > self._at and not self._damaged:
            self._end_frame(inflater)
            return 0
        try:
            piece = inflater.pull(min(PIECE, len(out)))
        except DecompressionError as error:
            self.error = error.with_traceback(None)  # whose frames hold the block that is filled
            self.n_sound = inflater.n_sound
            return 0
        self.n_sound = inflater.n_sound
        n = len(piece)
        out[:n] = piece
        if n or (inflater.frame_at > self._at and not self._damaged):
            return n
        if not self._feed(inflater):
            if inflater.in_frame:
                self.cut = f"the zstd frame at compressed byte {inflater.frame_at} is cut"
            self._at, self._inflater = inflater.frame_at, None
        return 0

    def _end_frame(self, inflater: Inflater) -> None:
        # the next one may be decompressed whole again
        if self.log is not None:
            skippable = is_skippable(self._first)
            self.log.append(
                LoggedFrame(self._at, inflater.frame_at, inflater.n_sound, b"", skippable)
            )
        self._input[:0] = inflater.rest()
        self._at = inflater.frame_at
        self._inflater = None

    def _feed(self, inflater: Inflater) -> bool:
        # What comes out before damage depends on the pieces that go in: wherever a frame begins,
        # these are the same. A frame's end hands back what lies behind it: short ones keep that
        # cheap.
        if not self._input and not self._read():
            return False
        at = inflater.pushed
        base = self._base if at >= self._base else 0
        n = INPUT_PIECE - (at - base) % INPUT_PIECE
        if at < self._base:
            n = min(n, self._base - at)
        with memoryview(self._input) as view:
            inflater.push(bytes(view[:n]))
        del self._input[:n]
        return True
