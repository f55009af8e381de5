"""Pauses of task names: the part of L9 that `begin` decides. A backend without `LimitPausing` passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...model.limits import task_gate
from ...model.locks import LockKind, LockTerms, lock_text
from ...model.rates import Pace
from ...protocols import (
    Beginning,
    HasLocks,
    LimitPausing,
    Pausing,
    RateStore,
    fair_lines_of,
    limit_pausing_of,
    limits_of,
)
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

L9 = law("L9")
ONE, OTHER = "shop.one", "shop.other"
GATE = task_gate(ONE)
RUN, LATER, LOST = m.StartStatus.RUN, m.StartStatus.LATER, m.StartStatus.LOST


def named(task_id: str, name: str = ONE, *gates: str, **header: object) -> m.Message:
    message = s.gated(task_id, *gates, **header) if gates else s.job(task_id, **header)
    return m.evolve(message, name=name)


def pausable(backend: Backend) -> LimitPausing | None:
    """What pauses a name; None if the backend cannot do that."""
    return limit_pausing_of(backend) if isinstance(backend, Beginning) else None


def begun(backend: Any, limit: int = 100, consumer: str = "one") -> list[m.Delivery]:
    """Claim, and begin what must begin. Returns what may start, in its order."""
    found = s.take(backend, limit, consumer)
    asked = [one.receipt for one in found if one.must_begin]
    statuses = dict(zip(asked, backend.begin(asked), strict=True))
    return [one for one in found if statuses.get(one.receipt, RUN) is RUN]


def starts(backend: Backend, wanted: Sequence[str], what: str, limit: int = 100) -> list[m.Delivery]:
    """What may start must be the tasks `wanted`, in this order."""
    __tracebackhide__ = True
    found = begun(backend, limit)
    L9.same(s.ids_of(found), list(wanted), what)
    return found


def held(backend: Backend, *ids: str) -> LimitPausing | None:
    """Pause the name, enqueue tasks of it and have them wait; None if the backend cannot pause a name."""
    __tracebackhide__ = True
    if (pauses := pausable(backend)) is not None:
        L9.same(pauses.pause(GATE), True, "what pause returned")
        backend.enqueue([named(task_id) for task_id in ids])
        starts(backend, [], "what may start while its name is paused")
    return pauses


class NamedPauseLaws(Contract):
    """L9, for the name of a task."""

    def test_l9_a_name_can_be_paused(self, harness: Harness) -> None:
        """Its tasks wait in its line, without a charge, and tasks of other names start."""
        backend: Any = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        backend.enqueue([named("a"), named("b", OTHER), named("c", ONE + "s"), named("d", "shop")])
        pauses.pause(GATE)
        found = s.take(backend)
        L9.same(s.ids_of(found), ["a", "b", "c", "d"], "what could be claimed")
        statuses = list(backend.begin([one.receipt for one in found]))
        L9.same(statuses, [LATER, RUN, RUN, RUN], "which may begin")
        L9.same(list(backend.begin([found[0].receipt])), [LOST], "whether the first may begin again")
        info, depth = s.info(backend, "a", L9), backend.depth()
        L9.same((info.gate, info.status), (GATE, m.TaskStatus.PENDING), "where it waits")
        L9.same((depth.ready, depth.in_flight, depth.blocked), (0, 3, 1), "how many are ready, in flight and blocked")
        s.claims(backend, L9, [], "what could be claimed in the pause")
        L9.same(pauses.resume(GATE), True, "what resume returned")
        (again,) = starts(backend, ["a"], "what may start after the pause")
        message: Any = again.message
        L9.same((message.attempt, message.crashes, message.redelivered), (1, 0, False), "what it was charged")
        s.settled(backend, L9, s.done(again))

    def test_l9_only_deliveries_in_a_pause_of_a_name_must_begin(self, harness: Harness) -> None:
        """Where no name is paused, nothing is asked."""
        backend = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        seen = list[bool]()
        for number, change in enumerate((None, pauses.pause, pauses.resume)):
            if change is not None:
                change(GATE)
            backend.enqueue([named(f"t{number}")])
            seen += [one.must_begin for one in s.take(backend)]
        L9.same(seen, [False, True, False], "what must begin before, in and after a pause")

    def test_l9_a_pause_of_a_name_is_said_once_and_stored(self, harness: Harness) -> None:
        """Every handle sees it, also after all were closed; a second pause or resume changes nothing."""
        backend = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        other = task_gate(OTHER)
        L9.same(
            [pauses.pause(GATE), pauses.pause(GATE), pauses.pause(other)], [True, False, True], "what pauses returned"
        )
        backend.close()
        again = harness.open()
        there = L9.there(pausable(again), "another handle cannot pause a name")
        L9.same(list(there.paused()), [GATE, other], "what is paused on another handle")
        again.enqueue([named("a"), named("b", OTHER)])
        starts(again, [], "what may start while both names are paused")
        L9.same([there.resume(GATE), there.resume(GATE)], [True, False], "what resumes returned")
        starts(again, ["a"], "what may start after one of two pauses")
        L9.same((list(there.paused()), there.resume(other)), ([other], True), "what is paused then, and its resume")
        starts(again, ["b"], "what may start after both")

    def test_l9_a_paused_name_keeps_the_order(self, harness: Harness) -> None:
        """Those that wait become ready in the order in which they could not start, also after another pause."""
        backend = harness.open()
        ids = list("abcdef")
        if (pauses := held(backend, *ids)) is None:
            return
        pauses.resume(GATE)
        first = starts(backend, ids[:2], "what may start after the pause", limit=2)
        pauses.pause(GATE)
        starts(backend, [], "what may start in a second pause", limit=2)
        starts(backend, [], "what may start in a second pause")
        pauses.resume(GATE)
        starts(backend, ids[2:], "what may start after the second pause")
        s.settled(backend, L9, *map(s.done, first))

    def test_l9_a_retry_comes_after_those_that_waited(self, harness: Harness) -> None:
        """It has started since, so it has no place in the line any more."""
        backend = harness.open()
        if (pauses := held(backend, "a", "b")) is None:
            return
        pauses.resume(GATE)
        (first,) = starts(backend, ["a"], "what may start after the pause", limit=1)
        s.settled(backend, L9, s.retry(first))
        pauses.pause(GATE)
        starts(backend, [], "what may start in a second pause")
        pauses.resume(GATE)
        starts(backend, ["b", "a"], "what may start after the second pause")

    def test_l9_a_paused_name_keeps_the_classes(self, harness: Harness) -> None:
        """After the pause, what waited comes back in its priority class."""
        backend = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        pauses.pause(GATE)
        numbers = {"low": -60, "plain": 0, "high": 60}
        backend.enqueue([named(task_id, priority=number) for task_id, number in numbers.items()])
        starts(backend, [], "what may start while its name is paused")
        pauses.resume(GATE)
        starts(backend, ["high", "plain", "low"], "what may start after the pause")

    def test_l9_what_runs_of_a_paused_name_goes_on(self, harness: Harness) -> None:
        """It is extended and settled; its retry, and what is released, wait."""
        backend = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        backend.enqueue([named(task_id) for task_id in "abc"])
        first, second, third = begun(backend)
        pauses.pause(GATE)
        L9.same(s.extended(backend, first), m.LeaseStatus.HELD, "what extend returned")
        s.settled(backend, L9, s.done(first), s.retry(second))
        backend.release("one", [third.receipt])
        starts(backend, [], "what may start of a retry and a release")
        waits = [s.info(backend, task_id, L9).gate for task_id in "bc"]
        L9.same(waits, [GATE, GATE], "where they wait")
        pauses.resume(GATE)
        L9.same(sorted(s.ids_of(begun(backend))), ["b", "c"], "what may start after the pause")

    def test_l9_what_waits_for_its_name_can_end(self, harness: Harness) -> None:
        """It is cancelled, deleted, or expires; nothing of it is left in the line."""
        backend = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        pauses.pause(GATE)
        backend.enqueue([*map(named, "abc"), named("d", lifetime_ms=1_000)])
        starts(backend, [], "what may start while its name is paused")
        L9.same(list(backend.cancel(["a"])), [True], "what cancel returned")
        L9.same(list(backend.delete(["b"])), [True], "what delete returned")
        harness.advance(1_001)
        backend.maintain(256)
        states = [info and info.status for info in backend.show(list("abcd"))]
        ended = m.TaskStatus.CANCELLED
        L9.same(states, [ended, None, m.TaskStatus.PENDING, ended], "what has become of them")
        L9.same(list(backend.requeue(["a"])), [True], "what requeue returned")
        starts(backend, [], "what may start after a requeue in the pause")
        L9.same(backend.depth().blocked, 2, "how many wait")
        pauses.resume(GATE)
        starts(backend, ["c", "a"], "what may start after the pause")
        L9.same(backend.depth().blocked, 0, "how many wait after the pause")

    def test_l9_a_cancelled_task_of_a_paused_name_ends(self, harness: Harness) -> None:
        """If it was claimed when the request came, it ends instead of waiting."""
        backend: Any = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        pauses.pause(GATE)
        backend.enqueue([named("a")])
        (one,) = s.take(backend)
        backend.cancel(["a"])
        L9.same(list(backend.begin([one.receipt])), [LATER], "whether it may begin")
        L9.same(s.info(backend, "a", L9).status, m.TaskStatus.CANCELLED, "what has become of it")

    def test_l9_a_paused_name_holds_no_token(self, harness: Harness) -> None:
        """What waits for its name gives back its tokens, and asks for them after the pause."""
        backend = harness.open()
        if (pauses := pausable(backend)) is None or (limits := limits_of(backend)) is None:
            return
        s.limited(backend, api=1)
        pauses.pause(GATE)
        backend.enqueue([named("a", ONE, "api/k"), named("b", OTHER, "api/k")])
        starts(backend, [], "what may start first")
        (other,) = starts(backend, ["b"], "what may start with the token that was given back")
        L9.same(s.tokens(limits).get("api/k"), (1, 0), "tokens and line of the limit")
        pauses.resume(GATE)
        starts(backend, [], "what may start after the pause, without a token")
        L9.same(s.tokens(limits).get("api/k"), (1, 1), "tokens and line of the limit after the pause")
        s.settled(backend, L9, s.done(other))
        (last,) = starts(backend, ["a"], "what may start after the token was given back")
        s.settled(backend, L9, s.done(last))
        L9.same(s.tokens(limits), {}, "tokens and lines at the end")

    def test_l9_a_paused_name_spends_no_rate(self, harness: Harness) -> None:
        """A start that is refused is not counted."""
        backend = harness.open()
        pauses = pausable(backend)
        if pauses is None or not isinstance(pauses, RateStore):
            return
        pauses.set_rate("api", Pace(1, 600_000_000, 1))
        pauses.pause(GATE)
        backend.enqueue([named("a", ONE, "rate:api/k")])
        starts(backend, [], "what may start while its name is paused")
        backend.enqueue([named("b", OTHER, "rate:api/k")])
        starts(backend, ["b"], "what may start at the pace of the rate")
        pauses.resume(GATE)
        starts(backend, [], "what may start after the pause, at the pace of the rate")

    @needs(HasLocks)
    def test_l9_what_waits_for_its_name_has_not_started(self, harness: Harness) -> None:
        """It keeps a lock that it holds until it starts, and gives it back when it begins after the pause."""
        backend: Any = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        lock = lock_text(LockKind.STARTED, b"one")
        pauses.pause(GATE)
        backend.enqueue_unique([named("a", lock=lock)], LockTerms())
        starts(backend, [], "what may start while its name is paused")
        L9.same(list(backend.lock_holders([lock[1:]])), ["a"], "the holder of the lock in the pause")
        pauses.resume(GATE)
        starts(backend, ["a"], "what may start after the pause")
        L9.same(list(backend.lock_holders([lock[1:]])), [""], "the holder of the lock after its start")

    def test_l9_what_has_a_share_waits_for_its_name(self, harness: Harness) -> None:
        """It leaves its fair line, and joins it again after the pause; nothing of it is left when it has ended."""
        backend = harness.open()
        pauses, lines = pausable(backend), fair_lines_of(backend)
        if pauses is None or lines is None:
            return
        pauses.pause(GATE)
        fair = {"share": 1_000, "tenant": "t", "v": m.FLOW_VERSION}
        backend.enqueue([m.evolve(named(task_id), **fair) for task_id in "abc"])
        for _ in range(3):  # a claim may find only the first of a fair line
            starts(backend, [], "what may start while its name is paused")
        L9.same([one.waiting for one in lines.tenants(9)], [], "how many wait in fair lines in the pause")
        L9.same(backend.depth().blocked, 3, "how many wait for the name")
        pauses.resume(GATE)
        found = [one for _ in range(3) for one in begun(backend)]
        L9.same(sorted(s.ids_of(found)), ["a", "b", "c"], "what may start after the pause")
        s.settled(backend, L9, *map(s.done, found))
        L9.same([one.waiting for one in lines.tenants(9)], [], "how many wait in fair lines at the end")

    def test_l9_a_delayed_task_waits_for_its_name_when_it_is_due(self, harness: Harness) -> None:
        """A pause ends no delay."""
        backend = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        backend.enqueue([named("a", delay_ms=s.MINUTE)])
        pauses.pause(GATE)
        pauses.resume(GATE)
        starts(backend, [], "what may start before it is due")
        pauses.pause(GATE)
        harness.advance(s.MINUTE + 1)
        starts(backend, [], "what may start when it is due, in a pause")
        L9.same(s.info(backend, "a", L9).gate, GATE, "where it waits")
        pauses.resume(GATE)
        starts(backend, ["a"], "what may start after the pause")

    @needs(Pausing)
    def test_l9_a_name_and_its_group_are_paused_apart(self, harness: Harness) -> None:
        """The end of one pause leaves the other as it is."""
        backend: Any = harness.open()
        if (pauses := pausable(backend)) is None:
            return
        pauses.pause(GATE)
        backend.pause()
        backend.enqueue([named("a"), named("b", OTHER)])
        s.claims(backend, L9, [], "what could be claimed while the group was paused")
        backend.resume()
        L9.same(list(pauses.paused()), [GATE], "what is paused after the pause of the group")
        starts(backend, ["b"], "what may start after the pause of the group")
        backend.pause()
        pauses.resume(GATE)
        L9.same(backend.is_paused(), True, "whether the group is paused after the pause of the name")
        s.claims(backend, L9, [], "what could be claimed after the pause of the name")
        backend.resume()
        starts(backend, ["a"], "what may start after both")

    def test_l9_a_name_is_paused_in_one_group(self, harness: Harness) -> None:
        """Other groups go on; the pause goes with the group."""
        one, other = s.groups(harness, "one", "other")
        if (pauses := pausable(one)) is None:
            return
        pauses.pause(GATE)
        one.enqueue([named("a")])
        starts(one, [], "what may start in the group of the pause")
        starts(other, ["a"], "what may start in another group")
        one.remove_group("one")
        (again,) = s.groups(harness, "one")
        there = L9.there(pausable(again), "a group of the same name cannot pause a name")
        L9.same(list(there.paused()), [], "what is paused in a new group of that name")
        again.enqueue([named("b")])
        found = s.take(again)
        L9.same([(one.message.id, one.must_begin) for one in found], [("b", False)], "what could be claimed there")
