"""Arrays of records: what callers name them by, their dtypes, and empty ones."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.arguments import check_version
from dbnfast.enums import DBN_VERSION, SCHEMA_RTYPES, RType, Schema, one_of
from dbnfast.errors import UnknownNameError
from dbnfast.layouts.table import LAYOUTS, LAYOUTS_BY_RTYPE, layout_for, layout_for_schema

if TYPE_CHECKING:
    from dbnfast._typing import Array, SchemaLike
    from dbnfast.layouts.fields import Layout


_SCHEMAS: Final[dict[str, Schema]] = {str(schema): schema for schema in Schema}
_RTYPES: Final[dict[int, RType]] = {int(rtype): rtype for rtype in RType}
_LAYOUT_BY_DTYPE: Final[dict[np.dtype[np.void], tuple[Layout, bool]]] = {
    layout.dtype(ts_out): (layout, ts_out) for layout in LAYOUTS for ts_out in (False, True)
}


def rtype_key(rtype: int) -> RType | int:
    """
    Give an rtype as the member that it is, or as the int where it is none with a layout.

    Parameters
    ----------
    rtype : int
        The code on the wire.

    Returns
    -------
    RType or int
    """
    return _RTYPES[rtype] if rtype in LAYOUTS_BY_RTYPE else rtype


def as_rtype(schema: Schema | RType | str | int) -> tuple[Schema | None, RType]:
    """
    Read what a caller names records by.

    Parameters
    ----------
    schema : Schema, RType or str
        A schema or its text, or an rtype or its text.

    Returns
    -------
    schema, rtype
        The schema is None where an rtype was given.

    Raises
    ------
    TypeError, ValueError
        It is neither.
    """
    if isinstance(schema, RType):
        return None, schema
    if not isinstance(schema, str) and hasattr(schema, "variants"):
        # a member of the official packages' enumerations: a schema's value is its text
        value = getattr(schema, "value", None)
        schema = value if isinstance(value, str) else RType(value)
        return as_rtype(schema)
    if isinstance(schema, str):
        found = _SCHEMAS.get(schema.lower().replace("_", "-"))
        if found is not None:
            return found, SCHEMA_RTYPES[found]
        try:
            return None, RType.from_str(schema)
        except ValueError:
            known = list(dict.fromkeys([*_SCHEMAS, *map(str, RType)]))
            raise UnknownNameError(
                f"{schema!r} is neither a schema nor an rtype{one_of(schema, known, [*_SCHEMAS])}"
            ) from None
    raise TypeError(f"schema is {schema!r}, expected a Schema, its text, or an RType")


def stretched(dtype: np.dtype[np.void], size: int) -> np.dtype[np.void]:
    """
    Fit a dtype that ends in ts_out to records longer than their struct.

    Parameters
    ----------
    dtype : numpy.dtype
        Of a layout with ts_out.
    size : int
        Bytes of a record.

    Returns
    -------
    numpy.dtype
        The same fields, with ts_out where it is: at the record's end.
    """
    fields = dtype.fields
    assert fields is not None
    offsets = [fields[name][1] for name in fields]
    return np.dtype(
        {
            "names": list(fields),
            "formats": [fields[name][0] for name in fields],
            "offsets": [*offsets[:-1], size - 8],
            "itemsize": size,
        }
    )


def schema_dtype(
    schema: Schema | RType | str, version: int, ts_out: bool
) -> tuple[Layout, np.dtype[np.void]]:
    """
    Find the layout and dtype of a schema or rtype.

    Parameters
    ----------
    schema : Schema, RType or str
        The schema, or an rtype for records that no schema has.
    version : int
        The DBN version, 1 to 3.
    ts_out : bool
        Whether a ts_out follows every record.

    Returns
    -------
    layout, dtype

    Raises
    ------
    TypeError, ValueError
        There is no such schema or version.
    """
    version = check_version("version", version)
    wanted, rtype = as_rtype(schema)
    layout = layout_for(rtype, version) if wanted is None else layout_for_schema(wanted, version)
    assert layout is not None  # every RType has a layout in every version
    return layout, layout.dtype(ts_out)


def dtype(
    schema: SchemaLike, *, version: int = DBN_VERSION, ts_out: bool = False
) -> np.dtype[np.void]:
    """
    Give the dtype of a schema's records.

    Parameters
    ----------
    schema : Schema, RType or str
        The schema; an rtype for records that no schema has.
    version : int
        The DBN version, 1 to 3.
    ts_out : bool
        Whether a ts_out follows every record, as its last field.

    Returns
    -------
    numpy.dtype
        Packed, little-endian, under the official field names.

    Raises
    ------
    TypeError, ValueError
        There is no such schema or version.
    """
    return schema_dtype(schema, version, ts_out)[1]


def empty(schema: SchemaLike, n: int, *, version: int = DBN_VERSION, ts_out: bool = False) -> Array:
    """
    Make records to be filled in.

    Parameters
    ----------
    schema : Schema, RType or str
        The schema; an rtype for records that no schema has.
    n : int
        Number of records.
    version : int
        The DBN version, 1 to 3.
    ts_out : bool
        Whether a ts_out follows every record.

    Returns
    -------
    ndarray, shape (n,)
        A new, writable array: length and rtype are set, all else is at its undefined value, or
        zero where it has none.

    Raises
    ------
    TypeError, ValueError
        There is no such schema or version, or `n` is no int, or negative.
    """
    layout, kind = schema_dtype(schema, version, ts_out)
    record = layout.undefined(ts_out)
    record["rtype"] = as_rtype(schema)[1]
    made = np.empty(operator.index(n), kind)
    made[:] = record
    return made


def layout_of_dtype(array: np.ndarray[Any, Any]) -> tuple[Layout, bool]:
    """
    Find the layout that an array's dtype is.

    Parameters
    ----------
    array : ndarray
        A structured array.

    Returns
    -------
    layout, ts_out

    Raises
    ------
    TypeError
        It is none of the layouts'.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{type(array).__name__} is no structured array of records")
    found = _LAYOUT_BY_DTYPE.get(array.dtype)
    if found is None:
        raise TypeError(f"dtype {array.dtype} is of no DBN record; dtype() gives those")
    return found
