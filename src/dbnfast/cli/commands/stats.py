"""``dbnfast stats``: how many records of what, of whom, and where none are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.times import DAY
from dbnfast.cli.format import format_time, printable
from dbnfast.cli.inputs import each
from dbnfast.cli.outputs import Progress, plural
from dbnfast.cli.terminal import explain, put, put_heading, put_json, put_table
from dbnfast.enums import UNDEF_TIMESTAMP, RType
from dbnfast.errors import DbnError
from dbnfast.layouts.dtypes import rtype_key
from dbnfast.layouts.table import CONTROL
from dbnfast.records.headers import groups, index_times, instrument_ids, record_types

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast._typing import Column
    from dbnfast.cli.terminal import Input
    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records

BLOCK: Final = 16 << 20
SHOWN_GAPS: Final = 10
MAX_GAPS: Final = 10_000  # that are kept one by one
UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": DAY,
}
_PART: Final = re.compile(r"(\d+(?:\.\d{1,9})?)(ns|us|ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """
    Read a duration.

    Parameters
    ----------
    text : str
        Numbers with units, as ``1h``, ``1h30m``, ``2.5s``, ``250ms``, ``2d``.

    Returns
    -------
    int
        Nanoseconds.

    Raises
    ------
    ValueError
        It is none.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration as 1h, 1h30m, 2.5s or 250ms")
    total = 0
    for number, unit in parts:
        whole, _, part = number.partition(".")
        total += int(whole) * UNITS[unit] + int(part.ljust(9, "0")) * UNITS[unit] // 10**9
    return total


def format_duration(ns: int) -> str:
    """
    Write a duration for people.

    Parameters
    ----------
    ns : int
        Nanoseconds, 0 or more.

    Returns
    -------
    str

    Examples
    --------
    >>> format_duration(3_723_500_000_000), format_duration(90_000_000)
    ('1h 2m 3.5s', '0.09s')
    """
    parts = []
    for unit in ("d", "h", "m"):
        n, ns = divmod(ns, UNITS[unit])
        if n:
            parts.append(f"{n}{unit}")
    seconds, part = divmod(ns, UNITS["s"])
    decimals = f".{part:09}".rstrip("0").rstrip(".")
    if seconds or part or not parts:
        parts.append(f"{seconds}{decimals}s")
    return " ".join(parts)


def run(inputs: list[Input], *, top: int, gap: str, as_json: bool) -> int:
    """
    Count what inputs hold.

    Parameters
    ----------
    inputs : list of Input
        The inputs, one after the other; one that cannot be read does not stop the rest.
    top : int
        How many instruments are shown, those with the most records.
    gap : str
        The duration from which on a time without records is told.
    as_json : bool
        Whether to write one JSON object an input.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        `gap` is no duration.
    """
    shortest = parse_duration(gap)
    code = 0
    for number, source in enumerate(each(inputs)):
        try:
            with Progress([source], True) as progress, source.open(BLOCK, progress.told) as opened:
                tally = _Tally(opened.reader.metadata, shortest)
                for records in opened.blocks():
                    tally.add(records)
                n_bytes = opened.source.n_bytes
        except (DbnError, OSError) as error:
            code = explain(source.name, error)
            continue
        found = {"file": source.name, "file_bytes": n_bytes, **tally.found(top)}
        if as_json:
            put_json(found)
        else:
            if number:
                put("")
            _put(found, gap)
    return code


class _Tally:
    def __init__(self, metadata: Metadata | None, shortest: int) -> None:
        self._types: dict[int, list[int]] = {}  # records, bytes
        self._instruments: dict[int, int] = {}
        self._symbols: dict[int, str] = {}
        self._resolver = _resolver(metadata)
        self._shortest = shortest
        self._first = UNDEF_TIMESTAMP
        self._last: int | None = None
        self._latest: int | None = None  # of what counts for gaps
        self._gaps: list[tuple[int, int]] = []
        self._n_gaps = 0

    def add(self, records: Records) -> None:
        for rtype, size, n in groups(records):
            entry = self._types.setdefault(rtype, [0, 0])
            entry[0] += n
            entry[1] += n * size
        ids = instrument_ids(records)
        found, counts = np.unique(ids, return_counts=True)
        for key, n in zip(found.tolist(), counts.tolist(), strict=True):
            self._instruments[key] = self._instruments.get(key, 0) + n
        if self._resolver is not None:
            self._add_symbols(records, ids)
        self._add_times(records)

    def _add_symbols(self, records: Records, ids: Column) -> None:
        # the last symbol of each instrument
        codes = self._resolver.codes(records)
        pairs = np.flatnonzero((np.diff(ids) != 0) | (np.diff(codes) != 0))
        ends = [*pairs.tolist(), len(ids) - 1]
        symbols = self._resolver.symbols
        for key, code in zip(ids[ends].tolist(), codes[ends].tolist(), strict=True):
            if code >= 0:
                self._symbols[key] = symbols[code]

    def _add_times(self, records: Records) -> None:
        times = index_times(records)
        known = times != UNDEF_TIMESTAMP
        if not known.any():
            return
        self._first = min(self._first, int(times[known].min()))
        self._last = max(int(times[known].max()), 0 if self._last is None else self._last)
        if any(rtype in CONTROL for rtype, _, _ in groups(records)):
            # these say when they were sent, which in a replay is behind all data
            known &= ~np.isin(record_types(records), list(CONTROL))
        self._add_gaps(times[known])

    def _add_gaps(self, times: Column) -> None:
        if not len(times):
            return
        # a stream that goes back in time has no gap where it only returns
        latest = np.maximum.accumulate(times)
        before = np.empty_like(latest)
        before[0] = latest[0] if self._latest is None else self._latest
        before[1:] = latest[:-1]
        if self._latest is not None:
            before = np.maximum(before, np.uint64(self._latest))
        ahead = np.flatnonzero((times > before) & (times - before > self._shortest))
        self._n_gaps += len(ahead)
        room = MAX_GAPS - len(self._gaps)
        for at in ahead[: max(room, 0)].tolist():
            self._gaps.append((int(before[at]), int(times[at])))
        self._latest = max(int(latest[-1]), 0 if self._latest is None else self._latest)

    def found(self, top: int) -> dict[str, Any]:
        order = sorted(self._instruments.items(), key=lambda item: (-item[1], item[0]))
        return {
            "records": sum(n for n, _ in self._types.values()),
            "bytes": sum(n for _, n in self._types.values()),
            "first": None if self._last is None else format_time(self._first),
            "last": None if self._last is None else format_time(self._last),
            "types": [
                {"rtype": rtype, "type": _name(rtype), "records": n, "bytes": n_bytes}
                for rtype, (n, n_bytes) in sorted(self._types.items())
            ],
            "n_instruments": len(order),
            "instruments": [
                {"instrument_id": key, "symbol": self._symbols.get(key), "records": n}
                for key, n in order[:top]
            ],
            "n_gaps": self._n_gaps,
            "gaps": [
                {"from": format_time(a), "to": format_time(b), "ns": b - a} for a, b in self._gaps
            ],
        }


def _resolver(metadata: Metadata | None) -> Any:
    from dbnfast.symbology.resolver import resolver

    make: Callable[..., Any] = resolver
    try:
        return make(metadata)
    except ValueError:  # the header maps no instrument ids: then ids are all there is
        return None


def _name(rtype: int) -> str:
    key = rtype_key(rtype)
    return str(key) if isinstance(key, RType) else f"rtype {rtype:#04x}"


def _share(n: int, total: int) -> str:
    return f"{100 * n / total:.1f} %"


def _put(found: dict[str, Any], gap: str) -> None:
    put_heading(printable(found["file"]))
    total = found["records"]
    put(f"  records   {total:,}")
    put(f"  bytes     {found['bytes']:,} of records, {found['file_bytes']:,} in the file")
    if found["first"] is not None:
        put(f"  first     {found['first']}")
        put(f"  last      {found['last']}")
    if not total:
        return
    put("")
    lines = (
        (one["type"], f"{one['records']:,}", f"{one['bytes']:,}", _share(one["records"], total))
        for one in found["types"]
    )
    put_table(("type", "records", "bytes", "share"), lines, {"type"}, "  ")
    put("")
    if found["instruments"]:
        rows = (
            (one["symbol"], one["instrument_id"], f"{one['records']:,}",
             _share(one["records"], total))
            for one in found["instruments"]
        )  # fmt: skip
        put_table(("symbol", "instrument_id", "records", "share"), rows, {"symbol"}, "  ")
    more = found["n_instruments"] - len(found["instruments"])
    if more:
        put(f"  and {plural(more, 'instrument')} more")
    put("")
    _put_gaps(found, gap)


def _put_gaps(found: dict[str, Any], gap: str) -> None:
    n = found["n_gaps"]
    put(f"  {'no' if not n else f'{n:,}'} {'gap' if n == 1 else 'gaps'} of more than {gap}")
    longest = sorted(found["gaps"], key=lambda one: -one["ns"])[:SHOWN_GAPS]
    if not longest:
        return
    if n > len(longest):
        put(f"  the longest {len(longest)}:")
    lines = (
        (one["from"], one["to"], format_duration(one["ns"]))
        for one in sorted(longest, key=lambda one: str(one["from"]))
    )
    put_table(("from", "to", "duration"), lines, {"from", "to"}, "    ")
