"""Task ids: made by the client before the first byte is sent, and in the order of time."""

from __future__ import annotations

import os
import time


def new_id(now_ns: int | None = None, random: bytes | None = None) -> str:
    """13 digits of milliseconds since the epoch, a dash, 16 hex digits of randomness.

    Ids sort by their time, as text (until the year 2286). The time is this machine's: it orders, it decides nothing.
    """
    now = time.time_ns() if now_ns is None else now_ns
    return f"{now // 1_000_000:013d}-{(os.urandom(8) if random is None else random).hex()}"
