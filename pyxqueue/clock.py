"""Time: the clock of a store, deadlines of waits, and a clock for tests and eager mode that moves only when told to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float | timedelta
"""A duration in the public API: a number of seconds, or a `timedelta`."""


def wall_clock() -> int:
    """Return the milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def started_ms(clock: Callable[[], int]) -> int:
    """Return 1 for the wall clock, 0 for a clock that stands still.

    When the wall clock is read, a part of its millisecond has passed. A delay counts from the end of that millisecond,
    or the message would be due early.
    """
    return 1 if clock is wall_clock else 0


def milliseconds(seconds: float) -> int:
    """Return seconds as whole milliseconds, rounded up, so that a pause is never too short."""
    return math.ceil(round(seconds * 1000, 6))


def in_seconds(given: Seconds) -> float:
    """Return a `timedelta` as seconds, and any other value unchanged, to be checked later."""
    return given.total_seconds() if isinstance(given, timedelta) else given


def optional_seconds(given: Seconds | None) -> float | None:
    """Return `in_seconds(given)`, or None for None."""
    return None if given is None else in_seconds(given)


def deadline_after(timeout: int | None) -> float | None:
    """Return the time of `time.monotonic` at which `timeout` ms have passed; None for never. Callers wait in real time,
    whatever the store's clock does."""
    return None if timeout is None else time.monotonic() + timeout / 1000


def seconds_left(deadline: float | None) -> float | None:
    """Return the seconds until the deadline, at least 0; None without a deadline."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


class FakeClock:
    """A clock that stands still until `advance` moves it. Calling it returns its time in ms.

    A store whose callers wait for time to pass subscribes: ``clock.subscribe(store.poke)``.
    """

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now
        self._listeners: list[Callable[[], None]] = []

    def __call__(self) -> int:
        return self._now

    def advance(self, ms: int) -> None:
        """Move the clock by `ms` milliseconds, then call each listener in this thread."""
        self._now += ms
        for listener in self._listeners:
            listener()

    def subscribe(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)
