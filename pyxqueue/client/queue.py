"""The queue: what applications hold. It wires tasks, codec, stores and workers together, and does little itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from typing_extensions import ParamSpec

from ..clock import Seconds
from ..codec import MAX_PAYLOAD, Codec
from ..core import QueueCore
from ..eager import EagerSession
from ..names import Unique, home_or_error, load
from ..options import TaskOptions, takes_options
from ..printable import quoted
from ..protocols import Backend, ResultStore, Serializer
from ..registry import Registry
from ..serializers import Seal
from ..stores import OpenStore
from ..worker import Observer
from ..worker.options import DEFAULT_GRACE, DEFAULT_WAIT_MS
from .admin import Admin, id_text
from .compat import ReleaseNames
from .decorator import TaskDecorator
from .habits import QUEUE_HABITS, no_attribute
from .local_workers import LocalWorkers
from .opened import QueueStore
from .producing import Producer
from .result import AsyncResult
from .settings import (
    check_known,
    check_numbers,
    check_prefix,
    check_stores,
    eager_by_environment,
    find_serializer,
    seal_of_environment,
    store_and_name,
    store_options,
)
from .task import Task

P = ParamSpec("P")
R = TypeVar("R")


class TaskQueue(Unique, ReleaseNames):
    """A queue of tasks on one store. Making one connects to nothing.

    Parameters, all optional:

    * `store`, or `client`: a redis-py client, a URL (``redis://``, ``rediss://``, ``unix://``, ``sqlite:///``,
      ``memory://``), or the name of the queue on the default store, which is the URL in ``PYXQUEUE_URL``, else the
      SQLite file ``.pyxqueue/queue.db`` below the current folder. A client is only read for where to connect;
      pyxqueue makes connections of its own.
    * `stream_key`: the queue's name, and in Redis the key of its stream.
    * `consumer_group`: the group this side belongs to. Every group gets every task; within one, workers share them.
    * `serializer`: ``"json"`` (the default), ``"msgpack"``, ``"pickle"``, the name of one that is installed, or a
      `Serializer`; `accept`: further ones that may be read.
    * `seal`: a `Seal`; payloads are signed with it, and unsigned ones refused. Default: the keys, separated by commas,
      in ``PYXQUEUE_SEAL_KEYS``.
    * `lease`: seconds a task stays with a worker that gives no sign of life (default 30, ``PYXQUEUE_LEASE``). It is
      stored with the group; a value given here replaces the stored one.
    * `queue_size`: how many ended tasks can still be looked at (default 10,000).
    * `max_payload`, `max_result`: bytes that the arguments of a call with its headers, and a result, may need
      (default 1 MiB).
    * `worker_prefix`: in front of the names of workers. `timeout`: ms a worker waits in one request for work.
    * `observer`: called in the worker with each `TaskStarted` and `TaskSettled`.
    * `eager`: run tasks in this process as they are enqueued, without a store (``PYXQUEUE_EAGER=1``); `propagate`:
      what they raise comes out of the call.
    * `broker` instead of `store`: a `Backend` of your own making; with `results`, a `ResultStore` for the results.

    Raises `ConfigurationError` for arguments that cannot be used.
    """

    def __init__(
        self,
        store: Any = None,
        stream_key: str | None = None,
        *,
        client: Any = None,
        consumer_group: str = "cg",
        serializer: str | Serializer = "json",
        accept: Iterable[str | Serializer] = (),
        seal: Seal | None = None,
        lease: Seconds | None = None,
        queue_size: int | None = None,
        max_payload: int = MAX_PAYLOAD,
        max_result: int = MAX_PAYLOAD,
        worker_prefix: str = "",
        timeout: int = DEFAULT_WAIT_MS,
        observer: Observer | None = None,
        eager: bool | None = None,
        propagate: bool = False,
        broker: Backend | None = None,
        results: ResultStore | None = None,
        **unknown: Never,
    ) -> None:
        check_known(unknown, TaskQueue)
        store, stream_key = store_and_name(store, stream_key, client)
        check_stores(store, broker, results)
        check_numbers(timeout=timeout, max_payload=max_payload, max_result=max_result)
        check_prefix(worker_prefix)
        options = store_options(stream_key, consumer_group, lease, queue_size)
        serializers = [find_serializer(one) for one in (serializer, *accept)]
        seal = seal or seal_of_environment()
        codec = Codec.of(
            options.stream_key, serializers, seal, options.group, max_payload=max_payload, max_result=max_result
        )
        session = EagerSession(propagate) if (eager_by_environment() if eager is None else eager) else None
        self.core = QueueCore(options, codec, Registry(), observer)
        self._store = QueueStore(self.core, store, broker, results, session)
        self._workers = LocalWorkers(self, self._store, worker_prefix, timeout)
        self._admin = Admin(self._store)
        self._producer = Producer(codec, self._store.here, self._workers.check_servable, self)

    def __repr__(self) -> str:
        name, group = quoted(self.stream_key), quoted(self.consumer_group)
        return f"<TaskQueue {name} group {group}, {len(self.core.registry)} tasks>"

    def __reduce__(self) -> tuple[Any, ...]:
        """By name: whoever loads it needs the module that makes it, and finds its own queue there."""
        return load, home_or_error(self, "__main__")

    if not TYPE_CHECKING:  # a type checker must not think that there are more attributes

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, QUEUE_HABITS)

    @property
    def stream_key(self) -> str:
        return self.core.options.stream_key

    @property
    def consumer_group(self) -> str:
        return self.core.options.group

    @property
    def stores(self) -> OpenStore:
        """The store, opened for this process; a forked child opens its own."""
        return self._store.here()

    @property
    def eager(self) -> EagerSession | None:
        """The eager session of this queue, to move its clock; None if it is not eager."""
        return self._store.eager

    @property
    def admin(self) -> Admin:
        """Looking at the tasks and the workers, and acting on them."""
        return self._admin

    # Tasks

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    @takes_options(TaskOptions)
    def task(self) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Register a function as a task; calling what this returns enqueues a call.

        Its parameters are the fields of `TaskOptions`. Raises `DuplicateTaskError` if another function has the name,
        `ConfigurationError` for a lambda without one, and for an option that cannot be used.
        """
        decorator = TaskDecorator(self.core.codec, self.core.registry, self._producer, **options)
        return decorator if function is None else decorator(function)

    def result(self, task_id: str | bytes) -> AsyncResult[Any]:
        """The handle of a task by its id; whether there is such a task shows when it is used."""
        return self._producer.handle(id_text(task_id))

    def close(self) -> None:
        """Let go of this process's connections. The queue can still be used: it opens them again."""
        self._store.close()

    # Workers

    def run(
        self,
        nworkers: int | None = None,
        *,
        threads: int | None = None,
        concurrency: int | None = None,
        grace: Seconds = DEFAULT_GRACE,
        parent: int | None = None,
    ) -> None:
        """Start worker processes and block until SIGTERM or SIGINT; must be called in the main thread.

        It returns when they have stopped, and the program goes on with what stands behind it.

        Parameters: `nworkers`, processes (default, also for 0: one per CPU); `threads`, tasks at once in each;
        `concurrency`, ``async def`` tasks at once in each (default 100); `grace`, seconds that running tasks may go
        on after the signal, before they are handed back; a second signal hands them back at once.

        Raises `AlreadyRunningError`.
        """
        self._workers.run(self._workers.options(nworkers, threads, concurrency, grace), parent)

    def start(
        self,
        nworkers: int | None = None,
        *,
        threads: int | None = None,
        concurrency: int | None = None,
        grace: Seconds = DEFAULT_GRACE,
    ) -> None:
        """`run` in a process of its own, with the tasks that are defined by now; returns at once. They stop with
        `shutdown`, or when this program ends.

        Called again after a task was defined or redefined, as in a notebook, it stops the old workers first. Raises
        `AlreadyRunningError` where nothing has changed.
        """
        self._workers.stop_outdated()
        self._workers.start(self._workers.options(nworkers, threads, concurrency, grace))

    def restart(self) -> None:
        """Stop what `start` started, as `shutdown` does, and start as many with the tasks that are defined by now.
        Raises `NotRunningError`."""
        self._workers.restart()

    def shutdown(self) -> None:
        """Stop what `start` started, as SIGTERM does, and wait for it. Raises `NotRunningError`."""
        self._workers.shutdown()


def store_of(queue: TaskQueue) -> QueueStore:
    """Where a queue keeps its tasks, for the command line."""
    return queue._store  # noqa: SLF001 - not for applications


def workers_of(queue: TaskQueue) -> LocalWorkers:
    """The workers of a queue in this program, for the command line."""
    return queue._workers  # noqa: SLF001 - not for applications
