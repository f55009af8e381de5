"""Backends that break L7, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence

from pyxqueue.backends.memory.locks import Held
from pyxqueue.model.locks import Lock, LockKind, LockTerms, Placed, Placement, lock_of

from .prelude import Entry, Group, MemoryBackend, Place, breaks, m, moment


@breaks("L7")
class ReleasesWithoutComparing(Group):
    def let_go(self, entry: Entry) -> None:
        lock = lock_of(entry.message)
        if lock is not None and lock.kind is not LockKind.WINDOW:
            self.locks.held.pop(lock.name, None)


@breaks("L7")
class AFailureKeepsTheLock(Group):
    def _end(self, entry: Entry, place: Place, record: m.Record, now: int) -> None:
        lock = lock_of(entry.message)
        held = self.locks.held.get(lock.name) if lock else None
        super()._end(entry, place, record, now)
        if lock is not None and held is not None and place is Place.FAILED:
            self.locks.held[lock.name] = held


@breaks("L7")
class ADeletionKeepsTheLock(Group):
    def delete(self, task_id: str, now: int) -> bool:
        held = dict(self.locks.held)
        deleted = super().delete(task_id, now)
        self.locks.held.update(held)
        return deleted


@breaks("L7")
class ACancellationKeepsTheLock(Group):
    def cancel(self, task_id: str, now: int, *, force: bool = False) -> bool:
        held = dict(self.locks.held)
        cancelled = super().cancel(task_id, now, force=force)
        self.locks.held.update(held)
        return cancelled


@breaks("L7")
class TheEndOfACancelledTaskKeepsTheLock(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        held = dict(self.locks.held)
        super()._put_back(entry, delay, now)
        self.locks.held.update(held)


@breaks("L7")
class ARetryGivesTheLockBack(Group):
    def _put_back(self, entry: Entry, delay: int, now: int) -> None:
        self.let_go(entry)
        super()._put_back(entry, delay, now)


@breaks("L7")
class APromotionGivesTheLockBack(Group):
    def move(self, entry: Entry, place: Place, now: int) -> None:
        if entry.place is Place.DELAYED and place is Place.CAME_BACK:
            self.let_go(entry)
        super().move(entry, place, now)


@breaks("L7")
class ARequeueTakesNothing(Group):
    def hold_again(self, _entry: Entry, _due: int, _now: int) -> bool:
        return True


@breaks("L7")
class ARequeueStealsTheLock(Group):
    def hold_again(self, entry: Entry, due: int, now: int) -> bool:
        lock = lock_of(entry.message)
        if lock is not None:
            self.locks.held.pop(lock.name, None)
        return super().hold_again(entry, due, now)


@breaks("L7")
class ARequeuedDebounceWaits(Group):
    def hold_again(self, entry: Entry, due: int, now: int) -> bool:
        return super().hold_again(entry, due or entry.due, now)


@breaks("L7")
class RefusesToAdopt(Group):
    def adopt(self, task: m.TaskInfo, now: int) -> bool:
        lock = lock_of(task.message)
        if lock is not None and self.locks.holder(lock.name, now):
            return False
        return super().adopt(task, now)


@breaks("L7")
class AStartKeepsTheLock(Group):
    def begin(self, receipt: str, now: int) -> m.StartStatus:
        held = dict(self.locks.held)
        status = super().begin(receipt, now)
        self.locks.held.update(held)
        return status


@breaks("L7")
class AStartGivesEveryLockBack(Group):
    def begin(self, receipt: str, now: int) -> m.StartStatus:
        entry = self.holding(receipt)
        if entry is not None:
            self.let_go(entry)
        return super().begin(receipt, now)


@breaks("L7")
class AStartIsNotAskedAbout(Group):
    def lend(self, entry: Entry, consumer: str, now: int) -> m.Delivery:
        return m.evolve(super().lend(entry, consumer, now), must_begin=False)


@breaks("L7")
class AWindowEndsWithItsTask(Group):
    def let_go(self, entry: Entry) -> None:
        lock = lock_of(entry.message)
        self.locks.give_back(lock and Lock(LockKind.FINISHED, lock.name), entry.id)


@breaks("L7")
class AWindowLastsForEver(Group):
    def sweep(self, now: int) -> None:
        super().sweep(now)
        for name, held in self.locks.held.items():
            self.locks.held[name] = Held(held.id, held.until and held.until + 10**9)


class Locking(MemoryBackend):
    """A backend whose `enqueue_unique` is wrong."""

    def place(self, message: m.Message, terms: LockTerms) -> Placed:
        (placed,) = super().enqueue_unique([message], terms)
        return placed

    def enqueue_unique(self, messages: Sequence[m.Message], terms: LockTerms) -> Sequence[Placed]:
        return [self.place(message, terms) for message in messages]


@breaks("L7")
class ADelayedTaskDoesNotHold(Locking):
    def place(self, message: m.Message, terms: LockTerms) -> Placed:
        lock, placed = lock_of(message), super().place(message, terms)
        if lock is not None and lock.kind.lasts and message.delay_ms and placed.placement is Placement.NEW:
            for group in self._queue.groups().values():
                group.locks.give_back(lock, message.id)
        return placed


@breaks("L7")
class LooksForTheLockFirst(Locking):
    def place(self, message: m.Message, terms: LockTerms) -> Placed:
        lock = lock_of(message)
        holder = self.lock_holders([lock.name])[0] if lock else ""
        return Placed(Placement.HELD, holder) if holder else super().place(message, terms)


@breaks("L7")
class LooksThenEnqueues(MemoryBackend):
    def enqueue_unique(self, messages: Sequence[m.Message], terms: LockTerms) -> Sequence[Placed]:
        locks = [lock_of(message) for message in messages]
        seen = self.lock_holders([lock.name if lock else "" for lock in locks])
        moment()
        found: list[Placed] = []
        for message, holder, lock in zip(messages, seen, locks, strict=True):
            if not holder and lock is not None:
                for group in self._queue.groups().values():
                    group.locks.held.pop(lock.name, None)
            found += super().enqueue_unique([message], terms)
        return found


@breaks("L7")
class ReturnsTheIdThatWasGiven(Locking):
    def place(self, message: m.Message, terms: LockTerms) -> Placed:
        return Placed(super().place(message, terms).placement, message.id)


@breaks("L7")
class LooksIntoItsOwnGroup(Locking):
    def place(self, message: m.Message, terms: LockTerms) -> Placed:
        lock, now = lock_of(message), self._store.clock()
        group, _ = self._queue.look()
        if lock is not None and not group.locks.holder(lock.name, now):
            for other in self._queue.groups().values():
                other.locks.held.pop(lock.name, None)
        return super().place(message, terms)


@breaks("L7")
class KeepsTheLocksOfARemovedGroup(MemoryBackend):
    def remove_group(self, group: str) -> None:
        held = dict(self._store.group(self._options.stream_key, group).locks.held)
        super().remove_group(group)
        self._store.group(self._options.stream_key, group).locks.held.update(held)


@breaks("L7")
class EveryEnqueueTakesTheLock(MemoryBackend):
    def enqueue(self, messages: Sequence[m.Message]) -> Sequence[bool]:
        return [placed.placement is Placement.NEW for placed in self.enqueue_unique(messages, LockTerms())]


class Debouncing(Group):
    """A group whose `replace` is wrong."""

    def altered(self, message: m.Message, terms: LockTerms) -> tuple[m.Message, LockTerms]:
        return message, terms

    def replace(self, message: m.Message, lock: Lock | None, terms: LockTerms, now: int) -> bool:
        return super().replace(*self.altered(message, terms)[:1], lock, self.altered(message, terms)[1], now)


@breaks("L7")
class DebouncesForEver(Debouncing):
    def altered(self, message: m.Message, terms: LockTerms) -> tuple[m.Message, LockTerms]:
        return message, m.evolve(terms, max_wait_ms=0)


@breaks("L7")
class DebounceKeepsTheFirst(Debouncing):
    def altered(self, message: m.Message, terms: LockTerms) -> tuple[m.Message, LockTerms]:
        return message, m.evolve(terms, keep_first=True)


@breaks("L7")
class DebounceKeepsTheLast(Debouncing):
    def altered(self, message: m.Message, terms: LockTerms) -> tuple[m.Message, LockTerms]:
        return message, m.evolve(terms, keep_first=False)


@breaks("L7")
class DebounceForgetsTheHeaders(Debouncing):
    def altered(self, message: m.Message, terms: LockTerms) -> tuple[m.Message, LockTerms]:
        return m.evolve(message, headers=m.NO_HEADERS), terms


@breaks("L7")
class DebounceCountsFromTheLastCall(Debouncing):
    def replace(self, message: m.Message, lock: Lock | None, terms: LockTerms, now: int) -> bool:
        entry = self.find(message.id)
        if entry is not None:
            entry.alter(enqueued_ms=now)
        return super().replace(message, lock, terms, now)


@breaks("L7")
class ReplacesWhatIsDue(Group):
    def replace(self, message: m.Message, lock: Lock | None, terms: LockTerms, now: int) -> bool:
        entry = self.find(message.id)
        if lock is not None and entry is not None and entry.place is Place.DELAYED:
            self.locks.take(lock, message.id, now + 1)
        return super().replace(message, lock, terms, now)


@breaks("L7")
class LosesALaterCall(Group):
    """While the task runs, calls are still taken for calls before it."""

    def maintain(self, limit: int | None, now: int) -> int:
        for name, held in list(self.locks.held.items()):
            entry = self.find(held.id)
            if held.until and entry is not None and entry.place is Place.DELAYED:
                self.locks.held[name] = Held(held.id, 0)
        return super().maintain(limit, now)
