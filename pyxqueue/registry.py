"""`TaskSpec`, the definition of a task, and the registry that finds it by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import Factory, field, frozen

from .calls import Signature
from .errors import DuplicateTaskError
from .options import TaskOptions
from .printable import quoted


@frozen(eq=False)
class TaskSpec:
    """The definition of a task: its name, function, options and signature."""

    name: str
    function: Callable[..., Any]
    options: TaskOptions
    signature: Signature = field(default=Factory(lambda self: Signature(self.name, self.function), takes_self=True))


class Registry:
    """The tasks of one queue by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskSpec] = {}

    def add(self, task: TaskSpec) -> None:
        """Add a task. Raises `DuplicateTaskError` if another function has the name, unless a REPL defines it again."""
        known = self._tasks.get(task.name)
        if known is not None and not _same_place(known.function, task.function):
            raise DuplicateTaskError(
                f"the task name {quoted(task.name)} is taken by {_place(known.function)}; rename "
                f"{_place(task.function)}, or give it another name with @queue.task(name=...)"
            )
        self._tasks[task.name] = task

    def get(self, name: str) -> TaskSpec | None:
        return self._tasks.get(name)

    def __iter__(self) -> Iterator[TaskSpec]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _same_place(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Return whether both functions are defined in the same place: the same source line (of a module that was loaded
    again), or any line of an interactive session."""
    file = getattr(getattr(other, "__code__", None), "co_filename", "")
    interactive = other.__module__ == "__main__" and (file.startswith("<") or re.search(r"ipykernel_\d+", file))
    return _place(one) == _place(other) or bool(interactive)
