"""What is left in the store: B13 bounded."""

from __future__ import annotations

from .prelude import Backend, Contract, Harness, law, m, s

B13 = law("B13")


class BoundLaws(Contract):
    """B13."""

    def test_b13_the_history_is_capped(self, harness: Harness) -> None:
        """The history keeps the tasks that ended last; a record stays although its task has left the history."""
        backend = harness.open(history=5)
        messages = s.jobs(12)
        backend.enqueue(messages)
        for delivery in s.take(backend):
            s.settled(backend, B13, s.done(delivery))
        s.places(backend, B13, "with a history of 5", history=5)
        wanted = sorted(message.id for message in messages[-5:])
        B13.same(sorted(task.id for task in s.all_tasks(backend)), wanted, "the tasks in the history")
        B13.holds(backend.wait([messages[0].id], 0)[0], "the record went with the history")

    def test_b13_the_history_is_capped_for_the_cancelled_too(self, harness: Harness) -> None:
        """Tasks that were cancelled, waiting or in flight, count against the same limit."""
        backend = harness.open(history=2)
        messages = s.jobs(10)
        backend.enqueue(messages)
        s.take(backend, 5)
        backend.cancel([message.id for message in messages])
        s.places(backend, B13, "after ten cancellations", in_flight=5, history=2)
        backend.release("one", [])
        s.places(backend, B13, "after their release", history=2)

    def test_b13_a_smaller_limit_counts_from_the_next_end(self, harness: Harness) -> None:
        """The oldest tasks leave the history when a task ends on a handle with a smaller one; their records stay."""
        backend, smaller = harness.open(), harness.open(history=4)
        messages = s.jobs(6)
        backend.enqueue(messages)
        *others, last = s.take(backend)
        for delivery in others:
            s.settled(backend, B13, s.done(delivery))
        s.settled(smaller, B13, s.done(last))
        B13.same(
            sorted(task.id for task in s.all_tasks(backend)),
            [message.id for message in messages[2:]],
            "the tasks after the limit went from 100 to 4",
        )
        B13.holds(backend.wait([messages[0].id], 0)[0], "the record went with the history")

    def test_b13_many_tasks_leave_no_more_than_few(self, harness: Harness) -> None:
        """Many tasks leave no more behind than few, whichever way each of them went."""
        backend = harness.open(history=3)
        self._rounds(backend, harness, "few", 1)
        few = harness.footprint()
        self._rounds(backend, harness, "many", 6)
        B13.holds(
            harness.footprint() <= few + self.footprint_slack,
            f"{harness.footprint()} things are left after many tasks, {few} after few",
        )

    def test_b13_ids_are_forgotten_in_the_end(self, harness: Harness) -> None:
        """Long after its end, an id may be used again."""
        backend = harness.open(history=0)
        s.settled(backend, B13, s.done(s.claimed(backend, B13), ttl_ms=1_000))
        harness.advance(m.DEDUPE_MS + s.MINUTE)
        B13.same(list(backend.enqueue([s.job("a")])), [True], "an enqueue after everything about the id was over")

    def test_b13_a_thousand_too_many_are_gone_soon(self, harness: Harness) -> None:
        """A limit that was lowered far holds after few more ends: each drops many."""
        backend, smaller = harness.open(history=2 * s.MANY), harness.open(history=1)
        s.many(backend, B13)
        backend.cancel(s.NAMES)
        for number in range(10):
            s.settled(smaller, B13, s.done(s.claimed(smaller, B13, f"end-{number}")))
        B13.same(backend.depth().history, 1, f"how many of {s.MANY} are in a history of 1 after ten more ends")

    def test_b13_a_history_limit_of_zero_keeps_none(self, harness: Harness) -> None:
        """A limit of 0 means that no task is kept."""
        backend = harness.open(history=0)
        s.settled(backend, B13, s.done(s.claimed(backend, B13)))
        s.places(backend, B13, "without a history")

    def test_b13_a_removed_group_leaves_nothing(self, harness: Harness) -> None:
        """A group is removed with all its tasks, whatever their places."""
        backend = harness.open()
        s.take(backend)
        before = harness.footprint()
        other = harness.open("other")
        s.take(other)
        messages = [*s.jobs(10), *s.jobs(10, "d", delay_ms=60_000)]
        backend.enqueue(messages)
        one, two, three, four, *_ = s.take(other)
        s.settled(other, B13, s.done(one), s.fail(two), s.retry(three, 60_000), s.defer(four))
        backend.remove_group("other")
        backend.delete([message.id for message in messages])
        harness.advance(60_001)
        s.take(backend)
        B13.same(harness.footprint() - before, 0, "what a removed group left behind")

    def _rounds(self, backend: Backend, harness: Harness, name: str, rounds: int) -> None:
        """Tasks that end in every way; then time until nothing needs to be known about them."""
        for number in range(rounds):
            a, b, c, d, e, f, g = (f"{name}-{number}-{way}" for way in "abcdefg")
            self._detours(backend, harness, g)
            s.settled(backend, B13, s.done(s.claimed(backend, B13, a), ttl_ms=2_000))
            s.settled(backend, B13, s.done(s.claimed(backend, B13, b), ttl_ms=2 * m.DEDUPE_MS))
            s.settled(backend, B13, s.fail(s.claimed(backend, B13, c)))
            backend.enqueue([s.job(d), s.job(e, delay_ms=5_000), s.job(f, delay_ms=5_000), s.job(a)])
            backend.cancel([d, e])
            backend.delete([f])
            backend.forget([b])
        backend.delete([task.id for task in s.all_tasks(backend, m.TaskStatus.FAILURE)])
        none = harness.open(history=0)
        s.settled(none, B13, s.done(s.claimed(none, B13, f"{name}-last")))
        harness.advance(3 * 24 * 60 * s.MINUTE)
        s.take(backend)

    def _detours(self, backend: Backend, harness: Harness, task_id: str) -> None:
        """One task to which happens whatever can happen before an end, and what it leads to."""
        first = s.claimed(backend, B13, task_id)
        s.extended(backend, first, m.Progress(1, 2))
        s.settled(backend, B13, s.retry(first))
        backend.settle([s.done(first)])
        s.settled(backend, B13, s.defer(s.take_one(backend, B13), 1_000))
        harness.advance(1_001)
        backend.release("one", [s.take_one(backend, B13).receipt])
        s.take_one(backend, B13)
        harness.advance(harness.lease + 1)
        s.settled(backend, B13, s.done(s.take_one(backend, B13), then=[s.job(f"{task_id}-next")]))
        backend.requeue([task_id])
        s.settled(backend, B13, *(s.done(delivery) for delivery in s.take_exactly(backend, 2, B13)))
        backend.enqueue([s.job(f"{task_id}-moved")])
        moved = [task for task in backend.show([f"{task_id}-moved"]) if task is not None]
        backend.delete([f"{task_id}-moved"])
        backend.adopt(moved)
        backend.cancel([f"{task_id}-moved"])
