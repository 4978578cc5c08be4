import datetime
from array import array
from collections.abc import Sequence
from typing import Final

from typing_extensions import Buffer, disjoint_base

LIST_NAMES: Final[tuple[str, str, str, str]]

@disjoint_base
class Header:
    """
    The header's fixed fields, and where its lists stand.

    Texts are read when asked for and raise MetadataError where they are not UTF-8.
    """

    @property
    def body(self) -> bytes | memoryview: ...
    @property
    def version(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def schema(self) -> int: ...
    @property
    def stype_in(self) -> int: ...
    @property
    def stype_out(self) -> int: ...
    @property
    def symbol_cstr_len(self) -> int: ...
    @property
    def ts_out(self) -> bool: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int | None: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def dataset(self) -> str: ...
    def hold(self) -> bool:
        """
        Take the body's buffer once; then any number of threads may read the header.

        Gives whether nobody may write to that buffer.
        """
    def count(self, which: int) -> int: ...
    def texts(self, which: int) -> list[str]:
        """Read a list of texts: 0 symbols, 1 partial, 2 not_found."""
    def mappings(self) -> list[tuple[str, list[tuple[datetime.date, datetime.date, str]]]]:
        """
        Read the mappings.

        Raises
        ------
        MetadataError
            A date is none in the calendar, or a text not UTF-8.
        """
    def intervals(
        self,
    ) -> tuple[list[str], array[int], array[int], array[int], list[str]]:
        """
        Read the mappings as columns, one entry for each interval.

        Returns
        -------
        raw_symbols : list of str
            One for each mapping.
        rows : array of int64
            The mapping of each interval, as an index of `raw_symbols`.
        starts, ends : array of uint32
            The first day and the day behind the last, as YYYYMMDD.
        symbols : list of str

        Raises
        ------
        MetadataError
            A date is none in the calendar, or a text not UTF-8.
        """

def header_size(data: Buffer) -> int | None:
    """
    Check the prelude and tell how long the whole header is.

    Returns
    -------
    int or None
        Bytes, prelude included; None where the 8 bytes of the prelude are not all there.

    Raises
    ------
    MetadataError, UnsupportedVersionError
        What is there cannot begin a header.
    """

def parse_header(source: Buffer) -> Header:
    """
    Parse the header that `source` begins with; `source` is kept, not copied.

    Raises
    ------
    TruncatedError
        The header is cut, or `source` empty.
    MetadataError, UnsupportedVersionError
        A field, or the length of a list, is not valid.
    """

def parse_lists(data: Buffer, source: bytes, symbol_cstr_len: int) -> Header:
    """Parse lists that stand alone behind a schema definition length, as DBZ has them."""

def set_codes(schemas: frozenset[int], stypes: frozenset[int]) -> None:
    """Tell which codes are known, once, at import."""

def encode_header(
    version: int,
    dataset: str,
    schema: int,
    start: int,
    end: int,
    limit: int,
    stype_in: int,
    stype_out: int,
    ts_out: bool,
    symbol_cstr_len: int,
    lists: tuple[Sequence[str], Sequence[str], Sequence[str]],
    mappings: list[tuple[str, list[tuple[datetime.date, datetime.date, str]]]],
) -> bytes:
    """
    Write a whole header.

    Raises
    ------
    EncodeError
        A text is not ASCII or too long for its field.
    """
