"""A lock between processes that ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Final

from dbnfast._util.atomic import named

if TYPE_CHECKING:
    from dbnfast._typing import PathLike

# what systems say of a file system that knows no locks
UNABLE: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


class FileLock:
    """
    A lock on a file that is there for nothing else.

    Parameters
    ----------
    path : path
        The file: made where it is not there, and removed with the lock. A killed process leaves
        it, which holds nobody up.

    Raises
    ------
    BlockingIOError
        Somebody else has the lock, be it in the same process.
    OSError
        The file cannot be made.

    Notes
    -----
    On file systems that know no locks it holds nobody up.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = os.fspath(path)
        self._handle: int | None = None
        with named(self._path):
            while self._handle is None:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
                try:
                    _lock(handle)
                    if self._is_named(handle):  # else its holder before removed it meanwhile
                        self._handle = handle
                finally:
                    if self._handle is None:
                        os.close(handle)

    @property
    def held(self) -> bool:
        """Whether others find the lock: it is not released, and nobody deleted its file."""
        return self._handle is not None and self._is_named(self._handle)

    def release(self) -> None:
        """Let others have it; a second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if sys.platform == "win32":
            os.close(handle)  # a file that is open cannot be removed, by others neither
        with contextlib.suppress(OSError):
            if sys.platform == "win32" or self._is_named(handle):
                os.unlink(self._path)
        if sys.platform != "win32":
            os.close(handle)

    def _is_named(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(handle))
        except FileNotFoundError:
            return False


def _lock(handle: int) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            except PermissionError as error:
                raise BlockingIOError(errno.EAGAIN, "is locked") from error
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
