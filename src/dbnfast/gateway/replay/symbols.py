"""What a source knows of symbols: from its header, its definitions and its mapping records."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast.enums import RType, SType
from dbnfast.symbology.codes import smart_symbol, texts_of
from dbnfast.symbology.map import SymbolMap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records

    IdSet = frozenset[int]

_CONTINUOUS: Final = re.compile(r".+\.[A-Z]\.\d+")
_PARENT: Final = re.compile(r"(.+)\.([A-Z]+)")
_MONTH: Final = "[FGHJKMNQUVXZ]"
# what an instrument's class belongs to, as parents name it
_CLASSES: Final = {b"F": "FUT", b"S": "FUT", b"C": "OPT", b"P": "OPT", b"T": "OPT", b"X": "SPOT"}
_PATTERNS: Final = {  # of names, ROOT being the parent's
    "FUT": rf"ROOT{_MONTH}\d{{1,2}}(-ROOT{_MONTH}\d{{1,2}})?",
    "OPT": rf"ROOT( *\d{{6}}[CP]\d{{8}}|{_MONTH}\d{{1,2}} [CP]\d+)",
}


class Symbols:
    """
    Symbols to instruments, and back.

    Parameters
    ----------
    metadata : Metadata or None
        The source's header.
    records : Records
        Its records: definitions and mappings among them count.
    """

    def __init__(self, metadata: Metadata | None, records: Records) -> None:
        self._raw: dict[str, set[int]] = {}
        self._named: dict[str, set[int]] = {}  # parents and continuous symbols, by their name
        self._names: dict[int, str] = {}
        self._parents: dict[tuple[str, str], set[int]] = {}
        self._map = SymbolMap()
        if metadata is not None:
            self._add_header(metadata)
        if RType.INSTRUMENT_DEF in records.counts:
            self._add_definitions(records)
        if RType.SYMBOL_MAPPING in records.counts:
            self._add_mappings(records)
        self._sorted = sorted(self._raw)

    def _add_header(self, metadata: Metadata) -> None:
        forward = metadata.stype_out == SType.INSTRUMENT_ID
        if not forward and metadata.stype_in != SType.INSTRUMENT_ID:
            return
        self._map.insert_metadata(metadata)
        for name, intervals in metadata.mappings.items():
            for interval in intervals:
                other = interval["symbol"]
                if other:
                    symbol, number = (name, other) if forward else (other, name)
                    self._add(symbol, int(number))
        if metadata.stype_in == SType.PARENT and len(metadata.symbols) == 1:
            self._named.setdefault(metadata.symbols[0].upper(), set()).update(self._names)

    def _add(self, symbol: str, instrument: int) -> None:
        key = symbol.upper()
        if _CONTINUOUS.fullmatch(key):
            self._named.setdefault(key, set()).add(instrument)
            return
        self._raw.setdefault(key, set()).add(instrument)
        self._names[instrument] = symbol

    def _add_definitions(self, records: Records) -> None:
        array = records.array(RType.INSTRUMENT_DEF)
        self._map.insert_definitions(array)
        for instrument, symbol, asset, kind, cls in zip(
            array["instrument_id"].tolist(),
            texts_of(array["raw_symbol"]),
            texts_of(array["asset"]),
            texts_of(array["security_type"]),
            array["instrument_class"].tolist(),
            strict=True,
        ):
            if symbol:
                self._add(symbol, instrument)
            for suffix in {kind, _CLASSES.get(cls)} - {None, ""} if asset else ():
                key = str(asset).upper(), str(suffix).upper()
                self._parents.setdefault(key, set()).add(instrument)

    def _add_mappings(self, records: Records) -> None:
        array = records.array(RType.SYMBOL_MAPPING)
        self._map.insert_symbol_mapping_msg(records.filter(RType.SYMBOL_MAPPING))
        for instrument, asked, given in zip(
            array["instrument_id"].tolist(),
            texts_of(array["stype_in_symbol"]),
            texts_of(array["stype_out_symbol"]),
            strict=True,
        ):
            symbol = smart_symbol(asked, given)
            if symbol:
                self._add(symbol, instrument)
            if asked and asked != symbol and not asked.isdigit():
                self._named.setdefault(asked.upper(), set()).add(instrument)

    @property
    def known(self) -> frozenset[int]:
        """The instruments that have a symbol."""
        return frozenset(self._names)

    def resolve(self, stype: SType, symbol: str, ids: Iterable[int] = ()) -> IdSet:
        """
        Find the instruments of a symbol.

        Parameters
        ----------
        stype : SType
            What the symbol is.
        symbol : str
            The symbol; upper and lower case are one.
        ids : iterable of int
            Instruments that exist beside those with a symbol.

        Returns
        -------
        frozenset of int
            Empty where there is none.
        """
        key = symbol.strip().upper()
        if stype == SType.INSTRUMENT_ID:
            number = int(key) if key.isascii() and key.isdecimal() and len(key) <= 10 else -1
            return frozenset((number,)) if number in self._names or number in ids else frozenset()
        if stype == SType.RAW_SYMBOL:
            return frozenset(self._raw.get(key, ()))
        if stype == SType.CONTINUOUS:
            return frozenset(self._named.get(key, ()) if _CONTINUOUS.fullmatch(key) else ())
        return self._of_parent(key) if stype == SType.PARENT else frozenset()

    def _of_parent(self, key: str) -> IdSet:
        match = _PARENT.fullmatch(key)
        if match is None:
            return frozenset()
        root, suffix = match.groups()
        found = self._parents.get((root, suffix)) or self._named.get(key)
        if found is None and suffix in _PATTERNS:
            pattern = re.compile(_PATTERNS[suffix].replace("ROOT", re.escape(root)))
            found = set()
            at = bisect_left(self._sorted, root)
            while at < len(self._sorted) and self._sorted[at].startswith(root):
                if pattern.fullmatch(self._sorted[at]):
                    found |= self._raw[self._sorted[at]]
                at += 1
        return frozenset(found or ())

    def names(self, ids: Sequence[int], ns: int) -> list[str | None]:
        """
        Give the raw symbols of instruments.

        Parameters
        ----------
        ids : sequence of int
            The instruments.
        ns : int
            When, ns since 1970-01-01 UTC.

        Returns
        -------
        list of str or None
            Where none holds at that time, one of another; None where there is none at all.
        """
        stamps = np.full(len(ids), ns, np.uint64)
        codes = self._map.codes(np.array(ids, np.uint32), stamps).tolist()
        symbols = self._map.symbols
        found: list[str | None] = []
        for instrument, code in zip(ids, codes, strict=True):
            name = symbols[code] if code >= 0 else None
            if name is None or _CONTINUOUS.fullmatch(name.upper()):
                name = self._names.get(instrument)
            found.append(name)
        return found
