"""Tasks of random flows, which write down that they run. The variables say where the queue and the log are."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence

from pyxqueue import TaskQueue, current_task

from .app import append

URL, STREAM, LOG = "TEST_URL", "TEST_STREAM", "TEST_LOG"

queue = TaskQueue(os.environ[URL], stream_key=os.environ[STREAM], lease=2)


@queue.task(name="node", max_crashes=50, retries=1, backoff=0.01)
def node(number: int, fails: bool, inputs: Sequence[object]) -> int:
    """Return its number plus the results of those before it; an error counts as 0."""
    task = current_task()
    append(os.environ[LOG], "start", task.id, task.attempt, os.getpid())
    time.sleep(random.Random(number).uniform(0.002, 0.03))  # the work itself
    if fails:
        raise ValueError(number)
    return number + sum(one for one in inputs if isinstance(one, int))
