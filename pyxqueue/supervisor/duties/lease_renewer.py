"""Renews the leases of what is in flight, and passes cancellations on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from ...inflight import InFlight, InFlightTable
from ...model.message import Extension, LeaseStatus
from ...protocols import Broker

RENEW_EVERY = 1.0
"""The longest time between two renewals, in seconds; with a short lease it is a third of the lease. The reply to a
renewal tells which tasks were cancelled, so a cancellation takes this long to arrive."""


@define(eq=False)
class LeaseRenewer:
    """Renews leases, and marks cancelled tasks in the table."""

    broker: Broker
    lease_ms: int
    """The lease of the queue."""
    kill: Callable[[InFlightTable, InFlight], None]
    """Kills the process of a running task."""
    queue: int = 0
    """The number of the queue in the tables."""
    refusal = "leases cannot be renewed now"
    retry_after: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.retry_after = min(RENEW_EVERY, self.lease_ms / 3000)

    def step(self, tables: Sequence[InFlightTable], now: float) -> float:  # noqa: ARG002
        in_flight = [(table, entry) for table in tables for entry in table.entries() if entry.queue == self.queue]
        if in_flight:
            statuses = self.broker.extend([Extension(entry.receipt) for _, entry in in_flight])
            for (table, entry), status in zip(in_flight, statuses, strict=True):
                self._obey(table, entry, status)
        return self.retry_after

    def _obey(self, table: InFlightTable, entry: InFlight, status: LeaseStatus) -> None:
        match status:
            case LeaseStatus.CANCEL:
                table.ask_cancel(entry)
            case LeaseStatus.CANCEL_AGAIN:
                table.ask_cancel(entry, 2)
            case LeaseStatus.KILL if entry.running:
                self.kill(table, entry)
            case LeaseStatus.KILL:  # it has not started, so the process need not be killed
                table.ask_cancel(entry)
