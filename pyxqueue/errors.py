"""The exceptions of pyxqueue.

There are two families. A `PyxqueueError` reports a failed operation to the caller. The *signals* (`RetryLater`,
`Reject`, `TaskSuspended`, `TimeLimitExceeded`, `CancelRequested`) are raised inside a running task. They are not
`PyxqueueError`, so an ``except PyxqueueError`` in a task does not catch them. The last two are raised at any line of a
task; like `asyncio.CancelledError`, they and `TaskSuspended` are not `Exception`, so an ``except Exception`` does not
catch them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .clock import Seconds, optional_seconds
from .printable import LONGEST_LINE, bounded, printable, printable_lines


class PyxqueueError(Exception):
    """The base of all errors that pyxqueue raises at its caller. Their text is one printable line of limited length."""

    def __str__(self) -> str:
        return printable(super().__str__(), LONGEST_LINE)


class ConfigurationError(PyxqueueError, ValueError):
    """An argument, a URL or an environment variable is not valid."""


class DuplicateTaskError(ConfigurationError):
    """Two functions have the same task name on one queue."""


class ArgumentError(PyxqueueError, TypeError):
    """A task was called with arguments that its function does not take."""


class NotInTaskError(PyxqueueError, RuntimeError):
    """An operation for running tasks was used outside of a task."""


class AlreadyRunningError(PyxqueueError, RuntimeError):
    """`run` or `start` was called although this program already has workers of the queue."""


class NotRunningError(PyxqueueError, RuntimeError):
    """`shutdown` or `restart` was called although this program has not started workers of the queue."""


class UnknownTaskError(PyxqueueError, LookupError):
    """The store does not know the task: it was never enqueued here, was deleted, or its result has expired."""


class UnknownScheduleError(PyxqueueError, LookupError):
    """The queue does not have a schedule with this id."""


class UnknownWorkerError(PyxqueueError, LookupError):
    """No worker of the group, and no host with one, has this name."""


class TaskStateError(PyxqueueError, RuntimeError):
    """The state of the task does not allow the operation, for example to retry a running task."""


class SerializationError(PyxqueueError, ValueError):
    """The serializer does not support a value, or cannot decode bytes."""


class PayloadTooLargeError(SerializationError):
    """Arguments or a result need more bytes than the queue allows."""


class SealError(SerializationError):
    """A payload is not sealed, was changed or moved, or is sealed with a key that this side does not have."""


class BrokerError(PyxqueueError):
    """The store refused the operation."""


class BrokerUnavailableError(BrokerError, ConnectionError):
    """The store cannot be reached or cannot serve requests now; the same call may succeed later."""


class NotDurableError(BrokerUnavailableError):
    """What the call stored is in the store, but the replicas or the disk that its durability demands did not confirm it
    in time. A crash of the server may lose it. A call with the same ids stores nothing twice, and may be confirmed.

    `acknowledged`: how many have confirmed it, of `wanted`; `ids`: of the tasks, or of what else was stored.
    """

    def __init__(self, message: str, acknowledged: int = 0, wanted: int = 1, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.acknowledged = acknowledged
        self.wanted = wanted
        self.ids = tuple(ids)


class StoreFullError(BrokerError):
    """The store is full, for example Redis at `maxmemory`. An `enqueue` was not accepted; of a `map`, at most the first
    part was."""


class QueueFullError(StoreFullError):
    """The queue has `max_length=` tasks that have not ended, so a call was refused. Of a `map`, at most the first part
    was accepted.

    `queue`: its name; `max_length`: the bound; `length`: how many tasks had not ended; `accepted`: how many of the
    calls, from the first one on, were accepted; `ids`: of their tasks.
    """

    def __init__(
        self, message: str, queue: str = "", max_length: int = 0, length: int = 0, ids: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.queue = queue
        self.max_length = max_length
        self.length = length
        self.ids = tuple(ids)

    @property
    def accepted(self) -> int:
        return len(self.ids)


class StoreFileError(BrokerError):
    """The file of an embedded store cannot be used: it is damaged, belongs to another program or a newer release, lies
    on a network file system, or may not be written. The message says what to do; the file was not changed."""


class StoreLayoutError(BrokerError):
    """The store has the layout of an older or a newer release; nothing in it was changed. Move the tasks of an older
    layout to another store with `pyxqueue move`; for a newer layout, upgrade pyxqueue."""


class ResultTimeoutError(PyxqueueError, TimeoutError):
    """The task did not end within the timeout of the caller. The task itself continues."""


class NestedWaitError(PyxqueueError, RuntimeError):
    """A task of a worker waits without a limit for another task, which may need the same worker. Use
    `TaskContext.gather`, or give a timeout."""


class EventTimeoutError(PyxqueueError, TimeoutError):
    """The event that a task waited for did not come within its timeout."""


class TaskError(PyxqueueError):
    """The task failed. The error contains the task's exception as text, not the exception itself.

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
        """The failure in one printable line, such as ``ValueError: no such user``."""
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
    """The task was cancelled."""

    def __str__(self) -> str:
        return f"task {printable(self.task_id)} was cancelled" if self.task_id else "the task was cancelled"


class TaskExpiredError(TaskCancelledError):
    """The task had not started when it expired (`expires`)."""

    def __str__(self) -> str:
        return f"task {printable(self.task_id)} expired before it started"


class DependencyFailedError(TaskError):
    """The task was not run, because a task before it in its flow did not end as a success, or its result is gone."""

    def __str__(self) -> str:
        return f"task {printable(self.task_id)} was not run: {printable(self.message, LONGEST_LINE)}"


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
    """Raise it in a task to fail without a retry. The message is kept with the failed tasks, with `reason`."""

    def __init__(self, reason: str = "rejected by the task") -> None:
        super().__init__(reason)
        self.reason = reason


class CancelRequested(BaseException):
    """Raised inside a running task that was cancelled. The task may clean up, and then ends as cancelled."""


class TaskSuspended(BaseException):
    """Raised inside a running task that waits without a worker: for a time, an event, or tasks of its own. The task may
    clean up; it runs again later. A task that catches it and goes on does not wait."""

    def __init__(self, outcome: object = None) -> None:
        super().__init__()
        self.outcome = outcome


class TimeLimitExceeded(BaseException):
    """Raised inside a task that has run longer than its `timeout`. The task may clean up, and then fails.

    The task is retried if it retries on `Exception`. If it continues, the exception is raised once more, half way to
    the hard limit.
    """
