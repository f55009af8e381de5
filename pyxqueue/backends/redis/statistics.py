"""The `HasStatistics` protocol on Redis."""

from __future__ import annotations

from typing import Any

from ...model.statistics import (
    MINUTE,
    MINUTES,
    TENS,
    Statistics,
    StatisticsBatch,
    show,
    span,
)
from .commands import Command
from .counting import added
from .keys import GroupKeys
from .reading import pairs
from .registration import Registration


class RedisStatistics:
    """The `HasStatistics` protocol."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        return self._registration.do(lambda keys: added(keys, batch))

    def statistics(self, minutes: int) -> Statistics:
        return self._registration.do(lambda keys: _shown(keys, minutes))


def _shown(keys: GroupKeys, minutes: int) -> Command[Statistics]:
    length, count = span(minutes)
    ring = ("m", length, MINUTES) if length == MINUTE else ("t", length, TENS)

    def parse(reply: Any) -> Statistics:
        slots = {name.decode(): text.decode(errors="replace") for name, text in pairs(reply[1:]).items()}
        return show(slots, minutes, int(reply[0]))

    return Command("statistics", keys.statistics[:1], [*ring, count], parse)
