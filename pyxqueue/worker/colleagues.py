"""Which tasks the other workers of a group say that they can run."""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import define, field

from ..errors import BrokerError
from ..protocols import Broker, HasPresence

_KEPT = 10.0
"""Seconds for which an answer of the store is used again."""


@define(eq=False)
class Colleagues:
    """The workers of a group, by what their supervisors announce. Threads may share it."""

    broker: Broker
    _monotonic: Callable[[], float] = time.monotonic
    _tasks: frozenset[str] = field(default=frozenset(), init=False)
    _until: float = field(default=0.0, init=False)

    def can_run(self, name: str) -> bool:
        """Return whether a worker that lives and claims announces this task. While the store cannot say that, True."""
        if self._monotonic() >= self._until:
            try:
                self._tasks = self._read()
            except BrokerError:
                return True
            self._until = self._monotonic() + _KEPT
        return name in self._tasks

    def _read(self) -> frozenset[str]:
        from ..model.presence import facts_of  # noqa: PLC0415 - only a worker that lacks a task asks

        if not isinstance(self.broker, HasPresence):
            return frozenset()
        facts = facts_of(self.broker.present()).values()
        return frozenset(name for one in facts if not one.lost and not one.draining for name in one.tasks)
