"""Time: the clock of a store, deadlines of those who wait, and a clock that stands still for tests and eager mode."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta
"""A length of time as people give it: a number of seconds, or a `timedelta`."""


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def started_ms(clock: Callable[[], int]) -> int:
    """1 for the wall clock, whose millisecond has begun already when it is read: what counts from then on is counted
    from its end, or it would come early. 0 for a clock that stands still."""
    return 1 if clock is wall_clock else 0


def milliseconds(seconds: float) -> int:
    """Seconds as whole milliseconds, rounded up: a pause is never shorter than asked for."""
    return math.ceil(round(seconds * 1000, 6))


def in_seconds(given: Seconds) -> float:
    """A `timedelta` in seconds; anything else as it is, for a check that comes next."""
    return given.total_seconds() if isinstance(given, timedelta) else given


def optional_seconds(given: Seconds | None) -> float | None:
    """The same, where None is allowed."""
    return None if given is None else in_seconds(given)


def deadline_after(timeout: int | None) -> float | None:
    """When `timeout` ms are over, by `time.monotonic`; None for never. Callers wait in real time, whatever the store's
    clock does."""
    return None if timeout is None else time.monotonic() + timeout / 1000


def seconds_left(deadline: float | None) -> float | None:
    """Seconds until then, not below 0; None for as long as it takes."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


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
