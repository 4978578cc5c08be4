"""
``dbnfast demo``: the packaged sample as a file, then as a live feed with an accident on the way.

Nothing outside this machine is asked: the gateway is the package's own, on 127.0.0.1.
"""

from __future__ import annotations

import statistics
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast.cli.commands.live import Table
from dbnfast.cli.format import format_time
from dbnfast.cli.terminal import put, put_heading, put_table
from dbnfast.codec.encode import encode
from dbnfast.codec.scan import scan
from dbnfast.enums import RType, Schema
from dbnfast.gateway import Cut, Faults, Gateway
from dbnfast.layouts.dtypes import empty
from dbnfast.live.events import Gap, Reconnected
from dbnfast.live.sync.client import Live
from dbnfast.records.records import Records
from dbnfast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast.codec.metadata import Metadata

SAMPLE: Final = "sample.dbn.zst"
KEY: Final = "db-demonstration-000000000000000"  # the gateway of the demonstration knows it
SPEED: Final = 25.0  # two minutes in five seconds
ACCIDENT: Final = 60_000  # bytes, in the middle of a record
PATIENCE: Final = 60.0  # s: more than the session takes with its accident on a busy machine
REPEATS: Final = 25
COPIES: Final = 2_000  # of the sample, for a rate
WHAT: Final[dict[RType, str]] = {
    RType.INSTRUMENT_DEF: "what is traded",
    RType.STATUS: "halts, opens and closes",
    RType.STATISTICS: "the venue's own figures",
    RType.MBO: "every change of every order",
    RType.MBP_1: "every change of the best prices",
    RType.MBP_0: "trades",
    RType.OHLCV_1S: "bars of one second",
}
LEVEL: Final = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00", "bid_ct_00", "ask_ct_00")


def run() -> int:
    """
    Decode the packaged sample, then receive it from a gateway that hangs up once.

    Returns
    -------
    int
        The exit code: 1 where a record was lost.
    """
    packed = (files("dbnfast.data") / SAMPLE).read_bytes()
    records = scan(packed)
    metadata = records.metadata
    assert metadata is not None
    put_heading(f"dbnfast {__version__}: two minutes of made-up futures data")
    _put_file(records, metadata, packed)
    feed = make_feed(records, metadata)
    good = _put_session(feed)
    _put_rate(feed)
    _put_next()
    return 0 if good else 1


# --- the file -----------------------------------------------------------------------------


def _put_file(records: Records, metadata: Metadata, packed: bytes) -> None:
    plain = encode(records, metadata)
    put("")
    put_heading("As a file")
    put(f"  {metadata.dataset}, {', '.join(metadata.symbols)}, from {format_time(metadata.start)}")
    put(f"  {len(packed):,} bytes as zstd, {len(plain):,} bytes as DBN")
    counts = ((str(key), f"{records.counts[key]:,}", WHAT[key]) for key in WHAT)
    put_table(("type", "records", "what"), counts, {"type", "what"}, "  ")
    for name, work in (
        ("zstd file to records", lambda: scan(packed)),
        ("plain file to arrays", lambda: scan(plain).split()),
    ):
        seconds = _median_time(work)
        rate = len(records) / seconds / 1e6
        put(f"  {name:<22} {seconds * 1e3:>8.3f} ms {rate:>8.2f} M records/s")


def _median_time(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


# --- the feed -----------------------------------------------------------------------------


def make_feed(records: Records, metadata: Metadata) -> Records:
    """
    Make what the gateway is to send: each trade with the quotes before it, then the trade.

    Parameters
    ----------
    records : Records
        The sample.
    metadata : Metadata
        Its header.

    Returns
    -------
    Records
        TBBO and trades in turn, in the order of time.
    """
    trades, quotes = records.array(Schema.TRADES), records.array(Schema.MBP_1)
    tbbo = empty(Schema.TBBO, len(trades))
    for name in trades.dtype.names or ():
        if name not in ("length", "rtype"):
            tbbo[name] = trades[name]
    for id_ in np.unique(trades["instrument_id"]):
        wanted = np.flatnonzero(trades["instrument_id"] == id_)
        known = quotes[quotes["instrument_id"] == id_]
        before = np.searchsorted(known["ts_recv"], trades["ts_recv"][wanted], "right") - 1
        for name in LEVEL:
            tbbo[name][wanted] = known[name][np.maximum(before, 0)]
    pairs = [part for i in range(len(trades)) for part in (tbbo[i : i + 1], trades[i : i + 1])]
    header = metadata.replace(schema=None, stype_in=None)
    body = b"".join(part.tobytes() for part in pairs)
    return scan(header.encode() + body)


def _put_session(feed: Records) -> bool:
    put("")
    put_heading("As a live feed: a gateway on 127.0.0.1 hangs up in the middle of a record")
    got: list[Records] = []
    feeds = {Schema.TBBO, Schema.TRADES}
    missing = {"reconnect", *feeds}  # the gap of each is reported after its last record, maybe
    faults = Faults({0: Cut(ACCIDENT)})
    with (
        Gateway(feed, keys=[KEY], speed=SPEED, faults=faults) as gateway,
        Live(KEY, "127.0.0.1", gateway.port, dataset=_dataset(feed)) as live,
    ):
        for schema in sorted(feeds):
            live.subscribe(schema=schema)
        put(f"  127.0.0.1:{gateway.port}, session {live.session_id}, {SPEED:g} times as fast")
        table = Table(live, "  ")
        began, n = time.monotonic(), 0
        for item in live.events(max_wait=0.1):
            if isinstance(item, Records):
                table.add(item)
                got.append(item)
                n += item.counts.get(RType.MBP_0, 0) + item.counts.get(RType.MBP_1, 0)
            elif isinstance(item, Reconnected):
                missing.discard("reconnect")
                table.say(f"  {item.reason}; again there after {item.down_s:.1f} s")
            elif isinstance(item, Gap):
                missing.discard(item.schema)
                span = (item.end_ns - item.start_ns) / 1e9
                state = "filled by replay" if item.filled else "NOT filled"
                table.say(f"  a gap of {span:.1f} s in {item.schema}: {state}")
            if (n >= len(feed) and not missing) or time.monotonic() - began > PATIENCE:
                break
        stats = live.stats()
        table.close()
    took = time.monotonic() - began
    put(
        f"  {stats.records:,} records in {took:.1f} s, {stats.reconnects} reconnect, "
        f"{stats.duplicates} replayed were here already"
    )
    return _compare(got, feed)


def _compare(got: list[Records], feed: Records) -> bool:
    good = True
    received = Records.concat(got) if got else feed[:0]
    for schema, key in ((Schema.TBBO, RType.MBP_1), (Schema.TRADES, RType.MBP_0)):
        ours, theirs = received.array(key), feed.array(key)
        same = len(ours) == len(theirs) and ours.tobytes() == theirs.tobytes()
        verdict = "equal byte for byte: nothing was lost" if same else "NOT equal"
        put(f"  {schema!s:<7} {len(ours):,} of {len(theirs):,} received, {verdict}")
        good = good and same
    return good


def _put_rate(feed: Records) -> None:
    put("")
    put_heading("As fast as it goes, over the same loopback")
    source = scan(_header(feed) + bytes(feed) * COPIES)
    with (
        Gateway(source, keys=[KEY], at_end="close") as gateway,
        Live(
            KEY, "127.0.0.1", gateway.port, reconnect_policy="none", dataset=_dataset(feed)
        ) as live,
    ):
        live.subscribe(schema=Schema.TBBO)
        live.subscribe(schema=Schema.TRADES)
        began, n, volume = time.perf_counter(), 0, 0
        for records in live.batches():
            if RType.MBP_0 in records.counts:
                volume += int(records.array(RType.MBP_0)["size"].sum())
            n += len(records)
        seconds = time.perf_counter() - began
    put(
        f"  {n:,} records to arrays, volume {volume:,}: {seconds:.2f} s, "
        f"{n / seconds / 1e6:.1f} M records/s"
    )


def _header(feed: Records) -> bytes:
    assert feed.metadata is not None
    return feed.metadata.encode()


def _dataset(feed: Records) -> str:
    assert feed.metadata is not None
    return feed.metadata.dataset


def _put_next() -> None:
    put("")
    put_heading("Try next")
    put("  dbnfast info FILE                              what a file holds")
    put("  dbnfast convert FILE out.parquet --schema mbo  and what it becomes")
    put("  dbnfast serve FILE --key KEY                   it as a gateway of your own")
    put("  dbnfast live --dataset GLBX.MDP3 -s trades     a live session")
    put("or in Python")
    put('  frame = dbnfast.read("FILE").to_df()')
