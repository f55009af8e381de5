"""Where handles read from, and what there is to say about the workers to those who wait."""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from ..codec import Codec
from ..context import running_task
from ..errors import BrokerError
from ..model.message import Message, TaskStatus
from ..protocols import AsyncProducer, Backend, in_one_process

_PAGE = 100
_nested: Counter[str] = Counter()
"""The running tasks of this process that wait for other tasks."""


@frozen
class Reader:
    """Where handles read from: the store of one queue, and the codec that opens what it holds."""

    backend: Backend
    producer: AsyncProducer
    codec: Codec
    queue: object
    """Whose store it is; a handle is pickled by its name."""

    @property
    def one_process(self) -> bool:
        return in_one_process(self.backend)

    def alone(self, *, thorough: bool) -> str:
        """What to say to who waits in vain where nobody is free to run the task; nothing where that cannot be told.

        `thorough`: who has waited for long can wait for a look at the tasks, too.
        """
        try:
            if self.one_process:
                return ""
            depth = self.backend.depth()
            if not depth.in_flight and not self.backend.consumers():
                return (
                    "no worker serves its queue: is one running, on the same store? Start one with `pyxqueue worker "
                    "MODULE`, or here with queue.start()"
                )
            if depth.in_flight and depth.ready:
                return self._crowded(depth.in_flight, thorough)
        except BrokerError:  # a hint must never be what fails
            pass
        return ""

    def _crowded(self, held: int, thorough: bool) -> str:
        """What to say where tasks wait and all that run may be waiting for them, each keeping a worker busy."""
        if held <= len(_nested):
            who = f"all running tasks ({held}) wait for other tasks, as this one does:"
        elif thorough and self._all_have_enqueued():
            who = f"all running tasks ({held}) have enqueued tasks that nobody has begun; if they wait for them,"
        else:
            return ""
        return (
            f"{who} no worker is left to run them. Start more processes or threads, or let a task return instead of "
            f"waiting for what it has enqueued"
        )

    def _all_have_enqueued(self) -> bool:
        """Whether each task that is held is the parent of one that waits, among the newest of those."""
        held = {task_id for consumer in self.backend.consumers() for task_id in consumer.in_flight}
        page, _ = self.backend.tasks(TaskStatus.PENDING, "", _PAGE)
        return bool(held) and held <= {info.message.parent for info in page if isinstance(info.message, Message)}


def begin_waiting() -> str:
    """From now on the task that runs here, if one does, counts among those that wait."""
    if task_id := running_task():
        _nested[task_id] += 1
    return task_id


def end_waiting(task_id: str) -> None:
    if task_id:
        _nested[task_id] -= 1
        if not _nested[task_id]:
            del _nested[task_id]
