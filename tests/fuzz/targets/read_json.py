"""
Any lines are records, or an error that names line and byte and keeps the records before it.

In pieces they are the same, and so they are without the core's road for usual lines. What was
accepted becomes text that `json` reads, and that text becomes the same records again, but for
what no text carries.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import dbnfast
from dbnfast import reference
from dbnfast.codec.compression import detect
from dbnfast.text.json import JsonLines, from_json, iter_json
from dbnfast.text.write import write_json
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, unpack
from helpers import streams, texts

mutate = mutators.lines
DICTIONARY = (b'"hd":{', b'"rtype":', b'"levels":[{', b'"ts_out":', b'"publisher_id":', b"null,")
MAX_LEN = 6000


def lines_of(json_lines: bool) -> Iterator[bytes]:
    """The sound fixtures as the official package writes them, without its invalid escapes."""
    for name, data in starts.fixtures("none"):
        version = data[3] if data[:3] == b"DBN" else 0
        if version not in (1, 2, 3) or len(data) > 5000 or "." not in name:
            continue
        try:
            records = dbnfast.scan(data, on_truncated="raise")
        except dbnfast.DecodeError:
            continue
        out = io.BytesIO()
        for pretty in (True, False):
            options: dict[str, Any] = {"pretty_px": pretty, "pretty_ts": pretty}
            try:
                if json_lines:
                    write_json(records, out, upgrade=False, **options)
                else:
                    write_records_as_csv(records, out, **options)
            except ValueError:
                break  # what has no schema is no CSV
            yield out.getvalue()
            out = io.BytesIO()


def write_records_as_csv(records: dbnfast.Records, out: io.BytesIO, **options: Any) -> None:
    """Write CSV, older layouts as they are."""
    from dbnfast.text.write import write_csv

    write_csv(records, out, upgrade=False, **options)


def seeds() -> Iterator[bytes]:
    """Lines of every type, pretty and plain."""
    return starts.packed(*lines_of(True))


def options_of(choices: Choices) -> dict[str, Any]:
    """What the caller says of the text."""
    version = choices.choice((3, 3, 2, 1))
    schema = choices.choice((None, "trades", "mbp-1", "definition", "ohlcv-1d"))
    return {
        "version": version,
        "schema": schema,
        "ts_out": choices.choice((None, None, True, False)),
    }


def read(
    reader: Any, raw: bytes, **options: Any
) -> tuple[dbnfast.Records, dbnfast.InvalidRecordError | None]:
    """The good records of a text, and what is wrong behind them."""
    try:
        return reader(raw, **options), None
    except dbnfast.InvalidRecordError as error:
        if error.good is None:
            raise
        return error.good, error


def check_error(raw: bytes, error: dbnfast.InvalidRecordError, records: dbnfast.Records) -> None:
    """An error says where it is."""
    assert error.record_index == len(records)
    assert error.offset is not None
    assert 0 <= error.offset <= len(raw)
    line = raw.count(b"\n", 0, error.offset) + 1
    assert str(error).startswith(f"line {line} at byte {error.offset}: "), str(error)


def is_text(raw: bytes) -> bool:
    """Whether readers take it for text: not compressed, and no DBN."""
    return raw[:3] != b"DBN" and detect(raw[:12]) == "none"


def same_records(records: dbnfast.Records) -> None:
    """The records are sound: the reference walks them, and each fits its layout."""
    walked = list(reference.iter_records(records.tobytes(), ts_out=records.ts_out))
    assert len(walked) == len(records)


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    if not is_text(raw):
        return
    options = options_of(choices)
    records, error = read(from_json, raw, **options)
    same_records(records)
    if error is not None:
        check_error(raw, error, records)
    blocks = iter_json(raw, max_bytes=choices.choice((1, 50, 999)), **options)
    found, other = streams.read_blocks(blocks)
    assert found == records.tobytes()
    assert str(other) == str(error)
    with texts.general_road():
        slow, other = read(from_json, raw, **options)
    assert (slow.tobytes(), slow.version) == (records.tobytes(), records.version)
    assert str(other) == str(error)
    if error is None and options["ts_out"] is not None:
        feed = JsonLines(**options)
        pushed = [feed.push(line) for line in raw.splitlines(keepends=True) if b"\r" not in raw]
        assert b"\r" in raw or b"".join(map(bytes, pushed)) == found
    again(records, options["version"], choices)


def again(records: dbnfast.Records, version: int, choices: Choices) -> None:
    """Records become lines that become the records again."""
    pretty = choices.random() < 0.5
    out = io.BytesIO()
    write_json(records, out, pretty_px=pretty, pretty_ts=pretty, upgrade=False)
    text = out.getvalue()
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == len(records)
    read_back = from_json(text, version=version, ts_out=records.ts_out)
    wanted = [texts.carried(raw, records.ts_out, pretty) for raw in streams.walk(bytes(records))]
    assert read_back.tobytes() == b"".join(wanted)
