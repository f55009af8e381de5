"""One task of one group, as its file has it."""

from __future__ import annotations

from enum import StrEnum

import msgspec
from attrs import define, evolve

from pyxqueue.message import Message, Progress, Record, TaskInfo, TaskStatus, Unreadable
from pyxqueue.transitions import Event, charged


class Place(StrEnum):
    """Where a task stands; each is a folder."""

    READY = "ready"
    HELD = "held"
    DELAYED = "delayed"
    FAILED = "failed"
    FINISHED = "finished"
    PAST = "past"
    """The message is gone; its id, and its record while that lasts, are still known."""


_pack = msgspec.msgpack.encode

UNDER_WAY = (Place.READY, Place.DELAYED, Place.HELD)


@define(eq=False)
class Entry:
    """A task. Its message is one of `message` and `unreadable`."""

    id: str
    message: Message | None = None
    unreadable: Unreadable | None = None
    place: Place = Place.PAST
    stands: str = ""
    """The file that stands for it in its place's folder."""
    order: int = 0
    """Grows with every new place; being lent out is not one."""
    updated: int = 0
    due: int = 0
    consumer: str = ""
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

    @classmethod
    def of(cls, message: Message | Unreadable) -> Entry:
        if isinstance(message, Message):
            return cls(message.id, message)
        return cls(message.id, unreadable=message)

    @classmethod
    def unpack(cls, data: bytes) -> Entry:
        return _DECODER.decode(data)

    def pack(self) -> bytes:
        """What `unpack` reads."""
        return _pack(self)

    @property
    def content(self) -> Message | Unreadable | None:
        return self.message or self.unreadable

    @property
    def receipt(self) -> str:
        return f"{self.id}@{self.fence}"

    @property
    def turn(self) -> int:
        """What decides when its turn comes, in the place where it is: a time, or its order."""
        match self.place:
            case Place.HELD:
                return self.lease_end
            case Place.DELAYED:
                return self.due
            case Place.PAST:
                return max(self.known_until, self.record.ended_ms + self.record.ttl_ms if self.record else 0)
            case _:
                return self.order

    @property
    def status(self) -> TaskStatus:
        """I1: derived, never stored while the task is under way."""
        if self.place is Place.HELD:
            return TaskStatus.STARTED
        if self.ended is not None:
            return self.ended
        return TaskStatus.RETRY if self.message is not None and self.message.attempt > 1 else TaskStatus.PENDING

    def readable(self, now: int) -> Record | None:
        """R3: the record, for as long as it can be read."""
        record = self.record
        return record if record is not None and now < record.ended_ms + record.ttl_ms else None

    def alter(self, **changes: object) -> None:
        """Change header fields of the message; an unreadable one has none, and keeps its bytes (B12)."""
        if self.message is not None:
            self.message = evolve(self.message, **changes)  # type: ignore[arg-type]

    def charge(self, event: Event) -> None:
        """B11."""
        if self.message is not None:
            self.message = charged(self.message, event)

    def info(self, now: int) -> TaskInfo:
        record, held = self.readable(now), self.place is Place.HELD
        return TaskInfo(
            id=self.id,
            status=self.status,
            message=self.content,
            worker=self.consumer if held else record.worker if record else "",
            record=record,
            progress=record.progress if record else self.progress,
            updated_ms=self.updated,
            reason=self.reason,
        )


_DECODER = msgspec.msgpack.Decoder(Entry)
