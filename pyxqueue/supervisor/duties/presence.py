"""Announces the supervisor and its workers, and passes on the orders that come in reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from attrs import define, field

from ...inflight import InFlightTable
from ...model.presence import Order
from ...protocols import HasPresence, HasWakeups, Wakeups

EVERY = 5.0
"""Seconds between two announcements."""
IDLE_EVERY = 15.0
"""Seconds between two announcements while no worker is busy, if wake-ups announce orders."""
KEPT = 3
"""An announcement is valid for this many intervals."""


@define(eq=False)
class PresenceDuty:
    """Announces the workers from time to time, and at once after a wake-up about an order."""

    store: HasPresence
    name: str
    """The name of the supervisor in the store."""
    text: Callable[[], str]
    """Returns what to announce."""
    obey: Callable[[Order], None]
    """Called once with each order."""
    refusal = "the workers cannot be announced now"
    retry_after = EVERY
    _wakeups: Wakeups | None = field(init=False)
    _last: float = field(default=-inf, init=False)
    """When the last announcement was."""
    _every: float = field(default=EVERY, init=False)
    _woken: int = field(default=0, init=False)
    _obeyed: int = field(default=0, init=False)
    """The number of the last order."""

    def __attrs_post_init__(self) -> None:
        self._wakeups = self.store.wakeups() if isinstance(self.store, HasWakeups) else None

    def step(self, tables: Sequence[InFlightTable], now: float) -> None:
        self._every = IDLE_EVERY if self._is_listening() and not any(table.busy() for table in tables) else EVERY
        woken = 0 if self._wakeups is None else self._wakeups.orders
        if now < self._last + self._every and woken == self._woken:
            return
        order = self.store.announce(self.name, round(KEPT * self._every * 1000), self.text())
        self._last, self._woken = now, woken
        if order is not None and order.number > self._obeyed:
            self._obeyed = order.number
            self.obey(order)

    def soon(self) -> float:
        return self._last + self._every

    def again(self) -> None:
        """Announce the workers in the next step: something has changed."""
        self._last = -inf

    def leave(self) -> None:
        """Tell the store that the supervisor ends."""
        self.store.leave(self.name)

    def _is_listening(self) -> bool:
        return self._wakeups is not None and self._wakeups.fileno() >= 0
