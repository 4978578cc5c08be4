"""What is told of connections that ended, and of the records that are missing because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbnfast.enums import UNDEF_TIMESTAMP, RType, Schema
from dbnfast.errors import GatewayError
from dbnfast.layouts.table import CONTROL
from dbnfast.live.events import Gap, Reconnected
from dbnfast.live.resume.lanes import OWN_MARGIN, beginning
from dbnfast.live.resume.plan import lost

GAPS: Final = 10_000  # gaps that are kept: a night's, however often connections break

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbnfast.codec.metadata import Metadata
    from dbnfast.live.resume.plan import Progress
    from dbnfast.live.resume.progress import Replayed
    from dbnfast.live.session.backlog import Backlog
    from dbnfast.live.wire.requests import Subscription
    from dbnfast.records.records import Records


class Report:
    """
    Puts gaps and reconnections among the records, where they belong in the stream.

    Parameters
    ----------
    backlog : Backlog
        Where to.
    progress : Progress
        What was received.
    wall : callable
        Gives the time in ns since 1970-01-01 UTC.
    own_header : bool
        Whether headers do not come from the gateway, as in JSON.

    Attributes
    ----------
    gaps : list of Gap
        The latest, `GAPS` of them at least.
    n_gaps, n_unfilled : int
        How many there were, and how many of them no replay filled.
    due : bool
        Whether there is something to tell with the next records.
    announce : (str, float or None) or None
        Why and when the connection before ended, until the next one brought records.
    missed : str or None
        Why the first connection ended that brought nothing though records were wanted.
    wanted_ns : int or None
        Since when they were, ns since 1970-01-01 UTC.
    late_ns : dict of int to int
        The same of the subscriptions that came after that, by their id.
    """

    def __init__(
        self, backlog: Backlog, progress: Progress, wall: Callable[[], int], own_header: bool
    ) -> None:
        self._own_header = own_header
        self.gaps: list[Gap] = []
        self.n_gaps = self.n_unfilled = 0
        self.announce: tuple[str, float | None] | None = None
        self.due = False
        self._untold: dict[Schema, int] = {}  # since when, of what earlier connections missed
        self.missed: str | None = None
        self.wanted_ns: int | None = None
        self.late_ns: dict[int, int] = {}
        self._backlog = backlog
        self._progress = progress
        self._wall = wall
        # replays under way: since when records were missing, and why
        self._open: dict[Schema, tuple[int, str]] = {}

    def lost(self, error: Exception, now: float, *, told: bool) -> None:
        """
        Note why a connection ended, for what is told once another one brings records.

        Parameters
        ----------
        error : Exception
            Why; what an error record says counts more than ends before it, so that it is the
            same whether or not other records came before that one.
        now : float
            The time.
        told : bool
            Whether there was a connection before, for another one to go on with.
        """
        self.due = self.due or told
        if self.announce is not None and isinstance(error, GatewayError):
            self.announce = (str(error), self.announce[1])
        elif self.announce is None and told:
            self.announce = (str(error), now)

    def disconnected(self) -> None:
        """Forget the replays that were under way."""
        self._open = {}

    def begun(self, wanted: Sequence[Subscription], asked: Sequence[Subscription]) -> None:
        """
        Note what connections before the first good one did not bring.

        Parameters
        ----------
        wanted, asked : sequence of Subscription
            What the user asked for, and what this connection was asked for in its place.
        """
        # what was wanted from then on is missing, and what replay was to bring, where that has
        # aged out meanwhile
        if self.missed is None or self.wanted_ns is None:
            return
        for own, sent in zip(wanted, asked, strict=False):
            if sent.start is None:
                since = self.late_ns.get(own.id, self.wanted_ns)
                start = beginning(own.schema, since) - self._progress.overlap_ns
                start = max(0, start) if own.start is None else own.start
                self._untold[own.schema] = min(start, self._untold.get(own.schema, start))
                self.due = True

    def began(self, asked: Sequence[Subscription], metadata: Metadata, first: Records) -> None:
        """
        Tell it.

        Parameters
        ----------
        asked : sequence of Subscription
            What this connection was asked for.
        metadata : Metadata
            Its header.
        first : Records
            What came first.
        """
        untold, self._untold = self._untold, {}
        self.due = self.announce is not None
        replayed = any(sub.start is not None for sub in asked)
        now = max(self._wall(), self._gateway_ns(metadata, first, replayed))
        for schema, start in untold.items():
            self._add(Gap(schema, start, max(start, now), False, self.missed or ""))

    def reconnected(
        self,
        wanted: Sequence[Subscription],
        asked: Sequence[Subscription],
        *,
        attempts: int,
        session_id: str | None,
        metadata: Metadata,
        first: Records,
        now: float,
    ) -> None:
        """
        Tell that a connection goes on with another, and what it will not bring.

        Parameters
        ----------
        wanted, asked : sequence of Subscription
            What the user asked for, and what this connection was asked for in its place.
        attempts : int
            Connections that were tried.
        session_id : str or None
            Of this one.
        metadata : Metadata
            Its header.
        first : Records
            What came first.
        now : float
            The time.
        """
        assert self.announce is not None
        (reason, ended_at), self.announce = self.announce, None
        self.due = bool(self._untold)
        progress = self._progress
        silent = 0.0 if ended_at is None else now - ended_at
        self._backlog.put(
            Reconnected(reason, attempts, silent, session_id or "", metadata, progress.last_ns)
        )
        replayed = any(sub.start is not None for sub in asked)
        anew = {sub.schema for sub in asked if sub.snapshot}
        for schema, start in lost(wanted, asked, progress).items():
            end = max(start, self._gateway_ns(metadata, first, replayed))
            follows = "; a new snapshot of the book follows" if schema in anew else ""
            self._add(Gap(schema, start, end, False, reason + follows))
        self._open = {}
        for sub in asked:
            if sub.start is not None and sub.schema in progress.replaying:
                # not before the start: what is older is missing, and was reported as such
                start = max(sub.start, progress.latest(sub.schema))
                known, _ = self._open.get(sub.schema, (start, ""))
                self._open[sub.schema] = min(start, known), reason

    def replayed(self, replay: Replayed) -> None:
        """
        Tell that a replay is over.

        Parameters
        ----------
        replay : Replayed
            Which.
        """
        start, reason = self._open.pop(replay.schema, (None, ""))
        if start is None:
            return
        end = self._progress.highest.get(replay.schema, start)
        if end <= start:  # nothing new came up to that time
            end = max(start, replay.end_ns)
        if not replay.whole:
            start, end = replay.start_ns, max(replay.end_ns, end)
            reason = f"{reason}; the gateway took no notice of the start of the replay"
        self._add(Gap(replay.schema, start, end, replay.whole, reason))

    def _gateway_ns(self, metadata: Metadata, first: Records, replayed: bool) -> int:
        # the gateway's time; where anything is replayed a header's start is that of the replay
        own = first.filter([RType(rtype) for rtype in CONTROL])
        if not (replayed or self._own_header) and first and first[0].rtype not in CONTROL:
            return metadata.start  # what is told after live records began is later
        times = [record.ts_event for record in own if record.ts_event != UNDEF_TIMESTAMP]
        unknown = metadata.start
        if replayed or self._own_header:  # this side's clock may be behind by so much
            unknown = self._wall() + OWN_MARGIN
        return max(metadata.start, min(times, default=unknown))

    def _add(self, gap: Gap) -> None:
        self.n_gaps += 1
        self.n_unfilled += not gap.filled
        self.gaps.append(gap)
        if len(self.gaps) >= 2 * GAPS:  # not one by one, which would move all of them
            del self.gaps[:-GAPS]
        self._backlog.put(gap)
