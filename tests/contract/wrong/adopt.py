"""Backends that break I7, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from .prelude import Entry, Group, MemoryBackend, Place, breaks, first_page, m


class Altering(Group):
    """Adopts something else than it was given."""

    def altered(self, task: m.TaskInfo) -> m.TaskInfo:
        raise NotImplementedError

    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        return super().adopt(self.altered(task), now)


class Rewriting(Altering):
    """Adopts another header."""

    def header(self, message: m.Message) -> dict[str, object]:
        raise NotImplementedError

    def altered(self, task: m.TaskInfo) -> m.TaskInfo:
        message = task.message
        if not isinstance(message, m.Message):
            return task
        # The fields are named by the subclasses, so their types are not known here.
        return evolve(task, message=evolve(message, **self.header(message)))  # type: ignore[arg-type] # as said above


@breaks("I7")
class AdoptsAsTheFirstAttempt(Rewriting):
    def header(self, message: m.Message) -> dict[str, object]:
        return {"attempt": 1}


@breaks("I7")
class AdoptsWithoutTheCrashes(Rewriting):
    def header(self, message: m.Message) -> dict[str, object]:
        return {"crashes": 0}


@breaks("I7")
class AdoptsWithoutTheReturns(Rewriting):
    def header(self, message: m.Message) -> dict[str, object]:
        return {"deferrals": 0}


@breaks("I7")
class AdoptsWithoutTheHeaders(Rewriting):
    def header(self, message: m.Message) -> dict[str, object]:
        return {"headers": {}}


@breaks("I7")
class AdoptsAText(Rewriting):
    def header(self, message: m.Message) -> dict[str, object]:
        return {"body": message.body.decode(errors="replace").encode()}


@breaks("I7")
class AdoptsTheDelayedAsReady(Rewriting):
    def header(self, message: m.Message) -> dict[str, object]:
        return {"due_ms": 0}


@breaks("I7")
class AdoptsTheFailedAsReady(Altering):
    def altered(self, task: m.TaskInfo) -> m.TaskInfo:
        return evolve(task, status=m.TaskStatus.PENDING)


@breaks("I7")
class AdoptsWithoutTheReason(Altering):
    def altered(self, task: m.TaskInfo) -> m.TaskInfo:
        return evolve(task, reason="")


@breaks("I7")
class AdoptsWithoutTheRecord(Altering):
    def altered(self, task: m.TaskInfo) -> m.TaskInfo:
        return evolve(task, record=None)


@breaks("I7")
class AdoptsWhatCannotBeReadWithoutItsFields(Altering):
    def altered(self, task: m.TaskInfo) -> m.TaskInfo:
        message = task.message
        return evolve(task, message=evolve(message, fields={})) if isinstance(message, m.Unreadable) else task


@breaks("I7")
class AdoptionReplaces(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        self.delete(task.id)
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
        answers = super().adopt(tasks)
        with self._store.changed:
            for group in self._queue.groups().values():
                for task in tasks:
                    group.adopt(task, self._store.clock())
        return answers


@breaks("I7")
class AdoptsUntilOneIsRefused(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        fit = [task for task in tasks if task.status in m.ADOPTABLE and task.message is not None]
        answers = super().adopt(fit)
        m.check_adoptable(tasks)
        return answers


@breaks("I7")
class AdoptsWhatIsHeldElsewhere(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        waits = m.TaskStatus.PENDING
        return super().adopt([evolve(task, status=waits) if task.status not in m.ADOPTABLE else task for task in tasks])


@breaks("I7")
class AdoptsAPage(MemoryBackend):
    def adopt(self, tasks: Sequence[m.TaskInfo]) -> Sequence[bool]:
        return first_page(super().adopt, tasks, rest=True)


class Moving(Group):
    """Adopts a header other than it was given."""

    @staticmethod
    def moved(message: m.Message) -> m.Message:
        return message

    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        message = self.moved(task.message) if isinstance(task.message, m.Message) else task.message
        return super().adopt(evolve(task, message=message), now)


@breaks("I7")
class AdoptsWithoutTheSeal(Moving):
    @staticmethod
    def moved(message: m.Message) -> m.Message:
        return evolve(message, seal="")


@breaks("I7")
class AdoptsWithoutTheReply(Moving):
    @staticmethod
    def moved(message: m.Message) -> m.Message:
        return evolve(message, reply="")


@breaks("I7")
class AdoptsSmallNumbers(Moving):
    @staticmethod
    def moved(message: m.Message) -> m.Message:
        return evolve(message, attempt=min(message.attempt, 32_767))


@breaks("I7")
class AdoptsARedeliveredAsACrash(Moving):
    @staticmethod
    def moved(message: m.Message) -> m.Message:
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
    def minimal(self, entry: Entry, status: m.TaskStatus) -> m.Record:
        return evolve(super().minimal(entry, status), attempt=1)


@breaks("I7")
class AdoptedFailuresHaveNoRecord(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        adopted = super().adopt(task, now)
        if adopted and task.record is None:
            self.forget(task.id, now)
        return adopted
