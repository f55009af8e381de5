"""How workers are run."""

from __future__ import annotations

import os

from attrs import field, frozen, validators

from ..clock import in_seconds
from ..options import seconds, whole_number

DEFAULT_GRACE = 25.0
"""Seconds; under the 30 s after which common process managers kill."""
DEFAULT_WAIT_MS = 2_000
"""How long a claim waits for work."""


@frozen
class WorkerOptions:
    """Times in seconds, but those that say `ms`."""

    processes: int = field(factory=lambda: os.cpu_count() or 1, validator=whole_number(1))
    threads: int | None = field(default=None, validator=validators.optional(whole_number(1)))
    """Plain functions that run at once in each process, in threads; None: one, without a thread, or 8 beside an event
    loop."""
    concurrency: int | None = field(default=None, validator=validators.optional(whole_number(1)))
    """``async def`` tasks that run at once in each process; None: 100 if the queue has such tasks."""
    grace: float = field(default=DEFAULT_GRACE, converter=in_seconds, validator=seconds)
    """How long running tasks may go on after a signal to stop."""
    prefix: str = ""
    """In front of the workers' names."""
    wait_ms: int = DEFAULT_WAIT_MS
    """How long a claim waits for work."""
