"""Memory that others own: arrays pin it, nobody writes to what was handed out, all is bounded."""

from __future__ import annotations

import gc
import mmap
import operator
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Decoder, Metadata, TruncatedWarning
from dbnfast._core.run import Owner
from dbnfast._util.times import to_ns
from dbnfast.dbn import DBNDecoder
from dbnfast.gateway import Cut, Gateway
from dbnfast.live.recorder import Recorder, recover
from helpers import streams

TRADES = dbnfast.encode(dbnfast.empty("trades", 50), Metadata("X", schema="trades"))
STORE = dbnfast.read(TRADES)
LONG = streams.header() + b"".join(bytes([14]) + streams.trade(i)[1:] + bytes(8) for i in range(9))
HEAD = streams.header()

WAYS: dict[str, Callable[[Any], Any]] = {
    "array": lambda records: records.array(),
    "array-schema": lambda records: records.array("trades"),
    "split": lambda records: records.split()[dbnfast.RType.TRADES],
    "slice": lambda records: records[3:7].array("trades"),
    "runs": lambda records: next(records.runs()).array(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", [TRADES, LONG], ids=["exact", "long"])
def test_an_array_pins_the_memory_it_shows(way: str, data: bytes) -> None:
    buffer = bytearray(data)
    array = WAYS[way](dbnfast.scan(buffer))
    assert np.shares_memory(array, np.frombuffer(buffer, np.uint8))
    with pytest.raises(BufferError):
        buffer.clear()
    with pytest.raises(BufferError):
        buffer.extend(bytes(1 << 20))


@pytest.mark.parametrize("way", WAYS)
def test_an_array_pins_a_mapped_file(way: str, tmp_path: Path) -> None:
    path = tmp_path / "trades.dbn"
    path.write_bytes(TRADES)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = WAYS[way](dbnfast.scan(mapped))
    with pytest.raises(BufferError):
        mapped.close()
    del array
    mapped.close()


def roads(data: bytes) -> dict[str, dbnfast.Records]:
    """Records of every road, in memory of every kind."""
    decoder = Decoder()
    decoder.feed(bytearray(data))
    import io

    (streamed,) = dbnfast.iter_decode(io.BytesIO(data))
    return {
        "bytes": dbnfast.scan(data),
        "bytearray": dbnfast.scan(bytearray(data)),
        "array": dbnfast.scan(np.frombuffer(bytearray(data), np.uint8)),
        "zstd": dbnfast.scan(streams.frame(data)),
        "decoder": decoder.read()[0],
        "iter_decode": streamed,
        "filter": dbnfast.scan(data).filter(start=0, instrument_ids=[0, 1, 2, 3, 4]),
        "picked": dbnfast.scan(data)[::2],
    }


@pytest.mark.parametrize("way", [way for way in WAYS if way != "slice"])
@pytest.mark.parametrize("road", roads(TRADES))
def test_an_array_cannot_be_made_writable(way: str, road: str) -> None:
    records = roads(LONG if road != "filter" else TRADES)[road]
    if not len(records):
        records = roads(TRADES)["bytes"]
    array = WAYS[way](records)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.setflags(write=True)
    with pytest.raises(ValueError, match="read-only"):
        array["price"] = 1


def test_the_first_array_of_a_process_is_as_safe_as_the_next() -> None:
    code = f"""
        import dbnfast
        buffer = bytearray({TRADES!r})
        array = dbnfast.decode(buffer)
        try:
            buffer.clear()
        except BufferError:
            print("pinned")
        try:
            array.setflags(write=True)
        except ValueError:
            print("read-only")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["pinned", "read-only"]


def test_a_long_header_does_not_change_with_its_buffer() -> None:
    symbols = [f"S{i}" for i in range(20_000)]
    buffer = bytearray(Metadata("X", symbols=symbols).encode())
    metadata = Metadata.decode(buffer)
    buffer[128:] = b"\xff" * (len(buffer) - 128)
    assert metadata.symbols == symbols
    assert metadata.mappings == {}


def test_a_long_header_of_a_store_does_not_change_with_its_buffer() -> None:
    symbols = [f"S{i}" for i in range(20_000)]
    buffer = bytearray(Metadata("X", symbols=symbols).encode())
    store = dbnfast.read(buffer)
    metadata = store.metadata
    assert metadata is not None
    buffer[128:] = b"\xff" * (len(buffer) - 128)
    assert metadata.symbols == symbols


@pytest.mark.parametrize("how", ["array", "memoryview", "again", "items", "owner"])
def test_a_long_header_does_not_change_with_what_shows_its_buffer(how: str) -> None:
    symbols = [f"S{i}" for i in range(20_000)]
    buffer = np.frombuffer(Metadata("X", symbols=symbols).encode(), np.uint8).copy()
    shown: Any = buffer[:]
    shown.flags.writeable = False  # that of the buffer is not
    if how == "memoryview":
        shown = memoryview(shown)
    elif how == "again":
        shown = np.frombuffer(memoryview(shown), np.uint8)
    elif how == "items":
        shown = shown.view("<u4")
    elif how == "owner":
        shown = memoryview(Owner(shown))
    metadata = Metadata.decode(shown)
    buffer[128:] = 255
    assert metadata.symbols == symbols


def test_an_owner_gives_views_that_nobody_writes_to() -> None:
    buffer = bytearray(b"some bytes")
    owner = Owner(buffer)
    views = [memoryview(owner), np.frombuffer(owner, np.uint8)]
    if sys.version_info >= (3, 12):  # where the method has a name
        views.append(owner.__buffer__(0))  # type: ignore[attr-defined]
    for view in views:
        assert bytes(view) == b"some bytes"
        assert len(view) == len(owner)
        with pytest.raises((TypeError, ValueError)):
            view[0] = 1
    with pytest.raises(BufferError):
        buffer.append(0)
    del owner, view, views
    buffer.append(0)


@pytest.mark.parametrize("source", [None, 5, "text", [1]])
def test_an_owner_of_no_bytes(source: Any) -> None:
    with pytest.raises(TypeError):
        Owner(source)
    with pytest.raises(BufferError):
        Owner(memoryview(b"abcd")[::2])


@pytest.mark.parametrize("taken_once", [False, True])
def test_records_in_a_cycle_are_collected(taken_once: bool) -> None:
    """Quietly: an exception that is ignored fails the test, see conftest."""
    buffer = bytearray(TRADES)
    view = memoryview(dbnfast.scan(buffer)._owner if taken_once else buffer)
    records = dbnfast.scan(view)
    assert not gc.is_tracked(records._owner)  # it would be cleared before its export is given back
    cycle: list[Any] = [view, records, records.data, records.array()]
    cycle.append(cycle)
    del view, records, cycle
    gc.collect()
    buffer.append(0)  # nobody holds it any more


def test_the_collector_need_not_look_at_records() -> None:
    """They hold bytes alone, and a program may keep millions of them."""
    records = dbnfast.scan(TRADES)
    made = [
        *records,
        *records.objects(upgrade=False),
        records[0],
        *DBNDecoder().write_and_decode(TRADES)[1:],
    ]
    made.append(dbnfast.TradeMsg.from_bytes(bytes(made[0])))
    assert len(made) > 4
    assert not any(map(gc.is_tracked, made))

    class Named(dbnfast.TradeMsg):  # may hold anything
        pass

    named = Named(1)
    named.itself = named  # type: ignore[attr-defined]
    assert gc.is_tracked(named)


def test_lists_are_walked_within_bounds_whatever_became_of_the_buffer(tmp_path: Path) -> None:
    # a read-only map shows what others write to the file
    path = tmp_path / "long.dbn"
    day = np.datetime64("2026-01-01").astype(object)
    rows = [{"start_date": day, "end_date": day, "symbol": "1"}]
    mappings = {f"S{i}": rows for i in range(8000)}
    path.write_bytes(Metadata("X", mappings=mappings).encode())
    with path.open("r+b") as file:
        writable = mmap.mmap(file.fileno(), 0)
        shown = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    metadata = Metadata.decode(shown)
    writable[124 + 4 + 71 : 124 + 4 + 75] = b"\xff" * 4  # the first count of intervals
    with pytest.raises(dbnfast.MetadataError):
        _ = metadata.mappings


@pytest.mark.parametrize("n_first", [50, 128, 128 + 96])
def test_a_buffer_lent_before_the_stream_proved_to_be_compressed(n_first: int) -> None:
    first = streams.frame(HEAD + streams.trades(2))
    second = streams.frame(streams.trades(5))
    decoder = Decoder()
    lent = decoder.get_buffer()
    decoder.feed(first)
    found = [records.tobytes() for records in decoder.read()]
    lent[: len(second)] = second
    decoder.buffer_updated(len(second))
    decoder.feed_eof()
    found += [records.tobytes() for records in decoder.read()]
    assert b"".join(found) == streams.trades(2) + streams.trades(5)
    assert decoder.read() == []


def test_a_damaged_header_does_not_gather_what_comes_later() -> None:
    decoder = Decoder()
    for _ in range(40):
        lent = decoder.get_buffer()
        lent[:] = b"x" * len(lent)
        decoder.buffer_updated(len(lent))
    assert decoder.pending < 1 << 20
    for _ in range(2):
        with pytest.raises(dbnfast.MetadataError):
            decoder.read()


def test_an_error_raised_again_does_not_grow() -> None:
    decoder = Decoder()
    decoder.feed(b"nothing of the kind")
    lengths = set()
    for _ in range(5):
        with pytest.raises(dbnfast.MetadataError) as caught:
            decoder.read()
        n, trace = 0, caught.value.__traceback__
        while trace is not None:
            n, trace = n + 1, trace.tb_next
        lengths.add(n)
    assert len(lengths) == 1


def test_the_end_is_the_end() -> None:
    decoder = Decoder()
    lent = decoder.get_buffer()
    decoder.feed_eof()
    lent[: len(HEAD)] = HEAD
    with pytest.raises(ValueError, match="has ended"):
        decoder.buffer_updated(len(HEAD))
    with pytest.raises(ValueError, match="has ended"):
        decoder.feed(HEAD)


class Odd:
    """A readable that answers what it is told to."""

    def __init__(self, data: bytes, *answers: Any) -> None:
        self._data = data
        self._answers = list(answers)

    def readinto(self, out: memoryview) -> Any:
        if self._data:
            n = min(len(out), 1000, len(self._data))
            out[:n] = self._data[:n]
            self._data = self._data[n:]
            return n
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answer", "error"),
    [(None, BlockingIOError), (-1, OSError), (10**9, OSError), (ConnectionResetError(), OSError)],
)
def test_a_stream_that_fails_is_not_read_on(answer: Any, error: type[Exception]) -> None:
    reader = dbnfast.iter_decode(Odd(TRADES, answer, 0), max_bytes=1 << 20)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(error):
            next(reader)


def test_a_compressed_stream_of_something_else_costs_no_memory() -> None:
    import tracemalloc

    bomb = streams.frame(b"XXX" * (32 << 20))
    tracemalloc.start()
    with pytest.raises(dbnfast.MetadataError):
        dbnfast.scan(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("taken", [0, -1, 10**6])
def test_an_output_that_takes_nothing_is_an_error(taken: int) -> None:
    class Sink:
        def write(self, data: Any) -> int:
            return taken

    with pytest.raises(OSError, match=f"took {taken} of"):
        dbnfast.Encoder(Sink(), Metadata("X"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        dbnfast.MixedRecordsError("text", counts={1: 2}),
        dbnfast.UnsupportedVersionError("text", version=9, offset=3),
        dbnfast.MissingExtraError("typer", "cli"),
        dbnfast.InvalidRecordError("text", offset=1, good=dbnfast.scan(TRADES)),
        dbnfast.EncodeError("text", record_index=4),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_between_processes(error: dbnfast.DbnError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    ours, theirs = dict(vars(error)), dict(vars(again))
    for attributes in (ours, theirs):
        if attributes.get("good") is not None:
            attributes["good"] = attributes["good"].tobytes()
    assert theirs == ours


def test_metadata_takes_texts_of_numpy() -> None:
    metadata = Metadata(np.str_("X"), symbols=np.array(["A", "B"]))  # type: ignore[arg-type]
    assert Metadata.decode(metadata.encode()) == metadata


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2600"):
        dbnfast.scan(TRADES).filter(start=np.datetime64("2600-01-01"))
    with pytest.raises(ValueError, match="NaT"):
        Metadata("X", start=np.datetime64("NaT", "ns"))  # type: ignore[arg-type]
    for text in ("202601", "1767571200000000000", "0"):  # of which unit?
        with pytest.raises(ValueError, match=f"start is '{text}', expected ISO 8601"):
            dbnfast.scan(TRADES).filter(start=text)
    for text, day in (
        ("2020", "2020-01-01"),
        ("20201228", "2020-12-28"),
        ("2020-12", "2020-12-01"),
    ):
        assert to_ns("start", text) == int(np.datetime64(day, "ns").astype(int))


def test_an_undefined_time_passes_only_without_bounds() -> None:
    array = dbnfast.empty("trades", 2)
    array["ts_recv"][0] = 5
    records = dbnfast.scan(dbnfast.encode(array, Metadata("X", schema="trades")))
    assert len(records.filter()) == 2
    assert len(records.filter(start=0)) == 1
    assert len(records.filter(end=2**64 - 1)) == 1


def test_private_objects_refuse_to_be_half_made() -> None:
    from dbnfast._core.copy import Program, upgrade
    from dbnfast._core.metadata import Header
    from dbnfast._core.record import Attribute, RecordIterator, RecordTable
    from dbnfast.layouts.programs import SIZES

    with pytest.raises(TypeError):
        _ = Header().dataset  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Header().texts(0)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        upgrade(bytes(16), 16, Program.__new__(Program), bytearray(0), False)
    with pytest.raises(TypeError):
        RecordIterator(dbnfast.scan(TRADES), RecordTable.__new__(RecordTable), SIZES, True)
    with pytest.raises(TypeError):
        dbnfast.TradeMsg.__dict__["price"].__init__("price", 7, 0, 8)
    with pytest.raises(ValueError, match="has 4 bytes"):
        Attribute("x", 7, 44, 4)


def test_character_codes_are_numbers_too() -> None:
    assert operator.index(dbnfast.Action.TRADE) == ord("T")


def test_rows_of_an_array_encode_one_by_one() -> None:
    array = dbnfast.decode(TRADES)
    assert dbnfast.encode(list(array), Metadata("X", schema="trades")) == TRADES


def test_a_cut_is_told_once() -> None:
    with pytest.warns(TruncatedWarning) as caught:
        dbnfast.decode(TRADES[:-1])
    assert len(caught) == 1


def test_threads_share_records_and_have_a_decoder_each() -> None:
    body = b"".join(streams.trades(3) + streams.record(0x42, 24) for _ in range(500))
    records = dbnfast.scan(HEAD + body)
    expected = [bytes(record) for record in records]

    def work(seed: int) -> bool:
        decoder, found, at = Decoder(), [], 0
        stream = HEAD + body
        while at < len(stream):
            size = 17 + 13 * seed + at % 300
            decoder.feed(stream[at : at + size])
            at += size
            found += decoder.read()
        middle = records[seed * 10 : seed * 10 + 700]
        return (
            b"".join(part.tobytes() for part in found) == body
            and [bytes(record) for record in middle] == expected[seed * 10 : seed * 10 + 700]
            and len(records.array("trades")) == 1500
            and sum(map(len, (run for run in records.runs()))) == len(records)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(32)))


@pytest.mark.parametrize("cut", [1, 20, 47])
@pytest.mark.parametrize(
    "data",
    [TRADES, streams.frame(TRADES[:1000]) + streams.frame(TRADES[1000:])],
    ids=["plain", "zstd"],
)
def test_a_cut_that_raises_loses_no_record(data: bytes, cut: int) -> None:
    with pytest.raises(dbnfast.TruncatedError) as caught:
        dbnfast.scan(data[:-cut], on_truncated="raise")
    good = caught.value.good
    assert good is not None
    assert TRADES[128:].startswith(good.tobytes())
    assert len(good) == caught.value.record_index >= (1000 - 128) // 48


def test_a_failing_file_is_closed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trades.dbn"
    path.write_bytes(TRADES)
    reader = dbnfast.iter_decode(path, max_bytes=1020)

    def broken(out: memoryview) -> int:
        raise OSError("the disk is gone")

    monkeypatch.setattr(reader._stream, "fill", broken)
    with pytest.raises(OSError, match="gone"):
        next(reader)
    assert reader._file.closed


@pytest.mark.parametrize("ts_out", [False, True])
def test_old_and_new_bars_of_one_size_are_one_view(ts_out: bool) -> None:
    bars = dbnfast.empty("ohlcv-1d", 4, ts_out=ts_out)
    bars["rtype"][1:3] = 0x11
    metadata = Metadata("X", schema="ohlcv-1d", ts_out=ts_out)
    data = dbnfast.encode(bars, metadata)
    array = dbnfast.scan(data).array("ohlcv-1d")
    assert array.dtype is dbnfast.dtype("ohlcv-1d", ts_out=ts_out)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert array.tobytes() == bars.tobytes()


def test_a_dbz_header_that_claims_gigabytes_is_refused() -> None:
    import io

    claim = b"\x50\x2a\x4d\x18" + b"\xff\xff\xff\x7f" + b"DBZ\x01"
    with pytest.raises(dbnfast.MetadataError, match="at most") as caught:
        dbnfast.iter_decode(io.BytesIO(claim))
    assert caught.value.offset == 4


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: STORE.filter(instrument_ids=1.5), TypeError, "instrument_ids is 1.5"),
        (lambda: STORE.filter(symbols=5), TypeError, "symbols is 5, expected"),
        (lambda: Metadata("X", symbols=5), TypeError, "symbols is 5, expected"),
        (lambda: Metadata("X", partial=5), TypeError, "partial is 5, expected"),
        (lambda: Metadata("X", not_found=5), TypeError, "not_found is 5, expected"),
        (lambda: Metadata("X", mappings=5), TypeError, "mappings is 5, expected"),
        (lambda: Recorder(None), TypeError, "folder is None, expected a path"),
        (lambda: Recorder("x", clock=5), TypeError, "clock is 5, expected a function"),
        (lambda: recover(7), TypeError, "folder is 7, expected a path"),
        (lambda: recover("a\0b"), ValueError, "folder is 'a.x00b'"),
        (lambda: dbnfast.iter_decode("a\0b"), ValueError, "path is 'a.x00b'"),
        (lambda: STORE.to_csv("a\0b"), ValueError, "path is 'a.x00b'"),
        (lambda: STORE.to_parquet("a\0b", partition_by="date"), ValueError, "path is 'a.x00b'"),
        (lambda: Gateway(STORE, keys=["db-12345"], faults=[Cut(9)]), TypeError, r"faults is \[Cut"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
