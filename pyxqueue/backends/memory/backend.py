"""A backend on a store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...model.failed import Dropped, FailedLimits
from ...model.locks import LockTerms, Placed
from ...model.message import (
    ConsumerInfo,
    Delivery,
    Depth,
    Extension,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    StartStatus,
    TaskInfo,
    TaskStatus,
)
from ...model.places import Place, PlacePage
from ...model.presence import Order, OrderKind, Present
from ...model.statistics import Statistics, StatisticsBatch
from ...model.steps import EventStatus, Steps
from ...protocols import NO_LINES, StoreOptions, TakenIn, TellExpired
from . import places
from .broker import MemoryBroker
from .fairness import MemoryFairLines
from .inspector import MemoryInspector
from .limits import MemoryLimits
from .presence import MemoryPresence
from .results import MemoryRecords
from .schedules import MemorySchedules
from .statistics import MemoryStatistics
from .store import MemoryStore, Queue
from .uniqueness import MemoryUniqueness


class MemoryBackend:
    """A handle on one group of one queue in `store`. It may be used from any number of threads.

    The group is registered by the first broker operation.
    """

    one_process = True
    """Worker processes cannot share it."""
    keeps_flows = True

    new_queue = Queue
    new_schedules = MemorySchedules
    new_limits = MemoryLimits

    def __init__(self, store: MemoryStore, options: StoreOptions) -> None:
        self._store = store
        self._options = options
        self._queue = self.new_queue(store, options)
        self._broker = MemoryBroker(self._queue)
        self._records = MemoryRecords(self._queue)
        self._inspector = MemoryInspector(self._queue)
        self._uniqueness = MemoryUniqueness(self._queue)
        self._schedules = self.new_schedules(self._queue)
        self._limits = self.new_limits(self._queue)
        self._fair_lines = MemoryFairLines(self._queue)
        self._statistics = MemoryStatistics(self._queue)
        self._presence = MemoryPresence(self._queue)

    # Broker

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return self._broker.enqueue(messages)

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return self._broker.claim(consumer, limit, wait_ms)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return self._broker.settle(settlements)

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return self._broker.extend(extensions)

    def begin(self, receipts: Sequence[str]) -> Sequence[StartStatus]:
        return self._broker.begin(receipts)

    def watch_expired(self, tell: TellExpired) -> None:
        self._broker.watch_expired(tell)

    def load_steps(self, task_id: str) -> Steps:
        return self._broker.load_steps(task_id)

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> LeaseStatus:
        return self._broker.save_steps(receipt, steps)

    def send_event(self, task_id: str, name: str, value: bytes) -> EventStatus:
        return self._broker.send_event(task_id, name, value)

    def forget_steps(self, task_ids: Sequence[str]) -> None:
        self._broker.forget_steps(task_ids)

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        return self._broker.release(consumer, started, past)

    def maintain(self, limit: int) -> int:
        self._schedules.look()
        return self._broker.maintain(limit)

    def pause(self) -> bool:
        return self._broker.pause()

    def resume(self) -> bool:
        return self._broker.resume()

    def is_paused(self) -> bool:
        return self._broker.is_paused()

    def lease_ms(self) -> int:
        return self._broker.lease_ms()

    def interrupt(self) -> None:
        self._broker.interrupt()

    def close(self) -> None:
        self._broker.close()

    def limits(self) -> MemoryLimits:
        return self._limits

    def fair_lines(self) -> MemoryFairLines:
        return self._fair_lines

    def schedules(self) -> MemorySchedules:
        return self._schedules

    # Results

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return self._records.wait(ids, timeout_ms, least)

    def forget(self, ids: Sequence[str]) -> None:
        self._records.forget(ids)

    # Inspector

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return self._inspector.show(ids)

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        return self._inspector.tasks(state, cursor, count)

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return self._inspector.watch(task_id, seen, timeout_ms)

    def consumers(self) -> Sequence[ConsumerInfo]:
        return self._inspector.consumers()

    def depth(self) -> Depth:
        return self._inspector.depth()

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        return self._inspector.queues(limit)

    def groups(self) -> Sequence[str]:
        return self._inspector.groups()

    def remove_group(self, group: str) -> None:
        self._inspector.remove_group(group)

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._inspector.requeue(ids)

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._inspector.cancel(ids, force)

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._inspector.delete(ids)

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        return self._inspector.adopt(tasks)

    def page(self, place: Place, cursor: str, count: int, peek: int) -> PlacePage:
        return places.page(self._queue, place, cursor, count, peek)

    # DropsFailed

    def drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        return self._inspector.drop_failed(limits, count)

    # HasFlows

    def rejoin(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._inspector.rejoin(ids)

    # HasLocks, HasMaxLength

    def enqueue_unique(self, messages: Sequence[Message], terms: LockTerms) -> Sequence[Placed]:
        return self._uniqueness.enqueue_unique(messages, terms)

    def enqueue_within(self, messages: Sequence[Message], terms: LockTerms, max_length: int) -> TakenIn:
        return self._uniqueness.enqueue_within(messages, terms, max_length)

    def lock_holders(self, names: Sequence[str]) -> Sequence[str]:
        return self._uniqueness.lock_holders(names)

    # HasStatistics

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        return self._statistics.add_statistics(batch)

    def statistics(self, minutes: int) -> Statistics:
        return self._statistics.statistics(minutes)

    # HasPresence

    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        return self._presence.announce(supervisor, keep_ms, text)

    def leave(self, supervisor: str) -> None:
        self._presence.leave(supervisor)

    def present(self) -> Sequence[Present]:
        return self._presence.present()

    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        return self._presence.give_order(supervisor, kind)
