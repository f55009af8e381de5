"""The stacks of a worker process, for its supervisor: what its threads were doing when it died of a fatal error.

`faulthandler` writes them, also while a task keeps the interpreter busy, into a file that both processes have open. A
supervisor that ends a process sends it SIGABRT for that, as systemd does: from there on, nothing goes on in it.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import re
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_MOST = 65_536
"""How many bytes of a dump are read."""
_NAMED = 3
"""How many frames a line names."""
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')
_PACKAGE = str(Path(__file__).parent) + os.sep
_RUNS_TASKS = str(Path(__file__).parent / "worker" / "execution.py")
_THREADS = re.compile(r"^(?:Current thread|Thread) 0x.*\n(?:  File .*\n?)+", re.MULTILINE)
"""The threads of a dump that have frames, each with its lines."""


class Stacks:
    """The file with the stacks of one process, from the byte `start` on. `fd` None: there is no file, and no stacks."""

    def __init__(self, fd: int | None, start: int) -> None:
        self._fd = fd
        self._start = start
        if fd is not None:
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)

    def enable(self) -> None:
        """Let this process write its stacks before it dies of a fatal error."""
        if self._fd is not None:
            faulthandler.enable(self._fd)

    def read(self) -> str:
        """Return the stacks that were written, as `of_tasks` has them."""
        return of_tasks(b"" if self._fd is None else os.pread(self._fd, _MOST, self._start))


def abort(pid: int) -> None:
    """Have a process write its stacks and die at once, without a core dump. A task may have changed what it does on the
    signal, so it is to be killed a moment later."""
    if sys.platform == "linux":
        with suppress(OSError):  # it may have another user now
            _, most = resource.prlimit(pid, resource.RLIMIT_CORE)
            resource.prlimit(pid, resource.RLIMIT_CORE, (1, most or 1))  # 1 forbids a pipe too, which 0 does not
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGABRT)


def of_tasks(dump: bytes) -> str:
    """Return from a dump the threads that run a task, or that tasks have started, each down to the function of the
    task; and the thread that caused a fatal error, whatever it ran. That one comes first. Empty if there is none."""
    caused, chosen = not dump.startswith(b"Fatal Python error: Aborted"), list[str]()
    for thread in _THREADS.findall(dump.decode(errors="replace")):
        current = thread.startswith("Current")
        lines = thread.rstrip("\n").split("\n")
        task = next((at for at, line in enumerate(lines) if _RUNS_TASKS in line), None)
        if task is not None or _PACKAGE not in thread or (current and caused):
            chosen.insert(0 if current else len(chosen), "\n".join(lines[:task]))
    return "\n\n".join(chosen)


def innermost(stacks: str) -> str:
    """Return the innermost frames of the first of some stacks in one line, such as ``"send (mail.py:12), called by
    invite (app.py:80)"``. Empty if there are none."""
    frames = _FRAME.findall(stacks.partition("\n\n")[0])
    return ", called by ".join(f"{name} ({Path(file).name}:{line})" for file, line, name in frames[:_NAMED])
