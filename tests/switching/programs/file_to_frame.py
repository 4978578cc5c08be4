import databento as db
from setting import FILE

data = db.DBNStore.from_file(FILE("trades"))
frame = data.to_df(price_type="float", pretty_ts=True, map_symbols=True, tz="America/New_York")
print(frame.dtypes.astype(str).to_dict(), frame.index.dtype, len(frame))
print(frame.iloc[0].to_dict(), frame["price"].mean())
print(frame.groupby("symbol")["size"].sum().to_dict())
print(data.to_df(price_type="fixed")["price"].tolist()[:5])
print(data.dataset, data.schema, data.stype_in, data.stype_out, data.symbols)
print(sorted(data.mappings.items()))
print(data.schema == db.Schema.TRADES, data.to_ndarray()["price"][:3])
for part in data.to_df(count=250):
    print(len(part))
