"""A task queue: a call of a function runs in a worker process, and its handle returns the result."""

from .client.gathering import agather, as_completed, gather
from .client.queue import TaskQueue
from .client.result import AsyncResult
from .client.several import run_workers
from .client.task import Task
from .context import TaskContext, current_task, progress, track
from .eager import EagerSession, eager_mode
from .errors import (
    AlreadyRunningError,
    ArgumentError,
    BrokerError,
    BrokerUnavailableError,
    CancelRequested,
    ConfigurationError,
    DuplicateTaskError,
    NotInTaskError,
    NotRunningError,
    PayloadTooLargeError,
    PyxqueueError,
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
    TimeLimitExceeded,
    UnknownScheduleError,
    UnknownTaskError,
)
from .limiting import Concurrency, Rate
from .model.message import Cancellation, Progress, TaskStatus
from .scheduling import Missed
from .serializers import JSONSerializer, MsgpackSerializer, PickleSerializer, Seal
from .uniqueness import Debounce, Throttle, Unique
from .worker import CallConflicted, Event, TaskExpired, TaskSettled, TaskStarted, TickSkipped

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
    "DuplicateTaskError",
    "EagerSession",
    "Event",
    "JSONSerializer",
    "Missed",
    "MsgpackSerializer",
    "NotInTaskError",
    "NotRunningError",
    "PayloadTooLargeError",
    "PickleSerializer",
    "Progress",
    "PyxqueueError",
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
    "TaskCancelledError",
    "TaskContext",
    "TaskError",
    "TaskExpired",
    "TaskExpiredError",
    "TaskQueue",
    "TaskSettled",
    "TaskStarted",
    "TaskStateError",
    "TaskStatus",
    "Throttle",
    "TickSkipped",
    "TimeLimitExceeded",
    "Unique",
    "UnknownScheduleError",
    "UnknownTaskError",
    "agather",
    "as_completed",
    "current_task",
    "eager_mode",
    "gather",
    "progress",
    "run_workers",
    "track",
]
