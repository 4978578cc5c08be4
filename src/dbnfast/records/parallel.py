"""Passes over the records of a buffer, on several threads where there are many bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbnfast._core.copy import Plan, fill
from dbnfast._core.run import Run, Survey, owned, survey_run
from dbnfast._core.scan import likely_start
from dbnfast._util.threads import each, shares
from dbnfast.layouts.programs import SIZES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast._core.copy import Program
    from dbnfast._typing import Bytes

    Route = tuple[int, int, int, int, Program | None]

R = TypeVar("R", bound=Run)

PART: Final = 8 << 20  # bytes that are worth a thread of their own


def survey(
    cls: type[R], owner: Any, start: int, end: int, version: int, ts_out: bool, metadata: object
) -> tuple[R, int]:
    """
    Check the headers of records, and make the run of them.

    Parameters
    ----------
    cls : type
        Of the run.
    owner : bytes, or a memoryview or array of bytes
        Kept alive by the run. Its memory must not move while it lives.
    start, end : int
        The bytes to look at. A record begins at `start`.
    version : int
        The DBN version.
    ts_out : bool
        Whether every record ends in a ts_out.
    metadata : Metadata or None
        What the run will give as its own.

    Returns
    -------
    run, status
        As `_core.run.survey_run` gives them, whatever the number of threads.
    """
    n = shares(end - start, PART)
    if n > 1:
        owner = owned(owner)  # each thread has views of its own
        starts = _starts(memoryview(owner)[:end], start, n, ts_out)
        if len(starts) > 1:
            parts = Survey(owner, starts, end, SIZES, ts_out)
            each(parts.run, range(len(starts)))
            return parts.finish(cls, version, metadata)
    return survey_run(cls, owner, start, end, SIZES, version, ts_out, metadata)


def _starts(data: memoryview, start: int, n: int, ts_out: bool) -> list[int]:
    # where n parts of about the same length may begin; fewer where no records are found
    share = (len(data) - start) // n
    found = [start]
    for place in range(start + share, start + n * share, share):
        likely = likely_start(data, start, max(place, found[-1]), SIZES, ts_out)
        if likely < 0:
            break
        found.append(likely)
    return found


def deal(run: Run, routes: Sequence[Route], blocks: Sequence[Bytes]) -> None:
    """
    Copy the records of a run to where their types and sizes say.

    Parameters
    ----------
    run : Run
        The records.
    routes : sequence of tuple
        Each (rtype, size in bytes, index of a block, bytes in the block, program or None), as
        `_core.copy.Plan` takes them. Records without a route are left out.
    blocks : sequence of ndarray of uint8
        They are filled to the end, each in the stream's order.
    """
    ts_out = run._ts_out
    owner, base = run._owner, run._start
    places = {(rtype, size): (slot, n_bytes) for rtype, size, slot, n_bytes, _ in routes}
    begins = [0] * len(blocks)
    jobs = []
    # what came to be in parts is dealt out in parts: how much each brings is known
    for start, end, groups in run._seams or ((0, run._nbytes, run._groups),):
        ends = list(begins)
        for rtype, size, n in groups:
            if (rtype, size) in places:
                slot, n_bytes = places[rtype, size]
                ends[slot] += n * n_bytes
        outputs = [block[a:b] for block, a, b in zip(blocks, begins, ends, strict=True)]
        jobs.append((base + start, base + end, Plan(routes, outputs, ts_out)))
        begins = ends

    def fill_part(job: tuple[int, int, Plan]) -> None:
        start, end, plan = job
        fill(memoryview(owner)[start:end], plan, SIZES, ts_out)

    each(fill_part, jobs)
