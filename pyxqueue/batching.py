"""Cuts large batches, so that one step of a store does not keep other callers waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .model.message import Message, Record, Settlement, TaskInfo
from .model.wire import message_size

MAX_ITEMS = 256
"""The most items in one step."""
MAX_BYTES = 4 << 20
"""The most payload bytes in one step."""

T = TypeVar("T")


def batches(items: Sequence[T], size: Callable[[T], int] = lambda _: 0) -> Iterator[Sequence[T]]:
    """Cut `items` so that no batch exceeds `MAX_ITEMS`, nor `MAX_BYTES` unless a single item does."""
    start = total = 0
    for index, item in enumerate(items):
        total += size(item)
        if index > start and (index - start >= MAX_ITEMS or total > MAX_BYTES):
            yield items[start:index]
            start, total = index, size(item)
    if start < len(items):
        yield items[start:]


def record_size(record: Record | None) -> int:
    return len(record.value) if record else 0


def settlement_size(settlement: Settlement) -> int:
    return record_size(settlement.record) + sum(message_size(message) for message in settlement.then)


def adoption_size(task: TaskInfo) -> int:
    message = task.message
    size = message_size(message) if isinstance(message, Message) else 0
    return size + record_size(task.record)
