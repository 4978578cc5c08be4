"""A stream dealt out to files: by day, symbol or schema."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import numpy as np

from dbnfast._util.atomic import check_free, keep_mode, temporary, writer
from dbnfast._util.times import DAY
from dbnfast._util.trees import Elsewhere, folder_at
from dbnfast._util.urls import is_url, joined
from dbnfast.codec.metadata import mapping_rows, texts_of
from dbnfast.codec.reader import iter_decode
from dbnfast.codec.seekable import SeekableDeflater
from dbnfast.enums import SCHEMA_RTYPES, UNDEF_TIMESTAMP, Compression, RType, Schema
from dbnfast.errors import DecodeError
from dbnfast.layouts.dtypes import rtype_key
from dbnfast.records.deal import dealt, ranked
from dbnfast.records.filters import own_rtypes
from dbnfast.records.headers import index_times, instrument_ids, record_types
from dbnfast.records.records import Records
from dbnfast.symbology.resolver import is_live, resolver, with_mappings

if TYPE_CHECKING:
    from dbnfast._typing import Column, PathLike
    from dbnfast.codec.metadata import Metadata
    from dbnfast.codec.options import OnTruncated
    from dbnfast.codec.reader import Source

    By = Literal["day", "symbol", "schema"]
    Keyed = Iterator[tuple[Any, Records]]

BLOCK: Final = 16 << 20
BUFFERED: Final = 64 << 20  # bytes of parts that wait to be written
OPEN_PARTS: Final = 16  # parts that stay open, with a zstd frame of some MB each
EPOCH: Final = datetime.date(1970, 1, 1)
NO_DAY: Final = -1
MAX_NAME: Final = 240  # bytes of 255; the rest is for what tells equal names apart and the suffix
_SCHEMAS: Final = {int(rtype): schema for schema, rtype in reversed(SCHEMA_RTYPES.items())}


def split(
    source: Source,
    directory: PathLike,
    *,
    by: By = "day",
    compression: Compression | str | None = None,
    force: bool = False,
    on_truncated: OnTruncated = "warn",
    storage_options: Mapping[str, Any] | None = None,
) -> list[Path | Any]:
    """
    Split a DBN file into several.

    Parameters
    ----------
    source : path, URL or readable
        As `iter_decode` takes it; a fragment cannot be split.
    directory : path or URL
        The folder for the parts; created if it does not exist.
    by : {"day", "symbol", "schema"}
        The UTC day of the index timestamp; the symbol that the header's mappings or the
        stream's mapping records give, else the instrument id; the schema.
    compression : {"none", "zstd"}, optional
        Of the parts; None for the source's.
    force : bool
        Whether existing files are replaced.
    on_truncated : {"warn", "raise", "ignore"}
        As `scan` takes it.
    storage_options : mapping, optional
        What the filesystems of URLs are made with, that of the source as that of the folder.

    Returns
    -------
    list of Path
        The parts, in the order in which their first records come: whole DBN files of the
        source's version, with the metadata narrowed to what is in them. Of a folder at a
        URL, their URLs, as str.

    Raises
    ------
    DecodeError
        The source is damaged. Then, as after any other error, no part is left behind, and no
        folder that was created for them.
    FileExistsError
        A part is there, and `force` is not given.
    MissingExtraError
        There is a URL, and fsspec is not installed.
    NotADirectoryError
        `directory` is a file.
    OSError
        A part cannot be written, or not be sent to its URL.
    ValueError
        An argument has the wrong type or value.

    Notes
    -----
    Names are ``<dataset>-<YYYYMMDD>.<schema>.dbn``, ``<dataset>.<schema>.<symbol>.dbn`` and
    ``<dataset>.<schema>.dbn``, with ``.zst`` behind compressed ones. What file systems do not
    like in a symbol is percent-encoded, and what would be too long is cut; names that are then
    equal, but for case, end in ``~2`` and so on. The mapping records of live streams are records
    as any other: a part of another day or schema does not have them. What they say is in the
    headers of all parts, by whole days; of a readable, what the first 16 MiB of records
    say. A compressed part is seekable, as `Encoder` writes it; its frames are small where there
    are many parts.

    Parts at URLs are temporary files of the system until all are complete, and are then sent,
    several small ones at the same time. If one cannot be sent, those that were sent are removed
    again, but for those that have replaced a file, by `force`.
    """
    options: dict[str, Any] = {}
    if isinstance(source, str | os.PathLike) and is_url(source):
        options["storage_options"] = storage_options
    with iter_decode(source, max_bytes=BLOCK, on_truncated=on_truncated, **options) as reader:
        if compression is None:
            compression = reader.compression
        return split_records(
            reader,
            reader.metadata,
            directory,
            by=by,
            compression=compression,
            force=force,
            mappings=mapping_records(source, **options),
            storage_options=storage_options,
        )


def mapping_records(
    source: Source, storage_options: Mapping[str, Any] | None = None
) -> Iterator[Records]:
    """
    Read the mapping records of a live stream, before it is read for everything else.

    Parameters
    ----------
    source : path or readable
        Of a readable, or a pipe, nothing can be read before.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Yields
    ------
    Records
        Up to the stream's end, or to damage, which whoever reads the rest will find.
    """
    if not isinstance(source, str | os.PathLike):
        return
    if is_url(source) or os.path.isfile(os.path.expanduser(source)):
        yield from live_mappings(source, storage_options)


def live_mappings(
    source: Source, storage_options: Mapping[str, Any] | None = None
) -> Iterator[Records]:
    """
    Read the mapping records of a live stream, and nothing else.

    Parameters
    ----------
    source : path or readable
        What can be read once more.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Yields
    ------
    Records
        As `mapping_records` gives them.
    """
    with (
        contextlib.suppress(DecodeError),
        iter_decode(
            source,
            schema=RType.SYMBOL_MAPPING,
            on_truncated="ignore",
            storage_options=storage_options,
        ) as reader,
    ):
        if reader.metadata is not None and is_live(reader.metadata):
            yield from reader


def split_records(
    blocks: Iterable[Records],
    metadata: Metadata | None,
    directory: PathLike,
    *,
    by: By = "day",
    compression: Compression | str = "none",
    force: bool = False,
    mappings: Iterable[Records] = (),
    storage_options: Mapping[str, Any] | None = None,
) -> list[Path | Any]:
    """
    Write records to several files.

    Parameters
    ----------
    blocks : iterable of Records
        The records, block by block.
    metadata : Metadata or None
        Their header; None cannot be split.
    directory, by, compression, force
        As `split` takes them.
    mappings : iterable of Records
        The mapping records of a live stream. Those of the first block count in any case.
    storage_options : mapping, optional
        What the filesystem of a URL is made with.

    Returns
    -------
    list of Path or str
        As `split` gives them.

    Raises
    ------
    FileExistsError
        A part is there, and `force` is not given.
    NotADirectoryError
        `directory` is a file.
    OSError
        A part cannot be written, or not be sent to its URL.
    ValueError
        An argument has the wrong type or value.
    """
    if by not in _SPLITTERS:
        raise ValueError(f"by is {by!r}, expected 'day', 'symbol' or 'schema'")
    if metadata is None:
        raise ValueError("records without metadata cannot be split into files")
    blocks = iter(blocks)
    first = list(islice(blocks, 1))
    if is_live(metadata):
        metadata = with_mappings(metadata, chain(mappings, first))
    splitter: _ByDay | _BySymbol | _BySchema = _SPLITTERS[by](metadata)
    folder = folder_at(directory, storage_options)
    suffix = ".dbn.zst" if Compression(compression) == Compression.ZSTD else ".dbn"
    with contextlib.ExitStack() as stack:
        there = None
        if isinstance(folder, Elsewhere):
            import tempfile  # what it brings along nothing else needs

            there = folder
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbnfast-")))
        elif folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is no directory", os.fspath(directory))
        parts = _Parts(folder, suffix, Compression(compression), force, there)
        stack.enter_context(_there(folder))
        try:
            for records in chain(first, blocks):
                for key, part in splitter.parts(records):
                    if key not in parts:
                        parts.begin(key, splitter.name(key), splitter.metadata(key))
                    parts.add(key, part.data)
            paths = parts.finish()
        except BaseException:
            parts.discard()
            raise
    return paths if there is None else [joined(str(directory), path.name) for path in paths]


@contextlib.contextmanager
def _there(folder: Path) -> Iterator[None]:
    # makes a folder; after an error it is gone again, unless something is in it
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


class _Part:
    """A part on its way to its file."""

    def __init__(
        self, target: Path, temporary: Path, metadata: Metadata, compression: Compression
    ) -> None:
        self.target = target
        self.temporary = temporary
        self.header = metadata.encode()
        self.waiting = bytearray()
        self.file: IO[bytes] | None = None
        self.deflater = SeekableDeflater(compression, metadata.ts_out)

    @property
    def n_waiting(self) -> int:
        return len(self.header) + len(self.waiting)

    def write(self) -> None:
        # all of it, so that no part keeps more than the end of its last zstd frame in memory
        if self.file is None:
            self.file = writer(self.temporary, "a", self.target)
            keep_mode(self.target, self.temporary, writing=True)
        if self.header:
            self.file.write(self.deflater.header(self.header))
            self.header = b""
        self.file.write(self.deflater.push(memoryview(self.waiting)))
        self.file.write(self.deflater.cut())
        self.waiting = bytearray()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        self.file = None


class _Parts:
    """Any number of parts with few open files: bytes wait, the most of a part go first."""

    def __init__(
        self,
        folder: Path,
        suffix: str,
        compression: Compression,
        force: bool,
        there: Elsewhere | None = None,
    ) -> None:
        self._folder = folder
        self._elsewhere = there
        self._taken = self._names_there()
        self._suffix = suffix
        self._compression = compression
        self._force = force
        self._parts: dict[Any, _Part] = {}
        self._open: dict[Any, _Part] = {}  # the one written to last comes last
        self._names: set[str] = set()
        self._n_waiting = 0

    def __contains__(self, key: object) -> bool:
        return key in self._parts

    def begin(self, key: Any, name: str, metadata: Metadata) -> None:
        name = name[:MAX_NAME]
        unique, n = name, 1
        while unique.casefold() in self._names:  # some file systems do not tell a from A
            n += 1
            unique = f"{name}~{n}"
        self._names.add(unique.casefold())
        target = self._folder / f"{unique}{self._suffix}"
        self._check_free(target)
        part = _Part(target, temporary(self._folder), metadata, self._compression)
        self._parts[key] = part
        self._n_waiting += part.n_waiting

    def _names_there(self) -> set[str]:
        return set() if self._elsewhere is None else set(self._elsewhere.names(depth=1))

    def _check_free(self, target: Path) -> None:
        if self._elsewhere is None:
            check_free(target, self._force)
        elif not self._force and target.name in self._taken:
            url = self._elsewhere.url(target.name)
            raise FileExistsError(errno.EEXIST, "exists already", url)

    def add(self, key: Any, data: memoryview) -> None:
        self._parts[key].waiting += data
        self._n_waiting += len(data)
        if self._n_waiting > BUFFERED:
            by_size = sorted(self._parts, key=lambda key: -self._parts[key].n_waiting)
            for largest in by_size:
                if self._n_waiting <= BUFFERED // 2:
                    break
                self._write(largest)

    def _write(self, key: Any) -> None:
        part = self._parts[key]
        self._n_waiting -= part.n_waiting
        self._open.pop(key, None)
        if len(self._open) >= OPEN_PARTS:
            self._open.pop(next(iter(self._open))).close()
        self._open[key] = part
        part.write()

    def finish(self) -> list[Path]:
        for key, part in self._parts.items():
            self._write(key)
            assert part.file is not None
            part.file.write(part.deflater.finish())
            self._open.pop(key).close()
        self._taken = self._names_there()
        for part in self._parts.values():
            self._check_free(part.target)
        for part in self._parts.values():
            keep_mode(part.target, part.temporary)
            os.replace(part.temporary, part.target)
        paths = [part.target for part in self._parts.values()]
        if self._elsewhere is not None:
            self._elsewhere.send({path.name: path for path in paths}, self._taken)
        return paths

    def discard(self) -> None:
        for part in self._parts.values():
            with contextlib.suppress(OSError, ValueError):
                if part.file is not None:
                    part.file.close()
            with contextlib.suppress(OSError):
                part.temporary.unlink()


def _groups(records: Records, keys: Column) -> Keyed:
    # each key with its records, in the order in which they first come
    values, ranks = ranked(keys)
    parts = dealt(records, ranks, len(values))
    first = np.empty(len(values), np.intp)
    first[ranks[::-1]] = np.arange(len(ranks))[::-1]  # the lowest place is written last
    for rank in np.argsort(first).tolist():
        yield values[rank].item(), parts[rank]


def _safe(text: str) -> str:
    return quote(text, safe="+=@,")


class _ByDay:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._rows = mapping_rows(metadata)

    def parts(self, records: Records) -> Keyed:
        times = index_times(records)
        days = (times // np.uint64(DAY)).astype(np.int64)
        days[times == UNDEF_TIMESTAMP] = NO_DAY
        return _groups(records, days)

    def name(self, day: int) -> str:
        date = "undated" if day == NO_DAY else f"{_date(day):%Y%m%d}"
        return f"{_dataset(self._metadata)}-{date}.{_schema(self._metadata)}"

    def metadata(self, day: int) -> Metadata:
        header = self._metadata.replace(limit=None)
        if day == NO_DAY:
            return header
        date, start, end = _date(day), day * DAY, (day + 1) * DAY
        if self._metadata.end is not None:
            end = min(end, self._metadata.end)
        start = max(start, self._metadata.start)
        rows = [
            (raw, [own for own in intervals if own[0] <= date < own[1]])
            for raw, intervals in self._rows
        ]
        if start >= end:  # records outside of the header's own range
            start, end = day * DAY, (day + 1) * DAY
        last = None if end >= UNDEF_TIMESTAMP else end  # no timestamp reaches that midnight
        return header.replace(start=start, end=last, mappings=_as_mappings(rows))


def _date(day: int) -> datetime.date:
    return EPOCH + datetime.timedelta(days=day)


def _as_mappings(rows: Iterable[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    return [{"raw_symbol": raw, "intervals": intervals} for raw, intervals in rows if intervals]


class _BySchema:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def parts(self, records: Records) -> Keyed:
        return _groups(records, record_types(records).astype(np.int64))

    def name(self, rtype: int) -> str:
        schema = self._schema(rtype)
        key = rtype_key(rtype)
        named = str(key) if isinstance(key, RType) else f"rtype-{rtype:02x}"
        return f"{_dataset(self._metadata)}.{named if schema is None else schema}"

    def _schema(self, rtype: int) -> Schema | None:
        # tbbo and mbp-1 share their rtype, and early files have records under other rtypes
        own = self._metadata.schema
        return own if own is not None and rtype in own_rtypes(own) else _SCHEMAS.get(rtype)

    def metadata(self, rtype: int) -> Metadata:
        return self._metadata.replace(schema=self._schema(rtype), limit=None)


class _BySymbol:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._resolver = resolver(metadata)
        self._places = {
            name: {text: place for place, text in enumerate(texts_of(metadata, name))}
            for name in ("symbols", "partial")
        }
        self._by_raw: dict[str, list[Any]] = {}
        self._by_text: dict[str, dict[str, list[Any]]] = {}
        for raw, intervals in mapping_rows(metadata):
            self._by_raw.setdefault(raw, []).extend(intervals)
            for interval in intervals:
                self._by_text.setdefault(interval[2], {}).setdefault(raw, []).append(interval)

    def parts(self, records: Records) -> Keyed:
        codes = self._resolver.codes(records).astype(np.int64)
        unmapped = codes < 0
        symbols = self._resolver.symbols
        if unmapped.any():
            ids, places = np.unique(instrument_ids(records)[unmapped], return_inverse=True)
            # an id may be a symbol too: what has one name stays one part, in its order
            known = self._resolver.codes_by_symbol
            codes[unmapped] = np.array([known.get(str(i), -1 - i) for i in ids.tolist()])[places]
        for code, part in _groups(records, codes):
            yield symbols[code] if code >= 0 else str(-1 - code), part

    def name(self, symbol: str) -> str:
        return f"{_dataset(self._metadata)}.{_schema(self._metadata)}.{_safe(symbol)}"

    def metadata(self, symbol: str) -> Metadata:
        rows = dict(self._by_text.get(symbol, {}))
        if symbol in self._by_raw:
            rows[symbol] = self._by_raw[symbol]
        known = {symbol, *rows}
        return self._metadata.replace(
            limit=None,
            # by parent, smart or continuous symbols the header names others than the mappings
            symbols=self._among("symbols", known) or self._metadata.symbols,
            partial=self._among("partial", known),
            not_found=(),
            mappings=_as_mappings(rows.items()),
        )

    def _among(self, name: str, known: set[str]) -> list[str]:
        # those of a list of the header, in its order; there may be as many parts as names
        places = self._places[name]
        return sorted(known & places.keys(), key=places.__getitem__)


_SPLITTERS: Final[dict[str, Callable[[Metadata], Any]]] = {
    "day": _ByDay,
    "schema": _BySchema,
    "symbol": _BySymbol,
}


def _dataset(metadata: Metadata) -> str:
    return _safe(metadata.dataset.lower().replace(".", "-")) or "unnamed"


def _schema(metadata: Metadata) -> str:
    return "mixed" if metadata.schema is None else str(metadata.schema)
