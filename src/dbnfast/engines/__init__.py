"""
Stores in the engines that plan a query before they read.

Each of them asks for columns, and for rows that a predicate passes. What of that a store can use
is pushed into it; the predicate is applied to what it gives in any case.
"""

from __future__ import annotations

from dbnfast.engines.polars import scan_polars

__all__ = ["scan_polars"]
