"""Sends what the supervisor has counted: tasks that crashed, and those that expired while they waited."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from ...inflight import InFlightTable
from ...worker.tally import SEND_EVERY, Tally


@define(eq=False)
class StatisticsDuty:
    """Sends the counts from time to time, if there are any."""

    tally: Tally
    refusal = "statistics cannot be stored now"
    retry_after = SEND_EVERY

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        self.tally.deliver()
        return SEND_EVERY
