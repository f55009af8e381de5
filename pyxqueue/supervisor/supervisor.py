"""The supervisor: starts worker processes, does the duties, replaces processes that die, stops them on a signal.

It runs no user code and has one thread, so that it can fork at any time. One loop reaps processes, enforces limits,
does the duties, and waits for a signal, the end of a process or the next duty. Signals only write a byte into a pipe
that the loop waits on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from types import FrameType

from attrs import define, field

from ..inflight import STUCK, InFlight, InFlightTable
from ..model.presence import Order, OrderKind
from ..printable import Lines, indented
from ..stacks import abort, innermost
from ..worker.events import log
from ..worker.lifetime import MIB
from ..worker.options import WorkerOptions
from .care import QueueAccess, QueueCare, share_looks
from .children import Child, Children
from .forwarding import EventForwarder
from .log_process import LogWriter
from .presence import Presence
from .processes import how_it_ended, kill_group, readable
from .signs import SignsOfLife
from .silence import SilenceWatch
from .start_log import StartLog
from .starters import Starter

_IDLE = 0.5
"""Seconds between two rounds of the loop while the workers are idle."""
_NAMED = 20
"""How many tasks a line of the log names."""
_TO_DIE = 0.1
"""How many seconds a process has to write its stacks and die before it is killed."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@define(eq=False)
class Supervisor:
    """Runs worker processes until told to stop.

    Parameters: `start` starts a process; `queues` are the queues that the processes serve; the index of each is its
    number in the tables; `name` returns the consumer name of a child from its index; `parent` is a file descriptor that
    reaches its end, and so becomes readable, when the program that started this supervisor is gone.
    """

    options: WorkerOptions
    start: Starter
    queues: Sequence[QueueAccess]
    name: Callable[[int], str]
    parent: int | None = None
    make_table: Callable[[], InFlightTable] = InFlightTable.shared
    """The kind of table that `start` can hand to a process."""
    ready: Callable[[], None] = lambda: None
    """Called when signals can stop it, before the first process is started."""
    log_writer: LogWriter | None = None
    """The process that writes the log, where there is one."""
    signs: SignsOfLife = field(factory=lambda: SignsOfLife({}))
    """The signs of life for whatever monitors this process."""
    slots: int = 1
    """How many tasks a process runs at once."""
    _children: Children = field(init=False)
    _presence: Presence = field(init=False)
    _cares: Sequence[QueueCare] = field(init=False)
    _forwarder: EventForwarder = field(factory=EventForwarder, init=False)
    _starts: StartLog = field(factory=StartLog, init=False)
    _signals: int = field(default=0, init=False)
    _deadline: float | None = field(default=None, init=False)
    """The end of the grace period, infinite for a drain; None until it is told to end."""
    _silence: SilenceWatch = field(factory=SilenceWatch, init=False)
    _pipe: tuple[int, int] = field(default=(-1, -1), init=False)

    def __attrs_post_init__(self) -> None:
        self._children = Children(self.options.processes, self.start, self.name, self.make_table, self._close_inherited)
        self._presence = presence = Presence(self._children, self.slots)
        self._cares = [
            QueueCare(
                access,
                self._kill_cancelled,
                number,
                several=len(self.queues) > 1,
                tell=partial(self._forwarder.add, number),
                presence=presence,
                obey=self._obey,
            )
            for number, access in enumerate(self.queues)
        ]

    def run(self) -> None:
        """Run until it is told to stop and every child has ended.

        Raises `BrokerError` if the store refuses at the start: waiting would not help.
        """
        self._pipe = reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        previous = {number: signal.signal(number, self._on_signal) for number in (*_STOP_SIGNALS, signal.SIGCHLD)}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            self.ready()
            self._children.open()
            for care in self._cares:
                care.open()
            share_looks(self._cares)
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
            for child, code in self._children.reap(set() if self.log_writer is None else {self.log_writer.pid}):
                self._child_ended(child, code)
            if self._signals > told:
                told = self._signals
                self._stop(told)
            self._enforce(time.monotonic())
            self._end_silent(time.monotonic())
            alive = self._children.alive()
            self._starts.look(alive)
            if not alive and self._deadline is not None:
                return
            if self._deadline is None:
                self._children.restart()
            tables = [child.table for child in alive]
            self.signs.give(ready=bool(alive) and all(table.start.done for table in tables))
            pause = min(self._do_duties(tables), self.signs.longest())
            self._forwarder.hand_out(alive)
            with _asleep(tables) as busy:
                self._wait(reader, min(pause, STUCK if busy else _IDLE))

    def _do_duties(self, tables: list[InFlightTable]) -> float:
        """Do what is due, and return the seconds until this is to be called again."""
        return min([care.step(tables, stopping=self._is_stopping()) for care in self._cares])

    def _wait(self, reader: int, seconds: float) -> None:
        """Wait for a signal, for the end of the parent, for an event that a duty waits for, or for `seconds`."""
        watched = [reader] if self.parent is None else [reader, self.parent]
        for care in self._cares:
            watched += care.watched()
        ready = readable(watched, seconds)
        for care in self._cares:
            care.wake(ready)
        if reader in ready:
            with suppress(BlockingIOError):
                os.read(reader, 4096)
        if self.parent in ready and self._deadline is None:
            log.info("the program that started these workers has ended: stopping")
            self._signals += 1
            self.parent = None

    # Children

    def _close_inherited(self) -> None:
        if self.log_writer is not None:
            self.log_writer.leave()
        for care in self._cares:
            care.close()
        for number in self._pipe:
            os.close(number)

    def _child_ended(self, child: Child, code: int) -> None:
        """Log the end of a process and release what it had. The tasks that it was running are charged, unless this
        supervisor killed it."""
        running, why, stacks = child.running(), self._why_killed(child), child.table.stacks.read()
        below = Lines(f"\n{indented(stacks)}" if stacks else "")
        self._forwarder.take_back(child)
        if self._deadline is None and not child.table.start.done:
            self._starts.failed(child, code)
        elif code == 0 and child.retired:
            log.info("worker process %s is replaced by a new one: %s", child.consumer, child.retired)
        elif child.overdue is not None:
            text = "task %s ran beyond its hard time limit: killed %s%s"
            log.error(text, self._names([child.overdue]), child.consumer, below)
        elif code not in self._expected():
            text = "worker process %s ended with %s; it was running %s%s"
            log.warning(text, child.consumer, code, self._names(running), below)
        self._lost(child, why or _how_it_died(child, code, stacks), charged=not why)

    def _is_stopping(self) -> bool:
        """Return whether it ends its processes within a limited time, as a drain does not."""
        return self._deadline not in (None, inf)

    def _expected(self) -> tuple[int, ...]:
        """The exit codes that processes have when they end as they were told."""
        return () if self._deadline is None else (0, -signal.SIGKILL) if self._is_stopping() else (0,)

    def _lost(self, child: Child, how: str, *, charged: bool) -> None:
        for care in self._cares:
            care.lost(child, how, charged=charged)

    def _why_killed(self, child: Child) -> str:
        """Return why this supervisor has killed a process, so that its tasks are not to blame; empty if it has not."""
        if child.overdue is not None:
            return f"the process was killed because task {child.overdue.task_id} ran beyond its hard time limit"
        if child.cancelled:
            return f"the process was killed because task {child.cancelled[0].task_id} was cancelled by force"
        if child.silent:
            return "the process was killed because the store did not answer it"
        return "the worker stopped, and its grace period was over" if self._is_stopping() else ""

    def _enforce(self, now: float) -> None:
        """Kill the processes of tasks beyond their hard time limit, and all processes when the grace period is over."""
        for child in self._children.alive():
            if self._deadline is not None and now >= self._deadline:
                self._cut_off(child, now)
            elif child.overdue is not None:
                if now >= child.aborted + _TO_DIE:
                    kill_group(child.pid)
            elif late := child.table.overdue(now):
                child.overdue, child.aborted = late[0], now
                abort(child.pid)

    def _end_silent(self, now: float) -> None:
        """Kill each process that has had no reply from the store for long: a new one may reach it, as this one does.
        Nothing is charged."""
        away = any(care.silent() for care in self._cares)
        for child, seconds in self._silence.silent(self._children.alive(), now, away=away):
            child.silent = True
            running = self._names(child.running())
            kill_group(child.pid)
            text = "the store has not answered %s for %.0f s, only this supervisor: killed it while it was running %s"
            log.error(text, child.consumer, seconds, running)

    def _cut_off(self, child: Child, now: float) -> None:
        """Kill a process at the end of the grace period, and log each task that it was running and for how long."""
        running = child.running()
        kill_group(child.pid)
        if child.cut_off:
            return
        child.cut_off = True
        text = "the grace period is over: killed %s, which was running %s"
        for start in range(0, max(1, len(running)), _NAMED):
            names = [
                f"{self._names([one])} for {max(0.0, now - one.since):.1f} s" for one in running[start : start + _NAMED]
            ]
            log.warning(text, child.consumer, ", ".join(names) or "nothing")

    def _kill_cancelled(self, table: InFlightTable, entry: InFlight) -> None:
        """Kill the process of a task that was cancelled by force. All that the process had is released uncharged; the
        store then ends this task as cancelled."""
        for child in self._children.alive():
            if table is child.table and table.runs(entry):
                child.cancelled.append(entry)
                kill_group(child.pid)
                log.warning("task %s was cancelled by force: killed %s", self._names([entry]), child.consumer)

    def _names(self, entries: Sequence[InFlight]) -> str:
        """The ids of tasks for the log, with their queues if there are several."""
        if len(self.queues) == 1:
            return ", ".join(entry.task_id for entry in entries) or "nothing"
        return ", ".join(f"{entry.task_id} of {self.queues[entry.queue].name}" for entry in entries) or "nothing"

    def _stop(self, signals: int) -> None:
        if signals > 1:
            self._deadline = time.monotonic()
            log.warning("stopping now: running tasks are given back")
            return
        self._deadline = time.monotonic() + self.options.grace
        self.signs.stopping()
        alive = self._children.alive()
        for child in alive:
            os.kill(child.pid, signal.SIGTERM)
        log.info(
            "stopping: running tasks (%d) have %g s to end; a second signal gives them back now",
            sum(len(child.running()) for child in alive),
            self.options.grace,
        )

    def _obey(self, order: Order) -> None:
        """Do as ordered. An order that comes during a drain is a signal to stop."""
        log.info("order %d: %s", order.number, order.kind)
        if order.kind is OrderKind.DRAIN and self._deadline is None:
            self._drain()
        elif order.kind is OrderKind.STOP or not self._is_stopping():
            self._signals += 1

    def _drain(self) -> None:
        """Claim nothing more, and end when the running tasks have ended, however long that takes.

        systemd gets no message: it would kill a process that does not end within its time for a stop.
        """
        self._deadline, self._presence.draining = inf, True
        alive = self._children.alive()
        for child in alive:
            os.kill(child.pid, signal.SIGTERM)
        for care in self._cares:
            care.announce_again()
        log.info(
            "draining: no task is claimed any more, and this supervisor ends with the running tasks (%d); a signal "
            "gives them %g s",
            sum(len(child.running()) for child in alive),
            self.options.grace,
        )

    def _end(self) -> None:
        """End all processes and release what they had, however the loop ended."""
        for child in self._children.close():
            self._lost(child, "the supervisor ended", charged=False)
        for care in self._cares:
            care.end()
        self.signs.end()


def _how_it_died(child: Child, code: int, stacks: str) -> str:
    """Return in words how a process ended that nobody killed here, in which frames, and how much memory it used."""
    where = f" in {innermost(stacks)}" if stacks else ""
    return f"{how_it_ended(code)}{where}; it used {child.memory / MIB:.0f} MiB of memory at the most"


@contextmanager
def _asleep(tables: list[InFlightTable]) -> Iterator[bool]:
    """Ask idle workers to wake this process when deliveries wait there. Yields whether any worker is busy."""
    for table in tables:
        table.sleep(os.getpid())
    busy = any(table.busy() for table in tables)  # looked at last, so that none begins unseen
    if busy:
        for table in tables:
            table.sleep(0)
    yield busy
    for table in tables:
        table.sleep(0)
