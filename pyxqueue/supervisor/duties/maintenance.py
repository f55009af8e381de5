"""Makes delayed tasks ready when they are due, and reclaims messages whose lease has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from ...errors import BrokerError, BrokerUnavailableError
from ...inflight import InFlightTable
from ...protocols import Broker, HasWakeups, Wakeups

MAINTAIN_EVERY = 0.2
"""The longest time between two calls, in seconds, if nobody tells when another program has enqueued a delayed task."""
FULL_EVERY = 120.0
"""The longest time between two calls, in seconds, for a queue in which nothing is due."""
_BATCH = 256


@define(eq=False)
class Maintenance:
    """Calls the maintenance of the store; with `quiet`, only if there may be something to do."""

    broker: Broker
    quiet: Callable[[float, float], float] | None = None
    """Returns for how many seconds there is nothing to do, from the time and the longest time between two looks; None
    if that is not known."""
    refusal = "delayed tasks cannot be made ready now"
    retry_after = 1.0
    _wakeups: Wakeups | None = field(init=False)
    _due: float = field(default=0.0, init=False)
    """When it is done even if `quiet` says that there is nothing to do."""

    def __attrs_post_init__(self) -> None:
        self._wakeups = self.broker.wakeups() if isinstance(self.broker, HasWakeups) else None

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        if now < self._due and (left := self._quiet_for(now)):
            return min(left, self._due - now)
        until_due_ms = self.broker.maintain(_BATCH)
        longest = self._longest()
        pause = min(longest, max(0.001, until_due_ms / 1000)) if until_due_ms >= 0 else longest
        self._due = now + (FULL_EVERY if until_due_ms < 0 else min(FULL_EVERY, max(0.001, until_due_ms / 1000)))
        return pause

    def _quiet_for(self, now: float) -> float:
        """Return for how many seconds there is nothing to do; 0 if that is not known."""
        try:
            return 0.0 if self.quiet is None else self.quiet(now, self._longest())
        except BrokerUnavailableError:
            raise
        except BrokerError:  # it may be about another queue
            return 0.0

    def _longest(self) -> float:
        """Return the longest time between two calls, and make sure that wake-ups arrive."""
        return MAINTAIN_EVERY if self._wakeups is None else max(MAINTAIN_EVERY, self._wakeups.listen() / 1000)

    def fileno(self) -> int:
        return -1 if self._wakeups is None else self._wakeups.fileno()

    def read(self) -> float | None:
        ms = -1 if self._wakeups is None else self._wakeups.read()
        if ms < 0:
            return None
        self._due = 0.0
        return ms / 1000
