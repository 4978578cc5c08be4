"""``dbnfast info``: what a file holds, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast.cli.format import format_time, printable
from dbnfast.cli.inputs import each
from dbnfast.cli.terminal import explain, put, put_heading, put_json
from dbnfast.codec import compression
from dbnfast.codec.index import logged_index
from dbnfast.codec.reader import frame_log, n_read
from dbnfast.enums import UNDEF_TIMESTAMP, RType
from dbnfast.errors import DbnError, DecompressionError
from dbnfast.layouts.dtypes import rtype_key
from dbnfast.records.headers import groups

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbnfast.cli.terminal import Input, Opened
    from dbnfast.codec.metadata import Metadata
    from dbnfast.codec.reader import RecordReader
    from dbnfast.records.records import Records

BLOCK: Final = 16 << 20
FEW: Final = 6  # symbols named


def run(inputs: list[Input], *, as_json: bool) -> int:
    """
    Say what inputs hold.

    Parameters
    ----------
    inputs : list of Input
        The inputs, one after the other; one that cannot be read does not stop the rest.
    as_json : bool
        Whether to write one JSON object an input.

    Returns
    -------
    int
        The exit code.
    """
    code = 0
    for number, source in enumerate(each(inputs)):
        try:
            with source.open(BLOCK, log=True) as opened:
                found = survey(opened)
        except (DbnError, OSError) as error:
            code = explain(source.name, error)
            continue
        if as_json:
            put_json(found)
        else:
            if number:
                put("")
            _put(found)
    return code


class _Tally:
    # what the records of a stream are
    def __init__(self, blocks: Iterable[Records]) -> None:
        self.n: dict[int, dict[int, int]] = {}
        self.first = UNDEF_TIMESTAMP
        self.last: int | None = None
        for records in blocks:
            self._add(records)

    def _add(self, records: Records) -> None:
        for rtype, size, n in groups(records):
            sizes = self.n.setdefault(rtype, {})
            sizes[size] = sizes.get(size, 0) + n
        for key, array in records.split().items():
            if isinstance(key, RType):
                times: Any = array
                names = array.dtype.names or ()
                self._add_times(times["ts_recv" if "ts_recv" in names else "ts_event"])

    def _add_times(self, times: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
        low = int(times.min())
        high = int(times.max())
        if high == UNDEF_TIMESTAMP:
            times = times[times != UNDEF_TIMESTAMP]
            high = int(times.max(initial=0))
        if low != UNDEF_TIMESTAMP:
            self.first = min(self.first, low)
            self.last = high if self.last is None else max(self.last, high)

    def types(self) -> dict[str, dict[str, Any]]:
        return {
            str(rtype): {
                "type": _name(rtype),
                "count": sum(sizes.values()),
                "sizes": sorted(sizes),
            }
            for rtype, sizes in sorted(self.n.items())
        }


def _name(rtype: int) -> str | None:
    key = rtype_key(rtype)
    return str(key) if isinstance(key, RType) else None


def survey(opened: Opened) -> dict[str, Any]:
    """
    Read an input to its end and say what it holds.

    Parameters
    ----------
    opened : Opened
        The input.

    Returns
    -------
    dict
        What ``--json`` writes.

    Raises
    ------
    DecodeError
        The stream is damaged.
    OSError
        It cannot be read.
    """
    reader = opened.reader
    header = _header(reader.metadata)
    kind = compression.detect(opened.source.head)
    tally = _Tally(opened.blocks())
    types = tally.types()
    form = "fragment" if reader.metadata is None else "dbz" if kind == "dbz" else "dbn"
    return {
        "file": opened.name,
        "format": form,
        "compression": "none" if kind == "none" else "zstd",
        "file_bytes": opened.source.n_bytes,
        "stream_bytes": n_read(reader),
        **_frames(reader),
        **header,
        "records": sum(entry["count"] for entry in types.values()),
        "types": types,
        "first": None if tally.last is None else format_time(tally.first),
        "last": None if tally.last is None else format_time(tally.last),
    }


def _frames(reader: RecordReader) -> dict[str, Any]:
    log = frame_log(reader)
    if log is None:
        return {}
    try:
        index = "none" if logged_index(log) is None else "there"
    except DecompressionError as error:
        index = f"damaged: {error}"
    return {"frames": sum(not frame.skippable for frame in log), "index": index}


def _header(metadata: Metadata | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    return {
        "version": metadata.version,
        "dataset": metadata.dataset,
        "schema": None if metadata.schema is None else str(metadata.schema.value),
        "start": format_time(metadata.start),
        "end": None if metadata.end is None else format_time(metadata.end),
        "limit": metadata.limit,
        "stype_in": None if metadata.stype_in is None else str(metadata.stype_in.value),
        "stype_out": str(metadata.stype_out.value),
        "ts_out": metadata.ts_out,
        "symbols": metadata.symbols,
        "partial": metadata.partial,
        "not_found": metadata.not_found,
        "mappings": len(metadata.mappings),
    }


def _put(found: dict[str, Any]) -> None:
    put_heading(printable(found["file"]))
    packed = {"none": "not compressed", "zstd": "zstd"}[found["compression"]]
    version = f" version {found['version']}" if "version" in found else ""
    form = {"dbn": f"DBN{version}", "dbz": "DBZ, the format before DBN", "fragment": "fragment"}
    _pair("format", f"{form[found['format']]}, {packed}")
    _pair("size", f"{found['file_bytes']:,} bytes, {found['stream_bytes']:,} decompressed")
    if "frames" in found:
        index = {"none": "without an index", "there": "with an index"}
        named = index.get(found["index"], f"index {found['index']}")
        _pair("frames", f"{found['frames']:,}, {named}")
    if "version" in found:
        _put_header(found)
    _pair("records", f"{found['records']:,}")
    for rtype, entry in found["types"].items():
        name = entry["type"] or f"rtype {int(rtype):#04x}"
        sizes = ", ".join(map(str, entry["sizes"]))
        put(f"    {name:<16} {entry['count']:>14,}  of {sizes} bytes")
    if found["first"] is not None:
        _pair("first", found["first"])
        _pair("last", found["last"])


def _put_header(found: dict[str, Any]) -> None:
    _pair("dataset", found["dataset"])
    _pair("schema", found["schema"] or "none: mixed or live")
    _pair("start", found["start"] or "")
    _pair("end", found["end"] or "open")
    _pair("limit", "none" if found["limit"] is None else f"{found['limit']:,}")
    _pair("symbology", f"{found['stype_in'] or 'none'} to {found['stype_out']}")
    _pair("ts_out", "yes" if found["ts_out"] else "no")
    for name in ("symbols", "partial", "not_found"):
        texts = found[name]
        named = ", ".join(texts[:FEW]) + (", ..." if len(texts) > FEW else "")
        _pair(name, f"{len(texts):,}{': ' * bool(texts)}{named}")
    _pair("mappings", f"{found['mappings']:,}")


def _pair(name: str, text: str) -> None:
    put(f"  {name:<11} {printable(text)}".rstrip())
