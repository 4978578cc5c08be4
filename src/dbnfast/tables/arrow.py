"""Records as Arrow: batches, tables, and the stream that other libraries read."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.extras import require
from dbnfast.codec.metadata import n_mappings
from dbnfast.enums import PriceType
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, TIMESTAMP, Field
from dbnfast.symbology.resolver import resolver as make_resolver
from dbnfast.tables.columns import (
    FLOAT,
    IN_RANGE,
    MOVE,
    SEEN,
    TIME,
    VALID,
    WIDE_INT,
    Alike,
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
from dbnfast.tables.symbols import SYMBOL, Labels, labels_at, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import RType, Schema
    from dbnfast.records.records import Records
    from dbnfast.symbology.resolver import Resolver

PRECISION: Final = (38, 9)  # of decimal prices
MANY: Final = 8  # rows for each label: with fewer it is worth to look for those that are used


def zone_name(tz: datetime.tzinfo) -> str:
    """
    Name a time zone as Arrow does.

    Parameters
    ----------
    tz : tzinfo
        The zone.

    Returns
    -------
    str
        Its name, or a fixed offset as ``+05:30``.
    """
    if not isinstance(tz, datetime.timezone) or tz is datetime.UTC:
        return str(tz)
    minutes = round(tz.utcoffset(None).total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


@dataclass(frozen=True)
class ArrowOptions(FrameOptions):
    """
    What an Arrow table is to look like.

    Attributes
    ----------
    null_ints : bool
        Whether integers at their undefined value become nulls, as prices and times do.
    alone : bool
        Whether batches are used one by one: they have the columns named, without the index
        timestamp if that is not one of them, and no dictionaries of many symbols that they do not
        have.
    """

    categorical: bool = True
    null_ints: bool = True
    alone: bool = False


class Batches:
    """
    Makes record batches of blocks of records, all of one Arrow schema.

    Parameters
    ----------
    schema : Schema, RType or str or None
        Which records; None for the only type there is.
    options : ArrowOptions
        What the batches are to look like.
    resolver : Resolver or None
        Where symbols come from; None where no column of them is wanted.

    Attributes
    ----------
    schema : pyarrow.Schema or None
        The Arrow schema; None before the first batch.
    """

    def __init__(
        self,
        schema: Schema | RType | str | None,
        options: ArrowOptions,
        resolver: Resolver | None,
    ) -> None:
        self._pyarrow = require("pyarrow", "arrow")
        self._wanted = schema
        self._options = options
        self._resolver = resolver
        self._alike = Alike()
        self.schema: Any = None
        self._layout: Any = None

    def batch(self, records: Records) -> Any:
        """
        Make a batch.

        Parameters
        ----------
        records : Records
            The next block.

        Returns
        -------
        pyarrow.RecordBatch
            A copy of the records of the wanted type, maybe of none.
        """
        options = self._options
        self._alike.check(records, self._wanted)
        rows = rows_of(records, self._wanted)
        fields, order = wanted_fields(rows, options.columns, options.map_symbols)
        index = fields[0].name
        names = [index, *order]
        if options.alone and options.columns is not None:
            names = list(dict.fromkeys(options.columns))
            if names and index not in names:  # of none at all, it tells how many rows there are
                del fields[0]
        requests = list(self._requests(fields))
        if SYMBOL in order:
            requests += hidden_requests(rows, requests)
        made = make(rows, requests)
        columns = {f.name: self._column(f, rows, made) for f in fields}
        if SYMBOL in order:
            resolver = self._resolver
            if resolver is None or resolver.grows:
                labels = labels_of(records, self._wanted, resolver)
            else:
                labels = labels_at(resolver, made.columns[ID], made.columns[index])
            columns[SYMBOL] = self._symbols(labels)
        if self.schema is None:
            types = [(name, columns[name].type) for name in names]
            self.schema = self._pyarrow.schema(types)
            self._layout = rows.layout
        elif rows.layout is not self._layout:
            raise ValueError(
                f"the records have the layout {rows.layout.name}, and the header that of "
                f"{self._layout.name}; upgrade them first"
            )
        if not names:
            return self._pyarrow.RecordBatch.from_pydict(columns).select([])
        return self._pyarrow.RecordBatch.from_arrays(
            [columns[name] for name in names], schema=self.schema
        )

    def _requests(self, fields: Sequence[Field]) -> Iterator[Request]:
        options = self._options
        prices = {PriceType.FLOAT: FLOAT, PriceType.DECIMAL: WIDE_INT, PriceType.FIXED: MOVE}
        for f in fields:
            if f.kind == CSTR:
                continue
            kind = MOVE
            if f.kind == PRICE:
                kind = prices[options.price_type]
            elif f.kind == TIMESTAMP and options.pretty_ts:
                kind = TIME
            yield Request(f.name, kind, f)
            if f.kind == CHAR:
                yield Request(f"{f.name} seen", SEEN, f)
            elif kind != MOVE or (f.has_undef and options.null_ints):
                yield Request(f"{f.name} valid", IN_RANGE if kind == TIME else VALID, f)

    def _column(self, f: Field, rows: Rows, made: Made) -> Any:
        if f.kind == CSTR:
            return self._texts(field_texts(rows, f))
        column = made.columns[f.name]
        if f.kind == CHAR:
            return self._chars(f, column, made.columns[f"{f.name} seen"])
        n_null = made.nulls.get(f"{f.name} valid", 0)
        valid = made.columns[f"{f.name} valid"] if n_null else None
        return self._array(self._type(f, column), [valid, column], rows.n, n_null)

    def _type(self, f: Field, column: Any) -> Any:
        options = self._options
        if f.kind == TIMESTAMP and options.pretty_ts:
            return self._pyarrow.timestamp("ns", zone_name(options.tz))
        if f.kind == PRICE and options.price_type == PriceType.DECIMAL:
            return self._pyarrow.decimal128(*PRECISION)
        return self._pyarrow.from_numpy_dtype(column.dtype)

    def _array(self, kind: Any, buffers: Sequence[Any], n: int, n_null: int) -> Any:
        held = [None if b is None else self._pyarrow.py_buffer(b) for b in buffers]
        return self._pyarrow.Array.from_buffers(kind, n, held, n_null)

    def _texts(self, texts: Texts) -> Any:
        buffers = [texts.valid, texts.offsets, texts.data]
        n = len(texts.offsets) - 1
        return self._array(self._pyarrow.large_string(), buffers, n, texts.n_null)

    def _chars(self, f: Field, column: Any, seen: Any) -> Any:
        if not (self._options.categorical and f.name in CATEGORIES):
            texts = char_texts(column, seen)
            if seen[0] and self._options.null_ints:
                there = column != 0
                bits = np.packbits(there, bitorder="little")
                texts = texts._replace(valid=bits, n_null=len(there) - int(there.sum()))
            return self._texts(texts)
        known = [] if f.enum is None else [code.value.encode() for code in f.enum]
        none = bool(seen[0]) and self._options.null_ints
        if none:
            seen[0] = 0
        codes, labels = char_codes(column, seen, known)
        valid = np.packbits(codes >= 0, bitorder="little") if none else None
        return self._dictionary(self._pyarrow.int16(), codes, valid, int((codes < 0).sum()), labels)

    def _dictionary(
        self, index: Any, codes: Any, valid: Any, n_null: int, labels: Sequence[str]
    ) -> Any:
        indices = self._array(index, [valid, codes], len(codes), n_null)
        values = self._pyarrow.array(list(labels), self._pyarrow.string())
        return self._pyarrow.DictionaryArray.from_arrays(indices, values, safe=False)

    def _symbols(self, labels: Labels) -> Any:
        codes = np.ascontiguousarray(labels.codes, np.int32)
        if not self._options.categorical:
            return self._texts(label_texts(codes, labels.labels))
        if self._options.alone and len(labels.labels) > len(codes) // MANY:
            labels = _of_used(labels)
            codes = labels.codes
        known = codes >= 0
        n_null = len(codes) - int(known.sum())
        bits = np.packbits(known, bitorder="little") if n_null else None
        return self._dictionary(self._pyarrow.int32(), codes, bits, n_null, labels.labels)


def _of_used(labels: Labels) -> Labels:
    # only the labels that rows have, in their order
    is_used = np.zeros(len(labels.labels) + 1, bool)
    is_used[labels.codes] = True  # the last one, for what has none
    places = np.flatnonzero(is_used[:-1])
    table = np.full(len(is_used), -1, np.int32)
    table[places] = np.arange(len(places))
    return Labels(table[labels.codes], [labels.labels[place] for place in places.tolist()])


def reader(
    batches: Iterable[Records],
    *,
    schema: Schema | RType | str | None = None,
    options: ArrowOptions | None = None,
    resolver: Resolver | None = None,
    empty: Records | None = None,
    by_header: bool = False,
) -> Any:
    """
    Read blocks of records as an Arrow stream.

    Parameters
    ----------
    batches : iterable of Records
        The blocks, in order; each becomes a batch when it is asked for.
    schema : Schema, RType or str, optional
        Which records; None for the only type there is.
    options : ArrowOptions, optional
        What the batches are to look like.
    resolver : Resolver, optional
        Where symbols come from.
    empty : Records, optional
        No records of the stream, which tell the schema where there are none at all.
    by_header : bool
        Whether these tell it in any case, so that nothing is read before a batch is asked for.

    Returns
    -------
    pyarrow.RecordBatchReader

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    """
    pyarrow = require("pyarrow", "arrow")
    maker = Batches(schema, ArrowOptions() if options is None else options, resolver)
    source = iter(batches)
    first = empty if by_header else next(source, empty)
    if first is None:
        raise ValueError("there are no records to tell an Arrow schema by")
    head = maker.batch(first)

    def rest() -> Iterator[Any]:
        if not by_header:
            yield head
        for records in source:
            yield maker.batch(records)

    return pyarrow.RecordBatchReader.from_batches(maker.schema, rest())


def records_stream(records: Records, requested_schema: object = None) -> object:
    """
    Export Records through the Arrow C stream interface.

    Parameters
    ----------
    records : Records
        Of one type.
    requested_schema : capsule, optional
        The Arrow schema that the consumer would like.

    Returns
    -------
    capsule
    """
    metadata: Metadata | None = records.metadata
    named = metadata is not None and metadata.schema is not None
    options = ArrowOptions(map_symbols=named)
    # without mappings nothing has a symbol, whatever the symbologies
    known = named and metadata is not None and n_mappings(metadata)
    source = make_resolver(metadata) if known else None
    stream = reader([records], options=options, resolver=source)
    capsule: object = stream.__arrow_c_stream__(requested_schema)
    return capsule


def write_ipc(
    batches: Iterable[Records],
    out: Any,
    *,
    schema: Schema | RType | str | None = None,
    options: ArrowOptions | None = None,
    resolver: Resolver | None = None,
    empty: Records | None = None,
) -> int:
    """
    Write records as an Arrow IPC stream.

    Parameters
    ----------
    batches : iterable of Records
        The blocks, in order.
    out : writable
        Where to.
    schema, options, resolver, empty
        As `reader` takes them.

    Returns
    -------
    int
        Rows written.
    """
    pyarrow = require("pyarrow", "arrow")
    ipc = require("pyarrow.ipc", "arrow")
    source = reader(batches, schema=schema, options=options, resolver=resolver, empty=empty)
    n = 0
    allow = ipc.IpcWriteOptions(emit_dictionary_deltas=False, unify_dictionaries=False)
    with ipc.new_stream(pyarrow.PythonFile(out, "w"), source.schema, options=allow) as writer:
        for batch in source:
            writer.write_batch(batch)
            n += batch.num_rows
    return n
