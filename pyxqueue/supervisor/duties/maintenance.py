"""Makes delayed tasks ready when they are due, and reclaims messages whose lease has ended."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from ...inflight import InFlightTable
from ...protocols import Broker, HasWakeups, Wakeups

MAINTAIN_EVERY = 0.2
"""The longest time between two calls, in seconds, if nobody tells when another program has enqueued a delayed task."""
_BATCH = 256


@define(eq=False)
class Maintenance:
    """Calls the maintenance of the store."""

    broker: Broker
    refusal = "delayed tasks cannot be made ready now"
    retry_after = 1.0
    _wakeups: Wakeups | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wakeups = self.broker.wakeups() if isinstance(self.broker, HasWakeups) else None

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        until_due_ms = self.broker.maintain(_BATCH)
        longest = MAINTAIN_EVERY if self._wakeups is None else max(MAINTAIN_EVERY, self._wakeups.listen() / 1000)
        return min(longest, max(0.001, until_due_ms / 1000)) if until_due_ms >= 0 else longest

    def fileno(self) -> int:
        return -1 if self._wakeups is None else self._wakeups.fileno()

    def read(self) -> float | None:
        ms = -1 if self._wakeups is None else self._wakeups.read()
        return None if ms < 0 else ms / 1000
