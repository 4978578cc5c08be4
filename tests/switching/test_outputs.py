"""Programs that were written for the official packages print the same after one import changed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast.gateway import Gateway, Reset
from helpers.gateways import KEY
from helpers.places import SAMPLE
from helpers.programs import ended

pytest.importorskip("databento")

PROGRAMS = {
    "file-to-frame": """
import databento as db

store = db.DBNStore.from_file(path="trades.dbn")
df = store.to_df(price_type="float", tz="America/New_York")
print(df.dtypes.astype(str).to_dict(), df.index.dtype, df.tail(3).to_dict("records"))
print(store.dataset, store.schema, store.symbols, store.start, store.end, store.start.date())
print(f"{store.start:%Y-%m-%d %H:%M}", store.start.isoformat(), store.end.tz_convert("Asia/Tokyo"))
print((store.end - store.start).total_seconds(), (df.index >= store.start).sum())
print(len(df[df.index < store.start.tz_convert("America/New_York").normalize()]))
print(len(db.read_dbn(path="trades.dbn").to_df()), store.to_ndarray().dtype == db.TradeMsg._dtypes)
store.to_csv("trades.csv", compression=None)
print(open("trades.csv").read()[-300:])
""",
    "iteration-of-a-file": """
import databento as db

for n, record in enumerate(db.DBNStore.from_file("mbp-1.dbn")):
    level = record.levels[0]
    print(record.pretty_ts_event, record.pretty_ts_recv.strftime("%H:%M:%S.%f"), level.bid_px)
    print(type(record.levels).__name__, str(db.RecordFlags(record.flags)), level.pretty_ask_px)
    print(record.flags & db.RecordFlags.F_LAST, db.Publisher.from_int(record.publisher_id))
    print(record.pretty_ts_index.value == record.ts_index, record.pretty_ts_out, record.ts_out)
    print((record.pretty_ts_recv - record.pretty_ts_event).value, record.pretty_ts_event.tz)
    if n == 20:
        break
""",
    "records-that-are-made": """
import databento as db, numpy as np

RType, Side, Action = db.RType, db.Side, db.Action
bar = db.OHLCVMsg(RType.OHLCV_1M, 1, 2, 10**18, 4, 5, 6, 7, 8)
trade = db.TradeMsg(1, 2, 10**18, 10**9, 5, Action.TRADE, Side.BID, 0, 10**18 + 1, sequence=7)
pair = db.BidAskPair(1, 2, 3, 4, 5, 6)
book = db.MBP1Msg(1, 2, 3, 4, 5, Action.TRADE, Side.BID, 0, 6, 128, 7, 8, pair)
error = db.ErrorMsg(1, "too late")
for record in (bar, trade, book, error, db.SystemMsg(5, "Heartbeat")):
    print(bytes(record).hex(), record.pretty_ts_event, np.dtype(type(record)._dtypes).itemsize)
    print(type(record)._ordered_fields, type(record)._price_fields)
for wrong in ("trade", "mbp1", ""):
    try:
        db.Schema(wrong)
    except Exception:
        print(wrong, "is refused")
print(db.Compression(None), db.RecordFlags.F_LAST | db.RecordFlags.F_MBP)
""",
    "live-callback": """
import databento as db, threading

client, done, got = db.Live(key=KEY, gateway="127.0.0.1", port=PORT), threading.Event(), []

def on_record(record):
    if isinstance(record, db.TradeMsg):
        got.append((record.pretty_ts_event.isoformat(), record.pretty_price, f"{record.side}"))
        if len(got) == 50:
            done.set()

client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols="ESH6", start=0)
client.add_callback(on_record)
client.start()
print(done.wait(100))
client.terminate()
print(got[:50])
""",
    "live-iteration": """
import databento as db

client = db.Live(KEY, gateway="127.0.0.1", port=PORT)
client.subscribe("GLBX.MDP3", "ohlcv-1s", ["ESH6", "NQH6"], start="2026-01-05")
n = 0
for record in client:
    if isinstance(record, db.SymbolMappingMsg):
        print(record.stype_in_symbol, record.stype_out_symbol, record.pretty_start_ts)
    if isinstance(record, db.OHLCVMsg):
        symbol = client.symbology_map[record.instrument_id]
        print(f"{record.pretty_ts_event:%H:%M:%S}", symbol, record.pretty_close, record.volume)
        n += 1
        if n == 40:
            break
client.terminate()
""",
    "live-to-file": """
import databento as db

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT, reconnect_policy="none")
client.subscribe(dataset="GLBX.MDP3", schema=db.Schema.TRADES, symbols="ESH6")
client.add_stream("live.dbn")
client.start()
client.block_for_close(timeout=100)
store = db.DBNStore.from_file("live.dbn")
print(store.schema, store.start, store.end, store.metadata.version, len(list(store)))
print(store.to_df(schema="trades", map_symbols=False).to_dict("records")[-2:])
""",
    "asyncio": """
import asyncio, databento as db

async def main():
    client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT, reconnect_policy="none")
    client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols=["ESH6"], start=0)
    times = []
    async for record in client:
        if isinstance(record, db.TradeMsg):
            times.append(record.pretty_ts_recv)
    await client.wait_for_close(timeout=100)
    print(len(times), max(times), min(times).date(), max(times) - min(times))

asyncio.run(main())
""",
    "snapshot": """
import databento as db, threading

client, done, got = db.Live(key=KEY, gateway="127.0.0.1", port=PORT), threading.Event(), []

def on_record(record):
    if isinstance(record, db.MBOMsg):
        got.append((str(record.action), str(record.side), record.order_id, record.price))
        got[-1] += (str(db.RecordFlags(record.flags)), str(record.pretty_ts_event))
        if len(got) == 60:
            done.set()

client.subscribe(dataset="GLBX.MDP3", schema="mbo", symbols="ESH6", snapshot=True)
client.add_callback(on_record)
client.start()
print(done.wait(100))
client.terminate()
print(got[:60])
""",
    "reconnect-callback": """
import databento as db, pandas as pd, threading

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT, reconnect_policy="reconnect")
done, heard = threading.Event(), []

def on_reconnect(start: pd.Timestamp, end: pd.Timestamp) -> None:
    heard.append(f"{start:%Y-%m-%d} {end:%Y} {start.tz} {end.tz} {type(start)} {type(end)}")
    heard.append(type(end - start).__name__ + str(start.date()) + start.tz_convert("CET").tzname())
    done.set()

client.add_reconnect_callback(on_reconnect)
client.add_callback(lambda record: None)
client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols="ESH6", start=0)
client.start()
print(done.wait(100))
client.terminate()
print(heard[:2])
""",
    "definitions": """
import databento as db

for d in db.DBNStore.from_file("definition.dbn"):
    if isinstance(d, db.InstrumentDefMsg) and d.instrument_class == db.InstrumentClass.FUTURE:
        print(d.raw_symbol, d.asset, d.pretty_expiration.date(), d.pretty_activation.isoformat())
        print(f"{d.pretty_expiration:%Y-%m}", d.pretty_min_price_increment, d.pretty_strike_price)
        print(d.pretty_ts_recv.floor("s"), d.pretty_ts_recv.day_name(), d.maturity_year)
        print((d.pretty_expiration - d.pretty_ts_event).days, d.user_defined_instrument)
""",
}


# the official client's threads may end the process in another way
END = "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)"


def printed(package: str, code: str, folder: Path) -> str:
    root = Path(dbnfast.__file__).parents[1]
    done = ended(
        package, [sys.executable, "-W", "ignore", "-c", code + END], folder,
        {**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample, a file for each schema."""
    folder = tmp_path_factory.mktemp("parts")
    return dbnfast.files.split(SAMPLE, folder, by="schema", compression="none")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_the_same(name: str, parts: list[Path], tmp_path: Path) -> None:
    reconnects = name == "reconnect-callback"
    said = []
    for package in ("databento", "dbnfast"):
        folder = tmp_path / package
        folder.mkdir()
        for path in parts:  # glbx-mdp3.trades.dbn
            shutil.copy(path, folder / path.name.partition(".")[2])
        faults: Any = {0: Reset(5_000)} if reconnects else None
        at_end = "close" if "none" in PROGRAMS[name] else "idle"
        with Gateway(SAMPLE, keys=[KEY], at_end=at_end, faults=faults) as gateway:
            code = PROGRAMS[name].replace("databento as", f"{package} as")
            head = f"KEY, PORT = {KEY!r}, {gateway.port}\n"
            said.append(printed(package, head + code, folder))
    official, ours = said
    assert ours == official
    assert len(ours) > 50
    assert "done.wait" not in PROGRAMS[name] or ours.startswith("True")
