"""
Any CSV is records, or an error that names line and byte and keeps the records before it.

In pieces they are the same. What was accepted becomes text whose rows `csv` reads, and that text
becomes the same records again, but for what no text carries.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import dbnfast
from dbnfast.text.csv import from_csv, iter_csv
from dbnfast.text.write import write_csv
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, unpack
from fuzz.targets.read_json import check_error, is_text, lines_of, options_of, read, same_records
from helpers import streams, texts

mutate = mutators.lines
DICTIONARY = (b"rtype,", b"ts_event,", b"price,", b"ts_out", b'""', b"\r\n", b",symbol")
MAX_LEN = 6000


def seeds() -> Iterator[bytes]:
    """Rows of every schema, pretty and plain."""
    return starts.packed(*lines_of(False))


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    if not is_text(raw):
        return
    options = options_of(choices)
    records, error = read(from_csv, raw, **options)
    same_records(records)
    if error is not None:
        check_error(raw, error, records)
        before = from_csv(raw[: error.offset], **options)
        assert before.tobytes() == records.tobytes()
    blocks = iter_csv(raw, max_bytes=choices.choice((1, 50, 999)), **options)
    found, other = streams.read_blocks(blocks)
    assert found == records.tobytes()
    assert str(other) == str(error)
    with texts.general_road():
        slow, other = read(from_csv, raw, **options)
    assert (slow.tobytes(), slow.version) == (records.tobytes(), records.version)
    assert str(other) == str(error)
    again(records, options["version"], choices)


def again(records: dbnfast.Records, version: int, choices: Choices) -> None:
    """Records of one type become rows that become the records again."""
    if len(records.counts) != 1 or len({len(raw) for raw in streams.walk(bytes(records))}) != 1:
        return
    (rtype,) = records.counts
    pretty = choices.random() < 0.5
    out = io.BytesIO()
    options = {"pretty_px": pretty, "pretty_ts": pretty, "upgrade": False}
    write_csv(records, out, schema=dbnfast.RType(rtype), **options)
    text = out.getvalue()
    rows = list(csv.reader(io.StringIO(text.decode("latin-1"), newline=""), strict=True))
    assert len(rows) == 1 + len(records)
    assert len(set(map(len, rows))) == 1
    read_back = from_csv(text, version=version, ts_out=records.ts_out)
    wanted = [texts.carried(raw, records.ts_out, pretty) for raw in streams.walk(bytes(records))]
    assert read_back.tobytes() == b"".join(wanted)
