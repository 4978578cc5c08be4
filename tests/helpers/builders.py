"""
Random DBN, and the official package that it is held against.

Bytes come from the table of layouts and a seeded ``random.Random``: hypothesis draws what a
stream is made of and a seed for each record, so that it shrinks to few records fast.
"""

from __future__ import annotations

import datetime
import functools
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from hypothesis import strategies as st

from dbnfast import reference
from dbnfast.codec.compression import zstd
from dbnfast.enums import RType, Schema, SType
from dbnfast.layouts.fields import CHAR, CSTR, ENUM, RESERVED, Field, Layout
from dbnfast.layouts.table import HEADER_SIZE, LAYOUTS, MAX_RECORD_SIZE

ASCII = string.ascii_letters + string.digits + " .-_/,:'\"\\"
SKIPPABLE_MAGIC = 0x184D2A50

# What old error and system records say in words only, and neighbours that only look like it.
CODE_TEXTS = tuple(
    text.encode()
    for text in (
        "User or API key deactivated",
        "User or API key deactivated.",
        "User has reached their open connection limit",
        "User has reached their open connection limit of 10",
        "Failed to resolve symbol",
        "Failed to resolve symbol 'ES.v.0'",
        "failed to resolve symbol",
        "Internal error",
        "Internal error ",
        "Slow client detected for ",
        "Slow client detected for GLBX.MDP3, records were skipped",
        "Slow client detected for",
        "Heartbeat",
        "Heartbeat ",
        "heartbeat",
        "End of interval for ",
        "End of interval for ohlcv-1s",
        "Subscription request ",
        "Subscription request succeeded",
        "Subscription request 3 for mbo data succeeded",
        "Subscription request 3 succeeded twice",
        "Warning: slow reading",
        "Warning: slow reading, 3 s behind",
        "Finished ",
        "Finished replay",
        "Finished mbo replay",
        "Finished mbo replay.",
        "",
    )
)


class Kind(NamedTuple):
    """A layout under one of its rtypes."""

    layout: Layout
    rtype: int


# The official package of the same age knows no rtype 0xC5.
KINDS: dict[int, tuple[Kind, ...]] = {
    version: tuple(
        Kind(layout, int(rtype))
        for layout in LAYOUTS
        for rtype in layout.rtypes
        if version in layout.versions and rtype != RType.TBBO
    )
    for version in (1, 2, 3)
}
KNOWN_RTYPES = frozenset(int(rtype) for layout in LAYOUTS for rtype in layout.rtypes)
UNKNOWN_RTYPES = tuple(rtype for rtype in range(256) if rtype not in KNOWN_RTYPES)


# --- records ---------------------------------------------------------------------------------


def _random_text(rng: random.Random, field: Field, layout: Layout) -> bytes:
    room = field.size - 1  # its NUL
    if layout.name in ("ErrorMsgV1", "SystemMsgV1") and rng.random() < 0.8:
        tail = "".join(rng.choices(ASCII, k=rng.randint(0, 8))).encode()
        return (rng.choice(CODE_TEXTS) + rng.choice((b"", b"", tail)))[:room]
    n = rng.choice((0, room, rng.randint(0, room)))
    return "".join(rng.choices(ASCII, k=n)).encode()


def _random_code(rng: random.Random, field: Field) -> int:
    assert field.enum is not None
    return int(rng.choice(list(field.enum)))  # type: ignore[call-overload, no-any-return]


def _random_value(rng: random.Random, field: Field, layout: Layout, wild: bool) -> bytes:
    size = field.size
    if field.kind == RESERVED or wild:
        return rng.choice((bytes(size), rng.randbytes(size)))
    if field.kind == CSTR:
        return _random_text(rng, field, layout).ljust(size, b"\0")
    if field.kind == CHAR and (field.raw_byte or rng.random() < 0.7):
        known = [] if field.enum is None else [str(member.value) for member in field.enum]
        if field.raw_byte:  # a closed set in the official package: another code is read at random
            return rng.choice(known).encode("latin-1")
        return rng.choice([*known, "N", "~", "\0"]).encode("latin-1")
    if field.kind == ENUM and rng.random() < 0.7:
        return _random_code(rng, field).to_bytes(size, "little")
    special = [
        bytes(size),
        b"\xff" * size,
        b"\xff" * (size - 1) + b"\x7f",
        b"\0" * (size - 1) + b"\x80",
    ]
    if isinstance(field.undef, int):
        special.append(
            field.undef.to_bytes(size, "little", signed=field.format.startswith(("i", "<i")))
        )
    return rng.choice((rng.choice(special), rng.randbytes(size)))


def record_bytes(
    rng: random.Random,
    kind: Kind,
    ts_out: bool = False,
    *,
    wild: bool = False,
    extra: int = 0,
) -> bytes:
    """
    Make a record with a true header and random fields.

    `wild` fields may hold any byte, in texts too; `extra` bytes (a multiple of 4) make the
    record longer than its struct.
    """
    layout, rtype = kind
    size = layout.itemsize(ts_out) + extra
    raw = bytearray(size)
    for field in layout.fields:
        raw[field.offset : field.offset + field.size] = _random_value(rng, field, layout, wild)
    raw[layout.size :] = rng.randbytes(size - layout.size)
    raw[0:2] = size // 4, rtype
    return bytes(raw)


def unknown_record(rng: random.Random) -> bytes:
    """Make a record of an rtype that has no layout."""
    size = rng.choice((HEADER_SIZE, MAX_RECORD_SIZE, rng.randrange(HEADER_SIZE, 1021, 4)))
    raw = bytearray(rng.randbytes(size))
    raw[0:2] = size // 4, rng.choice(UNKNOWN_RTYPES)
    return bytes(raw)


# --- metadata, in the form of `reference` -----------------------------------------------------


def plain_metadata(version: int = 3, ts_out: bool = False, **fields: Any) -> dict[str, Any]:
    """Make metadata without schema or symbols, as live sessions have it."""
    return {
        "version": version,
        "dataset": "XNAS.ITCH",
        "schema": None,
        "start": 0,
        "end": None,
        "limit": None,
        "stype_in": None,
        "stype_out": SType.INSTRUMENT_ID,
        "ts_out": ts_out,
        "symbol_cstr_len": 22 if version == 1 else 71,
        "symbols": [],
        "partial": [],
        "not_found": [],
        "mappings": {},
        **fields,
    }


def texts(max_size: int) -> st.SearchStrategy[str]:
    """ASCII texts; never a NUL, which nobody can tell from the padding."""
    return st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=max_size)


@st.composite
def metadata(draw: st.DrawFn, versions: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    """Metadata of any version, as writers write it."""
    version = draw(st.sampled_from(versions))
    symbol_cstr_len = 22 if version == 1 else 71
    symbol = texts(symbol_cstr_len - 1)
    stamps = st.one_of(
        st.sampled_from((0, 1, 2**63 - 1, 2**63, 2**64 - 1)), st.integers(0, 2**64 - 1)
    )
    dates = st.dates(datetime.date(1, 1, 1))
    intervals = st.lists(st.tuples(dates, dates, symbol), max_size=3)
    return {
        "version": version,
        "dataset": draw(texts(15)),
        "schema": draw(st.none() | st.sampled_from(list(Schema))),
        "start": draw(stamps),
        "end": draw(st.none() | st.integers(1, 2**64 - 2)),
        "limit": draw(st.none() | st.integers(1, 2**64 - 1)),
        "stype_in": draw(st.none() | st.sampled_from(list(SType))),
        "stype_out": draw(st.sampled_from(list(SType))),
        "ts_out": draw(st.booleans()),
        "symbol_cstr_len": symbol_cstr_len,
        "symbols": draw(st.lists(symbol, max_size=4)),
        "partial": draw(st.lists(symbol, max_size=3)),
        "not_found": draw(st.lists(symbol, max_size=3)),
        "mappings": draw(st.dictionaries(symbol, intervals, max_size=4)),
    }


@dataclass
class _Interval:
    start_date: datetime.date
    end_date: datetime.date
    symbol: str


@dataclass
class _Mapping:
    raw_symbol: str
    intervals: list[_Interval]


def official_metadata(plain: dict[str, Any]) -> Any:
    """Make the official object of metadata in `reference`'s form."""
    import databento_dbn as dbn

    mappings = [
        _Mapping(raw, [_Interval(*interval) for interval in intervals])
        for raw, intervals in plain["mappings"].items()
    ]
    fields = {**plain, "mappings": mappings}
    del fields["symbol_cstr_len"]  # it follows the version
    fields["schema"] = None if plain["schema"] is None else dbn.Schema(str(plain["schema"]))
    for name in ("stype_in", "stype_out"):
        fields[name] = None if plain[name] is None else dbn.SType(str(plain[name]))
    return dbn.Metadata(**fields)


def interval_dicts(
    mappings: dict[str, list[tuple[datetime.date, datetime.date, str]]],
) -> dict[str, list[dict[str, Any]]]:
    """Give `reference`'s mappings in the form of the classes' attribute."""
    return {
        raw: [{"start_date": a, "end_date": b, "symbol": symbol} for a, b, symbol in intervals]
        for raw, intervals in mappings.items()
    }


# --- streams ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """A stream, and the records that it is known to be made of."""

    version: int
    ts_out: bool
    header: bytes
    records: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """All records."""
        return b"".join(self.records)

    @property
    def data(self) -> bytes:
        """The whole stream."""
        return self.header + self.body


def stamped(record: bytes, n: int) -> bytes:
    """Give the record with another ts_event, so that repeated records can be told apart."""
    return record[:8] + n.to_bytes(8, "little") + record[16:]


def make_stream(
    rng: random.Random,
    n_runs: int,
    *,
    version: int = 3,
    ts_out: bool = False,
    max_run: int = 100,
    unknown: bool = False,
    long: bool = False,
    wild: bool = False,
) -> Stream:
    """Make a stream of runs of one kind each; `unknown` and `long` records are mixed in."""
    records: list[bytes] = []
    for _ in range(n_runs):
        extra = rng.choice((0, 0, 4, 8, 40)) if long else 0
        record = record_bytes(rng, rng.choice(KINDS[version]), ts_out, wild=wild, extra=extra)
        if unknown and rng.random() < 0.3:
            record = unknown_record(rng)
        records.extend(stamped(record, len(records) + i) for i in range(rng.randint(1, max_run)))
    header = reference.encode_metadata(plain_metadata(version, ts_out))
    return Stream(version, ts_out, header, tuple(records))


@st.composite
def streams(
    draw: st.DrawFn,
    *,
    versions: tuple[int, ...] = (1, 2, 3),
    max_runs: int = 6,
    unknown: bool = False,
    long: bool = False,
    wild: bool = False,
    rich_metadata: bool = False,
) -> Stream:
    """Mixed streams: most runs are short, some long enough for the checks by stride."""
    version = draw(st.sampled_from(versions))
    ts_out = draw(st.booleans())
    kinds = st.sampled_from(KINDS[version])
    repeats = st.sampled_from((1, 1, 1, 2, 3, 5, 65, 130))
    records: list[bytes] = []
    for kind, seed, repeat in draw(
        st.lists(st.tuples(kinds, st.integers(0, 2**32 - 1), repeats), max_size=max_runs)
    ):
        rng = random.Random(seed)
        extra = rng.choice((0, 0, 4, 8, 40)) if long else 0
        record = record_bytes(rng, kind, ts_out, wild=wild, extra=extra)
        if unknown and rng.random() < 0.3:
            record = unknown_record(rng)
        if len(record) > 128:
            repeat = min(repeat, 3)
        records.append(record)
        records.extend(stamped(record, len(records) + i) for i in range(1, repeat))
    plain = draw(metadata((version,))) if rich_metadata else plain_metadata(version)
    header = reference.encode_metadata({**plain, "ts_out": ts_out})
    return Stream(version, ts_out, header, tuple(records))


def seeds() -> st.SearchStrategy[random.Random]:
    """Seeded generators, for what need not shrink."""
    return st.integers(0, 2**32 - 1).map(random.Random)


# --- pieces ----------------------------------------------------------------------------------


def splits(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give every way to cut data in two."""
    for at in range(len(data) + 1):
        yield data[:at], data[at:]


def random_pieces(rng: random.Random, data: bytes, longest: int | None = None) -> list[bytes]:
    """Cut data at random: pieces of like size, from bytes to the whole, some of them empty."""
    if longest is None:
        longest = rng.choice((1, 7, 40, 200, 4096, max(1, len(data))))
    longest = max(longest, len(data) // 400, 1)  # a few hundred pieces test what thousands do
    pieces, at = [], 0
    while at < len(data):
        n = rng.randint(0, longest)
        pieces.append(data[at : at + n])
        at += n
    return pieces


def lend(decoder: Any, piece: bytes, sizehint: int) -> None:
    """Write a piece to what `get_buffer` lends, in as many steps as that takes."""
    while piece:
        buffer = decoder.get_buffer(sizehint)
        n = min(len(buffer), len(piece))
        buffer[:n] = piece[:n]
        decoder.buffer_updated(n)
        piece = piece[n:]


def feed_somehow(decoder: Any, rng: random.Random, piece: bytes) -> None:
    """Feed a piece by one of the ways there are."""
    way = rng.randrange(5)
    if way == 0:
        decoder.feed(piece)
    elif way == 1:
        block = bytearray(piece)
        decoder.feed(block)
        block[:] = bytes(len(block))  # the decoder must have a copy
    elif way == 2:
        decoder.feed(memoryview(piece))
    else:
        lend(decoder, piece, rng.choice((-1, 0, 1, 100, 65536)))


# --- zstd ------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """Where a frame lies in the compressed stream, and its content in the plain one."""

    start: int
    end: int
    plain_start: int
    plain_end: int


def zstd_frames(
    rng: random.Random, data: bytes, *, n_frames: int | None = None
) -> tuple[bytes, list[Frame]]:
    """
    Compress data as several checksummed frames, cut at random.

    Frames may be empty, flushed in the middle, and say their content's size or not; skippable
    frames stand between them.
    """
    module = zstd()
    parameter = module.CompressionParameter
    n_frames = rng.randint(1, 5) if n_frames is None else n_frames
    cuts = sorted(rng.randint(0, len(data)) for _ in range(n_frames - 1))
    out, found = b"", []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if rng.random() < 0.3:
            payload = bytes(8) + rng.randbytes(rng.randint(0, 20))  # no DBZ header
            magic = SKIPPABLE_MAGIC + rng.randrange(16)
            out += magic.to_bytes(4, "little") + len(payload).to_bytes(4, "little") + payload
        at, plain = len(out), data[start:end]
        compressor = module.ZstdCompressor(options={parameter.checksum_flag: 1})
        if rng.random() < 0.5:
            out += compressor.compress(plain, compressor.FLUSH_FRAME)
        else:
            for piece in random_pieces(rng, plain, max(1, len(plain) // 3)):
                mode = rng.choice((compressor.CONTINUE, compressor.FLUSH_BLOCK))
                out += compressor.compress(piece, mode)
            out += compressor.flush()
        found.append(Frame(at, len(out), start, end))
    return out, found


# --- the official package ---------------------------------------------------------------------


@functools.cache
def _policies() -> dict[int | None, Any]:
    from databento_dbn import VersionUpgradePolicy as Policy

    return {None: Policy.AS_IS, 2: Policy.UPGRADE_TO_V2, 3: Policy.UPGRADE_TO_V3}


def official_decode(
    data: bytes, *, upgrade_to: int | None = None, compressed: bool = False
) -> tuple[Any, list[Any]]:
    """Decode a stream with the official package, as it is or upgraded to a version."""
    import databento_dbn as dbn

    decoder = dbn.DBNDecoder(
        upgrade_policy=_policies()[upgrade_to],
        compression=dbn.Compression.ZSTD if compressed else dbn.Compression.NONE,
    )
    decoder.write(data)
    found = decoder.decode()
    assert decoder.buffer() == b""
    return found[0], found[1:]


def plain_value(value: Any) -> Any:
    """Give a member of either package's enumerations as its value, all else as it is."""
    return value.value if isinstance(value, Enum) or hasattr(type(value), "variants") else value


def official_raw(record: Any, field: Field) -> int | bytes | None:
    """
    Read a field of an official record as the wire has it.

    None where the official class does not tell: reserved bytes, the length, and tri-states,
    which it gives as bools.
    """
    if field.kind == RESERVED or field.name == "length":
        return None
    holder = record if field.level is None else record.levels[field.level]
    value = getattr(holder, field.base_name)
    if field.kind == CSTR:
        return bytes(value, "utf-8")
    if field.kind == CHAR:
        if value is None or isinstance(value, bool):
            return None
        return str(plain_value(value)).encode("latin-1").rstrip(b"\0")
    return int(value)
