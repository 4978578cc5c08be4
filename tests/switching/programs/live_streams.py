import io
from pathlib import Path

import databento as db
from setting import CLOSING_PORT, KEY

client = db.Live(key=KEY, gateway="127.0.0.1", port=CLOSING_PORT, reconnect_policy="none")
client.subscribe("GLBX.MDP3", db.Schema.OHLCV_1S, ["ESH6"], start="2026-01-05T00:00:00")
with Path("one.dbn").open("wb") as file:
    client.add_stream(file)
    client.add_stream("two.dbn")
    client.start()
    client.block_for_close(timeout=60)
print(Path("one.dbn").read_bytes() == Path("two.dbn").read_bytes())
store = db.DBNStore.from_file("one.dbn")
print(store.metadata.dataset, store.metadata.version, store.schema, store.stype_in, store.end)
print(sorted({type(one).__name__ for one in store}), len(store.to_df(schema="ohlcv-1s")))
print(store.to_ndarray(schema="ohlcv-1s")["close"][:4], store.to_df(schema="ohlcv-1s").tail(2))
store.to_json("live.json", schema="ohlcv-1s")
print(Path("live.json").read_text()[:300])
store.to_parquet("live.parquet", schema="ohlcv-1s")
stream = io.BytesIO(Path("one.dbn").read_bytes())
print(db.DBNStore.from_bytes(stream).to_df(schema=db.Schema.OHLCV_1S).shape)

client = db.Live(key=KEY, gateway="127.0.0.1", port=CLOSING_PORT, reconnect_policy="none")
client.subscribe("GLBX.MDP3", "ohlcv-1s", "ESH6", start=0)
bars = [one for one in client if isinstance(one, db.OHLCVMsg)]
print(
    len(bars),
    bars[0] == bars[0],
    bars[-1].pretty_ts_event,
    bars[-1].pretty_volume if hasattr(bars[-1], "pretty_volume") else None,
)
