"""`InstrumentMap`: symbols by whole days, as programs for databento ask for them."""

from __future__ import annotations

import bisect
import csv
import datetime
import io
import json
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np

from dbnfast._util.atomic import replacing
from dbnfast._util.times import DAY, instant
from dbnfast.codec.metadata import as_metadata, n_mappings
from dbnfast.enums import UNDEF_TIMESTAMP, SType
from dbnfast.symbology.intervals import Columns, columns_of, columns_of_json, is_forward, parsed_ids
from dbnfast.symbology.map import resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from dbnfast._typing import PathLike
    from dbnfast.codec.metadata import Metadata

EPOCH: Final = datetime.date(1970, 1, 1)
# the days of a mapping record without a start or an end, as the official class has them
FIRST: Final = (datetime.date(1677, 9, 21) - EPOCH).days
LAST: Final = (datetime.date(2262, 4, 11) - EPOCH).days
START: Final = itemgetter(0)


class InstrumentMap:
    """
    The symbols of instruments by day, as ``databento.InstrumentMap`` has them.

    Intervals are half-open, in whole days UTC. Of an id's intervals that have begun, the one that
    begins last applies, and of several that begin on one day the one that was inserted last.

    Notes
    -----
    `SymbolMap` is more exact and faster: it knows times within a day, and looks up whole arrays.
    Only one thread at a time may use a map while it is inserted into.
    """

    __module__ = "dbnfast"  # where users find it

    def __init__(self) -> None:
        self._rows: dict[int, list[tuple[int, int, str]]] = {}  # by start; days since 1970

    def __repr__(self) -> str:
        n = sum(map(len, self._rows.values()))
        return f"<InstrumentMap: {n} intervals of {len(self._rows)} instruments>"

    def clear(self) -> None:
        """Forget all intervals."""
        self._rows = {}

    def resolve(
        self, instrument_id: int | str, date: datetime.date | np.datetime64 | str | None
    ) -> str | None:
        """
        Return the symbol of an instrument on a day.

        Parameters
        ----------
        instrument_id : int or str
            The id, or its digits.
        date : date, datetime, pandas.Timestamp, datetime64, str or None
            The day in UTC, or a time on it; text is ISO 8601. On none there is no symbol.

        Returns
        -------
        str or None
            None where it has none.

        Raises
        ------
        TypeError, ValueError
            The id or the date is none.
        """
        day = None if date is None else _day(date)
        return None if day is None else self._on(int(instrument_id), day)

    def _on(self, instrument_id: int, day: int) -> str | None:
        rows = self._rows.get(instrument_id, ())
        at = bisect.bisect_right(rows, day, key=START) - 1
        return rows[at][2] if at >= 0 and day < rows[at][1] else None

    def resolve_many(
        self, instrument_ids: ArrayLike, dates: ArrayLike
    ) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        """
        Return the symbols of instruments on days.

        Parameters
        ----------
        instrument_ids : array of int, shape (n,)
            The ids.
        dates : array of datetime64 or date, shape (n,)
            The days in UTC.

        Returns
        -------
        ndarray of object, shape (n,)
            Texts, None where there is none; a new array.

        Raises
        ------
        ValueError
            The shapes differ, or a date is none.
        """
        ids, days = np.asarray(instrument_ids), np.asarray(dates).astype("M8[D]")
        if ids.shape != days.shape or ids.ndim != 1:
            raise ValueError(
                f"instrument_ids have shape {ids.shape} and dates {days.shape}, expected (n,)"
            )
        pairs = np.stack([ids.astype(np.int64), days.astype(np.int64)], axis=1)
        unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
        found = np.empty(len(unique), object)
        found[:] = [self._on(id_, day) for id_, day in unique.tolist()]
        return found[inverse.reshape(-1)]

    def insert_metadata(self, metadata: Metadata) -> None:
        """
        Insert the mappings of a header.

        Parameters
        ----------
        metadata : Metadata
            Of this package, or of databento_dbn.

        Raises
        ------
        TypeError
            It is neither.
        ValueError
            Neither its stype_in nor its stype_out is ``instrument_id``, or an id is none.
        """
        header = as_metadata(metadata)
        if n_mappings(header):
            self._insert(is_forward(header.stype_in, header.stype_out), columns_of(header))

    def insert_json(self, json_data: str | Mapping[str, Any] | TextIO) -> None:
        """
        Insert the result of a ``symbology.resolve`` request, or a ``symbology.json`` file.

        Parameters
        ----------
        json_data : str, mapping or text file
            JSON, or what was read from it.

        Raises
        ------
        TypeError
            It is none of these.
        ValueError
            It is no JSON, a key is missing, or as `insert_metadata`.
        """
        data = resolved(json_data)
        forward = is_forward(SType(data["stype_in"]), SType(data["stype_out"]))
        self._insert(forward, columns_of_json(data["result"]))

    def insert_symbol_mapping_msg(self, msg: Any) -> None:
        """
        Insert a symbol mapping record.

        Parameters
        ----------
        msg : symbol mapping record of any version
            The symbol is ``stype_out_symbol``, or ``stype_in_symbol`` where that is a number.
        """
        symbol = msg.stype_out_symbol
        start, end = int(msg.start_ts), int(msg.end_ts)
        self._add(
            int(msg.instrument_id),
            FIRST if start == UNDEF_TIMESTAMP else start // DAY,
            LAST if end == UNDEF_TIMESTAMP else end // DAY,
            msg.stype_in_symbol if symbol.isdigit() else symbol,
        )

    def _insert(self, forward: bool, columns: Columns) -> None:
        raw_symbols, rows, starts, ends, symbols = columns
        raws = [raw_symbols[row] for row in rows.tolist()]
        days = zip(starts.tolist(), ends.tolist(), strict=True)
        # an empty symbol says that there was none
        some = [one for one in zip(raws, symbols, days, strict=True) if one[1]]
        ids = parsed_ids([symbol if forward else raw for raw, symbol, _ in some])
        for id_, (raw, symbol, (start, end)) in zip(ids.tolist(), some, strict=True):
            self._add(id_, start, end, raw if forward else symbol)

    def _add(self, instrument_id: int, start: int, end: int, symbol: str) -> None:
        rows = self._rows.setdefault(instrument_id, [])
        bisect.insort_right(rows, (start, end, symbol), key=START)

    def build_symbol_map(self) -> dict[int, list[tuple[datetime.date, datetime.date, str]]]:
        """
        Return all intervals, as ``Transcoder`` takes them.

        Returns
        -------
        dict
            The first day, the day behind the last and the symbol, by id.
        """
        return {
            id_: [(_date(start), _date(end), symbol) for start, end, symbol in rows]
            for id_, rows in sorted(self._rows.items())
        }

    def map_symbols_csv(self, csv_file: PathLike, out_file: PathLike | None = None) -> Path:
        """
        Write a CSV file of records anew, with a column of symbols behind the others.

        Parameters
        ----------
        csv_file : path-like
            Has the columns ``instrument_id``, and ``ts_recv`` or ``ts_event``.
        out_file : path-like, optional
            The target; None for a new file beside the first, named with ``_mapped``.

        Returns
        -------
        Path
            The file that was written, which appears when it is complete.

        Raises
        ------
        ValueError
            There is no such file or column, a time is none, or both files are the same.
        """
        source, target = _paths(csv_file, out_file)
        with source.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            fields = next(lines, None)
            if fields is None:
                raise ValueError(f"{source} is empty, expected the header of a CSV file")
            times = [name for name in ("ts_recv", "ts_event") if name in fields]
            if not times or "instrument_id" not in fields:
                raise ValueError(
                    f"{source} has the columns {', '.join(fields)}, expected 'instrument_id', and "
                    "'ts_recv' or 'ts_event'"
                )
            at, id_at = fields.index(times[0]), fields.index("instrument_id")
            there = [i for i, name in enumerate(fields) if name == "symbol"]

            def write(out: TextIO) -> None:
                rows = csv.writer(out, lineterminator="\n")
                rows.writerow([*fields, "symbol"])
                for row in lines:
                    if not row:
                        continue
                    row += [""] * (len(fields) - len(row))
                    day = _day_of(row[at], f"line {lines.line_num} of {source}")
                    symbol = None
                    if row[id_at] and day is not None:
                        symbol = self._on(int(row[id_at]), day)
                    for i in there:
                        row[i] = symbol or ""
                    rows.writerow([*row, symbol])

            _write(target, write)
        return target

    def map_symbols_json(self, json_file: PathLike, out_file: PathLike | None = None) -> Path:
        """
        Write a file of JSON lines anew, with a symbol in each record.

        Parameters
        ----------
        json_file : path-like
            A record in each line.
        out_file : path-like, optional
            The target; None for a new file beside the first, named with ``_mapped``.

        Returns
        -------
        Path
            The file that was written, which appears when it is complete.

        Raises
        ------
        ValueError
            There is no such file, a line is no record, or both files are the same.
        """
        source, target = _paths(json_file, out_file)
        with source.open(encoding="utf-8") as file:

            def write(out: TextIO) -> None:
                for number, line in enumerate(file, 1):
                    where = f"line {number} of {source}"
                    record = json.loads(line)
                    try:
                        header = record["hd"]
                        id_ = int(header["instrument_id"])
                        time = record["ts_recv"] if "ts_recv" in record else header["ts_event"]
                    except (KeyError, TypeError):
                        raise ValueError(f"{where} is no record with an id and a time") from None
                    day = _day_of(time, where)
                    record["symbol"] = None if day is None else self._on(id_, day)
                    out.write(json.dumps(record, separators=(",", ":")) + "\n")

            _write(target, write)
        return target


def map_symbols_csv(
    symbology_file: PathLike, csv_file: PathLike, out_file: PathLike | None = None
) -> Path:
    """
    Add a column of symbols to a CSV file of records, such as one of a batch job.

    Parameters
    ----------
    symbology_file : path-like
        A ``symbology.json``.
    csv_file, out_file
        As `InstrumentMap.map_symbols_csv` takes them.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        As `InstrumentMap.insert_json` and `InstrumentMap.map_symbols_csv` raise it.
    """
    return _map_of(symbology_file).map_symbols_csv(csv_file, out_file)


def map_symbols_json(
    symbology_file: PathLike, json_file: PathLike, out_file: PathLike | None = None
) -> Path:
    """
    Add symbols to a file of JSON lines, such as one of a batch job.

    Parameters
    ----------
    symbology_file : path-like
        A ``symbology.json``.
    json_file, out_file
        As `InstrumentMap.map_symbols_json` takes them.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        As `InstrumentMap.insert_json` and `InstrumentMap.map_symbols_json` raise it.
    """
    return _map_of(symbology_file).map_symbols_json(json_file, out_file)


def _map_of(symbology_file: PathLike) -> InstrumentMap:
    made = InstrumentMap()
    with open(symbology_file, encoding="utf-8") as file:
        made.insert_json(file)
    return made


def _paths(in_file: PathLike, out_file: PathLike | None) -> tuple[Path, Path]:
    source = Path(in_file)
    if not source.is_file():
        raise ValueError(f"{source} {'is no file' if source.exists() else 'does not exist'}")
    if out_file is not None:
        target = Path(out_file)
        if target.exists() and target.samefile(source):
            raise ValueError(f"out_file is {target}, the same as the input")
        return source, target
    target = source.with_name(f"{source.stem}_mapped{source.suffix}")
    number = 0
    while target.exists():
        target = source.with_name(f"{source.stem}_mapped_{number}{source.suffix}")
        number += 1
    return source, target


def _write(target: Path, write: Callable[[TextIO], None]) -> None:
    with replacing(target, force=True) as file:
        out = io.TextIOWrapper(file, encoding="utf-8", newline="")
        write(out)
        out.detach()


def _date(day: int) -> datetime.date:
    return EPOCH + datetime.timedelta(day)


def _day(time: Any) -> int | None:
    # of any time on it, in days since 1970; None for what is not a time
    if isinstance(time, datetime.datetime):
        if time != time:  # NaT
            return None
        time = time.astimezone(datetime.UTC) if time.tzinfo else time
        time = time.date()
    if isinstance(time, datetime.date):
        return (time - EPOCH).days
    if isinstance(time, str | np.datetime64):
        day = np.array(time, "M8[D]")
        return None if np.isnat(day) else int(day.astype(np.int64))
    raise TypeError(f"date is {time!r}, expected a date")


def _day_of(field: Any, where: str) -> int | None:
    # of a time in text, which may be undefined
    if field in ("", None, str(UNDEF_TIMESTAMP), UNDEF_TIMESTAMP):
        return None
    try:
        return instant(field) // DAY
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
