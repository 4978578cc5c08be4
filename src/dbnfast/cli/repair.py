"""``dbnfast repair``: a damaged file up to its last good record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbnfast.cli.output import talk
from dbnfast.cli.writing import Progress, blame, plural
from dbnfast.errors import DbnError
from dbnfast.files import repair

if TYPE_CHECKING:
    from dbnfast.cli.output import Input


def run(source: Input, target: str, *, force: bool) -> int:
    """
    Copy an input up to its last whole good record.

    Parameters
    ----------
    source : Input
        The input.
    target : str
        The new file.
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    int
        0 where the file was written, whatever was left out; 1 where there is nothing to keep.
    """
    try:
        with Progress([source]) as progress, source.raw(progress.told) as raw:
            done = repair(
                raw,  # type: ignore[arg-type]  # has readinto, which is all that is asked
                target,
                force=force,
                has_metadata=not source.fragment,
                input_version=source.version,
                ts_out=source.ts_out or None,
            )
    except (DbnError, OSError) as error:
        return blame(source.name, error)
    left = "nothing was wrong" if done.lost is None else f"left out: {done.lost}"
    talk(
        f"{target}: {plural(done.n_records, 'record')}, {done.n_bytes:,} bytes decompressed; {left}"
    )
    return 0
