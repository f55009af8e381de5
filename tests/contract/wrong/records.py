"""Backends that break R3, R4 and R5, each in one small way."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import PAGE, Entry, Group, MemoryBackend, Mistaking, Place, breaks, first_page, m, records, without_case


@breaks("R3")
@records
def ttl_ignored(record: m.Record) -> m.Record:
    return evolve(record, ttl_ms=10**12)


@breaks("R3")
@records
def ttl_halved(record: m.Record) -> m.Record:
    return evolve(record, ttl_ms=record.ttl_ms // 2 - 1)


@breaks("R3")
@records
def zero_ttl_is_for_ever(record: m.Record) -> m.Record:
    return evolve(record, ttl_ms=record.ttl_ms or 10**12)


@breaks("R3")
class ReadingRenews(Group):
    def read(self, task_id: str, now: int) -> m.Record | None:
        record = super().read(task_id, now)
        if record is not None:
            self.tasks[task_id].record = evolve(record, ended_ms=now)
        return record


@breaks("R3")
@records
def ttl_as_a_date(record: m.Record) -> m.Record:
    """More than thirty days is taken for a moment, and that was long ago."""
    return evolve(record, ttl_ms=record.ttl_ms if record.ttl_ms <= 30 * 86_400_000 else 0)


@breaks("R3")
@records
def ttl_of_settlements_in_32bits(record: m.Record) -> m.Record:
    return evolve(record, ttl_ms=record.ttl_ms % 2**31)


@breaks("R3")
@records
def settlement_without_ttl_is_for_ever(record: m.Record) -> m.Record:
    return evolve(record, ttl_ms=record.ttl_ms or 10**12)


@breaks("R4")
class ForgetsTooMuch(MemoryBackend):
    def forget(self, ids: Sequence[str]) -> None:
        group, _ = self._queue.look()
        super().forget([task_id for task_id in group.tasks if task_id.startswith(tuple(ids))])


@breaks("R4")
class ForgetsEverythingForNothing(MemoryBackend):
    def forget(self, ids: Sequence[str]) -> None:
        super().forget(ids or list(self._queue.look()[0].tasks))


@breaks("R4")
class ForgetsNothing(Group):
    def forget(self, task_id: str, now: int) -> None:
        return


@breaks("R4")
class ForgetsTheTask(Group):
    def forget(self, task_id: str, now: int) -> None:
        if entry := self.tasks.get(task_id):
            self.remove(entry)


@breaks("R4")
class ForgetTakesTheProgress(Group):
    def forget(self, task_id: str, now: int) -> None:
        if entry := self.tasks.get(task_id):
            entry.progress = None
        super().forget(task_id, now)


@breaks("R4")
class ForgetTakesTheRow(Group):
    def forget(self, task_id: str, now: int) -> None:
        super().forget(task_id, now)
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.REMEMBERED:
            self.remove(entry)


@breaks("R4")
class ForgetsAPage(MemoryBackend):
    def forget(self, ids: Sequence[str]) -> None:
        super().forget(ids[:PAGE])


@breaks("R4")
class ForgetsLike(Mistaking):
    def forget(self, ids: Sequence[str]) -> None:
        super().forget([known for task_id in ids for known in self.found(task_id)])


def matching(task_id: str, known: str) -> bool:
    """An id that is taken for a regular expression."""
    return re.fullmatch(task_id, known) is not None


@breaks("R4")
class ForgetsByPattern(ForgetsLike):
    alike = staticmethod(matching)


@breaks("R4")
class ForgetsWithoutCase(ForgetsLike):
    alike = staticmethod(without_case)


@breaks("R5")
class RecordsInAnotherOrder(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return super().wait(sorted(ids), timeout_ms, least)


@breaks("R5")
class UnknownIdsLeftOut(MemoryBackend):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return [record for record in super().wait(ids, timeout_ms, least) if record is not None]


@breaks("R5")
@records
def record_loses_its_worker(record: m.Record) -> m.Record:
    return evolve(record, worker="")


@breaks("R5")
@records
def tracebacks_are_cut(record: m.Record) -> m.Record:
    error = record.error and evolve(record.error, traceback=record.error.traceback[:10_000])
    return evolve(record, error=error)


@breaks("R5")
@records
def failures_are_one_line(record: m.Record) -> m.Record:
    error = record.error and m.Failure(record.error.type, " ".join(record.error.message.split()))
    return evolve(record, error=error)


@breaks("R5")
class ReadsAPage(MemoryBackend):
    """Where it does not wait."""

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        if timeout_ms != 0:
            return super().wait(ids, timeout_ms, least)
        return first_page(lambda some: super(ReadsAPage, self).wait(some, 0, least), ids, None)


@breaks("R5")
class WaitsForAPage(MemoryBackend):
    """Where it waits."""

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        if timeout_ms == 0:
            return super().wait(ids, 0, least)
        return first_page(lambda some: super(WaitsForAPage, self).wait(some, timeout_ms, least), ids, None)


@breaks("R5")
@records
def nothing_done_is_no_progress(record: m.Record) -> m.Record:
    return evolve(record, progress=record.progress if record.progress and record.progress.done else None)


@breaks("R5")
@records
def workers_are_short(record: m.Record) -> m.Record:
    return evolve(record, worker=record.worker[:64])


@breaks("R5")
@records
def failures_need_a_text(record: m.Record) -> m.Record:
    return evolve(record, error=record.error if record.error and record.error.message else None)


@breaks("R5")
class SettledFailuresEndAtANul(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        record = settlement.record
        if record is not None and record.error is not None:
            error = m.Failure(record.error.type, record.error.message.partition("\0")[0], record.error.traceback)
            record = evolve(record, error=error)
        super()._apply(entry, evolve(settlement, record=record), now)


@breaks("R5")
class ReadsLike(Mistaking):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        with_record = [[i for i in self.found(one) if super(ReadsLike, self).wait([i], 0)[0]] for one in ids]
        meant = [(found or [one])[0] for one, found in zip(ids, with_record, strict=True)]
        return super().wait(meant, timeout_ms, least)


@breaks("R5")
class ReadsWithoutCase(ReadsLike):
    alike = staticmethod(without_case)


@breaks("R3")
class RecordsLastAMomentLonger(Group):
    def read(self, task_id: str, now: int) -> m.Record | None:
        return super().read(task_id, now - 1)
