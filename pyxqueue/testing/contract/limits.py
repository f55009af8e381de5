"""Limits: L3 a token is a place, L4 no room is left idle, L5 in order of arrival, L12 and L13.

A backend that is no `HasLimits` has nothing to keep here.
"""

from __future__ import annotations

from ...protocols import Beginning
from .prelude import Backend, Contract, Harness, law, m, s

L3, L4, L5, L8, L12, L13 = law("L3"), law("L4"), law("L5"), law("L8"), law("L12"), law("L13")


def shown(backend: Backend, task_id: str) -> tuple[m.TaskStatus, str]:
    info = s.info(backend, task_id, L3)
    return info.status, info.gate


class LimitLaws(Contract):
    """L3 to L5, L12, L13."""

    # L3

    def test_l3_no_more_than_the_number(self, harness: Harness) -> None:
        """Of five tasks with a limit of two, two can be claimed; the others wait and are counted as blocked."""
        backend = harness.open()
        if (limits := s.limited(backend, api=2)) is None:
            return
        backend.enqueue([s.gated(f"t{number}", "api/k") for number in range(5)])
        L3.same(s.tokens(limits), {"api/k": (2, 3)}, "tokens out and waiting tasks of a limit of two")
        L3.same(s.ids_of(s.take(backend)), ["t0", "t1"], "what could be claimed under a limit of two")
        L3.same(backend.depth().blocked, 3, "how many tasks are blocked")
        s.places(backend, L3, "with two in flight", in_flight=2)
        L3.same(s.tokens(limits), {"api/k": (2, 3)}, "tokens out and waiting tasks once two were claimed")

    def test_l3_a_blocked_task_is_shown_as_waiting(self, harness: Harness) -> None:
        """It is PENDING, with the gate at which it waits, and listed once; nothing else shows a gate."""
        backend = harness.open()
        if s.limited(backend, api=1) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        seen = [shown(backend, task_id) for task_id in "ab"]
        L3.same(seen, [(m.TaskStatus.PENDING, ""), (m.TaskStatus.PENDING, "api/k")], "a ready and a blocked task")
        for state in (None, m.TaskStatus.PENDING):
            listed = sorted(task.id for task in s.all_tasks(backend, state))
            L3.same(listed, ["a", "b"], f"what `tasks` lists as {state}")
        s.settled(backend, L3, s.retry(s.take_one(backend, L3)))
        L3.same(shown(backend, "a"), (m.TaskStatus.RETRY, "api/k"), "a retry that has to wait")
        L3.same([task.id for task in s.all_tasks(backend, m.TaskStatus.RETRY)], ["a"], "what `tasks` lists as RETRY")

    def test_l3_its_message_is_the_same(self, harness: Harness) -> None:
        """A message that has waited at a gate is delivered as it was enqueued, and keeps its `enqueued_ms`."""
        backend = harness.open()
        if s.limited(backend, api=1) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k", headers={"x": "y"}, priority=3)])
        waits = s.info(backend, "b", L3).readable
        s.settled(backend, L3, s.done(s.take_one(backend, L3)))
        L3.same(s.take_one(backend, L3).message, waits, "the message that was delivered after a wait")
        L3.same(
            waits and (waits.gates, waits.headers, waits.priority), (("api/k",), {"x": "y"}, 3), "what was enqueued"
        )

    def test_l3_all_tokens_or_none(self, harness: Harness) -> None:
        """A task that has to wait at one of its gates holds no token of the others."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1, gpu=1)) is None:
            return
        backend.enqueue([s.gated("a", "api/"), s.gated("both", "api/", "gpu/"), s.gated("g", "gpu/")])
        backend.enqueue([s.gated("second", "free/", "gpu/")])
        L3.same(s.tokens(limits), {"api/": (1, 1), "gpu/": (1, 1)}, "tokens and lines")
        L3.same(sorted(s.ids_of(s.take(backend))), ["a", "g"], "what could be claimed")

    def test_l3_every_verdict_gives_back(self, harness: Harness) -> None:
        """After each verdict the next task gets the token."""
        for verdict in s.VERDICTS:
            backend = harness.open(f"g{s.VERDICTS.index(verdict)}")
            if (limits := s.limited(backend, api=1)) is None:
                return
            backend.enqueue([s.gated(f"a{verdict}"[:9].replace("(", ""), "api/k"), s.gated("next", "api/k")])
            delivery = s.take_one(backend, L3)
            s.settled(backend, L3, s.decided(delivery, verdict))
            L3.same(s.ids_of(s.take(backend)), ["next"], f"what could be claimed after {verdict}")
            L3.same(s.tokens(limits)["api/k"][0], 1, f"tokens out after {verdict}")
            backend.remove_group(f"g{s.VERDICTS.index(verdict)}")  # type: ignore[attr-defined, unused-ignore]

    def test_l3_a_release_gives_back(self, harness: Harness) -> None:
        """What a consumer held that is gone asks for its tokens again, behind those that wait."""
        backend = harness.open()
        if (limits := s.limited(backend, api=2)) is None:
            return
        backend.enqueue([s.gated(f"t{number}", "api/k") for number in range(4)])
        held = s.take_exactly(backend, 2, L3)
        backend.release("one", [held[0].receipt])
        L3.same(s.ids_of(s.take(backend, consumer="two")), ["t2", "t3"], "what could be claimed after a release")
        L3.same(s.tokens(limits), {"api/k": (2, 2)}, "tokens and lines after a release")

    def test_l3_the_end_of_a_lease_gives_back(self, harness: Harness) -> None:
        """A reclaimed task gives its token to those that wait; its last holder cannot give it back again."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        lost = s.take_one(backend, L3)
        harness.advance(harness.lease + 1)
        s.take(backend, consumer="two")
        held = s.take(backend, consumer="two")
        L3.same(s.tokens(limits), {"api/k": (1, 1)}, "tokens and lines after the end of a lease")
        backend.settle([s.done(lost)])
        L3.same(s.tokens(limits), {"api/k": (1, 1)}, "tokens and lines after a late settlement")
        L3.holds(len(held) <= 1, "more than one was handed out under a limit of one")

    def test_l3_cancel_and_delete_give_back(self, harness: Harness) -> None:
        """A ready task that is cancelled or deleted gives its token back; a blocked one leaves its line."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated(task_id, "api/k") for task_id in "abcdef"])
        L3.same(list(backend.cancel(["a"])), [True], "the cancellation of a ready task")
        backend.maintain(256)
        L3.same(s.tokens(limits), {"api/k": (1, 4)}, "after a cancellation of a ready task")
        L3.same(list(backend.delete(["b"])), [True], "the deletion of a ready task")
        backend.maintain(256)
        L3.same(s.tokens(limits), {"api/k": (1, 3)}, "after the deletion of a ready task")
        L3.same(list(backend.cancel(["d"])), [True], "the cancellation of a blocked task")
        L3.same(list(backend.delete(["e"])), [True], "the deletion of a blocked task")
        L3.same(s.tokens(limits), {"api/k": (1, 1)}, "after a blocked task was cancelled, and one deleted")
        L3.same(shown(backend, "d")[0], m.TaskStatus.CANCELLED, "the cancelled task")
        L3.same(backend.show(["e"])[0], None, "the deleted task")

    def test_l3_a_cancelled_task_in_flight_gives_back(self, harness: Harness) -> None:
        """Also when it ends as cancelled because it would have become ready again."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        delivery = s.take_one(backend, L3)
        backend.cancel(["a"])
        L3.same(s.tokens(limits), {"api/k": (1, 1)}, "while the cancelled task is in flight")
        s.settled(backend, L3, s.retry(delivery))
        s.claims(backend, L3, ["b"], "what could be claimed after the end of the cancelled one")
        backend.cancel(["b"])
        backend.release("one", [])
        L3.same(s.tokens(limits), {}, "tokens and lines when both have ended")

    def test_l3_a_delayed_task_holds_none(self, harness: Harness) -> None:
        """It asks when it is due."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated("late", "api/k", delay_ms=10_000)])
        L3.same(s.tokens(limits), {}, "while the only task is delayed")
        backend.enqueue([s.gated("a", "api/k")])
        harness.advance(10_001)
        L3.same(s.ids_of(s.take(backend)), ["a"], "what could be claimed when the delay was over")
        L3.same(shown(backend, "late")[1], "api/k", "where the task waits whose delay is over")

    def test_l3_requeued_and_adopted_tasks_ask(self, harness: Harness) -> None:
        """What an operator makes ready again, and what comes from another store, waits as well."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated("failed", "api/k")])
        s.settled(backend, L3, s.fail(s.take_one(backend, L3)))
        L3.same(s.tokens(limits), {}, "after a failure")
        backend.enqueue([s.gated("a", "api/k")])
        L3.same(list(backend.requeue(["failed"])), [True], "the requeue")
        moved = m.TaskInfo("moved", m.TaskStatus.PENDING, s.gated("moved", "api/k"))
        L3.same(list(backend.adopt([moved])), [True], "the adoption")
        L3.same(s.tokens(limits), {"api/k": (1, 2)}, "after a requeue and an adoption")
        L3.same(s.ids_of(s.drain(backend, 5)), ["a"], "what could be claimed")

    def test_l3_a_lowered_number(self, harness: Harness) -> None:
        """Those that run go on; the next begins when fewer than the new number are left."""
        backend = harness.open()
        if (limits := s.limited(backend, api=3)) is None:
            return
        backend.enqueue([s.gated(f"t{number}", "api/k") for number in range(5)])
        held = s.take_exactly(backend, 3, L3)
        limits.set("api", 1)
        for delivery in held[:2]:
            s.settled(backend, L3, s.done(delivery))
            s.claims(backend, L3, [], "claimed while as many as the lowered number or more were in flight")
        s.settled(backend, L3, s.done(held[2]))
        s.claims(backend, L3, ["t3"], "claimed under the lowered number")

    def test_l3_what_has_no_number_is_counted(self, harness: Harness) -> None:
        """A number that comes later counts those that are ready or in flight already."""
        backend = harness.open()
        if (limits := s.limited(backend)) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        delivery = s.take(backend, 1)[0]
        L3.same(s.tokens(limits), {"api/k": (2, 0)}, "tokens of a gate without a number")
        limits.set("api", 1)
        backend.enqueue([s.gated("c", "api/k")])
        s.settled(backend, L3, s.done(delivery))
        L3.same(s.ids_of(s.drain(backend, 5)), ["b"], "what could be claimed")
        L3.same(s.tokens(limits), {"api/k": (1, 1)}, "tokens and lines")

    def test_l3_a_number_for_one_key(self, harness: Harness) -> None:
        """It counts before that of the limit, for its gate only, until it is taken back."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        limits.set("api/big", 2)
        for key in ("big", "small"):
            backend.enqueue([s.gated(f"{key}{number}", f"api/{key}") for number in range(3)])
        L3.same(s.tokens(limits), {"api/big": (2, 1), "api/small": (1, 2)}, "tokens and lines of two keys")
        limits.set("api/big", None)
        L3.same([gate.limit for gate in limits.gates(9)], [1, 1], "the numbers that count")

    def test_l3_declared_and_set(self, harness: Harness) -> None:
        """What is set counts before what is declared; a declaration replaces another one only if it is told to."""
        backend = harness.open()
        if (limits := s.limited(backend)) is None:
            return
        limits.declare({"api": 5, "gpu": 1}, replace=False)
        limits.declare({"api": 6}, replace=False)
        seen = {one.name: (one.number, one.declared) for one in limits.numbers()}
        L3.same(seen, {"api": (5, 5), "gpu": (1, 1)}, "the numbers after two declarations")
        limits.declare({"api": 7}, replace=True)
        limits.set("api", 2)
        limits.declare({"api": 8}, replace=True)
        seen = {one.name: (one.number, one.declared) for one in limits.numbers()}
        L3.same(seen, {"api": (2, 8), "gpu": (1, 1)}, "the numbers after one was set")
        limits.set("api", None)
        L3.same([one.number for one in limits.numbers()], [8, 1], "the numbers after it was taken back")

    def test_l3_a_number_of_zero(self, harness: Harness) -> None:
        """Nothing starts; what waits comes when there is a number again."""
        backend = harness.open()
        if (limits := s.limited(backend, api=0)) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.job("plain")])
        s.claims(backend, L3, ["plain"], "claimed while the number was 0")
        L3.same(s.tokens(limits), {"api/k": (0, 1)}, "tokens and lines of a limit of 0")
        limits.set("api", 1)
        s.claims(backend, L4, ["a"], "claimed once the number was raised")

    def test_l3_groups_have_tokens_of_their_own(self, harness: Harness) -> None:
        """What one group holds leaves the other one free (B9)."""
        one, two = s.groups(harness, "one", "two")
        if s.limited(one, api=1) is None or (others := s.limited(two, api=2)) is None:
            return
        one.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        L3.same(s.ids_of(s.take(one)), ["a"], "what could be claimed in a group with a limit of one")
        L3.same(s.ids_of(s.take(two)), ["a", "b"], "what could be claimed in a group with a limit of two")
        one.remove_group("one")
        L3.same(s.tokens(others), {"api/k": (2, 0)}, "the tokens of the other group when one was removed")

    def test_l3_follow_ups_ask(self, harness: Harness) -> None:
        """A follow-up may get the token that its settlement gives back, or waits."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated("a", "api/k")])
        then = [s.gated("b", "api/k"), s.gated("c", "api/k")]
        s.settled(backend, L3, s.done(s.take_one(backend, L3), then))
        L3.same(sorted([*s.ids_of(s.take(backend))]), ["b"], "what could be claimed of two follow-ups")
        L3.same(s.tokens(limits), {"api/k": (1, 1)}, "tokens and lines after two follow-ups")

    def test_l3_a_repeat_takes_no_token(self, harness: Harness) -> None:
        """Enqueueing a known id changes nothing (B1)."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        for _ in range(2):
            backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        L3.same(s.tokens(limits), {"api/k": (1, 1)}, "tokens and lines after a repeated enqueue")

    def test_l3_many(self, harness: Harness) -> None:
        """Of many tasks of one batch as many become ready as the limit allows, and the others later."""
        backend = harness.open()
        if (limits := s.limited(backend, api=300)) is None:
            return
        backend.enqueue([s.gated(name, "api/k", body=b"") for name in s.NAMES])
        L3.same(s.tokens(limits), {"api/k": (300, s.MANY - 300)}, "tokens and lines of many tasks")
        seen: list[str] = []
        for _ in range(100):
            found = s.take(backend, 300)
            if not found:
                break
            L3.holds(len(found) <= 300, "more were claimed than the limit allows")
            seen += s.ids_of(found)
            s.settled(backend, L3, *map(s.done, found))
        L4.same(sorted(seen), sorted(s.NAMES), "what could be claimed in the end")

    def test_l3_plain_tasks_take_no_token(self, harness: Harness) -> None:
        """A task without gates passes all of them."""
        backend = harness.open()
        if (limits := s.limited(backend, api=0)) is None:
            return
        backend.enqueue(s.jobs(3))
        s.settled(backend, L3, *map(s.done, s.take_exactly(backend, 3, L3)))
        L3.same(s.tokens(limits), {}, "tokens and lines of plain tasks")

    def test_l3_a_blocked_task_expires(self, harness: Harness) -> None:
        """It leaves its line, as one that is ready gives its token back."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None or not isinstance(backend, Beginning):
            return
        backend.enqueue([s.gated(task_id, "api/k", lifetime_ms=10_000) for task_id in "ab"])
        backend.enqueue([s.gated("c", "api/k")])
        L3.same(s.tokens(limits), {"api/k": (1, 2)}, "before the first two expire")
        harness.advance(10_001)
        backend.maintain(256)
        backend.maintain(256)
        L3.same(s.tokens(limits), {"api/k": (1, 0)}, "after they have expired")
        L3.same(s.ids_of(s.take(backend)), ["c"], "what could be claimed after they have expired")

    # L4

    def test_l4_a_start_that_came_too_late_admits(self, harness: Harness) -> None:
        """`begin` ends a task that has expired in flight; its token goes to the next in line."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None or not isinstance(backend, Beginning):
            return
        backend.enqueue([s.gated("a", "api/k", lifetime_ms=10_000)])
        delivery = s.take_one(backend, L4)
        backend.enqueue([s.gated("b", "api/k")])
        harness.advance(10_001)
        L8.same(backend.begin([delivery.receipt]), [m.StartStatus.EXPIRED], "what begin returned after the expiry")
        L4.same(s.ids_of(s.take(backend)), ["b"], "what could be claimed after begin had ended the task before it")
        L3.same(s.tokens(limits), {"api/k": (1, 0)}, "the tokens after that claim")

    def test_l4_a_raised_number_admits(self, harness: Harness) -> None:
        """As many as there is room for, when the number is raised or taken back."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated(f"t{number}", "api/k") for number in range(6)])
        limits.set("api", 3)
        L4.same(len(s.take(backend)), 3, "how many could be claimed after the number was raised to 3")
        limits.set("api/k", 4)
        L4.same(len(s.take(backend)), 1, "how many could be claimed after the number of the key was raised to 4")
        limits.set("api/k", None)
        limits.set("api", None)
        L4.same(len(s.take(backend)), 2, "how many could be claimed after the numbers were taken back")

    def test_l4_a_declared_number_admits(self, harness: Harness) -> None:
        """A deploy with a larger number lets those in that wait."""
        backend = harness.open()
        if (limits := s.limited(backend)) is None:
            return
        limits.declare({"api": 1}, replace=True)
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        limits.declare({"api": 2}, replace=True)
        claimed = sorted(s.ids_of(s.take(backend)))
        L4.same(claimed, ["a", "b"], "claimed after a larger number was declared")

    def test_l4_a_blocked_key_blocks_no_other(self, harness: Harness) -> None:
        """However many wait at one gate, those of another gate are ready at once."""
        backend = harness.open()
        if s.limited(backend, api=1) is None:
            return
        backend.enqueue([s.gated(f"x{number}", "api/x") for number in range(300)])
        backend.enqueue([s.gated("y", "api/y"), s.job("plain")])
        L4.same(s.ids_of(s.take(backend)), ["x0", "y", "plain"], "what could be claimed beside a long line")

    def test_l4_from_one_gate_to_the_next(self, harness: Harness) -> None:
        """A task that waits at one gate and finds another one full waits there, and comes in the end."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1, gpu=1)) is None:
            return
        backend.enqueue([s.gated("a", "api/"), s.gated("both", "api/", "gpu/")])
        api = s.take_one(backend, L4)
        backend.enqueue([s.gated("g", "gpu/")])
        gpu = s.take_one(backend, L4)
        s.settled(backend, L4, s.done(api))
        s.claims(backend, L3, [], "claimed while the second gate was full")
        L4.same(s.tokens(limits), {"gpu/": (1, 1)}, "tokens and lines once the first gate was free")
        backend.enqueue([s.gated("a2", "api/")])
        s.claims(backend, L4, ["a2"], "claimed from the gate at which nothing waits any more")
        s.settled(backend, L4, s.done(gpu))
        L4.same(s.tokens(limits), {"api/": (1, 1)}, "tokens and lines once the second gate was free")
        backend.release("one", [])
        L4.same(sorted(s.ids_of(s.drain(backend, 1))), ["both"], "what could be claimed in the end")

    def test_l4_a_freed_token_wakes_a_claim(self, harness: Harness) -> None:
        """A worker that waits gets the task that a settlement of another handle has admitted."""
        backend, other = harness.open(), harness.open()
        if s.limited(backend, api=1) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k")])
        held = s.take_one(other, L4, "two")
        call = s.waiting(L4, lambda: s.patiently(backend))
        s.settled(other, L4, s.done(held))
        got = call.result(self.patience, L4, "a waiting claim was not woken by a task that was admitted")
        L4.same(s.ids_of(got), ["b"], "what the woken claim returned")

    def test_l4_a_freed_token_needs_no_maintain(self, harness: Harness) -> None:
        """After a settlement or a release the next task can be claimed at once."""
        backend = harness.open()
        if s.limited(backend, api=1) is None:
            return
        backend.enqueue([s.gated(task_id, "api/k") for task_id in "abc"])
        s.settled(backend, L4, s.done(backend.claim("one", 9, 0)[0]))
        L4.same(s.ids_of(backend.claim("one", 9, 0)), ["b"], "what could be claimed after a settlement")
        backend.release("one", [])
        L4.same(s.ids_of(backend.claim("one", 9, 0)), ["c"], "what could be claimed after a release")

    def test_l4_two_handles_admit(self, harness: Harness) -> None:
        """While two handles settle and maintain at the same time, none is lost and none comes twice."""
        backend, other = harness.open(), harness.open()
        if (limits := s.limited(backend, api=4, ten=1)) is None:
            return
        ids = [f"t{number:03}" for number in range(120)]
        backend.enqueue([s.gated(task_id, "api/", f"ten/{hash(task_id) % 7}") for task_id in ids])
        seen: list[str] = []

        def work(handle: Backend, consumer: str) -> None:
            for _ in range(400):
                found = s.take(handle, 3, consumer)
                seen.extend(s.ids_of(found))
                handle.settle(list(map(s.done, found)))
                if len(seen) >= len(ids):
                    return

        for call in [s.Call(lambda: work(backend, "one")), s.Call(lambda: work(other, "two"))]:
            call.result(3 * self.patience, L4, "two handles that settle do not come to an end")
        L4.same(sorted(seen), ids, "what was claimed by both")
        L13.same(s.tokens(limits), {}, "tokens and lines when all have ended")

    # L5

    def test_l5_first_come_first_served(self, harness: Harness) -> None:
        """Those that wait at one gate become ready in the order in which they came."""
        backend = harness.open()
        if s.limited(backend, api=1) is None:
            return
        ids = [f"t{number:02}" for number in range(20)]
        for task_id in ids:
            backend.enqueue([s.gated(task_id, "api/k")])
        seen = []
        for _ in ids:
            delivery = s.take_one(backend, L5)
            seen.append(delivery.message.id)
            s.settled(backend, L5, s.done(delivery))
        L5.same(seen, ids, "the order in which they were claimed")

    def test_l5_what_was_in_flight_comes_last(self, harness: Harness) -> None:
        """A retry, a deferral and a released task do not overtake those that wait."""
        backend = harness.open()
        if s.limited(backend, api=1) is None:
            return
        backend.enqueue([s.gated(task_id, "api/k") for task_id in "abc"])
        seen = []
        for leave in (s.retry, s.defer):
            delivery = s.take_one(backend, L5)
            seen.append(delivery.message.id)
            s.settled(backend, L5, leave(delivery))
        seen.append(s.take_one(backend, L5).message.id)
        backend.release("one", [])
        seen.append(s.take_one(backend, L5).message.id)
        L5.same(seen, ["a", "b", "c", "a"], "the order in which they came, with a retry, a deferral and a release")

    def test_l5_a_place_in_line_is_kept(self, harness: Harness) -> None:
        """A task that moves to the line of another gate stands before those that came after it."""
        backend = harness.open()
        if s.limited(backend, api=1, gpu=1) is None:
            return
        backend.enqueue([s.gated("a", "api/"), s.gated("g", "gpu/"), s.gated("both", "api/", "gpu/")])
        backend.enqueue([s.gated("later", "gpu/")])
        held = {one.message.id: one for one in s.take_exactly(backend, 2, L5)}
        s.settled(backend, L5, s.done(held["a"]))
        s.settled(backend, L5, s.done(held["g"]))
        s.claims(backend, L5, ["both"], "the first of the second line")

    def test_l5_blocked_tasks_came_back(self, harness: Harness) -> None:
        """Once it is admitted, a task is claimed before the rest of many new ones (B2)."""
        backend = harness.open()
        if s.limited(backend, api=1) is None:
            return
        backend.enqueue([s.gated("a", "api/k"), s.gated("b", "api/k"), *s.jobs(20)])
        s.settled(backend, L5, s.done(backend.claim("one", 1, 0)[0]))
        L5.holds("b" in s.ids_of(backend.claim("one", 2, 0)), "an admitted task was not one of the next two deliveries")

    # L12, L13

    def test_l12_a_refused_settlement_gives_nothing(self, harness: Harness) -> None:
        """Neither a repeat, nor a stale receipt, nor one of nobody changes tokens or lines."""
        backend = harness.open()
        if (limits := s.limited(backend, api=2)) is None:
            return
        backend.enqueue([s.gated(task_id, "api/k") for task_id in "abcd"])
        first, second = s.take_exactly(backend, 2, L12)
        s.settled(backend, L12, s.done(first))
        before = s.tokens(limits)
        refused = [s.done(first), s.retry(first), s.fail(first), m.Settlement("nobody|x|a|g", m.Done())]
        L12.same(list(backend.settle(refused)), [False] * 4, "settlements that are refused")
        L12.same(s.tokens(limits), before, "tokens and lines after refused settlements")
        backend.release("one", [])
        before = s.tokens(limits)
        L12.same(list(backend.settle([s.done(second)])), [False], "the settlement of a task that was released")
        L12.same(s.tokens(limits), before, "tokens and lines after a late settlement")

    def test_l13_nothing_is_left(self, harness: Harness) -> None:
        """When all have ended, neither tokens nor lines are left, and many keys leave no more than few."""
        backend = harness.open(history=0)
        if (limits := s.limited(backend, api=1)) is None:
            return

        def round_of(count: int) -> int:
            backend.enqueue([s.gated(f"r{count}-{number}", f"api/{number % count}") for number in range(2 * count)])
            for _ in range(50):
                found = s.take(backend, 256)
                if not found:
                    break
                s.settled(backend, L13, *map(s.done, found))
            L13.same(s.tokens(limits), {}, f"tokens and lines after {2 * count} tasks")
            harness.advance(2 * s.DAY)
            backend.claim("one", 1, 0)
            return harness.footprint()

        few = round_of(3)
        many = round_of(150)
        L13.holds(many <= few + self.footprint_slack, f"after 6 tasks it had {few} parts, after 300 more {many}")
