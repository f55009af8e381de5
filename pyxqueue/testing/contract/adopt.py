"""`adopt`: I7 adopt."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ConfigurationError
from ...model.message import evolve
from .prelude import Backend, Contract, Harness, law, m, s

I7 = law("I7")


def _state(backend: Backend, ids: Sequence[str]) -> list[m.TaskInfo | None]:
    """What is shown of the tasks, without the times that every store stamps itself."""
    return [
        task and evolve(task, updated_ms=0, message=_unstamped(task), record=_undated(task))
        for task in backend.show(ids)
    ]


def _unstamped(task: m.TaskInfo) -> m.Message | m.Unreadable | None:
    return evolve(task.message, enqueued_ms=0) if isinstance(task.message, m.Message) else task.message


def _undated(task: m.TaskInfo) -> m.Record | None:
    return task.record and evolve(task.record, ended_ms=0)


class AdoptLaws(Contract):
    """I7."""

    def test_i7_what_left_comes_back_as_it_was(self, harness: Harness) -> None:
        """Tasks that were shown, deleted and adopted are as they were: place, header, bytes, reason and record."""
        backend = harness.open()
        s.settled(backend, I7, s.fail(s.claimed(backend, I7, "failed", headers={"k": "v"}), "no use", ttl_ms=50_000))
        s.settled(backend, I7, m.Settlement(s.claimed(backend, I7, "bare").receipt, m.Fail("no record")))
        injected = harness.inject({b"body": s.EVERY_BYTE, b"odd": b"\xff"})
        s.settled(backend, I7, s.fail(s.take_one(backend, I7), "no message"))
        s.settled(backend, I7, s.retry(s.claimed(backend, I7, "retry", headers={"k": "v"})))
        crashed = s.take_one(backend, I7)
        backend.release("one", [crashed.receipt])
        s.settled(backend, I7, s.defer(s.take_one(backend, I7), 20_000))
        backend.enqueue([s.job("ready"), s.job("delayed", delay_ms=10_000)])
        ids = ["bare", injected, "failed", "retry", "delayed", "ready"]
        before, tasks = _state(backend, ids), list(backend.show(ids))
        I7.same(list(backend.delete(ids)), [True] * len(ids), "the deletion that makes room")

        adopted = list(backend.adopt([task for task in tasks if task is not None]))

        I7.same(adopted, [True] * len(ids), "the adoption of what is not known")
        I7.same(_state(backend, ids), before, "the adopted tasks, against what they were")
        s.places(backend, I7, "after it", ready=1, delayed=2, failed=3)
        s.settled(backend, I7, s.done(s.take_one(backend, I7)))
        harness.advance(10_001)
        delayed = s.take_one(backend, I7)
        I7.same(delayed.message.id, "delayed", "what could be claimed when the first delay was over")
        s.settled(backend, I7, s.done(delayed))
        harness.advance(10_001)
        message = s.readable(s.take_one(backend, I7), I7)
        header = (message.id, message.attempt, message.crashes, message.redelivered, message.deferrals)
        I7.same(header, ("retry", 2, 1, True, 1), "id, attempt, crashes, redelivered and deferrals of what was retried")
        I7.same((message.body, dict(message.headers)), (s.EVERY_BYTE, {"k": "v"}), "its body and headers")

    def test_i7_adopted_tasks_keep_their_order(self, harness: Harness) -> None:
        """Adopted tasks are claimed in the order in which they were given, behind what was there."""
        backend = harness.open()
        backend.enqueue([s.job("b"), s.job("a"), s.job("c")])
        tasks = [s.info(backend, task_id, I7) for task_id in ("c", "a", "b")]
        backend.delete(["a", "b", "c"])
        backend.enqueue([s.job("first")])
        backend.adopt(tasks)
        s.claims(backend, I7, ["first", "c", "a", "b"], "the order in which adopted tasks were claimed")

    def test_i7_adopted_failures_can_be_requeued(self, harness: Harness) -> None:
        """What was adopted as failed runs again from the start, like any failed task."""
        backend = harness.open()
        s.settled(backend, I7, s.fail(s.claimed(backend, I7)))
        task = s.info(backend, "a", I7)
        backend.delete(["a"])
        backend.adopt([task])
        I7.same(list(backend.requeue(["a"])), [True], "the requeue of a failed task that was adopted")
        message = s.readable(s.take_one(backend, I7), I7)
        I7.same((message.id, message.attempt, message.body), ("a", 1, s.EVERY_BYTE), "the requeued message")

    def test_i7_into_one_group_only(self, harness: Harness) -> None:
        """Adoption into one group puts no copy into another."""
        backend, other = harness.open("a"), harness.open("b")
        other.lease_ms()
        backend.enqueue([s.job("x")])
        task = s.info(backend, "x", I7)
        for side in (backend, other):
            side.delete(["x"])
        I7.same(list(backend.adopt([task])), [True], "the adoption")
        s.places(backend, I7, "in the group that adopted", ready=1)
        s.places(other, I7, "in the other group")

    def test_i7_what_is_known_is_refused(self, harness: Harness) -> None:
        """A task that waits, is in flight or ended not long ago stays; the first of an id in a batch is adopted."""
        backend = harness.open()
        backend.enqueue([s.job("new")])
        new = s.info(backend, "new", I7)
        backend.delete(["new"])
        s.settled(backend, I7, s.done(s.claimed(backend, I7, "done")))
        s.settled(backend, I7, s.fail(s.claimed(backend, I7, "failed")))
        s.claimed(backend, I7, "in-flight")
        backend.enqueue([s.job("ready"), s.job("delayed", delay_ms=10_000)])
        known = ["ready", "delayed", "in-flight", "done", "failed"]
        before = s.photo(backend)

        adopted = list(backend.adopt([evolve(new, id=name, message=s.job(name, body=b"other")) for name in known]))

        I7.same(adopted, [False] * len(known), f"the adoption of {known}")
        I7.same(s.photo(backend), before, "a refused adoption changed something")
        I7.same(list(backend.adopt([new, new])), [True, False], "the adoption of one task twice")
        I7.same(backend.depth().ready, 2, "how many tasks are ready after it")

    def test_i7_only_what_waits_or_failed(self, harness: Harness) -> None:
        """If a task of the batch is in flight or ended, or has no message, none of the batch is adopted."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        task = s.info(backend, "a", I7)
        backend.delete(["a"])
        before = s.photo(backend)
        wrong = [evolve(task, id="b", status=status) for status in m.TaskStatus if status not in m.ADOPTABLE]
        for other in (*wrong, evolve(task, id="b", message=None)):
            try:
                backend.adopt([task, other])
            except ConfigurationError:
                pass
            else:
                raise I7.broken(f"a task was adopted that is {other.status.name} with the message {other.message}")
            I7.same(s.photo(backend), before, "a refused adoption changed something")
        I7.same(list(backend.adopt([])), [], "the adoption of nothing")

    def test_i7_a_thousand_adopted_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is adopted whole."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        task = s.info(backend, "a", I7)
        adopted = backend.adopt([evolve(task, id=name, message=s.job(name, body=b"")) for name in s.NAMES])
        I7.same(list(adopted), [True] * s.MANY, f"the adoption of {s.MANY}")
        s.places(backend, I7, "after it", ready=s.MANY + 1)

    def test_i7_large_numbers_stay(self, harness: Harness) -> None:
        """Large counts are adopted as they are."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        task = s.info(backend, "a", I7)
        backend.delete(["a"])
        often = s.job("a", attempt=70_000, crashes=300, deferrals=70_001, redelivered=True)
        backend.adopt([evolve(task, message=often)])
        message = s.readable(s.take_one(backend, I7), I7)
        seen = (message.attempt, message.crashes, message.deferrals, message.redelivered)
        I7.same(seen, (70_000, 300, 70_001, True), "attempt, crashes, deferrals and redelivered of an adopted task")

    def test_i7_every_header_field_comes_along(self, harness: Harness) -> None:
        """An adopted message keeps every field, also if it cannot be read."""
        backend = harness.open()
        backend.enqueue([s.RICH])
        junk = harness.inject({b"hello": b"\xff"})
        tasks = [s.info(backend, task_id, I7) for task_id in ("rich", junk)]
        backend.delete(["rich", junk])
        I7.same(list(backend.adopt(tasks)), [True, True], "the adoption")
        found = {delivery.message.id: delivery.message for delivery in s.take_exactly(backend, 2, I7)}
        rich, other = found["rich"], found[junk]
        seen = evolve(rich, enqueued_ms=0, due_ms=0) if isinstance(rich, m.Message) else rich
        I7.same(seen, s.RICH, "the message that was adopted")
        kept = dict(other.fields) if isinstance(other, m.Unreadable) else other
        I7.same((other.id, kept), (junk, {b"hello": b"\xff"}), "the unreadable entry that was adopted")

    def test_i7_adoption_does_not_count_a_crash(self, harness: Harness) -> None:
        """A redelivered task that was never charged is adopted uncharged."""
        backend = harness.open()
        s.claimed(backend, I7)
        harness.advance(harness.lease + 1)
        s.settled(backend, I7, s.defer(s.take_one(backend, I7)))
        task = s.info(backend, "a", I7)
        backend.delete(["a"])
        backend.adopt([task])
        message = s.readable(s.take_one(backend, I7), I7)
        I7.same((message.redelivered, message.crashes), (True, 0), "redelivered and crashes of an adopted task")

    def test_i7_what_ended_not_long_ago_is_known(self, harness: Harness) -> None:
        """A task that ended is known also if the history has dropped it, as for an enqueue."""
        backend = harness.open(history=0)
        backend.enqueue([s.job("a")])
        task: m.TaskInfo = s.info(backend, "a", I7)
        s.settled(backend, I7, s.done(s.take_one(backend, I7)))
        before = s.photo(backend, "a")
        I7.same(list(backend.adopt([task])), [False], "the adoption of a task that has ended here")
        I7.same(s.photo(backend, "a"), before, "a refused adoption changed something")

    def test_i7_a_failed_task_has_a_record(self, harness: Harness) -> None:
        """An adopted failure whose record was too old to come along gets one, as a failure without a record does."""
        backend = harness.open()
        backend.adopt([m.TaskInfo("a", m.TaskStatus.FAILURE, s.job("a", attempt=3), reason="no use")])
        stored = I7.there(backend.wait(["a"], 0)[0], "the record of an adopted failure is missing")
        I7.same(stored.error and stored.error.message, "no use", "the reason in the record that the store created")
        I7.same(stored.attempt, 3, "the attempt in the record that the store created")
