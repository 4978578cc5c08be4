"""Open and closed through 2026: daylight saving, breaks, weekends, holidays; and what is said."""

from __future__ import annotations

import datetime
import sys
import threading
import warnings
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import dbnfast
from dbnfast.live import hours
from dbnfast.live.hours import NEVER, HoursState, MarketHours, calendars_of, label

CHICAGO = ZoneInfo("America/Chicago")
NEW_YORK = ZoneInfo("America/New_York")
BERLIN = ZoneInfo("Europe/Berlin")
S = 10**9
DAY = 86_400 * S


def at(text: str, zone: datetime.tzinfo = CHICAGO) -> int:
    """Local time, such as "03-08 17:00" of 2026, as ns."""
    time = datetime.datetime.fromisoformat(f"2026-{text}".replace(" ", "T"))
    return int(time.replace(tzinfo=zone).timestamp()) * S


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("pandas_market_calendars")


@pytest.fixture(scope="module")
def equity(library: Any) -> MarketHours:
    return MarketHours("GLBX.MDP3", symbols=["ESZ6", "NQ.FUT", "MES.c.0"])


def check(
    market: MarketHours, stretch: tuple[bool, str, str], zone: datetime.tzinfo = CHICAGO
) -> None:
    """A stretch is what it says at both ends and in the middle, and not a ns beyond."""
    is_open, since, until = stretch[0], at(stretch[1], zone), at(stretch[2], zone)
    state = HoursState(is_open, since, until)
    for ns in (since, since + 1, (since + until) // 2, until - 1):
        assert market.at(ns) == state
    before, after = market.at(since - 1), market.at(until)
    assert before is not None
    assert after is not None
    assert (before.open, before.until_ns) == (not is_open, since)
    assert (after.open, after.since_ns) == (not is_open, until)


# --- CME Globex -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stretch",
    [
        # a week: Sunday 17:00 to Friday 16:00 Chicago, a break of an hour Monday to Thursday
        (True, "02-01 17:00", "02-02 16:00"),
        (False, "02-02 16:00", "02-02 17:00"),
        (True, "02-02 17:00", "02-03 16:00"),
        (False, "02-05 16:00", "02-05 17:00"),
        (True, "02-05 17:00", "02-06 16:00"),
        (False, "02-06 16:00", "02-08 17:00"),
        # clocks go forward on 8 March and back on 1 November, both on a weekend
        (False, "03-06 16:00", "03-08 17:00"),
        (True, "03-08 17:00", "03-09 16:00"),
        (False, "03-09 16:00", "03-09 17:00"),
        (False, "10-30 16:00", "11-01 17:00"),
        (True, "11-01 17:00", "11-02 16:00"),
        # New Year, Martin Luther King day, Good Friday, Thanksgiving, Christmas
        (False, "01-19 12:00", "01-19 17:00"),
        (True, "04-02 17:00", "04-03 08:15"),
        (False, "04-03 08:15", "04-05 17:00"),
        (True, "11-25 17:00", "11-26 12:00"),
        (False, "11-26 12:00", "11-26 17:00"),
        (False, "12-24 12:15", "12-27 17:00"),
    ],
    ids=str,
)
def test_globex_equities(equity: MarketHours, stretch: tuple[bool, str, str]) -> None:
    check(equity, stretch)


def test_the_same_hour_of_chicago_is_another_of_utc(equity: MarketHours) -> None:
    opens = []
    for day in ("03-06", "03-09", "10-30", "11-02"):
        state = equity.at(at(f"{day} 12:00"))
        assert state is not None
        opens.append(state.since_ns % DAY // (3600 * S))
    assert opens == [23, 22, 22, 23]
    weekend = equity.at(at("03-07 12:00"))
    assert weekend is not None
    assert weekend.until_ns - weekend.since_ns == 48 * 3600 * S  # of 49, one is skipped
    weekend = equity.at(at("10-31 12:00"))
    assert weekend is not None
    assert weekend.until_ns - weekend.since_ns == 50 * 3600 * S


def test_new_year(equity: MarketHours) -> None:
    state = equity.at(at("01-01 05:00"))
    assert state is not None
    assert (state.open, state.until_ns) == (False, at("01-01 17:00"))
    assert state.since_ns == at("01-01 00:00") - 8 * 3600 * S  # 31 December, 16:00


@pytest.mark.parametrize(
    ("symbols", "names", "stretch"),
    [
        (["CLF7", "GCZ6-GCG7"], ("CMEGlobex_EnergyAndMetals",),
         (False, "11-26 13:30", "11-26 17:00")),
        (["ZNH7"], ("CME Globex Fixed Income",), (False, "04-03 10:15", "04-05 17:00")),
        (["6EZ6", "6A.FUT"], ("CMEGlobex_FX",), (False, "11-26 16:00", "11-26 17:00")),
        (["zcz6"], ("CMEGlobex_Grains",), (False, "02-03 07:45", "02-03 08:30")),
        (["ZC.FUT", "LE.FUT"], ("CMEGlobex_Grains", "CMEGlobex_Livestock"),
         (True, "02-03 08:30", "02-03 13:20")),
        (["BTC.FUT"], ("CME Globex Crypto",), (False, "02-03 16:00", "02-03 17:00")),
        ("ES.FUT,CL.FUT", ("CME Globex Equity", "CMEGlobex_EnergyAndMetals"),
         (False, "11-26 13:30", "11-26 17:00")),
    ],
)  # fmt: skip
def test_products(library: Any, symbols: Any, names: Any, stretch: Any) -> None:
    market = MarketHours("GLBX.MDP3", symbols=symbols)
    assert market.names == names
    check(market, stretch)


@pytest.mark.parametrize(
    "symbols", [(), ["ALL_SYMBOLS"], [5482], ["ESZ6", "QQQQQ"], ["UD:1V: VT 123"], ["ESZ6 C6000"]]
)
def test_what_is_unknown_has_the_widest_hours(library: Any, symbols: Any) -> None:
    market = MarketHours("GLBX.MDP3", symbols=symbols)
    assert len(market.names) == 5
    if not symbols:
        check(market, (True, "11-25 17:00", "11-26 16:00"))  # currencies trade on Thanksgiving
        check(market, (False, "02-03 16:00", "02-03 17:00"))
        check(market, (False, "12-24 12:45", "12-27 17:00"))


def test_roots_are_told_from_months() -> None:
    for symbols, name in (
        ("Z3NZ6", "CME Globex Fixed Income"),
        ("M2KH6", "CME Globex Equity"),
        ("HGZ26", "CMEGlobex_EnergyAndMetals"),
        ("J7Z6", "CMEGlobex_FX"),
        ("NGF7-NGG7", "CMEGlobex_EnergyAndMetals"),
        ("GF.FUT", "CMEGlobex_Livestock"),
    ):
        assert calendars_of("glbx.mdp3", [symbols]) == (name,)


# --- other datasets ---------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["XNAS.ITCH", "DBEQ.BASIC", "EQUS.MINI", "XNYS.PILLAR"])
@pytest.mark.parametrize(
    "stretch",
    [
        (True, "03-06 04:00", "03-06 20:00"),  # before and after the session, too
        (False, "03-06 20:00", "03-09 04:00"),
        (False, "10-30 20:00", "11-02 04:00"),
        (False, "04-02 20:00", "04-06 04:00"),
        (True, "11-27 04:00", "11-27 17:00"),
        (False, "12-24 17:00", "12-28 04:00"),
    ],
    ids=str,
)
def test_us_equities(library: Any, dataset: str, stretch: Any) -> None:
    check(MarketHours(dataset), stretch, NEW_YORK)


def test_others(library: Any) -> None:
    check(MarketHours("OPRA.PILLAR"), (True, "03-09 08:30", "03-09 15:15"))
    check(MarketHours("XEUR.EOBI"), (False, "03-27 22:00", "03-30 08:00"), BERLIN)
    check(MarketHours("XEUR.EOBI"), (False, "12-23 22:00", "12-28 08:00"), BERLIN)
    check(MarketHours("XEEE.EOBI"), (True, "03-30 08:00", "03-30 18:00"), BERLIN)
    for dataset in ("IFEU.IMPACT", "NDEX.IMPACT", "IFUS.IMPACT"):
        check(MarketHours(dataset), (False, "03-06 18:00", "03-08 20:01"), NEW_YORK)


# Published: "NYSE Group Announces 2025, 2026 and 2027 Holiday and Early Closings Calendar"; 9
# January 2025 was announced by each market. By year: holidays, and days that end early.
US: dict[int, tuple[str, str]] = {
    2025: (
        "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25", "07-03 11-28 12-24",
    ),
    2026: ("01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25", "11-27 12-24"),
    2027: ("01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24", "11-26"),
}  # fmt: skip
# Published: trading calendar of Eurex; days without trade
EUREX = {
    2025: "01-01 04-18 04-21 05-01 12-24 12-25 12-26 12-31",
    2026: "01-01 04-03 04-06 05-01 12-24 12-25 12-31",
}
# Published: holiday calendar of CME Globex, shares' indices. The days of the US markets on which
# these are not closed all day, and the days after Thanksgiving and before Christmas.
GLOBEX = {
    2026: {
        "01-19": "12:00", "02-16": "12:00", "05-25": "12:00", "06-19": "12:00", "07-03": "12:00",
        "09-07": "12:00", "11-26": "12:00", "11-27": "12:15", "12-24": "12:15",
    },
}  # fmt: skip


def weekdays(year: int) -> list[datetime.date]:
    first = datetime.date(year, 1, 1)
    days = (first + datetime.timedelta(n) for n in range(365))
    return [day for day in days if day.weekday() < 5]


def end_of(market: MarketHours, day: datetime.date, zone: datetime.tzinfo) -> str | None:
    """Until when a market is open that opens in the morning; None where it does not."""
    noon = datetime.datetime.combine(day, datetime.time(11), zone)
    state = market.at(int(noon.timestamp()) * S)
    assert state is not None
    if not state.open:
        return None
    return datetime.datetime.fromtimestamp(state.until_ns // S, zone).strftime("%H:%M")


@pytest.mark.parametrize("year", US)
@pytest.mark.parametrize(
    ("dataset", "zone", "usual", "early"),
    [
        ("XNAS.ITCH", NEW_YORK, "20:00", "17:00"),
        ("EQUS.MINI", NEW_YORK, "20:00", "17:00"),
        ("OPRA.PILLAR", CHICAGO, "15:15", "12:15"),
    ],
)
def test_days_of_us_shares_and_options(
    library: Any, dataset: str, zone: ZoneInfo, usual: str, early: str, year: int
) -> None:
    closed, short = (set(days.split()) for days in US[year])
    market = MarketHours(dataset)
    named = MarketHours("X", calendar=market.names[0])
    own = MarketHours("X", calendar=library.get_calendar(market.names[0]))  # as the library has it
    differ = []
    for day in weekdays(year):
        text = day.isoformat()[5:]
        wanted = None if text in closed else early if text in short else usual
        assert end_of(market, day, zone) == end_of(named, day, zone) == wanted, text
        if end_of(own, day, zone) != wanted:
            differ.append(text)
    # the library has all of it, or lacks the day before Christmas for options
    assert set(differ) <= ({"12-24"} if dataset == "OPRA.PILLAR" else set())


def test_the_day_before_christmas_of_options(library: Any) -> None:
    check(MarketHours("OPRA.PILLAR"), (True, "12-24 08:30", "12-24 12:15"))
    check(MarketHours("OPRA.PILLAR"), (False, "12-24 12:15", "12-28 08:30"))
    check(MarketHours("OPRA.PILLAR"), (True, "11-27 08:30", "11-27 12:15"))


def test_a_day_that_the_library_lacks_is_closed(library: Any) -> None:
    # as a release does that does not know of a day of mourning
    calendar = library.get_calendar("NYSE")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        frame = calendar.schedule("2025-01-08", "2025-01-10", tz="UTC", market_times="all")
    assert len(frame) == 2
    frame.loc[frame.index[0] + datetime.timedelta(1)] = frame.iloc[0] + datetime.timedelta(1)
    assert len(hours._sessions(frame)) == 3
    known = hours.closings_of("NYSE")
    assert known is not None
    assert len(hours._sessions(frame, known)) == 2


@pytest.mark.parametrize("year", EUREX)
def test_days_of_eurex(library: Any, year: int) -> None:
    market = MarketHours("XEUR.EOBI")
    found = {day.isoformat()[5:]: end_of(market, day, BERLIN) for day in weekdays(year)}
    assert {day for day, end in found.items() if end is None} == set(EUREX[year].split())
    assert set(found.values()) == {None, "22:00"}


@pytest.mark.parametrize("year", GLOBEX)
def test_days_of_globex_equities(equity: MarketHours, year: int) -> None:
    found = {day.isoformat()[5:]: end_of(equity, day, CHICAGO) for day in weekdays(year)}
    short = {day: end for day, end in found.items() if end not in (None, "16:00")}
    assert short == GLOBEX[year]
    assert {day for day, end in found.items() if end is None} == {"01-01", "04-03", "12-25"}


@pytest.mark.parametrize("dataset", ["XCBF.PITCH", "NOBODY.KNOWS", "", "MSCI.CGIF"])
def test_hours_that_nobody_knows(dataset: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pandas_market_calendars", None)  # nor is it needed
    market = MarketHours(dataset)
    assert not market.known
    assert market.names == ()
    assert market.at(at("03-06 12:00")) is None
    assert market.label(10**18, 10**18, 10**18) == "open"
    assert repr(market) == "<MarketHours: not known>"


def test_every_calendar_is_one_of_the_library(library: Any) -> None:
    from dbnfast.publishers import PUBLISHERS

    names = set(library.get_calendar_names())
    for dataset in {publisher.dataset for publisher in PUBLISHERS.values()}:
        assert set(calendars_of(dataset)) <= names
    assert set(hours._PRODUCTS) <= names


# --- calendars that users give ----------------------------------------------------------------


def test_a_calendar_by_its_name_or_itself(library: Any) -> None:
    for given in ("XTKS", library.get_calendar("XTKS")):
        market = MarketHours("XNAS.ITCH", calendar=given)
        assert market.known
        check(market, (False, "02-03 11:30", "02-03 12:30"), ZoneInfo("Asia/Tokyo"))
    with pytest.raises(ValueError, match=r"'NASDQ'.*did you mean 'NASDAQ'"):
        MarketHours("X", calendar="NASDQ")
    with pytest.raises(ValueError, match=r"'zzzzzz'.*has none such$"):
        MarketHours("X", calendar="zzzzzz")


def test_a_market_that_never_closes(library: Any) -> None:
    market = MarketHours("X", calendar="24/7")
    for ns in (0, at("03-08 00:00"), 2**63 - 1):
        assert market.at(ns) == HoursState(True, 0, NEVER)


def test_pairs_of_times() -> None:
    day = datetime.date(2026, 3, 6)
    market = MarketHours(
        "X",
        calendar=[
            ("2026-03-06T12:00", "2026-03-06T13:00"),
            (10, 20),
            (20, 30),  # adjoining
            (25, 27),
            (day, datetime.datetime(2026, 3, 6, 1)),
        ],
    )
    begin = int(datetime.datetime(2026, 3, 6, tzinfo=datetime.UTC).timestamp()) * S
    hour = 3600 * S
    for ns, state in (
        (0, HoursState(False, 0, 10)),
        (10, HoursState(True, 10, 30)),
        (29, HoursState(True, 10, 30)),
        (30, HoursState(False, 30, begin)),
        (begin, HoursState(True, begin, begin + hour)),
        (begin + 5 * hour, HoursState(False, begin + hour, begin + 12 * hour)),
        (begin + 13 * hour, HoursState(False, begin + 13 * hour, NEVER)),
    ):
        assert market.at(ns) == state
    assert repr(market) == "<MarketHours: given>"
    assert MarketHours("X", calendar=[]).at(5) == HoursState(False, 0, NEVER)


def test_a_function() -> None:
    market = MarketHours("X", calendar=lambda ns: (ns > 100, 3, 4))
    assert market.at(101) == HoursState(True, 3, 4)
    assert market.at(100) == HoursState(False, 3, 4)
    assert MarketHours("X", calendar=lambda ns: None).at(5) is None
    for wrong in (True, (1, 2), (True, "a", 3), (True, -1, 3)):
        market = MarketHours("X", calendar=lambda ns, wrong=wrong: wrong)
        with pytest.raises(TypeError, match="expected a HoursState"):
            market.at(5)


def test_wrong_calendars() -> None:
    with pytest.raises(TypeError, match="calendar is 5"):
        MarketHours("X", calendar=5)
    with pytest.raises(TypeError, match="stretch 1 is 7"):
        MarketHours("X", calendar=[(1, 2), 7])
    with pytest.raises(ValueError, match="stretch 0 begins at 3 and ends at 3"):
        MarketHours("X", calendar=[(3, 3)])
    with pytest.raises(TypeError, match="dataset is 7"):
        MarketHours(7)  # type: ignore[arg-type]


def test_without_the_library(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pandas_market_calendars", None)
    for options in ({}, {"calendar": "NYSE"}):
        with pytest.raises(dbnfast.MissingExtraError, match=r"dbnfast\[hours\]") as caught:
            MarketHours("GLBX.MDP3", **options)
        assert caught.value.extra == "hours"
    assert MarketHours("GLBX.MDP3", calendar=[(1, 2)]).at(1) == HoursState(True, 1, 2)


# --- any time ---------------------------------------------------------------------------------


def test_any_time_of_1970_to_2262(equity: MarketHours) -> None:
    states = [equity.at(ns) for ns in range(0, 2**63, 2**63 // 25)]
    states.append(equity.at(2**63 - 1))
    for state in states:
        assert state is not None
        assert state.since_ns < state.until_ns
        assert state.until_ns - state.since_ns < 7 * DAY
    assert equity.at(0) == HoursState(False, 0, 23 * 3600 * S)  # New Year: 17:00 Chicago
    for wrong in (2**63, 2**64 - 1):
        with pytest.raises(ValueError, match="1970 to 2262"):
            equity.at(wrong)
    with pytest.raises(ValueError, match="ns is -1"):
        equity.at(-1)
    with pytest.raises(TypeError, match=r"ns is 1\.5"):
        equity.at(1.5)  # type: ignore[arg-type]


def test_stretches_follow_each_other_through_the_year(equity: MarketHours) -> None:
    ns, end, n, total = at("01-01 00:00"), at("12-31 23:59"), 0, 0
    state = equity.at(ns)
    assert state is not None
    while state.until_ns < end:
        following = equity.at(state.until_ns)
        assert following is not None
        assert (following.open, following.since_ns) == (not state.open, state.until_ns)
        state = following
        n += state.open
        total += state.open * (state.until_ns - state.since_ns)
    assert n == 259  # sessions of 2026
    assert 5900 < total // (3600 * S) < 5957  # hours, of 23 a day


class Calendar:
    """A calendar that counts what it is asked."""

    name = "counted"

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asked = 0

    def schedule(self, *args: Any, **options: Any) -> Any:
        self.asked += 1
        return self.inner.schedule(*args, **options)


def test_days_are_read_once(library: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(hours, "WINDOWS", 4)
    calendar = Calendar(library.get_calendar("NYSE"))
    market = MarketHours("X", calendar=calendar)
    assert market.names == ("counted",)
    assert calendar.asked == 0
    begin = at("03-06 12:00")
    first = market.at(begin)
    asked = calendar.asked
    assert asked == 1
    for minute in range(0, 2000, 7):
        market.at(begin + minute * 60 * S)
    assert market.at(begin) == first
    assert calendar.asked <= 2
    for month in range(hours.WINDOWS * 2):  # what is kept is bounded
        market.at(begin + month * 32 * DAY)
    assert len(market._at.__self__._windows) <= hours.WINDOWS  # type: ignore[union-attr]
    assert market.at(begin) == first


def test_a_calendar_without_sessions(library: Any) -> None:
    class Empty(Calendar):
        def schedule(self, *args: Any, **options: Any) -> Any:
            return super().schedule(*args, **options).iloc[:0]

    market = MarketHours("X", calendar=Empty(library.get_calendar("NYSE")))
    assert market.at(at("03-06 12:00")) == HoursState(False, 0, NEVER)


def test_a_calendar_that_fails() -> None:
    class Failing:
        def schedule(self, *args: Any, **options: Any) -> Any:
            raise KeyError("no such year")

    market = MarketHours("X", calendar=Failing())
    with pytest.raises(ValueError, match=r"no hours from 2026-.* to 2026-.*no such year"):
        market.at(at("03-06 12:00"))


def test_threads(library: Any) -> None:
    market = MarketHours("XNAS.ITCH")
    times = [at("03-06 12:00") + i * 11 * DAY for i in range(12)]
    wanted = [MarketHours("XNAS.ITCH").at(ns) for ns in times]
    found: list[list[HoursState | None]] = []
    threads = [
        threading.Thread(target=lambda: found.append([market.at(ns) for ns in times]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4


# --- what silence means -----------------------------------------------------------------------

NOW = 1_000_000 * S
OPEN = HoursState(True, NOW - 3600 * S, NOW + 3600 * S)
JUST_OPEN = HoursState(True, NOW - 5 * S, NOW + 3600 * S)
CLOSED = HoursState(False, NOW - 600 * S, NOW + 3600 * S)


@pytest.mark.parametrize(
    ("state", "record_s", "byte_s", "said"),
    [
        (OPEN, 1, 1, "open"),
        (OPEN, 60, 1, "open"),
        (OPEN, 61, 1, "quiet"),
        (OPEN, None, 1, "quiet"),
        (OPEN, 1, 41, "stale"),
        (OPEN, 1, 40, "open"),
        (OPEN, None, None, "stale"),
        (JUST_OPEN, 3000, 1, "open"),  # silence counts from the opening on
        (JUST_OPEN, None, 1, "open"),
        (CLOSED, 3000, 1, "closed"),
        (CLOSED, 601, 1, "closed"),
        (CLOSED, None, 1, "closed"),
        (CLOSED, 30, 1, "open"),  # records come all the same
        (CLOSED, 61, 1, "closed"),
        (CLOSED, 3000, 41, "stale"),
        (None, 1, 1, "open"),
        (None, 61, 1, "quiet"),
        (None, None, 1, "quiet"),
        (None, 1, 41, "stale"),
    ],
)
def test_labels(
    state: HoursState | None, record_s: int | None, byte_s: int | None, said: str
) -> None:
    record = None if record_s is None else NOW - record_s * S
    byte = None if byte_s is None else NOW - byte_s * S
    assert label(state, NOW, record, byte) == said
    if state is not None:
        market = MarketHours("X", calendar=lambda ns: state)
        assert market.label(NOW, record, byte) == said


def test_labels_with_other_limits() -> None:
    assert label(OPEN, NOW, NOW - 3 * S, NOW, quiet_after_s=2.5) == "quiet"
    assert label(OPEN, NOW, NOW - 3 * S, NOW - 3 * S, stale_after_s=2.5) == "stale"
    assert label(CLOSED, NOW, NOW - 3 * S, NOW, quiet_after_s=2.5) == "closed"


def test_labels_through_a_break(equity: MarketHours) -> None:
    last = at("03-09 15:59") + 59 * S
    said = {}
    for text in ("15:59", "16:00", "16:30", "17:00", "17:02"):
        ns = at(f"03-09 {text}") + 59 * S
        said[text] = equity.label(ns, last, ns)
    assert said == {
        "15:59": "open",
        "16:00": "closed",
        "16:30": "closed",
        "17:00": "open",
        "17:02": "quiet",
    }
