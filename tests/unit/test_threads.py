"""
Many threads at once: what may be shared is right, and what may not be shared never crashes.

Runs on every build; on a free-threaded one there is no GIL that would hide a race.
"""

from __future__ import annotations

import random
import subprocess
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Decoder, Records, RType, reference
from dbnfast.dbn import DBNDecoder
from dbnfast.layouts.table import LAYOUTS
from dbnfast.symbology.map import SymbolMap
from helpers import builders, streams

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
THREADS = 6
ROUNDS = 8


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    """Let the GIL, where there is one, change hands as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], Any], n: int = THREADS) -> list[Any]:
    """Run ``work(0)`` to ``work(n - 1)`` at once; give their results, or what they raised."""
    gate = threading.Barrier(n)
    found: list[Any] = [None] * n

    def run(number: int) -> None:
        gate.wait()
        try:
            found[number] = work(number)
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return found


def all_right(work: Callable[[int], Any], n: int = THREADS) -> list[Any]:
    """Run as `together` does; nobody may raise."""
    found = together(work, n)
    for result in found:
        if isinstance(result, Exception):
            raise result
    return found


def mixed_stream(seed: int, n_runs: int = 60) -> builders.Stream:
    return builders.make_stream(random.Random(seed), n_runs, max_run=20)


@pytest.mark.skipif(not FREE_THREADED, reason="this build of Python has a GIL")
def test_the_package_leaves_the_gil_off() -> None:
    code = (
        "import sys, pkgutil, dbnfast, dbnfast._core as core\n"
        "names = [found.name for found in pkgutil.iter_modules(core.__path__)]\n"
        "for name in names: __import__(f'dbnfast._core.{name}')\n"
        "print(len(names) > 10, sys._is_gil_enabled())"
    )
    done = subprocess.run(  # -E: PYTHON_GIL would say what is to be found out
        [sys.executable, "-E", "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True False\n", "")


# --- one for each thread ----------------------------------------------------------------------


def test_a_decoder_for_each_thread() -> None:
    made = [mixed_stream(seed) for seed in range(THREADS)]

    def work(number: int) -> bytes:
        rng, decoder, out = random.Random(number), Decoder(), b""
        for piece in builders.random_pieces(rng, made[number].data):
            builders.feed_somehow(decoder, rng, piece)
            out += b"".join(records.tobytes() for records in decoder.read())
        decoder.feed_eof()
        return out + b"".join(records.tobytes() for records in decoder.read())

    for _ in range(2):
        assert all_right(work) == [stream.body for stream in made]


def test_buffers_of_their_own() -> None:
    made = [mixed_stream(seed) for seed in range(THREADS)]
    packed = [
        streams.frame(stream.data) if number % 2 else stream.data
        for number, stream in enumerate(made)
    ]

    def work(number: int) -> tuple[int, bytes]:
        records = dbnfast.scan(packed[number])
        whole = dbnfast.encode(records, records.metadata)
        return len(records), whole[-len(made[number].body) :]

    for _ in range(4):
        assert all_right(work) == [(len(stream.records), stream.body) for stream in made]


# --- shared -----------------------------------------------------------------------------------


def sent_by(records: Records, rtype: int) -> list[int]:
    """The ts_event of each record of a type."""
    return [int(ts) for ts in records.array(RType(rtype))["ts_event"].tolist()]


def expected_of(stream: builders.Stream) -> dict[str, Any]:
    """What threads must find, by the format in plain Python."""
    plain = list(reference.iter_records(stream.body))
    stamps = [record["ts_event"] for record in plain]
    first = next(r["rtype"] for r in plain if r["rtype"] in set(RType))
    return {
        "counts": Counter(record["rtype"] for record in plain),
        "stamps": stamps,
        "rtype": first,
        "of type": [r["ts_event"] for r in plain if r["rtype"] == first],
        "ids": Counter(record["instrument_id"] for record in plain),
    }


def stamp_of(record: bytes) -> int:
    return int.from_bytes(record[8:16], "little")


def stamps_of(records: Records) -> list[int]:
    return [stamp_of(bytes(record)) for record in records.objects(upgrade=False)]


WAYS: dict[str, Callable[[Records, dict[str, Any], random.Random], bool]] = {
    "counts": lambda r, e, _: {int(k): n for k, n in r.counts.items()} == e["counts"],
    "iterate": lambda r, e, _: stamps_of(r) == e["stamps"],
    "array": lambda r, e, _: sent_by(r, e["rtype"]) == e["of type"],
    "split": lambda r, e, _: r.split()[RType(e["rtype"])]["ts_event"].tolist() == e["of type"],
    "item": lambda r, e, rng: all(
        stamp_of(bytes(r[i])) == e["stamps"][i] for i in rng.choices(range(len(r)), k=40)
    ),
    "slice": lambda r, e, rng: all(
        stamps_of(r[a:b]) == e["stamps"][a:b]
        for a, b in pairwise(sorted(rng.choices(range(len(r)), k=12)))
    ),
    "filter": lambda r, e, _: all(
        len(r.filter(instrument_ids=id_)) == n for id_, n in e["ids"].most_common(4)
    ),
    "bytes": lambda r, e, _: (
        [record["ts_event"] for record in reference.iter_records(r.tobytes())] == e["stamps"]
    ),
    "runs": lambda r, e, _: sum(len(run) for run in r.runs()) == len(e["stamps"]),
}


@pytest.mark.parametrize("seed", range(3))
def test_shared_records(seed: int) -> None:
    stream = mixed_stream(seed)
    expected = expected_of(stream)
    ways = list(WAYS)
    for _ in range(ROUNDS):
        records = dbnfast.scan(stream.data)  # anew: what it makes once is made by all at once

        def work(number: int, records: Records = records) -> list[str]:
            rng = random.Random(number)
            order = rng.sample(ways, len(ways))
            return [way for way in order if not WAYS[way](records, expected, rng)]

        assert all_right(work) == [[]] * THREADS


def test_objects_are_made_and_dropped() -> None:
    """Memory of objects that went is kept for others: none of it may be another one's."""
    made = [
        [builders.record_bytes(random.Random(f"{number} {n}"), (layout, int(layout.rtypes[0])))
         for n, layout in enumerate(list(LAYOUTS) * 3)]
        for number in range(THREADS)
    ]  # fmt: skip
    shared: list[Any] = []

    def work(number: int) -> int:
        wrong = 0
        for _ in range(ROUNDS * 4):
            records = [(dbnfast.Record.from_bytes(raw), raw) for raw in made[number]]
            levels = [(r.levels, r.to_dict()) for r, _ in records if hasattr(r, "levels")]
            shared.extend(record for record, _ in records[:5])  # others drop them
            del shared[: len(shared) // 2]
            texts = [repr(record) for record, _ in records]
            wrong += sum(bytes(record) != raw for record, raw in records)
            wrong += sum(
                repr(record) != text for (record, _), text in zip(records, texts, strict=True)
            )
            wrong += sum(
                getattr(level, name) != row[f"{name}_{i:02}"]
                for pairs, row in levels
                for i, level in enumerate(pairs)
                for name in level.to_dict()
            )
            wrong += sum(dbnfast.BidAskPair(number, n).bid_px != number for n in range(20))
        return wrong

    assert all_right(work) == [0] * THREADS


def test_shared_records_that_are_alike() -> None:
    body = b"".join(streams.trade(n) for n in range(500))
    wanted = [record["ts_event"] for record in reference.iter_records(body)]
    for _ in range(ROUNDS):
        records = dbnfast.scan(streams.header() + body)

        def work(number: int, records: Records = records) -> bool:
            array = records[number:].array() if number % 2 else records.array()
            return bool(array["ts_event"].tolist() == wanted[number * (number % 2) :])

        assert all_right(work) == [True] * THREADS


def test_one_iterator_gives_each_record_once() -> None:
    stream = mixed_stream(7)
    for _ in range(ROUNDS):
        shared = iter(dbnfast.scan(stream.data).objects(upgrade=False))
        found = all_right(lambda _, shared=shared: [bytes(record) for record in shared])
        assert Counter(record for part in found for record in part) == Counter(stream.records)


def test_a_shared_store() -> None:
    pa = pytest.importorskip("pyarrow")
    body = b"".join(streams.trade(n) for n in range(300))
    plain = list(reference.iter_records(body))
    prices = [record["price"] / 1e9 for record in plain]
    stamps = [record["ts_event"] for record in plain]
    for data in (streams.header() + body, streams.frame(streams.header() + body)):
        for _ in range(ROUNDS // 2):
            store = dbnfast.read(data)

            def work(number: int, store: Any = store) -> bool:
                if number % 3 == 0:
                    return bool(pa.table(store)["price"].to_pylist() == prices)
                if number % 3 == 1:
                    return bool(store.to_ndarray()["ts_event"].tolist() == stamps)
                counts = {int(rtype): n for rtype, n in store.counts.items()}
                return counts == {0: len(plain)} and len(list(store)) == len(plain)

            assert all_right(work) == [True] * THREADS


def test_bytes_that_all_look_at() -> None:
    """Views come and go in each thread, and none of them is counted on to keep the bytes."""
    stream = mixed_stream(5)
    parts = [stream.data[at : at + 900] for at in range(0, len(stream.data), 900)]
    packed = b"".join(map(streams.frame, parts))  # frames are inflated by several threads too
    for data in (stream.data, bytearray(stream.data), packed):
        records, store = dbnfast.scan(data), dbnfast.read(data)

        def work(number: int, records: Records = records, store: Any = store) -> bool:
            right = True
            for at in range(0, len(stream.body), 97):
                right &= records.data[at : at + 50] == stream.body[at : at + 50]
                right &= len(np.frombuffer(records.data, np.uint8)) == len(stream.body)
            return right and store.records().tobytes() == stream.body

        assert all_right(work) == [True] * THREADS


def test_a_shared_header() -> None:
    """A long one is a view of the buffer that it came in."""
    names = [f"S{n}".encode() for n in range(20_000)]
    lists = streams.text_list(names) + bytes(12)
    metadata = dbnfast.Metadata.decode(streams.header(lists=lists))
    wanted = [name.decode() for name in names]
    assert all_right(lambda _: metadata.symbols == wanted) == [True] * THREADS


def test_a_shared_symbol_map() -> None:
    days = [20240101, 20240102, 20240103, 20240104]
    names = [[f"S{id_}.{n}" for n in range(3)] for id_ in range(1, 41)]
    mappings = [
        (name.encode(), [(days[n], days[n + 1], str(id_).encode())])
        for id_, parts in enumerate(names, 1)
        for n, name in enumerate(parts)
    ]
    lists = bytes(12) + streams.mapping_list(mappings)
    metadata = dbnfast.Metadata.decode(streams.header(lists=lists))
    noons = np.array(["2024-01-01T12", "2024-01-02T12", "2024-01-03T12"], "M8[ns]")
    wanted = [name for parts in names for name in parts]
    ids, times = np.repeat(np.arange(1, 41), 3), np.tile(noons, 40)
    for _ in range(ROUNDS):
        shared = SymbolMap.from_metadata(metadata)  # its first look-up sorts it

        def work(number: int, shared: SymbolMap = shared) -> bool:
            if number % 2:
                return shared.resolve_many(ids, times).tolist() == wanted
            found = [shared.resolve(int(i), t) for i, t in zip(ids, times, strict=True)]
            return found == wanted and len(shared) == len(wanted)

        assert all_right(work) == [True] * THREADS


# --- misused ----------------------------------------------------------------------------------


def misuse(decoder: Decoder, pieces: list[bytes], rng: random.Random) -> list[Records]:
    """Do to a decoder that others use whatever there is to do; errors are part of it."""
    found: list[Records] = []
    for piece in pieces:
        try:
            way = rng.randrange(4)
            if way == 0:
                decoder.feed(piece)
            elif way == 1:
                decoder.feed(bytearray(piece))
            elif way == 2:
                lent = decoder.get_buffer(len(piece))
                n = min(len(piece), len(lent))
                lent[:n] = piece[:n]
                decoder.buffer_updated(n)
            else:
                assert decoder.pending >= 0
                bytes(decoder._tail)
                found += decoder.read()
        except Exception:
            continue
    return found


def raw_records(found: list[Any]) -> list[bytes]:
    return [bytes(x) for part in found for records in part for x in records.objects(upgrade=False)]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "zstd"])
@pytest.mark.parametrize("longest", [9, 300, 70_000])
def test_a_decoder_that_several_threads_use_survives(longest: int, packed: bool) -> None:
    stream = builders.make_stream(random.Random(longest), 120, max_run=40)
    data = streams.frame(stream.data) if packed else stream.data
    for round_ in range(ROUNDS):
        decoder = Decoder()
        if not packed:
            decoder.feed(stream.header)

        def work(number: int, decoder: Decoder = decoder, round_: int = round_) -> list[Records]:
            rng = random.Random(round_ * THREADS + number)
            return misuse(decoder, builders.random_pieces(rng, data, longest), rng)

        # they get each other's bytes, and so what is no stream any more; all of what is handed
        # out is whole records all the same
        for raw in raw_records(all_right(work)):
            assert len(raw) == raw[0] * 4 >= 16


@pytest.mark.parametrize("longest", [9, 300, 70_000])
def test_an_object_decoder_that_several_threads_use_survives(longest: int) -> None:
    stream = builders.make_stream(random.Random(longest), 120, max_run=40)
    for round_ in range(ROUNDS):
        decoder = DBNDecoder()
        decoder.write_and_decode(stream.header)

        def work(number: int, decoder: DBNDecoder = decoder, round_: int = round_) -> list[bytes]:
            rng = random.Random(round_ * THREADS + number)
            found: list[bytes] = []
            for piece in builders.random_pieces(rng, stream.data[len(stream.header) :], longest):
                try:
                    decoder.write(piece if rng.randrange(2) else bytearray(piece))
                    if rng.randrange(2):
                        decoder.buffer()
                        found += map(bytes, decoder.decode())
                except Exception:
                    continue
            return found

        for found in all_right(work):
            for raw in found:
                assert len(raw) == raw[0] * 4 >= 16


def test_whole_pieces_from_several_threads_all_arrive() -> None:
    """Not promised, but so it is: a piece of whole records is taken in one step."""
    stream = builders.make_stream(random.Random(3), 100, max_run=30)
    share = len(stream.records) // THREADS
    parts = [stream.records[n * share : (n + 1) * share] for n in range(THREADS)]
    for _ in range(ROUNDS):
        decoder = Decoder()
        decoder.feed(stream.header)

        def work(number: int, decoder: Decoder = decoder) -> list[Records]:
            found = []
            for record in parts[number]:
                decoder.feed(record)
                found += decoder.read()
            return found

        found = raw_records(all_right(work))
        assert Counter(found) == Counter(record for part in parts for record in part)
