"""Sessions that are cut anywhere and resumed deliver what an undisturbed one would have."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast import RType, Schema, SType
from dbnfast.enums import SCHEMA_RTYPES, SystemCode
from dbnfast.layouts.programs import FILTER_TS_AT, INDEX_TS_AT
from dbnfast.live.resume import delivered as kept
from dbnfast.live.resume.lanes import OWN_MARGIN
from dbnfast.live.resume.plan import Progress, Reach, lost, resume
from dbnfast.live.wire.requests import ALL_SYMBOLS, Subscription
from helpers import streams

MS = 1_000_000
BEGIN = 1_700_000_000 * 10**9
BACK = 500 * MS  # how far ts_event goes back
IDS = (1, 2, 3, 4)
NAMES = {"A": (1,), "B": (2,), "C": (3,), "D": (4,), "AB.FUT": (1, 2), "CD.FUT": (3, 4)}
SCHEMAS = (
    Schema.TRADES,
    Schema.TRADES,
    Schema.MBP_1,
    Schema.TBBO,
    Schema.BBO_1S,
    Schema.STATISTICS,
    Schema.DEFINITION,
)

Key = tuple[Schema, int]


class Item(NamedTuple):
    """A record of the source."""

    key: Key
    ts: int  # what a start is held against
    raw: bytes


class Source:
    """Records in the order in which they are sent, and when."""

    def __init__(self, rng: random.Random, n: int, schemas: tuple[Schema, ...]) -> None:
        self.items: list[Item] = []
        self.clock: list[int] = []  # when each one is sent
        self.keys: dict[bytes, Item] = {}
        now = BEGIN
        while len(self.items) < n:
            # never by less than what a gateway's clock may be ahead of what it sends
            now += rng.choice((2 * MS, 3 * MS, 10 * MS, 100 * MS, 400 * MS, 900 * MS, 3000 * MS))
            ts = max(BEGIN, now - rng.choice((0, 0, 0, rng.randint(0, BACK))))
            key = (rng.choice(schemas), rng.choice(IDS))
            item = Item(key, ts, record(key, ts, len(self.items), now))
            self.keys[item.raw] = item
            n_equal = rng.choice((1, 1, 1, 1, 2, 3))  # equal in every byte
            self.items += [item] * n_equal
            self.clock += [now] * n_equal

    def now(self, at: int) -> int:
        """The gateway's time when all before `at` are sent."""
        return self.clock[at - 1] + 3 * MS // 2 if at else BEGIN

    def between(self, at: int) -> int:
        """The next position where nothing begins between records of one time."""
        while 0 < at < len(self.items) and self.clock[at - 1] == self.clock[at]:
            at += 1
        return min(at, len(self.items))


def record(key: Key, ts: int, tag: int, ts_recv: int) -> bytes:
    rtype = int(SCHEMA_RTYPES[key[0]])
    size = SIZES_OF[rtype]
    raw = bytearray(streams.record(rtype, size, instrument_id=key[1], ts_event=ts))
    at = int(INDEX_TS_AT[rtype])
    raw[at : at + 8] = struct.pack("<Q", ts_recv)
    at = int(FILTER_TS_AT[rtype])
    raw[at : at + 8] = struct.pack("<Q", ts)
    raw[-4:] = struct.pack("<I", tag)
    return bytes(raw)


SIZES_OF = {int(r): dbnfast.dtype(r).itemsize for r in set(SCHEMA_RTYPES.values())}


def control(rtype: RType, ts: int, instrument_id: int = 0, **fields: Any) -> bytes:
    array = dbnfast.empty(rtype, 1)
    array["publisher_id"], array["instrument_id"], array["ts_event"] = 0, instrument_id, ts
    for name, value in fields.items():
        array[name] = value
    return array.tobytes()


def system(code: SystemCode, text: str, ts: int) -> bytes:
    return control(RType.SYSTEM, ts, msg=text.encode(), code=int(code))


def covers(sub: Subscription, instrument_id: int) -> bool:
    if sub.symbols == (ALL_SYMBOLS,):
        return True
    if sub.stype_in == SType.INSTRUMENT_ID:
        return str(instrument_id) in sub.symbols
    return any(instrument_id in NAMES[symbol] for symbol in sub.symbols)


@dataclass
class Gateway:
    """What a gateway sends on one connection, made from the position at which it begins."""

    source: Source
    rng: random.Random
    position: int
    subs: list[Subscription]
    window: int
    replay_lag: int
    told_ids: bool
    live_from: dict[int, int] = field(default_factory=dict)  # by subscription

    @property
    def start(self) -> int:
        starts = [sub.start for sub in self.subs if sub.start is not None]
        return min(starts, default=self.source.now(self.position))

    def aged_out(self) -> bool:
        oldest = self.source.now(self.position) - self.window
        return any(sub.start is not None and 0 < sub.start < oldest for sub in self.subs)

    def hello(self, sub: Subscription, ts: int) -> Iterator[bytes]:
        who = f"{sub.id} " if self.told_ids else ""
        text = f"Subscription request {who}for {sub.schema} data succeeded"
        yield system(SystemCode.SUBSCRIPTION_ACK, text, ts)
        if sub.stype_in == SType.INSTRUMENT_ID or sub.symbols == (ALL_SYMBOLS,):
            return
        for symbol in sub.symbols:
            for id in NAMES[symbol]:
                yield control(
                    RType.SYMBOL_MAPPING, ts, id, stype_in=255, stype_in_symbol=symbol.encode()
                )

    def owner(self, at: int) -> Subscription | None:
        """Each record goes out once per schema: with the replay that begins first."""
        schema, id = self.source.items[at].key
        owners = [
            sub
            for sub in self.subs
            if sub.schema == schema
            and covers(sub, id)
            and (
                at >= self.live_from[sub.id]
                or (sub.start is not None and self.source.items[at].ts >= sub.start)
            )
        ]
        return min(owners, key=lambda sub: 2**64 if sub.start is None else sub.start, default=None)

    def stream(self) -> Iterator[bytes | int]:
        """The records, and after each live one the position behind it."""
        now = self.source.now(self.position)
        self.live_from.update((sub.id, self.position) for sub in self.subs)
        for sub in self.subs:
            yield from self.hello(sub, now)
        if self.aged_out():
            yield control(RType.ERROR, now, err=b"Too old", code=8)
            return
        yield from self.replay()
        for at in range(self.position, len(self.source.items)):
            self.position = at + 1
            if self.owner(at) is not None:
                yield self.source.items[at].raw
            yield self.position

    def replay(self) -> Iterator[bytes | int]:
        """All replays at once, each at its own pace, while time goes on."""
        end = min(len(self.source.items), self.position + self.replay_lag)
        if all(sub.start is None for sub in self.subs):
            return
        queues: dict[int, list[bytes]] = defaultdict(list)
        for at in range(end):
            sub = self.owner(at)
            if sub is not None:
                queues[sub.id].append(self.source.items[at].raw)
        paces = {sub.id: self.rng.choice((1, 1, 5, 50)) for sub in self.subs}
        unfinished = {sub.schema for sub in self.subs if sub.start is not None}
        self.position = end
        while unfinished or any(queues.values()):
            late = {sub.schema for sub in self.subs if queues[sub.id] and sub.start is not None}
            live = any(queues[sub.id] for sub in self.subs if sub.start is None)
            ready = unfinished - late if not live else ()  # those without a start are at now
            if ready:
                schema = min(ready)
                unfinished.discard(schema)
                yield system(
                    SystemCode.REPLAY_COMPLETED, f"Finished {schema} replay", self.source.now(end)
                )
                continue
            busy = [id for id, queue in queues.items() if queue]
            id = self.rng.choices(busy, [paces[id] for id in busy])[0]
            yield queues[id].pop(0)


class Session:
    """A session, and what a test needs to know of it."""

    def __init__(self, rng: random.Random, source: Source, overlap: int, ts_out: bool) -> None:
        self.rng, self.source, self.ts_out = rng, source, ts_out
        self.progress = Progress(overlap_ns=overlap)
        self.header = streams.header(schema=None, ts_out=int(ts_out))
        self.delivered: list[bytes] = []
        self.gaps: list[tuple[Schema, int, int]] = []
        self.waiting: list[bytes] = []

    def put(self, raw: bytes) -> None:
        if self.ts_out:
            raw = bytes([raw[0] + 2]) + raw[1:] + self.rng.randbytes(8)
        self.waiting.append(raw)

    def flush(self) -> None:
        if not self.waiting:
            return
        records = dbnfast.scan(self.header + b"".join(self.waiting))
        came = records.tobytes()
        self.waiting.clear()
        new = self.progress.push(records)
        assert records.tobytes() == came
        assert (new is records) == (new.nbytes == records.nbytes)
        for raw in streams.walk(new.tobytes()):
            raw = bytes([raw[0] - 2]) + raw[1:-8] if self.ts_out else raw
            if raw[1] not in (21, 22, 23):
                self.delivered.append(raw)


def draw_subs(rng: random.Random, n: int, first: int, schemas: tuple[Schema, ...]) -> list[Any]:
    subs = []
    for i in range(n):
        stype = rng.choice((SType.RAW_SYMBOL, SType.PARENT, SType.INSTRUMENT_ID, SType.RAW_SYMBOL))
        symbols: tuple[str, ...] = tuple(rng.sample(("A", "B", "C", "D"), rng.randint(1, 3)))
        if stype == SType.PARENT:
            symbols = (rng.choice(("AB.FUT", "CD.FUT")),)
        elif stype == SType.INSTRUMENT_ID:
            symbols = tuple(str(id) for id in rng.sample(IDS, rng.randint(1, 3)))
        elif rng.random() < 0.2:
            symbols = (ALL_SYMBOLS,)
        subs.append((first + i, rng.choice(schemas), stype, symbols))
    return subs


def start_of(rng: random.Random, source: Source, position: int) -> int | None:
    now = source.now(position)
    return rng.choice((None, 0, rng.randint(BEGIN, max(BEGIN, now - 1)), BEGIN))


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(5, 120),
    n_subs=st.integers(1, 4),
    n_late=st.integers(0, 2),
    cuts=st.lists(st.integers(0, 150), max_size=4),
    overlap=st.sampled_from((BACK, 2000 * MS)),
    window=st.sampled_from((2**60, 2**60, 6000 * MS)),
    kinds=st.sampled_from((SCHEMAS, (Schema.TRADES,), (Schema.TBBO, Schema.MBP_1))),
    ts_out=st.booleans(),
    spill=st.sampled_from((64 << 20, 100)),
)
@settings(max_examples=200)
@example(1, 60, 2, 1, [30, 20], BACK, 2**60, (Schema.TRADES,), False, 100)
def test_nothing_is_lost_or_doubled(
    seed: int, n: int, n_subs: int, n_late: int, cuts: list[int], overlap: int, window: int,
    kinds: tuple[Schema, ...], ts_out: bool, spill: int,
) -> None:  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "SPILL", spill)
        patch.setattr(kept, "LOOK_EVERY", 200)
        run(seed, n, n_subs, n_late, cuts, overlap, window, kinds, ts_out)


def run(
    seed: int, n: int, n_subs: int, n_late: int, cuts: list[int], overlap: int, window: int,
    kinds: tuple[Schema, ...], ts_out: bool,
) -> None:  # fmt: skip
    rng = random.Random(seed)
    source = Source(rng, n, kinds)
    session = Session(rng, source, overlap, ts_out)
    progress = session.progress
    position = source.between(rng.randint(0, len(source.items)))
    subs = [
        Subscription(*fields, start_of(rng, source, position))
        for fields in draw_subs(rng, n_subs, 0, kinds)
    ]
    late = [Subscription(*fields) for fields in draw_subs(rng, n_late, n_subs, kinds)]
    began = {sub.id: position for sub in subs}  # the first position that is live for each
    for sub in subs:
        progress.subscribed(sub)
    asked = list(subs)
    told_ids = rng.random() < 0.8
    for nth, cut in enumerate([*cuts, 10**9]):
        asked, gateway = connect(session, nth, subs, asked, position, window, told_ids)
        n_sent = 0
        for sent in with_late(gateway, rng, late, subs, progress, session, began):
            if isinstance(sent, int):
                continue
            session.put(sent)
            if rng.random() < 0.4:
                session.flush()
            n_sent += 1
            if n_sent >= cut:
                break
        session.flush()
        for sub in subs:  # those that were not acknowledged begin with what answers them
            if sub.id not in began and sub.id in progress_begun(progress):
                began[sub.id] = gateway.live_from[sub.id]
        progress.disconnected()
        position = source.between(gateway.position + rng.choice((0, 1, 5, 20)))
    compare(source, session, subs, began)


def progress_begun(progress: Progress) -> set[int]:
    return {id for id, state in progress._states.items() if state.floor is not None}


def connect(
    session: Session, nth: int, subs: list[Subscription], asked: list[Subscription],
    position: int, window: int, told_ids: bool,
) -> tuple[list[Subscription], Gateway]:  # fmt: skip
    """Connect, with less replay where that was too much."""
    progress, rng, tried = session.progress, session.rng, None
    for reach in Reach:
        if nth:
            asked = list(resume(subs, progress, reach))
            if asked == tried:
                continue
            tried = asked
        gateway = Gateway(
            session.source, rng, position, asked, window if nth else 2**60,
            rng.choice((0, 3, 10)), told_ids,
        )  # fmt: skip
        missing = lost(subs, asked, progress) if nth else {}
        now = session.source.now(position)
        if nth:
            progress.resumed(asked, now)
        progress.started(gateway.start, now)
        if not gateway.aged_out():
            break
        for sent in gateway.stream():
            assert isinstance(sent, bytes)
            session.put(sent)
        session.flush()
        progress.disconnected()
    session.gaps += [(schema, since, now) for schema, since in missing.items()]
    return asked, gateway


def with_late(
    gateway: Gateway, rng: random.Random, late: list[Subscription], subs: list[Subscription],
    progress: Progress, session: Session, began: dict[int, int],
) -> Iterator[bytes | int]:  # fmt: skip
    """The stream, subscriptions being made in the midst of it."""
    for sent in gateway.stream():
        yield sent
        here = gateway.position
        if (
            isinstance(sent, int)
            and late
            and here == gateway.source.between(here)
            and rng.random() < 0.1
        ):
            sub = late.pop()
            subs.append(sub)
            progress.subscribed(sub, session.source.now(gateway.position))
            gateway.subs.append(sub)
            gateway.live_from[sub.id] = gateway.position
            yield from gateway.hello(sub, session.source.now(gateway.position))


def compare(
    source: Source, session: Session, subs: list[Subscription], began: dict[int, int]
) -> None:
    expected: dict[Key, dict[int, bool]] = defaultdict(dict)  # by position: whether it is owed
    others: set[bytes] = set()
    for at, item in enumerate(source.items):
        schema, id = item.key
        lane = [
            sub
            for sub in subs
            if SCHEMA_RTYPES[sub.schema] == SCHEMA_RTYPES[schema]
            and covers(sub, id)
            and sub.id in began
            and (at >= began[sub.id] or (sub.start is not None and item.ts >= sub.start))
        ]
        senders = [sub for sub in lane if sub.schema == schema]
        if senders:  # one that is so late that it is older than the start need not be replayed
            owed = any(sub.start is None or item.ts >= sub.start for sub in senders)
            expected[item.key][at] = owed
        elif lane:  # nothing tells tbbo and mbp-1 apart: a replay may bring what is the other's
            others.add(item.raw)
        elif any(source.clock[at] > source.now(begun) - OWN_MARGIN for begun in began.values()):
            others.add(item.raw)  # clocks differ: it may have been sent after the beginning
    found: dict[Key, list[bytes]] = defaultdict(list)
    for raw in session.delivered:
        if raw in others:
            continue
        found[session.source.keys[raw].key].append(raw)
    for key in expected.keys() | found.keys():
        came = iter(found[key])
        raw = next(came, None)
        gaps = [(begin, end) for schema, begin, end in session.gaps if schema == key[0]]
        for at, owed in expected[key].items():
            item = source.items[at]
            if raw == item.raw:
                raw = next(came, None)
            else:
                assert not owed or any(a <= item.ts < b for a, b in gaps), (key, at, item.ts)
        assert raw is None, f"{key}: {raw!r} is out of order, or more than was sent"
