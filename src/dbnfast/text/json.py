"""JSON lines back into records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbnfast._util.buffers import as_bytes
from dbnfast.enums import DBN_VERSION
from dbnfast.text.input import TextReader
from dbnfast.text.json_lines import JsonParser
from dbnfast.text.parse import make_records
from dbnfast.text.target import Target

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import RType, Schema
    from dbnfast.records.records import Records
    from dbnfast.text.input import TextInput


class JsonLines:
    """
    JSON lines that come in pieces, as a live feed brings them.

    Parameters
    ----------
    metadata : Metadata, optional
        The header. It gives the version, ts_out and schema, and is attached to the records.
    schema : Schema, RType or str, optional
        The type of records that have no rtype.
    version : int
        The DBN version to make records of; definitions of an older one show that themselves.
    ts_out : bool, optional
        Whether records end with a ts_out; None to use whether the first one does.
    """

    __module__ = "dbnfast.text"  # where users find it

    def __init__(
        self,
        *,
        metadata: Metadata | None = None,
        schema: Schema | RType | str | None = None,
        version: int = DBN_VERSION,
        ts_out: bool | None = None,
    ) -> None:
        self._parser = JsonParser(Target(metadata, schema, version, ts_out))

    def push(self, data: Buffer) -> Records:
        """
        Read lines.

        Parameters
        ----------
        data : bytes-like
            Whole lines; the last one's line break may be missing.

        Returns
        -------
        Records
            In a block of their own.

        Raises
        ------
        InvalidRecordError
            A line cannot be read; ``.good`` has the records before it in `data`. The lines
            behind it are lost. Line and offset count over all calls, and so does the next one.
        TypeError
            `data` is not bytes-like.
        """
        block, error = self._parser.parse(bytes(as_bytes(data)))
        records = make_records([block], self._parser.target)
        if error is not None:
            error.good = records
            raise error
        return records


def iter_json(
    source: TextInput,
    *,
    max_bytes: int = 16 << 20,
    metadata: Metadata | None = None,
    schema: Schema | RType | str | None = None,
    version: int = DBN_VERSION,
    ts_out: bool | None = None,
) -> TextReader:
    """
    Read JSON lines of any size in bounded memory.

    Parameters
    ----------
    source : path, URL, bytes-like or readable
        As `from_json` takes it.
    max_bytes : int
        About how many bytes of text become the records of one step.
    metadata, schema, version, ts_out
        As `from_json` takes them.

    Returns
    -------
    TextReader
        An iterator of Records with ``.close()``; a context manager.

    Raises
    ------
    OSError
        The file cannot be read.
    TypeError, ValueError
        An argument has the wrong type or value. Lines that cannot be read raise while iterating,
        after every record before them was given.
    """
    parser = JsonParser(Target(metadata, schema, version, ts_out))
    return TextReader(source, parser, max_bytes)


def from_json(
    source: TextInput,
    *,
    metadata: Metadata | None = None,
    schema: Schema | RType | str | None = None,
    version: int = DBN_VERSION,
    ts_out: bool | None = None,
) -> Records:
    """
    Read JSON lines in the form of Databento back into records.

    Parameters
    ----------
    source : path, URL, bytes-like or readable
        One JSON object a line, plain or zstd-compressed. A readable may be open as text.
    metadata : Metadata, optional
        The header. It gives the version, ts_out and schema, and is attached to the records.
    schema : Schema, RType or str, optional
        The type of records that have no rtype.
    version : int
        The DBN version to make records of. Without metadata, definitions that only older
        versions can hold show it themselves: records are of version 2 from there on.
    ts_out : bool, optional
        Whether records end with a ts_out; None to use whether the first one does.

    Returns
    -------
    Records
        In a new block of memory, in the order of the lines. ``.metadata`` is the one given.

    Raises
    ------
    InvalidRecordError
        A line cannot be read; ``.good`` has the records before it, ``.offset`` says where it
        begins.
    DecodeError
        The compressed data is damaged or cut (``.good`` has the records before), or the source
        is a DBN stream.
    MissingExtraError
        msgspec is not installed.
    OSError
        The file cannot be read.
    TypeError, ValueError
        An argument has the wrong type or value.

    Notes
    -----
    Prices may be decimals or integers of 1e-9, times UTC text or ns, each as text or number.
    What is null is undefined; a null character is NUL. Names that the record's layout does not
    have, ``symbol`` among them, are passed over. A message without a code gets the one that its
    words imply.
    Source: ``docs/format.md``, "Text output".
    """
    parser = JsonParser(Target(metadata, schema, version, ts_out))
    return TextReader(source, parser, None).read_all()
