"""What becomes of sessions with threads when their process ends, or forks."""

from __future__ import annotations

import atexit
import os
import time
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dbnfast.live.sync.engine import Engine

AT_EXIT: Final = 1.0  # s: how long the end of the interpreter waits for threads

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def watch(engine: Engine) -> None:
    """
    Have an engine ended with its process.

    Parameters
    ----------
    engine : Engine
        It is not kept alive.
    """
    _engines.add(engine)


def _at_exit() -> None:
    # the interpreter stops its daemon threads wherever they are, and a lock that one of them
    # holds then is never released
    engines = list(_engines)
    for engine in engines:
        engine.terminate()
    end = time.monotonic() + AT_EXIT
    for engine in engines:
        engine.join(max(0.0, end - time.monotonic()))


def _after_fork() -> None:
    for engine in list(_engines):
        engine.forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
