"""Rows of the benchmark for record objects: all that can be done with one, and loops over them."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import databento
import databento_dbn
import numpy as np

import data
import dbnfast
from dbnfast.layouts.table import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dbnfast.layouts.fields import Field, Layout
    from measure import Bench

RECORDS = 16  # of a class, so that neither side reads the same bytes all the time
REPEATED = 8  # how often an expression stands in the loop, so that the loop itself does not count
LONG = 100e-6  # s that a run takes
ROUNDS = 15  # runs of each side; the least of them counts, for they are short
PROCESSES = 3  # that measure all of it
CLOSE = 1.03  # a ratio below is measured in more rounds and processes
CLOSE_ROUNDS = 64
CLOSE_PROCESSES = 8
FRESH = 8  # rounds of a compiled function
LOWEST = 8  # kinds of work that are shown, and all below 1
LONGEST = 60  # characters of an expression that are kept
# what the official constructors take of these, for they do not take what their attributes give
TRI_STATE = "db.TriState.YES if r.{0} else db.TriState.NO"
GIVEN = {
    "is_trading": TRI_STATE,
    "is_quoting": TRI_STATE,
    "is_short_sell_restricted": TRI_STATE,
    "is_last": "bool(r.{0})",
}


class Work(NamedTuple):
    """An expression of a record `r` or a level `p`, with `db` the package; both sides of it."""

    sort: str
    what: str
    theirs: str = ""  # where the official package has no such thing: what is nearest to it
    ratio: bool = True
    kind: str = ""  # what is the same work with other classes, where the names differ


# --- records to work on -------------------------------------------------------------------


def filled(layout: Layout, n: int) -> np.ndarray[Any, Any]:
    """Make records of a layout: times, prices, texts and codes as a market has them."""
    rng = np.random.default_rng(3)
    records = np.repeat(layout.undefined(), n)
    for field in layout.fields[2:]:
        records[field.name] = values(field, n, rng)
    records["rtype"] = int(layout.rtypes[0])
    return records


def values(field: Field, n: int, rng: Any) -> Any:
    """Make n values of a field."""
    if field.enum is not None:
        codes = [getattr(member, "code", None) or int(member) for member in field.enum]  # type: ignore[call-overload]
        return np.array([codes[k % len(codes)] for k in range(n)])
    if field.kind == "char":
        return b"N" if field.raw_byte else b"A"
    if field.kind == "cstr":
        return [f"SYM{k:02}"[: field.size - 1].encode() for k in range(n)]
    if field.kind == "timestamp":
        return data.START + rng.integers(0, 10**15, n).astype(np.uint64)
    if field.kind == "price":
        return 250_000_000 * rng.integers(16_000, 17_000, n)
    if field.kind == "reserved":
        return records_of_zero(field, n)
    return rng.integers(0, 100 if field.size == 1 else 30_000, n)


def records_of_zero(field: Field, n: int) -> Any:
    """Make n values of bytes that mean nothing."""
    return np.zeros(n, f"V{field.size}")


def official(stream: bytes, policy: str = "AS_IS") -> list[Any]:
    """Decode a stream with the official package, without its header."""
    decoder = databento_dbn.DBNDecoder(
        upgrade_policy=getattr(databento_dbn.VersionUpgradePolicy, policy)
    )
    decoder.write(stream)
    return list(decoder.decode())[1:]


def both(layout: Layout) -> tuple[list[Any], list[Any]]:
    """Make the record objects of both sides from the same bytes."""
    metadata = dbnfast.Metadata("GLBX.MDP3", start=data.START, version=layout.versions[-1])
    stream = metadata.encode() + filled(layout, RECORDS).tobytes()
    mine = list(dbnfast.scan(stream).objects(upgrade=False))
    his = official(stream)
    assert [type(x).__name__ for x in mine] == [type(x).__name__.removeprefix("v2.") for x in his]
    return mine, his


# --- what is measured ---------------------------------------------------------------------


def works(layout: Layout, his: Any) -> Iterator[Work]:
    """List what can be done with a record; the official object tells its attributes."""
    kinds = {field.name: sort(field) for field in layout.fields}
    for name in dir(his):
        if name.startswith("__"):
            continue
        if callable(getattr(his, name)):
            yield Work("method", f"r.{name}()")
        elif name.startswith("_") or name == "size_hint":
            yield Work("of the class", f"r.{name}", kind="r.size_hint, r._dtypes, ...")
        elif name.startswith("pretty_"):
            yield Work("time" if name.startswith("pretty_ts") else "price", f"r.{name}")
        else:
            yield Work("levels" if name == "levels" else kinds.get(name, "integer"), f"r.{name}")
    for field in layout.fields:
        if sort(field) == "code" and field.enum is not dbnfast.TriState:
            enum = field.enum.__name__  # type: ignore[union-attr]
            member = list(field.enum)[1].name  # type: ignore[arg-type]
            yield Work("comparison", f"r.{field.name} == db.{enum}.{member}")
            yield Work("comparison", f"r.{field.name} != db.{enum}.{member}")
            yield Work("text", f"str(r.{field.name})")
            yield Work("text", f"f'{{r.{field.name}}}'")
    if layout.n_levels:
        yield from level_works(layout)
    yield from whole(layout, his)


def sort(field: Field) -> str:
    """Say of which sort an attribute is."""
    if field.enum is not None:
        return "code"
    return "text" if field.kind in ("char", "cstr") else "integer"


def level_works(layout: Layout) -> Iterator[Work]:
    """List what can be done with the levels of a book."""
    names = [field.base_name for field in layout.fields if field.level == 0]
    names = [name for name in names if not name.startswith("_")]
    for name in [*names, "pretty_bid_px", "pretty_ask_px"]:
        yield Work("levels", f"r.levels[0].{name}")
        yield Work("level", f"p.{name}")
    yield Work("levels", "len(r.levels)")
    yield Work("levels", "r.levels[-1]")
    yield Work("levels", "r.levels[:3]")
    yield Work("levels", "for level in r.levels: level.bid_px, level.ask_px")
    yield Work("level", "p == p2")
    yield Work("level", "repr(p)")
    yield Work("level", "str(p)")
    yield Work("level", "hash(p)", "hash(bytes(r))")
    yield Work("level", "bytes(p)", "bytes(r)")
    fields = ", ".join(f"p.{name}" for name in names)
    yield Work("level", "p.to_dict()", f"dict(zip({names!r}, ({fields}), strict=True))")
    yield Work("level", f"db.{pair_of(layout)}(1, 2, 3, 4, 5, 6)")
    yield Work("level", f"db.{pair_of(layout)}(bid_px=1, ask_px=2)")


def pair_of(layout: Layout) -> str:
    """Name the class of a book's level."""
    return "ConsolidatedBidAskPair" if "bid_pb_00" in layout.by_name else "BidAskPair"


def whole(layout: Layout, official: Any) -> Iterator[Work]:
    """List what can be done with a record as a whole."""
    names = [field.name for field in layout.ordered]
    row = f"{{name: getattr(r, name) for name in {names!r}}}"
    yield Work("text", "repr(r)")
    yield Work("text", "str(r)")
    yield Work("whole", "bytes(r)")
    yield Work("whole", "r == r2")
    yield Work("whole", "r != r2")
    yield Work("whole", "hash(r)", "hash(bytes(r))")
    for kind in ("db.Own", "isinstance(r, db.Own)", "isinstance(r, (db.SystemMsg, db.Own))",
                 "type(r) is db.Own"):  # fmt: skip
        yield Work("class", kind.replace("Own", layout.name), kind=kind)
    yield Work("row", "r.to_dict()", row)
    yield Work("row", f"[getattr(r, name) for name in {names!r}]")
    again = f"cls({', '.join(given(name, layout) for name in names_of(official))})"
    yield Work("making", "cls(*given)")
    yield Work("making", "cls(**named)")
    yield Work("making", "r.replace(instrument_id=7)", again)
    yield Work("making", "copy(r)", again)
    yield Work("making", "pickle.dumps(r)", ratio=False)
    yield Work("making", "pickle.loads(raw)", ratio=False)


def enum_works() -> Iterator[tuple[str, list[Work]]]:
    """List what can be done with the members of each enumeration."""
    for name in sorted(dir(databento_dbn)):
        his, mine = getattr(databento_dbn, name), getattr(dbnfast, name, None)
        if not hasattr(his, "variants") or mine is None:
            continue
        first, second = (member.name for member in itertools.islice(his.variants(), 2))
        value = getattr(his, first).value
        one, other = f"db.{name}.{first}", f"db.{name}.{second}"
        yield name, [
            Work("class", f"db.{name}", kind="db.Enum"),
            Work("member", one, kind="db.Enum.MEMBER"),
            *(Work("member", f"e.{n}", kind="e.MEMBER") for n in (first, second)),
            Work("comparison", "m == m2"),
            Work("comparison", "m != m2"),
            Work("comparison", f"m == {value!r}", kind="m == 'value'"),
            Work("comparison", f"m in ({one}, {other})", kind="m in (db.Enum.MEMBER, ...)"),
            Work("member", "m.name"),
            Work("member", "m.value"),
            Work("member", "int(m)") if hasattr(his, "__int__") else Work("member", "m"),
            Work("member", "hash(m)"),
            Work("member", "names[m]"),
            Work("text", "str(m)"),
            Work("text", "repr(m)"),
            Work("text", "f'{m}'"),
            Work("making", f"e({value!r})"),
            *([Work("making", f"e.from_int({int(getattr(his, first))})")]
              if len(str(value)) != 1 or isinstance(value, int) else []),  # it fails for characters
            *([Work("making", f"e.from_str({str(getattr(his, first))!r})")]
              if hasattr(his, "from_str") else []),
            Work("making", "list(e.variants())"),
        ]  # fmt: skip


# --- measuring ----------------------------------------------------------------------------


def compiled(expression: str, names: dict[str, Any]) -> Callable[[Any, int], None]:
    """Make a function that computes an expression for each of some records, n times."""
    repeated = "\n".join(f"            {expression}" for _ in range(REPEATED))
    source = f"def run(items, n):\n    for _ in range(n):\n        for r in items:\n{repeated}\n"
    scope = dict(names)
    exec(source, scope)
    found: Callable[[Any, int], None] = scope["run"]
    return found


def ns(run: Callable[[Any, int], None], items: Sequence[Any], n: int) -> float:
    """Take the time of one expression."""
    start = time.perf_counter()
    run(items, n)
    return (time.perf_counter() - start) / (n * len(items) * REPEATED) * 1e9


def measured(
    work: Work,
    items: tuple[Any, Any],
    names: tuple[dict[str, Any], dict[str, Any]],
    rounds: int,
) -> list[float]:
    """
    Measure an expression on both sides in turn: the least time of each, in ns.

    The functions are compiled again and again, so that they lie elsewhere.
    """
    what = [(work.what, names[0], items[0]), (work.theirs or work.what, names[1], items[1])]
    what = what[: 1 + work.ratio]
    kept, times = [], [float("inf")] * len(what)
    for turn in range(rounds):
        if turn % FRESH == 0:
            sides = [ready(compiled(text, scope), own, rounds) for text, scope, own in what]
            kept.append(sides)  # their memory is not used again
        for side, (run, own, n) in list(enumerate(sides))[:: 1 if turn % 2 else -1]:
            times[side] = min(times[side], ns(run, own, n))
    return times


def ready(run: Callable[[Any, int], None], own: Any, rounds: int) -> tuple[Any, Any, int]:
    """Run a function until the interpreter knows it; say how often it is to run in a round."""
    run(own, 2)
    once = max(ns(run, own, 1), 1.0) * len(own) * REPEATED / 1e9
    return run, own, 1 if rounds == 1 else max(1, round(LONG / once))


class Found(NamedTuple):
    """What was measured of a work, in ns."""

    work: Work
    ours: float
    theirs: float | None = None

    @property
    def ratio(self) -> float:
        """The ratio of both sides; of what has no peer, that of nothing that is slower."""
        return float("inf") if self.theirs is None else self.theirs / self.ours


def keep(bench: Bench, of: str, found: list[Found]) -> None:
    """Keep what was found of a class: of each sort the medians, and the lowest ratio."""
    for sort_, group in itertools.groupby(sorted(found, key=lambda f: f.work.sort), by_sort):
        rows = list(group)
        beside = [row for row in rows if row.theirs is not None]
        if beside:
            least = min(beside, key=lambda row: row.ratio)
            bench.keep(
                "objects", of=of, sort=sort_, n=len(beside),
                ours=digits(statistics.median(row.ours for row in beside)),
                theirs=digits(statistics.median(row.theirs or 0 for row in beside)),
                median=digits(statistics.median(row.ratio for row in beside)),
                least=digits(least.ratio), what=least.work.what[:LONGEST],
            )  # fmt: skip
        for row in rows:
            if row.theirs is None:
                bench.keep("objects", of=of, sort=sort_, n=1, ours=digits(row.ours),
                           what=row.work.what)  # fmt: skip
        for row in sorted(rows, key=lambda row: row.ratio):
            his = "" if row.theirs is None else f"{row.theirs:.1f} ns | {row.ratio:.2f}x"
            print(f"| {of} | {sort_} | `{row.work.what[:LONGEST]}` | {row.ours:.1f} ns | {his} |")


def by_sort(found: Found) -> str:
    """Tell the sort of a work."""
    return found.work.sort


def digits(value: float) -> float:
    """Round to what means something."""
    return float(f"{value:.3g}")


def records(bench: Bench) -> None:
    """
    Everything that can be done with a record or an enumeration, beside the official one.

    Where objects lie in memory is told by nanoseconds: several processes measure, and of each side
    the least time counts.
    """
    several, few = (1, 1) if bench.smoke else (CLOSE_PROCESSES, PROCESSES)
    many, first = (1, 1) if bench.smoke else (CLOSE_ROUNDS, ROUNDS)
    best = measured_by(few, first)
    close = {of: [row.work.what for row in rows if row.ratio < CLOSE] for of, rows in best.items()}
    again = measured_by(several, many, close)
    kinds: dict[str, list[Found]] = {}
    for of, rows in best.items():
        more = {row.work: row for row in again.get(of, ())}
        found = [least(row, more.get(row.work, row)) for row in rows]
        keep(bench, of, found)
        for row in found:
            if row.theirs is not None:
                kinds.setdefault(row.work.kind or row.work.what, []).append(row)
    ratios = {kind: statistics.median(one.ratio for one in rows) for kind, rows in kinds.items()}
    below = sum(ratio < 1 for ratio in ratios.values())
    lowest = sorted(ratios, key=ratios.__getitem__)[: max(LOWEST, below)]
    bench.keep(
        "kinds", n=len(kinds), works=sum(map(len, kinds.values())),
        lowest=[[kind[:LONGEST], len(kinds[kind]), digits(ratios[kind])] for kind in lowest],
    )  # fmt: skip


def measured_by(
    processes: int, rounds: int, only: dict[str, list[str]] | None = None
) -> dict[str, list[Found]]:
    """Measure in several processes, all or only some works: the least of each, by class."""
    best: dict[str, list[Found]] = {}
    command = [sys.executable, __file__, json.dumps({"rounds": rounds, "only": only})]
    for seed in range(processes):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        for of, rows in json.loads(done.stdout).items():
            found = [Found(Work(*work), *times) for work, times in rows]
            best[of] = list(map(least, best.get(of, found), found))
    return best


def least(one: Found, other: Found) -> Found:
    """Take the least time of each side."""
    assert one.work == other.work, (one.work, other.work)
    theirs = None if one.theirs is None or other.theirs is None else min(one.theirs, other.theirs)
    return Found(one.work, min(one.ours, other.ours), theirs)


def found_here(rounds: int, only: dict[str, list[str]] | None) -> Iterator[tuple[str, Any]]:
    """Measure in this process: of each class and enumeration, works and their times."""
    _ = dbnfast.Store  # as programs do: all names are resolved then

    def times(of: str, works: Iterable[Work], items: Any, names: Any) -> list[Any]:
        wanted = works if only is None else [one for one in works if one.what in only.get(of, ())]
        return [(one, measured(one, items, names, rounds)) for one in wanted]

    for layout in LAYOUTS:
        mine, his = both(layout)
        names = scope(dbnfast, mine, his[0], layout), scope(databento_dbn, his, his[0], layout)
        yield layout.name, times(layout.name, works(layout, his[0]), (mine, his), names)
    for name, todo in enum_works():
        sides = enum_scope(dbnfast, name), enum_scope(databento_dbn, name)
        yield name, times(name, todo, ([0] * RECORDS, [0] * RECORDS), sides)


def scope(package: Any, items: list[Any], official: Any, layout: Layout) -> dict[str, Any]:
    """Give the names that expressions of a record may use."""
    record, cls = items[0], type(items[0])
    expressions = {name: given(name, layout) for name in names_of(official)}
    taken = {name: eval(text, {"db": package, "r": record}) for name, text in expressions.items()}
    made: dict[str, Any] = {"db": package, "cls": cls, "copy": copy.copy, "r2": items[1]}
    made |= {"given": tuple(taken.values()), "named": taken, "names": tuple(taken)}
    if package is dbnfast:
        raw = pickle.dumps(record)
        made |= {"pickle": pickle, "raw": raw}
    if hasattr(record, "levels"):
        made["p"], made["p2"] = record.levels[0], items[1].levels[0]
    return made


def names_of(official: Any) -> list[str]:
    """List what the official constructor takes, without ts_out."""
    return [name for name in inspect.signature(type(official)).parameters if name != "ts_out"]


def given(name: str, layout: Layout) -> str:
    """Say what a constructor is given of a record `r`."""
    if name == "levels" and layout.n_levels == 1:
        return "r.levels[0]"
    return GIVEN.get(name, "r.{0}").format(name)


def enum_scope(package: Any, name: str) -> dict[str, Any]:
    """Give the names that expressions of an enumeration may use."""
    enum = getattr(package, name)
    first, second = list(enum.variants())[:2]
    names = {member: member.name for member in enum.variants()}
    return {"db": package, "e": enum, "m": first, "m2": second,
            "names": names}  # fmt: skip


# --- loops that people write --------------------------------------------------------------


LEVELS = """
total = 0
for record in records:
    total += record.levels[0].bid_px + record.levels[0].ask_px
    total += record.levels[0].bid_sz + record.levels[0].ask_sz
"""
BOOK = """
total = 0
for record in records:
    for depth, level in enumerate(record.levels):
        if level.bid_px != db.UNDEF_PRICE:
            total += depth + level.bid_sz + level.ask_sz
"""
ORDERS = """
orders = {}
for record in records:
    if record.action == db.Action.ADD:
        orders[record.order_id] = record.side, record.price, record.size
    elif record.action == db.Action.CANCEL:
        orders.pop(record.order_id, None)
    elif record.side == db.Side.BID:
        orders[record.order_id] = record.side, record.price, record.size
total = len(orders)
"""
CHAIN = """
trades = quotes = others = total = 0
for record in records:
    if isinstance(record, db.TradeMsg):
        trades += record.size
    elif isinstance(record, db.MBP1Msg):
        quotes += 1
    elif isinstance(record, db.MBOMsg):
        others += record.size
    elif isinstance(record, (db.StatMsg, db.OHLCVMsg)):
        total += 1
total += trades + quotes + others
"""
FLOATS = """
volume = turnover = 0
for record in records:
    volume += record.size
    turnover += record.size * record.pretty_price
total = turnover / volume
"""
SPANS = """
total = 0
for record in records:
    total = max(total, record.ts_recv - record.ts_event - record.ts_in_delta)
"""
TIMES = """
total = 0
for record in records:
    total += record.pretty_ts_event.second
"""
LINES = """
total = 0
for record in records:
    total += len(f"{record.ts_event} {record.side} {record.action} {record.price} {record.size}")
"""
REPRS = """
total = 0
for record in records:
    total += len(str(record)) > 0
"""
# what, the loop, schema, records, target
LOOPS = (
    ("four values of `levels[0]`, mbp-1", LEVELS, "mbp-1", 40_000, 1.5),
    ("four values of `levels[0]`, mbp-10", LEVELS, "mbp-10", 10_000, 2.0),
    ("all levels of mbp-10", BOOK, "mbp-10", 5_000, 1.0),
    ("a book of orders, mbo", ORDERS, "mbo", 40_000, 1.0),
    ("`isinstance` chain, mixed", CHAIN, "mixed", 40_000, 1.2),
    ("prices as floats, trades", FLOATS, "trades", 40_000, 1.2),
    ("spans of times as integers, trades", SPANS, "trades", 40_000, 1.0),
    ("`pretty_ts_event`, trades", TIMES, "trades", 2_000, 15),
    ("a line of text of each, trades", LINES, "trades", 20_000, 1.0),
    ("`str` of each, mbp-1", REPRS, "mbp-1", 5_000, 1.5),
)


def loops(bench: Bench) -> None:
    """Loops as people write them, the making of the objects included."""
    _ = dbnfast.Store  # as programs do: all names are resolved then
    for what, source, schema, n, target in LOOPS:
        n = max(100, n // 50) if bench.smoke else n
        stream = data.mixed(n) if schema == "mixed" else dbnfast.encode(
            data.records(schema, n), data.metadata(schema)
        )  # fmt: skip
        records = dbnfast.scan(stream)
        ours, theirs = looped(source, dbnfast), looped(source, databento)
        mine, his = ours(records), theirs(official(stream))
        # the official repr has other names
        assert mine == his, (what, mine, his)
        bench.pair(
            f"loop: {what}", "the same with `DBNDecoder`", target,
            lambda ours=ours, records=records: ours(records),
            lambda theirs=theirs, stream=stream: theirs(official(stream)),
        )  # fmt: skip


def looped(source: str, package: Any) -> Callable[[Any], Any]:
    """Make a function of a loop."""
    body = "\n".join(f"    {line}" for line in source.strip().splitlines())
    scope_: dict[str, Any] = {"db": package}
    exec(f"def run(records):\n{body}\n    return total\n", scope_)
    found: Callable[[Any], Any] = scope_["run"]
    return found


if __name__ == "__main__":
    print(json.dumps(dict(found_here(**json.loads(sys.argv[1])))))
