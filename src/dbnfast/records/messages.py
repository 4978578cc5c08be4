"""
Record objects: one class per layout, made from the table.

A record owns its bytes and is immutable. Its fields are attributes under the official names,
read at C level; ``pretty_<price>`` is a float, ``pretty_<timestamp>`` a pandas.Timestamp or None;
an enumerated field gives the member, or the raw value where the enumeration does not know it.

Their stub, ``messages.pyi``, is written from the table by ``docs/generate.py``.
"""

from __future__ import annotations

import functools
import operator
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._core.record import Attribute, RecordTable, Struct, record_from
from dbnfast._util.buffers import as_bytes
from dbnfast._util.times import as_datetime64, as_timestamp
from dbnfast.enums import UNDEF_TIMESTAMP, SystemCode, TriState
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, RESERVED, TIMESTAMP, TS_OUT, Field, Layout
from dbnfast.layouts.programs import program, upgraded
from dbnfast.layouts.table import HEADER_DTYPE, HEADER_SIZE, LAYOUT_BY_NAME, LAYOUTS

if TYPE_CHECKING:
    import pandas
    from typing_extensions import Buffer

_CODES: Final = {
    "u1": 0, "<u2": 1, "<u4": 2, "<u8": 3, "i1": 4, "<i2": 5, "<i4": 6, "<i8": 7,
}  # fmt: skip
_CHARACTER, _TEXT, _PRETTY_PRICE, _PRETTY_TIME, _STAMP, _PRETTY_STAMP = range(8, 14)


class _Size(int):
    """A size in bytes, that may be called too, as the official ``record_size()`` is."""

    def __call__(self) -> int:
        return int(self)


@functools.cache
def _members(enum: type[Enum]) -> dict[Any, Any]:
    if issubclass(enum, TriState):  # the official classes give these as bools
        return {state.value: state.opt_bool() for state in enum}
    if issubclass(enum, int):
        return {int(member): member for member in enum}
    if issubclass(enum, str) and len(next(iter(enum)).value) == 1:
        return {member.value: member for member in enum}
    return {int(member): member for member in enum}  # type: ignore[call-overload]


def _attributes(field: Field, name: str, offset: int) -> dict[str, Attribute]:
    # the field under its name, and its pretty form where it has one
    width = field.size
    members = None if field.enum is None else _members(field.enum)
    if field.kind == CHAR:
        return {name: Attribute(name, _CHARACTER, offset, 1, members)}
    if field.kind == CSTR:
        return {name: Attribute(name, _TEXT, offset, width)}
    made = {name: Attribute(name, _CODES[field.format], offset, width, members)}
    pretty = f"pretty_{name}"
    if field.kind == PRICE:
        made[pretty] = Attribute(pretty, _PRETTY_PRICE, offset, width)
    elif field.kind == TIMESTAMP:
        made[pretty] = Attribute(pretty, _PRETTY_TIME, offset, width, make_time=as_timestamp)
    return made


class _Printed(Struct):
    """A struct that shows the fields named in ``_ordered_fields``."""

    __slots__ = ()
    _ordered_fields: tuple[str, ...] = ()
    _timestamp_fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = []
        for name in self._ordered_fields:
            value = getattr(self, name)
            shown.append(f"{name}={value!r}")
            pretty = None
            if name not in self._timestamp_fields:
                pretty = getattr(self, f"pretty_{name}", None)
            elif value != UNDEF_TIMESTAMP:
                pretty = as_datetime64(value)  # needs no pandas
            if pretty is not None:
                shown.append(f"pretty_{name}={str(pretty)!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Record(_Printed):
    """
    A record; of an rtype without a layout only the header's fields are attributes.

    Notes
    -----
    Source: ``docs/records.md``.
    """

    __module__ = "dbnfast"  # where users find it

    __slots__ = ()
    size_hint = HEADER_SIZE
    _layout: Layout | None = None
    _dtypes: tuple[tuple[str, str], ...] = tuple(
        (name, HEADER_DTYPE[name].str) for name in HEADER_DTYPE.names or ()
    )
    _ordered_fields = ("ts_event", "rtype", "publisher_id", "instrument_id")
    _hidden_fields: tuple[str, ...] = ("length",)
    _price_fields: tuple[str, ...] = ()
    _timestamp_fields = ("ts_event",)

    def __new__(cls, **fields: Any) -> Record:
        """
        Make a record; what is not given is undefined.

        Parameters
        ----------
        **fields
            Values by field name, in the wire's units; ``ts_out`` appends one; ``levels`` takes
            pairs, or one pair.

        Returns
        -------
        Record

        Raises
        ------
        TypeError
            There is no such field, or this class has no layout.
        ValueError
            A value does not fit its field.
        """
        if cls._layout is None:
            raise TypeError(f"{cls.__name__} has no layout; make a subclass, or use from_bytes")
        raw = _build(cls._layout, fields)
        stamped = fields.get("ts_out") is not None
        made: Record = Struct._from_bytes(cls, raw.tobytes(), cls._layout.size, stamped)
        return made

    @classmethod
    def from_bytes(cls, data: Buffer, *, ts_out: bool = False, upgrade: bool = False) -> Record:
        """
        Make a record from its bytes, of the class that its rtype and size tell.

        Parameters
        ----------
        data : bytes-like
            One whole record; copied.
        ts_out : bool
            Whether its last 8 bytes are a ts_out.
        upgrade : bool
            Whether an older layout is upgraded to version 3.

        Returns
        -------
        Record

        Raises
        ------
        TypeError
            The record is of another class than this one.
        ValueError
            The bytes are not one whole record.
        """
        record = record_from(record_table(), as_bytes(data), ts_out, upgrade)
        if not isinstance(record, cls):
            raise TypeError(f"the bytes are a {type(record).__name__}, not a {cls.__name__}")
        return record

    @property
    def record_size(self) -> int:
        """The record's size in bytes, ts_out included; may be called as a method too."""
        return _Size(len(bytes(self)))

    @property
    def ts_index(self) -> int:
        """The index timestamp: ts_recv where there is one, else ts_event."""
        name = self._layout.index_ts if self._layout is not None else "ts_event"
        index: int = getattr(self, name)
        return index

    @property
    def pretty_ts_index(self) -> pandas.Timestamp | None:
        """The index timestamp as pandas.Timestamp in UTC, None where undefined."""
        name = self._layout.index_ts if self._layout is not None else "ts_event"
        index: pandas.Timestamp | None = getattr(self, f"pretty_{name}")
        return index

    def is_heartbeat(self) -> bool:
        """
        Tell whether the record is a system record that says only that the gateway lives.

        Returns
        -------
        bool
        """
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return Record._restored, (type(self).__name__, bytes(self), self._stamped)

    @classmethod
    def _restored(cls, name: str, raw: bytes, ts_out: bool) -> Record:
        own = RECORD_CLASSES.get(name, Record)
        made: Record = Struct._from_bytes(own, raw, own.size_hint, ts_out)
        return made


def _build(layout: Layout, fields: dict[str, Any]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    record = layout.undefined(fields.get("ts_out") is not None)
    levels = fields.pop("levels", None) if "levels" in fields else None
    if levels is not None:
        fields = {**_level_fields(layout, levels), **fields}
    for name, value in fields.items():
        if value is None and name != "length":
            continue  # as the official constructors' default: not given
        field = TS_OUT.at(layout.size) if name == "ts_out" else layout.by_name.get(name)
        if field is None or field.kind == RESERVED or name == "length":
            raise TypeError(f"{layout.name} has no field {name!r}")
        _set_field(record, layout, field, value)
    return record


def _level_fields(layout: Layout, levels: Any) -> dict[str, Any]:
    pairs = [levels] if isinstance(levels, _Pair) else list(levels)
    for pair in pairs:
        if not isinstance(pair, _Pair):
            raise TypeError(f"levels hold {pair!r}, expected pairs of bid and ask")
    if len(pairs) > layout.n_levels:
        raise ValueError(f"{layout.name} has {layout.n_levels} levels, {len(pairs)} were given")
    return {
        f"{name}_{level:02}": getattr(pair, name)
        for level, pair in enumerate(pairs)
        for name in pair._ordered_fields
    }


def _set_field(
    record: np.ndarray[tuple[int], np.dtype[np.void]], layout: Layout, field: Field, value: Any
) -> None:
    if field.kind in (CHAR, CSTR):
        if field.enum is TriState and isinstance(value, bool):
            value = "Y" if value else "N"
        raw = (
            value
            if isinstance(value, bytes)
            else str(value).encode("latin-1" if field.kind == CHAR else "utf-8")
        )
        room = field.size - (field.kind == CSTR)  # text keeps its NUL
        if len(raw) > room:
            raise ValueError(f"{field.name} is {value!r}, {len(raw)} bytes; {room} fit")
        record[field.name] = raw
        return
    number = _integer(field.name, field.format, value)
    if field.name == "rtype" and number not in layout.rtypes:
        raise ValueError(f"rtype is {number}, {layout.name} has {[*map(int, layout.rtypes)]}")
    record[field.name] = number


def _integer(name: str, format_: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, expected an int in the wire's units") from None
    limits = np.iinfo(format_)
    if not limits.min <= number <= limits.max:
        raise ValueError(f"{name} is {number}, expected {limits.min} to {limits.max}")
    return number


class _Pair(_Printed):
    """Both sides of one book level."""

    __slots__ = ()
    _dtype: np.dtype[np.void]

    def __new__(cls, **fields: int) -> _Pair:
        """
        Make a level; what is not given is undefined.

        Parameters
        ----------
        **fields
            Values by field name, in the wire's units.

        Returns
        -------
        BidAskPair
        """
        raw = np.zeros(1, cls._dtype)
        raw["bid_px"] = raw["ask_px"] = np.iinfo("<i8").max
        for name, value in fields.items():
            if name not in cls._ordered_fields:
                raise TypeError(f"{cls.__name__} has no field {name!r}")
            raw[name] = _integer(name, cls._dtype[name].str, value)
        made: _Pair = Struct._from_bytes(cls, raw.tobytes(), cls._dtype.itemsize)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restored, (bytes(self),)

    @classmethod
    def _restored(cls, raw: bytes) -> _Pair:
        pair: _Pair = Struct._from_bytes(cls, raw, len(raw))
        return pair


def _make_pair(name: str, layout: Layout) -> type[_Pair]:
    level = [field for field in layout.fields if field.level == 0]
    namespace: dict[str, Any] = {"__slots__": (), "__module__": "dbnfast"}
    namespace["__doc__"] = f"Both sides of one book level, as {layout.name} has it."
    namespace["_dtype"] = np.dtype([(field.base_name, field.format) for field in level])
    shown = [field for field in level if field.kind != RESERVED]
    namespace["_ordered_fields"] = tuple(field.base_name for field in shown)
    for field in shown:
        namespace.update(_attributes(field, field.base_name, field.offset - level[0].offset))
    return type(name, (_Pair,), namespace)


_PAIRS: Final[dict[str, type[_Pair]]] = {
    "BidAskPair": _make_pair("BidAskPair", LAYOUT_BY_NAME["MBP1Msg"]),
    "ConsolidatedBidAskPair": _make_pair("ConsolidatedBidAskPair", LAYOUT_BY_NAME["CMBP1Msg"]),
}


def _levels_of(layout: Layout) -> property:
    names = {field.base_name for field in layout.fields}
    cls = _PAIRS["ConsolidatedBidAskPair" if "bid_pb" in names else "BidAskPair"]
    size = cls._dtype.itemsize
    first = layout.by_name["bid_px_00"].offset
    offsets = range(first, first + layout.n_levels * size, size)

    def levels(self: Struct) -> tuple[Any, ...]:
        raw = bytes(self)
        return tuple(Struct._from_bytes(cls, raw[at : at + size], size) for at in offsets)

    levels.__doc__ = f"The book's {layout.n_levels} best levels, best first."
    return property(levels)


def _is_heartbeat_by_code(self: Any) -> bool:
    """Tell whether the code says heartbeat."""
    return bool(self.code == SystemCode.HEARTBEAT)


def _is_heartbeat_by_text(self: Any) -> bool:
    """Tell whether the text says heartbeat."""
    return bool(self.msg == "Heartbeat")


_EXTRAS: Final[dict[str, dict[str, Any]]] = {
    "SystemMsg": {"is_heartbeat": _is_heartbeat_by_code},
    "SystemMsgV1": {"is_heartbeat": _is_heartbeat_by_text},
}


def _header_attributes() -> None:
    for field in LAYOUT_BY_NAME["OHLCVMsg"].fields[:5]:
        for name, attribute in _attributes(field, field.name, field.offset).items():
            setattr(Record, name, attribute)
    setattr(Record, "ts_out", Attribute("ts_out", _STAMP, 0, 8))  # noqa: B010
    pretty = Attribute("pretty_ts_out", _PRETTY_STAMP, 0, 8, make_time=as_timestamp)
    setattr(Record, "pretty_ts_out", pretty)  # noqa: B010


def _make_class(layout: Layout) -> type[Record]:
    shown = [field for field in layout.fields if field.kind != RESERVED]
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__module__": "dbnfast",
        "__doc__": f"A {layout.name} record of {layout.size} bytes (see ``docs/records.md``).",
        "size_hint": layout.size,
        "_layout": layout,
        "_dtypes": tuple((field.name, field.format) for field in layout.fields),
        "_ordered_fields": tuple(field.name for field in layout.ordered),
        "_hidden_fields": tuple(field.name for field in layout.fields if field.hidden),
        "_price_fields": tuple(f.name for f in shown if f.kind == PRICE),
        "_timestamp_fields": tuple(f.name for f in shown if f.kind == TIMESTAMP),
        **_EXTRAS.get(layout.name, {}),
    }
    for field in shown[5:]:
        namespace.update(_attributes(field, field.name, field.offset))
    if layout.n_levels:
        namespace["levels"] = _levels_of(layout)
    return type(layout.name, (Record,), namespace)


_header_attributes()
RECORD_CLASSES: Final[dict[str, type[Record]]] = {
    layout.name: _make_class(layout) for layout in LAYOUTS
}
globals().update(RECORD_CLASSES)
globals().update(_PAIRS)
TBBOMsg = RECORD_CLASSES["MBP1Msg"]
TCBBOMsg = RECORD_CLASSES["CMBP1Msg"]
BBO1SMsg = BBO1MMsg = RECORD_CLASSES["BBOMsg"]
CBBO1SMsg = CBBO1MMsg = RECORD_CLASSES["CBBOMsg"]


@functools.cache
def record_table() -> RecordTable:
    """
    Give the table that tells a record's class by its rtype and size.

    Returns
    -------
    RecordTable
        Made at the first call.
    """
    entries = []
    for layout in LAYOUTS:
        for rtype in layout.rtypes:
            newest = upgraded(rtype, layout, 3)
            recipe = None if newest is layout else program(layout, newest)
            entries.append(
                (
                    int(rtype),
                    layout.size,
                    RECORD_CLASSES[layout.name],
                    recipe,
                    RECORD_CLASSES[newest.name],
                )
            )
    return RecordTable(Record, entries)
