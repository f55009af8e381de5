"""When a cron expression ticks, found by looking at every minute in UTC: slow, and independent of the code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def _values(text: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        start = first if low == "*" else int(low)
        end = last if low == "*" or (step and not high) else int(high or low)
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def matcher(expression: str) -> Callable[[datetime], bool]:
    """Return whether a local time matches, as Debian's cron sees it."""
    texts = expression.split()
    minutes, hours, days, months, weekdays = (_values(text, *span) for text, span in zip(texts, _RANGES, strict=True))
    both = texts[2].startswith("*") or texts[4].startswith("*")

    def matches(local: datetime) -> bool:
        weekday = local.isoweekday()
        day, in_week = local.day in days, weekday in weekdays or weekday % 7 in weekdays
        fits = (day and in_week) if both else (day or in_week)
        return local.minute in minutes and local.hour in hours and local.month in months and fits

    return matches


def ticks(expression: str, zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the ticks later than `after`, not later than `until`.

    An expression whose minutes and hours are fixed ticks once where the clock is set back, in the first of the two
    hours, and at the end of the gap where it is set forward. Any other ticks at each minute whose local time matches.
    """
    matches, local_zone = matcher(expression), ZoneInfo(zone)
    fixed = zone != "UTC" and not any(text.startswith("*") for text in expression.split()[:2])
    now = after.astimezone(UTC).replace(second=0, microsecond=0)
    while now <= until:
        local = now.astimezone(local_zone)
        if fixed:
            before = (now - _MINUTE).astimezone(local_zone).replace(tzinfo=None)
            wall = local.replace(tzinfo=None, fold=0)
            skipped = iter([before + _MINUTE * step for step in range(1, (wall - before) // _MINUTE)])
            is_tick = (local.fold == 0 and matches(local)) or any(map(matches, skipped))
        else:
            is_tick = matches(local)
        if is_tick and now > after:
            yield now
        now += _MINUTE
