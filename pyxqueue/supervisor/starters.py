"""Starting worker processes: by fork where that is safe, else in a new interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..inflight import InFlightTable
from .child import MakeWorker, serve
from .processes import end_process, fork, own_group

Starter: TypeAlias = Callable[[str, InFlightTable, Callable[[], None]], int]
"""Starts a worker process from its consumer name and its table. Returns its pid, which is also its process group. The
third argument closes, in a forked process, what belongs to the supervisor alone."""


def fork_worker(make: MakeWorker, consumer: str, table: InFlightTable, close_inherited: Callable[[], None]) -> int:
    """Fork a worker process, which then has the tasks already."""
    # Until the child has a handler of its own, a signal would run the supervisor's in it, and be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    supervisor = os.getpid()
    try:
        pid = fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        own_group(pid)
        return pid

    def body() -> int:
        close_inherited()
        return serve(make, consumer, table, supervisor)

    return end_process(body)


def spawn_worker(command: Sequence[str], consumer: str, table: InFlightTable, _: Callable[[], None]) -> int:
    """Start a new interpreter that imports the tasks. The consumer, the table's fd and the pid of the supervisor are
    appended to `command`."""
    words = [*command, consumer, str(table.fd), str(os.getpid())]
    process = subprocess.Popen(words, pass_fds=[table.fd], process_group=0)  # noqa: S603 - our own interpreter
    process.returncode = 0  # the supervisor reaps it; Popen must not
    return process.pid


def pyxqueue_command(*words: str) -> list[str]:
    """Return the command that runs ``pyxqueue`` with `words` in a new interpreter, which imports from where this one
    does.

    ``-m pyxqueue`` would look in the current folder first, where another user may have put a ``pyxqueue.py``. That
    folder is left out, unless this process has it on its own path.
    """
    path = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100 - of texts, and "" is the current folder
    program = f"import sys; sys.path[:] = {path!r}; from pyxqueue.cli import main; main(prog_name='pyxqueue')"
    return [sys.executable, "-P", "-c", program, *words]
