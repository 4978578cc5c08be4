"""Gateways in tests: sources, a clock that moves when it is told to, a client without a socket."""

from __future__ import annotations

from typing import Any

import numpy as np

import dbnfast
from dbnfast import Decoder, Metadata, RType, Schema
from dbnfast.gateway import GatewaySession, Service
from dbnfast.live.wire.auth import cram_response
from dbnfast.live.wire.lines import parse_line

KEY = "db-0123456789abcdefghijklmnopqrs"
OTHER_KEY = "db-9876543210abcdefghijklmnopxyz"
BEGIN = 1_700_000_000_000_000_000
SECOND = 10**9
CONTROL = (RType.ERROR, RType.SYMBOL_MAPPING, RType.SYSTEM)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def trades(times: list[float], ids: list[int] | None = None) -> bytes:
    """A file of trades at so many seconds from `BEGIN`; their sequence counts them."""
    array = dbnfast.empty(Schema.TRADES, len(times))
    array["ts_event"] = array["ts_recv"] = [BEGIN + round(t * SECOND) for t in times]
    array["instrument_id"] = ids if ids is not None else [1] * len(times)
    array["publisher_id"], array["size"], array["action"], array["side"] = 1, 5, b"T", b"A"
    array["sequence"] = np.arange(len(times))
    return dbnfast.encode(array, header(Schema.TRADES, ids or [1]))


def header(schema: Schema | None, ids: list[int], **fields: Any) -> Metadata:
    """The header of a file whose instrument n is called SYMn."""
    day = [{"start_date": _day(0), "end_date": _day(2)}]
    mappings = {
        f"SYM{n}": [{**interval, "symbol": str(n)} for interval in day] for n in sorted(set(ids))
    }
    given = {
        "start": BEGIN, "end": BEGIN + 86_400 * SECOND, "schema": schema, "stype_in": "raw_symbol",
        "mappings": mappings, **fields,
    }  # fmt: skip
    return Metadata("XNAS.ITCH", **given)


def _day(n: int) -> Any:
    return (np.datetime64(BEGIN, "ns").astype("M8[D]") + np.timedelta64(n, "D")).astype(object)


class Peer:
    """
    A client of a session, by hand: lines out, records in.

    `sent` is everything that came, `after` what came behind the answer to the key.
    """

    def __init__(self, service: Service, **auth: object) -> None:
        self.service = service
        self.session = GatewaySession(service)
        self.sent = bytearray()
        self.after = bytearray()
        self.reply: dict[str, str] = {}
        self.pieces: list[int] = []
        self.auth = {"dataset": service.source.dataset, **auth}

    def pull(self, now: float | None = None, *, to_end: bool = True) -> bytes:
        """Take what the session sends now; `to_end`, until it has nothing more at once."""
        got = bytearray()
        for _ in range(100_000):
            blocks = self.session.data_to_send(now)
            self.pieces += map(len, blocks)
            got += b"".join(blocks)
            clock = self.service.clock() if now is None else now
            if not to_end or (not blocks and self.session.next_time() > clock):
                break
        else:
            raise AssertionError("the session always has something to do")
        self.sent += got
        return bytes(got)

    def send(self, *lines: str) -> None:
        """Send lines."""
        self.session.receive_data("".join(f"{line}\n" for line in lines).encode())

    def log_in(self, key: str = KEY, **fields: object) -> dict[str, str]:
        """Answer the challenge; give the reply."""
        greeting, challenge = self.pull().splitlines()
        assert greeting == b"lsg_version=0.9.4"
        answer = cram_response(parse_line(challenge)["cram"], key)
        given = {"auth": answer, **self.auth, **fields}
        self.send("|".join(f"{name}={value}" for name, value in given.items()))
        self.reply = parse_line(self.pull())
        return self.reply

    def subscribe(
        self, schema: str = "trades", symbols: str = "ALL_SYMBOLS", **fields: object
    ) -> None:
        """Subscribe, by one line."""
        given = {"schema": schema, "stype_in": "raw_symbol", "symbols": symbols, **fields}
        self.send("|".join(f"{name}={value}" for name, value in given.items()))

    def start(self, now: float | None = None) -> None:
        """Start, and take what comes."""
        self.send("start_session=0")
        self.take(now)

    def take(self, now: float | None = None) -> bytes:
        """Take what comes of the stream."""
        got = self.pull(now)
        self.after += got
        return got

    def decoded(self) -> tuple[Metadata | None, list[Any]]:
        """The header and the records that came."""
        decoder = Decoder()
        decoder.feed(bytes(self.after))
        found: list[Any] = []
        while ready := decoder.read():
            found += [record for records in ready for record in records]
        return decoder.metadata, found

    @property
    def records(self) -> list[Any]:
        """The records of the source that came."""
        return [record for record in self.decoded()[1] if record.rtype not in CONTROL]

    @property
    def said(self) -> list[str]:
        """The texts of system, error and mapping records that came."""
        found = []
        for record in self.decoded()[1]:
            if record.rtype == RType.SYSTEM:
                found.append(record.msg)
            elif record.rtype == RType.ERROR:
                found.append(f"{int(record.code)} {record.err}")
            elif record.rtype == RType.SYMBOL_MAPPING:
                found.append(f"{record.stype_in_symbol} is {record.instrument_id}")
        return found

    @property
    def sequences(self) -> list[int]:
        """The numbers of the records that came."""
        return [record.sequence for record in self.records]


def connected(source: Any, *, auth: dict[str, object] | None = None, **options: Any) -> Peer:
    """A peer whose key is right."""
    peer = Peer(Service(source, keys=[OTHER_KEY, KEY], **options), **(auth or {}))
    assert peer.log_in()["success"] == "1"
    return peer
