"""How JSON lines of each kind of record are decoded, and their values taken out."""

from __future__ import annotations

import operator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.extras import require
from dbnfast.enums import UNDEF_STAT_QUANTITY
from dbnfast.layouts.fields import CHAR, Field, Layout
from dbnfast.layouts.table import HEADER_DTYPE
from dbnfast.text.target import OLD_DEFINITION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast.text.target import Family

HEADER: Final = tuple(name for name in HEADER_DTYPE.names or () if name != "length")
OLD_UNDEF_QUANTITY: Final = 2**31 - 1


def _number_text(text: str) -> str:
    """Keep a number that is no integer as its digits."""
    return text


class Shape:
    """
    How lines of one family of layouts are decoded.

    Parameters
    ----------
    family : tuple of Layout
        The layouts of one rtype; the empty tuple for lines of which only the rtype matters.

    Attributes
    ----------
    decoder : msgspec.json.Decoder
        Gives an object with all their fields, and those of the header.
    """

    def __init__(self, family: Family) -> None:
        msgspec = require("msgspec", "json")
        self.unset: Any = msgspec.UNSET
        fields: dict[str, Field] = {}
        for layout in family:  # the newest is last, and the order of its text is the one to expect
            for field in layout.fields:
                if not field.hidden and field.name not in HEADER:
                    fields[field.name] = field
        if family:
            first = {field.name: field for field in family[-1].ordered if field.name in fields}
            fields = {**first, **fields}
        # rtypes are compared before anything is made of them; the core judges all other values
        head = [(name, int | str | None if name == "rtype" else Any, None) for name in HEADER]
        self._head = msgspec.defstruct("Head", head, gc=False)
        pairs = {field.base_name: None for field in fields.values() if field.level is not None}
        self._level = msgspec.defstruct("Level", [(name, Any, None) for name in pairs], gc=False)
        self._pairs = tuple(pairs)
        plain = [self._row(field) for field in fields.values() if field.level is None]
        at = 1 if "ts_recv" in fields else 0
        plain.insert(at, ("hd", self._head | None, None))
        if pairs:
            plain.append(("levels", list[self._level] | None, None))  # type: ignore[name-defined]
        plain.append(("ts_out", Any, self.unset))
        flat = [field.name for field in fields.values() if field.level is not None]
        plain += [*head, *((name, Any, None) for name in flat)]
        struct = msgspec.defstruct("Line", plain, gc=False)
        self.decoder: Any = msgspec.json.Decoder(struct, float_hook=_number_text)
        self.errors: tuple[type[Exception], ...] = (
            msgspec.MsgspecError, ValueError, RecursionError,
        )  # fmt: skip

    def _row(self, field: Field) -> tuple[str, Any, Any]:
        default = None
        if field.name == OLD_DEFINITION:
            default = self.unset
        elif field.kind == CHAR and isinstance(field.undef, bytes) and field.undef:
            default = field.undef.decode("latin-1")  # null is NUL, what is not there is undefined
        return field.name, Any, default

    def header(self, lines: Sequence[Any], name: str) -> list[Any]:
        """
        Give a field of the header, from ``hd`` or from beside it.

        Parameters
        ----------
        lines : sequence of object
            As `decoder` gives them.
        name : str
            The field.

        Returns
        -------
        list
            Its value in every line.
        """
        heads = list(map(operator.attrgetter("hd"), lines))
        if None not in heads:
            return list(map(operator.attrgetter(name), heads))
        return [
            getattr(line if head is None else head, name)
            for line, head in zip(lines, heads, strict=True)
        ]

    def rtype(self, line: Any) -> Any:
        """
        Give the rtype of a line.

        Parameters
        ----------
        line : object
            As `decoder` gives it.

        Returns
        -------
        int, str or None
            As the line says it.
        """
        return (line if line.hd is None else line.hd).rtype

    def is_old(self, line: Any) -> bool:
        """
        Tell whether a line is a definition that version 3 cannot hold.

        Parameters
        ----------
        line : object
            As `decoder` gives it.

        Returns
        -------
        bool
        """
        return getattr(line, OLD_DEFINITION, self.unset) is not self.unset

    def columns(
        self, layout: Layout, lines: Sequence[Any], ts_out: bool | None
    ) -> dict[str, Sequence[Any]]:
        """
        Give the lines' values by field.

        Parameters
        ----------
        layout : Layout
            Of the records that they become.
        lines : sequence of object
            As `decoder` gives them, with no more levels than the layout has.
        ts_out : bool or None
            Whether these have a ts_out.

        Returns
        -------
        dict
            A sequence for each field's name.
        """
        columns: dict[str, Sequence[Any]] = {}
        for field in layout.ordered:
            if field.name in HEADER:
                columns[field.name] = self.header(lines, field.name)
            elif field.level is None:
                columns[field.name] = list(map(operator.attrgetter(field.name), lines))
        if layout.n_levels:
            columns |= self._level_columns(layout.n_levels, lines)
        if ts_out:
            columns["ts_out"] = self._without_unset([line.ts_out for line in lines])
        if OLD_DEFINITION in columns:
            columns[OLD_DEFINITION] = self._without_unset(columns[OLD_DEFINITION])
        if layout.name == "StatMsg":
            # An integer here, and not in quotes, is of a version whose undefined value was less.
            columns["quantity"] = [
                UNDEF_STAT_QUANTITY if value == OLD_UNDEF_QUANTITY else value
                for value in columns["quantity"]
            ]
        return columns

    def _without_unset(self, values: Sequence[Any]) -> Sequence[Any]:
        unset = self.unset
        return [None if value is unset else value for value in values]

    def _level_columns(self, n_levels: int, lines: Sequence[Any]) -> dict[str, Sequence[Any]]:
        levels = list(map(operator.attrgetter("levels"), lines))
        if any(found is None or len(found) != n_levels for found in levels):
            levels = [
                self._flat_levels(line, n_levels)
                if found is None
                else found + [self._level()] * (n_levels - len(found))
                for line, found in zip(lines, levels, strict=True)
            ]
        columns: dict[str, Sequence[Any]] = {}
        for level in range(n_levels):
            own = [found[level] for found in levels]
            for name in self._pairs:
                columns[f"{name}_{level:02}"] = list(map(operator.attrgetter(name), own))
        return columns

    def _flat_levels(self, line: Any, n_levels: int) -> list[Any]:
        return [
            self._level(*(getattr(line, f"{name}_{level:02}") for name in self._pairs))
            for level in range(n_levels)
        ]


@cache
def shape_of(family: Family) -> Shape:
    """
    Give the shape of a family, made once.

    Parameters
    ----------
    family : tuple of Layout
        As `Shape` takes it.

    Returns
    -------
    Shape

    Raises
    ------
    MissingExtraError
        msgspec is not installed.
    """
    return Shape(family)
