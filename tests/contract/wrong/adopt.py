"""Backends that break I7, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.model.message import evolve

from .prelude import Entry, Group, MemoryBackend, Place, adopts, breaks, first_page, m, moves


@breaks("I7")
@moves
def adopts_as_the_first_attempt(message: m.Message) -> m.Message:
    return evolve(message, attempt=1)


@breaks("I7")
@moves
def adopts_without_the_crashes(message: m.Message) -> m.Message:
    return evolve(message, crashes=0)


@breaks("I7")
@moves
def adopts_without_the_deferrals(message: m.Message) -> m.Message:
    return evolve(message, deferrals=0)


@breaks("I7")
@moves
def adopts_without_the_headers(message: m.Message) -> m.Message:
    return evolve(message, headers={})


@breaks("I7")
@moves
def adopts_a_text(message: m.Message) -> m.Message:
    return evolve(message, body=message.body.decode(errors="replace").encode())


@breaks("I7")
@moves
def adopts_the_delayed_as_ready(message: m.Message) -> m.Message:
    return evolve(message, due_ms=0)


@breaks("I7")
@adopts
def adopts_the_failed_as_ready(task: m.TaskInfo) -> m.TaskInfo:
    return evolve(task, status=m.TaskStatus.PENDING)


@breaks("I7")
@adopts
def adopts_without_the_reason(task: m.TaskInfo) -> m.TaskInfo:
    return evolve(task, reason="")


@breaks("I7")
@adopts
def adopts_without_the_record(task: m.TaskInfo) -> m.TaskInfo:
    return evolve(task, record=None)


@breaks("I7")
@adopts
def adopts_what_cannot_be_read_without_its_fields(task: m.TaskInfo) -> m.TaskInfo:
    message = task.message
    return evolve(task, message=evolve(message, fields={})) if isinstance(message, m.Unreadable) else task


@breaks("I7")
class AdoptionReplaces(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        self.delete(task.id, now)
        return super().adopt(task, now)


@breaks("I7")
class AdoptionIsAlwaysNew(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        super().adopt(task, now)
        return True


@breaks("I7")
class AdoptsTheNewestFirst(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        return super().adopt(tasks[::-1])[::-1]


@breaks("I7")
class AdoptsIntoEveryGroup(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        adopted = super().adopt(tasks)
        with self._store.changed:
            for group in self._queue.groups().values():
                for task in tasks:
                    group.adopt(task, self._store.clock())
        return adopted


@breaks("I7")
class AdoptsUntilOneIsRefused(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        fit = [task for task in tasks if task.status in m.ADOPTABLE and task.message is not None]
        adopted = super().adopt(fit)
        m.check_adoptable(tasks)
        return adopted


@breaks("I7")
class AdoptsWhatIsInFlightElsewhere(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        waits = m.TaskStatus.PENDING
        return super().adopt([evolve(task, status=waits) if task.status not in m.ADOPTABLE else task for task in tasks])


@breaks("I7")
class AdoptsAPage(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        return first_page(super().adopt, tasks, rest=True)


@breaks("I7")
@moves
def adopts_without_the_seal(message: m.Message) -> m.Message:
    return evolve(message, seal="")


@breaks("I7")
@moves
def adopts_without_the_reply(message: m.Message) -> m.Message:
    return evolve(message, reply="")


@breaks("I7")
@moves
def adopts_small_numbers(message: m.Message) -> m.Message:
    return evolve(message, attempt=min(message.attempt, 32_767))


@breaks("I7")
@moves
def adopts_a_redelivered_as_a_crash(message: m.Message) -> m.Message:
    return evolve(message, crashes=message.crashes or int(message.redelivered))


@breaks("I7")
class AdoptsADueTimeAsADelay(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        if isinstance(task.message, m.Message) and task.message.due_ms > now:
            task = evolve(task, message=evolve(task.message, due_ms=now + task.message.due_ms))
        return super().adopt(task, now)


@breaks("I7")
class AdoptsWhatHasEndedHere(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        entry = self.tasks.get(task.id)
        if entry is not None and entry.place is Place.REMEMBERED:
            self.remove(entry)
        return super().adopt(task, now)


@breaks("I7")
class AdoptsNothingUnreadableThatWaits(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        if isinstance(task.message, m.Unreadable) and task.status is m.TaskStatus.PENDING:
            return True
        return super().adopt(task, now)


@breaks("I7")
class RecordsOfAdoptedFailuresSayAttemptOne(Group):
    def _default_record(self, entry: Entry, status: m.TaskStatus) -> m.Record:
        return evolve(super()._default_record(entry, status), attempt=1)


@breaks("I7")
class AdoptedFailuresHaveNoRecord(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        adopted = super().adopt(task, now)
        if adopted and task.record is None:
            self.forget(task.id, now)
        return adopted
