"""Claims deliveries, as many as there is room for."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field

from ..errors import BrokerError, BrokerUnavailableError
from ..inflight import STUCK
from ..model.message import Defer, Delivery, Extension, LeaseStatus, Message, Settlement
from .batch_sizer import MAX_BATCH, BatchSizer
from .dispatching import Dispatcher
from .events import Throttle, log
from .jobs import Job, Jobs
from .lifetime import Lifetime
from .serving import Claimed, Claims, ServedQueue

_LOOK_EVERY = 0.2
"""Seconds after which a worker without room checks whether it must stop."""

_PATIENCE = 2.0, 30.0
"""Seconds for which a task that must run alone waits for the others of its process before it is offered to others: at
first, and when it has come back, from then on twice as long each time."""
_OFFER = 0.2
"""Seconds after which it is claimed again, if no other worker has claimed it: an idle one does so at once."""
_COPIES = "further claims had copies, or messages that no longer belong to this worker: %d"
_NOT_NOTED = "messages that could not be noted as in flight: %d more"


def _life(job: Job) -> tuple[str, int]:
    """Return the id of a task and how often its process has died: when it has died again, its wait begins anew."""
    return job.delivery.message.id, job.delivery.message.crashes


@define(eq=False)
class Claimer:
    """Claims deliveries, notes them as in flight and dispatches them. Gives back those that cannot start here now."""

    claims: Claims
    queues: Sequence[ServedQueue]
    """The queues by their numbers."""
    jobs: Jobs
    dispatcher: Dispatcher
    consumer: str
    wait_ms: int
    """How long a claim waits for work."""
    backoff: Callable[[int, float], float]
    """Returns how many seconds to wait for the store, from the number of failures in a row and the longest pause."""
    lifetime: Lifetime | None = None
    """After what this process is replaced; None if it never is."""
    stopping: bool = field(default=False, init=False)
    retired: str = field(default="", init=False)
    """Why this process is to be replaced."""
    _settles_beside: bool = field(default=False, init=False)
    """Whether another thread settles meanwhile."""
    _sizer: BatchSizer = field(factory=BatchSizer, init=False)
    _offered: deque[tuple[str, int]] = field(factory=partial(deque, maxlen=100), init=False)
    """The jobs that were waited for in vain and offered to other workers lately, as `_life` names them."""
    _copies: Throttle = field(factory=partial(Throttle, _COPIES), init=False)
    _not_noted: Throttle = field(factory=partial(Throttle, _NOT_NOTED), init=False)

    def stop(self) -> None:
        """Claim nothing more."""
        self.stopping = True

    def run(self) -> None:
        """Claim until `stop` is called or the process is to be replaced, while another thread settles."""
        self._settles_beside = True
        asked, failures = self.jobs.table.contact.asked, 0
        while not self.stopping and not self._retires():
            try:
                self.jobs.freed.clear()  # before the checks, so that they miss no slot that becomes free
                if not (room := self.dispatcher.room()):
                    asked[0] = 0.0
                    self.dispatcher.wait_room(_LOOK_EVERY)
                elif not (slots := self.jobs.slots.room()):
                    asked[0] = 0.0
                    self.jobs.freed.wait(_LOOK_EVERY)
                else:
                    self.claim(min(room, slots, self._batch()), self.wait_ms)
                    if failures:
                        log.warning("%s: the store is back", self.consumer)
                failures = 0
            except BrokerError as error:  # also if the store refuses: an operator may mend the cause
                failures += 1
                if not isinstance(error, BrokerUnavailableError):
                    asked[0] = 0.0
                self._pause(failures, error)
        asked[0] = 0.0

    def _retires(self) -> bool:
        """Return whether the process is to be replaced. What it has claimed has ended then."""
        if self.lifetime is None or not (reason := self.lifetime.over()):
            return False
        self.jobs.table.contact.asked[0] = 0.0
        self.dispatcher.wait_idle()
        self.retired = reason
        return True

    def _batch(self) -> int:
        """Return how many messages to claim at once. Where they do not run one after the other, the room counts."""
        batch = self._sizer.limit if self.dispatcher.inline else MAX_BATCH
        return batch if self.lifetime is None else min(batch, self.lifetime.left())

    def claim(self, limit: int, wait_ms: int) -> int:
        """Claim and submit at most `limit` messages. Returns how many were claimed."""
        asked = self.jobs.table.contact.asked
        asked[0] = asked[0] or time.monotonic()
        batches = self.claims.claim(self.consumer, limit, wait_ms)
        asked[0] = 0.0
        claimed = 0
        for _, deliveries in batches:
            claimed += len(deliveries)
        if self.lifetime is not None:
            self.lifetime.claimed(claimed)
        jobs, fault = self._noted(batches)
        redelivered = [job for job in jobs if job.delivery.message.redelivered]
        if len(self.jobs) > 1:
            self.jobs.slots.wake_supervisor()
        # One that came alone, although more could have come, was waited for: its result goes the shortest way.
        alone = claimed < limit and self.dispatcher.inline and len(self.jobs) == 1
        for queue, _ in batches:
            queue.settling.in_place = alone
        self._submit([job for job in jobs if job not in redelivered] if redelivered else jobs)
        for number, job in enumerate(redelivered):  # alone, so that no other task dies with it
            waiting = redelivered[number:]
            if self.stopping:
                break
            if not self._wait_alone(waiting):
                self._offer(waiting)
                break
            self.dispatcher.submit(job)
            self.dispatcher.wake()
            self.dispatcher.wait_idle()
        if fault is not None:
            raise fault
        return claimed

    def _noted(self, batches: Claimed) -> tuple[list[Job], BrokerError | None]:
        """Note the deliveries as in flight. Returns the jobs, and the error of a store that could not be asked for
        copies.

        The first that must run alone is pinned, because it waits until nothing else runs. All others may be given back
        while something takes long.
        """
        jobs, fault, now = list[Job](), None, time.monotonic()
        first = next((one for _, deliveries in batches for one in deliveries if one.message.redelivered), None)
        for queue, deliveries in batches:
            own = deliveries
            if queue.sealed and deliveries:
                try:
                    own = self._without_copies(queue, deliveries)
                except BrokerError as error:  # the jobs of other queues are in flight already, and must run
                    own, fault = [], error
            noted = (self._note(queue, one, now, pinned=one is first) for one in own)
            jobs += [job for job in noted if job is not None]
        return jobs, fault

    def _without_copies(self, queue: ServedQueue, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Return the deliveries without those whose id belongs to another message or to an ended task: a seal proves
        who wrote a call, not that it is new.

        One request checks them all. If it fails, none of them runs, and they are claimed again when their leases end.
        """
        statuses = queue.broker.extend([Extension(delivery.receipt) for delivery in deliveries])
        lost = {one.receipt for one, status in zip(deliveries, statuses, strict=True) if status is LeaseStatus.LOST}
        if lost:
            text = "%s does not run copies, or messages that no longer belong to this worker: %d"
            self._copies.log(logging.WARNING, text, self.consumer, len(lost))
            queue.settling.insist([Settlement(receipt, Defer()) for receipt in lost])  # this removes the copies
        return [one for one in deliveries if one.receipt not in lost]

    def give_back(self) -> None:
        """Give back what was claimed and has not started."""
        taken = {entry.slot for entry in self.jobs.take_back(self.jobs)}
        for queue in self.queues:
            mine = [job for job in self.jobs if job.slot in taken and job.queue == queue.number]
            if mine:
                queue.give_back([job.delivery for job in mine])
            for job in mine:
                self.jobs.remove(job)

    def _pause(self, failures: int, error: Exception) -> None:
        if failures == 1:
            log.warning("%s waits for the store: %s", self.consumer, error)
        end = time.monotonic() + self.backoff(failures, 2.0)
        while not self.stopping and time.monotonic() < end:
            time.sleep(0.05)

    def _note(self, queue: ServedQueue, delivery: Delivery, now: float, *, pinned: bool) -> Job | None:
        """Note a delivery as in flight. One too many, as several stores together may hand out, is given back. If it
        does not fit into a slot, it fails and is kept with the failed tasks."""
        message = delivery.message
        if not self.jobs.slots.room():
            queue.give_back([delivery])
            return None
        task = queue.registry.get(message.name) if isinstance(message, Message) else None
        try:
            return self.jobs.add(delivery, task, now, queue.number, pinned=pinned)
        except Exception as error:  # noqa: BLE001 - logged, and the reason why the task fails
            text = "%s cannot note the message %s as in flight"
            self._not_noted.log(logging.ERROR, text, self.consumer, message.id, exc_info=True)
            failure = queue.decider.failure(delivery, f"no worker can note it as in flight: {error}")
            queue.settling.insist([failure])
            return None

    def _submit(self, jobs: Sequence[Job]) -> None:
        took, late = [], []
        for job in jobs:
            if not self.stopping:
                begun = time.monotonic()
                if not self.dispatcher.submit(job):
                    late.append(job)
                took.append(time.monotonic() - begun)
        self.dispatcher.wake()
        self._sizer.ran(took)
        if late:
            end = time.monotonic() + STUCK
            self._defer([job for job in late if not self.dispatcher.submit(job, max(0.0, end - time.monotonic()))])

    def _defer(self, jobs: Sequence[Job]) -> None:
        """Give back jobs that found no free thread, unless the supervisor already has: another worker may have one."""
        taken = self.jobs.take_back(jobs)
        for queue in self.queues:
            if receipts := [entry.receipt for entry in taken if entry.queue == queue.number]:
                queue.settling.insist([Settlement(receipt, Defer()) for receipt in receipts])
        for job in jobs:
            self.jobs.remove(job)

    def _offer(self, waiting: Sequence[Job]) -> None:
        """Give back jobs that must run alone, for a worker that is idle; and leave it a moment to claim them."""
        self._offered.append(_life(waiting[0]))
        self._defer(waiting)
        time.sleep(_OFFER)

    def _wait_alone(self, waiting: Sequence[Job]) -> bool:
        """Wait until nothing else runs here and every outcome is settled: if the process died, those tasks would run
        again. The outcomes of another queue whose store is away are not waited for.

        Returns False if something runs on for longer than others should wait. If the first job was offered and has come
        back, no worker was idle: it waits longer, since what runs here ends some time. But not for ever: something may
        run on and on, and another worker be idle by now.
        """
        first, then = _PATIENCE
        offers = self._offered.count(_life(waiting[0]))
        if not self.dispatcher.wait_idle(then * 2 ** (offers - 1) if offers else first):
            return False
        own = waiting[0].queue

        def is_waited_for(job: Job) -> bool:
            return job not in waiting and (job.queue == own or not self.queues[job.queue].settling.away)

        while self._settles_beside and not self.stopping and any(map(is_waited_for, self.jobs)):
            time.sleep(0.002)
        return True
