"""A clock that stands still until somebody moves it: for tests, and for eager mode."""

from __future__ import annotations

from collections.abc import Callable


class FakeClock:
    """A clock that stands still until `advance` moves it; calling it answers its now in ms.

    What waits for the time to pass is told by `subscribe`: ``clock.subscribe(store.poke)``.
    """

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now
        self._listeners: list[Callable[[], None]] = []

    def __call__(self) -> int:
        return self._now

    def advance(self, ms: int) -> None:
        """Move on by `ms` milliseconds, then call every listener in this thread."""
        self._now += ms
        for listener in self._listeners:
            listener()

    def subscribe(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)
