"""Result stores that break R1, R2, R3 and R4, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import MemoryResults, RecordTable, breaks, m


@breaks("R1")
class LowerFenceWins(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        self.forget(record.id)
        super().put(record, now)


@breaks("R1")
class FirstRecordWins(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        if self.read(record.id, now) is None:
            super().put(record, now)


@breaks("R1")
class FencesAreText(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        stored = self.read(record.id, now)
        if stored is None or str(stored.fence) <= str(record.fence):
            self.forget(record.id)
            super().put(record, now)


@breaks("R1")
class FencesHave64Bits(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        super().put(evolve(record, fence=record.fence % 2**64), now)


@breaks("R1")
class RefusedRecordRenewsTheTtl(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        stored = self.read(record.id, now)
        super().put(record, now)
        if stored is not None and stored.fence > record.fence:
            self.keep(evolve(stored, ttl_ms=record.ttl_ms))


@breaks("R1")
class FenceOutlivesItsRecord(RecordTable):
    _fence = 0

    def put(self, record: m.Record, now: int) -> None:
        if record.fence >= self._fence:
            super().put(record, now)

    def forget(self, task_id: str) -> None:
        stored = self.kept.get(task_id)
        self._fence = stored.fence if stored else 0
        super().forget(task_id)


@breaks("R1")
class NoFenceAlwaysWins(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        if record.fence == 0:
            self.forget(record.id)
        super().put(record, now)


@breaks("R1")
class LastOfABatchWins(MemoryResults):
    def put(self, records: Sequence[m.Record]) -> None:
        super().put(list({record.id: record for record in records}.values()))


@breaks("R1")
class TheSameFenceIsRefused(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        stored = self.read(record.id, now)
        if stored is None or stored.fence < record.fence:
            super().put(record, now)


@breaks("R2")
class PutWakesNobody(MemoryResults):
    def put(self, records: Sequence[m.Record]) -> None:
        with self._changed:
            for record in records:
                self._records.put(record, self._clock())


@breaks("R2")
class WaitGivesUpOnTheUnknown(MemoryResults):
    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[m.Record | None]:
        return super().wait(ids, timeout_ms if set(ids) <= set(self._records.kept) else 0, least)


@breaks("R3")
class TheFirstTtlCounts(RecordTable):
    def put(self, record: m.Record, now: int) -> None:
        stored = self.read(record.id, now)
        super().put(evolve(record, ttl_ms=stored.ttl_ms) if stored else record, now)


@breaks("R4")
class ForgottenForEver(RecordTable):
    def forget(self, task_id: str) -> None:
        if (stored := self.kept.get(task_id)) is not None:
            self.keep(evolve(stored, ended_ms=0, ttl_ms=0, fence=10**9))

    def put(self, record: m.Record, now: int) -> None:
        stored = self.kept.get(record.id)
        if stored is None or stored.fence <= record.fence:
            super().put(record, now)
