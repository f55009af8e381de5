"""Waits for the wake-ups of a supervisor."""

from __future__ import annotations

import select

from pyxqueue.backends.redis.wakeups import RedisWakeups

from .until import PATIENCE


def hear(ears: RedisWakeups) -> int:
    """The next wake-up."""
    while True:
        readable, _, _ = select.select([ears.fileno()], [], [], PATIENCE)
        assert readable, "no wake-up came"
        if (ms := ears.read()) >= 0:
            return ms
