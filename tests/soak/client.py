"""The client's side of a session: it takes what comes, and notes it."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

import dbnfast
from soak import wire
from soak.gateway import DATASET, KEY, THE_END, Gateway
from soak.plan import Plan, Sub

LIMIT: Final = 40.0  # s: a session that takes longer hangs
TURN: Final = 0.01  # s: how long to wait before a look at what else is to be done


@dataclass
class Seen:
    """What a session delivered and told."""

    parts: list[list[bytes]] = field(default_factory=lambda: [[]])  # market data, by connection
    ids: list[str] = field(default_factory=lambda: [""])  # of these connections
    events: list[Any] = field(default_factory=list)
    gaps: list[tuple[Any, str]] = field(default_factory=list)  # with the connection they came on
    called: dict[int, int] = field(default_factory=dict)  # gateway's time of each subscribe()
    n_records: int = 0  # control records too
    over: bool = False  # it came to the end
    error: BaseException | None = None
    connected: bool | None = None  # what is_connected() said at the end of the data
    outage: Any = None  # and stats().disconnected
    stats: Any = None
    after: tuple[bool, Any] = (False, None)  # the same once the session was over
    ordered: bool = True  # events came at their place among the records

    @property
    def market(self) -> list[bytes]:
        return [raw for part in self.parts for raw in part]

    def take(self, raw: bytes, ts_out: bool) -> None:
        """Take a record."""
        self.n_records += 1
        rtype = raw[1]
        if rtype not in wire.CONTROL:
            self.parts[-1].append(bytes([raw[0] - 2]) + raw[1:-8] if ts_out else raw)
        elif rtype == wire.SYSTEM and raw[16:].startswith(THE_END.encode() + b"\0"):
            self.over = True

    def see(self, item: Any) -> None:
        """Take a batch or an event."""
        if isinstance(item, dbnfast.Records):
            data, at, ts_out = item.tobytes(), 0, item.ts_out
            while at < len(data):
                size = 4 * data[at]
                self.take(data[at : at + size], ts_out)
                at += size
            return
        self.events.append(item)
        if isinstance(item, dbnfast.Reconnected):
            self.parts.append([])
            self.ids.append(item.session_id)
        elif isinstance(item, dbnfast.Gap):
            self.gaps.append((item, self.ids[-1]))

    def settle(self, live: Any) -> None:
        """Note how the session stands when all that there is came."""
        self.connected, self.stats = live.is_connected(), live.stats()
        self.outage = self.stats.disconnected

    def finish(self, live: Any) -> None:
        """Note how it stands when it is over."""
        if self.stats is None:
            self.stats = live.stats()
        self.after = live.is_connected(), live.stats().disconnected


class Wishes:
    """Subscriptions that are to be made while the session runs."""

    def __init__(self, plan: Plan, gateway: Gateway, seen: Seen) -> None:
        self.left = list(plan.late)
        self.gateway, self.seen = gateway, seen
        self.pauses = 0

    def due(self, live: Any, item: Any = None) -> list[Sub]:
        """Those that are to be made now; none where that would begin another session."""
        found = []
        if live._session.ended:
            return []
        if self.gateway.wish.is_set():
            self.gateway.wish.clear()
            nth = len(self.gateway.logs) - 1
            found += [w for w in self.left if w.frames is not None and w.nth == nth][:1]
        if isinstance(item, dbnfast.Disconnected) and item.attempt == 0:
            found += [w for w in self.left if w.frames is None and w.nth == self.pauses]
            self.pauses += 1
        self.left = [w for w in self.left if w not in found]
        return [self._numbered(w.sub) for w in found]

    def _numbered(self, sub: Sub) -> Sub:
        # ids count the calls, in whatever order these come
        id = len(self.seen.called)
        self.seen.called[id] = self.gateway.now
        return sub._replace(id=id)


def asked(sub: Sub) -> dict[str, Any]:
    return {
        "schema": sub.schema, "symbols": list(sub.symbols), "stype_in": sub.stype,
        "start": sub.start, "snapshot": sub.snapshot,
    }  # fmt: skip


def options(plan: Plan, port: int) -> dict[str, Any]:
    return {
        "key": KEY, "gateway": "127.0.0.1", "port": port, "dataset": DATASET,
        "ts_out": plan.ts_out, "compression": plan.compression, "encoding": plan.encoding,
        "overlap": plan.overlap / 1e9, "reconnect_policy": plan.policy,
        "heartbeat_interval_s": 1 if plan.quick_silence else None,
        "retry_first": plan.retry_first, "busy_poll_us": 0,
    }  # fmt: skip


def session(plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]) -> None:
    """Run one session to its end, in this thread."""
    try:
        if plan.mode == "async":
            asyncio.run(_on_loop(plan, gateway, seen, made))
        elif plan.mode == "async callbacks":
            asyncio.run(_by_callbacks_on_loop(plan, gateway, seen, made))
        elif plan.mode == "callbacks":
            _by_callbacks(plan, gateway, seen, made)
        elif plan.mode == "records":
            _by_records(plan, gateway, seen, made)
        else:
            _by_events(plan, gateway, seen, made)
    except BaseException as error:
        seen.error = error  # the oracle knows which may come


def _first(plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]) -> list[Sub]:
    for sub in plan.subs:
        seen.called[sub.id] = gateway.now
        made[sub.id] = sub
    return plan.subs


def _by_events(plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]) -> None:
    wishes = Wishes(plan, gateway, seen)
    live = dbnfast.Live(**options(plan, gateway.port))
    try:
        with live:
            for sub in _first(plan, gateway, seen, made):
                live.subscribe(**asked(sub))
            for item in live.events(max_wait=TURN):
                seen.see(item)
                if seen.over and _is_empty(item):
                    seen.settle(live)
                    break
                for sub in wishes.due(live, item):
                    made[sub.id] = sub
                    live.subscribe(**asked(sub))
    finally:
        seen.finish(live)


async def _on_loop(plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]) -> None:
    wishes = Wishes(plan, gateway, seen)
    live = dbnfast.AsyncLive(**options(plan, gateway.port))
    try:
        async with live:
            for sub in _first(plan, gateway, seen, made):
                await live.subscribe(**asked(sub))
            async for item in live.events(max_wait=TURN):
                seen.see(item)
                if seen.over and _is_empty(item):
                    seen.settle(live)
                    break
                for sub in wishes.due(live, item):
                    made[sub.id] = sub
                    await live.subscribe(**asked(sub))
    finally:
        seen.finish(live)


def _is_empty(item: Any) -> bool:
    # nothing more comes, not even an event behind the last records
    return isinstance(item, dbnfast.Records) and not len(item)


def _by_records(plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]) -> None:
    wishes = Wishes(plan, gateway, seen)
    seen.ordered = False
    live = dbnfast.Live(**options(plan, gateway.port))
    try:
        with live:
            for sub in _first(plan, gateway, seen, made):
                live.subscribe(**asked(sub))
            for record in live:
                seen.take(bytes(record), plan.ts_out)
                if seen.over:
                    seen.settle(live)
                    break
                for sub in wishes.due(live):
                    made[sub.id] = sub
                    live.subscribe(**asked(sub))
    finally:
        seen.gaps = [(gap, "") for gap in live.gaps]
        seen.finish(live)


async def _by_callbacks_on_loop(
    plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]
) -> None:
    wishes = Wishes(plan, gateway, seen)
    seen.ordered = False
    live = dbnfast.AsyncLive(**options(plan, gateway.port))
    end, wrong = asyncio.Event(), list[Exception]()

    def take(record: Any) -> None:
        seen.take(bytes(record), plan.ts_out)
        if seen.over and not end.is_set():
            seen.settle(live)
            end.set()

    try:
        async with live:
            for sub in _first(plan, gateway, seen, made):
                await live.subscribe(**asked(sub))
            live.add_callback(take, wrong.append)
            await live.start()
            closed = asyncio.ensure_future(live.wait_for_close())
            while not end.is_set() and not closed.done():
                await asyncio.wait([closed], timeout=TURN)
                for sub in wishes.due(live):
                    made[sub.id] = sub
                    await live.subscribe(**asked(sub))
            if end.is_set():
                await live.stop()
            await closed
    finally:
        seen.gaps = [(gap, "") for gap in live.gaps]
        seen.finish(live)
    assert not wrong, wrong


def _by_callbacks(plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]) -> None:
    wishes = Wishes(plan, gateway, seen)
    seen.ordered = False
    live = dbnfast.Live(**options(plan, gateway.port))
    end = threading.Event()
    wrong: list[Exception] = []

    def take(record: Any) -> None:
        seen.take(bytes(record), plan.ts_out)
        if seen.over and not end.is_set():
            seen.settle(live)
            end.set()

    try:
        for sub in _first(plan, gateway, seen, made):
            live.subscribe(**asked(sub))
        live.add_callback(take, wrong.append)
        live.start()
        told = None
        limit = time.monotonic() + LIMIT
        while not end.wait(TURN) and time.monotonic() < limit:
            outage = live.stats().disconnected
            new = outage if outage is not None and outage.since_ns != told else None
            told = told if outage is None else outage.since_ns
            for sub in wishes.due(live, new):
                made[sub.id] = sub
                live.subscribe(**asked(sub))
            session = live._session
            if session is not None and session.ended:
                break
        if end.is_set():
            live.stop()
        live.block_for_close(LIMIT)
    finally:
        if live._session is not None:
            live.terminate()
        seen.gaps = [(gap, "") for gap in live.gaps]
        seen.finish(live)
    assert not wrong, wrong
