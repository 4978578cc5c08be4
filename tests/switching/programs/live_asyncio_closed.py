import asyncio

import databento as db
from setting import CLOSING_PORT, KEY


async def main():
    client = db.Live(key=KEY, gateway="127.0.0.1", port=CLOSING_PORT, reconnect_policy="none")
    client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols=["ESH6"], start=0)
    times = []
    async for record in client:
        if isinstance(record, db.TradeMsg):
            times.append(record.pretty_ts_recv)
    await client.wait_for_close(timeout=100)
    print(len(times), max(times), min(times).date(), max(times) - min(times))


asyncio.run(main())
