"""The laws of one group in Python, for a store that changes one task at a time under a lock.

An `Entry` is one task in exactly one `Place`. A `LockedGroup` moves it from place to place, with one short method for
each law of `pyxqueue.protocols`. A store implements the abstract methods of `Entries`: find, save, move and remove an
entry, and iterate over a place. The memory backend and the example backend use this class. SQLite and Redis change
whole batches at once, and implement the laws in their own language.

You write, in a subclass of `LockedGroup`: the attribute `lease`; `find`, `line`, `enter`, `save`, `move`, `remove`;
`maintain`; `heard_of` and `forget_consumer`. `ready` and `overdue` may be written for
speed, `let_go` and `hold_again` for locks, `_count_start` for rates.
You get everything else of `LockedGroup`. Registration, paging, waiting and the limit of the history are left to you;
the example backend of the documentation has them for a store that is polled.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import define

from .model.flows import UNFINISHED_MS, Edge, OnFailure, edges_of, is_child_of, is_unfinished, number_of, unfinished
from .model.locks import is_held_until_start
from .model.message import (
    DEDUPE_MS,
    NO_STEPS,
    Defer,
    Delivery,
    Extension,
    Fail,
    LeaseStatus,
    Message,
    Progress,
    Record,
    Retry,
    Settlement,
    StartStatus,
    Suspend,
    TaskInfo,
    TaskStatus,
    Unreadable,
    evolve,
)
from .model.past import appended, line_of_silent
from .model.priorities import class_of
from .model.rates import has_rate
from .model.steps import MAX_EVENTS, EventStatus, Steps
from .model.transitions import (
    ENDS,
    LEASE_STATUSES,
    Counts,
    Event,
    charged,
    default_record,
    event_of,
    expired_record,
    late_reason,
    requests,
    too_late,
    with_expiry,
)
from .model.turns import Lines, Turn, take_first
from .takeovers import log_takeovers


class Place(enum.Enum):
    """The place of an entry."""

    CAME_BACK = enum.auto()
    """Ready, after it was delayed, in flight or ended."""
    NEW = enum.auto()
    """Ready since it was enqueued or adopted."""
    IN_FLIGHT = enum.auto()
    DELAYED = enum.auto()
    BLOCKED = enum.auto()
    """It waits for a place under a limit, or for the end of a pause of its name. Only a store that has limits uses this
    place."""
    FAIR = enum.auto()
    """Ready, in a fair line. Only a store that has such lines uses this place."""
    DEPENDENT = enum.auto()
    """It waits for others of its flow."""
    FAILED = enum.auto()
    HISTORY = enum.auto()
    REMEMBERED = enum.auto()
    """The message is gone. The store still knows the id and, for its time to live, the record. An entry comes here when
    the history drops it, and can be removed at its `forget_at`."""


READY = (Place.CAME_BACK, Place.NEW)
"""Where tasks are ready: two lines for each priority class, between which claims take turns (B2)."""
CLAIMABLE = (*READY, Place.FAIR)
WAITING = (*CLAIMABLE, Place.DELAYED, Place.BLOCKED, Place.DEPENDENT)
UNDER_WAY = (*WAITING, Place.IN_FLIGHT)
ENDED = (Place.FAILED, Place.HISTORY)


@define(eq=False)
class Entry:
    """One task of one group."""

    id: str
    message: Message | Unreadable | None
    place: Place = Place.REMEMBERED
    order: int = 0
    """A number that grows with each new place, except when the entry is claimed."""
    updated: int = 0
    """When it came to its place."""
    due: int = 0
    consumer: str = ""
    receipt: str = ""
    fence: int = 0
    lease_end: int = 0
    cancelled: int = 0
    """The requests to cancel it, as `pyxqueue.model.transitions` counts them. A cancelled entry never runs again."""
    progress: Progress | None = None
    record: Record | None = None
    ended: TaskStatus | None = None
    """How it ended. It is kept longer than the record."""
    reason: str = ""
    known_until: int = 0
    """The time until which the id of an ended task is known (B1); 0 if it has not ended."""
    gate: str = ""
    """The gate in whose line it waits (L5)."""
    arrival: int = 0
    """Its place in that line."""
    has_tokens: bool = False
    """Whether it has the tokens of its gates (L3)."""
    need: int = 0
    """How many of its predecessors have not ended (L10)."""
    absent: int = 0
    """How many of its predecessors were not stored yet."""
    complete_by: int = 0
    """When it is doomed if there are such."""
    bad: int = 0
    """How many of its predecessors have ended so that it must not run."""
    is_counted: bool = False
    """Whether `need` and `bad` change with its predecessors: until it ends and is not kept with the failed tasks."""
    suspended: bool = False
    """Whether it waits because it was suspended (L14)."""
    event: str = ""
    """The event that it waits for then."""
    children: int = 0
    """For how many of its children it waits then."""
    children_flow: str = ""
    """The flow that these are part of."""
    steps: Mapping[str, bytes] = NO_STEPS
    events: Mapping[str, bytes] = NO_STEPS
    began: str = ""
    """The receipt for which its start was counted (L6)."""
    turned_away: bool = False
    """Whether it could not start, so that it keeps its place in the order of arrival (L6, L9). It is true during that
    step only."""
    was_drawn: bool = False
    """Whether it has had its turn in a fair line (F1), so that it comes back without another one."""

    @property
    def status(self) -> TaskStatus:
        """I1: the status, derived from the place until the task has ended."""
        if self.place is Place.IN_FLIGHT:
            return TaskStatus.STARTED
        if self.ended is not None:
            return self.ended
        again = isinstance(self.message, Message) and self.message.attempt > 1
        return TaskStatus.RETRY if again else TaskStatus.PENDING

    @property
    def priority_class(self) -> int:
        """The class of its priority (B2)."""
        return 0 if self.message is None else class_of(self.message.priority)

    @property
    def expires(self) -> int:
        """When it expires (L8); 0 for never."""
        return self.message.expires_ms if isinstance(self.message, Message) else 0

    @property
    def forget_at(self) -> int:
        """The time from which neither the id nor the record needs to be known."""
        record = self.record
        return max(self.known_until, record.ended_ms + record.ttl_ms if record else 0)

    def readable(self, now: int) -> Record | None:
        """Return the record if its time to live has not passed (R3)."""
        record = self.record
        return record if record is not None and now < record.ended_ms + record.ttl_ms else None

    def alter(self, **changes: object) -> None:
        """Change header fields of the message. An unreadable entry does not have any, and keeps its bytes (B12)."""
        if isinstance(self.message, Message):
            self.message = evolve(self.message, **changes)

    def remember(self, line: str) -> None:
        """Keep the line of a run that did not end the task (B14); nothing for an empty one."""
        if line and isinstance(self.message, Message):
            self.alter(past=appended(self.message.past, line))

    def charge(self, event: Event) -> None:
        """Change the counters of the message for an event (B11)."""
        if isinstance(self.message, Message):
            self.message = charged(self.message, event)


class Entries(ABC):
    """The entries of one group, as a store keeps them. A store implements this, in a subclass of `LockedGroup`.

    An `Entry` that `find` or `line` returns may be the stored object or a copy: after each change of one, `save` or
    `move` is called. A store that writes the fields of an `Entry` must expect that a later release has more of them.

    `changed` wakes all callers that wait for a change of the store. `ticket` returns a number larger than all before.
    """

    lease: int
    """The group's lease in ms; the store sets it."""
    started_ms = 0
    """See `pyxqueue.clock.started_ms`."""
    paused = False
    """Whether nothing is handed out (L9). A store that offers `Pausing` sets it."""
    asks_all = False
    """Whether each delivery has `must_begin`, because a task name is paused (L9). A store that offers `LimitPausing`
    sets it."""

    def __init__(self, changed: Callable[[], object], ticket: Callable[[], int]) -> None:
        self._changed = changed
        self._ticket = ticket

    @abstractmethod
    def find(self, task_id: str) -> Entry | None:
        """Return the task of an id; None if there is none."""

    @abstractmethod
    def line(self, place: Place) -> Iterable[Entry]:
        """Return the tasks in a place, in their order."""

    @abstractmethod
    def enter(self, entry: Entry) -> None:
        """Make room for a new task: remove what is left of an ended one of the same id. `move`, which is called next,
        saves the entry."""

    @abstractmethod
    def save(self, entry: Entry) -> None:
        """Save the changes of an entry that stays in its place."""

    @abstractmethod
    def move(self, entry: Entry, place: Place, now: int) -> None:
        """Move the entry to the end of `place`, save it, and wake all waiting callers.

        It sets `place`, `updated` to `now`, and, unless the place is in flight, `order` to a new ticket.
        """

    @abstractmethod
    def remove(self, entry: Entry) -> None:
        """Remove the task, and wake all waiting callers."""

    def holding(self, receipt: str) -> Entry | None:
        """Return the entry whose current receipt this is (B4). Its lease may have ended (B3)."""
        entry = self.find(receipt.rpartition("@")[0])
        return entry if entry is not None and entry.place is Place.IN_FLIGHT and entry.receipt == receipt else None

    def ready(self, line: Place, limit: int) -> Mapping[int, Sequence[Entry]]:  # noqa: ARG002 - for others' sake
        """Return the first ready tasks of one of the `READY` places by their priority class, at least `limit` of
        each class that has so many."""
        found: dict[int, list[Entry]] = {}
        for entry in self.line(line):
            found.setdefault(entry.priority_class, []).append(entry)
        return found

    def overdue(self, now: int) -> Iterable[Entry]:
        """Return the tasks whose lease has ended."""
        return [entry for entry in self.line(Place.IN_FLIGHT) if entry.lease_end <= now]

    @abstractmethod
    def maintain(self, limit: int | None, now: int) -> int:
        """Move at most `limit` due entries to `Place.CAME_BACK`, by the time they were due (B8). Returns the ms until
        the next one is due, or -1.

        A store that offers `Beginning` also calls `_end_expired` here, for what waits and has expired (L8). One that
        offers `HasFlows` calls `_doom_unfinished` for what is in `Place.DEPENDENT`, has `absent` predecessors, and was
        to be complete by now (L10)."""

    @abstractmethod
    def heard_of(self, consumer: str, now: int) -> None:
        """Note that the consumer has used the store."""

    @abstractmethod
    def forget_consumer(self, consumer: str) -> None:
        """Forget a consumer that was released. It is not an error if it is not known."""


class LockedGroup(Entries):
    """The laws of one group, which is a separate queue (B9). The caller holds the lock of the store."""

    def knows(self, task_id: str, now: int) -> bool:
        """Return whether the id belongs to a task that has not ended, or ended recently (B1)."""
        entry = self.find(task_id)
        return entry is not None and (entry.place not in (Place.HISTORY, Place.REMEMBERED) or now < entry.known_until)

    def add(self, message: Message, now: int) -> None:
        """Add a new message, and set its times."""
        enqueued = now + self.started_ms
        due = enqueued + message.delay_ms if message.delay_ms > 0 else 0
        stamped = evolve(with_expiry(message, now), enqueued_ms=enqueued, due_ms=due, delay_ms=0, doomed="")
        number = number_of(message.after) if message.flow else 0
        entry = Entry(message.id, stamped, need=number, absent=number, is_counted=number > 0)
        self.insert(entry, due, now)
        for _, successor in self._successors(entry):
            if successor.absent and not _is_parent(successor, message.flow):
                successor.absent -= 1
                successor.complete_by = now + UNFINISHED_MS
            else:  # it was stored before and had ended, so that its id was free
                _count(successor, message.flow, -1, dooms=False)
            self.save(successor)

    def take_foreign(self, entry: Entry, now: int) -> None:
        """Add an entry that another program wrote, unless its id is known (B1)."""
        if not self.knows(entry.id, now):
            self.insert(entry, 0, now)

    def insert(self, entry: Entry, due: int, now: int) -> None:
        """Add an entry with an unknown id."""
        self.enter(entry)
        if entry.need:
            entry.due, entry.complete_by = due, now + UNFINISHED_MS
            self.move(entry, Place.DEPENDENT, now)
        else:
            self._line_up(entry, Place.NEW, due, now)

    def _line_up(self, entry: Entry, line: Place, due: int, now: int) -> None:
        """Make an entry ready in that line, or delayed until `due` (B8)."""
        entry.due = due
        self.move(entry, Place.DELAYED if due > now else line, now)

    def claim(self, consumer: str, limit: int, turn: Turn, now: int) -> tuple[list[Delivery], Turn]:
        """Make reclaimed and due entries ready, then hand out the first ready entries (B2, B3).

        `turn` is what the last claim of the handle returned with its deliveries, `Turn()` at first.
        """
        self.heard_of(consumer, now)
        self.reclaim(now)
        self.maintain(None, now)
        entries, turn = self.first_ready(limit, turn)
        return [self.lend(entry, consumer, now) for entry in entries], turn

    def first_ready(self, limit: int, turn: Turn) -> tuple[list[Entry], Turn]:
        """Return the ready entries that a claim hands out, and the turn after it (B2); none while it is paused (L9)."""
        if self.paused:
            return [], turn
        came_back, new = (self.ready(place, max(0, limit)) for place in READY)
        classes = {number: Lines(came_back.get(number, ()), new.get(number, ())) for number in (*came_back, *new)}
        taken = take_first(classes, limit, turn, lambda entry: entry.order)
        return taken.messages, taken.turn

    def lend(self, entry: Entry, consumer: str, now: int) -> Delivery:
        """Hand out an entry with a new receipt and lease."""
        assert entry.message is not None
        entry.consumer, entry.lease_end = consumer, now + self.lease
        entry.fence = self._ticket()
        entry.receipt = f"{entry.id}@{entry.fence}"
        entry.suspended, entry.event = False, ""
        self.move(entry, Place.IN_FLIGHT, now)
        must_begin = entry.expires > 0 or is_held_until_start(entry.message) or has_rate(entry.message)
        return Delivery(entry.message, entry.receipt, entry.fence, must_begin or self.asks_all, now)

    def begin(self, receipt: str, now: int) -> StartStatus:
        """Return whether the task of the current receipt may start now; end it if it has expired (L8), and let it wait
        if its name is paused (L9) or its rate has no room (L6). A lock that is held until the start is given back
        (L7)."""
        entry = self.holding(receipt)
        if entry is None:
            return StartStatus.LOST
        if too_late(entry.expires, now):
            self._end_expired(entry, now)
            return StartStatus.EXPIRED
        if not self._count_start(entry, now):
            self._put_back(entry, 0, now)
            return StartStatus.LATER
        if is_held_until_start(entry.message):
            self.let_go(entry)
        return StartStatus.RUN

    def _count_start(self, entry: Entry, now: int) -> bool:  # noqa: ARG002 - for a store that has rates
        """Return whether the rates of a task let it start now, and its name is not paused (L9); count that start (L6).
        If not, the task is put back, with `turned_away` set. A store that has rates or such pauses overrides it."""
        return True

    def _end_expired(self, entry: Entry, now: int) -> None:
        """End a task that has expired (L8)."""
        attempt = 1 if entry.message is None else entry.message.attempt
        self._end(entry, Place.HISTORY, expired_record(entry.id, attempt), now)

    def reclaim(self, now: int) -> None:
        """Make entries whose lease has ended ready again, and charge them (B3, B11)."""
        taken = []
        for entry in list(self.overdue(now)):
            attempt = entry.message.attempt if entry.message is not None else 1
            host = self._host_of(entry.consumer, now)
            taken.append((entry.consumer, host, entry.id))
            entry.remember(line_of_silent(attempt, now - entry.updated, now, entry.consumer, host))
            entry.charge(Event.LEASE_END)
            self._put_back(entry, 0, now)
        log_takeovers(taken)

    def _host_of(self, consumer: str, now: int) -> str:  # noqa: ARG002 - for stores to which supervisors announce them
        """Return the name of the host of a consumer; empty if it is not known."""
        return ""

    def remember_runs(self, consumer: str, past: Mapping[str, str]) -> None:
        """Keep the lines of runs of a consumer, by their receipts, which `release` then ends (B14)."""
        for receipt, line in past.items():
            entry = self.holding(receipt)
            if entry is not None and entry.consumer == consumer:
                entry.remember(line)
                self.save(entry)

    def release(self, consumer: str, started: Sequence[str], now: int) -> int:
        """Make all entries of a consumer ready again, and charge those that it was running (B11)."""
        taken = [entry for entry in self.line(Place.IN_FLIGHT) if entry.consumer == consumer]
        for entry in taken:
            entry.charge(Event.RELEASE_STARTED if entry.receipt in started else Event.RELEASE)
            self._put_back(entry, 0, now)
        self.forget_consumer(consumer)
        return len(taken)

    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        """Make a task in flight ready or delayed again. If it was cancelled, end it instead (I3)."""
        if entry.cancelled:
            self._end(entry, Place.HISTORY, self._default_record(entry, TaskStatus.CANCELLED), now)
            return
        entry.progress = None
        due = self._delayed_until(delay, now)
        entry.alter(due_ms=due)
        self._line_up(entry, Place.CAME_BACK, due, now)

    def _is_too_late(self, entry: Entry, delay: int, now: int) -> bool:
        """Return whether the next attempt of a task that was not cancelled would be due after its expiry (L8)."""
        return not entry.cancelled and too_late(entry.expires, self._delayed_until(delay, now) or now)

    def _delayed_until(self, delay: int, now: int) -> int:
        """Return when a delay ends that begins now; 0 without one."""
        return now + self.started_ms + delay if delay > 0 else 0

    def extend(self, extension: Extension, now: int) -> LeaseStatus:
        """Extend the lease and store the progress, for the current receipt only (B6, B10)."""
        entry = self.holding(extension.receipt)
        if entry is None:
            return LeaseStatus.LOST
        entry.lease_end = now + self.lease
        self.heard_of(entry.consumer, now)
        if extension.progress is not None:
            entry.progress = extension.progress
            self._changed()
        self.save(entry)
        return LEASE_STATUSES[entry.cancelled]

    def settle(self, settlement: Settlement, now: int) -> bool:
        """Apply a settlement as a whole, or refuse it (B4, B5)."""
        entry = self.holding(settlement.receipt)
        if entry is None:
            return False
        if not isinstance(settlement.verdict, Suspend):
            self._apply(entry, settlement, now)
        new = []
        for message in settlement.then:
            if not self.knows(message.id, now):
                self.add(message, now)
                new.append(message)
        if isinstance(settlement.verdict, Suspend):
            self._suspend(entry, settlement.verdict, new, now)
        return True

    def _apply(self, entry: Entry, settlement: Settlement, now: int) -> None:
        """Apply a verdict, and store the record of an end (B5)."""
        match settlement.verdict:
            case Fail() if _is_doomed_no_more(entry):
                self._rejoin(entry, now)
            case Retry(delay) if self._is_too_late(entry, delay, now):
                entry.reason = late_reason(settlement.record)
                self._end(
                    entry, Place.FAILED, settlement.record or self._default_record(entry, TaskStatus.FAILURE), now
                )
            case Retry(delay) | Defer(delay) as verdict:
                entry.remember(verdict.past if isinstance(verdict, Retry) else "")
                entry.charge(event_of(verdict))
                entry.was_drawn = entry.was_drawn and not isinstance(verdict, Retry)
                self._put_back(entry, delay, now)
            case Fail(reason):
                entry.reason = reason
                self._end(
                    entry, Place.FAILED, settlement.record or self._default_record(entry, TaskStatus.FAILURE), now
                )
            case verdict:
                self._end(
                    entry, Place.HISTORY, settlement.record or self._default_record(entry, ENDS[type(verdict)]), now
                )

    def _default_record(self, entry: Entry, status: TaskStatus) -> Record:
        """Return the record for an end without one."""
        attempt = 1 if entry.message is None else entry.message.attempt
        return default_record(entry.id, status, reason=entry.reason, attempt=attempt, worker=entry.consumer)

    def _end(self, entry: Entry, place: Place, record: Record, now: int) -> None:
        entry.record = evolve(record, ended_ms=now, progress=record.progress or entry.progress)
        entry.ended = record.status
        entry.progress = None
        entry.known_until = now + max(record.ttl_ms, DEDUPE_MS)
        if place is not Place.FAILED:
            entry.steps = entry.events = NO_STEPS
        self.let_go(entry)
        if place is not Place.FAILED:
            entry.is_counted = False
        self.move(entry, place, now)
        self._fire(entry, now, success=record.status is TaskStatus.SUCCESS, kept=place is Place.FAILED)

    def _successors(self, entry: Entry) -> Iterator[tuple[Edge, Entry]]:
        """Return the edges of a task, with those successors of the same flow whose predecessors are counted (L10)."""
        for edge in edges_of(entry.message):
            successor = self.find(edge.successor)
            flow = _flow_of(entry)
            is_child = successor is not None and edge.on_failure is OnFailure.CONTINUE and _is_parent(successor, flow)
            if successor is not None and flow and (is_child or _is_successor(successor, flow)):
                yield edge, successor

    def _fire(self, entry: Entry, now: int, *, success: bool, kept: bool, was_kept: bool = False) -> None:
        """Fire the edges of a task that ends or is deleted (L11). `kept`, `was_kept`: with the failed tasks, after that
        and before."""
        for edge, successor in self._successors(entry):
            if edge.fires(kept=kept) and not (was_kept and edge.fires(kept=True)):
                dooms = edge.dooms(success=success)
                _count(successor, _flow_of(entry), 1, dooms=dooms)
                if successor.suspended == _is_parent(successor, _flow_of(entry)):
                    self._look_at(successor, entry.id if dooms else "", now)

    def _take_back(self, entry: Entry) -> None:
        """A task that has ended is to run again: its edges have not fired any more (L11)."""
        for edge, successor in self._successors(entry):
            if edge.fires(kept=entry.place is Place.FAILED):
                _count(successor, _flow_of(entry), -1, dooms=edge.dooms(success=entry.ended is TaskStatus.SUCCESS))
                self.save(successor)

    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        """Make a dependent task ready if all its predecessors have ended, or one of them, the `cause`, dooms it."""
        if entry.place is not Place.DEPENDENT or (_left(entry) > 0 and not cause):
            self.save(entry)
            return
        if cause:
            entry.alter(doomed=cause, due_ms=0)
        self._line_up(entry, Place.CAME_BACK, 0 if cause else entry.due, now)

    def _suspend(self, entry: Entry, verdict: Suspend, new: Sequence[Message], now: int) -> None:
        """Let the task of an accepted settlement wait (L14). `new`: those of the follow-ups that were stored."""
        entry.steps = {**entry.steps, **verdict.steps}
        entry.charge(Event.SUSPEND)
        entry.alter(expires_ms=0)
        children = [one for one in new if is_child_of(one, entry.id, verdict.flow)]
        waits = bool(children) or verdict.due_ms > now or (verdict.event != "" and not verdict.due_ms)
        if entry.cancelled or verdict.event in entry.events or not waits:
            self._put_back(entry, 0, now)
            return
        entry.progress, entry.suspended, entry.event = None, True, verdict.event
        entry.children, entry.children_flow = len(children), verdict.flow
        entry.due = verdict.due_ms
        entry.alter(due_ms=entry.due)
        self.move(entry, Place.DELAYED if entry.due else Place.DEPENDENT, now)

    def load_steps(self, task_id: str, now: int) -> Steps:
        """Return what is kept of a task (L14)."""
        entry = self.find(task_id)
        return Steps(now + self.started_ms, *((entry.steps, entry.events) if entry else ()))

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> LeaseStatus:
        """Save steps, for the current receipt only (L14)."""
        entry = self.holding(receipt)
        if entry is None:
            return LeaseStatus.LOST
        entry.steps = {**entry.steps, **steps}
        self.save(entry)
        return LEASE_STATUSES[entry.cancelled]

    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        """Store the first event of its name; if the task waits for it, make it ready (L14)."""
        entry = self.find(task_id)
        if entry is None or entry.place not in UNDER_WAY:
            return EventStatus.REFUSED
        if name in entry.events:
            return EventStatus.EARLIER
        if len(entry.events) >= MAX_EVENTS:
            return EventStatus.FULL
        entry.events = {**entry.events, name: value}
        if entry.suspended and entry.event == name and entry.place in (Place.DELAYED, Place.DEPENDENT):
            entry.alter(due_ms=0)
            self._line_up(entry, Place.CAME_BACK, 0, now)
        else:
            self.save(entry)
        return EventStatus.STORED

    def forget_steps(self, task_id: str) -> None:
        """Delete the steps and events of a failed task (L14)."""
        entry = self.find(task_id)
        if entry is not None and entry.place is Place.FAILED:
            entry.steps = entry.events = NO_STEPS
            self.save(entry)

    def _doom_unfinished(self, entry: Entry, now: int) -> None:
        """Doom a task of which not all predecessors were stored in time (L10)."""
        number = number_of(entry.message.after) if isinstance(entry.message, Message) else 0
        self._look_at(entry, unfinished(number - entry.absent, number), now)

    def forget(self, task_id: str, _now: int) -> None:
        """Delete the record; the task stays, and its id stays known (R4)."""
        entry = self.find(task_id)
        if entry is not None:
            entry.record = None
            self.save(entry)

    def read(self, task_id: str, now: int) -> Record | None:
        entry = self.find(task_id)
        return None if entry is None else entry.readable(now)

    def may_come(self, task_id: str) -> bool:
        """Return whether a record can still appear (R2)."""
        entry = self.find(task_id)
        return entry is not None and entry.place in UNDER_WAY

    def requeue(self, task_id: str, now: int) -> bool:
        """Make an ended task ready again as attempt 1, with fresh counters (I2)."""
        entry = self.find(task_id)
        if entry is None or entry.place not in ENDED or not self.hold_again(entry, 0, now):
            return False
        self._reset(entry)
        self._line_up(entry, Place.CAME_BACK, 0, now)
        return True

    def _reset(self, entry: Entry) -> None:
        """Forget the end of a task, whose edges have not fired any more (L11)."""
        self._take_back(entry)
        entry.record = entry.ended = entry.progress = None
        entry.reason = entry.consumer = ""
        entry.cancelled = 0
        entry.alter(**Counts()._asdict(), due_ms=0, expires_ms=0, doomed="", past="")

    def rejoin(self, task_id: str, now: int) -> bool:
        """Requeue a failed task, which waits for those predecessors that have not ended (L10)."""
        entry = self.find(task_id)
        if entry is None or entry.place is not Place.FAILED or not _may_rejoin(entry):
            return False
        if not self.hold_again(entry, 0, now):
            return False
        self._reset(entry)
        self._rejoin(entry, now)
        return True

    def _rejoin(self, entry: Entry, now: int) -> None:
        """Let a task wait for its predecessors again; it is ready if none is left."""
        entry.alter(doomed="")
        entry.progress, entry.due, entry.complete_by = None, 0, now + UNFINISHED_MS
        entry.was_drawn = False
        if entry.is_counted and entry.need > 0:
            self.move(entry, Place.DEPENDENT, now)
        else:
            self._line_up(entry, Place.CAME_BACK, 0, now)

    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        """End a waiting task at once; for a task in flight, note the request, which `extend` returns (I3)."""
        entry = self.find(task_id)
        if entry is None or entry.place not in UNDER_WAY:
            return False
        entry.cancelled = requests(entry.cancelled, force)
        if entry.place in WAITING:
            entry.consumer = ""
            self._end(entry, Place.HISTORY, self._default_record(entry, TaskStatus.CANCELLED), now)
        else:
            self.save(entry)
        return True

    def delete(self, task_id: str, now: int) -> bool:
        """Delete a task without a trace, unless it is in flight (I5)."""
        entry = self.find(task_id)
        if entry is None or entry.place is Place.IN_FLIGHT:
            return False
        self.let_go(entry)
        if entry.ended is None or entry.place is Place.FAILED:
            self._fire(entry, now, success=False, kept=False, was_kept=entry.place is Place.FAILED)
        self.remove(entry)
        return True

    def adopt(self, task: TaskInfo, now: int) -> bool:
        """Add a task of another store, in the same place (I7)."""
        if self.knows(task.id, now):
            return False
        entry = Entry(task.id, task.message)
        if task.status is TaskStatus.FAILURE:
            self.enter(entry)
            entry.reason = task.reason
            self._end(entry, Place.FAILED, task.record or self._default_record(entry, TaskStatus.FAILURE), now)
        else:
            due = task.message.due_ms if isinstance(task.message, Message) and task.message.due_ms > now else 0
            entry.alter(enqueued_ms=now, due_ms=due)
            self.insert(entry, due, now)
            self.hold_again(entry, due, now)
        return True

    def let_go(self, entry: Entry) -> None:
        """The task has ended, is deleted, or starts with a lock until then: give back the lock (L7). A store without
        locks has nothing to do."""

    def hold_again(self, entry: Entry, due: int, now: int) -> bool:  # noqa: ARG002 - for stores with locks
        """Take the lock of a task that is requeued or adopted and due at `due`, or return False if another task holds
        it (L7)."""
        return True

    def show(self, task_id: str, now: int) -> TaskInfo | None:
        entry = self.find(task_id)
        if entry is None or (entry.place is Place.REMEMBERED and entry.readable(now) is None):
            return None
        return self.info(entry, now)

    def info(self, entry: Entry, now: int) -> TaskInfo:
        record = entry.readable(now)
        in_flight = entry.place is Place.IN_FLIGHT
        return TaskInfo(
            id=entry.id,
            status=entry.status,
            message=entry.message,
            worker=entry.consumer if in_flight else record.worker if record else "",
            record=record,
            progress=record.progress if record else entry.progress,
            updated_ms=entry.updated,
            reason=entry.reason,
            started_ms=entry.updated if in_flight else 0,
            gate=entry.gate,
            line=self._number_in_line(entry),
            waits_for=_left(entry) if entry.place is Place.DEPENDENT else 0,
            suspended=entry.suspended and entry.place in (Place.DELAYED, Place.DEPENDENT),
            event=entry.event if entry.place in (Place.DELAYED, Place.DEPENDENT) else "",
        )

    def _number_in_line(self, entry: Entry) -> int:  # noqa: ARG002 - for stores with fair lines
        """Return the number of a task in its fair line; 0 if it is in none."""
        return 0


def _flow_of(entry: Entry) -> str:
    return entry.message.flow if isinstance(entry.message, Message) else ""


def _is_successor(entry: Entry, flow: str) -> bool:
    """Return whether the edges of a flow count for a task as part of that flow."""
    return entry.is_counted and _flow_of(entry) == flow


def _is_parent(entry: Entry, flow: str) -> bool:
    """Return whether a task is suspended until its children have ended, which are part of that flow (L14)."""
    return entry.suspended and entry.place is Place.DEPENDENT and entry.children_flow == flow


def _left(entry: Entry) -> int:
    """Return for how many others a dependent task waits."""
    return entry.children if entry.suspended else entry.need


def _count(entry: Entry, flow: str, change: int, *, dooms: bool) -> None:
    """Count for a task that an edge of a flow has fired, or, with -1, that it was taken back."""
    if _is_parent(entry, flow):
        entry.children -= change
    else:
        entry.need -= change
        entry.bad += change * dooms


def _may_rejoin(entry: Entry) -> bool:
    """Return whether no predecessor of a task dooms it (any more)."""
    doomed = entry.message.doomed if isinstance(entry.message, Message) else ""
    return not is_unfinished(doomed) and not (entry.is_counted and entry.bad > 0)


def _is_doomed_no_more(entry: Entry) -> bool:
    """Return whether a task that its holder lets fail was doomed by one that was retried meanwhile (L10)."""
    is_doomed = isinstance(entry.message, Message) and entry.message.doomed != ""
    return is_doomed and entry.is_counted and not entry.cancelled and _may_rejoin(entry)
