from collections.abc import Callable
from typing import Any, TypeVar, final

from typing_extensions import disjoint_base

_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type)

@disjoint_base
class Method:
    """What a class calls with an instance: a method whose body is in C."""

    __name__: str
    __doc__: str | None
    def __get__(self, instance: object, owner: type | None = None, /) -> Any: ...
    def __call__(self, /, *given: Any, **named: Any) -> Any: ...

@final
class Shown(Method):
    """
    A method that gives what the instance holds as `held`; as ``__format__``, written so.

    Where it holds nothing yet, it is what `make` makes of the instance.
    """

    def __init__(
        self,
        held: str,
        name: str,
        doc: str | None = None,
        make: Callable[[Any], str] | None = None,
    ) -> None: ...

@final
class Found(Method):
    """A method of a class that looks its argument up in the class's `table` first."""

    __wrapped__: Any
    def __init__(self, table: str, function: Any) -> None: ...

@final
class Held:
    """An attribute `name` that is what the instance holds as `held`; kept after the first time."""

    __doc__: str | None
    def __init__(self, held: str, name: str, doc: str | None = None) -> None: ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any: ...

def found_in(table: str) -> Callable[[_F], _F]:
    """Have a method of a class look its argument up in a dict of the class, its `table`, first."""

def kept_in(cls: type, table: str, value: Any, member: Any) -> None:
    """Have `found_in` find a member of an int or str in a `table` of the class from now on."""

def numbered(cls: type) -> None:
    """Have ``int()`` of a class's members be what they hold as ``_code``."""

def quicken(metaclass: _C) -> _C:
    """
    Have classes of a metaclass find their members, by name and by value, without Python code.

    Up to Python 3.11 a class of the enum module looks every name up in Python. What is no member
    is left to the metaclass's base.

    Raises
    ------
    TypeError
        It is none of ``enum.EnumType`` itself.
    """
