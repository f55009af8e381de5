"""Keeps what workers hold: renews leases, hands back what a stuck worker sits on, promotes delayed work.

It runs no user code, so nothing a task does can make it late: it runs in the supervisor, for all children.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import define, field

from ..errors import BrokerError, BrokerUnavailableError
from ..inflight import STUCK, InFlight, InFlightTable
from ..message import Defer, Extension, LeaseStatus, Settlement
from ..protocols import Broker
from ..worker.events import log

PROMOTE_EVERY = 0.2
RENEW_EVERY = 1.0
"""Seconds between renewals, at the most; a third of the lease where that is less. A cancelled task learns of it from a
renewal, so this is how long that takes."""
_PROMOTE_BATCH = 256
_REFUSED_PAUSE = 1.0
"""Seconds until a store is asked again that has refused to promote."""


@define(eq=False)
class Keeper:
    """Keeps the deliveries of some tables. `lease`: that of the queue, in ms."""

    broker: Broker
    lease: int
    _monotonic: Callable[[], float] = time.monotonic
    _next_renewal: float = field(default=0.0, init=False)
    _next_promotion: float = field(default=0.0, init=False)
    failing: bool = field(default=False, init=False)
    _failing_since: float = field(default=0.0, init=False)
    _taken: list[InFlight] = field(factory=list, init=False)
    """What was taken from a stuck worker and is not handed back yet."""
    _refused: dict[str, str] = field(factory=dict, init=False)
    """What the store refuses now, and with which words."""
    to_kill: list[tuple[InFlightTable, InFlight]] = field(factory=list, init=False)
    """What runs and is to be ended by force; for whoever can kill its process."""

    def step(self, tables: Sequence[InFlightTable]) -> float:
        """Do what is due now; answers how many seconds later it wants to be called again."""
        now, asked = self._monotonic(), False
        try:
            if now >= self._next_renewal:
                self._next_renewal = now + min(RENEW_EVERY, self.lease / 3000)
                self._try("leases cannot be renewed now", lambda: self._renew(tables))
            self._try("what is stuck comes back when its lease ends", lambda: self._hand_back(tables, now))
            if now >= self._next_promotion:
                self._next_promotion = now + _REFUSED_PAUSE
                self._try("delayed tasks cannot be made ready now", lambda: self._promote(now))
                asked = True
            if self.failing and asked:
                log.warning("the store is back after %.1f s: leases are renewed again", now - self._failing_since)
                self.failing = False
        except BrokerUnavailableError as error:
            if not self.failing:
                self._failing_since = now
                log.warning("leases cannot be renewed now: %s", error)
            self.failing = True
            self._next_renewal = self._next_promotion = now + PROMOTE_EVERY
        return max(0.0, min(self._next_promotion, self._next_renewal) - self._monotonic())

    def _try(self, failed: str, duty: Callable[[], object]) -> None:
        """Do something that the store may refuse: the other duties go on, and the same refusal is told once."""
        try:
            duty()
        except BrokerUnavailableError:
            raise
        except BrokerError as error:
            if self._refused.get(failed) != str(error):
                self._refused[failed] = str(error)
                log.exception("%s", failed)
        else:
            self._refused.pop(failed, None)

    def _promote(self, now: float) -> None:
        until_due = self.broker.promote(_PROMOTE_BATCH)
        soon = until_due / 1000 if until_due >= 0 else PROMOTE_EVERY
        self._next_promotion = now + min(PROMOTE_EVERY, max(0.001, soon))

    def _renew(self, tables: Sequence[InFlightTable]) -> None:
        held = [(table, entry) for table in tables for entry in table.entries()]
        if not held:
            return
        answers = self.broker.extend([Extension(entry.receipt) for _, entry in held])
        for (table, entry), answer in zip(held, answers, strict=True):
            match answer:
                case LeaseStatus.CANCEL:
                    table.ask_cancel(entry)
                case LeaseStatus.CANCEL_AGAIN:
                    table.ask_cancel(entry, 2)
                case LeaseStatus.KILL if entry.running:
                    self.to_kill.append((table, entry))
                case LeaseStatus.KILL:  # it has not begun: it ends when it would
                    table.ask_cancel(entry)

    def _hand_back(self, tables: Sequence[InFlightTable], now: float) -> None:
        for table in tables:
            if table.stuck(now, STUCK):
                self._taken += table.take_back([entry.slot for entry in table.entries() if entry.waiting])
        if self._taken:
            returned, self._taken = self._taken, []
            try:
                self.broker.settle([Settlement(entry.receipt, Defer()) for entry in returned])
            except BrokerUnavailableError:
                self._taken = returned  # a store that did not answer is asked again
                raise
