"""The workers that this program runs or has started.

Most programs only enqueue. The supervisor and the worker are imported when workers are first run or started.
"""

# ruff: noqa: PLC0415 - see above
from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field

from ..clock import Seconds
from ..context import running_task
from ..errors import AlreadyRunningError, ConfigurationError, NotRunningError
from ..log import get_logger
from ..names import home_of, import_path, nameless_script
from ..printable import quoted
from ..protocols import in_one_process
from ..registry import TaskSpec
from ..worker import WorkerOptions
from ..worker.events import LINE, log_to_stderr
from .opened import QueueStore

if TYPE_CHECKING:
    from ..supervisor.launch import Started, WorkerParts

log = get_logger("pyxqueue")


@define(eq=False)
class LocalWorkers:
    """Runs, starts and stops the workers of one queue, and notes the tasks they were started with."""

    queue: object
    """The queue itself. Worker processes that are not forked import it by its name."""
    store: QueueStore
    prefix: str
    wait: int
    """Milliseconds a worker waits in one request for work."""
    _started: Started | None = field(default=None, init=False)
    _options: WorkerOptions | None = field(default=None, init=False)
    """The options of the last start."""
    _served: dict[str, Callable[..., Any]] = field(factory=dict, init=False)
    """The tasks the workers were started with."""
    _warned: dict[str, Callable[..., Any]] = field(factory=dict, init=False)
    """The definitions made after the start for which a warning was logged."""
    _running: bool = field(default=False, init=False)

    def run(self, options: WorkerOptions, parent: int | None) -> None:
        """Run the supervisor in this process until a signal stops it."""
        from ..supervisor.launch import run_workers

        configure_logging()
        self._running = True
        try:
            run_workers(self.parts(), options, parent)
        finally:
            self._running = False

    def start(self, options: WorkerOptions) -> None:
        """Start the supervisor in another process."""
        from ..supervisor.launch import start_workers

        self._started = start_workers(self.parts(), options)
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
        self, nworkers: int | None, threads: int | None, concurrency: int | None, grace: Seconds
    ) -> WorkerOptions:
        """Return options for workers. Raises `AlreadyRunningError`, and `ConfigurationError` if workers cannot run."""
        from ..supervisor.launch import check_startable

        if self._running or self._started is not None:
            raise AlreadyRunningError(f"{self.queue} already has workers; stop them with a signal, or with shutdown()")
        check_startable()
        if self.store.eager is not None:
            raise ConfigurationError(
                "an eager queue runs its tasks when they are called, without workers: remove eager=True or unset "
                "PYXQUEUE_EAGER"
            )
        if in_one_process(self.store.open()):
            raise ConfigurationError(
                "a memory:// store exists only inside one process, so worker processes cannot share it: use a file "
                "(the default of TaskQueue()), a redis:// URL, or eager=True in tests"
            )
        processes = {"processes": nworkers} if nworkers else {}
        try:
            return WorkerOptions(
                threads=threads,
                concurrency=concurrency,
                grace=grace,
                prefix=self.prefix,
                wait_ms=self.wait,
                **processes,
            )
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"the options for workers are not valid: {error}") from error

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
        elif (script := nameless_script(task.name)) and not (self._running or self.store.eager or running_task()):
            raise ConfigurationError(
                f"no worker can import the task {task.name}: {quoted(script)} is not a module name. Rename the file to "
                f"letters, digits and _, such as my_tasks.py; or call queue.start() in this program first"
            )

    def serve_child(
        self, consumer: str, table_fd: int, supervisor: int, threads: int | None, concurrency: int | None
    ) -> int:
        """Run as a worker process that the supervisor started as a new interpreter. Returns the exit code."""
        from ..inflight import InFlightTable
        from ..supervisor.child import serve

        options = WorkerOptions(threads=threads, concurrency=concurrency, wait_ms=self.wait)
        parts, table = self.parts(), InFlightTable(table_fd)
        return serve(partial(parts.make_worker, options), consumer, table, supervisor)

    def parts(self) -> WorkerParts:
        """Return the parts that workers are made of."""
        from ..supervisor.launch import WorkerParts

        core = self.store.core
        return WorkerParts(self.store.open, core.registry, core.codec, core.observer, self._reimport())

    def _defined(self) -> dict[str, Callable[..., Any]]:
        return {task.name: task.function for task in self.store.core.registry}

    def _reimport(self) -> list[str] | None:
        """Return the command that loads the queue and its tasks in a new interpreter; None if they cannot be
        imported."""
        from ..supervisor.starters import pyxqueue_command

        modules = {task.function.__module__ for task in self.store.core.registry}
        tasks = {import_path(module) for module in modules}
        home = home_of(self.queue, sorted(modules))
        if home is None or "__main__" in tasks:
            return None
        imports = [word for module in sorted(tasks - {home[0]}) for word in ("--import", module)]
        paths = [word for path in sys.path if isinstance(path, str) for word in ("--sys-path", path)]
        return pyxqueue_command(*paths, "--app", ":".join(home), *imports)


def configure_logging() -> None:
    """Log to stderr, unless the script has configured logging."""
    if not logging.getLogger().handlers:
        log_to_stderr(logging.Formatter(LINE), logging.INFO)
