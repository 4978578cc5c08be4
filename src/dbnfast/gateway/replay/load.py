"""What a gateway replays, brought to the form that it sends: one version, no ts_out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dbnfast._util.arguments import check_version
from dbnfast.codec.merge import merged
from dbnfast.enums import SCHEMA_RTYPES, RType, Schema
from dbnfast.layouts.dtypes import rtype_key
from dbnfast.layouts.table import layout_by_size
from dbnfast.records.filters import SHARED, rtypes_of
from dbnfast.records.headers import (
    common_size,
    groups,
    of_block,
    record_sizes,
    record_types,
    restated,
)
from dbnfast.records.records import Records
from dbnfast.store.store import Store, is_filtered, read, sources_in

if TYPE_CHECKING:
    from dbnfast._typing import Bytes

    Kinds = np.ndarray[tuple[int], np.dtype[np.uint8]]
    Lanes = dict[Schema, frozenset[int]]


def load(source: Any, version: int) -> tuple[Records, Kinds | None, Lanes]:
    """
    Read what is to be replayed.

    Parameters
    ----------
    source : path, bytes-like, list of these, Store or Records
        DBN data.
    version : int
        The DBN version to send, 1 to 3.

    Returns
    -------
    records : Records
        All records in their order, of this version, without a ts_out.
    kinds : ndarray of uint8, or None
        The rtype of each, where that says more than the record does: tbbo beside mbp-1 is
        ``RType.TBBO``.
    lanes : dict
        The rtypes of each schema that is there, as `kinds` or the records have them.

    Raises
    ------
    ValueError
        The records cannot be given in this version.
    DecodeError, FileNotFoundError, TypeError
        As `read` raises them.
    """
    version = check_version("version", version)
    if isinstance(source, Records):
        records, kinds, schemas = source, None, {_own(source)}
    else:
        store = source if isinstance(source, Store) else read(source)
        schemas = {part.metadata.schema for part in sources_in(store)}
        kinds = None
        if schemas >= SHARED and not is_filtered(store):
            records, kinds = _labelled(store)
        else:
            records = store.records()
    lanes = _lanes(records, kinds, schemas)
    records = _in_version(_plain(records), version, lanes)
    return records, kinds, lanes


def _own(records: Records) -> Schema | None:
    return None if records.metadata is None else records.metadata.schema


def _lanes(records: Records, kinds: Kinds | None, schemas: set[Schema | None]) -> Lanes:
    if None not in schemas:
        found = {schema: rtypes_of(schema, schema) for schema in schemas if schema is not None}
        if kinds is not None:
            found[Schema.TBBO] = frozenset((int(RType.TBBO),))
        return found
    present = set(records.counts) if kinds is None else set(np.unique(kinds).tolist())
    found = {
        schema: frozenset((int(rtype),))
        for schema, rtype in SCHEMA_RTYPES.items()
        if rtype in present
    }
    if kinds is not None:
        found[Schema.TBBO] = frozenset((int(RType.TBBO),))
    return found


def _labelled(store: Store) -> tuple[Records, Kinds]:
    # tbbo and mbp-1 have one rtype: while their files are merged, tbbo has one of its own
    readers = []
    for source in sources_in(store):
        records = source.records().upgrade()
        if source.metadata.schema == Schema.TBBO:
            block = np.frombuffer(records.data, np.uint8).copy()
            block[_starts(records) + 1] = int(RType.TBBO)
            records = of_block(block, len(block), 3, records.ts_out, store.metadata)
        readers.append([records])
    joined = Records.concat(merged(readers, store.metadata))
    kinds = record_types(joined)
    block = np.frombuffer(joined.data, np.uint8).copy()
    block[_starts(joined)[kinds == RType.TBBO] + 1] = int(RType.MBP_1)
    return of_block(block, len(block), 3, joined.ts_out, store.metadata), kinds


def _starts(records: Records) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    sizes = record_sizes(records)
    return np.cumsum(sizes) - sizes


def _plain(records: Records) -> Records:
    # without the ts_out that a capture of a live session may have
    if not records.ts_out:
        return records
    sizes = record_sizes(records) - 8
    block: Bytes
    if common_size(records):
        rows = np.frombuffer(records.data, np.uint8).reshape(-1, common_size(records))
        block = np.ascontiguousarray(rows[:, :-8]).reshape(-1)
    else:
        words = np.frombuffer(records.data, "<u4")
        ends = np.cumsum((sizes + 8) // 4)
        kept = np.ones(len(words), bool)
        kept[ends - 1] = kept[ends - 2] = False
        block = words[kept].view(np.uint8)
    block[np.cumsum(sizes) - sizes] -= 2  # words of a header's length
    metadata = records.metadata
    metadata = None if metadata is None else metadata.replace(ts_out=False)
    return of_block(block, len(block), records.version, False, metadata)


def _in_version(records: Records, version: int, lanes: Lanes) -> Records:
    if records.version <= version:
        return records.upgrade(version)
    wanted = frozenset().union(*lanes.values()) if lanes else frozenset()
    for rtype, size, _ in groups(records):
        layout = layout_by_size(rtype, size, False)
        if rtype in wanted and layout is not None and version not in layout.versions:
            raise ValueError(
                f"version {version} cannot give the source's {rtype_key(rtype)} records: they "
                f"are of version {records.version}"
            )
    return restated(records, version, records.metadata)
