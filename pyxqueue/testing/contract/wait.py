"""`wait`: R2 wakes."""

from __future__ import annotations

from collections.abc import Callable

from .prelude import Contract, Harness, law, m, s

R2 = law("R2")


class WaitLaws(Contract):
    """R2."""

    def test_r2_wait_for_no_ids_returns_at_once(self, harness: Harness) -> None:
        """`wait` for no ids returns at once, without a timeout."""
        store = harness.open()
        got = s.Call(lambda: store.wait([], None)).result(self.patience, R2, "wait hangs on no ids")
        R2.same(list(got), [], "what wait returned for no ids")

    def test_r2_existing_records_are_returned(self, harness: Harness) -> None:
        """`wait` returns existing records at once, without a timeout."""
        store = harness.open()
        self.expect(store, "a", "b")
        self.keep(store, [s.result("a", b"1"), s.result("b", b"2")])
        call = s.Call(lambda: store.wait(["b", "a"], None))
        got = call.result(self.patience, R2, "wait hangs on records that are there")
        R2.same(s.values(got), [b"2", b"1"], "what wait returned")

    def test_r2_waits_for_the_last_and_is_woken(self, harness: Harness) -> None:
        """`wait` returns when the last of its records comes, not the first, whichever thread settles."""
        store, writer = harness.open(), harness.open()
        self.expect(store, "a", "b")
        call = s.waiting(R2, lambda: store.wait(["a", "b"], None))
        self.keep(writer, [s.result("a", b"1")])
        R2.holds(call.waits(), "wait returned while one of two records was missing")
        self.keep(writer, [s.result("b", b"2")])
        got = call.result(self.patience, R2, "wait was not woken by the last record")
        R2.same(s.values(got), [b"1", b"2"], "what wait returned")

    def test_r2_wait_returns_when_least_records_are_there(self, harness: Harness) -> None:
        """`wait` with `least` returns as soon as so many records are there, whichever they are."""
        store, writer = harness.open(), harness.open()
        self.expect(store, "a", "b", "c")
        call = s.Call(lambda: store.wait(["a", "b", "c"], None, 2))
        self.keep(writer, [s.result("c", b"3")])
        R2.holds(call.waits(), "wait for 2 of 3 records returned when one was there")
        self.keep(writer, [s.result("a", b"1")])
        got = call.result(self.patience, R2, "wait for 2 of 3 records was not woken by the second")
        R2.same(s.values(got), [b"1", None, b"3"], "what wait for 2 of 3 records returned")
        call = s.Call(lambda: store.wait(["a", "b"], None, 1))
        got = call.result(self.patience, R2, "wait for 1 record hangs although one is there")
        R2.same(s.values(got), [b"1", None], "what wait for 1 of 2 records returned")

    def test_r2_every_waiter_is_woken(self, harness: Harness) -> None:
        """Several threads that wait for the same record, and for others, all get theirs."""
        store, other, writer = harness.open(), harness.open(), harness.open()
        self.expect(store, "a", "b")
        calls = [
            s.Call(lambda handle=handle, task_id=task_id: handle.wait([task_id], None))  # type: ignore[misc]
            for handle in (store, other)
            for task_id in ("a", "a", "b")
        ]
        for call in calls:
            R2.holds(call.waits(), "wait returned while no record was there")
        self.keep(writer, [s.result("a", b"1"), s.result("b", b"2")])
        got = [s.values(call.result(self.patience, R2, "one of several waiters was not woken")) for call in calls]
        R2.same(got, [[b"1"], [b"1"], [b"2"]] * 2, "what the waiters got")

    def test_r2_no_record_is_missed(self, harness: Harness) -> None:
        """Records written while a waiter looks, goes to wait and wakes are all seen."""
        store, writer = harness.open(), harness.open()
        ids = [f"t{number}" for number in range(40)]
        self.expect(store, *ids)
        call = s.Call(lambda: [s.values(store.wait([task_id], None)) for task_id in ids])
        for task_id in ids:
            self.keep(writer, [s.result(task_id, task_id.encode())])
        got = call.result(self.patience, R2, "wait missed a record that came while it was about to wait")
        R2.same(got, [[task_id.encode()] for task_id in ids], "what a waiter for one after the other got")

    def test_r2_gives_up_at_its_timeout(self, harness: Harness) -> None:
        """At its timeout `wait` returns what there is."""
        store = harness.open()
        self.expect(store, "a", "b")
        self.keep(store, [s.result("b", b"2")])
        got = s.Call(lambda: store.wait(["a", "b"], 30)).result(self.patience, R2, "wait went on after its timeout")
        R2.same(s.values(got), [None, b"2"], "what wait returned at its timeout")

    def test_r2_a_timeout_of_zero_returns_at_once(self, harness: Harness) -> None:
        """A timeout of 0 is one look, not none at all."""
        store = harness.open()
        self.expect(store, "a")
        call = s.Call(lambda: store.wait(["a"], 0))
        got = call.result(self.patience, R2, "wait waits although it was given no time")
        R2.same(s.values(got), [None], "what wait returned")

    def test_r2_an_id_twice_is_waited_for_once(self, harness: Harness) -> None:
        """`wait` counts the ids that have a record, not the records."""
        store, writer = harness.open(), harness.open()
        self.expect(store, "a")
        call = s.waiting(R2, lambda: store.wait(["a", "a"], None))
        self.keep(writer, [s.result("a", b"1")])
        got = call.result(self.patience, R2, "wait for the same id twice was not woken by its record")
        R2.same(s.values(got), [b"1", b"1"], "what wait returned")


class SettledWaitLaws(Contract):
    """R2, of a backend."""

    def test_r2_a_settlement_wakes(self, harness: Harness) -> None:
        """`wait` is woken by the settlement that ends the task."""
        store, worker = harness.open(), harness.open()
        delivery = s.claimed(worker, R2)
        call = s.waiting(R2, lambda: store.wait(["a"], None))
        s.settled(worker, R2, s.done(delivery))
        got = call.result(self.patience, R2, "wait was not woken by a settlement")
        R2.same(s.values(got), [s.EVERY_BYTE], "what wait returned")

    def test_r2_wait_is_woken_soon(self, harness: Harness) -> None:
        """Many waits, one after the other, are each woken by a settlement; a store that is polled is polled often."""
        store, worker = harness.open(), harness.open()
        messages = s.jobs(s.TURNS)
        worker.enqueue(messages)
        deliveries = s.take_exactly(worker, s.TURNS, R2)
        s.relay(
            R2,
            self.patience,
            f"{s.TURNS} waits in turn took too long: `wait` must be notified, or look at least every 50 ms",
            lambda turn: store.wait([messages[turn].id], None),
            lambda turn: worker.settle([s.done(deliveries[turn])]),
        )

    def test_r2_a_cancellation_wakes(self, harness: Harness) -> None:
        """`wait` is woken by the cancellation of a task that waits."""
        store, admin = harness.open(), harness.open()
        store.enqueue([s.job("a")])
        call = s.waiting(R2, lambda: store.wait(["a"], None))
        admin.cancel(["a"])
        got = call.result(self.patience, R2, "wait was not woken by a cancellation")
        R2.same([record and record.status for record in got], [m.TaskStatus.CANCELLED], "what wait returned")

    def test_r2_an_unknown_id_is_not_waited_for(self, harness: Harness) -> None:
        """`wait` returns None at once for a task that can have no record, also without a timeout."""
        store = harness.open()
        s.claimed(store, R2)
        for ids in (["unknown"], ["a", "unknown"]):
            call = s.Call(lambda ids=ids: store.wait(ids, None))  # type: ignore[misc]
            got = call.result(self.patience, R2, f"wait hangs on {ids}, one of which is not known")
            R2.same(list(got), [None] * len(ids), f"what wait returned for {ids}")

    def test_r2_a_deleted_task_is_not_waited_for(self, harness: Harness) -> None:
        """`wait` is woken by the deletion of the task, since no record can come."""
        store, admin = harness.open(), harness.open()
        store.enqueue([s.job("a")])
        call = s.waiting(R2, lambda: store.wait(["a"], None))
        admin.delete(["a"])
        R2.same(
            list(call.result(self.patience, R2, "wait was not woken by the deletion")), [None], "what wait returned"
        )

    def test_r2_each_end_wakes(self, harness: Harness) -> None:
        """A failure, and a cancellation that ends with its holder, a retry or a release, wake `wait`."""
        store, worker = harness.open(), harness.open()
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "failure": lambda delivery: worker.settle([m.Settlement(delivery.receipt, m.Fail("no use"))]),
            "obedience": lambda delivery: worker.settle([m.Settlement(delivery.receipt, m.Cancelled())]),
            "retry": lambda delivery: worker.settle([s.retry(delivery)]),
            "release": lambda _: worker.release("one", []),
        }
        for name, way in ways.items():
            delivery = s.claimed(worker, R2, name)
            if name != "failure":
                worker.cancel([name])
            call = s.waiting(R2, lambda name=name: store.wait([name], None))  # type: ignore[misc]
            way(delivery)
            got = call.result(self.patience, R2, f"wait was not woken by the end of a task ({name})")
            wanted = m.TaskStatus.FAILURE if name == "failure" else m.TaskStatus.CANCELLED
            R2.same([record and record.status for record in got], [wanted], f"what wait returned ({name})")

    def test_r2_what_has_ended_and_was_forgotten_is_not_waited_for(self, harness: Harness) -> None:
        """`wait` returns None at once for an ended task whose record is gone."""
        store = harness.open()
        s.settled(store, R2, s.done(s.claimed(store, R2)))
        store.forget(["a"])
        call = s.Call(lambda: store.wait(["a"], None))
        got = call.result(self.patience, R2, "wait hangs on a record that was forgotten")
        R2.same(list(got), [None], "what wait returned")
