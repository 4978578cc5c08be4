"""The files that arguments of commands stand for: paths, folders, patterns, URLs, zip files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbnfast._util.urls import is_url, masked
from dbnfast.cli.terminal import STDIN, Input
from dbnfast.errors import DbnError
from dbnfast.store.places import places_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def files_of(source: Input) -> list[Input]:
    """
    Find the files that an argument stands for.

    Parameters
    ----------
    source : Input
        The argument: a file, a folder, a pattern, a URL of any of these, or a zip file.

    Returns
    -------
    list of Input
        The argument itself where it is the path of a file, or of nothing; else by name.

    Raises
    ------
    DbnError, OSError
        There are none, or nobody says which.
    ValueError
        There is no such kind of URL.
    """
    name = source.name
    if source.place is not None or name == STDIN:
        return [source]
    if not is_url(name):
        is_one = os.path.lexists(name) and not os.path.isdir(name)
        if is_one and not name.lower().endswith(".zip"):
            return [source]
        if not is_one and not os.path.isdir(name) and not any(sign in name for sign in "*?["):
            return [source]  # whoever opens it says that it is not there
    found = []
    for place in places_of(name):
        if isinstance(place, Path):
            found.append(replace(source, name=str(place)))
        else:
            found.append(replace(source, name=place.name, place=place))
    return found


def each(inputs: Iterable[Input]) -> Iterator[Input]:
    """
    Find the files of several arguments, one after the other.

    Parameters
    ----------
    inputs : iterable of Input
        The arguments.

    Yields
    ------
    Input
        Of an argument whose files cannot be found one that cannot be opened, with that error.

    Raises
    ------
    ValueError
        There is no such kind of URL.
    """
    for source in inputs:
        try:
            found = files_of(source)
        except (DbnError, OSError) as error:
            found = [replace(source, name=masked(source.name), error=error)]
        yield from found


def single(source: Input) -> Input:
    """
    Find the one file of an argument.

    Parameters
    ----------
    source : Input
        The argument.

    Returns
    -------
    Input

    Raises
    ------
    DbnError, OSError
        As `files_of` raises them.
    ValueError
        It stands for several.
    """
    found = files_of(source)
    if len(found) > 1:
        raise ValueError(f"{masked(source.name)!r} stands for {len(found)} files, expected one")
    return found[0]
