"""Two stores as one `Backend`: a broker for the messages, and another store for the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .clock import deadline_after, is_over, seconds_left
from .model.message import (
    ConsumerInfo,
    Defer,
    Delivery,
    Depth,
    Extension,
    LeaseStatus,
    Message,
    Record,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
    enough,
    evolve,
)
from .protocols import (
    NO_LINES,
    Backend,
    Beginning,
    DropsFailed,
    FairLines,
    HasAbout,
    HasDurability,
    HasLocks,
    HasMaxLength,
    HasPresence,
    HasStatistics,
    HasWakeups,
    KnowsLost,
    LimitStore,
    Pausing,
    ResultStore,
    ScheduleStore,
    TellsExpired,
    Wakeups,
    fair_lines_of,
    in_one_process,
    limits_of,
    schedules_of,
)
from .protocols.releasing import release

if TYPE_CHECKING:
    from .model.failed import Dropped, FailedLimits

_SLICE = 1_000
"""Milliseconds of one wait at the result store. In between, the broker is asked for ends without a record there."""
_ELSEWHERE = "elsewhere"
"""The serializer of a record at the broker whose value is in the result store."""


class SplitBackend:
    """A `Backend` whose messages are in `broker` and whose records are in `results`.

    `settle` puts the records into the result store first and settles at the broker then, so that a task which has ended
    always has its record. Every law holds but these, because two stores do not change in one step:

    * B4, B5: a record is visible a moment before its message is settled, and stays if that settlement then is refused
      or never arrives. The next holder's record replaces it: the result store compares fencing tokens (R1), so the
      record of a stale holder loses against that of a later one, whichever comes first.
    * R2: an end without a record, such as the cancellation of a waiting task, wakes a waiter within a second.
    * I2, I5, I9: `requeue`, `delete` and `drop_failed` remove the record after the task has moved; it can be read until
      then.
    * B13: the records of a removed group stay for their time to live.

    The broker keeps the end of each task without its value. Where a task ended without a record, as a cancelled one
    does, the broker's own record is what `wait` and `show` return.
    """

    def __init__(self, broker: Backend, results: ResultStore) -> None:
        self._broker = broker
        self._results = results
        self.one_process = in_one_process(broker) or in_one_process(results)
        if isinstance(broker, HasLocks):
            self.enqueue_unique, self.lock_holders = broker.enqueue_unique, broker.lock_holders
        if isinstance(broker, HasMaxLength):
            self.enqueue_within = broker.enqueue_within
        if isinstance(broker, Beginning):
            self.begin = broker.begin
        if isinstance(broker, TellsExpired):
            self.watch_expired = broker.watch_expired
        if isinstance(broker, Pausing):
            self.pause, self.resume, self.is_paused = broker.pause, broker.resume, broker.is_paused
        if isinstance(broker, HasStatistics):
            self.add_statistics, self.statistics = broker.add_statistics, broker.statistics
        if isinstance(broker, HasDurability):
            self.durable, self.confirm = broker.durable, broker.confirm
        if isinstance(broker, KnowsLost):
            self.why_gone = broker.why_gone
        if isinstance(broker, DropsFailed):
            self.drop_failed = self._drop_failed
        if isinstance(broker, HasPresence):
            self.announce, self.leave = broker.announce, broker.leave
            self.present, self.give_order = broker.present, broker.give_order

    # Broker

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return self._broker.enqueue(messages)

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return self._broker.claim(consumer, limit, wait_ms)

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        ends = [settlement for settlement in settlements if not isinstance(settlement.verdict, Retry | Defer)]
        records = [settlement.record for settlement in ends if settlement.record is not None]
        if records:
            self._results.put(records)
        return self._broker.settle([_without_value(settlement) for settlement in settlements])

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return self._broker.extend(extensions)

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        return release(self._broker, consumer, started, past)

    def maintain(self, limit: int) -> int:
        return self._broker.maintain(limit)

    def wakeups(self) -> Wakeups | None:
        return self._broker.wakeups() if isinstance(self._broker, HasWakeups) else None

    def limits(self) -> LimitStore | None:
        return limits_of(self._broker)

    def fair_lines(self) -> FairLines | None:
        return fair_lines_of(self._broker)

    def schedules(self) -> ScheduleStore | None:
        return schedules_of(self._broker)

    def lease_ms(self) -> int:
        return self._broker.lease_ms()

    def interrupt(self) -> None:
        self._broker.interrupt()

    def close(self) -> None:
        self._broker.close()
        self._results.close()

    # Results

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        deadline, step = deadline_after(timeout_ms), 0
        while True:
            records = list(self._results.wait(ids, step, least))
            if enough(records, least):
                return records
            final = self._fill_in(ids, records)
            if final or enough(records, least) or is_over(deadline):
                return records
            left = seconds_left(deadline)
            step = _SLICE if left is None else min(_SLICE, round(left * 1000))

    def forget(self, ids: Sequence[str]) -> None:
        self._results.forget(ids)
        self._broker.forget(ids)

    def _fill_in(self, ids: Sequence[str], records: list[Record | None]) -> bool:
        """Fill in the records of tasks that have ended. Returns True if no record can come for one of `ids`."""
        missing = [task_id for task_id, record in zip(ids, records, strict=True) if record is None]
        infos = dict(zip(missing, self._broker.show(missing), strict=True))
        ended = [info for info in infos.values() if info is not None and info.status.ended]
        found = {info.id: info.record for info in self._merged(ended)}
        for place, task_id in enumerate(ids):
            if records[place] is None:
                records[place] = found.get(task_id)
        return any(info is None or found.get(info.id, info) is None for info in infos.values())

    def _merged(self, infos: Sequence[TaskInfo]) -> list[TaskInfo]:
        """Return what the broker shows, with the records of the result store."""
        ended = [info.id for info in infos if info.status.ended]
        records = dict(zip(ended, self._results.wait(ended, 0), strict=True)) if ended else {}
        return [evolve(info, record=records.get(info.id) or _own(info.record)) for info in infos]

    # Inspector

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        infos = self._broker.show(ids)
        merged = iter(self._merged([info for info in infos if info is not None]))
        return [None if info is None else next(merged) for info in infos]

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        page, cursor = self._broker.tasks(state, cursor, count)
        return self._merged(page), cursor

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        info = self._broker.watch(task_id, seen, timeout_ms)
        return None if info is None else self._merged([info])[0]

    def consumers(self) -> Sequence[ConsumerInfo]:
        return self._broker.consumers()

    def depth(self) -> Depth:
        return self._broker.depth()

    def groups(self) -> Sequence[str]:
        return self._broker.groups()

    def remove_group(self, group: str) -> None:
        self._broker.remove_group(group)

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        records = self._results.wait(ids, 0)
        accepted = self._broker.requeue(ids)
        self._withdraw(records, accepted)
        return accepted

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._broker.cancel(ids, force)

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        records = self._results.wait(ids, 0)
        accepted = self._broker.delete(ids)
        self._withdraw(records, accepted)
        return accepted

    def _drop_failed(self, limits: FailedLimits, count: int) -> Sequence[Dropped]:
        assert isinstance(self._broker, DropsFailed)
        dropped = self._broker.drop_failed(limits, count)
        records = self._results.wait([one.id for one in dropped], 0)
        self._withdraw(records, [True] * len(dropped))
        return dropped

    def _withdraw(self, records: Sequence[Record | None], accepted: Sequence[bool]) -> None:
        """Remove the records of the accepted ids, unless a later run has stored another: what replaces them has their
        fencing token and no time to live."""
        old = [record for record, yes in zip(records, accepted, strict=True) if yes and record is not None]
        if old:
            self._results.put([evolve(record, value=b"", ttl_ms=0) for record in old])

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        return self._broker.adopt(tasks)

    def about(self) -> Mapping[str, str]:
        """Return facts about the broker, and about the result store under names with a prefix."""
        facts = dict(self._broker.about()) if isinstance(self._broker, HasAbout) else {}
        if isinstance(self._results, HasAbout):
            facts |= {f"results: {name}": fact for name, fact in self._results.about().items()}
        return facts


def _without_value(settlement: Settlement) -> Settlement:
    """Return the settlement for the broker: its record has the status, the time to live and the progress only."""
    record = settlement.record
    if record is None or isinstance(settlement.verdict, Retry):  # which stores it only if the next attempt is too late
        return settlement
    return evolve(settlement, record=evolve(record, value=b"", error=None, seal="", serializer=_ELSEWHERE))


def _own(record: Record | None) -> Record | None:
    """Return the broker's record if the result store does not have it."""
    return None if record is None or record.serializer == _ELSEWHERE else record
