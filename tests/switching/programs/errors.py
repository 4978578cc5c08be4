from pathlib import Path

import databento as db
from setting import FILE, KEY, PORT, URL

store = db.read_dbn(FILE("trades"))


def attempt(name, call, *kinds):
    kinds = kinds or (ValueError,)
    try:
        print(name, "gave", type(call()).__name__)
    except kinds as error:
        print(name, isinstance(error, kinds))
    except Exception as error:
        print(name, "other", isinstance(error, TypeError))


attempt("no file", lambda: db.DBNStore.from_file("nowhere.dbn"), FileNotFoundError)
Path("empty.dbn").touch()
attempt("empty", lambda: db.DBNStore.from_file("empty.dbn"), ValueError, db.BentoError)
Path("text.dbn").write_text("no dbn at all, but long enough to be looked at")
attempt("text", lambda: db.DBNStore.from_file("text.dbn"), ValueError, db.BentoError)
attempt("schema", lambda: store.to_df(schema="trade"))
attempt("price", lambda: store.to_df(price_type="floats"))
attempt("zone", lambda: store.to_df(tz="No/Zone"), Exception)
attempt("column", lambda: store.to_df()["no such"], KeyError)
attempt("folder", lambda: store.to_csv("no/such/folder.csv"), OSError)
store.to_csv("there.csv")
attempt("compression", lambda: store.to_csv("x.csv", compression="gzip"))
attempt("mode", lambda: store.to_file("there.dbn", mode="x"))
attempt("exists", lambda: store.to_file("there.dbn", mode="x"), FileExistsError)
attempt("key", lambda: db.Live(key=" "))
attempt("no key", lambda: db.Live(key=None))
attempt("policy", lambda: db.Live(key=KEY, reconnect_policy="sometimes"))
attempt(
    "wrong key",
    lambda: db.Live(
        key="db-nobody-has-this-one-at-all-123", gateway="127.0.0.1", port=PORT
    ).subscribe("GLBX.MDP3", "trades", "ESH6"),
    db.BentoError,
)
client = db.Live(key=KEY, gateway="127.0.0.1", port=PORT)
attempt("start", client.start, ValueError)
attempt("add", lambda: client.add_callback(3), ValueError, TypeError)
attempt("stream", lambda: client.add_stream(object()), ValueError, TypeError)
attempt("live schema", lambda: client.subscribe("GLBX.MDP3", "nothing", "ESH6"), ValueError)
attempt(
    "live stype", lambda: client.subscribe("GLBX.MDP3", "trades", "ESH6", stype_in="x"), ValueError
)
client.subscribe("GLBX.MDP3", "trades", "ESH6")
attempt("other dataset", lambda: client.subscribe("XNAS.ITCH", "trades", "A"), ValueError)
client.start()
client.stop()
client.block_for_close(timeout=10)
attempt(
    "http",
    lambda: db.Historical(KEY, URL).timeseries.get_range("NO.SUCH", "2026-01-05"),
    db.BentoHttpError,
    db.BentoClientError,
    db.BentoError,
)
for kind in (db.BentoHttpError, db.BentoClientError, db.BentoServerError):
    print(kind.__name__, issubclass(kind, db.BentoError))
