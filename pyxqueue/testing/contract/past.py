"""`Message.past`: B14."""

from __future__ import annotations

from typing import Any

from ...model.past import LOST, MAX_BYTES, Attempt, attempts_in, line
from ...model.presence import Announcement, Process
from ...protocols import HasPresence
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

B14 = law("B14")


def past_of(delivery: m.Delivery) -> str:
    return s.readable(delivery, B14).past


def _said(host: str, consumer: str) -> str:
    """An announcement of a supervisor with one worker."""
    return Announcement(host, 7, "1", "3", [], 0, False, {consumer: Process(8, 1, 1, None, [])}).text()


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

    def test_b14_a_release_adds_its_lines(self, harness: Harness) -> None:
        """To the messages of their receipts, charged or not, and to no other; as they are."""
        backend = harness.open()
        backend.enqueue(s.jobs(4))
        held = s.take_exactly(backend, 4, B14)
        past = {held[0].receipt: "died", held[1].receipt: 'größe [1,"x"] \\n', held[2].receipt: ""}
        backend.release("one", [held[0].receipt, held[3].receipt], past)
        seen = {one.message.id: past_of(one) for one in s.take(backend, consumer="two")}
        expected = {"t000": "died", "t001": 'größe [1,"x"] \\n', "t002": "", "t003": ""}
        B14.same(seen, expected, "the past after a release")

    def test_b14_a_line_without_its_run(self, harness: Harness) -> None:
        """A release adds none to what another consumer holds, nor to what was claimed again."""
        backend = harness.open()
        old = s.claimed(backend, B14)
        backend.release("one", [])
        backend.enqueue(s.jobs(1))
        held = s.take_exactly(backend, 2, B14)
        backend.release("two", [], {one.receipt: "of another" for one in held})
        backend.release("one", [], {old.receipt: "of an earlier claim"})
        B14.same([past_of(one) for one in s.take_exactly(backend, 2, B14)], ["", ""], "the past after such releases")

    def test_b14_the_end_of_a_lease_is_a_line(self, harness: Harness) -> None:
        """With the consumer that was not heard of any more, and without a host if nobody has said it."""
        backend = harness.open()
        retried(backend, s.claimed(backend, B14), line(Attempt(1, "E", "x", 1, "w")))
        harness.advance(harness.lease + 1)
        found = attempts_in(past_of(s.take_one(backend, B14)))
        seen = [(one.attempt, one.type, one.worker, one.host) for one in found]
        B14.same(seen, [(1, "E", "w", ""), (2, LOST, "one", "")], "the runs after a retry and the end of a lease")
        B14.holds(found[-1].when_ms > 0, "the line does not say when")

    @needs(HasPresence)
    def test_b14_the_host_of_a_lease_that_ended(self, harness: Harness) -> None:
        """It is that of the consumer, as its supervisor has announced it, although that is silent now as well."""
        backend: Any = harness.open()
        s.claimed(backend, B14)
        backend.announce("supervisor", 1_000, _said("web1", "one"))
        backend.announce("neighbour", 1_000, _said("web2", "two"))
        backend.announce("stranger", 1_000, '{"one"')
        harness.advance(harness.lease + 1)
        (found,) = attempts_in(past_of(s.take_one(backend, B14)))
        B14.same((found.worker, found.host), ("one", "web1"), "the consumer and the host of a lease that ended")

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
