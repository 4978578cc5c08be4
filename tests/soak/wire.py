"""
The bytes of a live gateway, made with struct alone: nothing here uses the package.

A record is held as version 3 has it and without ts_out, which is what a client delivers. `Form`
gives it the shape that a connection asked for: an older version, ts_out, a line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, Final, NamedTuple

MBP_0, MBP_1, OHLCV_1S = 0x00, 0x01, 0x20
STATUS, DEFINITION, STATISTICS = 0x12, 0x13, 0x18
ERROR, MAPPING, SYSTEM = 0x15, 0x16, 0x17
MBO, BBO_1S = 0xA0, 0xC3
CONTROL: Final = (ERROR, MAPPING, SYSTEM)

RTYPES: Final = {
    "trades": MBP_0, "mbp-1": MBP_1, "tbbo": MBP_1, "ohlcv-1s": OHLCV_1S, "bbo-1s": BBO_1S,
    "mbo": MBO, "statistics": STATISTICS, "definition": DEFINITION, "status": STATUS,
}  # fmt: skip

HEARTBEAT, ACK, SLOW, FINISHED, INTERVAL, NO_CODE = 0, 1, 2, 3, 4, 255
AUTH_FAILED, DEACTIVATED, LIMIT, UNRESOLVED, INVALID, INTERNAL, SKIPPED, AGED_OUT = range(1, 9)

F_LAST, F_SNAPSHOT, F_BAD_TS_RECV = 128, 32, 8
U64_MAX: Final = 2**64 - 1
I64_MAX: Final = 2**63 - 1
PUBLISHER: Final = 1


def head(size: int, rtype: int, id: int, ts_event: int, publisher: int = PUBLISHER) -> bytes:
    return struct.pack("<BBHIQ", size // 4, rtype, publisher, id, ts_event)


# --- market data ------------------------------------------------------------------------------


def trade(id: int, ts_event: int, ts_recv: int, tag: int, price: int) -> bytes:
    return head(48, MBP_0, id, ts_event) + struct.pack(
        "<qIccBBQiI", price, 1 + tag % 7, b"T", b"A", 0, 0, ts_recv, tag % 1000, tag
    )


def quote(id: int, ts_event: int, ts_recv: int, tag: int, price: int, action: bytes) -> bytes:
    body = struct.pack("<qIccBBQiI", price, 3, action, b"B", 128, 0, ts_recv, -5, tag)
    levels = struct.pack("<qqIIII", price - 1, price + 1, 10, 11, 2, 3)
    return head(80, MBP_1, id, ts_event) + body + levels


def bbo(id: int, ts_event: int, ts_recv: int, tag: int, price: int) -> bytes:
    body = struct.pack("<qIxcBxQ4xI", price, 3, b"N", 0, ts_recv, tag)
    levels = struct.pack("<qqIIII", price - 1, price + 1, 10, 11, 2, 3)
    return head(80, BBO_1S, id, ts_event) + body + levels


def bar(id: int, ts_event: int, tag: int, price: int) -> bytes:
    body = struct.pack("<qqqqQ", price, price + 5, price - 5, price + 1, tag)
    return head(56, OHLCV_1S, id, ts_event) + body


def order(
    id: int, ts_event: int, ts_recv: int, tag: int, price: int,
    action: bytes = b"A", side: bytes = b"B", flags: int = F_LAST, order_id: int = 0, size: int = 4,
) -> bytes:  # fmt: skip
    body = struct.pack(
        "<QqIBBccQiI", order_id, price, size, flags, 0, action, side, ts_recv, 7, tag
    )
    return head(56, MBO, id, ts_event) + body


def statistic(id: int, ts_event: int, ts_recv: int, tag: int, price: int) -> bytes:
    body = struct.pack("<QQqqIiHHBB18x", ts_recv, ts_event, price, tag, tag, 3, 1, 0, 1, 0)
    return head(80, STATISTICS, id, ts_event) + body


def status(id: int, ts_event: int, ts_recv: int, tag: int) -> bytes:
    body = struct.pack("<QHHHccc7x", ts_recv, 7, tag & 0xFFFF, tag >> 16, b"Y", b"Y", b"~")
    return head(40, STATUS, id, ts_event) + body


def definition(id: int, ts_event: int, ts_recv: int, tag: int) -> bytes:
    return head(520, DEFINITION, id, ts_event) + struct.pack("<QQ", ts_recv, tag) + bytes(488)


# --- the gateway's own records ----------------------------------------------------------------


class Own(NamedTuple):
    """A record of the gateway's own, whose shape depends on the version."""

    rtype: int
    ts: int
    text: str = ""
    code: int = NO_CODE
    id: int = 0
    symbol: str = ""
    is_last: int = 1


def own_bytes(own: Own, version: int) -> bytes:
    text = own.text.encode()
    if own.rtype == MAPPING:
        into, out = own.symbol.encode(), text
        times = struct.pack("<QQ", U64_MAX, U64_MAX)
        if version == 1:
            body = struct.pack("<22s22s4x", into, out)
            return head(80, MAPPING, own.id, own.ts, 0) + body + times
        body = struct.pack("<B71sB71s", 255, into, 255, out)
        return head(176, MAPPING, own.id, own.ts, 0) + body + times
    if version == 1:
        return head(80, own.rtype, 0, own.ts, 0) + struct.pack("<64s", text)
    if own.rtype == SYSTEM:
        return head(320, SYSTEM, 0, own.ts, 0) + struct.pack("<303sB", text, own.code)
    body = struct.pack("<302sBB", text, own.code, own.is_last)
    return head(320, ERROR, 0, own.ts, 0) + body


# --- what a connection asked for --------------------------------------------------------------


class Form:
    """How a connection's records are written."""

    def __init__(self, version: int, ts_out: bool, encoding: str, bare: bool) -> None:
        self.version, self.ts_out, self.encoding = version, ts_out, encoding
        self.bare = bare  # JSON without the codes, as of version 1

    def header(self, dataset: str, start: int) -> bytes:
        if self.encoding == "json":
            return b""
        body = struct.pack("<16sHQQQ", dataset.encode(), 0xFFFF, start, U64_MAX, 0)
        if self.version == 1:
            body += struct.pack("<QBBB47x", U64_MAX, 0xFF, 0, self.ts_out)
        else:
            body += struct.pack("<BBBH53x", 0xFF, 0, self.ts_out, 71)
        body += bytes(20)
        return b"DBN" + bytes([self.version]) + struct.pack("<I", len(body)) + body

    def record(self, raw: bytes, now: int) -> bytes:
        if self.encoding == "json":
            return self._line(market_json(raw), now)
        if self.version < 3 and raw[1] == STATISTICS:
            raw = _older_statistic(raw)
        return self._sent(raw, now)

    def own(self, own: Own, now: int) -> bytes:
        if self.encoding == "json":
            return self._line(own_json(own, self.bare), now)
        return self._sent(own_bytes(own, self.version), now)

    def _sent(self, raw: bytes, now: int) -> bytes:
        if not self.ts_out:
            return raw
        return bytes([raw[0] + 2]) + raw[1:] + struct.pack("<Q", now)

    def _line(self, fields: dict[str, Any], now: int) -> bytes:
        if self.ts_out:
            fields["ts_out"] = str(now)
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    def damage(self) -> bytes:
        """What no reader takes for anything else than damage."""
        if self.encoding == "json":
            return b'{"hd":{"ts_event":"17,"rtype"}\n'
        return bytes([2]) + bytes(range(1, 40))  # a record of 8 bytes


def _older_statistic(raw: bytes) -> bytes:
    recv, ref, price, quantity, sequence, delta = struct.unpack_from("<QQqqIi", raw, 16)
    kind, channel, action, flags = struct.unpack_from("<HHBB", raw, 56)
    return (
        bytes([16])
        + raw[1:16]
        + struct.pack("<QQqiIi", recv, ref, price, quantity, sequence, delta)
        + struct.pack("<HHBB6x", kind, channel, action, flags)
    )


def own_json(own: Own, bare: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "hd": {
            "ts_event": str(own.ts), "rtype": own.rtype, "publisher_id": 0, "instrument_id": own.id
        }
    }  # fmt: skip
    if own.rtype == MAPPING:
        more: dict[str, Any] = {"stype_in_symbol": own.symbol, "stype_out_symbol": own.text}
        if not bare:
            more = {"stype_in": 255, "stype_in_symbol": own.symbol, "stype_out": 255,
                    "stype_out_symbol": own.text}  # fmt: skip
        return {**fields, **more, "start_ts": str(U64_MAX), "end_ts": str(U64_MAX)}
    fields["err" if own.rtype == ERROR else "msg"] = own.text
    if not bare:
        fields["code"] = own.code
        if own.rtype == ERROR:
            fields["is_last"] = own.is_last
    return fields


def market_json(raw: bytes) -> dict[str, Any]:
    _, rtype, publisher, id, ts_event = struct.unpack_from("<BBHIQ", raw)
    hd = {
        "ts_event": str(ts_event), "rtype": rtype, "publisher_id": publisher, "instrument_id": id
    }  # fmt: skip
    if rtype == OHLCV_1S:
        names = ("open", "high", "low", "close", "volume")
        return {"hd": hd, **_texts(names, struct.unpack_from("<qqqqQ", raw, 16))}
    if rtype == MBP_0:
        price, size, action, side, flags, depth, recv, delta, n = struct.unpack_from(
            "<qIccBBQiI", raw, 16
        )
        return {
            "ts_recv": str(recv), "hd": hd, "action": action.decode(), "side": side.decode(),
            "depth": depth, "price": str(price), "size": size, "flags": flags,
            "ts_in_delta": delta, "sequence": n,
        }  # fmt: skip
    assert rtype == MBO, f"no JSON of rtype {rtype}"
    order_id, price, size, flags, channel, action, side, recv, delta, n = struct.unpack_from(
        "<QqIBBccQiI", raw, 16
    )
    return {
        "ts_recv": str(recv), "hd": hd, "action": action.decode(), "side": side.decode(),
        "price": str(price), "size": size, "channel_id": channel,
        "order_id": str(order_id), "flags": flags, "ts_in_delta": delta, "sequence": n,
    }  # fmt: skip


def _texts(names: tuple[str, ...], values: tuple[int, ...]) -> dict[str, str]:
    return {name: str(value) for name, value in zip(names, values, strict=True)}


# --- text -------------------------------------------------------------------------------------


def response(challenge: str, key: str) -> str:
    digest = hashlib.sha256(f"{challenge}|{key}".encode()).hexdigest()
    return f"{digest}-{key[-5:]}"


def parse(line: bytes) -> dict[str, str]:
    parts = (part.partition("=") for part in line.decode().split("|"))
    return {name: value for name, _, value in parts}
