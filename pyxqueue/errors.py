"""Every exception pyxqueue raises. It imports next to nothing, so anything may import it.

There are two families. `PyxqueueError` is what the library raises at you. The *signals* (`RetryLater`, `Reject`,
`TimeLimitExceeded`, `CancelRequested`) travel inside a running task; they are not `PyxqueueError`, so that an
``except PyxqueueError`` in a task never swallows one. The last two come from outside, at any line, and are no
`Exception` either, as `asyncio.CancelledError` is none: an ``except Exception`` around each step does not swallow them.
"""

from __future__ import annotations

from .clock import Seconds, optional_seconds
from .printable import LONGEST_LINE, bounded, printable, printable_lines


class PyxqueueError(Exception):
    """Base of every error the library raises at its caller. Its text is one printable line of bounded length, whatever
    it is about."""

    def __str__(self) -> str:
        return printable(super().__str__(), LONGEST_LINE)


class ConfigurationError(PyxqueueError, ValueError):
    """An argument, a URL or an environment variable cannot be used as given."""


class DuplicateTaskError(ConfigurationError):
    """Two different functions ask for the same task name on one queue."""


class ArgumentError(PyxqueueError, TypeError):
    """A task was called with arguments its function does not take."""


class NotInTaskError(PyxqueueError, RuntimeError):
    """Something that belongs to a running task was used outside of one."""


class AlreadyRunningError(PyxqueueError, RuntimeError):
    """`run` or `start` was called on a queue whose workers already run."""


class NotRunningError(PyxqueueError, RuntimeError):
    """`shutdown` was called on a queue that started no workers."""


class UnknownTaskError(PyxqueueError, LookupError):
    """No task has this id: never enqueued here, deleted, or its result has expired."""


class TaskStateError(PyxqueueError, RuntimeError):
    """The task is in a state in which this cannot be done to it, for example retrying one that runs."""


class SerializationError(PyxqueueError, ValueError):
    """A value is outside a serializer's domain, or bytes are not what the serializer writes."""


class PayloadTooLargeError(SerializationError):
    """Arguments or a result need more bytes than the queue allows."""


class SealError(SerializationError):
    """A sealed payload was altered, moved, or sealed with a key this side does not have."""


class BrokerError(PyxqueueError):
    """The store answered, but refused the operation."""


class BrokerUnavailableError(BrokerError, ConnectionError):
    """The store cannot be reached or cannot serve right now; the same call may succeed later."""


class StoreFullError(BrokerError):
    """The store has no room (for example Redis at `maxmemory`); what needed some was not done. Of an `enqueue`, nothing
    was accepted, of a `map` a leading part at most."""


class StoreFileError(BrokerError):
    """The file of an embedded store cannot be used as it is, and waiting will not help: it is damaged, belongs to
    another program or a newer release, lies on a network file system, or may not be written. The message says what to
    do; nothing in the file was changed."""


class StoreLayoutError(BrokerError):
    """The store keeps the queue in another layout than this release: one of an older or a newer pyxqueue. Nothing in
    it was
    changed. `pyxqueue move` carries the tasks of an older one to another store; for a newer one, upgrade pyxqueue."""


class ResultTimeoutError(PyxqueueError, TimeoutError):
    """The result did not arrive within the timeout; the task itself goes on."""


class TaskError(PyxqueueError):
    """The task failed. What it raised travels as text, never as a pickled exception.

    Parameters: `task_id`; `type`, the exception's qualified class name; `message`, its text; `traceback`, the
    formatted traceback of the worker.
    """

    def __init__(self, type: str, message: str, traceback: str = "", task_id: str = "") -> None:  # noqa: A002
        super().__init__(type, message, traceback, task_id)
        self.type = type
        self.message = message
        self.traceback = traceback
        self.task_id = task_id

    @property
    def error(self) -> str:
        """The failure in one line, ``ValueError: no such user``, fit to be shown: what moves a cursor, or begins
        another line, is escaped."""
        kind = printable(self.type)
        return f"{kind}: {printable(self.message, LONGEST_LINE)}" if self.message else kind

    @property
    def exc_info(self) -> str:
        """The worker's traceback as text."""
        return self.traceback

    def __str__(self) -> str:
        where = f"task {printable(self.task_id)} failed: " if self.task_id else ""
        remote = f"\n\n{printable_lines(bounded(self.traceback.rstrip()))}" if self.traceback else ""
        return f"{where}{self.error}{remote}"


class TaskCancelledError(TaskError):
    """The task was cancelled before it could finish."""

    def __str__(self) -> str:
        return f"task {printable(self.task_id)} was cancelled" if self.task_id else "the task was cancelled"


class RetryLater(Exception):  # noqa: N818 - a signal, not an error
    """Raise it in a task to run it again later; it uses up one of the task's retries.

    `delay` is in seconds, or a `timedelta`; None asks for the task's own backoff.
    """

    def __init__(self, delay: Seconds | None = None, reason: str = "") -> None:
        super().__init__(delay, reason)
        self.delay: float | None = optional_seconds(delay)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Reject(Exception):  # noqa: N818 - a signal, not an error
    """Raise it in a task to give up at once: no retry, the message is kept with the failed tasks with `reason`."""

    def __init__(self, reason: str = "rejected by the task") -> None:
        super().__init__(reason)
        self.reason = reason


class CancelRequested(BaseException):
    """Raised inside a running task that somebody cancelled; it may clean up, then ends as cancelled."""


class TimeLimitExceeded(BaseException):
    """Raised inside a task that has run longer than its `timeout`; it may clean up, then counts as failed.

    It is retried where the task retries on `Exception`. If the task goes on, it is raised once more, half way to the
    hard limit.
    """
