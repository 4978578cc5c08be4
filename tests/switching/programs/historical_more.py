import asyncio

import databento as db
from setting import KEY, URL

client = db.Historical(key=KEY, gateway=URL)
print(client.gateway == URL or client.gateway, client.key == KEY)
store = client.timeseries.get_range(
    dataset="GLBX.MDP3", symbols=["ESH6"], schema=db.Schema.TRADES, stype_in=db.SType.RAW_SYMBOL,
    start="2026-01-05T14:30", end="2026-01-05T15:00", limit=10,
)  # fmt: skip
print(isinstance(store, db.DBNStore), store.schema, len(store.to_df()), store.nbytes)


async def main() -> None:
    found = await client.timeseries.get_range_async("GLBX.MDP3", "2026-01-05", symbols="ESH6")
    print(found.schema, len(list(found)), isinstance(found, db.DBNStore))


asyncio.run(main())
print(client.metadata.list_datasets())
seen = []
client.timeseries.get_range("GLBX.MDP3", "2026-01-05").replay(
    lambda record: seen.append(record.price)
)
print(len(seen), sum(seen))
for name in ("batch", "metadata", "symbology", "timeseries"):
    print(name, hasattr(client, name))
