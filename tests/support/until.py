"""Waiting for something that another process does: bounded, and saying what did not happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds until something that should happen counts as never happening."""
SHORTEST, LONGEST = 0.005, 0.1
"""Seconds between two looks."""


def until(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Call `look` until it returns something true, and return that. Raises `AssertionError` that names `what`.

    A look that uses much CPU time is made less often: looks took a third of the CPU time of tests with processes.
    """
    deadline = time.monotonic() + seconds
    while True:
        before = time.thread_time()
        if found := look():
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(min(max(SHORTEST, 9 * (time.thread_time() - before)), LONGEST))
