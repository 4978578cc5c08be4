"""Records: a run of whole records in one buffer, and the arrays that are views of it."""

from __future__ import annotations

import operator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, overload

import numpy as np

from dbnfast._core.record import RecordIterator
from dbnfast._core.run import Run, add_view, part_of_run, stretch_of_run
from dbnfast._core.scan import index, skip
from dbnfast._util.arguments import check_upgrade
from dbnfast._util.buffers import read_only, sealed
from dbnfast.enums import DBN_VERSION, SCHEMA_RTYPES, RType, Schema
from dbnfast.errors import MixedRecordsError
from dbnfast.layouts.dtypes import as_rtype, rtype_key, stretched
from dbnfast.layouts.programs import SIZES, program, upgraded
from dbnfast.layouts.table import HEADER_DTYPE, LAYOUTS_BY_RTYPE, layout_by_size, layout_for
from dbnfast.records.filters import Filter, rtypes_of
from dbnfast.records.messages import record_table
from dbnfast.records.parallel import deal, survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from dbnfast._typing import Array, Bytes, Schemas
    from dbnfast._util.times import Time
    from dbnfast.codec.metadata import Metadata
    from dbnfast.layouts.fields import Layout
    from dbnfast.records.messages import Record
    from dbnfast.records.parallel import Route

    Group = tuple[int, int, int]

INDEX_EVERY: Final = 512  # records between two entries of the index of a mixed run


class Records(Run):
    """
    A run of whole records in one buffer.

    Get Records from `scan`, `iter_decode`, `Decoder.read` or other Records, not from the class.
    They are immutable, keep their buffer alive, and return views of it.

    Notes
    -----
    ``len()`` is the number of records. Iterating gives `Record` objects, which own their bytes
    and are upgraded to version 3; `objects` can leave them as they are. Arrays keep the layout
    of the stream.
    """

    __module__ = "dbnfast"  # where users find it

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("Records come from scan(), iter_decode() or a Decoder")

    def __len__(self) -> int:
        return self._n

    @property
    def nbytes(self) -> int:
        """Bytes of all records."""
        return self._nbytes

    @property
    def metadata(self) -> Metadata | None:
        """The header of the stream; None for a fragment."""
        metadata: Metadata | None = self._metadata
        return metadata

    @property
    def version(self) -> int:
        """The DBN version of the stream, 1 to 3."""
        return self._version

    @property
    def ts_out(self) -> bool:
        """Whether each record ends with the time at which the gateway sent it."""
        return bool(self._ts_out)

    @property
    def counts(self) -> dict[RType | int, int]:
        """Number of records by rtype; a plain int for an rtype without a layout."""
        counts: dict[RType | int, int] = {}
        for rtype, _, n in self._groups:
            key = rtype_key(rtype)
            counts[key] = counts.get(key, 0) + n
        return counts

    @property
    def data(self) -> memoryview:
        """The records' bytes: a read-only view."""
        view = memoryview(self._owner)
        return view[self._start : self._start + self._nbytes].toreadonly()

    def tobytes(self) -> bytes:
        """
        Copy the records' bytes.

        Returns
        -------
        bytes
        """
        return bytes(self.data)

    def __bytes__(self) -> bytes:
        return self.tobytes()

    def _array_other(self, schema: Schema | RType | str | None) -> Array:
        # what `array` does where the records are not all alike, or their dtype is not known yet
        if schema is None:
            return self._only_array()
        rtypes, dtype = self._selection(schema)
        groups = [group for group in self._groups if group[0] in rtypes]
        return self._gather(groups) if groups else np.ndarray((0,), dtype, b"")

    def _only_array(self) -> Array:
        # without a schema: the one type there is, or nothing
        groups = self._groups
        if not groups:
            schema = None if self.metadata is None else self.metadata.schema
            if schema is None:
                return np.ndarray((0,), HEADER_DTYPE, b"")
            return np.ndarray((0,), self._dtype_of(SCHEMA_RTYPES[schema]), b"")
        rtypes = {rtype for rtype, _, _ in groups}
        if len(rtypes) > 1 or not rtypes <= LAYOUTS_BY_RTYPE.keys():
            named = ", ".join(f"{n} {_name(key)}" for key, n in self.counts.items())
            raise MixedRecordsError(
                f"one array was asked for, the records are {named}; name a schema, or use split()",
                counts=self.counts,
            )
        return self._gather(list(groups))

    def _dtype_of(self, rtype: int) -> np.dtype[np.void]:
        layout = layout_for(rtype, self._version)
        assert layout is not None
        return layout.dtype(self.ts_out)

    def _selection(self, schema: Schema | RType | str) -> tuple[frozenset[int], np.dtype[np.void]]:
        # the rtypes that a schema selects, and the dtype where there are none of them
        own = None if self.metadata is None else self.metadata.schema
        return rtypes_of(schema, own), self._dtype_of(as_rtype(schema)[1])

    def _gather(self, groups: list[Group]) -> Array:
        # the records of some groups, of one layout family, as one array
        ts_out = self.ts_out
        layouts = [self._layout_of(group) for group in groups]
        target = max(layouts, key=lambda layout: layout.size)
        size = groups[0][1]
        total = sum(n for _, _, n in groups)
        dtype = target.dtype(ts_out)
        alike = all(group[1] == size for group in groups) and total == self._n
        if alike:
            if size == dtype.itemsize:
                if self._size:
                    add_view(self._rtype, size, ts_out, dtype)  # the next one is quicker
            elif ts_out:
                dtype = stretched(dtype, size)
            # frombuffer holds the export, so that nobody can move or free the memory; an
            # ndarray of a memoryview would hold its exporter only
            if dtype.itemsize == size:
                return np.frombuffer(self._owner, dtype, total, self._start)
            raw = np.frombuffer(self._owner, np.uint8, self._nbytes, self._start)
            return np.ndarray((total,), dtype, raw, 0, (size,))
        block = np.empty(total * dtype.itemsize, np.uint8)
        routes = [
            (rtype, size, 0, dtype.itemsize, None if own is target else program(own, target))
            for (rtype, size, _), own in zip(groups, layouts, strict=True)
        ]
        deal(self, routes, [block])
        return read_only(block, dtype)

    def _layout_of(self, group: Group) -> Layout:
        layout = layout_by_size(group[0], group[1], self.ts_out)
        assert layout is not None  # the scan refused what is shorter than its struct
        return layout

    def split(self) -> dict[RType | int, Array | Bytes]:
        """
        Return the records of all types, as one array for each.

        Returns
        -------
        dict
            Arrays as `array` returns them, by rtype and in the order of the rtypes, made in one
            pass. For an rtype without a layout, the key is a plain int and the array holds the
            raw bytes, uint8.
        """
        if self._size:
            key = rtype_key(self._rtype)
            if isinstance(key, RType):
                return {key: self.array(key)}
            return {key: np.frombuffer(self.data, np.uint8)}
        routes: list[Route] = []
        blocks: list[Bytes] = []
        dtypes: dict[RType | int, np.dtype[Any]] = {}
        for key in self.counts:
            groups = [group for group in self._groups if group[0] == key]
            slot = len(blocks)
            if isinstance(key, RType):
                layouts = [self._layout_of(group) for group in groups]
                target = max(layouts, key=lambda layout: layout.size)
                dtypes[key] = target.dtype(self.ts_out)
                sizes = [dtypes[key].itemsize] * len(groups)
                recipes = [None if own is target else program(own, target) for own in layouts]
            else:
                dtypes[key] = np.dtype(np.uint8)
                sizes = [size for _, size, _ in groups]
                recipes = [None] * len(groups)
            total = 0
            for (rtype, size, n), n_out, recipe in zip(groups, sizes, recipes, strict=True):
                routes.append((rtype, size, slot, n_out, recipe))
                total += n * n_out
            blocks.append(np.empty(total, np.uint8))
        deal(self, routes, blocks)
        return {
            key: read_only(block, dtype)
            for (key, dtype), block in zip(dtypes.items(), blocks, strict=True)
        }

    def runs(self) -> Iterator[Records]:
        """
        Iterate over stretches of records with one type and length, in the order of the stream.

        Yields
        ------
        Records
            Not a copy; its `array()` is a view.
        """
        offset = 0
        while offset < self._nbytes:
            stretch = stretch_of_run(self, offset)
            yield stretch
            offset += stretch._nbytes

    def __iter__(self) -> Iterator[Record]:
        return self.objects()

    def objects(self, *, upgrade: bool = True) -> Iterator[Record]:
        """
        Iterate over the records as objects.

        Parameters
        ----------
        upgrade : bool
            Whether older layouts are upgraded to version 3.

        Returns
        -------
        iterator of Record
            Each owns a copy of its bytes.
        """
        return RecordIterator(self, record_table(), SIZES, upgrade)

    def upgrade(self, to_version: int = DBN_VERSION) -> Records:
        """
        Bring all records, and the metadata, to a newer version.

        Parameters
        ----------
        to_version : int
            2 or 3.

        Returns
        -------
        Records
            The same object if nothing is older. Otherwise new Records, which share the bytes if
            no record changes, and else are a copy.

        Raises
        ------
        ValueError
            The stream is newer than that.
        """
        to_version = check_upgrade(self._version, to_version)
        metadata = None if self.metadata is None else self.metadata.upgrade(to_version)
        routes: list[Route] = []
        total, changed = 0, False
        for group in self._groups:
            rtype, size, n = group
            own = layout_by_size(rtype, size, self.ts_out)
            target = own if own is None else upgraded(rtype, own, to_version)
            recipe = None
            if own is not None and target is not None and target is not own:
                recipe, size, changed = program(own, target), target.itemsize(self.ts_out), True
            routes.append((rtype, group[1], 0, size, recipe))
            total += n * size
        if not changed:
            if to_version == self._version:
                return self
            return self._make(self._owner, self._start, self._nbytes, to_version, metadata)
        block = np.empty(total, np.uint8)
        deal(self, routes, [block])
        return self._make(sealed(block), 0, total, to_version, metadata)

    def filter(
        self,
        schema: Schemas | None = None,
        *,
        instrument_ids: Iterable[int] | int | None = None,
        publishers: Iterable[int] | int | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Records:
        """
        Select records.

        Parameters
        ----------
        schema : Schema, RType or str, or a sequence of them, optional
            The types to keep.
        instrument_ids, publishers : int or iterable of int, optional
            The ids to keep.
        start, end : int, str, datetime64, datetime, date or pandas.Timestamp, optional
            Half-open range of the index timestamp; an int is ns since 1970-01-01 UTC, text ISO
            8601, a time without a zone UTC, a date its midnight. Where either is given, records
            whose timestamp is undefined do not pass.

        Returns
        -------
        Records
            A copy of what passes, in the stream's order; the same object where all passes.

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type or value.
        """
        own = None if self.metadata is None else self.metadata.schema
        return self._passing(Filter(own, schema, instrument_ids, publishers, start, end))

    def _passing(self, wanted: Filter) -> Records:
        block = np.empty(self._nbytes, np.uint8)
        n, n_bytes, *_ = wanted.select(self.data, block, self.ts_out)
        if n == self._n:
            return self
        if n_bytes < self._nbytes // 2:
            block = block[:n_bytes].copy()  # gives back what was reserved for all
        return self._make(sealed(block), 0, n_bytes, self._version, self._metadata)

    def _make(
        self, owner: memoryview | bytes, start: int, n_bytes: int, version: int, metadata: object
    ) -> Self:
        made, _ = survey(type(self), owner, start, start + n_bytes, version, self.ts_out, metadata)
        return made

    @overload
    def __getitem__(self, key: slice) -> Records: ...
    @overload
    def __getitem__(self, key: SupportsIndex) -> Record: ...
    def __getitem__(self, key: slice | SupportsIndex) -> Records | Record:
        if isinstance(key, slice):
            first, last, step = key.indices(self._n)
            if step == 1:
                return self._part(first, max(first, last))
            return self._picked(range(first, last, step))
        position = operator.index(key)
        if position < 0:
            position += self._n
        if not 0 <= position < self._n:
            raise IndexError(f"record {operator.index(key)} of {self._n}")
        return next(iter(self._part(position, position + 1)))

    def _part(self, first: int, last: int) -> Records:
        if first == 0 and last == self._n:
            return self
        if self._size:
            return part_of_run(self, first, last - first)
        start = self._offset_of(first)
        end = self._offset_of(last)
        return self._make(
            self._owner, self._start + start, end - start, self._version, self._metadata
        )

    def _offset_of(self, position: int) -> int:
        # where a record of a mixed run begins: the nearest entry of the index, then a walk
        if position >= self._n:
            return self._nbytes
        offsets: np.ndarray[tuple[int], np.dtype[np.int64]] | None = self._offsets
        if offsets is None:
            offsets = np.empty(-(-self._n // INDEX_EVERY), np.int64)
            index(self.data, 0, INDEX_EVERY, offsets, SIZES, self.ts_out)
            self._offsets = offsets
        entry, walk = divmod(position, INDEX_EVERY)
        return skip(self.data, int(offsets[entry]), walk, SIZES, self.ts_out)

    def _picked(self, positions: range) -> Records:
        # every step-th record, as a copy
        if self._size:
            rows = np.frombuffer(self.data, np.dtype((np.void, self._size)))
            picked = rows[positions.start :: positions.step][: len(positions)]
            raw = picked.tobytes()
        else:
            starts = np.empty(self._n, np.int64)
            index(self.data, 0, 1, starts, SIZES, self.ts_out)
            ends = np.append(starts[1:], self._nbytes)
            data = self.data
            raw = b"".join(data[starts[i] : ends[i]] for i in positions)
        return self._make(raw, 0, len(raw), self._version, self._metadata)

    @classmethod
    def concat(cls, runs: Iterable[Records]) -> Records:
        """
        Join runs of records.

        Parameters
        ----------
        runs : iterable of Records
            At least one; all with the same version and ts_out.

        Returns
        -------
        Records
            A copy, with the metadata of the first; with a single run, that run itself.

        Raises
        ------
        ValueError
            There is none, or they differ in version or ts_out.
        """
        parts = list(runs)
        if not parts:
            raise ValueError("there are no records to join")
        first = parts[0]
        for part in parts:
            if not isinstance(part, Records):
                raise TypeError(f"{type(part).__name__} is no Records")
            if (part._version, part._ts_out) != (first._version, first._ts_out):
                raise ValueError(
                    f"records of version {first.version} and ts_out {first.ts_out} cannot be "
                    f"joined with version {part.version} and ts_out {part.ts_out}; "
                    "upgrade() first"
                )
        if len(parts) == 1:
            return first
        block = np.empty(sum(part._nbytes for part in parts), np.uint8)
        at = 0
        for part in parts:
            block[at : at + part._nbytes] = np.frombuffer(part.data, np.uint8)
            at += part._nbytes
        return first._make(sealed(block), 0, at, first._version, first._metadata)

    def __add__(self, other: object) -> Records:
        if not isinstance(other, Records):
            return NotImplemented
        return Records.concat((self, other))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """
        Export the records, of one type, through the Arrow C stream interface.

        Parameters
        ----------
        requested_schema : capsule, optional
            The Arrow schema that the consumer would like.

        Returns
        -------
        capsule
            A copy: prices as float64, times as ``timestamp[ns, UTC]``, action, side and symbol
            dictionary-encoded, null where undefined. The symbol column is there where the
            metadata has a schema.

        Raises
        ------
        MissingExtraError
            pyarrow is not installed.
        MixedRecordsError
            There are several types; ``filter`` first.
        """
        # by its name: what converts records stands in a layer below this one
        convert = import_module("dbnfast.tables.arrow")
        capsule: object = convert.records_stream(self, requested_schema)
        return capsule

    def __reduce__(self) -> tuple[Any, ...]:
        return Records._restored, (self.tobytes(), self._version, self.ts_out, self._metadata)

    @classmethod
    def _restored(
        cls, raw: bytes, version: int, ts_out: bool, metadata: Metadata | None
    ) -> Records:
        made, _ = survey(Records, raw, 0, len(raw), version, ts_out, metadata)
        if made._nbytes != len(raw):
            raise ValueError(f"{len(raw)} bytes are no whole number of records")
        return made

    def __repr__(self) -> str:
        named = ", ".join(f"{n} {_name(key)}" for key, n in self.counts.items())
        stamped = ", ts_out" if self.ts_out else ""
        return (
            f"<Records: {self._n} records, {self._nbytes} bytes, "
            f"DBN version {self._version}{stamped}{': ' * bool(named)}{named}>"
        )


def _name(key: RType | int) -> str:
    return str(key) if isinstance(key, RType) else f"of rtype {key:#04x}"


def empty_records(version: int, ts_out: bool, metadata: Metadata | None) -> Records:
    """
    Make a run without records.

    Parameters
    ----------
    version : int
        The DBN version.
    ts_out : bool
        Whether records would end in a ts_out.
    metadata : Metadata or None
        The header of the stream.

    Returns
    -------
    Records
    """
    return Records._restored(b"", version, ts_out, metadata)
