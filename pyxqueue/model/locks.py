"""Locks: what makes tasks unique. A lock is a text in the header of a message: a kind, and a name.

The name is a digest that the producer makes of the task and of what it compares. A store keeps the name of each lock
with the id of the task that holds it, its *holder*.
"""

from __future__ import annotations

import enum
import hashlib
import re
from typing import NamedTuple

from msgspec import Struct

from .message import Message

_LOCK = re.compile(r"[fsdw][0-9a-f]{32}")


class LockKind(enum.Enum):
    """When a holder gives a lock back. Locks of the first two kinds share their names."""

    FINISHED = "f"
    """When it has ended."""
    STARTED = "s"
    """When a worker starts it for the first time, or it has ended."""
    DEBOUNCE = "d"
    """When it is due, or has ended."""
    WINDOW = "w"
    """Never: the lock ends by time alone."""

    @property
    def lasts(self) -> bool:
        """True for a lock that does not end by time."""
        return self in (LockKind.FINISHED, LockKind.STARTED)


_STARTED = LockKind.STARTED.value


class Lock(NamedTuple):
    """A lock as a store reads it."""

    kind: LockKind
    name: str


def lock_of(message: object) -> Lock | None:
    """Return the lock of a message; None if it does not have a lock, or another program has written something else."""
    text = message.lock if isinstance(message, Message) else ""
    return Lock(LockKind(text[0]), text[1:]) if text and _LOCK.fullmatch(text) else None


def is_held_until_start(message: object) -> bool:
    """Return whether a message has a lock that is given back when a worker starts its task."""
    return isinstance(message, Message) and message.lock.startswith(_STARTED)


def lock_text(kind: LockKind, content: bytes) -> str:
    """Return the lock of a kind on what `content` stands for."""
    family = b"unique" if kind.lasts else kind.name.lower().encode()
    return kind.value + hashlib.blake2b(content, digest_size=16, person=family).hexdigest()


class LockTerms(Struct, frozen=True):
    """How long a lock lasts if it ends by time, and what a call does if the lock is held."""

    window_ms: int = 0
    """How long a lock of the kind WINDOW lasts."""
    max_wait_ms: int = 0
    """How long after its first call a debounced task is due at the latest; 0 is no limit."""
    keep_first: bool = False
    """True if a debounced task keeps its first message, and a further call only moves when it is due."""

    def due(self, first_ms: int, due_ms: int) -> int:
        """Return when a debounced task is due, if its first call was at `first_ms` and a further call delays it to
        `due_ms`."""
        return min(due_ms, first_ms + self.max_wait_ms) if self.max_wait_ms else due_ms


class Placement(enum.IntEnum):
    """What `enqueue_unique` did with a message."""

    KNOWN = 0
    """Nothing: its id is known (B1)."""
    NEW = 1
    """The task is stored, and holds the lock."""
    HELD = 2
    """Nothing, since another task holds the lock. With `LockTerms.keep_first`, that task is due later."""
    REPLACED = 3
    """The task of this id, which holds the lock and is not due yet, has the new message, and is due later."""


class Placed(NamedTuple):
    """What `enqueue_unique` returns for a message."""

    placement: Placement
    id: str
    """The id of the task that stands for the message: its own, or that of the holder of its lock."""
