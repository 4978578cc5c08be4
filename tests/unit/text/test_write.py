"""CSV and JSON: what the official package writes, byte for byte, but for the listed differences."""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Records, RType
from dbnfast._core.text import Symbols, TextPlan, TextProgram, TextStyle, write_rows
from dbnfast.layouts.programs import SIZES
from dbnfast.layouts.table import LAYOUT_BY_NAME, LAYOUTS
from dbnfast.text import programs as text_programs
from dbnfast.text import write as text
from dbnfast.text.programs import CSV, JSON, TextOptions, text_program
from dbnfast.text.write import write_csv, write_json
from helpers import builders, streams
from helpers.places import REAL, ROOT

dbn = pytest.importorskip("databento_dbn")

OPTIONS = [
    {"pretty_px": px, "pretty_ts": ts, "map_symbols": symbols}
    for px, ts, symbols in itertools.product((False, True), repeat=3)
]
PLAIN: dict[str, Any] = {"pretty_px": False, "pretty_ts": False, "map_symbols": False}
FORMATS = ("csv", "json")
DONE, CUT, INVALID, FULL, NO_CODE = 0, 1, 2, 4, 5
INT64_MIN, U64_MAX = -(2**63), 2**64 - 1

# Written otherwise on purpose: old layouts in newer streams are upgraded, CSV shows old bars,
# JSON passes unknown types over and stays valid.
DIFFERENT = {
    "csv": ("mixed-versions-definition", "ohlcv-deprecated"),
    "json": ("mixed-versions", "second-metadata-swallowed", "unknown-"),
}


def is_dbn(path: Path) -> bool:
    return path.name.endswith((".dbn", ".dbn.zst")) and path.parent.name != "bad"


FIXTURES = sorted(path for path in (ROOT / "fixtures").iterdir() if is_dbn(path))
REAL_FILES = sorted(REAL.rglob("*.dbn.zst")) if REAL.is_dir() else []


class Resolver:
    """Symbols by plain look-ups: of the metadata by date, or of the mapping records so far."""

    def __init__(self, metadata: dbnfast.Metadata | None) -> None:
        self.symbols: list[str] = []
        self.days: dict[tuple[datetime.date, int], str] = {}
        self.now: dict[int, str] = {}
        self.live = metadata is None or metadata.schema is None
        if metadata is None or self.live:
            return
        forward = metadata.stype_out == "instrument_id"
        for raw, intervals in metadata.mappings.items():
            for interval in intervals:
                name, number = raw, interval["symbol"]
                if not forward:
                    name, number = number, name
                day = interval["start_date"]
                while day < interval["end_date"] and name and number:
                    self.days[day, int(number)] = name
                    day += datetime.timedelta(1)

    def find(self, record: Any) -> str | None:
        if self.live:
            if record.rtype == RType.SYMBOL_MAPPING:
                self.now[record.instrument_id] = record.stype_out_symbol
            return self.now.get(record.instrument_id)
        stamp = getattr(record, "ts_recv", record.ts_event)
        if stamp == U64_MAX:
            return None
        days = datetime.timedelta(stamp // (86_400 * 10**9))
        return self.days.get((datetime.date(1970, 1, 1) + days, record.instrument_id))

    def codes(self, records: Records) -> np.ndarray[Any, np.dtype[np.int32]]:
        found = []
        for record in records.objects(upgrade=False):
            name = self.find(record)
            if name and name not in self.symbols:
                self.symbols.append(name)
            found.append(self.symbols.index(name) if name else -1)
        return np.array(found, np.int32)


class FixedCodes:
    """Codes that are known already."""

    def __init__(self, symbols: Sequence[str], codes: Sequence[int]) -> None:
        self.symbols = list(symbols)
        self.given = iter(codes)

    def codes(self, records: Records) -> np.ndarray[Any, np.dtype[np.int32]]:
        return np.array(list(itertools.islice(self.given, len(records))), np.int32)


def official(data: bytes, encoding: str, upgrade: bool = True, **options: Any) -> bytes:
    """What the official package writes."""
    out = io.BytesIO()
    if not upgrade:
        options["upgrade_policy"] = dbn.VersionUpgradePolicy.AS_IS
    if options.get("schema") is not None:
        options["schema"] = dbn.Schema(str(options["schema"]))
    kind = dbn.Encoding.CSV if encoding == "csv" else dbn.Encoding.JSON
    transcoder = dbn.Transcoder(out, kind, dbn.Compression.NONE, **options)
    transcoder.write(data)
    transcoder.flush()
    return out.getvalue()


def put_right(theirs: bytes) -> bytes:
    """Official text without what is wrong in it: the lowest price, and escapes that are no JSON."""

    def escape(found: re.Match[bytes]) -> bytes:
        if found[1] == b"'":
            return b"'"
        if found[1][:1] == b"x":
            code = int(found[1][1:], 16)
            return f"\\u{code:04X}".encode() if code < 32 or code == 127 else chr(code).encode()
        return found[0]

    theirs = theirs.replace(b"--9223372036.-854775808", b"-9223372036.854775808")
    if not theirs.startswith(b"{"):
        return theirs
    return re.sub(rb"\\(x[0-9a-f]{2}|.)", escape, theirs)


def ours(batches: Any, encoding: str, **options: Any) -> bytes:
    """What the package writes; the number of rows is checked."""
    out = io.BytesIO()
    n = (write_csv if encoding == "csv" else write_json)(batches, out, **options)
    written = out.getvalue()
    if encoding == "json" or b'"' not in written:
        assert n == written.count(b"\n") - (encoding == "csv")
    return written


def plain_bytes(path: Path) -> bytes:
    data = path.read_bytes()
    return data if data[:3] == b"DBN" else streams.inflate(data)


def compare(path: Path, encoding: str, options: dict[str, Any], upgrade: bool) -> int:
    """Compare a file's text; give the bytes compared."""
    data = plain_bytes(path)
    records = dbnfast.scan(data, on_truncated="ignore")
    assert records.metadata is not None
    schemas: list[str | None] = [None]
    if encoding == "csv" and records.metadata.schema is None:
        schemas = ["trades", "mbo", "definition", "statistics", "ohlcv-1s", "status"]
    compared = 0
    for schema in schemas:
        resolver = Resolver(records.metadata)
        mine = ours(records, encoding, schema=schema, upgrade=upgrade, resolver=resolver, **options)
        wanted = {} if schema is None else {"schema": schema}
        assert mine == official(data, encoding, upgrade, **wanted, **options), schema
        compared += len(mine)
    return compared


# those that are written otherwise on purpose have tests of their own below
ALIKE = [
    (path, encoding)
    for path in FIXTURES
    for encoding in FORMATS
    if not path.name.startswith(DIFFERENT[encoding])
]


@pytest.mark.parametrize(
    ("path", "encoding"), ALIKE, ids=[f"{path.name}-{encoding}" for path, encoding in ALIKE]
)
def test_fixtures_become_the_official_text(path: Path, encoding: str) -> None:
    stype = dbnfast.scan(plain_bytes(path), on_truncated="ignore").metadata
    assert stype is not None
    for options, upgrade in itertools.product(OPTIONS, (True, False)):
        if options["map_symbols"] and "instrument_id" not in (stype.stype_in, stype.stype_out):
            continue  # the official package cannot map these
        assert compare(path, encoding, options, upgrade) > 0 or encoding == "json"


@pytest.mark.skipif(not REAL_FILES, reason="the folder of real files is not here")
@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.name)
def test_real_files_become_the_official_text(path: Path, encoding: str) -> None:
    if encoding == "csv" and path.parent.name == "odd":
        return  # the official text lacks its records: see the next test
    small = path.stat().st_size < 3_000
    for options in OPTIONS if small else OPTIONS[-1:]:
        for upgrade in (True, False):
            assert compare(path, encoding, options, upgrade) > 100


def test_csv_of_early_quotes_is_that_of_the_files_schema() -> None:
    # under the rtype that its schema has today the official package writes them; with 0xC3 it
    # writes none
    record = streams.record(0xC3, 80, instrument_id=3)
    header = streams.header(schema="bbo-1m")
    today = official(header + record[:1] + b"\xc4" + record[2:], "csv", schema="bbo-1m")
    assert ours(dbnfast.scan(header + record), "csv") == today.replace(b",196,", b",195,")
    assert today.count(b"\n") == 2


# what the official package does with odd input


@pytest.mark.parametrize("schema", [None, "mbo", "trades"])
def test_json_writes_all_types_whatever_the_schema(schema: str | None) -> None:
    raw = streams.trade(0) + streams.record(1, 80) + streams.record(0x11, 56) + streams.trade(1)
    data = streams.header(schema=None) + raw
    mine = ours(dbnfast.scan(data), "json", schema=schema)
    assert mine.count(b"\n") == 4
    assert mine == official(data, "json", schema=dbn.Schema.TRADES)


def test_csv_writes_one_schema_of_a_mixed_stream() -> None:
    raw = streams.trade(0) + streams.record(1, 80) + streams.record(0x42, 20) + streams.trade(1)
    data = streams.header(schema=None) + raw
    mine = ours(dbnfast.scan(data), "csv", schema="trades")
    assert mine.count(b"\n") == 3
    assert mine == official(data, "csv", schema="trades")


def test_csv_of_a_schema_that_is_not_there_is_its_header() -> None:
    data = streams.header(schema="trades") + streams.trades(3)
    mine = ours(dbnfast.scan(data), "csv", schema="mbo")
    assert mine.startswith(b"ts_recv,ts_event,rtype,")
    assert mine == official(data, "csv", schema="mbo")


def test_tbbo_files_show_mbp_1_records() -> None:
    data = streams.header(schema="tbbo") + streams.record(1, 80)
    assert ours(dbnfast.scan(data), "csv") == official(data, "csv")
    with pytest.raises(ValueError, match="mbp-1 was asked of tbbo data"):
        ours(dbnfast.scan(data), "csv", schema="mbp-1")


def test_old_bars_pass_where_the_file_says_which_they_are() -> None:
    bars = streams.record(0x20, 56) + streams.record(0x11, 56) + streams.record(0x21, 56)
    named = dbnfast.scan(streams.header(schema="ohlcv-1s") + bars)
    assert [line.split(b",")[1] for line in ours(named, "csv").splitlines()[1:]] == [b"32", b"17"]
    data = streams.header(schema=None) + bars
    mine = ours(dbnfast.scan(data), "csv", schema="ohlcv-1s")
    assert mine == official(data, "csv", schema="ohlcv-1s")
    assert mine.count(b"\n") == 2


@pytest.mark.parametrize("encoding", FORMATS)
def test_records_longer_than_their_struct(encoding: str) -> None:
    data = streams.header() + streams.trade(0, extra=b"\1" * 8) + streams.trade(1)
    assert ours(dbnfast.scan(data), encoding) == official(data, encoding)


@pytest.mark.parametrize("encoding", FORMATS)
def test_ts_out_is_a_records_last_8_bytes(encoding: str) -> None:
    data = streams.header(ts_out=1) + streams.trade(0, extra=b"\1" * 12 + streams.stamp(5))
    mine = ours(dbnfast.scan(data), encoding)
    assert b"2033-05-18T03:33:20.000000005Z" in mine
    assert len(mine) == len(official(data, encoding))


def test_json_passes_unknown_types_over() -> None:
    raw = streams.trade(0) + streams.record(0x42, 32) + streams.trade(1)
    known = streams.trades(2)
    mine = ours(dbnfast.scan(streams.header() + raw), "json")
    assert mine == official(streams.header() + known, "json")


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("upgrade", [False, True])
def test_header_without_records(version: int, upgrade: bool) -> None:
    for schema in ("trades", "definition", "ohlcv-1d"):
        data = streams.header(version, schema, ts_out=1)
        records = dbnfast.scan(data)
        theirs = official(data, "csv", upgrade)
        assert ours(records, "csv", upgrade=upgrade) == theirs
        assert ours([], "csv", upgrade=upgrade, metadata=records.metadata) == theirs
        assert ours(iter([]), "json", metadata=records.metadata) == b"" == official(data, "json")


def test_header_without_records_or_metadata() -> None:
    assert ours([], "csv", schema="status") == official(streams.header(schema="status"), "csv")
    with pytest.raises(ValueError, match="no schema"):
        ours([], "csv")


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("encoding", FORMATS)
def test_fragments(version: int, encoding: str) -> None:
    rng = random.Random(version)
    kind = next(kind for kind in builders.KINDS[version] if kind.rtype == RType.INSTRUMENT_DEF)
    raw = b"".join(builders.record_bytes(rng, kind, True) for _ in range(5))
    records = dbnfast.scan(raw, has_metadata=False, input_version=version, ts_out=True)
    theirs = official(
        raw, encoding, schema="definition", has_metadata=False, ts_out=True, input_version=version
    )
    theirs = put_right(theirs)
    assert ours(records, encoding, schema="definition") == theirs
    if encoding == "csv":
        with pytest.raises(ValueError, match="no schema"):
            ours(records, encoding)
        metadata = dbnfast.Metadata("XNAS.ITCH", schema="definition")
        assert ours(records, encoding, metadata=metadata) == theirs


def test_gateway_records_have_columns_too() -> None:
    data = streams.header(schema=None) + streams.record(0x17, 320, body=b"Heartbeat")
    rows = ours(dbnfast.scan(data), "csv", schema=RType.SYSTEM, pretty_ts=False).splitlines()
    assert rows == [
        b"ts_event,rtype,publisher_id,instrument_id,msg,code,symbol",
        b"1,23,1,1,Heartbeat,0,",
    ]


def test_old_layouts_get_the_headers_columns() -> None:
    data = (ROOT / "fixtures" / "mixed-versions-definition.v3.dbn").read_bytes()
    upgraded = ours(dbnfast.scan(data), "csv")
    assert {line.count(b",") for line in upgraded.splitlines()} == {73}
    assert ours(dbnfast.scan(data), "csv", upgrade=False) == upgraded
    old = dbnfast.scan(data[:3] + b"\2" + data[4:])  # the header says 2, a record is of version 3
    with pytest.raises(ValueError, match="do not have the columns of the header"):
        ours(old, "csv", upgrade=False)


def test_old_statistics_are_left_as_they_are() -> None:
    data = (ROOT / "fixtures" / "mixed-versions-statistics.v3.dbn").read_bytes()
    theirs = official(data, "json", False, map_symbols=False)
    assert ours(dbnfast.scan(data), "json", upgrade=False, map_symbols=False) == theirs
    rows = [json.loads(line) for line in ours(dbnfast.scan(data), "json").splitlines()]
    assert {type(row["quantity"]) for row in rows} == {str}


# values

NASTY = (
    b"", b"a", b"ab,c", b'say "hi"', b"a/b\\c", b"a\rb", b"a\nb", b"\x01\x1f\x7f\b\f\t",
    b"\xc3\xa9\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80",
    b"\xf4\x90\x80\x80", b"\xe0\x9f\xbf", b"\xf5\x80\x80\x80", b"a\0b", b"\0\xff", b"/" * 20,
    b'"' * 70, b"x" * 71, b"\x01" * 70, b",", b"'",
)  # fmt: skip


def definition(version: int, **fields: Any) -> bytes:
    layout = next(x for x in LAYOUTS if "definition" in x.schemas and version in x.versions)
    record = layout.undefined()
    for name, value in fields.items():
        record[name] = value
    return bytes(record.tobytes())


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("encoding", FORMATS)
def test_texts(version: int, encoding: str) -> None:
    raw = b"".join(
        definition(version, raw_symbol=value, group=value, unit_of_measure=value, asset=value,
                   security_update_action=b"A", user_defined_instrument=b"N")
        for value in NASTY
    )  # fmt: skip
    data = streams.header(version, "definition") + raw
    for upgrade in (True, False):
        mine = ours(dbnfast.scan(data), encoding, upgrade=upgrade)
        assert mine == official(data, encoding, upgrade)
    if encoding == "json":
        assert len([json.loads(line) for line in mine.splitlines()]) == len(NASTY)
    else:
        rows = list(csv.reader(io.StringIO(mine.decode(), newline="")))
        assert {len(row) for row in rows} == {len(rows[0])}
        assert len(rows) == len(NASTY) + 1


def with_side(code: int) -> bytes:
    record = bytearray(streams.trade(0))
    record[LAYOUT_BY_NAME["TradeMsg"].by_name["side"].offset] = code
    return bytes(record)


def test_characters_in_csv() -> None:
    data = streams.header() + b"".join(map(with_side, range(256)))
    assert ours(dbnfast.scan(data), "csv") == official(data, "csv")


def test_characters_in_json_are_valid() -> None:
    data = streams.header() + b"".join(map(with_side, range(256)))
    mine = ours(dbnfast.scan(data), "json").splitlines()
    theirs = official(data, "json").splitlines()
    for code, (own, other) in enumerate(zip(mine, theirs, strict=True)):
        assert json.loads(own)["side"] == (chr(code) if code else None)
        if code != 39 and b"\\x" not in other:
            assert own == other
        else:
            assert own == put_right(other)
    assert b'"\\u0007"' in mine[7]
    assert b'"\xc3\xbf"' in mine[255]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("encoding", FORMATS)
def test_raw_characters(version: int, encoding: str) -> None:
    codes = [bytes((code,)) for code in range(256)]
    raw = b"".join(definition(version, user_defined_instrument=code) for code in codes)
    data = streams.header(version, "definition") + raw
    mine = ours(dbnfast.scan(data), encoding, upgrade=False)
    ascii_only = streams.header(version, "definition") + raw[: len(raw) // 2]
    theirs = official(ascii_only, encoding, False)
    assert mine[: len(theirs)] == theirs
    assert mine.decode()  # the official text is no UTF-8 from there on
    if encoding == "json":
        values = [json.loads(line)["user_defined_instrument"] for line in mine.splitlines()]
        assert values == [chr(code) for code in range(256)]


STAMPS = (
    0, 1, 999_999_999, 10**9, 86_400 * 10**9 - 1, 86_400 * 10**9, U64_MAX, U64_MAX - 1, 2**63,
    951_782_400 * 10**9, 951_868_799_999_999_999, 4_107_542_399 * 10**9, 1_709_164_800 * 10**9,
)  # fmt: skip
PRICES = (
    0, 1, -1, 10**9, -(10**9), 999_999_999, 10**18, 2**63 - 1, 2**63 - 2, INT64_MIN + 1,
    123_456_789_012_345_678, -99_999_999_999_999_999, 10**17, 10**12 - 1, 10**15,
)  # fmt: skip


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_prices_and_times(encoding: str, options: dict[str, Any]) -> None:
    pairs = list(itertools.product(STAMPS, PRICES))
    array = dbnfast.empty("trades", len(pairs))
    array["ts_event"], array["price"] = zip(*pairs, strict=True)
    array["ts_recv"] = array["ts_event"][::-1]
    data = streams.header() + array.tobytes()
    assert ours(dbnfast.scan(data), encoding, **options) == official(data, encoding, **options)


def test_lowest_price() -> None:
    array = dbnfast.empty("trades", 1)
    array["price"] = INT64_MIN
    records = dbnfast.scan(streams.header() + array.tobytes())
    assert b",-9223372036.854775808," in ours(records, "csv")
    assert b'"price":"-9223372036.854775808"' in ours(records, "json")
    assert b",-9223372036854775808," in ours(records, "csv", pretty_px=False)


INTEGERS = sorted(
    {0, 1, 9, U64_MAX, 2**63, 2**63 - 1, 2**32, 2**31}
    | {10**n + more for n in range(1, 20) for more in (-1, 0, 1)}
    | {random.Random(n).randrange(10**n) for n in range(1, 20)}
)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
def test_integers_of_all_lengths(kind: str) -> None:
    limits = np.iinfo(kind)
    values = [v for x in INTEGERS for v in (x, -x) if limits.min <= v <= limits.max]
    values += [int(limits.min), int(limits.max)]
    n_bytes = int(kind[1])
    program = TextProgram(32, [(b"", kind, 16, n_bytes), (b"\n", "", 0, 0)], CSV)
    raw = b"".join(
        streams.record(0x42, 32, body=v.to_bytes(n_bytes, "little", signed=kind[0] == "i"))
        for v in values
    )
    out = np.full(len(values) * program.longest, 0x7E, np.uint8)
    done = run_core(raw, TextPlan([(0x42, program)]), out)
    assert done[0] == DONE
    assert bytes(out[: done[2]]).decode().split() == [str(value) for value in values]
    assert len(values) > 5


def test_every_day_of_the_range() -> None:
    days = np.arange(0, 2**64 // (86_400 * 10**9), dtype=np.uint64)
    seconds = days * np.uint64(86_400) + days * np.uint64(7919) % np.uint64(86_400)
    array = dbnfast.empty("ohlcv-1d", len(days))
    array["ts_event"] = seconds * np.uint64(10**9) + np.uint64(5)
    records = dbnfast.scan(streams.header(schema="ohlcv-1d") + array.tobytes())
    lines = ours(records, "csv").splitlines()[1:]
    wanted = seconds.astype("datetime64[s]").astype(str)
    assert [line[:30].decode() for line in lines] == [f"{t}.000000005Z" for t in wanted]
    assert lines[-1].startswith(b"2554-07-2")


# symbols

SYMBOLS = ("A", "ES.v.0", 'q"uote', "com,ma", "sl/ash", "b\\s", "é€", "x" * 15, "y" * 16, "z" * 300,
           "line\nend", "")  # fmt: skip


@pytest.mark.parametrize("encoding", FORMATS)
def test_symbols_of_any_text_and_length(encoding: str) -> None:
    codes = [code for _ in range(3) for code in range(-1, len(SYMBOLS))]
    records = dbnfast.scan(streams.header() + streams.trades(len(codes)))
    mine = ours(records, encoding, resolver=FixedCodes(SYMBOLS, codes)).decode()
    if encoding == "json":
        found = [json.loads(line)["symbol"] for line in mine.splitlines()]
        assert found == [SYMBOLS[code] if code >= 0 else None for code in codes]
        assert "sl\\/ash" in mine
    else:
        rows = list(csv.DictReader(io.StringIO(mine, newline="")))
        assert [row["symbol"] for row in rows] == [SYMBOLS[c] if c >= 0 else "" for c in codes]


def mappings(version: int, intervals: list[tuple[int, int, bytes]]) -> bytes:
    n_text = 22 if version == 1 else 71
    names = [b'A"B,/x', b"\xc3\xa9", b"PLAIN"]
    lists = [(name, [i for i in intervals if i[2] == b"%d" % n]) for n, name in enumerate(names)]
    return bytes(12) + streams.mapping_list(lists, n_text)


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_symbols_of_the_metadata(version: int, encoding: str) -> None:
    lists = mappings(version, [(20200101, 20200103, b"0"), (20200102, 20200104, b"1")])
    header = streams.header(version, "trades", stype_in=1, stype_out=0, lists=lists)
    array = dbnfast.empty("trades", 12)
    array["instrument_id"] = np.arange(12) % 3
    noon = np.datetime64("2019-12-31T12", "ns") + np.arange(12) // 3 * np.timedelta64(1, "D")
    array["ts_recv"] = noon.astype(np.uint64)
    array["ts_recv"][-1] = U64_MAX
    data = header + array.tobytes()
    records = dbnfast.scan(data)
    mine = ours(records, encoding, resolver=Resolver(records.metadata))
    assert mine == official(data, encoding)
    assert mine.count(b"B,") == 2


def test_mapping_records_have_their_own_new_symbol() -> None:
    mapping = np.zeros(1, dbnfast.dtype(RType.SYMBOL_MAPPING))
    mapping["length"], mapping["rtype"], mapping["instrument_id"] = 44, 0x16, 101
    raw = streams.trades(3)
    for name in (b"FIRST", b"SECOND"):
        mapping["stype_out_symbol"] = name
        raw += mapping.tobytes() + streams.trades(3)
    data = streams.header(schema=None) + raw
    records = dbnfast.scan(data)
    batches = [records[:2], records[2:6], records[6:]]
    for encoding in FORMATS:
        mine = ours(batches, encoding, schema="trades", resolver=Resolver(records.metadata))
        assert mine == official(data, encoding, schema="trades")
        assert b"FIRST" in mine
        assert b"SECOND" in mine


def test_the_resolver_is_not_asked_without_the_column() -> None:
    records = dbnfast.scan(streams.header() + streams.trades(2))
    mine = ours(records, "csv", map_symbols=False, resolver=FixedCodes([], []))
    assert mine.splitlines()[0].endswith(b",sequence")


@pytest.mark.parametrize("codes", [[0, 1, 3], [0, -2, 1], [0, 2**31 - 1, 0], [-(2**31), 0, 0]])
def test_codes_out_of_range(codes: list[int]) -> None:
    records = dbnfast.scan(streams.header() + streams.trades(3))
    out = io.BytesIO()
    with pytest.raises(ValueError, match=r"record [012] of its batch has no symbol code"):
        write_csv(records, out, resolver=FixedCodes(["A", "B", "C"], codes))
    assert out.getvalue().count(b"\n") == 1 + next(
        i for i, c in enumerate(codes) if c not in (0, 1)
    )


@pytest.mark.parametrize(
    "codes",
    [np.zeros(2, np.int32), np.zeros(3, np.int64), np.zeros((3, 1), np.int32), [0.0, 1.0, 2.0]],
    ids=["short", "wide", "shape", "floats"],
)
def test_codes_of_a_wrong_kind(codes: Any) -> None:
    class Wrong:
        symbols = ("A",)

        def codes(self, records: Records) -> Any:
            return codes

    records = dbnfast.scan(streams.header() + streams.trades(3))
    with pytest.raises(ValueError, match="expected int32"):
        write_json(records, io.BytesIO(), resolver=Wrong())


# batches, threads and outputs


def many(n: int = 3000) -> dbnfast.Records:
    rng = random.Random(n)
    raw = b"".join(
        streams.trade(i) if rng.random() < 0.7 else streams.record(1, 80, instrument_id=i)
        for i in range(n)
    )
    return dbnfast.scan(streams.header(schema=None) + raw)


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("block", [1, 700, 1 << 20])
def test_pieces_blocks_and_threads_make_no_difference(
    monkeypatch: pytest.MonkeyPatch, encoding: str, threads: int, block: int
) -> None:
    alike = dbnfast.scan(streams.header() + streams.trades(2000))
    for records in (many(), alike):
        codes = [i % 4 - 1 for i in range(len(records))]
        whole = ours(records, encoding, schema="trades", resolver=FixedCodes("XYZ", codes))
        with monkeypatch.context() as patch:
            patch.setattr(text, "PIECE", 5000)
            patch.setattr(text, "BLOCK", block)
            patch.setattr(text, "BATCH", 20_000)
            resolver = FixedCodes("XYZ", codes)
            pieces = ours(records, encoding, schema="trades", resolver=resolver, threads=threads)
        assert pieces == whole


def test_batches_follow_each_other() -> None:
    records = many(50)
    whole = ours(records, "json")
    batches: Iterator[Records] = (records[i : i + 7] for i in range(0, 50, 7))
    assert ours(batches, "json") == whole
    assert ours([records[:0], records], "json") == whole


class Sink:
    """An output that keeps what it was given."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def write(self, data: memoryview) -> None:
        self.parts.append(data)


class Raw(io.RawIOBase):
    """A raw output that takes little at a time."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        if self.most is None:
            return None
        self.taken += data[: self.most]
        return min(self.most, len(data))


def test_outputs_may_keep_what_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PIECE", 2000)
    records = many()
    sink = Sink()
    write_json(records, sink, threads=3)
    assert b"".join(sink.parts) == ours(records, "json")
    assert len(sink.parts) > 20
    assert all(part.readonly for part in sink.parts)


def test_outputs_may_take_part_of_it() -> None:
    records = many(100)
    raw = Raw(1000)
    write_json(records, raw)
    assert bytes(raw.taken) == ours(records, "json")


@pytest.mark.parametrize(
    ("most", "error"), [(None, BlockingIOError), (0, OSError)], ids=["blocking", "nothing"]
)
def test_outputs_that_take_nothing(most: int | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        write_json(many(3), Raw(most))


def test_an_output_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PIECE", 2000)

    class Full(Sink):
        def write(self, data: memoryview) -> None:
            super().write(data)
            if len(self.parts) == 5:
                raise OSError("no space")

    sink = Full()
    with pytest.raises(OSError, match="no space"):
        write_json(many(), sink, threads=2)
    assert len(sink.parts) == 5


def test_what_came_before_an_error_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PIECE", 2000)
    records = many()

    def batches() -> Iterator[Records]:
        yield records
        raise RuntimeError("the input ends")

    out = io.BytesIO()
    with pytest.raises(RuntimeError, match="the input ends"):
        write_json(batches(), out, threads=2)
    assert out.getvalue() == ours(records, "json")


def test_a_file_that_is_read_in_blocks(tmp_path: Path) -> None:
    records = many()
    path = tmp_path / "some.dbn"
    path.write_bytes(streams.header(schema=None) + records.tobytes())
    with dbnfast.iter_decode(path, max_bytes=10_000) as reader:
        assert ours(reader, "csv", schema="mbp-1") == ours(records, "csv", schema="mbp-1")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"threads": 1.5}, TypeError, "integer"),
        ({"schema": "quotes"}, ValueError, "neither a schema nor an rtype"),
        ({"schema": 3}, TypeError, "schema is 3"),
    ],
)
@pytest.mark.parametrize("write", [write_csv, write_json])
def test_wrong_arguments(
    write: Any, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    out = io.BytesIO()
    with pytest.raises(error, match=words):
        write(many(3), out, **arguments)
    assert out.getvalue() == b""


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_wrong_batches_and_outputs(write: Any) -> None:
    with pytest.raises(TypeError, match="batches hold bytes"):
        write([b"DBN"], io.BytesIO(), schema="trades")
    with pytest.raises(TypeError, match="batches hold TradeMsg"):
        write(list(dbnfast.scan(streams.header() + streams.trades(1))), io.BytesIO())
    with pytest.raises(TypeError, match="binary mode"):
        write([], io.StringIO(), schema="trades")
    with pytest.raises(TypeError, match=r"no write\(\)"):
        write([], "rows.csv", schema="trades")


def test_csv_batches_are_of_one_stream() -> None:
    plain = dbnfast.scan(streams.header() + streams.trades(2))
    stamped = dbnfast.scan(streams.header(ts_out=1) + streams.trades(2, ts_out=True))
    with pytest.raises(ValueError, match="ts_out True do not have the columns"):
        ours([plain, stamped], "csv")
    assert ours([plain, stamped], "json").count(b"ts_out") == 2


def test_a_buffer_that_changes_meanwhile() -> None:
    data = bytearray(streams.header() + streams.trades(3))
    records = dbnfast.scan(data)
    data[-48] = 0
    out = io.BytesIO()
    with pytest.raises(ValueError, match="buffer was changed, at byte 96"):
        write_csv(records, out)
    assert out.getvalue().count(b"\n") == 3


# the core

NO_SYMBOLS = Symbols([b""])


def run_core(
    data: bytes, plan: TextPlan, out: Any, start: int = 0, codes: Any = None, first: int = 0,
    symbols: Symbols = NO_SYMBOLS, end: int | None = None,
) -> tuple[int, int, int, int, int]:  # fmt: skip
    end = len(data) if end is None else end
    return write_rows(data, start, end, plan, SIZES, False, codes, first, symbols, out)


def plan_of(rtypes: Sequence[int], json_lines: bool, map_symbols: bool = True) -> TextPlan:
    options = TextOptions(json_lines, True, True, map_symbols)
    layouts = {0: "TradeMsg", 1: "MBP1Msg"}
    routes = []
    for rtype in rtypes:
        layout = LAYOUT_BY_NAME[layouts[rtype]]
        routes.append((rtype, text_program(rtype, layout, layout.size, False, options)))
    return TextPlan(routes)


@pytest.mark.parametrize("json_lines", [False, True])
def test_every_size_of_block_resumes(json_lines: bool) -> None:
    raw = streams.trades(4) + streams.record(1, 80) + streams.record(0x42, 20) + streams.trades(2)
    plan = plan_of([0, 1], json_lines)
    symbols = Symbols([b"none", b"S", b"T" * 40])
    codes = np.array([0, 1, -1, 0, 1, 0, 1, -1], np.int32)
    longest = plan.longest + symbols.longest
    whole = np.empty(20 * longest, np.uint8)
    done = run_core(raw, plan, whole, 0, codes, 0, symbols)
    assert done[0] == DONE
    assert done[1:] == (len(raw), done[2], 8, 7)
    text_ = bytes(whole[: done[2]])
    assert text_.count(b"\n") == 7
    for size in range(longest, longest + 700, 3):
        out = np.empty(size + 8, np.uint8)
        out[size:] = 0xA5
        got, at, record, rows, status = b"", 0, 0, 0, FULL
        while status == FULL:
            status, at, n_bytes, n_records, n_rows = run_core(
                raw, plan, out[:size], at, codes, record, symbols
            )
            got += bytes(out[:n_bytes])
            record, rows = record + n_records, rows + n_rows
            assert n_records
        assert (status, at, record, rows) == (DONE, len(raw), 8, 7)
        assert got == text_
        assert (out[size:] == 0xA5).all()


def test_a_block_that_is_too_small() -> None:
    plan = plan_of([0], False)
    for size in (0, 1, plan.longest - 1):
        out = np.full(size, 0xA5, np.uint8)
        assert run_core(streams.trades(1), plan, out) == (FULL, 0, 0, 0, 0)
        assert (out == 0xA5).all()
    assert run_core(b"", plan, np.empty(0, np.uint8)) == (DONE, 0, 0, 0, 0)


def test_the_longest_row_fits() -> None:
    for layout in LAYOUTS:
        if layout.name.startswith(("InstrumentDef", "Error", "System", "SymbolMapping")):
            record = layout.undefined(True)
            for field in layout.all_fields(True):
                if field.kind == "cstr":
                    record[field.name] = b"\x01" * (field.size - 1)
                elif field.kind == "price":
                    record[field.name] = INT64_MIN
                elif field.kind not in ("reserved", "char") and field.name not in (
                    "length",
                    "rtype",
                ):
                    record[field.name] = np.iinfo(field.format).max - (field.kind == "timestamp")
            for json_lines in (False, True):
                options = TextOptions(json_lines, True, True, True)
                size = layout.itemsize(True)
                program = text_program(layout.rtypes[0], layout, size, True, options)
                out = np.full(program.longest + 8, 0xA5, np.uint8)
                plan = TextPlan([(layout.rtypes[0], program)])
                done = write_rows(
                    record.tobytes(), 0, size, plan, SIZES, True, None, 0, NO_SYMBOLS, out[:-8]
                )
                assert (done[0], done[4]) == (DONE, 1)
                assert done[2] <= program.longest - 64
                assert (out[-8:] == 0xA5).all()


def test_cut_and_broken_records() -> None:
    plan = plan_of([0], False)
    out = np.empty(10 * plan.longest, np.uint8)
    raw = streams.trades(2)
    assert run_core(raw[:-1], plan, out)[::3] == (CUT, 1)
    assert run_core(raw[:50], plan, out)[:2] == (CUT, 48)
    for length in (0, 3, 11):
        broken = raw[:48] + bytes([length]) + raw[49:]
        assert run_core(broken, plan, out)[:2] == (INVALID, 48)
    assert run_core(raw, plan, out, end=48)[:2] == (DONE, 48)


def test_codes_that_end_early() -> None:
    plan = plan_of([0], False)
    out = np.empty(10 * plan.longest, np.uint8)
    raw = streams.trades(3)
    symbols = Symbols([b"", b"A"])
    codes = np.zeros(2, np.int32)
    assert run_core(raw, plan, out, codes=codes, symbols=symbols)[::3] == (NO_CODE, 2)
    assert run_core(raw, plan, out, codes=codes, first=2, symbols=symbols)[::3] == (NO_CODE, 0)
    for first in (-1, 3):
        with pytest.raises(ValueError, match="has no code among 2"):
            run_core(raw, plan, out, codes=codes, first=first, symbols=symbols)


@pytest.mark.parametrize(("start", "end"), [(-1, 48), (0, 97), (60, 48), (97, 97)])
def test_ranges_outside_of_the_data(start: int, end: int) -> None:
    plan = plan_of([0], False)
    with pytest.raises(ValueError, match="lie outside the 96 bytes"):
        run_core(streams.trades(2), plan, np.empty(9999, np.uint8), start, end=end)


@pytest.mark.parametrize(
    ("size", "ops", "words"),
    [
        (12, [], "no record has 12 bytes"),
        (1024, [], "no record has 1024 bytes"),
        (49, [], "no record has 49 bytes"),
        (48, [(b"x" * 57, "", 0, 0)], "literal of 57 bytes"),
        (48, [(b"", "u8", 41, 8)], "u8 of 8 bytes at 41"),
        (48, [(b"", "u8", -1, 8)], "u8 of 8 bytes at -1"),
        (48, [(b"", "u8", 16, 4)], "u8 of 4 bytes at 16"),
        (48, [(b"", "text", 16, 33)], "text of 33 bytes at 16"),
        (48, [(b"", "text", 16, -1)], "text of -1 bytes at 16"),
        (48, [(b"", "u3", 16, 3)], "'u3' is no kind"),
        (48, [(b"", "symbol", 0, 0)] * 2, "2 symbols in a row"),
    ],
)
def test_programs_are_checked(size: int, ops: list[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TextProgram(size, ops, JSON)


def test_tables_are_checked() -> None:
    ones, special = [b"x"] * 256, bytes(256)
    with pytest.raises(ValueError, match="255 texts for 256 bytes"):
        TextStyle(b"", False, False, ones[1:], ones, ones, special)
    with pytest.raises(ValueError, match="longer than 8 bytes"):
        TextStyle(b"", False, False, [b"x" * 9] * 256, ones, ones, special)
    with pytest.raises(ValueError, match="null has up to 8 bytes"):
        TextStyle(b"x" * 9, False, False, ones, ones, ones, special)
    with pytest.raises(ValueError, match="null has up to 8 bytes"):
        TextStyle(b"", False, False, ones, ones, ones, special[1:])
    with pytest.raises(ValueError, match="no text for unmapped"):
        Symbols([])
    with pytest.raises(TypeError):
        Symbols([b"", "text"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no route for rtype 256"):
        TextPlan([(256, TextProgram(16, [], CSV))])


def test_what_was_never_made() -> None:
    program = TextProgram(48, [(b"\n", "", 0, 0)], CSV)
    plan = TextPlan([(0, program)])
    out = np.empty(999, np.uint8)
    with pytest.raises(TypeError, match="never made"):
        TextPlan([(0, TextProgram.__new__(TextProgram))])
    with pytest.raises(TypeError, match="never made"):
        TextProgram(48, [], TextStyle.__new__(TextStyle))
    with pytest.raises(TypeError, match="never made"):
        run_core(streams.trades(1), TextPlan.__new__(TextPlan), out)
    with pytest.raises(TypeError, match="never made"):
        run_core(streams.trades(1), plan, out, symbols=Symbols.__new__(Symbols))
    for made, arguments in (
        (program, (48, [], CSV)),
        (plan, ([],)),
        (NO_SYMBOLS, ([b""],)),
        (CSV, (b"", False, False, [b""] * 256, [b""] * 256, [b""] * 256, bytes(256))),
    ):
        with pytest.raises(TypeError, match="made once"):
            made.__init__(*arguments)  # type: ignore[misc]


def test_literals_longer_than_an_op_holds_are_cut() -> None:
    literal = bytes(range(33, 127)) * 2
    ops = list(text_programs._ops(literal, "u1", 3, 1))
    assert b"".join(op[0] for op in ops) == literal
    assert [len(op[0]) for op in ops] == [56, 56, 56, 20]
    assert [op[1:] for op in ops] == [("", 0, 0)] * 3 + [("u1", 3, 1)]
