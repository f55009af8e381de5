"""Tasks of steps, which write down what they do. The variables say where the queue and the log are."""

from __future__ import annotations

import os
import random
import time

from pyxqueue import TaskQueue, current_task

from .app import append

URL, STREAM, LOG = "TEST_URL", "TEST_STREAM", "TEST_LOG"

queue = TaskQueue(os.environ[URL], stream_key=os.environ[STREAM], lease=2)


def note(kind: str, task_id: str, what: object) -> None:
    append(os.environ[LOG], kind, task_id, 1, os.getpid(), what)


def work(task_id: str, step: int) -> int:
    note("begin", task_id, step)
    time.sleep(random.Random(step).uniform(0.01, 0.06))  # the work itself
    return step


@queue.task(name="part", max_crashes=50)
def part(order: str, number: int) -> int:
    note("part", order, number)
    return number


@queue.task(name="order", max_crashes=50)
def order(steps: int) -> list[object]:
    """Each kind of step and wait, one after the other."""
    task, got = current_task(), list[object]()
    for step in range(steps):
        found = task.step(f"step {step}", work, task.id, step)
        note("stored", task.id, step)
        got.append(found)
    task.sleep("sleep", 0.05)
    got.append(sum(task.gather("parts", [part.of(task.id, number) for number in range(3)])))
    note("gathered", task.id, "parts")
    got.append(task.wait_event("approved"))
    return got
