import databento as db
from setting import CLOSING_PORT, KEY

client = db.Live(key=KEY, gateway="127.0.0.1", port=CLOSING_PORT, reconnect_policy="none")
client.subscribe(dataset="GLBX.MDP3", schema=db.Schema.TRADES, symbols="ESH6")
client.add_stream("live.dbn")
client.start()
client.block_for_close(timeout=100)
store = db.DBNStore.from_file("live.dbn")
print(store.schema, store.start, store.end, store.metadata.version, len(list(store)))
print(store.to_df(schema="trades", map_symbols=False).to_dict("records")[-2:])
