"""
Files as Dask frames, read on threads, processes or a cluster.

>>> import dbnfast.dask  # doctest: +SKIP
>>> frame = dbnfast.dask.read("data/*.dbn.zst")  # doctest: +SKIP
>>> frame.groupby("symbol")["size"].sum().compute()  # doctest: +SKIP
"""

from dbnfast.engines.dask import read

__all__ = ["read"]
