"""What is logged of sessions, whatever the handlers make of it."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO

logger = logging.getLogger("dbnfast.live")
logging.getLogger("dbnfast").addHandler(logging.NullHandler())  # silent until somebody listens


def log(level: int, text: str, *args: object, error: BaseException | None = None) -> None:
    """
    Log something; a handler or filter that raises does not end a session.

    Parameters
    ----------
    level : int
        As `logging` has it.
    text : str
        What happened, with places for the arguments.
    *args : object
        What goes there.
    error : BaseException, optional
        Whose traceback goes with it.
    """
    with suppress(Exception):
        logger.log(level, text, *args, exc_info=error, stacklevel=2)


class _Shown(logging.StreamHandler[TextIO]):
    """What `enable_logging` adds; of its own class, so that a second call finds it."""


def enable_logging(level: int | str = logging.INFO) -> None:
    """
    Show on standard error what the package logs.

    For small programs and examples; others configure ``logging`` themselves. The loggers are
    ``dbnfast``, and ``databento``, on which the official client logs.

    Parameters
    ----------
    level : int or str
        The lowest level that is shown, as ``logging`` has it.

    Raises
    ------
    TypeError, ValueError
        There is no such level.
    """
    handler = _Shown(sys.stderr)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    handler.setLevel(level)
    for name in ("dbnfast", "databento"):
        shown = logging.getLogger(name)
        for old in [old for old in shown.handlers if isinstance(old, _Shown)]:
            shown.removeHandler(old)
        shown.setLevel(level)
        shown.addHandler(handler)
