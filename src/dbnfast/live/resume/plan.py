"""
What to ask for after a disconnect.

`Progress` follows what a session delivers and drops what a replay brings again, `resume` says
what to ask a new connection for, and `lost` what that will not bring.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from dbnfast.live.resume.lanes import SLOW
from dbnfast.live.resume.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast.enums import Schema
    from dbnfast.live.wire.requests import Subscription

__all__ = ["Progress", "Reach", "lost", "resume"]


class Reach(IntEnum):
    """How much replay to ask for."""

    FULL = 0
    """Every schema from its resume point on."""
    RECENT = 1
    """The same, but for the schemas that are resumed from where they began: none of these."""
    NONE = 2
    """None at all."""


def resume(
    subscriptions: Sequence[Subscription], progress: Progress, reach: Reach = Reach.FULL
) -> tuple[Subscription, ...]:
    """
    Say what to ask a new connection for, after `Progress.disconnected`.

    Parameters
    ----------
    subscriptions : sequence of Subscription
        The user's, in their order.
    progress : Progress
        What the session delivered; it is not changed.
    reach : Reach
        How much replay to ask for. Where two give the same, asking twice is of no use.

    Returns
    -------
    tuple of Subscription
        In the same order. What never began is as the user asked for it. Start and snapshot never
        go together: a book whose snapshot did not arrive whole, or that no replay is asked for,
        begins with a new one.
    """
    if not progress.begun:
        return tuple(subscriptions)
    starts = progress.starts()
    found = []
    for sub in subscriptions:
        if sub.id not in starts:
            found.append(sub)
            continue
        start = starts[sub.id]
        if reach == Reach.NONE or (reach == Reach.RECENT and sub.schema in SLOW):
            start = None
        if progress.lacks_snapshot(sub):
            start = None
        found.append(sub.resumed(start, snapshot=sub.snapshot and start is None))
    return tuple(found)


def lost(
    subscriptions: Sequence[Subscription], resumed: Sequence[Subscription], progress: Progress
) -> dict[Schema, int]:
    """
    Name the schemas of which records may be missing that no replay brings.

    Parameters
    ----------
    subscriptions : sequence of Subscription
        The user's.
    resumed : sequence of Subscription
        What the new connection is asked for, as `resume` gave it.
    progress : Progress
        What the session delivered before, not told of the new connection's records yet.

    Returns
    -------
    dict of Schema to int
        In the order of the subscriptions, those with one that had begun, or may have, and is
        asked for without a start: the time since when records are missing, ns since 1970-01-01
        UTC.
    """
    without = {sub.id for sub in resumed if sub.start is None}
    found: dict[Schema, int] = {}
    for sub in subscriptions:
        since = progress.owed_since(sub) if sub.id in without else None
        if since is not None:
            found[sub.schema] = min(since, found.get(sub.schema, since))
    return found
