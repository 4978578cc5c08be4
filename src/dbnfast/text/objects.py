"""What the table of layouts means to the reader of JSON lines: keys, and where values go."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from dbnfast._core.objects import PLACES, USES, ObjectPlan, ObjectProgram
from dbnfast.enums import DBN_VERSION, UNDEF_STAT_QUANTITY
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE
from dbnfast.text.parse import Step, blank_record, implies_codes, steps_of
from dbnfast.text.shapes import HEADER, OLD_UNDEF_QUANTITY
from dbnfast.text.target import OLD_DEFINITION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.layouts.fields import Layout

_TOP, _HEAD, _LEVEL = range(len(PLACES))
_WRITE, _SKIP, _REFUSE, _CODE, _OPEN_HEAD, _OPEN_LEVELS = range(len(USES))

# what a line has: its header in an object or not, its levels in a list or not, and what it must
_NESTED_HEAD, _FLAT_HEAD, _NESTED_LEVELS, _FLAT_LEVELS, _OLD, _NEEDED, _STAMPED = (
    1 << bit for bit in range(7)
)


class Key(NamedTuple):
    """
    A name in an object, as `ObjectProgram` takes it.

    Attributes
    ----------
    name : bytes
        Without quotes.
    place : int
        Index in `PLACES`: where it stands.
    use : int
        Index in `USES`: what is done with its value.
    slot : tuple of (int, int, bytes) or None
        How a value is written: kind, offset, what null becomes.
    bits : int
        What the line then has.
    against : int
        What the line may not have yet.
    solid : bool
        Whether it has that only if the value is neither null nor empty.
    swap : tuple of (bytes, bytes) or None
        What a number without quotes may not be written as, and what it becomes then.
    """

    name: bytes
    place: int = _TOP
    use: int = _WRITE
    slot: tuple[int, int, bytes] | None = None
    bits: int = 0
    against: int = 0
    solid: bool = False
    swap: tuple[bytes, bytes] | None = None


def _keys(layout: Layout, ts_out: bool) -> Iterator[Key]:
    # in the order in which the lines usually have them
    steps = {step.field.name: step for step in steps_of(layout, ts_out)}
    needed = {"code"} if implies_codes(layout) else set()  # else its words are to be read
    begun: set[int] = set()
    for field in layout.ordered:
        step = steps[field.name]
        if field.name in HEADER:
            if _HEAD not in begun:
                against = _NESTED_HEAD | _FLAT_HEAD
                yield Key(b"hd", _TOP, _OPEN_HEAD, bits=_NESTED_HEAD, against=against)
            begun.add(_HEAD)
            yield _key(step, field.name, _HEAD)
        elif field.level is None:
            bits = _NEEDED if field.name in needed else _OLD if field.name == OLD_DEFINITION else 0
            key = _key(step, field.name, _TOP)._replace(bits=bits, solid=field.name in needed)
            if (layout.name, field.name) == ("StatMsg", "quantity"):
                key = key._replace(swap=(_quantity(OLD_UNDEF_QUANTITY), _UNDEFINED))
            yield key
        elif field.level == 0:
            if _LEVEL not in begun:
                against = _NESTED_LEVELS | _FLAT_LEVELS
                yield Key(b"levels", _TOP, _OPEN_LEVELS, bits=_NESTED_LEVELS, against=against)
            begun.add(_LEVEL)
            yield _key(step, field.base_name, _LEVEL)
    if ts_out:
        yield _key(steps["ts_out"], "ts_out", _TOP)._replace(bits=_STAMPED)
    yield Key(b"symbol", use=_SKIP)
    for field in layout.ordered:
        step = steps[field.name]
        if field.name in HEADER:
            yield _key(step, field.name, _TOP)._replace(bits=_FLAT_HEAD, against=_NESTED_HEAD)
        elif field.level is not None:
            yield _key(step, field.name, _TOP)._replace(bits=_FLAT_LEVELS, against=_NESTED_LEVELS)


def _key(step: Step, name: str, place: int) -> Key:
    if name == "rtype":
        return Key(b"rtype", place, _CODE)
    return Key(name.encode(), place, slot=(step.kind, step.field.offset, step.absent))


def _quantity(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)


_UNDEFINED: Final = _quantity(UNDEF_STAT_QUANTITY)
_BARE: Final = ObjectProgram(
    -1,
    b"",
    [Key(b"hd", _TOP, _OPEN_HEAD), Key(b"rtype", _HEAD, _CODE), Key(b"rtype", _TOP, _CODE)],
)


def _program(
    rtype: int, layout: Layout, is_old: bool | None, ts_out: bool, strict: bool
) -> ObjectProgram:
    blank = blank_record(layout, ts_out).copy()
    blank[layout.by_name["rtype"].offset] = rtype
    keys, needs = list(_keys(layout, ts_out)), 0
    if implies_codes(layout):
        needs |= _NEEDED
    if is_old:
        needs |= _OLD
    elif is_old is not None:
        keys.append(Key(OLD_DEFINITION.encode(), use=_REFUSE))
    if strict and ts_out:
        needs |= _STAMPED
    elif not ts_out:
        keys.append(Key(b"ts_out", use=_REFUSE if strict else _SKIP))
    pairs = [field.offset for field in layout.fields if field.name.startswith("bid_px_")]
    stride = pairs[1] - pairs[0] if len(pairs) > 1 else 0
    return ObjectProgram(rtype, blank.tobytes(), keys, layout.n_levels, stride, needs)


@lru_cache(maxsize=64)
def object_plan(
    version: int, finds_version: bool, is_old: bool, ts_out: bool, strict: bool, rtype: int | None
) -> ObjectPlan:
    """
    Say how lines become records.

    Parameters
    ----------
    version : int
        The DBN version to make records of.
    finds_version : bool
        Whether definitions show theirs.
    is_old : bool
        Whether all definitions are such that version 3 cannot hold, or none is.
    ts_out : bool
        Whether records end in a ts_out.
    strict : bool
        Whether all lines must have a ts_out, or none may.
    rtype : int or None
        That of records that do not say theirs.

    Returns
    -------
    ObjectPlan
        Lines that are another way than is said here are nothing usual to it.
    """
    programs = []
    for code, family in LAYOUTS_BY_RTYPE.items():
        tells = finds_version and OLD_DEFINITION in family[0].by_name
        if finds_version and is_old and version > 2 and not tells:
            continue  # the definition before it changes its version
        own = (2 if is_old else DBN_VERSION) if tells else version
        layout = next(layout for layout in family if own in layout.versions)
        programs.append(_program(int(code), layout, is_old if tells else None, ts_out, strict))
    return ObjectPlan(programs, _BARE, -1 if rtype is None else rtype)


LARGEST: Final = max(
    layout.itemsize(True) for family in LAYOUTS_BY_RTYPE.values() for layout in family
)
