"""The DBN version is one argument, checked in one way wherever it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dbnfast
from dbnfast import Metadata
from dbnfast.gateway import Gateway
from helpers import streams

PLAIN = streams.header(3) + streams.trades(2)
OLD = streams.header(1) + streams.trades(2)
KEY = "db-0123456789abcdefghijklmnopqrs"


def _old() -> dbnfast.Records:
    return dbnfast.scan(OLD)


# what takes the argument, and how it is called there
ENTRIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "dtype": ("version", lambda it: dbnfast.dtype("trades", version=it)),
    "empty": ("version", lambda it: dbnfast.empty("trades", 1, version=it)),
    "scan": ("input_version", lambda it: dbnfast.scan(PLAIN, input_version=it)),
    "decode": ("input_version", lambda it: dbnfast.decode(PLAIN, input_version=it)),
    "split": ("input_version", lambda it: dbnfast.split(PLAIN, input_version=it)),
    "Decoder": ("input_version", lambda it: dbnfast.Decoder(input_version=it)),
    "Metadata": ("version", lambda it: Metadata("X", version=it)),
    "upgrade": (
        "to_version",
        lambda it: dbnfast.upgrade(dbnfast.empty("trades", 1), to_version=it),
    ),
    "Records.upgrade": ("to_version", lambda it: _old().upgrade(it)),
    "Metadata.upgrade": ("to_version", lambda it: Metadata("X", version=1).upgrade(it)),
    "from_csv": ("version", lambda it: dbnfast.from_csv(b"", schema="trades", version=it)),
    "from_json": ("version", lambda it: dbnfast.from_json(b"", schema="trades", version=it)),
    "Gateway": ("version", lambda it: Gateway(PLAIN, keys=KEY, version=it)),
}
entries = pytest.mark.parametrize("entry", ENTRIES)


@entries
@pytest.mark.parametrize("wrong", [True, 3.0, "3"])
def test_what_is_no_int(entry: str, wrong: Any) -> None:
    name, call = ENTRIES[entry]
    with pytest.raises(TypeError, match=rf"^{name} is {wrong!r}, expected an int$"):
        call(wrong)


@entries
@pytest.mark.parametrize("wrong", [0, 4, -1])
def test_what_is_no_version(entry: str, wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"is {wrong}, expected 1, 2 or 3$|cannot become"):
        ENTRIES[entry][1](wrong)


@entries
@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
def test_any_integer_is_taken(entry: str, kind: type) -> None:
    ENTRIES[entry][1](kind(3))
