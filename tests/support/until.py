"""Waiting for something that another process does: bounded, and saying what did not happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds until something that should happen counts as never happening."""


def until(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Look again and again until the answer is true, and return it. Raises `AssertionError` with `what` was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := look():
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)
