"""Types that several modules name: for checkers alone, so imported under ``TYPE_CHECKING``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from typing_extensions import Buffer

from dbnfast.enums import PriceType, RType, Schema, SType

# one-dimensional arrays
Array = np.ndarray[tuple[int], np.dtype[np.void]]  # records, structured
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
Codes = np.ndarray[tuple[int], np.dtype[np.int32]]  # indexes of symbols or labels, -1 for none
Column = np.ndarray[tuple[int], np.dtype[Any]]  # of some field, or computed from one
Hits = np.ndarray[tuple[int], np.dtype[np.bool_]]  # which records are meant
Ids = np.ndarray[tuple[int], np.dtype[np.uint32]]
Offsets = np.ndarray[tuple[int], np.dtype[np.int64]]
Times = np.ndarray[tuple[int], np.dtype[np.uint64]]  # ns since 1970-01-01 UTC

Piece = bytes | memoryview  # of what is sent
PathLike = str | os.PathLike[str]
# texts that are named as literals: editors offer them. Checkers cannot tell a literal that is none
# of them from any other str; so where any str passes, as one from a command line must, the call
# itself tells a misspelt one
SchemaName = Literal[
    "mbo", "mbp-1", "mbp-10", "tbbo", "trades", "ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d",
    "definition", "statistics", "status", "imbalance", "ohlcv-eod", "cmbp-1", "cbbo-1s", "cbbo-1m",
    "tcbbo", "bbo-1s", "bbo-1m",
]  # fmt: skip
STypeName = Literal[
    "instrument_id", "raw_symbol", "smart", "continuous", "parent", "nasdaq_symbol", "cms_symbol",
    "isin", "us_code", "bbg_comp_id", "bbg_comp_ticker", "figi", "figi_ticker", "listing_id",
    "issuer_id", "security_id",
]  # fmt: skip
SchemaLike = Schema | RType | SchemaName | str
Schemas = SchemaLike | Sequence[SchemaLike]
STypeLike = SType | STypeName | str
PriceTypeLike = PriceType | Literal["fixed", "float", "decimal"]


class SupportsRead(Protocol):
    """A stream of bytes."""

    def read(self) -> Buffer:
        """Give the rest of them."""


class OfficialStore(Protocol):
    """A ``databento.DBNStore``."""

    @property
    def raw(self) -> Any:
        """Its bytes."""

    @property
    def reader(self) -> Any:
        """A stream of them."""


# stubs of numpy call arrays buffers from Python 3.12 on
OneSource = PathLike | Buffer | np.ndarray[Any, Any] | SupportsRead | OfficialStore
