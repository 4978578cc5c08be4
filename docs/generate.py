"""
Write what follows from the code: pages, or parts of them, and the stub of the record classes.

The table of layouts gives ``docs/records.md`` and ``messages.pyi``, the enumerations
``docs/codes.md``, the command line the tables of options in ``docs/guide/cli.md``. ``python
docs/generate.py``, or ``make tables``, writes them; ``--check`` only compares, and exits with 1
where a file is not what the code says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from page_codes import codes_page
from page_commands import commands_page

from dbnfast.enums import CharEnum, TriState
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, RESERVED, TIMESTAMP, Field, Layout
from dbnfast.layouts.table import LAYOUTS
from dbnfast.records.messages import parameters_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
COMMAND = "python docs/generate.py"

# what `struct_base` gives both
STRUCT = """\
    def __bytes__(self) -> bytes: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any) -> Self: ...
    @property
    def _stamped(self) -> bool: ...
"""

STUB_HEAD = f"""\
# Written by `{COMMAND}` from the table in layouts/table.py: change that, not this.
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self, SupportsInt

import numpy as np
import pandas
from typing_extensions import Buffer, disjoint_base

from dbnfast._core.record import RecordTable, Shape
from dbnfast.enums import (
    Action,
    ErrorCode,
    InstrumentClass,
    MatchAlgorithm,
    RType,
    SecurityUpdateAction,
    Side,
    StatType,
    StatUpdateAction,
    StatusAction,
    StatusReason,
    SType,
    SystemCode,
    TradingEvent,
    TriState,
    UserDefinedInstrument,
)
from dbnfast.layouts.fields import Layout

RECORD_CLASSES: Final[dict[str, type[Record]]]

def record_table() -> RecordTable: ...
def parameters_of(layout: Layout) -> list[str]: ...

@disjoint_base
class _Size(int):
    def __call__(self) -> int: ...

@disjoint_base
class _Pair:
{STRUCT}    _ordered_fields: ClassVar[list[str]]
    _timestamp_fields: ClassVar[list[str]]
    _dtype: ClassVar[np.dtype[np.void]]
    def __new__(cls, *values: int, **fields: int) -> Self: ...

@disjoint_base
class Record:
{STRUCT}    _ordered_fields: ClassVar[list[str]]
    _timestamp_fields: ClassVar[list[str]]
    _shape: ClassVar[Shape]
    size_hint: ClassVar[int]
    _layout: ClassVar[Layout | None]
    _dtypes: ClassVar[list[tuple[str, str]]]
    _hidden_fields: ClassVar[list[str]]
    _price_fields: ClassVar[list[str]]
    def __new__(cls, *values: Any, **fields: Any) -> Self: ...
    @classmethod
    def from_bytes(cls, data: Buffer, *, ts_out: bool = False, upgrade: bool = False) -> Record: ...
    @property
    def record_size(self) -> _Size: ...
    @property
    def ts_index(self) -> int: ...
    @property
    def pretty_ts_index(self) -> pandas.Timestamp | None: ...
    def is_heartbeat(self) -> bool: ...
    def replace(self, **fields: Any) -> Self: ...
    @property
    def ts_out(self) -> int: ...
    @property
    def pretty_ts_out(self) -> pandas.Timestamp | None: ...
"""

DOC_HEAD = f"""\
# Records

Every struct of DBN, field by field. Written by `{COMMAND}` from the table in
`src/dbnfast/layouts/table.py`.

All fields are little-endian and follow each other without padding. Prices are int64 in units of
1e-9, timestamps uint64 nanoseconds since 1970-01-01 UTC. *Order* is the place in text output;
fields without one are never shown. *Undefined* is the value that stands for "not there". With
ts_out, a `<u8` timestamp named `ts_out` follows the last field.
"""


def type_of(field: Field) -> str:
    """Give the Python type of a field's attribute."""
    if field.enum is TriState:
        return "bool | str | None"
    if field.enum is not None:
        raw = "str" if issubclass(field.enum, CharEnum) else "int"
        return f"{field.enum.__name__} | {raw}"
    return "str" if field.kind in (CHAR, CSTR) else "int"


def properties(fields: list[Field], strip: bool = False) -> Iterator[str]:
    """Give the stub's lines for the attributes of some fields."""
    for field in fields:
        name = field.base_name if strip else field.name
        pretty = {PRICE: "float", TIMESTAMP: "pandas.Timestamp | None"}.get(field.kind)
        for attribute, kind in ((name, type_of(field)), (f"pretty_{name}", pretty)):
            if kind is not None:
                yield "    @property"
                yield f"    def {attribute}(self) -> {kind}: ..."


def parameters(fields: list[Field], strip: bool = False) -> Iterator[str]:
    """Give the stub's lines for what a constructor takes."""
    for field in fields:
        name = field.base_name if strip else field.name
        kind = "int"
        if field.enum is TriState:
            kind = "TriState | str | bool | None"
        elif field.kind in (CHAR, CSTR):
            kind = "str | bytes"
        elif field.enum is not None:
            kind = "SupportsInt"
        yield f"        {name}: {kind} = ...,"


def pair_stub(name: str, layout: Layout) -> Iterator[str]:
    """Give the stub of a class of book levels."""
    fields = [f for f in layout.fields if f.level == 0 and f.kind != RESERVED]
    yield f"\nclass {name}(_Pair):"
    yield "    def __new__(\n        cls,"
    yield from parameters(fields, strip=True)
    yield "    ) -> Self: ..."
    yield from properties(fields, strip=True)


def class_stub(layout: Layout) -> Iterator[str]:
    """Give the stub of a record class."""
    fields = [field for field in layout.fields if field.kind != RESERVED]
    yield f"\nclass {layout.name}(Record):"
    pair = "ConsolidatedBidAskPair" if "bid_pb_00" in layout.by_name else "BidAskPair"
    yield "    def __new__(\n        cls,"
    names = parameters_of(layout)
    yield from parameters([layout.by_name[n] for n in names if n in layout.by_name])
    if layout.n_levels:
        yield f"        levels: {pair} | Sequence[{pair}] | None = ...,"
    yield "        ts_out: int = ...,"
    more = [field for field in fields[1:] if field.name not in names]
    if more:
        yield "        *,"
        yield from parameters(more)
    yield "    ) -> Self: ..."
    yield from properties(fields[5:])
    if layout.n_levels:
        yield "    @property"
        yield f"    def levels(self) -> list[{pair}]: ..."


def stub() -> str:
    """Make the stub of ``messages.py``."""
    by_name = {layout.name: layout for layout in LAYOUTS}
    header = list(by_name["OHLCVMsg"].fields[:5])
    lines = [STUB_HEAD.rstrip()]
    lines += properties(header)
    lines += pair_stub("BidAskPair", by_name["MBP1Msg"])
    lines += pair_stub("ConsolidatedBidAskPair", by_name["CMBP1Msg"])
    for layout in LAYOUTS:
        lines += class_stub(layout)
    lines.append("")
    for alias, name in (
        ("TBBOMsg", "MBP1Msg"),
        ("TCBBOMsg", "CMBP1Msg"),
        ("BBO1SMsg", "BBOMsg"),
        ("BBO1MMsg", "BBOMsg"),
        ("CBBO1SMsg", "CBBOMsg"),
        ("CBBO1MMsg", "CBBOMsg"),
    ):
        lines.append(f"{alias} = {name}")
    return "\n".join(lines) + "\n"


def undefined_text(field: Field) -> str:
    """Show a field's undefined value."""
    if not field.has_undef:
        return ""
    if isinstance(field.undef, bytes):
        return f"`{field.undef.decode('ascii')}`"
    kind = np.dtype(field.format)
    if field.undef == np.iinfo(kind).max:
        return f"2^{8 * kind.itemsize - (kind.kind == 'i')} - 1"
    return str(field.undef)


def document() -> str:
    """Make ``docs/records.md``."""
    parts = [DOC_HEAD]
    for layout in LAYOUTS:
        versions = ", ".join(map(str, layout.versions))
        rtypes = ", ".join(f"{rtype.name} (0x{int(rtype):02X})" for rtype in layout.rtypes)
        parts.append(
            f"\n## {layout.name}\n\n{layout.size} bytes ({layout.size + 8} with ts_out); "
            f"versions {versions}; rtypes {rtypes}; "
            f"schemas {', '.join(layout.schemas) or 'none'}; index timestamp {layout.index_ts}.\n\n"
            "| offset | field | format | kind | order | undefined | codes |\n"
            "|---|---|---|---|---|---|---|\n"
        )
        for field in layout.fields:
            codes = "" if field.enum is None else field.enum.__name__
            order = "" if field.order is None else field.order
            parts.append(
                f"| {field.offset} | {field.name} | `{field.format}` | {field.kind} | {order} "
                f"| {undefined_text(field)} | {codes} |\n"
            )
    return "".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args(argv).check
    commands = ROOT / "docs" / "guide" / "cli.md"
    wrong = 0
    for path, text in (
        (ROOT / "docs" / "records.md", document()),
        (ROOT / "docs" / "codes.md", codes_page()),
        (commands, commands_page(commands.read_text("utf-8"))),
        (ROOT / "src" / "dbnfast" / "records" / "messages.pyi", stub()),
    ):
        if check and (not path.exists() or path.read_text("utf-8") != text):
            print(f"{path.relative_to(ROOT)} is not what the code says: run {COMMAND}")
            wrong += 1
        elif not check:
            path.write_text(text, "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
