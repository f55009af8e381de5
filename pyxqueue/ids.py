"""Task ids. The client makes them; they sort by time."""

from __future__ import annotations

import os
import time


def new_id(now_ns: int | None = None, random: bytes | None = None) -> str:
    """Return 13 digits of milliseconds since the epoch, a dash, and 16 random hex digits.

    As text, ids sort by time (until the year 2286). The time is that of this machine; it is used for sorting only.
    """
    now = time.time_ns() if now_ns is None else now_ns
    return f"{now // 1_000_000:013d}-{(os.urandom(8) if random is None else random).hex()}"
