"""Seekable files: what is in them, by a reader of its own here; index and frames read back."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbnfast
from dbnfast import DecodeError, Encoder
from dbnfast._util import threads
from dbnfast.codec import seekable
from dbnfast.codec.compression import stored_frame
from dbnfast.codec.index import Contents, Index, Table, read_index
from dbnfast.codec.seekable import read_frames, read_header
from dbnfast.enums import Compression
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE
from helpers import builders, streams

U64_MAX = 2**64 - 1
HEAD = streams.header()
METADATA: Any = dbnfast.scan(HEAD).metadata


class Written(NamedTuple):
    """A frame, as its file says by itself."""

    start: int
    end: int
    text: bytes


def frames_of(data: bytes) -> list[Written]:
    """The frames that are not skippable, and what they hold, by the zstd module alone."""
    found, at = [], 0
    while at < len(data):
        if data[at + 1 : at + 4] == b"\x2a\x4d\x18":
            at += 8 + struct.unpack_from("<I", data, at + 4)[0]
            continue
        decompressor = streams.zstd.ZstdDecompressor()
        text = decompressor.decompress(data[at:])
        assert decompressor.eof
        end = len(data) - len(decompressor.unused_data)
        assert streams.zstd.get_frame_info(data[at:]).decompressed_size == len(text)
        found.append(Written(at, end, text))
        at = end
    return found


def table_of(data: bytes) -> list[tuple[int, int, int]]:
    """The entries of the seek table, as the seekable format has them."""
    n, descriptor, magic = struct.unpack("<IBI", data[-9:])
    assert (descriptor, magic) == (0x80, 0x8F92EAB1)
    start = len(data) - 9 - 12 * n - 8
    assert struct.unpack_from("<II", data, start) == (0x184D2A5E, 12 * n + 9)
    return [struct.unpack_from("<III", data, start + 8 + 12 * i) for i in range(n)]


def index_of(data: bytes) -> tuple[int, list[tuple[int, ...]]]:
    """The plain bytes of the header and the rows of the index."""
    entries = table_of(data)
    size = entries[-1][0]
    start = len(data) - (12 * len(entries) + 17) - size
    magic, n_payload, signature, version, n, header_size = struct.unpack_from(
        "<II8sIIQ", data, start
    )
    assert (magic, n_payload, signature, version) == (0x184D2A5D, size - 8, b"DBNINDEX", 1)
    assert n == len(entries) - 1
    rows = [struct.unpack_from("<6Q", data, start + 32 + 48 * i) for i in range(n)]
    digest = data[start + 32 + 48 * n : start + size]
    covered = data[start : start + size - 16] + data[start + size :]
    assert hashlib.blake2b(covered, digest_size=16).digest() == digest
    return header_size, rows


def row_of(records: list[bytes]) -> tuple[int, ...]:
    """What an index says of records, record by record."""
    data, control, untimed = [], [], 0
    for record in records:
        layouts = LAYOUTS_BY_RTYPE.get(record[1])
        at = 8 if layouts is None else layouts[0].by_name[layouts[0].index_ts].offset
        time = int.from_bytes(record[at : at + 8], "little")
        if time == U64_MAX:
            untimed += 1
        else:
            (control if record[1] in (0x15, 0x16, 0x17) else data).append(time)
    return (
        len(records), untimed, min(data, default=U64_MAX), max(data, default=0),
        min(control, default=U64_MAX), max(control, default=0),
    )  # fmt: skip


def made(stream: bytes, frame_bytes: int = 4096, *, step: int | None = None) -> bytes:
    """A stream as a seekable file, written `step` records at a time."""
    records = dbnfast.scan(stream, on_truncated="raise")
    out = io.BytesIO()
    with streams.encoder(out, records.metadata, frame_bytes) as encoder:
        if step is None:
            encoder.write(records)
        else:
            for at in range(0, len(records), step):
                encoder.write(records[at : at + step])
    return out.getvalue()


class Reads:
    """Bytes that are read from places, and how often they were."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.n = 0

    def __call__(self, at: int, n: int) -> bytes:
        assert 0 <= at <= at + n <= len(self.data)
        self.n += 1
        return self.data[at : at + n]


def indexed(data: bytes) -> Index:
    """The index of a file that has one."""
    index = read_index(Reads(data), len(data))
    assert index is not None
    return index


# --- what is written ----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    stream=builders.streams(unknown=True, long=True, rich_metadata=True),
    frame_bytes=st.sampled_from((1, 16, 100, 1000, 5000, 1 << 20)),
    step=st.sampled_from((None, 1, 7)),
    n_cores=st.sampled_from((1, 3)),
)
def test_files_of_any_records(
    stream: builders.Stream, frame_bytes: int, step: int | None, n_cores: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "cores", lambda: n_cores)
        data = made(stream.data, frame_bytes, step=step)
        frames = frames_of(data)
        assert frames[0].text == dbnfast.scan(stream.data).metadata.encode()  # type: ignore[union-attr]
        assert b"".join(frame.text for frame in frames[1:]) == stream.body
        for frame, after in itertools.pairwise(frames[1:]):
            first = after.text[0] * 4
            assert len(frame.text) <= frame_bytes or len(streams.walk(frame.text)) == 1
            assert len(frame.text) + first > frame_bytes  # it was full

        # the table and the index say what is there
        sizes = [(end - start, len(text)) for start, end, text in frames]
        entries = table_of(data)
        assert [entry[:2] for entry in entries[:-1]] == sizes
        checksums = [int.from_bytes(data[frame.end - 4 : frame.end], "little") for frame in frames]
        assert [entry[2] for entry in entries[:-1]] == checksums
        assert entries[-1][1:] == (0, 0x51D8E999)
        header_size, rows = index_of(data)
        assert header_size == len(frames[0].text)
        assert rows == [row_of([]), *(row_of(streams.walk(frame.text)) for frame in frames[1:])]

        # and are read back
        index = indexed(data)
        assert (index.n_frames, index.n_records) == (len(frames), len(stream.records))
        for number, frame in enumerate(frames):
            own = index.frame(number)
            assert (own.start, own.start + own.size) == (frame.start, frame.end)
            assert own.contents == rows[number]
        assert index.first == 1
        metadata = read_header(Reads(data), index)
        assert metadata is not None
        assert metadata.encode() == frames[0].text
        blocks = list(read_frames(Reads(data), index, range(index.n_frames), metadata=metadata))
        assert [block.tobytes() for block in blocks] == [frame.text for frame in frames[1:]]
        assert all(block.metadata is metadata for block in blocks)

        # every reader has the same records
        assert dbnfast.scan(data, on_truncated="raise").tobytes() == stream.body
        assert streams.read_blocks(dbnfast.iter_decode(io.BytesIO(data), max_bytes=4096)) == (
            stream.body,
            None,
        )
        assert streams.run(builders.random_pieces(random.Random(1), data), eof=True)[::2] == (
            stream.body,
            None,
        )


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("ts_out", [False, True])
def test_all_kinds_of_records(version: int, ts_out: bool) -> None:
    rng = random.Random(version)
    records = [
        builders.record_bytes(rng, kind, ts_out)
        for kind in builders.KINDS[version]
        for _ in range(3)
    ]
    head = streams.header(version, None, ts_out=int(ts_out))
    data = made(head + b"".join(records), 1)
    assert [frame.text for frame in frames_of(data)] == [head, *records]
    assert index_of(data)[1][1:] == [row_of([record]) for record in records]


def test_a_header_alone() -> None:
    data = made(HEAD)
    assert [frame.text for frame in frames_of(data)] == [HEAD]
    index = indexed(data)
    assert (index.n_frames, index.n_records, index.first) == (1, 0, 1)
    assert index.overlapping(None, None) == []
    assert list(read_frames(Reads(data), index, [0])) == []
    assert len(dbnfast.scan(data, on_truncated="raise")) == 0


def test_a_fragment_has_no_frame_of_a_header() -> None:
    out = io.BytesIO()
    records = dbnfast.scan(HEAD + streams.trades(100))
    with streams.encoder(out, None, 1000) as encoder:
        encoder.write(records)
    index = indexed(out.getvalue())
    assert (index.header_size, index.first, index.n_records) == (0, 0, 100)
    assert read_header(Reads(out.getvalue()), index) is None
    blocks = read_frames(Reads(out.getvalue()), index, range(index.n_frames))
    assert b"".join(block.tobytes() for block in blocks) == streams.trades(100)


def test_an_empty_fragment() -> None:
    out = io.BytesIO()
    Encoder(out, None, compression="zstd").close()
    index = indexed(out.getvalue())
    assert (index.n_frames, index.first, index.overlapping(0, None)) == (0, 0, [])
    assert streams.inflate(out.getvalue()) == b""


def test_a_header_of_several_mb() -> None:
    texts = [f"SYMBOL {n}" for n in range(60_000)]
    metadata = METADATA.replace(symbols=texts)
    out = io.BytesIO()
    with Encoder(out, metadata, compression="zstd") as encoder:
        encoder.write(dbnfast.scan(HEAD + streams.trades(10)))
    index = indexed(out.getvalue())
    assert index.header_size > 4_000_000
    assert read_header(Reads(out.getvalue()), index) == metadata
    assert dbnfast.read(out.getvalue()).symbols == texts
    assert len(dbnfast.scan(out.getvalue())) == 10


def test_a_header_too_large_for_a_frame_has_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seekable, "LARGEST", 50)
    data = made(HEAD + streams.trades(3))
    assert [len(frame.text) for frame in frames_of(data)] == [50, 50, len(HEAD) - 100, 144]
    index = indexed(data)
    assert index.first == 3
    assert read_header(Reads(data), index) == METADATA
    assert [len(block) for block in read_frames(Reads(data), index, range(4))] == [3]


def test_what_was_written_so_far_never_ends_with_a_frame() -> None:
    out = io.BytesIO()
    encoder = streams.encoder(out, METADATA, 480)
    for n in range(40):
        with pytest.warns(dbnfast.TruncatedWarning):
            assert len(dbnfast.scan(out.getvalue())) <= 10 * n
        encoder.write(dbnfast.scan(HEAD + streams.trades(10)))
    encoder.close()
    assert len(dbnfast.scan(out.getvalue(), on_truncated="raise")) == 400


def test_an_error_of_the_caller_leaves_what_was_written_in_a_cut_frame() -> None:
    out = io.BytesIO()

    def fail_inside() -> None:
        with streams.encoder(out, METADATA, 480) as encoder:
            encoder.write(dbnfast.scan(HEAD + streams.trades(25)))
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail_inside()
    with pytest.raises(dbnfast.TruncatedError) as caught:
        dbnfast.scan(out.getvalue(), on_truncated="raise")
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == streams.trades(25)


def test_nothing_is_written_behind_an_output_that_failed() -> None:
    class Full:
        def __init__(self) -> None:
            self.n = 0

        def write(self, data: memoryview) -> int:
            self.n += 1
            if self.n > 1:
                raise OSError("no space left")
            return len(data)

    out = Full()

    def fail() -> None:
        with streams.encoder(out, METADATA, 480) as encoder:  # type: ignore[arg-type]
            for _ in range(100):
                encoder.write(dbnfast.scan(HEAD + streams.trades(100)))

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert out.n == 2


def test_few_frames_wait_to_be_written() -> None:
    out = io.BytesIO()
    encoder = streams.encoder(out, METADATA, 480)
    n = 40
    for _ in range(n):
        encoder.write(dbnfast.scan(HEAD + streams.trades(10)))
    waiting = len(encoder._deflater._jobs)
    assert waiting <= encoder._deflater._jobs.limit
    written = len(frames_of(out.getvalue()[: out.getvalue().rindex(b"\x28\xb5\x2f\xfd")]))
    assert written >= n - waiting - 1  # the header's is one more, that of the last is not whole


def test_bytes_that_change_later_were_copied() -> None:
    array = dbnfast.scan(HEAD + streams.trades(30)).array().copy()
    out = io.BytesIO()
    with streams.encoder(out, METADATA, 480) as encoder:
        encoder.write(array)
        array["price"] = 0
    assert dbnfast.scan(out.getvalue()).tobytes() == streams.trades(30)


# --- the index ----------------------------------------------------------------------------------


def timed(rtype: int, time: int) -> bytes:
    """A bar, a definition without a time of its own, or a control record."""
    size = LAYOUTS_BY_RTYPE[rtype][-1].size
    body = struct.pack("<Q", time) if rtype == 0x13 else b""
    return streams.record(rtype, size, ts_event=time, body=body)


ROWS = [
    (timed(0x21, 1000) + timed(0x21, 900), (2, 0, 900, 1000, U64_MAX, 0)),
    (timed(0x21, 1500) + timed(0x17, 9000), (2, 0, 1500, 1500, 9000, 9000)),
    (timed(0x16, 50) + timed(0x15, 60), (2, 0, U64_MAX, 0, 50, 60)),
    (timed(0x21, U64_MAX) + timed(0x21, 2000), (2, 1, 2000, 2000, U64_MAX, 0)),
    (timed(0x13, U64_MAX), (1, 1, U64_MAX, 0, U64_MAX, 0)),
    (timed(0x21, 0), (1, 0, 0, 0, U64_MAX, 0)),
    (timed(0x21, U64_MAX - 1), (1, 0, U64_MAX - 1, U64_MAX - 1, U64_MAX, 0)),
    (timed(0x17, U64_MAX), (1, 1, U64_MAX, 0, U64_MAX, 0)),
]


def of_rows() -> bytes:
    """A file with a frame for each of the rows."""
    deflater = seekable.SeekableDeflater(Compression.ZSTD, ts_out=False)
    head = streams.header(schema=None)
    parts = [deflater.header(head)]
    for body, _ in ROWS:
        parts += deflater.push(memoryview(body)), deflater.cut()
    return b"".join([*map(bytes, parts), deflater.finish()])


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_times_without_meaning_do_not_widen_a_range(number: int) -> None:
    assert index_of(of_rows())[1][number + 1] == ROWS[number][1]


@pytest.mark.parametrize("start", [None, 0, 51, 55, 61, 950, 1001, 2000, 5000, 9001, U64_MAX])
@pytest.mark.parametrize("end", [None, 0, 1, 60, 901, 1501, 2000, 9000, U64_MAX - 1, U64_MAX])
def test_overlapping_frames_are_those_of_which_a_filter_takes_records(
    start: int | None, end: int | None
) -> None:
    data = of_rows()
    index = indexed(data)
    found = index.overlapping(start, end)
    if None not in (start, end) and start > end:  # type: ignore[operator]
        assert found == []
        return
    for number, (body, row) in enumerate(ROWS, 1):
        records = dbnfast.scan(streams.header(schema=None) + body)
        n = len(records.filter(start=start, end=end))
        low, high = 0 if start is None else start, U64_MAX if end is None else end
        meets = any(
            first <= last and first < high and last >= low for first, last in (row[2:4], row[4:6])
        ) or (start is None and end is None)
        assert (number in found) == meets
        assert n == 0 or number in found


def test_an_index_takes_one_read_and_two_where_it_is_long() -> None:
    for n, reads in ((10, 1), (2000, 2)):
        data = made(HEAD + streams.trades(n), 48)
        pread = Reads(data)
        index = read_index(pread, len(data))
        assert index is not None
        assert index.n_frames == n + 1
        assert pread.n == reads


def test_frames_that_stand_together_take_one_read() -> None:
    data = made(HEAD + streams.trades(500), 480)
    index = indexed(data)
    pread = Reads(data)
    blocks = list(read_frames(pread, index, [5, 6, 7, 20, 21]))
    assert pread.n == 2
    assert b"".join(block.tobytes() for block in blocks) == b"".join(
        streams.trades(500)[480 * at : 480 * (at + 1)] for at in (4, 5, 6, 19, 20)
    )
    for most in (1, 500, 1000, 3000):
        again = read_frames(pread, index, [5, 6, 7, 20, 21], max_bytes=most)
        assert [block.tobytes() for block in again] == [block.tobytes() for block in blocks]


def test_a_reader_that_is_left_early_leaves_no_thread_at_work() -> None:
    data = made(HEAD + streams.trades(50_000), 48_000)
    index = indexed(data)
    blocks = read_frames(Reads(data), index, range(index.n_frames))
    assert len(next(blocks)) == 1000
    blocks.close()
    assert list(blocks) == []


def test_ts_out_and_version_of_a_fragment_are_said() -> None:
    head = streams.header(2, ts_out=1)
    data = made(head + streams.trades(30, ts_out=True), 1000)
    block = next(read_frames(Reads(data), indexed(data), [1], version=2, ts_out=True))
    assert (block.version, block.ts_out, block.metadata) == (2, True, None)
    assert block.array()["ts_out"][3] == 2 * 10**18 + 3


# --- what is wrong ------------------------------------------------------------------------------

SOUND = made(HEAD + streams.trades(300), 4800)
N_END = len(SOUND) - frames_of(SOUND)[-1].end


def judged(data: bytes) -> Index | DecodeError | None:
    """What a reader of the index makes of a file."""
    try:
        return read_index(Reads(data), len(data))
    except DecodeError as error:
        return error


@pytest.mark.parametrize("cut", range(1, 301))
def test_no_index_of_a_cut_file(cut: int) -> None:
    data = SOUND[:-cut]
    found = judged(data)
    assert found is None or isinstance(found, DecodeError)
    records = dbnfast.scan(data, on_truncated="ignore")
    assert records.tobytes() == streams.trades(300)[: records.nbytes]
    if cut <= N_END:
        assert len(records) == 300  # the frames are whole
    if cut < N_END and cut != 12 * len(table_of(SOUND)) + 17:  # the index ends there
        with pytest.raises(dbnfast.TruncatedError):
            dbnfast.scan(data, on_truncated="raise")


def test_no_index_where_any_bit_of_it_is_flipped() -> None:
    texts = set()
    for at in range(len(SOUND) - N_END, len(SOUND)):
        for bit in range(8):
            data = bytearray(SOUND)
            data[at] ^= 1 << bit
            found = judged(bytes(data))
            assert found is None or isinstance(found, DecodeError)
            texts.add(None if found is None else str(found).partition(" at byte")[0])
    assert len(texts) > 3


@pytest.mark.parametrize("byte", [0, 255, 17])
def test_no_index_of_any_bytes(byte: int) -> None:
    rng = random.Random(byte)
    for n in (0, 1, 8, 9, 16, 17, 30, 1000):
        for footer in (b"", struct.pack("<IBI", rng.randrange(2 * n + 1), 0x80, 0x8F92EAB1)):
            assert not isinstance(judged(bytes([byte]) * n + footer), Index)
            assert not isinstance(judged(rng.randbytes(n) + footer), Index)
    assert not isinstance(judged(struct.pack("<IBI", 2**32 - 1, 0x80, 0x8F92EAB1)), Index)


def test_the_end_of_another_file() -> None:
    other = made(HEAD + streams.trades(299), 4800)
    mixed = SOUND[:-N_END] + other[-(len(other) - frames_of(other)[-1].end) :]
    with pytest.raises(DecodeError, match="that of another file: its frames end at byte"):
        read_index(Reads(mixed), len(mixed))


def test_a_file_behind_another_one() -> None:
    twice = SOUND + SOUND
    with pytest.raises(DecodeError, match="another file"):
        read_index(Reads(twice), len(twice))


def test_the_table_of_one_file_and_the_index_of_another() -> None:
    other = made(HEAD + streams.trades(300)[48:] + streams.trade(7), 4800)
    n_table = 12 * len(table_of(SOUND)) + 17
    assert len(table_of(other)) == len(table_of(SOUND))
    with pytest.raises(DecodeError, match="damaged: its digest is"):
        read_index(Reads(SOUND[:-n_table] + other[-n_table:]), len(SOUND))


def test_an_index_of_equal_sizes_is_told_by_the_frames() -> None:
    # stored as they are, so that other records make frames as long
    def stored(body: bytes) -> bytes:
        table = Table()
        out = b""
        for text, found in ((HEAD, None), (body, Contents(1, 0, 1, 1, U64_MAX, 0))):
            frame = streams.frame(text)
            table.add(frame, len(text), found)
            out += frame
        return out + table.tobytes()

    rng = random.Random(1)
    trades = [streams.trade(0)[:16] + rng.randbytes(32) for _ in range(2)]
    ours, theirs = map(stored, trades)
    assert len(ours) == len(theirs)
    n = len(ours) - frames_of_any(ours)
    mixed = ours[:-n] + theirs[-n:]
    index = indexed(mixed)
    with pytest.raises(
        DecodeError, match=r"frame 1 at compressed byte .* not that of the index: c"
    ):
        list(read_frames(Reads(mixed), index, [1]))


def frames_of_any(data: bytes) -> int:
    """Where the last frame that is not skippable ends."""
    at = 0
    while data[at : at + 4] == b"\x28\xb5\x2f\xfd":
        at += streams.zstd.get_frame_size(data[at:])
    return at


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Contents(2, 0, 1, 1), "1 records in 48 of 48 bytes, expected 2"),
        (None, "47 bytes of content, expected 48|48 bytes of content|more than it states"),
    ],
)
def test_frames_that_are_not_as_the_index_says(wrong: Contents | None, text: str) -> None:
    table = Table()
    frames = [streams.frame(HEAD), streams.frame(streams.trade(1))]
    table.add(frames[0], len(HEAD), None)
    table.add(frames[1], 48 if wrong else 40, wrong or Contents(1, 0, 1, 1))
    data = b"".join(frames) + table.tobytes()
    with pytest.raises(DecodeError, match=text):
        list(read_frames(Reads(data), indexed(data), [1]))


def test_a_damaged_frame_says_which() -> None:
    at = frames_of(SOUND)[2].start
    data = bytearray(SOUND)
    data[at + 40] ^= 4
    blocks = read_frames(Reads(bytes(data)), indexed(bytes(data)), [1, 2, 3])
    assert next(blocks).nbytes == 4800
    with pytest.raises(DecodeError, match="frame 2 at compressed byte") as caught:
        next(blocks)
    assert caught.value.offset == at


def test_frames_without_checksums_are_read() -> None:
    table = Table()
    head = stored_frame(HEAD)
    table.add_size(len(head), len(HEAD), 123, None)
    data = head + table.tobytes()
    assert read_header(Reads(data), indexed(data)) == METADATA


def test_short_reads_are_errors() -> None:
    with pytest.raises(OSError, match=r"reading .* bytes at byte"):
        read_index(lambda at, n: b"x", len(SOUND))


def foreign(n: int, descriptor: int) -> bytes:
    """A seekable file of another program: no index."""
    entry = struct.pack("<II", 10, 20) + (bytes(4) if descriptor & 0x80 else b"")
    body = entry * n + struct.pack("<IBI", n, descriptor, 0x8F92EAB1)
    return bytes(500) + struct.pack("<II", 0x184D2A5E, len(body)) + body


@pytest.mark.parametrize("descriptor", [0, 0x80])
@pytest.mark.parametrize("n", [0, 1, 5, 300])
def test_seekable_files_of_others_have_no_index(n: int, descriptor: int) -> None:
    assert judged(foreign(n, descriptor)) is None


def test_an_index_of_a_later_version_is_none() -> None:
    at = SOUND.rindex(b"DBNINDEX") + 8
    data = SOUND[:at] + struct.pack("<I", 2) + SOUND[at + 4 :]
    assert judged(data) is None


# --- other readers ------------------------------------------------------------------------------


def by_zstandard(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
    found: bytes = reader.read()
    return found


def by_command(data: bytes) -> bytes:
    command = shutil.which("zstd")
    if command is None:
        pytest.skip("the zstd command is not installed")
    return subprocess.run(
        [command, "-d", "-c"], input=data, stdout=subprocess.PIPE, check=True
    ).stdout


def by_pyzstd(data: bytes) -> bytes:
    found: bytes = pytest.importorskip("pyzstd").decompress(data)
    return found


def by_the_official_decoder(data: bytes) -> bytes:
    pytest.importorskip("databento_dbn")
    head, *records = streams.official(data, "AS_IS", compression="zstd")
    return bytes(head.encode()) + b"".join(map(bytes, records))


def by_the_official_store(data: bytes) -> bytes:
    databento = pytest.importorskip("databento")
    store = databento.DBNStore.from_bytes(data)
    return store.metadata.encode() + store.to_ndarray("trades").tobytes()


READERS: dict[str, Callable[[bytes], bytes]] = {
    "zstandard": by_zstandard,
    "zstd -d": by_command,
    "pyzstd": by_pyzstd,
    "databento_dbn": by_the_official_decoder,
    "databento": by_the_official_store,
}


@pytest.mark.parametrize("n", [0, 1, 3000])
@pytest.mark.parametrize("reader", READERS)
def test_other_readers_read_all(reader: str, n: int) -> None:
    data = made(HEAD + streams.trades(n), 48_000)
    assert READERS[reader](data) == HEAD + streams.trades(n)


def test_what_reads_one_frame_reads_the_header() -> None:
    zstandard = pytest.importorskip("zstandard")
    data = made(HEAD + streams.trades(3000))
    assert zstandard.ZstdDecompressor().decompress(data) == HEAD
    assert zstandard.ZstdDecompressor().decompressobj().decompress(data) == HEAD


def test_the_size_of_what_is_random_does_not_grow_much() -> None:
    body = random.Random(1).randbytes(32 * 100_000)
    trades = b"".join(streams.trade(0)[:16] + body[32 * n : 32 * n + 32] for n in range(100_000))
    one = dbnfast.encode(dbnfast.scan(HEAD + trades), METADATA, compression="zstd")
    assert len(made(HEAD + trades, seekable.FRAME)) < 1.005 * len(one)
