"""Settling what has run, in batches."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence

from attrs import define, field

from ..errors import BrokerError, BrokerUnavailableError
from ..model.message import Done, Message, Outcome, Settlement, Verdict
from ..protocols import Broker
from .batch_sizer import MAX_BATCH
from .deciding import Decider
from .events import Observer, TaskSettled, Throttle, done, log, log_settled, tell
from .jobs import Job, Jobs


@define(eq=False)
class Ran:
    """A job that ran, on its way to being settled."""

    job: Job
    outcome: Outcome
    seconds: float


@define(eq=False)
class SettlingQueue:
    """What has run, until the store has taken what was decided about it.

    This is a group commit without a timer: the batch is what came in during the last round trip.
    """

    broker: Broker
    jobs: Jobs
    decider: Decider
    consumer: str
    observer: Observer | None
    backoff: Callable[[int, float], float]
    """The seconds to wait for the store after so many failures in a row, and at the most."""
    _queue: queue.SimpleQueue[Ran | None] = field(factory=queue.SimpleQueue, init=False)
    _refused: Throttle = field(factory=lambda: Throttle("the store refuses to settle %d more"), init=False)

    @property
    def put(self) -> Callable[[Ran], None]:
        """Takes what has run, from any thread."""
        return self._queue.put

    def close(self) -> None:
        """`run` returns when what was put before is settled."""
        self._queue.put(None)

    def run(self) -> None:
        """Settle what comes, until it is closed."""
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < MAX_BATCH and not self._queue.empty():
                if (more := self._queue.get()) is None:
                    self._queue.put(None)
                    break
                batch.append(more)
            self._settle(batch)

    def settle_here(self) -> int:
        """Settle all that is there one by one, in this thread, and return how many that were."""
        settled = 0
        while not self._queue.empty():
            if (ran := self._queue.get()) is not None:
                self._settle([ran])
                settled += 1
        return settled

    def insist(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle, for as long as it takes the store to come back: the receipts decide whether it still counts."""
        failures = 0
        while True:
            try:
                answers = self.broker.settle(settlements)
                if failures:
                    log.warning("%s: the store is back and has accepted %d results", self.consumer, sum(answers))
                return answers
            except BrokerUnavailableError as error:
                failures += 1
                if failures == 1:
                    log.warning("%s keeps %d results for later: %s", self.consumer, len(settlements), error)
                time.sleep(self.backoff(failures, 1.0))
            except BrokerError:
                if len(settlements) == 1:
                    text = "the store refuses to settle %s; its lease will end"
                    self._refused.log(logging.ERROR, text, settlements[0].receipt, exc_info=True)
                    return [False]
                return [answer for one in settlements for answer in self.insist([one])]

    def _settle(self, batch: Sequence[Ran]) -> None:
        settlements = [self.decider.settlement(ran.job, ran.outcome) for ran in batch]
        answers = self.insist(settlements)
        for ran, settlement, accepted in zip(batch, settlements, answers, strict=True):
            self.jobs.remove(ran.job)
            self._report(ran, settlement.verdict, accepted)

    def _report(self, ran: Ran, verdict: Verdict, accepted: bool) -> None:
        if self.observer is None and accepted and isinstance(verdict, Done) and not done.isEnabledFor(logging.DEBUG):
            return  # the usual case costs nothing
        message = ran.job.delivery.message
        name = message.name if isinstance(message, Message) else "?"
        event = TaskSettled(
            message.id, name, message.attempt, self.consumer, ran.outcome, verdict, accepted, ran.seconds
        )
        log_settled(event)
        tell(self.observer, event)
