"""The worker processes that this program runs or has started."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from attrs import define, field

from ..clock import Seconds
from ..context import running_task
from ..errors import AlreadyRunningError, ConfigurationError, NotRunningError
from ..inflight import InFlightTable
from ..log import get_logger
from ..names import home_of, import_path, nameless_script
from ..printable import quoted
from ..protocols import in_one_process
from ..registry import TaskSpec
from ..supervisor.child import serve
from ..supervisor.interpreter import pyxqueue_command
from ..supervisor.launch import Started, WorkerParts, check_startable, run_workers, start_workers
from ..worker import WorkerOptions
from ..worker.events import LINE, log_to_stderr
from .opened import QueueStore

log = get_logger("pyxqueue")


@define(eq=False)
class LocalWorkers:
    """Runs, starts and stops the workers of one queue, and knows which tasks they were started with."""

    queue: object
    """The queue itself; workers that cannot be forked import it by its name."""
    store: QueueStore
    prefix: str
    wait: int
    """Milliseconds a worker waits in one request for work."""
    _started: Started | None = field(default=None, init=False)
    _options: WorkerOptions | None = field(default=None, init=False)
    """How they were started last."""
    _served: dict[str, Callable[..., Any]] = field(factory=dict, init=False)
    """The tasks they were started with."""
    _warned: dict[str, Callable[..., Any]] = field(factory=dict, init=False)
    """The later definitions that the log has told of."""
    _running: bool = field(default=False, init=False)

    def run(self, options: WorkerOptions, parent: int | None) -> None:
        """Be the supervisor of worker processes until told to stop."""
        configure_logging()
        self._running = True
        try:
            run_workers(self.parts(), options, parent)
        finally:
            self._running = False

    def start(self, options: WorkerOptions) -> None:
        """Start a supervisor in a process of its own."""
        self._started = start_workers(self.parts(), options)
        self._options, self._served = options, self._defined()

    def restart(self) -> None:
        """Stop what was started, and start as many with the tasks that are defined by now."""
        self.shutdown()
        assert self._options is not None
        self.start(self._options)

    def shutdown(self) -> None:
        """Stop what was started, as SIGTERM does, and wait for it. Raises `NotRunningError`."""
        if self._started is None:
            raise NotRunningError("no workers were started here: shutdown() belongs to start()")
        self._started.stop()
        self._started = None

    def stop_outdated(self) -> None:
        """Stop what was started with other tasks than those that are defined by now, if anything was."""
        if self._started is not None and self._served != self._defined():
            self.shutdown()

    def options(
        self, nworkers: int | None, threads: int | None, concurrency: int | None, grace: Seconds
    ) -> WorkerOptions:
        """How to run them. Raises `AlreadyRunningError`, and `ConfigurationError` where they cannot be run."""
        if self._running or self._started is not None:
            raise AlreadyRunningError(f"{self.queue} already has workers; stop them with a signal, or with shutdown()")
        check_startable()
        if self.store.eager is not None:
            raise ConfigurationError(
                "an eager queue (eager=True, PYXQUEUE_EAGER) runs its tasks where they are enqueued: it has no workers"
            )
        if in_one_process(self.store.open()):
            raise ConfigurationError(
                "a memory:// store lives in one process, so worker processes cannot share it: use a file (TaskQueue() "
                "has one), a redis:// URL, or eager=True in tests"
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
            raise ConfigurationError(f"workers cannot be started like this: {error}") from error

    def check_servable(self, task: TaskSpec) -> None:
        """Raises `ConfigurationError` for a task of a script that no worker could import; logs, once for each, that
        the workers started here have another definition, or none."""
        if self._started is not None:
            if task.function not in (self._served.get(task.name), self._warned.get(task.name)):
                self._warned[task.name] = task.function
                log.warning(
                    "%s was defined after its workers were started: they have an older definition, or none. "
                    "restart() gives them this one",
                    task.name,
                )
        elif (script := nameless_script(task.name)) and not (self._running or self.store.eager or running_task()):
            raise ConfigurationError(
                f"no worker can have {task.name}: {quoted(script)} is not the name of a module. Rename the file to "
                f"letters, digits and _, such as my_tasks.py; or call queue.start() in this program before"
            )

    def serve_child(
        self, consumer: str, table_fd: int, supervisor: int, threads: int | None, concurrency: int | None
    ) -> int:
        """Be a worker process that its supervisor started as a new interpreter instead of forking it."""
        options = WorkerOptions(threads=threads, concurrency=concurrency, wait_ms=self.wait)
        parts, table = self.parts(), InFlightTable(table_fd)
        return serve(lambda name, table: parts.make_worker(options, name, table), consumer, table, supervisor)

    def parts(self) -> WorkerParts:
        """What workers are made of."""
        core = self.store.core
        return WorkerParts(self.store.open, core.registry, core.codec, core.observer, self._reimport())

    def _defined(self) -> dict[str, Callable[..., Any]]:
        return {task.name: task.function for task in self.store.core.registry}

    def _reimport(self) -> list[str] | None:
        """The command that loads the queue and its tasks in a new interpreter; None if they cannot be imported."""
        modules = {task.function.__module__ for task in self.store.core.registry}
        tasks = {import_path(module) for module in modules}
        home = home_of(self.queue, sorted(modules))
        if home is None or "__main__" in tasks:
            return None
        imports = [word for module in sorted(tasks - {home[0]}) for word in ("--import", module)]
        paths = [word for path in sys.path if isinstance(path, str) for word in ("--sys-path", path)]
        return pyxqueue_command(*paths, "--app", ":".join(home), *imports)


def configure_logging() -> None:
    """Show the log of a worker that a script runs, unless the script has set up logging by itself."""
    if not logging.getLogger().handlers:
        log_to_stderr(logging.Formatter(LINE), logging.INFO)
