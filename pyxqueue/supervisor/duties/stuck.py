"""Gives back deliveries that wait in a worker behind a long task: another worker may be free."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from ...errors import BrokerUnavailableError
from ...inflight import STUCK, InFlight, InFlightTable
from ...model.message import Defer, Settlement
from ...protocols import Broker


@define(eq=False)
class StuckReturner:
    """Gives back deliveries that wait behind a long task."""

    broker: Broker
    queue: int = 0
    """The number of the queue in the tables."""
    refusal = "messages behind a long task could not be given back; they are claimed again when their lease ends"
    retry_after = STUCK
    _taken: list[InFlight] = field(factory=list, init=False)
    """What was taken from a worker and is not given back yet."""

    def step(self, tables: Sequence[InFlightTable], now: float) -> float | None:
        pause = STUCK if any(table.busy() for table in tables) else None
        for table in tables:
            if (left := table.until_stuck(now)) is None:
                continue
            if left > 0:
                pause = min(left, pause or left)
            else:
                own = (entry for entry in table.entries() if entry.queue == self.queue)
                self._taken += table.take_back([entry.slot for entry in own if entry.waiting])
        if self._taken:
            returned, self._taken = self._taken, []
            try:
                self.broker.settle([Settlement(entry.receipt, Defer()) for entry in returned])
            except BrokerUnavailableError:
                self._taken = returned  # the store could not be reached: try again later
                raise
        return pause
