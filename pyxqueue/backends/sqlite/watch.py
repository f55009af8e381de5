"""Waiting for what the tasks of a file become: look, sleep until the file's `Poller` sees a change, look again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ...clock import deadline_after, is_over, seconds_left
from ...waking import Bell
from .polling import Poller, Seen, Waiter, poller_of
from .queue import Queue

T = TypeVar("T")
Looked = tuple[T, bool, Seen]
"""What a look has found, whether that is final, and the traces of the tasks whose change to wait for."""


class Wait(Generic[T]):
    """One wait. Its driver, `wait` or the one of `aio`, calls `look` until it returns True, and sleeps in between.

    `wake` is called, from any thread, when it is time for another look.
    """

    found: T

    def __init__(
        self,
        queue: Queue,
        look: Callable[[], Looked[T]],
        timeout_ms: int | None,
        wake: Callable[[], object],
        *,
        ends_only: bool,
    ) -> None:
        self._look = look
        self._deadline = deadline_after(timeout_ms)
        self._waiter = Waiter(queue, wake, ends_only)
        self._poller: Poller | None = None
        self._seen: Seen = {}

    def look(self) -> bool:
        """Look once. Returns True if what was `found` is final, or the timeout is over."""
        self._waiter.check()
        self.found, final, self._seen = self._look()
        return final or is_over(self._deadline)

    def arm(self) -> float | None:
        """Ask for `wake` when a task is different from the last look. Returns how many seconds to sleep at most."""
        self._poller = poller_of(self._waiter.queue.store.location.path)
        self._poller.arm(self._waiter, self._seen)
        return seconds_left(self._deadline)

    def __enter__(self) -> Wait[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._poller is not None:
            self._poller.disarm(self._waiter)


def wait(queue: Queue, look: Callable[[], Looked[T]], timeout_ms: int | None, *, ends_only: bool) -> T:
    """Wait in this thread."""
    bell = Bell()
    with Wait(queue, look, timeout_ms, bell.ring, ends_only=ends_only) as waiting:
        while not waiting.look():
            bell.wait(waiting.arm())
        return waiting.found
