"""Claims from several queues that break Q1 to Q4, each in one small way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyxqueue.model.message import evolve
from pyxqueue.model.turns import Turn

from .prelude import MemoryClaims, Place, breaks, m


def settle(broker: Any, deliveries: Sequence[m.Delivery], verdict: m.Verdict) -> None:
    broker.settle([m.Settlement(one.receipt, verdict) for one in deliveries])


@breaks("Q1")
class InTheOrderOfTheBrokers(MemoryClaims):
    """The deliveries of a queue are said to be another's."""

    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[m.Delivery]]:
        found = super().claim(consumer, limit, wait_ms, order)
        return [found[list(order).index(number)] for number in sorted(order)]


@breaks("Q1")
class BeginsEachTimeWithWhatCameBack(MemoryClaims):
    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        broker._broker._turn = Turn()
        return super().take(broker, consumer, limit)


@breaks("Q1")
class IsNotPaused(MemoryClaims):
    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        group, _ = broker._queue.join()
        paused, group.paused = group.paused, False
        found = super().take(broker, consumer, limit)
        group.paused = paused
        return found


@breaks("Q1")
class HandsOutWhatIsDelayed(MemoryClaims):
    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        group, now = broker._queue.join()
        for entry in list(group.line(Place.DELAYED)):
            group.move(entry, Place.CAME_BACK, now)
        return super().take(broker, consumer, limit)


@breaks("Q1")
class MayAlwaysBegin(MemoryClaims):
    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        return [evolve(one, must_begin=False) for one in super().take(broker, consumer, limit)]


@breaks("Q1")
class ClaimedAtNoTimeOfTheStore(MemoryClaims):
    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        return [evolve(one, claimed_ms=1) for one in super().take(broker, consumer, limit)]


@breaks("Q1")
class ShowsItselfWhereItFinds(MemoryClaims):
    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        group, _ = broker._queue.join()
        before = dict(group.consumers)
        found = super().take(broker, consumer, limit)
        if not found:
            group.consumers = before
        return found


@breaks("Q1")
class DropsWhatItCannotRead(MemoryClaims):
    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        return [one for one in super().take(broker, consumer, limit) if isinstance(one.message, m.Message)]


@breaks("Q2")
class UpToTheLimitFromEach(MemoryClaims):
    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[m.Delivery]]:
        if wait_ms > 0:
            return super().claim(consumer, limit, wait_ms, order)
        return [self.take(self.brokers[number], consumer, limit) for number in order]


@breaks("Q2")
class InEqualParts(MemoryClaims):
    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[m.Delivery]]:
        parts = [super(InEqualParts, self).claim(consumer, max(1, limit // len(order)), 0, [one])[0] for one in order]
        return parts if any(parts) else super().claim(consumer, limit, wait_ms, order)


class ReadsTooMuch(MemoryClaims):
    """Takes twice as many, and gives back what is beyond the limit."""

    def take(self, broker: Any, consumer: str, limit: int) -> Sequence[m.Delivery]:
        found = super().take(broker, consumer, 2 * limit + 2)
        self.give_back(broker, found[limit:])
        return found[:limit]

    def give_back(self, broker: Any, beyond: Sequence[m.Delivery]) -> None:
        raise NotImplementedError


@breaks("Q2")
class GivesBackWithACharge(ReadsTooMuch):
    def give_back(self, broker: Any, beyond: Sequence[m.Delivery]) -> None:
        settle(broker, beyond, m.Retry())


@breaks("Q2")
class GivesBackToTheEndOfTheLine(ReadsTooMuch):
    def give_back(self, broker: Any, beyond: Sequence[m.Delivery]) -> None:
        group, now = broker._queue.join()
        for one in reversed(beyond):
            group.move(group.tasks[one.message.id], Place.NEW, now)


@breaks("Q2")
class KeepsWhatIsBeyond(ReadsTooMuch):
    def give_back(self, broker: Any, beyond: Sequence[m.Delivery]) -> None:
        pass


@breaks("Q3")
class WaitsForTheFirstQueue(MemoryClaims):
    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[m.Delivery]]:
        found = super().claim(consumer, limit, 0, order)
        if any(found):
            return found
        return [self.brokers[order[0]].claim(consumer, limit, wait_ms), *([()] * (len(order) - 1))]


@breaks("Q3")
class WaitsToTheEnd(MemoryClaims):
    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[m.Delivery]]:
        super().claim(consumer, 0, wait_ms, order)
        return super().claim(consumer, limit, 0, order)


@breaks("Q3")
class WaitsForWhatIsNew(MemoryClaims):
    """What is ready before the wait begins does not count."""

    def claim(self, consumer: str, limit: int, wait_ms: int, order: Sequence[int]) -> Sequence[Sequence[m.Delivery]]:
        if wait_ms > 0:
            with self.store.changed:
                self.store.changed.wait(wait_ms / 1000)
        return super().claim(consumer, limit, wait_ms, order)


@breaks("Q4")
class LooksAtDelaysOnly(MemoryClaims):
    def due(self, broker: Any) -> list[int]:
        group, now = broker._queue.look()
        left = group.maintain(0, now)
        return [left] if left >= 0 else []


@breaks("Q4")
class SeesNoExpiry(MemoryClaims):
    def due(self, broker: Any) -> list[int]:
        group, _ = broker._queue.look()
        expiries, group._expiries = group._expiries, []
        found = super().due(broker)
        group._expiries = expiries
        return found


@breaks("Q4")
class SeesNoSchedule(MemoryClaims):
    def due(self, broker: Any) -> list[int]:
        kept, self.store.schedules = self.store.schedules, {}
        found = super().due(broker)
        self.store.schedules = kept
        return found


@breaks("Q4")
class APausedQueueIsQuiet(MemoryClaims):
    def due(self, broker: Any) -> list[int]:
        return [] if broker.is_paused() else super().due(broker)


@breaks("Q4")
class SaysTheLatest(MemoryClaims):
    """Of what is delayed, it looks at the one that is due last."""

    def due(self, broker: Any) -> list[int]:
        group, now = broker._queue.look()
        delays = [entry.due - now for entry in group.line(Place.DELAYED)]
        return [max(0, *delays)] if len(delays) > 1 else super().due(broker)
