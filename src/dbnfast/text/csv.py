"""CSV back into records."""

from __future__ import annotations

import csv
import io
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.lines import LinePlan
from dbnfast.enums import DBN_VERSION
from dbnfast.layouts.table import LAYOUTS
from dbnfast.text.input import TextReader
from dbnfast.text.parse import (
    DECIMAL,
    INTEGER,
    Fault,
    Part,
    TextParser,
    blank_record,
    implies_codes,
    steps_of,
)
from dbnfast.text.target import OLD_DEFINITION, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbnfast._typing import Bytes
    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import RType, Schema
    from dbnfast.layouts.fields import Layout
    from dbnfast.records.records import Records
    from dbnfast.text.input import TextInput

_KNOWN: Final = {field.name for layout in LAYOUTS for field in layout.ordered} | {"ts_out"}


def _reader(text: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), strict=True)


@lru_cache(maxsize=16)
def _plan(layout: Layout, ts_out: bool, header: tuple[str, ...], code: str, rtype: int) -> LinePlan:
    # how the lines of a layout become records, all of them with the rtype that the text calls code
    steps = {step.field.name: step for step in steps_of(layout, ts_out)}
    blank = blank_record(layout, ts_out).copy()
    blank[steps.pop("rtype").field.offset] = rtype
    columns: list[tuple[int, int, bytes] | bytes | None] = []
    for name in header:
        step = steps.get(name)
        if name == "rtype":
            columns.append(code.encode())
        else:
            columns.append(step and (step.kind, step.field.offset, step.absent))
    return LinePlan(blank.tobytes(), columns)


class CsvParser(TextParser):
    """
    Pieces of CSV in, blocks of records out.

    Parameters
    ----------
    target : Target
        What the records are to be.
    """

    latin = True  # a byte that is no UTF-8 stays what it is, and none can be invalid
    quotes = True
    one_form = True  # spreadsheets write 4799.0 as 4799, and that would be 4799 units of 1e-9

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._header: list[str] | None = None
        self._has_header = False  # whether the header is in the piece that is read
        self._room = np.empty(0, np.uint8)  # for the records of a piece, again and again

    def _quick(self, piece: bytes) -> tuple[Bytes, int, int] | None:
        # Lines without quotes, all of one layout, all right: the core alone reads them. What is
        # anything else is read again, row by row, and then it is found out what it is.
        header, body = self._header, piece
        if header is None:
            first, _, body = piece.partition(b"\n")
            rows, fault = _rows(first.decode("latin-1"))
            if len(rows) != 1 or fault is not None or self._wrong_header(rows[0]) is not None:
                return None
            header = rows[0]
        start = next((at for at, byte in enumerate(body) if byte not in b"\r\n"), 0)
        end = body.find(b"\n", start)
        line = body[start : len(body) if end < 0 else end].rstrip(b"\r").split(b",")
        if len(line) != len(header):
            return None
        ts_out = self.target.ts_out
        ts_out = "ts_out" in header if ts_out is None else ts_out
        code = line[header.index("rtype")].decode("latin-1") if "rtype" in header else ""
        try:
            family = self.target.family(code)
        except ValueError:
            return None
        layout, version = self.target.choice(family, OLD_DEFINITION in header)
        if implies_codes(layout):
            return None
        rtype = int(code) if code else self.target.rtype
        plan = _plan(layout, ts_out, tuple(header), code, rtype)
        size = layout.itemsize(ts_out)
        # of empty values, commas and line breaks alone there could be so many
        most = (len(body) // len(header) + 1) * size
        if len(self._room) < most:
            self._room = np.empty(most, np.uint8)
        found = plan.fill(body, self._room)
        if found is None:
            return None
        n, n_breaks, forms = found
        if self._forms | forms == DECIMAL | INTEGER:
            return None
        self._header, self.target.ts_out, self._forms = header, ts_out, self._forms | forms
        self.target.version = version if n else self.target.version
        return self._room[: n * size].copy(), n, n_breaks + (body is not piece)

    def _parts(self, piece: bytes) -> tuple[list[Part], Fault | None]:
        rows, fault = _rows(piece.decode("latin-1"))
        self._has_header = self._header is None and bool(rows)
        if self._has_header:
            header = rows.pop(0)
            said = self._wrong_header(header)
            if said is not None:
                return [], Fault(-1, said)
            self._header = header
            if self.target.ts_out is None:
                self.target.ts_out = "ts_out" in header
        elif self._header is None:
            return [], fault
        if fault is not None:
            fault = Fault(fault.row - self._has_header, fault.text)
        columns, wrong = self._columns(rows)
        parts, other = self._split(columns, len(rows) if wrong is None else wrong.row)
        faults = [found for found in (other, wrong, fault) if found is not None]
        return parts, min(faults, default=None, key=lambda found: found.row)

    def _wrong_header(self, header: Sequence[str]) -> str | None:
        twice = [name for name, n in Counter(header).items() if n > 1 and name in _KNOWN]
        if twice:
            return f"the header names {twice[0]} twice"
        if not _KNOWN.intersection(header):
            return "the header names no field of a record"
        if "rtype" not in header:
            try:
                self.target.family(None)
            except ValueError as error:
                return f"the header: {error}"
        return None

    def _columns(self, rows: list[list[str]]) -> tuple[dict[str, Sequence[str]], Fault | None]:
        # the rows' values by name; those from the first row on that is too short or long left out
        header = self._header
        assert header is not None
        fault = None
        if set(map(len, rows)) - {len(header)}:
            bad = next(i for i, row in enumerate(rows) if len(row) != len(header))
            fault = Fault(bad, f"has {len(rows[bad])} fields, the header {len(header)}")
            rows = rows[:bad]
        values: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) or [()] * len(header)
        return dict(zip(header, values, strict=True)), fault

    def _split(self, columns: dict[str, Sequence[str]], n: int) -> tuple[list[Part], Fault | None]:
        codes = columns.get("rtype", ("",) * n)
        layouts: dict[str, Layout] = {}
        fault = None
        for code in dict.fromkeys(codes):
            try:
                family = self.target.family(code)
            except ValueError as error:
                fault = Fault(codes.index(code), str(error))
                break  # those that follow are first seen behind it
            layouts[code] = self.target.layout(family, OLD_DEFINITION in columns)
        if fault is None and len(set(layouts.values())) == 1:
            return [Part(layouts.popitem()[1], n, columns, range(n))], None
        groups: dict[Layout, list[int]] = {}
        for row, code in enumerate(codes[: n if fault is None else fault.row]):
            groups.setdefault(layouts[code], []).append(row)
        return [
            Part(
                layout,
                len(rows),
                {name: [values[row] for row in rows] for name, values in columns.items()},
                rows,
            )
            for layout, rows in groups.items()
        ], fault

    def _place(self, piece: bytes, row: int) -> int:
        # The header, where it is here, is row -1. Line ends are counted as the reader does.
        n_lines = 0
        for index, (n_before, _) in enumerate(_numbered(piece.decode("latin-1"))):
            n_lines = n_before
            if index == row + self._has_header or row < 0:
                break
        return sum(map(len, piece.splitlines(keepends=True)[:n_lines]))


def _bare_quote(text: str) -> int | None:
    # Where the row begins that has a quote inside a field without quotes; None where none has.
    # The reader would take it as it is, and then nobody could tell where rows end.
    at = row = 0
    for index, part in enumerate(text.split('"')):
        if index % 2:  # inside quotes
            at += len(part) + 2
            continue
        end = at + len(part)
        if part and end < len(text) and part[-1] not in ",\r\n":
            return max(row, text.rfind("\n", at, end) + 1, text.rfind("\r", at, end) + 1)
        row = max(row, text.rfind("\n", at, end) + 1, text.rfind("\r", at, end) + 1)
        at = end
    return None


def _rows(text: str) -> tuple[list[list[str]], Fault | None]:
    # all rows that are not blank, or those before one that is no CSV
    at = _bare_quote(text) if '"' in text else None
    if at is not None:
        rows, fault = _rows(text[:at])
        bare = Fault(len(rows), "no CSV: a quote inside a field without quotes")
        return rows, bare if fault is None else fault
    try:
        rows = list(_reader(text))
        return (rows if all(rows) else [row for row in rows if row]), None
    except csv.Error:
        rows = []
    for _, row in _numbered(text):
        if isinstance(row, csv.Error):
            return rows, Fault(len(rows), f"no CSV: {row}")
        rows.append(row)
    return rows, None


def _numbered(text: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    # the rows that are not blank, each with the number of lines before it; an error is the last
    reader = _reader(text)
    while True:
        n_before = reader.line_num
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield n_before, error
            return
        if row is None:
            return
        if row:
            yield n_before, row


def iter_csv(
    source: TextInput,
    *,
    max_bytes: int = 16 << 20,
    schema: Schema | RType | str | None = None,
    metadata: Metadata | None = None,
    version: int = DBN_VERSION,
    ts_out: bool | None = None,
) -> TextReader:
    """
    Read CSV of any size in bounded memory.

    Parameters
    ----------
    source : path, URL, bytes-like or readable
        As `from_csv` takes it.
    max_bytes : int
        About how many bytes of text become the records of one step.
    schema, metadata, version, ts_out
        As `from_csv` takes them.

    Returns
    -------
    TextReader
        An iterator of Records with ``.close()``; a context manager.

    Raises
    ------
    OSError
        The file cannot be read.
    TypeError, ValueError
        An argument has the wrong type or value. Rows that cannot be read raise while iterating,
        after every record before them was given.
    """
    parser = CsvParser(Target(metadata, schema, version, ts_out))
    return TextReader(source, parser, max_bytes)


def from_csv(
    source: TextInput,
    *,
    schema: Schema | RType | str | None = None,
    metadata: Metadata | None = None,
    version: int = DBN_VERSION,
    ts_out: bool | None = None,
) -> Records:
    """
    Read CSV in the form of Databento back into records.

    Parameters
    ----------
    source : path, URL, bytes-like or readable
        CSV with a header row, plain or zstd-compressed. A readable may be open as text.
    schema : Schema, RType or str, optional
        The type of records that have no rtype.
    metadata : Metadata, optional
        The header. It gives the version, ts_out and schema, and is attached to the records.
    version : int
        The DBN version to make records of. Without metadata, definitions with a column that
        only older versions have become records of version 2. Statistics do not show their
        version: name it where it is not 3.
    ts_out : bool, optional
        Whether records end with a ts_out; None to use whether there is such a column.

    Returns
    -------
    Records
        In a new block of memory, in the order of the rows. ``.metadata`` is the one given.

    Raises
    ------
    InvalidRecordError
        A row cannot be read; ``.good`` has the records before it, ``.offset`` says where it
        begins.
    DecodeError
        The compressed data is damaged or cut (``.good`` has the records before), or the source
        is a DBN stream.
    OSError
        The file cannot be read.
    TypeError, ValueError
        An argument has the wrong type or value.

    Notes
    -----
    Prices may be decimals or integers of 1e-9, all alike: a whole number among decimals is an
    error, since spreadsheets write 4799.0 as 4799. Times may be ns, or text with a ``Z`` or an
    offset from UTC. What is empty is undefined, also where a pretty time of 0 was written so; an
    empty character is NUL. Columns go by their names, in any order; those that the record's
    layout does not have, ``symbol`` among them, are passed over. Texts are taken byte for byte.
    Source: ``docs/format.md``, "Text output".
    """
    parser = CsvParser(Target(metadata, schema, version, ts_out))
    return TextReader(source, parser, None).read_all()
