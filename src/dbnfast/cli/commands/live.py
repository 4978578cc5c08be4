"""``dbnfast live``: a live session on the terminal, in a pipe or in a file."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast.cli.commands.head import line_of, name_of
from dbnfast.cli.format import Style, format_price, format_time, rows
from dbnfast.cli.live_options import events_of, summarise, tell
from dbnfast.cli.outputs import STDOUT, blame, growing
from dbnfast.cli.terminal import explain, put, put_table
from dbnfast.codec.encode import Encoder
from dbnfast.enums import DBN_VERSION, RType
from dbnfast.errors import DbnError
from dbnfast.live.wire.auth import ApiKey
from dbnfast.records.records import Records, empty_records
from dbnfast.symbology.resolver import Resolver
from dbnfast.text.write import write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbnfast.cli.live_options import SessionOptions
    from dbnfast.live.sync.client import Live

    Sink = Callable[[Records], None]

FORMS: Final = ("records", "json", "table", "none")
# types whose first level has the best prices
QUOTES: Final = (
    RType.MBP_1, RType.MBP_10, RType.BBO_1S, RType.BBO_1M,
    RType.CMBP_1, RType.CBBO_1S, RType.CBBO_1M, RType.TCBBO,
)  # fmt: skip
TRADES: Final = (RType.MBP_0, RType.MBP_1, RType.TCBBO)
REDRAW: Final = 0.25  # s
COLUMNS: Final = ("symbol", "time", "bid sz", "bid", "ask", "ask sz", "last", "size", "records")
LONGEST: Final = 30  # rows
FLUSH_EVERY: Final = 1.0  # s
INTERRUPTED: Final = 130  # as a shell has it


def run(options: SessionOptions, *, form: str, out: str | None, zstd: bool, force: bool) -> int:
    """
    Run a session and show or write what it brings.

    Parameters
    ----------
    options : SessionOptions
        The session.
    form : {"records", "json", "table", "none"}
        How it is shown.
    out : str or None
        A DBN file that is written; ``-`` for stdout.
    zstd : bool
        Whether it is compressed.
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    int
        The exit code.
    """
    if out == STDOUT and form != "none":
        raise ValueError(f"--out - and --show {form} both write to standard output")
    live = options.open(retry_first=out is not None)
    sinks: list[Sink] = []
    taken = Taken()
    try:
        with ExitStack() as stack, live:
            if form != "none":
                sinks.append(_shower(live, stack, form))
            if out is not None:  # it gets each record first, and is whole before all else ends
                sinks.insert(0, _to_file(live, stack, out, zstd or out.endswith(".zst"), force))
            options.subscribe(live)
            return _take(live, options, sinks, taken)
    except (DbnError, OSError) as error:
        return blame(None, error)
    finally:
        summarise(live, taken.began, taken.n_records)


@dataclass
class Taken:
    """
    What was taken of a session.

    Attributes
    ----------
    n_records : int
        How many records.
    began : float
        When, in seconds of the monotonic clock.
    """

    n_records: int = 0
    began: float = field(default_factory=time.monotonic)


def _take(live: Live, options: SessionOptions, sinks: list[Sink], taken: Taken) -> int:
    # the end of a session, however it comes, is no reason to throw away what was written
    taken.began = time.monotonic()
    try:
        for item in events_of(live, options):
            if isinstance(item, Records):
                taken.n_records += len(item)
                for sink in sinks:
                    sink(item)
            else:
                tell(item)
    except BrokenPipeError:
        return 0  # who closed the pipe has what he wanted
    except KeyboardInterrupt:
        if live.metadata is None:
            raise
        return INTERRUPTED
    except DbnError as error:
        if live.metadata is None:
            raise
        return explain(None, error)
    options.check(live)
    return 0


def _to_file(live: Live, stack: ExitStack, out: str, zstd: bool, force: bool) -> Sink:
    file = stack.enter_context(growing(out, force))
    encoder: Encoder | None = None
    flushed = time.monotonic()

    def write(records: Records) -> None:
        nonlocal encoder, flushed
        if live.metadata is None:
            return  # nothing came yet
        if encoder is None:
            compression = "zstd" if zstd else "none"
            encoder = Encoder(file, live.metadata, compression=compression)
        encoder.write(records)
        if zstd and time.monotonic() >= flushed + FLUSH_EVERY:
            encoder.flush()  # for who reads it, and for when nobody can end it
            flushed = time.monotonic()
        if out == STDOUT:
            file.flush()  # who reads it wants it now

    def close(kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            write(empty_records(DBN_VERSION, live.ts_out, live.metadata))  # the header at least
        if encoder is not None:  # after an error, such as a full disk, what is there stays
            encoder.__exit__(kind, error, trace)

    stack.push(close)
    return write


def _shower(live: Live, stack: ExitStack, form: str) -> Sink:
    key = ApiKey(live.key)  # a gateway may put it into whatever text it sends
    if form == "json":
        resolver = Resolver(None, live=True, text=True)
        target = _Hiding(key)

        def write(records: Records) -> None:
            if len(records):
                write_json(records, target, resolver=resolver)
                sys.stdout.buffer.flush()

        return write
    if form == "table":
        table = Table(live)
        stack.callback(table.close)
        return table.add

    def put_lines(records: Records) -> None:
        for kind, layout, row in rows(records, Style(names=True)):
            put(key.hide(line_of(name_of(kind).ljust(14), layout, row)))
        if len(records):
            sys.stdout.flush()

    return put_lines


class _Hiding:
    # standard output, without the key

    def __init__(self, key: ApiKey) -> None:
        self._key = key

    def write(self, data: memoryview) -> None:
        sys.stdout.buffer.write(self._key.hide_bytes(bytes(data)))


class Table:
    """
    The best prices of each instrument, drawn again as they change.

    Parameters
    ----------
    live : Live
        Whose symbols they are.
    indent : str
        What each line of the last table begins with.

    Notes
    -----
    Where stdout is no terminal it is written once, at the end.
    """

    def __init__(self, live: Live, indent: str = "") -> None:
        self._live = live
        self._key = ApiKey(live.key)
        self._indent = indent
        self._rows: dict[int, dict[str, Any]] = {}
        self._drawn = 0.0
        self._screen: Any = None
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live as Screen

            console = Console(file=sys.stdout)
            self._screen = Screen(console=console, auto_refresh=False, transient=True)
            self._screen.start()

    def add(self, records: Records) -> None:
        """
        Take records.

        Parameters
        ----------
        records : Records
            The next ones.
        """
        for key, array in records.split().items():
            if key in QUOTES or key in TRADES:
                self._note(key, array)
        now = time.monotonic()
        if self._screen is not None and now - self._drawn >= REDRAW:
            self._drawn = now
            self._screen.update(self._drawing(), refresh=True)

    def _note(self, key: Any, array: np.ndarray[Any, Any]) -> None:
        # the last record of each instrument: the first one from behind
        ids, places, counts = np.unique(
            array["instrument_id"][::-1], return_index=True, return_counts=True
        )
        for id_, place, n in zip(ids.tolist(), places.tolist(), counts.tolist(), strict=True):
            record = array[len(array) - 1 - place]
            row = self._rows.setdefault(id_, {"records": 0})
            row["records"] += n
            row["time"] = int(record["ts_recv"])
            if key in QUOTES:
                for name in ("bid_sz_00", "bid_px_00", "ask_px_00", "ask_sz_00"):
                    row[name] = int(record[name])
            if key in TRADES and record["action"] == b"T":
                row["last"], row["size"] = int(record["price"]), int(record["size"])

    def lines(self) -> list[list[str]]:
        """
        Give the table.

        Returns
        -------
        list of list of str
            The instruments with the most records first, 30 at most.
        """
        busiest = sorted(self._rows.items(), key=lambda item: -item[1]["records"])[:LONGEST]
        symbols = self._live.symbology_map
        return [
            [
                self._key.hide(str(symbols.get(id_, id_))),
                (format_time(row["time"]) or "").partition("T")[2][:8],
                str(row.get("bid_sz_00", "")),
                _price(row.get("bid_px_00")),
                _price(row.get("ask_px_00")),
                str(row.get("ask_sz_00", "")),
                _price(row.get("last")),
                str(row.get("size", "")),
                f"{row['records']:,}",
            ]
            for id_, row in busiest
        ]

    def say(self, text: str) -> None:
        """
        Write a line above the table.

        Parameters
        ----------
        text : str
            The line.
        """
        if self._screen is None:
            put(text)
            sys.stdout.flush()
        else:
            self._screen.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Write the table for the last time."""
        if self._screen is not None:
            self._screen.stop()
            self._screen = None
        if self._rows:
            put_table(COLUMNS, iter(self.lines()), {"symbol", "time"}, self._indent)

    def _drawing(self) -> Any:
        from rich.table import Table as Drawing

        drawing = Drawing(box=None, header_style="bold")
        for name in COLUMNS:
            drawing.add_column(name, justify="left" if name in ("symbol", "time") else "right")
        for line in self.lines():
            drawing.add_row(*line)
        stats = self._live.stats()
        drawing.caption = f"{stats.records:,} records, {stats.reconnects} reconnects"
        return drawing


def _price(value: int | None) -> str:
    return "" if value is None else (format_price(value) or "")
