"""
Any record bits become Arrow columns that say what the bytes say, null where undefined.

The fields are unpacked by `struct`, as the table of layouts places them. A frame has the rows of
the table.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

import dbnfast
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, TIMESTAMP, Field, Layout
from dbnfast.layouts.table import layout_by_size
from dbnfast.store.store import Store
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import Choices, unpack
from helpers import streams
from helpers.roads import plain_records

mutate = mutators.stream
DICTIONARY = (b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\x80", b"\xc3\xa9")
MAX_LEN = 6000
UNDEF_PRICE = 2**63 - 1
FORMATS = {"u1": "<B", "i1": "<b", "<u2": "<H", "<i2": "<h", "<u4": "<I", "<i4": "<i",
           "<u8": "<Q", "<i8": "<q"}  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Every plain stream of the fixtures."""
    return starts.files("none")


def check(data: bytes) -> None:
    """See above."""
    choices, raw = unpack(data)
    records = plain_records(raw)
    if records is None or records.metadata is None:
        return
    try:
        store = Store.from_bytes(records.metadata.encode() + records.tobytes())
    except (dbnfast.DecodeError, dbnfast.EncodeError):
        return
    groups: dict[int, list[bytes]] = {}
    for record in streams.walk(records.tobytes()):
        groups.setdefault(record[1], []).append(record)
    if dbnfast.RType.OHLCV_DEPRECATED in groups and len(groups) > 1:
        del groups[dbnfast.RType.OHLCV_DEPRECATED]  # shown with the file's own bars
        groups = {rtype: same for rtype, same in groups.items() if not 0x20 <= rtype <= 0x24}
    for rtype, same in groups.items():
        layouts = {layout_by_size(r[1], len(r), records.ts_out) for r in same}
        layout = layouts.pop()
        if layouts or layout is None:
            continue  # nobody knows its fields, or the older are upgraded
        check_type(store, dbnfast.RType(rtype), layout, same, choices)


def check_type(
    store: Store, rtype: dbnfast.RType, layout: Layout, same: list[bytes], choices: Choices
) -> None:
    """The table of a type, and the frame beside it."""
    metadata = store.metadata
    own = metadata.schema
    # mixed data is shown in the newest layout, whatever it was
    newest = 3 in layout.versions
    wanted = own if own is not None and dbnfast.enums.SCHEMA_RTYPES[own] == rtype else rtype
    fixed = choices.random() < 0.5
    price_type = "fixed" if fixed else "float"
    pretty = choices.random() < 0.5
    options: dict[str, Any] = {"price_type": price_type, "pretty_ts": pretty}
    options["categorical"] = choices.random() < 0.5
    table = store.to_arrow(wanted, map_symbols=False, **options)
    if choices.random() < 0.5:
        # a header may be such that it can name no instrument: a ValueError says so
        with contextlib.suppress(ValueError):
            named = store.to_arrow(wanted, map_symbols=True, **options)
            named.validate(full=True)
            assert named.drop_columns(["symbol"]) == table
    assert table.num_rows == len(same)
    table.validate(full=True)
    if newest or own is not None:
        for field in layout.ordered:
            if field.name in table.column_names:
                shown = values(table.column(field.name), field, pretty)
                assert shown == plain(same, field, fixed, pretty), field.name
    if choices.random() < 0.2:
        frame = store.to_df(schema=wanted, pretty_ts=False, map_symbols=False)
        assert len(frame) == len(same)


def values(column: Any, field: Field, pretty: bool) -> list[Any]:
    """The values of a column, None where undefined."""
    import pyarrow as pa

    if field.kind == TIMESTAMP and pretty:
        column = column.cast(pa.int64())
    return column.to_pylist()  # type: ignore[no-any-return]


def plain(same: list[bytes], field: Field, fixed: bool, pretty: bool) -> list[Any]:
    """The values of a field, unpacked one by one."""
    found: list[Any] = []
    for record in same:
        part = record[field.offset : field.offset + field.size]
        if field.kind in (CHAR, CSTR):
            shown = text(part.rstrip(b"\0"))
            found.append(shown if field.kind == CSTR else shown or None)
            continue
        (value,) = struct.unpack(FORMATS[field.format], part)
        undefined = field.has_undef and value == field.undef
        if field.kind == PRICE:
            undefined = value == UNDEF_PRICE
        elif field.kind == TIMESTAMP and pretty:
            undefined = value >= 2**63
        found.append(None if undefined else number(value, field, fixed))
    return found


def number(value: int, field: Field, fixed: bool) -> float:
    """A number as columns have it."""
    return value / 1e9 if field.kind == PRICE and not fixed else value


def text(value: bytes) -> str:
    """A text as columns have it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
