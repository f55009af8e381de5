"""Backends that break L10 or L11, each in one small way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyxqueue.model.flows import Edge, OnFailure, edges_of

from .prelude import Entry, Group, MemoryBackend, Place, breaks, m


@breaks("L10")
class ReadyAtOnce(Group):
    """It knows nothing of predecessors."""

    def insert(self, entry: Entry, due: int, now: int) -> None:
        entry.need = entry.absent = 0
        super().insert(entry, due, now)


@breaks("L10")
class TheFirstEndIsEnough(Group):
    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        entry.need = 0
        super()._look_at(entry, cause, now)


@breaks("L10")
class ARangeIsOnePredecessor(Group):
    def insert(self, entry: Entry, due: int, now: int) -> None:
        if isinstance(entry.message, m.Message) and entry.need:
            entry.need = entry.absent = len(entry.message.after)
        super().insert(entry, due, now)


@breaks("L10")
class AnyTaskOfThatId(Group):
    """An edge counts for whatever has the id of the successor."""

    def _successors(self, entry: Entry) -> Iterator[tuple[Edge, Entry]]:
        for edge in edges_of(entry.message):
            if (successor := self.find(edge.successor)) is not None:
                yield edge, successor


@breaks("L10")
class ARepeatCountsAgain(MemoryBackend):
    """Each time its message comes, a predecessor is counted as stored."""

    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        accepted = super().enqueue(messages)
        group, _ = self._queue.look()
        for message in messages:
            entry = group.tasks.get(message.id)
            if entry is not None and entry.place is Place.DEPENDENT and not accepted[0]:
                entry.need += 1
        return accepted


@breaks("L10")
class ARequeueWaitsAgain(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        requeued = super().requeue(task_id, now)
        entry = self.tasks.get(task_id)
        if requeued and entry is not None and entry.need > 0:
            self.move(entry, Place.DEPENDENT, now)
        return requeued


@breaks("L10")
class ARequeueKeepsTheDoom(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        doomed = entry.message.doomed if entry is not None and isinstance(entry.message, m.Message) else ""
        requeued = super().requeue(task_id, now)
        if entry is not None and requeued:
            entry.alter(doomed=doomed)
        return requeued


@breaks("L10")
class AReleaseForgetsTheDoom(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        entry.alter(doomed="")
        super()._put_back(entry, delay, now)


@breaks("L10")
class ItsDelayIsLost(Group):
    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        entry.due = 0
        super()._look_at(entry, cause, now)


@breaks("L10")
class ADoomedTaskIsDelayed(Group):
    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        due = entry.due
        super()._look_at(entry, cause, now)
        if entry.place is Place.CAME_BACK and due > now:
            self._line_up(entry, Place.CAME_BACK, due, now)


@breaks("L10")
class ADependentTaskHasATokenAlready(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        super().move(entry, place, now)
        if place is Place.DEPENDENT and not entry.has_tokens:
            self.gates.ask(entry)


@breaks("L10")
class ItDoesNotAskForATokenAtAll(Group):
    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        dependent = entry.place is Place.DEPENDENT
        super()._look_at(entry, cause, now)
        if dependent and entry.place is Place.BLOCKED:
            self.gates.leave(entry)
            self._move(entry, Place.CAME_BACK, now)


@breaks("L10")
class ADoomedTaskAsksForAToken(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        doomed = entry.message.doomed if isinstance(entry.message, m.Message) else ""
        if doomed and place is Place.CAME_BACK:
            entry.alter(doomed="")
            super().move(entry, place, now)
            entry.alter(doomed=doomed)
        else:
            super().move(entry, place, now)


@breaks("L10")
class AnUnfinishedFlowWaitsForEver(Group):
    def _doom(self, _now: int) -> int:
        return -1


@breaks("L10")
class AnUnfinishedFlowIsGivenUpAtOnce(Group):
    """An hour after the successor was stored, not after the last of its predecessors."""

    def save(self, entry: Entry) -> None:
        if entry.place is Place.DEPENDENT and entry.absent:
            entry.complete_by = entry.updated + 3_600_000
        super().save(entry)


@breaks("L10")
class AWholeFlowIsGivenUp(Group):
    """Also if all of it was stored."""

    def _doom(self, now: int) -> int:
        for entry in list(self.lines[Place.DEPENDENT].values()):
            if entry.complete_by <= now:
                self._doom_unfinished(entry, now)
        return super()._doom(now)


@breaks("L10")
class ADependentTaskIsShownAsReady(Group):
    def info(self, entry: Entry, now: int) -> m.TaskInfo:
        return m.evolve(super().info(entry, now), waits_for=0)


@breaks("L10")
class ASuccessorIsNew(Group):
    """It does not come back."""

    def _line_up(self, entry: Entry, line: Place, due: int, now: int) -> None:
        super()._line_up(entry, Place.NEW if entry.place is Place.DEPENDENT else line, due, now)


@breaks("L10")
class FollowUpsAreReady(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        then = [m.evolve(message, after=()) for message in settlement.then]
        return super().settle(m.evolve(settlement, then=then), now)


class Firing(Group):
    """Fires the edges of some tasks only."""

    def fires(self, entry: Entry, place: Place, record: m.Record) -> bool:
        raise NotImplementedError

    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        message = entry.message
        if not self.fires(entry, place, record):
            entry.alter(successors=())
        super()._end(entry, place, record, now)
        entry.message = message


@breaks("L11")
class AFailureDoesNotFire(Firing):
    """The successor of a failed task waits for ever, as without a policy."""

    def fires(self, _entry: Entry, place: Place, _record: m.Record) -> bool:
        return place is not Place.FAILED


@breaks("L11")
class ACancellationDoesNotFire(Firing):
    def fires(self, entry: Entry, _place: Place, record: m.Record) -> bool:
        return record.status is not m.TaskStatus.CANCELLED or entry.place is Place.IN_FLIGHT


@breaks("L11")
class AnAbortDoesNotFire(Firing):
    def fires(self, entry: Entry, _place: Place, record: m.Record) -> bool:
        return record.status is not m.TaskStatus.CANCELLED or entry.place is not Place.IN_FLIGHT


@breaks("L11")
class AnExpiryDoesNotFire(Firing):
    def fires(self, _entry: Entry, _place: Place, record: m.Record) -> bool:
        return record.error is None or record.error.type != "Expired"


@breaks("L11")
class ADependentTaskThatEndsDoesNotFire(Firing):
    def fires(self, entry: Entry, _place: Place, _record: m.Record) -> bool:
        return entry.place is not Place.DEPENDENT


@breaks("L11")
class ADeletionDoesNotFire(Group):
    def delete(self, task_id: str, now: int) -> bool:
        if (entry := self.tasks.get(task_id)) is not None and entry.place is not Place.IN_FLIGHT:
            entry.alter(successors=())
        return super().delete(task_id, now)


@breaks("L11")
class ADeletionCountsAsASuccess(Group):
    def delete(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is not Place.IN_FLIGHT:
            self._fire(entry, now, success=True, kept=False)
            entry.alter(successors=())
        return super().delete(task_id, now)


@breaks("L11")
class ARetryFires(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        super()._put_back(entry, delay, now)
        self._fire(entry, now, success=True, kept=False)


@breaks("L11")
class ARefusedSettlementFires(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        accepted = super().settle(settlement, now)
        entry = self.tasks.get(settlement.receipt.rpartition("@")[0])
        if not accepted and entry is not None and isinstance(settlement.verdict, m.Done):
            self._fire(entry, now, success=True, kept=False)
        return accepted


@breaks("L11")
class EveryEndOfARequeuedTaskFires(Group):
    """It forgets that the edges have fired, and does not take them back."""

    def _take_back(self, entry: Entry) -> None:
        pass


@breaks("L11")
class WaitingEdgesAreTakenBackTwice(Group):
    """Those of a failed task, which have not fired."""

    def _take_back(self, entry: Entry) -> None:
        for edge, successor in self._successors(entry):
            successor.need += 1
            successor.bad -= edge.dooms(success=entry.ended is m.TaskStatus.SUCCESS)


@breaks("L11")
class ADeletionFiresAgain(Group):
    """Also that of a task that has ended."""

    def delete(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.HISTORY:
            self._fire(entry, now, success=True, kept=False)
        return super().delete(task_id, now)


@breaks("L10")
class ARetriedTaskDoomsStill(Group):
    """What it has doomed does not rejoin the flow."""

    def _take_back(self, entry: Entry) -> None:
        doomed = {edge.successor: successor.bad for edge, successor in self._successors(entry)}
        super()._take_back(entry)
        for edge, successor in self._successors(entry):
            successor.bad = doomed[edge.successor]


@breaks("L10")
class ARejoinWaitsForNobody(Group):
    """It is a requeue."""

    def rejoin(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        return entry is not None and entry.place is Place.FAILED and self.requeue(task_id, now)


@breaks("L10")
class ADoomedTaskWaitsAgain(Group):
    """Also if what dooms it was not retried: for ever."""

    def rejoin(self, task_id: str, now: int) -> bool:
        if (entry := self.tasks.get(task_id)) is not None and entry.place is Place.FAILED:
            entry.need, entry.bad = entry.need + entry.bad, 0
        return super().rejoin(task_id, now)


@breaks("L10")
class ARejoinKeepsTheRecord(Group):
    def rejoin(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        record = entry.record if entry is not None else None
        rejoined = super().rejoin(task_id, now)
        if entry is not None and rejoined:
            entry.record = record
        return rejoined


@breaks("L10")
class ADoomedTaskFailsAllTheSame(Group):
    """Although what dooms it was retried before it has ended."""

    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(settlement.verdict, m.Fail):
            entry.alter(doomed="")
        super()._apply(entry, settlement, now)


@breaks("L10")
class ACancelledTaskRejoins(Group):
    def _apply(self, entry: Entry, settlement: m.Settlement, now: int) -> None:
        if isinstance(entry.message, m.Message) and entry.message.doomed:
            entry.cancelled = 0
        super()._apply(entry, settlement, now)


@breaks("L10")
class AnUnfinishedFlowIsRejoined(Group):
    def rejoin(self, task_id: str, now: int) -> bool:
        entry = self.tasks.get(task_id)
        if entry is not None and isinstance(entry.message, m.Message) and " " in entry.message.doomed:
            entry.alter(doomed="")
        return super().rejoin(task_id, now)


@breaks("L11")
class AFailedTaskIsNotWaitedFor(Group):
    def _fire(self, entry: Entry, now: int, *, success: bool, kept: bool, was_kept: bool = False) -> None:
        super()._fire(entry, now, success=success, kept=False, was_kept=was_kept)


@breaks("L11")
class WaitingEdgesNeverFire(Group):
    """Those of a task that has failed once."""

    def _fire(self, entry: Entry, now: int, *, success: bool, kept: bool, was_kept: bool = False) -> None:
        waiting = [edge.successor for edge in edges_of(entry.message) if edge.on_failure is OnFailure.WAIT]
        super()._fire(entry, now, success=success, kept=kept, was_kept=was_kept)
        if kept:
            for successor in filter(None, map(self.find, waiting)):
                successor.is_counted = False


@breaks("L11")
class EveryEdgeContinues(Group):
    def _fire(self, entry: Entry, now: int, *, success: bool, kept: bool, was_kept: bool = False) -> None:
        super()._fire(entry, now, success=True, kept=kept, was_kept=was_kept)


@breaks("L11")
class NoEdgeContinues(Group):
    def _successors(self, entry: Entry) -> Iterator[tuple[Edge, Entry]]:
        for edge, successor in super()._successors(entry):
            policy = OnFailure.FAIL if edge.on_failure is OnFailure.CONTINUE else edge.on_failure
            yield Edge(policy, edge.successor), successor


@breaks("L11")
class OnlyTheFirstEdgeFires(Group):
    def _successors(self, entry: Entry) -> Iterator[tuple[Edge, Entry]]:
        yield from list(super()._successors(entry))[:1]


@breaks("L11")
class TheLastDoomCounts(Group):
    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        if cause and entry.place in (Place.CAME_BACK, Place.NEW):
            entry.alter(doomed=cause)
        super()._look_at(entry, cause, now)


@breaks("L11")
class DoomedAtOnceToTheEnd(Group):
    """A doomed task fires its own edges before it has ended."""

    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        super()._look_at(entry, cause, now)
        if cause and entry.place is not Place.DEPENDENT:
            self._fire(entry, now, success=False, kept=False)


@breaks("L11")
class TheEndOfTheHistoryFires(Group):
    """What is trimmed counts as another end."""

    def trim(self, limit: int, now: int) -> int:
        history = list(self.lines[Place.HISTORY].values())
        for entry in history[: max(0, len(history) - limit)]:
            for edge in edges_of(entry.message):
                if (successor := self.find(edge.successor)) is not None:
                    successor.need -= 1
                    self._look_at(successor, "", now)
        return super().trim(limit, now)
