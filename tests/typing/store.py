"""What type checkers make of stores: read by mypy and by basedpyright, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

import numpy as np

import dbnfast
from dbnfast import Metadata, Record, Records, RType, Schema, Store, SymbolMap


def outputs(path: str) -> None:
    store = dbnfast.read(path)
    assert_type(store, Store)
    assert_type(store.to_ndarray("trades"), np.ndarray[tuple[int], np.dtype[np.void]])
    # pandas, pyarrow and polars are optional: without them their types are not known either
    assert_type(store.to_df(schema="trades"), Any)
    assert_type(store.to_arrow("trades"), Any)
    assert_type(store.to_polars("trades"), Any)
    store.to_df(price_typ="float")  # type: ignore[call-arg]


def contents(store: Store) -> None:
    assert_type(store.metadata, Metadata)
    assert_type(store.schema, Schema | None)
    assert_type(store.symbols, list[str])
    assert_type(store.records(), Records)
    assert_type(store.counts, dict[RType | int, int])
    assert_type(store.iter_batches(), Iterator[Records])
    assert_type(store.filter(start=0), Store)
    assert_type(store.symbol_map(), SymbolMap)
    for record in store:
        assert_type(record, Record)
