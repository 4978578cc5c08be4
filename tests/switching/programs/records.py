import databento as db
from setting import FILE

wanted = "trades mbp-1 mbp-10 mbo ohlcv-1s definition status statistics imbalance bbo-1s tbbo"
for schema in wanted.split():
    try:
        store = db.read_dbn(FILE(schema))
    except FileNotFoundError:
        continue
    record = next(iter(store))
    print(schema, type(record).__name__, record.rtype, record.publisher_id, record.ts_event)
    print(record.size_hint, record.record_size(), record.ts_index, record.pretty_ts_index)
    print({name: getattr(record, name) for name in record._ordered_fields if name != "levels"})
    print(record._price_fields, record._timestamp_fields, record._hidden_fields)
    print(isinstance(record, db.DBNRecord), isinstance(record, type(record)), record == record)
    print([name for name, kind in record._dtypes])
    print(record.instrument_id in (record.instrument_id,), bytes(record)[:16].hex())
    if hasattr(record, "levels"):
        for level in record.levels:
            print(level.bid_px, level.pretty_ask_px, level.bid_sz, level.ask_ct, level == level)
    try:
        print(record.no_such_field)
    except AttributeError:
        print("AttributeError")
