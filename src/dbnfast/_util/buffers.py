"""Buffers of any kind as bytes, and bytes to whatever takes them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast._typing import Bytes


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
    try:
        view = memoryview(buffer)
    except TypeError:
        raise TypeError(f"{type(buffer).__name__} is no bytes-like object") from None
    if not view.c_contiguous:
        raise ValueError("the buffer is not contiguous")
    if view.nbytes == 0:
        return memoryview(b"")
    if view.format != "B" or view.ndim != 1:
        # numpy sees the bytes of items that memoryview.cast does not know
        view = memoryview(np.frombuffer(view, np.uint8))
    return view.toreadonly()


def write_all(out: Any, data: memoryview) -> None:
    """
    Write to an object that may take less than it is given, as raw files do.

    Parameters
    ----------
    out : writable
        Its ``write`` says how many bytes it took; None from an object that is no raw file means
        all.
    data : memoryview of bytes
        What to write.

    Raises
    ------
    OSError
        It takes no bytes.
    """
    while len(data):
        written = out.write(data)
        if written is None:
            if isinstance(out, io.RawIOBase):
                raise BlockingIOError("the output is non-blocking and takes no bytes now")
            return
        if not isinstance(written, int) or not 0 < written <= len(data):
            raise OSError(f"write() took {written} of {len(data)} bytes")
        data = data[written:]


def read_only(block: Bytes, dtype: np.dtype[Any]) -> np.ndarray[tuple[int], Any]:
    """
    See a block of bytes as an array that nobody can make writable.

    Parameters
    ----------
    block : ndarray of uint8
        The bytes.
    dtype : numpy.dtype
        Of the array; its itemsize divides the block's length.

    Returns
    -------
    ndarray, shape (n,)
        A view of the block.
    """
    if not len(block):
        return np.ndarray((0,), dtype, b"")
    return np.frombuffer(sealed(block), dtype)


def sealed(block: Bytes) -> memoryview:
    """
    Close a block that is written: nothing writes to it again.

    Parameters
    ----------
    block : ndarray of uint8
        The bytes; its own flag is set too.

    Returns
    -------
    memoryview
        A read-only view that keeps the block alive.
    """
    block.flags.writeable = False
    return memoryview(block)
