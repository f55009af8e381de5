"""When a worker process is to be replaced by a new one: after so many tasks, or when it uses too much memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from .batch_sizer import MAX_BATCH

if TYPE_CHECKING:
    from resource import struct_rusage

MIB = 2**20


def memory_of(pid: int) -> int | None:
    """Return the memory that a process uses (its resident set), in bytes; None if the system does not say it."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def own_memory() -> int:
    """Return the memory that this process uses, in bytes; where the system does not say it, the most that it ever
    used."""
    import resource  # noqa: PLC0415 - few workers ask

    used = memory_of(os.getpid())
    return most_memory(resource.getrusage(resource.RUSAGE_SELF)) if used is None else used


def most_memory(usage: struct_rusage) -> int:
    """Return the most memory that a process ever used, in bytes."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@define(eq=False)
class Lifetime:
    """What one worker process may do before it is replaced. None: there is no limit."""

    max_tasks: int | None = None
    max_memory: float | None = None
    """The most memory, in MiB."""
    _claimed: int = field(default=0, init=False)

    def left(self) -> int:
        """Return how many more tasks to claim at once: a limit holds exactly."""
        return MAX_BATCH if self.max_tasks is None else self.max_tasks - self._claimed

    def claimed(self, tasks: int) -> None:
        """Count tasks that were claimed."""
        self._claimed += tasks

    def excess(self) -> float:
        """Return how much memory this process uses, in MiB, if that is more than it may; else 0."""
        if self.max_memory is None or (used := own_memory() / MIB) <= self.max_memory:
            return 0.0
        return used

    def over(self) -> str:
        """Return why the process is to be replaced; "" if it is not. One that has had no task is not replaced for its
        memory: the next one would use as much."""
        if self.left() <= 0:
            return f"it has had its tasks ({self._claimed})"
        if self._claimed and (used := self.excess()):
            return f"it uses {used:.0f} MiB of memory, and may use {self.max_memory:g}"
        return ""
