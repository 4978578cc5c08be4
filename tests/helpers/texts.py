"""Text by the official package, and what of a record text can carry."""

from __future__ import annotations

import io

from dbnfast.layouts.fields import CSTR, RESERVED, TIMESTAMP
from dbnfast.layouts.table import layout_by_size

U64_MAX = bytes([255]) * 8


def transcode(data: bytes, encoding: str, pretty: bool) -> bytes:
    """A stream as JSON lines or CSV, records as they are, symbols mapped where they can be."""
    import databento_dbn as dbn

    out = io.BytesIO()
    transcoder = dbn.Transcoder(
        out,
        dbn.Encoding(encoding),
        dbn.Compression.NONE,
        pretty_px=pretty,
        pretty_ts=pretty,
        upgrade_policy=dbn.VersionUpgradePolicy.AS_IS,
    )
    transcoder.write(data)
    transcoder.flush()
    return out.getvalue()


def carried(record: bytes, ts_out: bool, pretty: bool) -> bytes:
    """
    A record as text can carry it: without what is behind the layout and in reserved bytes.

    Of texts what is before the NUL; pretty times do not tell 0 from undefined.
    """
    layout = layout_by_size(record[1], len(record), ts_out)
    assert layout is not None
    raw = bytearray(record[: layout.size] + record[len(record) - 8 * ts_out :])
    raw[0] = len(raw) // 4
    for field in layout.all_fields(ts_out):
        place = slice(field.offset, field.offset + field.size)
        if field.kind == RESERVED:
            raw[place] = bytes(field.size)
        elif field.kind == TIMESTAMP and pretty and raw[place] == bytes(8):
            raw[place] = U64_MAX
        elif field.kind == CSTR:
            text, nul, _ = bytes(raw[place]).partition(b"\0")
            try:
                text.decode()
            except UnicodeDecodeError:
                text = b""
            raw[place] = (text if nul else b"").ljust(field.size, b"\0")
    return bytes(raw)
