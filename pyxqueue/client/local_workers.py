"""The workers that this program runs or has started.

Most programs only enqueue. The supervisor and the worker are imported when workers are first run or started.
"""

# ruff: noqa: PLC0415 - see above
from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..clock import Seconds
from ..context import running_task
from ..errors import AlreadyRunningError, ConfigurationError, NotRunningError
from ..log import get_logger
from ..names import home_of, import_path, nameless_script
from ..printable import quoted
from ..protocols import StoreOptions, in_one_process
from ..registry import TaskSpec
from .queue_store import QueueStore

if TYPE_CHECKING:
    from ..supervisor.launch import Started, WorkerParts
    from ..worker.options import WorkerOptions
    from ..worker.turns import Turns

log = get_logger("pyxqueue")


class LocalWorkers(Struct, eq=False):
    """Runs, starts and stops the workers of one queue, and notes the tasks they were started with."""

    queue: object
    """The queue itself. Worker processes that are not forked import it by its name."""
    store: QueueStore
    prefix: str
    wait: int
    """Milliseconds a worker waits in one request for work."""
    _started: Started | None = None
    _options: WorkerOptions | None = None
    """The options of the last start."""
    _served: dict[str, Callable[..., Any]] = {}
    """The tasks the workers were started with."""
    _warned: dict[str, Callable[..., Any]] = {}
    """The definitions made after the start for which a warning was logged."""
    running: bool = False
    """Whether the supervisor of this queue runs in this process."""

    def run(self, options: WorkerOptions, parent: int | None) -> None:
        """Run the supervisor in this process until a signal stops it."""
        from ..supervisor.launch import run_workers

        self.check_shareable()
        configure_logging()
        self.running = True
        try:
            run_workers(parts_of([self]), options, parent)
        finally:
            self.running = False

    def start(self, options: WorkerOptions) -> None:
        """Start the supervisor in another process."""
        from ..supervisor.launch import start_workers

        self._started = start_workers(parts_of([self]), options, self.check_shareable)
        self._options, self._served = options, self._defined()

    def restart(self) -> None:
        """Stop the workers that were started, and start as many with the tasks that are defined now."""
        self.shutdown()
        assert self._options is not None
        self.start(self._options)

    def shutdown(self) -> None:
        """Stop the workers that were started, as SIGTERM does, and wait for their end. Raises `NotRunningError`."""
        if self._started is None:
            raise NotRunningError("this program has not started workers: call start() before shutdown() or restart()")
        self._started.stop()
        self._started = None

    def stop_outdated(self) -> None:
        """Stop the workers that were started, if other tasks were defined then than now."""
        if self._started is not None and self._served != self._defined():
            self.shutdown()

    def options(
        self,
        nworkers: int | None,
        threads: int | None,
        concurrency: int | None,
        grace: Seconds,
        lifetime: tuple[int | None, float | None] = (None, None),
    ) -> WorkerOptions:
        """Return options for workers; `lifetime`: the most tasks and MiB of a process.

        Raises `AlreadyRunningError`, and `ConfigurationError` if workers cannot run."""
        from ..supervisor.launch import check_startable
        from ..worker.options import WorkerOptions

        if self.running or self._started is not None:
            raise AlreadyRunningError(f"{self.queue} already has workers; stop them with a signal, or with shutdown()")
        check_startable()
        if self.store.eager is not None:
            raise ConfigurationError(
                "an eager queue runs its tasks when they are called, without workers: remove eager=True or unset "
                "PYXQUEUE_EAGER"
            )
        processes = {"processes": nworkers} if nworkers else {}
        try:
            return WorkerOptions(
                threads=threads,
                concurrency=concurrency,
                grace=grace,
                max_tasks_per_child=lifetime[0],
                max_memory_per_child=lifetime[1],
                prefix=self.prefix,
                wait_ms=self.wait,
                **processes,
            )
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"the options for workers are not valid: {error}") from error

    def check_shareable(self) -> None:
        """Raise `ConfigurationError` if other processes cannot share the store."""
        if in_one_process(self.store.open()):
            raise ConfigurationError(
                "a memory:// store exists only inside one process, so worker processes cannot share it: use a file "
                "(the default of TaskQueue()), a redis:// URL, or eager=True in tests"
            )

    def check_servable(self, task: TaskSpec) -> None:
        """Raise `ConfigurationError` if no worker can import the task.

        Logs a warning, once for each definition, if the workers started here have an older definition or none.
        """
        if self._started is not None:
            if task.function not in (self._served.get(task.name), self._warned.get(task.name)):
                self._warned[task.name] = task.function
                log.warning(
                    "%s was defined after the workers were started: they have an older definition or none. "
                    "Call queue.restart()",
                    task.name,
                )
        elif (script := nameless_script(task.name)) and not (self.running or self.store.eager or running_task()):
            raise ConfigurationError(
                f"no worker can import the task {task.name}: {quoted(script)} is not a module name. Rename the file to "
                f"letters, digits and _, such as my_tasks.py; or call queue.start() in this program first"
            )

    def home(self) -> Home | None:
        """Return where a new interpreter finds the queue and its tasks; None if they cannot be imported."""
        modules = {task.function.__module__ for task in self.store.core.registry}
        tasks = {import_path(module) for module in modules}
        home = home_of(self.queue, sorted(modules))
        return None if home is None or "__main__" in tasks else Home(":".join(home), tasks - {home[0]})

    def _defined(self) -> dict[str, Callable[..., Any]]:
        return {task.name: task.function for task in self.store.core.registry}


class Home(Struct, frozen=True):
    """Where a new interpreter finds a queue and its tasks."""

    app: str
    imports: AbstractSet[str]
    """Other modules with tasks of the queue."""


def parts_of(workers: Sequence[LocalWorkers], turns: Turns | None = None) -> WorkerParts:
    """Return the parts of workers that serve these queues. `turns`: by default equal ones."""
    from ..supervisor.launch import QueueSource, WorkerParts
    from ..worker.turns import EQUAL

    names = _names([one.store.core.options for one in workers])
    sources = [QueueSource(one.store.open, one.store.core, name) for one, name in zip(workers, names, strict=True)]
    return WorkerParts(sources, _reimport([one.home() for one in workers]), turns or EQUAL)


def _names(queues: Sequence[StoreOptions]) -> list[str]:
    """Return a name for each queue for the log; no two of these queues have the same one."""
    names = [one.stream_key for one in queues]
    if len(set(names)) < len(names):
        names = [f"{one.stream_key} group {one.group}" for one in queues]
    if len(set(names)) < len(names):  # in several stores
        names = [f"{name}, number {number}" for number, name in enumerate(names, 1)]
    return names


def _reimport(homes: Sequence[Home | None]) -> list[str] | None:
    """Return the command that loads the queues and their tasks in a new interpreter; None if one cannot be imported."""
    from ..supervisor.starters import pyxqueue_command

    found = [home for home in homes if home is not None]
    if len(found) < len(homes):
        return None
    modules = set[str]().union(*(home.imports for home in found)) - {home.app.partition(":")[0] for home in found}
    imports = [word for module in sorted(modules) for word in ("--import", module)]
    paths = [word for path in sys.path if isinstance(path, str) for word in ("--sys-path", path)]
    first, *others = (home.app for home in found)
    return pyxqueue_command(*paths, "--app", first, *(word for app in others for word in ("--also", app)), *imports)


def configure_logging() -> None:
    """Log to stderr, unless the script has configured logging."""
    from ..worker.logs import LINE, log_to_stderr

    if not logging.getLogger().handlers:
        log_to_stderr(logging.Formatter(LINE), logging.INFO)
