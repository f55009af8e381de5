"""The producing half of a queue: from calls to messages in the store, and to their handles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .calls import Call, CallOptions
from .clock import milliseconds
from .codec import Codec
from .context import running_task
from .ids import new_id
from .message import NO_HEADERS, Message
from .reader import Reader
from .result import AsyncResult
from .stores import OpenStores
from .task import Task


class Producing:
    """What tasks need of their `TaskQueue`."""

    codec: Codec

    @property
    def stores(self) -> OpenStores:
        raise NotImplementedError

    def enqueue_calls(
        self, task: Task[..., Any], calls: Sequence[Call], options: CallOptions, task_ids: Sequence[str] | None = None
    ) -> list[AsyncResult[Any]]:
        """What a `Task` calls when it is called; use the task."""
        messages, stores = self._messages(task, calls, options, task_ids), self.stores
        stores.broker.enqueue(messages)
        return self._handles(messages, stores)

    async def aenqueue_calls(
        self, task: Task[..., Any], calls: Sequence[Call], options: CallOptions, task_ids: Sequence[str] | None = None
    ) -> list[AsyncResult[Any]]:
        """`enqueue_calls` for asyncio."""
        messages, stores = self._messages(task, calls, options, task_ids), self.stores
        await stores.producer.enqueue(messages)
        return self._handles(messages, stores)

    def _reader(self, stores: OpenStores) -> Reader:
        return Reader(stores.results, stores.inspector, stores.producer, self.codec, self)

    def _messages(
        self, task: Task[..., Any], calls: Sequence[Call], options: CallOptions, task_ids: Sequence[str] | None
    ) -> list[Message]:
        self._check_servable(task)
        if task_ids is None:
            return [self._message(task, call, options, options.task_id or new_id()) for call in calls]
        return [self._message(task, call, options, one) for call, one in zip(calls, task_ids, strict=True)]

    def _message(self, task: Task[..., Any], call: Call, options: CallOptions, task_id: str) -> Message:
        headers = NO_HEADERS if options.headers is None else dict(options.headers)
        body, serializer, seal = self.codec.seal_call(task.name, task_id, *call, headers)
        return Message(
            id=task_id,
            name=task.name,
            body=body,
            serializer=serializer,
            seal=seal,
            delay=_delay_ms(options),
            headers=headers,
            parent=running_task(),
        )

    def _check_servable(self, task: Task[..., Any]) -> None:
        """Raises `ConfigurationError` for a task that no worker could ever have."""

    def _handles(self, messages: Sequence[Message], stores: OpenStores) -> list[AsyncResult[Any]]:
        reader = self._reader(stores)
        return [AsyncResult(reader, message.id, message.name) for message in messages]


def _delay_ms(options: CallOptions) -> int:
    if options.eta is not None:
        return max(0, milliseconds((options.eta - datetime.now(UTC)).total_seconds()))
    return 0 if options.delay is None else milliseconds(options.delay)
