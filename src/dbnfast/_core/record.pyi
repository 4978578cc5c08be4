from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, final, overload

from typing_extensions import Buffer, disjoint_base

from dbnfast._core.copy import Program
from dbnfast._core.run import Run
from dbnfast._core.scan import SizeTable

@disjoint_base
class Struct:
    """Bytes of its own, whose fields are attributes. Immutable; equal by class and bytes."""

    def __bytes__(self) -> bytes: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    @staticmethod
    def _from_bytes(cls: type, raw: bytes, min_size: int, ts_out: bool = False) -> Any:
        """
        Make a struct of `cls` from its bytes.

        Raises
        ------
        ValueError
            There are fewer than `min_size` bytes.
        """
    @property
    def _stamped(self) -> bool: ...

@final
class Attribute:
    """
    One field of a struct, as a data descriptor.

    Parameters
    ----------
    code : int
        0-3 unsigned of 8 to 64 bits, 4-7 signed, 8 character, 9 text, 10 price as float,
        11 time as `make_time` gives it, 12 ts_out, 13 ts_out likewise.
    offset, width : int
        Where the field stands.
    members : mapping, optional
        From the raw value to what the attribute gives; a value that is no key is given raw.
    make_time : callable, optional
        Called with the ns of a time that is not undefined.
    """

    name: str
    __doc__: str | None
    def __init__(
        self,
        name: str,
        code: int,
        offset: int,
        width: int,
        members: Mapping[Any, Any] | None = None,
        make_time: Callable[[int], Any] | None = None,
        doc: str | None = None,
    ) -> None: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Any: ...
    def __set__(self, instance: object, value: object, /) -> None: ...
    def __delete__(self, instance: object, /) -> None: ...

@disjoint_base
class RecordTable:
    """
    Which class a record becomes.

    Parameters
    ----------
    fallback : type
        For rtypes without an entry.
    entries : iterable of (rtype, size, cls, program, newest)
        The largest size that fits tells the class; the program makes it a `newest`.
    """

    def __init__(
        self,
        fallback: type[Struct],
        entries: Iterable[tuple[int, int, type[Struct], Program | None, type[Struct]]],
    ) -> None: ...

@final
class RecordIterator:
    """The records of a run as objects, each with bytes of its own."""

    def __init__(self, run: Run, table: RecordTable, sizes: SizeTable, upgrade: bool) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...

def record_from(table: RecordTable, data: Buffer, ts_out: bool, upgrade: bool) -> Any:
    """
    Make the record that `data` holds from end to end.

    Raises
    ------
    ValueError
        `data` is not one whole record.
    """
