import databento as db
from setting import FILE

for n, record in enumerate(db.DBNStore.from_file(FILE("mbp-1"))):
    level = record.levels[0]
    print(record.pretty_ts_event, record.pretty_ts_recv.strftime("%H:%M:%S.%f"), level.bid_px)
    print(type(record.levels).__name__, str(db.RecordFlags(record.flags)), level.pretty_ask_px)
    print(record.flags & db.RecordFlags.F_LAST, db.Publisher.from_int(record.publisher_id))
    print(record.pretty_ts_index.value == record.ts_index, record.pretty_ts_out, record.ts_out)
    print((record.pretty_ts_recv - record.pretty_ts_event).value, record.pretty_ts_event.tz)
    if n == 20:
        break
