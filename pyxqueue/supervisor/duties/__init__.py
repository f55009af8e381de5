"""The duties of a supervisor for a queue, which it does at intervals: one module for each, and one loop for all."""

from __future__ import annotations

from collections.abc import Callable

from ...inflight import InFlight, InFlightTable
from ...protocols import Broker
from .lease_renewer import LeaseRenewer
from .loop import Duty, DutyLoop
from .maintenance import Maintenance
from .presence import PresenceDuty
from .quiet import QuietLook
from .releaser import Loss, Releaser, line_of
from .statistics import StatisticsDuty
from .stuck import StuckReturner

__all__ = [
    "Duty",
    "DutyLoop",
    "Loss",
    "PresenceDuty",
    "QuietLook",
    "Releaser",
    "StatisticsDuty",
    "all_duties",
    "line_of",
]


def all_duties(
    broker: Broker,
    lease_ms: int,
    releaser: Releaser,
    kill: Callable[[InFlightTable, InFlight], None],
    *,
    queue: int = 0,
    quiet: Callable[[float, float], float] | None = None,
) -> list[Duty]:
    """Every duty for a queue, in the order in which they are done. `queue`: its number in the tables; `quiet`: that of
    `Maintenance`."""
    renewer = LeaseRenewer(broker, lease_ms, kill, queue)
    return [renewer, releaser, StuckReturner(broker, queue), Maintenance(broker, quiet)]
