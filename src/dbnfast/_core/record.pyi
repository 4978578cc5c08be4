from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar, final, overload

from typing_extensions import Buffer, disjoint_base

from dbnfast._core.codes import Method
from dbnfast._core.copy import Program
from dbnfast._core.run import Run
from dbnfast._core.scan import SizeTable

_Made = TypeVar("_Made")

def struct_base(cls: type) -> type:
    """
    Make a class of structs that has what `cls` has, and what all structs have.

    That is `__bytes__`, `__copy__`, `to_dict`, and `_stamped`: whether the last 8 bytes are a
    ts_out. A struct is bytes of its own, whose fields are attributes; it is immutable, and equal
    by class and bytes. Classes of structs are made by deriving from this one, and `Shape.bind`.
    """

def with_state(made: _Made, state: Any) -> _Made:
    """Give an object what another one of its class holds, as its ``__getstate__`` gave it."""

def struct_from(cls: type, raw: bytes, min_size: int, ts_out: bool = False) -> Any:
    """
    Make a struct of `cls` from its bytes.

    Raises
    ------
    TypeError
        `cls` is no class of structs.
    ValueError
        There are fewer than `min_size` bytes.
    """

@final
class Members:
    """
    What the raw values of a field become.

    Parameters
    ----------
    known : mapping
        From the raw value, an int or a character, to what the attribute gives; a value that is
        no key is given raw.
    characters : bool
        Whether the raw values are characters.
    codes : mapping, optional
        From members that may be given to their codes; those of characters are the characters.
    enum : type, optional
        The class of these members.
    """

    def __init__(
        self,
        known: Mapping[Any, Any],
        characters: bool,
        codes: Mapping[Any, int] | None = None,
        enum: type | None = None,
    ) -> None: ...

@final
class Attribute:
    """
    One field of a struct, as a data descriptor.

    Parameters
    ----------
    code : int
        0-3 unsigned of 8 to 64 bits, 4-7 signed, 8 character, 9 text, 10 price as float,
        11 time as `make` gives it, 12 ts_out, 13 ts_out likewise, 14 a new list of `count` structs
        of the class `make`, each of `width` bytes.
    offset, width : int
        Where the field stands.
    members : Members, optional
        Of unsigned integers of up to 16 bits and of characters.
    make : callable, optional
        Called with the ns of a time that is not undefined.
    allowed : container, optional
        What may be given for it; None for all that fits.
    """

    name: str
    __doc__: str | None
    def __init__(
        self,
        name: str,
        code: int,
        offset: int,
        width: int,
        members: Members | None = None,
        make: Callable[[int], Any] | type | None = None,
        doc: str | None = None,
        count: int = 1,
        allowed: Container[int] | None = None,
    ) -> None: ...
    def __set_name__(self, owner: type, name: str, /) -> None: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Any: ...
    def __set__(self, instance: object, value: object, /) -> None: ...
    def __delete__(self, instance: object, /) -> None: ...

@final
class Size(Method):
    """
    The size of a struct in bytes, an attribute and a method in one.

    Parameters
    ----------
    kind : callable
        What the attribute gives is made of the int by it; calls give the int.
    """

    def __init__(self, kind: Callable[[int], int], name: str, doc: str | None = None) -> None: ...

@final
class Equals(Method):
    """A method that tells whether an attribute of the instance has a value."""

    def __init__(
        self, attribute: Attribute, wanted: object, name: str, doc: str | None = None
    ) -> None: ...

@final
class Shape:
    """
    What a class of structs is made of.

    Parameters
    ----------
    template : bytes
        A struct in which every field is undefined, or as it is where it is not given.
    given : list of Attribute
        What calls of the class take, in this order or by name.
    shown : list of (Attribute, int)
        What `text` and `row` show; the int is the code of the pretty form, or 0.
    stamps : bool
        Whether a ts_out may follow.
    """

    def __init__(
        self,
        template: bytes,
        given: list[Attribute],
        shown: list[tuple[Attribute, int]],
        stamps: bool,
    ) -> None: ...
    def text(self, some: object, /) -> str:
        """Write a struct as ``Name(field=value, pretty_field='value', ...)``."""
    def row(self, some: object, /) -> dict[str, Any]:
        """Give what is shown by name."""
    def changed(self, some: object, /, fields: dict[str, Any]) -> Any:
        """Copy a struct with other values; None where one of them is not plain."""
    def bind(self, cls: type, called: bool) -> None:
        """
        Make a class, as `type` made it, one of structs of this shape.

        Its instances are found by no garbage collector, and if `called`, calls of it make structs
        without Python code where all values are plain: ints, one character, ASCII, members.
        Anything else is left to its ``__new__``.

        Raises
        ------
        TypeError
            Its instances have more than their bytes.
        """

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
        fallback: type,
        entries: Iterable[tuple[int, int, type, Program | None, type]],
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
