"""The producer of a queue: it enqueues calls as messages and returns their handles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from ..calls import Call
from ..clock import milliseconds
from ..codec import Codec
from ..context import running_task
from ..ids import new_id
from ..model.message import NO_HEADERS, Message
from ..options import CallOptions
from ..registry import TaskSpec
from ..stores import OpenStore
from .reader import Reader
from .result import AsyncResult


@frozen(eq=False)
class Producer:
    """Enqueues calls of the tasks of one queue, and makes their handles."""

    codec: Codec
    stores: Callable[[], OpenStore]
    check: Callable[[TaskSpec], None]
    """Raises `ConfigurationError` for a task that no worker can import."""
    queue: object
    """The queue itself; handles are pickled by its name."""

    def enqueue(
        self,
        task: TaskSpec,
        calls: Sequence[Call],
        options: CallOptions,
        task_ids: Sequence[str] | None = None,
    ) -> list[AsyncResult[Any]]:
        """Enqueue calls of a task and return their handles.

        `task_ids`: an id for each call, instead of new ids.
        """
        self.check(task)
        messages, stores = self._messages(task, calls, options, task_ids), self.stores()
        stores.backend.enqueue(messages)
        return self._handles(messages, stores)

    async def aenqueue(
        self,
        task: TaskSpec,
        calls: Sequence[Call],
        options: CallOptions,
        task_ids: Sequence[str] | None = None,
    ) -> list[AsyncResult[Any]]:
        """`enqueue` for asyncio."""
        self.check(task)
        messages, stores = self._messages(task, calls, options, task_ids), self.stores()
        await stores.producer.enqueue(messages)
        return self._handles(messages, stores)

    def handle(self, task_id: str) -> AsyncResult[Any]:
        """Return the handle of a task that was enqueued before, by this program or another."""
        return AsyncResult(self._reader(self.stores()), task_id)

    def _reader(self, stores: OpenStore) -> Reader:
        return Reader(stores.backend, stores.producer, self.codec, self.queue)

    def _messages(
        self, task: TaskSpec, calls: Sequence[Call], options: CallOptions, task_ids: Sequence[str] | None
    ) -> list[Message]:
        if task_ids is None:
            return [self._message(task, call, options, options.task_id or new_id()) for call in calls]
        return [self._message(task, call, options, one) for call, one in zip(calls, task_ids, strict=True)]

    def _message(self, task: TaskSpec, call: Call, options: CallOptions, task_id: str) -> Message:
        headers = NO_HEADERS if options.headers is None else dict(options.headers)
        body, serializer, seal = self.codec.seal_call(task.name, task_id, *call, headers)
        return Message(
            id=task_id,
            name=task.name,
            body=body,
            serializer=serializer,
            seal=seal,
            delay_ms=_delay_ms(options),
            headers=headers,
            parent=running_task(),
        )

    def _handles(self, messages: Sequence[Message], stores: OpenStore) -> list[AsyncResult[Any]]:
        reader = self._reader(stores)
        return [AsyncResult(reader, message.id, message.name) for message in messages]


def _delay_ms(options: CallOptions) -> int:
    if options.eta is not None:
        return max(0, milliseconds((options.eta - datetime.now(UTC)).total_seconds()))
    return 0 if options.delay is None else milliseconds(options.delay)
