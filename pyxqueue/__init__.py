"""A task queue: a call of a function runs in a worker process, and its handle returns the result."""

from importlib import import_module
from typing import TYPE_CHECKING

from .client.queue import TaskQueue
from .client.result import AsyncResult
from .client.task import Task, TaskCall
from .context import TaskContext, TaskLogFilter, current_task, progress, track
from .errors import (
    AlreadyRunningError,
    ArgumentError,
    BrokerError,
    BrokerUnavailableError,
    CancelRequested,
    ConfigurationError,
    DependencyFailedError,
    DuplicateTaskError,
    EventTimeoutError,
    NestedWaitError,
    NotDurableError,
    NotInTaskError,
    NotRunningError,
    PayloadTooLargeError,
    PyxqueueError,
    QueueFullError,
    Reject,
    ResultTimeoutError,
    RetryLater,
    SealError,
    SerializationError,
    StoreFileError,
    StoreFullError,
    StoreLayoutError,
    TaskCancelledError,
    TaskError,
    TaskExpiredError,
    TaskStateError,
    TaskSuspended,
    TimeLimitExceeded,
    UnknownScheduleError,
    UnknownTaskError,
    UnknownWorkerError,
)
from .model.message import Cancellation, Progress, TaskStatus
from .printable import quoted

if TYPE_CHECKING:
    from .client.canvas import chain, chord, group
    from .client.finding import Where
    from .client.flows import Flow, FlowResult
    from .client.gathering import agather, as_completed, gather
    from .client.several import run_workers
    from .eager.session import EagerSession, eager_mode
    from .model.events import TickSkipped
    from .model.steps import EventStatus
    from .options.limits import Concurrency, Rate
    from .options.schedules import Missed
    from .options.uniqueness import Debounce, Throttle, Unique
    from .plugin import Outgoing, Plugin
    from .serializers import JSONSerializer, MsgpackSerializer, PickleSerializer, Seal
    from .worker.events import CallConflicted, Event, TaskExpired, TaskSettled, TaskStarted

__version__ = "1.0.0.dev0"

__all__ = [
    "AlreadyRunningError",
    "ArgumentError",
    "AsyncResult",
    "BrokerError",
    "BrokerUnavailableError",
    "CallConflicted",
    "CancelRequested",
    "Cancellation",
    "Concurrency",
    "ConfigurationError",
    "Debounce",
    "DependencyFailedError",
    "DuplicateTaskError",
    "EagerSession",
    "Event",
    "EventStatus",
    "EventTimeoutError",
    "Flow",
    "FlowResult",
    "JSONSerializer",
    "Missed",
    "MsgpackSerializer",
    "NestedWaitError",
    "NotDurableError",
    "NotInTaskError",
    "NotRunningError",
    "Outgoing",
    "PayloadTooLargeError",
    "PickleSerializer",
    "Plugin",
    "Progress",
    "PyxqueueError",
    "QueueFullError",
    "Rate",
    "Reject",
    "ResultTimeoutError",
    "RetryLater",
    "Seal",
    "SealError",
    "SerializationError",
    "StoreFileError",
    "StoreFullError",
    "StoreLayoutError",
    "Task",
    "TaskCall",
    "TaskCancelledError",
    "TaskContext",
    "TaskError",
    "TaskExpired",
    "TaskExpiredError",
    "TaskLogFilter",
    "TaskQueue",
    "TaskSettled",
    "TaskStarted",
    "TaskStateError",
    "TaskStatus",
    "TaskSuspended",
    "Throttle",
    "TickSkipped",
    "TimeLimitExceeded",
    "Unique",
    "UnknownScheduleError",
    "UnknownTaskError",
    "UnknownWorkerError",
    "Where",
    "agather",
    "as_completed",
    "chain",
    "chord",
    "current_task",
    "eager_mode",
    "gather",
    "group",
    "progress",
    "run_workers",
    "track",
]

_LATER = {
    "client.canvas": ("chain", "chord", "group"),
    "client.finding": ("Where",),
    "client.flows": ("Flow", "FlowResult"),
    "client.gathering": ("agather", "as_completed", "gather"),
    "client.several": ("run_workers",),
    "eager.session": ("EagerSession", "eager_mode"),
    "model.events": ("TickSkipped",),
    "model.steps": ("EventStatus",),
    "options.limits": ("Concurrency", "Rate"),
    "options.schedules": ("Missed",),
    "options.uniqueness": ("Debounce", "Throttle", "Unique"),
    "plugin": ("Outgoing", "Plugin"),
    "serializers": ("JSONSerializer", "MsgpackSerializer", "PickleSerializer", "Seal"),
    "worker.events": ("CallConflicted", "Event", "TaskExpired", "TaskSettled", "TaskStarted"),
}
"""What not every program uses, by the module that is imported when one of its names is first used."""


def __getattr__(name: str) -> object:
    for module, names in _LATER.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return value
    raise AttributeError(f"{__name__} has no attribute {quoted(name)}", name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
