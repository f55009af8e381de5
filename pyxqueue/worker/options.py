"""The options of workers."""

from __future__ import annotations

import os

from attrs import field, frozen, validators

from ..clock import in_seconds
from ..options import DEFAULT_GRACE, DEFAULT_WAIT_MS, seconds, whole_number


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
    prefix: str = ""
    """The beginning of the workers' names."""
    wait_ms: int = DEFAULT_WAIT_MS
    """How long a claim waits for work."""
