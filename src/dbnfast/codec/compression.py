"""
Zstandard, whole and in pieces; the only module that imports a zstd library.

A DBN file may hold any number of frames, split anywhere, with skippable frames between. Whole
buffers are decompressed into one numpy block, independent frames on threads; pieces go through
an `Inflater`, which makes output only as it is asked for.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from dbnfast._core.run import Owner
from dbnfast._util.threads import each
from dbnfast.enums import Compression
from dbnfast.errors import DbnError, DecompressionError

if TYPE_CHECKING:
    from types import ModuleType

    from typing_extensions import Buffer

# Output and input that is handled at a time. Both stay in the cache, and are less than what C
# allocators give back to the system at once, so that no piece costs new pages.
PIECE: Final = 32 << 10
INPUT_PIECE: Final = 64 << 10
BLOCK_MAX: Final = 128 << 10  # the most that one zstd block can hold
TRUSTED_RATIO: Final = 256  # reserve no more than this times the input on a frame's word

_NOTHING: Final = memoryview(b"")

Kind = Literal["none", "zstd", "dbz"]


def zstd() -> ModuleType:
    """
    Import the zstd module: the standard library's, before Python 3.14 its backport.

    Returns
    -------
    module

    Raises
    ------
    DbnError
        This Python was built without zstd.
    """
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd as module
        else:
            from backports import zstd as module
    except ImportError as error:
        hint = (
            "this Python was built without compression.zstd"
            if sys.version_info >= (3, 14)
            else "backports.zstd is not installed"
        )
        raise DbnError(f"zstd data cannot be read or written: {hint}") from error
    return module


def detect(head: bytes) -> Kind:
    """
    Tell by its first bytes how a stream is compressed.

    Parameters
    ----------
    head : bytes
        The first bytes, 12 where there are as many.

    Returns
    -------
    str
        ``"zstd"`` for a frame, skippable ones included; ``"dbz"`` for the predecessor format;
        else ``"none"``.
    """
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return "zstd"
    if is_skippable(head):
        return "dbz" if head[8:12] == b"DBZ\x01" else "zstd"
    return "none"


def is_skippable(head: bytes) -> bool:
    """
    Tell whether a skippable zstd frame begins here.

    Parameters
    ----------
    head : bytes
        The first four bytes.

    Returns
    -------
    bool
    """
    return len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


class Frame(NamedTuple):
    """
    A frame in a buffer.

    Attributes
    ----------
    start, end : int
        Its bytes.
    bound : int
        The most that its content can be: what its blocks can hold, or less where it says so.
    """

    start: int
    end: int
    bound: int


def content_bound(frame: memoryview) -> int:
    """
    Find the most bytes that a whole frame's content can be.

    Parameters
    ----------
    frame : memoryview
        One whole frame.

    Returns
    -------
    int
        The sum over its blocks, or the stated content size where that is less.
    """
    if is_skippable(bytes(frame[:4])):
        return 0
    descriptor = frame[4]
    single = descriptor >> 5 & 1
    size_bytes = (single, 2, 4, 8)[descriptor >> 6]
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + size_bytes
    bound, last = 0, False
    while not last:
        header = int.from_bytes(frame[at : at + 3], "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        # raw blocks hold their size, run-length blocks one byte for it
        bound += size if kind < 2 else BLOCK_MAX
        at += 3 + (1 if kind == 1 else size)
    stated = zstd().get_frame_info(frame).decompressed_size
    return bound if stated is None else min(bound, stated)


def frame_size(data: memoryview) -> int | None:
    """
    Find where the frame that a buffer begins with ends.

    Parameters
    ----------
    data : memoryview of bytes
        Compressed data.

    Returns
    -------
    int or None
        Its bytes; None where it is cut, or is no frame.
    """
    module = zstd()
    try:
        size: int = module.get_frame_size(data)
    except module.ZstdError:
        return None
    return size


def frames(data: memoryview) -> list[Frame] | None:
    """
    Find the frames of a buffer.

    Parameters
    ----------
    data : memoryview of bytes
        Compressed data.

    Returns
    -------
    list of Frame or None
        None where the frames do not cover the buffer: it is cut or damaged.
    """
    module = zstd()
    found, at = [], 0
    while at < len(data):
        try:
            size = module.get_frame_size(data[at:])
            found.append(Frame(at, at + size, content_bound(data[at : at + size])))
        except module.ZstdError:
            return None
        at += size
    return found


class FramePacker:
    """Makes frames that state the size of their content, with a checksum; on several threads."""

    def __init__(self) -> None:
        self._free: list[Any] = []  # compressors, whose memory is worth keeping

    def pack(self, data: Buffer) -> bytes:
        """
        Make a frame.

        Parameters
        ----------
        data : bytes-like
            The content.

        Returns
        -------
        bytes
        """
        try:
            compressor = self._free.pop()
        except IndexError:
            module = zstd()
            options = {module.CompressionParameter.checksum_flag: 1}
            compressor = module.ZstdCompressor(options=options)
        compressor.set_pledged_input_size(memoryview(data).nbytes)
        frame: bytes = compressor.compress(data, compressor.FLUSH_FRAME)
        self._free.append(compressor)
        return frame


def packed_frame(data: Buffer) -> bytes:
    """
    Make a zstd frame that states the size of its content, with a checksum.

    Parameters
    ----------
    data : bytes-like
        The content.

    Returns
    -------
    bytes
    """
    return FramePacker().pack(data)


def stored_frame(data: bytes) -> bytes:
    """
    Make a zstd frame that has its content as it is.

    Parameters
    ----------
    data : bytes
        The content.

    Returns
    -------
    bytes
        Always as long for as many bytes, so that it can be written over by another one; without
        a checksum.
    """
    # one segment, whose size has 4 bytes; then blocks, each with 3 bytes: last, raw, size
    frame = bytearray(b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little"))
    for at in range(0, max(len(data), 1), BLOCK_MAX):
        block = data[at : at + BLOCK_MAX]
        is_last = at + len(block) == len(data)
        frame += (len(block) << 3 | is_last).to_bytes(3, "little") + block
    return bytes(frame)


class Inflater:
    """
    Compressed pieces in, plain pieces out, across frames.

    Parameters
    ----------
    at, made : int
        The compressed and plain bytes of the stream that come before, all of whole frames.
    single : bool
        Whether to stop at the end of the first frame.

    Attributes
    ----------
    frame_at : int
        Offset in the compressed stream of the frame at work, or of the next one.
    waiting : int
        Compressed bytes that are queued.
    n_sound : int
        Plain bytes of the frames that have ended, each with its checksum if it has one.
    ends : list of (int, int)
        Where frames ended in the compressed and in the plain stream; only of those that end after
        the list was put here.
    """

    def __init__(self, at: int = 0, made: int = 0, *, single: bool = False) -> None:
        self._module = zstd()
        self._queue: deque[memoryview] = deque()
        self._frame: Any = None
        self._pushed = at  # bytes handed to the decompressor, less those it gave back
        self._made = made  # plain bytes
        self._single = single
        self.frame_at = at
        self.waiting = 0
        self.n_sound = made
        self.ends: list[tuple[int, int]] | None = None

    def push(self, data: Buffer) -> None:
        """
        Queue compressed bytes; they are borrowed until they are used up.

        Parameters
        ----------
        data : bytes-like
            The next bytes of the stream.
        """
        view = memoryview(data).cast("B")
        # a frame's end hands back what lies behind it: short pieces keep that cheap
        for at in range(0, len(view), INPUT_PIECE):
            self._queue.append(view[at : at + INPUT_PIECE])
        self.waiting += len(view)

    @property
    def pushed(self) -> int:
        """Where the next bytes that are pushed stand in the compressed stream."""
        return self._pushed + self.waiting

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._frame is not None

    def pull(self, max_bytes: int) -> bytes:
        """
        Make plain bytes.

        Parameters
        ----------
        max_bytes : int
            The most to make.

        Returns
        -------
        bytes
            Empty where more input is needed.

        Raises
        ------
        DecompressionError
            The compressed data is damaged.
        """
        while True:
            if self._frame is None:
                if not self._queue:
                    return b""
                self._frame = self._module.ZstdDecompressor()
            if not self._frame.needs_input:
                piece: memoryview = _NOTHING
            elif self._queue:
                piece = self._queue.popleft()
                self._pushed += len(piece)
                self.waiting -= len(piece)
            else:
                return b""
            try:
                out: bytes = self._frame.decompress(piece, max_bytes)
            except self._module.ZstdError as error:
                raise DecompressionError(
                    f"zstd frame at compressed byte {self.frame_at} is damaged: {error}; the "
                    "values of its records may be wrong, also of those before the damage",
                    offset=self.frame_at,
                ) from None
            self._made += len(out)
            if self._frame.eof:
                self._end_frame()
                if self._single:
                    return out
            if out:
                return out

    def _end_frame(self) -> None:
        unused = self._frame.unused_data
        self._frame = None
        self._pushed -= len(unused)
        self.frame_at = self._pushed
        self.n_sound = self._made
        if self.ends is not None:
            self.ends.append((self.frame_at, self.n_sound))
        if unused:
            self._queue.appendleft(memoryview(unused))
            self.waiting += len(unused)

    def rest(self) -> bytes:
        """
        Take back what was pushed and is not used.

        Returns
        -------
        bytes
            All that is queued.
        """
        taken = b"".join(self._queue)
        self._queue.clear()
        self.waiting = 0
        return taken


def inflate_into(
    data: memoryview, out: memoryview, ends: list[tuple[int, int]] | None = None
) -> int:
    """
    Decompress whole frames into memory that is there.

    Parameters
    ----------
    data : memoryview of bytes
        Whole frames.
    out : memoryview of bytes
        As long as their content can be.
    ends : list, optional
        Gets where each frame ends, as `Inflater.ends` does.

    Returns
    -------
    int
        How many bytes there are in `out`.

    Raises
    ------
    DecompressionError
        The data is damaged, or there is more than `out` holds.
    """
    inflater = Inflater()
    inflater.ends = ends
    inflater.push(data)
    at = 0
    while piece := inflater.pull(PIECE):
        if at + len(piece) > len(out):
            raise DecompressionError("a zstd frame holds more than it states")
        out[at : at + len(piece)] = piece
        at += len(piece)
    return at


def first_bytes(data: memoryview, n: int) -> bytes:
    """
    Decompress the beginning of a buffer.

    Parameters
    ----------
    data : memoryview of bytes
        Compressed data.
    n : int
        How many bytes are wanted.

    Returns
    -------
    bytes
        Up to `n`; fewer where the data is cut or damaged before.
    """
    inflater = Inflater()
    inflater.push(data[: 2 * BLOCK_MAX])
    found = b""
    try:
        while len(found) < n and (piece := inflater.pull(n - len(found))):
            found += piece
    except DecompressionError:
        pass  # whoever decompresses it all will say so
    return found


class Inflated(NamedTuple):
    """
    What became of a compressed buffer.

    Attributes
    ----------
    data : ndarray, shape (n,), uint8
        What was complete; numpy's own memory.
    cut : str or None
        Where the input ended inside a frame, the words that say so.
    error : DecompressionError or None
        What was damaged.
    """

    data: np.ndarray[tuple[int], np.dtype[np.uint8]]
    cut: str | None
    error: DecompressionError | None


def inflate(data: memoryview) -> Inflated:
    """
    Decompress a whole buffer, every frame of it.

    Parameters
    ----------
    data : memoryview of bytes
        Compressed data.

    Returns
    -------
    Inflated
    """
    found = frames(data)
    if found is not None:
        bound = sum(frame.bound for frame in found)
        if bound <= max(64 << 20, TRUSTED_RATIO * len(data)):
            try:
                return Inflated(_inflate_frames(data, found, bound), None, None)
            except DecompressionError:
                pass  # the slow road delivers what is before the damage
    return _inflate_growing(data)


def _inflate_frames(
    data: memoryview, found: list[Frame], bound: int
) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    # Every frame goes to where it would stand if all before it were as long as they can be,
    # then moves down. Memory that is only reserved costs nothing: its pages are never touched.
    block = np.empty(bound, np.uint8)
    owner: Any = Owner(data)  # each thread has views of its own of both
    starts = np.cumsum([0] + [frame.bound for frame in found]).tolist()

    def work(index: int) -> int:
        frame = found[index]
        out = memoryview(block[starts[index] : starts[index + 1]])
        return inflate_into(memoryview(owner)[frame.start : frame.end], out)

    sizes = each(work, range(len(found)))
    view, end = memoryview(block), 0
    for start, size in zip(starts, sizes, strict=False):
        if start != end:
            view[end : end + size] = view[start : start + size]
        end += size
    return block[:end]


def _inflate_growing(data: memoryview) -> Inflated:
    # One frame after the other, in memory that grows with what really comes out.
    block = np.empty(max(1 << 20, 4 * len(data)), np.uint8)
    inflater = Inflater()
    inflater.push(data)
    end, error = 0, None
    try:
        while piece := inflater.pull(PIECE):
            if end + len(piece) > len(block):
                block.resize(2 * len(block), refcheck=False)
            block[end : end + len(piece)] = np.frombuffer(piece, np.uint8)
            end += len(piece)
    except DecompressionError as damage:
        error = damage.with_traceback(None)  # whose frame holds the error
    cut = None
    if error is None and inflater.in_frame:
        cut = f"the zstd frame at compressed byte {inflater.frame_at} is cut"
    return Inflated(block[:end], cut, error)


class Deflater:
    """
    Plain bytes in, one zstd frame out, with a checksum as the official writers make it.

    Parameters
    ----------
    compression : Compression
        ``NONE`` passes everything through.
    """

    def __init__(self, compression: Compression) -> None:
        self._frame: Any = None
        if compression == Compression.ZSTD:
            module = zstd()
            options = {module.CompressionParameter.checksum_flag: 1}
            self._frame = module.ZstdCompressor(options=options)

    def push(self, data: Buffer) -> Buffer:
        """
        Take plain bytes.

        Parameters
        ----------
        data : bytes-like
            The next bytes.

        Returns
        -------
        bytes-like
            What is to be written, maybe nothing yet.
        """
        if self._frame is None:
            return data
        out: bytes = self._frame.compress(data)
        return out

    def flush(self) -> bytes:
        """
        End a block, so that all that was pushed can be read.

        Returns
        -------
        bytes
            What is to be written.
        """
        if self._frame is None:
            return b""
        out: bytes = self._frame.flush(self._frame.FLUSH_BLOCK)
        return out

    def finish(self) -> bytes:
        """
        End the frame.

        Returns
        -------
        bytes
            What is to be written last.
        """
        if self._frame is None:
            return b""
        out: bytes = self._frame.flush()
        return out
