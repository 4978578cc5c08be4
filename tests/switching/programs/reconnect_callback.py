import threading

import databento as db
from setting import KEY, RESET_PORT

again = threading.Event()


def on_reconnect(start, end) -> None:
    again.set()


client = db.Live(
    key=KEY, gateway="127.0.0.1", port=RESET_PORT, reconnect_policy=db.ReconnectPolicy.RECONNECT
)
client.add_reconnect_callback(reconnect_callback=on_reconnect)
client.subscribe(dataset="GLBX.MDP3", schema="trades", symbols="ESH6", start=0)
client.add_callback(lambda record: None)
client.start()
assert again.wait(60)
print("reconnected")
client.stop()
client.block_for_close(timeout=5)
