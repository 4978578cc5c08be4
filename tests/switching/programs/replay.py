import databento as db
from setting import FILE

bars, kinds = [], set()


def on_record(record: db.DBNRecord) -> None:
    kinds.add(type(record).__name__)
    if isinstance(record, db.OHLCVMsg):
        bars.append((record.pretty_ts_event, record.pretty_high - record.pretty_low, record.volume))
        if len(bars) == 5:
            raise StopIteration


store = db.read_dbn(FILE("ohlcv-1s"))
try:
    store.replay(on_record)
except Exception as error:
    print(type(error).__name__)
print(bars, kinds)


class Strategy:
    def __init__(self) -> None:
        self.position = 0

    def __call__(self, record: db.DBNRecord) -> None:
        match record:
            case db.TradeMsg(side=db.Side.BID):
                self.position += record.size
            case db.TradeMsg(side="A"):
                self.position -= record.size


strategy = Strategy()
db.read_dbn(FILE("trades")).replay(strategy)
print(strategy.position)
iterator = iter(store)
print(next(iterator).close, next(iterator).open, iterator is iter(iterator))
print(sum(1 for _ in store), sum(1 for _ in store))
