"""One task of one group, and where it can stand."""

from __future__ import annotations

import enum

from attrs import define, evolve

from ...message import Message, Progress, Record, TaskStatus, Unreadable
from ...transitions import Event, charged


class Place(enum.Enum):
    """Where an entry stands."""

    READY = enum.auto()
    HELD = enum.auto()
    DELAYED = enum.auto()
    FAILED = enum.auto()
    FINISHED = enum.auto()
    PAST = enum.auto()
    """The message is gone; its id, and its record while that lasts, are still known."""


WAITING = (Place.READY, Place.DELAYED)
UNDER_WAY = (Place.READY, Place.DELAYED, Place.HELD)
ENDED = (Place.FAILED, Place.FINISHED)


@define(eq=False)
class Entry:
    """One task of one group."""

    id: str
    message: Message | Unreadable | None
    place: Place = Place.PAST
    order: int = 0
    """Grows with every new place; being lent out is not one."""
    updated: int = 0
    due: int = 0
    consumer: str = ""
    receipt: str = ""
    fence: int = 0
    lease_end: int = 0
    cancelled: int = 0
    """The requests to cancel it, as `pyxqueue.transitions` counts them. With any it never runs again."""
    progress: Progress | None = None
    record: Record | None = None
    ended: TaskStatus | None = None
    """How it ended; outlives the record."""
    reason: str = ""
    known_until: int = 0

    @property
    def status(self) -> TaskStatus:
        """I1: derived, never stored while the task is under way."""
        if self.place is Place.HELD:
            return TaskStatus.STARTED
        if self.ended is not None:
            return self.ended
        again = isinstance(self.message, Message) and self.message.attempt > 1
        return TaskStatus.RETRY if again else TaskStatus.PENDING

    @property
    def forget_at(self) -> int:
        """When neither the id nor the record needs to be known any longer."""
        record = self.record
        return max(self.known_until, record.ended_ms + record.ttl_ms if record else 0)

    def readable(self, now: int) -> Record | None:
        """R3: the record, for as long as it can be read."""
        record = self.record
        return record if record is not None and now < record.ended_ms + record.ttl_ms else None

    def alter(self, **changes: object) -> None:
        """Change header fields of the message; an unreadable entry has none, and keeps its bytes (B12)."""
        if isinstance(self.message, Message):
            self.message = evolve(self.message, **changes)  # type: ignore[arg-type]

    def charge(self, event: Event) -> None:
        """B11."""
        if isinstance(self.message, Message):
            self.message = charged(self.message, event)
