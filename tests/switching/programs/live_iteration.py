import databento as db
from setting import KEY, PORT

client = db.Live(KEY, gateway="127.0.0.1", port=PORT)
client.subscribe("GLBX.MDP3", "mbp-1", "ESH6", start=0)
n = 0
try:
    for record in client:
        if not isinstance(record, db.MBP1Msg):
            continue
        level = record.levels[0]
        print(
            record.action,
            record.pretty_price,
            level.pretty_bid_px,
            level.pretty_ask_px,
            level.bid_sz,
            record.side == db.Side.BID,
            record.sequence,
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
