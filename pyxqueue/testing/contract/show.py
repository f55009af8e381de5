"""`show`, `depth` and `consumers`: I1 derived states."""

from __future__ import annotations

from .prelude import Contract, Harness, law, m, s

I1 = law("I1")


class ShowLaws(Contract):
    """I1."""

    def test_i1_a_task_goes_through_its_states(self, harness: Harness) -> None:
        """From the enqueue over a delayed retry to success the status always fits the place."""
        backend = harness.open()
        seen = []

        def look() -> None:
            found = s.info(backend, "a", I1)
            seen.append((found.status, found.worker, s.counts(backend)))

        backend.enqueue([s.job("a", delay_ms=10_000)])
        look()
        harness.advance(10_001)
        delivery = s.take_one(backend, I1, "two")
        look()
        s.settled(backend, I1, s.retry(delivery, 10_000))
        look()
        harness.advance(10_001)
        backend.maintain(256)
        look()
        s.settled(backend, I1, s.done(s.take_one(backend, I1)))
        look()
        wanted = [
            (m.TaskStatus.PENDING, "", (0, 0, 1, 0, 0)),
            (m.TaskStatus.STARTED, "two", (0, 1, 0, 0, 0)),
            (m.TaskStatus.RETRY, "", (0, 0, 1, 0, 0)),
            (m.TaskStatus.RETRY, "", (1, 0, 0, 0, 0)),
            (m.TaskStatus.SUCCESS, "one", (0, 0, 0, 0, 1)),
        ]
        I1.same(seen, wanted, "status, worker and place of a task that is delayed, retried and done")

    def test_i1_a_first_attempt_that_is_handed_back_is_pending(self, harness: Harness) -> None:
        """A deferred or redelivered task is not a retry."""
        backend = harness.open()
        delivery = s.claimed(backend, I1)
        s.settled(backend, I1, s.defer(delivery, 5_000))
        I1.same(s.info(backend, "a", I1).status, m.TaskStatus.PENDING, "the status after a deferral")
        harness.advance(5_001)
        s.take_one(backend, I1)
        backend.release("one", [])
        I1.same(s.info(backend, "a", I1).status, m.TaskStatus.PENDING, "the status after a release")

    def test_i1_the_end_is_what_the_record_says(self, harness: Harness) -> None:
        """A failure that is not kept with the failed tasks is a failure all the same."""
        backend = harness.open()
        delivery = s.claimed(backend, I1)
        s.settled(backend, I1, m.Settlement(delivery.receipt, m.Done(), s.fail(delivery).record))
        I1.same(s.info(backend, "a", I1).status, m.TaskStatus.FAILURE, "the status of a task whose record is a failure")
        s.places(backend, I1, history=1)

    def test_i1_the_end_is_shown_with_its_record(self, harness: Harness) -> None:
        """`show` returns the message and the record of an ended task."""
        backend = harness.open()
        s.settled(backend, I1, s.done(s.claimed(backend, I1)))
        found = s.info(backend, "a", I1)
        I1.same(found.record and found.record.value, s.EVERY_BYTE, "the value that is shown")
        I1.holds(found.message, "the message is not shown although it is in the history")

    def test_i1_a_task_is_shown_as_long_as_its_record(self, harness: Harness) -> None:
        """Without a place in the history a task is shown with its record only, and then not at all."""
        backend = harness.open(history=0)
        s.settled(backend, I1, s.done(s.claimed(backend, I1), ttl_ms=10_000))
        found = s.info(backend, "a", I1)
        I1.same(
            (found.status, found.message), (m.TaskStatus.SUCCESS, None), "status and message of a task without history"
        )
        harness.advance(10_001)
        I1.same(list(backend.show(["a"])), [None], "what is shown when neither message nor record is left")

    def test_i1_unknown_tasks_are_none(self, harness: Harness) -> None:
        """`show` returns one entry per id, in order, None for an unknown id."""
        backend = harness.open()
        backend.enqueue(s.jobs(2))
        seen = [task and task.id for task in backend.show(["t001", "nobody", "t000"])]
        I1.same(seen, ["t001", None, "t000"], "what show returned")

    def test_i1_consumers_hold_what_they_claimed(self, harness: Harness) -> None:
        """Each consumer is listed with the tasks that it holds now."""
        backend = harness.open()
        backend.enqueue(s.jobs(3))
        first = s.take(backend, 2, "one")
        s.take(backend, 1, "two")
        s.settled(backend, I1, s.done(first[0]))
        held_by = {consumer.name: sorted(consumer.in_flight) for consumer in backend.consumers()}
        I1.same(held_by, {"one": ["t001"], "two": ["t002"]}, "the tasks of each holder")

    def test_i1_depth_knows_the_oldest(self, harness: Harness) -> None:
        """The age of the longest waiting message is in ms, and 0 if none waits."""
        backend = harness.open()
        s.take(backend)
        I1.same(backend.depth().oldest_ms, 0, "the age of the longest waiting message when there is none")
        backend.enqueue([s.job("a")])
        harness.advance(10_000)
        backend.enqueue([s.job("b")])
        I1.holds(10_000 <= backend.depth().oldest_ms < 20_000, "the longest waiting message has waited for 10 s")

    def test_i1_a_thousand_shown_at_once(self, harness: Harness) -> None:
        """Each of many ids has its own result."""
        backend = harness.open()
        s.many(backend, I1)
        I1.same(
            [task and task.id for task in backend.show([*s.NAMES, "nobody"])], [*s.NAMES, None], "what show returned"
        )

    def test_i1_ids_are_compared_whole(self, harness: Harness) -> None:
        """`show` does not take one id for another."""
        backend = harness.open()
        backend.enqueue([s.job(task_id) for task_id in s.SPARED])
        I1.same(list(backend.show(s.MEANT)), [None] * len(s.MEANT), f"what show returned for {s.MEANT}")
        backend.enqueue([s.job(task_id) for task_id in s.MEANT])
        I1.same([task and task.id for task in backend.show(s.ALIKE)], s.ALIKE, "what show returned when all were there")

    def test_i1_only_what_is_ready_makes_the_oldest(self, harness: Harness) -> None:
        """Tasks that are delayed or in flight do not count as waiting."""
        backend = harness.open()
        s.claimed(backend, I1)
        backend.enqueue([s.job("late", delay_ms=60_000)])
        harness.advance(10_000)
        I1.same(backend.depth().oldest_ms, 0, "the age of the longest waiting message when none is ready")

    def test_i1_what_came_back_makes_the_oldest_too(self, harness: Harness) -> None:
        """The longest waiting message may be new, and may be one that came back: it has waited since then."""
        backend = harness.open()
        delivery = s.claimed(backend, I1)
        harness.advance(5_000)
        s.settled(backend, I1, s.retry(delivery))
        harness.advance(10_000)
        backend.enqueue([s.job("b")])
        I1.holds(10_000 <= backend.depth().oldest_ms < 15_000, "what came back has waited for 10 s, a new one for 0")
        delivery = s.take(backend, 1)[0]
        harness.advance(5_000)
        s.settled(backend, I1, s.retry(delivery))
        I1.holds(5_000 <= backend.depth().oldest_ms < 10_000, "a new one has waited for 5 s, what came back for 0")

    def test_i1_a_silent_holder_is_listed(self, harness: Harness) -> None:
        """A consumer is listed while it holds something, also if it was silent for most of a lease."""
        backend = harness.open()
        s.claimed(backend, I1)
        harness.advance(harness.lease // 2)
        backend.enqueue([s.job("b")])
        s.take(backend, 1, "two")
        holders = {consumer.name: tuple(consumer.in_flight) for consumer in backend.consumers() if consumer.in_flight}
        I1.same(holders, {"one": ("a",), "two": ("b",)}, "the tasks of each holder after half a lease")

    def test_i1_an_extension_is_a_sign_of_its_holder(self, harness: Harness) -> None:
        """`idle_ms` of a consumer starts again when one of its messages is extended, by any handle."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, I1)
        harness.advance(10_000)
        s.extended(other, delivery)
        idle = [consumer.idle_ms for consumer in backend.consumers() if consumer.name == "one"]
        I1.holds(idle and idle[0] < 10_000, f"`idle_ms` of a consumer whose message was just extended: {idle}")

    def test_i1_every_state_says_since_when(self, harness: Harness) -> None:
        """Whatever the state, `updated` says when the task was last heard of."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        seen = {"waiting": s.info(backend, "a", I1).updated_ms > 0}
        delivery = s.take_one(backend, I1)
        seen["in flight"] = s.info(backend, "a", I1).updated_ms > 0
        s.settled(backend, I1, s.done(delivery))
        seen["ended"] = s.info(backend, "a", I1).updated_ms > 0
        I1.same(seen, dict.fromkeys(seen, True), "whether `updated` is set")

    def test_i1_an_extension_does_not_change_the_start(self, harness: Harness) -> None:
        """Extensions do not change `started_ms`; a store may not keep it at all."""
        backend = harness.open()
        delivery = s.claimed(backend, I1)
        harness.advance(1_000)
        first = s.info(backend, "a", I1).started_ms
        backend.extend([m.Extension(delivery.receipt)])
        second = s.info(backend, "a", I1).started_ms
        s.settled(backend, I1, s.done(delivery))
        I1.same(s.info(backend, "a", I1).started_ms, 0, "`started` of a task that has ended")
        # Two clocks of one server may differ by what they round.
        I1.same(abs(second - first) < 100, True, "whether `started` stays where it was when the lease is extended")
