"""What a task is to the parts of a queue that do not enqueue it, and the registry that finds it by its name."""

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
    """A function under the name and with the options of its task."""

    name: str
    function: Callable[..., Any]
    options: TaskOptions
    signature: Signature = field(default=Factory(lambda self: Signature(self.name, self.function), takes_self=True))


class Registry:
    """The tasks of one queue by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskSpec] = {}

    def add(self, task: TaskSpec) -> None:
        """Raises `DuplicateTaskError` if another function has the name. A REPL may define a function again."""
        known = self._tasks.get(task.name)
        if known is not None and not _same_place(known.function, task.function):
            raise DuplicateTaskError(
                f"the task name {quoted(task.name)} is taken by {_place(known.function)}; rename "
                f"{_place(task.function)}, or "
                f"give it a name of its own: @queue.task(name=...)"
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
    """The same source line (its module was loaded again), or typed again where there is no file."""
    file = getattr(getattr(other, "__code__", None), "co_filename", "")
    interactive = other.__module__ == "__main__" and (file.startswith("<") or re.search(r"ipykernel_\d+", file))
    return _place(one) == _place(other) or bool(interactive)
