"""Releases what dead worker processes had in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import cast

from attrs import define, field, frozen

from ...clock import wall_clock
from ...errors import BrokerError, BrokerUnavailableError
from ...hosts import host_name
from ...inflight import InFlight, InFlightTable
from ...model.message import Fail, Failure, Message, Record, Retry, Settlement, TaskStatus
from ...model.past import Attempt, line
from ...printable import bounded
from ...protocols import NO_LINES, Broker, Inspector
from ...protocols.releasing import release
from ...stacks import innermost
from ...worker.events import log
from ...worker.tally import Tally


@frozen
class Loss:
    """What a dead process had in flight, to be released."""

    consumer: str
    charged: Sequence[InFlight]
    """The deliveries that are charged with a crash."""
    overdue: InFlight | None
    """The task beyond its hard time limit for which the process was killed."""
    in_flight: bool
    """Whether it had anything in flight."""
    past: Mapping[str, str] = NO_LINES
    """The lines about its runs to keep in the messages, by receipt."""
    stacks: str = ""
    """What its threads were doing when the task was overdue."""


@define(eq=False)
class Releaser:
    """Releases what dead processes had in flight, as soon as the store can be reached."""

    broker: Broker
    seal: Callable[[Record], Record]
    """Signs the record of a task that was killed, where the queue has a seal."""
    tally: Tally | None = None
    """Counts what crashed; None if the queue has no statistics."""
    refusal = "messages of dead processes could not be released; they are claimed again when their lease ends"
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
                    self._settle(loss.overdue, loss.consumer, loss.stacks)
                release(self.broker, loss.consumer, [entry.receipt for entry in loss.charged], loss.past)
                self._count("crashed", loss.charged)
            except BrokerUnavailableError as error:
                if not self._told:
                    log.warning("the messages of %s could not be released yet, trying again: %s", loss.consumer, error)
                self._told = True
                raise
            except BrokerError as error:
                if loss.in_flight:
                    log.warning(
                        "the messages of %s could not be released; they are claimed again when their leases end: %s",
                        loss.consumer,
                        error,
                    )
            del self._losses[0]
            self._told = False

    def _settle(self, overdue: InFlight, consumer: str, stacks: str) -> None:
        settlement = _over_time(overdue, consumer, stacks, self.seal)
        if all(self.broker.settle([settlement])):
            self._count("retry" if isinstance(settlement.verdict, Retry) else "failure", [overdue])

    def _count(self, outcome: str, entries: Sequence[InFlight]) -> None:
        """Count tasks by name. The table does not have the names, so the store is asked."""
        if self.tally is None or not entries:
            return
        names = {entry.task_id: "" for entry in entries}
        with suppress(BrokerError):  # then they are counted all the same
            for info in cast("Inspector", self.broker).show(list(names)):
                if info is not None and isinstance(info.message, Message):
                    names[info.id] = info.message.name
        for name in names.values():
            self.tally.count(outcome, name)


def line_of(entry: InFlight, consumer: str, kind: str, text: str) -> str:
    """Return the line to keep about a run that was ended from outside just now."""
    ran_ms = max(0, round((time.monotonic() - entry.since) * 1000))
    return line(Attempt(entry.attempt, kind, text, wall_clock(), consumer, host_name(), ran_ms))


def _over_time(entry: InFlight, consumer: str, stacks: str, seal: Callable[[Record], Record]) -> Settlement:
    where = f"; it was in {innermost(stacks)}" if stacks else ""
    text = f"the task ran beyond its hard time limit, so its process was killed{where}"
    failure = Failure("pyxqueue.errors.TimeLimitExceeded", text, bounded(stacks))
    if entry.retry_delay_ms >= 0:
        past = line_of(entry, consumer, failure.type, failure.message)
        return Settlement(entry.receipt, Retry(round(entry.retry_delay_ms), past))
    record = Record(
        entry.task_id, TaskStatus.FAILURE, error=failure, attempt=entry.attempt, worker=consumer, fence=entry.fence
    )
    return Settlement(entry.receipt, Fail(f"{failure.type}: {failure.message}"), seal(record))
