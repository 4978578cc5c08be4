"""Every golden file decodes to what the manifest says, by every road; damage is named exactly."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import DecodeError, Records, TruncatedWarning
from helpers import streams
from helpers.places import FIXTURES, golden

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)

FILES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
SOUND = sorted(name for name, entry in FILES.items() if "expect" not in entry)
DAMAGED = sorted(name for name, entry in FILES.items() if "expect" in entry)
IN_PIECES = [name for name in SOUND if FILES[name]["format"] != "dbz"]

# The official object of a record longer than its struct is its beginning only.
LONG = {name for name in SOUND if Path(name).name.startswith("long-records")}
OFFICIAL = [name for name in SOUND if FILES[name]["official"] and name not in LONG]

# Where the manifest and the package follow different conventions:
# - cut metadata: the manifest gives the size of the input, the package offset 0 with that size
#   in `available`;
# - damaged compression: the manifest gives no offset, the package that of the compressed frame.


def options(entry: dict[str, Any]) -> dict[str, Any]:
    """What a caller says of a fragment."""
    if entry["format"] != "fragment":
        return {}
    return {
        "has_metadata": False,
        "input_version": entry["version"],
        "ts_out": entry["ts_out"],
    }


def content(name: str) -> tuple[bytes, bytes]:
    """A file, and the bytes of its good records, decompressed without the package."""
    data = golden(name).read_bytes()
    entry = FILES[name]
    if entry["format"] == "dbz":
        behind = 8 + int.from_bytes(data[4:8], "little")
        return data, streams.inflate(data[behind:])
    plain = streams.inflate(data) if entry["compression"] == "zstd" else data
    return data, plain[entry["records_offset"] :]


def check_records(records: Records, entry: dict[str, Any], raw: bytes) -> None:
    assert records.tobytes() == raw
    assert len(records) == entry["n_records"]
    assert {str(int(rtype)): n for rtype, n in records.counts.items()} == entry["counts"]
    assert records.version == entry["version"]
    assert records.ts_out is entry["ts_out"]
    if entry["format"] == "fragment":
        assert records.metadata is None
    else:
        assert records.metadata is not None
        assert records.metadata.version == entry["version"]
        assert records.metadata.schema == entry["schema"]
        assert records.metadata.ts_out is entry["ts_out"]


@pytest.mark.parametrize("name", SOUND)
def test_scan_finds_every_record(name: str) -> None:
    data, raw = content(name)
    entry = FILES[name]
    records = dbnfast.scan(data, **options(entry))
    check_records(records, entry, raw)
    sizes: dict[str, set[int]] = {}
    for rec in streams.walk(raw):
        sizes.setdefault(str(rec[1]), set()).add(len(rec))
    assert {rtype: sorted(found) for rtype, found in sizes.items()} == entry["sizes"]


@pytest.mark.parametrize("name", OFFICIAL)
def test_bytes_and_fields_are_those_of_the_official_decoder(name: str) -> None:
    pytest.importorskip("databento_dbn")
    data, _ = content(name)
    entry = FILES[name]
    theirs = streams.official(data, compression=entry["compression"], **options(entry))
    if entry["format"] != "fragment":
        theirs = theirs[1:]
    if len(theirs) > 100:
        theirs = theirs[::97]  # bytes are compared whole; objects are slow
        ours = dbnfast.scan(data, **options(entry))[::97]
    else:
        ours = dbnfast.scan(data, **options(entry))
    assert ours.tobytes() == b"".join(bytes(record) for record in theirs)
    for mine, other in zip(ours.objects(upgrade=False), theirs, strict=True):
        streams.assert_same_record(mine, other)


@pytest.mark.parametrize("name", SOUND)
def test_split_has_every_record_once(name: str) -> None:
    data, raw = content(name)
    entry = FILES[name]
    arrays = dbnfast.split(data, **options(entry))
    assert {str(int(rtype)) for rtype in arrays} == set(entry["counts"])
    for rtype, array in arrays.items():
        own = [rec for rec in streams.walk(raw) if rec[1] == int(rtype)]
        if isinstance(rtype, dbnfast.RType):
            assert len(array) == entry["counts"][str(int(rtype))]
            ids = [int.from_bytes(rec[4:8], "little") for rec in own]
            assert array["instrument_id"].tolist() == ids
            if len({len(rec) for rec in own}) == 1 and array.dtype.itemsize == len(own[0]):
                assert array.tobytes() == b"".join(own)
        else:
            assert array.tobytes() == b"".join(own)


@pytest.mark.parametrize("feed", ["bytes", "get_buffer"])
@pytest.mark.parametrize("name", IN_PIECES)
def test_decoder_in_random_pieces_gives_the_same(name: str, feed: str) -> None:
    data, raw = content(name)
    entry = FILES[name]
    largest = 200 if len(data) < 10_000 else 5_000
    got = streams.run(streams.random_pieces(data, name, largest), feed, eof=True, **options(entry))
    assert got.error is None
    assert got.records == raw
    assert got.n == entry["n_records"]
    assert got.decoder.pending == 0
    if entry["format"] == "dbn":
        assert got.decoder.metadata == dbnfast.scan(data).metadata


@pytest.mark.parametrize("name", [name for name in SOUND if name not in IN_PIECES])
def test_decoder_refuses_dbz(name: str) -> None:
    data, _ = content(name)
    got = streams.run([data])
    assert type(got.error) is dbnfast.MetadataError
    assert got.n == 0


@pytest.mark.parametrize("name", SOUND)
def test_iter_decode_in_small_blocks_gives_the_same(name: str) -> None:
    data, raw = content(name)
    entry = FILES[name]
    with dbnfast.iter_decode(io.BytesIO(data), max_bytes=1020, **options(entry)) as reader:
        if entry["format"] != "fragment":
            assert reader.metadata == dbnfast.scan(data).metadata
        blocks = list(reader)
    assert b"".join(block.tobytes() for block in blocks) == raw
    assert sum(map(len, blocks)) == entry["n_records"]
    assert all(block.nbytes <= 1020 and len(block) for block in blocks)


# Readers accept texts that no writer makes: without room for the NUL, or not ASCII.
UNWRITABLE = [name for name in SOUND if name.startswith(("metadata-symbol-full", "metadata-utf8"))]


@pytest.mark.parametrize("name", UNWRITABLE)
def test_encode_refuses_texts_that_writers_refuse(name: str) -> None:
    records = dbnfast.scan(golden(name).read_bytes())
    with pytest.raises(dbnfast.EncodeError):
        dbnfast.encode(records, records.metadata)


@pytest.mark.parametrize(
    "name",
    [name for name in SOUND if FILES[name]["format"] == "dbn" and name not in UNWRITABLE],
)
def test_encode_makes_the_stream_again(name: str) -> None:
    data, raw = content(name)
    records = dbnfast.scan(data)
    assert records.metadata is not None
    again = dbnfast.encode(records, records.metadata)
    assert again[-len(raw) :] == raw or raw == b""
    round_trip = dbnfast.scan(again)
    assert round_trip.tobytes() == raw
    assert round_trip.metadata == records.metadata


# damage


def check_error(error: DecodeError, name: str, expect: dict[str, Any]) -> None:
    assert type(error).__name__ == expect["error"]
    if expect["error"] == "TruncatedError":  # only of metadata
        assert error.offset == 0
        if not name.endswith(".zst"):
            assert error.available == expect["offset"]
        assert error.record_index is None
    elif expect["error"] == "DecompressionError":
        frames = len(golden(name).read_bytes())
        assert error.offset is not None
        assert 0 < error.offset < frames
    else:
        assert error.offset == expect["offset"]
        assert error.record_index == expect["record_index"]


def good_records(name: str) -> bytes:
    """The bytes of the records before the damage."""
    entry = FILES[name]
    data = golden(name).read_bytes()
    if entry["records_offset"] is None:
        return b""
    if entry["compression"] == "zstd":
        # what comes out before the damage; pieces of the frame itself are of no concern here
        sound = (FIXTURES / "zstd-one-frame.v3.dbn.zst").read_bytes()
        data = streams.inflate(sound)
    raw = data[entry["records_offset"] :]
    found, at = b"", 0
    for _ in range(entry["expect"]["good"]):
        size = raw[at] * 4
        found += raw[at : at + size]
        at += size
    return found


OPEN = [name for name in DAMAGED if FILES[name]["expect"]["when"] == "open"]
BROKEN = [
    name
    for name in DAMAGED
    if FILES[name]["expect"]["when"] == "records" and FILES[name]["expect"]["error"]
]
CUT = [name for name in DAMAGED if FILES[name]["expect"]["warning"]]
LATE = [name for name in DAMAGED if FILES[name]["expect"]["when"] in ("symbols", "mappings")]


def test_every_damaged_file_is_of_one_kind() -> None:
    assert sorted([*OPEN, *BROKEN, *CUT, *LATE]) == DAMAGED


@pytest.mark.parametrize("name", OPEN)
def test_scan_refuses_damaged_metadata(name: str) -> None:
    data = golden(name).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedWarning)
        with pytest.raises(DecodeError) as caught:
            dbnfast.scan(data)
    check_error(caught.value, name, FILES[name]["expect"])


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("piecewise", [False, True], ids=["whole", "byte-by-byte"])
def test_decoder_refuses_damaged_metadata_for_ever(name: str, piecewise: bool) -> None:
    data = golden(name).read_bytes()
    pieces = streams.byte_by_byte(data) if piecewise else [data]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedWarning)
        got = streams.run(pieces, eof=True)
    assert got.n == 0
    assert got.decoder.metadata is None
    assert got.error is not None
    assert type(got.error).__name__ == FILES[name]["expect"]["error"]
    if not isinstance(got.error, dbnfast.TruncatedError):
        assert got.error.offset == FILES[name]["expect"]["offset"]
    for _ in range(2):
        with pytest.raises(type(got.error)) as again:
            got.decoder.read()
        assert again.value is got.error


@pytest.mark.parametrize("name", OPEN)
def test_iter_decode_refuses_damaged_metadata(name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        dbnfast.iter_decode(golden(name))
    check_error(caught.value, name, FILES[name]["expect"])


@pytest.mark.parametrize("name", BROKEN)
def test_scan_names_the_damaged_record(name: str) -> None:
    entry = FILES[name]
    with pytest.raises(DecodeError) as caught:
        dbnfast.scan(golden(name).read_bytes())
    check_error(caught.value, name, entry["expect"])
    good = caught.value.good  # type: ignore[attr-defined]
    check_records(good, entry, good_records(name))


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("piecewise", [False, True], ids=["whole", "byte-by-byte"])
def test_decoder_gives_good_records_then_the_error_for_ever(name: str, piecewise: bool) -> None:
    data = golden(name).read_bytes()
    expect = FILES[name]["expect"]
    got = streams.run(streams.byte_by_byte(data) if piecewise else [data])
    assert got.error is not None
    check_error(got.error, name, expect)
    assert got.error.good is None  # type: ignore[attr-defined]
    good = good_records(name)
    if expect["error"] == "DecompressionError":
        # a checksum stands behind what it covers: piecewise, that came out already
        assert got.records.startswith(good)
    else:
        assert got.records == good
    for _ in range(2):
        with pytest.raises(type(got.error)) as again:
            got.decoder.read()
        assert again.value is got.error


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("max_bytes", [1020, 64 << 20], ids=["small", "default"])
def test_iter_decode_gives_good_records_then_the_error(name: str, max_bytes: int) -> None:
    entry = FILES[name]
    found, error = streams.read_blocks(dbnfast.iter_decode(golden(name), max_bytes=max_bytes))
    assert error is not None
    check_error(error, name, entry["expect"])
    assert found == good_records(name)


def check_cut(error: dbnfast.TruncatedError, name: str) -> None:
    expect = FILES[name]["expect"]
    assert (error.offset, error.record_index) == (expect["offset"], expect["record_index"])


@pytest.mark.parametrize("name", CUT)
def test_scan_warns_of_a_cut_and_delivers_the_rest(name: str) -> None:
    data = golden(name).read_bytes()
    with pytest.warns(TruncatedWarning) as caught:
        records = dbnfast.scan(data)
    assert len(caught) == 1
    check_records(records, FILES[name], good_records(name))
    with pytest.raises(dbnfast.TruncatedError) as raised:
        dbnfast.scan(data, on_truncated="raise")
    check_cut(raised.value, name)
    assert dbnfast.scan(data, on_truncated="ignore").tobytes() == records.tobytes()


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("piecewise", [False, True], ids=["whole", "byte-by-byte"])
def test_decoder_warns_of_a_cut_once(name: str, piecewise: bool) -> None:
    data = golden(name).read_bytes()
    with pytest.warns(TruncatedWarning) as caught:
        got = streams.run(streams.byte_by_byte(data) if piecewise else [data], eof=True)
    assert len(caught) == 1
    assert got.error is None
    assert got.records == good_records(name)
    assert got.decoder.read() == []


@pytest.mark.parametrize("name", CUT)
def test_iter_decode_warns_of_a_cut(name: str) -> None:
    with pytest.warns(TruncatedWarning) as caught:
        blocks = list(dbnfast.iter_decode(golden(name), max_bytes=1020))
    assert len(caught) == 1
    assert b"".join(block.tobytes() for block in blocks) == good_records(name)
    with pytest.raises(dbnfast.TruncatedError) as raised:
        list(dbnfast.iter_decode(golden(name), max_bytes=1020, on_truncated="raise"))
    check_cut(raised.value, name)


@pytest.mark.parametrize("name", LATE)
def test_a_damaged_list_raises_when_asked_for(name: str) -> None:
    entry = FILES[name]
    data = golden(name).read_bytes()
    records = dbnfast.scan(data)
    check_records(records, entry, good_records(name))
    metadata = records.metadata
    assert metadata is not None
    asked = (
        ["mappings"]
        if entry["expect"]["when"] == "mappings"
        else ["symbols", "partial", "not_found"]
    )
    for _ in range(2):  # a failure is not remembered as a result
        with pytest.raises(dbnfast.MetadataError) as caught:
            [getattr(metadata, attribute) for attribute in asked]
        assert caught.value.offset == entry["expect"]["offset"]
    others = {"symbols", "partial", "not_found", "mappings"} - set(asked)
    assert all(len(getattr(metadata, attribute)) > 0 for attribute in others)
