"""Which symbol a record is of."""
