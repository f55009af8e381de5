"""Finds what is wrong with a queue. Each check is one function in `_CHECKS`; their findings are shown in this order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from ..model.findings import Finding
from ..model.message import Depth
from ..printable import counted
from ..protocols import Backend, Diagnosing, Pausing
from .limits import paused_tasks
from .queue_store import QueueStore
from .reasons import PAUSED, name_paused
from .views import WorkerInfo
from .workers import workers_in

_HOSTS = 3
"""The most hosts that a finding names."""


class Diagnoses:
    """The part of `Admin` that looks for what is wrong."""

    _store: QueueStore

    def diagnose(self) -> Sequence[Finding]:
        """Look for what is wrong with the store and the queue, and return what was found, with what to do about it.

        It changes nothing, and takes about a second.
        """
        return diagnose(self._store.here().backend)


class Situation(Struct, frozen=True):
    """What a check can use."""

    backend: Backend
    depth: Depth
    live: Sequence[WorkerInfo]
    """The workers that give signs of life."""
    silent: Sequence[WorkerInfo]
    """The workers that give no signs of life, and hold tasks."""


def diagnose(backend: Backend) -> list[Finding]:
    """Return the findings about the store, then those about the queue."""
    found = list(backend.diagnose()) if isinstance(backend, Diagnosing) else []
    lease, workers = backend.lease_ms(), workers_in(backend)
    live = [one for one in workers if not one.is_silent(lease)]
    silent = [one for one in workers if one.is_silent(lease) and one.in_flight]
    situation = Situation(backend, backend.depth(), live, silent)
    return [*found, *(finding for check in _CHECKS for finding in check(situation))]


def _workers(situation: Situation) -> Iterator[Finding]:
    depth, live = situation.depth, len(situation.live)
    if live:
        yield Finding("ok", "workers", f"{counted(live, 'worker')} alive")
    elif depth.waiting or depth.in_flight:
        text = f"no worker is running; waiting or in flight: {counted(depth.waiting + depth.in_flight, 'task')}"
        yield Finding("error", "workers", text, "start workers: `pyxqueue worker MODULE`")
    else:
        yield Finding("warning", "workers", "no worker is running", "start workers: `pyxqueue worker MODULE`")
    if situation.silent:
        held = sum(len(one.in_flight) for one in situation.silent)
        hosts = sorted({one.host or "an unknown host" for one in situation.silent})
        more = f" and {len(hosts) - _HOSTS:,} more" if len(hosts) > _HOSTS else ""
        yield Finding(
            "warning",
            "silent workers",
            f"no sign of life from {counted(len(situation.silent), 'worker')} on {', '.join(hosts[:_HOSTS])}{more}, "
            f"holding {counted(held, 'task')}",
            "" if live else "other workers take such tasks over: start some",
        )


def _paused(situation: Situation) -> Iterator[Finding]:
    if isinstance(situation.backend, Pausing) and situation.backend.is_paused():
        yield Finding("warning", "pause", PAUSED)
    for name in paused_tasks(situation.backend):
        yield Finding("warning", "pause", name_paused(name))


def _failed(situation: Situation) -> Iterator[Finding]:
    failed = situation.depth.failed
    yield Finding(
        "warning" if failed else "ok",
        "failed tasks",
        f"{failed:,}",
        "look at them with `pyxqueue failed`, then retry or delete them" if failed else "",
    )


_CHECKS: Sequence[Callable[[Situation], Iterator[Finding]]] = (_workers, _paused, _failed)
