"""``dbnfast head``: the first records of a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from dbnfast._util.urls import masked
from dbnfast.cli.format import Style, layout_of, rows
from dbnfast.cli.inputs import each
from dbnfast.cli.terminal import cell, explain, explain_watch, put, put_json, put_table
from dbnfast.errors import DbnError, DecodeError
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.fields import CHAR, CSTR, ENUM, TIMESTAMP
from dbnfast.layouts.table import MAX_RECORD_SIZE
from dbnfast.store.watch import Watch

if TYPE_CHECKING:
    from dbnfast.cli.format import Row
    from dbnfast.cli.terminal import Input, Opened
    from dbnfast.enums import RType
    from dbnfast.layouts.fields import Layout
    from dbnfast.records.records import Records

MAX_COLUMNS: Final = 32  # a record of more fields is written as name=value pairs
MIN_BLOCK: Final = 4 << 10
MAX_BLOCK: Final = 1 << 20
LEFT_KINDS: Final = (CHAR, CSTR, ENUM, TIMESTAMP)


def run(source: Input, n: int, schema: str | None, *, raw: bool, as_json: bool) -> int:
    """
    Show the first records of an input.

    Parameters
    ----------
    source : Input
        The input; of several files those of the first ones.
    n : int
        How many records.
    schema : str or None
        The schema or rtype to show alone.
    raw : bool
        Whether numbers stay the integers that they are.
    as_json : bool
        Whether to write one JSON object a record.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        There is no such schema.
    """
    if schema is not None:
        as_rtype(schema)  # a wrong name is told before any file is opened
    max_bytes = MAX_BLOCK if schema else min(max(n * MAX_RECORD_SIZE, MIN_BLOCK), MAX_BLOCK)
    parts: list[Records] = []
    damage, watch = None, None
    for one in each([source]):
        try:
            with one.open(max_bytes) as opened:
                if schema is not None and watch is None:
                    metadata = opened.reader.metadata
                    watch = Watch(schema, None if metadata is None else metadata.schema)
                found, damage = _first(opened, n - sum(map(len, parts)), schema, watch)
                parts += found
        except (DbnError, OSError) as error:
            return explain(one.name, error)
        if damage is not None or sum(map(len, parts)) >= n:
            break
    _put_parts(parts, Style(raw, names=not (as_json or raw), all_levels=as_json), as_json)
    if damage is not None:
        return explain(one.name, damage)
    return 0 if watch is None else explain_watch(masked(source.name), watch)


def _first(
    opened: Opened, n: int, schema: str | None, watch: Watch | None
) -> tuple[list[Records], DecodeError | None]:
    # the first n records, and the damage that stands in the way of them
    parts: list[Records] = []
    left = n
    blocks = opened.blocks()
    try:
        while left and (block := next(blocks, None)) is not None:
            if watch is not None:
                watch.see(block)
            part = (block if schema is None else block.filter(schema))[:left]
            if len(part):
                parts.append(part)
                left -= len(part)
    except DecodeError as error:
        return parts, error
    return parts, None


def _put_parts(parts: list[Records], style: Style, as_json: bool) -> None:
    if as_json:
        for part in parts:
            for _, _, row in rows(part, style):
                put_json(row)
        return
    layouts = {layout_of(run, key) for part in parts for run in part.runs() for key in run.counts}
    rtypes = {key for part in parts for key in part.counts}
    layout = layouts.pop() if len(layouts) == 1 and len(rtypes) == 1 else None
    if layout is not None and len(style.fields(layout, False)) <= MAX_COLUMNS:
        _put_as_table(parts, layout, style)
    else:
        _put_as_lines(parts, rtypes, style)


def _put_as_table(parts: list[Records], layout: Layout, style: Style) -> None:
    fields = style.fields(layout, parts[0].ts_out)
    put_table(
        [field.name for field in fields],
        (list(row.values()) for part in parts for _, _, row in rows(part, style)),
        {field.name for field in fields if field.kind in LEFT_KINDS},
    )


def _put_as_lines(parts: list[Records], rtypes: set[RType | int], style: Style) -> None:
    width = max((len(name_of(key)) for key in rtypes), default=0)
    for part in parts:
        for key, layout, row in rows(part, style):
            put(line_of(name_of(key).ljust(width), layout, row))


def name_of(key: RType | int) -> str:
    """
    Give the name of an rtype.

    Parameters
    ----------
    key : RType or int
        The rtype.

    Returns
    -------
    str
    """
    return f"rtype {key:#04x}" if type(key) is int else str(key)


def line_of(kind: str, layout: Layout | None, row: Row) -> str:
    """
    Write a record as a line of name=value pairs.

    Parameters
    ----------
    kind : str
        What it is.
    layout : Layout or None
        Its layout; None for an unknown rtype.
    row : dict
        Its values by field; taken apart.

    Returns
    -------
    str
    """
    # what is undefined is left out; the header's fields other than the first three come last
    index = "ts_event" if layout is None else layout.index_ts
    time = cell(row.pop(index)) or "-"
    instrument = cell(row.pop("instrument_id"))
    del row["rtype"]
    for name in ("publisher_id", "ts_event"):
        if name in row:
            row[name] = row.pop(name)
    pairs = (f"{name}={_quoted(value)}" for name, value in row.items() if value not in (None, ""))
    return f"{kind}  {time:<30}  {instrument:>10}  {' '.join(pairs)}".rstrip()


def _quoted(value: str | int | None) -> str:
    text = cell(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(' ="') else text
