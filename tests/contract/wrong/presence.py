"""Backends that break P1 or P2, each in one small way."""

from __future__ import annotations

from collections.abc import Callable

from pyxqueue.backends.memory.supervisors import GroupPresence
from pyxqueue.model.message import evolve
from pyxqueue.model.presence import MAX_SUPERVISORS, Order, OrderKind, Present

from .prelude import Group, MemoryBackend, breaks, moment


def presence_break(law: str) -> Callable[[type[GroupPresence]], type[GroupPresence]]:
    """Declare a group whose supervisors are wrong."""

    def add(presence: type[GroupPresence]) -> type[GroupPresence]:
        breaks(law)(type(presence.__name__, (Group,), {"new_presence": presence}))
        return presence

    return add


@presence_break("P1")
class FirstWordCounts(GroupPresence):
    def announce(self, supervisor: str, keep_ms: int, text: str, now: int) -> Order | None:
        _, keep, first = self.known.get(supervisor, (now, keep_ms, text))
        return super().announce(supervisor, keep, first, now)


@presence_break("P1")
class FreshForEver(GroupPresence):
    def is_fresh(self, supervisor: str, now: int) -> bool:
        return supervisor in self.known


@presence_break("P1")
class TimeDoesNotBeginAgain(GroupPresence):
    def announce(self, supervisor: str, keep_ms: int, text: str, now: int) -> Order | None:
        return super().announce(supervisor, keep_ms, text, self.known.get(supervisor, (now,))[0])


@presence_break("P1")
class ForgetsTheSilent(GroupPresence):
    def show(self, now: int) -> list[Present]:
        return [one for one in super().show(now) if one.fresh]


@presence_break("P1")
class ForgetsNobody(GroupPresence):
    def _sweep(self, now: int) -> None:
        pass


@presence_break("P1")
class ForgetsTheLatest(GroupPresence):
    def _sweep(self, now: int) -> None:
        self.known = dict(list(self.known.items())[:MAX_SUPERVISORS])


@presence_break("P1")
class ShowsTheLookAsTheTime(GroupPresence):
    def show(self, now: int) -> list[Present]:
        return [evolve(one, seen_ms=now) for one in super().show(now)]


@presence_break("P1")
class NobodyLeaves(GroupPresence):
    def leave(self, supervisor: str) -> None:
        self.orders.pop(supervisor, None)


@breaks("P1")
class AnnouncementsRegister(MemoryBackend):
    def announce(self, supervisor: str, keep_ms: int, text: str) -> Order | None:
        with self._store.changed:
            group, now = self._queue.join()
            return group.presence.announce(supervisor, keep_ms, text, now)


@presence_break("P2")
class OrdersArriveOnce(GroupPresence):
    def announce(self, supervisor: str, keep_ms: int, text: str, now: int) -> Order | None:
        super().announce(supervisor, keep_ms, text, now)
        return self.orders.pop(supervisor, None)


@presence_break("P2")
class OneOrderForAll(GroupPresence):
    def announce(self, supervisor: str, keep_ms: int, text: str, now: int) -> Order | None:
        super().announce(supervisor, keep_ms, text, now)
        return next(iter(self.orders.values()), None)


@presence_break("P2")
class FirstOrderCounts(GroupPresence):
    def give_order(self, supervisor: str, kind: OrderKind, now: int) -> bool:
        return supervisor in self.orders or super().give_order(supervisor, kind, now)


@presence_break("P2")
class OrdersWait(GroupPresence):
    def give_order(self, supervisor: str, kind: OrderKind, now: int) -> bool:
        self.orders[supervisor] = Order(kind, getattr(self.orders.get(supervisor), "number", 0) + 1)
        return self.is_fresh(supervisor, now)


@presence_break("P2")
class OrdersSurvive(GroupPresence):
    def leave(self, supervisor: str) -> None:
        self.known.pop(supervisor, None)


@breaks("P2")
class OrdersInTwoSteps(MemoryBackend):
    def give_order(self, supervisor: str, kind: OrderKind) -> bool:
        group, now = self._queue.look()
        last = group.presence.orders.get(supervisor)
        moment()
        fresh = group.presence.is_fresh(supervisor, now)
        if fresh:
            group.presence.orders[supervisor] = Order(kind, 1 if last is None else last.number + 1)
        return fresh
