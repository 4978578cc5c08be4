"""
A store as a pyarrow Dataset, which Arrow, DuckDB and Polars push columns and filters into.

What Arrow hands on of a filter is an expression that nothing outside can look into. So Arrow itself
is asked: could a part of which this is guaranteed have rows that pass? The answers narrow the range
of time, and the ids, down to those that may pass. The whole filter is applied in any case.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.extras import require
from dbnfast.engines.scan import Bounds, Scan, of_ids
from dbnfast.store.store import symbols_in
from dbnfast.tables.options import ID, PUBLISHER
from dbnfast.tables.symbols import SYMBOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbnfast._typing import SchemaLike
    from dbnfast.store.store import Store

MOST_IDS: Final = 64  # that a filter may name; of more, records are looked at
MOST_SYMBOLS: Final = 1000  # that a store may have; 30 us for each
NO_FILE: Final = "cannot scan a dataset of DBN by itself: use its scanner() or to_table()"
BATCH_SIZE: Final = 131_072  # rows: pyarrow's own default


def dataset_of(
    store: Store, schema: SchemaLike | None, columns: Sequence[str] | None, options: dict[str, Any]
) -> Any:
    """
    Make a dataset.

    Parameters
    ----------
    store : Store
        The store.
    schema, columns, options
        As `Scan` takes them.

    Returns
    -------
    pyarrow.dataset.Dataset

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    TypeError, ValueError
        An option has the wrong type or value.
    """
    require("pyarrow", "arrow")
    return _class()(Scan(store, schema, columns, **options))


def restored(scan: Scan, condition: Any) -> Any:
    """
    Make a dataset that was pickled.

    Parameters
    ----------
    scan : Scan
        What it reads.
    condition : pyarrow.compute.Expression or None
        Its filter.

    Returns
    -------
    pyarrow.dataset.Dataset
    """
    return _class()(scan, condition)


@functools.cache
def _class() -> Any:
    pyarrow = require("pyarrow", "arrow")
    datasets = require("pyarrow.dataset", "arrow")
    filesystems = require("pyarrow.fs", "arrow")

    base: Any = datasets.UnionDataset

    class DbnDataset(base):  # type: ignore[misc]
        """
        DBN data that is read when it is scanned.

        Parameters
        ----------
        scan : Scan
            What it reads.
        condition : pyarrow.compute.Expression, optional
            What its rows have to meet.
        """

        def __init__(self, scan: Scan, condition: Any = None) -> None:
            # What goes past the methods here, into Arrow's own, ends in an error: it would look
            # for this file.
            file_format, system = datasets.IpcFileFormat(), filesystems.LocalFileSystem()
            part = file_format.make_fragment(NO_FILE, system)
            only = datasets.FileSystemDataset([part], scan.schema, file_format, system)
            super().__init__(scan.schema, [only])
            self._scan = scan
            self._condition = condition

        def __reduce__(self) -> Any:
            return restored, (self._scan, self._condition)

        def __repr__(self) -> str:
            where = "" if self._condition is None else f" where {self._condition}"
            return f"<DbnDataset of {self._scan.store!r}{where}>"

        @property
        def schema(self) -> Any:
            return self._scan.schema

        def filter(self, expression: Any) -> Any:
            return DbnDataset(self._scan, self._with(expression))

        def _with(self, condition: Any) -> Any:
            own = self._condition
            if own is None or condition is None:
                return condition if own is None else own
            return own & condition

        def scanner(
            self,
            columns: Any = None,
            filter: Any = None,  # its name in Arrow
            batch_size: int = BATCH_SIZE,
            batch_readahead: int = 16,
            fragment_readahead: int = 4,
            fragment_scan_options: Any = None,
            use_threads: bool = True,
            cache_metadata: bool = True,
            memory_pool: Any = None,
        ) -> Any:
            condition = self._with(filter)
            given = self.schema.names if columns is None else columns
            schema, batches = self._read(given, condition)
            return datasets.Scanner.from_batches(
                pyarrow.RecordBatchReader.from_batches(schema, batches), columns=given,
                filter=condition, batch_size=batch_size, batch_readahead=batch_readahead,
                fragment_readahead=fragment_readahead, use_threads=use_threads,
                memory_pool=memory_pool,
            )  # fmt: skip

        def _read(self, columns: Any, condition: Any) -> tuple[Any, Iterator[Any]]:
            # what a scanner for these columns and this condition takes
            scan, bounds = self._scan, Bounds()
            names = _needed(scan, columns, condition)
            if condition is not None:
                bounds = _Asked(datasets, scan, condition).bounds()
            schema = pyarrow.schema([scan.schema.field(name) for name in names])
            return schema, scan.read(names, bounds)

        def to_batches(
            self,
            columns: Any = None,
            filter: Any = None,
            batch_size: int = BATCH_SIZE,
            **options: Any,
        ) -> Iterator[Any]:
            # a scanner of Arrow's reads up to 1 GiB ahead of whoever takes its batches
            condition = self._with(filter)
            given = self.schema.names if columns is None else columns
            schema, batches = self._read(given, condition)

            def scanner(batches: list[Any]) -> Any:
                return datasets.Scanner.from_batches(
                    batches, schema=schema, columns=given, filter=condition, batch_size=batch_size
                )

            def found() -> Iterator[Any]:
                for batch in batches:
                    for part in scanner([batch]).to_batches():
                        if part.num_rows:
                            yield part

            scanner([])  # says what is wrong with the columns
            return found()

        def head(
            self, num_rows: int, columns: Any = None, filter: Any = None, **options: Any
        ) -> Any:
            given = self.schema.names if columns is None else columns
            found, left = [], num_rows
            for batch in self.to_batches(given, filter, **options) if left > 0 else ():
                found.append(batch[:left])
                left -= batch.num_rows
                if left <= 0:
                    break
            nothing = datasets.Scanner.from_batches([], schema=self.schema, columns=given)
            return pyarrow.Table.from_batches(found, nothing.projected_schema)

        def count_rows(self, filter: Any = None, **options: Any) -> int:
            n: int = self.scanner([], filter, **options).count_rows()
            return n

        def get_fragments(self, filter: Any = None) -> Any:
            raise NotImplementedError("it has no fragments; Store.parts divides the data")

        def replace_schema(self, schema: Any) -> Any:
            raise NotImplementedError("its schema follows from the data and the options")

        def _scanner_options(self, options: Any) -> Any:
            raise TypeError(f"Arrow {NO_FILE}")  # Arrow asks for them, not for a scanner

        def sort_by(self, sorting: Any, **options: Any) -> Any:
            return _in_memory(self).sort_by(sorting, **options)

        def join(self, right_dataset: Any, *args: Any, **options: Any) -> Any:
            return _in_memory(self).join(_in_memory(right_dataset), *args, **options)

        def join_asof(self, right_dataset: Any, *args: Any, **options: Any) -> Any:
            return _in_memory(self).join_asof(_in_memory(right_dataset), *args, **options)

    def _in_memory(dataset: Any) -> Any:
        if not isinstance(dataset, DbnDataset):
            return dataset
        return datasets.InMemoryDataset(dataset.to_table().unify_dictionaries())

    return DbnDataset


def _needed(scan: Scan, columns: Any, condition: Any) -> list[str]:
    # Which columns the columns asked for and a filter are made of. An expression tells by its
    # text alone: a name in it that means something else costs a column that nobody looks at.
    names: list[str] = scan.schema.names
    texts = [str(value) for value in columns.values()] if isinstance(columns, dict) else []
    if condition is not None:
        texts.append(str(condition))
    if any("FieldPath" in text for text in texts):  # by its number
        return names
    asked = () if isinstance(columns, dict) else set(columns)
    found = [name for name in names if name in asked or any(name in text for text in texts)]
    return found or [scan.index]


class _Asked:
    """
    What Arrow says of a filter.

    Parameters
    ----------
    datasets : module
        pyarrow.dataset.
    scan : Scan
        What it is to filter.
    condition : pyarrow.compute.Expression
        The filter.
    """

    def __init__(self, datasets: Any, scan: Scan, condition: Any) -> None:
        self._datasets = datasets
        self._pyarrow = require("pyarrow", "arrow")
        self._scan = scan
        self._condition = condition
        self._text = str(condition)
        # what Arrow 18 says of a null in a dictionary is wrong, and the values are the same
        types = self._pyarrow.types
        self._schema = self._pyarrow.schema(
            [
                field.with_type(field.type.value_type) if types.is_dictionary(field.type) else field
                for field in scan.schema
            ]
        )
        # no file of this format is ever opened
        self._format = datasets.IpcFileFormat()
        self._system = require("pyarrow.fs", "arrow").LocalFileSystem()

    def bounds(self) -> Bounds:
        """
        Find what holds for all that passes.

        Returns
        -------
        Bounds

        Raises
        ------
        pyarrow.ArrowInvalid
            The filter is none of these columns.
        """
        self._possible([self._datasets.scalar(True)], self._scan.schema)  # says what is wrong
        try:
            self._possible([self._datasets.scalar(True)])
        except self._pyarrow.ArrowException:  # it is about the dictionary itself
            return Bounds()
        found = Bounds()
        for name, narrowed in (
            (self._scan.index, self._by_time),
            (ID, functools.partial(self._by_ids, ID, 32)),
            (PUBLISHER, functools.partial(self._by_ids, PUBLISHER, 16)),
            (SYMBOL, self._by_symbols),
        ):
            if name in self._scan.schema.names and (
                name in self._text or "FieldPath" in self._text
            ):
                found &= self._narrowed(name, narrowed)
        return found

    def _narrowed(self, name: str, narrowed: Callable[[], Bounds]) -> Bounds:
        # Arrow may not be able to compare all that a column can hold with what the filter names
        # without a loss: it raises then, and the filter is asked row by row
        try:
            if self._possible([self._datasets.field(name).is_null()]):
                return Bounds()
            return narrowed()
        except self._pyarrow.ArrowInvalid:
            return Bounds()

    def _possible(self, guarantees: Sequence[Any], schema: Any = None) -> list[int]:
        # those of which Arrow does not say that no row can pass
        parts = [
            self._format.make_fragment(str(number), self._system, guarantee)
            for number, guarantee in enumerate(guarantees)
        ]
        all_of_them = self._datasets.FileSystemDataset(
            parts, self._schema if schema is None else schema, self._format, self._system
        )
        return [int(part.path) for part in all_of_them.get_fragments(self._condition)]

    def _between(self, name: str) -> Callable[[int, int], Any]:
        # the guarantee that a column of integers or times is in a half-open range
        kind = self._scan.schema.field(name).type
        field = self._datasets.field(name)
        is_time = self._pyarrow.types.is_timestamp(kind)
        plain = self._pyarrow.int64() if is_time else kind

        def between(low: int, high: int) -> Any:
            first, last = (
                self._pyarrow.scalar(value, plain).cast(kind) for value in (low, high - 1)
            )
            return (field >= first) & (field <= last)

        return between

    def _by_time(self) -> Bounds:
        between = self._between(self._scan.index)
        kind = self._scan.schema.field(self._scan.index).type
        end = 2**63
        if not self._pyarrow.types.is_timestamp(kind):
            end = self._end_of_integers(between)
        if not self._possible([between(0, end)]):
            return Bounds(end=0)
        start = _last(0, end, lambda at: not self._possible([between(0, at)]))
        last = _first(start, end, lambda at: not self._possible([between(at, end)]))
        return Bounds(start or None, None if last == end else last)

    def _end_of_integers(self, between: Callable[[int, int], Any]) -> int:
        # A number of the filter may be signed: Arrow compares as such, and no row can be above.
        try:
            self._possible([between(0, 2**64)])
        except self._pyarrow.ArrowInvalid:
            return 2**63
        return 2**64

    def _by_ids(self, name: str, n_bits: int) -> Bounds:
        between = self._between(name)
        found = self._possible([between(0, 1 << n_bits)]) and [0]
        for bit in reversed(range(n_bits)):
            halves = [at for low in found for at in (low, low + (1 << bit))]
            passed = self._possible([between(low, low + (1 << bit)) for low in halves])
            found = [halves[number] for number in passed]
            if len(found) > MOST_IDS:
                return Bounds()
        return of_ids(name, found)

    def _by_symbols(self) -> Bounds:
        symbols = symbols_in(self._scan.store)
        if symbols is None or len(symbols) > MOST_SYMBOLS:
            return Bounds()
        field = self._datasets.field(SYMBOL)
        found = self._possible([field == self._pyarrow.scalar(symbol) for symbol in symbols])
        if len(found) == len(symbols):
            return Bounds()
        return Bounds(symbols=frozenset(symbols[number] for number in found))


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    # the highest number for which it holds; it does for all below that, and counts as if at `low`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    # the lowest number for which it holds; it does for all above that, and counts as if at `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
