"""Gives a Python program the clock of another host: an interpreter with this folder in ``PYTHONPATH`` imports it first.

Where libfaketime is preloaded, that sets the clock, for C as well; it refuses the absolute times with which Python
sleeps. Without it, `time.time` and `time.time_ns` are put ahead by what the file in ``TEST_CLOCK`` says.
`time.monotonic` stays as it is: nobody sets that.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import SupportsIndex

_FILE = Path(os.environ["TEST_CLOCK"])
_time_ns = time.time_ns


def _wrong_ns() -> int:
    return _time_ns() + int(_FILE.read_text().rstrip("s\n")) * 1_000_000_000


def _sleep(seconds: SupportsIndex | float, /) -> None:
    select.select([], [], [], float(seconds))


if "libfaketime" in os.environ.get("LD_PRELOAD", ""):
    time.sleep = _sleep
else:
    time.time_ns = _wrong_ns
    time.time = lambda: _wrong_ns() / 1e9
