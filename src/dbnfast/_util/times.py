"""Times that callers give, as nanoseconds."""

from __future__ import annotations

import datetime
import functools
import numbers
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbnfast._util.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas
    from numpy.typing import ArrayLike

    from dbnfast._typing import Column

    Time = int | str | np.datetime64 | datetime.date  # datetime and pandas.Timestamp are dates too

UNDEFINED: Final = 2**64 - 1
NPY_FR_NS: Final = 10  # numpy's number of the unit ns
DAY: Final = 86_400 * 10**9  # ns
SCALES: Final = {
    "D": DAY, "h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1,
}  # fmt: skip
ISO: Final = re.compile(
    r"(?P<local>\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?)"
    r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?)?"
)

DATE: Final = re.compile(r"(\d{4})(?:(\d\d)(\d\d)|-(\d\d))?")  # without dashes or days


def to_seconds(name: str, value: Any) -> float:
    """
    Read a duration that a caller gave.

    Parameters
    ----------
    name : str
        What it is, for the error.
    value : float
        Seconds.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        It is no number.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}, expected a number of seconds")
    return float(value)


def to_ns(name: str, value: Any) -> int:
    """
    Read a time that a caller gave.

    Parameters
    ----------
    name : str
        What it is, for the error.
    value : int, str, datetime64, datetime, date or pandas.Timestamp
        ns since 1970-01-01 UTC, or a time of any unit, or ISO 8601 text. A naive datetime is
        UTC; a date is its midnight.

    Returns
    -------
    int
        0 to 2**64 - 1.

    Raises
    ------
    TypeError
        It is none of these.
    ValueError
        It does not fit.
    """
    if isinstance(value, str):
        return _iso(value, name)
    value = _as_numpy(value)
    if isinstance(value, np.datetime64):
        try:
            time = value.astype("M8[ns]")
        except OverflowError:  # numpy before 2.5 wraps around silently
            time = np.datetime64("NaT", "ns")
        if np.isnat(time) or time.astype(value.dtype) != value:
            raise ValueError(f"{name} is {value}, expected a time of 1970 to 2262")
        value = int(time.astype(np.int64))
    if isinstance(value, bool | np.bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}, expected an int of ns, or a time")
    number = int(value.__index__())
    if not 0 <= number < 2**64:
        raise ValueError(f"{name} is {number}, expected 0 to 2**64 - 1 ns since 1970-01-01 UTC")
    return number


def as_datetime64(ns: int) -> np.datetime64:
    """
    Give a timestamp as numpy has it.

    Parameters
    ----------
    ns : int
        Since 1970-01-01 UTC, 0 to 2**64 - 1.

    Returns
    -------
    datetime64[ns]
        NaT for what is behind the year 2262, as in frames.
    """
    return np.datetime64(ns if ns < 2**63 else "NaT", "ns")


def timestamps() -> Any:
    """
    Import pandas, for its timestamps.

    Returns
    -------
    module
        The statement finds it several times faster than `require` does: it is asked for with
        every time of every record.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import pandas
    except ImportError:
        return require("pandas", "pandas")  # says which extra it is
    return pandas


def as_timestamp(ns: int) -> pandas.Timestamp:
    """
    Give a timestamp as the official packages do.

    Parameters
    ----------
    ns : int
        Since 1970-01-01 UTC, 0 to 2**64 - 1.

    Returns
    -------
    pandas.Timestamp
        In UTC; NaT for what is behind the year 2262, as in frames.

    Raises
    ------
    MissingExtraError
        pandas is not installed.
    """
    return _maker()(ns) if ns < 2**63 else timestamps().NaT


@functools.cache
def _maker() -> Callable[[int], pandas.Timestamp]:
    # pandas makes its own timestamps by a constructor that is not public, in half the time; where
    # it is missing some day, or makes something else, the public one is there
    stamp: Any = timestamps().Timestamp
    make: Any = getattr(stamp, "_from_value_and_reso", None)
    utc = datetime.UTC

    def public(ns: int) -> pandas.Timestamp:
        made: pandas.Timestamp = stamp(ns, tz=utc)
        return made

    def private(ns: int) -> pandas.Timestamp:
        made: pandas.Timestamp = make(ns, NPY_FR_NS, utc)
        return made

    try:
        pairs = [(private(ns), public(ns)) for ns in (0, 1_609_113_600_246_821_748, 2**63 - 1)]
    except Exception:  # whatever it is that it does then
        return public
    same = all(
        type(a) is type(b) and a == b and a.unit == b.unit and a.tzinfo is b.tzinfo
        and repr(a) == repr(b) for a, b in pairs
    )  # fmt: skip
    return private if same else public


def as_stamps(values: ArrayLike) -> Column:
    """
    Read times that a caller gave, many at once.

    Parameters
    ----------
    values : array of int, datetime64, str or objects
        ns since 1970-01-01 UTC, or times of any unit, or ISO 8601 text.

    Returns
    -------
    ndarray of uint64
        In ns since 1970-01-01 UTC; 2**64 - 1 for NaT and what no timestamp can be.

    Raises
    ------
    TypeError, ValueError
        They are not times.
    """
    times = np.asarray(values)
    if not times.size:
        return times.astype(np.uint64)
    if times.dtype.kind == "O":
        return np.array([moment(time) for time in times], np.uint64)
    if times.dtype.kind == "U":
        return np.array([_iso(str(time), "time") for time in times], np.uint64)
    if times.dtype.kind == "M":
        return _from_datetime64(times)
    if times.dtype.kind not in "iu":
        raise TypeError(f"times are {times.dtype}, expected datetime64 or integers of ns")
    if times.dtype.kind == "i" and times.min() < 0:
        raise ValueError(f"times begin at {times.min()}, expected ns since 1970-01-01 UTC")
    return times.astype(np.uint64, "C", copy=False)


def _from_datetime64(times: Column) -> Column:
    # what no timestamp can be, NaT too, becomes the undefined one
    unit, count = np.datetime_data(times.dtype)
    if unit not in SCALES:
        unit, count = ("D", 1) if unit in ("Y", "M", "W") else ("ns", 1)
        times = times.astype(f"M8[{unit}]")
    scale = SCALES[unit] * count
    numbers = times.astype(np.int64)
    inside = (numbers >= 0) & (numbers <= (2**64 - 1) // scale)
    stamps = np.where(inside, numbers, 0).astype(np.uint64) * np.uint64(scale)
    stamps[~inside] = UNDEFINED
    return stamps


def moment(time: Any) -> int:
    """
    Read a time or date that a caller gave.

    Parameters
    ----------
    time : int, str, datetime64, datetime, date or pandas.Timestamp
        A naive datetime is UTC; a date is its midnight. Text is ISO 8601.

    Returns
    -------
    int
        In ns since 1970-01-01 UTC; 2**64 - 1 for NaT and what no timestamp can be.

    Raises
    ------
    TypeError, ValueError
        It is no time.
    """
    if isinstance(time, str):
        return _iso(time, "time")
    time = _as_numpy(time)
    if isinstance(time, np.datetime64):
        return int(_from_datetime64(np.array([time]))[0])
    return to_ns("time", time)


def _iso(text: str, name: str) -> int:
    # other digits than those of a date may be of any unit
    if text.strip().isdecimal() and not DATE.fullmatch(text.strip()):
        raise ValueError(f"{name} is {text!r}, expected ISO 8601 as 2026-01-05, or ns as an int")
    return instant(text, name)


def _as_numpy(time: Any) -> Any:
    # a time of Python or pandas as numpy has it; anything else as it is
    if hasattr(time, "to_datetime64"):  # pandas, which has ns
        return time.to_datetime64()
    if isinstance(time, datetime.datetime):
        if time.tzinfo is not None:
            time = time.astimezone(datetime.UTC).replace(tzinfo=None)
        return np.datetime64(time, "us")
    return np.datetime64(time, "D") if isinstance(time, datetime.date) else time


def instant(time: Any, name: str = "time") -> int:
    """
    Read a time that a caller gave, text included.

    Parameters
    ----------
    time : int, str, datetime64, datetime, date or pandas.Timestamp
        ISO 8601 text or what `moment` takes; without a zone it is UTC. Text of 4 or 8 digits is a
        year or date, as in the official packages, of other digits ns since 1970-01-01 UTC.
    name : str
        What it is, for the error.

    Returns
    -------
    int
        In ns since 1970-01-01 UTC, to the last digit.

    Raises
    ------
    TypeError, ValueError
        It is no time, or none that can be.
    """
    ns = _read(time, name) if isinstance(time, str) else moment(time)
    if not 0 <= ns < UNDEFINED:
        raise ValueError(f"{name} is {time!r}, expected one of 1970 to 2554")
    return ns


def _read(time: str, name: str) -> int:
    text = time.strip()
    date = DATE.fullmatch(text)
    if date is not None:
        year, month, day, only_month = date.groups()
        text = f"{year}-{month or only_month or '01'}-{day or '01'}"
    elif text.isdecimal():
        return int(text)
    match = ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} is {time!r}, expected ISO 8601 or ns since 1970-01-01 UTC")
    whole, _, part = match["local"].replace(" ", "T").partition(".")
    try:
        # in seconds: numpy lets ns behind 2262 become any other time
        ns = int(np.datetime64(whole, "s").astype(np.int64)) * SCALES["s"]
    except ValueError:
        raise ValueError(f"{name} is {time!r}, which is on no calendar") from None
    ns += int(part.ljust(9, "0"))
    if match["hours"]:
        shift = (int(match["hours"]) * 60 + int(match["minutes"] or 0)) * 60_000_000_000
        ns += -shift if match["sign"] == "+" else shift
    return ns
