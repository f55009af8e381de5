"""Looking at a queue and tending it: what the 2021 release offered, under the same names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from .core import QueueCore
from .errors import ConfigurationError, TaskStateError
from .message import Cancellation, TaskInfo, TaskStatus
from .printable import quoted
from .reasons import unknown
from .result import AsyncResult
from .stores import OpenStore
from .views import task_dict, worker_dicts

_WINDOW = 1000


class Administration:
    """The administrative half of a `TaskQueue`. Ids may be text or bytes everywhere."""

    core: QueueCore

    @property
    def stores(self) -> OpenStore:
        raise NotImplementedError

    def result(self, task_id: str | bytes) -> AsyncResult[Any]:
        """The handle of a task by its id. Raises nothing: whether there is such a task shows when it is used."""
        raise NotImplementedError

    def get_task(self, task_id: str | bytes) -> dict[str, Any]:
        """What is known about a task: `task_id`, `info` (`state`, `value`, `worker`, `update_time` in seconds), `data`
        (the call as JSON, under ``b'task'``) and `progress`.

        A task that a worker has claimed and not yet started is shown as started. Raises `UnknownTaskError`.
        """
        return task_dict(task_id, self._info(task_id), self.core.codec)

    def get_task_progress(self, task_id: str | bytes) -> Any:
        """The `progress` of `get_task`."""
        return self.get_task(task_id)["progress"]

    def get_tasks(self, end: str | bytes = "+", start: str | bytes = "-", count: int = 10) -> list[dict[str, Any]]:
        """At most `count` tasks with ids from `start` to `end`, newest first: waiting, running and ended ones."""
        first, last = id_text(start), id_text(end)
        # What ended last is listed first, and on a busy queue that alone fills the window.
        looks = [(TaskStatus.PENDING, count), (TaskStatus.STARTED, count), (None, max(count, _WINDOW))]
        by_id = {info.id: info for state, most in looks for info in self._between(first, last, most, state)}
        found = list(by_id.values())
        found.sort(key=lambda info: (_enqueued(info), info.id), reverse=True)
        return [task_dict(info.id, info, self.core.codec) for info in found[: max(0, count)]]

    def task_total(self) -> int:
        """How many tasks there are: waiting, running, failed, and ended ones that the history still has."""
        depth = self.stores.backend.depth()
        return depth.ready + depth.held + depth.delayed + depth.failed + depth.finished

    def get_workers(self) -> dict[str, dict[str, Any]]:
        """The live workers by name, each with `node_id`, `pid`, `task_id` and `update_time`."""
        stores = self.stores
        return worker_dicts(stores.backend.consumers(), stores.backend.lease(), round(time.time() * 1000))

    def retry_task(self, task_id: str | bytes) -> AsyncResult[Any]:
        """Run an ended task again, under its id, and answer its handle.

        Raises `UnknownTaskError`, and `TaskStateError` if it has not ended or is no longer kept.
        """
        name = id_text(task_id)
        if not self.stores.backend.requeue([name])[0]:
            state = self._info(name).status
            why = "its message is no longer in the history" if state.finished else f"it is {state.name}"
            raise TaskStateError(f"task {name} cannot be run again: {why}")
        return self.result(name)

    def clear_tasks(self, start: str | bytes = "-", end: str | bytes = "+", count: int | None = None) -> int:
        """Delete tasks with ids from `start` to `end`, at most `count`, with their results; answers how many.

        A task that a worker holds stays; cancel it first.
        """
        ids = [info.id for info in self._between(id_text(start), id_text(end), count)]
        return sum(self.stores.backend.delete(ids))

    def cancel_task(self, task_id: str | bytes, force: bool = False) -> Cancellation:
        """Cancel a task, as `AsyncResult.cancel` does; what it answers is false if the task has ended already.

        Raises `UnknownTaskError`.
        """
        name = id_text(task_id)
        self._info(name)
        return self.result(name).cancel(force)

    def groups(self) -> Sequence[str]:
        """The consumer groups of this queue: each gets every task."""
        return self.stores.backend.groups()

    def remove_group(self, group: str) -> None:
        """Delete a group with all its tasks and results; stop its workers first, or they make it anew.

        Raises `ConfigurationError` if there is no such group.
        """
        self.stores.backend.remove_group(group)

    def gc(self) -> int:
        """Trim the history to `queue_size` now. Workers and results need no such call: they expire."""
        return self.stores.backend.trim(self.core.options.history)

    def _info(self, task_id: str | bytes) -> TaskInfo:
        name = id_text(task_id)
        info = self.stores.backend.show([name])[0]
        if info is None:
            raise unknown(name)
        return info

    def _between(self, start: str, end: str, count: int | None, state: TaskStatus | None = None) -> Iterator[TaskInfo]:
        """The tasks of a state, or of all, with ids in the range, at most `count`."""
        cursor, left = "", count
        size = _WINDOW if count is None or (start, end) != ("-", "+") else max(1, min(count, _WINDOW))
        while left is None or left > 0:
            page, cursor = self.stores.backend.tasks(state, cursor, size)
            for info in page:
                if (start == "-" or info.id >= start) and (end == "+" or info.id <= end):
                    yield info
                    if left is not None and (left := left - 1) == 0:
                        return
            if not cursor:
                return


def id_text(task_id: str | bytes) -> str:
    """An id as it is kept, from what a caller may give."""
    if not isinstance(task_id, str | bytes):
        raise ConfigurationError(f"{quoted(task_id)} is no task id: give the text or bytes of one")
    raw = task_id if isinstance(task_id, bytes) else task_id.encode(errors="replace")
    return raw.decode(errors="replace")  # what is no text cannot be the id of anything


def _enqueued(info: TaskInfo) -> int:
    return getattr(info.message, "enqueued", 0) or info.updated
