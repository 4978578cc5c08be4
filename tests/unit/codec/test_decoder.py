"""The incremental Decoder: any split, any kind of buffer, and its errors for ever."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Decoder, InvalidRecordError, MetadataError, RType, TruncatedWarning
from helpers import streams

MIB = 1 << 20
HEAD = streams.header()
feeds = pytest.mark.parametrize("feed", streams.FEEDS)


class Case:
    """A small stream, and what is to come out."""

    def __init__(self, data: bytes, records: bytes, **options: Any) -> None:
        self.data, self.records, self.options = data, records, options


def stamped_mixture(n: int) -> bytes:
    out = b""
    for i in range(n):
        out += streams.trade(i, extra=streams.stamp(i))
        out += streams.record(0x42, 24, instrument_id=i)
        out += streams.record(0x21, 64, instrument_id=i)
    return out


def framed(data: bytes, *cuts: int) -> bytes:
    """A frame for each part, a skippable frame between."""
    parts = [data[a:b] for a, b in zip((0, *cuts), (*cuts, None), strict=True)]
    return streams.skippable().join(streams.frame(part) for part in parts)


TRADES = streams.trades(4)
STAMPED = stamped_mixture(2)
OLD = streams.record(0x13, 360) + streams.record(0x18, 64) + streams.record(0x17, 80)
LONG = b"".join(streams.trade(i, extra=b"\xee" * 8 * (i % 2)) for i in range(4))
CASES = {
    "trades-v1": Case(streams.header(1) + TRADES, TRADES),
    "trades-v2": Case(streams.header(2) + TRADES, TRADES),
    "trades-v3": Case(HEAD + TRADES, TRADES),
    "odd-header": Case(streams.header(1, extra=b"abc") + TRADES, TRADES),
    "with-lists": Case(
        streams.header(lists=streams.text_list([b"A", b"B"]) + bytes(12)) + TRADES, TRADES
    ),
    "metadata-alone": Case(HEAD, b""),
    "mixed": Case(streams.header(schema=None) + streams.mixed(1), streams.mixed(1)),
    "ts_out": Case(streams.header(schema=None, ts_out=1) + STAMPED, STAMPED),
    "old-layouts": Case(streams.header(1, None) + OLD, OLD),
    "longer-records": Case(HEAD + LONG, LONG),
    "headers-only": Case(HEAD + streams.record(0x42, 16) * 5, streams.record(0x42, 16) * 5),
    "fragment-v1": Case(OLD, OLD, has_metadata=False, input_version=1),
    "fragment-told-nothing": Case(OLD, OLD, has_metadata=False),
    "fragment-ts_out": Case(STAMPED, STAMPED, has_metadata=False, ts_out=True),
    "fragment-not-detected": Case(TRADES, TRADES, has_metadata=False, compression="none"),
    "empty-fragment": Case(b"", b"", has_metadata=False),
    "zstd": Case(streams.frame(HEAD + TRADES), TRADES),
    "zstd-flushes": Case(streams.frame(HEAD[:50], HEAD[50:], TRADES[:60], TRADES[60:]), TRADES),
    "zstd-frames": Case(framed(HEAD + TRADES, 50, 200), TRADES),
    "zstd-skippable-first": Case(streams.skippable() + streams.frame(HEAD + TRADES), TRADES),
    "zstd-told": Case(streams.frame(HEAD + TRADES), TRADES, compression="zstd"),
    "zstd-fragment": Case(streams.frame(TRADES), TRADES, has_metadata=False),
    "zstd-fragment-told": Case(
        streams.frame(TRADES), TRADES, has_metadata=False, compression="zstd"
    ),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def check(case: Case, got: streams.Outcome) -> None:
    assert got.error is None
    assert got.records == case.records
    assert got.decoder.pending == 0
    if "has_metadata" in case.options:
        assert got.decoder.metadata is None
    else:
        assert got.decoder.metadata == dbnfast.scan(case.data).metadata


@feeds
@cases
def test_whole(case: Case, feed: str) -> None:
    check(case, streams.run([case.data], feed, eof=True, **case.options))


@feeds
@cases
def test_byte_by_byte(case: Case, feed: str) -> None:
    pieces = streams.byte_by_byte(case.data)
    check(case, streams.run(pieces, feed, eof=True, **case.options))


@pytest.mark.parametrize("feed", ["bytes", "bytearray", "get_buffer"])
@cases
def test_every_two_way_split(case: Case, feed: str) -> None:
    for pieces in streams.two_way(case.data):
        check(case, streams.run(pieces, feed, eof=True, **case.options))


@cases
def test_pieces_fed_in_different_ways(case: Case) -> None:
    rng = random.Random(str(case.data))
    for _ in range(20):
        decoder = Decoder(**case.options)
        found = b""
        for piece in streams.random_pieces(case.data, rng.random(), 60):  # type: ignore[arg-type]
            streams.put(decoder, piece, rng.choice(streams.FEEDS))
            if rng.random() < 0.5:
                found += b"".join(part.tobytes() for part in streams.read_all(decoder)[0])
        decoder.feed_eof()
        found += b"".join(part.tobytes() for part in streams.read_all(decoder)[0])
        assert found == case.records


LARGE = {
    "plain": (HEAD + streams.mixed(3000), {}),
    "plain-v1": (streams.header(1, extra=b"x") + streams.trades(20_000), {}),
    "zstd": (streams.frame(HEAD + streams.mixed(3000)), {}),
    "zstd-frames": (framed(HEAD + streams.mixed(1500), 100, 5000, 300_000), {}),
}


@pytest.mark.parametrize("feed", ["bytes", "memoryview", "get_buffer"])
@pytest.mark.parametrize("largest", [100, 9_000, 400_000])
@pytest.mark.parametrize("name", LARGE)
def test_large_streams_in_random_pieces(name: str, largest: int, feed: str) -> None:
    data, options = LARGE[name]
    pieces = streams.random_pieces(data, largest, largest)
    got = streams.run(pieces, feed, eof=True, **options)
    assert got.error is None
    assert got.records == dbnfast.scan(data).tobytes()


# what comes when


@feeds
def test_metadata_comes_as_soon_as_it_is_whole(feed: str) -> None:
    decoder = Decoder()
    for piece in streams.byte_by_byte(HEAD[:-1]):
        streams.put(decoder, piece, feed)
        assert decoder.metadata is None
        assert decoder.read() == []
    assert decoder.pending == 127
    streams.put(decoder, HEAD[-1:], feed)
    assert decoder.metadata == dbnfast.scan(HEAD).metadata
    assert decoder.pending == 0


@feeds
def test_metadata_and_first_records_in_one_read_have_their_ts_out(feed: str) -> None:
    decoder = Decoder()
    streams.put(decoder, streams.header(ts_out=1) + streams.trades(3, ts_out=True), feed)
    records = dbnfast.Records.concat(decoder.read())
    assert records.ts_out is True
    assert records.array()["ts_out"].tolist() == [2 * 10**18 + i for i in range(3)]
    assert records.metadata is decoder.metadata


@feeds
@pytest.mark.parametrize("n_cut", [0, 1, 30])
def test_all_whole_records_come_at_the_first_call(feed: str, n_cut: int) -> None:
    decoder = Decoder()
    data = HEAD + streams.trades(100)
    streams.put(decoder, data[: len(data) - n_cut], feed)
    found = decoder.read()
    assert sum(map(len, found)) == (100 if n_cut == 0 else 99)
    assert decoder.read() == []
    assert decoder.pending == (0 if n_cut == 0 else 48 - n_cut)


@feeds
def test_pending_counts_what_was_not_handed_out(feed: str) -> None:
    decoder = Decoder()
    assert decoder.pending == 0
    streams.put(decoder, HEAD + streams.trades(2) + streams.trade(2)[:20], feed)
    assert decoder.pending == 116
    assert sum(map(len, decoder.read())) == 2
    assert decoder.pending == 20


def test_pending_under_zstd_counts_compressed_bytes() -> None:
    data = streams.frame(HEAD + streams.trades(2))
    for feed in ("bytes", "get_buffer"):
        decoder = Decoder()
        streams.put(decoder, data[:20], feed)
        streams.put(decoder, data[20:], feed)
        assert decoder.pending == len(data)
        assert sum(map(len, decoder.read())) == 2
        assert decoder.pending == 0


def test_bytes_are_borrowed_and_other_buffers_copied() -> None:
    data = streams.trades(50)
    decoder = Decoder()
    decoder.feed(HEAD)
    decoder.feed(data)
    (records,) = decoder.read()
    assert np.shares_memory(records.array(), np.frombuffer(data, np.uint8))
    changed = bytearray(data)
    decoder.feed(changed)
    changed[:] = bytes(len(changed))
    assert b"".join(part.tobytes() for part in decoder.read()) == data


@feeds
def test_fragments_take_the_version_that_their_records_tell(feed: str) -> None:
    decoder = Decoder(has_metadata=False)
    versions = []
    for raw in (streams.trade(0), streams.record(0x13, 400), streams.trade(1)):
        streams.put(decoder, raw, feed)
        versions += [records.version for records in decoder.read()]
    assert versions == [3, 2, 2]
    told = Decoder(has_metadata=False, input_version=3)
    streams.put(told, streams.record(0x13, 360), feed)
    assert [records.version for records in told.read()] == [3]


# views live on


@feeds
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_what_was_handed_out_never_changes(feed: str, compressed: bool) -> None:
    raw = streams.trades(20_000)  # several blocks
    data = HEAD + raw
    if compressed:
        data = framed(data, 40_000, 500_000)
    decoder = Decoder()
    views: list[tuple[np.ndarray[Any, Any], bytes]] = []
    for piece in streams.random_pieces(data, 1, 7_000):
        streams.put(decoder, piece, feed)
        for records in decoder.read():
            found = records.array()
            views.append((found, found.tobytes()))
    assert len(views) > 20 or compressed
    assert b"".join(then for _, then in views) == raw
    assert all(found.tobytes() == then for found, then in views)
    assert not any(found.flags.writeable for found, _ in views)


def test_views_do_not_overlap_what_is_lent() -> None:
    decoder = Decoder()
    decoder.feed(HEAD)
    for i in range(200):
        lent = decoder.get_buffer(4096)
        piece = streams.trades(20)
        lent[: len(piece)] = piece
        decoder.buffer_updated(len(piece))
        (records,) = decoder.read()
        free = np.frombuffer(decoder.get_buffer(), np.uint8)
        assert not np.shares_memory(records.array(), free), i


# the buffered protocol


@pytest.mark.parametrize("hint", [-1, 0, 1, 100, 65_536, 10**7])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_get_buffer_is_writable_and_never_empty(hint: int, compressed: bool) -> None:
    data = HEAD + streams.trades(30_000)
    data = streams.frame(data) if compressed else data
    decoder = Decoder()
    n, found = 0, 0
    while n < len(data):
        lent = decoder.get_buffer(hint)
        assert len(lent) > 0
        assert not lent.readonly
        some = min(len(lent), len(data) - n, 50_000)
        lent[:some] = data[n : n + some]
        decoder.buffer_updated(some)
        n += some
        if n % 3:
            found += sum(map(len, streams.read_all(decoder)[0]))
    found += sum(map(len, streams.read_all(decoder)[0]))
    assert found == 30_000
    assert len(decoder.get_buffer()) > 0


@pytest.mark.parametrize(
    "head", [b"", HEAD, streams.frame(HEAD)[:30]], ids=["nothing", "plain", "zstd"]
)
def test_buffer_updated_misuse(head: bytes) -> None:
    decoder = Decoder()
    decoder.feed(head)
    with pytest.raises(ValueError, match="no buffer from get_buffer is outstanding"):
        decoder.buffer_updated(1)
    lent = decoder.get_buffer()
    for n in (-1, len(lent) + 1):
        with pytest.raises(ValueError, match=f"{n} bytes were written, the buffer has room"):
            decoder.buffer_updated(n)
    decoder.buffer_updated(0)
    with pytest.raises(ValueError, match="outstanding"):
        decoder.buffer_updated(0)
    assert decoder.read() == []


def test_get_buffer_twice_lends_the_same_memory() -> None:
    decoder = Decoder()
    decoder.feed(HEAD)
    first, second = decoder.get_buffer(), decoder.get_buffer(100)
    assert np.shares_memory(np.frombuffer(first, np.uint8), np.frombuffer(second, np.uint8))
    assert len(first) == len(second)


@pytest.mark.parametrize("feed", streams.BUFFERS)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
def test_feed_while_a_buffer_is_lent(feed: str, compressed: bool) -> None:
    parts = [HEAD, streams.trades(3), streams.trades(6)[144:], streams.trades(9)[288:]]
    if compressed:
        parts = [streams.frame(part) for part in parts]
    decoder = Decoder()
    decoder.feed(parts[0])
    streams.put(decoder, parts[1], "get_buffer")
    lent = decoder.get_buffer()
    streams.put(decoder, parts[2], feed)
    lent[: len(parts[3])] = parts[3]
    decoder.buffer_updated(len(parts[3]))
    found, error = streams.read_all(decoder)
    assert error is None
    assert b"".join(records.tobytes() for records in found) == streams.trades(9)


@pytest.mark.parametrize("feed", streams.BUFFERS)
def test_feed_while_a_buffer_is_lent_before_the_metadata(feed: str) -> None:
    decoder = Decoder()
    lent = decoder.get_buffer()
    streams.put(decoder, HEAD[:50], feed)
    lent[:78] = HEAD[50:]
    decoder.buffer_updated(78)
    assert decoder.metadata is not None


def test_read_while_a_buffer_is_lent() -> None:
    decoder = Decoder()
    decoder.feed(HEAD)
    streams.put(decoder, streams.trade(0), "get_buffer")
    lent = decoder.get_buffer()
    assert sum(map(len, decoder.read())) == 1
    lent[:48] = streams.trade(1)
    decoder.buffer_updated(48)
    assert [records.tobytes() for records in decoder.read()] == [streams.trade(1)]


# the end


@pytest.mark.parametrize("data", [b"", HEAD, HEAD + TRADES, streams.frame(HEAD)])
def test_after_the_end_nothing_goes_in(data: bytes) -> None:
    decoder = Decoder(has_metadata=bool(data))
    decoder.feed(data)
    decoder.feed_eof()
    decoder.feed_eof()
    for call in (lambda: decoder.feed(b""), decoder.get_buffer):
        with pytest.raises(ValueError, match=r"feed_eof\(\) was called"):
            call()
    found, error = streams.read_all(decoder)
    assert error is None
    assert sum(map(len, found)) == (4 if TRADES in data else 0)
    assert decoder.read() == []


@pytest.mark.parametrize("n", [0, 1, 4, 8, 100, 127])
@feeds
def test_end_inside_the_metadata(n: int, feed: str) -> None:
    decoder = Decoder()
    streams.put(decoder, HEAD[:n], feed)
    assert decoder.read() == []
    decoder.feed_eof()
    for _ in range(3):
        with pytest.raises(dbnfast.TruncatedError) as caught:
            decoder.read()
        assert (caught.value.offset, caught.value.available) == (0, n)


@pytest.mark.parametrize("n", [1, 15, 16, 47])
@feeds
def test_end_inside_a_record_warns_once_behind_the_good_records(n: int, feed: str) -> None:
    decoder = Decoder()
    streams.put(decoder, HEAD + streams.trades(3)[: 96 + n], feed)
    decoder.feed_eof()
    assert sum(map(len, decoder.read())) == 2
    with pytest.warns(TruncatedWarning, match=f"record 2 at byte 224 needs .* {n} remain"):
        assert decoder.read() == []
    assert decoder.read() == []
    assert decoder.pending == n


def test_end_inside_a_frame_warns_once() -> None:
    data = streams.frame(HEAD + streams.trades(3))
    decoder = Decoder()
    decoder.feed(data[:-2])
    decoder.feed_eof()
    with pytest.warns(TruncatedWarning, match="the zstd frame at compressed byte 0 is cut"):
        found, error = streams.read_all(decoder)
    assert error is None
    assert sum(map(len, found)) == 3
    assert decoder.read() == []


def test_warning_points_at_the_caller() -> None:
    decoder = Decoder()
    decoder.feed(HEAD + b"\x0c")
    decoder.feed_eof()
    with pytest.warns(TruncatedWarning) as caught:
        decoder.read()
    assert caught[0].filename == __file__


# errors


def bad(kind: str) -> tuple[bytes, type[Exception], int, int | None, int]:
    """Data, and the error's class, offset and record index, and how many records are good."""
    if kind == "length-0":
        return HEAD + streams.trades(3) + bytes(48), InvalidRecordError, 272, 3, 3
    if kind == "short":
        raw = HEAD + streams.trades(3) + streams.record(0, 40) + streams.trades(2)
        return raw, InvalidRecordError, 272, 3, 3
    if kind == "short-first":
        return HEAD + streams.record(0, 40), InvalidRecordError, 128, 0, 0
    if kind == "no-ts_out":
        raw = streams.header(ts_out=1) + streams.trades(2, ts_out=True) + streams.trades(1)
        return raw, InvalidRecordError, 240, 2, 2
    if kind == "magic":
        return b"DBX" + HEAD[3:], MetadataError, 0, None, 0
    if kind == "version":
        return b"DBN\x04" + HEAD[4:], dbnfast.UnsupportedVersionError, 3, None, 0
    if kind == "length-field":
        return HEAD[:4] + b"\x10\0\0\0" + HEAD[8:], MetadataError, 4, None, 0
    assert kind == "schema"
    return HEAD[:24] + b"\x99\0" + HEAD[26:], MetadataError, 24, None, 0


KINDS = (
    "length-0", "short", "short-first", "no-ts_out", "magic", "version", "length-field", "schema",
)  # fmt: skip


@feeds
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
@pytest.mark.parametrize("kind", KINDS)
def test_good_records_come_first_then_the_error_for_ever(
    kind: str, compressed: bool, feed: str
) -> None:
    data, error, offset, index, n_good = bad(kind)
    data = streams.frame(data) if compressed else data
    for pieces in ([data], streams.byte_by_byte(data), (data[:140], data[140:])):
        decoder = Decoder()
        for piece in pieces:
            streams.put(decoder, piece, feed)  # never raises for the data
        found, first = streams.read_all(decoder)
        assert sum(map(len, found)) == n_good
        assert type(first) is error
        assert first.offset == offset
        assert first.record_index == index
        streams.put(decoder, HEAD + TRADES, feed)
        with pytest.raises(error) as again:
            decoder.read()
        assert again.value is first
        decoder.feed_eof()
        with pytest.raises(error):
            decoder.read()
        if isinstance(first, InvalidRecordError):
            assert first.good is None


@feeds
def test_error_comes_with_the_header_not_with_the_whole_record(feed: str) -> None:
    decoder = Decoder()
    streams.put(decoder, HEAD + streams.record(0, 40)[:15], feed)
    assert decoder.read() == []
    streams.put(decoder, streams.record(0, 40)[15:16], feed)
    with pytest.raises(InvalidRecordError):
        decoder.read()


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"input_version": 2}, HEAD),
        ({"ts_out": True}, HEAD),
        ({"input_version": 1}, streams.frame(HEAD)),
    ],
    ids=str,
)
def test_what_the_header_contradicts_is_an_error_of_read(
    options: dict[str, Any], data: bytes
) -> None:
    decoder = Decoder(**options)
    decoder.feed(data)
    with pytest.raises(MetadataError, match="the stream's own header says"):
        decoder.read()


def test_damaged_compression_is_an_error_of_read() -> None:
    damaged = bytearray(streams.frame(streams.trades(3)))
    damaged[-1] ^= 1
    first = streams.frame(HEAD + streams.trades(2))
    decoder = Decoder()
    decoder.feed(first + bytes(damaged))
    found, error = streams.read_all(decoder)
    assert sum(map(len, found)) == 2
    assert type(error) is dbnfast.DecompressionError
    assert error.offset == len(first)
    with pytest.raises(dbnfast.DecompressionError):
        decoder.read()


@pytest.mark.parametrize("data", [None, 5, "text", [1]])
@pytest.mark.parametrize("head", [b"", HEAD], ids=["at-first", "later"])
def test_feed_refuses_what_is_no_buffer(data: Any, head: bytes) -> None:
    decoder = Decoder()
    decoder.feed(head)
    with pytest.raises(TypeError):
        decoder.feed(data)
    with pytest.raises(ValueError, match="not contiguous"):
        decoder.feed(np.zeros(8, np.uint8)[::2])


@pytest.mark.parametrize(
    "options",
    [{"compression": "gzip"}, {"input_version": 4}],
    ids=str,
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Decoder(**options)


@pytest.mark.parametrize("n", range(1, 13))
def test_dbz_is_told_apart_however_it_comes(n: int) -> None:
    head = struct.pack("<II", 0x184D2A51, 96) + b"DBZ\x01"
    decoder = Decoder()
    decoder.feed(head[:n])
    if n < 12:
        assert decoder.read() == []
        decoder.feed(head[n:])
    with pytest.raises(MetadataError, match="DBZ"):
        decoder.read()


def test_stream_told_to_be_plain_is_not_detected() -> None:
    decoder = Decoder(compression="none")
    decoder.feed(streams.frame(HEAD))
    with pytest.raises(MetadataError, match="expected b'DBN' at byte 0"):
        decoder.read()


# bounds


def peak_of(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_a_zstd_bomb_comes_in_bounded_pieces() -> None:
    zeros = streams.record(0x42, 1020) * 1028  # a MiB
    bomb = streams.frame(HEAD, *[zeros] * 64)
    assert len(bomb) < 100_000
    decoder = Decoder()
    decoder.feed(bomb)
    total = 0

    def read_once() -> None:
        nonlocal total
        found = decoder.read()
        assert all(records.nbytes <= MIB for records in found)
        nbytes = sum(records.nbytes for records in found)
        assert 0 < nbytes <= 16 * MIB + 1020
        total += nbytes

    assert peak_of(read_once) < 18 * MIB
    while total < 64 * len(zeros):
        read_once()
    assert decoder.read() == []
    assert total == 64 * len(zeros)


def test_a_long_compressed_header_does_not_read_as_a_cut_one() -> None:
    head = streams.header(lists=streams.text_list([b"A"] * 260_000) + bytes(12))
    assert len(head) > 18 * 10**6
    decoder = Decoder()
    decoder.feed(streams.frame(head + streams.trades(3)))
    decoder.feed_eof()
    found, error = streams.read_all(decoder)
    assert error is None
    assert sum(map(len, found)) == 3


@pytest.mark.parametrize("feed", ["bytes", "get_buffer"])
def test_a_header_that_claims_gigabytes_is_refused_without_memory(feed: str) -> None:
    claim = HEAD[:4] + struct.pack("<I", (512 << 20) - 7) + HEAD[8:]
    decoder = Decoder()

    def feed_it() -> None:
        streams.put(decoder, claim, feed)
        with pytest.raises(MetadataError, match="at most 536870912 are read") as caught:
            decoder.read()
        assert caught.value.offset == 4

    assert peak_of(feed_it) < MIB


def test_a_header_that_claims_much_takes_memory_as_it_comes() -> None:
    claim = HEAD[:4] + struct.pack("<I", 500 << 20) + HEAD[8:]
    decoder = Decoder()
    assert peak_of(lambda: decoder.feed(claim)) < MIB
    assert decoder.read() == []
    assert decoder.pending == 128


@pytest.mark.parametrize("feed", ["bytes", "get_buffer"])
def test_memory_stays_flat(feed: str) -> None:
    decoder = Decoder()
    decoder.feed(HEAD)
    whole = streams.trades(1365)

    def much() -> None:
        for _ in range(300):
            streams.put(decoder, whole[:30_001], feed)
            streams.put(decoder, whole[30_001:], feed)
            decoder.read()

    assert peak_of(much) < 2 * MIB


@pytest.mark.parametrize("n", [1, 2, 3])
def test_bytes_that_cannot_begin_a_stream_are_a_wrong_magic_at_the_end_too(n: int) -> None:
    decoder = Decoder()
    decoder.feed(b"XYZ"[:n])
    decoder.feed_eof()
    with pytest.raises(MetadataError, match="expected b'DBN' at byte 0"):
        decoder.read()


def test_rtype_of_records_survives() -> None:
    got = streams.run([streams.header(schema=None) + streams.mixed(2)])
    assert got.n == 8
    decoder = Decoder()
    decoder.feed(streams.header(schema=None) + streams.mixed(2))
    (records,) = decoder.read()
    assert records.counts == {0: 2, 0x42: 2, RType.OHLCV_1M: 2, RType.SYSTEM: 2}


# a stream that proves to be compressed while memory for plain bytes is lent


def test_what_was_lent_serves_a_stream_that_proves_to_be_compressed() -> None:
    packed = streams.frame(HEAD + streams.trades(50))
    decoder = Decoder()
    lent = decoder.get_buffer()
    decoder.feed(packed[:30])
    again = decoder.get_buffer()
    assert np.shares_memory(np.frombuffer(lent, np.uint8), np.frombuffer(again, np.uint8))
    for n_bytes in (-1, len(lent) + 1):
        with pytest.raises(ValueError, match=f"{n_bytes} bytes were written, the buffer has room"):
            decoder.buffer_updated(n_bytes)
    lent[: len(packed) - 30] = packed[30:]
    decoder.buffer_updated(len(packed) - 30)
    assert b"".join(records.tobytes() for records in decoder.read()) == streams.trades(50)


def test_a_full_input_block_of_compressed_bytes_is_taken_before_it_is_lent_again() -> None:
    noise = random.Random(7).randbytes(400_000)
    plain = b"".join(
        streams.record(0x42, 1020, body=noise[at : at + 1000]) for at in range(0, 400_000, 1000)
    )
    packed = memoryview(streams.frame(streams.header(schema=None) + plain))
    assert len(packed) > 3 * 131_072
    decoder = Decoder()
    decoder.feed(packed[:16])
    at = 16
    while at < len(packed):  # nobody reads meanwhile
        lent = decoder.get_buffer()
        n = min(len(lent), len(packed) - at)
        lent[:n] = packed[at : at + n]
        decoder.buffer_updated(n)
        at += n
    found = b""
    while ready := decoder.read():
        found += b"".join(records.tobytes() for records in ready)
    assert found == plain
