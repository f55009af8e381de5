"""Waiting for something that another process does: bounded, and saying what did not happen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds until something that should happen counts as never happening."""


def until(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Call `look` until it returns something true, and return that. Raises `AssertionError` that names `what`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)
