"""When a schedule ticks: cron expressions in a time zone, and intervals. Ticks are integer ms since the epoch."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING

from attrs import frozen

from ..errors import ConfigurationError
from ..printable import quoted

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MIN_EVERY_MS = 1_000
MAX_EVERY_MS = 366 * 86_400_000
MOST = 1_000
"""How many ticks that were missed are counted one by one. If there are more, only the newest are looked for."""
_DAY = 86_400_000
_SPANS = (_DAY, 32 * _DAY, 366 * _DAY, 9 * 366 * _DAY)
"""How far to look back for the newest ticks."""
_FIELDS = 5
_ONE_VALUE = re.compile(r"\b(\w+)-\1/\d+")
"""A range of one value with a step, such as ``21-21/2``. The library reads it as one up to the end."""


@frozen
class Timing:
    """A rule for ticks: either a cron expression and a time zone, or an interval."""

    cron: str = ""
    timezone: str = "UTC"
    every_ms: int = 0

    def after(self, ms: int) -> int:
        """Return the first tick later than `ms`. Raises `ConfigurationError` if there is none, or it cannot be
        computed here."""
        return next(self.ticks(ms))

    def ticks(self, after: int) -> Iterator[int]:
        """Yield the ticks later than `after`, each later than the one before. Raises as `after`."""
        if self.every_ms:
            tick = (after // self.every_ms + 1) * self.every_ms  # aligned to the epoch, so that a restart moves nothing
            while True:
                yield tick
                tick += self.every_ms
        yield from _cron_ticks(self.cron, self.timezone, after)

    def due(self, after: int, now: int) -> tuple[Sequence[int], int]:
        """Return the newest ticks later than `after` and not later than `now`, oldest first, and how many there are.

        If they are more than `MOST`, the number may be too small.
        """
        if self.every_ms:
            number = max(0, now // self.every_ms - after // self.every_ms)
            newest = now // self.every_ms
            return [one * self.every_ms for one in range(newest - min(number, MOST) + 1, newest + 1)], number
        found = list(islice(self._until(after, now), MOST + 1))
        if len(found) <= MOST:
            return found, len(found)
        for span in _SPANS:
            if newest_ones := list(self._until(max(after, now - span), now)):
                return newest_ones, max(len(found), len(newest_ones))
        return found, len(found)

    def _until(self, after: int, now: int) -> Iterator[int]:
        for tick in self.ticks(after):
            if tick > now:
                return
            yield tick

    def __str__(self) -> str:
        if self.every_ms:
            return f"every {self.every_ms / 1000:g} s"
        return f"{self.cron} {self.timezone}"


def _cron_ticks(expression: str, timezone: str, after: int) -> Iterator[int]:
    from cronsim import CronSimError  # noqa: PLC0415 - most programs have no schedule

    plain = _ONE_VALUE.sub(r"\1", NICKNAMES.get(expression, expression))
    try:
        moments = _moments(plain, zone_of(timezone), datetime.fromtimestamp(after / 1000, UTC))
        last = after
        for moment in moments:
            # Inside of the hour that a change to winter time repeats, the library begins with a tick of its first half.
            if (tick := round(moment.timestamp() * 1000)) > last:
                last = tick
                yield tick
    except (CronSimError, ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(f"the cron expression {quoted(expression)} cannot be computed: {error}") from error
    raise ConfigurationError(
        f"the cron expression {quoted(expression)} never ticks within 50 years: look at its day and its month"
    )


def _moments(plain: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the moments from `after` on."""
    from cronsim import CronSim  # noqa: PLC0415 - as above

    minute, hour = plain.split()[:2]
    if minute.startswith("*") or hour.startswith("*"):
        return _recurring(plain, zone, after)
    return CronSim(plain, after.astimezone(zone))


def _recurring(plain: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield each minute of the local time that matches, also those that a change of the clock repeats.

    The library steps by whole hours, and so passes over minutes where a clock is changed by half an hour. It is asked
    about each time between two changes by itself, in a local time without any.
    """
    from cronsim import CronSim  # noqa: PLC0415 - as above

    begin = checked = after
    while True:
        offset = checked.astimezone(zone).utcoffset() or timedelta()
        for wall in CronSim(plain, begin + offset):
            moment = wall - offset
            change = _change(zone, checked, moment)
            if change is not None:
                begin, checked = change - timedelta(seconds=1), change
                break
            checked = max(checked, moment)
            yield moment
        else:
            return


def _change(zone: ZoneInfo, begin: datetime, end: datetime) -> datetime | None:
    """Return when the offset of a zone changes first after `begin` and not later than `end`; None for never."""

    def is_changed(moment: datetime) -> bool:
        return moment.astimezone(zone).utcoffset() != offset

    offset = begin.astimezone(zone).utcoffset()
    while begin < end:
        later = min(begin + timedelta(days=1), end)
        if is_changed(later):
            start = begin.replace(microsecond=0)
            after = range(ceil((later - start).total_seconds()))
            found = bisect_left(after, True, key=lambda seconds: is_changed(start + timedelta(seconds=seconds)))
            return start + timedelta(seconds=found)
        begin = later
    return None


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone. Raises `ConfigurationError` if this machine does not have it."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - as above

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"the time zone {quoted(name)} is not known here: give a name of the IANA database, such as "
            f'"Europe/Berlin"; if this machine has no such database, install the package tzdata'
        ) from error


def cron_timing(expression: object, timezone: object = None) -> Timing:
    """Return the timing of a cron expression. Raises `ConfigurationError` for one that is not valid or never ticks."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - as above

    if not isinstance(expression, str) or not expression.strip():
        raise ConfigurationError(f"cron={quoted(expression)} must be a text with five fields, such as '30 2 * * *'")
    if timezone is not None and not isinstance(timezone, str):
        raise ConfigurationError(f"timezone={quoted(timezone)} must be a name, such as 'Europe/Berlin'")
    name = timezone or "UTC"
    words = expression.split()
    plain = NICKNAMES.get(expression.strip().lower(), " ".join(words))
    if plain.startswith("@"):
        raise ConfigurationError(f"cron={quoted(expression)} is not known: the names are {', '.join(NICKNAMES)}")
    if len(plain.split()) != _FIELDS:
        hint = "; for seconds use every=timedelta(seconds=...)" if len(words) == _FIELDS + 1 else ""
        raise ConfigurationError(
            f"cron={quoted(expression)} has {len(words)} fields, not five: minute, hour, day of the month, month, "
            f"day of the week{hint}"
        )
    try:
        CronSim(plain, datetime(2000, 1, 1, tzinfo=zone_of(name)))
    except CronSimError as error:
        if "day-of-month" in str(error) and _is_valid(" ".join([*plain.split()[:3], "*", plain.split()[4]])):
            raise ConfigurationError(
                f"cron={quoted(expression)} never ticks: none of its months has such a day"
            ) from error
        raise ConfigurationError(
            f"cron={quoted(expression)} is not valid: {str(error).lower()}. The fields are minute, hour, day of the "
            "month, month, day of the week"
        ) from error
    timing = Timing(plain, name)
    timing.after(946_684_800_000)  # from the year 2000 on: one that never ticks is refused
    return timing


def _is_valid(expression: str) -> bool:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - as above

    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def interval_timing(seconds: object) -> Timing:
    """Return the timing of an interval. Raises `ConfigurationError` for one that is not valid."""
    ms = round(seconds * 1000) if isinstance(seconds, int | float) and abs(seconds) < MAX_EVERY_MS else 0
    if not MIN_EVERY_MS <= ms <= MAX_EVERY_MS:
        raise ConfigurationError(
            f"every={quoted(seconds)} must be a time of at least one second and at most 366 days, such as "
            "timedelta(minutes=5)"
        )
    return Timing(every_ms=ms)
