"""`cancel`: I3 cancel."""

from __future__ import annotations

from collections.abc import Callable

from .prelude import Contract, Harness, law, m, s

I3 = law("I3")


class CancelLaws(Contract):
    """I3."""

    def test_i3_a_waiting_task_ends_at_once(self, harness: Harness) -> None:
        """A new, a retried and a delayed task are cancelled with a record, and never run."""
        backend = harness.open()
        retried, deferred = s.claimed(backend, I3, "retried"), s.claimed(backend, I3, "deferred")
        s.settled(backend, I3, s.retry(retried), s.defer(deferred))
        backend.enqueue([s.job("a"), s.job("b", delay_ms=10_000), s.job("c")])
        ids = ["b", "retried", "a"]
        I3.same(list(backend.cancel(ids)), [True] * 3, "the cancellation of three waiting tasks")
        ends = [record and record.status for record in backend.wait(ids, 0)]
        I3.same(ends, [m.TaskStatus.CANCELLED] * 3, "their records")
        s.places(backend, I3, "after it", ready=2, history=3)
        harness.advance(10_001)
        s.claims(backend, I3, ["deferred", "c"], "what could be claimed after three of five were cancelled")

    def test_i3_the_holder_learns_it(self, harness: Harness) -> None:
        """The holder of a cancelled task gets CANCEL from each extension until it settles, and may end it as done."""
        backend = harness.open()
        delivery = s.claimed(backend, I3)
        I3.same(s.extended(backend, delivery), m.LeaseStatus.HELD, "an extension before the cancellation")
        I3.same(list(backend.cancel(["a"])), [True], "the cancellation of a task in flight")
        I3.same(
            [s.extended(backend, delivery) for _ in range(2)], [m.LeaseStatus.CANCEL] * 2, "the extensions after it"
        )
        I3.same(
            s.info(backend, "a", I3).status, m.TaskStatus.STARTED, "the status of a task in flight that is cancelled"
        )
        s.settled(backend, I3, s.done(delivery))
        I3.same(
            s.info(backend, "a", I3).status, m.TaskStatus.SUCCESS, "the status of a task that was done all the same"
        )

    def test_i3_the_holder_learns_how_it_was_asked(self, harness: Harness) -> None:
        """A later request, forced or not, can change the status; no request is taken back."""
        backend = harness.open()
        delivery = s.claimed(backend, I3)
        statuses = []
        for force in (False, False, False, True, False):
            I3.same(list(backend.cancel(["a"], force)), [True], "the cancellation of a task in flight")
            statuses.append(s.extended(backend, delivery))
        wanted = [
            m.LeaseStatus.CANCEL,
            m.LeaseStatus.CANCEL_AGAIN,
            m.LeaseStatus.CANCEL_AGAIN,
            m.LeaseStatus.KILL,
            m.LeaseStatus.KILL,
        ]
        I3.same(statuses, wanted, "the extensions after a request, two more, a forced one and another")
        s.settled(backend, I3, s.retry(delivery))
        I3.same(s.info(backend, "a", I3).status, m.TaskStatus.CANCELLED, "the status of a task that would wait again")
        backend.requeue(["a"])
        (again,) = s.take(backend)
        I3.same(s.extended(backend, again), m.LeaseStatus.HELD, "an extension after it was made ready again")

    def test_i3_a_forced_cancellation_may_come_first(self, harness: Harness) -> None:
        """`force` works without an earlier request."""
        backend = harness.open()
        delivery = s.claimed(backend, I3)
        I3.same(list(backend.cancel(["a"], force=True)), [True], "the forced cancellation of a task in flight")
        I3.same(s.extended(backend, delivery), m.LeaseStatus.KILL, "the extension after it")

    def test_i3_the_holder_stops(self, harness: Harness) -> None:
        """A holder that settles with Cancelled ends the task as CANCELLED."""
        backend = harness.open()
        delivery = s.claimed(backend, I3)
        backend.cancel(["a"])
        s.settled(backend, I3, s.decided(delivery, m.Cancelled()))
        stored = I3.there(backend.wait(["a"], 0)[0], "the record is missing")
        I3.same(stored.status, m.TaskStatus.CANCELLED, "the status in its record")
        s.places(backend, I3, "after it", history=1)

    def test_i3_nothing_cancelled_runs_again(self, harness: Harness) -> None:
        """A cancelled task that is retried, deferred, released or whose lease ends, ends instead."""
        backend = harness.open()
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "retry": lambda delivery: s.settled(backend, I3, s.retry(delivery)),
            "late-retry": lambda delivery: s.settled(backend, I3, s.retry(delivery, 10_000)),
            "defer": lambda delivery: s.settled(backend, I3, s.defer(delivery)),
            "release": lambda _: backend.release("one", []),
            "lease": lambda _: harness.advance(harness.lease + 1),
        }
        for name, way in ways.items():
            delivery = s.claimed(backend, I3, name)
            backend.cancel([name])
            way(delivery)
            s.claims(backend, I3, [], f"what could be claimed of a cancelled task ({name})")
            I3.same(s.info(backend, name, I3).status, m.TaskStatus.CANCELLED, f"its status ({name})")
        s.places(backend, I3, "after all of it", history=5)

    def test_i3_what_ended_is_not_cancelled(self, harness: Harness) -> None:
        """A cancellation that comes too late, or for an unknown id, returns False and changes nothing."""
        backend = harness.open()
        s.settled(backend, I3, s.done(s.claimed(backend, I3, "done")))
        s.settled(backend, I3, s.fail(s.claimed(backend, I3, "failed")))
        before = s.photo(backend)
        results = list(backend.cancel(["done", "failed", "unknown"]))
        I3.same(results, [False, False, False], "the cancellation of a done, a failed and an unknown task")
        I3.same(s.photo(backend), before, "a refused cancellation changed something")

    def test_i3_a_requeue_is_a_new_start(self, harness: Harness) -> None:
        """A cancelled task that is requeued runs, and its holder gets HELD."""
        backend = harness.open()
        delivery = s.claimed(backend, I3)
        backend.cancel(["a"])
        s.settled(backend, I3, s.decided(delivery, m.Cancelled()))
        backend.requeue(["a"])
        I3.same(s.extended(backend, s.take_one(backend, I3)), m.LeaseStatus.HELD, "an extension after a requeue")

    def test_i3_results_keep_the_order(self, harness: Harness) -> None:
        """Of several ids each has its own result, at its own place."""
        backend = harness.open()
        s.settled(backend, I3, s.done(s.claimed(backend, I3, "done")))
        backend.enqueue([s.job("a"), s.job("b")])
        ids = ["done", "a", "unknown", "b", "a"]
        I3.same(list(backend.cancel(ids)), [False, True, False, True, False], f"the cancellation of {ids}")

    def test_i3_a_thousand_cancelled_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is cancelled whole."""
        backend = harness.open(history=2 * s.MANY)
        s.many(backend, I3)
        I3.same(list(backend.cancel(s.NAMES)), [True] * s.MANY, f"the cancellation of {s.MANY}")
        s.places(backend, I3, "after it", history=s.MANY)

    def test_i3_ids_are_compared_whole(self, harness: Harness) -> None:
        """`cancel` ends those it is given and no other."""
        backend = s.alike(harness)
        I3.same(list(backend.cancel(s.MEANT)), [True] * len(s.MEANT), f"the cancellation of {s.MEANT}")
        s.claims(backend, I3, s.SPARED, "what could be claimed after it")

    def test_i3_what_cannot_be_read_can_be_cancelled(self, harness: Harness) -> None:
        """An entry that is not a message waits like any other, and ends like any other."""
        backend = harness.open()
        s.take(backend)
        for fields in ({b"hello": b"\xff"}, {b"name": b"kit.job", b"attempt": b"many"}):
            task_id = harness.inject(fields)
            I3.same(list(backend.cancel([task_id])), [True], "the cancellation of an unreadable entry")
            I3.same(s.info(backend, task_id, I3).status, m.TaskStatus.CANCELLED, "its status after that")
            stored = I3.there(backend.wait([task_id], 0)[0], "its record is missing")
            I3.same(stored.attempt, 1, "the attempt in its record")
        s.claims(backend, I3, [], "what could be claimed after two unreadable entries were cancelled")

    def test_i3_an_old_receipt_does_not_take_it_back(self, harness: Harness) -> None:
        """An old holder's settlement and extension leave the cancellation as it is."""
        backend = harness.open()
        old = s.claimed(backend, I3)
        s.settled(backend, I3, s.defer(old))
        new = s.take_one(backend, I3)
        backend.cancel(["a"])
        backend.settle([s.retry(old)])
        s.extended(backend, old)
        I3.same(
            s.extended(backend, new), m.LeaseStatus.CANCEL, "the holder's extension after an old receipt was refused"
        )

    def test_i3_what_ends_instead_of_waiting_wakes(self, harness: Harness) -> None:
        """A caller that waits for a cancelled task is woken when the task is retried, released or reclaimed."""
        backend, waiter = harness.open(), harness.open()
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "retry": lambda delivery: s.settled(backend, I3, s.retry(delivery, 10_000)),
            "release": lambda _: backend.release("one", []),
            "reclaimed": lambda _: s.after_a_lease(backend, harness),
        }
        for name, way in ways.items():
            delivery = s.claimed(backend, I3, name)
            backend.cancel([name])
            call = s.waiting(I3, lambda name=name: waiter.wait([name], None))  # type: ignore[misc]
            way(delivery)
            (stored,) = call.result(self.patience, I3, f"wait was not woken by the end of a cancelled task ({name})")
            I3.same(stored and stored.status, m.TaskStatus.CANCELLED, f"the status in its record ({name})")

    def test_i3_the_counters_of_what_ends_instead_change(self, harness: Harness) -> None:
        """A cancelled task that would have been retried ends with the attempt that it would have had."""
        backend = harness.open()
        delivery = s.claimed(backend, I3)
        backend.cancel(["a"])
        s.settled(backend, I3, s.retry(delivery))
        stored = I3.there(backend.wait(["a"], 0)[0], "the record is missing")
        I3.same(stored.attempt, 2, "the attempt in the record of a cancelled task that would have been retried")
