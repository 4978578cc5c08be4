"""
A gateway that follows a plan: one connection after the other, each with a fault of its own.

It is written from the descriptions of the protocol and the format, and shares nothing with the
package. Its clock is that of its history: it moves with what is sent, and with what happens while
nobody is connected. It notes all that it was asked for and all that it sent.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from soak import wire
from soak.plan import NAMES, Plan, Sub, Turn

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEY: Final = "db-0123456789abcdefghijklmnopqrs"
DATASET: Final = "XNAS.ITCH"
THE_END: Final = "the end"
CLOSES: Final = sys.platform == "linux"  # whether the port is closed now and then
PATIENCE: Final = 20.0  # s: of each wait for the client
KNOWN: Final = frozenset(
    (
        "auth", "dataset", "encoding", "compression", "ts_out", "client", "heartbeat_interval_s",
        "slow_reader_behavior",
    )
)  # fmt: skip


class Frame(NamedTuple):
    """A record to send."""

    raw: bytes = b""  # of market data, as of version 3
    own: wire.Own | None = None
    at: int | None = None  # its place in the history
    live: bool = False


class Accepted(NamedTuple):
    """Since when a subscription is served."""

    position: int
    now: int


@dataclass
class Log:
    """What happened on one connection."""

    nth: int
    turn: Turn
    session_id: str = ""
    asked: list[Sub] = field(default_factory=list)
    later: list[Sub] = field(default_factory=list)
    began: bool = False  # the session was started
    position: int = 0  # when it was
    now: int = 0
    header: bool = False  # went out whole
    frames: list[Frame] = field(default_factory=list)  # that went out whole
    sure: bool = False  # all of them must have arrived
    finished: set[str] = field(default_factory=set)
    refused: bool = False  # an error record ended it
    shots: dict[int, list[bytes]] = field(default_factory=dict)  # whole snapshots, by subscription
    trouble: str = ""  # what the client did wrong

    def describe(self) -> str:
        lines = [f"connection {self.nth}: {self.turn}"]
        for sub in self.asked:
            lines.append(f"    asked {describe(sub)}")
        for sub in self.later:
            lines.append(f"    later {describe(sub)}")
        market = sum(bool(frame.raw) for frame in self.frames)
        lines.append(
            f"    session {self.session_id or '-'}, from place {self.position}, {self.now}, "
            f"header {'sent' if self.header else 'not sent'}, {len(self.frames)} records sent, "
            f"{market} of them market data, finished {sorted(self.finished)}"
            + (", refused" if self.refused else "")
            + (f", {self.trouble}" if self.trouble else "")
        )
        return "\n".join(lines)


def describe(sub: Sub) -> str:
    start = "" if sub.start is None else f" start={sub.start}"
    return f"{sub.id} {sub.schema} {','.join(sub.symbols)}{start}{' snapshot' * sub.snapshot}"


class Gone(Exception):
    """The client hung up, or the test is over."""


class Gateway:
    """Serves one session, in a thread of its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.position = plan.begin
        self.logs: list[Log] = []
        self.accepted: dict[int, Accepted] = {}
        self.wish = threading.Event()  # the client may make its next late subscription
        self.error: BaseException | None = None
        self._stopping = threading.Event()
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        # nobody else gets the port while it is closed, where two sockets may be bound to one
        self._holder = _bound(self.port) if CLOSES else None
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._run, name="soak-gateway", daemon=True)

    def __enter__(self) -> Gateway:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE)
        self._listener.close()
        if self._holder is not None:
            self._holder.close()
        assert not self._thread.is_alive(), "the gateway hangs"

    @property
    def now(self) -> int:
        """The time of the history."""
        return self.plan.now(self.position)

    @property
    def clock(self) -> int:
        """The gateway's."""
        return self.now + self.plan.offset

    def wall(self) -> int:
        """The client's."""
        return self.clock + self.plan.skew

    # --- connections --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                nth = len(self.logs)
                turns = self.plan.turns
                turn = turns[nth] if nth < len(turns) else Turn("end")
                if turn.refused and CLOSES:
                    self._close_for(turn.refused)
                sock = self._accept()
                if sock is None:
                    return
                log = Log(nth, turn)
                self.logs.append(log)
                with sock, contextlib.suppress(Gone, OSError):
                    Connection(self, sock, log).serve()
        except BaseException as error:
            self.error = error

    def _accept(self) -> socket.socket | None:
        while not self._stopping.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                sock = self._listener.accept()[0]
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        return None

    def _close_for(self, seconds: float) -> None:
        self._listener.close()
        self._stopping.wait(seconds)
        self._listener = _bound(self.port)
        self._listener.listen(8)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class Connection:
    """One connection from its greeting to its end."""

    def __init__(self, gateway: Gateway, sock: socket.socket, log: Log) -> None:
        self.gateway, self.plan, self.sock, self.log = gateway, gateway.plan, sock, log
        self.turn = log.turn
        self.rng = random.Random(f"{self.plan.seed}/{log.nth}")
        self.lines = Lines(sock, gateway)
        self.subs: list[Sub] = []
        self.live_from: dict[int, int] = {}
        self.incoming: list[Sub] = []
        self.form: Any = None
        self.packer: Any = None
        self.whole_frames = self.rng.random() < 0.3  # zstd: a frame for each burst

    def serve(self) -> None:
        turn, rng, plan = self.turn, self.rng, self.plan
        plan_end = min(len(plan.items), self.gateway.position + turn.skip)
        self.gateway.position = plan_end
        challenge = "".join(rng.choices("abcdefghijkmnpqrstuvwxyzABCDEFGH23456789", k=32))
        greeting = f"lsg_version=0.9.4\ncram={challenge}\n".encode()
        if turn.kind == "greeting":
            self._send(greeting[: turn.part % (len(greeting) + 1)])
            return self._end()
        self._send(greeting)
        wishes = wire.parse(self.lines.next())
        self._check_auth(wishes, challenge)
        self.log.session_id = str(1000 + self.log.nth)
        reply = f"success=1|session_id={self.log.session_id}\n"
        if turn.kind == "limit":
            reply = "success=0|error=User has reached their open connection limit\n"
        elif turn.kind == "badkey":
            reply = "success=0|error=Authentication failed.\n"
        if turn.kind == "auth":
            self._send(reply.encode()[: turn.part % len(reply)])
            return self._end()
        version = plan.versions[self.log.nth] if self.log.nth < len(plan.versions) else plan.version
        self.form = wire.Form(
            version, wishes.get("ts_out") == "1", wishes.get("encoding", "dbn"), bare=version == 1
        )
        if wishes.get("compression") == "zstd":
            self.packer = zstd.ZstdCompressor()
        header = b""
        if turn.glued and turn.kind not in ("limit", "badkey", "ready"):
            header = self._packed(self.form.header(DATASET, self.gateway.clock))
        self._send(reply.encode() + header)
        if turn.kind in ("limit", "badkey"):
            return self._end()
        if turn.kind == "ready" and turn.part % 2:
            return self._end()
        self._requests()
        if turn.kind == "ready":
            return self._end()
        self._begin(header)
        return None

    def _check_auth(self, wishes: dict[str, str], challenge: str) -> None:
        unknown = wishes.keys() - KNOWN
        if unknown or wishes["auth"] != wire.response(challenge, KEY):
            self.log.trouble = f"it authenticates with {wishes}"
        if wishes["dataset"] != DATASET:
            self.log.trouble = f"it asks for {wishes['dataset']}"

    def _requests(self) -> None:
        while True:
            line = self.lines.next()
            if line.startswith(b"start_session"):
                return
            self.log.asked.append(self._subscription(line))

    def _subscription(self, line: bytes) -> Sub:
        said = wire.parse(line)
        start = int(said["start"]) if "start" in said else None
        symbols = tuple(said["symbols"].split(","))
        snapshot = said.get("snapshot") == "1"
        sub = Sub(int(said["id"]), said["schema"], said["stype_in"], symbols, start, snapshot)
        if snapshot and start is not None:
            self.log.trouble = f"snapshot and start in {line!r}"
        return sub

    # --- the stream ---------------------------------------------------------------------------

    def _begin(self, header: bytes) -> None:
        gateway, log = self.gateway, self.log
        log.began, log.position, log.now = True, gateway.position, gateway.now
        for sub in log.asked:
            gateway.accepted.setdefault(sub.id, Accepted(log.position, log.now))
        starts = [sub.start for sub in log.asked if sub.start is not None]
        if not header:
            header = self._packed(self.form.header(DATASET, min(starts, default=gateway.clock)))
            if self.turn.frames < 0:
                self._send(header[: self.turn.part % max(1, len(header))])
                return self._end()
            self._send(header)
        log.header = True
        refusal = self._refusal()
        frames = self._refuse(*refusal) if refusal else self._frames()
        log.refused = refusal is not None
        cut = self.turn.kind != "end" and not refusal
        self._pour(frames, self.turn.frames if cut else None)
        if refusal:
            return self._end()
        clock = gateway.clock
        end: dict[str, Any] = {
            "internal": wire.Own(wire.ERROR, clock, "Internal error", wire.INTERNAL),
            "unset": wire.Own(wire.ERROR, clock, "Something went wrong", wire.NO_CODE),
            "limit_record": wire.Own(
                wire.ERROR, clock, "User has reached their open connection limit", wire.LIMIT
            ),
            "fatal": wire.Own(wire.ERROR, clock, "User or API key deactivated", wire.DEACTIVATED),
            "end": wire.Own(wire.SYSTEM, clock, THE_END),
        }
        kind = self.turn.kind
        if kind in end:
            log.refused = kind != "end"
            self._flush([Frame(own=end[kind])])
        elif kind == "damage":
            self._send(b"\xff" * 24 if self.packer else self.form.damage())
        if kind in ("silence", "end"):
            return self._wait_for_end()
        return self._end()

    def _refusal(self) -> tuple[int, str] | None:
        # whether the gateway does not have what is asked for
        log, plan = self.log, self.plan
        starts = [sub.start for sub in log.asked if sub.start is not None]
        if self.turn.kind == "refusal" and starts:
            return self.turn.code, "No replay today"
        oldest = log.now - plan.window if plan.window else 0
        if any(0 < start < oldest for start in starts) and self.turn.kind != "fatal":
            return plan.window_code, f"Invalid start time. Must be {oldest} or later, or 0"
        return None

    def _refuse(self, code: int, text: str) -> Iterator[Frame]:
        if self.turn.acks:
            for sub in self.log.asked:
                yield from self._hello(sub, self.log.now)
        yield Frame(own=wire.Own(wire.ERROR, self.gateway.clock, text, code))

    def _hello(self, sub: Sub, now: int) -> Iterator[Frame]:
        if self.plan.mute:
            return
        now += self.plan.offset
        who = f"{sub.id} " if self.plan.told else ""
        text = f"Subscription request {who}for {sub.schema} data succeeded"
        yield Frame(own=wire.Own(wire.SYSTEM, now, text, wire.ACK))
        names = {id: name for name, ids in NAMES.items() for id in ids if len(ids) == 1}
        if sub.symbols == ("ALL_SYMBOLS",):
            pairs = [(names[id], id) for id in sub.ids()]
        elif sub.stype == "instrument_id":
            pairs = []
        else:
            pairs = [(symbol, id) for symbol in sub.symbols for id in NAMES.get(symbol, ())]
        for symbol, id in pairs:
            yield Frame(own=wire.Own(wire.MAPPING, now, names[id], id=id, symbol=symbol))
        if "NONE" in sub.symbols:
            yield Frame(
                own=wire.Own(wire.ERROR, now, "Failed to resolve symbol NONE", wire.UNRESOLVED)
            )

    def _snapshot(self, sub: Sub, now: int) -> Iterator[Frame]:
        rng = self.rng
        made: list[bytes] = []
        for id in sub.ids():
            orders = rng.choice((0, 1, 3, 8))
            for k in range(orders + 1):
                last = wire.F_LAST if k == orders else 0
                flags = wire.F_SNAPSHOT | wire.F_BAD_TS_RECV | last
                tag = (self.log.nth + 1) * 1000 + len(made)
                if k == 0:
                    raw = wire.order(
                        id, now - 1, now - 1, 0, wire.I64_MAX, b"R", b"N", flags, size=0
                    )
                else:
                    ts = now - 1 - rng.randint(0, 60 * 10**9)
                    raw = wire.order(id, ts, now - 1, tag, 10**9, flags=flags, order_id=tag)
                if self.turn.stump is not None and len(made) >= self.turn.stump:
                    return
                made.append(raw)
                yield Frame(raw)
        self.log.shots[sub.id] = made

    def _frames(self) -> Iterator[Frame]:
        gateway, log, plan, rng = self.gateway, self.log, self.plan, self.rng
        items = plan.items
        end = min(len(items), log.position + self.turn.lag)
        self.subs = [self._honoured(sub) for sub in log.asked]
        self.live_from = {sub.id: log.position for sub in self.subs}
        hellos = [list(self._hello(sub, log.now)) for sub in self.subs]
        if rng.random() < 0.3:  # all acknowledgements first
            yield from (frame for frames in hellos for frame in frames[:1])
            hellos = [frames[1:] for frames in hellos]
        for frames in hellos:
            yield from frames
        for sub in self.subs:
            if sub.snapshot:
                yield from self._snapshot(sub, log.now)
        gateway.position = end
        yield from self._replay(end)
        for at in range(end, len(items)):
            yield from self._newcomers(at)
            gateway.position = at + 1
            if self._owner(at) is not None:
                yield Frame(items[at].raw, at=at, live=True)
            if rng.random() < 0.01:
                yield Frame(own=wire.Own(wire.SYSTEM, gateway.clock, "Heartbeat", wire.HEARTBEAT))
            if items[at].schema == "ohlcv-1s" and rng.random() < 0.2:
                text = "End of interval for ohlcv-1s"
                yield Frame(own=wire.Own(wire.SYSTEM, gateway.clock, text, wire.INTERVAL))
        yield from self._newcomers(len(items))

    def _honoured(self, sub: Sub) -> Sub:
        if sub.start is None:
            return sub
        if sub.schema in self.turn.ignored:
            return sub._replace(start=None)
        return sub._replace(start=max(0, sub.start - self.turn.early))

    def _newcomers(self, at: int) -> Iterator[Frame]:
        while self.incoming:
            sub = self.incoming.pop(0)
            now = self.plan.now(at)
            self.gateway.accepted.setdefault(sub.id, Accepted(at, now))
            self.subs.append(sub)
            self.live_from[sub.id] = at
            yield from self._hello(sub, now)
            if sub.snapshot:
                yield from self._snapshot(sub, now)

    def _owner(self, at: int) -> Sub | None:
        # each record goes out once for its schema: with the replay that begins first
        item = self.plan.items[at]
        owners = [
            sub
            for sub in self.subs
            if sub.schema == item.schema
            and item.id in sub.ids()
            and (at >= self.live_from[sub.id] or (sub.start is not None and item.ts >= sub.start))
        ]
        return min(owners, key=lambda s: 2**64 if s.start is None else s.start, default=None)

    def _replay(self, end: int) -> Iterator[Frame]:
        # all replays at once, each at a pace of its own
        rng, gateway, items = self.rng, self.gateway, self.plan.items
        waiting: dict[int, list[int]] = {sub.id: [] for sub in self.subs}
        unfinished = {sub.schema for sub in self.subs if sub.start is not None}
        lying = [s for s, how in self.turn.ignored.items() if how == "lying"]
        asked = {sub.schema for sub in self.log.asked if sub.start is not None}
        unfinished |= asked & set(lying)
        for at in range(end):
            sub = self._owner(at)
            if sub is not None:
                waiting[sub.id].append(at)
        waiting = {id: places for id, places in waiting.items() if places}
        paces = {id: rng.choice((1, 1, 5, 50)) for id in waiting}
        schema_of = {sub.id: sub.schema for sub in self.subs}
        while waiting or unfinished:
            yield from self._newcomers(end)
            ready = sorted(unfinished - {schema_of[id] for id in waiting})
            if ready:
                unfinished.discard(ready[0])
                text = f"Finished {ready[0]} replay"
                yield Frame(own=wire.Own(wire.SYSTEM, gateway.clock, text, wire.FINISHED))
                self.log.finished.add(ready[0])
                continue
            ids = list(waiting)
            id = rng.choices(ids, [paces[id] for id in ids])[0]
            at = waiting[id].pop(0)
            if not waiting[id]:
                del waiting[id]
            yield Frame(items[at].raw, at=at)

    # --- bytes --------------------------------------------------------------------------------

    def _pour(self, frames: Iterator[Frame], limit: int | None) -> None:
        # all of them, or as many as the turn says and a part of the next
        rng, gateway = self.rng, self.gateway
        late = {
            late.frames for late in self.plan.late
            if late.nth == self.log.nth and late.frames is not None
        }  # fmt: skip
        bunch: list[Frame] = []
        size = rng.choice((1, 2, 7, 30, 100))
        for n, frame in enumerate(frames):
            if limit is not None and n >= limit:
                self._flush(bunch)
                data = self._bytes(frame)
                if self.turn.kind in ("cut", "silence") and self.turn.part:
                    data = self._packed(data)
                    self._send(data[: self.turn.part % len(data)])
                return
            bunch.append(frame)
            if n + 1 in late:
                if self.plan.mode == "records":  # who waits for a record does nothing else
                    bunch.append(Frame(own=wire.Own(wire.SYSTEM, gateway.clock, "Heartbeat", 0)))
                self._flush(bunch)
                bunch = []
                gateway.wish.set()
                self._take_line(1.0)
            elif len(bunch) >= size:
                self._flush(bunch)
                bunch = []
                self._take_line(0)
                size = rng.choice((1, 2, 7, 30, 100))
        self._flush(bunch)

    def _take_line(self, wait: float) -> None:
        line = self.lines.poll(wait)
        while line:
            sub = self._subscription(line)
            self.log.later.append(sub)
            self.incoming.append(sub)
            line = self.lines.poll(0)

    def _bytes(self, frame: Frame) -> bytes:
        form = self.form
        now = self.gateway.clock
        data = form.record(frame.raw, now) if frame.own is None else form.own(frame.own, now)
        return bytes(data)

    def _packed(self, data: bytes) -> bytes:
        if self.packer is None:
            return data
        mode = self.packer.FLUSH_FRAME if self.whole_frames else self.packer.FLUSH_BLOCK
        return bytes(self.packer.compress(data, mode=mode))

    def _flush(self, frames: list[Frame]) -> None:
        if frames:
            self._send(self._packed(b"".join(self._bytes(frame) for frame in frames)))
            self.log.frames += frames

    def _send(self, data: bytes) -> None:
        # in pieces of any size
        rng, at = self.rng, 0
        while at < len(data):
            n = rng.choice((1, 10, 100, 1000, 10**6, 10**6))
            self.sock.sendall(data[at : at + n])
            at += n
            if rng.random() < 0.02:
                time.sleep(rng.random() * 0.002)

    def _end(self) -> None:
        if self.turn.end == "rst":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()
            return
        # what was sent arrives only if nothing that came is left unread
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        # a client with little patience may have gone; one that finds a damaged block has no others
        damaged = self.turn.kind == "damage" and self.packer is not None
        self.log.sure = not damaged and not self.plan.quick_silence
        with contextlib.suppress(Gone, OSError):
            while True:
                self.lines.next()


class Lines:
    """Lines that come from a client."""

    def __init__(self, sock: socket.socket, gateway: Gateway) -> None:
        self._sock, self._gateway, self._held = sock, gateway, b""

    def next(self) -> bytes:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not self._gateway.stopping:
            line = self.poll(0.05)
            if line:
                return line
        raise Gone

    def poll(self, wait: float) -> bytes:
        """The next line; nothing if none comes in time."""
        end = time.monotonic() + wait
        while True:
            line, found, rest = self._held.partition(b"\n")
            if found:
                self._held = rest
                return line
            left = max(0.0, end - time.monotonic())
            if not select.select([self._sock], [], [], left)[0]:
                return b""
            data = self._sock.recv(65536)
            if not data:
                raise Gone
            self._held += data
