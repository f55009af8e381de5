"""The queue: what applications hold. It wires tasks, codec, stores and workers together, and does little itself."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from typing_extensions import ParamSpec

from .administration import Administration, id_text
from .clock import Seconds
from .codec import MAX_PAYLOAD, Codec
from .context import current_task, running_task
from .decorator import ErrorTypes, TaskDecorator
from .eager import EagerSession
from .errors import AlreadyRunningError, ConfigurationError, NotRunningError
from .habits import QUEUE_HABITS, no_attribute
from .log import get_logger
from .names import Unique, home_of, home_or_error, import_path, load, nameless_script
from .printable import quoted
from .producing import Producing
from .protocols import Broker, Inspector, ResultStore, Serializer, StoreOptions, in_one_process
from .result import AsyncResult
from .serializers import Seal
from .settings import (
    check_complete,
    check_known,
    check_names,
    check_numbers,
    check_prefix,
    eager_by_environment,
    find_serializer,
    lease_ms,
    seal_of_environment,
    store_and_name,
)
from .stores import OpenStores, StoreSource, find_store
from .task import Registry, Task
from .worker import Observer, WorkerOptions
from .worker.events import LINE, log_to_stderr
from .worker.held import HeldTable
from .worker.interpreter import pyxqueue_command
from .worker.launch import Started, WorkerParts, check_startable, run_workers, start_workers
from .worker.options import DEFAULT_GRACE, DEFAULT_WAIT
from .worker.processes import serve

log = get_logger("pyxqueue")

P = ParamSpec("P")
R = TypeVar("R")


class TaskQueue(Unique, Producing, Administration):
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
    * `broker` and `results` instead of `store`: stores of your own making.

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
        timeout: int = DEFAULT_WAIT,
        observer: Observer | None = None,
        eager: bool | None = None,
        propagate: bool = False,
        broker: Broker | None = None,
        results: ResultStore | None = None,
        **unknown: Never,
    ) -> None:
        check_known(unknown, TaskQueue)
        store, stream_key = store_and_name(store, stream_key, client)
        if store is not None and broker is not None:
            raise ConfigurationError("give either a store, or broker= and results=")
        check_complete(broker=(broker, Broker), results=(broker if results is None else results, ResultStore))
        check_complete(broker=(broker, Inspector))
        check_numbers(queue_size=queue_size, timeout=timeout, max_payload=max_payload, max_result=max_result)
        check_prefix(worker_prefix)
        name = "tasks" if stream_key is None else stream_key
        check_names(stream_key=name, consumer_group=consumer_group)
        self.options = StoreOptions(
            stream_key=name,
            group=consumer_group,
            lease=lease_ms(lease),
            history=10_000 if queue_size is None else queue_size,
        )
        self._given = store
        self._own = (broker, results)
        serializers = [find_serializer(one) for one in (serializer, *accept)]
        self.codec = Codec.of(
            self.options.stream_key, serializers, seal or seal_of_environment(), max_payload=max_payload,
            max_result=max_result,
        )  # fmt: skip
        self.registry = Registry()
        self.worker_prefix = worker_prefix
        self.observer = observer
        self._wait = timeout
        self._eager = EagerSession(propagate) if (eager_by_environment() if eager is None else eager) else None
        self._found: StoreSource | None = None
        self._open: OpenStores | None = None
        self._open_lock = threading.Lock()
        self._started: Started | None = None
        self._how: WorkerOptions | None = None
        self._served: dict[str, Callable[..., Any]] = {}
        self._told: dict[str, Callable[..., Any]] = {}
        self._running = False

    def __repr__(self) -> str:
        name, group = quoted(self.options.stream_key), quoted(self.options.group)
        return f"<TaskQueue {name} group {group}, {len(self.registry)} tasks>"

    def __reduce__(self) -> tuple[Any, ...]:
        """By name: whoever loads it needs the module that makes it, and finds its own queue there."""
        return load, home_or_error(self, "__main__")

    if not TYPE_CHECKING:  # a type checker must not think that there are more attributes

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, QUEUE_HABITS)

    @property
    def stream_key(self) -> str:
        return self.options.stream_key

    @property
    def consumer_group(self) -> str:
        return self.options.group

    @property
    def store(self) -> Any:
        """What it was told of its store, the `store` or `broker` argument; None leaves it to ``PYXQUEUE_URL``."""
        return self._given if self._own[0] is None else self._own[0]

    # Tasks

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = ...,
        retries: int = ...,
        backoff: Seconds = ...,
        backoff_max: Seconds = ...,
        jitter: float = ...,
        retry_on: ErrorTypes = ...,
        give_up_on: ErrorTypes = ...,
        max_crashes: int = ...,
        timeout: Seconds | None = ...,
        hard_timeout: Seconds | None = ...,
        result_ttl: Seconds = ...,
    ) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Register a function as a task; calling what this returns enqueues a call.

        Parameters, times in seconds or as a `timedelta`: `name` (default: its import path); `retries` (0), with
        pauses that double from `backoff` (1) to `backoff_max` (600), a part `jitter` (0.5) of each random; `retry_on`
        and `give_up_on`, exception types; `max_crashes` (3), how often it may kill its process before it is buried;
        `timeout`, after which `TimeLimitExceeded` is raised in it; `hard_timeout`, after which its process is killed
        (default `timeout` + 10); `result_ttl` (a day), how long its result can be read.

        Raises `DuplicateTaskError` if another function has the name, `ConfigurationError` for a lambda without one.
        """
        decorator = TaskDecorator(self.codec, self.registry, self, **options)
        return decorator if function is None else decorator(function)

    def result(self, task_id: str | bytes) -> AsyncResult[Any]:
        return AsyncResult(self._reader(self.stores), id_text(task_id))

    def update_task_progress(self, progress: float | str) -> None:
        """Say, inside a running task, how far it is: a number (a percentage, unless the task says a total with
        `pyxqueue.progress`), or a text. Raises `NotInTaskError` outside of a task."""
        if isinstance(progress, str):
            current_task().progress(0, None, progress)
        else:
            current_task().progress(progress)

    # Stores

    @property
    def stores(self) -> OpenStores:
        """The stores, opened for this process; a forked child opens its own."""
        if (session := self.eager) is not None:
            return OpenStores.of(session.backend_for(self, self.store))
        if self._open is None or self._open.pid != os.getpid():
            with self._open_lock:
                if self._open is None or self._open.pid != os.getpid():
                    self._open = self._open_stores()
        return self._open

    @property
    def eager(self) -> EagerSession | None:
        """The eager session of this queue, to move its clock; None if it is not eager."""
        return EagerSession.override or self._eager

    def _store(self) -> StoreSource:
        """Where the store is; looked up, and said in the log, once."""
        if self._found is None:
            self._found = find_store(self._given, self.options)
        return self._found

    def _open_stores(self) -> OpenStores:
        broker, results = self._own
        return OpenStores.of(self._store().open() if broker is None else broker, results)

    def close(self) -> None:
        """Let go of this process's connections. The queue can still be used: it opens them anew."""
        with self._open_lock:
            if self._open is not None and self._open.pid == os.getpid():
                self._open.broker.close()
            self._open = None

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
        options = self._worker_options(nworkers, threads, concurrency, grace)
        configure_logging()
        self._running = True
        try:
            run_workers(self._parts(), options, parent)
        finally:
            self._running = False

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
        if self._started is not None and self._served != {task.name: task.function for task in self.registry}:
            self.shutdown()
        options = self._worker_options(nworkers, threads, concurrency, grace)
        self._launch(options)

    def restart(self) -> None:
        """Stop what `start` started, as `shutdown` does, and start as many anew, with the tasks that are defined by
        now. Raises `NotRunningError`."""
        self.shutdown()
        assert self._how is not None
        self._launch(self._how)

    def _launch(self, options: WorkerOptions) -> None:
        self._started = start_workers(self._parts(), options)
        self._how, self._served = options, {task.name: task.function for task in self.registry}

    def shutdown(self) -> None:
        """Stop what `start` started, as SIGTERM does, and wait for it. Raises `NotRunningError`."""
        if self._started is None:
            raise NotRunningError("no workers were started here: shutdown() belongs to start()")
        self._started.stop()
        self._started = None

    def _check_servable(self, task: Task[..., Any]) -> None:
        """Raises `ConfigurationError` for a task of a script that no worker could import; logs, once for each, that
        the workers started here have another definition, or none."""
        if self._started is not None:
            if task.function not in (self._served.get(task.name), self._told.get(task.name)):
                self._told[task.name] = task.function
                log.warning(
                    "%s was defined after its workers were started: they have an older definition, or none. "
                    "restart() gives them this one",
                    task.name,
                )
        elif (script := nameless_script(task.name)) and not (self._running or self.eager or running_task()):
            raise ConfigurationError(
                f"no worker can have {task.name}: {quoted(script)} is not the name of a module. Rename the file to "
                f"letters, "
                "digits and _, such as my_tasks.py; or call queue.start() in this program before"
            )

    def serve_child(
        self, consumer: str, table_fd: int, supervisor: int, threads: int | None, concurrency: int | None
    ) -> int:
        """Be a worker process that was started anew instead of forked: for the command ``pyxqueue child`` only."""
        options = WorkerOptions(threads=threads, concurrency=concurrency, wait=self._wait)
        parts, table = self._parts(), HeldTable(table_fd)
        return serve(lambda name, table: parts.make_worker(options, name, table), consumer, table, supervisor)

    def _worker_options(
        self, nworkers: int | None, threads: int | None, concurrency: int | None, grace: Seconds
    ) -> WorkerOptions:
        if self._running or self._started is not None:
            raise AlreadyRunningError(f"{self} already has workers; stop them with a signal, or with shutdown()")
        check_startable()
        if self.eager is not None:
            raise ConfigurationError(
                "an eager queue (eager=True, PYXQUEUE_EAGER) runs its tasks where they are enqueued: it has no workers"
            )
        if in_one_process(self._own[0] or self._store().open()):
            raise ConfigurationError(
                "a memory:// store lives in one process, so worker processes cannot share it: use a file (TaskQueue() "
                "has one), a redis:// URL, or eager=True in tests"
            )
        try:
            options = WorkerOptions(
                threads=threads, concurrency=concurrency, grace=grace, prefix=self.worker_prefix, wait=self._wait,
                **({"processes": nworkers} if nworkers else {}),
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"workers cannot be started like this: {error}") from error
        return options

    def _parts(self) -> WorkerParts:
        def connect() -> tuple[Broker, ResultStore]:
            stores = self._open_stores()
            return stores.broker, stores.results

        return WorkerParts(connect, self.registry, self.codec, self.observer, self._reimport())

    def _reimport(self) -> list[str] | None:
        """The command that loads this queue and its tasks in a new interpreter, or None if they cannot be imported."""
        tasks = {import_path(task.function.__module__) for task in self.registry}
        home = home_of(self, sorted({task.function.__module__ for task in self.registry}))
        if home is None or "__main__" in tasks:
            return None
        imports = [word for module in sorted(tasks - {home[0]}) for word in ("--import", module)]
        paths = [word for path in sys.path if isinstance(path, str) for word in ("--sys-path", path)]
        return pyxqueue_command(*paths, "--app", ":".join(home), *imports)


def configure_logging() -> None:
    """Show the log of a worker that a script runs, unless the script has set up logging by itself."""
    if not logging.getLogger().handlers:
        log_to_stderr(logging.Formatter(LINE), logging.INFO)
