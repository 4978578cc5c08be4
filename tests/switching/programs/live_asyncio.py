import asyncio

import databento as db
from setting import KEY, PORT


async def main() -> None:
    client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
    client.subscribe("GLBX.MDP3", "ohlcv-1s", "ALL_SYMBOLS", start=0)
    bars = 0
    async for record in client:
        if isinstance(record, db.OHLCVMsg):
            print(record.instrument_id, record.pretty_open, record.pretty_close, record.volume)
            bars += 1
            if bars == 25:
                client.stop()
                break
    await client.wait_for_close(timeout=10)
    print(bars, client.is_connected())


asyncio.run(main())
