import databento as db
from setting import KEY, PORT

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
try:
    client.subscribe("GLBX.MDP3", "mbo", "ESH6", start=0, snapshot=True)
except ValueError:
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
