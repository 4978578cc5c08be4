"""What type checkers make of the codec: read by mypy and by basedpyright, never run."""

from __future__ import annotations

from typing import assert_type

import numpy as np
import pandas

import dbnfast
from dbnfast import Action, Record, Records, RType, Side


def whole_buffers(data: bytes) -> None:
    assert_type(dbnfast.decode(data), np.ndarray[tuple[int], np.dtype[np.void]])
    assert_type(dbnfast.decode(memoryview(data)), np.ndarray[tuple[int], np.dtype[np.void]])
    assert_type(dbnfast.scan(data), Records)
    assert_type(dbnfast.decode(data, schema="mbo"), np.ndarray[tuple[int], np.dtype[np.void]])
    dbnfast.decode(data, schema=5)  # type: ignore[arg-type]
    dbnfast.decode(data, on_truncated="panic")  # type: ignore[arg-type]
    assert_type(dbnfast.encode(dbnfast.empty("trades", 1), dbnfast.Metadata("GLBX.MDP3")), bytes)


def records(run: Records) -> None:
    assert_type(run.array(), np.ndarray[tuple[int], np.dtype[np.void]])
    assert_type(run.array("trades"), np.ndarray[tuple[int], np.dtype[np.void]])
    assert_type(run.counts, dict[RType | int, int])
    assert_type(run[0], Record)
    assert_type(run[1:], Records)
    assert_type(run.filter(["mbo", dbnfast.Schema.TRADES]), Records)
    run.filter(schema=5)  # type: ignore[arg-type]
    run.array(5.0)  # type: ignore[arg-type]
    assert_type(run.metadata, dbnfast.Metadata | None)
    for record in run:
        assert_type(record, Record)
        if isinstance(record, dbnfast.TradeMsg):
            fields(record)


def fields(trade: dbnfast.TradeMsg) -> None:
    assert_type(trade.price, int)
    assert_type(trade.pretty_price, float)
    assert_type(trade.side, Side | str)
    assert_type(trade.action, Action | str)
    assert_type(trade.ts_recv, int)
    assert_type(trade.pretty_ts_recv, pandas.Timestamp | None)
    assert_type(trade.instrument_id, int)
    assert_type(trade.record_size(), int)
    size: int = trade.record_size
    print(size)
    print(trade.no_such_field)  # type: ignore[attr-defined]


def streams(path: str, piece: bytes) -> None:
    with dbnfast.iter_decode(path) as blocks:
        for block in blocks:
            assert_type(block, Records)
    decoder = dbnfast.Decoder()
    decoder.feed(piece)
    assert_type(decoder.read(), list[Records])
    assert_type(decoder.get_buffer(), memoryview)
    dbnfast.decode("a path")  # type: ignore[arg-type]
