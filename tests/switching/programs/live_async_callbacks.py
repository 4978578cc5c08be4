import asyncio

import databento as db
from setting import CLOSING_PORT, KEY


class Counter:
    def __init__(self) -> None:
        self.by_kind: dict[str, int] = {}

    def on_record(self, record: db.DBNRecord) -> None:
        name = type(record).__name__
        self.by_kind[name] = self.by_kind.get(name, 0) + 1


async def main() -> None:
    clients, counters = [], []
    for schema in ("trades", "mbp-1", "ohlcv-1s"):
        client = db.Live(key=KEY, gateway="127.0.0.1", port=CLOSING_PORT, reconnect_policy="none")
        counter = Counter()
        client.add_callback(counter.on_record)
        client.subscribe("GLBX.MDP3", schema, "ALL_SYMBOLS", start=0)
        client.start()
        clients.append(client)
        counters.append(counter)
    await asyncio.gather(*(client.wait_for_close() for client in clients))
    for counter in counters:
        counted = {k: v for k, v in counter.by_kind.items() if k != "SystemMsg"}
        print(sorted(counted.items()))
    queue: asyncio.Queue[db.DBNRecord] = asyncio.Queue()
    client = db.Live(key=KEY, gateway="127.0.0.1", port=CLOSING_PORT, reconnect_policy="none")
    client.subscribe("GLBX.MDP3", "trades", "ESH6", start=0)
    client.add_callback(queue.put_nowait)
    client.start()
    await client.wait_for_close(timeout=60)
    await asyncio.sleep(0.2)
    print(sum(isinstance(queue.get_nowait(), db.TradeMsg) for _ in range(queue.qsize())))


asyncio.run(main())
