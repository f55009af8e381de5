"""What code inside a running task can ask and say: who am I, how far am I."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import TypeVar

from attrs import define, field

from .errors import ConfigurationError, NotInTaskError
from .model.message import Progress
from .printable import quoted

T = TypeVar("T")
MAX_TEXT = 1_000
"""Characters of a progress text that are kept."""
_LARGEST = 2**53
"""Above it, a number does not keep its value in every store."""


@define
class TaskContext:
    """What a running task can know and say about itself; `current_task()` returns it."""

    id: str
    name: str
    attempt: int
    """1 for the first run."""
    queue: str
    headers: Mapping[str, str]
    _report: Callable[[Progress], None] = field(repr=False)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger named after the task, whose records carry `task_id`, `task_name` and `attempt`."""
        extra = {"task_id": self.id, "task_name": self.name, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger(f"pyxqueue.task.{self.name}"), extra)

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the task is. Cheap enough for a tight loop: only the last value of a moment is sent.
        Of the text, the first 1,000 characters are kept.

        Raises `ConfigurationError` for what is no finite number, or no text.
        """
        if not (is_number(done) and (total is None or is_number(total)) and isinstance(message, str)):
            raise ConfigurationError(
                f"progress({quoted(done)}, {quoted(total)}, {quoted(message)}) takes two finite numbers and a text"
            )
        self._report(
            Progress(_plain(done), None if total is None else _plain(total), without_surrogates(message[:MAX_TEXT]))
        )


_current: contextvars.ContextVar[TaskContext] = contextvars.ContextVar("pyxqueue_current_task")


def current_task() -> TaskContext:
    """The context of the task that runs here. Raises `NotInTaskError` outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise NotInTaskError(
            "no task runs here; inside a thread that a task started, run the function in "
            "contextvars.copy_context().run(...)"
        ) from None


def running_task() -> str:
    """The id of the task that runs here; nothing outside of one, and in `Task.call`."""
    context = _current.get(None)
    return "" if context is None else context.id


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Say how far the running task is; see `TaskContext.progress`. Raises `NotInTaskError` outside of a task."""
    current_task().progress(done, total, message)


def track(items: Iterable[T], total: int | None = None, message: str = "") -> Iterator[T]:
    """Iterate over `items` and report how many are done. `total` defaults to their length, where they have one."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    context = current_task()
    done = 0
    for item in items:
        context.progress(done, total, message)
        yield item
        done += 1
    context.progress(done, total, message)


def enter(context: TaskContext) -> contextvars.Token[TaskContext]:
    """From here on, and until `leave`, this is the current task."""
    return _current.set(context)


def leave(token: contextvars.Token[TaskContext]) -> None:
    _current.reset(token)


def is_number(value: object) -> bool:
    """Whether it can be written down; what settles and reports must not stumble over what a task made up."""
    return isinstance(value, int | float) and -_LARGEST < value < _LARGEST


def without_surrogates(text: str) -> str:
    """Lone surrogates cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _plain(number: float) -> float:
    """A plain int or float: subclasses, such as bool or those of numerical packages, have no wire form."""
    return int(number) if isinstance(number, int) else float(number)
