"""The worker processes of a supervisor, and the watchdog over them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from attrs import define, field

from ..inflight import InFlight, InFlightTable
from ..worker.events import log
from ..worker.lifetime import most_memory
from .child import with_pid
from .processes import adopts_orphans, kill_group
from .starters import Starter
from .watchdog import Watchdog

_MAX_PAUSE = 30.0
_STABLE = 5.0
"""If a child has started and lives for this many seconds, its end is not a failure to start."""


@define(eq=False)
class Child:
    """One of the worker processes; a process that ends is replaced by another one."""

    index: int
    pid: int = 0
    consumer: str = ""
    table: InFlightTable = field(factory=InFlightTable)
    born: float = 0.0
    failures: int = 0
    restart_at: float = 0.0
    overdue: InFlight | None = None
    """The task beyond its hard time limit for which the process was killed."""
    aborted: float = 0.0
    """When it was told to die for that, by `time.monotonic`."""
    memory: int = 0
    """The most memory that the process used, in bytes, once it has ended."""
    cancelled: list[InFlight] = field(factory=list)
    """The tasks that were cancelled by force, for which the process was killed."""
    silent: bool = False
    """Whether it was killed because it did not reach the store."""
    heard: float = 0.0
    """Since when it has given signs of life without a break, by `time.monotonic`."""
    cut_off: bool = False
    """Whether it was killed because the grace period was over."""
    slow: bool = False
    """Whether it was logged that it takes long to start."""

    @property
    def retired(self) -> str:
        """Why the process ended in order to be replaced by a new one; empty if it ended for another reason."""
        return self.table.start.text() if self.table.start.done else ""

    def running(self) -> list[InFlight]:
        return [entry for entry in self.table.entries() if entry.running]


@define(eq=False)
class Children:
    """Starts worker processes, and replaces those that end."""

    count: int
    start: Starter
    name: Callable[[int], str]
    """Returns the consumer name of a child, from its index."""
    make_table: Callable[[], InFlightTable]
    close_inherited: Callable[[], None]
    """Closes, in a child, what belongs to the supervisor alone, besides the watchdog's pipe."""
    _children: list[Child] = field(factory=list, init=False)
    watchdog: Watchdog = field(init=False)
    _adopts: bool = field(factory=adopts_orphans, init=False)

    def open(self) -> None:
        """Start the watchdog, and all processes."""
        self.watchdog = Watchdog.start()
        self._children = [Child(index) for index in range(1, self.count + 1)]
        for child in self._children:
            self._spawn(child)

    def alive(self) -> list[Child]:
        return [child for child in self._children if child.pid]

    def restart(self) -> None:
        """Start a process for each child that has none, unless it must wait after failures. If the system has no room
        for a process now, the others go on."""
        now = time.monotonic()
        for child in self._children:
            if not child.pid and now >= child.restart_at:
                try:
                    self._spawn(child)
                except OSError as error:
                    self._put_off(child)
                    log.error("a worker process cannot be started now: %s", error)

    def reap(self, helpers: set[int]) -> Iterator[tuple[Child, int]]:
        """Return each child whose process has ended, and its exit code. `helpers`: the supervisor's other processes."""
        self._keep_watchdog()
        for child in self.alive():
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                child.memory = most_memory(usage)
                self._ended(child)
                yield child, os.waitstatus_to_exitcode(status)
        if self._adopts:
            self._reap_orphans(helpers)

    def close(self) -> Iterator[Child]:
        """End all processes, and return the children that had to be killed."""
        for child in self._children:
            if child.pid:
                kill_group(child.pid)
                os.waitpid(child.pid, 0)
                yield child
            child.table.close()
        if self._children:
            self.watchdog.stop()

    def _spawn(self, child: Child) -> None:
        table = self.make_table()
        child.table.close()
        child.table = table
        name = self.name(child.index)
        child.born = child.heard = time.monotonic()
        child.overdue, child.cancelled, child.silent, child.cut_off, child.slow = None, [], False, False, False
        child.aborted, child.memory = 0.0, 0
        child.pid = self.start(name, child.table, self._close_inherited)
        child.consumer = with_pid(name, child.pid)
        self.watchdog.add(child.pid)

    def _close_inherited(self) -> None:
        self.watchdog.close()
        self.close_inherited()

    def _ended(self, child: Child) -> None:
        kill_group(child.pid)  # the processes that it has started
        self.watchdog.remove(child.pid)
        child.pid = 0
        told = child.overdue is not None or bool(child.cancelled or child.retired)
        if told or (child.table.start.done and time.monotonic() - child.born > _STABLE):
            child.failures, child.restart_at = 0, 0.0
        else:
            self._put_off(child)

    @staticmethod
    def _put_off(child: Child) -> None:
        """Note that a process could not start. The first time it is started again at once."""
        child.failures += 1
        pause = min(_MAX_PAUSE, 0.1 * 2**child.failures) if child.failures > 1 else 0.0
        child.restart_at = time.monotonic() + pause

    def _keep_watchdog(self) -> None:
        """Start another watchdog if there is none. If the system has no room for it now, that is tried again."""
        pid = self.watchdog.pid
        if not self.watchdog.ended():
            return
        if pid:
            log.warning("the watchdog process was killed: starting another one")
        try:
            self.watchdog = Watchdog.start()
        except OSError as error:
            if pid:
                log.error("the watchdog process cannot be started now, and is tried again: %s", error)
            return
        for child in self.alive():
            self.watchdog.add(child.pid)

    def _reap_orphans(self, helpers: set[int]) -> None:
        """Reap processes that tasks have left behind: those that this one adopted stay zombies until it waits for
        them."""
        ours = helpers | {self.watchdog.pid, *(child.pid for child in self._children)}
        with suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid not in ours:
                os.waitpid(found.si_pid, 0)
