import databento as db
import databento_dbn as dbn

for schema in (db.Schema.from_str("mbo"), db.Schema("trades"), db.Schema.MBP_10):
    print(schema, schema.value, schema.name, repr(schema), f"{schema}", schema == str(schema))
print(db.Schema.TRADES in ("trades", "mbo"))
print(db.Schema.from_str("OHLCV-1D") == db.Schema.OHLCV_1D, db.Schema.OHLCV_1D == "ohlcv-1d")
print(list(db.Schema.variants())[:4], list(db.SType.variants())[:3], list(db.Side.variants()))
print(db.Action.ADD == "A", db.Action.ADD.value, str(db.Action.ADD), db.Action.ADD.name)
print(db.Side("B"), hash(db.Side("A")) == hash(db.Side.ASK))
print(
    db.Action("A") == db.Action.ADD,
    db.Action.ADD != db.Action.CANCEL,
    db.Action.ADD in {db.Action.ADD},
)
print(
    db.SType.RAW_SYMBOL, db.SType("parent"), repr(db.SType.PARENT), db.SType.from_str("continuous")
)
print(db.RType.MBO, int(db.RType.MBO), db.RType(160).name, db.RType.from_schema(db.Schema.MBO))
print(db.Encoding.DBN, db.Compression.ZSTD, db.Encoding("csv"), db.Compression.from_str("none"))
print(db.StatType.OPENING_PRICE == 1, int(db.StatType.SETTLEMENT_PRICE), db.StatType(3).name)
print(db.InstrumentClass.FUTURE, db.InstrumentClass("C").name, db.InstrumentClass.CALL.value)
print(db.MatchAlgorithm.FIFO.value, db.SecurityUpdateAction.ADD, db.UserDefinedInstrument.NO)
print(
    int(db.StatusAction.TRADING),
    int(db.StatusReason.NONE),
    db.TriState.YES,
    db.TradingEvent(0).name,
)
print(db.SystemCode.HEARTBEAT, db.ErrorCode.AUTH_FAILED, int(db.ErrorCode.AUTH_FAILED))
print(
    db.RecordFlags.F_LAST,
    db.RecordFlags(130),
    int(db.RecordFlags(130)),
    db.RecordFlags.F_LAST in db.RecordFlags(130),
)
print(
    db.FeedMode.LIVE,
    db.Dataset.GLBX_MDP3,
    str(db.Dataset.XNAS_ITCH),
    db.Venue.XNAS,
    db.Dataset("GLBX.MDP3").name,
)
print(
    db.Publisher.GLBX_MDP3_GLBX,
    db.Publisher.from_int(2),
    db.Publisher.GLBX_MDP3_GLBX.venue,
    db.Publisher.GLBX_MDP3_GLBX.dataset,
)
print(db.SymbologyResolution.OK, db.Packaging.ZIP, db.Delivery.DOWNLOAD, db.SplitDuration.DAY)
print(db.ReconnectPolicy.NONE, db.ReconnectPolicy("reconnect"))
print(
    db.FIXED_PRICE_SCALE,
    db.UNDEF_PRICE,
    db.UNDEF_TIMESTAMP,
    db.UNDEF_ORDER_SIZE,
    db.UNDEF_STAT_QUANTITY,
)
print(dbn.SYMBOL_CSTR_LEN, dbn.DBN_VERSION, dbn.F_LAST)
for wrong in (
    lambda: db.Schema("trade"),
    lambda: db.Schema.from_str("nothing"),
    lambda: db.Side("X"),
    lambda: db.RType(9999),
    lambda: db.SType.from_str(""),
    lambda: db.StatType(-1),
    lambda: db.Dataset("NO.SUCH"),
    lambda: db.ReconnectPolicy("maybe"),
):
    try:
        print(wrong())
    except (ValueError, dbn.DBNError):
        print("refused")
