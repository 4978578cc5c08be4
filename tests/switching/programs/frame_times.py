from pathlib import Path

import databento as db
from setting import FILE

store = db.DBNStore.from_file(path=FILE("trades"))
df = store.to_df(price_type="float", tz="America/New_York")
print(df.dtypes.astype(str).to_dict(), df.index.dtype, df.tail(3).to_dict("records"))
print(store.dataset, store.schema, store.symbols, store.start, store.end, store.start.date())
print(f"{store.start:%Y-%m-%d %H:%M}", store.start.isoformat(), store.end.tz_convert("Asia/Tokyo"))
print((store.end - store.start).total_seconds(), (df.index >= store.start).sum())
print(len(df[df.index < store.start.tz_convert("America/New_York").normalize()]))
print(
    len(db.read_dbn(path=FILE("trades")).to_df()), store.to_ndarray().dtype == db.TradeMsg._dtypes
)
store.to_csv("trades.csv", compression=None)
print(Path("trades.csv").read_text()[-300:])
