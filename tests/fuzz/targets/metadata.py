"""
Any bytes are metadata, or a `MetadataError` or `TruncatedError` that names a place in them.

Which it is, and every value, is as `dbnfast.reference` says. What was decoded encodes, where the
format can carry it, to a header that says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dbnfast
from dbnfast import Metadata, MetadataError, TruncatedError, reference
from fuzz import mutators
from fuzz import seeds as starts
from fuzz.inputs import unpack
from helpers.builders import interval_dicts

mutate = mutators.only_header
DICTIONARY = (b"DBN\x01", b"DBN\x02", b"DBN\x03", b"\xff\xff\xff\xff", b"\x16\x00", b"\x47\x00")
MAX_LEN = 4096


def seeds() -> Iterator[bytes]:
    """Every header of the fixtures."""
    headers = (data[: mutators.header_size(data)] for _, data in starts.fixtures("none"))
    return starts.packed(*filter(None, dict.fromkeys(headers)))


def told(metadata: Metadata) -> dict[str, Any]:
    """All that the class says, in the reference's form."""
    names = ("version", "dataset", "schema", "start", "end", "limit", "stype_in", "stype_out")
    found = {name: getattr(metadata, name) for name in names}
    found |= {name: list(getattr(metadata, name)) for name in reference.LISTS}
    return found | {"ts_out": metadata.ts_out, "mappings": dict(metadata.mappings)}


def decoded(raw: bytes) -> tuple[Metadata | None, MetadataError | TruncatedError | None]:
    """The metadata with all that is read late, or the error."""
    try:
        metadata = Metadata.decode(raw)
        told(metadata)
    except (MetadataError, TruncatedError) as error:
        return None, error
    return metadata, None


def due(raw: bytes) -> tuple[dict[str, Any], type[dbnfast.DecodeError] | None]:
    """What the reference says."""
    try:
        return reference.decode_metadata(raw)[0], None
    except dbnfast.DecodeError as error:
        return {}, type(error)


def check(data: bytes) -> None:
    """See above."""
    _, raw = unpack(data)
    metadata, error = decoded(raw)
    expected, kind = due(raw)
    assert (None if error is None else type(error)) is kind, error
    if metadata is None:
        assert error is not None
        assert error.offset is None or 0 <= error.offset <= len(raw)
        return
    found = told(metadata)
    del expected["symbol_cstr_len"]
    expected["mappings"] = interval_dicts(expected["mappings"])
    assert found == expected
    try:
        again = metadata.encode()
    except dbnfast.EncodeError:
        return  # text that is not ASCII or fills its place: nobody writes what was read here
    assert told(Metadata.decode(again)) == found
    assert reference.decode_metadata(again)[1] == len(again)
