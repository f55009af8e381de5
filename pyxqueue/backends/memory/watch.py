"""The waiting loop of all calls that wait."""

from __future__ import annotations

from collections.abc import Callable
from threading import TIMEOUT_MAX, Condition
from typing import TypeVar

from ...clock import deadline_after, seconds_left

T = TypeVar("T")


def wait(
    changed: Condition,
    look: Callable[[], tuple[T, bool]],
    timeout_ms: int | None,
    next_event: Callable[[], int | None] = lambda: None,
) -> T:
    """Look until what is found is final, or the timeout is over; sleep until the store changes.

    `next_event` returns the ms after which to look again although nothing has changed.
    """
    deadline = deadline_after(timeout_ms)
    with changed:
        while True:
            found, final = look()
            left = seconds_left(deadline)
            if final or (left is not None and left <= 0):
                return found
            event = next_event()
            if event is not None:
                left = event / 1000 if left is None else min(event / 1000, left)
            changed.wait(None if left is None else min(left, TIMEOUT_MAX))
