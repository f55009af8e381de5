"""Calls of the kit that are seen to wait, instead of being taken to wait after a time: stores in memory only."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from pyxqueue.testing.contract import steps

_by_time = steps.Call.waits


def sleeps(thread: threading.Thread) -> bool:
    """True while a thread waits on a `Condition` that nobody has notified, as every call of a store in memory does."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None or frame.f_code is not threading.Condition.wait.__code__:
        return False
    inside = frame.f_locals
    return inside.get("waiter") in inside["self"]._waiters


def waits(call: steps.Call[Any], seconds: float = steps.SECONDS_TO_START) -> bool:
    """As `Call.waits`, but return as soon as the call sleeps."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if sleeps(call._thread):
            return True
        if not _by_time(call, min(left, 0.0002)):
            return False
    return call._thread.is_alive()
