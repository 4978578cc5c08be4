"""Trades in stores of every form, and predicates in the words of each engine, for the tests."""

from __future__ import annotations

import datetime
import io
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import dbnfast
from helpers import streams
from helpers.peers import live_header, mapping

N = 600
FIRST_DAY = datetime.date(2026, 1, 5)
N_DAYS = 3
T0 = int(np.datetime64(FIRST_DAY, "ns").astype(np.int64))
DAY = 86_400 * 10**9
STEP = N_DAYS * DAY // N // 1000 * 1000  # whole microseconds, which every engine can say
UNDEFINED = 2**64 - 1
KINDS = ("plain", "frame", "seekable", "days", "overlapping", "mixed", "live", "memory")
UNTIMED = ("frame", "mixed", "live")  # some of whose records have no time

Mask = np.ndarray[Any, Any]


class Truth(NamedTuple):
    """What the trades are, made without the package."""

    columns: dict[str, Any]
    known: dict[str, Mask]  # where a column is not null


def _symbol(instrument_id: int, day: int) -> str | None:
    if instrument_id == 6:
        return None
    return f"S5{'ab'[day > 0]}" if instrument_id == 5 else f"S{instrument_id}"


def truth(untimed: bool = False) -> Truth:
    """The trades, in order."""
    rng = np.random.default_rng(7)
    numbers = np.arange(N)
    times = T0 + numbers * STEP
    ids = rng.integers(1, 7, N)
    days = numbers * STEP // DAY
    symbols = [_symbol(int(one), int(day)) for one, day in zip(ids, days, strict=True)]
    has_time = np.ones(N, bool)
    if untimed:
        has_time[::97] = False
        symbols = [None if not ok else one for ok, one in zip(has_time, symbols, strict=True)]
    columns = {
        "ts_recv": times,
        "instrument_id": ids,
        "publisher_id": rng.integers(1, 4, N),
        "symbol": np.array(symbols, object),
        "size": rng.integers(1, 30, N),
        "price": rng.integers(1, 400, N) / 4,
        "sequence": numbers,
    }
    known = {name: np.ones(N, bool) for name in columns}
    known["ts_recv"] = has_time
    known["symbol"] = np.array([one is not None for one in symbols])
    return Truth(columns, known)


def _array(told: Truth) -> np.ndarray[Any, Any]:
    array = dbnfast.empty("trades", N).copy()
    for name in ("instrument_id", "publisher_id", "size", "sequence"):
        array[name] = told.columns[name]
    array["ts_recv"] = UNDEFINED
    known = told.known["ts_recv"]
    array["ts_recv"][known] = told.columns["ts_recv"][known]
    array["ts_event"] = told.columns["ts_recv"] - 1000
    array["price"] = (told.columns["price"] * 1e9).astype(np.int64)
    array["action"] = b"T"
    return array


def _header(schema: str | None, first: int = 0, last: int = N_DAYS) -> dbnfast.Metadata:
    found: dict[str, list[dict[str, Any]]] = {}
    for day in range(first, last):
        date = FIRST_DAY + datetime.timedelta(day)
        for one in range(1, 6):
            entry = {
                "start_date": date,
                "end_date": date + datetime.timedelta(1),
                "symbol": str(one),
            }
            found.setdefault(str(_symbol(one, day)), []).append(entry)
    return dbnfast.Metadata(
        dataset="XNAS.ITCH", schema=schema, start=T0 + first * DAY, end=T0 + last * DAY,
        stype_in="raw_symbol", stype_out="instrument_id", symbols=sorted(found), mappings=found,
    )  # fmt: skip


def _mixed(array: np.ndarray[Any, Any], metadata: dbnfast.Metadata) -> bytes:
    parts = []
    for at in range(0, N, 50):
        quotes = dbnfast.empty("mbp-1", 9).copy()
        quotes["ts_recv"] = T0 + at * STEP
        parts += [array[at : at + 50], quotes]
    return dbnfast.encode(parts, metadata)


def _live(told: Truth) -> bytes:
    raw = _array(told)
    # of live data, the place of a mapping record counts, not the time
    second = int(np.flatnonzero(told.columns["ts_recv"] >= T0 + DAY)[0])
    names = b"".join(mapping(one, f"S{one}", str(_symbol(one, 0)), T0) for one in range(1, 6))
    return (
        live_header(start=T0)
        + names
        + raw[:second].tobytes()
        + mapping(5, "S5", "S5b", T0 + DAY)
        + raw[second:].tobytes()
    )


def store_of(kind: str, folder: Path | str) -> dbnfast.Store:
    """A store of the trades, in a folder here or at a URL."""
    told = told_of(kind)
    array = _array(told)
    whole = dbnfast.encode(array, _header("trades"))
    files: dict[str, bytes] = {}
    if kind in ("plain", "memory"):
        files["a.dbn"] = whole
    elif kind == "frame":
        files["a.dbn.zst"] = streams.frame(whole)
    elif kind == "seekable":
        out = io.BytesIO()
        with streams.encoder(out, _header("trades"), 5_000) as encoder:
            encoder.write(array)
        files["a.dbn.zst"] = out.getvalue()
    elif kind == "days":
        days = (told.columns["ts_recv"] - T0) // DAY
        for day in range(N_DAYS):
            plain = dbnfast.encode(array[days == day], _header("trades", day, day + 1))
            packed = streams.frame(plain) if day == 1 else plain
            files[f"{day}.dbn{'.zst' if day == 1 else ''}"] = packed
    elif kind == "overlapping":
        odd = told.columns["instrument_id"] % 2 == 1
        files["a.dbn"] = dbnfast.encode(array[odd], _header("trades"))
        files["b.dbn"] = dbnfast.encode(array[~odd], _header("trades"))
    elif kind == "mixed":
        files["a.dbn"] = _mixed(array, _header(None))
    else:
        assert kind == "live"
        files["a.dbn"] = _live(told)
    if kind == "memory":
        return dbnfast.read(whole)
    if isinstance(folder, str):
        import fsspec

        fs, path = fsspec.url_to_fs(folder)
        for name, data in files.items():
            fs.pipe_file(f"{path}/{name}", data)
        return dbnfast.read([f"{folder}/{name}" for name in files])
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return dbnfast.read([folder / name for name in files])


def told_of(kind: str) -> Truth:
    """What the trades of a store are."""
    told = truth(kind in UNTIMED)
    if kind == "live":  # symbols there do not depend on times
        timed = truth()
        told.columns["symbol"] = timed.columns["symbol"]
        told.known["symbol"] = timed.known["symbol"]
    return told


# --- predicates ---------------------------------------------------------------------------------

COMPARE = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
CLOSED = {"both": (">=", "<="), "left": (">=", "<"), "right": (">", "<="), "none": (">", "<")}

Tree = tuple[Any, ...]


def time_at(number: int) -> datetime.datetime:
    """The time of a trade."""
    past = datetime.timedelta(microseconds=(T0 + number * STEP) // 1000)
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + past


_times = st.integers(-40, N + 40).map(time_at)
_ids = st.integers(0, 8)
_symbols = st.sampled_from(["S1", "S2", "S3", "S4", "S5a", "S5b", "none such"])


def _atoms() -> st.SearchStrategy[Tree]:
    ops = st.sampled_from(sorted(COMPARE))
    equal = st.sampled_from(["==", "!="])
    return st.one_of(
        st.tuples(st.just("cmp"), st.just("ts_recv"), ops, _times),
        st.tuples(
            st.just("between"), st.just("ts_recv"), st.sampled_from(sorted(CLOSED)), _times, _times
        ),
        st.tuples(st.just("cmp"), st.just("instrument_id"), ops, _ids),
        st.tuples(st.just("in"), st.just("instrument_id"), st.lists(_ids, min_size=1, max_size=4)),
        st.tuples(st.just("cmp"), st.just("publisher_id"), equal, st.integers(1, 4)),
        st.tuples(st.just("in"), st.just("publisher_id"), st.just([1, 3])),
        st.tuples(st.just("cmp"), st.just("symbol"), equal, _symbols),
        st.tuples(st.just("in"), st.just("symbol"), st.lists(_symbols, min_size=1, max_size=3)),
        st.tuples(st.just("cmp"), st.just("price"), ops, st.integers(0, 400).map(lambda n: n / 4)),
        st.tuples(st.just("null"), st.sampled_from(["ts_recv", "symbol"])),
        st.tuples(st.just("odd"), st.just("size")),  # no engine's form of this is known here
    )


def _more(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    both = st.sampled_from(["and", "and", "or"])
    return st.tuples(both, inner, inner) | st.tuples(st.just("not"), inner)


def predicates() -> st.SearchStrategy[Tree]:
    """Predicates, as trees."""
    return st.recursive(_atoms(), _more, max_leaves=4)


def hits(tree: Tree, told: Truth) -> Mask:
    """Which rows pass: where the predicate is true, neither false nor null."""

    def column(name: str) -> tuple[Any, Mask]:
        values = told.columns[name]
        return values.astype("M8[ns]") if name == "ts_recv" else values, told.known[name]

    found: Mask = _outcomes(tree, column)[0]
    return found


def as_dask(tree: Tree, frame: Any) -> Any:
    """Which rows of a Dask frame pass, where null has to be asked for."""
    return _outcomes(tree, lambda name: (frame[name], frame[name].notnull()))[0]


def _outcomes(tree: Tree, column: Callable[[str], tuple[Any, Any]]) -> tuple[Any, Any]:
    # where it is true, and where it is false
    kind = tree[0]
    if kind in ("and", "or"):
        (a, not_a), (b, not_b) = (_outcomes(one, column) for one in tree[1:])
        return (a & b, not_a | not_b) if kind == "and" else (a | b, not_a & not_b)
    if kind == "not":
        true, false = _outcomes(tree[1], column)
        return false, true
    values, known = column(tree[1])
    if kind == "null":
        return ~known, known
    if isinstance(values, np.ndarray):
        tree = (*tree[:2], *(_as_numpy(one) for one in tree[2:]))
    if kind == "cmp":
        found = COMPARE[tree[2]](values, tree[3]).astype(bool)
    elif kind == "between":
        above, below = (COMPARE[op] for op in CLOSED[tree[2]])
        found = above(values, tree[3]) & below(values, tree[4])
    elif kind == "in":
        found = values.isin(tree[2]) if hasattr(values, "isin") else np.isin(values, tree[2])
    else:
        found = values % 2 == 1
    return found & known, ~found & known


def _as_numpy(value: Any) -> Any:
    if not isinstance(value, datetime.datetime):
        return value
    return np.datetime64(value.replace(tzinfo=None), "ns")


def as_polars(tree: Tree) -> Any:
    """The predicate for Polars."""
    import polars

    kind = tree[0]
    if kind in ("and", "or", "not"):
        parts = [as_polars(one) for one in tree[1:]]
        if kind == "not":
            return ~parts[0]
        return parts[0] & parts[1] if kind == "and" else parts[0] | parts[1]
    column = polars.col(tree[1])
    if kind == "cmp":
        return COMPARE[tree[2]](column, tree[3])
    if kind == "between":
        return column.is_between(tree[3], tree[4], closed=tree[2])
    if kind == "in":
        return column.is_in(tree[2])
    return column.is_null() if kind == "null" else column % 2 == 1


def as_arrow(tree: Tree) -> Any:
    """The predicate for Arrow, which has no remainder: bits tell what is odd."""
    import pyarrow
    import pyarrow.compute
    import pyarrow.dataset

    kind = tree[0]
    if kind in ("and", "or", "not"):
        parts = [as_arrow(one) for one in tree[1:]]
        if kind == "not":
            return ~parts[0]
        return parts[0] & parts[1] if kind == "and" else parts[0] | parts[1]
    column = pyarrow.dataset.field(tree[1])
    if kind == "cmp":
        return COMPARE[tree[2]](column, pyarrow.scalar(tree[3]))
    if kind == "between":
        above, below = (COMPARE[op] for op in CLOSED[tree[2]])
        return above(column, pyarrow.scalar(tree[3])) & below(column, pyarrow.scalar(tree[4]))
    if kind == "in":
        known = as_arrow(("null", tree[1]))  # in Arrow, null is among no values
        return pyarrow.compute.if_else(
            known, pyarrow.scalar(None, pyarrow.bool_()), column.isin(tree[2])
        )
    if kind == "null":
        return column.is_null()
    one = pyarrow.scalar(1, pyarrow.uint32())
    return pyarrow.compute.bit_wise_and(column, one) == one


def as_sql(tree: Tree) -> str:
    """The predicate for DuckDB."""
    kind = tree[0]
    if kind in ("and", "or"):
        return f"({as_sql(tree[1])} {kind} {as_sql(tree[2])})"
    if kind == "not":
        return f"(not {as_sql(tree[1])})"
    name = tree[1]
    if kind == "cmp":
        return f"{name} {tree[2]} {_literal(tree[3])}"
    if kind == "between":
        above, below = CLOSED[tree[2]]
        return f"({name} {above} {_literal(tree[3])} and {name} {below} {_literal(tree[4])})"
    if kind == "in":
        return f"{name} in ({', '.join(map(_literal, tree[2]))})"
    return f"{name} is null" if kind == "null" else f"{name} % 2 = 1"


def _literal(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return f"timestamptz '{value:%Y-%m-%d %H:%M:%S.%f}+00'"
    return repr(value)
