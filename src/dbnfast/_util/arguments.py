"""Arguments that callers give, checked."""

from __future__ import annotations

import operator
import os
from typing import Any, Final

VERSIONS: Final = (1, 2, 3)  # of DBN


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


def as_path(name: str, value: Any) -> str:
    """
    Check that an argument is a path.

    Parameters
    ----------
    name : str
        What it is called, for the error.
    value : path-like
        What a caller gave.

    Returns
    -------
    str
        With the home folder in place of ``~`` at its beginning.

    Raises
    ------
    TypeError, ValueError
        It is none.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise TypeError(f"{name} is {value!r}, expected a path")
    path = str(os.fsdecode(value))  # a member of an enumeration may be text
    if "\0" in path:
        raise ValueError(f"{name} is {path!r}, which has a NUL, as no path can")
    return os.path.expanduser(path)


def check_version(name: str, version: Any) -> int:
    """
    Check that an argument is a DBN version.

    Parameters
    ----------
    name : str
        What it is called, for the error.
    version : int, or what can be an index
        What a caller gave.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        It is no int.
    ValueError
        There is no such version.
    """
    number = as_int(name, version)
    if number not in VERSIONS:
        raise ValueError(f"{name} is {number}, expected 1, 2 or 3")
    return number


def check_upgrade(version: int, to_version: Any) -> int:
    """
    Check that what is of one version can be brought to another.

    Parameters
    ----------
    version : int
        The DBN version that it has.
    to_version : int, or what can be an index
        The one that a caller wants.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        It is no int.
    ValueError
        There is no such version, or it is an older one.
    """
    number = as_int("to_version", to_version)
    if number not in VERSIONS or number < version:
        raise ValueError(f"version {version} cannot become version {number}")
    return number


def check_port(port: Any, least: int) -> int:
    """
    Check that an argument is the number of a port.

    Parameters
    ----------
    port : int
        What a caller gave.
    least : int
        The lowest that there may be.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        It is none.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not least <= port < 2**16:
        raise ValueError(f"port is {port!r}, expected an int from {least} to 65535")
    return port
