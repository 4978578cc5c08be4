"""What type checkers make of stores: read by mypy and by basedpyright, never run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, assert_type

import dask.dataframe as dd
import databento
import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.dataset

import dbnfast
import dbnfast.dask
from dbnfast import Metadata, PriceType, Record, Records, RType, Schema, Store, SymbolMap
from dbnfast.tables.chunks import DataFrameIterator, NDArrayIterator


def sources(path: str, data: bytes, binary: IO[bytes], text: IO[str]) -> None:
    assert_type(dbnfast.read(path), Store)
    dbnfast.read(Path(path))
    dbnfast.read(data)
    dbnfast.read(memoryview(data))
    dbnfast.read(np.frombuffer(data, np.uint8))
    dbnfast.read(io.BytesIO(data))
    dbnfast.read(binary)
    dbnfast.read([path, data])
    dbnfast.read(sorted(Path(path).glob("*.dbn")))
    dbnfast.read(dbnfast.read(path))
    dbnfast.read(databento.DBNStore.from_bytes(data))
    dbnfast.read_dbn(path=path)
    dbnfast.read("s3://bucket/*.dbn", storage_options={"anon": True}).to_file(
        "s3://bucket/all.dbn", storage_options={"key": path}
    )
    dbnfast.read(path, filesystem=binary, storage_options=5)  # type: ignore[arg-type]
    dbnfast.read(5)  # type: ignore[arg-type]
    dbnfast.read(None)  # type: ignore[arg-type]
    dbnfast.read([5])  # type: ignore[list-item]
    dbnfast.read(text)  # type: ignore[arg-type]


def arrays(store: Store, schema: str, count: int | None) -> None:
    assert_type(store.to_ndarray("trades"), np.ndarray[tuple[int], np.dtype[np.void]])
    assert_type(store.to_ndarray(schema), np.ndarray[tuple[int], np.dtype[np.void]])
    assert_type(store.to_ndarray(Schema.MBO, 9), NDArrayIterator)
    assert_type(store.to_ndarray(count=9), NDArrayIterator)
    for array in store.to_ndarray(count=9):
        assert_type(array, np.ndarray[tuple[int], np.dtype[np.void]])
    store.to_ndarray(5.0)  # type: ignore[call-overload]


def frames(store: Store, schema: str, price_type: PriceType, count: int) -> None:
    assert_type(store.to_df(), pandas.DataFrame)
    assert_type(store.to_df(schema="trades"), pandas.DataFrame)
    # any str may be a schema: one of a command line too, and so a misspelt literal as well
    assert_type(store.to_df(schema=schema, count=None), pandas.DataFrame)
    assert_type(store.to_df(count=1000), DataFrameIterator)
    assert_type(store.to_df("float", True, True, "mbo", "UTC", count), DataFrameIterator)
    for frame in store.to_df("fixed", schema=RType.MBO, count=count):
        assert_type(frame, pandas.DataFrame)
    store.to_df(price_type)
    store.to_df(price_type=PriceType.DECIMAL, tz="America/New_York", columns=["price"])
    store.to_df(price_type="floats")  # type: ignore[call-overload]
    store.to_df(price_typ="float")  # type: ignore[call-overload]
    store.to_df(schema=5)  # type: ignore[call-overload]
    store.to_df(count="9")  # type: ignore[call-overload]
    store.to_df(tz=5)  # type: ignore[call-overload]


def tables(store: Store) -> None:
    assert_type(store.to_arrow("trades"), pyarrow.Table)
    assert_type(store.to_arrow("trades", price_type="decimal"), pyarrow.Table)
    assert_type(store.to_polars("trades", price_type=PriceType.FLOAT), polars.DataFrame)
    assert_type(store.arrow_schema("trades", columns=["price"]), pyarrow.Schema)
    assert_type(store.arrow_batches(max_bytes=1 << 20), pyarrow.RecordBatchReader)
    assert_type(dbnfast.scan_polars(["a.dbn", store], "trades", tz="UTC"), polars.LazyFrame)
    dbnfast.scan_polars(5)  # type: ignore[arg-type]
    assert_type(store.arrow_dataset("trades"), pyarrow.dataset.Dataset)
    store.arrow_dataset(price_type="floats")  # type: ignore[arg-type]
    store.to_arrow(price_type="floats")  # type: ignore[arg-type]
    store.arrow_batches(price_type="floats")  # type: ignore[arg-type]
    store.to_polars(price_type="floats")  # type: ignore[arg-type]
    store.to_polars(schema=b"trades")  # type: ignore[arg-type]
    store.to_parquet("a.parquet", price_type="floats")  # type: ignore[arg-type]
    store.to_parquet("a.parquet", "fixed", schema="mbo")
    store.to_parquet("a", partition_by=["date", "symbol"], columns=["price"])
    store.to_parquet("a", partition_by=5)  # type: ignore[arg-type]
    assert_type(dbnfast.dask.read(store, "trades", columns=["price"]), dd.DataFrame)
    dbnfast.dask.read("a.dbn", price_type="floats")  # type: ignore[arg-type]


def contents(store: Store) -> None:
    assert_type(store.metadata, Metadata)
    assert_type(store.schema, Schema | None)
    assert_type(store.symbols, list[str])
    assert_type(store.records(), Records)
    assert_type(store.counts, dict[RType | int, int])
    assert_type(store.iter_batches(), Iterator[Records])
    assert_type(store.filter(start=0), Store)
    assert_type(store.filter("trades", symbols="ESH6"), Store)
    assert_type(store.filter([Schema.MBO, "trades"]), Store)
    assert_type(store.symbol_map(), SymbolMap)
    for record in store:
        assert_type(record, Record)
    store.filter(5.0)  # type: ignore[arg-type]
