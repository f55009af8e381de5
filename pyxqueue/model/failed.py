"""Limits of what is kept of failed tasks, and what was deleted because of them."""

from __future__ import annotations

from msgspec import Struct


class FailedLimits(Struct, frozen=True):
    """The limits beyond which failed tasks are deleted."""

    ttl_ms: int | None = None
    """Tasks are deleted that failed so many ms ago, or earlier; None for no limit."""
    keep: int | None = None
    """How many of the newest failed tasks are kept; None for no limit."""

    def drops(self, failed_ms: int, newer: int, now: int) -> bool:
        """Return whether a task that failed at `failed_ms` is deleted. `newer`: how many failed tasks are newer."""
        return self.is_old(failed_ms, now) or (self.keep is not None and newer >= self.keep)

    def is_old(self, failed_ms: int, now: int) -> bool:
        return self.ttl_ms is not None and failed_ms <= now - self.ttl_ms


class Dropped(Struct, frozen=True):
    """A failed task that was deleted because of a limit."""

    id: str
    name: str
    """The name of the task; empty if its message could not be read."""
    failed_ms: int
    """When it had failed (ms of the store's clock)."""
    is_old: bool
    """Whether it was older than the limit; if not, there were too many."""
