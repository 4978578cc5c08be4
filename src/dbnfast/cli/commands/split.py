"""``dbnfast split``: one file as several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbnfast.cli.outputs import STDOUT, Progress, blame, plural
from dbnfast.cli.terminal import put, talk
from dbnfast.codec.compression import detect
from dbnfast.errors import DbnError
from dbnfast.files import mapping_records, split_records

if TYPE_CHECKING:
    from dbnfast.cli.terminal import Input
    from dbnfast.files import By

BLOCK: Final = 16 << 20


def run(source: Input, folder: str, *, by: By, zstd: bool | None, force: bool) -> int:
    """
    Split an input, and write the names of the parts.

    Parameters
    ----------
    source : Input
        The input.
    folder : str
        Where the parts go.
    by : {"day", "symbol", "schema"}
        What makes a part.
    zstd : bool or None
        Whether parts are compressed; None for as the input is.
    force : bool
        Whether existing files are replaced.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        The folder is ``-``.
    """
    if folder == STDOUT:
        raise ValueError("- is standard output; the parts need a folder")
    try:
        with Progress([source]) as progress, source.open(BLOCK, progress.told) as opened:
            if zstd is None:
                zstd = detect(opened.source.head) != "none"
            parts = split_records(
                opened.blocks(),
                opened.reader.metadata,
                folder,
                by=by,
                compression="zstd" if zstd else "none",
                force=force,
                mappings=mapping_records(source.name),
            )
    except (DbnError, OSError) as error:
        return blame(source.name, error)
    for part in parts:
        put(str(part))
    talk(f"{source.name}: {plural(len(parts), 'part')} in {folder}")
    return 0
