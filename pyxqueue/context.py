"""The context of a running task: its id, name and attempt, and how it reports progress."""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import UTC, datetime
from typing import Any, TypeVar

from attrs import define, field

from .errors import ConfigurationError, NotInTaskError
from .model.message import MISSED_HEADER, TICK_HEADER, Message, Progress
from .printable import quoted
from .steps import ResumableTask

T = TypeVar("T")
MAX_TEXT = 1_000
"""How many characters of a progress text are kept."""
_YEAR_9999 = 253_370_764_800_000
"""Ms since the epoch: `datetime` has no later year."""
TASK_FIELDS = ("task_id", "task_name", "attempt", "queue", "worker", "trace_id", "span_id")
"""What `TaskLogFilter` gives each log record."""
_LARGEST = 2**53
"""The largest number that every store keeps exactly."""


@define
class TaskContext(ResumableTask):
    """Facts about a running task, its progress and its steps. `current_task()` returns it."""

    id: str
    name: str
    attempt: int
    """The number of the run, from 1 on."""
    queue: str
    headers: Mapping[str, str]
    _report: Callable[[Progress], None] = field(repr=False)
    _served: Sequence[str] = field(default=(), repr=False, alias="served")
    """The queues whose tasks this worker runs; empty where a task may wait for others without a timeout."""
    group: str = field(default="", kw_only=True)
    """The group of the worker."""
    worker: str = field(default="", kw_only=True)
    """The name of the worker."""
    args: Sequence[Any] = field(default=(), repr=False, kw_only=True)
    """The positional arguments of the call. They may be personal or secret: nothing of pyxqueue logs them."""
    kwargs: Mapping[str, Any] = field(factory=dict, repr=False, kw_only=True)
    """The named arguments of the call."""
    _message: Message | None = field(default=None, repr=False, kw_only=True, alias="message")
    _since: Callable[[], float | None] | None = field(default=None, repr=False, kw_only=True, alias="since")

    @property
    def enqueued(self) -> datetime | None:
        """When the store accepted the task, by its clock; None if it is not known."""
        return None if self._message is None else _moment(self._message.enqueued_ms)

    @property
    def due(self) -> datetime | None:
        """When this run was due, by the store's clock; None if it was so at once."""
        return None if self._message is None else _moment(self._message.due_ms)

    @property
    def waited(self) -> float | None:
        """For how many seconds the task had been due when this run started; None if that is not known, as for a retry
        without a delay."""
        return None if self._since is None else self._since()

    @property
    def tick(self) -> datetime | None:
        """The time for which a schedule enqueued the task, in UTC; None if no schedule did."""
        ms = self.headers.get(TICK_HEADER, "")
        return datetime.fromtimestamp(int(ms) / 1000, UTC) if _is_count(ms) else None

    @property
    def missed(self) -> int:
        """How many ticks of the schedule were missed or skipped since its last run."""
        number = self.headers.get(MISSED_HEADER, "")
        return int(number) if _is_count(number) else 0

    @property
    def log_fields(self) -> dict[str, str | int]:
        """What log records say about the task: `task_id`, `task_name`, `attempt`, `queue` and `worker`."""
        return {
            "task_id": self.id,
            "task_name": self.name,
            "attempt": self.attempt,
            "queue": self.queue,
            "worker": self.worker,
        }

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger named after the task, whose records carry `task_id`, `task_name` and `attempt`."""
        extra = {"task_id": self.id, "task_name": self.name, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger(f"pyxqueue.task.{self.name}"), extra)

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the task is. It is cheap enough for a tight loop: only the last of many values is sent. The
        first 1,000 characters of the text are kept.

        Raises `ConfigurationError` if a number is not finite, or the message is not a text.
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
    """Return the context of the task that is running. Raises `NotInTaskError` outside of a task."""
    try:
        return _current.get()
    except LookupError:
        raise NotInTaskError(
            "no task runs here; if a task started this thread, start its function with "
            "contextvars.copy_context().run(...)"
        ) from None


class TaskLogFilter(logging.Filter):
    """For a handler of your logging: gives each record that is logged inside a task the attributes `task_id`,
    `task_name`, `attempt`, `queue` and `worker`, and where OpenTelemetry is used `trace_id` and `span_id`.

    Those that a record has already stay; those that are not known are empty, so that a format can name all of them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        context = _current.get(None)
        about = {} if context is None else context.log_fields
        trace = sys.modules.get("opentelemetry.trace")  # only a program that uses it has imported it
        if trace is not None and (span := trace.get_current_span().get_span_context()).is_valid:
            about |= {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}
        for name in TASK_FIELDS:
            vars(record).setdefault(name, about.get(name, ""))
        return True


def running_task() -> str:
    """Return the id of the task that is running; empty outside of a task and in `Task.call`."""
    context = _current.get(None)
    return "" if context is None else context.id


def holds_a_place_of(queue: str) -> bool:
    """Return whether a task runs here that occupies a worker of this queue."""
    context = _current.get(None)
    return context is not None and queue in context._served  # noqa: SLF001 - part of the same module


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Report how far the running task is, as `TaskContext.progress` does. Raises `NotInTaskError` outside of a task."""
    current_task().progress(done, total, message)


def track(items: Iterable[T], total: int | None = None, message: str = "") -> Iterator[T]:
    """Iterate over `items` and report how many are done. `total` defaults to their length, if they have one."""
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
    """Make this the context of the current task, until `leave`."""
    return _current.set(context)


def leave(token: contextvars.Token[TaskContext]) -> None:
    _current.reset(token)


def _moment(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if 0 < ms < _YEAR_9999 else None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 14


def is_number(value: object) -> bool:
    """Return whether every store can keep the value as a number."""
    return isinstance(value, int | float) and -_LARGEST < value < _LARGEST


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def _plain(number: float) -> float:
    """Return a plain int or float. Subclasses, such as bool or the types of numerical packages, cannot be encoded."""
    return int(number) if isinstance(number, int) else float(number)
