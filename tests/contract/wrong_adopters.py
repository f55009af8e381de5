"""Backends that break I7, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.memory.group import Group
from pyxqueue.message import ADOPTABLE, Message, TaskInfo, TaskStatus, Unreadable, check_adoptable

from .wrong import Collection

COLLECTION = Collection()
breaks = COLLECTION.breaks


class Altering(Group):
    """Adopts something else than it was given."""

    def altered(self, task: TaskInfo) -> TaskInfo:
        raise NotImplementedError

    def adopt(self, task: TaskInfo, now: int) -> bool:
        return super().adopt(self.altered(task), now)


class Rewriting(Altering):
    """Adopts another header."""

    def header(self, message: Message) -> dict[str, object]:
        raise NotImplementedError

    def altered(self, task: TaskInfo) -> TaskInfo:
        message = task.message
        if not isinstance(message, Message):
            return task
        # The fields are named by the subclasses, so their types are not known here.
        return evolve(task, message=evolve(message, **self.header(message)))  # type: ignore[arg-type]


@breaks("I7")
class AdoptsAsTheFirstAttempt(Rewriting):
    def header(self, message: Message) -> dict[str, object]:
        return {"attempt": 1}


@breaks("I7")
class AdoptsWithoutTheCrashes(Rewriting):
    def header(self, message: Message) -> dict[str, object]:
        return {"crashes": 0}


@breaks("I7")
class AdoptsWithoutTheReturns(Rewriting):
    def header(self, message: Message) -> dict[str, object]:
        return {"deferrals": 0}


@breaks("I7")
class AdoptsWithoutTheHeaders(Rewriting):
    def header(self, message: Message) -> dict[str, object]:
        return {"headers": {}}


@breaks("I7")
class AdoptsAText(Rewriting):
    def header(self, message: Message) -> dict[str, object]:
        return {"body": message.body.decode(errors="replace").encode()}


@breaks("I7")
class AdoptsTheDelayedAsReady(Rewriting):
    def header(self, message: Message) -> dict[str, object]:
        return {"due_ms": 0}


@breaks("I7")
class AdoptsTheFailedAsReady(Altering):
    def altered(self, task: TaskInfo) -> TaskInfo:
        return evolve(task, status=TaskStatus.PENDING)


@breaks("I7")
class AdoptsWithoutTheReason(Altering):
    def altered(self, task: TaskInfo) -> TaskInfo:
        return evolve(task, reason="")


@breaks("I7")
class AdoptsWithoutTheRecord(Altering):
    def altered(self, task: TaskInfo) -> TaskInfo:
        return evolve(task, record=None)


@breaks("I7")
class AdoptsWhatCannotBeReadWithoutItsFields(Altering):
    def altered(self, task: TaskInfo) -> TaskInfo:
        message = task.message
        return evolve(task, message=evolve(message, fields={})) if isinstance(message, Unreadable) else task


@breaks("I7")
class AdoptionReplaces(Group):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        self.delete(task.id)
        return super().adopt(task, now)


@breaks("I7")
class AdoptionIsAlwaysNew(Group):
    def adopt(self, task: TaskInfo, now: int) -> bool:
        super().adopt(task, now)
        return True


@breaks("I7")
class AdoptsTheNewestFirst(MemoryBackend):
    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        return super().adopt(tasks[::-1])[::-1]


@breaks("I7")
class AdoptsIntoEveryGroup(MemoryBackend):
    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        answers = super().adopt(tasks)
        with self._store.changed:
            for group in self._store.groups(self._options.stream_key).values():
                for task in tasks:
                    group.adopt(task, self._store.clock())
        return answers


@breaks("I7")
class AdoptsUntilOneIsRefused(MemoryBackend):
    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        fit = [task for task in tasks if task.status in ADOPTABLE and task.message is not None]
        answers = super().adopt(fit)
        check_adoptable(tasks)
        return answers


@breaks("I7")
class AdoptsWhatIsHeldElsewhere(MemoryBackend):
    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        waits = TaskStatus.PENDING
        return super().adopt([evolve(task, status=waits) if task.status not in ADOPTABLE else task for task in tasks])
