import threading

import databento as db
from setting import KEY, PORT

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT, ts_out=True)
print(
    client.key == KEY or client.key,
    client.dataset,
    client.gateway,
    client.ts_out,
)
print(
    client.is_connected(),
    client.metadata,
    client.symbology_map,
    client.subscription_requests,
    client.session_id,
)
first = client.subscribe("GLBX.MDP3", "trades", "ESH6", start="2026-01-05")
second = client.subscribe(
    dataset="GLBX.MDP3", schema="mbp-1", symbols=["NQH6"], stype_in="raw_symbol", start="2026-01-05"
)
print(first, second, client.is_connected(), client.dataset, client.subscription_requests)
seen, done, errors = {}, threading.Event(), []


def on_record(record: db.DBNRecord) -> None:
    name = type(record).__name__
    seen[name] = seen.get(name, 0) + 1
    if seen.get("TradeMsg", 0) >= 10 and seen.get("MBP1Msg", 0) >= 10:
        done.set()
    if name == "TradeMsg" and seen[name] <= 3:
        print(record.price, record.pretty_ts_out is not None, record.ts_out < db.UNDEF_TIMESTAMP)
    if seen.get("TradeMsg") == 5 and not errors:
        raise RuntimeError("of the user")


client.add_callback(on_record, lambda error: errors.append(str(error)))
client.add_stream("raw.dbn")
client.start()
assert done.wait(60)
client.stop()
client.block_for_close(timeout=20)
print(errors[:1], sorted(client.symbology_map.values()), client.is_connected())
store = db.read_dbn("raw.dbn")
print(sorted(set(type(one).__name__ for one in store)), store.schema, store.metadata.ts_out)
print(store.to_df(schema="trades", tz="America/Chicago")[["symbol", "price"]].head(3).to_csv())
