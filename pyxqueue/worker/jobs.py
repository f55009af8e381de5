"""The deliveries that one worker has in flight."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from attrs import define, field

from ..inflight import InFlight, InFlightTable, Slots
from ..model.message import Delivery, Message, Outcome, Progress
from ..registry import TaskSpec


@define(eq=False)
class Job:
    """One delivery on its way through this process."""

    delivery: Delivery
    slot: int
    """Its slot in the table of what is in flight."""
    task: TaskSpec | None = None
    """None if no task of this name is registered here."""
    queue: int = 0
    """The number of its queue, among those that the worker serves."""
    claimed: float = 0.0
    """By `time.monotonic`."""
    started: float = 0.0
    """By `time.monotonic`."""
    progress: Progress | None = None
    unsent: bool = False
    """`progress` has changed since it was last sent."""

    def waited(self) -> float | None:
        """Return the seconds from when the message was enqueued or due, whichever was later, to the start of this run;
        None if that is not known, as for a retry without a delay."""
        message, claimed_ms = self.delivery.message, self.delivery.claimed_ms
        if not isinstance(message, Message):
            return None
        since = message.due_ms  # no `max` here: this is done for each task
        if message.attempt == 1 and message.enqueued_ms > since:
            since = message.enqueued_ms
        if since <= 0 or claimed_ms <= 0:
            return None
        before = (claimed_ms - since) / 1000 if claimed_ms > since else 0.0
        return before + self.started - self.claimed if self.started > self.claimed else before

    def report(self, progress: Progress) -> None:
        self.progress = progress
        self.unsent = True


@define(eq=False)
class Ran:
    """A job that has run and is not settled yet."""

    job: Job
    outcome: Outcome
    seconds: float


@define(eq=False)
class Jobs:
    """All jobs of this worker, each of them noted in the table that its supervisor reads."""

    table: InFlightTable
    slots: Slots = field(init=False)
    _by_slot: dict[int, Job] = field(factory=dict, init=False)
    freed: threading.Event = field(factory=threading.Event, init=False)
    """Set when a slot becomes free."""

    def __attrs_post_init__(self) -> None:
        self.slots = Slots(self.table)

    def __len__(self) -> int:
        return len(self._by_slot)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._by_slot.values()))

    def add(
        self, delivery: Delivery, task: TaskSpec | None, now: float, queue: int = 0, *, pinned: bool = False
    ) -> Job:
        """Note a delivery of a queue that was claimed at `now`; the supervisor does not give a pinned one back because
        it waits. Raises for one that does not fit into the table."""
        message = delivery.message
        slot = self.slots.add(message.id, delivery.receipt, message.attempt, now, delivery.fence, queue, pinned=pinned)
        job = self._by_slot[slot] = Job(delivery, slot, task, queue, now)
        return job

    def remove(self, job: Job) -> None:
        """Forget a job that is settled, lost or given back."""
        del self._by_slot[job.slot]
        self.slots.free(job.slot)
        if not self.freed.is_set():
            self.freed.set()

    def take_back(self, jobs: Iterable[Job]) -> list[InFlight]:
        """Take back those of the jobs that have not started. Returns those that the supervisor has not taken."""
        return self.table.take_back([job.slot for job in jobs])

    def cancelled(self) -> Iterator[tuple[Job, int]]:
        """Return the jobs to cancel, and how often to interrupt each."""
        for slot, times in self.slots.cancels():
            if (job := self._by_slot.get(slot)) is not None:
                yield job, times

    def postpone(self, job: Job, seconds: float) -> None:
        """Move the hard limit of a job that another job has kept from running for so many seconds."""
        if self._by_slot.get(job.slot) is job:
            self.slots.postpone(job.slot, seconds)
