"""The symbols of a store: what its header says, its records, and what was added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbnfast.codec.metadata import n_mappings
from dbnfast.symbology.map import SymbolMap, ids_of_symbols, resolved
from dbnfast.symbology.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbnfast.codec.metadata import Metadata
    from dbnfast.records.records import Records
    from dbnfast.symbology.map import JsonData


class Naming:
    """
    The symbols of a store.

    Parameters
    ----------
    metadata : Metadata
        Its header.
    added : iterable of mapping
        Mappings that were added, in the form of ``symbology.json``.
    """

    def __init__(self, metadata: Metadata, added: Iterable[Mapping[str, Any]] = ()) -> None:
        self._metadata = metadata
        self._added = list(added)
        self._maps: list[SymbolMap] = []  # of all that, once it was needed; copies share it
        self._resolvers: list[Resolver] = []  # of it; where the stream is not live all use one

    @property
    def added(self) -> list[Mapping[str, Any]]:
        """What was added, in this order."""
        return list(self._added)

    def __getstate__(self) -> dict[str, Any]:
        # made again where it is needed
        return {**self.__dict__, "_maps": [], "_resolvers": []}

    def copy(self) -> Naming:
        """
        Copy it, so that what is added to one is not the other's.

        Returns
        -------
        Naming
        """
        made = Naming(self._metadata, self._added)
        made._maps, made._resolvers = self._maps, self._resolvers
        return made

    def add(self, json_data: JsonData, clear_existing: bool) -> None:
        """
        Add mappings.

        Parameters
        ----------
        json_data, clear_existing
            As `Store.insert_symbology_json` takes them.
        """
        data = resolved(json_data)
        SymbolMap().insert_json(data)  # says now what is wrong
        self._maps, self._resolvers = [], []
        self._added = [data] if clear_existing else [*self._added, data]

    def known(self, mapping_records: Iterable[Records] = ()) -> SymbolMap:
        """
        Put everything together that tells symbols.

        Parameters
        ----------
        mapping_records : iterable of Records
            Those of live data.

        Returns
        -------
        SymbolMap
            A new one.
        """
        made = SymbolMap()
        if n_mappings(self._metadata):
            made.insert_metadata(self._metadata)
        for block in mapping_records:
            made.insert_symbol_mapping_msg(block)
        for added in self._added:
            made.insert_json(added)
        return made

    def ids(self, symbols: Iterable[str], ids: Iterable[int] | None) -> dict[str, Any]:
        """
        Find the instruments that may have symbols.

        Parameters
        ----------
        symbols : iterable of str
            The symbols.
        ids : iterable of int or None
            The instruments that are wanted anyway; None for all.

        Returns
        -------
        dict
            What `Filter` takes; nothing where mapping records say what has a symbol.
        """
        if self._metadata.schema is None:
            return {}
        found = ids_of_symbols(self._known(), symbols)
        return {"instrument_ids": found if ids is None else found & set(ids)}

    def _known(self) -> SymbolMap:
        if not self._maps:
            self._maps.append(self.known())  # what records say is followed as it comes
        return self._maps[0]

    def resolver(self, text: bool = False) -> Resolver:
        """
        Make what finds the symbols of records.

        Parameters
        ----------
        text : bool
            Whether they are for text.

        Returns
        -------
        Resolver
        """
        if self._metadata.schema is not None:
            if not self._resolvers:  # without mappings, nothing has a symbol
                self._resolvers.append(Resolver(self._known(), live=False))
            return self._resolvers[0]
        return Resolver(self._known(), live=True, text=text)
