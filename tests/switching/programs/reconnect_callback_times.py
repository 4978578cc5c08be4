import threading

import databento as db
import pandas as pd
from setting import KEY, RESET_PORT

client = db.Live(key=KEY, gateway="127.0.0.1", port=RESET_PORT, reconnect_policy="reconnect")
done, heard = threading.Event(), []


def on_reconnect(start: pd.Timestamp, end: pd.Timestamp) -> None:
    heard.append(f"{start:%Y-%m-%d} {end:%Y} {start.tz} {end.tz} {type(start)} {type(end)}")
    heard.append(type(end - start).__name__ + str(start.date()) + start.tz_convert("CET").tzname())
    done.set()


client.add_reconnect_callback(on_reconnect)
client.add_callback(lambda record: None)
client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols="ESH6", start=0)
client.start()
assert done.wait(100)
client.terminate()
print(heard[:2])
