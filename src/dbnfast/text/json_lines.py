"""The reader of JSON lines: usual ones by the core alone, all others by msgspec."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.extras import require
from dbnfast.text.objects import LARGEST, object_plan
from dbnfast.text.parse import Fault, Part, TextParser
from dbnfast.text.shapes import Shape, shape_of
from dbnfast.text.target import OLD_DEFINITION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbnfast._core.objects import ObjectPlan
    from dbnfast._typing import Bytes
    from dbnfast.layouts.fields import Layout
    from dbnfast.text.target import Family, Target

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
        self._is_old = False  # whether definitions are old, as the last ones were
        self._room = np.empty(0, np.uint8)  # for the records of a piece, again and again
        self._bare = shape_of(())
        self._irregular: tuple[type[Exception], ...] = (*self._bare.errors, _Refused)

    def _quick(self, piece: bytes) -> tuple[Bytes, int, int] | None:
        # Lines in which nothing is unusual: the core alone reads them, of whatever layouts.
        target = self.target
        ts_out, strict = target.ts_out, target.finds_ts_out
        if ts_out is None:
            end = piece.find(b"\n")
            ts_out = piece.find(b'"ts_out"', 0, end if end >= 0 else len(piece)) >= 0
        elif ts_out:
            strict = False
        for is_old in (self._is_old, not self._is_old) if target.finds_version else (False,):
            plan = object_plan(
                target.version, target.finds_version, is_old, ts_out, strict, target.named_rtype
            )
            found = self._filled(plan, piece)
            if found is not None:
                break
        else:
            return None
        n, n_breaks, n_bytes = found
        if n:
            self._is_old, target.ts_out = is_old, ts_out
            if is_old:
                target.version = min(target.version, 2)
        return self._room[:n_bytes].copy(), n, n_breaks

    def _filled(self, plan: ObjectPlan, piece: bytes) -> tuple[int, int, int] | None:
        if len(self._room) < len(piece):  # nearly all records are shorter than their lines
            self._room = np.empty(len(piece), np.uint8)
        while True:
            found = plan.fill(piece, self._room)
            if found is None or found[0] >= 0:
                return found
            self._room = np.empty(2 * len(self._room) + LARGEST, np.uint8)

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
        if any(line.ts_out is not shape.unset for line in lines):
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
        try:
            line = self._decoded(shape, text)
        except _Refused:
            if not self._last:
                raise
            # a name that the line before gave a type may be unknown in this one
            self._last, shape = (), self._bare
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
