"""A store as a Dask frame: a partition for each part, of which only the needed columns are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dbnfast._util.extras import require
from dbnfast._util.threads import alone
from dbnfast.enums import PriceType
from dbnfast.store.store import Store, empty_of, schema_of, symbols_of
from dbnfast.store.store import read as read_store
from dbnfast.tables.options import CATEGORIES, FrameOptions, frame_options
from dbnfast.tables.pandas import to_frame
from dbnfast.tables.symbols import SYMBOL, Labels

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    import dask.dataframe as dd

    from dbnfast._typing import PriceTypeLike, SchemaLike
    from dbnfast.store.parts import Part
    from dbnfast.store.store import Readable


def read(
    source: Readable,
    schema: SchemaLike | None = None,
    *,
    columns: Sequence[str] | None = None,
    max_bytes: int = 256 << 20,
    storage_options: dict[str, Any] | None = None,
    price_type: PriceTypeLike = PriceType.FLOAT,
    pretty_ts: bool = True,
    map_symbols: bool = True,
    tz: datetime.tzinfo | str | None = None,
    categorical: bool = True,
) -> dd.DataFrame:
    """
    Read DBN data as a Dask frame.

    Parameters
    ----------
    source : Store, path, or anything else that `dbnfast.read` takes
        The data. Of a store that is filtered only what its filter lets pass; what it leaves out
        is not read where `Store.filter` says so. Workers read the files under the same paths.
    schema : Schema, RType or str, optional
        Which records; None for the schema of the store. Mixed data needs one.
    columns : sequence of str, optional
        The columns, in this order; None for all. Dask leaves out what a computation does not
        need anyway.
    max_bytes : int
        About the most bytes of records in a partition, as `Store.parts` takes it.
    storage_options : dict, optional
        As `dbnfast.read` takes it.
    price_type, pretty_ts, map_symbols, tz
        As `Store.to_df` takes them.
    categorical : bool
        Whether action, side and symbol become categories, else text.

    Returns
    -------
    dask.dataframe.DataFrame
        What `Store.to_df` returns, with the index timestamp as the first column: the index is
        that of a partition. There is a partition for each part, without divisions, by file; files
        that overlap are not merged. Types and categories are the same in every partition.

    Raises
    ------
    MissingExtraError
        dask, pandas or pyarrow is not installed.
    TypeError, ValueError
        An option has the wrong type or value, or mixed data is given no schema.

    Notes
    -----
    Only headers are read before something is computed. The categories of the symbol column are the
    symbols that the headers of all files have, in alphabetical order. The symbols of live data are
    in its records: there the column is text.
    """
    frames = require("dask.dataframe", "dask")
    pandas = require("pandas", "dask")
    require("pyarrow", "dask")
    checked = frame_options(price_type, pretty_ts, map_symbols, tz, columns, categorical)
    given: dict[str, Any] = {} if storage_options is None else {"storage_options": storage_options}
    if not isinstance(source, Store) or given:
        source = read_store(source, **given)
    parts = source.parts(max_bytes)
    schema = schema_of(source, schema)
    if schema is None:
        raise ValueError("the data is mixed: a schema must be named")
    reader, empty = _reader(source, schema, checked, pandas)
    # texts are those of pandas already, and decimals would become text
    with require("dask", "dask").config.set({"dataframe.convert-string": False}):
        if not parts:  # the filter leaves out all files
            made = frames.from_pandas(empty, npartitions=1)
        else:
            made = frames.from_map(
                reader, parts, meta=empty, label="read-dbn", enforce_metadata=False
            )
    frame: dd.DataFrame = made
    return frame


def _reader(store: Store, schema: Any, checked: FrameOptions, pandas: Any) -> tuple[_Reader, Any]:
    # what reads a partition, and a frame of none
    symbols = symbols_of(store) if checked.names_symbols else None
    labels = Labels(np.empty(0, np.int32), sorted(symbols or ()))
    empty = to_frame(empty_of(store), schema, checked, labels).reset_index()
    if checked.columns is not None:
        empty = empty[list(dict.fromkeys(checked.columns))]
    dtypes = {}
    if checked.categorical:
        for name in CATEGORIES:
            if name in empty and hasattr(empty[name], "cat"):  # the action of status is a number
                # no character at all is there too
                known = [*empty[name].cat.categories, ""]
                dtypes[name] = pandas.CategoricalDtype(known)
    if SYMBOL in empty:
        as_text = symbols is None or not checked.categorical
        dtypes[SYMBOL] = "str" if as_text else pandas.CategoricalDtype(labels.labels)
    empty = empty.astype(dtypes)
    return _Reader(schema, checked, dict(empty.dtypes)), empty


class _Reader:
    """Reads a part as a frame; Dask passes the columns that it needs."""

    __name__ = "read_dbn"

    def __init__(self, schema: Any, options: FrameOptions, dtypes: dict[str, Any]) -> None:
        named = ("price_type", "pretty_ts", "map_symbols", "categorical")
        self._options = {name: getattr(options, name) for name in named}
        self._options |= {"schema": schema, "tz": options.tz if options.pretty_ts else None}
        self._dtypes = dtypes

    def __call__(self, part: Part, columns: Sequence[str] | None = None) -> Any:
        names = list(self._dtypes) if columns is None else list(columns)
        pandas = require("pandas", "dask")
        with alone():  # the other parts keep the other processors busy
            frame = part.to_df(columns=names, **self._options)
        made = {}
        for name in names:
            column = frame.get(name, frame.index)
            dtype = self._dtypes[name]
            made[name] = (column if _is(column.dtype, dtype) else _as(column, dtype)).array
        return pandas.DataFrame(made, copy=False)


def _is(dtype: Any, other: Any) -> bool:
    # categories count as equal in any order
    same: bool = dtype == other
    return same and (not hasattr(other, "categories") or dtype.categories.equals(other.categories))


def _as(column: Any, dtype: Any) -> Any:
    # the column with the type that all partitions have
    if hasattr(dtype, "categories"):
        unknown = column.cat.remove_unused_categories().cat.categories.difference(dtype.categories)
        if len(unknown):
            raise ValueError(
                f"{column.name} has {unknown[0]!r}, which is not among the categories that all "
                "partitions have; categorical=False reads it as text"
            )
        return column.cat.set_categories(dtype.categories)
    return column.astype(dtype)
