import databento as db
from setting import FILE

for d in db.DBNStore.from_file(FILE("definition")):
    if isinstance(d, db.InstrumentDefMsg) and d.instrument_class == db.InstrumentClass.FUTURE:
        print(d.raw_symbol, d.asset, d.pretty_expiration.date(), d.pretty_activation.isoformat())
        print(f"{d.pretty_expiration:%Y-%m}", d.pretty_min_price_increment, d.pretty_strike_price)
        print(d.pretty_ts_recv.floor("s"), d.pretty_ts_recv.day_name(), d.maturity_year)
        print((d.pretty_expiration - d.pretty_ts_event).days, d.user_defined_instrument)
