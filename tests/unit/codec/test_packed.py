"""Frames that are decompressed ahead: the same bytes and the same errors as one after the other."""

from __future__ import annotations

import io
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast import iter_decode
from dbnfast._util import threads
from dbnfast.codec import packed
from dbnfast.codec.packed import Packed
from helpers import streams

HEAD = streams.header()
RNG = random.Random(11)
NOISE = RNG.randbytes(1 << 20)


class Pipe:
    """A readable whose bytes may not be there yet, as far as anybody knows."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.n = 0

    def readinto(self, out: memoryview) -> int:
        got = self._file.readinto(out)
        self.n += got
        return got


def piece_of(kind: str, size: int, seed: int) -> bytes:
    """A frame with `size` bytes of content."""
    at = random.Random(seed).randrange(len(NOISE) // 2)
    text = NOISE[at : at + size // 2].ljust(size, b"x")
    if kind == "stated":
        checked = {streams.zstd.CompressionParameter.checksum_flag: 1}
        return streams.zstd.compress(text, options=checked)
    if kind == "unchecked":
        return streams.zstd.compress(text)
    if kind == "streamed":
        return streams.frame(text[: size // 3], text[size // 3 :])
    return streams.skippable(text, 0x184D2A50 + seed % 16)


KINDS = ("stated", "unchecked", "streamed", "skippable")
FRAMES = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from((0, 1, 30, 1000, 130_000, 140_000, 300_000)),
        st.integers(0, 2**32 - 1),
    ),
    max_size=7,
)


def drained(stream: Packed, n: int) -> tuple[bytes, Any, Any, int]:
    """All bytes of a stream, `n` at a time, and how it ended."""
    out, block = b"", memoryview(bytearray(n))
    while got := stream.fill(block):
        out += block[:got]
    error = None if stream.error is None else (str(stream.error), stream.error.offset)
    return out, error, stream.cut, stream.n_sound


def content(data: bytes) -> bytes:
    """What whole frames hold, by the zstd module alone."""
    return streams.inflate(data)


@settings(max_examples=60, deadline=None)
@given(
    frames=FRAMES,
    n=st.sampled_from((7_000, 200_000, 3 << 20)),
    budget=st.sampled_from((1, 200_000, 500_000, 64 << 20)),
    n_cores=st.sampled_from((1, 4)),
)
def test_whole_frames(frames: list[Any], n: int, budget: int, n_cores: int) -> None:
    data = b"".join(piece_of(*frame) for frame in frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "cores", lambda: n_cores)
        stream = Packed(io.BytesIO(data), b"")
        stream.hurry(budget)
        text = content(data)
        assert drained(stream, n) == (text, None, None, len(text))


@settings(max_examples=120, deadline=None)
@given(
    frames=FRAMES.filter(bool),
    how=st.sampled_from(("flip", "cut", "garbage")),
    place=st.floats(0, 1, exclude_max=True),
    n=st.sampled_from((7_000, 200_000)),
    budget=st.sampled_from((1, 200_000, 64 << 20)),
)
def test_damage_is_what_it_is_one_after_the_other(
    frames: list[Any], how: str, place: float, n: int, budget: int
) -> None:
    data = bytearray(b"".join(piece_of(*frame) for frame in frames))
    at = int(place * len(data))
    if how == "flip":
        data[at] ^= 1 << at % 8
    elif how == "cut":
        del data[at:]
    else:
        data += b"garbage"
    head = bytes(data[:12])
    ahead = Packed(io.BytesIO(data[12:]), head)
    ahead.hurry(budget)
    found = drained(ahead, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Packed, "_measure", lambda self, at: None)  # no frame is read whole
        after = drained(Packed(Pipe(bytes(data[12:])), head), n)
    assert found[1:3] == after[1:3]
    assert found[0] == after[0]
    assert found[3] >= after[3]  # a frame's end may be read later than its last byte
    assert found[3] <= len(found[0]) or found[1] is None


def test_frames_are_logged_with_their_ends_and_checksums() -> None:
    made = [
        streams.frame(b"one" * 100),
        streams.skippable(b"payload"),
        streams.zstd.compress(b"two" * 90_000),
        streams.frame(NOISE),  # more than the budget
        streams.frame(b"three"),
    ]
    stream = Packed(io.BytesIO(b"".join(made)), b"", log=True)
    stream.hurry(500_000)
    drained(stream, 100_000)
    assert stream.log is not None
    ends = [0]
    for frame in made:
        ends.append(ends[-1] + len(frame))
    assert [(frame.start, frame.end) for frame in stream.log] == list(itertools.pairwise(ends))
    plain = [300, 300, 270_300, 270_300 + len(NOISE), 270_305 + len(NOISE)]
    assert [frame.plain_end for frame in stream.log] == plain
    assert [frame.skippable for frame in stream.log] == [False, True, False, False, False]
    assert [frame.raw for frame in stream.log] == [
        made[0][-4:], made[1], b"", b"", made[4][-4:],
    ]  # fmt: skip


def test_metadata_costs_no_more_than_its_own_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    inflate = packed.inflate_into
    monkeypatch.setattr(
        packed, "inflate_into", lambda *args: made.append(inflate(*args)) or made[-1]
    )
    parts = [streams.zstd.compress(streams.trades(2000)) for _ in range(50)]
    reader = iter_decode(io.BytesIO(streams.frame(HEAD) + b"".join(parts)))
    assert made == [len(HEAD)]
    assert sum(map(len, reader)) == 100_000


def test_nothing_is_read_ahead_of_a_pipe() -> None:
    first = streams.frame(HEAD) + b"".join(
        streams.zstd.compress(streams.trades(2000)) for _ in range(4)
    )
    pipe = Pipe(first + streams.zstd.compress(NOISE * 4))
    reader = iter_decode(pipe, max_bytes=48 * 2000)
    assert len(next(reader)) == 2000
    assert pipe.n <= 12 + packed.READ_SIZE


def test_an_open_frame_of_a_pipe_gives_what_is_flushed() -> None:
    class Live:
        """Gives the flushed beginning of a frame, and then has nothing more to give."""

        def __init__(self) -> None:
            compressor = streams.zstd.ZstdCompressor()
            self.data = compressor.compress(HEAD, compressor.FLUSH_BLOCK)

        def readinto(self, out: memoryview) -> int:
            assert self.data, "more was asked for than is needed"
            part, self.data = self.data[: len(out)], self.data[len(out) :]
            out[: len(part)] = part
            return len(part)

    reader = iter_decode(Live())  # type: ignore[arg-type]
    assert reader.metadata == dbnfast.scan(HEAD).metadata


@pytest.mark.parametrize("n_cores", [1, 3])
def test_no_more_is_in_work_than_was_said(n_cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: n_cores)
    most: list[int] = []
    put = threads.Ahead.put

    def watched(self: Any, batch: Any, **options: Any) -> None:
        put(self, batch, **options)
        most.append(sum(part.weight for part in stream._batches))

    monkeypatch.setattr(threads.Ahead, "put", watched)
    frames = [streams.zstd.compress(streams.trades(3000)) for _ in range(40)]
    stream = Packed(io.BytesIO(b"".join(frames)), b"")
    stream.hurry(1_000_000)
    assert drained(stream, 10_000)[0] == streams.trades(3000) * 40
    assert 500_000 < max(most) <= 1_000_000


def test_a_header_needs_no_thread() -> None:
    frames = [streams.frame(HEAD), *(streams.zstd.compress(streams.trades(3000)) for _ in range(9))]
    reader = iter_decode(io.BytesIO(b"".join(frames)))
    stream: Any = reader._stream
    assert reader.metadata is not None
    assert stream._jobs._ends == []
    assert len(next(reader)) == 27_000
    assert bool(stream._jobs._ends) == (threads.cores() > 1)


def test_close_ends_the_work_and_leaves_the_file_open() -> None:
    frames = [streams.zstd.compress(streams.trades(30_000)) for _ in range(20)]
    file = io.BytesIO(streams.frame(HEAD) + b"".join(frames))
    reader = iter_decode(file, max_bytes=2 << 20)
    next(reader)
    reader.close()
    stream: Any = reader._stream
    assert len(stream._jobs) == 0
    assert not any(end.locked() for end in stream._jobs._ends)
    assert not file.closed
