import threading

import databento as db
from setting import KEY, PORT

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
assert done.wait(100)
client.terminate()
print(got[:60])
