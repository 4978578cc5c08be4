import databento as db
from setting import KEY, PORT

trades = []


def on_record(record: db.DBNRecord) -> None:
    if isinstance(record, db.SymbolMappingMsg):
        print(record.stype_in_symbol, record.stype_out_symbol, record.instrument_id)
    elif isinstance(record, db.TradeMsg) and len(trades) < 100:
        symbol = client.symbology_map[record.instrument_id]
        trades.append((symbol, record.ts_event, record.pretty_price, record.size, record.side))
        if len(trades) == 100:
            client.stop()


def on_error(error: Exception) -> None:
    print("error", type(error).__name__, error)


client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
client.subscribe(
    dataset=db.Dataset.GLBX_MDP3,
    schema=db.Schema.TRADES,
    symbols=["ESH6", "NQH6"],
    stype_in=db.SType.RAW_SYMBOL,
    start=0,
)
client.add_callback(record_callback=on_record, exception_callback=on_error)
client.start()
client.block_for_close(timeout=60)
for trade in trades:
    print(*trade)
