import json
from pathlib import Path

import databento as db
from setting import FILE, KEY, PORT

store = db.read_dbn(FILE("trades"))
bare = db.DBNStore.from_bytes(store.raw if isinstance(store.raw, bytes) else b"".join(store.raw))
mapping = {
    "result": {"42140864": [], "7": [{"d0": "2026-01-05", "d1": "2026-01-06", "s": "MINE"}]},
    "symbols": ["42140864"], "stype_in": "instrument_id", "stype_out": "raw_symbol",
    "start_date": "2026-01-05", "end_date": "2026-01-06", "partial": [], "not_found": ["X"],
    "message": "Partially resolved", "status": 1,
}  # fmt: skip
bare.insert_symbology_json(mapping, clear_existing=True)
print(bare.to_df()["symbol"].value_counts(dropna=False).to_dict())
Path("map.json").write_text(json.dumps(mapping))
with Path("map.json").open() as file:
    bare.insert_symbology_json(file, clear_existing=False)
print(bare.to_df()["symbol"].isna().sum())
print(store.to_df(map_symbols=False).columns[-1], store.to_df(map_symbols=True).columns[-1])

known = db.InstrumentMap()
known.insert_metadata(store.metadata)
known.insert_json(mapping)
print(known.resolve(42140864, "2026-01-05"), known.resolve(1, "2026-01-05"))
print(known.resolve(42140864, "2030-01-05"), known.resolve(42005804, store.start.date()))
known.clear()
print(known.resolve(42140864, "2026-01-05"))

client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
client.subscribe("GLBX.MDP3", "trades", ["ESH6", "NQH6"], start=0)
for record in client:
    if isinstance(record, db.SymbolMappingMsg):
        known.insert_symbol_mapping_msg(record)
        print(record.stype_in, record.stype_in_symbol, record.stype_out_symbol, record.stype_out)
        print(client.symbology_map[record.instrument_id])
    elif isinstance(record, db.TradeMsg):
        print(client.symbology_map.get(record.instrument_id))
        break
client.stop()
