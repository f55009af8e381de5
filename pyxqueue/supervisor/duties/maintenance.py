"""Makes delayed tasks ready when they are due, and reclaims messages whose lease has ended."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from ...inflight import InFlightTable
from ...protocols import Broker

MAINTAIN_EVERY = 0.2
"""The longest time between two calls, in seconds: another program may have enqueued a delayed task."""
_BATCH = 256


@define(eq=False)
class Maintenance:
    """Calls the maintenance of the store."""

    broker: Broker
    refusal = "delayed tasks cannot be made ready now"
    retry_after = 1.0

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        until_due_ms = self.broker.maintain(_BATCH)
        return min(MAINTAIN_EVERY, max(0.001, until_due_ms / 1000)) if until_due_ms >= 0 else MAINTAIN_EVERY
