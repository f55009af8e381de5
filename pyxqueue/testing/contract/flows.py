"""Flows: L10 a successor starts once, after its predecessors; L11 every end fires. A backend without `HasFlows` passes.

The flows here are named by their edges: ``flow("ab:f", "bc:w")`` has the tasks ``a``, ``b`` and ``c``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ...errors import ConfigurationError
from ...model.flows import UNFINISHED_MS, many, unfinished
from ...model.rates import PREFIX, Pace
from ...protocols import Beginning, HasFlows
from .base import needs
from .fairness import waiting
from .prelude import Backend, Contract, Harness, Law, law, m, s

L10, L11 = law("L10"), law("L11")
BAD_ENDS: dict[str, Callable[[m.Delivery], m.Settlement]] = {
    "a failure": s.fail,
    "a cancellation": lambda delivery: s.decided(delivery, m.Cancelled()),
}


def flow(*edges: str, name: str = "flow-1", **headers: Any) -> list[m.Message]:
    """The messages of a flow, each before those that it waits for. `headers`: further fields, by task."""
    ids = sorted({task_id for edge in edges for task_id in edge[:2]}, reverse=True)
    return [
        s.job(
            one,
            flow=name,
            after=tuple(edge[0] for edge in edges if edge[1] == one),
            successors=tuple(f"{edge[3]}:{edge[1]}" for edge in edges if edge[0] == one),
            v=m.FLOW_VERSION,
            **headers.get(one, {}),
        )
        for one in ids
    ]


def stored(harness: Harness, law: Law, *edges: str, **headers: Any) -> Backend:
    """A backend with this flow."""
    backend = harness.open()
    law.holds(all(backend.enqueue(flow(*edges, **headers))), "a message of a new flow was not accepted")
    return backend


def waits(backend: Backend, law: Law, task_id: str, count: int, when: str) -> None:
    """A task must wait for so many predecessors; 0 if it must not wait for any."""
    __tracebackhide__ = True
    info = s.info(backend, task_id, law)
    law.same(info.waits_for, count, f"for how many predecessors {task_id} waits {when}")
    if count:
        law.same(info.status, m.TaskStatus.PENDING, f"the status of a dependent task {when}")


def doomed(backend: Backend, law: Law, cause: str, when: str, wanted: str = "b") -> m.Delivery:
    """Claim the only ready task, which must be `wanted` and doomed by `cause`."""
    __tracebackhide__ = True
    delivery = s.take_one(backend, law)
    message = s.readable(delivery, law)
    law.same((message.id, message.doomed), (wanted, cause), f"what could be claimed, and what doomed it, {when}")
    return delivery


def rejoin(backend: Backend, ids: Sequence[str]) -> list[bool]:
    """Let failed tasks rejoin their flow, one after the other."""
    return list(backend.rejoin(list(ids))) if isinstance(backend, HasFlows) else []


def free(backend: Backend, law: Law, wanted: Sequence[str], when: str) -> None:
    """Claim everything that is ready, which must be these tasks, not doomed."""
    __tracebackhide__ = True
    found = [s.readable(one, law) for one in s.take(backend)]
    law.same([(one.id, one.doomed) for one in found], [(one, "") for one in wanted], f"what could be claimed {when}")


class FlowLaws(Contract):
    """L10 and L11."""

    # L10

    @needs(HasFlows)
    def test_l10_a_successor_waits(self, harness: Harness) -> None:
        """It is not ready before its predecessor has ended, and then it is."""
        backend = stored(harness, L10, "ab:f")
        L10.same(backend.depth().dependent, 1, "how many tasks are dependent")
        waits(backend, L10, "b", 1, "before its predecessor has ended")
        s.places(backend, L10, "of a flow of two", ready=1)
        first = s.take_one(backend, L10)
        L10.same(first.message.id, "a", "what could be claimed first")
        s.settled(backend, L10, s.done(first))
        waits(backend, L10, "b", 0, "after its predecessor has ended")
        L10.same(backend.depth().dependent, 0, "how many tasks are dependent after that")
        free(backend, L10, ["b"], "after its predecessor has ended")

    @needs(HasFlows)
    def test_l10_its_message_is_the_same(self, harness: Harness) -> None:
        """A message that was dependent is delivered as it was enqueued."""
        backend = harness.open()
        rich = m.evolve(s.RICH, after=("a", "c"), flow="flow-1")
        backend.enqueue([rich, *(s.job(one, flow="flow-1", successors=("f:rich",)) for one in "ac")])
        shown = s.info(backend, "rich", L10).readable
        s.settled(backend, L10, *map(s.done, s.take_exactly(backend, 2, L10)))
        found = s.readable(s.take_one(backend, L10), L10)
        L10.same(found, shown, "a message that was delivered, and what was shown while it was dependent")
        L10.same(m.evolve(found, enqueued_ms=0), rich, "a message that was dependent")

    @needs(HasFlows)
    def test_l10_all_predecessors_must_end(self, harness: Harness) -> None:
        """Of three, the last one makes it ready, in whatever order they end."""
        backend = stored(harness, L10, "ad:f", "bd:c", "cd:w")
        for left, delivery in zip((2, 1, 0), reversed(s.take_exactly(backend, 3, L10)), strict=True):
            waits(backend, L10, "d", left + 1, "before the next end")
            L10.same(s.ids_of(s.take(backend)), [], "what could be claimed before all predecessors have ended")
            s.settled(backend, L10, s.done(delivery))
            waits(backend, L10, "d", left, "after it")
        free(backend, L10, ["d"], "after all have ended")

    @needs(HasFlows)
    def test_l10_in_layers(self, harness: Harness) -> None:
        """Of a diamond with a tail, each task is ready once those before it have ended."""
        backend = stored(harness, L10, "ab:f", "ac:f", "bd:f", "cd:f", "de:f")
        for wanted in (["a"], ["b", "c"], ["d"], ["e"], []):
            found = s.take(backend)
            L10.same(sorted(s.ids_of(found)), wanted, "what could be claimed next")
            s.settled(backend, L10, *map(s.done, found))
        s.places(backend, L10, "at the end", history=5)

    @needs(HasFlows)
    def test_l10_many_predecessors(self, harness: Harness) -> None:
        """A successor of several hundred names them all with one text."""
        backend, count = harness.open(), 300
        backend.enqueue([s.job("z", flow="flow-1", after=("a", many("z", count)))])
        waits(backend, L10, "z", count + 1, "for many that were not stored yet")
        children = [s.job(f"z.{number}", flow="flow-1", successors=("f:z",)) for number in range(count)]
        backend.enqueue([*children, s.job("a", flow="flow-1", successors=("f:z",))])
        waits(backend, L10, "z", count + 1, "for many")
        found = s.drain(backend, 100)
        L10.same(len(found), count + 1, "how many tasks could be claimed")
        s.settled(backend, L10, *map(s.done, found[:-1]))
        waits(backend, L10, "z", 1, "after all but one have ended")
        s.settled(backend, L10, s.done(found[-1]))
        free(backend, L10, ["z"], "after all have ended")

    @needs(HasFlows)
    def test_l10_in_several_parts(self, harness: Harness) -> None:
        """A flow may be stored message by message, while its first tasks run already."""
        backend = harness.open()
        last, second, first = flow("ac:f", "bc:f")
        backend.enqueue([last])
        backend.enqueue([first])
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        L10.same(s.ids_of(s.take(backend)), [], "what could be claimed before the second predecessor was stored")
        backend.enqueue([second])
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        free(backend, L10, ["c"], "after both have ended")

    @needs(HasFlows)
    def test_l10_as_follow_ups(self, harness: Harness) -> None:
        """A flow that comes with a settlement is kept as any other."""
        backend = harness.open()
        s.settled(backend, L10, s.done(s.claimed(backend, L10, "first"), then=flow("ab:f")))
        waits(backend, L10, "b", 1, "as a follow-up")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        free(backend, L10, ["b"], "after its predecessor has ended")

    @needs(HasFlows)
    def test_l10_a_repeat_changes_nothing(self, harness: Harness) -> None:
        """A flow whose reply was lost is enqueued again, before, while and after it runs."""
        backend = stored(harness, L10, "ac:f", "bc:f")
        L10.same(list(backend.enqueue(flow("ac:f", "bc:f"))), [False] * 3, "what a repeat returned")
        one, two = s.take_exactly(backend, 2, L10)
        s.settled(backend, L10, s.done(one))
        backend.enqueue(flow("ac:f", "bc:f"))
        waits(backend, L10, "c", 1, "after a repeat")
        s.settled(backend, L10, s.done(two))
        backend.enqueue(flow("ac:f", "bc:f"))
        free(backend, L10, ["c"], "after both have ended")
        L10.same(s.ids_of(s.take(backend)), [], "what could be claimed after that")

    @needs(HasFlows)
    def test_l10_a_predecessor_is_stored_again(self, harness: Harness) -> None:
        """One whose id is free again: its successor waits for it again, as for one that is requeued."""
        backend = stored(harness, L10, "ac:f", "bc:f")
        held = {s.readable(one, L10).id: one for one in s.take_exactly(backend, 2, L10)}
        s.settled(backend, L10, s.done(held["a"]))
        backend.delete(["a"])
        L10.same(list(backend.enqueue(flow("ac:f", "bc:f"))), [False, False, True], "what a repeat returned")
        waits(backend, L10, "c", 2, "after one of two predecessors was stored again")
        again = s.take_one(backend, L10)
        s.settled(backend, L10, s.done(again))
        free(backend, L10, [], "when the other predecessor is still running")
        s.settled(backend, L10, s.done(held["b"]))
        free(backend, L10, ["c"], "after both have ended")
        backend.delete(["a"])
        backend.enqueue(flow("ac:f", "bc:f"))
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        free(backend, L10, [], "when a predecessor of a running task has ended again")

    @needs(HasFlows)
    def test_l10_it_starts_once(self, harness: Harness) -> None:
        """Whatever its predecessors do later, it is not made ready again."""
        for policy in "fc":
            backend = s.groups(harness, policy)[0]
            backend.enqueue(flow(f"ac:{policy}", f"bc:{policy}", name=policy))
            s.settled(backend, L10, *map(s.fail, s.take_exactly(backend, 2, L10)))
            held = s.take_one(backend, L10)
            L10.same(held.message.id, "c", "what could be claimed after two failures")
            if policy == "c":
                backend.requeue(["a", "b"])
                s.settled(backend, L10, *map(s.done, s.take_exactly(backend, 2, L10)))
                L10.same(s.ids_of(s.take(backend)), [], "what could be claimed while the successor is in flight")
            s.settled(backend, L10, s.fail(held))
            backend.requeue(["a", "b"])
            s.settled(backend, L10, *map(s.fail, s.take_exactly(backend, 2, L10)))
            backend.delete(["a", "b"])
            s.places(backend, L10, "at the end", failed=1)
            backend.remove_group(policy)

    @needs(HasFlows)
    def test_l10_a_doomed_task_is_requeued(self, harness: Harness) -> None:
        """An operator may run it with what results there are, although predecessors still run."""
        backend = stored(harness, L10, "ac:f", "bc:f")
        one, two = s.take_exactly(backend, 2, L10)
        s.settled(backend, L10, s.fail(one))
        s.settled(backend, L10, s.fail(doomed(backend, L10, one.message.id, "after a failure", "c")))
        L10.same(list(backend.requeue(["c"])), [True], "the requeue of a doomed task")
        held = s.take_one(backend, L10)
        L10.same(s.readable(held, L10).doomed, "", "what dooms a task that was requeued")
        s.settled(backend, L10, s.done(two))
        s.settled(backend, L10, s.done(held))
        s.places(backend, L10, "at the end", failed=1, history=2)

    @needs(HasFlows)
    def test_l10_a_doomed_task_comes_back_doomed(self, harness: Harness) -> None:
        """A release, a deferral and the end of a lease leave it doomed."""
        backend = stored(harness, L10, "ab:f")
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        held = doomed(backend, L10, "a", "at first")
        backend.release("one", [])
        held = doomed(backend, L10, "a", "after a release")
        s.settled(backend, L10, s.defer(held))
        doomed(backend, L10, "a", "after a deferral")
        harness.advance(harness.lease + 1)
        doomed(backend, L10, "a", "after the end of a lease")

    @needs(HasFlows)
    def test_l10_edges_count_in_their_flow_only(self, harness: Harness) -> None:
        """A successor that was deleted and stored again, with new predecessors, does not start with the old ones."""
        backend = stored(harness, L10, "ac:f", "bc:f")
        old = s.take_exactly(backend, 2, L10)
        backend.delete(["c"])
        backend.enqueue(flow("dc:f", "ec:f", name="flow-2"))
        new = s.take_exactly(backend, 2, L10)
        s.settled(backend, L10, s.done(old[0]), s.fail(old[1]))
        waits(backend, L10, "c", 2, "after tasks of another flow have ended")
        s.settled(backend, L10, *map(s.done, new))
        free(backend, L10, ["c"], "after its own predecessors have ended")

    @needs(HasFlows)
    def test_l10_a_plain_task_of_that_id(self, harness: Harness) -> None:
        """A task without a flow that has the id of a deleted successor runs, and nothing happens to it."""
        backend = stored(harness, L10, "ab:f")
        backend.delete(["b"])
        backend.enqueue([s.job("b")])
        one, two = s.take_exactly(backend, 2, L10)
        s.settled(backend, L10, s.fail(one))
        L10.same(s.info(backend, "b", L10).status, m.TaskStatus.STARTED, "the status of a plain task of that id")
        s.settled(backend, L10, s.done(two))

    @needs(HasFlows)
    def test_l10_it_is_shown_and_listed(self, harness: Harness) -> None:
        """A dependent task is PENDING and listed once; `adopt` refuses it."""
        backend = stored(harness, L10, "ab:f")
        for state in (None, m.TaskStatus.PENDING):
            L10.same(sorted(one.id for one in s.all_tasks(backend, state)), ["a", "b"], f"what is listed as {state}")
        L10.same([one.waits_for for one in s.all_tasks(backend) if one.id == "b"], [1], "what the list says")
        with suppress(ConfigurationError):
            L10.same(list(backend.adopt([s.info(backend, "b", L10)])), "an error", "what adopt does with it")

    @needs(HasFlows)
    def test_l10_a_wait_for_its_record_goes_on(self, harness: Harness) -> None:
        """Who waits for the record of a dependent task, or watches it, gets its end."""
        backend = stored(harness, L10, "ab:f")
        call = s.waiting(L10, lambda: backend.wait(["b"], None))
        for _ in range(2):
            s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        found = call.result(self.patience, L10, "the wait for a dependent task does not end")
        L10.same(s.values(found), [s.EVERY_BYTE], "what the wait returned")

    @needs(HasFlows)
    def test_l10_a_claim_that_waits_is_woken(self, harness: Harness) -> None:
        """A claim that waits gets a successor in the moment in which it becomes ready."""
        backend = stored(harness, L10, "ab:f")
        first = s.take_one(backend, L10)
        call = s.waiting(L10, lambda: harness.open().claim("two", 1, s.MINUTE))
        s.settled(backend, L10, s.done(first))
        found = call.result(self.patience, L10, "a claim that waits is not woken by a successor")
        L10.same(s.ids_of(found or s.patiently(backend)), ["b"], "what the claim returned")

    @needs(HasFlows)
    def test_l10_delayed(self, harness: Harness) -> None:
        """A delay counts from the time at which the task was enqueued; a doomed task is ready at once."""
        backend = stored(harness, L10, "ab:f", "ac:f", b={"delay_ms": 5_000}, c={"delay_ms": 90_000})
        first = s.take_one(backend, L10)
        harness.advance(1_000)
        L10.same(s.ids_of(s.take(backend)), [], "what could be claimed before")
        s.settled(backend, L10, s.done(first))
        s.places(backend, L10, "once the predecessor has ended", delayed=2, history=1)
        harness.advance(4_500)
        free(backend, L10, ["b"], "after its delay")

    @needs(HasFlows)
    def test_l10_a_doomed_task_is_not_delayed(self, harness: Harness) -> None:
        """It fails now, not when it would have been due."""
        backend = stored(harness, L10, "ab:f", b={"delay_ms": 90_000})
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        doomed(backend, L10, "a", "although it was delayed")

    @needs(HasFlows)
    def test_l10_it_keeps_its_class(self, harness: Harness) -> None:
        """A successor is claimed by its priority, as one that came back."""
        backend = stored(harness, L10, "ab:f", "ac:f", c={"priority": 60})
        backend.enqueue([s.job("plain")])
        first, plain = s.take_exactly(backend, 2, L10)
        backend.enqueue([s.job("new")])
        s.settled(backend, L10, *(s.done(one) for one in (first, plain)))
        free(harness.open(), L10, ["c", "b", "new"], "by priority")

    @needs(HasFlows)
    def test_l10_limits(self, harness: Harness) -> None:
        """A dependent task holds no token; it asks for one when it becomes ready."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated("x", "api/k"), *flow("ab:f", b={"gates": ("api/k",)})])
        L10.same(s.tokens(limits), {"api/k": (1, 0)}, "tokens while a task is dependent")
        one, two = s.take_exactly(backend, 2, L10)
        s.settled(backend, L10, s.done(two if two.message.id == "a" else one))
        L10.same(s.tokens(limits), {"api/k": (1, 1)}, "tokens when it has to wait")
        s.settled(backend, L10, s.done(one if two.message.id == "a" else two))
        free(backend, L10, ["b"], "with its token")
        L10.same(s.tokens(limits), {"api/k": (1, 0)}, "tokens while it runs")

    @needs(HasFlows)
    def test_l10_a_doomed_task_needs_no_token(self, harness: Harness) -> None:
        """It does not run, so a limit without room does not keep it, nor a rate. Requeued, it asks."""
        backend = harness.open()
        limits, rates = s.limited(backend, api=0), s.paced(backend, calls=Pace(0, 1_000_000))
        if limits is None:
            return
        for gate in ("api/k", *([f"{PREFIX}calls/k"] if rates is not None else [])):
            backend.enqueue(flow("ab:f", name=f"flow-{len(gate)}", b={"gates": (gate,)}))
            s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
            doomed(backend, L10, "a", "although its limit has no room")
            backend.release("one", [])
            delivery = doomed(backend, L10, "a", "when it has come back")
            if delivery.must_begin and isinstance(backend, Beginning):
                L10.same(
                    list(backend.begin([delivery.receipt])), [m.StartStatus.RUN], "whether a doomed task may begin"
                )
            L10.same(s.tokens(limits), {}, "tokens while it is held")
            s.settled(backend, L10, s.defer(delivery, 1_000))
            harness.advance(1_001)
            delivery = doomed(backend, L10, "a", "when it was deferred for a while")
            L10.same(s.tokens(limits), {}, "tokens after that")
            s.settled(backend, L10, s.fail(delivery))
            backend.requeue(["b"])
            L10.same(s.info(backend, "b", L10).gate, gate, "where it waits once it is requeued")
            backend.delete(["a", "b"])

    @needs(HasFlows)
    def test_l10_a_predecessor_may_have_the_same_limit(self, harness: Harness) -> None:
        """A successor gets the token that its predecessor gives back in the same step."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        gates: dict[str, object] = {"gates": ("api/k",)}
        backend.enqueue(flow("ab:f", a=gates, b=gates))
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        L10.same(s.tokens(limits), {}, "tokens at the end")

    @needs(HasFlows)
    def test_l10_paused(self, harness: Harness) -> None:
        """In a paused group a successor becomes ready, and is not handed out."""
        backend: Any = stored(harness, L10, "ab:f")
        first = s.take_one(backend, L10)
        if not hasattr(backend, "pause"):
            return
        backend.pause()
        s.settled(backend, L10, s.done(first))
        L10.same(s.ids_of(s.take(backend)), [], "what could be claimed in a pause")
        s.places(backend, L10, "in a pause", ready=1, history=1)
        backend.resume()
        free(backend, L10, ["b"], "after a pause")

    @needs(HasFlows)
    def test_l10_groups_are_separate(self, harness: Harness) -> None:
        """Each group has its own copy of a flow."""
        one, other = s.groups(harness, "one", "other")
        one.enqueue(flow("ab:f"))
        s.settled(one, L10, s.done(s.take_one(one, L10)))
        free(one, L10, ["b"], "in the group in which it has ended")
        waits(other, L10, "b", 1, "in the other group")
        s.settled(other, L10, s.fail(s.take_one(other, L10)))
        doomed(other, L10, "a", "in the other group")

    @needs(HasFlows)
    def test_l10_a_flow_that_was_not_stored_as_a_whole(self, harness: Harness) -> None:
        """A successor whose predecessors were not all stored fails an hour after the last one, and says why."""
        backend = harness.open()
        last, _, first = flow("ac:f", "bc:f")
        backend.enqueue([last])
        harness.advance(UNFINISHED_MS - 10_000)
        backend.maintain(256)
        backend.enqueue([first])
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        harness.advance(20_000)
        L10.same(s.ids_of(s.take(backend)), [], "what could be claimed less than an hour after the last one was stored")
        L10.holds(0 <= backend.maintain(256) <= UNFINISHED_MS, "`maintain` does not say when it is given up")
        harness.advance(UNFINISHED_MS)
        doomed(backend, L10, unfinished(1, 2), "an hour after that", "c")

    @needs(HasFlows)
    def test_l10_a_flow_that_is_stored_as_a_whole_waits(self, harness: Harness) -> None:
        """It waits for its predecessors as long as they take."""
        backend = stored(harness, L10, "ab:f", a={"delay_ms": 3 * UNFINISHED_MS})
        harness.advance(2 * UNFINISHED_MS)
        L10.same(s.ids_of(s.take(backend)), [], "what could be claimed after two hours")
        waits(backend, L10, "b", 1, "after two hours")
        harness.advance(2 * UNFINISHED_MS)
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        free(backend, L10, ["b"], "after its predecessor has ended")

    # rejoin

    @needs(HasFlows)
    def test_l10_a_flow_goes_on_after_a_failure(self, harness: Harness) -> None:
        """Of a chain, the failed task and those that it has doomed rejoin the flow, and run one after the other."""
        backend = stored(harness, L10, "ab:f", "bc:f", "cd:f")
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        for cause, wanted in zip("abc", "bcd", strict=True):
            s.settled(backend, L10, s.fail(doomed(backend, L10, cause, "before the retry", wanted)))
        L10.same(rejoin(backend, "abcd"), [True] * 4, "what rejoin returned")
        for left, wanted in ("bcd", "a"), ("cd", "b"), ("d", "c"), ("", "d"):
            for task_id in left:
                waits(backend, L10, task_id, 1, "after it has rejoined its flow")
                L10.same(list(backend.wait([task_id], 0)), [None], f"the record of {task_id}")
            held = s.take_one(backend, L10)
            found = s.readable(held, L10)
            L10.same((found.id, found.doomed, found.attempt), (wanted, "", 1), "what could be claimed")
            s.settled(backend, L10, s.done(held))
        s.places(backend, L10, "at the end", history=4)

    @needs(HasFlows)
    def test_l10_it_does_not_rejoin_while_it_is_doomed(self, harness: Harness) -> None:
        """Two predecessors have failed: both must have been retried."""
        backend = stored(harness, L10, "ac:f", "bc:f")
        s.settled(backend, L10, *map(s.fail, s.take_exactly(backend, 2, L10)))
        held = s.take_one(backend, L10)
        s.settled(backend, L10, s.fail(held))
        L10.same(rejoin(backend, "cacb"), [False, True, False, True], "what rejoin returned")
        L10.same(rejoin(backend, "c"), [True], "rejoin after both were retried")
        waits(backend, L10, "c", 2, "after it has rejoined its flow")
        one, two = s.take_exactly(backend, 2, L10)
        s.settled(backend, L10, s.done(one), s.fail(two))
        held = doomed(backend, L10, two.message.id, "after another failure", "c")
        s.settled(backend, L10, s.fail(held))
        backend.delete([two.message.id])
        L10.same(rejoin(backend, "c"), [False], "rejoin after what dooms it was deleted")
        L10.same(list(backend.requeue(["c"])), [True], "the requeue of a doomed task")

    @needs(HasFlows)
    def test_l10_it_rejoins_behind_what_still_runs(self, harness: Harness) -> None:
        """It waits for all that have not ended, whether they were retried or not, and starts once."""
        backend = stored(harness, L10, "ad:f", "bd:f", "cd:f")
        held = {one.message.id: one for one in s.take_exactly(backend, 3, L10)}
        s.settled(backend, L10, s.fail(held["a"]))
        s.settled(backend, L10, s.fail(doomed(backend, L10, "a", "after a failure", "d")))
        s.settled(backend, L10, s.done(held["b"]))
        L10.same(rejoin(backend, "ad"), [True, True], "what rejoin returned")
        waits(backend, L10, "d", 2, "after it has rejoined its flow")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        L10.same(s.ids_of(s.take(backend)), [], "what could be claimed while the third task runs")
        s.settled(backend, L10, s.done(held["c"]))
        free(backend, L10, ["d"], "after all have ended")

    @needs(HasFlows)
    def test_l10_a_failed_task_rejoins_behind_one_that_is_retried(self, harness: Harness) -> None:
        """A task that ran after a failure, and failed itself, waits for the retry of the first."""
        backend = stored(harness, L10, "ab:c")
        for task_id in "ab":
            held = s.take_one(backend, L10)
            L10.same(held.message.id, task_id, "what could be claimed")
            s.settled(backend, L10, s.fail(held))
        L10.same(rejoin(backend, "ab"), [True, True], "what rejoin returned")
        waits(backend, L10, "b", 1, "after it has rejoined its flow")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        free(backend, L10, ["b"], "after the retry")

    @needs(HasFlows)
    def test_l10_it_rejoins_when_all_have_ended(self, harness: Harness) -> None:
        """It is ready at once. What has not failed, and what is not known, does not rejoin anything."""
        backend = stored(harness, L10, "ab:f", "ac:f")
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        both = s.take_exactly(backend, 2, L10)
        L10.same(rejoin(backend, "bc"), [False, False], "rejoin of tasks in flight")
        s.settled(backend, L10, *map(s.fail, both))
        L10.same(rejoin(backend, "a"), [True], "rejoin of the first task")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        L10.same(rejoin(backend, "ab") + rejoin(backend, "bx"), [False, True, False, False], "more of it")
        free(backend, L10, ["b"], "after the first task has succeeded")

    @needs(HasFlows)
    def test_l10_what_is_about_to_fail_rejoins(self, harness: Harness) -> None:
        """A doomed task in flight, or ready, does not fail if that which dooms it is retried before."""
        backend = stored(harness, L10, "ab:f", "ac:f")
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        one, two = s.take_exactly(backend, 2, L10)
        L10.same(rejoin(backend, "a"), [True], "rejoin of the failed task")
        s.settled(backend, L10, s.fail(one))
        waits(backend, L10, one.message.id, 1, "after its holder has let it fail")
        L10.same(list(backend.wait([one.message.id], 0)), [None], "its record")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        s.settled(backend, L10, s.fail(two))
        free(backend, L10, sorted([one.message.id, two.message.id]), "after the retry")

    @needs(HasFlows)
    def test_l10_what_is_cancelled_does_not_rejoin(self, harness: Harness) -> None:
        """The settlement of a doomed task counts if it was cancelled."""
        backend = stored(harness, L10, "ab:f")
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        held = s.take_one(backend, L10)
        backend.cancel(["b"])
        rejoin(backend, "a")
        s.settled(backend, L10, s.fail(held))
        L10.same(s.info(backend, "b", L10).status, m.TaskStatus.FAILURE, "the status of a doomed, cancelled task")

    @needs(HasFlows)
    def test_l10_an_unfinished_flow_cannot_be_rejoined(self, harness: Harness) -> None:
        """Nobody stores what is missing."""
        backend = harness.open()
        backend.enqueue(flow("ab:f")[:1])
        harness.advance(UNFINISHED_MS + 1)
        s.settled(backend, L10, s.fail(doomed(backend, L10, unfinished(0, 1), "an hour later")))
        L10.same(rejoin(backend, "b"), [False], "rejoin of a task of which no predecessor was stored")

    @needs(HasFlows)
    def test_l10_it_rejoins_with_its_tokens(self, harness: Harness) -> None:
        """It gives back its tokens while it waits, and asks for them again."""
        backend = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue(flow("ab:f", b={"gates": ("api/k",)}))
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        held = s.take_one(backend, L10)
        rejoin(backend, "a")
        s.settled(backend, L10, s.fail(held))
        L10.same(s.tokens(limits), {}, "tokens while it waits again")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        L10.same(rejoin(backend, "b"), [True], "rejoin of the second task")
        L10.same(s.tokens(limits), {"api/k": (1, 0)}, "tokens when it is ready again")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)))
        backend.enqueue(flow("cd:f", d={"gates": ("api/k",)}, name="flow-2"))
        s.settled(backend, L10, s.fail(s.take_one(backend, L10)))
        held = s.take_one(backend, L10)
        rejoin(backend, "c")
        s.settled(backend, L10, s.done(s.take_one(backend, L10)), s.fail(held))
        L10.same(s.tokens(limits), {"api/k": (1, 0)}, "tokens of one that rejoins with its settlement, and is ready")

    # L11

    @needs(HasFlows)
    def test_l11_bad_ends_doom(self, harness: Harness) -> None:
        """After a failure or a cancellation, the successor is doomed, unless the edge says that it continues."""
        for number, (what, end) in enumerate(BAD_ENDS.items()):
            backend = s.groups(harness, f"g{number}")[0]
            backend.enqueue(flow(f"{number}b:f", f"{number}c:c", name=f"flow-{number}"))
            s.settled(backend, L11, end(s.take_one(backend, L11)))
            found = {one.message.id: s.readable(one, L11).doomed for one in s.take(backend)}
            L11.same(found, {"b": str(number), "c": ""}, f"what could be claimed, and what doomed it, after {what}")
            backend.remove_group(f"g{number}")

    @needs(HasFlows)
    def test_l11_the_first_doom_counts(self, harness: Harness) -> None:
        """A successor is ready as soon as one of its predecessors has failed, whatever becomes of the others."""
        backend = stored(harness, L11, "ac:f", "bc:f")
        one, two = s.take_exactly(backend, 2, L11)
        s.settled(backend, L11, s.fail(two))
        s.settled(backend, L11, s.fail(one))
        doomed(backend, L11, two.message.id, "after two failures", "c")

    @needs(HasFlows)
    def test_l11_one_step_at_a_time(self, harness: Harness) -> None:
        """A doomed task fires its edges when it ends, not before."""
        backend = stored(harness, L11, "ab:f", "bc:f", "cd:c")
        s.settled(backend, L11, s.fail(s.take_one(backend, L11)))
        for cause, wanted in zip("ab", "bc", strict=True):
            s.settled(backend, L11, s.fail(doomed(backend, L11, cause, "one after the other", wanted)))
        free(backend, L11, ["d"], "after the edge that continues")

    @needs(HasFlows)
    def test_l11_cancelled_while_it_waits(self, harness: Harness) -> None:
        """The cancellation of a ready, a delayed, and a dependent task dooms its successors."""
        backend = stored(harness, L11, "ab:f", "bc:f", "de:f", d={"delay_ms": 9_000})
        for task_id, successor, what in (("d", "e", "delayed"), ("b", "c", "dependent"), ("a", "", "ready")):
            L11.same(list(backend.cancel([task_id])), [True], f"the cancellation of a {what} task")
            found = {one.message.id: s.readable(one, L11).doomed for one in s.take(backend) if one.message.id != "a"}
            L11.same(
                found,
                {successor: task_id} if successor else {},
                f"what could be claimed, and what doomed it, after the cancellation of a {what} task",
            )
            backend.release("one", [])
            backend.cancel(list(found))

    @needs(HasFlows)
    def test_l11_cancelled_when_it_comes_back(self, harness: Harness) -> None:
        """A cancelled task that is retried, deferred, released or reclaimed ends, and dooms its successors."""
        ways: dict[str, Callable[[Backend, m.Delivery], object]] = {
            "retry": lambda backend, delivery: backend.settle([s.retry(delivery)]),
            "deferral": lambda backend, delivery: backend.settle([s.defer(delivery, 100)]),
            "release": lambda backend, _: backend.release("one", []),
            "lease": lambda _backend, _: harness.advance(harness.lease + 1),
        }
        for what, way in ways.items():
            backend = s.groups(harness, what)[0]
            backend.enqueue(flow("ab:f", name=what))
            delivery = s.take_one(backend, L11)
            backend.cancel(["a"])
            way(backend, delivery)
            doomed(backend, L11, "a", f"after a cancelled task ended by a {what}")
            backend.remove_group(what)

    @needs(HasFlows)
    def test_l11_deleted(self, harness: Harness) -> None:
        """The deletion of a waiting task dooms its successors; that of an ended one fires nothing more."""
        backend = stored(harness, L11, "ac:f", "bc:c")
        first, second = s.take_exactly(backend, 2, L11)
        s.settled(backend, L11, s.done(first))
        backend.delete([first.message.id])
        waits(backend, L11, "c", 1, "after a task was deleted that had ended")
        s.settled(backend, L11, s.done(second))
        free(backend, L11, ["c"], "after both have ended")
        backend.enqueue(flow("gh:f", "gi:c", "gj:w", name="flow-2"))
        L11.same(list(backend.delete(["g"])), [True], "the deletion of a ready task")
        found = {one.message.id: s.readable(one, L11).doomed for one in s.take(backend)}
        L11.same(found, {"h": "g", "i": "", "j": "g"}, "what could be claimed, and what doomed it, after a deletion")

    @needs(HasFlows)
    def test_l11_a_dependent_task_is_deleted(self, harness: Harness) -> None:
        """Its successors are doomed, and its predecessors run all the same."""
        backend = stored(harness, L11, "ab:f", "bc:f")
        L11.same(list(backend.delete(["b"])), [True], "the deletion of a dependent task")
        found = {one.message.id: one for one in s.take(backend)}
        L11.same(sorted(found), ["a", "c"], "what could be claimed after that")
        L11.same(s.readable(found["c"], L11).doomed, "b", "what dooms the successor of a deleted task")
        s.settled(backend, L11, s.done(found["a"]))
        L11.same(list(backend.show(["b"])), [None], "what is shown of the deleted task")

    @needs(HasFlows)
    def test_l11_expired(self, harness: Harness) -> None:
        """A task that expires dooms its successors, also one that expires while it is dependent."""
        backend = stored(harness, L11, "ab:f", "cd:f", "de:c", a={"lifetime_ms": 5_000}, d={"lifetime_ms": 7_000})
        if not isinstance(backend, Beginning):
            return
        held = {one.message.id: one for one in s.take_exactly(backend, 2, L11)}
        s.settled(backend, L11, s.retry(held["a"]))
        harness.advance(8_000)
        found = {one.message.id: s.readable(one, L11).doomed for one in s.take(backend)}
        L11.same(found, {"b": "a", "e": ""}, "what could be claimed, and what doomed it, after two tasks have expired")
        L11.same(s.info(backend, "d", L11).status, m.TaskStatus.CANCELLED, "how a dependent task ended that expired")

    @needs(HasFlows)
    def test_l11_a_task_and_its_successor_end_together(self, harness: Harness) -> None:
        """In one call, whichever comes first: no token and no place in a fair line is left of them."""
        backend = harness.open()
        limits = s.limited(backend, number=1)
        waits_in_line = {"gates": ("number/",), "share": 1_000, "tenant": "t", "lifetime_ms": 5_000}
        asks_before_start: bool = isinstance(backend, Beginning)
        for order in ("ab", "ba"):
            for end in ("cancel", "delete", "expire"):
                name = f"{order}-{end}"
                backend.enqueue(flow("ab:c", name=name, a=waits_in_line, b=waits_in_line))
                if end == "expire":
                    harness.advance(6_000)
                    if not asks_before_start:
                        backend.delete(["b", "a"])
                else:
                    L11.same(list(getattr(backend, end)(list(order))), [True, True], f"{end} of {order}")
                L11.same(s.ids_of(s.take(backend)), [], f"what could be claimed after {name}")
                L11.same(waiting(backend) or {}, {}, f"the tenants in fair lines after {name}")
                if limits is not None:
                    L11.same(s.tokens(limits), {}, f"the tokens that are out after {name}")
                backend.delete(["b", "a"])

    @needs(HasFlows)
    def test_l11_a_retry_that_comes_too_late(self, harness: Harness) -> None:
        """A retry after the expiry is a failure, and fires as one."""
        backend = stored(harness, L11, "ab:f", "ac:w", a={"lifetime_ms": 5_000})
        if not isinstance(backend, Beginning):
            return
        s.settled(backend, L11, s.retry(s.take_one(backend, L11), 60_000))
        doomed(backend, L11, "a", "after a retry that comes too late")
        waits(backend, L11, "c", 1, "for a failed task that may be retried")

    @needs(HasFlows)
    def test_l11_what_is_no_end(self, harness: Harness) -> None:
        """A retry, a deferral, a release, the end of a lease and a refused settlement fire nothing."""
        backend = stored(harness, L11, "ab:c")
        s.settled(backend, L11, s.retry(s.take_one(backend, L11)))
        s.settled(backend, L11, s.defer(s.take_one(backend, L11)))
        held = s.take_one(backend, L11)
        backend.release("one", [held.receipt])
        lost = s.take_one(backend, L11)
        harness.advance(harness.lease + 1)
        held = s.take_one(backend, L11, "two")
        L11.same(list(backend.settle([s.done(lost)])), [False], "a settlement after the lease")
        backend.cancel(["a"])
        waits(backend, L11, "b", 1, "although its predecessor has not ended")
        s.settled(backend, L11, s.done(held))
        L11.same(list(backend.settle([s.done(held)])), [False], "a settlement that is repeated")
        free(backend, L11, ["b"], "after the end")

    @needs(HasFlows)
    def test_l11_each_edge_fires_once(self, harness: Harness) -> None:
        """Tasks that are requeued and end again, several times, do not stand for those that have not ended."""
        backend = stored(harness, L11, "ac:c", "bc:c")
        one, two = s.take_exactly(backend, 2, L11)
        s.settled(backend, L11, s.fail(one))
        for end in (s.done, s.fail, s.done):
            backend.requeue([one.message.id])
            waits(backend, L11, "c", 2, "while a task that had ended runs again")
            s.settled(backend, L11, end(s.take_one(backend, L11)))
            waits(backend, L11, "c", 1, "after it has ended again")
        backend.delete([one.message.id])
        waits(backend, L11, "c", 1, "after the other task has ended four times")
        s.settled(backend, L11, s.fail(two))
        free(backend, L11, ["c"], "after both have ended")

    @needs(HasFlows)
    def test_l11_wait_for_a_failed_task(self, harness: Harness) -> None:
        """An edge that waits fires when the failed task has succeeded, or is deleted."""
        backend = stored(harness, L11, "ab:w", "cd:w")
        s.settled(backend, L11, *map(s.fail, s.take_exactly(backend, 2, L11)))
        L11.same(s.ids_of(s.take(backend)), [], "what could be claimed while failed tasks may be retried")
        backend.requeue(["a"])
        waits(backend, L11, "b", 1, "while the failed task runs again")
        s.settled(backend, L11, s.fail(s.take_one(backend, L11)))
        backend.requeue(["a"])
        s.settled(backend, L11, s.done(s.take_one(backend, L11)))
        free(backend, L11, ["b"], "after the failed task has succeeded")
        L11.same(list(backend.delete(["c"])), [True], "the deletion of a failed task")
        doomed(backend, L11, "c", "after its deletion", "d")

    @needs(HasFlows)
    def test_l11_several_policies_of_one_task(self, harness: Harness) -> None:
        """A failure fires two kinds of edges at once, the third kind when the task ends otherwise."""
        backend = stored(harness, L11, "ab:f", "ac:c", "ad:w")
        s.settled(backend, L11, s.fail(s.take_one(backend, L11)))
        found = {one.message.id: s.readable(one, L11).doomed for one in s.take(backend)}
        L11.same(found, {"b": "a", "c": ""}, "what could be claimed, and what doomed it, after a failure")
        backend.requeue(["a"])
        s.settled(backend, L11, s.decided(s.take_one(backend, L11), m.Cancelled()))
        doomed(backend, L11, "a", "after the failed task was cancelled", "d")

    @needs(HasFlows)
    def test_l11_the_history_and_records_end(self, harness: Harness) -> None:
        """A successor does not depend on what is kept of a predecessor that has ended."""
        backend = harness.open(history=1)
        backend.enqueue(flow("ac:f", "bc:f", b={"delay_ms": 3 * s.DAY}))
        s.settled(backend, L11, s.done(s.take_one(backend, L11)))
        for number in range(3):
            s.settled(backend, L11, s.done(s.claimed(backend, L11, f"x{number}")))
        harness.advance(2 * s.DAY)
        backend.maintain(256)
        waits(backend, L11, "c", 1, "once the record of a predecessor is gone")
        harness.advance(2 * s.DAY)
        s.settled(backend, L11, s.done(s.take_one(backend, L11)))
        free(backend, L11, ["c"], "after both have ended")

    @needs(HasFlows)
    def test_l11_nothing_is_left(self, harness: Harness) -> None:
        """After many flows have ended, the storage is as large as after few (B13)."""
        backend = harness.open(history=5)
        sizes = []
        for many_of in (5, 60):
            for number in range(many_of):
                a, b, c, d = (f"{many_of}-{number}-{one}" for one in "abcd")
                edges = {a: (f"f:{b}", f"c:{c}"), b: (f"f:{d}",), c: (f"f:{d}",), d: ()}
                after = {a: (), b: (a,), c: (a,), d: (b, c)}
                backend.enqueue([
                    s.job(one, flow=f"{many_of}-{number}", after=after[one], successors=edges[one])
                    for one in (d, c, b, a)
                ])  # fmt: skip
                while found := s.take(backend):
                    bad = number % 3 == 0
                    s.settled(backend, L11, *(s.fail(one) if bad else s.done(one) for one in found))
                backend.delete([a, b, c, d])
            harness.advance(2 * s.DAY)
            for _ in range(4):
                backend.maintain(256)
            s.take(backend)
            sizes.append(harness.footprint())
        L11.holds(sizes[1] <= sizes[0] + self.footprint_slack, f"after few flows and after many: {sizes}")

    @needs(HasFlows)
    def test_l11_many_end_at_once(self, harness: Harness) -> None:
        """Several handles settle the predecessors of one task at the same time; it starts once."""
        backend, count = harness.open(), 40
        backend.enqueue([s.job("z", flow="flow-1", after=(many("z", count),))])
        backend.enqueue([s.job(f"z.{number}", flow="flow-1", successors=("f:z",)) for number in range(count)])
        held = s.take_exactly(backend, count, L11)
        handles = [harness.open() for _ in range(3)]
        s.once_each(L11, self.patience, handles, lambda store, one: store.settle([s.done(one)])[0], held)
        free(backend, L11, ["z"], "after all have ended at the same time")
        L11.same(s.ids_of(s.take(backend)), [], "what could be claimed after that")
