"""What a session says once it has started: header, answers, snapshots, records, heartbeats."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast.codec.metadata import Metadata
from dbnfast.enums import UNDEF_TIMESTAMP, ErrorCode, SType, SystemCode
from dbnfast.gateway.control import FATAL, Notices
from dbnfast.gateway.faults import Between, DoubleAck, NoAck, SendError
from dbnfast.gateway.replay.book import Snapshot
from dbnfast.gateway.replay.chunks import STAMP
from dbnfast.gateway.replay.stream import Stream, Wish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbnfast._typing import Piece
    from dbnfast.enums import Schema
    from dbnfast.gateway.faults import Fault
    from dbnfast.gateway.replay.stream import Taken
    from dbnfast.gateway.requests import AuthRequest, Request
    from dbnfast.gateway.service import Service


MAPPINGS: Final = 4096  # records of a block
CROWD: Final = 256  # answers that wait, before the client is heard again


class Player:
    """
    Make the stream of a session.

    Parameters
    ----------
    service : Service
        What all sessions share.
    request : AuthRequest
        What the client asked for.
    faults : sequence
        The connection's.

    Attributes
    ----------
    ended : str
        Why the stream ended; empty before.
    """

    def __init__(self, service: Service, request: AuthRequest, faults: Sequence[Fault]) -> None:
        self._service = service
        self._source, self._timeline = service.source, service.timeline
        self._request = request
        self._notices = Notices(self._source.version, request.ts_out)
        self._n_acks = 0 if any(isinstance(fault, NoAck) for fault in faults) else 1
        self._n_acks += any(isinstance(fault, DoubleAck) for fault in faults)
        between = [fault for fault in faults if isinstance(fault, Between)]
        self._between = deque(sorted(between, key=lambda fault: fault.after_bytes))
        self._queue: deque[Iterator[Piece]] = deque()
        self._snapshots: deque[Snapshot] = deque()
        self._replaying: list[Schema] = []
        self._live = Stream(self._source, 0, request.ts_out)
        self._replay: Stream | None = None
        self._now = self._last_sent = service.clock()
        self._ns = self._source.first_time
        self._begun = False  # the header left
        self._more = False  # there is more to do at once
        self._failing = ""
        self.ended = ""

    @property
    def crowded(self) -> bool:
        """Whether many answers wait to be sent."""
        return len(self._queue) > CROWD

    # what the client asks for

    def start(self, requests: Sequence[Request], fatal: tuple[ErrorCode, str] | None) -> None:
        """
        Begin to send.

        Parameters
        ----------
        requests : sequence of Request
            The subscriptions until now.
        fatal : (ErrorCode, str) or None
            What was wrong with them.
        """
        starts = [request.start for request in requests if request.start is not None]
        first = min(starts, default=self._ns)
        self._now = self._last_sent = self._service.clock()
        if self._timeline.paced:
            self._timeline.start()
            self._ns = self._timeline.ns(self._now)
            first = min([*starts, self._ns])
            self._live.position = self._timeline.position(self._ns, behind=False)
            if starts:
                self._replay = Stream(self._source, 0, self._request.ts_out)
            oldest = self._ns - self._service.replay_window_ns
            aged = [start for start in starts if 0 < start < oldest]
            if aged and fatal is None:
                text = f"Replay data aged out: start {min(aged)} is before {oldest}"
                fatal = ErrorCode.REPLAY_DATA_AGED_OUT, text
        self._queue.append(self._header(first))
        replayed = [request.schema for request in requests if request.start is not None]
        self._replaying = list(dict.fromkeys(replayed))
        for request in requests:
            self.subscribe(request)
        if fatal is not None:
            self.fail(*fatal)
        elif not requests:
            self._queue.append(self._system(SystemCode.HEARTBEAT, "Heartbeat"))

    def subscribe(self, request: Request) -> None:
        """
        Add a subscription, and answer it.

        Parameters
        ----------
        request : Request
            What is asked for.
        """
        number = "" if request.id is None else f"{request.id} "
        text = f"Subscription request {number}for {request.schema} data succeeded"
        for _ in range(self._n_acks):
            self._queue.append(self._system(SystemCode.SUBSCRIPTION_ACK, text))
        ids = self._resolve(request)
        stream = self._live
        if self._replay is not None and request.schema in self._replaying:
            stream = self._replay
        join = self._join(request, stream)
        stream.add(Wish(request.schema, ids, request.start, join))
        if request.snapshot:
            self._snapshots.append(Snapshot(self._source, ids, max(join, self._live.position)))

    def _join(self, request: Request, stream: Stream) -> int:
        # from where on all that is subscribed comes
        if not self._timeline.paced:
            return stream.position if request.start is None else len(self._source)
        if not self._begun:
            return self._live.position
        return self._timeline.position(self._timeline.ns(self._service.clock()), behind=False)

    def _resolve(self, request: Request) -> frozenset[int] | None:
        symbols = self._source.symbols
        if request.all:
            self._queue.append(self._all_mappings())
            return None
        there: frozenset[int] = frozenset()
        if request.stype_in == SType.INSTRUMENT_ID:
            there = self._source.ids(request.schema)
        pairs: list[tuple[str, int]] = []
        missing: list[str] = []
        for symbol in request.symbols:
            found = symbols.resolve(request.stype_in, symbol, there)
            pairs += [(symbol, instrument) for instrument in sorted(found)]
            if not found:
                missing.append(symbol)
        if pairs:
            self._queue.append(self._mappings(request.stype_in, pairs))
        if missing:
            self._queue.append(self._unresolved(missing))
        return frozenset(instrument for _, instrument in pairs)

    def fail(self, code: ErrorCode | int, text: str) -> None:
        """
        Send an error and end.

        Parameters
        ----------
        code : ErrorCode or int
            What it reports.
        text : str
            In words.
        """
        if not self._failing:
            self._failing = f"error {int(code)}: {text}"
            self._queue.append(self._error(code, text))

    # what is made when it is asked for

    def _times(self) -> tuple[int, int]:
        return self._ns, self._timeline.ts_out(self._now, self._ns)

    def _header(self, start: int) -> Iterator[Piece]:
        request = self._request
        if request.encoding == "dbn":
            yield Metadata(
                dataset=self._source.dataset or request.dataset,
                start=start,
                ts_out=request.ts_out,
                version=self._source.version,
            ).encode()

    def _system(self, code: SystemCode, text: str) -> Iterator[Piece]:
        yield self._notices.system(code, text, *self._times())

    def _error(self, code: ErrorCode | int, text: str, is_last: bool = True) -> Iterator[Piece]:
        # a client's mistake may have put a key where it does not belong, and errors are kept
        text = self._service.hide(text)
        yield self._notices.error(code, text, is_last, *self._times())

    def _unresolved(self, symbols: list[str]) -> Iterator[Piece]:
        for n, symbol in enumerate(symbols, 1):
            text = f"Failed to resolve symbol {symbol}"
            code = ErrorCode.SYMBOL_RESOLUTION_FAILED
            yield from self._error(code, text, n == len(symbols))

    def _mappings(self, stype_in: SType, pairs: list[tuple[str, int]]) -> Iterator[Piece]:
        for at in range(0, len(pairs), MAPPINGS):
            symbols, ids = zip(*pairs[at : at + MAPPINGS], strict=True)
            names = self._source.symbols.names(ids, self._ns)
            out = [str(id_) if name is None else name for id_, name in zip(ids, names, strict=True)]
            yield self._notices.mappings(stype_in, ids, symbols, out, *self._times())

    def _all_mappings(self) -> Iterator[Piece]:
        known = sorted(self._source.symbols.known)
        for at in range(0, len(known), MAPPINGS):
            ids = known[at : at + MAPPINGS]
            names = [name or "" for name in self._source.symbols.names(ids, self._ns)]
            yield self._notices.mappings(SType.RAW_SYMBOL, ids, names, names, *self._times())

    def _book(self, snapshot: Snapshot) -> Iterator[Piece]:
        for array in snapshot.blocks(self._ns):
            raw = np.frombuffer(array.tobytes(), np.uint8)
            if self._request.ts_out:
                rows = np.zeros((len(array), array.itemsize + STAMP), np.uint8)
                rows[:, : array.itemsize] = raw.reshape(len(array), -1)
                rows[:, 0] += STAMP // 4
                stamp = self._times()[1].to_bytes(STAMP, "little")
                rows[:, -STAMP:] = np.frombuffer(stamp, np.uint8)
                raw = rows.reshape(-1)
            yield memoryview(raw)

    # the stream

    def blocks(self, now: float, max_bytes: int, n_sent: int) -> list[Piece]:
        """
        Make what is to be sent now.

        Parameters
        ----------
        now : float
            Seconds of the clock.
        max_bytes : int
            About how much.
        n_sent : int
            Bytes that left.

        Returns
        -------
        list of bytes-like
            The header by itself, or whole records; empty where there is nothing.
        """
        self._now, self._more = now, False
        if self._timeline.paced:
            self._ns = max(self._ns, self._timeline.ns(now))
        out: list[Piece] = []
        made = 0
        while made < max_bytes and not self.ended:
            room = max_bytes - made
            if self._between and self._begun:
                room = min(room, self._between[0].after_bytes - n_sent - made)
                if room <= 0:
                    self._meet(self._between.popleft())
                    continue
            block = self._next(room)
            if block is None:
                break
            out.append(block)
            made += len(block)
            if not self._begun:
                self._begun = self._more = True
                break
        if out:
            self._last_sent = now
        return out

    def _meet(self, fault: Between) -> None:
        if not isinstance(fault, SendError):
            self.ended = "eof"
        elif fault.code in FATAL:
            self.fail(fault.code, fault.text)
        else:
            self._queue.appendleft(self._error(fault.code, fault.text))

    def _next(self, max_bytes: int) -> Piece | None:
        while True:
            while self._queue:
                block = next(self._queue[0], None)
                if block is not None:
                    return block
                self._queue.popleft()
            if self._failing:
                self.ended = self._failing
                return None
            if self._snapshots:
                if self._snapshots[0].step():
                    self._more = True
                    return None
                self._queue.append(self._book(self._snapshots.popleft()))
                continue
            block = self._records(max_bytes)
            if block is not None or not self._queue:
                return self._heartbeat() if block is None else block

    def _records(self, max_bytes: int) -> Piece | None:
        limit = len(self._source)
        if self._timeline.paced:
            limit = self._timeline.position(self._ns, behind=True)
        for stream in (self._live, self._replay):
            if stream is None or not stream.wishes:
                continue
            taken = stream.take(limit, max_bytes)
            if taken is not None:
                return self._block(taken)
            self._more |= stream.position < limit
        if not self._more and (self._live.wishes or self._replaying):
            self._catch_up(limit)
        return None

    def _catch_up(self, limit: int) -> None:
        # all that is due was sent
        for schema in self._replaying:
            text = f"Finished {schema} replay"
            self._queue.append(self._system(SystemCode.REPLAY_COMPLETED, text))
        self._replaying.clear()
        if self._replay is not None:
            for wish in self._replay.wishes:
                self._live.add(wish)
            self._replay, self._live.position = None, max(limit, self._live.position)
        if self._service.closes and limit >= len(self._source) and not self._queue:
            self.ended = "the source ended"

    def _block(self, taken: Taken) -> Piece:
        frames, first, last = taken
        if not self._timeline.paced:
            reached = frames.last_time(last)
            if reached != UNDEF_TIMESTAMP:
                self._ns = max(self._ns, reached)
        return frames.block(first, last, self._times()[1] if self._request.ts_out else 0)

    def _heartbeat(self) -> Piece | None:
        if self._now - self._last_sent < self._request.heartbeat_s or self.ended or self._more:
            return None
        self._last_sent = self._now
        return next(self._system(SystemCode.HEARTBEAT, "Heartbeat"))

    def next_time(self) -> float:
        """
        Tell when there is more to send.

        Returns
        -------
        float
            Seconds of the clock; maybe past.
        """
        if self._queue or self._snapshots or self._more or self.ended or self._failing:
            return -math.inf
        times = [self._last_sent + self._request.heartbeat_s]
        for stream in (self._live, self._replay):
            if stream is None or not stream.wishes or stream.position >= len(self._source):
                continue
            if not self._timeline.paced:
                return -math.inf
            ns = stream.next_ns(self._timeline)
            times += [] if ns is None else [self._timeline.when(ns)]
        return min(times)
