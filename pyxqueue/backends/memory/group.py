"""One group of one queue in memory: where its tasks stand, and how they move.

An `Entry` is one task, and stands in exactly one `Place`; `Group.move` is the only way from one to another. Each law of
`pyxqueue.protocols` is kept by one short method.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence

from attrs import evolve

from ...message import (
    DEDUPE_MS,
    Cancelled,
    Defer,
    Delivery,
    Done,
    Extension,
    Fail,
    Failure,
    LeaseStatus,
    Message,
    Record,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
)
from ...protocols import DEFAULT_LEASE_MS
from ...transitions import LEASE_STATUSES, Counts, Event, requests
from .entry import ENDED, UNDER_WAY, WAITING, Entry, Place


class Group:
    """One group of one queue: a separate queue of its own (B9). Its methods expect the store's lock to be held."""

    def __init__(self, changed: Callable[[], None], ticket: Callable[[], int]) -> None:
        self._changed = changed
        self._ticket = ticket
        self.started_ms = 0
        """Of the clock, as `pyxqueue.clock` says."""
        self.registered = False
        self.lease = DEFAULT_LEASE_MS
        self.tasks: dict[str, Entry] = {}
        self.lines: dict[Place, OrderedDict[str, Entry]] = {place: OrderedDict() for place in Place}
        self.consumers: dict[str, int] = {}
        self._due: list[tuple[int, int, str]] = []
        self._forget: list[tuple[int, str]] = []

    # -- one task, one place

    def move(self, entry: Entry, place: Place, now: int) -> None:
        """Put `entry` at the tail of `place`, and nowhere else."""
        self.lines[entry.place].pop(entry.id, None)
        self.lines[place][entry.id] = entry
        entry.place, entry.updated = place, now
        if place is not Place.HELD:
            entry.order = self._ticket()
        if place is Place.PAST:
            heapq.heappush(self._forget, (entry.forget_at, entry.id))
        self._changed()

    def remove(self, entry: Entry) -> None:
        del self.lines[entry.place][entry.id]
        del self.tasks[entry.id]
        self._changed()

    def knows(self, task_id: str, now: int) -> bool:
        """B1: the id of a task that lives, or that ended not long ago."""
        entry = self.tasks.get(task_id)
        return entry is not None and (entry.place not in (Place.FINISHED, Place.PAST) or now < entry.known_until)

    def add(self, message: Message, now: int) -> None:
        """Take in a new message, with the store's stamps."""
        enqueued = now + self.started_ms
        due = enqueued + message.delay_ms if message.delay_ms > 0 else 0
        self.insert(Entry(message.id, evolve(message, enqueued_ms=enqueued, due_ms=due, delay_ms=0)), due, now)

    def take_foreign(self, entry: Entry, now: int) -> None:
        """B1: take in an entry that another program wrote, unless its id is known."""
        if not self.knows(entry.id, now):
            self.insert(entry, 0, now)

    def insert(self, entry: Entry, due: int, now: int) -> None:
        """Give an unknown entry its place."""
        self.enter(entry)
        self.line_up(entry, due, now)

    def enter(self, entry: Entry) -> None:
        """Know an entry by its id; one whose time is over is replaced."""
        if (old := self.tasks.get(entry.id)) is not None:
            self.lines[old.place].pop(old.id, None)
        self.tasks[entry.id] = entry

    def line_up(self, entry: Entry, due: int, now: int) -> None:
        """B8: to the tail of the ready line, or among the delayed until `due`."""
        entry.due = due
        if due > now:
            heapq.heappush(self._due, (due, self._ticket(), entry.id))
        self.move(entry, Place.DELAYED if due > now else Place.READY, now)

    def promote(self, limit: int | None, now: int) -> int:
        """B8: make at most `limit` due entries ready; answers the ms until the next one is due, or -1."""
        while self._due:
            due, _, task_id = self._due[0]
            entry = self.tasks.get(task_id)
            if entry is None or entry.place is not Place.DELAYED or entry.due != due:
                heapq.heappop(self._due)  # it was cancelled or deleted meanwhile
                continue
            if due > now or limit == 0:
                return max(0, due - now)
            heapq.heappop(self._due)
            self.move(entry, Place.READY, now)
            limit = None if limit is None else limit - 1
        return -1

    # -- holding

    def claim(self, consumer: str, limit: int, now: int) -> list[Delivery]:
        """B2, B3: what lost its holder and what has come due lines up first; then the head of the line is lent."""
        self.consumers[consumer] = now
        self.reclaim(now)
        self.promote(None, now)
        ready = self.lines[Place.READY]
        return [self.lend(next(iter(ready.values())), consumer, now) for _ in range(min(limit, len(ready)))]

    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        assert entry.message is not None
        entry.consumer, entry.lease_end = consumer, now + self.lease
        entry.fence = self._ticket()
        entry.receipt = f"{entry.id}@{entry.fence}"
        self.move(entry, Place.HELD, now)
        return Delivery(entry.message, entry.receipt, entry.fence)

    def holding(self, receipt: str) -> Entry | None:
        """B4: the entry that `receipt` is current for. That a lease has ended does not matter here (B3)."""
        entry = self.tasks.get(receipt.rpartition("@")[0])
        return entry if entry is not None and entry.place is Place.HELD and entry.receipt == receipt else None

    def reclaim(self, now: int) -> None:
        """B3, B11: whoever held these is suspected dead, and the task of having killed it."""
        for entry in [entry for entry in self.lines[Place.HELD].values() if entry.lease_end <= now]:
            entry.charge(Event.LEASE_END)
            self.put_back(entry, 0, now)

    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        """B11: of what a consumer that is gone still held, only what it was running is charged."""
        taken = [entry for entry in self.lines[Place.HELD].values() if entry.consumer == consumer]
        for entry in taken:
            entry.charge(Event.RELEASE_STARTED if entry.receipt in started else Event.RELEASE)
            self.put_back(entry, 0, now)
        self.consumers.pop(consumer, None)
        return len(taken)

    def put_back(self, entry: Entry, delay: int, now: int) -> None:
        """From its holder to the waiting; what was cancelled meanwhile ends instead (I3)."""
        if entry.cancelled:
            self.end(entry, Place.FINISHED, self.minimal(entry, TaskStatus.CANCELLED), now)
            return
        entry.progress = None
        due = now + self.started_ms + delay if delay > 0 else 0
        entry.alter(due_ms=due)
        self.line_up(entry, due, now)

    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        """B6, B10: a new end of the lease and the progress, for the current receipt only."""
        entry = self.holding(extension.receipt)
        if entry is None:
            return LeaseStatus.LOST
        entry.lease_end = now + self.lease
        self.consumers[entry.consumer] = now
        if extension.progress is not None:
            entry.progress = extension.progress
            self._changed()
        return LEASE_STATUSES[entry.cancelled]

    # -- ending

    def settle(self, settlement: Settlement, now: int) -> bool:
        """B4, B5: all of it, or nothing at all."""
        entry = self.holding(settlement.receipt)
        if entry is None:
            return False
        self.apply(entry, settlement, now)
        for message in settlement.then:
            if not self.knows(message.id, now):
                self.add(message, now)
        return True

    def apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        message = entry.message
        match settlement.verdict:
            case Done():
                record = settlement.record or self.minimal(entry, TaskStatus.SUCCESS)
                self.end(entry, Place.FINISHED, record, now)
            case Cancelled():
                record = settlement.record or self.minimal(entry, TaskStatus.CANCELLED)
                self.end(entry, Place.FINISHED, record, now)
            case Fail(reason):
                record = settlement.record or self.minimal(entry, TaskStatus.FAILURE, Failure("Failed", reason))
                entry.reason = reason
                self.end(entry, Place.FAILED, record, now)
            case Retry(delay):
                if isinstance(message, Message):
                    entry.alter(attempt=message.attempt + 1, redelivered=False)
                self.put_back(entry, delay, now)
            case Defer(delay):
                if isinstance(message, Message) and delay > 0:
                    entry.alter(deferrals=message.deferrals + 1)
                self.put_back(entry, delay, now)

    def minimal(self, entry: Entry, status: TaskStatus, error: Failure | None = None) -> Record:
        """The record of an end that came without one."""
        attempt = 1 if entry.message is None else entry.message.attempt
        return Record(entry.id, status, error=error, attempt=attempt, worker=entry.consumer)

    def end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        entry.record = evolve(record, ended_ms=now, progress=record.progress or entry.progress)
        entry.ended = record.status
        entry.progress = None
        entry.known_until = now + max(record.ttl_ms, DEDUPE_MS)
        self.move(entry, place, now)

    def trim(self, limit: int, now: int) -> int:
        """B13: keep the `limit` newest of the history."""
        history = self.lines[Place.FINISHED]
        surplus = max(0, len(history) - limit)
        for entry in list(itertools.islice(history.values(), surplus)):
            entry.message = None
            self.move(entry, Place.PAST, entry.updated)
        self.sweep(now)
        return surplus

    def sweep(self, now: int) -> None:
        """B13: forget what no law asks to remember."""
        while self._forget and self._forget[0][0] <= now:
            entry = self.tasks.get(heapq.heappop(self._forget)[1])
            if entry is not None and entry.place is Place.PAST and entry.forget_at <= now:
                self.remove(entry)

    # -- records

    def forget(self, task_id: str, now: int) -> None:
        """R4: the record goes; the task, and the knowledge of its id, stay."""
        entry = self.tasks.get(task_id)
        if entry is not None:
            entry.record = None
            if entry.place is Place.PAST:
                self.move(entry, Place.PAST, entry.updated)
                self.sweep(now)

    def read(self, task_id: str, now: int) -> Record | None:
        entry = self.tasks.get(task_id)
        return None if entry is None else entry.readable(now)

    def may_come(self, task_id: str) -> bool:
        """R2: whether waiting for a record makes sense."""
        entry = self.tasks.get(task_id)
        return entry is not None and entry.place in UNDER_WAY

    # -- administration

    def requeue(self, task_id: str, now: int) -> bool:
        """I2: the same message from the start; only what had happened to it is wiped."""
        entry = self.tasks.get(task_id)
        if entry is None or entry.place not in ENDED:
            return False
        entry.record = entry.ended = entry.progress = None
        entry.reason = entry.consumer = ""
        entry.cancelled = 0
        entry.alter(**Counts()._asdict(), due_ms=0)
        self.line_up(entry, 0, now)
        return True

    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        """I3: a waiting task ends here and now, the holder of a held one is told when it extends."""
        entry = self.tasks.get(task_id)
        if entry is None or entry.place not in UNDER_WAY:
            return False
        if entry.place in WAITING:
            self.end(entry, Place.FINISHED, self.minimal(entry, TaskStatus.CANCELLED), now)
        entry.cancelled = requests(entry.cancelled, force)
        return True

    def delete(self, task_id: str) -> bool:
        """I5: as if it had never been, unless someone is working on it."""
        entry = self.tasks.get(task_id)
        if entry is None or entry.place is Place.HELD:
            return False
        self.remove(entry)
        return True

    def adopt(self, task: TaskInfo, now: int) -> bool:
        """I7: a task of another store, where it stood there."""
        if self.knows(task.id, now):
            return False
        entry = Entry(task.id, task.message)
        if task.status is TaskStatus.FAILURE:
            self.enter(entry)
            entry.reason = task.reason
            failure = Failure("Failed", task.reason)
            self.end(entry, Place.FAILED, task.record or self.minimal(entry, TaskStatus.FAILURE, failure), now)
        else:
            due = task.message.due_ms if isinstance(task.message, Message) and task.message.due_ms > now else 0
            entry.alter(enqueued_ms=now, due_ms=due)
            self.insert(entry, due, now)
        return True

    def show(self, task_id: str, now: int) -> TaskInfo | None:
        entry = self.tasks.get(task_id)
        if entry is None or (entry.place is Place.PAST and entry.readable(now) is None):
            return None
        return self.info(entry, now)

    def info(self, entry: Entry, now: int) -> TaskInfo:
        record = entry.readable(now)
        held = entry.place is Place.HELD
        return TaskInfo(
            id=entry.id,
            status=entry.status,
            message=entry.message,
            worker=entry.consumer if held else record.worker if record else "",
            record=record,
            progress=record.progress if record else entry.progress,
            updated_ms=entry.updated,
            reason=entry.reason,
            started_ms=entry.updated if held else 0,
        )

    def next_event(self, now: int) -> int | None:
        """Milliseconds until something becomes claimable by itself, a lease that ends or a delay that is over."""
        ends = [entry.lease_end for entry in self.lines[Place.HELD].values()]
        ends += [entry.due for entry in self.lines[Place.DELAYED].values()]
        return max(0, min(ends) - now) if ends else None

    def footprint(self) -> int:
        """B13: how many things are remembered beside the history and the failed."""
        kept = len(self.lines[Place.FINISHED]) + len(self.lines[Place.FAILED])
        return len(self.tasks) - kept + len(self._due) + len(self._forget) + len(self.consumers)
