"""Every road from bytes to records, each with what it made of them and how it ended."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

import dbnfast
from dbnfast import reference
from dbnfast.codec.compression import detect
from helpers import builders

MAX_METADATA = 512 << 20  # the longest header that a stream may have


@dataclass
class Outcome:
    """What a road made of a stream: the records' bytes, and the error that ended it."""

    records: list[bytes] = field(default_factory=list)
    error: type[Exception] | None = None
    offset: int | None = None
    record_index: int | None = None

    def end(self, error: dbnfast.DecodeError) -> Outcome:
        self.error = type(error)
        if isinstance(error, dbnfast.MetadataError):
            self.records.clear()  # of a header judged late, records may have been read already
        if isinstance(error, dbnfast.InvalidRecordError):
            self.offset, self.record_index = error.offset, error.record_index
        return self


def raw_records(records: dbnfast.Records) -> list[bytes]:
    """Cut Records by their own length bytes; refuses what is no whole number of records."""
    data, found, at = records.tobytes(), [], 0
    while at < len(data):
        assert data[at] >= 4
        found.append(data[at : at + data[at] * 4])
        at += data[at] * 4
    assert at == len(data)
    assert len(found) == len(records)
    return found


def plain_records(data: bytes) -> dbnfast.Records | None:
    """The records of a plain stream; None where it is compressed, or cannot be read whole."""
    if detect(data[:12]) != "none":
        return None
    try:
        return dbnfast.scan(data, on_truncated="ignore")
    except dbnfast.DecodeError:
        return None


def use(records: dbnfast.Records) -> None:
    """Do with records what a user would: whatever was let through must bear it."""
    for array in records.split().values():
        array.tobytes()
    for record in records.objects(upgrade=False):
        bytes(record)
    if len(records):
        assert len(records.upgrade(3)) == len(records)


def read_lists(metadata: dbnfast.Metadata | None) -> None:
    """Read what is read late, so that it is judged as the reference judges it: at once."""
    if metadata is not None:
        _ = metadata.symbols, metadata.partial, metadata.not_found, metadata.mappings


def by_reference(data: bytes, has_metadata: bool, ts_out: bool) -> Outcome:
    found, start = Outcome(), 0
    try:
        if has_metadata:
            metadata, start = reference.decode_metadata(data)
            ts_out = metadata["ts_out"]
        for record in reference.iter_records(data, start, ts_out=ts_out):
            found.records.append(reference.encode_record(record))
    except dbnfast.DecodeError as error:
        found.end(error)
    if found.error is dbnfast.TruncatedError and (start or not has_metadata):
        found.error = None  # a cut behind the header is no error unless asked for
    return found


def by_scan(data: Any, **options: Any) -> Outcome:
    found = Outcome()
    try:
        records = dbnfast.scan(data, on_truncated="ignore", **options)
        read_lists(records.metadata)
    except dbnfast.DecodeError as error:
        good = getattr(error, "good", None)
        if good is not None:
            try:
                read_lists(good.metadata)
            except dbnfast.MetadataError as earlier:
                return found.end(earlier)
            use(good)
            found.records = raw_records(good)
        return found.end(error)
    use(records)
    found.records = raw_records(records)
    return found


def by_iter_decode(data: bytes, max_bytes: int, **options: Any) -> Outcome:
    found = Outcome()
    try:
        with dbnfast.iter_decode(
            io.BytesIO(data), max_bytes=max_bytes, on_truncated="ignore", **options
        ) as reader:
            read_lists(reader.metadata)
            for records in reader:
                use(records)
                found.records.extend(raw_records(records))
                assert len(found.records) <= len(data)  # ends
    except dbnfast.DecodeError as error:
        found.end(error)
    return found


def by_decoder(
    data: bytes, rng: random.Random, *, pieces: list[bytes] | None = None, **options: Any
) -> Outcome:
    found = Outcome()
    decoder = dbnfast.Decoder(**options)
    kept: list[tuple[dbnfast.Records, bytes]] = []

    def read() -> bool:
        ready = decoder.read()
        for records in ready:
            use(records)
            found.records.extend(raw_records(records))
            kept.append((records, records.tobytes()))
        return bool(ready)

    often = rng.choice((0.0, 0.3, 1.0))
    error: dbnfast.DecodeError | None = None
    for piece in builders.random_pieces(rng, data) if pieces is None else pieces:
        builders.feed_somehow(decoder, rng, piece)
        if error is None and rng.random() < often:
            try:
                read()
            except dbnfast.DecodeError as raised:
                error = raised
    decoder.feed_eof()
    try:
        if error is None:
            for _ in range(len(data) + 3):
                if not read():
                    break
            else:
                raise AssertionError("read() never ends")
    except dbnfast.DecodeError as raised:
        error = raised
    if error is not None:
        with pytest.raises(type(error)) as again:  # ever after
            decoder.read()
        assert again.value is error
    try:
        read_lists(decoder.metadata)
    except dbnfast.MetadataError as raised:
        error = raised
    if error is not None:
        found.end(error)
    for records, copy in kept:
        assert records.tobytes() == copy
    return found


def in_a_stream(expected: Outcome, plain: bytes) -> Outcome:
    """What is due where bytes come as a stream: no header of more than `MAX_METADATA`."""
    if expected.error is dbnfast.TruncatedError and claimed_size(plain) > MAX_METADATA:
        return Outcome(error=dbnfast.MetadataError)  # nobody waits for that much
    return expected


def claimed_size(data: bytes) -> int:
    """Give the size of the header as it says itself, 0 where that is cut."""
    return 8 + int.from_bytes(data[4:8], "little") if len(data) >= 8 else 0
