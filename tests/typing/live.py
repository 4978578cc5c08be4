"""What type checkers make of live sessions: read by mypy and by basedpyright, never run."""

from __future__ import annotations

from typing import assert_type

import dbnfast
from dbnfast import (
    Disconnected,
    ErrorEvent,
    Gap,
    MarketState,
    Reconnected,
    Record,
    Records,
    Skipped,
)


def blocking(live: dbnfast.Live) -> None:
    live.subscribe("GLBX.MDP3", "trades", symbols="ES.FUT", stype_in="parent")
    for records in live.batches():
        assert_type(records, Records)
    for event in live.events():
        if isinstance(event, Records):
            continue
        assert_type(event, Gap | Disconnected | Reconnected | Skipped | MarketState | ErrorEvent)
    for record in live:
        assert_type(record, Record)
    live.subscribe(schema=dbnfast.Schema.MBO, stype_in=dbnfast.SType.PARENT)
    live.subscribe(symbols=1.5)  # type: ignore[arg-type]
    live.subscribe(schema=5)  # type: ignore[arg-type]
    live.subscribe(stype_in=None)  # type: ignore[arg-type]


async def on_a_loop() -> None:
    async with dbnfast.AsyncLive("db-any-text-of-more-than-5-chars") as live:
        assert_type(live, dbnfast.AsyncLive)
        await live.subscribe("GLBX.MDP3", "trades")
        async for records in live.batches():
            assert_type(records, Records)
        async for record in live:
            assert_type(record, Record)


def callbacks(live: dbnfast.Live) -> None:
    def on_record(record: Record) -> None:
        assert_type(record.instrument_id, int)

    live.add_callback(on_record)
    assert_type(live.gaps, list[Gap])
    assert_type(live.is_connected(), bool)
