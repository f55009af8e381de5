"""Waiting until something in the file is different.

A write by the same store object wakes at once. For those of others, SQLite's ``PRAGMA data_version`` is asked: some
microseconds, without reading a page. It is asked about twice a millisecond after something has happened, and ever more
seldom the longer nothing does.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .store import Mark, Store

SHORTEST = 0.0005
LONGEST = 0.05
"""Seconds between two questions."""
_SLOWDOWN = 0.05
"""The pause, as a part of the time in which nothing has happened."""


def pause_after(seconds: float) -> float:
    """How long to wait before asking, when nothing has happened for so many seconds."""
    return min(LONGEST, max(SHORTEST, seconds * _SLOWDOWN))


def sleep(store: Store, mark: Mark, deadline: float | None, over: Callable[[], bool]) -> None:
    """Until something was written since `mark`, the deadline has passed, or `over` says so."""
    begun = time.monotonic()
    while not over():
        now = time.monotonic()
        pause = pause_after(now - begun)
        left = pause if deadline is None else min(pause, deadline - now)
        if left <= 0 or store.news(mark, left):
            return
