"""
The source of a gateway: records in chunks, and the frames that are cut of them.

A set of subscriptions wants some records of a chunk. They are copied once, whoever asks for
them, and sent as they are; where a chunk is wanted whole, nothing is copied at all.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast.enums import UNDEF_TIMESTAMP
from dbnfast.gateway.replay.chunks import STAMP, Chunk, Frames, Want, cut
from dbnfast.gateway.replay.load import load
from dbnfast.gateway.replay.symbols import Symbols
from dbnfast.layouts.table import MAX_RECORD_SIZE
from dbnfast.records.headers import groups, only_rtype

if TYPE_CHECKING:
    from dbnfast._typing import Column
    from dbnfast.enums import Schema


CHUNK_BYTES: Final = 4 << 20
CACHE_BYTES: Final = 128 << 20  # of frames
CACHED_CHUNKS: Final = 8


class Source:
    """
    What a gateway replays. Any number of threads may read it.

    Parameters
    ----------
    source : path, bytes-like, list of these, Store or Records
        DBN data; plain files are mapped into memory.
    version : int
        The DBN version to send, 1 to 3.

    Attributes
    ----------
    records : Records
        All records, of this version, without a ts_out.
    lanes : dict
        The rtypes of each schema that is there.
    symbols : Symbols
        What is known of symbols.

    Raises
    ------
    ValueError
        The records cannot be given in this version.
    DecodeError, FileNotFoundError, TypeError
        As `read` raises them.
    """

    def __init__(self, source: Any, version: int = 3) -> None:
        self.records, self._kinds, self.lanes = load(source, version)
        self._metadata = getattr(source, "metadata", None) or self.records.metadata
        self.symbols = Symbols(self._metadata, self.records)
        n, n_bytes = len(self.records), self.records.nbytes
        self._per_chunk = max(1, CHUNK_BYTES * n // n_bytes) if n else 1
        self._chunks: OrderedDict[int, Chunk] = OrderedDict()
        self._frames: OrderedDict[tuple[int, frozenset[Want], bool], Frames] = OrderedDict()
        self._n_cached = 0
        self._lock = Lock()
        self._ids: dict[Schema, frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self.records)

    @property
    def version(self) -> int:
        """The DBN version that is sent."""
        return self.records.version

    @property
    def dataset(self) -> str:
        """The dataset code; empty where it is not known."""
        return "" if self._metadata is None else str(self._metadata.dataset)

    @property
    def stampable(self) -> bool:
        """Whether there is room for a ts_out in every record."""
        longest = max((size for _, size, _ in groups(self.records)), default=0)
        return longest + STAMP <= MAX_RECORD_SIZE

    @property
    def n_chunks(self) -> int:
        """How many chunks there are."""
        return -(-len(self.records) // self._per_chunk)

    @cached_property
    def first_time(self) -> int:
        """The filter time of the first record that has one, ns; else the header's start."""
        for number in range(self.n_chunks):
            times = self.chunk(number).times
            known = times[times != UNDEF_TIMESTAMP]
            if len(known):
                return int(known[0])
        return 0 if self._metadata is None else int(self._metadata.start)

    def number_of(self, position: int) -> int:
        """
        Tell which chunk a record is in.

        Parameters
        ----------
        position : int
            The record's.

        Returns
        -------
        int
        """
        return position // self._per_chunk

    def chunk(self, number: int) -> Chunk:
        """
        Give a chunk.

        Parameters
        ----------
        number : int
            Which.

        Returns
        -------
        Chunk
        """
        with self._lock:
            found = self._chunks.get(number)
            if found is not None:
                self._chunks.move_to_end(number)
                return found
        first = number * self._per_chunk
        last = min(first + self._per_chunk, len(self.records))
        kinds = None if self._kinds is None else self._kinds[first:last]
        made = Chunk(first, self.records[first:last], kinds)
        with self._lock:
            self._chunks[number] = made
            while len(self._chunks) > CACHED_CHUNKS:
                self._chunks.popitem(last=False)
        return made

    def ids(self, schema: Schema) -> frozenset[int]:
        """
        Give the instruments that have records of a schema.

        Parameters
        ----------
        schema : Schema
            Which; all chunks are looked at, the first time that it is asked for.

        Returns
        -------
        frozenset of int
        """
        if schema not in self._ids:
            found: set[int] = set()
            for number in range(self.n_chunks if schema in self.lanes else 0):
                chunk = self.chunk(number)
                mask = self._of_schema(chunk, schema)
                found.update(np.unique(chunk.ids if mask is None else chunk.ids[mask]).tolist())
            self._ids[schema] = frozenset(found)
        return self._ids[schema]

    def frames(self, number: int, wants: frozenset[Want], ts_out: bool = False) -> Frames:
        """
        Give the records of a chunk that are wanted.

        Parameters
        ----------
        number : int
            The chunk.
        wants : frozenset of Want
            What is; each record comes once.
        ts_out : bool
            Whether every record ends in a ts_out.

        Returns
        -------
        Frames
            The same object again, while it is kept.
        """
        key = (number, wants, ts_out)
        with self._lock:
            found = self._frames.get(key)
            if found is not None:
                self._frames.move_to_end(key)
                return found
        made = cut(self.chunk(number), self._mask(number, wants), ts_out)
        with self._lock:
            if key not in self._frames:
                self._frames[key] = made
                self._n_cached += made.cost
            while self._n_cached > CACHE_BYTES and len(self._frames) > 1:
                self._n_cached -= self._frames.popitem(last=False)[1].cost
        return made

    def _mask(self, number: int, wants: frozenset[Want]) -> Column | None:
        # which records are wanted; None for all
        chunk = self.chunk(number)
        mask: Column = np.zeros(len(chunk.records), bool)
        for want in wants:
            hits = self._wanted(chunk, want)
            if hits is None:
                return None
            mask |= hits
        return None if mask.all() else mask

    def _wanted(self, chunk: Chunk, want: Want) -> Column | None:
        # what one wants; None for all
        if want.schema not in self.lanes:
            return np.zeros(len(chunk.records), bool)
        hits = self._of_schema(chunk, want.schema)
        if want.ids is not None:
            ids = np.fromiter(want.ids, np.uint32, len(want.ids))
            hit = np.isin(chunk.ids, ids)
            hits = hit if hits is None else hits & hit
        if want.start is not None or want.live_from is not None:
            hit = np.zeros(len(chunk.records), bool)
            if want.start is not None:
                hit |= chunk.times >= np.uint64(want.start)
            if want.live_from is not None:
                hit[max(want.live_from - chunk.first, 0) :] = True
            hits = hit if hits is None else hits & hit
        return hits

    def _of_schema(self, chunk: Chunk, schema: Schema) -> Column | None:
        # which records are of a schema; None for all
        rtypes = self.lanes[schema]
        if self._kinds is None and only_rtype(chunk.records) in rtypes:
            return None
        table = np.zeros(256, bool)
        table[list(rtypes)] = True
        return table[chunk.rtypes]
