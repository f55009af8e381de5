"""Backends that break I5, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from .prelude import UNDER_WAY, Group, MemoryBackend, Mistaking, Place, breaks, first_page, store_record


@breaks("I5")
class DeletesWhatIsInFlight(Group):
    def delete(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.IN_FLIGHT:
            self.remove(entry)
            return True
        return super().delete(task_id, now)


@breaks("I5")
class DeleteKeepsTheRecord(Group):
    def delete(self, task_id: str, now: int) -> bool:
        record = self.tasks[task_id].record if task_id in self.tasks else None
        deleted = super().delete(task_id, now)
        if deleted and record is not None:
            store_record(self, record, record.ended_ms)
        return deleted


@breaks("I5")
class DeletesOnlyWhatEnded(Group):
    def delete(self, task_id: str, now: int) -> bool:
        return task_id in self.tasks and self.tasks[task_id].place not in UNDER_WAY and super().delete(task_id, now)


@breaks("I5")
class DeletesInAnyOrder(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return sorted(super().delete(ids))


@breaks("I5")
class NoIdsAreAllIds(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        if not ids:
            super().delete([task.id for task in self.tasks()[0]])
        return super().delete(ids)


@breaks("I5")
class DeletesAPage(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return first_page(super().delete, ids, rest=True)


@breaks("I5")
class DeletesLike(Mistaking):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self.widely(super().delete, ids)


def starting(task_id: str, known: str) -> bool:
    return known.startswith(task_id)


@breaks("I5")
class DeletesByPrefix(DeletesLike):
    alike = staticmethod(starting)


@breaks("I5")
class OnlyWhatIsShownIsDeleted(MemoryBackend):
    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        shown = [info is not None for info in self.show(ids)]
        return [
            there and super(OnlyWhatIsShownIsDeleted, self).delete([id_])[0]
            for there, id_ in zip(shown, ids, strict=True)
        ]
