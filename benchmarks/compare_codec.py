"""Rows of the benchmark for the codec: arrays from bytes, files and pieces, and back; imports."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import databento
import databento_dbn
import numpy as np

import data
import dbnfast
from dbnfast import reference
from dbnfast.codec.compression import zstd
from measure import MIB, PIECE, Road

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from measure import Bench

FROM_MEMORY = 96 * MIB  # bytes of the pieces that do not stay in cache
STEP = 16 * MIB  # bytes that iter_decode reads at once


def aligned(stream: bytes) -> np.ndarray[Any, Any]:
    """Copy a stream to where its records begin at an 8-byte boundary."""
    at = len(dbnfast.scan(stream).metadata.encode())  # type: ignore[union-attr]
    block = np.empty(len(stream) + 64, np.uint8)
    start = -(block.ctypes.data + at) % 64
    block[start : start + len(stream)] = np.frombuffer(stream, np.uint8)
    return block[start : start + len(stream)]


def decode(bench: Bench) -> None:
    """One type, every header checked, against one pass over the bytes."""
    for schema, target in (("trades", 0.9), ("tbbo", 0.9), ("mbo", 0.9), ("mbp-10", 1.3)):
        stream = aligned(data.stream(schema))
        body = np.frombuffer(dbnfast.scan(stream).data, "u8")
        bench.pair(
            f"decode {schema}",
            "`np.frombuffer(body, 'u8').max()`",
            target,
            lambda stream=stream: dbnfast.decode(stream),
            lambda body=body: body.max(),
        )
    metadata = data.metadata("trades")
    n = min(40_000, data.SIZES["trades"])
    part = dbnfast.encode(data.records("trades", n), metadata)
    bench.pair(
        f"decode {n:,} trades",
        "`dbnfast.reference`, plain Python",
        None,
        lambda: dbnfast.decode(part),
        lambda: reference.decode(part),
        runs=3,
    )


def split(bench: Bench) -> None:
    """A mixed stream to new arrays, and one schema of a mixed file."""
    stream = data.mixed(data.MIXED)
    body = np.frombuffer(dbnfast.scan(stream).data, np.uint8)
    bench.pair(
        "split a mixed stream", "`body.copy()`", 0.5, lambda: dbnfast.split(stream), body.copy
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixed.dbn"
        path.write_bytes(stream)

        def ours() -> Any:
            return dbnfast.decode(np.memmap(path, np.uint8, "r"), schema="trades")

        def theirs() -> Any:
            return databento.DBNStore.from_file(path).to_ndarray(schema="trades")

        assert len(ours()) == len(theirs())
        bench.pair("mixed file -> trades array", "`DBNStore.to_ndarray(schema=)`", 30, ours, theirs,
                   runs=3)  # fmt: skip


def pieces_of(schema: str, from_memory: bool) -> tuple[bytes, list[bytes]]:
    """Give the header and 64 KiB pieces: a few that stay in cache again and again, or many."""
    stream = data.stream(schema)
    head = dbnfast.scan(stream).metadata.encode()  # type: ignore[union-attr]
    size = dbnfast.dtype(schema).itemsize
    cycle = math.lcm(PIECE, size)  # after which a piece begins with a record again
    if not from_memory:
        body = stream[len(head) : len(head) + cycle]
        few = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
        return head, few * max(1, 2048 // len(few))
    body = stream[len(head) : len(head) + FROM_MEMORY]
    return head, [body[at : at + PIECE] for at in range(0, len(body), PIECE)]


def arrays(head: bytes, pieces: list[bytes], keep: list[Any] | None = None) -> None:
    """Feed pieces and make the arrays of each."""
    decoder = dbnfast.Decoder()
    decoder.feed(head)
    for piece in pieces:
        decoder.feed(piece)
        for records in decoder.read():
            array = records.array()
            if keep is not None:
                keep.append(array)


def lists(head: bytes, pieces: list[bytes], keep: list[Any] | None = None) -> None:
    """Feed pieces and make the official objects of each."""
    decoder = databento_dbn.DBNDecoder()
    decoder.write(head)
    decoder.decode()
    for piece in pieces:
        decoder.write(piece)
        made = decoder.decode()
        if keep is not None:
            keep.append(made)


def count(drive: Callable[[bytes, list[bytes], list[Any]], None], *what: Any) -> int:
    """Count the records that a drive makes."""
    made: list[Any] = []
    drive(*what, made)
    return sum(map(len, made))


def feed(bench: Bench) -> None:
    """Pieces of 64 KiB as bytes objects to arrays, against lists of objects."""
    targets = {"trades": (20, 12), "tbbo": (20, 6), "mbo": (20, 12), "mbp-10": (10, 4)}
    for schema, wanted in targets.items():
        for from_memory in (False, True):
            head, pieces = pieces_of(schema, from_memory)
            n = count(arrays, head, pieces)
            assert n == count(lists, head, pieces)
            on_road = from_memory and schema == "trades"
            bench.pair(
                f"feed {schema}, pieces {'from memory' if from_memory else 'in cache'}",
                "`DBNDecoder` -> list of objects",
                wanted[from_memory],
                lambda head=head, pieces=pieces: arrays(head, pieces),
                lambda head=head, pieces=pieces: lists(head, pieces),
                road=Road("feed", n, sum(map(len, pieces))) if on_road else None,
            )
        bench.pair(
            f"feed {schema}, pieces from memory",
            "`np.frombuffer(piece, 'u8').max()` of each: what memory allows",
            None,
            lambda head=head, pieces=pieces: arrays(head, pieces),
            lambda pieces=pieces: [np.frombuffer(piece, "u8").max() for piece in pieces],
        )


def objects(bench: Bench) -> None:
    """Record objects, three integer fields of each read; and a pretty timestamp."""
    stream = data.stream("mbo")[: 4 << 20]
    records = dbnfast.scan(stream, on_truncated="ignore")

    def official() -> list[Any]:
        decoder = databento_dbn.DBNDecoder()
        decoder.write(stream)
        return list(decoder.decode())[1:]

    def read(items: Any) -> int:
        total = 0
        for item in items:
            total += item.price + item.size + item.sequence
        return total

    assert read(records) == read(official())
    bench.pair("Record made, three fields read", "the same with `DBNDecoder`", 1.0,
               lambda: read(records), lambda: read(official()),
               road=Road("record objects", len(records), records.nbytes))  # fmt: skip
    few, theirs = list(records[:2000]), official()[:2000]
    bench.pair("`pretty_ts_event`", "the same with `DBNDecoder`", 10,
               lambda: [item.pretty_ts_event for item in few],
               lambda: [item.pretty_ts_event for item in theirs])  # fmt: skip


def decompress(bench: Bench) -> None:
    """A zstd file to an array, against decompression alone."""
    module = zstd()
    for schema in ("trades", "mbp-10"):
        stream = data.stream(schema)
        half = len(stream) // 2

        def frame(part: bytes) -> bytes:
            compressor = module.ZstdCompressor()  # content size is not known, so not stated
            return bytes(compressor.compress(part) + compressor.flush())

        one, two = frame(stream), frame(stream[:half]) + frame(stream[half:])
        for name, packed, target in (("one frame", one, 1.1), ("two frames", two, 1.8)):
            bench.pair(f"zstd {schema}, {name}", "`zstd.decompress(data)`", target,
                       lambda packed=packed: dbnfast.decode(packed),
                       lambda packed=packed: module.decompress(packed))  # fmt: skip
        read_seekable(bench, schema)


def written(records: dbnfast.Records) -> bytes:
    """Write records as a seekable file."""
    sink = io.BytesIO()
    with dbnfast.Encoder(sink, records.metadata, compression="zstd") as encoder:
        encoder.write(records)
    return sink.getvalue()


def one_frame(stream: bytes) -> bytes:
    """Compress a stream as earlier versions wrote it: one frame with a checksum."""
    module = zstd()
    options = {module.CompressionParameter.checksum_flag: 1}
    compressor = module.ZstdCompressor(options=options)
    return bytes(compressor.compress(stream) + compressor.flush())


def read_seekable(bench: Bench, schema: str) -> None:
    """Many frames, decompressed on all cores, against the one frame of the same records."""
    stream = data.stream(schema)
    many, one = written(dbnfast.scan(stream)), one_frame(stream)
    if len(many) > 1.005 * len(one):
        raise ValueError(f"seekable {schema} has {len(many):,} bytes, one frame {len(one):,}")

    def blocks(packed: bytes) -> int:
        return sum(map(len, dbnfast.iter_decode(io.BytesIO(packed), max_bytes=STEP)))

    for name, call in (("decode", dbnfast.decode), ("iter_decode", blocks)):
        bench.pair(f"seekable zstd {schema}, `{name}`", "the same of one frame", 1.5,
                   lambda call=call: call(many), lambda call=call: call(one))  # fmt: skip


def encode(bench: Bench) -> None:
    """Arrays to bytes, headers checked."""
    for schema in ("trades", "mbo", "mbp-10"):
        array = data.records(schema, data.SIZES[schema])
        metadata = data.metadata(schema)
        bench.pair(f"encode {schema}", "`bytes(memoryview(array))`", 0.75,
                   lambda array=array, metadata=metadata: dbnfast.encode(array, metadata),
                   lambda array=array: bytes(memoryview(array)))  # fmt: skip
        stream = data.stream(schema)
        bench.pair(f"Encoder, zstd {schema}", "`ZstdCompressor`, one frame", 1.4,
                   lambda records=dbnfast.scan(stream): written(records),  # noqa: B008
                   lambda stream=stream: one_frame(stream))  # fmt: skip


def import_time(bench: Bench) -> None:
    """Whole processes, byte code cached: import dbnfast against import numpy."""
    with tempfile.TemporaryDirectory() as cache:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment = {**kept, "PYTHONPYCACHEPREFIX": cache}

        def run(name: str) -> Callable[[], Any]:
            command = [sys.executable, "-c", f"import {name}"]
            return lambda: subprocess.run(command, check=True, env=environment)

        bench.pair("import dbnfast", "`import numpy`", None, run("dbnfast"), run("numpy"),
                   runs=max(7, bench.runs), more=0.030)  # fmt: skip


class Endless:
    """A readable of a given size that holds one block of records only."""

    def __init__(self, head: bytes, block: bytes, size: int) -> None:
        self._parts = self._stream(head, block, size)
        self._left = memoryview(b"")

    def _stream(self, head: bytes, block: bytes, size: int) -> Iterator[bytes]:
        yield head
        for _ in range(size // len(block)):
            yield block

    def readinto(self, out: memoryview) -> int:
        """Fill as much of `out` as the current part holds."""
        if not len(self._left):
            self._left = memoryview(next(self._parts, b""))
        n = min(len(out), len(self._left))
        out[:n] = self._left[:n]
        self._left = self._left[n:]
        return n


def memory(bench: Bench) -> None:
    """Peak memory of iter_decode as its input grows."""
    stream = data.stream("mbo")
    head = dbnfast.scan(stream).metadata.encode()  # type: ignore[union-attr]
    size = dbnfast.dtype("mbo").itemsize
    block = stream[len(head) : len(head) + size * 20_000]
    totals, peaks = (10, 100) if bench.smoke else (100, 500, 2000), []
    for total in totals:
        tracemalloc.start()
        try:
            readable: Any = Endless(head, block, total * MIB)
            n = sum(map(len, dbnfast.iter_decode(readable, max_bytes=STEP)))
            peaks.append(round(tracemalloc.get_traced_memory()[1] / MIB, 1))
        finally:
            tracemalloc.stop()
        assert n == total * MIB // len(block) * 20_000
    bench.keep("memory", what="iter_decode", seen="Python", sizes=list(totals), peaks=peaks)


def roads(bench: Bench) -> None:
    """Bytes to arrays by the official package's own road, where rows above have another peer."""
    runs = min(bench.runs, 3)
    stream = data.stream("trades")
    packed = zstd().compress(stream)
    n, size = data.SIZES["trades"], len(stream)
    for name, source in (("decode", stream), ("zstd", packed)):

        def theirs(source: bytes = source) -> Any:
            return databento.DBNStore.from_bytes(source).to_ndarray()

        assert (dbnfast.decode(source)["price"] == theirs()["price"]).all()
        bench.pair(f"{name} trades, to an array", "`DBNStore.to_ndarray`", None,
                   lambda source=source: dbnfast.decode(source), theirs,
                   runs=runs, road=Road(name, n, size))  # fmt: skip
    blend = data.mixed(data.MIXED)

    def apart() -> int:
        store = databento.DBNStore.from_bytes(blend)
        return sum(len(store.to_ndarray(schema=schema)) for schema in data.SHARES)

    assert apart() == data.MIXED
    bench.pair("split a mixed stream", "`DBNStore.to_ndarray` of each schema", None,
               lambda: dbnfast.split(blend), apart,
               runs=runs, road=Road("split", data.MIXED, len(blend)))  # fmt: skip
