"""A task of a fair queue, which writes down when it begins: what workers and a test both have."""

from __future__ import annotations

import os
import time

from pyxqueue import Task, TaskQueue, current_task

from .app import append
from .limited import LEASE, LOG


def run(tenant: str, number: int) -> None:
    task = current_task()
    append(os.environ[LOG], "start", task.id, task.attempt, os.getpid(), tenant, number)
    time.sleep(0.002)  # the work itself


def make_queue(url: str, stream: str) -> tuple[TaskQueue, Task[[str, int], None]]:
    """Return the queue and its task."""
    queue = TaskQueue(url, stream_key=stream, lease=LEASE, fair_by="tenant")
    return queue, queue.task(name="fair", max_crashes=50)(run)
