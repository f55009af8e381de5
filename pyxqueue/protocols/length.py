"""A bound on the length of a queue: an optional protocol of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ..model.locks import LockTerms, Placed
    from ..model.message import Message


class TakenIn(NamedTuple):
    """What `enqueue_within` returns."""

    placed: Sequence[Placed]
    """What was done with each message, up to the first that had no room."""
    length: int = 0
    """If one had no room: how many tasks had not ended in the group where they are most. A store need not count further
    than to the bound."""


@runtime_checkable
class HasMaxLength(Protocol):
    """A backend that can refuse a message because the queue is long.

    The *length* of a group is the number of its tasks that have not ended: ready, delayed, blocked, dependent and in
    flight. A task that has expired counts until the store has ended it.

    * **B15 Never longer.** `enqueue_within` stores a message only while the length of every registered group is less
      than `max_length`. It looks and stores in one step: whatever else is enqueued at the same time, it never makes a
      group longer than that.

      - The first message without room ends the call. It and those after it change nothing; those before it were placed.
      - A message of which no task is stored needs no room: its id is known (B1), its lock is held, or it replaces that
        of a debounced task (L7).
      - For all else it does the same as `enqueue_unique`, and for a message without a lock the same as `enqueue`.
      - No other operation looks at the length: `enqueue`, follow-ups, Retry, Defer, Suspend, a release, `requeue`,
        `adopt` and schedules may make a group longer. Nothing that was accepted is removed because of it (B7).
    """

    def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn:
        """Accept new messages as long as there is room."""
        ...


@runtime_checkable
class AsyncHasMaxLength(Protocol):
    """An `AsyncProducer` with an operation of its own; for any other, it runs in a thread."""

    async def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn: ...
