"""Control records: what a gateway says between the records of its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dbnfast.enums import DBN_VERSION, ErrorCode, RType, SType, SystemCode
from dbnfast.layouts.dtypes import empty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbnfast._typing import Array


V1_TEXT: Final = 63  # bytes of a text, its NUL not counted
V1_SYMBOL: Final = 21
FATAL: Final = frozenset(ErrorCode) - {
    ErrorCode.SYMBOL_RESOLUTION_FAILED,
    ErrorCode.SKIPPED_RECORDS_AFTER_SLOW_READING,
    ErrorCode.UNSET,
}


class Notices:
    """
    Make control records in the form of a stream.

    Parameters
    ----------
    version : int
        The DBN version, 1 to 3.
    ts_out : bool
        Whether records end in a ts_out.
    """

    def __init__(self, version: int = DBN_VERSION, ts_out: bool = False) -> None:
        self._version = version
        self._ts_out = ts_out

    def system(self, code: SystemCode, text: str, ts_event: int, ts_out: int) -> bytes:
        """
        Make a system record.

        Parameters
        ----------
        code : SystemCode
            What it tells.
        text : str
            In words; version 1 has nothing else.
        ts_event, ts_out : int
            Its times, ns since 1970-01-01 UTC.

        Returns
        -------
        bytes
        """
        record = self._empty(RType.SYSTEM, 1, ts_event, ts_out)
        record["msg"] = self._text(text, 302)
        if self._version > 1:
            record["code"] = int(code)
        return record.tobytes()

    def error(
        self, code: ErrorCode | int, text: str, is_last: bool, ts_event: int, ts_out: int
    ) -> bytes:
        """
        Make an error record.

        Parameters
        ----------
        code : ErrorCode or int
            What it tells.
        text : str
            In words; version 1 has nothing else.
        is_last : bool
            Whether it is the last of a series.
        ts_event, ts_out : int
            Its times, ns since 1970-01-01 UTC.

        Returns
        -------
        bytes
        """
        record = self._empty(RType.ERROR, 1, ts_event, ts_out)
        record["err"] = self._text(text, 301)
        if self._version > 1:
            record["code"], record["is_last"] = int(code), int(is_last)
        return record.tobytes()

    def mappings(
        self,
        stype_in: SType,
        ids: Sequence[int],
        symbols_in: Sequence[str],
        symbols_out: Sequence[str],
        ts_event: int,
        ts_out: int,
    ) -> bytes:
        """
        Make symbol mapping records.

        Parameters
        ----------
        stype_in : SType
            What was subscribed.
        ids, symbols_in, symbols_out : sequence
            Of each record the instrument, the symbol that was subscribed, and the raw symbol.
        ts_event, ts_out : int
            Their times, ns since 1970-01-01 UTC.

        Returns
        -------
        bytes
        """
        records = self._empty(RType.SYMBOL_MAPPING, len(ids), ts_event, ts_out)
        records["instrument_id"] = ids
        room = V1_SYMBOL if self._version == 1 else 70
        for name, symbols in (("in", symbols_in), ("out", symbols_out)):
            records[f"stype_{name}_symbol"] = [symbol.encode()[:room] for symbol in symbols]
        if self._version > 1:
            records["stype_in"], records["stype_out"] = int(stype_in), int(SType.RAW_SYMBOL)
        return records.tobytes()

    def _empty(self, rtype: RType, n: int, ts_event: int, ts_out: int) -> Array:
        records = empty(rtype, n, version=self._version, ts_out=self._ts_out)
        records["publisher_id"] = 0
        records["instrument_id"] = 0
        records["ts_event"] = np.uint64(ts_event)
        if self._ts_out:
            records["ts_out"] = np.uint64(ts_out)
        return records

    def _text(self, text: str, room: int) -> bytes:
        return text.encode("utf-8", "replace")[: V1_TEXT if self._version == 1 else room]
