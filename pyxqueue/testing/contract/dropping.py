"""`drop_failed`: I9 drop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...model.failed import Dropped, FailedLimits
from ...protocols import DropsFailed
from .base import needs
from .prelude import Contract, Harness, law, m, s

I9 = law("I9")
HOUR = 3_600_000
OLD = FailedLimits(ttl_ms=HOUR)
SLACK = 60_000
"""Of times that a harness has moved."""


def failed(backend: Any, *ids: str) -> None:
    for task_id in ids:
        s.settled(backend, I9, s.fail(s.claimed(backend, I9, task_id)))


def ids(dropped: Sequence[Dropped]) -> list[str]:
    return [one.id for one in dropped]


def left(backend: Any) -> list[str]:
    """The failed tasks, the oldest first."""
    return [info.id for info in reversed(backend.tasks(m.TaskStatus.FAILURE)[0])]


def only(dropped: Sequence[Dropped]) -> Dropped:
    I9.same(len(dropped), 1, "how many tasks were deleted")
    return dropped[0]


class DropLaws(Contract):
    """I9."""

    @needs(DropsFailed)
    def test_i9_old_failed_tasks_are_deleted(self, harness: Harness) -> None:
        """Those that failed so long ago, with their records, the oldest first; the others stay."""
        backend: Any = harness.open()
        failed(backend, "a", "b")
        harness.advance(HOUR // 2)
        failed(backend, "c")
        I9.same(list(backend.drop_failed(OLD, 100)), [], "what was deleted before the time")
        harness.advance(HOUR // 2)
        dropped = backend.drop_failed(OLD, 100)
        I9.same(
            [(one.id, one.name, one.is_old) for one in dropped],
            [("a", "kit.job", True), ("b", "kit.job", True)],
            "deleted",
        )
        I9.same(left(backend), ["c"], "the failed tasks after it")
        I9.same([backend.show(["a", "b"]), list(backend.wait(["a", "b"], 0))], [[None] * 2] * 2, "what is left of them")
        I9.same(list(backend.enqueue([s.job("a")])), [True], "the id of a deleted task, enqueued again")

    @needs(DropsFailed)
    def test_i9_when_a_task_failed_is_told(self, harness: Harness) -> None:
        """As `show` says it."""
        backend: Any = harness.open()
        failed(backend, "a")
        harness.advance(HOUR)
        seen = s.info(backend, "a", I9).updated_ms
        dropped = only(backend.drop_failed(OLD, 100))
        I9.holds(abs(dropped.failed_ms - seen) < SLACK, f"failed at {seen}, and {dropped.failed_ms} was told")

    @needs(DropsFailed)
    def test_i9_the_newest_are_kept(self, harness: Harness) -> None:
        """So many of them; those beyond are deleted, the oldest first."""
        backend: Any = harness.open()
        names = [f"f{number:02}" for number in range(40)]
        failed(backend, *names)
        I9.same(list(backend.drop_failed(FailedLimits(keep=40), 100)), [], "what was deleted of no more than are kept")
        dropped = backend.drop_failed(FailedLimits(keep=7), 100)
        I9.same(ids(dropped), names[:33], "what was deleted of 40")
        I9.same({one.is_old for one in dropped}, {False}, "whether it was too old")
        I9.same(left(backend), names[33:], "the failed tasks after it")
        I9.same(ids(backend.drop_failed(FailedLimits(keep=0), 100)), names[33:], "what was deleted where none is kept")

    @needs(DropsFailed)
    def test_i9_both_limits(self, harness: Harness) -> None:
        """What is old is told as such, also if there were too many of them."""
        backend: Any = harness.open()
        failed(backend, "a", "b")
        harness.advance(HOUR)
        failed(backend, "c", "d", "e")
        dropped = backend.drop_failed(FailedLimits(HOUR, 2), 100)
        I9.same([(one.id, one.is_old) for one in dropped], [("a", True), ("b", True), ("c", False)], "what was deleted")

    @needs(DropsFailed)
    def test_i9_no_more_than_asked_for(self, harness: Harness) -> None:
        """The oldest come first; the next call goes on."""
        backend: Any = harness.open()
        failed(backend, "a", "b", "c", "d", "e")
        found = [ids(backend.drop_failed(FailedLimits(keep=1), 3)) for _ in range(3)]
        I9.same(found, [["a", "b", "c"], ["d"], []], "what three calls deleted")

    @needs(DropsFailed)
    def test_i9_only_failed_tasks(self, harness: Harness) -> None:
        """Whatever is elsewhere, and however old it is, stays."""
        backend: Any = harness.open()
        s.settled(backend, I9, s.done(s.claimed(backend, I9, "done")))
        s.settled(backend, I9, s.retry(s.claimed(backend, I9, "retried"), delay_ms=10 * HOUR))
        s.claimed(backend, I9, "held")
        backend.enqueue([s.job("ready"), s.job("delayed", delay_ms=10 * HOUR)])
        harness.advance(HOUR)
        before = s.photo(backend)
        I9.same(
            list(backend.drop_failed(FailedLimits(0, 0), 100)), [], "what was deleted of tasks that have not failed"
        )
        I9.same(s.photo(backend), before, "what is there")

    @needs(DropsFailed)
    def test_i9_without_limits_all_are_kept(self, harness: Harness) -> None:
        """Also very old ones."""
        backend: Any = harness.open()
        failed(backend, "a", "b")
        harness.advance(s.DAY)
        I9.same(list(backend.drop_failed(FailedLimits(), 100)), [], "what was deleted without a limit")
        I9.same(left(backend), ["a", "b"], "the failed tasks")

    @needs(DropsFailed)
    def test_i9_a_task_that_was_requeued_begins_anew(self, harness: Harness) -> None:
        """While it waits or runs it is not deleted; if it fails again, its age counts from then."""
        backend: Any = harness.open()
        failed(backend, "a", "b")
        harness.advance(HOUR)
        I9.same(list(backend.requeue(["a"])), [True], "the requeue")
        I9.same(ids(backend.drop_failed(OLD, 100)), ["b"], "what was deleted while it waits")
        delivery = s.take_one(backend, I9)
        I9.same(list(backend.drop_failed(FailedLimits(0, 0), 100)), [], "what was deleted while it runs")
        s.settled(backend, I9, s.fail(delivery))
        I9.same(list(backend.drop_failed(OLD, 100)), [], "what was deleted when it had just failed again")
        I9.same(left(backend), ["a"], "the failed tasks")

    @needs(DropsFailed)
    def test_i9_several_at_the_same_time(self, harness: Harness) -> None:
        """Each task is told once, and no more are deleted than there are beyond the limit."""
        backends: list[Any] = [harness.open() for _ in range(4)]
        names = [f"f{number:02}" for number in range(60)]
        failed(backends[0], *names)
        calls = [s.Call(lambda one=one: one.drop_failed(FailedLimits(keep=10), 100)) for one in backends]  # type: ignore[misc]
        dropped = [task_id for call in calls for task_id in ids(call.result(self.patience, I9, "a call hangs"))]
        I9.same(sorted(dropped), names[:50], "what all calls together have told")
        I9.same(left(backends[0]), names[50:], "the failed tasks after it")

    @needs(DropsFailed)
    def test_i9_what_cannot_be_read(self, harness: Harness) -> None:
        """It is deleted as any other, without a name."""
        backend: Any = harness.open()
        backend.enqueue([s.job("a")])
        s.drain(backend, 10)
        harness.inject({b"name": b"\xff\x00", b"other": b"x"})
        (delivery,) = s.drain(backend, 10)
        s.settled(backend, I9, s.fail(delivery))
        dropped = only(backend.drop_failed(FailedLimits(keep=0), 100))
        I9.same((dropped.id, dropped.name), (delivery.message.id, ""), "what was deleted")
        I9.same(left(backend), [], "the failed tasks after it")

    @needs(DropsFailed)
    def test_i9_who_waits_for_it_is_doomed(self, harness: Harness) -> None:
        """As when a person deletes it."""
        backend: Any = harness.open()
        if not getattr(backend, "keeps_flows", False):
            return
        backend.enqueue(
            [
                s.job("a", flow="x", successors=("w:b",), v=m.FLOW_VERSION),
                s.job("b", flow="x", after=("a",), v=m.FLOW_VERSION),
            ]
        )
        s.settled(backend, I9, s.fail(s.take_one(backend, I9)))
        I9.same(ids(backend.drop_failed(FailedLimits(keep=0), 100)), ["a"], "what was deleted")
        doomed = s.take_one(backend, I9).message
        cause = doomed.doomed if isinstance(doomed, m.Message) else ""
        I9.same((doomed.id, cause), ("b", "a"), "what became ready, and what dooms it")

    @needs(DropsFailed)
    def test_i9_large_messages(self, harness: Harness) -> None:
        """They are deleted with all that is kept of them, and told with their names."""
        backend: Any = harness.open()
        failed(backend, "z")
        backend.delete(["z"])
        before = harness.footprint()
        backend.enqueue([s.job("a", body=b"x" * 300_000)])
        s.settled(backend, I9, s.fail(s.take_one(backend, I9)))
        dropped = only(backend.drop_failed(FailedLimits(keep=0), 100))
        I9.same(dropped.name, "kit.job", "the name of the deleted task")
        I9.holds(harness.footprint() <= before + self.footprint_slack, "something of the deleted task is left")
