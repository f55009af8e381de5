"""The `HasStatistics` protocol on Redis."""

from __future__ import annotations

from typing import Any

from ...model.statistics import (
    MINUTE,
    MINUTES,
    TENS,
    Row,
    Statistics,
    StatisticsBatch,
    add_row,
    line_name,
    line_numbers,
    show,
    span,
)
from .commands import Arg, Command
from .keys import GroupKeys
from .reading import pairs
from .registration import Registration


class RedisStatistics:
    """The `HasStatistics` protocol."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        return self._registration.do(lambda keys: _added(keys, batch))

    def statistics(self, minutes: int) -> Statistics:
        return self._registration.do(lambda keys: _shown(keys, minutes))


def _added(keys: GroupKeys, batch: StatisticsBatch) -> Command[bool]:
    rows: dict[str, Row] = {}
    for one in batch.tasks:
        add_row(rows, one.name, one.row())
    args: list[Arg] = [keys.group, batch.sender, batch.number]
    for name, row in rows.items():
        args += (line_name(name), line_numbers(row))
    return Command("add_statistics", [keys.meta, *keys.statistics], args, bool)


def _shown(keys: GroupKeys, minutes: int) -> Command[Statistics]:
    length, count = span(minutes)
    ring = ("m", length, MINUTES) if length == MINUTE else ("t", length, TENS)

    def parse(reply: Any) -> Statistics:
        slots = {name.decode(): text.decode(errors="replace") for name, text in pairs(reply[1:]).items()}
        return show(slots, minutes, int(reply[0]))

    return Command("statistics", keys.statistics[:1], [*ring, count], parse)
