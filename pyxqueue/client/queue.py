"""`TaskQueue`, the queue of an application. It connects tasks, codec, store and workers."""

# ruff: noqa: PLC0415 - what most programs do not use is imported by its property

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from typing_extensions import ParamSpec

from ..clock import Seconds
from ..codec import MAX_PAYLOAD, Codec
from ..core import QueueCore
from ..eager.session import EagerSession
from ..ids import id_text
from ..names import Unique, home_or_error, load
from ..options import DEFAULT_GRACE, DEFAULT_WAIT_MS, TaskOptions, takes_options, takes_options_too
from ..printable import counted, quoted
from ..protocols import Backend, ResultStore, Serializer
from ..registry import Registry
from ..serializers import Seal
from ..stores import OpenStore
from .compat import ReleaseNames
from .decorator import TaskDecorator
from .flow_block import BuildsFlows
from .habits import QUEUE_HABITS, no_attribute
from .keeping import KeepsResources
from .local_workers import LocalWorkers
from .producing import Producer
from .queue_store import QueueStore
from .result import AsyncResult
from .sending import SendsEvents
from .settings import (
    check_kinds,
    check_known,
    check_numbers,
    check_prefix,
    check_stores,
    eager_by_environment,
    failed_limits,
    find_serializers,
    seal_of_environment,
    statistics_by_environment,
    store_and_name,
    store_options,
)
from .task import Task

if TYPE_CHECKING:
    from ..model.schedules import Schedule
    from ..options.fairness import Fairness, Weights
    from ..plugin import Plugin, Plugins
    from ..worker.events import Observer
    from .admin import Admin
    from .bounding import Bound
    from .limits import Limits
    from .schedules import Schedules

P = ParamSpec("P")
R = TypeVar("R")


class TaskQueue(Unique, BuildsFlows, SendsEvents, KeepsResources, ReleaseNames):
    """A queue of tasks in one store. It connects to the store on first use.

    Parameters, all optional:

    * `store`, or `client`: a redis-py client, a URL (``redis://``, ``rediss://``, ``unix://``, ``sqlite:///``,
      ``memory://``; ``redis+sentinel://`` and ``redis+cluster://`` with several hosts), or the name of the queue on
      the default store, which is the URL in ``PYXQUEUE_URL``, else the SQLite file ``.pyxqueue/queue.db`` below the
      current folder. pyxqueue opens connections of its own, to the server of the client.
    * `stream_key`: the queue's name, and in Redis the key of its stream.
    * `consumer_group`: the group of the workers. Each group gets every task; the workers of one group share them.
    * `serializer`: ``"json"`` (the default), ``"msgpack"``, ``"pickle"``, the name of an installed one, or a
      `Serializer`; `accept`: further serializers whose payloads are read.
    * `seal`: a `Seal` to sign payloads with; payloads without its signature are then refused. Default: the keys in
      ``PYXQUEUE_SEAL_KEYS``, separated by commas.
    * `lease`: seconds a task stays with a worker that gives no sign of life (default 30, ``PYXQUEUE_LEASE``). The store
      keeps it with the group; a value given here replaces the stored one.
    * `queue_size`: how many ended tasks the history keeps (default 10,000).
    * `failed_ttl`: for how many seconds failed tasks are kept; `max_failed`: how many of them are, the newest ones.
      Supervisors delete the others and log how many (default: all are kept until they are retried or deleted).
    * `max_payload`, `max_result`: the limits in bytes for the arguments and headers of a call, and for a result
      (default 1 MiB).
    * `worker_prefix`: the beginning of the names of workers.
    * `timeout`: how long a worker waits for work in one request, in **milliseconds** (default 2,000). It is the only
      time that is not in seconds; the name and the unit are those of release 0.1.1.
    * `fair_by`: the name of the parameter that has the tenant: a flood of calls of one does not delay those of others.
      `weights`: the weight of each tenant that does not have 1, as a mapping or a function of the tenant.
    * `observer`: a function that is called with each event: by the worker with `TaskStarted`, `TaskSettled`,
      `TaskExpired` and `TickSkipped`, by the program that calls a task with `CallConflicted`.
    * `plugins`: objects of subclasses of `Plugin`.
    * `eager`: run tasks in this process when they are called, without a store (``PYXQUEUE_EAGER=1``); `propagate`:
      let the call raise what the task raises.
    * `statistics`: whether workers count how tasks end, and how long they wait and run (the default; not with
      ``PYXQUEUE_STATISTICS=0``). ``queue.admin.statistics()`` shows it.
    * `max_length`: the most tasks that may be waiting or running. A call beyond that raises `QueueFullError`, after
      `full_wait` seconds (default 0) in which there was no room. It is a limit for calls only: retries, schedules and
      flows are never refused, and nothing is removed because of it.
    * `broker` instead of `store`: a `Backend` that you made; with `results`, a `ResultStore` for the results.

    Raises `ConfigurationError` for an argument that is not valid.
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
        failed_ttl: Seconds | None = None,
        max_failed: int | None = None,
        max_payload: int = MAX_PAYLOAD,
        max_result: int = MAX_PAYLOAD,
        worker_prefix: str = "",
        timeout: int = DEFAULT_WAIT_MS,
        fair_by: str | None = None,
        weights: Weights | None = None,
        observer: Observer | None = None,
        plugins: Sequence[Plugin] = (),
        eager: bool | None = None,
        propagate: bool = False,
        statistics: bool | None = None,
        max_length: int | None = None,
        full_wait: Seconds = 0.0,
        broker: Backend | None = None,
        results: ResultStore | None = None,
        **unknown: Never,
    ) -> None:
        check_known(unknown, TaskQueue)
        store, stream_key = store_and_name(store, stream_key, client)
        check_stores(store, broker, results)
        sizes = {"max_payload": max_payload, "max_result": max_result}
        check_numbers(timeout=timeout, **sizes)
        check_prefix(worker_prefix)
        is_eager = eager_by_environment() if eager is None else eager
        counts = statistics_by_environment() if statistics is None else statistics
        check_kinds(seal, observer, eager=is_eager, propagate=propagate, statistics=counts)
        options = store_options(stream_key, consumer_group, lease, queue_size)
        serializers, kept = find_serializers(serializer, accept), failed_limits(failed_ttl, max_failed)
        codec = Codec.of(options.stream_key, serializers, seal or seal_of_environment(), options.group, **sizes)
        hooks, observer = _hooks(plugins, observer)
        self.core = QueueCore(options, codec, Registry(), observer, self._declarations, hooks, [], counts, kept)
        self._store = QueueStore(self.core, store, broker, results, EagerSession(propagate) if is_eager else None)
        fairness, bound = _fairness(fair_by, weights), _bound(self._store, max_length, full_wait)
        self._workers = LocalWorkers(self, self._store, worker_prefix, timeout)
        check = self._workers.check_servable
        self._producer = Producer(codec, self._store.here, check, self, fairness, observer, hooks, bound)

    def __repr__(self) -> str:
        name, group = quoted(self.stream_key), quoted(self.consumer_group)
        return f"<TaskQueue {name} group {group}, {counted(len(self.core.registry), 'task')}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the queue by its name. The process that loads it imports the module and uses the queue there."""
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
        """The store, opened for this process. A forked child opens its own."""
        return self._store.here()

    @property
    def eager(self) -> EagerSession | None:
        """The eager session of this queue, with which tests move the clock; None if the queue is not eager."""
        if self._store.eager is not None:
            self._store.here()  # from now on the session knows the schedules of this queue
        return self._store.eager

    @property
    def schedules(self) -> Schedules:
        """The schedules of the queue: tasks that run by themselves at certain times."""
        from .schedules import Schedules

        return Schedules(self._store, self._producer)

    @property
    def limits(self) -> Limits:
        """The limits of the queue: how many tasks may run at the same time or start in a period, and what waits."""
        from .limits import Limits

        return Limits(self._store)

    @property
    def admin(self) -> Admin:
        """The administration: inspects and changes tasks, workers and groups."""
        from .admin import Admin

        return Admin(self._store, self._producer)

    # Tasks

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    @takes_options(TaskOptions)
    def task(self) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Register a function as a task. Calling the task that this returns enqueues a call.

        The parameters are the fields of `TaskOptions`. Raises `DuplicateTaskError` if another function has the name,
        `ConfigurationError` for a lambda without a name and for an option that is not valid.
        """
        decorator = TaskDecorator(self.core.codec, self.core.registry, self._producer, **options)
        return decorator if function is None else decorator(function)

    @takes_options_too(TaskOptions)
    def every(self, interval: Seconds, /, **options: Any) -> TaskDecorator:
        """Register a function as a task that runs by itself at an interval: seconds, or a `timedelta`.

        The same as ``task(every=interval, ...)``.
        """
        return TaskDecorator(self.core.codec, self.core.registry, self._producer, every=interval, **options)

    def result(self, task_id: str | bytes) -> AsyncResult[Any]:
        """Return the handle of a task by its id. It does not check whether the task exists."""
        return self._producer.handle(id_text(task_id))

    def close(self) -> None:
        """Close this process's connections and the resources of its tasks. The next use opens them again."""
        for resources in self.core.resources:
            resources.close()
        self._store.close()

    def _declarations(self) -> list[Schedule]:
        if all(task.options.plan is None for task in self.core.registry):
            return []
        from .schedules import declarations

        return declarations(self.core.registry, self._producer)

    # Workers

    def run(
        self,
        nworkers: int | None = None,
        *,
        threads: int | None = None,
        concurrency: int | None = None,
        grace: Seconds = DEFAULT_GRACE,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: float | None = None,
        parent: int | None = None,
    ) -> None:
        """Start worker processes and block until SIGTERM or SIGINT. Call it in the main thread.

        It returns when the workers have stopped, and the program continues.

        Parameters: `nworkers`, the number of processes (default, also for 0: one per CPU); `threads`, tasks that each
        process runs at once; `concurrency`, ``async def`` tasks that it runs at once (default 100); `grace`, seconds
        that running tasks may continue after the signal, before they are given back to the queue; a second signal gives
        them back at once; `max_tasks_per_child` and `max_memory_per_child`, the tasks after which, and the MiB of
        memory above which, a process is replaced by a new one, once what it runs has ended (default: never).

        Raises `AlreadyRunningError` if this program already has workers.
        """
        lifetime = max_tasks_per_child, max_memory_per_child
        self._workers.run(self._workers.options(nworkers, threads, concurrency, grace, lifetime), parent)

    def start(
        self,
        nworkers: int | None = None,
        *,
        threads: int | None = None,
        concurrency: int | None = None,
        grace: Seconds = DEFAULT_GRACE,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: float | None = None,
    ) -> None:
        """Start workers in the background, with the tasks that are defined now, and return. The parameters are those of
        `run`. The workers stop with `shutdown`, or when this program ends.

        If a task was defined or redefined since the last call, as in a notebook, it stops the old workers first;
        otherwise it raises `AlreadyRunningError`.
        """
        self._workers.stop_outdated()
        lifetime = max_tasks_per_child, max_memory_per_child
        self._workers.start(self._workers.options(nworkers, threads, concurrency, grace, lifetime))

    def restart(self) -> None:
        """Stop the workers that `start` started, as `shutdown` does, and start as many with the tasks that are defined
        now. Raises `NotRunningError` if there are none."""
        self._workers.restart()

    def shutdown(self) -> None:
        """Stop the workers that `start` started, as SIGTERM does, and wait until they have ended. Raises
        `NotRunningError` if there are none."""
        self._workers.shutdown()


def _fairness(fair_by: str | None, weights: Weights | None) -> Fairness | None:
    if fair_by is None and weights is None:
        return None
    from ..options.fairness import fairness_option

    return fairness_option(fair_by, weights)


def _bound(store: QueueStore, max_length: int | None, full_wait: Seconds) -> Bound | None:
    if max_length is None and not full_wait:
        return None
    from .bounding import bound_of

    return bound_of(store, max_length, full_wait)


def _hooks(plugins: Sequence[Plugin], observer: Observer | None) -> tuple[Plugins | None, Observer | None]:
    if isinstance(plugins, tuple | list) and not plugins:
        return None, observer
    from ..plugin import hooks_of

    return hooks_of(plugins, observer)


def store_of(queue: TaskQueue) -> QueueStore:
    """Return the store of a queue, for the command line."""
    return queue._store  # noqa: SLF001 - not for applications


def workers_of(queue: TaskQueue) -> LocalWorkers:
    """Return the workers of a queue in this program, for the command line."""
    return queue._workers  # noqa: SLF001 - not for applications
