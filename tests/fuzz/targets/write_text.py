"""
Any record bits become JSON that `json` reads and CSV that `csv` reads, and these the same records.

Where the official package reads the records as well, the text is what its Transcoder writes.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import dbnfast
from dbnfast.layouts.table import layout_by_size, layout_for
from dbnfast.text.csv import from_csv
from dbnfast.text.json import from_json
from dbnfast.text.write import write_csv, write_json
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, unpack
from helpers import builders, streams, texts
from helpers.roads import plain_records

mutate = mutators.stream
DICTIONARY = (b"\xff" * 8, b"\xff" * 7 + b"\x7f", b'"', b"\\", b",", b"\n")
MAX_LEN = 6000


def seeds() -> Iterator[bytes]:
    """Every plain stream and fragment of the fixtures."""
    return starts.files("none")


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    records = plain_records(raw)
    if records is None:
        return
    pretty = choices.random() < 0.5
    options = {"pretty_px": pretty, "pretty_ts": pretty, "upgrade": False}
    walked = streams.walk(records.tobytes())
    known = [r for r in walked if layout_by_size(r[1], len(r), records.ts_out) is not None]
    check_json(records, known, options, choices)
    for rtype in {raw[1] for raw in known}:
        check_csv(records, [raw for raw in known if raw[1] == rtype], options)
    if choices.random() < 0.5:
        official(raw[: mutators.header_size(raw)], records, walked, pretty)


def is_told(raw: bytes, ts_out: bool) -> bool:
    """Whether text shows which of its type's layouts a record has, reading as version 3."""
    layout = layout_by_size(raw[1], len(raw), ts_out)
    return layout is not None and 3 in layout.versions


def check_json(
    records: dbnfast.Records, known: list[bytes], options: dict[str, Any], choices: Choices
) -> None:
    """Lines for every record that has fields, which come back."""
    out = io.BytesIO()
    map_symbols = choices.random() < 0.5
    n = write_json(records, out, map_symbols=map_symbols, **options)
    text = out.getvalue()
    rows = [json.loads(line) for line in text.splitlines()]
    assert n == len(rows) == len(known)
    assert [row["hd"]["rtype"] for row in rows] == [raw[1] for raw in known]
    if all(is_told(raw, records.ts_out) for raw in known):
        pretty = options["pretty_ts"]
        wanted = [texts.carried(raw, records.ts_out, pretty) for raw in known]
        assert from_json(text, ts_out=records.ts_out).tobytes() == b"".join(wanted)


def check_csv(records: dbnfast.Records, same: list[bytes], options: dict[str, Any]) -> None:
    """Rows for the records of one type, which come back."""
    out = io.BytesIO()
    rtype = dbnfast.RType(same[0][1])
    try:
        n = write_csv(records, out, schema=rtype, **options)
    except ValueError:
        # the header has the columns of the stream's version, and a record is of another one
        own = layout_for(rtype, records.version)
        assert any(layout_by_size(raw[1], len(raw), records.ts_out) is not own for raw in same)
        return
    text = out.getvalue()
    rows = list(csv.reader(io.StringIO(text.decode(), newline=""), strict=True))
    assert n + 1 == len(rows) == len(same) + 1
    assert len(set(map(len, rows))) == 1
    if all(is_told(raw, records.ts_out) for raw in same):
        wanted = [texts.carried(raw, records.ts_out, options["pretty_ts"]) for raw in same]
        assert from_csv(text, ts_out=records.ts_out).tobytes() == b"".join(wanted)


# --- the official package ---------------------------------------------------------------------


def official(head: bytes, records: dbnfast.Records, walked: list[bytes], pretty: bool) -> None:
    """The lines are the Transcoder's, where it reads what we read."""
    tame = [raw for raw in walked if is_tame(raw, records)]
    if not tame or records.metadata is None:
        return
    data = head + b"".join(tame)
    out = io.BytesIO()
    write_json(
        dbnfast.scan(data), out, pretty_px=pretty, pretty_ts=pretty, upgrade=False,
        map_symbols=False,
    )  # fmt: skip
    assert out.getvalue() == transcoded(data, pretty)


def is_tame(raw: bytes, records: dbnfast.Records) -> bool:
    """Whether the official package reads a record, and reads no code at random."""
    layout = layout_by_size(raw[1], len(raw), records.ts_out)
    kinds = {kind.layout for kind in builders.KINDS[records.version] if kind.rtype == raw[1]}
    if layout not in kinds or layout is None or layout.itemsize(records.ts_out) != len(raw):
        return False
    return all(
        raw[field.offset] in (b"N" if field.name.startswith("user") else b"A")
        for field in layout.fields
        if field.raw_byte
    )


def transcoded(data: bytes, pretty: bool) -> bytes:
    """What the official package writes, with its invalid escapes and lowest price put right."""
    import databento_dbn as dbn

    head = dbnfast.scan(data).metadata
    assert head is not None
    plain = builders.plain_metadata(head.version, head.ts_out)
    out = io.BytesIO()
    transcoder = dbn.Transcoder(
        out,
        dbn.Encoding.JSON,
        dbn.Compression.NONE,
        pretty_px=pretty,
        pretty_ts=pretty,
        map_symbols=False,
        upgrade_policy=dbn.VersionUpgradePolicy.AS_IS,
    )
    transcoder.write(dbnfast.reference.encode_metadata(plain))
    transcoder.write(data[mutators.header_size(data) :])
    transcoder.flush()
    written = out.getvalue()
    written = written.replace(b"--9223372036.-854775808", b"-9223372036.854775808")
    return re.sub(rb"\\(x[0-9a-f]{2}|.)", _escape, written)


def _escape(found: re.Match[bytes]) -> bytes:
    if found[1] == b"'":
        return b"'"
    if found[1][:1] == b"x":
        code = int(found[1][1:], 16)
        return f"\\u{code:04X}".encode() if code < 32 or code == 127 else chr(code).encode()
    return found[0]
