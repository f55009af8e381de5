"""Counts how tasks end in this process, and sends the counts to the store from time to time."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from attrs import define, field

from ..errors import BrokerError
from ..model.message import (
    Aborted,
    Cancelled,
    Defer,
    Done,
    Fail,
    Outcome,
    Raised,
    Retry,
    Returned,
    Settlement,
    Suspend,
    Suspended,
    Verdict,
)
from ..model.statistics import (
    BOUNDS,
    DROPPED,
    OTHER,
    OUTCOMES,
    REFUSED,
    RUN,
    RUN_SUM,
    WAIT,
    WAIT_SUM,
    StatisticsBatch,
    TaskCounts,
    empty_row,
)
from ..protocols import Broker, HasStatistics
from ..registry import Registry
from .events import log
from .jobs import Ran

SEND_EVERY = 10.0
"""Seconds between two batches."""
_COLUMNS: dict[type[Verdict], int] = {
    verdict: OUTCOMES.index(outcome)
    for verdict, outcome in (
        (Done, "success"), (Fail, "failure"), (Cancelled, "cancelled"), (Retry, "retry"), (Defer, "returned"),
        (Suspend, "returned"),
    )
}  # fmt: skip
_RAN: frozenset[type[Outcome]] = frozenset((Returned, Raised, Aborted, Suspended))
"""The outcomes of tasks whose function was called."""


@define(eq=False)
class Tally:
    """What one process has counted of the tasks of one queue. Any thread may count; one at a time sends.

    A batch whose reply was lost is sent again with its number, and the store counts it once (M1). What is counted
    meanwhile comes with the next one.
    """

    store: HasStatistics
    registry: Registry
    sender: str
    """The name of this process in the store."""
    _monotonic: Callable[[], float] = time.monotonic
    _rows: dict[str, list[float]] = field(factory=dict, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _unsent: StatisticsBatch | None = field(default=None, init=False)
    """A batch that was sent, if it is not known whether the store has counted it."""
    _number: int = field(default=0, init=False)
    _due: float = field(default=0.0, init=False)
    """When to send again."""
    _told: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._due = self._monotonic() + SEND_EVERY

    def settled(self, batch: Sequence[Ran], settlements: Sequence[Settlement], accepted: Sequence[bool]) -> None:
        """Count what was settled."""
        with self._lock:
            for ran, settlement, is_accepted in zip(batch, settlements, accepted, strict=True):
                job = ran.job
                name = OTHER if job.task is None else job.task.name
                row = self._rows.get(name) or self._row(name)
                if not is_accepted:
                    row[REFUSED] += 1
                    continue
                row[_COLUMNS[type(settlement.verdict)]] += 1
                if type(ran.outcome) in _RAN:
                    seconds = ran.seconds
                    row[RUN + bisect_left(BOUNDS, seconds)] += 1
                    row[RUN_SUM] += seconds
                    if (waited := job.waited()) is not None:
                        row[WAIT + bisect_left(BOUNDS, waited)] += 1
                        row[WAIT_SUM] += waited

    def count(self, outcome: str, name: str) -> None:
        """Count what became of a task that was not settled here. Names that this program does not know are counted
        together, since anybody may write a message."""
        with self._lock:
            self._row(self._known(name))[OUTCOMES.index(outcome)] += 1

    def expired(self, name: str) -> None:
        self.count("expired", name)

    def dropped(self, name: str) -> None:
        """Count a failed task that was deleted because of a limit."""
        with self._lock:
            self._row(self._known(name))[DROPPED] += 1

    def left(self) -> float:
        """Return the seconds until `send_due` may have something to do."""
        return max(0.0, self._due - self._monotonic())

    def send_due(self) -> None:
        """Send what was counted, if the last time was long enough ago."""
        if self._monotonic() >= self._due:
            self.send()

    def send(self) -> None:
        """Send what was counted. If the store cannot take it now, that is done the next time."""
        try:
            self.deliver()
            self._told = False
        except BrokerError as error:
            if not self._told:
                log.warning("%s keeps its statistics until the store takes them: %s", self.sender, error)
            self._told = True

    def deliver(self) -> None:
        """Send what was counted. Raises `BrokerError` if the store cannot take it now."""
        self._due = self._monotonic() + SEND_EVERY
        while (batch := self._unsent or self._next()) is not None:
            self.store.add_statistics(batch)
            self._unsent = None

    def _known(self, name: str) -> str:
        return OTHER if self.registry.get(name) is None else name

    def _row(self, name: str) -> list[float]:
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = [*empty_row()]
        return row

    def _next(self) -> StatisticsBatch | None:
        """Return the next batch; None if nothing was counted since the last one."""
        with self._lock:
            rows, self._rows = self._rows, {}
        if not rows:
            return None
        # By the clock, so that a later process of the same name goes on with larger numbers.
        self._number = max(self._number + 1, time.time_ns() // 1000)
        counts = [TaskCounts.of(name, _in_ms(row)) for name, row in rows.items()]
        self._unsent = StatisticsBatch(self.sender, self._number, counts)
        return self._unsent


def _in_ms(row: Sequence[float]) -> list[int]:
    """Return a row as stores keep it: here, its sums are in seconds."""
    return [round(number * 1000) if column in (RUN_SUM, WAIT_SUM) else int(number) for column, number in enumerate(row)]


def tally_of(broker: Broker, registry: Registry, sender: str, *, wanted: bool) -> Tally | None:
    """Return a tally for the group of the broker; None if it is not `wanted`, or if the store keeps no statistics."""
    return Tally(broker, registry, sender) if wanted and isinstance(broker, HasStatistics) else None
