"""What the table of layouts means to the writer of text: columns, keys, escapes, programs."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from dbnfast._core.text import TextProgram, TextStyle
from dbnfast.layouts.fields import CHAR, CSTR, PRICE, TIMESTAMP, Field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbnfast.layouts.fields import Layout

    Op = tuple[bytes, str, int, int]
    Token = bytes | Field | None  # None is the symbol

LITERAL: Final = 56  # bytes that one op can hold
_HEADER: Final = ("ts_event", "rtype", "publisher_id", "instrument_id")
_CHAR_ESCAPES: Final = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}
_JSON_ESCAPES: Final = {
    8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 47: "\\/", 92: "\\\\",
}  # fmt: skip
_JSON_TABLE: Final = {byte: f"\\u{byte:04X}" for byte in range(32)} | _JSON_ESCAPES


class TextOptions(NamedTuple):
    """
    How rows are written.

    Attributes
    ----------
    json : bool
        JSON lines, else CSV.
    pretty_px : bool
        Prices as decimals, else as integers in 1e-9.
    pretty_ts : bool
        Times as ISO 8601, else as integers, ns since 1970-01-01 UTC.
    map_symbols : bool
        Whether a row ends in its symbol.
    """

    json: bool
    pretty_px: bool
    pretty_ts: bool
    map_symbols: bool


def csv_text(text: str) -> bytes:
    """
    Write a text as a CSV field.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    bytes
        In quotes only where it needs them.
    """
    if any(c in text for c in '",\r\n'):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode()


def json_text(text: str) -> bytes:
    """
    Write a text as a JSON string.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    bytes
        With its quotes; a slash is escaped too, as the official packages do.
    """
    return b'"' + text.translate(_JSON_TABLE).encode() + b'"'


def _csv_char(byte: int) -> bytes:
    if byte == 0:
        return b""
    if byte in _CHAR_ESCAPES:
        return csv_text(_CHAR_ESCAPES[byte])
    return csv_text(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")


def _csv_raw(byte: int) -> bytes:
    return csv_text(chr(byte)) if byte < 128 else _csv_char(byte)


def _json_char(byte: int) -> bytes:
    # The official packages write \' and \xNN, which are no JSON.
    if byte == 0:
        return b"null"
    if byte != 39 and byte in _CHAR_ESCAPES:
        return f'"{_CHAR_ESCAPES[byte]}"'.encode()
    return f'"\\u{byte:04X}"'.encode() if byte < 32 or byte == 127 else f'"{chr(byte)}"'.encode()


def _json_raw(byte: int) -> bytes:
    return json_text(chr(byte))


def _style(json: bool) -> TextStyle:
    escapes = [bytes((byte,)) for byte in range(256)]
    if json:
        for byte, escape in _JSON_TABLE.items():
            escapes[byte] = escape.encode()
    else:
        escapes[34] = b'""'
    char, raw = (_json_char, _json_raw) if json else (_csv_char, _csv_raw)
    return TextStyle(
        null=b"null" if json else b"",
        quote=json,
        wrap=json,
        chars=[char(byte) for byte in range(256)],
        raws=[raw(byte) for byte in range(256)],
        escapes=escapes,
        special=bytes(byte in (_JSON_TABLE if json else b'",\r\n') for byte in range(256)),
    )


CSV: Final = _style(False)
JSON: Final = _style(True)


def columns(layout: Layout, ts_out: bool, map_symbols: bool) -> list[str]:
    """
    Name the columns of CSV.

    Parameters
    ----------
    layout : Layout
        Of the records.
    ts_out : bool
        Whether a ts_out follows every record.
    map_symbols : bool
        Whether a row ends in its symbol.

    Returns
    -------
    list of str
    """
    names = [field.name for field in layout.ordered]
    return names + ["ts_out"] * ts_out + ["symbol"] * map_symbols


def _shown(layout: Layout, size: int, ts_out: bool) -> Iterator[Field]:
    yield from layout.ordered
    if ts_out:  # the last field of a record, whatever its length
        yield layout.all_fields(True)[-1]._replace(offset=size - 8)


def _csv_tokens(layout: Layout, size: int, ts_out: bool, options: TextOptions) -> Iterator[Token]:
    separator = b""
    for field in _shown(layout, size, ts_out):
        yield separator
        yield field
        separator = b","
    if options.map_symbols:
        yield separator
        yield None
    yield b"\n"


def _json_tokens(layout: Layout, size: int, ts_out: bool, options: TextOptions) -> Iterator[Token]:
    separator = b"{"
    last = layout.n_levels - 1
    for place, fields in groupby(_shown(layout, size, ts_out), _place):
        opening = closing = b""
        if place == "hd":
            opening, closing = b'"hd":{', b"}"
        elif isinstance(place, int):
            opening = b"{" if place else b'"levels":[{'
            closing = b"}]" if place == last else b"}"
        yield separator + opening
        for i, field in enumerate(fields):
            yield b"," * (i > 0) + b'"' + field.base_name.encode() + b'":'
            # 64-bit numbers are strings: readers that know doubles alone would round them
            quote = b'"' * (_kind(field, options) in ("u8", "i8"))
            yield quote
            yield field
            yield quote
        yield closing
        separator = b","
    if options.map_symbols:
        yield b',"symbol":'
        yield None
    yield b"}\n"


def _place(field: Field) -> str | int:
    # what a field is written with: its level, the header, or neither
    if field.level is not None:
        return field.level
    return "hd" if field.name in _HEADER else ""


def _kind(field: Field, options: TextOptions) -> str:
    if field.kind == PRICE and options.pretty_px:
        return "price"
    if field.kind == TIMESTAMP and options.pretty_ts:
        return "time"
    if field.kind == CHAR:
        return "raw" if field.raw_byte else "char"
    if field.kind == CSTR:
        return "text"
    return field.format.lstrip("<")


@lru_cache(maxsize=256)  # a Transcoder asks for the same ones in every call
def text_program(
    rtype: int, layout: Layout, size: int, ts_out: bool, options: TextOptions
) -> TextProgram:
    """
    Make the program that writes records of one rtype and size.

    Parameters
    ----------
    rtype : int
        The record type.
    layout : Layout
        Of the records.
    size : int
        Bytes of a record, which may be more than the layout's.
    ts_out : bool
        Whether a ts_out follows every record.
    options : TextOptions
        How rows are written.

    Returns
    -------
    TextProgram
    """
    tokens = _json_tokens if options.json else _csv_tokens
    ops: list[Op] = []
    literal = b""
    for token in tokens(layout, size, ts_out, options):
        if isinstance(token, bytes):
            literal += token
        elif token is None:
            ops += _ops(literal, "symbol", 0, 0)
            literal = b""
        elif token.name == "rtype":
            literal += b"%d" % rtype  # the same in all rows
        else:
            ops += _ops(literal, _kind(token, options), token.offset, token.size)
            literal = b""
    ops += _ops(literal, "", 0, 0)
    return TextProgram(size, ops, JSON if options.json else CSV)


def _ops(literal: bytes, kind: str, offset: int, n_bytes: int) -> Iterator[Op]:
    while len(literal) > LITERAL:
        yield literal[:LITERAL], "", 0, 0
        literal = literal[LITERAL:]
    yield literal, kind, offset, n_bytes
