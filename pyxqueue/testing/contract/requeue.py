"""`requeue`: I2 requeue keeps."""

from __future__ import annotations

from .prelude import Contract, Harness, law, m, s

I2 = law("I2")


class RequeueLaws(Contract):
    """I2."""

    def test_i2_what_ended_runs_again_from_the_start(self, harness: Harness) -> None:
        """A requeued task has its id and bytes, attempt 1, no crashes, and no record."""
        backend = harness.open()
        for task_id, verdict in (("a", m.Done()), ("b", m.Fail("no use")), ("c", m.Cancelled())):
            s.settled(backend, I2, s.retry(s.claimed(backend, I2, task_id, headers={"k": task_id})))
            s.settled(backend, I2, s.defer(s.take_one(backend, I2)))
            delivery = s.take_one(backend, I2)
            backend.release("one", [delivery.receipt])
            s.settled(backend, I2, s.decided(s.take_one(backend, I2), verdict))
            I2.same(list(backend.requeue([task_id])), [True], f"the requeue of a task after {verdict}")
            found = s.info(backend, task_id, I2)
            seen = (found.status, found.record, found.reason, backend.wait([task_id], 0)[0])
            I2.same(seen, (m.TaskStatus.PENDING, None, "", None), "state, record, reason and record of a requeued task")
            message = s.readable(s.take_one(backend, I2), I2)
            wanted = (task_id, s.EVERY_BYTE, {"k": task_id}, 1, 0, False, 0)
            header = (message.attempt, message.crashes, message.redelivered, message.deferrals)
            I2.same((message.id, message.body, dict(message.headers), *header), wanted, "the requeued message")
            backend.release("one", [])
            backend.delete([task_id])

    def test_i2_a_requeued_task_ends_again(self, harness: Harness) -> None:
        """`wait` returns the new result after a requeue, not the old one."""
        backend = harness.open()
        s.settled(backend, I2, s.done(s.claimed(backend, I2), value=b"old"))
        backend.requeue(["a"])
        call = s.waiting(I2, lambda: backend.wait(["a"], None))
        s.settled(backend, I2, s.done(s.take_one(backend, I2), value=b"new"))
        got = call.result(self.patience, I2, "wait was not woken by the new end")
        I2.same([record and record.value for record in got], [b"new"], "the result after a requeue")

    def test_i2_refused_while_under_way(self, harness: Harness) -> None:
        """A task that is ready, in flight, delayed, requeued already or unknown is not requeued."""
        backend = harness.open()
        s.claimed(backend, I2, "in-flight")
        s.settled(backend, I2, s.done(s.claimed(backend, I2, "twice")))
        backend.enqueue([s.job("ready"), s.job("delayed", delay_ms=10_000)])
        ids = ["in-flight", "ready", "delayed", "unknown", "twice", "twice"]
        I2.same(list(backend.requeue(ids)), [False, False, False, False, True, False], f"the requeue of {ids}")
        s.places(backend, I2, "after it", ready=2, in_flight=1, delayed=1)

    def test_i2_a_thousand_requeued_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is requeued whole."""
        backend = harness.open(history=2 * s.MANY)
        s.many(backend, I2)
        backend.cancel(s.NAMES)
        I2.same(list(backend.requeue(s.NAMES)), [True] * s.MANY, f"the requeue of {s.MANY}")
        s.places(backend, I2, "after it", ready=s.MANY)

    def test_i2_ids_are_compared_whole(self, harness: Harness) -> None:
        """`requeue` brings back those it is given and no other."""
        backend = s.alike(harness)
        backend.cancel(s.ALIKE)
        I2.same(list(backend.requeue(s.MEANT)), [True] * len(s.MEANT), f"the requeue of {s.MEANT}")
        s.claims(backend, I2, s.MEANT, "what could be claimed after it")

    def test_i2_two_requeue_at_once(self, harness: Harness) -> None:
        """Of two that requeue the same tasks at the same time, one gets True."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(s.jobs(40))
        s.settled(backend, I2, *(s.fail(delivery) for delivery in s.take(backend)))
        ids = [message.id for message in s.jobs(40)]
        s.once_each(I2, self.patience, (backend, other), lambda handle, one: handle.requeue([one])[0], ids)
        s.places(backend, I2, "after it", ready=40)

    def test_i2_a_requeued_task_outlives_its_old_record(self, harness: Harness) -> None:
        """When the ttl of the old record has passed, the task still waits."""
        backend = harness.open()
        s.settled(backend, I2, s.done(s.claimed(backend, I2), ttl_ms=10_000))
        backend.requeue(["a"])
        harness.advance(3 * 3_600_000)
        s.claims(backend, I2, ["a"], "what could be claimed long after the old record would have ended")

    def test_i2_what_the_history_forgot_is_not_requeued(self, harness: Harness) -> None:
        """A task without a message cannot be requeued: `requeue` returns False."""
        backend = harness.open(history=0)
        s.settled(backend, I2, s.done(s.claimed(backend, I2)))
        I2.same(list(backend.requeue(["a"])), [False], "the requeue of a task whose message is gone")

    def test_i2_a_requeue_clears_the_deferrals(self, harness: Harness) -> None:
        """A requeued task can be deferred as often as a new one."""
        backend = harness.open()
        s.settled(backend, I2, s.defer(s.claimed(backend, I2), 1_000))
        harness.advance(1_001)
        s.settled(backend, I2, m.Settlement(s.take_one(backend, I2).receipt, m.Fail("no use")))
        backend.requeue(["a"])
        I2.same(s.readable(s.take_one(backend, I2), I2).deferrals, 0, "the deferrals of a requeued task")

    def test_i2_a_requeue_keeps_the_time_of_the_enqueue(self, harness: Harness) -> None:
        """`enqueued_ms` is when the task was accepted, also after a requeue."""
        backend = harness.open()
        delivery = s.claimed(backend, I2)
        s.settled(backend, I2, s.done(delivery))
        harness.advance(5_000)
        backend.requeue(["a"])
        seen = s.readable(s.take_one(backend, I2), I2).enqueued_ms
        I2.same(seen, s.readable(delivery, I2).enqueued_ms, "the `enqueued_ms` of a requeued task")
