"""Tasks with limits and a unique task, which write down when they begin and end: what workers and a test both have."""

from __future__ import annotations

import os
import random
import time

from pyxqueue import Concurrency, Task, TaskQueue, Unique, current_task

from .app import append

URL, STREAM, LOG = "TEST_URL", "TEST_STREAM", "TEST_LOG"
"""Variables that say where the queue and the log are."""
NUMBERS = (1, 2, 3)
"""The limits for each key; one task each."""
ALL = 8
"""The number of the limit that all tasks have together."""
UNIQUE = "unique"
LEASE = 30
"""Seconds: longer than a busy machine may keep a process from running, which would hold its place no longer."""


def run(key: str, number: int) -> None:
    task = current_task()
    append(os.environ[LOG], "start", task.id, task.attempt, os.getpid(), key)
    chance = random.Random(number * 10 + task.attempt)
    time.sleep(chance.uniform(0.002, 0.03))  # the work itself
    append(os.environ[LOG], "end", task.id, task.attempt, os.getpid(), key)
    if chance.random() < 0.1:
        raise ValueError(number)


def make_tasks(queue: TaskQueue) -> dict[str, Task[[str, int], None]]:
    """Return the tasks by their names."""

    def make(name: str, *limits: Concurrency, unique: Unique | None = None) -> Task[[str, int], None]:
        limits = (*limits, Concurrency(ALL, name="all"))
        return queue.task(name=name, retries=9, backoff=0.01, max_crashes=50, limits=limits, unique=unique)(run)

    tasks = {f"limited{number}": make(f"limited{number}", Concurrency(number, by="key")) for number in NUMBERS}
    return {**tasks, UNIQUE: make(UNIQUE, unique=Unique(by=("key",)))}
