"""Ticks the schedules of the queue, and declares those of the code. Every supervisor does it; no leader is elected."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from attrs import define, field

from ...inflight import InFlightTable
from ...model.schedules import DECLARE_EVERY_MS, Schedule
from ...ticking import Ticker

_LONGEST_GAP = 60.0
"""If there was no step for so many seconds, the store was down meanwhile."""


@define(eq=False)
class SchedulesDuty:
    """Ticks schedules when they are due. While there are none, it does nothing: `maintain` says when there are."""

    ticker: Ticker
    declared: Sequence[Schedule]
    """The schedules of the code."""
    refusal = "schedules cannot tick now"
    retry_after = 1.0
    _declare_at: float = field(default=0.0, init=False)
    _stepped: float = field(default=inf, init=False)
    """When the last step was."""

    def step(self, tables: Sequence[InFlightTable], now: float) -> None:  # noqa: ARG002
        ticker = self.ticker
        if now - self._stepped > _LONGEST_GAP:
            ticker.interrupted()
        self._stepped = now
        if self.declared and now >= self._declare_at:
            ticker.declare(self.declared)
            self._declare_at = now + DECLARE_EVERY_MS / 1000
            ticker.store.next_look = now
        if now >= ticker.store.next_look:
            ticker.store.next_look = now + ticker.tick()

    def soon(self) -> float:
        """The time of `time.monotonic` at which the next step has something to do."""
        return min(self.ticker.store.next_look, self._declare_at if self.declared else inf)
