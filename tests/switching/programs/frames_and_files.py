from decimal import Decimal
from pathlib import Path

import databento as db
import numpy as np
import pandas as pd
from setting import FILE

store = db.DBNStore.from_file(FILE("mbp-1"))
print(type(store.raw).__name__, store.nbytes > 1000, store.compression)
print(store.metadata.dataset, store.metadata.schema, store.metadata.version, store.metadata.ts_out)
print(store.limit, store.stype_in, store.stype_out, store.metadata.limit, store.metadata.start)
print(store.symbology["symbols"], store.symbology["partial"], store.symbology["not_found"])
print(sorted(store.metadata.mappings.items()))
for tz in ("UTC", "Europe/Berlin", "Asia/Kolkata"):
    frame = store.to_df(tz=tz)
    print(frame.index[0], frame.index.name, frame["ts_event"].iloc[0], frame.index.dtype)
frame = store.to_df(price_type="decimal")
print(type(frame["bid_px_00"].iloc[0]) is Decimal, frame["ask_px_00"].iloc[3], frame["price"].max())
frame = store.to_df(price_type="fixed", pretty_ts=False, map_symbols=False)
print(frame.dtypes.astype(str).to_dict(), frame.index.dtype, frame.head(2).to_dict("records"))
frame = store.to_df()
print(frame.resample("1s")["price"].ohlc().tail(2), frame["symbol"].value_counts().to_dict())
print(frame.describe().loc["mean"].round(6).to_dict())
print(pd.api.types.is_string_dtype(frame["symbol"]), frame["action"].unique(), frame.columns.name)
array = store.to_ndarray()
print(array.dtype.names, array.shape, array["price"].dtype, np.unique(array["action"]))
store.to_parquet("all.parquet", map_symbols=True, price_type="float")
print(pd.read_parquet("all.parquet").equals(frame), Path("all.parquet").exists())
store.to_csv("a.csv", pretty_ts=False, pretty_px=False, map_symbols=True)
print(Path("a.csv").read_text()[:500])
store.to_json("a.json", pretty_ts=True, pretty_px=True, map_symbols=True, compression="zstd")
print(Path("a.json").read_bytes()[:4] == b"\x28\xb5\x2f\xfd")
store.to_file("copy.dbn")
again = db.DBNStore.from_bytes(Path("copy.dbn").read_bytes())
print(again.to_df().equals(frame), again.schema == db.Schema.MBP_1)
for n, part in enumerate(store.to_df(count=100, tz="US/Eastern")):
    print(len(part), part.index[0])
    if n == 2:
        break
for n, part in enumerate(store.to_ndarray(count=64)):
    print(part.shape)
    if n == 2:
        break
