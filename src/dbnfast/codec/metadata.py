"""The metadata header: what a DBN stream says of itself."""

from __future__ import annotations

import datetime
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypedDict

from dbnfast._core.metadata import Header, encode_header, header_size, parse_header, set_codes
from dbnfast._util.arguments import check_upgrade, check_version
from dbnfast._util.buffers import as_bytes
from dbnfast._util.times import to_ns
from dbnfast.codec.sniff import check_begin
from dbnfast.enums import (
    DBN_VERSION,
    SYMBOL_CSTR_LEN_V1,
    SYMBOL_CSTR_LEN_V2,
    Schema,
    SType,
    VersionUpgradePolicy,
)
from dbnfast.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

    from dbnfast._util.times import Time

    Intervals = list[tuple[datetime.date, datetime.date, str]]

set_codes(frozenset(int(s) for s in Schema), frozenset(int(s) for s in SType))

NO_SCHEMA: Final = 0xFFFF
NO_STYPE: Final = 0xFF
NO_END: Final = 2**64 - 1
MAX_METADATA: Final = 512 << 20  # a stream's word on its header's length is taken up to this
COPY_LIMIT: Final = 1 << 20  # a longer header is kept as a view of the input instead

_FIXED: Final = (
    "version", "dataset", "schema", "start", "end", "limit", "stype_in", "stype_out",
    "ts_out", "symbol_cstr_len",
)  # fmt: skip
_LISTS: Final = ("symbols", "partial", "not_found")


class MappingIntervalDict(TypedDict):
    """
    What a symbol stood for over some days.

    Attributes
    ----------
    start_date : datetime.date
        The first day.
    end_date : datetime.date
        The day behind the last.
    symbol : str
        The symbol on these days; empty where it was unmapped.
    """

    start_date: datetime.date
    end_date: datetime.date
    symbol: str


class Metadata:
    """
    The header of a DBN stream.

    It is immutable. When it is read from a stream, counts and lengths are checked at once, texts
    and dates when they are first used.

    Parameters
    ----------
    dataset : str
        The dataset code, at most 15 ASCII characters.
    start : int, str, datetime64, datetime, date or pandas.Timestamp
        Start of the query; an int is ns since 1970-01-01 UTC, and so is the attribute.
    stype_in : SType or str or None
        The symbology of `symbols`; None for mixed or live data.
    stype_out : SType or str
        The symbology of the results of the mappings.
    schema : Schema or str or None
        The schema of the records; None for mixed or live data.
    symbols, partial, not_found : sequence of str
        The requested symbols; those unresolved on at least one day; those never resolved.
    mappings : mapping or sequence
        ``{raw_symbol: [{"start_date": date, "end_date": date, "symbol": str}]}``, or objects or
        dicts with ``raw_symbol`` and ``intervals``.
    end : int or None, or a time as `start`
        End of the query, exclusive; 0 and 2**64 - 1 mean None too.
    limit : int or None
        The largest number of records requested; 0 means None too.
    ts_out : bool
        Whether each record ends with the time at which the gateway sent it.
    version : int
        The DBN version, 1 to 3.
    symbol_cstr_len : int or None
        Bytes of a symbol in the header, its NUL included; None for the version's own.

    Raises
    ------
    TypeError, ValueError
        A field has the wrong type or value.

    Notes
    -----
    Source: ``docs/format.md``, "Metadata".
    """

    __module__ = "dbnfast"  # where users find it

    __slots__ = ("_fixed", "_header", "_lists", "_mappings")

    _fixed: dict[str, Any]
    _header: Header | None
    _lists: dict[str, tuple[str, ...]]
    _mappings: list[tuple[str, Intervals]] | None

    def __init__(
        self,
        dataset: str,
        start: Time = 0,
        stype_in: SType | str | None = None,
        stype_out: SType | str = SType.INSTRUMENT_ID,
        schema: Schema | str | None = None,
        symbols: Sequence[str] | None = None,
        partial: Sequence[str] | None = None,
        not_found: Sequence[str] | None = None,
        mappings: Mapping[str, Sequence[Any]] | Sequence[Any] | None = None,
        end: Time | None = None,
        limit: int | None = None,
        ts_out: bool | None = None,
        version: int = DBN_VERSION,
        *,
        symbol_cstr_len: int | None = None,
    ) -> None:
        version = check_version("version", version)
        if not isinstance(dataset, str):
            raise TypeError(f"dataset is {dataset!r}, expected a str")
        own = SYMBOL_CSTR_LEN_V1 if version == 1 else SYMBOL_CSTR_LEN_V2
        if symbol_cstr_len is None:
            symbol_cstr_len = own
        elif not 0 < symbol_cstr_len < 2**16 or (version == 1 and symbol_cstr_len != own):
            raise ValueError(f"symbol_cstr_len is {symbol_cstr_len}, impossible in v{version}")
        self._header = None
        self._fixed = {
            "version": version,
            "dataset": str(dataset),
            "schema": None if schema is None else Schema(schema),
            "start": to_ns("start", start),
            "end": None if end is None else _end(to_ns("end", end)),
            "limit": _limit(limit),
            "stype_in": None if stype_in is None else SType(stype_in),
            "stype_out": SType(stype_out),
            "ts_out": bool(ts_out),
            "symbol_cstr_len": symbol_cstr_len,
        }
        self._lists = {
            name: _texts(name, () if values is None else values)
            for name, values in zip(_LISTS, (symbols, partial, not_found), strict=True)
        }
        self._mappings = list(_mapping_rows(() if mappings is None else mappings))

    @classmethod
    def decode(
        cls,
        data: Buffer,
        upgrade_policy: VersionUpgradePolicy | int = VersionUpgradePolicy.AS_IS,
    ) -> Metadata:
        """
        Read the header at the beginning of a buffer.

        Parameters
        ----------
        data : bytes-like
            An uncompressed DBN stream, or its beginning. The header is copied, unless it is longer
            than 1 MiB and the buffer read-only: then it is kept as a view of it.
        upgrade_policy : VersionUpgradePolicy
            What becomes of a header of an older version.

        Returns
        -------
        Metadata
            Of the version that the header states, unless it is to be upgraded; see `upgrade`.

        Raises
        ------
        TruncatedError
            The header is cut, or the buffer empty.
        MetadataError, UnsupportedVersionError
            The header is not valid.
        TypeError, ValueError
            `data` is no contiguous buffer, there is no such policy, or the header is newer than
            the version that it asks for.
        """
        policy = VersionUpgradePolicy(upgrade_policy)
        found = as_bytes(data)
        check_begin(found)
        metadata = cls._from_header(parse_header(found))
        if policy == VersionUpgradePolicy.AS_IS:
            return metadata
        return metadata.upgrade(2 if policy == VersionUpgradePolicy.UPGRADE_TO_V2 else 3)

    @classmethod
    def _from_header(cls, header: Header) -> Metadata:
        # The header borrows what it was parsed from. A short one gets bytes of its own, and so
        # does one whose buffer its owner may write to.
        if header.size <= COPY_LIMIT or not header.hold():
            header = parse_header(bytes(memoryview(header.body)[: header.size]))
        self = cls.__new__(cls)
        self._header = header
        self._fixed = {
            "version": header.version,
            "dataset": header.dataset,
            "schema": None if header.schema == NO_SCHEMA else Schema.from_int(header.schema),
            "start": header.start,
            "end": header.end,
            "limit": header.limit,
            "stype_in": None if header.stype_in == NO_STYPE else SType.from_int(header.stype_in),
            "stype_out": SType.from_int(header.stype_out),
            "ts_out": bool(header.ts_out),
            "symbol_cstr_len": header.symbol_cstr_len,
        }
        self._lists = {}
        self._mappings = None
        return self

    @property
    def version(self) -> int:
        """The DBN version, 1 to 3."""
        version: int = self._fixed["version"]
        return version

    @property
    def dataset(self) -> str:
        """The dataset code."""
        dataset: str = self._fixed["dataset"]
        return dataset

    @property
    def schema(self) -> Schema | None:
        """The schema of the records; None for mixed or live data."""
        schema: Schema | None = self._fixed["schema"]
        return schema

    @property
    def start(self) -> int:
        """Start of the query, ns since 1970-01-01 UTC."""
        start: int = self._fixed["start"]
        return start

    @property
    def end(self) -> int | None:
        """End of the query, exclusive, ns since 1970-01-01 UTC; None where open."""
        end: int | None = self._fixed["end"]
        return end

    @property
    def limit(self) -> int | None:
        """The largest number of records requested; None for no limit."""
        limit: int | None = self._fixed["limit"]
        return limit

    @property
    def stype_in(self) -> SType | None:
        """The symbology of `symbols`; None for mixed or live data."""
        stype: SType | None = self._fixed["stype_in"]
        return stype

    @property
    def stype_out(self) -> SType:
        """The symbology of the results of the mappings."""
        stype: SType = self._fixed["stype_out"]
        return stype

    @property
    def ts_out(self) -> bool:
        """Whether each record ends with the time at which the gateway sent it."""
        ts_out: bool = self._fixed["ts_out"]
        return ts_out

    @property
    def symbol_cstr_len(self) -> int:
        """Bytes of a symbol in the header, its NUL included."""
        size: int = self._fixed["symbol_cstr_len"]
        return size

    @property
    def symbols(self) -> list[str]:
        """The requested symbols, as a new list."""
        return list(self._texts("symbols"))

    @property
    def partial(self) -> list[str]:
        """The symbols unresolved on at least one day, as a new list."""
        return list(self._texts("partial"))

    @property
    def not_found(self) -> list[str]:
        """The symbols resolved on no day, as a new list."""
        return list(self._texts("not_found"))

    @property
    def mappings(self) -> dict[str, list[MappingIntervalDict]]:
        """The intervals of every symbol, as a new dict; a symbol named twice has both."""
        found: dict[str, list[MappingIntervalDict]] = {}
        for raw_symbol, intervals in self._mapping_rows():
            found.setdefault(raw_symbol, []).extend(
                {"start_date": first, "end_date": last, "symbol": symbol}
                for first, last, symbol in intervals
            )
        return found

    @property
    def _n_mappings(self) -> int:
        if self._mappings is None:
            assert self._header is not None
            return self._header.count(3)
        return len(self._mappings)

    def _texts(self, name: str) -> tuple[str, ...]:
        if name not in self._lists:
            assert self._header is not None
            self._lists[name] = tuple(self._header.texts(_LISTS.index(name)))
        return self._lists[name]

    def _mapping_rows(self) -> list[tuple[str, Intervals]]:
        if self._mappings is None:
            assert self._header is not None
            self._mappings = self._header.mappings()
        return self._mappings

    def encode(self) -> bytes:
        """
        Write the header.

        Returns
        -------
        bytes
            What a DBN stream of this version begins with; in version 3 a multiple of 8 bytes.

        Raises
        ------
        EncodeError
            A text is not ASCII, or too long for its field.
        """
        fixed = self._fixed
        return encode_header(
            fixed["version"],
            fixed["dataset"],
            NO_SCHEMA if fixed["schema"] is None else int(fixed["schema"]),
            fixed["start"],
            NO_END if fixed["end"] is None else fixed["end"],
            fixed["limit"] or 0,
            NO_STYPE if fixed["stype_in"] is None else int(fixed["stype_in"]),
            int(fixed["stype_out"]),
            fixed["ts_out"],
            fixed["symbol_cstr_len"],
            (self._texts("symbols"), self._texts("partial"), self._texts("not_found")),
            self._mapping_rows(),
        )

    def replace(self, **fields: Any) -> Metadata:
        """
        Make a copy with some fields changed.

        Parameters
        ----------
        **fields
            The parameters of the class. A new version brings its own `symbol_cstr_len` unless one
            is given.

        Returns
        -------
        Metadata

        Raises
        ------
        TypeError
            There is no such field.
        """
        known = dict(self._fixed)
        if "version" in fields and fields["version"] != self.version:
            del known["symbol_cstr_len"]
        for name in _LISTS:
            known[name] = self._texts(name)
        if "mappings" not in fields:
            known["mappings"] = [
                {"raw_symbol": raw, "intervals": intervals}
                for raw, intervals in self._mapping_rows()
            ]
        return Metadata(**{**known, **fields})

    def upgrade(self, to_version: int = DBN_VERSION) -> Metadata:
        """
        Bring the header to a newer version.

        Parameters
        ----------
        to_version : int
            2 or 3.

        Returns
        -------
        Metadata
            From version 1 with symbols of 71 bytes; from 2 to 3 nothing else changes. The same
            object where it is of this version already.

        Raises
        ------
        ValueError
            The header is newer than that.
        """
        to_version = check_upgrade(self.version, to_version)
        if to_version == self.version:
            return self
        size = SYMBOL_CSTR_LEN_V2 if self.version == 1 else self.symbol_cstr_len
        if self._header is None:
            return self.replace(version=to_version, symbol_cstr_len=size)
        upgraded = Metadata.__new__(Metadata)
        upgraded._header = self._header  # the lists stay unread
        upgraded._fixed = {**self._fixed, "version": to_version, "symbol_cstr_len": size}
        upgraded._lists = self._lists
        upgraded._mappings = self._mappings
        return upgraded

    def __bytes__(self) -> bytes:
        """Write the header, as `encode` does."""
        return self.encode()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metadata):
            return NotImplemented
        return (
            self._fixed == other._fixed
            and all(self._texts(name) == other._texts(name) for name in _LISTS)
            and self._mapping_rows() == other._mapping_rows()
        )

    def __hash__(self) -> int:
        return hash(tuple(self._fixed.values()))

    def __reduce__(self) -> tuple[Any, ...]:
        header = self._header
        if header is not None and header.version == self.version:
            return Metadata.decode, (bytes(memoryview(header.body)[: header.size]),)
        rows = [{"raw_symbol": raw, "intervals": rows} for raw, rows in self._mapping_rows()]
        lists = {name: self._texts(name) for name in _LISTS}
        return Metadata._rebuilt, ({**self._fixed, **lists, "mappings": rows},)

    @classmethod
    def _rebuilt(cls, fields: dict[str, Any]) -> Metadata:
        return cls(**fields)

    def __repr__(self) -> str:
        fixed = ", ".join(f"{name}={_plain(self._fixed[name])!r}" for name in _FIXED)
        if self._header is not None:
            counts = [self._header.count(which) for which in range(4)]
        else:
            counts = [len(self._texts(name)) for name in _LISTS] + [len(self._mapping_rows())]
        lists = ", ".join(
            f"{name}: {n}" for name, n in zip((*_LISTS, "mappings"), counts, strict=True)
        )
        return f"Metadata({fixed}; {lists})"


def header_of(metadata: Metadata) -> Header | None:
    """
    Give the header that was read.

    Parameters
    ----------
    metadata : Metadata
        What was made of it.

    Returns
    -------
    Header or None
        None where it was not read from a DBN stream. Its version may be older.
    """
    return metadata._header


def mapping_rows(metadata: Metadata) -> list[tuple[str, Intervals]]:
    """
    Give the mappings without a copy.

    Parameters
    ----------
    metadata : Metadata
        The header.

    Returns
    -------
    list of (raw_symbol, intervals)
        The header's own: not to be changed. A symbol may be named twice.
    """
    return metadata._mapping_rows()


def as_metadata(metadata: Any) -> Metadata:
    """
    Give a header as one of this package.

    Parameters
    ----------
    metadata : Metadata
        Of this package, or of databento_dbn.

    Returns
    -------
    Metadata

    Raises
    ------
    TypeError
        It is neither.
    """
    if isinstance(metadata, Metadata):
        return metadata
    if hasattr(metadata, "encode") and hasattr(metadata, "mappings"):  # the official class has both
        return Metadata.decode(metadata.encode())
    raise TypeError(f"{type(metadata).__name__} is no Metadata")


def n_mappings(metadata: Metadata) -> int:
    """
    Count the mappings without reading them.

    Parameters
    ----------
    metadata : Metadata
        The header.

    Returns
    -------
    int
    """
    return metadata._n_mappings


def texts_of(metadata: Metadata, name: str) -> tuple[str, ...]:
    """
    Give a list of the header without a copy.

    Parameters
    ----------
    metadata : Metadata
        The header.
    name : str
        ``symbols``, ``partial`` or ``not_found``.

    Returns
    -------
    tuple of str
    """
    return metadata._texts(name)


def header_bytes(metadata: Metadata) -> bytes:
    """
    Give a header as it was read, byte for byte, reserved ones too.

    Parameters
    ----------
    metadata : Metadata
        The header.

    Returns
    -------
    bytes
        What `Metadata.encode` gives where it was not read from a DBN stream as it is.
    """
    header = metadata._header
    if header is not None and header.version == metadata.version:
        return bytes(memoryview(header.body)[: header.size])
    return metadata.encode()


def stated_size(data: Buffer) -> int | None:
    """
    Tell how long a header is that comes in pieces.

    Parameters
    ----------
    data : bytes-like
        What is there of it.

    Returns
    -------
    int or None
        Bytes; None where the 8 bytes that tell it are not all there.

    Raises
    ------
    MetadataError, UnsupportedVersionError
        What is there cannot begin a header, or it claims to be longer than `MAX_METADATA`.
    """
    check_begin(data)
    size = header_size(data)
    if size is not None and size > MAX_METADATA:
        raise MetadataError(
            f"metadata length at byte 4 makes a header of {size} bytes, at most {MAX_METADATA} "
            "are read from a stream",
            offset=4,
        )
    return size


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Schema | SType) else value


def _end(end: int) -> int | None:
    return None if end in (0, NO_END) else end


def _limit(limit: Any) -> int | None:
    if limit is None:
        return None
    number = operator.index(limit)
    if not 0 <= number < 2**64:
        raise ValueError(f"limit is {number}, expected 0 to 2**64 - 1")
    return number or None


def _texts(name: str, values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r}, expected a sequence of str")
    texts = tuple(values)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} holds {text!r}, expected a str")
    return tuple(map(str, texts))  # subclasses, as numpy's, become plain


def _mapping_rows(
    mappings: Mapping[str, Sequence[Any]] | Sequence[Any],
) -> Iterable[tuple[str, Intervals]]:
    if not isinstance(mappings, Iterable):
        raise TypeError(f"mappings is {mappings!r}, expected a mapping, or a sequence of rows")
    if hasattr(mappings, "items"):
        pairs: Iterable[tuple[str, Any]] = mappings.items()
    else:
        pairs = ((_get(row, "raw_symbol"), _get(row, "intervals")) for row in mappings)
    for raw_symbol, intervals in pairs:
        if not isinstance(raw_symbol, str):
            raise TypeError(f"raw_symbol of a mapping is {raw_symbol!r}, expected a str")
        yield str(raw_symbol), [_interval(interval) for interval in intervals]


def _interval(interval: Any) -> tuple[datetime.date, datetime.date, str]:
    if isinstance(interval, tuple):
        first, last, symbol = interval
    else:
        first, last, symbol = (_get(interval, n) for n in ("start_date", "end_date", "symbol"))
    if not isinstance(symbol, str):
        raise TypeError(f"symbol of a mapping is {symbol!r}, expected a str")
    return _day("start_date", first), _day("end_date", last), str(symbol)


def _day(name: str, day: Any) -> datetime.date:
    if isinstance(day, datetime.datetime):  # which is a date, too, and equals none
        return day.date()
    if not isinstance(day, datetime.date):
        raise TypeError(f"{name} of a mapping is {day!r}, expected a datetime.date")
    return day


def _get(row: Any, name: str) -> Any:
    if isinstance(row, dict):
        return row[name]
    try:
        return getattr(row, name)
    except AttributeError:
        raise TypeError(f"a mapping holds {row!r}, expected a dict with {name!r}") from None
