"""The store that handles read from, and hints about missing workers for callers that wait."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from ..codec import Codec
from ..context import running_task
from ..errors import BrokerError
from ..model.message import Message, TaskStatus
from ..protocols import AsyncProducer, Backend, Pausing, in_one_process
from .reasons import PAUSED

_PAGE = 100
_nested: Counter[str] = Counter()
"""The running tasks of this process that wait for other tasks, each with the number of its waits."""


class Reader(Struct, frozen=True):
    """The store that the handles of one queue read from, and the codec that decodes results."""

    backend: Backend
    producer: AsyncProducer
    codec: Codec
    queue: object
    """The queue of the store. A handle is pickled by the name of its queue."""

    @property
    def one_process(self) -> bool:
        return in_one_process(self.backend)

    def no_worker_hint(self, *, thorough: bool) -> str:
        """Return a hint if no worker can run the task that the caller waits for; else an empty string.

        `thorough` also reads the waiting tasks, which takes longer.
        """
        try:
            if self.one_process:
                return ""
            depth = self.backend.depth()
            if not depth.in_flight and not self.backend.consumers():
                return (
                    "no worker serves its queue: check that one is running on the same store, or start one with "
                    "`pyxqueue worker MODULE` or queue.start()"
                )
            if isinstance(self.backend, Pausing) and self.backend.is_paused():
                return PAUSED
            if depth.in_flight and depth.ready:
                return self._crowded(depth.in_flight, thorough)
        except BrokerError:  # the caller must not get an error because of a hint
            pass
        return ""

    def _crowded(self, in_flight: int, thorough: bool) -> str:
        """Return a hint if the running tasks may all be waiting for ready tasks, so that no worker is free."""
        if in_flight <= len(_nested):
            why = f"all running tasks ({in_flight}) wait for other tasks, as this one does:"
        elif thorough and self._all_have_enqueued():
            why = f"all running tasks ({in_flight}) have enqueued tasks that have not started; if they wait for them,"
        else:
            return ""
        return (
            f"{why} no worker is free to run those. Start more processes or threads, or let a task return instead of "
            f"waiting for the tasks it has enqueued"
        )

    def _all_have_enqueued(self) -> bool:
        """Return whether each task in flight is the parent of one of the newest waiting tasks."""
        in_flight = {task_id for consumer in self.backend.consumers() for task_id in consumer.in_flight}
        page, _ = self.backend.tasks(TaskStatus.PENDING, "", _PAGE)
        parents = {info.message.parent for info in page if isinstance(info.message, Message)}
        return bool(in_flight) and in_flight <= parents


def begin_waiting() -> str:
    """Count the task that runs here, if there is one, among those that wait. Returns its id."""
    if task_id := running_task():
        _nested[task_id] += 1
    return task_id


def end_waiting(task_id: str) -> None:
    if task_id:
        _nested[task_id] -= 1
        if not _nested[task_id]:
            del _nested[task_id]
