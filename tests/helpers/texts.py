"""Text by the official package, what of a record text can carry, and other forms of a text."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import dbnfast
from dbnfast.layouts.fields import CSTR, RESERVED, TIMESTAMP
from dbnfast.layouts.table import layout_by_size
from dbnfast.text.parse import TextParser

U64_MAX = bytes([255]) * 8


def transcode(data: bytes, encoding: str, pretty: bool) -> bytes:
    """A stream as JSON lines or CSV, records as they are, symbols mapped where they can be."""
    import databento_dbn as dbn

    out = io.BytesIO()
    transcoder = dbn.Transcoder(
        out,
        dbn.Encoding(encoding),
        dbn.Compression.NONE,
        pretty_px=pretty,
        pretty_ts=pretty,
        upgrade_policy=dbn.VersionUpgradePolicy.AS_IS,
    )
    transcoder.write(data)
    transcoder.flush()
    return out.getvalue()


def carried(record: bytes, ts_out: bool, pretty: bool) -> bytes:
    """
    A record as text can carry it: without what is behind the layout and in reserved bytes.

    Of texts what is before the NUL; pretty times do not tell 0 from undefined.
    """
    layout = layout_by_size(record[1], len(record), ts_out)
    assert layout is not None
    raw = bytearray(record[: layout.size] + record[len(record) - 8 * ts_out :])
    raw[0] = len(raw) // 4
    for field in layout.all_fields(ts_out):
        place = slice(field.offset, field.offset + field.size)
        if field.kind == RESERVED:
            raw[place] = bytes(field.size)
        elif field.kind == TIMESTAMP and pretty and raw[place] == bytes(8):
            raw[place] = U64_MAX
        elif field.kind == CSTR:
            text, nul, _ = bytes(raw[place]).partition(b"\0")
            try:
                text.decode()
            except UnicodeDecodeError:
                text = b""
            raw[place] = (text if nul else b"").ljust(field.size, b"\0")
    return bytes(raw)


# --- the two roads of the readers -------------------------------------------------------------


@contextlib.contextmanager
def general_road() -> Iterator[None]:
    """Readers of text take nothing for usual: what they then find is what there is."""
    with contextlib.ExitStack() as stack:
        for kind in TextParser.__subclasses__():
            stack.enter_context(mock.patch.object(kind, "_quick", return_value=None))
        yield


def outcome(reader: Callable[..., dbnfast.Records], text: bytes, **options: Any) -> tuple[Any, ...]:
    """All that a reader makes of a text: the records, and what is wrong behind them."""
    try:
        records, error = reader(text, **options), None
    except dbnfast.InvalidRecordError as raised:
        if raised.good is None:
            raise
        records, error = raised.good, raised
    at = None if error is None else (str(error), error.offset, error.record_index)
    return records.tobytes(), records.version, records.ts_out, at


# --- JSON in other words ----------------------------------------------------------------------

_STRANGE = (
    None, True, "", 0, -1, 7, 255, 256, 2**31 - 1, 2**64 - 1, "0", "007", "-5", "+5", "1.5", "1e3",
    "N", "\\x41", "\t", "\u00e9", "\U0001f600", "a/b", "2024-02-29T23:59:59.999999999Z",
    "2024-02-30T00:00:00Z", "18446744073709551615", [], {}, [{"a": [1, "x", None]}],
)  # fmt: skip
_NAMES = ("symbol", "ts_out", "hd", "levels", "new", "rtype", "trading_reference_price", "code")


def reworded(rng: random.Random, text: bytes) -> bytes:
    """Lines of JSON that say the same in other words, or nearly."""
    odd = rng.choice((0.0, 0.0, 0.02, 0.2))
    ways = {
        "order": rng.random() < 0.5,
        "flat": rng.random() < 0.2,
        "ascii": rng.random() < 0.5,
        "numbers": rng.choice((None, None, str, int)),
        "spaces": rng.random() < 0.3,
    }
    lines = []
    for raw in text.splitlines():
        try:
            line = json.loads(raw)
        except ValueError:  # an escape of the vendor's that is no JSON
            lines.append(raw)
            continue
        line = _reworded(rng, line, ways, odd)
        if ways["flat"] and isinstance(line, dict):
            for name in ("hd", "levels"):
                if rng.random() < 0.9 and name in line:
                    line = _flat(line, name)
        separators = (", ", ": ") if ways["spaces"] else (",", ":")
        said = json.dumps(line, separators=separators, ensure_ascii=bool(ways["ascii"]))
        if ways["spaces"] and rng.random() < 0.3:
            said = said.replace(":", " : ").replace("{", " {\t").replace("]", " ] ")
        lines.append(said.encode())
    end = rng.choice((b"\n", b"\n", b"\n", b"\r\n", b" \n", b"\n\n", b"\t\r\n"))
    return end.join(lines) + rng.choice((end, b""))


def _flat(line: dict[str, Any], name: str) -> dict[str, Any]:
    inner = line.pop(name)
    if isinstance(inner, dict):
        return {**inner, **line}
    for i, level in enumerate(inner if isinstance(inner, list) else ()):
        for key, value in level.items() if isinstance(level, dict) else ():
            line[f"{key}_{i:02}"] = value
    return line


def _reworded(rng: random.Random, value: Any, ways: dict[str, Any], odd: float) -> Any:
    if isinstance(value, list):
        made = [_reworded(rng, each, ways, odd) for each in value]
        return made[: rng.randint(0, len(made))] if rng.random() < odd else made
    if not isinstance(value, dict):
        if rng.random() < odd / 10:
            return rng.choice(_STRANGE)
        to = ways["numbers"]
        is_number = type(value) is int or (
            isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19
        )
        return to(value) if to is not None and is_number and rng.random() < 0.7 else value
    items = [(name, _reworded(rng, each, ways, odd)) for name, each in value.items()]
    if rng.random() < odd and items:
        del items[rng.randrange(len(items))]
    if rng.random() < odd:
        items.append((rng.choice(_NAMES), rng.choice(_STRANGE)))
    if ways["order"]:
        rng.shuffle(items)
    return dict(items)
