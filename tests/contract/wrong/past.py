"""Backends that break B14, each in one small way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyxqueue.model.message import evolve
from pyxqueue.protocols import NO_LINES

from .prelude import Entry, Group, MemoryBackend, breaks, m


@breaks("B14")
class RetryForgetsItsLine(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(settlement.verdict, m.Retry):
            settlement = evolve(settlement, verdict=m.Retry(settlement.verdict.delay_ms))
        super()._apply(entry, settlement, now)


@breaks("B14")
class GrowsWithoutBound(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        before = entry.message.past if isinstance(entry.message, m.Message) else ""
        super()._apply(entry, settlement, now)
        if isinstance(settlement.verdict, m.Retry) and settlement.verdict.past:
            entry.alter(past=f"{before}\n{settlement.verdict.past}".strip())


@breaks("B14")
class KeepsTheOldest(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        before = entry.message.past if isinstance(entry.message, m.Message) else ""
        super()._apply(entry, settlement, now)
        if before.count("\n") == 4:
            entry.alter(past=before)


@breaks("B14")
class RequeueKeepsThePast(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.find(task_id)
        before = entry.message.past if entry is not None and isinstance(entry.message, m.Message) else ""
        done = super().requeue(task_id, now)
        if done and entry is not None:
            entry.alter(past=before)
        return done


@breaks("B14")
class DeathLeavesNoLine(Group):
    def remember_runs(self, consumer: str, past: Mapping[str, str]) -> None:
        pass


@breaks("B14")
class EveryMessageOfADeadProcessGetsALine(Group):
    def remember_runs(self, consumer: str, past: Mapping[str, str]) -> None:
        held = [entry.receipt for entry in self.tasks.values() if entry.consumer == consumer]
        super().remember_runs(consumer, dict.fromkeys(held, max(past.values(), default="")))


@breaks("B14")
class OnlyWhatIsChargedGetsALine(MemoryBackend):
    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        return super().release(consumer, started, {one: line for one, line in past.items() if one in started})


@breaks("B14")
class AnyoneMayAddLines(Group):
    def remember_runs(self, consumer: str, past: Mapping[str, str]) -> None:
        for receipt, line in past.items():
            if (entry := self.holding(receipt)) is not None:
                entry.remember(line)
                self.save(entry)


@breaks("B14")
class EndOfALeaseKnowsNoHost(Group):
    def _host_of(self, consumer: str, now: int) -> str:
        return ""
