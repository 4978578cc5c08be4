"""Times that callers give, as nanoseconds."""

from __future__ import annotations

from typing import Any

import numpy as np


def to_ns(name: str, value: Any) -> int:
    """
    Read a time that a caller gave.

    Parameters
    ----------
    name : str
        What it is, for the error.
    value : int or datetime64
        ns since 1970-01-01 UTC, or a time of any unit.

    Returns
    -------
    int
        0 to 2**64 - 1.

    Raises
    ------
    TypeError
        It is neither.
    ValueError
        It does not fit.
    """
    if isinstance(value, np.datetime64):
        try:
            time = value.astype("M8[ns]")
        except OverflowError:  # numpy before 2.5 wraps around silently
            time = np.datetime64("NaT", "ns")
        if np.isnat(time) or time.astype(value.dtype) != value:
            raise ValueError(f"{name} is {value}, expected a time of 1970 to 2262")
        value = int(time.astype(np.int64))
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}, expected an int of ns, or a datetime64")
    number = int(value.__index__())
    if not 0 <= number < 2**64:
        raise ValueError(f"{name} is {number}, expected 0 to 2**64 - 1 ns since 1970-01-01 UTC")
    return number
