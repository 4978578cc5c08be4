"""``dbnfast demo``: the packaged sample, decoded and measured."""

from __future__ import annotations

import importlib
import statistics
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from dbnfast.cli.output import put, put_heading, put_table
from dbnfast.cli.values import Style, format_time, rows
from dbnfast.codec import scan
from dbnfast.encoding import encode
from dbnfast.enums import RType
from dbnfast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbnfast.cli.values import Value
    from dbnfast.metadata import Metadata
    from dbnfast.records import Records

SAMPLE: Final = "sample.dbn.zst"
SHOWN: Final = 3  # records of each type
REPEATS: Final = 25
SLOW_REPEATS: Final = 5
TABLES: Final[dict[RType, tuple[str, tuple[str, ...]]]] = {
    RType.INSTRUMENT_DEF: (
        "what is traded",
        ("instrument_class", "min_price_increment", "currency"),
    ),
    RType.STATUS: ("halts, opens and closes", ("action", "reason", "is_trading", "is_quoting")),
    RType.STATISTICS: ("the venue's own figures", ("stat_type", "price", "quantity")),
    RType.MBO: ("every change of every order", ("action", "side", "price", "size", "order_id")),
    RType.MBP_1: (
        "every change of the best prices",
        ("bid_sz_00", "bid_px_00", "ask_px_00", "ask_sz_00"),
    ),
    RType.MBP_0: ("trades", ("side", "price", "size", "sequence")),
    RType.OHLCV_1S: ("bars of one second", ("open", "high", "low", "close", "volume")),
}
TEXT: Final = frozenset(
    ("type", "what", "instrument_class", "currency", "stat_type", "action", "reason")
)


def run() -> int:
    """
    Decode the packaged sample, show it, and measure that.

    Returns
    -------
    int
        The exit code.
    """
    packed = (files("dbnfast.data") / SAMPLE).read_bytes()
    records = scan(packed)
    metadata = records.metadata
    assert metadata is not None
    plain = encode(records, metadata)
    symbols = _symbols(metadata)
    put_heading(f"dbnfast {__version__}: the packaged sample")
    put("Two minutes of made-up futures data, seven record types in one file.")
    _put_header(metadata, symbols, len(packed), len(plain))
    _put_counts(records)
    _put_first(records, symbols)
    _put_speed(packed, plain, len(records))
    _put_next()
    return 0


def _symbols(metadata: Metadata) -> dict[int, str]:
    return {
        int(interval["symbol"]): raw_symbol
        for raw_symbol, intervals in metadata.mappings.items()
        for interval in intervals
        if interval["symbol"].isdigit()
    }


def _put_header(metadata: Metadata, symbols: dict[int, str], n_packed: int, n_plain: int) -> None:
    put("")
    put_heading("The header says")
    put(f"  dataset   {metadata.dataset}, DBN version {metadata.version}")
    put(f"  start     {format_time(metadata.start)}")
    put(f"  end       {'open' if metadata.end is None else format_time(metadata.end)}")
    put(f"  symbols   {', '.join(metadata.symbols)}, mapped to ids:")
    put("            " + ", ".join(f"{symbol} {key}" for key, symbol in symbols.items()))
    put(f"  size      {n_packed:,} bytes as zstd, {n_plain:,} bytes as DBN")


def _put_counts(records: Records) -> None:
    put("")
    put_heading("Records by type")
    lines = (
        (str(key), f"{n:,}", records.filter(key).nbytes // n, TABLES[key][0])
        for key, n in _ordered(records)
    )
    put_table(("type", "count", "bytes", "what"), lines, set(TEXT), "  ")


def _ordered(records: Records) -> Iterator[tuple[RType, int]]:
    for key in TABLES:
        if key in records.counts:
            yield key, records.counts[key]


def _put_first(records: Records, symbols: dict[int, str]) -> None:
    put("")
    put_heading("The first of each: prices are exact, times are UTC")
    for key, _ in _ordered(records):
        put(f"  {key}")
        first = records.filter(key)[:SHOWN]
        names = ("time", "symbol", *TABLES[key][1])
        lines = (_shown(row, symbols, names[2:]) for _, _, row in rows(first, Style()))
        put_table(names, lines, {"time", "symbol", *TEXT}, "    ")


def _shown(row: dict[str, Value], symbols: dict[int, str], names: tuple[str, ...]) -> list[Value]:
    # the time of day: the header above has the date
    when = str(row.get("ts_recv", row["ts_event"])).partition("T")[2]
    key = row["instrument_id"]
    symbol = symbols.get(key, str(key)) if isinstance(key, int) else None
    return [when, symbol, *(row[name] for name in names)]


def _median_time(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _put_speed(packed: bytes, plain: bytes, n: int) -> None:
    put("")
    put_heading(f"Measured just now, median of {REPEATS} runs of this small file")
    from_zstd = _median_time(lambda: scan(packed), REPEATS)
    from_plain = _median_time(lambda: scan(plain).split(), REPEATS)
    _put_rate("zstd file to records", from_zstd, n, len(plain))
    _put_rate("plain file to arrays", from_plain, n, len(plain))
    decode = _reference()
    if decode is None:
        return
    in_python = _median_time(lambda: decode(plain), SLOW_REPEATS)
    _put_rate("the same in plain Python", in_python, n, len(plain))
    put(f"  Arrays come {in_python / from_plain:,.0f} times as fast as dicts by dbnfast.reference.")


def _put_rate(name: str, seconds: float, n: int, n_bytes: int) -> None:
    put(
        f"  {name:<25} {seconds * 1e3:>9.3f} ms {n / seconds / 1e6:>9.3f} M records/s"
        f" {n_bytes / seconds / 1e6:>8,.0f} MB/s"
    )


def _reference() -> Callable[[bytes], Any] | None:
    try:
        module = importlib.import_module("dbnfast.reference")
    except ModuleNotFoundError:
        return None
    decode: Callable[[bytes], Any] = module.decode
    return decode


def _put_next() -> None:
    put("")
    put_heading("Try next, with a file of your own")
    put("  dbnfast info FILE                    what it holds")
    put("  dbnfast head FILE -n 5               its first records")
    put("  dbnfast head FILE --json | jq .      the same for programs")
    put("or in Python")
    put('  arrays = dbnfast.split(open("FILE", "rb").read())    # one array a type')
