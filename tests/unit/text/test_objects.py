"""JSON lines that the core reads alone, and those that it leaves to the general road."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dbnfast import InvalidRecordError
from dbnfast._core import parse
from dbnfast._core.objects import PLACES, USES, ObjectPlan, ObjectProgram
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE
from dbnfast.text.json import JsonLines, from_json, iter_json
from dbnfast.text.json_lines import JsonParser
from dbnfast.text.objects import object_plan
from helpers import texts

pytest.importorskip("databento_dbn")
pytest.importorskip("msgspec")

TRADE = (
    '{"ts_recv":"2","hd":{"ts_event":"1","rtype":0,"publisher_id":1,"instrument_id":5482},'
    '"action":"T","side":"B","depth":0,"price":"3702.750000000","size":1,"flags":130,'
    '"ts_in_delta":-5,"sequence":145885}'
)
BAR = (
    '{"hd":{"ts_event":"1609160400000000000","rtype":33,"publisher_id":1,"instrument_id":5482},'
    '"open":"-0.5","high":"1.25","low":"-0.500000001","close":"1","volume":"7"}'
)
QUOTE = (
    '{"ts_recv":"2020-12-28T13:00:00.006136513Z","hd":{"ts_event":"2020-12-28T13:00:00.006001487Z",'
    '"rtype":1,"publisher_id":1,"instrument_id":5482},"action":"A","side":"A","depth":0,'
    '"price":"3720.500000000","size":1,"flags":128,"ts_in_delta":17214,"sequence":1170362,'
    '"levels":[{"bid_px":"3720.250000000","ask_px":"3720.500000000","bid_sz":24,"ask_sz":11,'
    '"bid_ct":15,"ask_ct":9}],"symbol":"ESH1"}'
)
BOOK = QUOTE.replace('"rtype":1,', '"rtype":10,')
ERROR = '{"hd":{"rtype":21},"err":"Internal error","code":255,"is_last":1}'
STATISTIC = '{"hd":{"rtype":24},"stat_type":1,"quantity":2147483647,"price":null}'
DEFINITION = '{"hd":{"rtype":19},"raw_symbol":"ES\\/H1 \\u00e9\\u20ac","strike_price":"1.5"}'
OLD = '{"hd":{"rtype":19},"raw_symbol":"ESH1","trading_reference_price":null}'


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pieces that were read the general way."""
    pieces: list[bytes] = []
    parts = JsonParser._parts

    def spied(parser: JsonParser, piece: bytes) -> Any:
        pieces.append(piece)
        return parts(parser, piece)

    monkeypatch.setattr(JsonParser, "_parts", spied)
    return pieces


def same(text: str | bytes, **options: Any) -> tuple[Any, ...]:
    """What a text is by both roads."""
    raw = text.encode() if isinstance(text, str) else text
    found = texts.outcome(from_json, raw, **options)
    with texts.general_road():
        assert found == texts.outcome(from_json, raw, **options)
    return found


def flat(line: str) -> str:
    """A line without objects inside."""
    made = json.loads(line)
    made.update(made.pop("hd"))
    for i, level in enumerate(made.pop("levels", ())):
        made.update({f"{key}_{i:02}": value for key, value in level.items()})
    return json.dumps(made)


USUAL = [
    *(TRADE, BAR, QUOTE, BOOK, ERROR, STATISTIC, DEFINITION, OLD),
    json.dumps(json.loads(QUOTE), separators=(" , ", " : ")),
    f" \t{TRADE} \r",
    TRADE.replace(":", " :\t").replace("{", "{ ").replace("}", "\t}"),
    flat(TRADE),
    flat(QUOTE),
    json.dumps(dict(reversed(json.loads(BOOK).items()))),
    '{"hd":{},"rtype_":5}',
    '{"hd":{"rtype":1}}',
    '{"hd":{"rtype":"1"},"levels":[]}',
    '{"hd":{"rtype":10},"levels":[{},{"ask_sz":1},{ } , {"new":{}}]}',
    '{"rtype":0,"size":"7","price":1.50,"ts_recv":5,"ts_event":"0","sequence":null}',
    '{"rtype":0,"price":-0.5,"ts_in_delta":-0,"action":"","side":null}',
    '{"rtype":0,"price":"1e3","size":"+1","ts_in_delta":"-5"}',
    '{"rtype":0,"price":1E+2,"ts_recv":"2020-12-28T00:00:00+01:00","size":1,"size":2}',
    '{"rtype":0,"action":"\\u0041","side":"\\\\x41","symbol":"\\"\\\\\\/\\b\\f\\n\\r\\t"}',
    '{"rtype":0,"action":"\\x9c","side":"\\\'","symbol":"é€😀"}',
    '{"rtype":0,"new":{"a":[1,-2.5e-3,true,false,null,"x",{},[]],"b":{"c":{}}},"other":[]}',
    '{"rtype":19,"raw_symbol":"' + "x" * 70 + '","new":"' + "y" * 5000 + '"}',
    '{"rtype":23,"msg":"Heartbeat","code":2}',
]
UNUSUAL = [
    "{",
    "[]",
    "null",
    "{}",
    "{,}",
    '{"rtype":0,}',
    '{"rtype":0}}',
    '{"rtype":0} {}',
    '{"rtype":0,"size":01}',
    '{"rtype":0,"ts_in_delta":-01}',
    '{"rtype":0,"price":1.}',
    '{"rtype":0,"price":.5}',
    '{"rtype":0,"price":+1}',
    '{"rtype":0,"ts_recv":2020-12-28T00:00:00.000000000Z}',
    '{"rtype":0,"size":1.5}',
    '{"rtype":0,"size":4294967296}',
    '{"rtype":0,"size":true}',
    '{"rtype":0,"size":[1]}',
    '{"rtype":0,"action":5}',
    '{"rtype":0,"action":"TT"}',
    '{"rtype":0,"new":nul}',
    '{"rtype":0,"new":[1,]}',
    '{"rtype":0,"new":{"a"}}',
    '{"rtype":0,"new":[}}',
    '{"rtype":0,"new":"\\ud83d\\ude00"}',
    '{"rtype":0,"new":"\\q"}',
    '{"rtype":0,"new":"\\u12"}',
    '{"rtype":0,"new":"\x01"}',
    '{"rtype":0,"new":' + "[" * 70 + "]" * 70 + "}",
    '{"rtype":0,"new":' + "1" * 70 + "}",
    '{"rtype":"00"}',
    '{"rtype":256}',
    '{"rtype":99}',
    '{"rtype":null}',
    '{"rtype":0,"rtype":1}',
    '{"hd":{"rtype":0},"size":1,"rtype":0}',
    '{"size":1,"rtype":0,"hd":{"rtype":0}}',
    '{"hd":{"rtype":0},"hd":{"rtype":0}}',
    '{"hd":null,"rtype":0}',
    '{"hd":[],"rtype":0}',
    '{"rtype":1,"levels":null}',
    '{"rtype":1,"levels":[{},{}]}',
    '{"rtype":1,"levels":[null]}',
    '{"rtype":1,"levels":[{}],"bid_px_00":"1"}',
    '{"rtype":1,"bid_px_00":"1","levels":[{}]}',
    '{"r\\u0074ype":0}',
    '{"rtype":19,"raw_symbol":"' + "x" * 71 + '"}',
    '{"rtype":19,"raw_symbol":"a\\u0000b"}',
    '{"rtype":23,"msg":"Heartbeat"}',
    '{"rtype":23,"msg":"Heartbeat","code":null}',
    '{"rtype":0}\x0b',
]


@pytest.mark.parametrize("line", USUAL)
def test_usual_lines_are_read_by_the_core(line: str, general: list[bytes]) -> None:
    options = {} if "rtype" in line and '"hd":{}' not in line else {"schema": "trades"}
    for text in (line, f"{line}\n", f"\n{line}\r\n\t\n{line}\n", f"{TRADE}\n{line}\n{BAR}\n"):
        if line is OLD and BAR in text:
            continue
        general.clear()
        from_json(text.encode(), **options)
        assert general == []
        assert same(text, **options)[3] is None


@pytest.mark.parametrize("line", UNUSUAL)
def test_unusual_lines_are_read_the_general_way(line: str, general: list[bytes]) -> None:
    for text in (line, f"{TRADE}\n{line}\n{BAR}\n"):
        general.clear()
        same(text)
        assert len(general) == 2


@pytest.mark.parametrize("line", [TRADE, QUOTE, DEFINITION, ERROR])
def test_a_line_that_is_cut_or_has_a_byte_too_many_is_the_same_by_both_roads(line: str) -> None:
    raw = line.encode()
    for at in range(len(raw)):
        same(raw[:at])
        for byte in (b'"', b"\\", b"0", b" ", b"}", b"\xff"):
            same(raw[:at] + byte + raw[at:])


def test_a_piece_may_end_behind_any_value() -> None:
    # near the end of a piece numbers are read byte by byte
    for value in ('"-1.5"', "7", '"2020-12-28T00:00:00.246507011Z"', '"12345678901"', "null"):
        name = "ts_recv" if "T" in value or value[1:2] == "1" else "price"
        for more in range(40):
            line = f'{{"rtype":0,"{name}":{value}{" " * more}}}'
            found = same(line)
            assert found[3] is None
            assert found[0] == from_json(line.encode() + b" " * 99).tobytes()


def test_undefined_quantities_of_old_statistics() -> None:
    lines = [STATISTIC, STATISTIC.replace("2147483647", '"2147483647"')]
    quantities = from_json("\n".join(lines).encode()).array()["quantity"].tolist()
    assert quantities == [2**63 - 1, 2**31 - 1]
    assert same("\n".join(lines), version=2)[3] is None


def test_definitions_tell_their_version_to_the_core(general: list[bytes]) -> None:
    bar, new, old = (f"{line}\n".encode() for line in (BAR, DEFINITION, OLD))
    feed = JsonLines()
    versions = [feed.push(piece).version for piece in (bar + new, old * 2, bar, new, old + bar)]
    assert versions == [3, 2, 2, 2, 2]
    assert general == []
    sizes = [len(bytes(record)) for record in feed.push(old).objects(upgrade=False)]
    assert sizes == [400]
    # in one piece the order counts, and both kinds are read one by one
    for piece in (old + new, bar + old, old + bar):
        general.clear()
        same(piece)
        assert general
    for version in (1, 2):
        general.clear()
        from_json(old + new + bar, version=version)
        assert general == []
        same(old + new + bar, version=version)


def test_ts_out_is_as_the_first_line_has_it(general: list[bytes]) -> None:
    plain, stamped = f"{TRADE}\n", TRADE[:-1] + ',"ts_out":"5"}\n'
    for text, options in (
        (stamped * 2, {}),
        (plain * 2, {}),
        (plain + stamped, {"ts_out": True}),
        (plain + stamped, {"ts_out": False}),
    ):
        general.clear()
        from_json(text.encode(), **options)
        assert general == []
        assert same(text, **options)[3] is None
    assert same(stamped + plain)[2:] == (True, None)
    assert same(plain + stamped)[3] is not None
    # a symbol of that name is none
    named = TRADE[:-1] + ',"symbol":"ts_out"}\n'
    assert same(named)[2] is False
    feed = JsonLines()
    assert [feed.push(text.encode()).ts_out for text in (stamped, plain)] == [True, True]


def test_records_larger_than_their_lines_find_room(general: list[bytes]) -> None:
    line = b'{"rtype":19}\n'
    assert len(from_json(line * 500)) == 500
    assert [len(block) for block in iter_json(line * 5, max_bytes=1)] == [1] * 5
    assert general == []


# --- what the general road got wrong ----------------------------------------------------------


def test_a_ts_out_that_is_a_list_is_an_error_as_any_other() -> None:
    line = TRADE[:-1] + ',"ts_out":[]}\n'
    for text in (line, f"{TRADE}\n{line}"):
        with pytest.raises(InvalidRecordError, match="ts_out"):
            from_json(text.encode())


def test_a_name_that_only_the_line_before_knows_is_passed_over() -> None:
    odd = BAR[:-1] + ',"levels":"0"}\n'
    with texts.general_road():
        assert len(from_json(f"{QUOTE}\n{odd}".encode())) == 2
        assert from_json(odd.encode()).tobytes() == from_json(BAR.encode()).tobytes()


# --- the core ---------------------------------------------------------------------------------

NUMBER = parse.KINDS.index("unsigned")
TOP, HEAD, LEVEL = range(len(PLACES))
USE = {name: index for index, name in enumerate(USES)}
BARE = ObjectProgram(-1, b"", [(b"c", TOP, USE["code"], None, 0, 0, False, None)])


def key(name: bytes, place: int = TOP, use: str = "write", at: int = 0, **more: Any) -> Any:
    rest = {"bits": 0, "against": 0, "solid": False, "swap": None, **more}
    return (name, place, USE[use], (NUMBER, at, bytes(4)), *rest.values())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((-2, bytes(8), []), "no record of code -2, 8 bytes and 0 keys"),
        ((256, bytes(8), []), "no record of code 256"),
        ((0, bytes(1021), []), "no record of code 0, 1021 bytes"),
        ((0, bytes(8), [key(b"%d" % i) for i in range(129)]), "8 bytes and 129 keys"),
        ((0, bytes(8), [], 3, 4), "3 levels of 4 bytes are not in 8"),
        ((0, bytes(8), [], -1, 4), "-1 levels"),
        ((0, bytes(8), [], 1, -4), "1 levels of -4"),
        ((0, bytes(8), [key(b"")]), "no key b'' in place 0"),
        ((0, bytes(8), [key(b"x" * 61)]), "no key b'x+' in place 0"),
        ((0, bytes(8), [key(b"x", 3)]), "no key b'x' in place 3"),
        ((0, bytes(8), [key(b"x", LEVEL)]), "no use 0 of key b'x'"),
        ((0, bytes(8), [(b"x", TOP, 6, None, 0, 0, False, None)]), "no use 6 of key"),
        ((0, bytes(8), [key(b"x"), key(b"x")]), "key b'x' is there twice"),
        ((0, bytes(8), [key(b"x", at=5)]), "4 bytes at 5 lie outside a record of 8"),
        ((0, bytes(8), [key(b"x", LEVEL, at=1)], 2, 4), "4 bytes at 1 lie outside a record of 4"),
        ((0, bytes(8), [key(b"x", swap=(b"a", bytes(4)))]), "are not of 4 bytes"),
    ],
)
def test_programs_that_cannot_be(arguments: tuple[Any, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ObjectProgram(*arguments)


def test_plans_that_cannot_be() -> None:
    one = ObjectProgram(0, bytes(8), [])
    for programs, bare, default in (([one, one], BARE, -1), ([BARE], BARE, -1), ([one], one, -1),
                                    ([one], BARE, 256)):  # fmt: skip
        with pytest.raises(ValueError, match="code"):
            ObjectPlan(programs, bare, default)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", (0, 0, 0)),
        (b"\n \r\n", (0, 2, 0)),
        (b'{"c":1,"a":5}\n{"a":7}', (2, 1, 20)),
        (b'{"a":7,"b":[{"d":1},{"d":2}]}', (1, 0, 12)),
        (b'{"a":7,"b":[{"d":1},{"d":2},{}]}', None),
        (b'{"c":2}', None),
        (b'{"a":1}' * 2, None),
        (b'{"a":1}\n' * 9, (-1, 0, 0)),
    ],
)
def test_plan_of_objects(text: bytes, found: tuple[int, int, int] | None) -> None:
    code = (b"c", TOP, USE["code"], None, 0, 0, False, None)
    levels = (b"b", TOP, USE["levels"], None, 0, 0, False, None)
    wide = [code, key(b"a"), levels, key(b"d", LEVEL, at=4)]
    plan = ObjectPlan(
        [ObjectProgram(0, bytes(12), wide, 2, 4), ObjectProgram(1, bytes(8), [code, key(b"a")])],
        BARE,
        0,
    )
    out = np.zeros(50, np.uint8)
    assert plan.fill(text, out) == found
    if found == (1, 0, 12):
        assert out[:12].view("<u4").tolist() == [7, 1, 2]
    assert plan.fill(text, bytearray()) == (found if not text else (-1, 0, 0))


def test_every_type_has_a_program() -> None:
    for version in (1, 2, 3):
        for ts_out in (True, False):
            plan = object_plan(version, False, False, ts_out, False, None)
            for code in LAYOUTS_BY_RTYPE:
                text = b'{"hd":{"rtype":%d},"code":1}' % code
                assert plan.fill(text, np.empty(2000, np.uint8)) is not None


def test_names_are_told_apart() -> None:
    # alike at both ends, short ones and long ones
    names = [b"a", b"b", b"ab", b"abcdefg", b"abcdefgh", b"abcdefghi", b"x" * 12, b"x" * 13,
             b"x" * 14, b"leg_ratio_price_numerator", b"leg_ratio_qtyyy_numerator"]  # fmt: skip
    program = ObjectProgram(
        0, bytes(4 * len(names)), [key(name, at=4 * i) for i, name in enumerate(names)]
    )
    plan, out = ObjectPlan([program], BARE, 0), np.zeros(4 * len(names), np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(20):
        order = rng.permutation(len(names))
        line = b",".join(b'"%s":%d' % (names[i], i + 1) for i in order)
        for text in (b"{" + line + b"}", b"{" + line.replace(b":", b" :") + b"}"):
            out[:] = 0
            assert plan.fill(text, out) == (1, 0, len(out))
            assert out.view("<u4").tolist() == list(range(1, len(names) + 1))
    assert plan.fill(b'{"aa":1,"xxxxxxxxxxx":2,"leg_ratio_xxxxx_numerator":3}', out) is not None
    assert out.view("<u4").tolist() == [0] * len(names)


def test_values_of_every_length_side_by_side() -> None:
    # in the order in which they mostly come and in others, of the usual form and of others
    names = [b"count", b"a_longer_name_of_a_field", b"size", b"name_of_more_than_thirty_two_bytes"]
    widths = [8, 8, 1, 4]
    kinds = [parse.KINDS.index("unsigned"), parse.KINDS.index("signed")]
    signed = [False, True, False, True]
    keys, at = [], 0
    for name, width, sign in zip(names, widths, signed, strict=True):
        absent = (2 ** (8 * width - sign) - 1).to_bytes(width, "little")
        keys.append((name, TOP, USE["write"], (kinds[sign], at, absent), 0, 0, False, None))
        at += width
    plan = ObjectPlan([ObjectProgram(0, bytes(at), keys)], BARE, 0)
    rng = np.random.default_rng(1)
    lines, expected = [], b""
    for _ in range(500):
        parts = []
        for name, width, sign in zip(names, widths, signed, strict=True):
            high = 2 ** (8 * width - sign) - 1
            digits = int(rng.integers(1, len(str(high)) + 1))
            number = min(int("".join(map(str, rng.integers(0, 10, digits)))), high)
            number = -number if sign and rng.random() < 0.3 else number
            number = high if rng.random() < 0.1 else number
            form = rng.choice(["%d", '"%d"', " %d", "%d ", ' "%d"\t', "null", '""', " null"])
            number = high if "%d" not in form else number
            text = form % number if "%d" in form else form
            parts.append(b'"%s":%s' % (name, str(text).encode()))
            expected += number.to_bytes(width, "little", signed=sign)
        order = rng.permutation(4) if rng.random() < 0.3 else range(4)
        lines.append(b"{" + b",".join(parts[i] for i in order) + b"}\n")
    out = np.zeros(len(expected), np.uint8)
    assert plan.fill(b"".join(lines), out) == (500, 500, len(expected))
    assert out.tobytes() == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"18446744073709551615", 2**64 - 1),
        (b'"18446744073709551615"', 2**64 - 1),
        (b"18446744073709551616", None),
        (b"0", 0),
        (b"00", None),
        (b"01", None),
        (b"-0", 0),
        (b"-1", None),
        (b'"01"', 1),
        (b"null", 7),
        (b"nul", None),
        (b"nulls", None),
        (b'""', 7),
        (b'"', None),
        (b'"1', None),
        (b"1x", None),
        (b"1]", None),
        (b'"1"2', None),
        (b"1.0", None),
        (b"true", None),
    ],
)
def test_forms_of_values_in_the_middle_of_text(value: bytes, found: int | None) -> None:
    made = (b"n", TOP, USE["write"], (parse.KINDS.index("unsigned"), 0, b"\7" + bytes(7)))
    plan = ObjectPlan([ObjectProgram(0, bytes(8), [(*made, 0, 0, False, None)])], BARE, 0)
    out = np.zeros(8, np.uint8)
    for text in (b'{"n":%s,"other":"%s"}' % (value, 40 * b"x"), b'{"n":%s}%s' % (value, 40 * b" ")):
        assert (plan.fill(text, out) is not None) is (found is not None)
        if found is not None:
            assert int(out.view("<u8")[0]) == found


def test_a_time_stands_in_quotes() -> None:
    text = b"2026-01-01T00:00:00.000000001Z"
    key = (b"t", TOP, USE["write"], (parse.KINDS.index("time"), 0, bytes(8)), 0, 0, False, None)
    plan = ObjectPlan([ObjectProgram(0, bytes(8), [key])], BARE, 0)
    out = np.zeros(8, np.uint8)
    assert plan.fill(b'{"t":"%s"}%s' % (text, 40 * b" "), out) == (1, 0, 8)
    assert int(out.view("<u8")[0]) == 1_767_225_600_000_000_001
    assert plan.fill(b'{"t":%s}%s' % (text, 40 * b" "), out) is None
