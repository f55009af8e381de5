"""Tasks with rates, which write down when they were allowed to begin: what workers and a test both have."""

from __future__ import annotations

import os
import random
import time

from pyxqueue import Rate, Task, TaskQueue, current_task

from .app import append

URL, STREAM, LOG = "TEST_URL", "TEST_STREAM", "TEST_LOG"
"""Variables that say where the queue and the log are."""
ALL = Rate(60, per=1, burst=3, name="all")
EACH = {1: Rate(20, per=1, by="key"), 5: Rate(50, per=2, burst=5, by="key")}
"""The rates of each key, by the burst: one task each."""
LEASE = 5


def run(key: str, number: int) -> None:
    chance = random.Random(number * 10 + current_task().attempt)
    time.sleep(chance.uniform(0.0, 0.02))  # the work itself
    append(os.environ[LOG], "end", current_task().id, current_task().attempt, os.getpid())
    if chance.random() < 0.1:
        raise ValueError(key)


def make_tasks(queue: TaskQueue) -> dict[int, Task[[str, int], None]]:
    """Return the tasks by the bursts of their rates."""
    return {
        burst: queue.task(name=f"rated{burst}", retries=9, backoff=0.01, max_crashes=50, limits=[rate, ALL])(run)
        for burst, rate in EACH.items()
    }
