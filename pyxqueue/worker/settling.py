"""Settles the outcomes of jobs, in batches."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import define, field

from ..errors import BrokerError, BrokerUnavailableError
from ..model.message import Done, Settlement
from ..protocols import Broker
from .batch_sizer import MAX_BATCH
from .deciding import Decider
from .events import Throttle, done, log
from .jobs import Jobs, Ran
from .reporting import Reporter
from .tally import Tally


@define(eq=False)
class SettlingQueue:
    """Holds the jobs that have run until they are settled.

    This is a group commit without a timer: a batch is what came in during the last round trip.
    """

    broker: Broker
    jobs: Jobs
    decider: Decider
    reporter: Reporter
    backoff: Callable[[int, float], float]
    """Returns how many seconds to wait for the store, from the number of failures in a row and the longest pause."""
    tally: Tally | None = None
    """Counts what is settled; None if the queue has no statistics."""
    thread: int = 1
    """The number of its thread, among those that ask the store."""
    _queue: queue.SimpleQueue[Ran | None] = field(factory=queue.SimpleQueue, init=False)
    in_place: bool = field(default=False, init=False)
    """Whether `put` settles, because waking the settling thread would take as long as the round trip. Set only while
    one thread alone puts, and nothing is in this queue."""
    away: bool = field(default=False, init=False)
    """Whether the store cannot be reached."""
    _refused: Throttle = field(factory=lambda: Throttle("tasks that the store refuses to settle: %d more"), init=False)

    def put(self, ran: Ran) -> None:
        """Take what has run, from any thread."""
        if self.in_place:
            self._settle_in_place(ran)
        else:
            self._queue.put(ran)

    def close(self) -> None:
        """Make `run` return when all that was put before is settled."""
        self._queue.put(None)

    def run(self) -> None:
        """Settle what is put, until closed; and send what was counted."""
        while (first := self._next()) is not None:
            batch = [first]
            while len(batch) < MAX_BATCH and not self._queue.empty():
                if (more := self._queue.get()) is None:
                    self._queue.put(None)
                    break
                batch.append(more)
            self._settle(batch)
        if self.tally is not None:
            self.tally.send()

    def _next(self) -> Ran | None:
        """Wait for what is put next; None at the end."""
        if (tally := self.tally) is None:
            return self._queue.get()
        while True:
            tally.send_due()
            # In Python 3.11 and 3.12, a `get` that has to lock the queue first may wait without an end if its timeout
            # passes meanwhile. It is locked from here on until something is put.
            with suppress(queue.Empty):
                return self._queue.get_nowait()
            with suppress(queue.Empty):
                return self._queue.get(timeout=tally.left())

    def settle_here(self) -> int:
        """Settle all that was put, one by one, in this thread. Returns how many that were."""
        settled = 0
        while not self._queue.empty():
            if (ran := self._queue.get()) is not None:
                self._settle([ran])
                settled += 1
        return settled

    def insist(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Settle, and repeat that until the store can be reached: the receipts decide what it still accepts."""
        failures, asked, thread = 0, self.jobs.table.contact.asked, self.thread
        while True:
            try:
                asked[thread] = asked[thread] or time.monotonic()
                accepted = self.broker.settle(settlements)
                asked[thread] = 0.0
                self.away = False
                if failures:
                    text = "%s: the store is back and has accepted settlements: %d"
                    log.warning(text, self.reporter.worker, sum(accepted))
                return accepted
            except BrokerUnavailableError as error:
                failures += 1
                self.away = True
                if failures == 1:
                    text = "%s keeps settlements (%d) until the store is back: %s"
                    log.warning(text, self.reporter.worker, len(settlements), error)
                time.sleep(self.backoff(failures, 1.0))
            except BrokerError:
                asked[thread] = 0.0
                if len(settlements) == 1:
                    text = "the store refuses to settle %s; it is claimed again when its lease ends"
                    self._refused.log(logging.ERROR, text, settlements[0].receipt, exc_info=True)
                    return [False]
                return [accepted for one in settlements for accepted in self.insist([one])]

    def _settle_in_place(self, ran: Ran) -> None:
        settlements, asked, thread = self._settlements([ran]), self.jobs.table.contact.asked, self.thread
        asked[thread] = asked[thread] or time.monotonic()
        try:
            accepted = self.broker.settle(settlements)
            asked[thread] = 0.0
        except BrokerError:
            self._queue.put(ran)  # the settling thread insists
        else:
            self._conclude([ran], settlements, accepted)

    def _settle(self, batch: Sequence[Ran]) -> None:
        settlements = self._settlements(batch)
        self._conclude(batch, settlements, self.insist(settlements))

    def _settlements(self, batch: Sequence[Ran]) -> list[Settlement]:
        return [self.decider.settlement(ran.job, ran.outcome, ran.seconds) for ran in batch]

    def _conclude(self, batch: Sequence[Ran], settlements: Sequence[Settlement], all_accepted: Sequence[bool]) -> None:
        """Forget what is settled, and report it."""
        if self.tally is not None:
            self.tally.settled(batch, settlements, all_accepted)
        quiet = self.reporter.observer is None and not done.isEnabledFor(logging.DEBUG)
        for ran, settlement, accepted in zip(batch, settlements, all_accepted, strict=True):
            self.jobs.remove(ran.job)
            if not (quiet and accepted and isinstance(settlement.verdict, Done)):  # the usual case costs nothing
                self.reporter.settled(ran, settlement.verdict, accepted=accepted)
