import json
from pathlib import Path

import databento as db
from setting import FILE

store = db.DBNStore.from_file(FILE("trades"))
store.to_csv("a.csv", map_symbols=False)
store.to_json("a.json", map_symbols=False)
with open("symbology.json", "w") as file:
    result = {
        name: [
            {"d0": str(one["start_date"]), "d1": str(one["end_date"]), "s": one["symbol"]}
            for one in intervals
        ]
        for name, intervals in store.mappings.items()
    }
    json.dump(
        {
            "result": result,
            "symbols": store.symbols,
            "stype_in": "raw_symbol",
            "stype_out": "instrument_id",
            "start_date": "2026-01-05",
            "end_date": "2026-01-06",
            "partial": [],
            "not_found": [],
            "message": "OK",
            "status": 0,
        },
        file,
    )
print(db.map_symbols_csv("symbology.json", "a.csv"))
print(db.map_symbols_json("symbology.json", "a.json"))
print(Path("a_mapped.csv").read_text()[:900])
print(Path("a_mapped.json").read_text()[:900])

known = db.InstrumentMap()
known.insert_metadata(store.metadata)
for record in list(store)[:20]:
    print(record.instrument_id, known.resolve(record.instrument_id, date="2026-01-05"))
print(sorted(known.build_symbol_map().values()))
