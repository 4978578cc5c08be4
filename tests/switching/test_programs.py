"""
Programs as users of databento write them print the same after one import is changed.

Each is run twice, in processes of its own: as it stands, and with dbnfast imported instead. What
it reads is the sample, parted by schema; what it connects to is a gateway and a server of
historical data on the loopback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast.files import split
from dbnfast.gateway import Gateway
from dbnfast.gateway.faults import Reset
from helpers.places import SAMPLE
from helpers.programs import ended
from helpers.vendor import KEY, Vendor, vendor

pytest.importorskip("databento")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


FILE_TO_FRAME = """
import databento as db

data = db.DBNStore.from_file(FILE("trades"))
frame = data.to_df(price_type="float", pretty_ts=True, map_symbols=True, tz="America/New_York")
print(frame.dtypes.astype(str).to_dict(), frame.index.dtype, len(frame))
print(frame.iloc[0].to_dict(), frame["price"].mean())
print(frame.groupby("symbol")["size"].sum().to_dict())
print(data.to_df(price_type="fixed")["price"].tolist()[:5])
print(data.dataset, data.schema, data.stype_in, data.stype_out, data.symbols)
print(sorted(data.mappings.items()))
print(data.schema == db.Schema.TRADES, data.to_ndarray()["price"][:3])
for part in data.to_df(count=250):
    print(len(part))
"""

LIVE_CALLBACKS = """
import databento as db

trades = []


def on_record(record: db.DBNRecord) -> None:
    if isinstance(record, db.SymbolMappingMsg):
        print(record.stype_in_symbol, record.stype_out_symbol, record.instrument_id)
    elif isinstance(record, db.TradeMsg) and len(trades) < 100:
        symbol = client.symbology_map[record.instrument_id]
        trades.append((symbol, record.ts_event, record.pretty_price, record.size, record.side))
        if len(trades) == 100:
            client.stop()


def on_error(error: Exception) -> None:
    print("error", type(error).__name__, error)


client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
client.subscribe(
    dataset=db.Dataset.GLBX_MDP3,
    schema=db.Schema.TRADES,
    symbols=["ESH6", "NQH6"],
    stype_in=db.SType.RAW_SYMBOL,
    start=0,
)
client.add_callback(record_callback=on_record, exception_callback=on_error)
client.start()
client.block_for_close(timeout=60)
for trade in trades:
    print(*trade)
"""

LIVE_ITERATION = """
import databento as db

client = db.Live(KEY, gateway="127.0.0.1", port=PORT)
client.subscribe("GLBX.MDP3", "mbp-1", "ESH6", start=0)
n = 0
try:
    for record in client:
        if not isinstance(record, db.MBP1Msg):
            continue
        level = record.levels[0]
        print(
            record.action, record.pretty_price, level.pretty_bid_px, level.pretty_ask_px,
            level.bid_sz, record.side == db.Side.BID, record.sequence,
            bool(record.flags & db.RecordFlags.F_LAST),
        )
        n += 1
        if n == 20:
            break
except db.BentoError as error:
    print("error", error)
finally:
    client.stop()
    client.block_for_close(timeout=10)
print(n, client.is_connected())
"""

LIVE_TO_FILE = """
import databento as db

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols="ESH6", start=0)
client.add_stream("live.dbn")
n = 0


def count(record):
    global n
    n += isinstance(record, db.TradeMsg)
    if n == TRADES:
        client.stop()


client.add_callback(count)
client.start()
client.block_for_close(timeout=60)
store = db.DBNStore.from_file("live.dbn")
print(store.dataset, store.schema, store.stype_out)
frame = store.to_df(schema="trades")
print(len(frame), frame.columns.tolist(), frame["symbol"].unique(), frame["price"].sum())
print(frame.head(3).to_csv())
store.to_csv("live.csv", schema="trades")
print(open("live.csv").read()[:400])
"""

ASYNCIO = """
import asyncio
import databento as db


async def main() -> None:
    client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
    client.subscribe("GLBX.MDP3", "ohlcv-1s", "ALL_SYMBOLS", start=0)
    bars = 0
    async for record in client:
        if isinstance(record, db.OHLCVMsg):
            print(record.instrument_id, record.pretty_open, record.pretty_close, record.volume)
            bars += 1
            if bars == 25:
                client.stop()
                break
    await client.wait_for_close(timeout=10)
    print(bars, client.is_connected())


asyncio.run(main())
"""

SNAPSHOT = """
import databento as db

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
try:
    client.subscribe("GLBX.MDP3", "mbo", "ESH6", start=0, snapshot=True)
except ValueError as error:
    print("ValueError")
client.subscribe(dataset="GLBX.MDP3", schema="mbo", symbols="ESH6", start=0)
n = 0
for record in client:
    if isinstance(record, db.MBOMsg):
        n += 1
        snapshot = bool(record.flags & db.RecordFlags.F_SNAPSHOT)
        print(record.order_id, record.action, record.side, record.price, record.size, snapshot)
        if n == 50:
            break
client.stop()

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
client.subscribe(dataset="GLBX.MDP3", schema="mbo", symbols="ESH6", snapshot=True)
for record in client:
    if isinstance(record, db.MBOMsg):
        print(record.action, record.flags & db.RecordFlags.F_SNAPSHOT == 32)
        break
client.stop()
"""

RECONNECT_CALLBACK = """
import threading
import databento as db

again = threading.Event()


def on_reconnect(start, end) -> None:
    again.set()


client = db.Live(
    key=KEY, gateway="127.0.0.1", port=RESET_PORT, reconnect_policy=db.ReconnectPolicy.RECONNECT
)
client.add_reconnect_callback(reconnect_callback=on_reconnect)
client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols="ESH6", start=0)
client.add_callback(lambda record: None)
client.start()
print("reconnected", again.wait(60))
client.stop()
client.block_for_close(timeout=5)
"""

MAPPING = """
import json
import databento as db

store = db.DBNStore.from_file(FILE("trades"))
store.to_csv("a.csv", map_symbols=False)
store.to_json("a.json", map_symbols=False)
with open("symbology.json", "w") as file:
    result = {
        name: [
            {"d0": str(one["start_date"]), "d1": str(one["end_date"]), "s": one["symbol"]}
            for one in intervals
        ]
        for name, intervals in store.mappings.items()
    }
    json.dump(
        {
            "result": result, "symbols": store.symbols, "stype_in": "raw_symbol",
            "stype_out": "instrument_id", "start_date": "2026-01-05", "end_date": "2026-01-06",
            "partial": [], "not_found": [], "message": "OK", "status": 0,
        },
        file,
    )
print(db.map_symbols_csv("symbology.json", "a.csv"))
print(db.map_symbols_json("symbology.json", "a.json"))
print(open("a_mapped.csv").read()[:900])
print(open("a_mapped.json").read()[:900])

known = db.InstrumentMap()
known.insert_metadata(store.metadata)
for record in list(store)[:20]:
    print(record.instrument_id, known.resolve(record.instrument_id, date="2026-01-05"))
print(sorted(known.build_symbol_map().values()))
"""

BATCH = """
import databento as db

client = db.Historical(KEY, URL)
job = client.batch.submit_job(
    dataset="GLBX.MDP3", symbols=["ESH6"], schema=db.Schema.TRADES, start="2026-01-05",
    encoding=db.Encoding.DBN, split_duration=db.SplitDuration.DAY, delivery=db.Delivery.DOWNLOAD,
)
print(job)
for one in client.batch.list_files(job["id"]):
    print(one["filename"], one["size"])
for path in sorted(client.batch.download(job_id=job["id"], output_dir="out")):
    print(path.name, path.stat().st_size)
    if path.name.endswith(".dbn.zst"):
        frame = db.read_dbn(path).to_df()
        print(len(frame), frame["price"].sum(), frame["symbol"].unique())
data = client.timeseries.get_range(
    dataset=db.Dataset.GLBX_MDP3, schema="trades", symbols="ESH6", start="2026-01-05", limit=9
)
print(data.schema, data.nbytes, len(data.to_df()))
data = client.timeseries.get_range("GLBX.MDP3", "2026-01-05", path="range.dbn.zst")
print(len(db.DBNStore.from_file("range.dbn.zst").to_df()) == len(data.to_df()))
print(client.metadata.list_datasets(), client.metadata.get_cost("GLBX.MDP3", "2026-01-05"))
for wrong in (
    lambda: client.timeseries.get_range("NO.SUCH", "2026-01-05"),
    lambda: db.Historical("db-wrong", URL).metadata.list_datasets(),
    lambda: client.metadata.list_publishers(),
):
    try:
        wrong()
    except db.BentoError as error:
        print(type(error).__name__, error.http_status, isinstance(error, db.BentoClientError))
try:
    client.timeseries.get_range("GLBX.MDP3", "2026-01-05", schema="trade")
except ValueError:
    print("ValueError")
"""

DEFINITIONS = """
import databento as db

store = db.DBNStore.from_file(FILE("definition"))
for record in store:
    if isinstance(record, db.InstrumentDefMsg):
        print(
            record.raw_symbol, record.instrument_class == db.InstrumentClass.FUTURE,
            record.instrument_class, record.asset, record.exchange, record.currency,
            record.pretty_min_price_increment, record.pretty_strike_price, record.expiration,
            record.maturity_year, record.security_update_action, record.user_defined_instrument,
            record.match_algorithm, record.security_type, record.cfi, record.unit_of_measure_qty,
            record.strike_price == db.UNDEF_PRICE, type(record).__name__,
        )
frame = store.to_df()
print(frame.columns.tolist())
print(frame[["raw_symbol", "expiration", "min_price_increment", "instrument_class"]].to_csv())
"""

PROGRAMS = {
    "file to frame": FILE_TO_FRAME,
    "live callbacks": LIVE_CALLBACKS,
    "live iteration": LIVE_ITERATION,
    "live to file": LIVE_TO_FILE,
    "asyncio": ASYNCIO,
    "snapshot and start=0": SNAPSHOT,
    "reconnect callback": RECONNECT_CALLBACK,
    "symbol mapping": MAPPING,
    "batch download": BATCH,
    "instrument definitions": DEFINITIONS,
}
# what libraries warn of is not compared, what a program prints is
HEAD = """
import warnings
warnings.simplefilter("ignore")
warnings.showwarning = lambda *a, **k: None
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    split(SAMPLE, folder, by="schema")
    return folder


@pytest.fixture(scope="module")
def server(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    data = (parts / "glbx-mdp3.trades.dbn.zst").read_bytes()
    files = {"a.trades.dbn.zst": data, "metadata.json": b"{}"}
    with vendor(tmp_path_factory.mktemp("vendor"), data, files) as made:
        yield made


def run(program: str, package: str, names: dict[str, Any], **environment: str) -> str:
    code = program.replace("import databento as db", f"import {package} as db")
    assert package in code
    head = HEAD + "".join(f"{name} = {value!r}\n" for name, value in names.items())
    head += "FILE = lambda schema: f'{PARTS}/glbx-mdp3.{schema}.dbn.zst'\n"
    folder = Path(names["PARTS"]).parent / f"{package}-{len(os.listdir(names['PARTS'] + '/..'))}"
    folder.mkdir()
    # the package under test, wherever the program runs
    environment = {"PYTHONPATH": str(Path(dbnfast.__file__).parents[1]), **environment}
    done = ended(
        package, [sys.executable, "-c", head + code], folder, {**os.environ, **environment}
    )
    assert done.returncode == 0, f"{package}: {done.stdout}\n{done.stderr}"
    return done.stdout


def n_trades(parts: Path) -> int:
    trades = dbnfast.read(parts / "glbx-mdp3.trades.dbn.zst")
    return int((trades.to_df()["symbol"] == "ESH6").sum())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_the_same_with_either_package(
    name: str, parts: Path, request: pytest.FixtureRequest
) -> None:
    program, environment = PROGRAMS[name], {}
    said = []
    for package in ("databento", "dbnfast"):
        names: dict[str, Any] = {"KEY": KEY, "PARTS": str(parts)}
        if "URL" in program:
            served = request.getfixturevalue("server")
            names["URL"], environment = served.url, served.environment
        with (
            Gateway(str(SAMPLE), keys=[KEY], at_end="idle") as gateway,
            Gateway(str(SAMPLE), keys=[KEY], at_end="idle", faults={0: [Reset(5000)]}) as broken,
        ):
            names.update(PORT=gateway.port, RESET_PORT=broken.port, TRADES=n_trades(parts))
            said.append(run(program, package, names, **environment))
    assert said[1] == said[0]
    assert len(said[0]) > 10


def test_classes_of_one_package_are_none_of_the_other() -> None:
    """What the guide warns of first: no error says that an import was left as it was."""
    official = pytest.importorskip("databento_dbn")
    record = next(iter(dbnfast.read(SAMPLE).filter("trades")))
    assert isinstance(record, dbnfast.TradeMsg)
    assert not isinstance(record, official.TradeMsg)
    guide = Path(__file__).parents[2] / "docs" / "guide" / "migrating.md"
    if guide.is_file():
        before, _, _ = guide.read_text("utf-8").partition("\n## ")
        assert "isinstance(record, databento_dbn.TradeMsg)" in before
