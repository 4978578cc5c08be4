"""Records as columns: pandas, Arrow, Parquet."""
