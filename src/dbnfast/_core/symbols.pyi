from typing import final

from typing_extensions import Buffer

from dbnfast._core.scan import SizeTable

@final
class SymbolTable:
    """
    The symbols of instruments over time. Immutable; the columns are copied.

    Parameters
    ----------
    ids : uint32, shape (n_ids,)
        Instrument ids, ascending.
    first : int64, shape (n_ids + 1,)
        Where the intervals of each id begin, and their end.
    begins, ends : uint64, shape (n,)
        Half-open intervals, ns since 1970-01-01 UTC; of each id disjoint and ascending.
    codes : int32, shape (n,)
        What stands for the symbol, 0 or more.

    Raises
    ------
    ValueError
        The columns do not fit together, or are out of order.
    """

    def __init__(
        self, ids: Buffer, first: Buffer, begins: Buffer, ends: Buffer, codes: Buffer
    ) -> None: ...
    @property
    def n_ids(self) -> int: ...
    @property
    def n_intervals(self) -> int: ...
    def code(self, id: int, ts: int) -> int:
        """Give the code of one id at one time, -1 where it is unmapped."""

def lookup(table: SymbolTable, ids: Buffer, stamps: Buffer, out: Buffer) -> None:
    """
    Look up ids at times.

    Parameters
    ----------
    table : SymbolTable
    ids : uint32, shape (n,)
    stamps : uint64, shape (n,)
        ns since 1970-01-01 UTC; 2**64 - 1 is never mapped.
    out : int32, shape (n,)
        Filled with codes, -1 where unmapped.
    """

def lookup_records(table: SymbolTable, data: Buffer, size: int, ts_at: int, out: Buffer) -> None:
    """
    Look up records of one size.

    Parameters
    ----------
    table : SymbolTable
    data : bytes-like
        Whole records of `size` bytes.
    size, ts_at : int
        Bytes of a record, and where its index timestamp stands.
    out : int32, shape (n_records,)
        Filled with codes, -1 where unmapped.
    """

def lookup_stream(
    table: SymbolTable,
    data: Buffer,
    sizes: SizeTable,
    ts_out: bool,
    wanted: Buffer,
    ts_at: Buffer,
    out: Buffer,
) -> None:
    """
    Look up the wanted records of a mixed run.

    Parameters
    ----------
    wanted : bytes-like, 256 bytes
        Non-zero for every rtype to look up.
    ts_at : uint16, shape (256,)
        Where each rtype has its index timestamp.
    out : int32, shape (n_wanted,)
        Filled with codes in the order of the stream, -1 where unmapped.

    Raises
    ------
    ValueError
        `out` was not filled exactly.
    """

@final
class LiveMap:
    """The symbol that each instrument has now, as a stream's mapping records say."""

    def code(self, id: int) -> int:
        """Give the code of one id, -1 where it has none."""

def track(
    live: LiveMap,
    table: SymbolTable | None,
    data: Buffer,
    sizes: SizeTable,
    ts_out: bool,
    mapping_rtype: int,
    map_codes: Buffer,
    wanted: Buffer,
    ts_at: Buffer,
    out: Buffer,
) -> None:
    """
    Follow the mappings of a stream and look up its wanted records, in one pass.

    Parameters
    ----------
    live : LiveMap
        What the stream said so far; changed.
    table : SymbolTable or None
        Asked, by the index timestamp, for ids that `live` does not have.
    mapping_rtype : int
        The rtype of mapping records. Each sets its id's symbol before it is looked up itself.
    map_codes : int32, shape (n_mappings,)
        What each mapping record sets; -1 takes the symbol away, less leaves it as it is.
    wanted, ts_at, out
        As `lookup_stream` takes them.

    Raises
    ------
    ValueError
        `map_codes` was not used up, or `out` not filled, exactly; `live` may have changed.
    """

def decimals(texts: list[str], out: Buffer) -> int:
    """
    Read texts as 32-bit numbers into uint32 `out`: ASCII digits, a plus before them or none.

    Returns
    -------
    int
        The index of the first text that is no such number, -1 where all are.
    """
