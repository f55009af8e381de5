"""The laws of administration among ids that look alike, records of earlier lives, and what is woken by what."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from ...message import (
    Defer,
    LeaseStatus,
    Message,
    Progress,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
    Unreadable,
)
from ...protocols import Backend
from .harness import (
    Call,
    Contract,
    Harness,
    all_tasks,
    counts,
    decided,
    done,
    extended,
    fail,
    held,
    ids_of,
    info,
    job,
    jobs,
    photo,
    readable,
    settled,
    take,
    take_exactly,
    take_one,
)
from .keeping import RICH
from .laws import law
from .neighbours import once_each

I1, I2, I3, I4, I5, I6, I7 = law("I1"), law("I2"), law("I3"), law("I4"), law("I5"), law("I6"), law("I7")

ALIKE = ["abc", "a.c", "aXc", "A_C", "a_c", "a_cd", "a_c.tmp", "ab", "a", ".a"]
"""Ids that a pattern, a prefix or a comparison without case takes for one another; `MEANT` are the ones to hit."""
MEANT = ["a_c", "a.c", "a"]
SPARED = [task_id for task_id in ALIKE if task_id not in MEANT]


class InspectorNeighbours(Contract):
    """I1 to I7."""

    def test_i1_ids_are_compared_whole(self, harness: Harness) -> None:
        """`show` does not take one id for another."""
        backend = harness.open()
        backend.enqueue([job(task_id) for task_id in SPARED])
        I1.same(list(backend.show(MEANT)), [None] * len(MEANT), f"what show answered for {MEANT}")
        backend.enqueue([job(task_id) for task_id in MEANT])
        I1.same([task and task.id for task in backend.show(ALIKE)], ALIKE, "what show answered when all were there")

    def test_i1_only_what_is_ready_makes_the_oldest(self, harness: Harness) -> None:
        """What is delayed or held does not wait for a worker."""
        backend = harness.open()
        held(backend, I1)
        backend.enqueue([job("late", delay_ms=60_000)])
        harness.advance(10_000)
        I1.same(backend.depth().oldest_ms, 0, "the age of the longest waiting message when none is ready")

    def test_i2_ids_are_compared_whole(self, harness: Harness) -> None:
        """`requeue` brings back those it is given and no other."""
        backend = self._alike(harness)
        backend.cancel(ALIKE)
        I2.same(list(backend.requeue(MEANT)), [True] * len(MEANT), f"the requeue of {MEANT}")
        I2.same(ids_of(take(backend)), MEANT, "what could be claimed after it")

    def test_i2_two_requeue_at_once(self, harness: Harness) -> None:
        """Of two that requeue the same tasks at the same time, one is told that it did."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(jobs(40))
        settled(backend, I2, *(fail(delivery) for delivery in take(backend)))
        ids = [message.id for message in jobs(40)]
        once_each(I2, self.patience, (backend, other), lambda handle, one: handle.requeue([one])[0], ids)
        I2.same(counts(backend), (40, 0, 0, 0, 0), "ready, held, delayed, failed, finished after it")

    def test_i2_a_requeued_task_outlives_its_old_record(self, harness: Harness) -> None:
        """When the life of the old record is over, the task still waits."""
        backend = harness.open()
        settled(backend, I2, done(held(backend, I2), ttl_ms=10_000))
        backend.requeue(["a"])
        harness.advance(3 * 3_600_000)
        I2.same(ids_of(take(backend)), ["a"], "what could be claimed long after the old record would have ended")

    def test_i2_what_the_history_forgot_is_not_requeued(self, harness: Harness) -> None:
        """Without its message nothing can run again, and nobody is told that it will."""
        backend = harness.open(history=0)
        settled(backend, I2, done(held(backend, I2)))
        I2.same(list(backend.requeue(["a"])), [False], "the requeue of a task whose message is gone")

    def test_i3_ids_are_compared_whole(self, harness: Harness) -> None:
        """`cancel` ends those it is given and no other."""
        backend = self._alike(harness)
        I3.same(list(backend.cancel(MEANT)), [True] * len(MEANT), f"the cancellation of {MEANT}")
        I3.same(ids_of(take(backend)), SPARED, "what could be claimed after it")

    def test_i3_what_cannot_be_read_can_be_cancelled(self, harness: Harness) -> None:
        """An entry that is no message waits like any other, and ends like any other."""
        backend = harness.open()
        take(backend)
        task_id = harness.inject({b"hello": b"\xff"})
        I3.same(list(backend.cancel([task_id])), [True], "the cancellation of an unreadable entry")
        I3.same(
            (info(backend, task_id, I3).status, ids_of(take(backend))), (TaskStatus.CANCELLED, []), "what it is then"
        )

    def test_i3_nothing_refused_takes_it_back(self, harness: Harness) -> None:
        """An old holder's settlement and extension leave the cancellation as it is."""
        backend = harness.open()
        old = held(backend, I3)
        settled(backend, I3, Settlement(old.receipt, Defer()))
        new = take_one(backend, I3)
        backend.cancel(["a"])
        backend.settle([decided(old, Retry())])
        extended(backend, old)
        I3.same(extended(backend, new), LeaseStatus.CANCEL, "the holder's extension after an old receipt was refused")

    def test_i4_every_id_is_listed(self, harness: Harness) -> None:
        """Whatever an id begins or ends with, and in the order of the enqueue, not of the ids."""
        backend = self._alike(harness)
        I4.same([task.id for task in all_tasks(backend)], ALIKE[::-1], "the tasks")

    def test_i5_ids_are_compared_whole(self, harness: Harness) -> None:
        """`delete` removes those it is given and no other."""
        backend = self._alike(harness)
        I5.same(list(backend.delete(MEANT)), [True] * len(MEANT), f"the deletion of {MEANT}")
        I5.same(ids_of(take(backend)), SPARED, "what could be claimed after it")

    def _alike(self, harness: Harness) -> Backend:
        backend = harness.open()
        backend.enqueue([job(task_id) for task_id in ALIKE])
        return backend

    def test_i6_no_time_is_no_time(self, harness: Harness) -> None:
        """A timeout of 0 is one look, not none at all."""
        backend = harness.open()
        held(backend, I6)
        seen = info(backend, "a", I6)
        call = Call(lambda: backend.watch("a", seen, 0))
        I6.there(call.answer(self.patience, I6, "watch waits although it was given no time"), "watch answered nothing")

    def test_i6_the_last_look_is_at_the_end(self, harness: Harness) -> None:
        """What changed without waking anybody is answered at the timeout, not what was seen before."""
        backend, admin = harness.open(), harness.open()
        settled(backend, I6, done(held(backend, I6)))
        seen = info(backend, "a", I6)
        call = Call(lambda: backend.watch("a", seen, 300))
        call.waits()
        admin.delete(["a"])
        in_time = call.waits(0)
        found = call.answer(self.patience, I6, "watch went on after its timeout")
        I6.holds(found is None or not in_time, "watch answered an old look at a task that had been deleted meanwhile")

    def test_i6_any_change_of_progress_wakes(self, harness: Harness) -> None:
        """Another text or total is news, also if no more is done."""
        backend, worker = harness.open(), harness.open()
        delivery = held(worker, I6)
        extended(worker, delivery, Progress(1, 2, "one"))
        for progress in (Progress(1, 2, "two"), Progress(1, 3, "two")):
            seen = info(backend, "a", I6)
            call = Call(lambda seen=seen: backend.watch("a", seen, None))  # type: ignore[misc]
            I6.holds(call.waits(), "watch answered though nothing differs")
            extended(worker, delivery, progress)
            found = call.answer(self.patience, I6, "watch was not woken by another text or total")
            I6.same(found and found.progress, progress, "the progress that watch answered")

    def test_i6_each_end_wakes(self, harness: Harness) -> None:
        """`watch` answers when a task fails, and when it is cancelled while it waits."""
        backend, admin = harness.open(), harness.open()
        delivery = held(admin, I6, "a")
        steps: list[tuple[TaskStatus, Callable[[], object]]] = [
            (TaskStatus.FAILURE, lambda: admin.settle([fail(delivery)])),
            (TaskStatus.CANCELLED, lambda: admin.cancel(["a"])),
        ]
        for status, step in steps:
            backend.requeue(["a"])
            seen = info(backend, "a", I6)
            call = Call(lambda seen=seen: backend.watch("a", seen, None))  # type: ignore[misc]
            I6.holds(call.waits(), "watch answered though nothing differs")
            step()
            found = call.answer(self.patience, I6, f"watch was not woken when the task became {status.name}")
            I6.same(found and found.status, status, "the state that watch answered")

    def test_i7_every_header_field_comes_along(self, harness: Harness) -> None:
        """Whatever a message carries it carries in its new store, a waiting one that cannot be read included."""
        backend = harness.open()
        backend.enqueue([RICH])
        junk = harness.inject({b"hello": b"\xff"})
        tasks = [info(backend, task_id, I7) for task_id in ("rich", junk)]
        backend.delete(["rich", junk])
        I7.same(list(backend.adopt(tasks)), [True, True], "the adoption")
        rich, other = (delivery.message for delivery in take_exactly(backend, 2, I7))
        seen = evolve(rich, enqueued_ms=0, due_ms=0) if isinstance(rich, Message) else rich
        I7.same(seen, RICH, "the message that was adopted")
        kept = dict(other.fields) if isinstance(other, Unreadable) else other
        I7.same((other.id, kept), (junk, {b"hello": b"\xff"}), "the unreadable entry that was adopted")

    def test_i7_a_redelivered_task_is_no_crash(self, harness: Harness) -> None:
        """A task that is suspected, and was never charged, moves so."""
        backend = harness.open()
        held(backend, I7)
        harness.advance(harness.lease + 1)
        settled(backend, I7, Settlement(take_one(backend, I7).receipt, Defer()))
        task = info(backend, "a", I7)
        backend.delete(["a"])
        backend.adopt([task])
        message = readable(take_one(backend, I7), I7)
        I7.same((message.redelivered, message.crashes), (True, 0), "redelivered and crashes of an adopted task")

    def test_i7_what_ended_not_long_ago_is_known(self, harness: Harness) -> None:
        """Also without its place in the history, as for an enqueue."""
        backend = harness.open(history=0)
        backend.enqueue([job("a")])
        task: TaskInfo = info(backend, "a", I7)
        settled(backend, I7, done(take_one(backend, I7)))
        before = photo(backend, "a")
        I7.same(list(backend.adopt([task])), [False], "the adoption of a task that has ended here")
        I7.same(photo(backend, "a"), before, "a refused adoption changed something")
