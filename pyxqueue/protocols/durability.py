"""Durability of a call: what must have what it stores before it returns; an optional protocol of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..errors import ConfigurationError
from .core import Backend


@runtime_checkable
class HasDurability(Protocol):
    """A backend whose calls may wait until replicas of its server, or disks, have what they store.

    Such calls are all that give the queue work or data for it: `enqueue`, `enqueue_unique`, `adopt`, `requeue`,
    `send_event`. They raise `NotDurableError` if it is stored and not confirmed; a repeat is confirmed although it
    stores nothing (B1). What a worker settles is not waited for: if it is lost, the task runs again.
    """

    def durable(self, word: str) -> Backend:
        """Return the same queue for calls of another durability: ``"normal"``, ``"replica"`` or ``"aof"``. It is closed
        with this one."""
        ...

    def confirm(self, ids: Sequence[str]) -> None:
        """Return when all that the store has is as durable as the calls of this queue are. `ids`: of what was stored,
        for the error. Raises `NotDurableError`."""
        ...


@runtime_checkable
class KnowsLost(Protocol):
    """A backend that notices what a failover of its server has lost of the tasks that this process enqueued."""

    def why_gone(self, task_id: str) -> str:
        """Return why a task is gone; an empty text if it is not known to be lost."""
        ...


def durable(backend: Backend, word: str) -> Backend:
    """Return a backend for calls of this durability. Raises `ConfigurationError` if it does not know it."""
    if isinstance(backend, HasDurability):
        return backend.durable(word)
    raise ConfigurationError(
        f"{type(backend).__name__} does not support durability= of a call: leave it out (a SQLite file has it in its "
        f"URL)"
    )


def confirm(backend: Backend, ids: Sequence[str]) -> None:
    """Have confirmed what was stored, if the backend does that."""
    if isinstance(backend, HasDurability):
        backend.confirm(ids)
