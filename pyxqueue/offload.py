"""The asyncio side of a backend that has none: its synchronous calls in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import frozen

from .message import Message, Record, TaskInfo
from .protocols import AsyncProducer, Broker, HasAsync, Inspector, ResultStore, same_store


@frozen
class Offloaded:
    """An `AsyncProducer` over synchronous stores; each waiting call occupies a thread."""

    broker: Broker
    results: ResultStore
    inspector: Inspector

    async def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return await asyncio.to_thread(self.broker.enqueue, messages)

    async def wait(self, ids: Sequence[str], timeout: int | None) -> Sequence[Record | None]:
        return await asyncio.to_thread(self.results.wait, ids, timeout)

    async def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return await asyncio.to_thread(self.inspector.show, ids)

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout: int | None) -> TaskInfo | None:
        return await asyncio.to_thread(self.inspector.watch, task_id, seen, timeout)


def asynchronous(broker: Broker, results: ResultStore, inspector: Inspector) -> AsyncProducer:
    """The backend's own asyncio side where it is one object and has one, else threads."""
    if isinstance(broker, HasAsync) and same_store(broker, results):
        return broker.asynchronous()
    return Offloaded(broker, results, inspector)
