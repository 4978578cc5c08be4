"""The packaged sample: two minutes of made-up futures data, as ``sample.dbn.zst``."""
