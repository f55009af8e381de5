"""Starting worker processes: by fork where that is safe, else in a new interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from ..inflight import InFlightTable
from .child import MakeWorker, serve
from .processes import end_process, fork, own_group


class ForkStarter:
    """Forks a child that already has the tasks."""

    def __init__(self, make: MakeWorker) -> None:
        self._make = make

    def __call__(self, consumer: str, table: InFlightTable, close_inherited: Callable[[], None]) -> int:
        # Until the child has a handler of its own, a signal would run the supervisor's in it, and be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        supervisor = os.getpid()
        pid = fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            own_group(pid)
            return pid

        def body() -> int:
            close_inherited()
            return serve(self._make, consumer, table, supervisor)

        return end_process(body)


class SpawnStarter:
    """Starts a new interpreter that imports the tasks. `command` is extended by the consumer, the table's fd and the
    pid of the supervisor."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    def __call__(self, consumer: str, table: InFlightTable, close_inherited: Callable[[], None]) -> int:  # noqa: ARG002
        command = [*self._command, consumer, str(table.fd), str(os.getpid())]
        process = subprocess.Popen(command, pass_fds=[table.fd], process_group=0)  # noqa: S603 - our own interpreter
        process.returncode = 0  # the supervisor reaps it; Popen must not
        return process.pid
