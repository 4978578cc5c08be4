"""
What must hold for every session, computed from the plan and from what the gateway noted.

The history says what there was, the gateway's log what was asked for and sent; the client says
what it delivered and reported. Nothing of this uses the package, but for the types of events.
"""

from __future__ import annotations

import traceback
from collections import Counter, defaultdict
from typing import Any, Final

import dbnfast
from soak import wire
from soak.client import Seen
from soak.gateway import Gateway, Log, describe
from soak.plan import SECOND, SLOW, Item, Plan, Sub

SHOWN: Final = 6


class Verdict:
    """The failures of one session."""

    def __init__(self, plan: Plan, gateway: Gateway, seen: Seen, made: dict[int, Sub]) -> None:
        self.plan, self.gateway, self.seen, self.made = plan, gateway, seen, made
        self.logs = gateway.logs
        self.failures: list[tuple[str, str]] = []
        self.items_of: dict[bytes, list[int]] = defaultdict(list)
        for at, item in enumerate(plan.items):
            self.items_of[item.raw].append(at)
        self.delivered = Counter(seen.market)
        self._client()
        self._ends()
        self._nothing_strange()
        self._order()
        self._all_that_came()
        self._snapshots()
        if seen.over:
            self._loss()
        self._gaps()
        self._events()
        self._state()

    def fail(self, what: str, text: str) -> None:
        self.failures.append((what, text))

    # --- what the gateway saw -----------------------------------------------------------------

    def _client(self) -> None:
        if self.gateway.error is not None:
            self.fail("gateway", repr(self.gateway.error))
        for log in self.logs:
            if log.trouble:
                self.fail("protocol", f"connection {log.nth}: {log.trouble}")

    def _ends(self) -> None:
        # the session came to its end, or ended as it should
        plan, seen, error = self.plan, self.seen, self.seen.error
        if seen.over:
            if error is not None:
                self.fail("error", f"{error!r} after the end")
            return
        if plan.policy == "none":
            last = self.logs[-1].turn if self.logs else None
            began = bool(self.logs) and self.logs[-1].began
            clean = (
                last is not None
                and last.end == "eof"
                and (
                    last.kind in ("cut", "ready")
                    or (last.kind == "refusal" and not self.logs[-1].refused)
                )
            )
            if error is None and not (clean or (last and last.end == "rst")):
                self.fail("end", f"no error though it ended by {last}")
            known = isinstance(error, dbnfast.LiveError | dbnfast.DecodeError)
            if error is not None and not known:
                self.fail("error", "".join(traceback.format_exception(error)))
            if error is not None and clean and began and self.logs[-1].header:
                self.fail("error", f"{error!r} though the gateway just closed")
            return
        if error is None:
            self.fail("end", "it ended without an error before the data did")
            return
        if not self._may_end(error):
            self.fail("error", "".join(traceback.format_exception(error)))

    def _may_end(self, error: BaseException) -> bool:
        plan, logs = self.plan, self.logs
        last = logs[-1]
        before = any(log.header for log in logs[:-1])
        kind = last.turn.kind
        if isinstance(error, dbnfast.AuthenticationError):
            return kind == "badkey" or (kind == "limit" and not before)
        if isinstance(error, dbnfast.GatewayError):
            if kind == "fatal":
                return True
            if kind == "limit_record":
                return not before
            ours = [sub for sub in last.asked if sub.start is not None]
            own = all(self.made[sub.id].start == sub.start for sub in ours)
            return last.refused and own and not before
        if isinstance(error, dbnfast.DecodeError):
            # of a damaged block of zstd nothing is sure, nor of those that came with it
            market = any(frame.raw for frame in last.frames) and plan.compression == "none"
            return kind == "damage" and not market and not before
        if isinstance(error, dbnfast.ConnectError):
            return not plan.retry_first and len(logs) == 1 and kind in ("greeting", "auth")
        return False

    # --- records ------------------------------------------------------------------------------

    def _wanted(self, item: Item) -> bool:
        return any(sub.schema == item.schema and item.id in sub.ids() for sub in self.made.values())

    def _nothing_strange(self) -> None:
        # never a record that is not in the history, never more often
        shots = Counter(f.raw for log in self.logs for f in log.frames if _is_shot(f.raw))
        for raw, n in self.delivered.items():
            there = sum(self._wanted(self.plan.items[at]) for at in self.items_of.get(raw, ()))
            if _is_shot(raw):
                there = shots[raw]
                if n > there and any(not log.sure for log in self.logs):
                    continue
            if n > there and there and self._too_early(raw):
                continue
            if n > there:
                what = "duplicate" if there else "strange"
                self.fail(what, f"{n} times instead of {there}: {self.name(raw)}")

    def _too_early(self, raw: bytes) -> bool:
        # A gateway replayed more than it was asked for, and this is older than the start but was
        # sent after what is not: then nothing shows that the gateway does that.
        item = self.plan.items[self.items_of[raw][0]]
        for log in self.logs:
            starts = [sub.start for sub in log.asked if sub.schema == item.schema and sub.start]
            if not log.turn.early or not starts or item.ts >= min(starts):
                continue
            sent = [frame.raw for frame in log.frames if frame.raw and frame.raw[1] == raw[1]]
            first = self.plan.items[self.items_of[sent[0]][0]] if sent else item
            if raw in sent and first.ts >= min(starts):
                return True
        return False

    def _order(self) -> None:
        # what each connection brought, in its order; not each of it needs to be new
        sent = [[f.raw for f in log.frames if f.raw] for log in self.logs]
        parts, ids = self.seen.parts, self.seen.ids
        if not self.seen.ordered:
            wrong = _not_in(self.seen.market, [raw for part in sent for raw in part])
            if wrong is not None:
                self.fail("order", f"{wrong[0]}th of all: {self.name(wrong[1])}")
            return
        by_id = {log.session_id: part for log, part in zip(self.logs, sent, strict=True)}
        for id, part in zip(ids, parts, strict=True):
            own = by_id[id] if id in by_id and id else [raw for one in sent for raw in one]
            wrong = _not_in(part, own)
            log = next((log for log in self.logs if log.session_id == id), None)
            if wrong is not None and (log is None or log.sure or wrong[1] in own[:-200]):
                self.fail("order", f"{wrong[0]}th of session {id or '(first)'}: "
                          f"{self.name(wrong[1])}")  # fmt: skip

    def _all_that_came(self) -> None:
        # what surely arrived was delivered, or is in a gap that says so
        owed = self._all_owed()
        missing: Counter[bytes] = Counter()
        for log in self.logs:
            if not log.sure:
                continue
            for raw, n in Counter(f.raw for f in log.frames if f.raw in owed).items():
                missing[raw] = max(missing[raw], min(n, owed[raw]) - self.delivered[raw])
        self._some(
            "received and not delivered",
            [
                raw
                for raw, n in missing.items()
                if n > 0 and not self._told(raw) and not self._unknowable(raw)
            ],
        )

    def _snapshots(self) -> None:
        # each snapshot comes as far as it was sent, and is asked for as long as none is whole
        for log in self.logs:
            shots = [f.raw for f in log.frames if _is_shot(f.raw)]
            if not log.sure or not shots:
                continue
            for raw, n in Counter(shots).items():
                if self.delivered[raw] < n:
                    self.fail("snapshot", f"connection {log.nth}: not delivered {self.name(raw)}")
                    break
        for sub in self.made.values():
            # where nothing names the instruments of ALL_SYMBOLS nothing shows that some are missing
            if sub.snapshot and not (self.plan.mute and sub.symbols == ("ALL_SYMBOLS",)):
                self._asked_again(sub)

    def _asked_again(self, sub: Sub) -> None:
        whole = False
        for log in self.logs:
            asked = [one for one in (*log.asked, *log.later) if one.id == sub.id]
            if not asked:
                continue
            if not whole and log.began and not asked[0].snapshot:
                self.fail("snapshot", f"connection {log.nth}: none was asked for, none was whole")
                return
            if asked[0].start is None and not asked[0].snapshot:
                self.fail("snapshot", f"connection {log.nth}: neither start nor snapshot")
                return
            sent = {frame.raw for frame in log.frames}
            whole = whole or (sub.id in log.shots and sent.issuperset(log.shots[sub.id]))

    # --- loss and gaps ------------------------------------------------------------------------

    def _beginning(self, sub: Sub) -> int | None:
        if sub.start is not None:
            return sub.start
        accepted = self.gateway.accepted.get(sub.id)
        if accepted is None:
            return None
        now = accepted.now
        return now - now % SECOND if sub.schema == "ohlcv-1s" else now

    def _owed(self, at: int, item: Item) -> bool:
        for sub in self.made.values():
            if sub.schema != item.schema or item.id not in sub.ids():
                continue
            if sub.start is not None:
                if item.ts >= sub.start and sub.id in self.gateway.accepted:
                    return True
                continue
            accepted = self.gateway.accepted.get(sub.id)
            if accepted is None or at < accepted.position or item.clock < accepted.now:
                continue  # of the last moment before nobody knows what it is
            begin = self._beginning(sub)
            assert begin is not None
            exact = sub.schema in (*SLOW, "ohlcv-1s")
            if item.ts >= begin - (0 if exact else self.plan.overlap):
                return True
        return False

    def _all_owed(self) -> Counter[bytes]:
        owed: Counter[bytes] = Counter()
        for at, item in enumerate(self.plan.items):
            owed[item.raw] += self._owed(at, item)
        return +owed

    def _told(self, raw: bytes) -> bool:
        # whether a gap says that it may be missing, in the time of the data or in the gateway's
        items = [self.plan.items[at] for at in self.items_of[raw]]
        times = {items[0].ts, items[0].ts + self.plan.offset}
        schemas = {item.schema for item in items}
        return any(
            not gap.filled
            and str(gap.schema) in schemas
            and any(gap.start_ns <= ts <= gap.end_ns for ts in times)
            for gap, _ in self.seen.gaps
        )

    def _loss(self) -> None:
        owed = self._all_owed()
        lost: dict[str, list[bytes]] = defaultdict(list)
        for raw, n in owed.items():
            if self.delivered[raw] >= n or self._told(raw) or self._unknowable(raw):
                continue
            schema = self.plan.items[self.items_of[raw][0]].schema
            what = "lost without a gap"
            for how in {log.turn.ignored[schema] for log in self._ignoring(schema)}:
                what += f", start ignored {how}"
            lost[what + ", clocks differ" * bool(self.plan.offset)].append(raw)
        for what, raws in lost.items():
            self._some(what, raws)
        self._filled(owed)

    def _ignoring(self, schema: str) -> list[Log]:
        # connections that took no notice of a start
        return [
            log
            for log in self.logs
            if log.began
            and schema in log.turn.ignored
            and any(sub.schema == schema and sub.start is not None for sub in log.asked)
        ]

    def _twin(self, raw: bytes) -> bool:
        # It equals one from before a subscription: of those that share a type with others
        # nothing but its time tells which it is.
        first, *others = self.items_of[raw]
        item = self.plan.items[first]
        return item.schema not in self.plan.plain and any(
            first < accepted.position <= max(others, default=first)
            for id, accepted in self.gateway.accepted.items()
            if self.made[id].schema == item.schema and item.id in self.made[id].ids()
        )

    def _unknowable(self, raw: bytes) -> bool:
        # whether nobody can tell that it is missing
        if self._twin(raw):
            return True
        places = self.items_of[raw]
        rtype = raw[1]
        own = [other for other in self.delivered if other[1] == rtype and not _is_shot(other)]
        if self.plan.offset:  # until data comes, nobody knows that the clocks differ
            first = min((self.items_of[other][0] for other in own), default=len(self.plan.items))
            return places[-1] < first
        schemas = {self.plan.items[at].schema for at in places}
        logs = [log for schema in schemas for log in self._ignoring(schema)]
        ts = max(self.plan.items[at].ts for at in places)
        return any(ts >= _start(log, schemas) and self._passes(log, rtype, own) for log in logs)

    def _passes(self, log: Log, rtype: int, own: list[bytes]) -> bool:
        # A replay brings again what was there, if anything was: that, or what equals it in every
        # byte. Of the slow ones nobody knows in which order; those of one rtype are one to see.
        asked = [sub for sub in log.asked if sub.start is not None]
        asked = [sub for sub in asked if wire.RTYPES[sub.schema] == rtype]
        hows = {log.turn.ignored.get(sub.schema) for sub in asked}
        if None in hows or ("silent" in hows and rtype in {wire.RTYPES[schema] for schema in SLOW}):
            return True
        start = min(sub.start or 0 for sub in asked)
        before = {frame.raw for earlier in self.logs[: log.nth] for frame in earlier.frames}
        known = {
            raw
            for raw in own
            if raw in before and self.plan.items[self.items_of[raw][0]].ts >= start
        }
        return not known or any(frame.raw in known for frame in log.frames)

    def _filled(self, owed: Counter[bytes]) -> None:
        # nothing is missing in a gap that was filled
        if self.plan.offset:
            return
        by_id = {log.session_id: log for log in self.logs if log.session_id}
        for gap, id in self.seen.gaps:
            log = by_id.get(id)
            if log is None or not gap.filled or str(gap.schema) in log.turn.ignored:
                continue
            rtype = wire.RTYPES[str(gap.schema)]
            if sum(wire.RTYPES[sub.schema] == rtype for sub in self.made.values()) > 1:
                continue  # that of one may have been filled, and that of another not
            self._some(
                "lost in a filled gap",
                [
                    raw
                    for raw, n in owed.items()
                    if self.delivered[raw] < n
                    and all(
                        self.plan.items[at].schema == str(gap.schema) and at < log.position
                        for at in self.items_of[raw]
                    )
                    and gap.start_ns <= self.plan.items[self.items_of[raw][0]].ts <= gap.end_ns
                ],
            )

    def _gaps(self) -> None:
        if not self.seen.ordered:
            return
        by_id = {log.session_id: log for log in self.logs if log.session_id}
        for gap, id in self.seen.gaps:
            log = by_id.get(id)
            logs = [log] if log is not None else self._first_good()
            found = [self._gap(gap, log, id) for log in logs]
            if all(found):
                self.failures += found[0] if found else []

    def _first_good(self) -> list[Log]:
        # what is told before any reconnection is of one of the first connections that began
        good = [log for log in self.logs if log.header]
        first = next((at for at, log in enumerate(good) if log.frames), 0)
        return good[: first + 1]

    def _gap(self, gap: Any, log: Log, id: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        schema = str(gap.schema)
        text = f"{schema} {gap.start_ns}..{gap.end_ns} on connection {log.nth}: {gap.reason}"
        subs = [sub for sub in self.made.values() if sub.schema == schema]
        if not subs:
            found.append(("gap of nothing", text))
            return found
        if gap.start_ns > gap.end_ns:
            found.append(("gap backwards", text))
        called = self.seen.called
        begins = [called[s.id] if s.start is None else min(s.start, called[s.id]) for s in subs]
        slack = self.plan.overlap + abs(self.plan.skew) + SECOND
        # a gateway that replays too much, before anything came, seems to have another clock
        early = max(before.turn.early for before in self.logs[: log.nth + 1])
        if gap.start_ns < min(begins) - slack - early:
            what = "absurd gap, filled" if gap.filled else "absurd gap"
            found.append((what, f"{text}; wanted since {min(begins)}"))
        offset = self.plan.offset
        if gap.end_ns > self.plan.now(len(self.plan.items)) + slack + offset:
            found.append(("absurd gap", f"{text}; the history ends before"))
        if gap.filled:
            if schema not in log.finished:
                found.append(("gap filled before its replay", text))
            return found
        # beside a replay a header does not tell when the connection began, nor does a mute gateway
        untold = self.plan.mute and any(sub.start is not None for sub in log.asked)
        known = bool(id) and not untold and schema not in log.turn.ignored
        if known and gap.end_ns > log.now + slack + offset:
            found.append(("gap reaches into the new connection", f"{text}; that began {log.now}"))
        asked = [sub for sub in log.asked if sub.schema == schema]
        starts = [sub.start for sub in asked if sub.start is not None]
        all_asked = len(starts) == len(asked) > 0
        if not all_asked or schema in log.turn.ignored or offset:
            return found
        first = not any(before.header for before in self.logs[: log.nth])
        own = any(self.made[sub.id].start is None for sub in asked)
        if gap.end_ns <= max(starts) and own and not first:
            return  # late records from before the beginning cannot be asked for
        found.append(("false gap", f"{text}; asked {[describe(sub) for sub in asked]}"))
        return found

    # --- events -------------------------------------------------------------------------------

    def _events(self) -> None:
        if not self.seen.ordered:
            return
        down, attempt, known = 0, -1, [log.session_id for log in self.logs if log.session_id]
        last = -1
        since = 0
        for event in self.seen.events:
            if isinstance(event, dbnfast.Disconnected):
                down += 1
                if event.attempt not in (0, attempt + 1) and (attempt, event.attempt) != (-1, 1):
                    self.fail("events", f"attempt {event.attempt} after {attempt}")
                if event.attempt and attempt >= 0 and event.since_ns != since:
                    self.fail("events", f"since {event.since_ns} after {since}")
                attempt, since = event.attempt, event.since_ns
            elif isinstance(event, dbnfast.Reconnected):
                if not down:
                    self.fail("events", "Reconnected without Disconnected")
                if event.attempts != down:
                    self.fail("attempts", f"{event.attempts}, {down} Disconnected were told")
                at = known.index(event.session_id) if event.session_id in known else -1
                if at <= last:
                    self.fail("events", f"Reconnected by session {event.session_id!r}")
                down, attempt, last = 0, -1, at

    def _state(self) -> None:
        seen = self.seen
        if seen.over and not (seen.connected and seen.outage is None):
            self.fail("state", f"connected {seen.connected}, disconnected {seen.outage} at the end")
        if seen.over and (seen.after[0] or seen.after[1] is not None):
            self.fail("state", f"{seen.after} once it was over")
        stats = seen.stats
        if stats is None or not seen.over:
            return
        unfilled = sum(not gap.filled for gap, _ in seen.gaps)
        if seen.ordered and (stats.gaps, stats.unfilled_gaps) != (len(seen.gaps), unfilled):
            self.fail("stats", f"{stats.gaps} gaps, {len(seen.gaps)} were told")
        n = sum(isinstance(event, dbnfast.Reconnected) for event in seen.events)
        if seen.ordered and stats.reconnects != n:
            self.fail("stats", f"{stats.reconnects} reconnects, {n} were told")
        if all(log.sure for log in self.logs):
            came = sum(bool(frame.raw) for log in self.logs for frame in log.frames)
            if stats.duplicates != came - len(seen.market):
                self.fail("stats", f"{stats.duplicates} duplicates, {came} records came, "
                          f"{len(seen.market)} were delivered")  # fmt: skip
        if seen.ordered and stats.records != seen.n_records:
            self.fail("stats", f"{stats.records} records, {seen.n_records} were delivered")

    # --- words --------------------------------------------------------------------------------

    def name(self, raw: bytes) -> str:
        places = self.items_of.get(raw)
        if places:
            item = self.plan.items[places[0]]
            return f"{item.schema} of {item.id} at {item.ts}, place {places}"
        return f"rtype {raw[1]}, {raw[:48].hex(' ', 8)}"

    def _some(self, what: str, raws: list[bytes]) -> None:
        if raws:
            names = "\n        ".join(self.name(raw) for raw in raws[:SHOWN])
            more = f"\n        and {len(raws) - SHOWN} more" if len(raws) > SHOWN else ""
            self.fail(what, f"{len(raws)} records\n        {names}{more}")

    def report(self) -> str:
        """Everything there is to say about a failure."""
        plan, seen = self.plan, self.seen
        lines = [
            f"seed {plan.seed}: SOAK_SEED={plan.seed} SOAK=1 make soak",
            f"  {plan.mode}, {plan.policy}, versions {plan.versions}, {plan.encoding}, "
            f"{plan.compression}, ts_out {plan.ts_out}, overlap {plan.overlap / 1e9} s, "
            f"window {plan.window}, skew {plan.skew}, "
            f"offset {plan.offset}, ids told {plan.told}, "
            f"mute {plan.mute}, steady {plan.steady}",
            *(f"  {'snapshot ' * sub.snapshot}wants {describe(sub)}" for sub in self.made.values()),
            *(f"  late: connection {late.nth}, {late.frames}: {describe(late.sub)}"
              for late in plan.late),
            f"  accepted {dict(self.gateway.accepted)}",
            *("  " + line for log in self.logs for line in log.describe().splitlines()),
            "  events:",
            *(f"    {_short(event)}" for event in seen.events),
            *(f"    {gap}" for gap, _ in (() if seen.ordered else seen.gaps)),
            f"  over {seen.over}, error {seen.error!r}",
            "  failures:",
            *(f"    {what}: {text}" for what, text in self.failures),
        ]  # fmt: skip
        return "\n".join(lines)


def _short(event: Any) -> str:
    if isinstance(event, dbnfast.Reconnected):
        return f"Reconnected(session_id={event.session_id}, attempts={event.attempts}, " \
               f"last_ns={event.last_ns}, {event.reason})"  # fmt: skip
    return str(event)


def _start(log: Log, schemas: set[str]) -> int:
    # from when on a connection was asked for records
    return min(sub.start for sub in log.asked if sub.schema in schemas and sub.start is not None)


def _is_shot(raw: bytes) -> bool:
    return raw[1:2] == bytes([wire.MBO]) and bool(raw[36] & wire.F_SNAPSHOT)


def _not_in(part: list[bytes], whole: list[bytes]) -> tuple[int, bytes] | None:
    # the first of one that cannot be found in the other, in this order
    places = iter(whole)
    for n, raw in enumerate(part):
        if all(other != raw for other in places):
            return n, raw
    return None
