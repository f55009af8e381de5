"""What an event does to a task, as tables: the charges of law B11, the ends of B5, the requests of I3.

Everything here is pure: a store reads its task, asks these tables what the task is after the event, and writes that.
The memory and SQLite backends and the example of a third-party backend do so. The Lua scripts of Redis have the
same rules once more, and the conformance kit compares every store with these tables.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from attrs import evolve

from .message import Cancelled, Defer, Done, Fail, Failure, LeaseStatus, Message, Record, Retry, TaskStatus, Verdict


class Event(enum.Enum):
    """Why a task that was in flight waits again."""

    RETRY = "Retry"
    DEFER = "Defer without a delay"
    DEFER_LATER = "Defer with a delay"
    RELEASE_STARTED = "release, the consumer was running it"
    RELEASE = "release, the consumer was not running it"
    LEASE_END = "lease ended, redelivered was False"
    LEASE_END_AGAIN = "lease ended, redelivered was True"


class Counts(NamedTuple):
    """What the header of a message counts; a new message, and one that was requeued, has these."""

    attempt: int = 1
    crashes: int = 0
    deferrals: int = 0
    redelivered: bool = False


class Charge(NamedTuple):
    """What an event adds to the counts, and what `redelivered` is after it; None leaves it as it is."""

    attempt: int
    crashes: int
    deferrals: int
    redelivered: bool | None


CHARGES: Mapping[Event, Charge] = {
    #                       attempt, crashes, deferrals, redelivered
    Event.RETRY:            Charge(+1, 0, 0, False),
    Event.DEFER:            Charge(0, 0, 0, None),
    Event.DEFER_LATER:      Charge(0, 0, +1, None),
    Event.RELEASE_STARTED:  Charge(0, +1, 0, True),
    Event.RELEASE:          Charge(0, 0, 0, None),
    Event.LEASE_END:        Charge(0, 0, 0, True),
    Event.LEASE_END_AGAIN:  Charge(0, +1, 0, True),
}  # fmt: skip
"""B11."""


def after(counts: Counts, event: Event) -> Counts:
    """The counts after the event. `LEASE_END` of a task that was redelivered before is `LEASE_END_AGAIN`."""
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
    """The message as it waits after the event."""
    return evolve(message, **after(counts_of(message), event)._asdict())


def event_of(verdict: Retry | Defer) -> Event:
    if isinstance(verdict, Retry):
        return Event.RETRY
    return Event.DEFER_LATER if verdict.delay_ms > 0 else Event.DEFER


ENDS: Mapping[type[Verdict], TaskStatus] = {
    Done: TaskStatus.SUCCESS,
    Cancelled: TaskStatus.CANCELLED,
    Fail: TaskStatus.FAILURE,
}
"""B5: how a task has ended after a verdict, where no record says otherwise. After any other verdict it waits again."""


def default_record(task_id: str, status: TaskStatus, *, reason: str = "", attempt: int = 1, worker: str = "") -> Record:
    """B5: the record of an end that came without one."""
    error = Failure("Failed", reason) if status is TaskStatus.FAILURE else None
    return Record(task_id, status, error=error, attempt=attempt, worker=worker)


LEASE_STATUSES = (LeaseStatus.HELD, LeaseStatus.CANCEL, LeaseStatus.CANCEL_AGAIN, LeaseStatus.KILL)
"""I3: what the holder of a task learns, by the requests to cancel it."""
FORCED = 3
"""The requests to cancel a task, once one of them was with `force`."""


def requests(before: int, force: bool) -> int:
    """I3: how a task counts its requests to be cancelled, after one more; they never become fewer."""
    return FORCED if force else max(before, min(FORCED - 1, before + 1))
