"""What one session is about, all of it drawn from its seed: history, subscriptions, faults."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from soak import wire

BEGIN: Final = 1_790_000_000 * 10**9
SECOND: Final = 10**9
MS: Final = 10**6
DAY: Final = 86_400 * SECOND
IDS: Final = (1, 2, 3, 4)
NAMES: Final = {
    "AAA": (1,), "BBB": (2,), "CCC": (3,), "DDD": (4,), "AB.FUT": (1, 2), "CD.FUT": (3, 4),
}  # fmt: skip
SLOW: Final = ("statistics", "definition", "status")
SCHEMAS: Final = (
    "trades", "trades", "mbp-1", "tbbo", "mbo", "ohlcv-1s", "bbo-1s", *SLOW,
)  # fmt: skip
IN_JSON: Final = ("trades", "mbo", "ohlcv-1s")
STEPS: Final = (0, 0, 0, 1, 10**4, MS, 20 * MS, 60 * MS, 150 * MS, 500 * MS)
WEIGHTS: Final = (3, 2, 2, 2, 2, 4, 4, 2, 1, 0.3)


class Item(NamedTuple):
    """A record of the history."""

    schema: str
    id: int
    ts: int  # what a start is held against
    clock: int  # the gateway's time when it is sent live
    raw: bytes


class Sub(NamedTuple):
    """A subscription, as the user makes it or as a line asks for it."""

    id: int
    schema: str
    stype: str
    symbols: tuple[str, ...]
    start: int | None = None
    snapshot: bool = False

    def ids(self) -> tuple[int, ...]:
        if self.symbols == ("ALL_SYMBOLS",):
            return IDS
        if self.stype == "instrument_id":
            return tuple(int(symbol) for symbol in self.symbols)
        return tuple(id for symbol in self.symbols for id in NAMES.get(symbol, ()))


class Late(NamedTuple):
    """A subscription that is made while the session runs."""

    nth: int  # during this connection, or the pause after it
    frames: int | None  # after so many records; None: in the pause
    sub: Sub


@dataclass
class Turn:
    """What becomes of one connection."""

    kind: str  # of its end
    frames: int = 0  # records before that
    part: int = 0  # bytes beyond them
    end: str = "eof"
    code: int = 0
    acks: bool = True  # whether a refusal comes behind them
    glued: bool = False  # the header comes with the reply to the key
    early: int = 0  # ns by which replays begin earlier than asked
    ignored: dict[str, str] = field(default_factory=dict)  # schemas whose start counts for nothing
    stump: int | None = None  # records of a snapshot that is not whole
    skip: int = 0  # records that nobody got before it
    lag: int = 0  # records that come during its replay
    refused: float = 0.0  # s for which there was no gateway before it

    def __str__(self) -> str:
        said = [f"{self.kind}"]
        if self.kind not in ("end", "greeting", "auth", "ready", "limit", "badkey"):
            said.append(f"after {self.frames} records + {self.part} bytes, {self.end}")
        elif self.kind in ("greeting", "auth"):
            said.append(f"after {self.part} bytes, {self.end}")
        if self.code:
            said.append(f"code {self.code}" + ("" if self.acks else ", no acks"))
        for name in ("glued", "early", "ignored", "stump", "skip", "lag", "refused"):
            value = getattr(self, name)
            if value not in (0, None, False, {}):
                said.append(f"{name}={value}")
        return ", ".join(said)


FAULTS: Final = {
    "cut": 40, "silence": 4, "greeting": 3, "auth": 3, "ready": 3, "limit": 2, "badkey": 0.3,
    "refusal": 8, "internal": 6, "limit_record": 2, "unset": 3, "damage": 5, "fatal": 0.3,
}  # fmt: skip


class Plan:
    """A session: everything about it follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = self.rng = random.Random(seed)
        # for what is to leave the rest of a seed as it is
        more = self.more = random.Random(f"more of {seed}")
        self.again = more.choice((0.0, 0.0, 0.05))  # how many records come again later
        self.encoding = "json" if rng.random() < 0.12 else "dbn"
        self.compression = "zstd" if rng.random() < 0.2 else "none"
        self.version = rng.choice((1, 2, 3, 3, 3))
        self.ts_out = rng.random() < 0.3
        self.mode = rng.choices(("events", "async", "callbacks", "records"), (5, 3, 1, 1))[0]
        self.policy = "none" if rng.random() < 0.08 else "reconnect"
        self.overlap = rng.choice((500 * MS, 2 * SECOND))
        self.skew = rng.choice((0, 0, 20 * MS, -20 * MS))  # of the client's clock
        # a gateway that serves yesterday's data
        self.offset = DAY if rng.random() < 0.06 else 0
        self.told = rng.random() < 0.8  # acknowledgements tell the id
        self.window = rng.choice((None, None, None, 3 * SECOND, 8 * SECOND))
        self.window_code = rng.choice((wire.AGED_OUT, wire.INVALID, wire.NO_CODE))
        self.schemas = self._schemas()
        self.items = self._history(rng.randint(150, 700))
        self.begin = rng.choice((0, rng.randint(0, len(self.items) // 3)))  # where the client comes
        self.subs, later = self._subscriptions()
        lanes = [wire.RTYPES[sub.schema] for sub in (*self.subs, *later)]
        # What shows only in the order of what comes again does not show where several replays
        # share a type of record, nor of those whose times are of what they state.
        self.plain = {
            sub.schema
            for sub in (*self.subs, *later)
            if lanes.count(wire.RTYPES[sub.schema]) == 1 and sub.schema not in SLOW
        }
        if len(self.plain) < len(lanes):
            self.offset = 0
        self.turns = self._turns()
        self.late = [self._late(sub) for sub in later]
        self.retry_first = self.turns[0].kind in ("greeting", "auth") and rng.random() < 0.7
        self.quick_silence = any(turn.kind == "silence" for turn in self.turns)
        self.versions = self._versions()
        self.mute = not self.late and self.more.random() < 0.05  # no acknowledgements, no mappings
        self.steady = self.more.choice((30.0, 30.0, 0.03))  # s after which a connection was good
        if self.mode == "async" and self.more.random() < 0.15:
            self.mode = "async callbacks"

    def _versions(self) -> list[int]:
        # by connection: a gateway may be replaced by another
        several = self.more.random() < 0.1 and "definition" not in self.schemas
        return [self.more.randint(1, 3) if several else self.version for _ in self.turns]

    # --- history ------------------------------------------------------------------------------

    def _schemas(self) -> tuple[str, ...]:
        rng = self.rng
        of = IN_JSON if self.encoding == "json" else SCHEMAS
        if self.version < 3:  # a definition of theirs is another struct
            of = tuple(schema for schema in of if schema != "definition")
        return tuple(dict.fromkeys(rng.choices(of, k=rng.choice((1, 2, 2, 3, 4)))))

    def _history(self, n: int) -> list[Item]:
        rng, items = self.rng, list[Item]()
        steady = [s for s in self.schemas if s not in ("ohlcv-1s", "bbo-1s")]
        kinds = steady or ["trades"]  # what time goes on with; nobody may want it
        weights = [1 if schema in SLOW else 6 for schema in kinds]
        now, tag = BEGIN, 0
        while len(items) < n:
            before = now
            now += rng.choices(STEPS, WEIGHTS)[0]
            items += self._intervals(before, now, tag)
            schema = rng.choices(kinds, weights)[0]
            tag += 10
            if schema == "mbo":
                now += 1  # what is in a snapshot and what is not must be told apart
            id = rng.choice(IDS)
            item = self._item(schema, id, now, tag)
            times = 1 if schema == "mbo" else rng.choice((1, 1, 1, 1, 1, 2, 3))
            items += [item] * times  # equal in every byte
            if items and self.more.random() < self.again:
                earlier = items[-self.more.randint(1, min(len(items), 20))]
                apart = now - earlier.ts
                if (
                    earlier.schema not in ("mbo", "ohlcv-1s", "bbo-1s")
                    and apart < self.overlap // 2
                ):
                    items.append(earlier._replace(clock=now))
            if schema == "mbp-1" and "tbbo" in self.schemas and item.raw[28:29] == b"T":
                items.append(item._replace(schema="tbbo"))
        return items

    def _item(self, schema: str, id: int, now: int, tag: int) -> Item:
        rng = self.rng
        back = rng.choice((0, 0, 1000, MS))
        if schema in SLOW and rng.random() < 0.4:
            back = rng.randint(0, now - BEGIN)  # of what it states, whenever that was
        elif rng.random() < 0.15:
            back = rng.randint(0, self.overlap * 8 // 10)
        ts = max(now - back, BEGIN)
        price = 10**9 * rng.randint(1, 500)
        if schema == "trades":
            raw = wire.trade(id, ts, now, tag, price)
        elif schema == "mbp-1":
            raw = wire.quote(id, ts, now, tag, price, rng.choice((b"A", b"C", b"T")))
        elif schema == "tbbo":
            raw = wire.quote(id, ts, now, tag, price, b"T")
        elif schema == "mbo":
            raw = wire.order(id, ts, now, tag, price, rng.choice((b"A", b"C", b"M")), order_id=tag)
        elif schema == "statistics":
            raw = wire.statistic(id, ts, now, tag, price)
        elif schema == "status":
            raw = wire.status(id, ts, now, tag)
        else:
            raw = wire.definition(id, ts, now, tag)
        return Item(schema, id, ts, now, raw)

    def _intervals(self, before: int, now: int, tag: int) -> list[Item]:
        # the bars and quotes of a second that is over
        end = before - before % SECOND + SECOND
        if now < end:
            return []
        made = []
        for id in IDS:
            if "ohlcv-1s" in self.schemas and self.rng.random() < 0.7:
                raw = wire.bar(id, end - SECOND, tag + id, 10**9 * id)
                made.append(Item("ohlcv-1s", id, end - SECOND, end, raw))
            if "bbo-1s" in self.schemas and self.rng.random() < 0.7:
                raw = wire.bbo(id, end - self.rng.randint(1, 3 * SECOND), end, tag + id, 10**9)
                made.append(Item("bbo-1s", id, end, end, raw))
        return made

    def now(self, position: int) -> int:
        """The gateway's time when all before a position were sent."""
        return self.items[position - 1].clock + 1 if position else BEGIN

    # --- subscriptions ------------------------------------------------------------------------

    def _subscriptions(self) -> tuple[list[Sub], list[Sub]]:
        rng = self.rng
        n_late = rng.choice((0, 0, 0, 0, 1, 1, 2))
        subs: list[Sub] = []
        n = max(len(self.schemas), rng.choice((1, 1, 2, 3))) + n_late
        for id in range(n):
            late = id >= n - n_late
            schema = self.schemas[id] if id < len(self.schemas) else rng.choice(self.schemas)
            stype = rng.choice(("raw_symbol", "raw_symbol", "parent", "instrument_id"))
            symbols = tuple(rng.sample(("AAA", "BBB", "CCC", "DDD"), rng.randint(1, 4)))
            if stype == "parent":
                symbols = (rng.choice(("AB.FUT", "CD.FUT")),)
            elif stype == "instrument_id":
                symbols = tuple(str(id) for id in sorted(rng.sample(IDS, rng.randint(1, 3))))
            elif rng.random() < 0.3:
                symbols = ("ALL_SYMBOLS",)
            elif rng.random() < 0.1:
                symbols = (*symbols, "NONE")  # which nobody knows
            taken = any(sub.snapshot for sub in subs)
            snapshot = schema == "mbo" and not taken and rng.random() < 0.6
            start = None if late or snapshot else self._start()
            subs.append(Sub(id, schema, stype, symbols, start, snapshot))
        return subs[: n - n_late], subs[n - n_late :]

    def _start(self) -> int | None:
        now = self.now(self.begin)
        recent = max(BEGIN, now - (self.window or 10**18) // 2)
        return self.rng.choice((None, None, 0, self.rng.randint(recent, now), now))

    def _late(self, sub: Sub) -> Late:
        rng = self.rng
        nth = rng.randrange(len(self.turns))
        pause = rng.random() < 0.3 and nth < len(self.turns) - 1
        frames = None if pause else rng.choice((1, 5, 20, rng.randint(1, 100)))
        return Late(nth, frames, sub)

    # --- faults -------------------------------------------------------------------------------

    def _turns(self) -> list[Turn]:
        rng = self.rng
        n = 1 if self.policy == "none" else rng.choice((1, 2, 2, 3, 3, 4, 6))
        turns = [self._turn(nth) for nth in range(n)]
        if self.policy == "none" and rng.random() < 0.7:
            return turns
        return [*turns, self._good(Turn("end"), n)]

    def _turn(self, nth: int) -> Turn:
        rng = self.rng
        faults = dict(FAULTS)
        if nth == 0:  # what ends a session that never was is soon told
            faults.update(limit=0.2, limit_record=0.2, greeting=1, auth=1)
        kind = rng.choices(list(faults), list(faults.values()))[0]
        frames = rng.choice((0, 1, 3, rng.randint(0, 12), rng.randint(5, 60), rng.randint(20, 250)))
        turn = Turn(kind, frames, rng.choice((0, 0, 1, 15, 17, 40, rng.randint(0, 127))))
        if kind == "cut" and rng.random() < 0.1:
            turn.frames = -1  # in the header
        turn.end = rng.choice(("eof", "eof", "rst"))
        if kind in ("silence", "damage", "limit", "badkey"):
            turn.end = "eof"
        if kind == "refusal":
            turn.code = rng.choice((wire.AGED_OUT, wire.INVALID, wire.NO_CODE))
        elif kind == "internal":
            turn.code = wire.INTERNAL
            turn.frames = rng.choice((0, 0, turn.frames))
        elif kind == "limit_record":
            turn.code = wire.LIMIT
            turn.frames = 0
        elif kind == "fatal":
            turn.code = rng.choice((wire.AUTH_FAILED, wire.DEACTIVATED))
        elif kind == "unset":
            turn.code = wire.NO_CODE
        turn.acks = rng.random() < 0.7
        return self._good(turn, nth)

    def _good(self, turn: Turn, nth: int) -> Turn:
        # what may be odd about a connection that is let in
        rng = self.rng
        turn.lag = rng.choice((0, 0, 3, 10, 40))
        turn.skip = rng.choice((0, 0, 1, 5, 20, 60)) if nth else 0
        if rng.random() < 0.06:
            turn.glued = True
        if nth and rng.random() < 0.08:
            turn.early = rng.choice((1, 100 * MS, 3 * SECOND, 10 * SECOND))
        if nth and rng.random() < 0.06:
            ignored = {rng.choice(self.schemas): rng.choice(("silent", "lying"))}
            turn.ignored = {s: how for s, how in ignored.items() if s in self.plain}
        if turn.kind not in ("end", "refusal") and rng.random() < 0.2:
            turn.stump = rng.choice((0, 1, 2, 3, 5))
        if nth and rng.random() < 0.12:
            turn.refused = rng.choice((0.01, 0.03, 0.06))
        return turn
