"""encode and Encoder: what fits is written as it is, what does not is refused with its index."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import EncodeError, Encoder, Metadata, RType
from helpers import streams

METADATA = Metadata(dataset="GLBX.MDP3", schema="trades", start=1)
HEAD = METADATA.encode()


def array(n: int = 5, first: int = 0) -> np.ndarray[Any, Any]:
    """Trades first to first + n - 1."""
    raw = streams.trades(first + n)[48 * first :]
    return np.frombuffer(bytearray(raw), dbnfast.dtype("trades"))


def bars(n: int = 2) -> np.ndarray[Any, Any]:
    return dbnfast.empty("ohlcv-1d", n)


def records(n: int = 5) -> dbnfast.Records:
    return dbnfast.scan(HEAD + streams.trades(n))


# what is written


def test_array() -> None:
    assert dbnfast.encode(array(), METADATA) == HEAD + streams.trades(5)


def test_records() -> None:
    assert dbnfast.encode(records(), METADATA) == HEAD + streams.trades(5)
    assert dbnfast.encode(records()[1:3], METADATA) == HEAD + streams.trades(3)[48:]
    mixed = dbnfast.scan(streams.header(schema=None) + streams.mixed(3))
    assert dbnfast.encode(mixed, METADATA) == HEAD + streams.mixed(3)


def test_record_objects() -> None:
    (first, second) = records(2)
    assert dbnfast.encode(first, METADATA) == HEAD + streams.trade(0)
    assert dbnfast.encode([second, first], METADATA)[128:] == streams.trade(1) + streams.trade(0)
    unknown = dbnfast.Record.from_bytes(streams.record(0x42, 24))
    assert dbnfast.encode(unknown, METADATA)[128:] == streams.record(0x42, 24)


@pytest.mark.parametrize("make", [list, tuple, iter, lambda x: (part for part in x)])
def test_a_sequence_is_written_in_its_order(make: Any) -> None:
    parts = [array(2), bars(1), records(1), records(3)[2], [array(1)]]
    raw = streams.trades(2) + bars(1).tobytes() + streams.trade(0) + streams.trade(2)
    assert dbnfast.encode(make(parts), METADATA) == HEAD + raw + streams.trade(0)


@pytest.mark.parametrize("nothing", [[], array(0), dbnfast.scan(HEAD)], ids=type)
def test_nothing_is_a_header(nothing: Any) -> None:
    assert dbnfast.encode(nothing, METADATA) == HEAD


def test_fragment() -> None:
    assert dbnfast.encode(array(), None) == streams.trades(5)
    old = dbnfast.empty("definition", 1, version=1, ts_out=True)
    assert dbnfast.encode([old, array(1)], None) == old.tobytes() + streams.trade(0)
    assert dbnfast.encode([], None) == b""


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("ts_out", [False, True], ids=["plain", "ts_out"])
@pytest.mark.parametrize("schema", list(dbnfast.Schema), ids=str)
def test_every_schema_round_trips(schema: dbnfast.Schema, version: int, ts_out: bool) -> None:
    metadata = Metadata(dataset="X", schema=schema, version=version, ts_out=ts_out)
    wanted = dbnfast.empty(schema, 3, version=version, ts_out=ts_out)
    wanted["instrument_id"] = [1, 2, 3]
    encoded = dbnfast.encode(wanted, metadata)
    found = dbnfast.decode(encoded)
    assert found.tobytes() == wanted.tobytes()
    assert found.dtype == wanted.dtype
    assert dbnfast.scan(encoded).metadata == metadata


@pytest.mark.parametrize(
    "view",
    [lambda a: a[::2], lambda a: a[::-1], lambda a: a[1:4], lambda a: a.reshape(5, 2)],
    ids=["step", "reversed", "part", "2d"],
)
def test_strided_arrays_are_written_in_order(view: Any) -> None:
    chosen = view(array(10))
    assert dbnfast.encode(chosen, METADATA)[128:] == chosen.tobytes()


def test_read_only_arrays_and_views_are_written() -> None:
    data = HEAD + streams.trades(5)
    assert dbnfast.encode(dbnfast.decode(data), METADATA) == data


# rule 7: what is refused


@pytest.mark.parametrize(
    ("field", "value"), [("length", 0), ("length", 14), ("length", 20), ("rtype", 1)]
)
@pytest.mark.parametrize("index", [0, 1, 63, 64, 99])
def test_headers_that_do_not_fit_the_dtype(field: str, value: int, index: int) -> None:
    wrong = array(100)
    wrong[field][index] = value
    before = wrong.copy()
    with pytest.raises(EncodeError, match=f"record {index} has length") as caught:
        dbnfast.encode(wrong, METADATA)
    assert caught.value.record_index == index
    assert (wrong == before).all()  # never patched


def test_the_index_counts_from_the_first_record_of_all() -> None:
    wrong = array(3)
    wrong["rtype"][2] = 9
    with pytest.raises(EncodeError, match="record 12 has") as caught:
        dbnfast.encode([array(5), records(4), records(1)[0], wrong], METADATA)
    assert caught.value.record_index == 12


def test_the_index_counts_through_nested_sequences() -> None:
    wrong = array(1)
    wrong["rtype"] = 9
    with pytest.raises(EncodeError) as caught:
        dbnfast.encode([[array(5), array(4)], wrong], METADATA)
    assert caught.value.record_index == 9


def test_several_rtypes_of_one_layout_go_together() -> None:
    several = dbnfast.empty("ohlcv-1s", 6)
    several["rtype"] = [32, 33, 34, 35, 36, 17]
    assert dbnfast.encode(several, METADATA)[128:] == several.tobytes()


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_the_message_states_the_length_of_large_records() -> None:
    wrong = dbnfast.empty("mbp-10", 1)
    wrong["rtype"] = 1
    with pytest.raises(EncodeError, match="record 0 has length 368 bytes and rtype 1"):
        dbnfast.encode(wrong, METADATA)


def test_wrong_ts_out() -> None:
    stamped = dbnfast.empty("trades", 1, ts_out=True)
    yes = METADATA.replace(ts_out=True)
    with pytest.raises(EncodeError, match="record 0 has a ts_out, the metadata says False") as e:
        dbnfast.encode(stamped, METADATA)
    assert e.value.record_index == 0
    with pytest.raises(EncodeError, match="record 2 has no ts_out, the metadata says True") as e:
        dbnfast.encode([dbnfast.empty("trades", 2, ts_out=True), array(1)], yes)
    assert e.value.record_index == 2
    with pytest.raises(EncodeError, match="ts_out"):
        dbnfast.encode(records(), yes)
    with pytest.raises(EncodeError, match="has no ts_out"):
        dbnfast.encode(records()[0], yes)
    with pytest.raises(EncodeError, match="has no ts_out"):
        dbnfast.encode(dbnfast.Record.from_bytes(streams.record(0x42, 16)), yes)


@pytest.mark.parametrize(
    ("schema", "version", "to", "name"),
    [
        ("definition", 1, 3, "InstrumentDefMsgV1"),
        ("definition", 2, 3, "InstrumentDefMsgV2"),
        ("definition", 3, 1, "InstrumentDefMsg"),
        ("statistics", 2, 3, "StatMsgV1"),
        (RType.SYSTEM, 3, 1, "SystemMsg"),
    ],
    ids=str,
)
def test_wrong_version(schema: Any, version: int, to: int, name: str) -> None:
    metadata = Metadata(dataset="X", version=to)
    old = dbnfast.empty(schema, 1, version=version)
    for what in (old, dbnfast.Record.from_bytes(old.tobytes())):
        with pytest.raises(EncodeError, match=f"record 0 is a {name} of version") as caught:
            dbnfast.encode(what, metadata)
        assert caught.value.record_index == 0
    run = dbnfast.scan(old.tobytes(), has_metadata=False, input_version=version)
    with pytest.raises(EncodeError, match=f"records are of version {version}"):
        dbnfast.encode(run, metadata)


@pytest.mark.parametrize(
    "what",
    [
        None,
        5,
        "text",
        b"bytes",
        bytearray(4),
        [1],
        [b"x"],
        np.zeros(3),
        np.zeros(3, "u1"),
        [None],
    ],
    ids=repr,
)
def test_what_holds_no_records_is_refused(what: Any) -> None:
    with pytest.raises(TypeError):
        dbnfast.encode(what, METADATA)


@pytest.mark.parametrize("metadata", [b"DBN", "trades", {}, HEAD])
def test_what_is_no_metadata_is_refused(metadata: Any) -> None:
    with pytest.raises(TypeError, match="expected Metadata or None"):
        dbnfast.encode(array(), metadata)
    with pytest.raises(TypeError, match="expected Metadata or None"):
        Encoder(io.BytesIO(), metadata)


@pytest.mark.parametrize("compression", ["gzip", "auto"])
def test_unknown_compression_is_refused(compression: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid Compression"):
        dbnfast.encode(array(), METADATA, compression=compression)
    with pytest.raises(ValueError, match="is not a valid Compression"):
        Encoder(io.BytesIO(), METADATA, compression=compression)


# compression


@pytest.mark.parametrize("compression", ["zstd", dbnfast.Compression.ZSTD])
def test_zstd_is_one_frame_with_a_checksum(compression: Any) -> None:
    encoded = dbnfast.encode([array(3), bars()], METADATA, compression=compression)
    assert encoded[:4] == b"\x28\xb5\x2f\xfd"
    assert encoded[4] & 4  # the checksum flag
    assert streams.zstd.get_frame_size(encoded) == len(encoded)
    assert streams.inflate(encoded) == HEAD + streams.trades(3) + bars().tobytes()


# Encoder


class Sink:
    """A raw writable that takes at most 100 bytes at a time."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: memoryview) -> int:
        taken = bytes(data[:100])
        self.data += taken
        return len(taken)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("kind", ["bytesio", "file", "raw-file", "sink"])
def test_encoder_writes_what_encode_makes(kind: str, compression: str, tmp_path: Path) -> None:
    path = tmp_path / "out.dbn"
    target: Any = {
        "bytesio": io.BytesIO,
        "file": lambda: path.open("wb"),
        "raw-file": lambda: path.open("wb", buffering=0),
        "sink": Sink,
    }[kind]()
    with Encoder(target, METADATA, compression=compression) as encoder:
        encoder.write(array(3))
        encoder.write([bars(), records(2)])
        encoder.write(records(1)[0])
        encoder.write([])
    if kind in ("file", "raw-file"):
        assert not target.closed
        target.close()
        written = path.read_bytes()
    else:
        written = target.getvalue() if kind == "bytesio" else target.data
    plain = streams.inflate(written) if compression == "zstd" else written
    raw = streams.trades(3) + bars().tobytes() + streams.trades(2) + streams.trade(0)
    assert plain == HEAD + raw
    assert dbnfast.scan(written).tobytes() == raw


def test_the_header_is_written_at_once() -> None:
    out = io.BytesIO()
    Encoder(out, METADATA)
    assert out.getvalue() == HEAD
    fragment = io.BytesIO()
    Encoder(fragment, None).write(array(1))
    assert fragment.getvalue() == streams.trade(0)


def test_close_ends_the_stream_once() -> None:
    out = io.BytesIO()
    encoder = Encoder(out, METADATA, compression="zstd")
    encoder.write(array(2))
    encoder.close()
    size = len(out.getvalue())
    encoder.close()
    assert len(out.getvalue()) == size
    with pytest.raises(ValueError, match="the encoder is closed"):
        encoder.write(array(1))
    assert streams.inflate(out.getvalue()) == HEAD + streams.trades(2)


def test_an_error_inside_leaves_the_frame_cut() -> None:
    out = io.BytesIO()
    encoder = Encoder(out, METADATA, compression="zstd")

    def fail_inside() -> None:
        with encoder:
            encoder.write(array(2))
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail_inside()
    with pytest.raises(ValueError, match="closed"):
        encoder.write(array(1))
    with pytest.raises(dbnfast.TruncatedError):
        dbnfast.scan(out.getvalue(), on_truncated="raise")


def test_the_index_goes_on_over_writes() -> None:
    encoder = Encoder(io.BytesIO(), METADATA)
    encoder.write([array(3), records(2)])
    encoder.write(records(1)[0])
    wrong = array(2)
    wrong["length"][1] = 0
    with pytest.raises(EncodeError) as caught:
        encoder.write([array(4), wrong])
    assert caught.value.record_index == 11


def test_the_index_counts_generators() -> None:
    encoder = Encoder(io.BytesIO(), METADATA)
    encoder.write(part for part in [array(3), array(2)])
    wrong = array(1)
    wrong["length"] = 0
    with pytest.raises(EncodeError) as caught:
        encoder.write(wrong)
    assert caught.value.record_index == 5


def test_what_comes_before_an_error_in_a_sequence_is_written() -> None:
    out = io.BytesIO()
    encoder = Encoder(out, METADATA)
    wrong = array(1)
    wrong["rtype"] = 5
    with pytest.raises(EncodeError):
        encoder.write([array(2), wrong, array(2)])
    assert out.getvalue() == HEAD + streams.trades(2)


def test_encoder_refuses_what_it_cannot_write_to() -> None:
    with pytest.raises(TypeError, match="str has no write"):
        Encoder("out.dbn", METADATA)  # type: ignore[arg-type]


# what the output says of its writes


class Silent:
    """An output that says nothing of how much it took: all of it."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: Any) -> None:
        self.taken += bytes(data)


class Full(io.RawIOBase):
    """A non-blocking output that takes nothing now."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        return None


def test_an_output_that_says_nothing_took_all() -> None:
    out = Silent()
    with Encoder(out, METADATA) as encoder:
        encoder.write(array())
    assert out.taken == HEAD + streams.trades(5)


def test_an_output_that_takes_nothing_now() -> None:
    with pytest.raises(BlockingIOError, match="the output is non-blocking and takes no bytes now"):
        Encoder(Full(), METADATA).write(array())


@pytest.mark.parametrize("ts_out", [False, True])
def test_a_record_of_unknown_type_is_written_where_its_ts_out_fits(ts_out: bool) -> None:
    raw = streams.record(0x42, 32, body=b"0123456789abcdef")
    (unknown,) = dbnfast.scan(streams.header(schema=None, ts_out=int(ts_out)) + raw)
    wanted = METADATA.replace(ts_out=ts_out)
    assert dbnfast.encode([unknown], wanted) == wanted.encode() + raw
    with pytest.raises(EncodeError, match="ts_out") as caught:
        dbnfast.encode([unknown], METADATA.replace(ts_out=not ts_out))
    assert caught.value.record_index == 0


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_what_is_flushed_can_be_read(compression: str) -> None:
    out = io.BytesIO()
    metadata = Metadata("X", schema="trades")
    array = dbnfast.empty("trades", 3)
    with dbnfast.Encoder(out, metadata, compression=compression) as encoder:
        for n in range(1, 4):
            encoder.write(array)
            encoder.flush()
            encoder.flush()  # nothing waits
            assert len(dbnfast.scan(out.getvalue(), on_truncated="ignore")) == 3 * n
    assert len(dbnfast.scan(out.getvalue(), on_truncated="raise")) == 9
    with pytest.raises(ValueError, match="the encoder is closed"):
        encoder.flush()
