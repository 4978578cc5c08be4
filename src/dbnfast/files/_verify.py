"""What is wrong with a file, found in one pass and bounded memory: verify."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from dbnfast.codec.metadata import mapping_rows
from dbnfast.codec.reader import RecordReader, in_cut_frame, n_given, n_read
from dbnfast.enums import UNDEF_TIMESTAMP, RType
from dbnfast.errors import (
    DecodeError,
    DecompressionError,
    InvalidRecordError,
    MetadataError,
    TruncatedError,
)
from dbnfast.files._index import FrameSurvey
from dbnfast.layouts.dtypes import rtype_key
from dbnfast.layouts.table import CONTROL, LAYOUTS_BY_RTYPE, layout_by_size
from dbnfast.records.filters import own_rtypes
from dbnfast.records.headers import (
    event_times,
    groups,
    index_times,
    instrument_ids,
    offset_of,
    record_sizes,
    record_types,
)

if TYPE_CHECKING:
    from dbnfast._typing import Column
    from dbnfast.codec.metadata import Metadata
    from dbnfast.codec.reader import Source
    from dbnfast.records.records import Records

    Severity = Literal["damage", "warning", "note"]

BLOCK: Final = 16 << 20
FEW: Final = 5  # instrument ids that are named
MANY: Final = 100_000  # different ids that are told apart
UNVERIFIED: Final = "without the frame's checksum the values of its records are not verified"
SEVERITIES: Final = ("damage", "warning", "note")


class Finding(NamedTuple):
    """
    Something wrong or unusual.

    Attributes
    ----------
    kind : str
        ``metadata`` ``invalid-record`` ``cut`` ``zstd`` ``index`` (damage); ``other-rtype``
        ``backwards`` ``outside`` ``unmapped`` ``undefined-index`` (warnings; ``backwards`` is a
        note where the header names no schema); ``unknown-rtype`` ``long-record``
        ``undefined-event`` ``no-symbols`` (notes).
    severity : {"damage", "warning", "note"}
        Damage is what hides records or the header: also an index of a seekable file that does not
        say what is in it. A warning is what a reader would not expect.
    offset : int or None
        Byte offset of the first place, from the first byte of the decompressed stream; for
        ``zstd`` and ``index`` in the compressed one.
    record_index : int or None
        Index of the first record concerned, counted from 0.
    text : str
        What was found, in words.
    n_records : int
        How many records are concerned.
    """

    kind: str
    severity: Severity
    offset: int | None
    record_index: int | None
    text: str
    n_records: int = 1


Finding.__module__ = "dbnfast.files"  # where users find it


@dataclass(frozen=True)
class Report:
    """
    What `verify` found.

    Attributes
    ----------
    findings : list of Finding
        Damage first, then warnings, then notes, each in the stream's order.
    records : int
        Whole records.
    n_bytes : int
        Bytes of the decompressed stream that were read, header included.
    counts : dict
        Number of records by rtype.
    metadata : Metadata or None
        The header; None for a fragment, or where it cannot be read.
    """

    __module__ = "dbnfast.files"  # where users find it

    findings: list[Finding] = field(default_factory=list)
    records: int = 0
    n_bytes: int = 0
    counts: dict[RType | int, int] = field(default_factory=dict)
    metadata: Metadata | None = None

    @property
    def ok(self) -> bool:
        """Whether there is no damage; warnings and notes may be there."""
        return not any(finding.severity == "damage" for finding in self.findings)


def verify(
    source: Source,
    *,
    check_symbols: bool = True,
    has_metadata: bool = True,
    input_version: int | None = None,
    ts_out: bool | None = None,
) -> Report:
    """
    Read a whole stream and report what is wrong with it.

    Parameters
    ----------
    source : path, URL or readable
        As `iter_decode` takes it.
    check_symbols : bool
        Whether to look every instrument id up in the header's mappings, at its record's date.
    has_metadata, input_version, ts_out
        As `scan` takes them.

    Returns
    -------
    Report
        Damage is reported, not raised. Nothing after an invalid record is read, because the
        start of the next record cannot be known.

    Raises
    ------
    OSError
        The source cannot be read.
    TypeError, ValueError
        An argument has the wrong type or value.
    """
    try:
        reader = RecordReader(
            source,
            max_bytes=BLOCK,
            _log=True,
            has_metadata=has_metadata,
            input_version=input_version,
            ts_out=ts_out,
            on_truncated="raise",
        )
    except DecodeError as error:
        return Report([_damage(error)])
    with reader:
        return _Survey(reader, check_symbols).report()


def _damage(error: DecodeError) -> Finding:
    kind = "metadata"
    if isinstance(error, TruncatedError):
        kind = "cut"
    elif isinstance(error, InvalidRecordError):
        kind = "invalid-record"
    elif isinstance(error, DecompressionError):
        kind = "zstd"
    return Finding(kind, "damage", error.offset, error.record_index, str(error))


class _Tally:
    # records of one kind of trouble: how many, and where the first is
    def __init__(self) -> None:
        self.count = 0
        self.offset: int | None = None
        self.record_index: int | None = None

    def add(self, block: _Block, wrong: Column) -> None:
        # `wrong` has a bool for each record of the block
        n = int(np.count_nonzero(wrong))
        if n and not self.count:
            first = int(wrong.argmax())
            self.offset = block.offset + offset_of(block.records, first)
            self.record_index = block.first + first
        self.count += n

    def findings(self, kind: str, severity: Severity, text: str) -> Iterator[Finding]:
        if self.count:
            yield Finding(kind, severity, self.offset, self.record_index, text, self.count)


class _Block(NamedTuple):
    records: Records
    offset: int  # of its first byte in the stream
    first: int  # index of its first record


class _Survey:
    """One pass over a stream, block by block, with what it has seen so far."""

    def __init__(self, reader: RecordReader, check_symbols: bool) -> None:
        self._reader = reader
        self._metadata = reader.metadata
        self._found: list[Finding] = []
        self._counts: dict[RType | int, int] = {}
        self._unknown: dict[int, _Tally] = {}
        self._long: dict[tuple[int, int], _Tally] = {}
        self._other: dict[int, _Tally] = {}
        self._times = _Times(reader.metadata)
        self._frames = FrameSurvey(reader)
        self._symbols: _Symbols | None = None
        whole = self._check_header()
        if check_symbols and whole and reader.metadata is not None:
            self._symbols = _Symbols(reader.metadata)
        self._own = self._own_rtypes()

    def _check_header(self) -> bool:
        # the texts and dates of a header are read when they are asked for
        if self._metadata is None:
            return True
        try:
            for name in ("symbols", "partial", "not_found", "mappings"):
                getattr(self._metadata, name)
        except MetadataError as error:
            self._found.append(_damage(error))
            return False
        return True

    def _own_rtypes(self) -> frozenset[int] | None:
        if self._metadata is None or self._metadata.schema is None:
            return None
        return own_rtypes(self._metadata.schema)

    def report(self) -> Report:
        n = 0
        try:
            for records in self._reader:
                self._add(_Block(records, n_given(self._reader) - records.nbytes, n))
                self._frames.add(records)
                n += len(records)
            for offset, text in self._frames.wrong():
                self._found.append(Finding("index", "damage", offset, None, text, 0))
        except DecodeError as error:
            found = _damage(error)
            if found.kind == "cut" and in_cut_frame(self._reader):
                found = found._replace(text=f"{error}; {UNVERIFIED}")
            self._found.append(found)
        self._found += self._of_types()
        self._found += self._times.findings()
        if self._symbols is not None:
            self._found += self._symbols.findings()
        self._found.sort(
            key=lambda f: (SEVERITIES.index(f.severity), -1 if f.offset is None else f.offset)
        )
        n_bytes = n_read(self._reader)
        return Report(self._found, n, n_bytes, self._counts, self._metadata)

    def _add(self, block: _Block) -> None:
        for key, n in block.records.counts.items():
            self._counts[key] = self._counts.get(key, 0) + n
        self._add_types(block)
        self._times.add(block)
        if self._symbols is not None:
            self._symbols.add(block)

    def _add_types(self, block: _Block) -> None:
        records = block.records
        odd: list[tuple[_Tally, int, int]] = []
        for rtype, size, _ in groups(records):
            layout = layout_by_size(rtype, size, records.ts_out)
            if layout is None:
                odd.append((self._unknown.setdefault(rtype, _Tally()), rtype, size))
            elif size > layout.itemsize(records.ts_out):
                odd.append((self._long.setdefault((rtype, size), _Tally()), rtype, size))
            if self._own is not None and layout is not None and rtype not in self._own:
                odd.append((self._other.setdefault(rtype, _Tally()), rtype, size))
        if odd:
            rtypes, sizes = record_types(records), record_sizes(records)
            for tally, rtype, size in odd:
                tally.add(block, (rtypes == rtype) & (sizes == size))

    def _of_types(self) -> Iterator[Finding]:
        for rtype, tally in self._unknown.items():
            text = f"{_records(tally.count)} of unknown rtype {rtype:#04x}"
            yield from tally.findings("unknown-rtype", "note", text)
        for (rtype, size), tally in self._long.items():
            text = f"{_records(tally.count)} of rtype {rtype_key(rtype)} and {size} bytes, longer "
            text += f"than the struct of {LAYOUTS_BY_RTYPE[rtype][-1].size}"
            yield from tally.findings("long-record", "note", text)
        for rtype, tally in self._other.items():
            assert self._metadata is not None
            text = f"{_records(tally.count)} of rtype {rtype_key(rtype)} in a file of schema "
            yield from tally.findings("other-rtype", "warning", f"{text}{self._metadata.schema}")


def _records(n: int) -> str:
    return "1 record" if n == 1 else f"{n:,} records"


class _Times:
    """What is wrong with the timestamps."""

    def __init__(self, metadata: Metadata | None) -> None:
        # live streams replay one schema after the other
        sorted_ = metadata is not None and metadata.schema is not None
        self._back: Severity = "warning" if sorted_ else "note"
        self._start = 0 if metadata is None else metadata.start
        self._end: int | None = None if metadata is None else metadata.end
        self._last: int | None = None  # the last defined index timestamp
        self._undefined = _Tally()
        self._undefined_event = _Tally()
        self._backwards = _Tally()
        self._largest = 0
        self._early = _Tally()
        self._late = _Tally()

    def add(self, block: _Block) -> None:
        times = index_times(block.records)
        if any(rtype in CONTROL for rtype, _, _ in groups(block.records)):
            # the gateway's own records say when they were sent, whatever the data's times are
            market = ~np.isin(record_types(block.records), list(CONTROL))
        else:
            market = np.ones(len(times), bool)
        defined = market & (times != UNDEF_TIMESTAMP)
        if not defined.all():
            self._undefined.add(block, market & ~defined)
        if any(_has_event_time(rtype) for rtype, _, _ in groups(block.records)):
            event = event_times(block.records) == UNDEF_TIMESTAMP
            self._undefined_event.add(block, event & defined)
        self._early.add(block, defined & (times < self._start))
        if self._end is not None:
            self._late.add(block, defined & (times >= self._end))
        self._add_steps(block, times, defined)

    def _add_steps(self, block: _Block, times: Column, defined: Column) -> None:
        places = np.flatnonzero(defined)
        if not len(places):
            return
        known = times[places]
        before = np.empty_like(known)
        before[0] = known[0] if self._last is None else self._last
        before[1:] = known[:-1]
        back = known < before
        if back.any():
            wrong = np.zeros(len(times), bool)
            wrong[places[back]] = True
            self._backwards.add(block, wrong)
            self._largest = max(self._largest, int((before[back] - known[back]).max()))
        self._last = int(known[-1])

    def findings(self) -> Iterator[Finding]:
        n = self._undefined.count
        text = f"{_records(n)} without an index timestamp"
        yield from self._undefined.findings("undefined-index", "warning", text)
        n = self._undefined_event.count
        text = f"{_records(n)} with an undefined ts_event"
        yield from self._undefined_event.findings("undefined-event", "note", text)
        n = self._backwards.count
        text = f"the index timestamp goes backwards at {_records(n)}, by up to "
        text += f"{self._largest / 1e9:,.9f} s"
        yield from self._backwards.findings("backwards", self._back, text)
        for tally, text in (
            (self._early, f"before the header's start {self._start}"),
            (self._late, f"at or after the header's end {self._end}"),
        ):
            text = f"{_records(tally.count)} {text}"
            yield from tally.findings("outside", "warning", text)


def _has_event_time(rtype: int) -> bool:
    layouts = LAYOUTS_BY_RTYPE.get(rtype)
    return layouts is not None and layouts[0].index_ts != "ts_event"


class _Symbols:
    """The instrument ids that no mapping names at their date."""

    def __init__(self, metadata: Metadata) -> None:
        self._tally = _Tally()
        self._ids: dict[int, None] = {}
        self._note: str | None = None
        self._resolver: Any = None
        if metadata.schema is not None and not mapping_rows(metadata):
            self._note = "the header maps no symbols"
            return
        from dbnfast.symbology.resolver import resolver

        try:
            self._resolver = resolver(metadata)
        except ValueError as error:
            self._note = str(error)

    def add(self, block: _Block) -> None:
        records = block.records
        if self._resolver is None:
            return
        missing = self._resolver.codes(records) < 0
        if not missing.any():
            return
        missing &= ~np.isin(record_types(records), list(CONTROL))
        missing &= index_times(records) != UNDEF_TIMESTAMP
        self._tally.add(block, missing)
        if missing.any() and len(self._ids) < MANY:
            self._ids.update(dict.fromkeys(np.unique(instrument_ids(records)[missing]).tolist()))

    def findings(self) -> Iterator[Finding]:
        if self._note is not None:
            yield Finding("no-symbols", "note", None, None, self._note, 0)
        ids = list(self._ids)
        named = ", ".join(map(str, ids[:FEW])) + (", ..." if len(ids) > FEW else "")
        more = " or more" if len(ids) >= MANY else ""
        text = f"{_records(self._tally.count)} of {len(ids):,}{more} instrument ids without a "
        text += f"mapping at their date: {named}"
        yield from self._tally.findings("unmapped", "warning", text)
