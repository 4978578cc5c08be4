"""
Mutations that know what they change: records, headers, frames, lines.

libFuzzer's own mutations rarely leave a length or a count right, and then nothing behind it is
reached. Those here keep it right, or make it wrong on purpose. Each takes a generator, the payload
and `native`, which is libFuzzer's mutation of bytes.
"""

from __future__ import annotations

import datetime
import random
import struct
from collections.abc import Callable, Sequence

from dbnfast import Schema, SType, reference
from dbnfast.codec.compression import zstd
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE
from helpers import builders, streams

Native = Callable[[bytes], bytes]
Mutator = Callable[[random.Random, bytes, Native], bytes]

SPECIAL = (0, 1, 3, 4, 0x7F, 0x80, 0xFE, 0xFF)
# offsets of single-byte and short fields in the headers of versions 1, and 2 and later
HEADER_FIELDS = (
    (3, 1), (4, 4), (24, 2), (26, 8), (34, 8), (42, 8), (50, 1), (51, 1), (52, 1), (53, 2),
    (58, 1), (59, 1), (60, 1), (104, 4), (108, 4), (112, 4), (116, 4),
)  # fmt: skip
SYMBOLS = ("A", "ESH6", "7", "4294967295", "0", "", "x" * 21, 'a"b', "a,b", "\\")
MAX_INFLATED = 1 << 16


def metadata(rng: random.Random) -> bytes:
    """A header as a writer might make it."""
    version = rng.choice((1, 2, 3))

    def symbols(most: int) -> list[str]:
        return rng.choices(SYMBOLS, k=rng.randint(0, most))

    def day() -> datetime.date:
        return datetime.date(1970, 1, 1) + datetime.timedelta(rng.randint(0, 80_000))

    mappings = {
        name: [(day(), day(), rng.choice(SYMBOLS)) for _ in range(rng.randint(0, 2))]
        for name in symbols(3)
    }
    plain = builders.plain_metadata(
        version,
        rng.random() < 0.2,
        schema=rng.choice((None, *Schema)),
        stype_in=rng.choice((None, *SType)),
        stype_out=rng.choice((SType.INSTRUMENT_ID, SType.RAW_SYMBOL)),
        symbols=symbols(3),
        partial=symbols(1),
        not_found=symbols(1),
        mappings=mappings,
    )
    return reference.encode_metadata(plain)


def header_size(data: bytes) -> int:
    """Where the records begin: 0 where there is no header, and no further than the end."""
    if data[:3] != b"DBN" or len(data) < 8:
        return 0
    return min(len(data), 8 + int.from_bytes(data[4:8], "little"))


def cut(data: bytes) -> list[bytes]:
    """Cut records by their length bytes; what cannot be cut is the last part."""
    found, at = [], 0
    while at < len(data):
        n = data[at] * 4
        n = n if n >= 16 else len(data) - at
        found.append(data[at : at + n])
        at += n
    return found


def record(rng: random.Random, raw: bytes) -> bytes:
    """Change a record: a field of its header, a value, its length, or what it is."""
    out = bytearray(raw.ljust(16, b"\0"))
    way = rng.randrange(8)
    if way == 0:
        out[0] = rng.choice((0, 3, 4, len(out) // 4 & 255, out[0] ^ 1, 255))
    elif way == 1:
        out[1] = rng.choice((*LAYOUTS_BY_RTYPE, 0x42))
    elif way == 2:
        field = rng.choice(((2, 2), (4, 4), (8, 8)))
        out[field[0] : sum(field)] = number(rng, field[1])
    elif way == 3:
        size = rng.choice((4, 8))
        at = rng.randrange(0, max(1, len(out) - size + 1), 4)
        out[at : at + size] = number(rng, size)
    elif way == 4:
        grown = bytes(out) + rng.randbytes(rng.choice((4, 8, 40)))
        out = bytearray(grown[:1020])
        out[0] = len(out) // 4
    elif way == 5:
        layouts = LAYOUTS_BY_RTYPE.get(out[1])
        size = rng.choice(layouts).size if layouts else 16
        out = bytearray(bytes(out)[:size].ljust(size, b"\0"))
        out[0] = size // 4
    else:
        at = rng.randrange(len(out))
        out[at] = rng.choice(SPECIAL) if way == 6 else out[at] ^ (1 << rng.randrange(8))
    return bytes(out)


def number(rng: random.Random, size: int) -> bytes:
    """An integer of a size, most often a peculiar one."""
    most = 256**size - 1
    value = rng.choice((0, 1, most, most - 1, most // 2, most // 2 + 1, rng.randint(0, most)))
    return value.to_bytes(size, "little")


def new_record(rng: random.Random) -> bytes:
    """A record of any layout, or of none."""
    if rng.random() < 0.1:
        return builders.unknown_record(rng)
    kind = rng.choice(builders.KINDS[rng.choice((1, 2, 3, 3))])
    return builders.record_bytes(rng, kind, rng.random() < 0.2, wild=rng.random() < 0.3)


def records(rng: random.Random, data: bytes, native: Native) -> bytes:
    """Change a run of records: one of them, their order, their number."""
    found = cut(data) or [new_record(rng)]
    at = rng.randrange(len(found))
    way = rng.randrange(9)
    if way == 0:
        found.insert(at, new_record(rng))
    elif way == 1:
        found[at:at] = [found[at]] * rng.choice((1, 2, 64, 130))
    elif way == 2:
        del found[at]
    elif way == 3:
        other = rng.randrange(len(found))
        found[at], found[other] = found[other], found[at]
    elif way == 4:
        found = [bytes([(len(raw) + 8) // 4 & 255]) + raw[1:] + rng.randbytes(8) for raw in found]
    elif way == 5:
        found[-1] = found[-1][: rng.randrange(len(found[-1]))]
    elif way == 6:
        found[at] = native(found[at])
    else:
        found[at] = record(rng, found[at])
    return b"".join(found)


def header(rng: random.Random, data: bytes, native: Native) -> bytes:
    """Change a header: another one, a field, a list; mostly with its length put right."""
    way = rng.randrange(5)
    if way == 0 or len(data) < 120:
        return metadata(rng)
    out = bytearray(data)
    if way == 1:
        at, size = rng.choice(HEADER_FIELDS)
        out[at : at + size] = number(rng, size)
        return bytes(out)
    if way == 2:
        out[108:] = native(bytes(out[108:]))
    elif way == 3:  # what fits by a byte, or not
        n = rng.choice((1, 2, 4, 8))
        out = out[:-n] if rng.random() < 0.7 else out + bytes(n)
    else:
        out[8:] = native(bytes(out[8:]))
    if rng.random() < 0.8:
        struct.pack_into("<I", out, 4, len(out) - 8)
    return bytes(out)


def stream(rng: random.Random, data: bytes, native: Native) -> bytes:
    """Change a stream, header and records, or a fragment."""
    start = header_size(data)
    roll = rng.random()
    if roll < 0.2:
        return native(data)
    if roll < 0.35 and start:
        return header(rng, data[:start], native) + data[start:]
    return data[:start] + records(rng, data[start:], native)


def only_header(rng: random.Random, data: bytes, native: Native) -> bytes:
    """Change a header that stands alone."""
    return native(data) if rng.random() < 0.4 else header(rng, data, native)


def inflated(data: bytes) -> bytes:
    """What can be had of compressed bytes, at most `MAX_INFLATED`."""
    module, out = zstd(), b""
    try:
        while data and len(out) < MAX_INFLATED:
            decompressor = module.ZstdDecompressor()
            out += decompressor.decompress(data, MAX_INFLATED - len(out))
            data = decompressor.unused_data if decompressor.eof else b""
    except module.ZstdError:
        pass
    return out


def compressed(rng: random.Random, data: bytes, native: Native) -> bytes:
    """Change compressed bytes, or what they are of."""
    roll = rng.random()
    if roll < 0.4:
        return native(data)
    plain = inflated(data)
    if roll < 0.9:
        plain = stream(rng, plain, native)
    made, _ = builders.zstd_frames(rng, plain)
    return native(made) if rng.random() < 0.3 else made


def dbz(rng: random.Random, data: bytes, native: Native) -> bytes:
    """Change a DBZ file: the fixed part, the lists in their frame, the records in theirs."""
    size = int.from_bytes(data[4:8], "little")
    fixed, lists, rest = data[8:104], data[104 : 8 + size], data[8 + size :]
    way = rng.randrange(5)
    if way == 0 or len(data) < 104 or size > len(data):
        return native(data)
    if way == 1:
        out = bytearray(fixed)
        at = rng.choice((0, 3, 4, 20, 22, 30, 38, 46, 54, 55, 56, 57))
        out[at] = rng.choice(SPECIAL)
        fixed = bytes(out)
    elif way == 2:
        lists = streams.frame(native(inflated(lists)))
    elif way == 3:
        rest = builders.zstd_frames(rng, records(rng, inflated(rest), native))[0]
    else:
        rest = native(rest)
    return data[:4] + struct.pack("<I", len(fixed) + len(lists)) + fixed + lists + rest


TOKENS = (b"", b"0", b"-1", b"null", b'""', b'"\\u0000"', b"1e9", b"1.000000001", b'"1.5"', b"true",
          b"9223372036854775807", b"-9223372036854775808", b"18446744073709551615", b"[]", b"{}",
          b"NaN", b'"\\ud800"', b"\xff", b"1970-01-01T00:00:00.000000000Z", b'"T"', b"\0",
          b"2554-07-21T23:34:33.709551615Z", b'"2026-01-05T09:30:00.000000001Z"', b"0.1", b"1e-9",
          b'"a""b"', b"\r", b'"', b"[[1,2],[3]]")  # fmt: skip


def lines(
    rng: random.Random, data: bytes, native: Native, separators: bytes = b",:{}[]|="
) -> bytes:
    """Change text that stands in lines: whole lines, or a value between two separators."""
    if rng.random() < 0.35:
        return native(data)
    found = data.splitlines(keepends=True) or [b"\n"]
    at = rng.randrange(len(found))
    way = rng.randrange(6)
    if way == 0:
        found[at:at] = [rng.choice(found)] * rng.choice((1, 2, 20))
    elif way == 1:
        del found[at]
    elif way == 2:
        found[at] = found[at].rstrip(b"\r\n") + rng.choice((b"", b"\r\n", b"\r", b"\n\n", b" \n"))
    elif way == 3:
        found[at] = native(found[at])
    else:
        found[at] = value(rng, found[at], separators)
    return b"".join(found)


def value(rng: random.Random, line: bytes, separators: bytes) -> bytes:
    """Put another value between two separators of a line, or the one of another place."""
    places = [-1, *(i for i, byte in enumerate(line) if byte in separators), len(line)]
    at = rng.randrange(len(places) - 1)
    first, last = places[at] + 1, places[at + 1]
    other = rng.randrange(len(places) - 1)
    copied = line[places[other] + 1 : places[other + 1]]
    made = rng.choice((rng.choice(TOKENS), copied, line[first:last] * 2))
    return line[:first] + made + line[last:]


def spliced(rng: random.Random, pieces: Sequence[bytes]) -> bytes:
    """Join some of the pieces, in any order."""
    return b"".join(rng.choices(pieces, k=rng.randint(1, 5))) if pieces else b""
