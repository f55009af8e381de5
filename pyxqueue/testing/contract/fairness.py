"""Fair lines: F1 shares, F2 work-conserving, F3 in order, F4 drained.

A backend that is no `HasFairLines` has nothing to keep here. A store may draw some messages before they are claimed, so
the tests that count shares begin to count after `AHEAD` deliveries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...protocols import Beginning, Pausing, fair_lines_of
from .prelude import Backend, Contract, Harness, Law, law, m, s

F1, F2, F3, F4 = law("F1"), law("F2"), law("F3"), law("F4")
AHEAD = 2
"""How many messages may be drawn and not claimed, while claims take one each."""


def waiting(backend: Backend) -> dict[str, int] | None:
    """By tenant, how many tasks wait in fair lines; None for a backend without them."""
    lines = fair_lines_of(backend)
    return None if lines is None else {one.tenant: one.waiting for one in lines.tenants(1_000)}


def shared(count: int, tenant: str, share: int = 1_000, **header: object) -> list[m.Message]:
    """New messages of a tenant, with ids that begin with its name."""
    prefix = str(header.pop("prefix", tenant))
    return s.jobs(count, prefix, share=share, tenant=tenant, v=m.FLOW_VERSION, **header)


def start(backend: Backend, law: Law) -> m.Delivery | None:
    """Claim one message, settle it as done, and return it; None if none is ready."""
    __tracebackhide__ = True
    found = s.take(backend, 1)
    if found:
        s.settled(backend, law, s.done(found[0]))
    return found[0] if found else None


def starts(backend: Backend, law: Law, limit: int = 1_000) -> list[str]:
    """Start one message after the other, at most `limit` of them; return their ids."""
    __tracebackhide__ = True
    found: list[str] = []
    while len(found) < limit and (delivery := start(backend, law)) is not None:
        found.append(delivery.message.id)
    return found


def in_shares(order: Sequence[str], weights: Mapping[str, float], law: Law = F1) -> None:
    """Check each span of `order` in which two flows both wait. A flow is what begins with the letter of its tenant; it
    waits up to the last of its messages."""
    __tracebackhide__ = True
    flows = [task_id[0] for task_id in order]
    last = {flow: place for place, flow in enumerate(flows)}
    law.holds(weights.keys() <= last.keys(), f"nothing of {sorted(weights.keys() - last.keys())} was started: {order}")
    pairs = [(one, two) for one in weights for two in weights if one < two]
    for one, two in pairs:
        most = 1 / weights[one] + 1 / weights[two] + 1e-9
        end = min(last[one], last[two])
        for begin in range(AHEAD, end):
            counts = Counter[str]()
            for flow in flows[begin:end]:
                counts[flow] += 1
                gap = abs(counts[one] / weights[one] - counts[two] / weights[two])
                law.holds(gap <= most, f"{one} and {two} differ by {gap:g} in {flows[begin:end]}, from {begin} on")


class FairnessLaws(Contract):
    """F1 to F4."""

    # F1

    def test_f1_equal_shares(self, harness: Harness) -> None:
        """Behind a flood of one tenant, three others start as often as it does."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(40, "a"))
        for tenant in "bcd":
            backend.enqueue(shared(10, tenant))
        in_shares(starts(backend, F1), dict.fromkeys("abcd", 1.0))

    def test_f1_shares_by_weight(self, harness: Harness) -> None:
        """A tenant of twice the weight starts twice as often."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        for tenant, share, count in (("a", 1_000, 20), ("b", 500, 20), ("c", 250, 40), ("d", 2_000, 10)):
            backend.enqueue(shared(count, tenant, share))
        in_shares(starts(backend, F1), {"a": 1.0, "b": 2.0, "c": 4.0, "d": 0.5})

    def test_f1_a_newcomer_starts_soon(self, harness: Harness) -> None:
        """The first message of a tenant is drawn after at most one of the flood."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(100, "a"))
        starts(backend, F1, 7)
        backend.enqueue(shared(1, "b"))
        next_ones = starts(backend, F1, AHEAD + 2)
        F1.holds("b000" in next_ones, f"the only task of a tenant behind a flood did not start: {next_ones}")

    def test_f1_who_was_away_has_saved_nothing(self, harness: Harness) -> None:
        """A tenant that had nothing to do does not get the starts that it missed; nor does it wait for the others."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(60, "a"))
        backend.enqueue(shared(3, "b"))
        in_shares(starts(backend, F1, 26), {"a": 1.0, "b": 1.0})
        backend.enqueue(shared(10, "b", prefix="bb"))
        in_shares(starts(backend, F1), {"a": 1.0, "b": 1.0})

    def test_f1_a_line_that_was_empty_begins_again(self, harness: Harness) -> None:
        """What was drawn before nobody waited counts no more, for nobody."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(20, "a"))
        starts(backend, F1)
        for tenant in "ab":
            backend.enqueue(shared(10, tenant, prefix=tenant * 2))
        in_shares(starts(backend, F1), {"a": 1.0, "b": 1.0})

    def test_f1_a_due_task_does_not_wait_for_new_ones(self, harness: Harness) -> None:
        """What comes back to a tenant is a flow of its own: it starts before the tenant's own flood is over."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(1, "a", prefix="late", delay_ms=5_000))
        backend.enqueue(shared(50, "a"))
        retried = s.take(backend, 1)[0]
        s.settled(backend, F1, s.retry(retried, 5_000))
        starts(backend, F1, 5)
        harness.advance(5_001)
        next_ones = starts(backend, F1, AHEAD + 5)
        for task_id in ("late000", retried.message.id):
            F1.holds(task_id in next_ones, f"{task_id} was due and did not start beside new ones: {next_ones}")

    def test_f1_a_due_task_takes_its_turn(self, harness: Harness) -> None:
        """A retry costs its tenant as much as a new message does, with a delay and without one."""
        for number, delay in enumerate((0, 5_000)):
            backend = harness.open(f"g{number}")
            if waiting(backend) is None:
                return
            backend.enqueue(shared(4, "a", 8_000, prefix=f"a{number}"))
            held = s.drain(backend, 4)
            F1.same(len(held), 4, "how many tasks could be claimed")
            backend.enqueue(shared(40, "b", prefix=f"b{number}"))
            s.settled(backend, F1, *(s.retry(one, delay) for one in held))
            harness.advance(delay + 1)
            first = starts(backend, F1, 8 + AHEAD)
            again = [task_id for task_id in first if task_id[0] == "a"]
            F1.holds(len(again) <= 2, f"{len(again)} retries of the weight 1/8 were among the first {first}")
            backend.remove_group(f"g{number}")

    def test_f1_what_was_drawn_comes_back_at_once(self, harness: Harness) -> None:
        """A release, the end of a lease and a Defer without a delay make it ready without another turn."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(2, "a", 8_000))
        (held,) = s.take(backend, 1)
        released = s.take(backend, 1, "gone")
        backend.enqueue(shared(40, "b"))
        s.settled(backend, F1, s.defer(held))
        backend.release("gone", [])
        next_ones = starts(backend, F1, 4)
        came_back = {held.message.id, *s.ids_of(released)}
        F1.same(len(came_back), 2, "how many were claimed")
        F1.holds(came_back <= {*next_ones}, f"of {sorted(came_back)}, which came back, not all are next: {next_ones}")

    def test_f1_the_end_of_a_lease(self, harness: Harness) -> None:
        """What is reclaimed does not wait behind the line either."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(30, "a"))
        (lost,) = s.take(backend, 1)
        harness.advance(harness.lease + 1)
        s.take(backend, 1, "two")  # it may reclaim only
        next_ones = starts(backend, F1, AHEAD + 1)
        held = [task.id for task in s.all_tasks(backend, m.TaskStatus.STARTED)]
        F1.holds(lost.message.id in [*next_ones, *held], f"a reclaimed task did not come back at once: {next_ones}")

    def test_f1_classes_come_first(self, harness: Harness) -> None:
        """Shares count within a priority class; the lines of two classes know nothing of each other."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(40, "a"))
        backend.enqueue(shared(12, "b", priority=60) + shared(12, "c", priority=70, prefix="cc"))
        high = starts(backend, F1, 24)
        late = [task_id for task_id in high if task_id[0] == "a"]
        F1.holds(len(late) <= 2, f"{late} of the lower class were among the first {high}")
        in_shares([task_id for task_id in high if task_id[0] != "a"], {"b": 1.0, "c": 1.0})
        backend.enqueue(shared(10, "b", prefix="bb"))
        next_ones = starts(backend, F1, AHEAD + 4)  # also a last one of the higher class
        F1.holds(any(task_id[0] == "b" for task_id in next_ones), f"a tenant paid for another class: {next_ones}")

    def test_f1_groups_have_lines_of_their_own(self, harness: Harness) -> None:
        """What one group has drawn changes nothing in another (B9)."""
        one, two = s.groups(harness, "one", "two")
        if waiting(one) is None:
            return
        one.enqueue(shared(20, "a"))
        starts(one, F1, 10)
        one.enqueue(shared(10, "b"))
        in_shares(starts(two, F1), {"a": 1.0, "b": 1.0})
        one.remove_group("one")
        F1.same(waiting(two), {}, "who waits in the other group")

    def test_f1_after_tokens(self, harness: Harness) -> None:
        """A message with gates joins the line when it has its tokens, and holds them there (L3)."""
        backend = harness.open()
        if waiting(backend) is None or (limits := s.limited(backend, api=2)) is None:
            return
        backend.enqueue(shared(4, "a", gates=("api/k",)))
        backend.enqueue(shared(12, "b"))
        F1.same(s.tokens(limits), {"api/k": (2, 2)}, "tokens out, and tasks that wait for one")
        order = starts(backend, F1)
        F1.same(sorted(Counter(task_id[0] for task_id in order).items()), [("a", 4), ("b", 12)], "what was started")
        F1.holds("a" in {task_id[0] for task_id in order[2 : 4 + AHEAD]}, f"who got a token waited: {order}")
        F1.same(s.tokens(limits), {}, "the tokens at the end")

    def test_f1_who_got_a_token_takes_its_turn(self, harness: Harness) -> None:
        """A task that waited for a token does not go past the line once it has it."""
        backend = harness.open()
        if waiting(backend) is None or s.limited(backend, api=1) is None:
            return
        backend.enqueue(shared(4, "a", 8_000, gates=("api/k",)))
        backend.enqueue(shared(30, "b"))
        first = starts(backend, F1, 14)
        again = [task_id for task_id in first if task_id[0] == "a"]
        F1.holds(len(again) <= 2, f"{len(again)} tasks of the weight 1/8 that waited for a token are among {first}")

    def test_f1_requeued_and_adopted(self, harness: Harness) -> None:
        """What an operator makes ready again, and what comes from another store, joins the line as well."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(2, "a", 8_000))
        held = s.drain(backend, 2)
        s.settled(backend, F1, *(s.fail(one) for one in held))
        backend.enqueue(shared(30, "b"))
        moved = [m.TaskInfo(one.id, m.TaskStatus.PENDING, one) for one in shared(2, "c", 8_000)]
        F1.same(list(backend.adopt(moved)), [True, True], "the adoption")
        F1.same(list(backend.requeue(s.ids_of(held))), [True, True], "the requeue")
        first = starts(backend, F1, 9)
        F1.holds(
            all(count <= 1 for tenant, count in Counter(task_id[0] for task_id in first).items() if tenant != "b"),
            f"requeued and adopted tasks of the weight 1/8 among the first {first}",
        )

    def test_f1_what_is_cancelled_has_no_start(self, harness: Harness) -> None:
        """The others go on in their shares, and who was cancelled is not counted as drawn."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        for tenant in "abc":
            backend.enqueue(shared(12, tenant))
        F1.same(list(backend.cancel([f"b{number:03}" for number in range(2, 12)])), [True] * 10, "the cancellation")
        F1.same(list(backend.delete(["c011"])), [True], "the deletion")
        order = starts(backend, F1)
        F1.same(len(order), 12 + 2 + 11, "how many were started")
        in_shares(order, {"a": 1.0, "c": 1.0})
        backend.enqueue(shared(40, "d"))
        F1.same(list(backend.cancel(["d039"])), [True], "the cancellation of the last one")
        backend.enqueue(shared(1, "e"))
        next_ones = starts(backend, F1, AHEAD + 2)
        F1.holds("e000" in next_ones, f"a newcomer waits because a task was cancelled: {next_ones}")

    # F2

    def test_f2_one_tenant_alone(self, harness: Harness) -> None:
        """It gets all there is, in claims of any size."""
        for size in (1, 3, 100):
            backend = harness.open(f"g{size}")
            if waiting(backend) is None:
                return
            backend.enqueue(shared(50, f"a{size}"))
            F2.same(len(s.drain(backend, size)), 50, f"how many were claimed, {size} at a time")
            backend.remove_group(f"g{size}")

    def test_f2_all_are_started(self, harness: Harness) -> None:
        """Each claim returns something as long as tasks are ready, on two handles in turns."""
        one, two = harness.open(), harness.open()
        if waiting(one) is None:
            return
        for tenant in ("a", "", "%C3%A9"):
            one.enqueue(shared(7, tenant, prefix=f"t{len(tenant)}"))
        found: list[str] = []
        while (ready := one.depth().ready) > 0:
            taken = s.take((one, two)[len(found) % 2], 2)
            F2.holds(taken, f"a claim returned nothing while {ready} tasks were ready")
            found += s.ids_of(taken)
        F2.same(len(found), 21, "how many were claimed")

    def test_f2_an_idle_queue(self, harness: Harness) -> None:
        """A message that comes when nobody waits can be claimed at once, also by a claim that waits already."""
        backend, other = s.groups(harness, "cg", "cg")
        if waiting(backend) is None:
            return
        for number in range(3):
            other.enqueue(shared(1, "a", prefix=f"a{number}"))
            F2.same(s.ids_of(s.take(backend)), [f"a{number}000"], "what could be claimed of an idle queue")
        waits = s.waiting(F2, lambda: s.patiently(backend))
        other.enqueue(shared(1, "a", prefix="last"))
        woken = waits.result(self.patience, F2, "a claim that waits is not woken by a message with a share")
        F2.same(s.ids_of(woken), ["last000"], "what woke the claim")

    def test_f2_those_held_do_not_count(self, harness: Harness) -> None:
        """However many one worker holds, another gets what is ready."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(40, "a"))
        held = s.drain(backend, 4, "one")[:20]
        F2.same(len(held), 20, "what one worker could claim")
        backend.enqueue(shared(5, "b"))
        F2.same(len(s.drain(backend, 1, "two")), 5, "what another worker could claim")

    def test_f2_lost_claims(self, harness: Harness) -> None:
        """If the holder of all that was drawn is gone, the others go on, and its tasks come back."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(12, "a"))
        for number in range(3):
            backend.claim(f"lost{number}", 2, 0)
        others = s.drain(backend, 1, "two")
        harness.advance(harness.lease + 1)
        again = [*s.drain(backend, 5, "three"), *s.drain(backend, 5, "three")]
        F2.holds(others, "nothing was left for another worker")
        F2.same(sorted({*s.ids_of(others), *s.ids_of(again)}), [f"a{n:03}" for n in range(12)], "what was claimed")

    def test_f2_beside_plain_messages(self, harness: Harness) -> None:
        """Messages without a share and those with one are all handed out, in any mixture."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        for number in range(5):
            backend.enqueue(shared(3, "a", prefix=f"a{number}"))
            backend.enqueue(s.jobs(2, f"plain{number}"))
        found = s.drain(backend, 2)
        backend.maintain(256)
        F2.same(len(found) + len(s.drain(backend, 2)), 25, "how many of both kinds were claimed")

    # F3

    def test_f3_first_in_first_out(self, harness: Harness) -> None:
        """The messages of each tenant start in the order in which they were enqueued."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        for part in "xyz":
            backend.enqueue(shared(5, "a", prefix=f"a{part}") + shared(5, "b", 300, prefix=f"b{part}"))
        order = starts(backend, F3)
        for tenant in "ab":
            own = [task_id for task_id in order if task_id[0] == tenant]
            F3.same(own, sorted(own), f"the order in which those of {tenant} started")
        F3.same(len(order), 30, "how many were started")

    def test_f3_delayed_ones_by_the_time_they_are_due(self, harness: Harness) -> None:
        """What becomes due joins the line in the order of the times."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        for number in (3, 1, 2, 0):
            backend.enqueue(shared(1, "a", prefix=f"late{number}", delay_ms=1_000 * (1 + number)))
        backend.enqueue(shared(4, "b"))
        harness.advance(4_001)
        late = [task_id for task_id in starts(backend, F3) if task_id.startswith("late")]
        F3.same(late, [f"late{number}000" for number in range(4)], "the order in which delayed ones started")

    def test_f3_its_message_is_the_same(self, harness: Harness) -> None:
        """A message that has waited in the line is delivered as it was enqueued; it is PENDING, and listed once."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(3, "a"))
        backend.enqueue(shared(1, "%C3%A9", 7, prefix="z", headers={"x": "y"}, priority=0))
        F3.same(sorted(task.id for task in s.all_tasks(backend)), ["a000", "a001", "a002", "z000"], "what is listed")
        s.places(backend, F3, "with three in the line", ready=4)
        waits = s.info(backend, "z000", F3)
        F3.same(waits.status, m.TaskStatus.PENDING, "the status of a task in the line")
        found = {one.message.id: one.message for one in s.drain(backend, 1)}
        F3.same(found["z000"], waits.readable, "the message that was delivered after a wait")
        seen = waits.readable and (waits.readable.tenant, waits.readable.share, waits.readable.headers)
        F3.same(seen, ("%C3%A9", 7, {"x": "y"}), "what was enqueued")

    def test_f3_repeats_and_refusals_change_nothing(self, harness: Harness) -> None:
        """An id that is known joins no line twice; a settlement that is refused moves nothing."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        messages = shared(6, "a")
        backend.enqueue(messages)
        before = waiting(backend)
        F3.same(list(backend.enqueue(messages)), [False] * 6, "the repeat of an enqueue")
        F3.same(waiting(backend), before, "who waits after a repeat")
        first = s.take(backend, 1)[0]
        s.settled(backend, F3, s.retry(first, 60_000))
        before = waiting(backend)
        F3.same(list(backend.settle([s.retry(first)])), [False], "a settlement with an old receipt")
        F3.same(waiting(backend), before, "who waits after a refused settlement")

    def test_f3_a_pause_keeps_the_order(self, harness: Harness) -> None:
        """While it lasts nothing is handed out, and the line is as long as before; after it, shares are as always."""
        backend = harness.open()
        if waiting(backend) is None or not isinstance(backend, Pausing):
            return
        for tenant in "ab":
            backend.enqueue(shared(10, tenant))
        backend.pause()
        before = waiting(backend)
        F3.same(s.ids_of(s.take(backend)), [], "what was claimed while paused")
        F3.same(waiting(backend), before, "who waits in the line after a claim of a paused group")
        backend.enqueue(shared(10, "c"))
        backend.resume()
        order = starts(backend, F3)
        in_shares(order, dict.fromkeys("abc", 1.0), F3)
        F3.same(len(order), 30, "how many were started")

    def test_f3_the_numbers_in_the_line(self, harness: Harness) -> None:
        """A task that is shown with a number in its line is the earlier, the lower that is."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue(shared(20, "a"))
        numbers = [s.info(backend, f"a{number:03}", F3).line for number in range(20)]
        F3.same([one for one in numbers if one], list(range(1, 21 - numbers.count(0))), "the numbers in the line")
        s.drain(backend, 7)
        F3.same(s.info(backend, "a019", F3).line, 0, "the number of a task in flight")

    # F4

    def test_f4_nothing_is_left(self, harness: Harness) -> None:
        """Whichever way the tasks leave the line and end, nothing of it is stored any longer."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        s.settled(backend, F4, s.done(s.claimed(backend, F4, "warm")))
        harness.advance(s.LONG)
        s.take(backend)
        empty = harness.footprint()
        for tenant in ("a", "b", ""):
            backend.enqueue(shared(6, tenant, prefix=f"x{tenant}"))
            backend.enqueue(shared(1, tenant, prefix=f"late{tenant}", delay_ms=1_000))
        F4.holds(set(waiting(backend) or ()) <= {"a", "b", ""}, f"who waits: {waiting(backend)}")
        backend.cancel(["xa003", "x002"])
        backend.delete(["xb004"])
        retried = s.take(backend, 1)[0]
        s.settled(backend, F4, s.retry(retried))
        harness.advance(1_001)
        for delivery in iter(lambda: next(iter(s.take(backend, 1)), None), None):
            s.settled(backend, F4, s.done(delivery))
        F4.same(waiting(backend), {}, "who waits when all have ended")
        backend.delete([task.id for task in s.all_tasks(backend)])
        harness.advance(s.LONG)
        s.take(backend)
        F4.holds(
            harness.footprint() <= empty + self.footprint_slack,
            f"the footprint grew from {empty} to {harness.footprint()}",
        )

    def test_f4_what_expires(self, harness: Harness) -> None:
        """What expires in the line leaves it."""
        backend = harness.open()
        if waiting(backend) is None or not isinstance(backend, Beginning):
            return
        backend.enqueue(shared(8, "a", lifetime_ms=1_000))
        harness.advance(1_001)
        backend.maintain(256)
        F4.same(s.ids_of(s.take(backend)), [], "what could be claimed when all had expired")
        F4.same(waiting(backend), {}, "who waits when all have expired")
        F4.same(backend.depth().ready, 0, "how many are ready when all have expired")

    def test_f4_a_removed_group(self, harness: Harness) -> None:
        """Its lines go with it."""
        kept, removed = s.groups(harness, "kept", "removed")
        if waiting(kept) is None:
            return
        empty = harness.footprint()
        kept.enqueue(shared(9, "a"))
        removed.remove_group("removed")
        s.settled(kept, F4, *(s.done(one) for one in s.drain(kept, 9)))
        harness.advance(s.LONG)
        s.take(kept)
        kept.maintain(256)
        F4.holds(
            harness.footprint() <= empty + self.footprint_slack,
            f"the footprint grew from {empty} to {harness.footprint()} with a group that was removed",
        )

    def test_f4_many_tenants(self, harness: Harness) -> None:
        """Each of hundreds of tenants is forgotten once its only task has started."""
        backend = harness.open()
        if waiting(backend) is None:
            return
        backend.enqueue([one for number in range(300) for one in shared(1, f"t{number}", prefix=f"t{number}-")])
        F4.holds(len(waiting(backend) or ()) >= 300 - 2 * AHEAD, "the tenants that wait are not shown")
        F4.same(len(s.drain(backend, 50)), 300, "how many were claimed")
        F4.same(waiting(backend), {}, "who waits when all are in flight")
