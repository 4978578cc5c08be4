"""Buffers of any kind as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Buffer


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
