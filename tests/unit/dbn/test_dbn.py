"""`dbnfast.dbn` gives what databento_dbn gives for the same input."""

from __future__ import annotations

import datetime
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import dbn
from dbnfast.codec.compression import inflate
from helpers.places import FIXTURES

official = pytest.importorskip("databento_dbn")

SCHEMAS = {str(schema) for schema in dbnfast.Schema} | {"live", "empty"}
FILES = sorted(p.name for p in FIXTURES.glob("*.dbn") if p.name.partition(".")[0] in SCHEMAS)
POLICIES = ["AS_IS", "UPGRADE_TO_V2", "UPGRADE_TO_V3", None]
files = pytest.mark.parametrize("name", FILES)
policies = pytest.mark.parametrize("policy", POLICIES)


def options(package: Any, policy: str | None, **other: Any) -> dict[str, Any]:
    # the official classes take no None
    if policy is None:
        return other
    return {"upgrade_policy": getattr(package.VersionUpgradePolicy, policy), **other}


def pieces(data: bytes) -> list[bytes]:
    cuts = sorted({0, 1, 7, 40, len(data) // 3, len(data) // 2, len(data) - 5, len(data)})
    return [data[a:b] for a, b in pairwise(cut for cut in cuts if 0 <= cut <= len(data))]


def said(objects: list[Any]) -> list[tuple[str, bytes]]:
    return [
        (type(one).__name__, one.encode() if hasattr(one, "encode") else bytes(one))
        for one in objects
    ]


def test_every_name_is_there() -> None:
    names = {name for name in dir(official) if not name.startswith("_")}
    # what a program has no use for: what `variants` returns, an import, and a module of theirs
    names -= {"EnumIterator", "Union", "metadata"}
    assert names <= set(dir(dbn))
    assert set(dbn.__all__) == names
    for name in names:
        mine, theirs = getattr(dbn, name), getattr(official, name)
        if isinstance(theirs, int):
            assert mine == theirs, name
        elif isinstance(theirs, type) and name != "DBNError":
            assert mine.__name__ == theirs.__name__ == name


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_the_modules_of_versions_have_the_records_of_each(version: str) -> None:
    mine, theirs = getattr(dbn, version), getattr(official, version)
    names = {name for name in dir(theirs) if not name.startswith("_")}
    assert set(mine.__all__) == names
    assert mine.SYMBOL_CSTR_LEN == theirs.SYMBOL_CSTR_LEN
    for name in names - {"SYMBOL_CSTR_LEN"}:
        # the official aliases are the classes themselves: ours say so by their size
        assert getattr(mine, name).size_hint == getattr(theirs, name).size_hint, name
        assert issubclass(getattr(mine, name), dbn.DBNRecord)
    assert mine.InstrumentDefMsg.__name__ == theirs.InstrumentDefMsg.__name__


@policies
@files
def test_the_decoder_gives_the_official_objects(name: str, policy: str | None) -> None:
    data = (FIXTURES / name).read_bytes()
    mine = dbn.DBNDecoder(**options(dbn, policy))
    theirs = official.DBNDecoder(**options(official, policy))
    if policy == "UPGRADE_TO_V2" and ".v3" in name:
        for package, decoder in ((dbn, mine), (official, theirs)):
            with pytest.raises(package.DBNError):
                decoder.write_and_decode(data)
        return
    for piece in pieces(data):
        mine.write(piece)
        theirs.write(piece)
        expected = theirs.decode()
        assert said(mine.decode()) == said(expected)
        # of a header that is not whole, the official one has lost the first bytes
        assert mine.buffer().endswith(theirs.buffer())
        assert mine.buffer() == theirs.buffer() or mine.buffer().startswith(b"DBN")
    assert mine.decode() == theirs.decode() == []


@files
def test_a_stream_in_one_call(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    expected = said(official.DBNDecoder().write_and_decode(data))
    assert said(dbn.DBNDecoder().write_and_decode(data)) == expected
    assert said(dbn.DBNDecoder().write_and_decode(bytearray(data))) == expected
    packed = dbnfast.codec.compression.Deflater(dbnfast.Compression.ZSTD)
    frame = bytes(packed.push(data)) + packed.finish()
    for kind in ("NONE", "ZSTD"):  # the content says it too
        decoder = dbn.DBNDecoder(compression=getattr(dbn.Compression, kind))
        assert said(decoder.write_and_decode(frame)) == expected
    decoder = official.DBNDecoder(compression=official.Compression.ZSTD)
    assert said(decoder.write_and_decode(frame)) == expected


@pytest.mark.parametrize("ts_out", [True, False])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_fragment(version: int, ts_out: bool) -> None:
    name = f"definition.v{version}{'.ts_out' if ts_out else ''}.dbn"
    data = (FIXTURES / name).read_bytes()
    data = data[8 + int.from_bytes(data[4:8], "little") :]
    fields: dict[str, Any] = {"has_metadata": False, "ts_out": ts_out, "input_version": version}
    theirs = official.DBNDecoder(**fields)
    mine = dbn.DBNDecoder(**fields)
    assert said(mine.write_and_decode(data)) == said(theirs.write_and_decode(data))


def test_records_before_damage_come_first_and_then_the_error() -> None:
    data = (FIXTURES / "trades.v3.dbn").read_bytes()
    n = len(official.DBNDecoder().write_and_decode(data))
    mine, theirs = dbn.DBNDecoder(), official.DBNDecoder()
    for decoder in (mine, theirs):
        decoder.write(data + bytes(40))
    with pytest.raises(official.DBNError):
        theirs.decode()
    assert len(mine.decode()) == n
    for _ in range(2):
        with pytest.raises(dbn.DBNError, match="0 bytes, expected 16 or more"):
            mine.decode()
    broken = dbn.DBNDecoder()
    broken.write(data[: 8 + int.from_bytes(data[4:8], "little")] + bytes(40))
    assert [type(one) for one in broken.decode()] == [dbn.Metadata]
    with pytest.raises(dbn.DBNError, match="0 bytes, expected 16 or more"):
        broken.decode()


def test_what_is_no_dbn_is_an_error() -> None:
    for package in (dbn, official):
        decoder = package.DBNDecoder()
        decoder.write(b"garbage" * 20)
        with pytest.raises(package.DBNError):
            decoder.decode()
        with pytest.raises(TypeError):
            decoder.write("text")


def records_of(data: bytes) -> tuple[bytes, list[bytes]]:
    """The header, and each record's bytes."""
    at = 8 + int.from_bytes(data[4:8], "little")
    head, records = data[:at], []
    while at < len(data):
        records.append(data[at : at + data[at] * 4])
        at += data[at] * 4
    return head, records


@policies
@pytest.mark.parametrize("name", ["trades.v3.dbn", "live.v3.ts_out.dbn", "definition.v1.dbn"])
def test_records_that_come_one_by_one(name: str, policy: str | None) -> None:
    if policy == "UPGRADE_TO_V2" and ".v3" in name:
        return  # an error, see above
    head, records = records_of((FIXTURES / name).read_bytes())
    mine = dbn.DBNDecoder(**options(dbn, policy))
    theirs = official.DBNDecoder(**options(official, policy))
    assert said(mine.write_and_decode(head)) == said(theirs.write_and_decode(head))
    for turn, record in enumerate(records * 3):
        # whole, in two pieces, as other kinds of buffers, several at once
        cut = turn % 4 * 7
        for piece in (record[:cut], memoryview(record)[cut:] if turn % 3 else record[cut:]):
            mine.write(piece)
            theirs.write(bytes(piece))
            assert mine.buffer() == theirs.buffer()
            if turn % 5 < 3:
                assert said(mine.decode()) == said(theirs.decode())
                assert mine.buffer() == theirs.buffer()
    for decoder in (mine, theirs):
        with pytest.raises(TypeError):
            decoder.write("text")
    assert said(mine.decode()) == said(theirs.decode())
    many = b"".join(records) * (2 + (2 << 20) // sum(map(len, records)))
    assert said(mine.write_and_decode(many)) == said(theirs.write_and_decode(many))
    assert mine.decode() == theirs.decode() == []
    assert mine.buffer() == theirs.buffer() == b""


def test_damage_among_records_that_come_one_by_one() -> None:
    head, records = records_of((FIXTURES / "trades.v3.dbn").read_bytes())
    decoder = dbn.DBNDecoder()
    decoder.write_and_decode(head)
    for record in records:
        assert len(decoder.write_and_decode(record)) == 1
    decoder.write(records[0] + bytes(40))
    assert len(decoder.decode()) == 1
    n = len(records) + 1
    at = len(head) + sum(map(len, records)) + len(records[0])
    for _ in range(2):
        with pytest.raises(dbn.DBNError, match=f"record {n} at byte {at} has a length of 0 bytes"):
            decoder.decode()
        decoder.write(records[0])  # too late


TEXT = ["CSV", "JSON"]


def transcoded(package: Any, data: bytes, encoding: str, **fields: Any) -> bytes:
    out = io.BytesIO()
    kind = package.Encoding.from_str(encoding.lower())
    transcoder = package.Transcoder(out, kind, package.Compression.NONE, **fields)
    for piece in pieces(data):
        transcoder.write(piece)
    transcoder.flush()
    return out.getvalue()


def outcome(package: Any, data: bytes, encoding: str, **fields: Any) -> bytes | str:
    try:
        return transcoded(package, data, encoding, **fields)
    except (ValueError, package.DBNError):
        return "error"


@pytest.mark.parametrize("encoding", [*TEXT, "DBN"])
@policies
@files
def test_the_transcoder_writes_the_official_bytes(
    name: str, policy: str | None, encoding: str
) -> None:
    data = (FIXTURES / name).read_bytes()
    mine = outcome(dbn, data, encoding, **options(dbn, policy))
    theirs = outcome(official, data, encoding, **options(official, policy))
    assert mine == theirs


@pytest.mark.parametrize("encoding", TEXT)
@pytest.mark.parametrize(
    "fields",
    [
        {"pretty_px": False},
        {"pretty_ts": False},
        {"map_symbols": False},
        {
            "symbol_interval_map": {
                5602: [
                    (datetime.date(2020, 1, 1), datetime.date(2026, 1, 6), "A"),
                    (datetime.date(2026, 1, 6), datetime.date(2030, 1, 1), "B"),
                ]
            }
        },
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_the_transcoders_options(fields: dict[str, Any], encoding: str) -> None:
    for name in ("trades.v3.dbn", "ohlcv-1s.v1.dbn", "definition.v2.ts_out.dbn"):
        data = (FIXTURES / name).read_bytes()
        mine = transcoded(dbn, data, encoding, **fields)
        assert mine == transcoded(official, data, encoding, **fields)


@pytest.mark.parametrize("encoding", [*TEXT, "DBN"])
@pytest.mark.parametrize("name", ["trades.v3.dbn", "definition.v1.dbn", "mbo.v2.ts_out.dbn"])
def test_records_are_transcoded_one_by_one(name: str, encoding: str) -> None:
    head, records = records_of((FIXTURES / name).read_bytes())
    found = []
    for package in (dbn, official):
        out = io.BytesIO()
        kind = package.Encoding.from_str(encoding.lower())
        transcoder = package.Transcoder(out, kind, package.Compression.NONE)
        transcoder.write(head)
        seen = []
        for turn, record in enumerate(records * 4):
            cut = turn % 3 * 9
            for piece in (record[:cut], record[cut:]):
                transcoder.write(bytearray(piece) if package is dbn and turn % 4 == 1 else piece)
                if encoding == "CSV":
                    seen.append(out.getvalue())  # rows are there at once
                if turn % 5 == 0:
                    seen.append(transcoder.buffer())
                if turn % 7 == 0:
                    transcoder.flush()
                    seen.append(out.getvalue())
        transcoder.write(b"".join(records) * (1 + (40 << 10) // sum(map(len, records))))
        transcoder.write(records[0])
        del transcoder  # without a flush
        found.append((seen, out.getvalue()))
    assert found[0] == found[1]


@pytest.mark.parametrize("encoding", [*TEXT, "DBN"])
def test_damage_is_told_by_the_write_that_brings_it(encoding: str) -> None:
    head, records = records_of((FIXTURES / "trades.v3.dbn").read_bytes())
    for package in (dbn, official):
        kind = package.Encoding.from_str(encoding.lower())
        transcoder = package.Transcoder(io.BytesIO(), kind, package.Compression.NONE)
        transcoder.write(head)
        for record in records:
            transcoder.write(record)
        with pytest.raises(package.DBNError, match="length"):
            transcoder.write(bytes(40))
    out = io.BytesIO()
    cut = dbn.Transcoder(out, dbn.Encoding(encoding), dbn.Compression.NONE)
    cut.write(head)
    cut.write(records[0])
    cut.write(records[1][:20])
    with pytest.warns(dbnfast.TruncatedWarning, match=f"at byte {len(head) + len(records[0])} "):
        cut.finish()
    assert out.getvalue() == transcoded(official, head + records[0], encoding)


def test_an_instrument_map_is_what_the_transcoder_takes() -> None:
    client = pytest.importorskip("databento")
    data = (FIXTURES / "trades.v3.dbn").read_bytes()
    out = []
    for package, maps in ((dbn, dbnfast), (official, client)):
        known = maps.InstrumentMap()
        known.insert_metadata(package.Metadata.decode(data))
        intervals = known.build_symbol_map()
        out.append(transcoded(package, data, "CSV", symbol_interval_map=intervals))
    assert out[0] == out[1]


@pytest.mark.parametrize("encoding", [*TEXT, "DBN"])
@pytest.mark.parametrize("schema", [None, "trades", "ohlcv-1s"])
def test_live_data_needs_a_schema_for_csv(schema: str | None, encoding: str) -> None:
    data = (FIXTURES / "live.v3.dbn").read_bytes()
    found = []
    for package in (dbn, official):
        fields = {} if schema is None else {"schema": package.Schema.from_str(schema)}
        found.append(outcome(package, data, encoding, **fields))
    assert found[0] == found[1]
    assert (found[0] == "error") == (encoding == "CSV" and schema is None)


@pytest.mark.parametrize("encoding", [*TEXT, "DBN"])
def test_a_fragment_is_transcoded(encoding: str) -> None:
    data = (FIXTURES / "definition.v1.dbn.frag").read_bytes()
    found = []
    for package in (dbn, official):
        found.append(
            transcoded(
                package, data, encoding, has_metadata=False, input_version=1,
                schema=package.Schema.DEFINITION,
            )
        )  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.parametrize("encoding", [*TEXT, "DBN"])
def test_a_flushed_frame_can_be_read_so_far_and_a_finished_one_is_whole(encoding: str) -> None:
    data = (FIXTURES / "trades.v3.dbn").read_bytes()
    plain = transcoded(official, data, encoding)
    out = io.BytesIO()
    with dbn.Transcoder(out, dbn.Encoding(encoding), dbn.Compression.ZSTD) as transcoder:
        for piece in pieces(data):
            transcoder.write(piece)
            transcoder.flush()
        unfinished = out.getvalue()
        assert dbnfast.codec.compression.first_bytes(memoryview(unfinished), len(plain)) == plain
        assert transcoder.buffer() == b""
    assert bytes(inflate(memoryview(out.getvalue())).data) == plain
    transcoder.finish()
    for use in (transcoder.flush, lambda: transcoder.write(b"")):
        with pytest.raises(ValueError, match="the transcoder is finished"):
            use()


def test_damage_ends_a_transcoder_behind_the_good_records() -> None:
    data = (FIXTURES / "trades.v3.dbn").read_bytes()
    out = io.BytesIO()
    transcoder = dbn.Transcoder(out, dbn.Encoding.CSV, dbn.Compression.NONE)
    with pytest.raises(dbn.DBNError, match="expected 16 or more"):
        transcoder.write(data + bytes(40))
    assert out.getvalue() == transcoded(official, data, "CSV")
    cut = dbn.Transcoder(io.BytesIO(), dbn.Encoding.CSV, dbn.Compression.NONE)
    cut.write(data[:-5])
    with pytest.warns(dbnfast.TruncatedWarning):
        cut.finish()


@pytest.mark.parametrize("ts_out", [False, True])
@pytest.mark.parametrize(
    ("policy", "versions"),
    [("AS_IS", (1, 2, 3)), ("UPGRADE_TO_V2", (1, 2)), ("UPGRADE_TO_V3", (1, 2, 3))],
)
def test_a_fragment_without_records_has_the_columns_that_are_asked_for(
    policy: str, versions: tuple[int, ...], ts_out: bool
) -> None:
    for version in versions:
        found = []
        for package in (official, dbn):
            out = io.BytesIO()
            package.Transcoder(
                out, package.Encoding.CSV, package.Compression.NONE, has_metadata=False,
                ts_out=ts_out, input_version=version, schema=package.Schema.DEFINITION,
                upgrade_policy=getattr(package.VersionUpgradePolicy, policy),
            ).finish()  # fmt: skip
            found.append(out.getvalue())
        assert found[0] == found[1]
        assert found[0].count(b"\n") == 1


def test_arguments_that_cannot_be_are_refused() -> None:
    for package in (dbn, official):
        none = package.Compression.NONE
        with pytest.raises(TypeError, match=r"write|read"):
            package.Transcoder(3, package.Encoding.CSV, none)
        with pytest.raises(ValueError, match="map_symbols"):
            package.Transcoder(io.BytesIO(), package.Encoding.DBN, none, map_symbols=True)
    with pytest.raises(TypeError, match="open the file in binary mode"):
        dbn.Transcoder(io.StringIO(), dbn.Encoding.CSV, dbn.Compression.NONE)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["trades.v1.dbn", "definition.v2.dbn", "live.v3.ts_out.dbn"])
@pytest.mark.parametrize(
    "values", [(5,), (5, 6), (5, 6, 7), (5, None, 7), (2**63, 2**64 - 2, 2**64 - 1)]
)
def test_a_header_is_changed_in_its_place(
    name: str, values: tuple[int, ...], tmp_path: Path
) -> None:
    found = []
    for package in (dbn, official):
        path = tmp_path / package.__name__
        path.write_bytes((FIXTURES / name).read_bytes())
        with path.open("r+b") as file:
            assert package.update_encoded_metadata(file, *values) is None
            assert file.tell() == path.stat().st_size
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_a_file_without_a_header_is_not_changed() -> None:
    for data in (b"", b"xx", b"garbage" * 20):
        file = io.BytesIO(data)
        with pytest.raises(dbn.DBNError):
            dbn.update_encoded_metadata(file, 5)
        assert file.getvalue() == data
