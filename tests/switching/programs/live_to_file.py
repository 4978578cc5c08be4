from pathlib import Path

import databento as db
from setting import KEY, PORT, TRADES

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
print(Path("live.csv").read_text()[:400])
