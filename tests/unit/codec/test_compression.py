"""zstd: what is detected, how large frames are, and pieces across frames."""

from __future__ import annotations

import random
import struct
import sys

import pytest

import dbnfast
from dbnfast.codec import compression
from dbnfast.codec.compression import (
    Deflater,
    Frame,
    Inflater,
    content_bound,
    detect,
    frames,
    inflate,
    is_skippable,
    stored_frame,
)
from dbnfast.enums import Compression
from helpers import streams

RANDOM = random.Random(5).randbytes(400_000)
TEXTS = {
    "empty": b"",
    "short": b"abc",
    "zeros": bytes(500_000),
    "random": RANDOM,
    "mixed": RANDOM[:200_000] + bytes(200_000) + RANDOM[:200_000],
    "trades": streams.trades(5000),
}


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "none"),
        (b"DBN\x03", "none"),
        (b"DBN\xff", "none"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x28\xb5\x2f", "none"),
        (b"\x50\x2a\x4d\x18", "zstd"),
        (b"\x5f\x2a\x4d\x18" + bytes(8), "zstd"),
        (b"\x60\x2a\x4d\x18", "none"),
        (b"\x51\x2a\x4d\x18\x60\0\0\0DBZ\x01", "dbz"),
        (b"\x51\x2a\x4d\x18\x60\0\0\0DBZ\x02", "zstd"),
        (b"\x51\x2a\x4d\x18\x60\0\0\0DBZ", "zstd"),
        (b"\x1f\x8b\x08\x00", "none"),
    ],
)
def test_detect(head: bytes, kind: str) -> None:
    assert detect(head) == kind


@pytest.mark.parametrize("low", range(256))
def test_skippable_magics_are_sixteen(low: int) -> None:
    assert is_skippable(bytes([low]) + b"\x2a\x4d\x18") is (0x50 <= low <= 0x5F)


@pytest.mark.parametrize("sized", [False, True], ids=["no-size", "content-size"])
@pytest.mark.parametrize("name", TEXTS)
def test_content_bound_is_never_too_small(name: str, sized: bool) -> None:
    text = TEXTS[name]
    made = streams.zstd.compress(text) if sized else streams.frame(text[:1000], text[1000:])
    bound = content_bound(memoryview(made))
    assert bound >= len(text)
    if sized:
        assert bound == len(text)
    else:
        # a block holds at most 128 KiB, and every flush ends one
        assert bound <= (len(text) // (128 << 10) + 4) * (128 << 10)


def test_content_bound_of_a_skippable_frame_is_zero() -> None:
    assert content_bound(memoryview(streams.skippable())) == 0


def test_content_bound_of_stored_and_repeated_blocks_is_exact() -> None:
    head = b"\x28\xb5\x2f\xfd\x00\x58"  # no size, no checksum, a window
    stored = struct.pack("<I", 3 << 3)[:3] + b"abc"
    repeated = struct.pack("<I", (1000 << 3) | (1 << 1) | 1)[:3] + b"x"
    made = head + stored + repeated
    assert content_bound(memoryview(made)) == 1003
    assert streams.inflate(made) == b"abc" + b"x" * 1000
    assert bytes(inflate(memoryview(made)).data) == b"abc" + b"x" * 1000


def test_frames_are_found_in_order() -> None:
    parts = [streams.frame(b"abc"), streams.skippable(), streams.zstd.compress(b"x" * 50)]
    found = frames(memoryview(b"".join(parts)))
    assert found is not None
    ends = [len(parts[0]), len(parts[0] + parts[1]), len(b"".join(parts))]
    assert [frame.end for frame in found] == ends
    assert [frame.start for frame in found] == [0, *ends[:2]]
    assert found[2] == Frame(ends[1], ends[2], 50)
    assert found[1].bound == 0
    assert frames(memoryview(b"")) == []


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_frames_of_cut_or_foreign_data_are_none(cut: int) -> None:
    made = streams.frame(b"abc") + streams.frame(RANDOM)
    assert frames(memoryview(made[:-cut])) is None
    assert frames(memoryview(made + b"garbage")) is None


# inflate


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("n_frames", [1, 2, 7])
def test_inflate_of_any_number_of_frames(name: str, n_frames: int) -> None:
    text = TEXTS[name]
    step = len(text) // n_frames + 1
    made = b"".join(
        streams.frame(text[at : at + step]) + streams.skippable()
        for at in range(0, max(len(text), 1), step)
    )
    found = inflate(memoryview(made))
    assert bytes(found.data) == text
    assert (found.cut, found.error) == (None, None)


def test_inflate_of_a_cut_frame_keeps_what_came_out() -> None:
    made = streams.frame(b"first" * 100) + streams.frame(b"abc" * 10, b"def" * 10)
    at = len(streams.frame(b"first" * 100))
    found = inflate(memoryview(made[:-6]))
    assert bytes(found.data).startswith(b"first" * 100 + b"abc" * 10)
    assert found.cut == f"the zstd frame at compressed byte {at} is cut"
    assert found.error is None


def test_inflate_of_damage_keeps_the_frames_before() -> None:
    first, second = streams.frame(b"abc" * 50), bytearray(streams.frame(b"def" * 50))
    second[-1] ^= 1
    found = inflate(memoryview(first + bytes(second)))
    assert bytes(found.data) == b"abc" * 50
    assert found.error is not None
    assert found.error.offset == len(first)
    assert found.cut is None


def lying(claim: int, text: bytes) -> bytes:
    """A frame whose header states another size than its content has."""
    compressor = streams.zstd.ZstdCompressor(level=1)
    compressor.set_pledged_input_size(len(text))
    made = bytearray(compressor.compress(text) + compressor.flush())
    assert made[4] == 0x80  # a window, and four bytes of content size
    made[6:10] = struct.pack("<I", claim)
    return bytes(made)


MIXED = random.Random(7).choices(b"abcd", k=3_000_000)
LIE = bytes(MIXED)


@pytest.mark.parametrize(
    "claim",
    [
        600_000,
        1_000_000,
        2_700_000,
        2_999_000,
        3_000_001,
        3_100_000,
        2**31,
        2**32 - 1,
    ],
)
def test_a_lying_content_size_is_damage(claim: int) -> None:
    made = lying(claim, LIE)
    assert streams.zstd.get_frame_info(made).decompressed_size == claim
    for data in (made, streams.frame(b"abc") + made):
        found = inflate(memoryview(data))
        assert isinstance(found.error, dbnfast.DecompressionError)
        assert found.data.nbytes <= len(LIE) + 3


def test_a_lying_content_size_reserves_no_memory() -> None:
    # 2**40 bytes, in eight bytes of content size
    made = b"\x28\xb5\x2f\xfd\xc0\x58" + struct.pack("<Q", 2**40) + b"\x19\0\0abc"
    found = inflate(memoryview(made))
    assert found.error is not None
    assert found.data.nbytes == 0


# Inflater


def pull_all(inflater: Inflater, max_bytes: int = 1 << 20) -> bytes:
    out = b""
    while piece := inflater.pull(max_bytes):
        assert len(piece) <= max_bytes
        out += piece
    return out


FRAMES = (
    streams.frame(b"abc" * 20, b"def") + streams.skippable() + streams.frame(b"")
    + streams.frame(b"ghi" * 20) + streams.skippable(b"")
)  # fmt: skip
CONTENT = b"abc" * 20 + b"def" + b"ghi" * 20


def test_inflater_across_frames_in_every_split() -> None:
    for at in range(len(FRAMES) + 1):
        inflater = Inflater()
        inflater.push(FRAMES[:at])
        out = pull_all(inflater)
        inflater.push(FRAMES[at:])
        out += pull_all(inflater)
        assert out == CONTENT
        assert not inflater.in_frame
        assert inflater.frame_at == len(FRAMES)
        assert inflater.waiting == 0


@pytest.mark.parametrize("max_bytes", [1, 2, 7, 1000])
def test_inflater_gives_no_more_than_asked_for(max_bytes: int) -> None:
    inflater = Inflater()
    for at in range(len(FRAMES)):
        inflater.push(FRAMES[at : at + 1])
    assert inflater.waiting == len(FRAMES)
    assert pull_all(inflater, max_bytes) == CONTENT


def test_inflater_tells_where_its_frame_began() -> None:
    first, second = streams.frame(b"abc"), streams.frame(b"def", b"ghi")
    inflater = Inflater()
    inflater.push(first + second[:-5])
    assert pull_all(inflater) == b"abcdefghi"
    assert (inflater.in_frame, inflater.frame_at) == (True, len(first))
    assert inflater.pull(10) == b""
    inflater.push(second[-5:] + b"garbage")
    with pytest.raises(dbnfast.DecompressionError) as caught:
        pull_all(inflater)
    assert caught.value.offset == len(first + second)


# Deflater


@pytest.mark.parametrize("compression", list(Compression))
def test_deflater(compression: Compression) -> None:
    deflater = Deflater(compression)
    out = b"".join(bytes(deflater.push(part)) for part in (b"abc", b"", b"def"))
    out += deflater.finish()
    plain = streams.inflate(out) if compression == "zstd" else out
    assert plain == b"abcdef"


@pytest.mark.parametrize("n", [0, 1, 255, 256, 66_000, 128 << 10, (128 << 10) + 1, 300_000])
def test_a_frame_of_stored_bytes(n: int) -> None:
    data = RANDOM[:n]
    frame = stored_frame(data)
    assert compression.zstd().decompress(frame) == data
    assert compression.zstd().get_frame_size(frame) == len(frame)
    assert len(stored_frame(bytes(n))) == len(frame)


def test_what_frames_say_they_hold_is_not_trusted_with_memory() -> None:
    # 100 frames of one block each that may be 128 KiB, in 1.3 KB: the data grows with what comes
    small = b"".join(streams.frame(bytes(120_000)) for _ in range(100))
    assert len(small) * 1000 < 12_000_000
    found = inflate(memoryview(small))
    assert (found.error, found.cut) == (None, None)
    assert bytes(found.data) == bytes(12_000_000)


def test_damage_behind_a_damaged_record_keeps_the_records_before() -> None:
    plain = streams.header() + streams.trades(3) + bytes(48)  # a record of no length
    broken = bytearray(streams.frame(plain) + streams.frame(streams.trades(3)))
    broken[-1] ^= 1
    with pytest.raises(dbnfast.DecompressionError, match="checksum") as caught:
        dbnfast.scan(bytes(broken))
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == streams.trades(3)


def test_without_zstd_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    name, words = "backports.zstd", "backports.zstd is not installed"
    if sys.version_info >= (3, 14):
        name, words = "compression.zstd", "this Python was built without compression.zstd"
    parent, _, child = name.rpartition(".")
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr(sys.modules[parent], child, raising=False)
    with pytest.raises(dbnfast.DbnError, match=f"zstd data cannot be read or written: {words}"):
        compression.zstd()
