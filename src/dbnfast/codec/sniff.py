"""Data of other formats, told by its first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbnfast.errors import MetadataError

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAGIC: Final = b"DBN"
N_SEEN: Final = 8  # bytes that every reader has when it begins, so that all say the same
_PACKED: Final = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"PK\3\4": "zip"}
_COLUMNS: Final = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"FEA1": "Feather", b"\xff" * 4: "Arrow"}
BEGINNINGS: Final = (*_PACKED, *_COLUMNS)  # by which data of another format is told
_FIRST_COLUMNS: Final = (b"ts_event", b"ts_recv,", b"rtype,")
_PRINTABLE: Final = bytes((*range(0x20, 0x7F), *b"\t\n\r\v\f"))


def binary(head: bytes) -> str | None:
    """
    Say what data is that is neither DBN nor text.

    Parameters
    ----------
    head : bytes
        Its first `N_SEEN` bytes.

    Returns
    -------
    str or None
        In words; None where it does not show.
    """
    for magic, name in _PACKED.items():
        if head.startswith(magic):
            return f"this is {name} data; decompress it first"
    for magic, name in _COLUMNS.items():
        if head.startswith(magic):
            return f"this is {name}, which pyarrow reads"
    return None


def _text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(head) < N_SEEN or text.translate(None, _PRINTABLE):
        return None
    if text[:1] in (b"{", b"["):
        return "this looks like JSON, which from_json and dbnfast convert read"
    if text.startswith(_FIRST_COLUMNS) or b"," in text:
        return "this looks like CSV, which from_csv and dbnfast convert read"
    return "this looks like text"


def check_begin(data: Buffer) -> None:
    """
    Refuse data of another format, and say what it is.

    Parameters
    ----------
    data : bytes-like
        What is to be DBN, or its beginning.

    Raises
    ------
    MetadataError
        It is of a format that is known.
    """
    head = bytes(memoryview(data)[:N_SEEN])
    if head.startswith(MAGIC):
        return
    found = binary(head) or _text(head)
    if found is not None:
        raise MetadataError(f"expected {MAGIC!r} at byte 0, found {head[:3]!r}: {found}", offset=0)
