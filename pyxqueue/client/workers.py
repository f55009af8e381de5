"""The workers of a group: list them, drain them, or stop them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigurationError, UnknownWorkerError
from ..model.presence import Announcement, OrderKind, Present, WorkerFacts, facts_of
from ..printable import printable, quoted
from ..protocols import Backend, HasPresence
from .queue_store import QueueStore
from .views import WorkerInfo

_LISTED = 20
"""The most workers that an error lists."""


class GivesOrders:
    """The part of `Admin` that gives orders to workers."""

    __slots__ = ()
    _store: QueueStore

    def drain(self, target: str) -> Sequence[str]:
        """Let workers end their running tasks and claim no more; then they exit with code 0, however long it takes.

        `target`: the name of a host, which means all workers there; or a worker, as its name or ``host:pid``; or a
        supervisor as ``host:pid``. A supervisor drains with all its worker processes, because it would replace one that
        ends; so an order to one worker is one to its siblings. Other supervisors go on, and workers that start later
        are not affected. A second order, or a signal, during a drain stops the workers as SIGTERM does.

        The order arrives at once or within about 5 seconds. Returns the names of the workers that it is for. Whoever
        may write to the store may give orders. Raises `UnknownWorkerError` if there is no such worker, and
        `ConfigurationError` if the store cannot pass on orders.
        """
        return self._order(target, OrderKind.DRAIN)

    def stop(self, target: str) -> Sequence[str]:
        """Stop workers as SIGTERM does: they claim no more, and running tasks have the grace period to end.

        `target`, the result and the errors are those of `drain`.
        """
        return self._order(target, OrderKind.STOP)

    def _order(self, target: str, kind: OrderKind) -> Sequence[str]:
        backend = self._store.here().backend
        if not isinstance(backend, HasPresence):
            raise ConfigurationError(f"{type(backend).__name__} cannot pass on orders: send SIGTERM to the workers")
        ordered = list[str]()
        known = _announced(backend)
        for one, said in known:
            if _means(target, one, said) and backend.give_order(one.name, kind):
                ordered += said.workers
        if not ordered:
            raise UnknownWorkerError(f"there is no worker or host {quoted(target)} here: {_list(known)}")
        return sorted(ordered)


def facts_in(backend: Backend) -> dict[str, WorkerFacts]:
    """Return what is known about workers, by name; also about those that are silent."""
    return facts_of(backend.present()) if isinstance(backend, HasPresence) else {}


def workers_in(backend: Backend, tasks: int = 0) -> list[WorkerInfo]:
    """Return the workers of a group, as `Admin.workers` does."""
    lease = backend.lease_ms()
    live = [one for one in backend.consumers() if one.idle_ms <= 2 * lease or one.in_flight]
    holders = {one.name for one in live if one.in_flight}
    facts = {name: one for name, one in facts_in(backend).items() if name in holders or not one.lost}
    first = [task_id for consumer in live for task_id in consumer.in_flight[:tasks]]
    found = {info.id: info for info in backend.show(first) if info is not None and info.worker}
    return [
        WorkerInfo.of(consumer, found, facts.get(consumer.name)) for consumer in sorted(live, key=lambda one: one.name)
    ]


def _announced(backend: HasPresence) -> list[tuple[Present, Announcement]]:
    fresh = [(one, Announcement.read(one.text)) for one in backend.present() if one.fresh]
    return [(one, said) for one, said in fresh if said is not None]


def _means(target: str, one: Present, said: Announcement) -> bool:
    pids = {said.pid, *(worker.pid for worker in said.workers.values())}
    return target in {said.host, one.name, *said.workers, *(f"{said.host}:{pid}" for pid in pids)}


def _list(known: Sequence[tuple[Present, Announcement]]) -> str:
    """Return a text that lists the workers."""
    names = sorted(f"{said.host}:{worker.pid}" for _, said in known for worker in said.workers.values())
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    shown = ", ".join(printable(name) for name in names[:_LISTED])
    return f"the workers are {shown}{more}" if names else "no worker has announced itself"
