"""Records as pandas frames, equal to those of the official package."""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from dbnfast._util.extras import require
from dbnfast.enums import FIXED_PRICE_SCALE, UNDEF_PRICE, PriceType
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, TIMESTAMP, Field
from dbnfast.tables.columns import (
    FLOAT,
    MOVE,
    SEEN,
    TIME,
    Made,
    Request,
    Rows,
    Texts,
    char_codes,
    char_texts,
    field_texts,
    label_texts,
    make,
    rows_of,
)
from dbnfast.tables.options import CATEGORIES, ID, FrameOptions, hidden_requests, wanted_fields
from dbnfast.tables.symbols import SYMBOL, Labels, labels_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast.enums import RType, Schema
    from dbnfast.records.records import Records
    from dbnfast.symbology.resolver import Resolver


def to_frame(
    records: Records,
    schema: Schema | RType | str | None,
    options: FrameOptions,
    labels: Labels | Resolver | None,
) -> Any:
    """
    Make a frame of the records of one type.

    Parameters
    ----------
    records : Records
        Of any types.
    schema : Schema, RType or str, optional
        What to make it of; None for the only type there is.
    options : FrameOptions
        What it is to look like.
    labels : Labels or Resolver or None
        The symbols of these records, where a symbol column is wanted; or what finds them by
        id and time, for a stream that is not live.

    Returns
    -------
    pandas.DataFrame
        A copy, writable. The index is ts_recv where the records have it, else ts_event.

    Raises
    ------
    MissingExtraError
        pandas or pyarrow is not installed.
    """
    pandas = require("pandas", "pandas")
    pyarrow = require("pyarrow", "pandas")
    rows = rows_of(records, schema)
    fields, order = wanted_fields(rows, options.columns, options.map_symbols)
    requests = list(_requests(fields, options))
    if SYMBOL in order:
        requests += hidden_requests(rows, requests)
    made = make(rows, requests)
    builder = _Builder(pandas, pyarrow, rows, made, options)
    columns = {f.name: builder.column(f) for f in fields[1:]}
    if SYMBOL in order:
        assert labels is not None
        if not isinstance(labels, Labels):
            labels = labels_at(labels, made.columns[ID], made.columns[fields[0].name])
        columns[SYMBOL] = builder.symbols(labels)
    index = builder.index(fields[0])
    return pandas.DataFrame({name: columns[name] for name in order}, index=index, copy=False)


def _requests(fields: Sequence[Field], options: FrameOptions) -> Any:
    for f in fields:
        if f.kind == PRICE:
            kind = FLOAT if options.price_type == PriceType.FLOAT else MOVE
        elif f.kind == TIMESTAMP:
            kind = TIME if options.pretty_ts else MOVE
        elif f.kind == CSTR:
            continue
        else:
            kind = MOVE
        yield Request(f.name, kind, f)
        if f.kind == CHAR:
            yield Request(f"{f.name} seen", SEEN, f)


class _Builder:
    """Makes pandas columns of what the core made."""

    def __init__(
        self, pandas: Any, pyarrow: Any, rows: Rows, made: Made, options: FrameOptions
    ) -> None:
        self._pandas = pandas
        self._pyarrow = pyarrow
        self._rows = rows
        self._made = made.columns
        self._options = options
        self._steps: Any = None  # the offsets of all columns of chars
        self._text_dtype = pandas.StringDtype("pyarrow", na_value=np.nan)

    def column(self, f: Field) -> Any:
        if f.kind == CSTR:
            return self._texts(field_texts(self._rows, f))
        column = self._made[f.name]
        if f.kind == CHAR:
            seen = self._made[f"{f.name} seen"]
            if self._options.categorical and f.name in CATEGORIES:
                known = [] if f.enum is None else [code.value.encode() for code in f.enum]
                codes, labels = char_codes(column, seen, known)
                return self._categories(codes, labels)
            if self._steps is None:
                self._steps = np.arange(self._rows.n + 1, dtype=np.int64)
            return self._texts(char_texts(column, seen, self._steps))
        if f.kind == TIMESTAMP and self._options.pretty_ts:
            return self.index(f).array
        if f.kind == PRICE and self._options.price_type == PriceType.DECIMAL:
            return decimals(column)
        return column

    def index(self, f: Field) -> Any:
        column = self._made[f.name]
        if not self._options.pretty_ts:
            return self._pandas.Index(column, name=f.name, copy=False)
        index = self._pandas.DatetimeIndex(
            column, dtype="datetime64[ns, UTC]", copy=False, name=f.name
        )
        if self._options.tz is not datetime.UTC:
            index = index.tz_convert(self._options.tz)
        return index

    def symbols(self, labels: Labels) -> Any:
        if self._options.categorical:
            return self._categories(labels.codes, list(labels.labels))
        texts = label_texts(labels.codes, labels.labels)
        if texts.n_null == len(labels.codes):
            return np.full(len(labels.codes), None, object)  # as the official frames have it
        return self._texts(texts)

    def _texts(self, texts: Texts) -> Any:
        array = text_array(self._pyarrow, texts)
        return self._pandas.arrays.ArrowStringArray(array, dtype=self._text_dtype)

    def _categories(self, codes: Any, labels: Sequence[str]) -> Any:
        dtype = self._pandas.CategoricalDtype(self._pandas.array(list(labels), self._text_dtype))
        return self._pandas.Categorical.from_codes(codes, dtype=dtype)


def text_array(pyarrow: Any, texts: Texts) -> Any:
    """
    See text as an Arrow array.

    Parameters
    ----------
    pyarrow : module
        The library.
    texts : Texts
        The text.

    Returns
    -------
    pyarrow.LargeStringArray
        A view.
    """
    valid = None if texts.valid is None else pyarrow.py_buffer(texts.valid)
    return pyarrow.Array.from_buffers(
        pyarrow.large_string(),
        len(texts.offsets) - 1,
        [valid, pyarrow.py_buffer(texts.offsets), pyarrow.py_buffer(texts.data)],
        texts.n_null,
    )


def decimals(prices: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.object_]]:
    """
    Make decimals of prices, exactly.

    Parameters
    ----------
    prices : ndarray of int64
        In 1e-9.

    Returns
    -------
    ndarray of object
        ``decimal.Decimal``, NaN where undefined.
    """
    values, places = np.unique(prices, return_inverse=True)
    with decimal.localcontext(decimal.Context(prec=28)):
        made = [
            decimal.Decimal("NaN")
            if value == UNDEF_PRICE
            else decimal.Decimal(value) / FIXED_PRICE_SCALE
            for value in values.tolist()
        ]
    table = np.empty(len(made), object)
    table[:] = made
    return table[places]
