import databento as db
from setting import KEY, PORT

client = db.Live(KEY, gateway="127.0.0.1", port=PORT)
client.subscribe("GLBX.MDP3", "ohlcv-1s", ["ESH6", "NQH6"], start="2026-01-05")
n = 0
for record in client:
    if isinstance(record, db.SymbolMappingMsg):
        print(record.stype_in_symbol, record.stype_out_symbol, record.pretty_start_ts)
    if isinstance(record, db.OHLCVMsg):
        symbol = client.symbology_map[record.instrument_id]
        print(f"{record.pretty_ts_event:%H:%M:%S}", symbol, record.pretty_close, record.volume)
        n += 1
        if n == 40:
            break
client.terminate()
