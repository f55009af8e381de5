"""What users may rely on: a change of it fails here, and belongs into the changelog."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

import pyxqueue
import pyxqueue.testing
from pyxqueue import AsyncResult, Task, TaskContext, TaskQueue
from pyxqueue.client.admin import Admin
from pyxqueue.options import CallOptions, TaskOptions

NAMES = [
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
TESTING = [
    "BackendContract",
    "BrokerContract",
    "EagerSession",
    "FakeClock",
    "Fault",
    "FaultyBroker",
    "FaultyCall",
    "FaultyResults",
    "FaultySchedules",
    "Harness",
    "InspectorContract",
    "ResultStoreContract",
    "ScheduleContract",
    "SerializerContract",
    "assert_enqueued",
    "drain",
    "eager_mode",
]


def signature(function: Callable[..., Any]) -> str:
    """The signature as it is written, without the quotes that inspect puts around annotations."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))


def members(kind: type) -> Mapping[str, str]:
    """The public methods and attributes of a class, with their signatures."""
    found = {}
    for name, value in inspect.getmembers_static(kind):
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        found[name] = signature(function) if inspect.isfunction(function) else "attribute"
    return found


SIGNATURES: Mapping[type, Mapping[str, str]] = {
    TaskQueue: {
        "__init__": (
            "(self, store: Any = None, stream_key: str | None = None, *, client: Any = None, consumer_group: "
            "str = 'cg', serializer: str | Serializer = 'json', accept: Iterable[str | Serializer] = (), "
            "seal: Seal | None = None, lease: Seconds | None = None, queue_size: int | None = None, "
            "failed_ttl: Seconds | None = None, max_failed: int | None = None, "
            "max_payload: int = 1048576, max_result: int = 1048576, worker_prefix: str = '', timeout: int = "
            "2000, fair_by: str | None = None, weights: Weights | None = None, "
            "observer: Observer | None = None, plugins: Sequence[Plugin] = (), eager: bool | None = None, "
            "propagate: bool = False, statistics: bool | None = None, "
            "max_length: int | None = None, full_wait: Seconds = 0.0, "
            "broker: Backend | None = None, results: ResultStore | None = None, "
            "**unknown: Never) -> None"
        ),
        "admin": "attribute",
        "clear_tasks": "(self, start: str | bytes = '-', end: str | bytes = '+', count: int | None = None) -> int",
        "close": "(self) -> None",
        "consumer_group": "attribute",
        "eager": "attribute",
        "flow": "(self, flow_id: str | None = None) -> Flow",
        "every": signature(TaskOptions).replace("(", "(self, interval: Seconds, /, ", 1).removesuffix("None")
        + "TaskDecorator",
        "gc": "(self) -> int",
        "get_task": "(self, task_id: str | bytes) -> dict[str, Any]",
        "get_task_progress": "(self, task_id: str | bytes) -> Any",
        "get_tasks": (
            "(self, end: str | bytes = '+', start: str | bytes = '-', count: int = 10) -> list[dict[str, Any]]"
        ),
        "get_workers": "(self) -> dict[str, dict[str, Any]]",
        "resource": "(self, factory: Callable[[], Any], /) -> Resource[Any]",
        "result": "(self, task_id: str | bytes) -> AsyncResult[Any]",
        "retry_task": "(self, task_id: str | bytes) -> AsyncResult[Any]",
        "run": (
            "(self, nworkers: int | None = None, *, threads: int | None = None, concurrency: int | None = "
            "None, grace: Seconds = 25.0, max_tasks_per_child: int | None = None, "
            "max_memory_per_child: float | None = None, parent: int | None = None) -> None"
        ),
        "limits": "attribute",
        "restart": "(self) -> None",
        "schedules": "attribute",
        "asend_event": "(self, task: AsyncResult[Any] | TaskId, name: str, value: Any = None) -> EventStatus",
        "send_event": "(self, task: AsyncResult[Any] | TaskId, name: str, value: Any = None) -> EventStatus",
        "shutdown": "(self) -> None",
        "start": (
            "(self, nworkers: int | None = None, *, threads: int | None = None, concurrency: int | None = "
            "None, grace: Seconds = 25.0, max_tasks_per_child: int | None = None, "
            "max_memory_per_child: float | None = None) -> None"
        ),
        "stores": "attribute",
        "stream_key": "attribute",
        "task": "(self, function: Callable[..., Any] | None = None, **options: Any) -> Any",
        "task_total": "(self) -> int",
        "update_task_progress": "(self, progress: float | str) -> None",
    },
    Admin: {
        "__init__": "(self, store: QueueStore, producer: Producer) -> None",
        "cancel": (
            "(self, ids: TaskId | Iterable[TaskId] | None = None, *, force: bool = False, "
            "place: Place | str | None = None, where: Where | None = None, limit: int = 1000) -> BatchResult"
        ),
        "delete": (
            "(self, ids: TaskId | Iterable[TaskId] | None = None, *, place: Place | str | None = None, "
            "where: Where | None = None, limit: int = 1000) -> BatchResult"
        ),
        "diagnose": "(self) -> Sequence[Finding]",
        "drain": "(self, target: str) -> Sequence[str]",
        "edit": (
            "(self, task_id: TaskId, *, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, "
            "name: str | None = None, priority: int | None = None) -> AsyncResult[Any]"
        ),
        "explain": "(self, task_id: TaskId) -> Explanation",
        "failures": "(self, limit: int = 5000) -> FailurePage",
        "list": (
            "(self, place: Place | str, *, where: Where | None = None, after: str = '', limit: int = 50, "
            "peek: int = 512, scan: int | None = None) -> ListPage"
        ),
        "failed": "(self, *, after: str = '', limit: int = 50) -> TaskPage",
        "flow": "(self, task_id: str | bytes) -> FlowView",
        "retry_flow": "(self, task_id: str | bytes) -> int",
        "groups": "(self) -> Sequence[str]",
        "info": "(self, group: str | None = None) -> QueueInfo",
        "pause": "(self, *, limit: str | None = None, key: object = None, task: str | None = None) -> bool",
        "purge": "(self, *, waiting: bool = False, failed: bool = False, history: bool = False) -> int",
        "queues": "(self, limit: int = 50) -> QueuePage | None",
        "remove_group": "(self, group: str) -> None",
        "resume": "(self, *, limit: str | None = None, key: object = None, task: str | None = None) -> bool",
        "retry": (
            "(self, ids: TaskId | Iterable[TaskId] | None = None, *, all_failed: bool = False, ended: bool = False, "
            "fresh: bool = False, where: Where | None = None, limit: int = 1000) -> BatchResult"
        ),
        "statistics": "(self, minutes: int = 60) -> Statistics",
        "stop": "(self, target: str) -> Sequence[str]",
        "task": "(self, task_id: TaskId) -> TaskDetails",
        "tasks": (
            "(self, state: TaskStatus | str | None = None, *, name: str | None = None, after: str = '', "
            "limit: int = 50) -> TaskPage"
        ),
        "workers": "(self, *, tasks: int = 3) -> Sequence[WorkerInfo]",
    },
    Task: {
        "__call__": "(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]",
        "__init__": "(self, function: Callable[P, Any], name: str, options: TaskOptions, producer: Producer) -> None",
        "aenqueue": "(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]",
        "amap": (
            "(self, calls: Iterable[Sequence[Any] | Mapping[str, Any]], /, *, task_ids: Iterable[str] | None "
            "= None, **common: Any) -> list[AsyncResult[R]]"
        ),
        "call": "(self, *args: P.args, **kwargs: P.kwargs) -> R",
        "enqueue": "(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]",
        "map": (
            "(self, calls: Iterable[Sequence[Any] | Mapping[str, Any]], /, *, task_ids: Iterable[str] | None "
            "= None, **common: Any) -> list[AsyncResult[R]]"
        ),
        "of": "(self, *args: Any, **kwargs: Any) -> TaskCall[R]",
        "with_options": (
            "(self, *, delay: Seconds | None = None, eta: datetime | None = None, expires: Seconds | datetime | None = "
            "None, task_id: str | None = None,"
            " headers: Mapping[str, str] | None = None, priority: int | None = None,"
            " durability: DurabilityOption | None = None, unique: Unique | None = None,"
            " debounce: Debounce | None = None, throttle: Throttle | None = None) -> Task[P, R]"
        ),
    },
    AsyncResult: {
        "__call__": "(self, block: bool = True, timeout: Seconds | None = None) -> R | None",
        "__init__": "(self, reader: Reader, task_id: str, task_name: str | None = None, created: bool = False) -> None",
        "acancel": "(self, force: bool = False) -> Cancellation",
        "adone": "(self) -> bool",
        "aforget": "(self) -> None",
        "aget": "(self, timeout: Seconds | None = None, *, show_progress: bool = False) -> R",
        "ainfo": "(self) -> TaskDetails",
        "aprogress": "(self) -> Progress | None",
        "astate": "(self) -> TaskStatus",
        "cancel": "(self, force: bool = False) -> Cancellation",
        "done": "attribute",
        "forget": "(self) -> None",
        "get": "(self, timeout: Seconds | None = None, *, show_progress: bool = False) -> R",
        "info": "(self) -> TaskDetails",
        "progress": "attribute",
        "state": "attribute",
        "watch": "(self, timeout: Seconds | None = None) -> Watch",
    },
    TaskContext: {
        "__init__": (
            "(self, id: str, name: str, attempt: int, queue: str, headers: Mapping[str, str], report: "
            "Callable[[Progress], None], served: Sequence[str] = (), *, open_steps: Callable[[], RunSteps] | None = "
            "None, group: str = '', worker: str = '', args: Sequence[Any] = (), kwargs: Mapping[str, Any] = NOTHING, "
            "message: Message | None = None, since: Callable[[], float | "
            "None] | None = None) -> None"
        ),
        "agather": (
            "(self, name: str, calls: Iterable[CallOf[Any]], /, *, return_exceptions: bool = False) -> list[Any]"
        ),
        "args": "attribute",
        "asave": "(self, cursor: Any, /) -> None",
        "asleep": "(self, name: str, seconds: Seconds, /) -> None",
        "astep": "(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any",
        "attempt": "attribute",
        "await_event": "(self, name: str, /, timeout: Seconds | None = None) -> Any",
        "cursor": "(self, default: Any = None) -> Any",
        "due": "attribute",
        "enqueued": "attribute",
        "gather": (
            "(self, name: str, calls: Iterable[CallOf[Any]], /, *, return_exceptions: bool = False) -> list[Any]"
        ),
        "group": "attribute",
        "headers": "attribute",
        "id": "attribute",
        "kwargs": "attribute",
        "log_fields": "attribute",
        "logger": "attribute",
        "missed": "attribute",
        "name": "attribute",
        "progress": "(self, done: float, total: float | None = None, message: str = '') -> None",
        "queue": "attribute",
        "save": "(self, cursor: Any, /) -> None",
        "sleep": "(self, name: str, seconds: Seconds, /) -> None",
        "step": "(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T",
        "tick": "attribute",
        "wait_event": "(self, name: str, /, timeout: Seconds | None = None) -> Any",
        "waited": "attribute",
        "worker": "attribute",
    },
}


@pytest.mark.parametrize(("module", "names"), [(pyxqueue, NAMES), (pyxqueue.testing, TESTING)], ids=["main", "testing"])
def test_the_public_names(module: object, names: list[str]) -> None:
    """`__all__` is sorted, and each of its names exists."""
    public = getattr(module, "__all__")  # noqa: B009 - the modules' type has no such attribute

    assert public == names == sorted(names)
    assert [name for name in public if not hasattr(module, name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_explained(name: str) -> None:
    """Every public name has a docstring of its own, not an inherited one."""
    thing = getattr(pyxqueue, name)

    text = vars(thing)["__doc__"] if inspect.isclass(thing) else thing.__doc__
    assert text
    assert not text.startswith(f"{name}(")  # what is made up where there is none


@pytest.mark.parametrize("kind", SIGNATURES, ids=lambda kind: kind.__name__)
def test_the_public_members(kind: type) -> None:
    """Public members have these names, parameters, defaults and types."""
    assert members(kind) == SIGNATURES[kind]


@pytest.mark.parametrize("kind", [TaskQueue, Admin, Task, AsyncResult])
def test_every_public_method_is_explained(kind: type) -> None:
    """Every public method has a docstring, unless its name says it all."""
    names = [name for name in vars(kind) if not name.startswith("_") and name not in ("stream_key", "consumer_group")]

    assert [name for name in names if not inspect.getdoc(getattr(kind, name))] == []


@pytest.mark.parametrize("kind", [TaskOptions, CallOptions])
def test_every_option_is_explained(kind: type) -> None:
    """Every option has a text below it, which the documentation shows."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    explained = [
        before.target.id
        for before, after in pairwise(tree.body)
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr)
    ]

    assert explained == list(inspect.signature(kind).parameters)


PACKAGES = ("supervisor", "backends", "worker.worker", "worker.logs", "eager.backend", "testing", "cli", "inflight")
"""What runs tasks, keeps them or tests them: packages, or the modules that import the rest of theirs."""
FEATURES = (
    "client.admin", "client.gathering", "client.limits", "client.schedules", "client.several", "client.unique",
    "client.views", "model.schedules", "model.ticks", "options.fairness", "options.limits", "options.schedules",
    "options.uniqueness", "split", "ticking",
)  # fmt: skip
OTHERS = ("click", "cronsim", "logging.handlers", "multiprocessing", "pickle", "redis", "rich", "sqlite3", "zoneinfo")


def test_a_program_that_only_enqueues_imports_little() -> None:
    """What runs tasks is imported when workers start, a store when it is opened, and a feature when it is used."""
    queue = "pyxqueue.TaskQueue('redis://localhost').task(name='a')(print)"
    program = f"import sys, pyxqueue; {queue}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())

    assert "pyxqueue.client.queue" in imported
    unwanted = (*(f"pyxqueue.{name}." for name in (*PACKAGES, *FEATURES)), *(f"{name}." for name in OTHERS))
    assert not [name for name in imported if f"{name}.".startswith(unwanted)]


def test_a_name_that_is_imported_later_is_a_name_as_any_other() -> None:
    """It is listed, it stays the same object, and a name that does not exist is an `AttributeError`."""
    assert set(pyxqueue.__all__) <= set(dir(pyxqueue))
    assert pyxqueue.Unique is pyxqueue.Unique
    with pytest.raises(AttributeError, match="pyxqueue has no attribute 'Uniqe'"):
        _ = getattr(pyxqueue, "Uniqe")  # noqa: B009 - the type checker knows that it is missing
