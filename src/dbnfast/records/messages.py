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
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from dbnfast._core.record import (
    Attribute,
    Equals,
    Members,
    RecordTable,
    Shape,
    Size,
    record_from,
    struct_base,
    struct_from,
    with_state,
)
from dbnfast._util.buffers import as_bytes
from dbnfast._util.times import as_timestamp
from dbnfast.enums import UNDEF_TIMESTAMP, CharEnum, SystemCode, TriState
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, RESERVED, TIMESTAMP, TS_OUT, Field, Layout
from dbnfast.layouts.programs import program, upgraded
from dbnfast.layouts.table import (
    HEADER_DTYPE,
    HEADER_SIZE,
    LAYOUT_BY_NAME,
    LAYOUTS,
    MAX_RECORD_SIZE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from typing_extensions import Buffer

_CODES: Final = {
    "u1": 0, "<u2": 1, "<u4": 2, "<u8": 3, "i1": 4, "<i2": 5, "<i4": 6, "<i8": 7,
}  # fmt: skip
_CHARACTER, _TEXT, _PRETTY_PRICE, _PRETTY_TIME, _STAMP, _PRETTY_STAMP, _PARTS = range(8, 15)


# The fields that the official constructors take first, in the order of the struct; those that
# follow are optional there. Of a layout that is not named here, all fields come in that order.
_FIRST: Final = {
    "MBOMsg": ("order_id", "price", "size", "action", "side", "ts_recv"),
    "TradeMsg": ("price", "size", "action", "side", "depth", "ts_recv"),
    "MBP1Msg": ("price", "size", "action", "side", "depth", "ts_recv"),
    "MBP10Msg": ("price", "size", "action", "side", "depth", "ts_recv"),
    "BBOMsg": ("price", "size", "side", "ts_recv"),
    "CMBP1Msg": ("price", "size", "action", "side", "ts_recv"),
    "CBBOMsg": ("price", "size", "side", "ts_recv"),
    "ImbalanceMsg": (
        "ts_recv", "ref_price", "auction_time", "cont_book_clr_price", "auct_interest_clr_price",
        "paired_qty", "total_imbalance_qty", "auction_type", "side", "significant_imbalance",
    ),
    "InstrumentDefMsg": (
        "ts_recv", "min_price_increment", "display_factor", "raw_symbol", "asset",
        "security_type", "instrument_class", "security_update_action",
    ),
    "StatMsg": ("ts_recv", "ts_ref", "price", "quantity", "stat_type"),
    "StatMsgV1": ("ts_recv", "ts_ref", "price", "quantity", "stat_type"),
    "ErrorMsg": ("err", "is_last"),
}  # fmt: skip
_WITH_RTYPE: Final = ("BBOMsg", "CBBOMsg", "CMBP1Msg", "OHLCVMsg")
_OF_NO_INSTRUMENT: Final = ("ErrorMsg", "ErrorMsgV1", "SystemMsg", "SystemMsgV1")
# what the official constructors set where nothing is given and the format has another value
_DEFAULTS: Final = {"is_last": 1, "update_action": 1, "user_defined_instrument": "N"}


class _Size(int):
    """A size in bytes, that may be called too, as the official ``record_size()`` is."""

    def __call__(self) -> int:
        return int(self)


@functools.cache
def _members(enum: type[Enum]) -> Members:
    if issubclass(enum, TriState):  # the official classes give these as bools
        known: dict[Any, Any] = {state.value: state.opt_bool() for state in enum}
    elif issubclass(enum, CharEnum):
        known = {member.value: member for member in enum}
    else:
        known = {int(member): member for member in enum}  # type: ignore[call-overload]
    codes = {member: int(member) for member in enum}  # type: ignore[call-overload]
    return Members(known, issubclass(enum, CharEnum), codes, enum)


def _attributes(field: Field, name: str, offset: int, layout: Layout) -> dict[str, Attribute]:
    # the field under its name, and its pretty form where it has one
    width = field.size
    members = None if field.enum is None else _members(field.enum)
    if field.kind == CHAR:
        return {name: Attribute(name, _CHARACTER, offset, 1, members)}
    if field.kind == CSTR:
        return {name: Attribute(name, _TEXT, offset, width)}
    allowed = frozenset(map(int, layout.rtypes)) if name == "rtype" else None
    code = _CODES[field.format]
    made = {name: Attribute(name, code, offset, width, members, allowed=allowed)}
    pretty = f"pretty_{name}"
    if field.kind == PRICE:
        made[pretty] = Attribute(pretty, _PRETTY_PRICE, offset, width)
    elif field.kind == TIMESTAMP:
        made[pretty] = Attribute(pretty, _PRETTY_TIME, offset, width, make=as_timestamp)
    return made


def _shape(
    fields: Sequence[Field], made: dict[str, Any], given: Sequence[str], shown: Sequence[str],
    template: bytes, stamps: bool,
) -> Shape:  # fmt: skip
    # how structs are made and shown: `made` has the attributes by name
    pretty = {PRICE: _PRETTY_PRICE, TIMESTAMP: _PRETTY_TIME}
    kinds = {field.name: pretty.get(field.kind, 0) for field in fields}
    kinds |= {field.base_name: pretty.get(field.kind, 0) for field in fields}
    return Shape(
        template,
        [made[name] for name in given],
        [(made[name], kinds[name]) for name in shown],
        stamps,
    )


@struct_base
class Record:
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
    _dtypes: ClassVar[list[tuple[str, str]]] = [
        (name, HEADER_DTYPE[name].str) for name in HEADER_DTYPE.names or ()
    ]
    _ordered_fields: ClassVar[list[str]] = ["ts_event", "rtype", "publisher_id", "instrument_id"]
    _hidden_fields: ClassVar[list[str]] = ["length"]
    _price_fields: ClassVar[list[str]] = []
    _timestamp_fields: ClassVar[list[str]] = ["ts_event"]
    _shape: ClassVar[Shape]

    def __new__(cls, *values: Any, **fields: Any) -> Record:
        """
        Make a record.

        Parameters
        ----------
        *values
            Values in the order of the official constructor, which the class's docstring tells.
        **fields
            Values by field name, in the wire's units; ``ts_out`` appends one; ``levels`` takes
            pairs, or one pair. What is missing or None is undefined, except for three fields that
            are as the official constructors set them: ``is_last`` is 1, ``update_action`` 1
            (new), and ``user_defined_instrument`` "N".

        Returns
        -------
        Record

        Raises
        ------
        TypeError
            There is no such field, it is given twice, or this class has no layout.
        ValueError
            A value does not fit its field.
        """
        if cls._layout is None:
            raise TypeError(f"{cls.__name__} has no layout; make a subclass, or use from_bytes")
        if values:
            fields = _by_name(cls.__name__, parameters_of(cls._layout), values, fields)
        raw = _build(cls._layout, fields)
        stamped = fields.get("ts_out") is not None
        made: Record = struct_from(cls, raw.tobytes(), cls._layout.size, stamped)
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

    def is_heartbeat(self) -> bool:
        """
        Tell whether the record is a system record that says only that the gateway lives.

        Returns
        -------
        bool
        """
        return False

    def replace(self, **fields: Any) -> Self:
        """
        Make a copy with some fields changed.

        Parameters
        ----------
        **fields
            As the class takes them; a field that is None becomes undefined. All other bytes stay
            as they are.

        Returns
        -------
        Record
            Of the same class. ``ts_out`` is appended if there was none.

        Raises
        ------
        TypeError
            There is no such field, or this class has no layout.
        ValueError
            A value does not fit its field.
        """
        changed: Self | None = self._shape.changed(self, fields)
        if changed is not None:
            return changed
        layout, stamped = self._layout, self._stamped
        if layout is None:
            raise TypeError(f"{type(self).__name__} has no layout, so no field can be replaced")
        raw = bytearray(bytes(self))
        if fields.get("ts_out") is not None and not stamped:
            raw += bytes(TS_OUT.at(0).size)  # at the end also of a record longer than its layout
            if len(raw) > MAX_RECORD_SIZE:
                raise ValueError(f"a record of {len(bytes(self))} bytes has no room for a ts_out")
            raw[0], stamped = len(raw) // 4, True
        if "ts_out" in fields:
            ts_out = fields.pop("ts_out")
            if stamped:
                ts_out = UNDEF_TIMESTAMP if ts_out is None else ts_out
                raw[-8:] = _integer("ts_out", TS_OUT.format, ts_out).to_bytes(8, "little")
        _set_fields(np.frombuffer(raw, layout.dtype(), 1), layout, fields)
        made: Self = struct_from(type(self), bytes(raw), layout.size, stamped)
        return with_state(made, self.__getstate__())  # of a class of a user

    def __reduce__(self) -> tuple[Any, ...]:
        cls = type(self)
        if cls is RECORD_CLASSES.get(cls.__name__, Record):
            return Record._restored, (cls.__name__, bytes(self), self._stamped)
        return Record._restored, (cls, bytes(self), self._stamped), self.__getstate__()

    @classmethod
    def _restored(cls, name: str | type[Record], raw: bytes, ts_out: bool) -> Record:
        own = RECORD_CLASSES.get(name, Record) if isinstance(name, str) else name
        made: Record = struct_from(own, raw, own.size_hint, ts_out)
        return made


def _build(layout: Layout, fields: dict[str, Any]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    record = layout.undefined(fields.get("ts_out") is not None)
    given = {name: value for name, value in fields.items() if value is not None}
    _set_fields(record, layout, {**_defaults(layout), **given})
    return record


def _defaults(layout: Layout) -> dict[str, Any]:
    return {name: value for name, value in _DEFAULTS.items() if name in layout.by_name}


def _set_fields(
    record: np.ndarray[tuple[int], np.dtype[np.void]], layout: Layout, fields: dict[str, Any]
) -> None:
    if fields.get("levels") is not None:
        fields = {**_level_fields(layout, fields["levels"]), **fields}
    for name, value in fields.items():
        if name == "levels" and layout.n_levels:
            continue
        field = TS_OUT.at(layout.size) if name == "ts_out" else layout.by_name.get(name)
        if field is None or field.kind == RESERVED or name == "length":
            raise TypeError(f"{layout.name} has no field {name!r}")
        _set_field(record, layout, field, field.undef if value is None else value)


def parameters_of(layout: Layout) -> list[str]:
    """
    List what a record class takes, in the order of the official constructor.

    Parameters
    ----------
    layout : Layout
        Of the class.

    Returns
    -------
    list of str
        The fields, then ``levels`` and ``ts_out``.
    """
    shown = [field for field in layout.fields[1:] if field.kind != RESERVED and field.level is None]
    names = [field.name for field in shown]
    left_out = {"rtype"} if layout.name not in _WITH_RTYPE else set()
    if layout.name in _OF_NO_INSTRUMENT:
        left_out |= {"publisher_id", "instrument_id"}
    header = [name for name in names[:4] if name not in left_out]
    first = [name for name in names[4:] if name in _FIRST.get(layout.name, names)]
    others = [name for name in names[4:] if name not in first]
    return [*header, *first, *others, *(["levels"] if layout.n_levels else []), "ts_out"]


def _by_name(
    cls: str, names: Sequence[str], values: tuple[Any, ...], fields: dict[str, Any]
) -> dict[str, Any]:
    if len(values) > len(names):
        raise TypeError(f"{cls} takes {len(names)} values without a name, {len(values)} were given")
    given = dict(zip(names, values, strict=False))
    for name in given:
        if name in fields:
            raise TypeError(f"{cls} was given two values for {name!r}")
    return {**given, **fields}


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


@struct_base
class _Pair:
    """Both sides of one book level."""

    __slots__ = ()
    _ordered_fields: ClassVar[list[str]] = []
    _timestamp_fields: ClassVar[list[str]] = []
    _dtype: np.dtype[np.void]

    def __new__(cls, *values: int, **fields: int) -> _Pair:
        """
        Make a level; what is not given is undefined.

        Parameters
        ----------
        *values
            Values in the order of the fields.
        **fields
            Values by field name, in the wire's units.

        Returns
        -------
        BidAskPair
        """
        raw = np.frombuffer(bytearray(_undefined_level(cls._dtype)), cls._dtype)
        fields = _by_name(cls.__name__, cls._ordered_fields, values, fields)
        for name, value in fields.items():
            if name not in cls._ordered_fields:
                raise TypeError(f"{cls.__name__} has no field {name!r}")
            raw[name] = _integer(name, cls._dtype[name].str, value)
        made: _Pair = struct_from(cls, raw.tobytes(), cls._dtype.itemsize)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restored, (bytes(self),)

    @classmethod
    def _restored(cls, raw: bytes) -> _Pair:
        pair: _Pair = struct_from(cls, raw, len(raw))
        return pair


def _make_pair(name: str, layout: Layout) -> type[_Pair]:
    level = [field for field in layout.fields if field.level == 0]
    namespace: dict[str, Any] = {"__slots__": (), "__module__": "dbnfast"}
    namespace["__doc__"] = f"Both sides of one book level, as {layout.name} has it."
    namespace["_dtype"] = np.dtype([(field.base_name, field.format) for field in level])
    shown = [field for field in level if field.kind != RESERVED]
    namespace["_ordered_fields"] = [field.base_name for field in shown]
    made: dict[str, Any] = {}
    for field in shown:
        made |= _attributes(field, field.base_name, field.offset - level[0].offset, layout)
    names = namespace["_ordered_fields"]
    shape = _shape(level, made, names, names, _undefined_level(namespace["_dtype"]), False)
    pair = type(name, (_Pair,), {**namespace, **made})
    shape.bind(pair, True)
    return pair


def _undefined_level(dtype: np.dtype[np.void]) -> bytes:
    raw = np.zeros(1, dtype)
    raw["bid_px"] = raw["ask_px"] = np.iinfo("<i8").max
    return raw.tobytes()


_PAIRS: Final[dict[str, type[_Pair]]] = {
    "BidAskPair": _make_pair("BidAskPair", LAYOUT_BY_NAME["MBP1Msg"]),
    "ConsolidatedBidAskPair": _make_pair("ConsolidatedBidAskPair", LAYOUT_BY_NAME["CMBP1Msg"]),
}


def _levels_of(layout: Layout) -> Attribute:
    names = {field.base_name for field in layout.fields}
    cls = _PAIRS["ConsolidatedBidAskPair" if "bid_pb" in names else "BidAskPair"]
    first = layout.by_name["bid_px_00"].offset
    doc = f"The book's {layout.n_levels} best levels, best first, in a new list."
    return Attribute(
        "levels", _PARTS, first, cls._dtype.itemsize, make=cls, count=layout.n_levels, doc=doc
    )


# what a system record has where it says only that the gateway lives
_HEARTBEATS: Final = {
    "SystemMsg": ("code", SystemCode.HEARTBEAT, "Tell whether the code says heartbeat."),
    "SystemMsgV1": ("msg", "Heartbeat", "Tell whether the text says heartbeat."),
}


_SIZE: Final = Size(
    _Size,
    "record_size",
    "The record's size in bytes, ts_out included; may be called as a method too.",
)


def _of_every_record(layout: Layout) -> dict[str, Attribute | Size]:
    # what follows no field, or another one in each class
    index = layout.by_name[layout.index_ts].offset
    times = {"make": as_timestamp, "doc": "In UTC as pandas.Timestamp, None where undefined."}
    index_doc = "The index timestamp: ts_recv where there is one, else ts_event."
    return {
        "record_size": _SIZE,
        "ts_index": Attribute("ts_index", _CODES["<u8"], index, 8, doc=index_doc),
        "pretty_ts_index": Attribute("pretty_ts_index", _PRETTY_TIME, index, 8, **times),
        "ts_out": Attribute("ts_out", _STAMP, 0, 8),
        "pretty_ts_out": Attribute("pretty_ts_out", _PRETTY_STAMP, 0, 8, **times),
    }


def _header_attributes() -> None:
    layout = LAYOUT_BY_NAME["OHLCVMsg"]
    header = layout.fields[:5]
    made: dict[str, Any] = _of_every_record(layout)
    for field in header:
        made |= _attributes(field, field.name, field.offset, layout)
    for name, attribute in made.items():
        setattr(Record, name, attribute)
    template = layout.undefined().tobytes()[:HEADER_SIZE]
    _shape(header, made, [], Record._ordered_fields, template, True).bind(Record, False)


def _make_class(layout: Layout) -> type[Record]:
    shown = [field for field in layout.fields if field.kind != RESERVED]
    names = parameters_of(layout)
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__module__": "dbnfast",
        "__doc__": (
            f"A {layout.name} record of {layout.size} bytes (see ``docs/records.md``).\n\n"
            f"Takes {', '.join(names)}, in this order or by name."
        ),
        "size_hint": layout.size,
        "_layout": layout,
        "_dtypes": [(field.name, field.format) for field in layout.fields],
        "_ordered_fields": [field.name for field in layout.ordered],
        "_hidden_fields": [field.name for field in layout.fields if field.hidden],
        "_price_fields": [f.name for f in shown if f.kind == PRICE],
        "_timestamp_fields": [f.name for f in shown if f.kind == TIMESTAMP],
    }
    made: dict[str, Any] = _of_every_record(layout)
    for field in shown:  # those of the header too: they are found sooner in the class itself
        made |= _attributes(field, field.name, field.offset, layout)
    if layout.n_levels:
        made["levels"] = _levels_of(layout)
    if layout.name in _HEARTBEATS:
        name, wanted, doc = _HEARTBEATS[layout.name]
        made["is_heartbeat"] = Equals(made[name], wanted, "is_heartbeat", doc)
    others = [field.name for field in shown[1:] if field.name not in names]
    template = layout.undefined()
    _set_fields(template, layout, _defaults(layout))
    shape = _shape(
        shown, made, [*names, *others], namespace["_ordered_fields"], template.tobytes(), True
    )
    cls = type(layout.name, (Record,), {**namespace, **made})
    shape.bind(cls, True)
    return cls


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
