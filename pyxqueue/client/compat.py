"""The method names and dictionaries of release 0.1.1, on top of `queue.admin`."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..context import current_task
from ..ids import id_text
from ..model.message import Message, Progress, TaskInfo, TaskStatus
from .queue_store import QueueStore
from .result import AsyncResult

if TYPE_CHECKING:
    from .admin import Admin
    from .views import TaskDetails, WorkerInfo

_WINDOW = 1_000


class ReleaseNames:
    """The methods that `TaskQueue` has had since release 0.1.1. Ids may be text or bytes."""

    _store: QueueStore

    @property
    @abstractmethod
    def admin(self) -> Admin:
        """The administration that these methods call."""

    @abstractmethod
    def result(self, task_id: str | bytes) -> AsyncResult[Any]:
        """Return the handle of a task by its id."""

    def update_task_progress(self, progress: float | str) -> None:
        """Set the progress of the running task: a number (a percentage, unless the task gives a total with
        `pyxqueue.progress`), or a text. Raises `NotInTaskError` outside of a task."""
        if isinstance(progress, str):
            current_task().progress(0, None, progress)
        else:
            current_task().progress(progress)

    def get_task(self, task_id: str | bytes) -> dict[str, Any]:
        """Return what the store knows about a task: `task_id`, `info` (`state`, `value`, `worker`, `update_time` in
        seconds), `data` (the call as JSON, under ``b'task'``) and `progress`; `admin.task` returns more.

        A task that a worker has claimed is shown as started, even if it has not started yet. Raises `UnknownTaskError`.
        """
        return _task_dict(task_id, self.admin.task(task_id))

    def get_task_progress(self, task_id: str | bytes) -> Any:
        """Return the `progress` of `get_task`."""
        return self.get_task(task_id)["progress"]

    def get_tasks(self, end: str | bytes = "+", start: str | bytes = "-", count: int = 10) -> list[dict[str, Any]]:
        """Return at most `count` tasks with ids from `start` to `end`, newest first, whatever their state."""
        from .views import TaskDetails  # noqa: PLC0415 - few programs list tasks

        first, last = id_text(start), id_text(end)
        # The list begins with the tasks that ended last, which would fill the window on a busy queue.
        looks = [(TaskStatus.PENDING, count), (TaskStatus.STARTED, count), (None, max(count, _WINDOW))]
        found = {info.id: info for state, most in looks for info in self._between(first, last, most, state)}
        codec = self._store.core.codec
        newest = sorted(found.values(), key=lambda info: (_enqueued(info), info.id), reverse=True)
        return [_task_dict(info.id, TaskDetails.of(info, codec)) for info in newest[: max(0, count)]]

    def task_total(self) -> int:
        """Return the number of tasks that wait, run or failed, or are in the history."""
        depth = self._store.here().backend.depth()
        return depth.waiting + depth.in_flight + depth.failed + depth.history

    def get_workers(self) -> dict[str, dict[str, Any]]:
        """Return the live workers by name, each with `node_id`, `pid`, `task_id` and `update_time`."""
        now = round(time.time() * 1000)
        return {worker.name: _worker_dict(worker, now) for worker in self.admin.workers(tasks=0)}

    def retry_task(self, task_id: str | bytes) -> AsyncResult[Any]:
        """Run a task that has ended again under its id, and return its handle. `admin.retry` takes many ids.

        Raises `UnknownTaskError`, and `TaskStateError` if the task has not ended or its message is no longer kept.
        """
        for error in self.admin.retry([task_id], ended=True).refused.values():
            raise error
        return self.result(task_id)

    def clear_tasks(self, start: str | bytes = "-", end: str | bytes = "+", count: int | None = None) -> int:
        """Delete at most `count` tasks with ids from `start` to `end`, with their results. Returns how many.

        A task in flight is not deleted; cancel it first.
        """
        ids = [info.id for info in self._between(id_text(start), id_text(end), count)]
        return self.admin.delete(ids).done

    def gc(self) -> int:
        """Do nothing and return 0. The history is cut to `queue_size` whenever a task ends; workers and results
        expire."""
        return 0

    def _between(self, start: str, end: str, count: int | None, state: TaskStatus | None = None) -> Iterator[TaskInfo]:
        """Yield at most `count` tasks with ids in the range, of one state or of all."""
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
    """Return the dictionary of `get_task`, with `task_id` as the caller gave it."""
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
    """Return progress as a number if it has neither a total nor a message, else as a dictionary."""
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
