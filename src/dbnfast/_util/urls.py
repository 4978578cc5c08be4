"""URLs and the filesystems that they are on; what messages show of them."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbnfast._util.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.\-]+"
_URL: Final = re.compile(rf"({_SCHEME}::)*{_SCHEME}://|{_SCHEME}::")
_USER: Final = re.compile(rf"({_SCHEME}://)[^/@\s'\"]+@")
_VALUE: Final = re.compile(r"([?&][^=&?\s'\"/]+=)[^&\s'\"<>)]+?(?=::|:?(?:[&\s'\"<>)]|$))")


def is_url(source: object) -> bool:
    """
    Tell whether a source is the URL of a file, and no path.

    Parameters
    ----------
    source : object
        What a caller wants to read or to write.

    Returns
    -------
    bool
        True for ``s3://...``, and for chains such as ``zip://*.dbn::s3://...``.
    """
    if not isinstance(source, str):
        return False
    found = _URL.match(source)
    # a name with :: and no scheme behind may be that of a file
    return found is not None and "://" in source


def joined(url: str, name: str) -> str:
    """
    Give the URL of a file in a folder.

    Parameters
    ----------
    url : str
        That of the folder.
    name : str
        The file's name.

    Returns
    -------
    str

    Examples
    --------
    >>> joined("simplecache::s3://bucket/folder/", "a.dbn")
    'simplecache::s3://bucket/folder/a.dbn'
    """
    links = url.split("::")
    place = next(number for number, link in enumerate(links) if "://" in link)
    scheme, slashes, folder = links[place].partition("://")
    folder = folder.rstrip("/")
    links[place] = f"{scheme}{slashes}{folder}{'/' if folder else ''}{name}"
    return "::".join(links)


def masked(text: str) -> str:
    """
    Hide what is secret in URLs: who reads, with which password, and what signs a query.

    Parameters
    ----------
    text : str
        A URL, or a message with some.

    Returns
    -------
    str

    Examples
    --------
    >>> masked("https://me:secret@host/a.dbn?X-Amz-Signature=abc&part=1")
    'https://***@host/a.dbn?X-Amz-Signature=***&part=***'
    """
    return _VALUE.sub(r"\1***", _USER.sub(r"\1***@", text))


def hidden(error: BaseException) -> BaseException:
    """
    Give an error as the cause of another, without what is secret in its text.

    Parameters
    ----------
    error : BaseException
        What a filesystem raised.

    Returns
    -------
    BaseException
        The same where there is no secret.
    """
    text = str(error)
    if masked(text) == text and masked(repr(error)) == repr(error):
        return error
    return OSError(f"{type(error).__name__}: {masked(text)}")


def filesystem_of(url: str, storage_options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """
    Find the filesystem that a URL is on.

    Parameters
    ----------
    url : str
        The URL.
    storage_options : mapping, optional
        What the filesystem is made with.

    Returns
    -------
    filesystem, str
        It, and what it calls the file.

    Raises
    ------
    MissingExtraError
        fsspec is not installed.
    ImportError
        What fsspec needs for this kind of URL is not installed.
    TypeError, ValueError
        There is no such kind of URL, or it takes no such options.
    OSError
        What is on the way to the file cannot be read.
    """
    fsspec = require("fsspec", "remote")
    try:
        fs, path = fsspec.url_to_fs(url, **(storage_options or {}))
    except Exception as error:
        text = f"{masked(url)}: {said(error)}"
        for kind in (ImportError, ValueError, TypeError):
            if isinstance(error, kind):
                raise kind(text) from hidden(error)
        raise failed(masked(url), error) from hidden(error)
    return fs, str(path)


def protocols(fs: Any) -> tuple[str, ...]:
    """
    Give the schemes of a filesystem's URLs.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The filesystem.

    Returns
    -------
    tuple of str
    """
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def is_local(fs: Any) -> bool:
    """
    Tell whether a filesystem is that of the system.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The filesystem.

    Returns
    -------
    bool
    """
    return "file" in protocols(fs)


# what callers tell apart
_KINDS: Final = (
    (FileNotFoundError, errno.ENOENT),
    (FileExistsError, errno.EEXIST),
    (PermissionError, errno.EACCES),
    (TimeoutError, errno.ETIMEDOUT),
)


def failed(name: str, error: BaseException, what: str = "") -> OSError:
    """
    Make an error of the system of one of a filesystem.

    Parameters
    ----------
    name : str
        The file, as messages name it.
    error : BaseException
        What the filesystem raised; it becomes the cause, as `hidden` gives it.
    what : str
        What was done.

    Returns
    -------
    OSError
        Of the kind that it was, as far as callers tell them apart.
    """
    number = next((number for kind, number in _KINDS if isinstance(error, kind)), errno.EIO)
    text = said(error)
    return OSError(number, f"{what}: {text}" if what else text, name)


def said(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, FileNotFoundError) and not error.strerror:
        text = "no such file"  # others give the path alone
    cause = error.__cause__
    if cause is not None and str(cause) and not text.endswith(str(cause)):
        text = f"{text} ({cause})"
    return masked(" ".join(text.split())) or type(error).__name__


def asked(name: str, ask: Callable[[], T]) -> T:
    """
    Ask a filesystem about a file.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    ask : callable
        Asks.

    Returns
    -------
    object
        The answer.

    Raises
    ------
    OSError
        There is none.
    """
    try:
        return ask()
    except Exception as error:
        raise failed(name, error) from hidden(error)


def named_on(fs: Any, path: str) -> str:
    """
    Name a file of a filesystem for messages.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        The filesystem.
    path : str
        What it calls the file.

    Returns
    -------
    str
        A URL without what is secret.
    """
    return masked(str(fs.unstrip_protocol(path)))
