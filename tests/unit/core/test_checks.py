"""What the compiled core refuses, so that no wrong call of it can reach memory it should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Decoder, MetadataError, Records
from dbnfast._core import codes, copy, merge, metadata, record, run, scan, symbols, text
from dbnfast._core.copy import Plan, Program
from dbnfast._core.record import (
    Attribute,
    Equals,
    Members,
    RecordIterator,
    RecordTable,
    Shape,
    Size,
)
from dbnfast._core.scan import SizeTable
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from helpers import streams

HEAD = streams.header()
TRADES = streams.trades(6)
RECORDS = dbnfast.scan(HEAD + TRADES)
FAR_AT = np.full(256, 1000, np.uint16)  # no record has a timestamp there
ALL = bytes([1]) * 256
PROGRAM = Program(16, bytes(24), [(0, 0, 16)])
UNMADE = Program.__new__(Program)
STRUCT = dbnfast.TradeMsg


def room(n_bytes: int) -> Any:
    return np.zeros(n_bytes, np.uint8)


def route(*values: Any, ts_out: bool = False) -> Callable[[], Any]:
    return lambda: Plan([values], [room(48)], ts_out)


def chosen(rtypes: Any = ALL, ts_at: Any = INDEX_TS_AT, n_out: int = len(TRADES)) -> Any:
    return copy.select(TRADES, room(n_out), SIZES, False, rtypes, ts_at, False, 0, 0, None, None)


def entry(*values: Any, fallback: Any = STRUCT) -> Callable[[], Any]:
    return lambda: RecordTable(fallback, [values])


def remade(kind: Any, *args: Any) -> Callable[[], Any]:
    made = kind(*args)
    return lambda: made.__init__(*args)


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # copy
    "program-twice": (remade(Program, 16, bytes(16), []), TypeError, "a program is made once"),
    "program-to-behind": (
        lambda: Program(16, bytes(16), [(8, 0, 9)]),
        ValueError,
        "9 bytes at 8 lie outside a record of 16",
    ),
    "program-source-behind": (
        lambda: Program(16, bytes(24), [(0, 10, 8)]),
        ValueError,
        "8 bytes at 10 lie outside a record of 16",
    ),
    "program-before": (
        lambda: Program(16, bytes(16), [(-1, 0, 4)]),
        ValueError,
        "4 bytes at -1 lie outside a record of 16",
    ),
    "program-negative": (
        lambda: Program(16, bytes(16), [(4, 0, -4)]),
        ValueError,
        "-4 bytes at 4 lie outside a record of 16",
    ),
    "program-widen": (
        lambda: Program(16, bytes(24), [], widen=(20, 0, 0, 0)),
        ValueError,
        "8 bytes at 20 lie outside a record of 24",
    ),
    "program-code": (
        lambda: Program(16, bytes(24), [], code=(24, 0, 16, [])),
        ValueError,
        "1 bytes at 24 lie outside a record of 24",
    ),
    "upgrade-unmade": (
        lambda: copy.upgrade(b"", 16, UNMADE, room(0), False),
        TypeError,
        "the program was never made",
    ),
    "upgrade-stride": (
        lambda: copy.upgrade(bytes(12), 12, PROGRAM, room(24), False),
        ValueError,
        "12 bytes are no whole number of 12-byte records",
    ),
    "upgrade-no-stride": (
        lambda: copy.upgrade(bytes(16), 0, PROGRAM, room(24), False),
        ValueError,
        "16 bytes are no whole number of 0-byte records",
    ),
    "upgrade-rest": (
        lambda: copy.upgrade(bytes(17), 16, PROGRAM, room(24), False),
        ValueError,
        "17 bytes are no whole number of 16-byte records",
    ),
    "upgrade-ts_out-does-not-fit": (
        lambda: copy.upgrade(bytes(16), 16, PROGRAM, room(32), True),
        ValueError,
        "16 bytes are no whole number of 16-byte records",
    ),
    "upgrade-room": (
        lambda: copy.upgrade(bytes(32), 16, PROGRAM, room(47), False),
        ValueError,
        "the output has 47 bytes, 48 are needed",
    ),
    "plan-twice": (remade(Plan, [], [], False), TypeError, "a plan is made once"),
    "plan-routes": (
        lambda: Plan([(0, 48, 0, 48, None)] * 32768, [room(48)], False),
        ValueError,
        "too many routes",
    ),
    "route-rtype": (route(256, 48, 0, 48, None), ValueError, "no route for rtype 256 to output 0"),
    "route-negative": (route(-1, 48, 0, 48, None), ValueError, "no route for rtype -1 to output 0"),
    "route-slot": (route(0, 48, 1, 48, None), ValueError, "no route for rtype 0 to output 1"),
    "route-slot-before": (
        route(0, 48, -1, 48, None),
        ValueError,
        "no route for rtype 0 to output -1",
    ),
    "route-bytes": (route(0, 48, 0, -1, None), ValueError, "no route for rtype 0 to output 0"),
    "route-longer": (route(0, 48, 0, 56, None), ValueError, "no 56 bytes in a record of 48"),
    "route-short": (route(0, 48, 0, 15, None), ValueError, "no 15 bytes in a record of 48"),
    "route-unmade": (route(0, 48, 0, 48, UNMADE), TypeError, "the program was never made"),
    "route-program-short": (
        route(0, 12, 0, 24, PROGRAM),
        ValueError,
        "a record of 12 bytes is short for its program",
    ),
    "route-program-stamped": (
        route(0, 16, 0, 32, PROGRAM, ts_out=True),
        ValueError,
        "a record of 16 bytes is short for its program",
    ),
    "route-program-makes": (
        route(0, 16, 0, 16, PROGRAM),
        ValueError,
        "the program does not make 16 bytes",
    ),
    "fill-small": (
        lambda: copy.fill(TRADES, Plan([(0, 48, 0, 48, None)], [room(100)], False), SIZES, False),
        ValueError,
        "an output of the plan is too small",
    ),
    "fill-large": (
        lambda: copy.fill(TRADES, Plan([(0, 48, 0, 48, None)], [room(300)], False), SIZES, False),
        ValueError,
        "an output of the plan is too large",
    ),
    "fill-nothing": (
        lambda: copy.fill(b"", Plan([(0, 48, 0, 48, None)], [room(48)], False), SIZES, False),
        ValueError,
        "an output of the plan is too large",
    ),
    "select-rtypes": (
        lambda: chosen(rtypes=ALL[:255]),
        ValueError,
        "rtypes and ts_at need one entry for each rtype",
    ),
    "select-ts_at": (
        lambda: chosen(ts_at=INDEX_TS_AT[:255]),
        ValueError,
        "rtypes and ts_at need one entry for each rtype",
    ),
    "select-far": (
        lambda: chosen(ts_at=FAR_AT),
        ValueError,
        "rtype 0 has no timestamp at byte 1000",
    ),
    "select-room": (
        lambda: chosen(n_out=len(TRADES) - 1),
        ValueError,
        "the output is smaller than the input",
    ),
    # scan and run, in parts
    "likely-behind": (
        lambda: scan.likely_start(TRADES, 0, len(TRADES) + 1, SIZES, False),
        ValueError,
        f"byte {len(TRADES) + 1} lies outside 0 to {len(TRADES)}",
    ),
    "likely-before": (
        lambda: scan.likely_start(TRADES, 8, 4, SIZES, False),
        ValueError,
        f"byte 4 lies outside 8 to {len(TRADES)}",
    ),
    "survey-no-parts": (
        lambda: run.Survey(TRADES, [], 48, SIZES, False),
        ValueError,
        f"no parts of {len(TRADES)} bytes: [48]",
    ),
    "survey-disorder": (
        lambda: run.Survey(TRADES, [0, 96, 48], 144, SIZES, False),
        ValueError,
        f"no parts of {len(TRADES)} bytes: [0, 96, 48, 144]",
    ),
    "survey-before": (
        lambda: run.Survey(TRADES, [-48, 0], 48, SIZES, False),
        ValueError,
        f"no parts of {len(TRADES)} bytes: [-48, 0, 48]",
    ),
    "survey-behind": (
        lambda: run.Survey(TRADES, [0], len(TRADES) + 1, SIZES, False),
        ValueError,
        f"no parts of {len(TRADES)} bytes: [0, {len(TRADES) + 1}]",
    ),
    "survey-part": (
        lambda: run.Survey(TRADES, [0, 48], 96, SIZES, False).run(2),
        IndexError,
        "part 2 of 2",
    ),
    "survey-class": (
        lambda: run.Survey(TRADES, [0], 48, SIZES, False).finish(int, 3, None),
        TypeError,
        "int is not a run of records",
    ),
    # merge
    "merger-stream-before": (
        lambda: merge.Merger(2, SIZES, False, INDEX_TS_AT).give(-1, TRADES),
        IndexError,
        "stream -1 of 2",
    ),
    "merger-out": (
        lambda: merge.Merger(2, SIZES, False, INDEX_TS_AT).merge(room(8), -1),
        ValueError,
        "start -1 lies outside the 8 bytes",
    ),
    "deal-no-places": (
        lambda: merge.deal(
            b"", np.zeros(0, np.int32), np.zeros(0, np.int64), room(0), SIZES, False
        ),
        ValueError,
        "the places of the groups do not cover the output",
    ),
    "deal-first-place": (
        lambda: merge.deal(
            TRADES, np.zeros(6, np.int32), np.array([48, 288]), room(288), SIZES, False
        ),
        ValueError,
        "the places of the groups do not cover the output",
    ),
    "deal-last-place": (
        lambda: merge.deal(
            TRADES, np.zeros(6, np.int32), np.array([0, 240]), room(288), SIZES, False
        ),
        ValueError,
        "the places of the groups do not cover the output",
    ),
    "deal-descends": (
        lambda: merge.deal(
            TRADES, np.zeros(6, np.int32), np.array([0, 96, 48, 288]), room(288), SIZES, False
        ),
        ValueError,
        "the places of the groups do not ascend",
    ),
    "deal-room": (
        lambda: merge.deal(
            TRADES, np.zeros(6, np.int32), np.array([0, 240]), room(240), SIZES, False
        ),
        ValueError,
        "the output is not as long as the input",
    ),
    "deal-group-before": (
        lambda: merge.deal(
            TRADES, np.full(6, -1, np.int32), np.array([0, 288]), room(288), SIZES, False
        ),
        ValueError,
        "the groups are not those of the records",
    ),
    "deal-group-behind": (
        lambda: merge.deal(
            TRADES, np.full(6, 1, np.int32), np.array([0, 288]), room(288), SIZES, False
        ),
        ValueError,
        "the groups are not those of the records",
    ),
    "deal-more-groups": (
        lambda: merge.deal(
            TRADES[:-1], np.zeros(6, np.int32), np.array([0, 287]), room(287), SIZES, False
        ),
        ValueError,
        "the groups are not those of the records",
    ),
    "columns-ts_at": (
        lambda: merge.columns(
            TRADES, 6, SIZES, False, INDEX_TS_AT[:255], None, None, None, None, None
        ),
        ValueError,
        "ts_at needs one entry for each rtype",
    ),
    "columns-far": (
        lambda: merge.columns(TRADES, 6, SIZES, False, FAR_AT, None, None, None, None, None),
        ValueError,
        "rtype 0 has no timestamp at byte 1000",
    ),
    **{
        f"columns-{name}": (
            lambda at=at, kind=kind: merge.columns(
                TRADES,
                6,
                SIZES,
                False,
                INDEX_TS_AT,
                *(np.zeros(5, kind) if i == at else None for i in range(5)),
            ),
            ValueError,
            "a column is not of 6 values",
        )
        for at, (name, kind) in enumerate(
            zip(("ts", "ids", "publishers", "rtypes", "sizes"), "QIHBq", strict=True)
        )
    },
    # metadata
    "header-count": (lambda: parsed().count(4), ValueError, "no list 4"),
    "header-count-before": (lambda: parsed().count(-1), ValueError, "no list -1"),
    "header-texts": (lambda: parsed().texts(3), ValueError, "no list 3 of texts"),
    "header-texts-before": (lambda: parsed().texts(-1), ValueError, "no list -1 of texts"),
    "lists-short": (
        lambda: metadata.parse_lists(b"abc", b"abc", 22),
        MetadataError,
        "symbols at byte 0 of the metadata frame do not fit its 3 bytes",
    ),
    # record
    "struct-class": (
        lambda: record.struct_from(int, TRADES[:48], 48),
        TypeError,
        "<class 'int'> is no class of structs",
    ),
    "struct-short": (
        lambda: record.struct_from(STRUCT, TRADES[:47], 48),
        ValueError,
        "TradeMsg needs 48 bytes, 47 are there",
    ),
    "attribute-kind": (
        lambda: Attribute("x", 15, 0, 1),
        ValueError,
        "no attribute of kind 15 at 0",
    ),
    "attribute-kind-before": (
        lambda: Attribute("x", -1, 0, 1),
        ValueError,
        "no attribute of kind -1 at 0",
    ),
    "attribute-place": (
        lambda: Attribute("x", 0, 1021, 1),
        ValueError,
        "no attribute of kind 0 at 1021",
    ),
    "attribute-place-before": (
        lambda: Attribute("x", 0, -1, 1),
        ValueError,
        "no attribute of kind 0 at -1",
    ),
    "attribute-width": (
        lambda: Attribute("x", 9, 0, 0),
        ValueError,
        "no attribute of kind 9 has 0 bytes",
    ),
    "attribute-wide": (
        lambda: Attribute("x", 9, 0, 1021),
        ValueError,
        "no attribute of kind 9 has 1021 bytes",
    ),
    "attribute-number-wide": (
        lambda: Attribute("x", 1, 0, 8),
        ValueError,
        "no attribute of kind 1 has 8 bytes",
    ),
    "attribute-time": (lambda: Attribute("x", 11, 0, 8), TypeError, "a time needs what makes it"),
    "attribute-stamp": (lambda: Attribute("x", 13, 0, 8), TypeError, "a time needs what makes it"),
    "attribute-twice": (
        remade(Attribute, "x", 0, 0, 1),
        TypeError,
        "an attribute is made once",
    ),
    "attribute-of-another": (
        lambda: STRUCT.price.__get__(3, int),
        TypeError,
        "'price' is no attribute of 'int'",
    ),
    "attribute-outside": (
        lambda: Attribute("late", 3, 44, 8).__get__(RECORDS[0], STRUCT),
        TypeError,
        "'late' lies outside this 'TradeMsg'",
    ),
    "attribute-parts": (
        lambda: Attribute("x", 14, 16, 32, make=int),  # type: ignore[arg-type]
        TypeError,
        "parts need a class",
    ),
    "attribute-many": (
        lambda: Attribute("x", 3, 0, 8, count=2),
        ValueError,
        "no attribute of kind 3 has 2 parts",
    ),
    "attribute-members": (
        lambda: Attribute("x", 3, 0, 8, Members({}, False)),
        ValueError,
        "no attribute of kind 3 has members",
    ),
    "attribute-unmade-members": (
        lambda: Attribute("x", 0, 0, 1, Members.__new__(Members)),
        TypeError,
        "the members were never made",
    ),
    "attribute-unmade": (
        lambda: Attribute.__new__(Attribute).__get__(RECORDS[0], STRUCT),
        TypeError,
        "lies outside this 'TradeMsg'",
    ),
    "attribute-of-nothing": (
        lambda: object.__new__(STRUCT).price,
        TypeError,
        "'price' lies outside this 'TradeMsg'",
    ),
    "members-twice": (remade(Members, {}, False), TypeError, "a table is made once"),
    "members-code": (lambda: Members({}, False, {"a": 65536}), ValueError, "no code 65536 of 'a'"),
    "members-character": (lambda: Members({}, True, {"a": 98}), ValueError, "no code 98 of 'a'"),
    "size-twice": (remade(Size, int, "n"), TypeError, "a method is made once"),
    "size-unmade": (
        lambda: Size.__new__(Size).__get__(RECORDS[0], STRUCT),
        TypeError,
        "is no attribute of 'TradeMsg'",
    ),
    "size-uncallable": (
        lambda: Size.__new__(Size)(RECORDS[0]),
        TypeError,
        "object does not support vectorcall",
    ),
    "size-of-another": (
        lambda: STRUCT.record_size(3),  # type: ignore[operator]
        TypeError,
        "record_size() takes the record alone",
    ),
    "equals-twice": (
        remade(Equals, Attribute("x", 0, 0, 1), 1, "is_x"),
        TypeError,
        "a method is made once",
    ),
    "equals-of-a-stamp": (
        lambda: Equals(Attribute("x", 12, 0, 8), 1, "is_x"),
        TypeError,
        "'x' is no field",
    ),
    "equals-text": (
        lambda: Equals(Attribute("x", 9, 0, 3), "abc", "is_x"),
        ValueError,
        "'x' has no room for 'abc'",
    ),
    "equals-outside": (
        lambda: Equals(Attribute("x", 0, 48, 1), 1, "is_x")(RECORDS[0]),
        TypeError,
        "'x' lies outside of this record",
    ),
    "equals-of-another": (
        lambda: Equals(Attribute("x", 0, 0, 1), 1, "is_x")(3),
        TypeError,
        "is_x() takes the record alone",
    ),
    "shape-twice": (remade(Shape, bytes(16), [], [], False), TypeError, "a shape is made once"),
    "shape-empty": (lambda: Shape(b"", [], [], False), ValueError, "no struct has 0 bytes"),
    "shape-long": (lambda: Shape(bytes(1013), [], [], False), ValueError, "has 1013 bytes"),
    "shape-pretty": (
        lambda: Shape(bytes(16), [], [(Attribute("x", 0, 0, 1), 10)], False),
        ValueError,
        "no pretty form 10 of 'x'",
    ),
    "shape-shown": (
        lambda: Shape(bytes(16), [], [(Attribute("x", 12, 0, 8), 0)], False),
        ValueError,
        "'x' is no field",
    ),
    "shape-outside": (
        lambda: Shape(bytes(16), [Attribute("x", 0, 16, 1)], [], False),
        ValueError,
        "'x' lies outside of 16 bytes",
    ),
    "shape-of-another": (
        lambda: dbnfast.MBOMsg._shape.text(RECORDS[0]),
        TypeError,
        "a TradeMsg of 48 bytes has another shape",
    ),
    "shape-unmade": (
        lambda: Shape.__new__(Shape).row(RECORDS[0]),
        TypeError,
        "a TradeMsg of 48 bytes has another shape",
    ),
    "shape-class": (
        lambda: Shape(bytes(16), [], [], False).bind(int, True),
        TypeError,
        "int is no class of structs",
    ),
    "shape-more": (
        lambda: Shape(bytes(16), [], [], False).bind(type("More", (STRUCT,), {}), True),
        TypeError,
        "More has more than its bytes",
    ),
    # codes
    "shown-twice": (remade(codes.Shown, "x", "x"), TypeError, "a method is made once"),
    "shown-alone": (
        lambda: codes.Shown("x", "of")(1, 2),
        TypeError,
        "of() takes the instance alone",
    ),
    "found-twice": (remade(codes.Found, "x", len), TypeError, "a method is made once"),
    "quicken": (lambda: codes.quicken(type), TypeError, "type is no metaclass of enumerations"),
    "numbered": (lambda: codes.numbered(int), TypeError, "is no class that Python made"),
    "table-twice": (remade(RecordTable, STRUCT, []), TypeError, "a table is made once"),
    "table-class": (entry(0, 48, int, None, STRUCT), TypeError, "<class 'int'> is no record class"),
    "table-newest": (
        entry(0, 48, STRUCT, None, int),
        TypeError,
        "<class 'dbnfast.TradeMsg'> is no record class",
    ),
    "table-size": (
        entry(0, 15, STRUCT, None, STRUCT),
        TypeError,
        "<class 'dbnfast.TradeMsg'> is no record class",
    ),
    "table-fallback": (
        entry(0, 48, STRUCT, None, STRUCT, fallback=int),
        TypeError,
        "<class 'int'> is no record class",
    ),
    "table-entries": (
        lambda: RecordTable(STRUCT, [(0, 48, STRUCT, None, STRUCT)] * 1025),
        TypeError,
        "is no record class",
    ),
    "table-unmade-program": (
        entry(0, 48, STRUCT, UNMADE, STRUCT),
        TypeError,
        "the program was never made",
    ),
    "table-program": (
        entry(0, 48, STRUCT, PROGRAM, STRUCT),
        ValueError,
        "the program is not for records of 48 bytes",
    ),
    "table-rtype": (entry(256, 48, STRUCT, None, STRUCT), ValueError, "no rtype 256"),
    "table-rtype-before": (entry(-1, 48, STRUCT, None, STRUCT), ValueError, "no rtype -1"),
    "iterator-table": (
        lambda: RecordIterator(RECORDS, RecordTable.__new__(RecordTable), SIZES, True),
        TypeError,
        "the table was never made",
    ),
    "record-table": (
        lambda: record.record_from(RecordTable.__new__(RecordTable), TRADES[:48], False, True),
        TypeError,
        "the table was never made",
    ),
    # run
    "view-size": (
        lambda: run.add_view(0, 48, False, dbnfast.dtype("mbo")),
        ValueError,
        "a dtype of 56 bytes for records of 48",
    ),
    "run-class": (
        lambda: run.survey_run(int, TRADES, 0, 48, SIZES, 3, False, None),
        TypeError,
        "int is not a run of records",
    ),
    **{
        f"run-{start}-{end}": (
            lambda start=start, end=end: run.survey_run(
                Records, TRADES, start, end, SIZES, 3, False, None
            ),
            ValueError,
            f"bytes {start} to {end} lie outside the 288 bytes",
        )
        for start, end in ((-1, 48), (48, 0), (0, 289))
    },
    **{
        f"part-{first}-{n}": (
            lambda first=first, n=n: run.part_of_run(RECORDS, first, n),
            ValueError,
            f"no {n} equal records from {first} on",
        )
        for first, n in ((-1, 2), (0, -1), (3, 4))
    },
    "part-mixed": (
        lambda: run.part_of_run(dbnfast.scan(HEAD + streams.mixed()), 0, 1),
        ValueError,
        "no 1 equal records from 0 on",
    ),
    "stretch-before": (
        lambda: run.stretch_of_run(RECORDS, -1),
        ValueError,
        "no record -1 bytes behind the first",
    ),
    "stretch-behind": (
        lambda: run.stretch_of_run(RECORDS, 273),
        ValueError,
        "no record 273 bytes behind the first",
    ),
    "stretch-length": (
        lambda: run.stretch_of_run(RECORDS, 1),  # the rtype of a trade, 0, as a length
        ValueError,
        "no record begins 1 bytes behind the first",
    ),
    "stretch-long": (
        lambda: run.stretch_of_run(RECORDS, 267),  # 128, the flags, as a length
        ValueError,
        "no record begins 267 bytes behind the first",
    ),
    # scan
    "sizes-plain": (
        lambda: SizeTable([16] * 255, [16] * 256),
        ValueError,
        "a size table needs 256 sizes, without and with ts_out",
    ),
    "sizes-stamped": (
        lambda: SizeTable([16] * 256, [16] * 257),
        ValueError,
        "a size table needs 256 sizes, without and with ts_out",
    ),
    **{
        f"headers-{size}": (
            lambda size=size, n=n: scan.check_headers(bytes(n), size, ALL),
            ValueError,
            f"{n} bytes are no whole number of {size}-byte records",
        )
        for size, n in ((12, 24), (1024, 2048), (50, 100), (48, 100))
    },
    "headers-allowed": (
        lambda: scan.check_headers(TRADES, 48, ALL[:255]),
        ValueError,
        "allowed needs one byte for each rtype",
    ),
    **{
        f"skip-{start}-{n}": (
            lambda start=start, n=n: scan.skip(TRADES, start, n, SIZES, False),
            ValueError,
            f"no {n} records from byte {start} on",
        )
        for start, n in ((-1, 1), (289, 1), (0, -1))
    },
    **{
        f"index-{start}-{every}": (
            lambda start=start, every=every: scan.index(
                TRADES, start, every, np.zeros(1, np.int64), SIZES, False
            ),
            ValueError,
            f"no index of every {every} records from byte {start} on",
        )
        for start, every in ((-1, 1), (289, 1), (0, 0))
    },
    "span-ts_at": (
        lambda: scan.span(TRADES, SIZES, False, INDEX_TS_AT[:255]),
        ValueError,
        "ts_at needs one entry for each rtype",
    ),
    # text
    "text-routes": (
        lambda: text.TextPlan([(0, None)] * 32768),
        ValueError,
        "too many routes",
    ),
    "text-rtype-before": (
        lambda: text.TextPlan([(-1, None)]),
        ValueError,
        "no route for rtype -1",
    ),
    "text-program": (
        lambda: text.TextPlan([(0, None)]),
        TypeError,
        "the program was never made",
    ),
}


def parsed() -> Any:
    return metadata.parse_header(HEAD)


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_call_is_refused_in_words(case: str) -> None:
    call, kind, words = REFUSED[case]
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value).endswith(words)


# what is allowed, at the edges of it


def test_nothing_to_do() -> None:
    copy.upgrade(b"", 16, PROGRAM, room(0), False)
    copy.fill(b"", Plan([], [], False), SIZES, False)
    copy.fill(b"", Plan([(0, 48, 0, 48, None)], [room(0)], False), SIZES, False)
    assert scan.skip(TRADES, len(TRADES), 3, SIZES, False) == len(TRADES)
    assert symbols.decimals([None], np.zeros(1, np.uint32)) == 0


def test_skip_stops_where_no_record_is_whole() -> None:
    assert scan.skip(TRADES, 48, 2, SIZES, False) == 144
    assert scan.skip(TRADES[:-1], 0, 9, SIZES, False) == 240


def test_index_ends_where_its_output_does() -> None:
    out = np.full(2, -1, np.int64)
    assert scan.index(TRADES, 48, 2, out, SIZES, False) == 2
    assert out.tolist() == [48, 144]


def test_an_iterator_that_was_never_made_ends() -> None:
    assert list(RecordIterator.__new__(RecordIterator)) == []


def test_a_field_of_the_class_is_its_descriptor() -> None:
    assert STRUCT.price is STRUCT.__dict__["price"]
    assert isinstance(STRUCT.price, Attribute)
    assert STRUCT.price.name == "price"


# the buffers behind the decoder


def test_the_feed_is_set_up_and_started_once() -> None:
    decoder = Decoder()
    with pytest.raises(TypeError, match="Records cannot be what this feed makes"):
        decoder._set_up(Records, SIZES)
    with pytest.raises(RuntimeError, match="the records have not begun"):
        decoder._borrow(TRADES)
    with pytest.raises(ValueError, match="start -1 lies outside the 288 bytes"):
        decoder._borrow(TRADES, -1)
    with pytest.raises(ValueError, match="start 289 lies outside the 288 bytes"):
        decoder._borrow(TRADES, 289)
    for consumed in (-1, 1):
        with pytest.raises(ValueError, match=f"{consumed} bytes are not held"):
            decoder._start(3, False, None, consumed)
    decoder._start(3, False, None, 0)
    with pytest.raises(RuntimeError, match="the records have begun already"):
        decoder._start(3, False, None, 0)
    with pytest.raises(RuntimeError, match="the records have begun already"):
        decoder._forget()


def test_a_feed_that_was_not_set_up() -> None:
    from dbnfast._core.decoder import Feed

    feed = Feed()
    with pytest.raises(RuntimeError, match="nothing is set up"):
        feed._start(3, False, None, 0)
    with pytest.raises(TypeError, match="int cannot be what this feed makes"):
        feed._set_up(int, SIZES)
    with pytest.raises(ValueError, match="no buffer from get_buffer is outstanding"):
        feed._commit(0)


def test_what_was_lent_stays_lent_while_bytes_are_written_elsewhere() -> None:
    decoder = Decoder()
    lent = decoder.get_buffer()
    decoder.feed(HEAD[:40])  # held: what was lent is promised to somebody
    again = decoder.get_buffer()
    assert np.shares_memory(np.frombuffer(lent, np.uint8), np.frombuffer(again, np.uint8))
    for n_bytes in (-1, len(again) + 1):
        with pytest.raises(ValueError, match=f"{n_bytes} bytes were written, the buffer has room"):
            decoder.buffer_updated(n_bytes)
    rest = HEAD[40:] + TRADES
    lent[: len(rest)] = rest
    decoder.buffer_updated(len(rest))
    assert b"".join(records.tobytes() for records in decoder.read()) == TRADES


def test_no_bytes_while_a_buffer_is_lent() -> None:
    decoder = Decoder()
    decoder.feed(HEAD)
    lent = decoder.get_buffer()
    decoder.feed(bytearray())
    lent[:96] = TRADES[:96]
    decoder.buffer_updated(96)
    (records,) = decoder.read()
    assert records.tobytes() == TRADES[:96]
