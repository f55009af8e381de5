"""One group of one queue: where its tasks stand, and how they move. One short method keeps each law.

A task is one file with all there is to know about it, ``tasks/ID.task``, and an empty file in the folder of its place,
``ready/TURN-ORDER-ID``. The names there, sorted, are the line: who looks for what is due reads no more than names.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote

from attrs import evolve

from pyxqueue.message import (
    DEDUPE_MS,
    ID_PATTERN,
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
from pyxqueue.protocols import DEFAULT_LEASE_MS
from pyxqueue.transitions import LEASE_STATUSES, Counts, Event, requests

from .entry import UNDER_WAY, Entry, Place
from .folder import Change


class Group:
    """A group as it is during one change of the folder, at one moment."""

    def __init__(self, change: Change, name: str, now: int) -> None:
        self.change = change
        self.name = name
        self.now = now
        self._registration = f"groups/{file_name(name)}"
        self._folder = f"in/{file_name(name)}"

    @property
    def registered(self) -> bool:
        return self.change.read(self._registration) is not None

    @property
    def lease_ms(self) -> int:
        return int(self.change.read(self._registration) or DEFAULT_LEASE_MS)

    def register(self, lease: int | None) -> None:
        self.change.write(self._registration, b"%d" % (lease or self.lease_ms))

    def all(self) -> list[Group]:
        """B9: the registered groups of the queue."""
        return [Group(self.change, unquote(name[1:]), self.now) for name in self.change.names("groups")]

    def drop(self) -> None:
        self.change.delete(self._registration)
        self.change.delete(self._folder)
        self.change.ticket()

    # -- one task, one place

    def find(self, task_id: str) -> Entry | None:
        if not ID_PATTERN.fullmatch(task_id):
            return None  # it might be a path to anywhere
        data = self.change.read(self._file(task_id))
        return None if data is None else Entry.unpack(data)

    def line(self, place: Place) -> list[tuple[int, int, str]]:
        """The turn, order and id of each task that stands there, the first one first."""
        names = [name.split("-", 2) for name in self.change.names(f"{self._folder}/{place}")]
        return [(int(turn), int(order), task_id) for turn, order, task_id in names]

    def entries(self, line: list[tuple[int, int, str]]) -> list[Entry]:
        return [entry for _, _, task_id in line if (entry := self.find(task_id))]

    def come(self, place: Place) -> list[Entry]:
        """The tasks there whose time has come."""
        return self.entries([name for name in self.line(place) if name[0] <= self.now])

    def save(self, entry: Entry) -> None:
        """Write the task, and the name that stands for it if that has changed."""
        name = f"{self._folder}/{entry.place}/{entry.turn:020}-{entry.order:020}-{entry.id}"
        if name != entry.stands:
            self._leave(entry)
            self.change.write(name, b"")
            entry.stands = name
        self.change.write(self._file(entry.id), entry.pack())

    def move(self, entry: Entry, place: Place) -> None:
        """Put the task at the tail of `place`, and nowhere else."""
        entry.place, entry.updated, entry.order = place, self.now, self.change.ticket()
        self.save(entry)

    def remove(self, entry: Entry) -> None:
        self._leave(entry)
        self.change.delete(self._file(entry.id))
        self.change.ticket()

    def _leave(self, entry: Entry) -> None:
        if entry.stands:
            self.change.delete(entry.stands)

    def _file(self, task_id: str) -> str:
        return f"{self._folder}/tasks/{task_id}.task"

    def knows(self, task_id: str) -> bool:
        """B1: a task that lives, or that ended not long ago."""
        entry = self.find(task_id)
        return entry is not None and (entry.place not in (Place.FINISHED, Place.PAST) or self.now < entry.known_until)

    def add(self, message: Message) -> None:
        """Take in a new message, with the store's stamps."""
        due = self.now + message.delay_ms if message.delay_ms > 0 else 0
        self.insert(Entry.of(evolve(message, enqueued_ms=self.now, due_ms=due, delay_ms=0)), due)

    def insert(self, entry: Entry, due: int) -> None:
        """Give a new task its place."""
        self.enter(entry)
        self.line_up(entry, due)

    def enter(self, entry: Entry) -> None:
        """Take over the place of one of the same id whose time is over."""
        if known := self.find(entry.id):
            self._leave(known)

    def line_up(self, entry: Entry, due: int) -> None:
        """B8: to the tail of the ready line, or among the delayed until `due`."""
        entry.due = due
        self.move(entry, Place.DELAYED if due > self.now else Place.READY)

    def promote(self, limit: int | None) -> int:
        """B8: make at most `limit` due tasks ready; answers the ms until the next one is due, or -1."""
        for entry in self.come(Place.DELAYED)[:limit]:
            self.move(entry, Place.READY)
        left = self.line(Place.DELAYED)
        return max(0, left[0][0] - self.now) if left else -1

    # -- holding

    def claim(self, consumer: str, limit: int) -> list[Delivery]:
        """B2, B3: what lost its holder and what has come due lines up first; then the head of the line is lent."""
        self.seen(consumer)
        self.reclaim()
        self.promote(None)
        return [self.lend(entry, consumer) for entry in self.entries(self.line(Place.READY)[: max(0, limit)])]

    def lend(self, entry: Entry, consumer: str) -> Delivery:
        entry.place, entry.updated, entry.consumer = Place.HELD, self.now, consumer
        entry.fence, entry.lease_end = self.change.ticket(), self.now + self.lease_ms
        self.save(entry)
        assert entry.content is not None
        return Delivery(entry.content, entry.receipt, entry.fence)

    def holding(self, receipt: str) -> Entry | None:
        """B4: the task that `receipt` is current for. That a lease has ended does not matter here (B3)."""
        entry = self.find(receipt.rpartition("@")[0])
        return entry if entry is not None and entry.place is Place.HELD and entry.receipt == receipt else None

    def reclaim(self) -> None:
        """B3, B11: whoever held these is suspected dead, and the task of having killed it."""
        for entry in self.come(Place.HELD):
            entry.charge(Event.LEASE_END)
            self.put_back(entry, 0)

    def release(self, consumer: str, started: Sequence[str]) -> int:
        """B11: of what a consumer that is gone still held, only what it was running is charged."""
        taken = [entry for entry in self.entries(self.line(Place.HELD)) if entry.consumer == consumer]
        for entry in taken:
            entry.charge(Event.RELEASE_STARTED if entry.receipt in started else Event.RELEASE)
            self.put_back(entry, 0)
        self.change.delete(self._consumer(consumer))
        return len(taken)

    def put_back(self, entry: Entry, delay: int) -> None:
        """From its holder to the waiting; what was cancelled meanwhile ends instead (I3)."""
        if entry.cancelled:
            self.end(entry, Place.FINISHED, minimal(entry, TaskStatus.CANCELLED))
            return
        entry.progress = None
        due = self.now + delay if delay > 0 else 0
        entry.alter(due_ms=due)
        self.line_up(entry, due)

    def extend(self, extension: Extension) -> LeaseStatus:
        """B6, B10: a new end of the lease and the progress, for the current receipt only."""
        entry = self.holding(extension.receipt)
        if entry is None:
            return LeaseStatus.LOST
        entry.lease_end, entry.updated = self.now + self.lease_ms, self.now
        if extension.progress is not None:
            entry.progress = extension.progress
            self.change.ticket()
        self.seen(entry.consumer)
        self.save(entry)
        return LEASE_STATUSES[entry.cancelled]

    def seen(self, consumer: str) -> None:
        self.change.write(self._consumer(consumer), b"%d" % self.now)

    def consumers(self) -> dict[str, int]:
        """When each was last heard of."""
        names = [unquote(name[1:]) for name in self.change.names(f"{self._folder}/consumers")]
        return {name: int(self.change.read(self._consumer(name)) or 0) for name in names}

    def _consumer(self, name: str) -> str:
        return f"{self._folder}/consumers/{file_name(name)}"

    # -- ending

    def settle(self, settlement: Settlement) -> bool:
        """B4, B5: all of it, or nothing at all."""
        entry = self.holding(settlement.receipt)
        if entry is None:
            return False
        self.apply(entry, settlement)
        for message in settlement.then:
            if not self.knows(message.id):
                self.add(message)
        return True

    def apply(self, entry: Entry, settlement: Settlement) -> None:
        match settlement.verdict:
            case Done():
                self.end(entry, Place.FINISHED, settlement.record or minimal(entry, TaskStatus.SUCCESS))
            case Cancelled():
                self.end(entry, Place.FINISHED, settlement.record or minimal(entry, TaskStatus.CANCELLED))
            case Fail(reason):
                entry.reason = reason
                self.end(entry, Place.FAILED, settlement.record or minimal(entry, TaskStatus.FAILURE))
            case Retry(delay):
                if entry.message is not None:
                    entry.alter(attempt=entry.message.attempt + 1, redelivered=False)
                self.put_back(entry, delay)
            case Defer(delay):
                if entry.message is not None and delay > 0:
                    entry.alter(deferrals=entry.message.deferrals + 1)
                self.put_back(entry, delay)

    def end(self, entry: Entry, place: Place, record: Record) -> None:
        entry.record = evolve(record, ended_ms=self.now, progress=record.progress or entry.progress, fence=0)
        entry.ended, entry.progress = record.status, None
        entry.known_until = self.now + max(record.ttl_ms, DEDUPE_MS)
        self.move(entry, place)

    def trim(self, limit: int) -> int:
        """B13: keep the `limit` newest of the history, and forget what no law asks to remember."""
        history = self.line(Place.FINISHED)
        surplus = history[: max(0, len(history) - limit)]
        for entry in self.entries(surplus):
            entry.message = entry.unreadable = None
            entry.place = Place.PAST
            self.save(entry)
        for entry in self.come(Place.PAST):
            self.remove(entry)
        return len(surplus)

    # -- records

    def forget(self, task_id: str) -> None:
        """R4: the record goes; the task, and the knowledge of its id, stay."""
        if entry := self.find(task_id):
            entry.record = None
            self.save(entry)

    def read(self, task_id: str) -> Record | None:
        entry = self.find(task_id)
        return None if entry is None else entry.readable(self.now)

    def may_come(self, task_id: str) -> bool:
        """R2: whether waiting for a record makes sense."""
        entry = self.find(task_id)
        return entry is not None and entry.place in UNDER_WAY

    # -- administration

    def show(self, task_id: str) -> TaskInfo | None:
        entry = self.find(task_id)
        if entry is None or (entry.place is Place.PAST and entry.readable(self.now) is None):
            return None
        return entry.info(self.now)

    def page(self, state: TaskStatus | None, before: int | None, count: int) -> tuple[list[TaskInfo], str]:
        """I4: newest first. The cursor is the order of the last task, so what comes and goes between moves nothing."""
        names = [(order, i) for place in Place if place is not Place.PAST for _, order, i in self.line(place)]
        page: list[Entry] = []
        for order, task_id in sorted(names, reverse=True):
            entry = self.find(task_id) if before is None or order < before else None
            if entry is not None and state in (None, entry.status):
                if len(page) == count:
                    return [found.info(self.now) for found in page], str(page[-1].order if page else order + 1)
                page.append(entry)
        return [found.info(self.now) for found in page], ""

    def requeue(self, task_id: str) -> bool:
        """I2: the same message from the start; only what had happened to it is wiped."""
        entry = self.find(task_id)
        if entry is None or entry.place not in (Place.FAILED, Place.FINISHED):
            return False
        fresh = Entry(entry.id, entry.message, entry.unreadable, fence=entry.fence)
        fresh.alter(**Counts()._asdict(), due_ms=0)
        self.insert(fresh, 0)
        return True

    def cancel(self, task_id: str, force: bool) -> bool:
        """I3: a waiting task ends here and now, the holder of a held one is told when it extends."""
        entry = self.find(task_id)
        if entry is None or entry.place not in UNDER_WAY:
            return False
        entry.cancelled = requests(entry.cancelled, force)
        if entry.place is Place.HELD:
            self.save(entry)
        else:
            self.end(entry, Place.FINISHED, minimal(entry, TaskStatus.CANCELLED))
        return True

    def delete(self, task_id: str) -> bool:
        """I5: as if it had never been, unless someone is working on it."""
        entry = self.find(task_id)
        if entry is None or entry.place is Place.HELD:
            return False
        self.remove(entry)
        return True

    def adopt(self, task: TaskInfo) -> bool:
        """I7: a task of another store, where it stood there."""
        if self.knows(task.id):
            return False
        assert task.message is not None
        entry = Entry.of(task.message)
        if task.status is TaskStatus.FAILURE:
            self.enter(entry)
            entry.reason = task.reason
            self.end(entry, Place.FAILED, task.record or minimal(entry, TaskStatus.FAILURE))
        else:
            due = entry.message.due_ms if entry.message and entry.message.due_ms > self.now else 0
            entry.alter(enqueued_ms=self.now, due_ms=due)
            self.insert(entry, due)
        return True


def minimal(entry: Entry, status: TaskStatus) -> Record:
    """The record of an end that nobody described."""
    error = Failure("Failed", entry.reason) if status is TaskStatus.FAILURE else None
    attempt = 1 if entry.content is None else entry.content.attempt
    return Record(entry.id, status, error=error, attempt=attempt, worker=entry.consumer)


def file_name(name: str) -> str:
    """A file name for any name that people give: ``..`` and the empty one are no paths with it."""
    return f"_{quote(name, safe='')}"
