"""Types that several modules name: for checkers alone, so imported under ``TYPE_CHECKING``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dbnfast.enums import RType, Schema

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
SchemaLike = Schema | RType | str
Schemas = SchemaLike | Sequence[SchemaLike]
