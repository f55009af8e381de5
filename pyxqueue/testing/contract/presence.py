"""Presence: P1 present while it says so, P2 orders arrive. A backend without `HasPresence` passes."""

from __future__ import annotations

from typing import Any, cast

from ...model.presence import MAX_SUPERVISORS, REMEMBERED_MS, Order, OrderKind
from ...protocols import HasPresence
from .base import needs
from .prelude import Contract, Harness, law, s

P1, P2 = law("P1"), law("P2")
KEEP = 60_000
RICH = '{"größe": "\\u0000 %25 \t\n \x00", "more": "' + "ü" * 9_999 + '"}'
DRAIN, STOP = OrderKind.DRAIN, OrderKind.STOP


def opened(harness: Harness) -> Any:
    """A backend whose group is registered."""
    backend = harness.open()
    s.take(backend)
    return backend


def said(backend: HasPresence) -> dict[str, str]:
    return {one.name: one.text for one in backend.present()}


def fresh(backend: HasPresence) -> list[str]:
    return [one.name for one in backend.present() if one.fresh]


class PresenceLaws(Contract):
    """P1 and P2."""

    @needs(HasPresence)
    def test_p1_what_was_announced_last(self, harness: Harness) -> None:
        """Each supervisor is there with its last text, whatever is in it, in the order of the names."""
        backend = opened(harness)
        P1.same(list(backend.present()), [], "before any announcement")
        backend.announce("two", KEEP, "first")
        backend.announce("one", KEEP, "")
        backend.announce("two", KEEP, RICH)
        P1.same(list(said(cast("Any", harness.open())).items()), [("one", ""), ("two", RICH)], "what was announced")

    @needs(HasPresence)
    def test_p1_fresh_for_as_long_as_it_says(self, harness: Harness) -> None:
        """The time begins again with each announcement; what is not fresh is still there, with its time."""
        backend = opened(harness)
        backend.announce("short", KEEP, "s")
        backend.announce("long", 5 * KEEP, "l")
        harness.advance(KEEP // 2)
        P1.same(fresh(backend), ["long", "short"], "after half of the time")
        backend.announce("short", KEEP, "s")
        harness.advance(3 * KEEP // 4)
        P1.same(fresh(backend), ["long", "short"], "half of the time after a second announcement")
        harness.advance(KEEP)
        P1.same(fresh(backend), ["long"], "after the time of one of them")
        P1.same(said(backend), {"long": "l", "short": "s"}, "what is known")
        long, short = backend.present()
        apart = short.seen_ms - long.seen_ms
        P1.holds(abs(apart - KEEP // 2) < s.MINUTE // 6, f"they were announced {apart} ms apart, not {KEEP // 2}")

    @needs(HasPresence)
    def test_p1_gone_after_a_day(self, harness: Harness) -> None:
        """Of a supervisor that was silent for a day, nothing is left after the next announcement of another one."""
        backend = opened(harness)
        backend.announce("other", KEEP, "o")
        before = harness.footprint()
        backend.announce("one", KEEP, "1")
        backend.give_order("one", DRAIN)
        P1.holds(harness.footprint() > before, "the harness does not count supervisors")
        harness.advance(REMEMBERED_MS - KEEP)
        P1.same(sorted(said(backend)), ["one", "other"], "within the day")
        harness.advance(2 * KEEP)
        P1.same(said(backend), {}, "after a day")
        backend.announce("other", KEEP, "o")
        P1.holds(harness.footprint() <= before + self.footprint_slack, "something is left of a supervisor after a day")

    @needs(HasPresence)
    def test_p1_leaving(self, harness: Harness) -> None:
        """Who leaves is gone, and nobody else; leaving twice changes nothing."""
        backend = opened(harness)
        backend.announce("one", KEEP, "1")
        backend.announce("two", KEEP, "2")
        for _ in range(2):
            backend.leave("one")
            P1.same(said(backend), {"two": "2"}, "who is there after one has left")

    @needs(HasPresence)
    def test_p1_groups(self, harness: Harness) -> None:
        """Each group has its own; what is removed is empty when it comes back, and a late announcement makes none."""
        one, two = opened(harness), cast("Any", harness.open("two"))
        s.take(two)
        one.announce("a", KEEP, "1")
        two.announce("b", KEEP, "2")
        P1.same((said(one), said(two)), ({"a": "1"}, {"b": "2"}), "the supervisors of the groups")
        one.remove_group("two")
        P1.same(two.announce("b", KEEP, "2"), None, "an announcement in a group that was removed")
        P1.same("two" in one.groups(), False, "an announcement for a group that was removed made it again")
        s.take(harness.open("two"))
        P1.same(said(cast("Any", harness.open("two"))), {}, "the supervisors of the group, registered again")

    @needs(HasPresence)
    def test_p1_bounded(self, harness: Harness) -> None:
        """Of too many supervisors, those are forgotten that were heard of first."""
        backend = opened(harness)
        backend.announce("first", KEEP, "1")
        backend.give_order("first", DRAIN)
        harness.advance(1_000)
        for number in range(MAX_SUPERVISORS):
            backend.announce(f"n{number:04}", KEEP, "")
        P1.same(len(backend.present()), MAX_SUPERVISORS, "how many are known")
        P1.same("first" in said(backend), False, "the first one is known")

    @needs(HasPresence)
    def test_p2_an_order_arrives(self, harness: Harness) -> None:
        """Each announcement returns the last order, and those of others do not."""
        backend, other = opened(harness), opened(harness)
        P2.same(backend.announce("one", KEEP, "1"), None, "the reply before any order")
        backend.announce("two", KEEP, "2")
        P2.same(other.give_order("one", DRAIN), True, "an order for a supervisor that is there")
        for _ in range(2):
            P2.same(backend.announce("one", KEEP, "1"), Order(DRAIN, 1), "the reply after the first order")
        P2.same(other.give_order("one", STOP), True, "a second order")
        P2.same(backend.announce("one", KEEP, "1"), Order(STOP, 2), "the reply after the second order")
        P2.same(backend.announce("two", KEEP, "2"), None, "the reply to another supervisor")

    @needs(HasPresence)
    def test_p2_orders_at_the_same_time(self, harness: Harness) -> None:
        """Each order has a number of its own."""
        backend = opened(harness)
        backend.announce("one", KEEP, "1")
        calls = [s.Call(self._order_ten(harness.open())) for _ in range(4)]
        for call in calls:
            call.result(self.patience, P2, "one of several orders at the same time waits")
        P2.same(backend.announce("one", KEEP, "1"), Order(DRAIN, 40), "the last of 40 orders")

    def _order_ten(self, backend: Any) -> Any:
        return lambda: [backend.give_order("one", DRAIN) for _ in range(10)]

    @needs(HasPresence)
    def test_p2_who_is_not_there_gets_no_order(self, harness: Harness) -> None:
        """An order for one that is unknown, has left or was silent for too long is refused, and is not kept."""
        backend = opened(harness)
        P2.same(backend.give_order("one", DRAIN), False, "an order for an unknown supervisor")
        P2.same(backend.announce("one", KEEP, "1"), None, "the first announcement")
        backend.give_order("one", DRAIN)
        backend.leave("one")
        P2.same(backend.give_order("one", DRAIN), False, "an order for one that has left")
        P2.same(backend.announce("one", KEEP, "1"), None, "an announcement of one that has left")
        harness.advance(2 * KEEP)
        P2.same(backend.give_order("one", DRAIN), False, "an order for one that is silent")
        P2.same(backend.announce("one", KEEP, "1"), None, "its next announcement")
