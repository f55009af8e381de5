"""The options of workers."""

from __future__ import annotations

import os
from math import inf
from typing import Any

from attrs import Attribute, field, frozen, validators

from ..clock import in_seconds
from ..options import DEFAULT_GRACE, DEFAULT_WAIT_MS, seconds, whole_number
from ..printable import quoted
from .lifetime import Lifetime


def _memory(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """Validate a number of MiB, more than 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number of MiB, more than 0")


@frozen
class WorkerOptions:
    """The options of workers. Times are in seconds, unless the name ends in `_ms`."""

    processes: int = field(factory=lambda: os.cpu_count() or 1, validator=whole_number(1))
    threads: int | None = field(default=None, validator=validators.optional(whole_number(1)))
    """How many plain functions each process runs at once, in threads. None: one, in the main thread, or 8 threads
    beside an event loop."""
    concurrency: int | None = field(default=None, validator=validators.optional(whole_number(1)))
    """How many ``async def`` tasks each process runs at once. None: 100 if the queue has such tasks."""
    grace: float = field(default=DEFAULT_GRACE, converter=in_seconds, validator=seconds)
    """How long running tasks may go on after a signal to stop."""
    max_tasks_per_child: int | None = field(default=None, validator=validators.optional(whole_number(1)))
    """After how many tasks a process is replaced by a new one. None: never."""
    max_memory_per_child: float | None = field(default=None, validator=validators.optional(_memory))
    """Above how many MiB of memory (its resident set) a process is replaced, once what it runs has ended."""
    prefix: str = ""
    """The beginning of the workers' names."""
    wait_ms: int = DEFAULT_WAIT_MS
    """How long a claim waits for work."""

    def lifetime(self) -> Lifetime | None:
        """Return what one process may do; None if it is never replaced."""
        if self.max_tasks_per_child is None and self.max_memory_per_child is None:
            return None
        return Lifetime(self.max_tasks_per_child, self.max_memory_per_child)
