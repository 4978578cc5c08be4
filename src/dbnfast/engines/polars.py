"""
A store as a Polars LazyFrame.

Polars hands its predicate on as an expression, whose form is read from JSON. That form differs
between versions of Polars: what is not recognised is not pushed, and costs time, not rows, since
the whole predicate is applied to every batch.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.extras import require
from dbnfast.engines.scan import Bounds, Scan, of_ids
from dbnfast.enums import PriceType
from dbnfast.store.store import read
from dbnfast.tables.options import ID, PUBLISHER
from dbnfast.tables.symbols import SYMBOL

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Mapping, Sequence

    import polars

    from dbnfast._typing import PriceTypeLike, SchemaLike
    from dbnfast.store.store import Readable

UNITS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000}
AND: Final = ("And", "LogicalAnd")
OR: Final = ("Or", "LogicalOr")
TURNED: Final = {"Eq": "Eq", "Lt": "Gt", "LtEq": "GtEq", "Gt": "Lt", "GtEq": "LtEq"}
CLOSED: Final = {  # the comparisons that a range stands for
    "Both": ("GtEq", "LtEq"),
    "Left": ("GtEq", "Lt"),
    "Right": ("Gt", "LtEq"),
    "None": ("Gt", "Lt"),
}
WIDER: Final = ("UInt32", "Int64", "UInt64", "Int128")  # than ids, or as wide
ANYTHING: Final = Bounds()


def scan_polars(
    source: Readable,
    schema: SchemaLike | None = None,
    *,
    price_type: PriceTypeLike = PriceType.FLOAT,
    pretty_ts: bool = True,
    map_symbols: bool = True,
    tz: datetime.tzinfo | str | None = None,
    columns: Sequence[str] | None = None,
    categorical: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> polars.LazyFrame:
    """
    Read DBN data as a Polars LazyFrame: what a query does not need is not read.

    Parameters
    ----------
    source : path, bytes-like, readable, or a sequence of them; or a Store
        As `read` takes it.
    schema : Schema, RType or str, optional
        Which records; None for the schema of the data, which mixed data does not have.
    price_type, pretty_ts, map_symbols, tz, columns, categorical
        As `Store.to_polars` takes them.
    storage_options : mapping, optional
        As `read` takes it.

    Returns
    -------
    polars.LazyFrame
        Its rows are those of `Store.to_polars`, in the same order. Each time that it is collected
        it reads the data anew.

    Raises
    ------
    MissingExtraError
        polars or pyarrow is not installed.
    FileNotFoundError
        There is no such file.
    TypeError, ValueError
        An option has the wrong type or value; or the data has no schema of its own, and none is
        given.

    Notes
    -----
    Only the columns that the query needs are made. Comparisons of the index timestamp,
    ``is_between`` included, go to `Store.filter`, and with its trust in headers and in the order
    of records; equality and ``is_in`` of ``instrument_id``, ``publisher_id`` and ``symbol`` too.
    Other parts of a predicate are applied to what was read. Files, and parts of files, are read
    at the same time, and stay within some tens of megabytes.
    """
    library = require("polars", "polars")
    require("pyarrow", "polars")
    register = require("polars.io.plugins", "polars").register_io_source
    given: dict[str, Any] = {} if storage_options is None else {"storage_options": storage_options}
    scan = Scan(
        read(source, **given),
        schema,
        columns,
        price_type=price_type,
        pretty_ts=pretty_ts,
        map_symbols=map_symbols,
        tz=tz,
        categorical=categorical,
    )
    empty = library.from_arrow(scan.schema.empty_table())
    reader = _Reader(library, scan, empty)
    frame: polars.LazyFrame = register(reader.frames, schema=empty.schema)
    return frame


class _Reader:
    """What Polars calls for the frames of a query."""

    def __init__(self, library: Any, scan: Scan, empty: Any) -> None:
        self._library = library
        self._scan = scan
        self._empty = empty

    def frames(
        self,
        with_columns: list[str] | None,
        predicate: Any,
        n_rows: int | None,
        batch_size: int | None = None,
    ) -> Iterator[Any]:
        names = self._empty.columns if with_columns is None else list(with_columns)
        needed, bounds = list(names), ANYTHING
        if predicate is not None:
            needed += [name for name in predicate.meta.root_names() if name not in needed]
            bounds = _Implied(self._library, self._scan, self._empty.schema).of(predicate)

        def passing(frame: Any) -> Any:
            if predicate is not None:
                frame = frame.filter(predicate)
            return frame if frame.columns == names else frame.select(names)

        yield passing(self._empty.select(needed))  # also where nothing follows
        if n_rows is not None:
            bounds = ANYTHING  # it is the number of those before the predicate
        left = n_rows
        for batch in self._scan.read(needed, bounds):
            frame = self._library.from_arrow(batch if left is None else batch[:left])
            if left is not None:
                left -= frame.height
            found = passing(frame)
            if found.height:
                yield found
            if left == 0:
                return


class _Implied:
    """What follows from a predicate."""

    def __init__(self, library: Any, scan: Scan, schema: Any) -> None:
        self._library = library
        self._index = scan.index
        self._schema = schema

    def of(self, predicate: Any) -> Bounds:
        try:
            return self._of(json.loads(predicate.meta.serialize(format="json")))
        except Exception:  # of a form that is not known, or cannot be written
            return ANYTHING

    def _of(self, node: Any) -> Bounds:
        if not isinstance(node, dict) or len(node) != 1:
            return ANYTHING
        ((kind, value),) = node.items()
        if kind == "BinaryExpr":
            return self._of_pair(value["left"], value["op"], value["right"])
        if kind == "Function" and isinstance(value["function"], dict):
            what = value["function"].get("Boolean")
            if isinstance(what, dict):
                return self._of_function(what, value["input"])
        return ANYTHING

    def _of_pair(self, left: Any, op: Any, right: Any) -> Bounds:
        if op in AND:
            return self._of(left) & self._of(right)
        if op in OR:
            return self._of(left) | self._of(right)
        if op not in TURNED:
            return ANYTHING
        if self._name(right) is not None:
            left, op, right = right, TURNED[op], left
        return self._compared(left, op, right)

    def _of_function(self, what: dict[str, Any], given: list[Any]) -> Bounds:
        if "IsBetween" in what and len(given) == 3:
            from_op, to_op = CLOSED[what["IsBetween"]["closed"]]
            column, low, high = given
            return self._compared(column, from_op, low) & self._compared(column, to_op, high)
        if "IsIn" in what and len(given) == 2:
            return self._among(given[0], given[1])
        return ANYTHING

    def _compared(self, column: Any, op: str, other: Any) -> Bounds:
        name, values = self._name(column), self._values(other)
        if name is None or values is None or len(values) != 1 or values.dtype.is_nested():
            return ANYTHING
        if name == self._index:
            return self._timed(op, values)
        return self._of_ids(name, values) if op == "Eq" else ANYTHING

    def _among(self, column: Any, other: Any) -> Bounds:
        name, values = self._name(column), self._values(other)
        if name is None or values is None:
            return ANYTHING
        if values.dtype.is_nested():
            if len(values) != 1:
                return ANYTHING
            values = values.explode()
        if name != self._index:
            return self._of_ids(name, values)
        if not len(values) or values.null_count():
            return ANYTHING
        return self._timed("GtEq", values.sort()[:1]) & self._timed("LtEq", values.sort()[-1:])

    def _of_ids(self, name: str, values: Any) -> Bounds:
        if values.null_count():  # which is in some comparisons equal to others
            return ANYTHING
        if name in (ID, PUBLISHER) and values.dtype.is_integer():
            return of_ids(name, values.to_list())
        if name == SYMBOL:
            texts = values.cast(self._library.String) if _is_category(values) else values
            if texts.dtype == self._library.String:
                return Bounds(symbols=frozenset(texts.to_list()))
        return ANYTHING

    def _timed(self, op: str, values: Any) -> Bounds:
        own, dtype, unit = self._schema[self._index], values.dtype, 1
        if own.is_temporal():
            if dtype.base_type() != own.base_type() or dtype.time_zone != own.time_zone:
                return ANYTHING
            unit = UNITS[dtype.time_unit]
        elif not dtype.is_integer():
            return ANYTHING
        value = values.to_physical().item()
        if value is None:
            return ANYTHING
        ns = value * unit
        # of a coarser unit, what it is compared with may have been cut to it
        bounds = {
            "GtEq": Bounds(start=ns),
            "Gt": Bounds(start=ns + 1),
            "Lt": Bounds(end=ns),
            "LtEq": Bounds(end=ns + unit),
            "Eq": Bounds(start=ns, end=ns + unit),
        }
        return bounds[op]

    def _name(self, node: Any) -> str | None:
        # the column, maybe cast to what keeps its values apart; times may be cut to a coarser unit
        if "Cast" not in node:
            name: str | None = node.get("Column")
            return name
        name, kind = node["Cast"]["expr"].get("Column"), node["Cast"]["dtype"]
        kind = kind.get("Literal", kind) if isinstance(kind, dict) else kind
        if name == self._index:
            return name if isinstance(kind, dict) and list(kind) == ["Datetime"] else None
        allowed = {ID: WIDER, PUBLISHER: WIDER, SYMBOL: ("String",)}.get(str(name), ())
        return name if kind in allowed else None

    def _values(self, node: Any) -> Any:
        # what a literal stands for, maybe cast; Polars itself says it
        inner = node
        while isinstance(inner, dict) and "Cast" in inner:
            inner = inner["Cast"]["expr"]
        if not isinstance(inner, dict) or list(inner) != ["Literal"]:
            return None
        text = io.StringIO(json.dumps(node))
        expression = self._library.Expr.deserialize(text, format="json")
        return self._library.select(expression).to_series()


def _is_category(values: Any) -> bool:
    return str(values.dtype.base_type()) in ("Categorical", "Enum")
