"""What a plugin keeps of a run between its end and its settlement."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import Generic, TypeVar

from ..context import TaskContext
from ..worker.events import TaskSettled

T = TypeVar("T")
Key = tuple[str, str, int]


class Held(Generic[T]):
    """A value for each run that has ended, until it is settled: only then is its outcome known. A task that raised may
    be retried, and one that returned may have lost its lease."""

    def __init__(self) -> None:
        self._values: defaultdict[Key, deque[T]] = defaultdict(deque)
        """Several of one key are runs of one task in several groups."""
        self._lock = threading.Lock()

    def put(self, context: TaskContext, value: T) -> None:
        with self._lock:
            self._values[context.queue, context.id, context.attempt].append(value)

    def has(self, key: object) -> bool:
        """Return whether a run of this queue, id and attempt is held."""
        return key in self._values

    def take(self, event: TaskSettled) -> T | None:
        """Return and forget the value of the run that was settled; None if the task did not run here."""
        key = event.queue, event.task_id, event.attempt
        with self._lock:
            if key not in self._values:
                return None
            values = self._values[key]
            value = values.popleft()
            if not values:
                del self._values[key]
            return value

    def take_all(self) -> list[T]:
        """Return and forget the values of all runs that were not settled."""
        with self._lock:
            values = [value for some in self._values.values() for value in some]
            self._values.clear()
            return values
