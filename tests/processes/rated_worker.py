"""What the worker processes of the storm of rates import: they write down when the store has let a task begin."""

from __future__ import annotations

import os
import time

from pyxqueue import TaskQueue
from pyxqueue.model.message import Message
from pyxqueue.worker.beginning import Beginner
from pyxqueue.worker.jobs import Job

from .app import append
from .rated import LEASE, LOG, STREAM, URL, make_tasks

_may_start = Beginner.may_start


def may_start(beginner: Beginner, job: Job) -> bool:
    before = time.time_ns()
    starts = _may_start(beginner, job)
    message = job.delivery.message
    if starts and isinstance(message, Message):
        words = (before, time.time_ns(), *message.gates)
        append(os.environ[LOG], "begin", message.id, message.attempt, os.getpid(), *words)
    return starts


Beginner.may_start = may_start  # type: ignore[method-assign, assignment] # the name of `self`
queue = TaskQueue(os.environ[URL], stream_key=os.environ[STREAM], lease=LEASE)
make_tasks(queue)
