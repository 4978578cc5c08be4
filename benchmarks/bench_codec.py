"""The codec's hot paths under pytest-benchmark: ``pytest benchmarks/bench_codec.py``."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import data
import dbnfast

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

N = 200_000
PIECE = 64 << 10


@pytest.fixture(scope="module")
def trades() -> bytes:
    return dbnfast.encode(data.records("trades", N), data.metadata("trades"))


@pytest.fixture(scope="module")
def mixed() -> bytes:
    return data.mixed(N // 4)


def test_decode_trades(benchmark: BenchmarkFixture, trades: bytes) -> None:
    assert len(benchmark(dbnfast.decode, trades)) == N


def test_split_mixed(benchmark: BenchmarkFixture, mixed: bytes) -> None:
    arrays = benchmark(dbnfast.split, mixed)
    assert sum(map(len, arrays.values())) == N // 4


def test_decode_zstd(benchmark: BenchmarkFixture, trades: bytes) -> None:
    records = dbnfast.scan(trades)
    packed = dbnfast.encode(records, records.metadata, compression="zstd")
    assert len(benchmark(dbnfast.decode, packed)) == N


def test_feed_pieces(benchmark: BenchmarkFixture, trades: bytes) -> None:
    pieces = [trades[at : at + PIECE] for at in range(0, len(trades), PIECE)]

    def drive() -> int:
        decoder, n = dbnfast.Decoder(), 0
        for piece in pieces:
            decoder.feed(piece)
            n += sum(len(records.array()) for records in decoder.read())
        return n

    assert benchmark(drive) == N


def test_receive_into_buffer(benchmark: BenchmarkFixture, trades: bytes) -> None:
    def drive() -> int:
        source, decoder, n = io.BytesIO(trades), dbnfast.Decoder(), 0
        while got := source.readinto(decoder.get_buffer(-1)):
            decoder.buffer_updated(got)
            n += sum(map(len, decoder.read()))
        return n

    assert benchmark(drive) == N


def test_iterate_objects(benchmark: BenchmarkFixture, trades: bytes) -> None:
    records = dbnfast.scan(trades)[:20_000]

    def read() -> int:
        return sum(record.size for record in records)

    assert benchmark(read) == int(records.array()["size"].sum())


def test_encode_trades(benchmark: BenchmarkFixture, trades: bytes) -> None:
    array: Any = dbnfast.decode(trades)
    assert benchmark(dbnfast.encode, array, data.metadata("trades")) == trades
