"""What an event does to a task, as tables: the charges of law B11, the ends of B5, the requests of I3.

The functions here have no side effects: a store reads a task, looks up in these tables what the event makes of it, and
writes the result. The memory and SQLite backends and the example backend use them. The Lua scripts of Redis repeat the
same rules, and the conformance kit compares every store with these tables.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from .message import (
    Cancelled,
    Defer,
    Done,
    Fail,
    Failure,
    LeaseStatus,
    Message,
    Record,
    Retry,
    Suspend,
    TaskStatus,
    Verdict,
    evolve,
)


class Event(enum.Enum):
    """Why a task that was in flight becomes ready or delayed again."""

    RETRY = "Retry"
    DEFER = "Defer without a delay"
    DEFER_LATER = "Defer with a delay"
    SUSPEND = "Suspend"
    RELEASE_STARTED = "release, the consumer was running it"
    RELEASE = "release, the consumer was not running it"
    LEASE_END = "reclaimed, redelivered was False"
    LEASE_END_AGAIN = "reclaimed, redelivered was True"


class Counts(NamedTuple):
    """The counters in the header of a message. The defaults are those of a new or requeued message."""

    attempt: int = 1
    crashes: int = 0
    deferrals: int = 0
    redelivered: bool = False


class Charge(NamedTuple):
    """What an event adds to the counters, and the value of `redelivered` after it; None leaves it unchanged."""

    attempt: int
    crashes: int
    deferrals: int
    redelivered: bool | None


CHARGES: Mapping[Event, Charge] = {
    #                       attempt, crashes, deferrals, redelivered
    Event.RETRY:            Charge(+1, 0, 0, False),
    Event.DEFER:            Charge(0, 0, 0, None),
    Event.DEFER_LATER:      Charge(0, 0, +1, None),
    Event.SUSPEND:          Charge(0, 0, 0, False),
    Event.RELEASE_STARTED:  Charge(0, +1, 0, True),
    Event.RELEASE:          Charge(0, 0, 0, None),
    Event.LEASE_END:        Charge(0, 0, 0, True),
    Event.LEASE_END_AGAIN:  Charge(0, +1, 0, True),
}  # fmt: skip
"""The table of law B11, without the events that change no counter, and without requeue (the defaults of `Counts`)."""


def after(counts: Counts, event: Event) -> Counts:
    """Return the counters after the event. `LEASE_END` counts as `LEASE_END_AGAIN` if the task is redelivered."""
    if event is Event.LEASE_END and counts.redelivered:
        event = Event.LEASE_END_AGAIN
    charge = CHARGES[event]
    return Counts(
        counts.attempt + charge.attempt,
        counts.crashes + charge.crashes,
        counts.deferrals + charge.deferrals,
        counts.redelivered if charge.redelivered is None else charge.redelivered,
    )


def counts_of(message: Message) -> Counts:
    return Counts(message.attempt, message.crashes, message.deferrals, message.redelivered)


def charged(message: Message, event: Event) -> Message:
    """Return the message with its counters after the event."""
    return evolve(message, **after(counts_of(message), event)._asdict())


def event_of(verdict: Retry | Defer | Suspend) -> Event:
    if isinstance(verdict, Retry):
        return Event.RETRY
    if isinstance(verdict, Suspend):
        return Event.SUSPEND
    return Event.DEFER_LATER if verdict.delay_ms > 0 else Event.DEFER


ENDS: Mapping[type[Verdict], TaskStatus] = {
    Done: TaskStatus.SUCCESS,
    Cancelled: TaskStatus.CANCELLED,
    Fail: TaskStatus.FAILURE,
}
"""B5: the status of a task after a verdict that ends it, unless its record says otherwise. After any other verdict the
task is ready or delayed again."""


def default_record(task_id: str, status: TaskStatus, *, reason: str = "", attempt: int = 1, worker: str = "") -> Record:
    """Return the record that the store creates for an ending settlement without one (B5)."""
    error = Failure("Failed", reason) if status is TaskStatus.FAILURE else None
    return Record(task_id, status, error=error, attempt=attempt, worker=worker)


EXPIRED = Failure("Expired", "the task had not started when it expired")


def expired_record(task_id: str, attempt: int = 1) -> Record:
    """Return the record of a task that expired before it started (L8)."""
    return Record(task_id, TaskStatus.CANCELLED, error=EXPIRED, attempt=attempt)


def with_expiry(message: Message, now: int) -> Message:
    """Return a message that is enqueued at `now`, whose lifetime counts from then on (L8)."""
    if message.lifetime_ms <= 0:
        return message
    return evolve(message, expires_ms=now + message.lifetime_ms, lifetime_ms=0)


def too_late(expires_ms: int, due_ms: int) -> bool:
    """Return whether a message that expires at `expires_ms`, 0 for never, may not start at `due_ms` (L8)."""
    return 0 < expires_ms <= due_ms


def late_reason(record: Record | None) -> str:
    """Return the reason why a task failed that would be retried after its expiry: the error of its run."""
    error = None if record is None else record.error
    return f"{error.type}: {error.message}" if error else "it expires before its next attempt"


LEASE_STATUSES = (LeaseStatus.HELD, LeaseStatus.CANCEL, LeaseStatus.CANCEL_AGAIN, LeaseStatus.KILL)
"""I3: what `extend` returns to the holder, by the number of requests to cancel the task."""
FORCED = 3
"""The number of requests that stands for a cancellation with `force`."""


def requests(before: int, force: bool) -> int:
    """Return the number of requests to cancel a task after one more (I3). The number never falls."""
    return FORCED if force else max(before, min(FORCED - 1, before + 1))
