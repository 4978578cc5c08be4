"""``dbnfast repair``: a damaged file up to its last good record."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from dbnfast.cli.inputs import single
from dbnfast.cli.outputs import NAME_OF_STDOUT, STDOUT, Progress, blame, output, plural
from dbnfast.cli.terminal import talk
from dbnfast.errors import DbnError
from dbnfast.files import repair

if TYPE_CHECKING:
    from dbnfast.cli.terminal import Input


def run(source: Input, target: str, *, force: bool) -> int:
    """
    Copy an input up to its last whole good record.

    Parameters
    ----------
    source : Input
        The input.
    target : str
        The new file; ``-`` is stdout.
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    int
        0 where the file was written, whatever was left out; 1 where there is nothing to keep.
    """
    try:
        source = single(source)
        with (
            Progress([source], target == STDOUT) as progress,
            source.raw(progress.told) as raw,
            output(target, force) if target == STDOUT else nullcontext(target) as out,
        ):
            done = repair(
                raw,  # type: ignore[arg-type]  # has readinto, which is all that is asked
                out,
                force=force,
                has_metadata=not source.fragment,
                input_version=source.version,
                ts_out=source.ts_out or None,
            )
    except (DbnError, OSError) as error:
        return blame(source.name, error)
    left = "nothing was wrong"
    if done.lost is not None:
        size = "" if done.n_lost_bytes is None else f" {plural(done.n_lost_bytes, 'byte')}"
        left = f"left out{size}: {done.lost}"
    name = NAME_OF_STDOUT if target == STDOUT else target
    talk(f"{name}: {plural(done.n_records, 'record')}, {done.n_bytes:,} bytes decompressed; {left}")
    if done.n_unverified:
        talk(
            f"warning: {name}: {done.n_unverified:,} of {done.n_records:,} records are from a "
            "zstd frame that is damaged or cut; their values could not be verified"
        )
    return 0
