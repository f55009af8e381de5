"""Pause and resume: L9 nothing is handed out while a group is paused. A backend without `Pausing` passes."""

from __future__ import annotations

from typing import Any

from ...model.rates import Pace
from ...protocols import LimitPausing, Pausing, RateStore, limit_pausing_of, limits_of
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

L9 = law("L9")


def paused(backend: Any, *ids: str) -> None:
    """Pause the group, and enqueue tasks."""
    __tracebackhide__ = True
    L9.same(backend.pause(), True, "what pause returned the first time")
    backend.enqueue([s.job(task_id) for task_id in ids])


def nothing(backend: Backend, when: str) -> None:
    """Nothing may be claimed, by anybody."""
    __tracebackhide__ = True
    for consumer in ("one", "two"):
        for limit in (1, 100):
            L9.same(s.ids_of(s.take(backend, limit, consumer)), [], f"what could be claimed {when}")


def resumed(backend: Any, wanted: list[str], what: str) -> None:
    __tracebackhide__ = True
    L9.same(backend.resume(), True, "what resume returned")
    s.claims(backend, L9, wanted, what)


def pausable(backend: Backend, **numbers: int) -> LimitPausing | None:
    """The limits of a backend, in which these numbers are set; None if they cannot be paused."""
    s.limited(backend, **numbers)
    return limit_pausing_of(backend)


class PauseLaws(Contract):
    """L9."""

    @needs(Pausing)
    def test_l9_nothing_is_handed_out(self, harness: Harness) -> None:
        """Neither what was ready before nor what comes later is claimed, on any handle; after that all of it."""
        backend: Any = harness.open()
        backend.enqueue([s.job("a"), s.job("b")])
        paused(backend, "c")
        other: Any = harness.open()
        nothing(backend, "after a pause")
        nothing(other, "on another handle")
        L9.same((backend.is_paused(), other.is_paused()), (True, True), "whether the group is paused")
        s.places(backend, L9, "while it is paused", ready=3)
        resumed(other, ["a", "b", "c"], "what could be claimed after the pause")
        L9.same((backend.is_paused(), other.is_paused()), (False, False), "whether the group is paused after that")

    @needs(Pausing)
    def test_l9_it_is_said_once(self, harness: Harness) -> None:
        """A second pause, and a resume of what is not paused, change nothing; one resume ends any number of pauses."""
        backend: Any = harness.open()
        backend.enqueue([s.job("a")])
        L9.same(backend.is_paused(), False, "whether a new group is paused")
        L9.same(backend.resume(), False, "what resume returned without a pause")
        paused(backend, "b")
        L9.same([backend.pause(), harness.open().pause()], [False, False], "what further pauses returned")  # type: ignore[attr-defined] # it can be paused
        resumed(backend, ["a", "b"], "what could be claimed after three pauses and one resume")
        L9.same(backend.resume(), False, "what a second resume returned")
        backend.enqueue([s.job("c")])
        s.claims(backend, L9, ["c"], "what could be claimed after a second resume")

    @needs(Pausing)
    def test_l9_an_empty_group_can_be_paused(self, harness: Harness) -> None:
        """A group that has no task yet, and whose first operation is the pause, keeps what comes."""
        backend: Any = harness.open()
        L9.same(backend.pause(), True, "what pause returned for a new group")
        backend.enqueue([s.job("a")])
        nothing(backend, "in a new group that is paused")
        resumed(backend, ["a"], "what could be claimed after that")

    @needs(Pausing)
    def test_l9_every_class_of_priority_is_paused(self, harness: Harness) -> None:
        """Those that were in use before the pause, and one that comes into use while the group is paused; what comes
        back in its class waits too."""
        backend, other = harness.open(), harness.open()
        backend.enqueue([s.job("high", priority=9), s.job("back", priority=60), s.job("plain")])
        held = s.take(backend, 1)[0]
        paused(backend)
        other.enqueue([s.job("low", priority=-9), s.job("lowest", priority=-99), s.job("higher", priority=9)])
        s.settled(backend, L9, s.retry(held))
        for handle in (backend, other):
            nothing(handle, "from a paused group with all priority classes")
        s.places(backend, L9, "in a paused group with all classes", ready=6)
        resumed(backend, ["back", "high", "higher", "plain", "low", "lowest"], "the order of all classes")

    @needs(Pausing)
    def test_l9_what_runs_goes_on(self, harness: Harness) -> None:
        """A task in flight is extended, reports progress, and is settled with its follow-ups."""
        backend: Any = harness.open()
        first, second = (s.claimed(backend, L9, task_id) for task_id in ("a", "b"))
        paused(backend)
        L9.same(s.extended(backend, first, m.Progress(3)), m.LeaseStatus.HELD, "what extend returned")
        L9.same(s.info(backend, "a", L9).progress, m.Progress(3), "the progress that was reported in a pause")
        s.settled(backend, L9, s.done(first, then=[s.job("next")]), s.fail(second))
        s.places(backend, L9, "after the settlements", ready=1, failed=1, history=1)
        nothing(backend, "after a follow-up")
        resumed(backend, ["next"], "what could be claimed after that")

    @needs(Pausing)
    def test_l9_what_comes_back_waits(self, harness: Harness) -> None:
        """Retries, deferrals, releases, ended leases, requeues and adopted tasks become ready, and wait."""
        backend: Any = harness.open()
        backend.enqueue(s.jobs(5))
        held = s.take(backend, 4)
        lost = s.take(backend, 1, "two")
        paused(backend, "moved")
        s.settled(backend, L9, s.retry(held[0]), s.defer(held[1]), s.fail(held[2]))
        backend.requeue([held[2].message.id])
        backend.release("one", [held[3].receipt])
        shown = s.info(backend, "moved", L9)
        backend.delete(["moved"])
        backend.adopt([shown])
        harness.advance(harness.lease + 1)
        nothing(backend, "after tasks have come back")
        s.places(backend, L9, "after tasks have come back", ready=6)
        L9.same(list(backend.settle([s.done(lost[0])])), [False], "a settlement after the lease")
        L9.same(backend.resume(), True, "what resume returned")
        found = sorted(s.ids_of(s.take(backend)))
        L9.same(found, ["moved", "t000", "t001", "t002", "t003", "t004"], "what could be claimed after the pause")

    @needs(Pausing)
    def test_l9_delays_end(self, harness: Harness) -> None:
        """Delayed tasks become ready when they are due, and do not run."""
        backend: Any = harness.open()
        retried = s.claimed(backend, L9, "r")
        paused(backend)
        backend.enqueue([s.job("late", delay_ms=5_000), s.job("later", delay_ms=60_000)])
        s.settled(backend, L9, s.retry(retried, 6_000))
        harness.advance(7_000)
        nothing(backend, "after delays have ended")
        s.places(backend, L9, "after delays have ended", ready=2, delayed=1)
        resumed(backend, ["late", "r"], "what could be claimed after the pause")

    @needs(Pausing)
    def test_l9_the_order_is_that_without_a_pause(self, harness: Harness) -> None:
        """Two groups live through the same; one is paused meanwhile. Then both hand out the same, one by one."""
        one, other = s.groups(harness, "one", "other")
        one.enqueue(s.jobs(9))
        held = {backend: s.take(backend, 4) for backend in (one, other)}
        paused(other)
        for backend in (one, other):
            self._live(backend, held[backend])
        one.enqueue([s.job("last"), s.job("late", delay_ms=1_000)])
        harness.advance(3_000)
        nothing(other, "in the paused group")
        one.maintain(256)
        assert isinstance(other, Pausing)
        other.resume()
        seen = [[s.ids_of(s.take(backend, limit)) for limit in (1, 3, 1, 2, 100)] for backend in (one, other)]
        L9.same(seen[1], seen[0], "what was claimed after a pause, and what without one")

    def _live(self, backend: Backend, held: Any) -> None:
        s.settled(backend, L9, s.retry(held[0]), s.defer(held[1]), s.retry(held[2], 2_000), s.done(held[3]))
        backend.cancel(["t005"])
        backend.delete(["t007"])
        backend.requeue(["t003"])
        s.places(backend, L9, "after that", ready=6, delayed=1, history=1)

    @needs(Pausing)
    def test_l9_a_surplus_keeps_its_place(self, harness: Harness) -> None:
        """What a claim read beyond its limit, before the pause, comes after it in its order."""
        backend: Any = harness.open()
        backend.enqueue(s.jobs(8))
        s.settled(backend, L9, *map(s.retry, s.take(backend, 4)))
        L9.same(s.ids_of(s.take(backend, 1)), ["t000"], "what could be claimed first")
        paused(backend)
        nothing(backend, "after a pause")
        wanted = ["t004", "t001", "t005", "t002", "t006", "t003", "t007"]
        resumed(backend, wanted, "what could be claimed after one that came back, and a pause")

    @needs(Pausing)
    def test_l9_people_go_on(self, harness: Harness) -> None:
        """Waiting tasks are shown, listed, cancelled and deleted as ever, and `maintain` works."""
        backend: Any = harness.open()
        paused(backend, "a", "b", "c")
        L9.same(s.info(backend, "a", L9).status, m.TaskStatus.PENDING, "the status of a task in a paused group")
        L9.same([list(backend.cancel(["a"])), list(backend.delete(["b"]))], [[True], [True]], "cancel and delete")
        L9.same(sorted(task.id for task in s.all_tasks(backend)), ["a", "c"], "the tasks")
        L9.holds(backend.maintain(256) < 0, "maintain returned a time although nothing is delayed")
        harness.advance(5_000)
        L9.holds(backend.depth().oldest_ms >= 5_000, "the oldest ready task has no age")
        resumed(backend, ["c"], "what could be claimed after that")

    @needs(Pausing)
    def test_l9_a_claim_waits_and_is_woken(self, harness: Harness) -> None:
        """A claim that waits is not woken by what may not be handed out, and is woken by the end of the pause."""
        backend: Any = harness.open()
        worker: Any = harness.open()
        paused(backend)
        call = s.waiting(L9, lambda: worker.claim("one", 1, 60 * s.MINUTE))
        backend.enqueue([s.job("t0")])
        L9.holds(call.waits(), "a claim returned in a pause because a message came")
        backend.resume()
        first = call.result(self.patience, L9, "a claim that waited is not woken by the end of the pause")
        s.settled(worker, L9, *map(s.done, first or s.patiently(worker)))
        backend.pause()
        backend.enqueue([s.job("t1")])

        def work(turn: int) -> None:
            s.settled(worker, L9, *map(s.done, s.patiently(worker)))
            backend.pause()
            backend.enqueue([s.job(f"t{turn + 2}")])

        complaint = "a claim that waits is not woken by the end of the pause"
        s.relay(L9, self.patience, complaint, work, lambda _: backend.resume())

    @needs(Pausing)
    def test_l9_a_pause_reaches_a_claim_that_waits(self, harness: Harness) -> None:
        """A claim that has begun to wait before the pause does not get what comes after it."""
        backend: Any = harness.open()
        worker = harness.open()
        call = s.waiting(L9, lambda: worker.claim("one", 1, 60 * s.MINUTE))
        paused(backend, "a")
        L9.holds(call.waits(), "a claim that waited before the pause returned in it")
        backend.resume()
        found = call.result(self.patience, L9, "the claim does not return after the pause")
        L9.same(s.ids_of(found or s.patiently(worker)), ["a"], "what the claim returned")

    @needs(Pausing)
    def test_l9_the_pause_is_stored(self, harness: Harness) -> None:
        """Handles that are opened after all others were closed find the group paused."""
        backend: Any = harness.open()
        paused(backend, "a")
        backend.close()
        again: Any = harness.open()
        nothing(again, "after all handles were closed")
        L9.same(again.is_paused(), True, "whether the group is paused after that")
        resumed(again, ["a"], "what could be claimed after that")

    @needs(Pausing)
    def test_l9_groups_are_paused_apart(self, harness: Harness) -> None:
        """A pause of one group leaves the others as they are; one that is registered later is not paused."""
        one, other = s.groups(harness, "one", "other")
        paused(one, "a")
        nothing(one, "in the paused group")
        L9.same(other.is_paused(), False, "whether the other group is paused")  # type: ignore[attr-defined] # it can be paused
        s.claims(other, L9, ["a"], "what could be claimed in the other group")
        late = s.groups(harness, "late")[0]
        one.enqueue([s.job("b")])
        s.claims(late, L9, ["b"], "what could be claimed in a later group")

    @needs(Pausing)
    def test_l9_the_pause_goes_with_the_group(self, harness: Harness) -> None:
        """A group that was removed in a pause and is registered again is not paused."""
        one, _ = s.groups(harness, "one", "other")
        paused(one, "a")
        one.remove_group("one")
        again: Any = s.groups(harness, "one")[0]
        L9.same(again.is_paused(), False, "whether a new group of that name is paused")
        again.enqueue([s.job("b")])
        s.claims(again, L9, ["b"], "what could be claimed in a new group of that name")
        L9.same(again.resume(), False, "what resume returned for it")

    def test_l9_a_limit_can_be_paused(self, harness: Harness) -> None:
        """What asks at any of its keys waits, in the order of arrival; other tasks go on, also those in flight."""
        backend = harness.open()
        if (limits := pausable(backend, api=2)) is None:
            return
        backend.enqueue([s.gated("a", "api/x")])
        held = s.take_one(backend, L9)
        L9.same(limits.pause("api"), True, "what pause returned")
        backend.enqueue([*(s.gated(task_id, "api/x") for task_id in "bc"), s.gated("d", "mail/x"), s.job("e")])
        other = limit_pausing_of(harness.open())
        L9.same(other and list(other.paused()), ["api"], "what is paused, on another handle")
        s.claims(backend, L9, ["d", "e"], "what could be claimed while a limit was paused")
        s.settled(backend, L9, s.done(held))
        s.claims(backend, L9, [], "what could be claimed after a token was given back")
        L9.same(limits.resume("api"), True, "what resume returned")
        s.claims(backend, L9, ["b", "c"], "what could be claimed after the pause")
        L9.same([limits.resume("api"), list(limits.paused())], [False, []], "a second resume, and what is paused then")

    def test_l9_a_key_can_be_paused(self, harness: Harness) -> None:
        """Other keys of the limit go on; it stays paused while the limit as a whole is paused and resumed."""
        backend = harness.open()
        if (limits := pausable(backend, api=2)) is None:
            return
        L9.same([limits.pause("api/x"), limits.pause("api/x")], [True, False], "what two pauses returned")
        backend.enqueue([s.gated("a", "api/x"), s.gated("b", "api/y")])
        s.claims(backend, L9, ["b"], "what could be claimed while one key was paused")
        limits.pause("api")
        limits.resume("api")
        s.claims(backend, L9, [], "what could be claimed after the limit was paused and resumed")
        limits.resume("api/x")
        s.claims(backend, L9, ["a"], "what could be claimed after the pause of the key")

    def test_l9_a_paused_limit_keeps_its_number(self, harness: Harness) -> None:
        """That counts again after the pause, also if it was changed meanwhile; tokens are counted all the time."""
        backend = harness.open()
        if (limits := pausable(backend, api=3)) is None or (store := limits_of(backend)) is None:
            return
        limits.pause("api/x")
        backend.enqueue([s.gated(task_id, "api/x") for task_id in "abcd"])
        L9.same([one.number for one in store.numbers()], [3], "the numbers during a pause")
        store.set("api", 2)
        L9.same(s.tokens(store), {"api/x": (0, 4)}, "tokens and lines during a pause")
        limits.resume("api/x")
        L9.same(s.tokens(store), {"api/x": (2, 2)}, "tokens and lines after it")

    def test_l9_a_paused_rate_starts_nothing(self, harness: Harness) -> None:
        """Neither what is admitted later nor what was claimed; after the pause it starts at its pace."""
        backend: Any = harness.open()
        limits = pausable(backend)
        if limits is None or not isinstance(limits, RateStore):
            return
        limits.set_rate("api", Pace(1, 600_000_000, 2))
        backend.enqueue([s.gated(task_id, "rate:api/k") for task_id in "abc"])
        found = s.take_exactly(backend, 2, L9)
        limits.pause("api")
        later = [m.StartStatus.LATER] * 2
        L9.same(list(backend.begin([one.receipt for one in found])), later, "what may begin during a pause")
        harness.advance(3_600_000)
        s.claims(backend, L9, [], "what could be claimed during a pause")
        L9.same(backend.maintain(256), -1, "when `maintain` has to be called again")
        limits.resume("api")
        again = s.take(backend)
        L9.same(s.ids_of(again), ["a", "b"], "what could be claimed after it")
        run = [m.StartStatus.RUN] * 2
        L9.same(list(backend.begin([one.receipt for one in again])), run, "what may begin after it")
