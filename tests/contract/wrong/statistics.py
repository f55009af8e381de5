"""Backends that break M1 or M2, each in one small way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyxqueue.backends.memory.counting import GroupStatistics
from pyxqueue.model import statistics as counts
from pyxqueue.model.message import evolve
from pyxqueue.model.statistics import Histogram, Slice, Statistics, StatisticsBatch, TaskCounts

from .prelude import Group, MemoryBackend, breaks, moment


def statistics_break(law: str) -> Callable[[type[GroupStatistics]], type[GroupStatistics]]:
    """Declare a group whose statistics are wrong."""

    def add(statistics: type[GroupStatistics]) -> type[GroupStatistics]:
        breaks(law)(type(statistics.__name__, (Group,), {"new_statistics": statistics}))
        return statistics

    return add


@statistics_break("M1")
class CountsRepeats(GroupStatistics):
    def accept(self, batch: StatisticsBatch, now: int) -> bool:
        self.senders.clear()
        return super().accept(batch, now)


@statistics_break("M1")
class RefusesOnlyTheLastBatch(GroupStatistics):
    def accept(self, batch: StatisticsBatch, now: int) -> bool:
        if batch.number < self.senders.get(batch.sender, -1):
            self.senders.pop(batch.sender)
        return super().accept(batch, now)


@statistics_break("M1")
class OneNumberForAllSenders(GroupStatistics):
    def accept(self, batch: StatisticsBatch, now: int) -> bool:
        return super().accept(evolve(batch, sender=""), now)


@statistics_break("M1")
class AcceptsAndForgets(GroupStatistics):
    def accept(self, batch: StatisticsBatch, now: int) -> bool:
        return super().accept(evolve(batch, tasks=batch.tasks[:1]), now)


@statistics_break("M1")
class RefusesAndCounts(GroupStatistics):
    def accept(self, batch: StatisticsBatch, now: int) -> bool:
        accepted = super().accept(batch, now)
        if not accepted:
            self.add(batch.tasks, now)
        return accepted


@statistics_break("M1")
class SumsAreLost(GroupStatistics):
    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        super().add([evolve(one, wait=evolve(one.wait, sum_ms=0)) for one in tasks], now)


@statistics_break("M1")
class LastBucketIsLost(GroupStatistics):
    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        super().add([evolve(one, run=Histogram((*one.run.counts[:-1], 0), one.run.sum_ms)) for one in tasks], now)


@statistics_break("M1")
class ClosedMinutesAreLost(GroupStatistics):
    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        if counts.read_slot(self.slots.get(counts.NOW, ""))[0] != now - now % counts.MINUTE:
            self.slots.pop(counts.NOW, None)
        super().add(tasks, now)


@statistics_break("M1")
class OneSliceForEver(GroupStatistics):
    """What came earlier is shown as if it had come now."""

    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        _, rows = counts.read_slot(self.slots.get(counts.NOW, ""))
        if rows:
            self.slots[counts.NOW] = counts.slot_text(now - now % counts.MINUTE, rows)
        super().add(tasks, now)


@statistics_break("M1")
class TotalsGoWithTheSlices(GroupStatistics):
    def show(self, minutes: int, now: int) -> Statistics:
        return evolve(super().show(minutes, now), totals=super().show(10 * counts.TENS, now).recent)


@statistics_break("M1")
class MinutesOnly(GroupStatistics):
    def show(self, minutes: int, now: int) -> Statistics:
        return super().show(min(minutes, counts.MINUTES), now)


@statistics_break("M1")
class RingsAreNotCleared(GroupStatistics):
    """The slots have what arrived at that time of any day."""

    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        start = now - now % counts.MINUTE
        for slot, begins in (
            (counts.minute_slot(start), start),
            (counts.ten_slot(start), start - start % counts.TEN_MINUTES),
        ):
            rows = counts.read_slot(self.slots.get(slot, ""))[1]
            self.slots[slot] = counts.slot_text(begins, rows)
        super().add(tasks, now)


@statistics_break("M1")
class NewestFirst(GroupStatistics):
    def show(self, minutes: int, now: int) -> Statistics:
        seen = super().show(minutes, now)
        return evolve(seen, slices=seen.slices[::-1])


@statistics_break("M1")
class WithoutEmptySlices(GroupStatistics):
    def show(self, minutes: int, now: int) -> Statistics:
        seen = super().show(minutes, now)
        return evolve(seen, slices=[one for one in seen.slices if one.tasks])


@statistics_break("M1")
class LastSliceIsOver(GroupStatistics):
    def show(self, minutes: int, now: int) -> Statistics:
        return super().show(minutes, now - counts.MINUTE)


@statistics_break("M1")
class WithoutTheMinuteUnderWay(GroupStatistics):
    def show(self, minutes: int, now: int) -> Statistics:
        seen = super().show(minutes, now)
        last: Slice = seen.slices[-1]
        return evolve(seen, slices=[*seen.slices[:-1], evolve(last, tasks=())])


@breaks("M1")
class CountsInTwoSteps(MemoryBackend):
    """Two senders at the same time read the same sums."""

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        group, now = self._queue.look()
        before = dict(group.statistics.slots), dict(group.statistics.senders)
        moment()
        group.statistics.slots, group.statistics.senders = before
        return group.registered and group.statistics.accept(batch, now)


@breaks("M1")
class OneForAllGroups(MemoryBackend):
    def add_statistics(self, batch: StatisticsBatch) -> bool:
        with self._store.changed:
            now = self._store.clock()
            accepted = [group.statistics.accept(batch, now) for group in self._queue.groups().values()]
            return all(accepted)


@breaks("M1")
class CountsForNobody(MemoryBackend):
    """A group that was removed comes back with what a late worker sends."""

    def add_statistics(self, batch: StatisticsBatch) -> bool:
        with self._store.changed:
            group, now = self._queue.join()
            return group.statistics.accept(batch, now)


@statistics_break("M2")
class AnyNumberOfNames(GroupStatistics):
    def show(self, minutes: int, now: int) -> Statistics:
        seen = super().show(minutes, now)
        return evolve(
            seen, totals=[*seen.totals, *self.further], slices=[*seen.slices[:-1], self._with(seen.slices[-1])]
        )

    def __init__(self) -> None:
        super().__init__()
        self.further: list[TaskCounts] = []

    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        super().add(tasks[: counts.MAX_NAMES], now)
        self.further += tasks[counts.MAX_NAMES :]

    def _with(self, last: Slice) -> Slice:
        return evolve(last, tasks=[*last.tasks, *self.further])


@statistics_break("M2")
class FurtherNamesAreLost(GroupStatistics):
    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        super().add(tasks[: counts.MAX_NAMES], now)


@statistics_break("M2")
class LongNamesAreCut(GroupStatistics):
    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        super().add([evolve(one, name=one.name[: counts.MAX_NAME]) for one in tasks], now)


@statistics_break("M2")
class LargeNumbersBeginAgain(GroupStatistics):
    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        super().add(tasks, now)
        start, rows = counts.read_slot(self.slots[counts.NOW])
        rows = {name: [number % counts.MAX_NUMBER for number in row] for name, row in rows.items()}
        self.slots[counts.NOW] = counts.slot_text(start, rows)


@statistics_break("M2")
class KeepsEachBatch(GroupStatistics):
    def add(self, tasks: Sequence[TaskCounts], now: int) -> None:
        super().add(tasks, now)
        self.slots[f"batch-{len(self.slots)}"] = counts.slot_text(now, {one.name: one.row() for one in tasks})
