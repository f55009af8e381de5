"""Expiry: L8 a task that has expired does not start. A backend without `Beginning` passes."""

from __future__ import annotations

from typing import Any

from ...model.transitions import EXPIRED
from ...protocols import Beginning, Expired, TellsExpired
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

L8 = law("L8")

SOON = 5_000
"""A lifetime in ms, shorter than the lease of any harness."""


def begun(backend: Any, *deliveries: m.Delivery) -> list[m.StartStatus]:
    return list(backend.begin([delivery.receipt for delivery in deliveries]))


def passing(backend: Backend, *ids: str, **header: Any) -> None:
    """Enqueue tasks that expire soon."""
    backend.enqueue([s.job(task_id, **{"lifetime_ms": SOON, **header}) for task_id in ids])


def has_expired(backend: Backend, task_id: str, attempt: int = 1) -> None:
    """The task must have ended as one that expired."""
    __tracebackhide__ = True
    found = s.info(backend, task_id, L8)
    L8.same(found.status, m.TaskStatus.CANCELLED, f"the status of {task_id!r}, which has expired")
    record = L8.there(backend.wait([task_id], 0)[0], f"{task_id!r} has expired and has no record")
    L8.same((record.status, record.error), (m.TaskStatus.CANCELLED, EXPIRED), "the record of an expired task")
    L8.same((record.attempt, record.fence, record.worker), (attempt, 0, ""), "attempt, fence and worker in that record")


class ExpiryLaws(Contract):
    """L8."""

    @needs(Beginning)
    def test_l8_only_what_expires_is_asked_about(self, harness: Harness) -> None:
        """A delivery of a usual message may start at once, one that expires must begin."""
        backend = harness.open()
        passing(backend, "a")
        backend.enqueue([s.job("b")])
        found = {one.message.id: one.must_begin for one in s.take(backend)}
        L8.same(found, {"a": True, "b": False}, "which deliveries must begin")

    @needs(Beginning)
    def test_l8_it_starts_before_it_expires(self, harness: Harness) -> None:
        """Before its expiry a task may start, and a repeat of the question says so again."""
        backend = harness.open()
        passing(backend, "a")
        delivery = s.take_one(backend, L8)
        L8.same(begun(backend, delivery), [m.StartStatus.RUN], "what begin returned before the expiry")
        L8.same(begun(backend, delivery), [m.StartStatus.RUN], "what begin returned a second time")
        s.settled(backend, L8, s.done(delivery))

    @needs(Beginning)
    def test_l8_it_does_not_start_after_it(self, harness: Harness) -> None:
        """A message that was claimed in time and is to start too late ends, and its holder has lost it."""
        backend = harness.open()
        passing(backend, "a")
        delivery = s.take_one(backend, L8)
        harness.advance(SOON + 1)
        L8.same(begun(backend, delivery), [m.StartStatus.EXPIRED], "what begin returned after the expiry")
        has_expired(backend, "a")
        L8.same(begun(backend, delivery), [m.StartStatus.LOST], "what begin returned after that")
        L8.same(list(backend.settle([s.done(delivery)])), [False], "a settlement after that")
        s.places(backend, L8, "after the expiry", history=1)

    @needs(Beginning)
    def test_l8_maintain_leaves_it_to_its_holder(self, harness: Harness) -> None:
        """What is in flight when it expires is not taken from its holder, and does not start either."""
        backend = harness.open()
        passing(backend, "a", "b")
        first, second = s.take_exactly(backend, 2, L8)
        L8.same(begun(backend, first), [m.StartStatus.RUN], "what begin returned before the expiry")
        harness.advance(SOON + 1)
        L8.holds(backend.maintain(256) < 0, "maintain returned a time although nothing waits")
        s.places(backend, L8, "after the expiry of what is in flight", in_flight=2)
        L8.same(begun(backend, second), [m.StartStatus.EXPIRED], "what begin returned after the expiry")
        s.settled(backend, L8, s.done(first))
        L8.same(s.info(backend, "a", L8).status, m.TaskStatus.SUCCESS, "the status of the task that ran")

    @needs(Beginning)
    def test_l8_what_waits_ends_by_itself(self, harness: Harness) -> None:
        """Ready and delayed tasks end when they expire, although nobody claims; others stay."""
        backend = harness.open()
        s.take(backend)
        passing(backend, "a", "b")
        passing(backend, "late", delay_ms=2 * SOON)
        backend.enqueue([s.job("c"), s.job("d", lifetime_ms=10 * SOON)])
        left = backend.maintain(256)
        L8.holds(0 < left <= SOON, f"maintain returned {left} ms, and the first task expires in {SOON} ms")
        harness.advance(SOON + 1)
        backend.maintain(256)
        for task_id in ("a", "b", "late"):
            has_expired(backend, task_id)
        s.claims(backend, L8, ["c", "d"], "what could be claimed after the others expired")

    @needs(Beginning)
    def test_l8_a_claim_ends_what_has_expired(self, harness: Harness) -> None:
        """A claim returns nothing that has expired, or begin refuses it."""
        backend = harness.open()
        s.take(backend)
        passing(backend, "a")
        harness.advance(SOON + 1)
        found = backend.claim("one", 10, 0)
        L8.same(begun(backend, *found), [m.StartStatus.EXPIRED] * len(found), "what begin returned after the expiry")
        has_expired(backend, "a")

    @needs(TellsExpired)
    def test_l8_it_is_told_once(self, harness: Harness) -> None:
        """What `maintain` or `claim` has ended is told by that handle, once; what ended in another way is not."""
        backend, other = harness.open(), harness.open()
        told: dict[Any, list[Expired]] = {backend: [], other: []}
        for handle, found in told.items():
            handle.watch_expired(found.extend)
        passing(backend, "ready")
        passing(backend, "delayed", delay_ms=s.MINUTE)
        passing(backend, "cancelled", "later", lifetime_ms=s.MINUTE)
        backend.cancel(["cancelled"])
        harness.advance(SOON + 1)
        backend.maintain(256)
        passing(other, "late")
        harness.advance(SOON + 1)
        handed_out = s.ids_of(other.claim("one", 9, 0))  # or `begin` ends it
        other.maintain(256)
        passing(backend, "last")
        harness.advance(SOON + 1)
        backend.maintain(256)
        other.maintain(256)
        kit = [sorted(found) for found in told.values()]
        ended = ("delayed", "last", "ready"), () if "late" in handed_out else ("late",)
        wanted = [[Expired(one, "kit.job") for one in ids] for ids in ended]
        L8.same(kit, wanted, "what two handles told of tasks that expired")

    @needs(Beginning)
    def test_l8_the_end_wakes_who_waits(self, harness: Harness) -> None:
        """A caller that waits for the result gets the record of the expiry."""
        backend, other = harness.open(), harness.open()
        s.take(backend)
        passing(backend, "a")
        call = s.waiting(L8, lambda: other.wait(["a"], s.MINUTE))
        harness.advance(SOON + 1)
        backend.maintain(256)
        record = L8.there(call.result(self.patience, L8, "wait does not return")[0], "wait returned no record")
        L8.same(record.error, EXPIRED, "the error in the record")

    @needs(Beginning)
    def test_l8_a_run_is_not_interrupted(self, harness: Harness) -> None:
        """After its start the expiry does nothing: the task is extended and settled as any other."""
        backend = harness.open()
        passing(backend, "a")
        delivery = s.take_one(backend, L8)
        begun(backend, delivery)
        harness.advance(SOON + 1)
        L8.same(s.extended(backend, delivery), m.LeaseStatus.HELD, "what extend returned after the expiry")
        s.settled(backend, L8, s.done(delivery))

    @needs(Beginning)
    def test_l8_what_comes_back_keeps_its_expiry(self, harness: Harness) -> None:
        """A deferral or a release does not make a task younger."""
        backend = harness.open()
        passing(backend, "a", "b")
        deferred, released = s.take_exactly(backend, 2, L8)
        begun(backend, deferred, released)
        harness.advance(SOON // 2)
        s.settled(backend, L8, s.defer(deferred))
        backend.release("one", [])
        harness.advance(SOON // 2 + 1)
        backend.maintain(256)
        for task_id in ("a", "b"):
            has_expired(backend, task_id)

    @needs(Beginning)
    def test_l8_what_comes_back_late_ends(self, harness: Harness) -> None:
        """A task whose worker died after the expiry ends, with the attempt of its message."""
        backend = harness.open()
        passing(backend, "a")
        begun(backend, s.take_one(backend, L8))
        harness.advance(SOON + 1)
        backend.maintain(256)
        backend.release("one", [])
        s.claims(backend, L8, [], "what could be claimed after the expiry")
        has_expired(backend, "a")

    @needs(Beginning)
    def test_l8_a_retry_in_time_waits(self, harness: Harness) -> None:
        """A retry that is due before the expiry runs, and has the same expiry."""
        backend = harness.open()
        passing(backend, "a", "b")
        first, second = s.take_exactly(backend, 2, L8)
        begun(backend, first, second)
        s.settled(backend, L8, s.retry(first, SOON // 4), s.retry(second))
        harness.advance(SOON // 2)
        again = s.take_exactly(backend, 2, L8)
        L8.same(begun(backend, *again), [m.StartStatus.RUN] * 2, "what begin returned for the second attempts")
        s.settled(backend, L8, *map(s.defer, again))
        harness.advance(SOON)
        backend.maintain(256)
        has_expired(backend, "a", attempt=2)

    @needs(Beginning)
    def test_l8_a_late_retry_fails_with_the_error_of_the_run(self, harness: Harness) -> None:
        """A retry that would be due after the expiry fails at once, and is not called expired."""
        backend = harness.open()
        passing(backend, "a", "b")
        first, second = s.take_exactly(backend, 2, L8)
        begun(backend, first, second)
        error = m.Failure("ValueError", "no", "Traceback …")
        record = s.record(first, m.TaskStatus.FAILURE, error=error)
        late = m.Settlement(first.receipt, m.Retry(2 * SOON), record)
        s.settled(backend, L8, late, m.Settlement(second.receipt, m.Retry(2 * SOON)))
        s.places(backend, L8, "after retries that came too late", failed=2)
        found = s.info(backend, "a", L8)
        L8.same((found.status, found.reason), (m.TaskStatus.FAILURE, "ValueError: no"), "status and reason")
        kept = L8.there(backend.wait(["a"], 0)[0], "the failed task has no record")
        L8.same((kept.error, kept.attempt), (error, 1), "the record of the run")
        L8.there(backend.wait(["b"], 0)[0], "the task that failed without a record has none")

    @needs(Beginning)
    def test_l8_a_cancelled_task_is_cancelled(self, harness: Harness) -> None:
        """A task that was cancelled while it ran ends as cancelled, however late its retry is due."""
        backend = harness.open()
        passing(backend, "a")
        delivery = s.take_one(backend, L8)
        begun(backend, delivery)
        backend.cancel(["a"])
        s.settled(backend, L8, s.retry(delivery, 2 * SOON))
        record = L8.there(backend.wait(["a"], 0)[0], "the cancelled task has no record")
        L8.same((record.status, record.error), (m.TaskStatus.CANCELLED, None), "the record of a cancelled task")

    @needs(Beginning)
    def test_l8_requeue_drops_the_expiry(self, harness: Harness) -> None:
        """An expired task that is requeued runs, however late that is."""
        backend = harness.open()
        s.take(backend)
        passing(backend, "a")
        harness.advance(SOON + 1)
        backend.maintain(256)
        L8.same(list(backend.requeue(["a"])), [True], "what requeue returned for an expired task")
        delivery = s.take_one(backend, L8)
        L8.same(s.readable(delivery, L8).expires_ms, 0, "the expiry after a requeue")
        harness.advance(SOON + 1)
        s.settled(backend, L8, s.done(delivery))

    @needs(Beginning)
    def test_l8_a_move_keeps_the_expiry(self, harness: Harness) -> None:
        """A task that is adopted from another store expires here when it would have there."""
        backend = harness.open()
        s.take(backend)
        passing(backend, "a", "b", "c")
        shown = [s.info(backend, task_id, L8) for task_id in ("a", "b", "c")]
        backend.delete(["a", "b", "c"])
        L8.same(list(backend.adopt(shown)), [True] * 3, "what adopt returned")
        harness.advance(SOON + 1)
        backend.maintain(256)
        for task_id in ("a", "b", "c"):
            has_expired(backend, task_id)

    @needs(Beginning)
    def test_l8_ended_and_deleted_tasks_do_not_expire(self, harness: Harness) -> None:
        """What has ended stays as it is, and an id that is used again has the expiry of the new task."""
        backend = harness.open()
        passing(backend, "done", "cancelled", "deleted", "failed")
        backend.cancel(["cancelled"])
        backend.delete(["deleted"])
        held = {one.message.id: one for one in s.take(backend)}
        begun(backend, *held.values())
        s.settled(backend, L8, s.done(held["done"]), s.fail(held["failed"]))
        backend.enqueue([s.job("deleted")])
        harness.advance(SOON + 1)
        L8.holds(backend.maintain(256) < 0, "maintain returned a time although nothing expires")
        s.places(backend, L8, "after the expiry", ready=1, failed=1, history=2)
        statuses = [s.info(backend, one, L8).status for one in ("done", "failed", "cancelled", "deleted")]
        names = ["SUCCESS", "FAILURE", "CANCELLED", "PENDING"]
        L8.same([status.name for status in statuses], names, "the statuses after the expiry")

    @needs(Beginning)
    def test_l8_follow_ups_and_groups_expire(self, harness: Harness) -> None:
        """The lifetime of a follow-up begins with the settlement, and each group's copy expires on its own."""
        one, other = s.groups(harness, "one", "other")
        delivery = s.claimed(one, L8)
        passing(one, "b")
        L8.same(begun(one, s.take_one(one, L8)), [m.StartStatus.RUN], "what begin returned in one group")
        s.settled(one, L8, s.done(delivery, then=[s.job("next", lifetime_ms=SOON)]))
        harness.advance(SOON + 1)
        for group in (one, other):
            group.maintain(256)
        has_expired(one, "next")
        has_expired(other, "b")
        L8.same(s.info(one, "b", L8).status, m.TaskStatus.STARTED, "the status in the group that runs it")

    @needs(Beginning)
    def test_l8_nothing_is_left(self, harness: Harness) -> None:
        """The end of a task with an expiry leaves no more than that of any other."""
        backend = harness.open(history=0)
        s.take(backend)
        before = harness.footprint()
        passing(backend, "a", "b", "c")
        held = s.take(backend, 2)
        begun(backend, *held)
        s.settled(backend, L8, *map(s.done, held))
        harness.advance(SOON + 1)
        backend.maintain(256)
        has_expired(backend, "c")
        harness.advance(s.DAY * 2)
        s.take(backend)
        L8.same(harness.footprint(), before, "how much is kept when all that had an expiry is over")

    @needs(Beginning)
    def test_l8_begin_is_fenced(self, harness: Harness) -> None:
        """Only the current holder may start a task, and a refusal changes nothing."""
        backend = harness.open()
        passing(backend, "a", lifetime_ms=10 * harness.lease)
        old = s.take_one(backend, L8)
        harness.advance(harness.lease + 1)
        new = s.take_one(backend, L8, "two")
        before = s.photo(backend)
        L8.same(begun(backend, old), [m.StartStatus.LOST], "what begin returned to the holder before")
        L8.same(s.photo(backend), before, "the group after a refused begin")
        L8.same(begun(backend, new), [m.StartStatus.RUN], "what begin returned to the holder")
