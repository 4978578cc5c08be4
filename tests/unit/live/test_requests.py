"""What users ask for, and the lines that ask for it."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from databento.common.parsing import datetime_to_unix_nanoseconds

import dbnfast
from dbnfast import Schema, SType
from dbnfast._util.times import instant
from dbnfast.live.wire.requests import subscription, symbols_of

NS = 1_609_160_400_000_000_000


def test_one_line() -> None:
    sub = subscription(7, "trades", ["esh1", " NQH1 "], start=NS)
    (request,) = sub.requests
    assert bytes(request) == (
        b"schema=trades|stype_in=raw_symbol|symbols=ESH1,NQH1|"
        b"start=1609160400000000000|snapshot=0|id=7|is_last=1\n"
    )
    assert bytes(sub.resumed(None).requests[0]).count(b"start") == 0


def test_chunks_of_500() -> None:
    sub = subscription(0, Schema.MBO, [f"S{i}" for i in range(1001)], snapshot=True)
    assert [len(r.symbols.split(",")) for r in sub.requests] == [500, 500, 1]
    assert [r.is_last for r in sub.requests] == [0, 0, 1]
    assert {(r.id, r.snapshot, r.start) for r in sub.requests} == {(0, 1, None)}
    assert len(subscription(0, "mbo", [f"S{i}" for i in range(1000)]).requests) == 2


@pytest.mark.parametrize(
    ("symbols", "stype_in", "found"),
    [
        (None, "raw_symbol", ("ALL_SYMBOLS",)),
        ("ALL_SYMBOLS", "parent", ("ALL_SYMBOLS",)),
        ("esz4, nqz4", "raw_symbol", ("ESZ4", "NQZ4")),
        (["es.fut", "NQ.FUT,cl.opt"], "parent", ("ES.FUT", "NQ.FUT", "CL.OPT")),
        ("es.C.0", "continuous", ("ES.c.0",)),
        (5482, "instrument_id", ("5482",)),
        ([5482, np.int64(7), "12"], "instrument_id", ("5482", "7", "12")),
        ((s for s in ["a", "b"]), "raw_symbol", ("A", "B")),
        (pd.Series(["a", "b"]), "raw_symbol", ("A", "B")),
    ],
)
def test_symbols(symbols: Any, stype_in: str, found: tuple[str, ...]) -> None:
    assert symbols_of(symbols, SType(stype_in)) == found


@pytest.mark.parametrize(
    ("symbols", "stype_in", "error"),
    [
        ([], "raw_symbol", ValueError),
        ("", "raw_symbol", ValueError),
        (["A", None], "raw_symbol", TypeError),
        (["A", ""], "raw_symbol", ValueError),
        (["A", True], "instrument_id", TypeError),
        (5482, "raw_symbol", ValueError),
        ("A|B", "raw_symbol", ValueError),
        ("A\nB", "raw_symbol", ValueError),
        ("ES..0", "continuous", ValueError),
        ("A.B.C.D", "parent", ValueError),
        (b"ES", "raw_symbol", TypeError),
        (1.5, "raw_symbol", TypeError),
        (["ALL_SYMBOLS", "ES"], "raw_symbol", ValueError),
    ],
)
def test_symbols_refused(symbols: Any, stype_in: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        symbols_of(symbols, SType(stype_in))


def test_subscription_refuses() -> None:
    with pytest.raises(ValueError, match="start=None"):
        subscription(0, "mbo", "A", start=0, snapshot=True)
    with pytest.raises(ValueError, match="mbo"):
        subscription(0, "trades", "A", snapshot=True)
    with pytest.raises(ValueError):
        subscription(0, "nothing", "A")
    with pytest.raises(ValueError):
        subscription(0, "trades", "A", "nothing")


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        (0, 0), (NS, NS), (str(NS), NS),
        ("2020-12-28T13:00", NS), ("2020-12-28T13:00:00Z", NS), ("2020-12-28 13:00:00", NS),
        ("2020-12-28T13:00:00.123456789Z", NS + 123456789),
        ("2020-12-28T07:00:00-06:00", NS), ("2020-12-28T14:30+0130", NS),
        ("2020-12-28", NS - 13 * 3600 * 10**9),
        (datetime.date(2020, 12, 28), NS - 13 * 3600 * 10**9),
        (datetime.datetime(2020, 12, 28, 13), NS),
        (np.datetime64(NS, "ns"), NS),
        ("1970-01-01T02:00:00.000000001+02:00", 1),
        ("1969-12-31T23:30-01:00", 1800 * 10**9),
        ("2262-04-11T23:47:16.854775807", 2**63 - 1),
        (pd.Timestamp(NS + 1, tz="America/Chicago"), NS + 1),
    ],
)  # fmt: skip
def test_instant(time: Any, ns: int) -> None:
    assert instant(time) == ns
    assert pd.Timestamp(ns, tz="UTC").value == ns


@pytest.mark.parametrize(
    "text", ["2020", "20201228", "2020-12", "202012", "0", "1609160400000000000", " 20201228 "]
)
def test_digits_are_what_they_are_to_the_official_package(text: str) -> None:
    assert instant(text) == datetime_to_unix_nanoseconds(text)
    with pytest.raises(ValueError, match="time is '20201328', which is on no calendar"):
        instant("20201328")


@pytest.mark.parametrize(
    ("time", "ns"),
    [
        ("2262-04-11T23:47:16.854775808", 2**63),
        ("2300-01-01", 10_413_792_000 * 10**9),
        ("2554-07-21T23:34:33.709551614", 2**64 - 2),
        ("2554-07-22T00:00+01:00", 18_446_742_000 * 10**9),
    ],
)
def test_times_behind_those_of_numpy(time: str, ns: int) -> None:
    assert instant(time) == ns


@pytest.mark.parametrize(
    "time",
    ["", "soon", "2020-13-01", "2020-12-28T25:00", -1, "1960-01-01", "1969-12-31T23:59:59.9",
     "2554-07-22", "2554-07-21T23:34:33.709551615", "9999-12-31", "1970-01-01T00:00+01:00",
     np.datetime64("NaT", "ns"), np.datetime64("2600-01-01")],
)  # fmt: skip
def test_instant_refuses(time: Any) -> None:
    with pytest.raises(ValueError):
        instant(time)


def test_the_end_of_a_session_before_there_is_one() -> None:
    live = dbnfast.Live("db-0123456789abcdefghijklmnopqrs")
    live.stop()
    live.terminate()
    later = dbnfast.AsyncLive("db-0123456789abcdefghijklmnopqrs")
    asyncio.run(later.stop())
    later.terminate()
