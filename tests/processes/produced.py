"""The tasks of the storm of producers, which write down when they run: what workers, producers and the test have."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from pyxqueue import Concurrency, Debounce, Rate, Task, TaskQueue, Throttle, Unique, current_task

from .app import append

URL, STREAM, LOG = "TEST_URL", "TEST_STREAM", "TEST_LOG"
"""Variables that say where the queue and the log are."""
ALL = 3
"""How many tasks with limits may run at once."""
KEYS = 3
SCHEDULES = "beat", "hourly"
UNIQUE = "unique", "until_started"
"""The tasks of which one may be live for each key."""


def run(key: str, number: int, after: float = 0.0) -> None:
    task = current_task()
    append(os.environ[LOG], "start", task.id, task.attempt, os.getpid(), task.name, key, number)
    time.sleep(after)
    append(os.environ[LOG], "end", task.id, task.attempt, os.getpid(), task.name, key, number)


def make_tasks(queue: TaskQueue) -> dict[str, Task[..., None]]:
    """Return the tasks by their names."""
    together = Concurrency(ALL, name="all")
    return {
        "plain": queue.task(name="plain")(run),
        "one_by_one": queue.task(name="one_by_one", limits=[Concurrency(1, by="key"), together])(run),
        "paced": queue.task(name="paced", limits=[Rate(2_000, per=1, burst=20, by="key"), together])(run),
        "unique": queue.task(name="unique", unique=Unique(by=("key",)), limits=[together])(run),
        "until_started": queue.task(name="until_started", unique=Unique(by=("key",), until="started"))(run),
        "throttled": queue.task(name="throttled", throttle=Throttle(0.1, by=("key",)))(run),
        "debounced": queue.task(
            name="debounced", debounce=Debounce(timedelta(milliseconds=50), by=("key",), max_wait=0.2)
        )(run),
    }
