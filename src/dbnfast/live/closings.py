"""
Days on which the US markets of shares and options stay closed or close early, as published.

The calendars of pandas-market-calendars have most of these days; those of options lack 24
December. What is said here goes before them.

Source: "NYSE Group Announces 2025, 2026 and 2027 Holiday and Early Closings Calendar", of 8
November 2024, which is of shares and options; for 9 January 2025 "Cboe Global Markets to Close
its U.S. Markets January 9", of 30 December 2024.
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable

_CLOSED: Final = """
    2025-01-01 2025-01-09 2025-01-20 2025-02-17 2025-04-18 2025-05-26 2025-06-19 2025-07-04
    2025-09-01 2025-11-27 2025-12-25
    2026-01-01 2026-01-19 2026-02-16 2026-04-03 2026-05-25 2026-06-19 2026-07-03 2026-09-07
    2026-11-26 2026-12-25
    2027-01-01 2027-01-18 2027-02-15 2027-03-26 2027-05-31 2027-06-18 2027-07-05 2027-09-06
    2027-11-25 2027-12-24
"""
_SHORT: Final = "2025-07-03 2025-11-28 2025-12-24 2026-11-27 2026-12-24 2027-11-26"
_HOLIDAYS: Final = frozenset(map(date.fromisoformat, _CLOSED.split()))
_EARLY: Final = frozenset(map(date.fromisoformat, _SHORT.split()))
# Until when there is trade at all on a day that ends early. Shares close at 13:00 New York, and
# their late session is over at 17:00; options close at 12:00 Chicago, and those on indices, which
# trade 15 minutes longer on every day, at 12:15.
_LAST: Final = {
    "NYSE": (time(17, 0), "America/New_York"),
    "CBOE_Index_Options": (time(12, 15), "America/Chicago"),
}

NONE: Final = 0  # ns: the end of a day without trade


def closings_of(calendar: str) -> Callable[[date], int | None] | None:
    """
    Give what is known of a calendar's days.

    Parameters
    ----------
    calendar : str
        Its name, as pandas-market-calendars has it.

    Returns
    -------
    callable or None
        Gives for a day when its trade ends at the latest, ns since 1970-01-01 UTC: `NONE` where
        there is none, None where the day is like others. None where nothing is known.
    """
    if calendar not in _LAST:
        return None
    last, name = _LAST[calendar]
    zone = ZoneInfo(name)

    def closing(day: date) -> int | None:
        if day in _HOLIDAYS:
            return NONE
        if day not in _EARLY:
            return None
        return int(datetime.combine(day, last, zone).timestamp()) * 10**9

    return closing
