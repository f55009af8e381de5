"""Locks, which make tasks unique: an optional protocol of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ..model.locks import LockTerms, Placed
    from ..model.message import Message


@runtime_checkable
class HasLocks(Protocol):
    """A backend that keeps locks. `pyxqueue.model.locks` has the kinds of locks.

    * **L7 One holder of a lock.** While a task holds a lock, no other task with that lock is accepted.

      - `enqueue_unique` looks for the id first (B1), then for the lock. It stores the task and takes the lock in one
        step. If the lock is held, it stores nothing, and returns the id of the holder, which `show` shows.
      - With several groups, the lock must be free in all of them, or the message goes into none. Each group keeps its
        own locks after that (B9).
      - A task of the kind FINISHED or STARTED holds its lock until the step in which it ends (Done, Fail, Cancelled, a
        cancellation) or is deleted. Retry, Defer, a release, the end of a lease or of a delay change nothing.
      - A task of the kind STARTED gives its lock back earlier, when a worker starts it. Each delivery of it has
        `must_begin`, and the step in which `begin` (`Beginning`) returns RUN gives it back.
      - A lock of the kind DEBOUNCE is held until its task is due by the store's clock, whether `maintain` was called
        since or not; it is given back earlier in the step in which the task ends or is deleted.
      - A lock of the kind WINDOW is held for `LockTerms.window_ms`, whatever becomes of its task.
      - Only the holder gives back a lock. What happens to any other task with the same lock, or is refused (B4),
        changes no lock.
      - `requeue` takes the lock of the kind FINISHED or STARTED again, and returns False if another task holds it.
        `adopt` takes any but that of a window if it is free, and adopts the task in any case.
      - A message that comes by `enqueue` or as a follow-up takes no lock.
      - Calls with the same lock of the kind DEBOUNCE become one task. `enqueue_unique` of a message that has the id of
        the holder replaces the whole message but `enqueued_ms`; with `LockTerms.keep_first` the message stays, and a
        call under any id moves the due time. The task is due after the delay of the last call, but not later than
        `LockTerms.due` says. A call at or after that time takes the lock, and begins another task.
    """

    def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]:
        """`enqueue` messages that have a lock each."""
        ...

    def lock_holders(self, names: Sequence[str]) -> Sequence[str]:
        """Return the id of the task that holds each lock in this group; an empty text for one that is free."""
        ...


@runtime_checkable
class AsyncHasLocks(Protocol):
    """An `AsyncProducer` with an operation of its own; for any other, it runs in a thread."""

    async def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]: ...
