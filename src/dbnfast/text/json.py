"""JSON lines back into records."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, Final

from dbnfast._util.buffers import as_bytes
from dbnfast._util.extras import require
from dbnfast.enums import DBN_VERSION
from dbnfast.text.input import TextReader
from dbnfast.text.parse import OLD_DEFINITION, Fault, Part, Target, TextParser, make_records
from dbnfast.text.shapes import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

    from dbnfast.codec.metadata import Metadata
    from dbnfast.enums import RType, Schema
    from dbnfast.layouts.fields import Layout
    from dbnfast.records.records import Records
    from dbnfast.text.input import TextInput
    from dbnfast.text.parse import Family

# What the vendor writes for unusual characters, and JSON has no word for.
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|.)", re.DOTALL)
_LONE_BYTE: Final = re.compile(rb'(?<=")[\x80-\xff](?=")')


def _repaired(line: bytes) -> bytes:
    """Give a line of the vendor's JSON as JSON."""

    def escape(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code is not None:
            return rb"\u00" + code
        return b"'" if match[0] == rb"\'" else match[0]

    fixed = _ESCAPE.sub(escape, line)
    return _LONE_BYTE.sub(lambda match: rb"\u00%02x" % match[0][0], fixed)


class _Refused(Exception):
    """A line that is no record, or lines that are to be read one by one."""


class JsonParser(TextParser):
    """
    Pieces of JSON lines in, blocks of records out.

    Parameters
    ----------
    target : Target
        What the records are to be.
    """

    latin = False
    quotes = False
    one_form = False

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._last: Family = ()  # of the line before: the next one is likely to be of it too
        self._is_mixed = False  # whether the piece before had several layouts
        self._bare = shape_of(())
        self._irregular: tuple[type[Exception], ...] = (*self._bare.errors, _Refused)

    def _parts(self, piece: bytes) -> tuple[list[Part], Fault | None]:
        # The usual piece first: an object a line. A line break between two braces cannot be
        # inside an object, so that there are as many objects as lines only if each is one.
        body = piece.replace(b"\r\n", b"\n").rstrip(b"\n")
        n = body.count(b"\n") + 1
        if body.count(b"}\n{") == n - 1 and body[:1] == b"{" and body[-1:] == b"}":
            try:
                parts = self._alike(body, n) or self._grouped(body, n)
            except self._irregular:
                parts = None
            self._is_mixed = parts is not None and len(parts) > 1
            if parts is not None:
                return parts, None
        return self._one_by_one(piece)

    def _alike(self, body: bytes, n: int) -> list[Part] | None:
        # lines of one layout; None where they are of several
        if self._is_mixed:
            return None
        if not self._last:
            line = self._bare.decoder.decode(body.partition(b"\n")[0])
            self._last = self.target.family(self._bare.rtype(line))
        shape = shape_of(self._last)
        lines = shape.decoder.decode_lines(body)
        if any(
            self.target.family(rtype) is not self._last
            for rtype in set(shape.header(lines, "rtype"))
        ):
            return None
        return [self._part(self._last, lines, range(n), n)]

    def _grouped(self, body: bytes, n: int) -> list[Part]:
        # lines of several layouts: first what they are, then those of each together
        heads = self._bare.decoder.decode_lines(body)
        if len(heads) != n:
            raise _Refused("more objects than lines")
        codes = self._bare.header(heads, "rtype")
        families = {code: self.target.family(code) for code in set(codes)}
        rows_of: dict[Family, list[int]] = {}
        for row, code in enumerate(codes):
            rows_of.setdefault(families[code], []).append(row)
        if len(rows_of) > 1 and any(OLD_DEFINITION in family[0].by_name for family in rows_of):
            raise _Refused("a definition may change the version of what follows")
        self._check_ts_out(self._bare, heads)
        texts = body.split(b"\n")
        parts = []
        for family, rows in rows_of.items():
            together = b"\n".join([texts[row] for row in rows])
            lines = shape_of(family).decoder.decode_lines(together)
            parts.append(self._part(family, lines, rows, len(rows)))
        return parts

    def _part(self, family: Family, lines: Sequence[Any], rows: Sequence[int], n: int) -> Part:
        shape = shape_of(family)
        if len(lines) != n:
            raise _Refused("more objects than lines")
        old = set(map(shape.is_old, lines)) if OLD_DEFINITION in family[0].by_name else {False}
        if len(old) > 1:
            raise _Refused("definitions of several versions")
        self._check_ts_out(shape, lines)
        self._check_levels(family, lines)
        layout = self.target.layout(family, old.pop())
        return Part(layout, n, shape.columns(layout, lines, self.target.ts_out), rows)

    def _check_ts_out(self, shape: Shape, lines: Sequence[Any]) -> None:
        target = self.target
        if target.ts_out is None:
            target.ts_out = lines[0].ts_out is not shape.unset
        if target.ts_out or not target.finds_ts_out:
            return
        if set(map(operator.attrgetter("ts_out"), lines)) != {shape.unset}:
            raise _Refused("ts_out is here, the first record has none; name ts_out=True")

    def _check_levels(self, family: Family, lines: Sequence[Any]) -> None:
        n_levels = family[0].n_levels
        most = max((len(line.levels or ()) for line in lines), default=0) if n_levels else 0
        if most > n_levels:
            raise _Refused(f"levels are {most}, expected {n_levels}")

    def _one_by_one(self, piece: bytes) -> tuple[list[Part], Fault | None]:
        found: dict[Layout, tuple[Shape, list[Any], list[int]]] = {}
        fault = None
        row = 0
        for text in piece.split(b"\n"):
            if not text.strip():
                continue
            try:
                shape, line = self._line(text)
            except _Refused as refused:
                fault = Fault(row, str(refused))
                break
            layout = self.target.layout(self._last, shape.is_old(line))
            _, lines, rows = found.setdefault(layout, (shape, [], []))
            lines.append(line)
            rows.append(row)
            row += 1
        parts = [
            Part(layout, len(lines), shape.columns(layout, lines, self.target.ts_out), rows)
            for layout, (shape, lines, rows) in found.items()
        ]
        return parts, fault

    def _line(self, text: bytes) -> tuple[Shape, Any]:
        shape = shape_of(self._last)
        line = self._decoded(shape, text)
        try:
            family = self.target.family(shape.rtype(line))
        except ValueError as error:
            raise _Refused(str(error)) from None
        if family is not self._last:
            self._last, shape = family, shape_of(family)
            line = self._decoded(shape, text)
        self._check_ts_out(shape, [line])
        self._check_levels(family, [line])
        return shape, line

    def _decoded(self, shape: Shape, text: bytes) -> Any:
        decode: Callable[[bytes], Any] = shape.decoder.decode
        try:
            return decode(text)
        except shape.errors:
            pass
        repaired = _repaired(text)
        try:
            return decode(repaired)
        except shape.errors as error:
            raise _Refused(f"no JSON object of a record: {self._why(repaired, error)}") from None

    def _why(self, text: bytes, error: Exception) -> str:
        # the same words, whatever shape the line was tried with: that depends on lines before it
        bare = self._bare
        wrong: tuple[type[Exception], ...] = (*bare.errors, ValueError)
        try:
            require("msgspec", "json").json.decode(text)
        except bare.errors as first:
            if "$" not in str(first):  # no value is at fault, it is no JSON
                return str(first)
        try:
            rtype = bare.rtype(bare.decoder.decode(text))
            shape_of(self.target.family(rtype)).decoder.decode(text)
        except wrong as first:
            return str(first)
        return str(error)

    def _place(self, piece: bytes, row: int) -> int:
        at = 0
        for text in piece.split(b"\n"):
            if text.strip():
                if row == 0:
                    break
                row -= 1
            at += len(text) + 1
        return at


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
    source : path, bytes-like or readable
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
    source : path, bytes-like or readable
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
