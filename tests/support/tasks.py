"""The tasks of a queue by name, for tests that only have the queue."""

from __future__ import annotations

from typing import Any

from pyxqueue import Task, TaskQueue


def task_of(queue: TaskQueue, name: str) -> Task[..., Any]:
    """A task as `@queue.task` returned it."""
    spec = queue.core.registry.get(name)
    assert spec is not None
    return Task(spec.function, spec.name, spec.options, queue._producer)
