"""What the worker processes of the storm of producers import."""

from __future__ import annotations

import os

from pyxqueue import TaskQueue, TaskSettled

from .app import append
from .produced import LOG, STREAM, URL, make_tasks


def observe(event: object) -> None:
    if isinstance(event, TaskSettled):
        verdict = type(event.verdict).__name__
        append(os.environ[LOG], "settled", event.task_id, event.attempt, os.getpid(), verdict, int(event.accepted))


queue = TaskQueue(os.environ[URL], stream_key=os.environ[STREAM], observer=observe)
make_tasks(queue)
