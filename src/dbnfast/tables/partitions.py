"""Rows distributed to the Parquet files of a folder, by the values of some columns."""

from __future__ import annotations

import contextlib
from collections import Counter, OrderedDict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import numpy as np

from dbnfast._util.atomic import native
from dbnfast.enums import UNDEF_TIMESTAMP, one_of
from dbnfast.tables.options import ID
from dbnfast.tables.symbols import SYMBOL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast._typing import Codes, Column

DATE: Final = "date"
SCHEMA: Final = "schema"
MADE_UP: Final = (DATE, SCHEMA)  # which no column has
KNOWN: Final = (DATE, SYMBOL, "publisher_id", ID, SCHEMA)
NONE: Final = "__HIVE_DEFAULT_PARTITION__"  # what stands for no value
DAY: Final = 86_400 * 10**9  # ns
FEW: Final = 1 << 20  # values that are worth a table
MOST_OPEN: Final = 64  # files
ROOM: Final = 64 << 20  # bytes of rows that wait for more of their folder


def partition_names(partition_by: Sequence[str] | str) -> tuple[str, ...]:
    """
    Check what makes the folders.

    Parameters
    ----------
    partition_by : str or sequence of str
        As `Store.to_parquet` takes it.

    Returns
    -------
    tuple of str

    Raises
    ------
    TypeError, ValueError
        It is not what it should be.
    """
    names = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"one of partition_by is {name!r}, expected a str")
        if name not in KNOWN:
            raise ValueError(f"partition_by cannot be {name!r}{one_of(name, KNOWN)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"partition_by is {partition_by!r}, expected one or more names, each once")
    return tuple(names)


class Folders:
    """
    The folders that rows belong to, in the layout of Hive: ``date=2026-01-05/symbol=ESH6``.

    Parameters
    ----------
    by : sequence of str
        What makes them.
    schema : str
        What the rows are.

    Attributes
    ----------
    names : list of str
        The folders by their number.
    """

    def __init__(self, by: Sequence[str], schema: str) -> None:
        self.names: list[str] = []
        self._by = by
        self._schema = schema
        self._numbers: dict[str, int] = {}

    def of(self, batch: Any) -> Codes:
        """
        Find the folder of each row.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            The rows; the index timestamp comes first.

        Returns
        -------
        ndarray of int32
            Their numbers.
        """
        codes: Column = np.zeros(batch.num_rows, np.int64)
        names = [""]
        for name in self._by:
            own, texts = _dense(*self._values(name, batch))
            codes, found = _dense(codes * len(texts) + own, None)
            names = [
                f"{names[int(code) // len(texts)]}{name}={texts[int(code) % len(texts)]}/"
                for code in found
            ]
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in names]
        self.names = [*self._numbers]
        return np.array(numbers, np.int32)[codes]

    def _values(self, name: str, batch: Any) -> tuple[Column, Any]:
        # for each row a number, and what gives the text of a number
        if name == SCHEMA:
            return np.zeros(batch.num_rows, np.int64), lambda _: self._schema
        if name == DATE:
            return _days(batch.column(0)), lambda day: str(np.datetime64(day, "D"))
        if name != SYMBOL:
            return batch.column(name).to_numpy().astype(np.int64), str
        column = batch.column(SYMBOL)
        labels = column.dictionary.to_pylist()
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return codes, labels.__getitem__


def _days(times: Any) -> Column:
    # the UTC date of each, -1 where undefined
    import pyarrow  # whoever made the column has it

    if pyarrow.types.is_timestamp(times.type):
        stamps = times.view(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        return np.asarray(stamps // DAY)
    stamps = times.to_numpy()
    return np.where(stamps == UNDEF_TIMESTAMP, -1, (stamps // np.uint64(DAY)).astype(np.int64))


def _dense(values: Column, text_of: Any) -> tuple[Column, list[Any]]:
    # the values as numbers from 0, and the values that there are, or their texts
    if not len(values):
        return values, []
    low, high = int(values.min()), int(values.max())
    if high - low < FEW:
        there = np.zeros(high - low + 1, bool)
        there[values - low] = True
        found = np.flatnonzero(there) + low
        codes = (np.cumsum(there) - 1)[values - low]
    else:
        found, codes = np.unique(values, return_inverse=True)
    if text_of is None:
        return codes, found.tolist()
    texts = ["" if value < 0 else text_of(value) for value in found.tolist()]
    return codes, [quote(text, safe="") or NONE for text in texts]


class Spread:
    """
    Writes each row to a file in its folder.

    Rows wait until many of a folder are there, and a few files at a time are open: the one that
    was written to the longest ago is ended where there are too many, and its folder gets another
    when more comes.

    Parameters
    ----------
    tree : Tree
        Where the files go.
    form : Form
        What the files look like.
    by : sequence of str
        What makes the folders.
    stem : str
        What the names of the files begin with.
    """

    def __init__(self, tree: Any, form: Any, by: Sequence[str], stem: str = "part") -> None:
        self._tree = tree
        self._form = form
        self._by = by
        self._stem = stem
        self._folders: Folders | None = None
        self._waiting: list[tuple[Any, Codes]] = []  # tables, and the folders of their rows
        self._n_bytes = 0
        self._open: OrderedDict[int, tuple[ExitStack, Any]] = OrderedDict()
        self._n_files: Counter[int] = Counter()

    def open(self) -> None:
        """Begin; the form knows the schema."""
        self._folders = Folders(self._by, self._form.schema_name)

    def write(self, batch: Any) -> int:
        """
        Write rows.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            The rows, with what makes the folders.

        Returns
        -------
        int
            How many there are.
        """
        assert self._folders is not None
        if batch.num_rows:
            table = self._form.table(batch)
            self._waiting.append((table, self._folders.of(batch)))
            self._n_bytes += table.nbytes
            if self._n_bytes > ROOM:
                self._spill(ROOM // 2)
        return int(batch.num_rows)

    def _spill(self, leave: int) -> None:
        # write the folders that have most rows, until no more than `leave` bytes wait
        table = self._form.pyarrow.concat_tables([table for table, _ in self._waiting])
        table = table.unify_dictionaries()
        numbers = np.concatenate([own for _, own in self._waiting])
        counts = np.bincount(numbers)
        n_left, most_left = len(numbers), leave * len(numbers) // self._n_bytes
        chosen = np.zeros(len(counts), bool)
        for number in np.argsort(-counts, kind="stable").tolist():
            if n_left <= most_left:
                break
            chosen[number] = True
            n_left -= counts[number]
        rows = np.flatnonzero(chosen[numbers])
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        ends = np.cumsum(np.where(chosen, counts, 0))
        ready = table.take(rows)
        rest = np.flatnonzero(~chosen[numbers])
        self._waiting, self._n_bytes = [], 0
        if len(rest):
            kept = table.take(rest)
            self._waiting, self._n_bytes = [(kept, numbers[rest])], kept.nbytes
        del table
        there = [n for n in np.flatnonzero(chosen).tolist() if counts[n]]
        for number in sorted(there, key=lambda n: n not in self._open):
            first, n_rows = ends[number] - counts[number], counts[number]
            self._file(number).write_table(ready.slice(first, n_rows))

    def _file(self, number: int) -> Any:
        assert self._folders is not None
        found = self._open.pop(number, None)
        if found is None:
            if len(self._open) >= MOST_OPEN:
                self._end(*self._open.popitem(last=False)[1])
            name = f"{self._folders.names[number]}{self._stem}-{self._n_files[number]:04}.parquet"
            self._n_files[number] += 1
            stack = ExitStack()
            self._open[number] = (stack, None)  # closed whatever happens
            file = stack.enter_context(self._tree.file(name))
            out = stack.enter_context(native(file, self._form.pyarrow))
            found = (stack, self._form.writer(out))
        self._open[number] = found
        return found[1]

    def _end(self, stack: ExitStack, writer: Any) -> None:
        with stack:
            self._form.end(writer)

    def finish(self) -> None:
        """Write what waits, and end all files."""
        if self._waiting:
            self._spill(0)
        while self._open:
            self._end(*self._open.popitem(last=False)[1])

    def close(self) -> None:
        """Close what an error left open."""
        while self._open:
            stack, writer = self._open.popitem(last=False)[1]
            with contextlib.suppress(Exception), stack:  # the error before is the one to tell
                if writer is not None:
                    writer.close()
