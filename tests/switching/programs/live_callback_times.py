import threading

import databento as db
from setting import KEY, PORT

client, done, got = db.Live(key=KEY, gateway="127.0.0.1", port=PORT), threading.Event(), []


def on_record(record):
    if isinstance(record, db.TradeMsg):
        got.append((record.pretty_ts_event.isoformat(), record.pretty_price, f"{record.side}"))
        if len(got) == 50:
            done.set()


client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols="ESH6", start=0)
client.add_callback(on_record)
client.start()
assert done.wait(100)
client.terminate()
print(got[:50])
