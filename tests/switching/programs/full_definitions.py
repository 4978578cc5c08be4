from pathlib import Path

import databento as db
from setting import FILE

store = db.read_dbn(FILE("definition"))
frame = store.to_df()
print(frame[["raw_symbol", "instrument_class", "expiration", "strike_price"]].to_csv())
print(frame["min_price_increment"].tolist(), frame["activation"].dtype, frame["leg_count"].sum())
array = store.to_ndarray()
print(array["raw_symbol"], array["strike_price"] == db.UNDEF_PRICE, array.dtype.itemsize)
by_symbol = {one.raw_symbol: one for one in store}
for symbol, one in sorted(by_symbol.items()):
    print(symbol, one.instrument_id, one.pretty_expiration, one.pretty_activation, one.tick_rule)
    print(one.pretty_display_factor, one.min_price_increment, one.pretty_high_limit_price)
    print(one.group, one.asset, one.cfi, one.security_type, one.unit_of_measure, one.underlying)
    print(one.match_algorithm, one.instrument_class, one.maturity_month, one.channel_id)
    print(one.security_update_action, one.user_defined_instrument, one.contract_multiplier)
    print(one.leg_count, one.leg_raw_symbol == "", one.pretty_leg_price, one.raw_instrument_id)
store.to_csv("d.csv", pretty_ts=True)
print(Path("d.csv").read_text()[:1500])
store.to_json("d.json", pretty_px=False)
print(Path("d.json").read_text()[:1500])
