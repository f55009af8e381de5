"""A tiny process that kills the workers if their supervisor dies without stopping them.

A worker that holds the interpreter in a C call cannot notice by itself that its supervisor is gone, and what a worker
started would outlive it. The watchdog reads pids from a pipe whose other end only the supervisor holds; when that end
closes without a goodbye, it kills every process group it knows.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress

from attrs import define

from .processes import end_process, fork, kill_group


@define
class Watchdog:
    """The supervisor's end of the pipe to the watchdog."""

    pid: int
    """0 if it was killed."""
    pipe: int
    """-1 if it is closed."""

    @classmethod
    def start(cls) -> Watchdog:
        """Fork the watchdog. Must be called before other processes could inherit the pipe."""
        reader, writer = os.pipe()
        try:
            pid = fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            os.close(writer)
            return end_process(lambda: _watch(reader))
        os.close(reader)
        return cls(pid, writer)

    def add(self, pid: int) -> None:
        self._say(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        self._say(f"-{pid}\n")

    def ended(self) -> bool:
        """Return whether the watchdog was killed, and reap it if so."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
            self.close()
        return not self.pid

    def stop(self) -> None:
        """Tell the watchdog that all workers were stopped, so that it kills none."""
        self._say("bye\n")
        self.close()
        if self.pid:
            os.waitpid(self.pid, 0)

    def close(self) -> None:
        """Close the pipe."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    def _say(self, line: str) -> None:
        if self.pipe >= 0:
            with suppress(BrokenPipeError):  # the watchdog was killed: there is none to tell
                os.write(self.pipe, line.encode())


def _watch(reader: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    os.setpgid(0, 0)
    with os.fdopen(reader) as lines:
        pids = _read(lines)
    for pid in pids:
        kill_group(pid)
    return 0


def _read(lines: Iterable[str]) -> set[int]:
    """Return the pids that are left when the pipe ends; none after a goodbye."""
    pids: set[int] = set()
    for line in lines:
        if line.startswith("+"):
            pids.add(int(line[1:]))
        elif line.startswith("-"):
            pids.discard(int(line[1:]))
        else:
            return set()
    return pids
