"""When schedules tick: both changes of summer time in three zones, intervals, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from pyxqueue.errors import ConfigurationError
from pyxqueue.model.ticks import MOST, NICKNAMES, Timing, cron_timing, interval_timing

from .oracle import ticks as expected

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
EXPRESSIONS = (
    "30 2 * * *",
    "0 2,3 * * *",
    "0,30 2 * * *",
    "15 1-3 * * *",
    "*/30 * * * *",
    "30 */2 * * *",
    "*/20 1-3 * * *",
    "0 0 * * *",
    "45 1 * * 0",
    "10 2 1-7 * 6",
    "5 4 13 * 5",
    "*/10 19 * * *",
    "*/20 0,23 * * *",
)
CHANGES = {
    (BERLIN, "spring"): datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
    (BERLIN, "autumn"): datetime(2026, 10, 25, 1, 0, tzinfo=UTC),
    (NEW_YORK, "spring"): datetime(2026, 3, 8, 7, 0, tzinfo=UTC),
    (NEW_YORK, "autumn"): datetime(2026, 11, 1, 6, 0, tzinfo=UTC),
    (LORD_HOWE, "autumn"): datetime(2026, 4, 4, 15, 0, tzinfo=UTC),
    (LORD_HOWE, "spring"): datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
}


FIRST = 40
"""How many ticks are compared, if there are so many within nine days: all of the hours of a change, and more."""


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def moments(timing: Timing, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    for tick in timing.ticks(ms(after)):
        if tick > ms(until):
            return found
        found.append(datetime.fromtimestamp(tick / 1000, UTC))
    raise AssertionError


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(("zone", "season"), CHANGES)
def test_around_a_change_of_the_clock(expression: str, zone: str, season: str) -> None:
    """For ten days around a change, a schedule ticks at the minutes at which every minute in turn says so."""
    middle = CHANGES[zone, season]
    after, until = middle - timedelta(days=5), middle + timedelta(days=5)

    assert moments(Timing(expression, zone), after, until) == list(expected(expression, zone, after, until))


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(("zone", "season"), CHANGES)
def test_started_at_any_moment_of_a_change(expression: str, zone: str, season: str) -> None:
    """A schedule that is asked in the hours of a change, also inside the repeated one, returns a later tick, and the
    same as one that was asked before."""
    middle = CHANGES[zone, season]
    timing, until = Timing(expression, zone), middle + timedelta(days=9)
    whole = [ms(one) for one in moments(timing, middle - timedelta(hours=4), until)]
    for minutes in range(-150, 150, 7):
        after = ms(middle + timedelta(minutes=minutes, seconds=13))
        later = [one for one in whole if one > after][:FIRST]
        assert later
        assert list(islice(timing.ticks(after), len(later))) == later, minutes


TABLE = {
    ("30 2 * * *", "spring"): ["01:00"],
    ("0 2,3 * * *", "spring"): ["01:00"],
    ("0,30 2 * * *", "spring"): ["01:00"],
    ("15 1-3 * * *", "spring"): ["00:15", "01:00", "01:15"],
    ("30 2 * * *", "autumn"): ["00:30"],
    ("0 2,3 * * *", "autumn"): ["00:00", "02:00"],
    ("0,30 2 * * *", "autumn"): ["00:00", "00:30"],
    ("15 1-3 * * *", "autumn"): ["23:15", "00:15", "02:15"],
    ("30 */2 * * *", "spring"): ["23:30", "02:30"],
    ("30 */2 * * *", "autumn"): ["22:30", "00:30", "01:30"],
}


@pytest.mark.parametrize(("expression", "season"), TABLE)
def test_the_nights_of_a_change_in_berlin(expression: str, season: str) -> None:
    """What a reader of the documentation can count on: the ticks of these nights by hand, in UTC."""
    middle = CHANGES[BERLIN, season]
    found = moments(Timing(expression, BERLIN), middle - timedelta(minutes=151), middle + timedelta(minutes=149))

    assert [f"{one:%H:%M}" for one in found] == TABLE[expression, season]


def test_started_inside_the_repeated_hour() -> None:
    """The library answers with a tick that is in the past; the next one later than the start counts."""
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time
    tick = Timing("30 2 * * *", BERLIN).after(ms(second))

    assert datetime.fromtimestamp(tick / 1000, UTC) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_the_29th_of_february() -> None:
    """A leap day is found over a year 2100, which has none."""
    timing = cron_timing("0 0 29 2 *")
    found = [
        datetime.fromtimestamp(one / 1000, UTC).year
        for one in islice(timing.ticks(ms(datetime(2092, 3, 1, tzinfo=UTC))), 3)
    ]

    assert found == [2096, 2104, 2108]


@pytest.mark.parametrize(
    ("expression", "same"), [("5-5/7 21-21/2 * * *", "5 21 * * *"), ("0 3 10-10/5 JAN-JAN/2 mon-mon/3", "0 3 10 1 1")]
)
def test_a_step_in_a_range_of_one_value(expression: str, same: str) -> None:
    """It is that value, not each step up to the last value of the field."""
    start = ms(datetime(2026, 1, 1, tzinfo=UTC))

    assert list(islice(cron_timing(expression).ticks(start), 6)) == list(islice(cron_timing(same).ticks(start), 6))


@pytest.mark.parametrize("name", NICKNAMES)
def test_names(name: str) -> None:
    """A name stands for five fields, in any case."""
    assert cron_timing(name) == cron_timing(name.upper()) == cron_timing(NICKNAMES[name])


def test_an_interval_is_counted_from_the_epoch() -> None:
    """Wherever it starts, an interval has the same ticks."""
    timing = interval_timing(300)

    assert [timing.after(ms(datetime(2026, 1, 1, 10, minute, 1, tzinfo=UTC))) for minute in (1, 4)] == [
        ms(datetime(2026, 1, 1, 10, 5, tzinfo=UTC))
    ] * 2
    assert timing.after(ms(datetime(2026, 1, 1, 10, 5, tzinfo=UTC))) == ms(datetime(2026, 1, 1, 10, 10, tzinfo=UTC))


@pytest.mark.parametrize(
    "timing", [Timing("* * * * *", "UTC"), Timing("*/7 2-5 * * *", BERLIN), Timing(every_ms=60_000)]
)
@pytest.mark.parametrize("minutes", [0, 1, 500, 999, 1_000, 1_001, 1_440])
def test_what_was_missed_is_counted(timing: Timing, minutes: int) -> None:
    """The newest of the ticks that were missed, and their number."""
    start = datetime(2026, 6, 1, 0, 0, 30, tzinfo=UTC)
    now = start + timedelta(minutes=minutes)
    all_of_them = moments(timing, start, now)
    found, number = timing.due(ms(start), ms(now))

    assert number == len(all_of_them)
    assert list(found) == [ms(one) for one in all_of_them[len(all_of_them) - len(found) :]]
    assert len(found) >= min(MOST, number)


@pytest.mark.parametrize("expression", ["* * * * *", "0 0 29 2 *", "30 2 1 * *"])
def test_an_outage_of_years(expression: str) -> None:
    """The last tick before now is found without counting all of them."""
    start, now = datetime(2001, 1, 1, tzinfo=UTC), datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
    found, number = Timing(expression, BERLIN).due(ms(start), ms(now))

    assert found[-1] <= ms(now) < Timing(expression, BERLIN).after(found[-1])
    assert min(MOST, len(found)) <= number < 10 * MOST


REFUSED = {
    "": "must be a text with five fields",
    "* * * *": "has 4 fields, not five",
    "* * * * * *": "for seconds use every=timedelta",
    "60 * * * *": "is not valid: bad minute",
    "* 24 * * *": "is not valid: bad hour",
    "* * 0 * *": "is not valid: bad day-of-month",
    "* * * 13 *": "is not valid: bad month",
    "* * * * 8": "is not valid: bad day-of-week",
    "*/0 * * * *": "is not valid: bad minute",
    "5-1 * * * *": "is not valid: bad minute",
    "@reboot": "the names are @hourly",
    "0 0 31 2 *": "never ticks: none of its months has such a day",
    "0 0 30 2 *": "never ticks: none of its months has such a day",
    "0 0 31 4,6,9,11 *": "never ticks: none of its months has such a day",
}


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_not_an_expression(expression: str) -> None:
    """An expression that is not valid, or never ticks, is refused with the reason."""
    with pytest.raises(ConfigurationError, match=REFUSED[expression]):
        cron_timing(expression)


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "Europe/Berlin\x00", 5])
def test_what_is_not_a_zone(zone: object) -> None:
    """A zone that this machine does not know is refused."""
    with pytest.raises(ConfigurationError, match=r"time ?zone"):
        cron_timing("@daily", zone)


@pytest.mark.parametrize("seconds", [0, 0.9, -5, float("nan"), float("inf"), 366 * 86_400 + 1, "5", None])
def test_what_is_not_an_interval(seconds: object) -> None:
    """An interval below a second, or above a year, is refused."""
    with pytest.raises(ConfigurationError, match="at least one second"):
        interval_timing(seconds)
