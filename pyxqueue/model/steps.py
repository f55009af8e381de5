"""Steps: what a task has done so far, kept by the store, so that a later run of it goes on from there.

A step has a name, which a task uses once in a run, and a value. To a store the value is bytes; `StepValue` says what is
in them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct

from ..errors import SerializationError
from ..printable import quoted
from .message import NO_STEPS

MAX_STEPS = 256
"""The most steps of one task."""
MAX_VALUE = 1 << 16
"""The largest value of a step or an event, in bytes."""
MAX_SIZE = 1 << 20
"""The most bytes that the names and values of all steps of a task may have."""
MAX_EVENTS = 256
"""The most events that are kept for one task."""
MAX_NAME = 200
"""The longest name of a step or an event, in characters."""


class Steps(Struct, frozen=True):
    """What the store keeps of one task."""

    now_ms: int
    """The time of the store's clock, rounded up."""
    steps: Mapping[str, bytes] = NO_STEPS
    events: Mapping[str, bytes] = NO_STEPS


class EventStatus(enum.Enum):
    """What happened to an event. It is true unless the event was refused."""

    STORED = "stored"
    """It is the first of its name, and the one that the task gets."""
    EARLIER = "earlier"
    """There is an earlier one of its name, which is the one that counts."""
    REFUSED = "refused"
    """The task has ended, or the store does not know it."""
    FULL = "full"
    """Too many events of other names are kept for the task."""

    def __bool__(self) -> bool:
        return self in {EventStatus.STORED, EventStatus.EARLIER}


class StepValue(Struct, frozen=True):
    """The value of a step or an event: a line with the serializer and the seal, then the serialized value."""

    value: bytes
    serializer: str = "json"
    seal: str = ""

    def to_bytes(self) -> bytes:
        return f"{self.serializer} {self.seal}\n".encode() + self.value

    @classmethod
    def from_bytes(cls, data: bytes) -> StepValue:
        """Read what `to_bytes` has written. Raises `SerializationError`."""
        line, found, value = data.partition(b"\n")
        try:
            serializer, seal = line.decode().split(" ")
        except ValueError as error:
            raise SerializationError(f"the value of a step cannot be read: {quoted(data[:100])}") from error
        if not found:
            raise SerializationError(f"the value of a step cannot be read: {quoted(data[:100])}")
        return cls(value, serializer, seal)
