"""``dbnfast convert``: between DBN, text and columnar files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Final

from dbnfast._core.scan import span
from dbnfast.cli.inputs import single
from dbnfast.cli.outputs import STDOUT, Progress, Told, blame, output, plural
from dbnfast.cli.selection import Options, Wanted, check, parse_time
from dbnfast.cli.terminal import talk
from dbnfast.codec import compression
from dbnfast.codec.compression import Deflater
from dbnfast.codec.encode import Encoder
from dbnfast.codec.metadata import Metadata
from dbnfast.codec.reader import RecordReader, iter_decode, n_given, read_span
from dbnfast.enums import DBN_VERSION, SCHEMA_RTYPES, Compression, RType
from dbnfast.errors import DbnError, TruncatedError
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.programs import INDEX_TS_AT, SIZES
from dbnfast.records.records import empty_records
from dbnfast.store.seek import FAR_PROBES, Search
from dbnfast.store.zipped import Deflated
from dbnfast.symbology.resolver import is_live, symbols_change, with_mappings

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast.cli.terminal import Counted, Input
    from dbnfast.records.records import Records
    from dbnfast.store.parts import Part

BLOCK: Final = 16 << 20
SNIFFED: Final = 16 << 10  # more than a line of JSON has
SUFFIXES: Final = {
    ".dbn": "dbn",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".ipc": "arrow",
}
FROM: Final = ("dbn", "dbz", "csv", "json")
TO: Final = ("dbn", "csv", "json", "parquet", "arrow")
PACKED: Final = ("dbn", "csv", "json")  # what zstd is put around
ONE_SCHEMA: Final = ("csv", "parquet", "arrow")


def run(source: Input, target: str, options: Options) -> int:
    """
    Convert an input.

    Parameters
    ----------
    source : Input
        The input.
    target : str
        The new file; ``-`` is stdout.
    options : Options
        How.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        An option cannot be.
    """
    target_format(target, options)
    check(options)
    try:
        source = single(source)
    except (DbnError, OSError) as error:
        return blame(source.name, error)
    progress = Progress([source], target == STDOUT)
    return convert(source, output(target, options.force), target, options, progress)


def convert(
    source: Input,
    out: AbstractContextManager[Any],
    target: str,
    options: Options,
    progress: Progress | Told,
    stem: str = "part",
    part: Part | None = None,
) -> int:
    """
    Convert an input, and say on stderr what came of it.

    Parameters
    ----------
    source : Input
        The input.
    out : context manager
        What gives a file to write to; with ``partition_by`` a `Tree`.
    target : str
        What it is called.
    options : Options
        How; they are checked.
    progress : Progress or Told
        Told of the bytes read.
    stem : str
        What the names of files in a `Tree` begin with.
    part : Part, optional
        What of the input; None for all.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        An option cannot be.
    """
    form, zstd = target_format(target, options)
    try:
        with ExitStack() as stack:
            stack.enter_context(progress)
            if part is None:
                raw = stack.enter_context(source.raw(progress.told))
                names_symbols = form != "dbn" and options.map_symbols
                blocks, metadata, is_text = _opened(source, raw, options, names_symbols)
            else:
                blocks, metadata, is_text = _of_part(source.name, part, progress)
            if form in ONE_SCHEMA:
                blocks, options = _with_schema(blocks, metadata, options)
            header = None
            if form == "dbn" and metadata is not None:
                header = _of_one_schema(source, metadata, options)
            keep = form == "dbn" and options.map_symbols and header is None
            wanted = Wanted(options, metadata, is_text, keep)
            job = _Job(blocks, header or metadata, is_text, wanted, options, stem)
            with out as file:
                job.write(form, file, zstd)
    except (DbnError, OSError) as error:
        return blame(source.name, error)
    if target != STDOUT:
        talk(f"{target}: {job.told()}")
    return wanted.explain(source.name)


def target_format(target: str, options: Options) -> tuple[str, bool]:
    """
    Tell what an output becomes.

    Parameters
    ----------
    target : str
        Its name.
    options : Options
        What the command line says.

    Returns
    -------
    format, zstd
        The format, and whether it is compressed.

    Raises
    ------
    ValueError
        Nothing says it, or it cannot be.
    """
    suffixes = [suffix.lower() for suffix in PurePath(target).suffixes]
    zstd = options.zstd
    if suffixes[-1:] in ([".zst"], [".zstd"]):
        suffixes.pop()
        zstd = True if zstd is None else zstd
    form = options.target_format
    if form is None:
        form = SUFFIXES.get(suffixes[-1]) if suffixes else None
        if form is None:
            raise ValueError(f"{target!r} does not say its format; --to does: {', '.join(TO)}")
    elif form not in TO:
        raise ValueError(f"--to is {form!r}, expected one of {', '.join(TO)}")
    if zstd and form not in PACKED:
        raise ValueError(f"zstd is for {', '.join(PACKED)}; {form} has a compression of its own")
    return form, bool(zstd)


def _of_one_schema(source: Input, metadata: Metadata, options: Options) -> Metadata | None:
    # The header of one schema of mixed data; of a live stream with what the mapping records say;
    # None where these must be carried along: a pipe is read once, and a symbol that changes does
    # so at a place in the stream, while a header knows days. See Store._only_schema for ts_out.
    schema = None if options.schema is None else as_rtype(options.schema)[0]
    if schema is None or metadata.schema is not None or metadata.ts_out:
        return None
    if options.map_symbols and is_live(metadata):
        if source.size is None:
            return None
        with (
            source.raw() as raw,
            iter_decode(
                raw,  # type: ignore[arg-type]  # has readinto, which is all that is asked
                max_bytes=BLOCK, on_truncated="ignore", schema=RType.SYMBOL_MAPPING,
            ) as blocks,
        ):  # fmt: skip
            metadata = with_mappings(metadata, blocks)
        if symbols_change(metadata):
            return None
    return metadata.replace(schema=schema)


# ---------------------------------------------------------------- input


def _opened(
    source: Input, raw: Counted, options: Options, names_symbols: bool
) -> tuple[Iterator[Records], Metadata | None, bool]:
    # the records, their header, and whether they come from text
    form = options.source_format
    if form is None:
        form = "dbn" if source.fragment else _sniffed(raw)
    elif form not in FROM:
        raise ValueError(f"--from is {form!r}, expected one of {', '.join(FROM)}")
    if form in ("dbn", "dbz"):
        opened = source.decoded(raw, BLOCK)
        _search(source, opened.reader, options)
        return opened.blocks(), opened.reader.metadata, False
    if names_symbols and _has_symbols(_head(raw), form):
        talk(
            f"warning: {source.name}: its symbols are not carried over: the output has no "
            "symbol column"
        )
    readable = io.BufferedReader(_Readable(raw))
    if form == "csv":
        from dbnfast.text.csv import iter_csv

        return iter_csv(readable, max_bytes=BLOCK, schema=options.schema), None, True
    from dbnfast.text.json import iter_json

    return iter_json(readable, max_bytes=BLOCK, schema=options.schema), None, True


def _of_part(
    name: str, part: Part, progress: Progress | Told
) -> tuple[Iterator[Records], Metadata | None, bool]:
    # what `_opened` gives
    store = part.store()

    def blocks() -> Iterator[Records]:
        try:
            yield from store.iter_batches(BLOCK)
        except TruncatedError as error:  # as of any other input
            talk(f"warning: {name}: {error}")
        progress.told(part.nbytes)

    return blocks(), store.metadata, False


def _search(source: Input, reader: RecordReader, options: Options) -> None:
    # a range of time in a plain file that can be searched: nothing else is read
    start, end = parse_time("--start", options.start), parse_time("--end", options.end)
    if (start is None and end is None) or source.size is None or reader.metadata is None:
        return
    if reader.compression != Compression.NONE:
        return
    if isinstance(source.place, Deflated):
        return
    probes = None if source.place is None else FAR_PROBES
    with source.reading() as pread:
        search = Search(pread, n_given(reader), source.size, reader.metadata, probes)
        found = search.find(start, end)
    if found is not None:
        read_span(reader, found)


def _with_schema(
    blocks: Iterator[Records], metadata: Metadata | None, options: Options
) -> tuple[Iterator[Records], Options]:
    # what has columns needs one schema: the one asked for, the header's, or the only one
    if options.schema is not None:
        return blocks, options
    if metadata is not None and metadata.schema is not None:
        return blocks, replace(options, schema=str(metadata.schema))
    first = next(blocks, None)
    if first is None:
        return blocks, options
    own = _one_type(first.counts)
    mappings = own == RType.SYMBOL_MAPPING

    def alike() -> Iterator[Records]:
        # another type may come late; without a word its records would be missing
        for records in blocks:
            _one_type({own: 1, **records.counts}, mappings)
            yield records

    return chain((first,), alike()), replace(options, schema=str(own))


def _one_type(counts: Mapping[RType | int, int], mappings: bool = False) -> RType:
    # what symbols are told by does not count, where there is anything else
    types = [key for key in counts if mappings or key != RType.SYMBOL_MAPPING] or list(counts)
    if len(types) > 1 or not isinstance(types[0], RType):
        raise ValueError(
            f"the records are {', '.join(map(str, types))}; --schema takes one of them"
        )
    return types[0]


class _Readable(io.RawIOBase):
    """An input as what reads text wants it."""

    def __init__(self, source: Counted) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int | None:
        return self._source.readinto(memoryview(out))


def _head(raw: Counted) -> bytes:
    # the beginning of what may be text, decompressed
    head = raw.peek(SNIFFED)
    if compression.detect(head) != "none":  # the content shows when a whole block is there
        packed = raw.peek(2 * compression.BLOCK_MAX)
        head = compression.first_bytes(memoryview(packed), SNIFFED) or b"DBN"
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _has_symbols(text: bytes, form: str) -> bool:
    # whether the header of CSV, or the first line of JSON, has a symbol
    line = text.partition(b"\n")[0]
    if form == "csv":
        return b"symbol" in [name.strip(b' "\r') for name in line.split(b",")]
    return re.search(rb'"symbol"\s*:', line) is not None


def _sniffed(raw: Counted) -> str:
    text = _head(raw)
    if text[:1] == b"{":
        return "json"
    names = text.partition(b"\n")[0]
    return "csv" if b"," in names and names.rstrip().isascii() and b"\0" not in names else "dbn"


# ---------------------------------------------------------------- output


class _Packed:
    """A writable that compresses."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._deflater = Deflater(Compression.ZSTD)

    def write(self, data: Buffer) -> int:
        self._file.write(self._deflater.push(data))
        return memoryview(data).nbytes

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._file.write(self._deflater.finish())


class _Job:
    """Records on their way into a format."""

    def __init__(
        self,
        blocks: Iterator[Records],
        metadata: Metadata | None,
        is_text: bool,
        wanted: Wanted,
        options: Options,
        stem: str,
    ) -> None:
        self.n = 0
        self._n_carried = 0  # mapping records among them that nobody asked for
        self._blocks = blocks
        self._metadata = metadata
        self._is_text = is_text
        self._wanted = wanted
        self._options = options
        self._stem = stem

    def write(self, form: str, out: Any, zstd: bool) -> None:
        if form == "dbn":
            self._write_dbn(out, Compression.ZSTD if zstd else Compression.NONE)
        elif zstd:
            packed = _Packed(out)
            self._write_text(form, packed)
            packed.finish()
        elif form in ("csv", "json"):
            self._write_text(form, out)
        else:
            self._write_columns(form, out)

    def _counted(self) -> Iterator[Records]:
        for records in self._wanted.of(self._blocks):
            self.n += len(records)
            if self._wanted.carries:
                self._n_carried += records.counts.get(RType.SYMBOL_MAPPING, 0)
            yield records

    def told(self) -> str:
        # how much was written, in words
        if not self._n_carried:
            return plural(self.n, "record")
        mappings = plural(self._n_carried, "symbol mapping")
        return f"{plural(self.n - self._n_carried, 'record')} and {mappings}"

    def _symbols(self, **options: Any) -> dict[str, Any]:
        # records that come from text bring no mappings
        if not self._options.map_symbols or self._is_text:
            return {"map_symbols": False, "resolver": None}
        from dbnfast.symbology.resolver import resolver

        found = resolver(self._metadata, **options)
        return {"map_symbols": True, "resolver": self._wanted.symbols_of(found)}

    def _write_text(self, form: str, out: Any) -> None:
        from dbnfast.text import write as text

        options = self._options
        write = text.write_csv if form == "csv" else text.write_json
        rows = write(
            self._counted(),
            out,
            schema=options.schema,
            pretty_px=not options.raw_prices,
            pretty_ts=not options.raw_times,
            metadata=self._metadata,
            upgrade=options.upgrade,
            **self._symbols(text=True),
        )
        self.n = rows if isinstance(rows, int) else self.n

    def _write_columns(self, form: str, out: Any) -> None:
        options, metadata = self._options, self._metadata
        symbols = self._symbols()
        settings: dict[str, Any] = {"schema": options.schema, "resolver": symbols["resolver"]}
        if metadata is not None:
            if options.upgrade:
                metadata = metadata.upgrade()
            settings["empty"] = empty_records(metadata.version, metadata.ts_out, metadata)
        price_type = "fixed" if options.raw_prices else "float"
        pretty_ts = not options.raw_times
        if form == "parquet":
            from dbnfast.tables.parquet import write_parquet

            settings |= {"price_type": price_type, "pretty_ts": pretty_ts}
            if options.partition_by:
                settings |= {"partition_by": options.partition_by, "stem": self._stem}
            rows = write_parquet(self._counted(), out, **settings)
        else:
            from dbnfast.enums import PriceType
            from dbnfast.tables.arrow import ArrowOptions, write_ipc

            wanted = ArrowOptions(
                PriceType(price_type), pretty_ts, map_symbols=symbols["map_symbols"]
            )
            rows = write_ipc(self._counted(), out, options=wanted, **settings)
        self.n = rows if isinstance(rows, int) else self.n

    def _write_dbn(self, out: Any, compression: Compression) -> None:
        blocks = self._counted()
        first = next(blocks, None)
        if self._metadata is not None:
            header = self._narrowed(self._metadata)
        else:
            header = self._made_up(first)
        encoder = Encoder(out, header, compression=compression)
        if first is not None:
            encoder.write(first)
        for records in blocks:
            encoder.write(records)
        encoder.close()

    def _narrowed(self, metadata: Metadata) -> Metadata:
        # the header of what passed the filters
        wanted = self._wanted
        fields: dict[str, Any] = {}
        if wanted.schema is not None and metadata.schema not in (None, wanted.schema):
            fields["schema"] = wanted.schema
        # ranges that lie apart become an empty one, not one that ends before it begins
        start, end = metadata.start, metadata.end
        if wanted.start is not None:
            start = max(wanted.start, start) if end is None else min(max(wanted.start, start), end)
            fields["start"] = start
        if wanted.end is not None:
            fields["end"] = max(wanted.end if end is None else min(wanted.end, end), start)
        if self._options.limit is not None:
            fields["limit"] = self._options.limit
        if self._options.upgrade:
            metadata = metadata.upgrade()
        return metadata.replace(**fields) if fields else metadata

    def _made_up(self, first: Records | None) -> Metadata:
        # a header for records that have none
        if self._options.dataset is None:
            raise ValueError("the input has no header; --dataset gives the dataset for one")
        schema, start = self._wanted.schema, 0
        if first is not None:
            rtypes = [int(key) for key in first.counts]
            named = {int(rtype): name for name, rtype in reversed(SCHEMA_RTYPES.items())}
            if schema is None and len(rtypes) == 1:
                schema = named.get(rtypes[0])
            times = span(first.data, SIZES, first.ts_out, INDEX_TS_AT)
            start = 0 if times is None else times[0]
        return Metadata(
            dataset=self._options.dataset,
            schema=schema,
            start=start,
            version=DBN_VERSION if first is None else first.version,
            ts_out=first is not None and first.ts_out,
        )
