"""What records are as objects: their texts, codes, levels, copies and memory; and module names."""

from __future__ import annotations

import abc
import copy
import gc
import math
import pickle
import random
import subprocess
import sys
import sysconfig
import tracemalloc
import typing
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import BidAskPair, Record, RType, Side
from dbnfast._util import times
from dbnfast.layouts.table import LAYOUTS
from dbnfast.records.messages import RECORD_CLASSES
from helpers import streams

CLASSES = [RECORD_CLASSES[layout.name] for layout in LAYOUTS]
by_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
BOOKS = [cls for cls in CLASSES if cls._layout is not None and cls._layout.n_levels]
by_book = pytest.mark.parametrize("cls", BOOKS, ids=lambda cls: cls.__name__)
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

PRICES = (
    0, 1, -1, 99_999, 100_000, 123_456, -250_000_000, 10**9, 16_000_250_000_000, 10**15 - 1,
    10**15, -(10**15) - 1, 123_456_789_123_456_789, 2**63 - 2, 2**63 - 1, -(2**63), -(2**63) + 1,
)  # fmt: skip
TIMES = (0, 1, 10**9 - 1, 10**9, 951_782_399_999_999_999, 1_709_164_800_000_000_000,
         4_102_444_799_999_999_999, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)  # fmt: skip
TEXTS = (b"", b"ESH6", b"it's", b'"both\' of them', b"back\\slash", b"tab\t\x01\x7f",
         b"\xff\xfe\x80", "Ä€\u2028\U000e0001\U0001f600".encode(), b"AB\0CD", b"~ ")  # fmt: skip


def wild(cls: type[Record], rng: random.Random) -> Any:
    """A record of values that are hard to write."""
    assert cls._layout is not None
    raw = bytearray(rng.randbytes(cls.size_hint))
    raw[:2] = bytes([cls.size_hint // 4, int(cls._layout.rtypes[0])])
    for field in cls._layout.fields[2:]:
        part = None
        if field.kind == "price":
            part = rng.choice(PRICES).to_bytes(8, "little", signed=True)
        elif field.kind == "timestamp":
            part = rng.choice(TIMES).to_bytes(8, "little")
        elif field.kind == "cstr":
            part = rng.choice([*TEXTS, rng.randbytes(field.size)])[: field.size]
            part = part.ljust(field.size, b"\0")
        elif field.enum is not None and rng.random() < 0.7:
            code = int(rng.choice(list(field.enum)))  # type: ignore[call-overload]
            part = code.to_bytes(field.size, "little")
        if part is not None:
            raw[field.offset : field.offset + field.size] = part
    return Record.from_bytes(raw)


# --- texts and rows -------------------------------------------------------------------------


def written(record: Any) -> str:
    """The repr of a record as Python code writes it, value by value."""
    shown = []
    for name in record._ordered_fields:
        value = getattr(record, name)
        shown.append(f"{name}={value!r}")
        if name in record._timestamp_fields:
            if value != 2**64 - 1:
                pretty = str(np.datetime64(value if value < 2**63 else "NaT", "ns"))
                shown.append(f"pretty_{name}={pretty!r}")
        elif hasattr(type(record), f"pretty_{name}"):
            price = math.nan if value == 2**63 - 1 else value / 1e9
            shown.append(f"pretty_{name}={str(price)!r}")
    return f"{type(record).__name__}({', '.join(shown)})"


@by_class
@pytest.mark.parametrize("seed", range(20))
def test_repr_is_the_reprs_of_the_values(cls: type[Record], seed: int) -> None:
    record = wild(cls, random.Random(f"{cls.__name__} {seed}"))
    assert repr(record) == str(record) == written(record)
    if hasattr(record, "levels"):
        for level in record.levels:
            assert repr(level) == written(level)


@pytest.mark.parametrize("digits", range(1, 20))
def test_prices_are_written_as_floats_are(digits: int) -> None:
    rng = random.Random(digits)
    for _ in range(300):
        price = rng.randrange(10**digits) * rng.choice((1, -1))
        price -= price % 10 ** rng.randrange(digits)
        price = max(-(2**63), min(price, 2**63 - 2))
        assert f"pretty_price='{price / 1e9!s}'" in repr(dbnfast.TradeMsg(price=price))


def test_a_class_of_the_user_is_shown_under_its_name() -> None:
    class Überfluss(dbnfast.TradeMsg):
        pass

    assert repr(Überfluss(price=5)).startswith("Überfluss(ts_recv=18446744073709551615, ts_event=")


@by_class
def test_a_row_is_the_attributes(cls: type[Record]) -> None:
    record = wild(cls, random.Random(cls.__name__))
    assert record.to_dict() == {name: getattr(record, name) for name in cls._ordered_fields}


# --- codes ----------------------------------------------------------------------------------


def coded() -> list[Any]:
    found = []
    for layout in LAYOUTS:
        found += [pytest.param(layout, field, id=f"{layout.name}-{field.name}")
                  for field in layout.fields[2:] if field.enum is not None]  # fmt: skip
    return found


@pytest.mark.parametrize(("layout", "field"), coded())
def test_every_code_is_its_member_or_raw(layout: Any, field: Any) -> None:
    characters = field.kind == "char"
    members = {member.value if characters else int(member): member for member in field.enum}
    if field.enum is dbnfast.TriState:
        members = {"Y": True, "N": False, "~": None}
    codes = range(256) if field.size == 1 else (*range(300), *range(9990, 10_010), 65_535)
    for code in codes:
        raw = bytearray(layout.undefined().tobytes())
        raw[field.offset : field.offset + field.size] = code.to_bytes(field.size, "little")
        found = getattr(Record.from_bytes(raw), field.name)
        plain = chr(code) if characters else code
        wanted = members.get(plain, plain)
        assert found == wanted
        assert type(found) is type(wanted)


def test_rtypes_of_every_number() -> None:
    for code in range(256):
        record = Record.from_bytes(streams.record(code, 16))
        known = code in {int(rtype) for rtype in RType}
        assert (record.rtype, type(record.rtype)) == (code, RType if known else int)


# --- levels ---------------------------------------------------------------------------------


@by_book
def test_levels_are_a_list_of_pairs(cls: type[Record]) -> None:
    dbn = pytest.importorskip("databento_dbn")
    record = wild(cls, random.Random(cls.__name__))
    levels, again = record.levels, record.levels
    n = len(levels)
    assert type(levels) is list
    assert levels == again
    assert levels is not again
    assert levels[0] is not again[0]
    assert levels[-1] == levels[n - 1]
    assert levels[:3] == list(levels)[:3]
    assert levels[::-1] == list(reversed(levels))
    with pytest.raises(IndexError):
        levels[n]
    with pytest.raises(IndexError):
        levels[-n - 1]
    levels.clear()
    assert len(record.levels) == n  # the record knows nothing of it
    theirs = streams.official(streams.header(3, None) + bytes(record))[1].levels
    for mine, other in zip(record.levels, theirs, strict=True):
        assert type(other) is getattr(dbn, type(mine).__name__)
        for name in type(mine)._ordered_fields:
            assert getattr(mine, name) == getattr(other, name)


@by_book
def test_levels_that_somebody_has_are_never_filled_again(cls: type[Record]) -> None:
    rng = random.Random(cls.__name__)
    records = [wild(cls, rng) for _ in range(4)]
    names = type(records[0].levels[0])._ordered_fields
    wanted = [
        [[getattr(record, f"{name}_{i:02}") for name in names] for i in range(len(record.levels))]
        for record in records
    ]
    held: list[Any] = []  # lists and pairs that are kept, and what they have to have

    def values(levels: Any) -> list[list[Any]]:
        return [[getattr(level, name) for name in names] for level in levels]

    def step() -> None:
        at = rng.randrange(len(records))
        levels = records[at].levels
        assert values(levels) == wanted[at]
        choice = rng.randrange(7)
        if choice == 0:
            held.append((levels, wanted[at]))
        elif choice == 1:
            i = rng.randrange(len(levels))
            held.append(([levels[i]], [wanted[at][i]]))
        elif choice == 2:
            levels.clear()
        elif choice == 3:
            levels.append(levels[0])
        elif choice == 4:
            levels[:] = [levels[-1]] * len(levels)
        elif choice == 5:
            levels[rng.randrange(len(levels))] = rng.choice([None, 5, "text", records[0]])
        elif held:
            held.pop(rng.randrange(len(held)))

    for _ in range(1000):
        step()
        for levels, values_of in held[-5:]:
            assert values(levels) == values_of
    for levels, values_of in held:
        assert values(levels) == values_of


def test_what_goes_when_levels_are_filled_may_read_levels() -> None:
    one, other = (
        dbnfast.MBP10Msg(levels=[BidAskPair(bid_px=price)] * 10) for price in (10**9, 2 * 10**9)
    )
    seen = []

    class Reads:
        def __del__(self) -> None:
            seen.append([level.bid_px for level in other.levels])

    for at in range(10):
        for _ in range(3):  # all the lists that are kept
            levels: Any = one.levels
            levels[at] = Reads()
            del levels
        assert [level.bid_px for level in one.levels] == [10**9] * 10
    assert seen == [[2 * 10**9] * 10] * 30


def test_no_list_is_half_filled_when_code_of_others_runs() -> None:
    record = dbnfast.MBP10Msg(levels=[BidAskPair(bid_px=10**9)] * 10)
    n_found = []

    class Clears:
        def __del__(self) -> None:
            found = [
                one
                for one in gc.get_objects()
                if type(one) is list and len(one) == 10 and type(one[0]) is BidAskPair
            ]
            n_found.append(len(found))
            for one in found:
                one.clear()

    for at in range(10):
        for _ in range(3):
            levels: Any = record.levels
            levels[at] = Clears()
            del levels
        one, other = record.levels, record.levels
        assert [level.bid_px for level in one + other] == [10**9] * 20
        del one, other
    assert len(n_found) == 30


@by_book
def test_a_level_is_a_value_of_its_own(cls: type[Record]) -> None:
    record = wild(cls, random.Random(cls.__name__))
    raw, names = bytes(record), type(record.levels[0])._ordered_fields
    wanted = [{name: getattr(record, f"{name}_{i:02}") for name in names}
              for i in range(len(record.levels))]  # fmt: skip
    levels = record.levels
    for level in levels:
        for again in (
            copy.copy(level),
            copy.deepcopy(level),
            pickle.loads(pickle.dumps(level)),
        ):
            assert again == level
            assert hash(again) == hash(level)
            assert type(again) is type(level)
        assert type(level)(**level.to_dict()).to_dict() == level.to_dict()
        with pytest.raises(AttributeError):
            level.bid_px = 1
        with pytest.raises(AttributeError):
            level.anything = 1
    del record
    gc.collect()
    for _ in range(200):  # memory that went with the record is used for others
        dbnfast.MBP10Msg(), dbnfast.MBP1Msg(), BidAskPair()
    assert [level.to_dict() for level in levels] == wanted
    assert b"".join(map(bytes, levels)) in raw


# --- making ---------------------------------------------------------------------------------


def plain_values(cls: type[Record], rng: random.Random) -> dict[str, Any]:
    """A value for some of what a class takes, as programs give them."""
    assert cls._layout is not None
    fields = [f for f in cls._layout.fields[1:] if f.kind != "reserved"]
    made: dict[str, Any] = {}
    for field in rng.sample(fields, rng.randrange(len(fields) + 1)):
        if field.name == "rtype":
            value: Any = rng.choice([*cls._layout.rtypes, *map(int, cls._layout.rtypes)])
        elif field.enum is not None and rng.random() < 0.8:
            value = rng.choice(list(field.enum))
            if field.size == 1 and field.kind != "char":
                value = rng.choice([value, int(value)])
        elif field.kind == "char":
            value = rng.choice(["A", "~", "\xe9", b"B", None])
        elif field.kind == "cstr":
            value = rng.choice(["", "ES", "Ä", b"raw", "x" * (field.size - 1), None])
        else:
            limits = np.iinfo(field.format)
            value = rng.choice([0, 1, limits.min, limits.max, True, np.int64(7), None,
                                rng.randint(int(limits.min), int(limits.max))])  # fmt: skip
        made[field.name] = value
    if rng.random() < 0.3:
        made["ts_out"] = rng.choice([0, 2**64 - 1, None])
    return made


@by_class
@pytest.mark.parametrize("seed", range(25))
def test_a_call_makes_what_new_makes(cls: type[Record], seed: int) -> None:
    """Plain values are stored in C; ``__new__`` is the long way, which takes everything."""
    rng = random.Random(f"{cls.__name__} {seed}")
    values = plain_values(cls, rng)
    made, wanted = cls(**values), cls.__new__(cls, **values)
    assert (type(made), bytes(made), made.ts_out) == (cls, bytes(wanted), wanted.ts_out)
    fields = {name: values[name] for name in rng.sample(list(values), len(values) // 2)}
    changed = made.replace(**fields)
    assert bytes(changed) == bytes(cls.__new__(cls, **values))
    other = cls.__new__(cls).replace(**{k: v for k, v in values.items() if v is not None})
    assert bytes(other) == bytes(wanted)


@by_book
def test_levels_that_are_given(cls: type[Record]) -> None:
    rng = random.Random(cls.__name__)
    pairs, others = wild(cls, rng).levels, wild(cls, rng).levels
    n = len(pairs)
    for given in (pairs, tuple(pairs), pairs[0], pairs[: n // 2], [], None):
        for more in ({}, {"bid_px_00": 5}, {"ask_px_00": 6, "ts_recv": 7}):
            made, wanted = (make(levels=given, **more) for make in (cls, _long(cls)))
            assert bytes(made) == bytes(wanted)
    for wrong in ([*others, others[0]], [3], "x", [object()]):
        with pytest.raises((TypeError, ValueError)):
            cls(levels=wrong)
    other = dbnfast.MBP1Msg if "Consolidated" in type(pairs[0]).__name__ else dbnfast.CMBP1Msg
    wrong_pair: Any = wild(other, rng).levels[0]
    with pytest.raises(TypeError):
        cls(levels=[wrong_pair])


def _long(cls: type[Record]) -> Any:
    return lambda **fields: cls.__new__(cls, **fields)


@pytest.mark.parametrize("name", ["price", "size", "flags", "channel_id", "ts_in_delta", "ts_out"])
def test_what_does_not_fit_is_refused_as_before(name: str) -> None:
    for value in (2**64, -(2**63) - 1, 2**70, 1.5, "x", b"1", [], object()):
        errors = []
        for make in (dbnfast.MBOMsg, _long(dbnfast.MBOMsg)):
            with pytest.raises((TypeError, ValueError)) as caught:
                make(**{name: value})
            errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1]


def test_pairs_are_made_in_every_way() -> None:
    for make in (BidAskPair, lambda *a, **k: BidAskPair.__new__(BidAskPair, *a, **k)):
        pair: Any = make(1, 2, bid_ct=3)
        assert pair.to_dict() == {
            "bid_px": 1, "ask_px": 2, "bid_sz": 0, "ask_sz": 0, "bid_ct": 3, "ask_ct": 0,
        }  # fmt: skip
        with pytest.raises(TypeError, match="no field 'bid'"):
            make(bid=1)
        with pytest.raises(ValueError, match="bid_sz is 4294967296"):
            make(bid_sz=2**32)


# --- classes of users -----------------------------------------------------------------------


class Noted(dbnfast.TradeMsg):
    """With a __dict__, so that the garbage collector knows its objects."""


class Bare(dbnfast.TradeMsg):
    """With nothing of its own."""

    __slots__ = ()


class Priced(dbnfast.TradeMsg):
    """With a constructor and a slot of its own."""

    __slots__ = ("note",)

    def __new__(cls, price: float, note: str = "") -> Priced:
        made: Any = super().__new__(cls, price=round(price * 1e9))
        made.note = note
        return made  # type: ignore[no-any-return]


@pytest.mark.parametrize("cls", [Noted, Bare], ids=["dict", "bare"])
def test_classes_of_users(cls: Any) -> None:
    plain = dbnfast.TradeMsg(price=5, side=Side.BID, ts_out=9)
    made = cls(price=5, side="B", ts_out=9)
    assert type(made) is cls
    assert bytes(made) == bytes(plain)
    assert (made.price, made.side, made.ts_out, made.record_size()) == (5, Side.BID, 9, 56)
    assert made.to_dict() == plain.to_dict()
    assert repr(made) == repr(plain).replace("TradeMsg(", f"{cls.__name__}(", 1)
    assert type(made.replace(price=6)) is cls
    assert made.replace(price=6).price == 6
    assert made == cls(price=5, side="B", ts_out=9)
    assert made != plain
    assert len({made, cls(price=5, side="B", ts_out=9)}) == 1
    assert made.__sizeof__() >= 56


def test_a_class_with_attributes_of_its_own() -> None:
    noted: Any = Noted(price=5)
    noted.note = "mine"
    noted.own = noted  # a cycle: the garbage collector has to find it
    priced = Priced(1.5, note="theirs")
    assert (priced.price, priced.note, noted.note) == (1_500_000_000, "theirs", "mine")
    before = len([one for one in gc.get_objects() if type(one) is Noted])
    del noted
    gc.collect()
    assert len([one for one in gc.get_objects() if type(one) is Noted]) < before
    with pytest.raises(AttributeError):
        priced.price = 6  # type: ignore[misc]


class StatMsg(dbnfast.TradeMsg):
    """Whose name another class of records has."""


class Abstract(dbnfast.TradeMsg, abc.ABC):
    """With a metaclass."""

    @property
    def notional(self) -> int:
        return self.price * self.size


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", [Noted, Bare, StatMsg, Abstract])
def test_pickles_of_classes_of_users(cls: Any, protocol: int) -> None:
    made = cls(price=5, size=3, ts_out=9)
    found = pickle.loads(pickle.dumps(made, protocol))
    assert type(found) is cls
    assert found == made
    assert (found.price, found.ts_out) == (5, 9)


def test_copies_take_along_what_a_class_of_a_user_holds() -> None:
    noted, priced = Noted(price=5), Priced(1.5, note="mine")
    noted.notes = ["a"]
    noted.itself = noted
    for again in (copy.copy(noted), copy.deepcopy(noted), pickle.loads(pickle.dumps(noted))):
        assert type(again) is Noted
        assert again == noted
        assert again is not noted
        assert again.notes == ["a"]
        again.notes = ["b"]
        assert noted.notes == ["a"]
    assert copy.copy(noted).notes is noted.notes
    assert copy.copy(noted).itself is noted
    deep = copy.deepcopy(noted)
    assert deep.notes is not noted.notes
    assert deep.itself is deep
    changed = noted.replace(price=6)
    assert (type(changed), changed.price, changed.notes) == (Noted, 6, ["a"])
    for other in (copy.copy(priced), copy.deepcopy(priced), pickle.loads(pickle.dumps(priced))):
        assert (other.price, other.note) == (1_500_000_000, "mine")
    assert priced.replace(size=1).note == "mine"
    for own in (dbnfast.TradeMsg(), dbnfast.BidAskPair()):
        assert copy.copy(own) is copy.deepcopy(own) is own


def test_a_class_may_have_a_metaclass() -> None:
    assert Abstract(price=5, size=3).notional == 15
    assert isinstance(Abstract(), dbnfast.TradeMsg)


@pytest.mark.parametrize("cls", [Record, dbnfast.MBP1Msg, dbnfast.BidAskPair, Noted])
def test_type_hints_can_be_asked_for(cls: type) -> None:
    assert typing.get_type_hints(cls) == {}


class Title:
    """What a class of a user may have besides."""

    __slots__ = ()
    title = "a trade"


class Titled(Title, dbnfast.TradeMsg):
    """With another class before."""


def test_a_class_of_a_user_may_have_other_bases() -> None:
    made: Any = Titled(price=5, ts_out=9)
    assert (made.title, made.price, made.record_size(), made.to_dict()["ts_out"]) == (
        "a trade", 5, 56, 9,
    )  # fmt: skip
    assert isinstance(made, Record)
    with pytest.raises(TypeError, match=r"lay-?out conflict"):
        type("Both", (dbnfast.TradeMsg, dbnfast.BidAskPair), {})


@pytest.mark.parametrize("cls", [dbnfast.TradeMsg, dbnfast.BidAskPair])
def test_one_base_alone_stands_above_a_record_or_a_level(cls: Any) -> None:
    base = cls.__base__
    assert cls.__mro__ == (cls, base, object)
    assert issubclass(base, Record) == (cls is dbnfast.TradeMsg)
    for name in ("to_dict", "__bytes__", "__repr__"):
        for other in (3, object(), cls):
            with pytest.raises(TypeError):
                getattr(base, name)(other)


@pytest.mark.parametrize("cls", [dbnfast.TradeMsg, Noted, Bare])
def test_an_object_without_bytes_is_no_harm(cls: Any) -> None:
    for _ in range(200):  # more than are kept for the next ones
        empty = object.__new__(cls)
        assert bytes(empty) == b""
        assert empty == object.__new__(cls) != cls()
        for use in (repr, cls.to_dict, lambda one: one.price, lambda one: one.replace(price=5)):
            with pytest.raises(TypeError):
                use(empty)
        del empty
        assert cls(price=5).price == 5


# --- memory ---------------------------------------------------------------------------------


def test_the_garbage_collector_has_nothing_to_do() -> None:
    record: Any = dbnfast.MBP10Msg()
    assert not gc.is_tracked(record)
    assert not gc.is_tracked(record.levels[0])
    assert not gc.is_tracked(Record.from_bytes(streams.record(0x42, 24)))


def churn(n: int) -> None:
    """Make objects of every kind, and drop them."""
    book = streams.header(3, None) + b"".join(bytes(cls(instrument_id=1)) for cls in BOOKS)
    for _ in range(n):
        for record in dbnfast.scan(book):
            levels: Any = record.levels  # type: ignore[attr-defined]
            _ = levels[0].bid_px, repr(record), record.to_dict(), record.record_size()
            _ = record.replace(instrument_id=5), copy.copy(record), str(record.rtype)
            _ = type(record)(levels=levels, ts_out=5), hash(record), bytes(levels[0])
            with pytest.raises(TypeError):
                type(record)(nothing=1)
            with pytest.raises(ValueError, match="instrument_id"):
                record.replace(instrument_id=2**32)
        for cls in (Noted, Bare):
            _ = cls(price=5).replace(price=6)


def test_nothing_is_left_behind() -> None:
    churn(20)
    gc.collect()
    kept = [BidAskPair, dbnfast.MBP1Msg, dbnfast.MBP10Msg, Noted, Side.BID, Side.NONE, None]
    counts = [sys.getrefcount(one) for one in kept]
    tracemalloc.start()
    try:
        churn(1)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        churn(60)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000  # of some hundred kB that were made
    if not FREE_THREADED and sys.version_info < (3, 12):  # others do not count immortal objects
        after = [sys.getrefcount(one) for one in kept]
        assert all(abs(a - b) < 50 for a, b in zip(counts, after, strict=True)), (counts, after)


def test_types_are_counted() -> None:
    """An object has one reference to its class, also one whose memory another one had."""
    kept: list[Any] = [BidAskPair() for _ in range(500)]
    full = sys.getrefcount(BidAskPair)
    kept.clear()
    empty = sys.getrefcount(BidAskPair)
    again = [BidAskPair() for _ in range(500)]
    assert (full - empty, sys.getrefcount(BidAskPair) - empty) == (500, 500)
    assert len(again) == 500


# --- methods --------------------------------------------------------------------------------


def test_methods_in_c_are_methods() -> None:
    trade = dbnfast.TradeMsg()
    system = dbnfast.SystemMsg(code=0)
    beat = system.is_heartbeat
    assert beat() is True
    assert dbnfast.SystemMsg.is_heartbeat(dbnfast.SystemMsg(code=1)) is False
    assert type(trade).record_size(trade) == 48  # type: ignore[operator]
    size = trade.record_size
    assert (size, size()) == (48, 48)  # type: ignore[operator]
    assert (type(trade).record_size.__name__, beat.__name__) == (  # type: ignore[attr-defined]
        "record_size", "is_heartbeat",
    )  # fmt: skip
    assert "heartbeat" in (beat.__doc__ or "")
    for wrong in (lambda: trade.record_size(1), lambda: beat(now=1), lambda: beat(1)):  # type: ignore[operator, call-arg]
        with pytest.raises(TypeError, match="takes the record alone"):
            wrong()


def test_timestamps_do_not_depend_on_what_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    wanted = pandas.Timestamp(1_609_113_600_246_821_748, tz="UTC")

    class Public:
        """pandas without the constructor, or with another one."""

        NaT = pandas.NaT

        def __init__(self, private: Any) -> None:
            public = pandas.Timestamp

            class Timestamp:
                def __new__(cls, *args: Any, **options: Any) -> Any:
                    return public(*args, **options)

            if private is not None:
                Timestamp._from_value_and_reso = staticmethod(private)  # type: ignore[attr-defined]
            self.Timestamp = Timestamp

    for private in (
        None,
        lambda ns, unit, tz: pandas.Timestamp(ns),
        lambda ns, unit, tz: pandas.Timestamp(ns + 1, tz=tz),
        lambda ns: ns,
    ):
        times._maker.cache_clear()
        monkeypatch.setattr(times, "timestamps", lambda private=private: Public(private))
        assert repr(times.as_timestamp(wanted.value)) == repr(wanted)
    monkeypatch.undo()
    times._maker.cache_clear()
    assert repr(times.as_timestamp(wanted.value)) == repr(wanted)


# --- names of the package -------------------------------------------------------------------

NAMES = """
import sys, dbnfast as db
before = set(dir(db))
settles = sys.version_info < (3, 14) and getattr(sys, "_is_gil_enabled", lambda: True)()
assert hasattr(db, "__getattr__")
assert "dbnfast.live.sync.client" not in sys.modules
from dbnfast import {first}
assert hasattr(db, "__getattr__") is not settles
assert "dbnfast.dbn" not in sys.modules or not settles
assert before - {{"__getattr__"}} <= set(dir(db))
for name in db.__all__:
    getattr(db, name)
from dbnfast import *
import dbnfast.live.sync.client as client
assert db.Live is client.Live
assert db.DBNStore is db.Store
from dbnfast import dbn as early
assert db.dbn.DBNDecoder is early.DBNDecoder
assert db.dbn is sys.modules["dbnfast.dbn"]
assert "verify" in dir(db.files)
early.something = 5
assert db.dbn.something == sys.modules["dbnfast.dbn"].something == 5
del early.something
assert not hasattr(db.dbn, "something")
for wrong in ("Trademsg", "nothing"):
    try:
        getattr(db, wrong)
    except AttributeError as error:
        assert (error.name, str(error)) == (wrong, f"module 'dbnfast' has no attribute {{wrong!r}}")
    else:
        raise SystemExit(f"{{wrong}} is there")
try:
    from dbnfast import Trademsg
except ImportError as error:
    assert "cannot import name 'Trademsg'" in str(error)
db.Trademsg
"""


@pytest.mark.parametrize("first", ["Store", "Live", "SymbolMap"])
def test_names_are_resolved_when_one_is_asked_for(first: str) -> None:
    code = NAMES.format(first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'dbnfast' has no attribute 'Trademsg'" in done.stderr, done.stderr
    assert "Did you mean: 'TradeMsg'?" in done.stderr


MISSING = """
import sys
sys.modules["dbnfast.live.sync.client"] = None  # it cannot be imported
import dbnfast as db
assert db.Store.__name__ == "Store"
assert hasattr(db, "__getattr__")
for _ in range(2):
    try:
        db.Live
    except ImportError as error:
        print(type(error).__name__, db.SymbolMap.__name__, db.text.__name__)
"""


def test_a_name_that_cannot_be_resolved_says_so_when_it_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING], capture_output=True, text=True, check=True
    )
    assert done.stdout == "ModuleNotFoundError SymbolMap dbnfast.text\n" * 2
