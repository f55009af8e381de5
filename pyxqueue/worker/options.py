"""How workers are run."""

from __future__ import annotations

import os
from typing import Any

from attrs import Attribute, field, frozen, validators

from ..policy import seconds

DEFAULT_GRACE = 25.0
"""Seconds; under the 30 s after which common process managers kill."""
DEFAULT_WAIT = 2_000
"""Milliseconds a claim waits when there is no work."""


def _count(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{attribute.name}={value!r} must be a whole number, 1 or more")


@frozen
class WorkerOptions:
    """Times in seconds."""

    processes: int = field(factory=lambda: os.cpu_count() or 1, validator=_count)
    threads: int | None = field(default=None, validator=validators.optional(_count))
    """Tasks that run at once in each process, in threads; None: one, without a thread."""
    concurrency: int | None = field(default=None, validator=validators.optional(_count))
    """``async def`` tasks that run at once in each process; None: 100 if the queue has such tasks."""
    grace: float = field(default=DEFAULT_GRACE, validator=seconds)
    """How long running tasks may go on after a signal to stop."""
    prefix: str = ""
    """In front of the workers' names."""
    wait: int = DEFAULT_WAIT
    """Milliseconds a claim waits for work."""
