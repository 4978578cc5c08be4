"""Small DBN streams made with struct alone, and the ways of feeding them to the package."""

from __future__ import annotations

import math
import mmap
import random
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import dbnfast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NO_SCHEMA = 0xFFFF
U64_MAX = 2**64 - 1
EMPTY_LISTS = bytes(16)
SCHEMAS = {str(schema): int(schema) for schema in dbnfast.Schema}


def header(
    version: int = 3,
    schema: str | None = "trades",
    *,
    ts_out: int = 0,
    lists: bytes = EMPTY_LISTS,
    n_text: int | None = None,
    dataset: bytes = b"GLBX.MDP3",
    start: int = 1,
    end: int = U64_MAX,
    limit: int = 0,
    stype_in: int = 0xFF,
    stype_out: int = 0,
    extra: bytes = b"",
) -> bytes:
    """A metadata header, byte by byte as the format describes it."""
    code = NO_SCHEMA if schema is None else SCHEMAS[schema]
    body = struct.pack("<16sHQQQ", dataset, code, start, end, limit)
    if version == 1:
        body += struct.pack("<QBBB47x", U64_MAX, stype_in, stype_out, ts_out)
    else:
        n_text = 71 if n_text is None else n_text
        body += struct.pack("<BBBH53x", stype_in, stype_out, ts_out, n_text)
    body += bytes(4) + lists + extra
    if version == 3:
        body += bytes(-len(body) % 8)
    return b"DBN" + bytes([version]) + struct.pack("<I", len(body)) + body


def text_list(values: Sequence[bytes], n_text: int = 71) -> bytes:
    """A list of texts as the header holds it."""
    return struct.pack("<I", len(values)) + b"".join(v.ljust(n_text, b"\0") for v in values)


def mapping_list(
    mappings: Sequence[tuple[bytes, Sequence[tuple[int, int, bytes]]]], n_text: int = 71
) -> bytes:
    """The mappings as the header holds them."""
    out = struct.pack("<I", len(mappings))
    for raw_symbol, intervals in mappings:
        out += raw_symbol.ljust(n_text, b"\0") + struct.pack("<I", len(intervals))
        for first, last, symbol in intervals:
            out += struct.pack("<II", first, last) + symbol.ljust(n_text, b"\0")
    return out


def record(
    rtype: int,
    n_bytes: int,
    *,
    instrument_id: int = 1,
    publisher_id: int = 1,
    ts_event: int = 1,
    body: bytes = b"",
) -> bytes:
    """A record of any rtype and size: `body` behind the header, zero-filled."""
    head = struct.pack("<BBHIQ", n_bytes // 4, rtype, publisher_id, instrument_id, ts_event)
    return (head + body).ljust(n_bytes, b"\0")


def trade(index: int, *, extra: bytes = b"") -> bytes:
    """Trade number `index`; `extra` goes behind it, as a ts_out or a longer record does."""
    length = (48 + len(extra)) // 4
    return (
        struct.pack("<BBHIQ", length, 0, 1, 100 + index, 10**18 + index)
        + struct.pack("<qIccBB", index * 10**9, index, b"T", b"A", 128, 0)
        + struct.pack("<QiI", 10**18 + 1000 + index, 7, index)
        + extra
    )


def stamp(index: int) -> bytes:
    """A ts_out."""
    return struct.pack("<Q", 2 * 10**18 + index)


def trades(n: int, *, ts_out: bool = False) -> bytes:
    """Trades 0 to n - 1."""
    return b"".join(trade(i, extra=stamp(i) if ts_out else b"") for i in range(n))


def mixed(n: int = 4) -> bytes:
    """Trades, an unknown rtype, bars and version 3 system records in turn."""
    out = b""
    for i in range(n):
        out += trade(i)
        out += record(0x42, 16 + 4 * (i % 3), instrument_id=i)
        out += record(0x21, 56, instrument_id=i, body=bytes([i % 256]) * 40)
        out += record(0x17, 320, instrument_id=i, body=b"Heartbeat".ljust(303, b"\0") + b"\0")
    return out


def walk(data: bytes) -> list[bytes]:
    """The records of `data`, cut by their length bytes alone."""
    found, at = [], 0
    while at < len(data):
        size = data[at] * 4
        found.append(data[at : at + size])
        at += size
    return found


# compression


def frame(*parts: bytes, checksum: bool = True) -> bytes:
    """One zstd frame, flushed behind every part."""
    options = {zstd.CompressionParameter.checksum_flag: int(checksum)}
    compressor = zstd.ZstdCompressor(options=options)
    out = b""
    for part in parts:
        out += compressor.compress(part, compressor.FLUSH_BLOCK)
    return out + compressor.flush()


def encoder(out: Any, metadata: Any, frame_bytes: int) -> dbnfast.Encoder:
    """An Encoder of a seekable file whose frames are as large as wanted."""
    kind = type("Encoder", (dbnfast.Encoder,), {"_frame_bytes": frame_bytes})
    made: dbnfast.Encoder = kind(out, metadata, compression="zstd")
    return made


def skippable(payload: bytes = b"skip me", magic: int = 0x184D2A50) -> bytes:
    """A skippable frame."""
    return struct.pack("<II", magic, len(payload)) + payload


def inflate(data: bytes) -> bytes:
    """Decompress all frames, skippable ones included, with the zstd module alone."""
    out = b""
    while data:
        decompressor = zstd.ZstdDecompressor()
        out += decompressor.decompress(data)
        assert decompressor.eof
        data = decompressor.unused_data
    return out


# kinds of buffers


def as_mmap(data: bytes) -> Any:
    """Anonymous shared memory with these bytes."""
    if not data:
        return b""  # there is no empty mmap
    shared = mmap.mmap(-1, len(data))
    shared[:] = data
    return shared


def as_read_only_array(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A read-only array of bytes."""
    array = np.frombuffer(bytearray(data), np.uint8)
    array.flags.writeable = False
    return array


BUFFERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "mmap": as_mmap,
    "read-only-array": as_read_only_array,
}
FEEDS = (*BUFFERS, "get_buffer")


# feeding a Decoder


class Outcome(NamedTuple):
    """What a Decoder gave."""

    records: bytes
    n: int
    error: dbnfast.DecodeError | None
    decoder: dbnfast.Decoder


def put(decoder: dbnfast.Decoder, piece: bytes, feed: str = "bytes") -> None:
    """Give a piece to a Decoder, by one of `FEEDS`."""
    if feed != "get_buffer":
        decoder.feed(BUFFERS[feed](piece))
        return
    while piece:
        lent = decoder.get_buffer(len(piece))
        n = min(len(lent), len(piece))
        lent[:n] = piece[:n]
        decoder.buffer_updated(n)
        piece = piece[n:]


def read_all(
    decoder: dbnfast.Decoder,
) -> tuple[list[dbnfast.Records], dbnfast.DecodeError | None]:
    """Read until nothing comes or an error does."""
    found: list[dbnfast.Records] = []
    while True:
        try:
            got = decoder.read()
        except dbnfast.DecodeError as error:
            return found, error
        if not got:
            return found, None
        found += got


def run(
    pieces: Iterable[bytes], feed: str = "bytes", *, eof: bool = False, **options: Any
) -> Outcome:
    """Feed pieces, reading all that is ready after each."""
    decoder = dbnfast.Decoder(**options)
    found: list[dbnfast.Records] = []
    error = None
    for piece in pieces:
        put(decoder, piece, feed)
        got, error = read_all(decoder)
        found += got
        if error is not None:
            break
    if eof and error is None:
        decoder.feed_eof()
        got, error = read_all(decoder)
        found += got
    raw = b"".join(part.tobytes() for part in found)
    return Outcome(raw, sum(map(len, found)), error, decoder)


def read_blocks(
    blocks: Iterable[dbnfast.Records],
) -> tuple[bytes, dbnfast.DecodeError | None]:
    """The bytes of all blocks of a reader, and the error that ends it."""
    found = b""
    try:
        for block in blocks:
            found += block.tobytes()
    except dbnfast.DecodeError as error:
        return found, error
    return found, None


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    """Every byte as a piece."""
    return (data[i : i + 1] for i in range(len(data)))


def two_way(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every split into two."""
    return ((data[:i], data[i:]) for i in range(len(data) + 1))


def random_pieces(data: bytes, seed: int | str, largest: int = 200) -> list[bytes]:
    """Pieces of seeded random sizes, empty ones among them."""
    rng = random.Random(seed)
    pieces, at = [], 0
    while at < len(data):
        n = rng.randint(0, largest)
        pieces.append(data[at : at + n])
        at += n
    return pieces


# the official package as an oracle


def official(
    data: bytes, policy: str = "AS_IS", *, compression: str = "none", **options: Any
) -> list[Any]:
    """What the official decoder makes of a stream: the metadata, where it is there, first."""
    import databento_dbn as dbn

    decoder = dbn.DBNDecoder(
        upgrade_policy=getattr(dbn.VersionUpgradePolicy, policy),
        compression=dbn.Compression(compression),
        **options,
    )
    decoder.write(data)
    return list(decoder.decode())


def plain(value: Any) -> Any:
    """An attribute in a form that both packages' objects share."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, np.datetime64):
        return int(value.astype("M8[ns]").astype(np.int64))
    if type(value).__name__ == "Timestamp":
        return value.value
    if type(value).__name__.endswith("BidAskPair"):
        names = [name for name in dir(value) if not name.startswith("_") and name != "to_dict"]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if callable(value):
        return value()
    return getattr(value, "value", value)


def attributes(record: Any, names: Iterable[str] | None = None) -> dict[str, Any]:
    """All public attributes of a record object, `plain`."""
    skipped = ("from_bytes", "replace", "to_dict")
    if names is None:
        names = [name for name in dir(record) if name[0] != "_" and name not in skipped]
    return {name: plain(getattr(record, name)) for name in names}


def assert_same_record(ours: dbnfast.Record, theirs: Any) -> None:
    """Every public attribute of the official object is ours too, with the same value."""
    names = [name for name in dir(theirs) if name[0] != "_"]
    mine, wanted = attributes(ours, names), attributes(theirs, names)
    differ = {name: (mine[name], wanted[name]) for name in names if mine[name] != wanted[name]}
    assert not differ, f"(ours, theirs): {differ}"
