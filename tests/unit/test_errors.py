"""The errors: their tree, their attributes, and what their messages say."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import errors
from helpers import streams

GOOD = streams.header() + streams.trades(3)
TREE = {
    "DbnError": ("Exception",),
    "DecodeError": ("DbnError", "ValueError"),
    "TruncatedError": ("DecodeError",),
    "InvalidRecordError": ("DecodeError",),
    "MixedRecordsError": ("DecodeError",),
    "DecompressionError": ("DecodeError",),
    "MetadataError": ("DecodeError",),
    "UnsupportedVersionError": ("MetadataError",),
    "EncodeError": ("DbnError", "ValueError"),
    "UnknownNameError": ("DbnError", "ValueError"),
    "LiveError": ("DbnError",),
    "LocalProtocolError": ("LiveError",),
    "RemoteProtocolError": ("LiveError",),
    "AuthenticationError": ("LiveError",),
    "GatewayError": ("LiveError",),
    "ConnectError": ("LiveError", "ConnectionError"),
    "SessionClosed": ("LiveError", "ConnectionError"),
    "HeartbeatTimeout": ("LiveError", "TimeoutError"),
    "BentoHttpError": ("DbnError",),
    "BentoClientError": ("BentoHttpError",),
    "BentoServerError": ("BentoHttpError",),
    "MissingExtraError": ("DbnError", "ImportError"),
    "BentoWarning": ("Warning",),
    "SelectionWarning": ("BentoWarning", "UserWarning"),
    "TruncatedWarning": ("BentoWarning", "UserWarning"),
}


@pytest.mark.parametrize(("name", "bases"), TREE.items())
def test_tree(name: str, bases: tuple[str, ...]) -> None:
    cls = getattr(errors, name)
    assert getattr(dbnfast, name) is cls
    assert tuple(base.__name__ for base in cls.__bases__) == bases


def test_the_tree_is_whole() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert found == {*TREE, "BentoError"}


def test_there_is_one_tree_with_both_names() -> None:
    assert dbnfast.BentoError is dbnfast.DbnError
    with pytest.raises(dbnfast.BentoError):
        dbnfast.decode(b"")


@pytest.mark.parametrize(
    ("make", "attributes"),
    [
        (lambda: errors.DecodeError("x"), {"offset": None, "record_index": None}),
        (
            lambda: errors.TruncatedError("x", offset=1, record_index=2, needed=3, available=4),
            {"offset": 1, "record_index": 2, "needed": 3, "available": 4},
        ),
        (
            lambda: errors.InvalidRecordError("x", offset=1, record_index=2, length=8, rtype=0),
            {"offset": 1, "record_index": 2, "length": 8, "rtype": 0, "good": None},
        ),
        (lambda: errors.MixedRecordsError("x", counts={0: 2}), {"counts": {0: 2}, "offset": None}),
        (lambda: errors.DecompressionError("x", offset=9), {"offset": 9, "good": None}),
        (
            lambda: errors.UnsupportedVersionError("x", version=4, offset=3),
            {"version": 4, "offset": 3, "record_index": None},
        ),
        (lambda: errors.EncodeError("x", record_index=5), {"record_index": 5}),
    ],
    ids=lambda value: "" if not isinstance(value, dict) else "-".join(value),
)
def test_attributes(make: Callable[[], Exception], attributes: dict[str, Any]) -> None:
    error = make()
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert str(error) == "x"


def test_a_gateway_error_has_its_code() -> None:
    error = errors.GatewayError("Internal error", dbnfast.ErrorCode.INTERNAL_ERROR)
    assert (error.code, error.message) == (6, "Internal error")
    assert "internal_error: Internal error" in str(error)


def test_a_missing_library_names_its_extra() -> None:
    error = errors.MissingExtraError("pandas", "pandas")
    assert error.extra == "pandas"
    assert str(error) == (
        "pandas is not installed; it comes with the extra: pip install 'dbnfast[pandas]'"
    )


DETAIL = {"detail": {"case": "auth", "message": "no such key", "docs": "https://d"}}


@pytest.mark.parametrize("headers", [None, {"request-id": "7"}])
@pytest.mark.parametrize("name", ["BentoClientError", "BentoServerError"])
def test_errors_of_http_show_what_the_official_ones_show(name: str, headers: Any) -> None:
    official = pytest.importorskip("databento.common.error")
    shown = [repr(getattr(p, name)(400, message="m", headers=headers)) for p in (errors, official)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("name", ["BentoHttpError", "BentoClientError", "BentoServerError"])
@pytest.mark.parametrize(
    "arguments",
    [
        {
            "http_status": 401,
            "http_body": b"{}",
            "json_body": DETAIL,
            "headers": {"request-id": "7"},
        },
        {"http_status": 504, "message": "The remote gateway timed out.", "http_body": b"no\xffutf"},
        {"http_status": 422, "json_body": {"detail": "bad"}, "message": "bad"},
        {"http_status": 500},
    ],
    ids=["detail", "body", "text", "bare"],
)
def test_errors_of_requests_say_what_the_official_ones_say(
    name: str, arguments: dict[str, Any]
) -> None:
    official = pytest.importorskip("databento.common.error")
    mine, theirs = getattr(errors, name)(**arguments), getattr(official, name)(**arguments)
    assert str(mine) == str(theirs)
    for attribute in ("http_status", "json_body", "message", "headers", "request_id"):
        assert getattr(mine, attribute) == getattr(theirs, attribute)
    copy = pickle.loads(pickle.dumps(mine))
    assert (str(copy), vars(copy)) == (str(mine), vars(mine))


TRADE_SHORT = streams.record(0, 40)
CASES: dict[str, tuple[bytes, str]] = {
    "short-trade": (
        streams.header() + streams.trade(0) + TRADE_SHORT,
        "record 1 at byte 176 of rtype mbp-0 has a length of 40 bytes, expected 48 or more",
    ),
    "no-header": (
        streams.header() + streams.trade(0) + bytes([2]) + bytes(15),
        "record 1 at byte 176 has a length of 8 bytes, expected 16 or more",
    ),
    "short-trade-with-ts-out": (
        streams.header(ts_out=1) + streams.trade(0),
        "record 0 at byte 128 of rtype mbp-0 with ts_out has a length of 48 bytes, "
        "expected 56 or more",
    ),
    "empty": (b"", "the stream is empty: expected a metadata header at byte 0"),
    "cut-metadata": (streams.header()[:100], "metadata at byte 0 needs 128 bytes, 100 are there"),
    "magic": (b"\x00" * 200, r"expected b'DBN' at byte 0, found b'\x00\x00\x00'"),
    "version": (
        b"DBN\x04" + bytes(200),
        "DBN version at byte 3 is 4, expected 1 to 3: a newer release of dbnfast may read it",
    ),
    "version-0": (b"DBN\x00" + bytes(200), "DBN version at byte 3 is 0, expected 1 to 3"),
    "schema": (
        streams.header()[:24] + b"\x63\x00" + streams.header()[26:],
        "schema at byte 24 is 99, an unknown code",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_messages_say_what_where_expected_and_found(name: str) -> None:
    data, message = CASES[name]
    with pytest.raises(dbnfast.DecodeError) as caught:
        dbnfast.scan(data)
    assert str(caught.value) == message
    # every number that names a place is an attribute
    named = re.search(r"at byte (\d+)", message)
    assert named is not None
    assert caught.value.offset == int(named[1])


CSV = "this looks like CSV, which from_csv and dbnfast convert read"
JSON = "this looks like JSON, which from_json and dbnfast convert read"
FOREIGN = {
    "gzip": (gzip.compress(streams.header()), "this is gzip data; decompress it first"),
    "zip": (b"PK\x03\x04" + bytes(30), "this is zip data; decompress it first"),
    "xz": (lzma.compress(b"x"), "this is xz data; decompress it first"),
    "bzip2": (bz2.compress(b"x"), "this is bzip2 data; decompress it first"),
    "parquet": (b"PAR1" + bytes(30), "this is Parquet, which pyarrow reads"),
    "feather": (b"ARROW1\0\0" + bytes(30), "this is Arrow, which pyarrow reads"),
    "arrow": (b"\xff\xff\xff\xff" + bytes(30), "this is Arrow, which pyarrow reads"),
    "csv": (
        b"ts_event,rtype\n1,2\n",
        CSV,
    ),
    "any-csv": (b"a,b,c\n1,2,3\n", CSV),
    "json": (
        b'{"hd":{"rtype":0}}\n',
        JSON,
    ),
    "text": (b"<html><body>Not found", "this looks like text"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
def test_data_of_other_formats_is_named(name: str, packed: bool) -> None:
    data, text = FOREIGN[name]
    said = f"expected b'DBN' at byte 0, found {data[:3]!r}: {text}"
    if packed:
        data = streams.frame(data)

    def feed() -> None:
        decoder = dbnfast.Decoder()
        decoder.feed(data)
        decoder.read()

    ways: list[Any] = [
        lambda: dbnfast.scan(data),
        lambda: dbnfast.iter_decode(io.BytesIO(data)),
        lambda: dbnfast.read(data),
        feed,
    ]
    if not packed:
        ways.append(lambda: dbnfast.Metadata.decode(data))
    for way in ways:
        with pytest.raises(dbnfast.MetadataError) as caught:
            way()
        assert str(caught.value) == said
        assert caught.value.offset == 0


def test_mixed_records_are_counted_in_the_message() -> None:
    data = streams.header(schema=None) + streams.trades(2) + streams.record(0x42, 16)
    with pytest.raises(dbnfast.MixedRecordsError) as caught:
        dbnfast.decode(data)
    assert str(caught.value) == (
        "one array was asked for, the records are 2 mbp-0, 1 of rtype 0x42; "
        "name a schema, or use split()"
    )
    assert caught.value.counts == {0: 2, 0x42: 1}


def of_iter_decode(path: Path) -> object:
    return list(dbnfast.iter_decode(path, on_truncated="raise"))


def of_store(path: Path) -> object:
    return list(dbnfast.read(str(path), on_truncated="raise"))


@pytest.mark.parametrize("road", [of_iter_decode, of_store])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the stream is empty"),
        (b"no DBN at all", "expected b'DBN'"),
        (GOOD[:50], "metadata at byte 0 needs"),
        (GOOD + bytes(48), "record 3 at byte"),
        (GOOD[:-1], "record 2 at byte"),
        (streams.frame(GOOD)[:-10], "the zstd frame at compressed byte 0"),
    ],
)
def test_errors_of_files_name_them(
    data: bytes, text: str, road: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "some.dbn"
    path.write_bytes(data)
    with pytest.raises(dbnfast.DecodeError) as caught:
        road(path)
    error = caught.value
    assert error.path == str(path)
    assert re.match(rf"{re.escape(str(path))}: ({text})", str(error))
    assert str(error).count(str(path)) == 1
    again = pickle.loads(pickle.dumps(error))
    assert (again.path, str(again)) == (error.path, str(error))


def test_an_error_that_is_raised_again_names_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "some.dbn"
    path.write_bytes(GOOD + bytes(48))
    reader = dbnfast.iter_decode(path)
    assert len(next(reader)) == 3
    for _ in range(2):
        with pytest.raises(dbnfast.InvalidRecordError) as caught:
            next(reader)
        assert str(caught.value).count(str(path)) == 1


def test_a_cut_file_is_named_in_the_warning(tmp_path: Path) -> None:
    path = tmp_path / "some.dbn"
    path.write_bytes(GOOD[:-1])
    with pytest.warns(dbnfast.TruncatedWarning, match=rf"^{re.escape(str(path))}: record 2 at"):
        list(dbnfast.iter_decode(path))


@pytest.mark.parametrize("read", [dbnfast.from_csv, dbnfast.from_json])
def test_errors_of_text_name_the_file(read: Callable[[Any], object], tmp_path: Path) -> None:
    pytest.importorskip("msgspec")
    path = tmp_path / "some.txt"
    path.write_text("no record")
    for source in (path, path.read_bytes()):
        with pytest.raises(dbnfast.DecodeError) as caught:
            read(source)
        assert caught.value.path == (str(path) if source is path else None)
        assert (str(path) in str(caught.value)) == (source is path)


def test_memory_has_no_path() -> None:
    with pytest.raises(dbnfast.InvalidRecordError) as caught:
        dbnfast.read(GOOD + bytes(48)).records()
    assert caught.value.path is None
    assert str(caught.value).startswith("record 3 at byte")


def test_what_is_no_buffer() -> None:
    for call in (dbnfast.scan, dbnfast.decode, dbnfast.Metadata.decode, dbnfast.Decoder().feed):
        with pytest.raises(TypeError, match=r"^int is no bytes-like object$"):
            call(3)  # type: ignore[arg-type]
