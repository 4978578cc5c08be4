"""The official client against the gateway: unchanged, it gets what the files hold."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dbnfast
from dbnfast import RType, Schema, SystemCode
from dbnfast.gateway import Cut, DoubleAck, FailAuth, Gateway, NoAck, OneByteWrites, SendError
from helpers.gateways import BEGIN, CONTROL, KEY, OTHER_KEY, SECOND, Clock, header, trades
from helpers.places import FIXTURES, REAL

db = pytest.importorskip("databento")
dbn = pytest.importorskip("databento_dbn")

if not (FIXTURES / "MANIFEST.json").is_file():
    pytest.skip("the golden files are not here", allow_module_level=True)

FILES: dict[str, dict[str, Any]] = json.loads((FIXTURES / "MANIFEST.json").read_text())["files"]
BY_SCHEMA = sorted(
    name
    for name, entry in FILES.items()
    if entry["format"] == "dbn" and entry["schema"] and name.startswith(f"{entry['schema']}.v")
    and entry["schema"] != "ohlcv-eod"  # the client's own list of schemas lacks it
)  # fmt: skip
PATIENCE = 60.0

Client = Callable[..., "Session"]


class Session:
    """An official client, and what it got."""

    def __init__(self, gateway: Gateway, key: str, options: dict[str, Any]) -> None:
        self.client = db.Live(key=key, gateway="127.0.0.1", port=gateway.port, **options)
        self.got: list[Any] = []
        self.news = threading.Condition()
        self.metadata: Any = None
        self.client.add_callback(self.take)
        self.dataset = gateway.service.source.dataset

    def take(self, record: Any) -> None:
        if not self.got:
            self.metadata = self.client.metadata  # it is forgotten at the end
        with self.news:
            self.got.append(record)
            self.news.notify_all()

    def wait_for(self, wanted: Callable[[list[Any]], object]) -> None:
        """Wait until what came is what is wanted; iterating would miss what came first."""
        with self.news:
            assert self.news.wait_for(lambda: wanted(self.got), PATIENCE)

    def subscribe(self, schema: str, symbols: Any = "ALL_SYMBOLS", **options: Any) -> Session:
        self.client.subscribe(dataset=self.dataset, schema=schema, symbols=symbols, **options)
        return self

    def finish(self) -> Session:
        self.client.start()
        self.client.block_for_close(timeout=PATIENCE)
        return self

    @property
    def raw(self) -> list[bytes]:
        return [bytes(record) for record in self.got if int(record.rtype) not in map(int, CONTROL)]

    def of(self, rtype: RType) -> list[Any]:
        return [record for record in self.got if int(record.rtype) == int(rtype)]

    @property
    def texts(self) -> list[str]:
        return [record.msg for record in self.of(RType.SYSTEM)]


@pytest.fixture
def connect(caplog: pytest.LogCaptureFixture) -> Iterator[Client]:
    caplog.set_level(logging.CRITICAL, "databento")
    made: list[Session] = []

    def make(gateway: Gateway, key: str = KEY, **options: Any) -> Session:
        made.append(Session(gateway, key, options))
        return made[-1]

    yield make
    for session in made:
        if session.client.is_connected():
            session.client.terminate()


def wanted_of(path: Path, schema: Schema) -> list[bytes]:
    kinds = dbnfast.records.filters.rtypes_of(schema, schema)
    records = dbnfast.read(path).records().upgrade()
    found = [bytes(record) for record in records if int(record.rtype) in kinds]
    if not records.ts_out:
        return found
    return [bytes((raw[0] - 2,)) + raw[1:-8] for raw in found]


@pytest.mark.parametrize("name", BY_SCHEMA)
def test_every_schema(name: str, connect: Client) -> None:
    schema = Schema(FILES[name]["schema"])
    with Gateway(FIXTURES / name, keys=[OTHER_KEY, KEY], at_end="close") as gateway:
        session = connect(gateway).subscribe(str(schema)).finish()
    assert session.raw == wanted_of(FIXTURES / name, schema)
    assert session.texts == [f"Subscription request 0 for {schema} data succeeded"]


def test_every_schema_has_a_file() -> None:
    assert {FILES[name]["schema"] for name in BY_SCHEMA} == set(map(str, Schema)) - {"ohlcv-eod"}


def test_files_of_several_schemas_together(connect: Client) -> None:
    schemas = ("mbo", "tbbo", "mbp-1", "trades", "bbo-1s", "status")
    paths = [FIXTURES / f"{schema}.v3.dbn" for schema in schemas]
    with Gateway(paths, keys=KEY, at_end="close") as gateway:
        session = connect(gateway)
        for schema in schemas:
            session.subscribe(schema)
        session.finish()
        only_tbbo = connect(gateway).subscribe("tbbo").finish()
    wanted = [raw for schema, path in zip(schemas, paths, strict=True)
              for raw in wanted_of(path, Schema(schema))]  # fmt: skip
    assert sorted(session.raw) == sorted(wanted)
    assert only_tbbo.raw == wanted_of(paths[1], Schema.TBBO)


@pytest.mark.parametrize(
    ("stype", "symbols", "ids"),
    [
        ("raw_symbol", ["ESH6", "ESM6"], {5602, 5610}),
        ("instrument_id", [4916, 5610], {4916, 5610}),
        ("parent", "NQ.FUT", {4911, 4916}),
    ],
)
def test_symbols(stype: str, symbols: Any, ids: set[int], connect: Client) -> None:
    path = FIXTURES / "mbo.v3.dbn"
    with Gateway(path, keys=KEY, at_end="close") as gateway:
        session = connect(gateway).subscribe("mbo", symbols, stype_in=stype).finish()
    there = dbnfast.read(path).records()
    assert session.raw == [bytes(record) for record in there if record.instrument_id in ids]
    mappings = {m.instrument_id: m.stype_out_symbol for m in session.of(RType.SYMBOL_MAPPING)}
    assert mappings.keys() == ids
    assert all(name.startswith(("ES", "NQ")) for name in mappings.values())
    assert set(session.client.symbology_map) == ids


def test_parent_of_definitions(connect: Client) -> None:
    array = dbnfast.empty("definition", 3)
    array["instrument_id"] = [1, 2, 3]
    array["raw_symbol"], array["asset"] = [b"ESZ4", b"ESZ4 C5000", b"NQZ4"], [b"ES", b"ES", b"NQ"]
    array["security_type"], array["instrument_class"] = [b"FUT", b"OOF", b"FUT"], [b"F", b"C", b"F"]
    array["ts_event"] = array["ts_recv"] = BEGIN
    array["security_update_action"], array["user_defined_instrument"] = b"A", b"N"
    file = dbnfast.encode(array, header(Schema.DEFINITION, [], stype_in=None))
    with Gateway(file, keys=KEY, at_end="close") as gateway:
        for symbol, ids in [("ES.FUT", {1}), ("ES.OPT", {2}), ("NQ.FUT", {3})]:
            session = connect(gateway).subscribe("definition", symbol, stype_in="parent").finish()
            assert {record.instrument_id for record in session.of(RType.INSTRUMENT_DEF)} == ids


def test_continuous(connect: Client) -> None:
    day = header(Schema.TRADES, [7]).mappings["SYM7"][0]
    mappings = {"ES.c.0": [{**day, "symbol": "7"}]}
    array = dbnfast.empty("trades", 2)
    array["instrument_id"], array["ts_event"], array["ts_recv"] = 7, BEGIN, BEGIN
    metadata = header(Schema.TRADES, [7], stype_in="continuous", mappings=mappings)
    with Gateway(dbnfast.encode(array, metadata), keys=KEY, at_end="close") as gateway:
        session = connect(gateway).subscribe("trades", "ES.c.0", stype_in="continuous").finish()
    assert len(session.raw) == 2
    (mapping,) = session.of(RType.SYMBOL_MAPPING)
    assert (mapping.stype_in_symbol, mapping.instrument_id) == ("ES.c.0", 7)


def test_what_does_not_resolve(connect: Client) -> None:
    with Gateway(trades([0, 1]), keys=KEY, at_end="close") as gateway:
        session = connect(gateway).subscribe("trades", ["SYM1", "NO"])
        with pytest.raises(db.BentoError, match="Failed to resolve symbol NO"):
            session.finish()  # the client raises at the end whatever the error was
    (error,) = session.of(RType.ERROR)
    assert int(error.code) == 4
    assert len(session.raw) == 2


def test_1001_symbols(connect: Client) -> None:
    ids = list(range(1, 1002))
    file = trades([float(n) for n in ids], ids)
    with Gateway(file, keys=KEY, at_end="close", keep_log=True) as gateway:
        session = connect(gateway).subscribe("trades", [f"SYM{n}" for n in ids]).finish()
    assert len(session.raw) == len(session.of(RType.SYMBOL_MAPPING)) == 1001
    lines = [line for _, line in gateway.log if line.startswith("schema=")]
    assert [line.rpartition("|")[2] for line in lines] == ["is_last=0", "is_last=0", "is_last=1"]
    assert gateway.log[0][1].startswith("auth=")
    assert not any(KEY in line for _, line in gateway.log)


def test_ts_out(connect: Client) -> None:
    path = FIXTURES / "mixed.v3.dbn"
    with Gateway(path, keys=KEY, at_end="close") as gateway:
        session = connect(gateway, ts_out=True)
        session.subscribe("mbo").subscribe("mbp-10").subscribe("definition").finish()
    assert session.metadata.ts_out
    assert session.got
    assert all(record.ts_out > 1_700_000_000 * SECOND for record in session.got)
    plain = {bytes(record)[1:] for record in dbnfast.read(path)}
    assert session.raw
    assert {raw[1:-8] for raw in session.raw} <= plain


def test_zstd(connect: Client) -> None:
    path = FIXTURES / "mbp-10.v3.dbn"
    with Gateway(path, keys=KEY, at_end="close") as gateway:
        session = connect(gateway, compression=dbn.Compression.ZSTD).subscribe("mbp-10").finish()
    assert session.raw == wanted_of(path, Schema.MBP_10)


@pytest.mark.parametrize("version", [1, 2])
def test_older_streams(version: int, connect: Client) -> None:
    path = FIXTURES / "statistics.v1.dbn"
    with Gateway(path, keys=KEY, at_end="close", version=version) as gateway:
        session = connect(gateway).subscribe("statistics").finish()
    assert session.metadata.version == 3  # upgraded by the client
    assert session.raw == wanted_of(path, Schema.STATISTICS)
    assert [int(record.code) for record in session.of(RType.SYSTEM)] == [
        int(SystemCode.SUBSCRIPTION_ACK)
    ]
    assert session.of(RType.SYMBOL_MAPPING)


def test_replay(connect: Client) -> None:
    with Gateway(trades([0, 1, 2, 3]), keys=KEY, at_end="close") as gateway:
        session = connect(gateway).subscribe("trades", start=BEGIN + 2 * SECOND).finish()
        everything = connect(gateway).subscribe("trades", start=0).finish()
    assert [record.sequence for record in session.of(RType.TRADES)] == [2, 3]
    assert session.texts[-1] == "Finished trades replay"
    assert session.metadata.start == BEGIN + 2 * SECOND
    assert len(everything.raw) == 4
    assert everything.metadata.start == 0


def test_snapshot(connect: Client) -> None:
    clock, path = Clock(), FIXTURES / "mbo.v3.dbn"
    with Gateway(path, keys=KEY, clock=clock, speed=1, at_end="close") as gateway:
        gateway.start_clock()
        clock.seconds += 2.5
        session = connect(gateway).subscribe("mbo", snapshot=True)
        session.client.start()
        session.wait_for(lambda got: got[-1:] and got[-1].rtype == dbn.RType.MBO)
        clock.seconds += 10**6
        session.client.block_for_close(timeout=PATIENCE)
    records = session.of(RType.MBO)
    n = [int(record.flags) & 32 for record in records].count(32)
    assert n
    assert all(int(record.flags) in (40, 168) for record in records[:n])
    assert str(records[0].action) == "R"
    assert session.raw[n:] == wanted_of(path, Schema.MBO)[2:]


def test_a_subscription_after_the_start(connect: Client) -> None:
    clock = Clock()
    file = trades([0, 1, 2, 3], [1, 2, 1, 2])
    with Gateway(file, keys=KEY, clock=clock, speed=1, at_end="close") as gateway:
        session = connect(gateway).subscribe("trades", "SYM1")
        session.client.start()
        session.wait_for(lambda got: got[-1:] and hasattr(got[-1], "sequence"))
        clock.seconds += 1.5
        session.subscribe("trades", "SYM2")
        session.wait_for(lambda got: getattr(got[-1], "stype_in_symbol", "") == "SYM2")
        clock.seconds += 10
        session.client.block_for_close(timeout=PATIENCE)
    assert [record.sequence for record in session.of(RType.TRADES)] == [0, 2, 3]
    assert session.texts[1] == "Subscription request 1 for trades data succeeded"


def test_heartbeats(connect: Client) -> None:
    clock = Clock()
    with Gateway(trades([0]), keys=KEY, clock=clock) as gateway:
        session = connect(gateway, heartbeat_interval_s=5).subscribe("trades")
        session.client.start()
        session.wait_for(lambda got: got[-1:] and hasattr(got[-1], "sequence"))
        for n in (1, 2, 3):
            clock.seconds += 5
            session.wait_for(lambda got, n=n: session.texts.count("Heartbeat") == n)
        session.client.stop()
        session.client.block_for_close(timeout=PATIENCE)
    assert session.texts.count("Heartbeat") == 3
    assert [record.sequence for record in session.of(RType.TRADES)] == [0]


def test_real_files(connect: Client) -> None:
    paths = sorted(REAL.glob("es-futures/*.zst"))
    if not paths:
        pytest.skip("the vendor's files are not here")
    for path in paths:
        store = dbnfast.read(path)
        with Gateway(path, keys=KEY, at_end="close") as gateway:
            symbols = store.symbols
            session = connect(gateway).subscribe(str(store.schema), symbols, start=0).finish()
        assert session.raw == [bytes(record) for record in store]


def test_a_wrong_key_or_dataset(connect: Client) -> None:
    with Gateway(trades([0]), keys=KEY) as gateway:
        with pytest.raises(db.BentoError, match="Authentication failed"):
            connect(gateway, OTHER_KEY).subscribe("trades")
        session = connect(gateway)
        session.dataset = "GLBX.MDP3"
        with pytest.raises(db.BentoError, match=r"GLBX\.MDP3 is not here"):
            session.subscribe("trades")


def test_faults(connect: Client) -> None:
    faults = {
        0: OneByteWrites(),
        1: [NoAck(), Cut(128 + 176 + 48 + 20)],
        2: DoubleAck(),
        3: FailAuth("Not today"),
        4: SendError(6, "Internal error", 500),
    }
    with Gateway(trades([0, 1]), keys=KEY, at_end="close", faults=faults) as gateway:
        sessions = [connect(gateway) for _ in range(5)]
        for session in sessions[:3]:
            session.subscribe("trades").finish()
        with pytest.raises(db.BentoError, match="Not today"):
            sessions[3].subscribe("trades")
        with pytest.raises(db.BentoError, match="Internal error"):
            sessions[4].subscribe("trades").finish()
    assert [len(session.raw) for session in sessions] == [2, 1, 2, 0, 0]
    assert [len(session.texts) for session in sessions[:3]] == [1, 0, 2]
