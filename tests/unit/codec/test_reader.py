"""iter_decode: files and streams of any size in bounded memory."""

from __future__ import annotations

import contextlib
import gc
import io
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import InvalidRecordError, TruncatedWarning, iter_decode
from helpers import streams

MIB = 1 << 20
HEAD = streams.header(schema=None)
MIXED = streams.mixed(200)
DATA = HEAD + MIXED
ZSTD = streams.skippable().join(
    streams.frame(part) for part in (DATA[:60], DATA[60:5000], DATA[5000:])
)


class OnlyRead:
    """A stream without readinto, that gives few bytes at a time."""

    def __init__(self, data: bytes, most: int = 1000) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read(self, n: int) -> bytes:
        return self._file.read(min(n, self._most))


class ReadInto:
    """A stream with readinto alone, that gives few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readinto(self, out: memoryview) -> int:
        return self._file.readinto(out[:7])


def on_disk(data: bytes, folder: Path) -> Path:
    path = folder / "data.dbn"
    path.write_bytes(data)
    return path


SOURCES: dict[str, Callable[[bytes, Path], Any]] = {
    "path": on_disk,
    "str": lambda data, folder: str(on_disk(data, folder)),
    "bytesio": lambda data, _: io.BytesIO(data),
    "read": lambda data, _: OnlyRead(data),
    "read-byte-by-byte": lambda data, _: OnlyRead(data, 1),
    "readinto": lambda data, _: ReadInto(data),
    "buffered": lambda data, _: io.BufferedReader(io.BytesIO(data)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("max_bytes", [1020, 5000, 64 << 20])
@pytest.mark.parametrize("data", [DATA, ZSTD], ids=["plain", "zstd"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_all_records(
    source: str, data: bytes, max_bytes: int, tmp_path: Path
) -> None:
    with iter_decode(SOURCES[source](data, tmp_path), max_bytes=max_bytes) as reader:
        assert reader.metadata == dbnfast.scan(DATA).metadata
        blocks = list(reader)
    assert b"".join(block.tobytes() for block in blocks) == MIXED
    assert all(0 < block.nbytes <= max_bytes for block in blocks)
    assert all(block.metadata is reader.metadata for block in blocks)
    assert len(blocks) == 1 or max_bytes < len(MIXED)


def test_blocks_are_their_own_memory() -> None:
    first, second, *_ = iter_decode(io.BytesIO(DATA), max_bytes=5000)
    then = first.tobytes()
    assert not np.shares_memory(
        np.frombuffer(first.data, np.uint8), np.frombuffer(second.data, np.uint8)
    )
    assert first.tobytes() == then
    assert first.data.readonly


def test_memory_that_nobody_looks_at_is_filled_again() -> None:
    places = [
        np.frombuffer(block.data, np.uint8).ctypes.data
        for block in iter_decode(io.BytesIO(DATA), max_bytes=1020)
    ]
    assert len(places) > 5
    assert len(set(places)) <= 2


SEEN: dict[str, Callable[[dbnfast.Records], Any]] = {
    "records": lambda block: block,
    "data": lambda block: block.data,
    "slice of the data": lambda block: block.data[8:],
    "part": lambda block: next(iter(block.runs())),
    "array": lambda block: next(iter(block.split().values())),
    "slice of the array": lambda block: next(iter(block.split().values()))[:1],
    "column": lambda block: next(iter(block.split().values()))["instrument_id"],
    "read-only view": lambda block: memoryview(next(iter(block.split().values())).view(np.uint8)),
    "upgraded": lambda block: block.upgrade(),
    "filtered": lambda block: block.filter(instrument_ids=range(2**10)),
    "iterator": lambda block: iter(block),
}


@pytest.mark.parametrize("data", [DATA, ZSTD, HEAD + streams.trade(1) * 300], ids=len)
@pytest.mark.parametrize("kind", SEEN)
def test_memory_that_somebody_looks_at_is_not_filled_again(kind: str, data: bytes) -> None:
    def content(seen: Any) -> Any:
        if isinstance(seen, dbnfast.Records):
            return seen.tobytes()
        return [bytes(r) for r in seen] if kind == "iterator" else bytes(seen)

    for step in (1, 2, 3):  # what is looked at comes and goes among what is not
        kept, expected = [], []
        for i, block in enumerate(iter_decode(io.BytesIO(data), max_bytes=1020)):
            if i % step == 0:
                kept.append(SEEN[kind](block))
                expected.append(content(SEEN[kind](block)))
        assert len(kept) > 3
        assert [content(seen) for seen in kept] == expected


def test_a_reader_that_has_ended_holds_no_memory() -> None:
    reader = iter_decode(io.BytesIO(DATA), max_bytes=1020)
    held = [weakref.ref(memory) for _ in reader for memory, _ in reader._given]
    assert held
    gc.collect()
    assert not any(one() is not None for one in held)


def test_a_stream_of_the_callers_stays_open() -> None:
    file = io.BytesIO(DATA)
    with iter_decode(file) as reader:
        list(reader)
    assert not file.closed


@pytest.mark.parametrize("how", ["end", "close", "with", "error", "metadata"])
def test_a_file_opened_by_path_is_closed(how: str, tmp_path: Path) -> None:
    data = {"error": DATA + bytes(48), "metadata": b"DBX" + DATA[3:]}.get(how, DATA)
    path = on_disk(data, tmp_path)
    if how == "metadata":
        with pytest.raises(dbnfast.MetadataError):
            iter_decode(path)  # an open file would warn when it is collected
        return
    reader = iter_decode(path, max_bytes=1020)
    next(reader)
    if how == "end":
        list(reader)
    elif how == "close":
        reader.close()
        reader.close()
    elif how == "with":
        with reader:
            pass
    else:
        with pytest.raises(InvalidRecordError):
            list(reader)
    assert reader._file.closed
    with pytest.raises(InvalidRecordError if how == "error" else StopIteration):
        next(reader)


def test_it_is_its_own_iterator() -> None:
    reader = iter_decode(io.BytesIO(DATA))
    assert iter(reader) is reader
    assert isinstance(reader, dbnfast.RecordReader)


def test_metadata_alone_gives_no_block() -> None:
    for data in (HEAD, streams.frame(HEAD)):
        reader = iter_decode(io.BytesIO(data))
        assert list(reader) == []
        assert reader.metadata is not None


# options


def test_fragments() -> None:
    raw = streams.trades(100, ts_out=True)
    options: dict[str, Any] = {"has_metadata": False, "ts_out": True, "max_bytes": 1020}
    for data in (raw, streams.frame(raw)):
        reader = iter_decode(io.BytesIO(data), **options)
        assert reader.metadata is None
        blocks = list(reader)
        assert b"".join(block.tobytes() for block in blocks) == raw
        assert blocks[0].array()["ts_out"][0] == 2 * 10**18
    assert list(iter_decode(io.BytesIO(b""), has_metadata=False)) == []


def test_fragments_take_the_version_that_their_records_tell() -> None:
    raw = streams.trades(25) + streams.record(0x13, 400) + streams.trades(25)
    blocks = list(iter_decode(io.BytesIO(raw), has_metadata=False, max_bytes=1200))
    assert [block.version for block in blocks] == [3, 2, 2]
    told = iter_decode(io.BytesIO(raw), has_metadata=False, max_bytes=1200, input_version=1)
    assert {block.version for block in told} == {1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_bytes": 1019}, "max_bytes is 1019, expected 1020 or more"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"input_version": 4}, "input_version is 4"),
        ({"on_truncated": "drop"}, "on_truncated is 'drop'"),
        ({"input_version": 1}, "the stream's own header says 3"),
        ({"ts_out": True}, "the stream's own header says False"),
    ],
    ids=str,
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        iter_decode(io.BytesIO(DATA), **options)


@pytest.mark.parametrize("source", [DATA, None, 5, bytearray(DATA)], ids=type)
def test_what_is_neither_a_path_nor_readable(source: Any) -> None:
    with pytest.raises(TypeError, match="is neither a path nor readable"):
        iter_decode(source)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        iter_decode(tmp_path / "none.dbn")


def test_a_stream_that_would_block_is_an_error() -> None:
    class Blocking:
        def readinto(self, out: memoryview) -> None:
            return None

    with pytest.raises(BlockingIOError):
        iter_decode(Blocking())  # type: ignore[arg-type]


# errors


@pytest.mark.parametrize("data", [b"", b"DB", HEAD[:100], streams.frame(HEAD[:100])])
def test_cut_metadata(data: bytes) -> None:
    with pytest.raises(dbnfast.TruncatedError) as caught:
        iter_decode(io.BytesIO(data))
    assert caught.value.offset == 0


@pytest.mark.parametrize("max_bytes", [1020, 64 << 20])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "zstd"])
@pytest.mark.parametrize("n_good", [0, 1, 21, 500])
def test_damage_comes_behind_the_good_records(
    n_good: int, compressed: bool, max_bytes: int
) -> None:
    data = HEAD + streams.trades(n_good) + streams.record(0, 40) + streams.trades(50)
    reader = iter_decode(
        io.BytesIO(streams.frame(data) if compressed else data), max_bytes=max_bytes
    )
    found, error = streams.read_blocks(reader)
    assert found == streams.trades(n_good)
    assert isinstance(error, InvalidRecordError)
    assert (error.offset, error.record_index) == (128 + 48 * n_good, n_good)
    assert (error.length, error.rtype, error.good) == (40, 0, None)


def test_damaged_compression_comes_behind_the_good_records() -> None:
    first, damaged = streams.frame(HEAD + streams.trades(100)), bytearray(streams.frame(b"abc"))
    damaged[-1] ^= 1
    reader = iter_decode(io.BytesIO(first + bytes(damaged)), max_bytes=1020)
    found, error = streams.read_blocks(reader)
    assert found == streams.trades(100)
    assert isinstance(error, dbnfast.DecompressionError)
    assert error.offset == len(first)


@pytest.mark.parametrize("n_left", [1, 15, 16, 47])
@pytest.mark.parametrize("max_bytes", [1020, 64 << 20])
def test_cut_record(n_left: int, max_bytes: int) -> None:
    data = HEAD + streams.trades(100)[: -48 + n_left]

    def read(on_truncated: Any) -> list[dbnfast.Records]:
        return list(iter_decode(io.BytesIO(data), max_bytes=max_bytes, on_truncated=on_truncated))

    with pytest.warns(TruncatedWarning, match=f"record 99 at byte {128 + 48 * 99}") as caught:
        blocks = read("warn")
    assert len(caught) == 1
    assert sum(map(len, blocks)) == sum(map(len, read("ignore"))) == 99
    reader = iter_decode(io.BytesIO(data), max_bytes=max_bytes, on_truncated="raise")
    found, error = streams.read_blocks(reader)
    assert found == streams.trades(99)  # all good records come first
    assert isinstance(error, dbnfast.TruncatedError)
    assert (error.offset, error.record_index) == (128 + 48 * 99, 99)
    assert (error.needed, error.available) == (16 if n_left < 16 else 48, n_left)


def test_warning_points_at_the_caller() -> None:
    with pytest.warns(TruncatedWarning) as caught:
        for _ in iter_decode(io.BytesIO(DATA + b"\x0c")):
            pass
    assert [warning.filename for warning in caught] == [__file__]


def test_cut_frame() -> None:
    data = streams.frame(HEAD, streams.trades(50), streams.trades(10))[:-12]
    with pytest.warns(TruncatedWarning, match="the zstd frame at compressed byte 0 is cut"):
        blocks = list(iter_decode(io.BytesIO(data), max_bytes=1020))
    assert sum(map(len, blocks)) == 50  # the last block of the frame is cut
    with pytest.raises(dbnfast.TruncatedError):
        list(iter_decode(io.BytesIO(data), on_truncated="raise"))


# memory


class Virtual:
    """A header, then the same records again and again, made as they are read."""

    def __init__(self, n_bytes: int) -> None:
        self._block = streams.trades(4096)
        self._head = HEAD
        self._left = n_bytes // len(self._block) * len(self._block)
        self._at = 0
        self.n_records = self._left // 48

    def readinto(self, out: memoryview) -> int:
        if self._head:
            n = min(len(out), len(self._head))
            out[:n], self._head = self._head[:n], self._head[n:]
            return n
        n = min(len(out), len(self._block) - self._at, self._left)
        out[:n] = self._block[self._at : self._at + n]
        self._at = (self._at + n) % len(self._block)
        self._left -= n
        return n


def test_memory_is_flat_whatever_the_size() -> None:
    source = Virtual(200 * MIB)
    tracemalloc.start()
    n = sum(len(block) for block in iter_decode(source, max_bytes=MIB))  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == source.n_records > 4_000_000
    assert peak < 4 * MIB


def test_memory_is_flat_for_what_zstd_blows_up() -> None:
    data = streams.frame(HEAD, *[streams.record(0x42, 1020) * 1028] * 100)
    tracemalloc.start()
    n = sum(len(block) for block in iter_decode(io.BytesIO(data), max_bytes=MIB))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 102_800
    assert peak < 6 * MIB


def test_a_header_that_claims_gigabytes_takes_no_memory() -> None:
    claim = HEAD[:4] + b"\xff\xff\xff\xff" + HEAD[8:]
    tracemalloc.start()
    with pytest.raises(dbnfast.MetadataError, match="4294967303 bytes, at most") as caught:
        iter_decode(io.BytesIO(claim))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.offset == 4
    assert peak < 4 * MIB


def test_a_text_stream_is_refused() -> None:
    with pytest.raises(TypeError, match="the stream is open as text, expected binary"):
        iter_decode(io.StringIO("DBN"))


class TooMuch:
    """A stream that gives more than it is asked for."""

    def read(self, n: int) -> bytes:
        return bytes(n + 1)


def test_a_stream_that_gives_more_than_was_asked_for() -> None:
    with pytest.raises(OSError, match="gave"):
        iter_decode(TooMuch())


def test_compressed_data_is_not_read_again_behind_its_end() -> None:
    file = ReadInto(ZSTD)
    with iter_decode(file) as blocks:
        assert b"".join(block.tobytes() for block in blocks) == MIXED
        assert next(iter(blocks), None) is None


class Interrupted:
    """A stream whose reading is interrupted once, in the midst of a block."""

    def __init__(self, data: bytes) -> None:
        self._file = OnlyRead(data, 100)
        self._reads = 0

    def read(self, n: int) -> bytes:
        self._reads += 1
        if self._reads == 30:
            raise KeyboardInterrupt
        return self._file.read(n)


@pytest.mark.parametrize("wanted", [{}, {"schema": "trades"}], ids=["all", "filtered"])
def test_an_interrupted_reader_does_not_go_on_with_a_gap(wanted: dict[str, Any]) -> None:
    with iter_decode(Interrupted(DATA), max_bytes=1020, **wanted) as blocks:
        found = []
        with pytest.raises(KeyboardInterrupt):
            found.extend(blocks)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="interrupted, and what was read is lost"):
                next(blocks)
    read = b"".join(block.tobytes() for block in found)
    assert read
    assert dbnfast.scan(DATA).filter(**wanted).tobytes().startswith(read)


@pytest.mark.parametrize("path", [dbnfast.Compression.ZSTD, dbnfast.Schema.MBO])
def test_a_name_that_is_a_number_too_is_no_descriptor(path: Any, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        with pytest.raises(FileNotFoundError):
            iter_decode(path)
        with pytest.raises(FileNotFoundError):
            dbnfast.from_csv(path)
        on_disk(DATA, tmp_path).rename(str(path))
        with iter_decode(path) as blocks:
            assert b"".join(block.tobytes() for block in blocks) == MIXED
