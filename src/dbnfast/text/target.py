"""What the records of a text are to be, as the caller says and as the text shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.arguments import check_version
from dbnfast.codec.metadata import Metadata
from dbnfast.enums import DBN_VERSION, RType
from dbnfast.layouts.dtypes import as_rtype
from dbnfast.layouts.table import LAYOUTS_BY_RTYPE

if TYPE_CHECKING:
    from dbnfast.enums import Schema
    from dbnfast.layouts.fields import Layout

    Family = tuple[Layout, ...]  # the layouts that one rtype has had

OLD_DEFINITION: Final = "trading_reference_price"  # version 3 has no such field


class Target:
    """
    What the records are to be, as the caller says and as the text shows.

    Parameters
    ----------
    metadata, schema, version, ts_out
        As `from_json` takes them.

    Attributes
    ----------
    metadata : Metadata or None
        As given.
    version : int
        The DBN version; 2 from the first definition on that only older versions can hold.
    ts_out : bool or None
        Whether records end in a ts_out; None until the first record tells.
    finds_ts_out : bool
        Whether the first record tells.
    finds_version : bool
        Whether definitions tell the version.
    """

    def __init__(
        self,
        metadata: Metadata | None,
        schema: Schema | RType | str | None,
        version: int,
        ts_out: bool | None,
    ) -> None:
        version = check_version("version", version)
        if metadata is not None and not isinstance(metadata, Metadata):
            raise TypeError(f"metadata is {type(metadata).__name__}, expected Metadata")
        rtype = None if schema is None else as_rtype(schema)[1]
        if metadata is not None:
            if version not in (DBN_VERSION, metadata.version):
                raise ValueError(f"version is {version}, the metadata's is {metadata.version}")
            if ts_out is not None and bool(ts_out) != metadata.ts_out:
                raise ValueError(f"ts_out is {ts_out}, the metadata's is {metadata.ts_out}")
            if rtype is None and metadata.schema is not None:
                rtype = as_rtype(metadata.schema)[1]
            version, ts_out = metadata.version, metadata.ts_out
        self.metadata = metadata
        self.version = version
        self.ts_out = None if ts_out is None else bool(ts_out)
        self.finds_ts_out = ts_out is None
        self.finds_version = metadata is None and version == DBN_VERSION
        self._rtype = rtype

    @property
    def named_rtype(self) -> int | None:
        """The rtype of records that do not say theirs, where the caller named one."""
        return None if self._rtype is None else int(self._rtype)

    @property
    def rtype(self) -> int:
        """The rtype of records that do not say theirs; 0 where that is an error anyway."""
        return int(self._rtype or 0)

    def family(self, rtype: Any) -> Family:
        """
        Find the layouts of an rtype.

        Parameters
        ----------
        rtype : Any
            As the text has it; None or empty for the schema's.

        Returns
        -------
        tuple of Layout

        Raises
        ------
        ValueError
            It is no rtype, or has no layout; the message says so.
        """
        if rtype is None or rtype == "":
            if self._rtype is None:
                raise ValueError("there is no rtype; name the schema")
            rtype = int(self._rtype)
        is_code = isinstance(rtype, str) and rtype.isascii() and rtype.isdecimal()
        code = int(rtype) if is_code and len(rtype) < 4 else rtype
        if type(code) is not int or not 0 <= code < 256:
            raise ValueError(f"rtype {shown(rtype)} is none, expected 0 to 255")
        if code not in LAYOUTS_BY_RTYPE:
            raise ValueError(f"rtype {code} has no layout")
        return LAYOUTS_BY_RTYPE[code]

    def choice(self, family: Family, is_old: bool) -> tuple[Layout, int]:
        """
        Find the layout of a record.

        Parameters
        ----------
        family : tuple of Layout
            The layouts of its rtype.
        is_old : bool
            Whether it is a definition with a field that version 3 lacks.

        Returns
        -------
        layout : Layout
            That of the record.
        version : int
            The DBN version from the record on.
        """
        version = self.version
        if self.finds_version and OLD_DEFINITION in family[0].by_name:  # definitions show theirs
            version = 2 if is_old else DBN_VERSION
        layout = next(layout for layout in family if version in layout.versions)
        return layout, min(self.version, version)

    def layout(self, family: Family, is_old: bool) -> Layout:
        """
        Find the layout of a record, which is the next one.

        Parameters
        ----------
        family, is_old
            As `choice` takes them.

        Returns
        -------
        Layout
        """
        layout, self.version = self.choice(family, is_old)
        return layout


def shown(value: Any) -> str:
    """
    Give a value of the input as an error shows it.

    Parameters
    ----------
    value : Any
        The value.

    Returns
    -------
    str
        Its representation, or the beginning of it.
    """
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:60]!r}..."
    if type(value) is int and abs(value) >= 2**128:
        return "of more than 128 bits"
    return repr(value) if value is None or isinstance(value, int) else f"({type(value).__name__})"
