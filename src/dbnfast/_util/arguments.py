"""Arguments that callers give, checked."""

from __future__ import annotations

import operator
from typing import Any


def as_int(name: str, value: Any) -> int:
    """
    Check that an argument is an int.

    Parameters
    ----------
    name : str
        What it is called, for the error.
    value : int, or what can be an index
        What a caller gave.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        It is none.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{name} is {value!r}, expected an int")
