"""
When a dataset's market is open, and what its silence means.

Hours come from the product calendars of pandas-market-calendars, which know time zones, daylight
saving, daily breaks and holidays, from `closings`, which knows days better, or from the caller.
They label silence; no record is ever
dropped for them.
"""

from __future__ import annotations

import difflib
import re
import threading
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any, Final, Literal, NamedTuple

from dbnfast._util.extras import require
from dbnfast._util.times import DAY, instant, to_ns
from dbnfast.live.closings import closings_of

State = Literal["open", "closed", "quiet", "stale"]

NEVER: Final = 2**64 - 1  # where an open or closed stretch has no end that is known
LAST: Final = 2**63  # ns: the year 2262, from which on nothing is known
NO_TIME: Final = -(2**63)  # ns: what pandas has for no time is below it
QUIET_AFTER_S: Final = 60.0
STALE_AFTER_S: Final = 40.0  # heartbeats come every 30 s, and may be late
BLOCK_DAYS: Final = 32  # each such block of days has a window of its own
SPANS: Final = (20, 90, 400)  # days around it that are looked at until both ends are found
MARGIN: Final = 3  # days: a session may begin or end on another day than its own
WINDOWS: Final = 64  # kept at most
EPOCH: Final = date(1970, 1, 1)

_VENUES: Final[dict[str, str]] = {
    # the feeds of US equities run from 04:00 to 20:00 New York, which is `pre` to `post`
    "NYSE": "XNAS XBOS XPSX BATS BATY EDGA EDGX XNYS XCIS XASE XCHI MEMX EPRL IEXG DBEQ ARCX EQUS",
    "CBOE_Index_Options": "OPRA",  # 15 minutes longer than options on shares
    "ICE": "IFEU NDEX",
    "ICEUS": "IFUS",
    "XEUR": "XEUR",
    "XEEE": "XEEE",
}
_PRODUCTS: Final[dict[str, str]] = {
    "CME Globex Equity": "ES MES NQ MNQ RTY M2K YM MYM EMD NKD NIY",
    "CMEGlobex_EnergyAndMetals": (
        "CL MCL QM BZ NG QG MNG HH RB HO GC MGC QO SI SIL QI HG MHG QC PL PA ALI"
    ),
    "CME Globex Fixed Income": "ZN TN ZB UB TWE ZF ZT Z3N ZQ SR1 SR3",
    "CMEGlobex_FX": "6A 6B 6C 6E 6J 6L 6M 6N 6S 6Z E7 J7 M6A M6B M6E MCD MJY MSF",
    "CME Globex Crypto": "BTC MBT BFF ETH MET SOL MSL XRP MXP",
    "CMEGlobex_Grains": "ZC ZS ZW ZL ZM ZO ZR KE XC XK XW MZC MZS MZW MZL MZM",
    "CMEGlobex_Livestock": "LE GF HE",
}
_CALENDARS: Final = {venue: name for name, venues in _VENUES.items() for venue in venues.split()}
_ROOTS: Final = {root: name for name, roots in _PRODUCTS.items() for root in roots.split()}
# what is open at all on Globex: grains and livestock lie within the others' hours
_GLOBEX: Final = tuple(_PRODUCTS)[:5]
_OUTRIGHT: Final = re.compile(r"(?P<root>[A-Z0-9]{1,4}?)[FGHJKMNQUVXZ]\d{1,2}(?:-.+)?")


class HoursState(NamedTuple):
    """
    Whether a market is open, and for how long.

    Attributes
    ----------
    open : bool
        Whether it is.
    since_ns : int
        When the present open or closed stretch began, ns since 1970-01-01 UTC; 0 where that is
        not known.
    until_ns : int
        When it ends; ``2**64 - 1`` where that is not known.
    """

    open: bool
    since_ns: int
    until_ns: int


HoursState.__module__ = "dbnfast.live"  # where users find it


def calendars_of(dataset: str, symbols: Iterable[str | int] | str = ()) -> tuple[str, ...]:
    """
    Choose the calendars of a dataset.

    Parameters
    ----------
    dataset : str
        Its code.
    symbols : iterable of str or int, or str
        What is subscribed to, a text with commas between: on CME Globex the products' calendars
        are taken, where all of them are known.

    Returns
    -------
    tuple of str
        Names of pandas-market-calendars, whose hours together are the dataset's; empty where
        no calendar is known.
    """
    venue = dataset.upper().partition(".")[0]
    if venue != "GLBX":
        return (_CALENDARS[venue],) if venue in _CALENDARS else ()
    if isinstance(symbols, str):
        symbols = symbols.split(",")
    found = {_ROOTS.get(_root(symbol)) for symbol in symbols}
    if not found or None in found:
        return _GLOBEX
    return tuple(name for name in _PRODUCTS if name in found)


def _root(symbol: str | int) -> str:
    text = str(symbol).strip().upper()
    if "." in text:  # ES.FUT, ES.c.0
        return text.partition(".")[0]
    match = _OUTRIGHT.fullmatch(text)
    return text if match is None else match["root"]


def label(
    state: HoursState | None,
    ns: int,
    last_record_ns: int | None,
    last_byte_ns: int | None,
    *,
    quiet_after_s: float = QUIET_AFTER_S,
    stale_after_s: float = STALE_AFTER_S,
) -> State:
    """
    Say what silence means.

    Parameters
    ----------
    state : HoursState or None
        The market's at this time; None where its hours are not known, which then count as open.
    ns : int
        This time, ns since 1970-01-01 UTC.
    last_record_ns : int or None
        When the last record of market data came, by the same clock; None for none.
    last_byte_ns : int or None
        When anything came, heartbeats included; None for nothing.
    quiet_after_s : float
        Seconds without market data in an open market that are silence.
    stale_after_s : float
        Seconds without a byte that are too many.

    Returns
    -------
    str
        ``"stale"``: nothing comes at all. ``"closed"``: the market is, and no record came since,
        or none for `quiet_after_s`. ``"quiet"``: the gateway is there, the market has been open
        for `quiet_after_s`, and no record came in that time. Else ``"open"``.
    """
    if last_byte_ns is None or ns - last_byte_ns > stale_after_s * 1e9:
        return "stale"
    begin = 0 if state is None else state.since_ns
    last = 0 if last_record_ns is None else last_record_ns
    silent = ns - max(begin, last) > quiet_after_s * 1e9
    if state is not None and not state.open:
        return "closed" if last < begin or silent or last_record_ns is None else "open"
    return "quiet" if silent else "open"


class MarketHours:
    """
    When a dataset's market is open.

    Parameters
    ----------
    dataset : str
        Its code, by which the calendars are chosen; see `calendars_of`.
    calendar : str, calendar, callable or iterable of pairs, optional
        Used instead: the name of a calendar of pandas-market-calendars, such a calendar, a
        function that gives a `HoursState` (or None) for ns since 1970-01-01 UTC, or the open
        stretches themselves as pairs of times.
    symbols : iterable of str or int, or str
        What is subscribed to, for CME Globex.

    Attributes
    ----------
    names : tuple of str
        The calendars in use; their hours are taken together.

    Raises
    ------
    MissingExtraError
        A calendar is needed and pandas-market-calendars is not installed.
    TypeError, ValueError
        The calendar cannot be used.

    Notes
    -----
    Where a calendar has hours before and after the regular session, they count as open. A
    calendar's days are read when they are first asked for, which takes some 0.1 s, and kept.
    May be used from several threads.
    """

    __module__ = "dbnfast.live"  # where users find it

    def __init__(
        self,
        dataset: str,
        *,
        calendar: Any = None,
        symbols: Iterable[str | int] | str = (),
    ) -> None:
        if not isinstance(dataset, str):
            raise TypeError(f"dataset is {dataset!r}, expected a str")
        self.names: tuple[str, ...] = ()
        self._at: Callable[[int], HoursState | None] | None = None
        if calendar is None:
            self.names = calendars_of(dataset, symbols)
            if self.names:
                self._at = _Calendars(self.names).at
        elif isinstance(calendar, str):
            self.names = (calendar,)
            self._at = _Calendars(self.names).at
        elif callable(getattr(calendar, "schedule", None)):
            self.names = (str(getattr(calendar, "name", type(calendar).__name__)),)
            self._at = _Calendars([calendar]).at
        elif callable(calendar):
            self._at = _checked(calendar)
        elif isinstance(calendar, Iterable):
            self._at = _given(calendar)
        else:
            raise TypeError(
                f"calendar is {calendar!r}, expected a calendar, its name, a callable or pairs"
            )

    @property
    def known(self) -> bool:
        """Whether there is anything to tell the hours by."""
        return self._at is not None

    def at(self, ns: int) -> HoursState | None:
        """
        Tell whether the market is open.

        Parameters
        ----------
        ns : int
            The time, ns since 1970-01-01 UTC.

        Returns
        -------
        HoursState or None
            With the ends of the present stretch: sessions that adjoin are one stretch, a daily
            break is a closed one. None where the dataset's hours are not known.

        Raises
        ------
        ValueError
            The time is behind the year 2262, or the calendar has no hours for it.
        """
        if to_ns("ns", ns) >= LAST:
            raise ValueError(f"ns is {ns}, expected a time of 1970 to 2262")
        return None if self._at is None else self._at(int(ns))

    def label(
        self,
        ns: int,
        last_record_ns: int | None,
        last_byte_ns: int | None,
        *,
        quiet_after_s: float = QUIET_AFTER_S,
        stale_after_s: float = STALE_AFTER_S,
    ) -> State:
        """
        Say what silence means at a time.

        Parameters
        ----------
        ns, last_record_ns, last_byte_ns, quiet_after_s, stale_after_s
            As the function `label` takes them.

        Returns
        -------
        str
            ``"open"``, ``"closed"``, ``"quiet"`` or ``"stale"``.
        """
        return label(
            self.at(ns),
            ns,
            last_record_ns,
            last_byte_ns,
            quiet_after_s=quiet_after_s,
            stale_after_s=stale_after_s,
        )

    def __repr__(self) -> str:
        known = ", ".join(self.names) or ("given" if self.known else "not known")
        return f"<MarketHours: {known}>"


class _Stretches:
    # open stretches, ascending and apart, within [low, high): what lies outside is not known
    def __init__(self, pairs: Iterable[tuple[int, int]], low: int, high: int) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.low, self.high = low, high
        for start, end in sorted(pairs):
            start, end = max(start, low), min(end, high)
            if start >= end:
                continue
            if self.ends and start <= self.ends[-1]:
                self.ends[-1] = max(end, self.ends[-1])
            else:
                self.starts.append(start)
                self.ends.append(end)

    def at(self, ns: int) -> HoursState:
        index = bisect_right(self.starts, ns) - 1
        if index >= 0 and ns < self.ends[index]:
            return HoursState(True, self.starts[index], self.ends[index])
        since = self.ends[index] if index >= 0 else self.low
        until = self.starts[index + 1] if index + 1 < len(self.starts) else self.high
        return HoursState(False, since, until)


def _given(pairs: Iterable[Any]) -> Callable[[int], HoursState]:
    found = []
    for number, pair in enumerate(pairs):
        try:
            opens, closes = pair
        except (TypeError, ValueError):
            raise TypeError(f"stretch {number} is {pair!r}, expected (open, close)") from None
        start, end = instant(opens), instant(closes)
        if start >= end:
            raise ValueError(f"stretch {number} begins at {opens!r} and ends at {closes!r}")
        found.append((start, end))
    return _Stretches(found, 0, NEVER).at


def _checked(function: Callable[[int], Any]) -> Callable[[int], HoursState | None]:
    def at(ns: int) -> HoursState | None:
        found = function(ns)
        if found is None:
            return None
        try:
            is_open, since, until = found
            return HoursState(bool(is_open), to_ns("since", since), to_ns("until", until))
        except (TypeError, ValueError) as error:
            raise TypeError(f"calendar gave {found!r}, expected a HoursState") from error

    return at


def _named(name: str) -> Any:
    library = require("pandas_market_calendars", "hours")
    names = library.get_calendar_names()
    if name not in names:
        close = difflib.get_close_matches(name, names)
        hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
        raise ValueError(f"calendar is {name!r}, pandas-market-calendars has none such{hint}")
    return library.get_calendar(name)


class _Calendars:
    # the hours of some calendars together, read in windows of days
    def __init__(self, calendars: Iterable[Any]) -> None:
        # names, or calendars of the user's own, whose days are as he has them
        self._calendars = [
            (_named(one), closings_of(one)) if isinstance(one, str) else (one, None)
            for one in calendars
        ]
        self._windows: dict[int, _Stretches] = {}
        self._spans: dict[int, int] = {}  # by window: how many of SPANS were tried
        self._lock = threading.Lock()

    def at(self, ns: int) -> HoursState:
        key = ns // (BLOCK_DAYS * DAY)
        window = self._windows.get(key)
        while True:
            if window is not None:
                state = window.at(ns)
                if state.since_ns > window.low and state.until_ns < window.high:
                    return state if state.since_ns >= 0 else state._replace(since_ns=0)
                if self._spans.get(key) == len(SPANS):
                    since = max(state.since_ns, 0) if state.since_ns > window.low else 0
                    until = state.until_ns if state.until_ns < window.high else NEVER
                    return HoursState(state.open, since, until)
            window = self._widened(key)

    def _widened(self, key: int) -> _Stretches:
        with self._lock:
            tried = self._spans.get(key, 0)
            span = SPANS[min(tried, len(SPANS) - 1)]
            first, last = key * BLOCK_DAYS - span, (key + 1) * BLOCK_DAYS + span
            window = _Stretches(self._pairs(first, last), first * DAY, last * DAY)
            if len(self._windows) >= WINDOWS:
                self._windows.clear()
                self._spans.clear()
            self._windows[key] = window
            self._spans[key] = min(tried + 1, len(SPANS))
            return window

    def _pairs(self, first: int, last: int) -> list[tuple[int, int]]:
        begin, end = (EPOCH + timedelta(day) for day in (first - MARGIN, last + MARGIN))
        found = []
        for calendar, closing in self._calendars:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what the library has of others is its own
                    frame = calendar.schedule(
                        begin.isoformat(), end.isoformat(), tz="UTC", market_times="all"
                    )
            except Exception as error:
                raise ValueError(
                    f"the calendar has no hours from {begin} to {end}: {error}"
                ) from error
            found += _sessions(frame, closing)
        return found


def _sessions(
    frame: Any, closing: Callable[[date], int | None] | None = None
) -> list[tuple[int, int]]:
    # open stretches of a schedule: a row is a session, which may have a break
    if not len(frame):
        return []
    opens = _column(frame, "pre" if "pre" in frame else "market_open")
    closes = _column(frame, "post" if "post" in frame else "market_close")
    if closing is not None:
        known = [closing(day.date()) for day in frame.index]
        closes = [
            close if last is None else min(close, last)
            for close, last in zip(closes, known, strict=True)
        ]
    found = list(zip(opens, closes, strict=True))
    if "break_start" in frame and "break_end" in frame:
        breaks = zip(_column(frame, "break_start"), _column(frame, "break_end"), strict=True)
        parts = []
        for (opened, closed), (start, end) in zip(found, breaks, strict=True):
            if opened < start < end:
                parts += [(opened, min(start, closed)), (end, closed)]
            else:
                parts.append((opened, closed))
        found = parts
    return [(start, end) for start, end in found if NO_TIME < start < end]


def _column(frame: Any, name: str) -> list[int]:
    # ns since 1970-01-01 UTC, in ints of any size; NaT is below `NO_TIME`
    micros = frame[name].to_numpy("datetime64[us]").astype("int64")
    return [micro * 1000 for micro in micros.tolist()]
