"""What waits for the consumer: what is dropped above the limit, what stays, and what is told."""

from __future__ import annotations

from typing import Any

import pytest

import dbnfast
from dbnfast import Records, RType
from dbnfast.live.events import Skipped
from dbnfast.live.session.backlog import BLOCK, DROP_OLDEST, LATEST, Backlog
from helpers import streams

HEAD = streams.header(schema=None)
SYSTEM = [streams.record(0x17, 320, instrument_id=i, body=bytes([65 + i])) for i in range(4)]


def batch(*raw: bytes) -> Records:
    return dbnfast.scan(HEAD + b"".join(raw))


def trades(first: int, n: int) -> Records:
    return batch(*(streams.trade(first + i) for i in range(n)))


def body(items: list[Any]) -> bytes:
    return b"".join(item.tobytes() for item in items if isinstance(item, Records))


def check_counts(backlog: Backlog) -> None:
    held = [item for item in backlog._items if isinstance(item, Records)]
    assert backlog.n_bytes == sum(records.nbytes for records in held)
    assert backlog.n_records == sum(map(len, held))


def test_the_oldest_go_and_what_tells_of_the_session_stays_in_its_place() -> None:
    backlog = Backlog(DROP_OLDEST, 2000)
    first = batch(streams.trade(0), SYSTEM[0], streams.trade(1), SYSTEM[1])
    event: Any = object()
    backlog.put(first)
    backlog.put(event)
    backlog.put(batch(SYSTEM[2]))
    backlog.put(trades(2, 10))
    check_counts(backlog)
    backlog.put(trades(12, 20))
    check_counts(backlog)
    found = backlog.take()
    kept, same, alone, skipped, *rest = found
    assert (kept.tobytes(), same, alone.tobytes()) == (SYSTEM[0] + SYSTEM[1], event, SYSTEM[2])
    assert isinstance(skipped, Skipped)
    assert (skipped.reason, skipped.n_records, skipped.n_bytes) == ("drop_oldest", 2, 2 * 48)
    assert skipped.counts == {RType.MBP_0: 2}
    assert body(rest) == trades(2, 30).tobytes()
    assert (backlog.skipped_records, backlog.skipped_bytes) == (2, 2 * 48)
    assert (backlog.n_bytes, backlog.n_records, len(backlog)) == (0, 0, 0)


@pytest.mark.parametrize("policy", [DROP_OLDEST, LATEST])
def test_where_nothing_may_be_dropped_nothing_is_told(policy: str) -> None:
    backlog = Backlog(policy, 1000)
    for raw in SYSTEM:
        backlog.put(batch(raw))
        check_counts(backlog)
    found = backlog.take()
    assert body(found) == b"".join(SYSTEM)
    assert not [item for item in found if isinstance(item, Skipped)]
    assert (backlog.skipped_records, backlog.skipped_bytes) == (0, 0)


def test_the_latest_of_each_type_and_instrument_stays() -> None:
    backlog = Backlog(LATEST, 900)
    backlog.put(batch(streams.trade(0), SYSTEM[0], streams.trade(1)))
    backlog.put(trades(0, 12))
    check_counts(backlog)
    skipped, kept = backlog.take()
    assert kept.tobytes() == SYSTEM[0] + trades(0, 12).tobytes()
    assert (skipped.reason, skipped.counts) == ("latest", {RType.MBP_0: 2})


def test_a_batch_of_which_all_stays_is_not_told() -> None:
    backlog = Backlog(LATEST, 500)
    backlog.put(trades(0, 11))  # all of different instruments
    check_counts(backlog)
    assert body(backlog.take()) == trades(0, 11).tobytes()
    assert backlog.skipped_records == 0


def test_items_are_taken_one_by_one() -> None:
    backlog = Backlog(BLOCK, 100)
    event: Any = object()
    backlog.put(trades(0, 3))
    backlog.put(event)
    assert backlog.full
    assert backlog.take_next().tobytes() == trades(0, 3).tobytes()  # type: ignore[union-attr]
    assert not backlog.full
    assert backlog.take_next() is event
    assert backlog.take_next() is None
    check_counts(backlog)


@pytest.mark.parametrize("policy", [DROP_OLDEST, LATEST])
def test_who_takes_nothing_finds_one_word_for_all_that_was_dropped(policy: str) -> None:
    backlog = Backlog(policy, 2000)
    for _ in range(200):
        backlog.put(trades(0, 10))
        assert len(backlog) < 20
    skipped, *rest = backlog.take()
    assert isinstance(skipped, Skipped)
    assert not any(isinstance(item, Skipped) for item in rest)
    assert skipped.n_records + sum(map(len, rest)) == 2000  # type: ignore[arg-type]
    assert skipped.counts == {RType.MBP_0: skipped.n_records}
    assert skipped.n_bytes == 48 * skipped.n_records == backlog.skipped_bytes
