"""What one output reads: the records for one schema, and what finds their symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbnfast.enums import RType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast._typing import SchemaLike
    from dbnfast.records.records import Records
    from dbnfast.store.blocks import Blocks
    from dbnfast.symbology.resolver import Ahead, Resolver


class Reading:
    """
    What one output reads.

    Parameters
    ----------
    blocks : Blocks
        The records of the store.
    schema : Schema, RType, str or None
        Which of them the caller wants.
    map_symbols : bool
        Whether the output has symbols.
    text : bool
        Whether it is text.

    Attributes
    ----------
    schema : Schema, RType, str or None
        Which records: those of the store's own schema, or of the one type that a filter leaves of
        mixed data, where the caller did not say.
    resolver : Resolver or None
        What finds their symbols.
    """

    def __init__(
        self,
        blocks: Blocks,
        schema: SchemaLike | None,
        map_symbols: bool = False,
        *,
        text: bool = False,
    ) -> None:
        asked: SchemaLike | None = blocks.conditions.asked
        if schema is None:
            left = blocks.schema is None and isinstance(asked, str | RType)
            schema = asked if left else blocks.schema
        self._blocks = blocks
        self.schema = schema
        self.resolver: Resolver | None = blocks.names.resolver(text) if map_symbols else None
        self._mappings = blocks.needs_mappings(schema, self.resolver)

    @property
    def empty(self) -> Records:
        """What has no record, with the header."""
        return self._blocks.nothing()

    def blocks(self, max_bytes: int | None = None) -> Iterator[Records]:
        """
        Read block by block.

        Parameters
        ----------
        max_bytes : int, optional
            The most bytes of a block; None for what streams.

        Returns
        -------
        iterator of Records
            All in the layouts of the output.
        """
        found = self._blocks.current(self._blocks.passing(max_bytes, self._mappings))
        return self._blocks.watched(found, self.schema)

    def records(self) -> Records:
        """
        Read all at once.

        Returns
        -------
        Records
        """
        records = self._blocks.records(self._mappings)
        for _ in self._blocks.watched((records,), self.schema):
            pass
        return records

    def lines(self, *, watched: bool) -> tuple[Iterator[Records], Resolver | Ahead | None]:
        """
        Read for text: block by block, in the layouts of the stream.

        Parameters
        ----------
        watched : bool
            Whether only records of the schema are written.

        Returns
        -------
        iterator of Records, Resolver or Ahead or None
            The blocks, and what finds their symbols.
        """
        found = self._blocks.passing(mappings=self._mappings)
        if watched:
            found = self._blocks.watched(found, self.schema)
        if self._mappings and self.resolver is not None:
            return self._blocks.with_symbols(found, self.resolver)
        return found, self.resolver
