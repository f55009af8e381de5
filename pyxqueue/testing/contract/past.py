"""`Message.past`: B14."""

from __future__ import annotations

from ...model.past import LOST, MAX_BYTES, Attempt, attempts_in, line
from .prelude import Backend, Contract, Harness, law, m, s

B14 = law("B14")


def past_of(delivery: m.Delivery) -> str:
    return s.readable(delivery, B14).past


def retried(backend: Backend, delivery: m.Delivery, *lines: str) -> m.Delivery:
    """Retry with each of the lines, and return the last delivery."""
    for one in lines:
        s.settled(backend, B14, m.Settlement(delivery.receipt, m.Retry(0, one)))
        delivery = s.take_one(backend, B14)
    return delivery


class PastLaws(Contract):
    """B14."""

    def test_b14_a_retry_adds_its_line(self, harness: Harness) -> None:
        """As it is, whatever its letters; a retry without one adds none, nor does a deferral or a plain release."""
        backend = harness.open()
        odd = 'größe [1,"x"] \u2028\t\\n'
        again = retried(backend, s.claimed(backend, B14), "first", odd, "")
        B14.same(past_of(again), f"first\n{odd}", "the past after two retries with a line and one without")
        s.settled(backend, B14, s.defer(again))
        backend.release("one", [])
        s.take_one(backend, B14)
        backend.release("one", [])
        B14.same(past_of(s.take_one(backend, B14)), f"first\n{odd}", "the past after a deferral and a release")

    def test_b14_a_delayed_retry_adds_its_line(self, harness: Harness) -> None:
        """Also one of a task that would fail if it came too late."""
        backend = harness.open()
        backend.enqueue([s.job("a"), s.job("b", lifetime_ms=60_000)])
        for delivery in s.take_exactly(backend, 2, B14):
            s.settled(backend, B14, m.Settlement(delivery.receipt, m.Retry(5_000, "first")))
        harness.advance(5_001)
        seen = [past_of(delivery) for delivery in s.take_exactly(backend, 2, B14)]
        B14.same(seen, ["first", "first"], "the past of two tasks that were retried with a delay")

    def test_b14_the_newest_five_are_kept(self, harness: Harness) -> None:
        """Of more lines, and of lines that are long, the oldest go."""
        backend = harness.open()
        delivery = retried(backend, s.claimed(backend, B14), *(f"line {number}" for number in range(7)))
        B14.same(past_of(delivery).split("\n"), [f"line {number}" for number in range(2, 7)], "the past of seven")
        long = "ü" * 600
        delivery = retried(backend, delivery, long)
        B14.same(past_of(delivery).split("\n")[-1], long, "the newest line, of 1,200 bytes")
        delivery = retried(backend, delivery, "x" * 1_000)
        B14.same(past_of(delivery), "x" * 1_000, "the past after a line that leaves no room for the one before")
        delivery = retried(backend, delivery, "x" * (MAX_BYTES + 1))
        B14.same(past_of(delivery), "x" * 1_000, "the past after a line that is too long")

    def test_b14_a_death_is_a_line(self, harness: Harness) -> None:
        """Of each task that the process was running, with how it ended, and of no other."""
        backend = harness.open()
        backend.enqueue(s.jobs(3))
        started = s.take_exactly(backend, 3, B14)[:2]
        backend.release("one", [delivery.receipt for delivery in started], "ended by SIGKILL")
        lines = {one.message.id: attempts_in(past_of(one)) for one in s.take(backend, consumer="two")}
        seen = {task_id: [(a.attempt, a.type, a.text, a.worker) for a in found] for task_id, found in lines.items()}
        death = (1, LOST, "ended by SIGKILL", "one")
        B14.same(seen, {"t000": [death], "t001": [death], "t002": []}, "the runs after a release")
        B14.holds(all(a.when_ms > 0 for found in lines.values() for a in found), "a line does not say when")

    def test_b14_the_end_of_a_lease_is_a_line(self, harness: Harness) -> None:
        """With the consumer that was not heard of any more."""
        backend = harness.open()
        retried(backend, s.claimed(backend, B14), line(Attempt(1, "E", "x", 1, "w")))
        harness.advance(harness.lease + 1)
        found = attempts_in(past_of(s.take_one(backend, B14)))
        seen = [(one.attempt, one.type, one.worker) for one in found]
        B14.same(seen, [(1, "E", "w"), (2, LOST, "one")], "the runs after a retry and the end of a lease")

    def test_b14_an_end_keeps_it_and_a_requeue_does_not(self, harness: Harness) -> None:
        """A failed task is shown with its past, and so it is in another store; requeued, it has none."""
        backend = harness.open()
        delivery = retried(backend, s.claimed(backend, B14), "first")
        s.settled(backend, B14, m.Settlement(delivery.receipt, m.Fail("no")))
        info = s.info(backend, "a", B14)
        B14.same(info.readable and info.readable.past, "first", "the past of a failed task")
        B14.same(list(backend.requeue(["a"])), [True], "whether it was requeued")
        B14.same(past_of(s.take_one(backend, B14)), "", "the past after a requeue")
        backend.release("one", [])
        backend.delete(["a"])
        B14.same(list(backend.adopt([info])), [True], "whether it was adopted")
        adopted = s.info(backend, "a", B14)
        B14.same(adopted.readable and adopted.readable.past, "first", "the past of an adopted task")
