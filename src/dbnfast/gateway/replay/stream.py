"""The records of a session: what is wanted of the source, from a position on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from dbnfast.gateway.replay.chunks import Want

if TYPE_CHECKING:
    from dbnfast.enums import Schema
    from dbnfast.gateway.replay.chunks import Frames
    from dbnfast.gateway.replay.source import Source
    from dbnfast.gateway.replay.timeline import Timeline

CHUNKS_AT_ONCE: Final = 4  # that are looked at in vain, before others have their turn


@dataclass(frozen=True)
class Wish:
    """
    A subscription, as far as records go.

    Attributes
    ----------
    schema : Schema
        What of.
    ids : frozenset of int or None
        The instruments; None for all.
    start : int or None
        Where replay begins, ns since 1970-01-01 UTC.
    live_from : int
        The position from which on all comes.
    """

    schema: Schema
    ids: frozenset[int] | None
    start: int | None
    live_from: int


class Taken(NamedTuple):
    """
    Records to be sent.

    Attributes
    ----------
    frames : Frames
        What they are among.
    first, last : int
        The first of them, and the one behind.
    """

    frames: Frames
    first: int
    last: int


class Stream:
    """
    Records that are wanted, in their order, each once.

    Parameters
    ----------
    source : Source
        Where from.
    position : int
        Where it begins.
    ts_out : bool
        Whether records end in a ts_out.

    Attributes
    ----------
    position : int
        The next record to be looked at.
    wishes : list of Wish
        What is wanted; use `add`.
    """

    def __init__(self, source: Source, position: int, ts_out: bool) -> None:
        self._source = source
        self._ts_out = ts_out
        self.position = position
        self.wishes: list[Wish] = []
        self._known: dict[tuple[int, ...], frozenset[Want]] = {}

    def add(self, wish: Wish) -> None:
        """
        Want more.

        Parameters
        ----------
        wish : Wish
            What.
        """
        self.wishes.append(wish)
        self._known.clear()

    def take(self, limit: int, max_bytes: int) -> Taken | None:
        """
        Take the next records.

        Parameters
        ----------
        limit : int
            The first position that is not to be looked at.
        max_bytes : int
            The most bytes; one record is given in any case.

        Returns
        -------
        Taken or None
            None where there are none; `position` tells whether all was looked at.
        """
        for _ in range(CHUNKS_AT_ONCE):
            if self.position >= limit:
                return None
            number = self._source.number_of(self.position)
            chunk = self._source.chunk(number)
            stop = min(limit, chunk.last)
            frames = self._source.frames(number, self._wants(chunk.first, chunk.last), self._ts_out)
            first = frames.index(self.position - chunk.first)
            behind = frames.index(stop - chunk.first)
            if first < behind:
                last = frames.fit(first, behind, max_bytes)
                more = last < behind
                self.position = chunk.first + frames.place(last - 1) + 1 if more else stop
                return Taken(frames, first, last)
            self.position = stop
        return None

    def next_ns(self, timeline: Timeline) -> int | None:
        """
        Tell when the next record is sent.

        Parameters
        ----------
        timeline : Timeline
            The replay's.

        Returns
        -------
        int or None
            In ns since 1970-01-01 UTC, maybe too early; None at the end.
        """
        if self.position >= len(self._source):
            return None
        number = self._source.number_of(self.position)
        chunk = self._source.chunk(number)
        frames = self._source.frames(number, self._wants(chunk.first, chunk.last), self._ts_out)
        k = frames.index(self.position - chunk.first)
        place = frames.place(k) if k < frames.n else len(chunk.records) - 1
        return timeline.send_time(chunk.first + place)

    def _wants(self, first: int, last: int) -> frozenset[Want]:
        # What the wishes come to in one chunk. Sessions that want the same share its frames: so
        # what is live in all of the chunk says no more of when it began.
        places = tuple(
            0 if wish.live_from <= first else 2 if wish.live_from < last else 1
            for wish in self.wishes
        )
        wants = self._known.get(places)
        if wants is None:
            wants = _joined(self.wishes, places)
            if 2 not in places:
                self._known[places] = wants
        return wants


def _joined(wishes: list[Wish], places: tuple[int, ...]) -> frozenset[Want]:
    found: dict[tuple[Schema, int | None, int | None], frozenset[int] | None] = {}
    for wish, place in zip(wishes, places, strict=True):
        if place == 1 and wish.start is None:
            continue  # its time has not come
        key = (
            wish.schema,
            wish.start if place else None,
            wish.live_from if place == 2 else None,
        )
        ids = found.get(key, frozenset())
        found[key] = None if ids is None or wish.ids is None else ids | wish.ids
    return frozenset(
        Want(schema, ids, start, live_from) for (schema, start, live_from), ids in found.items()
    )
