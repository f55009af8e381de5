"""Starts workers: chooses the executor and the process model, in this process or in another one."""

from __future__ import annotations

import _thread
import contextlib
import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import BuiltinFunctionType

from attrs import define, frozen

from ..core import QueueCore
from ..errors import ConfigurationError
from ..ids import new_id
from ..inflight import InFlightTable
from ..protocols import Broker, schedules_of
from ..registry import TaskSpec
from ..worker.events import Event, log
from ..worker.executors import Executor, Inline, Threads
from ..worker.logs import enable_logs
from ..worker.loop import Loop
from ..worker.options import WorkerOptions
from ..worker.serving import QueueParts
from ..worker.tally import Tally, tally_of
from ..worker.turns import EQUAL, Turns
from ..worker.worker import Worker
from .care import QueueAccess
from .child import boot, consumer_name
from .duties import Duty
from .log_process import LogWriter
from .processes import end_process, fork, fork_is_safe, readable
from .signs import SignsOfLife
from .starters import Starter, fork_worker, spawn_worker
from .supervisor import Supervisor

_CONCURRENCY = 100
_THREADS = 8
"""The number of threads for plain functions beside an event loop."""
_READY = b"r"
_NAMED = 20
"""How many tasks the first line of the log names."""
_IMPORT_PATIENCE = 60.0


being_imported: list[str] = []
"""The modules that the command line is importing for their tasks, in any thread of this process. They must not start
workers meanwhile, for the workers would import them again."""


@frozen
class QueueSource:
    """A queue that workers are to serve, from which the parts for each process are made."""

    connect: Callable[[], Broker]
    """Opens a store that belongs to the process that calls it."""
    core: QueueCore
    name: str = ""
    """The queue's name in the log."""

    @property
    def tasks(self) -> Sequence[TaskSpec]:
        return list(self.core.registry)

    def access(self) -> QueueAccess:
        """Return what a supervisor needs of the queue."""
        return QueueAccess(
            self.connect,
            self.core.codec.sealed,
            self.name,
            self.duties,
            is_observed=self.core.observer is not None,
            label=self.core.codec.queue,
            tasks={task.name: task.signature.text for task in self.tasks},
            serializers=list(self.core.codec.serializers),
            tally=lambda broker: self._tally(broker, f"supervisor-{os.getpid()}-{new_id()}"),
            failed=self.core.failed,
        )

    def parts(self, consumer: str) -> QueueParts:
        """Return what a worker needs of the queue. It opens the store."""
        core, broker = self.core, self.connect()
        return QueueParts(
            broker,
            core.registry,
            core.codec,
            core.observer,
            self.name,
            core.plugins,
            core.resources,
            tally=self._tally(broker, consumer),
        )

    def _tally(self, broker: Broker, sender: str) -> Tally | None:
        return tally_of(broker, self.core.registry, sender, wanted=self.core.statistics)

    def duties(self, broker: Broker, tell: Callable[[Event], None]) -> list[Duty]:
        """Return the duties for the schedules and the limits of the queue. Raises `ConfigurationError` if the code
        declares some and the store does not keep any."""
        # The processes have been started: they did not have to wait for these imports.
        from ..options.limits import Declared  # noqa: PLC0415
        from ..ticking import Ticker, store_of_schedules  # noqa: PLC0415
        from .duties.limits import LimitsDuty  # noqa: PLC0415
        from .duties.schedules import SchedulesDuty  # noqa: PLC0415

        duties: list[Duty] = []
        if (schedules := self.core.schedules()) or schedules_of(broker) is not None:
            ticker = Ticker(store_of_schedules(broker), self.core.codec, observe=tell)
            duties.append(SchedulesDuty(ticker, schedules))
        if keep := Declared.by((task.name, task.options.limits) for task in self.tasks).keeper(broker):
            duties.append(LimitsDuty(keep))
        return duties


@frozen
class WorkerParts:
    """What workers need of the queues that they serve."""

    queues: Sequence[QueueSource]
    reimport: Sequence[str] | None = None
    """The command that runs ``pyxqueue`` on the modules of these queues in a new interpreter; None if one has none."""
    turns: Turns = EQUAL
    """How workers take turns between the queues."""

    def make_worker(self, options: WorkerOptions, consumer: str, table: InFlightTable) -> Worker:
        executor, loop = make_executors(options, self.tasks)
        parts = [queue.parts(consumer) for queue in self.queues]
        return Worker(
            parts,
            executor,
            consumer,
            table,
            options.wait_ms,
            loop,
            self.turns,
            grace=options.grace,
            lifetime=options.lifetime(),
        )

    @property
    def tasks(self) -> Sequence[TaskSpec]:
        """The tasks of all queues."""
        return [task for queue in self.queues for task in queue.tasks]


def check_startable() -> None:
    """Raise `ConfigurationError` if this program must not start workers now."""
    if being_imported:
        raise ConfigurationError(
            f"{being_imported[-1]} starts workers while it is imported for the tasks in it, and they would import it "
            "again: put queue.run() and queue.start() under `if __name__ == '__main__':`"
        )
    starter: object = _thread.start_new_thread
    if not isinstance(starter, BuiltinFunctionType):
        culprit = getattr(starter, "__module__", starter)
        raise ConfigurationError(
            f"{culprit} has replaced Python's threads in this process, and a worker needs real ones: "
            "workers must not import what patches them (`monkey.patch_all()`). For tasks that wait, use "
            "threads=, `async def`, or a patch that leaves threads alone: gevent's `monkey.patch_all(thread=False)`"
        )


def make_executors(options: WorkerOptions, tasks: Iterable[TaskSpec]) -> tuple[Executor, Loop | None]:
    """Return threads and an event loop if the options or an ``async def`` task need them; otherwise an inline executor,
    or threads if the options ask for them."""
    if _wants_loop(options, tasks):
        return Threads(options.threads or _THREADS), Loop(options.concurrency or _CONCURRENCY)
    return Inline() if options.threads is None else Threads(options.threads), None


def slots_of(options: WorkerOptions, tasks: Iterable[TaskSpec]) -> int:
    """Return how many tasks a process with these executors runs at once."""
    if _wants_loop(options, tasks):
        return (options.threads or _THREADS) + (options.concurrency or _CONCURRENCY)
    return options.threads or 1


def _wants_loop(options: WorkerOptions, tasks: Iterable[TaskSpec]) -> bool:
    has_async = any(inspect.iscoroutinefunction(inspect.unwrap(task.function)) for task in tasks)
    return options.concurrency is not None or has_async


def run_workers(parts: WorkerParts, options: WorkerOptions, parent: int | None = None) -> None:
    """Run the supervisor until SIGTERM, SIGINT or the end of `parent` stops it.

    Raises `ConfigurationError` outside of the main thread, the only one that receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError("queue.run() needs the main thread, where signals arrive: use queue.start()")
    enable_logs()
    if parts.reimport is not None and not fork_is_safe():
        start: Starter = partial(spawn_worker, [*parts.reimport, "child", *_flags(parts, options)])
        make_table = InFlightTable.shared
    else:
        start = partial(fork_worker, partial(parts.make_worker, options))
        make_table = InFlightTable.forked

    with contextlib.closing(LogWriter()) as writer:
        Supervisor(
            options,
            start,
            [queue.access() for queue in parts.queues],
            name=lambda index: consumer_name(options.prefix, index, boot()),
            parent=parent,
            make_table=make_table,
            ready=lambda: _say_ready(parts, options, parent),
            log_writer=writer,
            slots=slots_of(options, parts.tasks),
            signs=SignsOfLife(os.environ if parent is None else {}),  # else another process is watched
        ).run()
        log.info("all workers have stopped")


def _say_ready(parts: WorkerParts, options: WorkerOptions, parent: int | None) -> None:
    """Write the first line of the log, and a byte to the program that started the workers."""
    for queue in parts.queues:
        names = sorted(task.name for task in queue.tasks)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        told = f"{', '.join(names[:_NAMED])}{more}" or "none"
        of = f" of the queue {queue.name}" if len(parts.queues) > 1 else ""
        log.info("workers: %d, pid of the supervisor %d, tasks%s: %s", options.processes, os.getpid(), of, told)
        if not names:
            log.warning(
                "the queue %r has no tasks in this process: workers defer each message, and it fails in the end; "
                "import the modules that define its tasks before the workers start (pyxqueue worker --import MODULE)",
                queue.name,
            )
    if parent is not None:
        with contextlib.suppress(OSError):  # a pipe that only tells of the end of the program
            os.write(parent, _READY)


def _flags(parts: WorkerParts, options: WorkerOptions) -> list[str]:
    """The command-line options of a new interpreter, which logs as much as this one."""
    level = logging.getLogger("pyxqueue").getEffectiveLevel()
    names = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning"}
    log_level = next((name for number, name in names.items() if level <= number), "error")
    flags = ["--processes", str(options.processes), "--grace", str(options.grace), "--log-level", log_level]
    if parts.turns.strict:
        flags.append("--strict")
    if parts.turns.weights:
        flags += ["--weights", ",".join(map(str, parts.turns.weights))]
    if options.threads is not None:
        flags += ["--threads", str(options.threads)]
    if options.concurrency is not None:
        flags += ["--concurrency", str(options.concurrency)]
    if options.max_tasks_per_child is not None:
        flags += ["--max-tasks-per-child", str(options.max_tasks_per_child)]
    if options.max_memory_per_child is not None:
        flags += ["--max-memory-per-child", str(options.max_memory_per_child)]
    return flags


@define(eq=False)
class Started:
    """Workers that this program has started under a supervisor in another process."""

    pid: int
    _leash: int
    """This program's end of a socket pair: when the program ends, it closes and the supervisor stops."""
    _process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Stop the workers as SIGTERM does, and wait until they have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        if self._process is not None:
            self._process.wait()
        else:
            os.waitpid(self.pid, 0)
        os.close(self._leash)


def start_workers(parts: WorkerParts, options: WorkerOptions, check: Callable[[], None]) -> Started:
    """Start a supervisor in a process of its own.

    `check` raises `ConfigurationError` if workers cannot serve the queue. It opens the store, which takes long the
    first time: a fork then has what it imports, and a new interpreter imports the same at the same time.

    Raises `ConfigurationError` if the tasks cannot be imported there.
    """
    if parts.reimport is not None and not fork_is_safe():
        return _start_interpreter(parts.reimport, _flags(parts, options), check)
    check()
    ours, theirs = (end.detach() for end in socket.socketpair())
    pid = fork()
    if pid:
        os.close(theirs)
        return Started(pid, ours)
    os.close(ours)
    return end_process(lambda: _supervise(parts, options, theirs))


def _start_interpreter(reimport: Sequence[str], flags: Sequence[str], check: Callable[[], None]) -> Started:
    ours, theirs = (end.detach() for end in socket.socketpair())
    command = [*reimport, "worker", *flags, "--parent-fd", str(theirs)]
    process = subprocess.Popen(command, pass_fds=[theirs], start_new_session=True)  # noqa: S603 - our interpreter
    os.close(theirs)
    started = Started(process.pid, ours, process)
    try:
        check()
    except BaseException:
        started.stop()
        raise
    _wait_imported(process, ours)
    return started


def _wait_imported(process: subprocess.Popen[bytes], leash: int) -> None:
    """Wait until the new process says that it has imported the tasks. Raises `ConfigurationError` if it does not."""
    ready = readable([leash], _IMPORT_PATIENCE)
    with contextlib.suppress(ConnectionResetError):
        if ready and os.read(leash, 1) == _READY:
            return
    process.terminate()
    code = process.wait()
    os.close(leash)
    raise ConfigurationError(
        f"the workers exited during startup with code {code}: see stderr. This program has threads, so its workers "
        f"import its module: define the queue at module level, and call queue.start() under "
        f"`if __name__ == '__main__':`"
    )


def _supervise(parts: WorkerParts, options: WorkerOptions, parent: int) -> int:
    os.setsid()  # ^C in the terminal reaches only the program, which decides about its workers
    if sys.stdin is not None:
        sys.stdin.close()
    run_workers(parts, options, parent)
    return 0
