"""``dbnfast split``: one file as several."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.urls import is_url, masked
from dbnfast.cli.inputs import files_of
from dbnfast.cli.outputs import STDOUT, Progress, blame, plural
from dbnfast.cli.terminal import put, talk
from dbnfast.codec.compression import detect
from dbnfast.enums import Compression
from dbnfast.errors import DbnError
from dbnfast.files import live_mappings, mapping_records, split_records
from dbnfast.store.blocks import blocks_of
from dbnfast.store.places import sources_of

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
        The input; several files become one before, in the order of time.
    folder : str
        Where the parts go; it may be a URL.
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
        inputs = files_of(source)
        if len(inputs) == 1:
            source = inputs[0]
            parts = _one(source, zstd, folder, by=by, force=force)
        else:
            parts = _several(inputs, zstd, folder, by=by, force=force)
    except (DbnError, OSError) as error:
        return blame(source.name, error)
    for part in parts:
        put(masked(str(part)) if is_url(part) else str(part))
    talk(f"{source.name}: {plural(len(parts), 'part')} in {folder}")
    return 0


def _one(source: Input, zstd: bool | None, folder: str, **options: Any) -> list[Path | Any]:
    with (
        Progress([source]) as progress,
        source.open(BLOCK, progress.told) as opened,
        ExitStack() as stack,
    ):
        if zstd is None:
            zstd = detect(opened.source.head) != "none"
        mappings = mapping_records(source.name)
        if source.place is not None:
            again: Any = stack.enter_context(source.raw())
            mappings = live_mappings(again)
        return split_records(
            opened.blocks(),
            opened.reader.metadata,
            folder,
            compression="zstd" if zstd else "none",
            mappings=mappings,
            **options,
        )


def _several(
    inputs: list[Input], zstd: bool | None, folder: str, **options: Any
) -> list[Path | Any]:
    # merged where their ranges of time overlap, as a store has them
    places = [one.place or Path(one.name) for one in inputs]
    blocks = blocks_of(sources_of(places, "warn"))
    if zstd is None:
        zstd = any(source.compression == Compression.ZSTD for source in blocks.sources)
    return split_records(
        blocks.passing(BLOCK),
        blocks.metadata,
        folder,
        compression="zstd" if zstd else "none",
        mappings=blocks.mapping_blocks(),
        **options,
    )
