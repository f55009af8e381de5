"""Giving back what worker processes had in flight that are gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from ...errors import BrokerError, BrokerUnavailableError
from ...inflight import InFlight, InFlightTable
from ...model.message import Fail, Failure, Record, Retry, Settlement, TaskStatus
from ...protocols import Broker
from ...worker.events import log


@frozen
class Loss:
    """What is to be said to the store about a process that is gone."""

    consumer: str
    started: list[str]
    """The receipts of what is charged with its death."""
    overdue: InFlight | None
    """What it was killed for: a task beyond its hard time limit."""
    in_flight: bool
    """Whether it had anything that could be missed."""


@define(eq=False)
class Releaser:
    """Releases what dead processes had; as long as the store is away, that is still to be done."""

    broker: Broker
    seal: Callable[[Record], Record]
    """Signs the record of a task that was killed, where the queue has a seal."""
    refusal = "what dead processes had comes back when its lease ends"
    retry_after = 0.0
    _losses: list[Loss] = field(factory=list, init=False)
    _told: bool = field(default=False, init=False)

    def add(self, loss: Loss) -> None:
        self._losses.append(loss)

    def step(self, tables: Sequence[InFlightTable] = (), now: float = 0.0) -> None:  # noqa: ARG002
        while self._losses:
            loss = self._losses[0]
            try:
                if loss.overdue is not None:
                    self.broker.settle([_over_time(loss.overdue, loss.consumer, self.seal)])
                self.broker.release(loss.consumer, loss.started)
            except BrokerUnavailableError as error:
                if not self._told:
                    log.warning("what %s held comes back later: %s", loss.consumer, error)
                self._told = True
                raise
            except BrokerError as error:
                if loss.in_flight:
                    log.warning("what %s held comes back when its lease ends: %s", loss.consumer, error)
            del self._losses[0]
            self._told = False


def _over_time(entry: InFlight, consumer: str, seal: Callable[[Record], Record]) -> Settlement:
    failure = Failure(
        "pyxqueue.errors.TimeLimitExceeded", "the task was beyond its hard time limit, its process was killed"
    )
    if entry.retry_delay_ms >= 0:
        return Settlement(entry.receipt, Retry(round(entry.retry_delay_ms)))
    record = Record(
        entry.task_id, TaskStatus.FAILURE, error=failure, attempt=entry.attempt, worker=consumer, fence=entry.fence
    )
    return Settlement(entry.receipt, Fail(f"{failure.type}: {failure.message}"), seal(record))
