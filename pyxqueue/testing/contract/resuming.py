"""Steps: L14 what a task has done stays, and it waits in between. A backend without `HasSteps` passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ...errors import ConfigurationError
from ...model.locks import LockKind, LockTerms, Placement, lock_text
from ...model.steps import MAX_EVENTS, EventStatus
from ...protocols import Beginning, HasFlows, HasLocks, HasSteps
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

L14 = law("L14")
NAMES = ["charge", "größe \u2028 ü", "", "a b", " a b ", "Charge"]
"""Names of steps that a store must not take for one another, or for something else."""


def suspended(backend: Backend, delivery: m.Delivery, then: Sequence[m.Message] = (), **wait: Any) -> Backend:
    """Suspend a task, which must be accepted, and return the backend."""
    __tracebackhide__ = True
    s.settled(backend, L14, m.Settlement(delivery.receipt, m.Suspend(**wait), then=then))
    return backend


def kept(backend: Any, task_id: str = "a") -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The steps and events of a task."""
    found = backend.load_steps(task_id)
    return dict(found.steps), dict(found.events)


def now(backend: Any) -> int:
    """The time of the store's clock."""
    time: int = backend.load_steps("nobody").now_ms
    return time


def children(*ids: str, of: str = "a", flow: str = "children", policy: str = "c", **header: Any) -> list[m.Message]:
    return [s.job(one, flow=flow, successors=(f"{policy}:{of}",), v=m.FLOW_VERSION, **header) for one in ids]


def shown_due(backend: Backend) -> int:
    """When the task is due, as it is shown."""
    __tracebackhide__ = True
    return L14.there(s.info(backend, "a", L14).readable, "the message of a suspended task is gone").due_ms


def waits(backend: Backend, when: str, *, task_id: str = "a", event: str = "", waits_for: int = 0) -> None:
    """A task must be suspended, and cannot be claimed."""
    __tracebackhide__ = True
    L14.same(s.ids_of(s.take(backend)), [], f"what could be claimed {when}")
    info = s.info(backend, task_id, L14)
    seen = info.suspended, info.event, info.waits_for, info.status
    L14.same(seen, (True, event, waits_for, m.TaskStatus.PENDING), f"what is shown of a suspended task {when}")


def resumed(backend: Backend, when: str, task_id: str = "a") -> m.Delivery:
    """Claim the only ready task, which must be this one."""
    __tracebackhide__ = True
    delivery = s.take_one(backend, L14)
    L14.same(delivery.message.id, task_id, f"what could be claimed {when}")
    return delivery


class ResumingLaws(Contract):
    """L14."""

    # What is saved

    @needs(HasSteps)
    def test_l14_steps_can_be_loaded(self, harness: Harness) -> None:
        """Each step has its value, byte for byte, and a name that is saved again the last one."""
        backend: Any = harness.open()
        L14.same(kept(backend), ({}, {}), "what is kept of a task that is not known")
        held = s.claimed(backend, L14)
        values = {name: s.EVERY_BYTE + name.encode() for name in NAMES}
        L14.same(backend.save_steps(held.receipt, {NAMES[0]: b"old"}), m.LeaseStatus.HELD, "what save_steps returned")
        L14.same(backend.save_steps(held.receipt, values), m.LeaseStatus.HELD, "what save_steps returned")
        L14.same(kept(harness.open()), (values, {}), "what is kept of a task")
        L14.same(kept(backend, "A"), ({}, {}), "what is kept of another task")

    @needs(HasSteps)
    def test_l14_many_and_large_steps(self, harness: Harness) -> None:
        """As many as the limits allow, and an empty value."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        values = {f"step {number}": bytes([number]) * 4_000 for number in range(255)} | {"last": b""}
        for start in range(0, 255, 60):
            backend.save_steps(held.receipt, dict(list(values.items())[start : start + 60]))
        backend.save_steps(held.receipt, {"last": b"", "large": b"x" * 65_536})
        L14.same(kept(backend), ({**values, "large": b"x" * 65_536}, {}), "what is kept of many steps")

    @needs(HasSteps)
    def test_l14_only_the_holder_saves(self, harness: Harness) -> None:
        """A receipt that is not current saves nothing, whatever happened to it."""
        backend: Any = harness.open()
        old, held = s.stale(backend, harness, L14, "two")
        L14.same(backend.save_steps(old.receipt, {"x": b"1"}), m.LeaseStatus.LOST, "save_steps after the lease")
        backend.save_steps(held.receipt, {"y": b"2"})
        suspended(backend, held, due_ms=now(backend) + 5_000)
        L14.same(backend.save_steps(held.receipt, {"x": b"1"}), m.LeaseStatus.LOST, "save_steps of a suspended task")
        L14.same(kept(backend), ({"y": b"2"}, {}), "what is kept")
        harness.advance(6_000)
        held = resumed(backend, "after its time")
        s.settled(backend, L14, s.done(held))
        L14.same(backend.save_steps(held.receipt, {"x": b"1"}), m.LeaseStatus.LOST, "save_steps after the end")
        L14.same(backend.save_steps("nonsense", {"x": b"1"}), m.LeaseStatus.LOST, "save_steps without a receipt")
        L14.same(kept(backend), ({}, {}), "what is kept after the end")

    @needs(HasSteps)
    def test_l14_it_tells_of_a_cancellation(self, harness: Harness) -> None:
        """And saves all the same."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        for wanted in (m.LeaseStatus.CANCEL, m.LeaseStatus.CANCEL_AGAIN):
            backend.cancel(["a"])
            L14.same(backend.save_steps(held.receipt, {wanted.value: b"1"}), wanted, "what save_steps returned")
        L14.same(kept(backend), ({"cancel": b"1", "cancel again": b"1"}, {}), "what is kept")

    @needs(HasSteps)
    def test_l14_saving_does_not_extend(self, harness: Harness) -> None:
        """The lease ends when it would have ended."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        harness.advance(harness.lease - 1_000)
        backend.save_steps(held.receipt, {"x": b"1"})
        harness.advance(1_500)
        L14.same(s.ids_of(s.take(backend)), ["a"], "what could be claimed after the lease")

    @needs(HasSteps)
    def test_l14_steps_survive_what_is_no_end(self, harness: Harness) -> None:
        """A retry, a deferral, a release, the end of a lease, a suspension, a failure and a requeue keep all."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        backend.save_steps(held.receipt, {"x": b"1"})
        backend.send_event("a", "e", b"2")
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "a retry": lambda one: backend.settle([s.retry(one)]),
            "a deferral": lambda one: backend.settle([s.defer(one)]),
            "a release": lambda one: backend.release("one", [one.receipt]),
            "the end of a lease": lambda _: harness.advance(harness.lease + 1),
            "a suspension": lambda one: suspended(backend, one),
            "a failure and a requeue": lambda one: (backend.settle([s.fail(one)]), backend.requeue(["a"])),
        }
        for what, way in ways.items():
            way(held)
            L14.same(kept(backend), ({"x": b"1"}, {"e": b"2"}), f"what is kept after {what}")
            held = resumed(backend, f"after {what}")
        L14.same(kept(backend), ({"x": b"1"}, {"e": b"2"}), "what is kept while it runs")

    @needs(HasSteps)
    def test_l14_ends_delete_them(self, harness: Harness) -> None:
        """Done, Cancelled, a cancellation, an expiry and a deletion leave nothing, and no later task of the id has
        any."""
        backend: Any = harness.open()
        ends: dict[str, Callable[[m.Delivery], object]] = {
            "Done": lambda one: backend.settle([s.done(one)]),
            "Cancelled": lambda one: backend.settle([s.decided(one, m.Cancelled())]),
            "a failure and a deletion": lambda one: (backend.settle([s.fail(one)]), backend.delete(["a"])),
            "a retry and a cancellation": lambda one: (backend.settle([s.retry(one)]), backend.cancel(["a"])),
            "a cancellation and a release": lambda _: (backend.cancel(["a"]), backend.release("one", [])),
            "a suspension and a cancellation": lambda one: suspended(backend, one, event="x").cancel(["a"]),
            "a suspension and a deletion": lambda one: suspended(backend, one, event="x").delete(["a"]),
            "a retry and a deletion": lambda one: (backend.settle([s.retry(one)]), backend.delete(["a"])),
        }
        for what, end in ends.items():
            held = s.claimed(backend, L14)
            L14.same(kept(backend), ({}, {}), "what is kept of a new task")
            backend.save_steps(held.receipt, {"x": b"1"})
            backend.send_event("a", "e", b"2")
            end(held)
            L14.same(kept(backend), ({}, {}), f"what is kept after {what}")
            backend.delete(["a"])

    @needs(Beginning)
    @needs(HasSteps)
    def test_l14_an_expiry_deletes_them(self, harness: Harness) -> None:
        """A task that is retried and expires before the next attempt has no steps."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14, lifetime_ms=5_000)
        backend.save_steps(held.receipt, {"x": b"1"})
        s.settled(backend, L14, s.retry(held))
        harness.advance(6_000)
        s.take(backend)
        L14.same(s.info(backend, "a", L14).status, m.TaskStatus.CANCELLED, "how it ended")
        L14.same(kept(backend), ({}, {}), "what is kept after an expiry")

    @needs(HasSteps)
    def test_l14_forgotten(self, harness: Harness) -> None:
        """An operator may let a failed task begin again; those that have not failed keep their steps."""
        backend: Any = harness.open()
        backend.enqueue([s.job("a"), s.job("b")])
        one, two = s.take_exactly(backend, 2, L14)
        for held in (one, two):
            backend.save_steps(held.receipt, {"x": b"1"})
        s.settled(backend, L14, s.fail(one))
        backend.forget_steps([one.message.id, two.message.id, "nobody"])
        L14.same(kept(backend, one.message.id), ({}, {}), "what is kept of a failed task")
        L14.same(kept(backend, two.message.id), ({"x": b"1"}, {}), "what is kept of a task that runs")
        backend.requeue([one.message.id])
        held = resumed(backend, "after a requeue", one.message.id)
        L14.same(backend.save_steps(held.receipt, {"y": b"2"}), m.LeaseStatus.HELD, "save_steps after that")
        L14.same(kept(backend, one.message.id), ({"y": b"2"}, {}), "what is kept after that")

    @needs(HasSteps)
    def test_l14_groups_are_separate(self, harness: Harness) -> None:
        """Each group has its own steps, events and waits."""
        one, other = s.groups(harness, "one", "other")
        one.enqueue([s.job("a")])
        here, there = (resumed(backend, "at first") for backend in (one, other))
        suspended(one, here, event="e", steps={"x": b"1"})
        suspended(other, there, event="e", steps={"x": b"2"})
        L14.same(one.send_event("a", "e", b"3"), EventStatus.STORED, "an event in one group")  # type: ignore[attr-defined] # each store has it
        resumed(one, "in the group of the event")
        waits(other, "in the other group", event="e")
        L14.same((kept(one), kept(other)), (({"x": b"1"}, {"e": b"3"}), ({"x": b"2"}, {})), "what is kept in each")

    # Events

    @needs(HasSteps)
    def test_l14_the_first_event_counts(self, harness: Harness) -> None:
        """Of each name, also before the task starts."""
        backend: Any = harness.open()
        backend.enqueue([s.job("a", delay_ms=5_000)])
        L14.same(backend.send_event("a", "e", s.EVERY_BYTE), EventStatus.STORED, "the first event")
        L14.same(backend.send_event("a", "e", b"2"), EventStatus.EARLIER, "the second of a name")
        L14.same(backend.send_event("a", "", b""), EventStatus.STORED, "one of another name")
        harness.advance(6_000)
        resumed(backend, "after its delay")
        L14.same(backend.send_event("a", "E", b"3"), EventStatus.STORED, "one while it runs")
        L14.same(kept(backend), ({}, {"e": s.EVERY_BYTE, "": b"", "E": b"3"}), "what is kept")

    @needs(HasSteps)
    def test_l14_steps_and_events_are_apart(self, harness: Harness) -> None:
        """A step does not take the name of an event, nor the other way round."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        backend.save_steps(held.receipt, {"e": b"1"})
        L14.same(backend.send_event("a", "e", b"2"), EventStatus.STORED, "an event with the name of a step")
        backend.save_steps(held.receipt, {"e": b"3"})
        L14.same(kept(backend), ({"e": b"3"}, {"e": b"2"}), "what is kept")

    @needs(HasSteps)
    def test_l14_events_of_ended_tasks_are_refused(self, harness: Harness) -> None:
        """Of one that is done, has failed, was cancelled or deleted, or never was."""
        backend: Any = harness.open()
        ends: list[Callable[[m.Delivery], m.Settlement]] = [s.done, s.fail, lambda one: s.decided(one, m.Cancelled())]
        for number, end in enumerate(ends):
            s.settled(backend, L14, end(s.claimed(backend, L14, f"t{number}")))
        backend.enqueue([s.job("d")])
        backend.delete(["d"])
        for task_id in ("t0", "t1", "t2", "d", "nobody"):
            L14.same(backend.send_event(task_id, "e", b"1"), EventStatus.REFUSED, f"an event for {task_id}")
            L14.same(kept(backend, task_id), ({}, {}), f"what is kept of {task_id}")

    @needs(HasSteps)
    @needs(HasLocks)
    def test_l14_a_debounced_call_keeps_events(self, harness: Harness) -> None:
        """Until the task has ended; then there are none, as of any other."""
        backend: Any = harness.open()
        message = s.job("a", delay_ms=5_000, lock=lock_text(LockKind.DEBOUNCE, b"one"))
        terms = LockTerms(max_wait_ms=60_000)
        backend.enqueue_unique([message], terms)
        L14.same(backend.send_event("a", "e", b"1"), EventStatus.STORED, "an event while it is delayed")
        (placed,) = backend.enqueue_unique([message], terms)
        L14.same(placed.placement, Placement.REPLACED, "a further call")
        L14.same(kept(backend), ({}, {"e": b"1"}), "what is kept after it")
        harness.advance(6_000)
        s.settled(backend, L14, s.done(resumed(backend, "after its delay")))
        L14.same(kept(backend), ({}, {}), "what is kept of it at the end")

    @needs(HasSteps)
    def test_l14_too_many_events(self, harness: Harness) -> None:
        """So many names, and no more."""
        backend: Any = harness.open()
        backend.enqueue([s.job("a")])
        for number in range(MAX_EVENTS):
            L14.same(backend.send_event("a", f"e{number}", b""), EventStatus.STORED, f"event {number}")
        L14.same(backend.send_event("a", "more", b""), EventStatus.FULL, "one more than the limit")
        L14.same(backend.send_event("a", "e7", b""), EventStatus.EARLIER, "a known one beyond the limit")

    @needs(HasSteps)
    def test_l14_senders_at_once(self, harness: Harness) -> None:
        """Of several at the same time, one is the first."""
        backend: Any = harness.open()
        backend.enqueue([s.job("a")])
        handles = [harness.open() for _ in range(3)]

        def first(handle: Any, name: str) -> bool:
            return bool(handle.send_event("a", name, b"1") is EventStatus.STORED)

        s.once_each(L14, self.patience, handles, first, [f"e{number}" for number in range(20)])

    # Waiting

    @needs(HasSteps)
    def test_l14_the_clock(self, harness: Harness) -> None:
        """It is the store's: what is due now is ready, and what is due later is not."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), due_ms=now(backend) - 1)
        suspended(backend, resumed(backend, "due a moment ago"), due_ms=now(backend) + 60_000)
        waits(backend, "due in a minute")

    @needs(HasSteps)
    def test_l14_until_a_time(self, harness: Harness) -> None:
        """It is delayed, with its steps, and comes back then."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        due = now(backend) + 60_000
        suspended(backend, held, due_ms=due, steps={"x": b"1"})
        waits(backend, "before its time")
        s.places(backend, L14, "while it sleeps", delayed=1)
        L14.same(shown_due(backend), due, "when it is due")
        harness.advance(50_000)
        L14.holds(0 <= backend.maintain(256) <= 10_000, "`maintain` does not say when it is due")
        waits(backend, "ten seconds before its time")
        harness.advance(11_000)
        resumed(backend, "after its time")
        L14.same(kept(backend), ({"x": b"1"}, {}), "what is kept")

    @needs(HasSteps)
    def test_l14_at_once(self, harness: Harness) -> None:
        """Without anything to wait for, or with a time that has passed, it is ready."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), steps={"x": b"1"})
        s.places(backend, L14, "at once", ready=1)
        suspended(backend, resumed(backend, "at once"), due_ms=now(backend) - 1_000)
        suspended(backend, resumed(backend, "at a time that has passed"), event="e", due_ms=now(backend) - 1_000)
        held = resumed(backend, "at a time that has passed, with an event")
        L14.same(kept(backend), ({"x": b"1"}, {}), "what is kept")
        info = s.info(backend, "a", L14)
        L14.same((info.suspended, info.event), (False, ""), "what is shown of a task that runs again")
        s.settled(backend, L14, s.done(held))

    @needs(HasSteps)
    def test_l14_until_an_event(self, harness: Harness) -> None:
        """It is dependent until the event comes, and other events change nothing."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), event="e")
        waits(backend, "before the event", event="e")
        L14.same(backend.depth().dependent, 1, "how many tasks are dependent")
        backend.send_event("a", "other", b"")
        harness.advance(30 * s.DAY)
        waits(backend, "after another event, and a month", event="e")
        L14.same(backend.send_event("a", "e", b"1"), EventStatus.STORED, "the event")
        s.places(backend, L14, "after the event", ready=1)
        held = resumed(backend, "after the event")
        L14.same(s.readable(held, L14).due_ms, 0, "when it was due")
        L14.same(kept(backend), ({}, {"other": b"", "e": b"1"}), "what is kept")
        L14.same(backend.depth().dependent, 0, "how many tasks are dependent after that")

    @needs(HasSteps)
    def test_l14_the_event_was_there(self, harness: Harness) -> None:
        """Before the wait: it does not wait, with a time or without."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        backend.send_event("a", "e", b"1")
        suspended(backend, held, event="e")
        suspended(backend, resumed(backend, "at once"), event="e", due_ms=now(backend) + 60_000)
        resumed(backend, "at once, with a time")

    @needs(HasSteps)
    def test_l14_the_event_or_a_time(self, harness: Harness) -> None:
        """Whichever is first ends the wait; what comes later changes nothing."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), event="e", due_ms=now(backend) + 60_000)
        waits(backend, "before both", event="e")
        s.places(backend, L14, "while it waits", delayed=1)
        L14.same(backend.send_event("a", "e", b"1"), EventStatus.STORED, "the event")
        held = resumed(backend, "after the event")
        L14.same(s.readable(held, L14).due_ms, 0, "when it was due, after the event")
        suspended(backend, held, event="f", due_ms=now(backend) + 60_000)
        harness.advance(61_000)
        held = resumed(backend, "after the time")
        s.settled(backend, L14, s.retry(held, 60_000))
        backend.send_event("a", "f", b"1")
        s.places(backend, L14, "while its retry is delayed, after the event", delayed=1)
        L14.same(s.ids_of(s.take(backend)), [], "what could be claimed before the delay of a retry")

    @needs(HasSteps)
    def test_l14_a_claim_that_waits_is_woken(self, harness: Harness) -> None:
        """By an event."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), event="e")
        call = s.waiting(L14, lambda: harness.open().claim("two", 1, s.MINUTE))
        backend.send_event("a", "e", b"1")
        found = call.result(self.patience, L14, "a claim that waits is not woken by an event")
        L14.same(s.ids_of(found or s.patiently(backend)), ["a"], "what the claim returned")

    @needs(HasSteps)
    def test_l14_a_wait_for_its_record_goes_on(self, harness: Harness) -> None:
        """Who waits for the record of a suspended task gets its end."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), event="e")
        call = s.waiting(L14, lambda: backend.wait(["a"], None))
        backend.send_event("a", "e", b"1")
        s.settled(backend, L14, s.done(resumed(backend, "after the event")))
        found = call.result(self.patience, L14, "the wait for a suspended task does not end")
        L14.same(s.values(found), [s.EVERY_BYTE], "what the wait returned")

    @needs(HasSteps)
    def test_l14_it_is_charged_nothing(self, harness: Harness) -> None:
        """Its attempt, crashes and deferrals stay; it is no suspect any more (B11)."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        s.settled(backend, L14, s.retry(held))
        s.settled(backend, L14, s.defer(resumed(backend, "after a retry"), 1_000))
        harness.advance(2_000)
        held = resumed(backend, "after a deferral")
        backend.release("one", [held.receipt])
        held = resumed(backend, "after a crash")
        before = s.readable(held, L14)
        for number in range(3):
            suspended(backend, held, due_ms=now(backend) + 1_000 if number else 0)
            harness.advance(2_000)
            held = resumed(backend, "after a suspension")
        after = s.readable(held, L14)
        times = {"due_ms": 0, "enqueued_ms": 0}  # where the harness moves what is stored, they differ
        L14.same(m.evolve(after, **times), m.evolve(before, redelivered=False, **times), "a suspended message")
        L14.same((after.attempt, after.crashes, after.deferrals), (2, 1, 1), "its counters")

    @needs(HasSteps)
    def test_l14_its_message_is_the_same(self, harness: Harness) -> None:
        """Whatever it has waited for."""
        backend: Any = harness.open()
        rich = m.evolve(s.RICH, expires_ms=0, successors=(), flow="", gates=(), lock="")
        backend.enqueue([rich])
        held = s.take_one(backend, L14)
        suspended(backend, held, event="e")
        backend.send_event("rich", "e", b"1")
        again = resumed(backend, "after the event", "rich")
        L14.same(again.message, held.message, "a message that was suspended")
        L14.holds(again.fence > held.fence and again.receipt != held.receipt, "its receipt is not new (B2)")

    @needs(HasSteps)
    def test_l14_a_refused_one_changes_nothing(self, harness: Harness) -> None:
        """A stale holder suspends nothing, saves nothing and stores no child."""
        backend: Any = harness.open()
        old, held = s.stale(backend, harness, L14, "two")
        verdict = m.Suspend(flow="children", steps={"x": b"1"})
        L14.same(list(backend.settle([m.Settlement(old.receipt, verdict, then=children("b"))])), [False], "a stale one")
        L14.same((kept(backend), list(backend.show(["b"]))), (({}, {}), [None]), "what is there after it")
        L14.same(s.extended(backend, held), m.LeaseStatus.HELD, "the lease of the holder")
        suspended(backend, held, event="e")
        L14.same(list(backend.settle([m.Settlement(held.receipt, m.Suspend(steps={"x": b"1"}))])), [False], "a repeat")
        L14.same(kept(backend), ({}, {}), "what is kept after a repeat")
        waits(backend, "after a repeat", event="e")

    @needs(HasSteps)
    def test_l14_a_cancelled_one_ends(self, harness: Harness) -> None:
        """Instead of waiting, and while it waits."""
        backend: Any = harness.open()
        kinds: list[dict[str, Any]] = [{}, {"event": "e"}, {"due_ms": now(backend) + 60_000}]
        for number, wait in enumerate(kinds):
            held = s.claimed(backend, L14, f"t{number}")
            backend.cancel([f"t{number}"])
            suspended(backend, held, steps={"x": b"1"}, **wait)
            L14.same(s.info(backend, f"t{number}", L14).status, m.TaskStatus.CANCELLED, f"a cancelled one, {wait}")
            L14.same(kept(backend, f"t{number}"), ({}, {}), "what is kept of it")
        for number, wait in enumerate(kinds[1:]):
            suspended(backend, s.claimed(backend, L14, f"w{number}"), **wait)
            L14.same(list(backend.cancel([f"w{number}"])), [True], f"the cancellation while it waits, {wait}")
            L14.same(s.info(backend, f"w{number}", L14).status, m.TaskStatus.CANCELLED, "how it ended")
            L14.same(backend.send_event(f"w{number}", "e", b""), EventStatus.REFUSED, "an event after that")
        L14.same(list(backend.requeue(["w0"])), [True], "the requeue of a cancelled one")
        s.settled(backend, L14, s.retry(resumed(backend, "after its requeue", "w0"), 60_000))
        L14.same(s.info(backend, "w0", L14).suspended, False, "whether it is suspended while its retry is delayed")
        backend.delete(["w0"])
        harness.advance(120_000)
        L14.same(s.ids_of(s.take(backend)), [], "what could be claimed after all")
        L14.same(backend.depth().dependent, 0, "how many tasks are dependent")

    @needs(HasSteps)
    def test_l14_deleted_while_it_waits(self, harness: Harness) -> None:
        """Nothing of it comes back."""
        backend: Any = harness.open()
        due = now(backend) + 60_000
        kinds: list[dict[str, Any]] = [{"event": "e"}, {"due_ms": due}, {"event": "e", "due_ms": due}]
        for wait in kinds:
            suspended(backend, s.claimed(backend, L14), **wait)
            L14.same(list(backend.delete(["a"])), [True], f"the deletion while it waits, {wait}")
        harness.advance(120_000)
        L14.same(s.ids_of(s.take(backend)), [], "what could be claimed after a deletion")
        L14.same(list(backend.show(["a"])), [None], "what is shown of it")
        L14.same(backend.depth().dependent, 0, "how many tasks are dependent")

    @needs(HasSteps)
    def test_l14_it_is_listed_and_not_adopted(self, harness: Harness) -> None:
        """A suspended task is PENDING and listed once; `adopt` refuses it."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), event="e")
        suspended(backend, s.claimed(backend, L14, "b"), due_ms=now(backend) + 60_000)
        found = {one.id: (one.suspended, one.event) for one in s.all_tasks(backend, m.TaskStatus.PENDING)}
        L14.same(found, {"a": (True, "e"), "b": (True, "")}, "what the list says")
        for task_id in "ab":
            with suppress(ConfigurationError):
                L14.same(list(backend.adopt([s.info(backend, task_id, L14)])), "an error", "what adopt does with it")

    @needs(Beginning)
    @needs(HasSteps)
    def test_l14_it_does_not_expire(self, harness: Harness) -> None:
        """It has started in time."""
        backend: Any = harness.open()
        kinds: list[dict[str, Any]] = [{"due_ms": now(backend) + 60_000}, {}]
        for wait in kinds:
            held = s.claimed(backend, L14, "b" if wait else "a", lifetime_ms=5_000)
            L14.same(list(backend.begin([held.receipt])), [m.StartStatus.RUN], "whether it may start")
            suspended(backend, held, **wait)
        harness.advance(70_000)
        L14.same(sorted(s.ids_of(s.take(backend))), ["a", "b"], "what could be claimed after its expiry")

    @needs(HasSteps)
    def test_l14_limits(self, harness: Harness) -> None:
        """It holds no token while it waits, and asks for one when it comes back."""
        backend: Any = harness.open()
        if (limits := s.limited(backend, api=1)) is None:
            return
        backend.enqueue([s.gated("a", "api/k")])
        suspended(backend, s.take_one(backend, L14), event="e")
        L14.same(s.tokens(limits), {}, "tokens while it is suspended")
        backend.enqueue([s.gated("x", "api/k")])
        other = resumed(backend, "with the token that it gave back", "x")
        backend.send_event("a", "e", b"1")
        L14.same(s.ids_of(s.take(backend)), [], "what could be claimed without a token")
        s.settled(backend, L14, s.done(other))
        resumed(backend, "with a token")

    @needs(HasSteps)
    def test_l14_paused(self, harness: Harness) -> None:
        """In a paused group it becomes ready, and is not handed out."""
        backend: Any = harness.open()
        if not hasattr(backend, "pause"):
            return
        suspended(backend, s.claimed(backend, L14), event="e")
        backend.pause()
        backend.send_event("a", "e", b"1")
        L14.same(s.ids_of(s.take(backend)), [], "what could be claimed in a pause")
        backend.resume()
        resumed(backend, "after a pause")

    @needs(HasSteps)
    def test_l14_it_keeps_its_class(self, harness: Harness) -> None:
        """It is claimed by its priority, as one that came back."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14, priority=60), event="e")
        suspended(backend, s.claimed(backend, L14, "b"), event="e")
        backend.enqueue([s.job("new")])
        backend.send_event("b", "e", b"1")
        backend.send_event("a", "e", b"1")
        s.claims(harness.open(), L14, ["a", "b", "new"], "by priority, and as those that came back")

    # Children

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_until_its_children_have_ended(self, harness: Harness) -> None:
        """However they end; the last one makes it ready."""
        backend: Any = harness.open()
        then = children("c1", "c2", "c3", "c4")
        suspended(backend, s.claimed(backend, L14), then, flow="children", steps={"x": b"1"})
        L14.same(backend.depth().dependent, 1, "how many tasks are dependent")
        L14.same(s.info(backend, "a", L14).waits_for, 4, "for how many it waits")
        one, two, three, four = s.take_exactly(backend, 4, L14)
        s.settled(backend, L14, s.done(one), s.fail(two), s.retry(four))
        L14.same(s.info(backend, "a", L14).waits_for, 2, "for how many it waits after two ends")
        s.settled(backend, L14, s.decided(three, m.Cancelled()))
        backend.cancel([four.message.id])
        held = resumed(backend, "after all have ended")
        L14.same(s.readable(held, L14).doomed, "", "what dooms it")
        L14.same(kept(backend), ({"x": b"1"}, {}), "what is kept")

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_a_child_that_is_deleted(self, harness: Harness) -> None:
        """Has ended."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), children("c1"), flow="children")
        backend.delete(["c1"])
        resumed(backend, "after its child was deleted")

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_a_child_is_stored_again(self, harness: Harness) -> None:
        """One whose id is free again: it has not ended any more."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), children("c1", "c2"), flow="children")
        one, two = s.take_exactly(backend, 2, L14)
        s.settled(backend, L14, s.done(one))
        backend.delete(["c1"])
        backend.enqueue(children("c1"))
        L14.same(s.info(backend, "a", L14).waits_for, 2, "for how many it waits after one was stored again")
        s.settled(backend, L14, s.done(s.take_one(backend, L14)))
        waits(backend, "after that one has ended", waits_for=1)
        s.settled(backend, L14, s.done(two))
        resumed(backend, "after both have ended")

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_a_child_has_an_edge_that_continues(self, harness: Harness) -> None:
        """One that could doom it is no child."""
        backend: Any = harness.open()
        then = [*children("c1", policy="f"), *children("c2", policy="w"), *children("c3")]
        suspended(backend, s.claimed(backend, L14), then, flow="children")
        one, two, three = s.take_exactly(backend, 3, L14)
        L14.same(s.info(backend, "a", L14).waits_for, 1, "for how many it waits")
        s.settled(backend, L14, s.fail(one), s.fail(two))
        waits(backend, "after the ends of others", waits_for=1)
        s.settled(backend, L14, s.fail(three))
        L14.same(s.readable(resumed(backend, "after its child"), L14).doomed, "", "what dooms it")

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_only_new_children_count(self, harness: Harness) -> None:
        """Known ids, other follow-ups and other flows are not waited for."""
        backend: Any = harness.open()
        held = s.claimed(backend, L14)
        then = [*children("c1", flow="other"), *children("c2", of="b"), s.job("c3")]
        suspended(backend, held, then, flow="children")
        found = s.take_exactly(backend, 4, L14)
        L14.same(sorted(s.ids_of(found)), ["a", "c1", "c2", "c3"], "what could be claimed without a child")
        held = next(one for one in found if one.message.id == "a")
        suspended(backend, held, children("c1", "new"), flow="children")
        L14.same(s.info(backend, "a", L14).waits_for, 1, "for how many it waits of one new and one known")
        new = resumed(backend, "of the new ones", "new")
        s.settled(backend, L14, *(s.done(one) for one in found if one.message.id != "a"))
        waits(backend, "after those have ended that do not count", waits_for=1)
        s.settled(backend, L14, s.done(new))
        resumed(backend, "after its child has ended")

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_in_a_flow_of_its_own(self, harness: Harness) -> None:
        """A task of a flow may have children; its own successors wait for its end."""
        backend: Any = harness.open()
        backend.enqueue(
            [
                s.job("z", flow="flow", after=("a", "y"), v=m.FLOW_VERSION),
                s.job("a", flow="flow", successors=("f:z",), after=("y",), v=m.FLOW_VERSION),
                s.job("y", flow="flow", successors=("c:a", "c:z"), v=m.FLOW_VERSION),
            ]
        )
        s.settled(backend, L14, s.done(s.take_one(backend, L14)))
        suspended(backend, resumed(backend, "at first"), children("c1", "c2"), flow="children")
        one, two = s.take_exactly(backend, 2, L14)
        s.settled(backend, L14, s.done(one))
        L14.same(
            (s.info(backend, "a", L14).waits_for, s.info(backend, "z", L14).waits_for), (1, 1), "who waits for whom"
        )
        s.settled(backend, L14, s.done(two))
        s.settled(backend, L14, s.done(resumed(backend, "after its children")))
        resumed(backend, "after its predecessors", "z")

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_a_child_that_ends_late(self, harness: Harness) -> None:
        """A child that ends after its parent has come back, or waits for something else, changes nothing."""
        backend: Any = harness.open()
        suspended(backend, s.claimed(backend, L14), children("c1"), flow="children")
        s.settled(backend, L14, s.fail(resumed(backend, "of its children", "c1")))
        held = resumed(backend, "after its child")
        backend.requeue(["c1"])
        again = resumed(backend, "after a requeue", "c1")
        suspended(backend, held, event="e")
        s.settled(backend, L14, s.done(again))
        waits(backend, "after the end of an old child", event="e")

    @needs(HasSteps)
    def test_l14_waits_one_after_the_other(self, harness: Harness) -> None:
        """A time, children, an event, and others of the same kinds."""
        backend: Any = harness.open()
        has_flows = isinstance(harness.open(), HasFlows)
        held = s.claimed(backend, L14)
        for number in range(3):
            suspended(backend, held, due_ms=now(backend) + 1_000, steps={f"sleep {number}": b""})
            harness.advance(2_000)
            held = resumed(backend, "after a time")
            if has_flows:
                suspended(backend, held, children(f"c{number}", flow=f"f{number}"), flow=f"f{number}")
                s.settled(backend, L14, s.done(resumed(backend, "of its children", f"c{number}")))
                held = resumed(backend, "after its child")
            suspended(backend, held, event=f"e{number}", steps={f"wait {number}": b""})
            backend.send_event("a", f"e{number}", b"")
            held = resumed(backend, "after an event")
        s.settled(backend, L14, s.done(held))
        L14.same(kept(backend), ({}, {}), "what is kept after all")

    @needs(HasFlows)
    @needs(HasSteps)
    def test_l14_many_children_end_at_once(self, harness: Harness) -> None:
        """Several handles settle them at the same time; it comes back once."""
        backend: Any = harness.open()
        count = 60
        suspended(backend, s.claimed(backend, L14), children(*(f"c{n}" for n in range(count))), flow="children")
        held = s.take_exactly(backend, count, L14)
        handles = [harness.open() for _ in range(3)]
        s.once_each(L14, self.patience, handles, lambda store, one: store.settle([s.done(one)])[0], held)
        resumed(backend, "after all have ended at the same time")
        L14.same(s.ids_of(s.take(backend)), [], "what could be claimed after that")

    @needs(HasSteps)
    def test_l14_nothing_is_left(self, harness: Harness) -> None:
        """After many tasks with steps, events and waits, the storage is as large as after few (B13)."""
        backend: Any = harness.open(history=5)
        sizes = []
        for many_of in (4, 40):
            for number in range(many_of):
                task_id = f"{many_of}-{number}"
                held = s.claimed(backend, L14, task_id)
                backend.save_steps(held.receipt, {"x": b"1" * 100})
                backend.send_event(task_id, "early", b"1" * 100)
                suspended(backend, held, event="e", due_ms=now(backend) + s.DAY if number % 2 else 0)
                backend.send_event(task_id, "e", b"1" * 100)
                held = resumed(backend, "after the event", task_id)
                match number % 4:
                    case 0:
                        s.settled(backend, L14, s.fail(held))
                        backend.delete([task_id])
                    case 1:
                        suspended(backend, held, event="never", due_ms=now(backend) + s.DAY)
                        backend.cancel([task_id])
                    case 2:
                        suspended(backend, held, event="never")
                        backend.delete([task_id])
                    case _:
                        s.settled(backend, L14, s.done(held))
            harness.advance(3 * s.DAY)
            for _ in range(4):
                backend.maintain(256)
            s.take(backend)
            sizes.append(harness.footprint())
        L14.holds(sizes[1] <= sizes[0] + self.footprint_slack, f"after few tasks and after many: {sizes}")
