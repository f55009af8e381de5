"""The supervisor: starts worker processes, keeps their leases, replaces them when they die, stops them on a signal.

It runs no user code and has one thread, so that it can fork at any time. What it does, in one loop: wait for a signal,
a death or the next duty; reap; keep. Signals only write a byte into a pipe that the loop waits on.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Protocol

from attrs import define, field, frozen

from ..errors import BrokerError, BrokerUnavailableError
from ..inflight import STUCK, InFlight, InFlightTable
from ..message import Fail, Failure, Record, Retry, Settlement, TaskStatus
from ..protocols import Broker
from ..worker.events import log
from ..worker.options import WorkerOptions
from .child import with_pid
from .keeper import Keeper
from .logwriter import LogWriter
from .processes import adopts_orphans, kill_group
from .watchdog import Watchdog

_MAX_PAUSE = 30.0
_STABLE = 5.0
"""A child that lived this many seconds was not broken from the start."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Starter(Protocol):
    """Starts one worker process and answers its pid, which also is its process group.

    `close_inherited` closes, in a forked process, what belongs to the supervisor alone.
    """

    def __call__(self, consumer: str, table: InFlightTable, close_inherited: Callable[[], None]) -> int: ...


@define(eq=False)
class Child:
    """One place for a worker process, and the process that has it now."""

    index: int
    pid: int = 0
    consumer: str = ""
    table: InFlightTable = field(factory=InFlightTable)
    born: float = 0.0
    failures: int = 0
    restart_at: float = 0.0
    overdue: InFlight | None = None
    """What it was killed for: a task beyond its hard time limit."""
    cancelled: bool = False
    """It was killed because a task in it was cancelled by force."""


@frozen
class Loss:
    """What a process that is gone leaves to be said to the store."""

    consumer: str
    started: list[str]
    overdue: InFlight | None
    held: bool
    """Whether there was anything that somebody could miss."""


@define(eq=False)
class Supervisor:
    """Runs worker processes until told to stop.

    Parameters: `start`, makes a process; `connect`, opens the store, called after the first processes were made;
    `name`, makes the consumer name of a child; `parent`, a file descriptor that becomes readable (at its end) when
    whoever started this supervisor is gone.
    """

    options: WorkerOptions
    start: Starter
    connect: Callable[[], Broker]
    name: Callable[[int], str]
    parent: int | None = None
    make_table: Callable[[], InFlightTable] = InFlightTable.shared
    """The kind of table that `start` can hand to a process."""
    seal: Callable[[Record], Record] = lambda record: record
    """Signs the record of a task that was killed, where the queue has a seal."""
    ready: Callable[[], None] = lambda: None
    """Called when it can be told to stop, before the first process is made."""
    log_writer: LogWriter | None = None
    """The process that writes the log, where there is one."""
    _children: list[Child] = field(factory=list, init=False)
    _signals: int = field(default=0, init=False)
    _deadline: float | None = field(default=None, init=False)
    _broker: Broker | None = field(default=None, init=False)
    _watchdog: Watchdog | None = field(default=None, init=False)
    _keeper: Keeper | None = field(default=None, init=False)
    _unreachable: bool = field(default=False, init=False)
    _losses: list[Loss] = field(factory=list, init=False)
    """Those that the store has not heard of yet."""
    _pipe: tuple[int, int] = field(default=(-1, -1), init=False)
    _adopts: bool = field(factory=adopts_orphans, init=False)

    def run(self) -> None:
        """Returns when it was told to stop and every child is gone.

        Raises `BrokerError` at the start for a store that refuses: there is nothing to wait for.
        """
        self._pipe = reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        previous = {number: signal.signal(number, self._on_signal) for number in (*_STOP_SIGNALS, signal.SIGCHLD)}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            self.ready()
            self._watchdog = Watchdog.start()
            self._children = [Child(index) for index in range(1, self.options.processes + 1)]
            for child in self._children:
                self._spawn(child)
            self._broker = self.connect()
            self._loop(reader)
        finally:
            self._end()
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in _STOP_SIGNALS:
            self._signals += 1

    def _loop(self, reader: int) -> None:
        told = 0
        while True:
            if self.log_writer is not None:
                self.log_writer.tend()
            self._reap()
            if self._signals > told:
                told = self._signals
                self._stop(told)
            self._enforce(time.monotonic())
            alive = [child for child in self._children if child.pid]
            if not alive and self._deadline is not None:
                return
            if self._deadline is None:
                self._restart()
            keeper = self._keeper = self._keeper or self._make_keeper()
            # A server that does not answer takes seconds to say so: while stopping, the grace comes first.
            keeps = keeper is not None and not (keeper.failing and self._deadline is not None)
            pause = keeper.step([child.table for child in alive]) if keeper and keeps else 0.1
            if keeper is not None:
                self._kill_cancelled(keeper)
            if self._losses and keeper and keeps and not keeper.failing:
                self._report()
            self._wait(reader, min(pause, STUCK if any(child.table.busy() for child in alive) else 0.5))

    def _make_keeper(self) -> Keeper | None:
        broker = self._broker
        if broker is None:
            return None
        try:
            return Keeper(broker, broker.lease_ms())
        except BrokerUnavailableError as error:
            if not self._unreachable:
                log.warning("waiting for the store: %s", error)
            self._unreachable = True
            return None

    def _wait(self, reader: int, seconds: float) -> None:
        """Until a signal, the parent's end, or for `seconds`."""
        watched = [reader] if self.parent is None else [reader, self.parent]
        ready, _, _ = select.select(watched, [], [], max(0.0, seconds))
        if reader in ready:
            with suppress(BlockingIOError):
                os.read(reader, 4096)
        if self.parent in ready and self._deadline is None:
            log.info("whoever started these workers is gone: stopping")
            self._signals += 1
            self.parent = None

    # Children

    def _spawn(self, child: Child) -> None:
        child.table.close()
        child.table = self.make_table()
        name = self.name(child.index)
        child.born = time.monotonic()
        child.overdue, child.cancelled = None, False
        child.pid = self.start(name, child.table, self._close_inherited)
        child.consumer = with_pid(name, child.pid)
        if self._watchdog is not None:
            self._watchdog.add(child.pid)

    def _close_inherited(self) -> None:
        if self.log_writer is not None:
            self.log_writer.leave()
        if self._watchdog is not None:
            os.close(self._watchdog.pipe)
        if self._broker is not None:
            self._broker.close()
        for number in self._pipe:
            os.close(number)

    def _restart(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.pid and now >= child.restart_at:
                self._spawn(child)

    def _reap(self) -> None:
        if self._watchdog is not None and self._watchdog.ended():
            log.warning("the watchdog process was killed: starting another")
            self._watchdog = Watchdog.start()
            for child in self._children:
                if child.pid:
                    self._watchdog.add(child.pid)
        for child in self._children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._child_ended(child, os.waitstatus_to_exitcode(status))
        if self._adopts:
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Processes that tasks have left behind become ours where we are PID 1, and stay zombies until we look."""
        ours = {child.pid for child in self._children}
        ours |= {helper.pid for helper in (self._watchdog, self.log_writer) if helper is not None}
        with suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid not in ours:
                os.waitpid(found.si_pid, 0)

    def _child_ended(self, child: Child, code: int) -> None:
        """Give back what a dead process held; what it was running is charged, unless we killed it."""
        kill_group(child.pid)
        if self._watchdog is not None:
            self._watchdog.remove(child.pid)
        child.pid = 0
        now = time.monotonic()
        sound = child.overdue is not None or child.cancelled or now - child.born > _STABLE
        child.failures = 0 if sound else child.failures + 1
        child.restart_at = now + (min(_MAX_PAUSE, 0.1 * 2**child.failures) if child.failures > 1 else 0.0)
        running = [entry for entry in child.table.entries() if entry.running]
        if self._deadline is None or code not in (0, -signal.SIGKILL):
            log.warning("worker process %s ended with %s; it was running %s", child.consumer, code, _names(running))
        blameless = self._deadline is not None or child.overdue is not None or child.cancelled
        self._release(child, [] if blameless else [entry.receipt for entry in running])

    def _release(self, child: Child, started: list[str]) -> None:
        self._losses.append(Loss(child.consumer, started, child.overdue, bool(child.table.entries())))
        silent = self._unreachable or (self._keeper is not None and self._keeper.failing)
        if silent and self._deadline is not None:
            return  # one time-out is enough when everything is to end: the leases end by themselves
        self._report()

    def _report(self) -> None:
        """Give back what the processes held that are gone; as long as the store is away, that is still to be done."""
        try:
            if self._broker is None:
                self._broker = self.connect()
            while self._losses:
                loss = self._losses[0]
                if loss.overdue is not None:
                    self._broker.settle([_over_time(loss.overdue, loss.consumer, self.seal)])
                self._broker.release(loss.consumer, loss.started)
                del self._losses[0]
            self._unreachable = False
        except BrokerUnavailableError as error:
            if not self._unreachable:
                log.warning("what %s held comes back later: %s", self._losses[0].consumer, error)
            self._unreachable = True
        except BrokerError as error:
            lost = self._losses.pop(0)
            if lost.held:
                log.warning("what %s held comes back when its lease ends: %s", lost.consumer, error)

    def _enforce(self, now: float) -> None:
        """Kill the processes of tasks beyond their hard limit, and at the end of the grace everything."""
        for child in self._children:
            if not child.pid:
                continue
            if self._deadline is not None and now >= self._deadline:
                cut_off = [entry for entry in child.table.entries() if entry.running]
                kill_group(child.pid)
                log.warning("the grace is over: killed %s, which was running %s", child.consumer, _names(cut_off))
            elif child.overdue is None and (late := child.table.overdue(now)):
                child.overdue = late[0]
                kill_group(child.pid)
                log.error("task %s is beyond its hard time limit: killed %s", late[0].task_id, child.consumer)

    def _kill_cancelled(self, keeper: Keeper) -> None:
        """Kill the processes of tasks that are to be ended by force; the store ends these as cancelled when it has all
        that such a process held back, uncharged."""
        for child in self._children:
            for table, entry in keeper.to_kill:
                if child.pid and table is child.table and table.runs(entry):
                    child.cancelled = True
                    kill_group(child.pid)
                    log.warning("task %s is cancelled by force: killed %s", entry.task_id, child.consumer)
        keeper.to_kill.clear()

    def _stop(self, signals: int) -> None:
        if signals > 1:
            self._deadline = time.monotonic()
            log.warning("stopping now: running tasks are handed back")
            return
        self._deadline = time.monotonic() + self.options.grace
        for child in self._children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        running = [entry for child in self._children if child.pid for entry in child.table.entries()]
        log.info(
            "stopping: what runs (%d) may end within %g s (signal again to hand them back now)",
            sum(entry.running for entry in running),
            self.options.grace,
        )

    def _end(self) -> None:
        """Leave nothing behind, however the loop ended."""
        for child in self._children:
            if child.pid:
                kill_group(child.pid)
                os.waitpid(child.pid, 0)
                self._release(child, [])
            child.table.close()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._broker is not None:
            self._broker.close()


def _over_time(entry: InFlight, consumer: str, seal: Callable[[Record], Record]) -> Settlement:
    failure = Failure(
        "pyxqueue.errors.TimeLimitExceeded", "the task was beyond its hard time limit, its process was killed"
    )
    if entry.retry_delay >= 0:
        return Settlement(entry.receipt, Retry(round(entry.retry_delay)))
    record = Record(
        entry.task_id, TaskStatus.FAILURE, error=failure, attempt=entry.attempt, worker=consumer, fence=entry.fence
    )
    return Settlement(entry.receipt, Fail(f"{failure.type}: {failure.message}"), seal(record))


def _names(running: list[InFlight]) -> str:
    return ", ".join(entry.task_id for entry in running) or "nothing"
