"""Optional libraries, imported when they are first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dbnfast.errors import MissingExtraError


def require(module: str, extra: str) -> Any:
    """
    Import an optional library.

    Parameters
    ----------
    module : str
        What to import, e.g. ``"pyarrow.parquet"``.
    extra : str
        The extra that brings it.

    Returns
    -------
    module

    Raises
    ------
    MissingExtraError
        It is not installed; the error names the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != library:
            raise  # the library is there, and itself lacks something
        raise MissingExtraError(library, extra) from error
