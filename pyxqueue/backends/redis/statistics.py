"""The `HasStatistics` protocol on Redis."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...model.statistics import (
    MAX_NUMBER,
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
        now, gone, remade, *flat = reply
        slots = {name.decode(): text.decode(errors="replace") for name, text in pairs(flat).items()}
        return replace(show(slots, minutes, int(now)), gone=_number(gone), remade=_number(remade))

    return Command("statistics", [keys.statistics[0], keys.meta], [*ring, count, keys.group], parse)


def _number(text: bytes) -> int:
    """The number in a field; 0 if another program has put something else there."""
    return min(int(text), MAX_NUMBER) if text.isdigit() and len(text) < 20 else 0
