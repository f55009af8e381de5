"""Backends that break L14, each in one small way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyxqueue.model.message import NO_STEPS
from pyxqueue.model.steps import EventStatus, Steps
from pyxqueue.model.transitions import Event

from .prelude import Entry, Group, MemoryBackend, Place, breaks, in_flight, m


@breaks("L14")
class AnybodySaves(Group):
    """The fence is not asked."""

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> m.LeaseStatus:
        status = super().save_steps(receipt, steps)
        if (entry := in_flight(self, receipt)) is not None:
            entry.steps = {**entry.steps, **steps}
        return status


@breaks("L14")
class TheLastSaveIsAll(Group):
    """Each save replaces all steps."""

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> m.LeaseStatus:
        status = super().save_steps(receipt, steps)
        if status is not m.LeaseStatus.LOST and (entry := in_flight(self, receipt)) is not None:
            entry.steps = dict(steps)
        return status


@breaks("L14")
class TheFirstValueStays(Group):
    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> m.LeaseStatus:
        entry = in_flight(self, receipt)
        return super().save_steps(receipt, {**steps, **(entry.steps if entry is not None else NO_STEPS)})


@breaks("L14")
class NamesWithoutCase(Group):
    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> m.LeaseStatus:
        return super().save_steps(receipt, {name.lower(): value for name, value in steps.items()})


@breaks("L14")
class SavingDoesNotTell(Group):
    """Of a cancellation."""

    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> m.LeaseStatus:
        status = super().save_steps(receipt, steps)
        return status if status is m.LeaseStatus.LOST else m.LeaseStatus.HELD


@breaks("L14")
class ACancelledTaskDoesNotSave(Group):
    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> m.LeaseStatus:
        entry = in_flight(self, receipt)
        return super().save_steps(receipt, NO_STEPS if entry is not None and entry.cancelled else steps)


@breaks("L14")
class SavingExtends(Group):
    def save_steps(self, receipt: str, steps: Mapping[str, bytes]) -> m.LeaseStatus:
        if (entry := in_flight(self, receipt)) is not None:
            entry.lease_end += self.lease
        return super().save_steps(receipt, steps)


@breaks("L14")
class ARetryForgets(Group):
    def settle(self, settlement: m.Settlement, now: int) -> bool:
        entry = in_flight(self, settlement.receipt)
        if entry is not None and isinstance(settlement.verdict, m.Retry):
            entry.steps = NO_STEPS
        return super().settle(settlement, now)


@breaks("L14")
class ARequeueForgets(Group):
    def requeue(self, task_id: str, now: int) -> bool:
        if (entry := self.tasks.get(task_id)) is not None:
            entry.steps = NO_STEPS
        return super().requeue(task_id, now)


@breaks("L14")
class TheEndForgetsNothing(Group):
    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        steps, events = entry.steps, entry.events
        super()._end(entry, place, record, now)
        entry.steps, entry.events = steps, events


@breaks("L14")
class ACancellationForgetsNoEvents(Group):
    """Only the steps."""

    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        entry = self.tasks.get(task_id)
        events = entry.events if entry is not None else NO_STEPS
        cancelled = super().cancel(task_id, now, force=force)
        if entry is not None:
            entry.events = events
        return cancelled


@breaks("L14")
class ForgetsAlsoOfThoseThatRun(Group):
    def forget_steps(self, task_id: str) -> None:
        if (entry := self.tasks.get(task_id)) is not None:
            entry.steps = entry.events = NO_STEPS


@breaks("L14")
class ForgetsNothing(Group):
    def forget_steps(self, _task_id: str) -> None:
        """Do nothing."""


@breaks("L14")
class TheLastEventCounts(Group):
    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        status = super().send_event(task_id, name, value, now)
        if status is EventStatus.EARLIER and (entry := self.tasks.get(task_id)) is not None:
            entry.events = {**entry.events, name: value}
        return status


@breaks("L14")
class EveryEventIsTheFirst(Group):
    """Or says so."""

    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        status = super().send_event(task_id, name, value, now)
        return EventStatus.STORED if status is EventStatus.EARLIER else status


@breaks("L14")
class AFailedTaskTakesEvents(Group):
    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.place is Place.FAILED:
            entry.events = {**entry.events, name: value}
            return EventStatus.STORED
        return super().send_event(task_id, name, value, now)


@breaks("L14")
class OnlyWhoWaitsGetsEvents(Group):
    """One that comes before the wait is lost."""

    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        entry = self.tasks.get(task_id)
        if entry is not None and not entry.suspended:
            return EventStatus.REFUSED
        return super().send_event(task_id, name, value, now)


@breaks("L14")
class AnyNumberOfEvents(Group):
    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        status = super().send_event(task_id, name, value, now)
        if status is EventStatus.FULL and (entry := self.tasks.get(task_id)) is not None:
            entry.events = {**entry.events, name: value}
            return EventStatus.STORED
        return status


@breaks("L14")
class AStepIsAnEvent(Group):
    """Both have the same names."""

    def load_steps(self, task_id: str, now: int) -> Steps:
        found = super().load_steps(task_id, now)
        return Steps(found.now_ms, {**found.events, **found.steps}, found.events)


@breaks("L14")
class AnyEventWakes(Group):
    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        entry = self.tasks.get(task_id)
        if entry is not None and entry.suspended and entry.event:
            entry.event = name
        return super().send_event(task_id, name, value, now)


@breaks("L14")
class NoEventWakes(Group):
    """It waits for its time, or for ever."""

    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        if (entry := self.tasks.get(task_id)) is not None:
            entry.event = ""
        return super().send_event(task_id, name, value, now)


@breaks("L14")
class AnEarlierEventDoesNotEndTheWait(Group):
    """The event came between the last look and the suspension: it waits for ever."""

    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        events, entry.events = entry.events, NO_STEPS
        super()._suspend(entry, verdict, new, now)
        entry.events = events


@breaks("L14")
class AWaitThatIsOverWakesAgain(Group):
    """An event that nobody waits for any more ends the delay of a retry."""

    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        before = entry.suspended, entry.event
        delivery = super().lend(entry, consumer, now)
        entry.suspended, entry.event = before
        return delivery


@breaks("L14")
class TheTimeOfAnEarlierEventStays(Group):
    """Woken by an event, it still says when it would have been due."""

    def send_event(self, task_id: str, name: str, value: bytes, now: int) -> EventStatus:
        entry = self.tasks.get(task_id)
        due = entry.message.due_ms if entry is not None and isinstance(entry.message, m.Message) else 0
        status = super().send_event(task_id, name, value, now)
        if entry is not None:
            entry.alter(due_ms=due)
        return status


@breaks("L14")
class ASuspensionCountsAsADeferral(Group):
    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        entry.charge(Event.DEFER_LATER)
        super()._suspend(entry, verdict, new, now)


@breaks("L14")
class ASuspensionIsARetry(Group):
    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        entry.charge(Event.RETRY)
        super()._suspend(entry, verdict, new, now)


@breaks("L14")
class ItStaysASuspect(Group):
    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        redelivered = isinstance(entry.message, m.Message) and entry.message.redelivered
        super()._suspend(entry, verdict, new, now)
        entry.alter(redelivered=redelivered)


@breaks("L14")
class ARefusedSuspensionSaves(MemoryBackend):
    def settle(self, settlements: Sequence[m.Settlement]) -> Sequence[bool]:
        accepted = super().settle(settlements)
        group, _ = self._queue.look()
        for one in settlements:
            entry = group.tasks.get(one.receipt.rpartition("@")[0])
            if isinstance(one.verdict, m.Suspend) and entry is not None:
                entry.steps = {**entry.steps, **one.verdict.steps}
        return accepted


@breaks("L14")
class TheStepsOfASuspensionAreLost(Group):
    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        super()._suspend(entry, m.evolve(verdict, steps=NO_STEPS), new, now)


@breaks("L14")
class ACancelledTaskIsSuspended(Group):
    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        entry.cancelled = 0
        super()._suspend(entry, verdict, new, now)


@breaks("L14")
class ItExpiresWhileItWaits(Group):
    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        expires = entry.expires
        super()._suspend(entry, verdict, new, now)
        entry.alter(expires_ms=expires)


@breaks("L14")
class ItKeepsItsToken(Group):
    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        super()._suspend(entry, verdict, new, now)
        if entry.suspended and not entry.has_tokens:
            self.gates.ask(entry)


@breaks("L14")
class KnownChildrenCount(Group):
    """Also those that were stored before: their ends may have been counted, so it waits for ever."""

    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        super()._suspend(entry, verdict, new, now)
        if entry.suspended and entry.children:
            entry.children += 1


@breaks("L14")
class EveryFollowUpIsAChild(Group):
    """Whatever its flow and its edges."""

    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        ours = [m.evolve(one, flow=verdict.flow, successors=(f"c:{entry.id}",)) for one in new if verdict.flow]
        super()._suspend(entry, verdict, ours, now)


@breaks("L14")
class TheFirstChildIsEnough(Group):
    def _look_at(self, entry: Entry, cause: str, now: int) -> None:
        if entry.suspended:
            entry.children = 0
        super()._look_at(entry, cause, now)


@breaks("L14")
class ItsOwnFlowCounts(Group):
    """A task that is part of a flow waits in that one, not in that of its children."""

    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        super()._suspend(entry, verdict, new, now)
        if isinstance(entry.message, m.Message) and entry.message.flow:
            entry.children_flow = entry.message.flow


@breaks("L14")
class AnOldChildCounts(Group):
    """Its flow is not looked at: what it waits for now is another thing."""

    def _suspend(self, entry: Entry, verdict: m.Suspend, new: Sequence[m.Message], now: int) -> None:
        children, flow = entry.children, entry.children_flow
        super()._suspend(entry, verdict, new, now)
        if entry.suspended and not verdict.flow:
            entry.children, entry.children_flow = children, flow


@breaks("L14")
class ItIsNotShown(Group):
    """What a suspended task waits for."""

    def info(self, entry: Entry, now: int) -> m.TaskInfo:
        return m.evolve(super().info(entry, now), suspended=False, event="")


@breaks("L14")
class ItIsNew(Group):
    """It does not come back."""

    def _line_up(self, entry: Entry, line: Place, due: int, now: int) -> None:
        super()._line_up(entry, Place.NEW if entry.suspended else line, due, now)
