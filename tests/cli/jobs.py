"""Puts tasks into every place of a queue, as a worker does."""

from __future__ import annotations

from pyxqueue import TaskQueue
from pyxqueue.model.message import Delivery, Done, Fail, Failure, Record, Settlement, TaskStatus, Verdict
from tests.support.tasks import task_of

WORKER = "worker-1-4242-0242ac120002-1e9gmXli"


def enqueue(queue: TaskQueue, *ids: str, delay: float | None = None) -> None:
    task = task_of(queue, "jobs.add")
    for task_id in ids:
        task.with_options(task_id=task_id, delay=delay)(1, b=2)


def claim(queue: TaskQueue, task_id: str) -> Delivery:
    """Enqueue a task in a queue where nothing else is ready, and claim it."""
    enqueue(queue, task_id)
    [delivery] = queue.stores.backend.claim(WORKER, 1, 0)
    return delivery


def fail(queue: TaskQueue, *ids: str, error: str = "ValueError") -> None:
    for task_id in ids:
        failure = Failure(error, f"no {task_id}", "Traceback: in jobs.py")
        record = Record(task_id, TaskStatus.FAILURE, error=failure, worker=WORKER)
        _settle(queue, task_id, Fail(f"{error}: no {task_id}"), record)


def succeed(queue: TaskQueue, *ids: str) -> None:
    for task_id in ids:
        _settle(queue, task_id, Done(), Record(task_id, TaskStatus.SUCCESS, value=b"3", worker=WORKER))


def _settle(queue: TaskQueue, task_id: str, verdict: Verdict, record: Record) -> None:
    receipt = claim(queue, task_id).receipt
    assert queue.stores.backend.settle([Settlement(receipt, verdict, record)]) == [True]


def states(queue: TaskQueue, *ids: str) -> list[str | None]:
    """Return the state of each task; None if there is no such task."""
    return [info.status.name if info else None for info in queue.stores.backend.show(ids)]
