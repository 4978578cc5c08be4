"""What a caller wants to read: paths, URLs, zip files, streams and bytes, or several of them."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dbnfast._util.ranges import Local, Ranged, Remote
from dbnfast._util.urls import is_local, is_url
from dbnfast.store.remote import RangeSource, at_once, base_name, files_at, is_zip
from dbnfast.store.sources import FileSource, MemorySource, Source, paths_of
from dbnfast.store.zipped import Deflated, DeflatedSource, members_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dbnfast._typing import PathLike
    from dbnfast.codec.options import OnTruncated

_SQUEEZED: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:[/\\][^/\\]")  # s3:/bucket
Place: TypeAlias = Path | Ranged | Deflated  # of a file


def places_of(
    source: PathLike,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: Any = None,
) -> list[Place]:
    """
    Find the files that a path or a URL means.

    Parameters
    ----------
    source : path-like or str
        A file, a pattern, or a folder; the members of a zip file are files, too.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.
    filesystem : fsspec.AbstractFileSystem, optional
        The filesystem that it is on, whatever it looks like.

    Returns
    -------
    list of Path, Ranged or Deflated
        In the order of their names.

    Raises
    ------
    FileNotFoundError
        There are none.
    DecodeError
        A zip file cannot be read.
    OSError
        A filesystem does not say.
    TypeError, ValueError
        There is no such filesystem.
    """
    name = os.fsdecode(source)
    if filesystem is None and not is_url(name):
        if isinstance(source, Path) and _SQUEEZED.match(name) and not source.exists():
            text = "no such DBN file; a URL is text, a Path makes another of it"
            raise FileNotFoundError(errno.ENOENT, text, name)
        return [one for path in paths_of(name) for one in _unpacked(path)]
    places: list[Place] = []
    found = files_at(name, storage_options, filesystem)
    if is_zip(found[0]):
        outer = _behind(found[0].fs.fo)
        if outer is not None:  # what is in it is read in place
            wanted = {place.path for place in found if isinstance(place, Remote)}
            return list(members_of(_ranged(outer), wanted))
    for place in found:  # a URL may name files of the system, too
        for one in paths_of(place) if isinstance(place, Path) else (place,):
            places += _unpacked(one)
    return places


def _ranged(place: Path | Remote) -> Ranged:
    return Local(place) if isinstance(place, Path) else place


def _unpacked(place: Path | Remote) -> list[Place]:
    name = place.name if isinstance(place, Path) else base_name(place.path)
    if not name.lower().endswith(".zip") or (isinstance(place, Path) and not place.is_file()):
        return [place]
    outer = _ranged(place)
    found = members_of(outer)
    if not found:
        text = "no DBN files (.dbn, .dbn.zst, .dbz) in this zip file"
        raise FileNotFoundError(errno.ENOENT, text, outer.name)
    return list(found)


def source_at(place: Place, on_truncated: OnTruncated) -> Source:
    """
    Open a file.

    Parameters
    ----------
    place : Path, Ranged or Deflated
        The file.
    on_truncated : str
        As `scan` takes it.

    Returns
    -------
    Source
    """
    if isinstance(place, Ranged):
        return RangeSource(place, on_truncated)
    if isinstance(place, Deflated):
        return DeflatedSource(place, on_truncated)
    if place.is_fifo():  # gives its bytes only once
        return MemorySource(place.read_bytes(), on_truncated)
    return FileSource(place, on_truncated)


def sources_of(
    source: Any,
    on_truncated: OnTruncated,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: Any = None,
) -> list[Source]:
    """
    Find what a caller wants to read.

    Parameters
    ----------
    source : path, URL, bytes-like, readable, databento.DBNStore, or a sequence of them
        A path or a URL may be a pattern, or a folder, whose ``.dbn`` files are meant.
    on_truncated : str
        As `scan` takes it.
    storage_options, filesystem
        As `places_of` takes them.

    Returns
    -------
    list of Source
        In the order given, a pattern's and a folder's files by name.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        It is none of these.
    """
    items = list(_flat(source))
    is_far = filesystem is not None or any(is_url(item) for item in items)

    def look(item: Any) -> list[Place | Source]:
        return _looked_up(item, on_truncated, storage_options, filesystem)

    def opened(one: Place | Source) -> Source:
        return one if isinstance(one, Source) else source_at(one, on_truncated)

    places = at_once(look, items) if is_far else map(look, items)
    found = [one for several in places for one in several]
    if all(isinstance(one, Source | Path) for one in found):
        return [opened(one) for one in found]
    return at_once(opened, found)


def _flat(source: Any) -> Iterator[Any]:
    if isinstance(source, list | tuple):
        for part in source:
            yield from _flat(part)
    else:
        yield source


def _looked_up(
    source: Any,
    on_truncated: OnTruncated,
    storage_options: Mapping[str, Any] | None,
    filesystem: Any,
) -> list[Place | Source]:
    if isinstance(source, Ranged | Deflated):
        return [source]
    fs = getattr(source, "fs", None)
    if hasattr(fs, "cat_file") and not hasattr(source, "read"):  # a path that knows where it is
        return list(places_of(str(source.path), filesystem=fs))
    if isinstance(source, str | os.PathLike):
        return list(places_of(source, storage_options, filesystem))
    if hasattr(type(source), "raw") and hasattr(type(source), "reader"):  # a databento.DBNStore
        path = getattr(vars(source).get("_data_source"), "path", None)
        return [MemorySource(source.raw, on_truncated) if path is None else Path(path)]
    if hasattr(source, "read"):
        if isinstance(source, io.TextIOBase):
            raise TypeError("the stream is open as text, expected binary")
        found = _of_file(source)
        if found is not None:
            return list(found)
        with contextlib.suppress(OSError, AttributeError):  # a pipe is read from where it is
            source.seek(0)
        return [MemorySource(source.read(), on_truncated)]
    try:
        return [MemorySource(source, on_truncated)]
    except TypeError:
        raise TypeError(
            f"{type(source).__name__} is no path, bytes-like object or readable"
        ) from None


def _of_file(source: Any) -> list[Place] | None:
    # what is behind a file that is open at its beginning; None where that is to be read as it is
    try:
        if source.tell() != 0:
            return None
    except (OSError, AttributeError, ValueError):
        return None
    found = _behind(source)
    return None if found is None else _unpacked(found)


def _behind(source: Any) -> Path | Remote | None:
    # the file that a file object reads; None where there is none, or another version of it
    fs, path = getattr(source, "fs", None), getattr(source, "path", None)
    if isinstance(path, str) and hasattr(fs, "cat_file"):
        if getattr(source, "mode", "rb") != "rb" or getattr(source, "version_id", None):
            return None
        return Path(path) if is_local(fs) else Remote(fs, path)
    raw = source.raw if type(source) is io.BufferedReader else source
    if type(raw) is not io.FileIO or not isinstance(raw.name, str | bytes):
        return None
    path = Path(os.path.abspath(os.fsdecode(raw.name)))
    try:
        is_same = path.is_file() and os.path.samestat(os.fstat(raw.fileno()), os.stat(path))
    except OSError:
        return None
    return path if is_same else None
