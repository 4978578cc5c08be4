"""JSON lines and CSV back into records; the official package writes the text."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import InvalidRecordError, RType
from dbnfast._core import parse
from dbnfast._core.lines import LinePlan
from dbnfast.enums import SCHEMA_RTYPES
from dbnfast.text import input as text_input
from dbnfast.text import shapes as json_shapes
from dbnfast.text.csv import CsvParser, from_csv, iter_csv
from dbnfast.text.json import JsonLines, from_json, iter_json
from dbnfast.text.json_lines import JsonParser
from helpers import streams, texts
from helpers.places import FIXTURES, REAL, golden

pytest.importorskip("databento_dbn")
pytest.importorskip("msgspec")

U64_MAX = 2**64 - 1
UNDEF_PRICE = 2**63 - 1
READERS: dict[str, Callable[..., dbnfast.Records]] = {"json": from_json, "csv": from_csv}
ITERATORS: dict[str, Callable[..., Iterator[dbnfast.Records]]] = {
    "json": iter_json,
    "csv": iter_csv,
}
HEAD = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,"
    "ts_in_delta,sequence"
)
ROW = "2,1,0,1,5482,T,B,0,3702.750000000,1,130,-5,145885"
TRADE = (
    '{"ts_recv":"2","hd":{"ts_event":"1","rtype":0,"publisher_id":1,"instrument_id":5482},'
    '"action":"T","side":"B","depth":0,"price":"3702.750000000","size":1,"flags":130,'
    '"ts_in_delta":-5,"sequence":145885}'
)


def fixture_names() -> list[str]:
    if not (FIXTURES / "MANIFEST.json").is_file():
        return []
    files = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
    return sorted(
        name
        for name, entry in files.items()
        if entry.get("official") and entry["format"] == "dbn" and "expect" not in entry
        if entry["compression"] == "none" and not name.startswith("truncated")
    )


NAMES = fixture_names()
OF_SEVERAL_VERSIONS = [name for name in NAMES if name.startswith("mixed-versions")]
OF_ONE_VERSION = [name for name in NAMES if name not in OF_SEVERAL_VERSIONS]
REAL_NAMES = sorted(str(path.relative_to(REAL)) for path in REAL.rglob("*.dbn.zst"))


def forms(records: dbnfast.Records, data: bytes) -> Iterator[tuple[str, bool, bytes]]:
    """Every text of a stream: its encoding, whether it is pretty, and itself."""
    # the official CSV is of one schema, and leaves out what early files have under other rtypes
    assert records.metadata is not None
    schema = records.metadata.schema
    is_csv = schema is not None and set(records.counts) <= {SCHEMA_RTYPES[schema]}
    for encoding in ("json", "csv") if is_csv else ("json",):
        for pretty in (True, False):
            yield encoding, pretty, texts.transcode(data, encoding, pretty)


def carried(records: dbnfast.Records, pretty: bool) -> bytes:
    return b"".join(
        texts.carried(bytes(record), records.ts_out, pretty)
        for record in records.objects(upgrade=False)
    )


def csv_of(*rows: str, head: str = HEAD) -> bytes:
    return "".join(f"{row}\n" for row in (head, *rows)).encode()


def json_with(**changes: Any) -> bytes:
    """The trade as a line, fields of its header or itself changed, or dropped where ``...``."""
    line = json.loads(TRADE)
    for name, value in changes.items():
        place = line["hd"] if name in line["hd"] else line
        if value is ...:
            del place[name]
        else:
            place[name] = value
    return json.dumps(line).encode() + b"\n"


def csv_with(**changes: str) -> bytes:
    row = dict(zip(HEAD.split(","), ROW.split(","), strict=True))
    assert changes.keys() <= row.keys()
    return csv_of(",".join((row | changes).values()))


# --- round trips ------------------------------------------------------------------------------


@pytest.mark.skipif(not NAMES, reason="the golden files are not here")
def test_there_are_golden_files_of_all_schemas() -> None:
    stems = {name.partition(".")[0] for name in OF_ONE_VERSION}
    assert {str(schema) for schema in dbnfast.Schema} <= stems
    assert len(OF_SEVERAL_VERSIONS) >= 3


@pytest.mark.parametrize("name", OF_ONE_VERSION)
def test_golden_files_come_back(name: str) -> None:
    data = golden(name).read_bytes()
    records = dbnfast.scan(data, on_truncated="ignore")
    n = 0
    for encoding, pretty, text in forms(records, data):
        got = READERS[encoding](text, metadata=records.metadata)
        assert got.tobytes() == carried(records, pretty), (encoding, pretty)
        assert (got.version, got.ts_out) == (records.version, records.ts_out)
        assert got.metadata is records.metadata
        n += 1
    assert n >= 2


@pytest.mark.parametrize("name", OF_SEVERAL_VERSIONS)
def test_older_records_come_back_as_the_version_of_the_metadata(name: str) -> None:
    # reading the text of an old record is upgrading it
    data = golden(name).read_bytes()
    records = dbnfast.scan(data)
    upgraded = records.upgrade(records.version)
    for pretty in (True, False):
        got = from_json(texts.transcode(data, "json", pretty), metadata=records.metadata)
        assert got.tobytes() == carried(upgraded, pretty)


@pytest.mark.parametrize("name", OF_ONE_VERSION)
def test_text_tells_ts_out_by_itself(name: str) -> None:
    data = golden(name).read_bytes()
    records = dbnfast.scan(data, on_truncated="ignore")
    for encoding, pretty, text in forms(records, data):
        got = READERS[encoding](text, version=records.version)
        if len(got):
            assert got.ts_out == records.ts_out
        if records.version == 1 or len(records) == 0:
            continue
        assert got.tobytes() == carried(records, pretty)
        assert got.metadata is None


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_definitions_tell_their_version(version: int, encoding: str) -> None:
    array = dbnfast.empty("definition", 3, version=version)
    array["raw_symbol"] = [b"ESH1", b"a,b", b'say "x"']
    records = dbnfast.scan(
        streams.header(version, "definition", n_text=71 if version > 1 else None) + array.tobytes()
    )
    data = streams.header(version, "definition") + array.tobytes()
    got = READERS[encoding](texts.transcode(data, encoding, True))
    assert got.version == max(version, 2)
    expected = records if version > 1 else records.upgrade(2)
    assert got.tobytes() == carried(expected, True)
    assert got.array("definition")["raw_symbol"].tolist() == [b"ESH1", b"a,b", b'say "x"']
    # a version that is named is made, whatever the text shows
    made = READERS[encoding](texts.transcode(data, encoding, True), version=1)
    assert made.array().dtype == dbnfast.dtype("definition", version=1)


def test_definitions_of_versions_2_and_3_in_one_text() -> None:
    lines = []
    for version in (3, 2, 3):
        data = streams.header(version, "definition")
        data += dbnfast.empty("definition", 1, version=version).tobytes()
        lines.append(texts.transcode(data, "json", True))
    got = from_json(b"".join(lines))
    assert [len(bytes(record)) for record in got.objects(upgrade=False)] == [520, 400, 520]
    assert got.version == 2
    blocks = list(iter_json(b"".join(lines), max_bytes=1))
    assert [block.version for block in blocks] == [3, 2, 2]
    assert b"".join(block.tobytes() for block in blocks) == got.tobytes()


@pytest.mark.skipif(not REAL_NAMES, reason="there are no real files: testdata is absent")
@pytest.mark.parametrize("name", REAL_NAMES)
def test_real_files_come_back(name: str) -> None:
    records = dbnfast.scan((REAL / name).read_bytes())[:20_000]
    assert records.metadata is not None
    data = records.metadata.encode() + records.tobytes()
    for encoding, pretty, text in forms(records, data):
        got = READERS[encoding](text, metadata=records.metadata)
        assert got.tobytes() == carried(records, pretty), (encoding, pretty)


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize("pretty", [True, False])
def test_every_int64_price_comes_back(encoding: str, pretty: bool) -> None:
    prices = [-(2**63), -(2**63) + 1, 2**63 - 2, 2**63 - 1, 0, 1, -1, 10**9, -(10**9) - 1]
    prices += [sign * (10**k + d) for k in range(19) for d in (-1, 0, 1) for sign in (1, -1)]
    array = dbnfast.empty("trades", len(prices))
    array["price"] = prices
    text = texts.transcode(streams.header() + array.tobytes(), encoding, pretty)
    assert READERS[encoding](text).array()["price"].tolist() == prices


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize("pretty", [True, False])
def test_every_uint64_time_comes_back(encoding: str, pretty: bool) -> None:
    rng = np.random.default_rng(5)
    times = [1, 10**9 - 1, 10**9, 2**63 - 1, 2**63, U64_MAX - 1, U64_MAX]
    times += [int(time) for time in rng.integers(1, U64_MAX, 3000, np.uint64)]
    # the ends of all days of a leap year, a common one and two centuries' turns
    for year in ("1970", "1972", "2000", "2100", "2400"):
        days = np.arange(f"{year}-01-01", f"{int(year) + 1}-01-01", dtype="M8[D]")
        times += [int(day) * 86_400 * 10**9 - 1 for day in days.astype(np.int64) if day > 0]
    array = dbnfast.empty("trades", len(times))
    array["ts_event"] = times
    text = texts.transcode(streams.header() + array.tobytes(), encoding, pretty)
    assert READERS[encoding](text).array()["ts_event"].tolist() == times


@pytest.mark.parametrize("encoding", READERS)
def test_every_character_comes_back(encoding: str) -> None:
    array = dbnfast.empty("trades", 256)
    array["action"] = np.arange(256, dtype=np.uint8).view("S1")
    array["side"] = array["action"][::-1]
    text = texts.transcode(streams.header() + array.tobytes(), encoding, True)
    got = READERS[encoding](text)
    assert got.tobytes() == array.tobytes()


@pytest.mark.parametrize("encoding", READERS)
def test_every_raw_byte_comes_back(encoding: str) -> None:
    # the official package writes this field as it is: what then is no JSON cannot be read
    codes = [byte for byte in range(256) if encoding == "csv" or byte not in b'"\\' or not byte]
    array = dbnfast.empty("definition", len(codes), version=2)
    array["user_defined_instrument"] = np.array(codes, np.uint8).view("S1")
    text = texts.transcode(streams.header(2, "definition") + array.tobytes(), encoding, True)
    assert READERS[encoding](text).tobytes() == array.tobytes()


@pytest.mark.parametrize("encoding", READERS)
def test_texts_of_all_kinds_come_back(encoding: str) -> None:
    symbols = [
        b"ESH1", b"", b" a b ", b"a,b", b'"', b'a""b', b"a\nb", b"a\r\nb", b"\r", b"\\x41\\'\\",
        b"/\x01\x1f\x7f", "é€😀\u2028\x85".encode(), b"x" * 70, b"null", b"\xef\xbb\xbf",
    ]  # fmt: skip
    array = dbnfast.empty("definition", len(symbols))
    array["raw_symbol"] = symbols
    array["underlying"] = symbols[::-1]
    array["underlying"][0] = b""
    array["group"] = b"tail"
    data = streams.header(3, "definition") + array.tobytes()
    records = dbnfast.scan(data)
    got = READERS[encoding](texts.transcode(data, encoding, True))
    assert got.tobytes() == carried(records, True)
    assert got.array()["raw_symbol"].tolist() == symbols


# --- forms of values --------------------------------------------------------------------------

PRICES: tuple[tuple[str, int], ...] = (
    ("3702.750000000", 3702750000000),
    ("3702.75", 3702750000000),
    ("3702750000000", 3702750000000),
    ("-0.000000001", -1),
    ("+1.5", 1500000000),
    ("-0.0", 0),
    ("0.0000000010000000000000000000000", 1),
    ("000000000000000000000000000001.5", 1500000000),
    ("9223372036.854775807", UNDEF_PRICE),
    ("-9223372036.854775808", -(2**63)),
    ("--9223372036.-854775808", -(2**63)),
    ("-9223372036854775808", -(2**63)),
    ("1e-9", 1),
    ("1.5E+3", 1500000000000),
    ("1000000000000e-12", 1000000000),
    ("0e99999999999999999999", 0),
    ("", UNDEF_PRICE),
)
NO_PRICES: tuple[tuple[str, str], ...] = (
    ("1.0000000001", "has more than 9 decimals"),
    ("1e-10", "has more than 9 decimals"),
    ("0.12345678901234567890123", "has more than 9 decimals"),
    ("9223372036.854775808", "is out of range"),
    ("-9223372036.854775809", "is out of range"),
    ("9223372036854775808", "is out of range"),
    ("99999999999999999999999999", "is out of range"),
    ("1e99999999999999999999", "is out of range"),
    ("1" + "0" * 400 + ".5", "is out of range"),
    ("1.", "cannot be read"),
    (".5", "cannot be read"),
    (".", "cannot be read"),
    ("-", "cannot be read"),
    ("1.2.3", "cannot be read"),
    ("1e", "cannot be read"),
    ("1e1.5", "cannot be read"),
    ("1 ", "cannot be read"),
    ("1_000", "cannot be read"),
    ("0x10", "cannot be read"),
    ("nan", "cannot be read"),
    ("inf", "cannot be read"),
    ("--1.5", "cannot be read"),
    ("\u0661", "cannot be read"),  # a digit, but of another script
)
TIMES: tuple[tuple[str, int], ...] = (
    ("2020-12-28T00:00:00.246507011Z", 1609113600246507011),
    ("2020-12-28T00:00:00.2465Z", 1609113600246500000),
    ("2020-12-28T00:00:00Z", 1609113600000000000),
    ("2020-12-28 00:00:00.246507011+00:00", 1609113600246507011),
    ("2020-12-28T00:00:00+00:00", 1609113600000000000),
    ("2020-12-28T00:00:00+00", 1609113600000000000),
    ("2020-12-27 19:00:00.246507011-05:00", 1609113600246507011),
    ("2020-12-28 05:30:00+05:30", 1609113600000000000),
    ("2020-12-28T05:45:00+0545", 1609113600000000000),
    ("1969-12-31 19:00:00-05:00", 0),
    ("2554-07-22 00:34:33.709551614+01:00", U64_MAX - 1),
    ("1609113600246507011", 1609113600246507011),
    ("1970-01-01T00:00:00Z", 0),
    ("2554-07-21T23:34:33.709551614Z", U64_MAX - 1),
    ("2024-02-29T23:59:59.999999999Z", 1709251199999999999),
    ("18446744073709551615", U64_MAX),
    ("0", 0),
    ("", U64_MAX),
)
NO_TIMES: tuple[tuple[str, str], ...] = (
    ("2023-02-29T00:00:00Z", "is no date"),
    ("2100-02-29T00:00:00Z", "is no date"),
    ("2020-13-01T00:00:00Z", "is no date"),
    ("2020-00-01T00:00:00Z", "is no date"),
    ("2020-04-31T00:00:00Z", "is no date"),
    ("2020-04-00T00:00:00Z", "is no date"),
    ("2020-01-01T24:00:00Z", "is no date"),
    ("2020-01-01T00:60:00Z", "is no date"),
    ("2020-01-01T00:00:60Z", "is no date"),
    ("1969-12-31T23:59:59Z", "is out of range"),
    ("2554-07-21T23:34:33.709551616Z", "is out of range"),
    ("2554-07-21T23:34:34Z", "is out of range"),
    ("9999-12-31T23:59:59Z", "is out of range"),
    ("1970-01-01T00:59:59+01:00", "is out of range"),
    ("2554-07-21T23:34:33-01:00", "is out of range"),
    ("1968-12-31T23:59:59-05:00", "is out of range"),
    ("18446744073709551616", "is out of range"),
    ("-1", "is out of range"),
    ("2020-12-28T00:00:00.0000000000Z", "has more than 9 decimals"),
    ("2020-12-28T00:00:00", "cannot be read"),
    ("2020-12-28T00:00:00.Z", "cannot be read"),
    ("2020-12-28T00:00:00.5", "cannot be read"),
    ("2020-12-28T00:00:00+", "cannot be read"),
    ("2020-12-28T00:00:00+1", "cannot be read"),
    ("2020-12-28T00:00:00+1:00", "cannot be read"),
    ("2020-12-28T00:00:00+01:0", "cannot be read"),
    ("2020-12-28T00:00:00+01-00", "cannot be read"),
    ("2020-12-28T00:00:00+24:00", "cannot be read"),
    ("2020-12-28T00:00:00+01:60", "cannot be read"),
    ("2020-12-28T00:00:00+01:00Z", "cannot be read"),
    ("2020-12-28T00:00:00Z+01", "cannot be read"),
    ("2020-12-28T00:00:00Z ", "cannot be read"),
    ("2020-12-28", "cannot be read"),
    ("2020-12-28x00:00:00Z", "cannot be read"),
    ("2020-12-2 T00:00:00Z", "cannot be read"),
    ("1.5", "cannot be read"),
)


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize(("text", "value"), PRICES)
def test_price(text: str, value: int, encoding: str) -> None:
    data = csv_with(price=text) if encoding == "csv" else json_with(price=text)
    assert READERS[encoding](data).array()["price"].tolist() == [value]


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize(("text", "why"), NO_PRICES)
def test_no_price(text: str, why: str, encoding: str) -> None:
    data = csv_with(price=text) if encoding == "csv" else json_with(price=text)
    with pytest.raises(
        InvalidRecordError, match=rf"^line \d at byte \d+: price .* {why}, expected "
    ):
        READERS[encoding](data)


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize(("text", "value"), TIMES)
def test_time(text: str, value: int, encoding: str) -> None:
    data = csv_with(ts_recv=text) if encoding == "csv" else json_with(ts_recv=text)
    assert READERS[encoding](data).array()["ts_recv"].tolist() == [value]


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize(("text", "why"), NO_TIMES)
def test_no_time(text: str, why: str, encoding: str) -> None:
    data = csv_with(ts_event=text) if encoding == "csv" else json_with(ts_event=text)
    with pytest.raises(InvalidRecordError, match=rf"ts_event '.*' {why}, expected ns of 64 bits"):
        READERS[encoding](data)


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("3702750000000", 3702750000000),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", UNDEF_PRICE),
        ("3702.75", 3702750000000),
        ("3702.750000001", 3702750000001),
        ("9223372036.854775806", 2**63 - 2),
        ("-1e-9", -1),
        ("5E0", 5000000000),
        ("null", UNDEF_PRICE),
    ],
)
def test_json_numbers_are_exact_prices(number: str, value: int) -> None:
    line = TRADE.replace('"3702.750000000"', number).encode()
    assert from_json(line).array()["price"].tolist() == [value]


def test_json_numbers_are_exact_times_and_integers() -> None:
    line = json_with(ts_recv=U64_MAX - 1, ts_event=2**63, size="7", ts_in_delta="-2147483648")
    array = from_json(line).array()
    assert array["ts_recv"].tolist() == [U64_MAX - 1]
    assert array["ts_event"].tolist() == [2**63]
    assert array["size"].tolist() == [7]
    assert array["ts_in_delta"].tolist() == [-(2**31)]


@pytest.mark.parametrize(
    ("text", "byte"),
    [
        ("T", b"T"), (r"\t", b"\t"), (r"\n", b"\n"), (r"\r", b"\r"), (r"\'", b"'"), (r"\\", b"\\"),
        ("\\", b"\\"), (r"\x80", b"\x80"), (r"\xfF", b"\xff"), (r"\x00", b"\0"), ("é", b"\xe9"),
        ("", b"\0"), (" ", b" "),
    ],
)  # fmt: skip
def test_character(text: str, byte: bytes) -> None:
    # the escape of a character is its text in both, so that JSON may escape it once more
    for records in (from_csv(csv_with(action=text)), from_json(json_with(action=text))):
        assert records.tobytes()[28:29] == byte


@pytest.mark.parametrize("text", ["TT", r"\q", r"\x4", r"\xg0", r"\x411", "€", "😀", "éé"])
def test_no_character(text: str) -> None:
    for reader, data in (
        (from_csv, csv_with(action=text)),
        (from_json, json_with(action=text)),
    ):
        with pytest.raises(InvalidRecordError, match="cannot be read, expected one character"):
            reader(data)


def test_the_vendors_escapes_that_json_has_not() -> None:
    line = TRADE.replace('"action":"T"', r'"action":"\'"').replace('"side":"B"', r'"side":"\x9c"')
    sound = TRADE.encode()
    records = from_json(b"\n".join([sound, line.encode(), sound]) + b"\n")
    array = records.array()
    assert array["action"].tolist() == [b"T", b"'", b"T"]
    assert array["side"].tolist() == [b"B", b"\x9c", b"B"]
    # a backslash that is escaped escapes nothing
    line = TRADE.replace('"action":"T"', r'"action":"\x41","symbol":"\\\\x \\\\\' \\"')
    assert from_json(line.encode()).array()["action"].tolist() == [b"A"]


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("size", 2**32, "4294967296 is out of range, expected an integer from 0 to 4294967295"),
        ("size", -1, "-1 is out of range"),
        ("size", "1.5", "'1.5' cannot be read"),
        ("size", True, "True is of the wrong type"),
        ("size", [1], r"\(list\) is of the wrong type"),
        ("size", {}, r"\(dict\) is of the wrong type"),
        ("size", 10**50, "of more than 128 bits is out of range"),
        ("ts_in_delta", 2**31, "2147483648 is out of range, expected an integer from -2147483648"),
        ("depth", "256", "'256' is out of range, expected an integer from 0 to 255"),
        ("action", 5, "5 is of the wrong type, expected one character"),
        ("price", -(2**63) - 1, "-9223372036854775809 is out of range"),
        ("price", 2**64, "18446744073709551616 is out of range"),
        ("ts_event", -1, "-1 is out of range"),
        ("instrument_id", "x" * 100, "'" + "x" * 60 + r"'\.\.\. cannot be read"),
        ("publisher_id", 65536, "65536 is out of range"),
    ],
)
def test_wrong_values_in_json(field: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidRecordError, match=rf"^line 1 at byte 0: {field} {why}"):
        from_json(json_with(**{field: value}))


@pytest.mark.parametrize(
    ("symbol", "why"),
    [
        ("x" * 71, "is too long, expected text of up to 70 bytes"),
        ("é" * 36, "is too long, expected text of up to 70 bytes"),
        ("a\0b", "has a NUL inside, expected text of up to 70 bytes"),
    ],
)
def test_wrong_texts(symbol: str, why: str) -> None:
    line = {"hd": {"rtype": 19}, "raw_symbol": symbol}
    with pytest.raises(InvalidRecordError, match=f"raw_symbol .* {why}"):
        from_json(json.dumps(line).encode())
    with pytest.raises(InvalidRecordError, match=f"raw_symbol .* {why}"):
        from_csv(f"rtype,raw_symbol\n19,{symbol}\n".encode())
    assert len(from_csv(b"rtype,raw_symbol\n19," + b"x" * 70)) == 1


# --- what is there and what is not ------------------------------------------------------------


@pytest.mark.parametrize("schema", list(dbnfast.Schema))
def test_what_is_missing_is_undefined(schema: dbnfast.Schema) -> None:
    expected = dbnfast.empty(schema, 2)
    codes = expected["rtype"].tolist()
    lines = b"".join(b'{"hd":{"rtype":%d}}\n' % code for code in codes)
    assert from_json(lines).tobytes() == expected.tobytes()
    assert from_csv(b"rtype,nothing\n%d,\n%d,\n" % tuple(codes)).tobytes() == expected.tobytes()
    # without an rtype the schema says it
    assert from_json(b"{}\n{}\n", schema=schema).tobytes() == expected.tobytes()
    assert from_csv(b"sequence,ts_event\n0,\n,\n", schema=str(schema))[0].rtype == codes[0]


def test_what_is_null_is_undefined_and_characters_are_nul() -> None:
    nulls = {name: None for name in HEAD.split(",")[5:]}
    expected = dbnfast.empty("trades", 1)
    expected["action"] = expected["side"] = b"\0"
    line = {"hd": {"rtype": 0, "ts_event": None}, **nulls}
    assert from_json(json.dumps(line).encode()).tobytes() == expected.tobytes()
    assert from_csv(csv_of(",,0" + "," * 10)).tobytes() == expected.tobytes()


def test_key_order_is_free_and_unknown_keys_are_passed_over() -> None:
    line = json.loads(TRADE)
    head = line.pop("hd")
    turned = dict(reversed([*line.items(), ("hd", head | {"length": 5})]))
    flat = {"new": [{"a": 1}], **dict(reversed(line.items())), **head, "symbol": "ESH1"}
    expected = from_json(TRADE.encode()).tobytes()
    lines = [json.dumps(turned), TRADE, json.dumps(flat), json.dumps(flat | {"hd": None})]
    assert from_json("\n".join(lines).encode()).tobytes() == expected * 4
    columns = dict(zip(HEAD.split(","), ROW.split(","), strict=True)) | {"new": "x", "other": "y"}
    names = sorted(columns)
    row = ",".join(columns[name] for name in names)
    assert from_csv(csv_of(row, head=",".join(names))).tobytes() == expected


def test_the_last_of_equal_keys_counts() -> None:
    line = TRADE.replace('"size":1', '"size":1,"size":9')
    assert from_json(line.encode()).array()["size"].tolist() == [9]


def test_levels() -> None:
    pair = {"bid_px": "1.0", "ask_px": 2, "bid_sz": 3, "ask_sz": 4, "bid_ct": 5, "ask_ct": 6}
    line = {"hd": {"rtype": 10}, "levels": [pair, {"ask_sz": 9}]}
    array = from_json(json.dumps(line).encode()).array("mbp-10")
    assert array["bid_px_00"].tolist() == [10**9]
    assert array["ask_px_00"].tolist() == [2]
    assert array["ask_ct_00"].tolist() == [6]
    assert array["ask_sz_01"].tolist() == [9]
    assert array["bid_px_01"].tolist() == array["bid_px_09"].tolist() == [UNDEF_PRICE]
    flat = {"rtype": 1, **{f"{name}_00": value for name, value in pair.items()}}
    one = {"rtype": 1, "levels": [pair]}
    both = from_json(f"{json.dumps(flat)}\n{json.dumps(one)}".encode())
    assert both.tobytes() == 2 * from_json(json.dumps(one).encode()).tobytes()
    with pytest.raises(InvalidRecordError, match="levels are 2, expected 1"):
        from_json(json.dumps({"rtype": 1, "levels": [pair, pair]}).encode())
    with pytest.raises(InvalidRecordError, match=r"no JSON object of a record: .*levels"):
        from_json(json.dumps({"rtype": 1, "levels": [None]}).encode())


def test_old_messages_get_the_code_that_their_words_imply() -> None:
    old = streams.header(1, None)
    for rtype in (0x15, 0x17):
        for text in (
            b"Heartbeat", b"Finished replay", b"Internal error", b"Internal error.",
            b"Failed to resolve symbol X", b"", "Größe".encode(),
        ):  # fmt: skip
            old += streams.record(rtype, 80, body=text.ljust(64, b"\0"))
    records = dbnfast.scan(old)
    text = texts.transcode(old, "json", True)
    assert b"code" not in text
    assert from_json(text).tobytes() == carried(records.upgrade(3), True)
    assert from_json(text, version=1).tobytes() == carried(records, True)
    errors = from_json(text).array(RType.ERROR)
    assert errors["code"].tolist() == [255, 255, 6, 255, 4, 255, 255]
    assert set(errors["is_last"].tolist()) == {255}
    # a code that is there stays
    line = b'{"rtype":23,"msg":"Heartbeat","code":3}\n{"rtype":23,"code":2}\n{"rtype":23}'
    assert from_json(line).array()["code"].tolist() == [3, 2, 255]
    assert from_csv(b"rtype,msg,code\n23,Heartbeat,\n23,x,1\n").array()["code"].tolist() == [0, 1]


def test_statistics_quantities_as_numbers_and_texts() -> None:
    lines = [{"rtype": 24, "quantity": value} for value in (7, "7", 2**31 - 1, str(2**31 - 1))]
    text = "\n".join(map(json.dumps, lines)).encode()
    # only old versions write numbers, and theirs is undefined at 2**31 - 1
    wide = from_json(text)
    assert wide.array()["quantity"].tolist() == [7, 7, 2**63 - 1, 2**31 - 1]
    narrow = from_json(text, version=2)
    assert narrow.version == 2
    assert narrow.array().dtype == dbnfast.dtype("statistics", version=2)
    assert narrow.array()["quantity"].tolist() == [7, 7, 2**31 - 1, 2**31 - 1]


def test_ts_out_is_as_the_first_record_has_it() -> None:
    stamped = json_with(ts_out="7")
    plain = json_with()
    got = from_json(stamped + plain)
    assert got.ts_out
    assert got.array()["ts_out"].tolist() == [7, U64_MAX]
    with pytest.raises(InvalidRecordError, match=r"line 2 .* ts_out is here, the first") as caught:
        from_json(plain + stamped)
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == from_json(plain).tobytes()
    assert from_json(plain + stamped, ts_out=True).array()["ts_out"].tolist() == [U64_MAX, 7]
    assert from_json(stamped + stamped, ts_out=False).tobytes() == 2 * from_json(plain).tobytes()
    text = csv_of(ROW + ",7", head=HEAD + ",ts_out")
    assert from_csv(text).array()["ts_out"].tolist() == [7]
    assert from_csv(text, ts_out=False).tobytes() == from_csv(csv_of(ROW)).tobytes()
    assert from_csv(csv_of(ROW), ts_out=True).array()["ts_out"].tolist() == [U64_MAX]


def test_mixed_rtypes_keep_their_order() -> None:
    data = streams.header(3, None)
    for i in range(40):
        data += streams.trade(i)
        data += streams.record(0x17, 320, body=b"Heartbeat".ljust(303, b"\0") + b"\0")
        if i % 3:
            data += streams.record(0x21, 56, instrument_id=i)
    records = dbnfast.scan(data)
    got = from_json(texts.transcode(data, "json", True))
    assert got.counts == records.counts
    assert got.tobytes() == carried(records, True)
    rows = b"rtype,instrument_id,open,price\n33,1,1.5,\n0,2,,2.5\n32,3,3.5,\n0,4,,4.5\n"
    mixed = from_csv(rows)
    assert [record.instrument_id for record in mixed] == [1, 2, 3, 4]
    assert mixed.array("trades")["price"].tolist() == [2500000000, 4500000000]
    assert mixed.array("ohlcv-1m")["open"].tolist() == [1500000000]


# --- errors -----------------------------------------------------------------------------------


def test_a_bad_line_is_named_and_the_good_ones_are_there() -> None:
    good = json_with()
    text = good + b"\n  \r\n" + good + json_with(price="x") + good
    with pytest.raises(InvalidRecordError) as caught:
        from_json(text)
    error = caught.value
    offset = 2 * len(good) + 5
    assert str(error).startswith(f"line 5 at byte {offset}: price 'x' cannot be read, expected a")
    assert (error.offset, error.record_index) == (offset, 2)
    assert error.good is not None
    assert error.good.tobytes() == 2 * from_json(good).tobytes()


def test_a_bad_row_is_named_and_the_good_ones_are_there() -> None:
    head = HEAD + ",symbol"
    rows = (ROW + ',"a\nb\r\n""c"', "", ROW + ",x", ROW.replace("3702.75", "3702,75") + ",x", ROW)
    text = csv_of(*rows, head=head)
    with pytest.raises(InvalidRecordError) as caught:
        from_csv(text)
    error = caught.value
    offset = len(csv_of(*rows[:3], head=head))
    assert str(error) == f"line 7 at byte {offset}: has 15 fields, the header 14"
    assert (error.offset, error.record_index) == (offset, 2)
    assert error.good is not None
    assert error.good.tobytes() == 2 * from_csv(csv_of(ROW)).tobytes()


def test_the_first_of_several_errors_counts() -> None:
    lines = [json_with(), json_with(size="a"), json_with(price="b"), b"{\n", json_with(rtype=66)]
    for n_good in range(1, len(lines)):
        text = b"".join([json_with()] * 3 + lines[n_good:])
        with pytest.raises(InvalidRecordError, match=r"^line 4 ") as caught:
            from_json(text)
        assert caught.value.record_index == 3
    text = csv_of(ROW, ROW.replace("130", "x"), ROW.replace(",T,", ",TT,"), ROW + ",")
    with pytest.raises(InvalidRecordError, match=r"line 3 .*: flags 'x'"):
        from_csv(text)


def test_errors_in_mixed_lines_keep_the_order() -> None:
    good = json_with() + b'{"rtype":23,"msg":"a"}\n'
    text = good * 3 + b'{"rtype":23,"msg":"a","code":"x"}\n' + json_with(size="y") + good
    with pytest.raises(InvalidRecordError, match=r"line 7 .*: code 'x'") as caught:
        from_json(text)
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == from_json(good * 3).tobytes()
    with pytest.raises(InvalidRecordError, match=r"line 7 .*: size 'y'") as caught:
        from_json(text.replace(b'"code":"x"', b'"code":1')[: -len(good)].replace(good, good, 1)
                  .replace(b'{"rtype":23,"msg":"a","code":1}\n', b""))  # fmt: skip
    assert caught.value.record_index == 6


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "no JSON object of a record"),
        (b"[]", "no JSON object of a record: Expected `object`"),
        (b"1", "no JSON object"),
        (b"{}{}", "no JSON object"),
        (b'{"hd":3}', r"no JSON object of a record: .*\$\.hd"),
        (b'{"rtype":[0]}', r"no JSON object of a record: .*\$\.rtype"),
        (b'{"rtype":0.5}', "no JSON object of a record"),
        (b'{"rtype":true}', "no JSON object of a record"),
        (b'{"rtype":0,"price":"\xff\xfe"}', "no JSON object of a record"),
        (b'{"rtype":0,"price":"\\ud800"}', "no JSON object of a record"),
        (b'{"rtype":0,"price":' + b"9" * 5000 + b"}", r"no JSON object of a record: .*\$\.price"),
        (b'{"rtype":0,"price":' + b"[" * 100_000, "no JSON object of a record"),
        (b'{"rtype":0,"x":' + b'{"a":' * 100_000, "no JSON object of a record"),
        (b"{}", "there is no rtype; name the schema"),
        (b'{"hd":{}}', "there is no rtype; name the schema"),
        (b'{"rtype":66}', "rtype 66 has no layout"),
        (b'{"rtype":256}', "rtype 256 is none, expected 0 to 255"),
        (b'{"rtype":-1}', "rtype -1 is none"),
        (b'{"rtype":"x"}', "rtype 'x' is none"),
        (b'{"rtype":"' + b"1" * 9999 + b'"}', r"rtype '1+'\.\.\. is none"),
        (b"\x28\xb5\x2f", "no JSON object"),
    ],
)
def test_lines_that_are_no_records(line: bytes, why: str) -> None:
    for good in (b"", json_with() * 2):
        with pytest.raises(InvalidRecordError, match=why) as caught:
            from_json(good + line + b"\n" + json_with())
        assert caught.value.offset == len(good)
        assert caught.value.good is not None
        assert len(caught.value.good) == (2 if good else 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"1,2,3\n", "line 1 at byte 0: the header names no field of a record"),
        (b"\n\nprice,price\n1,2\n", "line 3 at byte 2: the header names price twice"),
        (b"price\n1\n", "line 1 at byte 0: the header: there is no rtype; name the schema"),
        (b"rtype,price\n,1\n", "line 2 at byte 12: there is no rtype; name the schema"),
        (b"rtype,price\n0,1\n66,1\n0\n", "line 3 at byte 16: rtype 66 has no layout"),
        (b"rtype,price\n0,1\n0\n66,1\n", "line 3 at byte 16: has 1 fields, the header 2"),
        (b"rtype\n0.0\n", "line 2 at byte 6: rtype '0.0' is none"),
        (b'rtype,x\n0,1\n0,"a"b\n', "line 3 at byte 12: no CSV: ',' expected"),
        (b'rtype,x\n0,1\n0,"a\nb\n', "line 3 at byte 12: no CSV: unexpected end of data"),
        (b'"rtype', "line 1 at byte 0: no CSV: unexpected end of data"),
        (b"rtype,x\n0,1\n0," + b"x" * 200_000, "line 3 at byte 12: no CSV: field larger"),
    ],
)
def test_rows_that_are_no_records(text: bytes, why: str) -> None:
    with pytest.raises(InvalidRecordError, match=f"^{re.escape(why)}") as caught:
        from_csv(text)
    assert caught.value.good is not None
    assert len(caught.value.good) == text.count(b"0,1\n")


@pytest.mark.parametrize("encoding", READERS)
def test_a_line_without_end(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_input, "MAX_LINE", 50_000)
    monkeypatch.setattr(text_input, "PIECE", 10_000)
    good = json_with() if encoding == "json" else csv_of(ROW)
    endless = b'{"price":' * 60_000 if encoding == "json" else b'"' + b"x\n" * 60_000
    with pytest.raises(InvalidRecordError, match=r"line . at byte .*: does not end") as caught:
        READERS[encoding](good + endless)
    assert caught.value.offset == len(good)
    assert caught.value.good is not None
    assert len(caught.value.good) == 1


@pytest.mark.parametrize("encoding", READERS)
def test_a_dbn_stream_is_no_text(encoding: str) -> None:
    with pytest.raises(dbnfast.DecodeError, match="this is a DBN stream"):
        READERS[encoding](streams.header() + streams.trades(2))
    with pytest.raises(dbnfast.DecodeError, match="this is a DBN stream"):
        READERS[encoding](streams.frame(streams.header() + streams.trades(2)))


@pytest.mark.parametrize("encoding", READERS)
def test_what_is_no_text_is_named(encoding: str) -> None:
    for data, text in (
        (gzip.compress(b"rtype\n"), "this is gzip data; decompress it first"),
        (b"PAR1" + bytes(20), "this is Parquet, which pyarrow reads"),
    ):
        for part in (data, streams.frame(data)):
            with pytest.raises(dbnfast.DecodeError, match=f"^expected text at byte 0.*{text}"):
                READERS[encoding](part)


@pytest.mark.parametrize("encoding", READERS)
def test_wrong_arguments(encoding: str) -> None:
    reader = READERS[encoding]
    metadata = dbnfast.scan(streams.header(2, "trades")).metadata
    with pytest.raises(ValueError, match="version is 4, expected 1, 2 or 3"):
        reader(b"", version=4)
    with pytest.raises(ValueError, match="version is 1, the metadata's is 2"):
        reader(b"", version=1, metadata=metadata)
    with pytest.raises(ValueError, match="ts_out is True, the metadata's is False"):
        reader(b"", ts_out=True, metadata=metadata)
    with pytest.raises(ValueError, match="neither a schema nor an rtype"):
        reader(b"", schema="nothing")
    with pytest.raises(TypeError, match="metadata is str, expected Metadata"):
        reader(b"", metadata="v3")
    with pytest.raises(TypeError, match="int is no path, bytes-like or readable"):
        reader(5)
    with pytest.raises(FileNotFoundError):
        reader("/no/such/file")
    with pytest.raises(ValueError, match="max_bytes is 0, expected 1 or more"):
        ITERATORS[encoding](b"", max_bytes=0)


# --- sources ----------------------------------------------------------------------------------


def texts_of_trades(n: int) -> dict[str, bytes]:
    data = streams.header() + streams.trades(n)
    return {encoding: texts.transcode(data, encoding, True) for encoding in READERS}


@pytest.mark.parametrize("encoding", READERS)
def test_every_kind_of_source(encoding: str, tmp_path: Path) -> None:
    text = texts_of_trades(50)[encoding]
    expected = streams.trades(50)
    path = tmp_path / "text"
    path.write_bytes(text)
    packed = tmp_path / "packed"
    packed.write_bytes(streams.skippable() + streams.frame(text[:999]) + streams.frame(text[999:]))
    reader = READERS[encoding]
    sources: list[Any] = [path, str(path), packed, packed.read_bytes(), io.BytesIO(text)]
    sources += [make(text) for make in streams.BUFFERS.values()]
    sources += [io.StringIO(text.decode(), newline="")]
    for source in sources:
        assert reader(source).tobytes() == expected, type(source)
    with path.open(newline="") as readable:
        assert reader(readable).tobytes() == expected
        assert not readable.closed
    with packed.open("rb", buffering=0) as raw:
        assert reader(raw).tobytes() == expected


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize("max_bytes", [1, 7, 300, 5000, 1 << 20])
def test_pieces_give_what_the_whole_gives(encoding: str, max_bytes: int) -> None:
    array = dbnfast.empty("definition", 40)
    array["raw_symbol"] = [b'a\n"%d", ' % i for i in range(40)]
    data = streams.header(3, "definition") + array.tobytes()
    text = texts.transcode(data, encoding, True)
    for source in (text, streams.frame(text), text.replace(b"\n{", b"\r\n{").rstrip(b"\n")):
        with ITERATORS[encoding](source, max_bytes=max_bytes) as blocks:
            found = list(blocks)
        assert b"".join(block.tobytes() for block in found) == carried(dbnfast.scan(data), True)
        assert all(len(block) for block in found)
        if max_bytes == 300:
            assert len(found) >= 10


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize("max_bytes", [1, 400, 1 << 20])
def test_iteration_gives_what_is_good_and_then_raises_again(encoding: str, max_bytes: int) -> None:
    text = texts_of_trades(30)[encoding]
    lines = text.splitlines(keepends=True)
    lines[20] = lines[20].replace(b"T", b"TTT")
    at = sum(map(len, lines[:20]))
    blocks = ITERATORS[encoding](b"".join(lines), max_bytes=max_bytes)
    found, error = streams.read_blocks(blocks)
    n = 20 - (encoding == "csv")
    assert found == streams.trades(n)
    assert isinstance(error, InvalidRecordError)
    assert str(error).startswith(f"line 21 at byte {at}: ")
    assert (error.offset, error.record_index, error.good) == (at, n, None)
    with pytest.raises(InvalidRecordError) as caught:
        next(blocks)
    assert caught.value is error


@pytest.mark.parametrize("encoding", READERS)
def test_damaged_and_cut_compression(encoding: str, tmp_path: Path) -> None:
    text = texts_of_trades(3000)[encoding]
    packed = streams.frame(text[:9000]) + streams.frame(text[9000:60_000], text[60_000:])
    with pytest.raises(dbnfast.TruncatedError, match="the zstd frame at compressed byte") as cut:
        READERS[encoding](packed[:-10])
    assert cut.value.good is not None
    assert len(cut.value.good) >= 10
    assert streams.trades(3000).startswith(cut.value.good.tobytes())
    damaged = bytearray(packed)
    damaged[-1] ^= 1  # of the checksum
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    with pytest.raises(dbnfast.DecompressionError) as caught:
        READERS[encoding](path)
    assert caught.value.good is not None
    assert streams.trades(3000).startswith(caught.value.good.tobytes())


class _Failing(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        got = super().read(size)
        if not got:
            raise OSError("the line went dead")
        return got


def test_errors_of_the_source_come_behind_the_records() -> None:
    blocks = iter_json(_Failing(json_with() * 5), max_bytes=100)
    assert sum(len(next(blocks)) for _ in range(5)) == 5
    for _ in range(2):
        with pytest.raises(OSError, match="dead"):
            next(blocks)
    with pytest.raises(OSError, match="dead"):
        from_json(_Failing(json_with()))


def test_a_stream_that_is_not_ready() -> None:
    class NotReady:
        def read(self, n: int) -> None:
            return None

    with pytest.raises(BlockingIOError):
        from_csv(NotReady())  # type: ignore[arg-type]


def test_closing_ends_the_iteration(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(json_with() * 5)
    blocks = iter_json(path, max_bytes=1)
    assert len(next(blocks)) == 1
    blocks.close()
    assert list(blocks) == []


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n\r\n"])
def test_line_ends_and_marks(encoding: str, mark: bytes, end: bytes) -> None:
    text = texts_of_trades(3)[encoding]
    for line_end in (b"\n", b"\r\n", b"\n\r\n\n"):
        body = text.rstrip(b"\n").replace(b"\n", line_end)
        assert READERS[encoding](mark + body + end).tobytes() == streams.trades(3)
    with pytest.raises(InvalidRecordError) as caught:
        READERS[encoding](mark + text + b"x")
    assert caught.value.offset == len(mark) + len(text)


@pytest.mark.parametrize("encoding", READERS)
@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_nothing(encoding: str, text: bytes) -> None:
    records = READERS[encoding](text)
    assert (len(records), records.version, records.ts_out, records.metadata) == (0, 3, False, None)
    assert list(ITERATORS[encoding](text)) == []
    metadata = dbnfast.scan(streams.header(1, "mbo", ts_out=1)).metadata
    records = READERS[encoding](text, metadata=metadata)
    assert records.array().dtype == dbnfast.dtype("mbo", version=1, ts_out=True)


def test_only_a_header() -> None:
    for text in (HEAD.encode(), HEAD.encode() + b"\n", HEAD.encode() + b"\r\n\r\n"):
        assert len(from_csv(text)) == 0
    assert from_csv((HEAD + ",ts_out\n").encode()).ts_out


def test_records_are_sealed() -> None:
    for records in (from_json(json_with() * 2), from_csv(csv_of(ROW, ROW))):
        assert records.data.readonly
        assert not records.array().flags.writeable
        with pytest.raises(ValueError):
            records.array().flags.writeable = True
        raw = records._owner.source.obj
        assert not raw.flags.writeable
        assert raw.base is None


# --- JsonLines --------------------------------------------------------------------------------


def test_json_lines_come_in_pieces() -> None:
    data = streams.header(3, None) + streams.trade(0) + streams.trades(5)
    text = texts.transcode(data, "json", True)
    lines = text.splitlines(keepends=True)
    feed = JsonLines()
    got = [feed.push(piece) for piece in (lines[0], b"", b"".join(lines[1:4]), bytearray(lines[4]))]
    assert [len(records) for records in got] == [1, 0, 3, 1]
    assert got[2].tobytes() == streams.trades(3)
    with pytest.raises(InvalidRecordError) as caught:
        feed.push(lines[5] + b"{\n")
    at = sum(map(len, lines[:6]))
    assert str(caught.value).startswith(f"line 7 at byte {at}: ")
    assert (caught.value.offset, caught.value.record_index) == (at, 6)
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == streams.trade(4)
    # the next call begins behind what the failing one was given
    assert len(feed.push(lines[0].rstrip())) == 1
    with pytest.raises(TypeError):
        feed.push("{}")  # type: ignore[arg-type]


def test_json_lines_keep_metadata_and_options() -> None:
    metadata = dbnfast.scan(streams.header(2, "statistics", ts_out=1)).metadata
    records = JsonLines(metadata=metadata).push(b'{"quantity":5,"ts_out":9}\n')
    assert records.metadata is metadata
    assert records.array().dtype == dbnfast.dtype("statistics", version=2, ts_out=True)
    assert records.array()["quantity"].tolist() == [5]
    assert JsonLines(schema="ohlcv-1h", version=1).push(b"{}").array()["rtype"].tolist() == [34]


def test_json_lines_need_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> Any:
        raise dbnfast.errors.MissingExtraError(module, extra)

    monkeypatch.setattr(json_shapes, "require", missing)
    json_shapes.shape_of.cache_clear()
    with pytest.raises(dbnfast.errors.MissingExtraError, match=r"dbnfast\[json\]"):
        from_json(b"")
    json_shapes.shape_of.cache_clear()


# --- the core ---------------------------------------------------------------------------------


def test_the_core_checks_every_size() -> None:
    out = bytearray(40)
    kinds = {name: index for index, name in enumerate(parse.KINDS)}

    def fill(
        kind: int, values: Any, stride: int, at: int, absent: bytes, block: Any = out
    ) -> tuple[int, int, int]:
        return parse.fill_column(kind, values, False, block, stride, at, absent)

    for kind, values, stride, at, absent, why in (
        (-1, [1] * 2, 20, 0, bytes(8), "no kind"),
        (6, [1] * 2, 20, 0, bytes(8), "no kind"),
        (kinds["price"], [1] * 2, 20, 0, bytes(9), "no field"),
        (kinds["price"], [1] * 2, 20, 0, b"", "no field"),
        (kinds["char"], ["a"] * 2, 20, 0, bytes(2), "no field"),
        (kinds["time"], [1] * 2, 20, 13, bytes(8), "lie outside"),
        (kinds["time"], [1] * 2, 20, -1, bytes(8), "lie outside"),
        (kinds["time"], [1] * 2, 0, 0, bytes(8), "lie outside"),
        (kinds["text"], ["a"] * 2, 2000, 0, bytes(8), "lie outside"),
        (kinds["time"], [1] * 3, 20, 0, bytes(8), "3 values for 40 bytes"),
        (kinds["time"], [1], 20, 0, bytes(8), "1 values for 40 bytes"),
    ):
        with pytest.raises(ValueError, match=why):
            fill(kind, values, stride, at, absent)
    assert out == bytes(40)
    with pytest.raises((TypeError, BufferError)):
        fill(kinds["time"], [1] * 2, 20, 0, bytes(8), bytes(40))
    assert fill(kinds["time"], [], 20, 0, bytes(8), bytearray()) == (-1, 0, 0)
    assert fill(kinds["signed"], [-2, 3], 20, 12, bytes(4)) == (-1, 0, 0)
    assert out == bytes(12) + b"\xfe\xff\xff\xff" + bytes(16) + b"\x03" + bytes(7)
    reasons = {name: index for index, name in enumerate(parse.REASONS)}
    surrogate = "\ud800"
    unreadable = reasons["cannot be read"]
    assert fill(kinds["text"], ["a", surrogate], 20, 0, bytes(9)) == (1, unreadable, 0)
    assert parse.fill_column(kinds["text"], ["\u20ac"], True, bytearray(9), 9, 0, bytes(9)) == (
        0,
        unreadable,
        0,
    )
    for prices, forms in (
        (["", None, "0", 0, "-0"], 0),
        (["1.0", "0"], 1),
        (["0.0"], 1),
        (["1e2"], 1),
        (["--9223372036.-854775808"], 1),
        (["1"], 2),
        ([-1, "0"], 2),
        (["1", "1.5"], 3),
        (["1.5", 1], 3),
    ):
        block = bytearray(8 * len(prices))
        assert fill(kinds["price"], prices, 8, 0, bytes(8), block) == (-1, 0, forms)


def test_a_list_that_changes_its_length_is_refused() -> None:
    class Growing(list[int]):
        def __len__(self) -> int:
            return 1

    with pytest.raises(ValueError, match="changed while they were read"):
        parse.fill_column(3, Growing([1, 2]), False, bytearray(4), 4, 0, bytes(4))


def test_scatter_checks_every_place() -> None:
    rows, out = bytes(range(8)), bytearray(12)
    parse.scatter(rows, 4, np.array([8, 0]), out)
    assert out == bytes([4, 5, 6, 7, 0, 0, 0, 0, 0, 1, 2, 3])
    for starts in ([0, 9], [-1, 0], [0, 2**62]):
        with pytest.raises(ValueError, match="lies outside the 12 bytes"):
            parse.scatter(rows, 4, np.array(starts), out)
    for size, starts in ((3, [0, 4]), (0, [0]), (4, [0])):
        with pytest.raises(ValueError, match="are not"):
            parse.scatter(rows, size, np.array(starts), out)
    parse.scatter(b"", 4, np.array([], np.int64), bytearray())


@pytest.mark.parametrize("mixed", [False, True], ids=["alike", "mixed"])
def test_two_objects_in_a_line_are_refused_at_it(mixed: bool) -> None:
    bar = TRADE.partition('"action"')[0].replace('"rtype":0', '"rtype":32')
    bar = bar.replace('"ts_recv":"2",', "") + '"open":"1","high":"1","low":"1","close":"1",'
    bar += '"volume":"1"}'
    good = f"{TRADE}\n{bar if mixed else TRADE}\n"
    blocks = iter_json(io.StringIO(f"{good}{TRADE}{TRADE}\n"), max_bytes=len(good) // 2 + 40)
    found = []
    with pytest.raises(InvalidRecordError, match="line 3") as caught:
        found.extend(blocks)
    assert sum(map(len, found)) == 2
    assert caught.value.offset == len(good)
    assert caught.value.record_index == 2


def test_the_first_of_two_faults_in_a_piece_is_told() -> None:
    bad_value = TRADE.replace('"size":1', '"size":-1')
    bad_bar = '{"hd":{"ts_event":"1","rtype":32,"publisher_id":1,"instrument_id":2},"open":"x"}'
    for second, third, name in ((bad_value, bad_bar, "size"), (bad_bar, bad_value, "open")):
        with pytest.raises(InvalidRecordError, match=f"line 2 at byte .*: {name} ") as caught:
            from_json("\n".join([TRADE, second, third]).encode())
        assert (caught.value.record_index, caught.value.offset) == (1, len(TRADE) + 1)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_interrupted_reader_does_not_go_on_with_a_gap(form: str) -> None:
    rows = [HEAD, *[ROW] * 20] if form == "csv" else [TRADE] * 20
    file = io.BytesIO("\n".join(rows).encode())
    reads = []

    class Source:
        def read(self, n: int) -> bytes:
            reads.append(n)
            if len(reads) == 8:
                raise KeyboardInterrupt
            return file.read(min(n, 100))

    records = ITERATORS[form](Source(), max_bytes=400)
    with pytest.raises(KeyboardInterrupt):
        list(records)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="interrupted, and what was read is lost"):
            next(records)


# lines that the core reads alone


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pieces of CSV that were read row by row."""
    pieces: list[bytes] = []
    by_rows = CsvParser._parts

    def parts(parser: CsvParser, piece: bytes) -> Any:
        pieces.append(piece)
        return by_rows(parser, piece)

    monkeypatch.setattr(CsvParser, "_parts", parts)
    return pieces


@pytest.mark.parametrize("name", OF_ONE_VERSION)
def test_what_the_vendor_writes_is_read_by_the_core(name: str, rows_read: list[bytes]) -> None:
    data = golden(name).read_bytes()
    records = dbnfast.scan(data, on_truncated="ignore")
    for encoding, pretty, text in forms(records, data):
        if encoding == "csv":
            found = from_csv(text, metadata=records.metadata)
            assert found.tobytes() == carried(records, pretty)
    words = {int(dbnfast.RType.ERROR), int(dbnfast.RType.SYSTEM)}
    usual = [piece for piece in rows_read if b'"' not in piece and piece.count(b"\n") > 1]
    assert not usual or words & set(records.counts)


@pytest.mark.parametrize("name", OF_ONE_VERSION)
def test_lines_of_the_vendor_are_read_by_the_core(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []
    monkeypatch.setattr(JsonParser, "_parts", lambda parser, piece: (pieces.append(piece), None))
    data = golden(name).read_bytes()
    records = dbnfast.scan(data, on_truncated="ignore")
    # the code of an old message is in its words; bytes that are no UTF-8 are no JSON
    words = {int(dbnfast.RType.ERROR), int(dbnfast.RType.SYSTEM)} & set(records.counts)
    for pretty in (True, False):
        text = texts.transcode(data, "json", pretty)
        if text.isascii() and not (words and records.version == 1):
            found = from_json(text, metadata=records.metadata)
            assert found.tobytes() == carried(records, pretty)
    assert not pieces


@pytest.mark.parametrize(
    ("change", "quick"),
    [
        (lambda text: text, True),
        (lambda text: text.replace(b"\n", b"\r\n"), True),
        (lambda text: text.replace(b"\n", b"\n\n"), True),
        (lambda text: text[:-1], True),
        (lambda text: b"\n" + text, False),
        (lambda text: text.replace(b"\n", b"\r"), False),
        (lambda text: text.replace(b",T,", b',"T",', 1), False),
        (lambda text: text.replace(b",0,", b",00,", 1), False),
    ],
)
def test_what_is_usual(
    change: Callable[[bytes], bytes], quick: bool, rows_read: list[bytes]
) -> None:
    text = texts_of_trades(50)["csv"]
    expected = from_csv(text).tobytes()
    rows_read.clear()
    assert from_csv(change(text)).tobytes() == expected
    assert (not rows_read) is quick


def test_lines_count_over_all_pieces_however_they_were_read() -> None:
    text = texts_of_trades(5000)["csv"]
    lines = text.split(b"\n")
    lines[4321] = lines[4321].replace(b",", b",x", 1)
    wrong = b"\n".join(lines)
    with pytest.raises(InvalidRecordError, match=r"^line 4322 at byte ") as caught:
        from_csv(wrong)
    assert caught.value.offset == len(b"\n".join(lines[:4321])) + 1
    assert caught.value.record_index == 4320
    assert caught.value.good is not None
    assert caught.value.good.tobytes() == from_csv(text)[:4320].tobytes()


def test_a_type_that_changes_between_lines_changes_the_record(rows_read: list[bytes]) -> None:
    one, other = csv_with(), csv_with(rtype="1")
    head, row = one.splitlines()[:2]
    text = b"\n".join([head, row, other.splitlines()[1], row, b""])
    found = from_csv(text)
    assert [int(record.rtype) for record in found] == [0, 1, 0]
    assert rows_read


PLAN = (bytes(16), [(parse.KINDS.index("unsigned"), 8, bytes(8)), b"7", None])


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (b"", (0, 0, 0)),
        (b"5,7,x\n", (1, 1, 0)),
        (b"5,7,x\r\n\n\r\n6,7,", (2, 3, 0)),
        (b",7,x", (1, 0, 0)),
        (b"5,7\n", None),
        (b"5,7,x,\n", None),
        (b"5,8,x\n", None),
        (b"5,77,x\n", None),
        (b"a,7,x\n", None),
        (b"5,7," + 65_531 * b"x" + b"\n", (1, 1, 0)),
        (b"5,7," + 65_533 * b"x" + b"\n", None),
        (b"5,7,x\n" * 3, None),
    ],
)
def test_plan_of_lines(lines: bytes, found: tuple[int, int, int] | None) -> None:
    out = np.zeros(32, np.uint8)
    assert LinePlan(*PLAN).fill(lines, out) == found
    if found is not None and found[0] == 2:
        assert out.tobytes() == bytes(8) + b"\5" + bytes(15) + b"\6" + bytes(7)


@pytest.mark.parametrize(
    ("blank", "columns", "why"),
    [
        (b"", [None], "no lines of 1 values for 0 bytes"),
        (bytes(1021), [None], "no lines of 1 values for 1021 bytes"),
        (bytes(16), [], "no lines of 0 values for 16 bytes"),
        (bytes(16), [(6, 0, b"a")], "no kind 6 of values"),
        (bytes(16), [(0, 9, bytes(8))], "8 bytes at 9 lie outside a record of 16"),
        (bytes(16), [(4, 0, bytes(2))], "no field of kind char has 2 bytes"),
    ],
)
def test_plans_that_cannot_be(blank: bytes, columns: list[Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        LinePlan(blank, columns)


FIELDS = (("unsigned", 8), ("signed", 8), ("unsigned", 1), ("signed", 2), ("unsigned", 4))
TAIL = b"," + 40 * b"x"  # a value is read in its usual form where some bytes follow it


def numbers_of_every_length(seed: int) -> list[int]:
    """One number for each of FIELDS: any count of digits, any sign, limits among them."""
    rng = np.random.default_rng(seed)
    row = []
    for kind, width in FIELDS:
        bits = 8 * width - (kind == "signed")
        low, high = -(2**bits) if kind == "signed" else 0, 2**bits - 1
        digits = int(rng.integers(1, len(str(high)) + 1))
        number = int("".join(map(str, rng.integers(0, 10, digits))))
        number = -number if kind == "signed" and rng.random() < 0.3 else number
        if rng.random() < 0.1:
            number = low if rng.random() < 0.5 else high
        row.append(min(max(number, low), high))
    return row


def in_columns(rows: list[list[int | None]]) -> bytes:
    made = b""
    for row in rows:
        for (kind, width), number in zip(FIELDS, row, strict=True):
            number = 2 ** (8 * width - (kind == "signed")) - 1 if number is None else number
            made += number.to_bytes(width, "little", signed=kind == "signed")
        made += b"."
    return made


def line_plan() -> LinePlan:
    columns, at = [], 0
    for kind, width in FIELDS:
        absent = (2 ** (8 * width - (kind == "signed")) - 1).to_bytes(width, "little")
        columns.append((parse.KINDS.index(kind), at, absent))
        at += width
    return LinePlan(bytes(at) + b".", [*columns, b"160", None])


def test_numbers_of_every_length_side_by_side() -> None:
    rng = np.random.default_rng(1)
    rows: list[list[int | None]] = [
        [None if rng.random() < 0.1 else number for number in numbers_of_every_length(seed)]
        for seed in range(500)
    ]
    lines = [
        ",".join("" if number is None else str(number) for number in row).encode() for row in rows
    ]
    text = b"".join(line + b",160" + TAIL + b"\n" for line in lines)
    expected = in_columns(rows)
    out = np.zeros(len(expected), np.uint8)
    assert line_plan().fill(text, out) == (500, 500, 0)
    assert out.tobytes() == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("18446744073709551615,-9223372036854775808,255,-32768,4294967295", True),
        ("18446744073709551616,0,0,0,0", False),
        ("18446744073709551620,0,0,0,0", False),
        ("99999999999999999999,0,0,0,0", False),
        ("100000000000000000000,0,0,0,0", False),
        ("0,9223372036854775808,0,0,0", False),
        ("0,-9223372036854775809,0,0,0", False),
        ("0,0,256,0,0", False),
        ("0,0,0,-32769,0", False),
        ("0,0,0,32768,0", False),
        ("0,0,0,0,4294967296", False),
        ("-1,0,0,0,0", False),
        ("0,--1,0,0,0", False),
        ("0,-,0,0,0", False),
        ("1 ,0,0,0,0", False),
        ("12345678x,0,0,0,0", False),
        ("1234567890123456x,0,0,0,0", False),
        ("1234567890123456789x,0,0,0,0", False),
        ("00000000000000000000000001,-00000000000000000000000001,007,+5,0", True),
        (",,,,", True),
    ],
)
def test_limits_of_numbers_in_the_middle_of_text(row: str, expected: bool) -> None:
    text = row.encode() + b",160" + TAIL
    made = [None if not number else int(number) for number in row.split(",")] if expected else []
    out = np.zeros(sum(width for _, width in FIELDS) + 1, np.uint8)
    assert (line_plan().fill(text, out) is not None) is expected
    assert not expected or out.tobytes() == in_columns([made])


@pytest.mark.parametrize("code", [b"16", b"161", b"1600", b"", b"x"])
def test_another_text_than_the_expected_one(code: bytes) -> None:
    out = np.zeros(100, np.uint8)
    assert line_plan().fill(b"1,2,3,4,5,160" + TAIL, out) == (1, 0, 0)
    assert line_plan().fill(b"1,2,3,4,5," + code + TAIL, out) is None


def test_the_last_value_ends_the_line() -> None:
    plan = LinePlan(bytes(1), [(parse.KINDS.index("unsigned"), 0, b"\xff")])
    out = np.zeros(3, np.uint8)
    assert plan.fill(b"1\n2\n\n3\n" + 40 * b"\n", out) == (3, 44, 0)
    assert out.tolist() == [1, 2, 3]
    assert plan.fill(b"1,\n" + 40 * b"\n", out) is None
    assert plan.fill(b"1,2\n" + 40 * b"\n", out) is None


def test_text_in_memory_is_cut_behind_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[bytes] = []
    read = text_input.TextSource.read

    def kept(source: text_input.TextSource) -> bytes:
        pieces.append(read(source))
        return pieces[-1]

    monkeypatch.setattr(text_input.TextSource, "read", kept)
    text = texts_of_trades(3000)["csv"]
    from_csv(text)
    assert len(pieces) > 2
    assert b"".join(pieces) == text
    assert all(piece[-1:] in (b"\n", b"") for piece in pieces)
    # no line ends near the end of a piece
    long = text_input.TextSource(b"a" * 100_000 + b"\n" + b"b" * 100_000, 64 << 10)
    assert [len(long.read()) for _ in range(5)] == [65536, 65536, 65536, 3393, 0]


def test_a_row_that_nobody_could_read_tells_no_version() -> None:
    # three values where commas divide, two fields where quotes count
    with pytest.raises(InvalidRecordError, match="has 2 fields, the header 3") as caught:
        from_csv(b'rtype,trading_reference_price,raw_symbol\n19,"1,a"\n')
    assert caught.value.good is not None
    assert caught.value.good.version == 3


# whole numbers among decimals


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("max_bytes", [1, 300, 1 << 20])
@pytest.mark.parametrize(
    ("prices", "bad", "why"),
    [
        (["1.5", "", "0", "4799", "2.5"], 3, "price '4799' is in units of 1e-9, other prices are"),
        (["4799", "0", "4799.25"], 2, "price '4799.25' is a decimal, other prices are in units of"),
        (["1e3", "-7"], 1, "price '-7' is in units of 1e-9, other prices are decimals"),
    ],
)
def test_prices_of_csv_are_of_one_form(
    prices: list[str], bad: int, why: str, max_bytes: int, quoted: bool
) -> None:
    rows = [csv_with(price=price).splitlines()[1].decode() for price in prices]
    if quoted:
        rows = [row.replace(",T,", ',"T",') for row in rows]
    text = csv_of(*rows)
    found, error = streams.read_blocks(iter_csv(text, max_bytes=max_bytes))
    assert isinstance(error, InvalidRecordError)
    at = len(csv_of(*rows[:bad]))
    assert str(error).startswith(f"line {bad + 2} at byte {at}: {why}")
    assert found == from_csv(csv_of(*rows[:bad])).tobytes()


def test_prices_of_one_record_are_of_one_form() -> None:
    bars = "rtype,ts_event,open,high,low,close,volume"
    row = "33,1,{},2.5,1.5,2.25,7"
    assert len(from_csv(csv_of(row.format("2.0"), head=bars))) == 1
    with pytest.raises(InvalidRecordError, match=r"^line 2 .*high '2.5' is a decimal"):
        from_csv(csv_of(row.format("2"), head=bars))
    with pytest.raises(InvalidRecordError, match=r"^line 3 .*close 'x' cannot be read"):
        from_csv(csv_of(row.format("2.0"), row.format("2.0").replace("2.25", "x"), head=bars))
    for text in (
        csv_of("33,1,2,3,4,5,7", row.format("2").replace("2.25", "x"), head=bars),
        csv_of("33,1,2,3,4,5,7", row.format("\0"), row.format("2.0"), head=bars),
    ):
        with pytest.raises(InvalidRecordError, match=r"^line 3 .* cannot be read"):
            from_csv(text)


def test_a_line_without_sense_is_blamed_in_the_same_words_whatever_came_before() -> None:
    # it is no JSON at its end, and before that a level is no object
    broken = b'{"hd":{"rtype":195},"levels":[{"bid_px":"1","ask_px":"2"},"x":1}],"symbol":null}\n'
    said = set()
    for before in (b"", json_with(), b'{"hd":{"rtype":195},"levels":[{}]}\n'):
        for read in (from_json, lambda text: list(iter_json(text, max_bytes=1))):
            with pytest.raises(InvalidRecordError) as caught:
                read(before + broken)
            said.add(str(caught.value).partition(": ")[2])
    assert len(said) == 1
    assert "malformed" in said.pop()


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("tz", ["America/New_York", "Asia/Kolkata", "UTC"])
def test_csv_of_an_official_frame_in_another_zone(tz: str) -> None:
    databento = pytest.importorskip("databento")
    pytest.importorskip("pandas")
    data = streams.header(stype_in=1) + streams.trades(50)
    frame = databento.DBNStore.from_bytes(data).to_df(tz=tz, map_symbols=False)
    text = frame.to_csv().encode()
    assert from_csv(text, schema="trades").tobytes() == data[-50 * 48 :]
