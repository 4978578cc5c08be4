"""What is logged of sessions, whatever the handlers make of it."""

from __future__ import annotations

import logging
from contextlib import suppress

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
