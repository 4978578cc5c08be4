import io
from pathlib import Path

import databento as db
import databento_dbn as dbn
from backports import zstd
from setting import FILE

data = zstd.decompress(Path(FILE("trades")).read_bytes())
decoder = dbn.DBNDecoder()
n, first = 0, None
for at in range(0, len(data), 1000):
    decoder.write(data[at : at + 1000])
    for record in decoder.decode():
        if isinstance(record, dbn.Metadata):
            first = record
            print(record.dataset, record.schema, record.version, record.symbols, record.start)
            print(record.stype_in, record.stype_out, record.ts_out, record.limit, record.end)
        elif n < 5:
            print(
                record.price, record.size, record.side, record.hd if hasattr(record, "hd") else ""
            )
        n += 1
print(n, decoder.buffer())
metadata = dbn.Metadata.decode(data)
print(metadata == first, metadata.encode() == data[: len(metadata.encode())])
made = dbn.Metadata(
    dataset="XNAS.ITCH", start=1, stype_in=dbn.SType.RAW_SYMBOL,
    stype_out=dbn.SType.INSTRUMENT_ID, schema=dbn.Schema.TRADES,
    symbols=["A"], partial=[], not_found=[], mappings=[], end=2, limit=3,
)  # fmt: skip
print(made.dataset, made.start, made.end, made.limit, made.symbols, made.mappings, made.version)
trade = dbn.TradeMsg(1, 2, 3, 4_000_000_000, 5, dbn.Action.TRADE, dbn.Side.ASK, 0, 6)
stream = made.encode() + bytes(trade)
store = db.DBNStore.from_bytes(io.BytesIO(stream))
print(store.to_df().to_dict("records"), bytes(trade).hex(), trade.pretty_price)
out = io.BytesIO()
transcoder = dbn.Transcoder(
    out, dbn.Encoding.CSV, dbn.Compression.NONE, pretty_px=True, pretty_ts=True
)
transcoder.write(stream)
transcoder.flush()
print(out.getvalue().decode())
for bad in (b"DBN", b"garbage" * 20, stream[:-3], b""):
    try:
        found = dbn.DBNDecoder().write_and_decode(bad)
        print([type(one).__name__ for one in found])
    except dbn.DBNError as error:
        print(type(error).__mro__[1] is not None, isinstance(error, Exception))
bar = dbn.OHLCVMsg(dbn.RType.OHLCV_1D, 1, 2, 3, 4, 5, 6, 7, 8)
print(bar.open, bar.rtype, bar.volume, bar.pretty_close, bar.size_hint)
error = dbn.ErrorMsg(5, "gone", True)
print(error.err, error.is_last, error.ts_event)
mapping = dbn.SymbolMappingMsg(
    1, 2, 3, dbn.SType.RAW_SYMBOL, "A", dbn.SType.INSTRUMENT_ID, "7", 4, 5
)
print(mapping.stype_in, mapping.stype_in_symbol, mapping.stype_out_symbol, mapping.start_ts)
print(mapping.pretty_end_ts, mapping.end_ts)
