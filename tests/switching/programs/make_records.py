import databento as db
import numpy as np

RType, Side, Action = db.RType, db.Side, db.Action
bar = db.OHLCVMsg(RType.OHLCV_1M, 1, 2, 10**18, 4, 5, 6, 7, 8)
trade = db.TradeMsg(1, 2, 10**18, 10**9, 5, Action.TRADE, Side.BID, 0, 10**18 + 1, sequence=7)
pair = db.BidAskPair(1, 2, 3, 4, 5, 6)
book = db.MBP1Msg(1, 2, 3, 4, 5, Action.TRADE, Side.BID, 0, 6, 128, 7, 8, pair)
error = db.ErrorMsg(1, "too late")
for record in (bar, trade, book, error, db.SystemMsg(5, "Heartbeat")):
    print(bytes(record).hex(), record.pretty_ts_event, np.dtype(type(record)._dtypes).itemsize)
    print(type(record)._ordered_fields, type(record)._price_fields)
for wrong in ("trade", "mbp1", ""):
    try:
        db.Schema(wrong)
    except Exception:
        print(wrong, "is refused")
print(db.Compression(None), db.RecordFlags.F_LAST | db.RecordFlags.F_MBP)
