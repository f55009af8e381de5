"""Where tasks are, and pages of the tasks of one place."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from msgspec import Struct

from .message import Message, TaskInfo, Unreadable, evolve


class Place(enum.StrEnum):
    """Where a task is: in exactly one place of its group."""

    READY = "ready"
    IN_FLIGHT = "in_flight"
    DELAYED = "delayed"
    BLOCKED = "blocked"
    DEPENDENT = "dependent"
    FAILED = "failed"
    HISTORY = "history"


class Listed(Struct, frozen=True):
    """A task in a list. Of large values, it has only the beginning."""

    info: TaskInfo
    """Its message and its record, with the first bytes of the arguments and of the result."""
    body_bytes: int
    """How many bytes the arguments have; for a message that cannot be read, all its fields together."""
    value_bytes: int
    """How many bytes the result has; 0 if there is none."""

    @property
    def is_whole(self) -> bool:
        """Whether `info` has all bytes of the arguments."""
        message = self.info.message
        return not isinstance(message, Message) or len(message.body) == self.body_bytes


class PlacePage(Struct, frozen=True):
    """Some tasks of one place, in its order."""

    tasks: Sequence[Listed]
    next: str
    """The cursor of the page behind this one; empty if there is none."""


def listed(info: TaskInfo, peek: int) -> Listed:
    """Return a task for a list, with at most `peek` bytes of its arguments and of its result."""
    message, record, body, value = info.message, info.record, 0, 0
    if isinstance(message, Message):
        body = len(message.body)
        message = evolve(message, body=message.body[:peek]) if body > peek else message
    elif isinstance(message, Unreadable):
        body = sum(len(name) + len(one) for name, one in message.fields.items())
        message = cut_fields(message, peek)
    if record is not None and (value := len(record.value)) > peek:
        record = evolve(record, value=record.value[:peek])
    return Listed(evolve(info, message=message, record=record), body, value)


def cut_fields(message: Unreadable, peek: int) -> Unreadable:
    """Return a message that cannot be read with at most `peek` bytes of each name and value."""
    return evolve(message, fields={name[:peek]: value[:peek] for name, value in message.fields.items()})
