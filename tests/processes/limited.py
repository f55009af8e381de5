"""Tasks with limits, which write down when they begin and end. The variables say where the queue and the log are."""

from __future__ import annotations

import os
import random
import time

from pyxqueue import Concurrency, Task, TaskQueue, current_task

from .app import append

URL, STREAM, LOG = "TEST_URL", "TEST_STREAM", "TEST_LOG"
NUMBERS = (1, 2, 3)
ALL = 8
"""The number of the limit that all tasks have together."""

queue = TaskQueue(os.environ[URL], stream_key=os.environ[STREAM], lease=30)


def run(key: str, number: int) -> None:
    task = current_task()
    append(os.environ[LOG], "start", task.id, task.attempt, os.getpid(), key)
    chance = random.Random(number * 10 + task.attempt)
    time.sleep(chance.uniform(0.002, 0.03))  # the work itself
    append(os.environ[LOG], "end", task.id, task.attempt, os.getpid(), key)
    if chance.random() < 0.1:
        raise ValueError(number)


def limited(number: int) -> Task[[str, int], None]:
    limits = [Concurrency(number, by="key"), Concurrency(ALL, name="all")]
    return queue.task(name=f"limited{number}", retries=9, backoff=0.01, max_crashes=50, limits=limits)(run)


TASKS = {number: limited(number) for number in NUMBERS}
