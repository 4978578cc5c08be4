"""Text back into records: what the readers of JSON and CSV have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np

from dbnfast._core import parse
from dbnfast.errors import InvalidRecordError
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, TIMESTAMP, Field, Layout
from dbnfast.layouts.programs import CODE_RULES
from dbnfast.records.headers import of_block
from dbnfast.records.records import Records
from dbnfast.text.target import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast._typing import Bytes
    from dbnfast.text.target import Target

DECIMAL: Final = 1  # the core's numbers for the forms of prices
INTEGER: Final = 2

_KINDS: Final = {PRICE: "price", TIMESTAMP: "time", CHAR: "char", CSTR: "text"}


class Fault(NamedTuple):
    """What is wrong with a row of a piece, counted from 0."""

    row: int
    text: str


class Part(NamedTuple):
    """
    Rows of a piece that have one layout.

    Attributes
    ----------
    layout : Layout
        Theirs.
    n : int
        How many they are.
    columns : dict
        Values by field name; a field that is not there is undefined.
    rows : sequence of int
        Where in the piece each stands.
    """

    layout: Layout
    n: int
    columns: dict[str, Sequence[Any]]
    rows: Sequence[int]


class Step(NamedTuple):
    """How a column is written: the field, and the core's kind and value for what is absent."""

    field: Field
    kind: int
    absent: bytes


@cache
def steps_of(layout: Layout, ts_out: bool) -> tuple[Step, ...]:
    """
    Say how each column of a layout is written.

    Parameters
    ----------
    layout : Layout
        Of the records.
    ts_out : bool
        Whether they end in a ts_out.

    Returns
    -------
    tuple of Step
    """
    steps = []
    for field in layout.all_fields(ts_out):
        if field.hidden and field.name != "ts_out":
            continue
        kind = _KINDS.get(field.kind)
        if kind is None:
            kind = "signed" if field.format.lstrip("<")[0] == "i" else "unsigned"
        absent = bytes(field.size)  # a character that text leaves out is NUL, whatever its default
        if isinstance(field.undef, int):
            absent = field.undef.to_bytes(field.size, "little", signed=kind in ("price", "signed"))
        steps.append(Step(field, parse.KINDS.index(kind), absent))
    return tuple(steps)


@cache
def blank_record(layout: Layout, ts_out: bool) -> Bytes:
    """
    Give a record that says nothing.

    Parameters
    ----------
    layout : Layout
        Its layout.
    ts_out : bool
        Whether it ends in a ts_out.

    Returns
    -------
    ndarray of uint8
        Read-only.
    """
    return np.frombuffer(layout.undefined(ts_out).tobytes(), np.uint8)


def _expected(field: Field) -> str:
    if field.kind == PRICE:
        return "a price of up to 9 decimals in 64 bits"
    if field.kind == TIMESTAMP:
        return "ns of 64 bits or a time such as 2020-12-28T00:00:00.000000000Z"
    if field.kind == CHAR:
        return "one character or its escape"
    if field.kind == CSTR:
        return f"text of up to {field.size - 1} bytes"
    signed = field.format.lstrip("<")[0] == "i"
    bits = 8 * field.size
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return f"an integer from {low} to {high}"


def implies_codes(layout: Layout) -> bool:
    """
    Say whether a code that text leaves out follows from other words.

    Parameters
    ----------
    layout : Layout
        Of the record.

    Returns
    -------
    bool
    """
    return layout.rtypes[0] in CODE_RULES and "code" in layout.by_name


def _implied_codes(part: Part, latin: bool) -> list[Any]:
    # what old error and system records said in words only
    name, rules = CODE_RULES[part.layout.rtypes[0]]
    texts = part.columns.get(name, [None] * part.n)
    codes = list(part.columns.get("code", [None] * part.n))
    for row, (code, text) in enumerate(zip(codes, texts, strict=True)):
        if code not in (None, "") or not isinstance(text, str):
            continue
        raw = text.encode("latin-1" if latin else "utf-8", "surrogatepass")
        for head, tail, whole, implied in rules:
            if raw == head if whole else raw.startswith(head) and raw.endswith(tail):
                codes[row] = implied
                break
    return codes


def _build(part: Part, ts_out: bool, rtype: int, latin: bool) -> tuple[Bytes, Fault | None, int]:
    # The records of a part side by side; where one cannot be, the row of the part and why; the
    # forms of their prices.
    layout = part.layout
    size = layout.itemsize(ts_out)
    block = np.empty(part.n * size, np.uint8)
    rows = block.reshape(part.n, size)
    rows[:] = blank_record(layout, ts_out)
    columns = part.columns
    if implies_codes(layout):
        columns = {**columns, "code": _implied_codes(part, latin)}
    fault, forms = None, 0
    for field, kind, absent in steps_of(layout, ts_out):
        values = columns.get(field.name)
        if field.name == "rtype":
            absent = bytes([rtype])
            rows[:, field.offset] = rtype
        if not values:
            continue
        row, reason, seen = parse.fill_column(
            kind, values, latin, block, size, field.offset, absent
        )
        forms |= seen
        if row >= 0 and (fault is None or row < fault.row):
            said = f"{field.name} {shown(values[row])} {parse.REASONS[reason]}"
            fault = Fault(row, f"{said}, expected {_expected(field)}")
    return block, fault, forms


def _form(value: Any) -> int:
    # of a price that was read, as the core tells it
    text = str(value)
    if "." in text or "e" in text or "E" in text:
        return DECIMAL
    return INTEGER if text.strip("+-0") and value is not None else 0


def _mixed_prices(parts: Sequence[Part], forms: int) -> Fault | None:
    # The first row whose prices are of another form than those before, `forms` among them. Rows
    # that cannot be read say nothing.
    rows = []
    for part in parts:
        steps = steps_of(part.layout, False)
        names = [step.field.name for step in steps if step.field.kind == PRICE]
        columns = {name: part.columns[name] for name in names if part.columns.get(name)}
        rows += [(row, at, columns) for at, row in enumerate(part.rows)]
    for row, at, columns in sorted(rows, key=lambda found: found[0]):
        for name, values in columns.items():
            forms |= _form(values[at])
            if forms == DECIMAL | INTEGER:
                price = f"{name} {shown(values[at])}"
                if _form(values[at]) == INTEGER:
                    return Fault(row, f"{price} is in units of 1e-9, other prices are decimals")
                return Fault(row, f"{price} is a decimal, other prices are in units of 1e-9")
    return None


class TextParser(ABC):
    """
    Pieces of text in, blocks of records out; one class for each kind of text.

    Parameters
    ----------
    target : Target
        What the records are to be.
    """

    latin: ClassVar[bool]  # whether the characters of texts stand for bytes
    quotes: ClassVar[bool]  # whether a line break may stand inside quotes
    one_form: ClassVar[bool]  # whether prices are all decimals, or all in units of 1e-9

    def __init__(self, target: Target) -> None:
        self.target = target
        self.line = 1  # of the piece to come, and all that counts from the first byte
        self.offset = 0
        self.n = 0  # records made
        self._forms = 0  # of the prices in them

    @abstractmethod
    def _parts(self, piece: bytes) -> tuple[list[Part], Fault | None]:
        """Give the rows of a piece by layout; only those before a fault."""

    @abstractmethod
    def _place(self, piece: bytes, row: int) -> int:
        """Give the byte of the piece at which a row begins."""

    def parse(self, piece: bytes) -> tuple[Bytes, InvalidRecordError | None]:
        """
        Make records of whole lines.

        Parameters
        ----------
        piece : bytes
            The next lines.

        Returns
        -------
        block : ndarray of uint8
            The records before the first fault.
        error : InvalidRecordError or None
            The fault.
        """
        if self.offset == 0 and piece[:3] == b"\xef\xbb\xbf":  # a byte order mark
            piece, self.offset = piece[3:], 3
        quick, error = self._quick(piece), None
        if quick is not None:
            block, n, n_breaks = quick
        else:
            block, n, error = self._in_parts(piece)
            n_breaks = piece.count(b"\n")
        self.n += n
        self.line += n_breaks
        self.offset += len(piece)
        return block, error

    def _quick(self, piece: bytes) -> tuple[Bytes, int, int] | None:
        """
        Give the records of a piece in which nothing is unusual, where there is a quick way.

        With them, how many records and line breaks there are.
        """
        return None

    def _in_parts(self, piece: bytes) -> tuple[Bytes, int, InvalidRecordError | None]:
        parts, fault = self._parts(piece)
        ts_out = bool(self.target.ts_out)
        made = []
        forms = self._forms
        for part in parts:
            block, wrong, seen = _build(part, ts_out, self.target.rtype, self.latin)
            forms |= seen
            made.append((block, part.layout.itemsize(ts_out), part.rows))
            if wrong is not None:
                row = part.rows[wrong.row]
                if fault is None or row < fault.row:
                    fault = Fault(row, wrong.text)
        if self.one_form and forms == DECIMAL | INTEGER:
            mixed = _mixed_prices(parts, self._forms)
            if mixed is not None and (fault is None or mixed.row < fault.row):
                fault = mixed
        if fault is None:
            self._forms = forms
        block, n = _join(made, None if fault is None else fault.row)
        error = None if fault is None else self._error(piece, fault, n)
        return block, n, error

    def _error(self, piece: bytes, fault: Fault, n: int) -> InvalidRecordError:
        at = self._place(piece, fault.row)
        line, offset = self.line + piece.count(b"\n", 0, at), self.offset + at
        return InvalidRecordError(
            f"line {line} at byte {offset}: {fault.text}",
            offset=offset,
            record_index=self.n + n,
        )


def _join(made: list[tuple[Bytes, int, Sequence[int]]], stop: int | None) -> tuple[Bytes, int]:
    # the records of all parts in the order of their rows, those from row `stop` on left out
    cut = []
    for block, size, rows in made:
        n = len(rows) if stop is None else int(np.searchsorted(rows, stop))
        cut.append((block[: n * size], size, rows[:n]))
    if len(cut) == 1:
        return cut[0][0], len(cut[0][2])
    sizes = np.zeros(sum(len(rows) for _, _, rows in cut), np.int64)
    for _, size, rows in cut:
        sizes[np.asarray(rows, np.int64)] = size
    ends = np.cumsum(sizes)
    starts = ends - sizes
    block = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    for source, size, rows in cut:
        parse.scatter(source, size, starts[np.asarray(rows, np.int64)], block)
    return block, len(sizes)


def make_records(blocks: list[Bytes], target: Target) -> Records:
    """
    Make Records of blocks of whole records.

    Parameters
    ----------
    blocks : list of ndarray of uint8
        Nobody else has them.
    target : Target
        What they are.

    Returns
    -------
    Records
    """
    # a block that is part of another one is copied: nothing writable stays behind what is sealed
    alone = len(blocks) == 1 and blocks[0].base is None
    block = blocks[0] if alone else np.concatenate([np.empty(0, np.uint8), *blocks])
    return of_block(block, len(block), target.version, bool(target.ts_out), target.metadata)
