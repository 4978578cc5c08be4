import databento as db
from setting import FILE

store = db.DBNStore.from_file(FILE("definition"))
for record in store:
    if isinstance(record, db.InstrumentDefMsg):
        print(
            record.raw_symbol,
            record.instrument_class == db.InstrumentClass.FUTURE,
            record.instrument_class,
            record.asset,
            record.exchange,
            record.currency,
            record.pretty_min_price_increment,
            record.pretty_strike_price,
            record.expiration,
            record.maturity_year,
            record.security_update_action,
            record.user_defined_instrument,
            record.match_algorithm,
            record.security_type,
            record.cfi,
            record.unit_of_measure_qty,
            record.strike_price == db.UNDEF_PRICE,
            type(record).__name__,
        )
frame = store.to_df()
print(frame.columns.tolist())
print(frame[["raw_symbol", "expiration", "min_price_increment", "instrument_class"]].to_csv())
