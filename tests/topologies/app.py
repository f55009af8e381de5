"""A queue whose store is in the environment, for workers in processes of their own."""

from __future__ import annotations

import os

from pyxqueue import TaskQueue

queue = TaskQueue(os.environ["TEST_STORE"], os.environ["TEST_QUEUE"], lease=5)


@queue.task(name="double")
def double(value: int) -> int:
    return value * 2
