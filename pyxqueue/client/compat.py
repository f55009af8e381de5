"""The names and the dictionaries of the release 0.1.1, on top of `queue.admin`."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from ..context import current_task
from ..model.message import Message, Progress, TaskInfo, TaskStatus
from .admin import Admin, id_text
from .opened import QueueStore
from .result import AsyncResult
from .views import TaskDetails, WorkerInfo

_WINDOW = 1_000


class ReleaseNames:
    """The methods of a `TaskQueue` that have been there since 0.1.1. Ids may be text or bytes."""

    _store: QueueStore

    @property
    @abstractmethod
    def admin(self) -> Admin:
        """What these names stand for."""

    @abstractmethod
    def result(self, task_id: str | bytes) -> AsyncResult[Any]:
        """The handle of a task by its id."""

    def update_task_progress(self, progress: float | str) -> None:
        """Say, inside a running task, how far it is: a number (a percentage, unless the task says a total with
        `pyxqueue.progress`), or a text. Raises `NotInTaskError` outside of a task."""
        if isinstance(progress, str):
            current_task().progress(0, None, progress)
        else:
            current_task().progress(progress)

    def get_task(self, task_id: str | bytes) -> dict[str, Any]:
        """What is known about a task: `task_id`, `info` (`state`, `value`, `worker`, `update_time` in seconds), `data`
        (the call as JSON, under ``b'task'``) and `progress`; `admin.task` has more.

        A task that a worker has claimed and not yet started is shown as started. Raises `UnknownTaskError`.
        """
        return _task_dict(task_id, self.admin.task(task_id))

    def get_task_progress(self, task_id: str | bytes) -> Any:
        """The `progress` of `get_task`."""
        return self.get_task(task_id)["progress"]

    def get_tasks(self, end: str | bytes = "+", start: str | bytes = "-", count: int = 10) -> list[dict[str, Any]]:
        """At most `count` tasks with ids from `start` to `end`, newest first: waiting, running and ended ones."""
        first, last = id_text(start), id_text(end)
        # What ended last is listed first, and on a busy queue that alone fills the window.
        looks = [(TaskStatus.PENDING, count), (TaskStatus.STARTED, count), (None, max(count, _WINDOW))]
        found = {info.id: info for state, most in looks for info in self._between(first, last, most, state)}
        newest = sorted(found.values(), key=lambda info: (_enqueued(info), info.id), reverse=True)
        codec = self._store.core.codec
        return [_task_dict(info.id, TaskDetails.of(info, codec)) for info in newest[: max(0, count)]]

    def task_total(self) -> int:
        """How many tasks there are: waiting, running, failed, and ended ones that the history still has."""
        depth = self._store.here().backend.depth()
        return depth.ready + depth.in_flight + depth.delayed + depth.failed + depth.history

    def get_workers(self) -> dict[str, dict[str, Any]]:
        """The live workers by name, each with `node_id`, `pid`, `task_id` and `update_time`."""
        now = round(time.time() * 1000)
        return {worker.name: _worker_dict(worker, now) for worker in self.admin.workers(tasks=0)}

    def retry_task(self, task_id: str | bytes) -> AsyncResult[Any]:
        """Run a task that has ended again, under its id, and return its handle; `admin.retry` takes many.

        Raises `UnknownTaskError`, and `TaskStateError` if it has not ended or is no longer kept.
        """
        for error in self.admin.retry([task_id], ended=True).refused.values():
            raise error
        return self.result(task_id)

    def clear_tasks(self, start: str | bytes = "-", end: str | bytes = "+", count: int | None = None) -> int:
        """Delete tasks with ids from `start` to `end`, at most `count`, with their results; returns how many.

        A task that a worker has stays; cancel it first.
        """
        ids = [info.id for info in self._between(id_text(start), id_text(end), count)]
        return self.admin.delete(ids).done

    def gc(self) -> int:
        """Do nothing, and return 0: the history is cut to `queue_size` whenever a task ends, and workers and results
        expire."""
        return 0

    def _between(self, start: str, end: str, count: int | None, state: TaskStatus | None = None) -> Iterator[TaskInfo]:
        """The tasks of a state, or of all, with ids in the range, at most `count`."""
        cursor, left = "", count
        size = _WINDOW if count is None or (start, end) != ("-", "+") else max(1, min(count, _WINDOW))
        while left is None or left > 0:
            page = self.admin.tasks(state, after=cursor, limit=size)
            for info in page.tasks:
                if (start == "-" or info.id >= start) and (end == "+" or info.id <= end):
                    yield info
                    if left is not None and (left := left - 1) == 0:
                        return
            cursor = page.next
            if not cursor:
                return


def _enqueued(info: TaskInfo) -> int:
    return (info.message.enqueued_ms if isinstance(info.message, Message) else 0) or info.updated_ms


def _task_dict(task_id: str | bytes, task: TaskDetails) -> dict[str, Any]:
    """`task_id` as it was asked for, `info`, `data` and `progress`."""
    info = task.info
    return {
        "task_id": task_id,
        "info": {
            "state": int(task.state),
            "value": task.failure if task.state is TaskStatus.FAILURE else task.result,
            "worker": info.worker or None,
            "update_time": info.updated_ms // 1000,
        },
        "data": {b"task": task.call_text.encode()},
        "progress": _progress(task.progress),
    }


def _progress(progress: Progress | None) -> Any:
    """The bare number where that is all there is."""
    if progress is None:
        return None
    if progress.total is None and not progress.message:
        return progress.done
    return {"done": progress.done, "total": progress.total, "message": progress.message}


def _worker_dict(worker: WorkerInfo, now_ms: int) -> dict[str, Any]:
    return {
        "node_id": worker.node,
        "pid": worker.pid,
        "task_id": worker.in_flight[0] if worker.in_flight else None,
        "update_time": (now_ms - worker.idle_ms) // 1000,
    }
