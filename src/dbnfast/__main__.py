"""The command line's entry: ``python -m dbnfast`` and the script ``dbnfast``."""

from __future__ import annotations

import sys
from typing import Final

INTERRUPTED: Final = 130  # as a shell has it


def main(argv: list[str] | None = None) -> int:
    """
    Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; None for the process's own.

    Returns
    -------
    int
        0 where all went well, 1 for data that cannot be read, 2 for a wrong call.
    """
    try:
        from dbnfast.cli.app import run
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("typer", "rich"):
            raise
        from dbnfast.errors import MissingExtraError

        if sys.stderr is not None:
            print(f"dbnfast: {MissingExtraError(library, 'cli')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # while that is being loaded
        return INTERRUPTED
    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
