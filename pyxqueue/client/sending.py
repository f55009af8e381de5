"""The methods of `TaskQueue` that send events to tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import ConfigurationError
from ..ids import TaskId, id_text
from ..model.steps import MAX_NAME, EventStatus
from ..printable import quoted
from ..protocols import HasSteps
from .producing import Producer
from .result import AsyncResult


class SendsEvents:
    """Base of `TaskQueue`."""

    _producer: Producer

    def send_event(self, task: AsyncResult[Any] | TaskId, name: str, value: Any = None) -> EventStatus:
        """Send an event to a task of this group, given by its handle or id. The task gets the value with
        `TaskContext.wait_event`. The event is kept until the task ends, whether the task waits for it yet or not.

        The first event of a name counts. The `EventStatus` that is returned is false if the task has ended or is not
        known.

        Raises `ConfigurationError` for a name that is not valid, or if the store does not keep events;
        `SerializationError` for a value that cannot be stored, `PayloadTooLargeError` for one of more than 64 KB.
        """
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise ConfigurationError(
                f"{quoted(name)} is not the name of an event: use 1 to {MAX_NAME} printable characters"
            )
        backend = self._producer.stores().backend
        if not isinstance(backend, HasSteps):
            raise ConfigurationError(
                f"{type(backend).__name__} does not keep events for tasks: use another store for this queue"
            )
        task_id = task.task_id if isinstance(task, AsyncResult) else id_text(task)
        return backend.send_event(task_id, name, self._producer.codec.step_value(task_id, "event", name, value))

    async def asend_event(self, task: AsyncResult[Any] | TaskId, name: str, value: Any = None) -> EventStatus:
        """`send_event` for asyncio. It does not block the event loop."""
        return await asyncio.to_thread(self.send_event, task, name, value)
